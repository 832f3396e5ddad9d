"""ImageGrid, LogitMatrix and what the pictures share, without a browser."""

import json

import numpy as np
import pytest
import torch

from clnb.losses import nt_xent
from clnb.run import History
from clnb.views.pictures import (
    ImageGrid,
    LogitMatrix,
    class_colours,
    column,
    image_atlas,
    pixels,
    quantised,
    row_softmax,
    similarities,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def array(packed):
    return np.frombuffer(packed["bytes"], packed["dtype"]).reshape(packed["shape"])


@pytest.mark.parametrize("images, shape", [
    (np.zeros((4, 8, 8)), (4, 1, 8, 8)), (np.zeros((4, 3, 8, 8)), (4, 3, 8, 8)), (np.zeros((4, 8, 8, 3)), (4, 3, 8, 8)),
    (np.zeros((4, 13, 8, 8)), (4, 3, 8, 8)), (torch.zeros(4, 4, 8, 8), (4, 3, 8, 8)),
    (np.zeros((2, 3, 512, 256)), (2, 3, 128, 64)),
    (torch.zeros(4, 1, 8, 8, dtype=torch.bfloat16), (4, 1, 8, 8)), (np.zeros((4, 8, 8), bool), (4, 1, 8, 8))])
def test_images_of_any_kind(images, shape):
    assert pixels(images).shape == shape and pixels(images).dtype == np.uint8


def test_pixel_values_survive():
    x = rng().integers(0, 256, (5, 3, 6, 7), dtype=np.uint8)
    assert np.array_equal(pixels(x, [3, 1]), x[[3, 1]])
    assert np.array_equal(pixels(x / 255), x) and np.array_equal(pixels(torch.as_tensor(x)), x)
    with pytest.raises(ValueError, match="images have the shape"): pixels(np.zeros((3, 3)))


def test_quantised_points_come_back():
    x = rng().normal(size=(1000, 2)) * [100, 0.01]
    frame = quantised(x)
    low, span = np.array(frame["box"][:2]), np.array(frame["box"][2:])
    assert np.abs(array(frame["points"]) / 65534 * span + low - x).max() < 100 * 8 / 65534
    assert len(frame["points"]["bytes"]) == 4000


def test_columns():
    assert column("x", rng().normal(size=9))["kind"] == "number"
    assert column("x", torch.arange(9))["kind"] == "category"
    assert column("x", np.arange(1000))["kind"] == "number"
    assert column("x", [True, False])["names"] == ["False", "True"]
    assert column("x", [f"file {i}" for i in range(300)])["kind"] == "text"
    made = column("label", [0, 5, -1], ["a"])
    assert made["names"] == ["a", "1", "2", "3", "4", "5"] and array(made["values"]).tolist() == [0, 5, -1]
    assert len(set(class_colours(300))) == 300
    with pytest.raises(ValueError, match="one value per row"): column("x", np.zeros((3, 2)))


def test_large_atlases_travel_as_sheets():
    x = np.zeros((5000, 3, 32, 32), np.uint8)
    x[4321] = 200
    atlas = image_atlas(x, len(x))
    assert len(atlas["sheets"]) == 2 and sum(map(len, atlas["sheets"])) < 1_000_000
    assert "images" in image_atlas(x[:100], 100)


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="one shape"): LogitMatrix((np.zeros((3, 2)), np.zeros((4, 2))))
    with pytest.raises(ValueError, match="must be positive"): LogitMatrix(np.zeros((2, 3, 4)), temperature=0)


@pytest.mark.parametrize("temperature", [0.05, 0.5, 3.0])
def test_softmax_gives_the_loss_and_its_gradient(temperature):
    za, zb = (torch.nn.functional.normalize(torch.randn(7, 5, dtype=torch.float64), dim=1) for _ in range(2))
    p, partner = row_softmax(similarities((za, zb)), temperature), np.roll(np.arange(14), 7)
    assert -np.log(p[np.arange(14), partner]).mean() == pytest.approx(nt_xent(za, zb, temperature).item(), abs=1e-9)
    z = torch.cat([za, zb])                                   # dL_0/ds_0j by automatic differentiation
    s = (z @ z.T).requires_grad_()
    logits = (s / temperature).masked_fill(torch.eye(14, dtype=bool), -torch.inf)
    torch.nn.functional.cross_entropy(logits[:1], torch.tensor([7])).backward()
    weight = np.where(np.arange(14) == 7, -(1 - p[0]), p[0]) / temperature
    assert np.allclose(s.grad[0].numpy(), weight, atol=1e-9)


def test_pairs_from_a_history_and_of_both_views():
    history, images = History(), rng().integers(0, 256, (2, 5, 1, 4, 4), dtype=np.uint8)
    history.record(3, pairs=rng().normal(size=(2, 5, 8)))
    view = LogitMatrix(history, images, labels=np.arange(5))
    assert view.frame["similarities"]["shape"] == [10, 10] and view.frame["step"] == 3
    assert np.array_equal(array(view.answer({"ask": "images", "rows": [1, 6]})["images"]), images[[0, 1], [1, 1]])


def test_two_views_are_drawn_again():
    class Shift:
        def with_params(self, x, generator):
            self.by = torch.randint(0, 5, (len(x),), generator=generator)
            return torch.stack([row.roll(int(k), -1) for row, k in zip(x, self.by, strict=True)]), self
        def describe(self, i): return f"by {self.by[i]}"

    view = ImageGrid.two_views(torch.rand(6, 1, 8, 8), Shift(), count=4)
    names = [c["name"] for c in view.frame["columns"]]
    assert names == ["image", "view a", "view b"] and len(view.frame["columns"][1]["captions"]) == 4
    before = view.frame["columns"][1]["captions"]
    view.answer({"ask": "draw"})
    assert view.frame["number"] == 2 and view.frame["columns"][1]["captions"] != before


def test_image_series():
    history = History()
    view = ImageGrid(history, name="synthetic")
    assert "waiting" in view.frame["note"]
    for step in (0, 5): history.record(step, synthetic=rng(step).random((10, 3, 6, 6)))
    view.refresh()
    assert view.steps == [0, 5] and view.frame["columns"][0]["images"]["shape"] == [10, 3, 6, 6]


@pytest.mark.parametrize("make", [
    lambda names: ImageGrid(rng().random((3, 4, 4)), [0, 1, 1], names),
    lambda names: LogitMatrix(rng().normal(size=(2, 3, 5)), rng().random((3, 4, 4)), [0, 1, 1], names)])
def test_names_stay_text_and_everything_has_a_picture(make, tmp_path):
    view = make(["<img src=x onerror=alert(1)>", "</script>$x"])
    page = view.page()
    assert "<img" not in page and page.count("</script>") == 1
    assert "<img src=x" not in view.to_html() and view.save(tmp_path / "view.html").read_text("utf-8") == page
    assert "http" not in page.replace("http-equiv", "")
    assert view.static()._repr_png_()[:4] == b"\x89PNG"
    state = json.loads(page.split("new PageModel(")[1].split(");\nview.render")[0])
    assert len(state["frames"]) == 1


