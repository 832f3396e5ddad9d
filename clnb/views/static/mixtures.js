// MixtureMap: rows in a plane with the components of a mixture as ellipses. ClusterTable: clusters against classes, merged and split. See nbs/07o_mixtures.ipynb.

const GREY = "#7F7F7F", MARK = "#E69F00";
const SHADES = [[68, 1, 84], [70, 50, 126], [54, 92, 141], [39, 127, 142], [31, 161, 135], [74, 193, 109], [160, 218, 57], [253, 231, 37]];
const fixed = (v, digits = 3) => (Number.isFinite(v) ? v.toFixed(digits) : "–");

function shadeOf(t) {
  const at = Math.max(0, Math.min(1, t)) * (SHADES.length - 1), i = Math.min(Math.floor(at), SHADES.length - 2), f = at - i;
  return `rgb(${SHADES[i].map((v, c) => Math.round(v + f * (SHADES[i + 1][c] - v))).join(" ")})`;
}

/** The finishing step of MurmurHash3, as in Python. */
function stirred(x) {
  for (const [shift, factor] of [[16, 0x85ebca6b], [13, 0xc2b2ae35], [16, 1]]) x = Math.imul(x ^ (x >>> shift), factor) >>> 0;
  return x >>> 0;
}

/** Counts [groups, classes] of rows that have both; `groups` and `classes` are numbers of every row, −1: none. */
function contingency(groups, labels, G, C) {
  const counts = new Uint32Array(G * C);
  for (let i = 0; i < groups.length; i++) if (groups[i] >= 0 && labels[i] >= 0) counts[groups[i] * C + labels[i]]++;
  return counts;
}

/** `agreement` of the notebook: NMI, ARI, purity and entropies of a table [G, C]. */
function agreement(counts, G, C) {
  const rows = new Float64Array(G), columns = new Float64Array(C);
  let n = 0, top = 0, both = 0, joint = 0, used = 0;
  const pairs = (x) => (x * (x - 1)) / 2;
  for (let g = 0; g < G; g++) {
    let most = 0;
    for (let c = 0; c < C; c++) {
      const x = counts[g * C + c];
      if (!x) continue;
      rows[g] += x; columns[c] += x; n += x; both += pairs(x); used++;
      most = Math.max(most, x);
    }
    top += most;
  }
  if (!n) return { nmi: NaN, ari: NaN, purity: NaN, shared: NaN, classes: NaN, clusters: NaN, groups: 0, kinds: 0 };
  const entropy = (list) => list.reduce((sum, x) => (x ? sum - (x / n) * Math.log(x / n) : sum), 0);
  for (const x of counts) if (x) joint -= (x / n) * Math.log(x / n);
  const clusters = entropy(rows), classes = entropy(columns), shared = Math.max(clusters + classes - joint, 0);
  const groups = rows.filter(Boolean).length, kinds = columns.filter(Boolean).length;
  const nmi = groups * kinds === 1 ? 1 : Math.min(groups, kinds) === 1 ? 0 : Math.min((2 * shared) / (clusters + classes), 1);
  const one = rows.reduce((sum, x) => sum + pairs(x), 0), other = columns.reduce((sum, x) => sum + pairs(x), 0);
  const expected = (one * other) / Math.max(pairs(n), 1), best = (one + other) / 2;
  return { nmi, ari: best === expected ? 1 : (both - expected) / (best - expected), purity: top / n, shared, classes, clusters, groups, kinds };
}

/** The groups after the moves; `regrouped` of the notebook. `done` are the moves that changed something. */
function regrouped(clusters, moves, labels, halves) {
  const group = Int32Array.from(clusters), names = new Map(), whole = new Map();
  let fresh = 0;
  for (const k of clusters) if (k >= 0) { whole.set(k, (whole.get(k) ?? 0) + 1); fresh = Math.max(fresh, k + 1); }
  for (const k of [...whole.keys()].sort((a, b) => a - b)) names.set(k, String(k));
  const done = [];
  moves.forEach((move, at) => {
    if (move.do === "merge") {
      const merged = [...new Set(move.groups)].filter((k) => names.has(k)).sort((a, b) => a - b);
      if (merged.length < 2) return;
      const inside = new Set(merged);
      for (let i = 0; i < group.length; i++) if (inside.has(group[i])) group[i] = merged[0];
      const name = merged.map((k) => names.get(k)).join("+");
      for (const k of merged) names.delete(k);
      names.set(merged[0], name);
    } else {
      if (!names.has(move.group)) return;
      const rows = rowsWhere(group.length, (i) => group[i] === move.group), parts = [...new Set(rows.map((i) => clusters[i]))].sort((a, b) => a - b);
      if (parts.length > 1) {
        parts.forEach((part, i) => {
          const mine = rows.filter((r) => clusters[r] === part), k = i === 0 ? move.group : fresh++;
          for (const r of mine) group[r] = k;
          names.set(k, `${part}${mine.length === whole.get(part) ? "" : "′"}`);
        });
      } else {
        const away = rows.filter(awayFor(move, at + 1, rows, labels, halves));
        if (!away.length || away.length === rows.length) return;
        for (const r of away) group[r] = fresh;
        names.set(fresh++, `${names.get(move.group)}b`);
        names.set(move.group, `${names.get(move.group)}a`);
      }
    }
    done.push(move);
  });
  const order = [...names.keys()].sort((a, b) => a - b), place = new Map(order.map((k, i) => [k, i]));
  return { numbered: group.map((k) => (k < 0 ? -1 : place.get(k))), ids: order, names: order.map((k) => names.get(k)), done };
}

/** Which rows go to the new group. */
function awayFor(move, number, rows, labels, halves) {
  if (move.by === "coin") { const salt = stirred(number); return (r) => stirred((r ^ salt) >>> 0) >>> 31 === 1; }
  if (move.by === "rows") return (r) => halves[r] === 1;
  const count = new Map();
  for (const r of rows) if (labels?.[r] >= 0) count.set(labels[r], (count.get(labels[r]) ?? 0) + 1);
  if (!count.size) return () => false;
  const largest = [...count].sort((a, b) => b[1] - a[1] || a[0] - b[0])[0][0];
  return (r) => labels[r] !== largest;
}

/** Images by row, of those that a page carries; canvases stay what they are once they have come. */
class Faces extends ImageStore {
  constructor(stage) { super(stage, () => this.refill?.()); }
  face(row, size) { this.want([row]); return this.tile(row, size); }
}

const rowButton = (row, label, chosen, onclick, ...content) => make("button", { type: "button", "aria-label": label, title: label, "aria-pressed": String(chosen), onclick,
  "data-row": row, style: { padding: "1px", lineHeight: 0, minWidth: "18px", minHeight: "18px" } }, ...content);

// ---------------------------------------------------------------------------------------------------------------- table

