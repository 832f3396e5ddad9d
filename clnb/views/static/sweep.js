// SpectrumSweep: singular values of many runs, a slider for every setting, one run pinned as a comparison. See 07k_sweep.ipynb.

const SCALES = { log: "logarithmic axis", ln: "natural logarithm", linear: "as they are" };
const RANKS = ["effective rank", "of the covariance", "RankMe", "collapsed fraction"];

/** The run at `wanted` (positions among the values of the settings), or the nearest one that agrees with it in setting `fixed`. */
function nearestRun(settings, places, wanted, fixed) {
  const apart = (place) => place.reduce((sum, at, i) => {
    const far = Math.abs(at - wanted[i]);
    if (i === fixed) return far ? Infinity : sum;
    return sum + (settings[i].values ? far / Math.max(settings[i].labels.length - 1, 1) : Math.min(far, 1));
  }, 0);
  const distances = places.map(apart);
  return distances.indexOf(Math.min(...distances));
}

/** Axes whose ticks along x are given, and whose label stands beside them wherever they are. */
class SweepAxes extends Axes {
  constructor(stage, given) { super(stage, given); this.at = given.at; }
  draw() {
    const { ctx, ink, faint } = this.stage, { left, right, top, bottom } = this;
    ctx.save();
    ctx.strokeStyle = faint; ctx.fillStyle = ink; ctx.lineWidth = 1;
    ctx.beginPath(); ctx.moveTo(left, top); ctx.lineTo(left, bottom); ctx.lineTo(right, bottom); ctx.stroke();
    ctx.textAlign = "center"; ctx.textBaseline = "top";
    let free = -Infinity;
    for (const [v, text] of this.at ?? ticks(this.x, this.logX).map((v) => [v, short(v)])) {
      const shown = cut(ctx, text, 90), wide = ctx.measureText(shown).width, x = Math.min(this.px(v), right + 12 - wide / 2);
      if (x - wide / 2 < free) continue;
      ctx.fillText(shown, x, bottom + 4);
      free = x + wide / 2 + 5;
    }
    ctx.fillText(cut(ctx, this.xLabel, right - left), (left + right) / 2, bottom + 17);
    ctx.textAlign = "right"; ctx.textBaseline = "middle";
    for (const v of ticks(this.y, this.logY)) ctx.fillText(short(v), left - 4, this.py(v));
    ctx.translate(left - 46, (top + bottom) / 2); ctx.rotate(-Math.PI / 2);
    ctx.textAlign = "center";
    ctx.fillText(cut(ctx, this.yLabel, bottom - top + 20), 0, 0);
    ctx.restore();
  }
}

class SweepView {
  constructor(stage) {
    const o = stage.options;
    Object.assign(this, { stage, names: o.names, settings: o.settings, places: o.places, controls: [], said: "", hidden: new Set(), number: o.number,
      set: { normalised: o.normalised, covariance: o.covariance, largest: o.largest, scale: o.scale, others: true } });
    const toggle = (label, key) => checkbox(label, this.set[key], (on) => { this.set[key] = on; stage.redraw(); });
    const scale = dropdown("drawn", Object.values(SCALES), SCALES[this.set.scale],
      (text) => { this.set.scale = Object.keys(SCALES).find((key) => SCALES[key] === text); stage.redraw(); });
    this.sliders = make("div", { className: "clnb-tools", role: "group", "aria-label": "settings of the run" });
    this.settings.forEach((setting, s) => { if (setting.labels.length > 1) this.sliders.append(this.control(setting, s)); });
    this.pinButton = make("button", { type: "button", title: "keep this run as a dashed comparison (p)", onclick: () => this.pin() }, "pin this run");
    this.sliders.append(this.pinButton);
    stage.tools.before(this.sliders);
    stage.tools.append(toggle("rows normalised first", "normalised"), toggle("of the covariance", "covariance"), toggle("largest = 1", "largest"), scale, toggle("other runs", "others"));
    this.message = make("div", { className: "clnb-note", role: "status", "aria-live": "polite" });
    this.choice = make("select", { "aria-label": "number in the small panel", onchange: () => { this.number = this.choice.value; stage.redraw(); } });
    this.choiceRow = make("label", { className: "clnb-slider" }, make("span", {}, "small panel"), this.choice);
    this.table = make("table", { "aria-label": "numbers of the shown run and of the pinned one", style: { borderCollapse: "collapse", fontVariantNumeric: "tabular-nums" } });
    const scroll = make("div", { tabIndex: 0, role: "group", "aria-label": "numbers", style: { overflowX: "auto" } }, this.table);
    stage.body.after(this.message, this.choiceRow, scroll);
    this.listen();
  }

