
// NegativeWeights: how much a negative of some similarity counts, all in the page. See 07c_playgrounds.ipynb.

/** Weights tau · dL/ds of negatives with similarities `s`, their loss; debiased by tauPlus, hardened by beta. */
function negativeWeights(s, positive, tau, tauPlus = 0, beta = 0) {
  const count = s.length, high = Math.exp(positive / tau);
  let W = 0, S = 0;
  for (const v of s) { W += Math.exp((beta * v) / tau); S += Math.exp(((1 + beta) * v) / tau); }
  const least = count * Math.exp(-1 / tau);
  let g = ((count * S) / W - tauPlus * count * high) / (1 - tauPlus);
  const free = g >= least;
  if (!free) g = least;
  const weights = s.map((v) => {
    const w = Math.exp((beta * v) / tau), hard = Math.exp(((1 + beta) * v) / tau);
    return free ? (count * (((1 + beta) * hard) / W - (beta * w * S) / (W * W))) / (1 - tauPlus) / (high + g) : 0;
  });
  return { weights, loss: Math.log1p(g / high) };
}

/** exp of the entropy: how many negatives share the push. */
function effective(weights) {
  const positive = weights.filter((w) => w > 0), sum = positive.reduce((a, b) => a + b, 0);
  return sum ? Math.exp(-positive.reduce((h, w) => h + (w / sum) * Math.log(w / sum), 0)) : 0;
}

