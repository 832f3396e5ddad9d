"""WhyPair in a real browser: a page without a kernel, and live in JupyterLab beside a run."""

import json

import numpy as np
import pytest
import torch
from onpage import said, wait

from clnb.data import ImageSet
from clnb.run import History, Pairs, softmax_pairs
from clnb.views.base import Board
from clnb.views.live import Spectrum
from clnb.views.pairs import RANKINGS, WhyPair, in_words, overall, ranked, waste

EVIL = "<img src=x onerror=window.hacked=1>"


def small_set(n=24):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 100, (n, 1, 8, 8), dtype=torch.uint8, generator=generator)
    images += 50 * (torch.arange(n) % 3).to(torch.uint8)[:, None, None, None]
    return ImageSet(images, torch.arange(n) % 3, ("zero", EVIL, "</script>two"))


def pairs_of(n=12, seed=0, classes=3, **more):
    "Two views of each row, some of class against class; the positive of row 5 is of another class."
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(2 * n, 6, generator=generator, dtype=torch.float64)
    itself, rows = torch.eye(2 * n, dtype=torch.bool), torch.arange(n).repeat(2)
    table = softmax_pairs(z, z, itself.roll(n, 1), 0.3, ~itself, torch.rand(2 * n, 2 * n, generator=generator) + 0.1)
    labels = rows % classes
    agrees = (labels[:, None] == labels[None]).to(torch.int8)
    agrees[5, n + 5] = 0
    agrees[:, 3] = -1
    return Pairs(**table, anchors=rows, candidates=rows, agrees=agrees, **more)


def listed(page, kind):
    return page.page.get_by_role("list", name=kind).locator("[data-column]").evaluate_all(
        "all => all.map(e => +e.dataset.column)")


@pytest.mark.parametrize("by", RANKINGS)
def test_the_page_ranks_and_counts_as_python_does(by, open_page, tmp_path):
    view = WhyPair(pairs_of(names=tuple(f"v{i}" for i in range(24))), small_set(), by=by, anchor=5)
    page, table = open_page(view.save(tmp_path / "why.html")), view.table(-1)
    for anchor in (5, 6, 7):
        positives, negatives = ranked(table, anchor, by)
        assert said(page)["anchor"] == str(anchor)
        assert listed(page, "positives") == positives.tolist() and listed(page, "negatives") == negatives.tolist()
        found = waste(table)
        assert int(said(page)["wrong"]) == found.wrong[anchor]
        assert float(said(page)["share"]) == pytest.approx(found.share[anchor], abs=1e-6)
        label = small_set().classes[anchor % 3]
        assert in_words(table, anchor, f"row {anchor}, {label}") in page.page.locator(".clnb").inner_text()
        page.page.locator(".clnb").focus()
        page.page.keyboard.press("ArrowRight")
        wait(page)
    share, push = overall(table)
    assert f"{100 * share:.0f} % of the negatives are false, with {100 * push:.0f} % of the push" in (
        page.page.locator(".clnb").inner_text())
    assert page.page.evaluate("window.hacked") is None and page.page.locator("img, b img").count() == 0
    assert not page.problems()


def test_marks_pictures_and_numbers(open_page, tmp_path):
    view = WhyPair(pairs_of(), small_set(), anchor=5)
    page, table = open_page(view.save(tmp_path / "why.html")), view.table(-1)
    wait(page, 500)
    rows = page.page.get_by_role("list", name="positives").locator("[data-column]")
    assert rows.first.get_attribute("data-kind") == "false positive" and "▼ false positive" in rows.first.inner_text()
    false = page.page.locator("[data-kind='false negative']")
    wanted = [j for j in range(24) if table.agrees[5, j] == 1 and j not in (5, 17)]
    assert sorted(int(x) for x in false.evaluate_all("all => all.map(e => e.dataset.column)")) == wanted
    j = wanted[0]
    words = page.page.locator(f"[data-column='{j}']").get_attribute("aria-label")
    for field in ("probability", "weight", "pull", "similarity"):
        shown = float(words.split(f"{field} ")[1].split(",")[0])
        assert shown == pytest.approx(float(getattr(table, field)[5, j]), rel=6e-3)
    pixel = page.page.locator(f"[data-column='{j}'] canvas").evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, 8, 8).data].filter((_, i) => i % 4 === 0)")
    assert np.array_equal(np.reshape(pixel, (8, 8)), small_set().images[j % 12, 0].numpy())
    assert page.page.get_by_role("group", name="anchors").locator("canvas").count() == 24
    assert page.painted() > 24 and not page.problems()