class TableView {
  constructor(stage) {
    const { options } = stage;
    Object.assign(this, { stage, names: options.classes, labels: options.labels ? numbersOf(options.labels) : null, cursor: { g: 0, c: -1 }, marked: new Set(), how: options.splits[0],
      shade: "share of the cluster", order: "by class", chosen: new Chosen(stage), whisper: whisper(stage) });
    this.faces = new Faces(stage);
    this.faces.refill = () => { this.listKey = ""; stage.redraw(); };
    this.makeTools();
    this.words = make("div", { role: "status", "aria-live": "polite", style: { margin: "3px 0" } });
    this.preview = make("div", { className: "clnb-help", style: { minHeight: "16px" } });
    this.list = make("div", { className: "clnb-list", role: "group", "aria-label": "images of the clusters", style: { maxHeight: `${options.height + 40}px`, flex: "1 1 260px" } });
    this.list.addEventListener("keydown", (event) => this.inList(event));
    stage.body.before(this.words, this.preview);
    stage.body.append(this.list);
    stage.canvas.style.flex = "2 1 320px";
    const { canvas } = stage;
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => stage.showTip());
    canvas.addEventListener("click", (event) => this.click(event));
    const go = (g, c) => () => this.go(g, c);
    stage.keys = { ArrowUp: go(-1, 0), ArrowDown: go(1, 0), ArrowLeft: go(0, -1), ArrowRight: go(0, 1), Enter: (event) => this.take(this.cursor, event),
      x: () => this.mark(this.cursor.g), m: () => this.merge(), s: () => this.split(), u: () => this.undo(), r: () => this.reset(), Escape: () => { this.marked.clear(); stage.redraw(); } };
    stage.listen("change:moves", () => stage.redraw());
  }

  makeTools() {
    const { stage } = this, button = (text, title, onclick) => make("button", { type: "button", title, onclick }, text);
    this.merging = button("merge", "the marked clusters become one (m)", () => this.merge());
    this.splitting = button("split", "the marked cluster, or the one at the cursor, falls in two (s)", () => this.split());
    this.undoing = button("undo", "take the last move back (u)", () => this.undo());
    this.resetting = button("as found", "take all moves back (r)", () => this.reset());
    stage.tools.append(this.merging, this.splitting, ...(stage.options.splits.length > 1 ? [dropdown("split by", stage.options.splits, this.how, (how) => { this.how = how; stage.redraw(); })] : []),
      this.undoing, this.resetting, dropdown("shade", ["share of the cluster", "share of the class", "count"], this.shade, (shade) => { this.shade = shade; stage.redraw(); }),
      dropdown("order", ["by class", "by number", "by size"], this.order, (order) => { this.order = order; this.key = ""; stage.redraw(); }));
  }

  get moves() { return this.stage.model.get("moves") ?? []; }
  set moves(moves) {
    this.marked.clear();
    this.stage.model.set("moves", moves);
    this.stage.model.save_changes();
    this.stage.redraw();
  }

  state(moves) { return regrouped(this.clusters, moves, this.labels, this.halves); }
  tableOf(state) { return contingency(state.numbered, this.labels ?? [], state.ids.length, this.C); }
  numbersOf(moves) {
    const state = this.state(moves), table = this.tableOf(state);
    return { ...agreement(table, state.ids.length, this.C), changed: state.done.length };
  }

  draw(frame) {
    const { stage } = this, there = Boolean(frame.clusters);
    for (const node of [stage.tools, this.list, this.preview]) node.style.display = there ? "" : "none";
    if (!there) { this.words.textContent = ""; this.now = null; return stage.say("nothing has been recorded yet"); }
    if (frame.number !== this.number) this.take_(frame);
    const key = `${frame.number} ${JSON.stringify(this.moves)} ${this.order}`;
    if (key !== this.key) { this.key = key; this.count(); }
    this.followSelection();
    this.showWords();
    this.showTools();
    this.place();
    this.paint();
    this.showList();
    this.tell();
  }

  take_(frame) {
    this.number = frame.number;
    this.clusters = numbersOf(frame.clusters);
    this.halves = unpack(frame.halves);
    this.scores = frame.scores ? unpack(frame.scores) : null;
    this.C = this.names.length;
    this.first = this.numbersOf([]);
    this.key = this.listKey = "";
  }

  /** Groups, table, sizes and the order in which they are shown. */
  count() {
    const before = this.goTo ?? this.now?.ids[this.sequence?.[this.cursor.g]], { C } = this;
    this.goTo = undefined;
    this.now = this.state(this.moves);
    const G = this.now.ids.length;
    this.counts = this.tableOf(this.now);
    this.numbers = agreement(this.counts, G, C);
    this.rowsOf = Array.from({ length: G }, () => []);
    this.now.numbered.forEach((g, i) => { if (g >= 0) this.rowsOf[g].push(i); });
    this.known = this.rowsOf.map((_, g) => { let n = 0; for (let c = 0; c < C; c++) n += this.counts[g * C + c]; return n; });
    this.top = this.rowsOf.map((_, g) => { let best = 0; for (let c = 1; c < C; c++) if (this.counts[g * C + c] > this.counts[g * C + best]) best = c; return best; });
    const share = (g) => (C && this.known[g] ? this.counts[g * C + this.top[g]] / this.known[g] : 0), all = [...this.rowsOf.keys()];
    const by = { "by class": (a, b) => (this.known[a] === 0) - (this.known[b] === 0) || this.top[a] - this.top[b] || share(b) - share(a) || a - b, "by number": (a, b) => a - b,
      "by size": (a, b) => this.rowsOf[b].length - this.rowsOf[a].length || a - b }[C || this.order !== "by class" ? this.order : "by number"];
    this.sequence = all.sort(by);
    const at = before === undefined ? -1 : this.sequence.findIndex((g) => this.now.ids[g] === before);
    this.cursor.g = at >= 0 ? at : Math.max(0, Math.min(this.cursor.g, G - 1));
    this.marked = new Set([...this.marked].filter((id) => this.now.ids.includes(id)));
    this.typical = this.rowsOf.map((rows) => this.ends(rows, 4));
    this.listKey = "";
  }

  /** The most and the least typical rows of a group. */
  ends(rows, count) {
    const { scores } = this, value = (r) => (Number.isNaN(scores[r]) ? -Infinity : scores[r]), order = scores ? [...rows].sort((a, b) => value(b) - value(a) || a - b) : rows;
    return [order.slice(0, count), order.slice(Math.max(count, order.length - count))];
  }

  followSelection() {
    const mask = this.chosen.of(this.clusters.length), { C } = this;
    if (this.insideFor === this.chosen.version && this.insideKey === this.key) return;
    this.insideFor = this.chosen.version;
    this.insideKey = this.key;
    this.inside = new Uint32Array(this.rowsOf.length * C);
    this.within = new Uint32Array(this.rowsOf.length);
    this.now.numbered.forEach((g, i) => {
      if (g < 0 || !mask[i]) return;
      this.within[g]++;
      if (this.labels?.[i] >= 0) this.inside[g * C + this.labels[i]]++;
    });
    this.listKey = "";
  }

  inWords() {
    const a = this.numbers;
    if (!Number.isFinite(a.nmi)) return `${this.rowsOf.length} clusters; no row has a cluster and a class.`;
    return `${a.groups} clusters, ${a.kinds} classes: NMI ${fixed(a.nmi)}, ARI ${fixed(a.ari)}, purity ${fixed(a.purity)} (${fixed(a.shared, 2)} nats shared; classes ${fixed(a.classes, 2)}, clusters ${fixed(a.clusters, 2)}).`;
  }

  /** What a move would do to the numbers. */
  forecast(move, word) {
    const then = this.numbersOf([...this.moves, move]), difference = (x, y) => `${x - y >= 0 ? "+" : "−"}${fixed(Math.abs(x - y))}`;
    if (then.changed === this.now.done.length) return `${word}: nothing to split ${this.how === "rows" ? "by rows" : `by ${this.how}`}`;
    if (!Number.isFinite(then.nmi)) return word;
    return `${word}: NMI ${fixed(then.nmi)} (${difference(then.nmi, this.numbers.nmi)}), ARI ${fixed(then.ari)} (${difference(then.ari, this.numbers.ari)})`;
  }

  target() {
    if (this.marked.size > 1) return null;
    return this.marked.size ? [...this.marked][0] : this.now.ids[this.sequence[this.cursor.g]];
  }
  nameOf(id) { return this.now.names[this.now.ids.indexOf(id)]; }

  showWords() {
    const text = this.inWords(), done = this.now.done.length;
    const note = done && Number.isFinite(this.first.nmi) ? ` As found: NMI ${fixed(this.first.nmi)}, ARI ${fixed(this.first.ari)}.` : "";
    if (this.words.textContent !== text + note) this.words.textContent = text + note;
    const key = `${this.key} ${[...this.marked]} ${this.cursor.g} ${this.how}`;
    if (key === this.previewKey) return;
    this.previewKey = key;
    const target = this.target(), marked = [...this.marked].sort((a, b) => a - b);
    this.preview.textContent = target === null ? this.forecast({ do: "merge", groups: marked }, `merging ${marked.map((id) => this.nameOf(id)).join(" and ")}`)
      : target === undefined ? "" : this.forecast({ do: "split", group: target, by: this.how }, `splitting ${this.nameOf(target)}`);
  }

  showTools() {
    this.merging.disabled = this.marked.size < 2;
    this.splitting.disabled = this.target() == null;
    this.undoing.disabled = this.resetting.disabled = !this.moves.length;
  }

  place() {
    const { stage: { ctx, width, height }, C } = this, G = this.rowsOf.length;
    const wide = (texts) => Math.max(10, ...texts.slice(0, 200).map((t) => ctx.measureText(t).width));
    this.edge = Math.min(wide(this.now.names), width / 4) + 24;
    this.head = Math.min(wide(this.names), 80) + 22;
    this.cw = Math.max(1, Math.min((width - this.edge - 56) / Math.max(C, 1), 90));
    this.ch = Math.max(1, Math.min((height - this.head - 30) / Math.max(G, 1), 34));
    if (this.names.every((t) => ctx.measureText(t).width < this.cw - 4)) {
      this.head = 32;
      this.ch = Math.max(1, Math.min((height - this.head - 30) / Math.max(G, 1), 34));
    }
  }

  paint() {
    const { stage: { ctx, ink, faint, width }, C, cw, ch, edge, head, counts } = this, G = this.rowsOf.length, largest = counts.reduce((a, b) => Math.max(a, b), 1);
    const column = Array.from({ length: C }, (_, c) => this.rowsOf.reduce((sum, _, g) => sum + counts[g * C + c], 0)), most = Math.max(1, ...this.rowsOf.map((r) => r.length));
    ctx.textBaseline = "middle";
    this.sequence.forEach((g, at) => {
      const y = head + at * ch, id = this.now.ids[g];
      for (let c = 0; c < C; c++) {
        const n = counts[g * C + c];
        if (!n) continue;
        const part = this.shade === "count" ? n / largest : n / (this.shade === "share of the class" ? column[c] : this.known[g]), x = edge + c * cw, gap = Math.min(cw, ch) > 4 ? 1 : 0;
        ctx.globalAlpha = 0.06 + 0.94 * part;
        ctx.fillStyle = "#0072B2";
        ctx.fillRect(x, y, cw - gap, ch - gap);
        ctx.globalAlpha = 1;
        if (ch >= 12 && cw >= 18) {
          ctx.fillStyle = part > 0.45 ? "#fff" : ink;
          ctx.textAlign = "center";
          const text = n < 1e4 ? String(n) : `${Math.round(n / 1000)}k`;
          if (ctx.measureText(text).width < cw - 3) ctx.fillText(text, x + cw / 2, y + ch / 2);
        }
        const some = this.inside[g * C + c];
        if (some) {
          ctx.strokeStyle = MARK; ctx.lineWidth = 2;
          ctx.setLineDash([Math.max((2 * (cw + ch - 6) * some) / n, 3), 1e4]);
          ctx.strokeRect(x + 1, y + 1, cw - gap - 2, ch - gap - 2);
          ctx.setLineDash([]);
        }
      }
      if (this.marked.has(id)) {
        ctx.fillStyle = MARK;
        ctx.fillRect(edge - 8, y, 5, Math.max(ch - 1, 1));
      }
      if (ch >= 9) {
        ctx.fillStyle = ink; ctx.textAlign = "right";
        ctx.font = this.marked.has(id) ? "700 11px system-ui, sans-serif" : "11px system-ui, sans-serif";
        ctx.fillText(cut(ctx, this.now.names[g], edge - 24), edge - 11, y + ch / 2);
        ctx.font = "11px system-ui, sans-serif";
      }
      const x = edge + C * cw + 5, n = this.rowsOf[g].length, room = Math.max(8, Math.min(46, width - x - 2));
      ctx.fillStyle = GREY; ctx.globalAlpha = 0.45;
      ctx.fillRect(x, y, (room * n) / most, Math.max(ch - 1, 1));
      ctx.globalAlpha = 1;
      if (ch >= 11) { ctx.fillStyle = ink; ctx.textAlign = "left"; ctx.fillText(thousands(n), x + 3, y + ch / 2); }
    });
    ctx.strokeStyle = faint; ctx.lineWidth = 1;
    ctx.strokeRect(edge - 0.5, head - 0.5, C * cw + 1, G * ch + 1);
    this.paintNames();
    this.paintBar(head + G * ch + 12);
    const { g, c } = this.cursor, y = head + g * ch;
    if (document.activeElement !== this.stage.root && c < 0) return;
    ctx.strokeStyle = ink; ctx.lineWidth = 2;
    if (c < 0) ctx.strokeRect(1, y, edge - 4, Math.max(ch - 1, 3)); else ctx.strokeRect(edge + c * cw, y, Math.max(cw, 3), Math.max(ch - 1, 3));
  }

  paintNames() {
    const { stage: { ctx, ink, faint }, C, cw, edge, head, names } = this, flat = head === 32;
    ctx.fillStyle = faint; ctx.textAlign = "left";
    ctx.fillText("cluster", 2, head - 9);
    ctx.textAlign = "center";
    ctx.fillText(C ? "class" : "no labels", edge + Math.max(C * cw, 60) / 2, 8);
    ctx.textAlign = "left";
    ctx.fillText("rows", edge + C * cw + 6, head - 9);
    if (cw < 9) return;
    ctx.fillStyle = ink;
    for (let c = 0; c < C; c++) {
      ctx.save();
      ctx.translate(edge + (c + 0.5) * cw, head - (flat ? 9 : 5));
      if (!flat) ctx.rotate(-Math.PI / 2);
      ctx.textAlign = flat ? "center" : "left";
      ctx.fillText(cut(ctx, names[c], flat ? cw - 2 : head - 24), 0, 0);
      ctx.restore();
    }
  }

  /** The two entropies as bars that overlap by what they share. */
  paintBar(y) {
    const { stage: { ctx, ink, width, height }, numbers: a } = this;
    if (!Number.isFinite(a.nmi) || y + 12 > height) return;
    const whole = a.classes + a.clusters - a.shared, room = Math.min(width - 8, 420), x = (v) => 4 + (whole > 0 ? (v / whole) * room : 0);
    ctx.globalAlpha = 0.55;
    ctx.fillStyle = "#0072B2"; ctx.fillRect(x(0), y, x(a.classes) - x(0), 12);
    ctx.fillStyle = "#E69F00"; ctx.fillRect(x(a.classes - a.shared), y, x(whole) - x(a.classes - a.shared), 12);
    ctx.globalAlpha = 1;
    ctx.fillStyle = ink; ctx.textAlign = "center"; ctx.textBaseline = "middle";
    const text = (from, to, word) => { if (ctx.measureText(word).width < x(to) - x(from) - 4) ctx.fillText(word, (x(from) + x(to)) / 2, y + 6); };
    text(0, a.classes - a.shared, "classes only");
    text(a.classes - a.shared, a.classes, `shared ${fixed(a.shared, 2)}`);
    text(a.classes, whole, "clusters only");
  }

  /** For each group its most and least typical images, as buttons. */
  showList() {
    const { stage } = this, pictured = stage.options.pictured, key = `${this.key} ${this.insideFor} ${pictured}`;
    if (key === this.listKey) return;
    this.listKey = key;
    const focus = this.list.contains(document.activeElement) ? document.activeElement.dataset.row : undefined, mask = this.chosen.of(this.clusters.length), size = 34;
    const shown = this.sequence.slice(0, 40), rows = shown.flatMap((g) => this.typical[g].flat());
    if (pictured) this.faces.want(rows);
    const one = (g, word) => (row) => {
      const label = this.labels?.[row] >= 0 ? `, ${this.names[this.labels[row]]}` : "", score = this.scores ? `, log p ${short(+this.scores[row].toPrecision(4))}` : "";
      return rowButton(row, `row ${row}${label}${score}, cluster ${this.now.names[g]}${word}`, mask[row] === 1, (event) => pick(stage, [row], event),
        ...(pictured && row < pictured ? [this.faces.tile(row, size)] : [make("span", { style: { lineHeight: "1.2", fontSize: "10px" } }, String(row))]));
    };
    const words = this.scores ? [", among the most typical", ", among the least typical"] : ["", ""];
    this.list.replaceChildren(make("div", { className: "clnb-help" }, this.scores ? "most typical … least typical (log p)" : "some of each, by row"), ...shown.map((g) => {
      const [first, last] = this.typical[g];
      const line = make("div", { className: "clnb-row", role: "group", "aria-label": `cluster ${this.now.names[g]}`, style: { gap: "2px", margin: "1px 0", flexWrap: "wrap" } },
        make("button", { type: "button", title: `select the ${this.rowsOf[g].length} rows of cluster ${this.now.names[g]}`, onclick: (event) => pick(stage, this.rowsOf[g], event),
          style: { flex: "0 0 54px", overflow: "hidden", textOverflow: "ellipsis", padding: "1px 2px" } }, this.now.names[g]),
        ...first.map(one(g, words[0])), ...(last.length ? [make("span", { "aria-hidden": "true" }, "…"), ...last.map(one(g, words[1]))] : []));
      line.dataset.group = this.now.ids[g];
      return line;
    }), ...(this.sequence.length > 40 ? [make("div", { className: "clnb-help" }, `the first 40 of ${this.sequence.length}`)] : []));
    if (focus !== undefined) this.list.querySelector(`[data-row="${focus}"]`)?.focus();
  }

  inList(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const all = [...this.list.querySelectorAll("button")], at = all.indexOf(document.activeElement);
    all[Math.max(0, Math.min(all.length - 1, at + step))]?.focus();
    event.preventDefault();
    event.stopPropagation();
  }

  under([x, y]) {
    const c = Math.floor((x - this.edge) / this.cw), g = Math.floor((y - this.head) / this.ch);
    if (!this.now || c >= this.C + 50 / this.cw || g >= this.rowsOf.length || (g < 0 && (c < 0 || c >= this.C))) return null;
    return { g, c: c < 0 ? -1 : c >= this.C ? -2 : c };
  }
  words_({ g, c }) {
    const { C, counts } = this, at = this.sequence[g];
    if (g < 0) {
      const n = this.rowsOf.reduce((sum, _, k) => sum + counts[k * C + c], 0), biggest = [...this.rowsOf.keys()].sort((a, b) => counts[b * C + c] - counts[a * C + c])[0];
      return [`class ${this.names[c]}`, `${thousands(n)} rows, ${percentOf(counts[biggest * C + c], n)} of them in cluster ${this.now.names[biggest]}`];
    }
    const name = `cluster ${this.now.names[at]}`, n = this.rowsOf[at].length;
    if (c < 0) return [name, `${thousands(n)} rows`, ...(C && this.known[at] ? [`mostly ${this.names[this.top[at]]}, ${percentOf(counts[at * C + this.top[at]], this.known[at])}`] : []),
      ...(this.within[at] ? [`${thousands(this.within[at])} selected`] : []), ...(this.marked.has(this.now.ids[at]) ? ["marked"] : [])];
    const cell = counts[at * C + c], all = this.rowsOf.reduce((sum, _, k) => sum + counts[k * C + c], 0);
    return [`${name}, class ${this.names[c]}`, `${thousands(cell)} rows: ${percentOf(cell, this.known[at])} of the cluster, ${percentOf(cell, all)} of the class`];
  }

  hover(event) {
    const cell = this.now ? this.under(this.stage.at(event)) : null;
    this.stage.canvas.style.cursor = cell ? "pointer" : "";
    if (!cell) return this.stage.showTip();
    const [first, ...rest] = this.words_(cell);
    this.stage.showTip(event, make("b", {}, first), ...rest, ...(cell.c === -1 ? ["click: mark"] : []));
  }
  click(event) {
    const cell = this.now ? this.under(this.stage.at(event)) : null;
    if (!cell) return;
    this.stage.root.focus({ preventScroll: true });
    if (cell.g >= 0) this.cursor = { g: cell.g, c: Math.max(cell.c, -1) };
    if (cell.c === -1) this.mark(cell.g); else this.take(cell, event);
  }
  /** Select the rows of a cell, a cluster (c < 0) or a class (g < 0). */
  take({ g, c }, event) {
    if (!this.now) return;
    const at = this.sequence[g];
    pick(this.stage, g < 0 ? rowsWhere(this.clusters.length, (i) => this.clusters[i] >= 0 && this.labels[i] === c) : c < 0 ? this.rowsOf[at] : this.rowsOf[at].filter((i) => this.labels[i] === c), event);
    this.whisper(`${this.stage.selection.length} rows selected`);
    this.stage.redraw();
  }
  go(g, c) {
    if (!this.now) return;
    this.cursor = { g: Math.max(0, Math.min(this.rowsOf.length - 1, this.cursor.g + g)), c: Math.max(-1, Math.min(this.C - 1, this.cursor.c + c)) };
    this.whisper(this.words_(this.cursor).join(", "));
    this.stage.redraw();
  }
  mark(g) {
    const id = this.now?.ids[this.sequence[g]];
    if (id === undefined) return;
    this.marked.has(id) ? this.marked.delete(id) : this.marked.add(id);
    this.whisper(`cluster ${this.nameOf(id)} ${this.marked.has(id) ? "marked" : "not marked"}`);
    this.stage.redraw();
  }
  apply(move) {
    const words = this.preview.textContent;
    if (this.state([...this.moves, move]).done.length > this.now.done.length) {
      this.goTo = move.group ?? move.groups[0];       // the cursor goes to what was made
      this.moves = [...this.moves, move];
    }
    this.whisper(words);
  }
  merge() { if (this.now && this.marked.size > 1) this.apply({ do: "merge", groups: [...this.marked].sort((a, b) => a - b) }); }
  split() { const group = this.now ? this.target() : null; if (group != null) this.apply({ do: "split", group, by: this.how }); }
  undo() { if (this.moves.length) this.moves = this.moves.slice(0, -1); }
  reset() { if (this.moves.length) this.moves = []; }

  tell() {
    const a = this.numbers, { C } = this;
    Object.assign(this.stage.root.dataset, { nmi: a.nmi, ari: a.ari, purity: a.purity, groups: this.now.names.join(), ids: this.now.ids.join(), sequence: this.sequence.join(), table: this.counts.length <= 4000 ? this.counts.join() : "",
      sizes: this.rowsOf.map((r) => r.length).join(), marked: [...this.marked].join(), cursor: `${this.cursor.g},${this.cursor.c}`, moves: this.moves.length, selected: this.chosen.count,
      place: [this.edge, this.head, this.cw, this.ch].join() });
    const text = `Clusters against classes. ${this.words.textContent}`;
    if (this.stage.canvas.getAttribute("aria-label") !== text) this.stage.canvas.setAttribute("aria-label", text);
  }
}

