"Metrics of classification against scikit-learn and plain loops; values by hand; laws and faults."

import math
import warnings

import numpy as np
import pytest
import torch
from sklearn import metrics as S

from clnb import metrics as M
from clnb.core import generator


def answers(n=400, classes=5, seed=0):
    "Predictions and truths that agree about half the time."
    g = generator(seed)
    truth = torch.randint(classes, (n,), generator=g)
    guess = torch.where(torch.rand(n, generator=g) < 0.5, truth, torch.randint(classes, (n,), generator=g))
    return guess, truth


def scored(n=500, seed=0, levels=None, share=0.1):
    "Scores with some signal, optionally rounded so that many tie, and 0/1 targets."
    g = generator(seed)
    target = (torch.rand(n, generator=g) < share).long()
    target[:2] = torch.tensor([0, 1])
    scores = torch.randn(n, generator=g, dtype=torch.float64) + 1.3 * target
    return (scores if levels is None else (scores * levels).round() / levels), target


# F1, precision, recall, balanced accuracy

@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("seed", range(3))
def test_rates_against_scikit_learn(classes, seed):
    guess, truth = answers(300, classes, seed)
    p, r, f, _ = S.precision_recall_fscore_support(truth, guess)
    found = M.precision_recall(guess, truth)
    assert np.allclose(found.precision, p) and np.allclose(found.recall, r)
    assert np.allclose(M.f1(guess, truth), f)
    for average in ("macro", "micro", "weighted"):
        assert M.f1(guess, truth, average).item() == pytest.approx(S.f1_score(truth, guess, average=average))
    assert M.balanced_accuracy(guess, truth).item() == pytest.approx(S.balanced_accuracy_score(truth, guess))
    rare = truth.bincount().argmin().item()
    assert M.f1(guess, truth, "minority").item() == pytest.approx(f[rare])