  listen() {
    const { stage } = this, { canvas } = stage;
    for (const name of ["shown", "pinned", "moving"]) stage.listen(`change:${name}`, () => stage.redraw());
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => stage.showTip());
    canvas.addEventListener("click", (event) => { const point = this.pointAt(event); if (point) this.choose(point.run, `${this.settings[this.moving].name} ${this.words(point.run, this.moving)}`); });
    const along = (by) => () => this.step(by), turn = (by) => () => this.turn(by);
    stage.keys = { ArrowRight: along(1), ArrowLeft: along(-1), ArrowUp: turn(-1), ArrowDown: turn(1), p: () => this.pin(),
      Escape: () => { if (this.pinned >= 0) this.write({ pinned: -1 }); } };
  }

  get shown() { return this.stage.model.get("shown") ?? 0; }
  get pinned() { return this.stage.model.get("pinned") ?? -1; }
  get moving() { return this.stage.model.get("moving") ?? 0; }
  write(values) {
    for (const [key, value] of Object.entries(values)) this.stage.model.set(key, value);
    this.stage.model.save_changes();
    this.stage.redraw();
  }

  /** A slider over the values of a setting, buttons for few words, a list for many; `write(k)` shows a value. */
  control(setting, s) {
    const { name, labels, values } = setting, go = (k) => this.go(s, k);
    let row;
    if (values) {
      row = slider(name, { min: 0, max: labels.length - 1, step: 1, value: 0, show: (k) => labels[k] }, go);
      const input = row.querySelector("input"), plain = row.write;
      row.write = (k) => { if (+input.value !== k || row.known === undefined) { plain(k); input.setAttribute("aria-valuetext", labels[k]); } row.known = k; };
      row.querySelector("output").style.minWidth = `${Math.max(...labels.map((l) => l.length))}ch`;
    } else if (labels.length <= 6 && labels.join("").length < 60) {
      const buttons = labels.map((label, k) => make("button", { type: "button", onclick: () => go(k) }, label));
      row = make("span", { className: "clnb-slider", role: "group", "aria-label": name }, make("span", {}, name), make("span", { className: "clnb-modes" }, ...buttons));
      row.write = (k) => buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === k)));
    } else {
      row = dropdown(name, labels, labels[0], (label) => go(labels.indexOf(label)));
      row.write = (k) => { row.querySelector("select").value = labels[k]; };
    }
    row.style.borderBottom = "2px solid transparent";
    this.controls[s] = row;
    return row;
  }

  words(run, ...only) {
    return this.settings.map((setting, s) => [s, setting, setting.labels[this.places[run][s]]]).filter(([s]) => !only.length || only.includes(s))
      .map(([, setting, label]) => (only.length === 1 ? label : `${setting.name} ${label}`)).join(" · ");
  }

  /** Bring a setting to its k-th value: the run there, or the nearest that exists. */
  go(s, k) {
    const wanted = [...this.places[this.shown]];
    wanted[s] = k;
    const run = nearestRun(this.settings, this.places, wanted, s);
    const exact = this.places[run].every((at, i) => at === wanted[i]);
    this.said = exact ? "" : `There is no run with ${this.settings.map((setting, i) => `${setting.name} ${setting.labels[wanted[i]]}`).join(", ")}: the nearest that exists is shown.`;
    this.write({ moving: s, shown: run });
  }

  choose(run) { this.said = ""; this.write({ shown: run }); }
  step(by) {
    const count = this.settings[this.moving].labels.length, k = this.places[this.shown][this.moving] + by;
    if (k >= 0 && k < count) this.go(this.moving, k);
  }
  turn(by) {
    const free = this.settings.map((_, s) => s).filter((s) => this.settings[s].labels.length > 1), at = free.indexOf(this.moving);
    if (free.length) { this.said = `The arrow keys now move ${this.settings[free[(at + by + free.length) % free.length]].name}.`; this.write({ moving: free[(at + by + free.length) % free.length] }); }
  }
  pin() { this.write({ pinned: this.pinned === this.shown ? -1 : this.shown }); }

  /** What is drawn of a spectrum. */
  drawn(entry) {
    const { normalised, covariance, largest, scale } = this.set, [, count] = entry.values.shape;
    const raw = (entry.raw ??= unpack(entry.values)), part = raw.subarray(normalised ? count : 0, normalised ? 2 * count : count);
    let s = Float64Array.from(part, covariance ? (v) => (v * v) / Math.max(entry.shape[0] - this.stage.options.ddof, 1) : (v) => v);
    if (largest && s[0] > 0) { const most = s[0]; s = s.map((v) => v / most); }
    return scale === "ln" ? s.map((v) => Math.log(v)) : s;
  }

  floor(entry, y) {
    const relative = this.set.covariance ? entry.floor ** 2 : entry.floor;
    return this.set.scale === "ln" ? y[0] + Math.log(relative) : y[0] * relative;
  }

  draw(frame) {
    const { stage } = this;
    this.controls.forEach((control, s) => {
      control?.write(this.places[this.shown][s]);
      if (control) control.style.borderBottomColor = s === this.moving && this.settings.filter((x) => x.labels.length > 1).length > 1 ? "var(--clnb-focus)" : "transparent";
    });
    this.entries = new Map();
    for (const entry of frame.spectra ?? []) {
      if (!this.entries.has(entry.run)) this.entries.set(entry.run, []);
      this.entries.get(entry.run)[entry.name] = entry;
    }
    this.recorded = frame.recorded ?? [];
    this.row = this.places.map((_, i) => i).filter((i) => this.places[i].every((at, s) => s === this.moving || at === this.places[this.shown][s]))
      .sort((a, b) => this.places[a][this.moving] - this.places[b][this.moving]);
    this.showWords(frame);
    this.layout();
    this.fillChoice();
    this.paintSpectra(frame);
    this.paintPanel();
    this.fillTable();
    this.tell(frame);
  }

  get panelled() { return this.settings[this.moving].labels.length > 1 && this.entries.size > 0; }

  layout() {
    const { stage } = this, wide = stage.width >= 620, height = `${wide || !this.panelled ? 290 : 470}px`;
    if (stage.canvas.style.height !== height) { stage.canvas.style.height = height; stage.fit(); }
    this.wide = wide;
    this.choiceRow.hidden = !this.panelled;
    this.choiceRow.style.display = this.panelled ? "" : "none";
  }

  showWords(frame) {
    const here = this.entries.get(this.shown) ?? [], few = here.filter(Boolean).find((e) => e.shape[0] <= e.shape[1]);
    const why = here.filter((e) => e?.why).map((e) => `${this.names[e.name]}: ${e.why}.`);
    const parts = [this.said, ...why, !here.length && this.entries.size ? "Nothing has been recorded for this run at this step." : "",
      few ? `${few.shape[0]} rows span at most ${few.shape[0] - 1} of ${few.shape[1]} directions.` : ""].filter(Boolean);
    const text = parts.join(" ");
    if (this.message.textContent !== text) this.message.textContent = text;
    this.pinButton.textContent = this.pinned === this.shown ? "unpin" : this.pinned >= 0 ? "pin this run instead" : "pin this run";
    this.pinButton.setAttribute("aria-pressed", String(this.pinned === this.shown));
  }

  paintSpectra(frame) {
    const { stage, set } = this, { ctx } = stage;
    this.axes = null;
    this.lines = [];
    for (const [run, entries] of this.entries) for (const entry of entries) {
      if (!entry?.values.shape[1] || this.hidden.has(entry.name)) continue;
      this.lines.push({ run, name: entry.name, entry, y: this.drawn(entry), ink: INKS[entry.name % INKS.length] });
    }
    if (!this.lines.length) return stage.say(frame.note ?? (this.hidden.size ? "every line is switched off" : "nothing has been recorded yet"));
    const seen = set.others ? this.lines : this.lines.filter((l) => l.run === this.shown || l.run === this.pinned), all = seen.length ? seen : this.lines;
    const logY = set.scale === "log", counted = all.map((l) => l.y.filter((v) => Number.isFinite(v) && (!logY || v > 0)));
    let [low, high] = extent(...counted);
    const floors = all.map((l) => this.floor(l.entry, l.y)), floor = Math.min(...floors);
    if (logY) [low, high] = [Math.max(low, floor / 30) / 1.5, high * 1.5];
    else if (set.scale === "ln") [low, high] = [Math.max(low, floor - 3) - 0.3, high + 0.3];
    else [low, high] = [0, high * 1.05];
    const beside = this.wide && this.panelled, quantity = set.covariance ? "singular value s of the covariance" : "singular value σ of the rows";
    const axes = (this.axes = new SweepAxes(stage, { x: [1, Math.max(2, ...all.map((l) => l.y.length))], y: [low, high], logY, left: 56, top: 10,
      right: beside ? stage.width * 0.37 : 12, bottom: this.wide || !this.panelled ? 32 : 220, xLabel: "rank of the singular value",
      yLabel: `${set.scale === "ln" ? "ln " : ""}${quantity}${set.largest ? " ÷ largest" : ""}` }));
    axes.draw();
    const ranks = (y) => Float32Array.from(y, (_, i) => i + 1);
    const rank = (l) => (l.run === this.shown ? 3 : l.run === this.pinned ? 2 : this.row.includes(l.run) ? 1 : 0);
    for (const l of [...seen].sort((a, b) => rank(a) - rank(b))) {
      const k = rank(l);
      ctx.globalAlpha = [0.28, 0.45, 1, 1][k];
      axes.line(ranks(l.y), l.y, { color: l.ink, width: [1, 1, 1.7, 2.4][k], dash: k === 2 ? [6, 4] : [] });
      if (l.y.length < 4 && k) for (let i = 0; i < l.y.length; i++) if (Number.isFinite(l.y[i])) { ctx.fillStyle = l.ink; ctx.fillRect(axes.px(i + 1) - 2.5, axes.py(l.y[i]) - 2.5, 5, 5); }
    }
    ctx.globalAlpha = 1;
    this.rounding(seen.filter((l) => l.run === this.shown), low);
  }

  rounding(lines, low) {
    const { ctx, faint } = this.stage, { axes } = this, floor = Math.max(...lines.map((l) => this.floor(l.entry, l.y)));
    if (!lines.length || this.set.scale === "linear" || !(floor > low)) return;
    ctx.save(); ctx.globalAlpha = 0.7;
    axes.line(this.axes.x, [floor, floor], { color: faint, width: 1 });
    ctx.fillStyle = faint; ctx.textAlign = "left"; ctx.textBaseline = "alphabetic";
    ctx.fillText(cut(ctx, "rounding of the numbers", axes.right - axes.left - 10), axes.left + 6, axes.py(floor) - 4);
    ctx.restore();
  }

  /** The numbers that can be drawn along a setting: of the spectra, and recorded ones. */
  fillChoice() {
    const names = [...RANKS, ...new Set(this.recorded.flatMap((found) => Object.keys(found)))];
    if (names.join("\n") === this.choices?.join("\n")) return;
    this.choices = names;
    this.choice.replaceChildren(...names.map((name) => make("option", { value: name }, name === "of the covariance" ? "effective rank of the covariance" : name)));
    if (!names.includes(this.number)) this.choice.append(make("option", { value: this.number }, this.number));
    this.choice.value = this.number;
  }

  /** The curves of the panel for the runs of a row: [{ name, points: [{ run, x, y }] }]. */
  curves(row) {
    const found = [], at = (run) => this.places[run][this.moving], values = this.settings[this.moving].values;
    const curve = (name, ink, read) => {
      const points = row.map((run) => ({ run, x: values ? values[at(run)] : at(run), y: read(run) })).filter((p) => Number.isFinite(p.y));
      if (points.length) found.push({ name, ink, points });
    };
    if (!RANKS.includes(this.number)) curve(this.number, this.stage.ink, (run) => this.recorded[run]?.[this.number]);
    else this.names.forEach((name, k) => { if (!this.hidden.has(k)) curve(name, INKS[k % INKS.length], (run) => this.entries.get(run)?.[k]?.numbers[this.number]?.[+this.set.normalised]); });
    return found;
  }

  paintPanel() {
    const { stage } = this, { ctx } = stage;
    this.panel = null;
    this.found = [];
    if (!this.panelled) return;
    const setting = this.settings[this.moving], { values, labels } = setting, x = values ?? labels.map((_, i) => i);
    const rows = new Map();
    this.places.forEach((place, run) => { const key = place.filter((_, s) => s !== this.moving).join(); rows.set(key, [...(rows.get(key) ?? []), run]); });
    const others = this.set.others ? [...rows.values()].filter((row) => !row.includes(this.shown)).flatMap((row) => this.curves(row.sort((a, b) => this.places[a][this.moving] - this.places[b][this.moving]))) : [];
    this.found = this.curves(this.row);
    const pinned = this.pinned >= 0 && this.row.includes(this.pinned) ? this.pinned : null;
    let [low, high] = extent(...[...this.found, ...others].map((c) => c.points.map((p) => p.y)));
    [low, high] = [Math.min(0, low), high > 0 ? high * 1.08 : 1];
    const logX = Boolean(values) && x[0] > 0 && x[x.length - 1] >= 8 * x[0], pad = logX ? (x[x.length - 1] / x[0]) ** 0.04 : (x[x.length - 1] - x[0]) * 0.04 || 0.5;
    const label = this.number === "of the covariance" ? "effective rank of the covariance" : this.number;
    const axes = (this.panel = new SweepAxes(stage, { x: logX ? [x[0] / pad, x[x.length - 1] * pad] : [x[0] - pad, x[x.length - 1] + pad], y: [low, high], logX,
      left: this.wide ? stage.width * 0.63 + 66 : 56, top: this.wide ? 10 : stage.height - 170, right: 12, bottom: 32, xLabel: setting.name, yLabel: label, at: x.map((v, i) => [v, labels[i]]) }));
    axes.draw();
    const now = x[this.places[this.shown][this.moving]];
    axes.line([now, now], axes.y, { color: stage.faint, dash: [2, 3], width: 1 });
    ctx.globalAlpha = 0.22;
    for (const c of others) axes.line(c.points.map((p) => p.x), c.points.map((p) => p.y), { color: c.ink, width: 1 });
    ctx.globalAlpha = 1;
    for (const c of this.found) {
      axes.line(c.points.map((p) => p.x), c.points.map((p) => p.y), { color: c.ink, width: 1.8 });
      for (const p of c.points) this.dot(axes, c, p, p.run === this.shown, p.run === pinned);
    }
  }

  dot(axes, curve, { x, y }, shown, pinned) {
    const { ctx, paper } = this.stage;
    ctx.beginPath(); ctx.arc(axes.px(x), axes.py(y), shown ? 5.5 : 3.5, 0, 7);
    ctx.fillStyle = pinned && !shown ? paper : curve.ink; ctx.fill();
    ctx.strokeStyle = curve.ink; ctx.lineWidth = 1.5; ctx.setLineDash(pinned ? [2, 2] : []); ctx.stroke(); ctx.setLineDash([]);
  }

  fillTable() {
    const runs = [this.shown, ...(this.pinned >= 0 && this.pinned !== this.shown ? [this.pinned] : [])], at = +this.set.normalised;
    const three = (v) => (Number.isFinite(v) ? String(+v.toPrecision(3)) : "–");
    const cell = (tag, text, more = {}) => make(tag, { ...more, style: { padding: "1px 10px 1px 0", textAlign: tag === "td" ? "right" : "left", fontWeight: tag === "th" && !more.scope ? "600" : "400", verticalAlign: "bottom", whiteSpace: more.scope === "colgroup" ? "normal" : "nowrap" } }, text);
    const heads = runs.map((run, i) => cell("th", `${i ? "┅ pinned: " : "━ shown: "}${this.words(run)}`, { colSpan: this.names.length, scope: "colgroup" }));
    const own = [...new Set(runs.flatMap((run) => Object.keys(this.recorded[run] ?? {})))];
    const of = (run, k) => this.entries.get(run)?.[k];
    const size = (entry) => (entry ? `${entry.shape[0]} × ${entry.shape[1]}` : "–");
    const rows = [make("tr", {}, cell("td", ""), ...heads), make("tr", {}, cell("td", ""), ...runs.flatMap((run, i) => this.names.map((_, k) => this.nameCell(k, i)))),
      ...RANKS.map((name) => make("tr", {}, cell("th", name === "of the covariance" ? "… of the covariance" : name, { scope: "row" }), ...runs.flatMap((run) => this.names.map((_, k) => cell("td", three(of(run, k)?.numbers[name]?.[at])))))),
      ...own.map((name) => make("tr", {}, cell("th", name, { scope: "row" }), ...runs.map((run) => cell("td", three(this.recorded[run]?.[name]), { colSpan: this.names.length })))),
      make("tr", {}, cell("th", "rows × columns", { scope: "row" }), ...runs.flatMap((run) => this.names.map((_, k) => cell("td", size(of(run, k))))))];
    const text = rows.map((row) => row.innerText ?? row.textContent).join("\n") + [...this.hidden].join();
    if (text === this.written) return;
    this.written = text;
    const focus = this.table.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    this.table.replaceChildren(...rows);
    if (focus != null) this.table.querySelector(`button[data-name="${focus}"]`)?.focus();
  }

  /** The head of a column: of the shown run a button that hides or shows the lines. */
  nameCell(k, i) {
    const swatch = make("span", { style: { color: INKS[k % INKS.length] } }, i ? "┅ " : "━ "), style = { padding: "1px 10px 1px 0", textAlign: "right" };
    if (i) return make("th", { scope: "col", style: { ...style, fontWeight: "400" } }, swatch, this.names[k]);
    const button = make("button", { type: "button", className: "clnb-chip", title: "hide or show these lines", "aria-pressed": String(!this.hidden.has(k)), style: { maxWidth: "none" },
      onclick: () => { if (!this.hidden.delete(k)) this.hidden.add(k); this.stage.redraw(); } }, swatch, make("b", {}, this.names[k]));
    button.dataset.name = k;
    return make("th", { scope: "col", style }, button);
  }

  /** What a screen reader hears of the picture, and what tests read. */
  tell(frame) {
    const { stage } = this, at = +this.set.normalised, here = this.entries.get(this.shown) ?? [];
    const numbers = Object.fromEntries(here.filter(Boolean).map((e) => [this.names[e.name], Object.fromEntries(Object.entries(e.numbers).map(([key, pair]) => [key, pair[at]]))]));
    const said = Object.entries(numbers).map(([name, found]) => `${name} effective rank ${found["effective rank"]?.toPrecision(3) ?? "not known"}`).join(", ");
    stage.canvas.setAttribute("aria-label", `Singular values of the run with ${this.words(this.shown)}: ${said}.${this.pinned >= 0 ? ` Compared with ${this.words(this.pinned)}.` : ""}`);
    const brief = (l) => ({ run: l.run, name: this.names[l.name], count: l.y.length, first: l.y[0], last: l.y[l.y.length - 1] });
    Object.assign(stage.root.dataset, { shown: this.shown, pinned: this.pinned, moving: this.moving, words: this.words(this.shown), numbers: JSON.stringify(numbers),
      set: JSON.stringify(this.set), step: frame.step ?? "" });
    Object.assign(stage.canvas.dataset, { lines: JSON.stringify(this.lines.map(brief)),
      panel: JSON.stringify(this.found.map((c) => ({ name: c.name, points: c.points.map((p) => [p.run, p.x, p.y, this.panel.px(p.x), this.panel.py(p.y)]) }))) });
  }

  /** The dot of the small panel under the mouse. */
  pointAt(event) {
    if (!this.panel) return null;
    const [x, y] = this.stage.at(event), all = this.found.flatMap((c) => c.points.map((p) => ({ ...p, name: c.name, far: Math.hypot(this.panel.px(p.x) - x, this.panel.py(p.y) - y) })));
    const best = all.reduce((a, b) => (b.far < a.far ? b : a), { far: Infinity });
    return best.far < 14 ? best : null;
  }

  hover(event) {
    const { stage, axes } = this, point = this.pointAt(event), [x, y] = stage.at(event);
    stage.canvas.style.cursor = point ? "pointer" : "";
    if (point) return stage.showTip(event, make("b", {}, this.words(point.run)), `${this.number} of ${point.name}: ${point.y.toPrecision(4)}`, "click to show this run");
    const i = axes ? Math.round(axes.vx(x)) : 0;
    if (i < 1 || x < axes.left - 4 || x > axes.right + 4 || y > axes.bottom + 20 || i > axes.x[1]) return stage.showTip();
    const seen = this.lines.filter((l) => l.run === this.shown || l.run === this.pinned), number = (l) => (i <= l.y.length ? l.y[i - 1].toPrecision(4) : "–");
    stage.showTip(event, make("b", {}, `singular value ${i}`), ...seen.map((l) => make("div", {},
      make("span", { style: { color: l.ink } }, l.run === this.shown ? "━ " : "┅ "), `${this.names[l.name]}${l.run === this.shown ? "" : " (pinned)"}: ${number(l)}`)));
  }
}

export default {
  render({ model, el }) {
    const stage = new Stage({ model, el }, { title: "Spectra of a sweep", height: 290,
      help: "← →: move the underlined setting · ↑ ↓: choose another · p: pin this run, Esc: unpin · click a dot: show its run" });
    const view = new SweepView(stage);
    return stage.start((frame) => view.draw(frame));
  },
};
