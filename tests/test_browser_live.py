"""Live views and playgrounds in a real browser: a run that is steered, and pages without a kernel."""

import json

import numpy as np
import pytest
import torch

from clnb import losses
from clnb.run import History
from clnb.views import Circle, CollapseMonitor, Curves, NegativeWeights, Spectrum
from clnb.views.live import directions, ends_of, smoothed, spectrum_of
from clnb.views.playgrounds import LOSSES, circle_forces, negative_weights

EVIL = "<img src=x onerror=alert(1)>"
RUN = '''
import time, torch
from torch import nn
from clnb.data import load
from clnb.losses import chance, floor, nt_xent
from clnb.run import Method, Run
from clnb.views import CollapseMonitor, Controls, Curves, Spectrum

class Tiny(Method):
    tunable = {"temperature": (0.05, 5.0)}
    def __init__(self):
        super().__init__()
        self.temperature, self.net = 0.5, nn.Sequential(nn.Flatten(), nn.LazyLinear(16))
        self.net(torch.zeros(2, 1, 8, 8)); self.optimizer = torch.optim.Adam(self.net.parameters(), lr=3e-3)
    def embed(self, x): return self.net(x / 255)
    def loss(self, batch):
        time.sleep(0.01)
        if getattr(self, "broken", False): raise ValueError("<b>broken</b> on purpose")
        x = batch.images / 255
        return {"loss": nt_xent(self.net(x), self.net(x + 0.2 * torch.rand_like(x)), self.temperature)}
    def bounds(self, n): return {"loss": (chance("nt_xent", n=n), floor("nt_xent", n=n, temperature=self.temperature))}

data = load("digits")
run = Run(Tiny(), data, steps=5000, batch_size=64)
run.measure("embedding", lambda method: method.embed(data.images[:200]), every=20)
'''


@pytest.fixture(scope="module")
def history():
    "A recording with bounds, a mark, a gap and embeddings."
    history, rng = History(), np.random.default_rng(0)
    for step in range(1, 3001):
        value = np.nan if step == 1500 else 6.2 - step / 1000 + 0.1 * rng.standard_normal()
        bounds = {"loss.chance": 6.2, "loss.floor": 1.0}
        history.record(step, loss=value, learned_fraction=step / 5200, **bounds, **{EVIL: step})
        if step % 500: continue
        history.record(step, embedding=rng.standard_normal((60, 12)) * np.exp(-np.arange(12) * step / 5000))
    history.mark(2000, f"temperature {EVIL}")
    return history


def canvas(page):
    return page.page.locator("canvas").first


def data(page, key):
    return json.loads(canvas(page).get_attribute(f"data-{key}"))


def clean(page):
    assert page.painted() == 1 and not page.problems() and page.page.locator(".clnb-error").count() == 0
    assert page.page.locator("img").count() == 0


def test_a_run_is_steered_and_watched(make_notebook):
    book = make_notebook(RUN, "controls = Controls(run)\ncontrols", "Curves(run.history)", "Spectrum(run.history)",
                         "CollapseMonitor(run.history)").run_all()
    panel, curves = book.widget("Controls(run)\ncontrols"), book.widget("Curves(run.history)")
    press = lambda name: panel.get_by_role("button", name=name, exact=True).click()  # noqa: E731
    press("Start")
    book.page.wait_for_function("() => /steps\\/s/.test(document.body.innerText)", timeout=20_000)
    assert book.kernel("run.state") == "'running'"                  # the kernel answers meanwhile
    first = curves.locator("canvas").get_attribute("data-points")
    book.page.wait_for_timeout(1000)
    assert curves.locator("canvas").get_attribute("data-points") != first
    book.slide(panel.locator(".noUi-handle"), -10)
    press("Pause")
    book.page.wait_for_timeout(700)
    assert book.kernel("run.state") == "'paused'" and float(book.kernel("run.method.temperature")) <= 0.5
    assert panel.get_by_role("button", name="Pause", exact=True).is_disabled()
    before = int(book.kernel("run.steps_done"))
    press("Step")
    book.page.wait_for_timeout(700)
    assert int(book.kernel("run.steps_done")) == before + 1
    assert len(json.loads(book.kernel("import json; print(json.dumps([list(m)[:2] for m in run.history.marks]))"))) >= 1
    for name, part in (("Spectrum(run.history)", "li"), ("CollapseMonitor(", ".clnb-verdict")):
        book.widget(name).scroll_into_view_if_needed()                         # what is not seen is not drawn
        book.page.wait_for_timeout(500)
        assert book.widget(name).locator(part).count() == 1
    assert book.widget("CollapseMonitor(").locator(".clnb-verdict").get_attribute("data-kind")
    book.shot("live-steered")
    book.kernel("run.method.broken = True")
    press("Resume")
    book.page.wait_for_timeout(1200)
    assert "ValueError: <b>broken</b> on purpose" in panel.locator("textarea").input_value()
    for name in ("Start", "Pause", "Resume", "Step", "Stop"):
        assert panel.get_by_role("button", name=name, exact=True).is_disabled()
    book.check()


