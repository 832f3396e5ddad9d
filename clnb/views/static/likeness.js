// PixelSimilarity: a clicked pixel of one picture against all pixels of another. See 07w_similarity.ipynb.

const STOPS = [[68, 1, 84], [70, 50, 126], [54, 92, 141], [39, 127, 142], [31, 161, 135], [74, 193, 109], [160, 218, 57], [253, 231, 37]];
const LOW = -0.5;

/** The colour of a cosine, from LOW to 1. */
function shade(v) {
  const t = Math.max(0, Math.min(1, (v - LOW) / (1 - LOW))) * (STOPS.length - 1), i = Math.min(Math.floor(t), STOPS.length - 2), f = t - i;
  return STOPS[i].map((c, k) => Math.round(c + f * (STOPS[i + 1][k] - c)));
}

class LikenessView {
  constructor(stage) {
    const o = stage.options;
    Object.assign(this, { stage, o, a: unpack(o.a), b: unpack(o.b), twins: o.twins && unpack(o.twins), panels: [], heat: new Map() });
    this.n = this.a.shape[0];
    const names = Array.from({ length: this.n }, (_, k) => String(k + 1));
    this.first = dropdown("first picture", names, names[this.image], (name) => this.choose({ image: names.indexOf(name) }));
    this.second = dropdown("second picture", ["its own", ...names], this.other < 0 ? "its own" : names[this.other], (name) => this.choose({ other: names.indexOf(name) }));
    stage.tools.append(this.first, this.second, this.scale());
    this.words = make("span", { className: "clnb-note", role: "status", style: { flexBasis: "100%" } });
    stage.tools.append(this.words);
    for (const name of ["image", "other", "pixel"]) stage.listen(`change:${name}`, () => stage.redraw());
    const { canvas } = stage;
    canvas.addEventListener("pointerdown", (event) => { this.held = true; this.pickAt(event); });
    canvas.addEventListener("pointermove", (event) => (this.held ? this.pickAt(event) : this.hover(event)));
    for (const name of ["pointerup", "pointerleave"]) canvas.addEventListener(name, () => { this.held = false; stage.showTip(); });
    const move = (dy, dx) => (event) => this.step(dy * (event?.shiftKey ? 8 : 1), dx * (event?.shiftKey ? 8 : 1));
    const turn = (by) => () => this.choose({ image: (this.image + by + this.n) % this.n });
    stage.keys = { ArrowDown: move(1, 0), ArrowUp: move(-1, 0), ArrowRight: move(0, 1), ArrowLeft: move(0, -1), n: turn(1), p: turn(-1),
      o: () => this.choose({ other: this.other + 1 >= this.n ? -1 : this.other + 1 }), Escape: () => stage.showTip() };
  }

  get image() { return Math.max(0, Math.min(this.n - 1, this.stage.model.get("image") ?? 0)); }
  get other() { return Math.max(-1, Math.min(this.n - 1, this.stage.model.get("other") ?? -1)); }
  get shownB() { return this.other < 0 ? this.image : this.other; }
  get pixel() {
    const [h, w] = this.o.sizes[0], [y, x] = this.stage.model.get("pixel") ?? [0, 0];
    return [Math.max(0, Math.min(h - 1, y)), Math.max(0, Math.min(w - 1, x))];
  }

  choose(values) {
    for (const [name, value] of Object.entries(values)) this.stage.model.set(name, value);
    this.stage.model.save_changes();
    this.stage.redraw();
  }

  step(dy, dx) {
    const [h, w] = this.o.sizes[0], [y, x] = this.pixel;
    this.choose({ pixel: [Math.max(0, Math.min(h - 1, y + dy)), Math.max(0, Math.min(w - 1, x + dx))] });
  }

