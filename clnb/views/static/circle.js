
// Circle: points on S¹ under a contrastive loss, all in the page. See 07c_playgrounds.ipynb for the formulas.

/** Value and slope matrix dL/ds (flat [M × M], M = 2n) of a loss of similarities s[i * M + j]. */
function pairLoss(s, n, { loss, temperature: tau, tau_plus: tauPlus, beta }) {
  const M = 2 * n, G = new Float64Array(M * M);
  let value = 0;
  const softmax = (row, columns, weight) => {   // −log softmax of the partner, its slope times `weight`
    const partner = row < n ? row + n : row - n, top = Math.max(...columns.map((j) => s[row * M + j]));
    const e = columns.map((j) => Math.exp((s[row * M + j] - top) / tau)), sum = e.reduce((x, y) => x + y, 0);
    columns.forEach((j, k) => { G[row * M + j] += (weight / tau) * (e[k] / sum - (j === partner ? 1 : 0)); });
    value += weight * (Math.log(sum) + (top - s[row * M + partner]) / tau);
  };
  const all = Array.from({ length: M }, (_, i) => i);
  if (loss === "nt_xent") for (const i of all) softmax(i, all.filter((j) => j !== i), 1 / M);
  if (loss === "info_nce") for (let i = 0; i < n; i++) softmax(i, all.slice(n), 1 / n);
  if (loss === "hard_nt_xent") for (const i of all) value += hardRow(s, G, i, n, tau, tauPlus, beta) / M;
  if (loss.startsWith("align")) for (let i = 0; i < n; i++) { value += (2 - 2 * s[i * M + i + n]) / n; G[i * M + i + n] -= 2 / n; }
  if (loss.endsWith("uniform")) for (const first of [0, n]) {
    const pairs = [];
    for (let i = first; i < first + n; i++) for (let j = i + 1; j < first + n; j++) pairs.push(i * M + j);
    const e = pairs.map((p) => Math.exp(4 * (s[p] - 1))), sum = e.reduce((x, y) => x + y, 0);
    value += Math.log(sum / pairs.length) / 2;
    pairs.forEach((p, k) => { G[p] += (2 * e[k]) / sum; });
  }
  return { value, G };
}

/** One anchor of the debiased and hard loss; adds its slopes, divided by M, to G. */
function hardRow(s, G, i, n, tau, tauPlus, beta) {
  const M = 2 * n, partner = (i + n) % M, count = M - 2, positive = s[i * M + partner] / tau, high = Math.exp(positive);
  let W = 0, S = 0;
  for (let j = 0; j < M; j++) if (j !== i && j !== partner) { const l = s[i * M + j] / tau; W += Math.exp(beta * l); S += Math.exp((1 + beta) * l); }
  let g = ((count * S) / W - tauPlus * count * high) / (1 - tauPlus);
  const least = count * Math.exp(-1 / tau), free = g > least;
  if (!free) g = least;
  const all = high + g, scale = 1 / (M * tau);
  G[i * M + partner] += scale * (high / all - 1 - (free ? (tauPlus * count * high) / (1 - tauPlus) / all : 0));
  if (free) for (let j = 0; j < M; j++) if (j !== i && j !== partner) {
    const l = s[i * M + j] / tau, w = Math.exp(beta * l), hard = Math.exp((1 + beta) * l);
    G[i * M + j] += (scale * count * (((1 + beta) * hard) / W - (beta * w * S) / (W * W))) / (1 - tauPlus) / all;
  }
  return Math.log(all) - positive;
}

/** Loss, and for every point the attraction and repulsion along the circle; their sum is −dL/dθ. */
function forces(angles, settings) {
  const M = angles.length, s = new Float64Array(M * M);
  for (let i = 0; i < M; i++) for (let j = 0; j < M; j++) s[i * M + j] = Math.cos(angles[i] - angles[j]);
  const { value, G } = pairLoss(s, M / 2, settings), pull = new Float64Array(M), push = new Float64Array(M), pair = new Float64Array(M * M);
  for (let i = 0; i < M; i++) for (let j = 0; j < M; j++) {
    const slope = (pair[i * M + j] = G[i * M + j] + G[j * M + i]), force = slope * Math.sin(angles[i] - angles[j]);
    if (slope < 0) pull[i] += force; else push[i] += force;
  }
  return { value, pull, push, pair, s };
}

