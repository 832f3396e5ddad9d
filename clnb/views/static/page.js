// What a saved page has in place of a kernel: the widget model with every frame, the step and the selection that its views share, and
// answers from what the page carries. A module may export `answer(atlas, question)` beside `render` to answer for itself.

/** The position of the newest step that is not later than `moment`; −1 for the newest. */
function positionOf(steps, moment) {
  if (moment < 0 || !steps.length) return -1;
  let k = 0;
  while (k + 1 < steps.length && steps[k + 1] <= moment) k++;
  return k;
}

/** What the views of one page share: the selection, and the step that is looked at. */
class Shared {
  constructor() { this.models = []; }
  select(bytes) { for (const model of this.models) model.take({ selected: bytes }); }
  seek(moment) { for (const model of this.models) model.show(moment); }
}

const SHARED = new Shared();
const MODULES = {       // the front ends of this page by name: { render, answer? }; "html" is a page of its own
  html: {
    render: ({ model, el }) => el.append(make("iframe", { srcdoc: model.get("html"), sandbox: "",
      style: { width: "100%", height: `${model.get("height")}px`, border: 0 } })),
  },
};

/** The widget model of a saved page: holds every frame, moves between them, and answers from an atlas of images. */
class PageModel {
  constructor(state, shared = SHARED) {
    this.state = { ...state, frame: (state.frames ?? []).at(-1) };
    Object.assign(this, { callbacks: {}, shared, alone: true });
    shared.models.push(this);
  }
  get(name) { return this.state[name]; }
  set(name, value) {
    const { steps = [], frames = [] } = this.state;
    if (name === "selected") this.shared.select(value);
    else if (name !== "at") this.take({ [name]: value });
    else if (steps.length) this.shared.seek(value < 0 ? -1 : steps[Math.min(value, steps.length - 1)]);
    else this.move(value < 0 ? frames.length - 1 : Math.min(value, frames.length - 1), { at: value });
  }
  take(values) {
    const news = Object.keys(values).filter((name) => this.state[name] !== values[name]);
    Object.assign(this.state, values);
    for (const name of news) this.fire(`change:${name}`);
  }
  /** Show the newest frame that is not later than the step `moment`; a view without steps only takes note. */
  show(moment) {
    const { steps = [], frames = [] } = this.state, at = positionOf(steps, moment);
    if (steps.length) this.move(at < 0 ? frames.length - 1 : at, { at, moment });
    else this.take({ moment });
  }
  move(k, values) {
    const same = this.state.frame === undefined || this.state.frame.position === k;
    this.take(same ? values : { ...values, frame: { ...this.state.frames[k], number: this.state.drawn + 1 } });
  }
  save_changes() {}
  on(name, callback) { (this.callbacks[name] ??= []).push(callback); }
  off(name, callback) { this.callbacks[name] = (this.callbacks[name] ?? []).filter((c) => c !== callback); }
  fire(name, ...values) { for (const callback of this.callbacks[name] ?? []) callback(...values); }
  async send(question) {
    let reply;
    try {
      const atlas = this.state.atlas ?? {};
      reply = (await MODULES[this.state.name]?.answer?.(atlas, question)) ?? (await answerFromAtlas(atlas, question));
    } catch (error) { reply = { error: error.message }; }
    this.fire("msg:custom", { ...reply, reply: question.id }, []);
  }
}

/** The place of the view at `row`, `column` of the page; rows are made as they come. */
function cell(row, column) {
  const root = document.getElementById("view");
  while (root.querySelectorAll(":scope > .clnb-boardrow").length <= row) root.append(make("div", { className: "clnb-boardrow" }));
  const el = make("div", { className: "clnb-cell" });
  root.querySelectorAll(":scope > .clnb-boardrow")[row].append(el);
  return el;
}

/** In place of a view that cannot be drawn. */
function broken(error, row, column) {
  cell(row, column).append(make("p", { className: "clnb clnb-error" }, String(error?.message ?? error)));
  console.error(error);
}

/** A page inside a page says how high it is. */
function tellHeight() {
  const root = document.getElementById("view"), tell = () => window.parent.postMessage({ clnbHeight: Math.ceil(root.scrollHeight) + 2 }, "*");
  if (window.parent !== window) new ResizeObserver(tell).observe(root);
}

/** What the kernel would answer to `{ask: "images", rows}` or `{ask: "neighbours", row}`, from what the page carries. */
async function answerFromAtlas(atlas, question) {
  if (question.ask === "images" && atlas.sheets) return imagesFromSheets(atlas, question.rows);
  if (question.ask === "images" && atlas.images) {
    const all = (atlas.unpacked ??= unpack(atlas.images)), [, c, h, w] = all.shape, one = c * h * w;
    const pixels = new Uint8Array(question.rows.length * one);
    question.rows.forEach((row, i) => pixels.set(all.subarray(row * one, (row + 1) * one), i * one));
    return { images: { bytes: pixels, dtype: "uint8", shape: [question.rows.length, c, h, w] } };
  }
  if (question.ask === "neighbours" && atlas.neighbours) {
    const rows = (atlas.near ??= unpack(atlas.neighbours)), k = rows.shape[1], from = question.row * k;
    const distances = (atlas.far ??= unpack(atlas.distances));
    return { rows: { bytes: rows.slice(from, from + k), dtype: "uint32", shape: [k] },
      distances: { bytes: distances.slice(from, from + k), dtype: "float32", shape: [k] } };
  }
  return { error: "this page cannot answer that without a kernel" };
}

/** Tiles `[height, width]` cut from JPEG sheets of `columns` x `perSheet / columns` tiles, as the kernel would send them. */
async function imagesFromSheets(atlas, rows) {
  const { tile: [h, w], columns, perSheet } = atlas, pixels = new Uint8Array(rows.length * 3 * h * w);
  const sheets = (atlas.decoded ??= []);
  for (const [i, row] of rows.entries()) {
    const s = Math.floor(row / perSheet), at = row % perSheet;
    sheets[s] ??= createImageBitmap(new Blob([bytesOf(atlas.sheets[s])], { type: "image/jpeg" })).then((bitmap) => {
      const canvas = make("canvas", { width: bitmap.width, height: bitmap.height }), ctx = canvas.getContext("2d",
        { willReadFrequently: true });
      ctx.drawImage(bitmap, 0, 0);
      return ctx;
    });
    const data = (await sheets[s]).getImageData((at % columns) * w, Math.floor(at / columns) * h, w, h).data;
    for (let p = 0; p < h * w; p++)
      for (let c = 0; c < 3; c++) pixels[(i * 3 + c) * h * w + p] = data[4 * p + c];
  }
  return { images: { bytes: pixels, dtype: "uint8", shape: [rows.length, 3, h, w] } };
}