  /** The colour scale. */
  scale() {
    const bar = make("canvas", { width: 90, height: 10, "aria-hidden": "true", style: { verticalAlign: "middle" } }), ctx = bar.getContext("2d");
    for (let k = 0; k < 90; k++) { ctx.fillStyle = `rgb(${shade(LOW + (k / 89) * (1 - LOW)).join(",")})`; ctx.fillRect(k, 0, 1, 10); }
    return make("span", { className: "clnb-note" }, "cosine −0.5 ", bar, " 1");
  }

  /** Where the twin of the pixel lies in the second picture, [y, x] in its pixels; null: not seen. */
  twin() {
    if (!this.twins || this.shownB !== this.image) return null;
    const [, h, w] = this.twins.shape, [y, x] = this.pixel, at = 2 * ((this.image * h + y) * w + x), [tall, wide] = this.o.sizes[1];
    const place = [this.twins[at + 1], this.twins[at]];
    return place[0] >= -0.5 && place[0] < tall - 0.5 && place[1] >= -0.5 && place[1] < wide - 0.5 ? place : null;
  }

  /** Cosines of the pixel with all pixels of the second picture, of one map. */
  cosines(map) {
    const A = (map.rawA ??= unpack(map.a)), B = (map.rawB ??= unpack(map.b)), [, h, w, c] = A.shape, [, hb, wb] = B.shape, [th, tw] = this.o.sizes[0], [y, x] = this.pixel;
    const from = ((this.image * h + Math.floor((y * h) / th)) * w + Math.floor((x * w) / tw)) * c, start = this.shownB * hb * wb * c, found = new Float32Array(hb * wb);
    for (let p = 0; p < hb * wb; p++) {
      let sum = 0;
      for (let k = 0; k < c; k++) sum += (A[from + k] - 128) * (B[start + p * c + k] - 128);
      found[p] = sum / 16129;
    }
    return { found, h: hb, w: wb };
  }

  /** The place of the twin among all pixels, 1: none is more similar; null: there is none. */
  rank({ found, h, w }) {
    const twin = this.twin();
    if (!twin) return null;
    const [tall, wide] = this.o.sizes[1], own = found[Math.floor(((twin[0] + 0.5) * h) / tall) * w + Math.floor(((twin[1] + 0.5) * w) / wide)];
    return found.reduce((count, v) => count + (v > own), 1);
  }

  photograph(pixels, k) {
    const [, channels, h, w] = pixels.shape, image = new ImageData(w, h), from = k * channels * h * w;
    for (let p = 0; p < h * w; p++) for (let c = 0; c < 4; c++) image.data[4 * p + c] = c === 3 ? 255 : pixels[from + (channels === 3 ? c : 0) * h * w + p];
    const small = make("canvas", { width: w, height: h });
    small.getContext("2d").putImageData(image, 0, 0);
    return small;
  }

  draw(frame) {
    const { stage, o } = this, maps = frame.maps ?? [], count = 2 + maps.length, gap = 12, title = 34;
    if (!maps.length) stage.say(frame.note ?? "nothing has been recorded yet");
    const across = Math.max(2, Math.min(count, Math.floor((stage.width + gap) / 150))), each = Math.min(300, (stage.width - gap * (across - 1)) / across), tall = each * (o.sizes[0][0] / o.sizes[0][1]);
    const height = `${Math.ceil(count / across) * (tall + title + 6)}px`;
    if (stage.canvas.style.height !== height) { stage.canvas.style.height = height; stage.fit(); }
    this.first.querySelector("select").value = String(this.image + 1);
    this.second.querySelector("select").value = this.other < 0 ? "its own" : String(this.other + 1);
    const [y, x] = this.pixel, twin = this.twin(), said = [];
    this.results = maps.map((map) => { const r = this.cosines(map); return { ...r, name: map.name, rank: this.rank(r) }; });
    const sheets = [{ title: "first picture", note: `row ${y}, column ${x}`, sheet: this.photograph(this.a, this.image), size: o.sizes[0], mark: [y, x] },
      { title: "second picture", note: this.twins && this.shownB === this.image ? (twin ? "circle: the twin" : "the twin is not in it") : "", sheet: this.photograph(this.b, this.shownB), size: o.sizes[1], mark: twin },
      ...this.results.map((r) => ({ title: r.name, note: r.rank ? `twin ranks ${thousandsOf(r.rank)} of ${thousandsOf(r.found.length)}` : "", sheet: this.warmth(r), size: o.sizes[1], mark: twin, result: r }))];
    this.panels = sheets.map((s, k) => ({ ...s, x: (k % across) * (each + gap), y: title + Math.floor(k / across) * (tall + title + 6), w: each, h: tall }));
    for (const panel of this.panels) { this.paint(panel); if (panel.result) said.push(`${panel.title}${panel.note ? `: ${panel.note}` : ""}`); }
    this.words.textContent = said.join(" · ");
    stage.canvas.setAttribute("aria-label", `${o.title}: pixel at row ${y}, column ${x} of picture ${this.image + 1}. ${said.join("; ")}`);
    Object.assign(stage.root.dataset, { pixel: `${y},${x}`, image: this.image, other: this.other, ranks: this.results.map((r) => r.rank ?? "").join(","), step: frame.step ?? "" });
    stage.canvas.dataset.panels = JSON.stringify(this.panels.map(({ title: name, x: left, y: top, w, h }) => ({ name, box: [left, top, w, h] })));
  }