export default {
  render({ model, el }) {
    const stage = new Stage({ model, el }, { title: "Circle playground", height: 340,
      help: "Drag points; or focus the view: ↑ ↓ choose a point, ← → move it, space plays. Blue arrows attract, orange arrows repel." });
    const o = stage.options, start = [...(o.angles ?? [])], n = start.length / 2, { canvas } = stage;
    const settings = { loss: o.loss, temperature: o.temperature, tau_plus: o.tau_plus, beta: o.beta };
    let angles = [...(model.get("angles")?.length ? model.get("angles") : start)], held = -1, over = -1, chosen = -1, timer = 0, trace = [];
    const play = make("button", { type: "button", "aria-pressed": "false" }, "play");
    const button = (text, action) => { const b = make("button", { type: "button" }, text); b.addEventListener("click", action); return b; };
    play.addEventListener("click", toggle);
    const extra = ["tau_plus", "beta"].map((key) => slider(key === "beta" ? "β" : "τ⁺", { min: 0, max: key === "beta" ? 3 : 0.3, step: key === "beta" ? 0.05 : 0.005,
      value: settings[key] }, (v) => { settings[key] = v; trace = []; stage.redraw(); }));
    stage.tools.append(dropdown("loss", o.losses ?? [o.loss], o.loss, (v) => { settings.loss = v; trace = []; show(); stage.redraw(); }),
      slider("temperature", { min: 0.05, max: 5, value: settings.temperature, log: true }, (v) => { settings.temperature = v; trace = []; stage.redraw(); }),
      ...extra, play, button("step", () => { step(); share(); }), button("reset", () => { stop(); angles = [...start]; trace = []; share(); stage.redraw(); }));
    const readout = make("div", { className: "clnb-readout", role: "status", style: { fontVariantNumeric: "tabular-nums" } });
    stage.body.before(readout);
    const show = () => extra.forEach((row) => { row.hidden = settings.loss !== "hard_nt_xent"; row.style.display = row.hidden ? "none" : ""; });
    show();

    function share() { model.set("angles", angles.map((v) => ((v % (2 * Math.PI)) + 2 * Math.PI) % (2 * Math.PI))); model.save_changes(); }
    function step() {
      const { pull, push, value } = forces(angles, settings), rate = 0.03 * angles.length;
      trace.push(value);
      if (trace.length > 2000) trace = trace.filter((_, i) => i % 2);
      angles = angles.map((v, i) => v + Math.max(-0.1, Math.min(0.1, rate * (pull[i] + push[i]))));
      stage.redraw();
    }
    function stop() { clearInterval(timer); timer = 0; play.textContent = "play"; play.setAttribute("aria-pressed", "false"); share(); }
    function toggle() {
      if (timer) return stop();
      timer = setInterval(step, 40);
      play.textContent = "pause"; play.setAttribute("aria-pressed", "true");
    }
    stage.ends.push(() => clearInterval(timer));

    let centre = [0, 0], radius = 1;
    const place = (angle, r = 1) => [centre[0] + radius * r * Math.cos(angle), centre[1] - radius * r * Math.sin(angle)];
    const name = (i) => `pair ${(i % n) + 1}, view ${i < n ? 1 : 2}`;

    function draw() {
      const wide = stage.width >= 520, height = wide ? 340 : 480;
      if (Math.abs(height - stage.height) > 1) { canvas.style.height = `${height}px`; stage.fit(); }
      const side = Math.min(wide ? stage.width * 0.55 : stage.width, 340), { ctx } = stage;
      centre = [side / 2, side / 2]; radius = side / 2 - 46;
      const now = forces(angles, settings), align = forces(angles, { ...settings, loss: "align" }).value;
      const uniform = forces(angles, { ...settings, loss: "uniform" }).value;
      const others = { loss: now.value, align, uniform };
      readout.textContent = `${settings.loss} ${now.value.toFixed(4)} · align ${align.toFixed(4)} · uniform ${uniform.toFixed(4)}`;
      Object.assign(canvas.dataset, Object.fromEntries(Object.entries(others).map(([key, v]) => [key, String(v)])),
        { angles: JSON.stringify(angles), pull: JSON.stringify([...now.pull]), push: JSON.stringify([...now.push]), name: settings.loss,
          temperature: String(settings.temperature), tauPlus: String(settings.tau_plus), beta: String(settings.beta) });
      canvas.setAttribute("aria-label", `Circle with ${n} pairs. ${readout.textContent}`);
      ctx.strokeStyle = stage.faint; ctx.lineWidth = 1;
      ctx.beginPath(); ctx.arc(...centre, radius, 0, 7); ctx.stroke();
      const look = held >= 0 ? held : over >= 0 ? over : chosen;
      if (look >= 0) partners(look, now);
      const longest = Math.max(1e-9, ...now.pull.map(Math.abs), ...now.push.map(Math.abs));
      angles.forEach((angle, i) => { arrow(angle, 1.13, now.pull[i] / longest, PALETTE[0]); arrow(angle, 0.87, now.push[i] / longest, PALETTE[3]); });
      angles.forEach((angle, i) => point(angle, i, i === look));
      ctx.fillStyle = stage.faint; ctx.textAlign = "left";
      ctx.fillText(`longest arrow: ${(longest * angles.length).toPrecision(2)} per radian`, 4, side - 4);
      if (wide) curve({ left: side + 46, right: 12, top: 30, bottom: 40 });
      else curve({ left: 46, right: 12, top: side + 22, bottom: 36 });
    }

    function partners(i, { pair }) {
      const { ctx } = stage, row = angles.map((_, j) => pair[i * angles.length + j]), most = Math.max(1e-12, ...row.map(Math.abs));
      ctx.save();
      row.forEach((slope, j) => {
        if (j === i || !slope) return;
        ctx.globalAlpha = 0.1 + 0.8 * (Math.abs(slope) / most);
        ctx.strokeStyle = slope < 0 ? PALETTE[0] : PALETTE[3]; ctx.lineWidth = 0.5 + (3 * Math.abs(slope)) / most;
        ctx.beginPath(); ctx.moveTo(...place(angles[i])); ctx.lineTo(...place(angles[j])); ctx.stroke();
      });
      ctx.restore();
    }

    function arrow(angle, r, force, ink) {
      const { ctx } = stage, length = 52 * force;
      if (Math.abs(length) < 1.5) return;
      const [x, y] = place(angle, r), tx = -Math.sin(angle), ty = -Math.cos(angle), ex = x + tx * length, ey = y + ty * length;
      const head = Math.min(6, Math.abs(length)) * Math.sign(length);
      ctx.strokeStyle = ctx.fillStyle = ink; ctx.lineWidth = 2;
      ctx.beginPath(); ctx.moveTo(x, y); ctx.lineTo(ex - tx * head * 0.7, ey - ty * head * 0.7); ctx.stroke();
      ctx.beginPath(); ctx.moveTo(ex, ey);
      ctx.lineTo(ex - tx * head - ty * 3.5, ey - ty * head + tx * 3.5); ctx.lineTo(ex - tx * head + ty * 3.5, ey - ty * head - tx * 3.5); ctx.fill();
    }

    function point(angle, i, strong) {
      const { ctx } = stage, [x, y] = place(angle), r = strong ? 8 : 6;
      ctx.fillStyle = colour(i % n); ctx.strokeStyle = stage.ink; ctx.lineWidth = strong ? 2 : 1;
      ctx.beginPath();
      if (i < n) ctx.arc(x, y, r, 0, 7); else ctx.rect(x - r + 0.5, y - r + 0.5, 2 * r - 1, 2 * r - 1);
      ctx.fill(); ctx.stroke();
    }

    function curve(margins) {
      const { ctx } = stage, chance = { nt_xent: Math.log(2 * n - 1), info_nce: Math.log(n), hard_nt_xent: Math.log(2 * n - 1), align: 0, uniform: 0 }[settings.loss];
      const steps = trace.map((_, i) => i), guides = chance === undefined ? [] : [chance];
      const [low, high] = extent(trace.length ? trace : [Number(canvas.dataset.loss)], guides), pad = (high - low) * 0.06 || 0.1;
      const axes = new Axes(stage, { x: [0, Math.max(20, trace.length - 1)], y: [low - pad, high + pad], xLabel: "step of the gradient", ...margins });
      axes.draw();
      for (const level of guides) {
        axes.line(axes.x, [level, level], { color: stage.faint, dash: [5, 4], width: 1 });
        ctx.fillStyle = stage.faint; ctx.textAlign = "right"; ctx.fillText("all in one point", axes.right - 2, axes.py(level) - 4);
      }
      axes.line(steps, trace, { color: PALETTE[0], width: 1.8 });
      ctx.fillStyle = stage.ink; ctx.textAlign = "left"; ctx.font = "600 11px system-ui, sans-serif";
      ctx.fillText(trace.length ? settings.loss : `${settings.loss}: press play`, axes.left, axes.top - 8);
    }

    const hit = (event) => {
      const [mx, my] = stage.at(event);
      let best = -1, least = 13;
      angles.forEach((angle, i) => { const [x, y] = place(angle), d = Math.hypot(mx - x, my - y); if (d < least) [best, least] = [i, d]; });
      return best;
    };
    canvas.addEventListener("pointerdown", (event) => { held = chosen = hit(event); if (held >= 0) canvas.setPointerCapture(event.pointerId); stage.redraw(); });
    canvas.addEventListener("pointermove", (event) => {
      const [mx, my] = stage.at(event);
      if (held >= 0) { angles[held] = Math.atan2(centre[1] - my, mx - centre[0]); if (!timer) trace = []; stage.redraw(); return; }
      const before = over;
      over = hit(event);
      canvas.style.cursor = over >= 0 ? "grab" : "";
      if (over >= 0) stage.showTip(event, name(over), "blue: attracts it, orange: repels it, as thick as it counts"); else stage.showTip();
      if (over !== before) stage.redraw();
    });
    const release = () => { if (held >= 0) { held = -1; share(); stage.redraw(); } };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("pointerleave", () => { over = -1; stage.showTip(); stage.redraw(); });
    stage.root.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: 0.035, ArrowRight: -0.035 }[event.key], turn = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (event.target !== stage.root || (!move && !turn && event.key !== " " && event.key !== "Escape")) return;
      event.preventDefault();
      if (event.key === " ") return toggle();
      if (event.key === "Escape") chosen = -1;
      else if (turn) chosen = (chosen + turn + 2 * n) % (2 * n);
      else if (chosen >= 0) { angles[chosen] += move; share(); }
      stage.redraw();
    });
    stage.listen("change:angles", () => {
      const given = model.get("angles");
      if (held < 0 && !timer && given?.length === angles.length) { angles = [...given]; stage.redraw(); }
    });
    return stage.start(draw);
  },
};
