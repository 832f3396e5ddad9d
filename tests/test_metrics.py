"Metrics against scikit-learn, scipy, plain float64 loops and values by hand; laws and faults."

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import skew
from sklearn import metrics as S
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import trustworthiness as sk_trustworthiness

from clnb import metrics as M
from clnb.core import generator


def cloud(n, d, seed=0, dtype=torch.float32):
    return torch.randn(n, d, generator=generator(seed), dtype=dtype)


def names(n, classes, seed=0):
    return torch.randint(classes, (n,), generator=generator(seed))


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    x, y = torch.as_tensor(x / 16).float(), torch.as_tensor(y)
    return x[:1200], y[:1200], x[1200:], y[1200:]


# neighbours

def knn_by_loops(bank, labels, query, k, temperature, classes, exclude=None):
    bank, query = (x.double().numpy() for x in (bank, query))
    bank, query = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (bank, query))
    scores = np.zeros((len(query), classes))
    for i, q in enumerate(query):
        s = bank @ q
        rows = [j for j in np.argsort(-s, kind="stable") if exclude is None or j != exclude[i]][:k]
        for j in rows: scores[i, labels[j]] += math.exp(s[j] / temperature)
    return torch.as_tensor(scores)


@pytest.mark.parametrize("k", [1, 3, 20, 199, 200, 1000])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_weighted_knn_against_loops(k, temperature):
    bank, query, labels = cloud(200, 8), cloud(37, 8, 1), names(200, 6)
    expected = knn_by_loops(bank, labels, query, k, temperature, 6)
    assert torch.allclose(M.weighted_knn(bank, labels, query, k, temperature).double(), expected, rtol=1e-5)
    exact = M.weighted_knn(bank.double(), labels, query.double(), k, temperature)
    assert torch.allclose(exact, expected, rtol=1e-8)


def test_weighted_knn_by_hand_and_scale_does_not_matter():
    bank, labels = torch.tensor([[1.0, 0], [0, 1], [-1, 0]]), torch.tensor([0, 1, 1])
    query = torch.tensor([[math.cos(0.5), math.sin(0.5)]])
    for scale in (1.0, 1e-20, 1e20):
        scores = M.weighted_knn(bank * scale, labels, query / scale, k=2, temperature=0.5)
        assert torch.allclose(scores, torch.tensor([[5.784403, 2.608698]]), atol=1e-5)


def test_ties_go_to_the_lower_index():
    row = cloud(1, 16)
    bank = row.expand(50, -1).clone()
    labels = torch.arange(50)
    for k in (1, 7, 49):
        scores = M.weighted_knn(bank, labels, row, k=k)
        assert (scores[0] > 0).nonzero()[:, 0].tolist() == list(range(k))
    two = torch.cat([cloud(30, 16, 1), cloud(30, 16, 1)])        # every row twice, far apart
    scores = M.weighted_knn(two, torch.arange(60), cloud(9, 16, 2), k=1)
    assert (scores.argmax(1) < 30).all()


def test_exclude_is_leave_one_out():
    z, y = cloud(120, 5), names(120, 4)
    expected = knn_by_loops(z, y, z, 10, 0.1, 4, exclude=range(120))
    assert torch.allclose(M.weighted_knn(z, y, z, 10, exclude=torch.arange(120)).double(), expected, rtol=1e-5)
    assert M.weighted_knn(z, y, z, 500, exclude=torch.arange(120)).shape == (120, 4)
    free = M.weighted_knn(z, y, z, 10, exclude=torch.full((120,), -1))
    assert torch.allclose(free, M.weighted_knn(z, y, z, 10))


def test_chunks_do_not_change_the_scores(monkeypatch):
    bank, query, y = cloud(300, 8), cloud(64, 8, 1), names(300, 5)
    whole = M.weighted_knn(bank, y, query, 20)
    chunks = M._chunks
    monkeypatch.setattr(M, "_chunks", lambda rows, cost, budget=0: chunks(rows, cost, 1000))
    assert torch.allclose(M.weighted_knn(bank, y, query, 20), whole)


def test_knn_accuracy(digits):
    value = M.knn_accuracy(*digits, k=20)
    assert 0.95 < value < 1 and value.ndim == 0
    assert M.knn_accuracy(*digits, k=20, temperature=0.001) > 0.9                # no overflow
    votes = M.weighted_knn(*digits[:3], k=20)
    assert math.isclose(value, (votes.argmax(1) == digits[3]).float().mean(), abs_tol=1e-7)
    assert M.knn_accuracy(*(x.numpy() for x in digits), k=20) == value


