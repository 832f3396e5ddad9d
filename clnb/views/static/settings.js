// SettingSlider: cached runs along a setting, a curve for each method with its interval over the seeds. See 07p_settings.ipynb.

const SIGNS = ["circle", "square", "diamond", "up", "down", "plus", "cross", "star"];

/** A number with so many decimal places; – for none. */
function fixedTo(value, digits, sign = false) {
  if (!Number.isFinite(value)) return "–";
  const shown = value.toFixed(digits);
  return (sign && !shown.startsWith("-") ? `+${shown}` : shown).replace("-", "−");
}

/** A sum that does not lose what is small (Neumaier 1974), so that the last digit shown is the kernel's. */
function exactSum(values) {
  let sum = 0, lost = 0;
  for (const v of values) { const next = sum + v; lost += Math.abs(sum) >= Math.abs(v) ? sum - next + v : v - next + sum; sum = next; }
  return sum + lost;
}

const intervalText = (m, digits, sign) => (m.count < 2 ? fixedTo(m.mean, digits, sign)
  : `${fixedTo(m.mean, digits, sign)} [${fixedTo(m.low, digits, sign)}, ${fixedTo(m.high, digits, sign)}]`);

/** A small sign at (x, y), so that methods differ in more than their colour. */
function drawSign(ctx, kind, x, y, r) {
  const turn = { diamond: Math.PI / 4, cross: Math.PI / 4 }[kind] ?? 0;
  ctx.save();
  ctx.translate(x, y);
  ctx.rotate(turn);
  ctx.beginPath();
  if (kind === "square" || kind === "diamond") ctx.rect(-r * 0.85, -r * 0.85, r * 1.7, r * 1.7);
  else if (kind === "up" || kind === "down") { const s = kind === "up" ? 1 : -1; ctx.moveTo(0, -r * s); ctx.lineTo(r, r * 0.8 * s); ctx.lineTo(-r, r * 0.8 * s); ctx.closePath(); }
  else if (kind === "plus" || kind === "cross") { ctx.rect(-r, -r * 0.35, 2 * r, r * 0.7); ctx.rect(-r * 0.35, -r, r * 0.7, 2 * r); }
  else if (kind === "star") { for (let i = 0; i < 10; i++) { const a = (i * Math.PI) / 5 - Math.PI / 2, q = i % 2 ? r * 0.5 : r * 1.15; ctx[i ? "lineTo" : "moveTo"](q * Math.cos(a), q * Math.sin(a)); } ctx.closePath(); }
  else ctx.arc(0, 0, r, 0, 7);
  ctx.fill();
  ctx.restore();
}

/** Axes whose ticks along x are the values of a setting. */
class PlaceAxes extends Axes {
  constructor(stage, given) { super(stage, given); this.at = given.at; }
  draw() {
    const { ctx, ink, faint } = this.stage, { left, right, top, bottom } = this;
    ctx.save();
    ctx.strokeStyle = faint; ctx.fillStyle = ink; ctx.lineWidth = 1;
    ctx.beginPath(); ctx.moveTo(left, top); ctx.lineTo(left, bottom); ctx.lineTo(right, bottom); ctx.stroke();
    ctx.textAlign = "center"; ctx.textBaseline = "top";
    let free = -Infinity;
    for (const [v, text] of this.at) {
      const shown = cut(ctx, text, 90), wide = ctx.measureText(shown).width, x = Math.min(this.px(v), right + 12 - wide / 2);
      ctx.beginPath(); ctx.moveTo(this.px(v), bottom); ctx.lineTo(this.px(v), bottom + 3); ctx.stroke();
      if (x - wide / 2 < free) continue;
      ctx.fillText(shown, x, bottom + 5);
      free = x + wide / 2 + 5;
    }
    ctx.fillText(cut(ctx, this.xLabel, right - left), (left + right) / 2, bottom + 18);
    ctx.textAlign = "right"; ctx.textBaseline = "middle";
    for (const v of ticks(this.y, false)) ctx.fillText(short(v), left - 4, this.py(v));
    ctx.translate(9, (top + bottom) / 2); ctx.rotate(-Math.PI / 2);
    ctx.textAlign = "center";
    ctx.fillText(cut(ctx, this.yLabel, bottom - top + 20), 0, 0);
    ctx.restore();
  }
}

