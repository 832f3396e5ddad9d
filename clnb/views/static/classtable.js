// ClassTable: one line a class, sorted by any column; a line selects its class.

class Lines {
  constructor(stage) {
    const { options } = stage;
    Object.assign(this, { stage, names: options.classes.names, colours: options.classes.colours, labels: numbersOf(options.labels),
      chosen: new Chosen(stage), most: 100, sortBy: "class", down: false, at: -1, part: false, whisper: whisper(stage) });
    this.C = this.names.length;
    this.columns = options.columns.map((c) => ({ ...c, values: unpack(c.values) }));
    this.total = this.count(() => true);
    this.head = make("tr");
    this.lines = make("tbody");
    this.table = make("table", { "aria-label": options.title, style: { borderCollapse: "collapse", width: "100%", fontVariantNumeric: "tabular-nums" } },
      make("thead", { style: { position: "sticky", top: "0", background: "var(--clnb-paper)" } }, this.head), this.lines);
    this.more = make("button", { type: "button", onclick: () => { this.most += 500; this.fill(); } });
    this.box = make("div", { style: { flex: "1 1 100%", maxHeight: `${options.height}px`, overflow: "auto" } }, this.table, this.more);
    stage.canvas.remove();
    stage.body.append(this.box);
    this.onlyPart = checkbox("of the selected rows", false, (on) => { this.part = on; this.read(); });
    this.onlyPart.title = "accuracy and means of the selected rows instead of all";
    if (this.columns.length || options.accuracy) stage.tools.append(this.onlyPart);
    const go = (by) => () => this.go(by);
    stage.keys = { ArrowDown: go(1), ArrowUp: go(-1), PageDown: go(10), PageUp: go(-10), Home: go(-1e9), End: go(1e9),
      Enter: (event) => this.at >= 0 && this.take(this.at, event) };
  }

  /** Rows of every class that `test` accepts; the last entry counts the unlabelled. */
  count(test) {
    const out = new Uint32Array(this.C + 1), { labels, C } = this;
    for (let i = 0; i < labels.length; i++) if (test(i)) out[labels[i] < 0 ? C : labels[i]]++;
    return out;
  }

  /** Mean of a column of numbers in every class; NaN where there is nothing. */
  means(values, use) {
    const { labels, C } = this, sum = new Float64Array(C + 1), n = new Uint32Array(C + 1);
    for (let i = 0; i < labels.length; i++) {
      if (!use(i) || !Number.isFinite(values[i])) continue;
      const k = labels[i] < 0 ? C : labels[i];
      sum[k] += values[i];
      n[k]++;
    }
    return sum.map((s, k) => (n[k] ? s / n[k] : NaN));
  }

  /** The commonest category of a column in every class, and its share. */
  commonest({ values, names }, use) {
    const { labels, C } = this, K = names.length, n = new Uint32Array((C + 1) * K), out = { best: new Int32Array(C + 1).fill(-1), share: new Float64Array(C + 1).fill(NaN) };
    for (let i = 0; i < labels.length; i++) if (use(i) && values[i] >= 0) n[(labels[i] < 0 ? C : labels[i]) * K + values[i]]++;
    for (let k = 0; k <= C; k++) {
      let all = 0, most = 0;
      for (let v = 0; v < K; v++) { const c = n[k * K + v]; all += c; if (c > most) { most = c; out.best[k] = v; } }
      if (all) out.share[k] = most / all;
    }
    return out;
  }

  draw(frame) {
    const before = this.chosen.version;
    this.chosen.of(this.labels.length);
    if (frame.number !== this.number) { this.number = frame.number; this.right = unpack(frame.right ?? undefined); this.read(); }
    else if (this.chosen.version !== before) this.read();
    if (this.chosen.count) this.stage.note.textContent += ` · ${thousands(this.chosen.count)} selected`;
  }

  /** Every column of the table: what a class has there as a number to sort by, and as text. */
  read() {
    const { mask, count } = this.chosen, use = this.part && count ? (i) => mask[i] : () => true, { C } = this;
    this.selected = this.count((i) => mask[i]);
    const show = (v) => (Number.isFinite(v) ? short(v) : "–");
    this.fields = [
      { name: "class", value: (k) => k, text: (k) => (k === C ? "unlabelled" : this.names[k]), start: 1 },
      { name: "rows", value: (k) => this.total[k], text: (k) => thousands(this.total[k]) },
      { name: "selected", value: (k) => this.selected[k], text: (k) => (this.selected[k] ? thousands(this.selected[k]) : "") }];
    if (this.stage.options.accuracy) {
      const right = this.right, share = right ? this.means(right, (i) => use(i) && right[i] < 2) : new Float64Array(C + 1).fill(NaN);
      this.fields.push({ name: "accuracy", value: (k) => share[k], text: (k) => (Number.isFinite(share[k]) ? `${(100 * share[k]).toFixed(1)} %` : "–"), bar: (k) => share[k] });
    }
    for (const column of this.columns) {
      if (column.kind === "number") {
        const mean = this.means(column.values, use);
        this.fields.push({ name: column.name, title: `mean ${column.name}`, value: (k) => mean[k], text: (k) => show(mean[k]) });
      } else {
        const { best, share } = this.commonest(column, use);
        this.fields.push({ name: column.name, title: `commonest ${column.name} and its share`, value: (k) => share[k],
          text: (k) => (best[k] < 0 ? "–" : `${column.names[best[k]]} (${Math.round(100 * share[k])} %)`) });
      }
    }
    this.arrange();
  }

