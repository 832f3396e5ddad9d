"""SpectrumSweep and Heatmaps in a real browser: pages without a kernel, and live in JupyterLab."""

import json
import math

import numpy as np
import pytest
import torch
from onpage import wait

from clnb.run import History
from clnb.views.base import Board
from clnb.views.heatmaps import Heatmaps, facts_of
from clnb.views.rewind import Rewind
from clnb.views.sweep import SpectrumSweep, drawn_values, nearest_run

EVIL = "<img src=x onerror=window.hacked=1>"
KEYS = ("d0", "temperature", "projector")


def cloud(n=120, d=12, decay=0.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator) * torch.arange(1, d + 1) ** -decay + 0.2


def grid(heads=("none", EVIL)):
    return {(d0, tau, head): {"embedding": cloud(seed=d0), "knn": d0 / 10,
                              "projection": cloud(decay=tau * 10, seed=d0)[:, :d0]}
            for d0 in (2, 4, 8) for tau in (0.05, 0.1) for head in heads if (d0, tau, head) != (8, 0.1, heads[-1])}


def said(page, part=".clnb"): return page.page.locator(part).first.evaluate("e => ({...e.dataset})")


def drawn(page): return json.loads(said(page, ".clnb-canvas")["lines"])


def move(page, label, k):
    page.set_range(page.page.get_by_label(label, exact=True), k)
    wait(page)


def line_of(page, run, name):
    return next(line for line in drawn(page) if line["run"] == run and line["name"] == name)


def test_sliders_show_the_runs_and_their_spectra(open_page, tmp_path):
    view = SpectrumSweep(grid(), KEYS, normalised=False)
    page = open_page(view.save(tmp_path / "sweep.html"))
    for k, d0 in ((1, 4), (0, 2), (2, 8)):
        move(page, "d0", k)
        run = int(said(page)["shown"])
        assert view.of(run) == {"d0": d0, "temperature": 0.05, "projector": "none"}
        for name in ("embedding", "projection"):
            found = view.spectra(run)[name]
            expected, line = drawn_values(found["values"][0], 120), line_of(page, run, name)
            assert line["count"] == len(expected)
            assert [line["first"], line["last"]] == pytest.approx(expected[[0, -1]].tolist(), rel=1e-5)
            numbers = json.loads(said(page)["numbers"])[name]
            assert numbers == pytest.approx({key: pair[0] for key, pair in found["numbers"].items()})
        table = page.page.get_by_role("table").inner_text()
        assert f"d0 {d0} · temperature 0.05 · projector none" in table and f"{numbers['effective rank']:.3g}" in table
        assert f"knn\t{d0 / 10:.3g}" in table
    assert page.page.get_by_label("d0", exact=True).get_attribute("aria-valuetext") == "8"
    page.page.get_by_role("group", name="projector").get_by_role("button", name=EVIL).click()
    wait(page)
    assert view.of(int(said(page)["shown"]))["projector"] == EVIL
    assert page.page.evaluate("window.hacked") is None and page.page.locator("img").count() == 0
    assert not page.problems()


def test_an_incomplete_grid_goes_to_the_nearest_run_and_says_so(open_page, tmp_path):
    view = SpectrumSweep(grid(("none", "mlp")), KEYS)
    view.show(d0=4, temperature=0.1, projector="mlp")
    page = open_page(view.save(tmp_path / "sweep.html"))
    assert said(page)["words"] == "d0 4 · temperature 0.1 · projector mlp"
    move(page, "d0", 2)                                             # (8, 0.1, mlp) was not run
    assert int(said(page)["shown"]) == nearest_run(view.settings, view.at_of, [2, 1, 1], [0])
    assert "There is no run with d0 8, temperature 0.1, projector mlp: the nearest that exists is shown." in (
        page.page.locator(".clnb").inner_text())
    move(page, "d0", 1)
    assert "There is no run" not in page.page.locator(".clnb").inner_text() and not page.problems()


