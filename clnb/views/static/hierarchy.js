// Hierarchy: groups within groups as icicle, tree, sunburst or indented list, and who has moved since the clustering before. A group
// selects its rows, a double click looks into it, and the images nearest its centre say what it holds.

const GUTTER = 84, ROOF = 20;   // room for the level names; height of the bar of all rows
const NOBODY = 0xffffffff;      // in place of a row where there is none
const SHAPES = ["icicle", "tree", "sunburst", "list"];

const rowsOf = (n) => `${thousands(n)} ${n === 1 ? "row" : "rows"}`;

/** What is under the mouse: the number of a node, −1 for all that is looked at, null for nothing, or a thing of its own with `words`, `rows`. */
class Groups {
  constructor(stage) {
    const { options } = stage;
    Object.assign(this, { stage, chosen: new Chosen(stage), zoom: null, cursor: -1, pinned: null, whisper: whisper(stage), classes: options.classes,
      labels: options.labels && numbersOf(options.labels), by: options.labels ? "label" : "top group", thing: null,
      shape: SHAPES.includes(options.shape) ? options.shape : "icicle", moving: options.shape === "moves" });
    this.images = new ImageStore(stage, () => this.arrived());
    const carried = stage.alone ? stage.model.get("atlas")?.rows : null;
    if (carried) this.carried = new Set(unpack(carried));
    this.shapes = { icicle: new Icicle(this), tree: new Twigs(this), sunburst: new Sunburst(this), list: new Outline(this), moves: new Streams(this) };
    this.makeTools();
    this.strip = make("div", { className: "clnb-strip", hidden: true, style: { flex: "1 1 100%", minHeight: "20px" } });
    stage.body.append(this.strip);
    this.listenToMouse();
    const look = () => this.cursor >= 0 && this.look(this.cursor), out = () => this.look(null);
    stage.keys = { ArrowRight: () => this.move("right"), ArrowLeft: () => this.move("left"), ArrowDown: () => this.move("down"), ArrowUp: () => this.move("up"),
      Enter: (event) => this.take(this.view.thing ?? (this.cursor >= 0 ? this.cursor : null), event), "+": look, z: look, "-": out, Backspace: out };
  }

  makeTools() {
    const { stage } = this, { tools } = stage;
    tools.append(dropdown("shape", SHAPES, this.shape, (shape) => { this.shape = shape; this.moveBox.firstChild.checked = this.moving = false; this.changed(); }));
    if (this.labels) tools.append(dropdown("colour", ["label", "purity", "top group"], this.by, (by) => { this.by = by; stage.redraw(); }));
    this.moveBox = checkbox("moves", this.moving, (on) => { this.moving = on; this.changed(); });
    this.moveBox.title = "who has moved to another group since the clustering before";
    if (!stage.options.timed) this.moveBox.style.display = "none";
    this.out = make("button", { type: "button", title: "look at all groups again (−)", onclick: () => this.look(null) }, "zoom out");
    this.path = make("span", { className: "clnb-note" });
    tools.append(this.moveBox, ...this.shapes.moves.tools, this.out, this.path);
  }

