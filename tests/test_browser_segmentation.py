"""Segmentation in a real browser: pages without a kernel, and live beside a history."""

import json

import numpy as np
import pytest
from onpage import canvas, in_both_themes, place, press, root, said, wait

from clnb.run import History
from clnb.views.base import Board
from clnb.views.rewind import Rewind
from clnb.views.segmentation import OUT, Segmentation, painted, rgb, scores_of, tables_of

EVIL = "<img src=x onerror=window.hacked=1>"
CLASSES = ("road", EVIL, "</script>tree")
INKS = ["#112233", "#ee8800", "#00bb44"]
STEPS = (0, 10, 20)


def images(n=5, c=3, h=16, w=12, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, c, h, w), dtype=np.uint8)


def masks(n=5, h=16, w=12, classes=3, seed=0, block=4):
    "Blocks of classes, so that there are regions."
    small = np.random.default_rng(seed).integers(0, classes, (n, -(-h // block), -(-w // block)))
    return small.repeat(block, 1).repeat(block, 2)[:, :h, :w].astype(np.uint8)


def history_of(seed=5, steps=STEPS):
    history, truth = History(), masks()
    for step in steps:
        keep = np.random.default_rng(step).random(truth.shape) < step / 25
        history.record(step, prediction=np.where(keep, truth, masks(seed=seed + step)).astype(np.uint8))
    return history


def view_of(predictions=None, truth=None, **more):
    return Segmentation(images(), masks() if truth is None else truth, masks(seed=1) if predictions is None else
                        predictions, CLASSES, **{"colours": INKS, "layers": ("picture", "truth", "prediction"), **more})


def panels(page): return json.loads(canvas(page).get_attribute("data-panels"))


def spot(page, x, y, run=0):
    "Window coordinates of the middle of a pixel in the panel of a run (−1: picture, −2: truth)."
    panel = next(panel for panel in panels(page) if panel["r"] == run)
    return place(page, panel["x"] + (x + 0.5) * panel["scale"], panel["y"] + (y + 0.5) * panel["scale"])


def pixel(page, x, y, run=0):
    "The colour of a pixel in a panel."
    script = """(e, [x, y]) => { const b = e.getBoundingClientRect(), f = e.width / b.width;
      return [...e.getContext('2d').getImageData((x - b.left) * f, (y - b.top) * f, 1, 1).data].slice(0, 3); }"""
    return canvas(page).evaluate(script, [*spot(page, x, y, run)])


def layer(page, name):
    page.page.get_by_label(name, exact=True).click()
    wait(page)


def cell(page, r, c): return root(page).locator(f'[data-cell="{r},{c}"]')


def gallery(page):
    return [int(i) for i in root(page).locator("[data-image]").evaluate_all("all => all.map((e) => e.dataset.image)")]


PLACES = [(0, 0), (3, 5), (6, 2), (11, 15), (8, 9)]


def test_the_pixels_that_are_drawn(open_page, tmp_path):
    page = open_page(view_of({"a": masks(seed=1), "b": masks(seed=2)}).save(tmp_path / "s.html"))
    inks, x = rgb(INKS), images()[0]
    for run, numbers in ((-2, masks()), (0, masks(seed=1)), (1, masks(seed=2))):
        wanted = painted(x, numbers[0], inks, 0.6)
        for i, j in PLACES: assert pixel(page, i, j, run) == pytest.approx(wanted[j, i].tolist(), abs=1)
    for i, j in PLACES: assert pixel(page, i, j, -1) == x[:, j, i].tolist()
    layer(page, "errors")
    numbers, wrong = masks(seed=1)[0], masks(seed=1)[0] != masks()[0]
    wanted = painted(x, numbers, inks, 0.6, wrong, grey=True)
    for i, j in PLACES: assert pixel(page, i, j) == pytest.approx(wanted[j, i].tolist(), abs=1)
    layer(page, "picture")
    wanted = painted(np.full_like(x, 128), numbers, inks, 0.6, wrong, grey=True)
    for i, j in PLACES: assert pixel(page, i, j) == pytest.approx(wanted[j, i].tolist(), abs=1)
    for name in ("picture", "errors", "prediction"): layer(page, name)
    for i, j in PLACES: assert pixel(page, i, j) == x[:, j, i].tolist()
    assert said(page)["layers"] == "picture truth" and not page.problems()
    page.set_range(page.page.get_by_label("opacity"), 1)
    wait(page)
    for i, j in PLACES: assert pixel(page, i, j, -2) == inks[masks()[0, j, i]].tolist()
    assert page.page.evaluate("window.hacked") is None


def test_a_cell_lights_its_pixels_up(open_page, tmp_path):
    page = open_page(view_of().save(tmp_path / "s.html"))
    lit = (masks() == 1) & (masks(seed=1) == 2)
    counts = lit.sum((1, 2))
    cell(page, 1, 2).click()
    wait(page)
    assert said(page)["cell"] == "1,2" and said(page)["lit"] == str(counts.sum())
    assert gallery(page) == np.argsort(-counts, kind="stable").tolist() and said(page)["opened"] == str(counts.argmax())
    best = int(counts.argmax())
    for y, x in [*np.argwhere(lit[best])[:3]]: assert pixel(page, x, y, -1) == [255, 255, 255]
    for y, x in [*np.argwhere(~lit[best])[:3]]:
        grey = images()[best, :, y, x].mean() / 3
        assert pixel(page, x, y, -1) == pytest.approx([grey] * 3, abs=1)
    text = root(page).inner_text()
    assert f"lit: truth {EVIL}, predicted </script>tree" in text and f"{counts[best]} px" in text
    assert cell(page, 1, 2).get_attribute("aria-pressed") == "true"
    label = cell(page, 1, 2).get_attribute("aria-label")
    assert label.startswith(f"truth {EVIL}, predicted </script>tree: {lit.sum()} pixels")
    cell(page, 1, 2).click()
    wait(page)
    assert said(page)["cell"] == "" and not page.problems() and page.page.evaluate("window.hacked") is None


def test_hover_and_click_on_a_pixel(open_page, tmp_path):
    truth = masks()
    truth[0, 0, 0] = 255
    page = open_page(view_of({"first": masks(seed=1), EVIL: masks(seed=2)}, truth).save(tmp_path / "s.html"))
    tip = page.page.locator(".clnb-tip").first
    for x, y in PLACES[1:]:
        page.page.mouse.move(*spot(page, x, y, 1))
        wait(page)
        text, r, a, b = tip.inner_text(), truth[0, y, x], masks(seed=1)[0, y, x], masks(seed=2)[0, y, x]
        assert f"image 0, pixel ({x}, {y})" in text and f"truth: {CLASSES[r]}" in text
        assert f"first{'' if a == r else ' ✗'}: {CLASSES[a]}" in text
        assert f"{EVIL}{'' if b == r else ' ✗'}: {CLASSES[b]}" in text
        assert said(page)["cursor"] == f"{x},{y}"
        assert "inset" in cell(page, r, a).evaluate("e => e.style.boxShadow")      # its cell is marked in the table
    page.page.mouse.click(*spot(page, *PLACES[1], 1))
    wait(page)
    x, y = PLACES[1]
    assert said(page)["cell"] == f"{truth[0, y, x]},{masks(seed=2)[0, y, x]}" and said(page)["strategy"] == "1"
    assert said(page)["opened"] == "0"
    page.page.mouse.click(*spot(page, *PLACES[1], 1))
    wait(page)
    assert said(page)["cell"] == ""
    page.page.mouse.click(*spot(page, 0, 0))
    wait(page)
    assert "truth: not judged" in tip.inner_text() and said(page)["cell"] == ""
    page.page.mouse.move(3, 3)
    wait(page)
    assert said(page)["cursor"] == "" and not tip.is_visible() and not page.problems()


def table_of(page):
    "The texts of the table, row by row."
    script = "rows => rows.map((row) => [...row.children].map((e) => e.innerText))"
    return root(page).locator("tbody tr").evaluate_all(script)


def test_table_and_scores_agree_with_the_notebook(open_page, tmp_path):
    truth = masks()
    truth[2] = OUT
    view = view_of({"a": masks(seed=1), "b": masks(seed=2)}, truth, groups=["x", "y", "x", "y", "y"])
    page = open_page(view.save(tmp_path / "s.html"))
    page.page.get_by_label("cells").select_option("pixels")
    for run in (0, 1):
        page.page.get_by_label("table of", exact=True).select_option(str(run))
        for among, rows in (("all", range(5)), ("x", [0, 2]), ("y", [1, 3, 4])):
            page.page.get_by_label("counted in").select_option(among)
            wait(page)
            table = tables_of(masks(seed=1 + run), truth, 3)[list(rows)].sum(0)
            known, shown = scores_of(table), table_of(page)
            for r in range(3):
                cells = [int(t.replace(",", "").replace("·", "0")) for t in shown[r][1:4]]
                assert cells == table[r].tolist() and shown[r][4:] == [f"{known.iou[r]:.3f}", f"{known.f1[r]:.3f}"]
            words = page.page.get_by_role("list", name="scores").inner_text()
            if among == "all": assert f"{'ab'[run]}: {view.in_words(run)}" in words
            numbers = f"OA {known.accuracy:.3f} · κ {known.kappa:.3f} · mean IoU {known.mean_iou:.3f}"
            assert numbers.replace("-", "−") in words
            assert set(gallery(page)) == set(rows)
    page.page.get_by_label("counted in").select_option("image")
    page.page.get_by_label("cells").select_option("% of the true class")
    wait(page)
    assert said(page)["among"] == "image"
    opened = int(said(page)["opened"])
    table = tables_of(masks(seed=2), truth, 3)[opened]
    share = 100 * table / np.maximum(table.sum(1, keepdims=True), 1)
    for r in range(3):
        for c in range(3):
            text = table_of(page)[r][1 + c]
            assert text == "·" if not table[r, c] else abs(float(text) - share[r, c]) <= 0.51
    assert not page.problems()


def test_absent_classes_and_images_that_are_not_judged(open_page, tmp_path):
    truth, found = np.minimum(masks(), 1), masks(seed=1)
    truth[3] = OUT
    view = Segmentation(images(), truth, found, ["a", "b", "c", "never"])
    page = open_page(view.save(tmp_path / "s.html"))
    rows = table_of(page)
    assert "absent" in rows[3][0] and rows[3][5:] == ["–", "–"] and "not in the truth" in rows[2][0]
    assert rows[2][5:] == ["0.000", "0.000"] and "not judged" in root(page).locator('[data-image="3"]').inner_text()
    root(page).locator('[data-image="3"]').click()
    page.page.get_by_label("counted in").select_option("image")
    wait(page)
    assert "no pixel to judge" in root(page).inner_text()
    page.page.get_by_label("counted in").select_option("selected")
    wait(page)
    assert "0 images: 0 pixels" in root(page).inner_text() and not page.problems()


def test_gallery_is_sorted_and_opens(open_page, tmp_path):
    page = open_page(view_of(names=["one", EVIL, "three", "four", "five"]).save(tmp_path / "s.html"))
    share = (masks() != masks(seed=1)).mean((1, 2))
    worst = np.argsort(-share, kind="stable").tolist()
    assert gallery(page) == worst
    root(page).locator(f'[data-image="{worst[1]}"]').click()
    wait(page)
    assert said(page)["opened"] == str(worst[1])
    assert root(page).locator("[data-image][aria-current]").get_attribute("data-image") == str(worst[1])
    for i, j in PLACES: assert pixel(page, i, j, -1) == images()[worst[1], :, j, i].tolist()
    page.page.get_by_label("gallery").select_option("fewest errors first")
    wait(page)
    assert gallery(page) == np.argsort(share, kind="stable").tolist()
    page.page.get_by_label("gallery").select_option("as given")
    wait(page)
    assert gallery(page) == list(range(5))
    root(page).locator('[data-image="1"]').click()
    page.page.keyboard.press("ArrowRight")
    wait(page)
    assert said(page)["opened"] == "2" and page.page.evaluate("document.activeElement.dataset.image") == "2"
    page.set_range(page.page.get_by_label("image", exact=True), 4)
    wait(page)
    assert said(page)["opened"] == "4" and "five" in root(page).inner_text()
    assert not page.problems() and page.page.evaluate("window.hacked") is None


def test_slices_of_a_volume(open_page, tmp_path):
    "Grey images: the slider goes through the slices of one volume."
    view = Segmentation(images(6, 1)[:, 0], masks(6), masks(6, seed=1), CLASSES, groups=["p1", "p2"] * 3,
                        layers=("picture", "outlines"))
    page = open_page(view.save(tmp_path / "s.html"))
    page.page.get_by_label("counted in").select_option("p2")
    wait(page)
    assert said(page)["opened"] == "1" and sorted(gallery(page)) == [1, 3, 5]
    slide = page.page.get_by_label("image", exact=True)
    for k, row in enumerate((1, 3, 5)):
        page.set_range(slide, k)
        wait(page)
        assert said(page)["opened"] == str(row) and slide.get_attribute("aria-valuetext") == f"p2, {k}"
    assert not page.problems()


def test_outlines(open_page, tmp_path):
    left = np.zeros((1, 16, 12), np.uint8)
    left[:, :, 6:] = 1
    view = Segmentation(np.full((1, 3, 16, 12), 200, np.uint8), left, left[..., ::-1].copy(), ["a", "b"],
                        colours=["#ff0000", "#0000ff"], layers=("picture", "outlines"))
    page = open_page(view.save(tmp_path / "s.html"))
    panel = next(panel for panel in panels(page) if panel["r"] == -2)
    script = """(e, [x, y]) => { const f = e.width / e.getBoundingClientRect().width;
      return [...e.getContext('2d').getImageData(x * f, y * f, 1, 1).data].slice(0, 3); }"""
    middle = [panel["x"] + 6 * panel["scale"], panel["y"] + 8.5 * panel["scale"]]
    a, b = (canvas(page).evaluate(script, [middle[0] + d, middle[1]]) for d in (-1.5, 0.5))
    assert a[0] > 200 and a[2] < 120 and b[2] > 200 and b[0] < 120         # each side in its own colour
    assert pixel(page, 2, 2, -2) == [200] * 3 and "outlines: truth solid" in root(page).inner_text()
    root(page).locator(".clnb-chip").first.click()
    wait(page)
    assert said(page)["only"] == "0"
    own = canvas(page).evaluate(script, middle)
    assert min(own) > 150                                                 # of one class alone the truth is white
    layer(page, "outlines")
    assert canvas(page).evaluate(script, middle) == [200] * 3 and not page.problems()


def test_one_class_alone_and_letters(open_page, tmp_path):
    view = view_of(layers=("picture", "truth", "prediction", "letters"))
    page = open_page(view.save(tmp_path / "s.html"))
    with_letters = canvas(page).evaluate("e => e.toDataURL()")
    layer(page, "letters")
    assert canvas(page).evaluate("e => e.toDataURL()") != with_letters
    root(page).get_by_role("button", name="road").first.click()
    wait(page)
    inks = rgb(INKS)
    wanted = painted(images()[0], masks()[0], inks, 0.6, masks()[0] == 0)
    for i, j in PLACES: assert pixel(page, i, j, -2) == pytest.approx(wanted[j, i].tolist(), abs=1)
    assert said(page)["only"] == "0"
    press(page, "Escape")
    assert said(page)["only"] == "-1" and not page.problems()


def test_keyboard(open_page, tmp_path):
    page = open_page(view_of({"a": masks(seed=1), "b": masks(seed=2)}).save(tmp_path / "s.html"))
    order = gallery(page)
    press(page, "n")
    assert said(page)["opened"] == str(order[(order.index(0) + 1) % 5])
    press(page, "b")
    assert said(page)["opened"] == "0"
    press(page, "ArrowRight")
    assert said(page)["cursor"] == "6,8"
    press(page, "ArrowDown", "ArrowDown", "ArrowLeft", "ArrowUp")
    x, y = 5, 9
    assert said(page)["cursor"] == f"{x},{y}"
    r, c = masks()[0, y, x], masks(seed=1)[0, y, x]
    letters = root(page).locator(".clnb-chip").evaluate_all("all => all.map((e) => e.innerText[0])")
    status = root(page).locator("[role=status]").first.inner_text()
    assert f"pixel ({x}, {y}): truth {letters[r]} {CLASSES[r]} · a {letters[c]} {CLASSES[c]} · b " in status
    press(page, "Enter")
    assert said(page)["cell"] == f"{r},{c}"
    press(page, "Escape")
    assert said(page)["cell"] == "" and said(page)["cursor"] == ""
    for key, name in zip("itpeol", ("picture", "truth", "prediction", "errors", "outlines", "letters"), strict=True):
        before = name in said(page)["layers"].split()
        press(page, key)
        assert (name in said(page)["layers"].split()) != before
    press(page, "s")
    assert said(page)["strategy"] == "1"
    cell(page, 0, 0).focus()
    page.page.keyboard.press("ArrowRight")
    page.page.keyboard.press("ArrowDown")
    assert page.page.evaluate("document.activeElement.dataset.cell") == "1,1"
    page.page.keyboard.press("Enter")
    wait(page)
    assert said(page)["cell"] == "1,1" and page.page.evaluate("document.activeElement.dataset.cell") == "1,1"
    assert not page.problems()


def test_steps_and_a_strategy_that_comes_later(open_page, tmp_path):
    view = view_of({"a": history_of(), "b": history_of(8, (10, 20))})
    page = open_page(view.save(tmp_path / "s.html"))
    inks = rgb(INKS)
    for k, step in enumerate(STEPS):
        page.set_range(page.page.get_by_label("step", exact=True), k)
        wait(page)
        words = page.page.get_by_role("list", name="scores").inner_text()
        assert said(page)["step"] == str(step) and f"a: {view.in_words(0, step)}" in words
        assert f"b: {view.in_words(1, step)}" in words
        wanted = painted(images()[0], view.held[0].history["prediction"].frame(k)[0], inks, 0.6)
        for i, j in PLACES: assert pixel(page, i, j) == pytest.approx(wanted[j, i].tolist(), abs=1)
    press(page, " ")
    assert not page.problems()


def test_state_is_kept_in_the_page(open_page, tmp_path):
    view = view_of({"a": masks(seed=1), "b": masks(seed=2)}, groups=["x", "y", "x", "y", "y"])
    view.opened, view.strategy, view.cell, view.among, view.layers = 3, 1, [0, 1], "y", ["errors"]
    page = open_page(view.save(tmp_path / "s.html"))
    known = said(page)
    names = ("opened", "strategy", "cell", "among", "layers")
    assert [known[name] for name in names] == ["3", "1", "0,1", "y", "errors"]
    assert known["lit"] == str(view.table()[0, 1]) and gallery(page) == [i for i in view.order() if i in (1, 3, 4)]
    assert not page.problems()


def test_selected_images_are_shared(open_page, tmp_path):
    first, second = view_of(), view_of(masks(seed=2))
    page = open_page(Board([[first], [second]]).save(tmp_path / "s.html"))
    root(page).locator('[data-image="2"]').click(modifiers=["Control"])
    root(page).locator('[data-image="4"]').click(modifiers=["Control"])
    wait(page)
    marked = root(page, 1).locator('[data-selected="true"]').evaluate_all("all => all.map((e) => e.dataset.image)")
    assert sorted(marked) == ["2", "4"] and said(page)["opened"] == "0"
    root(page, 1).get_by_label("counted in").select_option("selected")
    wait(page)
    known = scores_of(tables_of(masks(seed=2), masks(), 3)[[2, 4]].sum(0))
    assert f"OA {known.accuracy:.3f}" in root(page, 1).inner_text() and not page.problems()


def test_one_slider_leads_both(open_page, tmp_path):
    page = open_page(Rewind(view_of(history_of()), view_of(history_of(9))).board().save(tmp_path / "s.html"))
    page.set_range(page.page.get_by_label("step", exact=True).first, 1)
    wait(page)
    steps = page.page.locator(".clnb[data-step]").evaluate_all("all => all.map((e) => e.dataset.step)")
    assert [step for step in steps if step] and not page.problems()


@pytest.mark.parametrize("case", ["empty", "one pixel", "one image", "wide", "many classes", "large"])
def test_little_and_much(case, open_page, tmp_path):
    shape = {"empty": (2, 4, 4, 2), "one pixel": (1, 1, 1, 1), "one image": (1, 40, 30, 3), "wide": (3, 8, 200, 3),
             "many classes": (2, 32, 32, 60), "large": (64, 96, 96, 6)}[case]
    n, h, w, count = shape
    truth = masks(n, h, w, count, block=2)
    found = History() if case == "empty" else masks(n, h, w, count, seed=1, block=2)
    view = Segmentation(images(n, 1, h, w), truth, found, [f"class {k}" for k in range(count)])
    page = open_page(view.save(tmp_path / "s.html"))
    press(page, "ArrowRight", "ArrowDown", "Enter", "e", "o", "n", "b", "s", "Escape")
    page.hover(canvas(page))
    if case == "empty": assert "waiting for 'prediction'" in root(page).inner_text()
    if case == "many classes":
        assert root(page).locator("tbody tr").count() == 24 and "24 largest of 60 classes" in root(page).inner_text()
    assert page.painted() >= 1 and not page.problems()


@pytest.mark.parametrize("width", [330, 500, 800, 1280])
def test_every_width_and_both_themes(width, chromium, tmp_path):
    view = view_of({"first": masks(seed=1), EVIL: masks(seed=2), "a rather long name of a strategy": masks(seed=3)})
    view.cell = [0, 1]
    for sheet in in_both_themes(chromium, view.save(tmp_path / "s.html"), width):
        box = sheet.locator("canvas.clnb-canvas").bounding_box()
        for panel in json.loads(sheet.locator("canvas.clnb-canvas").get_attribute("data-panels")):
            assert panel["x"] >= 0 and panel["x"] + panel["w"] <= box["width"] + 1
            assert panel["y"] + panel["h"] <= box["height"]


@pytest.mark.timeout(600)
def test_live_in_a_notebook(make_notebook):
    book = make_notebook(
        "import numpy as np\nfrom clnb.run import History\nfrom clnb.views.segmentation import Segmentation\n"
        "rng = np.random.default_rng(0)\nx = rng.integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)\n"
        "truth = rng.integers(0, 3, (4, 8, 8)).astype(np.uint8)\nhistory = History()\n"
        "view = Segmentation(x, truth, history, 'abc')\nview",
        "history.record(5, prediction=np.zeros((4, 8, 8), np.uint8))",
        "history.record(9, prediction=truth)")
    book.run_all()
    page = book.page
    main = page.locator(".clnb").first
    page.wait_for_function("document.querySelector('.clnb')?.dataset.step === '9'", timeout=20000)
    assert "OA 1.000" in main.inner_text()
    main.locator('[data-cell="2,2"]').click()
    page.wait_for_timeout(500)
    assert book.kernel("print(view.cell, int(view.lit().sum()) == int((truth == 2).sum()))") == "[2, 2] True"
    page.get_by_label("step", exact=True).fill("0")
    page.wait_for_function("document.querySelector('.clnb').dataset.step === '5'", timeout=20000)
    assert main.get_attribute("data-lit") == "0"
    book.kernel("view.layers = ['errors']; view.opened = 2")
    page.wait_for_function("document.querySelector('.clnb').dataset.opened === '2'", timeout=20000)
    assert main.get_attribute("data-layers") == "errors"
    book.check()