def test_many_words_become_a_list_and_single_values_nothing(open_page, tmp_path):
    heads = [f"projector number {i}" for i in range(9)]
    view = SpectrumSweep({(head, 0.1): cloud(seed=i) for i, head in enumerate(heads)}, ("head", "tau"))
    page = open_page(view.save(tmp_path / "sweep.html"))
    page.page.get_by_label("head", exact=True).select_option(heads[4])
    wait(page)
    assert said(page)["shown"] == "4" and page.page.get_by_label("tau", exact=True).count() == 0
    one = open_page(SpectrumSweep({16: cloud()}, "d0").save(tmp_path / "one.html"))
    assert one.painted() and one.page.get_by_label("number in the small panel").is_hidden() and not one.problems()


def test_switches_change_what_is_drawn(open_page, tmp_path):
    cross = torch.tensor([[1, 0], [-1, 0], [0, 0.1], [0, -0.1]], dtype=torch.float64)
    view = SpectrumSweep({1: {"embedding": cross}, 2: {"embedding": cloud()}}, "run", normalised=False, scale="ln")
    page = open_page(view.save(tmp_path / "sweep.html"))

    def ends():
        line = line_of(page, 0, "embedding")
        return [line["first"], line["last"]]

    assert ends() == pytest.approx([-0.405465, -5.010635], abs=1e-5)
    page.page.get_by_label("rows normalised first").check()
    wait(page)
    assert ends() == pytest.approx([math.log(2 / 3)] * 2, abs=1e-5)              # the collapse disappears
    assert json.loads(said(page)["numbers"])["embedding"]["effective rank"] == pytest.approx(2)
    page.page.get_by_label("rows normalised first").uncheck()
    page.page.get_by_label("drawn").select_option("logarithmic axis")
    page.page.get_by_label("largest = 1").check()
    wait(page)
    assert ends() == pytest.approx([1, 0.01])
    page.page.get_by_label("of the covariance").uncheck()
    page.page.get_by_label("drawn").select_option("as they are")
    wait(page)
    assert ends() == pytest.approx([1, 0.1]) and page.painted() and not page.problems()
    page.page.get_by_label("other runs").uncheck()
    wait(page)
    assert not page.problems()


def pixels_of(page):
    return page.page.locator(".clnb-canvas").evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]")


def test_the_other_runs_are_faint_lines(open_page, tmp_path):
    page = open_page(SpectrumSweep(grid(), KEYS).save(tmp_path / "sweep.html"))
    with_others = pixels_of(page)
    page.page.get_by_label("other runs").uncheck()
    wait(page)
    assert sum(a != b for a, b in zip(with_others, pixels_of(page), strict=True)) > 1000


def test_a_pinned_run_is_compared(open_page, tmp_path):
    view = SpectrumSweep(grid(("none", "mlp")), KEYS)
    page = open_page(view.save(tmp_path / "sweep.html"))
    page.page.get_by_role("button", name="pin this run").click()
    wait(page)
    first = said(page)["pinned"]
    assert first == said(page)["shown"] and page.page.get_by_role("button", name="unpin").is_visible()
    move(page, "temperature", 1)
    table = page.page.get_by_role("table").inner_text()
    assert said(page)["pinned"] == first and "pinned: d0 2 · temperature 0.05 · projector none" in table
    for run in (int(said(page)["shown"]), int(first)):
        assert f"{view.spectra(run)['projection']['numbers']['effective rank'][1]:.3g}" in table
    page.page.locator(".clnb").focus()
    page.page.keyboard.press("Escape")
    wait(page)
    assert said(page)["pinned"] == "-1" and "pinned" not in page.page.get_by_role("table").inner_text()
    page.page.keyboard.press("p")
    wait(page)
    assert said(page)["pinned"] == said(page)["shown"] and not page.problems()