class SettingView {
  constructor(stage) {
    Object.assign(this, { stage, controls: [], moving: 0, said: "", dots: true, chips: [], shownAt: "" });
    this.sliders = make("div", { className: "clnb-tools", role: "group", "aria-label": "setting" });
    stage.tools.before(this.sliders);
    this.switches = make("div", { className: "clnb-tools", role: "group", "aria-label": "what is drawn", style: { minWidth: 0, maxWidth: "100%" } });
    stage.tools.append(this.switches);
    this.legend = make("div", { className: "clnb-legend", role: "group", "aria-label": "methods" });
    this.side = make("div", { role: "group", "aria-label": "examples at this setting", style: { flex: "0 1 230px", minWidth: "150px", maxHeight: `${stage.options.height}px`, overflowY: "auto" } });
    stage.body.append(this.side, this.legend);
    this.message = make("div", { className: "clnb-note", role: "status", "aria-live": "polite" });
    this.table = make("table", { "aria-label": "methods at this setting", style: { borderCollapse: "collapse", fontVariantNumeric: "tabular-nums" } });
    stage.body.after(this.message, make("div", { tabIndex: 0, role: "group", "aria-label": "numbers", style: { overflowX: "auto" } }, this.table));
    this.listen();
  }

  listen() {
    const { stage } = this, { canvas } = stage;
    for (const name of ["where", "metric", "other", "differences", "hidden", "examples"]) stage.listen(`change:${name}`, () => stage.redraw());
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => stage.showTip());
    canvas.addEventListener("click", (event) => { const k = this.nearest(event); if (k !== null) this.go(0, k); });
    stage.keys = { ArrowRight: () => this.step(1), ArrowLeft: () => this.step(-1), ArrowUp: () => this.turn(-1), ArrowDown: () => this.turn(1),
      Home: () => this.go(this.moving, 0), End: () => this.go(this.moving, this.settings[this.moving].labels.length - 1),
      m: () => this.write({ metric: (this.metric + 1) % this.frame.metrics.length }),
      d: () => { if (this.frame.paired && this.frame.arms.length > 1) this.write({ differences: !this.differences }); } };
  }

  get(name, other) { return this.stage.model.get(name) ?? other; }
  get frame() { return this.stage.frame; }
  get settings() { return this.frame.settings ?? []; }
  get place() { return this.get("where", []); }
  get metric() { return Math.min(this.get("metric", 0), this.frame.metrics.length - 1); }
  get other() { return Math.min(this.get("other", 0), this.frame.arms.length - 1); }
  get differences() { return this.get("differences", false) && this.frame.paired && this.frame.arms.length > 1; }
  get hidden() { return new Set(this.get("hidden", [])); }
  write(values) {
    for (const [key, value] of Object.entries(values)) this.stage.model.set(key, value);
    this.stage.model.save_changes();
    this.stage.redraw();
  }

  /** The runs by place and method: a map of seeds to what was measured. */
  sort() {
    if (this.sorted === this.frame) return;
    const { rows: packed, values, settings } = this.frame, rows = unpack(packed), wide = rows.shape[1], S = settings.length;
    this.cells = new Map();
    this.places = new Map();
    for (let r = 0; r < values.length; r++) {
      const row = rows.subarray(r * wide, (r + 1) * wide), place = Array.from(row.subarray(0, S)), key = `${place}|${row[S]}`;
      this.places.set(String(place), place);
      if (!this.cells.has(key)) this.cells.set(key, new Map());
      this.cells.get(key).set(row[S + 1], values[r]);
    }
    this.sorted = this.frame;
    this.build();
  }

  /** Mean and Student's interval of the finite numbers. */
  mean(numbers) {
    const known = numbers.filter((v) => v !== null && Number.isFinite(v)), count = known.length;
    const mean = count ? exactSum(known) / count : NaN;
    if (count < 2) return { mean, low: NaN, high: NaN, count };
    const spread = Math.sqrt(known.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (count - 1)), half = (this.frame.quantiles[count - 2] * spread) / Math.sqrt(count);
    return { mean, low: mean - half, high: mean + half, count };
  }
  seeds(arm, place) { return this.cells.get(`${place}|${arm}`) ?? new Map(); }
  of(arm, place) { return this.mean([...this.seeds(arm, place).values()].map((v) => v[this.metric])); }
  apart(arm, place) {
    const first = this.seeds(arm, place), second = this.seeds(this.other, place), m = this.metric, both = [];
    if (this.frame.paired) for (const [seed, v] of first) if (second.has(seed) && v[m] !== null && second.get(seed)[m] !== null) both.push(v[m] - second.get(seed)[m]);
    return this.mean(both);
  }
  drawn(arm, place) { return this.differences ? this.apart(arm, place) : this.of(arm, place); }
  /** What each seed measured, or its difference. */
  each(arm, place) {
    const m = this.metric, other = this.seeds(this.other, place), out = [];
    for (const [seed, v] of this.seeds(arm, place)) {
      const base = this.differences ? other.get(seed)?.[m] ?? null : 0;
      if (v[m] !== null && base !== null) out.push([seed, v[m] - base]);
    }
    return out;
  }
  verdict(apart) {
    const name = this.frame.arms[this.other];
    return apart.count < 2 ? "" : apart.low > 0 ? `more than ${name}` : apart.high < 0 ? `less than ${name}` : `not told apart from ${name}`;
  }

  /** Sliders, switches and legend, made anew when runs of other settings have come. */
  build() {
    const { frame } = this, known = JSON.stringify([frame.settings, frame.arms, frame.metrics, frame.paired]);
    if (known === this.known) return;
    this.known = known;
    this.controls = frame.settings.map((setting, s) => this.control(setting, s));
    this.sliders.replaceChildren(...this.controls);
    const choice = (label, names, wrote) => {
      const select = make("select", { "aria-label": label, style: { minWidth: 0, flex: "1 1 auto" }, onchange: () => wrote(+select.value) }, ...names.map((name, k) => make("option", { value: k }, name)));
      return Object.assign(make("label", { className: "clnb-slider", style: { maxWidth: "100%" } }, make("span", { style: { whiteSpace: "nowrap" } }, label), select), { read: select });
    };
    this.metrics = choice("metric", frame.metrics, (metric) => this.write({ metric }));
    this.others = choice("compared with", frame.arms, (other) => this.write({ other }));
    this.apartBox = checkbox("differences", false, (on) => this.write({ differences: on }));
    this.seedBox = checkbox("single seeds", this.dots, (on) => { this.dots = on; this.stage.redraw(); });
    const several = frame.arms.length > 1;
    this.switches.replaceChildren(...(frame.metrics.length > 1 ? [this.metrics] : []), ...(several && frame.paired ? [this.others, this.apartBox] : []), this.seedBox);
    this.chips = several ? frame.arms.map((name, arm) => this.chip(name, arm)) : [];
    this.legend.replaceChildren(...this.chips);
  }

  control({ name, labels }, s) {
    const list = make("datalist", { id: `clnb-${Math.random().toString(36).slice(2)}` }, ...labels.map((_, k) => make("option", { value: k })));
    const row = slider(name, { min: 0, max: labels.length - 1, step: 1, value: 0, show: (k) => labels[k] ?? "" }, (k) => this.go(s, Math.round(k)));
    const input = row.querySelector("input"), plain = row.write;
    input.setAttribute("list", list.id);
    input.style.width = `${Math.min(320, 90 + 22 * labels.length)}px`;
    input.disabled = labels.length < 2;
    row.append(list);
    row.write = (k) => { if (+input.value !== k || row.known === undefined) plain(k); row.known = k; input.setAttribute("aria-valuetext", labels[k]); };
    row.querySelector("output").style.minWidth = `${Math.max(...labels.map((l) => l.length))}ch`;
    Object.assign(row.style, { borderBottom: "2px solid transparent", maxWidth: "100%" });
    input.style.minWidth = "60px";
    return row;
  }

  chip(name, arm) {
    const sign = make("canvas", { width: 24, height: 24, style: { width: "12px", height: "12px" } }), ctx = sign.getContext("2d");
    ctx.fillStyle = INKS[arm % INKS.length];
    drawSign(ctx, SIGNS[arm % SIGNS.length], 12, 12, 9);
    const toggle = () => { const now = this.hidden; if (!now.delete(arm)) now.add(arm); this.write({ hidden: [...now].sort((a, b) => a - b) }); };
    return make("button", { type: "button", className: "clnb-chip", title: `hide or show ${name}`, onclick: toggle }, sign, make("span", {}, name));
  }

  /** Bring a setting to its k-th value, or to the nearest place where there are runs. */
  go(s, k) {
    const wanted = [...this.place];
    wanted[s] = k;
    this.moving = s;
    const apart = (place) => place.reduce((sum, at, i) => sum + (i === s && at !== k ? Infinity : Math.abs(at - wanted[i])), 0);
    const found = this.places.has(String(wanted)) ? wanted : [...this.places.values()].reduce((a, b) => (apart(b) < apart(a) ? b : a));
    this.said = String(found) === String(wanted) ? "" : `There are no runs at ${this.atWords(wanted)}: the nearest setting that was run is shown. `;
    this.write({ where: found });
  }
  step(by) {
    const k = this.place[this.moving] + by;
    if (k >= 0 && k < this.settings[this.moving].labels.length) this.go(this.moving, k);
  }
  turn(by) {
    const free = this.settings.map((_, s) => s).filter((s) => this.settings[s].labels.length > 1), at = free.indexOf(this.moving);
    if (free.length < 2) return;
    this.moving = free[(at + by + free.length) % free.length];
    this.said = `The arrow keys now move ${this.settings[this.moving].name}. `;
    this.stage.redraw();
  }

  atWords(place) { return this.settings.map((s, i) => `${s.name} ${s.labels[place[i]]}`).join(" · "); }

  inWords() {
    const { frame, place, metric, hidden } = this, digits = frame.digits[metric];
    const parts = frame.arms.map((name, arm) => {
      const m = this.of(arm, place), how = arm === this.other ? "" : this.verdict(this.apart(arm, place));
      const said = m.count ? `${intervalText(m, digits)} (${m.count} seed${m.count === 1 ? "" : "s"})` : "no run";
      return hidden.has(arm) ? null : `${name} ${said}`.trim() + (how ? `, ${how}` : "");
    }).filter((part) => part !== null);
    return `${frame.metrics[metric]} at ${this.atWords(place)}: ${parts.join("; ") || "nothing is shown"}.`;
  }

  draw(frame) {
    if (!frame.settings) return;
    this.sort();
    const { place, stage } = this, several = this.settings.filter((s) => s.labels.length > 1).length > 1;
    this.controls.forEach((control, s) => { control.write(place[s]); control.style.borderBottomColor = several && s === this.moving ? "var(--clnb-focus)" : "transparent"; });
    this.metrics.read.value = this.metric;
    this.others.read.value = this.other;
    this.apartBox.querySelector("input").checked = this.differences;
    this.chips.forEach((chip, arm) => chip.setAttribute("aria-pressed", String(!this.hidden.has(arm))));
    this.paint();
    this.showExamples();
    this.fillTable();
    const words = this.inWords(), text = this.said + words;
    if (this.message.textContent !== text) this.message.textContent = text;
    stage.canvas.setAttribute("aria-label", `${frame.metrics[this.metric]} along ${this.settings[0].name}, ${this.differences ? `differences to ${frame.arms[this.other]}` : "a curve for each method"}. ${words}`);
    Object.assign(stage.root.dataset, { place: JSON.stringify(place), metric: frame.metrics[this.metric], other: frame.arms[this.other], differences: this.differences, words, moving: this.moving });
  }

  /** Values of the first setting along x. */
  get xs() { const first = this.settings[0]; return first.values ?? first.labels.map((_, k) => k); }

  curves() {
    return this.frame.arms.map((name, arm) => {
      const points = this.xs.map((x, k) => { const place = [k, ...this.place.slice(1)]; return { x, k, ...this.drawn(arm, place), each: this.each(arm, place) }; }).filter((p) => p.count);
      return { name, arm, ink: INKS[arm % INKS.length], points };
    }).filter((c) => !this.hidden.has(c.arm) && c.points.length && !(this.differences && c.arm === this.other));
  }

  paint() {
    const { stage, frame } = this, { ctx } = stage, first = this.settings[0], x = this.xs;
    this.axes = null;
    this.drawnCurves = this.curves();
    stage.canvas.dataset.curves = "[]";
    if (!this.drawnCurves.length) return stage.say(this.hidden.size ? "every method is switched off" : this.differences ? "no seeds in common" : "nothing was measured here");
    const chance = this.differences ? null : frame.chance[this.metric];
    const all = this.drawnCurves.flatMap((c) => c.points.flatMap((p) => [p.mean, p.low, p.high, ...(this.dots ? p.each.map(([, v]) => v) : [])]));
    let [low, high] = extent(all, chance ?? [], this.differences ? [0] : []);
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    const logX = Boolean(first.values) && x[0] > 0 && x[x.length - 1] >= 8 * x[0], span = x[x.length - 1] - x[0];
    const pad = logX ? (x[x.length - 1] / x[0]) ** 0.04 : span * 0.04 || 0.5;
    const yLabel = frame.metrics[this.metric] + (this.differences ? ` − ${frame.arms[this.other]}` : "");
    const axes = (this.axes = new PlaceAxes(stage, { x: logX ? [x[0] / pad, x[x.length - 1] * pad] : [x[0] - pad, x[x.length - 1] + pad], y: [low - room, high + room], logX,
      left: 54, top: 10, right: 14, bottom: 34, xLabel: first.name, yLabel, at: x.map((v, k) => [v, first.labels[k]]) }));
    axes.draw();
    const now = x[this.place[0]];
    ctx.save();
    ctx.globalAlpha = 0.1; ctx.fillStyle = stage.ink;
    ctx.fillRect(axes.px(now) - 7, axes.top, 14, axes.bottom - axes.top);
    ctx.restore();
    axes.line([now, now], axes.y, { color: stage.faint, dash: [2, 3], width: 1 });
    if (this.differences) axes.line(axes.x.map((v) => (logX ? 10 ** v : v)), [0, 0], { color: stage.faint, dash: [5, 4], width: 1 });
    if (chance) this.chanceLine(axes, x, chance);
    for (const c of this.drawnCurves) this.band(axes, c);
    for (const c of this.drawnCurves) this.curve(axes, c, now);
    stage.canvas.dataset.curves = JSON.stringify(this.drawnCurves.map((c) => ({ name: c.name, points: c.points.map((p) => [p.k, p.mean, p.low, p.high, p.count, axes.px(p.x), axes.py(p.mean)]) })));
  }

  chanceLine(axes, x, chance) {
    const { ctx, faint } = this.stage, known = chance.map((v) => v ?? NaN), last = known.findLastIndex((v) => Number.isFinite(v)), color = faint;
    if (last < 0) return;
    axes.line(known.length > 1 ? x : axes.x, known.length > 1 ? known : [known[0], known[0]], { color, dash: [5, 4], width: 1 });
    ctx.save();
    ctx.fillStyle = faint; ctx.textAlign = "right"; ctx.textBaseline = "bottom";
    ctx.fillText("chance", axes.px(x[last]) - 10, axes.py(known[last]) - 2);
    ctx.restore();
  }

  band(axes, c) {
    const { ctx } = this.stage, sure = c.points.filter((p) => p.count > 1);
    ctx.save();
    ctx.globalAlpha = 0.16; ctx.fillStyle = c.ink;
    ctx.beginPath();
    sure.forEach((p, i) => ctx[i ? "lineTo" : "moveTo"](axes.px(p.x), axes.py(p.high)));
    [...sure].reverse().forEach((p) => ctx.lineTo(axes.px(p.x), axes.py(p.low)));
    ctx.fill();
    ctx.restore();
  }

  curve(axes, c, now) {
    const { ctx } = this.stage;
    axes.line(c.points.map((p) => p.x), c.points.map((p) => p.mean), { color: c.ink, width: 1.8 });
    ctx.fillStyle = c.ink; ctx.strokeStyle = c.ink;
    for (const p of c.points) {
      const x = axes.px(p.x);
      if (this.dots && p.count > 1) {
        ctx.globalAlpha = 0.5;
        for (const [, v] of p.each) { ctx.beginPath(); ctx.arc(x, axes.py(v), 1.6, 0, 7); ctx.fill(); }
        ctx.globalAlpha = 1;
      }
      if (p.count > 1 && (p.x === now || c.points.length === 1)) {
        ctx.lineWidth = 1.6;
        ctx.beginPath(); ctx.moveTo(x, axes.py(p.low)); ctx.lineTo(x, axes.py(p.high));
        for (const end of [p.low, p.high]) { ctx.moveTo(x - 4, axes.py(end)); ctx.lineTo(x + 4, axes.py(end)); }
        ctx.stroke();
      }
      drawSign(ctx, SIGNS[c.arm % SIGNS.length], x, axes.py(p.mean), p.x === now ? 5.5 : 3.8);
    }
  }

  /** Images of the shown setting. */
  showExamples() {
    const all = this.get("examples", []), one = all.find((e) => String(e.place) === String(this.place));
    this.side.hidden = !all.length;
    this.side.style.display = all.length ? "" : "none";
    const key = `${this.place}|${all.length}`;
    if (key === this.shownAt) return;
    this.shownAt = key;
    const title = make("div", { className: "clnb-note" }, one ? `examples at ${this.atWords(this.place)}` : "no examples at this setting");
    if (!one) return this.side.replaceChildren(title);
    const pixels = unpack(one.images), [n, ...shape] = pixels.shape, size = shape.reduce((a, b) => a * b);
    const tiles = Array.from({ length: n }, (_, i) => {
      const tile = thumbnail(pixels.subarray(i * size, (i + 1) * size), shape, 48), caption = one.captions[i] ?? "";
      tile.setAttribute("role", "img");
      tile.setAttribute("aria-label", caption || `example ${i + 1}`);
      return make("figure", { title: caption, style: { maxWidth: "54px" } }, tile, make("figcaption", {}, caption));
    });
    this.side.replaceChildren(title, make("div", { className: "clnb-thumbs" }, ...tiles));
    this.stage.root.dataset.examples = String(this.place);
  }

  fillTable() {
    const { frame, place, other } = this, digits = frame.digits[this.metric], compared = frame.paired && frame.arms.length > 1;
    const cell = (tag, text, more = {}) => make(tag, { ...more, style: { padding: "1px 12px 1px 0", textAlign: more.scope === "row" ? "left" : "right", fontWeight: "400", whiteSpace: "nowrap" } }, text);
    const head = ["", frame.metrics[this.metric], "95 % interval", "seeds", ...(compared ? [`− ${frame.arms[other]}`, "95 % interval", ""] : [])];
    const interval = (m, sign) => (m.count > 1 ? `${fixedTo(m.low, digits, sign)} … ${fixedTo(m.high, digits, sign)}` : "–");
    const rows = frame.arms.map((name, arm) => {
      const m = this.of(arm, place), ran = this.seeds(arm, place).size, apart = this.apart(arm, place), count = m.count === ran ? String(ran) : `${m.count} of ${ran}`;
      const swatch = make("span", { style: { color: INKS[arm % INKS.length] } }, "■ ");
      const row = make("tr", {}, make("th", { scope: "row", style: { textAlign: "left", fontWeight: "400", padding: "1px 12px 1px 0" } }, swatch, name || frame.metrics[this.metric]), cell("td", fixedTo(m.mean, digits)), cell("td", interval(m)), cell("td", count),
        ...(compared ? (arm === other ? ["", "", ""] : [fixedTo(apart.mean, digits, true), interval(apart, true), this.verdict(apart)]).map((text) => cell("td", text)) : []));
      row.dataset.arm = arm;
      return row;
    });
    const text = rows.map((row) => row.textContent).join("\n") + head.join();
    if (text === this.written) return;
    this.written = text;
    this.table.replaceChildren(make("thead", {}, make("tr", {}, ...head.map((t) => cell("th", t, { scope: "col" })))), make("tbody", {}, ...rows));
  }

  /** The value of the setting that is nearest to the mouse. */
  nearest(event) {
    if (!this.axes) return null;
    const [x, y] = this.stage.at(event), { axes } = this;
    if (x < axes.left - 12 || x > axes.right + 12 || y > axes.bottom + 30) return null;
    const far = this.xs.map((v) => Math.abs(axes.px(v) - x));
    return far.indexOf(Math.min(...far));
  }

  hover(event) {
    const { stage, frame } = this, k = this.nearest(event);
    stage.canvas.style.cursor = k === null ? "" : "pointer";
    if (k === null) return stage.showTip();
    const digits = frame.digits[this.metric], place = [k, ...this.place.slice(1)];
    const lines = this.drawnCurves.map((c) => {
      const p = c.points.find((point) => point.k === k);
      const text = p ? `${intervalText(p, digits, this.differences)} (${p.count} seed${p.count === 1 ? "" : "s"})` : "no run";
      return make("div", {}, make("span", { style: { color: c.ink } }, "■ "), `${c.name} ${text}`.trim());
    });
    const [, y] = stage.at(event), dots = this.dots ? this.drawnCurves.flatMap((c) => (c.points.find((p) => p.k === k)?.each ?? []).map(([seed, v]) => ({ c, seed, v, far: Math.abs(this.axes.py(v) - y) }))) : [];
    const near = dots.reduce((a, b) => (b.far < a.far ? b : a), { far: 5 });
    const seed = near.c && frame.paired ? [make("div", { className: "clnb-note" }, `nearest seed: ${frame.seeds[near.seed]}, ${`${near.c.name} ${fixedTo(near.v, digits, this.differences)}`.trim()}`)] : [];
    stage.showTip(event, make("b", {}, this.atWords(place)), ...lines, ...seed, make("div", { className: "clnb-note" }, "click to show this setting"));
  }
}

export default {
  render({ model, el }) {
    const { title = "What does the setting do?", height = 300 } = model.get("options") ?? {};
    const stage = new Stage({ model, el }, { title, height, help: "← →: move the setting · ↑ ↓: choose another setting · m: next metric · d: differences · click: show a setting" });
    const view = new SettingView(stage);
    return stage.start((frame) => view.draw(frame));
  },
};
