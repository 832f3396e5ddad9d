"""BatchSimilarity in a real browser: a page without a kernel, and live in JupyterLab beside a history."""

import json
import math

import numpy as np
import pytest
import torch
from onpage import canvas, in_both_themes, press, root, said, wait

from clnb.data import ImageSet
from clnb.run import History
from clnb.views.base import Board
from clnb.views.batch import BatchSimilarity, by_class, cosines, friends, hardest, paid, weights
from clnb.views.linked import Gallery
from clnb.views.rewind import Rewind

EVIL = "<img src=x onerror=window.hacked=1>"
NAMES = ("zero", EVIL, "</script>two", "alone")
PARTS = ("loss", "floor", "uneven", "push")


def batch(n=30, d=6, seed=0):
    "Three classes, a row that is alone, two without a label, in no order."
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=(0.5, 0.3, 0.2))
    z = 2 * np.eye(4, d)[labels] + rng.normal(size=(n, d))
    labels[3], labels[8:10] = 3, -1
    return z.astype(np.float32), labels


def pictures(n=30): return np.arange(n, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 1, 8, 8), np.uint8)


def one(**more):
    z, y = batch()
    return BatchSimilarity(z, y, **{"images": pictures(), "classes": NAMES, **more})


def places(page): return json.loads(said(page)["places"])


def opened(open_page, view, tmp_path):
    "The page of a view, with what its views share in reach."
    path = tmp_path / "b.html"
    shared = "Object.assign(window, { SHARED, bytesOf });\ntellHeight();\n"
    path.write_text(view.page().replace("tellHeight();\n</script>", f"{shared}</script>"), "utf-8")
    return open_page(path)


def selected(page):
    return page.page.evaluate("[...new Uint32Array(bytesOf(SHARED.models[0].get('selected')).slice().buffer)]")


def spot(page, a, b=None):
    "Window coordinates of a cell of the matrix, rows of the batch; of the bar of a row without `b`."
    canvas(page).scroll_into_view_if_needed()
    at, box = places(page), canvas(page).bounding_box()
    cell = at["side"] / len(at["order"])
    x = at["bar"]["left"] + 20 if b is None else at["left"] + (at["order"].index(b) + 0.5) * cell
    return box["x"] + x, box["y"] + at["top"] + (at["order"].index(a) + 0.5) * cell


def point(page, a, b=None):
    x, y = spot(page, a, b)
    page.page.mouse.move(x - 3, y)
    page.page.mouse.move(x, y)
    wait(page, 350)


def agree(page, view, s=0, step=None):
    "What the page says is what Python computes; returns the temperature."
    now, (_, similarity, _) = said(page), view.part_of(s, step)
    t, y = float(now["temperature"]), view.labels[view.rows]
    parts = paid(similarity, y, t)
    for name in PARTS: assert float(now[name]) == pytest.approx(np.nanmean(getattr(parts, name)), rel=1e-4, abs=1e-5)
    assert float(now["share"]) == pytest.approx(hardest(similarity, y, [t])[0], rel=1e-4)
    words = view.show(temperature=t).in_words(s, step)
    assert now["words"] == words and words in root(page).inner_text()
    return t


def table(page):
    rows = page.page.get_by_role("table", name="what the classes pay").locator("tbody tr")
    return [row.locator("th, td").all_inner_texts() for row in rows.all()]


def test_the_page_pays_what_python_does(open_page, tmp_path):
    view = one()
    page = opened(open_page, view, tmp_path)
    assert agree(page, view) == 0.1
    slide = page.page.get_by_label("temperature", exact=True)
    for t in (0.02, 0.5, 1.5):
        page.set_range(slide, math.log(t))
        wait(page)
        assert agree(page, view) == pytest.approx(t, rel=0.02)
        assert slide.get_attribute("aria-valuetext") == str(float(said(page)["temperature"]))
    before = agree(page, view)
    press(page, "ArrowLeft")
    assert agree(page, view) == pytest.approx(before / 1.1, rel=1e-3)
    press(page, "ArrowRight", "ArrowRight")
    assert agree(page, view) == pytest.approx(before * 1.1, rel=1e-3)
    press(page, *["ArrowRight"] * 20)
    assert agree(page, view) == 2                                        # the end of the slider
    assert not page.problems() and not page.page.evaluate("window.hacked")


