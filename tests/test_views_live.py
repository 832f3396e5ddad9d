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
from clnb.views.live import allowed, decimate, loss_at, reading, smoothed, spectrum_of
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


def test_spectrum_walks_over_the_recorded_steps():
    history = History()
    for step in (0, 10, 20): history.record(step, embedding=np.random.default_rng(step).standard_normal((50, 8)))
    history.record(10, projection=np.eye(5))
    view = Spectrum(history)
    assert view.steps == [0, 10, 20] and len(view.picture(0)["lines"]) == 1 and len(view.picture(-1)["lines"]) == 2
    assert len(Spectrum({"a": np.eye(4), "b": torch.eye(5)}).frame["lines"]) == 2
    assert len(Spectrum({"x": history, "y": history}).frame["lines"]) == 4


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
