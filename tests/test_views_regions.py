"MatchedRegions: geometry, sliders, faults."

import numpy as np
import pytest
import torch

from clnb.augment import Affine, Compose, HorizontalFlip, RandomResizedCrop, Rotate90
from clnb.core import generator
from clnb.methods.glcnet import matched_regions
from clnb.views.regions import Matched, MatchedRegions, checked, moved, share_of


def tiles(n=3, side=32, channels=3):
    return torch.randint(0, 256, (n, channels, side, side), generator=generator(0)).to(torch.uint8)


def pairs(window=6, seed=0, turn=True, count=4):
    look = Compose([RandomResizedCrop(24, (0.6, 1.0)), HorizontalFlip(), *([Rotate90()] if turn else [])])
    x = tiles()
    (a, da), (b, db) = (look.with_params(x, generator=generator(2 * seed + k)) for k in (0, 1))
    found = matched_regions(da, db, window, count, generator(seed))
    return Matched(x, a, b, da.to_source, db.to_source, found.centres_a, found.centres_b, window)


def test_matrices_take_centres_to_one_place():
    found = checked(pairs())
    for i in range(3):
        a, b = (moved(found[3 + side][i], found[5 + side][i]) for side in (0, 1))
        assert np.allclose(a, b, atol=1e-6)
    assert found.tiles.dtype == found.view_a.dtype == np.uint8 and found.centres_a.shape == (3, 4, 2)


def test_share_is_that_of_drawn_squares():
    rng = np.random.default_rng(0)
    centres, size = rng.integers(5, 20, (5, 2)).astype(float), 7
    drawn = np.zeros((5, 40, 40), bool)
    for k, (x, y) in enumerate(centres.astype(int)): drawn[k, y:y + size, x:x + size] = True
    each = [(a & b).sum() / (a | b).sum() for i, a in enumerate(drawn) for b in drawn[:i]]
    assert np.isclose(share_of(centres, size), np.mean(each)) and share_of(centres[:1], 7) == 0


def test_sliders_draw_again_and_keep_the_rest():
    asked = []

    def make(**setting):
        asked.append(setting)
        return pairs(**setting)

    view = MatchedRegions(make, sliders={"window": [4, 6, 8], "seed": [0, 1], "turn": [False, True]}, start={"seed": 0})
    assert asked == [{"window": 6, "seed": 0, "turn": True}]
    reply = view.answer({"ask": "draw", "setting": {"window": 8}})
    assert asked[-1] == {"window": 8, "seed": 0, "turn": True} and reply["side"] == 8
    assert reply["tiles"]["shape"] == [3, 3, 32, 32]
    with pytest.raises(ValueError, match=r"no window=5; the sliders are window: \[4, 6, 8\]"): view.draw(window=5)
    with pytest.raises(ValueError, match="there is no crop=1"): view.draw(crop=1)
    assert "clnb-frame" in view.to_html()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_still_pictures(channels):
    x, look = tiles(2, 20, channels), Compose([Affine(30), RandomResizedCrop((16, 12))])
    (a, da), (b, db) = (look.with_params(x, generator=generator(k)) for k in (0, 1))
    points = torch.full((2, 3, 2), 6.0)
    MatchedRegions(Matched(x, a, b, da.to_source, db.to_source, points, points, 4)).static()
    MatchedRegions(Matched(x, a, b, da.to_source, db.to_source, points[:, :0], points[:, :0], 4)).static()


@pytest.mark.parametrize("change, words", [
    ({"view_a": tiles(2, 24)}, r"view_a must be \[3, 3, 24, 24\] for 3 pictures, got \[2"),
    ({"matrix_b": torch.eye(3)}, r"matrix_b must be \[3, 3, 3\]"),
    ({"centres_b": torch.zeros(3, 2, 2)}, r"centres_b must be \[3, 4, 2\]"),
    ({"matrix_a": torch.zeros(3, 3, 3)}, r"matrix_a\[0\] maps the view to a line or a point"),
    ({"centres_a": torch.full((3, 4, 2), torch.nan)}, "centres_a has values that are not finite"),
    ({"size": 25}, "a side of 1 to 24 pixels"), ({"size": 0}, "a side of 1 to 24 pixels")])
def test_parts_that_do_not_fit(change, words):
    with pytest.raises(ValueError, match=words): MatchedRegions(pairs()._replace(**change))


def test_sliders_that_cannot_work():
    with pytest.raises(ValueError, match="sliders need a function"): MatchedRegions(pairs(), sliders={"seed": [1]})
    with pytest.raises(ValueError, match="the slider 'seed' has no values"): MatchedRegions(pairs, sliders={"seed": []})
    with pytest.raises(ValueError, match="there is no seed=7"):
        MatchedRegions(pairs, sliders={"seed": [1]}, start={"seed": 7})
    with pytest.raises(ValueError, match="sliders are none"): MatchedRegions(pairs(), start={"seed": 7})


def test_what_is_no_pair_of_views():
    with pytest.raises(ValueError, match="a function that returns one, got int"): MatchedRegions(3)
    none = Matched(*(x[:0] for x in pairs()[:7]), 6)
    with pytest.raises(ValueError, match="there are no pictures"): MatchedRegions(none)


def test_large_pictures_keep_the_pixels_of_their_matrices():
    x, eye, point = torch.zeros(1, 3, 300, 280, dtype=torch.uint8), torch.eye(3)[None], torch.full((1, 1, 2), 9.0)
    assert checked(Matched(x, x, x, eye, eye, point, point, 270)).view_a.shape == (1, 3, 300, 280)


def test_a_fault_of_the_function_changes_nothing():
    def make(window):
        if window == 8: raise ValueError("too wide")
        return pairs(window)

    view = MatchedRegions(make, sliders={"window": [4, 6, 8]})
    with pytest.raises(ValueError, match="too wide"): view.draw(window=8)
    assert view.setting == {"window": 6} and view.found.size == 6
