"""StyleSpace in a real browser: pages without a kernel, and live."""

import json

import numpy as np
import pytest
import torch
from onpage import button, canvas, in_both_themes, place, press, root, said, wait

from clnb.run import History
from clnb.views.segmentation import StyleSpace, changed, most_changed

EVIL = "<img src=x onerror=window.hacked=1>"


def tiles(n=12, size=16):
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def described(images):
    x = images.float() / 255
    parts = torch.cat([x, x.roll(1, 2) * x, (x - 0.5).abs(), x.roll(2, 3) * x], 1)
    return {"style": torch.cat([parts.mean((2, 3)), parts.var((2, 3))], 1), "pooled": x.mean((2, 3))}


def space(**more): return StyleSpace(tiles(), described, **{"labels": ["one", EVIL, "three"] * 4, **more})


def spot(page, tile, which=0):
    "Window coordinates of a tile's point."
    points = json.loads(canvas(page).get_attribute("data-places"))[which]
    return place(page, points[2 * tile], points[2 * tile + 1])


def move(page, name, k):
    page.set_range(page.page.get_by_label(name, exact=True), k)
    wait(page, 400)


def numbers(page): return [float(v) for v in said(page)["numbers"].split()]


def test_sliders_move_the_star(open_page, tmp_path):
    view = space()
    page = open_page(view.save(tmp_path / "s.html"))
    assert numbers(page) == pytest.approx(view.moved(0, [[2, 2, 0]])[0][0].tolist(), abs=1e-4)
    at = [2, 2, 0]
    for k, (name, value) in enumerate((("gain", 4), ("bias", 1), ("blur (pixels)", 2))):
        at[k] = value
        move(page, name, value)
        assert said(page)["at"] == ",".join(map(str, at))
        wanted, style = view.moved(0, [at])
        assert numbers(page) == pytest.approx(wanted[0].tolist(), abs=1e-4)
    text = root(page).inner_text()
    assert f"moved by {wanted[0, 2]:.2f} in style and {wanted[0, 5]:.2f} in pooled" in text
    assert "gain 1.7, bias -0.1, blur 2" in text
    channels = [int(c) for c in root(page).locator("canvas[data-channels]").get_attribute("data-channels").split()]
    assert channels == most_changed(view.known["style"][0], style[0]).tolist()
    before, after = (json.loads(canvas(page).get_attribute(f"data-{name}")) for name in ("places", "stars"))
    assert len(after) == 2 and after[0] != before[0][:2]
    button(page, "unchanged").click()
    wait(page)
    assert said(page)["at"] == "2,2,0" and numbers(page)[2] == 0 and not page.problems()
    assert page.page.evaluate("window.hacked") is None


def test_the_changed_tile_is_drawn(open_page, tmp_path):
    page = open_page(space().save(tmp_path / "s.html"))
    move(page, "gain", 3)
    move(page, "blur (pixels)", 1)
    shown = root(page).locator("figure canvas")
    script = "e => [...e.getContext('2d').getImageData(0, 0, e.width, e.height).data]"
    for k, image in enumerate((tiles()[0], changed(tiles()[:1], 1.3, 0.0, 1.0)[0])):
        found = np.array(shown.nth(k).evaluate(script)).reshape(16, 16, 4)[..., :3]
        assert np.abs(found - image.permute(1, 2, 0).numpy()).max() <= 1
    assert not page.problems()


