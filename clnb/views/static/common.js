// What every view of clnb shares: decoding arrays, a stage with title, canvas, tooltip and time slider. A view's own file
// follows this one and ends with `export default { render }`. In a saved page page.js stands between the two.

const PALETTE = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#7F7F7F",
  "#882255", "#44AA99"];
const INKS = [0, 3, 2, 4, 1, 5, 8, 9].map((k) => PALETTE[k]);   // of lines: without yellow and the grey of chance lines
const colour = (k) => PALETTE[((k % PALETTE.length) + PALETTE.length) % PALETTE.length];

const ARRAYS = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, int32: Int32Array, float32: Float32Array };

/** The arrays of a saved page, each once: base64 texts, and their bytes when they have been asked for. */
const POOL = { texts: [], bytes: [] };
const decoded = (text) => Uint8Array.fromBase64?.(text) ?? Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

/** Bytes as they arrive (DataView, ArrayBuffer, typed array or, in a page, {pool}) as a copy-free Uint8Array where possible. */
function bytesOf(value) {
  if (value?.pool !== undefined) {
    const bytes = (POOL.bytes[value.pool] ??= decoded(POOL.texts[value.pool]));
    POOL.texts[value.pool] = null;
    return bytes.slice();                     // whoever asked may change it
  }
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  return value ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : new Uint8Array(0);
}

/** A `packed` array as a typed array with a `shape`; undefined stays undefined. */
function unpack(packed) {
  if (!packed) return undefined;
  let bytes = bytesOf(packed.bytes);
  if (bytes.byteOffset % 4) bytes = bytes.slice();
  const kind = ARRAYS[packed.dtype];
  const array = new kind(bytes.buffer, bytes.byteOffset, bytes.byteLength / kind.BYTES_PER_ELEMENT);
  array.shape = packed.shape;
  return array;
}

/** A new element with properties, attributes (dash or `for`/`role`/`type`) and children; text never becomes markup. */
function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "style") Object.assign(node.style, value);
    else if (key in node && !key.includes("-")) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

/** The row of a slider or checkbox: label in front, control, value behind. */
function slider(label, { min, max, step, value, log = false, show = (v) => String(+v.toPrecision(3)) }, changed) {
  const to = log ? Math.log : (v) => v, from = log ? Math.exp : (v) => v;
  const input = make("input", { type: "range", min: to(min), max: to(max), step: log ? (to(max) - to(min)) / 200 : step,
    value: to(value), "aria-label": label });
  const readout = make("output", {}, show(value));
  input.addEventListener("input", () => {
    const now = from(+input.value);
    readout.textContent = show(now);
    input.setAttribute("aria-valuetext", show(now));
    changed(now);
  });
  const row = make("label", { className: "clnb-slider" }, make("span", {}, label), input, readout);
  row.read = () => from(+input.value);
  row.write = (v) => { input.value = to(v); readout.textContent = show(v); };
  return row;
}

function dropdown(label, choices, value, changed) {
  const select = make("select", { "aria-label": label }, ...choices.map((c) => make("option", { value: c }, c)));
  select.value = value;
  select.addEventListener("change", () => changed(select.value));
  return make("label", { className: "clnb-slider" }, make("span", {}, label), select);
}

function checkbox(label, value, changed) {
  const box = make("input", { type: "checkbox", checked: value, "aria-label": label });
  box.addEventListener("change", () => changed(box.checked));
  return make("label", { className: "clnb-check" }, box, make("span", {}, label));
}

/** Calls `changed` when the colours of the page may have: the reader's system, JupyterLab, VS Code or Colab switch their theme. */
function onTheme(changed) {
  const system = matchMedia("(prefers-color-scheme: dark)"), ends = [() => system.removeEventListener("change", again)];
  let late = 0;
  function again() { changed(); clearTimeout(late); late = setTimeout(changed, 400); }   // style sheets may come after the switch
  system.addEventListener("change", again);
  const watcher = new MutationObserver(again), attributeFilter = ["data-jp-theme-light", "data-jp-theme-name", "class", "theme", "style"];
  for (const node of [document.body, document.documentElement]) watcher.observe(node, { attributes: true, attributeFilter });
  return () => { watcher.disconnect(); clearTimeout(late); ends.forEach((end) => end()); };
}

