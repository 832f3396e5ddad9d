// BatchSimilarity: the cosines of one batch sorted by class, what every anchor pays, and who pushes it. See 07s_batch.ipynb.

const BLUE_RED = [[5, 48, 97], [67, 147, 195], [209, 229, 240], [247, 247, 247], [253, 219, 199], [214, 96, 77], [103, 0, 31]];
const PURPLE_YELLOW = [[68, 1, 84], [65, 68, 135], [42, 120, 142], [34, 168, 132], [122, 209, 81], [253, 231, 37]];
const PARTS = { floor: ["#999999", "whatever is learned: ln(rows − 1)"], uneven: ["#0072B2", "positives that are unequal"], push: ["#D55E00", "negatives that are near"] };
const [FRIEND, FOE, PICKED, CURVE, UNKNOWN] = ["#0072B2", "#D55E00", "#E69F00", "#009E73", "#969696"];
const MODES = { similarity: "cosines", weights: "softmax weights" };
const CURVE_POINTS = 15, STRIP = 64;

const minus = (text) => text.replaceAll("-", "−");
const fixedTo = (v, digits) => (Number.isFinite(v) ? minus(v.toFixed(digits)) : "–");
const percent = (v) => (Number.isFinite(v) ? `${(100 * v).toFixed(1)} %` : "–");
const plain = (v) => minus(String(+v.toPrecision(4)));
const blend = (stops, t) => {
  const at = Math.max(0, Math.min(1, t)) * (stops.length - 1), i = Math.min(Math.floor(at), stops.length - 2), f = at - i;
  return stops[i].map((v, c) => v + f * (stops[i + 1][c] - v));
};
const mean = (values) => { let sum = 0, n = 0; for (const v of values) if (Number.isFinite(v)) { sum += v; n++; } return n ? sum / n : NaN; };

/** Rows of one embedding in the order in which they are drawn: their cosines, and the negatives of each, most similar first. */
class Batch {
  constructor(z, blocks, order, part) {
    const n = order.length, d = z.shape[1], rows = new Float64Array(n * d);
    Object.assign(this, { n, from: new Uint32Array(n), to: new Uint32Array(n), s: new Float64Array(n * n), far: new Float64Array(n * n), p: new Float64Array(n * n) });
    order.forEach((i, a) => rows.set(z.subarray(i * d, (i + 1) * d), a * d));
    for (const { label, from, to } of blocks) for (let a = from; a < to; a++) { this.from[a] = label < 0 ? a : from; this.to[a] = label < 0 ? a + 1 : to; }
    this.friends = this.from.map((from, a) => this.to[a] - from - 1);
    this.foes = this.friends.map((count) => n - 1 - count);
    this.hard = this.foes.map((count) => Math.ceil(part * count));
    this.products(rows, d);
    for (let a = 0; a < n; a++) {       // negated while they are sorted
      const own = this.far.subarray(a * n, a * n + this.foes[a]), to = this.to[a];
      for (let b = 0; b < this.from[a]; b++) own[b] = -this.s[a * n + b];
      for (let b = to, k = this.from[a]; b < n; b++, k++) own[k] = -this.s[a * n + b];
      own.sort();
      for (let k = 0; k < own.length; k++) own[k] = -own[k];
    }
  }
  products(rows, d) {
    const { n, s } = this;
    for (let a = 0; a < n; a++) {
      const p = a * d;
      for (let b = a; b < n; b++) {
        const q = b * d;
        let sum = 0;
        for (let k = 0; k < d; k++) sum += rows[p + k] * rows[q + k];
        s[a * n + b] = s[b * n + a] = sum;
      }
    }
  }
  friend(a, b) { return a !== b && b >= this.from[a] && b < this.to[a]; }

  /** The share of the push of all negatives that the hardest carry, as a mean over anchors. */
  share(t) {
    let total = 0, used = 0;
    for (let a = 0; a < this.n; a++) { const v = this.shareOf(a, t); if (v === v && this.friends[a]) { total += v; used++; } }
    return used ? total / used : NaN;
  }
  shareOf(a, t) {
    const from = a * this.n, count = this.foes[a], hard = this.hard[a], top = this.far[from];
    let near = 0, all = 0;
    for (let j = 0; j < count; j++) { const push = Math.exp((this.far[from + j] - top) / t); all += push; if (j < hard) near += push; }
    return count ? near / all : NaN;
  }
  curve(low, high) {
    const key = `${low}|${high}`;
    if (this.curved?.key === key) return this.curved;
    const x = Array.from({ length: CURVE_POINTS }, (_, k) => low * (high / low) ** (k / (CURVE_POINTS - 1)));
    return (this.curved = { key, x, y: x.map((t) => this.share(t)) });
  }

