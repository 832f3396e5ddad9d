"PixelSimilarity: vectors as they are sent, ranks, histories, faults."

import numpy as np
import pytest
import torch

from clnb.run import History
from clnb.views.similarity import PixelSimilarity, cosines, rank_of, unit_maps


def maps(n=3, c=5, side=8, seed=0):
    return np.random.default_rng(seed).normal(size=(n, c, side, side)).astype(np.float32)


def pictures(n=3, side=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 3, side, side), dtype=np.uint8)


def twins(n=3, side=16):
    "Each pixel of the first picture lies two columns further right in the second."
    y, x = np.mgrid[:side, :side]
    return np.broadcast_to(np.stack([x + 2.0, y], -1), (n, side, side, 2))


def test_unit_maps_are_directions():
    a, b = unit_maps(maps(), torch.from_numpy(maps(seed=1)).double())
    assert a.shape == (3, 8, 8, 5) and np.allclose(np.linalg.norm(a, axis=3), 1) and a.dtype == np.float32
    one = torch.nn.functional.cosine_similarity(torch.from_numpy(maps()[0, :, 2, 3])[:, None, None],
                                                torch.from_numpy(maps(seed=1)[1]), dim=0)
    assert np.allclose(cosines(a[0], b[1], (2, 3)), one, atol=1e-6)


def test_many_channels_become_their_main_directions():
    low = np.random.default_rng(0).normal(size=(10, 200))
    x, y = (np.einsum("nchw,cd->ndhw", maps(2, 10, seed=k), low) for k in (0, 1))
    whole = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y)]
    a, b = unit_maps(x, y)
    assert a.shape == (2, 8, 8, 64)
    expected = np.einsum("c,chw->hw", whole[0][1, :, 4, 5], whole[1][0])
    assert np.allclose(cosines(a[1], b[0], (4, 5)), expected, atol=1e-4)        # nothing was lost: rank 10


def test_rank_counts_what_is_more_similar():
    found = np.array([[0.1, 0.9], [0.5, 0.5]])
    assert [rank_of(found, at) for at in ((0, 1), (1, 0), (1, 1), (0, 0))] == [1, 2, 2, 4]


def test_twins_are_looked_up_in_the_map():
    view = PixelSimilarity(pictures(), pictures(seed=1), (maps(), maps(seed=1)), twins=twins())
    assert view.twin(0, (4, 6), (8, 8)) == (2, 4) and view.twin(0, (4, 6), (16, 16)) == (4, 8)
    assert view.twin(0, (4, 14), (8, 8)) is None
    assert PixelSimilarity(pictures(), pictures(), (maps(), maps())).twin(0, (4, 6), (8, 8)) is None
    same = PixelSimilarity(pictures(), pictures(), (maps(side=16), np.roll(maps(side=16), 2, 3)), twins=twins())
    found = cosines(*(x[1] for x in same.maps(-1)["similarity"]), (5, 7))
    assert rank_of(found, same.twin(1, (5, 7), found.shape)) == 1


def test_histories_and_arrays_beside_each_other():
    first, second = History(), History()
    for step in (0, 10, 20): first.record(step, map_a=maps(seed=step), map_b=maps(seed=step + 1))
    second.record(10, map_a=maps(seed=7), map_b=maps(seed=8))
    view = PixelSimilarity(pictures(), pictures(), {"one": first, "two": second, "fixed": (maps(), maps())})
    assert view.recorded() == [0, 10, 20]
    assert list(view.maps(0)) == ["one", "fixed"] and list(view.maps(2)) == ["one", "two", "fixed"]
    assert np.allclose(view.maps(1)["one"][0], unit_maps(maps(seed=10))[0])
    empty = PixelSimilarity(pictures(), pictures(), History())
    assert "waiting for 'map_a' and 'map_b'" in empty.picture(-1)["note"]
    empty.static()
    for shown in (view, empty): assert "clnb-frame" in shown.to_html()


def test_still_picture_for_every_kind():
    for grey in (False, True):
        images = pictures()[:, :1] if grey else pictures()
        view = PixelSimilarity(images, torch.from_numpy(images) / 255, {"$a$": (maps(), maps())}, twins=twins())
        view.compare(2, 3, 4).static()
        view.compare(2, 3, 4, other=0).static()


@pytest.mark.parametrize("arguments, words", [
    (lambda: (pictures(), pictures(2), (maps(), maps())), "3 first and 2 second pictures"),
    (lambda: (pictures(), pictures(), (maps(2), maps())), "has maps of .* pictures, there are 3"),
    (lambda: (pictures(), pictures(), (maps(), maps(c=4))), r"the same number of channels, got \[5, 4\]"),
    (lambda: (pictures(), pictures(), (maps()[0], maps())), r"arrays \[n, channels, height, width\], got float32"),
    (lambda: (pictures(), pictures(), (maps() * np.nan, maps())), "are not finite"),
    (lambda: (pictures(), pictures(), {}), "no maps to compare")])
def test_wrong_maps(arguments, words):
    with pytest.raises(ValueError, match=words): PixelSimilarity(*arguments())


def test_wrong_twins_and_places():
    with pytest.raises(ValueError, match=r"twins are \[3, 16, 16, 2\]"):
        PixelSimilarity(pictures(), pictures(), (maps(), maps()), twins=twins(2))
    with pytest.raises(ValueError, match="3 pictures of 16 × 16 pixels; got image=0, row=16"):
        PixelSimilarity(pictures(), pictures(), (maps(), maps())).compare(0, 16, 0)