def test_anchors_candidates_and_the_selection(open_page, tmp_path):
    view = WhyPair(pairs_of(), small_set())
    page = open_page(view.save(tmp_path / "why.html"))
    wait(page)
    page.page.get_by_role("group", name="anchors").get_by_role("button").nth(7).click()
    wait(page)
    assert said(page)["anchor"] == "7" and said(page)["row"] == "7"
    page.page.keyboard.press("ArrowRight")                                    # within the strip
    wait(page)
    assert said(page)["anchor"] == "8"
    page.page.locator("[data-kind='false negative']").first.click()
    wait(page)
    page.page.locator(".clnb").focus()
    for _ in range(3): page.page.keyboard.press("ArrowDown")
    wait(page)
    order = [*listed(page, "positives"), *listed(page, "negatives")]
    text = page.page.locator(".clnb").inner_text()
    assert any(f"row {j % 12}" in text for j in order) and "negative; probability" in text
    page.page.get_by_role("button", name="select the false negatives").click()
    wait(page)
    assert said(page)["anchor"] == "8"                                        # its own selection does not move it
    page.page.keyboard.press("Escape")
    wait(page)
    canvas = page.page.locator("canvas.clnb-canvas")
    box, found = canvas.bounding_box(), False
    for y in np.linspace(0.1, 0.85, 25):
        for x in np.linspace(0.2, 0.95, 30):
            page.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            found = found or page.page.locator(".clnb-tip").is_visible()
        if found: break
    assert found and not page.problems()


def test_rewind_and_long_lists(open_page, tmp_path):
    history = History()
    for step in (0, 10, 20):
        for name, value in pairs_of(40, seed=step, classes=2).recorded(views=False).items():
            history.record(step, **{f"why.{name}": value})
    view = WhyPair(history, small_set(40))
    page = open_page(view.save(tmp_path / "why.html"))
    assert listed(page, "negatives") == ranked(view.table(-1), 0)[1].tolist()[:40]
    page.page.get_by_role("button", name="show all 78").click()
    wait(page)
    assert listed(page, "negatives") == ranked(view.table(-1), 0)[1].tolist()
    page.set_range(page.page.get_by_label("step", exact=True), 0)
    wait(page)
    assert listed(page, "negatives") == ranked(view.table(0), 0)[1].tolist()
    assert "step 0" in page.page.locator(".clnb").inner_text() and not page.problems()


def test_prototypes_and_unlabelled_rows_are_drawn(open_page, tmp_path):
    z, c = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)), torch.eye(4)
    table = softmax_pairs(z, c, torch.eye(5, 4, dtype=torch.bool), 0.2)
    found = Pairs(**table, anchors=torch.arange(5), candidates=torch.full((4,), -1), names=("p0", "p1", EVIL, "p3"))
    page = open_page(WhyPair(found).save(tmp_path / "why.html"))
    assert "without labels nobody knows" in page.page.locator(".clnb").inner_text()
    assert EVIL in page.page.locator(".clnb").inner_text() and page.page.locator("img").count() == 0
    assert page.page.get_by_role("button", name="select the false negatives").is_disabled() and not page.problems()
    page = open_page(WhyPair(History()).save(tmp_path / "empty.html"))
    assert not page.problems()


