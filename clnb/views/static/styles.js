// StyleSpace: styles of tiles beside their pooled vectors; sliders change one tile and move its star. See 07v_segmentation.ipynb.

const SHAPES = 8;
const WORDS = { gain: "gain", bias: "bias", blur: "blur (pixels)" };

/** The path of the marker of label c at (x, y). */
function marker(ctx, c, x, y, r) {
  const polygon = (n, turn, size = r) => { for (let k = 0; k < n; k++) { const a = turn + (2 * Math.PI * k) / n; ctx[k ? "lineTo" : "moveTo"](x + size * Math.cos(a), y + size * Math.sin(a)); } ctx.closePath(); };
  const cross = (turn) => { for (let k = 0; k < 12; k++) { const far = k % 3 === 2 ? 0.5 : 1.2, a = turn + (Math.PI / 2) * Math.floor(k / 3) + (k % 3 === 0 ? -0.38 : k % 3 === 1 ? 0.38 : Math.PI / 4); ctx[k ? "lineTo" : "moveTo"](x + far * r * Math.cos(a), y + far * r * Math.sin(a)); } ctx.closePath(); };
  ctx.beginPath();
  [() => ctx.arc(x, y, r, 0, 7), () => polygon(4, Math.PI / 4, 1.25 * r), () => polygon(3, -Math.PI / 2, 1.35 * r), () => polygon(4, 0, 1.35 * r), () => polygon(3, Math.PI / 2, 1.35 * r), () => cross(0), () => cross(Math.PI / 4), () => polygon(6, 0, 1.15 * r)][c % SHAPES]();
}
function star(ctx, x, y, r) {
  ctx.beginPath();
  for (let k = 0; k < 10; k++) { const far = k % 2 ? 0.45 * r : r, a = -Math.PI / 2 + (Math.PI * k) / 5; ctx[k ? "lineTo" : "moveTo"](x + far * Math.cos(a), y + far * Math.sin(a)); }
  ctx.closePath();
}

/** Blur, gain and bias of an image [ch · h · w] of bytes; `changed` of the notebook. */
function changedImage(image, [ch, h, w], { gain = 1, bias = 0, blur = 0 }) {
  let x = Float32Array.from(image, (v) => v / 255);
  if (blur > 0) {
    const reach = Math.ceil(3 * blur), line = Array.from({ length: 2 * reach + 1 }, (_, k) => Math.exp(-0.5 * ((k - reach) / blur) ** 2)), sum = line.reduce((a, b) => a + b, 0);
    for (const across of [true, false]) {
      const out = new Float32Array(x.length), long = across ? w : h;
      for (let c = 0; c < ch; c++) for (let i = 0; i < h; i++) for (let j = 0; j < w; j++) {
        let v = 0;
        for (let k = -reach; k <= reach; k++) { const at = Math.min(Math.max((across ? j : i) + k, 0), long - 1); v += line[k + reach] * x[c * h * w + (across ? i * w + at : at * w + j)]; }
        out[c * h * w + i * w + j] = v / sum;
      }
      x = out;
    }
  }
  return Uint8Array.from(x, (v) => Math.round(255 * Math.min(Math.max(gain * v + bias, 0), 1)));
}

/** Channels that changed most; `most_changed` of the notebook. */
function mostChanged(own, style, count = 8) {
  const C = own.length / 2, size = [0, 0], change = new Float64Array(C);
  for (let k = 0; k < 2 * C; k++) size[Math.floor(k / C)] += Math.max(Math.abs(own[k]), Math.abs(style[k])) / C;
  for (let k = 0; k < 2 * C; k++) change[k % C] += Math.abs(style[k] - own[k]) / Math.max(size[Math.floor(k / C)], 1e-12);
  return Array.from({ length: C }, (_, k) => k).sort((a, b) => change[b] - change[a] || a - b).slice(0, count);
}

class StyleView {
  constructor(stage) {
    const o = stage.options;
    Object.assign(this, { stage, o, images: unpack(o.images), chosen: new Chosen(stage), cursor: -1, spaces: [], places: [], whisper: whisper(stage), result: null });
    [this.n, ...this.shape] = this.images.shape;
    this.makeTools();
    this.makeParts();
    this.listen();
  }

