"""Condensed and GradientSimilarity in a real browser: pages without a kernel, and live beside a history."""

import json

import numpy as np
import pytest
from onpage import in_both_themes, press, root, said, wait

from clnb.run import History
from clnb.views.base import Board
from clnb.views.condensed import Condensed, GradientSimilarity, differences, ramp, span_of
from clnb.views.rewind import Rewind

EVIL = "<img src=x onerror=window.hacked=1>"
CLASSES = ("zero", EVIL, "</script>two")
STEPS = (0, 10, 20, 30)


def images(c=3, m=2, ch=1, h=8, w=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (c, m, ch, h, w), dtype=np.uint8)


def history_of(seed=0, steps=STEPS, **shape):
    "Slow changes of the same images."
    history, start, way = History(), images(**shape), np.random.default_rng(seed)
    for step in steps:
        moved = way.normal(size=start.shape) * step / 3
        history.record(step, condensed=(start + moved).clip(0, 255).astype(np.uint8), accuracy=0.4 + step / 100)
    return history


def tiles(page): return json.loads(page.page.locator("canvas.clnb-canvas").first.get_attribute("data-tiles"))


def spot(page, row, run=0, x=0.5, y=0.5):
    "Window coordinates of a place inside an image."
    tile = next(tile for tile in tiles(page) if tile["row"] == row and tile["run"] == run)
    box = page.page.locator("canvas.clnb-canvas").first.bounding_box()
    return box["x"] + tile["x"] + x * tile["w"], box["y"] + tile["y"] + y * tile["h"]


def ink(page, x, y):
    "The colour of the first canvas at window coordinates."
    script = """(e, [x, y]) => { const b = e.getBoundingClientRect(), f = e.width / b.width;
      return [...e.getContext('2d').getImageData((x - b.left) * f, (y - b.top) * f, 1, 1).data].slice(0, 3); }"""
    return page.page.locator("canvas.clnb-canvas").first.evaluate(script, [x, y])


def pixel(page, row, i, j, run=0, size=8): return ink(page, *spot(page, row, run, (j + 0.5) / size, (i + 0.5) / size))


def mode(page, name):
    page.page.get_by_role("button", name=name, exact=True).click()
    wait(page)


def hover(page, x, y):
    page.page.mouse.move(x - 2, y)
    page.page.mouse.move(x, y)
    wait(page)
    return page.page.locator(".clnb-tip").first.inner_text()


# ------------------------------------------------------------------------------------------------------------- images

def test_the_pixels_that_are_drawn(open_page, tmp_path):
    x, start = images(ch=3, seed=1), images(ch=3)
    page = open_page(Condensed(x, classes=CLASSES, initial=start).save(tmp_path / "c.html"))
    flat = x.reshape(6, 3, 8, 8)
    places = [(0, 0, 0), (3, 2, 5), (5, 7, 7)]
    for row, i, j in places: assert pixel(page, row, i, j) == flat[row, :, i, j].tolist()
    for name, key in (("change since the start", "start"), ("difference to the mean over classes", "classes")):
        mode(page, name)
        d = differences(x, key, start)
        span = span_of(d)
        assert said(page)["mode"] == key and said(page)["span"] == str(span)
        text = root(page).inner_text()
        assert f"−{span}" in text and f"+{span} of 255, mean of the channels" in text
        for row, i, j in places:
            assert pixel(page, row, i, j) == pytest.approx(ramp(d.reshape(6, 8, 8)[row, i, j], span).tolist(), abs=2)
    mode(page, "images")
    assert "of 255" not in page.page.locator(".clnb-tools").first.inner_text() and not page.problems()


def test_hover_says_numbers(open_page, tmp_path):
    x, start = images(ch=3, seed=1), images(ch=3)
    view = Condensed({"DC": x, EVIL: x[::-1].copy()}, classes=CLASSES, initial=start, mode="start")
    page = open_page(view.save(tmp_path / "c.html"))
    for run, shown in enumerate((x, x[::-1])):
        text = hover(page, *spot(page, 3, run, 5.5 / 8, 2.5 / 8))
        values = ", ".join(str(v) for v in shown.reshape(6, 3, 8, 8)[3, :, 2, 5])
        change = differences(shown, "start", start).reshape(6, 8, 8)[3, 2, 5]
        assert f"{EVIL}, image 2 of 2" in text and ("DC", EVIL)[run] in text and f"pixel (5, 2): {values}" in text
        assert f"since the start: {change:+.1f}".removesuffix(".0").replace("-", "−") in text
        assert said(page)["cursor"] == "3"
    page.page.mouse.move(5, 5)
    wait(page)
    assert said(page)["cursor"] == "-1" and not page.page.locator(".clnb-tip").first.is_visible()
    press(page, "ArrowRight")
    assert said(page)["cursor"] == "0"
    page.page.mouse.move(3, 3)
    wait(page)
    assert said(page)["cursor"] == "0"              # where the keyboard is, the mouse does not disturb
    assert not page.page.evaluate("window.hacked") and not page.problems()


