// Sphere: embeddings on one or several spheres that are turned together. See 07q_sphere.ipynb.

const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const UNKNOWN = "#969696";

/** The colour of a share 0 … 1. */
function viridis(t) {
  const at = Math.min(Math.max(t, 0), 1) * (VIRIDIS.length - 1), k = Math.min(Math.floor(at), VIRIDIS.length - 2), f = at - k;
  return `rgb(${VIRIDIS[k].map((v, i) => Math.round(v + f * (VIRIDIS[k + 1][i] - v))).join(",")})`;
}

/** The product of two 3 × 3 matrices, row by row, made orthonormal again. */
function turnBy(a, b) {
  const m = [0, 1, 2].map((i) => [0, 1, 2].map((j) => a[3 * i] * b[j] + a[3 * i + 1] * b[3 + j] + a[3 * i + 2] * b[6 + j]));
  const dot = (u, v) => u[0] * v[0] + u[1] * v[1] + u[2] * v[2], unit = (u) => { const l = Math.sqrt(dot(u, u)); return u.map((v) => v / l); };
  const x = unit(m[0]), y = unit(m[1].map((v, i) => v - dot(m[1], x) * x[i]));
  return [...x, ...y, x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]];
}
const aboutX = (t) => [1, 0, 0, 0, Math.cos(t), -Math.sin(t), 0, Math.sin(t), Math.cos(t)];
const aboutY = (t) => [Math.cos(t), 0, Math.sin(t), 0, 1, 0, -Math.sin(t), 0, Math.cos(t)];
const aboutZ = (t) => [Math.cos(t), -Math.sin(t), 0, Math.sin(t), Math.cos(t), 0, 0, 0, 1];

class SphereView {
  constructor(stage) {
    const o = stage.options;
    Object.assign(this, { stage, zoom: 1, cursor: -1, hidden: new Set(), far: true, box: null, chosen: new Chosen(stage), by: o.colour_by ?? o.columns[0]?.name ?? "" });
    this.columns = o.columns.map((c) => ({ ...c, values: c.kind === "text" ? c.values : unpack(c.values) }));
    this.images = o.images ? new ImageStore(stage, () => { if (this.tipped) this.tell(...this.tipped); }) : null;
    this.whisper = whisper(stage);
    const drawn = this.columns.filter((c) => c.kind !== "text").map((c) => c.name);
    if (drawn.length > 1) {
      const choice = dropdown("colour", drawn, this.by, (name) => { this.by = name; this.hidden.clear(); stage.redraw(); });
      choice.style.maxWidth = "100%";
      choice.querySelector("select").style.minWidth = 0;
      stage.tools.append(choice);
    }
    stage.tools.append(checkbox("far side", true, (on) => { this.far = on; stage.redraw(); }),
      make("button", { type: "button", title: "turn back, and to the first size (0)", onclick: () => this.back() }, "turn back"));
    this.legend = make("div", { className: "clnb-legend", role: "group", "aria-label": "classes" });
    this.words = make("ul", { "aria-label": "spaces", style: { margin: "2px 0", padding: 0, listStyle: "none", flex: "1 1 100%" } });
    stage.body.append(this.legend, this.words);
    stage.canvas.style.cursor = "grab";
    this.first = this.rotation;
    this.listen();
  }

  get rotation() { return this.stage.model.get("rotation") ?? [1, 0, 0, 0, 1, 0, 0, 0, 1]; }
  set rotation(value) { this.stage.model.set("rotation", value); this.stage.redraw(); }
  turn(by, last = true) {
    this.rotation = turnBy(by, this.rotation);
    if (last) this.stage.model.save_changes();
  }
  back() { this.zoom = 1; this.rotation = this.first; this.stage.model.save_changes(); }

