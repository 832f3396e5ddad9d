"""Why this pair? The table of every method against autograd and loops, and the view's Python side."""

import functools
import math

import numpy as np
import pytest
import torch
from torch import nn

from clnb.augment import affine_noise
from clnb.core import Picture
from clnb.data import ImageSet
from clnb.losses import hard_nt_xent, info_nce, nt_xent, pair_weights, sup_con
from clnb.methods.simclr import SimCLR, alignment_only
from clnb.run import History, Method, Pairs, Run, agreement, softmax_pairs, watch
from clnb.views.pairs import RANKINGS, Table, WhyPair, in_words, kinds, overall, ranked, waste, with_labels

EVIL = "<img src=x onerror=alert(1)></script>"


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def unit(z):
    return nn.functional.normalize(z, dim=1)


def force(loss, z):
    "−∂(sum of the anchors' losses)/∂(unit anchors), the candidates held fixed."
    anchors = z.clone().requires_grad_()
    return -torch.autograd.grad(loss(anchors).sum(), anchors)[0]


# ------------------------------------------------------------------------------------------------------------ numbers

@pytest.mark.parametrize("temperature", [0.05, 0.5, 3.0])
def test_pull_is_the_gradient_of_nt_xent(temperature):
    za, zb = normal(9, 5), normal(9, 5, seed=1)
    z, itself = unit(torch.cat([za, zb])), torch.eye(18, dtype=torch.bool)
    table = softmax_pairs(7 * z, z, itself.roll(9, 1), temperature, ~itself)      # lengths do not count

    def loss(anchors):
        logits = (anchors @ z.T / temperature).masked_fill(itself, -math.inf)
        return -logits.log_softmax(1)[itself.roll(9, 1)]

    assert torch.allclose(loss(z), nt_xent(za, zb, temperature, reduction="none"), atol=1e-12)
    assert torch.allclose(table["pull"] @ z, force(loss, z), atol=1e-10)
    for i, j in ((0, 3), (2, 11), (12, 3)):     # one candidate's part: the coefficient of its unit vector is the norm
        part = table["pull"][i, j] * z[j]
        assert part.norm() == pytest.approx(abs(float(table["pull"][i, j])), abs=1e-12)
    known = pair_weights(za, zb, temperature)
    assert torch.allclose(table["probability"], known.probability, atol=1e-12)
    assert torch.allclose(table["pull"], torch.where(table["positive"], known.weight, -known.weight), atol=1e-10)
    assert torch.allclose(table["probability"].sum(1), torch.ones(18, dtype=torch.float64))
    assert (table["pull"][table["positive"]] > 0).all() and table["similarity"].diagonal().isnan().all()


def test_pull_is_the_gradient_of_info_nce_and_sup_con():
    q, keys = unit(normal(6, 4)), unit(normal(11, 4, seed=2))
    positive = torch.eye(6, 11, dtype=torch.bool)
    compared = positive | (torch.arange(11) >= 6)                                  # its own key and the queue
    table = softmax_pairs(q, keys, positive, 0.2, compared)
    loss = lambda z: -(z @ keys.T / 0.2).masked_fill(~compared, -math.inf).log_softmax(1).diagonal()  # noqa: E731
    assert torch.allclose(table["pull"] @ keys, force(loss, q), atol=1e-10)
    assert loss(q).mean().item() == pytest.approx(info_nce(q, keys[:6], keys[6:], temperature=0.2).item())
    labels, itself = torch.tensor([0, 0, 0, 1, 1, 2]), torch.eye(6, dtype=torch.bool)
    same = (labels[:, None] == labels[None]) & ~itself
    table = softmax_pairs(q, q, same, 0.3, ~itself)

    def supervised(z):
        log_p = (z @ q.T / 0.3).masked_fill(itself, -math.inf).log_softmax(1).masked_fill(~same, 0)
        return -log_p.sum(1) / same.sum(1).clamp(min=1)

    assert torch.allclose(supervised(q), sup_con(q, labels, 0.3, reduction="none"), atol=1e-10)
    assert torch.allclose(table["pull"] @ q, force(supervised, q), atol=1e-10)
    assert (table["pull"][5] == 0).all()                                           # an anchor without a positive


