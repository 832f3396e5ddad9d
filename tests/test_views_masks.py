"""What is the network allowed to see? Curves, crops and the Python side of the mask view."""

import math

import numpy as np
import pytest
import torch

from clnb.core import Picture, generator
from clnb.data import ImageSet, make_field
from clnb.masks import IndexMask, RandomMask, SaliencyMask, coverage, hard_mask, iou, mask_producer
from clnb.run import History
from clnb.views.base import Board
from clnb.views.masks import MODES, Masks, bits, crop_box, in_words, percent, quality, shown, threshold_curves
from clnb.views.rewind import Rewind


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(seed))


FIELD = make_field(count=12)


# ------------------------------------------------------------------------------------------------------------ numbers

def test_curves_against_every_threshold():
    levels, truth = noise(5, 9, 7), noise(5, 9, 7, seed=1) > 150
    truth[0], levels[1] = False, 255
    kept, agreement = threshold_curves(levels.numpy(), truth.numpy())
    for t in range(256):
        mask = levels > t
        assert kept[t] == pytest.approx(coverage(mask).mean().item(), abs=1e-6)
        assert agreement[t] == pytest.approx(iou(mask, truth).mean().item(), abs=1e-6)
    assert threshold_curves(levels.numpy())[1] is None


def test_quality_is_that_of_the_masks_module():
    a, b = torch.rand(6, 8, 9, generator=generator(0)) > 0.5, torch.rand(6, 8, 9, generator=generator(1)) > 0.5
    a[0] = b[0] = False
    kept, agreement = quality(a.numpy(), b.numpy())
    assert kept == pytest.approx(coverage(a).numpy(), abs=1e-6)
    assert agreement == pytest.approx(iou(a, b).numpy(), abs=1e-6)
    assert quality(a.numpy())[1] is None


@pytest.mark.parametrize("size", [(32, 32), (96, 40), (1, 5), (3, 3)])
def test_crops_lie_inside_and_are_numbered(size):
    boxes = [crop_box(row, view, draw, *size) for row in range(60) for view in (0, 1) for draw in range(5)]
    assert all(b.top >= 0 and b.left >= 0 and b.height >= 1 and b.width >= 1 for b in boxes)
    assert all(b.top + b.height <= size[0] and b.left + b.width <= size[1] for b in boxes)
    assert crop_box(7, 1, 3, *size) == crop_box(7, 1, 3, *size)
    if size == (32, 32):
        areas, ratios = np.array([(b.height * b.width / 1024, b.width / b.height) for b in boxes]).T
        assert areas.min() > 0.3 and abs(areas.mean() - 0.67) < 0.04 and ratios.min() > 0.6 and ratios.max() < 1.7
        assert len(set(boxes)) > 450
        assert abs(np.mean([b.top + b.height / 2 for b in boxes]) - 16) < 0.5


def test_a_box_cuts_image_and_mask_alike():
    x = np.arange(48).reshape(1, 6, 8)
    box = crop_box(0, 0, 0, 6, 8)
    assert (box.of(x)[0] == x[0, box.top:box.top + box.height, box.left:box.left + box.width]).all()
    assert box.of(x[0]).shape == (box.height, box.width)


@pytest.mark.parametrize(("share", "text"), [(0, "0 %"), (1, "100 %"), (1 / 3, "33.3 %"), (0.0625, "6.3 %")])
def test_percent(share, text): assert percent(share) == text


def test_words():
    assert in_words(0.25, None) == "keeps 25 % of the pixels"
    assert in_words(0.25, 0.5) == "keeps 25 % of the pixels, IoU 0.500"


def test_bits_hold_every_pixel():
    mask = (torch.rand(3, 5, 7, generator=generator(0)) > 0.5).numpy()
    made = bits(mask)
    raw = np.frombuffer(made["bytes"], np.uint8).reshape(made["shape"])
    assert (np.unpackbits(raw, axis=1)[:, :35].reshape(mask.shape) == mask).all()


# -------------------------------------------------------------------------------------------------------------- inputs