  listen() {
    const { stage } = this, { canvas } = stage, step = Math.PI / 24;
    stage.listen("change:rotation", () => stage.redraw());
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => (this.held ? this.move(event) : this.hover(event)));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", () => { this.held = this.box = null; stage.redraw(); });
    canvas.addEventListener("pointerleave", () => { if (!this.held) this.leave(); });
    canvas.addEventListener("wheel", (event) => { if (event.ctrlKey || document.activeElement === stage.root) { event.preventDefault(); this.scale(Math.exp(-event.deltaY / 500)); } }, { passive: false });
    stage.keys = { ArrowLeft: () => this.turn(aboutY(-step)), ArrowRight: () => this.turn(aboutY(step)), ArrowUp: () => this.turn(aboutX(-step)), ArrowDown: () => this.turn(aboutX(step)),
      ",": () => this.turn(aboutZ(step)), ".": () => this.turn(aboutZ(-step)), "+": () => this.scale(1.15), "=": () => this.scale(1.15), "-": () => this.scale(1 / 1.15), 0: () => this.back(),
      n: () => this.walk(1), p: () => this.walk(-1), Enter: (event) => { if (this.cursor >= 0) pick(stage, [this.rows[this.cursor]], event); },
      Escape: () => { this.cursor = -1; this.tipped = null; stage.redraw(); } };
  }

  scale(by) { this.zoom = Math.min(Math.max(this.zoom * by, 0.5), 12); this.stage.redraw(); }

  down(event) {
    if (event.button) return;
    const { stage } = this, [x, y] = stage.at(event);
    stage.canvas.setPointerCapture(event.pointerId);
    stage.root.focus({ preventScroll: true });
    this.held = { x, y, from: [x, y], rect: event.shiftKey, moved: false };
    stage.showTip();
  }
  move(event) {
    const [x, y] = this.stage.at(event), { held } = this, dx = x - held.x, dy = y - held.y;
    if (Math.hypot(x - held.from[0], y - held.from[1]) > 3) held.moved = true;
    if (!held.moved) return;
    if (held.rect) { this.box = [...held.from, x, y]; this.stage.redraw(); }
    else { const r = this.places?.[0]?.r ?? 100; this.turn(turnBy(aboutX(dy / r), aboutY(dx / r)), false); }
    Object.assign(held, { x, y });
  }
  up(event) {
    const { held, stage } = this;
    this.held = null;
    if (!held) return;
    if (held.moved && held.rect) this.pickBox(event);
    else if (held.moved) stage.model.save_changes();
    else { const i = this.nearest(event); if (i >= 0) pick(stage, [this.rows[i]], event); }
    this.box = null;
    stage.redraw();
  }
  pickBox() {
    const [a, b, c, d] = this.box, found = new Set(), inside = (x, y) => (x - a) * (x - c) <= 0 && (y - b) * (y - d) <= 0;
    for (const at of this.places) for (let i = 0; i < this.rows.length; i++) if (this.visible(at, i) && inside(at.xyz[3 * i], at.xyz[3 * i + 1])) found.add(this.rows[i]);
    this.stage.select(found);
  }

  get column() { return this.columns.find((c) => c.name === this.by) ?? null; }

  draw(frame) {
    const { stage } = this, { ctx } = stage;
    this.rows = frame.rows ? unpack(frame.rows) : new Uint32Array(0);
    if (this.unpacked !== frame) {
      this.unpacked = frame;
      this.spaces = (frame.spaces ?? []).map((s) => ({ ...s, points: s.points && unpack(s.points), kept: s.kept && unpack(s.kept) }));
      this.sizes = frame.size && unpack(frame.size);
      if (this.cursor >= this.rows.length) this.cursor = -1;
    }
    const shown = this.spaces.filter((s) => s.points);
    this.layout(this.spaces.length);
    this.legendOf();
    this.mask = this.chosen.of(this.rows.reduce((a, b) => Math.max(a, b), -1) + 1);
    this.inks = this.colours();
    this.places = [];
    this.spaces.forEach((space, s) => { const place = this.room(s); if (space.points) this.places.push(this.project(space, place)); });
    for (const at of this.places) this.paint(at);
    if (this.box) { const [a, b, c, d] = this.box; ctx.strokeStyle = stage.ink; ctx.setLineDash([4, 3]); ctx.strokeRect(Math.min(a, c), Math.min(b, d), Math.abs(c - a), Math.abs(d - b)); ctx.setLineDash([]); }
    if (!shown.length) stage.say("nothing has been recorded yet");
    if (this.chosen.count) stage.note.textContent += `${stage.note.textContent ? " · " : ""}${thousands(this.chosen.count)} selected`;
    const said = this.spaces.map((s) => `${s.name ? `${s.name}: ` : ""}${s.words}`);
    if (said.join("\n") !== this.said) { this.said = said.join("\n"); this.words.replaceChildren(...said.map((text) => make("li", { className: "clnb-note" }, text))); }
    stage.canvas.setAttribute("aria-label", `${stage.options.title}: ${thousands(this.rows.length)} points. ${said.join("; ")}.`);
    Object.assign(stage.root.dataset, { rotation: JSON.stringify(this.rotation.map((v) => +v.toFixed(5))), cursor: this.cursor, zoom: this.zoom, colour: this.by, step: frame.step ?? "", selected: this.chosen.count,
      row: this.cursor >= 0 ? this.rows[this.cursor] : "", spheres: JSON.stringify(this.places.map(({ cx, cy, r, space }) => ({ cx, cy, r, share: space.share, dim: space.dim, name: space.name }))) });
  }

  /** Spheres beside each other where there is room, else below each other. */
  layout(count) {
    const { stage } = this, across = Math.max(1, Math.min(count, Math.floor(stage.width / 190))), down = Math.ceil(count / across) || 1;
    const side = Math.min(stage.width / across, stage.options.height), height = `${Math.round((count > 1 ? side : stage.options.height) * down)}px`;
    this.grid = { across, down };
    if (stage.canvas.style.height !== height) { stage.canvas.style.height = height; stage.fit(); }
  }
  room(s) {
    const { across, down } = this.grid, w = this.stage.width / across, h = this.stage.height / down, x = s % across, y = Math.floor(s / across);
    const title = this.spaces.length > 1 ? 16 : 0;
    return { left: x * w, top: y * h, w, h, title, cx: (x + 0.5) * w, cy: y * h + title + (h - title) / 2, r: Math.max((Math.min(w, h - title) / 2 - 10), 10) * this.zoom };
  }

  /** Places on the screen (x, y, depth) of the points of a space. */
  project(space, place) {
    const R = this.rotation, n = this.rows.length, xyz = new Float32Array(3 * n), { points } = space, { cx, cy, r } = place;
    for (let i = 0; i < n; i++) {
      if (points[3 * i] === 65535) { xyz[3 * i] = xyz[3 * i + 1] = xyz[3 * i + 2] = NaN; continue; }
      const x = points[3 * i] / 32767 - 1, y = points[3 * i + 1] / 32767 - 1, z = points[3 * i + 2] / 32767 - 1;
      xyz[3 * i] = cx + r * (R[0] * x + R[1] * y + R[2] * z);
      xyz[3 * i + 1] = cy - r * (R[3] * x + R[4] * y + R[5] * z);
      xyz[3 * i + 2] = R[6] * x + R[7] * y + R[8] * z;
    }
    return { ...place, space, xyz };
  }

  /** The colour of every row by the chosen column. */
  colours() {
    const c = this.column, key = c?.name ?? "";
    if (this.inked?.key === key && this.inked.rows === this.unpacked) return this.inked.inks;
    let inks;
    if (!c) inks = Array.from(this.rows, () => PALETTE[0]);
    else if (c.kind === "category") inks = Array.from(this.rows, (row) => (c.values[row] >= 0 ? c.colours[c.values[row]] : UNKNOWN));
    else { const [low, high] = extent(c.values); inks = Array.from(this.rows, (row) => (Number.isFinite(c.values[row]) ? viridis((c.values[row] - low) / (high - low || 1)) : UNKNOWN)); }
    this.inked = { key, rows: this.unpacked, inks };
    return inks;
  }
  visible({ xyz }, i) {
    const c = this.column, z = xyz[3 * i + 2];
    if (Number.isNaN(z) || (!this.far && z < 0)) return false;
    return !(this.hidden.size && c?.kind === "category" && this.hidden.has(c.values[this.rows[i]]));
  }

  legendOf() {
    const c = this.column, key = `${c?.name}|${[...this.hidden]}|${this.sizes !== null}`;
    if (key === this.legendKey) return;
    this.legendKey = key;
    if (c?.kind === "number") {
      const [low, high] = extent(c.values), stops = VIRIDIS.map((v) => `rgb(${v.join(",")})`).join(", ");
      return this.legend.replaceChildren(make("span", {}, `${c.name} ${short(low)}`), make("span", { className: "clnb-bar", style: { background: `linear-gradient(to right, ${stops})` } }), make("span", {}, short(high)));
    }
    if (c?.kind !== "category") return this.legend.replaceChildren();
    const counts = new Map();
    for (const v of c.values) counts.set(v, (counts.get(v) ?? 0) + 1);
    const held = this.legend.contains(document.activeElement) ? document.activeElement.dataset.value : null;
    this.legend.replaceChildren(...[...counts.keys()].sort((a, b) => (a < 0) - (b < 0) || a - b).map((v) => {
      const name = v < 0 ? "unknown" : c.names[v], toggle = () => { if (!this.hidden.delete(v)) this.hidden.add(v); this.stage.redraw(); };
      const chip = make("button", { type: "button", className: "clnb-chip", title: `hide or show ${name}`, "aria-pressed": String(!this.hidden.has(v)), onclick: toggle },
        make("i", { className: "clnb-dot", style: { background: v < 0 ? UNKNOWN : c.colours[v] } }), make("span", {}, `${name} (${thousands(counts.get(v))})`));
      chip.dataset.value = v;
      return chip;
    }));
    if (held !== null) this.legend.querySelector(`[data-value="${held}"]`)?.focus();
  }

  paint(at) {
    const { stage } = this, { ctx } = stage, { cx, cy, r, left, top, w, h, title, space, xyz } = at, n = this.rows.length;
    ctx.save();
    ctx.beginPath(); ctx.rect(left, top, w, h); ctx.clip();
    if (title) { ctx.fillStyle = stage.ink; ctx.textAlign = "center"; ctx.textBaseline = "top"; ctx.fillText(cut(ctx, space.name, w - 8), cx, top + 2); }
    this.globe(at, false);
    const order = Array.from({ length: n }, (_, i) => i).filter((i) => this.visible(at, i)).sort((a, b) => xyz[3 * a + 2] - xyz[3 * b + 2]);
    const base = Math.min(Math.max(90 / Math.sqrt(n + 1), 1.6), 4.5) * Math.sqrt(this.zoom);
    let front = false;
    for (const i of order) {
      const z = xyz[3 * i + 2], chosen = this.mask[this.rows[i]];
      if (!front && z >= 0) { front = true; this.globe(at, true); }
      ctx.globalAlpha = (z < 0 ? 0.3 : 0.9) * (0.3 + (0.7 * space.kept[i]) / 255) * (this.chosen.count && !chosen ? 0.35 : 1);
      ctx.fillStyle = this.inks[i];
      ctx.beginPath(); ctx.arc(xyz[3 * i], xyz[3 * i + 1], base * (0.85 + 0.15 * z) * (this.sizes ? this.sizes[i] : 1), 0, 7); ctx.fill();
      if (chosen) { ctx.globalAlpha = z < 0 ? 0.6 : 1; ctx.strokeStyle = stage.ink; ctx.lineWidth = 1.4; ctx.stroke(); }
    }
    ctx.globalAlpha = 1;
    if (!front) this.globe(at, true);
    if (this.cursor >= 0 && !Number.isNaN(xyz[3 * this.cursor])) {
      ctx.strokeStyle = stage.ink; ctx.lineWidth = 2;
      ctx.beginPath(); ctx.arc(xyz[3 * this.cursor], xyz[3 * this.cursor + 1], base * 2 + 3, 0, 7); ctx.stroke();
    }
    ctx.restore();
    at.base = base;
  }

  /** Outline, and the near or the far half of three great circles. */
  globe({ cx, cy, r }, near) {
    const { ctx, faint } = this.stage, R = this.rotation;
    ctx.save();
    ctx.strokeStyle = faint; ctx.lineWidth = 0.8; ctx.globalAlpha = near ? 0.55 : 0.2;
    if (near) { ctx.beginPath(); ctx.arc(cx, cy, r, 0, 7); ctx.stroke(); }
    for (let axis = 0; axis < 3; axis++) {
      let pen = false;
      ctx.beginPath();
      for (let k = 0; k <= 72; k++) {
        const t = (k * Math.PI) / 36, v = [0, 0, 0];
        v[(axis + 1) % 3] = Math.cos(t); v[(axis + 2) % 3] = Math.sin(t);
        const z = R[6] * v[0] + R[7] * v[1] + R[8] * v[2];
        if ((z >= 0) !== near) { pen = false; continue; }
        ctx[pen ? "lineTo" : "moveTo"](cx + r * (R[0] * v[0] + R[1] * v[1] + R[2] * v[2]), cy - r * (R[3] * v[0] + R[4] * v[1] + R[5] * v[2]));
        pen = true;
      }
      ctx.stroke();
    }
    ctx.restore();
  }

  /** The point under the mouse, those in front first; −1 for none. */
  nearest(event) {
    const [x, y] = this.stage.at(event);
    let best = -1, least = 12;
    for (const at of this.places ?? []) {
      if (x < at.left || x > at.left + at.w || y < at.top || y > at.top + at.h) continue;
      for (let i = 0; i < this.rows.length; i++) {
        if (!this.visible(at, i)) continue;
        const far = Math.hypot(at.xyz[3 * i] - x, at.xyz[3 * i + 1] - y) + (at.xyz[3 * i + 2] < 0 ? 4 : 0);
        if (far < least) { least = far; best = i; }
      }
    }
    return best;
  }

  hover(event) {
    const i = this.nearest(event);
    this.stage.canvas.style.cursor = i >= 0 ? "pointer" : "grab";
    if (i < 0) return this.leave();
    if (this.cursor !== i) { this.cursor = i; this.stage.redraw(); }
    this.tell(i, event);
  }
  leave() {
    this.tipped = null;
    this.stage.showTip();
    if (this.cursor >= 0) { this.cursor = -1; this.stage.redraw(); }
  }

  /** What is known of a row, with its image. */
  facts(i) {
    const row = this.rows[i], of = (c) => (c.kind === "text" ? c.values[row] : c.kind === "number" ? short(c.values[row]) : c.values[row] >= 0 ? c.names[c.values[row]] : "unknown");
    const kept = this.spaces.filter((s) => s.points && s.dim > 3).map((s) => `${s.name ? `${s.name}: ` : ""}${Math.round(s.kept[i] / 2.55)} % of it is shown`);
    return [`row ${row}`, ...this.columns.map((c) => `${c.name}: ${of(c)}`), ...kept];
  }
  tell(i, event) {
    this.tipped = [i, event];
    const [head, ...rest] = this.facts(i), row = this.rows[i], picture = [];
    if (this.images && row < this.stage.options.images) { this.images.want([row]); picture.push(this.images.tile(row, 72)); }
    this.stage.showTip(event, make("b", {}, head), ...rest, ...picture);
  }

  /** The next or the one before of the points, by keys; it is turned to the front. */
  walk(by) {
    const at = this.places?.[0], n = this.rows.length;
    if (!at) return;
    let i = this.cursor;
    for (let k = 0; k < n; k++) {
      i = (((i < 0 && by < 0 ? 0 : i) + by) % n + n) % n;
      const z = at.xyz[3 * i + 2], c = this.column;
      if (!Number.isNaN(z) && !(this.hidden.size && c?.kind === "category" && this.hidden.has(c.values[this.rows[i]]))) break;
    }
    this.cursor = i;
    const x = (at.xyz[3 * i] - at.cx) / at.r, y = (at.cy - at.xyz[3 * i + 1]) / at.r, z = at.xyz[3 * i + 2];
    if (Number.isNaN(z)) return;
    this.turn(turnBy(aboutX(Math.atan2(y, Math.hypot(x, z))), aboutY(-Math.atan2(x, z))));
    this.whisper(this.facts(i).join(", "));
    const box = this.stage.canvas.getBoundingClientRect();
    this.tell(i, { clientX: box.left + at.cx, clientY: box.top + at.cy });
  }
}

export default {
  render({ model, el }) {
    const { title = "On the sphere", height = 340 } = model.get("options") ?? {};
    const stage = new Stage({ model, el }, { title, height,
      help: "drag or arrows: turn · , .: roll · + −: size · 0: back · click: select, shift-drag: select a box · n p: next and previous point, Enter: select it" });
    const view = new SphereView(stage);
    return stage.start((frame) => view.draw(frame));
  },
};
