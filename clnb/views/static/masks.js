// Masks: image, score, histogram with threshold, mask, masked crops; coverage and IoU over a batch. See nbs/07n_masks.ipynb.

const [PRODUCED, OWN, COMMON] = ["as produced", "each its own threshold", "one threshold for all"];
const FILLS = ["black", "mean colour", "noise"];
const ORDERS = ["as given", "lowest IoU first", "least kept first", "most kept first"];
const TRUE_ = [235, 235, 235], EXTRA = [230, 159, 0], MISSED = [0, 114, 178], OUT = [24, 24, 24];
const VIEWS = ["#56B4E9", "#D55E00"];
const pc = (share) => (Number.isFinite(share) ? `${Math.floor(1000 * share + 0.5) / 10} %` : "–");
const mean = (list) => list.reduce((a, b) => a + b, 0) / Math.max(list.length, 1);

/** The finishing step of MurmurHash3, as in Python. */
function mixed(x) {
  for (const [shift, factor] of [[16, 0x85ebca6b], [13, 0xc2b2ae35], [16, 1]]) x = Math.imul(x ^ (x >>> shift), factor) >>> 0;
  return x >>> 0;
}

/** A random crop (area 0.35 … 1, ratio 3/4 … 4/3) as [top, left, height, width]; `crop_box` of the notebook. */
function cropBox(row, view, draw, height, width) {
  const salt = mixed(draw + 1), u = [0, 1, 2, 3].map((j) => mixed(((8 * (2 * row + view) + j) ^ salt) >>> 0) / 2 ** 32);
  const area = height * width * (0.35 + 0.65 * u[0]), ratio = Math.exp(Math.log(3 / 4) + u[1] * Math.log(16 / 9));
  const tall = Math.min(height, Math.max(1, Math.floor(Math.sqrt(area / ratio) + 0.5)));
  const wide = Math.min(width, Math.max(1, Math.floor(Math.sqrt(area * ratio) + 0.5)));
  return [Math.floor(u[2] * (height - tall + 1)), Math.floor(u[3] * (width - wide + 1)), tall, wide];
}

/** Masks of eight pixels a byte as one byte a pixel, [k][pixels]. */
function masksOf(packed, pixels) {
  const raw = unpack(packed);
  if (!raw) return null;
  const [k, wide] = raw.shape;
  return Array.from({ length: k }, (_, i) => Uint8Array.from({ length: pixels }, (_, p) => (raw[i * wide + (p >> 3)] >> (7 - (p & 7))) & 1));
}