def test_curves_page_hovers_smooths_and_hides(history, open_page, tmp_path):
    page = open_page(Curves(history).save(tmp_path / "curves.html"))
    clean(page)
    assert all(count <= 2000 for count in data(page, "points").values())
    assert [panel["name"] for panel in data(page, "panels")] == ["loss", "learned fraction", EVIL]
    loss, box = data(page, "panels")[0], canvas(page).bounding_box()
    share = (2000 - loss["x"][0]) / (loss["x"][1] - loss["x"][0])
    page.page.mouse.move(box["x"] + loss["left"] + share * (loss["right"] - loss["left"]), box["y"] + 60)
    page.page.wait_for_timeout(150)
    tip = page.page.locator(".clnb-tip").inner_text()
    assert "step 20" in tip or "step 199" in tip
    assert f"temperature {EVIL}" in tip
    page.page.get_by_role("button", name="learned fraction").click()
    page.set_range(page.page.get_by_label("smoothing", exact=True), np.log(50))
    page.page.get_by_label("log y").check()
    page.page.wait_for_timeout(150)
    assert [panel["name"] for panel in data(page, "panels")] == ["loss", EVIL] and data(page, "panels")[0]["logY"]
    clean(page)


def test_smoothing_in_the_page_is_that_of_python(open_page, tmp_path):
    values, short = np.random.default_rng(0).standard_normal(40), History()
    for step, value in enumerate(values): short.record(step, loss=value)
    page = open_page(Curves(short, smoothing=8).save(tmp_path / "short.html"))
    box, panel = canvas(page).bounding_box(), data(page, "panels")[0]
    page.page.mouse.move(box["x"] + panel["right"] - 1, box["y"] + 60)
    page.page.wait_for_timeout(150)
    shown = float(page.page.locator(".clnb-tip").inner_text().split("loss: ")[1].split(" ")[0])
    assert shown == pytest.approx(smoothed(values, 8)[-1], rel=2e-3)


def test_spectrum_and_monitor_pages_rewind(history, open_page, tmp_path):
    page = open_page(Spectrum(history).save(tmp_path / "spectrum.html"))
    clean(page)
    newest = page.page.locator("li").inner_text()
    page.set_range(page.page.get_by_label("step", exact=True), 0)
    page.page.wait_for_timeout(200)
    assert page.page.locator("li").inner_text() != newest
    page.page.get_by_label("cumulative energy").check()
    page.page.wait_for_timeout(150)
    assert data(page, "lines")[0]["last"] == pytest.approx(1, abs=1e-3)
    page = open_page(CollapseMonitor(history).save(tmp_path / "monitor.html"))
    clean(page)
    now = data(page, "now")
    page.set_range(page.page.get_by_label("step", exact=True), 0)
    page.page.wait_for_timeout(200)
    assert data(page, "now") != now


def groups():
    "Embeddings at three steps whose first direction separates two groups, with labels and images that show them."
    rng = np.random.default_rng(0)
    labels, z = np.arange(60) % 2, rng.standard_normal((60, 12))
    images = (rng.integers(0, 100, (60, 1, 8, 8)) + 150 * labels[:, None, None, None]).astype(np.uint8)
    steps = {step: z + np.outer(labels if step else rng.permutation(labels), 20 * np.eye(12)[step % 7])
             for step in (0, 10, 20)}
    return steps, labels, images


def ends(page, side):
    "Rows, and captions, at one end of the open direction."
    tiles = page.page.get_by_role("group", name=f"{side} end").locator("figure")
    return tiles.evaluate_all("all => all.map(e => +e.dataset.row)"), tiles.all_inner_texts()