export default {
  render({ model, el }) {
    const stage = new Stage({ model, el }, { title: "How much does a negative count?", height: 300,
      help: "Drag the dotted line: the similarity of the positive. Grey: InfoNCE at other temperatures." });
    const o = stage.options, { canvas } = stage, set = { tau: o.temperature, tauPlus: o.tau_plus, beta: o.beta, count: o.negatives, positive: o.positive };
    let log = true, share = false, axes = null, lines = [], dragging = false;
    const change = (key) => (v) => { set[key] = +v; stage.redraw(); };
    const counts = [...new Set([6, 14, 62, 254, 510, 4094, o.negatives])].sort((a, b) => a - b).map(String);
    stage.tools.append(slider("temperature", { min: 0.05, max: 5, value: set.tau, log: true }, change("tau")),
      slider("τ⁺", { min: 0, max: 0.3, step: 0.005, value: set.tauPlus }, change("tauPlus")),
      slider("β", { min: 0, max: 3, step: 0.05, value: set.beta }, change("beta")),
      dropdown("negatives", counts, String(set.count), change("count")),
      checkbox("log y", log, (on) => { log = on; stage.redraw(); }),
      checkbox("share of the push", share, (on) => { share = on; stage.redraw(); }));
    const table = make("div", { className: "clnb-readout", role: "status", style: { fontVariantNumeric: "tabular-nums" } });
    stage.body.after(table);

    function draw() {
      const s = Array.from({ length: set.count }, (_, i) => -1 + (2 * i) / (set.count - 1)), { ctx } = stage;
      const line = (name, ink, tau, tauPlus, beta, width = 2) => {
        const found = negativeWeights(s, set.positive, tau, tauPlus, beta), sum = found.weights.reduce((a, b) => a + b, 0);
        return { name, ink, width, ...found, y: share && sum ? found.weights.map((w) => w / sum) : found.weights, effective: effective(found.weights) };
      };
      const bold = [line("InfoNCE", PALETTE[0], set.tau, 0, 0), line("debiased", PALETTE[2], set.tau, set.tauPlus, 0), line("hard", PALETTE[3], set.tau, set.tauPlus, set.beta)];
      const others = (o.temperatures ?? []).map((tau) => line(`τ ${tau}`, stage.faint, tau, 0, 0, 1));
      lines = bold;
      const highest = Math.max(1e-9, ...bold.map((l) => Math.max(...l.y))), positive = bold.flatMap((l) => l.y.filter((v) => v > 0));
      const low = log ? Math.max(1e-12, Math.min(...(positive.length ? positive : [1e-3])) / 3) : Math.min(0, ...bold.map((l) => Math.min(...l.y)));
      axes = new Axes(stage, { x: [-1, 1], y: [low, log ? Math.min(2, highest * 4) : highest * 1.1], logY: log, left: 56, right: 14, top: 12,
        xLabel: "similarity of the negative", yLabel: share ? "share of the push" : "weight" });
      axes.draw();
      others.forEach((l, i) => {
        axes.line(s, l.y, { color: l.ink, width: 1 });
        const at = Math.round((s.length - 1) * (0.06 + 0.05 * i)), y = axes.py(l.y[at]);
        if (y > axes.top + 8 && y < axes.bottom - 2) { ctx.fillStyle = stage.faint; ctx.textAlign = "left"; ctx.fillText(l.name, axes.px(s[at]), y - 3); }
      });
      bold.forEach((l, i) => axes.line(s, l.y, { color: l.ink, width: 2.4 - 0.4 * i, dash: [[], [7, 3], [2, 3]][i] }));
      axes.line([set.positive, set.positive], axes.logY ? [10 ** axes.y[0], 10 ** axes.y[1]] : axes.y, { color: stage.ink, dash: [2, 3], width: 1 });
      ctx.fillStyle = stage.ink; ctx.textAlign = set.positive > 0.5 ? "right" : "left";
      ctx.fillText("positive", axes.px(set.positive) + (set.positive > 0.5 ? -4 : 4), axes.top + 10);
      table.replaceChildren(...bold.map((l) => make("div", {}, make("span", { style: { color: l.ink } }, "━ "), make("b", {}, l.name),
        `: ${l.effective.toPrecision(3)} of ${set.count} negatives share the push, loss ${l.loss.toFixed(4)}`,
        l.weights[0] < 0 ? ` (negatives below similarity ${s[l.weights.findIndex((w) => w > 0)]?.toFixed(2) ?? "1"} are attracted)` : "",
        l.weights.every((w) => w === 0) ? " (the correction is at its limit: no negative pushes)" : "")));
      canvas.setAttribute("aria-label", `Weights of negatives at temperature ${set.tau.toPrecision(3)}. ${table.textContent}`);
      Object.assign(canvas.dataset, { settings: JSON.stringify(set), loss: JSON.stringify(bold.map((l) => l.loss)),
        weights: JSON.stringify(bold.map((l) => l.weights)), effective: JSON.stringify(bold.map((l) => l.effective)) });
    }

    canvas.addEventListener("pointerdown", (event) => { dragging = Boolean(axes) && Math.abs(stage.at(event)[0] - axes.px(set.positive)) < 12; if (dragging) canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointerup", () => { dragging = false; });
    canvas.addEventListener("pointermove", (event) => {
      if (!axes) return;
      const value = Math.max(-1, Math.min(1, axes.vx(stage.at(event)[0])));
      if (dragging) { set.positive = Math.round(value * 100) / 100; stage.showTip(event, `positive: ${set.positive}`); stage.redraw(); return; }
      canvas.style.cursor = Math.abs(axes.px(set.positive) - stage.at(event)[0]) < 12 ? "ew-resize" : "";
      const i = Math.round(((value + 1) / 2) * (set.count - 1));
      stage.showTip(event, make("b", {}, `similarity ${(-1 + (2 * i) / (set.count - 1)).toFixed(2)}`),
        ...lines.map((l) => make("div", {}, make("span", { style: { color: l.ink } }, "● "), `${l.name}: ${l.y[i].toPrecision(3)}`)));
    });
    canvas.addEventListener("pointerleave", () => stage.showTip());
    stage.root.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
      if (!move || event.target !== stage.root) return;
      event.preventDefault();
      set.positive = Math.max(-1, Math.min(1, +(set.positive + move).toFixed(2)));
      stage.redraw();
    });
    return stage.start(draw);
  },
};
