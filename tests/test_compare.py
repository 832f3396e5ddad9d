"""Compare: neighbours kept, lost and gained, turned layouts, numbers over seeds, histories in step."""

import numpy as np
import pytest
import torch
from scipy.stats import ttest_rel
from sklearn.metrics import accuracy_score
from sklearn.neighbors import NearestNeighbors

from clnb.core import t_interval
from clnb.nets import small_convnet
from clnb.run import History
from clnb.views.compare import Compare, changes, numbers_of, rows_of, turned_to
from clnb.views.embedding import Embedding


def cloud(n=120, d=8, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return (rng.normal(size=(n, d)) + 4 * np.eye(3, d)[labels]).astype(np.float32), labels


def other(x, seed=1, noise=1.0):
    return (x + noise * np.random.default_rng(seed).normal(size=x.shape)).astype(np.float32)


def errors(board):
    """What went wrong in the views of a board."""
    return [view.frame["error"] for view in board.views if "error" in view.frame]


# ------------------------------------------------------------------------------------------------------------ numerics

@pytest.mark.parametrize("k", [1, 5, 10])
def test_neighbours_against_sklearn_and_sets(k):
    a, _ = cloud()
    b = other(a)[:, :5]
    found = changes(a, b, k)
    near = [NearestNeighbors(n_neighbors=k).fit(x).kneighbors(return_distance=False) for x in (a, b)]
    assert np.array_equal(np.sort(found.a), np.sort(near[0])) and np.array_equal(np.sort(found.b), np.sort(near[1]))
    kept = [len(set(p) & set(q)) for p, q in zip(*near, strict=True)]
    assert found.kept.tolist() == kept and found.share == pytest.approx(np.mean(kept) / k)


def test_neighbours_do_not_see_rotations_and_scales():
    a, _ = cloud()
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    assert changes(a, (7 * a @ q + 3).astype(np.float32)).share == 1
    assert changes(a, a).kept.tolist() == [10] * 120


def test_rows_without_numbers_small_sets_and_samples():
    a, _ = cloud()
    b = a.copy()
    b[3] = np.nan
    found = changes(a, b, 5)
    assert 3 not in found.rows and 3 not in found.a and len(found.rows) == 119 and found.share == 1
    assert changes(a[:4], a[:4], 10).a.shape == (4, 3) and np.isnan(changes(a[:0], a[:0]).share)
    some = changes(a, b * 0 + a, 5, most=0)
    assert len(some.rows) == 119 or len(some.rows) == 120
    big = np.random.default_rng(0).normal(size=(1000, 4)).astype(np.float32)
    sampled = changes(big, big, 5, most=1)
    assert len(sampled.rows) == 200 and sampled.share == 1 and np.array_equal(sampled.rows, np.unique(sampled.rows))


def test_procrustes_without_stretching():
    rng = np.random.default_rng(0)
    p = rng.normal(size=(50, 2))
    for turn in (np.array([[0, -1], [1, 0]]), np.array([[1, 0], [0, -1]]), np.linalg.qr(rng.normal(size=(2, 2)))[0]):
        got, drift = turned_to(p @ turn + [3, -1], p)
        assert np.allclose(got, p, atol=1e-5) and drift < 1e-5
    got, _ = turned_to(2 * p, p)
    assert np.allclose(np.ptp(got, 0), 2 * np.ptp(p, 0), rtol=1e-5)       # its size stays
    # no other angle or mirror is nearer
    q = rng.normal(size=(50, 2))
    best, _ = turned_to(q, p)
    error = ((best - p) ** 2).sum()
    for angle in np.linspace(0, 2 * np.pi, 60):
        for mirror in (1, -1):
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([1, mirror])
            assert (((q - q.mean(0)) @ turn + p.mean(0) - p) ** 2).sum() >= error - 1e-6
    holes = q.copy()
    holes[4] = np.nan
    assert np.isnan(turned_to(holes, p)[0][4]).all() and np.isfinite(turned_to(holes, p)[0][5]).all()
    assert turned_to(q[:2], p[:2])[1] is None


def test_numbers_against_other_libraries():
    x, labels = cloud(150)
    found = numbers_of(x, labels, k=1)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    near = NearestNeighbors(n_neighbors=1, metric="cosine").fit(unit).kneighbors(return_distance=False)[:, 0]
    assert found["kNN accuracy"] == pytest.approx(accuracy_score(labels, labels[near]))
    s = np.linalg.svd(x - x.mean(0), compute_uv=False)
    p = s / s.sum()
    assert found["effective rank"] == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-4)
    assert found["participation ratio"] == pytest.approx((s**2).sum() ** 2 / (s**4).sum(), rel=1e-4)
    d2 = ((unit[:, None] - unit[None]) ** 2).sum(2)[~np.eye(150, dtype=bool)]
    assert found["uniformity"] == pytest.approx(np.log(np.exp(-2 * d2).mean()), rel=1e-4)
    pairs = np.stack([x[:10], other(x)[:10]])
    units = pairs / np.linalg.norm(pairs, axis=2, keepdims=True)
    got = numbers_of(x, labels, pairs)["alignment"]
    assert got == pytest.approx(((units[0] - units[1]) ** 2).sum(1).mean(), rel=1e-4)
    assert 0 <= found["neighbours kept by the map"] <= 1 and 0.5 < found["trust of the PCA map"] <= 1
    assert "kNN accuracy" not in numbers_of(x) and numbers_of(x * 0) == {} and "alignment" not in found
    assert "RankMe" not in numbers_of(np.ones_like(x))                       # collapsed: no error, no number
    half = np.where(np.arange(150) % 2, labels, -1)
    assert 0.8 < numbers_of(x, half)["kNN accuracy"] <= 1
    x[0] = np.nan
    assert np.isfinite(list(numbers_of(x, labels).values())).all()


