"""Gallery, Confusion, ClassTable, Neighbours and Hierarchy in a real browser: as pages, and linked in JupyterLab."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from clnb.run import History
from clnb.views.base import Board, Selection
from clnb.views.linked import ClassTable, Confusion, Gallery, Hierarchy, Neighbours, moves_between, table, tree_of

NASTY = "<img src=x onerror=window.hacked=1>"
CLASSES = ["zero", NASTY, "</script><b>two</b>"]


def rows(n=300, seed=0):
    """Features, labels, predictions and images of three classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    guess = np.where(rng.random(n) < 0.8, labels, rng.integers(0, 3, n))
    images = rng.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)
    return (rng.normal(size=(n, 8)) + 3 * np.eye(3, 8)[labels]).astype(np.float32), labels, guess, images


def data(page, which=".clnb"):
    """What the view says about itself."""
    return page.locator(which).first.evaluate("e => ({...e.dataset})")


def selected(page):
    """Rows that the page's model holds."""
    return page.evaluate("[...new Uint32Array(bytesOf(window.model.get('selected')).slice().buffer)]")


@pytest.fixture
def opened(open_page, tmp_path):
    """Function: view -> page on which `model` can be asked and set, as another view of the page would."""
    def one(view, scheme="light"):
        path = view.save(tmp_path / "view.html")
        text = path.read_text("utf-8")
        assert "const model = " in text
        known = "window.bytesOf = bytesOf; const model = window.model = "
        path.write_text(text.replace("const model = ", known), "utf-8")
        sheet = open_page(path)
        sheet.page.emulate_media(color_scheme=scheme)
        return sheet

    return one


def elsewhere(page, index):
    """Select rows as another view would."""
    page.evaluate("rows => window.model.set('selected', new DataView(Uint32Array.from(rows).buffer))",
                  [int(i) for i in index])
    page.wait_for_timeout(150)


def fine(sheet):
    """Nothing went wrong and no text has become an element."""
    assert sheet.page.evaluate("window.hacked") is None and sheet.page.locator("img, b:has-text('two')").count() == 0
    assert not sheet.problems()


def test_gallery(opened):
    _, labels, guess, images = rows()
    loss = np.random.default_rng(5).random(300)
    sheet = opened(Gallery(images, labels, CLASSES, {"loss": loss, "prediction": guess}, most=40))
    page, tiles = sheet.page, sheet.page.locator("button[data-row]")
    tools = page.locator(".clnb-tools")
    assert tiles.count() == 40 and data(page)["requests"] == "1" and "sample" in tools.inner_text()
    shown = tiles.evaluate_all("all => all.map(e => +e.dataset.row)")
    assert np.bincount(labels[shown]).tolist() == [14, 13, 13] and tiles.locator("canvas").count() == 40

    elsewhere(page, range(0, 300, 2))                                     # 150 rows from elsewhere: pages of them
    assert "1–40 of 150" in tools.inner_text() and data(page)["requests"] == "2"
    page.get_by_label("next page").click()
    page.wait_for_timeout(150)
    assert tiles.first.get_attribute("data-row") == "80" and "41–80 of 150" in tools.inner_text()
    page.get_by_label("sort by").select_option("loss")
    page.get_by_label("descending").check()
    page.wait_for_timeout(150)
    order = tiles.evaluate_all("all => all.map(e => +e.dataset.row)")
    even = np.arange(0, 300, 2)
    assert order == even[np.argsort(-loss[even])][:40].tolist()

    tiles.nth(3).hover()                                                  # enlarged, with what is known
    tip = page.locator(".clnb-tip")
    assert f"row {order[3]}" in tip.inner_text() and f"label: {CLASSES[labels[order[3]]]}" in tip.inner_text()
    assert tip.locator("canvas").count() == 1

    tiles.nth(3).click()                                              # one; what is shown stays, so that one can add
    page.wait_for_timeout(100)
    assert selected(page) == [order[3]] and tiles.count() == 40
    tiles.nth(5).click(modifiers=["Control"])
    page.wait_for_timeout(100)
    assert selected(page) == sorted([order[3], order[5]])
    assert page.locator("button[data-row][aria-pressed=true]").count() == 2
    page.get_by_role("button", name="only the selected").click()
    assert tiles.count() == 2
    page.keyboard.press("Escape")
    page.wait_for_timeout(100)
    assert selected(page) == [] and tiles.count() == 40
    fine(sheet)