// ------------------------------------------------------------------------------------------------------------------ map

const SCORE = "−log p", UNDECIDED = "undecided", CLUSTER = "cluster";

class MapView {
  constructor(stage) {
    const { options } = stage;
    Object.assign(this, { stage, colour: options.colour, fit: options.fits[0], radius: options.radius, component: -1, row: -1, outlines: true, chosen: new Chosen(stage), whisper: whisper(stage) });
    this.columns = new Map(options.columns.map((c) => [c.name, { ...c, values: unpack(c.values) }]));
    this.faces = new Faces(stage);
    this.faces.refill = () => { this.oddKey = ""; if (this.tipFor) this.showRow(...this.tipFor); stage.redraw(); };
    this.makeTools();
    this.words = make("div", { role: "status", "aria-live": "polite", style: { margin: "3px 0" } });
    this.legend = make("div", { className: "clnb-legend", role: "group", "aria-label": "legend" });
    this.odd = make("div", { className: "clnb-row", role: "group", "aria-label": "least likely rows", style: { overflowX: "auto", gap: "3px", padding: "2px", marginTop: "4px" } });
    this.fits = make("table", { "aria-label": "mixtures", style: { borderCollapse: "collapse", fontVariantNumeric: "tabular-nums", margin: "2px 0" } });
    stage.body.before(this.words, this.fits, this.legend);
    stage.body.after(this.odd);
    const { canvas } = stage;
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerleave", () => { if (!this.drag) this.leave(); });
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", () => { this.drag = null; stage.redraw(); });
    stage.keys = { ArrowRight: () => this.walk(1), ArrowLeft: () => this.walk(-1), ArrowDown: () => this.rarer(1), ArrowUp: () => this.rarer(-1), Enter: (event) => this.take(event), c: () => this.next("colour", 1), g: () => this.next("fit", 1),
      Escape: () => { this.component = this.row = -1; this.drag = null; stage.redraw(); } };
  }

