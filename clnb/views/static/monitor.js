// CollapseMonitor: gauges over time, and a verdict in words for every level. See 07a_live.ipynb.

const GOOD = ["✓", PALETTE[2]], UNKNOWN = ["…", PALETTE[7]], PASSING = ["!", PALETTE[1]], FAULT = ["✕", PALETTE[3]];

/** The sign and the colour of a verdict. */
function signOf(level) {
  if (level.kind === "healthy") return GOOD;
  if (!level.kind || ["nothing recorded yet", "not known"].includes(level.kind)) return UNKNOWN;
  return level.lasts === false ? PASSING : FAULT;
}

export default {
  render({ model, el }) {
    const stage = new Stage({ model, el }, { title: "Collapse monitor", height: 170 });
    const verdict = make("div", { className: "clnb-verdict", role: "status", style: { margin: "4px 0" } });
    const choice = make("span", { className: "clnb-row", role: "group", "aria-label": "the gauges are those of", style: { flexWrap: "wrap" } });
    stage.body.before(verdict);
    stage.tools.append(choice);
    let panels = [], chosen = null, said = "", offered = "";

    /** One line for each level; the text is replaced only when it has changed, so that it is not read out again. */
    function say(levels, frame) {
      const lines = levels.length ? levels : [{ kind: frame.kind, reason: frame.reason }];
      const key = JSON.stringify(lines.map((level) => [level.word, level.kind, level.reason, level.lasts]));
      if (key === said) return;
      said = key;
      verdict.replaceChildren(...lines.map((level) => {
        const [sign, ink] = signOf(level);
        const line = make("div", { className: "clnb-level", style: { borderLeft: `4px solid ${ink}`, padding: "3px 8px", margin: "3px 0" } },
          make("b", {}, `${sign} ${level.word ? `${level.word}: ` : ""}${level.kind ?? ""}: `), level.reason ?? "");
        Object.assign(line.dataset, { kind: level.kind ?? "", level: level.name ?? "", lasts: String(level.lasts ?? true) });
        return line;
      }));
    }

    /** The switch between the levels, where there are several. */
    function offer(levels, now) {
      const key = JSON.stringify([levels.map((level) => level.name), now?.name]);
      if (key === offered) return;
      offered = key;
      const focused = choice.contains(document.activeElement) ? document.activeElement.dataset.level : null;
      choice.replaceChildren(...(levels.length < 2 ? [] : levels.map((level) => {
        const button = make("button", { type: "button", title: `draw the numbers of ${level.word}`,
          "aria-pressed": String(level === now) }, level.word);
        button.dataset.level = level.name;
        button.style.fontWeight = level === now ? "600" : "400";
        button.addEventListener("click", () => { chosen = level.name; stage.redraw(); });
        return button;
      })));
      if (focused !== null) [...choice.children].find((button) => button.dataset.level === focused)?.focus();
    }

    function draw(frame) {
      const levels = frame.levels ?? [], now = levels.find((level) => level.name === chosen) ?? levels[0];
      say(levels, frame);
      offer(levels, now);
      verdict.dataset.kind = now?.kind ?? frame.kind ?? "";
      const gauges = now?.gauges ?? [], steps = unpack(now?.steps), count = gauges.length;
      const columns = stage.width >= 160 * count ? count : stage.width >= 340 ? 2 : 1, low = 150;
      const rows = Math.ceil(count / Math.max(columns, 1)), height = count ? (rows === 1 ? 170 : rows * low) : 10;
      if (Math.abs(height - stage.height) > 1) { stage.canvas.style.height = `${height}px`; stage.fit(); }
      const w = stage.width / Math.max(columns, 1), h = rows === 1 ? height : low;
      panels = gauges.map((gauge, i) => panel(gauge, steps, (i % columns) * w, Math.floor(i / columns) * h, w, h, frame));
      const words = levels.map((level) => `${level.word}: ${level.kind}`).join("; ") || frame.kind;
      stage.canvas.setAttribute("aria-label",
        `Collapse monitor: ${words}. ${count ? `${now.word}: ` : ""}${gauges.map((g) => `${g.title} ${text(g.now)}`).join("; ")}`);
      stage.canvas.dataset.now = JSON.stringify(gauges.map((gauge) => gauge.now));
      stage.canvas.dataset.titles = JSON.stringify(gauges.map((gauge) => gauge.title));
    }
    const text = (v) => (v == null || !Number.isFinite(v) ? "not known" : String(+v.toPrecision(3)));

    function panel(gauge, steps, x, y, w, h, frame) {
      const { ctx } = stage, values = unpack(gauge.values), [low, high] = extent(values, [0, 1]), span = extent(steps);
      const axes = new Axes(stage, { x: span[0] === span[1] ? [span[0] - 1, span[0] + 1] : span, y: [low - 0.05, high + 0.1],
        left: x + 38, right: stage.width - x - w + 18, top: y + 22, bottom: stage.height - y - h + 32, xLabel: "step" });
      ctx.save();
      ctx.globalAlpha = 0.15; ctx.fillStyle = PALETTE[3];
      const limit = axes.py(gauge.limit);
      ctx.fillRect(axes.left, limit, axes.right - axes.left, axes.bottom - limit);
      ctx.restore();
      axes.draw();
      axes.line(axes.x, [1, 1], { color: stage.faint, dash: [2, 3], width: 1 });
      axes.line(steps, values, { color: PALETTE[0], width: 1.8 });
      ctx.fillStyle = stage.ink; ctx.font = "600 11px system-ui, sans-serif";
      ctx.fillText(`${gauge.title}: ${text(gauge.now)}`, x + 8, y + 13, w - 12);
      ctx.font = "11px system-ui, sans-serif";
      if (gauge.now != null) {
        ctx.fillStyle = gauge.now < gauge.limit ? PALETTE[3] : PALETTE[0];
        ctx.beginPath(); ctx.arc(axes.px(frame.step ?? steps[0]), axes.py(gauge.now), 4, 0, 7); ctx.fill();
      }
      return { axes, gauge, steps, values, box: [x, y, w, h] };
    }

    stage.canvas.addEventListener("pointermove", (event) => {
      const [mx, my] = stage.at(event);
      const found = panels.find(({ box: [x, y, w, h] }) => mx >= x && mx < x + w && my >= y && my < y + h);
      if (!found || !found.steps.length) return stage.showTip();
      const step = found.axes.vx(mx);
      let best = 0;
      found.steps.forEach((s, i) => { if (Math.abs(s - step) < Math.abs(found.steps[best] - step)) best = i; });
      stage.showTip(event, make("b", {}, `step ${found.steps[best]}`), `${found.gauge.title}: ${text(found.values[best])}`,
        `below ${text(found.gauge.limit)}: a fault; 1: as good as it gets`);
    });
    stage.canvas.addEventListener("pointerleave", () => stage.showTip());
    return stage.start(draw);
  },
};
