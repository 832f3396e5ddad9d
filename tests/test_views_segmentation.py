"""Segmentation: class numbers, tables and scores against independent computations, what travels, and faults."""

import json
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score, f1_score, jaccard_score

from clnb.core import Picture
from clnb.data import make_tiles
from clnb.run import History
from clnb.views.base import Board
from clnb.views.rewind import Rewind
from clnb.views.segmentation import (
    LAYERS,
    OUT,
    Segmentation,
    as_colours,
    borders,
    grouped,
    letters_of,
    painted,
    prediction_map,
    rgb,
    scores_of,
    tables_of,
    truth_map,
)

EVIL = "<img src=x onerror=window.hacked=1>"
CLASSES = ("road", EVIL, "tree")


def unpacked(part): return np.frombuffer(part["bytes"], part["dtype"]).reshape(part["shape"])


def images(n=4, c=3, h=8, w=6, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, c, h, w), dtype=np.uint8)


def masks(n=4, h=8, w=6, classes=3, seed=0):
    return np.random.default_rng(seed).integers(0, classes, (n, h, w)).astype(np.uint8)


def history_of(steps=(0, 10, 20), seed=5, **shape):
    "The predictions come nearer to the truth."
    history, truth = History(), masks(**shape)
    for step in steps:
        other = masks(seed=seed + step, **shape)
        keep = np.random.default_rng(step).random(truth.shape) < step / 25
        history.record(step, prediction=np.where(keep, truth, other).astype(np.uint8))
    return history


def view_of(predictions=None, **more):
    return Segmentation(images(), masks(), masks(seed=1) if predictions is None else predictions, CLASSES, **more)


# ------------------------------------------------------------------------------------------------------------ numbers

@pytest.mark.parametrize("kind", ["numpy", "torch", "float", "int64", "channel", "scores", "bfloat16", "grad"])
def test_class_numbers_and_scores(kind):
    truth, said = truth_map(masks(), (4, 8, 6), 3), masks(seed=1)
    scores = torch.nn.functional.one_hot(torch.as_tensor(said).long(), 3).movedim(-1, 1).float()
    given = {"numpy": said, "torch": torch.as_tensor(said), "float": said.astype(np.float32),
             "int64": said.astype(np.int64), "channel": said[:, None], "scores": 5 * scores.numpy() - 9,
             "bfloat16": scores.bfloat16(), "grad": scores.requires_grad_()}[kind]
    found = prediction_map(given, truth, 3)
    assert found.dtype == np.uint8 and (found == said).all()


def test_truth_and_what_is_not_judged():
    x = masks().astype(np.int64)
    x[0, 0, :3] = 255
    x[1, 2, 2] = -1
    assert (truth_map(torch.as_tensor(masks()), (4, 8, 6), 3) == masks()).all()
    with pytest.raises(ValueError, match=r"the truth has class -1 in 1 pixels.*first in image 1.*ignore="):
        truth_map(x, (4, 8, 6), 3)
    x[1, 2, 2] = 255
    found = truth_map(x, (4, 8, 6), 3)
    assert (found == OUT).sum() == 4 and (found[x < 3] == x[x < 3]).all()
    first = truth_map(masks(), (4, 8, 6), 3, ignore=0)
    assert ((first == OUT) == (masks() == 0)).all()
    said = masks(seed=1).astype(np.int64)
    said[0, 0, 0] = 99                          # where nothing is judged, anything may be said
    assert prediction_map(said, found, 3)[0, 0, 0] == OUT


@pytest.mark.parametrize(("values", "message"), [
    (np.zeros((4, 8, 7)), r"shape \[4, 8, 7\]; expected class numbers \[4, 8, 6\] or scores \[4, 3, 8, 6\]"),
    (np.zeros((4, 2, 8, 6)), "interpolate"), (np.full((4, 3, 8, 6), np.nan), "576 values that are not a number"),
    (masks() + 2, "has class 3 in .* pixels.*there are 3 classes, 0 … 2"), (masks() * 0.5, "no class numbers"),
    (np.full((4, 8, 6), -2), "has class -2 in 192 pixels"), (np.array("abc"), "the shape"),
    (np.full((4, 8, 6), "a"), "no class numbers: .*<U1"), (None, "the shape"),
])
def test_faults_of_predictions_are_named(values, message):
    with pytest.raises(ValueError, match=message): prediction_map(values, truth_map(masks(), (4, 8, 6), 3), 3, "GLCNet")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 2, 3, 11])
