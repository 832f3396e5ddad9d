"""PixelSimilarity in a real browser: a page without a kernel."""

import json

import numpy as np
import pytest
from onpage import canvas, in_both_themes, press, said, wait

from clnb.run import History
from clnb.views.similarity import PixelSimilarity, cosines, rank_of

EVIL = "<img src=x onerror=window.hacked=1>"


def maps(side, seed): return np.random.default_rng(seed).normal(size=(3, 6, side, side)).astype(np.float32)


def pictures(seed): return np.random.default_rng(seed).integers(0, 256, (3, 3, 16, 16), dtype=np.uint8)


def twins():
    y, x = np.mgrid[:16, :16]
    return np.broadcast_to(np.stack([x + 2.0, y], -1), (3, 16, 16, 2))


def similarity(**more):
    given = {"own": (maps(16, 0), maps(16, 1)), EVIL: (maps(8, 2), maps(8, 3))}
    return PixelSimilarity(pictures(0), pictures(1), given, twins=twins(), **more)


def spot(page, panel, row, column):
    "Window coordinates of a pixel of a panel."
    left, top, w, h = json.loads(canvas(page).get_attribute("data-panels"))[panel]["box"]
    box = canvas(page).bounding_box()
    return float(box["x"] + left + (column + 0.5) * w / 16), float(box["y"] + top + (row + 0.5) * h / 16)


def ranks(view, image, pixel):
    "What Python says to a pixel."
    found = []
    for a, b in view.maps(-1).values():
        scale = a.shape[1] / 16
        cosine = cosines(a[image], b[image], (int(pixel[0] * scale), int(pixel[1] * scale)))
        found.append(rank_of(cosine, view.twin(image, pixel, cosine.shape)))
    return found


def test_click_and_keys_choose_a_pixel_and_ranks_are_those_of_python(open_page, tmp_path):
    view = similarity()
    page = open_page(view.save(tmp_path / "s.html"))
    for row, column in ((3, 4), (12, 9)):
        page.page.mouse.click(*spot(page, 0, row, column))
        wait(page)
        assert said(page)["pixel"] == f"{row},{column}"
        shown = [int(r) for r in said(page)["ranks"].split(",")]
        expected = ranks(view, 0, (row, column))
        assert all(abs(a - b) <= 3 for a, b in zip(shown, expected, strict=True))       # bytes are coarse
    press(page, "ArrowUp", "ArrowLeft", "ArrowLeft")
    assert said(page)["pixel"] == "11,7"
    press(page, "Shift+ArrowDown")
    assert said(page)["pixel"] == "15,7"                    # stays inside
    assert "twin ranks" in page.page.locator("[role=status]").first.inner_text()


def test_pictures_are_chosen_and_a_twin_belongs_to_its_own(open_page, tmp_path):
    page = open_page(similarity().save(tmp_path / "s.html"))
    press(page, "n")
    assert said(page)["image"] == "1" and said(page)["ranks"].replace(",", "").isdigit()
    press(page, "p", "p")
    assert said(page)["image"] == "2"
    press(page, "o")
    assert said(page)["other"] == "0" and said(page)["ranks"] == ","
    page.page.get_by_label("second picture").select_option("its own")
    wait(page)
    assert said(page)["other"] == "-1"
    page.page.get_by_label("first picture").select_option("1")
    wait(page)
    assert said(page)["image"] == "0"
    page.page.mouse.click(*spot(page, 0, 3, 15))
    wait(page)
    assert said(page)["ranks"] == ","                       # two columns further right nothing is left


def test_hover_says_the_cosine(open_page, tmp_path):
    view = similarity()
    page = open_page(view.compare(0, 5, 6).save(tmp_path / "s.html"))
    a, b = view.maps(-1)["own"]
    page.page.mouse.move(*spot(page, 2, 9, 3))
    wait(page)
    text = page.page.locator(".clnb-tip").inner_text()
    assert "row 9, column 3" in text
    assert abs(float(text.split("cosine ")[1].replace("−", "-")) - cosines(a[0], b[0], (5, 6))[9, 3]) < 0.03
    page.page.mouse.move(*spot(page, 0, 9, 3))
    wait(page)
    assert not page.page.locator(".clnb-tip").is_visible()


def test_a_slider_goes_through_the_steps(open_page, tmp_path):
    history = History()
    for step in (0, 10): history.record(step, map_a=maps(16, step), map_b=maps(16, 0))
    page = open_page(PixelSimilarity(pictures(0), pictures(1), history, twins=twins()).save(tmp_path / "h.html"))
    assert said(page)["step"] == "10"
    page.page.get_by_role("slider").first.fill("0")
    wait(page, 400)
    assert said(page)["step"] == "0"


def test_names_are_text_and_there_are_no_problems(open_page, tmp_path):
    page = open_page(similarity(title=EVIL).save(tmp_path / "s.html"))
    assert page.page.evaluate("window.hacked") is None and not page.problems()
    assert EVIL in canvas(page).get_attribute("aria-label")


@pytest.mark.parametrize("width", [380, 1100])
def test_both_themes_and_narrow_windows(chromium, tmp_path, width):
    path = similarity().save(tmp_path / "s.html")
    for sheet in in_both_themes(chromium, path, width):
        panels = json.loads(sheet.locator("canvas.clnb-canvas").first.get_attribute("data-panels"))
        assert len(panels) == 4 and all(p["box"][2] > 100 for p in panels)
