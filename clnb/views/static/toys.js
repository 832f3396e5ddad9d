// Playgrounds of toy networks: settings by slider, each a run that was integrated in Python. See 07d_toys.ipynb.

const BLUE = PALETTE[0], ORANGE = PALETTE[3];
const three = (v) => (v == null || Number.isNaN(v) ? "–" : !Number.isFinite(v) ? "∞" : short(+v.toPrecision(3)));

/** The sliders: what the reader wants, what is known of it, and what is shown meanwhile. */
class Settings {
  constructor(stage, changed) {
    Object.assign(this, { stage, changed, known: new Map(), axes: stage.options.axes ?? [], asked: new Set(), fault: "", said: "" });
    this.want = [...(stage.model.get("wanted") ?? stage.options.start)];
    this.moved = Math.max(0, this.axes.findIndex((axis) => axis.values.length > 1));
    this.add(stage.model.get("carried") ?? {});
    this.controls = this.axes.map((axis, a) => (axis.values.length > 1 ? this.control(axis, a) : null));
    stage.tools.append(...this.controls.filter(Boolean));
    this.note = make("div", { className: "clnb-note", role: "status", "aria-live": "polite", style: { minHeight: "1.3em" } });
    stage.tools.after(this.note);
    stage.listen("change:wanted", () => this.told());
    stage.listen("change:carried", () => { this.add(stage.model.get("carried") ?? {}); this.update(); });
    stage.listen("msg:custom", (said, buffers) => this.computed(said, buffers));
    this.update();
    if (!stage.alone) this.catchUp();
  }

  control(axis, a) {
    const { values, label } = axis, set = (i) => this.choose(a, i);
    const name = (i) => (typeof values[i] === "number" ? three(values[i]) : String(values[i]));
    if (values.every((v) => typeof v === "boolean")) {
      const row = checkbox(label, values[this.want[a]], (on) => set(values.indexOf(on)));
      row.put = (i) => { row.querySelector("input").checked = values[i]; };
      return row;
    }
    if (values.some((v) => typeof v !== "number")) {
      const row = dropdown(label, values.map(String), String(values[this.want[a]]), (v) => set(values.map(String).indexOf(v)));
      row.put = (i) => { row.querySelector("select").value = String(values[i]); };
      return row;
    }
    const row = slider(label, { min: 0, max: values.length - 1, step: 1, value: this.want[a], show: (v) => name(Math.round(v)) }, (v) => set(Math.round(v)));
    row.put = (i) => { row.write(i); row.querySelector("input").setAttribute("aria-valuetext", name(i)); };
    row.put(this.want[a]);
    return row;
  }

  add(records) { for (const [key, record] of Object.entries(records)) if (!this.known.has(key)) this.known.set(key, record); }

  /** The arrays of a setting, unpacked once. */
  record(key) {
    const kept = this.known.get(key);
    if (kept && !kept.ready) Object.defineProperty(kept, "ready", { value: Object.fromEntries(Object.entries(kept).map(([name, array]) => [name, unpack(array)])) });
    return kept?.ready;
  }

  /** The known setting nearest to `want`, if possible with the value of the slider that was moved last. */
  nearest() {
    const far = (key) => key.split(",").reduce((sum, i, a) => sum + (a === this.moved ? 1000 : 1) * Math.abs(i - this.want[a]) / Math.max(1, this.axes[a].values.length - 1)
      + (+i !== this.want[a] ? 0.01 : 0), 0);
    let best = null, least = Infinity;
    for (const key of this.known.keys()) { const d = far(key); if (d < least) [best, least] = [key, d]; }
    return best;
  }

  along(a, key = this.want) { return this.axes[a].values.map((_, i) => key.map((v, b) => (b === a ? i : v)).join()); }
  word(a, i) {
    const value = this.axes[a].values[i];
    return typeof value === "boolean" ? `${this.axes[a].label}: ${value ? "yes" : "no"}` : `${this.axes[a].label} ${typeof value === "number" ? three(value) : value}`;
  }

  choose(a, i) {
    this.want = this.want.map((v, b) => (b === a ? i : v));
    this.moved = a;
    this.fault = "";
    this.update();
    this.stage.model.set("wanted", this.want);
    this.stage.model.save_changes();
  }

  /** Python, or a twin of this view, has moved a slider. */
  told() {
    const given = this.stage.model.get("wanted") ?? [];
    if (given.length !== this.want.length || given.join() === this.want.join()) return;
    this.moved = Math.max(0, given.findIndex((v, a) => v !== this.want[a]));
    this.want = [...given];
    this.update();
  }