  makeTools() {
    const { stage } = this, { options } = stage;
    this.colouring = dropdown("colour", options.colours, this.colour, (what) => { this.colour = what; stage.redraw(); });
    this.size = slider("ellipses, standard deviations", { min: 0.5, max: 3, step: 0.1, value: this.radius }, (radius) => { this.radius = radius; stage.redraw(); });
    stage.tools.append(this.colouring, checkbox("ellipses", true, (on) => { this.outlines = on; stage.redraw(); }), this.size);
    if (options.fits.length > 1) stage.tools.prepend((this.fitting = dropdown("mixture", options.fits, this.fit, (name) => this.choose(name))));
  }

  choose(name) {
    this.fit = name;
    this.component = -1;
    this.stage.redraw();
  }
  next(what, step) {
    const all = what === "colour" ? this.stage.options.colours : this.stage.options.fits, name = all[(all.indexOf(this[what]) + step + all.length) % all.length];
    if (what === "fit") this.choose(name); else this.colour = name;
    this.whisper(`${what === "fit" ? "mixture" : "colour"}: ${name}`);
    this.stage.redraw();
  }

  get now() { return this.made?.find((f) => f.name === this.fit) ?? this.made?.[0]; }

  draw(frame) {
    const { stage } = this, there = Boolean(frame.points);
    for (const node of [stage.tools, this.odd, this.legend, this.fits]) node.style.display = there ? "" : "none";
    if (!there) { this.words.textContent = ""; this.made = null; return stage.say("nothing has been recorded yet"); }
    if (frame.number !== this.number) this.read(frame);
    this.chosen.of(this.n);
    this.showTools();
    this.showWords();
    this.layOut();
    this.paintPoints();
    if (this.outlines) this.paintEllipses();
    this.paintMarks();
    this.showLegend();
    this.showOdd();
    this.tell();
  }

