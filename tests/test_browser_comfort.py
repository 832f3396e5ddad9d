"""Comfort and hosts, for every view there is: Notebook 7 as JupyterLab, both themes, keyboard only, names for screen
readers, sharp screens, colours for colour-blind readers, and names of classes that look like markup."""

import itertools
import re

import numpy as np
import pytest
import torch

from clnb.core import PALETTE
from clnb.data import ImageSet
from clnb.run import History, Pairs, softmax_pairs
from clnb.toys import linear_toy, two_layer_toy
from clnb.views import (
    AugmentationPlayground,
    BatchSimilarity,
    Circle,
    ClassTable,
    ClusterTable,
    CollapseMonitor,
    Compare,
    Condensed,
    Confusion,
    Curves,
    Embedding,
    Gallery,
    GradientSimilarity,
    Heatmaps,
    Hierarchy,
    ImageGrid,
    LogitMatrix,
    Masks,
    Matched,
    MatchedRegions,
    MixtureMap,
    NegativeWeights,
    Neighbours,
    PixelSimilarity,
    Rewind,
    Segmentation,
    SelectionProbe,
    SettingSlider,
    Spectrum,
    SpectrumSweep,
    Sphere,
    StyleSpace,
    Thresholds,
    TwoLayerPlayground,
    View,
    WhyPair,
    explore,
)
from clnb.views.base import STATIC, Board, Selection, SubsetBar

NASTY = "<img src=x onerror=window.hacked=1>"
CLASSES = ("zero", NASTY, "</script><b>two</b>")
N = 60


def material():
    """Features, labels, images of three classes, and a history of them."""
    rng, labels = np.random.default_rng(0), np.arange(N) % 3
    x = (rng.normal(size=(N, 8)) + 3 * np.eye(3, 8)[labels]).astype(np.float32)
    images = rng.integers(0, 200, (N, 1, 8, 8), dtype=np.uint8) + (20 * labels).astype(np.uint8)[:, None, None, None]
    history = History()
    for step in range(0, 50, 10):
        if step == 20: history.mark(step, f"temperature {NASTY}")
        z = x + step / 10 * rng.normal(size=x.shape).astype(np.float32)
        history.record(step, loss=1 / (1 + step), embedding=z, predictions=np.roll(labels, step), **{NASTY: step})
    return x, labels, images, history


def pairs():
    """Pairs between two views of twelve rows."""
    generator = torch.Generator().manual_seed(0)
    z, itself = torch.randn(24, 6, generator=generator, dtype=torch.float64), torch.eye(24, dtype=torch.bool)
    rows = torch.arange(12).repeat(2)
    found = softmax_pairs(z, z, itself.roll(12, 1), 0.3, ~itself)
    agrees = (rows[:, None] % 3 == rows[None] % 3).to(torch.int8)
    return Pairs(**found, anchors=rows, candidates=rows, agrees=agrees)


def curves(): return Curves(material()[3])


def spectrum():
    _, labels, images, history = material()
    return Spectrum({NASTY: history, "b": history}, ["embedding"], images=images, labels=labels, classes=CLASSES)


def embedding():
    _, labels, images, history = material()
    return Embedding(history, images, labels, CLASSES, columns={NASTY: np.arange(float(N)), "file": [NASTY] * N})


def still():
    x, labels, images, _ = material()
    return Embedding(x, images, labels, CLASSES)


def confusion():
    _, labels, _, history = material()
    return Confusion(labels, history, CLASSES)


def gallery():
    _, labels, images, _ = material()
    return Gallery(images, labels, CLASSES, {"note": [NASTY] * N})


def table():
    _, labels, _, history = material()
    return ClassTable(labels, CLASSES, {NASTY: np.arange(float(N))}, predictions=history)


def near():
    x, labels, images, _ = material()
    return Neighbours(x, images, labels, CLASSES, k=5).link(Selection([4]))


