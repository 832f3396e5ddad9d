// Compare: neighbours kept, lost and gained between two representations, and the table of their numbers.

const SAME = "#009E73", OTHER = "#D55E00";

class Changes {
  constructor(stage) {
    const { options } = stage, raw = options.labels && unpack(options.labels);
    Object.assign(this, { stage, names: options.classes.names, sides: options.names, was: [], focus: -1, turn: 0,
      labels: raw && Int32Array.from(raw, (v) => v - 1) });
    this.pictures = new ImageStore(stage, () => this.fill());
    this.box = make("div", { style: { flex: "1 1 100%", maxHeight: `${options.height}px`, overflowY: "auto" } });
    this.box.addEventListener("keydown", (event) => this.key(event));
    stage.canvas.remove();
    stage.body.append(this.box);
    const enter = () => this.box.querySelector("button")?.focus();
    stage.keys = { ArrowRight: enter, ArrowDown: enter };
  }

  draw(frame) {
    const { stage } = this;
    if (!frame.kept) {
      this.box.replaceChildren(make("div", { className: "clnb-help", style: { padding: "14px" } }, frame.note ?? ""));
      return;
    }
    if (frame.number !== this.number) {
      Object.assign(this, { number: frame.number, kept: unpack(frame.kept), most: Array.from(unpack(frame.most)), k: frame.k,
        a: unpack(frame.near_a), b: unpack(frame.near_b), place: new Map() });
      if (frame.rows) unpack(frame.rows).forEach((row, i) => this.place.set(row, i));
    }
    this.choose(Array.from(stage.selection).filter((row) => row < this.kept.length));
    this.show();
  }

  /** The row that is explained: the one just added to the selection, else the one that is there, else the first. */
  choose(now) {
    const added = now.filter((row) => !this.was.includes(row));
    if (!now.length) this.focus = -1;
    else if (added.length === 1) this.focus = added[0];
    else if (!now.includes(this.focus)) this.focus = now[0];
    this.was = now.slice(0, 5000);
  }

  /** Neighbours of the row in both spaces: from the frame, or from the kernel where there are too many to send. */
  async near(row) {
    const i = this.place.get(row);
    if (this.a && i !== undefined) return [this.a, this.b].map((all) => Array.from(all.subarray(i * this.k, (i + 1) * this.k)));
    if (this.stage.alone) throw new Error("this page does not carry the neighbours of this row: its features are not numbers, or there are "
      + "so many rows that only a sample was compared");
    const reply = await this.stage.ask({ ask: "changes", row });
    return [unpack(reply.near_a), unpack(reply.near_b)].map((rows) => Array.from(rows));
  }

  async show() {
    const turn = ++this.turn, held = this.box.contains(document.activeElement) ? document.activeElement.dataset.row : null;
    let parts;
    try { parts = this.focus < 0 ? this.overview() : await this.strips(); }
    catch (error) { parts = [make("div", { className: "clnb-error" }, error.message)]; }
    if (turn !== this.turn) return;
    this.stage.showTip();       // the tile that it belonged to goes
    this.box.replaceChildren(...parts);
    if (held) this.box.querySelector(`button[data-row="${+held}"]`)?.focus();
    this.fill();
  }