def test_a_temperature_beyond_the_slider_widens_it(open_page, tmp_path):
    view = one(temperature=0.004)
    page = opened(open_page, view, tmp_path)
    assert agree(page, view) == 0.004
    press(page, *["ArrowRight"] * 12)
    assert agree(page, view) > 0.01
    press(page, *["ArrowLeft"] * 20)
    assert agree(page, view) == 0.004


def test_the_curve_is_dragged(open_page, tmp_path):
    view = one()
    page = opened(open_page, view, tmp_path)
    plot, box = places(page)["plot"], canvas(page).bounding_box()
    shares = []
    for part in (0.25, 0.5, 0.75):
        x = box["x"] + plot["left"] + part * (plot["right"] - plot["left"])
        page.page.mouse.move(x, box["y"] + plot["top"] + 60)
        wait(page)
        assert "the hardest carry" in page.page.locator(".clnb-tip").first.inner_text()
        page.page.mouse.down()
        page.page.mouse.move(x + 1, box["y"] + plot["top"] + 62, steps=3)
        page.page.mouse.up()
        wait(page)
        assert agree(page, view) == pytest.approx(0.01 * 200**part, rel=0.03)
        shares.append(float(said(page)["share"]))
    assert shares[0] > shares[1] > shares[2] and not page.problems()     # less push from few as it gets warmer


def test_the_table_is_that_of_python(open_page, tmp_path):
    view = one(temperature=0.3)
    page = opened(open_page, view, tmp_path)
    _, y = batch()
    found = by_class(paid(cosines(batch()[0]), y, 0.3), y, 4)
    rows = table(page)
    assert [row[0] for row in rows] == [*NAMES, "unlabelled", "all anchors"]
    for k in range(4):
        want = [f"{getattr(found, name)[k]:.3f}".replace("nan", "–") for name in PARTS]
        assert rows[k][1:] == [str((y == k).sum()), *want]
    assert rows[4][1:] == ["2", "–", "–", "–", "–"]
    means = [np.nanmean(part) for part in paid(cosines(batch()[0]), y, 0.3)]
    assert rows[5][1:] == ["30", *(f"{value:.3f}" for value in means)]


def test_rows_are_sorted_by_class(open_page, tmp_path):
    _, y = batch()
    page = opened(open_page, one(), tmp_path)
    want = sorted(range(30), key=lambda i: (y[i] < 0, y[i], i))
    assert places(page)["order"] == want


def test_hovering_tells_of_a_pair_and_of_a_row(open_page, tmp_path):
    page = opened(open_page, one(), tmp_path)
    (z, y), tip = batch(), page.page.locator(".clnb-tip").first
    s, mask = cosines(z), friends(y)
    w, parts = weights(s, 0.1), paid(s, y, 0.1)
    a = int(np.flatnonzero(y == 1)[0])
    for b in (int(np.flatnonzero(mask[a])[0]), int(np.flatnonzero(y == 2)[0]), 8):
        point(page, a, b)
        text, name = tip.inner_text(), NAMES[y[b]] if y[b] >= 0 else "unlabelled"
        assert f"anchor: row {a}, {EVIL}" in text
        assert f"{'positive' if mask[a, b] else 'negative'}: row {b}, {name}" in text
        assert f"cosine {s[a, b]:.3f}".replace("-", "−") in text and f"weight {100 * w[a, b]:.1f} %" in text
    assert said(page)["anchor"] == str(a)
    about = root(page).inner_text()
    assert f"Row {a}, {EVIL}: pays {parts.loss[a]:.3f} = {parts.floor[a]:.3f} + {parts.uneven[a]:.3f} + " in about
    assert f"{100 * (w * mask)[a].sum():.1f} % of its weight is on its {mask[a].sum()} positives" in about
    point(page, a)
    assert f"pays {parts.loss[a]:.3f}, at least {parts.floor[a]:.3f}" in tip.inner_text()
    for lonely in (3, 9):
        point(page, lonely)
        assert "no positive: it pays nothing" in tip.inner_text()
        assert "no positive, so it pays nothing as an anchor and is skipped" in root(page).inner_text()
    page.page.mouse.move(2, 2)
    wait(page)
    assert said(page)["anchor"] == "" and not tip.is_visible() and not page.problems()
    assert not page.page.evaluate("window.hacked")


