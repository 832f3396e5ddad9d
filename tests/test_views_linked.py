"""Gallery, Confusion, ClassTable, Neighbours and Hierarchy: their numbers against independent computation."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    normalized_mutual_info_score,
    precision_score,
    recall_score,
)
from sklearn.neighbors import NearestNeighbors

from clnb.data import ImageSet, VectorSet
from clnb.run import History
from clnb.views.base import Selection
from clnb.views.linked import (
    ClassTable,
    Confusion,
    Gallery,
    Hierarchy,
    Neighbours,
    accuracies,
    class_numbers,
    codes,
    confidences,
    decided,
    from_centre,
    lines_of,
    majority,
    means_by_class,
    moves_between,
    nearest_rows,
    quality,
    same_label,
    stratified,
    table,
    tidy_places,
    tree_of,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def array(packed):
    return np.frombuffer(packed["bytes"], packed["dtype"]).reshape(packed["shape"])


def labelled(n=500, classes=7, seed=0):
    source = rng(seed)
    labels = source.integers(0, classes, n)
    guess = np.where(source.random(n) < 0.7, labels, source.integers(0, classes, n))
    return labels, guess


def views(n=60):
    """One view of each kind over the same rows."""
    labels, guess = labelled(n, 3)
    images = rng(1).integers(0, 256, (n, 1, 6, 6), dtype=np.uint8)
    return [Gallery(images, labels), Confusion(labels, guess), ClassTable(labels, predictions=guess),
            Neighbours(rng(2).normal(size=(n, 8)), images, labels), Hierarchy({"a": labels // 2, "b": labels})]


# ------------------------------------------------------------------------------------------------------- class numbers

@pytest.mark.parametrize("values, numbers, names", [
    ([0, 2, -1, -7], [0, 2, -1, -1], ["0", "1", "2"]),
    (torch.tensor([1, 0]), [1, 0], ["0", "1"]),
    ([0.0, np.nan, 2.0, np.inf], [0, -1, 2, -1], ["0", "1", "2"]),
    (["b", "a", "b"], [1, 0, 1], ["a", "b"]),
    (["b", None, float("nan")], [0, -1, -1], ["b"]),
    ([True, False], [1, 0], ["0", "1"]),
    ([], [], []),
    ([10, None, 2], [10, -1, 2], [str(k) for k in range(11)]),
    (np.array([True, None], dtype=object), [1, -1], ["0", "1"]),
])
def test_labels_of_any_kind(values, numbers, names):
    found, called = class_numbers("label", values)
    assert found.tolist() == numbers and called == names and found.dtype == np.int32


def test_names_are_filled_up_and_kept():
    assert class_numbers("label", [0, 3], ["x", "y"])[1] == ["x", "y", "2", "3"]
    assert class_numbers("label", [0], ["x", "y"])[1] == ["x", "y"]
    assert class_numbers("label", ["y", "x"], ["x", "y"])[0].tolist() == [1, 0]


@pytest.mark.parametrize("values, names, said", [
    ([[1]], None, "one class per row"), ([0.5], None, "cut numbers into classes"),
    ([10**7], None, "number the classes anew"),
    ([0], "cat", r"write \['cat'\]"), (["z"], ["x"], "holds 'z'"), ([1j], None, "whole numbers or texts")])
def test_labels_that_are_none(values, names, said):
    with pytest.raises((ValueError, TypeError), match=said): class_numbers("label", values, names)


@pytest.mark.parametrize("count, dtype", [
    (3, "uint8"), (254, "uint8"), (255, "uint16"), (65_534, "uint16"), (65_535, "uint32")])
def test_codes_come_back(count, dtype):
    numbers = np.r_[-1, 0, count - 1]
    made = codes(numbers, count)
    assert made["dtype"] == dtype and (array(made).astype(np.int64) - 1).tolist() == numbers.tolist()


# --------------------------------------------------------------------------------------------------------- the gallery

def test_the_sample_is_fair_and_the_same():
    labels = np.r_[np.zeros(1000, int), np.ones(4, int), np.full(300, 2), np.full(2, -1)]
    rows = stratified(labels, 60)
    assert np.bincount(labels[rows] + 1).tolist() == [2, 27, 4, 27] and len(set(rows)) == 60
    assert np.array_equal(rows, stratified(labels, 60))
    assert sorted(stratified(labels, 10**6)) == list(range(len(labels))) and len(stratified(labels[:0], 5)) == 0


def test_the_gallery_sends_only_what_is_asked_for():
    images = rng().integers(0, 256, (5000, 3, 8, 8), dtype=np.uint8)
    view = Gallery(images, rng().integers(0, 5, 5000), columns={"loss": rng().random(5000)})
    assert len(json.dumps(view.options, default=lambda x: x.hex())) < 70_000 < images.nbytes / 10    # no image yet
    assert np.array_equal(array(view.answer({"ask": "images", "rows": [7, 4000]})["images"]), images[[7, 4000]])
    with pytest.raises(ValueError, match="cannot answer"): view.answer({"ask": "neighbours", "row": 0})


def test_the_gallery_shows_the_selected_rows_still():
    view = Gallery(rng().random((50, 6, 6)), most=12)
    assert len(view.shown()) == 12
    view.link(Selection([3, 48, 99]))
    assert view.shown().tolist() == [3, 48] and view.static().axes


# ----------------------------------------------------------------------------------------------------------- confusion

def test_the_table_against_scikit_learn():
    labels, guess = labelled()
    counts = table(labels, guess, 7)
    assert np.array_equal(counts, confusion_matrix(labels, guess))
    accuracy, balanced, recall, precision = accuracies(counts)
    assert accuracy == pytest.approx(accuracy_score(labels, guess))
    assert balanced == pytest.approx(balanced_accuracy_score(labels, guess))
    assert recall == pytest.approx(recall_score(labels, guess, average=None))
    assert precision == pytest.approx(precision_score(labels, guess, average=None))


def test_unlabelled_rows_are_counted_apart():
    labels, guess = labelled()
    labels[:20], guess[10:25] = -1, -1
    view = Confusion(labels, guess)
    known = (labels >= 0) & (guess >= 0)
    note = view.frame["note"]
    assert f"{known.sum()} rows" in note and "20 unlabelled" in note and "5 without a prediction" in note
    assert f"accuracy {(labels == guess)[known].mean():.1%}" in note
    assert "no row has a label" in Confusion([-1, -1], [0, 1]).frame["note"]


def test_texts_and_scores_are_predictions_too():
    assert "accuracy 50.0%" in Confusion(["cat", "dog"], ["cat", "cow"]).frame["note"]
    assert Confusion(["cat", "dog"], ["cat", "cow"]).names == ["cat", "cow", "dog"]
    scores = rng().random((40, 4)) + 4 * np.eye(4)[np.arange(40) % 4]
    view = Confusion(np.arange(40) % 4, scores)
    assert "accuracy 100.0%" in view.frame["note"] and view.frame["confidence"] is None   # not probabilities
    share = scores / scores.sum(1, keepdims=True)
    for made in (Confusion(np.arange(40) % 4, share), Confusion(np.arange(40) % 4, probabilities=share)):
        assert np.allclose(array(made.frame["confidence"]), share.max(1))
    assert decided([[np.nan, 1.0], [0.0, 1.0]])[0].tolist() == [-1, 1]


def test_a_class_that_is_only_predicted_has_a_column():
    view = Confusion([0, 1, 1], [0, 4, 1], ["a", "b"])
    assert view.frame["count"] == 5 and "balanced 75.0%" in view.frame["note"]


def test_confusion_follows_a_history():
    labels, guess = labelled(100, 3)
    history = History()
    view = Confusion(labels, history)
    assert "waiting for 'predictions'" in view.frame["note"]
    history.record(0, predictions=guess)
    history.record(5, predictions=np.eye(3)[labels])       # scores
    view.refresh()
    assert "step 5" in view.frame["note"] and "accuracy 100.0%" in view.frame["note"]
    assert np.array_equal(array(view.picture(0)["predictions"]).astype(int) - 1, guess)
    history.record(9, predictions=guess[:50])
    view.refresh()
    assert "'predictions' has 50 rows, but there are 100 labels" in view.frame["error"]


@pytest.mark.parametrize("make, said", [
    (lambda: Confusion([0, 1], [0]), "'predictions' has 1 rows, but there are 2 labels"),
    (lambda: Confusion([0, 1]), "needs predictions"),
    (lambda: Confusion([0, 1], History(), probabilities=[1.0, 1.0]), "record the probabilities"),
    (lambda: Confusion([0, 1], np.zeros((2, 2, 2))), r"scores \[n, classes\]"),
    (lambda: Confusion([0, 1], [0, 1], probabilities=[3.0, 1.0]), "take a softmax"),
    (lambda: Confusion([0, 1], [0, 3], probabilities=[[0.5, 0.5]] * 2), "one column per class"),
    (lambda: Confusion([0, 5000], [0, 1]), "use ClassTable"),
    (lambda: ClassTable([0, 1], columns={"x": [1.0]}), "'x' has 1 rows"),
    (lambda: ClassTable([0, 1], predictions=[0]), "'predictions' has 1 rows"),
    (lambda: Gallery(np.zeros((4, 8, 8)), [0, 1]), "'labels' has 2 rows, but there are 4 images"),
    (lambda: Gallery(np.zeros((4, 8))), "images have the shape"),
    (lambda: Gallery(np.zeros((4, 8, 8)), most=0), "1 … 512"),
    (lambda: Neighbours(np.zeros(4)), "numbers in one row per item"),
    (lambda: Neighbours(np.zeros((4, 2)), k=0), "1 … 100"),
    (lambda: Neighbours(np.zeros((4, 2)), labels=[1]), "'labels' has 1 rows, but there are 4 rows of features"),
    (lambda: Neighbours(np.zeros((4, 2)), np.zeros((3, 8, 8))), "'images' has 3 rows"),
    (lambda: Hierarchy({}), "at least one level"),
    (lambda: Hierarchy({"a": [0, 1], "b": [0]}), "'b' has 1 rows, but there are 2 rows in 'a'"),
    (lambda: Hierarchy([0, 1]), r"\[levels, n\]"),
    (lambda: Hierarchy({"a": [0]}, names=["x"]), "dict level name"),
    (lambda: Hierarchy({"a": [0]}, labels=[0, 1]), "'labels' has 2 rows"),
    (lambda: Hierarchy({"a": [0, 1]}, images=np.zeros((3, 8, 8))), "'images' has 3 rows"),
    (lambda: Hierarchy({"a": [0, 1]}, images=np.zeros((2, 8, 8)), features=np.zeros((3, 2))), "'features' has 3 rows"),
    (lambda: Hierarchy({"a": [0, 1]}, features="projection"), "there is no History"),
    (lambda: Hierarchy({"a": [0, 1]}, shape="circle"), "icicle, tree, sunburst, list, moves"),
])
def test_wrong_input_is_explained(make, said):
    with pytest.raises((ValueError, TypeError), match=said): make()


def test_confidences_need_a_prediction():
    assert np.isnan(confidences([[0.3, 0.7]], np.array([-1]))[0])


# ---------------------------------------------------------------------------------------------------------- class table

def test_means_by_class():
    labels, values = rng().integers(-1, 4, 200), rng(1).normal(size=200)
    values[::9] = np.nan
    expected = [np.nanmean(values[labels == k]) for k in range(4)]
    assert means_by_class(labels, values, 4) == pytest.approx(expected)
    assert np.isnan(means_by_class(labels, values, 5)[4])


def test_the_class_table_carries_its_columns():
    labels, guess = labelled(90, 3)
    labels[:5] = -1
    view = ClassTable(labels, ["a", "b", "c"], {"n": np.arange(90), "kind": ["x", "y", "z"] * 30,
                                                "file": [f"{i}.png" for i in range(90)]}, guess)
    kinds = {c["name"]: c["kind"] for c in view.options["columns"]}
    assert kinds == {"n": "number", "kind": "category"} and "5 unlabelled" in view.frame["note"]
    assert "without file" in view.frame["note"]
    right = array(view.frame["right"])
    assert np.array_equal(right, np.where(labels >= 0, labels == guess, 2))


def test_the_class_table_follows_a_history():
    history = History()
    view = ClassTable([0, 1], predictions=history)
    assert view.frame["right"] is None
    history.record(3, predictions=np.array([0, 0]))
    view.refresh()
    assert array(view.frame["right"]).tolist() == [1, 0] and "step 3" in view.frame["note"]


# ----------------------------------------------------------------------------------------------------------- neighbours

@pytest.mark.parametrize("cosine", [False, True])
def test_neighbours_against_scikit_learn(cosine):
    x = rng().normal(size=(300, 10))
    view = Neighbours(x, k=5, cosine=cosine)
    reply = view.answer({"ask": "neighbours", "rows": [4, 17]})
    space = x / np.linalg.norm(x, axis=1, keepdims=True) if cosine else x
    far, near = NearestNeighbors(n_neighbors=6).fit(space).kneighbors(space[[4, 17]])
    assert np.array_equal(array(reply["rows"]), near[:, 1:])
    assert np.allclose(array(reply["distances"]), far[:, 1:], atol=1e-4)
    tables = view.atlas()["by_step"]["newest"]
    assert np.array_equal(array(tables["rows"])[[4, 17]], near[:, 1:])


def test_agreement_of_labels():
    labels, near = rng().integers(-1, 3, 50), rng(1).integers(0, 50, (50, 6))
    expected = [np.mean([labels[j] == labels[i] for j in near[i] if labels[j] >= 0] or [np.nan]) if labels[i] >= 0
                else np.nan for i in range(50)]
    assert same_label(labels, np.arange(50), near) == pytest.approx(expected, nan_ok=True)


def test_few_missing_and_many_rows():
    one = Neighbours(np.zeros((1, 3)))
    assert array(one.answer({"ask": "neighbours", "rows": [0]})["rows"]).shape == (1, 0)
    x = rng().normal(size=(30, 3))
    x[4] = np.nan
    view = Neighbours(x, k=29)
    reply = view.answer({"ask": "neighbours", "rows": [4, 5]})
    assert np.isnan(array(reply["distances"])[0]).all()
    assert 4 not in array(reply["rows"])[1][np.isfinite(array(reply["distances"])[1])]
    view.static()
    big = Neighbours(rng().normal(size=(25_000, 4)).astype(np.float32), k=3)
    reply = big.answer({"ask": "neighbours", "rows": list(range(20_000))})
    assert 64 <= len(array(reply["asked"])) <= 2000 and array(reply["asked"])[-1] == 19_999
    assert big.atlas() == {}


def test_neighbours_walk_through_a_history():
    history = History()
    view = Neighbours(history, labels=np.arange(20) % 2, k=3)
    assert "waiting for 'embedding'" in view.frame["note"] and view.atlas() == {}
    x = [rng(k).normal(size=(20, 4)) for k in range(3)]
    for k in range(3): history.record(10 * k, embedding=x[k])
    view.refresh()
    for k in range(3):
        _, near = NearestNeighbors(n_neighbors=4).fit(x[k]).kneighbors(x[k])
        reply = view.answer({"ask": "neighbours", "rows": [7], "position": k})
        assert reply["step"] == 10 * k and np.array_equal(array(reply["rows"])[0], near[7, 1:])
        assert np.array_equal(array(view.atlas()["by_step"][str(10 * k)]["rows"]), near[:, 1:])


# ------------------------------------------------------------------------------------------------------------ hierarchy

def test_majority_against_counting():
    groups, labels = rng().integers(-1, 6, 300), rng(1).integers(-1, 4, 300)
    best, share = majority(groups, labels, 7)
    for g in range(6):
        counts = np.bincount(labels[(groups == g) & (labels >= 0)], minlength=4)
        assert best[g] == counts.argmax() and share[g] == pytest.approx(counts.max() / counts.sum())
    assert best[6] == -1 and np.isnan(share[6])


def random_levels(n=400, seed=0):
    source = rng(seed)
    fine = source.integers(-1, 20, n)
    middle = np.where(source.random(n) < 0.8, fine // 4, source.integers(0, 5, n))
    return [np.where(middle < 0, -1, middle // 2), middle, fine]


@pytest.mark.parametrize("seed", range(4))
def test_the_tree(seed):
    levels = random_levels(seed=seed)
    labels = rng(seed + 9).integers(-1, 5, len(levels[0]))
    tree = tree_of(levels, labels)
    for k in range(len(tree["level"])):
        mine = levels[tree["level"][k]] == tree["group"][k]
        assert tree["count"][k] == mine.sum() > 0
        known = np.bincount(labels[mine & (labels >= 0)], minlength=5)
        assert tree["label"][k] == known.argmax() and tree["purity"][k] == pytest.approx(known.max() / known.sum())
        if tree["level"][k] == 0: continue
        above = levels[tree["level"][k] - 1][mine]
        holds = np.bincount(above[above >= 0])
        parent = tree["parent"][k]
        assert tree["level"][parent] == tree["level"][k] - 1 and holds[tree["group"][parent]] == holds.max()
        assert tree["inside"][k] == pytest.approx(holds.max() / holds.sum())
        assert tree["left"][k] >= tree["left"][parent] - 1e-9
        assert tree["left"][k] + tree["width"][k] <= tree["left"][parent] + tree["width"][parent] + 1e-9
    for depth in range(3):                                    # siblings stand side by side
        mine = tree["level"] == depth
        ends = tree["left"][mine] + tree["width"][mine]
        assert (tree["left"][mine][1:] >= ends[:-1] - 1e-9).all() and ends[-1] <= 1 + 1e-9


def test_nested_levels_are_as_wide_as_they_are_large():
    fine = rng().integers(0, 12, 500)
    tree = tree_of([fine // 6, fine // 3, fine])
    assert np.allclose(tree["width"], tree["count"] / 500) and np.allclose(tree["inside"], 1)


def test_orphans_and_holes():
    tree = tree_of([np.array([0, 0, -1, -1]), np.array([0, 0, 7, 7])])
    assert tree["parent"].tolist() == [-1, 0, -1] and tree["group"].tolist() == [0, 0, 7]
    assert tree["inside"].tolist() == [1, 1, 0] and tree["left"][2] >= 0.5 - 1e-9
    for levels in ([np.full(3, -1)], [np.zeros(0, np.int32)], [np.full(3, -1), np.zeros(3, int)]):
        assert len(tree_of(levels)["level"]) == sum(bool((groups >= 0).any()) for groups in levels)
        Hierarchy(np.stack(levels)).static()


def test_the_hierarchy_follows_a_history():
    history, levels = History(), np.stack(random_levels())
    view = Hierarchy(history, names={"one": ["a"], "two": [], "three": []})
    assert "waiting for 'hierarchy'" in view.frame["note"] and view.frame["levels"] == []
    history.record(1, hierarchy=levels)
    history.record(2, hierarchy=levels[:2])
    view.refresh()
    assert [level["name"] for level in view.frame["levels"]] == ["level 1", "level 2"]
    first = view.picture(0)
    assert [level["name"] for level in first["levels"]] == ["one", "two", "three"] and "not nested" in first["note"]
    assert np.array_equal(array(first["groups"]).astype(int) - 1, levels)
    view.static(0)


@pytest.mark.parametrize("seed", range(4))
def test_purity_and_nmi_of_a_level(seed):
    groups, labels = rng(seed).integers(-1, 12, 500), rng(seed + 9).integers(-1, 5, 500)
    both = (groups >= 0) & (labels >= 0)
    best = sum(np.bincount(labels[both & (groups == g)]).max() for g in np.unique(groups[both]))
    found = quality(groups, labels)
    assert found["purity"] == pytest.approx(best / both.sum())
    assert found["nmi"] == pytest.approx(normalized_mutual_info_score(labels[both], groups[both]))


def test_quality_at_the_ends():
    assert quality(np.full(4, -1), np.zeros(4, int)) == {} and quality(np.zeros(0, int), np.zeros(0, int)) == {}
    assert quality(np.zeros(4, int), np.zeros(4, int)) == {"purity": 1, "nmi": 1}
    assert quality(np.array([10**8, 10**8, 3]), np.array([0, 1, 99_999]))["purity"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nearest_rows_against_a_loop(dtype):
    groups, x = rng().integers(-1, 9, 300), rng(1).normal(size=(300, 5)).astype(dtype)
    x[17] = np.nan
    found = nearest_rows(groups, from_centre(groups, x), 6)
    for g in range(9):
        rows = np.flatnonzero((groups == g) & np.isfinite(x).all(1))
        far = np.linalg.norm(x[rows] - x[rows].astype(float).mean(0), axis=1)
        assert found[g].tolist() == rows[np.argsort(far)][:6].tolist()


def test_groups_with_fewer_rows_than_images():
    groups = np.array([0, 2, 2, -1])
    found = nearest_rows(groups, from_centre(groups, np.array([[0.0], [np.inf], [1.0], [2.0]])), 3)
    nobody = 2**32 - 1
    assert found.tolist() == [[0, nobody, nobody], [nobody] * 3, [2, nobody, nobody]]
    assert nearest_rows(np.full(3, -1), np.zeros(3)).shape == (0, 8)
    assert np.isinf(from_centre(np.zeros(2, int), np.full((2, 3), np.nan))).all()


@pytest.mark.parametrize("seed", range(3))
def test_renumbering_moves_nobody(seed):
    before = rng(seed).integers(-1, 15, 400)
    turned = np.where(before < 0, -1, (7 * before + 3) % 15)
    went = moves_between(before, turned)
    assert went.moved == 0 and went.count.sum() == 400
    some = rng(seed + 5).choice(np.flatnonzero(before >= 0), 20, replace=False)
    now = turned.copy()
    now[some] = (now[some] + 1) % 15
    went = moves_between(before, now)
    assert went.moved == 20
    for start, end, count in zip(went.start, went.end, went.count, strict=True):
        assert count == ((before == start) & (now == end)).sum()


def test_groups_that_are_new_gone_or_named():
    went = moves_between(np.array([0, 0, 0, 5, 5, 5]), np.array([3, 3, 1, 1, 1, 0]))
    assert went.name[3] == 0 and went.name[1] == 5 and went.name[0] > 5 and went.moved == 2
    assert moves_between(np.array([0, 1]), np.array([1, 0]), rename=False).moved == 2
    assert moves_between(np.array([-1, 0]), np.array([0, -1])).moved == 2
    empty = moves_between(np.zeros(0, int), np.zeros(0, int))
    assert empty.moved == 0 and not len(empty.count)
    assert moves_between(np.full(3, -1), np.full(3, -1)).moved == 0


def clustered(steps=4, n=200):
    """A history in which every clustering renumbers the one before and moves ten rows; images and labels."""
    source, history = rng(), History()
    fine, x = source.integers(0, 12, n), rng(1).normal(size=(n, 6)).astype(np.float32)
    for step in range(steps):
        history.record(10 * step, hierarchy=np.stack([fine // 4, fine]), projection=x + step)
        fine = (fine + 4) % 12
        fine[source.choice(n, 10, replace=False)] = 11
    return history, np.arange(n, dtype=np.uint8)[:, None, None] * np.ones((8, 8), np.uint8), rng(3).integers(0, 3, n)


def test_the_frames_say_who_moved():
    history, images, labels = clustered()
    view = Hierarchy(history, labels=labels, images=images, features="projection")
    assert "moves" not in view.picture(0)
    for k in (1, 2, 3, -1):
        frame = view.picture(k)
        before, now = history["hierarchy"].frame((k if k > 0 else 3) - 1), history["hierarchy"].frame(k)
        assert frame["moves"]["step"] == (k % 4 - 1) * 10
        assert np.array_equal(array(frame["moves"]["before"]).astype(int) - 1, before)
        for i, level in enumerate(frame["moves"]["levels"]):
            name = array(level["name"])
            assert level["moved"] == (name[now[i]] != before[i]).sum() <= 30 and level["rows"] == 200
    assert "NMI" in frame["note"] and frame["levels"][1]["purity"] == pytest.approx(quality(now[1], labels)["purity"])


def test_named_levels_keep_their_numbers():
    history = History()
    for step, groups in enumerate(([0, 0, 1], [1, 1, 0])): history.record(step, hierarchy=np.array([groups]))
    assert Hierarchy(history, {"kind": ["a", "b"]}).picture(-1)["moves"]["levels"][0]["moved"] == 3
    assert Hierarchy(history).picture(-1)["moves"]["levels"][0]["moved"] == 0


def test_another_clustering_has_no_moves():
    history = History()
    history.record(0, hierarchy=np.zeros((2, 9), int))
    history.record(1, hierarchy=np.zeros((3, 9), int))
    view = Hierarchy(history, shape="moves")
    assert "other levels" in view.picture(1)["moves"]["why"] and "moves" not in view.picture(0)
    for k in (0, 1): view.static(k)


def test_images_nearest_every_node():
    history, images, labels = clustered()
    view = Hierarchy(history, labels=labels, images=images, features="projection")
    frame = view.picture(1)
    tree = {key: array(values) for key, values in frame["tree"].items()}
    rows, far = array(frame["nearest"]["rows"]), array(frame["nearest"]["far"])
    x, groups = history["projection"].frame(1), history["hierarchy"].frame(1)
    for k in range(len(tree["level"])):
        mine = np.flatnonzero(groups[tree["level"][k]] == tree["group"][k])
        away = np.linalg.norm(x[mine] - x[mine].mean(0), axis=1)
        assert rows[k][: len(mine)].tolist() == mine[np.argsort(away)][:8].tolist()
        assert far[k][: len(mine)] == pytest.approx(np.sort(away)[:8], abs=1e-4)
    assert frame["nearest"]["space"] == "projection"
    tiles = view.answer({"ask": "images", "rows": [3, 5]})["images"]
    assert np.array_equal(array(tiles)[:, 0], images[[3, 5]])
    alone = Hierarchy({"a": labels}, images=images).picture(-1)["nearest"]
    assert alone["far"] is None and alone["space"] is None
    assert all((labels[row] == g).all() for g, row in enumerate(array(alone["rows"])))


def test_features_before_they_are_recorded():
    history = History()
    history.record(0, hierarchy=np.zeros((1, 4), int))
    view = Hierarchy(history, images=np.zeros((4, 8, 8)), features="projection")
    assert view.picture(0)["nearest"]["space"] is None
    history.record(1, projection=np.zeros((4, 2)))
    history.record(2, hierarchy=np.zeros((1, 4), int))
    assert view.picture(1)["nearest"]["space"] == "projection"


def test_a_page_carries_few_of_many_images():
    n = 4000
    images = rng().integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
    levels, x = {"a": np.arange(n) % 30, "b": np.arange(n) % 90}, rng(1).normal(size=(n, 3))
    view = Hierarchy(levels, images=images, features=x)
    view.part()
    atlas = view.atlas()
    wanted = set(array(view.frame["nearest"]["rows"]).ravel().tolist())
    assert set(array(atlas["rows"]).tolist()) == wanted and "sheets" in atlas
    view.carries = 50
    first = array(view.frame["nearest"]["rows"])[:, 0]
    assert len(array(view.atlas()["rows"])) == 50 and set(array(view.atlas()["rows"]).tolist()) <= set(first.tolist())
    few = Hierarchy({"a": np.arange(9) % 3}, images=images[:9])
    assert "rows" not in few.atlas()


def test_vectors_have_no_thumbnails():
    vectors = VectorSet(rng().normal(size=(30, 5)).astype(np.float32), torch.arange(30) % 3, ("a", "b", "c"))
    view = Hierarchy({"a": np.arange(30) % 5}, images=vectors, features=vectors.images)
    assert "nearest" not in view.frame and view.atlas() == {} and not view.options["images"]
    assert "purity" in view.frame["note"]
    data = ImageSet(rng().integers(0, 256, (30, 1, 8, 8), dtype=np.uint8), torch.arange(30) % 3, ("a", "b", "c"))
    assert "nearest" in Hierarchy({"a": np.arange(30) % 5}, images=data).frame


@pytest.mark.parametrize("shape", ["icicle", "tree", "sunburst", "list", "moves"])
def test_every_shape_as_a_still_picture(shape):
    history, images, labels = clustered()
    view = Hierarchy(history, labels=labels, classes=["$a", "b_", "c^$"], images=images, features="projection",
                     shape=shape).link(Selection([1, 2, 999]))
    assert len(view.static()._repr_png_()) < 60_000
    view.static(0)
    for levels in ({"a": []}, {"a": [-1, -1]}, {"a": [0, -1], "b": [-1, 0]}): Hierarchy(levels, shape=shape).static()
    assert Hierarchy(History(), shape=shape).static()
    assert len(view.page()) < 1_000_000


def test_places_of_a_drawn_tree():
    tree = tree_of(random_levels())
    x, parent = tidy_places(tree), tree["parent"]
    leaf = np.setdiff1d(np.arange(len(x)), parent)
    assert np.allclose(np.diff(np.sort(x[leaf])), 1 / len(leaf)) and (x > 0).all() and (x < 1).all()
    for k in set(parent[parent >= 0].tolist()):
        kids = x[parent == k]
        assert x[k] == pytest.approx((kids.min() + kids.max()) / 2)
    lines = lines_of(tree, 9)
    above = [tree["parent"][k] for k in lines]
    assert len(lines) <= 9 and all(up < 0 or up in lines[:i] for i, up in enumerate(above))


# ------------------------------------------------------------------------------------------------------ all of them

def test_one_selection_for_all():
    shared, linked = Selection(), views()
    for view in linked: view.link(shared)
    linked[1].selected = np.array([3, 5], "<u4").tobytes()       # as if picked in the page
    assert shared.index.tolist() == [3, 5]
    assert all(np.frombuffer(view.selected, "<u4").tolist() == [3, 5] for view in linked)
    shared.clear()
    assert all(view.selected == b"" for view in linked)


@pytest.mark.parametrize("which", range(5))
def test_pages_and_stills(which, tmp_path):
    view = views()[which].link(Selection([1, 2, 59, 400]))       # one row that is not there
    text = view.save(tmp_path / "view.html").read_text("utf-8")
    assert "<script" in text and "http://" not in text.replace("http://www.w3.org", "")
    assert len(view.static()._repr_png_()) < 60_000
    view.close()


def test_names_cannot_leave_the_page():
    nasty = "</script><img src=x onerror=alert(1)>"
    for view in (Confusion([0], [0], [nasty]), Hierarchy({nasty: [0]}, {nasty: [nasty]}), ClassTable([0], [nasty])):
        assert nasty not in view.page()


@pytest.mark.parametrize("make", [
    lambda: Gallery(np.zeros((0, 8, 8))), lambda: Confusion([], []), lambda: ClassTable([]),
    lambda: Neighbours(np.zeros((0, 3))), lambda: Hierarchy({"a": []}), lambda: ClassTable([-1, -1])])
def test_nothing_is_drawn_without_an_error(make):
    view = make()
    assert "error" not in view.frame
    view.page()
    view.static()


def test_a_hundred_thousand_rows_are_light():
    n = 100_000
    labels = rng().integers(0, 200, n)
    view = Confusion(labels, rng(1).integers(0, 200, n))
    assert len(view.options["labels"]["bytes"]) == n and len(view.frame["predictions"]["bytes"]) == n
    levels = {"a": labels // 20, "b": labels, "c": rng(2).integers(0, 3000, n)}
    frame = Hierarchy(levels).frame
    assert len(frame["groups"]["bytes"]) == 6 * n and array(frame["tree"]["level"]).size == 10 + 200 + 3000
