"""Data sets: faults are named, splits are honest, files come back as written, public sets load from real formats."""

import hashlib
import itertools
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clnb import data
from clnb.core import generator, rebuild, recipe
from clnb.data import (
    GraphSet,
    ImageSet,
    SegmentationSet,
    VectorSet,
    available,
    balanced_indices,
    batch_indices,
    batches,
    from_folder,
    from_npz,
    load,
    make_shapes,
    make_vectors,
    save_npz,
)

REAL = next(
    (
        Path(p)
        for p in [
            *os.environ.get("CLNB_DATA", "").split(os.pathsep),
            str(Path(__file__).parents[2] / "shared" / "data"),
        ]
        if p and Path(p).is_dir()
    ),
    None,
)
real = pytest.mark.skipif(REAL is None, reason="no folder of npz files: set CLNB_DATA to one")


def images(n=6, channels=1, size=4):
    return torch.randint(0, 256, (n, channels, size, size), dtype=torch.uint8, generator=generator(n))


def labelled(n=6, classes=2, **extra):
    return ImageSet(images(n), torch.arange(n) % classes, [f"c{k}" for k in range(classes)], **extra)


def vectors(n=6, classes=2, **extra):
    x = 100 * torch.randn(n, 3, generator=generator(n))
    return VectorSet(x, torch.arange(n) % classes, [f"c{k}" for k in range(classes)], **extra)


# ---- what a set refuses --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(6, 4, 4)}, r"images: found float32 \[6, 4, 4\].*\[:, None\]"),
        ({"images": torch.zeros(6, 8, 8, 3)}, r"permute\(0, 3, 1, 2\)"),
        ({"images": torch.zeros(6, 1, 4, 4, dtype=torch.int32)}, "images: found int32"),
        ({"images": torch.full((6, 1, 4, 4), 2.0)}, "values from 2 to 2; expected float values in 0…1"),
        ({"images": torch.tensor([0.0, 0, 0, float("nan"), 0, 0]).view(6, 1, 1, 1)}, "not finite, first in image 3"),
        ({"images": torch.zeros(0, 1, 4, 4)}, "at least one image"),
        ({"images": "nonsense"}, "images: found str"),
        ({"labels": [0, 1, 0]}, r"labels: found int64 \[3\]"),
        ({"labels": torch.zeros(6)}, r"labels: found float32 \[6\]; expected whole numbers"),
        ({"labels": [0, 1, 2, 0, 1, 0]}, "labels: found values from 0 to 2; expected 0 to 1"),
        ({"labels": [-2, 1, 1, 0, 1, 0]}, "labels: found values from -2 to 1"),
        ({"classes": ["a", "a"]}, "classes: found 'a' more than once"),
        ({"classes": "ab"}, "single string"),
        ({"classes": [1, 2]}, "classes: found 1"),
        ({"coarse_labels": [0] * 6}, "coarse_labels: found values from 0 to 0"),
        ({"coarse_labels": [0] * 5, "coarse_classes": ["x"]}, "coarse_labels: found int64"),
        ({"masks": torch.zeros(6, 3, 3, dtype=torch.uint8)}, r"masks: found uint8 \[6, 3, 3\].*\[6, 4, 4\]"),
        ({"masks": torch.zeros(6, 4, 4)}, "masks: found float32"),
        ({"groups": [1, 2, 3]}, "groups: found int64"),
    ],
)
def test_image_set_names_the_field(change, message):
    with pytest.raises(ValueError, match=message):
        ImageSet(**({"images": images(), "labels": [0, 1] * 3, "classes": ["a", "b"]} | change))


V = torch.zeros(6, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vectors": torch.zeros(6)}, r"vectors: found float32 \[6\].*\[:, None\]"),
        ({"vectors": torch.zeros(6, 2, 2)}, r"vectors.flatten\(1\)"),
        ({"vectors": torch.zeros(6, 1, 2, 2)}, "an ImageSet if these are pictures"),
        ({"vectors": torch.zeros(())}, r"vectors: found float32 \[\]"),
        ({"vectors": torch.zeros(0, 3), "labels": []}, "at least one vector"),
        ({"vectors": torch.zeros(6, 0)}, "numbers in it"),
        ({"vectors": V.long()}, r"vectors: found int64 \[6, 3\].*vectors.float\(\)"),
        ({"vectors": V.byte()}, r"vectors.float\(\)"),
        ({"vectors": V.bool()}, r"vectors.float\(\)"),
        ({"vectors": V.to(torch.complex64)}, "found complex64"),
        ({"vectors": "nonsense"}, "vectors: found str"),
        ({"vectors": V.index_fill(0, torch.tensor([4]), float("nan"))}, "not finite as float32, first in vector 4"),
        ({"vectors": V.index_fill(0, torch.tensor([2]), float("-inf"))}, "first in vector 2"),
        ({"vectors": V.double().index_fill(0, torch.tensor([5]), 1e300)}, "first in vector 5"),
        ({"labels": [0, 1, 0]}, r"labels: found int64 \[3\]; expected one whole number for each of the 6 vectors"),
        ({"labels": [0, 1, 2, 0, 1, 0]}, "labels: found values from 0 to 2; expected 0 to 1"),
        ({"labels": torch.zeros(6)}, "labels: found float32"),
        ({"classes": ["a", "a"]}, "classes: found 'a' more than once"),
        ({"coarse_labels": [0] * 6}, "coarse_labels: found values from 0 to 0"),
        ({"groups": [0] * 5}, "groups: found int64 .5.; expected one whole number for each of the 6 vectors"),
    ],
)
def test_vector_set_names_the_field(change, message):
    good = {"vectors": V, "labels": [0, 1] * 3, "classes": ["a", "b"]}
    with pytest.raises(ValueError, match=message):
        VectorSet(**(good | change))


