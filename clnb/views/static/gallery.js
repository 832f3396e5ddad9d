// Gallery: images of the selected rows, page by page; of a sample of every class when nothing is selected.

// ------------------------------------------------------ what the linked views share (the same lines in each of the five)

/** Class numbers as they travel (0: unknown, k + 1: class k) as numbers with −1 for unknown. */
function numbersOf(packed) {
  const raw = unpack(packed), numbers = new Int32Array(raw.length);
  for (let i = 0; i < raw.length; i++) numbers[i] = raw[i] - 1;
  numbers.shape = raw.shape;
  return numbers;
}

const thousands = (n) => n.toLocaleString("en");
const percent = (part, whole) => (whole ? `${+((100 * part) / whole).toPrecision(3)} %` : "–");
const adds = (event) => Boolean(event && (event.ctrlKey || event.metaKey || event.shiftKey));

/** Select rows. With Ctrl, ⌘ or Shift: add them, or take them away where all are selected already. */
function pick(stage, rows, event) {
  if (!adds(event)) return stage.select(rows);
  const now = new Set(stage.selection);
  const add = !rows.every((row) => now.has(row));
  for (const row of rows) add ? now.add(row) : now.delete(row);
  stage.select(now);
}

/** Numbers of the rows below `n` that `test` accepts. */
function rowsWhere(n, test) {
  const rows = [];
  for (let i = 0; i < n; i++) if (test(i)) rows.push(i);
  return rows;
}

/** Which of `n` rows are selected; `version` grows when that changes. */
class Chosen {
  constructor(stage) { Object.assign(this, { stage, version: 0, count: 0, mask: new Uint8Array(0) }); }
  of(n) {
    const bytes = this.stage.model.get("selected");
    if (bytes === this.bytes && n === this.mask.length) return this.mask;
    Object.assign(this, { bytes, mask: new Uint8Array(n), count: 0, version: this.version + 1 });
    for (const row of this.stage.selection) if (row < n) { this.mask[row] = 1; this.count++; }
    return this.mask;
  }
}

/** A line that only screen readers read: where the keyboard is. */
function whisper(stage) {
  const line = make("div", { role: "status", style: { position: "absolute", width: "1px", height: "1px", overflow: "hidden",
    clipPath: "inset(50%)", whiteSpace: "nowrap" } });
  stage.root.append(line);
  return (text) => { line.textContent = text; };
}

// ----------------------------------------------------------------------------------------------------------------------

/** Images by row: the ones wanted now are asked for in one request, and kept. */
class Images {
  constructor(stage, arrived) { Object.assign(this, { stage, arrived, known: new Map(), asked: new Set() }); }

  want(rows) {
    const need = rows.filter((row) => !this.known.has(row) && !this.asked.has(row));
    if (!need.length) return;
    for (const row of need) this.asked.add(row);
    this.requests = (this.requests ?? 0) + 1;
    this.stage.ask({ ask: "images", rows: need }).then(({ images }) => {
      const all = unpack(images), [, ...shape] = all.shape, one = shape.reduce((a, b) => a * b);
      need.forEach((row, i) => this.known.set(row, { pixels: all.slice(i * one, (i + 1) * one), shape }));
      for (const row of this.known.keys()) if (this.known.size > 4000) this.known.delete(row);
      this.arrived();
    }).catch((error) => { this.stage.note.textContent = error.message; })
      .finally(() => { for (const row of need) this.asked.delete(row); });
  }

  /** The image as a canvas, or an empty box of its size while it is on the way. */
  tile(row, size) {
    const image = this.known.get(row);
    return image ? thumbnail(image.pixels, image.shape, size)
      : make("div", { className: "clnb-waiting", style: { width: `${size}px`, height: `${size}px`, background: "var(--clnb-line)" } });
  }
}

