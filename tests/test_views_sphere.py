"""Where on the sphere? Directions, shares, cosines, turns against independent computations; the Python side."""

import math

import numpy as np
import pytest
import torch

from clnb.core import Picture
from clnb.data import ImageSet, VectorSet
from clnb.run import History
from clnb.views.base import Board, Selection
from clnb.views.rewind import Rewind
from clnb.views.sphere import (
    Sphere,
    class_weights,
    on_sphere,
    pair_cosines,
    sizes_of,
    spaces_of,
    turned,
    unit_rows,
)

EVIL = "<img src=x onerror=window.hacked=1>"


def cloud(n=90, d=8, seed=0):
    rng = np.random.default_rng(seed)
    label = np.sort(rng.choice(3, n, p=(0.7, 0.25, 0.05)))
    return (2 * np.eye(3, d)[label] + rng.normal(size=(n, d))).astype(np.float32), label


# ------------------------------------------------------------------------------------------------------------ numbers

@pytest.mark.parametrize("d", [4, 8, 60])
def test_three_directions_are_the_singular_vectors_of_the_unit_rows(d):
    x, _ = cloud(d=d)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    _, s, v = np.linalg.svd(unit.astype(np.float64), full_matrices=False)
    found = on_sphere(x)
    inside = unit @ v[:3].T
    assert found.share == pytest.approx((s[:3] ** 2).sum() / (s**2).sum()) and found.dim == d
    assert found.kept == pytest.approx((inside**2).sum(1), abs=1e-6)
    wanted = inside / np.linalg.norm(inside, axis=1, keepdims=True)
    assert np.abs(found.points) == pytest.approx(np.abs(wanted), abs=1e-5)       # signs are free
    assert found.points @ found.points.T == pytest.approx(wanted @ wanted.T, abs=1e-5)


def test_three_dimensions_are_shown_as_they_are():
    x, _ = cloud(d=3)
    found = on_sphere(5 * x)
    assert found.points == pytest.approx(x / np.linalg.norm(x, axis=1, keepdims=True), abs=1e-6)
    assert found.share == 1 and (found.kept == 1).all()
    plane, line = on_sphere(x[:, :2]), on_sphere(x[:, :1])
    assert (plane.points[:, 2] == 0).all() and plane.points[:, :2] == pytest.approx(unit_rows(x[:, :2]))
    assert set(line.points[:, 0]) == {-1.0, 1.0} and (line.points[:, 1:] == 0).all()


def test_a_collapse_is_a_point_and_no_direction_is_missing():
    rng = np.random.default_rng(0)
    found = on_sphere(1 + 1e-4 * rng.normal(size=(100, 32)))
    assert (found.points @ found.points[0]).min() > 0.999 and found.share > 0.999
    x, _ = cloud()
    x[3], x[5, 2], x[7, 1] = 0, np.nan, np.inf
    holes = on_sphere(x)
    for values in (holes.points[:, 0], holes.kept): assert np.isnan(values).nonzero()[0].tolist() == [3, 5, 7]
    assert np.isfinite(holes.share)
    nothing = on_sphere(np.zeros((4, 8)))
    assert np.isnan(nothing.points).all() and math.isnan(nothing.share)
    assert on_sphere(np.zeros((0, 8))).points.shape == (0, 3)


def test_lengths_of_any_size():
    x, _ = cloud()
    for scale in (1e-300, 1e300, 1e-30):
        assert unit_rows(x.astype(np.float64) * scale) == pytest.approx(unit_rows(x), abs=1e-12)


def test_equal_weights_keep_the_rare_class():
    x, label = cloud(400)
    weights = class_weights(label)
    assert [weights[label == k].sum() for k in range(3)] == pytest.approx([1, 1, 1])
    assert class_weights(np.array([-1, 0, 0])).tolist() == [0, 0.5, 0.5]
    assert class_weights(np.full(3, -1)).tolist() == [1] * 3
    plain, equal = on_sphere(x), on_sphere(x, label)
    assert equal.kept[label == 2].mean() > plain.kept[label == 2].mean()
    share = np.mean([equal.kept[label == k].mean() for k in range(3)])
    assert equal.share == pytest.approx(share)
    unit = unit_rows(x) * np.sqrt(weights)[:, None]
    assert share == pytest.approx((np.linalg.svd(unit)[1][:3] ** 2).sum() / 3)


@pytest.mark.parametrize("labels", [None, "unknown"])
def test_pair_cosines_against_loops(labels):
    x, label = cloud(30)
    if labels: label = np.where(np.arange(30) % 4 == 0, -1, label)
    cos, same, other = unit_rows(x) @ unit_rows(x).T, [], []
    for i in range(30):
        for j in range(30):
            if i == j or label[i] < 0 or label[j] < 0: continue
            (same if label[i] == label[j] else other).append(cos[i, j])
    assert pair_cosines(x, label) == pytest.approx((np.mean(same), np.mean(other)))