def test_gallery_by_keyboard(opened):
    _, labels, _, images = rows(100)
    sheet = opened(Gallery(images, labels, CLASSES, most=30))
    page = sheet.page
    page.locator(".clnb").focus()
    page.keyboard.press("ArrowRight")                                     # into the images
    first = page.evaluate("+document.activeElement.dataset.row")
    page.keyboard.press("ArrowRight")
    second = page.evaluate("+document.activeElement.dataset.row")
    assert first != second and f"row {second}" in page.locator(".clnb-tip").inner_text()
    page.keyboard.press("Enter")
    page.wait_for_timeout(100)
    assert selected(page) == [second]
    page.keyboard.press("ArrowDown")
    below = page.evaluate("+document.activeElement.dataset.row")
    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(100)
    assert selected(page) == sorted([second, below])
    page.keyboard.press("Escape")
    page.wait_for_timeout(100)
    assert selected(page) == [] and page.locator(".clnb-tip").is_hidden()
    fine(sheet)


def place(page, box, r, c):
    """Window coordinates of a cell of the confusion table; −1: the names."""
    known = data(page)
    edge, cell = float(known["edge"]), float(known["side"])
    x, y = (edge - 15 if k < 0 else edge + (k + 0.5) * cell for k in (c, r))
    return box["x"] + x, box["y"] + y


def test_confusion(opened):
    _, labels, guess, _ = rows()
    labels = np.where(np.arange(300) < 6, -1, labels)
    sure = np.random.default_rng(1).random(300)
    sheet = opened(Confusion(labels, guess, CLASSES, probabilities=sure))
    page, canvas = sheet.page, sheet.page.locator("canvas.clnb-canvas")
    counts, box = table(labels, guess, 3), canvas.bounding_box()
    note = page.locator(".clnb-note").first
    assert "6 unlabelled" in note.inner_text() and f"accuracy {np.diag(counts).sum() / 294:.1%}" in note.inner_text()

    page.mouse.move(*place(page, box, 0, 2))
    tip = page.locator(".clnb-tip").inner_text()
    mine = (labels == 0) & (guess == 2)
    assert f"{counts[0, 2]} rows" in tip and CLASSES[2] in tip and f"mean confidence {sure[mine].mean():.2f}" in tip
    page.mouse.click(*place(page, box, 0, 2))                             # a cell, a class, a prediction
    page.wait_for_timeout(100)
    assert selected(page) == np.flatnonzero(mine).tolist() and "0 % of them correct" in note.inner_text()
    page.mouse.click(*place(page, box, 1, -1))
    page.wait_for_timeout(100)
    assert selected(page) == np.flatnonzero(labels == 1).tolist()
    page.mouse.click(*place(page, box, -1, 2))
    page.wait_for_timeout(100)
    assert selected(page) == np.flatnonzero(guess == 2).tolist()
    page.keyboard.down("Control")
    page.mouse.click(*place(page, box, 0, 0))
    page.keyboard.up("Control")
    page.wait_for_timeout(100)
    assert selected(page) == np.flatnonzero((guess == 2) | ((labels == 0) & (guess == 0))).tolist()

    page.keyboard.press("Escape")
    page.wait_for_timeout(100)
    before = canvas.screenshot()
    elsewhere(page, np.flatnonzero(mine)[:2])                             # shown as a ring
    page.mouse.move(0, 0)
    assert canvas.screenshot() != before and "2 selected" in note.inner_text()
    page.mouse.move(*place(page, box, 0, 2))
    assert "2 selected" in page.locator(".clnb-tip").inner_text()
    page.get_by_role("button", name="all mistakes").click()
    page.wait_for_timeout(100)
    assert selected(page) == np.flatnonzero((labels >= 0) & (labels != guess)).tolist()

    pairs = page.locator("button[data-cell]").evaluate_all("all => all.map(e => e.dataset.cell)")
    part = counts / counts.sum(1, keepdims=True)
    order = sorted(((r, c) for r in range(3) for c in range(3) if r != c and counts[r, c]), key=lambda p: -part[p])
    assert pairs == [f"{r},{c}" for r, c in order]
    page.locator("button[data-cell]").first.click()
    page.wait_for_timeout(100)
    assert selected(page) == np.flatnonzero((labels == order[0][0]) & (guess == order[0][1])).tolist()
    page.get_by_label("shade").select_option("count")
    page.wait_for_timeout(100)
    page.locator(".clnb").focus()                                         # keyboard: first cell, one down, select
    for key in ("ArrowRight", "ArrowDown", "Enter"): page.keyboard.press(key)
    page.wait_for_timeout(100)
    assert selected(page) == np.flatnonzero((labels == 1) & (guess == 0)).tolist()
    fine(sheet)