class Wall {
  constructor(stage) {
    const { options } = stage;
    Object.assign(this, { stage, n: options.rows, most: options.most, size: options.tile, page: 0, cursor: 0, down: false, sortBy: "row",
      names: options.classes.names, colours: options.classes.colours, chosen: new Chosen(stage), tiles: new Map() });
    this.labels = options.labels && numbersOf(options.labels);
    this.columns = options.columns.map((c) => ({ ...c, values: c.kind === "text" ? c.values : unpack(c.values) }));
    this.sample = unpack(options.sample);
    this.images = new Images(stage, () => this.fill());
    this.whisper = whisper(stage);
    this.makeTools();
    this.grid = make("div", { role: "group", "aria-label": "images", style: { display: "flex", flexWrap: "wrap", gap: "4px", flex: "1 1 100%",
      alignContent: "flex-start", maxHeight: `${options.height}px`, overflowY: "auto", padding: "3px" } });
    stage.canvas.remove();
    stage.body.append(this.grid);
    this.grid.addEventListener("keydown", (event) => this.key(event));
    const enter = () => this.order[this.cursor] !== undefined && this.focus(this.cursor);
    stage.keys = { ArrowRight: enter, ArrowDown: enter, PageDown: () => this.turn(1), PageUp: () => this.turn(-1) };
  }

  makeTools() {
    const { stage } = this, sorts = ["row", ...(this.labels ? ["label"] : []), ...this.columns.map((c) => c.name)];
    const button = (text, title, onclick) => make("button", { type: "button", title, onclick }, text);
    this.back = button("‹", "page before (PageUp)", () => this.turn(-1));
    this.next = button("›", "next page (PageDown)", () => this.turn(1));
    this.back.setAttribute("aria-label", "page before");
    this.next.setAttribute("aria-label", "next page");
    this.where = make("output", { style: { fontVariantNumeric: "tabular-nums" } });
    this.only = button("only the selected", "show the selected images and no others", () => this.show(this.stage.selection));
    stage.tools.append(dropdown("sort by", sorts, "row", (name) => { this.sortBy = name; this.arrange(); }),
      checkbox("descending", false, (on) => { this.down = on; this.arrange(); }), this.back, this.where, this.next, this.only);
  }

  draw() {
    const before = this.chosen.version;
    this.chosen.of(this.n);
    if (this.chosen.version !== before) this.follow();
    const { count } = this.chosen, { stage } = this;
    this.only.hidden = !count || !this.mine;
    if (count) stage.note.textContent += ` · ${thousands(count)} selected`;
    this.mark();
    Object.assign(stage.root.dataset, { shown: this.rows.length, selected: count, requests: this.images.requests ?? 0 });
  }

  /** Another selection than the one made here replaces what is shown; one made here only marks. */
  follow() {
    const now = this.stage.selection;
    this.mine = this.own !== undefined && now.length === this.own.length && now.every((row, i) => row === this.own[i]);
    if (!this.mine || !this.rows) this.show(now);
  }

  show(rows) {
    this.own = undefined;
    this.mine = false;
    const some = rows.filter((row) => row < this.n);
    this.source = some.length ? some : this.sample;
    this.sampled = !some.length;
    this.arrange();
  }

  /** A row's place in the order asked for: a number, or a text. */
  placeOf() {
    if (this.sortBy === "label" && this.labels) return (row) => (this.labels[row] < 0 ? Infinity : this.labels[row]);
    const column = this.columns.find((c) => c.name === this.sortBy);
    return column ? (row) => column.values[row] : (row) => row;
  }

  arrange() {
    const value = this.placeOf(), sign = this.down ? -1 : 1, text = typeof value(0) === "string";
    const rank = (a, b) => {
      const x = value(a), y = value(b);
      if (text) return sign * x.localeCompare(y) || a - b;
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a - b;
      return x === y ? a - b : sign * (x < y ? -1 : 1);
    };
    this.rows = Array.from(this.source).sort(rank);
    this.page = 0;
    this.build();
  }

  turn(by) {
    const last = Math.max(0, Math.ceil(this.rows.length / this.most) - 1), page = Math.max(0, Math.min(last, this.page + by));
    if (page === this.page) return;
    this.page = page;
    this.build();
    this.stage.redraw();
  }

  build() {
    const from = this.page * this.most, held = this.grid.contains(document.activeElement);
    this.order = this.rows.slice(from, from + this.most);
    this.cursor = 0;
    this.stage.showTip();
    this.tiles = new Map(this.order.map((row, i) => [row, this.makeTile(row, i)]));
    this.grid.replaceChildren(...this.tiles.values());
    this.grid.scrollTop = 0;
    const many = this.rows.length, of = this.sampled ? " (a sample of every class)" : "";
    this.where.textContent = many ? `${thousands(from + 1)}–${thousands(from + this.order.length)} of ${thousands(many)}${of}` : "no images";
    this.back.disabled = !this.page;
    this.next.disabled = from + this.most >= many;
    this.back.hidden = this.next.hidden = many <= this.most;
    if (held && this.order.length) this.tiles.get(this.order[0]).focus();
    this.images.want(this.order);
  }

