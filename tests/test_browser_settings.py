"""SettingSlider in a real browser: a page without a kernel, and live in JupyterLab while runs come in."""

import json

import numpy as np
import pytest
import torch
from onpage import in_both_themes, press, said, wait

from clnb.data import ImageSet
from clnb.views.base import Board
from clnb.views.settings import SettingSlider

EVIL = "<img src=x onerror=window.hacked=1>"
ARMS = ("plain", "mask", EVIL)


def rows_of(settings=(0.0, 0.3, 1.0), arms=ARMS, seeds=4, noises=(0,), seed=0):
    rng = np.random.default_rng(seed)
    return [{"confounding": x, "noise": n, "method": arm, "seed": s, "NMI": 0.9 - (0.4 * x + n) * (k == 0)
             + 0.02 * rng.normal(), "ARI": rng.random(), "steps": 1000 * rng.random()}
            for x in settings for n in noises for k, arm in enumerate(arms) for s in range(seeds)]


def small_set(shade=0):
    images = torch.arange(24, dtype=torch.uint8)[:, None, None, None].expand(24, 1, 8, 8) + shade
    return ImageSet(images.contiguous(), torch.arange(24) % 3, ("zero", EVIL, "</script>two"))


def curves(page): return json.loads(page.page.locator(".clnb-canvas").first.get_attribute("data-curves"))


def move(page, label, k):
    page.set_range(page.page.get_by_label(label, exact=True), k)
    wait(page)


def table(page):
    rows = page.page.get_by_label("methods at this setting").locator("tbody tr")
    return rows.evaluate_all("all => all.map(r => [...r.cells].map(c => c.innerText.trim()))")


def agrees(page, view, metric=0, other=0, hidden=()):
    "Words, curves and numbers of the page are those of Python."
    place = json.loads(said(page)["place"])
    assert said(page)["words"] == view.words.in_words(metric, place, other, hidden)
    assert page.page.locator("[role=status]").first.inner_text().endswith(said(page)["words"])
    runs, apart = view.words.runs, said(page)["differences"] == "true"
    shown = [arm for arm in range(len(runs.arms)) if arm not in hidden and not (apart and arm == other)]
    assert [c["name"] for c in curves(page)] == [runs.arms[arm] for arm in shown]
    for c, arm in zip(curves(page), shown, strict=True):
        for k, mean, low, high, count, *_ in c["points"]:
            at = [k, *place[1:]]
            found = view.words.apart(metric, arm, other, at) if apart else view.words.mean(metric, arm, at)
            assert count == found.count and mean == pytest.approx(found.mean)
            assert count < 2 or [low, high] == pytest.approx([found.low, found.high])
    return place


def test_the_slider_shows_the_numbers_of_each_setting(open_page, tmp_path):
    view = SettingSlider(rows_of(), chance=0.1)
    page = open_page(view.save(tmp_path / "s.html"))
    assert agrees(page, view) == [2]
    for k in (0, 1, 2):
        move(page, "confounding", k)
        assert agrees(page, view) == [k]
        assert page.page.get_by_label("confounding", exact=True).get_attribute("aria-valuetext") == ("0", "0.3", "1")[k]
        for arm, cells in enumerate(table(page)):
            mean, apart = view.words.mean(0, arm, [k]), view.words.apart(0, arm, 0, [k])
            assert cells[0].endswith(ARMS[arm]) and cells[1] == f"{mean.mean:.3f}" and cells[3] == "4"
            assert cells[2] == f"{mean.low:.3f} … {mean.high:.3f}"
            if arm: assert cells[4] == f"{apart.mean:+.3f}".replace("-", "−") and "plain" in cells[6]
    assert not page.page.evaluate("window.hacked") and page.page.locator("img").count() == 0 and not page.problems()


def test_keyboard(open_page, tmp_path):
    view = SettingSlider(rows_of(noises=(0, 0.2, 0.4)), x=("confounding", "noise"))
    page = open_page(view.save(tmp_path / "s.html"))
    assert agrees(page, view) == [2, 0]
    press(page, "ArrowLeft")
    assert agrees(page, view) == [1, 0]
    press(page, "Home")
    assert agrees(page, view) == [0, 0]
    press(page, "ArrowLeft", "ArrowDown", "ArrowRight", "ArrowRight")
    assert agrees(page, view) == [0, 2] and said(page)["moving"] == "1"
    press(page, "ArrowUp", "End")
    assert agrees(page, view) == [2, 2]
    press(page, "m")
    assert said(page)["metric"] == "ARI" and agrees(page, view, 1)
    press(page, "m", "m", "d")
    assert said(page)["metric"] == "NMI" and said(page)["differences"] == "true" and agrees(page, view)
    slider = page.page.get_by_label("noise", exact=True)
    slider.focus()
    page.page.keyboard.press("ArrowLeft")
    wait(page)
    assert agrees(page, view) == [2, 1] and not page.problems()