def test_cosines_that_there_are_not():
    x, _ = cloud(5)
    one, two = pair_cosines(x, np.arange(5))
    assert math.isnan(one) and math.isfinite(two)
    one, two = pair_cosines(x, np.zeros(5, int))
    assert math.isfinite(one) and math.isnan(two)
    assert all(map(math.isnan, pair_cosines(x, np.full(5, -1))))
    assert all(map(math.isnan, pair_cosines(np.zeros((5, 4)), np.arange(5))))


def test_small_classes_are_larger():
    labels = np.array([0] * 810 + [1] * 10 + [2] + [-1])
    sizes = sizes_of(labels)
    assert sizes[0] == 1 and sizes[810] == pytest.approx(2.4) and sizes[820] == 2.4 and sizes[821] == 1
    assert sizes_of(np.array([0, 0, 1, 1])).tolist() == [1] * 4 and sizes_of(np.full(3, -1)).tolist() == [1] * 3
    assert sizes_of(np.array([0] * 32 + [1] * 2))[-1] == pytest.approx(2.0)


def test_turned_undoes_turns_and_mirrors():
    rng = np.random.default_rng(0)
    points = on_sphere(cloud()[0]).points
    for sign in (1, -1):
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        turn *= sign * np.sign(np.linalg.det(turn))
        other = points @ turn
        other[4] = np.nan
        back = turned(other, points)
        assert back[5:] == pytest.approx(points[5:]) and np.isnan(back[4]).all()


# ------------------------------------------------------------------------------------------------------------- spaces

def test_spaces():
    x, _ = cloud()
    history = History()
    history.record(0, embedding=x, loss=1.0)
    assert [(s.name, s.series) for s in spaces_of(history)] == [("embedding", "embedding")]
    history.record(0, projection=x[:, :3])
    assert [s.series for s in spaces_of(history)] == ["projection"]
    assert [s.name for s in spaces_of(history, ["projection", "embedding"])] == ["projection", "embedding"]
    pair = spaces_of({"SuperCon": history, "CE": x}, ["embedding"])
    assert [(s.name, s.series) for s in pair] == [("SuperCon", "embedding"), ("CE", "")]

    class Training: pass

    run = Training()
    run.history = history
    assert spaces_of(run)[0].history is history and spaces_of(torch.from_numpy(x))[0].array.shape == (90, 8)


@pytest.mark.parametrize(("source", "options", "message"), [
    (np.zeros(3), {}, r"shape \[n, d\] with d ≥ 1, or a History; got float64 \[3\]"),
    (np.zeros((3, 0)), {}, r"got float64 \[3, 0\]"),
    (np.array([["a"]]), {}, "needs numbers"),
    ({"one": np.zeros((3, 4)), "two": np.zeros((2, 4))}, {}, "same rows; got one 3, two 2"),
    ({"one": np.zeros(3)}, {}, "for 'one'"),
    ({}, {}, "the dict is empty"),
    (np.ones((3, 4)), {"labels": [0, 1]}, "'label' has 2 rows, but there are 3 points"),
    (np.ones((3, 4)), {"columns": {"size": [1, 2]}}, "'size' has 2 rows"),
    (np.ones((3, 4)), {"colour_by": "size"}, "there is no column 'size'; there are none"),
    (np.ones((3, 4)), {"most": 0}, "at least 1; got 0"),
])
def test_faults_are_named(source, options, message):
    with pytest.raises(ValueError, match=message): Sphere(source, **options)


def test_a_wrong_record_is_said_in_its_place():
    history = History()
    history.record(0, projection=np.ones((4, 3)))
    view = Sphere(history, labels=[0, 1])
    assert "'label' has 2 rows" in view.frame["error"]


# --------------------------------------------------------------------------------------------------------------- view

def decoded(part):
    points = np.frombuffer(part["points"]["bytes"], np.uint16).reshape(part["points"]["shape"])
    return np.where(points == 65535, np.nan, points / 32767 - 1)


def test_what_travels():
    x, label = cloud()
    x[2] = 0
    view = Sphere({"a": x, EVIL: x[:, :3]}, label, columns={"first": x[:, 0]})
    a, b = view.frame["spaces"]
    assert decoded(a) == pytest.approx(on_sphere(x).points, abs=1e-4, nan_ok=True)
    assert (a["dim"], b["dim"], b["share"], b["name"]) == (8, 3, 1, EVIL) and "1 without a direction" in a["words"]
    kept = np.frombuffer(a["kept"]["bytes"], np.uint8)
    assert kept == pytest.approx(np.nan_to_num(on_sphere(x).kept) * 255, abs=0.51)
    same, other = pair_cosines(x, label)
    assert f"3 of 8 directions keep {100 * a['share']:.0f} %" in a["words"]
    assert f"cosine of one class {same:.2f}, cosine of two classes {other:.2f}".replace("-", "−") in a["words"]
    assert b["words"].startswith("as it is, ") and "size" in view.frame and EVIL not in view.page()


