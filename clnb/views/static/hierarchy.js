// Hierarchy: groups within groups as an icicle; a group selects its rows, a double click looks into it.

const GUTTER = 84, ROOF = 20;   // room for the level names; height of the bar of all rows

class Icicle {
  constructor(stage) {
    const { options } = stage;
    Object.assign(this, { stage, chosen: new Chosen(stage), zoom: null, cursor: -1, whisper: whisper(stage), classes: options.classes,
      labels: options.labels && numbersOf(options.labels), by: options.labels ? "label" : "top group" });
    if (this.labels) stage.tools.append(dropdown("colour", ["label", "purity", "top group"], this.by, (by) => { this.by = by; stage.redraw(); }));
    this.out = make("button", { type: "button", title: "look at all groups again (−)", onclick: () => this.look(null) }, "zoom out");
    this.path = make("span", { className: "clnb-note" });
    stage.tools.append(this.out, this.path);
    const { canvas } = stage;
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => stage.showTip());
    canvas.addEventListener("click", (event) => event.detail < 2 && this.take(this.under(stage.at(event)), event));
    canvas.addEventListener("dblclick", (event) => this.look(this.under(stage.at(event))));
    const look = () => this.cursor >= 0 && this.look(this.cursor), out = () => this.look(null);
    stage.keys = { ArrowRight: () => this.go(1), ArrowLeft: () => this.go(-1), ArrowDown: () => this.dive(1), ArrowUp: () => this.dive(-1),
      Enter: (event) => this.take(this.cursor, event), "+": look, z: look, "-": out, Backspace: out };
  }

  read(frame) {
    this.number = frame.number;
    this.levels = frame.levels;
    this.tree = Object.fromEntries(Object.entries(frame.tree).map(([key, packed]) => [key, unpack(packed)]));
    this.groups = numbersOf(frame.groups);
    this.n = this.groups.shape[1];
    const { level, group, parent } = this.tree, m = level.length;
    this.begin = Array.from({ length: this.levels.length + 1 }, (_, i) => { let k = 0; while (k < m && level[k] < i) k++; return k; });
    this.node = this.levels.map((_, i) => {                     // node of every group of a level
      let most = -1;
      for (let k = this.begin[i]; k < this.begin[i + 1]; k++) most = Math.max(most, group[k]);
      const place = new Int32Array(most + 1).fill(-1);
      for (let k = this.begin[i]; k < this.begin[i + 1]; k++) place[group[k]] = k;
      return place;
    });
    this.top = Int32Array.from(level, (_, k) => k);
    for (let k = 0; k < m; k++) if (parent[k] >= 0) this.top[k] = this.top[parent[k]];
    this.heirs = Array.from({ length: m }, () => []);
    for (let k = 0; k < m; k++) if (parent[k] >= 0) this.heirs[parent[k]].push(k);
    this.markedFor = -1;
    if (this.cursor >= m) this.cursor = -1;
  }

  /** Selected rows of every node: one pass. */
  mark() {
    const mask = this.chosen.of(this.n), { n, groups, node } = this;
    if (this.markedFor === this.chosen.version) return;
    this.markedFor = this.chosen.version;
    this.selected = new Uint32Array(this.tree.level.length);
    if (!this.chosen.count) return;
    for (let l = 0; l < this.levels.length; l++)
      for (let i = 0, at = l * n; i < n; i++, at++) if (mask[i] && groups[at] >= 0) this.selected[node[l][groups[at]]]++;
  }

  draw(frame) {
    const { stage } = this;
    if (!frame.tree) { stage.root.dataset.nodes = 0; this.out.hidden = true; return stage.say(frame.note ?? ""); }
    if (frame.number !== this.number) this.read(frame);
    this.mark();
    this.window();
    this.paint();
    if (this.chosen.count) stage.note.textContent += ` · ${thousands(this.chosen.count)} selected`;
    Object.assign(stage.root.dataset, { nodes: this.tree.level.length, selected: this.chosen.count, from: this.from, to: this.to,
      zoom: this.zoom ? `${this.zoom.level},${this.zoom.group}` : "" });
  }

  /** The part of 0 … 1 that is looked at: the node of the zoom, where it still is. */
  window() {
    const at = this.zoom ? this.node[this.zoom.level]?.[this.zoom.group] ?? -1 : -1, { left, width } = this.tree;
    if (at < 0) this.zoom = null;
    [this.from, this.to] = at < 0 ? [0, 1] : [left[at], left[at] + width[at]];
    this.out.hidden = at < 0;
    const names = [];
    for (let k = at; k >= 0; k = this.tree.parent[k]) names.unshift(this.name(k));
    this.path.textContent = names.join(" › ");
  }

  x(v) { return GUTTER + ((v - this.from) / (this.to - this.from)) * (this.stage.width - GUTTER - 4); }
  get tall() { return (this.stage.height - ROOF - 6) / this.levels.length; }
  name(k) {
    const level = this.levels[this.tree.level[k]], group = this.tree.group[k];
    return level.names[group] ?? String(group);
  }

  ink(k) {
    const { label, purity, group } = this.tree, palette = this.stage.options.palette;
    if (this.by === "top group" || !this.labels) return palette[group[this.top[k]] % palette.length];
    if (this.by === "label") return label[k] < 0 ? "#969696" : this.classes.colours[label[k]];
    return purity[k] === purity[k] ? `color-mix(in srgb, #0072B2 ${Math.round(100 * purity[k])}%, #E69F00)` : "#969696";
  }

  paint() {
    const { stage, tree, tall, selected } = this, { ctx, ink, faint, paper, width } = stage, { level, left, width: wide, count } = tree;
    ctx.textBaseline = "middle";
    ctx.fillStyle = faint;
    ctx.globalAlpha = 0.3;
    ctx.fillRect(GUTTER, 1, width - GUTTER - 4, ROOF - 3);
    ctx.globalAlpha = 1;
    this.bar(GUTTER, ROOF - 7, width - GUTTER - 4, this.n ? this.chosen.count / this.n : 0, 5);
    ctx.fillStyle = ink;
    ctx.textAlign = "left";
    ctx.fillText(this.zoom ? `in ${cut(ctx, this.path.textContent, width / 2)}` : `all ${thousands(this.n)} rows`, GUTTER + 5, ROOF / 2 - 1);
    ctx.textAlign = "right";
    this.levels.forEach(({ name }, i) => ctx.fillText(cut(ctx, name, GUTTER - 8), GUTTER - 6, ROOF + (i + 0.5) * tall));
    ctx.save();
    ctx.beginPath(); ctx.rect(GUTTER, 0, width - GUTTER - 3, stage.height); ctx.clip();
    for (let k = 0; k < level.length; k++) {
      const a = this.x(left[k]), b = this.x(left[k] + wide[k]), y = ROOF + level[k] * tall;
      if (b < GUTTER || a > width) continue;
      const gap = b - a > 3 ? 1 : 0;
      ctx.globalAlpha = this.labels && this.by === "label" && tree.purity[k] === tree.purity[k] ? 0.25 + 0.75 * tree.purity[k] : 1 - 0.18 * (level[k] % 3);
      ctx.fillStyle = this.ink(k);
      ctx.fillRect(a, y, Math.max(b - a - gap, 0.4), tall - 2);
      ctx.globalAlpha = 1;
      const from = Math.max(a, GUTTER), to = Math.min(b, width - 4);
      if (selected[k]) this.bar(a, y + tall - 11, b - a - gap, selected[k] / count[k], 8);
      if (k === this.cursor) { ctx.strokeStyle = ink; ctx.lineWidth = 2.5; ctx.strokeRect(from + 1, y + 1, Math.max(to - from - 3, 2), tall - 4); }
      if (to - from < 22 || tall < 14) continue;
      const text = cut(ctx, this.name(k), to - from - 6);
      if (text.length < 2 && this.name(k).length > 1) continue;
      ctx.textAlign = "center";
      ctx.lineWidth = 3;
      ctx.strokeStyle = paper;
      ctx.lineJoin = "round";
      ctx.strokeText(text, (from + to) / 2, y + tall / 2 - 3);
      ctx.fillStyle = ink;
      ctx.fillText(text, (from + to) / 2, y + tall / 2 - 3);
    }
    ctx.restore();
  }

  /** The selected share as a bar filled from the left. */
  bar(x, y, w, share, h) {
    if (!share) return;
    const { ctx, ink, paper } = this.stage;
    if (w > 4) { ctx.fillStyle = paper; ctx.globalAlpha = 0.75; ctx.fillRect(x, y, w, h); ctx.globalAlpha = 1; }
    ctx.fillStyle = ink;
    ctx.fillRect(x, y, Math.max(w * share, Math.min(w, 2), 0.5), h);
  }

  /** The node at a place of the canvas, −1 for the bar of all rows, null for none. */
  under([px, py]) {
    if (!this.tree || px < GUTTER || px > this.stage.width - 4 || py < 0) return null;
    if (py < ROOF) return -1;
    const l = Math.floor((py - ROOF) / this.tall), { left, width } = this.tree;
    if (l >= this.levels.length) return null;
    for (let k = this.begin[l]; k < this.begin[l + 1]; k++)
      if (px >= this.x(left[k]) && px < Math.max(this.x(left[k] + width[k]), this.x(left[k]) + 0.5)) return k;
    return null;
  }

  take(k, event) {
    if (k === null || !this.tree) return;
    const { tree, groups, n } = this;
    if (k < 0) pick(this.stage, rowsWhere(n, () => true), event);
    else {
      const at = tree.level[k] * n, group = tree.group[k];
      pick(this.stage, rowsWhere(n, (i) => groups[at + i] === group), event);
    }
    this.whisper(`${this.stage.selection.length} rows selected`);
  }

  look(k) {
    if (k === null || k < 0 || k === undefined) this.zoom = null;
    else this.zoom = { level: this.tree.level[k], group: this.tree.group[k] };
    this.stage.redraw();
  }

  words(k) {
    if (k < 0) return [`all ${thousands(this.n)} rows`, ...(this.chosen.count ? [`${thousands(this.chosen.count)} selected`] : [])];
    const { level, count, parent, inside, label, purity } = this.tree, out = [`${this.levels[level[k]].name}: ${this.name(k)}`];
    out.push(`${thousands(count[k])} rows (${percentOf(count[k], this.n)})`);
    if (parent[k] >= 0 && inside[k] < 0.9995) out.push(`${percentOf(inside[k], 1)} of them lie in ${this.name(parent[k])}`);
    else if (parent[k] >= 0) out.push(`all in ${this.name(parent[k])}`);
    if (this.heirs[k].length) out.push(`${thousands(this.heirs[k].length)} groups below`);
    if (label[k] >= 0) out.push(`purity ${percentOf(purity[k], 1)}: ${this.classes.names[label[k]]}`);
    if (this.selected[k]) out.push(`${thousands(this.selected[k])} selected (${percentOf(this.selected[k], count[k])})`);
    return out;
  }

  tell(k, spot) {
    if (k === null) return this.stage.showTip();
    const [first, ...rest] = this.words(k);
    this.stage.showTip(spot, make("b", {}, first), ...rest);
    this.stage.tip.dataset.node = k;
  }

  hover(event) {
    const k = this.under(this.stage.at(event));
    this.stage.canvas.style.cursor = k === null ? "" : "pointer";
    this.tell(k, event);
  }

  settle(k) {
    this.cursor = k;
    const { left, width, level } = this.tree, box = this.stage.canvas.getBoundingClientRect();
    if (left[k] + width[k] < this.from + 1e-6 || left[k] > this.to - 1e-6) this.zoom = null;
    this.window();
    const x = Math.min(this.x(left[k] + width[k] / 2), this.stage.width - 10);
    this.tell(k, { clientX: box.left + x, clientY: box.top + ROOF + (level[k] + 0.8) * this.tall });
    this.whisper(this.words(k).join(", "));
    this.stage.redraw();
  }

  go(by) {
    if (!this.tree?.level.length) return;
    if (this.cursor < 0) return this.settle(0);
    const l = this.tree.level[this.cursor];
    this.settle(Math.max(this.begin[l], Math.min(this.begin[l + 1] - 1, this.cursor + by)));
  }

  dive(by) {
    if (!this.tree?.level.length) return;
    if (this.cursor < 0) return this.settle(0);
    const next = by > 0 ? this.heirs[this.cursor][0] : this.tree.parent[this.cursor];
    if (next >= 0) this.settle(next);
  }
}

function render({ model, el }) {
  const { title, height } = model.get("options");
  const stage = new Stage({ model, el }, { title, height, help: "click: select a group · Ctrl: add · double click: look into it · " +
    "arrows, Enter, + and −: the same by keyboard · bar in a group: its selected part · Escape: none" });
  const icicle = new Icicle(stage);
  return stage.start((frame) => icicle.draw(frame));
}

export default { render };