def test_segmentation_set_faults():
    x = images()
    m = torch.zeros(6, 4, 4, dtype=torch.int32)
    with pytest.raises(ValueError, match="masks: found values from 0 to 7"):
        SegmentationSet(x, m.index_fill(0, torch.tensor([2]), 7), ["a", "b"])
    with pytest.raises(ValueError, match="masks: found values from -1"):
        SegmentationSet(x, m - 1, ["a", "b"])
    assert len(SegmentationSet(x, torch.full_like(m, 255), ["a"])) == 6
    with pytest.raises(ValueError, match="spacing"):
        SegmentationSet(x, m, ["a"], spacing=[0.0, 1.0])
    with pytest.raises(ValueError, match="domain: found values from 0 to 1"):
        SegmentationSet(x, m, ["a"], domain=[0, 1] * 3, domains=["only"])
    s = SegmentationSet(x, m, ["a"], patient=list("aabbcc"), domain=[0, 0, 1, 1, 2, 2])
    batch = s[torch.tensor([5, 0])]
    assert batch.domain.tolist() == [2, 0] and batch.labels.tolist() == [-1, -1] and batch.masks.shape == (2, 4, 4)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([[0, 1], [1, 2]], "one direction only"),
        ([[0, 0], [0, 1]], "loops"),
        ([[0, 3], [3, 0]], "0 to 2"),
        ([[0, 1, 0, 1], [1, 0, 1, 0]], "same edge twice"),
        ([0, 1], r"int64 \[2, E\]"),
    ],
)
def test_graph_faults(edges, message):
    with pytest.raises(ValueError, match=message):
        GraphSet(torch.eye(3), edges, [0, 0, 0], ["a"], {})


def test_graph_without_pyg_says_how_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_geometric", None)
    monkeypatch.setitem(sys.modules, "torch_geometric.data", None)
    with pytest.raises(ImportError, match="pip install torch_geometric"):
        GraphSet(torch.eye(2), [[0, 1], [1, 0]], [0, 0], ["a"], {}).to_pyg()


# ---- rows, splits, batches -----------------------------------------------------------------------------------------


def test_rows():
    s = labelled(6, masks=torch.zeros(6, 4, 4, dtype=torch.bool))
    for index in (torch.tensor([4, 1]), [4, 1], np.array([4, 1])):
        b = s[index]
        assert b.images.equal(s.images[[4, 1]]) and b.labels.tolist() == [0, 1] and b.index.tolist() == [4, 1]
        assert b.labels.dtype == b.index.dtype == torch.int64 and b.masks.shape == (2, 4, 4)
    assert s[1:3].index.tolist() == [1, 2] and s[-1].index.tolist() == [5] and len(list(s)) == 6
    assert s[s.labels == 1].index.tolist() == [1, 3, 5]
    with pytest.raises(IndexError):
        s[6]
    with pytest.raises(IndexError, match="6 images"):
        s.subset([6])
    with pytest.raises(ValueError, match="at least one row"):
        s.subset([])
    assert s.subset(s.labels == 1).classes == s.classes


def test_vector_rows():
    s = vectors(coarse_labels=[0, 0, 0, 1, 1, 1], coarse_classes=["x", "y"], groups=list("aabbcc"), name="toy")
    b = s[[4, 0]]
    assert b.images.equal(s.vectors[[4, 0]]) and b.labels.tolist() == [0, 0] and b.index.tolist() == [4, 0]
    assert b.coarse_labels.tolist() == [1, 0] and b.masks is None and b.generator is None and len(b) == 2
    assert s.images is s.vectors and len(s) == 6 and s.shape == (3,) and s.device.type == "cpu"
    assert s[1:3].index.tolist() == [1, 2] and s[-1].index.tolist() == [5]
    assert s[s.labels == 1].index.tolist() == [1, 3, 5]
    assert s.counts().tolist() == [3, 3] and s.subset([5]).groups.tolist() == [2]
    assert repr(s) == "VectorSet(toy: 6 vectors of 3 numbers, 2 classes, 2 coarse classes, groups, batches on cpu)"
    with pytest.raises(IndexError, match="6 vectors"):
        s[6]
    with pytest.raises(ValueError, match="has only 3 vectors"):
        s.few(4)
    with pytest.raises(ValueError, match="from 6 vectors"):
        list(batches(s, 7))
    sizes = [len(batch) for batch in batches(s, 4, generator(0), drop_last=False)]
    assert sizes == [4, 2]


def test_vectors_are_held_as_float32():
    whole = np.arange(18.0).reshape(6, 3)
    given = (whole, whole.astype(np.float16), whole.tolist(), torch.tensor(whole))
    sets = [VectorSet(x, [0] * 6, ["a"]) for x in given]
    assert all(s.vectors.dtype == torch.float32 and s.fingerprint() == sets[0].fingerprint() for s in sets)
    trained = (torch.tensor(whole).float() * torch.ones(3, requires_grad=True))
    assert VectorSet(trained, [0] * 6, ["a"]).fingerprint() == sets[0].fingerprint()
    frame = pytest.importorskip("pandas").DataFrame(whole)
    assert VectorSet(frame, [0] * 6, ["a"]).fingerprint() == sets[0].fingerprint()
    assert VectorSet(-1e30 * whole, [0] * 6, ["a"]).vectors.min() < -1e31


def test_a_run_trains_on_vectors_and_is_resumed(tmp_path):
    from clnb.augment import VectorNoise
    from clnb.methods.simclr import SimCLR
    from clnb.nets import mlp, projection_head
    from clnb.run import Run, watch

    noise = VectorNoise([0.3] * 48 + [2.0] * 16)
    method = SimCLR(mlp([64, 32], seed=0), projection_head(32, out_dim=16, seed=0), noise)
    train, probe = load("vectors").split(0.9, 0.1)
    run = watch(Run(method, train, steps=20, batch_size=128, folder=tmp_path), probe, every=10)
    for _ in zip(range(10), run, strict=False): pass
    run.save()
    again = Run.load(tmp_path)
    assert again.data.fingerprint() == train.fingerprint()
    for either in (run, again):
        for _ in either: pass
    assert run.history["embedding"].frame(-1).shape == (400, 32)
    assert run.history["loss"].values[-1] == again.history["loss"].values[-1] < run.history["loss"].values[0]