def test_a_direction_shows_its_ends_in_a_page(open_page, tmp_path):
    steps, labels, images = groups()
    history, other = History(), History()
    for step, z in steps.items():
        history.record(step, embedding=z)
        other.record(step, embedding=z[:, :6])
    view = Spectrum({EVIL: history, "b": other}, images=images, labels=labels, classes=["even", EVIL])
    page = open_page(view.save(tmp_path / "ends.html"))
    box, lines = canvas(page).bounding_box(), data(page, "lines")
    assert [line["count"] for line in lines] == [12, 6] and lines[0]["ink"] != lines[1]["ink"]
    page.page.mouse.click(box["x"] + 58, box["y"] + 12)                       # the first singular value
    page.page.wait_for_timeout(400)
    (low, texts), (high, _) = ends(page, "low"), ends(page, "high")
    found = directions(steps[20])
    assert low + high == ends_of(found.coordinates)[0].tolist()
    assert len({int(labels[row]) for row in low}) == 1 and {labels[row] for row in low} != {labels[row] for row in high}
    assert all(["even", EVIL][labels[low[0]]] in text for text in texts)
    assert f"{found.shares[0]:.0%}".replace("%", " %") in page.page.locator(".clnb").inner_text()
    shade = ("all => all.map(c => { const p = c.getContext('2d').getImageData(0, 0, 8, 8).data;"
             " return p.reduce((a, v) => a + v, 0) / 256; })")
    tiles = [page.page.get_by_role("group", name=f"{end} end").locator("canvas") for end in ("low", "high")]
    means = [np.mean(tile.evaluate_all(shade)) for tile in tiles]
    assert tiles[0].count() == 8 and (means[0] < means[1]) == (labels[low[0]] == 0)     # the right images
    part = data(page, "lines")[0]["selected"]                                 # computed in the page
    s = np.linalg.svd(steps[20][low + high] - steps[20][low + high].mean(0), compute_uv=False)
    assert part["rows"] == 16 and part["last"] == pytest.approx(s[-1] / s[0], rel=1e-4)
    text, wanted = page.page.locator("li").first.inner_text(), spectrum_of(steps[20][sorted(low + high)])
    assert f"16 selected rows: {wanted['text']}" in text

    page.set_range(page.page.get_by_label("step", exact=True), 0)             # rewind: other images
    page.page.wait_for_timeout(300)
    assert ends(page, "low")[0] + ends(page, "high")[0] == ends_of(directions(steps[0]).coordinates)[0].tolist()
    page.page.keyboard.press("Escape")
    page.page.wait_for_timeout(200)
    assert not page.page.get_by_role("group", name="the two ends").is_visible()
    assert data(page, "lines")[0]["selected"] is None
    page.page.get_by_role("button", name="b: embedding").click()              # a line is switched off
    page.page.wait_for_timeout(200)
    assert [line["label"] for line in data(page, "lines")] == [f"{EVIL}: embedding"]
    assert page.page.locator("img").count() == 0 and not page.problems()


def test_directions_are_reached_by_keys(open_page, tmp_path):
    steps, labels, images = groups()
    view = Spectrum({"a": steps[10], "b": steps[20]}, images=images, labels=labels)
    page = open_page(view.save(tmp_path / "keys.html"))
    press = lambda *keys: [page.page.keyboard.press(key) for key in keys] and page.page.wait_for_timeout(250)  # noqa: E731
    page.page.locator(".clnb").focus()
    press("ArrowRight", "ArrowRight", "ArrowDown", "Enter")
    assert page.page.locator(".clnb").get_attribute("data-direction") == "2"
    assert ends(page, "low")[0] + ends(page, "high")[0] == ends_of(directions(steps[20]).coordinates)[1].tolist()
    page.page.get_by_label("select the ends").uncheck()
    page.page.locator(".clnb").focus()
    before = data(page, "lines")[0]["selected"]
    press("ArrowRight")
    assert page.page.locator(".clnb").get_attribute("data-direction") == "3"
    assert data(page, "lines")[0]["selected"] == before                       # not selected any more
    page.page.get_by_role("button", name="━ a").click()
    page.page.wait_for_timeout(200)
    assert [line["label"] for line in data(page, "lines")] == ["b"]
    assert not page.problems()


def test_a_large_page_says_what_needs_a_kernel(open_page, tmp_path):
    view = Spectrum({"z": np.random.default_rng(0).standard_normal((2500, 40))}, labels=np.zeros(2500, int))
    page = open_page(view.save(tmp_path / "large.html"))
    page.page.locator(".clnb").focus()
    for key in ("ArrowRight", "Enter"): page.page.keyboard.press(key)
    page.page.wait_for_timeout(300)
    assert "another selection needs a kernel" in page.page.locator(".clnb").inner_text()
    for _ in range(35): page.page.keyboard.press("ArrowRight")
    page.page.wait_for_timeout(300)
    assert "first 32 directions; others need a kernel" in page.page.locator(".clnb").inner_text()
    assert not page.problems()