@pytest.mark.parametrize("change,text", [
    ({"k": 0}, "k must be"), ({"k": 2.5}, "k must be"), ({"temperature": 0.0}, "temperature"),
    ({"temperature": 0.001}, "overflows"), ({"bank": torch.zeros(9, 4)}, "every vector is zero"),
    ({"bank": torch.full((9, 4), math.nan)}, "NaN or infinite values in 9 of 9"),
    ({"bank": torch.zeros(0, 4)}, "N ≥ 1"),
    ({"query": cloud(3, 5)}, "same width"), ({"query": cloud(3, 4)[0]}, r"got \[4\]"), ({"classes": 2}, "go up to"),
    ({"bank_labels": torch.arange(8)}, r"\[9\], one per row"), ({"bank_labels": -torch.arange(9)}, "unlabelled"),
    ({"bank_labels": torch.rand(9)}, "whole numbers"), ({"exclude": torch.tensor([1, 2, 9])}, "below 9"),
    ({"exclude": torch.tensor([1])}, r"\[3\] rows")])
def test_knn_faults(change, text):
    good = {"bank": cloud(9, 4), "bank_labels": torch.arange(9), "query": cloud(3, 4), "k": 3}
    with pytest.raises(ValueError, match=text): M.weighted_knn(**(good | change))


# probes

@pytest.mark.parametrize("C", [0.01, 1.0])
def test_linear_probe_is_scikit_learns_optimum(digits, C):
    x, y, q, t = (v.double() if v.is_floating_point() else v for v in digits)
    ours = M.linear_probe(x, y, q, t, C=C, steps=2000)
    scale = x.std(0, correction=0)
    scale[scale < 1e-6] = 1
    theirs = LogisticRegression(C=C, max_iter=5000, tol=1e-8).fit(((x - x.mean(0)) / scale).numpy(), y.numpy())
    logits = ((q - x.mean(0)) / scale) @ ours.weight[:-1] + ours.weight[-1]
    expected = theirs.predict_proba(((q - x.mean(0)) / scale).numpy())
    assert np.abs(logits.softmax(1).numpy() - expected).max() < 2e-3
    assert ours.accuracy == pytest.approx(theirs.score(((q - x.mean(0)) / scale).numpy(), t.numpy()), abs=2e-3)
    assert ours.grid == {} and C == ours.C


def test_linear_probe_result(digits):
    found = M.linear_probe(*digits)
    assert found.accuracy == float(found) == pytest.approx(found.correct.mean().item())
    recall = S.recall_score(digits[3].numpy(), found.predictions.numpy(), average=None)
    assert np.allclose(found.per_class.numpy(), recall)
    assert found.C in found.grid and found.grid[found.C] == max(found.grid.values())
    again = M.linear_probe(*digits)
    assert again.weight.equal(found.weight)
    assert M.linear_probe(*(v.numpy() for v in digits)).accuracy == found.accuracy


def test_linear_probe_labels_need_not_be_dense_and_scale_does_not_matter(digits):
    x, y, q, t = digits
    found = M.linear_probe(x, y, q, t, C=0.1)
    other = M.linear_probe(x * 1000 + 5, y * 7 + 3, q * 1000 + 5, t * 7 + 3, C=0.1)
    assert abs(found.accuracy - other.accuracy) < 0.005 and set(other.predictions.tolist()) <= set((y * 7 + 3).tolist())


def test_linear_probe_unseen_class_counts_as_wrong():
    x = torch.tensor([[0.0], [0.1], [1.0], [1.1]])
    found = M.linear_probe(x, torch.tensor([0, 0, 1, 1]), torch.tensor([[0.0], [1.0]]), torch.tensor([0, 2]), C=1.0)
    assert found.accuracy == 0.5 and found.per_class[0] == 1 and found.per_class[1].isnan()


def test_probe_looks_only_at_the_training_rows_when_it_scales(digits):
    x, y, q, t = digits
    far = torch.cat([q, torch.full((1, 64), 1e6)])
    assert M.linear_probe(x, y, far, torch.cat([t, t[:1]]), C=0.1).predictions[:-1].equal(
        M.linear_probe(x, y, q, t, C=0.1).predictions)


def test_probe_works_under_inference_mode(digits):
    with torch.inference_mode():
        assert M.linear_probe(*digits, C=0.1).accuracy > 0.9


@pytest.mark.parametrize("scaling", M.SCALINGS)
def test_scalings(digits, scaling):
    assert M.linear_probe(*digits, scaling=scaling).accuracy > 0.9


def test_probe_faults(digits):
    x, y, q, t = digits
    with pytest.raises(ValueError, match="only class 3"): M.linear_probe(x, torch.full_like(y, 3), q, t)
    with pytest.raises(ValueError, match="scaling"): M.linear_probe(x, y, q, t, scaling="minmax")
    with pytest.raises(ValueError, match="C must be"): M.linear_probe(x, y, q, t, C=-1.0)
    with pytest.raises(ValueError, match="same width"): M.linear_probe(x, y, q[:, :5], t)
    with pytest.raises(ValueError, match="test_y"): M.linear_probe(x, y, q, t[:4])
    with pytest.raises(ValueError, match="but class 2 has 117 rows"): M.few_label_probe(x, y, q, t, 123)
    with pytest.raises(ValueError, match="reader"): M.few_label_probe(x, y, q, t, reader="svm")