  read(frame) {
    this.number = frame.number;
    this.points = unpack(frame.points);
    this.n = this.points.shape[0];
    this.share = frame.share;
    this.made = frame.fits.map((f) => {
      const fit = { ...f, ...Object.fromEntries(["clusters", "score", "entropy", "sure", "means", "covariances", "weights"].map((name) => [name, unpack(f[name])])) };
      fit.count = fit.weights.length;
      fit.sizes = new Uint32Array(fit.count);
      for (const k of fit.clusters) fit.sizes[k]++;
      fit.agreements = [...this.columns.values()].filter((c) => c.kind === "category").map((c) => {
        const C = c.names.length, table = contingency(fit.clusters, c.values, fit.count, C);
        return { name: c.name, table, C, names: c.names, ...agreement(table, fit.count, C) };
      });
      fit.rare = Array.from({ length: this.n }, (_, i) => i).sort((a, b) => fit.score[b] - fit.score[a] || a - b);
      return fit;
    });
    this.layerKey = this.oddKey = this.fitsKey = "";
    if (this.component >= this.now.count) this.component = -1;
    if (this.row >= this.n) this.row = -1;
  }

  showTools() {
    this.colouring.querySelector("select").value = this.colour;
    if (this.fitting) this.fitting.querySelector("select").value = this.fit;
  }

