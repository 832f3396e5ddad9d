// Segmentation: picture, truth and predictions in layers, and a table of confusions linked to pixels. See 07v_segmentation.ipynb.

const OUT = 255;
const ORDERS = ["most errors first", "fewest errors first", "as given"];
const MANY = 24;        // classes of which a table can still be read
const CELLS = ["% of the true class", "pixels"];
const DASHES = [(k) => k % 2 === 0, (k) => k % 4 < 3, (k) => k % 3 === 0, () => true];     // of the strategies' outlines, unit by unit
const fixed = (v) => (Number.isFinite(v) ? v.toFixed(3).replace("-", "−") : "–");
const hex = (c) => [1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16));
const shareText = (share) => (share >= 0.0995 ? String(Math.round(100 * share)) : share >= 0.00095 ? (100 * share).toFixed(1) : "<.1");
const light = (v) => (v <= 10.31 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4);
/** Is white the better ink on this colour? (WCAG 2.2: contrast with white against contrast with black.) */
const dark = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b) < 0.179;

/** Accuracy, kappa, mean IoU, IoU and F1 of a table, rows truth; `scores_of` of the notebook. */
function scoresOf(table, C) {
  const rows = new Float64Array(C), columns = new Float64Array(C);
  let all = 0, right = 0, chance = 0;
  for (let r = 0; r < C; r++) for (let c = 0; c < C; c++) { const n = table[r * C + c]; rows[r] += n; columns[c] += n; all += n; if (r === c) right += n; }
  if (!all) return { all, rows, columns, accuracy: NaN, kappa: NaN, mean: NaN, iou: new Float64Array(C).fill(NaN), f1: new Float64Array(C).fill(NaN) };
  for (let k = 0; k < C; k++) chance += (rows[k] / all) * (columns[k] / all);
  const iou = Float64Array.from({ length: C }, (_, k) => table[k * C + k] / (rows[k] + columns[k] - table[k * C + k])), f1 = iou.map((v) => (2 * v) / (1 + v));
  const there = iou.filter((v) => v === v), accuracy = right / all;
  return { all, rows, columns, accuracy, kappa: chance < 1 ? (accuracy - chance) / (1 - chance) : 0, mean: there.reduce((a, b) => a + b, 0) / there.length, iou, f1 };
}

/** Where letters fit: far inside of regions, at least `apart` pixels from the next. [[pixel, class], …] */
function lettersFor(numbers, w, h, far, apart) {
  const depth = new Int16Array(w * h).fill(9999), same = (p, q) => numbers[p] === numbers[q];
  for (let p = 0, y = 0; y < h; y++) for (let x = 0; x < w; x++, p++) depth[p] = Math.min(x && same(p, p - 1) ? depth[p - 1] + 1 : 1, y && same(p, p - w) ? depth[p - w] + 1 : 1);
  for (let p = w * h - 1, y = h - 1; y >= 0; y--) for (let x = w - 1; x >= 0; x--, p--) depth[p] = Math.min(depth[p], x < w - 1 && same(p, p + 1) ? depth[p + 1] + 1 : 1, y < h - 1 && same(p, p + w) ? depth[p + w] + 1 : 1);
  const found = [], deep = rowsWhere(w * h, (p) => depth[p] >= far && numbers[p] !== OUT).sort((a, b) => depth[b] - depth[a] || a - b);
  for (const p of deep) {
    const x = p % w, y = Math.floor(p / w);
    if (found.length < 60 && found.every(([q, k]) => Math.hypot(x - (q % w), y - Math.floor(q / w)) > (k === numbers[p] ? 2.5 * apart : apart))) found.push([p, numbers[p]]);
  }
  return found;
}

class SegmentationView {
  constructor(stage) {
    const o = stage.options;
    Object.assign(this, { stage, o, images: unpack(o.images), truth: unpack(o.truth), inks: o.colours.map(hex), C: o.classes.length, cells: CELLS[0], order: ORDERS[0],
      runs: [], panels: [], pictures: new Map(), marks: new Map(), chosen: new Chosen(stage), cursor: null, whisper: whisper(stage), focusCell: [0, 0] });
    [this.n, this.channels, this.h, this.w] = this.images.shape;
    this.size = this.h * this.w;
    this.makeTools();
    this.makeParts();
    this.listen();
  }

  get opened() { return Math.min(Math.max(this.stage.model.get("opened") ?? 0, 0), this.n - 1); }
  get strategy() { return Math.min(Math.max(this.stage.model.get("strategy") ?? 0, 0), Math.max(this.o.runs.length - 1, 0)); }
  get layers() { return this.stage.model.get("layers") ?? []; }
  get opacity() { return this.stage.model.get("opacity") ?? 0.6; }
  get only() { const only = this.stage.model.get("only") ?? -1; return only < this.C ? only : -1; }
  get cell() { const cell = this.stage.model.get("cell") ?? []; return cell.length === 2 ? cell : null; }
  get among() { return this.stage.model.get("among") ?? "all"; }
  has(layer) { return this.layers.includes(layer); }
  set(name, value) {
    const { model } = this.stage;
    model.set(name, value);
    model.save_changes();
    this.stage.redraw();
  }

