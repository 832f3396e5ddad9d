// MatchedRegions: a picture and two views of it with windows that belong together. See 07u_regions.ipynb.

const WINDOW_INKS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000"];

const through = (m, [x, y]) => [m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]];

/** The inverse of an affine map given by its first six numbers. */
function inverse(m) {
  const d = m[0] * m[4] - m[1] * m[3];
  return [m[4] / d, -m[1] / d, (m[1] * m[5] - m[4] * m[2]) / d, -m[3] / d, m[0] / d, (m[3] * m[2] - m[0] * m[5]) / d];
}

class RegionsView {
  constructor(stage) {
    const o = stage.options;
    Object.assign(this, { stage, o, setting: { ...o.start }, places: false, chosen: 0, own: new Map(), panels: [], note: "" });
    stage.tools.append(this.pictures = slider("picture", { min: 1, max: 2, step: 1, value: 1 }, (v) => this.turn(v - 1)));
    for (const [name, values] of Object.entries(o.sliders)) stage.tools.append(this.control(name, values));
    stage.tools.append(checkbox("places", false, (on) => { this.places = on; stage.redraw(); }));
    this.words = make("span", { className: "clnb-note", role: "status", style: { flexBasis: "100%" } });
    stage.tools.append(this.words);
    stage.listen("change:image", () => { this.own.clear(); stage.redraw(); });
    const { canvas } = stage, move = (dx, dy) => (event) => this.nudge(dx * (event?.shiftKey ? 8 : 1), dy * (event?.shiftKey ? 8 : 1));
    canvas.addEventListener("pointerdown", (event) => this.grab(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const name of ["pointerup", "pointerleave"]) canvas.addEventListener(name, () => { this.held = null; });
    stage.keys = { ArrowRight: move(1, 0), ArrowLeft: move(-1, 0), ArrowDown: move(0, 1), ArrowUp: move(0, -1), n: () => this.turn(this.image + 1), p: () => this.turn(this.image - 1),
      w: () => { this.chosen += 1; stage.redraw(); }, Escape: () => { this.own.clear(); stage.redraw(); } };
  }

  /** A control of one argument of the drawing function; on a page without a kernel it only tells. */
  control(name, values) {
    const { alone } = this.stage, start = this.setting[name];
    const changed = (value) => { this.setting[name] = value; this.ask(); };
    let node;
    if (values.every((v) => typeof v === "boolean")) node = checkbox(name, start, changed);
    else if (values.length > 1) node = slider(name, { min: 0, max: values.length - 1, step: 1, value: values.indexOf(start), show: (i) => String(values[Math.round(i)]) }, (i) => changed(values[Math.round(i)]));
    else return make("span", { className: "clnb-note" }, `${name} ${values[0]}`);
    if (alone) for (const input of node.querySelectorAll("input")) input.disabled = true;
    return node;
  }

  /** New views for the setting: one question at a time, the last one wins. */
  ask() {
    if (this.waiting || this.stage.alone) { this.again = true; return; }
    Object.assign(this, { waiting: true, again: false });
    this.stage.ask({ ask: "draw", setting: this.setting }).then((reply) => { this.given = reply; this.own.clear(); this.note = ""; })
      .catch((error) => { this.note = error.message; })
      .finally(() => { this.waiting = false; if (this.again) this.ask(); this.stage.redraw(); });
  }

  get image() { return Math.max(0, Math.min(this.count - 1, this.stage.model.get("image") ?? 0)); }

  turn(k) {
    this.stage.model.set("image", Math.max(0, Math.min(this.count - 1, k)));
    this.stage.model.save_changes();
    this.own.clear();
    this.stage.redraw();
  }

  draw(frame) {
    const { stage } = this, given = this.given ?? frame, raw = (given.raw ??= { tiles: unpack(given.tiles), a: unpack(given.a), b: unpack(given.b), m: given.matrices.map(unpack), c: given.centres.map(unpack) });
    this.raw = raw; this.side = given.side; this.count = raw.tiles.shape[0];
    const i = this.image;
    this.pictures.querySelector("input").max = String(this.count);
    this.pictures.write(i + 1);
    this.matrices = raw.m.map((m) => m.subarray(9 * i, 9 * i + 6));
    this.back = this.matrices.map(inverse);
    const K = raw.c[0].shape[1];
    this.chosen = K ? this.chosen % K : 0;
    this.windows = Array.from({ length: K }, (_, k) => {
      const at = [0, 1].map((side) => Array.from(raw.c[side].subarray(2 * (i * K + k), 2 * (i * K + k) + 2))), own = this.own.get(k);
      return own ? [own, through(this.back[1], through(this.matrices[0], own))] : at;
    });
    this.layout();
    this.panels.forEach((panel, n) => this.paint(panel, n));
    this.tell();
  }

  layout() {
    const { stage, raw } = this, gap = 14, title = 20, sheets = [raw.tiles, raw.a, raw.b], across = stage.width < 520 ? 1 : 3, each = Math.min(340, (stage.width - gap * (across - 1)) / across);
    const talls = sheets.map(({ shape }) => each * (shape[2] / shape[3])), row = Math.max(...talls) + title + 6, height = `${across === 3 ? row : talls.reduce((s, t) => s + t + title + 6, 0)}px`;
    if (stage.canvas.style.height !== height) { stage.canvas.style.height = height; stage.fit(); }
    let y = title;
    this.panels = sheets.map((pixels, n) => {
      const panel = { pixels, w: each, h: talls[n], x: across === 3 ? n * (each + gap) : 0, y, name: ["picture", "first view", "second view"][n], size: [pixels.shape[3], pixels.shape[2]] };
      if (across === 1) y += talls[n] + title + 6;
      return panel;
    });
  }

  /** A picture as a small canvas; with `places`, every pixel coloured by the place of the picture that it shows. */
  sheet({ pixels }, n) {
    const [, channels, h, w] = pixels.shape, from = this.image * channels * h * w, image = new ImageData(w, h), [W, H] = this.panels[0].size;
    for (let p = 0; p < h * w; p++) {
      if (this.places) {
        const [x, y] = n ? through(this.matrices[n - 1], [p % w, Math.floor(p / w)]) : [p % w, Math.floor(p / w)], inside = x >= -0.5 && y >= -0.5 && x < W - 0.5 && y < H - 0.5;
        image.data.set(inside ? [40 + (200 * x) / W, 90 + 60 * (((Math.floor(x / 8) + Math.floor(y / 8)) % 2)), 40 + (200 * y) / H, 255] : [128, 128, 128, 255], 4 * p);
      } else for (let c = 0; c < 4; c++) image.data[4 * p + c] = c === 3 ? 255 : pixels[from + (channels === 3 ? c : 0) * h * w + p];
    }
    const small = make("canvas", { width: w, height: h });
    small.getContext("2d").putImageData(image, 0, 0);
    return small;
  }

  paint(panel, n) {
    const { ctx, ink } = this.stage, { x, y, w, h, size } = panel;
    ctx.fillStyle = ink; ctx.textAlign = "left"; ctx.textBaseline = "alphabetic"; ctx.font = "600 12px system-ui, sans-serif";
    ctx.fillText(panel.name, x, y - 6);
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(this.sheet(panel, n), x, y, w, h);
    ctx.save();
    ctx.beginPath(); ctx.rect(x, y, w, h); ctx.clip();
    this.windows.forEach((pair, k) => { for (const side of n ? [n - 1] : [0, 1]) this.outline(panel, n, pair[side], side, k); });
    ctx.restore();
  }

  outline({ x, y, w, h, size }, n, centre, side, k) {
    const { ctx } = this.stage, half = this.side / 2, place = ([u, v]) => [x + ((u + 0.5) / size[0]) * w, y + ((v + 0.5) / size[1]) * h];
    const corners = [[-half, -half], [half, -half], [half, half], [-half, half]].map(([a, b]) => [centre[0] + a - 0.5, centre[1] + b - 0.5]).map((c) => place(n ? c : through(this.matrices[side], c)));
    for (const [colour, wide] of [["#fff", k === this.chosen ? 6 : 4.5], [WINDOW_INKS[k % WINDOW_INKS.length], k === this.chosen ? 3.5 : 2]]) {
      ctx.strokeStyle = colour; ctx.lineWidth = wide; ctx.setLineDash(side && !n ? [4, 4] : []);
      ctx.beginPath(); corners.forEach((c, i) => (i ? ctx.lineTo(...c) : ctx.moveTo(...c))); ctx.closePath(); ctx.stroke();
    }
    ctx.setLineDash([]);
    if (!n && side) return;
    const [tx, ty] = corners.reduce(([a, b], [c, d]) => [Math.min(a, c), Math.min(b, d)], [Infinity, Infinity]);
    ctx.font = "700 11px system-ui, sans-serif"; ctx.lineWidth = 3; ctx.strokeStyle = "#fff"; ctx.fillStyle = "#000"; ctx.textBaseline = "top";
    ctx.strokeText(String(k + 1), tx + 4, ty + 4); ctx.fillText(String(k + 1), tx + 4, ty + 4);
  }

  /** Is a window wholly inside its view? */
  fits(side, [x, y]) {
    const [w, h] = this.panels[side + 1].size, half = this.side / 2;
    return x >= half - 1e-3 && y >= half - 1e-3 && x <= w - 1 - half + 1e-3 && y <= h - 1 - half + 1e-3;
  }

  /** How many pixels of the picture can be a centre. */
  candidates() {
    const [W, H] = this.panels[0].size;
    let count = 0;
    for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) count += this.fits(0, through(this.back[0], [x, y])) && this.fits(1, through(this.back[1], [x, y]));
    return count;
  }

