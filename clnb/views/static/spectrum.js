
// Spectrum: singular values on a logarithmic scale, or cumulative energy. See 07a_live.ipynb.

const INKS = [0, 3, 2, 4, 1, 5, 8, 9].map((k) => PALETTE[k]);   // yellow and grey are left out

/** What is drawn of singular values, largest first: as they are, divided by the largest, or cumulative energy. */
function shown(values, { normalised, energy }) {
  if (!energy) return normalised && values[0] > 0 ? values.map((v) => v / values[0]) : values;
  const total = values.reduce((sum, v) => sum + v * v, 0) || 1;
  let sum = 0;
  return values.map((v) => (sum += v * v) / total);
}

export default {
  render({ model, el }) {
    const stage = new Stage({ model, el }, { title: "Spectrum", height: 260 });
    const settings = { normalised: stage.options.normalised ?? true, energy: false };
    const toggle = (label, key) => checkbox(label, settings[key], (on) => { settings[key] = on; stage.redraw(); });
    stage.tools.append(toggle("largest = 1", "normalised"), toggle("cumulative energy", "energy"));
    const legend = make("ul", { className: "clnb-legend", "aria-label": "ranks", style: { listStyle: "none", margin: "2px 0", padding: 0 } });
    stage.body.after(legend);
    let axes = null, lines = [];

    function draw(frame) {
      lines = (frame.lines ?? []).map((line, i) => ({ ...line, ink: INKS[i % INKS.length], y: shown(unpack(line.values), settings) }));
      const key = JSON.stringify(lines.map((line) => [line.label, line.text]));
      if (legend.dataset.key !== key) {
        legend.dataset.key = key;
        legend.replaceChildren(...lines.map((line) => make("li", {},
          make("span", { style: { color: line.ink } }, "━ "), make("b", {}, line.label), ` ${line.text}`)));
      }
      stage.canvas.setAttribute("aria-label", `Spectrum. ${lines.map((line) => `${line.label}: ${line.text}`).join("; ")}`);
      const full = lines.filter((line) => line.y.length), { ctx } = stage;
      if (!full.length) { ctx.fillStyle = stage.ink; ctx.fillText("nothing has been recorded yet", 10, 20); return; }
      const floor = frame.floor * (settings.normalised ? 1 : Math.max(...full.map((line) => line.y[0])));
      const positive = full.map((line) => line.y.filter((v) => v > 0));
      let [low, high] = settings.energy ? [0, 1] : extent(...positive);
      if (!settings.energy) low = Math.max(low, floor / 30);
      const logY = !settings.energy;
      axes = new Axes(stage, { x: [1, Math.max(2, ...full.map((line) => line.y.length))], y: logY ? [low / 1.3, high * 1.3] : [0, 1.02],
        logY, left: 58, right: 14, xLabel: "rank of the singular value",
        yLabel: settings.energy ? "share of the variance" : settings.normalised ? "σ ÷ largest" : "singular value σ" });
      axes.draw();
      if (logY && floor > low / 1.3) {
        ctx.save(); ctx.globalAlpha = 0.6;
        axes.line(axesRange(), [floor, floor], { color: stage.faint, width: 1 });
        ctx.fillStyle = stage.faint; ctx.fillText("rounding of 32-bit numbers", axes.left + 6, axes.py(floor) - 4);
        ctx.restore();
      }
      for (const line of full) {
        const x = Float32Array.from(line.y, (_, i) => i + 1);
        axes.line(x, line.y, { color: line.ink, width: 1.8 });
        if (x.length < 3) for (let i = 0; i < x.length; i++) ctx.fillRect(axes.px(x[i]) - 2, axes.py(line.y[i]) - 2, 4, 4);
      }
      stage.canvas.dataset.lines = JSON.stringify(lines.map((line) => ({ label: line.label, count: line.y.length, first: line.y[0],
        last: line.y[line.y.length - 1] })));
    }
    const axesRange = () => axes.x;

    stage.canvas.addEventListener("pointermove", (event) => {
      if (!axes || !lines.length) return;
      const [mx] = stage.at(event), i = Math.round(axes.vx(mx));
      if (i < 1 || i > axes.x[1]) return stage.showTip();
      stage.showTip(event, make("b", {}, `singular value ${i}`), ...lines.map((line) => make("div", {},
        make("span", { style: { color: line.ink } }, "● "), `${line.label}: ${i <= line.y.length ? line.y[i - 1].toPrecision(3) : "–"}`)));
    });
    stage.canvas.addEventListener("pointerleave", () => stage.showTip());
    return stage.start(draw);
  },
};