/** Plays through positions: `go(k)` shows one, `arrived(k)` says whether it is to be seen, `done` is called at the end. */
class Player {
  constructor({ count, go, arrived = () => true, done, rate = () => 7 }) { Object.assign(this, { count, go, arrived, done, rate, timer: 0 }); }
  get on() { return this.timer !== 0; }
  start(from) {
    this.stop();
    let position = from, since = -Infinity;
    this.timer = setInterval(() => {
      const now = performance.now(), waited = now - since;
      if (waited < 1000 / this.rate() - 4 || (waited < 2000 && position > from && !this.arrived(position - 1))) return;
      since = now;
      if (position < this.count()) this.go(position++);
      else { this.stop(); this.done?.(); }
    }, 16);
  }
  stop() { clearInterval(this.timer); this.timer = 0; }
}

/** The frame around a view. Give it `draw(frame)`; it calls back on every new frame, resize, selection or theme change. */
class Stage {
  constructor({ model, el }, { title = "", height = 300, help = "" } = {}) {
    this.model = model;
    this.ends = [];
    this.waiting = new Map();
    this.root = make("section", { className: "clnb", tabIndex: 0, role: "group", "aria-label": title,
      "data-lm-suppress-shortcuts": "true" });   // keys pressed in a view are not the notebook's
    this.title = make("span", { className: "clnb-title" }, title);
    this.note = make("span", { className: "clnb-note" });
    this.tools = make("div", { className: "clnb-tools" });
    this.body = make("div", { className: "clnb-body" });
    this.tip = make("div", { className: "clnb-tip", role: "tooltip", hidden: true });
    this.help = make("div", { className: "clnb-help" }, help);
    this.timeline = this.makeTimeline();
    this.canvas = make("canvas", { className: "clnb-canvas", role: "img", "aria-label": title, style: { height: `${height}px` } });
    this.body.append(this.canvas);
    this.root.append(make("header", {}, this.title, this.note), this.tools, this.body, this.timeline, this.help, this.tip);
    el.append(this.root);
    this.root.addEventListener("keydown", (event) => {
      this.key(event);
      if (event.target.type === "range") event.stopPropagation();     // JupyterLab would take the arrows from a slider
    });
    this.listen("msg:custom", (reply, buffers) => this.answered(reply, buffers));
  }

  /** Ask for one paint with the next screen refresh; does nothing before `start`. */
  redraw() {}

