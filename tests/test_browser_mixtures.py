"""The map of a mixture and the table of clusters in a real browser: pages without a kernel, and live in JupyterLab."""

import json

import numpy as np
import pytest
import torch
from onpage import button, canvas, in_both_themes, place, press, root, said, wait

from clnb.core import generator
from clnb.data import ImageSet
from clnb.mixtures import gaussian_mixture
from clnb.run import History
from clnb.views.base import Board
from clnb.views.linked import Gallery
from clnb.views.mixtures import (
    ClusterTable,
    MixtureMap,
    agreement,
    by_class,
    contingency,
    ends_of,
    in_words,
    regrouped,
)

EVIL = "<img src=x onerror=window.hacked=1>"


def clouds(n=90, k=3, d=5, apart=2.0, seed=0):
    rng = generator(seed)
    label = torch.arange(n) % k
    return apart * torch.randn(k, d, generator=rng)[label] + torch.randn(n, d, generator=rng), label


X, LABEL = clouds()
FOUR = gaussian_mixture(X, 4, restarts=3)
IMAGES = torch.randint(0, 256, (90, 1, 8, 8), dtype=torch.uint8, generator=generator(0))
DATA = ImageSet(IMAGES, LABEL, ("one", EVIL, "</script>three"))
SETTINGS = {"full": {"components": 3}, "round": {"covariance": "spherical", "components": 4, "restarts": 1}}


def click(page, x, y, **options):
    page.page.mouse.click(*place(page, x, y), **options)
    wait(page)


# -------------------------------------------------------------------------------------------------------------- table

def table_agrees(page, view, moves):
    "Counts, order, numbers and the sentence are Python's."
    groups = regrouped(view.at_step(-1)[0], moves, view.labels, view.halves(view.at_step(-1)[0]))
    labels, now = view.labels, said(page)
    table = contingency(groups.numbered(), labels)
    a = agreement(table)
    assert now["groups"] == ",".join(groups.names.values())
    assert [int(n) for n in now["table"].split(",")] == table.ravel().tolist()
    assert float(now["nmi"]) == pytest.approx(a.nmi) and float(now["ari"]) == pytest.approx(a.ari)
    assert float(now["purity"]) == pytest.approx(a.purity)
    assert now["sequence"] == ",".join(map(str, by_class(table)))
    assert in_words(table) in root(page).inner_text()
    return groups, table


def name_at(page, at):
    "Canvas pixels of the number of the cluster that stands in line `at`."
    edge, head, _, high = map(float, said(page)["place"].split(","))
    return edge - 14, head + (at + 0.5) * high


def test_merging_and_splitting_by_click(open_page, tmp_path):
    view = ClusterTable.of(FOUR, X, images=DATA)
    page = open_page(view.save(tmp_path / "t.html"))
    table_agrees(page, view, [])
    before = said(page)["nmi"]
    assert button(page, "merge").is_disabled() and button(page, "undo").is_disabled()
    click(page, *name_at(page, 0))
    assert button(page, "merge").is_disabled()
    click(page, *name_at(page, 1))
    marked = [int(k) for k in said(page)["marked"].split(",")]
    order = by_class(contingency(view.clusters, view.labels))
    assert marked == order[:2].tolist()
    moves = [{"do": "merge", "groups": sorted(marked)}]
    then = agreement(contingency(regrouped(view.clusters, moves).numbered(), view.labels))
    assert f"NMI {then.nmi:.3f} (" in root(page).inner_text()                           # said before it is done
    button(page, "merge").click()
    wait(page)
    table_agrees(page, view, moves)
    assert said(page)["marked"] == "" and f"As found: NMI {float(before):.3f}" in root(page).inner_text()
    for how in ("rows", "largest class", "coin"):
        page.page.get_by_label("split by").select_option(how)
        click(page, *name_at(page, 2))
        group = int(said(page)["marked"])
        button(page, "split").click()
        wait(page)
        moves = [*moves, {"do": "split", "group": group, "by": how}]
        if int(said(page)["moves"]) < len(moves):                                       # there is nothing to split
            assert "nothing to split" in root(page).inner_text()
            moves.pop()
            press(page, "Escape")
        table_agrees(page, view, moves)
    assert len(moves) >= 3
    while moves:
        button(page, "undo").click()
        wait(page, 120)
        moves.pop()
        table_agrees(page, view, moves)
    assert said(page)["nmi"] == before and not page.problems()