  update() {
    const key = this.want.join(), { alone } = this.stage;
    this.said = "";
    if (this.known.has(key)) this.shown = key;
    else {
      this.shown = this.nearest();
      const there = (this.shown ?? "").split(",").map(Number), other = this.axes.map((_, a) => a).filter((a) => there[a] !== this.want[a]);
      const words = other.map((a) => this.word(a, there[a])).join(", ");
      if (this.shown === null) this.said = "nothing has been integrated yet";
      else if (alone) { this.said = `This page carries no run of that combination: now ${words}.`; this.want = there; }
      else this.said = this.fault || `Integrating this setting; meanwhile the nearest one is shown: ${words}.`;
    }
    if (!alone && (!this.known.has(key) || !this.along(this.moved).every((k) => this.known.has(k)))) this.ask();
    this.controls?.forEach((row, a) => row?.put(this.want[a]));
    if (this.note && this.note.textContent !== this.said) this.note.textContent = this.said;
    this.changed();
  }

  async ask() {
    const id = `${this.moved}:${this.along(this.moved)[0]}`;
    if (this.asked.has(id)) return;
    this.asked.add(id);
    try {
      const reply = await this.stage.ask({ ask: "sweep", along: this.axes[this.moved].name, key: this.want });
      if (reply.records) { this.add(reply.records); this.update(); }
    } catch (error) { this.fault = error.message; this.update(); }
  }

  /** What was computed before this page was opened, or while it was away. */
  async catchUp() {
    try {
      const reply = await this.stage.ask({ ask: "known", have: [...this.known.keys()] });
      this.add(reply.records ?? {});
      this.update();
    } catch (error) { this.fault = error.message; }
  }

  computed(said, buffers) {
    if (said?.computed === undefined) return;
    if (said.fault) { this.fault = said.fault; this.update(); return; }
    const fill = (value) => {
      if (!value || typeof value !== "object" || ArrayBuffer.isView(value)) return;
      if (typeof value.bytes === "number") value.bytes = buffers[value.bytes];
      else Object.values(value).forEach(fill);
    };
    fill(said.records);
    this.add(said.records);
    this.update();
  }

  value(name, key = this.shown) {
    const a = this.axes.findIndex((axis) => axis.name === name);
    return a < 0 ? undefined : this.axes[a].values[+key.split(",")[a]];
  }
}

/** What the two playgrounds share: the sliders, the moment that is shown, places that answer to the mouse, and keys. */
class Playground {
  constructor(stage) {
    this.stage = stage;
    this.spots = [];          // { x, y, width, height, tip, pick? }
    this.rank = -1;           // the direction under the keyboard
    stage.player.arrived = () => true;    // every moment is here already
    this.readout = make("div", { className: "clnb-readout", role: "status", style: { fontVariantNumeric: "tabular-nums", minHeight: "1.3em" } });
    stage.body.before(this.readout);
    this.settings = new Settings(stage, () => stage.redraw());
    this.whisper = whisper(stage);
    stage.listen("change:at", () => stage.redraw());
    const { canvas } = stage, move = (by) => () => { stage.player.stop(); this.go(by); };
    stage.keys = { ArrowRight: move(1), ArrowLeft: move(-1), Home: () => stage.seek(0), End: () => stage.seek(-1),
      ArrowDown: () => this.turn(1), ArrowUp: () => this.turn(-1), Escape: () => { this.rank = -1; stage.redraw(); } };
    canvas.addEventListener("pointermove", (event) => { this.pointer = event; this.point(); });
    canvas.addEventListener("pointerleave", () => { this.pointer = null; stage.showTip(); });
    canvas.addEventListener("click", (event) => this.spot(event)?.pick?.());
  }

  get moments() {
    const steps = this.stage.model.get("moments") ?? [];
    return steps.length ? steps : (this.all ??= this.stage.model.get("steps") ?? []);
  }

  /** Position of the moment that is shown among all that were recorded; a page may offer fewer. */
  get k() {
    const steps = this.stage.model.get("steps") ?? [], at = this.stage.model.get("at"), all = this.moments;
    if (at < 0 || !steps.length) return all.length - 1;
    const found = all.indexOf(steps[Math.min(at, steps.length - 1)]);
    return found < 0 ? all.length - 1 : found;
  }

  go(by) {
    const steps = this.stage.model.get("steps") ?? [], at = this.stage.model.get("at"), now = at < 0 ? steps.length - 1 : at;
    this.stage.seek(Math.max(0, Math.min(steps.length - 1, now + by)));
  }

  /** What is under the mouse, which may stand still while the picture changes. */
  point() {
    const spot = this.pointer && this.spot(this.pointer);
    this.stage.canvas.style.cursor = spot?.pick ? "pointer" : "";
    if (this.pointer) this.stage.showTip(this.pointer, ...(spot ? spot.tip().filter(Boolean) : []));
  }

  turn(by) {
    const d = this.width ?? 0;
    if (!d) return;
    this.rank = this.rank < 0 ? (by > 0 ? 0 : d - 1) : (this.rank + by + d) % d;
    this.whisper(this.describe(this.rank));
    this.stage.redraw();
  }