  /** Draw now and after every change. `draw(frame)` may throw; the message then stands in place of the picture. */
  start(draw) {
    this.draw = draw;
    let asked = false;
    this.redraw = () => {
      if (this.painted && (this.away || document.hidden)) {     // nobody sees it: the kernel goes on, at leisure
        this.stale = true;
        if (this.led) this.acknowledge(this.frame);
        else setTimeout(() => this.acknowledge(this.frame), 300);
        return;
      }
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => { asked = false; this.paint(); });
    };
    for (const name of ["frame", "options", "selected", "moment"]) this.listen(`change:${name}`, () => this.redraw());
    for (const name of ["steps", "led"]) this.listen(`change:${name}`, () => this.showTimeline());
    this.watch();
    this.showTimeline();
    this.redraw();
    return () => { this.player.stop(); this.ends.forEach((end) => end()); };
  }

  /** Notice changes of size, theme and sharpness, and whether the view can be seen at all. */
  watch() {
    const sizes = new ResizeObserver(([entry]) => {
      const { width, height } = entry.contentRect;
      if (width === this.box?.width && height === this.box?.height) return;
      this.box = { width, height };
      this.redraw();
    });
    sizes.observe(this.canvas);
    const again = () => { if (this.stale && !this.away && !document.hidden) { this.stale = false; this.redraw(); } };
    const margin = { rootMargin: "100%", scrollMargin: "100%" };    // what is scrolled to next is painted before
    const sight = new IntersectionObserver((all) => { this.away = !all[all.length - 1].isIntersecting; again(); }, margin);
    sight.observe(this.root);
    const print = () => { if (this.stale) { this.stale = false; this.paint(); } };
    document.addEventListener("visibilitychange", again);
    window.addEventListener("beforeprint", print);
    this.ends.push(() => sizes.disconnect(), () => sight.disconnect(), () => window.removeEventListener("beforeprint", print),
      () => document.removeEventListener("visibilitychange", again), onTheme(() => { this.colours = null; this.redraw(); }));
    const sharpness = () => {
      const screen = matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
      screen.addEventListener("change", () => { if (!this.ended) { sharpness(); this.redraw(); } }, { once: true });
    };
    this.ends.push(() => { this.ended = true; });
    sharpness();
  }

  paint() {
    const frame = this.frame;
    this.painted = true;
    this.prepare();
    this.note.classList.toggle("clnb-error", Boolean(frame.error));
    const note = frame.error ?? frame.note ?? (frame.step == null ? "" : `step ${frame.step}`);
    if (this.note.textContent !== note) this.note.textContent = note;
    try {
      if (!frame.error) this.draw(frame);
    } catch (error) {
      this.note.textContent = error.message;
      this.note.classList.add("clnb-error");
      console.error(error);
    }
    this.showPosition(frame);
    this.acknowledge(frame);
  }

  /** Tell the kernel that this frame has been seen, so that it sends the next. */
  acknowledge(frame) {
    if (!(frame.number > this.model.get("drawn"))) return;
    this.model.set("drawn", frame.number);
    this.model.save_changes();
  }

  /** Keys of every view: Escape clears the selection, space plays. A view adds its own in `keys` (name -> function). */
  key(event) {
    const inControl = event.target !== this.root && event.target !== this.canvas;
    if (event.defaultPrevented) return;
    if (event.key === "Escape") { this.showTip(); this.select([]); this.keys?.Escape?.(event); }
    else if (inControl || event.ctrlKey || event.metaKey || event.altKey) return;
    else if (this.keys?.[event.key]) this.keys[event.key](event);
    else if (event.key === " " && this.led) document.dispatchEvent(new CustomEvent("clnb-play", { detail: this.led }));
    else if (event.key === " " && !this.timeline.hidden) this.playAll();
    else return;
    event.preventDefault();
  }

  /** A sentence in the middle of the empty canvas. */
  say(text) {
    this.ctx.fillStyle = this.faint;
    this.ctx.textAlign = "center";
    this.ctx.fillText(text, this.width / 2, this.height / 2);
  }

  /** True in a saved page, where no kernel can be asked for anything new. */
  get alone() { return this.model.alone === true; }
  get frame() { return this.model.get("frame") ?? {}; }
  get options() { return this.model.get("options") ?? {}; }
  /** The step that is looked at; −1: the newest. */
  get moment() { return this.model.get("moment") ?? -1; }
  /** The `Rewind` that moves this view through time; "" when it has a slider of its own. */
  get led() { return this.model.get("led") ?? ""; }

  listen(event, callback) {
    this.model.on(event, callback);
    this.ends.push(() => this.model.off?.(event, callback));
  }

  /** Match the canvas to its box after its style was changed; sets `width`, `height` (CSS pixels) and a clean `ctx`. */
  fit() {
    this.box = { width: this.canvas.clientWidth, height: this.canvas.clientHeight };
    this.prepare();
  }

  /** A clean canvas with the pixels of the screen. Sizes and colours are known from the observers: nothing is measured here. */
  prepare() {
    const box = (this.box ??= { width: this.canvas.clientWidth, height: this.canvas.clientHeight }), ratio = window.devicePixelRatio || 1;
    this.width = Math.max(box.width, 50);
    this.height = Math.max(box.height, 50);
    const w = Math.round(this.width * ratio), h = Math.round(this.height * ratio);
    if (this.canvas.width !== w || this.canvas.height !== h) Object.assign(this.canvas, { width: w, height: h });
    this.ctx = this.canvas.getContext("2d");
    this.ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.ctx.clearRect(0, 0, this.width, this.height);
    this.ctx.font = "11px system-ui, sans-serif";
    if (!this.colours) {
      const theme = getComputedStyle(this.root), read = (name, other) => theme.getPropertyValue(name).trim() || other;
      this.colours = { ink: read("--clnb-ink", "#222"), faint: read("--clnb-faint", "#999"), paper: read("--clnb-paper", "#fff") };
    }
    Object.assign(this, this.colours);
  }

  /** Mouse position in CSS pixels of the canvas. */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** Show nodes or texts beside the mouse; without an argument, hide. */
  showTip(event, ...content) {
    this.tip.hidden = !content.length;
    if (!content.length) return;
    this.tip.replaceChildren(...content.map((c) => (typeof c === "string" ? make("div", {}, c) : c)));
    const box = this.root.getBoundingClientRect(), tip = this.tip.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top, right = x + 14 + tip.width < box.width;
    this.tip.style.left = `${Math.max(2, right ? x + 14 : Math.min(x - tip.width - 14, box.width - tip.width - 4))}px`;
    this.tip.style.top = `${Math.max(2, Math.min(y + 14, box.height - tip.height - 2))}px`;
  }

  /** Ask Python (or the saved page) something; resolves with the reply, arrays unpacked by `unpack`. */
  ask(question) {
    const id = `${Date.now()}-${Math.random()}`;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.model.send({ ...question, id });
    });
  }

  answered(reply, buffers = []) {
    const waiting = this.waiting.get(reply?.reply);
    if (!waiting) return;
    this.waiting.delete(reply.reply);
    const fill = (value) => {
      if (!value || typeof value !== "object" || ArrayBuffer.isView(value)) return;
      if (typeof value.bytes === "number") value.bytes = buffers[value.bytes];
      else Object.values(value).forEach(fill);
    };
    fill(reply);
    if (reply.error) waiting.reject(new Error(reply.error));
    else waiting.resolve(reply);
  }

  get selection() { return unpack({ bytes: this.model.get("selected"), dtype: "uint32", shape: [] }); }

  select(rows) {
    const index = Uint32Array.from(new Set(rows)).sort(), now = this.selection;
    if (index.length === now.length && index.every((row, i) => row === now[i])) return;
    this.model.set("selected", new DataView(index.buffer));
    this.model.save_changes();
    this.redraw();
  }

  makeTimeline() {
    this.clock = make("input", { type: "range", min: 0, max: 0, step: 1, "aria-label": "step" });
    this.clockText = make("output", {}, "");
    this.live = make("button", { type: "button", title: "follow the newest frame (End)" }, "newest");
    this.play = make("button", { type: "button", title: "play the recorded steps (space)" }, "play");
    this.clock.addEventListener("input", () => { this.player.stop(); this.seek(+this.clock.value); });
    this.live.addEventListener("click", () => { this.player.stop(); this.seek(-1); });
    this.play.addEventListener("click", () => this.playAll());
    this.clock.addEventListener("keydown", (event) => {
      if (event.key === "End") this.seek(-1); else if (event.key === " ") this.playAll(); else return;
      event.preventDefault();
    });
    const count = () => (this.model.get("steps") ?? []).length;
    this.player = new Player({ count, go: (k) => this.seek(k), arrived: (k) => this.frame.position === k || this.alone,
      done: () => this.seek(-1) });
    return make("div", { className: "clnb-timeline", hidden: true }, this.play, this.clock, this.clockText, this.live);
  }

  seek(position) {
    this.model.set("at", position);
    this.model.save_changes();
  }

  /** Play from here (or from the first step, when the newest is shown), or stop. */
  playAll() {
    if (this.player.on) this.player.stop();
    else this.player.start(Math.max(this.model.get("at"), 0));
    this.showPosition(this.frame);
  }

  showTimeline() {
    const steps = this.model.get("steps") ?? [];
    this.timeline.hidden = steps.length < 2 || this.led !== "";
    this.clock.max = Math.max(steps.length - 1, 0);
    this.showPosition(this.frame);
  }

  showPosition(frame) {
    const steps = this.model.get("steps") ?? [], newest = this.model.get("at") < 0;
    if (document.activeElement !== this.clock || newest || this.player.on)
      this.clock.value = newest ? steps.length - 1 : this.model.get("at");
    const text = frame.step == null ? "" : `step ${frame.step}`, word = this.player.on ? "stop" : "play";
    if (this.clockText.textContent !== text) {
      this.clockText.textContent = text;
      this.clock.setAttribute("aria-valuetext", text);
    }
    if (this.play.textContent !== word) this.play.textContent = word;
    this.live.disabled = newest;
  }
}

