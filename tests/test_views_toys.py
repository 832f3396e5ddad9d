"""Playgrounds of the toys, the Python side: sweeps, records, growth, and what a page carries."""

import json
import threading
import time

import numpy as np
import pytest
import torch

from clnb import toys
from clnb.core import Picture
from clnb.views import toys as views
from clnb.views.toys import AugmentationPlayground, TwoLayerPlayground, aligned_from, aligned_growth, collapsed, early

SMALL = {"steps": 60, "frames": 7, "batch": 32, "samples": 500}


def one(**more):
    return AugmentationPlayground((0.1, 1.0, 2.0), (4, 8), ("sqdist", "dot"), **{**SMALL, **more})


def two(**more):
    return TwoLayerPlayground((0.2, 0.35), (1, 2, 3), (False, True), (0.02, 0.05), **{**SMALL, **more})


@pytest.fixture(scope="module")
def augmentation(): return one()


@pytest.fixture(scope="module")
def layered(): return two()


def test_every_slider_is_swept_at_the_start_and_nothing_else(augmentation, layered):
    assert augmentation.settings == {"noise": 1.0, "noisy": 8, "loss": "sqdist"}
    assert set(augmentation.records) == {(i, 1, 0) for i in range(3)} | {(1, 0, 0), (1, 1, 1)} | {(1, 1, 0)}
    at = tuple(layered.options["start"])
    expected = {(*at[:a], i, *at[a + 1:]) for a, n in enumerate((2, 3, 2, 2)) for i in range(n)}
    assert set(layered.records) == expected
    assert set(augmentation.carried) == {",".join(map(str, key)) for key in augmentation.records}
    assert list(augmentation.moments) == list(augmentation.recorded()) and augmentation.moments[-1] == 60


def test_records_are_those_of_a_run_of_its_own(augmentation):
    toy = toys.linear_toy(2.0, 8, loss="sqdist", rate=0.1, **{**SMALL, "frames": 35}).at()
    record = augmentation.records[augmentation.key({"noise": 2.0, "noisy": 8, "loss": "sqdist"})]
    keep = early(len(toy.steps), 7)
    assert np.allclose(record["sigma"], toy.singular_values()[keep, 0], rtol=1e-4, atol=1e-5, equal_nan=True)
    for name in ("x", "s0", "s1"):
        assert np.allclose(record[name], toy.eigenvalues(name)[keep], rtol=1e-3, atol=1e-6, equal_nan=True)


def test_parts_and_shares_of_the_eigenvectors_of_x():
    toy = toys.linear_toy(1.0, 5, steps=10, frames=3, batch=32, samples=500, dim=8).at()
    found = views.cause(toy, torch.tensor(5))
    for t in range(3):
        values, u = np.linalg.eigh(toy.x[t].numpy())
        part = np.diag(u.T @ toy.s0[t].numpy() @ u)[::-1]
        assert np.allclose(found["x"][t], values[::-1]) and np.allclose(found["part"][t], part)
        assert np.allclose(part - np.diag(u.T @ toy.s1[t].numpy() @ u)[::-1], values[::-1])
        assert np.allclose(found["xshare"][t], (u[3:] ** 2).sum(0)[::-1])
        vh = np.linalg.svd(toy.weights[t, 0].numpy())[2]
        assert np.allclose(found["share"][t], (vh[:, 3:] ** 2).sum(1))


@pytest.mark.parametrize("count,frames", [(5, 10), (101, 41), (201, 41), (60, 60), (1000, 2)])
def test_moments_are_few_early_and_keep_both_ends(count, frames):
    found = early(count, frames)
    assert found[0] == 0 and found[-1] == count - 1 and len(found) <= frames and found == sorted(set(found))
    assert np.diff(found)[0] <= np.diff(found)[-1]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_growth_is_that_of_the_aligned_equations(layers):
    t, h = np.linspace(0, 0.1, 4001), 0.1 / 4000
    s = np.empty((4001, layers, 3))
    s[0] = 1 + 0.1 * np.arange(layers)[:, None] - 0.3 * np.arange(3)
    c = 1 + 0.5 * np.sin(5 * t)[:, None] * np.ones(3)
    for k in range(4000):
        others = np.stack([np.delete(s[k], layer, 0).prod(0) ** 2 for layer in range(layers)])
        s[k + 1] = s[k] + h * c[k] * s[k] * others
    grown = aligned_growth(s, c, t, np.array([0, 1000, 4001]))
    assert np.allclose(grown[:, :, 0], s[:, :, 0], rtol=2e-3)
    assert np.isnan(grown[:1000, :, 1]).all() and np.allclose(grown[1000:, :, 1], s[1000:, :, 1], rtol=2e-3)
    assert np.isnan(grown[:, :, 2]).all()