def test_vector_splits_keep_groups_and_classes():
    s = make_vectors(400, classes=4)
    a, b = s.split(0.75, 0.25, seed=1)
    assert a.counts().tolist() == [75] * 4 and b.counts().tolist() == [25] * 4
    grouped = VectorSet(s.vectors, s.labels, s.classes, groups=torch.arange(400) // 8)
    a, b = grouped.split(0.5, 0.5)
    assert not set(a.groups.tolist()) & set(b.groups.tolist()) and len(a) + len(b) == 400 and abs(len(a) - 200) <= 8


def test_vector_fingerprint():
    s = vectors()
    different = {s.fingerprint(), vectors(name="other", groups=[0] * 6).fingerprint(), vectors(classes=3).fingerprint(),
                 VectorSet(s.vectors + 1e-3, s.labels, s.classes).fingerprint()}
    assert len(different) == 4 and vectors(name="other").fingerprint() == s.fingerprint()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=20, max_size=200), st.integers(0, 99))
def test_stratified_split(labels, seed):
    n = len(labels)
    s = ImageSet(torch.arange(n).view(n, 1, 1, 1).to(torch.uint8), labels, list("abcde"))
    parts = s.split(0.6, 0.25, 0.15, seed=seed)
    rows = [p.images.flatten().tolist() for p in parts]
    assert sorted(itertools.chain(*rows)) == list(range(n))
    assert len(parts[0]) == round(0.6 * n)
    for part, share in zip(parts, (0.6, 0.25, 0.15), strict=True):
        assert ((part.counts() - share * s.counts()).abs() <= 2).all()
    assert rows == [p.images.flatten().tolist() for p in s.split(0.6, 0.25, 0.15, seed=seed)]


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 40), st.integers(0, 99))
def test_groups_stay_whole(count, seed):
    g = generator(seed)
    groups = torch.cat([torch.arange(count), torch.randint(0, count, (200,), generator=g)])
    s = ImageSet(
        torch.zeros(len(groups), 1, 2, 2),
        torch.randint(0, 3, (len(groups),), generator=g),
        list("abc"),
        groups=groups,
    )
    a, b = s.split(0.6, 0.4, seed=seed)
    assert not set(a.groups.tolist()) & set(b.groups.tolist()) and len(a) + len(b) == len(s)
    largest = groups.bincount().max().item()
    assert abs(len(a) - 0.6 * len(s)) <= 1.5 * largest


def test_grouped_split_balances_classes():
    groups = torch.arange(300) // 5
    labels = (groups >= 48).long()  # a fifth of the groups is of the rare class
    a, b = ImageSet(torch.zeros(300, 1, 2, 2), labels, ["often", "rare"], groups=groups).split(0.75, 0.25)
    assert a.counts().tolist() == [180, 45] and b.counts().tolist() == [60, 15]


def test_split_faults():
    s = labelled(6, groups=[0] * 6)
    with pytest.raises(ValueError, match="in 1 groups cannot fill 2 parts"):
        s.split(0.5, 0.5)
    for wrong in ((0.8, 0.3), (0.0, 1.0), (-1,), ()):
        with (
            pytest.raises(ValueError, match="sum to at most 1") if wrong else pytest.raises(ValueError, match="split")
        ):
            data.part_of(s, list(wrong), 0)


def test_few():
    s = load("digits")
    assert s.few(5, seed=1).counts().tolist() == [5] * 10
    assert s.few(5, seed=1).fingerprint() == s.few(5, seed=1).fingerprint() != s.few(5, seed=2).fingerprint()
    with pytest.raises(ValueError, match="has only"):
        s.few(1000)
    with pytest.raises(ValueError, match="at least one"):
        s.few(0)
    unknown = ImageSet(images(6), [0, 0, 1, 1, -1, -1], ["a", "b"])
    assert unknown.few(1).labels.tolist() == [0, 1]


def test_batches():
    s = labelled(10)
    one, two = ([b.index.tolist() for b in batches(s, 4, generator(k))] for k in (3, 3))
    assert one == two and [len(b) for b in one] == [4, 4] and len({*itertools.chain(*one)}) == 8
    assert [len(b) for b in batches(s, 4, generator(0), drop_last=False)] == [4, 4, 2]
    assert torch.cat([b.index for b in batches(s, 4, None, drop_last=False)]).equal(torch.arange(10))
    for size in (0, -1, 11):
        with pytest.raises(ValueError, match="10 images"):
            batch_indices(10, size, None)


def test_fingerprint():
    s = labelled(6)
    assert (
        s.fingerprint()
        == labelled(6).fingerprint()
        == ImageSet(s.images.clone(), s.labels, s.classes, name="x").fingerprint()
    )
    strided = s.images.repeat(1, 1, 1, 2)[..., ::2]
    changed = s.images.clone()
    changed[5, 0, 3, 3] ^= 1
    assert ImageSet(changed, s.labels, s.classes).fingerprint() != s.fingerprint()
    assert ImageSet(s.images, 1 - s.labels, s.classes).fingerprint() != s.fingerprint()
    assert ImageSet(s.images, s.labels, ["c0", "other"]).fingerprint() != s.fingerprint()
    assert ImageSet(s.images, s.labels, s.classes, groups=s.labels).fingerprint() != s.fingerprint()
    assert not strided.is_contiguous() and ImageSet(strided, s.labels, s.classes).fingerprint()


def test_set_larger_than_the_device_stays_and_sends_batches(monkeypatch):
    s = labelled(6, masks=torch.zeros(6, 4, 4, dtype=torch.uint8))
    monkeypatch.setattr(data, "free_memory", lambda device: 10)
    far = s.to("meta")
    assert far.images.device.type == far.masks.device.type == "cpu" and far.device.type == "meta"
    batch = far[torch.tensor([1, 2])]
    assert (
        batch.images.device.type
        == batch.masks.device.type
        == batch.labels.device.type
        == batch.index.device.type
        == "meta"
    )
    monkeypatch.setattr(data, "free_memory", lambda device: 1 << 40)
    assert s.to("meta").images.device.type == "meta" and s.device.type == "cpu"


# ---- embedded sets and recipes -------------------------------------------------------------------------------------


def test_digits_against_scikit_learn():
    from sklearn.datasets import load_digits

    raw = load_digits()
    key = {
        (raw.images[k] * 255 / 16).round().astype(np.uint8).tobytes() + bytes([raw.target[k]]) for k in range(1797)
    }
    train, test = load("digits"), load("digits", split="test")
    assert (len(train), len(test), len(load("digits", split="all"))) == (1200, 597, 1797)
    rows = [s.images[k].numpy().tobytes() + bytes([int(s.labels[k])]) for s in (train, test) for k in range(len(s))]
    assert set(rows) == key
    assert ((train.counts() - raw_counts(raw) * 1200 / 1797).abs() <= 1).all()


