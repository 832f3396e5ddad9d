"""SpectrumSweep and Heatmaps: what they compute, against numpy; what they refuse."""

import itertools
import math
from collections import namedtuple

import numpy as np
import pytest
import torch

from clnb import metrics
from clnb.run import History
from clnb.views import heatmaps, sweep
from clnb.views.heatmaps import Heatmaps, blocks, facts_of, groups_of, table_of
from clnb.views.sweep import SpectrumSweep, drawn_values, nearest_run, settings_of, spectra_of


def cloud(n=200, d=12, decay=0.5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return (z * torch.arange(1, d + 1) ** -decay + 0.3).to(dtype)


def covariance(z, normalised, ddof):
    "Singular values of the covariance, by numpy."
    z = np.asarray(z, np.float64)
    if normalised: z = z / np.linalg.norm(z, axis=1, keepdims=True)
    return np.linalg.svd(np.cov(z.T, ddof=ddof), compute_uv=False)


def grid(**more):
    return {(d0, tau, head): {"embedding": cloud(seed=d0), "projection": cloud(seed=d0)[:, :d0], **more}
            for d0 in (2, 4, 8) for tau in (0.1, 0.5) for head in ("none", "mlp") if (d0, tau, head) != (8, 0.5, "mlp")}


KEYS = ("d0", "temperature", "projector")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("normalised, ddof", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_singular_values_are_those_of_the_covariance(dtype, normalised, ddof):
    z = cloud(dtype=dtype)
    found = spectra_of(z)
    drawn = drawn_values(found["values"][normalised], len(z), ddof=ddof)
    assert np.allclose(drawn, covariance(z, normalised, ddof), rtol=1e-5)
    assert np.allclose(drawn_values(found["values"][normalised], len(z), largest=True), drawn / drawn[0])
    of_rows = drawn_values(found["values"][normalised], len(z), False)
    assert np.allclose(of_rows**2, drawn * (len(z) - ddof), rtol=1e-6)


def test_the_trap_of_normalised_rows():
    cross = [[1, 0], [-1, 0], [0, 0.1], [0, -0.1]]
    values = spectra_of(np.array(cross))["values"]
    logs = {ddof: np.log(drawn_values(values[0], 4, ddof=ddof)) for ddof in (0, 1)}
    assert np.allclose(logs[0], [-0.693147, -5.298317], atol=1e-6)
    assert np.allclose(logs[1], [-0.405465, -5.010635], atol=1e-6)
    assert np.allclose(drawn_values(values[1], 4, ddof=0), [0.5, 0.5])


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_numbers_are_those_of_the_metrics(dtype, tolerance):
    z = cloud(dtype=dtype)
    for at, rows in enumerate((z.double(), z.double() / z.double().norm(dim=1, keepdim=True))):
        numbers, s = spectra_of(z)["numbers"], metrics.singular_values(rows)
        assert numbers["effective rank"][at] == pytest.approx(metrics.effective_rank(s).item(), rel=tolerance)
        assert numbers["of the covariance"][at] == pytest.approx(metrics.effective_rank(s**2).item(), rel=tolerance)
        assert numbers["RankMe"][at] == pytest.approx(metrics.rank_me(rows).item(), rel=tolerance)


def test_collapsed_fraction_and_its_threshold():
    scales = torch.tensor([1, 1, 1e-1, 10**-1.5, 10**-2.5, 10**-3.5], dtype=torch.float64)
    z = torch.randn(4000, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * scales
    assert spectra_of(z)["numbers"]["collapsed fraction"][0] == pytest.approx(1 / 6)            # eps 1e-6
    assert spectra_of(z.float())["numbers"]["collapsed fraction"][0] == pytest.approx(2 / 6)    # eps 1e-4
    assert spectra_of(z, eps=0.5)["numbers"]["collapsed fraction"][0] == pytest.approx(4 / 6)


def test_few_rows_equal_rows_and_broken_ones():
    few = spectra_of(cloud(n=5, d=12))
    assert few["values"].shape == (2, 4) and few["numbers"]["collapsed fraction"] == [0, 0]
    equal = spectra_of(torch.ones(8, 3))["numbers"]
    assert equal["effective rank"] == [0, 0] and equal["collapsed fraction"] == [1, 1]
    assert equal["RankMe"][0] == pytest.approx(1, abs=1e-4)
    zeros = spectra_of(np.zeros((8, 3)))["numbers"]
    assert zeros["RankMe"] == [0, 0] and zeros["collapsed fraction"] == [1, 1]
    z = cloud()
    z[3] = 0
    assert np.isfinite(spectra_of(z)["values"]).all()                  # a row without length has no direction
    z[4, 1] = math.nan
    broken = spectra_of(z)
    assert broken["why"] == "not finite" and broken["numbers"] == {} and broken["values"].shape == (2, 0)
    assert np.allclose(spectra_of(cloud().half())["values"], spectra_of(cloud().half().float())["values"])
    assert np.allclose(spectra_of(cloud(d=12).reshape(200, 3, 2, 2))["values"], spectra_of(cloud())["values"])


def test_settings():
    Key = namedtuple("Key", "d0 head")
    settings, at = settings_of({Key(8, "b"): 0, Key(2, "a"): 0, Key(np.int64(4), "b"): 0})
    assert [s.name for s in settings] == ["d0", "head"] and settings[0].labels == ["2", "4", "8"]
    assert settings[1].values == ("b", "a") and at.tolist() == [[2, 0], [0, 1], [1, 0]]
    settings, _ = settings_of({0.1: 0, 0.05: 0}, "temperature")
    assert settings[0].values == (0.05, 0.1) and settings[0].numeric
    settings, _ = settings_of({(True,): 0, (False,): 0}, ["skip"])
    assert not settings[0].numeric and settings[0].values == (True, False)
    settings, _ = settings_of({(1, None): 0, ("1", None): 0})
    assert settings[0].name == "setting 1" and settings[0].labels == ["1", "'1'"]
    assert settings_of({1e-7: 0, 1.0000001: 0, 1: 0})[0][0].labels == ["1e-07", "1", "1.0000001"]


@pytest.mark.parametrize("runs, keys, said", [
    ({}, None, "got an empty dict"), ([1, 2], None, "got list"),
    ({(1, 2): 0, (1,): 0}, ("a", "b"), r"keyed by 2 settings \(a, b\); got \(1,\), which has 1"),
    ({(1, 2): 0}, ("a",), "keyed by 1 settings"), ({(1, 2): 0}, ("a", "a"), "each once"),
])
def test_settings_that_do_not_fit(runs, keys, said):
    with pytest.raises(ValueError, match=said): settings_of(runs, keys)


def test_the_nearest_run_by_exhaustion():
    settings, at = settings_of(grid(), KEYS)

    def distance(a, b):
        steps = [abs(a[0] - b[0]) / 2, abs(a[1] - b[1]), float(a[2] != b[2])]
        return sum(steps)

    for wanted in itertools.product(range(3), range(2), range(2)):
        for fixed in ((), (0,), (1,), (2,), (0, 2)):
            fits = [i for i, place in enumerate(at) if all(place[s] == wanted[s] for s in fixed)]
            found = nearest_run(settings, at, wanted, fixed)
            assert found in fits
            assert distance(at[found], wanted) == pytest.approx(min(distance(at[i], wanted) for i in fits))
    with pytest.raises(ValueError, match=r"no run with d0 8, temperature 0\.5, projector mlp"):
        nearest_run(settings, at, [2, 1, 1], (0, 1, 2))


def test_what_a_run_must_hold():
    with pytest.raises(ValueError, match=r"run 16 has no array called 'embedding' or 'projection'; it has 'z'"):
        SpectrumSweep({16: {"z": cloud()}})
    SpectrumSweep({16: {"z": cloud()}}, names=("z",))
    with pytest.raises(ValueError, match=r"run 16, 'embedding': an embedding is \[n, d\]"):
        SpectrumSweep({16: np.ones(3)})
    history = History()
    history.record(0, loss=1.0)
    with pytest.raises(ValueError, match="it has 'loss'"): SpectrumSweep({16: history})
    history.record(0, features=np.eye(3))
    with pytest.raises(ValueError, match="it has 'features'"): SpectrumSweep({16: history, 32: History()})
    for wrong in ({"scale": "logs"}, {"ddof": 2}, {"names": ()}):
        with pytest.raises(ValueError): SpectrumSweep({16: cloud()}, **wrong)


def test_show_pin_and_numbers_along_a_setting():
    view = SpectrumSweep(grid(knn=0.5), KEYS, normalised=False)
    assert view.moving == 0
    assert view.of(view.show(d0=8, projector="mlp").shown) == {"d0": 8, "temperature": 0.1, "projector": "mlp"}
    assert view.of(view.pin({"temperature": 0.5}).pinned) == {"d0": 4, "temperature": 0.5, "projector": "mlp"}
    found = view.along("effective rank", "d0")
    assert list(found["projection"]) == [2, 4, 8]
    for d0, value in found["projection"].items():
        expected = metrics.effective_rank(metrics.singular_values(cloud(seed=d0)[:, :d0])).item()
        assert value == pytest.approx(expected, rel=1e-6)
    assert view.along("knn") == {"knn": {2: 0.5, 4: 0.5, 8: 0.5}}
    assert list(view.along("RankMe", "projector")["embedding"]) == ["none", "mlp"]
    for call, said in ((lambda: view.show(d=1), "no setting 'd'; the settings are d0, temperature, projector"),
                       (lambda: view.show(d0=5), "no run has d0 5; there are 2, 4, 8"),
                       (lambda: view.show(d0=8, temperature=0.5, projector="mlp"), "there is no run with"),
                       (lambda: view.along("rank"), "no run has the number 'rank'"),
                       (lambda: view.along(setting="tau"), "no setting 'tau'")):
        with pytest.raises(ValueError, match=said): call()


def test_a_spectrum_is_computed_once(monkeypatch):
    calls, real = [], sweep.spectra_of
    monkeypatch.setattr(sweep, "spectra_of", lambda *args: calls.append(1) or real(*args))
    runs = {2: History(), 4: History()}
    for step in (0, 10, 20):
        for history in runs.values(): history.record(step, embedding=cloud(seed=step), knn=step / 20)
    view = SpectrumSweep(runs, "d0")
    assert view.steps == [0, 10, 20] and len(calls) == 2            # only what is shown
    view.seek(10)
    assert len(calls) == 4 and view.frame["step"] == 10
    assert view.frame["recorded"] == [{"knn": 0.5}, {"knn": 0.5}]
    for _ in range(3): view.page(), view.static(1), view.along(step=0)
    assert len(calls) == 6
    runs[4].record(30, embedding=cloud(seed=30))
    view.seek()
    assert view.steps == [0, 10, 20, 30] and len(calls) == 7
    at = {entry["run"]: np.frombuffer(entry["values"]["bytes"], "<f4") for entry in view.frame["spectra"]}
    assert np.allclose(at[0].reshape(2, -1), spectra_of(cloud(seed=20))["values"])      # the newest not later
    assert np.allclose(at[1].reshape(2, -1), spectra_of(cloud(seed=30))["values"])


def test_empty_histories_and_late_ones():
    runs = {2: History(), 4: History()}
    view = SpectrumSweep(runs, "d0")
    assert view.frame["spectra"] == [] and view.steps == []
    assert view.static() is not None and "</html>" in view.page()
    runs[4].record(5, embedding=cloud())
    view.follow()
    assert view.steps == [5] and [entry["run"] for entry in view.frame["spectra"]] == [1]
    runs[4].record(7, knn=0.25, loss=3.0)
    assert view.recorded_numbers(1) == {"knn": 0.25}
    assert SpectrumSweep(runs, "d0", numbers="loss").recorded_numbers(1) == {"loss": 3.0}


def test_pages_stay_small(monkeypatch):
    history = History()
    for step in range(30): history.record(step, embedding=cloud(seed=step))
    view = SpectrumSweep({2: history}, "d0")
    assert len(view.part()["state"]["steps"]) == 30
    monkeypatch.setattr(SpectrumSweep, "budget", 10 * 2 * 12 * 4)
    steps = view.part()["state"]["steps"]
    assert len(steps) == 10 and steps[0] == 0 and steps[-1] == 29
    state = view.show(d0=2).pin().part()["state"]
    assert (state["shown"], state["pinned"], state["moving"]) == (0, 0, 0)


@pytest.mark.parametrize("options", [{}, {"scale": "ln"}, {"scale": "linear", "largest": True}, {"covariance": False}])
def test_still_pictures(options):
    view = SpectrumSweep(grid(), KEYS, **options)
    figure = view.show(d0=4).pin(d0=2).static()
    spectrum, panel = figure.axes
    drawn = next(line for line in spectrum.lines if line.get_label().startswith(" projection")).get_ydata()
    expected = drawn_values(spectra_of(cloud(seed=4)[:, :4])["values"][1], 200, options.get("covariance", True),
                            largest=options.get("largest", False))
    assert np.allclose(drawn, np.log(expected) if options.get("scale") == "ln" else expected)
    assert len([line for line in spectrum.lines if line.get_linestyle() == "--"]) == 2
    assert len(figure._repr_png_()) < 60_000 and panel.get_xlabel() == "d0"


# ------------------------------------------------------------------------------------------------------- heat maps


def test_facts_of_a_matrix():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(20, 4)) @ generator.normal(size=(4, 9))
    x[:, [2, 5]] = 0
    facts = facts_of(x)
    assert facts["columns"] == 7 and facts["rank"] == np.linalg.matrix_rank(x) == 4
    assert np.allclose(facts["norms"], np.linalg.norm(x, axis=0))
    assert facts["largest"] == np.abs(x).max() and facts["least"] == np.abs(x[x != 0]).min()
    assert facts_of(x.astype(np.float32))["rank"] == 4                  # rounding is no rank
    assert facts_of(np.zeros((3, 2)))["text"] == "0 of 2 columns not zero · rank 0"
    x[1, 1] = np.nan
    assert facts_of(x)["rank"] is None and "1 values not finite" in facts_of(x)["text"]


@pytest.mark.parametrize("shape, cells", [((10, 10), 100), ((10, 10), 30), ((7, 1000), 500), ((1000, 7), 500),
                                          ((3, 5), 1)])
def test_blocks_keep_the_largest(shape, cells):
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    drawn, (a, b) = blocks(x, cells)
    assert drawn.size <= max(cells, 1) and drawn.shape == (math.ceil(shape[0] / a), math.ceil(shape[1] / b))
    for i, j in itertools.product(range(drawn.shape[0]), range(drawn.shape[1])):
        part = x[i * a: (i + 1) * a, j * b: (j + 1) * b]
        assert drawn[i, j] == part.flat[np.abs(part).argmax()]


@pytest.mark.parametrize("given, said", [
    ({}, "what was given is empty"), ({"a": {}}, "group 'a' is empty"),
    ({"a": {"x": np.eye(2)}, "b": np.eye(2)}, "'b' is neither"),
    ({"x": np.ones((2, 2, 2))}, r"'x' must be a matrix \[n, d\] of numbers, got float64 \[2, 2, 2\]"),
    ({"x": ["a", "b"]}, "'x' must be a matrix"), ({"x": np.ones((0, 3))}, "'x' must be a matrix"),
])
def test_tables_that_do_not_fit(given, said):
    with pytest.raises(ValueError, match=said): groups_of(given)


def test_tables_of_all_kinds():
    assert table_of(torch.eye(2, dtype=torch.bfloat16)).dtype == np.float32 and table_of([1, 2, 3]).shape == (1, 3)
    assert table_of(np.eye(2)).dtype == np.float64 and table_of(torch.ones(2, 2, dtype=torch.bool)).sum() == 4
    assert list(groups_of({"x": np.eye(2), "y": np.eye(3)}, ["y"])[""]) == ["y"]
    with pytest.raises(ValueError, match="there is no matrix 'z' in group 'a'; there are 'x'"):
        Heatmaps({"a": {"x": np.eye(2)}}, names="z")
    with pytest.raises(ValueError, match="no group 'c'; the groups are 'a', 'b'"):
        Heatmaps({"a": {"x": np.eye(2)}, "b": {"x": np.eye(2)}}).show("c")


def test_one_scale_for_a_name_across_groups():
    view = Heatmaps({"a": {"x": np.eye(3), "y": np.eye(3)}, "b": {"x": -5 * np.eye(2)}})
    assert view.frame["scales"]["x"] == {"largest": 5.0, "least": 1.0, "norm": 5.0}
    assert view.frame["scales"]["y"]["largest"] == 1 and view.frame["names"] == ["x", "y"]
    for signed, log in itertools.product((False, True), (False, True)):
        figure = Heatmaps(view.arrays, signed=signed, log=log, x="channel").static()
        images = [axes.images[0] for axes in figure.axes if axes.images]
        assert len(images) == 3 and {image.norm.vmax for image in images} == {5.0, 1.0}
        assert all(np.ma.is_masked(image.get_array()) for image in images)          # zeros have no colour


def test_heat_maps_of_a_history(monkeypatch):
    history = History()
    for step in (0, 10): history.record(step, **{"dL/dr": np.eye(3) * (step + 1), "z": np.ones((2, 2, 2))}, loss=1.0)
    view = Heatmaps({"live": history, "still": {"dL/dr": np.eye(3)}})
    assert view.steps == [0, 10] and view.frame["names"] == ["dL/dr"]
    assert [m["largest"] for m in view.frame["maps"]] == [11, 1]
    view.seek(0)
    assert [m["largest"] for m in view.frame["maps"]] == [1, 1]
    history.record(20, **{"dL/dr": np.zeros((3, 3))})
    view.seek()
    assert [m["text"] for m in view.frame["maps"]] == [f"{n} of 3 columns not zero · rank {n}" for n in (0, 3)]
    empty = Heatmaps(History())
    assert len(empty.static().axes) == 0 and empty.frame["maps"] == [] and "error" not in empty.frame
    monkeypatch.setattr(heatmaps.Heatmaps, "budget", 2 * 2 * 9 * 4)
    assert view.part()["state"]["steps"] == [0, 20]
