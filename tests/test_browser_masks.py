"""The mask explorer in a real browser: a page without a kernel, and live in JupyterLab."""

import json

import numpy as np
import pytest
import torch
from onpage import button, canvas, in_both_themes, place, press, root, said, wait

from clnb.core import generator
from clnb.data import ImageSet, make_field
from clnb.masks import IndexMask, RandomMask, mask_producer
from clnb.run import History
from clnb.views.base import Board
from clnb.views.linked import Gallery
from clnb.views.masks import MODES, Masks, crop_box, in_words, quality, threshold_curves
from clnb.views.rewind import Rewind

EVIL = "<img src=x onerror=window.hacked=1>"
FIELD = make_field(count=12)
OFFERED = ("as produced", "each its own threshold", "one threshold for all")


def pixel(page, x, y):
    "Colour of the canvas at CSS pixels."
    return canvas(page).evaluate("""(e, [x, y]) => { const r = e.width / e.clientWidth, context = e.getContext("2d");
      return [...context.getImageData(Math.round(x * r), Math.round(y * r), 1, 1).data].slice(0, 3); }""", [x, y])


def masks_of(view, now, k=-1):
    "The masks that the page should show, from its mode and threshold."
    if now["mode"] == MODES[0]: return view.at_step(k)
    return view.own() if now["mode"] == MODES[1] else view.base.levels > int(now["threshold"])


def numbers_agree(page, view, k=-1):
    "The page's numbers, sentences and crops are Python's."
    now = said(page)
    masks, at = masks_of(view, now, k), int(now["image"])
    kept, agreement = quality(masks, view.base.truth)
    assert float(now["kept"]) == pytest.approx(kept[at]) and float(now["allKept"]) == pytest.approx(kept.mean())
    text = root(page).inner_text()
    if agreement is None: assert now["iou"] == now["allIou"] == ""
    else:
        assert float(now["iou"]) == pytest.approx(agreement[at])
        assert float(now["allIou"]) == pytest.approx(agreement.mean())
    assert in_words(kept[at], None if agreement is None else agreement[at]) in text
    assert in_words(kept.mean(), None if agreement is None else agreement.mean()) in text
    boxes = [crop_box(at, v, int(now["draw"]), *masks.shape[1:]) for v in (0, 1)]
    assert now["boxes"] == ";".join(",".join(map(str, box)) for box in boxes)
    assert [float(v) for v in now["shares"].split(",")] == pytest.approx([box.of(masks[at]).mean() for box in boxes])
    return now


def test_modes_thresholds_and_images_count_as_python_does(open_page, tmp_path):
    view = Masks(FIELD, IndexMask(3))
    page = open_page(view.save(tmp_path / "m.html"))
    assert numbers_agree(page, view)["mode"] == MODES[0]
    for mode in MODES[1:] + MODES[:1]:
        button(page, mode).click()
        wait(page)
        assert numbers_agree(page, view)["mode"] == mode and button(page, mode).get_attribute("aria-pressed") == "true"
    slide = page.page.get_by_label("threshold", exact=True)
    for t in (0, 90, 140, 255):
        page.set_range(slide, t)
        wait(page)
        now = numbers_agree(page, view)
        assert (now["mode"], now["threshold"]) == (MODES[2], str(t))
        assert f"(levels above {t})" in root(page).inner_text()
    press(page, "o")
    assert numbers_agree(page, view)["mode"] == MODES[1]
    own = int(said(page)["threshold"])
    press(page, "ArrowUp", "ArrowUp", "ArrowDown")
    assert int(numbers_agree(page, view)["threshold"]) == own + 1
    press(page, "ArrowRight", "ArrowRight", "ArrowLeft")
    assert numbers_agree(page, view)["image"] == "1"
    press(page, "ArrowLeft", "ArrowLeft", "p")                                          # around the end
    now = numbers_agree(page, view)
    assert (now["image"], now["mode"]) == ("11", MODES[0]) and not page.problems()