def test_one_selection_and_one_time_for_spectrum_and_pairs(open_page, tmp_path):
    history, data, rng = History(), small_set(24), np.random.default_rng(0)
    for step in (0, 10, 20):
        why = {f"why.{name}": value for name, value in pairs_of(12, seed=step).recorded(views=False).items()}
        history.record(step, embedding=rng.standard_normal((24, 5)) ** 3, **why)
    why = WhyPair(history, data)
    page = open_page(Board([Spectrum(history, images=data), why]).save(tmp_path / "board.html"))
    spectrum, pairs = page.page.locator(".clnb").first, page.page.locator(".clnb").nth(1)
    spectrum.focus()
    for key in ("ArrowRight", "Enter"): page.page.keyboard.press(key)
    wait(page, 500)
    ends = sorted({int(x) for x in spectrum.locator("figure").evaluate_all("all => all.map(e => e.dataset.row)")})
    assert len(ends) == 16 and int(pairs.get_attribute("data-row")) == next(row for row in ends if row < 12)
    pairs.get_by_role("button", name="select the false negatives").click()
    wait(page)
    row = int(pairs.get_attribute("data-row"))
    rows = {j % 12 for j in ranked(why.table(-1), row)[1] if why.table(-1).agrees[row, j] == 1} | {row}
    assert f"{len(rows)} selected rows" in spectrum.inner_text()
    page.set_range(spectrum.get_by_label("step", exact=True), 0)
    wait(page)
    table, row = why.table(0), int(pairs.get_attribute("data-anchor"))
    assert listed(page, "negatives") == ranked(table, row)[1].tolist() and not page.problems()


RUN = """
import torch, time
from clnb import nets
from clnb.augment import affine_noise
from clnb.data import load
from clnb.methods.simclr import SimCLR
from clnb.run import Run, watch
from clnb.views.pairs import WhyPair
torch.manual_seed(0)
data = load("digits")
encoder = nets.small_convnet(channels=1, width=8)
method = SimCLR(encoder, nets.projection_head(encoder.out_dim, 32, 16), affine_noise(1.0), temperature=0.2)
run = watch(Run(method, data, steps=400, batch_size=64, progress=False), data, every=10, pairs=12)
"""


def test_live_beside_a_run(make_notebook):
    book = make_notebook(RUN, "view = WhyPair(run.history, data)\nview", "asked = WhyPair(run, data, count=8)\nasked",
                         "run.start()").run_all()
    one = book.widget("view = WhyPair")
    one.locator("[data-column]").first.wait_for(timeout=30_000)
    share = one.locator(".clnb").get_attribute("data-share")
    book.page.wait_for_timeout(2500)
    assert one.locator(".clnb").get_attribute("data-share") != share           # it follows the run
    book.kernel("run.stop()")
    book.page.wait_for_timeout(800)
    one.get_by_role("group", name="anchors").get_by_role("button").nth(3).click()
    book.page.wait_for_timeout(500)
    assert json.loads(book.kernel("print(view.selection.index.tolist())")) == [3]
    one.locator("[data-kind='negative']").first.click()
    book.page.wait_for_timeout(500)
    assert len(json.loads(book.kernel("print(view.selection.index.tolist())"))) == 2
    other = book.widget("asked = WhyPair")
    book.kernel("asked.link(view.selection).selection.set([321])")             # no anchor: the method is asked
    other.scroll_into_view_if_needed()                                         # what is not seen is not drawn
    book.page.wait_for_timeout(2500)
    assert other.locator(".clnb").get_attribute("data-row") == "321"
    one.scroll_into_view_if_needed()
    book.page.wait_for_timeout(500)
    assert "row 321 is not among the anchors" in one.inner_text()
    book.shot("07g-live")
    book.check()


def test_the_notebook_draws_every_widget(open_notebook):
    book = open_notebook("07g_pairs").run_all()
    book.check()