  inWords(fit) {
    const agree = fit.agreements.filter((a) => Number.isFinite(a.nmi)).map((a) => `; with ${a.name} NMI ${fixed(a.nmi)}, ARI ${fixed(a.ari)}`).join("");
    return `${fit.name}: ${fit.count} components, ${fit.kind}; mean log p ${fixed(fit.likelihood)}${agree}`;
  }

  showWords() {
    const text = `${this.inWords(this.now)}.`;
    if (this.words.textContent !== text) this.words.textContent = text;
    const note = `${thousands(this.n)} rows · the plane shows ${percentOf(this.share, 1)} of the variance${this.chosen.count ? ` · ${thousands(this.chosen.count)} selected` : ""}`;
    this.stage.note.textContent = [this.stage.frame.step == null ? "" : `step ${this.stage.frame.step}`, note].filter(Boolean).join(" · ");
    this.fits.style.display = this.made.length > 1 ? "" : "none";
    const key = `${this.number} ${this.fit}`;
    if (this.made.length < 2 || key === this.fitsKey) return;
    this.fitsKey = key;
    const cell = (text, tag = "td") => make(tag, { style: { padding: "0 10px 0 0", textAlign: "left", fontWeight: tag === "th" ? 600 : 400 } }, text), kinds = this.now.agreements.map((a) => a.name);
    const had = this.fits.contains(document.activeElement);
    this.fits.replaceChildren(make("tr", {}, ...["mixture", "mean log p", "BIC", "steps", ...kinds.flatMap((name) => [`NMI, ${name}`, `ARI, ${name}`])].map((t) => cell(t, "th"))), ...this.made.map((fit) => {
      const name = make("button", { type: "button", "aria-pressed": String(fit === this.now), onclick: () => this.choose(fit.name) }, fit.name);
      const row = make("tr", {}, cell(name), cell(fixed(fit.likelihood)), cell(fit.bic == null ? "–" : thousands(Math.round(fit.bic))), cell(fit.iterations ? `${fit.iterations}${fit.converged ? "" : ", not at rest"}` : "–"),
        ...fit.agreements.flatMap((a) => [cell(fixed(a.nmi)), cell(fixed(a.ari))]));
      row.dataset.fit = fit.name;
      return row;
    }));
    if (had) this.fits.querySelector("[aria-pressed=true]")?.focus();
  }

  /** The same scale across and up, around points and ellipses. */
  layOut() {
    const { stage, points, now } = this, reach = Math.min(this.stage.options.radius, 2);
    if (this.fitFor !== `${this.number} ${this.fit}`) {
      this.fitFor = `${this.number} ${this.fit}`;
      const low = [Infinity, Infinity], high = [-Infinity, -Infinity], see = (c, v) => { if (v < low[c]) low[c] = v; if (v > high[c]) high[c] = v; };
      for (let i = 0; i < points.length; i++) see(i % 2, points[i]);
      for (let k = 0; k < now.count; k++) for (const c of [0, 1]) {
        const far = reach * Math.sqrt(Math.max(now.covariances[4 * k + 3 * c], 0)), m = now.means[2 * k + c];
        if (now.sizes[k]) { see(c, m - far); see(c, m + far); }
      }
      this.middle = [0, 1].map((c) => (low[c] + high[c]) / 2);
      this.span = [0, 1].map((c) => Math.max(high[c] - low[c], 1e-9));
    }
    this.scale = Math.min((stage.width - 24) / this.span[0], (stage.height - 24) / this.span[1]);
  }
  px(x, y) { return [this.stage.width / 2 + (x - this.middle[0]) * this.scale, this.stage.height / 2 - (y - this.middle[1]) * this.scale]; }
  at(i) { return this.px(this.points[2 * i], this.points[2 * i + 1]); }

  /** Colours of the rows in groups: [[colour, rows …]]. */
  inks() {
    const { now, colour, stage } = this, column = this.columns.get(colour), groups = new Map(), add = (ink, i) => { let rows = groups.get(ink); if (!rows) groups.set(ink, (rows = [])); rows.push(i); };
    if (colour === CLUSTER && !column) for (let i = 0; i < this.n; i++) add(stage.options.clusterColours[now.clusters[i] % stage.options.clusterColours.length], i);
    else if (column?.kind === "category") for (let i = 0; i < this.n; i++) add(column.values[i] < 0 ? GREY : column.colours[column.values[i]], i);
    else {
      const values = this.valuesOf(), [low, high] = (this.limits = this.limitsOf(values));
      for (let i = 0; i < this.n; i++) add(Number.isFinite(values[i]) ? shadeOf(Math.round(24 * Math.max(0, Math.min(1, (values[i] - low) / (high - low || 1)))) / 24) : GREY, i);
    }
    return groups;
  }
  valuesOf() { return this.colour === SCORE && !this.columns.has(SCORE) ? this.now.score : this.colour === UNDECIDED && !this.columns.has(UNDECIDED) ? this.now.entropy : this.columns.get(this.colour).values; }
  limitsOf(values) {
    const sorted = Float32Array.from(values).filter(Number.isFinite).sort(), n = sorted.length;
    return n ? [sorted[Math.floor(0.01 * (n - 1))], sorted[Math.ceil(0.99 * (n - 1))]] : [0, 1];
  }

