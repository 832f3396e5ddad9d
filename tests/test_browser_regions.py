"""MatchedRegions in a real browser: a page without a kernel."""

import json

import numpy as np
import pytest
from onpage import canvas, in_both_themes, press, said, wait
from test_views_regions import pairs

from clnb.views.regions import MatchedRegions, moved, share_of


def windows(page): return np.array(json.loads(canvas(page).get_attribute("data-windows")))


def spot(page, x, y, panel=1, side=24):
    "Window coordinates of a pixel of a panel."
    left, top, w, h = json.loads(canvas(page).get_attribute("data-panels"))[panel]["box"]
    box = canvas(page).bounding_box()
    return float(box["x"] + left + (x + 0.5) * w / side), float(box["y"] + top + (y + 0.5) * h / side)


def twin(found, i, centre):
    "Where Python says that the twin is."
    back = np.linalg.inv(found.matrix_b[i])
    return moved(back, moved(found.matrix_a[i], np.asarray(centre, float)))


def candidates(found, i):
    "How many pixels of the picture can be a centre."
    y, x = np.mgrid[:32, :32]
    seen = [moved(np.linalg.inv(found[3 + side][i]), np.stack([x, y], -1).astype(float)) for side in (0, 1)]
    half = found.size / 2
    return int(np.all([((p >= half - 1e-3) & (p <= 23 - half + 1e-3)).all(-1) for p in seen], 0).sum())


def test_windows_are_dragged_and_their_twins_follow(open_page, tmp_path):
    view = MatchedRegions(pairs())
    page = open_page(view.save(tmp_path / "r.html"))
    before = windows(page)
    assert np.allclose(before[:, 0], view.found.centres_a[0], atol=1e-4)
    assert np.allclose(before[:, 1], view.found.centres_b[0], atol=1e-4)
    page.page.mouse.move(*spot(page, *before[2, 0]))
    page.page.mouse.down()
    page.page.mouse.move(*spot(page, 11, 13), steps=4)
    page.page.mouse.up()
    wait(page)
    k = int(said(page)["chosen"])
    after = windows(page)
    assert np.abs(after[k, 0] - [11, 13]).max() < 4 and not np.allclose(after[k], before[k])
    assert np.allclose(after[k, 1], twin(view.found, 0, after[k, 0]), atol=1e-3)
    others = [j for j in range(4) if j != k]
    assert np.allclose(after[others], before[others])
    press(page, "Escape")
    assert np.allclose(windows(page), before)


def test_keys_move_a_window_within_its_view(open_page, tmp_path):
    view = MatchedRegions(pairs())
    page = open_page(view.save(tmp_path / "r.html"))
    press(page, "w")
    assert said(page)["chosen"] == "1"
    start = windows(page)[1, 0]
    press(page, "ArrowRight", "ArrowDown")
    assert np.allclose(windows(page)[1, 0], np.clip(start + 1, 3, 20), atol=1e-4)
    for _ in range(4): press(page, "Shift+ArrowLeft")
    assert windows(page)[1, 0, 0] == 3                          # half a window from the border
    assert np.allclose(windows(page)[1, 1], twin(view.found, 0, windows(page)[1, 0]), atol=1e-3)


def test_counts_are_those_of_python(open_page, tmp_path):
    view = MatchedRegions(pairs())
    page = open_page(view.save(tmp_path / "r.html"))
    for i, key in enumerate(("", "n", "n")):
        if key: press(page, key)
        found = said(page)
        assert found["image"] == str(i) and int(found["candidates"]) == candidates(view.found, i)
        assert abs(float(found["overlap"]) - share_of(view.found.centres_a[i], 6)) < 1e-3
    press(page, "n")
    assert said(page)["image"] == "2"                           # the last one
    page.page.get_by_label("places", exact=True).check()
    wait(page)
    assert not page.problems()


def test_a_page_without_kernel_cannot_draw_again(open_page, tmp_path):
    view = MatchedRegions(pairs, sliders={"window": [4, 6, 8], "turn": [True, False]})
    page = open_page(view.save(tmp_path / "r.html"))
    assert all(page.page.get_by_label(name, exact=True).is_disabled() for name in ("window", "turn"))
    assert said(page)["side"] == "6"


@pytest.mark.parametrize("width", [380, 1100])
def test_both_themes_and_narrow_windows(chromium, tmp_path, width):
    path = MatchedRegions(pairs()).save(tmp_path / "r.html")
    for sheet in in_both_themes(chromium, path, width):
        panels = json.loads(sheet.locator("canvas.clnb-canvas").first.get_attribute("data-panels"))
        assert len(panels) == 3 and all(p["box"][2] > 150 for p in panels)