def test_the_small_panel_follows_the_last_slider(open_page, tmp_path):
    view = SpectrumSweep(grid(("none", "mlp")), KEYS, normalised=False)
    page = open_page(view.save(tmp_path / "sweep.html"))

    def panel(): return {c["name"]: c["points"] for c in json.loads(said(page, ".clnb-canvas")["panel"])}

    for name, points in view.along("effective rank", "d0").items():
        assert [p[1] for p in panel()[name]] == list(points)
        assert [p[2] for p in panel()[name]] == pytest.approx(list(points.values()))
    move(page, "temperature", 1)
    view.show(temperature=0.1)
    for name, points in view.along("effective rank", "temperature").items():
        assert {p[1]: pytest.approx(p[2]) for p in panel()[name]} == points
    page.page.get_by_label("number in the small panel").select_option("knn")
    wait(page)
    assert list(panel()) == ["knn"]
    page.page.get_by_role("group", name="projector").get_by_role("button", name="mlp").click()
    wait(page)
    assert [p[1] for p in panel()["knn"]] == [0, 1]                  # words stand at 0, 1, …
    run, _, _, x, y = panel()["knn"][0]
    box = page.page.locator(".clnb-canvas").bounding_box()
    page.page.mouse.move(box["x"] + x, box["y"] + y)
    wait(page)
    assert "click to show this run" in page.page.locator(".clnb-tip").inner_text()
    page.page.mouse.click(box["x"] + x, box["y"] + y)
    wait(page)
    assert said(page)["shown"] == str(run) and not page.problems()


def test_keys_hover_and_hidden_lines(open_page, tmp_path):
    view = SpectrumSweep(grid(("none", "mlp")), KEYS)
    page = open_page(view.save(tmp_path / "sweep.html"))
    page.page.locator(".clnb").focus()
    page.page.keyboard.press("ArrowRight")
    wait(page)
    assert view.of(int(said(page)["shown"]))["d0"] == 4
    page.page.keyboard.press("ArrowDown")
    page.page.keyboard.press("ArrowRight")
    wait(page)
    assert said(page)["moving"] == "1" and view.of(int(said(page)["shown"]))["temperature"] == 0.1
    page.hover(page.page.locator(".clnb-canvas"), 0.2, 0.4)
    tip = page.page.locator(".clnb-tip").inner_text()
    assert "singular value" in tip and "embedding:" in tip and "projection:" in tip
    page.page.get_by_role("button", name="projection").click()
    wait(page)
    assert {line["name"] for line in drawn(page)} == {"embedding"}
    page.page.get_by_role("button", name="embedding").click()
    wait(page)
    assert drawn(page) == [] and "effective rank" in page.page.locator(".clnb-canvas").get_attribute("aria-label")
    assert not page.problems()


def growing(count=3, names=("embedding", "projection")):
    runs = {d0: History() for d0 in (2, 4)}
    for d0, history in runs.items():
        for step in range(0, 10 * count, 10):
            arrays = {name: cloud(decay=step / 10, seed=d0) for name in names}
            history.record(step, knn=step / 100, **arrays)
    return runs


def test_steps_play_and_rewind(open_page, tmp_path):
    view = SpectrumSweep(growing(), "d0", normalised=False)
    page = open_page(view.save(tmp_path / "sweep.html"))
    for k, step in ((0, 0), (1, 10), (2, 20)):
        move(page, "step", k)
        expected = view.spectra(0, step)["embedding"]["numbers"]["effective rank"][0]
        assert json.loads(said(page)["numbers"])["embedding"]["effective rank"] == pytest.approx(expected)
        assert said(page)["step"] == str(step)
    move(page, "step", 0)
    page.page.get_by_role("button", name="play").click()
    page.page.wait_for_function("() => document.querySelector('.clnb').dataset.step === '20'")
    other = SpectrumSweep(growing(), "d0")
    board = Rewind(view, other).board()
    page = open_page(board.save(tmp_path / "board.html"))
    page.set_range(page.page.get_by_role("slider", name="step"), 1)
    wait(page)
    steps = page.page.locator(".clnb[data-shown]").evaluate_all("all => all.map(e => e.dataset.step)")
    assert steps == ["10", "10"] and not page.problems()