def test_selection_weights_enter_the_softmax():
    z, c = unit(normal(4, 3)), unit(normal(7, 3, seed=1))
    weight, positive = normal(4, 7, seed=2).abs(), torch.eye(4, 7, dtype=torch.bool)
    weight[:, 6] = 0                                                               # left out
    table = softmax_pairs(z, c, positive, 0.4, weight=weight)
    loss = lambda a: -((a @ c.T / 0.4) + weight.log()).log_softmax(1).diagonal()  # noqa: E731
    assert torch.allclose(table["pull"] @ c, force(loss, z), atol=1e-10)
    assert (table["pull"][:, 6] == 0).all() and (table["probability"][:, 6] == 0).all()
    by_prototype = softmax_pairs(z, c, positive, torch.linspace(0.1, 0.9, 7))     # concentrations, one a prototype
    assert torch.allclose(by_prototype["probability"], ((z @ c.T) / torch.linspace(0.1, 0.9, 7)).softmax(1))


def test_agreement_knows_what_it_does_not_know():
    assert agreement(torch.tensor([0, 1, -1]), torch.tensor([0, -1])).tolist() == [[1, -1], [0, -1], [-1, -1]]


def test_shapes_must_agree():
    table = softmax_pairs(normal(2, 3), normal(4, 3), torch.eye(2, 4, dtype=torch.bool), 0.5)
    rows = {"anchors": torch.arange(2), "candidates": torch.arange(4)}
    Pairs(**table, **rows)
    with pytest.raises(ValueError, match="pull has the shape"): Pairs(**{**table, "pull": torch.zeros(2, 3)}, **rows)
    with pytest.raises(ValueError, match="4 anchors for a table"):
        Pairs(**table, **{**rows, "anchors": torch.arange(4)})


# ------------------------------------------------------------------------------------------------------------- SimCLR

def simclr(objective=nt_xent):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16))
    return SimCLR(encoder, nn.Linear(16, 8), affine_noise(1.0), temperature=0.3, objective=objective)


def small_set(n=30, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8, generator=generator)
    return ImageSet(images, torch.arange(n) % 3, ("a", EVIL, "c"))


def test_simclr_explains_its_own_loss():
    method, data = simclr(), small_set(10)
    found = method.pairs(data.images, data.labels, torch.Generator().manual_seed(3))
    again = method.pairs(data.images, data.labels, torch.Generator().manual_seed(3))
    assert method.training and torch.equal(found.pull, again.pull) and found.views.shape == (20, 1, 8, 8)
    method.eval()
    za, zb = method.projector(method.encoder(found.views)).detach().double().chunk(2)
    assert torch.allclose(-found.probability[found.positive].log(), nt_xent(za, zb, 0.3, reduction="none"), atol=1e-6)
    assert found.names[0] == "a0" and found.names[10] == "b0" and torch.equal(found.anchors, torch.arange(10).repeat(2))
    same = data.labels.repeat(2)
    assert torch.equal(found.agrees, (same[:, None] == same[None]).to(torch.int8)) and (found.weight == 1).all()
    assert found.similarity.isnan().sum() == 20 and method.pairs(data.images).agrees is None