  spot(event) {
    const [x, y] = this.stage.at(event);
    return this.spots.findLast((s) => x >= s.x && x <= s.x + s.width && y >= s.y && y <= s.y + s.height);
  }

  /** Rectangles for panels with these shares of the width; below each other where there is no room. */
  rooms(shares, heights) {
    const { stage } = this, wide = stage.width >= 760, total = wide ? 290 : heights.reduce((a, b) => a + b, 0);
    if (Math.abs(total - stage.height) > 1) { stage.canvas.style.height = `${total}px`; stage.fit(); }
    const left = 1 - shares.reduce((a, b) => a + b, 0);
    let x = 0, y = 0;
    return shares.map((given, i) => {
      const share = given || left;
      const room = wide ? { x, y: 0, width: share * stage.width, height: total } : { x: 0, y, width: stage.width, height: heights[i] };
      x += room.width; y += room.height;
      return room;
    });
  }

  axesIn(room, settings) {
    const { stage } = this, { left = 46, right = 8, top = 24, bottom = 34 } = settings;
    const axes = new Axes(stage, { ...settings, left: room.x + left, right: stage.width - room.x - room.width + right, top: room.y + top,
      bottom: stage.height - room.y - room.height + bottom });
    return Object.assign(axes, { room: left });
  }

  /** The label of the vertical axis stands at the panel, not at the edge of the canvas. */
  frame(axes, title, yLabel = "") {
    const { ctx, ink } = this.stage;
    axes.draw();
    ctx.save();
    ctx.fillStyle = ink; ctx.textAlign = "left"; ctx.textBaseline = "alphabetic"; ctx.font = "600 11px system-ui, sans-serif";
    ctx.fillText(cut(ctx, title, axes.right - axes.left + 34), axes.left - 30, axes.top - 10);
    if (yLabel) {
      ctx.font = "11px system-ui, sans-serif"; ctx.textAlign = "center";
      ctx.translate(axes.left - (axes.room ?? 46) + 8, (axes.top + axes.bottom) / 2); ctx.rotate(-Math.PI / 2); ctx.fillText(yLabel, 0, 0);
    }
    ctx.restore();
  }

  bar(x, y, width, height, negative) {
    const { ctx } = this.stage;
    if (!negative) { ctx.fillStyle = BLUE; ctx.fillRect(x, y, width, height); return; }
    ctx.save();
    ctx.strokeStyle = ORANGE; ctx.lineWidth = 1.4;
    ctx.beginPath(); ctx.rect(x, y, width, height); ctx.stroke(); ctx.clip();
    ctx.beginPath();
    for (let s = -height; s < width + height; s += 5) { ctx.moveTo(x + s, y + height); ctx.lineTo(x + s + height, y); }
    ctx.stroke();
    ctx.restore();
  }

  shade(x, y, width, height, share) {
    const { ctx } = this.stage, ratio = window.devicePixelRatio || 1, snap = (v) => Math.round(v * ratio) / ratio, left = snap(x), top = snap(y);
    ctx.save();
    ctx.globalAlpha = Math.max(0, Math.min(1, share || 0));
    ctx.fillStyle = this.dark ? PALETTE[5] : BLUE;
    ctx.fillRect(left, top, snap(x + width) - left, snap(y + height) - top);     // whole pixels: no seams
    ctx.restore();
  }

  get dark() {
    const { ctx, paper } = this.stage;
    ctx.save(); ctx.fillStyle = "#fff"; ctx.fillStyle = paper; const hex = String(ctx.fillStyle); ctx.restore();
    return hex.startsWith("#") && parseInt(hex.slice(1, 3), 16) < 128;
  }

  outline(x, y, width, height, strong = true) {
    const { ctx, ink } = this.stage;
    ctx.save(); ctx.strokeStyle = ink; ctx.lineWidth = strong ? 2 : 1; ctx.strokeRect(x, y, width, height); ctx.restore();
  }

  row(array, k = this.k, from = 0) {
    const n = array.shape[array.shape.length - 1], every = array.length / array.shape[0];
    return array.subarray(k * every + from * n, k * every + (from + 1) * n);
  }

  tell(words, more) {
    const { stage, settings } = this, text = words.filter(Boolean).join(" · ");
    if (this.readout.textContent !== text) this.readout.textContent = text;
    if (this.pointer) this.point();
    stage.canvas.setAttribute("aria-label", `${stage.title.textContent}. ${text}`);
    const list = (v) => JSON.stringify(ArrayBuffer.isView(v) ? [...v] : v);
    Object.assign(stage.canvas.dataset, { shown: list(settings.shown.split(",").map(Number)), wanted: list(settings.want), known: settings.known.size,
      step: this.moments[this.k], note: settings.said, rank: this.rank, ...Object.fromEntries(Object.entries(more).map(([name, v]) => [name, list(v)])) });
  }
}

