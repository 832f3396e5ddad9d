"""Sphere in a real browser: a page without a kernel, and live in JupyterLab beside a run."""

import json

import numpy as np
import pytest
import torch
from onpage import in_both_themes, press, root, said, wait

from clnb.data import ImageSet
from clnb.run import History
from clnb.views.base import Board
from clnb.views.rewind import Rewind
from clnb.views.sphere import Sphere, on_sphere

EVIL = "<img src=x onerror=window.hacked=1>"
CORNERS = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, -1], [-1, 0, 0], [0, -1, 0]], np.float32)
STRAIGHT = [1.0, 0, 0, 0, 1, 0, 0, 0, 1]


def cloud(n=60, d=6, seed=0):
    rng, label = np.random.default_rng(seed), np.arange(n) % 3
    label[: n // 2] = 0
    return (2 * np.eye(3, d)[label] + 0.5 * rng.normal(size=(n, d))).astype(np.float32), label


def small_set(label):
    images = torch.arange(len(label), dtype=torch.uint8)[:, None, None, None].expand(len(label), 1, 8, 8)
    return ImageSet(images.contiguous(), torch.as_tensor(label), ("zero", EVIL, "</script>two"))


def corners(**more):
    view = Sphere(CORNERS, [0, 0, 1, 1, 2, 2], small_set([0, 0, 1, 1, 2, 2]), **more)
    view.rotation = STRAIGHT
    return view


def rotation(page): return np.array(json.loads(said(page)["rotation"])).reshape(3, 3)


def spot(page, point, sphere=0):
    "Window coordinates of a point of a sphere."
    ball = json.loads(said(page)["spheres"])[sphere]
    x, y, _ = rotation(page) @ np.asarray(point)
    box = page.page.locator("canvas.clnb-canvas").first.bounding_box()
    return float(box["x"] + ball["cx"] + ball["r"] * x), float(box["y"] + ball["cy"] - ball["r"] * y)


def chosen(page, which=0):
    return page.page.locator(".clnb").nth(which).get_attribute("data-selected")


def test_hover_click_and_pictures(open_page, tmp_path):
    view = corners(columns={"score": np.arange(6) / 4, "file": [f"f{i}" for i in range(6)]})
    page = open_page(view.save(tmp_path / "s.html"))
    tip = page.page.locator(".clnb-tip")
    names = ("zero", "zero", EVIL)
    for row in range(3):
        x, y = spot(page, CORNERS[row])
        page.page.mouse.move(x - 3, y)
        page.page.mouse.move(x, y)
        wait(page, 400)
        text = tip.inner_text()
        assert f"row {row}\n" in text and f"label: {names[row]}" in text
        assert f"score: {row / 4:g}" in text and f"file: f{row}" in text and said(page)["row"] == str(row)
        shade = tip.locator("canvas").evaluate("e => e.getContext('2d').getImageData(0, 0, 1, 1).data[0]")
        assert shade == row
    page.page.mouse.click(*spot(page, CORNERS[1]))
    wait(page)
    assert chosen(page) == "1" and "1 selected" in root(page).inner_text()
    page.page.keyboard.down("Control")
    page.page.mouse.click(*spot(page, CORNERS[2]))
    page.page.keyboard.up("Control")
    wait(page)
    assert chosen(page) == "2"
    press(page, "Escape")
    assert chosen(page) == "0" and not page.page.evaluate("window.hacked") and not page.problems()


def test_dragging_turns_it_as_a_hand_would(open_page, tmp_path):
    page = open_page(corners().save(tmp_path / "s.html"))
    before = rotation(page)
    assert before == pytest.approx(np.eye(3))
    x, y = spot(page, [0, 0, 1])
    page.page.mouse.move(x, y)
    page.page.mouse.down()
    page.page.mouse.move(x + 60, y, steps=8)
    page.page.mouse.up()
    wait(page)
    ball = json.loads(said(page)["spheres"])[0]
    turned = rotation(page) @ [0, 0, 1]
    assert turned[0] == pytest.approx(np.sin(60 / ball["r"]), abs=0.05) and abs(turned[1]) < 1e-3
    page.page.mouse.move(x, y)
    page.page.mouse.down()
    page.page.mouse.move(x, y - 40, steps=8)
    page.page.mouse.up()
    wait(page)
    assert rotation(page) @ rotation(page).T == pytest.approx(np.eye(3), abs=1e-4)
    assert np.linalg.det(rotation(page)) == pytest.approx(1, abs=1e-3) and (rotation(page) @ [0, 0, 1])[1] > 0.2
    assert chosen(page) == "0"                               # a drag is no click
    page.page.get_by_role("button", name="turn back").click()
    wait(page)
    assert rotation(page) == pytest.approx(np.eye(3)) and not page.problems()


def test_keyboard(open_page, tmp_path):
    page = open_page(corners().save(tmp_path / "s.html"))
    press(page, *["ArrowRight"] * 12)
    assert rotation(page) @ [0, 0, 1] == pytest.approx([1, 0, 0], abs=1e-3)      # a quarter of a turn
    press(page, *["ArrowLeft"] * 12, *["ArrowUp"] * 12)
    assert rotation(page) @ [0, 0, 1] == pytest.approx([0, 1, 0], abs=1e-3)
    press(page, *["ArrowDown"] * 12, *[","] * 12)
    assert rotation(page) @ [1, 0, 0] == pytest.approx([0, 1, 0], abs=1e-3)
    press(page, "0", "+", "+", "-")
    assert rotation(page) == pytest.approx(np.eye(3)) and float(said(page)["zoom"]) == pytest.approx(1.15)
    seen = []
    for _ in range(6):
        press(page, "n")
        row = int(said(page)["row"])
        seen.append(row)
        assert rotation(page) @ CORNERS[row] == pytest.approx([0, 0, 1], abs=1e-2)       # it comes to the front
        assert f"row {row}" in page.page.locator(".clnb-tip").inner_text()
        assert f"row {row}" in page.page.locator("[role=status]").first.inner_text()
    assert seen == list(range(6))
    press(page, "p", "Enter")
    assert chosen(page) == "1" and said(page)["row"] == "4"
    press(page, "Escape")
    assert chosen(page) == "0" and said(page)["row"] == "" and not page.problems()


def test_boxes_select_on_both_sides_or_on_the_near_one(open_page, tmp_path):
    page = open_page(corners().save(tmp_path / "s.html"))

    def box():
        x, y = spot(page, [0, 0, 1])
        page.page.keyboard.down("Shift")
        page.page.mouse.move(x - 20, y - 20)
        page.page.mouse.down()
        page.page.mouse.move(x + 20, y + 20, steps=5)
        page.page.mouse.up()
        page.page.keyboard.up("Shift")
        wait(page)

    box()
    assert chosen(page) == "2" and rotation(page) == pytest.approx(np.eye(3))   # near and far; nothing turned
    page.page.get_by_label("far side").uncheck()
    box()
    assert chosen(page) == "1"
    page.page.get_by_label("far side").check()
    page.page.get_by_role("group", name="classes").get_by_role("button", name="zero").click()
    box()
    assert chosen(page) == "1" and not page.problems()       # the near one belongs to a class that is hidden


def test_several_spheres_turn_together_and_say_how_much_they_keep(open_page, tmp_path):
    x, label = cloud()
    view = Sphere({"SuperCon": x, EVIL: x[:, :3]}, label)
    page = open_page(view.save(tmp_path / "s.html"))
    balls = json.loads(said(page)["spheres"])
    assert [ball["name"] for ball in balls] == ["SuperCon", EVIL] and balls[0]["cx"] < balls[1]["cx"]
    assert balls[0]["share"] == pytest.approx(on_sphere(x).share) and balls[1]["share"] == 1
    words = page.page.get_by_role("list", name="spaces").inner_text()
    for s, name in enumerate(("SuperCon", EVIL)): assert f"{name}: {view.in_words(s)}" in words
    press(page, "n")
    for s in (0, 1):                                         # the same row is marked in both
        points = on_sphere(x if s == 0 else x[:, :3]).points
        page.page.mouse.move(*spot(page, points[20], s))
        wait(page)
        assert "row" in page.page.locator(".clnb-tip").inner_text()
    assert "SuperCon: " in page.page.locator(".clnb-tip").inner_text() and not page.problems()
    assert not page.page.evaluate("window.hacked")


def test_legend_hides_classes_and_columns_colour(open_page, tmp_path):
    x, label = cloud()
    label[5] = -1
    view = Sphere(x[:, :3], label, classes=("a", EVIL, "c"), columns={"score": x[:, 0], "group": label % 2})
    page = open_page(view.save(tmp_path / "s.html"))
    legend = page.page.get_by_role("group", name="classes")
    names = legend.get_by_role("button").all_inner_texts()
    sizes = [(label == k).sum() for k in range(3)]
    assert names == [f"a ({sizes[0]})", f"{EVIL} ({sizes[1]})", f"c ({sizes[2]})", "unknown (1)"]
    blue = """e => { const p = e.getContext('2d').getImageData(0, 0, e.width, e.height).data; let n = 0;
      for (let i = 0; i < p.length; i += 4) if (p[i + 3] && p[i] < 90 && p[i + 2] > 150) n++; return n; }"""
    canvas = page.page.locator("canvas.clnb-canvas")
    before = canvas.evaluate(blue)
    legend.get_by_role("button", name="a (").click()
    wait(page)
    assert canvas.evaluate(blue) < before / 5
    assert legend.get_by_role("button", name="a (").get_attribute("aria-pressed") == "false"
    page.page.get_by_label("colour").select_option("score")
    wait(page)
    assert legend.get_by_role("button").count() == 0 and "score" in legend.inner_text()
    page.page.get_by_label("colour").select_option("group")
    wait(page)
    assert legend.get_by_role("button").count() == 2 and said(page)["colour"] == "group" and not page.problems()


def history_of(steps=(0, 10, 20), d=3):
    x, _ = cloud(d=d)
    history = History()
    for step in steps: history.record(step, projection=x + step / 2)
    return history


def test_steps(open_page, tmp_path):
    view = Sphere(history_of(), cloud()[1])
    page = open_page(view.save(tmp_path / "s.html"))
    assert said(page)["step"] == "20"
    press(page, "ArrowRight")
    before = rotation(page)
    for k, step in enumerate((0, 10, 20)):
        page.set_range(page.page.get_by_label("step", exact=True), k)
        wait(page)
        assert said(page)["step"] == str(step) and f"step {step}" in root(page).inner_text()
        assert view.in_words(0, step) in page.page.get_by_role("list", name="spaces").inner_text()
    assert rotation(page) == pytest.approx(before) and not page.problems()
    page = open_page(Rewind(Sphere(history_of(), cloud()[1])).board().save(tmp_path / "board.html"))
    sliders = page.page.get_by_label("step", exact=True)
    assert sum(sliders.nth(i).is_visible() for i in range(sliders.count())) <= 1 and not page.problems()


def test_selection_is_shared(open_page, tmp_path):
    one, two = corners(), corners()
    page = open_page(Board([[one, two]]).save(tmp_path / "board.html"))
    page.page.mouse.click(*spot(page, CORNERS[0]))
    wait(page)
    assert chosen(page, 0) == chosen(page, 1) == "1" and not page.problems()


@pytest.mark.parametrize("source", [np.ones((1, 3)), np.zeros((5, 4)), np.ones((20, 2)), np.zeros((0, 3)), History()])
def test_little_data(source, open_page, tmp_path):
    page = open_page(Sphere(source).save(tmp_path / "s.html"))
    press(page, "n", "p", "ArrowLeft", "Enter", "+", "0", "Escape")
    canvas = page.page.locator("canvas.clnb-canvas")
    page.hover(canvas)
    canvas.click()
    if isinstance(source, History): assert "run.measure('projection', function)" in root(page).inner_text()
    assert page.painted() == 1 and not page.problems()


@pytest.mark.parametrize("width", [330, 500, 800, 1280])
def test_every_width_and_both_themes(width, chromium, tmp_path):
    x, label = cloud()
    path = Sphere({"first": x, "second": x, "third": x}, label, classes=("a", EVIL, "c")).save(tmp_path / "s.html")
    for sheet in in_both_themes(chromium, path, width):
        box = sheet.locator("canvas.clnb-canvas").bounding_box()
        for ball in json.loads(sheet.locator(".clnb").get_attribute("data-spheres")):
            assert ball["r"] > 60 and ball["r"] <= ball["cx"] <= box["width"] - ball["r"]
            assert ball["cy"] + ball["r"] <= box["height"]


LIVE = """
import torch
from clnb.run import History
from clnb.views.sphere import Sphere
history, labels = History(), torch.arange(60) % 3
images = torch.randint(0, 255, (60, 1, 8, 8), dtype=torch.uint8)
view = Sphere(history, labels, images)
def record(step): history.record(step, projection=torch.eye(3)[labels] + 0.1 * torch.randn(60, 3) + step)
"""


def test_live_beside_a_history(make_notebook):
    book = make_notebook(LIVE, "view").run_all()
    one = book.page.locator(".jp-Notebook .clnb").first
    one.wait_for(timeout=30_000)
    assert "waiting for 'projection'" in one.inner_text()
    for step in range(3): book.kernel(f"record({step})")
    book.page.wait_for_timeout(1500)
    assert one.get_attribute("data-step") == "2"
    one.focus()
    for key in ("ArrowRight", "n", "Enter"): book.page.keyboard.press(key)
    book.page.wait_for_timeout(1000)
    assert json.loads(book.kernel("print(view.selection.index.tolist())")) == [0]
    turned = json.loads(book.kernel("print(list(view.rotation))"))
    assert turned == pytest.approx(json.loads(one.get_attribute("data-rotation")), abs=1e-4)
    assert one.locator(".clnb-tip canvas").count() == 1
    book.kernel("view.selection.set([3, 4, 5])")
    book.page.wait_for_timeout(600)
    assert one.get_attribute("data-selected") == "3"
    book.shot("07q-live")
    book.check()


def test_the_notebook_draws_every_widget(open_notebook):
    book = open_notebook("07q_sphere").run_all()
    book.check()
