// Neighbours: the nearest rows of one row in the full space; for several, how they are surrounded.

const SAME = "#009E73", OTHER = "#D55E00";

class Circle {
  constructor(stage) {
    const { options } = stage;
    Object.assign(this, { stage, k: options.k, names: options.classes.names, colours: options.classes.colours, chosen: new Chosen(stage),
      labels: options.labels && numbersOf(options.labels), focus: -1, was: new Uint32Array(0), way: [], turn: 0, whisper: whisper(stage) });
    this.images = new ImageStore(stage, () => this.fill());
    this.jump = make("input", { type: "number", min: 0, step: 1, "aria-label": "row", style: { width: "6.5em", font: "inherit" } });
    this.jump.addEventListener("change", () => this.jump.value !== "" && this.walk(+this.jump.value));
    const button = (text, title, onclick) => make("button", { type: "button", title, onclick }, text);
    this.back = button("back", "to the row before (Backspace)", () => this.goBack());
    this.back.disabled = true;
    stage.tools.append(make("label", { className: "clnb-slider" }, make("span", {}, "row"), this.jump),
      button("any row", "a row at random", () => this.rows && this.walk(Math.floor(Math.random() * this.rows))), this.back);
    this.box = make("div", { style: { flex: "1 1 100%", maxHeight: `${options.height}px`, overflowY: "auto" } });
    this.box.addEventListener("keydown", (event) => this.key(event));
    stage.canvas.remove();
    stage.body.append(this.box);
    const enter = () => this.box.querySelector("button")?.focus();
    stage.keys = { ArrowRight: enter, ArrowDown: enter, Backspace: () => this.goBack() };
  }

  draw(frame) {
    const { stage } = this, before = this.chosen.version, news = frame.number !== this.number;
    this.rows = frame.rows ?? 0;
    this.number = frame.number;
    this.jump.max = Math.max(this.rows - 1, 0);
    this.chosen.of(this.rows);
    if (this.chosen.version !== before) this.choose();
    if (this.chosen.version !== before) this.search(frame);
    else if (news) this.later(frame);
    if (this.chosen.count) stage.note.textContent += ` · ${thousands(this.chosen.count)} selected`;
    Object.assign(stage.root.dataset, { focus: this.focus, selected: this.chosen.count });
  }

  /** The row in the middle: the one just added to the selection, else the one that is there, else the first. */
  choose() {
    const now = this.stage.selection.filter((row) => row < this.rows), was = new Set(this.was), added = now.length <= this.was.length + 1 ? now.filter((row) => !was.has(row)) : [];
    if (added.length === 1) this.focus = added[0];
    else if (!now.length) this.focus = -1;
    else if (!this.chosen.mask[this.focus]) this.focus = now[0];
    this.was = now;
    this.jump.value = this.focus < 0 ? "" : this.focus;
  }

  /** Rows and distances of the neighbours of `rows` in the frame that is shown. */
  async find(rows, frame) {
    const { k, stage } = this, atlas = stage.alone ? stage.model.get("atlas") : null;
    if (!atlas) {
      const reply = await stage.ask({ ask: "neighbours", rows, position: frame.position ?? -1 });
      return { asked: unpack(reply.asked), near: unpack(reply.rows), far: unpack(reply.distances), step: reply.step };
    }
    const kept = Object.keys(atlas.by_step ?? {}).map(Number).filter((s) => s === s), now = frame.step ?? Infinity;
    const step = kept.filter((s) => s <= now).pop() ?? kept[0], table = atlas.by_step?.[step ?? "newest"];
    if (!table) throw new Error("this page has no neighbours: there are too many rows to bring them along");
    table.near ??= unpack(table.rows);
    table.far ??= unpack(table.distances);
    const width = table.near.shape[1], near = new Uint32Array(rows.length * width), far = new Float32Array(rows.length * width);
    rows.forEach((row, i) => {
      near.set(table.near.subarray(row * width, (row + 1) * width), i * width);
      far.set(table.far.subarray(row * width, (row + 1) * width), i * width);
    });
    near.shape = [rows.length, width];
    return { asked: Uint32Array.from(rows), near, far, step };
  }

  /** A new frame: at once in a page or while rewinding; else the training that makes it has a say in how often to ask. */
  later(frame) {
    clearTimeout(this.timer);
    const wait = this.stage.alone || this.stage.model.get("at") >= 0 ? 0 : Math.max(1000, 20 * (this.took ?? 0)) - (performance.now() - (this.asked ?? -1e9));
    if (wait <= 0) this.search(frame);
    else this.timer = setTimeout(() => this.search(this.stage.frame), wait);
  }