  /** Nothing is selected: how many rows kept how many of their neighbours, and the rows that kept fewest. */
  overview() {
    const counts = new Array(this.k + 1).fill(0), rows = counts.map(() => []);
    this.kept.forEach((kept, row) => { if (kept <= this.k) { counts[kept]++; rows[kept].push(row); } });
    const top = Math.max(...counts, 1);
    Object.assign(this.stage.root.dataset, { focus: "", kept: "", lost: "", gained: "", counts: counts.join(",") });
    const bars = counts.map((count, kept) => make("button", { type: "button", disabled: !count,
      title: `select the ${thousands(count)} rows that kept ${kept} of ${this.k}`, "aria-label": `${thousands(count)} rows kept ${kept} of ${this.k} neighbours`,
      onclick: () => this.stage.select(rows[kept]), style: { border: "none", padding: "0 2px", display: "flex", flexDirection: "column", alignItems: "center", justifyContent: "flex-end" } },
      make("div", { style: { fontSize: "9px" } }, count ? thousands(count) : ""),
      make("div", { style: { width: "22px", height: `${Math.round((56 * count) / top) + (count ? 1 : 0)}px`, background: "#0072B2" } }),
      make("div", { style: { fontSize: "10px" } }, String(kept))));
    return [make("div", { style: { display: "flex", flexWrap: "wrap", gap: "14px" } },
      make("div", {}, make("div", {}, `rows by neighbours kept, of ${this.k}`), make("div", { role: "group", "aria-label": "rows by neighbours kept",
        style: { display: "flex", alignItems: "flex-end" } }, ...bars)),
      make("div", { style: { flex: "1 1 320px" } }, make("div", {}, "where most changed (select a row to see whose neighbours it lost)"),
        this.flow("where most changed", this.most.map((row) => this.tile(row, `${this.kept[row]} of ${this.k} kept`, null)))))];
  }

  flow(label, tiles) {
    return make("div", { role: "group", "aria-label": label, style: { display: "flex", flexWrap: "wrap", gap: "4px", alignItems: "flex-end" } }, ...tiles);
  }

  /** Three strips for the selected row; for several rows also how many of theirs were kept. */
  async strips() {
    const own = this.focus, [a, b] = await this.near(own), inA = new Set(a), inB = new Set(b);
    const kept = a.filter((row) => inB.has(row)), lost = a.filter((row) => !inB.has(row)), gained = b.filter((row) => !inA.has(row));
    Object.assign(this.stage.root.dataset, { focus: own, kept: kept.join(","), lost: lost.join(","), gained: gained.join(","), counts: "" });
    const words = [`row ${own}${this.labels ? ` (${this.label(own)})` : ""}`, `${kept.length} of ${a.length} neighbours kept`];
    if (this.was.length > 1) {
      const seen = this.was.map((row) => this.kept[row]).filter((v) => v <= this.k), sum = seen.reduce((x, y) => x + y, 0);
      if (seen.length) words.push(`of the ${thousands(this.was.length)} selected rows' ${+((100 * sum) / (seen.length * this.k)).toPrecision(3)} %`);
    }
    const strip = (name, text, rows) => make("div", { className: "clnb-row", style: { borderTop: "1px solid var(--clnb-line)", padding: "3px 0" } },
      make("div", { style: { flex: "0 0 92px" } }, make("b", {}, `${name} ${rows.length}`), make("div", { className: "clnb-help", style: { overflowWrap: "anywhere" } }, text)),
      this.flow(name, rows.map((row) => this.tile(row, `row ${row}`, this.agrees(own, row)))));
    return [make("div", { className: "clnb-row" }, this.tile(own, "itself", null, 64), make("div", { role: "status" }, words.join(" · "))),
      strip("kept", "near in both", kept), strip("lost", `near in ${this.sides[0]} only`, lost), strip("gained", `near in ${this.sides[1]} only`, gained)];
  }

  label(row) { return !this.labels ? "" : this.labels[row] < 0 ? "unlabelled" : this.names[this.labels[row]]; }
  agrees(a, b) { return !this.labels || this.labels[a] < 0 || this.labels[b] < 0 ? null : this.labels[a] === this.labels[b]; }