def test_the_hard_variant_shows_its_selection():
    data = small_set(8)
    hard = functools.partial(hard_nt_xent, beta=1.5)
    found = simclr(hard).pairs(data.images, generator=torch.Generator().manual_seed(0))
    plain = simclr().pairs(data.images, generator=torch.Generator().manual_seed(0))
    negatives = ~found.positive & ~found.similarity.isnan()
    similarity = plain.similarity[0][negatives[0]]
    wanted = (1.5 * similarity / 0.3).softmax(0) * len(similarity)
    assert torch.allclose(found.weight[0][negatives[0]], wanted, atol=1e-9)
    assert found.weight[negatives].mean() == pytest.approx(1) and (found.weight[found.positive] == 1).all()
    soft = functools.partial(hard_nt_xent, beta=0.0)
    none = simclr(soft).pairs(data.images, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(none.pull, plain.pull, atol=1e-9) and torch.allclose(none.weight, plain.weight)
    assert simclr(alignment_only).pairs(data.images) is None and Method().pairs(data.images) is None


def test_watch_records_the_table_beside_the_pairs():
    data = small_set(40)
    run = watch(Run(simclr(), data, 6, batch_size=20, device="cpu", progress=False), data, every=3, pairs=5)
    run.start().join()
    assert run.history["why.table"].steps.tolist() == [0, 3, 6] == run.history["pairs"].steps.tolist()
    assert run.history["why.table"].frame(-1).shape == (6, 10, 10) and len(run.history["why.views"]) == 1
    blind = watch(Run(simclr(alignment_only), data, 2, batch_size=20, device="cpu", progress=False), data, every=1)
    blind.start().join()
    assert not [name for name in blind.history.names() if name.startswith("why")]


def test_watching_the_pairs_does_not_change_the_run():
    data, losses = small_set(40), []
    for every in (2, 100):
        run = watch(Run(simclr(), data, 6, batch_size=20, device="cpu", progress=False), data, every=every, pairs=5)
        run.start().join()
        losses.append(run.history["loss"].values.tolist())
    assert losses[0] == losses[1]


# -------------------------------------------------------------------------------------------------------------- table

def random_table(anchors=7, candidates=12, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.random((6, anchors, candidates))
    values[4] = rng.random((anchors, candidates)) < 0.3
    values[3] *= np.where(values[4] > 0, 1, -1)
    values[5] = rng.integers(-1, 2, (anchors, candidates))
    values[0][rng.random((anchors, candidates)) < 0.1] = np.nan
    return Table(values.astype(np.float32), np.arange(anchors), np.arange(candidates))


@pytest.mark.parametrize("seed", range(5))
def test_waste_is_what_a_loop_finds(seed):
    table, push, pull = random_table(seed=seed), waste(random_table(seed=seed)), waste(random_table(seed=seed), True)
    all_wrong = all_push = all_false = all_known = 0.0
    for i in range(7):
        for found, positives in ((push, False), (pull, True)):
            cells = [j for j in range(12) if not np.isnan(table.similarity[i, j])
                     and (table.positive[i, j] > 0) == positives]
            known = [j for j in cells if table.agrees[i, j] >= 0]
            wrong = [j for j in known if table.agrees[i, j] == (0 if positives else 1)]
            total, lost = (sum(abs(float(table.pull[i, j])) for j in part) for part in (known, wrong))
            assert (found.count[i], found.known[i], found.wrong[i]) == (len(cells), len(known), len(wrong))
            assert found.share[i] == pytest.approx(lost / total if total else math.nan, nan_ok=True, rel=1e-6)
            if not positives:
                all_wrong, all_push = all_wrong + lost, all_push + total
                all_false, all_known = all_false + len(wrong), all_known + len(known)
    assert overall(table) == pytest.approx((all_false / all_known, all_wrong / all_push), rel=1e-6)


@pytest.mark.parametrize("by", RANKINGS)
def test_ranking_is_by_the_quantity_and_leaves_out_what_is_not_compared(by):
    table = random_table(3, 40)
    for anchor in range(3):
        positives, negatives = ranked(table, anchor, by)
        there = np.flatnonzero(~np.isnan(table.similarity[anchor]))
        assert sorted([*positives, *negatives]) == there.tolist()
        assert (table.positive[anchor, positives] > 0).all() and (table.positive[anchor, negatives] == 0).all()
        for columns in (positives, negatives):
            if by == "disagreement":
                wrong = np.char.startswith(kinds(table, anchor)[columns].astype(str), "false")
                assert not np.any(np.diff(wrong.astype(int)) > 0)
            else:
                values = np.abs(getattr(table, by)[anchor, columns])
                assert np.all(np.diff(values) <= 0)


def test_the_sentence_counts():
    table = random_table(1, 5)
    table.values[0], table.values[4, 0] = 0.5, [1, 0, 0, 0, 0]
    table.values[3, 0], table.values[5, 0] = [2, -1, -1, -1, -1], [1, 1, 0, 0, 0]
    assert in_words(table, 0, "a0") == ("a0: 1 positive, 4 negatives; 1 of the negatives (25 %) of its own class, "
                                        "with 25 % of the push.")
    table.values[5, 0] = [0, 0, 0, 0, 0]
    assert in_words(table, 0) == ("This anchor: 1 positive, 4 negatives; no negative of its own class; "
                                  "1 positive of another class, with 100 % of the pull.")
    table.values[5] = -1
    assert "without labels nobody knows" in in_words(table, 0) and overall(table) is None
    known = with_labels(table, np.array([0, 0, 1, -1, 0]))
    assert known.agrees.tolist() == [[1, 1, 0, -1, 1]] and kinds(known, 0)[1] == "false negative"


# --------------------------------------------------------------------------------------------------------------- view

def test_every_source_gives_a_view(tmp_path):
    method, data = simclr(), small_set(40)
    found = method.pairs(data.images[:6], data.labels[:6], torch.Generator().manual_seed(0))
    run = watch(Run(method, data, 4, batch_size=20, device="cpu", progress=False), data, every=2, pairs=6)
    waiting = WhyPair(run.history, data)
    assert "waiting for 'why'" in waiting.frame["note"] and isinstance(waiting.static(), Picture) and waiting.page()
    run.start().join()
    for source, steps in ((found, []), (run.history, [0, 2, 4]), (run, [0, 2, 4]), (method, [])):
        view = WhyPair(source, data)
        assert "error" not in view.frame and view.steps == steps, view.frame.get("error")
        assert isinstance(view.static(), Picture) and EVIL not in view.save(tmp_path / "p.html").read_text("utf-8")
        view.close()
    assert WhyPair(run).frame["anchors"]["names"][:2] == ["a0", "a1"]           # without images: the recorded views
    assert [k for k in range(2) if WhyPair(run).table(0).values.tolist() != WhyPair(run).table(-1).values.tolist()]


def test_a_method_is_asked_about_the_row_that_is_selected():
    method, data = simclr(), small_set(40)
    view = WhyPair(method, data, count=8)
    assert view.table(-1).anchors.tolist() == [*range(8), *range(8)] and not view.frame["scope"]
    view.selection.set([30, 35])
    assert view.table(-1).anchors[0] == 0                                         # not in the callback
    view.follow()
    assert view.table(-1).anchors.tolist() == [30, *range(7)] * 2 and method.training
    assert view.frame["anchors"]["names"][0] == "a0 (row 30)" and view.frame["album"] == 1
    assert np.frombuffer(view.frame["anchors"]["labels"]["bytes"], np.int32)[0] == data.labels[30]
    view.selection.set([3, 30])                                                  # among the anchors: nothing to ask
    number = view.frame["album"]
    view.follow()
    assert view.frame["album"] == number


def test_pictures_are_the_views_or_the_images():
    method, data = simclr(), small_set(40)
    found = method.pairs(data.images[:6], None, torch.Generator().manual_seed(0))
    view = WhyPair(found, data)
    pictures = view.answer({"ask": "images", "rows": [0, 7, 12 + 7]})["images"]
    tiles = np.frombuffer(pictures["bytes"], np.uint8).reshape(pictures["shape"])
    seen = (found.views.clamp(0, 1) * 255).round().byte().numpy()
    assert np.array_equal(tiles, seen[[0, 7, 7]]) and view.table(-1).agrees[0, 3] == 1     # labels from the data set
    rows = torch.tensor([3, 9, 20, -1])
    table = softmax_pairs(normal(4, 5), normal(4, 5, seed=1), torch.eye(4, dtype=torch.bool), 0.5)
    bare = WhyPair(Pairs(**table, anchors=rows, candidates=rows, names=("x", EVIL, "z", "prototype")), data)
    assert np.frombuffer(bare.frame["candidates"]["tiles"]["bytes"], np.int32).tolist() == [3, 9, 20, -1]
    assert bare.frame["candidates"]["names"] == ["x (row 3)", f"{EVIL} (row 9)", "z (row 20)", "prototype"]
    assert bare.frame["anchors"]["names"] == ["row 3", "row 9", "row 20", "no image 3"]
    tiles = np.frombuffer(bare.answer({"ask": "images", "rows": [20]})["images"]["bytes"], np.uint8)
    assert np.array_equal(tiles, data.images[20].numpy().ravel()) and isinstance(bare.static(), Picture)


def test_a_table_that_is_too_wide_is_cut_to_its_first_anchors():
    n = 700
    values = np.zeros((6, n, n), np.float32)
    history = History()
    for step in range(4):
        history.record(step, **{"why.table": values, "why.anchors": np.arange(n), "why.candidates": np.arange(n)})
    view = WhyPair(history)
    assert view.frame["table"]["shape"] == [6, 250_000 // n, n]
    assert len(view.frame["anchors"]["names"]) == 250_000 // n and len(view.kept(60)) == 4


@pytest.mark.parametrize(("make", "says"), [
    (lambda: WhyPair(3.0), "expected a Pairs"), (lambda: WhyPair(Method(), small_set()), "returned None"),
    (lambda: WhyPair(simclr()), "needs images"), (lambda: WhyPair(simclr(), small_set(), by="x"), "cannot rank")])
def test_what_cannot_be_explained_is_named(make, says):
    with pytest.raises((TypeError, ValueError), match=says): make()