def test_the_hardest_negatives_with_pictures(open_page, tmp_path):
    view = one(hard=5)
    page = opened(open_page, view, tmp_path)
    (z, y), strip = batch(), page.page.get_by_role("group", name="the row and its hardest negatives")
    s, mask = cosines(z), friends(y)
    a = int(np.flatnonzero(y == 0)[2])
    point(page, a, a)
    wait(page)
    foes = [i for i in np.argsort(-s[a]) if i != a and not mask[a, i]][:5]
    tiles = strip.locator("[data-row]")
    assert tiles.evaluate_all("all => all.map(e => +e.dataset.row)") == [a, *foes]
    shades = tiles.locator("canvas").evaluate_all(
        "all => all.map(e => e.getContext('2d').getImageData(0, 0, 1, 1).data[0])")
    assert shades == [a, *foes]
    first = tiles.nth(1)
    assert f"cos {s[a, foes[0]]:.2f}".replace("-", "−") in first.inner_text()
    press(page, "n")
    press(page, *["ArrowDown"] * 2)                                      # the pinned row stays when the mouse leaves
    page.page.mouse.move(2, 2)
    wait(page)
    a = int(said(page)["anchor"])
    foes = [i for i in np.argsort(-s[a]) if i != a and not mask[a, i]][:5]
    strip.locator(f"[data-row='{foes[0]}']").click()
    strip.locator(f"[data-row='{foes[1]}']").click(modifiers=["Control"])
    wait(page)
    assert selected(page) == sorted(foes[:2]) and page.page.evaluate("document.activeElement.dataset.row")
    assert not page.problems()


def test_clicks_select_and_two_views_are_one_row(open_page, tmp_path):
    z, y = batch()
    index = np.r_[40:55, 40:55]
    y[15:] = y[:15]
    images = ImageSet(torch.zeros(60, 1, 8, 8, dtype=torch.uint8), torch.zeros(60, dtype=torch.int64), ("a",))
    view = BatchSimilarity(z, y, images=images, index=index, classes=NAMES)
    page = opened(open_page, Board([[view, Gallery(images)]]), tmp_path)
    page.page.mouse.click(*spot(page, 4, 7))
    wait(page)
    assert selected(page) == [44] and said(page)["anchor"] == "4"
    page.page.keyboard.down("Control")
    page.page.mouse.click(*spot(page, 21))
    page.page.keyboard.up("Control")
    wait(page)
    assert selected(page) == [44, 46] and "2 selected" in root(page).inner_text()
    page.page.mouse.move(2, 2)
    page.page.evaluate("SHARED.select(new DataView(new Uint32Array([49, 52]).buffer))")     # elsewhere
    wait(page)
    order = places(page)["order"]
    assert int(said(page)["anchor"]) == next(i for i in order if index[i] in (49, 52))
    button = page.page.get_by_role("table", name="what the classes pay").get_by_role("button", name="zero")
    button.click()
    wait(page)
    assert selected(page) == sorted({int(index[i]) for i in range(30) if y[i] == 0})
    press(page, "Escape")
    assert selected(page) == [] and said(page)["anchor"] == "" and not page.problems()


def test_keyboard(open_page, tmp_path):
    page = opened(open_page, one(), tmp_path)
    order, y = places(page)["order"], batch()[1]
    status = page.page.locator("[role=status]")
    press(page, "ArrowDown")
    assert said(page)["anchor"] == str(order[0])
    press(page, "ArrowDown", "ArrowDown", "ArrowUp")
    assert said(page)["anchor"] == str(order[1])
    assert any(f"Row {order[1]}, zero: pays" in text for text in status.all_inner_texts())
    assert selected(page) == []
    press(page, "Enter")
    assert selected(page) == [order[1]]
    press(page, "n")
    assert y[int(said(page)["anchor"])] == 1
    press(page, "n", "n", "n")
    assert int(said(page)["anchor"]) == 8                                # the first without a label
    press(page, "n", "p")
    assert int(said(page)["anchor"]) == 3
    press(page, *["ArrowDown"] * 40)
    assert said(page)["anchor"] == str(order[-1])
    press(page, "Escape", "ArrowUp")
    assert said(page)["anchor"] == str(order[-1]) and selected(page) == [] and not page.problems()