def test_the_same_by_keyboard(open_page, tmp_path):
    view = ClusterTable.of(FOUR, X, images=DATA)
    page = open_page(view.save(tmp_path / "t.html"))
    order = by_class(contingency(view.clusters, view.labels)).tolist()
    press(page, "x", "ArrowDown", "ArrowDown", "x", "m")
    moves = [{"do": "merge", "groups": sorted([order[0], order[2]])}]
    table_agrees(page, view, moves)
    press(page, "s")                                                                    # the cursor is on the merged
    table_agrees(page, view, [*moves, {"do": "split", "group": min(order[0], order[2]), "by": "rows"}])
    assert said(page)["groups"].count(",") == 3
    press(page, "u")
    table_agrees(page, view, moves)
    press(page, "r")
    table_agrees(page, view, [])
    press(page, "x")
    assert said(page)["marked"]
    press(page, "Escape")
    assert said(page)["marked"] == "" and not page.problems()


def test_cells_clusters_and_classes_select_their_rows(open_page, tmp_path):
    view = ClusterTable.of(FOUR, X, images=DATA)
    page = open_page(Board([view, Gallery(IMAGES)]).save(tmp_path / "b.html"))
    table = contingency(view.clusters, view.labels)
    edge, head, wide, high = map(float, said(page)["place"].split(","))
    for at, g in enumerate(by_class(table)):
        for c in range(3):
            if not table[g, c]: continue
            click(page, edge + (c + 0.5) * wide, head + (at + 0.5) * high)
            assert int(said(page)["selected"]) == table[g, c]
            assert page.page.locator(".clnb").nth(1).get_attribute("data-selected") == str(table[g, c])
    click(page, edge + 1.5 * wide, head - 8)                                            # the name of a class
    assert int(said(page)["selected"]) == 30
    g = by_class(table)[0]
    click(page, edge + 3 * wide + 8, head + 0.5 * high)                                 # the bar of a cluster
    assert int(said(page)["selected"]) == table[g].sum()
    press(page, "Escape")
    assert said(page)["selected"] == "0"
    press(page, "ArrowRight", "Enter")
    assert int(said(page)["selected"]) in table and not page.problems()


def test_typical_images_of_every_cluster(open_page, tmp_path):
    view = ClusterTable.of(FOUR, X, images=DATA)
    page = open_page(view.save(tmp_path / "t.html"))
    for k in range(4):
        line = page.page.get_by_role("group", name=f"cluster {k}", exact=True)
        rows = [int(r) for r in line.locator("[data-row]").evaluate_all("all => all.map(e => e.dataset.row)")]
        assert rows == [row for _, row in sorted(ends_of(np.flatnonzero(view.clusters == k), view.scores, 4))]
        assert line.locator("canvas").count() == len(rows)
    first = page.page.get_by_role("group", name="cluster 0", exact=True).locator("[data-row]").first
    name = first.get_attribute("aria-label")
    assert "among the most typical" in name and "log p" in name
    first.click()
    wait(page)
    assert said(page)["selected"] == "1" and first.get_attribute("aria-pressed") == "true"
    page.page.keyboard.press("ArrowRight")
    wait(page)
    assert page.page.evaluate("document.activeElement.dataset.row") != first.get_attribute("data-row")
    assert not page.problems()


def test_hovering_a_cell_says_its_shares(open_page, tmp_path):
    view = ClusterTable.of(FOUR, X, images=DATA)
    page = open_page(view.save(tmp_path / "t.html"))
    table = contingency(view.clusters, view.labels)
    edge, head, wide, high = map(float, said(page)["place"].split(","))
    g = by_class(table)[0]
    c = int(table[g].argmax())
    page.page.mouse.move(*place(page, edge + (c + 0.5) * wide, head + 0.5 * high), steps=3)
    wait(page)
    tip = page.page.locator(".clnb-tip").inner_text()
    assert f"cluster {g}, class {DATA.classes[c]}" in tip and f"{table[g, c]} rows" in tip
    page.page.mouse.move(*place(page, *name_at(page, 0)), steps=3)
    wait(page)
    assert "click: mark" in page.page.locator(".clnb-tip").inner_text()
    assert not page.page.evaluate("window.hacked") and page.page.locator("img").count() == 0 and not page.problems()