@pytest.mark.parametrize("chart", ["histogram", "batch"])
def test_the_threshold_is_dragged(chart, open_page, tmp_path):
    view = Masks(FIELD)
    page = open_page(view.save(tmp_path / "m.html"))
    now = said(page)
    box, span = json.loads(now["charts"])[chart], [float(v) for v in now["span"].split(",")]
    low, high = span if chart == "histogram" else (0, 255)
    def x(level): return box["left"] + (level - low) / (high - low) * (box["right"] - box["left"])
    y = (box["top"] + box["bottom"]) / 2
    page.page.mouse.move(*place(page, x(100), y))
    page.page.mouse.down()
    wait(page)
    assert abs(int(numbers_agree(page, view)["threshold"]) - 100) <= 2
    for level in (120, 150):
        page.page.mouse.move(*place(page, x(level), y), steps=5)
        wait(page)
        assert abs(int(numbers_agree(page, view)["threshold"]) - level) <= 2
    page.page.mouse.up()
    page.page.mouse.move(*place(page, x(90), y))
    wait(page)
    now = said(page)
    assert abs(int(now["threshold"]) - 150) <= 2 and now["mode"] == MODES[2]            # let go
    curve = threshold_curves(view.base.levels, view.base.truth)
    t = int(now["threshold"])
    assert float(now["allKept"]) == pytest.approx(curve[0][t]) and float(now["allIou"]) == pytest.approx(curve[1][t])
    assert not page.problems()


def test_pictures_show_what_they_say(open_page, tmp_path):
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    images[:, 0], images[:, 1, 2:6, 2:6] = 200, 248
    truth = torch.zeros(2, 8, 8, dtype=torch.bool)
    truth[:, 2:6, 4:8] = True
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[:, 2:6, 2:6] = True
    view = Masks(images, masks, truth=truth)
    page = open_page(view.save(tmp_path / "m.html"))
    panels = json.loads(said(page)["panels"])
    def at(name, row, column):
        p = panels[name]
        return pixel(page, p["x"] + (column + 0.4) / 8 * p["w"], p["y"] + (row + 0.4) / 8 * p["h"])
    assert at("mask", 3, 4) == [235, 235, 235] and at("mask", 3, 2) == [230, 159, 0]    # right; too much
    assert at("mask", 3, 7) == [0, 114, 178] and at("mask", 0, 0) == [24, 24, 24]       # missed; hidden
    assert at("image", 3, 3) == [200, 248, 0] and at("image", 7, 0) == [200, 0, 0]
    for v, name in enumerate(("view 1", "view 2")):                                     # crops of image and mask alike
        box = crop_box(0, v, 0, 8, 8)
        for row in range(box.height):
            for column in range(box.width):
                inside = 2 <= box.top + row < 6 and 2 <= box.left + column < 6
                p = panels[name]
                spot = (p["x"] + (column + 0.5) / box.width * p["w"], p["y"] + (row + 0.5) / box.height * p["h"])
                assert pixel(page, *spot) == ([200, 248, 0] if inside else [0, 0, 0])
    page.page.get_by_label("behind the mask").select_option("mean colour")
    wait(page)
    mean = images.float().mean((0, 2, 3)).round().tolist()
    box = crop_box(0, 0, 0, 8, 8)
    spots = [(r, c) for r in range(box.height) for c in range(box.width)
             if not (2 <= box.top + r < 6 and 2 <= box.left + c < 6)]
    p, (row, column) = panels["view 1"], spots[0]
    spot = (p["x"] + (column + 0.5) / box.width * p["w"], p["y"] + (row + 0.5) / box.height * p["h"])
    assert pixel(page, *spot) == mean
    page.page.get_by_label("behind the mask").select_option("noise")
    wait(page)
    assert pixel(page, *spot) != mean and said(page)["fill"] == "noise" and not page.problems()


def test_new_crops_are_other_crops(open_page, tmp_path):
    view = Masks(FIELD)
    page = open_page(view.save(tmp_path / "m.html"))
    seen = [said(page)["boxes"]]
    for _ in range(3):
        button(page, "new crops").click()
        wait(page)
        seen.append(numbers_agree(page, view)["boxes"])
    press(page, "n")
    assert numbers_agree(page, view)["draw"] == "4" and len({*seen, said(page)["boxes"]}) == 5