  /** Mean intersection over union of the windows in the first view. */
  crowding() {
    const { windows, side } = this;
    let sum = 0, pairs = 0;
    for (let i = 0; i < windows.length; i++) for (let j = 0; j < i; j++) {
      const both = [0, 1].map((k) => Math.max(0, side - Math.abs(windows[i][0][k] - windows[j][0][k]))), shared = both[0] * both[1];
      sum += shared / (2 * side * side - shared); pairs += 1;
    }
    return pairs ? sum / pairs : 0;
  }

  tell() {
    const { stage, o } = this, free = this.candidates(), [W, H] = this.panels[0].size, overlap = this.crowding(), lost = this.windows.map((pair, k) => (this.fits(1, pair[1]) ? null : k + 1)).filter(Boolean);
    const said = [`${free.toLocaleString("en")} of ${(W * H).toLocaleString("en")} places can be a centre`, `windows share ${(100 * overlap).toFixed(0)} % (IoU)`];
    if (lost.length) said.push(`the twin of window ${lost.join(", ")} is not wholly in the second view`);
    if (this.note) said.push(this.note);
    this.words.textContent = said.join(" · ");
    stage.canvas.setAttribute("aria-label", `${o.title}, picture ${this.image + 1} of ${this.count}: ${this.windows.map(([a, b], k) => `window ${k + 1} at ${a.map((v) => v.toFixed(1))} and ${b.map((v) => v.toFixed(1))}`).join("; ")}. ${said.join("; ")}`);
    Object.assign(stage.root.dataset, { image: this.image, candidates: free, overlap: overlap.toFixed(4), side: this.side, chosen: this.chosen, lost: lost.join(",") });
    stage.canvas.dataset.windows = JSON.stringify(this.windows);
    stage.canvas.dataset.panels = JSON.stringify(this.panels.map(({ name, x, y, w, h }) => ({ name, box: [x, y, w, h] })));
  }