def test_a_table_through_time_without_labels_and_of_nothing(open_page, tmp_path):
    history = History()
    for step, groups in ((0, torch.zeros(90, dtype=torch.int64)), (10, LABEL)): history.record(step, clusters=groups)
    page = open_page(ClusterTable(history, LABEL).save(tmp_path / "h.html"))
    assert float(said(page)["nmi"]) == 1
    page.set_range(page.page.get_by_label("step", exact=True), 0)
    wait(page)
    assert float(said(page)["nmi"]) == 0
    bare = open_page(ClusterTable(LABEL).save(tmp_path / "n.html"))
    assert "no row has a cluster and a class" in root(bare).inner_text()
    press(bare, "s")
    assert said(bare)["groups"] == "0a,1,2,0b"
    empty = open_page(ClusterTable(History()).save(tmp_path / "e.html"))
    assert "waiting for 'clusters'" in root(empty).inner_text()
    assert not page.problems() and not bare.problems() and not empty.problems()


# ---------------------------------------------------------------------------------------------------------------- map

def spots(page, view, k=-1):
    "Canvas pixels of all rows."
    scale, mx, my, width, height = map(float, said(page)["scale"].split(","))
    points = view.shown(k)[1]
    return np.stack([width / 2 + (points[:, 0] - mx) * scale, height / 2 - (points[:, 1] - my) * scale], 1)


def lonely(page, view):
    "A row whose point stands apart from others and from the numbers of clusters."
    xy = spots(page, view)
    centres = np.array([[float(v) for v in pair.split(",")] for pair in said(page)["centres"].split(";")])
    far = np.linalg.norm(xy[:, None] - xy, axis=2) + 1e9 * np.eye(len(xy))
    room = np.minimum(far.min(1), np.linalg.norm(xy[:, None] - centres, axis=2).min(1) - 10)
    return int(room.argmax()), xy


def map_agrees(page, view, name):
    fit = view.shown(-1)[2][name]
    a = agreement(contingency(fit.clusters, view.labels))
    now = said(page)
    assert now["fit"] == name and float(now["nmi"]) == pytest.approx(a.nmi)
    assert float(now["ari"]) == pytest.approx(a.ari)
    assert f"{view.words(name, fit)}." in root(page).inner_text()
    rare = np.lexsort((np.arange(len(fit.score)), -fit.score.astype(np.float32)))[:14]
    assert [int(r) for r in now["rare"].split(",")] == rare.tolist()
    return fit


def test_one_of_several_mixtures_is_shown(open_page, tmp_path):
    view = MixtureMap(X, SETTINGS, images=DATA, columns={"odd": LABEL % 2})
    page = open_page(view.save(tmp_path / "m.html"))
    map_agrees(page, view, "full")
    table = page.page.get_by_role("table", name="mixtures")
    for name in SETTINGS:
        fit = view.shown(-1)[2][name]
        line = table.locator(f"[data-fit='{name}']").inner_text()
        for what in (LABEL, LABEL % 2):
            a = agreement(contingency(fit.clusters, what.numpy()))
            assert f"{a.nmi:.3f}" in line and f"{a.ari:.3f}" in line
        assert f"{round(fit.mixture.bic):,}" in line
    table.get_by_role("button", name="round").click()
    wait(page)
    map_agrees(page, view, "round")
    page.page.get_by_label("mixture", exact=True).select_option("full")
    wait(page)
    map_agrees(page, view, "full")
    press(page, "g")
    map_agrees(page, view, "round")
    assert page.page.get_by_label("mixture", exact=True).input_value() == "round" and not page.problems()