def test_a_click_enlarges_and_shows_the_way(open_page, tmp_path):
    view = Condensed({"DC": history_of(1), EVIL: history_of(2)}, classes=CLASSES)
    page = open_page(view.save(tmp_path / "c.html"))
    panel = page.page.get_by_role("region", name="one image over the steps", include_hidden=True)
    assert not panel.is_visible()
    page.page.mouse.click(*spot(page, 4))
    wait(page)
    assert said(page)["opened"] == "4" and "</script>two, image 1 of 2" in panel.inner_text()
    names = [f"{run}, step {step}" for run in ("DC", EVIL) for step in STEPS]
    thumbs = panel.get_by_role("button").filter(has=page.page.locator("canvas"))
    assert [thumbs.nth(i).get_attribute("aria-label") for i in range(thumbs.count())] == names
    first = "e => [...e.getContext('2d').getImageData(3, 5, 1, 1).data][0]"
    series = [view.held[r].history["condensed"] for r in (0, 1)]
    for r in (0, 1):
        for k in range(4):
            assert thumbs.nth(4 * r + k).locator("canvas").evaluate(first) == series[r].frame(k)[2, 0, 0, 5, 3]
    assert [thumbs.nth(i).get_attribute("aria-current") for i in range(8)] == [None, None, None, "step"] * 2
    thumbs.nth(1).click()
    wait(page)
    assert said(page)["step"] == "10" and thumbs.nth(1).get_attribute("aria-current") == "step"
    large = panel.get_by_role("group", name="DC").locator("canvas").first
    assert large.evaluate(first) == series[0].frame(1)[2, 0, 0, 5, 3]
    assert page.page.evaluate("document.activeElement.dataset.key") == "0-10"       # the focus stays where it was
    panel.get_by_role("button", name="close").click()
    wait(page)
    assert said(page)["opened"] == "-1" and not panel.is_visible()
    for _ in range(2): page.page.mouse.click(*spot(page, 2, 1)); wait(page)
    assert said(page)["opened"] == "-1" and not page.problems() and not page.page.evaluate("window.hacked")


def test_the_strip_is_drawn_as_the_images_are(open_page, tmp_path):
    view = Condensed(history_of(), classes=CLASSES, mode="start")
    view.opened = 0
    page = open_page(view.save(tmp_path / "c.html"))
    wait(page)
    panel = page.page.get_by_role("region", name="one image over the steps")
    assert "… +" in panel.inner_text()
    thumbs = panel.get_by_role("button").filter(has=page.page.locator("canvas"))
    colour = "e => [...e.getContext('2d').getImageData(0, 0, 1, 1).data].slice(0, 3)"
    assert thumbs.first.locator("canvas").evaluate(colour) == [247, 247, 247]       # at the start nothing has changed
    mode(page, "images")
    assert thumbs.first.locator("canvas").evaluate(colour) == [int(images()[0, 0, 0, 0, 0])] * 3 and not page.problems()


def test_keyboard(open_page, tmp_path):
    page = open_page(Condensed(images(4, 3, seed=2), classes="abcd", initial=images(4, 3)).save(tmp_path / "c.html"))
    whisper = root(page).locator("[role=status]").first
    press(page, "ArrowRight")
    assert said(page)["cursor"] == "0" and whisper.inner_text() == "a, image 1 of 3"
    press(page, "ArrowRight", "ArrowRight", "ArrowRight")
    assert said(page)["cursor"] == "3" and whisper.inner_text() == "b, image 1 of 3"
    press(page, "ArrowLeft")
    assert said(page)["cursor"] == "2"
    press(page, "ArrowUp", "ArrowLeft", "ArrowLeft", "ArrowLeft")
    assert said(page)["cursor"] == "0"
    press(page, "Enter")
    assert said(page)["opened"] == "0"
    press(page, "m")
    assert said(page)["mode"] == "start"
    press(page, "m", "m")
    assert said(page)["mode"] == "images"
    press(page, "c", "c")
    assert said(page)["only"] == "1" and len(tiles(page)) == 3
    press(page, "c", "c", "c")
    assert said(page)["only"] == "-1" and len(tiles(page)) == 12
    press(page, "Escape")
    assert said(page)["opened"] == "-1" and said(page)["cursor"] == "-1" and not page.problems()


