"""Clusters against classes, components in a plane: numbers against scikit-learn, moves, planes, the Python side."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score, mutual_info_score, normalized_mutual_info_score

from clnb import metrics
from clnb.core import Picture, generator
from clnb.data import ImageSet
from clnb.mixtures import Mixture, gaussian_mixture, select_components
from clnb.run import History
from clnb.views.base import Board, Selection
from clnb.views.mixtures import (
    SPLITS,
    ClusterTable,
    MixtureMap,
    agreement,
    bic_picture,
    by_class,
    contingency,
    ends_of,
    halves_of,
    in_words,
    plane_of,
    regrouped,
)


def clouds(n=120, k=3, d=5, apart=4.0, seed=0):
    rng = generator(seed)
    label = torch.arange(n) % k
    return apart * torch.randn(k, d, generator=rng)[label] + torch.randn(n, d, generator=rng), label


X, LABEL = clouds()
THREE = gaussian_mixture(X, 3, restarts=3)
IMAGES = torch.randint(0, 256, (120, 1, 8, 8), dtype=torch.uint8, generator=generator(0))


# ------------------------------------------------------------------------------------------------------------ numbers

@pytest.mark.parametrize("seed", range(5))
def test_agreement_is_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 2 + seed, 200), rng.integers(0, 7 - seed, 200)
    found = agreement(contingency(a, b))
    assert found.nmi == pytest.approx(normalized_mutual_info_score(b, a))
    assert found.ari == pytest.approx(adjusted_rand_score(b, a))
    assert found.shared == pytest.approx(mutual_info_score(b, a))
    assert found.nmi == pytest.approx(metrics.nmi(torch.from_numpy(a), torch.from_numpy(b)).item())
    assert found.ari == pytest.approx(metrics.ari(torch.from_numpy(a), torch.from_numpy(b)).item())
    assert found.purity == pytest.approx(sum(np.bincount(b[a == k]).max() for k in np.unique(a)) / 200)


def test_agreement_at_its_ends():
    known = contingency(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]))
    assert agreement(known).nmi == pytest.approx(0.343711, abs=1e-6)
    y = np.array([0, 1, 2, 2])
    assert agreement(contingency(y, y))[:3] == pytest.approx((1, 1, 1))
    assert agreement(contingency(np.array([7, 3, 0, 0]), y))[:2] == pytest.approx((1, 1))        # other names
    assert agreement(contingency(np.zeros(4, int), y))[:2] == (0, 0)
    assert agreement(contingency(np.zeros(4, int), np.zeros(4, int)))[:2] == (1, 1)
    assert all(math.isnan(v) for v in agreement(contingency(np.array([-1, 0]), np.array([0, -1]))))
    assert "no row has a cluster and a class" in in_words(np.zeros((2, 0)))


def test_contingency_leaves_the_unknown_out():
    assert contingency(np.array([0, 2, -1, 2]), np.array([1, 1, 1, -1])).tolist() == [[0, 1], [0, 0], [0, 1]]
    assert contingency(np.zeros(0, int), np.zeros(0, int)).shape == (0, 0)


# -------------------------------------------------------------------------------------------------------------- moves

C = np.array([0, 0, 1, 1, 2, 2, 2, 2, -1])
Y = np.array([0, 1, 1, 1, 0, 0, 2, -1, 0])


def merge(*groups): return {"do": "merge", "groups": list(groups)}


def split(group, by="coin"): return {"do": "split", "group": group, "by": by}


def test_merging():
    found = regrouped(C, [merge(2, 0)])
    assert found.group.tolist() == [0, 0, 1, 1, 0, 0, 0, 0, -1] and found.names == {0: "0+2", 1: "1"}
    assert regrouped(C, [merge(0, 2), merge(0, 1)]).names == {0: "0+2+1"}
    for nothing in (merge(1), merge(1, 1), merge(1, 9), merge()):
        assert regrouped(C, [nothing]).done == 0 and (regrouped(C, [nothing]).group == C).all()
    assert regrouped(C, [merge(0, 2)]).numbered().tolist() == [0, 0, 1, 1, 0, 0, 0, 0, -1]


def test_splitting():
    found = regrouped(C, [split(2, "largest class")], Y)
    assert found.group.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, -1] and found.names == {0: "0", 1: "1", 2: "2a", 3: "2b"}
    halves = np.array([0, 0, 0, 0, 1, 0, 1, 0, 0])
    assert regrouped(C, [split(2, "rows")], Y, halves).group.tolist() == [0, 0, 1, 1, 3, 2, 3, 2, -1]
    for nothing in (split(1, "largest class"), split(1, "rows"), split(9), split(0, "rows")):
        assert regrouped(C, [nothing], Y, halves).done == 0
    assert regrouped(C, [split(0, "largest class")]).done == regrouped(C, [split(0, "rows")]).done == 0
    assert regrouped(C, [split(2, "largest class")], np.full(9, -1)).done == 0


def test_merged_ones_fall_apart_again():
    again = regrouped(C, [merge(0, 1, 2), split(0)])
    assert again.names == {0: "0", 3: "1", 4: "2"}
    assert (again.numbered() == C).all()
    cut = regrouped(C, [split(2, "largest class"), merge(0, 3), split(0)], Y)
    assert cut.names == {0: "0", 1: "1", 2: "2a", 4: "2′"} and cut.group[6] == cut.group[7] == 4


def test_a_coin_is_fair_and_the_same_every_time():
    many = np.zeros(4000, int)
    one = regrouped(many, [split(0)]).group
    assert abs((one == 1).mean() - 0.5) < 0.03 and (one == regrouped(many, [split(0)]).group).all()
    twice = regrouped(many, [split(0), split(0)]).group
    assert abs((twice == 2).mean() - 0.25) < 0.03                                       # another throw


def test_what_moves_do_to_the_numbers():
    "Merging halves of a class helps; a coin, and merging two classes, harm; purity grows by any split."
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 100)
    cut = np.where(y == 3, 3 + rng.integers(0, 2, 400), y)
    def of(moves): return agreement(contingency(regrouped(cut, moves, y).numbered(), y))
    now = of([])
    assert of([merge(3, 4)]).nmi == 1 > now.nmi > of([merge(0, 1)]).nmi
    assert of([split(0)]).nmi < now.nmi and of([split(0)]).ari < now.ari and of([split(0)]).purity >= now.purity
    mixed = [merge(0, 1), split(0, "largest class")]
    assert of([merge(0, 1), split(0)]).nmi == now.nmi == of(mixed).nmi                  # it falls into its parts


def test_halves_are_two_means():
    x, _ = clouds(90, 2, 4, apart=8)
    halves = halves_of(x, np.zeros(90, int))
    assert metrics.nmi(torch.from_numpy(halves.astype(int)), torch.arange(90) % 2) == 1
    assert halves_of(torch.ones(5, 3), np.array([0, 0, 1, 1, -1])).tolist() == [0] * 5
    assert halves_of(torch.randn(3, 2), np.array([0, 1, 2])).tolist() == [0] * 3


def test_orders():
    assert by_class(np.array([[0, 5], [4, 1], [5, 0], [0, 0]])).tolist() == [2, 1, 0, 3]
    assert by_class(np.zeros((2, 0))).tolist() == [0, 1]
    rows, scores = np.array([1, 3, 5, 7, 9]), np.array([0, 9, 0, 1, 0, 5, 0, np.nan, 0, 3.0])
    assert ends_of(rows, scores, 2) == [(0, 1), (1, 5), (4, 7), (3, 3)]
    assert ends_of(rows[:1], scores, 2) == [(0, 1)] and ends_of(rows, None, 2)[0] == (0, 1)


# -------------------------------------------------------------------------------------------------------------- plane

def test_a_plane_is_the_principal_one():
    x, _ = clouds(200, 3, 6)
    plane = plane_of(x.numpy())
    u, s, _ = np.linalg.svd((x - x.mean(0)).numpy().astype(float), full_matrices=False)
    assert np.allclose(np.abs(plane.points(x.numpy())), np.abs(u[:, :2] * s[:2]), atol=1e-6)
    assert plane.share == pytest.approx((s[:2] ** 2).sum() / (s**2).sum())
    two = clouds(20, 2, 2)[0]
    assert np.allclose(plane_of(two.numpy()).points(two.numpy()), two.numpy())
    one = plane_of(two.numpy()[:, :1])
    assert np.allclose(one.points(two.numpy()[:, :1])[:, 1], 0) and one.share == 1


def test_components_turn_with_the_points():
    "Projected covariances are those of the projected rows, whatever the plane was turned to."
    x = clouds(200, 3, 6)[0].double().numpy()
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    plane = plane_of(x, plane_of(x).points(x) @ turn)
    seen = plane.points(x)
    assert np.allclose(seen, plane_of(x).points(x) @ turn)
    assert np.allclose(np.cov(seen.T), plane.covariances(np.cov(x.T)[None])[0])


# ---------------------------------------------------------------------------------------------------------------- map

def array(part):
    return np.frombuffer(part["bytes"], part["dtype"]).reshape(part["shape"])


def test_the_map_sends_what_the_mixture_says():
    view = MixtureMap(X, THREE, LABEL, columns={"odd": LABEL % 2, "size": X.norm(dim=1)})
    frame = view.picture(-1)
    fit = frame["fits"][0]
    assert (array(fit["clusters"]) == THREE.assign(X).numpy()).all()
    assert np.allclose(array(fit["score"]), -THREE.log_prob(X).numpy(), atol=1e-3)
    assert np.allclose(array(fit["entropy"]), THREE.entropy(X).numpy(), atol=1e-4)
    assert np.allclose(array(fit["sure"]), THREE.responsibilities(X).max(1).values.numpy(), atol=1e-4)
    plane = plane_of(X.numpy())
    assert np.allclose(array(frame["points"]), plane.points(X.numpy()), atol=1e-4)
    assert np.allclose(array(fit["means"]), plane.points(THREE.means.numpy()), atol=1e-4)
    assert fit["bic"] == THREE.bic and fit["kind"] == "full"
    assert view.options["colours"] == ["class", "odd", "size", "cluster", "−log p", "undecided"]
    found = view.words("mixture", view.shown(-1)[2]["mixture"])
    assert f"with class NMI {metrics.nmi(THREE.assign(X), LABEL):.3f}" in found and "with odd NMI" in found


def test_what_can_be_fitted():
    several = MixtureMap(X, {"a": {"covariance": "diag", "components": 2}, "b": THREE,
                             "c": lambda x: gaussian_mixture(x, 4, restarts=1)}, LABEL)
    fits = several.shown(-1)[2]
    assert [len(f.means) for f in fits.values()] == [2, 3, 4] and several.options["fits"] == ["a", "b", "c"]
    assert fits["a"].mixture.kind == "diag"
    assert len(MixtureMap(X, labels=LABEL).shown(-1)[2]["mixture"].means) == 3
    assert len(MixtureMap(X, components=5).shown(-1)[2]["mixture"].means) == 5
    one = MixtureMap(X, {"covariance": "tied", "restarts": 2}, LABEL)
    assert one.options["fits"] == ["mixture"] and one.shown(-1)[2]["mixture"].mixture.kind == "tied"


def test_a_map_follows_a_history():
    history = History()
    view = MixtureMap(history, labels=LABEL)
    assert "waiting for 'embedding'" in view.picture(-1)["note"]
    for step in (0, 10, 20):
        history.record(step, embedding=X * (1 + step) @ torch.linalg.qr(
            torch.randn(5, 5, generator=generator(step))).Q)
    assert list(view.recorded()) == [0, 10, 20]
    points = [array(view.picture(k)["points"]) for k in (0, 1, 2)]
    for before, after in itertools.pairwise(points):                         # turned to lie alike
        cosine = (before * after).sum() / np.linalg.norm(before) / np.linalg.norm(after)
        assert cosine > 0.999
    fitted = dict(view._fitted)
    view.picture(1)
    assert view._fitted[10, "mixture"] is fitted[10, "mixture"]                         # fitted once
    fixed = MixtureMap(history, THREE, LABEL)
    assert len(fixed.shown(0)[2]["mixture"].means) == 3
    view.seek(10)
    view.refresh()
    assert view.frame["step"] == 10
    history.record(30, embedding=X[:7])
    view.seek()
    view.refresh()
    assert "rows must be [120, D]" in view.frame["error"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64])
def test_rows_of_any_type(dtype):
    view = MixtureMap((X * 10).to(dtype), components=3)
    assert "error" not in view.frame and array(view.frame["points"]).shape == (120, 2)


def test_a_map_of_few_dimensions_and_equal_rows():
    for x in (X[:, :1], X[:, :2], torch.ones(6, 3), X[:2]):
        view = MixtureMap(x, components=2)
        assert "error" not in view.frame
        view.static().savefig("/dev/null", format="png")


def test_faults_of_the_map():
    for given, options, text in ((X[0], {}, r"rows must be \[n, D\], got \[5\]"),
                                 (X, {}, "how many components"),
                                 (X, {"labels": LABEL[:5]}, "120 rows, got 5"),
                                 (X, {"mixture": THREE, "colour": "soil"}, "cannot colour by 'soil'"),
                                 (X, {"mixture": THREE, "columns": {"soil": [1, 2]}}, "soil must have one entry"),
                                 (X, {"mixture": THREE, "radius": 0}, "radius must lie"),
                                 (X, {"mixture": 3.0}, "expected a Mixture"),
                                 (X, {"mixture": {}}, "the dict is empty"),
                                 (X.index_fill(0, torch.tensor([4]), math.nan), {"mixture": THREE}, "row 4 is not")):
        with pytest.raises(ValueError, match=text): MixtureMap(given, **options)
    with pytest.raises(TypeError): MixtureMap(X, {"covariance": "full"}, LABEL, nonsense=1)
    assert "rows must be" in MixtureMap(X[:, :3], THREE).frame["error"]                 # said in its place


# -------------------------------------------------------------------------------------------------------------- table

def test_the_table_counts():
    view = ClusterTable.of(THREE, X, LABEL, IMAGES, ("a", "b", "c"))
    assert view.table().tolist() == contingency(THREE.assign(X).numpy(), LABEL.numpy()).tolist()
    assert view.options["splits"] == list(SPLITS) and (view.clusters == THREE.assign(X).numpy()).all()
    view.moves = [merge(0, 1)]
    assert view.clusters.max() == 1 and view.table().shape == (2, 3)
    assert in_words(view.table()).startswith("2 clusters, 3 classes: NMI 0.")
    bare = ClusterTable(THREE.assign(X), LABEL)
    assert bare.options["splits"] == ["largest class", "coin"] and bare.picture(-1)["scores"] is None
    assert ClusterTable(np.array([0, 1, 0])).options["splits"] == ["coin"]


def test_a_table_follows_a_history():
    history = History()
    view = ClusterTable(history, LABEL, name="own")
    assert "waiting for 'own'" in view.picture(-1)["note"]
    history.record(0, own=torch.zeros(120, dtype=torch.int64))
    history.record(5, own=LABEL, **{"own.log_prob": torch.arange(120.0)})
    assert agreement(view.table(0)).nmi == 0 and agreement(view.table(1)).nmi == 1
    assert array(view.picture(1)["scores"])[7] == 7
    history.record(9, own=LABEL[:4])
    view.refresh()
    assert "one for each of 120 rows" in view.frame["error"]


def test_faults_of_the_table():
    own = THREE.assign(X)
    for given, options, text in ((X, {}, "whole numbers from 0"), (own.float(), {}, "float32"),
                                 (own - 5, {}, "smallest -5"),
                                 (own, {"labels": LABEL[:3]}, "labels must have one entry"),
                                 (own, {"images": IMAGES[:9]}, "one entry for each of the 120 rows, got 9"),
                                 (own, {"log_prob": torch.zeros(2)}, "log_prob must have"),
                                 (own, {"features": X[:4]}, "features must have")):
        with pytest.raises(ValueError, match=text): ClusterTable(given, **options)


def test_images_in_a_page():
    "Few rows: all of them. Many: the most and the least typical of every cluster and class, within the limit."
    view = ClusterTable.of(THREE, X, LABEL, IMAGES)
    assert len(view.pictured()) == 120
    view.most = 30
    rows = view.pictured()
    assert 9 <= len(rows) <= 30 and (np.diff(rows) > 0).all()
    score = THREE.log_prob(X).numpy()
    for k in range(3):
        mine = np.flatnonzero(view.clusters == k)
        assert {mine[score[mine].argmax()], mine[score[mine].argmin()]} <= set(rows.tolist())
    assert view.answer({"ask": "images", "rows": [3, 5]})["images"]["shape"] == [2, 1, 8, 8]
    with pytest.raises(ValueError, match="cannot answer"): ClusterTable(LABEL).answer({"ask": "images", "rows": [0]})


# ---------------------------------------------------------------------------------------------------------------- page

def test_stills_and_pages():
    data = ImageSet(IMAGES, LABEL, ("a$", "b", "c"))
    history = History()
    history.record(0, embedding=X)
    for view in (ClusterTable.of(THREE, X, images=data), ClusterTable(np.arange(120)), ClusterTable(LABEL, LABEL),
                 ClusterTable(History()), MixtureMap(X, THREE, images=data), MixtureMap(X, components=2),
                 MixtureMap(history, labels=LABEL), MixtureMap(History(), components=2),
                 MixtureMap(X, THREE, images=data, colour="−log p"), MixtureMap(X, THREE, LABEL, colour="cluster")):
        assert isinstance(view.static(), Picture)
        view.static().savefig("/dev/null", format="png")
        assert "class MapView" in view.page()


def test_beside_other_views():
    selection = Selection()
    board = Board([MixtureMap(X, THREE, LABEL), ClusterTable.of(THREE, X, LABEL)], selection)
    selection.set([4, 9])
    assert all(np.frombuffer(view.selected, "<u4").tolist() == [4, 9] for view in board.views)
    assert isinstance(board.static(), Picture)


def test_bic_picture():
    tried = select_components(X, range(2, 5), restarts=2)
    assert "3" in bic_picture(tried).axes[0].get_title()
    with pytest.raises(ValueError, match="nothing was tried"): bic_picture({})


def test_a_mixture_without_rows_has_no_bic():
    made = Mixture(torch.ones(1), X.mean(0, keepdim=True), torch.cov(X.T)[None])
    assert MixtureMap(X, made).frame["fits"][0]["bic"] is None