def test_ellipses_have_their_places_and_sizes(open_page, tmp_path):
    "Along each main axis of a component the line lies `radius` standard deviations from its mean."
    view = MixtureMap(X, FOUR, LABEL)
    page = open_page(view.save(tmp_path / "m.html"))
    _, _, fits = view.shown(-1)
    fit, scale = fits["mixture"], float(said(page)["scale"].split(",")[0])
    centres = [tuple(map(float, pair.split(","))) for pair in said(page)["centres"].split(";")]
    ink = root(page).evaluate("e => getComputedStyle(e).getPropertyValue('--clnb-ink').trim()")
    hits = total = 0
    for radius in (2.0, 1.0):
        page.set_range(page.page.get_by_label("ellipses, standard deviations"), radius)
        wait(page)
        for (x, y), covariance in zip(centres, fit.covariances, strict=True):
            values, vectors = np.linalg.eigh(covariance)
            for value, vector in zip(values, vectors.T, strict=True):
                for sign in (-1, 1):
                    r = sign * radius * np.sqrt(value) * scale
                    dark = canvas(page).evaluate("""(e, [x, y]) => {
                      const s = e.width / e.clientWidth;
                      const [left, top] = [x - 2, y - 2].map((v) => Math.round(v * s));
                      const data = e.getContext("2d").getImageData(left, top, 5, 5).data;
                      let low = 765;
                      for (let i = 0; i < data.length; i += 4)
                        if (data[i + 3] > 127) low = Math.min(low, data[i] + data[i + 1] + data[i + 2]);
                      return low; }""", [x + r * vector[0], y - r * vector[1]])
                    hits += dark < 250
                    total += 1
    assert ink and hits >= 0.9 * total, (hits, total)
    assert not page.problems()


def test_hover_click_and_rectangle(open_page, tmp_path):
    view = MixtureMap(X, FOUR, images=DATA)
    page = open_page(Board([view, Gallery(IMAGES)]).save(tmp_path / "b.html"))
    row, xy = lonely(page, view)
    page.page.mouse.move(*place(page, *xy[row]), steps=3)
    wait(page, 500)
    fit = view.shown(-1)[2]["mixture"]
    tip = page.page.locator(".clnb-tip").first
    text = tip.inner_text()
    assert f"row {row}\n" in text and f"class: {DATA.classes[LABEL[row]]}" in text
    assert f"cluster {fit.clusters[row]}, responsibility {fit.sure[row]:.3f}" in text
    assert f"−log p {fit.score[row]:.2f}" in text and tip.locator("canvas").count() == 1
    click(page, *xy[row])
    assert said(page)["row"] == str(row) and said(page)["selected"] == "1"
    assert page.page.locator(".clnb").nth(1).get_attribute("data-selected") == "1"
    low, high = np.array([20, 20]), np.array([float(v) for v in said(page)["scale"].split(",")][3:]) / 2
    page.page.mouse.move(*place(page, *low))
    page.page.mouse.down()
    page.page.mouse.move(*place(page, *high), steps=5)
    page.page.mouse.up()
    wait(page)
    inside = ((xy >= low) & (xy <= high)).all(1).sum()
    assert abs(int(said(page)["selected"]) - inside) <= 1 and inside > 0
    for k, pair in enumerate(said(page)["centres"].split(";")):
        click(page, *map(float, pair.split(",")))
        now = said(page)
        if now["component"] == str(k): assert int(now["selected"]) == (fit.clusters == k).sum()
    assert said(page)["component"] != "-1"
    assert not page.page.evaluate("window.hacked") and page.page.locator("img").count() == 0 and not page.problems()


def test_clusters_and_rare_rows_by_keyboard(open_page, tmp_path):
    view = MixtureMap(X, FOUR, images=DATA)
    page = open_page(view.save(tmp_path / "m.html"))
    fit = map_agrees(page, view, "mixture")
    for k in (0, 1):
        press(page, "ArrowRight", "Enter")
        assert said(page)["component"] == str(k) and int(said(page)["selected"]) == (fit.clusters == k).sum()
    rare = [int(r) for r in said(page)["rare"].split(",")]
    for row in rare[:3]:
        press(page, "ArrowDown", "Enter")
        assert said(page)["row"] == str(row) and said(page)["selected"] == "1"
        assert f"row {row}" in page.page.locator(".clnb-tip").inner_text()
    strip = page.page.get_by_role("group", name="least likely rows")
    assert [int(r) for r in strip.locator("[data-row]").evaluate_all("all => all.map(e => e.dataset.row)")] == rare
    strip.locator("[data-row]").nth(4).click()
    wait(page)
    assert said(page)["row"] == str(rare[4]) and said(page)["selected"] == "1"
    press(page, "Escape")
    assert said(page)["selected"] == "0" and said(page)["row"] == "-1" and not page.problems()


