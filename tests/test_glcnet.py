"GLCNet: windows under every augmentation, style and window means against independent computations, limits, faults."

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from clnb import nets
from clnb.augment import (
    Affine,
    Compose,
    HorizontalFlip,
    RandomResizedCrop,
    Rotate90,
    VerticalFlip,
    aerial,
    identity,
)
from clnb.core import generator, rebuild, recipe, seeded
from clnb.data import Batch, SegmentationSet, make_tiles
from clnb.losses import nt_xent
from clnb.methods import glcnet as G
from clnb.run import Run, looking


def images(n=6, side=48, channels=3, seed=0): return torch.rand(n, channels, side, side, generator=generator(seed))


# windows

GEOMETRY = {"crop": RandomResizedCrop(40, (0.3, 1.0)), "small crop": RandomResizedCrop(24, (0.08, 0.3)),
            "flips": Compose([HorizontalFlip(), VerticalFlip()]), "turn": Rotate90(), "nothing": identity(),
            "aerial": aerial(36), "slanted": Compose([Affine(25, (0.1, 0.1), (0.8, 1.2), 5), RandomResizedCrop(32)]),
            "oblong": RandomResizedCrop((30, 44), (0.5, 1.0))}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(GEOMETRY)), st.sampled_from(sorted(GEOMETRY)), st.integers(2, 12), st.integers(1, 6),
       st.integers(0, 10_000))
def test_windows_show_the_same_place_and_stay_inside(a, b, size, count, seed):
    x = images(8)
    drawn = [GEOMETRY[name].draw(x, generator(seed + k)) for k, name in enumerate((a, b))]
    found = G.matched_regions(*drawn, size=size, count=count, generator=generator(seed))
    known = found.known
    places = [p.source_points(c)[known] for p, c in zip(drawn, found[:2], strict=True)]
    assert torch.allclose(*places, atol=1e-6)
    assert torch.allclose(places[0], places[0].round(), atol=1e-6)         # pixels of the tile
    for params, centres in zip(drawn, found[:2], strict=True):
        start = G.window_starts(centres, size)[known]
        assert (start >= 0).all() and (start + size <= torch.tensor(params.out_size[::-1])).all()


def candidates_by_index(index, size):
    "The definition: number of a pixel of the tile -> first place in the view that respects the borders."
    (h, w), found = index.shape, {}
    for r in range(h):
        for c in range(w):
            if min(r, c, h - 1 - r, w - 1 - c) >= size / 2 and index[r, c] >= 0:
                found.setdefault(int(index[r, c]), (r, c))
    return found