/** Axes in a rectangle of the stage: maps data to pixels and draws ticks, labels and a thin frame. */
class Axes {
  constructor(stage, { x, y, logX = false, logY = false, left = 46, right = 10, top = 8, bottom = 30, xLabel = "", yLabel = "" }) {
    Object.assign(this, { stage, logX, logY, xLabel, yLabel, left, top });
    this.right = stage.width - right;
    this.bottom = stage.height - bottom;
    this.x = widen(x, logX);
    this.y = widen(y, logY);
  }
  px(v) { return this.left + ((scaleOf(v, this.logX) - this.x[0]) / (this.x[1] - this.x[0])) * (this.right - this.left); }
  py(v) { return this.bottom - ((scaleOf(v, this.logY) - this.y[0]) / (this.y[1] - this.y[0])) * (this.bottom - this.top); }
  vx(p) { const v = this.x[0] + ((p - this.left) / (this.right - this.left)) * (this.x[1] - this.x[0]); return this.logX ? 10 ** v : v; }
  vy(p) { const v = this.y[0] + ((this.bottom - p) / (this.bottom - this.top)) * (this.y[1] - this.y[0]); return this.logY ? 10 ** v : v; }
  draw() {
    const { ctx, ink, faint, moment } = this.stage;
    ctx.save();
    if (this.xLabel === "step" && moment >= 0) {     // the step that is looked at
      const x = Math.min(Math.max(this.px(moment), this.left), this.right);
      ctx.strokeStyle = ink; ctx.lineWidth = 1.5;
      ctx.beginPath(); ctx.moveTo(x, this.top); ctx.lineTo(x, this.bottom); ctx.stroke();
      this.stage.root.dataset.moment = moment;
    } else delete this.stage.root.dataset.moment;
    ctx.strokeStyle = faint; ctx.fillStyle = ink; ctx.lineWidth = 1;
    ctx.beginPath();
    ctx.moveTo(this.left, this.top); ctx.lineTo(this.left, this.bottom); ctx.lineTo(this.right, this.bottom);
    ctx.stroke();
    ctx.textAlign = "center"; ctx.textBaseline = "top";
    for (const v of ticks(this.x, this.logX)) ctx.fillText(short(v), this.px(v), this.bottom + 4);
    ctx.fillText(this.xLabel, (this.left + this.right) / 2, this.bottom + 17);
    ctx.textAlign = "right"; ctx.textBaseline = "middle";
    for (const v of ticks(this.y, this.logY)) ctx.fillText(short(v), this.left - 4, this.py(v));
    ctx.translate(9, (this.top + this.bottom) / 2); ctx.rotate(-Math.PI / 2);
    ctx.textAlign = "center";
    ctx.fillText(this.yLabel, 0, 0);
    ctx.restore();
  }
  /** A polyline through (xs, ys); points that are not finite break it. */
  line(xs, ys, { color, width = 1.5, dash = [] }) {
    const { ctx } = this.stage;
    ctx.save();
    ctx.beginPath(); ctx.rect(this.left, this.top, this.right - this.left, this.bottom - this.top); ctx.clip();
    ctx.strokeStyle = color; ctx.lineWidth = width; ctx.setLineDash(dash);
    ctx.beginPath();
    let pen = false;
    for (let i = 0; i < xs.length; i++) {
      if (!Number.isFinite(ys[i]) || (this.logY && ys[i] <= 0) || (this.logX && xs[i] <= 0)) { pen = false; continue; }
      ctx[pen ? "lineTo" : "moveTo"](this.px(xs[i]), this.py(ys[i]));
      pen = true;
    }
    ctx.stroke();
    ctx.restore();
  }
}