def test_modes_outlines_and_carried_state(open_page, tmp_path):
    view = one().show(mode="weights", outlined=False, anchor=5, temperature=0.3)
    page = opened(open_page, view, tmp_path)
    now = said(page)
    assert (now["mode"], now["outlined"], now["anchor"], now["temperature"]) == ("weights", "false", "5", "0.3")
    modes, outline = page.page.get_by_role("group", name="what the matrix shows"), page.page.get_by_label("outline the")
    assert modes.get_by_role("button", name="softmax").get_attribute("aria-pressed") == "true"
    largest = weights(cosines(batch()[0]), 0.3).max()
    legend = page.page.get_by_role("group", name="colours").inner_text()
    assert "weight 0" in legend and f"{largest:.2g}" in legend
    shots = [canvas(page).screenshot()]
    outline.check()
    wait(page)
    shots.append(canvas(page).screenshot())
    modes.get_by_role("button", name="cosines").click()
    wait(page)
    shots.append(canvas(page).screenshot())
    assert "cosine −1" in page.page.get_by_role("group", name="colours").inner_text()
    press(page, "o")
    assert not outline.is_checked()
    shots.append(canvas(page).screenshot())
    assert len(set(shots)) == 4
    press(page, "w", "o")
    assert said(page)["mode"] == "weights" and outline.is_checked() and not page.problems()


COLOUR = """(e, [x, y]) => { const r = devicePixelRatio;
  return [...e.getContext('2d').getImageData(Math.round(x * r), Math.round(y * r), 1, 1).data]; }"""


def test_what_is_drawn(open_page, tmp_path):
    "Cosines of −1, 0 and 1 have their colours, the row itself none; bars end where the loss does."
    z = np.array([[1, 0], [1, 0], [-1, 0], [0, 1]], np.float32)
    page = opened(open_page, BatchSimilarity(z, [0, 0, 1, 1], temperature=1.0), tmp_path)
    at = places(page)
    cell = at["side"] / 4

    def colour(a, b):
        return canvas(page).evaluate(COLOUR, [at["left"] + (b + 0.5) * cell, at["top"] + (a + 0.5) * cell])

    for b, ink in ((1, [103, 0, 31]), (2, [5, 48, 97]), (3, [247] * 3)):
        assert colour(0, b)[:3] == pytest.approx(ink, abs=2)
    assert colour(0, 0)[3] == 0
    parts = paid(cosines(z), np.array([0, 0, 1, 1]), 1.0)
    wide = at["bar"]["right"] - at["bar"]["left"]
    for a in range(4):
        edge = at["bar"]["left"]
        for name, ink in (("floor", [153, 153, 153]), ("uneven", [0, 114, 178]), ("push", [213, 94, 0])):
            long = getattr(parts, name)[a] / at["bar"]["most"] * wide
            if long > 4:
                assert canvas(page).evaluate(COLOUR, [edge + long / 2, at["top"] + (a + 0.5) * cell])[:3] == ink
            edge += long


def test_several_embeddings(open_page, tmp_path):
    z, y = batch()
    view = BatchSimilarity({"raw": z, EVIL: z**3}, y, classes=NAMES)
    page = opened(open_page, view, tmp_path)
    agree(page, view)
    page.page.get_by_role("group", name="embedding").get_by_role("button", name="<img").click()
    wait(page)
    assert said(page)["space"] == EVIL
    agree(page, view, 1)
    press(page, "e")
    agree(page, view)
    assert not page.problems() and not page.page.evaluate("window.hacked")


def history_of(steps=(0, 10, 20)):
    z, y = batch()
    history = History()
    for step in steps: history.record(step, projection=z + step / 10 * np.eye(4, 6)[np.maximum(y, 0)])
    return history


def test_steps(open_page, tmp_path):
    view = BatchSimilarity(history_of(), batch()[1], classes=NAMES, temperature=0.2)
    page = opened(open_page, view, tmp_path)
    press(page, "ArrowDown")
    for k, step in enumerate((0, 10, 20)):
        page.set_range(page.page.get_by_label("step", exact=True), k)
        wait(page)
        assert said(page)["step"] == str(step) and f"step {step} · 30 rows" in root(page).inner_text()
        agree(page, view, 0, step)
        assert said(page)["anchor"] == str(places(page)["order"][0])     # the row stays
    assert not page.problems()
    board = Rewind(BatchSimilarity(history_of(), batch()[1])).board()
    page = open_page(board.save(tmp_path / "board.html"))
    sliders = page.page.get_by_label("step", exact=True)
    assert sum(sliders.nth(i).is_visible() for i in range(sliders.count())) <= 1 and not page.problems()


