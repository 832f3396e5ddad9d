"""explore: whatever is given becomes the same features, images, labels and columns; the views share a selection."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from clnb.data import ImageSet
from clnb.nets import small_convnet
from clnb.recorder import features_of
from clnb.run import History
from clnb.views.explore import Derived, Explorer, explore, find, predicted_by_neighbours


def cloud(n=60, d=6, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.integers(0, 256, (n, 1, 8, 8), dtype=np.uint8)
    return (rng.normal(size=(n, d)) + 4 * np.eye(3, d)[labels]).astype(np.float32), images, labels


def imageset(n=60):
    _, images, labels = cloud(n)
    return ImageSet(torch.from_numpy(images), torch.from_numpy(labels), ("a", "b", "c"))


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for k, name in enumerate(["cat", "<img src=x>"]):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(5):
            picture = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
            picture.save(tmp_path / "pictures" / name / f"{k}{i}.png")
    return tmp_path / "pictures"


# ------------------------------------------------------------------------------------------------------ what was given

def test_arrays_of_every_kind():
    x, images, labels = cloud()
    for given in (x, torch.from_numpy(x), torch.from_numpy(x).bfloat16().requires_grad_(), x.astype(np.float64)):
        found = find(given, images, labels)
        assert found.features.dtype == np.float32 and np.allclose(found.features, x, atol=0.05)
        assert found.images is images
    with pytest.raises(ValueError, match=r"numbers \[n, d\].*\[60\]"): find(labels)
    with pytest.raises(ValueError, match="numbers"): find(np.array([["a", "b"]]))


def test_a_model_gives_the_features_of_its_layer():
    data = imageset()
    net = nn.Sequential(small_convnet(1, 4, seed=0), nn.ReLU(), nn.Linear(16, 5)).train()
    found = find(net, data)
    assert np.allclose(found.features, features_of(net, data), atol=1e-6) and found.what == "Sequential: input of 2"
    assert found.classes == ("a", "b", "c") and found.images is data.images and net.training
    assert find(net, data.images, layer="0.features.0").features.shape == (60, 4) and find(data, net).what == found.what
    for source in (TensorDataset(data.images.float() / 255, data.labels),
                   DataLoader(TensorDataset(data.images.float() / 255, data.labels), 7)):
        other = find(net, source)
        assert np.allclose(other.features, found.features, atol=1e-5) and list(other.labels) == data.labels.tolist()
    with pytest.raises(ValueError, match="also needs images"): find(net)


def test_a_data_set_with_normalised_images_is_shown_in_0_to_1_and_given_as_it_is():
    data = imageset()
    x = (data.images.float() / 255 - 0.5) / 0.1
    net = small_convnet(1, 4, seed=0)
    found = find(net, TensorDataset(x, data.labels))
    assert found.images.min() == 0 and found.images.max() == 1
    assert np.allclose(found.features, features_of(net, x), atol=1e-6)


def test_a_folder_of_pictures(folder):
    found = find(str(folder))
    assert found.features.shape == (10, 432) and found.classes == ("<img src=x>", "cat") and found.what == "pixels"
    net = small_convnet(3, 4, seed=0)
    assert find(folder, net).features.shape == (10, 16) and find(net, folder).features.shape == (10, 16)
    Image.new("RGB", (20, 9)).save(folder / "cat" / "other.png")
    with pytest.raises(ValueError, match="size"): find(folder)
    assert find(folder, net, size=16).images.shape == (11, 3, 16, 16)


def test_paths(tmp_path):
    x, _, labels = cloud()
    np.save(tmp_path / "x.npy", x)
    assert np.array_equal(find(tmp_path / "x.npy").features, x)
    history = History(tmp_path / "run" / "history")
    history.record(3, embedding=x)
    history.save(tmp_path / "h.npz")
    for path in (tmp_path / "run", tmp_path / "run" / "history", tmp_path / "h.npz"):
        assert np.array_equal(find(path, labels=labels).history["embedding"].frame(-1), x)
    with pytest.raises(FileNotFoundError): find(tmp_path / "nowhere")
    (tmp_path / "weights.pt").write_bytes(b"PK")
    with pytest.raises(ValueError, match="load_weights"): find(tmp_path / "weights.pt")


def test_tables():
    x, images, labels = cloud()
    names = np.array(["a", "b", "c"])[labels]
    table = pd.DataFrame({**{f"f{i}": x[:, i] for i in range(6)}, "kind": names, "site": ["here"] * 60})
    found = find(table, images, "kind")
    assert np.allclose(found.features, x) and list(found.labels) == list(names) and list(found.columns) == ["site"]
    with pytest.raises(ValueError, match=r"no column 'sort'; there are f0, .*kind"): find(table, labels="sort")
    with pytest.raises(ValueError, match="holds numbers"): find(table[["kind"]])


# ----------------------------------------------------------------------------------------------------------- neighbours

def test_votes_of_the_neighbours_against_sklearn():
    x, _, labels = cloud(90)
    x[:, 0] += 3                                            # no row is near the origin
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    got = predicted_by_neighbours(x, labels, k=1)
    order = np.argsort(-(unit @ unit.T - 2 * np.eye(90)), axis=1)
    assert np.array_equal(got, labels[order[:, 0]])
    bank = labels.copy()
    bank[::2] = -1
    known, unknown = np.flatnonzero(bank >= 0), np.flatnonzero(bank < 0)
    model = KNeighborsClassifier(1, metric="cosine").fit(x[known], bank[known])
    assert np.array_equal(predicted_by_neighbours(x, bank, k=1)[unknown], model.predict(x[unknown]))
    x[5] = np.nan
    assert predicted_by_neighbours(x, labels)[5] == -1 and (predicted_by_neighbours(x * 0, labels) == -1).all()
    assert (predicted_by_neighbours(x, np.full(90, -1)) == -1).all()
    assert (predicted_by_neighbours(x, labels, most=40) >= 0).sum() == 40


# ------------------------------------------------------------------------------------------------------------- explorer

def test_all_views_share_one_selection_and_name_themselves():
    data = imageset()
    explorer = explore(small_convnet(1, 4, seed=0), data, columns={"mean": data.images.float().mean((1, 2, 3))})
    views = [explorer.embedding, explorer.gallery, explorer.neighbours, explorer.spectrum, explorer.classes,
             explorer.confusion]
    assert isinstance(explorer, Explorer) and all(view in explorer.views for view in views)
    views[0].selected = np.array([4, 2], "<u4").tobytes()
    assert explorer.selection.index.tolist() == [2, 4] and all(view.selection is explorer.selection for view in views)
    explorer.selection.set([7])
    assert all(np.frombuffer(view.selected, "<u4").tolist() == [7] for view in views)
    assert explorer.features.shape == (60, 16) and "60 rows of Encoder" in repr(explorer)
    names = [column["name"] for column in explorer.embedding.columns]
    assert names == ["label", "predicted", "prediction is", "mean"]
    assert not any("error" in view.frame for view in views), [view.frame.get("error") for view in views]
    assert explorer.static() is not None


def test_what_is_not_there_has_no_view():
    x, images, labels = cloud()
    plain = explore(x)
    assert plain.gallery is None and plain.confusion is None and plain.classes is None and plain.rewind is None
    with_texts = explore(x, labels=np.array(["a", "<b>", "c"])[labels])
    assert with_texts.gallery is None and "<b>" in with_texts.confusion.names
    amounts = explore(x, images, labels=np.linspace(0, 1, 60))
    assert amounts.confusion is None and amounts.embedding.columns[0]["name"] == "label"
    given = explore(x, images, labels, predictions=np.eye(3)[labels])
    assert "accuracy 100.0%" in given.confusion.frame["note"]


def test_rows_that_do_not_fit_are_named():
    x, images, labels = cloud()
    with pytest.raises(ValueError, match="'images' has 59 rows, but there are 60"): explore(x, images[:59], labels)
    with pytest.raises(ValueError, match="'labels' has 61 rows"): explore(x, images, np.r_[labels, 0])
    with pytest.raises(ValueError, match="'age' has 3 rows"): explore(x, columns={"age": [1, 2, 3]})
    with pytest.raises(ValueError, match="nothing to explore"): explore(x[:0])


def test_a_history_is_followed_and_rewound():
    x, images, labels = cloud()
    history = History()
    history.record(0, embedding=np.random.default_rng(1).normal(size=x.shape))
    explorer = explore(history, images, labels)
    assert explorer.rewind is not None
    first = explorer.confusion.frame["note"]
    history.record(10, embedding=x)
    for view in explorer.views:
        view.follow()
        assert "error" not in view.frame, (view, view.frame["error"])
    assert explorer.confusion.frame["note"] != first and "accuracy 100.0%" in explorer.confusion.frame["note"]
    explorer.seek(0)
    assert explorer.confusion.frame["note"] == first and explorer.embedding.frame["step"] == 0
    assert np.array_equal(explorer.features, x)
    waiting = explore(History(), images, labels)             # nothing has been recorded yet
    assert not any("error" in view.frame for view in waiting.views), [view.frame for view in waiting.views]


def test_a_run_is_its_history():
    x, images, labels = cloud()

    class Run:
        history = History()

    Run.history.record(0, projection=x)
    assert explore(Run(), images, labels, layer="projection").embedding.series == "projection"


def test_derived_series_follow_their_source():
    history = History()
    derived = Derived(history, "sum", "x", lambda a: a.sum(0))
    assert "sum" not in derived.names() and "sum" not in derived
    news = []
    derived.subscribe(lambda: news.append(1))
    history.record(2, x=np.ones((3, 2)))
    assert news and derived["sum"].frame(-1).tolist() == [3, 3] and derived["sum"].steps.tolist() == [2]
    history.record(3, sum=np.zeros(1))
    assert derived["sum"].frame(-1).tolist() == [0] and derived.marks == []