def raw_counts(raw):
    return torch.as_tensor(raw.target).bincount()


def test_distances_are_distances():
    "Gradient of length one, and zero on points that are known to lie on the outline."
    p = (torch.rand(400, 1, 1, 2, generator=generator(0)) * 3 - 1.5).requires_grad_()
    for formula in (
        lambda q: data.star_distance(q, 5, 0.42),
        lambda q: data.star_distance(q, 4, 0.7071),
        lambda q: data.ring_distance(q, 1.0, 0.0),
    ):
        (slope,) = torch.autograd.grad(formula(p).sum(), p)
        assert (slope.norm(dim=-1).flatten().quantile(0.9) - 1).abs() < 1e-3
    tip = torch.tensor([[[[0.0, 1.0]]]])
    assert data.star_distance(tip, 5, 0.42).abs() < 1e-6
    assert data.cross_distance(torch.tensor([[[[1.0, 0.1], [0.1, -1.0], [0.3, 0.5]]]]), 0.3).abs().max() < 1e-6
    assert data.ring_distance(torch.tensor([[[[0.0, 0.5], [1.0, 0.0]]]]), 0.5, 0.0).abs().max() < 1e-6


def test_shapes():
    s = make_shapes(360, size=24, seed=5)
    assert (
        s.counts().tolist() == [10] * 36
        and s.images.shape == (360, 3, 24, 24)
        and s.coarse_classes == ("round", "polygon", "star")
    )
    assert (
        s.fingerprint()
        == make_shapes(360, size=24, seed=5).fingerprint()
        != make_shapes(360, size=24, seed=6).fingerprint()
    )
    inside = s.masks.flatten(1).float().mean(1)
    assert inside.min() > 0.01 and inside.max() < 0.6
    edge = torch.cat([s.masks[:, 0], s.masks[:, -1], s.masks[:, :, 0], s.masks[:, :, -1]], 1)
    assert edge.sum() == 0  # the object is inside
    masked = (s.images.float() * s.masks[:, None]).sum((2, 3)) / s.masks.sum((1, 2))[:, None]
    red, blue = masked[s.labels % 4 == 0], masked[s.labels % 4 == 3]
    assert (red[:, 0] > red[:, 2]).all() and (blue[:, 2] > blue[:, 0]).all()
    families = {
        name.split()[1]: s.coarse_classes[c]
        for name, c in zip([s.classes[k] for k in s.labels], s.coarse_labels, strict=True)
    }
    assert families == {name: family for name, (family, _) in data.SHAPES.items()}
    for wrong in ({"count": 5}, {"colours": 9}, {"shapes": ["blob"]}, {"size": 4}):
        with pytest.raises(ValueError, match="make_shapes needs"):
            make_shapes(**wrong)
    assert make_shapes(8, shapes=["star", "disc"], colours=2).coarse_classes == ("star", "round")


def test_make_vectors_has_the_stated_moments():
    sets = [make_vectors(4000, seed=seed) for seed in range(8)]
    k = torch.arange(1, 49).double() ** -0.4
    inside, between = torch.zeros(2, 8, 48).double(), torch.zeros(2, 8, 16).double()
    for i, s in enumerate(sets):
        x = s.vectors.double()
        content, nuisance = (s.labels, 40, slice(48), inside), (s.coarse_labels, 8, slice(48, 64), between)
        for labels, kinds, part, into in (content, nuisance):
            means = torch.stack([x[labels == c, part].mean(0) for c in range(kinds)])
            into[:, i] = torch.stack([(x[:, part] - means[labels]).std(0), means.square().mean(0).sqrt()])
    assert (inside[0] / (0.9 * k) - 1).abs().max() < 0.05 and (between[0] - 1).abs().max() < 0.06
    assert abs((inside[1] / (1.2 * k)).square().mean() - 1) < 0.04       # 40 × 48 × 8 means
    assert abs((between[1] / 1.5).square().mean() - 1) < 0.15            # 8 × 16 × 8
    assert all(s.counts().tolist() == [100] * 40 and s.coarse_labels.bincount().tolist() == [500] * 8 for s in sets)


def test_make_vectors_draws_class_and_group_independently():
    from scipy.stats import chi2_contingency

    tables = [np.histogram2d(s.labels, s.coarse_labels, (40, 8))[0] for s in (make_vectors(seed=k) for k in range(5))]
    p = [chi2_contingency(table).pvalue for table in tables]
    assert min(p) > 0.001 and max(p) < 0.9999


def test_make_vectors_is_the_same_everywhere():
    x = load("vectors").vectors
    assert (x * 65536).frac().abs().max() == 0 and x.dtype == torch.float32 and x.abs().max() < 128
    assert load("vectors").fingerprint() == "eea53c0b9501e81c816ce37307a34f78"
    assert load("vectors", split="test").fingerprint() == "30f87d70972cf8b4f11737d3e8badab4"
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try: assert make_vectors(50).fingerprint() == small_vectors()
    finally: torch.set_default_dtype(before)


def small_vectors():
    torch.manual_seed(7)        # the global state plays no part
    return make_vectors(50).fingerprint()


def test_train_and_test_vectors_are_of_the_same_classes():
    train, test = load("vectors"), load("vectors", split="test")
    assert len(train) == 4000 and len(test) == 2000 and train.shape == test.shape == (64,)
    assert train.classes == test.classes and len(train.classes) == 40 and len(train.coarse_classes) == 8
    means = torch.stack([train.vectors[train.labels == k, :48].mean(0) for k in range(40)])
    found = torch.cdist(test.vectors[:, :48], means).argmin(1)
    assert (found == test.labels).float().mean() > 0.85
    other = make_vectors(4000, seed=1)
    assert (torch.cdist(other.vectors[:, :48], means).argmin(1) == other.labels).float().mean() < 0.2
    assert not (torch.cdist(test.vectors, train.vectors).min(1).values < 1e-3).any()
    with pytest.raises(ValueError, match="no split 'val'"):
        load("vectors", split="val")
    assert available()["vectors"] == "embedded"