def test_confusion_rewinds(opened):
    _, labels, guess, _ = rows()
    history = History()
    history.record(0, predictions=np.zeros(300, int))
    history.record(50, predictions=guess)
    sheet = opened(Confusion(labels, history, CLASSES).link(Selection([0, 1, 2])))
    page = sheet.page
    assert "step 50" in page.locator(".clnb-note").first.inner_text() and int(data(page)["cells"]) > 3
    page.get_by_role("slider", name="step").fill("0")
    page.wait_for_timeout(200)
    note = page.locator(".clnb-note").first.inner_text()
    assert "step 0" in note and "accuracy 33.3%" in note and "3 selected, 33.3 % of them correct" in note
    assert data(page)["cells"] == "3"
    fine(sheet)


def test_two_hundred_classes(opened):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 200, 20_000)
    guess = np.where(rng.random(20_000) < 0.8, labels, rng.integers(0, 200, 20_000))
    sheet = opened(Confusion(labels, guess, [f"class {i}" for i in range(200)]))
    page, box = sheet.page, sheet.page.locator("canvas.clnb-canvas").bounding_box()
    assert float(data(page)["side"]) * 200 + float(data(page)["edge"]) < box["height"]
    page.mouse.move(*place(page, box, 150, 150))
    assert "true: class 150" in page.locator(".clnb-tip").inner_text()
    page.mouse.click(*place(page, box, 150, 150))
    page.wait_for_timeout(150)
    assert selected(page) == np.flatnonzero((labels == 150) & (guess == 150)).tolist()
    fine(sheet)


def test_class_table(opened):
    _, labels, guess, _ = rows()
    labels = np.where(np.arange(300) < 5, -1, labels)
    value = np.random.default_rng(2).normal(size=300)
    kind = np.where(value > 0, "<u>up</u>", "down")
    sheet = opened(ClassTable(labels, CLASSES, {"value": value, "kind": kind}, guess))
    page, lines = sheet.page, sheet.page.locator("tbody tr")

    def cells():
        return lines.evaluate_all("all => all.map(e => [...e.children].map(td => td.textContent))")

    assert [line[0] for line in cells()] == [*CLASSES, "unlabelled"]
    for k, line in enumerate(cells()[:3]):
        mine = labels == k
        assert line[1] == str(mine.sum()) and line[3] == f"{100 * (guess == labels)[mine].mean():.1f} %"
        assert float(line[4]) == pytest.approx(value[mine].mean(), rel=1e-3)
        assert line[5].startswith("<u>up</u>" if (value[mine] > 0).mean() > 0.5 else "down")
    assert cells()[3][1] == "5" and cells()[3][3] == "–"

    page.get_by_role("button", name="value").click()                      # sorted, largest first; then the other way
    order = np.argsort([-value[labels == k].mean() for k in range(3)])
    assert [line[0] for line in cells()[:3]] == [CLASSES[k] for k in order]
    page.get_by_role("button", name="value").click()
    assert [line[0] for line in cells()[:3]] == [CLASSES[k] for k in order[::-1]]
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("value")
    lines.nth(0).click()
    page.wait_for_timeout(100)
    assert selected(page) == np.flatnonzero(labels == order[-1]).tolist()
    lines.nth(3).click(modifiers=["Control"])
    page.wait_for_timeout(100)
    assert selected(page) == np.flatnonzero((labels == order[-1]) | (labels < 0)).tolist()

    some = np.flatnonzero((labels == 0) & (value > 0))[:7]                # from elsewhere: counts, and means of these
    elsewhere(page, some)
    assert {line[0]: line[2] for line in cells()}["zero"] == "7"
    page.get_by_label("of the selected rows").check()
    assert float({line[0]: line[4] for line in cells()}["zero"]) == pytest.approx(value[some].mean(), rel=1e-3)
    page.get_by_role("button", name="class").click()
    page.locator(".clnb").focus()
    for key in ("Home", "ArrowDown", "Enter"): page.keyboard.press(key)
    page.wait_for_timeout(100)
    assert selected(page) == np.flatnonzero(labels == 1).tolist()
    assert page.locator("u").count() == 0
    fine(sheet)


def test_a_thousand_classes(opened):
    labels = np.arange(30_000) % 1000
    sheet = opened(ClassTable(labels, columns={"value": labels * 0.5}))
    page = sheet.page
    assert page.locator("tbody tr").count() == 100 and "900 more classes" in page.locator(".clnb").inner_text()
    page.get_by_role("button", name="900 more").click()
    page.locator(".clnb").focus()
    page.keyboard.press("End")
    page.wait_for_timeout(200)
    page.keyboard.press("Enter")
    page.wait_for_timeout(100)
    assert selected(page) == np.flatnonzero(labels == 999).tolist()
    assert page.locator("tbody tr").count() == 1000
    fine(sheet)