def test_tables_and_scores_against_others(seed, count):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, count, (5, 7, 9)).astype(np.uint8)
    said = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, count, truth.shape)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.2] = OUT
    tables = tables_of(said, truth, count)
    for i, table in enumerate(tables):
        for r in range(count):
            for c in range(count): assert table[r, c] == ((truth[i] == r) & (said[i] == c)).sum()
    judged = truth != OUT
    y, p, found = truth[judged], said[judged], scores_of(tables.sum(0))
    names = np.unique(np.concatenate([y, p]))
    assert found.accuracy == pytest.approx((y == p).mean())
    if len(names) > 1: assert found.kappa == pytest.approx(cohen_kappa_score(y, p))
    assert found.iou[names] == pytest.approx(jaccard_score(y, p, labels=names, average=None, zero_division=0))
    assert found.f1[names] == pytest.approx(f1_score(y, p, labels=names, average=None, zero_division=0))
    assert found.mean_iou == pytest.approx(np.nanmean(found.iou))
    assert np.isnan(np.delete(found.iou, names)).all()


def test_scores_of_nothing_and_of_one_class():
    assert all(np.isnan(part).all() for part in scores_of(np.zeros((2, 2), int)))
    found = scores_of(np.array([[7, 0], [0, 0]]))
    assert found.accuracy == 1 and found.kappa == 0 and found.iou[0] == 1 and math.isnan(found.iou[1])
    assert scores_of(np.array([[4, 0], [3, 0]])).iou == pytest.approx([4 / 7, 0])


def test_letters():
    assert letters_of(["car", "cat", "Car", "", "7"]) == ["C", "A", "R", "B", "7"]
    many = letters_of([f"class {i}" for i in range(60)])
    assert len(set(many)) == 60 and many[59] == "#59"


def test_colours():
    assert len(set(as_colours(None, 12))) == 12 and as_colours(["#ABCDEF"], 1) == ["#abcdef"]
    assert rgb(as_colours(np.array([[255, 0, 1], [0, 0, 2]]), 2)).tolist() == [[255, 0, 1], [0, 0, 2]]
    for wrong in (["blue"], ["#12345"], ["#12345g"], ["#000000"] * 2, [(300, 0, 0)], [(1, 2)]):
        with pytest.raises(ValueError, match="colours are one '#rrggbb'"): as_colours(wrong, 1)


def test_painted():
    image, numbers = images(1)[0], masks(1)[0]
    numbers[0, 0] = OUT
    inks = rgb(["#000000", "#ff0000", "#00ff00"])
    assert (painted(image, numbers, inks, 0.0) == image.transpose(1, 2, 0)).all()
    full = painted(image, numbers, inks, 1.0)
    assert (full[0, 0] == image[:, 0, 0]).all() and (full[numbers == 1] == [255, 0, 0]).all()
    half = painted(image, numbers, inks, 0.5, numbers == 1, grey=True)
    at = tuple(np.argwhere(numbers == 1)[0])
    assert half[at] == pytest.approx(image[:, *at] / 2 + inks[1] / 2, abs=0.51)
    at = tuple(np.argwhere(numbers == 2)[0])
    assert np.ptp(half[at]) == 0 and half[at][0] == pytest.approx(0.45 * image[:, *at].mean(), abs=0.51)
    assert painted(image[:1], numbers, inks, 0.0).shape == (8, 6, 3)


def test_borders_against_loops():
    x = masks(1, 7, 9)[0]
    x[2, 3] = OUT
    lines, classes = borders(x, 0.0)
    found = sorted((tuple(np.sort(line, 0).ravel()), int(k)) for line, k in zip(lines, classes, strict=True))
    wanted = []
    for i in range(7):
        for j in range(9):
            for a, b, line in ((i, j + 1, (j + 0.5, i - 0.5, j + 0.5, i + 0.5)),
                               (i + 1, j, (j - 0.5, i + 0.5, j + 0.5, i + 0.5))):
                if a < 7 and b < 9 and x[i, j] != x[a, b]:
                    wanted += [(line, int(k)) for k in (x[i, j], x[a, b]) if k != OUT]
    assert found == sorted(wanted) and len(borders(np.zeros((3, 3), int))[0]) == 0


def test_groups():
    place, names = grouped(["b", "a", "b"], 3)
    assert place.tolist() == [0, 1, 0] and names == ["b", "a"]
    place, names = grouped(torch.tensor([7, 7, 3]), 3)
    assert place.tolist() == [1, 1, 0] and names == ["group 3", "group 7"] and grouped(None, 2) == (None, [])
    assert grouped([5, 3], 2)[1] == ["group 3", "group 5"] and grouped([1.5, 1.5], 2)[1] == ["1.5"]
    with pytest.raises(ValueError, match="for each of 3 images"): grouped([1, 2], 3)