@pytest.mark.parametrize("wrong", [{"count": 39}, {"classes": 0}, {"groups": 0}, {"content": 0}, {"nuisance": 0}])
def test_make_vectors_faults(wrong):
    with pytest.raises(ValueError, match="make_vectors needs at least one of everything"):
        make_vectors(**wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda: load("digits").few(2, seed=4),
        lambda: load("shapes", split="test").split(0.5, 0.5, seed=1)[1].to("cpu"),
        lambda: make_shapes(72, 16, seed=2).subset([5, 3]),
        lambda: load("digits").subset(slice(10)),
        lambda: load("vectors").few(2, seed=4),
        lambda: make_vectors(90, seed=2, draw=3).split(0.5, 0.5, seed=1)[1].to("cpu"),
    ],
)
def test_recipes_rebuild(make):
    made = make()
    assert rebuild(json.loads(json.dumps(recipe(made)))).fingerprint() == made.fingerprint()


def test_raw_tensors_have_no_recipe():
    with pytest.raises(ValueError, match="Tensor"):
        rebuild(recipe(labelled(6).subset([1, 2])))


def test_same_in_another_process():
    code = (
        "from clnb.data import load; part = load('shapes', split='test').split(.5, .5)[0]; "
        "print(load('digits').fingerprint(), part.fingerprint())"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert out.stdout.split() == [
        load("digits").fingerprint(),
        load("shapes", split="test").split(0.5, 0.5)[0].fingerprint(),
    ]


# ---- npz files -----------------------------------------------------------------------------------------------------


def shapes_sets():
    train, test = make_shapes(72, 16), make_shapes(36, 16, seed=1)
    train.groups = torch.arange(72) // 3
    test.groups = torch.arange(36) // 3
    return {"train": train, "test": test}


@pytest.mark.parametrize("compressed", [True, False])
def test_npz_round_trip(tmp_path, compressed):
    sets = shapes_sets()
    path = save_npz(sets, tmp_path / "deep" / "set.npz", compressed)
    for split, s in sets.items():
        back = from_npz(path, split=split)
        assert back.fingerprint() == s.fingerprint() and back.name == "set" and back.images.is_contiguous()
    assert len(from_npz(path, split="all")) == 108 and os.listdir(tmp_path / "deep") == ["set.npz"]
    again = rebuild(json.loads(json.dumps(recipe(from_npz(path).few(1)))))
    assert again.fingerprint() == from_npz(path).few(1).fingerprint()


@pytest.mark.parametrize("compressed", [True, False])
def test_vector_round_trip(tmp_path, compressed):
    sets = {"train": vectors(8, coarse_labels=[0, 1] * 4, coarse_classes=["x", "y"], groups=[0, 0, 1, 1] * 2),
            "test": vectors(4, coarse_labels=[0, 1] * 2, coarse_classes=["x", "y"], groups=[2, 2, 3, 3])}
    path = save_npz(sets, tmp_path / "some.npz", compressed)
    for split, part in sets.items():
        again = from_npz(path, split)
        assert type(again) is VectorSet and again.fingerprint() == part.fingerprint() and again.name == "some"
    assert len(from_npz(path, "all")) == 12
    mapped = from_npz(save_npz(vectors(50), tmp_path / "flat.npz", False), map_above=1)
    assert mapped[[3]].images.equal(vectors(50)[[3]].images) and mapped.fingerprint() == vectors(50).fingerprint()


def test_vector_files_of_ones_own(tmp_path, monkeypatch):
    x, y = np.random.default_rng(0).normal(0, 50, (6, 5)), np.array([0, 1] * 3)
    for names in ({"x": x, "y": y, "class_names": C}, {"vectors": x.astype(np.float32), "labels": y, "classes": C},
                  {"images": x.astype(np.float16), "labels": y.astype(np.uint16), "classes": C}):
        np.savez(tmp_path / "mine.npz", **names)
        made = load("mine", root=tmp_path)
        assert type(made) is VectorSet and np.allclose(made.vectors, x, rtol=1e-3)
        assert made.labels.tolist() == y.tolist()
        part = made.subset([1])
        assert rebuild(json.loads(json.dumps(recipe(part)))).fingerprint() == part.fingerprint()
    np.savez(tmp_path / "cut.npz", vectors_train=x, labels_train=y, vectors_test=x[:2], labels_test=y[:2], classes=C)
    assert len(load("cut", "test", tmp_path)) == 2
    np.savez(tmp_path / "codes.npz", x=x, y=y, class_names=C, split=[0, 0, 0, 0, 2, 2], patient=list("aabbcc"))
    assert from_npz(tmp_path / "codes.npz", "test").groups.tolist() == [2, 2]


def test_segmentation_round_trip(tmp_path):
    s = SegmentationSet(
        images(6),
        images(6)[:, 0] % 3,
        ["a", "b", "c"],
        domain=[0, 1] * 3,
        patient=[0, 0, 1, 1, 2, 2],
        spacing=[1.0, 2.0],
        domains=["x", "y"],
    )
    assert from_npz(save_npz(s, tmp_path / "s.npz")).fingerprint() == s.fingerprint()


def test_mapped_member_is_the_same_and_is_not_loaded(tmp_path):
    sets = shapes_sets()
    path = save_npz(sets, tmp_path / "m.npz", compressed=False)
    m = from_npz(path, map_above=1000)
    assert m.images.stride(1) == 1 and m.fingerprint() == sets["train"].fingerprint()  # as in the file: channels last
    rows = torch.tensor([7, 2, 2])
    assert m[rows].images.equal(sets["train"].images[rows]) and m[rows].images.is_contiguous()
    with zipfile.ZipFile(path) as z:
        array = data.mapped(path, z.getinfo("x_train.npy"))
    assert isinstance(array, np.memmap)
    array[:] = 0  # copy on write: the file stays as it was
    assert from_npz(path).fingerprint() == sets["train"].fingerprint()


def test_simple_layout_and_split_member(tmp_path):
    x = np.arange(6 * 4 * 5 * 3, dtype=np.uint8).reshape(6, 4, 5, 3)
    np.savez(
        tmp_path / "a.npz",
        images=x,
        labels=[0, 1, 0, 1, 0, 1],
        classes=["p", "q"],
        groups=["u", "u", "v", "v", "w", "w"],
    )
    s = from_npz(tmp_path / "a.npz")
    assert s.images.equal(torch.from_numpy(x).permute(0, 3, 1, 2)) and s.groups.tolist() == [0, 0, 1, 1, 2, 2]
    np.savez(
        tmp_path / "b.npz",
        x=x[..., 0],
        y=[0, 1, 0, 1, 0, 1],
        class_names=["p", "q"],
        split=[0, 0, 1, 2, 2, 2],
        id=list("abcdef"),
    )
    b = from_npz(tmp_path / "b.npz", split="test")
    assert b.images.shape == (3, 1, 4, 5) and b.groups is None
    with pytest.raises(ValueError, match="no split 'extra'; it has 'train', 'val', 'test'"):
        from_npz(tmp_path / "b.npz", split="extra")
    np.savez(tmp_path / "c.npz", images=x.transpose(0, 3, 1, 2), labels=[0, 1] * 3, classes=["p", "q"], layout="NCHW")
    assert from_npz(tmp_path / "c.npz").images.equal(s.images)


X, Y, C = np.zeros((6, 20, 20), np.uint8), np.array([0, 1] * 3), np.array(["a", "b"])


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"labels": Y, "classes": C}, "found no member 'x' or 'images', only labels, classes"),
        ({"images": X, "classes": C}, "found no labels beside 'images'"),
        ({"x_train": X, "y_test": Y, "class_names": C}, "found no labels beside 'x_train'"),
        ({"x_train": X, "mask_train": X, "y_test": Y, "class_names": C}, "found no labels"),
        ({"images": X, "labels": Y}, "no member 'class_names' or 'classes'"),
        (
            {"images": X[0], "labels": Y, "classes": C},
            "labels: found int64 .6.; expected one entry for each of the 20",
        ),
        ({"images": X[:, :, 0], "labels": Y, "classes": C}, r"images: found uint8 \[6, 20\]"),
        (
            {"images": X, "labels": Y[:4], "classes": C},
            "labels: found int64 .4.; expected one entry for each of the 6",
        ),
        ({"images": X, "labels": Y * 3, "classes": C}, "values from 0 to 3; expected 0 to 1"),
        ({"images": X, "labels": Y * 0.5, "classes": C}, "whole numbers"),
        ({"images": X.astype(np.int32), "labels": Y, "classes": C}, "found int32"),
        ({"images": X + np.nan, "labels": Y, "classes": C}, "not finite"),
        ({"images": X, "labels": Y, "classes": ["a", "b", "c"]}, "no image of 'c'"),
        ({"images": X, "labels": Y, "classes": ["a", "a"]}, "class_names: found 'a' more than once"),
        ({"images": X[:, None], "labels": Y, "classes": C}, "looks like channels first"),
        ({"images": np.array([None] * 6), "labels": Y, "classes": C}, "'images' cannot be read"),
        ({"images": X, "labels": Y, "classes": C, "masks": X[:, :5]}, "masks: found uint8"),
        ({"images": X, "labels": Y, "classes": C, "coarse_labels": Y}, "no member"),
        ({"images": X, "labels": Y, "classes": C, "split": np.array([0, 1])}, "split: found int64 .2."),
        ({"x": X, "mask": X + 2, "class_names": C}, "masks: found values from 2 to 2"),
        (
            {"edges": np.array([[0], [9]]), "x": X[:, :, 0], "y": Y, "class_names": C},
            "edge_index: found nodes from 0 to 9; expected 0 to 5",
        ),
        ({"edges": np.array([[0], [1]]), "y": Y, "class_names": C}, "no member 'x_data'"),
        ({"x": X[:, 0] + np.inf, "y": Y, "class_names": C}, "vectors: found a value that is not finite"),
        ({"x": X[:, 0] * 1.0, "y": Y * 0, "class_names": C}, "no vector of 'b'"),
        ({"x": X[:, 0] * 1.0, "y": Y[:4], "class_names": C}, "one entry for each of the 6 vectors"),
        ({"x": X[:, 0] * 1.0, "y": Y, "mask": X, "class_names": C}, r"found float64 \[6, 20\].*or vectors"),
        ({"x": X[:, 0].astype(int), "y": Y, "class_names": C}, r"x: found int64 \[6, 20\].*or vectors, float"),
        ({"vectors": X[:, 0] * 1.0, "classes": C}, "found no labels beside 'vectors'"),
    ],
)
def test_faults_name_the_file(tmp_path, members, message):
    path = tmp_path / "bad.npz"
    np.savez(path, **members)
    with pytest.raises(ValueError, match=message) as caught:
        from_npz(path)
    assert str(caught.value).startswith(str(path)), caught.value


