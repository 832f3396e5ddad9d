"""Where to draw the line? Counts, rules, intervals and words against loops and scikit-learn; the view in Python."""

import json
import math

import numpy as np
import pytest
import torch
from sklearn import metrics

from clnb.core import Picture
from clnb.data import ImageSet
from clnb.run import History
from clnb.views.base import Board, Selection
from clnb.views.linked import Gallery
from clnb.views.thresholds import (
    RULES,
    Cells,
    Thresholds,
    auc_interval,
    best,
    doubles,
    fixed,
    in_words,
    log_odds,
    measures,
    one_score,
    percent,
    plain,
    ranked,
    summary,
    two_classes,
    wilson,
)

EVIL = "<img src=x onerror=window.hacked=1>"


def cases(n=200, seed=0, kind="probability", share=0.2):
    "Scores and labels; some labels unknown, some scores equal."
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < share).astype(int)
    y[:2] = 0, 1
    x = rng.normal(size=n) + 1.2 * y
    if kind == "ties": x = np.round(x)
    if kind == "probability": x = 1 / (1 + np.exp(1 - x))
    y[rng.choice(np.arange(2, n), n // 10, replace=False)] = -1
    return x, y


def counted(scores, labels, t):
    "The table by a loop."
    found = dict.fromkeys(Cells._fields, 0)
    for s, y in zip(scores, labels, strict=True):
        if y >= 0: found[("tn", "fp", "fn", "tp")[2 * int(y) + int(s >= t)]] += 1
    return Cells(**found)


# ------------------------------------------------------------------------------------------------------------- counts

@pytest.mark.parametrize("kind", ["probability", "ties", "numbers"])
@pytest.mark.parametrize("seed", [0, 1])
def test_counts_against_a_loop(kind, seed):
    s, y = cases(seed=seed, kind=kind)
    r = ranked(s, y)
    known = np.unique(s[y >= 0])
    assert np.array_equal(r.scores, known[::-1]) and len(r.tp) == len(r.fp) == len(known) + 1
    spots = [*known, *(known[:-1] + known[1:]) / 2, known[0] - 1, known[-1] + 1, np.nextafter(known[3], 9),
             np.nextafter(known[3], -9)]
    for t in spots: assert r.at(t) == counted(s, y, t)


@pytest.mark.parametrize("kind", ["probability", "ties", "numbers"])
def test_a_cut_lets_through_as_many_as_it_says(kind):
    s, y = cases(kind=kind)
    r = ranked(s, y)
    assert [r.upto(r.cut(i)) for i in range(len(r.scores) + 1)] == list(range(len(r.scores) + 1))
    assert r.at(r.cut(0)).tp == r.at(r.cut(0)).fp == 0 and r.at(r.cut(len(r.scores))).fn == 0


def test_a_cut_between_neighbours_in_double_precision():
    a = 0.3
    r = ranked(np.array([a, np.nextafter(a, 1), 1.0]), np.array([0, 1, 1]))
    assert [r.upto(r.cut(i)) for i in range(4)] == [0, 1, 2, 3]


def test_curves_are_those_of_scikit_learn():
    s, y = cases(400, kind="ties")
    r, known = ranked(s, y), y >= 0
    fpr, tpr, t = metrics.roc_curve(y[known], s[known], drop_intermediate=False)
    assert np.allclose(r.fp / r.fp[-1], fpr) and np.allclose(r.tp / r.tp[-1], tpr)
    assert np.array_equal(r.scores, t[1:])


@pytest.mark.parametrize("t", [0.1, 0.3, 0.5, 0.9])
def test_measures_are_those_of_scikit_learn(t):
    s, y = cases(300)
    s, y = s[y >= 0], y[y >= 0]
    v, said = measures(ranked(s, y).at(t)), s >= t
    assert v["f1"] == pytest.approx(metrics.f1_score(y, said, zero_division=0))
    assert v["recall"] == pytest.approx(metrics.recall_score(y, said))
    assert v["balanced"] == pytest.approx(metrics.balanced_accuracy_score(y, said))
    if said.any(): assert v["precision"] == pytest.approx(metrics.precision_score(y, said))


def test_what_cannot_be_said_is_nan():
    v = measures(Cells(0, 0, 5, 7))
    assert math.isnan(v["precision"]) and v["f1"] == 0 and v["recall"] == 0 and v["balanced"] == 0.5


# -------------------------------------------------------------------------------------------------------------- rules

@pytest.mark.parametrize("rule", ["f1", "balanced", "cost"])
@pytest.mark.parametrize("kind", ["probability", "ties", "numbers"])
@pytest.mark.parametrize("cost", [0.3, 1, 20])
def test_rules_against_a_search(rule, kind, cost):
    s, y = cases(150, seed=3, kind=kind)
    r = ranked(s, y)
    def worth(t):
        c = counted(s, y, t)
        return -(cost * c.fn + c.fp) if rule == "cost" else measures(c)[rule]

    known = np.unique(s[y >= 0])
    every = [worth(t) for t in [*known, known[-1] + 1]]
    found = best(r, rule, cost)
    assert worth(found) == pytest.approx(max(every))
    lower = [t for t in known if t < found and worth(t) == worth(found) and r.upto(t) != r.upto(found)]
    assert not lower                                                            # of equally good ones the lowest


def test_f1_of_a_half_way_threshold_is_the_best_of_the_supercon_lesson():
    s, y = cases(200, seed=5)
    s, y = torch.from_numpy(s[y >= 0]), torch.from_numpy(y[y >= 0])
    order = s.sort().values
    cuts = torch.cat([order[:1] - 1, (order[1:] + order[:-1]) / 2])
    said, true = s > cuts[:, None], y.bool()
    want = cuts[(2 * (said & true).sum(1) / (said.sum(1) + true.sum())).argmax()].item()
    assert best(ranked(s.numpy(), y.numpy()), "f1") == pytest.approx(want)


def test_the_best_threshold_of_true_probabilities():
    rng = np.random.default_rng(0)
    p = rng.random(400_000)
    y = (rng.random(len(p)) < p).astype(int)
    for c in (0.5, 1, 4, 19): assert best(ranked(p, y), "cost", c) == pytest.approx(1 / (1 + c), abs=0.02)


def test_unknown_rule():
    with pytest.raises(ValueError, match="rule is one of half, f1, balanced, cost; got 'F2'"):
        best(ranked(*cases(20)), "F2")
    assert RULES[0] == "half" and best(ranked(*cases(20)), "half") == 0.5


# ---------------------------------------------------------------------------------------------------------- intervals

@pytest.mark.parametrize("part, whole", [(0, 10), (10, 10), (3, 45), (500, 1000), (1, 1)])
def test_wilson_solves_its_equation(part, whole):
    "The ends are those shares p whose test statistic |k/n − p| / √(p (1−p) / n) is 1.96."
    for end, share in zip(wilson(part, whole), (0, 1), strict=True):
        if part == whole * share: assert end == share
        else: assert abs(part / whole - end) / math.sqrt(end * (1 - end) / whole) == pytest.approx(1.959963984540054)
    assert all(map(math.isnan, wilson(0, 0)))


def test_auc_interval_against_its_definition():
    s, y = cases(120, seed=2, kind="ties")
    p, n = s[y == 1], s[y == 0]
    psi = (p[:, None] > n) + 0.5 * (p[:, None] == n)
    auc = psi.mean()
    error = math.sqrt(psi.mean(1).var(ddof=1) / len(p) + psi.mean(0).var(ddof=1) / len(n)) / (auc * (1 - auc))
    want = [1 / (1 + math.exp(-(math.log(auc / (1 - auc)) + k * 1.959963984540054 * error))) for k in (-1, 1)]
    assert auc_interval(p, n) == pytest.approx(want)


def test_auc_interval_covers_the_truth():
    "1.2 apart: the truth is Φ(1.2 / √2)."
    truth, rng = 0.5 * (1 + math.erf(1.2 / 2)), np.random.default_rng(0)
    found = [auc_interval(rng.normal(size=30) + 1.2, rng.normal(size=200)) for _ in range(600)]
    assert 0.92 < np.mean([low <= truth <= high for low, high in found]) < 0.98


def test_no_interval_where_there_is_no_overlap():
    assert all(map(math.isnan, auc_interval(np.array([2.0, 3.0]), np.array([0.0, 1.0]))))
    assert all(map(math.isnan, auc_interval(np.array([2.0]), np.array([0.0, 3.0]))))


def test_summary_against_scikit_learn():
    s, y = cases(500, seed=1)
    told, known = summary("m", s, y), y >= 0
    assert told["auc"] == pytest.approx(metrics.roc_auc_score(y[known], s[known]))
    assert told["ap"] == pytest.approx(metrics.average_precision_score(y[known], s[known]))
    assert told["brier"] == pytest.approx(metrics.brier_score_loss(y[known], s[known]))
    gap, which = 0.0, np.clip(np.ceil(s[known] * 15).astype(int) - 1, 0, 14)
    for b in range(15):
        here = which == b
        if here.any():
            gap += abs(s[known][here].mean() - y[known][here].mean()) * here.mean()
            assert told["bins"][b] == pytest.approx([s[known][here].mean(), y[known][here].mean(), here.sum()])
        else: assert told["bins"][b] == [0, 0, 0]
    assert told["ece"] == pytest.approx(gap)


def test_scores_that_are_no_probabilities_have_no_calibration():
    s, y = cases(kind="numbers")
    told = summary("m", s, y)
    assert not told["probability"] and told["ece"] is None and told["brier"] is None and told["bins"] == []


# -------------------------------------------------------------------------------------------------------------- words

@pytest.mark.parametrize("value, digits, text", [(0.125, 2, "0.13"), (-0.5, 0, "−1"), (math.nan, 2, "–"),
                                                 (1e-9, 3, "0.000"), (12345.678, 1, "12345.7")])
def test_fixed(value, digits, text): assert fixed(value, digits) == text


@pytest.mark.parametrize("value, text", [(0, "0"), (0.5, "0.5"), (1, "1"), (123456, "123500"), (1e-6, "0.000001"),
                                         (9.9999e-7, "0.000001"), (2.5e-7, "2.5e−7"), (-1e22, "−1e+22"),
                                         (0.00012344, "0.0001234"), (99999, "100000")])
def test_plain(value, text): assert plain(value) == text


def test_a_sentence():
    s, y = cases(50, seed=4)
    text = in_words("mine", ranked(s, y), 0.4, ("no", "yes"))
    c = counted(s, y, 0.4)
    assert f"{c.tp} of {c.tp + c.fn} yes found" in text and f"{c.fp} false alarms among {c.fp + c.tn} no" in text
    assert percent(c.tp / (c.tp + c.fn)) in text
    assert "1 false alarm among" in in_words("m", ranked(np.array([1.0, 2, 0]), np.array([0, 1, 0])), 1, "ab")
    assert "precision –" in in_words("m", ranked(np.array([1.0, 2]), np.array([0, 1])), 3, "ab")


def test_numbers_travel_without_loss():
    x = np.array([0.1, 1 / 3, -1e-300, 7e18])
    assert np.array_equal(np.frombuffer(doubles(x)["bytes"], "<f8"), x)
    assert np.isfinite(log_odds(np.array([0, 0.5, 1]))).all() and log_odds(np.float64(0.5)) == 0


# ------------------------------------------------------------------------------------------------------------- inputs

@pytest.mark.parametrize("labels, names, text", [
    ([0, 1, 2], None, "both of them, got \\[0, 1, 2\\]"), ([1, 1, 1], None, "both of them, got \\[1\\]"),
    ([0, -1, 0], None, "both of them"), (["a", "b"], None, "which class is searched for"),
    ([0, 1], ("a", "b", "c"), "those of the two classes"), (["a", "c"], ("a", "b"), "not among the names"),
    ([0, 1], "ab", "list of texts"), ([[0, 1]], None, "one class per row"), ([0.5, 1.0], None, "whole numbers")])
def test_bad_labels(labels, names, text):
    with pytest.raises((ValueError, TypeError), match=text): two_classes(labels, names)


@pytest.mark.parametrize("labels", [[0, 1, -1], [False, True, None], torch.tensor([0, 1, -1]),
                                    np.array([0, 1, -1], np.int8), [0.0, 1.0, math.nan]])
def test_labels_of_many_kinds(labels): assert two_classes(labels)[0].tolist() == [0, 1, -1]


def test_names_of_texts_say_which_is_positive():
    assert two_classes(["b", "a", "b"], ("b", "a"))[0].tolist() == [0, 1, 0]
    assert two_classes([0, 1], ("benign", "malignant"))[1] == ["benign", "malignant"]


@pytest.mark.parametrize("values, text", [
    ([0.1, math.nan], "1 of 2 scores of 'm' are not finite"), ([0.1, math.inf], "log odds"),
    ([0.1], "has 1 rows, but there are 2 labels"), ([[0.1, 0.2, 0.7]] * 2, "or \\[n, 2\\] of both classes"),
    (["a", "b"], "are numbers")])
def test_bad_scores(values, text):
    with pytest.raises(ValueError, match=text): one_score("m", values, 2)


def test_scores_of_many_shapes():
    both = torch.softmax(torch.randn(5, 2, generator=torch.Generator().manual_seed(0)), 1)
    assert np.allclose(one_score("m", both, 5), both[:, 1].numpy())
    assert one_score("m", both[:, 1:].half().requires_grad_(), 5).shape == (5,)
    assert one_score("m", [1, 0, 1, 1, 0], 5).dtype == np.float64


@pytest.mark.parametrize("more, text", [
    ({"threshold": math.inf}, "finite number"), ({"threshold": {"his": 1}}, "there is no model 'his'"),
    ({"cost": 0}, "above 0; got 0"), ({"most": 0}, "1 … 64"), ({"images": np.zeros((3, 4, 4))}, "'images' has 3 rows"),
    ({"images": np.zeros((50,))}, "images have the shape"),
    ({"validation": ({"his": [0, 1]}, [0, 1])}, "give both the same names"),
    ({"validation": ([0, 1, 1], [0, 1])}, "has 3 rows")])
def test_bad_options(more, text):
    s, y = cases(50)
    with pytest.raises(ValueError, match=text): Thresholds(s, y, **more)


def test_no_model():
    with pytest.raises(ValueError, match="there is no model"): Thresholds({}, [0, 1])


# --------------------------------------------------------------------------------------------------------------- view

def test_first_thresholds():
    s, y = cases()
    logits, odd = cases(kind="numbers")[0], cases(kind="numbers")[0] + 20
    view = Thresholds({"p": s, "l": logits, "o": odd}, y)
    assert view.thresholds == [0.5, 0.0, best(ranked(odd, y), "f1")]
    assert Thresholds(s, y, threshold=0.3).thresholds == [0.3]
    assert Thresholds({"p": s, "l": logits}, y, threshold={"l": 1}).thresholds == [0.5, 1.0]


def test_rules_use_the_validation_cases():
    s, y = cases(seed=0)
    other, truth = cases(seed=1)
    view = Thresholds({"a": s, "b": 1 - s}, y, validation=({"b": 1 - other, "a": other}, truth), cost=3)
    for rule in RULES:
        view.show(rule=rule)
        assert view.thresholds == [best(ranked(other, truth), rule, 3), best(ranked(1 - other, truth), rule, 3)]


def test_half_leaves_what_is_no_probability():
    s, y = cases()
    logits = cases(kind="numbers")[0]
    view = Thresholds({"p": s, "l": logits}, y, threshold={"p": 0.2, "l": 0.7}).show(rule="half")
    assert view.thresholds == [0.5, 0.7]


@pytest.mark.parametrize("cell", Cells._fields)
def test_rows_of_a_cell(cell):
    s, y = cases()
    view = Thresholds({"other": s[::-1].copy(), "mine": s}, y).show(model="mine", threshold=0.4, cell=cell)
    want = [i for i in range(len(y)) if y[i] >= 0 and ("tn", "fp", "fn", "tp")[2 * y[i] + int(s[i] >= 0.4)] == cell]
    assert view.rows(cell).tolist() == want == view.selection.index.tolist()
    view.show(threshold=0.6)
    assert view.selection.index.tolist() == view.rows(cell).tolist() != want     # it follows


@pytest.mark.parametrize("more, text", [({"model": "x"}, "there is no model 'x'; there are the model"),
                                        ({"cell": "fx"}, "cell is one of tp, fp, fn, tn"),
                                        ({"cost": -1}, "above 0"), ({"threshold": math.nan}, "finite"),
                                        ({"rule": "best"}, "rule is one of")])
def test_show_what_is_not_there(more, text):
    with pytest.raises(ValueError, match=text): Thresholds(*cases()).show(**more)


def test_models_are_added():
    s, y = cases()
    view = Thresholds({"a": s}, y).show(threshold=0.3)
    view.add(b=1 - s, a=s / 2)
    assert list(view.scores) == ["a", "b"] and view.thresholds == [0.3, 0.5]
    assert [m["name"] for m in view.frame["models"]] == ["a", "b"]
    with pytest.raises(ValueError, match="not finite"): view.add(c=s * math.nan)
    assert list(view.scores) == ["a", "b"]


def test_a_history_is_followed():
    s, y = cases()
    history = History()
    view = Thresholds(history, y, threshold=0.25)
    assert "has not been recorded yet" in view.frame["note"] and view.thresholds == []
    history.record(0, scores=s / 2)
    history.record(10, scores=s)
    view.refresh()
    assert view.thresholds == [0.25] and list(view.recorded()) == [0, 10]
    assert np.allclose(np.frombuffer(view.frame["models"][0]["scores"]["bytes"], "<f8"), s)
    view.seek(3)
    assert np.allclose(np.frombuffer(view.frame["models"][0]["scores"]["bytes"], "<f8"), s / 2)
    history.record(20, scores=s * math.nan)
    view.seek(None)
    assert "look for the step at which the training broke" in view.frame["error"]
    with pytest.raises(ValueError, match="come from a history"): view.add(b=s)
    with pytest.raises(ValueError, match="no validation cases"): Thresholds(history, y, validation=(s, y))


def test_crowded_probabilities_are_stretched():
    s, y = cases(share=0.2)
    assert not Thresholds(s, y).stretched and Thresholds(s / 100, y).stretched
    assert not Thresholds(s / 100, y, stretch=False).stretched and Thresholds(s, y, stretch=True).stretched
    assert not Thresholds(cases(kind="numbers")[0], y).stretched


@pytest.mark.parametrize("kind", ["probability", "ties", "numbers"])
@pytest.mark.parametrize("stretch", [True, False])
def test_still(kind, stretch):
    s, y = cases(kind=kind)
    view = Thresholds({"$a$": s, EVIL: s[::-1].copy()}, y, names=(EVIL, "$x^{"), stretch=stretch)
    for _ in range(2):
        figure = view.static()
        assert isinstance(figure, Picture) and len(figure._repr_png_()) < 60_000 and len(figure.axes) == 4
        view.show(model=EVIL, threshold=99)
    assert "\\$x^{" in figure._suptitle.get_text()


def test_a_page_carries_its_state_and_no_markup():
    s, y = cases()
    images = torch.zeros(len(y), 1, 8, 8, dtype=torch.uint8)
    data = ImageSet(images, torch.from_numpy(np.maximum(y, 0)), ("no", "yes"))
    view = Thresholds({EVIL: s}, y, data, names=("</script>", "yes")).show(threshold=0.25, cell="fn")
    text = view.page()
    assert EVIL not in text and text.count("</script>") == 1
    state = view.part()["state"]
    assert state["thresholds"] == [0.25] and state["cell"] == "fn" and state["atlas"]["images"]["shape"][0] == len(y)
    assert view.answer({"ask": "images", "rows": [0, 3]})["images"]["shape"] == [2, 1, 8, 8]
    json.dumps(state["options"], default=str)


def test_linked_and_on_a_board():
    s, y = cases()
    images = torch.zeros(len(y), 1, 8, 8, dtype=torch.uint8)
    selection, view, gallery = Selection(), Thresholds(s, y, images), Gallery(images, np.maximum(y, 0))
    board = Board([[view, gallery]], selection)
    view.show(cell="fp")
    assert np.array_equal(gallery.selection.index, view.rows("fp")) and board.static() is not None
    with pytest.raises(ValueError, match="cannot answer"): Thresholds(s, y).answer({"ask": "images", "rows": [0]})


def test_many_cases():
    rng = np.random.default_rng(0)
    y = (rng.random(200_000) < 0.02).astype(int)
    view = Thresholds(rng.random(200_000) * 0.9 + 0.1 * y, y)
    assert sum(view.ranks["the model"].at(0.5)) == 200_000
