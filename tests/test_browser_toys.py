"""Playgrounds of the toys in a real browser: pages without a kernel, and live in JupyterLab."""

import json

import numpy as np
import pytest

from clnb.views.toys import AugmentationPlayground, TwoLayerPlayground, collapsed

SMALL = {"steps": 60, "frames": 7, "batch": 32, "samples": 500}


def one(): return AugmentationPlayground((0.1, 1.0, 2.0), (4, 8), ("sqdist", "dot"), **SMALL)


def two(): return TwoLayerPlayground((0.2, 0.35), (1, 2, 3), (False, True), (0.05, 0.1), **SMALL)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder, views = tmp_path_factory.mktemp("toys"), {"one": one(), "two": two()}
    return {name: (view, view.save(folder / f"{name}.html")) for name, view in views.items()}


def said(page):
    found = page.page.locator(".clnb canvas").first.evaluate("e => ({...e.dataset})")
    return {name: value if name in ("note", "step") else json.loads(value) for name, value in found.items()}


def settle(page, time=200): page.page.wait_for_timeout(time)


def text(page): return page.page.locator(".clnb").first.inner_text()


def test_the_page_shows_what_python_has_computed(pages, open_page):
    view, path = pages["one"]
    page, record = open_page(path), view.now()
    for key, times in (("Home", 0), ("ArrowRight", 2), ("End", 6)):
        page.page.locator(".clnb").focus()
        for _ in range(2 if key == "ArrowRight" else 1): page.page.keyboard.press(key)
        settle(page)
        now = said(page)
        assert int(now["step"]) == view.moments[times]
        for name in ("sigma", "x", "s0", "s1"): assert np.allclose(now[name], record[name][times], atol=1e-7)
        assert now["collapsed"] == collapsed(record["sigma"][times], 8)
        assert now["negative"] == (record["x"][times] < 0).sum()
        assert f"{now['collapsed']} of 16 directions of W collapsed" in text(page)
        assert f"step {view.moments[times]} of 60" in page.page.locator("canvas").get_attribute("aria-label")
    assert page.painted() == 1 and not page.problems()


def test_sliders_move_through_the_sweep_and_snap_to_what_the_page_carries(pages, open_page):
    view, path = pages["one"]
    page = open_page(path)
    noise, noisy = (page.page.get_by_role("slider", name=name) for name in ("noise amplitude", "noisy dimensions"))
    page.set_range(noise, 2)
    assert said(page)["shown"] == [2, 1, 0] and noise.get_attribute("aria-valuetext") == "2" and not said(page)["note"]
    assert np.allclose(said(page)["sigma"], view.records[2, 1, 0]["sigma"][-1], atol=1e-7)
    page.set_range(noisy, 0)            # noise 2 on 4 dimensions is not there
    now = said(page)
    assert now["shown"] == [1, 0, 0] == now["wanted"] and "This page carries no run" in now["note"]
    assert now["note"] in text(page) and noise.input_value() == "1" and noise.get_attribute("aria-valuetext") == "1"
    page.page.get_by_role("combobox", name="loss").select_option("dot")
    assert (settle(page), said(page)["shown"])[1] == [1, 1, 1]
    noise.focus()
    page.page.keyboard.press("ArrowLeft")
    settle(page)
    assert said(page)["shown"] == [0, 1, 0] and not page.problems()


def test_overview_marks_the_setting_and_a_click_chooses(pages, open_page):
    view, path = pages["one"]
    page = open_page(path)
    canvas, room = page.page.locator("canvas"), said(page)["overview"]
    assert room["along"] == "noise"
    for i in range(3): assert np.allclose(room["ends"][i], view.records[i, 1, 0]["sigma"][-1], atol=1e-7)
    spot = {"x": room["left"] + 2.5 * room["width"], "y": room["top"] + 10}
    canvas.hover(position=spot)
    settle(page)
    assert "noise amplitude 2" in page.page.get_by_role("tooltip").inner_text()
    canvas.click(position=spot)
    settle(page)
    assert said(page)["shown"] == [2, 1, 0] and not page.problems()


def test_hover_tells_numbers(pages, open_page):
    view, path = pages["one"]
    page, record = open_page(path), view.now()
    canvas, tip = page.page.locator("canvas"), page.page.get_by_role("tooltip")
    page.hover(canvas, 0.047, 0.5)
    assert f"{record['sigma'][-1, 0]:.3g}" in tip.inner_text() and "on noisy coordinates" in tip.inner_text()
    page.hover(canvas, 0.735, 0.5)      # the last eigenvalue of X
    assert "of X" in tip.inner_text() and "S₀ gives" in tip.inner_text()
    page.page.locator(".clnb").focus()
    page.page.keyboard.press("ArrowDown")
    settle(page)
    assert said(page)["rank"] == 0
    told = page.page.locator("[role=status]").all_inner_texts()
    assert any(line.startswith("rank 1: singular value of W") for line in told)
    page.page.keyboard.press("Escape")
    settle(page)
    assert said(page)["rank"] == -1 and not page.problems()


def test_play_goes_through_all_steps_and_stops(pages, open_page):
    view, path = pages["two"]
    page = open_page(path)
    page.page.locator(".clnb").focus()
    page.page.keyboard.press("Home")
    settle(page)
    assert said(page)["step"] == "0"
    page.page.get_by_role("button", name="play").click()
    seen = set()
    for _ in range(40):
        seen.add(int(said(page)["step"]))
        settle(page, 50)
    assert len(seen) >= 5 and seen <= set(view.moments) and said(page)["step"] == "60"
    assert page.page.get_by_role("button", name="play").is_visible() and not page.problems()


