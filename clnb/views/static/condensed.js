// Condensed: the images of a condensed set by class, over steps, in several runs side by side. See 07t_condensed.ipynb.

const BLUE_ORANGE = [[8, 64, 129], [66, 146, 198], [198, 219, 239], [247, 247, 247], [253, 208, 162], [241, 105, 19], [127, 39, 4]];
const SPANS = [4, 8, 16, 32, 64, 128, 255];

/** Blue, white, orange for −1 … 1. */
function ramp(t) {
  const at = Math.min(Math.max(0.5 + 0.5 * t, 0), 1) * (BLUE_ORANGE.length - 1), i = Math.min(Math.floor(at), BLUE_ORANGE.length - 2), f = at - i;
  return BLUE_ORANGE[i].map((v, c) => Math.round(v + f * (BLUE_ORANGE[i + 1][c] - v)));
}
const COLOURS = Array.from({ length: 511 }, (_, k) => ramp(k / 255 - 1));       // made once: pixels are many
const shade = (t) => COLOURS[Math.min(Math.max(Math.round(255 * t) + 255, 0), 510)];
const spanOf = (most) => SPANS.find((span) => span >= most) ?? 255;
const signed = (v) => `${v < 0 ? "−" : v > 0 ? "+" : ""}${short(Math.abs(+v.toFixed(1)))}`;

/** The mean of images [n, ch, h, w], rounded as bytes are. */
function meanOf(images) {
  const [n, ...shape] = images.shape, one = shape.reduce((a, b) => a * b), mean = new Float32Array(one);
  for (let i = 0; i < n; i++) for (let p = 0; p < one; p++) mean[p] += images[i * one + p];
  for (let p = 0; p < one; p++) mean[p] /= n;
  return mean;
}

/** Signed difference of an image to another, the mean over the channels: [h · w]. */
function minus(image, other, [ch, h, w]) {
  const plane = h * w, out = new Float32Array(plane);
  for (let c = 0; c < ch; c++) for (let p = 0; p < plane; p++) out[p] += (image[c * plane + p] - other[c * plane + p]) / ch;
  return out;
}
const largest = (d) => { let most = 0; for (const v of d) if (Math.abs(v) > most) most = Math.abs(v); return most; };

/** Pixels of one image, as they are or as differences, into image data at (x, y). */
function put(data, width, x, y, image, [ch, h, w], d, span) {
  const plane = h * w, green = ch === 1 ? 0 : plane, blue = 2 * green;
  for (let i = 0, p = 0; i < h; i++) {
    for (let j = 0, at = 4 * ((y + i) * width + x); j < w; j++, p++, at += 4) {
      if (d) { const c = shade(d[p] / span); data[at] = c[0]; data[at + 1] = c[1]; data[at + 2] = c[2]; }
      else { data[at] = image[p]; data[at + 1] = image[green + p]; data[at + 2] = image[blue + p]; }
      data[at + 3] = 255;
    }
  }
}

/** One image as a canvas of `size` CSS pixels. */
function drawn(image, shape, d, span, size) {
  const [, h, w] = shape, data = new ImageData(w, h), long = Math.max(w, h);
  put(data.data, w, 0, 0, image, shape, d, span);
  const canvas = make("canvas", { className: "clnb-thumb", width: w, height: h, style: { width: `${Math.round((size * w) / long)}px`, height: `${Math.round((size * h) / long)}px` } });
  canvas.getContext("2d").putImageData(data, 0, 0);
  return canvas;
}

class CondensedView {
  constructor(stage) {
    const o = stage.options;
    Object.assign(this, { stage, cursor: -1, runs: [], tiles: [], atlases: new Map(), whisper: whisper(stage) });
    this.modes = Object.entries(o.modes).map(([mode, words]) => Object.assign(make("button", { type: "button", onclick: () => this.set("mode", mode) }, words), { mode }));
    this.choice = make("select", { "aria-label": "class", onchange: () => this.set("only", +this.choice.value), style: { maxWidth: "14em" } });
    this.scale = make("span", { className: "clnb-row", "aria-live": "polite" });
    stage.tools.append(make("span", { className: "clnb-modes", role: "group", "aria-label": "how the images are drawn" , style: { flexWrap: "wrap" } }, ...this.modes),
      make("label", { className: "clnb-slider" }, make("span", {}, "class"), this.choice), this.scale);
    this.words = make("ul", { "aria-label": "runs", style: { margin: "2px 0", padding: 0, listStyle: "none", flex: "1 1 100%" } });
    this.panel = make("div", { role: "region", "aria-label": "one image over the steps", hidden: true, style: { flex: "1 1 100%" } });
    stage.body.append(this.words, this.panel);
    this.listen();
  }