@pytest.mark.parametrize("kind", ["index", "fixed", "given", "random", "none", "saliency"])
def test_every_producer_can_be_shown(kind):
    net = torch.nn.Conv2d(3, 4, 3, 2, 1)
    producer = mask_producer(kind, **({"encoder": net} if kind == "saliency" else {}))
    view = Masks(FIELD, producer)
    expected = producer(FIELD.images, FIELD.masks, generator(0))
    assert (view.shown_masks() == expected.numpy()).all()
    scored = producer.score(FIELD.images) is not None
    assert view.options["modes"] == list(MODES if scored else MODES[:1])
    if kind == "index": assert (view.own() == view.shown_masks()).all()
    if kind == "saliency":
        assert (view.own() & expected.numpy()).sum() > 0.95 * expected.sum()
    assert isinstance(view.static(), Picture)


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    Masks(FIELD, RandomMask())
    assert torch.get_rng_state().equal(before)


def test_ways_to_give_the_same():
    masks = IndexMask()(FIELD.images)
    bare = {"truth": FIELD.masks, "labels": FIELD.labels, "classes": FIELD.classes}
    one, two = Masks(FIELD), Masks(FIELD.images, IndexMask(), **bare)
    assert one.options == two.options and one.frame["masks"] == two.frame["masks"]
    for given in (masks, masks.numpy(), masks.to(torch.uint8), masks[:, None].float()):
        assert (Masks(FIELD, given).shown_masks() == masks.numpy()).all()
    floats = Masks((FIELD.images / 255).numpy(), masks, labels=["a", "b"] * 6)
    assert (floats.base.images == FIELD.images.numpy()).all() and floats.options["names"] == ["a", "b"] * 6
    assert Masks(FIELD.images, masks).options["truth"] is None


def test_scores_alone_get_otsus_threshold():
    score = IndexMask().score(FIELD.images)
    view = Masks(FIELD, scores=score)
    assert view.options["modes"] == list(MODES[1:]) or view.options["modes"] == list(MODES)
    assert (view.own() == hard_mask(score, IndexMask().threshold(FIELD.images)).numpy()).all()
    started = Masks(FIELD, threshold=99)
    assert started.options["mode"] == MODES[2] and (started.shown_masks() == (started.base.levels > 99)).all()


def test_grey_images_with_masks_or_scores():
    grey = ImageSet(noise(6, 1, 16, 16), torch.zeros(6, dtype=torch.int64), ("a",), masks=noise(6, 16, 16) > 99)
    assert (Masks(grey).shown_masks() == grey.masks.numpy()).all()
    assert Masks(grey, scores=grey.images[:, 0] / 255.0).options["levels"] is not None
    assert Masks(grey, SaliencyMask(torch.nn.Conv2d(1, 2, 3, padding=1))).options["modes"] == list(MODES)


def test_many_and_large_images_are_thinned_out():
    view = Masks(noise(90, 3, 4, 4))
    assert len(view.rows) == 64 and view.options["of"] == 90 and len(Masks(noise(90, 3, 4, 4), most=5).rows) == 5
    masks = torch.zeros(2, 200, 300, dtype=torch.bool)
    masks[:, 60:120, 90:240] = True
    large = Masks(noise(2, 3, 200, 300), masks, truth=masks)
    assert large.options["thinned"] == 3 and large.base.images.shape == (2, 3, 66, 100)
    assert large.shown_masks().shape == (2, 66, 100)
    assert quality(large.shown_masks(), large.base.truth)[1].tolist() == [1, 1]
    assert quality(large.shown_masks())[0] == pytest.approx(60 * 150 / 60000, abs=0.01)


@pytest.mark.parametrize(("make", "error", "text"), [
    (lambda: Masks(FIELD.images[:, :1]), ValueError, "grey images have no colour"),
    (lambda: Masks(FIELD.images[0]), ValueError, r"one image is x\[None\]"),
    (lambda: Masks(FIELD.images[:0]), ValueError, "with 1 or 3 channels, got"),
    (lambda: Masks(torch.zeros(2, 2, 4, 4)), ValueError, "1 or 3 channels"),
    (lambda: Masks([1, 2]), TypeError, "an ImageSet, got list"),
    (lambda: Masks(FIELD, FIELD.masks[:3]), ValueError, r"masks have the shape \[3, 32, 32\]; expected \[12, 32, 32\]"),
    (lambda: Masks(FIELD, truth=FIELD.masks[..., 1:]), ValueError, "true masks have the shape"),
    (lambda: Masks(FIELD, scores=FIELD.masks * 7.0), ValueError, "scores lie in 0…1.*got 0 to 7"),
    (lambda: Masks(FIELD, scores=FIELD.masks * math.nan), ValueError, "scores lie in 0…1"),
    (lambda: Masks(FIELD, FIELD.masks, threshold=9), ValueError, "but there is no score"),
    (lambda: Masks(FIELD, threshold=300), ValueError, "got 300"),
])
def test_faults_say_what_was_given_and_expected(make, error, text):
    with pytest.raises(error, match=text): make()