def test_nothing_recorded_and_broken_numbers(open_page, tmp_path):
    runs = growing()
    runs[8] = History()
    bad = cloud()
    bad[3, 3] = float("nan")
    runs[16] = {"embedding": bad}
    view = SpectrumSweep(runs, "d0").show(d0=8)
    page = open_page(view.save(tmp_path / "sweep.html"))
    assert "Nothing has been recorded for this run" in page.page.locator(".clnb").inner_text()
    move(page, "d0", 3)
    assert "embedding: not finite." in page.page.locator(".clnb").inner_text()
    few = open_page(SpectrumSweep({1: cloud(n=6)}, "d0").save(tmp_path / "few.html"))
    assert "6 rows span at most 5 of 12 directions." in few.page.locator(".clnb").inner_text()
    empty = open_page(SpectrumSweep({1: History()}, "d0").save(tmp_path / "empty.html"))
    assert empty.painted() and not (empty.problems() + few.problems() + page.problems())


@pytest.mark.parametrize("width, scheme", [(320, "light"), (500, "dark"), (1600, "dark")])
def test_narrow_wide_light_and_dark(chromium, tmp_path, width, scheme):
    paths = [SpectrumSweep(grid(), KEYS).save(tmp_path / "sweep.html"), routing().save(tmp_path / "maps.html")]
    context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    for path in paths:
        page = context.new_page()
        page.goto(path.as_uri())
        page.wait_for_timeout(500)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(".clnb-canvas").evaluate("c => c.clientWidth") > width - 60
    context.close()


# ------------------------------------------------------------------------------------------------------- heat maps


