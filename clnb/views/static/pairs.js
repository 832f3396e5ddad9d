// WhyPair: positives and negatives of an anchor, ranked, with the force that the loss puts on each. See 07g_pairs.ipynb.

const KINDS = { positive: ["#0072B2", "▲"], negative: ["#7F7F7F", "●"], "false negative": ["#E69F00", "◆"], "false positive": ["#D55E00", "▼"] };
const COLUMNS = ["probability", "weight", "pull", "similarity"];
const FIELDS = ["similarity", "probability", "weight", "pull", "positive", "agrees"];
const MANY = 40;     // candidates of a kind that are listed at first

const percent = (share) => (Number.isNaN(share) ? "an unknown part" : `${share >= 0.1 ? (100 * share).toFixed(0) : +(100 * share).toPrecision(2)} %`);
const counted = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
const three = (v) => short(+v.toPrecision(3));

/** The table of a frame: `at(field, anchor, candidate)` and what is derived from it. */
class PairTable {
  constructor(frame) {
    this.values = unpack(frame.table);
    [, this.anchorCount, this.count] = frame.table.shape;
    const side = (s) => ({ names: s.names, rows: unpack(s.rows), labels: unpack(s.labels), tiles: unpack(s.tiles) });
    this.anchors = side(frame.anchors);
    this.candidates = side(frame.candidates);
  }
  at(field, i, j) { return this.values[(FIELDS.indexOf(field) * this.anchorCount + i) * this.count + j]; }

  /** What candidate j is to anchor i; "" where the two are not compared. */
  kind(i, j) {
    if (Number.isNaN(this.at("similarity", i, j))) return "";
    const agrees = this.at("agrees", i, j);
    if (this.at("positive", i, j) > 0) return agrees === 0 ? "false positive" : "positive";
    return agrees === 1 ? "false negative" : "negative";
  }

  /** Columns of the positives and of the negatives of an anchor, the foremost first. */
  ranked(i, by) {
    const all = Array.from({ length: this.count }, (_, j) => j).filter((j) => this.kind(i, j));
    const force = (j) => Math.abs(this.at("pull", i, j)), most = all.reduce((high, j) => Math.max(high, force(j)), 0);
    const key = (j) => (by === "pull" ? force(j) : by === "disagreement" ? force(j) + (this.kind(i, j).startsWith("false") ? 1 + most : 0) : this.at(by, i, j));
    const keys = new Map(all.map((j) => [j, key(j)]));
    all.sort((a, b) => keys.get(b) - keys.get(a) || a - b);
    return [all.filter((j) => this.at("positive", i, j) > 0), all.filter((j) => !(this.at("positive", i, j) > 0))];
  }

  /** Of the positives or negatives of an anchor: how many, how many with labels, how many against them, and their share of the force. */
  waste(i, positives) {
    const found = { count: 0, known: 0, wrong: 0, share: NaN };
    let force = 0, lost = 0;
    for (let j = 0; j < this.count; j++) {
      const kind = this.kind(i, j), agrees = this.at("agrees", i, j);
      if (!kind || (this.at("positive", i, j) > 0) !== positives) continue;
      found.count++;
      if (agrees < 0) continue;
      const part = Math.max(positives ? this.at("pull", i, j) : -this.at("pull", i, j), 0), wrong = kind.startsWith("false");
      found.known++;
      found.wrong += wrong;
      force += part;
      lost += wrong ? part : 0;
    }
    if (force > 0) found.share = lost / force;
    return found;
  }

  /** What Python's `in_words` says. */
  inWords(i, name = this.anchors.names[i]) {
    const push = this.waste(i, false), pull = this.waste(i, true);
    let text = `${name}: ${counted(pull.count, "positive")}, ${counted(push.count, "negative")}; `;
    if (!(push.known + pull.known)) return `${text}without labels nobody knows which of them are false.`;
    text += push.wrong ? `${push.wrong} of the negatives (${percent(push.wrong / push.known)}) of its own class, with ${percent(push.share)} of the push`
      : "no negative of its own class";
    if (pull.wrong) text += `; ${counted(pull.wrong, "positive")} of another class, with ${percent(pull.share)} of the pull`;
    return `${text}.`;
  }
}