def test_alignment_trajectories_and_growth_are_those_of_python(pages, open_page):
    view, path = pages["two"]
    page, record = open_page(path), view.now()
    now = said(page)
    assert np.allclose(now["diagonal"], np.diagonal(record["a"][-1]), atol=1e-6)
    for name in ("s", "spectrum"): assert np.allclose(now[name], record[name][-1], atol=1e-6)
    ahead = np.array([[np.nan if v is None else v for v in line] for line in now["ahead"]])
    assert np.allclose(ahead.T, record["ahead"][:, 0], rtol=1e-4, equal_nan=True)
    share = record["spectrum"][-1].astype(float) / record["spectrum"][-1].sum()
    assert now["effective"] == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-4)
    page.page.get_by_role("combobox", name="dashed").select_option("closed form from this step on")
    page.page.locator(".clnb").focus()
    for key in ("Home", "ArrowRight", "ArrowRight"): page.page.keyboard.press(key)
    settle(page)
    ahead, k = said(page)["ahead"], 2
    for i in range(16):
        if record["meets"][k, i] < 0.9: assert ahead[i] == [None] * 7
        else:
            s, c = record["s"][k, :, i].prod() ** 0.5, record["c"][k, i]
            t = record["rate"][k] * (np.array(view.moments) - view.moments[k])
            with np.errstate(all="ignore"): wanted = s / np.sqrt(1 - 2 * c * s * s * t)
            wanted[:k] = np.nan
            found = np.array([np.nan if v is None else v for v in ahead[i]])
            assert np.allclose(found, wanted, rtol=1e-3, equal_nan=True)
    page.page.get_by_role("combobox", name="dashed").select_option("none")
    settle(page)
    assert said(page)["ahead"] == [] and not page.problems()


def test_one_layer_and_relu_say_why(pages, open_page):
    page = open_page(pages["two"][1])
    layers = page.page.get_by_role("slider", name="layers L")
    relu = page.page.get_by_role("checkbox", name="ReLU between layers")
    assert said(page)["why"] == ""
    page.set_range(layers, 0)
    assert said(page)["layers"] == 1 and said(page)["diagonal"] == [] and "no |A|" in text(page)
    assert len(said(page)["ahead"]) == 16
    page.set_range(layers, 2)
    assert len(said(page)["s"]) == 3
    page.set_range(layers, 1)
    relu.check()
    settle(page)
    assert "no closed form" in text(page) and said(page)["ahead"] == [] and len(said(page)["diagonal"]) == 16
    page.hover(page.page.locator("canvas"), 0.1, 0.5)
    assert "|A| =" in page.page.get_by_role("tooltip").inner_text()
    page.hover(page.page.locator("canvas"), 0.5, 0.5)
    assert "direction" in page.page.get_by_role("tooltip").inner_text() and not page.problems()


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize("scheme,width", [("light", 500), ("dark", 820), ("dark", 1280)])
def test_every_width_and_theme_is_painted(name, scheme, width, pages, open_page):
    page = open_page(pages[name][1])
    page.page.emulate_media(color_scheme=scheme)
    page.page.set_viewport_size({"width": width, "height": 1000})
    settle(page, 700)
    assert page.painted() == 1 and not page.problems()
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    height = page.page.locator("canvas").bounding_box()["height"]
    assert (height > 500) == (width < 760)


def test_live_a_new_setting_is_integrated_while_the_nearest_is_shown(make_notebook):
    book = make_notebook(
        "from clnb.views.toys import AugmentationPlayground\n"
        f"view = AugmentationPlayground((0.1, 1.0, 2.0), (4, 8), ('sqdist', 'dot'), **{SMALL})", "view  # shown")
    book.run_all()
    area = book.widget("view  # shown")
    canvas = area.locator("canvas")

    def now(): return canvas.evaluate("e => { const {shown, wanted, known, note} = e.dataset; "
                                      "return {shown, wanted, known: +known, note}; }")

    def until(test): book.page.wait_for_function(test, arg=canvas.element_handle(), timeout=30_000)

    assert now()["shown"] == "[1,1,0]"
    noise, noisy = (area.get_by_role("slider", name=name) for name in ("noise amplitude", "noisy dimensions"))
    book.kernel("import time; slow = view.integrate; view.integrate = lambda *a: (time.sleep(1.5), slow(*a))[1]")
    book.set_range(noisy, 0)
    assert now()["shown"] == "[1,0,0]" and not now()["note"]
    book.set_range(noise, 2)
    assert now()["wanted"] == "[2,0,0]" and now()["shown"] == "[2,1,0]" and "Integrating" in now()["note"]
    until("e => e.dataset.shown === '[2,0,0]' && !e.dataset.note")
    assert now()["known"] == 7 and json.loads(book.kernel("import json; print(json.dumps(view.wanted))")) == [2, 0, 0]
    sigma = json.loads(book.kernel("print(view.now()['sigma'][-1].tolist())"))
    assert np.allclose(json.loads(canvas.get_attribute("data-sigma")), sigma, atol=1e-6)
    book.kernel("view.choose(noise=0.1, loss='dot')")
    until("e => e.dataset.shown === '[0,0,1]'")
    assert noise.input_value() == "0" and area.get_by_role("combobox", name="loss").input_value() == "dot"
    book.check()