def test_steps_do_not_jump():
    x, label = cloud(200)
    history, rng = History(), np.random.default_rng(0)
    for step in range(0, 60, 10):
        turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]                          # the same cloud, turned
        history.record(step, projection=x @ turn)
    view = Sphere(history, label)
    shown = [view.sphere(0, step).points for step in range(0, 60, 10)]
    for points in shown[1:]: assert points == pytest.approx(shown[0], abs=1e-3)
    assert len(view.part()["state"]["frames"]) == 6 and view.recorded() == list(range(0, 60, 10))


def test_spaces_are_turned_to_the_first():
    x, label = cloud(200)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    view = Sphere({"a": x, "b": x @ turn}, label)
    a, b = (decoded(part) for part in view.frame["spaces"])
    assert a == pytest.approx(b, abs=1e-3)


def test_histories_at_different_steps():
    x, _ = cloud()
    one, two = History(), History()
    for step in (0, 20): one.record(step, projection=x[:, :3])
    two.record(10, projection=x[:, 1:4])
    view = Sphere({"one": one, "two": two})
    assert view.recorded() == [0, 10, 20]
    view.seek(0)
    assert view.frame["spaces"][1]["points"] is None and view.frame["spaces"][1]["words"] == "nothing recorded yet"
    view.seek(20)
    assert decoded(view.frame["spaces"][1]) == pytest.approx(unit_rows(x[:, 1:4]), abs=1e-4)


def test_a_history_that_grows():
    history = History()
    view = Sphere(history)
    assert "waiting for 'projection' to be recorded: run.measure" in view.frame["note"]
    view.static().savefig("/dev/null", format="png")
    history.record(5, projection=cloud(d=3)[0])
    view.follow()
    assert view.frame["step"] == 5 and view.frame["spaces"][0]["points"] is not None


def test_many_rows_are_thinned_and_small_classes_kept():
    label = np.array([0] * 3000 + [1] * 500 + [2] * 20)
    view = Sphere(np.random.default_rng(0).normal(size=(3520, 5)), label, most=200)
    assert len(view.rows) == 200 and np.bincount(label[view.rows])[2] == 20 and (np.diff(view.rows) > 0).all()
    assert "200 of 3,520 rows" in view.frame["note"] and view.frame["size"]["shape"] == [200]
    assert len(Sphere(np.ones((3520, 5)), most=200).rows) == 200


@pytest.mark.parametrize("options", [
    {}, {"colour_by": "first"}, {"balanced": True}, {"colour_by": "word"}, {"colours": ["#112233"]}])
def test_stills(options):
    x, label = cloud()
    data = ImageSet(torch.zeros(90, 1, 8, 8, dtype=torch.uint8), torch.from_numpy(label), ("a", "b$", EVIL))
    view = Sphere({"$a": x, "b": x[:, :3]}, images=data, columns={"first": x[:, 0], "word": ["p", "q"] * 45}, **options)
    figure = view.static()
    assert isinstance(figure, Picture) and "as it is" in figure.axes[1].get_title()
    figure.savefig("/dev/null", format="png")
    assert ("classes weigh the same" in figure.axes[0].get_title().replace("\n", " ")) == bool(options.get("balanced"))


def test_images_answers_and_pages():
    x, label = cloud()
    images = np.arange(90, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 1, 8, 8), np.uint8)
    view = Sphere(x, label, images)
    reply = view.answer({"ask": "images", "rows": [7, 3]})["images"]
    assert np.frombuffer(reply["bytes"], np.uint8).reshape(2, -1)[:, 0].tolist() == [7, 3]
    assert view.part()["state"]["atlas"]["images"]["shape"] == [90, 1, 8, 8]
    with pytest.raises(ValueError, match="cannot answer"): view.answer({"ask": "what"})
    vectors = VectorSet(torch.zeros(90, 5), torch.from_numpy(label), ("a", "b", "c"))
    assert Sphere(x, images=vectors).options["images"] == 0
    selection = Selection([3])
    board = Board([Sphere(x, label), Sphere(x[:, :3])], selection)
    assert board.page() and Rewind(Sphere(x)).board().page()
    assert np.frombuffer(board.views[0].selected, "<u4").tolist() == [3]
