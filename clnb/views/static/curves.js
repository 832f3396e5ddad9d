
// Curves: numbers over steps as a grid of panels with one axis of steps. See 07a_live.ipynb.

/** Debiased exponential mean over `window` records; `weights` say how many records a point stands for. */
function smooth(series, window) {
  const { means, values, weights } = series, from = means ?? values, out = new Float32Array(values.length);
  const keep = 1 - 1 / window;
  let sum = 0, norm = 0;
  for (let i = 0; i < from.length; i++) {
    if (!Number.isFinite(values[i])) { out[i] = NaN; continue; }
    const decay = keep ** (weights ? weights[i] : 1);
    sum = decay * sum + (1 - decay) * from[i];
    norm = decay * norm + (1 - decay);
    out[i] = norm > 0 ? sum / norm : from[i];
  }
  return out;
}

/** Index of the recorded step that is nearest to `step` (steps ascend). */
function nearest(steps, step) {
  let low = 0, high = steps.length - 1;
  while (high - low > 1) { const mid = (low + high) >> 1; if (steps[mid] <= step) low = mid; else high = mid; }
  return Math.abs(steps[high] - step) < Math.abs(steps[low] - step) ? high : low;
}

/** Rectangles of `count` panels: the first (the loss) large, the fraction beside it, the rest in rows below. */
function grid(count, width, beside) {
  const columns = width >= 780 ? 3 : width >= 480 ? 2 : 1, boxes = [], tall = 200, low = 130;
  let y = 0;
  if (beside && width >= 480) {
    boxes.push([0, 0, width * 0.62, tall], [width * 0.62, 0, width * 0.38, tall]);
    y = tall;
  } else if (count) { boxes.push([0, 0, width, tall]); y = tall; }
  const rest = count - boxes.length, across = Math.max(1, Math.min(columns, rest));
  for (let i = 0; i < rest; i++)
    boxes.push([(i % across) * (width / across), y + Math.floor(i / across) * low, width / across, low]);
  return { boxes, height: Math.max(80, y + Math.ceil(rest / across) * low) };
}