def test_spectrum_in_jupyterlab_follows_a_selection(make_notebook):
    book = make_notebook("import numpy as np\nfrom clnb.views import Spectrum\nfrom clnb.run import History\n"
                         "z = np.random.default_rng(0).standard_normal((80, 40))\nhistory = History()\n"
                         "history.record(0, embedding=z)\n"
                         "images = np.random.default_rng(1).integers(0, 256, (80, 8, 8), dtype=np.uint8)\n"
                         "view = Spectrum(history, images=images)",
                         "view").run_all()
    one = book.widget(1)
    canvas = one.locator("canvas.clnb-canvas")
    canvas.wait_for()
    book.page.wait_for_timeout(800)
    book.kernel("view.selection.set(range(30))")
    book.page.wait_for_timeout(1500)
    assert json.loads(canvas.get_attribute("data-lines"))[0]["selected"]["rows"] == 30
    one.locator(".clnb").focus()
    for key in ("ArrowRight", *["ArrowRight"] * 35, "Enter"): book.page.keyboard.press(key)
    book.page.wait_for_timeout(1500)
    assert one.locator(".clnb").get_attribute("data-direction") == "36"       # asked for, and come
    assert one.locator("figure canvas").count() == 16
    wanted = ends_of(directions(np.random.default_rng(0).standard_normal((80, 40)), 36).coordinates)[35]
    assert json.loads(book.kernel("print(view.selection.index.tolist())")) == sorted(wanted.tolist())
    book.kernel("history.record(10, embedding=z[::-1])")
    book.page.wait_for_timeout(1500)
    assert len(one.locator("figure").all()) == 16
    book.check()


@pytest.mark.parametrize("name", LOSSES)
def test_circle_computes_what_python_computes(name, open_page, tmp_path):
    page = open_page(Circle(loss=name, temperature=0.3, tau_plus=0.05, beta=1.5).save(tmp_path / "circle.html"))
    clean(page)
    attribute = lambda key: json.loads(canvas(page).get_attribute(f"data-{key}"))  # noqa: E731
    for _ in range(2):
        angles = attribute("angles")
        z = torch.tensor(np.stack([np.cos(angles), np.sin(angles)], 1))
        value, pull, push = circle_forces(angles, name, 0.3, 0.05, 1.5)
        assert attribute("loss") == pytest.approx(value, abs=1e-4)
        assert attribute("align") == pytest.approx(losses.align(z[:10], z[10:]).item(), abs=1e-4)
        even = (losses.uniform(z[:10]) + losses.uniform(z[10:])).item() / 2
        assert attribute("uniform") == pytest.approx(even, abs=1e-4)
        assert np.allclose(attribute("pull"), pull, atol=1e-4) and np.allclose(attribute("push"), push, atol=1e-4)
        page.page.get_by_role("button", name="step", exact=True).click()
        page.page.wait_for_timeout(150)
    assert attribute("loss") < value + 1e-3 and attribute("angles") != angles


def test_circle_is_dragged_played_and_reset(open_page, tmp_path):
    page = open_page(Circle(loss="align").save(tmp_path / "circle.html"))
    start = data(page, "angles")
    box, side = canvas(page).bounding_box(), 340
    x, y = side / 2 + (side / 2 - 46) * np.cos(start[0]), side / 2 - (side / 2 - 46) * np.sin(start[0])
    page.drag(canvas(page), [(x / box["width"], y / box["height"]), (side / 2 / box["width"], 10 / box["height"])])
    moved = data(page, "angles")
    assert sum(abs(a - b) > 1e-9 for a, b in zip(start, moved, strict=True)) == 1
    assert max(moved, key=lambda v: abs(v - np.pi / 2) < 0.05) == pytest.approx(np.pi / 2, abs=0.05)
    page.page.get_by_role("button", name="play").click()
    page.page.wait_for_timeout(4000)
    assert data(page, "loss") < 0.1
    page.page.get_by_role("button", name="reset").click()
    page.page.wait_for_timeout(150)
    assert np.allclose(data(page, "angles"), start)
    clean(page)


@pytest.mark.parametrize("setting", [{}, {"tau_plus": 0.2, "beta": 2.5, "temperature": 0.5},
                                     {"positive": -0.5, "negatives": 14}])
def test_negative_weights_are_those_of_python(setting, open_page, tmp_path):
    page = open_page(NegativeWeights(**setting).save(tmp_path / "negatives.html"))
    clean(page)
    now, s = data(page, "settings"), np.linspace(-1, 1, data(page, "settings")["count"])
    for k, (tau_plus, beta) in enumerate([(0, 0), (now["tauPlus"], 0), (now["tauPlus"], now["beta"])]):
        weights, loss = negative_weights(s, now["positive"], now["tau"], tau_plus, beta)
        assert data(page, "loss")[k] == pytest.approx(loss, abs=1e-4)
        assert np.allclose(data(page, "weights")[k], weights, atol=1e-6)
    page.page.get_by_label("negatives", exact=True).select_option("62")
    page.page.wait_for_timeout(150)
    assert len(data(page, "weights")[0]) == 62


@pytest.mark.parametrize("notebook", ["07a_live", "07c_playgrounds"])
def test_the_notebook_draws_every_widget(notebook, open_notebook):
    book = open_notebook(notebook).run_all()
    book.check()
    book.shots(notebook)