  arrange() {
    const field = this.fields.find((f) => f.name === this.sortBy) ?? this.fields[0], sign = this.down ? -1 : 1;
    const key = field.name === "class" ? (k) => k : field.value;
    this.order = Array.from({ length: this.C }, (_, k) => k).sort((a, b) => {
      const x = key(a), y = key(b);
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a - b;
      return sign * (x - y) || a - b;
    });
    if (this.total[this.C]) this.order.push(this.C);
    this.heads();
    this.fill();
  }

  heads() {
    const held = this.head.contains(document.activeElement) && document.activeElement.dataset.name;
    this.head.replaceChildren(...this.fields.map((field, j) => {
      const on = field.name === this.sortBy, arrow = on ? (this.down ? " ↓" : " ↑") : "";
      const button = make("button", { type: "button", title: `sort by ${field.title ?? field.name}`, style: { border: "0", fontWeight: "600", padding: "1px 2px" },
        onclick: () => { this.down = on ? !this.down : Boolean(j); this.sortBy = field.name; this.arrange(); } }, field.name + arrow);
      button.dataset.name = field.name;
      return make("th", { scope: "col", "aria-sort": on ? (this.down ? "descending" : "ascending") : "none",
        style: { textAlign: j ? "right" : "left", padding: "1px 6px" } }, button);
    }));
    if (held !== false && held !== undefined) [...this.head.querySelectorAll("button")].find((b) => b.dataset.name === held)?.focus();
  }

  fill() {
    const shown = this.order.slice(0, this.most), top = this.box.scrollTop;
    this.lines.replaceChildren(...shown.map((k) => this.line(k)));
    this.box.scrollTop = top;
    this.more.hidden = shown.length >= this.order.length;
    this.more.textContent = `${thousands(this.order.length - shown.length)} more classes`;
    Object.assign(this.stage.root.dataset, { lines: shown.length, selected: this.chosen.count });
  }

  line(k) {
    const part = this.total[k] ? this.selected[k] / this.total[k] : 0, fill = (share, ink) => `linear-gradient(to right, ${ink} ${100 * share}%, transparent ${100 * share}%)`;
    const cells = this.fields.map((field, j) => {
      const cell = make("td", { style: { textAlign: j ? "right" : "left", padding: "1px 6px", maxWidth: "16em", overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" } }, field.text(k));
      if (!j) cell.prepend(make("span", { className: "clnb-dot", style: { display: "inline-block", marginRight: "6px", background: k < this.C ? this.colours[k] : "transparent" } }));
      if (field.name === "selected") cell.style.background = fill(part, "#E69F0099");
      else if (field.bar && Number.isFinite(field.bar(k))) cell.style.background = fill(field.bar(k), "#0072B244");
      return cell;
    });
    const line = make("tr", { "aria-selected": String(part > 0), style: { cursor: "pointer", borderTop: "1px solid var(--clnb-line)",
      outline: k === this.at ? "2px solid #0072B2" : "", outlineOffset: "-2px" } }, ...cells);
    line.dataset.class = k;
    line.title = part ? `${thousands(this.selected[k])} of ${thousands(this.total[k])} selected (${percentOf(this.selected[k], this.total[k])})` : "click: select these rows";
    line.addEventListener("click", (event) => { this.at = k; this.take(k, event); });
    return line;
  }

  take(k, event) {
    const wanted = k === this.C ? -1 : k;
    pick(this.stage, rowsWhere(this.labels.length, (i) => this.labels[i] === wanted), event);
    this.whisper(`${this.stage.selection.length} rows selected`);
  }

  go(by) {
    if (!this.order.length) return;
    const line = Math.max(0, Math.min(this.order.length - 1, this.order.indexOf(this.at) + by)), k = (this.at = this.order[line]);
    if (line >= this.most) this.most = line + 100;
    this.fill();
    this.lines.children[line].scrollIntoView({ block: "nearest" });
    this.whisper(this.fields.map((f) => `${f.title ?? f.name} ${f.text(k) || 0}`).join(", "));
  }
}

function render({ model, el }) {
  const stage = new Stage({ model, el }, { title: model.get("options").title, height: 50,
    help: "click a line: select its rows · Ctrl + click: add · click a head: sort · arrows, Enter: the same by keyboard · Escape: none" });
  const lines = new Lines(stage);
  return stage.start((frame) => lines.draw(frame));
}

export default { render };
