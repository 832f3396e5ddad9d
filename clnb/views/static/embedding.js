// Embedding: up to a few 100,000 points painted into an ImageData, with camera, lasso, legend and hover.

/** Colours of a scale from low to high (viridis, eight stops), as [r, g, b]. */
const SCALE = [[68, 1, 84], [70, 50, 127], [54, 92, 141], [39, 127, 142], [31, 161, 135], [74, 194, 109], [159, 218, 58],
  [253, 231, 37]];
function onScale(t) {
  const at = Math.max(0, Math.min(1, t)) * (SCALE.length - 1), i = Math.min(Math.floor(at), SCALE.length - 2), f = at - i;
  return SCALE[i].map((v, c) => Math.round(v + f * (SCALE[i + 1][c] - v)));
}

const abgr = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
const GREY = [150, 150, 150];

/** "#rrggbb", "rgb(…)" or a colour name as [r, g, b]. */
function rgbOf(text) {
  rgbOf.ctx ??= make("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  rgbOf.ctx.fillStyle = "#888";
  rgbOf.ctx.fillStyle = text;
  rgbOf.ctx.fillRect(0, 0, 1, 1);
  return [...rgbOf.ctx.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

/** Offsets and coverage (0…256) of a disc of `radius` pixels around a pixel. */
function disc(radius, strength) {
  const reach = Math.ceil(radius + 0.5), out = [];
  for (let y = -reach; y <= reach; y++)
    for (let x = -reach; x <= reach; x++) {
      const cover = Math.max(0, Math.min(1, radius + 0.5 - Math.hypot(x, y)));
      if (cover > 0.02) out.push([x, y, Math.round(cover * strength * 256)]);
    }
  return out;
}

class Cloud {
  constructor(stage) {
    this.stage = stage;
    this.now = new Float32Array(0);
    this.home = null;
    this.camera = { x: 0, y: 0, zoom: 1, own: false };
    this.off = new Map();          // column name -> Set of hidden categories
    this.number = -1;
    this.hovered = -1;
    this.near = [];
    this.thumbs = new Map();
    this.still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.makeTools();
    this.listen();
  }

  // ------------------------------------------------------------------ columns and legend

  makeTools() {
    const { stage } = this, options = stage.options;
    this.columns = (options.columns ?? []).map((c) => ({ ...c, values: c.kind === "text" ? c.values : unpack(c.values) }));
    const names = this.columns.filter((c) => c.kind !== "text").map((c) => c.name);
    this.column = this.columns.find((c) => c.name === options.colour_by) ?? this.columns.find((c) => c.kind !== "text");
    this.modes = make("span", { className: "clnb-modes", role: "group", "aria-label": "what dragging does" });
    for (const [mode, title] of [["move", "drag moves the picture"], ["lasso", "drag selects inside a line (or hold Shift)"],
      ["box", "drag selects inside a box"]])
      this.modes.append(make("button", { type: "button", title, onclick: () => this.setMode(mode) }, mode));
    this.fitButton = make("button", { type: "button", title: "show everything (key 0)", onclick: () => this.fit() }, "fit");
    this.count = make("span", { className: "clnb-note", role: "status" });
    stage.tools.append(this.modes, this.fitButton);
    if (names.length > 1) stage.tools.append(dropdown("colour", names, this.column.name, (name) => {
      this.column = this.columns.find((c) => c.name === name);
      this.recolour();
    }));
    this.legend = make("div", { className: "clnb-legend", role: "group", "aria-label": "legend" });
    stage.tools.append(this.count, this.legend);
    this.setMode("move");
  }

  setMode(mode) {
    this.mode = mode;
    for (const button of this.modes.children) button.setAttribute("aria-pressed", String(button.textContent === mode));
    this.stage.canvas.style.cursor = mode === "move" ? "grab" : "crosshair";
  }

  recolour() {
    this.inks = null;
    this.stage.redraw();
  }

  /** Colours and visibility of `n` points in the current column; rebuilds the legend. */
  ink(n) {
    const column = this.column, inks = new Uint32Array(n).fill(abgr(GREY)), hidden = new Uint8Array(n);
    this.legend.replaceChildren();
    if (column?.kind === "category") {
      const table = column.colours.map((c) => abgr(rgbOf(c))), counts = new Uint32Array(table.length + 1);
      const off = this.off.get(column.name) ?? this.off.set(column.name, new Set()).get(column.name);
      const m = Math.min(n, column.values.length);
      for (let i = 0; i < m; i++) {
        const v = column.values[i];
        counts[v < 0 ? table.length : v]++;
        if (v >= 0) inks[i] = table[v];
        if (off.has(v)) hidden[i] = 1;
      }
      this.makeLegend(column, counts, off);
    } else if (column?.kind === "number") {
      const [low, high] = extent(column.values), m = Math.min(n, column.values.length), span = high - low || 1;
      const table = Array.from({ length: 256 }, (_, i) => abgr(onScale(i / 255)));
      for (let i = 0; i < m; i++)
        if (Number.isFinite(column.values[i])) inks[i] = table[Math.round(((column.values[i] - low) / span) * 255)];
      const stops = SCALE.map((c) => `rgb(${c.join(",")})`).join(",");
      this.legend.append(make("span", {}, short(low)), make("span", { className: "clnb-bar",
        style: { background: `linear-gradient(90deg, ${stops})` } }), make("span", {}, `${short(high)}  ${column.name}`));
    }
    Object.assign(this, { inks, hidden });
  }

  makeLegend(column, counts, off) {
    const chip = (v, name, shade) => {
      const node = make("button", { type: "button", className: "clnb-chip", "aria-pressed": String(!off.has(v)),
        title: `${name}: ${counts[v < 0 ? counts.length - 1 : v]} points. Click hides, double click shows only these` },
      make("i", { className: "clnb-dot", style: { background: shade } }), make("span", {}, name));
      node.dataset.value = v;
      node.addEventListener("click", (event) => this.filter(column, v, off, event.detail === 2, counts));
      return node;
    };
    const most = 200, there = column.names.map((_, v) => v).filter((v) => counts[v]);
    this.legend.append(...there.slice(0, most).map((v) => chip(v, column.names[v], column.colours[v])));
    if (there.length > most) this.legend.append(make("span", { className: "clnb-note" }, `… ${there.length - most} more`));
    if (counts[counts.length - 1]) this.legend.append(chip(-1, "unlabelled", `rgb(${GREY.join(",")})`));
  }

  filter(column, v, off, alone, counts) {
    const every = [...column.names.map((_, i) => i), -1].filter((i) => counts[i < 0 ? counts.length - 1 : i]);
    if (alone) {
      const others = every.filter((i) => i !== v), only = this.only === v;
      off.clear();
      if (!only) others.forEach((i) => off.add(i));
      this.only = only ? undefined : v;
    } else if (!off.delete(v)) off.add(v);
    if (off.size >= every.length) off.clear();
    const focus = v;
    this.inks = null;
    this.ink(this.now.length / 2);
    this.legend.querySelector(`[data-value="${focus}"]`)?.focus();
    this.stage.redraw();
  }

  // ------------------------------------------------------------------ frames and camera

  accept(frame) {
    if (frame.number === this.number) return;
    this.number = frame.number;
    const steps = unpack(frame.points), n = (steps?.length ?? 0) / 2, to = new Float32Array(2 * n);
    const [x0, y0, w, h] = frame.box ?? [0, 0, 1, 1];
    for (let i = 0; i < n; i++) {
      const gone = steps[2 * i] === 65535;
      to[2 * i] = gone ? NaN : x0 + (steps[2 * i] / 65534) * w;
      to[2 * i + 1] = gone ? NaN : y0 + (steps[2 * i + 1] / 65534) * h;
    }
    const same = this.now.length === to.length && n && !this.still;
    this.from = same ? this.now.slice() : to;
    this.to = to;
    this.now = same ? this.now.slice() : to;
    const clock = performance.now();
    this.began = clock;
    this.lasts = same ? Math.min(240, Math.max(40, 0.9 * (clock - (this.arrived ?? 0)))) : 0;
    this.arrived = clock;
    this.near = [];
    if (this.inks?.length !== n) this.inks = null;
    this.widenHome(frame.box, n, frame.least ?? 0);
  }

  /** The box that is shown: grows with the data. Plain points: shrinks when the data needs less than half of it. Vectors,
   * in units of their length: at least ±`least` and never smaller than before, so that a collapse looks like one. */
  widenHome(box, n, least) {
    if (!box || !n) return;
    const [x, y, w, h] = box, half = Math.max(w, h, 2 * least, 1e-9) / 2;
    const need = [x + w / 2 - half, y + h / 2 - half, x + w / 2 + half, y + h / 2 + half];
    const has = this.home, width = has ? has[2] - has[0] : 0;
    if (!has || (!least && 2 * half < width / 2)) this.home = need;
    else this.home = [Math.min(has[0], need[0]), Math.min(has[1], need[1]), Math.max(has[2], need[2]), Math.max(has[3], need[3])];
    if (!this.camera.own) this.lookHome();
  }

  lookHome() {
    const [a, b, c, d] = this.home ?? [-1, -1, 1, 1];
    Object.assign(this.camera, { x: (a + c) / 2, y: (b + d) / 2, zoom: 1, span: Math.max(c - a, d - b) });
  }

  fit() {
    this.camera.own = false;
    this.home = null;
    this.widenHome(this.stage.frame.box, 1, 0);
    this.lookHome();
    this.stage.redraw();
  }

  /** CSS pixels per unit of data. */
  get unit() {
    const { width, height } = this.stage;
    return (this.camera.zoom * 0.92 * Math.min(width, height)) / (this.camera.span ?? 2);
  }
  px(i) { return this.stage.width / 2 + (this.now[2 * i] - this.camera.x) * this.unit; }
  py(i) { return this.stage.height / 2 - (this.now[2 * i + 1] - this.camera.y) * this.unit; }

  zoomAt([x, y], factor) {
    const { camera, stage } = this, before = this.unit;
    camera.zoom = Math.max(0.1, Math.min(1e5, camera.zoom * factor));
    const dx = x - stage.width / 2, dy = stage.height / 2 - y;
    camera.x += dx / before - dx / this.unit;
    camera.y += dy / before - dy / this.unit;
    camera.own = true;
    stage.redraw();
  }

  pan(dx, dy) {
    this.camera.x -= dx / this.unit;
    this.camera.y += dy / this.unit;
    this.camera.own = true;
    this.stage.redraw();
  }

  // ------------------------------------------------------------------ painting

  draw(frame) {
    this.accept(frame);
    const n = this.now.length / 2, t = this.lasts ? Math.min(1, (performance.now() - this.began) / this.lasts) : 1;
    if (this.to && this.now !== this.to) {
      const ease = t * (2 - t), { from, to, now } = this;
      for (let i = 0; i < to.length; i++) now[i] = from[i] === from[i] ? from[i] + ease * (to[i] - from[i]) : to[i];
      if (t >= 1) this.now = to;
    }
    if (!this.inks) this.ink(n);
    const selection = this.stage.selection;
    this.paint(n, selection);
    this.overlay();
    if (!n) this.stage.say(frame.note ?? "no points");
    const text = selection.length ? `${selection.length.toLocaleString("en")} selected` : "";
    if (this.count.textContent !== text) this.count.textContent = text;
    Object.assign(this.stage.root.dataset, { points: n, drawn: frame.number ?? 0, zoom: this.camera.zoom.toFixed(3) });
    if (t < 1) this.stage.redraw();
  }

  paint(n, selection) {
    const { canvas, ctx, paper } = this.stage, W = canvas.width, H = canvas.height, ratio = W / this.stage.width;
    if (this.image?.width !== W || this.image?.height !== H) {
      this.image = new ImageData(W, H);
      this.buffer = new Uint32Array(this.image.data.buffer);
    }
    const back = rgbOf(paper);
    this.buffer.fill(abgr(back));
    const size = Math.max(0.8, Math.min(4, 5.2 - 0.9 * Math.log10(Math.max(n, 10)))) * Math.min(2, this.camera.zoom ** 0.3);
    const strength = n > 3000 ? 0.75 : 0.9;
    const chosen = selection.length ? new Uint8Array(n) : null;
    for (const row of selection) if (row < n) chosen[row] = 1;
    const dots = disc(size * ratio, strength);
    if (!chosen) this.stamp(n, dots, ratio);
    else {
      this.stamp(n, disc(size * ratio, strength * 0.22), ratio, chosen, 0);
      this.stamp(n, disc((size + 0.6) * ratio, 1), ratio, chosen, 1);
    }
    ctx.putImageData(this.image, 0, 0);
  }

  /** Blend a disc at every visible point (of those whose `chosen` is `which`). */
  stamp(n, dots, ratio, chosen = null, which = 0) {
    const { now, inks, hidden, buffer, camera } = this, { width: W, height: H } = this.image, unit = this.unit * ratio;
    const cx = W / 2 - camera.x * unit, cy = H / 2 + camera.y * unit, reach = dots[dots.length - 1]?.[1] ?? 0, m = dots.length;
    const jump = Int32Array.from(dots, ([x, y]) => y * W + x), cover = Int32Array.from(dots, (d) => d[2]);
    for (let i = 0; i < n; i++) {
      if (hidden[i] || (chosen && chosen[i] !== which)) continue;
      const x = Math.round(cx + now[2 * i] * unit), y = Math.round(cy - now[2 * i + 1] * unit);
      if (!(x >= reach && y >= reach && x < W - reach && y < H - reach)) continue;
      const at = y * W + x, ink = inks[i], rb = ink & 0xff00ff, g = ink & 0xff00;
      for (let k = 0; k < m; k++) {
        const p = at + jump[k], a = cover[k];
        if (a >= 256) { buffer[p] = ink; continue; }
        const was = buffer[p], b = 256 - a;
        buffer[p] = 0xff000000 | ((((was & 0xff00ff) * b + rb * a) >>> 8) & 0xff00ff) | ((((was & 0xff00) * b + g * a) >>> 8) & 0xff00);
      }
    }
  }

  overlay() {
    const { ctx, ink, faint } = this.stage;
    if (this.hovered >= 0 && this.hovered < this.now.length / 2) {
      ctx.strokeStyle = faint;
      ctx.lineWidth = 1;
      for (const row of this.near) {
        ctx.beginPath();
        ctx.moveTo(this.px(this.hovered), this.py(this.hovered));
        ctx.lineTo(this.px(row), this.py(row));
        ctx.stroke();
        this.ring(row, 5, ink, 1);
      }
      this.ring(this.hovered, 7, ink, 2);
    }
    if (!this.path?.length) return;
    ctx.strokeStyle = ink;
    ctx.fillStyle = "#56B4E933";
    ctx.setLineDash([4, 3]);
    ctx.beginPath();
    for (const [x, y] of this.outline()) ctx.lineTo(x, y);
    ctx.closePath();
    ctx.fill();
    ctx.stroke();
    ctx.setLineDash([]);
  }

  ring(row, radius, style, width) {
    const { ctx } = this.stage;
    ctx.strokeStyle = style;
    ctx.lineWidth = width;
    ctx.beginPath();
    ctx.arc(this.px(row), this.py(row), radius, 0, 2 * Math.PI);
    ctx.stroke();
  }

  // ------------------------------------------------------------------ mouse and keys

  listen() {
    const { canvas } = this.stage, { stage } = this;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomAt(stage.at(event), Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", () => { this.path = this.start = null; stage.redraw(); });
    canvas.addEventListener("pointerleave", () => { if (!this.start) this.leave(); });
    canvas.addEventListener("dblclick", () => this.fit());
    stage.keys = {
      Escape: () => { this.path = this.start = null; this.leave(); },
      "+": () => this.zoomAt([stage.width / 2, stage.height / 2], 1.4), "=": () => stage.keys["+"](),
      "-": () => this.zoomAt([stage.width / 2, stage.height / 2], 1 / 1.4), 0: () => this.fit(),
      ArrowLeft: () => this.pan(40, 0), ArrowRight: () => this.pan(-40, 0),
      ArrowUp: () => this.pan(0, 40), ArrowDown: () => this.pan(0, -40),
      n: () => this.walk(1), p: () => this.walk(-1), Enter: () => this.hovered >= 0 && stage.select([this.hovered]),
    };
  }

  press(event) {
    if (event.button) return;
    this.stage.root.focus({ preventScroll: true });
    this.stage.canvas.setPointerCapture(event.pointerId);
    this.start = this.last = this.stage.at(event);
    this.moved = false;
    this.drag = event.shiftKey ? (this.mode === "box" ? "box" : "lasso") : this.mode;
    this.path = this.drag === "move" ? null : [this.start];
  }

  move(event) {
    const spot = this.stage.at(event);
    if (!this.start) return this.hover(event, spot);
    if (Math.hypot(spot[0] - this.start[0], spot[1] - this.start[1]) > 3) this.moved = true;
    if (!this.moved) return;
    this.leave();
    if (this.drag === "move") this.pan(spot[0] - this.last[0], spot[1] - this.last[1]);
    else if (this.drag === "box") this.path = [this.start, spot];
    else this.path.push(spot);
    this.last = spot;
    this.stage.redraw();
  }

  release(event) {
    if (!this.start) return;
    const add = event.ctrlKey || event.metaKey ? [...this.stage.selection] : [];
    if (this.moved && this.drag !== "move") this.stage.select(new Set([...add, ...this.inside(this.outline())]));
    else if (!this.moved) {
      const row = this.closest(this.start);
      if (row >= 0) this.stage.select(new Set([...add, row]));
    }
    this.path = this.start = null;
    this.stage.redraw();
  }

  /** The lasso, or the four corners of the box. */
  outline() {
    if (this.drag !== "box" || this.path.length < 2) return this.path;
    const [[a, b], [c, d]] = this.path;
    return [[a, b], [c, b], [c, d], [a, d]];
  }

  /** Rows of visible points inside a polygon of CSS pixels (even-odd rule). */
  inside(polygon) {
    const out = [], n = this.now.length / 2;
    const xs = polygon.map((p) => p[0]), ys = polygon.map((p) => p[1]);
    const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    for (let i = 0; i < n; i++) {
      const x = this.px(i), y = this.py(i);
      if (this.hidden?.[i] || !(x >= x0 && x <= x1 && y >= y0 && y <= y1)) continue;
      let odd = false;
      for (let a = 0, b = polygon.length - 1; a < polygon.length; b = a++)
        if (ys[a] > y !== ys[b] > y && x < ((xs[b] - xs[a]) * (y - ys[a])) / (ys[b] - ys[a]) + xs[a]) odd = !odd;
      if (odd) out.push(i);
    }
    return out;
  }

  closest([x, y], within = 10) {
    let best = -1, least = within * within;
    for (let i = 0, n = this.now.length / 2; i < n; i++) {
      if (this.hidden?.[i]) continue;
      const dx = this.px(i) - x, dy = this.py(i) - y, d = dx * dx + dy * dy;
      if (d < least) [best, least] = [i, d];
    }
    return best;
  }

  hover(event, spot) {
    const row = this.closest(spot);
    if (row < 0) return this.leave();
    this.show(row, { clientX: event.clientX, clientY: event.clientY });
  }

  leave() {
    if (this.hovered < 0 && this.stage.tip.hidden) return;
    this.hovered = -1;
    this.near = [];
    this.stage.showTip();
    this.stage.redraw();
  }

  /** The next visible point, for the keyboard: among the selected ones, or all from left to right. */
  walk(by) {
    const n = this.now.length / 2, selection = [...this.stage.selection];
    if (this.order?.number !== this.number) {
      const rows = Array.from({ length: n }, (_, i) => i).filter((i) => this.now[2 * i] === this.now[2 * i]);
      this.order = { number: this.number, rows: rows.sort((a, b) => this.now[2 * a] - this.now[2 * b]) };
    }
    const rows = (selection.length ? selection : this.order.rows).filter((i) => !this.hidden[i]);
    if (!rows.length) return;
    const at = rows.indexOf(this.hovered), row = rows[at < 0 ? 0 : (at + by + rows.length) % rows.length];
    const box = this.stage.canvas.getBoundingClientRect();
    this.show(row, { clientX: box.left + this.px(row), clientY: box.top + this.py(row) });
  }

  /** The tooltip of a point: at once what the page knows, then image and neighbours when the kernel has answered. */
  show(row, spot) {
    const key = `${row}/${this.number}`;
    if (this.hovered !== row) this.near = [];
    this.hovered = row;
    this.stage.redraw();
    const words = [];
    for (const { name, kind, values, names } of this.columns) {
      const v = values[row];
      words.push(`${name}: ${kind === "text" ? v : kind === "number" ? short(v) : v < 0 ? "unlabelled" : names[v]}`);
    }
    const image = make("div", { className: "clnb-row" }), friends = make("div");
    const asked = this.asked?.key === key ? this.asked : (this.asked = { key, nodes: { image, friends } });
    this.stage.showTip(spot, asked.nodes.image, ...words, `row ${row}`, asked.nodes.friends);
    this.stage.tip.dataset.row = row;
    if (asked.done) return;
    asked.done = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fill(row, key, asked.nodes, spot), 60);
  }

  async fill(row, key, { image, friends }, spot) {
    const { options } = this.stage, current = () => this.asked?.key === key && this.hovered === row;
    try {
      if (options.images) {
        const [picture] = await this.images([row]);
        if (!current()) return;
        image.replaceChildren(thumbnail(picture.pixels, picture.shape, 96));
      }
      if (options.neighbours) {
        const reply = await this.stage.ask({ ask: "neighbours", row }), rows = unpack(reply.rows), distances = unpack(reply.distances);
        const pictures = options.images && rows.length ? await this.images([...rows]) : [];
        if (!current()) return;
        this.near = [...rows];
        friends.replaceChildren(make("div", { className: "clnb-note" }, "nearest in the full space"), make("div",
          { className: "clnb-thumbs" }, ...[...rows].map((r, i) => make("figure", {},
            ...(pictures[i] ? [thumbnail(pictures[i].pixels, pictures[i].shape, 40)] : []),
            make("figcaption", {}, `${this.labelOf(r)} ${short(+distances[i].toPrecision(3))}`)))));
        this.stage.redraw();
      }
    } catch (error) {
      if (current() && !this.stage.alone) friends.replaceChildren(make("div", { className: "clnb-note" }, error.message));
    }
    if (current()) this.stage.showTip(spot, ...this.stage.tip.childNodes);
  }

  labelOf(row) {
    const c = this.columns.find((one) => one.kind === "category");
    return c ? (c.values[row] < 0 ? "?" : c.names[c.values[row]]) : `row ${row}`;
  }

  /** Images of rows, asked for once and remembered (the last 500). */
  async images(rows) {
    const missing = rows.filter((r) => !this.thumbs.has(r));
    if (missing.length) {
      const reply = await this.stage.ask({ ask: "images", rows: missing }), all = unpack(reply.images), one = all.length / missing.length;
      missing.forEach((r, i) => this.thumbs.set(r, { pixels: all.slice(i * one, (i + 1) * one), shape: all.shape.slice(1) }));
      while (this.thumbs.size > 500) this.thumbs.delete(this.thumbs.keys().next().value);
    }
    return rows.map((r) => this.thumbs.get(r));
  }
}

function render({ model, el }) {
  const { title, height } = model.get("options");
  const stage = new Stage({ model, el }, { title, height,
    help: "drag: move · wheel: zoom · Shift+drag: lasso · click: select · Esc: clear · keys + − 0 arrows, n/p: next point" });
  const cloud = new Cloud(stage);
  return stage.start((frame) => cloud.draw(frame));
}

export default { render };