  async search(frame) {
    clearTimeout(this.timer);
    const turn = ++this.turn, began = (this.asked = performance.now()), { was, focus } = this;
    if (!was.length) return this.show(null, frame);
    const every = Math.max(1, was.length / 2000), some = every > 1 ? Array.from({ length: 2000 }, (_, i) => was[Math.floor(i * every)]) : Array.from(was);
    try {
      const one = await this.find([focus], frame), all = was.length > 1 ? await this.find(some, frame) : null;
      this.took = performance.now() - began;
      if (turn === this.turn) this.show({ one, all }, frame);
    } catch (error) {
      if (turn === this.turn) this.box.replaceChildren(make("div", { className: "clnb-error" }, error.message));
    }
  }

  show(found, frame) {
    const held = this.box.contains(document.activeElement);
    this.found = found;
    if (!found) {
      this.box.replaceChildren(make("div", { className: "clnb-help", style: { padding: "14px" } },
        this.rows ? "Select a row in any linked view, or type its number: here come its nearest rows." : frame.note ?? ""));
      Object.assign(this.stage.root.dataset, { near: "", agree: "" });
      return;
    }
    this.box.replaceChildren(this.strip(found.one, frame), ...(found.all ? [this.summary(found.all)] : []));
    if (held) this.box.querySelector("button")?.focus();
    this.fill();
  }

  label(row) { return !this.labels ? "" : this.labels[row] < 0 ? "unlabelled" : this.names[this.labels[row]]; }
  agrees(a, b) { return !this.labels || this.labels[a] < 0 || this.labels[b] < 0 ? null : this.labels[a] === this.labels[b]; }

  /** The row in the middle and its nearest, with image, label, distance and whether the labels agree. */
  strip({ near, far, step }, frame) {
    const own = this.focus, rows = Array.from(near), seen = rows.filter((_, j) => Number.isFinite(far[j]));
    const known = seen.filter((row) => this.agrees(own, row) !== null), same = known.filter((row) => this.agrees(own, row)).length;
    const words = [`row ${own}${this.labels ? ` (${this.label(own)})` : ""}`];
    if (!seen.length) words.push(Number.isNaN(far[0]) ? "its features are not numbers: it has no neighbours" : "it has no neighbours");
    else words.push(`${seen.length} nearest, ${short(far[0])} to ${short(far[seen.length - 1])} away`);
    if (known.length) words.push(`${same} of ${known.length} have its label`);
    if (frame.step != null && step != null && step !== frame.step) words.push(`as of step ${step}`);
    Object.assign(this.stage.root.dataset, { near: seen.join(","), agree: known.length ? same : "" });
    this.whisper(words.join(", "));
    const tiles = rows.map((row, j) => Number.isFinite(far[j]) && this.tile(row, `${short(far[j])}`, this.agrees(own, row)));
    return make("div", {}, make("div", { style: { padding: "2px 4px" } }, words.join(" · ")),
      make("div", { role: "group", "aria-label": "neighbours", style: { display: "flex", flexWrap: "wrap", gap: "4px", alignItems: "flex-end" } },
        this.tile(own, "itself", null, 84), ...tiles.filter(Boolean)));
  }