def test_intervals_over_seeds_and_the_paired_difference():
    rng = np.random.default_rng(0)
    noise, effect = rng.normal(size=6), 0.3 + 0.01 * rng.normal(size=6)
    a, b = {s: {"m": noise[s]} for s in range(6)}, {s: {"m": noise[s] + effect[s]} for s in range(6)}
    row = rows_of(a, b)[0]
    assert row.a == pytest.approx(t_interval(list(noise))) and row.difference == pytest.approx(t_interval(list(effect)))
    low, high = ttest_rel(noise + effect, noise).confidence_interval(0.95)
    assert row.difference[1:] == pytest.approx((low, high))
    assert row.difference[2] - row.difference[1] < 0.1 * (row.a[2] - row.a[1])
    unpaired = rows_of({1: {"m": 1.0}, 2: {"m": 2.0}}, {8: {"m": 3.0}, 9: {"m": 5.0}})[0]
    assert np.isnan(unpaired.difference[0])                                   # other seeds: nothing is paired
    single = rows_of({0: {"m": 1.0}}, {7: {"m": 3.0, "n": 1.0}})
    assert single[0].difference[0] == 2 and np.isnan(single[0].a[1]) and np.isnan(single[1].a[0])


# --------------------------------------------------------------------------------------------------------------- board

def test_arrays_side_by_side():
    x, labels = cloud()
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    after = (x @ q).astype(np.float32)
    compare = Compare(x, after, labels=labels, names=("before", "after"), classes=["u", "v", "<w>"])
    left, right = (np.asarray(view.shown(-1)[0].points) for view in (compare.a, compare.b))
    assert np.linalg.norm(left - right, axis=1).mean() < 0.02 * np.abs(left).max()
    assert compare.cka == pytest.approx(1, abs=1e-5) and compare.kept.share == 1
    table = compare.table
    assert list(table.columns) == ["before", "after", "difference"] and table.loc["kNN accuracy", "difference"] == 0
    assert [c["name"] for c in compare.a.columns] == ["label", "neighbours kept"]
    compare.selection.set([5])
    assert all(view.selection.index.tolist() == [5] for view in compare.views)
    assert not errors(compare)
    assert set(compare.spectrum.spectra(-1)) == {"before", "after"}
    assert all(view.static() is not None for view in compare.views)
    compare.close()


def test_the_frames_carry_the_neighbours():
    x, labels = cloud()
    y = other(x)
    compare = Compare(x, y, labels=labels, k=5)
    frame, found = compare.changes.frame, changes(x, y, 5)

    def array(name): return np.frombuffer(frame[name]["bytes"], frame[name]["dtype"]).reshape(frame[name]["shape"])

    assert np.array_equal(array("near_a"), found.a) and np.array_equal(array("near_b"), found.b)
    assert array("kept").tolist() == found.kept.tolist()
    assert found.kept[array("most")].tolist() == sorted(found.kept)[:60]
    compare.changes.carries = 10                                              # too many rows: the kernel is asked
    assert "near_a" not in compare.changes.picture(-1)
    reply = compare.changes.answer({"ask": "changes", "row": 7})
    assert np.frombuffer(reply["near_b"]["bytes"], "<u4").tolist() == found.b[7].tolist()
    compare.pairing.a.sources[0][7] = np.nan
    with pytest.raises(ValueError, match="row 7 has no"): compare.changes.answer({"ask": "changes", "row": 7})


