// Thresholds: scores of two classes, a threshold to drag, and everything that follows from it. See 07r_thresholds.ipynb.

const [POSITIVE, NEGATIVE, PICKED] = ["#D55E00", "#0072B2", "#E69F00"];
const MODELS = [2, 4, 5, 8, 9, 7].map((k) => PALETTE[k]);       // neither of the colours of the classes
const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3]];
const CELLS = ["tp", "fn", "fp", "tn"];
const RULES = { half: "one half", f1: "best F1", balanced: "best balanced accuracy", cost: "lowest cost" };
const BINS = 40, EDGE = 1e-6;

/** Numbers in double precision, which travel as bytes. */
function doubles(packed) {
  const bytes = unpack(packed);
  return new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

const minus = (text) => text.replaceAll("-", "−");
const fixedTo = (v, digits) => (Number.isFinite(v) ? minus(v.toFixed(digits)) : "–");
const percent = (v) => (Number.isFinite(v) ? `${(100 * v).toFixed(1)} %` : "–");
const plain = (v) => minus(String(+v.toPrecision(4)));
const alarms = (v) => `${plain(v)} false alarm${plain(v) === "1" ? "" : "s"}`;

const same = (a, b) => a.length === b.length && a.every((v, i) => v === b[i]);

/** The next number of double precision above v. */
function above(v) {
  if (v === 0) return Number.MIN_VALUE;
  const bits = new BigInt64Array(new Float64Array([v]).buffer);
  bits[0] += v > 0 ? 1n : -1n;
  return new Float64Array(bits.buffer)[0];
}

/** Wilson's 95 % interval of a share. */
function wilson(k, n) {
  if (!n) return [NaN, NaN];
  const z = 1.959963984540054, p = k / n, wide = 1 + (z * z) / n, middle = (p + (z * z) / (2 * n)) / wide;
  const half = (z / wide) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  return [k === 0 ? 0 : middle - half, k === n ? 1 : middle + half];
}

/** What a table of counts is worth. */
function measures({ tp, fp, fn, tn }) {
  const recall = tp / (tp + fn), specificity = tn / (tn + fp);
  return { recall, specificity, precision: tp / (tp + fp), f1: (2 * tp) / (2 * tp + fp + fn), balanced: (recall + specificity) / 2 };
}

/** The scores of one model, sorted: how many of each class lie at or above every one of them. */
class Ranked {
  constructor(scores, labels) {
    Object.assign(this, { scores, labels });
    this.order = Uint32Array.from(rowsWhere(labels.length, (i) => labels[i] >= 0)).sort((a, b) => scores[b] - scores[a] || a - b);
    const u = [], tp = [0], fp = [0];
    this.order.forEach((row, i) => {
      if (!i || scores[row] !== u[u.length - 1]) { u.push(scores[row]); tp.push(tp[u.length - 1]); fp.push(fp[u.length - 1]); }
      (labels[row] === 1 ? tp : fp)[u.length]++;
    });
    Object.assign(this, { u: Float64Array.from(u), tp: Uint32Array.from(tp), fp: Uint32Array.from(fp), positives: tp[u.length], negatives: fp[u.length] });
  }
  /** How many distinct scores are at or above t. */
  upto(t) {
    let low = 0, high = this.u.length;
    while (low < high) { const middle = (low + high) >> 1; if (this.u[middle] >= t) low = middle + 1; else high = middle; }
    return low;
  }
  counts(i) { return { tp: this.tp[i], fp: this.fp[i], fn: this.positives - this.tp[i], tn: this.negatives - this.fp[i] }; }
  at(t) { return this.counts(this.upto(t)); }
  /** A threshold that lets exactly the i highest distinct scores through, half-way to the next. */
  cut(i) {
    const { u } = this;
    if (i <= 0) return above(u[0]);
    if (i >= u.length) return u[u.length - 1];
    const half = u[i] + (u[i - 1] - u[i]) / 2;
    return half > u[i] ? half : u[i - 1];
  }
  best(rule, cost) {
    if (rule === "half") return 0.5;
    let most = -Infinity, place = 0;
    for (let i = 0; i <= this.u.length; i++) {
      const c = this.counts(i), value = rule === "cost" ? -(cost * c.fn + c.fp) : measures(c)[rule];
      if (value >= most) { most = value; place = i; }
    }
    return this.cut(place);
  }
  /** Rows of a cell of the table. */
  rows(cell, t) {
    const positive = cell === "tp" || cell === "fn", over = cell === "tp" || cell === "fp", { scores, labels } = this;
    return rowsWhere(labels.length, (i) => labels[i] === (positive ? 1 : 0) && scores[i] >= t === over);
  }
  /** The surest mistakes of a kind. */
  worst(cell, t, most) {
    const found = [], { order, scores, labels } = this, n = order.length;
    for (let i = 0; i < n && found.length < most; i++) {
      const row = order[cell === "fn" ? n - 1 - i : i];
      if (scores[row] >= t !== (cell === "fp")) break;
      if (labels[row] === (cell === "fn" ? 1 : 0)) found.push(row);
    }
    return found;
  }
}

/** A plot in a part of the canvas, with a title. */
class Panel extends Axes {
  constructor(stage, box, given) {
    super(stage, { ...given, left: box.x + 42, right: stage.width - box.x - box.w + 8, top: box.y + 18, bottom: stage.height - box.y - box.h + 32 });
    this.given = given;
  }
  draw() {
    const { ctx, ink, faint } = this.stage, { left, right, top, bottom, given } = this;
    ctx.save();
    ctx.strokeStyle = faint; ctx.fillStyle = ink; ctx.lineWidth = 1;
    ctx.beginPath(); ctx.moveTo(left, top); ctx.lineTo(left, bottom); ctx.lineTo(right, bottom); ctx.stroke();
    ctx.textAlign = "center"; ctx.textBaseline = "bottom";
    ctx.fillText(cut(ctx, given.title, right - left + 40), (left + right) / 2 - 12, top - 5);
    ctx.textBaseline = "top";
    let free = -Infinity;
    for (const [v, text] of given.xTicks ?? ticks(this.x, false).map((t) => [t, short(t)])) {
      const wide = ctx.measureText(text).width, x = this.px(v);
      if (x - wide / 2 < free || x < left - 1 || x > right + 1) continue;
      ctx.fillText(text, x, bottom + 4);
      free = x + wide / 2 + 4;
    }
    ctx.fillText(cut(ctx, this.xLabel, right - left + 30), (left + right) / 2, bottom + 17);
    ctx.textAlign = "right"; ctx.textBaseline = "middle";
    for (const v of ticks(this.y, false)) ctx.fillText(short(Math.abs(v)), left - 4, this.py(v));
    ctx.translate(left - 36, (top + bottom) / 2); ctx.rotate(-Math.PI / 2);
    ctx.textAlign = "center";
    ctx.fillText(cut(ctx, this.yLabel, bottom - top + 20), 0, 0);
    ctx.restore();
  }
  has([x, y]) { return x >= this.left - 14 && x <= this.right + 8 && y >= this.top - 8 && y <= this.bottom + 12; }
}

class ThresholdView {
  constructor(stage) {
    const { options } = stage;
    Object.assign(this, { stage, names: options.names, labels: numbersOf(options.labels), chosen: new Chosen(stage), stripFor: "", panels: {} });
    this.images = options.images ? new ImageStore(stage, () => this.fillStrips(true)) : null;
    this.whisper = whisper(stage);
    this.makeTools();
    this.message = make("div", { className: "clnb-note", role: "status", "aria-live": "polite", style: { margin: "3px 0" } });
    this.table = make("table", { "aria-label": "true and predicted classes", style: { borderCollapse: "separate", borderSpacing: "3px", fontVariantNumeric: "tabular-nums" } });
    this.scores = make("table", { "aria-label": "models", style: { borderCollapse: "collapse", fontVariantNumeric: "tabular-nums" } });
    const scroll = make("div", { tabIndex: 0, role: "group", "aria-label": "numbers", style: { overflowX: "auto", flex: "1 1 300px", minWidth: 0 } }, this.scores);
    this.strips = make("div", { role: "group", "aria-label": "worst mistakes" });
    stage.body.after(this.message, make("div", { style: { display: "flex", flexWrap: "wrap", gap: "6px 24px", alignItems: "flex-start" } }, this.table, scroll), this.strips);
    this.makeTable();
    this.listen();
  }

  get(name, other) { return this.stage.model.get(name) ?? other; }
  get frame() { return this.stage.frame; }
  get m() { return Math.min(this.get("model", 0), this.models.length - 1); }
  get now() { return this.models[this.m]; }
  get thresholds() { return this.get("thresholds", []); }
  get t() { return this.thresholds[this.m]; }
  get cost() { return this.get("cost", 1); }
  get cell() { return this.get("cell", ""); }
  get stretched() { return this.get("stretched", false) && this.now.info.probability; }
  write(values) {
    for (const [key, value] of Object.entries(values)) this.stage.model.set(key, value);
    this.stage.model.save_changes();
    this.stage.redraw();
  }
  setThreshold(t) { if (Number.isFinite(t)) this.write({ thresholds: this.thresholds.map((v, m) => (m === this.m ? t : v)) }); }

  makeTools() {
    const { stage } = this, group = (label) => make("span", { className: "clnb-modes", role: "group", "aria-label": label, style: { flexWrap: "wrap" } });
    this.chips = group("model");
    this.slide = slider("threshold", { min: 0, max: 1, step: 0.001, value: 0.5, show: () => "" }, (g) => this.setThreshold(this.ungrow(g)));
    this.slide.querySelector("output").remove();
    this.slide.querySelector("input").style.width = "200px";
    this.exact = make("input", { type: "number", step: "any", "aria-label": "threshold as a number", style: { width: "7.5em", font: "inherit", color: "inherit", background: "transparent", border: "1px solid var(--clnb-line)" },
      onchange: () => this.typed() });
    this.exact.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); event.stopPropagation(); this.typed(); } });
    this.rules = group("rules for the threshold");
    this.ruleButtons = Object.fromEntries(Object.entries(RULES).map(([rule, text]) => [rule, make("button", { type: "button", "data-rule": rule, onclick: () => this.follow(rule) }, text)]));
    this.rules.append(...Object.values(this.ruleButtons));
    this.price = slider("a miss costs as much as", { min: 0.1, max: 100, log: true, value: 1, show: alarms }, (v) => this.write({ cost: +v.toPrecision(3) }));
    this.price.querySelector("output").style.minWidth = "9.5em";
    this.heights = dropdown("bars", ["share of the class", "count"], "share of the class", (how) => this.write({ shares: how !== "count" }));
    this.stretch = checkbox("stretch both ends", false, (on) => this.write({ stretched: on }));
    stage.tools.append(this.chips, this.slide, this.exact, this.rules, this.price, this.heights, this.stretch);
  }

  typed() {
    const typed = this.exact.value.trim() === "" ? NaN : +this.exact.value;
    this.exact.known = undefined;
    if (Number.isFinite(typed) && typed !== +this.t.toPrecision(6)) this.setThreshold(typed); else this.stage.redraw();
  }

  listen() {
    const { stage } = this, { canvas } = stage;
    for (const name of ["cost", "shares", "stretched"]) stage.listen(`change:${name}`, () => stage.redraw());
    for (const name of ["model", "thresholds", "cell"]) stage.listen(`change:${name}`, () => { this.own = undefined; stage.redraw(); });
    stage.listen("change:selected", () => {         // a selection made elsewhere is no longer that of a cell
      if (this.cell && this.own !== undefined && !same(stage.selection, this.own)) this.write({ cell: "" });
    });
    canvas.addEventListener("pointerdown", (event) => {
      const panel = this.under(event);
      if (!panel || event.button) return;
      this.held = panel;
      canvas.setPointerCapture(event.pointerId);
      this.drag(event);
    });
    canvas.addEventListener("pointermove", (event) => (this.held ? this.drag(event) : this.hover(event)));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { this.held = ""; });
    canvas.addEventListener("pointerleave", () => stage.showTip());
    const move = (sign) => (event) => (event.shiftKey ? this.oneCase(sign) : this.setThreshold(this.ungrow(this.grow(this.t) + sign * 0.01 * (this.range[1] - this.range[0]))));
    const rule = (name) => () => this.follow(name);
    stage.keys = { ArrowRight: move(1), ArrowLeft: move(-1), Home: () => this.setThreshold(this.now.cut(this.now.u.length)), End: () => this.setThreshold(this.now.cut(0)),
      h: rule("half"), f: rule("f1"), b: rule("balanced"), c: rule("cost"), m: () => this.write({ model: (this.m + 1) % this.models.length }),
      ...Object.fromEntries(CELLS.map((cell, k) => [String(k + 1), () => this.toggle(cell)])) };
  }

  /** One distinct score more or less is let through. */
  oneCase(sign) {
    const i = this.now.upto(this.t) - sign;
    if (i >= 0 && i <= this.now.u.length) this.setThreshold(this.now.cut(i));
  }

  /** Every model's threshold by a rule, chosen on the validation cases where there are some. */
  follow(rule) {
    if (rule === "half" && !this.models.some(({ info }) => info.probability)) return;
    this.write({ thresholds: this.models.map((model, m) => (rule === "half" && !model.info.probability ? this.thresholds[m] : (model.validation ?? model).best(rule, this.cost))) });
  }

  toggle(cell) {
    this.write({ cell: this.cell === cell ? "" : cell });
    if (!this.cell) this.stage.select([]);
  }

  /** Sorted once for every frame. */
  sort() {
    if (this.sorted === this.frame) return;
    const known = this.frame.validationLabels && numbersOf(this.frame.validationLabels);
    this.models = this.frame.models.map((info) => Object.assign(new Ranked(doubles(info.scores), this.labels), { info, validation: info.validation ? new Ranked(doubles(info.validation), known) : null }));
    this.sorted = this.frame;
    this.bars = null;
    const names = this.models.map(({ info }) => info.name);
    if (String(names) === this.named) return;
    this.named = String(names);
    this.chips.replaceChildren(...(names.length > 1 ? names.map((name, m) => this.chip(name, m)) : []));
  }

  chip(name, m) {
    const line = make("canvas", { width: 36, height: 12, style: { width: "18px", height: "6px", padding: "3px 1px", background: "var(--clnb-paper)", verticalAlign: "middle" } }), ctx = line.getContext("2d");
    Object.assign(ctx, { strokeStyle: MODELS[m % MODELS.length], lineWidth: 5 });
    ctx.setLineDash(DASHES[m % DASHES.length].map((v) => 2 * v));
    ctx.beginPath(); ctx.moveTo(0, 6); ctx.lineTo(36, 6); ctx.stroke();
    return make("button", { type: "button", "data-model": m, onclick: () => this.write({ model: m }) }, line, ` ${name}`);
  }

  /** The axis of the scores: as they are, or the log odds of probabilities. */
  grow(v) { return this.stretched ? Math.log(Math.min(Math.max(v, EDGE), 1 - EDGE) / (1 - Math.min(Math.max(v, EDGE), 1 - EDGE))) : v; }
  ungrow(g) { return this.stretched ? 1 / (1 + Math.exp(-g)) : g; }
  get range() {
    const { u, info } = this.now;
    if (!this.stretched && info.probability) return [0, 1];
    const low = this.grow(u[u.length - 1]), high = this.grow(u[0]), room = (high - low) * 0.02 || 0.5;
    return [low - room, high + room];
  }

  draw(frame) {
    if (!frame.models) return this.stage.say(frame.note || "no scores yet");
    this.sort();
    if (!(this.t === this.t) || this.t === undefined) return;
    this.chosen.of(this.labels.length);
    this.followCell();
    const cells = (this.cells = this.now.at(this.t)), values = measures(cells);
    this.showTools();
    this.layOut();
    this.paint();
    const words = this.inWords(this.m);
    if (this.message.textContent !== words) this.message.textContent = words;
    this.fillTable(cells);
    this.fillScores();
    this.fillStrips();
    this.stage.canvas.setAttribute("aria-label", `scores of both classes with the threshold, ROC curve, precision and recall, calibration. ${words}`);
    Object.assign(this.stage.root.dataset, { model: this.now.info.name, threshold: this.t, ...cells, ...values, words, cell: this.cell, selected: this.chosen.count });
  }

  showTools() {
    const { slide, exact, price, range, models } = this, input = slide.querySelector("input");
    [...this.chips.children].forEach((chip, m) => chip.setAttribute("aria-pressed", String(m === this.m)));
    Object.assign(input, { min: range[0], max: range[1], step: (range[1] - range[0]) / 1000 });
    if (document.activeElement !== input || Math.abs(+input.value - this.grow(this.t)) > (range[1] - range[0]) / 900) input.value = this.grow(this.t);
    input.setAttribute("aria-valuetext", plain(this.t));
    if (exact.known !== this.t) { exact.value = +this.t.toPrecision(6); exact.known = this.t; }      // what is being typed stays
    if (price.known !== this.cost) { price.write(this.cost); price.known = this.cost; }
    price.querySelector("input").setAttribute("aria-valuetext", alarms(this.cost));
    const on = this.now.validation ? "chosen on the validation cases" : "chosen on the cases that are shown";
    for (const [rule, button] of Object.entries(this.ruleButtons)) button.title = rule === "half" ? "every threshold at 0.5" : `${RULES[rule]}, ${on}`;
    this.ruleButtons.half.hidden = !models.some(({ info }) => info.probability);
    this.heights.querySelector("select").value = this.get("shares", true) ? "share of the class" : "count";
    this.stretch.hidden = !this.now.info.probability;
    this.stretch.style.display = this.now.info.probability ? "" : "none";
    this.stretch.querySelector("input").checked = this.stretched;
  }

  /** Places of the plots: in a row, in two, or in three. */
  layOut() {
    const { stage } = this, { height } = stage.options, w = stage.width, rows = w >= 860 ? 1 : w >= 520 ? 2 : 3, tall = rows === 1 ? height : rows === 2 ? height + 210 : height + 420;
    if (this.tall !== tall) { this.tall = tall; stage.canvas.style.height = `${tall}px`; stage.fit(); }
    const box = (x, y, wide, high) => ({ x, y, w: wide, h: high });
    const third = rows === 1 ? (w * 0.62) / 3 : rows === 2 ? w / 3 : w / 2, first = rows === 1 ? w * 0.38 : w;
    this.boxes = rows === 1 ? [box(0, 0, first, tall), ...[0, 1, 2].map((k) => box(first + k * third, 0, third, tall))]
      : rows === 2 ? [box(0, 0, w, height), ...[0, 1, 2].map((k) => box(k * third, height, third, 210))]
        : [box(0, 0, w, height), box(0, height, third, 210), box(third, height, third, 210), box(0, height + 210, w, 210)];
  }

  paint() {
    this.histogram(this.boxes[0]);
    this.curve("roc", this.boxes[1]);
    this.curve("pr", this.boxes[2]);
    this.calibration(this.boxes[3]);
  }

  binned() {
    const [low, high] = this.range, key = `${this.m}|${low}|${high}|${this.stretched}`;
    if (this.bars?.key === key) return this.bars;
    const counts = [new Uint32Array(BINS), new Uint32Array(BINS)], { scores, labels } = this.now;
    for (const row of this.now.order) counts[labels[row]][Math.max(0, Math.min(BINS - 1, Math.floor(((this.grow(scores[row]) - low) / (high - low)) * BINS)))]++;
    return (this.bars = { key, counts, low, high });
  }

  histogram(box) {
    const { stage, now } = this, { ctx } = stage, { counts, low, high } = this.binned(), shares = this.get("shares", true);
    const total = [now.negatives, now.positives], height = (k, b) => counts[k][b] / (shares ? total[k] : 1);
    const most = Math.max(...[0, 1].flatMap((k) => Array.from(counts[k], (_, b) => height(k, b)))) || 1;
    const odds = [0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999], xTicks = this.stretched ? odds.map((p) => [this.grow(p), String(p)]) : undefined;
    const panel = (this.panels.histogram = new Panel(stage, box, { title: `scores of ${now.info.name}`, x: [low, high], y: [-most * 1.08, most * 1.08], xTicks, xLabel: this.stretched ? "score (log odds)" : "score",
      yLabel: shares ? "share of the class" : "cases" }));
    const edge = Math.min(Math.max(panel.px(this.grow(this.t)), panel.left - 6), panel.right + 6), wide = (panel.right - panel.left) / BINS;
    for (const [k, ink, wrong] of [[1, POSITIVE, [panel.left, edge]], [0, NEGATIVE, [edge, panel.right]]]) {
      for (const side of ["right", "wrong"]) {
        const [from, to] = side === "wrong" ? wrong : k ? [edge, panel.right] : [panel.left, edge];
        ctx.save();
        ctx.beginPath(); ctx.rect(Math.min(from, to), panel.top, Math.abs(to - from), panel.bottom - panel.top); ctx.clip();
        ctx.fillStyle = side === "wrong" ? this.hatch(ink) : ink;
        ctx.strokeStyle = ink;
        for (let b = 0; b < BINS; b++) {
          if (!counts[k][b]) continue;
          const tall = Math.max(Math.abs(panel.py(height(k, b)) - panel.py(0)), 1), x = panel.left + b * wide;
          ctx.fillRect(x, k ? panel.py(0) - tall : panel.py(0), wide - 0.5, tall);
          if (side === "wrong") ctx.strokeRect(x + 0.5, (k ? panel.py(0) - tall : panel.py(0)) + 0.5, wide - 1.5, Math.max(tall - 1, 0.5));
        }
        ctx.restore();
      }
    }
    this.rug(panel);
    panel.draw();
    this.handle(panel, edge);
  }

  hatch(ink) {
    this.hatches ??= {};
    if (this.hatches[ink]) return this.hatches[ink];
    const tile = make("canvas", { width: 6, height: 6 }), ctx = tile.getContext("2d");
    Object.assign(ctx, { strokeStyle: ink, lineWidth: 1.4 });
    for (const d of [-6, 0, 6]) { ctx.beginPath(); ctx.moveTo(d - 1, 7); ctx.lineTo(d + 7, -1); ctx.stroke(); }
    return (this.hatches[ink] = this.stage.ctx.createPattern(tile, "repeat"));
  }

  /** Selected cases as marks on the zero line, towards their class. */
  rug(panel) {
    const { ctx, ink } = this.stage, { now, chosen } = this, mask = chosen.of(this.labels.length);
    if (!chosen.count) return;
    ctx.save();
    ctx.beginPath();
    const seen = new Set(), y = panel.py(0);        // one mark for each half pixel
    for (const row of now.order) if (mask[row]) seen.add(2 * Math.round(2 * panel.px(this.grow(now.scores[row]))) + now.labels[row]);
    for (const place of seen) { const x = Math.floor(place / 2) / 2; ctx.moveTo(x, y); ctx.lineTo(x, place % 2 ? y - 14 : y + 14); }
    for (const [style, width] of [[ink, 3.5], [PICKED, 2]]) { ctx.strokeStyle = style; ctx.lineWidth = width; ctx.stroke(); }
    ctx.restore();
  }

  handle(panel, x) {
    const { ctx, ink, paper } = this.stage, [negative, positive] = this.names;
    ctx.save();
    ctx.strokeStyle = ink; ctx.lineWidth = 1; ctx.fillStyle = ink;
    ctx.beginPath(); ctx.moveTo(panel.left, panel.py(0)); ctx.lineTo(panel.right, panel.py(0)); ctx.stroke();
    ctx.lineWidth = 2;
    ctx.beginPath(); ctx.moveTo(x, panel.top - 2); ctx.lineTo(x, panel.bottom); ctx.stroke();
    ctx.beginPath(); ctx.moveTo(x - 6, panel.top - 4); ctx.lineTo(x + 6, panel.top - 4); ctx.lineTo(x, panel.top + 6); ctx.closePath(); ctx.fill();
    ctx.font = "600 11px system-ui, sans-serif";
    for (const [name, colour, y, base] of [[positive, POSITIVE, panel.top + 2, "top"], [negative, NEGATIVE, panel.bottom - 2, "bottom"]]) {
      ctx.textBaseline = base; ctx.textAlign = "left"; ctx.lineWidth = 3; ctx.strokeStyle = paper;
      const text = cut(ctx, name, (panel.right - panel.left) / 2), left = base === "top" ? panel.left + 19 : panel.right - 2 - ctx.measureText(text).width;
      ctx.strokeText(text, left, y);
      ctx.fillStyle = ink;
      ctx.fillText(text, left, y);
      ctx.fillStyle = colour;
      ctx.fillRect(left - 13, base === "top" ? y + 1 : y - 11, 9, 9);
    }
    ctx.restore();
  }

  /** Points of a curve: x, y, and how many distinct scores are let through; at most some thousand. */
  points(model, kind) {
    if (model[kind]) return model[kind];
    const n = model.u.length, every = Math.max(1, Math.floor(n / 4000)), out = [];
    for (let i = 0; i <= n; i += i + every > n && i < n ? n - i : every) {
      const { tp, fp } = model.counts(i);
      out.push(kind === "roc" ? [fp / model.negatives, tp / model.positives, i] : [tp / model.positives, i ? tp / (tp + fp) : NaN, i]);
    }
    return (model[kind] = out);
  }

  curve(kind, box) {
    const { stage } = this, { ctx, faint } = stage, roc = kind === "roc", { info } = this.now, prevalence = this.now.positives / this.now.order.length;
    const panel = (this.panels[kind] = new Panel(stage, box, { title: roc ? `ROC: AUC ${fixedTo(info.auc, 3)}` : `precision and recall: AP ${fixedTo(info.ap, 3)}`, x: [0, 1], y: [0, 1.02],
      xLabel: roc ? "false alarms / negatives" : "recall", yLabel: roc ? "recall" : "precision" }));
    panel.draw();
    panel.line([0, 1], roc ? [0, 1] : [prevalence, prevalence], { color: faint, dash: [5, 4], width: 1 });
    const order = this.models.map((_, m) => m).filter((m) => m !== this.m).concat(this.m);
    for (const m of order) {
      const points = this.points(this.models[m], kind), style = { color: MODELS[m % MODELS.length], dash: DASHES[m % DASHES.length], width: m === this.m ? 2.2 : 1.2 };
      if (roc) panel.line(points.map((p) => p[0]), points.map((p) => p[1]), style);
      else {       // steps: the precision of a recall holds back to the recall before
        const xs = [], ys = [];
        points.slice(1).forEach(([x, y], i) => { xs.push(points[i][0], x); ys.push(y, y); });
        panel.line(xs, ys, style);
      }
    }
    for (const m of order) this.dot(panel, this.place(kind, this.models[m].at(this.thresholds[m])), MODELS[m % MODELS.length], m === this.m);
    ctx.canvas.dataset[kind] = JSON.stringify(this.place(kind, this.cells).map((v, k) => [v, k ? panel.py(v) : panel.px(v)]));
  }

  place(kind, { tp, fp, fn, tn }) { return kind === "roc" ? [fp / (fp + tn), tp / (tp + fn)] : [tp / (tp + fn), tp / (tp + fp)]; }

  dot(panel, [x, y], ink, strong) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) return;
    const { ctx, paper } = this.stage;
    ctx.save();
    ctx.fillStyle = ink; ctx.strokeStyle = strong ? this.stage.ink : paper; ctx.lineWidth = 2;
    ctx.beginPath(); ctx.arc(panel.px(x), panel.py(y), strong ? 6 : 3.5, 0, 7); ctx.fill(); ctx.stroke();
    ctx.restore();
  }

  calibration(box) {
    const { stage, now: { info } } = this, { ctx, faint } = stage, title = info.probability ? `calibration: ECE ${fixedTo(info.ece, 3)}` : "calibration";
    const panel = (this.panels.calibration = new Panel(stage, box, { title, x: [0, 1], y: [0, 1.02], xLabel: "predicted", yLabel: `share of ${this.names[1]}` }));
    panel.draw();
    if (!info.probability) {
      ctx.save(); ctx.fillStyle = faint; ctx.textAlign = "center";
      ctx.fillText(cut(ctx, "no probabilities", panel.right - panel.left), (panel.left + panel.right) / 2, (panel.top + panel.bottom) / 2);
      return ctx.restore();
    }
    panel.line([0, 1], [0, 1], { color: faint, dash: [5, 4], width: 1 });
    const t = this.t;
    panel.line([t, t], [0, 1.02], { color: stage.ink, width: 1, dash: [2, 3] });
    const ink = MODELS[this.m % MODELS.length], most = Math.max(...info.bins.map((b) => b[2]));
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = ink;
    for (const [said, came, count] of info.bins) {
      if (!count) continue;
      const [low, high] = wilson(Math.round(came * count), count), x = panel.px(said);
      ctx.lineWidth = 1.2;
      ctx.beginPath(); ctx.moveTo(x, panel.py(low)); ctx.lineTo(x, panel.py(high)); ctx.stroke();
      ctx.beginPath(); ctx.arc(x, panel.py(came), 2 + 4 * Math.sqrt(count / most), 0, 7); ctx.fill();
    }
    ctx.restore();
  }

  inWords(m) {
    const model = this.models[m], t = this.thresholds[m], c = model.at(t), v = measures(c), [negative, positive] = this.names;
    return `${model.info.name} at ${plain(t)}: ${thousands(c.tp)} of ${thousands(c.tp + c.fn)} ${positive} found (recall ${percent(v.recall)}), ` +
      `${thousands(c.fp)} false alarm${c.fp === 1 ? "" : "s"} among ${thousands(c.fp + c.tn)} ${negative}; ` +
      `precision ${percent(v.precision)}, F1 ${fixedTo(v.f1, 3)}, balanced accuracy ${fixedTo(v.balanced, 3)}.`;
  }

  makeTable() {
    const [negative, positive] = this.names, head = (text, scope) => make("th", { scope, style: { fontWeight: "400", textAlign: "left", maxWidth: "12em", overflowWrap: "anywhere", paddingRight: "8px" } }, text);
    const words = { tp: "found", fn: "missed", fp: "false alarms", tn: "left alone" };
    this.cellButtons = Object.fromEntries(CELLS.map((cell, k) => [cell, make("button", { type: "button", "data-cell": cell, title: `select them; the selection follows the threshold (${k + 1})`,
      style: { minWidth: "8.5em", padding: "4px 8px", textAlign: "left" }, onclick: () => this.toggle(cell) })]));
    for (const [cell, button] of Object.entries(this.cellButtons)) button.append(make("b", {}), make("div", {}, words[cell]), make("div", { className: "clnb-picked", style: { minHeight: "1.3em" } }));
    const row = (name, ...cells) => make("tr", {}, head(name, "row"), ...cells.map((cell) => make("td", {}, this.cellButtons[cell])));
    this.table.replaceChildren(make("thead", {}, make("tr", {}, head("true ↓  predicted →", "col"), head(positive, "col"), head(negative, "col"))),
      make("tbody", {}, row(positive, "tp", "fn"), row(negative, "fp", "tn")));
  }

  fillTable(cells) {
    const { now, chosen } = this, mask = chosen.of(this.labels.length), inside = { tp: 0, fn: 0, fp: 0, tn: 0 }, t = this.t;
    if (chosen.count) for (const row of now.order) if (mask[row]) inside[now.labels[row] ? (now.scores[row] >= t ? "tp" : "fn") : now.scores[row] >= t ? "fp" : "tn"]++;
    for (const cell of CELLS) {
      const button = this.cellButtons[cell], [count, , picked] = button.children, whole = cell === "tp" || cell === "fn" ? now.positives : now.negatives;
      count.textContent = `${thousands(cells[cell])} · ${percent(cells[cell] / whole)}`;
      picked.textContent = inside[cell] ? `${thousands(inside[cell])} selected` : "";
      button.setAttribute("aria-pressed", String(this.cell === cell));
      button.style.borderLeft = `5px solid ${cell === "tp" || cell === "fn" ? POSITIVE : NEGATIVE}`;
    }
  }

  fillScores() {
    const head = ["", "threshold", "recall", "", "precision", "", "F1", "bal. acc.", "cost", "AUC", "", "AP", "ECE", "Brier", ...(this.now.validation ? ["F1 (val.)"] : [])];
    const range = ([low, high], k = 100, digits = 0) => (Number.isFinite(low) ? `${fixedTo(k * low, digits)} … ${fixedTo(k * high, digits)}` : "");
    const rows = this.models.map((model, m) => {
      const { info } = model, t = this.thresholds[m], c = model.at(t), v = measures(c), n = model.order.length;
      return [info.name, plain(t), percent(v.recall), range(wilson(c.tp, c.tp + c.fn)), percent(v.precision), range(wilson(c.tp, c.tp + c.fp)), fixedTo(v.f1, 3), fixedTo(v.balanced, 3),
        fixedTo((this.cost * c.fn + c.fp) / n, 3), fixedTo(info.auc, 3), range(info.interval ?? [NaN, NaN], 1, 3), fixedTo(info.ap, 3), fixedTo(info.ece ?? NaN, 3), fixedTo(info.brier ?? NaN, 3),
        ...(this.now.validation ? [model.validation ? fixedTo(measures(model.validation.at(t)).f1, 3) : "–"] : [])];
    });
    const text = JSON.stringify([rows, this.m]);
    if (text === this.written) return;
    this.written = text;
    const style = (k) => ({ padding: "1px 8px 1px 0", textAlign: k ? "right" : "left", fontWeight: "400", whiteSpace: "nowrap" });
    const tips = { "bal. acc.": "balanced accuracy: mean of recall and specificity", "F1 (val.)": "F1 of the validation cases at the same threshold", recall: "found of all positives, with Wilson's 95 % interval", precision: "positives among what was flagged, with Wilson's 95 % interval", cost: "per case, a false alarm costs 1", AUC: "with DeLong's 95 % interval", ECE: "expected calibration error, 15 bins" };
    this.scores.replaceChildren(make("thead", {}, make("tr", {}, ...head.map((t, k) => make("th", { scope: "col", title: tips[t] ?? "", style: style(k) }, t)))),
      make("tbody", {}, ...rows.map((row, m) => {
        const line = make("tr", {}, ...row.map((value, k) => make(k ? "td" : "th", { ...(k ? {} : { scope: "row" }), style: style(k) }, value)));
        line.dataset.model = m;
        if (m === this.m) line.style.background = "color-mix(in srgb, var(--clnb-focus) 14%, transparent)";
        return line;
      })));
  }

  /** The linked selection is that of the chosen cell, also while the threshold moves. */
  followCell() {
    if (!this.cell) { this.own = undefined; return; }
    const key = `${this.cell}|${this.m}|${this.t}|${this.frame.number}`;
    if (key === this.selectedFor && this.own !== undefined) return;
    this.selectedFor = key;
    this.own = this.now.rows(this.cell, this.t);
    if (same(this.stage.selection, this.own)) return;
    this.stage.select(this.own);
    this.chosen.of(this.labels.length);
  }

  /** The surest mistakes of both kinds as pictures. */
  fillStrips(again = false) {
    if (!this.images || !this.models) return;
    const kinds = [["fn", `missed ${this.names[1]}, lowest score first`], ["fp", "false alarms, highest score first"]];
    const worst = kinds.map(([cell]) => this.now.worst(cell, this.t, this.stage.options.most)), key = `${this.m}|${worst.map(String).join("|")}|${this.chosen.version}|${this.frame.number}`;
    if (key === this.stripFor && !again) return;
    this.stripFor = key;
    clearTimeout(this.asking);
    this.asking = setTimeout(() => this.images.want(worst.flat()), 80);
    const held = this.strips.contains(document.activeElement) ? document.activeElement.dataset.row : undefined, mask = this.chosen.mask;
    this.strips.replaceChildren(...kinds.map(([cell, title], k) => make("div", { role: "group", "aria-label": title, "data-strip": cell, style: { margin: "3px 0" } },
      make("div", { className: "clnb-help" }, worst[k].length ? title : `${title}: none`), make("div", { className: "clnb-thumbs" }, ...worst[k].map((row) => this.tile(row, mask[row]))))));
    if (held !== undefined) this.strips.querySelector(`[data-row="${held}"]`)?.focus();
  }

  tile(row, picked) {
    const score = plain(this.now.scores[row]), button = make("button", { type: "button", title: `row ${row}`, "aria-label": `row ${row}, score ${score}`, "aria-pressed": String(Boolean(picked)),
      style: { padding: "2px", border: `2px solid ${picked ? PICKED : "transparent"}`, background: "transparent", color: "inherit", display: "grid", justifyItems: "center", fontSize: "10px" },
      onclick: (event) => { pick(this.stage, [row], event); this.whisper(`${this.stage.selection.length} rows selected`); } }, this.images.tile(row, 52), make("span", {}, score));
    button.dataset.row = row;
    return button;
  }

  under(event) { const at = this.stage.at(event); return ["histogram", "roc", "pr"].find((name) => this.panels[name]?.has(at)) ?? ""; }

  /** The point of a curve that is nearest to the mouse: how many distinct scores are let through. */
  nearest(kind, [x, y]) {
    const panel = this.panels[kind];
    let best = Infinity, place = 0;
    for (const [a, b, i] of this.points(this.now, kind)) {
      const far = (panel.px(a) - x) ** 2 + (panel.py(b) - y) ** 2;
      if (far < best) { best = far; place = i; }
    }
    return place;
  }

  drag(event) {
    const at = this.stage.at(event), panel = this.panels[this.held];
    event.preventDefault();
    this.stage.showTip();
    if (this.held !== "histogram") return this.setThreshold(this.now.cut(this.nearest(this.held, at)));
    const [low, high] = this.range, end = panel.vx(at[0]);
    this.setThreshold(end <= low ? Math.min(this.ungrow(low), this.now.cut(this.now.u.length)) : end >= high ? Math.max(this.ungrow(high), this.now.cut(0)) : this.ungrow(end));
  }

  hover(event) {
    const { stage } = this, name = this.under(event), at = stage.at(event), panel = this.panels[name];
    stage.canvas.style.cursor = name === "histogram" ? "ew-resize" : name ? "pointer" : "";
    if (!name || !this.models) return stage.showTip();
    if (name === "histogram") {
      const { counts, low, high } = this.binned(), b = Math.floor(((panel.vx(at[0]) - low) / (high - low)) * BINS);
      if (b < 0 || b >= BINS) return stage.showTip();
      const edge = (k) => plain(this.ungrow(low + ((high - low) * k) / BINS)), say = (k) => `${thousands(counts[k][b])} ${this.names[k]} (${percent(counts[k][b] / [this.now.negatives, this.now.positives][k])})`;
      return stage.showTip(event, make("b", {}, `score ${edge(b)} … ${edge(b + 1)}`), say(1), say(0), make("div", { className: "clnb-note" }, "drag the threshold"));
    }
    const i = this.nearest(name, at), c = this.now.counts(i), v = measures(c);
    stage.showTip(event, make("b", {}, `threshold ${plain(this.now.cut(i))}`), `recall ${percent(v.recall)}, precision ${percent(v.precision)}`, `${thousands(c.fp)} false alarm${c.fp === 1 ? "" : "s"}, F1 ${fixedTo(v.f1, 3)}`,
      make("div", { className: "clnb-note" }, "click or drag to go there"));
  }
}

export default {
  render({ model, el }) {
    const { title = "Where to draw the line?", height = 260 } = model.get("options") ?? {};
    const stage = new Stage({ model, el }, { title, height, help: "drag the line or a point of a curve · ← →: move it, with Shift by one case · Home, End · h f b c: rules · m: next model · 1 – 4: select a cell · Escape: none" });
    const view = new ThresholdView(stage);
    return stage.start((frame) => view.draw(frame));
  },
};