const median = (values) => { const v = [...values].sort((a, b) => a - b), m = v.length >> 1; return v.length % 2 ? v[m] : (v[m - 1] + v[m]) / 2; };
const effectiveRank = (values) => { const sum = values.reduce((a, b) => a + b, 0); return sum > 0 ? Math.exp(-values.reduce((h, v) => h + (v > 0 ? (v / sum) * Math.log(v / sum) : 0), 0)) : 0; };

class Augmentation extends Playground {
  draw() {
    const { stage, settings } = this, now = settings.shown && settings.record(settings.shown), k = this.k;
    this.spots = [];
    if (!now) { stage.say("nothing has been integrated yet"); return; }
    this.now = now;
    this.width = now.sigma.shape[1];
    const sigma = this.row(now.sigma), clean = this.width - (settings.value("noisy") ?? 0), limit = median(sigma.slice(0, Math.max(clean, 1))) / 2;
    const gone = sigma.filter((v) => v < limit).length, x = this.row(now.x), negative = x.filter((v) => v < 0).length;
    const [first, second, third] = this.rooms([0.29, 0.45, 0.26], [250, 230, 240]);
    this.weights(first, sigma, limit, gone);
    this.covariances(second);
    this.overview(third);
    this.tell([`step ${this.moments[k]} of ${this.moments.at(-1)}`, `loss ${three(now.loss[k])}`, `${gone} of ${this.width} directions of W collapsed (below half of the median clean one)`,
      `${negative} negative eigenvalues of X`, Number.isFinite(now.loss[k]) ? "" : "the integration has diverged: lower the rate"],
    { sigma, x, s0: this.row(now.s0), s1: this.row(now.s1), collapsed: gone, negative, loss: now.loss[k] });
  }

  describe(i) {
    const { now } = this, at = (name) => three(this.row(now[name])[i]);
    return `rank ${i + 1}: singular value of W ${at("sigma")}, ${Math.round(100 * this.row(now.share)[i])} % on noisy coordinates; eigenvalues: S0 ${at("s0")}, S1 ${at("s1")}, X ${at("x")}`;
  }

  weights(room, sigma, limit, gone) {
    const { stage, now } = this, { ctx } = stage, d = this.width, share = this.row(now.share), ranks = Array.from({ length: d }, (_, i) => i + 1);
    const axes = this.axesIn(room, { x: [0.5, d + 0.5], y: [0, (Number.isFinite(Math.max(...now.sigma)) ? Math.max(...now.sigma) : 1) * 1.05], xLabel: "rank", left: 50 });
    this.frame(axes, `W: ${gone} of ${d} collapsed`, "singular value");
    axes.line(ranks, this.row(now.sigma, 0), { color: stage.faint, width: 1 });
    axes.line([0.5, d + 0.5], [limit, limit], { color: stage.faint, width: 1, dash: [5, 4] });
    sigma.forEach((v, i) => {
      const px = axes.px(i + 1), py = Math.max(axes.top, axes.py(v)), noisy = share[i] > 0.5;
      ctx.fillStyle = BLUE; ctx.strokeStyle = ORANGE; ctx.lineWidth = 2;
      ctx.beginPath();
      if (noisy) { ctx.rect(px - 4, py - 4, 8, 8); ctx.stroke(); } else { ctx.arc(px, py, 4.5, 0, 7); ctx.fill(); }
      if (i === this.rank) this.outline(px - 8, py - 8, 16, 16, false);
      const half = (axes.right - axes.left) / d / 2;
      this.spots.push({ x: px - half, y: axes.top, width: 2 * half, height: axes.bottom - axes.top, tip: () => [make("b", {}, `singular value ${i + 1}: ${three(v)}`),
        `at the start: ${three(this.row(now.sigma, 0)[i])}`, `${Math.round(100 * share[i])} % of this direction lies on noisy coordinates`, v < limit ? "collapsed: below half of the median clean one" : ""] });
    });
    ctx.textAlign = "right"; ctx.textBaseline = "alphabetic"; ctx.fillStyle = stage.ink;
    ctx.fillText("● clean   □ noisy   ─ start", axes.right, axes.top + 6);
  }

