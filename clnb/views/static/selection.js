// SelectionProbe: which negatives of an anchor were kept or dropped, with what probability, why, and which share its class. See 07m_selection.ipynb.

const SIGNS = { 2: ["same class", "#E69F00"], 1: ["another class", "#0072B2"], 0: ["class unknown", "#7F7F7F"] };     // by agrees + 1
const SHADES = [[68, 1, 84], [70, 50, 126], [54, 92, 141], [39, 127, 142], [31, 161, 135], [74, 193, 109], [160, 218, 57], [253, 231, 37]];
const ANCHOR = "#0072B2", OTHER = "#CC79A7";
const three = (v) => (Number.isFinite(v) ? short(+v.toPrecision(3)) : "–");

function shade(t) {
  const at = Math.max(0, Math.min(1, t)) * (SHADES.length - 1), i = Math.min(Math.floor(at), SHADES.length - 2), f = at - i;
  return SHADES[i].map((v, c) => Math.round(v + f * (SHADES[i + 1][c] - v)));
}
const LOOKUP = Array.from({ length: 256 }, (_, i) => shade(i / 255));
const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;

/** As Python's `percent`. */
function percent(share) {
  if (!Number.isFinite(share)) return "–";
  return share > 0 && share < 0.0005 ? "< 0.1 %" : `${Math.floor(1000 * share + 0.5) / 10} %`;
}

