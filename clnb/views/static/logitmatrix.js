// LogitMatrix: cosines of 2N views as a heat map; softmax and gradient weights follow the temperature slider.

const BLUE_RED = [[5, 48, 97], [67, 147, 195], [209, 229, 240], [247, 247, 247], [253, 219, 199], [214, 96, 77], [103, 0, 31]];
const PURPLE_YELLOW = [[68, 1, 84], [65, 68, 135], [42, 120, 142], [34, 168, 132], [122, 209, 81], [253, 231, 37]];
function blend(stops, t) {
  const at = Math.max(0, Math.min(1, t)) * (stops.length - 1), i = Math.min(Math.floor(at), stops.length - 2), f = at - i;
  return stops[i].map((v, c) => v + f * (stops[i + 1][c] - v));
}

class Matrix {
  constructor(stage) {
    this.stage = stage;
    this.what = "similarity";
    this.temperature = stage.options.temperature;
    this.row = -1;
    this.thumbs = new Map();
    const labels = stage.options.labels;
    this.labels = labels && labels.kind === "category" ? { values: unpack(labels.values), names: labels.names } : null;
    const { temperature } = this;
    this.slider = slider("temperature", { min: Math.min(0.01, temperature), max: Math.max(5, temperature), value: temperature, log: true },
      (v) => { this.temperature = v; this.number = -1; stage.redraw(); });
    this.modes = make("span", { className: "clnb-modes", role: "group", "aria-label": "what is drawn" });
    for (const what of ["similarity", "softmax", "gradient"])
      this.modes.append(make("button", { type: "button", onclick: () => this.setWhat(what) }, what));
    this.lossText = make("span", { className: "clnb-note", role: "status" });
    stage.tools.append(this.modes, this.slider, this.lossText);
    this.list = make("div", { className: "clnb-list", hidden: true, tabIndex: 0, "aria-label": "negatives of the row" });
    stage.body.append(this.list);
    this.setWhat("similarity");
    const { canvas } = stage;
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => { this.over = null; stage.showTip(); stage.redraw(); });
    canvas.addEventListener("click", (event) => {
      const cell = this.cellAt(stage.at(event));
      if (cell) this.open(cell[0] === this.row ? -1 : cell[0]);
    });
    stage.keys = { Escape: () => this.open(-1), ArrowDown: () => this.step(1, 0), ArrowUp: () => this.step(-1, 0),
      ArrowRight: () => this.step(0, 1), ArrowLeft: () => this.step(0, -1), Enter: () => this.over && this.open(this.over[0]) };
  }

  setWhat(what) {
    this.what = what;
    for (const button of this.modes.children) button.setAttribute("aria-pressed", String(button.textContent === what));
    this.stage.redraw();
  }

  /** Softmax rows (self excluded), loss per row and gradient weights, in double precision. */
  compute() {
    const { s, m } = this, tau = this.temperature, half = m / 2;
    this.p = new Float64Array(m * m);
    this.weight = new Float64Array(m * m);
    this.losses = new Float64Array(m);
    for (let i = 0; i < m; i++) {
      let high = -Infinity, sum = 0;
      for (let j = 0; j < m; j++) if (j !== i) high = Math.max(high, s[i * m + j] / tau);
      for (let j = 0; j < m; j++) if (j !== i) sum += Math.exp(s[i * m + j] / tau - high);
      const log = high + Math.log(sum), partner = (i + half) % m;
      for (let j = 0; j < m; j++) {
        if (j === i) continue;
        const p = Math.exp(s[i * m + j] / tau - log);
        this.p[i * m + j] = p;
        this.weight[i * m + j] = p / tau;
      }
      let others = 0;
      for (let j = 0; j < m; j++) if (j !== i && j !== partner) others += this.p[i * m + j];
      this.weight[i * m + partner] = others / tau;
      this.losses[i] = log - s[i * m + partner] / tau;
    }
    this.loss = this.losses.reduce((a, b) => a + b, 0) / m;
  }

  same(i, j) {
    if (!this.labels) return null;
    const half = this.m / 2, a = this.labels.values[i % half], b = this.labels.values[j % half];
    return a >= 0 && a === b;
  }

  nameOf(i) {
    const half = this.m / 2, v = this.labels?.values[i % half];
    return `${i < half ? "a" : "b"}${i % half}${this.labels ? ` ${v < 0 ? "unlabelled" : this.labels.names[v]}` : ""}`;
  }

  draw(frame) {
    const { stage } = this, packed = frame.similarities;
    if (!packed) return stage.say(frame.note ?? "");
    if (frame.number !== this.number) {
      this.number = frame.number;
      this.s = unpack(packed);
      this.m = packed.shape[0];
      this.compute();
      this.picture = null;
      if (this.row >= this.m) this.row = -1;
      this.fillList();
    }
    const chance = Math.log(this.m - 1);
    this.lossText.textContent = `loss ${this.loss.toFixed(4)} · chance ${chance.toFixed(3)}`;
    Object.assign(stage.root.dataset, { loss: this.loss, temperature: this.temperature, rows: this.m, what: this.what, drawn: frame.number });
    this.paint();
  }

  paint() {
    const { stage, m, what } = this, { ctx, ink, faint } = stage, left = 30, top = 16;
    const size = Math.max(1, Math.min(stage.width - left - 96, stage.height - top - 8)), cell = size / m;
    Object.assign(this, { left, top, cell, size });
    const values = what === "similarity" ? this.s : what === "softmax" ? this.p : this.weight;
    let high = 0;
    for (let i = 0; i < m * m; i++) if (i % (m + 1)) high = Math.max(high, values[i]);
    const stops = what === "similarity" ? BLUE_RED : PURPLE_YELLOW, low = what === "similarity" ? -1 : 0, top_ = what === "similarity" ? 1 : high || 1;
    const image = new ImageData(m, m);
    for (let i = 0; i < m * m; i++) {
      const self = i % (m + 1) === 0, t = (values[i] - low) / (top_ - low), [r, g, b] = blend(stops, what === "similarity" ? t : Math.sqrt(t));
      image.data.set([r, g, b, self || !Number.isFinite(values[i]) ? 0 : 255], 4 * i);
    }
    const small = make("canvas", { width: m, height: m });
    small.getContext("2d").putImageData(image, 0, 0);
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(small, left, top, size, size);
    this.outlines(ctx, ink);
    ctx.fillStyle = ink;
    ctx.textAlign = "center";
    ctx.textBaseline = "alphabetic";
    ctx.fillText("views a", left + size / 4, 11);
    ctx.fillText("views b", left + (3 * size) / 4, 11);
    ctx.save();
    ctx.translate(12, top + size / 4); ctx.rotate(-Math.PI / 2); ctx.fillText("anchors a", 0, 0);
    ctx.restore();
    ctx.save();
    ctx.translate(12, top + (3 * size) / 4); ctx.rotate(-Math.PI / 2); ctx.fillText("anchors b", 0, 0);
    ctx.restore();
    this.scale(ctx, stops, low, top_, left + size + 14, top, Math.min(size, 160), ink, faint);
  }

  scale(ctx, stops, low, high, x, y, tall, ink, faint) {
    for (let k = 0; k < tall; k++) {
      const t = 1 - k / tall;
      ctx.fillStyle = `rgb(${blend(stops, low < 0 ? t : Math.sqrt(t)).map(Math.round).join(",")})`;
      ctx.fillRect(x, y + k, 12, 1.5);
    }
    ctx.fillStyle = ink;
    ctx.textAlign = "left";
    ctx.fillText(short(high), x + 16, y + 8);
    ctx.fillText(short(low), x + 16, y + tall);
    ctx.strokeStyle = ink; ctx.lineWidth = 1.5; ctx.strokeRect(x, y + tall + 14, 9, 9);
    ctx.fillText("partner", x + 16, y + tall + 23);
    if (!this.labels) return;
    ctx.strokeStyle = "#E69F00"; ctx.strokeRect(x, y + tall + 32, 9, 9);
    ctx.fillText("same class", x + 16, y + tall + 41);
  }

  outlines(ctx, ink) {
    const { m, cell, left, top, row, over } = this, half = m / 2;
    const box = (i, j, style, width) => { ctx.strokeStyle = style; ctx.lineWidth = width;
      ctx.strokeRect(left + j * cell + width / 2, top + i * cell + width / 2, Math.max(cell - width, 1), Math.max(cell - width, 1)); };
    const thin = Math.max(0.7, Math.min(2, cell / 7));
    for (let i = 0; i < m; i++) {
      if (this.labels) for (let j = 0; j < m; j++) if (j !== i && j !== (i + half) % m && this.same(i, j)) box(i, j, "#E69F00", thin);
      box(i, (i + half) % m, ink, thin);
    }
    if (row >= 0) { ctx.strokeStyle = "#D55E00"; ctx.lineWidth = 2; ctx.strokeRect(left, top + row * cell, m * cell, cell); }
    if (over) box(over[0], over[1], ink, 2.5);
  }

  cellAt([x, y]) {
    const j = Math.floor((x - this.left) / this.cell), i = Math.floor((y - this.top) / this.cell);
    return i >= 0 && j >= 0 && i < this.m && j < this.m ? [i, j] : null;
  }

  hover(event) {
    if (!this.m) return;
    const cell = this.cellAt(this.stage.at(event));
    if (!cell) { this.over = null; return this.stage.showTip(); }
    this.show(cell, { clientX: event.clientX, clientY: event.clientY });
  }

  step(di, dj) {
    if (!this.m) return;
    const [i, j] = this.over ?? [0, -dj], box = this.stage.canvas.getBoundingClientRect();
    const cell = [(i + di + this.m) % this.m, (j + dj + this.m) % this.m];
    this.show(cell, { clientX: box.left + this.left + (cell[1] + 1) * this.cell, clientY: box.top + this.top + cell[0] * this.cell });
  }

  show([i, j], spot) {
    const { m, stage } = this, k = i * m + j, fresh = !this.over || this.over[0] !== i || this.over[1] !== j;
    this.over = [i, j];
    stage.redraw();
    if (fresh) this.pictures = make("div", { className: "clnb-row" });
    const words = [`${this.nameOf(i)}  →  ${this.nameOf(j)}`];
    if (i === j) words.push("the view itself: not compared");
    else {
      const partner = j === (i + m / 2) % m, same = this.same(i, j);
      words.push(partner ? "its partner (positive)" : same ? "a negative of the same class (false negative)" : "a negative",
        `similarity ${this.s[k].toFixed(5)}`, `temperature ${this.temperature.toPrecision(4)}`, `probability ${this.p[k].toPrecision(6)}`,
        `gradient weight ${this.weight[k].toPrecision(6)} (${partner ? "pulls" : "pushes"})`);
    }
    Object.assign(stage.tip.dataset, { row: i, column: j, similarity: this.s[k], probability: this.p[k], weight: this.weight[k] });
    stage.showTip(spot, this.pictures, ...words);
    if (!fresh || !stage.options.images) return;
    const target = this.pictures;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.images([i, j]).then((pair) => target.replaceChildren(...pair.map((t) => thumbnail(t.pixels, t.shape, 72))),
      (error) => target.replaceChildren(error.message)).then(() => target === this.pictures && stage.showTip(spot, ...stage.tip.childNodes)), 40);
  }

  open(row) {
    this.row = row;
    this.fillList();
    this.stage.redraw();
  }

  /** Bars of a row: the partner first, then its negatives by weight. */
  fillList() {
    const { row, m } = this;
    this.list.hidden = row < 0;
    if (row < 0) return;
    const partner = (row + m / 2) % m, others = Array.from({ length: m }, (_, j) => j).filter((j) => j !== row && j !== partner);
    others.sort((a, b) => this.p[row * m + b] - this.p[row * m + a]);
    const most = Math.max(...[partner, ...others].map((j) => this.p[row * m + j]), 1e-12);
    const bar = (j) => {
      const p = this.p[row * m + j], shade = j === partner ? "#0072B2" : this.same(row, j) ? "#E69F00" : "#999";
      const node = make("div", { className: "clnb-row clnb-barrow" }, make("span", { className: "clnb-barname" }, this.nameOf(j)),
        make("i", { className: "clnb-barfill", style: { width: `${Math.max(1, (100 * p) / most)}px`, background: shade } }),
        make("span", {}, p.toPrecision(3)));
      node.dataset.column = j;
      return node;
    };
    this.list.replaceChildren(make("div", { className: "clnb-title" }, `anchor ${this.nameOf(row)}`), make("div", {}, "partner"), bar(partner),
      make("div", {}, "negatives, by probability"), ...others.map(bar));
    this.list.style.maxHeight = `${Math.max(this.stage.height, 120)}px`;
  }

  async images(rows) {
    const missing = [...new Set(rows)].filter((r) => !this.thumbs.has(r));
    if (missing.length) {
      const all = unpack((await this.stage.ask({ ask: "images", rows: missing })).images), one = all.length / missing.length;
      missing.forEach((r, i) => this.thumbs.set(r, { pixels: all.slice(i * one, (i + 1) * one), shape: all.shape.slice(1) }));
    }
    return rows.map((r) => this.thumbs.get(r));
  }
}

function render({ model, el }) {
  const { title, height } = model.get("options");
  const stage = new Stage({ model, el }, { title, height, help: "hover: one pair · click: the row's negatives · arrows: next cell · Esc: close" });
  const matrix = new Matrix(stage);
  return stage.start((frame) => matrix.draw(frame));
}

export default { render };