def test_metric_comparison_differences_and_hidden_methods(open_page, tmp_path):
    view = SettingSlider(rows_of())
    page = open_page(view.save(tmp_path / "s.html"))
    page.page.get_by_label("metric", exact=True).select_option(label="steps")
    wait(page)
    agrees(page, view, 3)
    page.page.get_by_label("metric", exact=True).select_option(label="NMI")
    page.page.get_by_label("compared with").select_option(label="mask")
    wait(page)
    agrees(page, view, 0, 1)
    assert "less than mask" in said(page)["words"] and "− mask" in page.page.get_by_role("table").inner_text()
    page.page.get_by_label("differences", exact=True).check()
    wait(page)
    agrees(page, view, 0, 1)
    assert len(curves(page)) == 2
    legend = page.page.get_by_role("group", name="methods", exact=True)
    legend.get_by_role("button", name="plain").click()
    wait(page)
    agrees(page, view, 0, 1, [0])
    assert legend.get_by_role("button", name="plain").get_attribute("aria-pressed") == "false"
    for name in ("mask", EVIL): legend.get_by_role("button", name=name, exact=True).click()
    wait(page)
    assert curves(page) == [] and "nothing is shown" in said(page)["words"]
    legend.get_by_role("button", name="plain").click()
    page.page.get_by_label("differences", exact=True).uncheck()
    wait(page)
    agrees(page, view, 0, 1, [1, 2])
    page.page.get_by_label("single seeds").uncheck()
    wait(page)
    agrees(page, view, 0, 1, [1, 2])
    assert not page.problems()


def test_hover_and_click_on_the_curves(open_page, tmp_path):
    view = SettingSlider(rows_of())
    page = open_page(view.save(tmp_path / "s.html"))
    canvas = page.page.locator(".clnb-canvas").first
    box = canvas.bounding_box()
    for k, x, y in [(point[0], point[5], point[6]) for point in curves(page)[0]["points"]]:
        page.page.mouse.move(box["x"] + x + 2, box["y"] + y)
        page.page.mouse.move(box["x"] + x, box["y"] + y)
        wait(page, 100)
        tip = page.page.locator(".clnb-tip").inner_text()
        mean = view.words.mean(0, 0, [k])
        assert f"confounding {('0', '0.3', '1')[k]}" in tip
        assert f"plain {mean.mean:.3f} [{mean.low:.3f}, {mean.high:.3f}]" in tip
        assert "(4 seeds)" in tip and EVIL in tip
        page.page.mouse.click(box["x"] + x, box["y"] + y)
        wait(page)
        assert agrees(page, view) == [k]
    page.page.mouse.move(box["x"] + 5, box["y"] + 5)
    wait(page)
    assert page.page.locator(".clnb-tip").is_hidden() and not page.problems()


def test_examples_beside(open_page, tmp_path):
    view = SettingSlider(rows_of(), images={0.0: small_set(), 1.0: small_set(100)}, most=6)
    page = open_page(view.save(tmp_path / "s.html"))
    side = page.page.get_by_role("group", name="examples at this setting")
    assert side.locator("canvas").count() == 6 and "examples at confounding 1" in side.inner_text()
    names = side.locator("canvas").evaluate_all("all => all.map(e => e.getAttribute('aria-label'))")
    assert names == ["zero", "zero", EVIL, EVIL, "</script>two", "</script>two"]
    shade = "e => e.getContext('2d').getImageData(0, 0, 1, 1).data[0]"
    bright = side.locator("canvas").first.evaluate(shade)
    move(page, "confounding", 1)
    assert side.locator("canvas").count() == 0 and "no examples at this setting" in side.inner_text()
    move(page, "confounding", 0)
    assert bright - side.locator("canvas").first.evaluate(shade) == 100
    assert not page.page.evaluate("window.hacked") and not page.problems()
    page = open_page(SettingSlider(rows_of()).save(tmp_path / "none.html"))
    assert page.page.locator("[aria-label='examples at this setting']").is_hidden()


def test_an_incomplete_table_goes_to_the_nearest_setting_and_says_so(open_page, tmp_path):
    rows = [row for row in rows_of(noises=(0, 0.2)) if (row["confounding"], row["noise"]) != (1.0, 0.2)]
    view = SettingSlider(rows, x=("confounding", "noise"), start=0.0).show(noise=0.2)
    page = open_page(view.save(tmp_path / "s.html"))
    move(page, "confounding", 2)
    assert agrees(page, view) == [2, 0]
    assert "There are no runs at confounding 1 · noise 0.2" in page.page.locator("[role=status]").first.inner_text()
    move(page, "noise", 1)
    assert agrees(page, view) == [1, 1] and not page.problems()
    few = rows_of()[:20]                                     # a method that did not run everywhere
    view = SettingSlider(few, start=0.3)
    page = open_page(view.save(tmp_path / "few.html"))
    agrees(page, view)
    assert "no run" in said(page)["words"] and not page.problems()