  get tile() { return Math.min(Math.max(this.stage.model.get("tile") ?? 0, 0), this.n - 1); }
  get at() { const at = this.stage.model.get("at_change") ?? []; return at.length === this.o.changes.length ? at : this.o.neutral; }
  get by() { return Math.min(Math.max(this.stage.model.get("by") ?? 0, 0), this.o.columns.length - 1); }
  get values() { return Object.fromEntries(this.o.changes.map(({ name, values }, k) => [name, values[this.at[k]]])); }
  /** Can this tile be changed here? A page carries only a few. */
  get can() { return this.o.can && (!this.stage.alone || (this.stage.model.get("atlas")?.tiles ?? []).includes(this.tile)); }
  set(name, value) {
    const { model } = this.stage;
    model.set(name, value);
    model.save_changes();
    this.stage.redraw();
  }

  makeTools() {
    const { stage, o } = this;
    this.slides = o.can ? o.changes.map(({ name, values }, k) => slider(WORDS[name], { min: 0, max: values.length - 1, step: 1, value: this.at[k], show: (v) => String(values[Math.round(v)]) },
      (v) => this.set("at_change", this.at.map((old, i) => (i === k ? Math.round(v) : old))))) : [];
    this.reset = make("button", { type: "button", title: "the tile as it is (0)", onclick: () => this.set("at_change", o.neutral) }, "unchanged");
    if (o.can) stage.tools.append(...this.slides, this.reset);
    if (o.columns.length > 1) {
      this.colours = make("select", { "aria-label": "colour by", onchange: () => this.set("by", +this.colours.value) }, ...o.columns.map(({ name }, k) => make("option", { value: String(k) }, name)));
      stage.tools.append(make("label", { className: "clnb-slider" }, make("span", {}, "colour by"), this.colours));
    }
  }

  makeParts() {
    const { stage } = this;
    this.legend = make("div", { className: "clnb-legend", role: "group", "aria-label": "labels" });
    stage.body.before(this.legend);
    this.pair = make("div", { className: "clnb-row", style: { flex: "0 0 auto", alignItems: "flex-start" } });
    this.bars = make("canvas", { role: "img", style: { flex: "1 1 320px", minWidth: 0, width: "100%", height: "156px" } });
    this.lower = make("div", { style: { display: "flex", flexWrap: "wrap", gap: "12px", flex: "1 1 100%", alignItems: "flex-start" } }, this.pair, this.bars);
    this.said = make("div", { className: "clnb-note", role: "status", "aria-live": "polite", style: { flex: "1 1 100%", minHeight: "1.3em" } });
    stage.body.append(this.said, this.lower);
    stage.canvas.style.flex = "1 1 100%";
  }

