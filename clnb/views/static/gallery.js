// Gallery: images of the selected rows, page by page; of a sample of every class when nothing is selected.

class Wall {
  constructor(stage) {
    const { options } = stage;
    Object.assign(this, { stage, n: options.rows, most: options.most, size: options.tile, page: 0, cursor: 0, down: false, sortBy: "row",
      names: options.classes.names, colours: options.classes.colours, chosen: new Chosen(stage), tiles: new Map() });
    this.labels = options.labels && numbersOf(options.labels);
    this.columns = options.columns.map((c) => ({ ...c, values: c.kind === "text" ? c.values : unpack(c.values) }));
    this.sample = unpack(options.sample);
    this.images = new ImageStore(stage, () => this.fill());
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