  makeTools() {
    const { stage, o } = this;
    this.boxes = o.all.map((layer) => { const box = checkbox(layer, false, () => this.toggle(layer)); box.layer = layer; return box; });
    this.slide = slider("opacity", { min: 0, max: 1, step: 0.05, value: this.opacity, show: (v) => `${Math.round(100 * v)} %` }, (v) => this.set("opacity", v));
    stage.tools.append(make("span", { role: "group", "aria-label": "layers", style: { display: "inline-flex", flexWrap: "wrap", gap: "2px 10px" } }, ...this.boxes), this.slide);
    const select = (label, choices, changed) => {
      const node = make("select", { "aria-label": label, onchange: () => changed(node.value), style: { maxWidth: "16em" } }, ...choices.map(([value, text]) => make("option", { value }, text)));
      stage.tools.append(make("label", { className: "clnb-slider" }, make("span", {}, label), node));
      return node;
    };
    if (o.runs.length > 1) this.who = select("table of", o.runs.map((name, r) => [String(r), name]), (r) => this.set("strategy", +r));
    const sets = [["all", "all images"], ["image", "this image"], ["selected", "selected images"], ...o.groups.map((name) => [name, name])];
    this.which = select("counted in", sets, (among) => this.count(among));
    this.image = slider("image", { min: 0, max: Math.max(this.n - 1, 1), step: 1, value: 0, show: (k) => this.o.names[this.rows()[Math.round(k)] ?? 0] ?? "" }, (k) => this.set("opened", this.rows()[Math.round(k)] ?? 0));
    this.image.lastChild.style.minWidth = "5em";
    this.image.hidden = this.n < 2;
    this.image.style.display = this.n < 2 ? "none" : "";
    stage.tools.append(this.image);
    this.sorting = dropdown("gallery", ORDERS, this.order, (order) => { this.order = order; stage.redraw(); });
    this.written = dropdown("cells", CELLS, this.cells, (cells) => { this.cells = cells; this.tableKey = ""; stage.redraw(); });
    stage.tools.append(this.sorting, this.written);
  }

  makeParts() {
    const { stage, o } = this;
    this.legend = make("div", { className: "clnb-legend", role: "group", "aria-label": "classes" });
    this.chips = o.classes.map((name, k) => make("button", { type: "button", className: "clnb-chip", title: `${name}: show this class alone`, onclick: () => this.set("only", this.only === k ? -1 : k) }, this.swatch(k), make("span", {}, name)));
    this.sources = make("span", { className: "clnb-note", style: { marginLeft: "8px" } });
    this.legend.append(...this.chips, this.sources);
    this.strip = make("div", { role: "group", "aria-label": "images", style: { display: "flex", gap: "4px", overflowX: "auto", padding: "2px", flex: "1 1 100%", alignItems: "flex-start" } });
    this.words = make("ul", { "aria-label": "scores", style: { margin: "2px 0", padding: 0, listStyle: "none", flex: "1 1 100%" } });
    this.side = make("div", { role: "region", "aria-label": "table of confusions", tabIndex: -1, style: { flex: "1 1 300px", minWidth: 0, maxWidth: "100%", overflowX: "auto" } });
    this.said = make("div", { className: "clnb-note", role: "status", "aria-live": "polite", style: { minHeight: "1.3em", flex: "1 1 100%", overflowWrap: "anywhere" } });
    stage.body.before(this.legend);
    stage.canvas.style.flex = "2 1 320px";
    stage.canvas.tabIndex = 0;
    stage.body.style.alignItems = "flex-start";
    stage.body.append(this.side, this.said, this.strip, this.words);
  }

