// Heatmaps: matrices side by side, one colour scale for each name, a toggle between groups, norms of the columns. See 07l_heatmaps.ipynb.

const DARK_LIGHT = [[68, 1, 84], [70, 50, 126], [54, 92, 141], [39, 127, 142], [31, 161, 135], [74, 193, 109], [160, 218, 57], [253, 231, 37]];
const BLUE_ORANGE = [[8, 64, 129], [66, 146, 198], [198, 219, 239], [247, 247, 247], [253, 208, 162], [241, 105, 19], [127, 39, 4]];
const BROKEN = [204, 121, 167];

function mixed(stops, t) {
  const at = Math.max(0, Math.min(1, t)) * (stops.length - 1), i = Math.min(Math.floor(at), stops.length - 2), f = at - i;
  return stops[i].map((v, c) => Math.round(v + f * (stops[i + 1][c] - v)));
}

/** The lowest and highest magnitude of a colour scale. */
function limits(scale, log) {
  const high = scale.largest || 1;
  return log ? [Math.min(Math.max(scale.least ?? high, high * 1e-6), high / 10), high] : [0, high];
}

/** Where a magnitude lies on its scale, 0 … 1. */
const placeOn = (size, [low, high], log) => (log ? Math.log(size / low) / Math.log(high / low) : size / high);