  listen() {
    const { stage } = this, { canvas } = stage;
    for (const name of ["tile", "at_change", "by"]) stage.listen(`change:${name}`, () => stage.redraw());
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => { this.stage.showTip(); if (this.cursor >= 0) { this.cursor = -1; stage.redraw(); } });
    canvas.addEventListener("click", (event) => { const i = this.nearest(stage.at(event)); if (i >= 0) adds(event) ? pick(stage, [i], event) : this.choose(i); });
    const go = (by) => () => this.choose((this.tile + by + this.n) % this.n), turn = (k, by) => () => { if (this.can && k < this.at.length) this.set("at_change", this.at.map((v, i) => (i === k ? Math.min(Math.max(v + by, 0), this.o.changes[k].values.length - 1) : v))); };
    stage.keys = { ArrowRight: go(1), ArrowLeft: go(-1), n: go(1), p: go(-1), 0: () => this.set("at_change", this.o.neutral), g: turn(0, -1), G: turn(0, 1), h: turn(1, -1), H: turn(1, 1), j: turn(2, -1), J: turn(2, 1) };
  }
  choose(i) { this.set("tile", i); this.whisper(this.nameOf(i)); }
  nameOf(i) { return [`tile ${i}`, ...this.o.columns.map(({ names, place }) => names[place[i]])].join(", "); }

  draw(frame) {
    const { stage } = this;
    if (this.frame !== frame) {
      this.frame = frame;
      this.spaces = (frame.spaces ?? []).map((space) => ({ ...space, points: unpack(space.points) }));
      this.own = frame.own && unpack(frame.own);
      this.asked = null;
    }
    this.mask = this.chosen.of(this.n);
    this.showTools();
    this.ask();
    this.places = [];
    if (!this.spaces.length) stage.say("nothing recorded yet");
    this.spaces.forEach((space, s) => this.paint(space, s));
    this.showPair();
    this.showBars();
    this.tell();
  }

  showTools() {
    this.slides.forEach((slide, k) => { if (+slide.children[1].value !== this.at[k]) slide.write(this.at[k]); slide.children[1].disabled = !this.can; slide.children[1].setAttribute("aria-valuetext", String(this.o.changes[k].values[this.at[k]])); });
    this.reset.disabled = !this.can || this.at.every((v, k) => v === this.o.neutral[k]);
    if (this.colours) this.colours.value = String(this.by);
    const column = this.o.columns[this.by], key = column?.name ?? "";
    if (key === this.legendKey) return;
    this.legendKey = key;
    this.legend.replaceChildren(...(column?.names ?? []).map((name, c) => {
      const mark = make("canvas", { width: 28, height: 28, "aria-hidden": "true", style: { width: "14px", height: "14px" } }), ctx = mark.getContext("2d");
      ctx.fillStyle = column.colours[c]; marker(ctx, c, 14, 14, 9); ctx.fill();
      return make("button", { type: "button", className: "clnb-chip", title: `select the tiles of ${name}`, onclick: (event) => pick(this.stage, rowsWhere(this.n, (i) => column.place[i] === c), event) }, mark, make("span", {}, name));
    }));
  }

  /** The changed tile's vectors, from the kernel or from what the page carries. */
  ask() {
    const key = `${this.tile}|${this.at}|${this.frame.number}`;
    if (!this.can || key === this.asked || this.waiting) return;
    Object.assign(this, { asked: key, waiting: true });
    const tile = this.tile;
    this.stage.ask({ ask: "change", tile, at: this.at }).then(({ numbers, style }) => { this.result = { tile, numbers: unpack(numbers), style: unpack(style), key }; })
      .catch((error) => { this.stage.note.textContent = error.message; }).finally(() => { this.waiting = false; this.stage.redraw(); });
  }
  get shown() { return this.can && this.result?.tile === this.tile ? this.result : null; }

  paint(space, s) {
    const { stage, n } = this, { ctx } = stage, half = stage.width / 2, xs = new Float32Array(n), ys = new Float32Array(n), two = stage.width > 460;
    const wide = two ? half : stage.width, high = two ? stage.height : stage.height / 2, left = two ? s * half : 0, top = two ? 0 : s * high;
    for (let i = 0; i < n; i++) { xs[i] = space.points[2 * i]; ys[i] = space.points[2 * i + 1]; }
    const now = this.shown?.numbers, at = now && [now[3 * s], now[3 * s + 1]], [x0, x1] = extent(xs, at ? [at[0]] : []), [y0, y1] = extent(ys, at ? [at[1]] : []), pad = (a, b) => [a - 0.05 * (b - a), b + 0.05 * (b - a)];
    const axes = new Axes(stage, { x: pad(x0, x1), y: pad(y0, y1), left: left + 44, right: stage.width - left - wide + 10, top: top + 22, bottom: stage.height - top - high + 32, xLabel: `directions 1 and 2: ${Math.round(100 * space.share[0])} % and ${Math.round(100 * space.share[1])} % of the variance`, yLabel: "" });
    axes.draw();
    ctx.textAlign = "left"; ctx.textBaseline = "alphabetic"; ctx.fillStyle = stage.ink; ctx.font = "600 11px system-ui, sans-serif";
    const far = now ? `: moved by ${now[3 * s + 2].toFixed(2)}` : "";
    ctx.fillText(cut(ctx, `${space.name}, ${space.size} numbers${far}`, wide - 50), left + 44, top + 13);
    ctx.font = "11px system-ui, sans-serif";
    const column = this.o.columns[this.by], places = new Float32Array(2 * n);
    for (let i = 0; i < n; i++) {
      const x = axes.px(xs[i]), y = axes.py(ys[i]), c = column ? column.place[i] : 0;
      places[2 * i] = x; places[2 * i + 1] = y;
      ctx.fillStyle = column ? column.colours[c] : PALETTE[0]; ctx.globalAlpha = this.chosen.count && !this.mask[i] ? 0.25 : 0.85;
      marker(ctx, c, x, y, 4); ctx.fill();
      ctx.globalAlpha = 1;
      if (i === this.cursor || i === this.tile) { ctx.strokeStyle = stage.ink; ctx.lineWidth = i === this.tile ? 2 : 1; ctx.beginPath(); ctx.arc(x, y, 8, 0, 7); ctx.stroke(); }
    }
    this.places[s] = places;
    if (!at) return;
    const x = axes.px(at[0]), y = axes.py(at[1]);
    ctx.strokeStyle = stage.ink; ctx.lineWidth = 1.2; ctx.beginPath(); ctx.moveTo(places[2 * this.tile], places[2 * this.tile + 1]); ctx.lineTo(x, y); ctx.stroke();
    star(ctx, x, y, 10); ctx.fillStyle = stage.ink; ctx.fill(); ctx.strokeStyle = stage.paper; ctx.lineWidth = 1.2; ctx.stroke();
    (this.stars ??= [])[s] = [x, y];
  }

  image(i) { const one = this.shape.reduce((a, b) => a * b); return this.images.subarray(i * one, (i + 1) * one); }
  showPair() {
    const key = `${this.tile}|${this.at}|${this.can}`;
    if (key === this.pairKey) return;
    this.pairKey = key;
    const figure = (pixels, text) => make("figure", { style: { margin: 0, maxWidth: "130px" } }, thumbnail(pixels, this.shape, 112), make("figcaption", { className: "clnb-note", style: { overflowWrap: "anywhere" } }, text)), values = this.values;
    const parts = [figure(this.image(this.tile), this.nameOf(this.tile))];
    if (this.can) parts.push(figure(changedImage(this.image(this.tile), this.shape, { ...values, blur: (values.blur ?? 0) * this.o.scale }), Object.entries(values).map(([name, v]) => `${name} ${v}`).join(", ")));
    this.pair.replaceChildren(...parts);
  }

  /** Means and second moments of the channels that changed most, before and after. */
  showBars() {
    const { stage, bars } = this, now = this.shown;
    bars.style.display = this.o.can ? "" : "none";
    if (!this.o.can) return;
    const ratio = window.devicePixelRatio || 1, width = bars.clientWidth || 320, height = 156;
    Object.assign(bars, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    const ctx = bars.getContext("2d");
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.font = "11px system-ui, sans-serif"; ctx.fillStyle = stage.ink;
    if (!now || !this.own) { bars.dataset.channels = ""; return; }
    const C = now.style.length / 2, own = this.own.subarray(2 * C * this.tile, 2 * C * (this.tile + 1)), shown = mostChanged(own, now.style), room = (width - 30) / 2;
    [["mean", 0], ["second moment", C]].forEach(([word, from], p) => {
      const values = shown.flatMap((c) => [own[from + c], now.style[from + c]]), low = Math.min(0, ...values), high = Math.max(0, ...values) || 1, left = p * (room + 30), y = (v) => 122 - ((v - low) / (high - low)) * 100, bar = (room - 4) / shown.length;
      ctx.textAlign = "left"; ctx.textBaseline = "alphabetic"; ctx.fillStyle = stage.ink; ctx.fillText(`${word}, up to ${short(+high.toPrecision(3))}`, left, 13);
      shown.forEach((c, k) => {
        const x = left + k * bar;
        for (const [d, v, ink] of [[0, own[from + c], stage.faint], [1, now.style[from + c], PALETTE[0]]]) { ctx.fillStyle = ink; ctx.fillRect(x + d * 0.42 * bar, Math.min(y(v), y(0)), 0.4 * bar, Math.max(Math.abs(y(v) - y(0)), 1)); }
        ctx.fillStyle = stage.ink; ctx.textAlign = "center"; ctx.fillText(String(c), x + 0.42 * bar, 136);
      });
    });
    ctx.textAlign = "left"; ctx.fillStyle = stage.faint; ctx.fillText(cut(ctx, "channels that changed most: grey before, blue after", width), 0, 151);
    bars.dataset.channels = shown.join(" ");
    bars.setAttribute("aria-label", `channels that changed most: ${shown.map((c) => `${c}: mean ${short(own[c])} to ${short(now.style[c])}, second moment ${short(own[C + c])} to ${short(now.style[C + c])}`).join("; ")}`);
  }

  tell() {
    const { stage, o } = this, now = this.shown?.numbers, atRest = this.at.every((v, k) => v === o.neutral[k]);
    const words = !o.can ? (this.spaces.length ? "vectors without a function of images: tiles cannot be changed" : "") : !this.can ? `this page carries changes of the tiles ${(stage.model.get("atlas")?.tiles ?? []).join(", ")}`
      : now && !atRest ? `${this.nameOf(this.tile)}: moved by ${now[2].toFixed(2)} in style and ${now[5].toFixed(2)} in pooled vectors, in units of the usual distance between two tiles` : this.nameOf(this.tile);
    if (this.said.textContent !== words) this.said.textContent = words;
    stage.canvas.setAttribute("aria-label", `${o.title}: ${thousands(this.n)} tiles. ${words}`);
    Object.assign(stage.root.dataset, { tile: this.tile, at: this.at.join(","), by: this.by, cursor: this.cursor, selected: this.chosen.count, step: this.frame.step ?? "", can: this.can, moved: now ? [now[2], now[5]].join(" ") : "", numbers: now ? [...now].join(" ") : "" });
    stage.canvas.dataset.places = JSON.stringify(this.places.map((p) => [...p].map((v) => +v.toFixed(2))).map((p) => p.slice(0, 400)));
    stage.canvas.dataset.stars = JSON.stringify(now ? this.stars : []);
  }

  nearest([x, y]) {
    let best = -1, near = 14 * 14;
    for (const places of this.places) for (let i = 0; i < this.n; i++) { const d = (places[2 * i] - x) ** 2 + (places[2 * i + 1] - y) ** 2; if (d < near) { near = d; best = i; } }
    return best;
  }
  hover(event) {
    const { stage } = this, i = this.nearest(stage.at(event));
    stage.canvas.style.cursor = i >= 0 ? "pointer" : "default";
    if (i !== this.cursor) { this.cursor = i; stage.redraw(); }
    if (i < 0) return stage.showTip();
    stage.showTip(event, make("b", {}, `tile ${i}`), ...this.o.columns.map(({ name, names, place }) => `${name}: ${names[place[i]]}`), thumbnail(this.image(i), this.shape, 72));
  }
}

export default {
  render({ model, el }) {
    const { title = "Style space", height = 300 } = model.get("options") ?? {};
    const stage = new Stage({ model, el }, { title, height, help: "click: change this tile · arrows: another tile · Ctrl-click: select · g G, h H, j J: sliders down and up · 0: unchanged" });
    const view = new StyleView(stage);
    return stage.start((frame) => view.draw(frame));
  },
  /** In a page: the tiles and places of the sliders that it carries. */
  answer(atlas, { ask, tile, at }) {
    if (ask !== "change" || !atlas.tiles) return null;
    const row = atlas.tiles.indexOf(tile);
    if (row < 0) return { error: `this page carries changes of the tiles ${atlas.tiles.join(", ")}` };
    const numbers = (atlas.n ??= unpack(atlas.numbers)), styles = (atlas.s ??= unpack(atlas.styles)), place = at.reduce((k, v, i) => k * atlas.sizes[i] + v, 0);
    const cell = (array) => { const [, g, d] = array.shape, from = (row * g + place) * d; return { bytes: array.slice(from, from + d), dtype: "float32", shape: [d] }; };
    return { numbers: cell(numbers), style: cell(styles) };
  },
};