def test_aligned_from_asks_for_the_rest_of_the_run():
    assert aligned_from(np.array([[1, 1, 0.0], [0.2, 1, 1], [1, 1, 0.89]])).tolist() == [2, 0, 3]


def test_measured_growth_lies_on_the_trajectory_where_layers_are_aligned():
    record = TwoLayerPlayground(0.35, 2, False, 0.1, steps=1000).now()
    strong = np.flatnonzero(record["s"][-1, 0] > 1)
    assert len(strong) >= 3
    ratio = record["ahead"][-1, 0, strong] / record["s"][-1, 0, strong]
    assert np.nanmax(np.abs(np.log(ratio))) < 0.15 and np.isfinite(ratio).sum() >= 3
    assert (np.diagonal(record["a"][-1])[strong] > 0.95).all()


def test_collapsed_counts_against_the_clean_half():
    assert collapsed(np.array([[4, 4, 1.9, 0], [4, 4, 2.1, 2]]), 2).tolist() == [2, 0]
    assert collapsed(np.array([4, 3, 1, 1.0]), 0) == 2


def test_a_run_without_closed_form_or_alignment_says_why(layered):
    assert not views.reason(2, False)
    assert "second matrix" in views.reason(1, False) and "ReLU" in views.reason(3, True)
    first = layered.choose(layers=1, relu=False)
    assert "a" not in first.now() and "ahead" in first.now() and "no |A|" in first.why()
    rectified = layered.choose(layers=2, relu=True)
    assert "a" in rectified.now() and "ahead" not in rectified.now() and "closed form" in rectified.why()
    layered.choose(layers=2, relu=False)


def test_choosing_what_is_not_there_integrates_the_sweep(augmentation):
    view = one()
    before = len(view.records)
    view.choose(noise=0.1, noisy=4)
    assert view.settings["noisy"] == 4 and len(view.records) > before
    assert {(i, 0, 0) for i in range(3)} <= set(view.records) and list(view.wanted) == [0, 0, 0]
    for wrong, said in (({"noise": 7}, "noise is one of 0.1, 1.0, 2.0; got 7"),
                        ({"colour": 1}, "the sliders are noise, noisy, loss")):
        with pytest.raises(ValueError, match=said): view.choose(**wrong)
    assert len(view.complete().records) == 12 and len(view.carried) == 12


@pytest.mark.parametrize("wrong,said", [
    ({"noise": ()}, "at least one value"), ({"frames": 1}, "between 2 and 60"), ({"noisy": 17}, "noisy must lie in"),
    ({"start": {"noise": 9.0}}, "noise is one of"), ({"start": {"rate": 9.0}}, "start names rate"),
    ({"loss": "l2"}, "l2")])
def test_wrong_arguments_are_named(wrong, said):
    given = {"noise": 1.0, "noisy": 8, "loss": "sqdist", **SMALL, **wrong}
    with pytest.raises(ValueError, match=said): AugmentationPlayground(**given)