@pytest.mark.parametrize("rows", [
    [{"x": 1, "f": 0.5}],
    [{"x": x, "f": 0.5 + (x == "b")} for x in "abc"],
    [{"x": x, "f": 0.0, "seed": s} for x in (0.02, 0.1, 0.5) for s in range(2)],
    [{"x": x, "f": None if x else 1} for x in (0, 1)],
])
def test_little_data(rows, open_page, tmp_path):
    view = SettingSlider(rows, x="x", y="f", arm=None, chance=0.25)
    page = open_page(view.save(tmp_path / "s.html"))
    assert said(page)["words"] == view.words.in_words(0, view.where)
    press(page, "Home", "ArrowRight", "d", "m", "ArrowDown", "Escape", " ")
    agrees(page, view)
    assert said(page)["differences"] == "false" and page.painted() >= 1 and not page.problems()


def test_words_along_a_setting_of_words(open_page, tmp_path):
    shares = ("50:50", "80:20", "98:2")
    rows = [{"share": share, "method": m, "seed": s, "F1": 0.9 - 0.2 * k * (m == "CE") + 0.01 * s}
            for k, share in enumerate(shares) for m in ("CE", "SuperCon") for s in range(3)]
    view = SettingSlider(rows, x="share", y="F1", chance={"F1": {"50:50": 0.5, "98:2": 0.04}})
    page = open_page(view.save(tmp_path / "s.html"))
    xs = [point[5] for point in curves(page)[0]["points"]]
    assert np.diff(xs) == pytest.approx([xs[1] - xs[0]] * 2)             # evenly spaced, in the order of the table
    for k, share in enumerate(shares):
        move(page, "share", k)
        agrees(page, view)
        assert f"share {share}: CE" in said(page)["words"]
    assert not page.problems()


@pytest.mark.parametrize("width", [330, 500, 800, 1280])
def test_every_width_and_both_themes(width, chromium, tmp_path):
    path = SettingSlider(rows_of(), images={1.0: small_set()}).save(tmp_path / "s.html")
    for sheet in in_both_themes(chromium, path, width):
        assert sheet.locator("canvas.clnb-canvas").bounding_box()["width"] > 240


def test_two_in_a_board_move_on_their_own(open_page, tmp_path):
    one, two = SettingSlider(rows_of()), SettingSlider(rows_of(seed=1))
    page = open_page(Board([[one, two]]).save(tmp_path / "board.html"))
    press(page, "ArrowLeft")
    places = page.page.locator(".clnb").evaluate_all("all => all.map(e => e.dataset.place)")
    assert places == ["[1]", "[2]"] and not page.problems()


LIVE = """
import random
from clnb.views.settings import SettingSlider
def run(x, arm, seed): return {"confounding": x, "method": arm, "seed": seed, "NMI": random.random(), "ARI": 0.5}
view = SettingSlider([run(0, "plain", 0), run(1, "plain", 0)])
"""


def test_live_while_runs_come_in(make_notebook):
    book = make_notebook(LIVE, "view").run_all()
    one = book.page.locator(".jp-Notebook .clnb").first
    one.locator("tbody tr").first.wait_for(timeout=30_000)
    assert one.get_attribute("data-place") == "[1]" and one.locator("tbody tr").count() == 1
    book.kernel("_ = view.add(*[run(x, arm, s) for x in (0, 0.5, 1) for arm in ('plain', 'mask') for s in (1, 2)])")
    book.page.wait_for_timeout(1500)
    assert one.get_attribute("data-place") == "[2]" and one.locator("tbody tr").count() == 2
    slider = one.get_by_label("confounding", exact=True)
    slider.focus()
    book.page.keyboard.press("ArrowLeft")
    book.page.wait_for_timeout(1500)
    assert one.get_attribute("data-place") == "[1]" and json.loads(book.kernel("print(view.where)")) == [1]
    assert one.get_attribute("data-words") == book.kernel("print(view.words.in_words(0, view.where))")
    book.kernel("_ = view.show(confounding=0, metric='ARI', compared='mask')")
    book.page.wait_for_timeout(600)
    assert one.get_attribute("data-words") == book.kernel("print(view.words.in_words(1, [0], 1))")
    book.shot("07p-live")
    book.check()


def test_the_notebook_draws_every_widget(open_notebook):
    book = open_notebook("07p_settings").run_all()
    book.check()
