// GradientSimilarity: cosines between class gradients on synthetic and real images, by layer, in several runs. See 07t_condensed.ipynb.

const BLUE_ORANGE = [[8, 64, 129], [66, 146, 198], [198, 219, 239], [247, 247, 247], [253, 208, 162], [241, 105, 19], [127, 39, 4]];

/** Blue, white, orange for −1 … 1. */
function ramp(t) {
  const at = Math.min(Math.max(0.5 + 0.5 * t, 0), 1) * (BLUE_ORANGE.length - 1), i = Math.min(Math.floor(at), BLUE_ORANGE.length - 2), f = at - i;
  return BLUE_ORANGE[i].map((v, c) => Math.round(v + f * (BLUE_ORANGE[i + 1][c] - v)));
}
const two = (v) => (Number.isFinite(v) ? v.toFixed(2).replace("-", "−") : "–");

class GradientView {
  constructor(stage) {
    Object.assign(this, { stage, cursor: null, runs: [], layers: [], classes: [], boxes: [], whisper: whisper(stage) });
    this.buttons = make("span", { className: "clnb-modes", role: "group", "aria-label": "layer", style: { flexWrap: "wrap" } });
    const stops = BLUE_ORANGE.map((v) => `rgb(${v.join(",")})`).join(", ");
    stage.tools.append(this.buttons, make("span", { className: "clnb-row" }, make("span", {}, "−1"), make("span", { className: "clnb-bar", style: { width: "90px", background: `linear-gradient(to right, ${stops})` } }), make("span", {}, "+1 cosine")));
    this.words = make("ul", { "aria-label": "runs", style: { margin: "2px 0", padding: 0, listStyle: "none", flex: "1 1 100%" } });
    stage.body.append(this.words);
    stage.listen("change:layer", () => stage.redraw());
    const { canvas } = stage, go = (di, dj) => () => this.walk(di, dj);
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => { stage.showTip(); if (this.byMouse) this.cursor = null; stage.redraw(); });
    canvas.addEventListener("click", (event) => { const at = this.cellAt(stage.at(event)); if (at?.part === "layers") this.show(at.i); });
    stage.keys = { ArrowLeft: go(0, -1), ArrowRight: go(0, 1), ArrowUp: go(-1, 0), ArrowDown: go(1, 0), l: () => this.show((this.layer + 1) % Math.max(this.layers.length, 1)),
      Enter: () => { if (this.cursor?.part === "layers") this.show(this.cursor.i); }, Escape: () => { this.cursor = null; stage.redraw(); } };
  }

  get layer() { return Math.min(Math.max(this.stage.model.get("layer") ?? 0, 0), Math.max(this.layers.length - 1, 0)); }
  show(layer) {
    const { model } = this.stage;
    model.set("layer", layer);
    model.save_changes();
    this.stage.redraw();
  }

  draw(frame) {
    const { stage } = this;
    if (this.frame !== frame) {
      this.frame = frame;
      this.layers = frame.layers ?? [];
      this.classes = frame.classes ?? [];
      this.runs = (frame.runs ?? []).map((run) => ({ ...run, pairs: run.pairs && unpack(run.pairs), sums: run.sums && unpack(run.sums), matching: run.matching && unpack(run.matching) }));
      const { part, i, j } = this.cursor ?? {}, C = this.classes.length;
      if (this.cursor && (i >= (part === "pairs" ? C : this.layers.length) || j > C)) this.cursor = null;
    }
    this.switches();
    this.boxes = [];
    if (this.runs.length) { this.layout(); this.runs.forEach((run, r) => this.paint(run, r)); } else stage.say("nothing has been recorded yet");
    this.tell();
  }

  switches() {
    const key = this.layers.join("\n");
    if (key !== this.buttonsOf) {
      this.buttonsOf = key;
      this.buttons.replaceChildren(...this.layers.map((name, k) => make("button", { type: "button", onclick: () => this.show(k) }, name)));
    }
    [...this.buttons.children].forEach((button, k) => button.setAttribute("aria-pressed", String(k === this.layer)));
  }

  /** For every run a square of classes × classes, and below it layers × (classes, sum). */
  layout() {
    const { stage } = this, C = this.classes.length, L = this.layers.length, across = Math.max(1, Math.min(this.runs.length, Math.floor(stage.width / 240))), down = Math.ceil(this.runs.length / across);
    const { ctx } = stage, room = stage.width / across, widest = (names) => Math.max(0, ...names.slice(0, 60).map((name) => ctx.measureText(name).width));
    const label = Math.min(Math.max(widest(this.classes), widest(this.layers)) + 6, room * 0.28) + 12, bars = this.runs.some((run) => run.matching) ? 52 : 4;
    const side = Math.max(Math.min(stage.options.height, room - label - bars - 12), 40), cell = side / C, upright = cell >= 11 && widest(this.classes) > cell - 4, foot = cell < 11 ? 18 : upright ? Math.min(widest(this.classes) + 8, 70) : 16;
    const high = Math.min(Math.max(side / (C + 1), 15), 24), gap = 5, each = 20 + side + foot + 18 + 18 + L * high + foot + 6;
    const height = `${Math.round(each * down)}px`;
    if (stage.canvas.style.height !== height) { stage.canvas.style.height = height; stage.fit(); }
    this.geometry = { cell, high, upright, foot, label, gap, side };
    this.runs.forEach((run, r) => {
      const left = (r % across) * room + label, top = Math.floor(r / across) * each + 20, low = top + side + foot + 36;
      const last = Math.max((side - gap) / (C + 1), 18), wide = (side - gap - last) / C;      // the sums are to be seen among many classes, too
      this.boxes.push({ r, part: "pairs", x: left, y: top, w: cell, last: cell, h: cell, rows: C, columns: C }, { r, part: "layers", x: left, y: low, w: wide, last, h: high, rows: L, columns: C + 1 });
      run.place = { left, top, low, room };
    });
  }
  columnW(box, j) { return j === box.columns - 1 ? box.last : box.w; }
  columnX(box, j) { return box.x + j * box.w + (box.part === "layers" && j === this.classes.length ? this.geometry.gap : 0); }

  value(run, { part, i, j }) {
    const C = this.classes.length;
    if (!run.pairs) return undefined;
    if (part === "pairs") return run.pairs[(this.layer * C + i) * C + j];
    return j === C ? run.sums?.[i] : run.pairs[(i * C + j) * C + j];
  }

  paint(run, r) {
    const { stage } = this, { ctx } = stage, { left, top, low, room } = run.place, { side, high } = this.geometry;
    ctx.textAlign = "left"; ctx.textBaseline = "alphabetic"; ctx.fillStyle = stage.ink;
    ctx.font = "600 12px system-ui, sans-serif";
    ctx.fillText(cut(ctx, [run.name, this.layers[this.layer]].filter(Boolean).join(" · "), room - 16), left, top - 7);
    ctx.font = "11px system-ui, sans-serif";
    if (!run.pairs) { ctx.fillStyle = stage.faint; ctx.fillText("nothing recorded yet", left, top + 14); return; }
    for (const box of this.boxes) if (box.r === r) { this.cells(run, box); this.names(box); }
    ctx.fillStyle = stage.ink; ctx.textAlign = "left"; ctx.textBaseline = "alphabetic";
    ctx.fillText(cut(ctx, "every layer: each class with itself, and the sums", side), left, low - 6);
    this.side("synthetic", left, top + side / 2);
    ctx.textAlign = "center";
    ctx.fillText("real", left + side / 2, top + side + this.geometry.foot + 11);
    ctx.strokeStyle = PALETTE[3]; ctx.lineWidth = 2;
    if (this.layers.length > 1) ctx.strokeRect(left - 1, low + this.layer * high - 1, side + 2, high + 2);
    if (run.matching) this.bars(run);
  }
  side(text, x, y) {
    const { ctx } = this.stage;
    ctx.save(); ctx.translate(x - this.geometry.label + 4, y); ctx.rotate(-Math.PI / 2); ctx.textAlign = "center"; ctx.textBaseline = "middle"; ctx.fillText(text, 0, 0); ctx.restore();
  }

  cells(run, box) {
    const { stage } = this, { ctx } = stage, C = this.classes.length, numbers = Math.min(box.w, box.last) >= 30 && box.h >= 13;
    for (let i = 0; i < box.rows; i++) for (let j = 0; j < box.columns; j++) {
      const v = this.value(run, { part: box.part, i, j }), wide = box.w > 12, fit = wide ? (at) => at : Math.round, inner = wide ? 0.5 : 0;      // small cells: no seams
      const x = fit(this.columnX(box, j)), y = fit(box.y + i * box.h), w = fit(this.columnX(box, j) + this.columnW(box, j)) - x, h = fit(box.y + (i + 1) * box.h) - y;
      if (!Number.isFinite(v)) { this.hatch(x, y, w, h); continue; }
      ctx.fillStyle = `rgb(${ramp(v).join(",")})`;
      ctx.fillRect(x, y, w - inner, h - inner);
      if (!numbers) continue;
      ctx.fillStyle = Math.abs(v) > 0.6 ? "#fff" : "#000"; ctx.textAlign = "center"; ctx.textBaseline = "middle";
      ctx.fillText(two(v), x + w / 2, y + h / 2);
    }
    const at = this.cursor;
    if (!at || at.part !== box.part) return;
    const x = this.columnX(box, at.j), y = box.y + at.i * box.h, w = this.columnW(box, at.j);
    ctx.strokeStyle = stage.paper; ctx.lineWidth = 4; ctx.strokeRect(x, y, w, box.h);
    ctx.strokeStyle = stage.ink; ctx.lineWidth = 2; ctx.strokeRect(x, y, w, box.h);
  }
  /** Where there is no gradient, or nothing was recorded. */
  hatch(x, y, w, h) {
    const { ctx, faint } = this.stage;
    ctx.save();
    ctx.beginPath(); ctx.rect(x, y, w, h); ctx.clip();
    ctx.strokeStyle = faint; ctx.globalAlpha = 0.6; ctx.lineWidth = 1;
    ctx.beginPath();
    for (let at = x - h; at < x + w; at += 5) { ctx.moveTo(at, y + h); ctx.lineTo(at + h, y); }
    ctx.stroke();
    ctx.restore();
  }

  names(box) {
    const { ctx, ink } = this.stage, { upright, label, foot } = this.geometry, columns = box.part === "pairs" ? this.classes : [...this.classes, "sum"], rows = box.part === "pairs" ? this.classes : this.layers;
    const end = box.y + box.rows * box.h;
    ctx.fillStyle = ink; ctx.textBaseline = "middle"; ctx.textAlign = "right";
    for (let i = 0; i < rows.length; i += Math.max(1, Math.ceil(11 / box.h))) ctx.fillText(cut(ctx, box.h < 11 ? String(i) : rows[i], label - 18), box.x - 4, box.y + (i + 0.5) * box.h);
    const every = box.w < 11 ? Math.ceil(22 / box.w) : 1, C = this.classes.length;
    for (let j = 0; j < columns.length; j++) {
      if (j % every && j !== C) continue;
      if (every > 1 && j < C && C - j < every && columns.length > C) continue;       // room for the word "sum"
      const x = this.columnX(box, j) + this.columnW(box, j) / 2;
      ctx.textAlign = "center";
      if (every > 1) { ctx.fillText(j === C ? "sum" : String(j), x, end + 9); continue; }
      if (!upright) { ctx.fillText(cut(ctx, columns[j], box.w), x, end + 9); continue; }
      ctx.save(); ctx.translate(x, end + 4); ctx.rotate(-Math.PI / 2); ctx.textAlign = "right"; ctx.fillText(cut(ctx, columns[j], foot - 6), 0, 0); ctx.restore();
    }
  }

  /** The matching loss of every layer, beside its row. */
  bars(run) {
    const { ctx, ink } = this.stage, { high, side } = this.geometry, x = run.place.left + side + 5, most = Math.max(...this.runs.flatMap((one) => (one.matching ? [...one.matching].filter(Number.isFinite) : [])), 1e-12);
    ctx.textAlign = "left"; ctx.textBaseline = "middle";
    run.matching.forEach((loss, i) => {
      const y = run.place.low + i * high;
      if (!Number.isFinite(loss)) return;
      ctx.fillStyle = PALETTE[5];
      ctx.fillRect(x, y + high - 4, Math.max((44 * loss) / most, 1), 3);
      ctx.fillStyle = ink;
      ctx.fillText(short(+loss.toPrecision(3)), x, y + high / 2 - 1);
    });
    ctx.fillStyle = ink;
    ctx.textBaseline = "alphabetic";
    ctx.fillText("loss", x, run.place.low - 6);
  }

  cellAt([x, y]) {
    for (const box of this.boxes) {
      if (!this.runs[box.r].pairs || y < box.y || y >= box.y + box.rows * box.h) continue;
      for (let j = 0; j < box.columns; j++) { const from = this.columnX(box, j); if (x >= from && x < from + this.columnW(box, j)) return { part: box.part, r: box.r, i: Math.floor((y - box.y) / box.h), j }; }
    }
    return null;
  }
  facts({ part, i, j }) {
    const C = this.classes.length, layer = this.layers[part === "pairs" ? this.layer : i];
    const what = part === "pairs" ? `synthetic ${this.classes[i]}, real ${this.classes[j]}` : j === C ? "sum over classes" : this.classes[j];
    const said = this.runs.map((run) => {
      const v = this.value(run, { part, i, j }), loss = part === "layers" && run.matching ? `, matching loss ${short(+run.matching[i].toPrecision(4))}` : "";
      const words = v === undefined ? "not recorded" : Number.isFinite(v) ? `cosine ${v.toFixed(4).replace("-", "−")}` : "no gradient";
      return `${run.name ? `${run.name}: ` : ""}${words}${loss}`;
    });
    return [`${layer} · ${what}`, ...said];
  }
  hover(event) {
    const { stage } = this, at = this.cellAt(stage.at(event));
    stage.canvas.style.cursor = at?.part === "layers" ? "pointer" : "default";
    if (at || this.byMouse) this.cursor = at && { part: at.part, i: at.i, j: at.j };
    this.byMouse = Boolean(at);
    stage.redraw();
    if (!at) return stage.showTip();
    const [head, ...rest] = this.facts(at);
    stage.showTip(event, make("b", {}, head), ...rest);
  }

  /** Over the matrix, and on below it into the layers. */
  walk(di, dj) {
    const C = this.classes.length, L = this.layers.length;
    if (!this.runs.length) return;
    this.byMouse = false;
    const now = this.cursor;
    if (!now) this.cursor = { part: "pairs", i: 0, j: 0 };
    else {
      const line = (now.part === "pairs" ? now.i : C + now.i) + di, i = Math.min(Math.max(line, 0), C + L - 1), part = i < C ? "pairs" : "layers";
      this.cursor = { part, i: part === "pairs" ? i : i - C, j: Math.min(Math.max(now.j + dj, 0), part === "pairs" ? C - 1 : C) };
    }
    const facts = this.facts(this.cursor), box = this.boxes.find((b) => b.part === this.cursor.part), place = this.stage.canvas.getBoundingClientRect();
    this.whisper(facts.join(", "));
    this.stage.showTip({ clientX: place.left + this.columnX(box, this.cursor.j) + this.columnW(box, this.cursor.j), clientY: place.top + box.y + (this.cursor.i + 1) * box.h }, make("b", {}, facts[0]), ...facts.slice(1));
    this.stage.redraw();
  }

  tell() {
    const { stage } = this, said = this.runs.map((run) => `${run.name ? `${run.name} · ` : ""}${run.words[Math.min(this.layer, run.words.length - 1)]}`);
    if (said.join("\n") !== this.said) { this.said = said.join("\n"); this.words.replaceChildren(...said.map((text) => make("li", { className: "clnb-note" }, text))); }
    stage.canvas.setAttribute("aria-label", `${stage.options.title}: ${said.join("; ") || "nothing recorded yet"}`);
    Object.assign(stage.root.dataset, { layer: this.layer, step: this.frame.step ?? "", cursor: this.cursor ? `${this.cursor.part} ${this.cursor.i} ${this.cursor.j}` : "" });
    stage.canvas.dataset.boxes = JSON.stringify(this.boxes);
  }
}

export default {
  render({ model, el }) {
    const { title = "Gradients", height = 300 } = model.get("options") ?? {};
    const stage = new Stage({ model, el }, { title, height, help: "arrows: walk over the cells · l: next layer · click a layer below: show it" });
    const view = new GradientView(stage);
    return stage.start((frame) => view.draw(frame));
  },
};