def test_the_filmstrip_sorts_and_chooses(open_page, tmp_path):
    view = Masks(FIELD, RandomMask())
    page = open_page(view.save(tmp_path / "m.html"))
    strip = page.page.get_by_role("group", name="images")
    kept, agreement = quality(view.shown_masks(), view.base.truth)
    for word, keys in (("lowest IoU first", agreement), ("least kept first", kept), ("most kept first", -kept),
                       ("as given", np.arange(12))):
        page.page.get_by_label("filmstrip").select_option(word)
        wait(page)
        order = [int(b.get_attribute("data-image")) for b in strip.get_by_role("button").all()]
        assert order == np.lexsort((np.arange(12), keys)).tolist() == [int(i) for i in said(page)["order"].split(",")]
    page.page.get_by_label("filmstrip").select_option("lowest IoU first")
    wait(page)
    worst = int(agreement.argmin())
    strip.get_by_role("button").first.click()
    wait(page)
    assert numbers_agree(page, view)["image"] == str(worst)
    label = strip.get_by_role("button").first.get_attribute("aria-label")
    assert f"image {worst}, {FIELD.classes[FIELD.labels[worst]]}" in label and f"IoU {agreement[worst]:.3f}" in label
    page.page.keyboard.press("ArrowRight")                                              # within the strip, in its order
    wait(page)
    assert said(page)["image"] == str(np.lexsort((np.arange(12), agreement))[1])
    assert page.page.evaluate("document.activeElement.dataset.image") == said(page)["image"] and not page.problems()


def test_the_selection_is_shared(open_page, tmp_path):
    board = Board([Masks(make_field(count=12), most=8), Gallery(FIELD.images)])
    page = open_page(board.save(tmp_path / "b.html"))
    page.page.get_by_role("group", name="images").get_by_role("button").nth(5).click()
    wait(page)
    assert said(page)["image"] == "5"
    gallery = page.page.locator(".clnb").nth(1).inner_text()
    assert "1 selected" in gallery or "1 of 12" in gallery
    view = Masks(FIELD, most=8)
    view.selection.set([3, 10])
    other = open_page(view.save(tmp_path / "s.html"))
    assert said(other)["image"] == "3"
    view.selection.set([10])
    outside = open_page(view.save(tmp_path / "o.html"))
    assert "row 10, which is not among the 8 images here" in root(outside).inner_text()
    assert "(the first of 12)" in root(outside).inner_text()
    press(outside, "Escape")
    assert "row 10" not in root(outside).inner_text()


def test_hovering_tells_the_pixel(open_page, tmp_path):
    view = Masks(FIELD)
    page = open_page(view.save(tmp_path / "m.html"))
    p = json.loads(said(page)["panels"])["mask"]
    for row, column in ((16, 16), (1, 30)):
        x, y = p["x"] + (column + 0.5) / 32 * p["w"], p["y"] + (row + 0.5) / 32 * p["h"]
        page.page.mouse.move(*place(page, x, y), steps=3)
        wait(page)
        tip = page.page.get_by_role("tooltip").inner_text()
        assert f"row {row}, column {column}" in tip and f"level {view.base.levels[0, row, column]}" in tip
        assert ("kept" if view.shown_masks()[0, row, column] else "hidden") in tip
        assert ("not object" in tip) != bool(view.base.truth[0, row, column])
    press(page, "Escape")
    assert page.page.get_by_role("tooltip").count() == 0


def test_what_is_not_two_groups_and_what_is_too_little(open_page, tmp_path):
    soil = (torch.tensor([0.45, 0.36, 0.27]).view(3, 1, 1) + 0.04 * torch.randn(4, 3, 32, 32, generator=generator(0)))
    view = Masks(soil.clamp(0, 1), IndexMask())
    page = open_page(view.save(tmp_path / "m.html"))
    button(page, MODES[1]).click()
    wait(page)
    now = numbers_agree(page, view)
    assert float(now["kept"]) == 1 and "not two groups: all is kept" in root(page).inner_text()
    page.set_range(page.page.get_by_label("threshold", exact=True), 255)
    wait(page)
    assert float(numbers_agree(page, view)["kept"]) == 0 and now["iou"] == "" and not page.problems()