  listen() {
    const { stage } = this, { canvas } = stage;
    for (const name of ["layers", "opacity", "opened", "strategy", "cell", "only", "among"]) stage.listen(`change:${name}`, () => stage.redraw());
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => this.leave());
    canvas.addEventListener("click", (event) => { const at = this.under(stage.at(event)); if (at) this.light(at); });
    const go = (dx, dy) => () => this.walk(dx, dy), flip = (layer) => () => this.toggle(layer);
    stage.keys = { ArrowLeft: go(-1, 0), ArrowRight: go(1, 0), ArrowUp: go(0, -1), ArrowDown: go(0, 1), n: () => this.turn(1), b: () => this.turn(-1), i: flip("picture"), t: flip("truth"),
      p: flip("prediction"), e: flip("errors"), o: flip("outlines"), l: flip("letters"), s: () => this.set("strategy", (this.strategy + 1) % this.o.runs.length),
      Enter: () => { if (this.cursor) this.light(this.cursor); }, Escape: () => { this.cursor = null; this.set("only", -1); this.set("cell", []); } };
    this.strip.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], list = [...this.strip.querySelectorAll("button")], at = list.indexOf(document.activeElement);
      if (!step || at < 0) return;
      event.preventDefault();
      event.stopPropagation();
      const next = list[Math.min(Math.max(at + step, 0), list.length - 1)];
      next.focus();
      this.set("opened", +next.dataset.image);
    });
    this.side.addEventListener("keydown", (event) => this.inTable(event));
  }

  toggle(layer) { this.set("layers", this.o.all.filter((one) => (one === layer) !== this.has(one))); }

  swatch(k) {
    return make("span", { "aria-hidden": "true", style: { background: this.o.colours[k], color: dark(this.inks[k]) ? "#fff" : "#000", minWidth: "15px", textAlign: "center", fontSize: "10px", fontWeight: 700, lineHeight: "15px", borderRadius: "2px", display: "inline-block", flex: "none", overflow: "visible" } }, this.o.letters[k]);
  }
  nameOf(k) { return k === OUT ? "not judged" : `${this.o.letters[k]} ${this.o.classes[k]}`; }
  runName(r) { return this.o.runs[r] || "prediction"; }

  /** The images that the slider runs through and the gallery shows: all, or those of a group. */
  rows() {
    const g = this.o.groups.indexOf(this.among);
    return rowsWhere(this.n, (i) => g < 0 || ["all", "image", "selected"].includes(this.among) || this.o.group[i] === g);
  }
  /** The images that are counted. */
  counted() {
    if (this.among === "image") return [this.opened];
    if (this.among === "selected") { const mask = this.chosen.of(this.n); return rowsWhere(this.n, (i) => mask[i]); }
    return this.rows();
  }
  count(among) {
    this.set("among", among);
    const rows = this.rows();
    if (!rows.includes(this.opened)) this.set("opened", rows[0]);
  }
  turn(by) {
    const rows = this.listed ?? this.rows(), at = rows.indexOf(this.opened);
    this.set("opened", rows[(at + by + rows.length) % rows.length]);
    this.whisper(this.o.names[this.opened]);
  }

  draw(frame) {
    const { stage } = this;
    if (this.frame !== frame) {
      this.frame = frame;
      this.runs = (frame.runs ?? []).map((run) => ({ ...run, numbers: unpack(run.numbers ?? undefined), tables: unpack(run.tables ?? undefined) }));
    }
    this.chosen.of(this.n);
    this.showTools();
    this.showTable();
    this.showGallery();
    this.showWords();
    this.layout();
    const key = `${frame.number}|${this.opened}|${this.layers}|${this.opacity}|${this.only}|${this.cell}|${this.strategy}`;
    if (key !== this.pictureKey) { this.pictureKey = key; this.pictures.clear(); }
    const lettersKey = `${frame.number}|${this.opened}|${this.panels[0].scale}`;
    if (lettersKey !== this.lettersKey) { this.lettersKey = lettersKey; this.marks.clear(); }
    for (const panel of this.panels) this.paint(panel);
    this.tell();
  }

  showTools() {
    const { stage, o } = this, rows = this.rows();
    for (const box of this.boxes) box.firstChild.checked = this.has(box.layer);
    if (document.activeElement !== this.slide.children[1]) this.slide.write(this.opacity);
    if (this.who) this.who.value = String(this.strategy);
    this.which.value = this.among;
    const range = this.image.children[1];
    range.max = rows.length - 1;
    if (document.activeElement !== range || rows[+range.value] !== this.opened) this.image.write(Math.max(rows.indexOf(this.opened), 0));
    range.setAttribute("aria-valuetext", o.names[this.opened]);
    this.chips.forEach((chip, k) => { chip.setAttribute("aria-pressed", String(this.only < 0 || this.only === k)); chip.style.textDecoration = "none"; });
    const styles = ["dotted", "dashed", "sparsely dotted", "thin"], alone = this.only >= 0, key = this.has("outlines") ? `${alone}` : "";
    if (key !== this.sourcesKey) {
      this.sourcesKey = key;
      const mark = (ink) => (alone ? [make("span", { "aria-hidden": "true", style: { display: "inline-block", width: "14px", height: "3px", margin: "0 3px", verticalAlign: "middle", background: ink, border: "1px solid var(--clnb-line)" } })] : []);
      this.sources.replaceChildren(...(key ? [" outlines: ", ...mark("#fff"), "truth solid", ...o.runs.flatMap((_, r) => [", ", ...mark(INKS[r % INKS.length]), `${this.runName(r)} ${styles[Math.min(r, 3)]}`])] : []));
    }
  }

  table() {
    const run = this.runs[this.strategy], C = this.C, out = new Float64Array(C * C);
    if (run?.tables) for (const i of this.counted()) for (let k = 0; k < C * C; k++) out[k] += run.tables[i * C * C + k];
    return out;
  }

  showTable() {
    const { o, C } = this, key = `${this.frame.number}|${this.strategy}|${this.among}|${this.among === "image" ? this.opened : ""}|${this.chosen.version}|${this.cells}`;
    if (key !== this.tableKey) {
      this.tableKey = key;
      const held = this.side.contains(document.activeElement) ? document.activeElement.dataset.cell : null;
      this.counts = this.table();
      this.known = scoresOf(this.counts, C);
      const cellOf = (r, c) => {
        const n = this.counts[r * C + c], share = n / this.known.rows[r];
        const node = make("button", { type: "button", tabIndex: -1, "aria-label": `truth ${o.classes[r]}, predicted ${o.classes[c]}: ${thousands(n)} pixels, ${percentOf(n, this.known.rows[r])} of the class`,
          onclick: () => this.pickCell(r, c), style: { width: "100%", minWidth: "30px", padding: "2px 3px", border: "0", borderRadius: "0", fontVariantNumeric: "tabular-nums", color: "inherit", background: n ? `rgba(0,114,178,${(0.08 + 0.52 * share).toFixed(3)})` : "transparent" } },
          n ? (this.cells === CELLS[0] ? shareText(share) : n < 1e4 ? thousands(n) : `${short(+(n / 1000).toPrecision(3))}k`) : "·");
        node.title = `${thousands(n)} pixels, ${percentOf(n, this.known.rows[r])} of ${o.classes[r]}`;
        node.dataset.cell = `${r},${c}`;
        return make("td", { style: { padding: 0 } }, node);
      };
      const number = (v, title) => make("td", { title, style: { textAlign: "right", padding: "0 4px", fontVariantNumeric: "tabular-nums" } }, v);
      const line = (r) => {
        const { rows, columns, iou, f1 } = this.known, absent = !rows[r] && !columns[r], note = absent ? "absent" : rows[r] ? "" : "not in the truth";
        const head = make("th", { scope: "row", title: o.classes[r], style: { textAlign: "left", fontWeight: 400, whiteSpace: "nowrap", paddingRight: "4px" } }, this.swatch(r), ` ${o.classes[r].length > 16 ? `${o.classes[r].slice(0, 15)}…` : o.classes[r]}`, ...(note ? [make("i", { className: "clnb-note" }, ` ${note}`)] : []));
        return make("tr", {}, head, ...this.listedClasses.map((c) => cellOf(r, c)), number(absent ? "–" : fixed(iou[r]), "intersection over union"), number(absent ? "–" : fixed(f1[r]), "F1"));
      };
      this.listedClasses = this.classesShown();
      const count = this.counted().length, few = this.listedClasses.length < C ? `; ${this.listedClasses.length} largest of ${C} classes` : "", caption = `${this.runName(this.strategy)}, ${this.among === "image" ? o.names[this.opened] : `${thousands(count)} image${count === 1 ? "" : "s"}`}: ${thousands(this.known.all)} pixels${this.cells === CELLS[0] ? ", % of the true class" : ""}${few}`;
      const top = make("tr", {}, make("td", { className: "clnb-note", style: { fontSize: "10px" } }, "truth ↓ predicted →"), ...this.listedClasses.map((c) => make("th", { scope: "col", title: o.classes[c], "aria-label": o.classes[c] }, this.swatch(c))), ...["IoU", "F1"].map((word) => make("th", { scope: "col", style: { textAlign: "right", padding: "0 4px" } }, word)));
      this.side.replaceChildren(make("table", { style: { borderCollapse: "collapse", fontSize: "11px" } }, make("caption", { style: { textAlign: "left", fontWeight: 600, paddingBottom: "3px", overflowWrap: "anywhere" } }, caption), make("thead", {}, top), make("tbody", {}, ...this.listedClasses.map(line))));
      this.buttons = new Map([...this.side.querySelectorAll("button")].map((button) => [button.dataset.cell, button]));
      if (held) this.buttons.get(held)?.focus();
    }
    const cell = this.cell, now = this.cursorCell();
    if (!this.buttons.has(this.focusCell.join(","))) this.focusCell = [this.listedClasses[0], this.listedClasses[0]];
    for (const [place, button] of this.buttons) {
      const on = cell !== null && place === cell.join(","), here = place === now;
      button.setAttribute("aria-pressed", String(on));
      if (on) Object.assign(button.style, { color: "inherit", boxShadow: "inset 0 0 0 2px var(--clnb-warn)" });
      else button.style.boxShadow = here ? "inset 0 0 0 2px var(--clnb-ink)" : "";
      button.tabIndex = place === this.focusCell.join(",") ? 0 : -1;
    }
  }
  /** All classes; of many, those with most pixels. */
  classesShown() {
    const { C, known } = this, all = Array.from({ length: C }, (_, k) => k);
    if (C <= MANY) return all;
    return all.sort((a, b) => known.rows[b] + known.columns[b] - known.rows[a] - known.columns[a] || a - b).slice(0, MANY).sort((a, b) => a - b);
  }
  pickCell(r, c) {
    const same = this.cell?.[0] === r && this.cell?.[1] === c;
    this.focusCell = [r, c];
    this.set("cell", same ? [] : [r, c]);
    if (same) return;
    const best = this.sorted()[0];
    if (best !== undefined) this.set("opened", best);
  }
  inTable(event) {
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key], at = event.target.dataset?.cell;
    if (!move || !at) return;
    event.preventDefault();
    event.stopPropagation();
    const list = this.listedClasses;
    this.focusCell = at.split(",").map((v, k) => list[Math.min(Math.max(list.indexOf(+v) + move[k], 0), list.length - 1)]);
    for (const [place, button] of this.buttons) button.tabIndex = place === this.focusCell.join(",") ? 0 : -1;
    this.buttons.get(this.focusCell.join(","))?.focus();
  }

  /** The pixels of the lit cell in an image; without one, how many are wrong and how many are judged. */
  litIn(i) { const { cell, C } = this, tables = this.runs[this.strategy]?.tables; return tables && cell ? tables[i * C * C + cell[0] * C + cell[1]] : 0; }
  wrongIn(i) {
    const { C } = this, tables = this.runs[this.strategy]?.tables;
    let all = 0, right = 0;
    if (tables) for (let k = 0; k < C * C; k++) { const n = tables[i * C * C + k]; all += n; if (Math.floor(k / C) === k % C) right += n; }
    return [all - right, all];
  }
  sorted() {
    const rows = this.rows(), value = new Map(rows.map((i) => { const [wrong, all] = this.wrongIn(i); return [i, this.cell ? this.litIn(i) : all ? wrong / all : 0]; }));
    if (!this.cell && this.order === ORDERS[2]) return rows;
    const sign = !this.cell && this.order === ORDERS[1] ? -1 : 1;
    return rows.sort((a, b) => sign * (value.get(b) - value.get(a)) || a - b);
  }

  showGallery() {
    const { o } = this, key = `${this.frame.number}|${this.strategy}|${this.among}|${this.cell}|${this.layers}|${this.only}|${this.opacity}|${this.order}`;
    if (this.n < 2) { this.strip.hidden = true; this.listed = [0]; return; }
    if (key !== this.stripKey) {
      this.stripKey = key;
      const held = this.strip.contains(document.activeElement) ? document.activeElement.dataset.image : null, long = Math.max(this.w, this.h);
      this.listed = this.sorted();
      this.strip.replaceChildren(...this.listed.map((i) => {
        const canvas = this.picture(i, this.runs[this.strategy]?.numbers ? this.strategy : -2, true), [wrong, all] = this.wrongIn(i);
        Object.assign(canvas.style, { width: `${Math.round((72 * this.w) / long)}px`, height: `${Math.round((72 * this.h) / long)}px`, display: "block", imageRendering: "pixelated" });
        const said = this.cell ? `${thousands(this.litIn(i))} px` : all ? `${percentOf(wrong, all)} wrong` : "not judged";
        const button = make("button", { type: "button", "aria-label": `${o.names[i]}: ${said}`, onclick: (event) => this.takeImage(i, event), style: { padding: "2px", flex: "none", width: "80px", border: "2px solid transparent" } }, canvas,
          make("span", { style: { display: "block", fontSize: "10px", overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" } }, o.names[i]), make("span", { className: "clnb-note", style: { display: "block", fontSize: "10px" } }, said));
        button.dataset.image = i;
        return button;
      }));
      if (held !== null) this.strip.querySelector(`[data-image="${held}"]`)?.focus();
    }
    const mask = this.chosen.of(this.n);
    for (const button of this.strip.children) {
      const i = +button.dataset.image, open = i === this.opened;
      if (open) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
      button.style.borderColor = open ? "var(--clnb-focus)" : "transparent";
      button.style.background = mask[i] ? "color-mix(in srgb, #E69F00 45%, transparent)" : "";
      button.dataset.selected = Boolean(mask[i]);
    }
    if (this.shownKey !== `${key}|${this.opened}`) {
      this.shownKey = `${key}|${this.opened}`;
      const button = this.strip.querySelector("[aria-current]");
      if (button) this.strip.scrollLeft = Math.min(this.strip.scrollLeft, button.offsetLeft - this.strip.offsetLeft) + Math.max(0, button.offsetLeft - this.strip.offsetLeft + button.offsetWidth - this.strip.clientWidth - Math.min(this.strip.scrollLeft, button.offsetLeft - this.strip.offsetLeft));
    }
  }
  takeImage(i, event) {
    if (adds(event)) return pick(this.stage, [i], event);
    this.set("opened", i);
  }

  showWords() {
    const rows = this.counted(), { C } = this;
    const said = this.o.runs.map((_, r) => {
      const run = this.runs[r], name = this.o.runs.length > 1 || this.o.runs[r] ? `${this.runName(r)}: ` : "";
      if (!run?.tables) return `${name}nothing recorded yet`;
      const table = new Float64Array(C * C);
      for (const i of rows) for (let k = 0; k < C * C; k++) table[k] += run.tables[i * C * C + k];
      const known = scoresOf(table, C), late = run.at != null && this.frame.step != null && run.at !== this.frame.step ? `record of step ${thousands(run.at)} · ` : "";
      return known.all ? `${name}${late}OA ${fixed(known.accuracy)} · κ ${fixed(known.kappa)} · mean IoU ${fixed(known.mean)}` : `${name}no pixel to judge`;
    });
    if (said.join("\n") === this.wordsSaid) return;
    this.wordsSaid = said.join("\n");
    this.words.replaceChildren(...said.map((text) => make("li", { style: { fontVariantNumeric: "tabular-nums", overflowWrap: "anywhere" } }, text)));
  }

  /** An image with what is drawn on it: run −1 the picture, −2 the truth, r ≥ 0 a prediction. */
  picture(i, r, small = false) {
    const { w, h, size, channels, images, truth, inks, only, opacity, cell } = this, from = i * size, image = new ImageData(w, h), { data } = image;
    const own = r === -2 ? truth : r >= 0 ? this.runs[r]?.numbers : null, judged = this.runs[this.strategy]?.numbers, errors = r >= 0 && this.has("errors"), base = this.has("picture");
    const filled = own && (r === -2 ? this.has("truth") : this.has("prediction") || errors), green = channels === 1 ? 0 : size, blue = 2 * green;
    for (let p = 0, at = i * channels * size; p < size; p++, at++) {
      let red = base ? images[at] : 128, g = base ? images[at + green] : 128, b = base ? images[at + blue] : 128;
      const t = truth[from + p], k = own ? own[from + p] : OUT, alone = only < 0 || k === only || (errors && t === only);
      if (filled && t !== OUT && k !== OUT && alone && (!errors || k !== t)) {
        const ink = inks[k];
        red += opacity * (ink[0] - red); g += opacity * (ink[1] - g); b += opacity * (ink[2] - b);
      } else if (errors) red = g = b = 0.15 * (red + g + b);
      if (cell) {
        const lit = t === cell[0] && judged?.[from + p] === cell[1];
        if (!lit) red = g = b = (red + g + b) / 9;
        else if (!own || small) red = g = b = 255;
      }
      data[4 * p] = Math.round(red); data[4 * p + 1] = Math.round(g); data[4 * p + 2] = Math.round(b); data[4 * p + 3] = 255;
    }
    const canvas = make("canvas", { width: w, height: h });
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  /** Panels beside each other, as large as the height allows. */
  layout() {
    const { stage, w, h, o } = this, kinds = [-1, -2, ...o.runs.map((_, r) => r)], room = o.height ?? 640, gap = 8, title = 17;
    let best = null;
    for (let across = 1; across <= kinds.length; across++) {
      const down = Math.ceil(kinds.length / across), wide = (stage.width - (across - 1) * gap - 2) / across, high = (room - down * title - (down - 1) * gap) / down;
      let scale = Math.min(wide / w, Math.max(high, 60) / h, 8);
      if (scale > 2) scale = Math.floor(scale * 2) / 2;
      if (!best || scale > best.scale - 1e-9) best = { across, down, scale };
    }
    const { across, down, scale } = best, tall = Math.round(h * scale), wide = Math.round(w * scale), height = `${down * (tall + title + gap)}px`;
    if (stage.canvas.style.height !== height) { stage.canvas.style.height = height; stage.fit(); }
    this.panels = kinds.map((r, k) => ({ r, scale, x: 1 + (k % across) * (wide + gap), y: title + Math.floor(k / across) * (tall + title + gap), w: wide, h: tall }));
  }

  paint(panel) {
    const { stage, opened } = this, { ctx } = stage, { r, x, y, w, h } = panel, own = r === -2 ? this.truth : r >= 0 ? this.runs[r]?.numbers : null;
    ctx.textAlign = "left"; ctx.textBaseline = "alphabetic"; ctx.fillStyle = stage.ink; ctx.font = `${r === this.strategy && this.o.runs.length > 1 ? "600 " : ""}11px system-ui, sans-serif`;
    const [wrong, all] = r >= 0 ? this.wrongOf(r) : [0, 0];
    const words = r === -1 ? this.o.names[opened] : r === -2 ? "truth" : `${this.runName(r)}${all ? `, ${percentOf(wrong, all)} wrong` : ""}`;
    ctx.fillText(cut(ctx, words, w), x, y - 4);
    if (r >= 0 && !own) { ctx.strokeStyle = stage.faint; ctx.strokeRect(x, y, w, h); ctx.fillStyle = stage.faint; ctx.fillText(cut(ctx, "nothing recorded yet", w - 8), x + 6, y + h / 2); return; }
    if (!this.pictures.has(r)) this.pictures.set(r, this.picture(opened, r));
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(this.pictures.get(r), x, y, w, h);
    ctx.save();
    ctx.beginPath(); ctx.rect(x, y, w, h); ctx.clip();
    if (this.has("outlines")) {
      this.outline(panel, this.truth, null);
      if (r >= 0) this.outline(panel, own, r);
      else if (r === -1) for (const [k, run] of this.runs.entries()) if (run.numbers) this.outline(panel, run.numbers, k);
    }
    const filled = r === -2 ? this.has("truth") : r >= 0 && this.has("prediction") && !this.has("errors");
    if (this.has("letters") && filled && !this.cell) this.letters(panel, own);
    if (this.cursor) {
      const at = [x + this.cursor.x * panel.scale, y + this.cursor.y * panel.scale, Math.max(panel.scale, 3), Math.max(panel.scale, 3)];
      ctx.lineWidth = 3; ctx.strokeStyle = "#fff"; ctx.strokeRect(at[0] - 1.5, at[1] - 1.5, at[2] + 3, at[3] + 3);
      ctx.lineWidth = 1.5; ctx.strokeStyle = "#000"; ctx.strokeRect(at[0] - 1.5, at[1] - 1.5, at[2] + 3, at[3] + 3);
    }
    ctx.restore();
  }
  wrongOf(r) { const now = this.runs[r]?.tables, C = this.C, i = this.opened; let all = 0, right = 0; if (now) for (let k = 0; k < C * C; k++) { const n = now[i * C * C + k]; all += n; if (Math.floor(k / C) === k % C) right += n; } return [all - right, all]; }

  /** Borders between classes: each side in its class's colour; of one class alone, in a colour of the source. */
  outline({ x, y, scale }, numbers, r) {
    const { inks } = this, { ctx } = this.stage, key = `${this.opened}|${this.frame.number}|${this.only}|${scale}`;
    if (key !== this.linesKey) { this.linesKey = key; this.lines = new Map(); }
    if (!this.lines.has(r)) this.lines.set(r, this.bordersOf(numbers, r, scale));
    ctx.save();
    ctx.translate(x, y);
    for (const [k, lines] of this.lines.get(r)) {
      if (r === null) { ctx.strokeStyle = "rgba(0,0,0,0.55)"; ctx.lineWidth = 3.5; ctx.stroke(lines); }
      ctx.strokeStyle = k === "own" ? (r === null ? "#fff" : INKS[r % INKS.length]) : `rgb(${inks[k].join(",")})`;
      ctx.lineWidth = r === null ? 2 : 1.6;
      ctx.stroke(lines);
    }
    ctx.restore();
  }
  /** The lines by class, or all of them under "own" when one class is shown alone. */
  bordersOf(numbers, r, scale) {
    const { w, h, only } = this, inset = scale >= 3 ? 1 : 0.4, shown = r === null ? () => true : DASHES[Math.min(r, 3)], paths = new Map();
    const path = (k) => { if (!paths.has(k)) paths.set(k, new Path2D()); return paths.get(k); };
    const side = (a, b, i, j, across) => {
      if (a === b || !shown(i + j)) return;
      const at = (across ? j + 1 : i + 1) * scale, begin = (across ? i : j) * scale, end = begin + scale;
      const draw = (k, d) => { const p = path(k); if (across) { p.moveTo(at + d, begin); p.lineTo(at + d, end); } else { p.moveTo(begin, at + d); p.lineTo(end, at + d); } };
      if (only >= 0) { if (a === only || b === only) draw("own", 0); return; }
      if (a !== OUT) draw(a, -inset);
      if (b !== OUT) draw(b, inset);
    };
    for (let i = 0, p = this.opened * this.size; i < h; i++) for (let j = 0; j < w; j++, p++) {
      if (j < w - 1) side(numbers[p], numbers[p + 1], i, j, true);
      if (i < h - 1) side(numbers[p], numbers[p + w], i, j, false);
    }
    return paths;
  }

  letters(panel, numbers) {
    const { stage, w, h, opened, size } = this, { ctx } = stage, { r, x, y, scale } = panel;
    if (!this.marks.has(r)) this.marks.set(r, lettersFor(numbers.subarray(opened * size, (opened + 1) * size), w, h, Math.max(2, 7 / scale), 22 / scale));
    ctx.font = "700 10px system-ui, sans-serif"; ctx.textAlign = "center"; ctx.textBaseline = "middle"; ctx.lineJoin = "round";
    for (const [p, k] of this.marks.get(r)) {
      if (this.truth[opened * size + p] === OUT || (this.only >= 0 && k !== this.only)) continue;
      const at = [x + ((p % w) + 0.5) * scale, y + (Math.floor(p / w) + 0.5) * scale], light = dark(this.inks[k]);
      ctx.lineWidth = 2.5; ctx.strokeStyle = light ? "rgba(0,0,0,0.7)" : "rgba(255,255,255,0.75)"; ctx.strokeText(this.o.letters[k], ...at);
      ctx.fillStyle = light ? "#fff" : "#000"; ctx.fillText(this.o.letters[k], ...at);
    }
  }

  under([x, y]) {
    const panel = this.panels.find((one) => x >= one.x && x < one.x + one.w && y >= one.y && y < one.y + one.h);
    return panel && { x: Math.min(Math.floor((x - panel.x) / panel.scale), this.w - 1), y: Math.min(Math.floor((y - panel.y) / panel.scale), this.h - 1), r: panel.r };
  }
  /** True class of a pixel of the opened image, and what every strategy says. */
  at({ x, y }) {
    const p = this.opened * this.size + y * this.w + x;
    return { truth: this.truth[p], said: this.runs.map((run) => run.numbers?.[p] ?? null) };
  }
  cursorCell() {
    if (!this.cursor) return "";
    const { truth, said } = this.at(this.cursor), own = said[this.strategy];
    return truth === OUT || own == null ? "" : `${truth},${own}`;
  }
  /** The cell of a pixel, of the strategy of its panel. */
  light(at) {
    const r = at.r >= 0 && this.runs[at.r]?.numbers ? at.r : this.strategy, { truth, said } = this.at(at);
    if (truth === OUT || said[r] == null) return;
    if (r !== this.strategy) this.set("strategy", r);
    const same = this.cell?.[0] === truth && this.cell?.[1] === said[r];
    this.focusCell = [truth, said[r]];
    this.set("cell", same ? [] : this.focusCell);        // the image stays: it is the one that is looked at
  }
  hover(event) {
    const { stage } = this, at = this.under(stage.at(event));
    stage.canvas.style.cursor = at ? "crosshair" : "default";
    if (!at) return this.leave();
    this.byMouse = true;
    if (!this.cursor || at.x !== this.cursor.x || at.y !== this.cursor.y || at.r !== this.cursor.r) { this.cursor = at; stage.redraw(); }
    const { truth, said } = this.at(at), line = (word, k) => make("div", { className: "clnb-row" }, ...(k === OUT ? [] : [this.swatch(k)]), `${word}: ${k === OUT ? "not judged" : this.o.classes[k]}`);
    const scale = this.o.every, where = scale > 1 ? `about pixel (${at.x * scale}, ${at.y * scale})` : `pixel (${at.x}, ${at.y})`;
    stage.showTip(event, make("b", {}, `${this.o.names[this.opened]}, ${where}`), line("truth", truth), ...said.map((k, r) => (k == null ? `${this.runName(r)}: nothing recorded yet` : line(`${this.runName(r)}${truth !== OUT && k !== truth ? " ✗" : ""}`, k))));
  }
  leave() {
    this.stage.showTip();
    if (this.cursor && this.byMouse) { this.cursor = null; this.stage.redraw(); }
  }
  walk(dx, dy) {
    const { w, h } = this, now = this.cursor ?? { x: Math.floor(w / 2) - dx, y: Math.floor(h / 2) - dy, r: this.strategy };
    this.byMouse = false;
    this.cursor = { ...now, x: Math.min(Math.max(now.x + dx, 0), w - 1), y: Math.min(Math.max(now.y + dy, 0), h - 1) };
    this.stage.redraw();        // says where it is, too
  }

  tell() {
    const { stage, o, cell } = this, { C } = this, n = cell ? this.counts[cell[0] * C + cell[1]] : 0;
    const lit = cell ? `lit: truth ${o.classes[cell[0]]}, predicted ${o.classes[cell[1]]} by ${this.runName(this.strategy)}: ${thousands(n)} pixels, ${percentOf(n, this.known.rows[cell[0]])} of the class, ${thousands(this.litIn(this.opened))} in ${o.names[this.opened]}` : "";
    const words = [lit, this.cursor && !this.byMouse ? this.nameAt() : ""].filter((text) => text).join(" · ");
    if (this.said.textContent !== words) this.said.textContent = words;
    stage.canvas.setAttribute("aria-label", `${o.title}: ${o.names[this.opened]}; layers ${this.layers.join(", ") || "none"}. ${this.wordsSaid.replaceAll("\n", "; ")}`);
    Object.assign(stage.root.dataset, { opened: this.opened, strategy: this.strategy, layers: this.layers.join(" "), cell: cell ? cell.join(",") : "", only: this.only, among: this.among, listed: (this.listed ?? []).join(" "),
      lit: n, cursor: this.cursor ? `${this.cursor.x},${this.cursor.y}` : "", step: this.frame.step ?? "", selected: this.chosen.count });
    stage.canvas.dataset.panels = JSON.stringify(this.panels);
  }
  nameAt() {
    const { truth, said } = this.at(this.cursor);
    return `pixel (${this.cursor.x}, ${this.cursor.y}): truth ${this.nameOf(truth)}${said.map((k, r) => (k == null ? "" : ` · ${this.runName(r)} ${this.nameOf(k)}`)).join("")}`;
  }
}

export default {
  render({ model, el }) {
    const { title = "Segmentation", height = 640 } = model.get("options") ?? {};
    const stage = new Stage({ model, el }, { title, height,
      help: "click a cell or a pixel: light up such pixels · arrows: go through the pixels · n, b: next image, back · i t p e o l: layers · s: next strategy · Esc: clear" });
    const view = new SegmentationView(stage);
    return stage.start((frame) => view.draw(frame));
  },
};