const scaleOf = (v, log) => (log ? Math.log10(v) : v);

function widen([low, high], log) {
  let a = scaleOf(low, log), b = scaleOf(high, log);
  if (!Number.isFinite(a) || !Number.isFinite(b)) [a, b] = [0, 1];
  if (a === b) [a, b] = [a - 0.5, b + 0.5];
  return [a, b];
}

/** About five round numbers between the ends of an axis (decades on a logarithmic one). */
function ticks([low, high], log) {
  if (log && high - low >= 1) {
    const every = Math.ceil((high - low) / 6), out = [];
    for (let e = Math.ceil(low); e <= high; e += every) out.push(10 ** e);
    return out;
  }
  if (log) return ticks([10 ** low, 10 ** high], false);
  const raw = (high - low) / 5, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw) ?? raw;
  const out = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) out.push(+v.toPrecision(12));
  return out;
}

function short(v) {
  if (v === 0) return "0";
  const size = Math.abs(v);
  if (size >= 1e5 || size < 1e-3) return v.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e");
  return String(+v.toPrecision(4));
}

/** Lowest and highest finite number in several arrays. */
function extent(...arrays) {
  let low = Infinity, high = -Infinity;
  for (const array of arrays) for (const v of array) if (Number.isFinite(v)) { if (v < low) low = v; if (v > high) high = v; }
  return low <= high ? [low, high] : [0, 1];
}