  covariances(room) {
    const { stage, now } = this, { ctx } = stage, d = this.width, names = ["s0", "s1", "x"], rows = names.map((name) => this.row(now[name]));
    const titles = stage.width >= 900 || stage.width < 760 ? ["S₀: between images", "S₁: between views", "X = S₀ − S₁"] : ["S₀: images", "S₁: views", "X = S₀ − S₁"];
    let [low, high] = extent(...rows);
    low = Math.min(0, low); high = Math.max(high, 1e-12);
    const every = (room.width - 54) / 3, parts = this.row(now.part), shares = this.row(now.xshare);
    names.forEach((name, p) => {
      const place = { ...room, x: room.x + (p ? 54 + p * every : 0), width: every + (p ? 0 : 54) };
      const axes = this.axesIn(place, { x: [0.5, d + 0.5], y: [low * 1.08, high * 1.08], left: p ? 10 : 62, right: 4, xLabel: "rank" });
      if (p) axes.draw = this.bare;
      this.frame(axes, titles[p], p ? "" : "eigenvalue");
      if (p === 2 && rows[p].some((v) => v < 0)) {
        this.bar(axes.left + 6, axes.bottom - 12, 9, 8, true);
        ctx.fillStyle = stage.ink; ctx.textAlign = "left"; ctx.textBaseline = "alphabetic"; ctx.fillText("negative", axes.left + 19, axes.bottom - 4);
      }
      const width = ((axes.right - axes.left) / d) * 0.72, zero = axes.py(0);
      ctx.strokeStyle = stage.faint; ctx.lineWidth = 1; ctx.beginPath(); ctx.moveTo(axes.left, zero); ctx.lineTo(axes.right, zero); ctx.stroke();
      rows[p].forEach((v, i) => {
        const y = axes.py(v), px = axes.px(i + 1);
        this.bar(px - width / 2, Math.min(y, zero), width, Math.max(0.5, Math.abs(zero - y)), v < -1e-5 * high);
        if (i === this.rank) this.outline(px - width / 2 - 2, Math.min(y, zero) - 2, width + 4, Math.abs(zero - y) + 4, false);
        this.spots.push({ x: px - width * 0.7, y: axes.top, width: width * 1.4, height: axes.bottom - axes.top, tip: () => [make("b", {}, `eigenvalue ${i + 1} of ${["S₀", "S₁", "X"][p]}: ${three(v)}`),
          ...(name === "x" ? [`along this direction S₀ gives ${three(parts[i])}, S₁ gives ${three(parts[i] - v)}`, `${Math.round(100 * shares[i])} % of it lies on noisy coordinates`,
            v < 0 ? "negative: the views differ more than the images, W shrinks here" : "positive: W grows here"] : [])] });
      });
    });
  }

  /** Axes without numbers on the left, for panels that share them. */
  bare() {
    const { ctx, ink, faint } = this.stage;
    ctx.save();
    ctx.strokeStyle = faint; ctx.fillStyle = ink; ctx.lineWidth = 1;
    ctx.beginPath(); ctx.moveTo(this.left, this.top); ctx.lineTo(this.left, this.bottom); ctx.lineTo(this.right, this.bottom); ctx.stroke();
    ctx.textAlign = "center"; ctx.textBaseline = "top";
    for (const v of ticks(this.x, false)) ctx.fillText(short(v), this.px(v), this.bottom + 4);
    ctx.fillText(this.xLabel, (this.left + this.right) / 2, this.bottom + 17);
    ctx.restore();
  }

  /** The last singular values for every value of the slider that was moved last; a click moves it. */
  overview(room) {
    const { stage, settings } = this, { ctx } = stage, numbers = settings.axes.map((_, a) => a).filter((a) => settings.axes[a].values.length > 1);
    const a = numbers.includes(settings.moved) ? settings.moved : numbers[0];
    if (a === undefined) return;
    const axis = settings.axes[a], d = this.width, here = settings.shown.split(",").map(Number), keys = settings.along(a, here);
    const ends = keys.map((key) => (settings.known.has(key) ? this.row(settings.record(key).sigma, this.moments.length - 1) : null));
    const highest = Math.max(...ends.filter(Boolean).map((s) => s[0]).filter(Number.isFinite), 1e-12), left = room.x + 46, top = room.y + 24, right = room.x + room.width - 8, bottom = room.y + room.height - 34;
    const w = (right - left) / keys.length, h = (bottom - top) / d;
    ctx.fillStyle = stage.ink; ctx.textAlign = "left"; ctx.textBaseline = "alphabetic";
    ctx.font = "600 11px system-ui, sans-serif"; ctx.fillText(cut(ctx, "σ of W at the end (click)", right - left + 30), left - 30, top - 10);
    ctx.font = "11px system-ui, sans-serif";
    ends.forEach((values, i) => {
      if (values) values.forEach((v, r) => {
        this.shade(left + i * w, top + r * h, w, h, v / highest);
        this.spots.push({ x: left + i * w, y: top + r * h, width: w, height: h, pick: () => settings.choose(a, i), tip: () => [make("b", {}, settings.word(a, i)),
          `singular value ${r + 1} at the end: ${three(v)}`] });
      });
      else {
        ctx.fillStyle = stage.faint; ctx.textAlign = "center"; ctx.fillText("?", left + (i + 0.5) * w, (top + bottom) / 2);
        this.spots.push({ x: left + i * w, y: top, width: w, height: bottom - top, pick: () => settings.choose(a, i), tip: () => [`${settings.word(a, i)}: not integrated yet`] });
      }
    });
    ctx.strokeStyle = stage.faint; ctx.strokeRect(left, top, right - left, bottom - top);
    this.outline(left + here[a] * w, top, w, bottom - top);
    ctx.fillStyle = stage.ink; ctx.textBaseline = "top"; ctx.textAlign = "center";
    let free = -Infinity;
    axis.values.forEach((v, i) => {
      const text = typeof v === "number" ? three(v) : String(v), half = ctx.measureText(text).width / 2, at = left + (i + 0.5) * w;
      if (at - half < free + 4) return;
      ctx.fillText(text, at, bottom + 4);
      free = at + half;
    });
    ctx.fillText(axis.label, (left + right) / 2, bottom + 17);
    ctx.textAlign = "right"; ctx.textBaseline = "middle";
    for (const r of ticks([0.5, d + 0.5], false)) if (r >= 1) ctx.fillText(String(r), left - 4, top + (r - 0.5) * h);
    ctx.save(); ctx.translate(left - 30, (top + bottom) / 2); ctx.rotate(-Math.PI / 2); ctx.textAlign = "center"; ctx.fillText("rank", 0, 0); ctx.restore();
    stage.canvas.dataset.overview = JSON.stringify({ along: axis.name, left, top, width: w, height: bottom - top, ends: ends.map((s) => s && [...s]) });
  }
}