def test_neighbours(opened):
    x, labels, _, images = rows()
    sheet = opened(Neighbours(x, images, labels, CLASSES, k=6))
    page, tiles = sheet.page, sheet.page.locator("button[data-row]")
    _, near = NearestNeighbors(n_neighbors=7).fit(x).kneighbors(x)
    assert "Select a row" in page.locator(".clnb-body").inner_text()
    elsewhere(page, [40])
    page.wait_for_timeout(200)
    assert data(page)["near"] == ",".join(map(str, near[40, 1:])) and tiles.locator("canvas").count() == 7
    assert data(page)["agree"] == str((labels[near[40, 1:]] == labels[40]).sum())

    tiles.nth(1).click()                                                  # walk there, and back
    page.wait_for_timeout(200)
    assert selected(page) == [near[40, 1]] and data(page)["focus"] == str(near[40, 1])
    page.get_by_role("button", name="back").click()
    page.wait_for_timeout(200)
    assert selected(page) == [40]
    tiles.nth(2).click(modifiers=["Control"])                             # a second row: the new one is in the middle
    page.wait_for_timeout(300)
    assert selected(page) == sorted([40, near[40, 2]]) and data(page)["focus"] == str(near[40, 2])

    some = np.arange(0, 300, 7)
    elsewhere(page, some)
    page.wait_for_timeout(300)
    share = (labels[near[some, 1:]] == labels[some][:, None]).mean()
    assert float(data(page)["share"]) == pytest.approx(share, abs=1e-6)
    times = np.bincount(near[some, 1:].ravel(), minlength=300)
    assert data(page)["hubs"] == ",".join(map(str, np.argsort(-times, kind="stable")[:8]))
    page.get_by_role("spinbutton", name="row").fill("7")
    page.get_by_role("spinbutton", name="row").press("Enter")
    page.wait_for_timeout(200)
    assert selected(page) == [7]
    page.locator(".clnb").focus()                                         # keyboard: to the first neighbour
    for key in ("ArrowRight", "ArrowRight", "Enter"): page.keyboard.press(key)
    page.wait_for_timeout(200)
    assert selected(page) == [near[7, 1]]
    page.keyboard.press("Escape")
    page.wait_for_timeout(150)
    assert selected(page) == [] and "Select a row" in page.locator(".clnb-body").inner_text()
    fine(sheet)


def test_neighbours_rewind(opened):
    history, all_near = History(), {}
    for step in (0, 10, 20):
        x = np.random.default_rng(step).normal(size=(50, 6))
        history.record(step, embedding=x)
        all_near[step] = NearestNeighbors(n_neighbors=4).fit(x).kneighbors(x)[1]
    sheet = opened(Neighbours(history, labels=np.arange(50) % 2, k=3).link(Selection([9])))
    page = sheet.page
    for position, step in ((-1, 20), (0, 0), (1, 10)):
        page.evaluate("at => window.model.set('at', at)", position)
        page.wait_for_timeout(200)
        assert data(page)["near"] == ",".join(map(str, all_near[step][9, 1:])) and selected(page) == [9]
    fine(sheet)


