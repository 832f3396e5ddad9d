
// CollapseMonitor: three gauges over time and a verdict in words. See 07a_live.ipynb.

const VERDICTS = { healthy: ["✓", PALETTE[2]], "nothing recorded yet": ["…", PALETTE[7]] };   // everything else is a fault

export default {
  render({ model, el }) {
    const stage = new Stage({ model, el }, { title: "Collapse monitor", height: 170 });
    const verdict = make("div", { className: "clnb-verdict", role: "status", style: { margin: "4px 0", padding: "4px 8px" } });
    stage.body.before(verdict);
    let panels = [];

    function draw(frame) {
      const [sign, ink] = VERDICTS[frame.kind] ?? ["✕", PALETTE[3]];
      verdict.style.borderLeft = `4px solid ${ink}`;
      verdict.dataset.kind = frame.kind ?? "";
      verdict.replaceChildren(make("b", {}, `${sign} ${frame.kind ?? ""}: `), frame.reason ?? "",
        make("span", { className: "clnb-note" }, frame.watched ? ` (${frame.watched})` : ""));
      const gauges = frame.gauges ?? [], columns = stage.width >= 460 ? 3 : 1, low = 150;
      const height = gauges.length ? (columns === 3 ? 170 : 3 * low) : 30;
      if (Math.abs(height - stage.height) > 1) { stage.canvas.style.height = `${height}px`; stage.fit(); }
      const w = stage.width / columns, h = columns === 3 ? height : low;
      panels = gauges.map((gauge, i) => panel(gauge, columns === 3 ? i * w : 0, columns === 3 ? 0 : i * h, w, h, frame));
      stage.canvas.setAttribute("aria-label", `Collapse monitor: ${frame.kind}. ${gauges.map((g) => `${g.title} ${text(g.now)}`).join("; ")}`);
      stage.canvas.dataset.now = JSON.stringify(gauges.map((gauge) => gauge.now));
    }
    const text = (v) => (v == null || !Number.isFinite(v) ? "not known" : String(+v.toPrecision(3)));

    function panel(gauge, x, y, w, h, frame) {
      const { ctx } = stage, steps = unpack(gauge.steps), values = unpack(gauge.values), [low, high] = extent(values, [0, 1]);
      const span = extent(steps);
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
      ctx.fillText(`${gauge.title}: ${text(gauge.now)}`, x + 38, y + 13, w - 44);
      ctx.font = "11px system-ui, sans-serif";
      if (gauge.now != null && frame.step != null) {
        ctx.fillStyle = gauge.now < gauge.limit ? PALETTE[3] : PALETTE[0];
        ctx.beginPath(); ctx.arc(axes.px(frame.step), axes.py(gauge.now), 4, 0, 7); ctx.fill();
      } else if (gauge.now != null) { ctx.fillStyle = PALETTE[0]; ctx.beginPath(); ctx.arc(axes.px(steps[0]), axes.py(gauge.now), 4, 0, 7); ctx.fill(); }
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
        `below ${found.gauge.limit}: a fault; 1: as good as it gets`);
    });
    stage.canvas.addEventListener("pointerleave", () => stage.showTip());
    return stage.start(draw);
  },
};