def test_the_kernel_answers_at_once_and_integrates_beside(monkeypatch):
    view, sent, gate = one(), [], threading.Event()
    monkeypatch.setattr(view, "send", lambda content, buffers=None: sent.append((content, buffers)))
    integrate = view.integrate
    monkeypatch.setattr(view, "integrate", lambda *a: (gate.wait(20), integrate(*a))[1])
    known = view.answer({"ask": "sweep", "along": "noise", "key": [1, 1, 0]})
    assert set(known["records"]) == {"0,1,0", "1,1,0", "2,1,0"}
    for _ in range(3): assert view.answer({"ask": "sweep", "along": "noise", "key": [0, 0, 0]}) == {"pending": True}
    assert not sent
    gate.set()
    end = time.monotonic() + 30
    while not sent and time.monotonic() < end: time.sleep(0.02)
    content, buffers = sent[0]
    assert content["computed"] and set(content["records"]) == {"0,0,0", "1,0,0", "2,0,0"}
    packed = content["records"]["0,0,0"]["sigma"]
    arrived = np.frombuffer(buffers[packed["bytes"]], "<f4").reshape(packed["shape"])
    assert np.array_equal(arrived, view.records[0, 0, 0]["sigma"])
    assert set(view.answer({"ask": "known", "have": ["0,0,0"]})["records"]) == {
        ",".join(map(str, key)) for key in view.records} - {"0,0,0"}
    for along, key in (("colour", [0, 0, 0]), ("noise", [0, 0]), ("noise", [0, 0, 5])):
        wrong = {"along": along, "key": key}
        with pytest.raises(ValueError): view.answer({"ask": "sweep", **wrong})
    view.close()


def test_a_fault_of_the_integration_reaches_the_page(monkeypatch):
    view, sent = one(), []
    monkeypatch.setattr(view, "send", lambda content, buffers=None: sent.append(content))
    monkeypatch.setattr(view, "run", lambda values: 1 / 0)
    view.answer({"ask": "sweep", "along": "noise", "key": [0, 0, 0]})
    end = time.monotonic() + 20
    while not sent and time.monotonic() < end: time.sleep(0.02)
    assert "ZeroDivisionError" in sent[0]["fault"]


def test_a_ready_made_toy_is_shown_with_all_its_axes():
    toy = toys.linear_toy((0.5, 2.0), (4, 8), seed=(0, 1), steps=40, frames=101, batch=32, samples=500)
    view = AugmentationPlayground(toy=toy, frames=9, start={"seed": 1})
    assert len(view.records) == 8 and view.settings["seed"] == 1 and view.settings["loss"] == "sqdist"
    view.choose(noise=0.5, noisy=4, seed=0)
    wanted = toy.at(noise=0.5, noisy=4, seed=0).singular_values()[-1, 0]
    assert np.allclose(view.now()["sigma"][-1], wanted, rtol=1e-4) and len(view.recorded()) <= 9
    deep = toys.two_layer_toy(layers=(1, 2), relu=(False, True), rate=(0.02, 0.05), steps=20, frames=5, batch=32,
                              samples=500)
    view = TwoLayerPlayground(toy=deep)
    assert len(view.records) == 8 and view.choose(layers=1).now()["s"].shape == (5, 1, 16)
    single = TwoLayerPlayground(toy=deep.at(layers=2, relu=False, rate=0.05))
    assert len(single.records) == 1 and single.now()["a"].shape == (5, 16, 16)


@pytest.mark.filterwarnings("ignore:the toy")
def test_a_diverged_run_is_kept_as_it_is():
    view = AugmentationPlayground(3.0, 8, "dot", rate=1.0, **SMALL)
    assert np.isnan(view.now()["loss"][-1]) and np.isnan(view.now()["sigma"][-1]).all()
    assert np.isfinite(view.now()["sigma"][0]).all() and view.static()._repr_png_()


@pytest.mark.parametrize("make", [one, two])
def test_pictures_and_pages(make, tmp_path):
    view = make()
    assert isinstance(view.static(), Picture) and isinstance(view.static(0), Picture)
    part = view.part()
    assert part["name"] == "toys" and len(part["state"]["frames"]) == len(view.recorded())
    assert part["state"]["steps"] == list(view.moments) == part["state"]["moments"]
    html = view.save(tmp_path / "view.html").read_text()
    assert len(html) < 2e6 and "clnb-page" in html
    json.dumps(part["state"]["options"])
    assert view.seek(0).frame["step"] == 0 and view.frame["note"] == ""