def test_one_class_is_shown_larger(open_page, tmp_path):
    page = open_page(Condensed(images(10, 5)).save(tmp_path / "c.html"))
    small = tiles(page)
    page.page.get_by_label("class", exact=True).select_option("7")
    wait(page)
    large = tiles(page)
    assert [tile["row"] for tile in large] == list(range(35, 40)) and large[0]["w"] > small[0]["w"]
    assert said(page)["only"] == "7"
    assert pixel(page, 37, 4, 4) == [int(images(10, 5)[7, 2, 0, 4, 4])] * 3
    page.page.get_by_label("class", exact=True).select_option("-1")
    wait(page)
    assert len(tiles(page)) == 50 and not page.problems()


def test_steps_of_two_runs(open_page, tmp_path):
    view = Condensed({"DC": history_of(1), "DCC": history_of(2, (10, 30))}, classes=CLASSES)
    page = open_page(view.save(tmp_path / "c.html"))
    for k, step in enumerate(STEPS):
        page.set_range(page.page.get_by_label("step", exact=True), k)
        wait(page)
        assert said(page)["step"] == str(step) and f"step {step}" in root(page).inner_text()
        words = page.page.get_by_role("list", name="runs").inner_text()
        assert f"DC: {view.in_words(0, step)}" in words and f"DCC: {view.in_words(1, step)}" in words
        assert pixel(page, 0, 3, 3) == [int(view.images_at(0, step)[1][0, 0, 0, 3, 3])] * 3
    assert "DCC: nothing recorded yet" in (page.set_range(page.page.get_by_label("step", exact=True), 0) or
                                           page.page.get_by_role("list", name="runs").inner_text())
    assert not page.problems()


def test_the_start_is_not_known(open_page, tmp_path):
    page = open_page(Condensed(images()).save(tmp_path / "c.html"))
    button = page.page.get_by_role("button", name="change since the start")
    assert button.is_disabled() and "not known" in button.get_attribute("title")
    press(page, "m")
    assert said(page)["mode"] == "classes"
    press(page, "m")
    assert said(page)["mode"] == "images" and not page.problems()


@pytest.mark.parametrize("source", [
    History(), images(1, 1, 1, 1, 1), images(1, 1, 3, 32, 20), images(2, 50), images(100, 1), images(100, 10, 1, 4, 4),
    np.zeros((2, 1, 1, 4, 4), np.uint8)])
def test_little_and_much(source, open_page, tmp_path):
    page = open_page(Condensed(source).save(tmp_path / "c.html"))
    press(page, "ArrowRight", "ArrowDown", "Enter", "m", "m", "m", "c", "Escape", " ")
    page.hover(page.page.locator("canvas.clnb-canvas").first)
    if isinstance(source, History): assert "waiting for 'condensed'" in root(page).inner_text()
    else: assert said(page)["cursor"] != "" and tiles(page)[0]["w"] >= 3
    assert page.painted() >= 1 and not page.problems()


@pytest.mark.parametrize("width", [330, 500, 800, 1280])
def test_every_width_and_both_themes(width, chromium, tmp_path):
    view = Condensed({name: history_of(ch=3) for name in ("first", EVIL, "third")}, classes=CLASSES, mode="classes")
    view.opened = 1
    gradients = GradientSimilarity({"first": gradient_history(), "second": gradient_history()}, CLASSES)
    path = Board([[view], [gradients]]).save(tmp_path / "c.html")
    for sheet in in_both_themes(chromium, path, width):
        box = sheet.locator("canvas.clnb-canvas").first.bounding_box()
        for tile in json.loads(sheet.locator("canvas.clnb-canvas").first.get_attribute("data-tiles")):
            assert tile["x"] >= 0 and tile["x"] + tile["w"] <= box["width"]
            assert tile["y"] + tile["h"] <= box["height"]
        box = sheet.locator("canvas.clnb-canvas").nth(1).bounding_box()
        for cells in json.loads(sheet.locator("canvas.clnb-canvas").nth(1).get_attribute("data-boxes")):
            assert cells["x"] + cells["w"] * (cells["columns"] - 1) + cells["last"] <= box["width"]
            assert cells["y"] + cells["h"] * cells["rows"] <= box["height"]


