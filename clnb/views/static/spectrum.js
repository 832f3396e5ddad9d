// Spectrum: singular values on a logarithmic scale, or cumulative energy; the images at the two ends of a direction; the
// spectrum of the selected rows as a dashed line. See 07a_live.ipynb.

/** What is drawn of singular values, largest first: as they are, divided by the largest, or cumulative energy. */
function shown(values, { normalised, energy }) {
  if (!energy) return normalised && values[0] > 0 ? values.map((v) => v / values[0]) : values;
  const total = values.reduce((sum, v) => sum + v * v, 0) || 1;
  let sum = 0;
  return values.map((v) => (sum += v * v) / total);
}

/** Eigenvalues of a symmetric n x n matrix, largest first, by Jacobi rotations; the matrix is overwritten. */
function eigenvalues(a, n) {
  for (let sweep = 0; sweep < 30; sweep++) {
    let off = 0, all = 0;
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) { all += a[i * n + j] ** 2; if (i !== j) off += a[i * n + j] ** 2; }
    if (off <= 1e-26 * all) break;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) {
      const g = a[p * n + q];
      if (Math.abs(g) <= 1e-300) continue;
      const h = (a[q * n + q] - a[p * n + p]) / (2 * g), t = (h < 0 ? -1 : 1) / (Math.abs(h) + Math.sqrt(h * h + 1));
      const c = 1 / Math.sqrt(t * t + 1), s = t * c;
      for (let k = 0; k < n; k++) {
        const x = a[k * n + p], y = a[k * n + q];
        a[k * n + p] = c * x - s * y; a[k * n + q] = s * x + c * y;
      }
      for (let k = 0; k < n; k++) {
        const x = a[p * n + k], y = a[q * n + k];
        a[p * n + k] = c * x - s * y; a[q * n + k] = s * x + c * y;
      }
    }
  }
  return Float64Array.from({ length: n }, (_, i) => a[i * n + i]).sort().reverse();
}

/** Singular values of rows (arrays of d numbers), largest first, centred or as they are. */
function singularValues(rows, d, centred) {
  const n = rows.length, mean = new Float64Array(d);
  if (centred) for (const row of rows) for (let j = 0; j < d; j++) mean[j] += row[j] / n;
  const x = rows.map((row) => Float64Array.from(row, (v, j) => v - mean[j])), side = Math.min(n, d), gram = new Float64Array(side * side);
  if (d <= n) for (const row of x) for (let i = 0; i < d; i++) for (let j = 0; j < d; j++) gram[i * d + j] += row[i] * row[j];
  else for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) for (let k = 0; k < d; k++) gram[i * n + j] += x[i][k] * x[j][k];
  return eigenvalues(gram, side).map((v) => Math.sqrt(Math.max(v, 0)));
}

/** What Python's `spectrum_of` says of some rows. */
function spectrumOf(rows, d) {
  const values = singularValues(rows, d, true), raw = singularValues(rows, d, false), count = rows.length;
  const sum = (v, f) => v.reduce((total, value) => total + f(value), 0), total = sum(values, (v) => v);
  if (!(values[0] > 1e-6 * raw[0])) return { values, count, text: `all rows are equal: rank 0 · ${count} × ${d}` };
  const entropy = -sum(values, (v) => (v > 0 ? (v / total) * Math.log(v / total) : 0)), whole = sum(raw, (v) => v);
  const rankMe = Math.exp(-sum(raw, (v) => (v / whole + 1e-7) * Math.log(v / whole + 1e-7)));
  const ratio = sum(values, (v) => v * v) ** 2 / sum(values, (v) => v ** 4), three = (v) => String(+v.toPrecision(3));
  return { values, count, text: `RankMe ${three(rankMe)} · effective rank ${three(Math.exp(entropy))} · participation ratio ${three(ratio)} · ${count} × ${d}` };
}

/** How many, their sum and the sum of their squares modulo 2^32: `marked` in Python. */
function marked(rows) {
  let sum = 0, squares = 0n;
  for (const row of rows) { sum = (sum + row) % 2 ** 32; squares = BigInt.asUintN(32, squares + BigInt(row) * BigInt(row)); }
  return [rows.length, sum, Number(squares)].join();
}

const percent = (share) => `${share >= 0.1 ? (100 * share).toFixed(0) : +(100 * share).toPrecision(2)} %`;