def test_a_part_of_a_large_batch(open_page, tmp_path):
    rng, y = np.random.default_rng(0), np.arange(1500) % 7
    view = BatchSimilarity(rng.normal(size=(1500, 32)).astype(np.float32), y)
    page = opened(open_page, view, tmp_path)
    agree(page, view)
    assert "512 of 1,500 rows" in root(page).inner_text() and "All 1,500 rows together: " in said(page)["words"]
    press(page, "n", "Enter")
    assert selected(page) == [int(view.rows[y[view.rows] == 0][0])] and not page.problems()


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [-1] * 4, [0] * 4, [0, 0, 1, 1]])
@pytest.mark.parametrize("kind", ["axes", "equal", "zero"])
def test_odd_batches(labels, kind, open_page, tmp_path):
    z = {"axes": np.eye(4), "equal": np.ones((4, 3)), "zero": np.zeros((4, 2))}[kind]
    view = BatchSimilarity(z, labels)
    page = opened(open_page, view, tmp_path)
    press(page, "n", "ArrowDown", "w", "Enter", "ArrowLeft", "p", "o", "e")
    page.hover(canvas(page))
    assert said(page)["words"] == view.show(temperature=float(said(page)["temperature"])).in_words()
    press(page, "Escape")
    assert page.painted() == 1 and not page.problems()


def test_nothing_recorded_yet(open_page, tmp_path):
    page = opened(open_page, BatchSimilarity(History(), [0, 0, 1]), tmp_path)
    press(page, "n", "ArrowDown", "w", "Enter", "ArrowLeft", "Escape")
    page.hover(canvas(page))
    assert "run.measure('projection', function)" in root(page).inner_text() and not page.problems()


@pytest.mark.parametrize("width", [330, 500, 800, 1280])
def test_every_width_and_both_themes(width, chromium, tmp_path):
    path = one().show(anchor=0).save(tmp_path / "b.html")
    for sheet in in_both_themes(chromium, path, width):
        at = json.loads(sheet.locator(".clnb").get_attribute("data-places"))
        box = sheet.locator("canvas.clnb-canvas").bounding_box()
        assert at["side"] >= 110 and at["left"] + at["side"] < at["bar"]["left"] < at["bar"]["right"] <= box["width"]
        assert at["plot"]["right"] <= box["width"] and at["plot"]["bottom"] + 30 <= box["height"]
        if width < 760: assert at["plot"]["top"] > at["top"] + at["side"] + 64


def test_names_for_screen_readers(open_page, tmp_path):
    page = opened(open_page, one().show(anchor=0), tmp_path)
    unnamed = page.page.evaluate("""() => [...document.querySelectorAll('button, input, select, canvas[role]')]
      .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label'))).length""")
    assert unnamed == 0
    label = canvas(page).get_attribute("aria-label")
    assert label.startswith("cosines of 30 rows sorted by class") and "an anchor pays" in label
    assert "an anchor pays" in page.page.locator("[role=status][aria-live]").first.inner_text()


LIVE = """
import torch
from clnb.run import History
from clnb.views.batch import BatchSimilarity
history, labels = History(), torch.arange(40) % 4
images = torch.randint(0, 255, (40, 1, 8, 8), dtype=torch.uint8)
view = BatchSimilarity(history, labels, images=images)
def record(step):
    torch.manual_seed(step)
    history.record(step, projection=torch.eye(4)[labels] + 0.3 * torch.randn(40, 4))
"""


def test_live_beside_a_history(make_notebook):
    book = make_notebook(LIVE, "view").run_all()
    page = book.page.locator(".jp-Notebook .clnb").first
    page.wait_for(timeout=30_000)
    assert "waiting for 'projection'" in page.inner_text()
    for step in range(3): book.kernel(f"record({step})")
    book.page.wait_for_timeout(1500)
    assert page.get_attribute("data-step") == "2"
    page.focus()
    for key in ("n", "ArrowDown", "Enter", "ArrowRight", "w"): book.page.keyboard.press(key)
    book.page.wait_for_timeout(1000)
    now = book.kernel("print(view.anchor, view.selection.index.tolist(), view.mode, round(view.temperature, 4))")
    assert now == "4 [4] weights 0.11"
    assert page.get_attribute("data-words") == book.kernel("print(view.in_words())")
    assert page.locator(".clnb-thumbs canvas").count() == 9
    book.kernel("view.selection.set([6, 9])")
    book.page.wait_for_timeout(800)
    assert page.get_attribute("data-selected") == "2" and page.get_attribute("data-anchor") == "9"
    book.kernel("view.show(temperature=0.5, anchor=3, mode='similarity')")
    book.page.wait_for_timeout(600)
    assert page.get_attribute("data-temperature") == "0.5" and page.get_attribute("data-anchor") == "3"
    book.shot("07s-live")
    book.check()


def test_the_notebook_draws_every_widget(open_notebook):
    book = open_notebook("07s_batch").run_all()
    book.check()
