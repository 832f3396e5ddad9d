"""Embedding, ImageGrid, LogitMatrix and the view base, without a browser."""

import json
import time

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from clnb.losses import nt_xent
from clnb.run import History
from clnb.views.base import Selection
from clnb.views.pictures import (
    Embedding,
    ImageGrid,
    LogitMatrix,
    aligned,
    class_colours,
    column,
    image_atlas,
    layout,
    nearest,
    neighbours_kept,
    pixels,
    quantised,
    row_softmax,
    similarities,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def array(packed):
    return np.frombuffer(packed["bytes"], packed["dtype"]).reshape(packed["shape"])


@pytest.mark.parametrize("d", [3, 20, 300, 700])
def test_the_plane_is_the_principal_plane(d):
    x = rng(1).normal(size=(400, d)) * np.r_[9, 6, np.full(d - 2, 0.7)] + 3
    made = layout(x)
    pca = PCA(2, svd_solver="full").fit(x)
    assert made["share"] == pytest.approx(pca.explained_variance_ratio_.sum(), abs=2e-3)
    # the same points up to rotation and one scale
    expected = pca.transform(x)
    turned, drift = aligned(made["points"] * made["length"], expected)
    assert drift < 0.02 * np.linalg.norm(expected, axis=1).mean() and turned.shape == (400, 2)


def test_two_columns_stay_as_they_are():
    x = rng().normal(size=(50, 2)).astype(np.float32)
    assert np.array_equal(layout(x)["points"], x)


def test_alignment_undoes_rotation_and_reflection():
    x = rng().normal(size=(100, 2))
    for turn in (np.array([[0, -1], [1, 0]]), np.array([[1, 0], [0, -1]]), np.linalg.qr(rng(3).normal(size=(2, 2)))[0]):
        assert aligned(x @ turn, x)[1] < 1e-9


def test_neighbours_against_scikit_learn():
    x = rng().normal(size=(500, 24))
    rows, distances = nearest(x, range(500), 7)
    d, i = NearestNeighbors(n_neighbors=8).fit(x).kneighbors(x)
    assert np.array_equal(rows, i[:, 1:]) and np.allclose(distances, d[:, 1:], atol=1e-4)


def test_neighbours_of_few_or_missing_points():
    assert nearest(np.zeros((1, 4)), [0])[0].shape == (1, 0)
    x = np.array([[0.0, 0], [np.nan, 0], [1, 0], [3, 0]])
    rows, distances = nearest(x, [0], 2)
    assert rows.tolist() == [[2, 3]] and distances.tolist() == [[1, 3]]
    assert neighbours_kept(x, x[:, :2], k=1) == 1


def test_periodic_labels_do_not_fool_the_sample():
    labels = np.arange(20_000) % 5     # every fifth row is of the same class
    x = rng().normal(size=(20_000, 8)) + 10 * np.eye(5, 8)[labels]
    assert layout(x)["share"] == pytest.approx(PCA(2).fit(x).explained_variance_ratio_.sum(), abs=0.02)


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


def test_a_view_follows_a_history():
    history = History()
    view = Embedding(history, labels=np.zeros(30, int))
    assert "waiting" in view.frame["note"]
    x = rng().normal(size=(30, 6))
    history.record(0, embedding=x)
    history.record(10, embedding=x[:, ::-1])
    view.refresh()
    assert view.steps == [0, 10] and view.frame["step"] == 10
    newest = view.frame["points"]["bytes"]
    view.at = 0
    view.refresh()
    assert view.frame["step"] == 0 and "step 0" in view.frame["note"]
    view.at = -1
    view.refresh()
    assert view.frame["points"]["bytes"] == newest      # rewinding and coming back shows the same picture


def test_an_earlier_frame_is_not_sent_again():
    history = History()
    for step in range(3): history.record(step, embedding=rng(step).normal(size=(9, 4)))
    view = Embedding(history)
    view.at = 1
    view.follow()
    number = view.frame["number"]
    history.record(3, embedding=rng(3).normal(size=(9, 4)))
    view.follow()
    assert view.frame["number"] == number and view.steps == [0, 1, 2, 3]


def test_frames_are_built_only_for_a_page_that_draws():
    history = History()
    view = Embedding(history)
    view.painter.fastest = 0.005
    for step in range(50): history.record(step, embedding=rng(step).normal(size=(9, 4)))
    assert view.frame["number"] == 1                     # no page has spoken: nothing is built
    view.drawn = 1                                       # a page draws the first frame, and then no other
    time.sleep(0.3)
    assert view.frame["number"] == 2 and view.frame["step"] == 49
    view.close()


def test_answers():
    x, images = rng().normal(size=(40, 6)), rng().integers(0, 256, (40, 1, 5, 5), dtype=np.uint8)
    view = Embedding(x, images)
    assert np.array_equal(array(view.answer({"ask": "images", "rows": [7, 3]})["images"]), images[[7, 3]])
    reply = view.answer({"ask": "neighbours", "row": 4})
    assert array(reply["rows"]).tolist() == nearest(x, [4])[0][0].tolist()
    with pytest.raises(ValueError, match="cannot answer"): view.answer({"ask": "everything"})


def test_linked_views_share_a_selection():
    shared = Selection()
    one, two = (Embedding(rng().normal(size=(9, 3))).link(shared) for _ in range(2))
    one.selected = np.array([5, 2], "<u4").tobytes()
    assert shared.index.tolist() == [2, 5] == np.frombuffer(two.selected, "<u4").tolist()


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"\[n, d\]"): Embedding(np.zeros(5))
    with pytest.raises(ValueError, match=r"\[n, d\]"): Embedding([["a", "b"]])
    assert "5 rows, but there are 9 points" in Embedding(np.zeros((9, 3)), labels=np.zeros(5, int)).frame["error"]
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
    lambda names: Embedding(rng().normal(size=(3, 5)), rng().random((3, 4, 4)), [0, 1, -1], names),
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


def test_a_page_of_many_points_stays_small():
    history = History()
    for step in range(40): history.record(step, embedding=rng(step).normal(size=(20_000, 4)).astype(np.float32))
    view = Embedding(history, labels=np.arange(20_000) % 10)
    assert len(view.page(frames=40)) < 8_000_000
