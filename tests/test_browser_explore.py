"""Explorer, Compare and Recorder in a real browser: pages without a network, and a training loop watched live."""

import numpy as np
import pytest

from clnb.run import History
from clnb.views.compare import Compare, changes
from clnb.views.explore import explore

NASTY = "<img src=x onerror=window.hacked=1>"
CLASSES = ["zero", NASTY, "</script><b>two</b>"]


def cloud(n=150, d=8, seed=0):
    """Three groups of points, their labels and images."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)
    return (rng.normal(size=(n, d)) + 3 * np.eye(3, d)[labels]).astype(np.float32), labels, images


def other(x, seed=1, noise=1.0):
    return (x + noise * np.random.default_rng(seed).normal(size=x.shape)).astype(np.float32)


def view(page, title): return page.locator(f'.clnb[aria-label^="{title}"]')


def lasso(page, canvas):
    """Shift + drag around everything."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.keyboard.down("Shift")
    page.mouse.move(box["x"] + 4, box["y"] + 4)
    page.mouse.down()
    for x, y in ((0.99, 0.01), (0.99, 0.99), (0.01, 0.99)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    page.wait_for_timeout(300)


def harmless(sheet):
    """Names stayed texts, nothing went wrong, nothing was asked of another machine."""
    assert sheet.page.evaluate("() => window.hacked === undefined && !document.querySelector('img[onerror]')")
    assert not sheet.problems(), sheet.problems()


# ------------------------------------------------------------------------------------------------------------- explore

def test_an_explorer_page_works_with_the_network_off(open_page, tmp_path):
    x, labels, images = cloud()
    columns = {"norm": np.linalg.norm(x, axis=1)}
    explorer = explore(x, images, labels, classes=CLASSES, columns=columns, title="Mine <i>")
    sheet = open_page(explorer.save(tmp_path / "explorer.html"))
    page = sheet.page
    for title in ("Embedding", "Gallery", "Neighbours", "Spectrum", "Classes", "Confusion"):
        assert view(page, title).is_visible(), title
    assert "Mine <i>" in page.inner_text("h1")
    lasso(page, view(page, "Embedding").locator("canvas.clnb-canvas").first)              # select in one …
    assert view(page, "Gallery").get_attribute("data-selected") == "150"                  # … seen in another
    assert view(page, "Neighbours").get_attribute("data-selected") == "150"
    view(page, "Embedding").press("Escape")
    page.wait_for_timeout(200)
    assert view(page, "Gallery").get_attribute("data-selected") == "0"
    harmless(sheet)
    sheet.shot("explore-page")


def test_a_history_is_rewound_in_a_page(open_page, tmp_path):
    x, labels, images = cloud()
    history = History()
    for step in range(0, 50, 10): history.record(step, embedding=other(x, step, 5 - step / 10))
    sheet = open_page(explore(history, images, labels, classes=CLASSES).save(tmp_path / "history.html"))
    page = sheet.page
    last = view(page, "Confusion").locator(".clnb-note").inner_text()
    sheet.set_range(view(page, "Rewind").get_by_label("step", exact=True), 0)
    page.wait_for_timeout(500)
    assert "step 0" in view(page, "Embedding").locator(".clnb-note").first.inner_text()
    assert view(page, "Confusion").locator(".clnb-note").inner_text() != last and "accuracy" in last
    harmless(sheet)


# ------------------------------------------------------------------------------------------------------------- compare

@pytest.fixture
def compared(open_page, tmp_path):
    x, labels, images = cloud()
    board = Compare({0: x, 1: other(x, 5)}, {0: other(x), 1: other(x, 6)}, images, labels, ("one", NASTY), CLASSES, k=6)
    sheet = open_page(board.save(tmp_path / "compare.html"))
    return sheet, changes(x, other(x), 6), labels


def test_neighbours_kept_lost_and_gained(compared):
    sheet, found, labels = compared
    page, strips = sheet.page, view(sheet.page, "Neighbours")
    counts = np.bincount(found.kept, minlength=7)
    assert strips.get_attribute("data-counts") == ",".join(map(str, counts))
    worst = strips.get_by_role("group", name="where most changed").locator("button").first
    row = int(worst.get_attribute("data-row"))
    assert found.kept[row] == found.kept.min() and worst.locator("canvas").count() == 1       # with its image
    worst.click()
    page.wait_for_timeout(300)
    a, b = found.a[row].tolist(), found.b[row].tolist()
    assert strips.get_attribute("data-focus") == str(row)
    for name, rows in (("kept", [r for r in a if r in b]), ("lost", [r for r in a if r not in b]),
                       ("gained", [r for r in b if r not in a])):
        assert strips.get_attribute(f"data-{name}") == ",".join(map(str, rows)), name
        tiles = strips.get_by_role("group", name=name, exact=True).locator("button")
        assert [int(t.get_attribute("data-row")) for t in tiles.all()] == rows
        for tile, r in zip(tiles.all(), rows, strict=True):
            assert tile.get_by_text("✓" if labels[r] == labels[row] else "✕").count() == 1
            assert tile.locator("canvas").count() == 1
    assert f"{found.kept[row]} of 6 neighbours kept" in strips.inner_text()
    assert "1 selected" in view(page, "one").inner_text()                                     # the embeddings follow
    sheet.shot("compare-page")
    strips.press("Escape")
    page.wait_for_timeout(200)
    kept = int(np.flatnonzero(counts)[-1])
    strips.get_by_role("button", name=f"{counts[kept]} rows kept {kept} of 6").click()
    page.wait_for_timeout(300)
    assert f"{counts[kept]} selected" in view(page, "one").inner_text()
    harmless(sheet)


def test_a_lasso_in_one_embedding_lights_the_other(compared):
    sheet, found, _ = compared
    page = sheet.page
    lasso(page, view(page, "one").locator("canvas.clnb-canvas").first)
    assert page.locator(".clnb").nth(1).inner_text().count("150 selected") == 1
    share = f"{found.share * 100:.3g} %"
    assert f"of the 150 selected rows' {share}" in view(page, "Neighbours").inner_text()
    harmless(sheet)


def test_the_numbers_have_intervals_and_differences(compared):
    sheet, *_ = compared
    table = view(sheet.page, "Numbers").locator("table")
    assert table.locator("th[scope=col]").all_inner_texts()[1:] == ["one", NASTY, "difference"]
    line = table.locator("tr", has_text="RankMe").locator("td").all_inner_texts()
    assert len(line) == 3 and all("[" in cell for cell in line)
    assert "linear CKA" in view(sheet.page, "Numbers").locator(".clnb-note").inner_text()


def test_keys_walk_through_the_tiles(compared):
    sheet = compared[0]
    page, strips = sheet.page, view(sheet.page, "Neighbours")
    strips.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    for _ in range(12): page.keyboard.press("ArrowRight")                 # over the bars to the tiles
    page.keyboard.press("Enter")
    page.wait_for_timeout(300)
    assert strips.get_attribute("data-focus") not in ("", None) or "selected" in view(page, "one").inner_text()
    page.keyboard.press("Escape")
    page.wait_for_timeout(200)
    assert strips.get_attribute("data-focus") == ""


def test_two_histories_are_rewound_in_step(open_page, tmp_path):
    x, labels, images = cloud()
    one, two = History(), History()
    for step in range(0, 40, 10):
        one.record(step, embedding=other(x, step, 4 - step / 10))
        two.record(step + 5, embedding=x)
    board = Compare(one, two, images, labels)
    sheet = open_page(board.save(tmp_path / "histories.html"))
    page = sheet.page
    newest = view(page, "Numbers").locator(".clnb-note").inner_text()
    sheet.set_range(view(page, "Rewind").get_by_label("step", exact=True), 2)
    page.wait_for_timeout(500)
    then = view(page, "Numbers").locator(".clnb-note").inner_text()
    assert then != newest and "linear CKA" in then
    assert "step 10" in view(page, "a").locator(".clnb-note").first.inner_text()
    assert "step 5" in view(page, "b").locator(".clnb-note").first.inner_text()
    harmless(sheet)


# ---------------------------------------------------------------------------------------------------------- JupyterLab

def test_a_plain_loop_is_watched_while_it_runs(make_notebook):
    book = make_notebook(
        "import time, torch\nfrom clnb.data import load\nfrom clnb.nets import mlp\n"
        "from clnb.recorder import Recorder\nfrom clnb.views.explore import explore\n"
        "test = load('digits', split='test').subset(slice(200))\nmodel = mlp((64, 32, 10), seed=0)",
        "recorder = Recorder(model, probe=test, every=5)",
        "explore(recorder.history, test)",
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.5)\nfor step in range(150):\n"
        "    loss = torch.nn.functional.cross_entropy(model(test.images.float() / 255), test.labels)\n"
        "    optimizer.zero_grad(); loss.backward(); optimizer.step()\n"
        "    recorder.step(loss=loss)\n    time.sleep(0.08)")
    book.run_all(wait=False)
    note = book.page.locator(".clnb .clnb-note").first
    note.wait_for(timeout=60_000)
    seen = set()
    for _ in range(90):                                     # the cell is busy for 12 seconds
        seen.add(note.inner_text().split(" · ")[0])
        if len(seen) > 3: break
        book.page.wait_for_timeout(200)
    assert book.page.evaluate("() => clnbTest.kernel().status") == "busy", "the loop ended before the check did"
    assert len(seen) > 3, seen
    book.wait()
    book.page.wait_for_timeout(1500)
    assert "step 150" in note.inner_text()
    book.check()


def test_an_explorer_in_jupyterlab_shares_its_selection_with_python(make_notebook):
    book = make_notebook(
        "from clnb.data import load\nfrom clnb.nets import small_convnet\nfrom clnb.views.explore import explore\n"
        "test, net = load('digits', split='test'), small_convnet(channels=1, width=8, seed=0)",
        "explorer = explore(net, test)\nexplorer",
    ).run_all()
    page = book.page
    book.kernel("explorer.selection.set(range(12))")
    gallery = page.locator('.clnb[aria-label="Gallery"]')
    page.wait_for_function("() => document.querySelector('.clnb[aria-label=Gallery]').dataset.selected === '12'")
    assert "12 selected" in page.locator('.clnb[aria-label^="Embedding"]').inner_text()
    lasso(page, page.locator('.clnb[aria-label^="Embedding"] canvas.clnb-canvas').first)
    page.wait_for_timeout(1000)
    count = int(book.kernel("len(explorer.selection)"))
    assert count > 300 and gallery.get_attribute("data-selected") == str(count)
    book.check()
