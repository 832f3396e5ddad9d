"""Boards and Rewind in a real browser: as pages opened from disk with the network off, and live in JupyterLab."""

import numpy as np
import pytest

from clnb.run import History
from clnb.views.base import Board, Selection, SubsetBar
from clnb.views.embedding import Embedding
from clnb.views.linked import Gallery
from clnb.views.live import CollapseMonitor, Curves, Spectrum
from clnb.views.pictures import ImageGrid, LogitMatrix
from clnb.views.rewind import Rewind

NASTY = "<img src=x onerror=window.hacked=1>"
CLASSES = ["zero", NASTY, "</script><b>two</b>"]


def things(n=120, until=200):
    """A history with embeddings and pairs, labels and images."""
    rng, labels = np.random.default_rng(0), np.arange(n) % 3
    images = rng.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)
    history = History()
    for step in range(0, until + 1, 10):
        if step == 100: history.mark(step, f"temperature {NASTY}", temperature=0.1)
        z = rng.normal(size=(n, 8)) + step / 40 * np.eye(3, 8)[labels]
        more = {"pairs": np.stack([z[:6], z[6:12]])} if step % 50 == 0 else {}
        history.record(step, loss=1 / (1 + step), embedding=z, **more)
    return history, labels, images


def view(page, title): return page.locator(f'.clnb[aria-label^="{title}"]')


def shows(page, step, what="step"):
    """Wait until the slider stands at a step (or its `data-what` is this)."""
    page.wait_for_function("([step, name]) => document.querySelector('[aria-label=Rewind]').dataset[name] === step",
                           arg=[str(step), what], timeout=5000)
    return True