def tree():
    labels = material()[1]
    levels = {"family": labels // 2, "kind": labels}
    return Hierarchy(levels, {"family": ["left", NASTY], "kind": CLASSES}, labels, CLASSES)


def grid():
    _, labels, images, _ = material()
    return ImageGrid(images, labels, CLASSES, captions={NASTY: [NASTY] * N})


def logits():
    x, labels, images, _ = material()
    return LogitMatrix((x[:12], x[12:24]), images[:12], labels[:12], CLASSES)


def why():
    images = torch.randint(0, 200, (12, 1, 8, 8), dtype=torch.uint8)
    return WhyPair(pairs(), ImageSet(images, torch.arange(12) % 3, CLASSES))


def rewind():
    _, labels, images, history = material()
    return Rewind(Curves(history), Embedding(history, images, labels, CLASSES)).board(title=NASTY)


def named():
    _, labels, images, _ = material()
    selection = Selection(range(5))
    selection.save(NASTY)
    return Board([Gallery(images, labels, CLASSES), SubsetBar()], selection, title=NASTY)


def explorer():
    x, labels, images, _ = material()
    return explore(x, images, labels, classes=CLASSES, predictions=np.roll(labels, 1), title=NASTY)


def compare():
    _, labels, images, history = material()
    return Compare(history, history, images, labels, ("one", NASTY), CLASSES, k=5)


def heat():
    x, *_ = material()
    return Heatmaps({"with": {NASTY: x, "b": x ** 2}, NASTY: {NASTY: -x, "b": x}}, title=NASTY)


def probe():
    _, labels, images, _ = material()
    rng, paths = np.random.default_rng(0), np.stack([np.arange(N) % 6, np.arange(N) % 3])
    keep = rng.random((2, 8, 40))
    arrays = {"keep": keep, "kept": rng.random(keep.shape) < keep, "similarity": rng.uniform(-1, 1, keep.shape[1:]),
              "anchors": np.arange(8), "candidate_rows": np.arange(20, 60), "anchor_path": paths[:, :8],
              "candidate_path": paths[:, 20:], "agrees": (labels[:8, None] == labels[20:]).astype(np.int8)}
    return SelectionProbe(arrays, images, labels, CLASSES, levels=("kind", NASTY))


def swept():
    x, *_ = material()
    return SpectrumSweep({(d, name): {"embedding": x[:, :d]} for d in (4, 8) for name in ("none", NASTY)},
                         ("d0", "projector"))


def augmentation():
    return AugmentationPlayground(toy=linear_toy(noise=(0.5, 1.0), noisy=(4, 8), dim=8, batch=16, steps=20, frames=5))


def layers():
    return TwoLayerPlayground(toy=two_layer_toy(decay=(0.1, 0.3), dim=8, batch=16, steps=20, frames=5))


def masks():
    rng, labels = np.random.default_rng(0), material()[1][:12]
    x = torch.from_numpy(rng.integers(0, 255, (12, 3, 16, 16), dtype=np.uint8))
    return Masks(x, truth=x[:, 1] > 128, labels=labels, classes=CLASSES)


def settings():
    images = material()[2]
    rows = [{"together": k / 4, "method": arm, "seed": seed, "NMI": k * seed / 10, NASTY: k}
            for k in range(4) for arm in ("no mask", NASTY) for seed in range(3)]
    return SettingSlider(rows, x="together", images={k / 4: images[k : k + 4] for k in range(4)}, title=NASTY)


def mixture():
    x, labels, images, _ = material()
    return MixtureMap(x, None, labels, images, CLASSES, {NASTY: np.arange(float(N))}, components=3)


def clusters():
    x, labels, images, _ = material()
    return ClusterTable(np.roll(labels, 7), labels, images, x[:, 0], CLASSES, features=x)


def thresholds():
    x, labels, images, _ = material()
    odds = 1 / (1 + np.exp(-x[:, 0]))
    return Thresholds({"one": odds, NASTY: odds ** 2}, (labels == 0).astype(int), images, CLASSES[:2])


def sphere():
    x, labels, images, _ = material()
    return Sphere({"z": x, NASTY: x ** 3}, labels, images, CLASSES, {NASTY: np.arange(float(N))})


def batch():
    x, labels, images, _ = material()
    return BatchSimilarity({"z": x, NASTY: x ** 3}, labels, images=images, classes=CLASSES, temperature=0.5)


def condensing():
    "What two condensations recorded."
    runs = {}
    for name, kind in (("DC", 0), (NASTY, 1)):
        rng, runs[name] = np.random.default_rng(kind), History()
        for step in range(0, 60, 10):
            runs[name].record(step, condensed=rng.integers(0, 256, (3, 2, 1, 8, 8), dtype=np.uint8), accuracy=0.5,
                              similarity=rng.uniform(-1, 1, (2, 3, 3)), matching=rng.uniform(0, 4, 2))
    return runs


def condensed(): return Condensed(condensing(), classes=CLASSES[:3])


def gradients(): return GradientSimilarity(condensing(), classes=CLASSES[:3], layers=["first", NASTY])


def tiles():
    "Six pictures with a class for every pixel."
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (6, 3, 16, 16), dtype=np.uint8), rng.integers(0, 3, (6, 16, 16))