  warmth({ found, h, w }) {
    const image = new ImageData(w, h), small = make("canvas", { width: w, height: h });
    found.forEach((v, p) => image.data.set([...shade(v), 255], 4 * p));
    small.getContext("2d").putImageData(image, 0, 0);
    return small;
  }

  paint({ title, note, sheet, size, mark, x, y, w, h }) {
    const { ctx, ink } = this.stage;
    ctx.fillStyle = ink; ctx.textAlign = "left"; ctx.textBaseline = "alphabetic";
    ctx.font = "600 12px system-ui, sans-serif"; ctx.fillText(cut(ctx, title, w), x, y - 19);
    ctx.font = "11px system-ui, sans-serif"; ctx.fillText(cut(ctx, note, w), x, y - 5);
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(sheet, x, y, w, h);
    if (!mark) return;
    const at = [x + ((mark[1] + 0.5) / size[1]) * w, y + ((mark[0] + 0.5) / size[0]) * h];
    for (const [colour, wide] of [["#000", 4], ["#fff", 2]]) { ctx.strokeStyle = colour; ctx.lineWidth = wide; ctx.beginPath(); ctx.arc(...at, 7, 0, 2 * Math.PI); ctx.stroke(); }
  }

  /** The panel and the pixel at a place of the canvas. */
  under(event) {
    const [px, py] = this.stage.at(event);
    for (const panel of this.panels) {
      const u = (px - panel.x) / panel.w, v = (py - panel.y) / panel.h;
      if (u >= 0 && u < 1 && v >= 0 && v < 1) return { panel, k: this.panels.indexOf(panel), row: Math.floor(v * panel.size[0]), column: Math.floor(u * panel.size[1]) };
    }
    return null;
  }

  pickAt(event) {
    const found = this.under(event);
    if (found?.k === 0) this.choose({ pixel: [found.row, found.column] });
  }

  hover(event) {
    const found = this.under(event);
    if (!found?.panel.result) return this.stage.showTip();
    const { result, size } = found.panel, v = result.found[Math.floor((found.row * result.h) / size[0]) * result.w + Math.floor((found.column * result.w) / size[1])];
    this.stage.showTip(event, make("b", {}, result.name), make("div", {}, `row ${found.row}, column ${found.column}: cosine ${v.toFixed(2)}`));
  }
}

const thousandsOf = (n) => n.toLocaleString("en");

export default {
  render({ model, el }) {
    const stage = new Stage({ model, el }, { title: model.get("options").title, height: 300,
      help: "click or drag in the first picture, or arrow keys: choose a pixel (with shift: eight at once) · n, p: next and previous picture · o: another second picture" });
    const view = new LikenessView(stage);
    return stage.start((frame) => view.draw(frame));
  },
};