@pytest.mark.parametrize("reader", ["knn", "linear"])
def test_few_label_probe(digits, reader):
    few, many = (M.few_label_probe(*digits, labels_per_class=n, reader=reader, draws=4) for n in (1, 20))
    assert float(few) < float(many) and len(few.accuracies) == 4
    assert few.std == pytest.approx(few.accuracies.std().item())
    assert M.few_label_probe(*digits, labels_per_class=1, reader=reader, draws=4).mean == few.mean
    assert M.few_label_probe(*digits, labels_per_class=1, reader=reader, draws=4, seed=1).mean != few.mean


def test_few_labels_are_drawn_per_class():
    y = torch.tensor([0] * 50 + [3] * 7 + [9] * 5)
    pick = M._place_in_class(y, 0) < 5
    assert y[pick].tolist() == [0] * 5 + [3] * 5 + [9] * 5


def test_probe_table(digits):
    x, y, q, t = digits
    rows = M.probe_table({"raw": (x, q), "two": (x[:, 20:22], q[:, 20:22])}, y, t)
    assert [row["features"] for row in rows] == ["raw", "two"]
    assert all(rows[0][key] > rows[1][key] for key in ("knn", "linear", "few_label", "dim"))
    assert M.raw_pixels(torch.full((2, 3, 4, 4), 255, dtype=torch.uint8)).equal(torch.ones(2, 48))


# clusters