class SpectrumView {
  constructor(stage) {
    this.stage = stage;
    this.settings = { normalised: stage.options.normalised ?? true, energy: false };
    this.hidden = new Set();          // labels of the lines that are switched off
    this.entries = new Map();         // label -> parts of its legend entry
    this.lines = [];
    this.cursor = null;               // { label, i }: the direction under the keyboard
    this.open = null;                 // { label, i }: the direction whose ends are shown
    this.selectEnds = true;
    this.ours = "";                   // the rows that this view has selected
    const toggle = (label, key) => checkbox(label, this.settings[key], (on) => { this.settings[key] = on; stage.redraw(); });
    stage.tools.append(toggle("largest = 1", "normalised"), toggle("cumulative energy", "energy"));
    this.legend = make("ul", { "aria-label": "spectra; press one to hide or show it", style: { listStyle: "none", margin: "2px 0", padding: 0 } });
    this.waiting = make("div", { className: "clnb-note", role: "status" });
    this.panel = this.makePanel();
    stage.body.after(this.legend, this.waiting, this.panel);
    const { canvas } = stage;
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => stage.showTip());
    canvas.addEventListener("click", (event) => this.click(event));
    stage.keys = { ArrowRight: () => this.move(1, 0), ArrowLeft: () => this.move(-1, 0), ArrowDown: () => this.move(0, 1),
      ArrowUp: () => this.move(0, -1), Enter: () => this.cursor && this.show(this.cursor), Escape: () => this.close() };
  }

  makePanel() {
    this.words = make("div", { role: "status", "aria-live": "polite" });
    const strip = (name) => make("div", { className: "clnb-thumbs", role: "group", "aria-label": name, style: { flex: "1 1 0", minWidth: "220px", gap: "4px" } });
    this.low = strip("low end");
    this.high = strip("high end");
    const close = make("button", { type: "button", "aria-label": "close the direction", onclick: () => { this.close(); this.stage.redraw(); } }, "close");
    const choose = checkbox("select the ends", true, (on) => { this.selectEnds = on; if (on) this.takeEnds(); });
    return make("div", { hidden: true, "aria-label": "the two ends of a direction", role: "group",
      style: { borderTop: "1px solid var(--clnb-line)", marginTop: "4px", paddingTop: "4px" } },
      make("div", { className: "clnb-row", style: { justifyContent: "space-between", flexWrap: "wrap" } }, this.words,
        make("span", { className: "clnb-row" }, choose, close)),
      make("div", { style: { display: "flex", flexWrap: "wrap", gap: "6px 24px" } }, this.low, this.high));
  }

  draw(frame) {
    const { stage, settings } = this, { ctx } = stage;
    this.lines = (frame.lines ?? []).map((line, i) => ({ ...line, ink: INKS[i % INKS.length], raw: unpack(line.values), part: this.part(frame, line) }));
    for (const line of this.lines) {
      line.y = shown(line.raw, settings);
      if (line.part?.values) line.part.y = shown(line.part.values, settings);
    }
    this.showLegend();
    this.waiting.textContent = this.lines.map((line) => line.part?.why).find(Boolean) ?? "";
    const seen = this.lines.filter((line) => line.y.length && !this.hidden.has(line.label));
    stage.canvas.setAttribute("aria-label", `Spectrum. ${this.lines.map((line) => `${line.label}: ${line.text}`).join("; ")}`);
    this.axes = null;
    if (!this.lines.some((line) => line.y.length)) { ctx.fillStyle = stage.ink; ctx.fillText(frame.note ?? "nothing has been recorded yet", 10, 20); return; }
    if (seen.length) this.paint(frame, seen);
    this.refreshPanel();
    const note = (y) => ({ count: y.length, first: y[0], last: y[y.length - 1] });
    stage.canvas.dataset.lines = JSON.stringify(seen.map((line) => ({ label: line.label, ...note(line.y), ink: line.ink,
      selected: line.part?.y ? { rows: line.part.count, ...note(line.part.y) } : null })));
  }

  paint(frame, seen) {
    const { stage, settings } = this, { ctx } = stage, all = seen.flatMap((line) => (line.part?.y ? [line.y, line.part.y] : [line.y]));
    const floor = frame.floor * (settings.normalised ? 1 : Math.max(...seen.map((line) => line.y[0]))), logY = !settings.energy;
    let [low, high] = settings.energy ? [0, 1] : extent(...all.map((y) => y.filter((v) => v > 0)));
    if (logY) low = Math.max(low, floor / 30);
    const axes = (this.axes = new Axes(stage, { x: [1, Math.max(2, ...all.map((y) => y.length))], y: logY ? [low / 1.3, high * 1.3] : [0, 1.02],
      logY, left: 58, right: 14, xLabel: "rank of the singular value",
      yLabel: settings.energy ? "share of the variance" : settings.normalised ? "σ ÷ largest" : "singular value σ" }));
    axes.draw();
    if (logY && floor > low / 1.3) {
      ctx.save(); ctx.globalAlpha = 0.6;
      axes.line(axes.x, [floor, floor], { color: stage.faint, width: 1 });
      ctx.fillStyle = stage.faint; ctx.fillText("rounding of 32-bit numbers", axes.left + 6, axes.py(floor) - 4);
      ctx.restore();
    }
    const steps = (y) => Float32Array.from(y, (_, i) => i + 1);
    for (const { y, ink, part } of seen) {
      axes.line(steps(y), y, { color: ink, width: 1.8 });
      if (part?.y) axes.line(steps(part.y), part.y, { color: ink, width: 1.6, dash: [5, 4] });
      ctx.fillStyle = ink;
      if (y.length < 3) for (let i = 0; i < y.length; i++) ctx.fillRect(axes.px(i + 1) - 2, axes.py(y[i]) - 2, 4, 4);
    }
    this.mark(this.open, true);
    this.mark(this.cursor, false);
  }

  /** A ring at a direction; the one whose ends are shown also has a line down to the axis. */
  mark(place, full) {
    const line = this.lines.find((l) => l.label === place?.label), { axes } = this, { ctx } = this.stage;
    if (!line || this.hidden.has(line.label) || place.i >= line.y.length) return;
    const x = axes.px(place.i + 1), value = line.y[place.i], y = Math.min(value > 0 || !axes.logY ? axes.py(value) : axes.bottom, axes.bottom);
    ctx.save();
    ctx.strokeStyle = line.ink; ctx.lineWidth = 2;
    if (full) { ctx.beginPath(); ctx.moveTo(x, y); ctx.lineTo(x, axes.bottom); ctx.globalAlpha = 0.5; ctx.stroke(); ctx.globalAlpha = 1; }
    ctx.beginPath(); ctx.arc(x, y, full ? 5 : 7, 0, 7);
    if (full) { ctx.fillStyle = line.ink; ctx.fill(); } else { ctx.setLineDash([2, 2]); ctx.stroke(); }
    ctx.restore();
  }

  /** The spectrum of the selected rows of a line: from the kernel, or computed here in a page. */
  part(frame, line) {
    const { stage } = this, rows = stage.selection;
    if (rows.length < 2) return null;
    const fits = (frame.chosen ?? []).join() === marked(rows);
    if (fits && line.selected) return { ...line.selected, values: unpack(line.selected.values) };
    if (fits) return null;
    if (!stage.alone) return { why: "the spectrum of the selected rows is on its way" };
    const features = stage.model.get("atlas")?.features?.[line.key];
    if (!features) return { why: "the spectrum of another selection needs a kernel" };
    const key = `${line.key} ${marked(rows)}`;
    if (this.computed?.get(key) === undefined) {
      const [n, d] = features.shape, x = (features.unpacked ??= unpack(features)), inside = [...rows].filter((row) => row < n);
      this.computed = (this.computed?.size ?? 0) > 50 ? new Map() : this.computed ?? new Map();
      this.computed.set(key, inside.length < 2 ? null : spectrumOf(inside.map((row) => x.subarray(row * d, (row + 1) * d)), d));
    }
    return this.computed.get(key) && { ...this.computed.get(key) };
  }

  /** One button for each line, kept while frames come in, so that it can be pressed and keeps the focus. */
  showLegend() {
    const labels = this.lines.map((line) => line.label);
    if ([...this.entries.keys()].join("\n") !== labels.join("\n")) {
      this.entries = new Map(labels.map((label) => [label, this.makeEntry(label)]));
      this.legend.replaceChildren(...[...this.entries.values()].map((entry) => entry.node));
    }
    for (const line of this.lines) {
      const entry = this.entries.get(line.label), { part } = line;
      const words = { text: ` ${line.text}`, part: part?.y ? `┅ ${part.count} selected rows: ${part.text}` : "" };
      for (const key of ["text", "part"]) if (entry[key].textContent !== words[key]) entry[key].textContent = words[key];
      entry.part.style.color = entry.swatch.style.color = line.ink;
      entry.part.hidden = !words.part;
      entry.button.setAttribute("aria-pressed", String(!this.hidden.has(line.label)));
    }
  }

  makeEntry(label) {
    const swatch = make("span", {}, "━ "), text = make("span", {}), part = make("div", { hidden: true, style: { paddingLeft: "14px" } });
    const button = make("button", { type: "button", className: "clnb-chip", title: "hide or show this line", style: { maxWidth: "none" },
      onclick: () => { if (!this.hidden.delete(label)) this.hidden.add(label); this.stage.redraw(); } }, swatch, make("b", {}, label));
    return { node: make("li", {}, button, text, part), button, swatch, text, part };
  }

  /** The direction and line nearest to a place in the picture. */
  nearest(event) {
    if (!this.axes) return null;
    const [mx, my] = this.stage.at(event), i = Math.round(this.axes.vx(mx)) - 1;
    const there = this.lines.filter((line) => !this.hidden.has(line.label) && i >= 0 && i < line.y.length);
    const far = (line) => Math.abs(this.axes.py(line.y[i] > 0 || !this.axes.logY ? line.y[i] : 1e-30) - my);
    return there.length ? { label: there.reduce((a, b) => (far(b) < far(a) ? b : a)).label, i } : null;
  }

  hover(event) {
    const { stage, lines, axes } = this;
    if (!axes || !lines.length) return;
    const [mx] = stage.at(event), i = Math.round(axes.vx(mx));
    if (i < 1 || i > axes.x[1]) return stage.showTip();
    const number = (y) => (i <= y.length ? y[i - 1].toPrecision(3) : "–");
    stage.showTip(event, make("b", {}, `singular value ${i}`), ...lines.filter((line) => !this.hidden.has(line.label)).map((line) => make("div", {},
      make("span", { style: { color: line.ink } }, "● "), `${line.label}: ${number(line.y)}${line.part?.y ? `, selected ${number(line.part.y)}` : ""}`)));
  }

  click(event) {
    const place = this.nearest(event);
    if (!place) return;
    this.cursor = place;
    this.show(place);
  }

  move(along, across) {
    const there = this.lines.filter((line) => !this.hidden.has(line.label) && line.y.length);
    if (!there.length) return;
    const at = Math.max(0, there.findIndex((line) => line.label === this.cursor?.label));
    const line = there[(at + across + there.length) % there.length], i = this.cursor ? this.cursor.i + along : 0;
    this.cursor = { label: line.label, i: Math.max(0, Math.min(line.y.length - 1, i)) };
    if (this.open) this.show(this.cursor);
    else { this.stage.canvas.setAttribute("aria-label", `direction ${this.cursor.i + 1} of ${line.label}, press Enter`); this.stage.redraw(); }
  }

  /** Open a direction; where its ends have not come along, ask for them. */
  show(place) {
    this.open = { ...place };
    this.panelKey = "";
    this.fresh = true;                      // the reader has asked: the ends become the selection
    this.stage.redraw();
  }

  close() {
    this.open = null;
    this.panel.hidden = true;
    this.panelKey = "";
    this.ours = "";
    delete this.stage.root.dataset.direction;
  }

  /** The ends of the open direction in the present frame: { rows, coordinates, labels } or a sentence. */
  endsNow(line) {
    const { i } = this.open, { ends } = line;
    if (i >= line.y.length) return "this direction does not exist at this step";
    if (ends?.why) return ends.why;
    const rows = unpack(ends?.rows), wide = ends?.rows?.shape[1];
    if (rows && i < ends.rows.shape[0]) {
      const cut = (packed) => packed && Array.from(unpack(packed).subarray(i * wide, (i + 1) * wide));
      return { rows: cut(ends.rows), coordinates: cut(ends.coordinates), labels: cut(ends.labels) };
    }
    if (this.stage.alone && !ends) return "its ends travel in a page when the view was made with images or labels";
    if (this.stage.alone) return `this page carries the ends of the first ${ends.rows.shape[0]} directions; others need a kernel`;
    if (this.asked !== `${line.label} ${i}`) {
      this.asked = `${line.label} ${i}`;
      this.stage.ask({ ask: "ends", direction: i }).catch((error) => { this.words.textContent = error.message; });
    }
    return "the ends are on their way";
  }

  refreshPanel() {
    const { stage, open } = this, line = this.lines.find((l) => l.label === open?.label);
    this.panel.hidden = !line;
    if (!line) return;
    const ends = this.endsNow(line), name = `Direction ${open.i + 1} of ${line.label}`;
    const key = JSON.stringify([open, stage.frame.step, ends]);
    if (key === this.panelKey) return;
    this.panelKey = key;
    stage.root.dataset.direction = String(open.i + 1);
    if (typeof ends === "string") {
      this.words.textContent = `${name}: ${ends}.`;
      this.now = null;
      return [this.low, this.high].forEach((strip) => strip.replaceChildren());
    }
    const half = ends.rows.length / 2, before = this.now;
    this.words.textContent = this.sentence(name, line, open.i, half);
    this.now = ends.rows;
    this.fill(this.low, "← low end", ends, 0, half);
    this.fill(this.high, "high end →", ends, half, 2 * half);
    this.pictures(ends.rows);
    const holds = before && this.ours && marked(stage.selection) === this.ours;      // the selection is still the one made here
    if (this.fresh || holds) this.takeEnds();
    this.fresh = false;
  }

  sentence(name, line, i, half) {
    const total = line.raw.reduce((sum, v) => sum + v * v, 0) || 1, s = line.raw[i];
    const twin = [i - 1, i + 1].some((j) => line.raw[j] > 0 && Math.abs(line.raw[j] - s) < 0.01 * s);
    const sure = s > 1e-6 * line.raw[0] ? "" : " It is not told apart from rounding.";
    return `${name}: singular value ${short(+s.toPrecision(3))}, ${percent((s * s) / total)} of the variance; the ${half} lowest and the ${half} highest rows, `
      + `the longer tail to the right.${twin ? " Its neighbour is as large within 1 %, so the two directions are mixed at will." : ""}${sure}`;
  }

  fill(strip, title, ends, from, to) {
    const { classes = [] } = this.stage.options;
    const tiles = ends.rows.slice(from, to).map((row, k) => {
      const label = ends.labels?.[from + k], words = label === undefined ? "" : label < 0 ? "unlabelled" : classes[label] ?? String(label);
      const at = ends.coordinates[from + k], figure = make("figure", { title: `row ${row}${words ? `, ${words}` : ""}, coordinate ${short(+at.toPrecision(3))}` },
        make("span", {}), make("figcaption", {}, short(+at.toPrecision(2))), make("figcaption", {}, words || `row ${row}`));
      figure.dataset.row = row;
      figure.style.width = "46px";
      return figure;
    });
    strip.replaceChildren(make("div", { style: { flex: "1 1 100%" } }, title), ...tiles);
  }

  async pictures(rows) {
    const { stage } = this, key = this.panelKey;
    if (!stage.options.images) return;
    let asked = rows, there = rows;
    const carried = stage.alone ? stage.model.get("atlas")?.rows : null;
    if (carried) {
      this.place ??= new Map(Array.from(unpack(carried), (row, i) => [row, i]));
      there = rows.filter((row) => this.place.has(row));
      asked = there.map((row) => this.place.get(row));
    }
    if (!asked.length) return;
    try {
      const all = unpack((await stage.ask({ ask: "images", rows: asked })).images), [n, ...shape] = all.shape, one = all.length / n;
      if (key !== this.panelKey) return;
      const spots = [...this.low.querySelectorAll("figure > span"), ...this.high.querySelectorAll("figure > span")];
      there.forEach((row, i) => spots[rows.indexOf(row)]?.replaceChildren(thumbnail(all.subarray(i * one, (i + 1) * one), shape, 44)));
    } catch (error) { this.words.append(` (${error.message})`); }
  }

  takeEnds() {
    if (!this.selectEnds || !this.now) return;
    const rows = Uint32Array.from(new Set(this.now)).sort();
    this.ours = marked(rows);
    if (marked(this.stage.selection) !== this.ours) this.stage.select(rows);
  }
}

export default {
  render({ model, el }) {
    const stage = new Stage({ model, el }, { title: "Spectrum", height: 260,
      help: "click a point, or arrow keys and Enter: the images at the two ends of that direction · Esc: close and clear" });
    const view = new SpectrumView(stage);
    return stage.start((frame) => view.draw(frame));
  },
};