def test_every_colour(open_page, tmp_path):
    view = MixtureMap(X, FOUR, images=DATA, columns={"odd": LABEL % 2, "size": X.norm(dim=1)})
    page = open_page(view.save(tmp_path / "m.html"))
    legend = page.page.get_by_role("group", name="legend")
    seen = set()
    for name in view.options["colours"]:
        page.page.get_by_label("colour", exact=True).select_option(name)
        wait(page)
        assert said(page)["colour"] == name
        seen.add(canvas(page).evaluate("e => e.toDataURL()"))
        assert (legend.locator(".clnb-bar").count() == 1) == (name in ("size", "−log p", "undecided"))
    assert len(seen) == len(view.options["colours"])
    press(page, "c")
    assert said(page)["colour"] == "class"
    legend.get_by_role("button").first.click()                                          # a class is selected
    wait(page)
    assert said(page)["selected"] == "30"
    page.page.get_by_label("ellipses", exact=True).uncheck()
    wait(page)
    assert canvas(page).evaluate("e => e.toDataURL()") not in seen and not page.problems()


def test_a_map_through_time(open_page, tmp_path):
    history = History()
    for step in (0, 5, 10):
        history.record(step, embedding=X * step / 10 + torch.randn(X.shape, generator=generator(step)))
    view = MixtureMap(history, images=DATA)
    page = open_page(view.save(tmp_path / "h.html"))
    for k in (0, 1, 2):
        page.set_range(page.page.get_by_label("step", exact=True), k)
        wait(page)
        fit = view.shown(k)[2]["mixture"]
        assert float(said(page)["nmi"]) == pytest.approx(agreement(contingency(fit.clusters, view.labels)).nmi)
        assert f"step {(0, 5, 10)[k]}" in root(page).inner_text()
    empty = open_page(MixtureMap(History(), components=2, name=EVIL).save(tmp_path / "e.html"))
    assert "waiting for" in root(empty).inner_text() and not empty.page.evaluate("window.hacked")
    assert not page.problems() and not empty.problems()


@pytest.mark.parametrize("width", [330, 700, 1280])
def test_every_width_and_both_themes(width, chromium, tmp_path):
    board = Board([MixtureMap(X, SETTINGS, images=DATA), ClusterTable.of(FOUR, X, images=DATA)])
    for sheet in in_both_themes(chromium, board.save(tmp_path / "b.html"), width):
        for i in (0, 1): assert sheet.locator("canvas.clnb-canvas").nth(i).bounding_box()["width"] > 200
        edge, head, cell, high = map(float, sheet.locator(".clnb").nth(1).get_attribute("data-place").split(","))
        box = sheet.locator("canvas.clnb-canvas").nth(1).bounding_box()
        assert edge + 3 * cell < box["width"] and head + 4 * high < box["height"]


LIVE = """
import torch
from clnb.core import generator
from clnb.run import History
from clnb.views.mixtures import ClusterTable, MixtureMap
label, history = torch.arange(60) % 3, History()
def rows(apart): return apart * torch.eye(3)[label] + torch.randn(60, 3, generator=generator(0))
history.record(0, embedding=rows(0.0))
"""


def test_live_in_a_notebook(make_notebook):
    book = make_notebook(LIVE, "view = MixtureMap(history, labels=label)\nview",
                         "table = ClusterTable((label + label // 2 * (torch.arange(60) % 2)), label)\ntable").run_all()
    one = book.widget("view = MixtureMap").locator(".clnb")
    one.get_by_role("group", name="least likely rows").wait_for(timeout=60_000)
    before = float(one.get_attribute("data-nmi"))
    book.kernel("history.record(10, embedding=rows(20.0))")
    book.page.wait_for_timeout(1500)
    assert before < 0.5 < 0.95 < float(one.get_attribute("data-nmi"))                   # it follows
    one.get_by_role("group", name="least likely rows").locator("[data-row]").first.click()
    book.page.wait_for_timeout(500)
    assert json.loads(book.kernel("print(len(view.selection))")) == 1
    two = book.widget("table = ClusterTable").locator(".clnb")
    assert two.get_attribute("data-groups") == "0,1,2,3"
    two.focus()
    for key in ("ArrowDown", "ArrowDown", "x", "ArrowDown", "x", "m"): book.page.keyboard.press(key)
    book.page.wait_for_timeout(600)
    assert float(two.get_attribute("data-nmi")) == 1
    assert json.loads(book.kernel("print(table.clusters.tolist())")) == [i % 3 for i in range(60)]
    book.kernel("table.moves = []")
    book.page.wait_for_timeout(500)
    assert two.get_attribute("data-groups") == "0,1,2,3"
    book.check()
