"""Masks: hand-checkable cases, faults, and every batched computation against a plain one."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from clnb import masks as M
from clnb.augment import RandomResizedCrop
from clnb.core import generator, rebuild, recipe
from clnb.data import make_field
from clnb.masks import (
    FixedMask,
    GivenMask,
    IndexMask,
    NoMask,
    RandomMask,
    SaliencyMask,
    coverage,
    excess_green,
    hard_mask,
    histogram,
    iou,
    largest_component,
    mask_producer,
    masked,
    opening,
    otsu,
    quantised,
    top_share,
    vegetation_index,
)


def colours(*rgb, dtype=torch.uint8):
    "One row of pixels, [1, 3, 1, len]"
    return torch.tensor(rgb, dtype=dtype).T.reshape(1, 3, 1, -1)


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(seed))


@pytest.fixture
def plain(monkeypatch):
    "The computation for devices that have no compiled loops."
    monkeypatch.setattr(M, "_compiled_here", lambda x: False)


# -------------------------------------------------------------------------------------------------------- excess green

def test_excess_green_of_pure_colours_and_greys():
    x = colours((0, 255, 0), (255, 0, 0), (0, 0, 255), (0, 0, 0), *[(v, v, v) for v in range(1, 256)])
    assert excess_green(x).flatten().tolist() == [2, -1, -1] + [0] * 256
    assert quantised(excess_green(x)).flatten().tolist() == [255, 0, 0] + [85] * 256
    assert excess_green(x.float() / 255)[..., :3].flatten().tolist() == [2, -1, -1]
    assert quantised(excess_green(x.float() / 255)).equal(quantised(excess_green(x)))


def exact_level(r, g, b):
    "round(255 g / (r + g + b)), halves to even, in whole numbers"
    total = r + g + b
    if not total: return 85
    low, rest = divmod(255 * g, total)
    return low + (2 * rest > total or (2 * rest == total and low % 2))


def test_levels_are_exact_for_bytes_both_ways(monkeypatch):
    x = noise(4, 3, 40, 50)
    x[0] //= 40                                             # few levels: many halves
    r, g, b = x.long().numpy().transpose(1, 0, 2, 3)
    expected = np.vectorize(exact_level)(r, g, b)
    assert (M._index(x)[0].numpy() == expected).all()
    assert (quantised(excess_green(x)).numpy() == expected).all()
    assert vegetation_index(x).mul(255).round().numpy().astype(int).tolist() == expected.tolist()
    monkeypatch.setattr(M, "_compiled_here", lambda x: False)
    assert (M._index(x)[0].numpy() == expected).all()


def test_excess_green_does_not_see_the_light():
    x = noise(2, 3, 8, 8) // 3
    assert excess_green(x).equal(excess_green(x * 3))
    assert excess_green(x.half() / 255).dtype == torch.float32


@pytest.mark.parametrize("dark", [0.0, 0.1, 0.5, 0.99])
def test_what_is_too_dark_has_no_colour(dark, monkeypatch):
    x = noise(3, 3, 20, 20)
    shadow = x.float().mean(1) < 255 * dark - 1e-3
    expected = quantised(excess_green(x)).masked_fill(shadow, 85)
    find = IndexMask(dark=dark)
    assert quantised(excess_green(x, dark)).equal(expected)
    assert (find.score(x) * 255).round().to(torch.uint8).equal(expected)
    assert vegetation_index(x, dark).equal(find.score(x))
    assert rebuild(recipe(find)).dark == dark
    compiled = find(x)
    monkeypatch.setattr(M, "_compiled_here", lambda x: False)
    assert find(x).equal(compiled) and find.score(x).mul(255).round().to(torch.uint8).equal(expected)
    with pytest.raises(ValueError, match="brightness"): IndexMask(dark=40)


@pytest.mark.parametrize("x, text", [
    (torch.zeros(2, 1, 4, 4), "needs 3 channels"), (torch.zeros(2, 4, 4, 4), "needs 3 channels"),
    (torch.zeros(3, 4, 4), "one image is x[None]"), (np.zeros((1, 3, 4, 4)), "got ndarray"),
    (torch.zeros(1, 3, 0, 4), "needs images"), (-torch.ones(1, 3, 4, 4), "before the images are normalised"),
])
def test_excess_green_says_what_is_wrong(x, text):
    with pytest.raises(ValueError) as caught: excess_green(x)
    assert text in str(caught.value)


def test_images_of_whole_numbers_are_no_images():
    with pytest.raises(TypeError, match="convert them"): excess_green(torch.zeros(1, 3, 4, 4, dtype=torch.int64))


# ---------------------------------------------------------------------------------------------------------------- Otsu

def plain_otsu(flat):
    "Otsu over all thresholds in exact fractions; the smallest of the best"
    from fractions import Fraction

    q, best, at = np.asarray(flat, dtype=int), Fraction(0), 0
    for t in range(256):
        a, b = q[q <= t], q[q > t]
        if not len(a) or not len(b): continue
        apart = Fraction(int(a.sum()), len(a)) - Fraction(int(b.sum()), len(b))
        between = Fraction(len(a) * len(b), len(q) ** 2) * apart ** 2
        if between > best: best, at = between, t
    variance = Fraction(int((q ** 2).sum()), len(q)) - Fraction(int(q.sum()), len(q)) ** 2
    return at, float(best / variance) if variance else 0.0


def test_otsu_of_two_levels_takes_the_smallest_threshold():
    q = torch.tensor([10] * 50 + [200] * 50, dtype=torch.uint8)[None]
    threshold, bimodality = otsu(q)
    assert threshold.tolist() == [10] and bimodality.tolist() == [1] and (q > threshold).sum() == 50
    assert threshold.dtype == torch.int64


@pytest.mark.parametrize("compiled", [True, False])
def test_otsu_of_a_batch_is_otsu_of_each(compiled, monkeypatch):
    if not compiled: monkeypatch.setattr(M, "_compiled_here", lambda x: False)
    q = noise(8, 12, 11)
    q[1] = q[1] // 64 * 60
    q[2], q[3] = 85, 0
    q[4] = torch.tensor([0, 100, 200] * 44, dtype=torch.uint8).view(12, 11)         # two splits tie
    q[5] = torch.tensor([0] * 131 + [255], dtype=torch.uint8).view(12, 11)
    q[6] = 255
    found = otsu(q)
    for row, threshold, bimodality in zip(q, *found, strict=True):
        expected = plain_otsu(row.flatten())
        assert (threshold.item(), bimodality.item()) == (expected[0], pytest.approx(expected[1], abs=1e-6))


def test_otsu_of_one_hump_reaches_what_theory_says():
    rng = generator(0)
    normal = (128 + 20 * torch.randn(1, 100_000, generator=rng)).round().clamp(0, 255).to(torch.uint8)
    assert otsu(normal)[1].item() == pytest.approx(2 / math.pi, abs=0.01)
    flat = torch.randint(40, 210, (1, 100_000), generator=rng).to(torch.uint8)
    assert otsu(flat)[1].item() == pytest.approx(0.75, abs=0.01)


def test_histogram_counts_every_pixel(plain):
    q = noise(3, 7, 9)
    assert histogram(q).tolist() == [np.bincount(row.flatten(), minlength=256).tolist() for row in q.numpy()]


@pytest.mark.parametrize("levels", [torch.zeros(2, 4), torch.zeros(4, dtype=torch.uint8), [1, 2],
                                    torch.zeros(2, 0, dtype=torch.uint8)])
def test_otsu_says_what_it_needs(levels):
    with pytest.raises(ValueError, match="otsu needs levels"): otsu(levels)


# ------------------------------------------------------------------------------------------------- measures, thresholds

def test_coverage_and_iou():
    a = torch.zeros(4, 2, 2, dtype=torch.bool)
    b = a.clone()
    a[0, 0], b[0, :, 0] = True, True        # 1 of 3
    a[1], b[1, 0, 0] = True, True           # 1 of 4
    a[2] = True                             # 0 of 4
    assert iou(a, b).tolist() == pytest.approx([1 / 3, 1 / 4, 0, 1])
    assert coverage(a).tolist() == [0.5, 1, 1, 0]
    assert iou(a.to(torch.uint8) * 3, b).equal(iou(a, b)) and coverage(a.long()).equal(coverage(a))
    with pytest.raises(ValueError, match="one shape"): iou(a, b[:2])
    with pytest.raises(ValueError, match="of bool"): coverage(a.float())
    with pytest.raises(ValueError, match="of bool"): coverage(a[0])


def test_hard_mask_takes_one_threshold_or_many():
    score = torch.tensor([[[0.1, 0.5]], [[0.5, 0.9]]])
    assert hard_mask(score, 0.5).tolist() == [[[False, False]], [[False, True]]]
    assert hard_mask(score, torch.tensor([0.0, 0.6])).tolist() == [[[True, True]], [[False, True]]]
    with pytest.raises(ValueError, match="one for each of 2"): hard_mask(score, torch.zeros(3))


def test_top_share_keeps_ties():
    score = torch.tensor([[[0.1, 0.4], [0.3, 0.2]]])
    assert top_share(score, 0.5).tolist() == [[[False, True], [True, False]]]
    assert top_share(score, 1.0).all() and top_share(score, 0.01).sum() == 1
    tied = torch.tensor([[[0.3, 0.4], [0.3, 0.2]]])
    assert top_share(tied, 0.5).sum() == 3
    assert top_share(torch.rand(3, 10, 10, generator=generator(0)), 0.07).sum((1, 2)).tolist() == [7, 7, 7]


@pytest.mark.parametrize("share", [0, -0.1, 1.5, 40, True, "half"])
def test_top_share_needs_a_share(share):
    with pytest.raises(ValueError, match=r"0\.4 keeps 40"): top_share(torch.rand(1, 2, 2), share)


# ---------------------------------------------------------------------------------------------------------- morphology

@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_opening_is_that_of_scipy_in_a_larger_frame(size, compiled, monkeypatch):
    if not compiled: monkeypatch.setattr(M, "_compiled_here", lambda x: False)
    x = torch.rand(6, 17, 6, generator=generator(size)) > 0.2
    square = np.ones((size, size), bool)
    lean = [ndimage.binary_erosion(row, square, border_value=1) for row in x.numpy()]
    expected = np.stack([ndimage.binary_dilation(row, square) for row in lean])
    assert (opening(x, size).numpy() == expected).all()
    assert not (opening(x, size) & ~x).any() and opening(opening(x, size), size).equal(opening(x, size))


@pytest.mark.parametrize("size", [0, 2, -1, 1.5, True])
def test_opening_needs_an_odd_square(size):
    with pytest.raises(ValueError, match="size 1, 3, 5"): opening(torch.ones(1, 3, 3, dtype=torch.bool), size)


def one_by_one(mask, connectivity):
    "scipy's labels, image by image"
    square = np.ones((3, 3)) if connectivity == 8 else None
    out = np.zeros(mask.shape, bool)
    for row, kept in zip(mask.numpy(), out, strict=True):
        label, count = ndimage.label(row, square)
        if count: kept[:] = label == np.bincount(label.ravel())[1:].argmax() + 1     # labels in reading order
    return out


def spiral(size):
    out = torch.zeros(size, size, dtype=torch.bool)
    top, left, bottom, right = 0, 0, size - 1, size - 1
    while top <= bottom and left <= right:
        out[top, left:right + 1] = out[top:bottom + 1, right] = True
        out[bottom, left:right + 1] = True
        out[top + 2:bottom + 1, left] = True
        if top + 2 <= bottom: out[top + 2, left:left + 2] = True
        top, left, bottom, right = top + 2, left + 2, bottom - 2, right - 2
    return out


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("connectivity", [4, 8])
def test_largest_component_is_that_of_scipy(connectivity, compiled, monkeypatch):
    if not compiled: monkeypatch.setattr(M, "_compiled_here", lambda x: False)
    rng = generator(3)
    share = torch.rand(40, 1, 1, generator=rng)
    x = torch.rand(40, 23, 31, generator=rng) < share
    x[0], x[1] = False, True
    x[2, :, ::2] = False                                    # columns of one size: the first stays
    x[3] = (torch.arange(23)[:, None] + torch.arange(31)) % 2 == 0
    assert (largest_component(x, connectivity).numpy() == one_by_one(x, connectivity)).all()
    snake = spiral(33)[None]
    assert (largest_component(snake, connectivity).numpy() == one_by_one(snake, connectivity)).all()


def comb(teeth):
    "Vertical teeth joined at the bottom only, of growing distance: components that meet late"
    out = torch.zeros(1, 16, 2 * teeth, dtype=torch.bool)
    out[:, :, ::2] = out[:, -1] = True
    return out


def test_late_meetings_are_exact_on_any_device(plain):
    for x in (comb(1), comb(37), comb(64).flip(1), comb(20).mT, torch.ones(1, 1, 300, dtype=torch.bool),
              torch.ones(1, 300, 1, dtype=torch.bool), torch.ones(1, 1, 1, dtype=torch.bool)):
        assert largest_component(x, 4).equal(x) and largest_component(x, 8).equal(x)


def test_largest_component_of_nothing_and_faults():
    assert largest_component(torch.zeros(0, 4, 4, dtype=torch.bool)).shape == (0, 4, 4)
    assert opening(torch.zeros(0, 4, 4, dtype=torch.bool)).shape == (0, 4, 4)
    with pytest.raises(ValueError, match="4 or 8"): largest_component(torch.ones(1, 2, 2, dtype=torch.bool), 6)


# ----------------------------------------------------------------------------------------------------------- producers

ALL = {"index": {}, "fixed": {}, "given": {}, "random": {}, "none": {}, "saliency": {}}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 5))


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_every_producer_gives_a_hard_mask(kind, dtype):
    x, given = noise(5, 3, 16, 16), torch.rand(5, 16, 16, generator=generator(1)) > 0.5
    x = x if dtype == torch.uint8 else x / 255
    producer = mask_producer(kind, **({"encoder": network()} if kind == "saliency" else {}))
    mask = producer(x, given, generator(0))
    assert mask.dtype == torch.bool and mask.shape == (5, 16, 16) and not mask.requires_grad
    assert producer(x, given, generator(0)).equal(mask)
    if (score := producer.score(x)) is not None:
        assert score.shape == mask.shape and score.min() >= 0 and score.max() <= 1
        assert producer.threshold(x).shape == (5,)
    for wrong in (x[0], x[:, :0], "x"):
        with pytest.raises(ValueError, match="images"): producer(wrong, given)


@pytest.mark.parametrize("kind", [k for k in ALL if k != "saliency"])
def test_no_images_no_masks(kind):
    empty = torch.zeros(0, 3, 8, 8, dtype=torch.uint8)
    assert mask_producer(kind)(empty, torch.zeros(0, 8, 8)).shape == (0, 8, 8)


@pytest.mark.parametrize("producer", [
    IndexMask(3, largest=True), IndexMask(bimodality=0.7, tail=5), FixedMask("rectangle", (0.3, 0.5), (0.2, 0.1)),
    GivenMask([1, 2]), GivenMask(1), RandomMask(), RandomMask(0.25), RandomMask(IndexMask(5)), NoMask()])
def test_a_producer_is_rebuilt_from_its_recipe(producer):
    x, given = make_field(count=12).images, torch.randint(0, 4, (12, 32, 32), generator=generator(0))
    again = rebuild(recipe(producer))
    assert again(x, given, generator(4)).equal(producer(x, given, generator(4)))
    assert type(producer).__name__ in repr(producer)


def test_masks_of_the_field_are_its_discs():
    field = make_field(count=300, seed=5, confounding=1.0)
    for producer in (IndexMask(), IndexMask(3, largest=True)):
        quality = iou(producer(field.images), field.masks)
        assert quality.mean() >= 0.95 and quality.min() > 0.9
        assert iou(producer(field.images / 255), field.masks).mean() >= 0.95


def test_the_index_is_score_and_threshold():
    x = torch.cat([make_field(count=20).images, noise(4, 3, 32, 32), torch.full((2, 3, 32, 32), 90, dtype=torch.uint8)])
    find = IndexMask()
    assert find(x).equal(hard_mask(find.score(x), find.threshold(x)))
    assert (find.threshold(x)[-2:] < 0).all() and find(x)[-2:].all()


def test_both_ways_of_the_index_agree(monkeypatch):
    x = torch.cat([make_field(count=30).images, noise(30, 3, 32, 32)])
    for find in (IndexMask(), IndexMask(3), IndexMask(1, True), IndexMask(5, True)):
        compiled = find(x)
        with monkeypatch.context() as other:
            other.setattr(M, "_compiled_here", lambda x: False)
            assert find(x).equal(compiled)


def picture(soil, leaf=None, share=0.0, spread=0.04, size=64, count=20):
    "Noisy soil with a square leaf"
    x = torch.tensor(soil).view(3, 1, 1).expand(count, 3, size, size).clone()
    truth, side = torch.zeros(count, size, size, dtype=torch.bool), round(size * share ** 0.5)
    truth[:, 5:5 + side, 7:7 + side] = True
    if leaf: x = torch.where(truth[:, None], torch.tensor(leaf).view(3, 1, 1), x)
    x = x + spread * torch.randn(x.shape, generator=generator(0))
    return (x.clamp(0, 1) * 255).round().to(torch.uint8), truth


@pytest.mark.parametrize("name, soil", [("brown", (0.45, 0.36, 0.27)), ("grey", (0.5, 0.5, 0.5)),
                                        ("blue", (0.3, 0.35, 0.5)), ("meadow", (0.25, 0.5, 0.2))])
def test_one_kind_of_pixel_only_keeps_all(name, soil):
    x, _ = picture(soil)
    assert otsu(quantised(excess_green(x)))[1].min() > 0.5      # a limit of 0.5 alone would let it pass
    assert IndexMask()(x).all(), name


@pytest.mark.parametrize("share", [0.03, 0.1, 0.5, 0.9])
def test_plants_are_found_from_three_percent_on(share):
    x, truth = picture((0.45, 0.36, 0.27), (0.25, 0.5, 0.2), share)
    assert iou(IndexMask()(x), truth).mean() > 0.9


def test_a_plant_of_a_few_pixels_is_found_or_all_is_kept():
    for share in (0.0003, 0.001, 0.003):
        x, truth = picture((0.45, 0.36, 0.27), (0.25, 0.5, 0.2), share)
        for mask, leaf in zip(IndexMask(3)(x), truth, strict=True):
            assert mask.all() or iou(mask[None], leaf[None]) > 0.5 or (mask & leaf).any()
            assert mask.any()


@pytest.mark.parametrize("share", [0.002, 0.005, 0.01, 0.02])
def test_a_tiny_plant_is_found_in_the_tail(share):
    x, truth = picture((0.45, 0.36, 0.27), (0.25, 0.5, 0.2), share)
    assert IndexMask()(x).all() and iou(IndexMask(tail=5)(x), truth).mean() > 0.8
    assert IndexMask(tail=5)(picture((0.45, 0.36, 0.27))[0]).all()                   # nothing to find


def test_the_tail_is_above_median_and_median_deviation(plain):
    q = noise(6, 40, 40) // 8 + 80
    q[:, :3, :3] = 200
    for row, threshold in zip(q, M.tail_threshold(histogram(q), 3.0).tolist(), strict=True):
        values = np.sort(row.numpy().ravel().astype(int))
        middle = values[(len(values) - 1) // 2]
        spread = max(1, np.sort(np.abs(values - middle))[(len(values) - 1) // 2])
        limit = middle + math.ceil(3 * 1.4826 * spread)
        assert threshold == (limit if (values > limit).sum() >= 4 else -1)
    assert M.tail_threshold(histogram(q * 0 + 85), 5.0).tolist() == [-1] * 6         # no spread, no tail


def test_an_opening_that_leaves_nothing_is_not_done():
    x, truth = picture((0.45, 0.36, 0.27), (0.1, 0.9, 0.1), 4 / 4096, spread=0.0)      # two by two pixels
    assert IndexMask(3)(x).equal(truth) and IndexMask(3, largest=True)(x).equal(truth)


def test_the_limits_of_belief_are_options():
    x, _ = picture((0.45, 0.36, 0.27))
    assert 0.2 < coverage(IndexMask(sure=0.5)(x)).mean() < 0.8      # every split above 0.5 believed
    x, _ = picture((0.45, 0.36, 0.27), (0.25, 0.5, 0.2), 0.3)
    assert IndexMask(bimodality=1.0)(x).all() and not IndexMask()(x).all()


def test_a_grey_picture_has_no_colour():
    grey = noise(3, 1, 16, 16)
    assert IndexMask()(grey.expand(-1, 3, -1, -1)).all()
    with pytest.raises(ValueError, match="a grey image has no colour"): IndexMask()(grey)
    for kind in ("fixed", "none"): assert mask_producer(kind)(grey).shape == (3, 16, 16)


def test_fixed_shapes():
    x = torch.zeros(2, 1, 100, 200)
    assert coverage(FixedMask("ellipse", radii=(0.5, 0.5))(x)).tolist() == pytest.approx([math.pi / 4] * 2, abs=2e-3)
    box = FixedMask("rectangle", (0.25, 0.5), (0.25, 0.1))(x)[0]
    assert box.nonzero().amin(0).tolist() == [0, 80] and box.nonzero().amax(0).tolist() == [49, 119]
    assert box.sum() == 50 * 40
    for bad in ({"shape": "star"}, {"centre": (0.5,)}, {"centre": (2, 0.5)}, {"radii": (0, 1)}):
        with pytest.raises(ValueError): FixedMask(**bad)


def test_given_masks():
    x, given = torch.zeros(1, 3, 2, 2), torch.tensor([[[0, 1], [2, 255]]])
    assert GivenMask()(x, given).tolist() == [[[False, True], [True, True]]]
    assert GivenMask(2)(x, given).tolist() == [[[False, False], [True, False]]]
    assert GivenMask((1, 255))(x, given).tolist() == [[[False, True], [False, True]]]
    with pytest.raises(ValueError, match="got none"): GivenMask()(x)
    with pytest.raises(ValueError, match="a mask for each image"): GivenMask()(x, given[:, :1])


@pytest.mark.parametrize("area", [0, 1, 2, 7, 60, 97, 300, 500, 900, 1000, 1024])
def test_random_masks_are_rectangles_of_that_area(area):
    given = (torch.arange(1024) < area).view(1, 32, 32).expand(200, -1, -1)
    mask = RandomMask(GivenMask())(torch.zeros(200, 1, 32, 32), given, generator(0))
    found = mask.sum((1, 2))
    assert ((found - area).abs() <= max(1, 0.04 * area)).all() and (found - area).float().mean().abs() < 1 + 0.03 * area
    for one in mask:
        if area: assert one.sum() == one.any(0).sum() * one.any(1).sum()             # a full rectangle
    if area == 300:
        middle = torch.stack([one.nonzero().float().mean(0) for one in mask])
        assert (middle.mean(0) - 15.5).abs().max() < 1 and (middle.std(0) > 3).all()
        sides = torch.stack([torch.stack([one.any(1).sum(), one.any(0).sum()]) for one in mask])
        assert len(sides.unique(dim=0)) > 1 and (sides.max(1).values <= 2 * sides.min(1).values).all()


def test_a_random_mask_follows_another_producer():
    field = make_field(count=100)
    for of in ("index", IndexMask(3), "given", 0.3):
        area = RandomMask(of).area(field.images, field.masks).float()
        mask = RandomMask(of)(field.images, field.masks, generator(0))
        assert (mask.sum((1, 2)) - area).abs().max() <= 8
        assert iou(mask, field.masks).mean() < 0.5
    first, second = (RandomMask()(field.images, generator=generator(seed)) for seed in range(2))
    assert not first.equal(second)
    with pytest.raises(ValueError, match="0…1"): RandomMask(3)


def test_saliency_keeps_the_most_active_share_and_leaves_the_encoder_as_it_was():
    encoder = network()
    encoder[1].eval()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    x = noise(7, 3, 16, 16)
    producer = SaliencyMask(encoder, 0.25, batch=3)
    mask = producer(x)
    assert (coverage(mask) >= 0.25).all() and (coverage(mask) < 0.35).all()
    assert encoder.training and encoder[0].training and not encoder[1].training
    assert all(value.equal(before[name]) for name, value in encoder.state_dict().items())
    assert (producer.score(x) >= producer.threshold(x).view(-1, 1, 1)).equal(mask)
    assert producer(x / 255).equal(mask)
    assert not any(module._forward_hooks for module in encoder.modules())


def test_saliency_reads_the_activations_it_should():
    encoder = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.Conv2d(2, 1, 1, bias=False), nn.Flatten())
    with torch.no_grad():
        encoder[0].weight.copy_(torch.tensor([1.0, -3.0]).view(2, 1, 1, 1))
        encoder[1].weight.copy_(torch.tensor([-1.0, 0.0]).view(1, 2, 1, 1))
    x = torch.tensor([[[[0.1, 0.4], [0.3, 0.2]]]])
    assert SaliencyMask(encoder, 0.5)(x).tolist() == [[[False, True], [True, False]]]
    assert SaliencyMask(encoder, layer="0")._activity(x).flatten().tolist() == pytest.approx([0.2, 0.8, 0.6, 0.4])
    assert SaliencyMask(encoder, 0.3)(x * 0).all()                                       # nothing stands out
    assert SaliencyMask(encoder, 0.3).score(x * 0).eq(0).all()


def test_saliency_of_the_encoders_of_this_book():
    from clnb.nets import MomentumCopy, small_convnet

    encoder = small_convnet(seed=0)
    x = noise(3, 3, 32, 32)
    for module in (encoder, MomentumCopy(encoder)):
        mask = SaliencyMask(module)(x)
        assert mask.shape == (3, 32, 32) and (coverage(mask) >= 0.4).all()
    assert rebuild(recipe(SaliencyMask(encoder, 0.3))).share == 0.3
    assert rebuild(recipe(mask_producer("saliency"))).encoder is None


@pytest.mark.parametrize("make, text", [
    (lambda: SaliencyMask()(torch.zeros(1, 3, 4, 4)), "has no encoder yet"),
    (lambda: SaliencyMask(share=40), "0.4 keeps 40"),
    (lambda: SaliencyMask(nn.Flatten())(torch.zeros(1, 3, 4, 4)), "rows and columns"),
    (lambda: SaliencyMask(network(), layer="9")(torch.zeros(1, 3, 16, 16)), "no layer '9'; it has 0, 1"),
    (lambda: mask_producer("otsu"), "there are index, fixed, given, random, none, saliency"),
])
def test_producers_say_what_is_wrong(make, text):
    with pytest.raises(ValueError) as caught: make()
    assert text in str(caught.value)


# -------------------------------------------------------------------------------------------------------------- masked

def test_a_mask_of_ones_changes_no_bit_and_zeros_leave_the_fill():
    x = torch.randn(3, 3, 8, 8, generator=generator(0))
    x[0, 0, 0, 0] = -0.0
    for fill in ("zero", "mean", "noise", 0.5, (1, 2, 3)):
        kept = masked(x, torch.ones(3, 8, 8, dtype=torch.bool), fill, generator(0))
        assert kept.view(torch.int32).equal(x.view(torch.int32))
    none = torch.zeros(3, 8, 8, dtype=torch.bool)
    assert masked(x, none).eq(0).all()
    assert masked(x, none, (1, 2, 3))[:, :, 0, 0].tolist() == [[1, 2, 3]] * 3
    assert torch.allclose(masked(x, none, "mean")[1, :, 2, 2], x.mean((0, 2, 3)))
    assert not masked(torch.full_like(x, float("nan")), none).isnan().any()              # what is hidden has no say
    loud = masked(5 * x + 2, none, "noise", generator(0))
    assert abs(loud.mean() - 2) < 1 and 4 < loud.std() < 6


def test_bytes_stay_bytes():
    x, none = noise(4, 3, 8, 8), torch.zeros(4, 8, 8, dtype=torch.bool)
    for fill in ("zero", "mean", "noise", (300, 2, -4)):
        assert masked(x, none, fill, generator(0)).dtype == torch.uint8
    assert masked(x, none, (300, 2, -4))[0, :, 0, 0].tolist() == [255, 2, 0]
    assert masked(x, none, "mean")[0, 0, 0, 0] == x[:, 0].float().mean().round()


def test_a_gradient_flows_where_the_mask_is():
    x = torch.ones(1, 1, 2, 2, requires_grad=True)
    masked(x, torch.tensor([[[True, False], [False, True]]])).sum().backward()
    assert x.grad.tolist() == [[[[1, 0], [0, 1]]]]


@pytest.mark.parametrize("fill", ["black", (1, 2), None])
def test_masked_names_the_fills(fill):
    with pytest.raises(ValueError, match="fill is 'zero', 'mean', 'noise'"):
        masked(torch.zeros(1, 3, 2, 2), torch.ones(1, 2, 2) > 0, fill)


def test_masked_needs_a_mask_for_each_image():
    with pytest.raises(ValueError, match="a mask for each image"):
        masked(torch.zeros(2, 3, 4, 4), torch.ones(2, 4, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="of bool"): masked(torch.zeros(2, 3, 4, 4), torch.ones(2, 4, 4))


# --------------------------------------------------------------------------------------------------------- with a crop

def test_image_and_mask_take_the_same_crop():
    x, half = torch.arange(16.0).view(1, 1, 4, 4), torch.tensor([[False, False, True, True]]).expand(1, 4, 4)
    cut, kept = x[..., 1:3, 1:4], half[..., 1:3, 1:4]
    assert cut.flatten().tolist() == [5, 6, 7, 9, 10, 11] and kept.long().flatten().tolist() == [0, 1, 1, 0, 1, 1]
    assert masked(cut, kept).sum() == 34


def test_a_landmark_stays_inside_its_mask_in_1000_crops():
    x, mask = torch.zeros(1000, 1, 32, 32), torch.zeros(1000, 32, 32, dtype=torch.bool)
    x[:, :, 12:16, 20:24], mask[:, 10:18, 18:26] = 1.0, True
    crop = RandomResizedCrop(32, (0.2, 1.0))
    views, params = crop.with_params(x, generator=generator(0))
    seen = views[:, 0] > 0.5
    assert seen.any((1, 2)).sum() > 500
    assert not (seen & ~params.apply_mask(mask)).any()
    wrong = crop.with_params(x, generator=generator(1))[1].apply_mask(mask)
    assert (seen & ~wrong).any((1, 2)).sum() > 200                                       # other parameters: it shows
    ones = params.apply_mask(torch.ones_like(mask))
    assert masked(views, ones).equal(views)


# ------------------------------------------------------------------------------------------------------- on a device

@pytest.mark.parametrize("kind", ["index", "fixed", "given", "random", "none"])
def test_nothing_waits_for_the_device(kind):
    "Tensors without data: whatever asks for a value fails."
    x = torch.empty(4, 3, 16, 16, dtype=torch.uint8, device="meta")
    given = torch.empty(4, 16, 16, dtype=torch.bool, device="meta")
    options = {"index": {"opening": 3, "largest": True, "tail": 5}, "random": {"of": IndexMask()}}
    producer = mask_producer(kind, **options.get(kind, {}))
    mask = producer(x, given)
    assert mask.shape == (4, 16, 16) and mask.dtype == torch.bool and mask.device.type == "meta"
    if kind == "index": assert producer.score(x).shape == mask.shape and producer.threshold(x).shape == (4,)
    assert masked(x, mask).device.type == masked(x, mask, "mean").device.type == "meta"
    assert iou(mask, given).shape == coverage(mask).shape == (4,)
    assert top_share(x[:, 0].float(), 0.4).shape == mask.shape