export default {
  render({ model, el }) {
    const stage = new Stage({ model, el }, { title: "Curves", height: 330 });
    const { canvas } = stage, hidden = new Set();
    let log = false, window = stage.options.smoothing ?? 1, panels = [], at = null, read = null;
    const reading = make("div", { className: "clnb-reading", role: "status", style: { margin: "2px 0" } });
    stage.body.before(reading);
    const chips = make("span", { className: "clnb-row", style: { flexWrap: "wrap" }, role: "group", "aria-label": "curves shown" });
    stage.tools.append(chips,
      slider("smoothing", { min: 1, max: 300, value: window, log: true,
        show: (v) => (v < 1.5 ? "none" : `${Math.round(v)} records`) }, (v) => { window = v < 1.5 ? 1 : v; stage.redraw(); }),
      checkbox("log y", false, (on) => { log = on; stage.redraw(); }));

    function legend(labels) {
      const key = JSON.stringify(labels);
      if (chips.dataset.key === key) return;
      chips.dataset.key = key;
      chips.replaceChildren(...labels.map(([label, ink]) => {
        const chip = make("button", { type: "button", "aria-pressed": String(!hidden.has(label)), title: `show or hide ${label}`,
          style: { background: "transparent", color: "inherit", opacity: hidden.has(label) ? 0.4 : 1 } },
          make("span", { style: { display: "inline-block", width: "14px", height: "3px", background: ink, marginRight: "5px",
            verticalAlign: "middle" } }), label);
        chip.addEventListener("click", () => {
          if (!hidden.delete(label)) hidden.add(label);
          chip.setAttribute("aria-pressed", String(!hidden.has(label)));
          chip.style.opacity = hidden.has(label) ? 0.4 : 1;
          stage.redraw();
        });
        return chip;
      }));
    }

    /** The lines of a frame with unpacked arrays, colours and smoothed values, kept until frame or smoothing changes. */
    function unpacked(frame) {
      if (read?.frame === frame && read.window === window) return read.lines;
      const labels = [...new Set(frame.lines.map((line) => line.label))];
      const lines = frame.lines.map((line) => {
        const series = { ...line, steps: unpack(line.steps), values: unpack(line.values), means: unpack(line.means),
          weights: unpack(line.weights), ink: INKS[labels.indexOf(line.label) % INKS.length] };
        series.shown = window > 1 ? smooth(series, window) : series.values;
        return series;
      });
      read = { frame, window, lines, labels };
      return lines;
    }

    function draw(frame) {
      const lines = unpacked(frame);
      legend(read.labels.map((label, i) => [label, INKS[i % INKS.length]]));
      reading.textContent = frame.reading ?? "";
      const visible = lines.filter((line) => !hidden.has(line.label));
      const names = [...new Set(visible.map((line) => line.panel))];
      const { boxes, height } = grid(names.length, stage.width, names[1] === "learned fraction");
      if (Math.abs(height - stage.height) > 1) { canvas.style.height = `${height}px`; stage.fit(); }
      const domain = extent(...visible.map((line) => line.steps));
      if (domain[0] === domain[1]) domain[1] = domain[0] + 1;
      panels = names.map((name, i) => panel(name, boxes[i], visible.filter((line) => line.panel === name), domain, frame));
      if (!names.length) stage.ctx.fillText(lines.length ? "every curve is hidden" : "nothing has been recorded yet", 10, 20);
      canvas.dataset.points = JSON.stringify(Object.fromEntries(lines.map((line) => [line.key, line.values.length])));
      canvas.dataset.panels = JSON.stringify(panels.map((p) => ({ name: p.name, left: p.axes.left, right: p.axes.right,
        top: p.axes.top, bottom: p.axes.bottom, x: p.axes.x, y: p.axes.y, logY: p.axes.logY })));
      canvas.dataset.faults = JSON.stringify(frame.faults ?? []);
      canvas.setAttribute("aria-label", `${frame.reading ?? ""} ${lines.map(newest).join("; ")}`.trim());
      if (at) cross();
    }

    const newest = (line) => `${line.key} ${shortest(line.values[line.values.length - 1])} at step ${line.steps[line.steps.length - 1]}`;
    const shortest = (v) => (Number.isFinite(v) ? String(+v.toPrecision(4)) : "not a number");

    function panel(name, [x, y, w, h], lines, domain, frame) {
      const fraction = name === "learned fraction", logY = log && !fraction;
      const guides = lines.flatMap((line) => line.guides ?? []);
      const last = (guide) => unpack(guide.values);
      let range = extent(...lines.map((l) => positive(l.values, logY)), ...lines.map((l) => positive(l.shown, logY)),
        ...guides.map((guide) => positive(last(guide), logY)), fraction ? [0, 1] : []);
      const pad = logY ? 0 : (range[1] - range[0]) * 0.05;
      range = logY ? [range[0] * 0.95, range[1] * 1.05] : [range[0] - pad, range[1] + pad];
      const axes = new Axes(stage, { x: domain, y: range, logY, left: x + 44, right: stage.width - (x + w) + 16, top: y + 20,
        bottom: stage.height - (y + h) + 32, xLabel: "step" });
      const { ctx, ink } = stage;
      axes.draw();
      ctx.save();
      ctx.fillStyle = ink; ctx.font = "600 11px system-ui, sans-serif";
      ctx.fillText(clipped(ctx, logY ? `${name} (log)` : name, w - 52), x + 44, y + 12);
      ctx.restore();
      for (const guide of guides) guideLine(axes, guide, last(guide));
      if (fraction) for (const [value, text] of [[0, "chance"], [1, "best possible"]])
        guideLine(axes, { text, dash: value ? [2, 3] : [5, 4] }, [value, value], domain);
      marks(axes, frame.marks ?? []);
      marks(axes, frame.faults ?? [], PALETTE[3]);
      for (const line of lines) {
        if (window > 1) { ctx.save(); ctx.globalAlpha = 0.3; axes.line(line.steps, line.values, { color: line.ink, width: 1 }); ctx.restore(); }
        axes.line(line.steps, line.shown, { color: line.ink, width: window > 1 ? 2 : 1.5 });
        if (line.values.length === 1) dot(axes.px(line.steps[0]), axes.py(line.values[0]), line.ink);
        missing(axes, line);
      }
      return { name, axes, lines, box: [x, y, w, h] };
    }

    const positive = (values, only) => (only ? values.filter((v) => v > 0) : values);

    function guideLine(axes, guide, values, steps = unpack(guide.steps)) {
      const { ctx, faint } = stage;
      axes.line(steps, values, { color: faint, width: 1, dash: guide.dash });
      const end = values[values.length - 1], y = axes.py(end);
      if (!Number.isFinite(y) || y < axes.top - 1 || y > axes.bottom + 1) return;
      ctx.save();
      ctx.fillStyle = faint; ctx.textAlign = "right"; ctx.textBaseline = y - 12 < axes.top ? "top" : "bottom";
      ctx.fillText(guide.text, axes.right - 2, y + (ctx.textBaseline === "top" ? 2 : -1));
      ctx.restore();
    }

    function marks(axes, list, color = PALETTE[4]) {
      const { ctx } = stage;
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = color; ctx.lineWidth = 1; ctx.setLineDash([1, 2]);
      let before = -Infinity;
      for (const mark of list) {   // one sign for several that are close together; the tooltip lists them
        const x = Math.round(axes.px(mark.step)) + 0.5;
        if (x < axes.left || x > axes.right || Math.abs(x - before) < 6) continue;
        before = x;
        ctx.beginPath(); ctx.moveTo(x, axes.top); ctx.lineTo(x, axes.bottom); ctx.stroke();
        ctx.beginPath(); ctx.moveTo(x - 4, axes.top - 5); ctx.lineTo(x + 4, axes.top - 5); ctx.lineTo(x, axes.top + 1); ctx.fill();
      }
      ctx.restore();
    }

    /** A cross on the axis where a value was not a number. */
    function missing(axes, line) {
      const { ctx } = stage;
      ctx.save();
      ctx.strokeStyle = PALETTE[3]; ctx.lineWidth = 2;
      for (let i = 0; i < line.values.length; i++) {
        if (Number.isFinite(line.values[i])) continue;
        const x = axes.px(line.steps[i]), y = axes.bottom - 5;
        ctx.beginPath(); ctx.moveTo(x - 4, y - 4); ctx.lineTo(x + 4, y + 4); ctx.moveTo(x + 4, y - 4); ctx.lineTo(x - 4, y + 4); ctx.stroke();
      }
      ctx.restore();
    }

    function dot(x, y, ink) {
      const { ctx } = stage;
      ctx.fillStyle = ink; ctx.beginPath(); ctx.arc(x, y, 3, 0, 7); ctx.fill();
    }

    function clipped(ctx, text, width) {
      while (text.length > 4 && ctx.measureText(text).width > width) text = `${text.slice(0, -2)}…`;
      return text;
    }

    /** The step under the mouse in every panel: a thin line and a dot on each curve. */
    function cross() {
      const { ctx, faint } = stage;
      for (const { axes, lines } of panels) {
        const x = axes.px(at);
        ctx.strokeStyle = faint; ctx.setLineDash([]); ctx.lineWidth = 1;
        ctx.beginPath(); ctx.moveTo(x, axes.top); ctx.lineTo(x, axes.bottom); ctx.stroke();
        for (const line of lines) {
          const i = nearest(line.steps, at), y = axes.py(line.shown[i]);
          if (Number.isFinite(y)) dot(axes.px(line.steps[i]), y, line.ink);
        }
      }
    }

    function hover(event) {
      const [mx, my] = stage.at(event);
      const found = panels.find(({ box: [x, y, w, h] }) => mx >= x && mx < x + w && my >= y && my < y + h);
      if (!found) return leave();
      at = Math.min(Math.max(found.axes.vx(mx), found.axes.x[0]), found.axes.x[1]);
      const rows = panels.flatMap((p) => p.lines).filter((line) => line.steps.length).map((line) => {
        const i = nearest(line.steps, at), raw = shortest(line.values[i]);
        const text = window > 1 ? `${shortest(line.shown[i])} (record: ${raw})` : raw;
        return make("div", {}, make("span", { style: { color: line.ink } }, "● "), `${line.key}: ${text}`);
      });
      const first = panels.flatMap((p) => p.lines)[0];
      const step = first ? first.steps[nearest(first.steps, at)] : Math.round(at);
      const close = (list, color) => (list ?? []).filter((mark) => Math.abs(found.axes.px(mark.step) - mx) < 6).slice(-6)
        .map((mark) => make("div", {}, make("span", { style: { color } }, "▾ "), `step ${mark.step}: ${mark.text}`));
      stage.showTip(event, make("b", {}, `step ${step}`), ...rows, ...close(stage.frame.marks, PALETTE[4]),
        ...close(stage.frame.faults, PALETTE[3]));
      stage.redraw();
    }
    function leave() { at = null; stage.showTip(); stage.redraw(); }
    canvas.addEventListener("pointermove", hover);
    canvas.addEventListener("pointerleave", leave);
    stage.root.addEventListener("keydown", (event) => {
      const first = panels[0]?.lines[0];
      if (!first || !["ArrowLeft", "ArrowRight", "Escape"].includes(event.key) || event.target !== stage.root) return;
      event.preventDefault();
      if (event.key === "Escape") return leave();
      const i = nearest(first.steps, at ?? first.steps[first.steps.length - 1]);
      const next = first.steps[Math.min(Math.max(i + (event.key === "ArrowLeft" ? -1 : 1), 0), first.steps.length - 1)];
      const box = canvas.getBoundingClientRect(), { axes } = panels[0];
      hover({ clientX: box.left + axes.px(next), clientY: box.top + axes.top + 10 });
    });
    return stage.start(draw);
  },
};