def test_hierarchy(opened):
    rng = np.random.default_rng(3)
    fine_ = rng.integers(0, 12, 600)
    levels = {"family": fine_ // 6, "kind": fine_ // 2, "sort": fine_}
    labels = np.where(rng.random(600) < 0.8, fine_ // 4, 0)
    sheet = opened(Hierarchy(levels, {"family": ["left", NASTY]}, labels, CLASSES))
    page, canvas = sheet.page, sheet.page.locator("canvas.clnb-canvas")
    box, tree = canvas.bounding_box(), tree_of(list(levels.values()), labels)
    assert data(page)["nodes"] == "20"

    def spot(k, start=0.0, end=1.0):
        tall = (box["height"] - 26) / 3
        middle = (tree["left"][k] + tree["width"][k] / 2 - start) / (end - start)
        return box["x"] + 84 + middle * (box["width"] - 88), box["y"] + 20 + (tree["level"][k] + 0.5) * tall

    k = int(np.flatnonzero((tree["level"] == 1) & (tree["group"] == 4))[0])
    page.mouse.move(*spot(k))
    tip = page.locator(".clnb-tip").inner_text()
    assert "kind: 4" in tip and f"{tree['count'][k]} rows" in tip and f"all in {NASTY}" in tip and "purity" in tip
    page.mouse.click(*spot(k))
    page.wait_for_timeout(100)
    mine = np.flatnonzero(levels["kind"] == 4)
    assert selected(page) == mine.tolist()
    page.mouse.move(*spot(int(np.flatnonzero((tree["level"] == 0) & (tree["group"] == 1))[0])))
    assert f"{len(mine)} selected" in page.locator(".clnb-tip").inner_text()

    page.mouse.move(0, 0)
    before = canvas.screenshot()
    elsewhere(page, mine[::3])
    assert canvas.screenshot() != before
    elsewhere(page, [])
    page.mouse.dblclick(*spot(k))                                         # look into it, and out again
    page.wait_for_timeout(150)
    assert data(page)["zoom"] == "1,4" and selected(page) == mine.tolist()
    start, end = tree["left"][k], tree["left"][k] + tree["width"][k]
    child = int(np.flatnonzero((tree["level"] == 2) & (tree["group"] == 8))[0])
    page.mouse.click(*spot(child, start, end))
    page.wait_for_timeout(100)
    assert selected(page) == np.flatnonzero(fine_ == 8).tolist()
    page.get_by_role("button", name="zoom out").click()
    page.wait_for_timeout(100)
    assert data(page)["zoom"] == ""
    page.get_by_label("colour").select_option("purity")
    page.locator(".clnb").focus()                                         # keyboard: down the first branch
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowRight", "Enter"): page.keyboard.press(key)
    page.wait_for_timeout(100)
    sorts = np.flatnonzero(tree["level"] == 2)
    assert selected(page) == np.flatnonzero(fine_ == tree["group"][sorts[1]]).tolist()
    fine(sheet)


def grown(steps=3, n=240):
    """A history of clusterings on two levels, renumbered at every step; features, labels and images."""
    x, labels, _, images = rows(n)
    rng, history = np.random.default_rng(1), History()
    fine_ = labels * 4 + np.random.default_rng(0).integers(0, 4, n)
    for step in range(steps):
        history.record(10 * step, hierarchy=np.stack([fine_ // 4, fine_]), projection=x)
        fine_ = (fine_ + 4) % 12
        fine_[rng.choice(n, 25, replace=False)] = 0
    return history, x, labels, images


def shaped(sheet, shape):
    """Choose a shape."""
    sheet.page.get_by_label("shape").select_option(shape)
    sheet.page.wait_for_timeout(250)
    assert data(sheet.page)["shape"] == shape


@pytest.mark.parametrize("scheme, width", [("light", 1280), ("dark", 420)])
@pytest.mark.parametrize("shape", ["icicle", "tree", "sunburst", "list"])
def test_every_shape_hovers_selects_and_walks(opened, shape, scheme, width):
    history, x, labels, images = grown()
    sheet = opened(Hierarchy(history, labels=labels, classes=CLASSES, images=images, features="projection"), scheme)
    page, groups = sheet.page, history["hierarchy"].frame(-1)
    page.set_viewport_size({"width": width, "height": 900})
    shaped(sheet, shape)
    page.locator(".clnb").focus()
    page.keyboard.press("ArrowDown")                          # by keyboard to the first group, and select it
    page.keyboard.press("Enter")
    page.wait_for_timeout(200)
    tree, mine = tree_of(list(groups), labels), selected(page)
    k = int(np.flatnonzero((tree["level"] == 0) & (tree["group"] == groups[0][mine[0]]))[0])
    assert mine == np.flatnonzero(groups[0] == tree["group"][k]).tolist() and data(page)["selected"] == str(len(mine))
    strip = page.locator(".clnb-strip")                       # the images nearest its centre
    shown = strip.locator("button[data-row]").evaluate_all("all => all.map(e => +e.dataset.row)")
    away = np.linalg.norm(x[mine] - x[mine].mean(0), axis=1)
    assert shown == np.array(mine)[np.argsort(away)][:8].tolist() and strip.locator("canvas").count() == 8
    said = strip.inner_text()
    assert "nearest its centre in projection" in said and f"{len(mine)} rows" in said and "purity" in said
    strip.locator("button[data-row]").first.click()
    page.wait_for_timeout(150)
    assert selected(page) == shown[:1]

    elsewhere(page, [])
    if shape == "list": page.get_by_role("treeitem").nth(1).hover()
    else: sheet.hover(page.locator("canvas.clnb-canvas"), 0.5, 0.2 if shape == "sunburst" else 0.42)
    page.wait_for_timeout(150)
    if shape != "tree":                                       # between the lines of a drawn tree there may be nothing
        assert "rows" in page.locator(".clnb-tip").inner_text() and page.locator(".clnb-tip canvas").count() >= 4
    fine(sheet)


def test_the_list_is_a_tree_for_all(opened):
    rng = np.random.default_rng(0)
    top = rng.integers(0, 4, 3000)
    levels = {"few": top, "many": top * 500 + rng.integers(0, 500, 3000)}
    sheet = opened(Hierarchy(levels, {"few": [NASTY, "b", "c", "d"]}, images=np.zeros((3000, 4, 4)), shape="list"))
    page, lines, box = sheet.page, sheet.page.get_by_role("treeitem"), sheet.page.get_by_role("tree")
    assert lines.count() == 5 and lines.first.get_attribute("aria-expanded") == "true"
    assert lines.nth(1).get_attribute("aria-level") == "2" and lines.nth(1).get_attribute("aria-setsize") == "4"
    box.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowDown"):
        box.press(key)
        page.wait_for_timeout(80)
    many = len(np.unique(levels["many"]))
    assert int(data(page)["drawn"]) > 300 and lines.count() < 60        # only what is in sight
    box.press("End")
    page.wait_for_timeout(150)
    active = page.locator(f"[id='{box.get_attribute('aria-activedescendant')}']")
    assert active.is_visible() and "few: d" in active.inner_text()
    box.press("Home")
    box.press("ArrowDown")
    box.press("ArrowLeft")
    page.wait_for_timeout(150)
    assert int(data(page)["drawn"]) == 5 and many > 1500
    lines.nth(2).click()
    page.wait_for_timeout(150)
    assert len(selected(page)) == (levels["few"] == int(lines.nth(2).get_attribute("data-node"))).sum()
    assert lines.nth(2).get_attribute("aria-selected") == "true"
    lines.nth(2).dblclick()
    page.wait_for_timeout(150)
    assert int(data(page)["drawn"]) > 300
    fine(sheet)


def test_sunburst_and_tree_look_into_a_group(opened):
    rng = np.random.default_rng(0)
    top = np.repeat([0, 1], 300)
    levels = {"half": top, "many": top * 100 + rng.integers(0, 100, 600)}
    sheet = opened(Hierarchy(levels, shape="sunburst"))
    page, canvas = sheet.page, sheet.page.locator("canvas.clnb-canvas")
    box = canvas.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.click(*middle)                                           # the centre: all
    page.wait_for_timeout(100)
    assert len(selected(page)) == 600
    page.mouse.dblclick(middle[0] + 90, middle[1])
    page.wait_for_timeout(200)
    assert data(page)["zoom"] == "0,0" and int(data(page)["drawn"]) == len(np.unique(levels["many"][:300]))
    page.mouse.click(*middle)
    page.wait_for_timeout(100)
    assert selected(page) == list(range(300))
    page.get_by_role("button", name="zoom out").click()
    shaped(sheet, "tree")
    assert 10 < int(data(page)["drawn"]) < 130                          # thousands of nodes: as many as have room
    page.set_viewport_size({"width": 420, "height": 900})
    page.wait_for_timeout(300)
    assert int(data(page)["drawn"]) < 40 and page.evaluate("document.documentElement.scrollWidth") <= 420
    fine(sheet)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_moves_between_two_clusterings(opened, scheme):
    history, _, labels, images = grown()
    sheet = opened(Hierarchy(history, labels=labels, classes=CLASSES, images=images), scheme)
    page, canvas = sheet.page, sheet.page.locator("canvas.clnb-canvas")
    page.get_by_label("moves").check()
    page.get_by_label("level", exact=True).select_option("level 2")
    page.wait_for_timeout(250)
    before, now = history["hierarchy"].frame(1)[1], history["hierarchy"].frame(2)[1]
    went = moves_between(before, now)
    assert 0 < went.moved <= 25 and data(page)["moved"] == str(went.moved) and data(page)["since"] == "10"
    share = f"{went.moved} of 240 rows ({100 * went.moved / 240:.3g} %) moved to another group since step 10"
    assert share in page.locator(".clnb-tools").inner_text()
    page.locator(".clnb").focus()
    page.keyboard.press("ArrowRight")                                   # the largest band that moved
    tip = page.locator(".clnb-tip").inner_text()
    assert "from " in tip and " to " in tip and "at step 10" in tip
    page.keyboard.press("Enter")
    page.wait_for_timeout(150)
    mine = selected(page)
    gone = np.flatnonzero(went.name[now] != before)
    assert len(mine) > 0 and set(mine) <= set(gone.tolist())
    assert mine == np.flatnonzero((before == before[mine[0]]) & (now == now[mine[0]])).tolist()

    elsewhere(page, [])
    sheet.hover(canvas, 0.5, 0.4)                                       # a band under the mouse
    box, words = canvas.bounding_box(), page.locator(".clnb-tip").inner_text()
    page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.4 * box["height"])
    page.wait_for_timeout(150)
    mine = selected(page)
    assert f"{len(mine)} row" in words and len({(before[row], now[row]) for row in mine}) == 1
    page.get_by_label("only who moved").check()
    page.wait_for_timeout(150)
    assert int(data(page)["drawn"]) == (went.name[went.end] != went.start).sum()
    page.get_by_role("slider", name="step").fill("0")                   # rewound to the first
    page.wait_for_timeout(250)
    assert data(page)["moved"] == ""
    page.get_by_role("slider", name="step").fill("1")
    page.wait_for_timeout(250)
    first = moves_between(history["hierarchy"].frame(0)[1], before)
    assert data(page)["moved"] == str(first.moved) and data(page)["since"] == "0"
    fine(sheet)


def test_what_is_looked_at_keeps_its_name(opened):
    """The next clustering gives a group another number: the zoom and the images stay with it."""
    history, _, labels, images = grown(2)
    sheet = opened(Hierarchy(history, labels=labels, classes=CLASSES, images=images))
    page = sheet.page
    page.get_by_role("slider", name="step").fill("0")
    page.wait_for_timeout(250)
    page.locator(".clnb").focus()
    for key in ("ArrowDown", "ArrowDown", "+"): page.keyboard.press(key)
    page.wait_for_timeout(150)
    level, group = map(int, data(page)["zoom"].split(","))
    page.get_by_role("button", name="newest").click()
    page.wait_for_timeout(250)
    before, now = history["hierarchy"].frame(0)[level], history["hierarchy"].frame(1)[level]
    after = int(np.flatnonzero(moves_between(before, now).name == group)[0])
    assert data(page)["zoom"] == f"{level},{after}" and after != group
    fine(sheet)


def test_a_page_with_some_of_the_images(opened):
    n = 3000
    images = np.random.default_rng(0).integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
    images[:] = (np.arange(n) % 30 * 8)[:, None, None, None]            # every group its own grey
    x = np.random.default_rng(1).normal(size=(n, 2))
    sheet = opened(Hierarchy({"a": np.arange(n) % 30}, images=images, features=x))
    page = sheet.page
    page.locator(".clnb").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight"): page.keyboard.press(key)
    page.wait_for_timeout(300)
    tiles = page.locator(".clnb-strip button[data-row]")
    shown = tiles.evaluate_all("all => all.map(e => +e.dataset.row)")
    grey = tiles.first.locator("canvas").evaluate("c => c.getContext('2d').getImageData(5, 5, 1, 1).data[0]")
    assert len(shown) == 8 and abs(grey - shown[0] % 30 * 8) <= 3
    fine(sheet)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_hundred_thousand_rows_are_fluid(opened, scheme):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 100, 100_000)
    many = rng.integers(0, 3000, 100_000)
    sheet = opened(Hierarchy({"ten": labels // 10, "hundred": labels, "thousands": many}), scheme)
    page = sheet.page
    elsewhere(page, range(0, 100_000, 3))
    took = page.evaluate("""() => new Promise((done) => {
        const times = [], every = (_, k) => 3 * k + times.length % 3;
        const one = (i) => {
          window.model.set('selected', new DataView(Uint32Array.from({length: 30000}, every).buffer));
          requestAnimationFrame((t) => { times.push(t); i < 20 ? one(i + 1) : done((times[20] - times[0]) / 20); }); };
        one(0); })""")
    print("ms a change of the selection, 100,000 rows, 3,110 groups:", took)
    assert data(page)["selected"] in ("30000", "33334") and not sheet.problems()


def test_five_views_in_one_page(open_page, tmp_path):
    x, labels, guess, images = rows()
    board = Board([[Confusion(labels, guess, CLASSES), ClassTable(labels, CLASSES, predictions=guess)],
                   [Gallery(images, labels, CLASSES), Neighbours(x, images, labels, CLASSES)],
                   [Hierarchy({"two": labels // 2, "three": labels}, labels=labels, classes=CLASSES)]])
    sheet = open_page(board.save(tmp_path / "board.html"))
    page = sheet.page

    def said():
        page.wait_for_timeout(300)
        return page.locator(".clnb").evaluate_all("all => all.map(e => e.dataset.selected)")

    assert page.locator(".clnb").count() == 5
    page.locator("tbody tr").nth(1).click()                               # in the table
    assert said() == ["100"] * 5 and "of 100" in page.locator(".clnb").nth(2).inner_text()
    page.locator("button[data-cell]").first.click()                       # in the table of confusions
    some = said()
    assert len(set(some)) == 1 and 0 < int(some[0]) < 60
    page.locator(".clnb").nth(2).locator("button[data-row]").first.click()   # an image
    assert said() == ["1"] * 5
    first = page.locator(".clnb").nth(2).locator("button[data-row]").first.get_attribute("data-row")
    assert page.locator(".clnb").nth(3).evaluate("e => e.dataset.focus") == first
    page.locator(".clnb").nth(3).locator("button[data-row]").nth(2).click()  # its second neighbour
    assert said() == ["1"] * 5
    canvas = page.locator(".clnb").nth(4).locator("canvas")
    canvas.scroll_into_view_if_needed()
    sheet.page.mouse.click(*sheet.point(canvas, 0.5, 0.9))                # a group
    assert said() == ["100"] * 5
    page.locator(".clnb").nth(4).press("Escape")
    assert said() == ["0"] * 5
    fine(sheet)


SETUP = """
import numpy as np
import ipywidgets
from clnb.run import History
from clnb.views.base import Selection
from clnb.views.linked import ClassTable, Confusion, Gallery, Hierarchy, Neighbours
rng = np.random.default_rng(0)
labels = np.arange(20_000) % 3
guess = np.where(rng.random(20_000) < 0.8, labels, rng.integers(0, 3, 20_000))
x = (rng.normal(size=(20_000, 16)) + 4 * np.eye(3, 16)[labels]).astype(np.float32)
images = rng.integers(0, 256, (20_000, 1, 8, 8), dtype=np.uint8)
names = ["zero", "<img src=x onerror=window.hacked=1>", "two"]
history, shared = History(), Selection()
history.record(0, embedding=x, predictions=guess, hierarchy=np.stack([labels // 2, labels]))
"""
VIEWS = """
confusion = Confusion(labels, history, names).link(shared)
classes = ClassTable(labels, names, {"n": np.arange(20_000)}, history).link(shared)
gallery, near = Gallery(images, labels, names).link(shared), Neighbours(history, images, labels, names).link(shared)
tree = Hierarchy(history, labels=labels, classes=names, images=images, features="embedding").link(shared)
"""


def until(page, found, wanted, seconds=15):
    """Wait until `found()` gives what is wanted: kernels answer when they can."""
    for _ in range(seconds * 10):
        if (now := found()) == wanted: return
        page.wait_for_timeout(100)
    raise AssertionError(f"{now!r} is not {wanted!r} after {seconds} s")


def test_linked_in_jupyterlab(make_notebook):
    book = make_notebook(SETUP, VIEWS, "confusion", "classes", "gallery", "near", "tree").run_all().check()
    page = book.page
    table_, tiles = book.widget(3), book.widget(4).locator("button[data-row]")
    tiles.first.locator("canvas").wait_for()
    table_.locator("tbody tr").nth(1).click()                             # a class in the table …

    def seen(cell, name="selected"):                                      # a view is drawn where it can be seen
        book.widget(cell).scroll_into_view_if_needed()
        page.wait_for_timeout(100)
        return book.widget(cell).locator(".clnb").evaluate(f"e => e.dataset.{name}")

    def selected_in():
        return [seen(cell) for cell in (2, 3, 4, 5, 6)]

    until(page, selected_in, ["6667"] * 5)                                # … is selected in all the others
    assert book.kernel("print(len(shared), set(labels[shared.index].tolist()))") == "6667 {1}"
    assert tiles.count() == 96 and "of 6,667" in book.widget(4).inner_text()
    near = book.widget(5).locator("button[data-row]")
    near.first.locator("canvas").wait_for()
    until(page, lambda: "of the neighbours of the 6,667 selected rows" in book.widget(5).inner_text(), True)
    near.nth(1).click()                                                   # walk: one row, everywhere
    until(page, selected_in, ["1"] * 5)
    row = int(book.kernel("print(*shared.index)"))
    assert tiles.first.get_attribute("data-row") == str(row)

    book.kernel("shared.set(np.flatnonzero(labels != guess))")            # from Python
    wrong = int(book.kernel("print(len(shared))"))
    until(page, selected_in, [str(wrong)] * 5)
    assert seen(2) and f"{wrong:,} selected, 0 % of them correct" in book.widget(2).inner_text()

    book.kernel("history.record(10, predictions=labels, embedding=x[:, ::-1], hierarchy=np.stack([labels] * 3))")
    until(page, lambda: seen(2) and "accuracy 100.0%" in book.widget(2).inner_text(), True)     # a new frame
    assert f"{wrong:,} selected" in book.widget(2).inner_text()
    until(page, lambda: seen(6, "nodes"), "9")
    until(page, lambda: seen(5) and "step 10" in book.widget(5).inner_text(), True)
    book.widget(2).get_by_role("slider", name="step").fill("0")
    until(page, lambda: seen(2) and "step 0" in book.widget(2).inner_text(), True)
    assert "accuracy 86" in book.widget(2).inner_text()

    book.kernel("history.record(20, hierarchy=np.stack([labels, (labels + 1) % 3, labels]))")   # images and moves, live
    until(page, lambda: seen(6) and "step 20" in book.widget(6).inner_text(), True)
    book.widget(6).locator(".clnb").focus()
    page.keyboard.press("ArrowDown")
    book.widget(6).locator(".clnb-strip canvas").first.wait_for()
    book.widget(6).get_by_label("moves").check()
    until(page, lambda: seen(6, "since"), "10")
    assert seen(6, "moved") == "0"
    assert page.evaluate("window.hacked") is None
    book.shots("07f-live")
    book.check()