def lasso(page, canvas):
    """Shift + drag around everything."""
    box = canvas.bounding_box()
    page.keyboard.down("Shift")
    page.mouse.move(box["x"] + 4, box["y"] + 4)
    page.mouse.down()
    for x, y in ((0.99, 0.01), (0.99, 0.99), (0.01, 0.99)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    page.wait_for_timeout(200)


@pytest.fixture
def rewound(open_page, tmp_path):
    """A page of a Rewind over five views, opened from disk with the network off."""
    history, labels, images = things()
    embedding = Embedding(history, images, labels, CLASSES)
    rewind = Rewind(Curves(history, names="loss"), [embedding, Spectrum(history, names=("embedding",))],
                    [CollapseMonitor(history, name="embedding"), LogitMatrix(history)])
    rewind.bookmark("mine <b>", 150)
    return open_page(rewind.board(title="A run <i>").save(tmp_path / "rewind.html"))


def test_views_move_in_step(rewound):
    page = rewound.page
    desk, slider = view(page, "Rewind"), view(page, "Rewind").get_by_label("step", exact=True)
    assert rewound.painted() >= 5 and page.locator(".clnb-timeline:visible").count() == 1      # one slider for all
    titles = ("Curves", "Embedding", "Spectrum", "Who pulls")
    canvases = [view(page, title).locator("canvas.clnb-canvas").first for title in titles]
    before = [canvas.screenshot() for canvas in canvases]
    rewound.set_range(slider, 7)
    page.wait_for_timeout(500)
    for canvas, was in zip(canvases, before, strict=True): assert canvas.screenshot() != was
    assert shows(page, 70) and view(page, "Curves").get_attribute("data-moment") == "70"
    notes = page.locator(".clnb-note").all_inner_texts()
    assert sum("step 70" in note for note in notes) >= 3 and any("step 50" in note for note in notes)   # at or before
    desk.get_by_role("button", name="next", exact=True).click()
    assert shows(page, 80)
    desk.get_by_role("button", name="previous").click()
    desk.get_by_role("button", name="previous").click()
    assert shows(page, 60)
    desk.get_by_role("button", name="newest").click()
    page.wait_for_timeout(400)
    assert desk.get_attribute("data-at") == "-1" and view(page, "Curves").get_attribute("data-moment") is None
    desk.get_by_role("button", name="first", exact=True).click()
    assert shows(page, 0) and not rewound.problems()


def test_bookmarks_jump_and_are_made(rewound):
    page, desk = rewound.page, view(rewound.page, "Rewind")
    chips = desk.locator(".clnb-marks .clnb-chip")
    assert [NASTY in text for text in chips.all_inner_texts()][:1] == [True] and "mine <b>" in desk.inner_text()
    chips.first.click()
    assert shows(page, 100) and "step 100" in " ".join(page.locator(".clnb-note").all_inner_texts())
    assert desk.locator(".clnb-tick").count() == 2
    desk.locator(".clnb-tick").nth(1).click()
    assert shows(page, 150)
    desk.get_by_role("button", name="previous").click()
    desk.get_by_label("text of the bookmark").fill(NASTY)
    desk.get_by_role("button", name="bookmark this step").click()
    desk.get_by_label(f"forget the bookmark {NASTY}").wait_for()
    assert f"140: {NASTY}" in desk.inner_text() and desk.locator(".clnb-tick").count() == 3
    desk.get_by_label(f"forget the bookmark {NASTY}").click()
    page.wait_for_timeout(150)
    assert f"140: {NASTY}" not in desk.inner_text()
    assert page.evaluate("window.hacked") is None and page.locator("img, b:has-text('two'), h1 i").count() == 0
    assert page.locator("h1").inner_text() == "A run <i>" and not rewound.problems()


def test_play_and_keys(rewound):
    page, desk = rewound.page, view(rewound.page, "Rewind")
    at = lambda: desk.get_attribute("data-step")  # noqa: E731
    desk.focus()
    page.keyboard.press("Home")
    assert shows(page, 0)
    page.keyboard.press("ArrowRight")
    assert shows(page, 10)
    desk.get_by_label("speed").select_option("16 steps/s")
    desk.focus()
    page.keyboard.press("Space")
    page.wait_for_timeout(450)
    page.keyboard.press("Space")
    stopped = int(at())
    assert 20 < stopped < 200, stopped
    page.wait_for_timeout(300)
    assert int(at()) == stopped
    view(page, "Embedding").focus()                              # space in a view plays the whole board, to the end
    page.keyboard.press("Space")
    page.wait_for_function("() => document.querySelector('.clnb[aria-label=Rewind]').dataset.at === '-1'", timeout=8000)
    assert desk.get_by_role("button", name="play").is_visible()
    slider = desk.get_by_label("step", exact=True)
    slider.focus()
    slider.press("ArrowLeft")
    assert shows(page, 190)
    slider.press("Home")
    assert shows(page, 0) and "step 0" in slider.get_attribute("aria-valuetext")
    slider.press("End")
    assert shows(page, -1, "at") and not rewound.problems()


def test_one_selection_in_a_board_from_disk(open_page, tmp_path):
    _, labels, images = things()
    x = np.random.default_rng(0).normal(size=(120, 2)) + 8 * np.eye(3, 2)[labels]
    board = Board([[Embedding(x, images, labels, CLASSES), Gallery(images, labels, CLASSES)],
                   ImageGrid(images, labels, CLASSES, title="Grid")], title="Board")
    text = board.page()
    sheet = open_page(board.save(tmp_path / "board.html"))
    page = sheet.page
    gallery = view(page, "Gallery")
    assert sheet.painted() >= 2 and text.count("const PALETTE") == 1
    shown = gallery.inner_text()
    canvas = view(page, "Embedding").locator("canvas.clnb-canvas").first
    view(page, "Embedding").locator(".clnb-chip").nth(1).click()                 # the legend filters …
    lasso(page, canvas)                                                          # … and the lasso takes the rest
    assert "80 selected" in view(page, "Embedding").inner_text()
    page.wait_for_timeout(400)
    assert gallery.inner_text() != shown and "80" in gallery.inner_text()        # another view follows
    page.keyboard.press("Escape")
    page.wait_for_timeout(300)
    assert "selected" not in view(page, "Embedding").locator(".clnb-tools").inner_text()
    box, found = canvas.bounding_box(), False
    for y in np.linspace(0.1, 0.9, 25):
        for k in np.linspace(0.1, 0.9, 40):
            page.mouse.move(box["x"] + k * box["width"], box["y"] + y * box["height"])
            found = found or view(page, "Embedding").locator(".clnb-tip").is_visible()
            if found: break
        if found: break
    assert found
    page.locator(".clnb-tip canvas").first.wait_for()                            # the image, from the page's own arrays
    assert page.evaluate("window.hacked") is None and page.locator("img").count() == 0 and not sheet.problems()


def test_named_subsets_in_a_page(open_page, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (30, 1, 8, 8), dtype=np.uint8)
    selection = Selection(range(10))
    selection.save(NASTY)
    selection.set(range(5, 15))
    board = Board([ImageGrid(images, title="Grid"), SubsetBar()], selection)
    sheet = open_page(board.save(tmp_path / "subsets.html"))
    page, bar = sheet.page, view(sheet.page, "Subsets")
    count = lambda: int(bar.get_attribute("data-selected"))  # noqa: E731
    assert count() == 10 and NASTY in bar.inner_text()
    for how, expected in (("keep only what is also in", 5), ("add to what is selected", 10), ("take away", 0)):
        bar.get_by_label(how).first.click()
        page.wait_for_timeout(150)
        assert count() == expected
    bar.get_by_role("button", name="(10)").click()
    bar.get_by_label("name of the subset").fill("mine")
    bar.get_by_role("button", name="save selection").click()
    page.wait_for_timeout(150)
    page.keyboard.press("Escape")
    page.wait_for_timeout(150)
    assert count() == 0 and bar.get_attribute("data-subsets") == "2"
    bar.get_by_role("button", name="mine (10)").click()
    bar.get_by_label(f"forget {NASTY}").click()
    page.wait_for_timeout(150)
    assert count() == 10 and bar.get_attribute("data-subsets") == "1"
    assert page.evaluate("window.hacked") is None and page.locator("img").count() == 0 and not sheet.problems()


@pytest.mark.parametrize("width, beside", [(1280, True), (600, False)])
def test_boards_fit_the_window(open_page, tmp_path, width, beside):
    history, labels, images = things()
    board = Board([[Embedding(history, images, labels, CLASSES), Spectrum(history, names=("embedding",))]], title="W")
    sheet = open_page(board.save(tmp_path / "wide.html"))
    page = sheet.page
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_timeout(300)
    a, b = (view(page, title).bounding_box() for title in ("Embedding", "Spectrum"))
    assert (abs(a["y"] - b["y"]) < 2) == beside and page.evaluate("document.documentElement.scrollWidth") <= width
    assert not sheet.problems()


def test_sliders_of_a_board_without_rewind_move_together(open_page, tmp_path):
    history, labels, _ = things()
    board = Board([[Embedding(history, labels=labels), LogitMatrix(history)]])
    page = (sheet := open_page(board.save(tmp_path / "two.html"))).page
    assert page.locator(".clnb-timeline:visible").count() == 2
    sheet.set_range(view(page, "Embedding").get_by_label("step", exact=True), 12)
    page.wait_for_timeout(400)
    notes = page.locator(".clnb-note").all_inner_texts()
    assert any("step 120" in note for note in notes) and any("step 100" in note for note in notes)
    assert not sheet.problems()


def test_off_screen_views_wait_and_are_painted_when_seen(open_page, tmp_path):
    history, _, _ = things()
    rewind = Rewind(Spectrum(history, names=("embedding",)))
    sheet = open_page(rewind.save(tmp_path / "far.html"))
    page = sheet.page
    page.evaluate("""() => {
      const cell = document.querySelector('.clnb-boardrow'); cell.style.marginTop = '9000px';
      window.painted = 0;
      const pen = CanvasRenderingContext2D.prototype, clear = pen.clearRect;
      pen.clearRect = function (...all) { window.painted++; return clear.apply(this, all); };
      const measure = Element.prototype.getBoundingClientRect;
      window.measured = 0;
      Element.prototype.getBoundingClientRect = function () { window.measured++; return measure.call(this); };
      const style = window.getComputedStyle;
      window.getComputedStyle = function (...all) { window.measured++; return style.apply(window, all); };
    }""")
    page.wait_for_timeout(300)
    page.evaluate("window.painted = window.measured = 0")
    desk = page.locator(".clnb[aria-label=Rewind]")
    for place in range(5): desk.get_by_label("step", exact=True).evaluate(
            "(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", place)
    page.wait_for_timeout(300)
    assert page.evaluate("window.painted") == 0
    page.evaluate("document.querySelector('.clnb-boardrow').style.marginTop = '0'")
    page.wait_for_timeout(300)
    assert page.evaluate("window.painted") > 0 and "step 40" in view(page, "Spectrum").inner_text()
    page.evaluate("window.painted = window.measured = 0")
    for place in range(10): sheet.set_range(desk.get_by_label("step", exact=True), place)
    assert page.evaluate("window.painted") >= 10 and page.evaluate("window.measured") == 0   # painting measures nothing
    assert not sheet.problems()


def test_themes_are_followed(open_page, tmp_path):
    history, _, _ = things()
    sheet = open_page(Rewind(Spectrum(history, names=("embedding",)), Curves(history)).save(tmp_path / "theme.html"))
    page, shades = sheet.page, []
    for scheme in ("light", "dark", "light"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(700)
        shades.append(page.locator("canvas.clnb-canvas:visible").first.evaluate("""e => {
          const data = e.getContext('2d').getImageData(0, 0, e.width, e.height).data, seen = [0, 0];
          for (let i = 0; i < data.length; i += 4)
            if (data[i + 3] > 200 && data[i] === data[i + 1] && data[i] === data[i + 2]) seen[data[i] > 170 ? 1 : 0]++;
          return seen; }"""))
        sheet.shot(f"07h-{scheme}")
    assert shades[0][0] > shades[0][1] and shades[1][1] > shades[1][0] and shades[2] == shades[0], shades
    page.emulate_media(reduced_motion="reduce")
    assert not sheet.problems()


def test_a_page_inside_a_page_is_as_high_as_it_says(open_page, tmp_path):
    history, _, _ = things()
    board = Board([Spectrum(history, names=("embedding",)), Curves(history)], title=NASTY)
    (tmp_path / "outer.html").write_text(f"<!doctype html><title>x</title>{board.to_html()}<script>"
                                         "addEventListener('message', e => window.told = e.data.clnbHeight)</script>")
    sheet = open_page(tmp_path / "outer.html")
    sheet.page.wait_for_function("() => window.told > 300")
    assert sheet.painted() >= 2 and sheet.page.locator("img").count() == 0 and not sheet.problems()


SETUP = """
import threading, time
import numpy as np
from clnb.run import History
from clnb.views.live import Curves, Spectrum
from clnb.views.embedding import Embedding
from clnb.views.rewind import Rewind
rng, labels = np.random.default_rng(0), np.arange(150) % 3
history, going = History(), True
def record(step):
    history.record(step, loss=1 / (1 + step), embedding=rng.normal(size=(150, 8)) + step / 40 * np.eye(3, 8)[labels])
for step in range(0, 101, 10): record(step)
history.mark(50, "temperature 0.5 → 0.1")
def train():
    step = 100
    while going:
        step += 10; record(step); time.sleep(0.1)
embedding, spectrum = Embedding(history, labels=labels), Spectrum(history, names=("embedding",))
curves = Curves(history, names="loss")
from clnb.views.base import SubsetBar
bar = SubsetBar()
rewind = Rewind([embedding, spectrum], curves, bar)
"""


def test_live_in_jupyterlab(make_notebook):
    book = make_notebook(SETUP, "rewind.board(title='Live')").run_all().check()
    page, desk = book.page, book.page.locator(".clnb[aria-label=Rewind]")
    desk.scroll_into_view_if_needed()
    desk.locator(".clnb-marks .clnb-chip").first.click()
    page.wait_for_timeout(1500)
    shown = "print(embedding.frame['step'], spectrum.frame['step'], curves.moment, rewind.moment)"
    assert book.kernel(shown) == "50 50 50 50"
    assert page.locator(".clnb-timeline:visible").count() == 1
    assert view(page, "Curves").get_attribute("data-moment") == "50"

    book.kernel("thread = threading.Thread(target=train, daemon=True); thread.start()")      # training goes on …
    page.wait_for_timeout(2500)
    assert book.kernel(shown) == "50 50 50 50"                              # … a reader who looks back stays
    assert int(desk.get_attribute("data-steps")) > 15
    desk.get_by_role("button", name="newest").click()
    page.wait_for_timeout(2500)
    there = [int(part) for part in book.kernel(shown).split()]
    assert min(there[:2]) > 150 and there[2:] == [-1, -1]
    book.kernel("going = False; thread.join()")

    desk.focus()                                                                               # play from the start
    page.keyboard.press("Home")
    page.wait_for_timeout(800)
    assert book.kernel(shown) == "0 0 0 0"
    page.keyboard.press("Space")
    page.wait_for_timeout(2500)
    page.keyboard.press("Space")
    page.wait_for_timeout(1000)
    there = [int(part) for part in book.kernel(shown).split()]
    assert len(set(there)) == 1 and there[0] > 20
    desk.get_by_label("text of the bookmark").fill("<b>here</b>")
    desk.get_by_role("button", name="bookmark this step").click()
    page.wait_for_timeout(600)
    assert book.kernel("print(rewind.bookmarks)") == f"(({there[0]}, '<b>here</b>'),)"
    assert "<b>here</b>" in desk.inner_text()

    embedding = view(page, "Embedding")                                        # a lasso, kept under a name
    embedding.scroll_into_view_if_needed()
    lasso(page, embedding.locator("canvas.clnb-canvas").first)
    view(page, "Subsets").get_by_label("name of the subset").fill("all")
    view(page, "Subsets").get_by_role("button", name="save selection").click()
    page.wait_for_timeout(800)
    assert book.kernel("print(len(bar.selection), {k: len(v) for k, v in bar.selection.subsets.items()})") == (
        "150 {'all': 150}")

    theme = ("name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: `JupyterLab ${name}`})"
             ".then(() => true)")
    page.evaluate(theme, "Dark")
    page.wait_for_timeout(2500)
    book.shot("07h-lab-dark")
    assert desk.evaluate("e => getComputedStyle(e).getPropertyValue('--clnb-focus').trim()") == "#56B4E9"
    page.evaluate(theme, "Light")
    page.wait_for_timeout(1500)
    book.shot("07h-lab")
    book.check()


def test_boards_in_the_site(open_page, tmp_path):
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    from tools import execute, site

    cells = [new_code_cell(SETUP), new_code_cell("rewind.board(title='In the site')")]
    cells.append(new_code_cell("Rewind(Spectrum(history, names=('embedding',)))"))
    nbformat.write(new_notebook(cells=cells), tmp_path / "small.ipynb")
    notebook, missing = execute.run(tmp_path / "small.ipynb", pages=True)
    assert not missing
    sheet = open_page(site.write(notebook, "small", "Small", tmp_path))
    page = sheet.page
    page.wait_for_timeout(1500)
    frames = [frame for frame in page.frames if frame != page.main_frame]
    assert len(frames) == 2 and sheet.painted() >= 3   # what is far below is not drawn yet
    for frame, element in zip(frames, page.locator("iframe").element_handles(), strict=True):
        high = frame.evaluate("document.documentElement.scrollHeight")
        assert abs(element.bounding_box()["height"] - high) < 6                  # as high as its content
    page.locator("iframe").first.scroll_into_view_if_needed()
    frames[0].locator(".clnb-marks .clnb-chip").first.click()                    # rewind
    page.wait_for_timeout(700)
    assert sum("step 50" in text for text in frames[0].locator(".clnb-note").all_inner_texts()) >= 3
    canvas = frames[0].locator(".clnb[aria-label^=Embedding] canvas.clnb-canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for y in np.linspace(0.1, 0.9, 25):                                          # hover
        for x in np.linspace(0.1, 0.9, 40):
            if not frames[0].locator(".clnb-tip:visible").count():
                page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    assert "label" in frames[0].locator(".clnb-tip:visible").inner_text()
    sheet.shot("07h-site")
    assert not sheet.problems()


@pytest.mark.parametrize("sharp", [1, 2, 3])
def test_pictures_are_as_sharp_as_the_screen(chromium, tmp_path, sharp):
    path = Spectrum(np.random.default_rng(0).normal(size=(40, 8))).save(tmp_path / "sharp.html")
    context = chromium.new_context(viewport={"width": 900, "height": 600}, device_scale_factor=sharp, offline=True)
    page = context.new_page()
    page.goto(path.as_uri())
    page.wait_for_timeout(400)
    width, box = page.locator("canvas.clnb-canvas").evaluate("e => [e.width, e.getBoundingClientRect().width]")
    assert abs(width - sharp * box) <= 1
    context.close()


def test_unseen_views_in_jupyterlab_do_not_stop_the_kernel(make_notebook):
    book = make_notebook(SETUP, "spectrum", "print('\\n' * 300)").run_all()
    page = book.page
    page.locator(".jp-Notebook .jp-Cell").nth(2).evaluate("e => e.scrollIntoView({block: 'end'})")
    page.wait_for_timeout(500)
    before = int(book.kernel("print(spectrum.drawn)"))
    for step in range(200, 260, 10):
        book.kernel(f"record({step})")
        page.wait_for_timeout(500)
    assert int(book.kernel("print(spectrum.drawn)")) >= before + 3               # acknowledged, and not painted
    assert page.locator("canvas.clnb-canvas").first.evaluate("e => JSON.parse(e.dataset.lines ?? '[]').length") >= 0
    page.locator(".clnb").first.scroll_into_view_if_needed()
    page.wait_for_timeout(700)
    assert "step 250" in page.locator(".clnb-note").first.inner_text()
    book.check()
