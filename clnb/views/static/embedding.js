// Embedding: up to a million points, drawn by the graphics card or by the processor, with camera, lasso, legend, search,
// thumbnails, trails and hover. From plain helpers to the class that assembles them:
//   Track (where the points are) · Grid (which point is here) · Camera · Splatter and Sprites (drawing) · Inks (columns
//   and legend) · Images · Thumbs · Trails · Tooltip · Search · Picking (mouse and keys) · Cloud

/** Colours of a scale from low to high (viridis, eight stops), as [r, g, b]. */
const SCALE = [[68, 1, 84], [70, 50, 127], [54, 92, 141], [39, 127, 142], [31, 161, 135], [74, 194, 109], [159, 218, 58],
  [253, 231, 37]];
function onScale(t) {
  const at = Math.max(0, Math.min(1, t)) * (SCALE.length - 1), i = Math.min(Math.floor(at), SCALE.length - 2), f = at - i;
  return SCALE[i].map((v, c) => Math.round(v + f * (SCALE[i + 1][c] - v)));
}

const abgr = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
const css = (ink) => `rgb(${ink & 255},${(ink >>> 8) & 255},${(ink >>> 16) & 255})`;
const GREY = [150, 150, 150];
const GONE = 65535, STEPS = 65534;   // a missing point; steps along a side of the box
const UNSEEN = { position: "absolute", width: "1px", height: "1px", overflow: "hidden", clipPath: "inset(50%)", whiteSpace: "nowrap" };
const KINDS = { pca: "PCA", umap: "UMAP", tsne: "t-SNE" };
const many = (n) => n.toLocaleString("en");