  /** Softmax weights, and what every anchor pays in its three parts; NaN for an anchor without a positive. */
  at(t) {
    if (this.known?.t === t) return this.known;
    const { n, s, p, friends, from, to } = this, parts = Object.fromEntries(["loss", "floor", "uneven", "push"].map((name) => [name, new Float64Array(n).fill(NaN)]));
    let highest = 0;
    for (let a = 0; a < n; a++) {
      const at = a * n;
      let top = -Infinity, near = -Infinity, pull = 0, all = 0, own = 0;
      for (let b = 0; b < n; b++) if (b !== a && s[at + b] > top) top = s[at + b];
      for (let b = from[a]; b < to[a]; b++) if (b !== a) { pull += s[at + b] / t; if (s[at + b] > near) near = s[at + b]; }
      top /= t; near /= t;
      for (let b = 0; b < n; b++) all += p[at + b] = b === a ? 0 : Math.exp(s[at + b] / t - top);
      for (let b = from[a]; b < to[a]; b++) if (b !== a) own += Math.exp(s[at + b] / t - near);
      for (let b = 0; b < n; b++) if ((p[at + b] /= all) > highest) highest = p[at + b];
      if (!friends[a]) continue;
      const every = top + Math.log(all), among = near + Math.log(own), middle = pull / friends[a];
      parts.floor[a] = Math.log(friends[a]);
      parts.loss[a] = Math.max(0, every - middle);
      parts.uneven[a] = Math.max(0, among - middle - parts.floor[a]);
      parts.push[a] = Math.max(0, every - among);
    }
    return (this.known = { t, p, highest, share: this.share(t), ...parts });
  }
}

class BatchView {
  constructor(stage) {
    const o = stage.options;
    Object.assign(this, { stage, hover: null, chosen: new Chosen(stage), batches: [] });
    this.labels = numbersOf(o.labels);
    [this.rows, this.index, this.pictures] = [o.rows, o.index, o.pictures].map(unpack);
    this.names = o.classes.names;
    this.inks = o.classes.colours;
    const at = (i) => (this.labels[i] < 0 ? Infinity : this.labels[i]);
    this.order = Array.from(this.labels.keys()).sort((a, b) => (at(a) === at(b) ? a - b : at(a) < at(b) ? -1 : 1));
    this.n = this.order.length;
    this.blocks = [];
    this.order.forEach((i, a) => {
      const last = this.blocks.at(-1);
      if (last?.label === this.labels[i]) last.to = a + 1; else this.blocks.push({ label: this.labels[i], from: a, to: a + 1 });
    });
    this.images = o.images ? new ImageStore(stage, () => this.tiles(true)) : null;
    this.whisper = whisper(stage);
    this.makeTools();
    this.makeBody();
    this.listen();
  }

  get(name, other) { return this.stage.model.get(name) ?? other; }
  get t() { return this.get("temperature", 0.1); }
  get mode() { return this.get("mode", "similarity"); }
  get space() { return Math.min(this.get("space", 0), this.stage.options.spaces.length - 1); }
  /** Ends of the temperature's slider: wide enough for whatever was set. */
  get range() { const t = this.t, [low, high] = (this.ends ??= [0.01, 2]); return (this.ends = [Math.min(low, t), Math.max(high, t)]); }
  /** Place of the row that is looked at: under the mouse, else the one that was clicked; −1 for none. */
  get row() { return this.hover?.a ?? this.pinned; }
  get pinned() { const i = this.rows.indexOf(this.get("anchor", -1)); return i < 0 ? -1 : this.order.indexOf(i); }
  label(a) { return this.labels[this.order[a]]; }
  nameOf(a) { const k = this.label(a); return k < 0 ? "unlabelled" : this.names[k]; }
  inkOf(k) { return k < 0 ? UNKNOWN : this.inks[k]; }
  rowOf(a) { return this.rows[this.order[a]]; }
  dataOf(a) { return this.index[this.order[a]]; }
  write(values) {
    for (const [key, value] of Object.entries(values)) this.stage.model.set(key, value);
    this.stage.model.save_changes();
    this.stage.redraw();
  }
  heat(t) { if (t > 0) this.write({ temperature: Math.min(Math.max(+t.toPrecision(4), this.range[0]), this.range[1]) }); }

  makeTools() {
    const { stage } = this, { spaces, temperature } = stage.options, group = (label) => make("span", { className: "clnb-modes", role: "group", "aria-label": label, style: { flexWrap: "wrap" } });
    this.spaces = group("embedding");
    if (spaces.length > 1) this.spaces.append(...spaces.map((name, s) => make("button", { type: "button", "data-space": s, onclick: () => this.write({ space: s }) }, name)));
    this.modes = group("what the matrix shows");
    this.modes.append(...Object.entries(MODES).map(([mode, text]) => make("button", { type: "button", "data-mode": mode, onclick: () => this.write({ mode }) }, text)));
    this.slide = slider("temperature", { min: this.range[0], max: this.range[1], log: true, value: this.t, show: plain }, (t) => this.heat(t));
    Object.assign(this.slide.querySelector("input").style, { width: "200px", minWidth: "60px", flex: "0 1 200px" });
    this.slide.style.maxWidth = "100%";
    this.mask = checkbox("outline the positives", true, (on) => this.write({ outlined: on }));
    if (spaces.length > 1) stage.tools.append(this.spaces);
    stage.tools.append(this.modes, this.slide, this.mask);
  }