/** An image of uint8 pixels in [C, H, W] order as a canvas of `size` CSS pixels, drawn without smoothing. */
function thumbnail(pixels, [channels, height, width], size = 64) {
  const canvas = make("canvas", { className: "clnb-thumb", width, height,
    style: { width: `${Math.round((size * width) / Math.max(width, height))}px`, height: `${Math.round((size * height) / Math.max(width, height))}px` } });
  const image = new ImageData(width, height), plane = width * height;
  for (let i = 0; i < plane; i++)
    for (let c = 0; c < 4; c++)
      image.data[4 * i + c] = c === 3 ? 255 : pixels[(channels === 1 ? 0 : c) * plane + i];
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** Text shortened to fit `room` pixels. */
function cut(ctx, text, room) {
  if (ctx.measureText(text).width <= room) return text;
  let keep = text.length;
  while (keep > 1 && ctx.measureText(`${text.slice(0, keep)}…`).width > room) keep--;
  return `${text.slice(0, keep)}…`;
}

/** Class numbers as they travel (0: unknown, k + 1: class k) as numbers with −1 for unknown. */
function numbersOf(packed) {
  const raw = unpack(packed), numbers = new Int32Array(raw.length);
  for (let i = 0; i < raw.length; i++) numbers[i] = raw[i] - 1;
  numbers.shape = raw.shape;
  return numbers;
}

const thousands = (n) => n.toLocaleString("en");
const percentOf = (part, whole) => (whole ? `${+((100 * part) / whole).toPrecision(3)} %` : "–");
const adds = (event) => Boolean(event && (event.ctrlKey || event.metaKey || event.shiftKey));

/** Select rows. With Ctrl, ⌘ or Shift: add them, or take them away where all are selected already. */
function pick(stage, rows, event) {
  if (!adds(event)) return stage.select(rows);
  const now = new Set(stage.selection);
  const add = !rows.every((row) => now.has(row));
  for (const row of rows) add ? now.add(row) : now.delete(row);
  stage.select(now);
}

/** Numbers of the rows below `n` that `test` accepts. */
function rowsWhere(n, test) {
  const rows = [];
  for (let i = 0; i < n; i++) if (test(i)) rows.push(i);
  return rows;
}

/** Which of `n` rows are selected; `version` grows when that changes. */
class Chosen {
  constructor(stage) { Object.assign(this, { stage, version: 0, count: 0, mask: new Uint8Array(0) }); }
  of(n) {
    const bytes = this.stage.model.get("selected");
    if (bytes === this.bytes && n === this.mask.length) return this.mask;
    Object.assign(this, { bytes, mask: new Uint8Array(n), count: 0, version: this.version + 1 });
    for (const row of this.stage.selection) if (row < n) { this.mask[row] = 1; this.count++; }
    return this.mask;
  }
}

/** A line that only screen readers read: where the keyboard is. */
function whisper(stage) {
  const line = make("div", { role: "status", style: { position: "absolute", width: "1px", height: "1px", overflow: "hidden",
    clipPath: "inset(50%)", whiteSpace: "nowrap" } });
  stage.root.append(line);
  return (text) => { line.textContent = text; };
}

/** Images by row: the ones wanted now are asked for in one request, and kept. */
class ImageStore {
  constructor(stage, arrived) { Object.assign(this, { stage, arrived, known: new Map(), asked: new Set() }); }

  want(rows) {
    const need = [...new Set(rows)].filter((row) => !this.known.has(row) && !this.asked.has(row)).slice(0, 512);
    if (!need.length) return;
    for (const row of need) this.asked.add(row);
    this.requests = (this.requests ?? 0) + 1;
    this.stage.ask({ ask: "images", rows: need }).then(({ images }) => {
      const all = unpack(images), [, ...shape] = all.shape, one = shape.reduce((a, b) => a * b);
      need.forEach((row, i) => this.known.set(row, { pixels: all.slice(i * one, (i + 1) * one), shape }));
      for (const row of this.known.keys()) if (this.known.size > 4000) this.known.delete(row);
      this.arrived();
    }).catch((error) => { this.stage.note.textContent = error.message; })
      .finally(() => { for (const row of need) this.asked.delete(row); });
  }

  /** The image as a canvas, or an empty box of its size while it is on the way. */
  tile(row, size) {
    const image = this.known.get(row);
    return image ? thumbnail(image.pixels, image.shape, size)
      : make("div", { className: "clnb-waiting", style: { width: `${size}px`, height: `${size}px`, background: "var(--clnb-line)" } });
  }
}
