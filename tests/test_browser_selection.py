"""SelectionProbe in a real browser: a page without a kernel, and live in JupyterLab beside a run."""

import json

import numpy as np
import pytest
import torch
from onpage import in_both_themes, press, root, said, wait

from clnb.data import ImageSet, VectorSet
from clnb.run import History
from clnb.views.base import Board
from clnb.views.rewind import Rewind
from clnb.views.selection import SelectionProbe, classes_of, in_words, kept_in, orders, shared_from, shared_words, tally

EVIL = "<img src=x onerror=window.hacked=1>"
ORANGE, BLUE, GREY = (230, 159, 0), (0, 114, 178), (127, 127, 127)


def arrays_of(levels=3, anchors=6, count=24, seed=0, classes=3):
    "A choice on a true tree; odd candidates are rows of the probe, the others keys of a queue."
    rng = np.random.default_rng(seed)
    leaf = rng.integers(8, size=anchors + count)
    paths = np.stack([leaf // 2**level for level in range(levels)])
    same = paths[:, :anchors, None] == paths[:, None, anchors:]
    keep = np.where(same, 0.3, 0.9) + rng.uniform(-0.1, 0.1, (levels, anchors, count))
    label = np.r_[np.arange(anchors), rng.integers(classes, size=count)] % classes
    agrees = (label[:anchors, None] == label[anchors:]).astype(np.int8)
    agrees[:, 4] = -1
    return {"keep": keep, "kept": rng.random(keep.shape) < keep,
            "similarity": rng.uniform(-1, 1, (anchors, count)), "anchors": np.arange(anchors),
            "candidate_rows": np.where(np.arange(count) % 2, np.arange(count) + anchors, -1),
            "anchor_path": paths[:, :anchors], "candidate_path": paths[:, anchors:], "agrees": agrees}


def small_set(n=40):
    images = torch.randint(0, 100, (n, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet(images, torch.arange(n) % 3, ("zero", EVIL, "</script>two"))


def spot(page, x, y):
    "Move the mouse to canvas pixels."
    canvas = page.page.locator("canvas.clnb-canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.page.mouse.move(box["x"] + x - 3, box["y"] + y - 3)
    page.page.mouse.move(box["x"] + x, box["y"] + y, steps=3)
    wait(page)


def click(page, x, y):
    spot(page, x, y)
    page.page.mouse.down()
    page.page.mouse.up()
    wait(page)


def level_button(page, level): return page.page.get_by_role("group", name="level").locator(f"[data-level='{level}']")


def colours(page):
    "How many pixels of the plot have each of the colours."
    return page.page.locator("canvas.clnb-canvas").first.evaluate("""(e, wanted) => {
      const wide = Math.round(e.width * 0.36), data = e.getContext("2d").getImageData(0, 24, wide, e.height - 24).data;
      const found = wanted.map(() => 0);
      for (let i = 0; i < data.length; i += 4) wanted.forEach((c, k) => {
        if (c.every((v, j) => Math.abs(v - data[i + j]) < 3)) found[k]++; });
      return found; }""", [ORANGE, BLUE, GREY])


def numbers_agree(page, view, k=-1):
    "The page's numbers and sentences are Python's."
    now, choice = said(page), view.choice(k)
    level = None if now["level"] == "all" else int(now["level"]) - 1
    anchor, throw = int(now["anchor"]), int(now["throw"])
    one, all_ = tally(choice, level, anchor, throw), tally(choice, level, None, throw)
    assert [int(now[name]) for name in ("candidates", "kept", "false", "falseKept")] == [
        one.candidates, one.kept, one.false, one.false_kept]
    for name, value in {"keep": one.keep, "falseKeep": one.false_keep, "before": one.before, "after": one.after,
                        "expected": one.expected, "allBefore": all_.before, "allAfter": all_.after}.items():
        assert float(now[name]) == pytest.approx(value, nan_ok=True)
    text = root(page).inner_text()
    assert in_words(choice, level, anchor, throw) in text and in_words(choice, level, None, throw) in text
    return level, anchor, throw


def test_levels_anchors_and_throws_count_as_python_does(open_page, tmp_path):
    view = SelectionProbe(arrays_of(), small_set())
    page = open_page(view.save(tmp_path / "s.html"))
    assert numbers_agree(page, view) == (2, 0, 0)                                # the coarsest level, as recorded
    for level in (1, 2, "all"):
        level_button(page, level).click()
        wait(page)
        assert numbers_agree(page, view)[0] == (None if level == "all" else level - 1)
        assert level_button(page, level).get_attribute("aria-pressed") == "true"
    again, recorded = (page.page.get_by_role("button", name=name) for name in ("throw again", "recorded throw"))
    assert recorded.is_disabled() and "shown: the recorded throw" in root(page).inner_text()
    seen = []
    for number in (1, 2, 3):
        again.click()
        wait(page)
        assert numbers_agree(page, view)[2] == number and f"throw {number}, not recorded" in root(page).inner_text()
        seen.append(said(page)["allKept"])
    assert len(set(seen)) > 1
    recorded.click()
    wait(page)
    assert numbers_agree(page, view)[2] == 0
    page.page.get_by_role("group", name="anchors").get_by_role("button").nth(4).click()
    wait(page)
    assert numbers_agree(page, view)[1] == 4 and said(page)["row"] == "4"
    page.page.keyboard.press("ArrowRight")                                       # within the strip
    wait(page)
    assert numbers_agree(page, view)[1] == 5
    press(page, "ArrowRight", "l", "t")
    level, anchor, throw = numbers_agree(page, view)
    assert (level, anchor) == (0, 0) and throw > 0
    press(page, "r")
    assert numbers_agree(page, view)[2] == 0 and not page.problems()


def test_coins_of_the_page_are_pythons(open_page, tmp_path):
    view = SelectionProbe(arrays_of(), level=2, throw=7)
    page = open_page(view.save(tmp_path / "s.html"))
    kept, choice = kept_in(view.choice(), 7), view.choice()
    order = sorted(range(24), key=lambda c: (choice.keep[1, 0, c], c))
    for c in order[:6]:                                                          # ↓: the surest dropped first
        press(page, "ArrowDown")
        assert said(page)["cursor"] == str(c)
        rows = page.page.get_by_role("table").locator("[data-level]")
        rows = rows.evaluate_all("all => all.map(e => ({...e.dataset}))")
        assert [row["level"] for row in rows] == ["3", "2", "1"]
        for row in rows:
            level = int(row["level"]) - 1
            assert row["kept"] == ("kept" if kept[level, 0, c] else "dropped")
            assert float(row["p"]) == pytest.approx(choice.keep[level, 0, c])
            assert int(row["anchor"]) == choice.anchor_path[level, 0]
            assert int(row["candidate"]) == choice.candidate_path[level, c]
        assert int(said(page)["shared"]) == shared_from(choice)[0, c]
        why = page.page.get_by_role("group", name="why this candidate").inner_text()
        assert shared_words(shared_from(choice)[0, c], 3) in why
    assert not page.problems()


def test_hover_says_why(open_page, tmp_path):
    view = SelectionProbe(arrays_of(), small_set())
    page, choice = open_page(view.save(tmp_path / "s.html")), view.choice()
    tip = page.page.locator(".clnb-tip")
    words = {1: "same class: a false negative", 0: "another class", -1: "class unknown"}
    met = set()
    for _ in range(24):
        press(page, "ArrowDown")
        c = int(said(page)["cursor"])
        spot(page, *map(float, said(page)["spot"].split(",")))
        if int(said(page)["cursor"]) != c: continue                              # another one lies on top of it
        text = tip.inner_text()
        met.add(int(choice.agrees[0, c]))
        assert words[choice.agrees[0, c]] in text and shared_words(shared_from(choice)[0, c], 3) in text
        assert ("candidate" if choice.candidate_rows[c] < 0 else f"row {choice.candidate_rows[c]}") in text
        assert f"similarity {float(f'{choice.similarity[0, c]:.3g}'):g}" in text
        for level in range(3):
            word = "kept" if choice.kept[level, 0, c] else "dropped"
            assert f"level {level + 1}: P(keep) {float(f'{choice.keep[level, 0, c]:.3g}'):g}, {word}" in text
        for path, name in ((choice.anchor_path[:, 0], "anchor's path"), (choice.candidate_path[:, c], "its path")):
            assert f"{name}: {' → '.join(map(str, path[::-1]))}" in text
        assert (tip.locator("canvas").count() == 1) == (choice.candidate_rows[c] >= 0)
    assert met == {1, 0, -1} and not page.page.evaluate("window.hacked") and not page.problems()


def test_marks_have_their_colours_and_fillings(open_page, tmp_path):
    arrays = arrays_of()
    page = open_page(SelectionProbe(arrays).save(tmp_path / "some.html"))
    orange, blue, grey = colours(page)
    assert orange > 20 and blue > 20 and grey > 3
    legend = root(page).inner_text()
    for text in ("same class: a false negative", "another class", "class unknown", "hollow: dropped"):
        assert text in legend
    counts = {}
    for name, kept in (("all", 1), ("none", 0)):
        page = open_page(SelectionProbe({**arrays, "kept": np.full((3, 6, 24), kept)}).save(tmp_path / f"{name}.html"))
        counts[name] = colours(page)
    assert all(full > 1.3 * hollow for full, hollow in zip(counts["all"], counts["none"], strict=True))
    half = np.zeros((3, 6, 24))
    half[0] = 1
    page = open_page(SelectionProbe({**arrays, "kept": half}, level=0).save(tmp_path / "half.html"))
    between = colours(page)
    assert counts["none"][1] < between[1] < counts["all"][1] and "half: kept on some levels" in root(page).inner_text()
    page = open_page(SelectionProbe({**arrays, "agrees": None}).save(tmp_path / "unknown.html"))
    assert colours(page)[2] > 20 and colours(page)[0] == 0
    assert "same class: a false negative" not in root(page).inner_text()
    assert "without labels nobody knows" in root(page).inner_text() and not page.problems()


def test_overview_chooses_the_anchor(open_page, tmp_path):
    view = SelectionProbe(arrays_of(), small_set(), level=1)
    page, choice = open_page(view.save(tmp_path / "s.html")), view.choice()
    both = orders(choice, *classes_of(choice, view.labels)[:2])
    chooser = page.page.get_by_label("overview sorted by")
    for sort in ("class", "tree", "as recorded"):
        chooser.select_option(sort)
        wait(page)
        first, second = both[sort]
        assert said(page)["order"] == ",".join(map(str, first))
        left, top, right, bottom = map(float, said(page)["heat"].split(","))
        i, j = 2, 5
        x, y = left + (j + 0.5) / 24 * (right - left), top + (i + 0.5) / 6 * (bottom - top)
        spot(page, x, y)
        text = page.page.locator(".clnb-tip").inner_text()
        assert f"anchor row {first[i]}" in text
        assert f"P(keep) {float(f'{choice.keep[0, first[i], second[j]]:.3g}'):g}" in text
        click(page, x, y)
        assert said(page)["anchor"] == str(first[i])
        pixel = page.page.locator("canvas.clnb-canvas").evaluate("""(e, place) => {
          const [x, y] = place.map((v) => Math.round(v * devicePixelRatio));
          return [...e.getContext("2d").getImageData(x, y, 1, 1).data].slice(0, 3); }""", [x, y])
        assert pixel == shade(choice.keep[0, first[i], second[j]], pixel)
    assert not page.problems()


def shade(p, found):
    "The colour of a probability, give or take rounding."
    stops = np.array([[68, 1, 84], [70, 50, 126], [54, 92, 141], [39, 127, 142], [31, 161, 135], [74, 193, 109],
                      [160, 218, 57], [253, 231, 37]])
    wanted = [np.interp(p * 7, np.arange(8), stops[:, c]) for c in range(3)]
    return found if np.abs(np.array(wanted) - found).max() < 3 else np.round(wanted).tolist()


def test_the_tree_says_what_lies_below(open_page, tmp_path):
    view = SelectionProbe(arrays_of(), small_set())
    page = open_page(view.save(tmp_path / "s.html"))
    box, found = page.page.locator("canvas.clnb-canvas").bounding_box(), set()
    for y in np.linspace(30, 285, 22):
        for x in np.linspace(0.4, 0.64, 40) * box["width"]:
            page.page.mouse.move(box["x"] + x, box["y"] + y)
            tip = page.page.locator(".clnb-tip")
            if tip.is_visible() and "prototype" in tip.inner_text(): found.add(tip.inner_text())
    choice = view.choice()
    for level in range(3):
        for number in np.unique(choice.candidate_path[level]):
            below = choice.candidate_path[level] == number
            mean = float(f"{choice.keep[level, 0, below].astype(float).mean():.3g}")
            wrong = (choice.agrees[0, below] == 1).sum()
            some = f"level {level + 1}, prototype {number}\n{below.sum()} candidate{'' if below.sum() == 1 else 's'}, "
            whole = f"{some}{wrong} of the anchor's class\nmean P(keep) {mean:g}"
            assert whole in found, (whole, found)
    assert not page.problems()


def test_selection_is_shared(open_page, tmp_path):
    one, two = SelectionProbe(arrays_of(), small_set()), SelectionProbe(arrays_of(seed=1))
    page = open_page(Board([one, two]).save(tmp_path / "board.html"))
    first, second = page.page.locator(".clnb").first, page.page.locator(".clnb").nth(1)
    first.get_by_role("group", name="anchors").get_by_role("button").nth(3).click()
    wait(page)
    assert second.get_attribute("data-anchor") == "3"
    first.focus()
    page.page.keyboard.press("ArrowDown")                                        # a candidate, too
    for _ in range(10):
        if one.choice().candidate_rows[int(said(page)["cursor"])] >= 0: break
        page.page.keyboard.press("ArrowDown")
        wait(page)
    assert second.get_attribute("data-anchor") == "3" and int(said(page)["cursor"]) >= 0
    page.page.keyboard.press("Escape")
    wait(page)
    assert said(page)["cursor"] == "-1" and first.get_attribute("data-anchor") == "3" and not page.problems()
    strange = SelectionProbe(arrays_of())
    strange.selection.set([33])                                                  # no anchor
    page = open_page(strange.save(tmp_path / "strange.html"))
    assert "row 33 is not among the anchors" in root(page).inner_text()


def history_of(steps=(0, 10, 20), **options):
    history = History()
    for step in steps:
        history.record(step, **{f"choice.{name}": value for name, value in arrays_of(seed=step, **options).items()})
    return history


def test_before_and_after_by_rewinding(open_page, tmp_path):
    view = SelectionProbe(history_of(), small_set(), anchor=2)
    page = open_page(view.save(tmp_path / "s.html"))
    numbers_agree(page, view)
    page.set_range(page.page.get_by_label("step", exact=True), 0)
    wait(page)
    assert numbers_agree(page, view, 0)[1] == 2 and "step 0" in root(page).inner_text()
    level_button(page, 1).click()
    page.page.get_by_role("button", name="newest").click()
    wait(page)
    assert numbers_agree(page, view, 2)[0] == 0 and not page.problems()          # level and anchor stay
    board = SelectionProbe(history_of(), small_set())
    page = open_page(Rewind(board).board().save(tmp_path / "board.html"))
    sliders = page.page.get_by_label("step", exact=True)
    assert sum(sliders.nth(i).is_visible() for i in range(sliders.count())) <= 1 and not page.problems()


@pytest.mark.parametrize("levels", [1, 2, 7])
def test_any_number_of_levels(levels, open_page, tmp_path):
    view = SelectionProbe(arrays_of(levels), level=0)
    page = open_page(view.save(tmp_path / "s.html"))
    buttons = page.page.get_by_role("group", name="level").get_by_role("button")
    assert buttons.count() == (1 if levels == 1 else levels + 1)
    numbers_agree(page, view)
    press(page, "ArrowDown", "l")
    numbers_agree(page, view)
    assert page.page.get_by_role("table").locator("[data-level]").count() == levels and not page.problems()


def test_little_data(open_page, tmp_path):
    rng = np.random.default_rng(0)
    few = {"keep": rng.random((2, 1, 1)), "similarity": rng.random((1, 1))}
    bare = {"keep": rng.random((1, 4, 9)), "similarity": np.where(np.arange(9) == 2, np.nan, rng.random((4, 9)))}
    vectors = VectorSet(torch.zeros(40, 5), torch.arange(40) % 3, ("a", "b", "c"))
    for name, view in {"few": SelectionProbe(few), "bare": SelectionProbe(bare),
                       "vectors": SelectionProbe(arrays_of(), vectors)}.items():
        page = open_page(view.save(tmp_path / f"{name}.html"))
        numbers_agree(page, view)
        press(page, "ArrowDown", "ArrowRight", "t", "l", "Enter")
        numbers_agree(page, view)
        assert page.page.get_by_role("group", name="anchors").locator("canvas").count() == 0
        assert page.painted() == 1 and not page.problems()
    for source in (History(), {}):
        page = open_page(SelectionProbe(source).save(tmp_path / "none.html"))
        assert 'waiting for \'choice\' to be recorded: run.measure' in root(page).inner_text()
        press(page, "ArrowDown", "ArrowRight", "t", "l", "Enter", "Escape")
        assert page.painted() == 1 and not page.problems()


def test_pictures_and_names_from_data(open_page, tmp_path):
    view = SelectionProbe(arrays_of(), small_set(), levels=[EVIL, "mid", "top"])
    page = open_page(view.save(tmp_path / "s.html"))
    wait(page, 400)
    strip = page.page.get_by_role("group", name="anchors")
    assert strip.locator("canvas").count() == 6
    assert strip.get_by_role("button").nth(1).get_attribute("aria-label") == f"anchor row 1, {EVIL}"
    drawn = strip.locator("canvas").nth(1).evaluate("e => [...e.getContext('2d').getImageData(0, 0, 8, 8).data]")
    assert drawn[::4] == small_set().images[1, 0].flatten().tolist()
    assert EVIL in page.page.get_by_role("group", name="level").inner_text()
    assert page.page.locator("img").count() == 0 and not page.page.evaluate("window.hacked")
    assert "Which negatives?" in page.page.locator("canvas.clnb-canvas").get_attribute("aria-label")
    assert not page.problems()


@pytest.mark.parametrize("width", [330, 500, 800, 1280])
def test_every_width_and_both_themes(width, chromium, tmp_path):
    view = SelectionProbe(arrays_of(), small_set())
    path = view.save(tmp_path / "s.html")
    for sheet in in_both_themes(chromium, path, width):
        left, top, right, bottom = map(float, sheet.locator(".clnb").get_attribute("data-heat").split(","))
        box = sheet.locator("canvas.clnb-canvas").bounding_box()
        assert 0 < left < right <= box["width"] and 0 < top < bottom <= box["height"] and right - left > 150


RUN = """
import torch
from clnb import nets
from clnb.augment import VectorNoise
from clnb.data import VectorSet
from clnb.methods.hcsc import HCSC, choices
from clnb.run import Run
from clnb.views.selection import SelectionProbe
rng = torch.Generator().manual_seed(0)
kinds = 3 * torch.randn(6, 8, generator=rng)
labels = torch.arange(256) % 6
data = VectorSet(kinds[labels] + torch.randn(256, 8, generator=rng), labels, [f"kind {k}" for k in range(6)])
method = HCSC(nets.mlp([8, 16]), nets.mlp([16, 8]), VectorNoise(0.3), sizes=(12, 6, 2), warmup=1, queue=64)
run = Run(method, data, steps=4000, batch_size=32, device="cpu", progress=False)
probe = data.subset(torch.arange(10))
run.measure("choice", lambda m: choices(m, probe.images, probe.labels), every=8)
"""


def test_live_beside_a_run(make_notebook):
    book = make_notebook(RUN, "view = SelectionProbe(run.history, probe)\nview", "run.start()").run_all()
    area = book.widget("view = SelectionProbe")
    area.locator("[data-level]").first.wait_for(timeout=60_000)
    one = area.locator(".clnb")
    before = one.get_attribute("data-all-expected")
    book.page.wait_for_timeout(2500)
    assert one.get_attribute("data-all-expected") != before                      # it follows the run
    book.kernel("run.stop()")
    book.page.wait_for_timeout(800)
    one.get_by_role("group", name="anchors").get_by_role("button").nth(3).click()
    book.page.wait_for_timeout(500)
    assert json.loads(book.kernel("print(view.selection.index.tolist())")) == [3]
    book.kernel("view.selection.set([5])")
    book.page.wait_for_timeout(500)
    assert one.get_attribute("data-anchor") == "5"
    assert float(one.get_attribute("data-all-expected")) == pytest.approx(float(book.kernel(
        "from clnb.views.selection import tally\nprint(tally(view.choice(), len(method.tree.sizes) - 1).expected)")))
    one.get_by_role("button", name="throw again").click()
    book.page.wait_for_timeout(300)
    assert one.get_attribute("data-throw") == "1"
    book.shot("07m-live")
    book.check()


def test_the_notebook_draws_every_widget(open_notebook):
    book = open_notebook("07m_selection").run_all()
    book.check()