const EXPECTED = { measured: "aligned growth, measured c", frozen: "closed form from this step on", none: "none" };

class TwoLayers extends Playground {
  constructor(stage) {
    super(stage);
    this.expected = "measured";
    this.logTime = true;
    stage.tools.append(dropdown("dashed", Object.values(EXPECTED), EXPECTED.measured, (v) => {
      this.expected = Object.keys(EXPECTED).find((key) => EXPECTED[key] === v);
      stage.redraw();
    }));
    stage.tools.append(checkbox("log time", true, (on) => { this.logTime = on; stage.redraw(); }));
    this.why = make("div", { className: "clnb-note", role: "status" });
    this.settings.note.after(this.why);
  }

  draw() {
    const { stage, settings } = this, now = settings.shown && settings.record(settings.shown), k = this.k;
    this.spots = [];
    if (!now) { stage.say("nothing has been integrated yet"); return; }
    this.now = now;
    const [, layers, d] = now.s.shape;
    Object.assign(this, { width: d, layers });
    const why = this.reason(), first = this.row(now.s, k, 0), grown = first.filter((v) => v > 1).length, spectrum = this.row(now.spectrum);
    if (this.why.textContent !== why) this.why.textContent = why;
    const [one, two, third] = this.rooms([Math.min(0.29, 310 / stage.width), 0, 0.27], [290, 270, 240]);
    const diagonal = now.a ? Array.from({ length: d }, (_, i) => this.row(now.a, k, i)[i]) : [];
    this.alignment(one);
    const ahead = this.trajectories(two);
    this.spectrum(third, spectrum);
    const aligned = diagonal.filter((v) => v >= 0.9).length, rank = effectiveRank([...spectrum]);
    this.tell([`step ${this.moments[k]} of ${this.moments.at(-1)}`, `loss ${three(now.loss[k])}`, `${grown} of ${d} directions of W1 above 1`, now.a ? `${aligned} aligned (|A| ≥ 0.9 on the diagonal)` : "",
      `effective rank of the embedding ${three(rank)}`, Number.isFinite(now.loss[k]) ? "" : "the integration has diverged: lower the learning rate"],
    { s: Array.from({ length: layers }, (_, l) => [...this.row(now.s, k, l)]), diagonal, spectrum, grown, aligned, layers, why, ahead, effective: rank, loss: now.loss[k] });
  }

  reason() {
    if (this.layers === 1) return this.stage.options.reasons[0];
    return this.settings.value("relu") || !this.now.ahead ? this.stage.options.reasons[1] : "";
  }

  describe(i) {
    const { now, k } = this, s = Array.from({ length: this.layers }, (_, l) => `W${l + 1} ${three(this.row(now.s, k, l)[i])}`).join(", ");
    return `direction ${i + 1}: ${s}${now.a ? `, |A| on the diagonal ${three(this.row(now.a, k, i)[i])}` : ""}, embedding ${three(this.row(now.spectrum)[i])}`;
  }

