"""StyleSpace: changes of images, planes and distances against independent computations, what travels, and faults."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from clnb.core import Picture
from clnb.data import make_tiles
from clnb.run import History
from clnb.views.base import Board
from clnb.views.segmentation import CHANGES, StyleSpace, blurred, changed, most_changed, plane_of, vectors_of

EVIL = "<img src=x onerror=window.hacked=1>"


def tiles(n=12, h=16, w=12, seed=0):
    return torch.randint(0, 256, (n, 3, h, w), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def described(images):
    x = images.float() / 255
    return {"style": torch.cat([x.mean((2, 3)), x.var((2, 3))], 1), "pooled": x.mean((2, 3))}


def space(**more): return StyleSpace(tiles(), described, **{"labels": np.arange(12) % 3, **more})


def unpacked(part): return np.frombuffer(part["bytes"], part["dtype"]).reshape(part["shape"])


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0, 20.0])
def test_blur_against_scipy(sigma):
    x = torch.rand(2, 3, 14, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    reach = math.ceil(3 * sigma)
    wanted = gaussian_filter(x.numpy(), (0, 0, sigma, sigma), mode="nearest", radius=(0, 0, reach, reach))
    assert blurred(x, sigma).numpy() == pytest.approx(wanted, abs=1e-12) and blurred(x, 0) is x


def test_changed():
    x = tiles(3)
    assert (changed(x) == x).all() and changed(x, 1.5).dtype == torch.uint8
    wanted = np.rint(255 * np.clip(1.5 * x.numpy() / 255 - 0.1, 0, 1))
    assert np.abs(changed(x, 1.5, -0.1).numpy().astype(int) - wanted).max() <= 1
    y = torch.rand(1, 1, 5, 5, dtype=torch.float64)
    assert changed(y, 2.0, 0.3).numpy() == pytest.approx((2 * y + 0.3).clamp(0, 1).numpy(), abs=1e-6)
    assert changed(y).dtype == torch.float64


def test_planes_against_pca():
    from sklearn.decomposition import PCA

    x = np.random.default_rng(0).gamma(1.0, size=(50, 6)) * np.arange(1, 7)
    plane, known = plane_of(x), PCA(2).fit(x)
    assert plane.share == pytest.approx(known.explained_variance_ratio_)
    assert np.abs(plane.of(x)) == pytest.approx(np.abs(known.transform(x)), abs=1e-5)
    assert ((plane.of(x) ** 3).sum(0) > 0).all()
    pairs = ((x[:, None] - x) ** 2).sum(-1)[~np.eye(50, dtype=bool)]
    assert plane.spread == pytest.approx(math.sqrt(pairs.mean()))


@pytest.mark.parametrize("x", [np.ones((5, 3)), np.ones((1, 4)), np.arange(6.0)[:, None], np.zeros((3, 1))])
def test_planes_of_little(x):
    plane = plane_of(x)
    assert np.isfinite(plane.of(x)).all() and plane.of(x).shape == (len(x), 2) and np.isfinite(plane.share).all()


def test_most_changed_channels():
    own = np.array([1.0, 1, 1, 1, 1, 10, 10, 10, 10, 10])
    style = own.copy()
    style[3], style[6] = 3, 15
    assert most_changed(own, style).tolist()[:2] == [3, 1] and len(most_changed(own, style, 4)) == 4
    assert len(most_changed(np.zeros(6), np.zeros(6))) == 3


def test_a_changed_tile():
    view = space()
    assert view.at_change == [2, 2, 0] and view.values([3, 1, 2]) == {"gain": 1.3, "bias": -0.1, "blur": 2.0}
    at = [3, 1, 2]
    numbers, style = view.moved(5, [view.neutral(), at])
    wanted = described(changed(tiles()[5:6], 1.3, -0.1, 2.0))
    assert style[1] == pytest.approx(wanted["style"][0].numpy(), rel=1e-5)
    for place, name in enumerate(("style", "pooled")):
        every, one = described(tiles())[name].numpy(), wanted[name][0].numpy()
        pairs = ((every[:, None] - every) ** 2).sum(-1)[~np.eye(12, dtype=bool)]
        assert numbers[0, 3 * place + 2] == 0
        far = np.linalg.norm(one - every[5]) / math.sqrt(pairs.mean())
        assert numbers[1, 3 * place + 2] == pytest.approx(far, rel=1e-4)
        assert numbers[0, 3 * place : 3 * place + 2] == pytest.approx(view.planes[name].of(every[5]), abs=1e-6)
    reply = view.answer({"ask": "change", "tile": 5, "at": at})
    assert unpacked(reply["numbers"]) == pytest.approx(numbers[1])
    assert unpacked(reply["style"]) == pytest.approx(style[1])


def test_what_a_page_carries():
    view = space(most=4)
    view.tile = 7
    atlas = view.atlas()
    assert atlas["tiles"] == [7, 0, 1, 2] and atlas["sizes"] == [5, 5, 4]
    numbers, styles = unpacked(atlas["numbers"]), unpacked(atlas["styles"])
    assert numbers.shape == (4, 100, 6) and styles.shape == (4, 100, 6)
    at = [4, 0, 3]
    place = (at[0] * 5 + at[1]) * 4 + at[2]
    assert numbers[2, place] == pytest.approx(view.moved(1, [at])[0][0], abs=1e-5)
    state = view.part()["state"]
    assert state["tile"] == 7 and state["at_change"] == [2, 2, 0] and EVIL not in space(labels=[EVIL] * 12).page()


def test_what_travels():
    view = space(groups=["s"] * 6 + [EVIL] * 6)
    style = view.frame["spaces"][0]
    wanted = view.planes["style"].of(described(tiles())["style"].numpy())
    assert unpacked(style["points"]) == pytest.approx(wanted, abs=1e-6)
    assert style["size"] == 6 and view.frame["spaces"][1]["size"] == 3 and view.frame["note"] == "12 tiles"
    assert [column["names"] for column in view.options["columns"]] == [["group 0", "group 1", "group 2"], ["s", EVIL]]
    assert (unpacked(view.options["images"]) == tiles().numpy()).all()


def test_arrays_cannot_be_changed():
    view = StyleSpace(tiles(), {name: x.numpy() for name, x in described(tiles()).items()})
    assert not view.options["can"] and view.atlas() == {} and view.page()
    view.static().savefig("/dev/null", format="png")
    with pytest.raises(ValueError, match="needs a function"): view.moved(0, [view.neutral()])


def test_a_history():
    history = History()
    view = StyleSpace(tiles(), history, labels=np.arange(12) % 2)
    assert "waiting for 'style' and 'pooled'" in view.frame["note"] and view.page()
    view.static().savefig("/dev/null", format="png")
    history.record(3, style=np.zeros((12, 4), np.float32))
    assert view.recorded() == ()
    for step in (5, 9):
        history.record(step, **{name: x.numpy() * step for name, x in described(tiles(seed=step)).items()})
    view.follow()
    assert view.recorded() == [5, 9] and view.frame["step"] == 9
    wanted = plane_of(described(tiles(seed=5))["style"].numpy() * 5)
    assert unpacked(view.picture(0)["spaces"][0]["points"]) == pytest.approx(
        wanted.of(described(tiles(seed=5))["style"].numpy() * 5), abs=1e-4)
    view.static(0).savefig("/dev/null", format="png")


def test_asking_again_after_training():
    weight = [1.0]
    view = StyleSpace(tiles(), lambda x: {name: weight[0] * v for name, v in described(x).items()})
    before = unpacked(view.frame["spaces"][0]["points"]).copy()
    weight[0] = 3.0
    view.update()
    assert unpacked(view.frame["spaces"][0]["points"]) == pytest.approx(3 * before, abs=1e-5)


def test_a_set_of_tiles_and_stills():
    view = StyleSpace(make_tiles(8, size=32), described, changes={"gain": (0.5, 1), "blur": (0, 3)})
    assert view.columns[0]["names"] == ["city 0", "city 1"] and view.changes == {"gain": [0.5, 1], "blur": [0, 3]}
    view.at_change = [0, 1]
    figure = view.static()
    assert isinstance(figure, Picture) and len(figure.axes) == 3 and "gain 0.5, blur 3" in figure.get_suptitle()
    figure.savefig("/dev/null", format="png")
    assert Board([[view, space(labels=["$a"] * 12)]]).static() and len(CHANGES["gain"]) == 5


@pytest.mark.parametrize(("make", "message"), [
    (lambda: StyleSpace(tiles(), np.zeros((12, 4))), "style gives .* got ndarray"),
    (lambda: StyleSpace(tiles(), {"style": np.zeros((12, 4))}), r"got \['style'\]"),
    (lambda: StyleSpace(tiles(), {"style": np.zeros((11, 4)), "pooled": np.zeros((12, 4))}), "each of 12 tiles.*11, 4"),
    (lambda: StyleSpace(tiles(), {"style": np.zeros((12, 3)), "pooled": np.zeros((12, 4))}), "even number"),
    (lambda: StyleSpace(tiles(), {"style": np.full((12, 4), np.nan), "pooled": np.zeros((12, 4))}), "not finite"),
    (lambda: space(changes={"hue": (0, 1)}), r"changes are values of gain \(with 1\).*hue"),
    (lambda: space(changes={"gain": (0.5, 2)}), "must be there"), (lambda: space(changes={}), "changes are values of"),
    (lambda: space(labels=[1]), "for each of 12 images"),
    (lambda: StyleSpace(np.zeros((4, 4)), described), "needs images"),
    (lambda: space().moved(12, [[2, 2, 0]]), "no tile 12; there are 12"),
    (lambda: space().values([9, 0, 0]), r"a place on each slider \(gain, bias, blur\); got \[9, 0, 0\]"),
    (lambda: space().answer({"ask": "what"}), "cannot answer"),
])
def test_faults_are_named(make, message):
    with pytest.raises((ValueError, TypeError), match=message): make()


def test_vectors_of_tensors_and_halves():
    found = vectors_of({name: x.half().requires_grad_() for name, x in described(tiles()).items()}, 12)
    assert found["style"].dtype == np.float32 and found["pooled"].shape == (12, 3)
