"""Thresholds in a real browser: a page without a kernel, and live in JupyterLab."""

import json

import numpy as np
import pytest
import torch
from onpage import canvas, press, root, said, wait

from clnb.data import ImageSet
from clnb.run import History
from clnb.views.base import Board
from clnb.views.linked import Gallery
from clnb.views.thresholds import RULES, Cells, Thresholds, best, in_words, measures, ranked

EVIL = "<img src=x onerror=window.hacked=1>"
NAMES = ("benign", EVIL)


def cases(n=300, seed=0, shift=1.0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.15).astype(int)
    y[:2] = 0, 1
    s = 1 / (1 + np.exp(shift - rng.normal(size=n) - 1.4 * y))
    y[5:20] = -1
    return s, y


def pictures(n=300):
    return torch.randint(0, 255, (n, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def two(**more):
    (a, y), (b, _), (va, vy), (vb, _) = cases(), cases(shift=-1.5), cases(seed=7), cases(seed=7, shift=-1.5)
    tried = {"validation": ({"plain": va, EVIL: np.round(vb, 2)}, vy), "stretch": False}
    return Thresholds({"plain": a, EVIL: np.round(b, 2)}, y, pictures(), NAMES, **{**tried, **more})


def agree(page, view, model=0):
    "What the page says is what Python counts; returns the threshold."
    now, name = said(page), list(view.scores)[model]
    t, r = float(now["threshold"]), view.ranks[name]
    assert now["model"] == name
    assert {f: int(now[f]) for f in Cells._fields} == r.at(t)._asdict()
    for key, value in measures(r.at(t)).items(): assert float(now[key]) == pytest.approx(value, nan_ok=True, abs=1e-15)
    words = in_words(name, r, t, view.names)
    assert now["words"] == words and words in root(page).inner_text()
    table = page.page.get_by_role("table", name="true and predicted classes").inner_text()
    for count in r.at(t): assert f"{count} · " in table
    return t


def selected(page):
    return page.page.evaluate("[...new Uint32Array(bytesOf(SHARED.models[0].get('selected')).slice().buffer)]")


def opened(open_page, view, tmp_path):
    "The page of a view, with what its views share in reach."
    path = tmp_path / "t.html"
    shared = "Object.assign(window, { SHARED, bytesOf });\ntellHeight();\n"
    path.write_text(view.page().replace("tellHeight();\n</script>", f"{shared}</script>"), "utf-8")
    return open_page(path)


def spot(page, x, y):
    "Canvas pixels as pixels of the window."
    canvas(page).scroll_into_view_if_needed()
    box = canvas(page).bounding_box()
    return box["x"] + x, box["y"] + y


def drag(page, start, end):
    page.page.mouse.move(*spot(page, *start))
    page.page.mouse.down()
    page.page.mouse.move(*spot(page, *end), steps=5)
    page.page.mouse.up()
    wait(page)


def plot(page):
    "Left and right end of the histogram in canvas pixels, 1280 wide."
    width = canvas(page).bounding_box()["width"]
    return 42, width * 0.38 - 8


def test_the_page_counts_as_python_does(open_page, tmp_path):
    view = two()
    page = opened(open_page, view, tmp_path)
    assert agree(page, view) == 0.5
    slide, number = page.page.get_by_label("threshold", exact=True), page.page.get_by_label("threshold as a number")
    for t in (0.3, 0.71, float(view.ranks["plain"].scores[10])):
        number.fill(repr(t))
        number.press("Enter")
        wait(page)
        assert agree(page, view) == t
    slide.fill("0.42")
    wait(page)
    assert agree(page, view) == pytest.approx(0.42)
    press(page, "ArrowRight")
    assert agree(page, view) == pytest.approx(0.43)
    press(page, "ArrowLeft", "ArrowLeft")
    before = agree(page, view)
    assert before == pytest.approx(0.41)
    count = view.ranks["plain"].upto(before)
    press(page, "Shift+ArrowRight", "Shift+ArrowRight")
    assert view.ranks["plain"].upto(agree(page, view)) == count - 2              # two cases fewer are let through
    press(page, "Home")
    assert view.ranks["plain"].at(agree(page, view)).fn == 0
    press(page, "End")
    agree(page, view)
    assert said(page)["tp"] == said(page)["fp"] == "0" and "precision –" in said(page)["words"]
    press(page, "m")
    assert agree(page, view, 1) == 0.5                                           # each model has its own threshold
    page.page.get_by_role("group", name="model").get_by_role("button").first.click()
    wait(page)
    agree(page, view)
    assert not page.problems() and not page.page.evaluate("window.hacked")


@pytest.mark.parametrize("validated", [True, False])
def test_rules(open_page, tmp_path, validated):
    view = two(**({} if validated else {"validation": None}))
    page = opened(open_page, view, tmp_path)
    of = view.tuned if validated else view.ranks
    for rule in RULES:
        page.page.locator(f"[data-rule={rule}]").click()
        wait(page)
        assert agree(page, view) == best(of["plain"], rule)
        press(page, "m")
        assert agree(page, view, 1) == best(of[EVIL], rule)
        press(page, "m")
    page.page.get_by_label("a miss costs as much as").focus()
    for _ in range(40): page.page.keyboard.press("ArrowRight")
    wait(page)
    cost = page.page.evaluate("SHARED.models[0].get('cost')")
    assert cost > 1.5
    press(page, "c")
    assert agree(page, view) == best(of["plain"], "cost", cost)
    c = view.ranks["plain"].at(agree(page, view))
    table = page.page.get_by_role("table", name="models").inner_text()
    assert f"{(cost * c.fn + c.fp) / sum(c):.3f}" in table and ("F1 (val.)" in table) == validated
    for key, rule in (("h", "half"), ("f", "f1"), ("b", "balanced")):
        press(page, key)
        assert agree(page, view) == best(of["plain"], rule)
    title = page.page.locator("[data-rule=f1]").get_attribute("title")
    assert ("validation" in title) == validated


def test_dragging_the_line_and_the_curves(open_page, tmp_path):
    view = two()
    page = opened(open_page, view, tmp_path)
    left, right = plot(page)
    drag(page, ((left + right) / 2, 100), (left + 0.25 * (right - left), 120))
    assert agree(page, view) == pytest.approx(0.25, abs=0.01)
    drag(page, (left + 0.25 * (right - left), 100), (left - 10, 100))
    assert view.ranks["plain"].at(agree(page, view)).fn == 0                      # beyond the end: everything
    for kind in ("roc", "pr"):
        press(page, "h")
        for i in (20, 120):
            cut = view.ranks["plain"].cut(i)
            page.page.get_by_label("threshold as a number").fill(repr(cut))
            page.page.get_by_label("threshold as a number").press("Enter")
            wait(page)
            *_, x, y = (v for pair in json.loads(canvas(page).get_attribute(f"data-{kind}")) for v in pair)
            x, y = json.loads(canvas(page).get_attribute(f"data-{kind}"))[0][1], y
            press(page, "h")
            page.page.mouse.move(*spot(page, x, y))
            wait(page)
            assert "threshold" in page.page.locator(".clnb-tip").first.inner_text()
            page.page.mouse.down()
            page.page.mouse.up()
            wait(page)
            found, want = view.ranks["plain"].at(agree(page, view)), view.ranks["plain"].at(cut)
            assert abs(found.tp - want.tp) <= 1 and abs(found.fp - want.fp) <= 3
    assert not page.problems()


def test_hovering_the_bars(open_page, tmp_path):
    view = two()
    page = opened(open_page, view, tmp_path)
    left, right = plot(page)
    page.page.mouse.move(*spot(page, left + 0.2625 * (right - left), 100))        # the middle of bin 10
    wait(page)
    tip, s = page.page.locator(".clnb-tip").first.inner_text(), view.scores["plain"]
    inside = np.floor(s * 40).astype(int) == 10
    assert "score 0.25 … 0.275" in tip
    for k, name in enumerate(NAMES): assert f"{(inside & (view.labels == k)).sum()} {name} (" in tip


def test_a_cell_selects_and_the_selection_follows(open_page, tmp_path):
    view = two()
    page = opened(open_page, Board([[view, Gallery(pictures())]]), tmp_path)
    for key, cell in enumerate(("tp", "fn", "fp", "tn"), 1):
        page.page.locator(f"button[data-cell={cell}]").click()
        wait(page)
        assert selected(page) == view.rows(cell).tolist()
        press(page, str(key))                                                     # again: off
        assert selected(page) == [] and said(page)["cell"] == ""
    press(page, "2")
    assert said(page)["cell"] == "fn"
    slide = page.page.get_by_label("threshold", exact=True)
    slide.fill("0.3")
    wait(page)
    view.show(threshold=float(said(page)["threshold"]))
    assert selected(page) == view.rows("fn").tolist()
    assert f"{len(view.rows('fn'))} selected" in page.page.locator("button[data-cell=fn]").inner_text()
    press(page, "Escape")
    assert selected(page) == [] and said(page)["cell"] == ""
    press(page, "3")
    page.page.evaluate("SHARED.select(new DataView(new Uint32Array([1, 3]).buffer))")   # elsewhere
    wait(page)
    assert selected(page) == [1, 3] and said(page)["cell"] == ""
    assert page.page.locator("button[data-cell=fp]").get_attribute("aria-pressed") == "false"


def test_the_worst_mistakes(open_page, tmp_path):
    view = two(most=6)
    page = opened(open_page, view, tmp_path)
    s, y = view.scores["plain"], view.labels
    missed = sorted((i for i in range(300) if y[i] == 1 and s[i] < 0.5), key=lambda i: s[i])[:6]
    alarms = sorted((i for i in range(300) if y[i] == 0 and s[i] >= 0.5), key=lambda i: -s[i])[:6]
    for cell, rows in (("fn", missed), ("fp", alarms)):
        strip = page.page.locator(f"[data-strip={cell}]")
        shown = strip.locator("[data-row]").evaluate_all("all => all.map(e => +e.dataset.row)")
        assert shown == rows and strip.locator("canvas.clnb-thumb").count() == len(rows)
    first, second = (page.page.locator(f"[data-strip=fn] [data-row='{row}']") for row in missed[:2])
    first.click()
    second.click(modifiers=["Control"])
    wait(page)
    assert selected(page) == sorted(missed[:2]) and first.get_attribute("aria-pressed") == "true"
    assert page.page.evaluate("document.activeElement.dataset.row") == str(missed[1])     # the focus stays
    press(page, "Home")
    assert "none" in page.page.locator("[data-strip=fn]").inner_text()


def test_bars_axis_and_carried_state(open_page, tmp_path):
    view = two(stretch=True).show(model=EVIL, threshold=0.8, cost=7, cell="fp")
    page = opened(open_page, view, tmp_path)
    assert agree(page, view, 1) == 0.8 and selected(page) == view.rows("fp").tolist()
    stretch, bars = page.page.get_by_label("stretch both ends"), page.page.get_by_label("bars")
    assert stretch.is_checked() and "7 false alarms" in root(page).inner_text()
    shots = [canvas(page).screenshot()]
    stretch.uncheck()
    wait(page)
    shots.append(canvas(page).screenshot())
    bars.select_option("count")
    wait(page)
    shots.append(canvas(page).screenshot())
    assert len(set(shots)) == 3 and agree(page, view, 1) == 0.8
    press(page, "ArrowRight")
    assert agree(page, view, 1) == pytest.approx(0.81)
    stretch.check()
    press(page, "Home")
    assert view.ranks[EVIL].at(agree(page, view, 1)).fn == 0 and not page.problems()


def test_scores_that_are_no_probabilities(open_page, tmp_path):
    s, y = cases()
    logits = np.log(s / (1 - s)) * 3
    view = Thresholds(logits, y, names=NAMES)
    page = opened(open_page, view, tmp_path)
    assert agree(page, view) == 0 and not page.page.locator("[data-rule=half]").is_visible()
    assert not page.page.get_by_label("stretch both ends").is_visible()
    press(page, "h")                                                              # does nothing
    assert agree(page, view) == 0
    press(page, "ArrowRight")
    assert agree(page, view) == pytest.approx(0.01 * 1.04 * np.ptp(logits[y >= 0]))


def test_a_history_step_by_step(open_page, tmp_path):
    s, y = cases()
    history = History()
    for step, power in ((0, 3), (10, 2), (20, 1)): history.record(step, scores=s**power)
    view = Thresholds(history, y, threshold=0.4)
    page = opened(open_page, view, tmp_path)
    for key, power in ((0, 3), (1, 2), (2, 1)):
        page.page.get_by_label("step").fill(str(key))
        wait(page)
        assert {f: int(said(page)[f]) for f in Cells._fields} == ranked(s**power, y).at(0.4)._asdict()


@pytest.mark.parametrize("width", [1280, 700, 380])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_widths_and_themes(chromium, tmp_path, width, scheme):
    path = two().save(tmp_path / "t.html")
    context = chromium.new_context(viewport={"width": width, "height": 900}, offline=True, color_scheme=scheme)
    sheet = context.new_page()
    sheet.goto(path.resolve().as_uri())
    sheet.wait_for_timeout(500)
    wide, inside = sheet.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inside
    box = sheet.locator("canvas.clnb-canvas").first.bounding_box()
    assert box["height"] == {1280: 260, 700: 470, 380: 680}[width]
    for kind in ("roc", "pr"):
        (_, x), (_, y) = json.loads(sheet.locator("canvas.clnb-canvas").first.get_attribute(f"data-{kind}"))
        assert 0 < x < box["width"] and 0 < y < box["height"]
    context.close()


def test_names_for_screen_readers(open_page, tmp_path):
    page = opened(open_page, two(), tmp_path)
    unnamed = page.page.evaluate("""() => [...document.querySelectorAll('button, input, select, canvas[role]')]
      .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label'))).length""")
    assert unnamed == 0
    assert "precision" in canvas(page).get_attribute("aria-label")
    assert "plain at 0.5: " in page.page.locator("[role=status][aria-live]").first.inner_text()


LIVE = """
import numpy as np
import torch
from clnb.views.thresholds import Thresholds
rng = np.random.default_rng(0)
y = (rng.random(200) < 0.3).astype(int)
s = 1 / (1 + np.exp(-rng.normal(size=200) - y))
images = torch.randint(0, 255, (200, 1, 8, 8), dtype=torch.uint8)
"""


def test_live(make_notebook):
    book = make_notebook(LIVE, "view = Thresholds({'mine': s}, y, images)\nview").run_all()
    area = book.widget("view = Thresholds")
    one = area.locator(".clnb")
    area.locator("[data-strip=fn] canvas.clnb-thumb").first.wait_for(timeout=60_000)
    area.locator("button[data-cell=fp]").click()
    book.page.wait_for_timeout(500)
    assert json.loads(book.kernel("print(view.selection.index.tolist() == view.rows('fp').tolist() != [])").lower())
    number = area.get_by_label("threshold as a number")
    number.fill("0.75")
    number.press("Enter")
    book.page.wait_for_timeout(500)
    assert book.kernel("print(view.thresholds, view.selection.index.tolist() == view.rows('fp').tolist())"
                       ).strip() == "[0.75] True"
    book.kernel("view.show(threshold=0.2, cell='tn')")
    book.page.wait_for_timeout(500)
    assert one.get_attribute("data-threshold") == "0.2" and one.get_attribute("data-cell") == "tn"
    book.kernel("view.add(other=1 - s)")
    book.page.wait_for_timeout(800)
    assert area.get_by_role("group", name="model").get_by_role("button").count() == 2
    book.kernel("view.selection.set([5])")
    book.page.wait_for_timeout(500)
    assert one.get_attribute("data-cell") == ""
    assert json.loads(book.kernel("print(view.selection.index.tolist())")) == [5]
    book.shot("07r-live")
    book.check()


def test_the_notebook_draws_every_widget(open_notebook):
    book = open_notebook("07r_thresholds").run_all()
    book.check()


def test_an_image_set_gives_its_images(open_page, tmp_path):
    s, y = cases()
    data = ImageSet(pictures(), torch.from_numpy(np.maximum(y, 0)), ("a", "b"))
    page = opened(open_page, Thresholds(s, y, data), tmp_path)
    assert page.page.locator("[data-strip] canvas.clnb-thumb").count() > 4