  alignment(room) {
    const { stage, now, k } = this, { ctx } = stage, d = this.width;
    const side = Math.min(room.width - 66, room.height - 66), left = room.x + 40, top = room.y + 24, cell = side / d;
    ctx.fillStyle = stage.ink; ctx.textAlign = "left"; ctx.textBaseline = "alphabetic"; ctx.font = "600 11px system-ui, sans-serif";
    ctx.fillText(cut(ctx, now.a ? "|A| = |V₂ᵀU₁|" : "no |A|", room.width - 20), left - 30, top - 10);
    ctx.font = "11px system-ui, sans-serif";
    if (!now.a) {
      ctx.strokeStyle = stage.faint; ctx.setLineDash([4, 4]); ctx.strokeRect(left, top, side, side); ctx.setLineDash([]);
      ctx.fillStyle = stage.faint; ctx.textAlign = "center";
      ["one layer:", "there is no second matrix", "to align with"].forEach((line, i) => ctx.fillText(line, left + side / 2, top + side / 2 + 15 * (i - 1)));
      return;
    }
    for (let r = 0; r < d; r++) {
      const values = this.row(now.a, k, r);
      values.forEach((v, c) => {
        this.shade(left + c * cell, top + r * cell, cell, cell, v);
        this.spots.push({ x: left + c * cell, y: top + r * cell, width: cell, height: cell, tip: () => [make("b", {}, `|A| = ${v.toFixed(3)}`),
          `direction ${c + 1} of W1 (u), direction ${r + 1} of W2 (v)`, `singular values: ${three(this.row(now.s, k, 0)[c])} and ${three(this.row(now.s, k, 1)[r])}`] });
      });
    }
    ctx.strokeStyle = stage.faint; ctx.strokeRect(left, top, side, side);
    if (this.rank >= 0) this.outline(left + this.rank * cell, top + this.rank * cell, cell, cell);
    ctx.fillStyle = stage.ink; ctx.textAlign = "center"; ctx.textBaseline = "top";
    for (const v of ticks([0.5, d + 0.5], false)) if (v >= 1) ctx.fillText(String(v), left + (v - 0.5) * cell, top + side + 4);
    ctx.fillText("direction of W1", left + side / 2, top + side + 17);
    ctx.textAlign = "right"; ctx.textBaseline = "middle";
    for (const v of ticks([0.5, d + 0.5], false)) if (v >= 1) ctx.fillText(String(v), left - 4, top + (v - 0.5) * cell);
    ctx.save(); ctx.translate(left - 26, top + side / 2); ctx.rotate(-Math.PI / 2); ctx.textAlign = "center"; ctx.fillText("direction of W2", 0, 0); ctx.restore();
    const key = left + side + 6, bar = 9;      // what the shades mean
    for (let i = 0; i < 20; i++) this.shade(key, top + side - ((i + 1) * side) / 20, bar, side / 20, (i + 0.5) / 20);
    ctx.strokeRect(key, top, bar, side);
    ctx.textAlign = "left"; ctx.fillText("1", key + bar + 3, top + 5); ctx.fillText("0", key + bar + 3, top + side - 5);
  }

  /** Expected singular values of the first layer, [d][T]; NaN where nothing is expected. */
  expectation() {
    const { now, k, layers, moments } = this, d = this.width, T = moments.length, none = () => new Float64Array(T).fill(NaN);
    if (!now.ahead || this.expected === "none") return [];
    if (this.expected === "measured") return Array.from({ length: d }, (_, i) => Float64Array.from(moments, (_, m) => this.row(now.ahead, m, 0)[i]));
    const rate = now.rate[0], c = this.row(now.c, k), meets = this.row(now.meets, k);
    return Array.from({ length: d }, (_, i) => {
      const out = none(), product = Array.from({ length: layers }, (_, l) => this.row(now.s, k, l)[i]).reduce((a, b) => a * b, 1) ** (1 / layers);
      if (meets[i] < 0.9) return out;
      for (let m = k; m < T; m++) {
        const t = rate * (moments[m] - moments[k]), p = 2 * layers - 2, inside = 1 - p * c[i] * product ** p * t;
        out[m] = layers === 1 ? product * Math.exp(c[i] * t) : inside > 0 ? product * inside ** (-1 / p) : NaN;
      }
      return out;
    });
  }