def test_a_history_is_walked_through(open_page, tmp_path):
    history = History()
    for step, producer in enumerate((RandomMask(), mask_producer("fixed"), IndexMask())):
        history.record(10 * step, masks=producer(FIELD.images, generator=generator(step)))
    view = Masks(FIELD, history)
    page = open_page(view.save(tmp_path / "h.html"))
    numbers_agree(page, view)
    clock = page.page.get_by_label("step", exact=True)
    for k in (0, 1, 2):
        page.set_range(clock, k)
        wait(page)
        numbers_agree(page, view, k)
    assert page.page.get_by_label("threshold", exact=True).count() == 0
    board = open_page(Rewind(Masks(FIELD, history)).board().save(tmp_path / "r.html"))
    numbers_agree(board, view)
    assert not page.problems() and not board.problems()


def test_nothing_yet_grey_and_evil(open_page, tmp_path):
    empty = open_page(Masks(FIELD, History(), name=EVIL).save(tmp_path / "e.html"))
    assert "waiting for" in root(empty).inner_text() and not empty.page.evaluate("window.hacked")
    images = torch.randint(0, 256, (5, 1, 8, 20), dtype=torch.uint8, generator=generator(0))
    grey = ImageSet(images, torch.arange(5) % 2, (EVIL, "</script>b"),
                    masks=torch.rand(5, 8, 20, generator=generator(1)) > 0.4)
    view = Masks(grey)
    page = open_page(view.save(tmp_path / "g.html"))
    numbers_agree(page, view)
    assert EVIL in root(page).inner_text() and page.page.locator("img").count() == 0
    assert not page.page.evaluate("window.hacked") and "What may be seen?" in canvas(page).get_attribute("aria-label")
    assert not page.problems() and not empty.problems()


@pytest.mark.parametrize("width", [330, 500, 800, 1280])
def test_every_width_and_both_themes(width, chromium, tmp_path):
    path = Masks(FIELD).save(tmp_path / "m.html")
    for sheet in in_both_themes(chromium, path, width):
        box = sheet.locator("canvas.clnb-canvas").bounding_box()
        now = sheet.locator(".clnb").evaluate("e => ({...e.dataset})")
        for p in json.loads(now["panels"]).values():
            assert p["x"] >= 0 and p["x"] + p["w"] <= box["width"] + 1 and p["y"] + p["h"] <= box["height"]
            assert p["w"] > 60
        for c in json.loads(now["charts"]).values():
            assert c["left"] > 0 and c["right"] <= box["width"] and c["bottom"] < box["height"]
            assert c["right"] - c["left"] > 150


LIVE = """
from clnb.core import generator
from clnb.data import make_field
from clnb.masks import RandomMask, IndexMask, iou
from clnb.run import History
from clnb.views.masks import Masks
field, history = make_field(count=12), History()
history.record(0, masks=RandomMask()(field.images, generator=generator(0)))
"""


def test_live_in_a_notebook(make_notebook):
    book = make_notebook(LIVE, "view = Masks(field, history)\nview", "other = Masks(field)\nother").run_all()
    one = book.widget("view = Masks").locator(".clnb")
    one.get_by_role("group", name="images").wait_for(timeout=60_000)
    before = float(one.get_attribute("data-all-iou"))
    assert before < 0.6
    book.kernel("history.record(10, masks=IndexMask()(field.images))")
    book.page.wait_for_timeout(1500)
    assert float(one.get_attribute("data-all-iou")) > 0.9                               # it follows
    one.get_by_role("group", name="images").get_by_role("button").nth(3).click()
    book.page.wait_for_timeout(500)
    assert json.loads(book.kernel("print(view.selection.index.tolist())")) == [3]
    book.kernel("view.selection.set([5])")
    book.page.wait_for_timeout(500)
    assert one.get_attribute("data-image") == "5"
    two = book.widget("other = Masks").locator(".clnb")
    two.get_by_role("button", name=OFFERED[2], exact=True).click()
    book.page.wait_for_timeout(400)
    assert two.get_attribute("data-mode") == OFFERED[2]
    book.check()


def test_the_notebook_draws_every_widget(open_notebook):
    book = open_notebook("07n_masks").run_all()
    book.check()
