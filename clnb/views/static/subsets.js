// SubsetBar: what is selected, kept under a name, and taken out again. See 07_views.ipynb.

/** `now` and `rows` (sorted) combined. */
const COMBINE = {
  replace: (now, rows) => [...rows],
  add: (now, rows) => [...now, ...rows],
  within: (now, rows) => { const there = new Set(rows); return [...now].filter((row) => there.has(row)); },
  without: (now, rows) => { const there = new Set(rows); return [...now].filter((row) => !there.has(row)); },
};
const SIGNS = [["add", "+", "add to what is selected"], ["within", "∩", "keep only what is also in"], ["without", "−", "take away from what is selected:"]];
const many = (n) => n.toLocaleString("en");

function render({ model, el }) {
  const stage = new Stage({ model, el }, { title: "Subsets", height: 1 });
  stage.canvas.style.display = "none";
  const text = make("input", { type: "text", placeholder: "name", "aria-label": "name of the subset", maxLength: 100 });
  const keep = make("button", { type: "button", title: "keep the selected rows under this name", onclick: () => save() }, "save selection");
  const clear = make("button", { type: "button", title: "select nothing (Esc)", onclick: () => stage.select([]) }, "clear");
  const count = make("span", { className: "clnb-note", role: "status" });
  const list = make("div", { className: "clnb-marks", role: "group", "aria-label": "subsets" });
  stage.tools.append(count, make("span", { className: "clnb-row" }, text, keep, clear));
  stage.body.append(list);
  text.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); save(); } });
  stage.listen("change:named", () => stage.redraw());

  const tell = async (question) => {
    try { await stage.ask(question); } catch (error) { stage.note.textContent = error.message; }
  };
  function save() {
    const name = text.value.trim() || `subset ${(model.get("named") ?? []).length + 1}`, rows = stage.selection;
    text.value = "";
    if (!stage.alone) return tell({ ask: "save", name });
    const packed = { bytes: rows.buffer.slice(rows.byteOffset, rows.byteOffset + rows.byteLength), dtype: "uint32", shape: [rows.length] };
    model.set("named", [...(model.get("named") ?? []).filter((one) => one.name !== name), { name, rows: packed }]);
  }
  function remove(name) {
    if (!stage.alone) return tell({ ask: "remove", name });
    model.set("named", model.get("named").filter((one) => one.name !== name));
  }

  function chip({ name, rows: packed }) {
    const n = packed.shape[0], pick = (how) => () => stage.select(COMBINE[how](stage.selection, unpack(packed)));
    return make("span", { className: "clnb-own" },
      make("button", { type: "button", className: "clnb-chip", title: `${name}: ${many(n)} rows. Click selects them`, onclick: pick("replace") },
        make("span", {}, `${name} (${many(n)})`)),
      ...SIGNS.map(([how, sign, words]) => make("button", { type: "button", className: "clnb-chip", title: `${words} ${name}`,
        "aria-label": `${words} ${name}`, onclick: pick(how) }, sign)),
      make("button", { type: "button", className: "clnb-chip", title: `forget ${name}`, "aria-label": `forget ${name}`,
        onclick: () => remove(name) }, "×"));
  }

  let known = null;
  return stage.start(() => {
    const n = stage.selection.length, named = model.get("named") ?? [];
    count.textContent = n ? `${many(n)} selected` : "nothing selected";
    keep.disabled = clear.disabled = !n;
    Object.assign(stage.root.dataset, { selected: n, subsets: named.length });
    if (named !== known) { known = named; list.replaceChildren(...named.map(chip)); }
  });
}

export default { render };