  trajectories(room) {
    const { stage, now, layers, moments, k } = this, { ctx } = stage, d = this.width, inks = [0, 1, 2, 4, 5, 9].map((i) => PALETTE[i]);
    const positive = now.s.filter((v) => v > 0 && Number.isFinite(v)), [low, high] = extent(positive);
    const log = this.logTime && moments.length > 2, begin = log ? moments[1] / 2 : moments[0], times = moments.map((m) => Math.max(m, begin));
    const axes = this.axesIn(room, { x: [begin, moments.at(-1)], logX: log, y: [Math.max(low / 1.5, high * 1e-7), high * 1.6], logY: true, xLabel: "training step", left: 54, right: 12 });
    this.frame(axes, "singular values of the layers", "singular value");
    const path = (l, i) => Float32Array.from(moments, (_, m) => this.row(now.s, m, l)[i]), ahead = this.expectation();
    for (let l = 0; l < layers; l++) for (let i = 0; i < d; i++)
      axes.line(times, path(l, i), { color: inks[l % inks.length], width: (i === this.rank ? 2.5 : 0) + Math.max(0.9, 2.6 - 0.8 * l) });
    for (const line of ahead) axes.line(times, line, { color: stage.ink, width: 1.3, dash: [5, 4] });
    axes.line([times[k], times[k]], [10 ** axes.y[0], 10 ** axes.y[1]], { color: stage.ink, width: 1 });
    ctx.textBaseline = "alphabetic"; ctx.textAlign = "right";
    let x = axes.right;
    const label = (text, ink) => { ctx.fillStyle = ink; ctx.fillText(text, x, axes.top - 10); x -= ctx.measureText(text).width + 8; };
    ctx.font = "600 11px system-ui, sans-serif";
    const titled = axes.left + 150;
    if (ahead.length && x - titled > 170) label("╌ expected", stage.ink);
    for (let l = layers - 1; l >= 0; l--) label(`━ W${l + 1}`, inks[l % inks.length]);
    ctx.font = "11px system-ui, sans-serif";
    this.spots.push({ x: axes.left, y: axes.top, width: axes.right - axes.left, height: axes.bottom - axes.top, tip: () => [] });
    const spot = this.spots.at(-1);
    spot.tip = () => this.near(axes, spot.event, ahead);
    spot.pick = () => { const m = this.momentAt(axes, spot.event); const steps = stage.model.get("steps") ?? [], at = steps.indexOf(moments[m]); if (at >= 0) stage.seek(at); };
    return ahead.map((line) => [...line].map((v) => (Number.isNaN(v) ? null : +v.toPrecision(6))));
  }

  spot(event) {
    const found = super.spot(event);
    if (found) found.event = event;
    return found;
  }

  momentAt(axes, event) {
    const step = axes.vx(this.stage.at(event)[0]);
    return this.moments.reduce((best, v, m) => (Math.abs(v - step) < Math.abs(this.moments[best] - step) ? m : best), 0);
  }

  /** The trajectory nearest to the mouse. */
  near(axes, event, ahead) {
    const { now, layers, moments } = this, m = this.momentAt(axes, event), y = this.stage.at(event)[1];
    let best = [0, 0], least = Infinity;
    for (let l = 0; l < layers; l++) this.row(now.s, m, l).forEach((v, i) => { const far = Math.abs(axes.py(v) - y); if (far < least) { least = far; best = [l, i]; } });
    const [, i] = best, wait = ahead[i]?.[m];
    return [make("b", {}, `step ${moments[m]}, direction ${i + 1}`), Array.from({ length: layers }, (_, l) => `W${l + 1}: ${three(this.row(now.s, m, l)[i])}`).join(", "),
      ...(now.c ? [`growth rate c = ${three(this.row(now.c, m)[i])}`] : []), ...(Number.isFinite(wait) ? [`expected: ${three(wait)}`] : [])];
  }

  spectrum(room, values) {
    const { stage, now } = this, { ctx } = stage, d = this.width, start = this.row(now.spectrum, 0), ranks = Array.from({ length: d }, (_, i) => i + 1);
    const [low, high] = extent(now.spectrum.filter((v) => v > 0 && Number.isFinite(v)));
    const axes = this.axesIn(room, { x: [0.5, d + 0.5], y: [Math.max(low, high * 1e-24) / 2, high * 2], logY: true, xLabel: "rank", left: 66, right: 8 });
    this.frame(axes, "embedding spectrum", "σ of the covariance");
    axes.line(ranks, start, { color: stage.faint, width: 1 });
    axes.line(ranks, values, { color: BLUE, width: 1.6 });
    values.forEach((v, i) => {
      const px = axes.px(i + 1), py = Math.min(axes.bottom, v > 0 ? axes.py(v) : axes.bottom), half = (axes.right - axes.left) / d / 2;
      ctx.fillStyle = BLUE; ctx.beginPath(); ctx.arc(px, py, i === this.rank ? 6 : 3.5, 0, 7); ctx.fill();
      this.spots.push({ x: px - half, y: axes.top, width: 2 * half, height: axes.bottom - axes.top, tip: () => [make("b", {}, `rank ${i + 1}: ${three(v)}`), `at the start: ${three(start[i])}`] });
    });
    ctx.textAlign = "right"; ctx.textBaseline = "alphabetic"; ctx.fillStyle = stage.faint; ctx.fillText("grey: start", axes.right, axes.top + 6);
  }
}

export default {
  render({ model, el }) {
    const two = (model.get("options") ?? {}).kind === "two layers";
    const stage = new Stage({ model, el }, { title: two ? "Two layers: alignment and growth" : "One layer: noise stronger than the data", height: 290,
      help: "← → move through the steps, space plays, ↑ ↓ go through the directions" });
    const view = two ? new TwoLayers(stage) : new Augmentation(stage);
    return stage.start(() => view.draw());
  },
};