/** "#rrggbb", "rgb(…)" or a colour name as [r, g, b]. */
function rgbOf(text) {
  rgbOf.ctx ??= make("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  rgbOf.ctx.fillStyle = "#888";
  rgbOf.ctx.fillStyle = text;
  rgbOf.ctx.fillRect(0, 0, 1, 1);
  return [...rgbOf.ctx.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

/** Numbers of the rows that a mask marks, ascending. */
function rowsOf(mask) {
  let count = 0, k = 0;
  for (let i = 0; i < mask.length; i++) if (mask[i]) count++;
  const rows = new Uint32Array(count);
  for (let i = 0; i < mask.length; i++) if (mask[i]) rows[k++] = i;
  return rows;
}

// ---------------------------------------------------------------------------------------------------- where points are

/** Places of the points: on the way from one frame to the next. A frame is uint16 steps in a box `[x, y, width, height]`. */
class Track {
  constructor() {
    this.to = this.from = { steps: new Uint16Array(0), box: [0, 0, 1, 1] };
    Object.assign(this, { n: 0, t: 1, version: 0, began: 0, lasts: 0 });
  }

  /** Take the places of a new frame and glide there in `lasts` milliseconds. */
  take(steps, box, lasts) {
    const next = { steps, box }, same = lasts > 0 && this.n > 0 && this.n === steps.length / 2;
    this.from = !same ? next : this.t < 1 ? this.snapshot() : { ...this.to };
    Object.assign(this, { to: next, n: steps.length / 2, lasts: same ? lasts : 0, t: same ? 0 : 1, began: performance.now() });
    this.version++;
  }

  /** Go on gliding; true while there is still some way to go. */
  tick(clock) {
    this.t = this.lasts ? Math.min(1, Math.max(0, clock - this.began) / this.lasts) : 1;
    return this.t < 1;
  }
  get eased() { return this.t * (2 - this.t); }

  /** Where point `i` is now; NaN when it is missing. */
  at(i) {
    const { from, to } = this, e = this.eased, out = [0, 0];
    for (let c = 0; c < 2; c++) {
      const a = from.steps[2 * i + c], b = to.steps[2 * i + c];
      const end = b === GONE ? NaN : to.box[c] + (b / STEPS) * to.box[c + 2];
      const start = a === GONE ? end : from.box[c] + (a / STEPS) * from.box[c + 2];
      out[c] = e < 1 ? start + e * (end - start) : end;
    }
    return out;
  }

  /** All places now, as x0, y0, x1, y1, …; remembered while nothing moves. */
  flat() {
    const key = `${this.version}/${this.t}`;
    if (this.key === key) return this.places;
    const { from, to, n } = this, e = this.eased, moving = e < 1;
    const out = this.places?.length === 2 * n ? this.places : (this.places = new Float32Array(2 * n));
    for (let c = 0; c < 2; c++) {
      const x0 = to.box[c], w = to.box[c + 2] / STEPS, y0 = from.box[c], v = from.box[c + 2] / STEPS;
      for (let i = c; i < 2 * n; i += 2) {
        const b = to.steps[i], end = b === GONE ? NaN : x0 + b * w;
        out[i] = moving && from.steps[i] !== GONE ? (1 - e) * (y0 + from.steps[i] * v) + e * end : end;
      }
    }
    this.key = key;
    return out;
  }

  /** The places of this moment as a frame of their own. */
  snapshot() {
    const places = this.flat(), steps = new Uint16Array(places.length), low = [Infinity, Infinity], high = [-Infinity, -Infinity];
    for (let i = 0; i < places.length; i++) {
      const c = i & 1, v = places[i];
      if (v < low[c]) low[c] = v;
      if (v > high[c]) high[c] = v;
    }
    const box = [low[0], low[1], high[0] - low[0] || 1, high[1] - low[1] || 1];
    for (let i = 0; i < places.length; i++)
      steps[i] = places[i] === places[i] ? Math.round(((places[i] - box[i & 1]) / box[2 + (i & 1)]) * STEPS) : GONE;
    return { steps, box };
  }

  /** Which point is where, in the frame that is shown or glided to. */
  get grid() {
    if (this.sorted?.version !== this.version) this.sorted = new Grid(this.to, this.version);
    return this.sorted;
  }
}

/** The points of one frame sorted into square cells, column after column: answers without looking at all of them. */
class Grid {
  constructor({ steps, box }, version = 0) {
    const n = steps.length / 2, side = (this.side = Math.max(1, Math.min(1024, Math.floor(Math.sqrt(n / 3)))));
    const starts = (this.starts = new Uint32Array(side * side + 1)), cells = new Uint32Array(n);
    for (let i = 0; i < n; i++) {
      const x = steps[2 * i], y = steps[2 * i + 1];
      cells[i] = x === GONE || y === GONE ? side * side : ((x * side) >>> 16) * side + ((y * side) >>> 16);
      if (cells[i] < side * side) starts[cells[i] + 1]++;
    }
    for (let c = 0; c < side * side; c++) starts[c + 1] += starts[c];
    const next = starts.slice(), rows = (this.rows = new Uint32Array(starts[side * side]));
    for (let i = 0; i < n; i++) if (cells[i] < side * side) rows[next[cells[i]]++] = i;
    Object.assign(this, { steps, box, version, cell: 65536 / side });
  }

  /** A place of the data in steps of the box. */
  toSteps([x, y]) { return [((x - this.box[0]) / this.box[2]) * STEPS, ((y - this.box[1]) / this.box[3]) * STEPS]; }
  bin(v) { return Math.max(0, Math.min(this.side - 1, Math.floor(v / this.cell))); }

  /** Call `visit(row)` for the points in a rectangle of the data until it returns true. */
  each([x0, y0], [x1, y1], visit) {
    const [a, b] = this.toSteps([x0, y0]), [c, d] = this.toSteps([x1, y1]), { rows, starts, steps, side } = this;
    if (!(c >= 0 && d >= 0 && a <= STEPS && b <= STEPS)) return;
    for (let i = this.bin(a), last = this.bin(c); i <= last; i++) {
      const end = starts[i * side + this.bin(d) + 1];
      for (let k = starts[i * side + this.bin(b)]; k < end; k++) {
        const x = steps[2 * rows[k]], y = steps[2 * rows[k] + 1];
        if (x >= a && x <= c && y >= b && y <= d && visit(rows[k])) return;
      }
    }
  }

  /** The visible point nearest to a place of the data, at most `within` away; −1 when there is none. */
  closest([x, y], within, hidden) {
    let best = -1, least = within * within;
    this.each([x - within, y - within], [x + within, y + within], (row) => {
      if (hidden[row]) return;
      const dx = this.box[0] + (this.steps[2 * row] / STEPS) * this.box[2] - x;
      const dy = this.box[1] + (this.steps[2 * row + 1] / STEPS) * this.box[3] - y, d = dx * dx + dy * dy;
      if (d <= least) [best, least] = [row, d];
    });
    return best;
  }

  /** Mark the visible points inside a polygon of the data (even-odd rule). Cells that no edge crosses go as a whole. */
  inside(polygon, hidden, mask) {
    const spots = polygon.map((p) => this.toSteps(p)), { side, cell, rows, starts, steps } = this;
    const xs = Float64Array.from(spots, (p) => p[0]), ys = Float64Array.from(spots, (p) => p[1]), edge = this.edges(xs, ys);
    const [first, last] = [this.bin(xs.reduce((a, b) => Math.min(a, b))), this.bin(xs.reduce((a, b) => Math.max(a, b)))];
    for (let i = first; i <= last; i++) {
      const crossings = crossingsAt((i + 0.5) * cell, xs, ys);
      for (let j = 0, passed = 0; j < side; j++) {
        while (passed < crossings.length && crossings[passed] < (j + 0.5) * cell) passed++;
        const c = i * side + j, whole = !edge[c];
        if (whole && passed % 2 === 0) continue;
        for (let k = starts[c]; k < starts[c + 1]; k++) {
          const row = rows[k];
          if (!hidden[row] && (whole || contains(xs, ys, steps[2 * row], steps[2 * row + 1]))) mask[row] = 1;
        }
      }
    }
    return mask;
  }

  /** Which cells an edge of the polygon touches. */
  edges(xs, ys) {
    const { side, cell } = this, touched = new Uint8Array(side * side);
    for (let a = 0, b = xs.length - 1; a < xs.length; b = a++) {
      const pieces = Math.min(1e5, Math.ceil(Math.max(Math.abs(xs[a] - xs[b]), Math.abs(ys[a] - ys[b])) / cell) || 1);
      for (let p = 0; p < pieces; p++) {
        const x = [p, p + 1].map((q) => xs[b] + ((xs[a] - xs[b]) * q) / pieces).sort((u, v) => u - v);
        const y = [p, p + 1].map((q) => ys[b] + ((ys[a] - ys[b]) * q) / pieces).sort((u, v) => u - v);
        if (x[1] < 0 || y[1] < 0 || x[0] > 65536 || y[0] > 65536) continue;
        for (let i = this.bin(x[0]); i <= this.bin(x[1]); i++)
          for (let j = this.bin(y[0]); j <= this.bin(y[1]); j++) touched[i * side + j] = 1;
      }
    }
    return touched;
  }
}

/** Where a polygon crosses the upright line at x, from below. */
function crossingsAt(x, xs, ys) {
  const out = [];
  for (let a = 0, b = xs.length - 1; a < xs.length; b = a++)
    if (xs[a] > x !== xs[b] > x) out.push(((ys[b] - ys[a]) * (x - xs[a])) / (xs[b] - xs[a]) + ys[a]);
  return out.sort((u, v) => u - v);
}

function contains(xs, ys, x, y) {
  let odd = false;
  for (let a = 0, b = xs.length - 1; a < xs.length; b = a++)
    if (xs[a] > x !== xs[b] > x && y < ((ys[b] - ys[a]) * (x - xs[a])) / (xs[b] - xs[a]) + ys[a]) odd = !odd;
  return odd;
}

/** Which part of the plane is on the screen. `home` is a box that holds the data; `own` once the reader has moved it. */
class Camera {
  constructor(stage) { Object.assign(this, { stage, x: 0, y: 0, zoom: 1, span: 2, own: false, home: null }); }

  /** CSS pixels per unit of data. */
  get unit() { return (this.zoom * 0.92 * Math.min(this.stage.width, this.stage.height)) / this.span; }
  toScreen([x, y]) { return [this.stage.width / 2 + (x - this.x) * this.unit, this.stage.height / 2 - (y - this.y) * this.unit]; }
  toData([x, y]) { return [this.x + (x - this.stage.width / 2) / this.unit, this.y - (y - this.stage.height / 2) / this.unit]; }

  zoomAt(spot, factor) {
    const [x, y] = this.toData(spot);
    this.zoom = Math.max(0.1, Math.min(1e5, this.zoom * factor));
    const [u, v] = this.toData(spot);
    Object.assign(this, { x: this.x + x - u, y: this.y + y - v, own: true });
  }
  pan(dx, dy) { Object.assign(this, { x: this.x - dx / this.unit, y: this.y + dy / this.unit, own: true }); }

  /** Show a rectangle of the data with some room around it. */
  show([x0, y0], [x1, y1]) {
    const { width, height } = this.stage;
    Object.assign(this, { x: (x0 + x1) / 2, y: (y0 + y1) / 2, own: true });
    const wanted = 0.8 * Math.min(width / Math.max(x1 - x0, 1e-12), height / Math.max(y1 - y0, 1e-12));
    this.zoom = Math.max(0.1, Math.min(this.zoom * (wanted / this.unit), 40));
  }

  /** Home grows with the data. Plain points: shrinks when the data needs less than half of it. Vectors, in units of
   * their length: at least ±`least` and never smaller than before, so that a collapse looks like one. */
  widenHome(box, least) {
    const [x, y, w, h] = box, half = Math.max(w, h, 2 * least, 1e-9) / 2, has = this.home;
    const need = [x + w / 2 - half, y + h / 2 - half, x + w / 2 + half, y + h / 2 + half];
    if (!has || (!least && 2 * half < (has[2] - has[0]) / 2)) this.home = need;
    else this.home = [Math.min(has[0], need[0]), Math.min(has[1], need[1]), Math.max(has[2], need[2]), Math.max(has[3], need[3])];
    if (!this.own) this.lookHome();
  }
  lookHome() {
    const [a, b, c, d] = this.home ?? [-1, -1, 1, 1];
    Object.assign(this, { x: (a + c) / 2, y: (b + d) / 2, zoom: 1, span: Math.max(c - a, d - b), own: false });
  }
}

// ---------------------------------------------------------------------------------------------------- drawing points
// A scene is { track, inks, hidden, chosen, camera, radius, strength, hurry }: `chosen` is null without a selection.

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

/** Draws points with the processor into an image: no graphics card needed. In a hurry, a part of very many. */
class Splatter {
  get name() { return "canvas"; }

  draw({ ctx, canvas, paper, width }, scene) {
    const W = canvas.width, H = canvas.height, ratio = W / width, { radius, strength } = scene;
    if (this.image?.width !== W || this.image?.height !== H) {
      this.image = new ImageData(W, H);
      this.buffer = new Uint32Array(this.image.data.buffer);
    }
    this.buffer.fill(abgr(rgbOf(paper)));
    this.every = scene.hurry ? Math.ceil(scene.track.n / 200_000) : 1;
    if (!scene.chosen) this.stamp(scene, disc(radius * ratio, strength), ratio, -1);
    else {
      this.stamp(scene, disc(radius * ratio, strength * 0.22), ratio, 0);
      this.stamp(scene, disc((radius + 0.6) * ratio, 1), ratio, 1);
    }
    ctx.putImageData(this.image, 0, 0);
  }

  /** Blend a disc at every visible point (of those whose `chosen` is `which`). */
  stamp({ track, inks, hidden, chosen, camera }, dots, ratio, which) {
    const { buffer, every } = this, { width: W, height: H } = this.image, unit = camera.unit * ratio, n = track.n, now = track.flat();
    const cx = W / 2 - camera.x * unit, cy = H / 2 + camera.y * unit, reach = dots[dots.length - 1]?.[1] ?? 0, m = dots.length;
    const jump = Int32Array.from(dots, ([x, y]) => y * W + x), cover = Int32Array.from(dots, (d) => d[2]);
    for (let i = 0; i < n; i += every) {
      if (hidden[i] || (which >= 0 && chosen[i] !== which)) continue;
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
  end() {}
}

const VERTEX = `#version 300 es
in vec2 a, b; in vec4 ink; in float mark;
uniform vec4 from, to; uniform float t, radius, only;
out vec3 shade;
void main() {
  bool gone = max(b.x, b.y) > 65534.5 || mark > 1.5 || (only > -0.5 && abs(mark - only) > 0.5);
  vec2 end = b * to.xy + to.zw, start = max(a.x, a.y) > 65534.5 ? end : a * from.xy + from.zw;
  gl_Position = gone ? vec4(2, 2, 2, 1) : vec4(mix(start, end, t), 0, 1);
  gl_PointSize = 2.0 * radius + 2.0;
  shade = ink.rgb;
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
in vec3 shade; uniform float size, strength; out vec4 colour;
void main() {
  float far = length(gl_PointCoord - 0.5) * (2.0 * size + 2.0), cover = clamp(size + 0.5 - far, 0.0, 1.0) * strength;
  colour = vec4(shade * cover, cover);
}`;

/** Draws points with WebGL2: two buffers of places, between which they glide on the graphics card. */
class Sprites {
  get name() { return "webgl"; }

  /** A drawer, or null where there is no WebGL2; with `hardware`, also null where the processor would do the work. */
  static make(hardware, lost) {
    if (hardware && Sprites.slow) return null;
    const canvas = make("canvas"), gl = canvas.getContext("webgl2", { antialias: false, alpha: true, depth: false });
    if (!gl) return null;
    const names = gl.getExtension("WEBGL_debug_renderer_info");
    const device = String(gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
    Sprites.slow = /swiftshader|llvmpipe|softpipe|software|basic render/i.test(device);
    const made = hardware && Sprites.slow ? null : new Sprites(gl, canvas, lost);
    if (!made?.program) gl.getExtension("WEBGL_lose_context")?.loseContext();
    return made?.program ? made : null;
  }

  constructor(gl, canvas, lost) {
    Object.assign(this, { gl, canvas, has: {} });
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return;
    this.program = program;
    canvas.addEventListener("webglcontextlost", (event) => { event.preventDefault(); if (!this.ended) lost(); });
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.buffers = Object.fromEntries(["a", "b", "ink", "mark"].map((name) => [name, gl.createBuffer()]));
    this.places = new Map();
  }

  uniform(name) {
    if (!this.places.has(name)) this.places.set(name, this.gl.getUniformLocation(this.program, name));
    return this.places.get(name);
  }

  /** Bring an array to the card, unless it is there already, and tie it to the attribute `name`. */
  feed(name, array, size, kind, normalized) {
    const { gl, buffers, has } = this, where = gl.getAttribLocation(this.program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers[name]);
    if (has[name] !== array) gl.bufferData(gl.ARRAY_BUFFER, array, gl.DYNAMIC_DRAW);
    has[name] = array;
    gl.enableVertexAttribArray(where);
    gl.vertexAttribPointer(where, size, kind, normalized, 0, 0);
  }

  draw(stage, { track, inks, hidden, chosen, marks, camera, radius, strength }) {
    const { gl, canvas } = this, { ctx, width, height } = stage, ratio = stage.canvas.width / width, n = track.n;
    if (gl.isContextLost()) return;
    if (canvas.width !== stage.canvas.width || canvas.height !== stage.canvas.height)
      Object.assign(canvas, { width: stage.canvas.width, height: stage.canvas.height });
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (this.has.b === track.from.steps && this.has.b !== track.to.steps) {   // the last goal is the new start
      [this.buffers.a, this.buffers.b] = [this.buffers.b, this.buffers.a];
      [this.has.a, this.has.b] = [this.has.b, this.has.a];
    }
    this.feed("a", track.from.steps, 2, gl.UNSIGNED_SHORT, false);
    this.feed("b", track.to.steps, 2, gl.UNSIGNED_SHORT, false);
    this.feed("ink", inks, 4, gl.UNSIGNED_BYTE, true);
    this.feed("mark", marks, 1, gl.UNSIGNED_BYTE, false);
    for (const name of ["from", "to"]) {   // steps of the box -> -1 … 1 of the screen
      const [x, y, w, h] = track[name].box, sx = (2 * camera.unit) / width, sy = (2 * camera.unit) / height;
      gl.uniform4f(this.uniform(name), (w / STEPS) * sx, (h / STEPS) * sy, (x - camera.x) * sx, (y - camera.y) * sy);
    }
    gl.uniform1f(this.uniform("t"), track.eased);
    const passes = chosen ? [[0, radius, strength * 0.22], [1, radius + 0.6, 1]] : [[-1, radius, strength]];
    for (const [only, size, power] of passes) {
      for (const name of ["radius", "size"]) gl.uniform1f(this.uniform(name), size * ratio);
      gl.uniform1f(this.uniform("only"), only);
      gl.uniform1f(this.uniform("strength"), power);
      gl.drawArrays(gl.POINTS, 0, n);
    }
    ctx.drawImage(canvas, 0, 0, width, height);
  }

  end() {
    this.ended = true;
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}

// ---------------------------------------------------------------------------------------------------- colours and legend

/** The columns, the one that colours the points, and the legend that hides categories. */
class Inks {
  constructor(stage, changed) {
    Object.assign(this, { stage, changed, off: new Map(), inks: null, hidden: new Uint8Array(0) });
    const { columns = [], colour_by: first, density } = stage.options;
    this.columns = columns.map((c) => ({ ...c, values: c.kind === "text" ? c.values : unpack(c.values) }));
    const shades = this.columns.filter((c) => c.kind !== "text");
    this.density = { name: this.columns.some((c) => c.name === "density") ? "density in space" : "density", kind: "number", lazy: true };
    if (density && (!stage.alone || stage.model.get("atlas")?.density)) shades.push(this.density);
    this.column = shades.find((c) => c.name === first) ?? shades[0];
    if (this.column === this.density && first !== this.density.name) this.column = undefined;
    this.legend = make("div", { className: "clnb-legend", role: "group", "aria-label": "legend" });
    const names = [...(this.column && this.column !== this.density ? [] : ["none"]), ...shades.map((c) => c.name)];
    if (names.length > 1) stage.tools.append(dropdown("colour", names, this.column?.name ?? "none", (name) => {
      this.column = shades.find((c) => c.name === name);
      this.inks = null;
      changed();
    }));
    stage.listen("msg:custom", (news, buffers) => {
      if (news?.news !== "density") return;
      this.asking = false;
      if (news.error) this.trouble = news.error;
      else this.takeDensity({ ...news.values, bytes: buffers[news.values.bytes] }, news.step);
      this.stage.redraw();
    });
  }

  takeDensity(values, step) {
    Object.assign(this.density, { values: unpack(values), step });
    if (this.column === this.density) this.inks = null;
  }

  /** The density is computed where the features are, and only when somebody looks at it. */
  wantDensity(step) {
    if (this.column !== this.density || this.asking || this.trouble || (this.density.values && this.density.step === step)) return;
    const { stage } = this, carried = stage.alone && stage.model.get("atlas")?.density;
    if (carried) { if (!this.density.values) this.takeDensity(carried, step); return; }
    this.asking = true;
    stage.ask({ ask: "density", step }).catch((error) => { this.trouble = error.message; this.inks = null; stage.redraw(); });
  }

  /** Colours and visibility of `n` points in the current column; rebuilds the legend. */
  update(n) {
    const column = this.column, inks = new Uint32Array(n).fill(abgr(GREY)), hidden = new Uint8Array(n);
    this.legend.replaceChildren();
    if (column?.kind === "category") {
      const table = column.colours.map((c) => abgr(rgbOf(c))), counts = new Uint32Array(table.length + 1);
      const off = this.off.get(column.name) ?? this.off.set(column.name, new Set()).get(column.name), m = Math.min(n, column.values.length);
      const gone = Uint8Array.from({ length: table.length + 1 }, (_, v) => (off.has(v === table.length ? -1 : v) ? 1 : 0));
      for (let i = 0; i < m; i++) {
        const v = column.values[i], at = v < 0 ? table.length : v;
        counts[at]++;
        if (v >= 0) inks[i] = table[v];
        hidden[i] = gone[at];
      }
      this.makeLegend(column, counts, off);
    } else if (column?.kind === "number" && column.values) {
      const [low, high] = extent(column.values), m = Math.min(n, column.values.length), span = high - low || 1;
      const table = Array.from({ length: 256 }, (_, i) => abgr(onScale(i / 255)));
      for (let i = 0; i < m; i++)
        if (Number.isFinite(column.values[i])) inks[i] = table[Math.round(((column.values[i] - low) / span) * 255)];
      const stops = SCALE.map((c) => `rgb(${c.join(",")})`).join(",");
      this.legend.append(make("span", {}, short(low)), make("span", { className: "clnb-bar",
        style: { background: `linear-gradient(90deg, ${stops})` } }), make("span", {}, `${short(high)}  ${column.name}`));
    } else if (column?.lazy) this.legend.append(this.trouble ?? `${column.name} is being computed`);
    Object.assign(this, { inks, hidden });
  }

  makeLegend(column, counts, off) {
    const chip = (v, name, shade) => {
      const count = counts[v < 0 ? counts.length - 1 : v];
      const node = make("button", { type: "button", className: "clnb-chip", "aria-pressed": String(!off.has(v)),
        title: `${name}: ${many(count)} points. Click hides, double click shows only these` },
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
    this.update(this.hidden.length);
    this.legend.querySelector(`[data-value="${v}"]`)?.focus();
    this.changed();
  }

  /** What a column says about a row. */
  say({ kind, values, names }, row) {
    const v = values?.[row];
    return kind === "text" ? v : kind === "number" ? (v === undefined ? "…" : short(v)) : v < 0 ? "unlabelled" : names[v];
  }
  labelOf(row) {
    const c = this.columns.find((one) => one.kind === "category");
    return c ? (c.values[row] < 0 ? "?" : c.names[c.values[row]]) : `row ${row}`;
  }
}

// ---------------------------------------------------------------------------------------------------- images and trails

/** Images of rows as small canvases, asked for once, in one question, and remembered (the last `most`). */
class Images {
  constructor(stage, size, most) { Object.assign(this, { stage, size, most, there: new Map() }); }

  async get(rows) {
    const missing = [...rows].filter((r) => !this.there.has(r));
    if (missing.length) {
      const reply = await this.stage.ask({ ask: "images", rows: missing, size: this.size });
      this.take(missing, unpack(reply.images));
    }
    return [...rows].map((r) => this.there.get(r));
  }

  take(rows, all) {
    const [count, ...shape] = all.shape, one = all.length / count;
    for (let i = 0; i < count; i++) this.there.set(rows[i], { pixels: all.slice(i * one, (i + 1) * one), shape });
    while (this.there.size > this.most) this.there.delete(this.there.keys().next().value);
  }

  /** A drawable of a row that has arrived. */
  peek(row) {
    const image = this.there.get(row);
    return image && (image.canvas ??= thumbnail(image.pixels, image.shape));
  }
}

/** Pictures in place of points, as soon as few enough are on the screen. */
class Thumbs {
  constructor(cloud, most = 150) {
    Object.assign(this, { cloud, most, side: 0, on: true, images: new Images(cloud.stage, 48, 2000) });
  }

  /** The visible points on the screen; null when there are more than `most`. */
  rows() {
    const { camera, track, inks, stage } = this.cloud, [x0, y1] = camera.toData([0, 0]), [x1, y0] = camera.toData([stage.width, stage.height]);
    const rows = [];
    track.grid.each([x0, y0], [x1, y1], (row) => {
      if (!inks.hidden[row]) rows.push(row);
      return rows.length > this.most;
    });
    return rows.length > this.most ? null : rows;
  }

  draw(hurry) {
    const { stage, camera, track, inks, chosen } = this.cloud, rows = this.on && stage.options.images && track.n ? this.rows() : null;
    this.side = 0;
    if (!rows?.length) return 0;
    this.side = Math.max(18, Math.min(48, 0.6 * Math.sqrt((stage.width * stage.height) / rows.length)));
    if (!hurry) this.fetch(rows);
    const { ctx, ink } = stage;
    let drawn = 0;
    ctx.imageSmoothingEnabled = false;
    for (const row of rows) {
      const image = this.images.peek(row);
      if (!image) continue;
      const [x, y] = camera.toScreen(track.at(row)), scale = this.side / Math.max(image.width, image.height);
      const w = image.width * scale, h = image.height * scale;
      ctx.globalAlpha = chosen && !chosen[row] ? 0.3 : 1;
      ctx.fillStyle = css(inks.inks[row]);
      ctx.fillRect(x - w / 2 - 2, y - h / 2 - 2, w + 4, h + 4);
      ctx.drawImage(image, x - w / 2, y - h / 2, w, h);
      if (chosen?.[row]) {
        ctx.strokeStyle = ink;
        ctx.strokeRect(x - w / 2 - 2.5, y - h / 2 - 2.5, w + 5, h + 5);
      }
      drawn++;
    }
    ctx.globalAlpha = 1;
    return drawn;
  }

  /** One question at a time, for all that is missing. */
  async fetch(rows) {
    if (this.asking || this.trouble || rows.every((row) => this.images.there.has(row))) return;
    this.asking = true;
    try { await this.images.get(rows); } catch (error) { this.trouble = error.message; }
    this.asking = false;
    this.cloud.stage.redraw();
  }
}

/** Where some points have been in the last frames: the one under the mouse and the selected ones, or a sample. */
class Trails {
  constructor(cloud) { Object.assign(this, { cloud, on: false, paths: null }); }

  rows() {
    const { tooltip, stage, track } = this.cloud, most = 200, selection = stage.selection;
    const chosen = [...new Set([...(tooltip.row >= 0 ? [tooltip.row] : []), ...selection.subarray(0, most)])].filter((r) => r < track.n);
    return chosen.length ? chosen : Array.from({ length: Math.min(most, track.n) }, (_, i) => Math.floor((i * track.n) / Math.min(most, track.n)));
  }

  draw(frame) {
    if (!this.on || !this.cloud.track.n || frame.step == null) return;
    const rows = this.rows(), key = `${frame.number}/${frame.layout}/${rows}`;
    if (this.key !== key && !this.asking) this.fetch(key, rows, frame);
    if (!this.paths) return;
    const { stage: { ctx }, camera, inks, track } = this.cloud, { points, shape: [T, m], rows: of } = this.paths;
    ctx.lineWidth = 1.5;
    for (let i = 0; i < m; i++) {
      if (inks.hidden[of[i]]) continue;
      ctx.strokeStyle = css(inks.inks[of[i]]);
      let before = null;
      for (let t = 0; t <= T; t++) {
        const k = 2 * (t * m + i), spot = camera.toScreen(t < T ? [points[k], points[k + 1]] : track.at(of[i]));
        if (before && Number.isFinite(spot[0])) {
          ctx.globalAlpha = 0.15 + (0.75 * t) / T;
          ctx.beginPath(); ctx.moveTo(...before); ctx.lineTo(...spot); ctx.stroke();
        }
        before = Number.isFinite(spot[0]) ? spot : null;
      }
    }
    ctx.globalAlpha = 1;
  }

  async fetch(key, rows, frame) {
    this.asking = true;
    try {
      if (this.cloud.stage.alone) this.paths = this.fromPage(rows, frame);
      else {
        const reply = await this.cloud.stage.ask({ ask: "trails", rows, step: frame.step }), points = unpack(reply.points);
        this.paths = { points, shape: reply.points.shape, rows };
      }
      this.key = key;
    } catch { this.paths = null; this.key = key; }
    this.asking = false;
    this.cloud.stage.redraw();
  }

  fromPage(rows, frame) {
    const all = (this.cloud.stage.model.get("frames") ?? []).filter((f) => f.step <= frame.step).slice(-12).map((f) => this.cloud.laid(f));
    const frames = all.filter((f) => f.layout === frame.layout && f.points);
    const points = new Float32Array(frames.length * rows.length * 2), track = new Track();
    frames.forEach((f, t) => {
      track.take(unpack(f.points), f.box, 0);
      rows.forEach((row, i) => points.set(track.at(row), 2 * (t * rows.length + i)));
    });
    return { points, shape: [frames.length, rows.length, 2], rows };
  }
}

// ---------------------------------------------------------------------------------------------------- hover and search

/** What the page knows about a point at once; image and neighbours when the kernel has answered. */
class Tooltip {
  constructor(cloud) {
    Object.assign(this, { cloud, row: -1, near: [], images: new Images(cloud.stage, 96, 500) });
    this.voice = make("div", { role: "status", "aria-live": "polite", style: UNSEEN });
    cloud.stage.root.append(this.voice);
  }

  hide() {
    if (this.row < 0 && this.cloud.stage.tip.hidden) return;
    Object.assign(this, { row: -1, near: [] });
    this.cloud.stage.showTip();
    this.cloud.stage.redraw();
  }

  show(row, spot) {
    const { stage, inks, frame } = this.cloud, key = `${row}/${frame.number}`;
    if (this.row !== row) this.near = [];
    this.row = row;
    stage.redraw();
    const known = inks.columns.concat(inks.density.values ? [inks.density] : []);
    const words = [...known.map((c) => `${c.name}: ${inks.say(c, row)}`), `row ${row}`];
    const asked = this.asked?.key === key ? this.asked : { key, image: make("div", { className: "clnb-row" }), friends: make("div") };
    stage.showTip(spot, asked.image, ...words, asked.friends);
    stage.tip.dataset.row = row;
    if (asked === this.asked) return;
    this.asked = asked;
    this.speak(words.join(", "));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fill(row, asked, spot), 30);
  }

  /** Say a sentence to a screen reader, when the mouse rests. */
  speak(text) {
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => { this.voice.textContent = text; }, 200);
  }

  async fill(row, asked, spot) {
    const { stage } = this.cloud, { options } = stage, current = () => this.asked === asked && this.row === row;
    const began = performance.now();
    const image = options.images && this.images.get([row]).then(([picture]) => {
      if (current()) asked.image.replaceChildren(thumbnail(picture.pixels, picture.shape, 96));
    });
    const friends = options.neighbours && this.friends(row, asked, current);
    for (const part of [image, friends]) {
      try { await part; } catch (error) {
        if (current() && !stage.alone) asked.friends.replaceChildren(make("div", { className: "clnb-note" }, error.message));
      }
    }
    if (!current()) return;
    stage.root.dataset.answered = (performance.now() - began).toFixed(0);
    stage.showTip(spot, ...stage.tip.childNodes);
  }

  async friends(row, asked, current) {
    const { stage, inks, frame } = this.cloud, reply = await stage.ask({ ask: "neighbours", row, size: this.images.size });
    const rows = [...unpack(reply.rows)], distances = unpack(reply.distances);
    if (!current()) return;
    this.near = rows;
    stage.redraw();
    const steps = stage.model.get("steps") ?? [], of = stage.alone && steps.length > 1 && frame.step !== steps[steps.length - 1];
    const figures = rows.map((r, i) => make("figure", {}, make("figcaption", {}, `${inks.labelOf(r)} ${short(+distances[i].toPrecision(3))}`)));
    asked.friends.replaceChildren(make("div", { className: "clnb-note" }, "nearest in the full space"
      + (of ? ` (step ${steps[steps.length - 1]})` : "")), make("div", { className: "clnb-thumbs" }, ...figures));
    this.speak(`row ${row}, ${inks.labelOf(row)}; nearest: ${rows.map((r) => inks.labelOf(r)).join(", ")}`);
    if (!stage.options.images || !rows.length) return;
    if (reply.images) this.images.take(rows, unpack(reply.images));
    const pictures = await this.images.get(rows);
    if (current()) pictures.forEach((p, i) => figures[i].prepend(thumbnail(p.pixels, p.shape, 40)));
  }
}

/** Rows that a query means, as a mask: "row:3,10-20", "label:cat", "loss:>2", "loss:0.1..0.5", a class, a piece of
 * text, a row number. Null for an empty query. */
function matches(query, columns, n) {
  const text = query.trim().toLowerCase(), mask = new Uint8Array(n), [, name, rest] = /^([^:]+):(.*)$/s.exec(text) ?? [];
  if (!text) return null;
  const column = name && columns.find((c) => c.name.toLowerCase() === name.trim());
  if (column) matchColumns([column], rest.trim(), mask);
  else if (name?.trim() === "row") matchNumbers(rest, mask);
  else if (!matchColumns(columns.filter((c) => c.kind !== "number"), text, mask) && /^\d+$/.test(text)) matchNumbers(text, mask);
  return mask;
}

function matchNumbers(text, mask) {
  for (const part of text.split(",")) {
    const [, a, b = a] = /^\s*(\d+)\s*(?:-\s*(\d+))?\s*$/.exec(part) ?? [];
    for (let i = +a; i <= Math.min(+b, mask.length - 1); i++) mask[i] = 1;
  }
}

/** Mark rows whose category, text or number fits; a category that is called exactly so comes before parts of names. */
function matchColumns(columns, text, mask) {
  const names = columns.flatMap((c) => (c.kind === "category" ? [...c.names, "unlabelled"] : []));
  const exact = names.some((one) => one.toLowerCase() === text);
  const fits = (value) => (exact ? value.toLowerCase() === text : value.toLowerCase().includes(text));
  let found = 0;
  if (text) for (const { kind, values, names: called } of columns) {
    const number = kind === "number" && range(text), wanted = kind === "category" ? [...called, "unlabelled"].map(fits) : null;
    for (let i = 0, m = Math.min(mask.length, values?.length ?? 0); i < m; i++) {
      const v = values[i];
      if (wanted ? wanted[v < 0 ? called.length : v] : kind === "text" ? fits(v) : v >= number[0] && v <= number[1])
        found += mask[i] = 1;
    }
  }
  return found;
}

/** Bounds of ">2", "<=3", "1..2" or "5"; nothing lies between NaN and NaN. */
function range(text) {
  const [, sign, only] = /^(<=?|>=?)\s*(.+)$/.exec(text) ?? [], [, a, b] = /^(.+)\.\.(.+)$/.exec(text) ?? [];
  const tiny = Math.abs(+only) * 1e-7 + 1e-30;
  if (sign) return sign[0] === "<" ? [-Infinity, +only - (sign[1] ? 0 : tiny)] : [+only + (sign[1] ? 0 : tiny), Infinity];
  return a === undefined ? [+text - Math.abs(+text) * 1e-6, +text + Math.abs(+text) * 1e-6] : [+a, +b];
}

class Search {
  constructor(cloud) {
    this.cloud = cloud;
    this.box = make("input", { type: "search", placeholder: "search", "aria-label": "search", size: 14,
      title: "a class, a text or a row number; also label:cat, row:3,10-20, loss:>2. Enter zooms there (key /)",
      style: { font: "inherit", color: "inherit", background: "transparent", border: "1px solid var(--clnb-line)", borderRadius: "3px" } });
    this.found = make("span", { className: "clnb-note", role: "status" });
    this.box.addEventListener("input", () => { clearTimeout(this.timer); this.timer = setTimeout(() => this.find(), 150); });
    this.box.addEventListener("keydown", (event) => {
      if (event.key === "Enter") { clearTimeout(this.timer); this.find(); cloud.zoomTo(cloud.stage.selection); }
      if (event.key === "Escape") this.clear();
    });
    cloud.stage.tools.append(make("span", { className: "clnb-row" }, this.box, this.found));
  }

  find() {
    const { stage, inks, track } = this.cloud, columns = inks.columns.concat(inks.density.values ? [inks.density] : []);
    const mask = matches(this.box.value, columns, track.n), rows = mask ? rowsOf(mask) : new Uint32Array(0);
    this.cloud.select(rows);
    this.found.textContent = mask ? `${many(rows.length)} found` : "";
  }
  clear() {
    clearTimeout(this.timer);
    this.box.value = this.found.textContent = "";
  }
}

// ---------------------------------------------------------------------------------------------------- mouse and keys

class Picking {
  constructor(cloud) {
    this.cloud = cloud;
    const { stage, camera } = cloud, { canvas } = stage;
    this.modes = make("span", { className: "clnb-modes", role: "group", "aria-label": "what dragging does" });
    for (const [mode, title] of [["move", "drag moves the picture"], ["lasso", "drag selects inside a line (or hold Shift)"],
      ["box", "drag selects inside a box"]])
      this.modes.append(make("button", { type: "button", title, onclick: () => this.setMode(mode) }, mode));
    this.setMode("move");
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(stage.at(event), Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", () => this.drop());
    canvas.addEventListener("pointerleave", () => { if (!this.start) cloud.tooltip.hide(); });
    canvas.addEventListener("dblclick", () => cloud.fit());
    const middle = () => [stage.width / 2, stage.height / 2], pan = (dx, dy) => () => { camera.pan(dx, dy); cloud.stir(); };
    stage.keys = {
      Escape: () => { this.drop(); cloud.tooltip.hide(); cloud.search.clear(); },
      "+": () => this.zoom(middle(), 1.4), "=": () => this.zoom(middle(), 1.4), "-": () => this.zoom(middle(), 1 / 1.4),
      0: () => cloud.fit(), ArrowLeft: pan(40, 0), ArrowRight: pan(-40, 0), ArrowUp: pan(0, 40), ArrowDown: pan(0, -40),
      n: () => this.walk(1), p: () => this.walk(-1), a: () => cloud.select(this.onScreen()), "/": () => cloud.search.box.focus(),
      Enter: () => cloud.tooltip.row >= 0 && cloud.select(Uint32Array.of(cloud.tooltip.row)),
    };
  }

  setMode(mode) {
    this.mode = mode;
    for (const button of this.modes.children) button.setAttribute("aria-pressed", String(button.textContent === mode));
    this.cloud.stage.canvas.style.cursor = mode === "move" ? "grab" : "crosshair";
  }

  zoom(spot, factor) {
    this.cloud.camera.zoomAt(spot, factor);
    this.cloud.stir();
  }

  press(event) {
    if (event.button) return;
    const { stage } = this.cloud;
    stage.root.focus({ preventScroll: true });
    stage.canvas.setPointerCapture(event.pointerId);
    this.start = this.last = stage.at(event);
    this.moved = false;
    this.drag = event.shiftKey ? (this.mode === "box" ? "box" : "lasso") : this.mode;
    this.path = this.drag === "move" ? null : [this.start];
  }

  move(event) {
    const { cloud } = this, spot = cloud.stage.at(event);
    if (!this.start) return this.hover(event, spot);
    if (Math.hypot(spot[0] - this.start[0], spot[1] - this.start[1]) > 3) this.moved = true;
    if (!this.moved) return;
    cloud.tooltip.hide();
    if (this.drag === "move") {
      cloud.camera.pan(spot[0] - this.last[0], spot[1] - this.last[1]);
      cloud.stir();
    } else if (this.drag === "box") this.path = [this.start, spot];
    else this.path.push(spot);
    this.last = spot;
    cloud.stage.redraw();
  }

  release(event) {
    if (!this.start) return;
    const { stage, track } = this.cloud;
    if (!this.moved && this.cloud.landmarks.click(this.start)) return this.drop();
    const row = this.moved ? -1 : this.closest(this.start);
    if (row >= 0 || (this.moved && this.drag !== "move")) {
      const mask = new Uint8Array(track.n);
      if (event.ctrlKey || event.metaKey) for (const one of stage.selection) mask[one] = 1;
      if (row >= 0) mask[row] = 1;
      else this.inside(this.outline(), mask);
      this.cloud.select(rowsOf(mask));
    }
    this.drop();
  }

  drop() {
    this.path = this.start = null;
    this.cloud.stage.redraw();
  }

  /** The lasso, or the four corners of the box. */
  outline() {
    if (this.drag !== "box" || this.path.length < 2) return this.path;
    const [[a, b], [c, d]] = this.path;
    return [[a, b], [c, b], [c, d], [a, d]];
  }

  /** Mark the visible points inside a polygon of CSS pixels. */
  inside(polygon, mask) {
    const { camera, track, inks, stage } = this.cloud, began = performance.now();
    track.grid.inside(polygon.map((spot) => camera.toData(spot)), inks.hidden, mask);
    stage.root.dataset.lasso = (performance.now() - began).toFixed(0);
    return mask;
  }
  onScreen() {
    const { stage: { width: w, height: h }, track } = this.cloud;
    return rowsOf(this.inside([[0, 0], [w, 0], [w, h], [0, h]], new Uint8Array(track.n)));
  }

  closest(spot) {
    const { camera, track, inks, thumbs } = this.cloud, within = Math.max(10, thumbs.side / 2);
    return track.grid.closest(camera.toData(spot), within / camera.unit, inks.hidden);
  }

  hover(event, spot) {
    if (this.cloud.landmarks.hover(event, spot)) return;
    const row = this.closest(spot);
    if (row < 0) this.cloud.tooltip.hide();
    else this.cloud.tooltip.show(row, { clientX: event.clientX, clientY: event.clientY });
  }

  /** The next visible point, for the keyboard: among the selected ones, or all from left to right. */
  walk(by) {
    const { stage, track, camera, inks, tooltip } = this.cloud, selection = stage.selection, rows = selection.length ? selection : track.grid.rows;
    let at = rows.indexOf(tooltip.row);
    if (at < 0) at = by > 0 ? -1 : 0;
    for (let tries = 0; tries < rows.length; tries++) {
      at = (at + by + rows.length) % rows.length;
      if (inks.hidden[rows[at]] || !(track.at(rows[at])[0] < Infinity)) continue;
      let [x, y] = camera.toScreen(track.at(rows[at]));
      if (x < 0 || y < 0 || x > stage.width || y > stage.height) {
        camera.pan(stage.width / 2 - x, stage.height / 2 - y);
        [x, y] = [stage.width / 2, stage.height / 2];
      }
      const box = stage.canvas.getBoundingClientRect();
      return tooltip.show(rows[at], { clientX: box.left + x, clientY: box.top + y });
    }
  }
}

// ---------------------------------------------------------------------------------------------------- landmarks

/** Prototypes and the like: diamonds, larger on coarser levels; hover names them, a click selects their rows. */
class Landmarks {
  constructor(cloud) { Object.assign(this, { cloud, on: true, over: -1, spots: [], level: [], levels: 0 }); }

  take(frame) {
    const { landmarks: found } = frame;
    if (found === this.found) return;
    Object.assign(this, { found, over: -1, places: unpack(found?.places) ?? new Float32Array(0), level: unpack(found?.level) ?? [],
      index: unpack(found?.index) ?? [], groups: found?.groups ? unpack(found.groups) : null });
    this.levels = this.level.length ? Math.max(...this.level) + 1 : 0;
  }

  draw(frame) {
    this.take(frame);
    const { camera, stage: { ctx, ink, root } } = this.cloud;
    this.spots = this.on ? Array.from(this.level, (_, i) => camera.toScreen([this.places[2 * i], this.places[2 * i + 1]])) : [];
    root.dataset.landmarks = this.spots.length;
    this.spots.forEach(([x, y], i) => {
      const r = 4 + 2.5 * (this.levels - 1 - this.level[i]) + (i === this.over ? 3 : 0);
      ctx.beginPath();
      for (const [a, b] of [[0, -r], [r, 0], [0, r], [-r, 0]]) ctx.lineTo(x + a, y + b);
      ctx.closePath();
      Object.assign(ctx, { strokeStyle: ink, lineWidth: i === this.over ? 2.5 : 1.2 });
      ctx.stroke();
    });
  }

  /** The landmark at a spot of the screen, coarse ones first; −1 for none. */
  at([x, y]) {
    let best = -1, least = 10;
    this.spots.forEach(([a, b], i) => {
      const far = Math.hypot(a - x, b - y);
      if (far < least) { least = far; best = i; }
    });
    return best;
  }

  rows(i) {
    if (!this.groups) return null;
    const n = this.cloud.track.n, from = this.level[i] * n, found = [];
    for (let row = 0; row < n; row++) if (this.groups[from + row] === this.index[i]) found.push(row);
    return Uint32Array.from(found);
  }

  say(i) {
    const rows = this.rows(i), name = `${this.levels > 1 ? `level ${this.level[i] + 1}, ` : ""}number ${this.index[i]}`;
    return [`landmark: ${name}`, ...(rows ? [`${many(rows.length)} of the points; click selects them`] : [])];
  }

  /** Is the mouse over a landmark? Then say so. */
  hover(event, spot) {
    const over = this.at(spot), { stage, tooltip } = this.cloud;
    if (over !== this.over) { this.over = over; stage.redraw(); }
    if (over < 0) return false;
    tooltip.hide();
    stage.showTip(event, ...this.say(over).map((words) => make("div", {}, words)));
    return true;
  }

  click(spot) {
    const i = this.at(spot), rows = i >= 0 ? this.rows(i) : null;
    if (rows) this.cloud.select(rows);
    return Boolean(rows);
  }
}

// ---------------------------------------------------------------------------------------------------- the view

class Cloud {
  constructor(stage) {
    Object.assign(this, { stage, track: new Track(), camera: new Camera(stage), frame: {}, splatter: new Splatter(), sprites: null });
    Object.assign(stage.title.style, { flex: "none" });        // a longer note must not move the picture
    Object.assign(stage.note.style, { flex: "0 1 auto", minWidth: 0, overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" });
    this.still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.picking = new Picking(this);
    const { options, tools } = stage;
    tools.append(this.picking.modes, make("button", { type: "button", title: "show everything (key 0)", onclick: () => this.fit() }, "fit"));
    this.makeLayouts();
    this.inks = new Inks(stage, () => stage.redraw());
    this.tooltip = new Tooltip(this);
    this.search = new Search(this);
    this.thumbs = new Thumbs(this);
    this.trails = new Trails(this);
    this.landmarks = new Landmarks(this);
    const toggles = [[options.landmarks, this.landmarks, "landmarks", "prototypes and the like, between their nearest points"],
      [options.images, this.thumbs, "images", "pictures in place of points when few are on the screen"],
      [options.trails, this.trails, "trails", "where points have been in the last frames"]];
    for (const [there, part, label, title] of toggles) {
      if (!there) continue;
      const box = checkbox(label, part.on, (on) => { part.on = on; stage.redraw(); });
      tools.append(Object.assign(box, { title }));
    }
    this.count = make("span", { className: "clnb-note", role: "status" });
    tools.append(this.count, this.inks.legend);
    stage.ends.push(() => { this.sprites?.end(); clearTimeout(this.rest); });
  }

  // ------------------------------------------------------------------ layouts

  /** The choice of layouts: all of them beside a kernel, those that it carries in a page. */
  makeLayouts() {
    const { stage } = this, { model, options } = stage, carried = Object.keys(model.get("atlas")?.layouts ?? {});
    const kinds = stage.alone ? [...new Set([stage.frame.layout, ...carried])].filter(Boolean) : options.layouts ?? [];
    if (kinds.length < 2) return;
    this.kinds = dropdown("layout", kinds, this.kind, (kind) => { model.set("kind", kind); model.save_changes(); });
    for (const option of this.kinds.querySelectorAll("option")) option.textContent = KINDS[option.value] ?? option.value;
    stage.tools.append(this.kinds);
    stage.listen("change:kind", () => { this.kinds.querySelector("select").value = this.kind; stage.redraw(); });
  }
  get kind() { return this.stage.model.get("kind") ?? this.stage.frame.layout; }

  /** A frame in the layout that was chosen; in a page the carried one that is nearest in time. */
  laid(frame) {
    const carried = this.stage.alone && frame.layout !== this.kind && this.stage.model.get("atlas")?.layouts?.[this.kind];
    if (!carried) return frame;
    const far = (step) => Math.abs(+step - (frame.step ?? 0)), [best] = Object.keys(carried).sort((a, b) => far(a) - far(b));
    return { ...frame, landmarks: undefined, ...carried[best] };
  }

  accept(frame) {
    const key = `${frame.number}/${frame.layout}`, clock = performance.now(), { track, camera } = this;
    if (key === this.accepted) return;
    const steps = unpack(frame.points) ?? new Uint16Array(0), box = frame.box ?? [0, 0, 1, 1], n = steps.length / 2;
    const other = this.accepted !== undefined && frame.layout !== this.frame.layout;
    const lasts = this.still || !track.n ? 0 : other ? 700 : Math.min(240, Math.max(40, 0.9 * (clock - (this.arrived ?? 0))));
    track.take(steps, box, lasts);
    if (n !== this.inks.inks?.length) this.inks.inks = null;
    if (this.tooltip.row >= n) this.tooltip.hide();
    this.tooltip.near = [];
    const { x, y, unit } = camera;
    if (other) Object.assign(camera, { own: false, home: null });
    if (n) camera.widenHome(box, frame.least ?? 0);
    if (track.t < 1) {   // points set out from where they were on the screen
      const from = track.from.box, by = unit / camera.unit;
      track.from.box = [camera.x + (from[0] - x) * by, camera.y + (from[1] - y) * by, from[2] * by, from[3] * by];
    }
    Object.assign(this, { accepted: key, arrived: clock, frame });
  }

  fit() {
    Object.assign(this.camera, { own: false, home: null });
    this.camera.widenHome(this.frame.box ?? [-1, -1, 2, 2], 0);
    this.stir();
  }

  /** Show some rows as large as the picture allows. */
  zoomTo(rows) {
    const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
    for (const row of rows) {
      const spot = this.track.at(row);
      for (let c = 0; c < 2; c++) { if (spot[c] < low[c]) low[c] = spot[c]; if (spot[c] > high[c]) high[c] = spot[c]; }
    }
    if (low[0] <= high[0]) this.camera.show(low, high);
    this.stir();
  }

  /** The camera moves: paint now, and once more when the hand rests. */
  stir() {
    this.stirred = performance.now();
    clearTimeout(this.rest);
    this.rest = setTimeout(() => this.stage.redraw(), 180);
    this.stage.redraw();
  }

  // ------------------------------------------------------------------ painting

  /** How opaque a point is: very many are thin, so that one sees where they are dense. */
  get strength() {
    const { n } = this.track;
    return n > 3000 ? Math.min(0.75, 0.75 * Math.sqrt(1e5 / n) * Math.max(1, this.camera.zoom) ** 0.5) : 0.9;
  }

  /** The graphics card draws many points where it can, the processor all others. */
  get painter() {
    const wish = this.stage.options.renderer ?? "auto";
    const wanted = !this.lost && wish !== "canvas" && (wish === "webgl" || this.track.n > 20_000);
    if (wanted && this.sprites === null)
      this.sprites = Sprites.make(wish === "auto", () => { this.lost = true; this.stage.redraw(); }) ?? false;
    return (wanted && this.sprites) || this.splatter;
  }

  /** Select rows, ascending and each once: also a million of them. */
  select(rows) {
    this.stage.model.set("selected", new DataView(rows.buffer));
    this.stage.model.save_changes();
    this.stage.redraw();
  }

  /** Which rows are selected, as a mask; null when none is. */
  choose(n) {
    const bytes = this.stage.model.get("selected"), hidden = this.inks.hidden;
    if (bytes === this.of?.bytes && n === this.of.n && hidden === this.of.hidden) return;
    const selection = this.stage.selection, chosen = selection.length ? new Uint8Array(n) : null, marks = new Uint8Array(n);
    for (let k = 0; k < selection.length; k++) if (selection[k] < n) chosen[selection[k]] = 1;
    for (let i = 0; i < n; i++) marks[i] = hidden[i] ? 2 : chosen ? chosen[i] : 0;
    Object.assign(this, { chosen, marks, of: { bytes, n, hidden } });
    this.count.textContent = selection.length ? `${many(selection.length)} selected` : "";
  }

  draw(given) {
    const frame = this.laid(given), { stage, track, camera, inks } = this, clock = performance.now();
    if (frame !== given) stage.note.textContent = frame.note;
    stage.note.title = frame.note ?? "";      // all of it, where there is no room
    this.accept(frame);
    const n = track.n, moving = track.tick(clock), painter = this.painter;
    inks.wantDensity(frame.step);
    if (!inks.inks) inks.update(n);
    this.choose(n);
    const hurry = n > 200_000 && (moving || clock - (this.stirred ?? -1e9) < 170);
    const base = Math.max(0.8, Math.min(4, 5.2 - 0.9 * Math.log10(Math.max(n, 10))));
    painter.draw(stage, { track, camera, inks: inks.inks, hidden: inks.hidden, chosen: this.chosen, marks: this.marks, hurry,
      radius: base * Math.min(2, camera.zoom ** 0.3), strength: this.strength });
    const thumbs = moving && n > 100_000 ? 0 : this.thumbs.draw(clock - (this.stirred ?? -1e9) < 100);
    this.trails.draw(frame);
    this.landmarks.draw(frame);
    this.overlay();
    if (!n) stage.say(frame.note ?? "no points");
    stage.canvas.setAttribute("aria-label", `${stage.options.title}: ${many(n)} points, ${frame.layout ?? ""}`
      + (inks.column ? `, hues show ${inks.column.name}` : "") + (this.chosen ? `, ${this.count.textContent}` : ""));
    Object.assign(stage.root.dataset, { points: n, drawn: frame.number ?? 0, zoom: camera.zoom.toFixed(3), renderer: painter.name,
      layout: frame.layout ?? "", thumbs, trails: this.trails.on ? this.trails.paths?.shape[0] ?? 0 : 0,
      part: painter.every > 1 ? 1 / painter.every : 1, paint: (performance.now() - clock).toFixed(1) });
    if (moving) stage.redraw();
  }

  overlay() {
    const { stage: { ctx, ink, faint }, tooltip, picking, camera, track } = this;
    if (tooltip.row >= 0 && tooltip.row < track.n) {
      const here = camera.toScreen(track.at(tooltip.row));
      ctx.lineWidth = 1;
      for (const row of tooltip.near) {
        const there = camera.toScreen(track.at(row));
        ctx.strokeStyle = faint;
        ctx.beginPath(); ctx.moveTo(...here); ctx.lineTo(...there); ctx.stroke();
        this.ring(there, 5, ink, 1);
      }
      this.ring(here, 7, ink, 2);
    }
    if (!picking.path?.length) return;
    ctx.strokeStyle = ink;
    ctx.fillStyle = "#56B4E933";
    ctx.setLineDash([4, 3]);
    ctx.beginPath();
    for (const spot of picking.outline()) ctx.lineTo(...spot);
    ctx.closePath();
    ctx.fill();
    ctx.stroke();
    ctx.setLineDash([]);
  }

  ring(spot, radius, style, width) {
    const { ctx } = this.stage;
    Object.assign(ctx, { strokeStyle: style, lineWidth: width });
    ctx.beginPath();
    ctx.arc(...spot, radius, 0, 2 * Math.PI);
    ctx.stroke();
  }
}

function render({ model, el }) {
  const { title, height } = model.get("options");
  const stage = new Stage({ model, el }, { title, height, help: "drag: move · wheel: zoom · Shift+drag: lasso · click: select · "
    + "Esc: clear · keys: + − 0 arrows, n p: next point, a: all seen, / search" });
  const cloud = new Cloud(stage);
  return stage.start((frame) => cloud.draw(frame));
}

export default { render };