  tile(row, text, same, size = 56) {
    const mark = same === null ? "" : same ? "✓ " : "✕ ", ink = same === null ? "var(--clnb-line)" : same ? SAME : OTHER, label = this.label(row);
    const tile = make("button", { type: "button", "aria-label": `row ${row}, ${label}, ${text}${same === null ? "" : same ? ", same label" : ", another label"}`,
      style: { padding: "2px", minWidth: `${size + 8}px`, maxWidth: `${size + 24}px`, border: `2px solid ${ink}`, background: "transparent", color: "inherit", fontSize: "10px" } },
      ...(this.stage.options.images ? [this.images.tile(row, size)] : []),
      make("div", { style: { overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" } }, make("b", { style: { color: ink } }, mark), label || `row ${row}`), make("div", {}, text));
    tile.dataset.row = row;
    tile.size = size;
    tile.addEventListener("click", (event) => (adds(event) ? pick(this.stage, [row], event) : this.walk(row)));
    tile.addEventListener("pointerenter", (event) => this.tell(row, text, same, event));
    tile.addEventListener("pointerleave", () => this.stage.showTip());
    return tile;
  }

  tell(row, text, same, event) {
    this.stage.showTip(event, ...(this.stage.options.images ? [this.images.tile(row, 128)] : []), `row ${row}`,
      ...(this.labels ? [`label: ${this.label(row)}`] : []), text === "itself" || Number.isNaN(parseFloat(text)) ? text : `distance ${text}`,
      ...(same === null ? [] : [same ? "same label" : "another label"]));
    this.stage.tip.dataset.row = row;
  }

  /** Several rows: how often a neighbour has the label of its row, class by class, and which rows are neighbours of many. */
  summary({ asked, near }) {
    const width = near.length / asked.length, times = new Map(), per = new Map();
    let same = 0, known = 0;
    asked.forEach((row, i) => {
      for (let j = 0; j < width; j++) {
        const other = near[i * width + j], agrees = this.agrees(row, other);
        times.set(other, (times.get(other) ?? 0) + 1);
        if (agrees === null) continue;
        const entry = per.get(this.labels[row]) ?? per.set(this.labels[row], [0, 0]).get(this.labels[row]);
        entry[0] += agrees;
        entry[1]++;
        same += agrees;
        known++;
      }
    });
    const hubs = [...times].filter(([, n]) => n > 1).sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, 8);
    const cut = asked.length < this.was.length ? ` (of ${thousands(asked.length)} of them, spread evenly)` : "";
    Object.assign(this.stage.root.dataset, { share: known ? same / known : "", hubs: hubs.map(([row]) => row).join(",") });
    const bars = [...per].sort((a, b) => a[1][0] / a[1][1] - b[1][0] / b[1][1]).slice(0, 20).map(([k, [s, n]]) =>
      make("div", { className: "clnb-row" }, make("span", { className: "clnb-barname" }, this.names[k]),
        make("span", { className: "clnb-barfill", style: { width: `${(90 * s) / n}px`, background: this.colours[k] } }), make("span", {}, percentOf(s, n))));
    const block = (title, ...parts) => make("div", { style: { flex: "1 1 240px" } }, make("div", { style: { fontWeight: 600, margin: "6px 0 3px" } }, title), ...parts);
    const flow = make("div", { style: { display: "flex", flexWrap: "wrap", gap: "4px" } }, ...hubs.map(([row, n]) => this.tile(row, `of ${thousands(n)} rows`, null, 44)));
    return make("div", { style: { display: "flex", flexWrap: "wrap", gap: "16px", borderTop: "1px solid var(--clnb-line)", marginTop: "6px" } },
      ...(known ? [block(`${percentOf(same, known)} of the neighbours of the ${thousands(this.was.length)} selected rows have their label${cut}`, ...bars)] : []),
      block(hubs.length ? `hubs: rows that are a neighbour of many of them${known ? "" : cut}` : "no hubs: no row is a neighbour of two of them", flow));
  }

  /** Ask for the images that are shown, and put those that have come in their places. */
  fill() {
    if (!this.stage.options.images) return;
    const tiles = [...this.box.querySelectorAll("button[data-row]")];
    this.images.want([...new Set(tiles.map((tile) => +tile.dataset.row))]);
    for (const tile of tiles)
      if (tile.firstChild.className === "clnb-waiting" && this.images.known.has(+tile.dataset.row)) tile.firstChild.replaceWith(this.images.tile(+tile.dataset.row, tile.size));
  }

  /** Make another row the selection, remembering the way. */
  walk(row) {
    if (!(row >= 0 && row < this.rows) || row % 1) return this.whisper(`there are the rows 0 to ${this.rows - 1}`);
    if (this.focus >= 0 && row !== this.focus) this.way.push(this.focus);
    this.go(row);
  }
  goBack() { if (this.way.length) this.go(this.way.pop()); }
  go(row) {
    this.back.disabled = !this.way.length;
    this.focus = row;
    this.stage.showTip();
    this.stage.select([row]);
  }

  key(event) {
    const tiles = [...this.box.querySelectorAll("button[data-row]")], at = tiles.indexOf(document.activeElement);
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (by) tiles[Math.max(0, Math.min(tiles.length - 1, at + by))]?.focus();
    else if (event.key === "Backspace") this.goBack();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function render({ model, el }) {
  const stage = new Stage({ model, el }, { title: model.get("options").title, height: 50,
    help: "click: go to that neighbour · Ctrl + click: add it to the selection · arrows, Enter: the same by keyboard · Backspace: back · Escape: none" });
  const circle = new Circle(stage);
  stage.ends.push(() => clearTimeout(circle.timer));
  return stage.start((frame) => circle.draw(frame));
}

export default { render };
