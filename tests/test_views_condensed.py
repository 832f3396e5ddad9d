"""Condensed sets and gradient similarities: differences, shares, cosines by independent computations; files; faults."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from clnb.core import Picture
from clnb.run import History
from clnb.views.base import Board
from clnb.views.condensed import (
    MODES,
    Condensed,
    GradientSimilarity,
    as_images,
    blocks_across,
    contrast_share,
    cosines_of,
    differences,
    held_in,
    mean_cosines,
    ramp,
    span_of,
    tiled,
)
from clnb.views.heatmaps import BLUE_ORANGE
from clnb.views.rewind import Rewind

EVIL = "<img src=x onerror=window.hacked=1>"


def images(c=3, m=2, ch=1, h=6, w=5, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (c, m, ch, h, w), dtype=np.uint8)


def history_of(steps=(0, 10, 20), seed=0, **shape):
    history = History()
    for step in steps:
        history.record(step, condensed=images(seed=seed + step, **shape), accuracy=0.5 + step / 100)
    return history


def cosines(layers=2, c=3, seed=0):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, layers, c, 40))
    a, b = (x / np.linalg.norm(x, axis=2, keepdims=True) for x in (a, b))
    return np.einsum("lid,ljd->lij", a, b)


def unpacked(part): return np.frombuffer(part["bytes"], part["dtype"]).reshape(part["shape"])


# ------------------------------------------------------------------------------------------------------------- images

def test_bytes_and_numbers_become_images():
    x = images()
    assert as_images(x) is x and (as_images(torch.from_numpy(x)) == x).all()
    assert (as_images(x / 255) == x).all() and (as_images(x.astype(np.int64)) == x).all()
    assert (as_images((x / 255).astype(np.float16)) - x.astype(int)).max() <= 1
    assert set(as_images(x > 100).ravel()) <= {0, 255} and (as_images(x > 100) > 0).sum() == (x > 100).sum()


@pytest.mark.parametrize(("values", "message"), [
    (np.zeros((4, 1, 6, 6)), r"array \[classes, images per class, 1 or 3 channels, height, width\]; got float64 \[4"),
    (np.zeros((4, 1, 2, 6, 6)), "1 or 3 channels"), (np.zeros((0, 1, 1, 6, 6)), "got float64"),
    (np.full((1, 1, 1, 2, 2), "a"), "is an array"), (np.full((1, 1, 1, 2, 2), -0.1), "from -0.1 to -0.1. Undo"),
    (np.full((1, 1, 1, 2, 2), 300), "got int64 from 300 to 300"),
    (np.full((1, 1, 1, 2, 2), 1.5), "floats 0 … 1"), (np.full((1, 1, 1, 2, 2), np.inf), "image 0 of class 0 has 4"),
])
def test_what_cannot_be_images(values, message):
    with pytest.raises(ValueError, match=message): Condensed(values)


def test_nan_is_found_where_it_is():
    x = images(4, 3) / 255.0
    x[2, 1, 0, 3, 3] = np.nan
    with pytest.raises(ValueError, match="image 1 of class 2 of 'DCC' has 1 values that"): as_images(x, "DCC")
    history = History()
    history.record(0, condensed=x)
    assert "image 1 of class 2 has 1 values" in Condensed(history).frame["error"]


def test_differences_against_loops():
    x, start = images(ch=3), images(ch=3, seed=1)
    mean = np.zeros(x.shape[2:])
    for c in range(3):
        for j in range(2): mean += x[c, j] / 6
    for c in range(3):
        for j in range(2):
            wanted = [(x[c, j].astype(float) - other).mean(0) for other in (start[c, j].astype(float), mean)]
            assert differences(x, "start", start)[c, j] == pytest.approx(wanted[0], abs=1e-3)
            assert differences(x, "classes")[c, j] == pytest.approx(wanted[1], abs=1e-3)
    with pytest.raises(ValueError, match="start are not known"): differences(x, "start")
    with pytest.raises(ValueError, match="got 'images'"): differences(x, "images")


@pytest.mark.parametrize(("most", "span"), [(0, 4), (4, 4), (4.1, 8), (-9, 16), (100, 128), (128.5, 255), (255, 255)])
def test_spans(most, span): assert span_of(np.array([0, most])) == span


def test_contrast_share_is_that_of_the_specification_for_one_image_a_class():
    x = images(5, 1).astype(float)
    s = x - x.mean()
    assert contrast_share(x) == pytest.approx(np.linalg.norm(s - s.mean((0, 1))) / np.linalg.norm(s))
    assert contrast_share(2 * x + 7) == pytest.approx(contrast_share(x))                # any brightness and contrast
    one = images(1, 1)
    assert contrast_share(np.concatenate([one, one])) == 0 and math.isnan(contrast_share(np.full_like(one, 9)))
    within = np.concatenate([images(1, 4)] * 3)                  # differs inside classes only
    assert contrast_share(within) == 0
    sign = np.where(np.arange(30) % 2, 1, -1).reshape(1, 1, 1, 6, 5)
    assert contrast_share(np.concatenate([128 + 50 * sign, 128 - 50 * sign])) == pytest.approx(1)


def test_colours_are_symmetric():
    stops = [tuple(rgb) for rgb in ramp(np.linspace(-7, 7, 7), 7)]
    assert stops == [tuple(stop) for stop in BLUE_ORANGE]
    assert ramp(np.array([-99.0, 99]), 7).tolist() == [list(BLUE_ORANGE[0]), list(BLUE_ORANGE[-1])]


@pytest.mark.parametrize(("c", "m"), [(1, 1), (4, 1), (10, 1), (10, 10), (100, 1), (3, 50), (7, 3), (11, 1)])
def test_tiles_stand_where_they_are_said_to(c, m):
    x = np.random.default_rng(0).integers(1, 255, (c, m, 4, 3, 3), dtype=np.uint8)
    sheet, places = tiled(x, band=2)
    for k, (left, top) in enumerate(places):
        for j in range(m):
            y, z = top + (j // min(m, 10)) * 5, left + (j % 10) * 4
            assert (sheet[y : y + 4, z : z + 3] == x[k, j]).all()
    assert len(set(places)) == c and 1 / 6 <= sheet.shape[0] / sheet.shape[1] <= 6


@pytest.mark.parametrize(("c", "wide", "down", "across"), [
    (1, 1, 1, 1), (4, 1, 1, 2), (10, 1, 1, 5), (10, 10, 1, 1), (10, 10, 5, 2), (100, 1, 1, 10), (100, 10, 1, 3),
    (13, 1, 1, 3)])
def test_blocks_are_nearly_square(c, wide, down, across): assert blocks_across(c, wide, down) == across


# --------------------------------------------------------------------------------------------------------------- runs

def test_where_arrays_come_from():
    history, x = history_of(), images()

    class Training: pass

    run = Training()
    run.history = history
    held = held_in({"run": run, "array": x}, None, "condensed")
    assert held[0].history is history and held[1].array is x and held[0].series == ("condensed",)
    assert held_in(x, ["a", "b"], "condensed")[0].series == ("a", "b")
    assert held_in(x, "a", "condensed")[0].series == ("a",)
    other = History()
    other.record(3, sets=x)
    assert Condensed(other, names=["condensed", "sets"]).frame["runs"][0]["images"] is not None


def test_a_condensed_set_brings_its_names():
    class CondensedSet:
        classes = ("x", "y", EVIL)
        def pixels(self): return torch.from_numpy(images())

    view = Condensed({"DC": CondensedSet(), "real": images()}, initial=CondensedSet())
    assert view.classes == ["x", "y", EVIL] and (view.images_at(0, None)[1] == images()).all()
    assert Condensed(CondensedSet(), classes="abc").classes == ["a", "b", "c"]


def test_what_travels():
    a, b = history_of(), history_of((0, 15), seed=0)
    view = Condensed({"DC": a, EVIL: b}, classes=["x", "y", EVIL])
    assert view.recorded() == [0, 10, 15, 20]
    frame = view.frame
    assert frame["shape"] == [3, 2, 1, 6, 5] and frame["note"] == "step 20 · 3 classes × 2"
    assert (unpacked(frame["runs"][0]["images"]) == images(seed=20).reshape(6, 1, 6, 5)).all()
    assert (unpacked(frame["runs"][1]["images"]) == images(seed=15).reshape(6, 1, 6, 5)).all()
    assert (unpacked(view.start[1]) == images(seed=0).reshape(6, 1, 6, 5)).all()
    moved = np.sqrt(((images(seed=20).astype(float) - images(seed=0)) ** 2).mean())
    share = 100 * contrast_share(images(seed=20))
    assert frame["runs"][0]["words"] == (f"accuracy 0.700 · {share:.0f} % differs between classes · "
                                         f"pixels moved by {moved:.1f} of 255")
    assert frame["runs"][1]["words"].startswith("record of step 15 · accuracy 0.650 at step 15")
    assert EVIL not in view.page()
    view.seek(12)
    assert (unpacked(view.frame["runs"][0]["images"]) == images(seed=10).reshape(6, 1, 6, 5)).all()


def test_runs_that_begin_later_and_other_starts():
    view = Condensed({"a": history_of((0, 10)), "b": history_of((10,), seed=5)})
    view.seek(0)
    assert view.frame["runs"][1]["images"] is None and view.frame["runs"][1]["words"] == "nothing recorded yet"
    assert "different images at the start" in view.frame["note"]
    assert "different" not in Condensed({"a": history_of(), "b": history_of()}).frame["note"]
    assert "different" not in Condensed({"a": history_of(), "b": images()}).frame["note"]       # of b it is not known


def test_initial_images():
    x, start = images(seed=3), images(seed=4)
    view = Condensed(x, initial=start, mode="start")
    drawn, span = view.tiles(-1)
    assert span == span_of(differences(x, "start", start))
    assert (unpacked(view.start[0]) == start.reshape(6, 1, 6, 5)).all()
    assert (drawn[0] == ramp(differences(x, "start", start), span)).all()
    both = Condensed({"a": x, "b": x}, initial={"a": start})
    assert both.start[1] is None and both.tiles(-1, "classes")[0][1] is not None
    assert (both.start_of(0) == start).all() and both.start_of(1) is None
    history = history_of((10, 20))
    assert (Condensed(history, initial=start).start_of(0) == start).all()
    assert (Condensed(history).start_of(0) == images(seed=10)).all()


def test_accuracy():
    x = images()
    assert "accuracy 0.250" in Condensed(x, accuracy=0.25).in_words(0)
    view = Condensed({"a": x, "b": x}, accuracy={"a": 0.5})
    assert "accuracy 0.500" in view.in_words(0) and "accuracy" not in view.in_words(1)
    history = history_of()
    history.record(20, fresh=0.125, many=np.array([0.1, 0.3]))
    assert "accuracy 0.125" in Condensed(history, accuracy="fresh").in_words(0)
    assert "accuracy 0.200" in Condensed(history, accuracy="many").in_words(0)      # of several networks the mean


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Condensed({}), "the dict is empty"), (lambda: Condensed(images(), classes=["a"]), "1 names for 3 classes"),
    (lambda: Condensed({"a": images(), "b": images(4)}), r"got a \[3, 2, 1, 6, 5\], b \[4, 2, 1, 6, 5\]"),
    (lambda: Condensed(images(), initial=images(4)), r"images \[3, 2, 1, 6, 5\], at the start \[4, 2, 1, 6, 5\]"),
    (lambda: Condensed(images(), mode="sharp"), "no mode 'sharp'; the modes are 'images', 'start', 'classes'"),
    (lambda: Condensed(images(), mode="start"), "initial="),
    (lambda: Condensed({"a": images()}, initial={"b": images()}), "initial has images for 'b', which is no run"),
    (lambda: Condensed(images()).image(-1, "sharp"), "no mode 'sharp'"),
    (lambda: Condensed(images()).image(-1, "start"), "start are not known"),
    (lambda: Condensed(History()).sheet("x.png"), "no images yet: waiting for 'condensed'"),
    (lambda: Condensed(History()).export("x.npz"), "no images yet"),
    (lambda: Condensed(history_of()).gif("x.gif", seconds=0), "seconds > 0"),
    (lambda: Condensed(history_of()).gif("x.gif", frames=0), "frames ≥ 1"),
    (lambda: Condensed(images()).export("x.npz", run="DC"), "which run"),
    (lambda: Condensed({"a": images(), "b": images()}).export("x.npz"), "one of 'a', 'b'; got None"),
    (lambda: Condensed(images()).trajectory(0, 6), "no image 6; there are 6"),
    (lambda: Condensed(images()).answer({"ask": "what"}), "cannot answer"),
])
def test_faults_are_named(make, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message): make()
    assert not list(tmp_path.iterdir())


def test_a_wrong_record_is_said_in_its_place():
    history = history_of()
    view = Condensed(history, classes=["a", "b", "c"])
    history.record(30, condensed=images(4))
    view.refresh()
    assert "need the same classes" in view.frame["error"]       # with its own start


def test_a_history_that_grows():
    history = History()
    view = Condensed(history, classes=["a", "b", "c"])
    assert view.frame["note"] == "waiting for 'condensed' to be recorded: run.measure('condensed', function)"
    view.static().savefig("/dev/null", format="png")
    assert view.page()
    history.record(5, condensed=images())
    view.follow()
    assert view.frame["step"] == 5 and len(view.start) == 1 and view.frame["runs"][0]["images"] is not None
    before = view.frame["number"]
    history.record(5, loss=1.0)
    view.follow()
    assert view.frame["number"] == before       # of the loss the picture does not tell
    history.record(5, accuracy=0.5)
    view.follow()
    assert "accuracy 0.500" in view.frame["runs"][0]["words"]


def test_large_sets_are_averaged_down():
    x = images(100, 50, 3, 32, 32)
    view = Condensed(x)
    sent = unpacked(view.frame["runs"][0]["images"])
    assert sent.nbytes <= view.budget and sent.shape == (5000, 3, 16, 16)
    assert "drawn at 16 × 16 of 32 × 32" in view.frame["note"]
    assert unpacked(view.trajectory(0, 4999)["images"]).shape == (1, 3, 32, 32)
    assert len(view.kept(60)) == 1
    history = History()
    for step in range(10): history.record(step, condensed=images(100, 10, 3, 32, 32, seed=step))
    view = Condensed({"a": history, "b": history})
    state = view.part()["state"]
    assert len(state["frames"]) == 10 and len(view.page()) < 20e6       # of smaller images, with a start of their size
    assert state["start"][0]["shape"] == state["frames"][3]["runs"][1]["images"]["shape"] == [1000, 3, 10, 10]
    assert view.start[0]["shape"] == view.frame["runs"][0]["images"]["shape"] == [1000, 3, 32, 32]


def test_trajectories():
    steps = tuple(range(0, 200, 10))
    view = Condensed({"a": history_of(steps), "b": images()})
    a, b = view.answer({"ask": "trajectory", "row": 3})["runs"]
    assert len(a["steps"]) == 12 and a["steps"][0] == 0 and a["steps"][-1] == 190 and b["steps"] == []
    for step, image, mean in zip(a["steps"], unpacked(a["images"]), unpacked(a["means"]), strict=True):
        flat = images(seed=step).reshape(6, 1, 6, 5)
        assert (image == flat[3]).all() and mean == pytest.approx(flat.mean(0), abs=0.5)
    assert (unpacked(a["start"]) == images(seed=0).reshape(6, 1, 6, 5)[3]).all() and b["start"] is None


# -------------------------------------------------------------------------------------------------------------- files

@pytest.mark.parametrize("mode", list(MODES))
def test_sheets(mode, tmp_path):
    history = history_of()
    view = Condensed(history, classes=["a", "b", EVIL])
    path = view.sheet(tmp_path / "sheet.png", mode=mode, scale=2)
    sheet = Image.open(path)
    known = json.loads(sheet.text["clnb"])
    assert known["classes"] == ["a", "b", EVIL] and known["step"] == 20 and known["mode"] == mode
    small, places = tiled(view.tiles(-1, mode)[0][0])
    assert (np.asarray(sheet)[::2, ::2] == small).all() and known["span"] == view.tiles(-1, mode)[1]
    if mode == "images": assert (small[places[1][1] :, places[1][0] :][:6, :5, 0] == images(seed=20)[1, 0, 0]).all()
    assert list(tmp_path.iterdir()) == [path]


def test_sheets_of_two_runs_and_colours(tmp_path):
    x = images(ch=3)
    view = Condensed({"a": x, "b": x[:, ::-1]})
    sheet = np.asarray(Image.open(view.sheet(tmp_path / "s.png", scale=1)))
    one = tiled(x.transpose(0, 1, 3, 4, 2))[0]
    assert (sheet[:, : one.shape[1]] == one).all() and sheet.shape[1] == 2 * one.shape[1] + 4
    assert (sheet[:, one.shape[1] + 4 :] == tiled(x[:, ::-1].transpose(0, 1, 3, 4, 2))[0]).all()


def test_films(tmp_path):
    view = Condensed(history_of(tuple(range(0, 100, 10))))
    film = Image.open(view.gif(tmp_path / "m.gif", seconds=0.1, scale=1))
    assert film.n_frames == 10 and film.info["duration"] == 100 and film.info["loop"] == 0
    for k, step in enumerate(range(0, 100, 10)):
        film.seek(k)
        wanted = tiled(np.broadcast_to(images(seed=step).transpose(0, 1, 3, 4, 2), (3, 2, 6, 5, 3)))[0]
        assert np.abs(np.asarray(film.convert("RGB")).astype(int) - wanted).max() <= 4
    assert film.info["duration"] == 500
    assert Image.open(view.gif(tmp_path / "m.gif", frames=4, mode="classes")).n_frames == 4
    assert getattr(Image.open(Condensed(images()).gif(tmp_path / "one.gif")), "n_frames", 1) == 1


def test_exports(tmp_path):
    view = Condensed({"DC": history_of(), "DCC": history_of(seed=7)}, classes=["a", "b", "c"])
    kept = np.load(view.export(tmp_path / "set.npz", run="DCC"))
    assert (kept["pixels"] == images(seed=27).reshape(6, 1, 6, 5)).all()
    assert (as_images(kept["images"]) == images(seed=27)).all() and kept["std"].tolist() == [1]
    assert kept["labels"].tolist() == [0, 0, 1, 1, 2, 2]
    assert kept["classes"].tolist() == ["a", "b", "c"] and kept["step"] == 20
    assert (kept["initial"] == images(seed=7).reshape(6, 1, 6, 5)).all()
    assert np.load(view.export(tmp_path / "set.npz", at=0, run="DC"))["step"] == 0
    plain = np.load(Condensed(images()).export(tmp_path / "plain.npz"))
    assert "initial" not in plain and plain["step"] == -1 and plain["classes"][1] == "class 1"


@pytest.mark.parametrize(("mode", "only"), [("images", -1), ("start", -1), ("classes", 1)])
def test_stills(mode, only):
    view = Condensed({"$a": history_of(ch=3), EVIL: history_of(ch=3)}, classes=["a", "b$", EVIL])
    view.mode, view.only = mode, only
    figure = view.static(1)
    assert isinstance(figure, Picture) and "accuracy 0.600" in figure.axes[0].get_title().replace("\n", " ")
    assert len(figure.axes[0].texts) == (3 if only < 0 else 1) and "step 10" in figure.get_suptitle()
    figure.savefig("/dev/null", format="png")


def test_pages_and_boards():
    view = Condensed({"DC": history_of(), "DCC": history_of()})
    view.mode, view.opened, view.only = "start", 3, 1
    state = view.part()["state"]
    assert (state["mode"], state["opened"], state["only"]) == ("start", 3, 1) and len(state["frames"]) == 3
    board = Rewind(view, GradientSimilarity(cosines())).board()
    assert board.page() and Board([Condensed(images())]).static()


# ---------------------------------------------------------------------------------------------------------- gradients

def test_cosines_of():
    x = cosines()
    assert (cosines_of(x[0]).pairs[0] == x[0].astype(np.float32)).all() and cosines_of(x).sums is None
    assert cosines_of(x, 3, [0.1, 0.2]).sums.tolist() == pytest.approx([0.1, 0.2])
    whole = cosines_of(x, 2)                                    # one row and column more than there are classes
    assert whole.pairs.shape == (2, 2, 2) and whole.sums == pytest.approx(x[:, 2, 2])
    assert np.isnan(cosines_of(np.array([[1, np.nan], [0, 1]])).pairs).sum() == 1
    assert np.isnan(cosines_of(np.full((2, 2), np.nan)).pairs).all()


@pytest.mark.parametrize(("values", "options", "message"), [
    (np.zeros((2, 3, 4)), {}, r"cosines \[layers, C, C\] between C classes; got float64 \[2, 3, 4\]"),
    (np.zeros(3), {}, "got float64"), (np.zeros((0, 3, 3)), {}, "got float64"),
    (np.array([["a"]]), {}, "are cosines"), (3 * np.eye(2), {}, "magnitudes up to 3"),
    (np.array([[np.inf]]), {}, "magnitudes up to inf"), (np.eye(3), {"classes": ["a"]}, "1 names for 3 classes"),
    (np.eye(3), {"layers": ["a", "b"]}, "2 names for 1 layers"),
])
def test_faults_of_gradients_are_named(values, options, message):
    with pytest.raises(ValueError, match=message): GradientSimilarity(values, **options)


def test_runs_of_other_classes_are_not_compared():
    view = GradientSimilarity({"a": np.eye(3), "b": np.eye(2)})
    assert "need the same layers and classes; got a [1, 3, 3], b [1, 2, 2]" in view.frame["error"]


def test_sums_must_fit():
    with pytest.raises(ValueError, match="3 sums over classes of 'DC' for 2 layers"):
        cosines_of(cosines(), 3, [1, 1, 1], "DC")


def test_mean_cosines_against_loops():
    x = cosines(1, 5)[0]
    own = np.mean([x[i, i] for i in range(5)])
    other = np.mean([x[i, j] for i in range(5) for j in range(5) if i != j])
    assert mean_cosines(x) == pytest.approx((own, other))
    x[2, 2] = x[0, 1] = np.nan
    own, other = mean_cosines(x)
    assert own == pytest.approx(np.mean([x[i, i] for i in (0, 1, 3, 4)])) and math.isfinite(other)
    one, none = mean_cosines(np.ones((1, 1)))
    assert one == 1 and math.isnan(none)


def gradient_history(steps=(0, 10), sums=True, matching=True, seed=0):
    history = History()
    for step in steps:
        more = {"similarity.sum": np.array([0.5, -0.25])} if sums else {}
        if matching: more["matching"] = np.array([3.0, 1.5]) + step
        history.record(step, similarity=cosines(seed=seed + step), **more)
    return history


def test_what_travels_of_gradients():
    view = GradientSimilarity({"DC": gradient_history(), EVIL: gradient_history(sums=False, matching=False)},
                              ["a", "b", EVIL], ["first", "last"])
    a, b = view.frame["runs"]
    assert unpacked(a["pairs"]) == pytest.approx(cosines(seed=10), abs=1e-6)
    assert b["sums"] is None and b["matching"] is None
    assert unpacked(a["sums"]).tolist() == [0.5, -0.25]
    assert unpacked(a["matching"]).tolist() == [13, 11.5]
    own, other = mean_cosines(cosines(seed=10)[1])
    assert a["words"][1] == (f"last: own class {own:.2f}, another class {other:.2f}, sum over classes −0.25, "
                             "matching loss 11.5").replace("class -", "class −")
    assert b["words"][0].endswith("sum over classes not recorded") and EVIL not in view.page()
    assert view.frame["layers"] == ["first", "last"] and view.recorded() == [0, 10]
    view.seek(0)
    assert unpacked(view.frame["runs"][0]["matching"]).tolist() == [3, 1.5]


def test_sums_belong_to_the_record_of_the_cosines():
    history = History()
    history.record(0, similarity=cosines(), **{"similarity.sum": np.array([0.1, 0.2])})
    history.record(10, **{"similarity.sum": np.array([0.8, 0.9])})
    assert GradientSimilarity(history).cosines_at(0, 10).sums.tolist() == pytest.approx([0.1, 0.2])


def test_names_of_layers_and_matching_of_other_length():
    assert GradientSimilarity(cosines(1)).frame["layers"] == ["all layers"]
    assert GradientSimilarity(cosines(2)).frame["layers"] == ["layer 0", "layer 1"]
    history = gradient_history()
    history.record(20, similarity=cosines(), matching=np.ones(5))
    view = GradientSimilarity(history)
    assert view.frame["runs"][0]["matching"] is None        # not one a layer


def test_stills_of_gradients():
    both = {"$a": gradient_history(), EVIL: gradient_history()}
    view = GradientSimilarity(both, ["a", "b$", EVIL], ["first", "la$t"])
    view.layer = 1
    figure = view.static(0)
    assert isinstance(figure, Picture) and "la$t: own class" in figure.axes[0].get_title().replace("\n", " ")
    figure.savefig("/dev/null", format="png")
    GradientSimilarity(History()).static().savefig("/dev/null", format="png")
    GradientSimilarity(np.corrcoef(np.random.default_rng(0).normal(size=(60, 8)))).static()
    view.layer = 99
    assert view.in_words(0).startswith("la$t") and view.part()["state"]["layer"] == 99


def test_a_gradient_history_that_grows():
    history = History()
    view = GradientSimilarity(history)
    assert view.frame["note"].startswith("waiting for 'similarity' to be recorded") and view.page()
    history.record(3, similarity=cosines())
    view.follow()
    assert view.frame["step"] == 3 and view.frame["runs"][0]["pairs"] is not None