def test_broken_files(tmp_path):
    good = save_npz(shapes_sets(), tmp_path / "good.npz").read_bytes()
    bad = tmp_path / "bad.npz"
    for content in (good[: len(good) // 2], b"", b"text"):
        bad.write_bytes(content)
        with pytest.raises(ValueError, match="probably truncated"):
            from_npz(bad)
    broken = bytearray(good)
    with zipfile.ZipFile(tmp_path / "good.npz") as z:
        at = z.getinfo("x_train.npy").header_offset
    broken[at + 200 : at + 300] = bytes(100)
    bad.write_bytes(bytes(broken))
    with pytest.raises(ValueError, match=r"bad\.npz: member 'x_train' cannot be read"):
        from_npz(bad)
    with pytest.raises(FileNotFoundError, match="no such file"):
        from_npz(tmp_path / "absent.npz")


def test_clnb_data(tmp_path, monkeypatch):
    a, b = tmp_path / "a", tmp_path / "b"
    save_npz(make_shapes(36, 16), a / "mine.npz")
    save_npz(make_shapes(36, 16, seed=1), b / "mine.npz")
    save_npz(make_shapes(36, 16, seed=2), b / "other.npz")
    monkeypatch.setenv("CLNB_DATA", f"{a}{os.pathsep}{b}{os.pathsep}{tmp_path / 'absent'}")
    assert load("mine").fingerprint() == make_shapes(36, 16).fingerprint()
    assert load("mine", root=b).fingerprint() == make_shapes(36, 16, seed=1).fingerprint()
    there = available()
    assert (
        there["mine"] == str(a / "mine.npz")
        and there["other"] == str(b / "other.npz")
        and there["digits"] == "embedded"
    )
    assert rebuild(recipe(load("other"))).fingerprint() == load("other").fingerprint()
    with pytest.raises(ValueError, match="did you mean 'other'"):
        load("othr")
    monkeypatch.delenv("CLNB_DATA")
    with pytest.raises(ValueError, match="CLNB_DATA is not set"):
        load("mine")


# ---- folders -------------------------------------------------------------------------------------------------------


def picture(path, size=(8, 6), mode="RGB", seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    array = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(array, mode=mode if mode != "L" else None).save(path)
    return array


def test_folder(tmp_path):
    a = picture(tmp_path / "cat" / "2.png", seed=1)
    b = picture(tmp_path / "cat" / "1.png", seed=2)
    c = picture(tmp_path / "dog" / "deep" / "x.PNG", seed=3)
    (tmp_path / "dog" / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden").mkdir()
    with pytest.warns(UserWarning, match="1 files that are no pictures"):
        s = from_folder(tmp_path)
    assert s.classes == ("cat", "dog") and s.labels.tolist() == [0, 0, 1]
    assert s.images.equal(torch.from_numpy(np.stack([b, a, c])).permute(0, 3, 1, 2))


def test_folder_splits_sizes_and_modes(tmp_path):
    picture(tmp_path / "train" / "a" / "1.png", (20, 10))
    picture(tmp_path / "train" / "b" / "1.png", (10, 30), "RGBA")
    picture(tmp_path / "test" / "b" / "1.jpg", (12, 12), "L")
    with pytest.raises(ValueError, match="give size="):
        from_folder(tmp_path)
    s, t = from_folder(tmp_path, size=8), from_folder(tmp_path, size=8, split="test")
    assert s.images.shape == (2, 3, 8, 8) and t.images.shape == (1, 1, 8, 8)
    assert t.classes == ("a", "b") and t.labels.tolist() == [1]
    assert rebuild(recipe(s)).fingerprint() == s.fingerprint()
    with pytest.raises(ValueError, match="no split 'val'"):
        from_folder(tmp_path, split="val")


def test_folder_crops_the_middle(tmp_path):
    array = picture(tmp_path / "a" / "1.png", (20, 8))
    assert from_folder(tmp_path, size=8).images[0].equal(torch.from_numpy(array[:, 6:14]).permute(2, 0, 1))


def test_folder_faults(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        from_folder(tmp_path / "absent")
    with pytest.raises(ValueError, match="found no picture"):
        from_folder(tmp_path)
    picture(tmp_path / "a" / "1.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: found no picture"):
        from_folder(tmp_path)
    (tmp_path / "empty" / "2.png").write_bytes((tmp_path / "a" / "1.png").read_bytes()[:60])
    with pytest.raises(ValueError, match=r"2\.png: cannot be decoded"):
        from_folder(tmp_path)


def test_flat_folder_is_unlabelled(tmp_path):
    picture(tmp_path / "1.png")
    assert from_folder(tmp_path).labels.tolist() == [-1] and from_folder(tmp_path).classes == ()


# ---- public sets, in the formats that are downloaded ---------------------------------------------------------------


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar(root, cls, monkeypatch, fine):
    folder, rng = root / cls.base_folder, np.random.default_rng(0)
    folder.mkdir(parents=True)
    lists, kept = {}, {}
    for which, names in (("train_list", cls.train_list), ("test_list", cls.test_list)):
        lists[which] = []
        for name, _ in names:
            pixels, labels = rng.integers(0, 256, (20, 3072), dtype=np.uint8), list(range(10)) * 2
            entry = {"data": pixels} | (
                {"fine_labels": labels, "coarse_labels": [k // 5 for k in labels]} if fine else {"labels": labels}
            )
            (folder / name).write_bytes(pickle.dumps(entry, protocol=2))
            lists[which].append([name, md5(folder / name)])
            kept[name] = pixels
    key = cls.meta["key"]
    meta = {key: [f"c{k}" for k in range(10)]} | ({"coarse_label_names": ["low", "high"]} if fine else {})
    (folder / cls.meta["filename"]).write_bytes(pickle.dumps(meta, protocol=2))
    for which, entries in lists.items():
        monkeypatch.setattr(cls, which, entries)
    monkeypatch.setattr(cls, "meta", cls.meta | {"md5": md5(folder / cls.meta["filename"])})
    return kept


def test_cifar100_with_coarse_labels(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR100

    kept = write_cifar(tmp_path, CIFAR100, monkeypatch, fine=True)
    s = load("cifar100", split="test", root=tmp_path)
    assert s.images.equal(torch.from_numpy(kept["test"]).view(-1, 3, 32, 32)) and s.coarse_classes == ("low", "high")
    assert s.coarse_labels.equal(s.labels // 5) and s.classes[3] == "c3"
    assert available(tmp_path)["cifar100"].startswith("cached")


def test_cifar10(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    kept = write_cifar(tmp_path, CIFAR10, monkeypatch, fine=False)
    s = load("cifar10", root=tmp_path)
    assert len(s) == 100 and s.images[20:40].equal(torch.from_numpy(kept["data_batch_2"]).view(-1, 3, 32, 32))


def test_unpickler_refuses_code(tmp_path):
    (tmp_path / "train").write_bytes(pickle.dumps(os.system))
    (tmp_path / "meta").write_bytes(b"")
    with pytest.raises(pickle.UnpicklingError, match="refused"):
        data.coarse_of_cifar100(tmp_path, "train")


@pytest.mark.parametrize(("name", "kind"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_mnist_formats(tmp_path, name, kind):
    folder, x = tmp_path / kind / "raw", np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    folder.mkdir(parents=True)
    for start in ("train", "t10k"):
        (folder / f"{start}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, 10, 28, 28) + x.tobytes())
        (folder / f"{start}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, 10) + bytes(range(10)))
    s = load(name, split="test", root=tmp_path)
    assert s.images[:, 0].equal(torch.from_numpy(x)) and s.labels.tolist() == list(range(10)) and len(s.classes) == 10


def test_stl10_format(tmp_path, monkeypatch):
    from torchvision.datasets import STL10

    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    x = np.random.default_rng(0).integers(0, 256, (4, 3, 96, 96), dtype=np.uint8)
    stored = {
        "train_X.bin": x.tobytes(),
        "test_X.bin": x.tobytes(),
        "unlabeled_X.bin": x.tobytes(),
        "train_y.bin": bytes([1, 2, 3, 10]),
        "test_y.bin": bytes([1, 1, 1, 1]),
        "class_names.txt": "\n".join("abcdefghij").encode(),
        "fold_indices.txt": b"0 1\n",
    }
    for file, content in stored.items():
        (folder / file).write_bytes(content)
    for which in ("train_list", "test_list"):
        monkeypatch.setattr(STL10, which, [[file, md5(folder / file)] for file, _ in getattr(STL10, which)])
    s, u = load("stl10", root=tmp_path), load("stl10", split="unlabeled", root=tmp_path)
    assert s.labels.tolist() == [0, 1, 2, 9] and u.labels.tolist() == [-1] * 4
    assert s.images.equal(torch.from_numpy(x).transpose(2, 3))  # columns first in the file


def test_svhn_format(tmp_path, monkeypatch):
    from scipy.io import savemat
    from torchvision.datasets import SVHN

    x = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    savemat(tmp_path / "train_32x32.mat", {"X": x, "y": np.array([[1], [10], [2], [9]])})
    split = dict(SVHN.split_list)
    split["train"] = [split["train"][0], "train_32x32.mat", md5(tmp_path / "train_32x32.mat")]
    monkeypatch.setattr(SVHN, "split_list", split)
    s = load("svhn", root=tmp_path)
    assert s.labels.tolist() == [1, 0, 2, 9] and s.images.equal(torch.from_numpy(x.transpose(3, 2, 0, 1).copy()))


@pytest.mark.parametrize("name", list(data.PUBLIC))
def test_no_network_is_a_sentence(tmp_path, monkeypatch, name):
    import urllib.request
    from urllib.error import URLError

    def refuse(*_, **__):
        raise URLError("no network in this test")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(ConnectionError, match=f"could not download '{name}' to .*pass root=.*embedded"):
        load(name, root=tmp_path)
    with pytest.raises(ValueError, match="no split 'dev'"):
        load(name, split="dev", root=tmp_path)


# ---- the project's real files --------------------------------------------------------------------------------------


@real
@pytest.mark.parametrize("name", sorted(path.stem for path in REAL.glob("*.npz")) if REAL else ["none"])
def test_real_files(name):
    s = load(name, root=REAL)
    with np.load(REAL / f"{name}.npz", allow_pickle=False) as raw:
        names = {key: raw[key] for key in raw.files if key != "x_data"}
    assert len(s.fingerprint()) == 32 and s.name == name
    if isinstance(s, GraphSet):
        assert s.edge_index.shape[1] == 2 * names["edges"].shape[1] and list(s.x.shape) == names["x_shape"].tolist()
        assert {"train", "val", "test"} <= s.splits.keys() and all(
            (s.y[nodes] >= 0).all() for nodes in s.splits.values()
        )
        return
    x = names["x_train"] if "x_train" in names else names["x"][names["split"] == 0]
    x = torch.from_numpy(x)
    assert s.images.equal(x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2))
    assert s.classes == tuple(names["class_names"].tolist())
    test = load(name, split="test", root=REAL)
    assert len(test) < len(s) and test.classes == s.classes and test.shape == s.shape
    if name == "cifar100_hier":
        assert (
            torch.from_numpy(names["fine_to_coarse"])[s.labels].equal(s.coarse_labels.to(torch.uint8))
            and len(s.coarse_classes) == 20
        )
    if name == "plantvillage15":
        assert s.coarse_classes == tuple(names["species_names"].tolist())
        species = torch.from_numpy(names["class_to_species"]).long()
        for part in (s, test): assert species[part.labels].equal(part.coarse_labels) and part.groups is None
    if name == "isic2017":
        assert (len(s), len(load(name, "val", REAL)), len(test)) == (1995, 150, 600) and s.groups is None
        for part, code in ((s, "train"), (test, "test")):
            assert part.masks.equal(torch.from_numpy(names[f"mask_{code}"])) and part.masks.max() == 1
            assert part.labels.equal(torch.from_numpy(names[f"y_{code}"]).long()) and (part.counts() > 0).all()
    if name == "peanut_patches":
        for part, code in ((s, "train"), (test, "test")):
            assert part.groups.equal(torch.from_numpy(names[f"image_{code}"]).long())      # the photograph
            assert part.masks.equal(torch.from_numpy(names[f"mask_{code}"]))
            plants = part.labels > 0
            assert (part.masks[plants] == part.labels[plants][:, None, None]).flatten(1).any(1).all()
        assert not torch.isin(s.groups, test.groups).any()
        a, b = s.split(0.8, 0.2)
        assert not set(a.groups.tolist()) & set(b.groups.tolist()) and abs(len(b) / len(s) - 0.2) < 0.01
        assert ((b.counts() / len(b) - s.counts() / len(s)).abs() < 0.025).all()
    if name == "mr_multidomain":
        a, b = s.split(0.8, 0.2)
        assert not set(a.patient.tolist()) & set(b.patient.tolist()) and s.domains and s.domain.max() == 2


@pytest.mark.parametrize("seed", range(3))
def test_balanced_batches_deal_fairly(seed):
    "Equal shares in every batch; a class's rows are used equally often, and none twice where they suffice."
    labels = torch.cat([torch.full((n,), k) for k, n in ((3, 40), (0, 7), (-1, 9), (5, 2))])
    dealt = balanced_indices(labels, 4, 6, generator(seed))
    assert dealt.shape == (6, 12) and (labels[dealt].view(6, 3, 4) == torch.tensor([0, 3, 5])[:, None]).all()
    used = dealt.flatten().bincount(minlength=len(labels))
    for k in (0, 3, 5): assert used[labels == k].max() - used[labels == k].min() <= 1
    assert not used[labels < 0].any()
    for batch in dealt: assert len(batch[:8].unique()) == 8         # classes with four rows or more
