"""Live views and playgrounds, the Python side: numbers, bounds, states of the panel, texts that stay text."""

import gc
import math
import threading
import time
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clnb import losses, metrics
from clnb.core import Picture
from clnb.run import History
from clnb.views import Circle, CollapseMonitor, Controls, Curves, NegativeWeights, Spectrum
from clnb.views.base import pixels
from clnb.views.live import (
    allowed,
    by_moments,
    decimate,
    directions,
    ends_of,
    exactly,
    loss_at,
    matrix,
    reading,
    smoothed,
    spectrum_of,
)
from clnb.views.playgrounds import LOSSES, circle_forces, negative_weights

EVIL = "<img src=x onerror=alert(1)></script>"


def losing(steps=100, **extra):
    history = History()
    for step in range(1, steps + 1):
        history.record(step, loss=6.0 - step / steps, **{"loss.chance": 6.0, "loss.floor": 1.0}, **extra)
    return history


@given(st.integers(0, 30_000), st.integers(0, 10_000), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_decimation_keeps_extremes_gaps_and_ends(count, gaps, seed):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(count)
    if count: values[rng.integers(0, count, min(gaps, count) // 7)] = np.nan
    kept = decimate(np.arange(count), values)
    assert len(kept["values"]) <= 2000 and np.all(np.diff(kept["steps"]) > 0)
    assert np.array_equal(kept["values"], values[kept["steps"]], equal_nan=True)
    if count: assert kept["steps"][0] == 0 and kept["steps"][-1] == count - 1
    if np.isfinite(values).any():
        assert np.nanmax(kept["values"]) == np.nanmax(values) and np.nanmin(kept["values"]) == np.nanmin(values)
        assert np.isnan(values).any() == np.isnan(kept["values"]).any()


def test_decimated_means_weigh_every_record_once():
    values = np.random.default_rng(0).standard_normal(12_345)
    kept = decimate(np.arange(len(values)), values)
    assert kept["weights"].sum() == pytest.approx(len(values))
    assert (kept["weights"] * kept["means"]).sum() == pytest.approx(values.sum())


def test_smoothing_is_the_debiased_mean():
    values, beta, total = np.random.default_rng(0).standard_normal(50), 1 - 1 / 8, 0.0
    for t, value in enumerate(values, 1):
        total = beta * total + (1 - beta) * value
        assert smoothed(values, 8)[t - 1] == pytest.approx(total / (1 - beta**t))


def test_curves_send_panels_bounds_marks_and_a_sentence():
    history = losing(5000, learned_fraction=0.5, knn=0.3)
    history.mark(50, EVIL)
    frame = Curves(history).picture(-1)
    assert [line["panel"] for line in frame["lines"]] == ["loss", "learned fraction", "knn"]
    assert [guide["text"] for guide in frame["lines"][0]["guides"]] == ["chance", "best possible"]
    assert all(line["values"]["shape"][0] <= 2000 for line in frame["lines"])
    assert frame["marks"] == [{"step": 50, "text": EVIL}] and "of the way" in frame["reading"]
    assert "learned fraction" not in [line["panel"] for line in Curves(history, fraction=False).picture(-1)["lines"]]
    assert [line["panel"] for line in Curves(history, names="knn", fraction=False).picture(-1)["lines"]] == ["knn"]


def test_the_sentence_names_chance_and_not_a_number():
    history = History()
    for step in range(1, 60): history.record(step, loss=6.9, **{"loss.chance": 6.93, "loss.floor": 0.1})
    assert "at chance (6.93)" in reading(history)
    for step in (60, 61): history.record(step, loss=math.nan)
    assert "not a number since step 60" in reading(history)
    assert reading(History()) == ""


@pytest.mark.parametrize("make", [lambda: Curves(History()), lambda: Spectrum(History()),
                                  lambda: CollapseMonitor(History()),
                                  lambda: Curves({EVIL: losing(), "b": losing()}), Circle, NegativeWeights])
def test_every_view_has_a_picture_and_a_page(make, tmp_path):
    view = make()
    assert isinstance(view.static(), Picture) and view.static()._repr_png_()[:4] == b"\x89PNG"
    assert "error" not in view.frame
    text = view.save(tmp_path / "view.html").read_text("utf-8")
    assert EVIL not in text and "http://" not in text and "https://" not in text and "<iframe" in view.to_html()
    view.close()


def test_spectrum_numbers_are_those_of_metrics():
    z = torch.randn(200, 24, generator=torch.Generator().manual_seed(0)) + 3
    found = spectrum_of(z.numpy())
    assert np.array_equal(found["values"], metrics.singular_values(z).numpy())
    assert found["RankMe"] == float(metrics.rank_me(z))
    assert found["participation ratio"] == float(metrics.participation_ratio(z))
    assert found["effective rank"] == float(metrics.effective_rank(metrics.singular_values(z)))
    assert "rank 0" in spectrum_of(np.ones((9, 4)))["text"]
    assert "not finite" in spectrum_of(np.full((9, 4), np.nan))["text"]


@pytest.mark.parametrize("shift", [0, 1, 300])
def test_many_rows_have_the_spectrum_of_the_decomposition(shift):
    z = torch.randn(20_000, 24, generator=torch.Generator().manual_seed(0)) * 10 ** -torch.linspace(0, 4, 24) + shift
    (exact_s, exact_n), (s, n) = exactly(z.double()), by_moments(z)
    assert np.allclose(s, exact_s, rtol=1e-4, atol=1e-7 * max(shift, 1) * len(z) ** 0.5)
    assert n == {name: pytest.approx(value, rel=1e-3) for name, value in exact_n.items()}
    assert by_moments(torch.ones(50, 3))[1] == {} and by_moments(torch.zeros(50, 3))[1] == {}
    wide = torch.randn(60_000, 64, generator=torch.Generator().manual_seed(1))       # takes this way by itself
    assert np.array_equal(spectrum_of(wide)["values"], by_moments(matrix(wide))[0])


def test_pixels_are_bytes_of_the_right_shape():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (5, 3, 20, 40), dtype=np.uint8)
    assert np.array_equal(pixels(x, [3, 1]), x[[3, 1]])
    assert np.array_equal(pixels(x.transpose(0, 2, 3, 1), [2]), x[[2]])
    assert np.array_equal(pixels(torch.as_tensor(x) / 255, [2]), x[[2]])
    assert np.array_equal(pixels(x[:, 0], [0]), x[:1, :1])
    halved = pixels(x, [0], 20)[0]
    assert np.abs(halved - x[0].reshape(3, 10, 2, 20, 2).mean((2, 4))).max() <= 0.5 and halved.dtype == np.uint8
    with pytest.raises(ValueError, match=r"images have the shape \[N, C, H, W\]"): pixels(np.zeros((3, 4)), [0])


def test_spectrum_walks_over_the_recorded_steps():
    history = History()
    for step in (0, 10, 20): history.record(step, embedding=np.random.default_rng(step).standard_normal((50, 8)))
    history.record(10, projection=np.eye(5))
    view = Spectrum(history)
    assert view.steps == [0, 10, 20] and len(view.picture(0)["lines"]) == 1 and len(view.picture(-1)["lines"]) == 2
    assert len(Spectrum({"a": np.eye(4), "b": torch.eye(5)}).frame["lines"]) == 2
    assert len(Spectrum({"x": history, "y": history}).frame["lines"]) == 4


def exact(z):
    "Directions by a full singular value decomposition in double precision, signs left as they fall."
    x = np.asarray(z, np.float64) - np.asarray(z, np.float64).mean(0)
    _, s, vh = np.linalg.svd(x, full_matrices=False)
    return x, s, vh


@pytest.mark.parametrize("shape", [(200, 24), (24, 200), (30, 30), (5, 2), (2, 7)])
def test_directions_are_the_right_singular_vectors(shape):
    z = np.random.default_rng(3).standard_normal(shape).astype(np.float32) * np.linspace(3, 1, shape[1]) + 5
    found, (x, s, vh) = directions(z, 10), exact(z.astype(np.float32))
    k = min(10, *shape)
    assert found.values.shape == (k,) and found.coordinates.shape == (shape[0], k)
    assert np.allclose(found.values, s[:k], rtol=1e-6, atol=1e-6 * s[0])
    assert np.allclose(found.shares, s[:k] ** 2 / (s**2).sum(), atol=1e-9)
    real = s[:k] > 1e-6 * s[0]
    assert np.allclose(np.abs((found.vectors * vh[:k].T).sum(0))[real], 1, atol=1e-6)
    assert np.allclose(found.coordinates, x @ found.vectors, atol=1e-5)
    assert np.isfinite(found.vectors).all() and np.all(found.vectors[:, ~real] == 0)


@given(st.integers(0, 2**31), st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_the_sign_depends_on_the_coordinates_alone(seed, factor):
    rng = np.random.default_rng(seed)
    z = (rng.standard_normal((60, 6)) ** 3) * 2.0 ** -np.arange(6)
    first, order, turn = directions(z), rng.permutation(60), np.linalg.qr(rng.standard_normal((6, 6)))[0]
    assert np.all((first.coordinates**3).sum(0) > 0)
    for other, expected in ((directions(z @ turn * factor + 7), first.coordinates * factor),
                            (directions(-z), first.coordinates), (directions(z[order]), first.coordinates[order])):
        assert np.allclose(other.coordinates, expected, atol=1e-4 * np.abs(expected).max())
    even = np.array([[3.0, 0], [-3, 0], [1, 0], [-1, 0]])      # no longer tail: the first far row is high
    assert directions(even).coordinates[0, 0] > 0 > directions(even[[1, 0, 2, 3]] * -1).coordinates[1, 0]


def test_the_ends_are_the_lowest_and_the_highest_rows():
    x = np.random.default_rng(0).standard_normal((50, 4))
    rows = ends_of(x, 8)
    for k in range(4):
        order = np.argsort(x[:, k])
        assert rows[k].tolist() == [*order[:8], *order[-8:]]
    assert ends_of(x[:3], 8).shape == (4, 2) and ends_of(x[:1], 8).shape == (4, 0)
    assert directions(np.ones((5, 3))).shares.tolist() == [0, 0, 0]


def two_groups():
    "An embedding whose first direction separates two groups, with images and labels."
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    z = rng.standard_normal((60, 12)) + np.outer(labels * 20, np.eye(12)[3])
    return z, labels, rng.integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)


def array(part):
    return np.frombuffer(part["bytes"], part["dtype"]).reshape(part["shape"])


def test_spectrum_sends_the_ends_with_coordinates_and_labels():
    z, labels, images = two_groups()
    history = History()
    for step in (0, 10): history.record(step, embedding=z * (1 - step / 5))        # mirrored at step 10
    view = Spectrum(history, images=images, labels=labels, classes=["a", EVIL])
    ends = [view.picture(k)["lines"][0]["ends"] for k in (0, -1)]
    x, _, vh = exact(z)
    order = np.argsort(x @ vh[0] * np.sign(((x @ vh[0]) ** 3).sum()))
    assert array(ends[0]["rows"]).shape == (12, 16) and array(ends[0]["rows"])[0].tolist() == [*order[:8], *order[-8:]]
    assert np.array_equal(array(ends[0]["rows"])[0], array(ends[1]["rows"])[0])
    assert np.all(np.diff(array(ends[0]["coordinates"])[:, :8]) >= 0)
    assert len(set(labels[array(ends[0]["rows"])[0][:8]])) == 1
    assert np.array_equal(array(ends[0]["labels"]), labels[array(ends[0]["rows"])])
    assert np.array_equal(array(view.answer({"ask": "images", "rows": [5, 2]})["images"]), images[[5, 2]])
    assert "20 images" in Spectrum({"z": z}, images=images[:20]).frame["lines"][0]["ends"]["why"]
    assert "ends" not in Spectrum({"z": z}).frame["lines"][0]
    assert isinstance(view.static(), Picture) and EVIL not in view.page()


def test_ends_are_computed_when_first_asked_for():
    wide = Spectrum({"z": np.random.default_rng(0).standard_normal((90, 50))})
    wide.answer({"ask": "ends", "direction": 40})
    assert "ends" not in wide.frame["lines"][0]            # not in the kernel's message thread
    wide.follow()
    assert wide.frame["lines"][0]["ends"]["rows"]["shape"] == [41, 16]


def test_the_selection_has_a_spectrum_of_its_own():
    z, _, _ = two_groups()
    view = Spectrum({"z": z, "short": z[:10]})
    for rows, counts in (([3], [None, None]), ([3, 50], [2, None]), (range(5, 45), [40, 5]), ([], [None, None])):
        view.selection.set(rows)
        view.follow()
        parts = [line.get("selected") for line in view.frame["lines"]]
        assert [part and part["count"] for part in parts] == counts
    view.selection.set(range(5, 45))
    view.follow()
    part = view.frame["lines"][0]["selected"]
    assert np.allclose(array(part["values"]), exact(z[5:45])[1], rtol=1e-5) and "40 × 12" in part["text"]
    assert view.frame["chosen"] == [40, sum(range(5, 45)), sum(i * i for i in range(5, 45))]


def test_a_large_spectrum_does_not_hold_up_the_first_paint():
    z = torch.randn(30_000, 512, generator=torch.Generator().manual_seed(0))
    view = Spectrum({"z": z[:, :410]})
    assert view.frame["lines"] == [] and "being computed" in view.frame["note"] and view.painter.wake.is_set()
    view.selection.set([1, 2, 7])
    view.follow()                                     # what the painter does when the page has drawn the first frame
    line = view.frame["lines"][0]
    assert line["values"]["shape"] == [410] and line["selected"]["count"] == 3


def test_a_selection_changes_the_picture_of_an_earlier_step():
    history = History()
    for step in (0, 10): history.record(step, embedding=np.random.default_rng(step).standard_normal((30, 4)))
    view = Spectrum(history)
    view.at = 0
    view.follow()
    number = view.frame["number"]
    view.selection.set([1, 2, 3])
    view.follow()
    assert view.frame["number"] == number + 1 and view.frame["step"] == 0
    assert view.frame["lines"][0]["selected"]["count"] == 3


def test_unchanged_history_costs_no_frame():
    history = losing(embedding=np.random.default_rng(0).standard_normal((50, 8)))
    view = Spectrum(history)
    view.follow(); number = view.frame["number"]
    history.record(101, loss=1.0)
    view.follow()
    assert view.frame["number"] == number
    history.record(102, embedding=np.eye(8))
    view.follow()
    assert view.frame["number"] == number + 1 and view.frame["step"] == 102


def test_monitor_names_the_fault():
    rng = np.random.default_rng(0)
    healthy, direction = rng.standard_normal((300, 32)), rng.standard_normal(32)
    kinds = [CollapseMonitor(z).frame["kind"] for z in
             (healthy, direction + 1e-4 * healthy, healthy * np.r_[np.ones(3), np.full(29, 1e-4)],
              np.full((9, 4), np.nan))]
    assert kinds == ["healthy", "complete collapse", "dimensional collapse", "not finite"]
    assert CollapseMonitor(healthy, loss=5.99, chance=6.0, floor=1.0).frame["kind"] == "not learning"
    history = losing(embedding=healthy)
    history.record(101, projection=healthy * 0 + direction)
    assert CollapseMonitor(history).frame["watched"] == "projection"
    assert CollapseMonitor(history, name="embedding").frame["kind"] == "healthy"
    assert loss_at(history, 100) == {"loss": pytest.approx(5.095), "chance": 6.0, "floor": 1.0}
    with pytest.raises(ValueError, match="one history"): CollapseMonitor({"a": history, "b": history})


class Fake:
    "The least that can be steered."
    def __init__(self, state="new"):
        self.state, self.history, self.steps, self.steps_done, self.calls = state, History(), 100, 0, []
        tunable = {"temperature": (0.05, 5.0), "margin": (0.0, 1.0)}
        self.method = type("M", (), {"tunable": tunable, "temperature": 0.5})()
    def __getattr__(self, name):
        if name not in ("start", "pause", "resume", "step", "stop", "set"): raise AttributeError(name)
        return lambda *args, **values: self.calls.append((name, values))


@pytest.mark.parametrize(("state", "expected"), [
    ("new", {"start", "step"}), ("running", {"pause", "stop"}), ("failed", set()),
    ("paused", {"resume", "step", "stop"}), ("finished", {"start", "step"})])
def test_buttons_follow_the_state(state, expected):
    controls = Controls(Fake(state))
    assert {name for name, button in controls.buttons.items() if not button.disabled} == expected
    assert allowed(state, True) == expected
    assert allowed("finished", False) == set()
    controls.close()


def test_sliders_tell_the_run_and_follow_it():
    run = Fake("running")
    controls = Controls(run)
    assert [slider.description for slider in controls.sliders.values()] == ["temperature", "margin"]
    controls.sliders["temperature"].value = 0.1
    assert run.calls == [("set", {"temperature": 0.1})]
    for value in (0.2, 0.3, 0.4): controls.sliders["temperature"].value = value   # a drag: not one mark for each
    time.sleep(0.8)
    assert len(run.calls) <= 4 and run.calls[-1] == ("set", {"temperature": pytest.approx(0.4)})
    run.method.temperature = 7.0                                                 # set from elsewhere, outside the range
    controls.refresh()
    assert controls.sliders["temperature"].value == pytest.approx(7.0)
    controls.buttons["pause"].click()
    assert run.calls[-1] == ("pause", {})
    controls.close()


def test_a_failure_is_shown_as_text(tmp_path):
    run = Fake("failed")
    run.error, run.trace = ValueError(EVIL), "Traceback: here"
    controls = Controls(run)
    assert controls.error.value == f"ValueError: {EVIL}\n\nTraceback: here" and controls.error.layout.display == ""
    assert EVIL not in controls.save(tmp_path / "c.html").read_text("utf-8") and EVIL not in controls.to_html()
    assert controls.static()._repr_png_()
    controls.close()


def test_the_panel_ends_with_its_thread():
    before = threading.active_count()
    controls = Controls(Fake())
    controls.close()
    gone = weakref.ref(controls)
    del controls
    for _ in range(30):
        gc.collect()
        if threading.active_count() <= before: break
        time.sleep(0.1)
    assert threading.active_count() <= before and (gone() is None or gone()._closed)


@pytest.mark.parametrize("name", LOSSES)
def test_circle_forces_are_gradients_of_the_losses(name):
    theta = torch.rand(12, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).mul(6).requires_grad_()
    z = torch.stack([theta.cos(), theta.sin()], 1)
    a, b = z[:6], z[6:]
    even = (losses.uniform(a) + losses.uniform(b)) / 2
    expected = {"nt_xent": losses.nt_xent(a, b, 0.3), "info_nce": losses.info_nce(a, b, temperature=0.3),
                "align": losses.align(a, b), "uniform": even, "align + uniform": losses.align(a, b) + even,
                "hard_nt_xent": losses.hard_nt_xent(a, b, 0.3, 0.05, 1.5)}[name]
    slope, = torch.autograd.grad(expected, theta)
    value, pull, push = circle_forces(theta.detach().numpy(), name, 0.3, 0.05, 1.5)
    assert value == pytest.approx(expected.item(), abs=1e-9) and np.allclose(-(pull + push), slope.numpy(), atol=1e-9)


@pytest.mark.parametrize(("tau_plus", "beta"), [(0.0, 0.0), (0.1, 0.0), (0.0, 1.0), (0.1, 2.0)])
def test_negative_weights_are_the_slopes_of_hard_nt_xent(tau_plus, beta):
    cosines = torch.tensor([0.8, -0.7, 0.1, 0.6, 0.3, -0.2, 0.5], dtype=torch.float64)   # the positive, then negatives
    angle = cosines.arccos() * torch.tensor([1, 1, -1, 1, -1, 1, -1])
    z = torch.cat([torch.zeros(1, dtype=torch.float64), angle])
    z = torch.stack([z.cos(), z.sin()], 1)
    a, b = z[[0, 2, 3, 4]], z[[1, 5, 6, 7]]
    weights, loss = negative_weights(cosines[1:].numpy(), 0.8, 0.4, tau_plus, beta)
    assert loss == pytest.approx(losses.hard_nt_xent(a, b, 0.4, tau_plus, beta, reduction="none")[0].item(), abs=1e-9)
    push = losses.pair_weights(a, b, 0.4, tau_plus, beta)[2][0]
    assert np.allclose(np.sort(weights), np.sort(np.delete(push.numpy() * 0.4, [0, 4])), atol=1e-9)


@pytest.mark.parametrize("call", [lambda: Circle(pairs=1), lambda: Circle(loss="x"),
                                  lambda: NegativeWeights(negatives=1), lambda: NegativeWeights(temperature=0),
                                  lambda: NegativeWeights(tau_plus=1.0)])
def test_what_is_out_of_range_is_named(call):
    with pytest.raises(ValueError, match=r"expected|at least"): call()