def matrices(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(10, 6, generator=generator), torch.randn(10, 8, generator=generator)
    x[:, 4:] = 0
    return {"dL/dr": (seed + 1) * x, f"dL/dh {EVIL}": y}


def routing(**more):
    return Heatmaps({"with skip": matrices(), "without skip": matrices(2)}, x="channel", y="image", **more)


def maps(page): return json.loads(said(page, ".clnb-canvas")["maps"])


def colour(page, box, share_x, share_y):
    "The pixel at a relative place of a map."
    x, y = (box[i] + share * (box[i + 2] - box[i]) for i, share in ((0, share_x), (1, share_y)))
    return page.page.locator(".clnb-canvas").evaluate(
        "(c, [x, y]) => { const r = window.devicePixelRatio; "
        "return [...c.getContext('2d').getImageData(x * r, y * r, 1, 1).data]; }", [x, y])


def at_cell(page, i, j, n, d, k=0):
    box, place = maps(page)[k]["box"], page.page.locator(".clnb-canvas").bounding_box()
    x, y = box[0] + (j + 0.5) / d * (box[2] - box[0]), box[1] + (i + 0.5) / n * (box[3] - box[1])
    page.page.mouse.move(place["x"] + x - 3, place["y"] + y)
    page.page.mouse.move(place["x"] + x, place["y"] + y)
    wait(page)


def test_maps_say_ranks_and_share_their_scale(open_page, tmp_path):
    view = routing()
    page = open_page(view.save(tmp_path / "maps.html"))
    assert view.height() > 300
    for group in ("with skip", "without skip"):
        page.page.get_by_role("button", name=group, exact=True).click()
        wait(page)
        assert said(page)["group"] == group
        for shown, (name, x) in zip(maps(page), view.tables()[group].items(), strict=True):
            facts = facts_of(x)
            assert (shown["name"], shown["rank"], shown["columns"]) == (name, facts["rank"], facts["columns"])
            assert shown["scale"][1] == pytest.approx(view.frame["scales"][name]["largest"])
            assert facts["text"] in page.page.locator(".clnb-canvas").get_attribute("aria-label")
    assert maps(page)[0]["text"] == "4 of 6 columns not zero · rank 4"
    assert page.page.evaluate("window.hacked") is None and page.page.locator("img").count() == 0
    assert page.painted() and not page.problems()


def test_hover_reads_the_values(open_page, tmp_path):
    view = routing()
    page, (x, y) = open_page(view.save(tmp_path / "maps.html")), view.tables()["with skip"].values()
    for k, table in enumerate((x, y)):
        n, d = table.shape
        for i, j in ((0, 0), (9, 2), (4, 3)):
            at_cell(page, i, j, n, d, k)
            tip = said(page, ".clnb-tip")
            assert (int(tip["row"]), int(tip["column"])) == (i, j)
            assert float(tip["value"]) == pytest.approx(float(table[i, j]), rel=1e-6)
            assert f"image {i}, channel {j}" in page.page.locator(".clnb-tip").inner_text()
    at_cell(page, 2, 5, 10, 6)
    assert "exactly 0" in page.page.locator(".clnb-tip").inner_text()
    box, bars, place = maps(page)[0]["box"], maps(page)[0]["bars"], page.page.locator(".clnb-canvas").bounding_box()
    page.page.mouse.move(place["x"] + box[0] + (box[2] - box[0]) * 2.5 / 6, place["y"] + bars[1] - 4)
    wait(page)
    assert "norm" in page.page.locator(".clnb-tip").inner_text()
    assert float(said(page, ".clnb-tip")["value"]) == pytest.approx(np.linalg.norm(x[:, 2]), rel=1e-6)
    assert not page.problems()


def test_colours_of_magnitudes_signs_and_zeros(open_page, tmp_path):
    x = np.array([[1, -1, 0, 1e-3]], np.float32)
    page = open_page(Heatmaps({"x": x}).save(tmp_path / "maps.html"))

    def seen(j): return colour(page, maps(page)[0]["box"], (j + 0.5) / 4, 0.51)[:3]

    assert seen(0) == seen(1) == [253, 231, 37] and seen(3) == [68, 1, 84]
    box = maps(page)[0]["box"]
    alphas = {colour(page, box, 0.5 + share, 0.51)[3] for share in (0.05, 0.1, 0.15, 0.2)}
    assert max(alphas) < 200                                         # the paper shows through, with its hatching
    page.page.get_by_label("log colours").check()
    wait(page)
    assert maps(page)[0]["scale"] == pytest.approx([1e-3, 1]) and seen(3) == [68, 1, 84]
    page.page.get_by_label("log colours").uncheck()
    page.page.get_by_label("signed").check()
    wait(page)
    assert seen(0) == [127, 39, 4] and seen(1) == [8, 64, 129] and min(seen(3)) > 240
    assert not page.problems()


def test_keys_walk_over_cells_matrices_and_groups(open_page, tmp_path):
    view = routing()
    page = open_page(view.save(tmp_path / "maps.html"))
    page.page.locator(".clnb").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowRight"): page.page.keyboard.press(key)
    wait(page)
    tip = said(page, ".clnb-tip")
    assert (tip["row"], tip["column"], tip["name"]) == ("1", "2", "dL/dr")
    status = page.page.get_by_role("status").all_inner_texts()
    assert any("image 1, channel 2" in text for text in status)
    page.page.keyboard.press("m")
    wait(page)
    assert said(page, ".clnb-tip")["name"].startswith("dL/dh")
    page.page.keyboard.press("g")
    wait(page)
    assert said(page)["group"] == "without skip" and not page.problems()


def test_large_matrices_come_in_blocks(open_page, tmp_path):
    x = np.zeros((1000, 2000), np.float32)
    x[700, 1500] = 3
    page = open_page(Heatmaps(x).save(tmp_path / "maps.html"))
    a, b = maps(page)[0]["block"]
    assert a * b > 10 and "1 of 2000 columns not zero · rank 1" in maps(page)[0]["text"]
    at_cell(page, 700 // a, 1500 // b, math.ceil(1000 / a), math.ceil(2000 / b))
    assert float(said(page, ".clnb-tip")["value"]) == 3 and "largest of the block" in (
        page.page.locator(".clnb-tip").inner_text())
    assert not page.problems()


def test_heat_maps_over_time(open_page, tmp_path):
    history = History()
    for step in (0, 10, 20): history.record(step, **{"dL/dr": np.eye(4) * (step + 1)})
    page = open_page(Heatmaps(history).save(tmp_path / "maps.html"))
    for k, step in enumerate((0, 10, 20)):
        move(page, "step", k)
        assert maps(page)[0]["scale"][1] == step + 1 and said(page)["step"] == str(step)
    empty = open_page(Heatmaps(History()).save(tmp_path / "empty.html"))
    assert empty.painted() and not page.problems() and not empty.problems()


def test_both_on_one_board(open_page, tmp_path):
    board = Board([SpectrumSweep(growing(), "d0"), routing()])
    page = open_page(board.save(tmp_path / "board.html"))
    assert page.page.locator(".clnb-canvas").count() == 2 and page.painted() == 2 and not page.problems()


# ------------------------------------------------------------------------------------------------------- JupyterLab

LIVE = """
import threading, time
import torch
from clnb.run import History
from clnb.views.sweep import SpectrumSweep
from clnb.views.heatmaps import Heatmaps

def cloud(decay, seed):
    return torch.randn(100, 8, generator=torch.Generator().manual_seed(seed)) * torch.arange(1, 9) ** -decay

runs = {d0: History() for d0 in (2, 4, 8)}
sweep = SpectrumSweep(runs, "d0")
def grow(steps):
    for step in steps:
        for d0, history in runs.items():
            history.record(step, embedding=cloud(step / 10, d0), knn=step / 100, **{"dL/dr": cloud(step / 10, d0)})
"""


def test_live_in_a_notebook(make_notebook):
    book = make_notebook(LIVE, "sweep", "maps = Heatmaps({str(d0): h for d0, h in runs.items()}, 'dL/dr')\nmaps")
    book.run_all()
    book.kernel("grow(range(0, 30, 10))")
    root = book.widget("SpectrumSweep").page.locator(".clnb").first
    book.page.wait_for_function("() => document.querySelector('.clnb').dataset.step === '20'")
    slider = root.get_by_label("d0", exact=True)
    book.set_range(slider, 1)
    book.page.wait_for_timeout(500)
    assert book.kernel("sweep.of(sweep.shown)['d0']") == "4"
    numbers = json.loads(root.get_attribute("data-numbers"))["embedding"]["effective rank"]
    assert numbers == pytest.approx(float(book.kernel("sweep.spectra(1)['embedding']['numbers']['effective rank'][1]")))
    book.kernel("sweep.show(d0=8).pin(d0=2)")
    book.page.wait_for_function("() => document.querySelector('.clnb').dataset.words === 'd0 8'")
    assert root.get_attribute("data-pinned") == "0"
    book.kernel("threading.Thread(target=grow, args=(range(30, 60, 10),)).start()")
    book.page.wait_for_function("() => document.querySelector('.clnb').dataset.step === '50'")
    book.set_range(root.get_by_label("step", exact=True), 1)
    book.page.wait_for_function("() => document.querySelector('.clnb').dataset.step === '10'")
    book.kernel("grow([60])")
    book.page.wait_for_timeout(800)
    assert root.get_attribute("data-step") == "10"                   # who looks back is not disturbed
    maps = book.page.locator(".clnb").nth(1)
    maps.get_by_role("button", name="8", exact=True).click()
    book.page.wait_for_timeout(500)
    assert book.kernel("maps.group") == "'8'" and maps.get_attribute("data-step") == "60"
    book.check()