# ------------------------------------------------------------------------------------------------------------- history

def recorded():
    history = History()
    for step, producer in enumerate((RandomMask(), mask_producer("fixed"), IndexMask())):
        history.record(10 * step, masks=producer(FIELD.images, generator=generator(step)))
    return history


def test_a_history_is_walked_through():
    view = Masks(FIELD, recorded())
    assert list(view.recorded()) == [0, 10, 20] and view.options["modes"] == [MODES[0]]
    for k in range(3):
        masks = torch.as_tensor(history_frame(view, k))
        assert (view.shown_masks(k) == masks.numpy()).all()
    curve = {name: np.frombuffer(part["bytes"], part["dtype"]) for name, part in view.curve(-1).items()}
    expected = [(coverage(torch.as_tensor(history_frame(view, k)) > 0).mean().item(),
                 iou(torch.as_tensor(history_frame(view, k)) > 0, FIELD.masks).mean().item()) for k in range(3)]
    assert curve["steps"].tolist() == [0, 10, 20]
    assert np.stack([curve["kept"], curve["iou"]], 1) == pytest.approx(np.array(expected), abs=1e-6)
    assert len(view.part()["state"]["frames"]) == 3 and isinstance(view.static(0), Picture)
    view.seek(10)
    assert view.frame["step"] == 10 and len(view.frame["curve"]["steps"]["bytes"]) == 8
    assert "step" in Rewind(view).board().page()


def history_frame(view, k): return view.history["masks"].frame(k)


def test_a_run_and_other_names():
    class Training:
        history = History()

    view = Masks(FIELD, Training(), name="attention")
    assert "run.measure('attention', function)" in view.frame["note"] and isinstance(view.static(), Picture)
    assert "waiting" in view.page()
    Training.history.record(0, attention=FIELD.masks)
    view.refresh()
    assert (view.shown_masks() == (FIELD.masks > 0).numpy()).all()
    Training.history.record(1, attention=FIELD.masks[:3])
    view.refresh()
    assert "expected [12, 32, 32]" in view.frame["error"]


def test_no_truth_no_iou():
    view = Masks(FIELD.images, recorded())
    assert np.isnan(np.frombuffer(view.curve(-1)["iou"]["bytes"], np.float32)).all()
    assert isinstance(view.static(), Picture)


# ---------------------------------------------------------------------------------------------------------------- page

def test_stills_and_pages():
    for view in (Masks(FIELD), Masks(FIELD, FIELD.masks), Masks(FIELD, threshold=90, image=5),
                 Masks(FIELD.images, IndexMask(3)), Masks(noise(3, 1, 8, 20), noise(3, 8, 20) > 9)):
        view.static().savefig("/dev/null", format="png")
        assert "class MasksView" in view.page()
    assert "diagonal" in Masks(FIELD, image=0).static().get_suptitle() or FIELD.labels[0] != 2
    assert len(Masks(make_field(count=64)).page()) < 1_500_000


def test_beside_other_views():
    from clnb.views.linked import Gallery

    board = Board([Masks(FIELD), Gallery(FIELD.images)])
    board.selection.set([4])
    assert all(np.frombuffer(view.selected, "<u4").tolist() == [4] for view in board.views)
    assert isinstance(board.static(), Picture)


def test_what_is_shown_of_some_images():
    base = shown(FIELD.images, IndexMask(), FIELD.masks, None)
    assert base.thresholds.dtype == np.int32 and (base.masks == (base.levels > base.thresholds[:, None, None])).all()
    bare = shown(torch.full((2, 3, 8, 8), 90, dtype=torch.uint8), IndexMask(), None, None)
    assert bare.thresholds.tolist() == [-1, -1] and bare.masks.all()