def test_f1_by_hand():
    guess = torch.tensor([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    truth = torch.tensor([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
    assert M.f1(guess, truth)[1].item() == pytest.approx(6 / 9)             # tp 3, fp 1, fn 2
    assert M.precision_recall(guess, truth).precision[1].item() == 0.75
    assert M.precision_recall(guess, truth).recall[1].item() == 0.6


def test_always_benign_on_the_counts_of_isic():
    "B5: the trivial classifier."
    truth = torch.cat([torch.zeros(6509), torch.ones(117)]).long()
    guess = torch.zeros(6626).long()
    assert M.overall_accuracy(guess, truth).item() == pytest.approx(0.982342, abs=1e-6)
    assert M.f1(guess, truth, "minority") == 0
    assert M.f1(guess, truth, "macro").item() == pytest.approx(0.495546, abs=1e-6)
    assert M.balanced_accuracy(guess, truth) == 0.5
    scores = torch.zeros(6626)
    assert M.auroc(scores[truth == 1], scores[truth == 0]) == 0.5
    assert M.average_precision(scores, truth).item() == pytest.approx(117 / 6626)
    assert M.precision_recall(guess, truth).precision[1].isnan()


def test_what_never_occurs_is_nan_and_left_out_of_means():
    guess, truth = torch.tensor([0, 0, 2]), torch.tensor([0, 0, 0])
    assert M.f1(guess, truth, classes=4).isnan().tolist() == [False, True, False, True]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert M.f1(guess, truth, "macro").item() == pytest.approx(S.f1_score(truth, guess, average="macro"))
    assert M.balanced_accuracy(guess, truth).item() == pytest.approx(2 / 3)     # of the one class that occurs
    assert M.f1(guess, truth, "minority", classes=4).item() == pytest.approx(0.8)


def test_a_confusion_matrix_and_places_to_ignore():
    guess, truth = answers(200, 4)
    table = M.confusion_matrix(guess, truth)
    assert M.f1(table).equal(M.f1(guess, truth)) and M.balanced_accuracy(table) == M.balanced_accuracy(guess, truth)
    masked = truth.clone()
    masked[:50] = 255
    assert M.f1(guess, masked, ignore=255).equal(M.f1(guess[50:], truth[50:]))


def test_balanced_accuracy_is_the_area_of_hard_answers():
    "What a script calls AUC when it feeds 0/1 answers to the rank statistic."
    scores, target = scored(300)
    hard = (scores > 0.7).long()
    area = M.auroc(hard[target == 1].double(), hard[target == 0].double())
    assert area.item() == pytest.approx(M.balanced_accuracy(hard, target).item())


# curves

@pytest.mark.parametrize("levels", [None, 2, 0.5])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_curves_against_scikit_learn(levels, share):
    scores, target = scored(levels=levels, share=share)
    curve = M.roc_curve(scores, target)
    fpr, tpr, threshold = S.roc_curve(target, scores, drop_intermediate=False)
    assert np.allclose(curve.false_positive, fpr) and np.allclose(curve.true_positive, tpr)
    assert np.allclose(curve.threshold, threshold)
    precision, recall, threshold = S.precision_recall_curve(target, scores)
    found = M.pr_curve(scores, target)
    assert np.allclose(found.precision, precision[::-1]) and np.allclose(found.recall, recall[::-1])
    assert np.allclose(found.threshold[1:], threshold[::-1]) and found.threshold[0] == math.inf
    assert M.average_precision(scores, target).item() == pytest.approx(S.average_precision_score(target, scores))
    area = torch.trapezoid(curve.true_positive, curve.false_positive)
    assert area.item() == pytest.approx(S.roc_auc_score(target, scores))
    assert area.item() == pytest.approx(M.auroc(scores[target == 1], scores[target == 0]).item())


def test_area_by_hand():
    scores, target = torch.tensor([2.0, 0.0, 1.0, 0.0]), torch.tensor([1, 1, 0, 0])
    assert M.auroc(scores[:2], scores[2:]) == 0.625
    hard = (scores > 0.5).long()
    assert M.auroc(hard[:2].double(), hard[2:].double()) == 0.5 == M.balanced_accuracy(hard, target)


def test_curves_do_not_mind_the_order_or_a_monotone_change():
    scores, target = scored(levels=3)
    order = torch.randperm(len(scores), generator=generator(5))
    for curve in (M.roc_curve, M.pr_curve):
        for a, b in zip(curve(scores, target)[:2], curve(scores[order].exp(), target[order])[:2], strict=True):
            assert a.equal(b)


def test_perfect_and_reversed_scores():
    target = torch.tensor([0, 0, 0, 1, 1])
    assert M.average_precision(target.double(), target) == 1
    curve = M.roc_curve(-target.double(), target)
    assert torch.trapezoid(curve.true_positive, curve.false_positive) == 0


@pytest.mark.parametrize("function", [M.roc_curve, M.pr_curve, M.average_precision])
def test_faults_of_scores(function):
    with pytest.raises(ValueError, match="both of them"): function(torch.rand(4), torch.zeros(4))
    with pytest.raises(ValueError, match="both of them"): function(torch.rand(4), torch.tensor([0, 1, 2, 1]))
    with pytest.raises(ValueError, match="one per row"): function(torch.rand(4), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="NaN"): function(torch.tensor([0.1, math.nan]), torch.tensor([0, 1]))


# calibration

def expected_by_loops(p, y, bins):
    total = 0.0
    for b in range(bins):
        low, high = b / bins, (b + 1) / bins
        rows = [i for i in range(len(p)) if low < p[i] <= high or (b == 0 and p[i] == 0)]
        if rows: total += abs(np.mean([p[i] for i in rows]) - np.mean([y[i] for i in rows])) * len(rows)
    return total / len(p)


@pytest.mark.parametrize("bins", [1, 5, 15])
def test_calibration_against_loops(bins):
    g = generator(0)
    logits = torch.randn(400, 4, generator=g, dtype=torch.float64) * 2
    y = torch.randint(4, (400,), generator=g)
    p = logits.softmax(1)
    sure, guess = p.max(1)
    by_hand = expected_by_loops(sure.tolist(), (guess == y).double().tolist(), bins)
    assert M.expected_calibration_error(p, y, bins).item() == pytest.approx(by_hand)
    one, label = p[:, 1], (y == 1).long()
    by_hand = expected_by_loops(one.tolist(), label.tolist(), bins)
    assert M.expected_calibration_error(one, label, bins).item() == pytest.approx(by_hand)


def test_brier_against_scikit_learn():
    scores, target = scored()
    p = scores.sigmoid()
    assert M.brier(p, target).item() == pytest.approx(S.brier_score_loss(target, p))
    both = torch.stack([1 - p, p], 1)
    assert M.brier(both, target).item() == pytest.approx(2 * S.brier_score_loss(target, p))


def test_reliability_puts_the_ends_into_the_outer_bins():
    found = M.reliability(torch.tensor([0.0, 1.0, 0.5]), torch.tensor([0, 1, 1]), bins=2)
    assert found.count.tolist() == [2, 1] and found.observed.tolist() == [0.5, 1.0]
    empty = M.reliability(torch.tensor([0.9, 0.8]), torch.tensor([0, 1]), bins=4)
    assert empty.predicted.isnan().tolist() == [True, True, True, False]
    assert M.expected_calibration_error(torch.tensor([1.0, 0.0]), torch.tensor([1, 0])) == 0


@pytest.mark.parametrize("function", [M.reliability, M.expected_calibration_error, M.brier])
def test_faults_of_probabilities(function):
    with pytest.raises(ValueError, match="softmax"): function(torch.tensor([1.2, 0.1]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="sum to 1"): function(torch.tensor([[0.2, 0.2]]), torch.tensor([0]))
    with pytest.raises(ValueError, match="0 … 1, got 2"): function(torch.tensor([[0.5, 0.5]]), torch.tensor([2]))
    with pytest.raises(ValueError, match="NaN"): function(torch.tensor([math.nan, 0.1]), torch.tensor([0, 1]))


# bootstrap of a score

def test_bootstrap_of_a_mean_agrees_with_the_plain_one():
    x = torch.rand(300, generator=generator(3), dtype=torch.float64)
    a, b = M.bootstrap(x, draws=4000), M.bootstrap_score(torch.mean, x, draws=4000)
    assert a.value == pytest.approx(b.value)
    assert abs(a.low - b.low) < 0.004 and abs(a.high - b.high) < 0.004


def test_strata_keep_their_counts():
    scores, target = scored(200, share=0.02)
    seen = []
    M.bootstrap_score(lambda s, t: seen.append(t.bincount().tolist()) or 0.0, scores, target, draws=20, strata=target)
    assert all(counts == target.bincount().tolist() for counts in seen)
    found = M.bootstrap_score(M.average_precision, scores, target, draws=200, strata=target)
    assert found.low <= found.value <= found.high
    again = M.bootstrap_score(M.average_precision, scores, target, draws=200, strata=target)
    assert found == again


def test_faults_of_the_bootstrap_and_of_averages():
    with pytest.raises(ValueError, match="one length"): M.bootstrap_score(torch.mean, torch.rand(3), torch.rand(4))
    with pytest.raises(ValueError, match="confidence"): M.bootstrap_score(torch.mean, torch.rand(3), confidence=1)
    with pytest.raises(ValueError, match="expected one of"): M.f1(torch.tensor([0, 1]), torch.tensor([0, 1]), "mean")