  makeBody() {
    const { stage } = this, scale = make("i", { className: "clnb-bar" });
    this.scale = { low: make("span"), bar: scale, high: make("span") };
    this.legend = make("div", { className: "clnb-legend", role: "group", "aria-label": "colours", style: { gap: "2px 12px", maxHeight: "none" } },
      make("span", { className: "clnb-row" }, this.scale.low, scale, this.scale.high),
      ...Object.values(PARTS).map(([ink, text]) => make("span", { className: "clnb-row" }, make("i", { className: "clnb-dot", style: { background: ink, borderRadius: 0 } }), text)),
      make("span", { className: "clnb-row" }, make("i", { style: { width: "14px", borderTop: "2px dashed var(--clnb-faint)" } }), "all rows equal"));
    this.message = make("div", { className: "clnb-note", role: "status", "aria-live": "polite", style: { margin: "3px 0" } });
    this.about = make("div", { style: { margin: "3px 0", minHeight: "1.4em" } });
    this.strip = make("div", { className: "clnb-thumbs", role: "group", "aria-label": "the row and its hardest negatives", style: { minHeight: this.images ? "88px" : "44px" } });
    this.table = make("table", { "aria-label": "what the classes pay", style: { borderCollapse: "collapse", fontVariantNumeric: "tabular-nums" } });
    stage.body.after(this.legend, this.message, this.about, this.strip,
      make("div", { tabIndex: 0, role: "group", "aria-label": "classes", style: { overflow: "auto", maxHeight: "260px", marginTop: "6px" } }, this.table));
  }