@pytest.mark.parametrize("name", ["crop", "aerial", "flips", "oblong"])
def test_windows_are_those_of_the_index_maps_up_to_a_pixel(name):
    x = images(12, 40)
    drawn = [GEOMETRY["crop"].draw(x, generator(0)), GEOMETRY[name].draw(x, generator(1))]
    index = [p.source_index() for p in drawn]
    found = G.matched_regions(*drawn, size=8, count=4, generator=generator(2))
    for n in range(len(x)):
        by_index = [candidates_by_index(m[n], 8) for m in index]
        both = torch.tensor(sorted(by_index[0].keys() & by_index[1].keys()))
        assert found.known[n]
        tile = drawn[0].source_points(found.centres_a)[n].round()
        seen = torch.stack([both % 40, both // 40], 1)
        assert (tile[:, None] - seen[None]).abs().amax(2).amin(1).max() <= 1.5     # resizing drops some numbers
        for p, centres in zip(drawn, found[:2], strict=True):
            rows, columns = centres[n].round().long().unbind(1)[::-1]
            shown = p.source_index()[n, rows, columns]
            assert (torch.stack([shown % 40, shown // 40], 1) - tile).abs().max() <= 1


def test_all_candidates_are_drawn_and_no_other():
    x = torch.arange(64.0).view(1, 1, 8, 8).repeat(400, 1, 1, 1) / 64
    crop = RandomResizedCrop(6)
    first, second = (crop.draw(x, generator(0)) for _ in range(2))
    for params, corner in ((first, (0.0, 0.0)), (second, (2.0, 2.0))):
        params.values["crop"] = torch.tensor([*corner, 6.0, 6.0]).expand(400, 4)
    found = G.matched_regions(first, second, size=2, count=1, generator=generator(1))
    place = first.source_points(found.centres_a)[:, 0].round().long()
    assert set((place[:, 1] * 8 + place[:, 0]).tolist()) == {27, 28, 35, 36}
    assert ((place[:, 1] * 8 + place[:, 0]).bincount()[[27, 28, 35, 36]] > 70).all()       # alike often: 100 ± 9


def test_windows_keep_apart_while_there_is_room():
    x = images(200, 64)
    drawn = [RandomResizedCrop(48, (0.6, 1.0)).draw(x, generator(k)) for k in (0, 1)]
    found = G.matched_regions(*drawn, size=6, count=4, generator=generator(2))
    offset = (found.centres_a[:, :, None] - found.centres_a[:, None]).abs().amax(-1)
    offset = offset + 100 * torch.eye(4)
    assert (offset.amin((1, 2)) >= 3 - 1e-9).all()          # no centre in another one's window
    crowded = G.matched_regions(*drawn, size=30, count=20, generator=generator(2))
    assert crowded.known.float().mean() > 0.5 and crowded.centres_a.shape == (200, 20, 2)


def test_views_that_share_nothing_are_left_out():
    x = images(50, 64)
    far = [RandomResizedCrop(32, (0.08, 0.09)).draw(x, generator(k)) for k in (0, 1)]
    found = G.matched_regions(*far, size=14, generator=generator(0))
    assert 0 < found.known.sum() < 50
    head = nn.Linear(3, 4)
    whole = G.local_matching_loss(*(p.maker.apply(x, p) for p in far), found, 14, head)
    few = [type(p)(**{**vars(p)}).select(found.known) for p in far]
    part = G.Regions(found.centres_a[found.known], found.centres_b[found.known], found.known[found.known])
    assert torch.isclose(whole, G.local_matching_loss(*(p.maker.apply(x[found.known], p) for p in few), part, 14, head))


@pytest.mark.parametrize("options, words", [({"size": 40}, "a side of 1 to 35 pixels"), ({"size": 0}, "a side of 1"),
                                            ({"count": 0}, "there is at least one")])
def test_windows_that_do_not_fit(options, words):
    drawn = [aerial(36).draw(images(3), generator(k)) for k in (0, 1)]
    with pytest.raises(ValueError, match=words): G.matched_regions(*drawn, **options)


def test_views_of_different_tiles():
    with pytest.raises(ValueError, match="different tiles: 3 of"):
        G.matched_regions(aerial(36).draw(images(3)), aerial(36).draw(images(4)))


# numbers

@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(11, 30), st.integers(11, 30), st.booleans(), st.integers(0, 999))
def test_window_means_are_means_of_the_enlarged_map(size, h, w, contiguous, seed):
    g = generator(seed)
    maps, view = torch.randn(3, 4, 9, 11, generator=g).double(), (h, w)
    if not contiguous: maps = maps.to(memory_format=torch.channels_last)
    low, high = torch.tensor(size / 2), torch.tensor([w - 1, h - 1]) - size / 2
    centres = (low + torch.rand(3, 5, 2, generator=g) * (high - low)).double()
    found, large = G.window_means(maps, centres, size, view), nets.enlarged(maps, view)
    for n in range(3):
        for k in range(5):
            x, y = G.window_starts(centres, size)[n, k].tolist()
            assert torch.allclose(found[n, k], large[n, :, y:y + size, x:x + size].mean((1, 2)), atol=1e-12)


def test_ntx_by_hand_and_its_gradient():
    za, zb = torch.randn(2, 7, 5, generator=generator(0)).double()
    z = torch.cat([za, zb])
    z = z / z.norm(dim=1, keepdim=True)
    by_hand = 0.0
    for i in range(14):
        twin = (i + 7) % 14
        others = [k for k in range(14) if k not in (i, twin)]
        by_hand += -(z[i] @ z[twin] / 0.3) + torch.stack([z[i] @ z[k] / 0.3 for k in others]).logsumexp(0)
    assert torch.isclose(G.ntx(za, zb, 0.3), by_hand / 14)
    assert torch.isclose(G.ntx(za, zb, 0.3, positive_in_denominator=True), nt_xent(za, zb, 0.3))
    assert G.ntx(za, zb) < G.ntx(za, zb, positive_in_denominator=True)
    assert torch.autograd.gradcheck(lambda a, b: G.ntx(a, b, 0.3), (za.requires_grad_(), zb.requires_grad_()))
    alone = torch.arange(7) == 3
    lonely = G.ntx(za, zb, keep=alone)
    lonely.backward()
    assert lonely == 0 and za.grad.isfinite().all()
    assert G.ntx(za.half(), zb.half()).dtype == torch.float32


@pytest.mark.parametrize("inside", [False, True])
def test_bounds_are_reached(inside):
    alike = torch.ones(8, 3).double()
    chance, floor = G.ntx_bounds(8, 0.5, inside)
    assert abs(G.ntx(alike, alike, 0.5, inside).item() - chance) < 1e-9
    corners = torch.eye(8).double() - 1 / 8
    assert abs(G.ntx(corners, corners, 0.5, inside).item() - floor) < 1e-9


def test_weighted_sum():
    method = new(global_weight=0.25)
    parts = method.loss(tiles()[torch.arange(6)])
    assert torch.isclose(parts["loss"], 0.25 * parts["loss.global"] + 0.75 * parts["loss.local"])


# the method

def tiles(n=24, side=40): return make_tiles(n, 0, side)


def new(seed=0, view=32, network=None, channels=3, **options):
    with seeded(seed):
        network = network or nets.small_segmenter(channels, 8, 16)
        second = options.pop("second", aerial(view))
        return G.GLCNet(network, RandomResizedCrop(view, (0.4, 1.0)), second, window=6, hidden=16, out_dim=8, **options)


@pytest.mark.parametrize("options", [{}, {"pool": "mean"}, {"moment": "std"}, {"global_weight": 1.0},
                                     {"global_weight": 0.0}, {"positive_in_denominator": True}])
def test_trains_and_is_rebuilt(options, tmp_path):
    method = new(**options)
    run = Run(method, tiles(), steps=3, batch_size=8, seed=0, folder=tmp_path, progress=False)
    for _ in run: pass
    assert math.isfinite(run.history.last("loss"))
    chance, floor = method.bounds(8)["loss"]
    assert chance > floor
    assert method.embed(tiles().images).shape == (24, 32 * (1 + (method.pool == "style")))
    assert method.maps(tiles().images[:2]).shape == (2, 16, 40, 40)
    again = Run.load(tmp_path)
    assert all(a.equal(b) for a, b in zip(method.parameters(), again.method.parameters(), strict=True))
    assert recipe(rebuild(recipe(method))) == recipe(method)


def test_resumes_to_the_same_numbers(tmp_path):
    whole = Run(new(), tiles(), steps=6, batch_size=8, seed=1, folder=tmp_path / "a", progress=False)
    for _ in whole: pass
    part = Run(new(), tiles(), steps=6, batch_size=8, seed=1, folder=tmp_path / "b", progress=False)
    for _ in range(3): next(iter(part))
    part.save()
    rest = Run.load(tmp_path / "b")
    for _ in rest: pass
    assert (whole.history["loss"].values == rest.history["loss"].values).all()


def test_the_order_of_the_batch_and_of_the_views_makes_no_difference():
    a, b = torch.randn(2, 6, 5, 8, 8, generator=generator(0)).double()
    order = torch.randperm(6, generator=generator(1))
    assert torch.isclose(G.global_style_loss(a, b), G.global_style_loss(b[order], a[order]))
    x = images(6)
    drawn = [aerial(36).draw(x, generator(k)) for k in (0, 1)]
    r = G.matched_regions(*drawn, size=6, generator=generator(2))
    maps = torch.randn(2, 6, 5, 36, 36, generator=generator(3))
    swapped = G.Regions(r.centres_b[order], r.centres_a[order], r.known[order])
    other = G.local_matching_loss(maps[1][order], maps[0][order], swapped, 6)
    assert torch.isclose(G.local_matching_loss(*maps, r, 6), other)


def test_four_bands():
    data = torch.randint(0, 255, (16, 4, 40, 40), generator=generator(0), dtype=torch.uint8)
    method = new(channels=4)
    batch = Batch(data, torch.full((16,), -1), torch.arange(16))
    assert method.loss(batch)["loss"].isfinite()
    with pytest.raises(ValueError, match="images \\[N, 3, H, W\\]"): new().loss(batch)


def test_half_precision_gives_nearly_the_same_loss():
    batch, found = tiles()[torch.arange(16)], {}
    for precision in ("float32", "bf16"):
        method = new(positive_in_denominator=True)
        method.precision, batch.generator = precision, generator(0)
        found[precision] = method.update(batch)["loss"].item()
    assert abs(found["bf16"] - found["float32"]) < 0.05


def test_a_tile_smaller_than_the_view_is_enlarged():
    assert new().loss(tiles(8, 32)[torch.arange(8)])["loss"].isfinite()


@pytest.mark.parametrize("options, words", [({"pool": "max"}, "pool must be one of 'style', 'mean'"),
                                            ({"moment": "skew"}, "moment must be one of 'var', 'std'")])
def test_wrong_words(options, words):
    with pytest.raises(ValueError, match=words): new(**options)


# fine-tuning

def test_segmenter_learns_and_leaves_out_what_has_no_class():
    data = tiles(12)
    masks = data.masks.clone()
    masks[:, :20] = 255
    half = SegmentationSet(data.images, masks, data.classes)
    turns = Compose([HorizontalFlip(), Rotate90()])
    with seeded(0): method = G.Segmenter(nets.small_segmenter(3, 8, 16), 6, turns, 3e-3)
    run = Run(method, half, steps=40, batch_size=12, progress=False)
    for _ in run: pass
    values = run.history["loss"].values
    assert values[-5:].mean() < 0.7 * values[:5].mean()
    table = G.confusions(method, half)
    assert table.sum() == (masks != 255).sum() and table.shape == (6, 6)
    assert G.segmented(method, half.images).shape == masks.shape
    with looking(method): expected = method.scores(half.images).argmax(1).to(torch.uint8)
    assert expected.equal(G.segmented(method, half.images))


@pytest.mark.parametrize("parts, same", [("none", (False, False)), ("encoder", (True, False)), ("all", (True, True))])
def test_transfer(parts, same):
    a, b = nets.small_segmenter(3, 8, 16, seed=0), nets.small_segmenter(3, 8, 16, seed=1)
    G.transferred(a, b, parts)
    for (new_part, old), equal in zip(((a.encoder, b.encoder), (a.decoder, b.decoder)), same, strict=True):
        pairs = zip(new_part.parameters(), old.parameters(), strict=True)
        assert all(p.equal(q) for p, q in pairs if p.ndim > 1) == equal


def test_transfer_between_networks_that_differ():
    with pytest.raises(ValueError, match="the two networks differ"):
        G.transferred(nets.small_segmenter(3, 8), nets.small_segmenter(3, 16))
    with pytest.raises(ValueError, match="parts must be one of"):
        G.transferred(nets.small_segmenter(3, 8), nets.small_segmenter(3, 8), "decoder")