def test_one_slider_leads_both(open_page, tmp_path):
    view = Condensed(history_of(), classes=CLASSES)
    view.opened = 0
    page = open_page(Rewind(view, GradientSimilarity(gradient_history(STEPS))).board().save(tmp_path / "b.html"))
    sliders = page.page.get_by_label("step", exact=True)
    assert sum(sliders.nth(i).is_visible() for i in range(sliders.count())) <= 1
    page.page.get_by_role("button", name="step 10").click()
    wait(page)
    steps = [root(page, i).get_attribute("data-step") for i in range(root(page).page.locator(".clnb").count())]
    assert steps.count("10") >= 2 and not page.problems()


# ---------------------------------------------------------------------------------------------------------- gradients

def cosines(layers=2, c=3, seed=0):
    a = np.random.default_rng(seed).normal(size=(2, layers, c, 20))
    a /= np.linalg.norm(a, axis=3, keepdims=True)
    return np.einsum("lid,ljd->lij", *a)


def gradient_history(steps=(0, 10), seed=0):
    history = History()
    for step in steps:
        history.record(step, similarity=cosines(seed=seed + step), matching=[3.0 + step, 1.5],
                       **{"similarity.sum": np.array([0.5, -0.25])})
    return history


def cell(page, part, i, j, run=0):
    "Window coordinates of a cell, a little off its middle, where no number stands."
    canvas = page.page.locator("canvas.clnb-canvas").first
    box = next(b for b in json.loads(canvas.get_attribute("data-boxes")) if b["r"] == run and b["part"] == part)
    gap = 5 if part == "layers" and j == box["columns"] - 1 else 0
    place = canvas.bounding_box()
    return place["x"] + box["x"] + gap + j * box["w"] + 2, place["y"] + box["y"] + (i + 0.15) * box["h"]


def test_cells_colours_and_numbers(open_page, tmp_path):
    one, two = cosines(), cosines(seed=1)
    view = GradientSimilarity({"DC": one, EVIL: two}, CLASSES, ["first", EVIL])
    page = open_page(view.save(tmp_path / "g.html"))
    for i, j in ((0, 0), (1, 2), (2, 1)):
        assert ink(page, *cell(page, "pairs", i, j, 1)) == pytest.approx(ramp(two[0, i, j], 1).tolist(), abs=2)
        text = hover(page, *cell(page, "pairs", i, j))
        assert f"first · synthetic {CLASSES[i]}, real {CLASSES[j]}" in text and said(page)["cursor"] == f"pairs {i} {j}"
        for name, x in (("DC", one), (EVIL, two)): assert f"{name}: cosine {x[0, i, j]:.4f}".replace("-", "−") in text
    text = hover(page, *cell(page, "layers", 1, 3))
    assert f"{EVIL} · sum over classes" in text and text.count("not recorded") == 2
    assert "sum over classes not recorded" in page.page.get_by_role("list", name="runs").inner_text()
    assert not page.page.evaluate("window.hacked") and not page.problems()


def test_layers_are_switched(open_page, tmp_path):
    view = GradientSimilarity(gradient_history(), CLASSES, ["first", "last"])
    page = open_page(view.save(tmp_path / "g.html"))
    layers, x = page.page.get_by_role("group", name="layer", exact=True), cosines(seed=10)

    def shown(layer):
        assert said(page)["layer"] == str(layer)
        pressed = [layers.get_by_role("button").nth(i).get_attribute("aria-pressed") for i in (0, 1)]
        assert pressed == ["true" if i == layer else "false" for i in (0, 1)]
        assert ink(page, *cell(page, "pairs", 1, 0)) == pytest.approx(ramp(x[layer, 1, 0], 1).tolist(), abs=2)
        assert view.in_words(0, 10, layer) in page.page.get_by_role("list", name="runs").inner_text()

    shown(0)
    layers.get_by_role("button", name="last").click()
    wait(page)
    shown(1)
    press(page, "l")
    shown(0)
    page.page.mouse.click(*cell(page, "layers", 1, 1))
    wait(page)
    hover(page, 3, 3)
    shown(1)
    text = hover(page, *cell(page, "layers", 0, 3))
    assert "first · sum over classes" in text and "cosine 0.5000, matching loss 13" in text and not page.problems()


def test_keyboard_of_gradients(open_page, tmp_path):
    page = open_page(GradientSimilarity(gradient_history(), CLASSES, ["first", "last"]).save(tmp_path / "g.html"))
    status = root(page).locator("[role=status]").first
    press(page, "ArrowDown")
    assert said(page)["cursor"] == "pairs 0 0" and "synthetic zero, real zero" in status.inner_text()
    press(page, "ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight")
    assert said(page)["cursor"] == "pairs 1 2"
    assert f"cosine {cosines(seed=10)[0, 1, 2]:.4f}".replace("-", "−") in status.inner_text()
    press(page, "ArrowDown", "ArrowDown", "ArrowRight")
    assert said(page)["cursor"] == "layers 0 3" and "sum over classes" in status.inner_text()
    press(page, "ArrowDown", "ArrowDown", "Enter")
    assert said(page)["cursor"] == "layers 1 3" and said(page)["layer"] == "1"
    press(page, "ArrowUp", "ArrowUp")
    assert said(page)["cursor"] == "pairs 2 2"
    press(page, "Escape")
    assert said(page)["cursor"] == "" and not page.problems()