class HeatmapView {
  constructor(stage) {
    const o = stage.options;
    Object.assign(this, { stage, set: { signed: o.signed, log: o.log }, boxes: [], over: null, pictures: new Map() });
    const toggle = (label, key) => checkbox(label, this.set[key], (on) => { this.set[key] = on; stage.redraw(); });
    this.buttons = o.groups.map((group) => make("button", { type: "button", onclick: () => this.show(group) }, group));
    if (o.groups.length > 1) stage.tools.append(make("span", { className: "clnb-modes", role: "group", "aria-label": "which group is shown" }, ...this.buttons));
    stage.tools.append(toggle("signed", "signed"), toggle("log colours", "log"), make("span", { className: "clnb-note" }, "hatched: exactly zero"));
    this.say = whisper(stage);
    const { canvas } = stage;
    stage.listen("change:group", () => stage.redraw());
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => this.leave());
    const move = (di, dj) => () => this.move(di, dj);
    stage.keys = { ArrowDown: move(1, 0), ArrowUp: move(-1, 0), ArrowRight: move(0, 1), ArrowLeft: move(0, -1), Escape: () => this.leave(),
      g: () => this.turn(), m: () => this.other() };
  }

  get group() {
    const { groups } = this.stage.options, now = this.stage.model.get("group");
    return groups.includes(now) ? now : groups[0];
  }
  show(group) {
    this.stage.model.set("group", group);
    this.stage.model.save_changes();
    this.stage.redraw();
  }
  turn() {
    const { groups } = this.stage.options;
    this.show(groups[(groups.indexOf(this.group) + 1) % groups.length]);
  }

  draw(frame) {
    const { stage } = this;
    this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(stage.options.groups[i] === this.group)));
    const names = frame.names ?? [], across = Math.max(1, Math.min(names.length, 3, Math.floor(stage.width / 280))), tall = 300;
    const height = `${Math.max(1, Math.ceil(names.length / across)) * tall}px`;
    if (stage.canvas.style.height !== height) { stage.canvas.style.height = height; stage.fit(); }
    this.scales = frame.scales ?? {};
    this.boxes = [];
    if (this.number !== frame.number) { this.number = frame.number; this.pictures.clear(); }
    const wideEach = stage.width / across;
    for (const map of frame.maps ?? []) {
      if (map.group !== this.group) continue;
      const k = names.indexOf(map.name), x = (k % across) * wideEach, y = Math.floor(k / across) * tall;
      this.boxes.push({ map, left: x + 50, right: x + wideEach - 62, top: y + 36, bottom: y + 206, low: y + 214, base: y + 262, values: (map.raw ??= unpack(map.values)), norms: (map.sums ??= unpack(map.norms)) });
    }
    if (!this.boxes.length) stage.say(names.length ? "nothing has been recorded for this group at this step" : frame.note ?? "nothing has been recorded yet");
    for (const box of this.boxes) this.paint(box);
    this.mark();
    this.tell();
  }

  /** The cells of a map as a small canvas, made once for every frame and setting. */
  cells(box) {
    const { map, values } = box, { signed, log } = this.set, key = `${map.group}\n${map.name}\n${signed}${log}`;
    if (this.pictures.has(key)) return this.pictures.get(key);
    const [n, d] = values.shape, image = new ImageData(d, n), ends = limits(this.scales[map.name], log), stops = signed ? BLUE_ORANGE : DARK_LIGHT;
    for (let i = 0; i < values.length; i++) {
      const v = values[i];
      if (v === 0) continue;
      const t = Math.max(0, Math.min(1, placeOn(Math.abs(v), ends, log)));
      const [r, g, b] = Number.isFinite(v) ? mixed(stops, signed ? 0.5 + 0.5 * Math.sign(v) * t : t) : BROKEN;
      image.data.set([r, g, b, 255], 4 * i);
    }
    const small = make("canvas", { width: d, height: n });
    small.getContext("2d").putImageData(image, 0, 0);
    this.pictures.set(key, small);
    return small;
  }

  paint(box) {
    const { stage } = this, { ctx, ink, faint } = stage, { map, left, right, top, bottom } = box, wide = right - left;
    ctx.save();
    ctx.fillStyle = ink; ctx.textAlign = "left"; ctx.textBaseline = "alphabetic";
    ctx.font = "600 12px system-ui, sans-serif";
    ctx.fillText(cut(ctx, map.name, wide + 50), left, top - 21);
    ctx.font = "11px system-ui, sans-serif";
    ctx.fillText(cut(ctx, map.text, wide + 56), left, top - 7);
    this.hatch(box);
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(this.cells(box), left, top, wide, bottom - top);
    ctx.strokeStyle = faint; ctx.lineWidth = 1;
    ctx.strokeRect(left - 0.5, top - 0.5, wide + 1, bottom - top + 1);
    this.bars(box);
    this.labels(box);
    this.scale(box);
    ctx.restore();
  }

  /** What shows through where a value is exactly zero. */
  hatch({ left, right, top, bottom }) {
    const { ctx, faint } = this.stage, tall = bottom - top;
    ctx.save();
    ctx.beginPath(); ctx.rect(left, top, right - left, tall); ctx.clip();
    ctx.strokeStyle = faint; ctx.globalAlpha = 0.45; ctx.lineWidth = 1;
    ctx.beginPath();
    for (let x = left - tall; x < right; x += 7) { ctx.moveTo(x, bottom); ctx.lineTo(x + tall, top); }
    ctx.stroke();
    ctx.restore();
  }

  bars({ map, left, right, low, base, norms }) {
    const { ctx, faint } = this.stage, each = (right - left) / norms.length, most = this.scales[map.name].norm || 1;
    ctx.fillStyle = PALETTE[0];
    for (let j = 0; j < norms.length; j++) {
      const t = norms[j] > 0 ? Math.max(0.01, norms[j] / most) : 0;
      if (t) ctx.fillRect(left + j * each, base - t * (base - low), Math.max(each - (each > 4 ? 1 : 0), 0.7), t * (base - low));
    }
    ctx.strokeStyle = faint;
    ctx.beginPath(); ctx.moveTo(left, base + 0.5); ctx.lineTo(right, base + 0.5); ctx.stroke();
  }

  labels({ map, left, right, top, bottom, low, base }) {
    const { ctx, ink } = this.stage, { x, y } = this.stage.options, [n, d] = map.shape, most = this.scales[map.name].norm;
    ctx.fillStyle = ink; ctx.textAlign = "right"; ctx.textBaseline = "middle";
    for (const v of ticks([0, n], false)) if (Number.isInteger(v) && v < n) ctx.fillText(short(v), left - 4, top + ((v + 0.5) / n) * (bottom - top));
    ctx.fillText(short(+most.toPrecision(2)), left - 4, low + 3);
    ctx.textAlign = "center"; ctx.textBaseline = "top";
    for (const v of ticks([0, d], false)) if (Number.isInteger(v) && v < d) ctx.fillText(short(v), left + ((v + 0.5) / d) * (right - left), base + 4);
    ctx.fillText(cut(ctx, x, right - left), (left + right) / 2, base + 17);
    for (const [text, at] of [[y, (top + bottom) / 2], ["norm", (low + base) / 2]]) {
      ctx.save(); ctx.translate(left - 46, at); ctx.rotate(-Math.PI / 2);
      ctx.fillText(cut(ctx, text, text === y ? bottom - top : 44), 0, 0);
      ctx.restore();
    }
  }

  /** The colour scale beside a map. */
  scale({ map, right, top, bottom }) {
    const { ctx, ink } = this.stage, { signed, log } = this.set, tall = bottom - top, [low, high] = limits(this.scales[map.name], log), two = (v) => short(+v.toPrecision(2));
    for (let k = 0; k < tall; k++) {
      ctx.fillStyle = `rgb(${mixed(signed ? BLUE_ORANGE : DARK_LIGHT, 1 - k / (tall - 1)).join(",")})`;
      ctx.fillRect(right + 8, top + k, 10, 1.5);
    }
    ctx.fillStyle = ink; ctx.textAlign = "left"; ctx.textBaseline = "middle";
    const words = signed ? [[two(high), 0], [log ? `±${two(low)}` : "0", 0.5], [two(-high), 1]] : [[two(high), 0], [two(low), 1]];
    for (const [text, at] of words) ctx.fillText(cut(ctx, text, 42), right + 21, top + 5 + at * (tall - 10));
  }

  /** The cell or the bar at a place: { box, i (−1: a bar), j } in blocks. */
  cellAt([x, y]) {
    for (const box of this.boxes) {
      const [n, d] = box.values.shape, share = (x - box.left) / (box.right - box.left);
      if (share < 0 || share >= 1) continue;
      if (y >= box.top && y < box.bottom) return { name: box.map.name, i: Math.floor(((y - box.top) / (box.bottom - box.top)) * n), j: Math.floor((share * box.map.shape[1]) / box.map.block[1]) };
      if (y >= box.low - 4 && y < box.base + 4) return { name: box.map.name, i: -1, j: Math.min(Math.floor((share * box.map.shape[1]) / box.map.block[1]), d - 1) };
    }
    return null;
  }

  hover(event) {
    this.over = this.cellAt(this.stage.at(event));
    this.stage.redraw();
    if (!this.over) return this.stage.showTip();
    this.stage.showTip(event, ...this.words(this.over, event).map((text, k) => make(k ? "div" : "b", {}, text)));
  }

  leave() { this.over = null; this.stage.showTip(); this.stage.redraw(); }

  /** What is said of a cell or a bar. */
  words({ name, i, j }) {
    const { x, y } = this.stage.options, box = this.boxes.find((b) => b.map.name === name);
    if (!box) return [];
    const [n, d] = box.map.shape, [a, b] = box.map.block, wide = box.values.shape[1];
    const span = (k, size, count) => (size === 1 ? String(k) : `${k * size}–${Math.min((k + 1) * size, count) - 1}`);
    const title = this.group ? `${this.group}: ${name}` : name, column = `${x} ${span(j, b, d)}`;
    const v = i < 0 ? Math.hypot(...box.norms.subarray(j * b, (j + 1) * b)) : box.values[i * wide + j];
    Object.assign(this.stage.tip.dataset, { name, row: i, column: j, value: v });
    if (i < 0) return [title, column, `norm ${v === 0 ? "exactly 0" : v.toPrecision(5)}`];
    return [title, `${y} ${span(i, a, n)}, ${column}`, `${a * b > 1 ? "largest of the block" : "value"} ${v === 0 ? "exactly 0" : v.toPrecision(5)}`];
  }

  /** The cursor of the keyboard. */
  move(di, dj) {
    const box = this.boxes.find((b) => b.map.name === this.over?.name) ?? this.boxes[0];
    if (!box) return;
    const [n, d] = box.values.shape, now = this.over ? { i: Math.max(this.over.i, 0), j: this.over.j } : { i: 0, j: 0 };
    this.over = { name: box.map.name, i: Math.max(0, Math.min(n - 1, now.i + (this.over ? di : 0))), j: Math.max(0, Math.min(d - 1, now.j + (this.over ? dj : 0))) };
    this.tipAt(box);
  }

  /** The same cell in the next matrix. */
  other() {
    const k = this.boxes.findIndex((b) => b.map.name === this.over?.name), box = this.boxes[(k + 1) % this.boxes.length];
    if (!box) return;
    const [n, d] = box.values.shape;
    this.over = { name: box.map.name, i: Math.min(Math.max(this.over?.i ?? 0, 0), n - 1), j: Math.min(this.over?.j ?? 0, d - 1) };
    this.tipAt(box);
  }

  tipAt(box) {
    const [n] = box.values.shape, { i, j } = this.over, place = this.stage.canvas.getBoundingClientRect(), each = (box.map.block[1] / box.map.shape[1]) * (box.right - box.left);
    const event = { clientX: place.left + box.left + (j + 1) * each, clientY: place.top + box.top + ((i + 1) / n) * (box.bottom - box.top) };
    const words = this.words(this.over);
    this.stage.showTip(event, ...words.map((text, k) => make(k ? "div" : "b", {}, text)));
    this.say(words.join(", "));
    this.stage.redraw();
  }

  mark() {
    const box = this.boxes.find((b) => b.map.name === this.over?.name), { ctx, ink, paper } = this.stage;
    if (!box) return;
    const [n] = box.values.shape, wide = (box.map.block[1] / box.map.shape[1]) * (box.right - box.left), tall = (box.bottom - box.top) / n;
    const x = box.left + this.over.j * wide, y = this.over.i < 0 ? box.low : box.top + this.over.i * tall, h = this.over.i < 0 ? box.base - box.low : tall;
    ctx.strokeStyle = paper; ctx.lineWidth = 3; ctx.strokeRect(x - 1.5, y - 1.5, wide + 3, h + 3);
    ctx.strokeStyle = ink; ctx.lineWidth = 1.2; ctx.strokeRect(x - 1.5, y - 1.5, wide + 3, h + 3);
  }

  tell() {
    const { stage } = this;
    stage.canvas.setAttribute("aria-label", `${stage.options.title}${this.group ? `, ${this.group}` : ""}: ${this.boxes.map(({ map }) => `${map.name}, ${map.shape.join(" by ")}, ${map.text}`).join("; ") || "nothing to draw"}`);
    Object.assign(stage.root.dataset, { group: this.group, set: JSON.stringify(this.set), step: stage.frame.step ?? "" });
    stage.canvas.dataset.maps = JSON.stringify(this.boxes.map(({ map, left, right, top, bottom, low, base }) => ({ name: map.name, shape: map.shape, block: map.block, text: map.text, rank: map.rank,
      columns: map.columns, scale: limits(this.scales[map.name], this.set.log), box: [left, top, right, bottom], bars: [low, base] })));
  }
}

export default {
  render({ model, el }) {
    const stage = new Stage({ model, el }, { title: model.get("options").title, height: 300,
      help: "arrow keys: walk over the cells · m: the same cell in the next matrix · g: the next group" });
    const view = new HeatmapView(stage);
    return stage.start((frame) => view.draw(frame));
  },
};