/** A picture of h x w pixels; `paint(p)` gives red, green and blue of pixel p. */
function canvasOf(w, h, paint, node = null) {
  const canvas = node ?? make("canvas", { width: w, height: h }), image = new ImageData(w, h);
  for (let p = 0; p < w * h; p++) {
    const [r, g, b] = paint(p);
    image.data[4 * p] = r; image.data[4 * p + 1] = g; image.data[4 * p + 2] = b; image.data[4 * p + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

class MasksView {
  constructor(stage) {
    const { options } = stage;
    this.stage = stage;
    this.images = unpack(options.images);
    [this.count, this.channels, this.h, this.w] = this.images.shape;
    this.size = this.h * this.w;
    this.levels = unpack(options.levels);
    this.own = unpack(options.own);
    this.truth = masksOf(options.truth, this.size);
    Object.assign(this, { at: options.image, mode: options.mode, t: options.threshold, drawn: 0, fill: FILLS[0], order: ORDERS[0], outside: "" });
    if (this.levels && this.mode !== COMMON) this.t = Math.max(0, this.own[this.at]);
    this.sumUp();
    this.makeTools();
    this.words = make("div", { role: "status", "aria-live": "polite", style: { margin: "3px 0" } });
    this.whole = make("div", { className: "clnb-help" });
    this.strip = make("div", { role: "group", "aria-label": "images", className: "clnb-row", style: { overflowX: "auto", padding: "2px", gap: "3px", display: "flex" } });
    this.strip.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      this.turn(step);
      this.buttons[this.at].focus();
    });
    this.makeStrip();
    stage.body.before(this.strip, this.words, this.whole);
    stage.body.after(this.makeLegend());
    const { canvas } = stage;
    canvas.addEventListener("pointerdown", (event) => this.grab(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { this.held = false; });
    canvas.addEventListener("pointerleave", () => stage.showTip());
    stage.keys = { ArrowRight: () => this.turn(1), ArrowLeft: () => this.turn(-1), ArrowUp: () => this.setCommon(this.threshold() + 1),
      ArrowDown: () => this.setCommon(this.threshold() - 1), o: () => this.setMode(OWN), p: () => this.setMode(PRODUCED), n: () => this.newCrops(),
      Escape: () => { this.outside = ""; } };
  }

  makeTools() {
    const { stage } = this, { modes } = stage.options;
    this.modeTools = make("span", { className: "clnb-modes", role: "group", "aria-label": "mask", style: { flexWrap: "wrap" } },
      ...modes.map((mode) => make("button", { type: "button", "data-mode": mode, onclick: () => this.setMode(mode) }, mode)));
    if (modes.length > 1) stage.tools.append(this.modeTools);
    if (this.levels) {
      this.slide = slider("threshold", { min: 0, max: 255, step: 1, value: this.t, show: (v) => String(Math.round(v)) }, (v) => this.setCommon(Math.round(v)));
      stage.tools.append(this.slide);
    }
    this.fills = dropdown("behind the mask", FILLS, this.fill, (fill) => { this.fill = fill; stage.redraw(); });
    this.again = make("button", { type: "button", title: "draw two other crops (n)", onclick: () => this.newCrops() }, "new crops");
    this.sorting = dropdown("filmstrip", ORDERS.filter((o) => this.truth || !o.includes("IoU")), this.order, (order) => { this.order = order; this.stripKey = ""; stage.redraw(); });
    stage.tools.append(this.fills, this.again, this.sorting);
  }

  makeLegend() {
    const mark = (ink, text) => make("span", { style: { whiteSpace: "nowrap" } }, make("span", { "aria-hidden": "true", style: { display: "inline-block", width: "10px", height: "10px", marginRight: "4px", border: "1px solid var(--clnb-line)", background: `rgb(${ink})` } }), text);
    this.legend = make("div", { className: "clnb-row clnb-help", style: { display: "flex", flexWrap: "wrap", gap: "2px 14px", marginTop: "2px" } },
      ...(this.truth ? [mark(TRUE_, "kept, rightly"), mark(EXTRA, "kept, but not object"), mark(MISSED, "object, but hidden")] : [mark(TRUE_, "kept")]), mark(OUT, "hidden"));
    return this.legend;
  }

  makeStrip() {
    const { names } = this.stage.options;
    this.thumbs = Array.from({ length: this.count }, () => make("canvas", { width: this.w, height: this.h, style: { width: "40px", height: `${Math.max(8, Math.round((40 * this.h) / this.w))}px`, imageRendering: "pixelated", display: "block" } }));
    this.buttons = this.thumbs.map((canvas, i) => make("button", { type: "button", "data-image": i, title: names[i] || `image ${i}`, style: { padding: "1px", flex: "none" },
      onclick: () => this.choose(i) }, canvas));
  }

  /** For every image, pixels by level: all of them, and those of the object; added up from the top. */
  sumUp() {
    if (!this.levels) return;
    this.hist = Array.from({ length: this.count }, () => new Float64Array(256));
    const above = (counts) => { const out = new Float64Array(256); for (let t = 254; t >= 0; t--) out[t] = out[t + 1] + counts[t + 1]; return out; };
    const kept = [], both = [], sizes = [];
    for (let i = 0; i < this.count; i++) {
      const inside = new Float64Array(256);
      let n = 0;
      for (let p = 0; p < this.size; p++) {
        const q = this.levels[i * this.size + p];
        this.hist[i][q]++;
        if (this.truth?.[i][p]) { inside[q]++; n++; }
      }
      kept.push(above(this.hist[i])); both.push(above(inside)); sizes.push(n);
    }
    this.curve = Array.from({ length: 256 }, (_, t) => [mean(kept.map((c) => c[t] / this.size)),
      this.truth ? mean(kept.map((c, i) => { const either = c[t] + sizes[i] - both[i][t]; return either > 0 ? both[i][t] / either : 1; })) : NaN]);
  }

  threshold(i = this.at) { return this.mode === COMMON ? this.t : this.own?.[i] ?? 0; }

  get key() { return `${this.mode} ${this.mode === COMMON ? this.t : ""} ${this.mode === PRODUCED ? this.number : ""}`; }

  /** All masks of the mode, with how much each keeps and how well it agrees. */
  masks() {
    if (this.maskKey === this.key) return this.made;
    this.maskKey = this.key;
    this.made = this.mode === PRODUCED ? this.produced : Array.from({ length: this.count }, (_, i) => {
      const t = this.threshold(i), from = i * this.size;
      return Uint8Array.from({ length: this.size }, (_, p) => +(this.levels[from + p] > t));
    });
    this.kept = this.made.map((mask) => mean(mask));
    this.iou = this.truth ? this.made.map((mask, i) => {
      let both = 0, either = 0;
      for (let p = 0; p < this.size; p++) { both += mask[p] & this.truth[i][p]; either += mask[p] | this.truth[i][p]; }
      return either ? both / either : 1;
    }) : null;
    return this.made;
  }

  draw(frame) {
    const { stage } = this, there = !frame.waiting;
    for (const node of [this.strip, this.legend]) node.style.display = there ? "flex" : "none";
    for (const node of [this.whole, stage.tools]) node.style.display = there ? "" : "none";
    if (!there) { this.words.textContent = frame.note; this.fitTo(80); return stage.say("nothing has been recorded yet"); }
    if (frame.number !== this.number) {
      this.number = frame.number;
      this.produced = masksOf(frame.masks, this.size);
      this.time = frame.curve && { steps: [...unpack(frame.curve.steps)], kept: [...unpack(frame.curve.kept)], iou: [...unpack(frame.curve.iou)] };
    }
    this.followSelection();
    this.masks();
    this.showTools();
    this.showStrip();
    this.showWords(frame);
    this.layOut();
    this.paintPictures();
    if (this.levels) this.paintHistogram();
    if (this.time) this.paintTime(); else if (this.levels) this.paintCurve();
    this.tell();
  }

  followSelection() {
    const rows = [...this.stage.selection], key = rows.join();
    if (key === this.lastRows) return;
    this.lastRows = key;
    if (!rows.length || key === this.ours) { this.outside = ""; return; }
    const here = rows.find((row) => row < this.count);
    this.outside = here === undefined ? `selected: row ${rows[0]}, which is not among the ${this.count} images here` : "";
    if (here !== undefined) this.at = here;
  }

  showTools() {
    for (const node of this.modeTools.children) node.setAttribute("aria-pressed", String(node.dataset.mode === this.mode));
    this.slide?.write(Math.max(0, this.threshold()));
    this.slide?.querySelector("input").setAttribute("aria-valuetext", `${Math.max(0, this.threshold())}, ${this.mode}`);
  }

  /** Order and thumbnails, with the mask on them, when they have changed. */
  showStrip() {
    const key = `${this.key} ${this.order} ${this.fill}`, { names } = this.stage.options;
    if (key !== this.stripKey) {
      this.stripKey = key;
      const by = { [ORDERS[1]]: (i) => this.iou?.[i] ?? 0, [ORDERS[2]]: (i) => this.kept[i], [ORDERS[3]]: (i) => -this.kept[i] }[this.order] ?? ((i) => i);
      this.sequence = [...this.buttons.keys()].sort((a, b) => by(a) - by(b) || a - b);
      const focus = document.activeElement, had = this.strip.contains(focus), now = [...this.strip.children];
      if (this.sequence.some((i, k) => now[k] !== this.buttons[i])) this.strip.replaceChildren(...this.sequence.map((i) => this.buttons[i]));
      if (had) focus.focus();
      for (let i = 0; i < this.count; i++) {
        canvasOf(this.w, this.h, this.seen(i), this.thumbs[i]);
        this.buttons[i].setAttribute("aria-label", `image ${i}${names[i] ? `, ${names[i]}` : ""}, keeps ${pc(this.kept[i])}${this.iou ? `, IoU ${this.iou[i].toFixed(3)}` : ""}`);
      }
    }
    this.buttons.forEach((node, i) => {
      node.setAttribute("aria-pressed", String(i === this.at));
      node.tabIndex = i === this.at ? 0 : -1;
    });
    if (this.scrolled !== this.at) { this.scrolled = this.at; const b = this.buttons[this.at], s = this.strip; s.scrollLeft = b.offsetLeft - s.offsetLeft - s.clientWidth / 2; }
  }

  inWords(kept, iou) { return `keeps ${pc(kept)} of the pixels${iou === null ? "" : `, IoU ${iou.toFixed(3)}`}`; }

  showWords(frame) {
    const { at, kept, iou, stage } = this, name = stage.options.names[at];
    const t = this.levels && this.mode !== PRODUCED ? this.threshold() : null;
    const how = t === null ? "" : t < 0 ? " (not two groups: all is kept)" : ` (levels above ${t})`;
    const text = `Image ${at}${name ? `, ${name}` : ""}: ${this.inWords(kept[at], iou?.[at] ?? null)}${how}`;
    if (this.words.textContent !== text) this.words.textContent = text;
    const { of, thinned } = stage.options, first = of > this.count ? ` (the first of ${thousands(of)})` : "";
    const all = `All ${this.count}${first}, mean: ${this.inWords(mean(kept), iou ? mean(iou) : null)}`;
    this.whole.textContent = [this.outside, all, thinned > 1 ? `every ${thinned}th pixel is shown` : ""].filter(Boolean).join(" · ");
  }

  pixel(i, p) {
    const from = i * this.channels * this.size + p, { images, size } = this;
    return this.channels === 1 ? [images[from], images[from], images[from]] : [images[from], images[from + size], images[from + 2 * size]];
  }

  /** What the network sees of image i: its pixels where the mask is, the fill elsewhere. */
  seen(i) {
    const mask = this.made[i], mean_ = this.meanColour();
    const behind = { black: () => [0, 0, 0], "mean colour": () => mean_, noise: (p) => [0, 1, 2].map((c) => mixed((i * 3 * this.size + 3 * p + c) >>> 0) >>> 24) }[this.fill];
    return (p) => (mask[p] ? this.pixel(i, p) : behind(p));
  }

  meanColour() {
    if (this.meanOf) return this.meanOf;
    const sum = [0, 0, 0];
    for (let i = 0; i < this.count; i++) for (let p = 0; p < this.size; p++) this.pixel(i, p).forEach((v, c) => { sum[c] += v; });
    return (this.meanOf = sum.map((v) => Math.round(v / (this.count * this.size))));
  }

  fitTo(height) {
    if (this.stage.canvas.style.height === `${height}px`) return;
    this.stage.canvas.style.height = `${height}px`;
    this.stage.fit();
  }

  layOut() {
    const { stage } = this, names = ["image", ...(this.levels ? ["score"] : []), "mask", "view 1", "view 2"], gap = 10, label = 16;
    const across = stage.width >= 620 ? names.length : Math.min(names.length, stage.width >= 320 ? 3 : 2);
    const side = Math.min(150, (stage.width - (across - 1) * gap - 2) / across), tall = Math.min(200, (side * this.h) / this.w);
    const rows = Math.ceil(names.length / across), top = rows * (tall + label + 6), charts = this.levels || this.time ? 150 : 0;
    const beside = stage.width >= 520 && this.levels;
    this.fitTo(Math.ceil(top + charts * (charts && !beside && this.levels ? 2 : 1) + 4));
    const wide = (tall * this.w) / this.h;
    this.panels = Object.fromEntries(names.map((name, k) => [name, { x: (k % across) * (side + gap) + 1, y: Math.floor(k / across) * (tall + label + 6) + label, w: wide, h: tall }]));
    const half = beside ? stage.width / 2 - 8 : stage.width;
    this.charts = { histogram: { left: 46, right: half, top: top + 18, bottom: top + 112 },
      batch: this.levels ? (beside ? { left: half + 54, right: stage.width - 16, top: top + 18, bottom: top + 112 } : { left: 46, right: stage.width - 16, top: top + 168, bottom: top + 262 })
        : { left: 46, right: stage.width - 16, top: top + 18, bottom: top + 112 } };
  }

  picture(name, canvas, title, box = null) {
    const { ctx, ink, faint } = this.stage, { x, y, w, h } = this.panels[name];
    ctx.imageSmoothingEnabled = false;
    if (box) ctx.drawImage(canvas, box[1], box[0], box[3], box[2], x, y, w, h);
    else ctx.drawImage(canvas, x, y, w, h);
    ctx.imageSmoothingEnabled = true;
    ctx.strokeStyle = faint; ctx.lineWidth = 1; ctx.strokeRect(x - 0.5, y - 0.5, w + 1, h + 1);
    ctx.fillStyle = ink; ctx.textAlign = "left"; ctx.textBaseline = "alphabetic";
    ctx.fillText(cut(ctx, title, w), x, y - 4);
  }

  paintPictures() {
    const { at, made, truth, w, h, stage } = this, { ctx } = stage, mask = made[at], q = this.levels?.subarray(at * this.size, (at + 1) * this.size);
    this.picture("image", canvasOf(w, h, (p) => this.pixel(at, p)), `image ${at}`);
    if (q) {
      const [low, high] = extent(q);
      this.picture("score", canvasOf(w, h, (p) => { const v = (255 * (q[p] - low)) / Math.max(high - low, 1); return [v, v, v]; }), `score, ${low} to ${high}`);
    }
    const right = truth?.[at];
    this.picture("mask", canvasOf(w, h, (p) => (mask[p] ? (!right || right[p] ? TRUE_ : EXTRA) : right?.[p] ? MISSED : OUT)), `mask: ${pc(this.kept[at])}`);
    const seen = canvasOf(w, h, this.seen(at)), image = this.panels.image;
    this.boxes = [0, 1].map((view) => cropBox(at, view, this.drawn, h, w));
    this.shares = this.boxes.map(([top, left, tall, wide]) => {
      let n = 0;
      for (let y = top; y < top + tall; y++) for (let x = left; x < left + wide; x++) n += mask[y * w + x];
      return n / (tall * wide);
    });
    this.boxes.forEach((box, view) => {
      const share = this.shares[view], name = `view ${view + 1}`;
      this.picture(name, seen, `${name}: ${pc(share)}${share < 0.05 ? " too little" : ""}`, box);
      ctx.strokeStyle = VIEWS[view]; ctx.lineWidth = 2;
      const panel = this.panels[name];
      ctx.strokeRect(panel.x, panel.y, panel.w, panel.h);
      ctx.setLineDash(view ? [5, 3] : []);
      ctx.strokeRect(image.x + (box[1] / w) * image.w, image.y + (box[0] / h) * image.h, (box[3] / w) * image.w, (box[2] / h) * image.h);
      ctx.setLineDash([]);
    });
  }

  axes({ left, right, top, bottom }, x, y, xLabel, title) {
    const { stage } = this, axes = new Axes(stage, { x, y, left, right: stage.width - right, top, bottom: stage.height - bottom, xLabel, yLabel: "" });
    axes.draw();
    stage.ctx.fillStyle = stage.ink; stage.ctx.textAlign = "left"; stage.ctx.textBaseline = "alphabetic";
    stage.ctx.fillText(cut(stage.ctx, title, right - left), left, top - 6);
    return axes;
  }

  upright(axes, x, ink, dash = [], width = 2) {
    const { ctx } = this.stage;
    ctx.strokeStyle = ink; ctx.lineWidth = width; ctx.setLineDash(dash);
    ctx.beginPath(); ctx.moveTo(axes.px(x), axes.top); ctx.lineTo(axes.px(x), axes.bottom); ctx.stroke();
    ctx.setLineDash([]);
  }

  paintHistogram() {
    const { stage, at } = this, { ctx, faint } = stage, counts = this.hist[at], most = Math.max(...counts), own = this.own[at];
    const [first, last] = [counts.findIndex(Boolean), 255 - [...counts].reverse().findIndex(Boolean)], pad = Math.max(8, (last - first) * 0.1);
    const span = this.held ? this.span : [Math.max(0, first - pad), Math.min(256, last + pad)];
    this.span = span;
    const axes = (this.histogram = this.axes(this.charts.histogram, span, [0, most], "level of the score", "drag the line: one threshold for all"));
    for (let q = Math.floor(span[0]); q <= Math.min(255, span[1]); q++) {
      if (!counts[q]) continue;
      const x = axes.px(q), wide = Math.max(1, axes.px(q + 1) - x - (axes.px(1) - axes.px(0) > 3 ? 0.5 : 0)), y = axes.py(counts[q]);
      ctx.fillStyle = q > this.threshold() ? PALETTE[2] : faint;
      ctx.fillRect(x, y, wide, axes.bottom - y);
    }
    if (own >= 0 && own + 1 >= span[0]) this.upright(axes, own + 1, PALETTE[0], [4, 3], 1.5);
    if (this.mode === COMMON || own >= 0) {
      const t = Math.min(Math.max(this.threshold() + 1, span[0]), span[1]);
      if (this.mode === COMMON || own >= 0) this.upright(axes, t, PALETTE[3]);
      ctx.fillStyle = PALETTE[3];
      ctx.beginPath(); ctx.arc(axes.px(t), axes.top + 4, 5, 0, 7); ctx.fill();
    }
    ctx.fillStyle = stage.ink; ctx.textAlign = "right"; ctx.textBaseline = "alphabetic";
    ctx.fillText(own < 0 ? "own: none, not two groups" : `own: ${own}`, axes.right, axes.top - 6);
  }

  legendAt(axes, lines) {
    const { ctx } = this.stage;
    ctx.textAlign = "right"; ctx.textBaseline = "alphabetic";
    let x = axes.right;
    for (const [text, ink] of [...lines].reverse()) { ctx.fillStyle = ink; ctx.fillText(text, x, axes.top - 6); x -= ctx.measureText(text).width + 10; }
  }

  paintCurve() {
    const axes = (this.batch = this.axes(this.charts.batch, [0, 255], [0, 1], "one threshold for all", `mean of ${this.count} images`)), xs = [...Array(256).keys()];
    axes.line(xs, this.curve.map(([kept]) => kept), { color: PALETTE[0], width: 2 });
    if (this.truth) axes.line(xs, this.curve.map(([, iou]) => iou), { color: PALETTE[2], width: 2, dash: [6, 2] });
    if (this.mode === COMMON) this.upright(axes, this.t, PALETTE[3]);
    else if (this.iou) axes.line([0, 255], [mean(this.iou), mean(this.iou)], { color: PALETTE[2], dash: [2, 3] });
    this.legendAt(axes, [["kept", PALETTE[0]], ...(this.truth ? [["IoU (dashed)", PALETTE[2]]] : [])]);
  }

  paintTime() {
    const { steps, kept, iou } = this.time, axes = (this.batch = this.axes(this.charts.batch, extent(steps), [0, 1], "step", `mean of ${this.count} images`));
    axes.line(steps, kept, { color: PALETTE[0], width: 2 });
    if (this.truth) axes.line(steps, iou, { color: PALETTE[2], width: 2, dash: [6, 2] });
    const { ctx } = this.stage;
    for (const [values, ink] of [[kept, PALETTE[0]], ...(this.truth ? [[iou, PALETTE[2]]] : [])]) {
      ctx.fillStyle = ink;
      steps.forEach((s, k) => { ctx.beginPath(); ctx.arc(axes.px(s), axes.py(values[k]), 2.5, 0, 7); ctx.fill(); });
    }
    this.legendAt(axes, [["kept", PALETTE[0]], ...(this.truth ? [["IoU (dashed)", PALETTE[2]]] : [])]);
  }

  setMode(mode) {
    if (!this.stage.options.modes.includes(mode)) return;
    if (mode === COMMON && this.mode !== COMMON) this.t = Math.max(0, this.threshold());
    this.mode = mode;
    this.stage.redraw();
  }
  setCommon(t) {
    if (!this.levels) return;
    this.mode = COMMON;
    this.t = Math.min(255, Math.max(0, t));
    this.stage.redraw();
  }
  newCrops() { this.drawn++; this.stage.redraw(); }
  show(i) { this.at = i; this.stage.redraw(); }
  choose(i) { this.show(i); this.ours = String(i); this.stage.select([i]); }
  turn(step) {
    const k = this.sequence.indexOf(this.at), next = this.sequence[(k + step + this.count) % this.count];
    this.choose(next);
  }

  inside({ left, right, top, bottom }, [x, y]) { return x >= left - 4 && x <= right + 4 && y >= top - 6 && y <= bottom + 6; }
  grab(event) {
    const at = this.stage.at(event);
    if (!this.levels || !this.charts) return;
    this.chart = this.inside(this.charts.histogram, at) ? "histogram" : !this.time && this.inside(this.charts.batch, at) ? "batch" : null;
    if (!this.chart) return;
    this.held = true;
    try { this.stage.canvas.setPointerCapture(event.pointerId); } catch { /* not a real pointer */ }
    this.pull(at);
  }
  pull([x]) { this.setCommon(this.chart === "histogram" ? Math.round(this.histogram.vx(x)) - 1 : Math.round(this.batch.vx(x))); }
  move(event) {
    const at = this.stage.at(event);
    if (this.held) return this.pull(at);
    if (!this.panels || !this.made) return;
    const { stage } = this, over = ["image", "score", "mask"].find((name) => this.panels[name] && this.in(this.panels[name], at));
    stage.canvas.style.cursor = this.levels && this.inside(this.charts.histogram, at) ? "ew-resize" : "";
    if (!over) return stage.showTip();
    const box = this.panels[over], x = Math.min(this.w - 1, Math.floor(((at[0] - box.x) / box.w) * this.w)), y = Math.min(this.h - 1, Math.floor(((at[1] - box.y) / box.h) * this.h)), p = y * this.w + x;
    stage.showTip(event, `row ${y}, column ${x}`, ...(this.levels ? [`level ${this.levels[this.at * this.size + p]}`] : []), this.made[this.at][p] ? "kept" : "hidden",
      ...(this.truth ? [this.truth[this.at][p] ? "object" : "not object"] : []));
  }
  in({ x, y, w, h }, [mx, my]) { return mx >= x && mx < x + w && my >= y && my < y + h; }

  tell() {
    const { stage, at, kept, iou, charts } = this, t = this.levels ? this.threshold() : "";
    Object.assign(stage.root.dataset, { image: at, mode: this.mode, threshold: t, kept: kept[at], iou: iou?.[at] ?? "", allKept: mean(kept), allIou: iou ? mean(iou) : "", draw: this.drawn,
      fill: this.fill, boxes: this.boxes.map((b) => b.join()).join(";"), shares: this.shares.join(), order: this.sequence.join(), panels: JSON.stringify(this.panels), charts: JSON.stringify(charts),
      span: this.span?.join() ?? "" });
    const text = `What may be seen? ${this.words.textContent}`;
    if (stage.canvas.getAttribute("aria-label") !== text) stage.canvas.setAttribute("aria-label", text);
  }
}

export default {
  render({ model, el }) {
    const { title, modes } = model.get("options"), keys = { [COMMON]: "↑ ↓: one threshold for all", [OWN]: "o: each its own", [PRODUCED]: "p: as produced" };
    const help = ["← →: image", ...Object.keys(keys).filter((mode) => modes.length > 1 && modes.includes(mode)).map((mode) => keys[mode]), "n: new crops", "Esc: clear the selection"].join(" · ");
    const stage = new Stage({ model, el }, { title, height: 320, help });
    const view = new MasksView(stage);
    return stage.start((frame) => view.draw(frame));
  },
};