def test_clicks_hover_and_keys(open_page, tmp_path):
    view = space(groups=np.arange(12) // 6)
    page = open_page(view.save(tmp_path / "s.html"))
    page.page.mouse.move(*spot(page, 4))
    wait(page)
    text = page.page.locator(".clnb-tip").first.inner_text()
    near = int(said(page)["cursor"])
    assert f"tile {near}" in text and f"label: {('one', EVIL, 'three')[near % 3]}" in text
    assert f"group: group {near // 6}" in text
    page.page.mouse.click(*spot(page, 4, 1))
    wait(page)
    assert said(page)["tile"] == said(page)["cursor"]
    page.page.keyboard.down("Control")
    page.page.mouse.click(*spot(page, 2))
    page.page.keyboard.up("Control")
    wait(page)
    assert said(page)["selected"] == "1"
    root(page).get_by_role("button", name="three").click()
    wait(page)
    assert said(page)["selected"] == "4"
    page.page.get_by_label("colour by").select_option("1")
    wait(page)
    assert said(page)["by"] == "1" and "group 1" in root(page).inner_text()
    press(page, "Escape")
    assert said(page)["selected"] == "0"
    before = int(said(page)["tile"])
    press(page, "ArrowRight")
    assert said(page)["tile"] == str((before + 1) % 12)
    press(page, "ArrowLeft", "ArrowLeft")
    assert said(page)["tile"] == str((before - 1) % 12)
    assert not page.problems() and page.page.evaluate("window.hacked") is None


def test_keys_move_sliders(open_page, tmp_path):
    page = open_page(space().save(tmp_path / "s.html"))
    press(page, "G", "G", "G", "h", "J", "J")
    assert said(page)["at"] == "4,1,2" and page.page.get_by_label("gain", exact=True).input_value() == "4"
    press(page, "g", "H", "j")
    assert said(page)["at"] == "3,2,1"
    press(page, "0")
    assert said(page)["at"] == "2,2,0" and not page.problems()


def test_a_page_carries_some_tiles(open_page, tmp_path):
    view = space(most=3)
    view.tile, view.at_change = 5, [0, 2, 1]
    page = open_page(view.save(tmp_path / "s.html"))
    assert said(page)["tile"] == "5" and said(page)["at"] == "0,2,1"
    assert numbers(page) == pytest.approx(view.moved(5, [[0, 2, 1]])[0][0].tolist(), abs=1e-4)
    press(page, "ArrowRight")
    assert said(page)["can"] == "false" and "this page carries changes of the tiles 5, 0, 1" in root(page).inner_text()
    assert page.page.get_by_label("gain", exact=True).is_disabled()
    press(page, "ArrowLeft")
    assert said(page)["can"] == "true" and not page.problems()


@pytest.mark.parametrize("case", ["arrays", "history", "empty", "one tile", "no labels", "many labels"])
def test_little_and_much(case, open_page, tmp_path):
    history = History()
    if case == "history":
        for step in (1, 2): history.record(step, **{name: x.numpy() * step for name, x in described(tiles()).items()})
    arrays = {name: x.numpy() for name, x in described(tiles()).items()}
    view = {"arrays": lambda: space(), "history": lambda: StyleSpace(tiles(), history),
            "empty": lambda: StyleSpace(tiles(), history), "one tile": lambda: StyleSpace(tiles(1), described),
            "no labels": lambda: StyleSpace(tiles(), described), "many labels": lambda: space(labels=range(12))}[case]()
    if case == "arrays": view = StyleSpace(tiles(), arrays)
    page = open_page(view.save(tmp_path / "s.html"))
    press(page, "ArrowRight", "G", "J", "0", "Escape")
    page.hover(canvas(page))
    text = root(page).inner_text()
    if case == "arrays": assert "tiles cannot be changed" in text
    if case == "history":
        move(page, "step", 0)
        assert said(page)["step"] == "1"
    if case == "empty": assert "waiting for 'style'" in text
    assert page.painted() >= 1 and not page.problems()


@pytest.mark.parametrize("width", [330, 800, 1280])
def test_every_width_and_both_themes(width, chromium, tmp_path):
    view = space(title="A rather long title of a space")
    view.at_change = [4, 3, 1]
    for sheet in in_both_themes(chromium, view.save(tmp_path / "s.html"), width):
        box = sheet.locator("canvas.clnb-canvas").bounding_box()
        for points in json.loads(sheet.locator("canvas.clnb-canvas").get_attribute("data-places")):
            assert all(0 <= x <= box["width"] for x in points[::2])
            assert all(0 <= y <= box["height"] for y in points[1::2])


@pytest.mark.timeout(600)
def test_live_in_a_notebook(make_notebook):
    book = make_notebook(
        "import torch\nfrom clnb.views.segmentation import StyleSpace\n"
        "x = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))\n"
        "def f(x):\n    x = x.float() / 255\n"
        "    return {'style': torch.cat([x.mean((2, 3)), x.var((2, 3))], 1), 'pooled': x.mean((2, 3))}\n"
        "view = StyleSpace(x, f)\nview")
    book.run_all()
    page = book.page
    main = page.locator(".clnb").first
    page.wait_for_function("document.querySelector('.clnb')?.dataset.moved?.length > 0", timeout=20000)
    page.get_by_label("gain", exact=True).fill("4")
    page.wait_for_function("document.querySelector('.clnb').dataset.moved.split(' ')[0] > 0.01", timeout=20000)
    wanted = book.kernel("print(*view.moved(0, [view.at_change])[0][0][[2, 5]], view.at_change)").split()
    assert wanted[2:] == ["[4,", "2,", "0]"]
    found = [float(v) for v in main.get_attribute("data-moved").split()]
    assert found == pytest.approx([*map(float, wanted[:2])], rel=1e-4)
    book.kernel("view.tile = 3")
    page.wait_for_function("document.querySelector('.clnb').dataset.tile === '3'", timeout=20000)
    book.check()