  makeTile(row, i) {
    const caption = this.caption(row), size = this.size, label = this.labels ? this.labels[row] : -1;
    const tile = make("button", { type: "button", tabIndex: i ? -1 : 0, "aria-label": this.words(row).join(", "), style: { padding: "1px", width: `${size + 6}px`,
      borderColor: "transparent", background: "transparent", color: "inherit", outlineOffset: "-1px" } }, this.images.tile(row, size),
      make("div", { style: { fontSize: "10px", overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap",
        borderTop: `2px solid ${label >= 0 ? this.colours[label] : "transparent"}` } }, caption || "\u00a0"));
    tile.dataset.row = row;
    tile.addEventListener("click", (event) => this.pick(row, event));
    tile.addEventListener("pointerenter", (event) => this.tell(row, event));
    tile.addEventListener("pointerleave", () => this.stage.showTip());
    tile.addEventListener("focus", () => { this.cursor = this.order.indexOf(row); this.rove(); });
    return tile;
  }

  /** Images that have arrived take the place of the empty boxes. */
  fill() {
    for (const [row, tile] of this.tiles)
      if (this.images.known.has(row) && tile.firstChild.className === "clnb-waiting") tile.firstChild.replaceWith(this.images.tile(row, this.size));
    if (this.told) this.tell(...this.told);
  }

  mark() {
    for (const [row, tile] of this.tiles) {
      const on = Boolean(this.chosen.mask[row]);
      tile.setAttribute("aria-pressed", String(on));
      tile.style.boxShadow = on ? "0 0 0 3px #E69F00" : "";
    }
  }

  text(column, row) {
    const value = column.values[row];
    if (column.kind === "text") return value;
    return column.kind === "number" ? (Number.isFinite(value) ? short(value) : "none") : value < 0 ? "none" : column.names[value];
  }
  label(row) { return this.labels[row] < 0 ? "unlabelled" : this.names[this.labels[row]]; }
  caption(row) {
    const column = this.columns.find((c) => c.name === this.sortBy);
    return column ? this.text(column, row) : this.labels ? this.label(row) : String(row);
  }
  words(row) {
    return [`row ${row}`, ...(this.labels ? [`label: ${this.label(row)}`] : []), ...this.columns.map((c) => `${c.name}: ${this.text(c, row)}`)];
  }

  tell(row, event) {
    this.told = this.images.known.has(row) ? null : [row, event];
    this.stage.showTip(event, this.images.tile(row, 128), ...this.words(row));
    this.stage.tip.dataset.row = row;
  }

  pick(row, event) {
    pick(this.stage, [row], event);
    this.own = this.stage.selection.slice();
    this.whisper(`${this.own.length} rows selected`);
  }

  focus(i) {
    const tile = this.tiles.get(this.order[i]);
    this.cursor = i;
    this.rove();
    tile.focus();
    const box = tile.getBoundingClientRect();
    this.tell(this.order[i], { clientX: box.right, clientY: box.top });
  }
  rove() { [...this.tiles.values()].forEach((tile, i) => { tile.tabIndex = i === this.cursor ? 0 : -1; }); }

  key(event) {
    const tops = [...this.tiles.values()].map((tile) => tile.offsetTop), across = Math.max(1, tops.filter((top) => top === tops[0]).length);
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across, Home: -1e9, End: 1e9 }[event.key];
    if (by) this.focus(Math.max(0, Math.min(this.order.length - 1, this.cursor + by)));
    else if (event.key === "PageDown" || event.key === "PageUp") this.turn(event.key === "PageDown" ? 1 : -1);
    else if (event.key === "Enter" || event.key === " ") this.pick(this.order[this.cursor], event);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function render({ model, el }) {
  const stage = new Stage({ model, el }, { title: model.get("options").title, height: 50,
    help: "hover: enlarge · click: select · Ctrl + click: add · arrows, Enter: the same by keyboard · Escape: none" });
  const wall = new Wall(stage);
  return stage.start(() => wall.draw());
}

export default { render };
