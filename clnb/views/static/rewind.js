// Rewind: one slider that moves several views through what was recorded, with bookmarks. See 07h_rewind.ipynb.

const SPEEDS = [1, 2, 4, 8, 16, 30];

/** The position of the newest of `steps` that is not later than `step`; 0 when all are later. */
function placeOf(steps, step) {
  let low = 0, high = steps.length;
  while (low < high) { const mid = (low + high) >> 1; if (steps[mid] <= step) low = mid + 1; else high = mid; }
  return Math.max(low - 1, 0);
}

class Desk {
  constructor(stage) {
    this.stage = stage;
    this.rate = stage.options.speed ?? 8;
    stage.canvas.style.display = "none";
    this.makeWalk();
    this.makeMarks();
    stage.player.rate = () => this.rate;
    stage.keys = { " ": () => stage.playAll(), ArrowLeft: () => this.walk(-1), ArrowRight: () => this.walk(1), Home: () => this.go(0),
      End: () => this.go(-1), b: () => this.text.focus() };
    const heard = (event) => { if (event.detail === stage.options.id) stage.playAll(); };   // space in one of the views
    document.addEventListener("clnb-play", heard);
    stage.ends.push(() => document.removeEventListener("clnb-play", heard));
    for (const name of ["marked", "steps", "at"]) stage.listen(`change:${name}`, () => stage.redraw());
  }

  get steps() { return this.stage.model.get("steps") ?? []; }
  get marks() { return this.stage.model.get("marked") ?? []; }
  /** The position that is shown; the last one when the newest is. */
  get at() { const at = this.stage.model.get("at"); return at < 0 ? this.steps.length - 1 : at; }

  go(position) {
    this.stage.player.stop();
    this.stage.seek(position);
  }
  walk(by) { this.go(Math.max(0, Math.min(this.at + by, this.steps.length - 1))); }

  makeWalk() {
    const { stage } = this, { timeline, clock, play, live, clockText } = stage;
    const button = (text, label, title, act) => make("button", { type: "button", title, "aria-label": label, onclick: act }, text);
    this.first = button("|◀", "first", "the first recorded step (Home)", () => this.go(0));
    this.before = button("◀", "previous", "one recorded step back (left arrow)", () => this.walk(-1));
    this.after = button("▶", "next", "one recorded step on (right arrow)", () => this.walk(1));
    const speed = dropdown("speed", SPEEDS.map((s) => `${s} steps/s`), `${this.rate} steps/s`, (text) => { this.rate = parseFloat(text); });
    this.ticks = make("div", { className: "clnb-ticks" });
    timeline.replaceChildren(this.first, this.before, play, this.after, make("div", { className: "clnb-track" }, this.ticks, clock),
      clockText, live, speed);
  }

  makeMarks() {
    const { stage } = this;
    this.list = make("div", { className: "clnb-marks", role: "group", "aria-label": "bookmarks" });
    this.text = make("input", { type: "text", placeholder: "what is to be seen here", "aria-label": "text of the bookmark", maxLength: 200 });
    this.text.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); this.add(); } });
    this.button = make("button", { type: "button", title: "keep this step under this text", onclick: () => this.add() }, "bookmark this step");
    stage.timeline.after(this.list, make("div", { className: "clnb-row clnb-bookmark" }, this.text, this.button));
  }

  /** Keep the step that is shown. */
  async add() {
    const { stage } = this, step = this.steps[this.at];
    if (step === undefined) return;
    const text = this.text.value.trim() || `step ${step}`;
    this.text.value = "";
    if (stage.alone) this.keep([...this.marks.filter((m) => !(m.own && m.step === step && m.text === text)), { step, text, own: true }]);
    else await this.tell({ ask: "bookmark", step, text });
  }
  async remove(mark) {
    if (this.stage.alone) this.keep(this.marks.filter((other) => other !== mark));
    else await this.tell({ ask: "forget", step: mark.step, text: mark.text });
  }
  keep(marks) { this.stage.model.set("marked", marks.sort((a, b) => a.step - b.step)); }
  async tell(question) {
    try { await this.stage.ask(question); } catch (error) { this.stage.note.textContent = error.message; }
  }

  draw(frame) {
    const { stage, steps } = this, at = this.at, last = steps.length - 1;
    this.first.disabled = this.before.disabled = at <= 0;
    this.after.disabled = at >= last;
    if (stage.clock.max !== String(Math.max(last, 0))) stage.showTimeline();
    const key = JSON.stringify([this.marks, steps.length, steps[0], steps[last]]);
    if (key !== this.known) { this.known = key; this.showMarks(); }
    for (const node of this.list.querySelectorAll("[data-place]")) node.setAttribute("aria-current", String(+node.dataset.place === at));
    Object.assign(stage.root.dataset, { steps: steps.length, at: stage.model.get("at"), step: steps[at] ?? "", drawn: frame.number ?? 0 });
  }

  /** A tick on the track and a text below it for everything that happened. */
  showMarks() {
    const { steps, marks } = this, last = Math.max(steps.length - 1, 1), ticks = new Map();
    for (const mark of marks) {
      const k = placeOf(steps, mark.step), found = ticks.get(k) ?? ticks.set(k, []).get(k);
      found.push(mark);
    }
    const words = (all) => all.map((m) => `step ${m.step}: ${m.text}`).join("\n");
    this.ticks.replaceChildren(...[...ticks].map(([k, all]) => make("button", { type: "button", className: "clnb-tick", title: words(all),
      "aria-label": words(all), tabIndex: -1, onclick: () => this.go(k), style: { left: `calc(8px + (100% - 16px) * ${k / last})`,
        color: all.some((m) => m.own) ? PALETTE[0] : PALETTE[4] } }, "▾")));
    this.list.replaceChildren(...marks.slice(-200).map((mark) => {
      const go = make("button", { type: "button", className: "clnb-chip", title: `step ${mark.step}: ${mark.text}`, onclick: () =>
        this.go(placeOf(steps, mark.step)) }, make("i", { className: "clnb-dot", style: { background: mark.own ? PALETTE[0] : PALETTE[4] } }),
      make("span", {}, `${mark.step}: ${mark.text}`));
      go.dataset.place = placeOf(steps, mark.step);
      if (!mark.own) return go;
      return make("span", { className: "clnb-own" }, go, make("button", { type: "button", className: "clnb-chip", title: "forget this bookmark",
        "aria-label": `forget the bookmark ${mark.text}`, onclick: () => this.remove(mark) }, "×"));
    }));
  }
}

function render({ model, el }) {
  const stage = new Stage({ model, el }, { title: "Rewind", height: 1,
    help: "space: play or stop · arrow keys: step by step · Home: first · End: follow the newest · b: bookmark" });
  const desk = new Desk(stage);
  return stage.start((frame) => desk.draw(frame));
}

export default { render };