  /** The place of an event in the first view, in its pixels. */
  inFirst(event) {
    const [px, py] = this.stage.at(event), { x, y, w, h, size } = this.panels[1];
    return [((px - x) / w) * size[0] - 0.5, ((py - y) / h) * size[1] - 0.5];
  }

  grab(event) {
    const [x, y] = this.inFirst(event), reach = this.windows.map(([a]) => Math.max(Math.abs(a[0] - x), Math.abs(a[1] - y))), k = reach.indexOf(Math.min(...reach));
    if (!(reach[k] <= this.side / 2 + 1)) return;
    this.chosen = k;
    this.held = [this.windows[k][0][0] - x, this.windows[k][0][1] - y];
    this.stage.canvas.setPointerCapture?.(event.pointerId);
    this.stage.redraw();
  }

  drag(event) {
    if (!this.held) return;
    const [x, y] = this.inFirst(event);
    this.put([x + this.held[0], y + this.held[1]]);
  }

  nudge(dx, dy) {
    if (!this.windows?.length) return;
    const [x, y] = this.windows[this.chosen][0];
    this.put([x + dx, y + dy]);
  }

  /** Move the chosen window, inside the first view. */
  put([x, y]) {
    const [w, h] = this.panels[1].size, half = this.side / 2, keep = (v, n) => Math.max(half, Math.min(n - 1 - half, v));
    this.own.set(this.chosen, [keep(x, w), keep(y, h)]);
    this.stage.redraw();
  }
}

export default {
  render({ model, el }) {
    const stage = new Stage({ model, el }, { title: model.get("options").title, height: 300,
      help: "drag a window in the first view, or w: the next window, arrow keys: move it (with shift: eight pixels) · Escape: back · n, p: next and previous picture" });
    const view = new RegionsView(stage);
    return stage.start((frame) => view.draw(frame));
  },
};