# --------------------------------------------------------------------------------------------------------------- view

def test_what_travels():
    view = view_of({"a": masks(seed=1), "b": masks(seed=2)}, ignore=0, groups=[1, 0, 1, 0])
    frame, o = view.frame, view.options
    for run, seed in zip(frame["runs"], (1, 2), strict=True):
        assert (unpacked(run["numbers"]) == masks(seed=seed))[masks() != 0].all()
        assert (unpacked(run["tables"]) == tables_of(masks(seed=seed), view.right, 3)).all()
    assert (unpacked(o["images"]) == images()).all() and (unpacked(o["truth"]) == view.right).all()
    assert o["names"] == ["group 1, 0", "group 0, 0", "group 1, 1", "group 0, 1"] and o["group"] == [1, 0, 1, 0]
    assert frame["note"] == "4 images of 6 × 8" and EVIL not in view.page()
    assert view.frame.get("error") is None


def test_tables_and_scores_of_sets():
    said = {"a": masks(seed=1), "b": masks(seed=2)}
    view = view_of(said, groups=["x", "y", "x", "y"])
    each = tables_of(said["b"], masks(), 3)
    assert (view.table("b") == each.sum(0)).all() and (view.table(1, images=[0, 3]) == each[[0, 3]].sum(0)).all()
    assert (view.table("b", images="x") == each[[0, 2]].sum(0)).all()
    view.opened, view.strategy = 2, 1
    assert (view.table(images="image") == each[2]).all()
    view.selection.set([1, 3, 77])
    assert (view.table(images="selected") == each[[1, 3]].sum(0)).all()
    view.among = "y"
    assert (view.table() == each[[1, 3]].sum(0)).all()
    assert view.scores().accuracy == scores_of(each[[1, 3]].sum(0)).accuracy
    assert f"OA {view.scores().accuracy:.3f}" in view.in_words(1)
    for wrong, message in (({"run": "c"}, "there is no strategy 'c'; there are 'a', 'b'"),
                           ({"run": 2}, "no strategy 2"), ({"images": "z"}, "no images 'z'.*one of 'x', 'y'"),
                           ({"images": [4]}, "no image 4; there are 4")):
        with pytest.raises(ValueError, match=message): view.table(**wrong)


def test_lit_pixels_and_order():
    view = view_of()
    share = (masks() != masks(seed=1)).mean((1, 2))
    assert view.order().tolist() == np.argsort(-share, kind="stable").tolist() and not view.lit().any()
    view.cell = [1, 2]
    lit = (masks() == 1) & (masks(seed=1) == 2)
    assert (view.lit() == lit).all() and view.order()[0] == lit.sum((1, 2)).argmax()


def test_steps_of_histories():
    view = view_of({"a": history_of(), "b": history_of((10, 30))})
    assert view.recorded() == [0, 10, 20, 30]
    assert view.frame["step"] == 30 and [run["at"] for run in view.frame["runs"]] == [20, 30]
    view.seek(0)
    assert view.frame["runs"][1]["numbers"] is None and view.in_words(1, 0) == "nothing recorded yet"
    assert view.scores("a", 2).accuracy > view.scores("a", 0).accuracy
    assert (view.table("a", 1) == tables_of(view.held[0].history["prediction"].frame(1), masks(), 3).sum(0)).all()
    with pytest.raises(ValueError, match="there is no prediction yet"): view.table("b", 0)
    assert "record of step 20" in view.in_words(0, 30) and len(view.part()["state"]["frames"]) == 4


def test_a_history_that_grows():
    history = History()
    view = view_of(history)
    assert "waiting for 'prediction'" in view.frame["note"] and view.page()
    view.static().savefig("/dev/null", format="png")
    assert view.order().tolist() == [0, 1, 2, 3] and not view.lit().any()
    history.record(7, prediction=masks(seed=1))
    view.follow()
    assert view.frame["step"] == 7 and (unpacked(view.frame["runs"][0]["numbers"]) == masks(seed=1)).all()
    before = view.frame["number"]
    history.record(8, loss=1.0)
    view.follow()
    assert view.frame["number"] == before
    history.record(9, prediction=masks(2))
    view.follow()
    assert "one for each image" in view.frame["error"]


def test_a_set_of_tiles_and_series_of_scores():
    tiles, history = make_tiles(3, size=32), History()
    scores = torch.nn.functional.one_hot(tiles.masks.long(), 6).movedim(-1, 1).half()
    history.record(1, logits=scores)
    view = Segmentation(tiles, predictions=history, series="logits", groups=tiles.patient)
    assert view.scores().accuracy == 1 and view.classes == list(tiles.classes)


