"""What is one batch paying for? The parts of the loss, shares and words against loops in double precision and
`clnb.losses.sup_con`; the view in Python."""

import math

import numpy as np
import pytest
import torch

from clnb.core import Picture
from clnb.data import ImageSet, VectorSet
from clnb.losses import sup_con
from clnb.methods.supercon import class_floor, hardest_share, per_class_loss
from clnb.run import History
from clnb.views.base import Board, Selection
from clnb.views.batch import (
    MODES,
    BatchSimilarity,
    by_class,
    compact,
    cosines,
    directions,
    embeddings,
    friends,
    hardest,
    in_words,
    logsumexp,
    paid,
    rows_of_data,
    weights,
)
from clnb.views.rewind import Rewind

EVIL = "<img src=x onerror=window.hacked=1>"
E = np.eye(4)


def batch(n=40, d=8, seed=0, unlabelled=3):
    "Embeddings of four classes, one of them with a single row; some rows without a label."
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.choice(3, n, p=(0.6, 0.3, 0.1)))
    labels[-1] = 3
    z = 2 * np.eye(4, d)[labels] + rng.normal(size=(n, d))
    labels[rng.choice(n - 1, unlabelled, replace=False)] = -1
    return z, labels


def by_hand(z, labels, t):
    "Loss of every anchor, by loops in double precision: NaN without a positive."
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    found = []
    for i in range(len(z)):
        x = [float(unit[i] @ unit[a]) / t for a in range(len(z)) if a != i]
        same = [labels[a] == labels[i] and labels[i] >= 0 for a in range(len(z)) if a != i]
        every = math.log(math.fsum(math.exp(v - max(x)) for v in x)) + max(x)
        own = [every - v for v, yes in zip(x, same, strict=True) if yes]
        found.append(math.fsum(own) / len(own) if own else math.nan)
    return np.array(found)


# ------------------------------------------------------------------------------------------------------------ the loss