  paintPoints() {
    const { stage, chosen } = this, ratio = stage.canvas.width / stage.width, key = [this.number, this.fit, this.colour, stage.canvas.width, stage.canvas.height, chosen.version, stage.ink].join();
    if (key !== this.layerKey) {
      this.layerKey = key;
      const layer = (this.layer = make("canvas", { width: stage.canvas.width, height: stage.canvas.height })), ctx = layer.getContext("2d");
      ctx.scale(ratio, ratio);
      const side = this.n > 20000 ? 1.5 : this.n > 3000 ? 2.5 : 4, some = chosen.count > 0;
      for (const [ink, rows] of this.inks()) {
        ctx.fillStyle = ink;
        for (const wanted of some ? [0, 1] : [0]) {
          ctx.globalAlpha = some && !wanted ? 0.2 : 0.85;
          for (const i of rows) {
            if (some && chosen.mask[i] !== wanted) continue;
            const [x, y] = this.at(i);
            ctx.fillRect(x - side / 2, y - side / 2, side, side);
          }
        }
      }
      ctx.globalAlpha = 1;
    }
    stage.ctx.drawImage(this.layer, 0, 0, stage.width, stage.height);
  }

  /** A circle of the component's own metric, seen in the plane: half axes from the 2 × 2 covariance. */
  ellipseOf(k) {
    const [a, b, , d] = this.now.covariances.subarray(4 * k, 4 * k + 4), middle = (a + d) / 2, off = Math.hypot((a - d) / 2, b);
    return { axes: [middle + off, middle - off].map((v) => Math.sqrt(Math.max(v, 0))), angle: 0.5 * Math.atan2(2 * b, a - d) };
  }

  paintEllipses() {
    const { stage: { ctx, ink, paper, options }, now, radius } = this;
    for (let k = 0; k < now.count; k++) {
      const [x, y] = this.px(now.means[2 * k], now.means[2 * k + 1]), { axes, angle } = this.ellipseOf(k), mine = options.clusterColours[k % options.clusterColours.length], bold = k === this.component;
      const way = (r) => { ctx.beginPath(); ctx.ellipse(x, y, r * axes[0] * this.scale, r * axes[1] * this.scale, -angle, 0, 2 * Math.PI); };
      way(radius);
      if (bold) { ctx.globalAlpha = 0.15; ctx.fillStyle = mine; ctx.fill(); ctx.globalAlpha = 1; }
      ctx.strokeStyle = paper; ctx.lineWidth = bold ? 6 : 4; ctx.globalAlpha = 0.6; ctx.stroke(); ctx.globalAlpha = 1;
      ctx.strokeStyle = this.colour === CLUSTER ? mine : ink; ctx.lineWidth = bold ? 3 : 1.5;
      ctx.setLineDash(now.sizes[k] ? [] : [4, 3]);
      ctx.stroke();
      ctx.setLineDash([]);
    }
    ctx.textAlign = "center"; ctx.textBaseline = "middle"; ctx.lineWidth = 2;
    for (let k = 0; k < now.count; k++) {
      const [x, y] = this.px(now.means[2 * k], now.means[2 * k + 1]);
      ctx.fillStyle = paper; ctx.beginPath(); ctx.arc(x, y, 8, 0, 7); ctx.fill();
      ctx.strokeStyle = options.clusterColours[k % options.clusterColours.length]; ctx.stroke();
      ctx.fillStyle = ink; ctx.fillText(String(k), x, y + 0.5);
    }
  }

  paintMarks() {
    const { stage: { ctx, ink } } = this;
    if (this.row >= 0) {
      const [x, y] = this.at(this.row);
      ctx.strokeStyle = ink; ctx.lineWidth = 2;
      ctx.beginPath(); ctx.arc(x, y, 7, 0, 7); ctx.stroke();
    }
    if (!this.drag?.moved) return;
    const [a, b] = [this.drag.from, this.drag.to];
    ctx.strokeStyle = ink; ctx.lineWidth = 1; ctx.setLineDash([4, 3]);
    ctx.strokeRect(Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.abs(a[0] - b[0]), Math.abs(a[1] - b[1]));
    ctx.setLineDash([]);
  }

  showLegend() {
    const column = this.columns.get(this.colour), { options } = this.stage, key = `${this.number} ${this.fit} ${this.colour}`;
    if (key === this.legendKey) return;
    this.legendKey = key;
    const chip = (ink, text, test, title) => make("button", { type: "button", className: "clnb-chip", title, onclick: (event) => pick(this.stage, rowsWhere(this.n, test), event) },
      make("span", { className: "clnb-dot", style: { background: ink } }), make("span", {}, text));
    let chips;
    if (this.colour === CLUSTER && !column)
      chips = Array.from({ length: Math.min(this.now.count, 60) }, (_, k) => chip(options.clusterColours[k % options.clusterColours.length], `${k} (${thousands(this.now.sizes[k])})`, (i) => this.now.clusters[i] === k, `select cluster ${k}`));
    else if (column?.kind === "category")
      chips = column.names.slice(0, 60).map((name, k) => chip(column.colours[k], name, (i) => column.values[i] === k, `select ${this.colour}: ${name}`));
    else {
      const [low, high] = this.limitsOf(this.valuesOf()), stops = Array.from({ length: 9 }, (_, i) => shadeOf(i / 8)).join(", ");
      chips = [make("span", {}, short(low)), make("span", { className: "clnb-bar", style: { background: `linear-gradient(90deg, ${stops})` } }), make("span", {}, short(high))];
    }
    this.legend.replaceChildren(...chips);
  }

  rowWords(row) {
    const { now } = this, label = [...this.columns.values()].map((c) => `${c.name}: ${c.kind === "category" ? (c.values[row] < 0 ? "unknown" : c.names[c.values[row]]) : short(c.values[row])}`);
    return [`row ${row}`, ...label, `cluster ${now.clusters[row]}, responsibility ${fixed(now.sure[row])}`, `−log p ${fixed(now.score[row], 2)}; undecided ${fixed(now.entropy[row])} nats`];
  }

  /** The rows that the mixture expects least: buttons, with images where there are any. */
  showOdd() {
    const key = `${this.number} ${this.fit} ${this.chosen.version}`, pictured = this.stage.options.pictured;
    if (key === this.oddKey) return;
    this.oddKey = key;
    const rows = this.now.rare.slice(0, 14), focus = this.odd.contains(document.activeElement) ? document.activeElement.dataset.row : undefined;
    if (pictured) this.faces.want(rows);
    this.odd.replaceChildren(make("span", { className: "clnb-help", style: { flex: "none" } }, "least likely:"), ...rows.map((row) => rowButton(row, this.rowWords(row).join(", "), this.chosen.mask[row] === 1,
      (event) => { this.row = row; pick(this.stage, [row], event); this.stage.redraw(); },
      ...(pictured ? [this.faces.tile(row, 40)] : [make("span", { style: { lineHeight: "1.2", fontSize: "10px" } }, `${row}: ${fixed(this.now.score[row], 1)}`)]))));
    if (focus !== undefined) this.odd.querySelector(`[data-row="${focus}"]`)?.focus();
  }