  listen() {
    const { stage } = this, { canvas } = stage;
    for (const name of ["temperature", "mode", "outlined", "anchor", "space"]) stage.listen(`change:${name}`, () => stage.redraw());
    stage.listen("change:selected", () => this.follow());
    canvas.addEventListener("pointermove", (event) => (this.held ? this.drag(event) : this.over(event)));
    canvas.addEventListener("pointerdown", (event) => { if (!event.button && this.inCurve(stage.at(event))) { this.held = true; canvas.setPointerCapture(event.pointerId); this.drag(event); } });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { this.held = false; });
    canvas.addEventListener("pointerleave", () => { this.hover = null; stage.showTip(); stage.redraw(); });
    canvas.addEventListener("click", (event) => { const cell = this.under(stage.at(event)); if (cell) this.take(cell.a, event); });
    const go = (by) => () => this.go(by), warm = (by) => () => this.heat(this.t * by);
    stage.keys = { ArrowDown: go(1), ArrowUp: go(-1), ArrowRight: warm(1.1), ArrowLeft: warm(1 / 1.1), n: () => this.jump(1), p: () => this.jump(-1),
      Enter: (event) => { if (this.pinned >= 0) this.take(this.pinned, event); }, w: () => this.write({ mode: this.mode === "weights" ? "similarity" : "weights" }),
      o: () => this.write({ outlined: !this.get("outlined", true) }), e: () => this.write({ space: (this.space + 1) % stage.options.spaces.length }), Escape: () => this.write({ anchor: -1 }) };
  }

  /** A selection made elsewhere brings its first row here, unless the row that is clicked belongs to it. */
  follow() {
    const picked = new Set(this.stage.selection), made = picked.size === this.mine?.size && [...picked].every((row) => this.mine.has(row));
    if (this.picking || made || !picked.size || (this.pinned >= 0 && picked.has(this.dataOf(this.pinned)))) return;
    const a = this.order.findIndex((i) => picked.has(this.index[i]));
    if (a >= 0) this.write({ anchor: this.rowOf(a) });
  }
  take(a, event) {
    this.write({ anchor: this.rowOf(a) });
    this.choose([this.dataOf(a)], event);
  }
  choose(rows, event) {
    this.picking = true;
    pick(this.stage, rows, event);
    Object.assign(this, { picking: false, mine: new Set(this.stage.selection) });
    this.whisper(`${this.stage.selection.length} rows selected`);
  }
  go(by) { this.goTo(this.pinned < 0 ? (by > 0 ? 0 : this.n - 1) : Math.min(Math.max(this.pinned + by, 0), this.n - 1)); }
  goTo(a) {
    this.hover = null;
    this.write({ anchor: this.rowOf(a) });
    if (this.batch) this.whisper(this.aboutRow(a));
  }
  jump(by) {
    const now = this.blocks.findIndex(({ from, to }) => this.pinned >= from && this.pinned < to), k = now < 0 ? (by > 0 ? 0 : this.blocks.length - 1) : now + by;
    if (this.blocks[k]) this.goTo(this.blocks[k].from);
  }

  draw(frame) {
    const { stage } = this, part = frame.spaces?.[this.space];
    if (!part?.z) return this.nothing();
    if (this.number !== frame.number) { this.number = frame.number; this.batches = []; }
    this.batch = this.batches[this.space] ??= new Batch(unpack(part.z), this.blocks, this.order, stage.options.part);
    this.now = this.batch.at(this.t);
    this.picked = this.chosen.of(this.index.reduce((a, b) => Math.max(a, b), -1) + 1);
    this.layOut();
    this.matrix();
    this.bars();
    this.weights();
    this.curve();
    this.showTools();
    const words = this.inWords(part);
    if (this.message.textContent !== words) this.message.textContent = words;
    const about = this.row >= 0 ? this.aboutRow(this.row) : "Point at a row, or step through them with ↑ ↓, to see who pushes it.";
    if (this.about.textContent !== about) this.about.textContent = about;
    this.tiles();
    this.fillTable();
    if (this.chosen.count) stage.note.textContent += ` · ${thousands(this.chosen.count)} selected`;
    stage.canvas.setAttribute("aria-label", `${MODES[this.mode]} of ${thousands(this.n)} rows sorted by class, and what each anchor pays. ${words}`);
    const { left, top, side, bar, plot } = this;
    Object.assign(stage.root.dataset, { temperature: this.t, mode: this.mode, rows: this.n, words, anchor: this.row >= 0 ? this.rowOf(this.row) : "", selected: this.chosen.count, step: frame.step ?? "",
      share: this.now.share, space: stage.options.spaces[this.space], outlined: this.get("outlined", true), ...Object.fromEntries(["loss", "floor", "uneven", "push"].map((name) => [name, mean(this.now[name])])),
      places: JSON.stringify({ left, top, side, bar, plot: plot && { left: plot.left, right: plot.right, top: plot.top, bottom: plot.bottom }, order: this.order.map((i) => this.rows[i]) }) });
  }

  nothing() {
    Object.assign(this, { batch: null, plot: null, written: "", tiled: "" });
    for (const node of [this.message, this.about, this.strip, this.table]) node.replaceChildren();
    Object.assign(this.stage.root.dataset, { loss: "", words: "", step: "", space: this.stage.options.spaces[this.space] });
    this.showTools();
    this.stage.say("nothing has been recorded yet");
  }

  showTools() {
    const [low, high] = this.mode === "weights" ? ["0", plain(+(this.now?.highest ?? 1).toPrecision(2))] : ["−1", "1"];
    const stops = this.mode === "weights" ? Array.from({ length: 9 }, (_, k) => blend(PURPLE_YELLOW, Math.sqrt(k / 8))) : BLUE_RED;
    this.scale.low.textContent = `${this.mode === "weights" ? "weight" : "cosine"} ${low}`;
    this.scale.high.textContent = high;
    this.scale.bar.style.background = `linear-gradient(to right, ${stops.map((c) => `rgb(${c.map(Math.round).join(",")})`).join(", ")})`;
    for (const button of this.modes.children) button.setAttribute("aria-pressed", String(button.dataset.mode === this.mode));
    [...this.spaces.children].forEach((button, s) => button.setAttribute("aria-pressed", String(s === this.space)));
    this.mask.querySelector("input").checked = this.get("outlined", true);
    const input = this.slide.querySelector("input"), ends = this.range.map(Math.log);
    Object.assign(input, { min: ends[0], max: ends[1], step: (ends[1] - ends[0]) / 200 });
    if (Math.abs(this.slide.read() / this.t - 1) > 0.02 || document.activeElement !== input) this.slide.write(this.t);
    this.slide.querySelector("output").textContent = plain(this.t);
    input.setAttribute("aria-valuetext", plain(this.t));
  }

  /** Matrix and bars beside each other, the curve to their right where there is room, else below. */
  layOut() {
    const { stage } = this, { ctx, width } = stage, { height } = stage.options, tall = this.blocks.some(({ from, to }) => ((to - from) / this.n) * height >= 11);
    const names = tall ? Math.min(Math.max(...this.blocks.map(({ from }) => ctx.measureText(this.nameOf(from)).width)), width * 0.16, 110) : 0;
    this.gutter = names;
    this.left = Math.ceil(names) + 18;
    this.top = 24;
    const wide = width >= 760, bar = Math.min(Math.max(width * (wide ? 0.2 : 0.3), 80), 260);
    this.side = Math.max(60, Math.min(height, width - this.left - bar - 16));
    this.bar = { left: this.left + this.side + 10, right: this.left + this.side + 4 + bar };
    const below = this.top + this.side + 50 + STRIP + 8, beside = wide && width - this.bar.right >= 260, whole = Math.round(beside ? Math.max(below, 220) : below + 220);
    if (this.tall !== whole) { this.tall = whole; stage.canvas.style.height = `${whole}px`; stage.fit(); }
    this.spot = beside ? { left: this.bar.right + 56, right: Math.min(width - 10, this.bar.right + 496), top: 24, bottom: Math.min(this.top + this.side, 290) } : { left: 48, right: Math.min(width - 10, 460), top: below + 20, bottom: below + 178 };
    this.cell = this.side / this.n;
  }

  matrix() {
    const { stage, batch, now, n, left, top, side, cell, mode } = this, { ctx, ink, paper } = stage, key = `${this.number}|${this.space}|${mode}|${mode === "weights" ? this.t : ""}`;
    if (this.painted?.key !== key) {
      const image = new ImageData(n, n), stops = mode === "weights" ? PURPLE_YELLOW : BLUE_RED, shades = Array.from({ length: 256 }, (_, k) => blend(stops, k / 255));
      for (let i = 0; i < n * n; i++) {
        if (i % (n + 1) === 0) continue;                        // the row itself is left out
        const t = mode === "weights" ? Math.sqrt(now.p[i] / (now.highest || 1)) : (batch.s[i] + 1) / 2, [r, g, b] = shades[Math.round(255 * Math.max(0, Math.min(1, t)))];
        image.data[4 * i] = r; image.data[4 * i + 1] = g; image.data[4 * i + 2] = b; image.data[4 * i + 3] = 255;
      }
      const small = make("canvas", { width: n, height: n });
      small.getContext("2d").putImageData(image, 0, 0);
      this.painted = { key, small };
    }
    ctx.save();
    ctx.imageSmoothingEnabled = cell * (window.devicePixelRatio || 1) < 1;
    ctx.drawImage(this.painted.small, left, top, side, side);
    ctx.restore();
    for (const { label, from, to } of this.blocks) {
      const a = from * cell, size = (to - from) * cell;
      ctx.fillStyle = this.inkOf(label);
      ctx.fillRect(left - 8, top + a, 5, Math.max(size - 0.5, 0.5));
      ctx.fillRect(left + a, top - 8, Math.max(size - 0.5, 0.5), 5);
      if (this.gutter && size >= 11) { ctx.fillStyle = ink; ctx.textAlign = "right"; ctx.textBaseline = "middle"; ctx.fillText(cut(ctx, this.nameOf(from), this.gutter), left - 12, top + a + size / 2); }
    }
    if (this.get("outlined", true)) for (const [style, width] of [[paper, 3.5], [ink, 1.5]]) {
      Object.assign(ctx, { strokeStyle: style, lineWidth: width });
      for (const { label, from, to } of this.blocks) if (label >= 0 && to - from > 1) ctx.strokeRect(left + from * cell, top + from * cell, (to - from) * cell, (to - from) * cell);
    }
    this.marks();
    Object.assign(ctx, { fillStyle: stage.faint, textAlign: "left", textBaseline: "bottom" });
    ctx.fillText(cut(ctx, mode === "weights" ? "softmax weights of each row" : "cosines", side), left, top - 10);
  }

  /** Selected rows as marks at both edges, and frames around the row that is looked at and the cell under the mouse. */
  marks() {
    const { stage: { ctx, ink, paper }, left, top, side, cell, hover } = this, a = this.row;
    ctx.fillStyle = PICKED;
    if (this.chosen.count) this.order.forEach((i, place) => {
      if (!this.picked[this.index[i]]) return;
      ctx.fillRect(left - 3, top + place * cell, 3, Math.max(cell, 1.5));
      ctx.fillRect(left + place * cell, top - 3, Math.max(cell, 1.5), 3);
    });
    if (a < 0) return;
    for (const [style, width] of [[paper, 3], [FOE, 1.4]]) { Object.assign(ctx, { strokeStyle: style, lineWidth: width }); ctx.strokeRect(left - 1, top + a * cell - 1, side + 2, cell + 2); }
    if (hover?.b >= 0) { Object.assign(ctx, { strokeStyle: ink, lineWidth: 1.5 }); ctx.strokeRect(left + hover.b * cell, top + a * cell, Math.max(cell, 3), Math.max(cell, 3)); }
  }

  bars() {
    const { stage: { ctx, ink, faint }, now, n, top, side, cell, bar } = this, wide = bar.right - bar.left, equal = Math.log(Math.max(n - 1, 1));
    const most = Math.max(equal, ...Array.from(now.loss).filter(Number.isFinite), 1e-9) * 1.04, x = (v) => bar.left + (v / most) * wide, a = this.row;
    bar.most = most;
    for (let i = 0; i < n; i++) {
      if (Number.isNaN(now.loss[i])) continue;
      let from = bar.left;
      for (const [name, [colour]] of Object.entries(PARTS)) {
        const w = (now[name][i] / most) * wide;
        ctx.fillStyle = colour;
        ctx.globalAlpha = a < 0 || a === i ? 1 : 0.55;
        ctx.fillRect(from, top + i * cell, w, Math.max(cell > 4 ? cell - 0.6 : cell, 0.5));
        from += w;
      }
    }
    ctx.globalAlpha = 1;
    ctx.font = "10px system-ui, sans-serif";
    Object.assign(ctx, { fillStyle: ink, textAlign: "left", textBaseline: "middle" });
    for (const { from, to, label } of this.blocks) if ((label < 0 || to - from === 1) && (to - from) * cell >= 5) ctx.fillText(cut(ctx, "no positive", wide), bar.left + 4, top + ((from + to) / 2) * cell);
    ctx.font = "11px system-ui, sans-serif";
    ctx.save();
    ctx.strokeStyle = faint; ctx.lineWidth = 1.5; ctx.setLineDash([5, 4]);
    ctx.beginPath(); ctx.moveTo(x(equal), top); ctx.lineTo(x(equal), top + side); ctx.stroke();
    ctx.setLineDash([]); ctx.lineWidth = 1;
    ctx.beginPath(); ctx.moveTo(bar.left, top); ctx.lineTo(bar.left, top + side); ctx.lineTo(bar.right, top + side); ctx.stroke();
    Object.assign(ctx, { fillStyle: ink, textAlign: "center", textBaseline: "top" });
    for (const v of ticks([0, most], false).filter((_, k, all) => wide > 150 || k % 2 === 0 || all.length < 4)) ctx.fillText(short(v), x(v), top + side + 4);
    ctx.fillText(cut(ctx, "paid by each anchor", wide + 10), (bar.left + bar.right) / 2, top + side + 17);
    if (a >= 0) { ctx.strokeStyle = FOE; ctx.lineWidth = 1.2; ctx.strokeRect(bar.left, top + a * cell - 1, wide, cell + 2); }
    ctx.restore();
  }

  /** The softmax of the row that is looked at, column by column. */
  weights() {
    const { stage: { ctx, ink, faint }, batch, now, n, left, top, side, cell } = this, a = this.row, y = top + side + 50 + STRIP;
    Object.assign(ctx, { strokeStyle: faint, lineWidth: 1, fillStyle: faint });
    ctx.beginPath(); ctx.moveTo(left, y); ctx.lineTo(left + side, y); ctx.stroke();
    Object.assign(ctx, { textAlign: "left", textBaseline: "bottom" });
    if (a < 0) return ctx.fillText(cut(ctx, "softmax weights of a row", side), left + 2, y - 4);
    let most = 0;
    for (let b = 0; b < n; b++) most = Math.max(most, now.p[a * n + b]);
    for (let b = 0; b < n; b++) {
      if (b === a) continue;
      const tall = (now.p[a * n + b] / (most || 1)) * (STRIP - 2);
      ctx.fillStyle = batch.friend(a, b) ? FRIEND : FOE;
      ctx.fillRect(left + b * cell, y - tall, Math.max(cell > 4 ? cell - 0.6 : cell, 0.7), tall);
    }
    const even = y - (1 / (n - 1) / (most || 1)) * (STRIP - 2);
    ctx.save();
    ctx.strokeStyle = faint; ctx.setLineDash([4, 4]);
    ctx.beginPath(); ctx.moveTo(left, even); ctx.lineTo(left + side, even); ctx.stroke();
    ctx.restore();
    Object.assign(ctx, { fillStyle: ink, textAlign: "left", textBaseline: "top" });
    ctx.fillText(cut(ctx, `weights of row ${this.rowOf(a)}, up to ${percent(most)} · dashed: all equal`, this.stage.width - left - 10), left, y - STRIP - 15);
  }

  curve() {
    const { stage, spot, batch } = this, { ctx, ink, faint } = stage, [low, high] = this.range, { x, y } = batch.curve(low, high);
    this.plot = null;
    if (!y.some(Number.isFinite)) return;
    const plot = (this.plot = new Axes(stage, { x: [low, high], y: [0, 1.02], logX: true, left: spot.left, right: stage.width - spot.right, top: spot.top, bottom: stage.height - spot.bottom, xLabel: "temperature τ" }));
    plot.draw();
    Object.assign(ctx, { fillStyle: ink, textAlign: "left", textBaseline: "bottom" });
    ctx.fillText(cut(ctx, `share of the push that the hardest ${plain(100 * stage.options.part)} % of the negatives carry`, spot.right - spot.left), spot.left, spot.top - 8);
    plot.line([low, high], [stage.options.part, stage.options.part], { color: faint, dash: [5, 4], width: 1 });
    plot.line(x, y, { color: CURVE, width: 2.2 });
    const a = this.row;
    if (a >= 0) plot.line(x, x.map((t) => batch.shareOf(a, t)), { color: FOE, width: 1.4, dash: [3, 3] });
    ctx.fillStyle = CURVE; ctx.strokeStyle = ink; ctx.lineWidth = 2;
    ctx.beginPath(); ctx.arc(plot.px(this.t), plot.py(this.now.share), 5.5, 0, 7); ctx.fill(); ctx.stroke();
  }
  inCurve([x, y]) { const p = this.plot; return p && x >= p.left - 8 && x <= p.right + 8 && y >= p.top - 8 && y <= p.bottom + 12; }
  drag(event) { event.preventDefault(); this.stage.showTip(); this.heat(this.plot.vx(this.stage.at(event)[0])); }

  inWords(part) {
    const { now, n } = this, name = part.name ? `${part.name}: ` : "", missing = n - this.batch.friends.filter((count) => count > 0).length;
    if (missing === n) return `${name || "N"}${name ? "n" : ""}o two of the ${thousands(n)} rows have one label, so there is nothing to pay${part.more ?? ""}`;
    const [loss, floor, uneven, push] = ["loss", "floor", "uneven", "push"].map((key) => fixedTo(mean(now[key]), 3)), none = missing === 1 ? "row has" : "rows have";
    return `${name || "A"}${name ? "a" : ""}t τ ${plain(this.t)} an anchor pays ${loss}: ${floor} whatever is learned, ${uneven} for positives that are unequal, ${push} for negatives that are near; all rows equal would be ${fixedTo(Math.log(n - 1), 3)}.` +
      (Number.isFinite(now.share) ? ` The hardest 5 % of the negatives carry ${percent(now.share)} of their push.` : "") +
      (missing ? ` ${thousands(missing)} ${none} no positive and ${missing === 1 ? "is" : "are"} skipped.` : "") + (part.more ?? "");
  }
  aboutRow(a) {
    const { now, batch, n } = this, head = `Row ${this.rowOf(a)}, ${this.nameOf(a)}: `;
    let own = 0;
    for (let b = 0; b < n; b++) if (batch.friend(a, b)) own += now.p[a * n + b];
    const share = batch.foes[a] ? `; the hardest ${batch.hard[a]} of ${thousands(batch.foes[a])} negatives carry ${percent(batch.shareOf(a, this.t))} of their push` : "";
    if (!batch.friends[a]) return `${head}no positive, so it pays nothing as an anchor and is skipped${share}.`;
    return `${head}pays ${fixedTo(now.loss[a], 3)} = ${fixedTo(now.floor[a], 3)} + ${fixedTo(now.uneven[a], 3)} + ${fixedTo(now.push[a], 3)}; ${percent(own)} of its weight is on its ${thousands(batch.friends[a])} positive${batch.friends[a] === 1 ? "" : "s"}${share}.`;
  }

  /** Places of the most similar negatives of a row, the hardest first. */
  foes(a) {
    const { batch, n } = this, found = rowsWhere(n, (b) => b !== a && !batch.friend(a, b));
    return found.sort((b, c) => batch.s[a * n + c] - batch.s[a * n + b] || b - c).slice(0, this.stage.options.hard);
  }

  tiles(again = false) {
    if (!this.batch) return this.strip.replaceChildren();
    const a = this.row, places = a < 0 ? [] : [a, ...this.foes(a)], key = `${this.number}|${this.space}|${this.t}|${places}|${this.chosen.version}`;
    if (key === this.tiled && !again) return;
    this.tiled = key;
    if (this.images && a >= 0) {
      clearTimeout(this.asking);
      this.asking = setTimeout(() => this.images.want(places.map((b) => this.pictures[this.order[b]])), 60);
    }
    const held = this.strip.contains(document.activeElement) ? document.activeElement.dataset.row : undefined;
    this.strip.replaceChildren(...places.map((b) => this.tile(a, b)));
    if (held !== undefined) this.strip.querySelector(`[data-row="${held}"]`)?.focus({ preventScroll: true });
  }
  tile(a, b) {
    const { batch, now, n } = this, own = a === b, row = this.rowOf(b), picked = this.picked[this.dataOf(b)], cosine = fixedTo(batch.s[a * n + b], 2), weight = percent(now.p[a * n + b]);
    const words = own ? [`row ${row}`, this.nameOf(b), "the anchor"] : [this.nameOf(b), `cos ${cosine}`, weight];
    const button = make("button", { type: "button", title: `row ${row}`, "aria-label": `row ${row}, ${this.nameOf(b)}, ${own ? "the anchor" : `cosine ${cosine}, weight ${weight}`}`, "aria-pressed": String(Boolean(picked)),
      style: { padding: "2px", border: `2px solid ${picked ? PICKED : own ? "var(--clnb-ink)" : "transparent"}`, background: "transparent", color: "inherit", display: "grid", justifyItems: "center", fontSize: "10px", maxWidth: "84px" },
      onclick: (event) => this.choose([this.dataOf(b)], event) });
    if (this.images) button.append(this.images.tile(this.pictures[this.order[b]], 44));
    button.append(...words.map((text) => make("span", { style: { maxWidth: "78px", overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" } }, text)));
    button.dataset.row = row;
    return button;
  }

  fillTable() {
    const { now, blocks } = this, head = ["class", "rows", "loss", "floor", "unequal positives", "near negatives"];
    const rows = blocks.map(({ from, to }) => {
      const of = (name) => fixedTo(mean(now[name].subarray(from, to)), 3);
      return [this.nameOf(from), thousands(to - from), of("loss"), of("floor"), of("uneven"), of("push")];
    });
    const all = ["all anchors", thousands(this.n), ...["loss", "floor", "uneven", "push"].map((name) => fixedTo(mean(now[name]), 3))], text = JSON.stringify([rows, all]);
    if (text === this.written) return;
    this.written = text;
    const style = (k) => ({ padding: "1px 10px 1px 0", textAlign: k ? "right" : "left", fontWeight: "400", whiteSpace: "nowrap" });
    const tips = { floor: "ln(rows − 1): paid even when the class is one point and all others are infinitely far", loss: "mean over the anchors of the class; – where there is no positive" };
    const held = this.table.contains(document.activeElement) ? document.activeElement.dataset.block : undefined;
    const line = (values, name) => make("tr", {}, make("th", { scope: "row", style: style(0) }, name), ...values.slice(1).map((value) => make("td", { style: style(1) }, value)));
    this.table.replaceChildren(make("thead", {}, make("tr", {}, ...head.map((t, k) => make("th", { scope: "col", title: tips[t] ?? "", style: style(k) }, t)))),
      make("tbody", {}, ...rows.map((row, k) => line(row, this.classButton(k, row[0]))), line(all, all[0])));
    if (held !== undefined) this.table.querySelector(`[data-block="${held}"]`)?.focus({ preventScroll: true });
  }
  classButton(k, name) {
    const { label, from, to } = this.blocks[k];
    const button = make("button", { type: "button", className: "clnb-chip", title: `select the rows of ${name}`, onclick: (event) => this.choose(this.order.slice(from, to).map((i) => this.index[i]), event) },
      make("i", { className: "clnb-dot", style: { background: this.inkOf(label) } }), make("span", {}, name));
    button.dataset.block = k;
    return button;
  }

  /** The cell under the mouse, b −1 for a bar; null for none. */
  under([x, y]) {
    const { left, top, side, cell, bar, n } = this;
    if (!this.batch || y < top || y >= top + side) return null;
    const a = Math.min(Math.floor((y - top) / cell), n - 1);
    if (x >= left && x < left + side) return { a, b: Math.min(Math.floor((x - left) / cell), n - 1) };
    return x >= bar.left && x <= bar.right ? { a, b: -1 } : null;
  }
  over(event) {
    const { stage } = this, at = stage.at(event), cell = this.under(at);
    stage.canvas.style.cursor = cell ? "pointer" : this.inCurve(at) ? "ew-resize" : "";
    if (!cell) {
      if (this.hover) { this.hover = null; stage.redraw(); }
      return this.inCurve(at) ? this.tellShare(at, event) : stage.showTip();
    }
    if (this.hover?.a !== cell.a || this.hover?.b !== cell.b) { this.hover = cell; stage.redraw(); }
    this.tell(cell, event);
  }
  tell({ a, b }, event) {
    const { stage, batch, now, n } = this, who = (place) => `row ${this.rowOf(place)}, ${this.nameOf(place)}`;
    if (b < 0 || a === b) return stage.showTip(event, make("b", {}, who(a)), Number.isNaN(now.loss[a]) ? "no positive: it pays nothing" : `pays ${fixedTo(now.loss[a], 3)}, at least ${fixedTo(now.floor[a], 3)}`,
      ...(Number.isNaN(now.loss[a]) ? [] : [`unequal positives ${fixedTo(now.uneven[a], 3)}`, `near negatives ${fixedTo(now.push[a], 3)}`]));
    stage.showTip(event, make("b", {}, `anchor: ${who(a)}`), `${batch.friend(a, b) ? "positive" : "negative"}: ${who(b)}`, `cosine ${fixedTo(batch.s[a * n + b], 3)}`, `weight ${percent(now.p[a * n + b])}`);
  }
  tellShare(at, event) {
    const t = Math.min(Math.max(this.plot.vx(at[0]), this.range[0]), this.range[1]);
    this.stage.showTip(event, make("b", {}, `τ ${plain(+t.toPrecision(2))}`), `the hardest carry ${percent(this.batch.share(t))}`, make("div", { className: "clnb-note" }, "click or drag to go there"));
  }
}

export default {
  render({ model, el }) {
    const { title = "What is one batch paying for?", height = 360 } = model.get("options") ?? {};
    const stage = new Stage({ model, el }, { title, height,
      help: "hover: a pair, and who pushes the row · click, or ↑ ↓ and Enter: look at a row and select it · n p: next and previous class · ← →: temperature · w: cosines or weights · o: outlines · e: next embedding · Escape: none" });
    const view = new BatchView(stage);
    return stage.start((frame) => view.draw(frame));
  },
};