@pytest.mark.parametrize("n,a,b", [(50, 3, 5), (200, 10, 10), (30, 30, 2), (20, 1, 4), (20, 1, 1), (4, 4, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_partitions_against_scikit_learn(n, a, b, seed):
    x, y = names(n, a, seed), names(n, b, seed + 50)
    for average in ("arithmetic", "geometric", "min", "max"):
        expected = S.normalized_mutual_info_score(x, y, average_method=average)
        assert M.nmi(x, y, average).item() == pytest.approx(expected, abs=1e-9)
    assert M.ari(x, y).item() == pytest.approx(S.adjusted_rand_score(x, y), abs=1e-9)
    assert M.nmi(x, x) == pytest.approx(1.0) and M.ari(x, x) == 1 and M.cluster_accuracy(x, x) == 1


def test_partitions_by_hand():
    a = torch.tensor([0, 0, 1, 1])
    expected = {(0, 1, 0, 1): (0, -0.5, 0.5), (1, 1, 0, 0): (1, 1, 1), (0, 0, 0, 1): (0.343711, 0, 0.75)}
    for b, values in expected.items():
        found = M.nmi(a, torch.tensor(b)), M.ari(a, torch.tensor(b)), M.cluster_accuracy(torch.tensor(b), a)
        assert [f.item() for f in found] == pytest.approx(values, abs=1e-6)


def test_cluster_accuracy_pads_to_a_square():
    assert M.cluster_accuracy(torch.arange(6), torch.tensor([0, 0, 0, 1, 1, 1])).item() == pytest.approx(2 / 6)
    assert M.cluster_accuracy(torch.zeros(6).long(), torch.tensor([0, 0, 0, 1, 1, 2])).item() == 0.5


@pytest.mark.parametrize("score", [M.nmi, M.ari, M.cluster_accuracy])
def test_partition_faults(score):
    with pytest.raises(ValueError, match="one per row"): score([0, 1], [0, 1, 2])
    with pytest.raises(ValueError, match="N ≥ 1"): score([], [])
    with pytest.raises(ValueError, match="negative"): score([0, -1], [0, 1])
    with pytest.raises(ValueError, match="average"): M.nmi([0, 1], [0, 1], average="mean")


@pytest.mark.parametrize("seed", range(3))
def test_kmeans_is_as_good_as_scikit_learns(digits, seed):
    x = digits[0]
    ours, theirs = M.kmeans(x, 10, 10, seed=seed), KMeans(10, n_init=10, random_state=seed).fit(x.numpy())
    assert ours.inertia < theirs.inertia_ * 1.01
    assert ours.inertia == pytest.approx(((x - ours.centroids[ours.assignments]) ** 2).sum().item(), rel=1e-5)
    means = torch.stack([x[ours.assignments == c].mean(0) for c in range(10)])
    assert torch.allclose(means, ours.centroids, atol=1e-5)
    assert ours.assignments.equal(torch.cdist(x, ours.centroids).argmin(1))


def test_kmeans_finds_separate_groups_far_from_the_origin():
    y = names(500, 20)
    z = cloud(20, 6, 1)[y] * 50 + cloud(500, 6, 2) + 1e4
    for spherical in (False, True):
        groups = M.kmeans(z - 1e4 if spherical else z, 20, n_init=10, spherical=spherical).assignments
        assert M.ari(groups, y) > 0.99


def test_spherical_kmeans_ignores_length():
    z = cloud(300, 5)
    a = M.kmeans(z, 6, spherical=True)
    b = M.kmeans(z * torch.rand(300, 1, generator=generator(1)).add(0.1), 6, spherical=True)
    assert M.ari(a.assignments, b.assignments) > 0.99
    assert torch.allclose(a.centroids.norm(dim=1), torch.ones(6), atol=1e-5)


def test_kmeans_edges():
    z = cloud(12, 3)
    assert M.kmeans(z, 12).inertia == pytest.approx(0, abs=1e-4)
    one = M.kmeans(z, 1)
    assert torch.allclose(one.centroids[0], z.mean(0), atol=1e-6) and one.assignments.max() == 0
    same = M.kmeans(torch.ones(10, 2), 3)
    assert same.inertia == 0 and same.centroids.isfinite().all()
    with pytest.raises(ValueError, match="only 12 rows"): M.kmeans(z, 13)
    with pytest.raises(ValueError, match="k must be"): M.kmeans(z, 0)
    assert M.kmeans(z, 4, seed=3).assignments.equal(M.kmeans(z.numpy(), 4, seed=3).assignments)


def test_an_empty_cluster_takes_the_farthest_row():
    z = torch.tensor([[0.0], [1.0], [2.5], [9.0]])
    old = torch.tensor([[1.0], [100.0], [200.0]])
    own, distance = M._assign(z, old)
    new = M._centres(z, own, distance, old, False)
    assert own.tolist() == [0] * 4 and new[:, 0].tolist() == [3.125, 9.0, 2.5]


# geometry

@pytest.mark.parametrize("seed", range(3))
def test_auroc_with_ties(seed):
    p, n = names(40, 8, seed).float() + 1, names(90, 8, seed + 9).float()
    expected = S.roc_auc_score([1] * 40 + [0] * 90, torch.cat([p, n]))
    assert M.auroc(p, n).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("with_labels", [False, True])
def test_pair_separation_against_a_full_matrix(with_labels):
    za = cloud(60, 5)
    zb, labels = za + cloud(60, 5, 1), names(60, 4)
    s = torch.nn.functional.normalize(za.double()) @ torch.nn.functional.normalize(zb.double()).T
    others = (labels[:, None] != labels) if with_labels else ~torch.eye(60, dtype=torch.bool)
    found = M.pair_separation(za, zb, labels if with_labels else None)
    assert found.positive.item() == pytest.approx(s.diagonal().mean().item(), abs=1e-6)
    assert found.negative.item() == pytest.approx(s[others].mean().item(), abs=1e-6)
    y = torch.cat([torch.ones(60), torch.zeros(int(others.sum()))])
    assert found.auroc.item() == pytest.approx(S.roc_auc_score(y, torch.cat([s.diagonal(), s[others]])), abs=1e-5)
    with pytest.raises(ValueError, match="one label"): M.pair_separation(za, zb, torch.zeros(60).long())
    with pytest.raises(ValueError, match="are a pair"): M.pair_separation(za, zb[:5])


def test_hubness_against_loops():
    z = cloud(150, 20) + 0.5
    s = torch.nn.functional.normalize(z.double()) @ torch.nn.functional.normalize(z.double()).T
    s.fill_diagonal_(-2)
    counts = s.topk(7).indices.reshape(-1).bincount(minlength=150)
    assert M.hubness(z, 7).item() == pytest.approx(skew(counts.numpy()), abs=1e-4)
    with pytest.raises(ValueError, match="only 149 others"): M.hubness(z, 150)


@pytest.mark.parametrize("n,d", [(50, 8), (8, 50), (200, 200)])
@pytest.mark.parametrize("centred", [True, False])
def test_spectra_against_numpy(n, d, centred):
    z = cloud(n, d) @ torch.diag(torch.logspace(0, -3, d)) + 0.3
    wide = z.double().numpy()
    s = np.linalg.svd(wide - wide.mean(0) if centred else wide, compute_uv=False)
    assert np.allclose(M.singular_values(z, centred=centred), s, atol=1e-5)
    assert M.participation_ratio(z, centred).item() == pytest.approx((s**2).sum() ** 2 / (s**4).sum(), rel=1e-5)
    assert M.stable_rank(z, centred).item() == pytest.approx((s**2).sum() / s[0] ** 2, rel=1e-5)
    s = np.linalg.svd(wide, compute_uv=False)
    p = s / s.sum() + 1e-7
    assert M.rank_me(z).item() == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-5)


def test_ranks_by_hand():
    assert M.rank_me(torch.eye(4)).item() == pytest.approx(4.000001, abs=1e-6)
    assert M.rank_me(torch.ones(4, 4)).item() == pytest.approx(1.000005, abs=1e-6)
    assert M.rank_me(torch.diag(torch.tensor([3.0, 1]))).item() == pytest.approx(1.754765, abs=1e-6)
    assert M.effective_rank(torch.ones(8)).item() == pytest.approx(8)
    assert M.effective_rank(torch.tensor([3.0, 0, 0])) == 1
    z = torch.tensor([[3**0.5, 0], [-(3**0.5), 0], [0, 1], [0, -1]])
    assert M.participation_ratio(z).item() == pytest.approx(1.6, abs=1e-6)


@pytest.mark.parametrize("rank", [M.rank_me, M.participation_ratio, M.stable_rank, M.singular_values])
def test_rank_laws_and_faults(rank):
    z = cloud(100, 12)
    turn = torch.linalg.qr(cloud(12, 12, 1)).Q
    assert torch.allclose(rank(z), rank(z @ turn), rtol=1e-4)
    if rank is not M.singular_values:
        assert torch.allclose(rank(z), rank(z * 1e-6), rtol=1e-4)
        with pytest.raises(ValueError, match="not defined: all embeddings are"): rank(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="NaN"): rank(torch.full((3, 3), math.nan))
    with pytest.raises(ValueError, match="N ≥ 1"): rank(torch.zeros(0, 3))
    assert rank(z.numpy()).dtype == torch.float32 and rank(z.double()).dtype == torch.float64
    assert torch.allclose(rank(z.half()).float(), rank(z.half().float()))


def test_effective_rank_and_centred_faults():
    with pytest.raises(ValueError, match="all embeddings are equal"): M.effective_rank(torch.zeros(3))
    with pytest.raises(ValueError, match="all embeddings are equal"): M.participation_ratio(torch.full((9, 3), 0.1))


def test_coordinate_std():
    z = cloud(5000, 64)
    assert M.coordinate_std(z).mean().item() == pytest.approx(1 / 8, rel=0.02)
    assert torch.allclose(M.coordinate_std(z), torch.nn.functional.normalize(z).std(0), atol=1e-6)
    assert M.coordinate_std(torch.ones(9, 4)).equal(torch.zeros(4))
    assert M.coordinate_std(torch.zeros(9, 4)).equal(torch.zeros(4))


@pytest.mark.parametrize("n,d,e", [(60, 5, 9), (10, 40, 3), (30, 30, 30)])
def test_cka_against_the_gram_form(n, d, e):
    x, y = cloud(n, d), cloud(n, e, 1) + 3
    centre = np.eye(n) - 1 / n
    a, b = (centre @ v.double().numpy() @ v.double().numpy().T @ centre for v in (x, y))
    expected = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    assert M.cka(x, y).item() == pytest.approx(expected, abs=1e-6) == M.cka(y, x).item()
    assert M.cka(x.double(), x.double() * 1e-9 + 1).item() == pytest.approx(1, abs=1e-6)
    assert M.cka(x, -2 * x).item() == pytest.approx(1, abs=1e-6)
    with pytest.raises(ValueError, match="same samples"): M.cka(x, y[:-1])
    with pytest.raises(ValueError, match="equal"): M.cka(x, torch.ones(n, 2))


@pytest.mark.parametrize("k", [1, 5, 30])
def test_trustworthiness_is_scikit_learns(digits, k):
    x = digits[2][:200] + cloud(200, 64, 5) * 0.001      # no equal distances, whose order would be arbitrary
    for low in (x[:, 20:22] + cloud(200, 2) * 0.01, x @ cloud(64, 2, 3)):
        expected = sk_trustworthiness(x.double().numpy(), low.double().numpy(), n_neighbors=k)
        assert M.trustworthiness(x, low, k).item() == pytest.approx(expected, abs=1e-9)
    assert M.trustworthiness(x, x * 3 + 1, k) == 1


def test_neighbour_preservation():
    x, y = cloud(80, 6), cloud(80, 2, 1)
    near = [np.argsort(cdist(v, v) + np.diag([np.inf] * 80), 1)[:, :4] for v in (x.numpy(), y.numpy())]
    expected = np.mean([len(set(a) & set(b)) / 4 for a, b in zip(*near, strict=True)])
    assert M.neighbour_preservation(x, y, 4).item() == pytest.approx(expected)
    with pytest.raises(ValueError, match="below 40"): M.trustworthiness(x, y, 40)
    with pytest.raises(ValueError, match="below 80"): M.neighbour_preservation(x, y, 80)


def test_map_measures_in_chunks(monkeypatch):
    x, y = cloud(90, 6), cloud(90, 2, 1)
    whole = M.trustworthiness(x, y), M.neighbour_preservation(x, y), M.hubness(x), M.pair_separation(x, x + 1)
    chunks = M._chunks
    monkeypatch.setattr(M, "_chunks", lambda rows, cost, budget=0: chunks(rows, cost, 1000))
    parts = M.trustworthiness(x, y), M.neighbour_preservation(x, y), M.hubness(x), M.pair_separation(x, x + 1)
    assert torch.allclose(torch.tensor([*whole[:3], *whole[3]]), torch.tensor([*parts[:3], *parts[3]]), atol=1e-6)


# masks

@pytest.mark.parametrize("ignore", [None, 2])
def test_segmentation_against_scikit_learn(ignore):
    t, p = names(4000, 5).view(2, 40, 50), names(4000, 5, 1).view(2, 40, 50)
    p = torch.where(torch.rand(p.shape, generator=generator(2)) < 0.6, t, p)
    keep = t.reshape(-1) != (-5 if ignore is None else ignore)
    a, b = t.reshape(-1)[keep].numpy(), p.reshape(-1)[keep].numpy()
    assert np.array_equal(M.confusion_matrix(p, t, 5, ignore), S.confusion_matrix(a, b, labels=range(5)))
    assert M.overall_accuracy(p, t, ignore=ignore).item() == pytest.approx(S.accuracy_score(a, b))
    assert M.kappa(p, t, ignore=ignore).item() == pytest.approx(S.cohen_kappa_score(a, b))
    table = M.confusion_matrix(p, t, 7, ignore)
    assert M.mean_iou(table) == M.mean_iou(p, t, ignore=ignore)
    if ignore is None:
        assert M.mean_iou(p, t).item() == pytest.approx(S.jaccard_score(a, b, average="macro"))


def test_kappa_by_hand():
    assert M.kappa(torch.tensor([[50, 10], [5, 35]])).item() == pytest.approx(0.693878, abs=1e-6)
    assert M.kappa(torch.tensor([[90, 0], [10, 0]])) == 0 and M.kappa(torch.tensor([[5, 0], [0, 0]])) == 0
    assert M.overall_accuracy(torch.tensor([[90, 0], [10, 0]])) == 0.9


def test_segmentation_faults():
    one = torch.ones(2, 3).long()
    with pytest.raises(ValueError, match="one shape"): M.confusion_matrix(one, one[0])
    with pytest.raises(ValueError, match="ignored"): M.confusion_matrix(one, one, ignore=1)
    with pytest.raises(ValueError, match="empty input"): M.confusion_matrix(one[:0], one[:0])
    with pytest.raises(ValueError, match="go up to"): M.confusion_matrix(one, one * 4, classes=3)
    with pytest.raises(ValueError, match="confusion matrix"): M.kappa(torch.zeros(2, 2))


MASKS = (M.dice, M.sensitivity, M.specificity, M.mssd, M.assd, M.ravd)


def test_masks_by_hand():
    g, p = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    g[:, 1:3, 0:2] = 1
    p[:, 1:3, 1:3] = 1
    assert [f(p, g).item() for f in MASKS] == pytest.approx([0.5, 0.5, 0.833333, 1, 0.5, 0], abs=1e-6)
    assert [f(g, g).item() for f in MASKS] == [1, 1, 1, 0, 0, 0]
    assert M.mssd(p, g, (1, 1, 2.5)) == 2.5 and M.ravd(torch.ones(1, 4, 4), g) == 3


def surface(mask):
    points = []
    for place in np.argwhere(mask):
        around = [tuple(place + sign * step) for step in np.eye(3, dtype=int) for sign in (1, -1)]
        inside = [all(0 <= c < s for c, s in zip(at, mask.shape, strict=True)) and mask[at] for at in around]
        if not all(inside): points.append(place)
    return np.array(points)


@pytest.mark.parametrize("seed", range(3))
def test_surface_distances_against_loops(seed):
    grid = np.stack(np.meshgrid(*[np.arange(9)] * 3, indexing="ij"), -1)
    random, spacing = np.random.default_rng(seed), np.array([3.0, 0.7, 1.1])
    g, p = (np.linalg.norm(grid - random.uniform(2, 6, 3), axis=-1) < random.uniform(2, 4) for _ in range(2))
    d = cdist(surface(g) * spacing, surface(p) * spacing)
    each = np.concatenate([d.min(0), d.min(1)])
    assert M.mssd(torch.as_tensor(p), torch.as_tensor(g), spacing).item() == pytest.approx(each.max())
    assert M.assd(p, g, spacing).item() == pytest.approx(each.mean())
    assert M.dice(p, g).item() == pytest.approx(2 * (p & g).sum() / (p.sum() + g.sum()))
    assert M.assd(g, p, spacing).item() == pytest.approx(each.mean())


def test_empty_masks_are_defined():
    empty, some = torch.zeros(2, 3, 3), torch.zeros(2, 3, 3)
    some[0, 1, 1] = 1
    assert M.dice(empty, empty) == 1 and M.dice(empty, some) == 0 and M.sensitivity(empty, some) == 0
    assert M.ravd(empty, some) == 1 and M.specificity(empty, some) == 1
    for score in (M.mssd, M.assd):
        assert score(empty, some).isnan() and score(some, empty).isnan() and score(empty, empty).isnan()
    assert M.sensitivity(some, empty).isnan() and M.ravd(some, empty).isnan()
    assert M.specificity(some, torch.ones(2, 3, 3)).isnan()


def test_mask_faults():
    one = torch.ones(2, 3, 3)
    with pytest.raises(ValueError, match="one shape"): M.dice(one, one[0])
    with pytest.raises(ValueError, match="choose a structure"): M.dice(one * 2, one)
    with pytest.raises(ValueError, match="spacing"): M.mssd(one, one, (1.0, 1.0))
    with pytest.raises(ValueError, match="spacing"): M.assd(one, one, (1.0, 0.0, 1.0))


# uncertainty and diagnosis

def test_bootstrap_covers_and_pairs():
    x = (torch.rand(400, generator=generator(0)) < 0.8).double()
    found = M.bootstrap(x)
    half = 1.96 * (x.mean() * (1 - x.mean()) / 400).sqrt().item()
    assert found.value == pytest.approx(x.mean().item())
    assert found.low == pytest.approx(found.value - half, abs=0.01)
    assert found.high == pytest.approx(found.value + half, abs=0.01)
    assert M.bootstrap(x, x) == (0, 0, 0) and M.bootstrap(x) == found
    for bad in ({"other": x[:3]}, {"confidence": 1.0}, {"draws": 0}):
        with pytest.raises(ValueError): M.bootstrap(x, **bad)


@pytest.mark.parametrize("dim", [8, 32, 128, 512])
def test_diagnosis_of_clouds(dim):
    z = cloud(1024, dim)
    assert M.diagnose(z).healthy
    assert M.diagnose(z * 1e-3 + 1).kind == "complete collapse"
    assert M.diagnose(z * (torch.arange(dim) < dim // 8)).kind == "dimensional collapse"
    assert M.diagnose(z, loss=5.99, chance=6.0, floor=1.0).kind == "not learning"
    assert M.diagnose(z.numpy(), loss=3.0, chance=6.0, floor=1.0).healthy
    assert M.diagnose(z * 1000).numbers["spread"] == pytest.approx(M.diagnose(z).numbers["spread"], rel=1e-4)


def test_diagnosis_names_the_likely_reason():
    equal, low = torch.ones(64, 8), cloud(256, 32) * (torch.arange(32) < 3)
    assert "does not repel" in M.diagnose(equal, loss=0.0, chance=2.0, floor=0.0).reason
    assert "near chance" in M.diagnose(equal, loss=4.8, chance=4.85, floor=1.0).reason
    assert "dead" in M.diagnose(torch.zeros(64, 8)).reason
    assert "augmentation too strong" in M.diagnose(turned(low), loss=5.8, chance=6.0, floor=1.0).reason
    assert "few classes" in M.diagnose(turned(low), loss=2.0, chance=6.0, floor=1.0).reason
    assert "29 coordinates never change" in M.diagnose(low).reason
    assert M.diagnose(equal, loss=math.nan).kind == M.diagnose(equal * math.inf).kind == "not finite"
    assert M.diagnose(equal, loss=2.0, chance=2.0, floor=2.0).kind == "complete collapse"
    assert M.diagnose(low, thresholds=M.Thresholds(rank_share=0.01, dead_share=1.0)).healthy
    assert str(M.diagnose(low)).startswith("dimensional collapse: 29 of 32 directions carry no variance")
    for bad in (torch.ones(1, 4), torch.ones(4), torch.ones(4, 3, 2)):
        with pytest.raises(ValueError, match="N ≥ 2"): M.diagnose(bad)


def turned(z, seed=7):
    "The rows in another basis, so that no coordinate stays constant."
    return z @ torch.linalg.qr(cloud(z.shape[1], z.shape[1], seed)).Q


def test_the_reason_holds_what_was_measured():
    z = turned(cloud(1000, 128) * (torch.arange(128) < 94))
    found = M.diagnose(z, loss=2.0, chance=6.0, floor=1.0)
    unit = torch.nn.functional.normalize(z.double())
    s = torch.linalg.svdvals(unit - unit.mean(0))
    assert found.collapsed and found.numbers["dead"] == (s < 1e-4 * s[0]).sum() == 34
    assert found.numbers["rank_me"] == pytest.approx(M.rank_me(unit).item(), rel=1e-4)
    assert found.numbers["effective_rank"] == pytest.approx(M.effective_rank(s).item(), rel=1e-4)
    assert found.numbers["coordinate_std"] == pytest.approx(M.coordinate_std(z).mean().item(), rel=1e-4)
    for text in ("34 of 128 directions", f"RankMe {M.rank_me(unit):.1f} of 128", "coordinate std 0.088",
                 "1/√128 = 0.088", "loss 2, 80% of the way from chance (6) to the best possible (1)"):
        assert text in found.evidence and text in found.reason
    assert "chance and floor are not known" in M.diagnose(z, loss=2.0).evidence
    assert "loss" not in M.diagnose(z).evidence
    nothing = M.diagnose(torch.ones(64, 4), loss=0.0, chance=2.0, floor=0.0)
    assert "coordinate std 0 (healthy" in nothing.evidence and "RankMe 1.0 of 4" in nothing.evidence
    assert "0% of the way" in M.diagnose(z[:, :8] * 1.0, loss=5.99, chance=6.0, floor=1.0).evidence


STEEP = 1 / torch.arange(1.0, 513)


@pytest.mark.parametrize("z", [
    cloud(512, 64), cloud(64, 128), cloud(129, 128), cloud(128, 128), cloud(2, 64), cloud(3, 2), cloud(500, 2),
    torch.nn.functional.normalize(cloud(400, 32)), cloud(400, 64).relu(), (cloud(400, 64) + 2).relu(),
    cloud(500, 128).relu() * (torch.arange(128) >= 8), cloud(400, 64).exp(), (2 * cloud(500, 10)).softmax(1),
    torch.nn.functional.layer_norm(cloud(400, 32), (32,)), torch.eye(10)[torch.arange(300) % 10],
    cloud(1200, 512) * STEEP, turned(cloud(1200, 512) * STEEP**1.25), cloud(600, 64) * STEEP[:64],
    turned(cloud(1200, 512) * STEEP).bfloat16(), cloud(512, 64).half(), cloud(512, 64).double().numpy(),
    cloud(300, 32) * 1e30, cloud(300, 32) * 1e-30, (99 * cloud(300, 64)).abs().to(torch.uint8),
])
def test_no_false_alarm(z):
    found = M.diagnose(z)
    assert found.healthy and not found.collapsed and found.numbers["rank_share"] < 1.001, str(found)


def some_dead(dead=34, kind=torch.float32, size=0.0, n=1000):
    return turned(cloud(n, 128) * torch.where(torch.arange(128) < 128 - dead, 1.0, size)).to(kind)


@pytest.mark.parametrize("z", [
    some_dead(), some_dead(size=1e-7), some_dead(size=1e-4), some_dead(size=1e-2), some_dead(14),
    some_dead(kind=torch.bfloat16), some_dead(kind=torch.bfloat16).float(), some_dead(kind=torch.float16),
    some_dead(kind=torch.float16).numpy(), some_dead(kind=torch.float64), some_dead(100, n=100),
    cloud(400, 128).relu() * (torch.arange(128) >= 40), cloud(300, 1) * cloud(1, 2), cloud(300, 1) * cloud(1, 32),
    cloud(300, 2) @ cloud(2, 32) + cloud(1, 32), cloud(400, 64) * STEEP[:64] ** 2, cloud(32, 64).repeat(8, 1),
])
def test_no_miss(z):
    assert M.diagnose(z).kind == "dimensional collapse", str(M.diagnose(z))


@pytest.mark.parametrize("z", [
    torch.ones(100, 32) * 3.3, torch.zeros(9, 4), torch.ones(2, 8), 1 + 1e-6 * cloud(100, 32), 1 + 0.1 * cloud(100, 32),
    (1 + 1e-3 * cloud(100, 32)).bfloat16(), np.full((9, 3), -2), (5 + 0.1 * cloud(100, 64)).relu(),
])
def test_all_alike_is_complete(z):
    assert M.diagnose(z).kind == "complete collapse", str(M.diagnose(z))


@pytest.mark.parametrize(("classes", "dim"), [(10, 64), (3, 16), (100, 128), (7, 512)])
@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_classes_in_points_are_named(classes, dim, noise):
    z = torch.eye(dim)[torch.arange(1000) % classes] + noise * cloud(1000, dim) / dim**0.5
    found = M.diagnose(turned(z))
    assert found.kind == "dimensional collapse" and f"gather in {classes} points" in found.reason
    assert found.numbers["dead"] == dim - (classes - 1)
    plane = M.diagnose(turned(cloud(1000, dim) * (torch.arange(dim) < classes - 1)))
    assert plane.collapsed and "points" not in plane.reason


def test_what_is_not_finite_is_counted():
    z = cloud(50, 8)
    z[3, 2], z[7] = math.nan, math.inf
    assert M.diagnose(z).kind == "not finite" and M.diagnose(z).reason.startswith("2 of 50 embeddings")
    assert "the loss is nan" in M.diagnose(None, loss=math.nan).reason


def test_without_an_embedding_the_loss_alone_is_judged():
    assert M.diagnose(None).kind == "not known" and "run.measure" in M.diagnose(None).reason
    stuck = M.diagnose(None, loss=6.2, chance=6.24, floor=1.0)
    assert stuck.kind == "not learning" and "untrained or a collapsed" in stuck.reason
    assert M.diagnose(None, loss=0.0, chance=2.0, floor=0.0).kind == "not known"     # content, which says nothing
    assert "chance and floor are not known" in M.diagnose(None, loss=3.0).reason
    assert not M.diagnose(None, loss=3.0).healthy


def test_few_rows_say_so():
    found = M.diagnose(cloud(64, 128))
    assert "63 directions that 64 samples can show" in found.reason and "Record more rows" in found.reason
