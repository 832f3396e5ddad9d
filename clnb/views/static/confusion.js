// Confusion: true against predicted classes; cells, rows, columns and the list of mistakes select their rows.

const BLUE = "#0072B2", RED = "#D55E00", ORANGE = "#E69F00";

class Matrix {
  constructor(stage) {
    const { options } = stage;
    Object.assign(this, { stage, names: options.classes.names, labels: numbersOf(options.labels), shade: "share of the class",
      chosen: new Chosen(stage), cursor: null, count: 0, whisper: whisper(stage) });
    const button = (text, title, test) => make("button", { type: "button", title,
      onclick: (event) => this.predicted && pick(stage, rowsWhere(this.labels.length, test), event) }, text);
    const both = (i) => this.labels[i] >= 0 && this.predicted[i] >= 0;
    stage.tools.append(dropdown("shade", ["share of the class", "count"], this.shade, (shade) => { this.shade = shade; this.list(); stage.redraw(); }),
      button("all mistakes", "select every row that is predicted wrongly", (i) => both(i) && this.labels[i] !== this.predicted[i]),
      button("all correct", "select every row that is predicted rightly", (i) => both(i) && this.labels[i] === this.predicted[i]));
    this.pairs = make("div", { className: "clnb-list", role: "group", "aria-label": "largest confusions", style: { maxHeight: `${options.height}px`, flex: "1 1 190px", maxWidth: "340px" } });
    stage.body.append(this.pairs);
    stage.canvas.style.maxWidth = `${options.height + 110}px`;
    const { canvas } = stage;
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => stage.showTip());
    canvas.addEventListener("click", (event) => this.take(this.under(stage.at(event)), event));
    const go = (r, c) => () => this.go(r, c), enter = (event) => this.take(this.cursor, event);
    stage.keys = { ArrowUp: go(-1, 0), ArrowDown: go(1, 0), ArrowLeft: go(0, -1), ArrowRight: go(0, 1), Enter: enter };
  }

  name(k) { return this.names[k] ?? String(k); }

  /** One pass over the rows: counts, and the sum of the confidences in every cell. */
  read(frame) {
    this.number = frame.number;
    this.predicted = numbersOf(frame.predictions);
    const C = (this.count = frame.count), { labels, predicted } = this, sure = unpack(frame.confidence ?? undefined);
    this.counts = new Uint32Array(C * C);
    this.confidence = sure && new Float64Array(C * C);
    this.known = sure && new Uint32Array(C * C);
    this.said = new Uint32Array(C);
    for (let i = 0; i < labels.length; i++) {
      if (predicted[i] >= 0) this.said[predicted[i]]++;
      if (labels[i] < 0 || predicted[i] < 0) continue;
      const cell = labels[i] * C + predicted[i];
      this.counts[cell]++;
      if (sure && sure[i] === sure[i]) { this.confidence[cell] += sure[i]; this.known[cell]++; }
    }
    this.there = new Uint32Array(C);
    this.called = new Uint32Array(C);
    this.filled = rowsWhere(C * C, (cell) => this.counts[cell]);
    this.largest = 1;
    for (const cell of this.filled) {
      const n = this.counts[cell];
      this.there[Math.floor(cell / C)] += n;
      this.called[cell % C] += n;
      this.largest = Math.max(this.largest, n);
    }
    this.drawnFor = -1;
    this.list();
  }

  /** How many rows of every cell are selected. */
  mark() {
    const C = this.count, { labels, predicted, chosen } = this, mask = chosen.of(labels.length);
    if (this.drawnFor === chosen.version) return;
    this.drawnFor = chosen.version;
    this.inside = new Uint32Array(C * C);
    this.right = this.judged = 0;
    for (let i = 0; i < labels.length; i++) {
      if (!mask[i] || labels[i] < 0 || predicted[i] < 0) continue;
      this.inside[labels[i] * C + predicted[i]]++;
      this.judged++;
      if (labels[i] === predicted[i]) this.right++;
    }
  }

  /** The largest confusions as buttons: the way to them where cells are small, and for the keyboard. */
  list() {
    if (!this.counts) return;
    const C = this.count, part = (cell) => (this.shade === "count" ? this.counts[cell] : this.counts[cell] / this.there[Math.floor(cell / C)]);
    const worst = this.filled.filter((cell) => Math.floor(cell / C) !== cell % C).sort((a, b) => part(b) - part(a) || a - b).slice(0, 12);
    this.pairs.replaceChildren(make("div", { className: "clnb-help" }, worst.length ? "largest confusions, true → predicted" : "no confusions"),
      ...worst.map((cell) => {
        const [r, c] = [Math.floor(cell / C), cell % C], text = `${this.name(r)} → ${this.name(c)}`;
        const row = make("button", { type: "button", title: text, style: { display: "flex", width: "100%", gap: "6px", border: "0", textAlign: "left", padding: "1px 2px" },
          onclick: (event) => this.take({ r, c }, event) },
          make("span", { style: { flex: 1, overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" } }, text),
          make("span", {}, `${thousands(this.counts[cell])} · ${percentOf(this.counts[cell], this.there[r])}`));
        row.dataset.cell = `${r},${c}`;
        return row;
      }));
  }

  place() {
    const { stage, count: C } = this, { ctx, width, height } = stage;
    const longest = Math.max(8, ...Array.from({ length: Math.min(C, 200) }, (_, k) => ctx.measureText(this.name(k)).width));
    const name = Math.min(Math.max(40, Math.min(width, height) / 5), Math.ceil(longest) + 6), room = (n) => Math.max(1, Math.min((width - n - 74) / C, (height - n - 58) / C, 80));
    this.named = room(name) >= 10;
    this.edge = (this.named ? name : 4) + 14;                    // room for names and for the title of the axis
    this.cell = Math.max(1, Math.min((width - this.edge - 62) / C, (height - this.edge - 44) / C, 80));
  }

  draw(frame) {
    const { stage } = this;
    if (!frame.predictions) { stage.root.dataset.cells = 0; return stage.say(frame.note ?? ""); }
    if (frame.number !== this.number) this.read(frame);
    this.mark();
    this.place();
    this.cells();
    this.rings();
    this.margins();
    const { count, inside } = { count: this.chosen.count, inside: this.judged };
    if (count) stage.note.textContent += ` · ${thousands(count)} selected${inside ? `, ${percentOf(this.right, inside)} of them correct` : ""}`;
    Object.assign(stage.root.dataset, { cells: this.filled.length, selected: count, correct: this.right, edge: this.edge, side: this.cell });
  }

  cells() {
    const { stage: { ctx, ink }, count: C, cell, edge, counts, shade } = this, gap = cell > 4 ? 1 : 0;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    for (const at of this.filled) {
      const r = Math.floor(at / C), c = at % C, n = counts[at], part = shade === "count" ? n / this.largest : n / this.there[r];
      const x = edge + c * cell, y = edge + r * cell;
      ctx.globalAlpha = 0.06 + 0.94 * Math.sqrt(part);
      ctx.fillStyle = r === c ? BLUE : RED;
      ctx.fillRect(x, y, cell - gap, cell - gap);
      ctx.globalAlpha = 1;
      if (cell < 18) continue;
      ctx.fillStyle = part > 0.3 ? "#fff" : ink;
      const text = n < 1e4 ? String(n) : `${Math.round(n / 1000)}k`;
      if (ctx.measureText(text).width < cell - 2) ctx.fillText(text, x + cell / 2, y + cell / 2);
    }
    ctx.strokeStyle = this.stage.faint;
    ctx.lineWidth = 1;
    ctx.strokeRect(edge - 0.5, edge - 0.5, C * cell + 1, C * cell + 1);
  }

  /** The selected part of a cell: as much of its outline; a dot where cells are tiny. */
  rings() {
    const { stage: { ctx }, count: C, cell, edge, counts, inside } = this;
    ctx.strokeStyle = ctx.fillStyle = ORANGE;
    for (const at of this.filled) {
      if (!inside[at]) continue;
      const r = Math.floor(at / C), c = at % C, x = edge + c * cell, y = edge + r * cell, wide = Math.max(1.5, Math.min(3, cell / 9));
      if (cell < 8) { ctx.fillRect(x, y, Math.max(cell - 1, 1), Math.max(cell - 1, 1)); continue; }
      const side = cell - 1 - wide;
      ctx.lineWidth = wide;
      ctx.setLineDash([Math.max((4 * side * inside[at]) / counts[at], 3), 1e4]);
      ctx.strokeRect(x + wide / 2, y + wide / 2, side, side);
      ctx.setLineDash([]);
      if (cell < 34 || inside[at] === counts[at]) continue;
      ctx.font = "600 9px system-ui, sans-serif";
      ctx.textAlign = "right";
      ctx.fillText(thousands(inside[at]), x + cell - 5, y + cell - 8);
      ctx.font = "11px system-ui, sans-serif";
    }
    const { cursor } = this;
    if (!cursor) return;
    ctx.strokeStyle = this.stage.ink;
    ctx.lineWidth = 2;
    const [x, w] = cursor.c < 0 ? [0, edge - 2] : [edge + cursor.c * cell, cell], [y, h] = cursor.r < 0 ? [0, edge - 2] : [edge + cursor.r * cell, cell];
    ctx.strokeRect(x, y, Math.max(w, 3), Math.max(h, 3));
  }

  /** Names and axis titles, recall to the right, precision below. */
  margins() {
    const { stage: { ctx, ink, faint }, count: C, cell, edge } = this, end = edge + C * cell, middle = (edge + end) / 2, every = cell >= 10;
    ctx.fillStyle = faint;
    ctx.textAlign = "center";
    ctx.textBaseline = "middle";
    ctx.fillText("predicted", middle, 7);
    ctx.fillText("recall", end + 28, edge - 7);
    ctx.save(); ctx.translate(7, middle); ctx.rotate(-Math.PI / 2); ctx.fillText("true", 0, 0); ctx.restore();
    ctx.fillText("precision", end + 30, end + 14);
    for (let k = 0; k < C; k++) {
      const at = edge + (k + 0.5) * cell, right = this.counts[k * C + k], recall = right / this.there[k], precision = right / this.called[k];
      ctx.globalAlpha = 0.35;
      ctx.fillStyle = BLUE;
      if (this.there[k]) ctx.fillRect(end + 4, at - cell / 2, 46 * recall, Math.max(cell - 1, 1));
      if (this.called[k]) ctx.fillRect(at - cell / 2, end + 4, Math.max(cell - 1, 1), 32 * precision);
      ctx.globalAlpha = 1;
      if (!every) continue;
      ctx.fillStyle = ink;
      ctx.textAlign = "left";
      ctx.fillText(this.there[k] ? percentOf(right, this.there[k]) : "–", end + 7, at);
      ctx.textAlign = "center";
      if (cell >= 24) ctx.fillText(this.called[k] ? String(Math.round(100 * precision)) : "–", at, end + 14);
      if (!this.named) continue;
      ctx.textAlign = "right";
      ctx.fillText(cut(ctx, this.name(k), edge - 18), edge - 4, at);
      const name = cut(ctx, this.name(k), edge - 18), flat = ctx.measureText(name).width < cell - 2;
      ctx.save();
      ctx.translate(at, edge - (flat ? 8 : 4));
      if (!flat) ctx.rotate(-Math.PI / 2);
      ctx.textAlign = flat ? "center" : "left";
      ctx.fillText(name, 0, 0);
      ctx.restore();
    }
  }

  /** The cell at a place of the canvas; −1 for the names of rows (c) or columns (r). */
  under([x, y]) {
    const C = this.count, c = Math.floor((x - this.edge) / this.cell), r = Math.floor((y - this.edge) / this.cell);
    if (!C || !(c < C + 60 / this.cell) || !(r < C + 40 / this.cell) || (c < 0 && r < 0)) return null;
    if (c >= C && (r < 0 || r >= C)) return null;
    if (c >= C) return { r, c: -1 };                     // the margin of a row belongs to its name
    if (r >= C) return c < 0 ? null : { r: -1, c };
    return { r: Math.max(r, -1), c: Math.max(c, -1) };
  }

  take(cell, event) {
    if (!cell || !this.predicted) return;
    const { labels, predicted } = this, { r, c } = cell;
    pick(this.stage, rowsWhere(labels.length, (i) => (r < 0 || labels[i] === r) && (c < 0 || predicted[i] === c)), event);
    this.whisper(`${this.stage.selection.length} rows selected`);
  }

  words({ r, c }) {
    const C = this.count, { counts, inside, there, called, said } = this;
    if (r < 0) return [`predicted: ${this.name(c)}`, `${thousands(said[c])} rows`, `precision ${percentOf(counts[c * C + c], called[c])}`];
    if (c < 0) return [`true: ${this.name(r)}`, `${thousands(there[r])} rows`, `recall ${percentOf(counts[r * C + r], there[r])}`];
    const at = r * C + c, n = counts[at];
    return [`true: ${this.name(r)}`, `predicted: ${this.name(c)}`, `${thousands(n)} rows: ${percentOf(n, there[r])} of the class, ${percentOf(n, called[c])} of the column`,
      ...(inside[at] ? [`${thousands(inside[at])} selected`] : []),
      ...(this.confidence && this.known[at] ? [`mean confidence ${(this.confidence[at] / this.known[at]).toFixed(2)}`] : [])];
  }

  tell(cell, spot) {
    if (!cell) return this.stage.showTip();
    const [first, ...rest] = this.words(cell);
    this.stage.showTip(spot, make("b", {}, first), ...rest);
    Object.assign(this.stage.tip.dataset, { r: cell.r, c: cell.c });
  }

  hover(event) {
    const cell = this.count ? this.under(this.stage.at(event)) : null;
    this.stage.canvas.style.cursor = cell ? "pointer" : "";
    this.tell(cell, event);
  }

  go(down, right) {
    if (!this.count) return;
    const clip = (v) => Math.max(-1, Math.min(this.count - 1, v)), was = this.cursor ?? { r: 0, c: right || down ? -right : 0 };
    const now = this.cursor ? { r: clip(was.r + down), c: clip(was.c + right) } : { r: 0, c: 0 };
    if (now.r < 0 && now.c < 0) return;
    this.cursor = now;
    const box = this.stage.canvas.getBoundingClientRect();
    this.tell(now, { clientX: box.left + this.edge + (now.c + 1) * this.cell, clientY: box.top + this.edge + (now.r + 1) * this.cell });
    this.whisper(this.words(now).join(", "));
    this.stage.redraw();
  }
}

function render({ model, el }) {
  const { title, height } = model.get("options");
  const stage = new Stage({ model, el }, { title, height, help: "click: select a cell, a class (left) or what is called so (above) · " +
    "Ctrl: add · arrows, Enter: the same by keyboard · orange: the selected part · Escape: none" });
  const matrix = new Matrix(stage);
  return stage.start((frame) => matrix.draw(frame));
}

export default { render };