class WhyPairView {
  constructor(stage) {
    this.stage = stage;
    this.anchor = stage.options.anchor ?? 0;
    this.by = stage.options.by;
    this.cursor = -1;                 // column of the candidate under the mouse or the keyboard
    this.thumbs = new Map();          // number of a picture -> its pixels
    this.all = { positives: false, negatives: false };
    this.ours = stage.selection.join();
    const rank = dropdown("rank by", stage.options.rankings, this.by, (by) => { this.by = by; this.refresh(); });
    this.pick = make("button", { type: "button", onclick: () => this.selectFalse() }, "select the false negatives");
    stage.tools.append(rank, this.pick);
    this.words = make("div", { role: "status", "aria-live": "polite", style: { margin: "3px 0" } });
    this.whole = make("div", { className: "clnb-help" });
    this.strip = make("div", { role: "group", "aria-label": "anchors", className: "clnb-row",
      style: { overflowX: "auto", padding: "2px", gap: "3px" } });
    this.strip.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      this.turn(step);
      this.strip.children[this.anchor]?.focus();
    });
    this.list = make("div", { role: "group", "aria-label": "candidates", tabIndex: 0,
      style: { flex: "2 1 480px", minWidth: "330px", overflowY: "auto", fontVariantNumeric: "tabular-nums", position: "relative" } });
    stage.body.before(this.strip, this.words, this.whole);
    this.said = make("div", { className: "clnb-note", role: "status", "aria-live": "polite", style: { minHeight: "1.4em" } });
    stage.body.append(this.list);
    stage.body.after(this.said);
    const { canvas } = stage;
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => { stage.showTip(); this.point(-1); });
    canvas.addEventListener("click", (event) => { const j = this.nearest(event); if (j >= 0) this.choose(j); });
    this.list.addEventListener("keydown", (event) => this.inList(event));
    stage.keys = { ArrowRight: () => this.turn(1), ArrowLeft: () => this.turn(-1), ArrowDown: () => this.walk(1), ArrowUp: () => this.walk(-1),
      Enter: () => this.cursor >= 0 && this.choose(this.cursor), Escape: () => { this.cursor = -1; this.ours = ""; this.refresh(); } };
  }

  draw(frame) {
    const { stage } = this;
    for (const node of [this.strip, this.list, this.pick]) node.hidden = !frame.table;
    if (!frame.table) { this.words.textContent = this.whole.textContent = ""; return stage.say(frame.note ?? ""); }
    if (frame.number !== this.number) {
      this.number = frame.number;
      if (frame.album !== this.album) { this.album = frame.album; this.thumbs.clear(); this.stripKey = this.ours = ""; }
      this.table = new PairTable(frame);
      this.anchor = Math.max(0, Math.min(this.anchor, this.table.anchorCount - 1));
      this.listKey = "";
    }
    this.followSelection();
    this.showStrip();
    this.showList();
    const { table, anchor } = this, false_ = table.waste(anchor, false), whole = frame.overall;
    const text = table.inWords(anchor, this.titled(table.anchors, anchor));
    if (this.words.textContent !== text) this.words.textContent = text;
    this.whole.textContent = [frame.scope || this.outside, whole && `over all anchors: ${percent(whole[0])} of the negatives are false, with ${percent(whole[1])} of the push`].filter(Boolean).join(" · ");
    this.pick.disabled = !false_.wrong;
    Object.assign(stage.root.dataset, { anchor, row: table.anchors.rows[anchor], by: this.by, wrong: false_.wrong, share: false_.share });
    this.paint();
  }

  /** Another view has selected rows: the first of them that is an anchor is shown. */
  followSelection() {
    const now = this.stage.selection, key = now.join();
    if (key === this.ours) return;
    this.ours = key;
    this.outside = "";
    if (!now.length) return;
    const rows = [...this.table.anchors.rows], found = [...now].map((row) => rows.indexOf(row)).find((i) => i >= 0);
    if (found === undefined) this.outside = `row ${now[0]} is not among the anchors`;
    else if (rows[this.anchor] !== rows[found]) { this.anchor = found; this.cursor = -1; }
  }

  refresh() { this.listKey = ""; this.stage.redraw(); }

  turn(step) {
    if (!this.table) return;
    this.show((this.anchor + step + this.table.anchorCount) % this.table.anchorCount);
  }

  /** Make an anchor the one that is explained, and select its row. */
  show(i) {
    this.anchor = i;
    this.cursor = -1;
    this.list.scrollTop = 0;
    this.all = { positives: false, negatives: false };
    this.choose(-1);
    this.showStrip();
    this.strip.children[i]?.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.refresh();
  }

  /** Select the anchor's row, and that of a candidate. */
  choose(j) {
    const { table } = this;
    this.cursor = j;
    this.pickRows([table.anchors.rows[this.anchor], ...(j >= 0 ? [table.candidates.rows[j]] : [])]);
  }

  selectFalse() {
    const { table, anchor } = this, wrong = table.ranked(anchor, "pull")[1].filter((j) => table.kind(anchor, j) === "false negative");
    this.pickRows([table.anchors.rows[anchor], ...wrong.map((j) => table.candidates.rows[j])]);
  }

  pickRows(rows) {
    const index = Uint32Array.from(new Set(rows.filter((row) => row >= 0))).sort();
    this.ours = index.join();
    this.stage.select(index);
    this.point(this.cursor);
  }

  showStrip() {
    const { anchors } = this.table, key = JSON.stringify([anchors.names, [...anchors.labels], [...anchors.tiles]]);
    if (key !== this.stripKey) {
      this.stripKey = key;
      const held = this.strip.contains(document.activeElement);
      this.strip.replaceChildren(...anchors.names.map((name, i) => make("button", { type: "button", title: this.titled(anchors, i),
        "aria-label": `anchor ${this.titled(anchors, i)}`, style: { padding: "1px", flex: "none", minWidth: "34px" }, onclick: () => this.show(i) },
      make("span", {}, ...(anchors.tiles[i] < 0 ? [name] : [])))));
      if (held) this.strip.children[this.anchor]?.focus();
      this.fillThumbs([...this.strip.children].map((node, i) => [node.firstChild, anchors.tiles[i]]), 32);
    }
    [...this.strip.children].forEach((node, i) => { node.setAttribute("aria-pressed", String(i === this.anchor)); node.tabIndex = i === this.anchor ? 0 : -1; });
  }

  labelOf(side, k) {
    const v = side.labels[k];
    return v < 0 ? "" : this.stage.options.classes[v] ?? String(v);
  }
  titled(side, k) { return [side.names[k], this.labelOf(side, k)].filter(Boolean).join(", "); }

  showList() {
    const { table, anchor, by, all } = this, key = JSON.stringify([this.number, anchor, by, all]);
    if (key === this.listKey) return;
    this.listKey = key;
    const [positives, negatives] = table.ranked(anchor, by), top = this.list.scrollTop, held = document.activeElement?.closest?.("[data-column]")?.dataset.column;
    this.order = [...(all.positives ? positives : positives.slice(0, MANY)), ...(all.negatives ? negatives : negatives.slice(0, MANY))];
    const most = (columns, field) => columns.reduce((high, j) => Math.max(high, Math.abs(table.at(field, anchor, j))), 1e-12);
    this.most = Object.fromEntries(COLUMNS.map((field) => [field, most([...positives, ...negatives], field)]));
    this.mostPull = { true: most(positives, "pull"), false: most(negatives, "pull") };     // the two are of different size
    const part = (name, columns) => {
      const shownNow = all[name] ? columns : columns.slice(0, MANY);
      const more = columns.length > shownNow.length ? [make("button", { type: "button", onclick: () => { all[name] = true; this.refresh(); } }, `show all ${columns.length}`)] : [];
      return make("div", { role: "list", "aria-label": name }, make("div", { className: "clnb-title" }, `${name} (${columns.length})`), ...shownNow.map((j) => this.entry(j)), ...more);
    };
    const head = make("div", { style: { ...ROW, position: "sticky", top: 0, background: "var(--clnb-paper)", zIndex: 1, cursor: "default" } }, make("span", {}), make("span", {}),
      ...COLUMNS.map((field) => make("span", { className: "clnb-help", style: field === by ? { fontWeight: 600, color: "var(--clnb-ink)" } : {} }, field)), make("span", {}));
    this.list.replaceChildren(head, part("positives", positives), part("negatives", negatives));
    this.list.style.maxHeight = `${Math.max(this.stage.height, 200)}px`;
    this.list.scrollTop = top;
    if (held !== undefined) this.list.querySelector(`[data-column="${held}"]`)?.focus();
    this.fillThumbs([...this.list.querySelectorAll("[data-column]")].map((node) => [node.firstChild, table.candidates.tiles[node.dataset.column]]), 26);
    this.point(this.cursor);
  }

  /** One candidate: picture, name and label, four bars, and a mark where the labels disagree with the loss. */
  entry(j) {
    const { table, anchor } = this, kind = table.kind(anchor, j), [ink, sign] = KINDS[kind], said = this.titled(table.candidates, j);
    const bar = (field) => {
      const v = table.at(field, anchor, j), most = field === "pull" ? this.mostPull[table.at("positive", anchor, j) > 0] : this.most[field];
      return make("span", { className: "clnb-row", style: { gap: "3px" } },
        make("i", { className: "clnb-barfill", style: { width: `${Math.max(1, (20 * Math.abs(v)) / most)}px`, background: ink } }), three(v));
    };
    const wrong = kind.startsWith("false");
    const node = make("div", { role: "listitem", tabIndex: -1, style: ROW, onclick: () => this.choose(j), onpointerenter: () => this.point(j),
      "aria-label": this.described(j) },
    make("span", {}), make("span", { title: said, style: { overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" } }, said), ...COLUMNS.map(bar),
    make("span", { style: { whiteSpace: "nowrap", fontWeight: wrong ? 600 : 400 } }, wrong ? `${sign} ${kind}` : sign));
    Object.assign(node.dataset, { column: j, kind });
    return node;
  }

  described(j) {
    const { table, anchor } = this;
    return `${this.titled(table.candidates, j)}: ${table.kind(anchor, j)}; ${COLUMNS.map((field) => `${field} ${three(table.at(field, anchor, j))}`).join(", ")}`;
  }

  inList(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step && event.key !== "Enter") return;
    event.preventDefault();
    event.stopPropagation();
    if (!step) return this.cursor >= 0 && this.choose(this.cursor);
    this.walk(step);
    this.list.querySelector(`[data-column="${this.cursor}"]`)?.focus();
  }

  walk(step) {
    if (!this.order?.length) return;
    const at = this.order.indexOf(this.cursor);
    this.point(this.order[Math.max(0, Math.min(this.order.length - 1, at + step))]);
    this.list.querySelector(`[data-column="${this.cursor}"]`)?.scrollIntoView({ block: "nearest" });
  }

  /** Mark one candidate in list and plot. */
  point(j) {
    if (this.cursor !== j) this.stage.redraw();
    this.cursor = j;
    this.said.textContent = j < 0 || !this.table ? "" : this.described(j);
    for (const node of this.list.querySelectorAll("[data-column]"))
      node.style.outline = +node.dataset.column === j ? "1.5px solid #0072B2" : "";
  }

  paint() {
    const { stage, table, anchor } = this, { ctx } = stage;
    const columns = table.ranked(anchor, "pull").flat(), x = columns.map((j) => table.at("similarity", anchor, j));
    const force = columns.map((j) => Math.abs(table.at("pull", anchor, j))), most = Math.max(...force, 1e-12);
    const least = force.reduce((low, v) => (v > 1e-6 * most ? Math.min(low, v) : low), most), [left, right] = extent(x);
    const axes = new Axes(stage, { x: [left - 0.03, right + 0.03], y: [least / 1.5, most * 1.5], logY: true, left: 58, top: 20,
      xLabel: "similarity to the anchor", yLabel: "size of the pull" });
    axes.draw();
    ctx.textAlign = "center"; ctx.textBaseline = "middle";
    this.spots = columns.map((j, k) => [j, axes.px(x[k]), Math.min(axes.py(Math.max(force[k], 1e-30)), axes.bottom)]);
    const wrong = ([j]) => table.kind(anchor, j).startsWith("false");       // drawn last, on top
    for (const [j, px, py] of [...this.spots].reverse().sort((a, b) => wrong(a) - wrong(b))) {
      const [ink, sign] = KINDS[table.kind(anchor, j)];
      ctx.fillStyle = ink;
      ctx.fillText(sign, px, py);
      if (j !== this.cursor) continue;
      ctx.strokeStyle = stage.ink; ctx.lineWidth = 2; ctx.beginPath(); ctx.arc(px, py, 8, 0, 7); ctx.stroke();
    }
    ctx.textAlign = "left";
    let at = axes.left + 4;
    for (const [kind, [ink, sign]] of Object.entries(KINDS)) {
      if (!columns.some((j) => table.kind(anchor, j) === kind)) continue;
      ctx.fillStyle = ink; ctx.fillText(sign, at, 9);
      ctx.fillStyle = stage.ink; ctx.fillText(kind, at + 13, 9);
      at += ctx.measureText(kind).width + 28;
    }
    stage.canvas.setAttribute("aria-label", `Why this pair? ${table.inWords(anchor)}`);
  }

  nearest(event) {
    const [mx, my] = this.stage.at(event);
    let best = -1, far = 15;
    for (const [j, x, y] of this.spots ?? []) { const d = Math.hypot(x - mx, y - my); if (d < far) [best, far] = [j, d]; }
    return best;
  }

  hover(event) {
    if (!this.table) return;
    const j = this.nearest(event), { stage, table, anchor } = this, { clientX, clientY } = event;
    if (j < 0) { stage.showTip(); return this.point(-1); }
    this.point(j);
    const spot = make("span", {}), lines = COLUMNS.map((field) => `${field} ${three(table.at(field, anchor, j))}`);
    stage.showTip({ clientX, clientY }, make("div", { className: "clnb-row" }, spot, make("b", {}, this.titled(table.candidates, j))), table.kind(anchor, j), ...lines);
    this.fillThumbs([[spot, table.candidates.tiles[j]]], 56);
  }

  /** Pictures into places, asking once for all that are missing. */
  async fillThumbs(places, size) {
    const wanted = places.filter(([, tile]) => tile >= 0), album = this.album;
    const put = () => wanted.forEach(([node, tile]) => { const found = this.thumbs.get(tile); if (found && !node.firstChild) node.append(thumbnail(found.pixels, found.shape, size)); });
    put();
    const missing = [...new Set(wanted.map(([, tile]) => tile))].filter((tile) => !this.thumbs.has(tile));
    if (!missing.length) return;
    try {
      const all = unpack((await this.stage.ask({ ask: "images", rows: missing })).images), one = all.length / missing.length;
      if (album !== this.album) return;
      missing.forEach((tile, i) => this.thumbs.set(tile, { pixels: all.slice(i * one, (i + 1) * one), shape: all.shape.slice(1) }));
      put();
    } catch (error) { this.stage.note.textContent = error.message; }
  }
}

const ROW = { display: "grid", gridTemplateColumns: "28px minmax(50px, 1fr) repeat(4, 64px) 114px", gap: "4px", alignItems: "center",
  minHeight: "28px", cursor: "pointer", outlineOffset: "-2px" };

export default {
  render({ model, el }) {
    const { title, height } = model.get("options");
    const stage = new Stage({ model, el }, { title, height,
      help: "click an anchor, or ← →: its pairs · ↑ ↓: one candidate · Enter or click: select both · Esc: clear" });
    stage.canvas.style.flex = "1 1 280px";
    const view = new WhyPairView(stage);
    return stage.start((frame) => view.draw(frame));
  },
};