  get mode() { return this.known ? this.stage.model.get("mode") : "images"; }
  get only() { const only = this.stage.model.get("only") ?? -1; return only < (this.shape?.[0] ?? 0) ? only : -1; }
  get opened() { const row = this.stage.model.get("opened") ?? -1; return row < this.count ? row : -1; }
  get count() { return this.shape ? this.shape[0] * this.shape[1] : 0; }
  /** Can the mode be drawn? The start may not be known. */
  get known() { return this.stage.model.get("mode") !== "start" || this.starts.some((x) => x); }
  set(name, value) {
    const { model } = this.stage;
    model.set(name, value);
    model.save_changes();
    this.stage.redraw();
  }

  listen() {
    const { stage } = this, { canvas } = stage;
    for (const name of ["mode", "only", "opened"]) stage.listen(`change:${name}`, () => stage.redraw());
    stage.listen("change:start", () => { this.startsOf = null; this.atlases.clear(); stage.redraw(); });
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => this.leave());
    canvas.addEventListener("click", (event) => { const tile = this.under(stage.at(event)); if (tile) this.open(tile.row); });
    const go = (dx, dy) => () => this.walk(dx, dy);
    stage.keys = { ArrowLeft: go(-1, 0), ArrowRight: go(1, 0), ArrowUp: go(0, -1), ArrowDown: go(0, 1), m: () => this.next(), c: () => this.nextClass(),
      Enter: () => { if (this.cursor >= 0) this.open(this.cursor); }, Escape: () => { this.cursor = -1; if (this.opened >= 0) this.set("opened", -1); stage.redraw(); } };
  }
  next() {
    const usable = this.modes.filter((button) => !button.disabled).map((button) => button.mode);
    this.set("mode", usable[(usable.indexOf(this.mode) + 1) % usable.length]);
  }
  nextClass() { if (this.shape) this.set("only", this.only + 1 < this.shape[0] ? this.only + 1 : -1); }
  open(row) { this.set("opened", row === this.opened ? -1 : row); }

  get starts() {
    this.startsOf ??= (this.stage.model.get("start") ?? []).map((x) => (x ? unpack(x) : null));
    return this.startsOf;
  }
  className(c) { return this.stage.options.classes[c] ?? `class ${c}`; }

  draw(frame) {
    const { stage } = this;
    if (this.frame !== frame) {
      this.frame = frame;
      this.shape = frame.shape;
      this.runs = (frame.runs ?? []).map((run) => ({ ...run, images: run.images && unpack(run.images) }));
      this.size = this.runs.find((run) => run.images)?.images.shape.slice(1);
      this.atlases.clear();
      if (this.cursor >= this.count) this.cursor = -1;
    }
    this.controls();
    if (!this.shape) { this.tiles = []; stage.say("nothing has been recorded yet"); this.tell(); return; }
    this.differ();
    this.layout();
    this.runs.forEach((run, r) => this.paint(run, r));
    this.tell();
    this.strip();
  }

  /** What can be chosen, and what is. */
  controls() {
    const { mode } = this, names = this.shape ? Array.from({ length: this.shape[0] }, (_, c) => this.className(c)) : [], key = names.join("\n");
    for (const button of this.modes) {
      button.setAttribute("aria-pressed", String(button.mode === mode));
      button.disabled = button.mode === "start" && !this.starts.some((x) => x);
      button.title = button.disabled ? "the images at the start are not known" : "";
    }
    if (key !== this.choices) {
      this.choices = key;
      this.choice.replaceChildren(make("option", { value: -1 }, "all"), ...names.map((name, c) => make("option", { value: c }, name)));
    }
    this.choice.value = this.only;
  }

  /** Differences of every run, and the range that holds them all. */
  differ() {
    const { mode } = this, key = `${mode}`;
    if (this.differed === this.frame && this.differKey === key && this.startsOf === this.differStart) return;
    Object.assign(this, { differed: this.frame, differKey: key, differStart: this.startsOf });
    this.atlases.clear();
    let most = 0;
    const one = this.size.reduce((a, b) => a * b);
    for (const [r, run] of this.runs.entries()) {
      run.d = null;
      const start = this.starts[r];
      if (mode === "images" || !run.images || (mode === "start" && !start)) continue;
      const mean = mode === "classes" ? meanOf(run.images) : null;
      run.d = Array.from({ length: this.count }, (_, i) => minus(run.images.subarray(i * one, (i + 1) * one), mean ?? start.subarray(i * one, (i + 1) * one), this.size));
      for (const d of run.d) most = Math.max(most, largest(d));
    }
    this.span = mode === "images" ? 0 : spanOf(most);
    this.legend();
  }

  legend() {
    const { span, scale } = this, key = `${span}|${this.size[0]}`;
    if (key === this.legendKey) return;
    this.legendKey = key;
    if (!span) return scale.replaceChildren();
    const stops = BLUE_ORANGE.map((v) => `rgb(${v.join(",")})`).join(", ");
    scale.replaceChildren(make("span", {}, `−${span}`), make("span", { className: "clnb-bar", style: { width: "90px", background: `linear-gradient(to right, ${stops})` } }), make("span", {}, `+${span} of 255${this.size[0] > 1 ? ", mean of the channels" : ""}`));
  }

  /** Runs beside each other; in each, classes as blocks of up to ten images a row, as large as the height allows. */
  layout() {
    const { stage, only } = this, [C, m] = this.shape, [, h, w] = this.size, chosen = only < 0 ? Array.from({ length: C }, (_, c) => c) : [only];
    const across = Math.max(1, Math.min(this.runs.length, Math.floor(stage.width / 150))), down = Math.ceil(this.runs.length / across), title = this.runs.length > 1 ? 18 : 2;
    const wide = stage.width / across - (across > 1 ? 14 : 2), cols = Math.min(m, 10), rows = Math.ceil(m / cols), room = stage.options.height;
    let best = null;
    for (let a = 1; a <= chosen.length; a++) {
      let tile = Math.min((wide - (a - 1) * 6) / (a * cols) - 1, only < 0 ? 96 : 160);
      if (tile < 6 && best) break;
      tile = Math.max(tile >= 2 * w ? Math.floor(tile / w) * w : Math.floor(tile), 3);
      const tall = Math.max(Math.round((tile * h) / w), 2), high = Math.ceil(chosen.length / a) * (rows * (tall + 1) + 17), fits = high <= room;
      const good = fits && tile >= 12 ? 2 : tile >= 12 ? 1 : 0;      // rather high than too small to be seen
      if (!best || good > best.good || (good === best.good && (good === 2 ? tile > best.tile : high < best.high))) best = { a, tile, tall, high, good };
    }
    const { a, tile, tall, high } = best, height = `${(title + high) * down}px`;
    if (stage.canvas.style.height !== height) { stage.canvas.style.height = height; stage.fit(); }
    this.tiles = [];
    this.blocks = [];
    this.grid = { columns: cols, a };
    this.runs.forEach((run, r) => {
      const left = (r % across) * (stage.width / across), top = Math.floor(r / across) * (title + high);
      run.place = { left, top, wide };
      chosen.forEach((c, k) => {
        const x = left + (k % a) * (cols * (tile + 1) + 6), y = top + title + Math.floor(k / a) * (rows * (tall + 1) + 17) + 14;
        this.blocks.push({ r, c, x, y, wide: cols * (tile + 1) + 4 });
        for (let j = 0; j < m; j++) this.tiles.push({ run: r, row: c * m + j, x: x + (j % cols) * (tile + 1), y: y + Math.floor(j / cols) * (tall + 1), w: tile, h: tall });
      });
    });
  }

  /** All images of a run in one small canvas. */
  atlas(run, r) {
    if (this.atlases.has(r)) return this.atlases.get(r);
    const [ch, h, w] = this.size, n = this.count, columns = Math.ceil(Math.sqrt(n)), width = columns * w, image = new ImageData(width, Math.ceil(n / columns) * h), one = ch * h * w;
    for (let i = 0; i < n; i++) put(image.data, width, (i % columns) * w, Math.floor(i / columns) * h, run.images.subarray(i * one, (i + 1) * one), this.size, run.d?.[i], this.span);
    const canvas = make("canvas", { width, height: image.height });
    canvas.getContext("2d").putImageData(image, 0, 0);
    const made = { canvas, columns };
    this.atlases.set(r, made);
    return made;
  }

  paint(run, r) {
    const { stage } = this, { ctx } = stage, [, h, w] = this.size, { left, top, wide } = run.place;
    ctx.fillStyle = stage.ink; ctx.textAlign = "left"; ctx.textBaseline = "alphabetic";
    ctx.font = "600 12px system-ui, sans-serif";
    if (this.runs.length > 1) ctx.fillText(cut(ctx, run.name, wide), left, top + 13);
    ctx.font = "11px system-ui, sans-serif";
    if (!run.images) { ctx.fillStyle = stage.faint; ctx.fillText("nothing recorded yet", left, top + 34); return; }
    if (this.mode === "start" && !run.d) { ctx.fillStyle = stage.faint; ctx.fillText("its start is not known", left, top + 34); return; }
    for (const block of this.blocks) if (block.r === r) ctx.fillText(cut(ctx, this.className(block.c), block.wide), block.x, block.y - 3);
    const { canvas, columns } = this.atlas(run, r);
    ctx.imageSmoothingEnabled = false;
    for (const tile of this.tiles) {
      if (tile.run !== r) continue;
      ctx.drawImage(canvas, (tile.row % columns) * w, Math.floor(tile.row / columns) * h, w, h, tile.x, tile.y, tile.w, tile.h);
      if (tile.row !== this.cursor && tile.row !== this.opened) continue;
      ctx.strokeStyle = stage.paper; ctx.lineWidth = 4; ctx.strokeRect(tile.x, tile.y, tile.w, tile.h);
      ctx.strokeStyle = tile.row === this.opened ? PALETTE[3] : stage.ink; ctx.lineWidth = 2; ctx.strokeRect(tile.x, tile.y, tile.w, tile.h);
    }
  }

  tell() {
    const { stage } = this, said = this.runs.map((run) => `${run.name ? `${run.name}: ` : ""}${run.words}`);
    if (said.join("\n") !== this.said) { this.said = said.join("\n"); this.words.replaceChildren(...said.map((text) => make("li", { className: "clnb-note" }, text))); }
    const what = this.shape ? `${this.shape[0]} classes, ${this.shape[1]} images each, ${stage.options.modes[this.mode]}${this.span ? ` from −${this.span} to ${this.span}` : ""}` : "nothing recorded yet";
    stage.canvas.setAttribute("aria-label", `${stage.options.title}: ${what}. ${said.join("; ")}`);
    Object.assign(stage.root.dataset, { mode: this.mode, only: this.only, opened: this.opened, cursor: this.cursor, span: this.span ?? 0, step: this.frame.step ?? "" });
    stage.canvas.dataset.tiles = JSON.stringify(this.tiles.slice(0, 400));
  }

  under([x, y]) { return this.tiles.find((t) => x >= t.x && x <= t.x + t.w && y >= t.y && y <= t.y + t.h && this.runs[t.run].images); }

  nameOf(row) { const m = this.shape[1]; return `${this.className(Math.floor(row / m))}${m > 1 ? `, image ${(row % m) + 1} of ${m}` : ""}`; }

  hover(event) {
    const { stage } = this, at = stage.at(event), tile = this.under(at);
    stage.canvas.style.cursor = tile ? "pointer" : "default";
    if (!tile) return this.leave();
    this.byMouse = true;
    if (this.cursor !== tile.row) { this.cursor = tile.row; stage.redraw(); }
    const [ch, h, w] = this.size, px = Math.min(Math.floor(((at[0] - tile.x) / tile.w) * w), w - 1), py = Math.min(Math.floor(((at[1] - tile.y) / tile.h) * h), h - 1);
    const run = this.runs[tile.run], p = py * w + px, values = Array.from({ length: ch }, (_, c) => run.images[tile.row * ch * h * w + c * h * w + p]);
    const lines = [`pixel (${px}, ${py}): ${values.join(", ")}`];
    if (run.d) lines.push(`${this.mode === "start" ? "since the start" : "to the mean"}: ${signed(run.d[tile.row][p])}`);
    stage.showTip(event, make("b", {}, this.nameOf(tile.row)), ...(run.name ? [run.name] : []), ...lines);
  }
  leave() {
    this.stage.showTip();
    if (this.cursor >= 0 && this.byMouse) { this.cursor = -1; this.stage.redraw(); }
  }

  /** The next image in a direction, by keys; the runs are marked together. */
  walk(dx, dy) {
    const mine = this.tiles.filter((tile) => tile.run === 0), now = mine.find((tile) => tile.row === this.cursor);
    if (!mine.length) return;
    const cx = (t) => t.x + t.w / 2, cy = (t) => t.y + t.h / 2;
    let next = now ?? mine[0];
    if (now) {
      const ahead = mine.filter((t) => (dx ? Math.abs(cy(t) - cy(now)) < 1 && (cx(t) - cx(now)) * dx > 0 : (cy(t) - cy(now)) * dy > 0));
      const far = (t) => (dx ? Math.abs(cx(t) - cx(now)) : 1000 * Math.abs(cy(t) - cy(now)) + Math.abs(cx(t) - cx(now)));
      next = ahead.sort((a, b) => far(a) - far(b))[0] ?? now;
    }
    Object.assign(this, { cursor: next.row, byMouse: false });
    this.whisper(`${this.nameOf(next.row)}${next.row === this.opened ? ", enlarged" : ""}`);
    this.stage.redraw();
  }

  /** The enlarged image in every run, and how it came to be. */
  strip() {
    const row = this.opened, { stage } = this, steps = (stage.model.get("steps") ?? []).length;
    this.panel.hidden = row < 0;
    if (row < 0) { this.trail = this.asked = null; return; }
    const want = `${row}|${steps}|${this.count}`;
    if (this.asked !== want && !this.asking) {
      Object.assign(this, { asked: want, asking: true });
      this.trajectory(row).then((runs) => { this.trail = { row, runs }; }).catch((error) => { this.stage.note.textContent = error.message; })
        .finally(() => { this.asking = false; stage.redraw(); });
    }
    const trail = this.trail?.row === row ? this.trail : null, key = `${row}|${this.frame.number}|${this.mode}|${this.differKey}|${trail ? this.asked : ""}|${stage.frame.step}`;
    if (key === this.stripKey && trail === this.stripOf) return;
    Object.assign(this, { stripKey: key, stripOf: trail });
    const held = this.panel.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const close = make("button", { type: "button", onclick: () => { this.set("opened", -1); stage.root.focus(); } }, "close");
    close.dataset.key = "close";
    this.panel.replaceChildren(make("div", { className: "clnb-row" }, make("b", {}, this.nameOf(row)), close, make("span", { className: "clnb-note" }, this.rangeOf(trail))),
      ...this.runs.map((run, r) => this.story(run, r, row, trail?.runs[r])));
    if (held) this.panel.querySelector(`[data-key="${CSS.escape(held)}"]`)?.focus();
  }
  rangeOf(trail) {
    if (this.mode === "images") { this.trailSpan = 0; return ""; }
    let most = 0;
    for (const one of trail?.runs ?? []) if (one.images) for (let t = 0; t < one.images.shape[0]; t++) { const d = this.changed(one, t); if (d) most = Math.max(most, largest(d)); }
    for (const run of this.runs) if (run.d) most = Math.max(most, largest(run.d[this.opened]));
    this.trailSpan = spanOf(most);
    return `−${this.trailSpan} … +${this.trailSpan} of 255`;
  }
  changed(one, t) {
    if (this.mode === "images") return null;
    const shape = one.images.shape.slice(1), size = shape.reduce((a, b) => a * b), image = one.images.subarray(t * size, (t + 1) * size);
    const other = this.mode === "start" ? one.start : one.means.subarray(t * size, (t + 1) * size);
    return other ? minus(image, other, shape) : null;
  }
  story(run, r, row, one) {
    const { stage } = this, parts = [];
    if (run.images && !(this.mode === "start" && !run.d)) {
      const size = this.size.reduce((a, b) => a * b), d = run.d?.[row] ?? null;
      parts.push(drawn(run.images.subarray(row * size, (row + 1) * size), this.size, d, this.trailSpan, 128));
    }
    const steps = stage.model.get("steps") ?? [], may = !stage.led || stage.alone;
    if (one?.images && one.steps.length > 1) {
      const shape = one.images.shape.slice(1), size = shape.reduce((a, b) => a * b);
      parts.push(make("div", { className: "clnb-thumbs" }, ...one.steps.map((step, t) => {
        const d = this.changed(one, t), said = `${run.name ? `${run.name}, ` : ""}step ${thousands(step)}`, thumb = drawn(one.images.subarray(t * size, (t + 1) * size), shape, d, this.trailSpan, 44);
        const button = make("button", { type: "button", "aria-label": said, title: said, disabled: !may, onclick: () => this.seek(steps, step), style: { padding: "1px", lineHeight: 0, opacity: 1 } }, thumb);
        button.dataset.key = `${r}-${step}`;
        if (step === this.stepOf(one.steps)) { button.setAttribute("aria-current", "step"); button.style.outline = "2px solid var(--clnb-focus)"; }
        return make("figure", {}, button, make("figcaption", {}, thousands(step)));
      })));
    }
    return make("div", { className: "clnb-row", role: "group", "aria-label": run.name || "trajectory", style: { alignItems: "flex-start", flexWrap: "wrap", margin: "4px 0" } },
      ...(this.runs.length > 1 ? [make("span", { className: "clnb-note", style: { flex: "1 1 100%", overflowWrap: "anywhere" } }, run.name)] : []), ...parts);
  }
  /** The newest of the steps that is not later than the one shown. */
  stepOf(steps) { const now = this.frame.step; return now == null ? steps.at(-1) : steps.filter((step) => step <= now).at(-1); }
  seek(steps, step) {
    const at = steps.filter((s) => s <= step).length - 1;
    this.stage.player.stop();
    this.stage.seek(at === steps.length - 1 ? -1 : Math.max(at, 0));
  }

  /** From the kernel; in a page, from its frames. */
  async trajectory(row) {
    if (!this.stage.alone) {
      const { runs } = await this.stage.ask({ ask: "trajectory", row });
      return runs.map((run) => ({ steps: run.steps, images: run.images && unpack(run.images), means: run.means && unpack(run.means), start: run.start && unpack(run.start) }));
    }
    const frames = this.stage.model.get("frames") ?? [], most = 12, kept = frames.length <= most ? frames : Array.from({ length: most }, (_, i) => frames[Math.round((i * (frames.length - 1)) / (most - 1))]);
    return this.runs.map((_, r) => {
      const there = kept.filter((frame) => frame.runs?.[r]?.images), all = there.map((frame) => unpack(frame.runs[r].images));
      if (!all.length) return { steps: [], images: null };
      const shape = all[0].shape.slice(1), size = shape.reduce((a, b) => a * b), images = new Uint8Array(all.length * size), means = new Float32Array(all.length * size);
      all.forEach((x, t) => { images.set(x.subarray(row * size, (row + 1) * size), t * size); means.set(meanOf(x), t * size); });
      images.shape = means.shape = [all.length, ...shape];
      return { steps: there.map((frame) => frame.step).filter((step) => step != null), images, means, start: this.starts[r]?.subarray(row * size, (row + 1) * size) };
    });
  }
}

export default {
  render({ model, el }) {
    const { title = "Condensed images", height = 380 } = model.get("options") ?? {};
    const stage = new Stage({ model, el }, { title, height,
      help: "click an image or Enter: enlarge it, with its steps · arrows: walk · m: next way of drawing · c: next class · Esc: close" });
    const view = new CondensedView(stage);
    return stage.start((frame) => view.draw(frame));
  },
};