def segmentation():
    (images, masks), runs = tiles(), {"one": History(), NASTY: History()}
    for k, run in enumerate(runs.values()):
        for step in (0, 10, 20):
            wrong = np.random.default_rng(step + k).random(masks.shape) < 0.5 - step / 50
            run.record(step, prediction=np.where(wrong, (masks + 1) % 3, masks).astype(np.uint8))
    return Segmentation(images, masks, runs, CLASSES, groups=np.repeat(["first", NASTY], 3))


def styles():
    rng = np.random.default_rng(0)
    vectors = {"style": rng.normal(size=(6, 8)), "pooled": rng.normal(size=(6, 4))}
    return StyleSpace(tiles()[0], vectors, labels=[CLASSES[k % 3] for k in range(6)])


def alike():
    rng, (images, _) = np.random.default_rng(0), tiles()
    maps = {name: [rng.normal(size=(6, 5, 16, 16)) for _ in "ab"] for name in ("one", NASTY)}
    return PixelSimilarity(images, images[::-1].copy(), maps)


def regions():
    images, still = tiles()[0], np.broadcast_to(np.eye(3), (6, 3, 3))
    centres = np.random.default_rng(0).uniform(3, 12, (6, 4, 2))
    return MatchedRegions(Matched(images, images, images, still, still, centres, centres, 4), title=NASTY)


def monitor(): return CollapseMonitor(material()[3], "embedding")


VIEWS = {"Curves": curves, "Spectrum": spectrum, "CollapseMonitor": monitor, "Embedding live": embedding,
         "Embedding": still, "Confusion": confusion, "Gallery": gallery, "ClassTable": table, "Neighbours": near,
         "Hierarchy": tree, "ImageGrid": grid, "LogitMatrix": logits, "WhyPair": why, "Circle": Circle,
         "NegativeWeights": NegativeWeights, "Rewind": rewind, "SubsetBar": named, "Explorer": explorer,
         "Compare": compare, "Heatmaps": heat, "SelectionProbe": probe, "SpectrumSweep": swept,
         "AugmentationPlayground": augmentation, "TwoLayerPlayground": layers, "Masks": masks,
         "SettingSlider": settings, "MixtureMap": mixture, "ClusterTable": clusters, "Thresholds": thresholds,
         "Sphere": sphere, "BatchSimilarity": batch, "Condensed": condensed, "GradientSimilarity": gradients,
         "Segmentation": segmentation, "StyleSpace": styles, "PixelSimilarity": alike, "MatchedRegions": regions}