  listenToMouse() {
    const { canvas } = this.stage;
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => { this.tell(null); this.light(null); });
    canvas.addEventListener("click", (event) => event.detail < 2 && this.take(this.under(this.stage.at(event)), event));
    canvas.addEventListener("dblclick", (event) => this.look(this.under(this.stage.at(event))));
  }

  get view() { return this.shapes[this.moving && this.stage.options.timed ? "moves" : this.shape]; }

  changed() {
    this.tell(null);
    for (const shape of Object.values(this.shapes)) shape.thing = null;
    this.stage.redraw();
  }

  read(frame) {
    this.follow(frame);
    this.number = frame.number;
    this.step = frame.step;
    this.levels = frame.levels;
    this.tree = Object.fromEntries(Object.entries(frame.tree).map(([key, packed]) => [key, unpack(packed)]));
    this.groups = numbersOf(frame.groups);
    this.n = this.groups.shape[1];
    const { level, group, parent, count } = this.tree, m = level.length;
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
    this.roots = [];
    for (let k = 0; k < m; k++) (parent[k] >= 0 ? this.heirs[parent[k]] : this.roots).push(k);
    this.leaves = new Uint32Array(m).fill(0);
    for (let k = m - 1; k >= 0; k--) {
      if (!this.heirs[k].length) this.leaves[k] = 1;
      if (parent[k] >= 0) this.leaves[parent[k]] += this.leaves[k];
    }
    this.near = frame.nearest && { rows: unpack(frame.nearest.rows), far: unpack(frame.nearest.far ?? undefined), space: frame.nearest.space };
    this.markedFor = -1;
    this.shapes.moves.read(frame);
  }

  /** A group that is looked at keeps being looked at when the next clustering gives it another number. */
  follow(frame) {
    const step = frame.moves?.levels && frame.moves.step, past = this.number !== undefined && step === this.step;
    const names = past ? frame.moves.levels.map((level) => unpack(level.name)) : null;
    const heir = ({ level, group }) => ({ level, group: names?.[level] ? names[level].indexOf(group) : group });
    const at = this.cursor >= 0 && this.tree ? heir({ level: this.tree.level[this.cursor], group: this.tree.group[this.cursor] }) : null;
    if (names) {
      if (this.zoom) this.zoom = heir(this.zoom);
      if (this.pinned) this.pinned = heir(this.pinned);
      const list = this.shapes.list;
      list.open = new Set([...list.open].map((key) => { const [level, group] = key.split(",").map(Number), now = heir({ level, group }); return level < 0 ? key : `${now.level},${now.group}`; }));
    }
    this.cursor = -1;
    this.later = at;         // becomes a node when the new nodes are known
  }

  nodeOf(place) { return place ? this.node[place.level]?.[place.group] ?? -1 : -1; }

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
    const { stage } = this, { root } = stage;
    if (!frame.tree) { root.dataset.nodes = 0; this.out.hidden = this.strip.hidden = true; this.shapes.moves.showTools(false); return stage.say(frame.note ?? ""); }
    if (frame.number !== this.number) {
      this.read(frame);
      if (this.later) this.cursor = this.nodeOf(this.later);
      this.later = null;
    }
    this.mark();
    const { view } = this, list = view === this.shapes.list, tall = Math.max(stage.options.height, view.tallest ?? 0);
    stage.canvas.hidden = list;
    stage.canvas.style.display = list ? "none" : "block";
    this.shapes.list.box.hidden = !list;
    if (!list && stage.canvas.style.height !== `${tall}px`) { stage.canvas.style.height = `${tall}px`; stage.fit(); }
    this.window();
    this.shapes.moves.showTools(view === this.shapes.moves);
    this.toldAbout = undefined;
    view.paint(frame);
    if (this.chosen.count) stage.note.textContent += ` · ${thousands(this.chosen.count)} selected`;
    this.showStrip();
    Object.assign(root.dataset, { nodes: this.tree.level.length, selected: this.chosen.count, from: this.from, to: this.to,
      shape: this.moving && view === this.shapes.moves ? "moves" : this.shape, drawn: view.drawn ?? "", zoom: this.zoom ? `${this.zoom.level},${this.zoom.group}` : "" });
  }

  /** The part of 0 … 1 that is looked at: the node of the zoom, where it still is. */
  window() {
    const at = this.nodeOf(this.zoom), { left, width } = this.tree;
    if (at < 0) this.zoom = null;
    [this.from, this.to] = at < 0 ? [0, 1] : [left[at], left[at] + width[at]];
    this.focus = at;
    this.out.hidden = at < 0;
    const names = [];
    for (let k = at; k >= 0; k = this.tree.parent[k]) names.unshift(this.name(k));
    this.path.textContent = names.join(" › ");
  }

  nameIn(level, group) { return this.levels[level].names[group] ?? String(group); }
  name(k) { return k < 0 ? "all rows" : this.nameIn(this.tree.level[k], this.tree.group[k]); }
  kids(k) { return k < 0 ? this.roots : this.heirs[k]; }
  count(k) { return k < 0 ? this.n : this.tree.count[k]; }

  ink(k) {
    const { label, purity, group } = this.tree, palette = this.stage.options.palette;
    if (k < 0) return "#969696";
    if (this.by === "top group" || !this.labels) return palette[group[this.top[k]] % palette.length];
    if (this.by === "label") return label[k] < 0 ? "#969696" : this.classes.colours[label[k]];
    return purity[k] === purity[k] ? `color-mix(in srgb, #0072B2 ${Math.round(100 * purity[k])}%, #E69F00)` : "#969696";
  }

  alpha(k) {
    const { purity, level } = this.tree;
    if (k < 0) return 0.4;
    return this.labels && this.by === "label" && purity[k] === purity[k] ? 0.25 + 0.75 * purity[k] : 1 - 0.18 * (level[k] % 3);
  }

  under(spot) { return this.tree ? this.view.under(spot) : null; }

  /** Rows of a node, of all that is looked at, or of a thing with rows of its own. */
  rowsOf(k) {
    const { tree, groups, n } = this;
    if (typeof k === "object") return k.rows();
    if (k < 0) return rowsWhere(n, () => true);
    const at = tree.level[k] * n, group = tree.group[k];
    return rowsWhere(n, (i) => groups[at + i] === group);
  }

  take(k, event) {
    if (k === null || k === undefined || !this.tree) return;
    pick(this.stage, this.rowsOf(k), event);
    if (typeof k === "number") this.pin(k);
    this.whisper(`${this.stage.selection.length} rows selected`);
  }

  pin(k) {
    this.pinned = k < 0 ? null : { level: this.tree.level[k], group: this.tree.group[k] };
    this.stage.redraw();
  }

  look(k) {
    if (this.view === this.shapes.moves && k !== null) return;
    if (k !== null && typeof k === "object") return this.look(k.node ?? null);
    if (k === null || k < 0 || k === undefined) this.zoom = null;
    else this.zoom = { level: this.tree.level[k], group: this.tree.group[k] };
    this.stage.redraw();
  }

  words(k) {
    if (typeof k === "object") return k.words();
    if (k < 0) return [`all ${thousands(this.n)} rows`, ...(this.chosen.count ? [`${thousands(this.chosen.count)} selected`] : [])];
    const { level, count, parent, inside, label, purity } = this.tree, out = [`${this.levels[level[k]].name}: ${this.name(k)}`];
    out.push(`${rowsOf(count[k])} (${percentOf(count[k], this.n)})`);
    if (parent[k] >= 0 && inside[k] < 0.9995) out.push(`${percentOf(inside[k], 1)} of them lie in ${this.name(parent[k])}`);
    else if (parent[k] >= 0) out.push(`all in ${this.name(parent[k])}`);
    if (this.heirs[k].length) out.push(`${thousands(this.heirs[k].length)} ${this.heirs[k].length === 1 ? "group" : "groups"} below`);
    if (label[k] >= 0) out.push(`purity ${percentOf(purity[k], 1)}: ${this.classes.names[label[k]]}`);
    const was = this.shapes.moves.was(k);
    if (was) out.push(was);
    if (this.selected[k]) out.push(`${thousands(this.selected[k])} selected (${percentOf(this.selected[k], count[k])})`);
    return out;
  }

  // ------------------------------------------------------------------ images nearest a group

  /** Rows nearest the centre of a node whose images can be had, with their distances. */
  nearest(k, most = 8) {
    if (!this.near || k < 0) return [];
    const { rows, far } = this.near, wide = rows.shape[1], out = [];
    for (let j = 0; j < wide && out.length < most; j++) {
      const row = rows[k * wide + j];
      if (row !== NOBODY && (!this.carried || this.carried.has(row))) out.push([row, far?.[k * wide + j]]);
    }
    return out;
  }

  nearWords() { return this.near.space === null ? "some of its rows (no features say which are nearest its centre)" : `nearest its centre in ${this.near.space}`; }

  /** Ask for images, soon: the mouse may only pass by. */
  want(rows) {
    this.wanted = rows;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.images.want(this.wanted), this.stage.alone ? 0 : 60);
  }

  arrived() {
    this.toldAbout = undefined;
    if (this.told) this.tell(...this.told);
    this.view.arrived?.();
    for (const tile of this.strip.querySelectorAll("button[data-row]"))
      if (tile.firstChild.className === "clnb-waiting" && this.images.known.has(+tile.dataset.row)) tile.firstChild.replaceWith(this.images.tile(+tile.dataset.row, 48));
  }

  showStrip() {
    const k = this.nodeOf(this.pinned), near = this.nearest(k), { strip } = this;
    strip.hidden = !this.near;
    if (!this.near) return;
    const key = k < 0 ? "none" : `${this.number}:${k}`;
    if (key === this.stripFor) return;
    this.stripFor = key;
    if (k < 0) { strip.replaceChildren(make("span", { className: "clnb-help" }, "Click a group: here come the images nearest its centre.")); return; }
    const label = (row) => (!this.labels ? "" : this.labels[row] < 0 ? "unlabelled" : this.classes.names[this.labels[row]]);
    const tiles = near.map(([row, far]) => {
      const words = [`row ${row}`, ...(this.labels ? [label(row)] : []), ...(far === undefined ? [] : [`distance ${short(far)}`])];
      const mark = this.labels && this.labels[row] >= 0 ? this.classes.colours[this.labels[row]] : "var(--clnb-line)";
      const tile = make("button", { type: "button", title: words.join(", "), "aria-label": `${words.join(", ")}: select it`, style: { padding: "2px", fontSize: "10px", minWidth: "56px", borderBottom: `3px solid ${mark}` } },
        this.images.tile(row, 48), make("div", { style: { maxWidth: "64px", overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" } }, label(row) || `row ${row}`),
        ...(far === undefined ? [] : [make("div", {}, short(far))]));
      tile.dataset.row = row;
      tile.addEventListener("click", (event) => pick(this.stage, [row], event));
      return tile;
    });
    const words = this.words(k).filter((text) => !text.includes("selected")).join(" · ");
    strip.replaceChildren(make("div", { style: { margin: "2px 0" } }, `${words} · ${near.length ? this.nearWords() : "this page carries no images of it"}`),
      make("div", { role: "group", "aria-label": `images of ${this.name(k)}`, style: { display: "flex", flexWrap: "wrap", gap: "4px" } }, ...tiles));
    this.images.want(near.map(([row]) => row));
  }

  // ------------------------------------------------------------------ mouse and keyboard

  tell(k, spot) {
    this.told = k === null ? null : [k, spot];
    if (k === null) { this.toldAbout = undefined; return this.stage.showTip(); }
    const near = typeof k === "number" ? this.nearest(k, 6) : (k.near?.() ?? []), [first, ...rest] = this.words(k);
    const thumbs = near.length ? [make("div", { className: "clnb-row", style: { gap: "3px", margin: "3px 0 0" } }, ...near.map(([row]) => this.images.tile(row, 44))),
      make("div", { className: "clnb-help" }, typeof k === "number" ? this.nearWords() : "some of them")] : [];
    this.stage.showTip(spot, make("b", {}, first), ...rest, ...thumbs);
    this.stage.tip.dataset.node = typeof k === "number" ? k : "";
    if (near.length) this.want(near.map(([row]) => row));
  }

  hover(event) {
    const k = this.under(this.stage.at(event)), thing = k !== null && typeof k === "object" ? k : null;
    this.stage.canvas.style.cursor = k === null ? "" : "pointer";
    this.light(thing?.key ?? null);
    this.tell(k, event);
  }

  /** Make the thing under the mouse stand out, in a shape that has such things. */
  light(key) {
    if (this.view.over === undefined || this.view.over === key) return;
    this.view.over = key;
    this.stage.redraw();
  }

  settle(k) {
    this.cursor = k;
    const { left, width } = this.tree;
    if (left[k] + width[k] < this.from + 1e-6 || left[k] > this.to - 1e-6) this.zoom = null;
    this.pinned = { level: this.tree.level[k], group: this.tree.group[k] };
    this.window();
    const box = this.stage.canvas.getBoundingClientRect(), [x, y] = this.view.spot(k);
    this.tell(k, { clientX: box.left + x, clientY: box.top + y });
    this.whisper(this.words(k).join(", "));
    this.stage.redraw();
  }

  move(to) {
    const m = this.tree?.level.length;
    if (!m) return;
    if (this.view.move) return this.view.move(to);
    if (this.cursor < 0) return this.settle(0);
    const { cursor, begin } = this, l = this.tree.level[cursor];
    if (to === "right" || to === "left") return this.settle(Math.max(begin[l], Math.min(begin[l + 1] - 1, cursor + (to === "right" ? 1 : -1))));
    const next = to === "down" ? this.heirs[cursor][0] : this.tree.parent[cursor];
    if (next >= 0) this.settle(next);
  }

  /** Text that can be read on any colour. */
  write(text, x, y) {
    const { ctx, ink, paper } = this.stage;
    ctx.lineWidth = 3;
    ctx.strokeStyle = paper;
    ctx.lineJoin = "round";
    ctx.strokeText(text, x, y);
    ctx.fillStyle = ink;
    ctx.fillText(text, x, y);
  }
}

/** Bars under bars, each as wide as it is large. */
class Icicle {
  constructor(all) { this.all = all; }

  x(v) { const { from, to, stage } = this.all; return GUTTER + ((v - from) / (to - from)) * (stage.width - GUTTER - 4); }
  get tall() { return (this.all.stage.height - ROOF - 6) / this.all.levels.length; }

  paint() {
    const { all, tall } = this, { stage, tree, selected } = all, { ctx, ink, faint, width } = stage, { level, left, width: wide, count } = tree;
    ctx.textBaseline = "middle";
    ctx.fillStyle = faint;
    ctx.globalAlpha = 0.3;
    ctx.fillRect(GUTTER, 1, width - GUTTER - 4, ROOF - 3);
    ctx.globalAlpha = 1;
    this.bar(GUTTER, ROOF - 7, width - GUTTER - 4, all.n ? all.chosen.count / all.n : 0, 5);
    ctx.fillStyle = ink;
    ctx.textAlign = "left";
    ctx.fillText(all.zoom ? `in ${cut(ctx, all.path.textContent, width / 2)}` : `all ${thousands(all.n)} rows`, GUTTER + 5, ROOF / 2 - 1);
    ctx.textAlign = "right";
    all.levels.forEach(({ name }, i) => ctx.fillText(cut(ctx, name, GUTTER - 8), GUTTER - 6, ROOF + (i + 0.5) * tall));
    ctx.save();
    ctx.beginPath(); ctx.rect(GUTTER, 0, width - GUTTER - 3, stage.height); ctx.clip();
    this.drawn = 0;
    for (let k = 0; k < level.length; k++) {
      const a = this.x(left[k]), b = this.x(left[k] + wide[k]), y = ROOF + level[k] * tall;
      if (b < GUTTER || a > width) continue;
      const gap = b - a > 3 ? 1 : 0;
      this.drawn++;
      ctx.globalAlpha = all.alpha(k);
      ctx.fillStyle = all.ink(k);
      ctx.fillRect(a, y, Math.max(b - a - gap, 0.4), tall - 2);
      ctx.globalAlpha = 1;
      const from = Math.max(a, GUTTER), to = Math.min(b, width - 4);
      if (selected[k]) this.bar(a, y + tall - 11, b - a - gap, selected[k] / count[k], 8);
      if (k === all.cursor) { ctx.strokeStyle = ink; ctx.lineWidth = 2.5; ctx.strokeRect(from + 1, y + 1, Math.max(to - from - 3, 2), tall - 4); }
      if (to - from < 22 || tall < 14) continue;
      const text = cut(ctx, all.name(k), to - from - 6);
      if (text.length < 2 && all.name(k).length > 1) continue;
      ctx.textAlign = "center";
      all.write(text, (from + to) / 2, y + tall / 2 - 3);
    }
    ctx.restore();
  }

  /** The selected share as a bar filled from the left. */
  bar(x, y, w, share, h) {
    if (!share) return;
    const { ctx, ink, paper } = this.all.stage;
    if (w > 4) { ctx.fillStyle = paper; ctx.globalAlpha = 0.75; ctx.fillRect(x, y, w, h); ctx.globalAlpha = 1; }
    ctx.fillStyle = ink;
    ctx.fillRect(x, y, Math.max(w * share, Math.min(w, 2), 0.5), h);
  }

  under([px, py]) {
    const { all } = this, { left, width } = all.tree;
    if (px < GUTTER || px > all.stage.width - 4 || py < 0) return null;
    if (py < ROOF) return -1;
    const l = Math.floor((py - ROOF) / this.tall);
    if (l >= all.levels.length) return null;
    for (let k = all.begin[l]; k < all.begin[l + 1]; k++)
      if (px >= this.x(left[k]) && px < Math.max(this.x(left[k] + width[k]), this.x(left[k]) + 0.5)) return k;
    return null;
  }

  spot(k) {
    const { left, width, level } = this.all.tree;
    return [Math.min(this.x(left[k] + width[k] / 2), this.all.stage.width - 10), ROOF + (level[k] + 0.8) * this.tall];
  }
}

/** The icicle bent round: what is looked at in the middle, a ring for every level below. */
class Sunburst {
  constructor(all) { Object.assign(this, { all, tallest: 400 }); }

  measure() {
    const { all } = this, { width, height } = all.stage, base = all.focus < 0 ? 0 : all.tree.level[all.focus] + 1, rings = all.levels.length - base;
    const R = Math.min(width, height) / 2 - 4, hub = Math.max(R / (rings + 1.4), 20);
    Object.assign(this, { base, rings, cx: width / 2, cy: height / 2, R, hub, thick: rings ? (R - hub) / rings : 0 });
  }

  angle(v) { const { from, to } = this.all; return -Math.PI / 2 + (2 * Math.PI * (Math.min(Math.max(v, from), to) - from)) / (to - from); }
  inner(k) { return this.hub + (this.all.tree.level[k] - this.base) * this.thick; }

  arc(r0, r1, a, b) {
    const { ctx } = this.all.stage;
    ctx.beginPath();
    ctx.arc(this.cx, this.cy, r1, a, b);
    ctx.arc(this.cx, this.cy, r0, b, a, true);
    ctx.closePath();
  }

  paint() {
    this.measure();
    const { all, cx, cy, hub, thick } = this, { stage, tree, selected } = all, { ctx, ink, paper, faint } = stage, { level, left, width: wide, count } = tree;
    ctx.textBaseline = "middle";
    ctx.textAlign = "center";
    this.drawn = 0;
    for (let k = all.begin[this.base]; k < level.length; k++) {
      if (left[k] + wide[k] <= all.from + 1e-12 || left[k] >= all.to - 1e-12) continue;
      const a = this.angle(left[k]), b = this.angle(left[k] + wide[k]), r0 = this.inner(k), r1 = r0 + thick - 1, length = (b - a) * r1;
      if (length < 0.15) continue;
      this.drawn++;
      ctx.globalAlpha = all.alpha(k);
      ctx.fillStyle = all.ink(k);
      this.arc(r0, r1, a, b);
      ctx.fill();
      ctx.globalAlpha = 1;
      if (length > 3) { ctx.strokeStyle = paper; ctx.lineWidth = 0.8; ctx.stroke(); }
      if (selected[k]) {
        const share = Math.max(selected[k] / count[k], Math.min(1, 2 / length)), h = Math.min(6, thick / 3);
        if (length > 4) { ctx.fillStyle = paper; ctx.globalAlpha = 0.75; this.arc(r1 - h, r1, a, b); ctx.fill(); ctx.globalAlpha = 1; }
        ctx.fillStyle = ink;
        this.arc(r1 - h, r1, a, a + (b - a) * share);
        ctx.fill();
      }
      if (k === all.cursor) { ctx.strokeStyle = ink; ctx.lineWidth = 2.5; this.arc(r0 + 1, r1 - 1, a, b); ctx.stroke(); }
      if (thick >= 14) this.label(k, (a + b) / 2, (r0 + r1) / 2 - (selected[k] ? 2 : 0), (b - a) * (r0 + thick / 2) - 5);
    }
    ctx.fillStyle = faint;
    ctx.globalAlpha = 0.3;
    ctx.beginPath(); ctx.arc(cx, cy, hub - 2, 0, 7); ctx.fill();
    ctx.globalAlpha = 1;
    const name = all.focus < 0 ? "all" : all.name(all.focus);
    all.write(cut(ctx, name, 2 * hub - 10), cx, cy - 6);
    all.write(thousands(all.count(all.focus)), cx, cy + 7);
    ctx.textAlign = "left";
    ctx.fillStyle = faint;
    const side = cx - this.R * 0.75, ring = side < 100 ? "" : "ring ";
    all.levels.slice(this.base).forEach(({ name: level_ }, i) => ctx.fillText(cut(ctx, `${ring}${i + 1}: ${level_}`, Math.max(side - 10, 52)), 4, 10 + 14 * i));
  }

  /** The name along the arc, never upside down. */
  label(k, angle, r, room) {
    const { all } = this, { ctx } = all.stage, full = all.name(k);
    if (room < 12) return;
    const text = cut(ctx, full, room);
    if (text.length < 2 && full.length > 1) return;
    ctx.save();
    ctx.translate(this.cx + r * Math.cos(angle), this.cy + r * Math.sin(angle));
    ctx.rotate(angle + (Math.sin(angle) > 0 ? -Math.PI / 2 : Math.PI / 2));
    all.write(text, 0, 0);
    ctx.restore();
  }

  under([px, py]) {
    this.measure();
    const { all } = this, { left, width } = all.tree, r = Math.hypot(px - this.cx, py - this.cy);
    if (r < this.hub) return all.focus;
    const l = this.base + Math.floor((r - this.hub) / this.thick);
    if (!this.rings || l >= all.levels.length || l < 0) return null;
    const turn = (Math.atan2(py - this.cy, px - this.cx) / (2 * Math.PI) + 1.25) % 1, v = all.from + turn * (all.to - all.from);
    for (let k = all.begin[l]; k < all.begin[l + 1]; k++) if (v >= left[k] && v < left[k] + width[k]) return k;
    return null;
  }

  spot(k) {
    this.measure();
    const { left, width, level } = this.all.tree;
    if (level[k] < this.base) return [this.cx, this.cy];
    const a = this.angle(left[k] + width[k] / 2), r = this.inner(k) + this.thick * 0.6;
    return [this.cx + r * Math.cos(a), this.cy + r * Math.sin(a)];
  }
}

/** Nodes and lines: leaves side by side, a parent over the middle of its children; what has no room is gathered in one node. */
class Twigs {
  constructor(all) { Object.assign(this, { all, tallest: 340 }); }

  /** Shares out places among the children of a node: all that fit, else the largest and one for the rest. */
  share(k, slots, depth) {
    const { all } = this, kids = all.kids(k), spot = { k, depth, slots: 1, kids: [] };
    this.spots.push(spot);
    if (!kids.length) return spot;
    if (slots < 2 && kids.length > 1) { spot.hidden = kids; return spot; }
    const fits = kids.length <= slots, shown = fits ? kids : [...kids].sort((a, b) => all.tree.count[b] - all.tree.count[a] || a - b).slice(0, slots - 1).sort((a, b) => a - b);
    const room = shown.map(() => 1), most = shown.map((kid) => Math.max(1, all.leaves[kid]));
    let spare = slots - shown.length - (fits ? 0 : 1);
    const open = most.reduce((a, b) => a + b, 0) - shown.length;
    if (open > 0) {
      let used = 0, sum = 0;
      shown.forEach((_, i) => { sum += most[i] - 1; const more = Math.min(Math.round((spare * Math.min(sum / open, 1))) - used, most[i] - 1); room[i] += Math.max(more, 0); used += Math.max(more, 0); });
      spare -= used;
      for (let i = 0; i < shown.length && spare > 0; i++) { const more = Math.min(spare, most[i] - room[i]); room[i] += more; spare -= more; }
    }
    spot.kids = shown.map((kid, i) => this.share(kid, room[i], all.tree.level[kid] - this.base + 1));
    if (!fits) {
      const in_ = new Set(shown), rest = kids.filter((kid) => !in_.has(kid)), stub = { k: null, depth: all.tree.level[rest[0]] - this.base + 1, slots: 1, kids: [], rest, of: k };
      this.spots.push(stub);
      spot.kids.push(stub);
    }
    spot.slots = spot.kids.reduce((sum, kid) => sum + kid.slots, 0);
    return spot;
  }

  place() {
    const { all } = this, { width, height } = all.stage, key = `${all.number}:${all.focus}:${width}:${height}`;
    if (key === this.placedFor) return;
    this.placedFor = key;
    this.spots = [];
    this.base = all.focus < 0 ? 0 : all.tree.level[all.focus] + 1;
    const depths = all.levels.length - this.base + 1, left = GUTTER + 4, wide = width - left - 8;
    const root = this.share(all.focus, Math.max(4, Math.floor(wide / 17)), 0);
    this.pitch = wide / Math.max(root.slots, 1);
    this.tall = (height - 8) / depths;
    let at = 0;
    const walk = (spot) => {
      spot.kids.forEach((kid) => { kid.up = spot; walk(kid); });
      spot.x = spot.kids.length ? (spot.kids[0].x + spot.kids[spot.kids.length - 1].x) / 2 : left + (at++ + 0.5) * this.pitch;
      spot.y = 4 + (spot.depth + 0.36) * this.tall;
      const share = all.count(spot.k ?? -1) / Math.max(all.n, 1), most = Math.max(3, Math.min(this.tall * 0.3, 20, this.pitch * 1.2));
      spot.r = spot.k === null ? 4 : Math.max(2.5, Math.min(most, 24 * Math.sqrt(share)));
    };
    walk(root);
    this.home = new Map(this.spots.filter((spot) => spot.k !== null).map((spot) => [spot.k, spot]));
  }

  paint() {
    this.place();
    const { all } = this, { stage, tree, selected, chosen } = all, { ctx, ink, paper, faint } = stage;
    ctx.textBaseline = "middle";
    ctx.textAlign = "right";
    ctx.fillStyle = ink;
    const rows = [all.focus < 0 ? "all" : all.levels[this.base - 1].name, ...all.levels.slice(this.base).map(({ name }) => name)];
    rows.forEach((name, i) => ctx.fillText(cut(ctx, name, GUTTER - 8), GUTTER - 6, 4 + (i + 0.36) * this.tall));
    for (const { x, y, up, k } of this.spots) {
      if (!up) continue;
      ctx.strokeStyle = faint;
      ctx.globalAlpha = k === null ? 0.3 : 0.25 + 0.6 * tree.inside[k];
      ctx.lineWidth = 1;
      ctx.setLineDash(k === null ? [2, 3] : []);
      const middle = (y + up.y) / 2;
      ctx.beginPath(); ctx.moveTo(up.x, up.y); ctx.bezierCurveTo(up.x, middle, x, middle, x, y); ctx.stroke();
    }
    ctx.setLineDash([]);
    ctx.globalAlpha = 1;
    ctx.textAlign = "center";
    const wanted = [];
    for (const spot of this.spots) {
      const { k, x, y, r } = spot;
      if (k === null || spot.hidden) { ctx.strokeStyle = faint; ctx.lineWidth = 1; ctx.setLineDash([2, 2]); ctx.beginPath(); ctx.arc(x, y, r + 2.5, 0, 7); ctx.stroke(); ctx.setLineDash([]); }
      if (k === null) { ctx.fillStyle = faint; all.write(`+${thousands(spot.rest.length)}`, x, y + r + 10); continue; }
      ctx.fillStyle = paper;
      ctx.beginPath(); ctx.arc(x, y, r, 0, 7); ctx.fill();
      ctx.globalAlpha = all.alpha(k);
      ctx.fillStyle = all.ink(k);
      ctx.fill();
      ctx.globalAlpha = 1;
      const part = k < 0 ? chosen.count / Math.max(all.n, 1) : selected[k] / tree.count[k];
      if (part) {                                      // the selected share: a wedge from the top
        ctx.fillStyle = ink;
        ctx.beginPath(); ctx.moveTo(x, y); ctx.arc(x, y, r, -Math.PI / 2, -Math.PI / 2 + 2 * Math.PI * Math.max(part, 0.04)); ctx.closePath(); ctx.fill();
        ctx.strokeStyle = ink; ctx.lineWidth = 1;
        ctx.beginPath(); ctx.arc(x, y, r, 0, 7); ctx.stroke();
      }
      if (k >= 0 && k === all.cursor) { ctx.strokeStyle = ink; ctx.lineWidth = 2.5; ctx.beginPath(); ctx.arc(x, y, r + 3, 0, 7); ctx.stroke(); }
      const room = spot.kids.length ? Math.max(2 * r, Math.min(spot.slots * this.pitch - 4, 90)) : this.pitch - 3;
      if (room >= 14 && k >= 0 && this.tall > 30) all.write(cut(ctx, all.name(k), room), x, y + r + 8);
      if (!spot.kids.length && k >= 0 && all.near && this.pitch >= 26 && this.tall > 66) this.thumb(spot, wanted);
    }
    this.drawn = this.spots.length;
    if (wanted.length) all.want(wanted);
  }

  /** The image nearest a leaf's centre, below it. */
  thumb({ k, x, y, r }, wanted) {
    const { all } = this, [near] = all.nearest(k, 1), size = Math.min(this.pitch - 3, this.tall * 0.64 - r - 16, 40);
    if (!near || size < 14) return;
    const image = all.images.known.get(near[0]);
    if (!image) return wanted.push(near[0]);
    this.tiles ??= new Map();
    let tile = this.tiles.get(near[0]);
    if (!tile) this.tiles.set(near[0], (tile = thumbnail(image.pixels, image.shape, 40)));
    const { ctx } = all.stage;
    ctx.imageSmoothingEnabled = tile.width > size * 2;
    ctx.drawImage(tile, x - size / 2, y + r + 15, size, (size * tile.height) / tile.width);
  }

  arrived() { this.all.stage.redraw(); }

  under([px, py]) {
    this.place();
    const { all } = this;
    let best = null, least = 1e9;
    for (const spot of this.spots) {
      const d = Math.hypot(px - spot.x, py - spot.y) - spot.r;
      if (d < least && (d < 5 || (Math.abs(px - spot.x) < this.pitch / 2 && py > spot.y && py < spot.y + this.tall * 0.6 && !spot.kids.length))) { best = spot; least = d; }
    }
    if (!best) return null;
    return best.k === null ? this.stub(best) : best.k;
  }

  /** What had no room: a thing that says how much it is and selects it. */
  stub({ rest, of }) {
    const { all } = this, rows = rest.reduce((sum, k) => sum + all.tree.count[k], 0);
    return { key: `rest ${of}`, node: of,
      words: () => [`${thousands(rest.length)} smaller groups`, `in ${all.name(of)}, together ${thousands(rows)} rows`, of < 0 ? "the list shows them all" : "double click: look into it"],
      rows: () => [...new Set(rest.flatMap((k) => all.rowsOf(k)))] };
  }

  /** A node without room is told of where the nearest one above it stands. */
  spot(k) {
    this.place();
    while (k >= 0 && !this.home.has(k)) k = this.all.tree.parent[k];
    const { x, y, r } = this.home.get(k) ?? this.spots[0];
    return [x, y + r];
  }

  move(to) {
    const { all } = this, at = this.home.get(all.cursor);
    this.place();
    if (!at) { const first = this.spots.find((spot) => spot.k !== null && spot.k >= 0 && spot.up); return first && all.settle(first.k); }
    if (to === "down") { const next = at.kids.find((kid) => kid.k !== null); return next && all.settle(next.k); }
    if (to === "up") return at.up && at.up.k >= 0 && all.settle(at.up.k);
    const row = this.spots.filter((spot) => spot.depth === at.depth && spot.k !== null && spot.k >= 0).sort((a, b) => a.x - b.x), i = row.indexOf(at) + (to === "right" ? 1 : -1);
    if (row[i]) all.settle(row[i].k);
  }
}

/** An indented list: a tree that screen readers know, of which only the lines in sight exist. */
class Outline {
  constructor(all) {
    Object.assign(this, { all, open: new Set(["-1,-1"]), active: "-1,-1", line: all.stage.options.images ? 32 : 24 });
    this.box = make("div", { role: "tree", tabIndex: 0, hidden: true, "aria-label": `${all.stage.options.title}: groups`, "aria-multiselectable": "true",
      style: { flex: "1 1 100%", height: `${Math.max(all.stage.options.height, 240)}px`, overflowY: "auto", overflowX: "hidden", position: "relative", border: "1px solid var(--clnb-line)", outlineOffset: "-2px" } });
    this.sheet = make("div", { role: "presentation", style: { position: "relative" } });
    this.box.append(this.sheet);
    all.stage.body.append(this.box);
    this.box.addEventListener("scroll", () => this.fill(true));
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.box.addEventListener("pointerleave", () => all.tell(null));
    this.id = `clnb-${Math.random().toString(36).slice(2)}`;
  }

  keyOf(k) { const { tree } = this.all; return k < 0 ? "-1,-1" : `${tree.level[k]},${tree.group[k]}`; }

  /** The lines that are unfolded: node, depth, place among its siblings. */
  unfold() {
    const { all } = this, lines = [];
    const add = (k, depth, place, of) => {
      lines.push({ k, depth, place, of });
      if (!this.open.has(this.keyOf(k))) return;
      const kids = all.kids(k);
      kids.forEach((kid, i) => add(kid, depth + 1, i + 1, kids.length));
    };
    if (all.focus >= 0) { this.open.add(this.keyOf(all.focus)); add(all.focus, 0, 1, 1); } else add(-1, 0, 1, 1);
    this.lines = lines;
    this.drawn = lines.length;
    this.where = new Map(lines.map(({ k }, i) => [this.keyOf(k), i]));
    if (!this.where.has(this.active)) this.active = this.keyOf(lines[0].k);
  }

  paint() {
    this.unfold();
    this.sheet.style.height = `${this.lines.length * this.line}px`;
    this.fill(false);
  }

  /** Make the lines in sight. */
  fill(same) {
    if (!this.lines) return;
    const tall = this.box.clientHeight || 300, from = Math.max(0, Math.floor(this.box.scrollTop / this.line) - 4), to = Math.min(this.lines.length, from + Math.ceil(tall / this.line) + 8);
    if (same && from === this.from && to === this.to) return;
    Object.assign(this, { from, to });
    const shown = [];
    for (let i = from; i < to; i++) shown.push(this.item(i));
    const at = this.where.get(this.active);
    if (at < from || at >= to) shown.push(this.item(at));      // the one the keyboard is at stays known to screen readers
    this.sheet.replaceChildren(...shown);
    this.box.setAttribute("aria-activedescendant", `${this.id}-${at}`);
    if (this.all.near) this.all.want(this.lines.slice(from, to).flatMap(({ k }) => this.all.nearest(k, 4).map(([row]) => row)));
  }

  item(i) {
    const { all } = this, { k, depth, place, of } = this.lines[i], key = this.keyOf(k), { tree } = all, kids = all.kids(k).length, open = this.open.has(key), narrow = this.box.clientWidth < 520;
    const part = k < 0 ? all.chosen.count / Math.max(all.n, 1) : all.selected[k] / tree.count[k];
    const span = (text, style = {}) => make("span", { style: { overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap", ...style } }, text);
    const twist = make("span", { "aria-hidden": "true", style: { flex: "none", width: "14px", textAlign: "center", cursor: kids ? "pointer" : "" } }, kids ? (open ? "▾" : "▸") : "");
    const dot = make("span", { className: "clnb-dot", style: { background: all.ink(k), opacity: all.alpha(k) } });
    const name = k < 0 ? "all rows" : `${all.levels[tree.level[k]].name}: ${all.name(k)}`;
    const pure = k >= 0 && tree.label[k] >= 0 ? [`${percentOf(tree.purity[k], 1)} `, all.classes.names[tree.label[k]]] : null;
    const thumbs = all.near ? [make("span", { style: { flex: "none", display: "flex", gap: "2px", width: narrow ? "56px" : "112px" } }, ...all.nearest(k, narrow ? 2 : 4).map(([row]) => all.images.tile(row, this.line - 6)))] : [];
    const bar = make("span", { style: { flex: "none", width: narrow ? "30px" : "60px", height: "8px", background: "var(--clnb-line)" } },
      make("span", { style: { display: "block", height: "8px", width: `${100 * part}%`, minWidth: part ? "2px" : 0, background: "var(--clnb-ink)" } }));
    const said = [name, rowsOf(all.count(k)), ...(pure ? [`purity ${pure.join("")}`] : []), ...(part ? [`${percentOf(part, 1)} selected`] : [])].join(", ");
    const item = make("div", { role: "treeitem", id: `${this.id}-${i}`, "aria-level": depth + 1, "aria-setsize": of, "aria-posinset": place, "aria-label": said, "aria-selected": String(part === 1),
      style: { position: "absolute", top: `${i * this.line}px`, left: 0, right: 0, height: `${this.line}px`, display: "flex", alignItems: "center", gap: "6px", boxSizing: "border-box", cursor: "pointer",
        padding: `0 6px 0 ${4 + depth * (narrow ? 10 : 18)}px`, boxShadow: key === this.active ? "inset 0 0 0 1px var(--clnb-focus)" : "", background: part === 1 ? "color-mix(in srgb, #E69F00 22%, transparent)" : "" } },
      twist, dot, span(name, { flex: "1 1 70px" }), ...thumbs, bar, span(rowsOf(all.count(k)), { flex: "none", width: narrow ? "66px" : "76px", textAlign: "right" }),
      ...(all.labels ? [span(pure ? pure.join("") : "", { flex: "none", width: narrow ? "72px" : "120px" })] : []));
    if (kids) item.setAttribute("aria-expanded", String(open));
    item.dataset.node = k;
    twist.addEventListener("click", (event) => { event.stopPropagation(); if (kids) this.turn(i, !open); });
    item.addEventListener("click", (event) => { this.active = key; if (event.detail < 2) all.take(k, event); this.box.focus({ preventScroll: true }); });
    item.addEventListener("dblclick", () => kids && this.turn(this.where.get(key), !this.open.has(key)));
    item.addEventListener("pointermove", (event) => all.tell(k, event));
    return item;
  }

  arrived() { this.fill(false); }

  turn(i, open) {
    const key = this.keyOf(this.lines[i].k);
    this.active = key;
    open ? this.open.add(key) : this.open.delete(key);
    this.all.stage.redraw();
  }

  go(i) {
    const at = Math.max(0, Math.min(this.lines.length - 1, i)), { k } = this.lines[at], top = at * this.line;
    this.active = this.keyOf(k);
    if (k >= 0) { this.all.cursor = k; this.all.pinned = { level: this.all.tree.level[k], group: this.all.tree.group[k] }; }
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + this.line > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + this.line - this.box.clientHeight;
    this.all.stage.redraw();
  }

  key(event) {
    if (event.key === "Escape" || event.altKey || (event.ctrlKey && event.key !== "Enter")) return;
    const at = this.where?.get(this.active);
    if (at === undefined) return;
    const { k, depth } = this.lines[at], kids = this.all.kids(k).length, open = this.open.has(this.active), page = Math.max(1, Math.floor(this.box.clientHeight / this.line) - 1);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 }[event.key];
    if (by) this.go(at + by);
    else if (event.key === "ArrowRight") { if (kids && !open) this.turn(at, true); else if (kids) this.go(at + 1); }
    else if (event.key === "ArrowLeft") { if (kids && open && at) this.turn(at, false); else { let up = at - 1; while (up > 0 && this.lines[up].depth >= depth) up--; this.go(up); } }
    else if (event.key === "Enter" || event.key === " ") this.all.take(k, event);
    else if (event.key === "+" || event.key === "z") this.all.look(k);
    else if (event.key === "-" || event.key === "Backspace") this.all.look(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  move(to) { this.box.focus(); this.key(new KeyboardEvent("keydown", { key: `Arrow${to[0].toUpperCase()}${to.slice(1)}` })); }
  spot() { return [0, 0]; }
  under() { return null; }
}

/** Where the rows of each group went: the clustering before on the left, this one on the right. */
class Streams {
  constructor(all) {
    Object.assign(this, { all, tallest: 380, only: false, level: null, over: null, thing: null });
    this.choice = make("select", { "aria-label": "level" });
    this.choice.addEventListener("change", () => { this.level = this.choice.value; this.thing = null; all.stage.redraw(); });
    this.onlyBox = checkbox("only who moved", false, (on) => { this.only = on; this.thing = null; all.stage.redraw(); });
    this.said = make("output", { className: "clnb-note", style: { color: "var(--clnb-ink)" } });
    this.tools = [make("label", { className: "clnb-slider" }, make("span", {}, "level"), this.choice), this.onlyBox, this.said];
  }

  showTools(on) {
    for (const tool of this.tools) tool.style.display = on ? "" : "none";
  }

  read(frame) {
    this.raw = frame.moves;
    this.made = new Map();
    this.before = this.beforeOf = null;
    const names = this.all.levels.map(({ name }) => name);
    if ([...this.choice.options].map((o) => o.value).join("\n") !== names.join("\n")) this.choice.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
    if (!names.includes(this.level)) {
      const sizes = names.map((_, i) => this.all.begin[i + 1] - this.all.begin[i]);
      this.level = names[Math.max(0, ...sizes.map((size, i) => (size <= 40 ? i : 0)))];
    }
    this.choice.value = this.level;
  }

  /** The bands of a level, its groups before under the nodes that carry their names on. */
  at(l) {
    if (!this.raw?.levels) return null;
    if (this.made.has(l)) return this.made.get(l);
    const packed = this.raw.levels[l], found = { start: unpack(packed.start), end: unpack(packed.end), count: unpack(packed.count), name: unpack(packed.name), moved: packed.moved, rows: packed.rows };
    found.heir = new Map([...found.name].map((name, group) => [name, group]).filter(([, group]) => (this.all.node[l][group] ?? -1) >= 0));
    found.was = new Map();
    found.shared = new Map();
    for (let i = 0; i < found.count.length; i++) {
      found.was.set(found.start[i], (found.was.get(found.start[i]) ?? 0) + found.count[i]);
      if (found.end[i] >= 0 && found.name[found.end[i]] === found.start[i]) found.shared.set(found.end[i], found.count[i]);
    }
    this.made.set(l, found);
    return found;
  }

  /** What a node was called before; "" when nothing is known or it has kept its number. */
  was(k) {
    const l = this.all.tree.level[k], group = this.all.tree.group[k], found = this.at(l);
    if (!found) return "";
    const kept = found.shared.get(group), step = thousands(this.raw.step);
    if (!kept) return `new since step ${step}`;
    const name = found.name[group];
    const called = name === group ? `had this name at step ${step} too` : `called ${this.all.nameIn(l, name)} at step ${step}`;
    return `${called}: ${percentOf(kept, this.all.tree.count[k])} of its rows were in it`;
  }

  called(l, end) {
    const found = this.at(l);
    if (end < 0) return "none";
    return found.shared.has(end) ? this.all.nameIn(l, found.name[end]) : `new ${this.all.nameIn(l, end)}`;
  }

  /** Heights and places of both sides and of the bands between them. */
  place(l, found) {
    const { all } = this, { width, height } = all.stage, key = `${all.number}:${l}:${this.only}:${width}:${height}`;
    if (key === this.placedFor) return;
    this.placedFor = key;
    const stays = (i) => (found.end[i] < 0 ? found.start[i] < 0 : found.name[found.end[i]] === found.start[i]);
    const bands = [...found.count.keys()].filter((i) => !(this.only && stays(i))).map((i) => ({ i, start: found.start[i], end: found.end[i], count: found.count[i], stays: stays(i) }));
    const order = new Map();                          // of a group now: where the icicle has it
    for (let k = all.begin[l]; k < all.begin[l + 1]; k++) order.set(all.tree.group[k], k);
    const right = (end) => order.get(end) ?? 1e9, left = (start) => (start < 0 ? 2e9 : found.heir.has(start) ? right(found.heir.get(start)) : 1e9 + start);
    const total = bands.reduce((sum, band) => sum + band.count, 0), sides = ["start", "end"].map((side) => {
      const sums = new Map();
      for (const band of bands) sums.set(band[side], (sums.get(band[side]) ?? 0) + band.count);
      return [...sums].map(([group, count]) => ({ group, count, side })).sort((a, b) => (side === "start" ? left(a.group) - left(b.group) : right(a.group) - right(b.group)));
    });
    const top = ROOF + 2, room = height - top - 6, most = Math.max(sides[0].length, sides[1].length, 1), gap = Math.min(4, (0.25 * room) / most);
    this.scale = total ? (room - gap * (most - 1)) / total : 0;
    const edge = Math.min(96, width * 0.2);
    this.x = [edge, width - edge];
    for (const side of sides) {
      let y = top + (room - this.scale * total - gap * (side.length - 1)) / 2;
      for (const end of side) { end.y = y; end.h = end.count * this.scale; end.next = y; y += end.h + gap; }
    }
    const ends = sides.map((side) => new Map(side.map((end) => [end.group, end])));
    for (const band of [...bands].sort((a, b) => left(a.start) - left(b.start) || right(a.end) - right(b.end))) { const end = ends[0].get(band.start); band.y0 = end.next; end.next += band.count * this.scale; }
    for (const band of [...bands].sort((a, b) => right(a.end) - right(b.end) || left(a.start) - left(b.start))) { const end = ends[1].get(band.end); band.y1 = end.next; end.next += band.count * this.scale; }
    for (const band of bands) band.h = band.count * this.scale;
    const largest = bands.sort((a, b) => b.count - a.count).slice(0, 2500);
    this.bands = [...largest.filter((band) => band.stays), ...largest.filter((band) => !band.stays)];
    Object.assign(this, { sides, left_out: bands.length - largest.length });
  }

  color(l, found, group, now) {
    const { all } = this, end = now ? group : found.heir.get(group), k = end === undefined || end < 0 ? -1 : all.node[l][end] ?? -1;
    return k < 0 ? "#969696" : all.ink(k);
  }

  paint(frame) {
    const { all } = this, { stage } = all, { ctx, ink, faint } = stage, l = all.levels.findIndex(({ name }) => name === this.level), found = this.at(l), { root } = stage;
    ctx.textBaseline = "middle";
    this.drawn = 0;
    if (!found) { this.bands = this.sides = null; this.said.textContent = ""; root.dataset.moved = ""; return stage.say(this.raw?.why ?? "There is no clustering before this one: go to a later step."); }
    this.place(l, found);
    const share = percentOf(found.moved, found.rows), words = `${thousands(found.moved)} of ${thousands(found.rows)} rows (${share}) moved to another group since step ${thousands(this.raw.step)}`;
    if (this.said.textContent !== words) this.said.textContent = words;
    Object.assign(root.dataset, { moved: found.moved, since: this.raw.step, level: this.level });
    const mask = all.chosen.count ? this.hits(l) : null, [x0, x1] = this.x, lit = this.over ?? this.thing?.key ?? null;
    ctx.fillStyle = ink;
    ctx.textAlign = "right"; ctx.fillText(`step ${thousands(this.raw.step)}`, x0 + 10, ROOF / 2);
    ctx.textAlign = "left"; ctx.fillText(`step ${thousands(frame.step ?? 0)}`, x1 - 10, ROOF / 2);
    if (!this.bands.length) return stage.say("nobody moved");
    for (const band of this.bands) {
      const { y0, y1, h, stays, start, end } = band, on = lit === this.keyOf(band);
      this.drawn++;
      ctx.fillStyle = this.color(l, found, start, false);
      ctx.globalAlpha = on ? 1 : lit !== null ? 0.18 : stays ? 0.28 : 0.75;
      this.ribbon(x0 + 9, x1 - 9, y0, y1, Math.max(h, 0.5));
      ctx.fill();
      if (on) { ctx.strokeStyle = ink; ctx.lineWidth = 1; ctx.stroke(); }
      const hit = mask?.get(`${start},${end}`);
      if (hit) { ctx.globalAlpha = 0.85; ctx.fillStyle = ink; this.ribbon(x0 + 9, x1 - 9, y0, y1, Math.max(hit * this.scale, 0.8)); ctx.fill(); }
    }
    ctx.globalAlpha = 1;
    this.sides.forEach((side, which) => {
      let last = -1e9;
      for (const { group, y, h } of side) {
        ctx.fillStyle = this.color(l, found, group, which === 1);
        ctx.fillRect(this.x[which] - 9 + 0, y, 18, Math.max(h, 0.6));
        const middle = y + h / 2;
        if (middle - last < 11) continue;
        last = middle;
        ctx.textAlign = which ? "left" : "right";
        const text = group < 0 ? "in none" : which ? this.called(l, group) : all.nameIn(l, group);
        ctx.fillStyle = group < 0 ? faint : ink;
        ctx.fillText(cut(ctx, text, this.x[0] - 16), this.x[which] + (which ? 13 : -13), middle);
      }
    });
    if (this.left_out) { ctx.textAlign = "center"; ctx.fillStyle = faint; ctx.fillText(`${thousands(this.left_out)} thinner bands are not drawn`, stage.width / 2, ROOF / 2); }
  }

  ribbon(x0, x1, y0, y1, h) {
    const { ctx } = this.all.stage, middle = (x0 + x1) / 2;
    ctx.beginPath();
    ctx.moveTo(x0, y0);
    ctx.bezierCurveTo(middle, y0, middle, y1, x1, y1);
    ctx.lineTo(x1, y1 + h);
    ctx.bezierCurveTo(middle, y1 + h, middle, y0 + h, x0, y0 + h);
    ctx.closePath();
  }

  /** Groups of all rows in the clustering before. */
  past() { return (this.before ??= numbersOf(this.raw.before)); }

  /** Selected rows in every band. */
  hits(l) {
    const { all } = this, { n, groups } = all, past = this.past(), out = new Map(), { mask } = all.chosen;
    for (let i = 0, at = l * n; i < n; i++, at++) if (mask[i]) { const key = `${past[at]},${groups[at]}`; out.set(key, (out.get(key) ?? 0) + 1); }
    return out;
  }

  keyOf({ start, end }) { return `${start},${end}`; }

  under([px, py]) {
    if (!this.bands) return null;
    const [x0, x1] = this.x, l = this.all.levels.findIndex(({ name }) => name === this.level);
    for (const [which, side] of this.sides.entries())
      if (Math.abs(px - this.x[which]) <= 9 || (which ? px > x1 : px < x0)) {
        const end = side.find(({ y, h }) => py >= y - 0.5 && py < y + Math.max(h, 1) + 0.5);
        return end ? this.end(l, end) : null;
      }
    let low = 0, high = 1;                                   // where along the curves this x is
    const w = (px - x0 - 9) / (x1 - x0 - 18);
    for (let i = 0; i < 24; i++) { const t = (low + high) / 2, x = 1.5 * t * (1 - t) + t * t * t; if (x < w) low = t; else high = t; }
    const s = low * low * (3 - 2 * low);
    for (let i = this.bands.length - 1; i >= 0; i--) {
      const band = this.bands[i], y = band.y0 + (band.y1 - band.y0) * s, slack = Math.max(0, 1.5 - band.h / 2);
      if (py >= y - slack && py <= y + band.h + slack) return this.band(l, band);
    }
    return null;
  }

  /** A band as a thing that says what it is and selects its rows. */
  band(l, band) {
    const { all } = this, { start, end, count, stays } = band, found = this.at(l), from = start < 0 ? "none" : all.nameIn(l, start), to = this.called(l, end), { n, groups } = all;
    const rows = () => { const past = this.past(); return rowsWhere(n, (i) => past[l * n + i] === start && groups[l * n + i] === end); };
    return { key: this.keyOf(band), rows, node: end < 0 ? null : all.node[l][end], band,
      near: () => (all.near ? rows().filter((row) => !all.carried || all.carried.has(row)).slice(0, 6).map((row) => [row]) : []),
      words: () => {
        const now = end < 0 ? [...groups.subarray(l * n, l * n + n)].filter((g) => g < 0).length : all.tree.count[all.node[l][end]], was = found.was.get(start);
        const out = [stays ? `stayed in ${from}` : `from ${from} to ${to}`, rowsOf(count), `${percentOf(count, was)} of the ${thousands(was)} that were in ${from} at step ${thousands(this.raw.step)}`,
          `${percentOf(count, now)} of the ${thousands(now)} that are in ${to} now`];
        if (end >= 0 && all.nameIn(l, end) !== to) out.push(`${to} has the number ${all.nameIn(l, end)} in this clustering`);
        const hit = all.chosen.count ? rows().filter((row) => all.chosen.mask[row]).length : 0, mostly = all.labels && this.mostly(rows());
        if (mostly) out.push(mostly);
        if (hit) out.push(`${thousands(hit)} selected`);
        return out;
      } };
  }

  /** The commonest class of some rows. */
  mostly(rows) {
    const { labels, classes } = this.all, times = new Map();
    for (const row of rows) if (labels[row] >= 0) times.set(labels[row], (times.get(labels[row]) ?? 0) + 1);
    const [best] = [...times].sort((a, b) => b[1] - a[1]);
    return best ? `${percentOf(best[1], rows.length)} of them ${classes.names[best[0]]}` : "";
  }

  end(l, { group, side, count }) {
    const { all } = this, found = this.at(l), { n, groups } = all, now = side === "end", name = group < 0 ? "none" : now ? this.called(l, group) : all.nameIn(l, group);
    if (now && group >= 0 && !this.only) return all.node[l][group];
    const rows = () => { const where = now ? groups : this.past(); return rowsWhere(n, (i) => where[l * n + i] === group); };
    return { key: `${side} ${group}`, rows, node: null, words: () => {
      const out = [`${all.levels[l].name}: ${name}, ${now ? "now" : `at step ${thousands(this.raw.step)}`}`, rowsOf(this.only ? rows().length : count)];
      const kept = now ? found.shared.get(group) : found.shared.get(found.heir.get(group));
      if (!now && group >= 0) out.push(kept ? `${percentOf(kept, found.was.get(group))} of them are still together as ${all.nameIn(l, found.heir.get(group))}` : "no group has its name now");
      if (this.only) out.push(`${thousands(count)} of them moved`);
      return out;
    } };
  }

  spot(k) {
    const { group, level } = { group: this.all.tree.group[k], level: this.all.tree.level[k] };
    const end = this.sides && this.all.levels[level].name === this.level && this.sides[1].find((one) => one.group === group);
    return end ? [this.x[1], end.y + end.h / 2] : [10, 10];
  }

  /** By keyboard through the bands, those that moved first, the largest first. */
  move(to) {
    if (!this.bands?.length) return;
    const { all } = this, way = [...this.bands].sort((a, b) => a.stays - b.stays || b.count - a.count), l = all.levels.findIndex(({ name }) => name === this.level);
    const at = way.findIndex((band) => this.keyOf(band) === this.thing?.key), next = at < 0 ? 0 : Math.max(0, Math.min(way.length - 1, at + (to === "right" || to === "down" ? 1 : -1)));
    this.thing = this.band(l, way[next]);
    const { y0, y1, h } = way[next], box = all.stage.canvas.getBoundingClientRect();
    all.tell(this.thing, { clientX: box.left + all.stage.width / 2, clientY: box.top + (y0 + y1 + h) / 2 });
    all.whisper(this.thing.words().join(", "));
    all.stage.redraw();
  }
}

/** Images of a page that carries only those near the groups: rows become places among them. */
function answer(atlas, question) {
  if (question.ask !== "images" || !atlas.rows) return undefined;
  atlas.place ??= new Map([...unpack(atlas.rows)].map((row, i) => [row, i]));
  return answerFromAtlas(atlas, { ask: "images", rows: question.rows.map((row) => atlas.place.get(row) ?? 0) });
}

function render({ model, el }) {
  const { title, height } = model.get("options");
  const stage = new Stage({ model, el }, { title, height, help: "click: select a group · Ctrl: add · double click: look into it · " +
    "arrows, Enter, + and −: the same by keyboard · black: the selected part · Escape: none" });
  const groups = new Groups(stage);
  stage.ends.push(() => clearTimeout(groups.timer));
  return stage.start((frame) => groups.draw(frame));
}

export default { render, answer };
