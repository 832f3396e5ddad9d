"""What does a setting do? Tables, means, differences, words against independent counts; faults; the Python side."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from clnb.core import Picture
from clnb.data import ImageSet
from clnb.views.base import Board
from clnb.views.settings import (
    Mean,
    Reading,
    SettingSlider,
    Words,
    columns_in,
    digits_of,
    examples_of,
    fixed,
    interval_text,
    mean_of,
    quantiles,
    runs_of,
    setting_of,
    some_of,
    verdict,
)

EVIL = "<img src=x onerror=window.hacked=1>"


def rows_of(settings=(0.0, 0.5, 1.0), arms=("plain", "mask", EVIL), seeds=5, seed=0):
    rng = np.random.default_rng(seed)
    luck = rng.permutation(np.linspace(-1, 1, seeds))
    return [{"confounding": x, "method": arm, "seed": s, "NMI": 0.9 - 0.4 * x * (k == 0) + 0.04 * luck[s]
             + 0.005 * rng.normal(), "ARI": rng.random(), "text": "a"}
            for x in settings for k, arm in enumerate(arms) for s in range(seeds)]


# ------------------------------------------------------------------------------------------------------------ numbers

def test_means_and_intervals_against_scipy():
    table = rows_of()
    frame, reading = pd.DataFrame(table), Reading(runs_of(table, "confounding"))
    for m, metric in enumerate(("NMI", "ARI")):
        for arm, name in enumerate(reading.runs.arms):
            for k, x in enumerate((0.0, 0.5, 1.0)):
                values = frame[(frame.confounding == x) & (frame.method == name)][metric].to_numpy()
                found = reading.mean(m, arm, [k])
                low, high = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
                assert found[:3] == pytest.approx((values.mean(), low, high)) and found.count == 5


def test_differences_are_paired_over_the_common_seeds():
    table = [row for row in rows_of() if not (row["method"] == "mask" and row["seed"] == 3)]
    reading, frame = Reading(runs_of(table, "confounding")), pd.DataFrame(table)
    wide = frame[frame.confounding == 1.0].pivot(index="seed", columns="method", values="NMI").dropna()
    gap = (wide["mask"] - wide["plain"]).to_numpy()
    found = reading.apart(0, 1, 0, [2])
    assert found.count == 4 and found.mean == pytest.approx(gap.mean())
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 3, gap.mean(), stats.sem(gap)))
    alone = reading.mean(0, 0, [2])
    assert found.high - found.low < alone.high - alone.low       # common luck drops out
    back = reading.apart(0, 0, 1, [2])
    assert (back.mean, back.low, back.high) == pytest.approx((-found.mean, -found.high, -found.low))
    same = reading.apart(0, 1, 1, [2])
    assert (same.mean, same.low, same.high) == (0, 0, 0)


def test_few_numbers_give_no_interval():
    assert all(math.isnan(v) for v in mean_of([])[:3]) and mean_of([]).count == 0
    one = mean_of([2.0, math.nan])
    assert (one.mean, one.count) == (2.0, 1) and math.isnan(one.low)
    assert mean_of([1, 1, math.nan, 1]) == Mean(1, 1, 1, 3)
    assert interval_text(one, 1) == "2.0" and interval_text(Mean(1, 0.5, 1.5, 3), 1, True) == "+1.0 [+0.5, +1.5]"


def test_quantiles():
    assert quantiles(5) == pytest.approx([stats.t.ppf(0.975, df) for df in (1, 2, 3, 4)]) and len(quantiles(1)) == 1


def test_verdicts():
    assert verdict(Mean(0.1, 0.05, 0.2, 5), "b") == "more than b"
    assert verdict(Mean(-0.1, -0.2, -0.05, 5), "b") == "less than b"
    assert verdict(Mean(0.1, -0.05, 0.2, 5), "b") == "not told apart from b"
    assert verdict(Mean(0.1, 0.0, 0.2, 5), "b") == "not told apart from b"
    assert verdict(Mean(0.1, math.nan, 0, 1), "b") == ""


@pytest.mark.parametrize(("value", "digits", "sign", "text"), [
    (0.125, 2, False, "0.13"), (-0.125, 2, False, "−0.13"), (0.0625, 3, True, "+0.063"), (1e-9, 3, False, "0.000"),
    (12345.6, 0, False, "12346"), (2.5, 0, False, "3"), (math.nan, 3, False, "–"), (0, 3, True, "+0.000")])
def test_fixed(value, digits, sign, text): assert fixed(value, digits, sign) == text


@pytest.mark.parametrize(("most", "digits"), [(0.98, 3), (1.03, 3), (2, 3), (0.05, 4), (20, 2), (100, 1), (3000, 0),
                                              (0, 3), (1e9, 0), (1e-9, 6)])
def test_digits(most, digits): assert digits_of([most, -most / 2, math.nan]) == digits


# -------------------------------------------------------------------------------------------------------------- tables

def test_every_kind_of_table_is_the_same_table():
    rows = rows_of()
    frame = pd.DataFrame(rows)
    kinds = [rows, frame, {name: frame[name].to_numpy() for name in frame}, iter(rows),
             {name: list(frame[name]) for name in frame}]
    wanted = runs_of(rows, "confounding")
    for table in kinds:
        found = runs_of(table, "confounding")
        assert (found.arms, found.metrics, found.seeds) == (wanted.arms, wanted.metrics, wanted.seeds)
        for name in ("place", "arm", "seed", "values"):
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert wanted.metrics == ["NMI", "ARI"]                      # a text is no metric
    tensors = {"confounding": torch.tensor([0.0, 1.0]), "NMI": torch.tensor([0.5, 0.25])}
    assert runs_of(tensors, "confounding", arm=None).values.tolist() == [[0.5], [0.25]]
    scalars = [{"confounding": torch.tensor(0.5), "NMI": torch.tensor(0.25), "acc": np.float32(0.5)}]
    assert runs_of(scalars, "confounding", arm=None).values.tolist() == [[0.25, 0.5]]


def test_order_of_settings_methods_and_metrics():
    rows = [{"share": share, "method": arm, "seed": 0, "b": 1, "a": 2}
            for arm in ("z", "a") for share in ("50:50", "9:1", "80:20")]
    found = runs_of(rows, "share", "a")
    assert found.settings[0].values == ("50:50", "9:1", "80:20") and not found.settings[0].numeric
    assert found.arms == ["z", "a"] and found.metrics == ["a", "b"]
    assert runs_of(rows, "share", ["b"]).metrics == ["b"]
    numbers = runs_of([{"x": x, "method": m, "f": 0} for x in (3, 1, 2) for m in (10, 2)], "x")
    assert numbers.settings[0].values == (1, 2, 3) and numbers.arms == ["10", "2"]
    assert not numbers.paired and numbers.arm.tolist() == [0, 1] * 3
    assert Reading(numbers).apart(0, 0, 1, [0]).count == 0       # without seeds nothing belongs together


def test_missing_and_strange_numbers():
    rows = [{"x": 0, "method": "a", "seed": s, "f": f, "part": 1 if s else None}
            for s, f in enumerate((1.0, None, math.inf, math.nan, 3))]
    found = runs_of(rows, "x")
    assert Reading(found).mean(0, 0, [0]).count == 2 and Reading(found).mean(0, 0, [0]).mean == 2
    assert found.metrics == ["f", "part"] and np.isnan(found.values[0, 1])
    assert "f at x 0: a 2.00" in Words(found).in_words(0, [0]) and "(2 seeds)" in Words(found).in_words(0, [0])
    ragged = runs_of([{"x": 0, "f": 1}, {"x": 1, "g": 2}], "x", arm=None)
    assert ragged.metrics == ["f", "g"] and np.isnan(ragged.values).sum() == 2
    flags = runs_of([{"x": True, "f": 1}, {"x": False, "f": 0}], "x", arm=None)
    assert flags.settings[0].labels == ["True", "False"]


@pytest.mark.parametrize(("table", "options", "error", "message"), [
    ([], {}, ValueError, "the table is empty"),
    ({}, {}, ValueError, "the table is empty"),
    (3, {}, TypeError, "expected a list of runs as dicts.*got int"),
    ("rows", {}, TypeError, "got str"),
    ([1, 2], {}, TypeError, "got list of int"),
    ({"confounding": [1, 2], "NMI": [1]}, {}, ValueError, "one length; got confounding 2, NMI 1"),
    (rows_of(), {"x": "noise"}, ValueError, "there is no column 'noise' for the setting"),
    (rows_of(), {"y": "F1"}, ValueError, "there is no column 'F1' for the curves"),
    (rows_of(), {"y": "text"}, ValueError, "'text' cannot be drawn"),
    (rows_of(), {"arm": "arm"}, ValueError, "there is no column 'arm' for the methods.*arm=None"),
    (rows_of(), {"arm": None, "seed": None, "y": []}, ValueError, "no column of numbers is left"),
    (rows_of() + rows_of()[:1], {}, ValueError, "2 runs have confounding 0, method 'plain', seed 0"),
    (rows_of(), {"x": ("confounding", "confounding")}, ValueError, "each once"),
    (rows_of(), {"x": ()}, ValueError, "each once"),
    ([{"confounding": math.nan, "method": "a", "NMI": 1}], {}, ValueError, "run 0 has no value of the setting"),
    ([{"confounding": 1, "method": "a", "NMI": 1}, {"method": "a"}], {}, ValueError, "run 1 has no value"),
    (rows_of(), {"start": 0.7}, ValueError, "no run has confounding 0.7; there are 0, 0.5, 1"),
    (rows_of(), {"compared": "none"}, ValueError, "there is no method 'none'; there are plain, mask"),
    (rows_of(), {"chance": {"F1": 0}}, ValueError, "there is no metric 'F1'"),
    (rows_of(), {"images": {7: np.zeros((3, 8, 8))}}, ValueError, "keys 7, none of them a value of confounding: 0.0"),
    (rows_of(), {"images": np.zeros((3, 8, 8))}, TypeError, "images is a dict .*got ndarray"),
])
def test_faults_are_named(table, options, error, message):
    with pytest.raises(error, match=message): SettingSlider(table, **options)


def test_setting_of_keeps_values():
    setting, at = setting_of("x", [np.int64(3), 1.5, torch.tensor(2)])
    assert setting.values == (1.5, 2, 3) and at.tolist() == [2, 0, 1] and setting.labels == ["1.5", "2", "3"]
    assert columns_in([{"a": 1}, {"b": 2}]) == {"a": [1, None], "b": [None, 2]}


# -------------------------------------------------------------------------------------------------------------- images

def test_examples_keep_the_shares_of_the_classes():
    labels = torch.tensor([0] * 90 + [1] * 10)[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
    images = labels[:, None, None, None].to(torch.uint8).expand(100, 1, 8, 8)
    data = ImageSet(images.contiguous(), labels, ("many", EVIL))
    some = some_of(data, 10)
    assert some["captions"] == ["many"] * 9 + [EVIL] and some["images"]["shape"] == [10, 1, 8, 8]
    shown = np.frombuffer(some["images"]["bytes"], np.uint8).reshape(10, -1)[:, 0]
    assert shown.tolist() == [0] * 9 + [1]
    assert len(some_of(data, 500)["captions"]) == 100 and some_of(np.zeros((0, 8, 8))) == {}
    assert some_of(np.zeros((20, 100, 80)), 3)["images"]["shape"] == [3, 1, 50, 40]


def test_a_function_is_asked_once_for_every_setting():
    asked = []
    view = SettingSlider(rows_of(), images=lambda x: asked.append(x) or np.full((2, 4, 4), x))
    assert sorted(asked) == [0.0, 0.5, 1.0] and [one["place"] for one in view.examples] == [[0], [1], [2]]
    view.add({"confounding": 0.25, "method": "plain", "seed": 0, "NMI": 0.5})
    assert sorted(asked) == [0.0, 0.25, 0.5, 1.0]
    shades = {tuple(one["place"]): np.frombuffer(one["images"]["bytes"], np.uint8)[0] for one in view.examples}
    assert shades == {(0,): 0, (1,): 64, (2,): 128, (3,): 255}   # each at its new place


def test_examples_by_dict_of_some_settings():
    runs = runs_of([{"x": x, "noise": n, "f": 1} for x in (0, 1) for n in (0, 0.5)], ("x", "noise"), arm=None)
    places = [[0, 0], [0, 1], [1, 0], [1, 1]]
    found = examples_of({1: np.zeros((1, 4, 4)), (0, 0.5): np.ones((2, 4, 4))}, runs.settings, places)
    assert {tuple(one["place"]): one["images"]["shape"][0] for one in found} == {(0, 1): 2, (1, 0): 1, (1, 1): 1}
    found = examples_of(lambda x, n: np.zeros((1 + x, 4, 4)) if n else None, runs.settings, places)
    assert {tuple(one["place"]): one["images"]["shape"][0] for one in found} == {(0, 1): 1, (1, 1): 2}


# ---------------------------------------------------------------------------------------------------------------- view

def test_show_moves_the_sliders():
    rows = [{"x": x, "a noise": n, "method": m, "seed": s, "f": 0.5, "g": 0.1}
            for x in (1, 2) for n in (0, 1) for m in "pq" for s in (0, 1)]
    view = SettingSlider(rows, x=("x", "a noise"), y="f")
    assert view.where == [1, 0]
    view.show({"a noise": 1}, x=1, metric="g", compared="q")
    assert (view.where, view.metric, view.other) == ([0, 1], 1, 1)
    with pytest.raises(ValueError, match="there is no setting 'y'; there are x, a noise"): view.show(y=1)
    with pytest.raises(ValueError, match="there is no metric 'h'"): view.show(metric="h")
    state = view.part()["state"]
    assert (state["where"], state["metric"], state["other"]) == ([0, 1], 1, 1)


def test_added_runs_keep_the_place_and_refuse_what_does_not_fit():
    view = SettingSlider(rows_of()[:15], start=0.0)
    view.hidden = [1]
    view.add({"confounding": -1.0, "method": "new", "seed": 0, "NMI": 0.1}, *rows_of()[15:])
    assert view.where == [1] and view.words.runs.arms == ["plain", "mask", EVIL, "new"] and view.hidden == [1]
    assert len(view.frame["values"]) == 46 and view.frame["settings"][0]["labels"] == ["-1", "0", "0.5", "1"]
    before = view.frame["number"]
    with pytest.raises(ValueError, match="2 runs have"): view.add(rows_of()[0])
    assert len(view.rows) == 46 and view.frame["number"] == before


def test_words_name_everything():
    view = SettingSlider(rows_of())
    said = view.words.in_words(0, [2])
    reading = view.words
    assert said.startswith("NMI at confounding 1: plain 0.499 [0.4")
    assert "mask 0.9" in said and "more than plain" in said
    assert interval_text(reading.mean(0, 1, [2]), 3) in said and said.count("(5 seeds)") == 3
    assert "plain" not in view.words.in_words(0, [2], other=1, hidden=[0])
    assert "no run" in Words(runs_of(rows_of()[:20], "confounding")).in_words(0, [1])


@pytest.mark.parametrize("options", [
    {}, {"differences": True}, {"compared": EVIL, "differences": True}, {"chance": 0.1},
    {"chance": {"NMI": {0.0: 0.1, 1.0: 0.3}}}, {"images": lambda x: np.zeros((5, 8, 8))}])
def test_stills(options):
    view = SettingSlider(rows_of(arms=("plain", "with $x_1$", EVIL)), **{"compared": None, **options})
    figure = view.static()
    assert isinstance(figure, Picture)
    figure.savefig("/dev/null", format="png")
    assert figure.get_suptitle().replace("\\$", "$") == view.words.in_words(0, [2], view.other)
    first = figure.axes[0]
    means = {line.get_label(): line.get_ydata() for line in first.lines if len(line.get_ydata()) == 3}
    if not options.get("differences"):
        assert means["plain"].tolist() == pytest.approx([view.words.mean(0, 0, [k]).mean for k in range(3)])


@pytest.mark.parametrize("rows", [
    [{"x": 1, "f": 0.5}],                                                                # one run
    [{"x": x, "f": 0.5} for x in "abc"],                                                 # words, one seed
    [{"x": x, "f": 0.0} for x in (0.02, 0.5)],                                           # all equal, a logarithmic axis
    [{"x": x, "f": None if x else 1} for x in (0, 1)],                                   # nothing at a setting
])
def test_little_data(rows):
    view = SettingSlider(rows, x="x", y="f", arm=None)
    view.static().savefig("/dev/null", format="png")
    assert "error" not in view.frame and "f at x" in view.words.in_words(0, view.where) and view.page()


def test_in_a_board_and_as_a_page():
    view = SettingSlider(rows_of(), images={0.0: np.zeros((2, 8, 8)), 1.0: np.ones((3, 8, 8))})
    assert EVIL not in view.page() and "\\u003cimg" in view.page()
    assert len(Board([view, SettingSlider(rows_of())]).page()) > 1000