EVERY = pytest.mark.parametrize("name", VIEWS)
ONE = [name for name in VIEWS if name not in ("Rewind", "SubsetBar", "Explorer", "Compare")]       # not boards


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Function: name -> the saved page of that view, made once."""
    folder, made = tmp_path_factory.mktemp("pages"), {}

    def one(name):
        if name not in made: made[name] = VIEWS[name]().save(folder / f"{name.replace(' ', '-')}.html")
        return made[name]

    return one


def test_no_view_is_left_out():
    """A new view has to be added here."""
    import clnb.views as views

    classes = [getattr(views, name) for name in views.__all__]
    known = {c.__name__ for c in classes if isinstance(c, type) and issubclass(c, View)} - {"View", "LiveView"}
    assert known <= {name.split()[0] for name in VIEWS}


# ------------------------------------------------------------------------------------------------- colours for everyone

# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency", IEEE TVCG
# 15(6), 2009: matrices for linear RGB at severity 1.0.
SEEN_BY = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colours):
    """sRGB 0 … 1 as light (IEC 61966-2-1)."""
    rgb = np.asarray(colours, float)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def cielab(light):
    """CIELAB (white D65) of linear RGB."""
    to_xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                       [0.0193339, 0.1191920, 0.9503041]])
    xyz = light @ to_xyz.T / np.array([0.95047, 1, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


def in_the_page():
    """The palette of the front end."""
    found = re.search(r"const PALETTE = \[(.*?)\]", (STATIC / "common.js").read_text("utf-8"), re.S)
    return re.findall(r"#\w{6}", found.group(1))


@pytest.mark.parametrize("sight", SEEN_BY)
@pytest.mark.parametrize("where, least", [("core", 15), ("page", 9)])
def test_palette_is_told_apart(sight, where, least):
    """The first eight colours are at least `least` apart in CIELAB (2.3 is just noticeable)."""
    palette = (PALETTE if where == "core" else in_the_page())[:8]
    light = linear([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in palette])
    lab = cielab(np.clip(light @ np.array(SEEN_BY[sight]).T, 0, 1))
    apart = {(a, b): np.linalg.norm(lab[a] - lab[b]) for a, b in itertools.combinations(range(8), 2)}
    closest = min(apart, key=apart.get)
    assert apart[closest] >= least, (sight, [palette[i] for i in closest], apart[closest])


# ------------------------------------------------------------------------------------------------- themes and contrast

# Every visible text with its colours: what is behind it is found by walking up to the first opaque background.
TEXTS = r"""
() => {
  const spot = Object.assign(document.createElement("canvas"), {width: 1, height: 1});
  const pen = spot.getContext("2d", {willReadFrequently: true});
  const rgb = c => { pen.clearRect(0, 0, 1, 1); pen.fillStyle = c; pen.fillRect(0, 0, 1, 1);
    const p = pen.getImageData(0, 0, 1, 1).data; return [p[0], p[1], p[2], p[3] / 255]; };
  const under = (e) => { const layers = [];
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c[3]) layers.push(c);
      if (c[3] === 1) break;
    }
    let now = [255, 255, 255];
    for (const c of layers.reverse()) now = now.map((v, i) => c[3] * c[i] + (1 - c[3]) * v);
    return now; };
  const out = [];
  for (const root of document.querySelectorAll(".clnb")) {
    const theme = getComputedStyle(root), read = name => rgb(theme.getPropertyValue(name).trim()).slice(0, 3);
    for (const name of ["--clnb-ink", "--clnb-faint"])
      out.push({text: name, ink: read(name), paper: read("--clnb-paper"), where: "canvas", canvas: true});
    for (const e of root.querySelectorAll("*")) {
      const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
      const box = e.getBoundingClientRect(), css = getComputedStyle(e);
      if (!own || !box.width || !box.height || css.visibility === "hidden") continue;
      if (e.closest("[hidden], :disabled, option")) continue;
      if (e.closest("[aria-pressed=false].clnb-chip")) continue;      // switched off
      let solid = 1;
      for (let n = e; n; n = n.parentElement) solid *= +getComputedStyle(n).opacity;
      const paper = under(e), c = rgb(css.color), a = c[3] * solid;
      out.push({text: e.textContent.trim().slice(0, 40), where: e.className || e.tagName, paper,
                ink: [0, 1, 2].map(i => a * c[i] + (1 - a) * paper[i])});
    }
  }
  return out;
}
"""


def contrast(ink, paper):
    """Contrast ratio (WCAG 2.2): 4.5 is asked of text."""
    one, other = (linear(np.array(c) / 255) @ [0.2126, 0.7152, 0.0722] + 0.05 for c in (ink, paper))
    return max(one, other) / min(one, other)


def pale(page):
    """Texts whose contrast is below 4.5 (marks: 3), and how bright the paper is."""
    found = page.evaluate(TEXTS)
    assert len(found) > 3
    low = [(round(float(contrast(t["ink"], t["paper"])), 2), t["text"], t["where"]) for t in found]
    least = {True: 4.5, False: 3.0}                              # words; marks without a letter
    paper = max(np.mean(t["paper"]) for t in found if "canvas" in t)
    return sorted({t for t in low if t[0] < least[bool(re.search(r"\w", t[1]))]}), paper


@EVERY
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(open_page, pages, name, scheme):
    sheet = open_page(pages(name))
    sheet.page.emulate_media(color_scheme=scheme)
    sheet.page.wait_for_timeout(500)
    low, paper = pale(sheet.page)
    sheet.shot(f"comfort-{name}-{scheme}".replace(" ", "-"))
    assert (paper > 200) == (scheme == "light") and not sheet.problems()
    assert not low, low


# ------------------------------------------------------------------------------------------------- keyboard and names

CONTROLS = r"""
() => {
  const kinds = "button, input, select, textarea, a[href], [tabindex], summary";
  const all = [...document.querySelectorAll(`.clnb :is(${kinds})`)];
  const seen = all.filter(e => e.getClientRects().length && !e.disabled && !e.closest("[hidden], [inert]")
                               && getComputedStyle(e).visibility !== "hidden");
  window.controls = seen;
  return seen.map((e, i) => ({i, tag: e.tagName.toLowerCase(), index: e.tabIndex, role: e.getAttribute("role"),
                              text: (e.getAttribute("aria-label") || e.textContent || "").trim().slice(0, 40)}));
}
"""
ROLES = {"button", "slider", "combobox", "checkbox", "radio", "searchbox", "textbox", "spinbutton", "image", "img",
         "link", "option", "tab", "treeitem", "gridcell", "listbox", "switch", "Canvas"}


@EVERY
def test_every_control_is_reached_by_tab_and_has_a_name(open_page, pages, name):
    sheet = open_page(pages(name))
    page = sheet.page
    controls = page.evaluate(CONTROLS)
    reached, wanted = set(), {c["i"] for c in controls if c["index"] >= 0}
    for _ in range(2 * len(controls) + 20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => window.controls.indexOf(document.activeElement)"))
    missed = [controls[i] for i in wanted - reached]
    assert not missed, missed
    session = page.context.new_cdp_session(page)
    tree = session.send("Accessibility.getFullAXTree")["nodes"]
    said = [(n["role"]["value"], n.get("name", {}).get("value", "").strip(), n) for n in tree if not n["ignored"]]
    nameless = [(role, n.get("properties", [])[:3]) for role, words, n in said if role in ROLES and not words]
    assert not nameless, nameless
    assert not page.locator(".clnb canvas.clnb-canvas:not([aria-label]):visible").count()
    assert not sheet.problems()


@EVERY
def test_every_slider_answers_the_arrow_keys(open_page, pages, name):
    sheet = open_page(pages(name))
    page = sheet.page
    for slider in page.locator("input[type=range]:visible:enabled").all():
        slider.focus()
        before = slider.input_value()
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(60)
        if slider.input_value() == before: page.keyboard.press("ArrowRight")
        page.wait_for_timeout(60)
        assert slider.input_value() != before, slider.get_attribute("aria-label")
    assert not sheet.problems()


NAMELESS = ("Circle", "NegativeWeights", "CollapseMonitor", "AugmentationPlayground", "TwoLayerPlayground")


@pytest.mark.parametrize("name", [name for name in VIEWS if name not in ("Circle", "NegativeWeights")])
def test_space_plays_and_escape_clears(open_page, pages, name, tmp_path):
    text = pages(name).read_text("utf-8")                       # so that a selection can be made and read here
    path = tmp_path / "page.html"
    path.write_text(text.replace("tellHeight();\n", "window.SHARED = SHARED;\ntellHeight();\n"), "utf-8")
    sheet = open_page(path)
    page = sheet.page
    count = "() => Math.max(...SHARED.models.map(m => { const s = m.get('selected'); return s?.byteLength ?? 0; }))"
    page.evaluate("() => SHARED.select(new DataView(Uint32Array.of(1, 2, 3).buffer))")
    page.wait_for_timeout(150)
    assert page.evaluate(count) == 12
    root = page.locator(".clnb").first
    clock = page.locator("input[type=range][aria-label=step]:visible")
    if clock.count():
        page.set_default_timeout(5000)
        root.focus()
        page.keyboard.press("Space")
        page.wait_for_timeout(400)
        assert page.get_by_role("button", name="stop").count() or page.locator("[data-playing=true]").count()
        page.keyboard.press("Space")
    root.focus()
    page.keyboard.press("Escape")
    page.wait_for_timeout(150)
    assert page.evaluate(count) == 0
    assert not sheet.problems()


# ------------------------------------------------------------------------------------------------- sharp screens

AROUND = "(c, [x, y]) => [...c.getContext('2d').getImageData(2 * x - 26, 2 * y - 26, 52, 52).data]"


def hovered(page, wanted=5):
    """Rows under the mouse, each where a pixel of the colour of its class is near."""
    canvas, tip, found = page.locator("canvas.clnb-canvas"), page.locator(".clnb-tip"), set()
    box, shades = canvas.bounding_box(), [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in in_the_page()]
    for x, y in itertools.product(np.linspace(0.1, 0.9, 40), np.linspace(0.1, 0.9, 20)):
        spot = [x * box["width"], y * box["height"]]
        page.mouse.move(box["x"] + spot[0], box["y"] + spot[1])
        if not tip.is_visible(): continue
        page.wait_for_timeout(50)
        near = canvas.evaluate(AROUND, spot)
        row = int(tip.get_attribute("data-row"))
        far = np.abs(np.array(near).reshape(-1, 4)[:, :3] - shades[row % 3]).max(1).min()
        assert far < 40, (row, far)
        found.add(row)
        if len(found) >= wanted: break
    return found


@pytest.mark.parametrize("name", ONE)
def test_sharp_on_a_screen_with_small_pixels(chromium, pages, name):
    from browser import Sheet

    context = chromium.new_context(viewport={"width": 1280, "height": 900}, device_scale_factor=2, offline=True)
    try:
        sheet = Sheet(context.new_page())
        sheet.page.goto(pages(name).resolve().as_uri())
        sheet.page.wait_for_timeout(500)
        sizes = sheet.page.locator("canvas.clnb-canvas:visible").evaluate_all(
            "all => all.map(c => [c.width, c.clientWidth, c.height, c.clientHeight])")
        assert all(abs(w - 2 * cw) <= 1 and abs(h - 2 * ch) <= 1 for w, cw, h, ch in sizes), sizes
        if name.startswith("Embedding"):                        # what is under the mouse is what is shown
            sheet.page.get_by_label("images", exact=True).uncheck()
            assert len(hovered(sheet.page)) >= 5
        assert not sheet.problems()
    finally:
        context.close()


# ------------------------------------------------------------------------------------------------- names like markup

HARMLESS = ("() => [window.hacked ?? null, [...document.querySelectorAll('.clnb img, .clnb script, [onerror], b')]"
            ".filter(e => e.tagName !== 'B' || e.textContent === 'two').map(e => e.outerHTML)]")


@EVERY
def test_names_stay_text(open_page, pages, name):
    sheet = open_page(pages(name))
    page = sheet.page
    seen = page.locator("body").inner_text() + page.content()
    for canvas in page.locator("canvas.clnb-canvas:visible").all():
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        for x, y in itertools.product(np.linspace(0.05, 0.95, 14), np.linspace(0.05, 0.95, 9)):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            tips = page.locator(".clnb-tip:visible")
            if tips.count(): seen += tips.first.inner_text()
    for button in page.locator(".clnb button:visible:enabled").all()[:40]:
        try: button.click(timeout=1000)
        except Exception: continue
    page.wait_for_timeout(200)
    assert page.evaluate(HARMLESS) == [None, []]
    if name not in NAMELESS: assert "img src=x" in seen
    assert not sheet.problems()


# ------------------------------------------------------------------------------------------------- hosts

SETUP = f"""
import torch
from ipywidgets import HBox, VBox
from clnb import nets
from clnb.augment import Affine, Compose, Noise
from clnb.data import load
from clnb.methods.simclr import SimCLR
from clnb.run import Run, watch
from clnb.views import Controls, Curves, Embedding, Gallery, Selection, Spectrum
train = load("digits")
probe = train.subset(torch.arange(200))
encoder = nets.small_convnet(channels=1, width=8)
views = Compose([Affine(25, (0.25, 0.25), (0.75, 1.3)), Noise(0.1)])
run = Run(SimCLR(encoder, nets.projection_head(encoder.out_dim, 32, 16), views), train, steps=100000, batch_size=64)
watch(run, probe, every=10)
names = [{NASTY!r}] + [str(i) for i in range(1, 10)]
shared = Selection()
plane = Embedding(run.history, probe.images, probe.labels, names).link(shared)
gallery = Gallery(probe.images, probe.labels, names).link(shared)
curves, spectrum = Curves(run.history, ["loss"]), Spectrum(run.history).link(shared)
"""
BOARD = "VBox([Controls(run), HBox([curves, plane]), HBox([spectrum, gallery])])"


@pytest.mark.parametrize("host", ["make_notebook", "make_classic"])
def test_the_lesson_lives_in_every_host(host, request):
    book = request.getfixturevalue(host)(SETUP, BOARD).run_all()
    page, board = book.page, book.widget(BOARD)
    view = lambda title: board.locator(f'.clnb[aria-label^="{title}"]')  # noqa: E731
    board.get_by_role("button", name="Start", exact=True).click()
    known = "document.querySelector('.clnb[aria-label^=Embedding]').dataset"
    page.wait_for_function(f"() => +{known}.points === 200", timeout=30_000)
    first = int(view("Embedding").get_attribute("data-drawn"))
    page.wait_for_function(f"n => +{known}.drawn > n + 3", arg=first, timeout=30_000)
    board.get_by_role("button", name="Pause", exact=True).click()                       # it answers
    page.wait_for_timeout(1500)
    assert book.kernel("run.state") == "'paused'" and int(book.kernel("print(run.steps_done)")) > 10

    canvas = view("Embedding").locator("canvas.clnb-canvas")
    book.drag(canvas, [(.03, .03), (.97, .03), (.97, .97), (.03, .97)], key="Shift")    # seen in all
    page.wait_for_timeout(800)
    assert book.kernel("print(len(shared))") == "200" and "200" in view("Gallery").inner_text()
    book.kernel("shared.set([3, 4, 5])")                                                # and from Python
    page.wait_for_timeout(800)
    assert "3 selected" in view("Embedding").inner_text()
    canvas.scroll_into_view_if_needed()
    view("Embedding").focus()
    page.keyboard.press("n")                                                # keys are the view's, not the host's
    page.wait_for_selector(".clnb-tip .clnb-thumbs canvas")
    assert view("Embedding").locator(".clnb-tip").get_attribute("data-row") in ("3", "4", "5")
    page.keyboard.press("Escape")
    page.wait_for_timeout(800)
    assert book.kernel("print(len(shared))") == "0"
    assert len(book.cells()) == 2 and page.evaluate(HARMLESS)[0] is None
    book.check().shot(f"comfort-{book.lab.module}")


THEMED = ("""
import numpy as np
from clnb.run import History
from clnb.views import Confusion, Curves, Embedding
history, labels = History(), np.arange(60) % 3
for k in range(30): history.record(k, loss=1 / (k + 1))
x = np.random.default_rng(0).normal(size=(60, 8)) + 4 * np.eye(3, 8)[labels]
""", "Curves(history)",
          "Embedding(x, np.zeros((60, 1, 8, 8), np.uint8), labels)", "Confusion(labels, np.roll(labels, 1))")
BRIGHT = r"""
all => all.map(c => {
  const p = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
  let count = 0;
  for (let i = 0; i < p.length; i += 4) count += p[i + 3] > 200 && p[i] > 150;
  return count;
})
"""


@pytest.mark.parametrize("host", ["make_notebook", "make_classic"])
def test_the_theme_of_the_host(host, request):
    book = request.getfixturevalue(host)(*THEMED).run_all().check()
    low, paper = pale(book.page)
    assert not low and paper > 200, low
    ask = "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme}).then(() => true)"
    try:
        book.page.evaluate(ask, "JupyterLab Dark")
        book.page.wait_for_timeout(1500)
        low, paper = pale(book.page)
        canvases = book.page.locator("canvas.clnb-canvas")
        for k, canvas in enumerate(canvases.all()):                         # what is not seen is not painted
            canvas.scroll_into_view_if_needed()
            book.page.wait_for_timeout(500)
            book.shot(f"comfort-{book.lab.module}-dark-{k}")
        bright = canvases.evaluate_all(BRIGHT)
        assert not low and paper < 80, low
        assert all(bright), bright                                          # ink for dark paper was drawn
    finally:
        book.page.evaluate(ask, "JupyterLab Light")
        book.page.wait_for_timeout(500)
    book.check()