  tile(row, text, same, size = 44) {
    const mark = same === null ? "" : same ? "✓ " : "✕ ", ink = same === null ? "var(--clnb-line)" : same ? SAME : OTHER, label = this.label(row);
    const tile = make("button", { type: "button", "aria-label": `row ${row}, ${label}, ${text}${same === null ? "" : same ? ", same label" : ", another label"}`,
      style: { padding: "2px", minWidth: `${size + 8}px`, maxWidth: `${size + 30}px`, border: `2px solid ${ink}`, background: "transparent", color: "inherit", fontSize: "10px" } },
      ...(this.stage.options.images ? [this.pictures.tile(row, size)] : []),
      make("div", { style: { overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap", color: same === null ? "" : ink } }, mark + (label || `row ${row}`)),
      ...(label || text !== `row ${row}` ? [make("div", { style: { whiteSpace: "nowrap" } }, text)] : []));
    tile.dataset.row = row;
    tile.size = size;
    tile.addEventListener("click", (event) => this.stage.select(adds(event) ? [...new Set([...this.stage.selection, row])] : [row]));
    tile.addEventListener("pointerenter", (event) => this.stage.showTip(event, ...(this.stage.options.images ? [this.pictures.tile(row, 128)] : []),
      `row ${row}`, ...(this.labels ? [`label: ${label}`] : []), ...(this.kept[row] <= this.k ? [`${this.kept[row]} of ${this.k} neighbours kept`] : [])));
    tile.addEventListener("pointerleave", () => this.stage.showTip());
    return tile;
  }

  /** Ask for the images that are shown, and put those that have come in their places. */
  fill() {
    if (!this.stage.options.images) return;
    const tiles = [...this.box.querySelectorAll("button[data-row]")];
    this.pictures.want(tiles.map((tile) => +tile.dataset.row));
    for (const tile of tiles)
      if (tile.firstChild.className === "clnb-waiting" && this.pictures.known.has(+tile.dataset.row))
        tile.firstChild.replaceWith(this.pictures.tile(+tile.dataset.row, tile.size));
  }

  key(event) {
    const tiles = [...this.box.querySelectorAll("button:not(:disabled)")], at = tiles.indexOf(document.activeElement);
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    tiles[Math.max(0, Math.min(tiles.length - 1, at + by))]?.focus();
    event.preventDefault();
    event.stopPropagation();
  }
}

/** The numbers of both sides: a value, or a mean with its interval; and the difference. */
class Numbers {
  constructor(stage) {
    this.stage = stage;
    this.box = make("div", { style: { flex: "1 1 100%", overflowX: "auto" } });
    stage.canvas.remove();
    stage.body.append(this.box);
  }

  draw(frame) {
    if (!frame.table) {
      this.box.replaceChildren(make("div", { className: "clnb-help", style: { padding: "14px" } }, frame.note ?? ""));
      return;
    }
    const pad = { padding: "2px 8px", textAlign: "right", fontVariantNumeric: "tabular-nums" };
    const head = ["", ...this.stage.options.names, "difference"].map((text) => make("th", { scope: "col", style: { ...pad, overflowWrap: "anywhere" } }, text));
    const line = (row) => make("tr", { style: { borderTop: "1px solid var(--clnb-line)" } }, make("th", { scope: "row", style: { ...pad, textAlign: "left", fontWeight: 400 } }, row.name),
      ...["a", "b", "difference"].map((key) => make("td", { style: pad }, this.said(row[key], key === "difference"))));
    this.box.replaceChildren(make("table", { "aria-label": this.stage.options.title, style: { borderCollapse: "collapse", width: "100%" } },
      make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...frame.table.map(line))));
  }

  said([mean, low, high], signed) {
    const plus = (v) => (signed && v > 0 ? "+" : "") + short(+v.toPrecision(3));
    if (mean === null) return "–";
    return low === null ? plus(mean) : `${plus(mean)}  [${plus(low)}, ${plus(high)}]`;
  }
}

function render({ model, el }) {
  const { title, what } = model.get("options");
  const help = what === "changes" ? "click: explain that row · Ctrl + click: add it to the selection · arrows, Enter: the same by keyboard · Escape: back to all" : "";
  const stage = new Stage({ model, el }, { title, height: 50, help }), view = what === "changes" ? new Changes(stage) : new Numbers(stage);
  return stage.start((frame) => view.draw(frame));
}

export default { render };