@pytest.mark.parametrize("t", [0.02, 0.07, 0.1, 1, 5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_loss_is_that_of_sup_con_and_of_a_loop(t, seed):
    z, y = batch(seed=seed)
    parts = paid(cosines(z), y, t)
    assert parts.loss == pytest.approx(by_hand(z, y, t), rel=1e-12, nan_ok=True)
    oracle = sup_con(torch.from_numpy(z), torch.from_numpy(y), t, reduction="none").numpy()
    assert np.nan_to_num(parts.loss) == pytest.approx(oracle, rel=1e-10)
    mean = sup_con(torch.from_numpy(z), torch.from_numpy(y), t).item()
    assert np.nanmean(parts.loss) == pytest.approx(mean, rel=1e-10)


@pytest.mark.parametrize("t", [0.02, 0.1, 1])
def test_three_parts_that_are_never_negative(t):
    z, y = batch(60, seed=4)
    parts, w, mask = paid(cosines(z), y, t), weights(cosines(z), t), friends(y)
    there = mask.any(1)
    assert np.array_equal(np.isfinite(parts.loss), there)
    assert parts.loss == pytest.approx(parts.floor + parts.uneven + parts.push, nan_ok=True)
    for part in parts: assert part[there].min() >= -1e-12
    assert parts.floor[there] == pytest.approx(np.log(mask.sum(1)[there]))
    assert parts.push[there] == pytest.approx(-np.log((w * mask).sum(1)[there]))
    assert w.sum(1) == pytest.approx(np.ones(60)) and (np.diag(w) == 0).all()


@pytest.mark.parametrize(("z", "y", "t", "loss"), [      # supercon.md, section 9: T1 … T5
    ([[1, 0], [1, 0], [-1, 0], [-1, 0]], [0, 0, 1, 1], 1, math.log(1 + 2 * math.exp(-2))),
    ([[1, 0], [1, 0], [-1, 0], [-1, 0]], [0, 1, 0, 1], 1, 2 + math.log(1 + 2 * math.exp(-2))),
    (np.ones((10, 3)), [0] * 5 + [1] * 5, 0.1, math.log(9)),
    (E, [0, 0, 1, 1], 0.1, math.log(3)),
    (E[[0, 0, 0, 1]], [0, 0, 0, 1], 1, math.log(2 * math.e + 1) - 1)])
def test_cases_by_hand(z, y, t, loss):
    assert np.nanmean(paid(cosines(np.array(z, float)), np.array(y), t).loss) == pytest.approx(loss, abs=1e-12)


def test_each_part_has_its_own_zero():
    together = np.repeat(np.eye(2), 5, 0)                        # classes are points, at right angles
    y = np.repeat([0, 1], 5)
    parts = paid(cosines(together), y, 0.01)
    assert parts.uneven == pytest.approx(0, abs=1e-9) and parts.push == pytest.approx(0, abs=1e-9)
    assert parts.loss == pytest.approx(math.log(4)) and (parts.floor == parts.floor[0]).all()
    one = paid(cosines(batch()[0]), np.zeros(40, int), 0.1)      # one class: no negatives
    assert one.push == pytest.approx(0, abs=1e-9) and one.uneven.min() > 0
    all_equal = paid(np.ones((6, 6)), np.array([0, 0, 0, 1, 1, 1]), 0.3)
    assert all_equal.loss == pytest.approx(math.log(5)) and all_equal.uneven == pytest.approx(0)


def test_no_positive_no_loss_and_no_nan_elsewhere():
    y = np.array([0, 0, 1, -1, -1])
    parts = paid(cosines(batch(5, unlabelled=0)[0]), y, 0.1)
    for part in parts: assert np.isnan(part).tolist() == [False, False, True, True, True]
    assert np.isnan(paid(cosines(np.eye(4)), np.arange(4), 0.1).loss).all()
    assert sup_con(torch.eye(4), torch.arange(4)).item() == 0


def test_small_temperatures_do_not_overflow():
    z, y = batch()
    for t in (1e-3, 1e-6): assert np.isfinite(paid(cosines(z), y, t).loss[friends(y).any(1)]).all()
    assert np.isneginf(logsumexp(np.zeros((2, 3)), np.zeros((2, 3), bool))).all()


def test_rotations_orders_and_lengths_change_nothing():
    z, y = batch()
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    first = paid(cosines(z), y, 0.1).loss
    order = np.random.default_rng(2).permutation(len(z))
    scale = np.random.default_rng(3).uniform(0.1, 9, (len(z), 1))
    assert paid(cosines(z @ turn), y, 0.1).loss == pytest.approx(first, nan_ok=True)
    assert paid(cosines(z * scale), y, 0.1).loss == pytest.approx(first, nan_ok=True)
    assert paid(cosines(z[order]), y[order], 0.1).loss == pytest.approx(first[order], nan_ok=True)


def test_rows_of_zeros_and_rows_that_are_broken():
    z, y = batch()
    z[3] = 0
    assert (cosines(z)[3] == 0).all() and np.isfinite(paid(cosines(z), y, 0.1).loss[friends(y).any(1)]).all()
    oracle = sup_con(torch.from_numpy(z), torch.from_numpy(y), 0.1, reduction="none").numpy()
    assert np.nan_to_num(paid(cosines(z), y, 0.1).loss) == pytest.approx(oracle)
    z[5, 1], z[6, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match="2 of 40 rows are not finite; look for the step"): cosines(z)


# ----------------------------------------------------------------------------------------------------------- who pushes

@pytest.mark.parametrize("part", [0.01, 0.05, 0.1, 0.5])
def test_shares_against_a_loop(part):
    z, y = batch(50)
    s, found = cosines(z), []
    for t in (0.05, 0.3, 2):
        w, shares = weights(s, t), []
        for i in range(len(y)):
            mine = [a for a in range(len(y)) if a != i and not (y[a] == y[i] >= 0)]
            if not any(y[a] == y[i] >= 0 for a in range(len(y)) if a != i) or not mine: continue
            push = sorted((w[i, a] for a in mine), reverse=True)
            shares.append(sum(push[: math.ceil(part * len(push))]) / sum(push))
        found.append(np.mean(shares))
    assert hardest(s, y, (0.05, 0.3, 2), part) == pytest.approx(found)


def test_shares_are_those_of_the_supercon_lesson():
    z, y = batch(60, unlabelled=0)
    z, y = z[:-1], y[:-1]
    want = hardest_share(torch.from_numpy(z), torch.from_numpy(y), [1.0, 0.5, 0.1, 0.07], 0.1)
    assert hardest(cosines(z), y, [1.0, 0.5, 0.1, 0.07], 0.1) == pytest.approx(want.numpy(), rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_lower_temperatures_leave_the_push_to_fewer(seed):
    z, y = batch(seed=seed)
    share = hardest(cosines(z), y, (1.0, 0.5, 0.1, 0.07, 0.01))
    assert (np.diff(share) > 0).all() and 0.05 < share[0] < share[-1] <= 1
    assert hardest(cosines(z), y, [1e6])[0] == pytest.approx(
        np.mean([math.ceil(0.05 * c) / c for i, c in enumerate((~friends(y)).sum(1) - 1) if friends(y)[i].any()]), 1e-3)


def test_no_share_without_negatives_or_positives():
    z = batch()[0]
    assert np.isnan(hardest(cosines(z), np.zeros(40, int), [0.1, 1])).tolist() == [True, True]
    assert np.isnan(hardest(cosines(z), np.arange(40), [0.1])).all()


def test_classes_are_those_of_the_supercon_method():
    z, y = batch(80)
    want = per_class_loss(torch.from_numpy(z), torch.from_numpy(y), 0.1, 5)
    found = by_class(paid(cosines(z), y, 0.1), y, 5)
    assert found.loss == pytest.approx(want.loss.numpy(), nan_ok=True)
    assert found.floor == pytest.approx(want.floor.numpy(), nan_ok=True)
    assert found.floor == pytest.approx(class_floor(torch.from_numpy(found.rows)).numpy(), nan_ok=True)
    assert found.rows.tolist() == [int((y == k).sum()) for k in range(5)]
    assert found.loss == pytest.approx(found.floor + found.uneven + found.push, nan_ok=True)


@pytest.mark.parametrize("shape", [(6, 3), (6, 6), (6, 50), (2, 1)])
def test_fewer_dimensions_with_the_same_products(shape):
    x = directions(np.random.default_rng(0).normal(size=shape))
    assert compact(x).shape == (shape[0], min(shape)) and compact(x) @ compact(x).T == pytest.approx(x @ x.T)


# ---------------------------------------------------------------------------------------------------------------- words

def test_a_sentence():
    z, y = batch()
    parts = paid(cosines(z), y, 0.1)
    text = in_words(parts, 0.1, 0.254)
    for part in parts: assert f"{np.nanmean(part):.3f}" in text
    skipped = int(np.isnan(parts.loss).sum())
    assert text.startswith("At τ 0.1 an anchor pays") and f"{math.log(39):.3f}. The hardest 5 % " in text
    assert f"carry 25.4 % of their push. {skipped} rows have no positive and are skipped." in text
    assert in_words(parts, 0.1, math.nan, "mine").startswith("mine: at τ 0.1") and "hardest" not in in_words(
        parts, 0.1, math.nan)
    one = paid(cosines(E[[0, 0, 1]]), np.array([0, 0, 1]), 0.1)
    assert in_words(one, 0.1, 1.0).endswith("1 row has no positive and is skipped.")
    none = paid(cosines(E), np.arange(4), 0.1)
    assert in_words(none, 0.1, math.nan) == "No two of the 4 rows have one label, so there is nothing to pay"
    assert in_words(none, 0.1, math.nan, "x").startswith("x: no two")


# --------------------------------------------------------------------------------------------------------------- inputs

@pytest.mark.parametrize(("source", "labels", "more", "text"), [
    (np.ones(3), [0, 1, 2], {}, r"a batch is a matrix of numbers \[n, d\] with d ≥ 1, or a History; got float64 \[3\]"),
    (np.ones((3, 0)), [0, 1, 2], {}, r"got float64 \[3, 0\]"),
    ({"mine": np.array([["a"]])}, [0, 1], {}, "for 'mine'"),
    ({}, [0, 1], {}, "dict is empty"),
    (np.ones((6, 2)), [0, 1, 2], {}, r"'z' has 6 rows, but there are 3 labels; for 2 views .* labels.repeat\(2\)"),
    ({"mine": np.ones((5, 2))}, [0, 1, 2], {}, "'mine' has 5 rows, but there are 3 labels; give one label per row"),
    (np.ones((3, 2)), None, {}, r"a batch needs labels \[n\]"),
    (np.ones((3, 2)), [0.5, 1, 2], {}, "whole numbers"),
    (np.ones((1, 2)), [0], {}, "at least 2 rows; got 1"),
    (np.array([[1, 2], [np.nan, 1]]), [0, 0], {}, "1 of 2 rows are not finite"),
    (np.ones((2, 2)), [0, 0], {"temperature": 0}, "finite number above 0; got 0"),
    (np.ones((2, 2)), [0, 0], {"temperature": math.inf}, "above 0; got inf"),
    (np.ones((2, 2)), [0, 0], {"most": 1}, "2 … 1024; got 1"),
    (np.ones((2, 2)), [0, 0], {"hard": 0}, "1 … 64; got 0"),
    (np.ones((2, 2)), [0, 0], {"index": [0.5, 1]}, "whole numbers ≥ 0"),
    (np.ones((2, 2)), [0, 0], {"index": [0, -1]}, "whole numbers ≥ 0"),
    (np.ones((2, 2)), [0, 0], {"index": [0, 1, 2]}, "'index' has 3 rows, but there are 2 labels"),
    (np.ones((2, 2)), [0, 0], {"images": np.zeros((1, 4, 4))}, "index goes up to 1, but the data set has 1 rows"),
    (np.ones((2, 2)), [0, 0], {"images": np.zeros(2)}, "images have the shape")])
def test_faults_are_named(source, labels, more, text):
    with pytest.raises((ValueError, TypeError), match=text): BatchSimilarity(source, labels, **more)


@pytest.mark.parametrize(("more", "text"), [
    ({"temperature": -1}, "above 0; got -1"), ({"mode": "logits"}, "mode is one of similarity, weights; got 'logits'"),
    ({"anchor": 40}, "one of the 40 rows that are shown, or −1 for none; got 40"),
    ({"space": "b"}, "there is no embedding 'b'; there are 'a'")])
def test_show_what_is_not_there(more, text):
    z, y = batch()
    with pytest.raises(ValueError, match=text): BatchSimilarity({"a": z}, y).show(**more)


def test_show():
    z, y = batch()
    view = BatchSimilarity({"a": z, "b": z ** 3}, y)
    view.show(temperature=0.5, mode=MODES[1], outlined=False, anchor=7, space="b")
    assert (view.temperature, view.mode, view.outlined, view.anchor, view.space) == (0.5, "weights", False, 7, 1)
    state = view.part()["state"]
    assert state["temperature"] == 0.5 and state["anchor"] == 7 and state["space"] == 1
    assert view.show(anchor=-1).anchor == -1


def test_embeddings_from_many_sources():
    z, y = batch()
    history = History()
    history.record(0, embedding=z, projection=z[:, :3])
    assert [s.series for s in embeddings(history, None, 40)] == ["projection"]
    assert [s.series for s in embeddings(history, ["embedding"], 40)] == ["embedding"]
    both = BatchSimilarity({"run": history, "raw": torch.from_numpy(z).float()}, torch.from_numpy(y))
    assert [s.name for s in both.spaces] == ["run", "raw"] and both.in_words(1).startswith("raw: at τ 0.1")
    assert rows_of_data(None, 3).tolist() == [0, 1, 2] and rows_of_data(torch.tensor([4, 4]), 2).tolist() == [4, 4]


# ----------------------------------------------------------------------------------------------------------------- view

def decoded(part): return np.frombuffer(part["bytes"], part["dtype"]).reshape(part["shape"])


@pytest.mark.parametrize("d", [3, 8, 300])
def test_what_travels(d):
    rng, (_, y) = np.random.default_rng(0), batch()
    z = rng.normal(size=(40, d))
    view = BatchSimilarity({"a": z, EVIL: z ** 3}, y, classes=("a", EVIL, "c", "d"))
    first = decoded(view.frame["spaces"][0]["z"])
    assert first.shape == (40, min(d, 40)) and first @ first.T == pytest.approx(cosines(z), abs=1e-6)
    assert decoded(view.options["labels"]).tolist() == (y + 1).tolist() and view.options["part"] == 0.05
    assert view.options["classes"]["names"][1] == EVIL and EVIL not in view.page()
    assert view.frame["note"] == "40 rows"


def test_two_views_of_an_image_are_one_row_of_the_data_set():
    images = torch.arange(50, dtype=torch.uint8)[:, None, None, None].expand(50, 1, 8, 8).contiguous()
    data = ImageSet(images, torch.arange(50) % 5, tuple("abcde"))
    index = torch.tensor([7, 3, 41, 7, 3, 41])
    view = BatchSimilarity(torch.randn(6, 4), images=data, index=index)
    assert view.labels.tolist() == [2, 3, 1, 2, 3, 1] and view.classes == list("abcde")
    assert decoded(view.options["index"]).tolist() == index.tolist() and view.pictured.tolist() == [3, 7, 41]
    places = decoded(view.options["pictures"])
    shown = decoded(view.answer({"ask": "images", "rows": places.tolist()})["images"])
    assert shown[:, 0, 0, 0].tolist() == index.tolist()
    atlas = decoded(view.part()["state"]["atlas"]["images"])
    assert atlas[places][:, 0, 0, 0].tolist() == index.tolist()
    with pytest.raises(ValueError, match="cannot answer"): view.answer({"ask": "what"})
    with pytest.raises(ValueError, match="index goes up to 60"):
        BatchSimilarity(torch.randn(2, 4), images=data, index=[0, 60])
    listed = BatchSimilarity(torch.randn(2, 4), [0, 0], images=[np.zeros((8, 8)), np.ones((8, 8))])
    assert decoded(listed.answer({"ask": "images", "rows": [1]})["images"])[0, 0, 0, 0] == 255
    vectors = VectorSet(torch.zeros(4, 5), torch.arange(4) % 2, ("a", "b"))
    assert BatchSimilarity(torch.randn(4, 3), images=vectors).options["images"] is False


def test_many_rows_are_thinned_and_all_of_them_are_still_said():
    rng = np.random.default_rng(0)
    y = np.array([0] * 900 + [1] * 90 + [2] * 10)
    z = rng.normal(size=(1000, 16)) + np.eye(3, 16)[y]
    view = BatchSimilarity(z, y, most=200)
    assert len(view.rows) == 200 and (np.diff(view.rows) > 0).all() and np.bincount(y[view.rows])[2] == 10
    loss = sup_con(torch.from_numpy(z).float(), torch.from_numpy(y), 0.1).item()
    more = view.frame["spaces"][0]["more"]
    assert more == f" All 1,000 rows together: {loss:.3f} at τ 0.1." and view.in_words().endswith(more)
    assert view.frame["note"] == "200 of 1,000 rows"
    part = paid(cosines(z[view.rows].astype(np.float32)), y[view.rows], 0.1)
    assert f"pays {np.nanmean(part.loss):.3f}:" in view.in_words()
    view.whole = 500
    assert view.of_all(0, None) == ""


def test_a_history_step_by_step():
    z, y = batch()
    history = History()
    view = BatchSimilarity(history, y, temperature=0.3)
    assert "waiting for 'projection' to be recorded: run.measure" in view.frame["note"]
    assert view.in_words() == "nothing recorded yet"
    view.static().savefig("/dev/null", format="png")
    for step in (0, 10, 20): history.record(step, projection=z + step * np.eye(4, 8)[np.maximum(y, 0)])
    view.follow()
    assert view.recorded() == [0, 10, 20] and view.frame["step"] == 20
    view.seek(0)
    assert decoded(view.frame["spaces"][0]["z"]) == pytest.approx(directions(z), abs=1e-6)
    assert view.frame["note"] == "step 0 · 40 rows"
    losses = [np.nanmean(paid(cosines(view.rows_at(0, step)), y, 0.3).loss) for step in (0, 10, 20)]
    assert losses[0] > losses[1] > losses[2] and f"pays {losses[1]:.3f}" in view.in_words(0, 10)
    assert len(view.part()["state"]["frames"]) == 3 and len(view.part(2)["state"]["frames"]) == 2


def test_histories_at_different_steps():
    z, y = batch()
    one, two = History(), History()
    one.record(0, projection=z)
    two.record(10, projection=z)
    view = BatchSimilarity({"one": one, "two": two}, y)
    view.seek(0)
    assert view.recorded() == [0, 10] and view.frame["spaces"][1]["z"] is None


def test_a_wrong_record_is_said_in_its_place():
    history = History()
    history.record(0, projection=np.ones((4, 3)))
    assert "'projection' has 4 rows, but there are 2 labels" in BatchSimilarity(history, [0, 1]).frame["error"]
    broken = History()
    broken.record(0, projection=np.full((2, 3), np.nan))
    assert "2 of 2 rows are not finite" in BatchSimilarity(broken, [0, 0]).frame["error"]


@pytest.mark.parametrize("more", [{}, {"mode": "weights"}, {"outlined": False}, {"temperature": 0.005},
                                  {"space": "b$"}])
def test_stills(more):
    z, y = batch()
    view = BatchSimilarity({"$a": z, "b$": z[:, :3]}, y, classes=("a$", EVIL, "c", "d")).show(**more)
    figure = view.static()
    assert isinstance(figure, Picture) and len(figure.axes) == 3
    figure.savefig("/dev/null", format="png")
    assert figure.get_suptitle().replace("\n", " ").replace(r"\$", "$") == view.in_words(view.space)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [-1] * 4, [0] * 4, ["a", "b", "a", "b"]])
def test_stills_of_odd_batches(labels):
    view = BatchSimilarity(np.eye(4), labels)
    view.static().savefig("/dev/null", format="png")
    assert view.page() and "error" not in view.frame


def test_boards_rewind_and_pages():
    z, y = batch()
    history = History()
    for step in range(5): history.record(step, projection=z + step)
    board = Board([[BatchSimilarity(history, y), BatchSimilarity(z, y)]], Selection([3]))
    assert np.frombuffer(board.views[0].selected, "<u4").tolist() == [3]
    assert board.page() and board.static() and Rewind(BatchSimilarity(history, y)).board().page()


def test_pages_of_long_runs_stay_small():
    history, y = History(), np.arange(400) % 4
    rng = np.random.default_rng(0)
    for step in range(30): history.record(step, projection=rng.normal(size=(400, 400)).astype(np.float32))
    view = BatchSimilarity(history, y)
    assert 2 <= len(view.kept(60)) <= 31 and len(view.page(60)) < 40_000_000


def test_a_batch_of_4096():
    rng, y = np.random.default_rng(0), np.arange(4096) % 10
    view = BatchSimilarity(rng.normal(size=(4096, 64)).astype(np.float32), y)
    assert len(view.rows) == 512 and "All 4,096 rows together" in view.in_words()