  componentWords(k) {
    const { now } = this, a = now.agreements[0], words = [`cluster ${k}`, `${thousands(now.sizes[k])} rows, weight ${fixed(now.weights[k])}`];
    for (const { name, table, C, names } of a ? now.agreements : []) {
      let best = 0, sum = 0;
      for (let c = 0; c < C; c++) { sum += table[k * C + c]; if (table[k * C + c] > table[k * C + best]) best = c; }
      if (sum) words.push(`${name}: mostly ${names[best]}, ${percentOf(table[k * C + best], sum)}`);
    }
    return words;
  }

  /** What lies under the mouse: a component's number, or the nearest row within 8 pixels. */
  under([x, y]) {
    const { now } = this;
    if (this.outlines) for (let k = 0; k < now.count; k++) {
      const [cx, cy] = this.px(now.means[2 * k], now.means[2 * k + 1]);
      if (Math.hypot(x - cx, y - cy) <= 8) return { component: k };
    }
    const wx = (x - this.stage.width / 2) / this.scale + this.middle[0], wy = this.middle[1] - (y - this.stage.height / 2) / this.scale;
    let best = (8 / this.scale) ** 2, row = -1;
    for (let i = 0; i < this.n; i++) {
      const dx = this.points[2 * i] - wx, dy = this.points[2 * i + 1] - wy, far = dx * dx + dy * dy;
      if (far < best) { best = far; row = i; }
    }
    return row < 0 ? null : { row };
  }

  showRow(row, spot) {
    this.tipFor = [row, spot];
    const [first, ...rest] = this.rowWords(row), pictured = row < this.stage.options.pictured;
    this.stage.showTip(spot, ...(pictured ? [this.faces.face(row, 72)] : []), make("b", {}, first), ...rest);
  }
  leave() { this.tipFor = null; this.stage.showTip(); }

  move(event) {
    if (!this.now) return;
    const at = this.stage.at(event);
    if (this.drag) {
      this.drag.to = at;
      this.drag.moved ||= Math.hypot(at[0] - this.drag.from[0], at[1] - this.drag.from[1]) > 4;
      if (this.drag.moved) { this.leave(); this.stage.redraw(); }
      return;
    }
    const found = this.under(at);
    this.stage.canvas.style.cursor = found ? "pointer" : "crosshair";
    if (!found) return this.leave();
    if (found.row !== undefined) return this.showRow(found.row, { clientX: event.clientX, clientY: event.clientY });
    this.tipFor = null;
    const [first, ...rest] = this.componentWords(found.component);
    this.stage.showTip(event, make("b", {}, first), ...rest);
  }
  down(event) {
    if (!this.now || event.button) return;
    this.drag = { from: this.stage.at(event), to: this.stage.at(event), moved: false };
    try { this.stage.canvas.setPointerCapture(event.pointerId); } catch { /* not a real pointer */ }
  }
  up(event) {
    const { drag } = this;
    this.drag = null;
    if (!drag || !this.now) return;
    if (!drag.moved) {
      const found = this.under(drag.from);
      if (found?.component !== undefined) { this.component = found.component; this.cluster(found.component, event); }
      else if (found) { this.row = found.row; pick(this.stage, [found.row], event); }
      else if (!adds(event)) this.stage.select([]);
    } else {
      const [low, high] = [0, 1].map((c) => [Math.min(drag.from[c], drag.to[c]), Math.max(drag.from[c], drag.to[c])]);
      pick(this.stage, rowsWhere(this.n, (i) => { const [x, y] = this.at(i); return x >= low[0] && x <= low[1] && y >= high[0] && y <= high[1]; }), event);
    }
    this.whisper(`${this.stage.selection.length} rows selected`);
    this.stage.redraw();
  }

  cluster(k, event) { pick(this.stage, rowsWhere(this.n, (i) => this.now.clusters[i] === k), event); }
  walk(step) {
    if (!this.now) return;
    this.row = -1;
    this.component = this.component < 0 ? (step > 0 ? 0 : this.now.count - 1) : (this.component + step + this.now.count) % this.now.count;
    this.whisper(this.componentWords(this.component).join(", "));
    this.stage.redraw();
  }
  /** From the least likely row to likelier ones. */
  rarer(step) {
    if (!this.now) return;
    const at = this.row < 0 ? (step > 0 ? -1 : 1) : this.now.rare.indexOf(this.row);
    this.row = this.now.rare[Math.max(0, Math.min(this.n - 1, at + step))];
    this.component = -1;
    const [x, y] = this.at(this.row), box = this.stage.canvas.getBoundingClientRect();
    this.showRow(this.row, { clientX: box.left + x, clientY: box.top + y });
    this.whisper(this.rowWords(this.row).join(", "));
    this.stage.redraw();
  }
  take(event) {
    if (!this.now) return;
    if (this.row >= 0) pick(this.stage, [this.row], event);
    else if (this.component >= 0) this.cluster(this.component, event);
    this.whisper(`${this.stage.selection.length} rows selected`);
  }

  tell() {
    const { now } = this, first = now.agreements[0], centres = Array.from({ length: now.count }, (_, k) => this.px(now.means[2 * k], now.means[2 * k + 1]).map((v) => +v.toFixed(1)).join());
    Object.assign(this.stage.root.dataset, { fit: now.name, colour: this.colour, component: this.component, row: this.row, nmi: first?.nmi ?? "", ari: first?.ari ?? "", centres: centres.join(";"),
      scale: [this.scale, ...this.middle, this.stage.width, this.stage.height].join(), rare: now.rare.slice(0, 14).join(), selected: this.chosen.count, radius: this.radius });
    const text = `Rows and components. ${this.words.textContent}`;
    if (this.stage.canvas.getAttribute("aria-label") !== text) this.stage.canvas.setAttribute("aria-label", text);
  }
}

export default {
  render({ model, el }) {
    const { title, height, kind } = model.get("options"), table = kind === "table";
    const stage = new Stage({ model, el }, { title, height, help: table
      ? "↑ ↓ ← →: cell · Enter or click: select its rows · x or click on a number: mark the cluster · m: merge the marked · s: split · u: undo · r: as found · Esc: clear"
      : "click: a row, or a cluster by its number · drag: a rectangle · Ctrl: add · ← →: cluster · ↓ ↑: rows, the least likely first · Enter: select · c: colour · g: mixture · Esc: clear" });
    const view = table ? new TableView(stage) : new MapView(stage);
    return stage.start((frame) => view.draw(frame));
  },
  /** In a page: images by row, of which only some may be there. */
  answer(atlas, question) {
    if (question.ask !== "images" || !atlas.rows) return undefined;
    const places = (atlas.places ??= new Map([...unpack(atlas.rows)].map((row, i) => [row, i]))), missing = question.rows.find((row) => !places.has(row));
    if (missing !== undefined) return { error: `this page does not carry the image of row ${missing}` };
    return answerFromAtlas(atlas, { ...question, rows: question.rows.map((row) => places.get(row)) });
  },
};