def test_steps_of_gradients(open_page, tmp_path):
    view = GradientSimilarity(gradient_history((0, 10, 20)), CLASSES)
    page = open_page(view.save(tmp_path / "g.html"))
    for k, step in enumerate((0, 10, 20)):
        page.set_range(page.page.get_by_label("step", exact=True), k)
        wait(page)
        assert said(page)["step"] == str(step) and view.in_words(0, step) in root(page).inner_text()
        colour = ramp(cosines(seed=step)[0, 0, 1], 1).tolist()
        assert ink(page, *cell(page, "pairs", 0, 1)) == pytest.approx(colour, abs=2)
    assert not page.problems()


@pytest.mark.parametrize("source", [
    History(), np.ones((1, 1)), np.full((3, 3), np.nan), cosines(4, 100), cosines(30, 12), cosines(1, 10)])
def test_little_and_many_gradients(source, open_page, tmp_path):
    page = open_page(GradientSimilarity(source).save(tmp_path / "g.html"))
    press(page, "ArrowDown", "ArrowRight", "ArrowDown", "l", "Enter", "ArrowUp", "Escape")
    canvas = page.page.locator("canvas.clnb-canvas").first
    page.hover(canvas)
    canvas.click()
    if isinstance(source, History): assert "waiting for 'similarity'" in root(page).inner_text()
    elif np.isnan(source).all(): assert "9 without a gradient" in root(page).inner_text()
    else: assert "sum over classes" in hover(page, *cell(page, "layers", 0, source.shape[-1]))
    assert page.painted() == 1 and not page.problems()


# --------------------------------------------------------------------------------------------------------------- live

LIVE = """
import numpy as np
from clnb.run import History
from clnb.views.base import Board
from clnb.views.condensed import Condensed, GradientSimilarity
history, start = History(), np.random.default_rng(0).integers(0, 200, (3, 2, 1, 8, 8), dtype=np.uint8)
view, gradients = Condensed(history, classes=["a", "b", "c"]), GradientSimilarity(history)
def record(step):
    history.record(step, condensed=start + np.uint8(step), similarity=np.eye(3)[None] * (1 - step / 100), accuracy=0.5)
"""


def test_live_beside_a_history(make_notebook):
    book = make_notebook(LIVE, "Board([[view], [gradients]])").run_all()
    one, two = (book.page.locator(".jp-Notebook .clnb").nth(i) for i in (0, 1))
    two.wait_for(timeout=30_000)
    assert "waiting for 'condensed'" in one.inner_text() and "waiting for 'similarity'" in two.inner_text()
    for step in (0, 10, 20):
        book.kernel(f"record({step})")
        book.page.wait_for_timeout(900)
    assert one.get_attribute("data-step") == "20" and two.get_attribute("data-step") == "20"
    one.focus()
    for key in ("ArrowRight", "Enter", "m"): book.page.keyboard.press(key)
    book.page.wait_for_timeout(1200)
    assert book.kernel("print(view.opened, view.mode)") == "0 start" and one.get_attribute("data-span") == "32"
    thumbs = one.get_by_role("button").filter(has=book.page.locator("canvas"))
    names = [thumbs.nth(i).get_attribute("aria-label") for i in range(thumbs.count())]
    assert names == ["step 0", "step 10", "step 20"]
    thumbs.nth(1).click()
    book.page.wait_for_timeout(1200)
    assert one.get_attribute("data-step") == "10" and book.kernel("print(view.frame['step'])") == "10"
    book.kernel("view.mode = 'classes'; view.only = 2; gradients.layer = 0")
    book.page.wait_for_timeout(600)
    assert one.get_attribute("data-mode") == "classes" and one.get_attribute("data-only") == "2"
    book.kernel("record(30)")
    book.page.wait_for_timeout(1500)
    assert two.get_attribute("data-step") == "30" and one.get_attribute("data-step") == "10"     # who looks back stays
    book.check()


def test_the_notebook_draws_every_widget(open_notebook):
    book = open_notebook("07t_condensed").run_all()
    book.check()