def test_seeds():
    x, labels = cloud()
    a = {s: other(x, s, 2.0) for s in range(3)}
    b = {s: other(x, s, 0.5) for s in range(1, 4)}
    compare = Compare(a, b, labels=labels)
    table = compare.table
    assert {"a low", "a high", "b low", "difference low"} <= set(table.columns)
    each = [numbers_of(a[s], labels)["RankMe"] for s in range(3)]
    assert table.loc["RankMe", ["a", "a low", "a high"]].tolist() == pytest.approx(t_interval(each))
    pairs = [numbers_of(b[s], labels)["RankMe"] - numbers_of(a[s], labels)["RankMe"] for s in (1, 2)]
    assert table.loc["RankMe", "difference"] == pytest.approx(np.mean(pairs))
    assert np.array_equal(compare.a.source, a[1]) and np.array_equal(compare.b.source, b[1])      # a shared seed
    assert np.array_equal(Compare(a, b, seed=2).a.source, a[2])
    assert "3 seeds" in compare.scores.frame["note"]


def test_histories_in_step():
    x, labels = cloud()
    one, two = History(), History()
    pairs = np.stack([x[:9], x[:9]])
    for step in (0, 10, 20): one.record(step, embedding=other(x, step, 3.0 - step / 10), pairs=pairs)
    compare = Compare(one, two, labels=labels)
    assert "waiting for b" in compare.changes.frame["note"] and compare.table.empty
    for step in (5, 15): two.record(step, embedding=x)
    for view in compare.views: view.follow()
    assert not errors(compare)
    assert compare.changes.steps == [0, 5, 10, 15, 20]
    compare.seek(10)
    expected = changes(one["embedding"].frame(1), two["embedding"].frame(0)).share
    assert compare.kept.share == pytest.approx(expected)
    assert compare.a.frame["step"] == 10 and compare.b.frame["step"] == 5
    assert compare.table.loc["alignment", "a"] == 0
    late, early = compare.seek().cka, compare.seek(5).cka
    assert late > early
    left, right = compare.a.shown(1)[0].points, compare.b.shown(-1)[0].points  # steps 10 and 15
    assert np.allclose(turned_to(right, left)[0], right, atol=1e-3)            # turned to the newest not later


def test_one_history_and_one_array_and_models(tmp_path):
    x, labels = cloud()
    history = History()
    history.record(3, embedding=other(x))
    compare = Compare(history, x, labels=labels)
    assert compare.kept.share < 1 and compare.rewind is not None and not errors(compare)
    assert compare.save(tmp_path / "page.html").stat().st_size > 10_000
    history.save(tmp_path / "h.npz")
    np.save(tmp_path / "x.npy", x)
    again = Compare(tmp_path / "h.npz", tmp_path / "x.npy", labels=labels)
    assert again.kept.share == compare.kept.share
    images = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8)
    nets = Compare(small_convnet(1, 4, seed=0), small_convnet(1, 4, seed=1), images)
    assert nets.a.source.shape == (40, 16) and nets.rewind is None


def test_bad_input_is_named():
    x, labels = cloud()
    with pytest.raises(ValueError, match="'left' has 120 rows and 'right' has 119"):
        Compare(x, x[:119], names=("left", "right"))
    with pytest.raises(ValueError, match="'labels' has 119 rows"): Compare(x, x, labels=labels[:119])
    with pytest.raises(ValueError, match="two different texts"): Compare(x, x, names=("a", "a"))
    with pytest.raises(ValueError, match="at least 1; got 0"): Compare(x, x, k=0)
    with pytest.raises(ValueError, match="empty dict"): Compare({}, x)
    with pytest.raises(ValueError, match="also needs images"): Compare(small_convnet(1, 4), x)
    with pytest.raises(ValueError, match="features"): Compare(x, labels)


def test_a_collapsed_side_is_no_error():
    x, labels = cloud()
    compare = Compare(x, np.ones_like(x), labels=labels)
    assert not errors(compare)
    assert np.isnan(compare.cka) and "not defined" in compare.scores.frame["note"]


def test_the_turned_embedding_follows_the_kind_of_the_other():
    x, _ = cloud()
    compare = Compare(x, other(x), layout="tsne")
    assert compare.b.kind == "tsne" == compare.a.kind
    assert compare.a.settle(60) and compare.b.settle(60)
    assert isinstance(compare.b, Embedding) and compare.b.shown(-1)[0].made.kind == "tsne"
    left, right = (view.shown(-1)[0].points for view in (compare.a, compare.b))
    assert np.allclose(turned_to(right, left)[0], right, atol=1e-3 * np.abs(left).max())