def test_large_images_are_thinned_out_for_drawing_only():
    x, truth = images(2, 1, 70, 50), masks(2, 70, 50)
    view = Segmentation(x, truth, masks(2, 70, 50, seed=1), CLASSES, largest=32)
    assert unpacked(view.options["images"]).shape == (2, 1, 23, 16) and view.every == 3
    assert (unpacked(view.options["truth"]) == truth[:, 1::3, 1::3][:, :23, :16]).all()
    assert view.table().sum() == truth.size and "drawn at 16 × 23, counted in full" in view.frame["note"]
    few = Segmentation(x, truth, truth, CLASSES, most=1)
    assert few.table().sum() == 3500 and "1 of 2 images" in few.frame["note"]
    view.static().savefig("/dev/null", format="png")


def test_pages_hold_few_frames_of_many_images():
    view = view_of(history_of(range(0, 100, 5)))
    assert len(view.part()["state"]["frames"]) == 20
    large = Segmentation(images(16, 1, 256, 256), masks(16, 256, 256),
                         history_of(range(0, 80, 10), n=16, h=256, w=256), CLASSES)
    assert len(large.kept(60)) == 8 and len(view.kept(5)) == 5


def test_traits_are_in_the_page_and_checked():
    view = view_of({"a": masks(), "b": masks(seed=1)}, layers=["outlines", "picture"])
    view.opened, view.strategy, view.cell, view.only, view.among, view.opacity = 2, 1, [0, 1], 2, "image", 0.25
    state = view.part()["state"]
    assert [state[name] for name in view.traits_of_page] == [["picture", "outlines"], 0.25, 2, 1, [0, 1], 2, "image"]
    with pytest.raises(ValueError, match="no layer 'x'; the layers are 'picture'"): view.layers = ["x"]
    json.dumps(view.options["names"])


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Segmentation(images()), "masks are missing"),
    (lambda: Segmentation(images(), masks()), "classes are missing"),
    (lambda: Segmentation(images(), masks(), None, CLASSES), "no prediction: predictions="),
    (lambda: view_of({}), "dict is empty"),
    (lambda: Segmentation(images()[0, 0], masks(), masks(), CLASSES), r"needs images \[n, C, H, W\]"),
    (lambda: Segmentation(images(), masks()[:3], masks(), CLASSES), r"shape \[3, 8, 6\]; expected \[4, 8, 6"),
    (lambda: Segmentation(images(), masks() * 0 + 255, masks(), CLASSES), "no pixel to judge"),
    (lambda: Segmentation(images(), masks(), masks(), "ab"), "there are 2 classes, 0 … 1"),
    (lambda: Segmentation(images(), masks(), masks(), ["c"] * 300), "1 … 254 classes; got 300"),
    (lambda: view_of(names=["a"]), "for each of 4 images; got 1"),
    (lambda: view_of(groups=[1]), "for each of 4 images"),
    (lambda: view_of(colours=["#000000"]), "for each of 3 classes"), (lambda: view_of(layers=["x"]), "no layer 'x'"),
    (lambda: view_of({"GLCNet": masks(3)}), "prediction of 'GLCNet' has the shape"),
    (lambda: view_of().answer({"ask": "what"}), "cannot answer"),
])
def test_faults_are_named(make, message):
    with pytest.raises((ValueError, TypeError), match=message): make()


@pytest.mark.parametrize("layers", [LAYERS, ("picture",), ("outlines",), ("picture", "errors", "outlines"), ()])
@pytest.mark.parametrize(("cell", "only"), [([], -1), ([0, 1], -1), ([], 1)])
def test_stills(layers, cell, only):
    view = Segmentation(images(), masks(), {"$a": masks(seed=1), EVIL: history_of()}, ["a$", "b", EVIL],
                        groups=["$x"] * 4, layers=layers)
    view.cell, view.only = cell, only
    figure = view.static(1)
    assert isinstance(figure, Picture) and len(figure.axes) == 9
    assert all(image.get_array().shape == (8, 6, 3) for axes in figure.axes[:8] for image in axes.images)
    figure.savefig("/dev/null", format="png")


def test_many_classes_and_boards():
    truth = masks(2, 8, 8, 40)
    view = Segmentation(images(2, 1, 8, 8), truth, truth, [f"c{i}" for i in range(40)])
    view.static().savefig("/dev/null", format="png")
    board = Rewind(view_of(history_of()), view).board()
    assert board.page() and Board([view_of()]).static()


def test_closing_ends_listening():
    history = history_of()
    view = view_of(history)
    view.close()
    history.record(50, prediction=masks())
    assert not view.painter.open