/** The mixing of Python's `thrown`: a number from 0 to 1 for place `i` of throw `throw`. */
function mixed(x) {
  x = Math.imul(x ^ (x >>> 16), 0x85EBCA6B);
  x = Math.imul(x ^ (x >>> 13), 0xC2B2AE35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** The arrays of a frame, and what is derived from them as in Python. */
class Choice {
  constructor(frame) {
    for (const name of ["keep", "kept", "similarity", "agrees", "anchors", "rows", "anchorClass", "candidateClass"]) this[name] = unpack(frame[name] ?? undefined);
    [this.levels, this.anchorCount, this.count] = frame.keep.shape;
    this.tree = frame.tree && Object.fromEntries(Object.entries(frame.tree).map(([name, value]) => [name, unpack(value)]));
    this.orders = Object.fromEntries(Object.entries(frame.orders).map(([name, both]) => [name, both.map(unpack)]));
    this.throws = new Map();
    this.tallies = new Map();
  }
  index(l, a, c) { return (l * this.anchorCount + a) * this.count + c; }
  p(l, a, c) { return this.keep[this.index(l, a, c)]; }
  compared(a, c) { return Number.isFinite(this.similarity[a * this.count + c]); }
  agree(a, c) { return this.agrees[a * this.count + c]; }     // 2: same class, 1: another, 0: unknown

  /** What a throw keeps; 0 is the recorded one. */
  thrown(throw_) {
    if (throw_ < 1 && this.kept) return this.kept;
    const number = Math.max(throw_, 1);
    if (!this.throws.has(number)) {
      const seed = mixed(number), kept = new Uint8Array(this.keep.length);
      for (let i = 0; i < kept.length; i++) kept[i] = mixed(i ^ seed) / 2 ** 32 < this.keep[i];
      if (this.throws.size > 8) this.throws.clear();
      this.throws.set(number, kept);
    }
    return this.throws.get(number);
  }

  /** Mean over the levels shown: of the probabilities, and of what a throw keeps. */
  mean(values, level, a, c) {
    if (level !== null) return values[this.index(level, a, c)];
    let sum = 0;
    for (let l = 0; l < this.levels; l++) sum += values[this.index(l, a, c)];
    return sum / this.levels;
  }

  tally(level, anchor, throw_) {
    const key = `${level} ${anchor} ${throw_}`;
    if (this.tallies.size > 200) this.tallies.clear();
    if (!this.tallies.has(key)) this.tallies.set(key, this.count_(level, anchor, throw_));
    return this.tallies.get(key);
  }

  count_(level, anchor, throw_) {
    const kept = this.thrown(throw_), t = { candidates: 0, kept: 0, known: 0, knownKept: 0, false: 0, falseKept: 0 }, sums = [0, 0, 0];
    const from = (one, all) => (one === null ? [0, all] : [one, one + 1]), [l0, l1] = from(level, this.levels), [a0, a1] = from(anchor, this.anchorCount);
    for (let l = l0; l < l1; l++) for (let a = a0; a < a1; a++) for (let c = 0; c < this.count; c++) {
      if (!this.compared(a, c)) continue;
      const i = this.index(l, a, c), agrees = this.agree(a, c), k = kept[i], p = this.keep[i];
      t.candidates++; t.kept += k; sums[0] += p;
      if (agrees > 0) { t.known++; t.knownKept += k; sums[1] += p; }
      if (agrees === 2) { t.false++; t.falseKept += k; sums[2] += p; }
    }
    const ratio = (part, whole) => (whole ? part / whole : NaN);
    return Object.assign(t, { keep: ratio(sums[0], t.candidates), falseKeep: ratio(sums[2], t.false), before: ratio(t.false, t.known),
      after: ratio(t.falseKept, t.knownKept), expected: ratio(sums[2], sums[1]) });
  }

  /** As Python's `in_words`. */
  inWords(level, anchor, throw_) {
    const t = this.tally(level, anchor, throw_);
    const text = `${t.kept} of ${t.candidates} kept (${percent(t.kept / Math.max(t.candidates, 1))}; over all throws ${percent(t.keep)})`;
    if (!t.known) return `${text}; without labels nobody knows which of them are false negatives.`;
    if (!t.false) return `${text}; none of them is a false negative.`;
    return `${text}; of the false negatives ${t.falseKept} of ${t.false} (${percent(t.falseKept / t.false)}; over all throws ${percent(t.falseKeep)}). `
      + `False-negative rate: ${percent(t.before)} without selection, ${percent(t.after)} with it (over all throws ${percent(t.expected)}).`;
  }

  /** Place of a path in the tree drawing, and the number of its prototype. */
  place(side, l, k) { return this.tree[side][l * (side === "anchors" ? this.anchorCount : this.count) + k]; }
  prototype(side, l, k) { return this.tree.number[this.place(side, l, k)]; }

  /** The level from which on both are in the same branches; `levels`: on none. */
  sharedFrom(a, c) {
    let l = this.levels;
    while (l > 0 && this.prototype("anchors", l - 1, a) === this.prototype("candidates", l - 1, c)) l--;
    return l;
  }
  sharedWords(level) {
    const several = this.levels > 1;
    if (level >= this.levels) return several ? "shares no branch with the anchor" : "sits in another branch";
    if (level === 0) return several ? "shares its branch on every level: the same leaf" : "shares its branch";
    return `shares its branch from level ${level + 1} on`;
  }
}

class SelectionView {
  constructor(stage) {
    const { anchor, level, throw: first, sort } = stage.options;
    Object.assign(this, { stage, anchor, level: undefined, first: level, throw_: first, last: first, sort, cursor: -1, ours: "", outside: "" });
    this.store = new ImageStore(stage, () => { this.stripKey = this.whyKey = ""; stage.redraw(); });
    this.makeTools();
    this.words = make("div", { role: "status", "aria-live": "polite", style: { margin: "3px 0" } });
    this.whole = make("div", { className: "clnb-help" });
    this.strip = make("div", { role: "group", "aria-label": "anchors", className: "clnb-row", style: { overflowX: "auto", padding: "2px", gap: "3px" } });
    this.strip.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      this.turn(step);
      this.strip.children[this.anchor]?.focus();
    });
    stage.body.before(this.strip, this.words, this.whole, this.makeLegend());
    this.why = make("div", { role: "group", "aria-label": "why this candidate", style: { minHeight: "90px", display: "flex", flexWrap: "wrap", gap: "4px 18px", alignItems: "flex-start", marginTop: "4px" } });
    stage.body.after(this.why);
    this.whisper = whisper(stage);
    const { canvas } = stage;
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => { stage.showTip(); this.over = null; this.point(this.pinned ?? -1); });
    canvas.addEventListener("click", (event) => this.click(event));
    stage.keys = { ArrowRight: () => this.turn(1), ArrowLeft: () => this.turn(-1), ArrowDown: () => this.walk(1), ArrowUp: () => this.walk(-1),
      Enter: () => this.cursor >= 0 && this.choose(this.cursor), l: () => this.nextLevel(), t: () => this.throwAgain(), r: () => this.setThrow(0),
      Escape: () => { this.ours = ""; this.pinned = undefined; this.point(-1); } };
  }

  makeTools() {
    const { stage } = this;
    this.levelTools = make("span", { className: "clnb-modes", role: "group", "aria-label": "level" });
    this.sorting = make("select", { "aria-label": "overview sorted by", onchange: () => { this.sort = this.sorting.value; stage.redraw(); } });
    this.again = make("button", { type: "button", title: "throw all coins once more (t)", onclick: () => this.throwAgain() }, "throw again");
    this.back = make("button", { type: "button", title: "show the throw that was recorded (r)", onclick: () => this.setThrow(0) }, "recorded throw");
    this.thrownText = make("output", { className: "clnb-note" });
    stage.tools.append(this.levelTools, this.again, this.back, this.thrownText,
      make("label", { className: "clnb-slider" }, make("span", {}, "overview sorted by"), this.sorting));
  }

  makeLegend() {
    const marks = [["◆", SIGNS[2]], ["●", SIGNS[1]], ["■", SIGNS[0]]].map(([sign, [text, ink]], k) =>
      make("span", { hidden: false, style: { whiteSpace: "nowrap" } }, make("span", { style: { color: `color-mix(in srgb, ${ink} 70%, var(--clnb-ink))` }, "aria-hidden": "true" }, `${sign} `), k === 0 ? `${text}: a false negative` : text));
    this.legend = make("div", { className: "clnb-row", style: { flexWrap: "wrap", gap: "2px 14px" } }, ...marks,
      make("span", { className: "clnb-help" }, "filled: kept · hollow: dropped"), this.half = make("span", { className: "clnb-help" }, "half: kept on some levels"));
    this.marks = marks;
    return this.legend;
  }

  draw(frame) {
    const { stage } = this, there = Boolean(frame.keep);
    for (const node of [this.strip, this.why, this.legend, this.whole, stage.tools]) node.hidden = !there;
    for (const node of [this.strip, this.why, this.legend, stage.tools]) node.style.display = there ? (node === stage.tools ? "" : "flex") : "none";
    if (!there) { this.choice = null; this.words.textContent = frame.note ?? ""; this.size(120); return stage.say("nothing has been recorded yet"); }
    if (frame.number !== this.number) this.take(frame);
    this.followSelection();
    this.showTools();
    this.showStrip();
    this.showWords(frame);
    this.layOut();
    this.paintMarks();
    if (this.boxes.tree) this.paintTree(this.boxes.tree);
    this.paintOverview(this.boxes.heat);
    this.showWhy();
    this.tell();
  }

  /** A new frame: the anchor stays, by its row if it is still there; a candidate from a queue is another one now. */
  take(frame) {
    const before = this.choice, row = before?.anchors[this.anchor];
    this.number = frame.number;
    this.choice = new Choice(frame);
    this.named = frame.named;
    const { choice } = this, at = row === undefined ? -1 : choice.anchors.indexOf(row);
    if (at >= 0) this.anchor = at;
    this.anchor = Math.max(0, Math.min(this.anchor, choice.anchorCount - 1));
    if (this.level === undefined) this.level = this.first === 0 ? null : this.first == null ? choice.levels - 1 : this.first - 1;
    if (this.level !== null) this.level = Math.min(this.level, choice.levels - 1);
    const same = before && before.count === choice.count && before.rows.every((r, c) => r >= 0 && r === choice.rows[c]);
    if (!same) { this.cursor = -1; this.pinned = undefined; }
    this.image = null;
    this.whyKey = "";
    if (!(this.sort in choice.orders)) this.sort = Object.keys(choice.orders)[0];
  }

  showTools() {
    const { choice, levelTools } = this, key = String(choice.levels);
    if (levelTools.dataset.count !== key) {
      levelTools.dataset.count = key;
      const ends = ["finest", "coarsest"], name = (l) => this.levelName(l) + (choice.levels > 1 && (l === 0 || l === choice.levels - 1) && !this.stage.options.levels[l] ? ` (${ends[+(l > 0)]})` : "");
      const button = (level, text) => make("button", { type: "button", "data-level": level === null ? "all" : level + 1, onclick: () => this.setLevel(level) }, text);
      levelTools.replaceChildren(...Array.from({ length: choice.levels }, (_, l) => button(l, name(l))), ...(choice.levels > 1 ? [button(null, "all levels")] : []));
      levelTools.style.flexWrap = "wrap";
    }
    for (const node of levelTools.children) node.setAttribute("aria-pressed", String(node.dataset.level === (this.level === null ? "all" : String(this.level + 1))));
    const sorts = Object.keys(choice.orders);
    if (this.sorting.dataset.sorts !== sorts.join()) {
      this.sorting.dataset.sorts = sorts.join();
      this.sorting.replaceChildren(...sorts.map((s) => make("option", { value: s }, s)));
    }
    this.sorting.value = this.sort;
    const recorded = this.throw_ === 0 && choice.kept;
    this.back.hidden = !choice.kept;
    this.back.disabled = Boolean(recorded);
    const text = recorded ? "shown: the recorded throw" : `shown: throw ${Math.max(this.throw_, 1)}, not recorded`;
    if (this.thrownText.textContent !== text) this.thrownText.textContent = text;
    const seen = new Set(choice.agrees);
    this.marks.forEach((node, k) => { node.hidden = !seen.has(2 - k); });
    this.half.hidden = this.level !== null || choice.levels === 1;
  }

  showWords(frame) {
    const { choice, anchor, level, throw_ } = this, name = this.anchorName(anchor), where = level === null ? (choice.levels > 1 ? "all levels" : "") : this.levelName(level);
    const text = `${name}, ${where}: ${choice.inWords(level, anchor, throw_)}`;
    if (this.words.textContent !== text) this.words.textContent = text;
    const all = `All ${choice.anchorCount} anchors, ${where}: ${choice.inWords(level, null, throw_)}`;
    this.whole.textContent = [this.outside, frame.scope, all].filter(Boolean).join(" · ");
  }

  setLevel(level) { this.level = level; this.image = null; this.whyKey = ""; this.stage.redraw(); }
  nextLevel() {
    if (!this.choice) return;
    const all = [...Array(this.choice.levels).keys(), ...(this.choice.levels > 1 ? [null] : [])];
    this.setLevel(all[(all.indexOf(this.level) + 1) % all.length]);
  }
  setThrow(number) { this.throw_ = number; this.whyKey = ""; this.stage.redraw(); }
  throwAgain() {
    if (!this.choice) return;
    this.last = Math.max(this.last + 1, this.choice.kept ? 1 : 2);
    this.setThrow(this.last);
  }

  levelName(l) { return this.stage.options.levels[l] ?? `level ${l + 1}`; }
  className(k) { return k < 0 ? "" : this.named ? this.stage.options.classes[k] ?? String(k) : `class of row ${this.choice.anchors[k]}`; }
  anchorName(a) { return [`row ${this.choice.anchors[a]}`, this.named ? this.className(this.choice.anchorClass[a]) : ""].filter(Boolean).join(", "); }
  candidateName(c) {
    const { rows, candidateClass } = this.choice;
    return [rows[c] >= 0 ? `row ${rows[c]}` : `candidate ${c}`, this.className(candidateClass[c])].filter(Boolean).join(", ");
  }
  agreement(c) {
    const { choice, anchor } = this, itself = choice.rows[c] >= 0 && choice.rows[c] === choice.anchors[anchor];
    return itself ? "the anchor's own image" : ["class unknown", "another class", "same class: a false negative"][choice.agree(anchor, c)];
  }
  keptWord(l, c) { return this.choice.thrown(this.throw_)[this.choice.index(l, this.anchor, c)] ? "kept" : "dropped"; }
  get throwName() { return this.throw_ === 0 && this.choice.kept ? "recorded throw" : `throw ${Math.max(this.throw_, 1)}`; }
  described(c) {
    const { choice, anchor } = this, levels = Array.from({ length: choice.levels }, (_, l) => `${this.levelName(l)} P(keep) ${three(choice.p(l, anchor, c))}, ${this.keptWord(l, c)}`);
    return [this.candidateName(c), this.agreement(c), `similarity ${three(choice.similarity[anchor * choice.count + c])}`, ...levels, ...(choice.tree ? [choice.sharedWords(choice.sharedFrom(anchor, c))] : [])].join("; ");
  }

  /** Another view has selected rows: the first of them that is an anchor is shown. */
  followSelection() {
    const now = this.stage.selection, key = now.join();
    this.marked = new Set(now);
    if (key === this.ours) return;
    this.ours = key;
    this.outside = "";
    if (!now.length) return;
    const rows = [...this.choice.anchors], found = [...now].map((row) => rows.indexOf(row)).find((i) => i >= 0);
    if (found === undefined) this.outside = `row ${now[0]} is not among the anchors`;
    else if (rows[this.anchor] !== rows[found]) { this.anchor = found; this.cursor = -1; this.pinned = undefined; this.whyKey = ""; }
  }

  turn(step) { if (this.choice) this.show((this.anchor + step + this.choice.anchorCount) % this.choice.anchorCount); }

  /** Make an anchor the one that is shown, and select its row. */
  show(a) {
    this.anchor = a;
    this.whyKey = "";
    this.pinned = undefined;
    this.point(-1);
    this.pickRows([this.choice.anchors[a]]);
    this.showStrip();
    this.strip.children[a]?.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.stage.redraw();
  }

  /** Keep a candidate in view, and select its row with that of the anchor. */
  choose(c) {
    this.pinned = c;
    this.pickRows([this.choice.anchors[this.anchor], this.choice.rows[c]]);
    this.point(c);
  }

  pickRows(rows) {
    const index = Uint32Array.from(new Set(rows.filter((row) => row >= 0))).sort();
    this.ours = index.join();
    this.outside = "";
    this.stage.select(index);
  }

  /** Candidates from the most to the least surely dropped, one after the other. */
  walk(step) {
    const { choice, anchor, level } = this;
    if (!choice) return;
    const all = rowsWhere(choice.count, (c) => choice.compared(anchor, c)), p = (c) => choice.mean(choice.keep, level, anchor, c);
    all.sort((a, b) => p(a) - p(b) || a - b);
    if (all.length) this.choose(all[this.cursor < 0 ? 0 : Math.max(0, Math.min(all.length - 1, all.indexOf(this.cursor) + step))]);
    if (this.cursor >= 0) this.whisper(this.described(this.cursor));
  }

  point(c) {
    if (this.cursor === c) return;
    this.cursor = c;
    this.stage.redraw();
  }

  hasImage(row) { return row >= 0 && row < this.stage.options.pictured; }
  wantImages(rows) { const some = [...rows].filter((row) => this.hasImage(row)); if (some.length) this.store.want(some); }

  showStrip() {
    const { choice, stage } = this, key = JSON.stringify([[...choice.anchors], [...choice.anchorClass], this.named, this.store.known.size]);
    this.wantImages(choice.anchors);
    if (key !== this.stripKey) {
      this.stripKey = key;
      const held = this.strip.contains(document.activeElement);
      this.strip.replaceChildren(...[...choice.anchors].map((row, a) => make("button", { type: "button", title: this.anchorName(a), "aria-label": `anchor ${this.anchorName(a)}`,
        style: { padding: "1px", flex: "none", minWidth: "34px" }, onclick: () => this.show(a) }, this.store.known.has(row) ? this.store.tile(row, 32) : `row ${row}`)));
      if (held) this.strip.children[this.anchor]?.focus();
    }
    [...this.strip.children].forEach((node, a) => { node.setAttribute("aria-pressed", String(a === this.anchor)); node.tabIndex = a === this.anchor ? 0 : -1; });
  }

  size(height) {
    if (this.stage.canvas.style.height === `${height}px`) return;
    this.stage.canvas.style.height = `${height}px`;
    this.stage.fit();
  }

  /** Where the three parts lie: side by side where there is room, else below each other. */
  layOut() {
    const { stage, choice } = this, w = stage.width, tall = stage.options.height, boxes = {};
    const box = (left, top, width, height) => ({ left, top, right: left + width, bottom: top + height });
    if (w >= 940 || (w >= 640 && !choice.tree)) {
      this.size(tall);
      const share = choice.tree ? [0.38, 0.27, 0.35] : [0.5, 0, 0.5];
      boxes.plot = box(0, 0, w * share[0] - 10, tall);
      if (choice.tree) boxes.tree = box(w * share[0], 0, w * share[1] - 10, tall);
      boxes.heat = box(w * (1 - share[2]), 0, w * share[2], tall);
    } else if (w >= 560 && choice.tree) {
      this.size(tall + 250);
      boxes.plot = box(0, 0, w, tall);
      boxes.tree = box(0, tall + 10, w * 0.45, 240);
      boxes.heat = box(w * 0.45 + 10, tall + 10, w * 0.55 - 10, 240);
    } else {
      const more = choice.tree ? 210 : 0;
      this.size(tall + more + 240);
      boxes.plot = box(0, 0, w, tall);
      if (choice.tree) boxes.tree = box(0, tall + 5, w, 200);
      boxes.heat = box(0, tall + more + 5, w, 235);
    }
    this.boxes = boxes;
  }

  paintMarks() {
    const { stage, choice, anchor, level } = this, { ctx } = stage, { plot } = this.boxes;
    const all = rowsWhere(choice.count, (c) => choice.compared(anchor, c)), x = all.map((c) => choice.similarity[anchor * choice.count + c]);
    const [left, right] = extent(x), room = Math.max((right - left) * 0.03, 0.005), kept = choice.thrown(this.throw_);
    const axes = new Axes(stage, { x: [left - room, right + room], y: [-0.03, 1.03], left: 46, top: 20, right: stage.width - plot.right + 8, bottom: stage.height - plot.bottom + 30,
      xLabel: "similarity to the anchor", yLabel: level === null && choice.levels > 1 ? "P(keep), mean over levels" : "P(keep)" });
    axes.draw();
    this.heading("candidates of the anchor", axes.left, plot);
    this.spots = all.map((c, k) => [c, axes.px(x[k]), axes.py(choice.mean(choice.keep, level, anchor, c))]);
    const rank = (c) => [1, 0, 2][choice.agree(anchor, c)];         // the same class is drawn last, on top
    for (const [c, px, py] of [...this.spots].sort((a, b) => rank(a[0]) - rank(b[0]) || a[0] - b[0]))
      this.mark(px, py, choice.agree(anchor, c), choice.mean(kept, level, anchor, c), this.marked.has(choice.rows[c]));
    this.pointed(axes);
  }

  /** One candidate: shape and colour say what it is, the filling whether it was kept. */
  mark(x, y, agrees, share, ringed) {
    const { ctx, paper, ink } = this.stage, r = agrees === 2 ? 5 : 3.6, shape = () => {
      ctx.beginPath();
      if (agrees === 2) { ctx.moveTo(x, y - r); ctx.lineTo(x + r, y); ctx.lineTo(x, y + r); ctx.lineTo(x - r, y); ctx.closePath(); }
      else if (agrees === 1) ctx.arc(x, y, r, 0, 7);
      else ctx.rect(x - r, y - r, 2 * r, 2 * r);
    };
    ctx.lineWidth = 1.4;
    ctx.strokeStyle = ctx.fillStyle = SIGNS[agrees][1];
    shape();
    if (share === 1) ctx.fill();
    else if (share > 0) {
      ctx.save(); ctx.clip(); ctx.fillRect(x - 6, y, 12, 6); ctx.restore();
      shape();
    }
    ctx.stroke();
    if (ringed) { ctx.strokeStyle = ink; ctx.lineWidth = 1; ctx.beginPath(); ctx.arc(x, y, 7.5, 0, 7); ctx.stroke(); }
  }

  /** A ring around the candidate that is pointed at; with all levels, its probability on each of them. */
  pointed(axes) {
    const { stage: { ctx, ink, root }, choice, anchor, level } = this, spot = this.spots.find(([c]) => c === this.cursor);
    delete root.dataset.spot;
    if (!spot) return;
    const [c, x, y] = spot;
    root.dataset.spot = `${x},${y}`;
    ctx.strokeStyle = ink; ctx.lineWidth = 2;
    ctx.beginPath(); ctx.arc(x, y, 8, 0, 7); ctx.stroke();
    if (level !== null || choice.levels === 1) return;
    ctx.fillStyle = ink; ctx.textBaseline = "middle"; ctx.lineWidth = 1;
    const side = x > axes.right - 30 ? -1 : 1;
    ctx.textAlign = side > 0 ? "left" : "right";
    for (let l = 0; l < choice.levels; l++) {
      const at = axes.py(choice.p(l, anchor, c));
      ctx.beginPath(); ctx.moveTo(x - 4, at); ctx.lineTo(x + 4, at); ctx.stroke();
      if (choice.levels <= 9) ctx.fillText(String(l + 1), x + side * 10, at);
    }
  }

  heading(text, left, box) {
    const { ctx, ink } = this.stage;
    ctx.fillStyle = ink; ctx.textAlign = "left"; ctx.textBaseline = "middle";
    ctx.font = "600 11px system-ui, sans-serif";
    ctx.fillText(cut(ctx, text, box.right - left), left, box.top + 8);
    ctx.font = "11px system-ui, sans-serif";
  }

  /** The tree of all paths: the anchor's in blue, the candidate's dashed; places coloured by the mean P(keep) of what lies below. */
  paintTree(box) {
    const { choice, anchor, cursor } = this, { ctx, faint, ink } = this.stage, { tree, levels } = choice, labels = 50;
    this.heading("branches", box.left + 4, box);
    const top = box.top + 24, bottom = box.bottom - 24, x = (k) => box.left + labels + tree.x[k] * (box.right - box.left - labels - 6);
    const y = (level) => top + ((levels - level) / levels) * (bottom - top);       // the root above all levels
    const root = [box.left + labels + 0.5 * (box.right - box.left - labels - 6), top];
    const edge = (k) => { const up = tree.parent[k]; ctx.moveTo(x(k), y(tree.level[k])); ctx.lineTo(...(up >= 0 ? [x(up), y(tree.level[up])] : root)); };
    const stroke = (places, color, width, dash = []) => { ctx.strokeStyle = color; ctx.lineWidth = width; ctx.setLineDash(dash); ctx.beginPath(); places.forEach(edge); ctx.stroke(); ctx.setLineDash([]); };
    const path = (side, k) => Array.from({ length: levels }, (_, l) => choice.place(side, l, k));
    stroke([...tree.x.keys()], faint, 0.4);
    const mine = path("anchors", anchor), other = cursor >= 0 ? path("candidates", cursor) : [];
    stroke(mine, ANCHOR, 3.5);
    if (other.length) stroke(other, OTHER, 2, [5, 3]);
    const sums = this.below();
    this.places = [];
    const r = tree.x.length > 150 ? 2.2 : 3.5;
    for (let k = 0; k < tree.x.length; k++) {
      const { count, keep } = sums[k], chosen = mine.includes(k) || other.includes(k), px = x(k), py = y(tree.level[k]);
      this.places.push([k, px, py]);
      ctx.beginPath(); ctx.arc(px, py, chosen ? r + 2 : r, 0, 7);
      ctx.fillStyle = count ? css(shade(keep / count)) : faint;
      ctx.fill();
      if (chosen) { ctx.strokeStyle = mine.includes(k) ? ANCHOR : OTHER; ctx.lineWidth = 1.5; ctx.stroke(); }
    }
    ctx.fillStyle = ink; ctx.textAlign = "left"; ctx.textBaseline = "middle";
    for (let l = 0; l < levels; l++) ctx.fillText(cut(ctx, this.levelName(l), labels - 6), box.left + 4, y(l));
    ctx.fillStyle = ANCHOR;
    const text = cursor >= 0 ? "anchor" : "the anchor's path";
    ctx.fillText(text, box.left + 4, box.bottom - 6);
    ctx.fillStyle = OTHER;
    if (cursor >= 0) ctx.fillText(cut(ctx, this.candidateName(cursor), box.right - box.left - 60), box.left + 16 + ctx.measureText(text).width, box.bottom - 6);
  }

  /** For every place: candidates below it, their summed P(keep) on its level, and how many are of the anchor's class. */
  below() {
    const { choice, anchor } = this, { tree, levels } = choice, key = `${this.number} ${anchor}`;
    if (this.belowKey === key) return this.sums;
    this.belowKey = key;
    this.sums = Array.from(tree.x, () => ({ count: 0, keep: 0, false: 0 }));
    for (let l = 0; l < levels; l++) for (let c = 0; c < choice.count; c++) {
      if (!choice.compared(anchor, c)) continue;
      const sum = this.sums[choice.place("candidates", l, c)];
      sum.count++; sum.keep += choice.p(l, anchor, c); sum.false += choice.agree(anchor, c) === 2;
    }
    return this.sums;
  }

  /** All anchors x candidates on the level, in order. */
  paintOverview(box) {
    const { stage, choice } = this, { ctx, ink, faint } = stage, [first, second] = choice.orders[this.sort];
    const left = box.left + 64, right = box.right - 44, top = box.top + 20, bottom = box.bottom - 30;
    this.heading("P(keep) of all anchors", left, box);
    const map = (this.map = { left, right, top, bottom, w: (right - left) / choice.count, h: (bottom - top) / choice.anchorCount, first, second });
    const tiny = this.cells(first, second);
    ctx.imageSmoothingEnabled = map.w < 1 || map.h < 1;
    ctx.imageSmoothingQuality = "high";
    ctx.drawImage(tiny, left, top, right - left, bottom - top);
    ctx.imageSmoothingEnabled = true;
    ctx.strokeStyle = faint; ctx.lineWidth = 1;
    ctx.strokeRect(left - 0.5, top - 0.5, right - left + 1, bottom - top + 1);
    this.blocks(map);
    const at = first.indexOf(this.anchor);
    ctx.strokeStyle = ink; ctx.lineWidth = 1.5;
    ctx.strokeRect(left - 1, top + at * map.h - 0.5, right - left + 2, Math.max(map.h, 2) + 1);
    ctx.fillStyle = ink;
    ctx.beginPath(); ctx.moveTo(left - 3, top + (at + 0.5) * map.h); ctx.lineTo(left - 10, top + (at + 0.5) * map.h - 5); ctx.lineTo(left - 10, top + (at + 0.5) * map.h + 5); ctx.fill();
    const column = second.indexOf(this.cursor);
    if (this.cursor >= 0 && column >= 0) {
      const x = left + (column + 0.5) * map.w;
      ctx.fillStyle = OTHER; ctx.beginPath(); ctx.moveTo(x, bottom + 1); ctx.lineTo(x - 4, bottom + 8); ctx.lineTo(x + 4, bottom + 8); ctx.fill();
    }
    ctx.fillStyle = ink; ctx.textAlign = "center"; ctx.textBaseline = "top";
    ctx.fillText(cut(ctx, `${choice.count} candidates, ${this.sort === "as recorded" ? "" : "by "}${this.sort}`, right - left), (left + right) / 2, bottom + 11);
    this.colourBar(right + 8, top, bottom);
  }

  colourBar(x, top, bottom) {
    const { ctx, ink } = this.stage;
    for (let y = top; y < bottom; y++) { ctx.fillStyle = css(shade((bottom - y) / (bottom - top))); ctx.fillRect(x, y, 9, 1.5); }
    ctx.fillStyle = ink; ctx.textAlign = "left"; ctx.textBaseline = "middle";
    for (const v of [0, 0.5, 1]) ctx.fillText(String(v), x + 13, bottom - v * (bottom - top));
  }

  cells(first, second) {
    const { choice, level } = this, key = `${this.number} ${level} ${this.sort}`;
    if (this.image?.key === key) return this.image.canvas;
    const data = new ImageData(choice.count, choice.anchorCount);
    first.forEach((a, i) => second.forEach((c, j) => {
      if (!choice.compared(a, c)) return;
      const at = 4 * (i * choice.count + j), [r, g, b] = LOOKUP[Math.round(255 * choice.mean(choice.keep, level, a, c))];
      data.data[at] = r; data.data[at + 1] = g; data.data[at + 2] = b; data.data[at + 3] = 255;
    }));
    const canvas = make("canvas", { width: choice.count, height: choice.anchorCount });
    canvas.getContext("2d").putImageData(data, 0, 0);
    this.image = { key, canvas };
    return canvas;
  }

  /** Frames around what belongs together: the same class (orange), or the same branch of the level (pale); names at the left. */
  blocks(map) {
    const { choice, sort } = this, { ctx, ink } = this.stage, byClass = sort === "class", level = this.level ?? choice.levels - 1;
    if (sort === "as recorded") return;
    const of = byClass ? [(a) => choice.anchorClass[a], (c) => choice.candidateClass[c]]
      : [(a) => choice.place("anchors", level, a), (c) => choice.place("candidates", level, c)];
    const runs = (order, key) => {
      const found = [];
      order.forEach((k, i) => { const v = key(k); if (found.at(-1)?.[0] === v) found.at(-1)[2] = i + 1; else found.push([v, i, i + 1]); });
      return found;
    };
    const across = runs(map.second, of[1]);
    ctx.font = "10px system-ui, sans-serif";
    let free = -Infinity;
    for (const [v, from, to] of runs(map.first, of[0])) {
      if (v < 0) continue;
      const y = map.top + from * map.h, tall = (to - from) * map.h, middle = y + tall / 2;
      for (const [other, start, end] of across) {
        if (other !== v) continue;
        ctx.strokeStyle = byClass ? "#E69F00" : "#fff"; ctx.lineWidth = 1.5;
        ctx.strokeRect(map.left + start * map.w, y, (end - start) * map.w, tall);
      }
      if (middle - free < 10) continue;
      free = middle;
      ctx.fillStyle = ink; ctx.textAlign = "right"; ctx.textBaseline = "middle";
      ctx.fillText(cut(ctx, byClass ? (this.named ? this.className(v) : `row ${choice.anchors[v]}'s`) : `branch ${choice.tree.number[v]}`, 50), map.left - 12, middle);
    }
    ctx.font = "11px system-ui, sans-serif";
  }

  /** The candidate that is pointed at: level by level beside the anchor. */
  showWhy() {
    const { choice, anchor, cursor, stage } = this, key = JSON.stringify([this.number, anchor, cursor, this.throw_, this.level, this.store.known.size]);
    if (key === this.whyKey) return;
    this.whyKey = key;
    if (cursor < 0) return this.why.replaceChildren(make("span", { className: "clnb-help" }, "point at a candidate, or press ↓: why it is kept or dropped"));
    const row = choice.rows[cursor];
    this.wantImages([row]);
    const tile = (r, text) => make("figure", { style: { margin: 0, textAlign: "center", fontSize: "10px" } }, ...(this.hasImage(r) ? [this.store.tile(r, 56)] : []), make("figcaption", {}, text));
    const pictures = stage.options.pictured ? [tile(choice.anchors[anchor], "anchor"), tile(row, this.hasImage(row) ? "candidate" : "candidate: no image here")] : [];
    const shared = choice.tree ? choice.sharedFrom(anchor, cursor) : null;
    const lines = [make("b", {}, this.candidateName(cursor)), make("div", {}, this.agreement(cursor)),
      make("div", {}, `similarity ${three(choice.similarity[anchor * choice.count + cursor])}`), ...(choice.tree ? [make("div", { className: "clnb-shared" }, choice.sharedWords(shared))] : [])];
    this.why.replaceChildren(...pictures, make("div", { style: { maxWidth: "260px" } }, ...lines), this.table(cursor, shared));
  }

  table(c, shared) {
    const { choice, anchor } = this, cell = (tag, text, style = {}) => make(tag, { style: { padding: "0 8px 0 0", textAlign: "left", fontWeight: "inherit", ...style } }, text);
    const heads = ["", ...(choice.tree ? ["anchor in", "candidate in"] : []), "P(keep)", this.throwName];
    const rows = Array.from({ length: choice.levels }, (_, k) => choice.levels - 1 - k).map((l) => {
      const both = choice.tree ? [choice.prototype("anchors", l, anchor), choice.prototype("candidates", l, c)] : [], same = both.length && l >= shared;
      const node = make("tr", { style: { fontWeight: l === this.level ? 600 : 400 } }, cell("th", this.levelName(l)), ...both.map((n) => cell("td", `prototype ${n}`, same ? { textDecoration: "underline" } : {})),
        cell("td", three(choice.p(l, anchor, c))), cell("td", this.keptWord(l, c)));
      Object.assign(node.dataset, { level: l + 1, p: choice.p(l, anchor, c), kept: this.keptWord(l, c), ...(both.length ? { anchor: both[0], candidate: both[1] } : {}) });
      return node;
    });
    return make("table", { "aria-label": "level by level, coarse to fine", style: { borderCollapse: "collapse", fontVariantNumeric: "tabular-nums" } },
      make("thead", { className: "clnb-help" }, make("tr", {}, ...heads.map((text) => cell("th", text)))), make("tbody", {}, ...rows));
  }

  tell() {
    const { stage, choice, anchor, level, throw_, cursor, map } = this, one = choice.tally(level, anchor, throw_), all = choice.tally(level, null, throw_);
    Object.assign(stage.root.dataset, { anchor, row: choice.anchors[anchor], level: level === null ? "all" : level + 1, levels: choice.levels, throw: throw_, sort: this.sort, cursor,
      candidates: one.candidates, kept: one.kept, false: one.false, falseKept: one.falseKept, keep: one.keep, falseKeep: one.falseKeep, before: one.before, after: one.after,
      expected: one.expected, allKept: all.kept, allBefore: all.before, allAfter: all.after, allExpected: all.expected,
      heat: [map.left, map.top, map.right, map.bottom].join(), order: map.first.join() });
    if (cursor >= 0 && choice.tree) stage.root.dataset.shared = choice.sharedFrom(anchor, cursor); else delete stage.root.dataset.shared;
    const text = `Which negatives? ${this.words.textContent}`;
    if (stage.canvas.getAttribute("aria-label") !== text) stage.canvas.setAttribute("aria-label", text);
  }

  nearest(list, [mx, my], reach) {
    let best = -1, far = reach;
    for (const [k, x, y] of list ?? []) { const d = Math.hypot(x - mx, y - my); if (d < far) [best, far] = [k, d]; }
    return best;
  }
  cellAt([x, y]) {
    const { map } = this;
    if (!map || x < map.left || x >= map.right || y < map.top || y >= map.bottom) return null;
    return [map.first[Math.floor((y - map.top) / map.h)], map.second[Math.floor((x - map.left) / map.w)]];
  }

  hover(event) {
    if (!this.choice) return;
    const at = this.stage.at(event), { stage, choice } = this, where = { clientX: event.clientX, clientY: event.clientY };
    const spot = this.nearest(this.spots, at, 12), cell_ = this.cellAt(at), place = spot < 0 ? this.nearest(this.boxes?.tree && this.places, at, 9) : -1;
    if (spot >= 0) { this.point(spot); return this.tipOf(where, spot); }
    if (cell_ && choice.compared(...cell_)) {
      this.point(cell_[0] === this.anchor ? cell_[1] : this.pinned ?? -1);
      return stage.showTip(where, `anchor ${this.anchorName(cell_[0])}`, this.candidateName(cell_[1]), `P(keep) ${three(choice.mean(choice.keep, this.level, ...cell_))}`,
        ["class unknown", "another class", "same class: a false negative"][choice.agree(...cell_)]);
    }
    this.point(this.pinned ?? -1);
    if (place < 0) return stage.showTip();
    const { tree } = choice, { count, keep, false: wrong } = this.below()[place], level = tree.level[place];
    stage.showTip(where, make("b", {}, `${this.levelName(level)}, prototype ${tree.number[place]}`), `${count} candidate${count === 1 ? "" : "s"}, ${wrong} of the anchor's class`,
      ...(count ? [`mean P(keep) ${three(keep / count)}`] : []));
  }

  tipOf(where, c) {
    const { stage, choice, anchor } = this, row = choice.rows[c], head = make("div", { className: "clnb-row" }), l0 = choice.levels;
    if (this.hasImage(row)) { this.wantImages([row]); head.append(this.store.tile(row, 48)); }
    head.append(make("b", {}, this.candidateName(c)));
    const path = (side, k) => Array.from({ length: l0 }, (_, l) => choice.prototype(side, l0 - 1 - l, k)).join(" → ");
    const levels = Array.from({ length: l0 }, (_, k) => l0 - 1 - k).map((l) => `${this.levelName(l)}: P(keep) ${three(choice.p(l, anchor, c))}, ${this.keptWord(l, c)}`);
    stage.showTip(where, head, this.agreement(c), `similarity ${three(choice.similarity[anchor * choice.count + c])}`, ...levels.slice(0, 8),
      ...(choice.tree ? [`anchor's path: ${path("anchors", anchor)}`, `its path: ${path("candidates", c)}`, choice.sharedWords(choice.sharedFrom(anchor, c))] : []));
  }

  click(event) {
    if (!this.choice) return;
    const at = this.stage.at(event), spot = this.nearest(this.spots, at, 12), cell_ = this.cellAt(at);
    if (spot >= 0) this.choose(spot);
    else if (cell_) this.show(cell_[0]);
  }
}

export default {
  render({ model, el }) {
    const { title, height } = model.get("options");
    const stage = new Stage({ model, el }, { title, height,
      help: "← →: anchor · ↓ ↑: candidate, the surest dropped first · Enter or click: select both · l: level · t: throw again · r: recorded throw · Esc: clear" });
    const view = new SelectionView(stage);
    return stage.start((frame) => view.draw(frame));
  },
  /** In a page: images by row, of which only those that are shown are there. */
  answer(atlas, question) {
    if (question.ask !== "images" || !atlas.rows) return undefined;
    const places = (atlas.places ??= new Map([...unpack(atlas.rows)].map((row, i) => [row, i])));
    return answerFromAtlas(atlas, { ...question, rows: question.rows.map((row) => places.get(row)) });
  },
};
