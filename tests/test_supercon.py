"SuperCon: the analytic cases T1-T10, per-class losses, focal loss, both stages, rivals, splits that leak; faults."

import math

import pytest
import torch
import torch.nn.functional as F

from clnb import nets
from clnb.augment import Compose, HorizontalFlip, Noise, RandomResizedCrop, identity
from clnb.core import generator, rebuild, recipe, seeded
from clnb.data import ImageSet, make_lesions
from clnb.losses import nt_xent, sup_con
from clnb.methods import supercon as C
from clnb.metrics import auroc, balanced_accuracy, f1
from clnb.run import Run, looking


def rows(n=24, d=6, seed=0):
    return torch.randn(n, d, generator=generator(seed), dtype=torch.float64)


def tiny(counts=(40, 8), size=16, seed=0):
    "Pictures whose brightness tells the class."
    labels = torch.cat([torch.full((n,), k) for k, n in enumerate(counts)])
    noise = torch.rand(len(labels), 3, size, size, generator=generator(seed))
    images = (255 * (0.3 * noise + 0.5 * labels[:, None, None, None] / max(1, len(counts) - 1))).to(torch.uint8)
    return ImageSet(images, labels, [f"class {k}" for k in range(len(counts))])


def stage_one(data=None, seed=0, **options):
    with seeded(seed):
        encoder = nets.small_convnet(width=4)
        return C.SuperCon(encoder, nets.projection_head(16, 16, 8), Compose([HorizontalFlip(), Noise(0.05)]), **options)


def trained(method, data, steps=6, batch=16, seed=0, **options):
    run = Run(method, data, steps, batch, seed, device="cpu", progress=False, **options)
    for _ in run: pass
    return run


# T1 … T5, T9, T10: the loss

@pytest.mark.parametrize(("z", "labels", "temperature", "value"), [
    ([[1, 0], [1, 0], [-1, 0], [-1, 0]], [0, 0, 1, 1], 1.0, math.log(1 + 2 * math.exp(-2))),            # T1
    ([[1, 0], [1, 0], [-1, 0], [-1, 0]], [0, 1, 0, 1], 1.0, 2 + math.log(1 + 2 * math.exp(-2))),        # T2
    ([[0.6, 0.8]] * 10, [0, 0, 1, 1, 1, 2, 2, 2, 2, 2], 0.07, math.log(9)),                             # T3
    ([[0.6, 0.8]] * 10, [0] * 10, 3.0, math.log(9)),
    (torch.eye(4).tolist(), [0, 0, 1, 1], 0.1, math.log(3)),                                            # T4
    ([[1, 0], [1, 0], [1, 0], [0, 1]], [0, 0, 0, 1], 1.0, math.log(2 * math.e + 1) - 1),                # T5
])
def test_analytic_values_of_the_loss(z, labels, temperature, value):
    loss = sup_con(torch.tensor(z, dtype=torch.float64), torch.tensor(labels), temperature)
    assert loss.item() == pytest.approx(value, abs=1e-9)


def test_t9_invariances():
    z, labels = rows(), torch.arange(24) % 3
    loss = sup_con(z, labels, 0.2)
    order = torch.randperm(24, generator=generator(1))
    turn = torch.linalg.qr(rows(6, 6, 2)).Q
    assert torch.allclose(loss, sup_con(z[order], labels[order], 0.2))
    assert torch.allclose(loss, sup_con(z @ turn, labels, 0.2))
    assert torch.allclose(loss, sup_con(z, (labels + 1) % 3, 0.2))
    za, zb = rows(8, 6, 3), rows(8, 6, 4)
    assert torch.allclose(sup_con(torch.cat([za, zb]), torch.arange(8).repeat(2), 0.5), nt_xent(za, zb, 0.5))


def test_t10_gradient_is_orthogonal_to_the_embedding():
    z = rows().requires_grad_()
    sup_con(z, torch.arange(24) % 4, 0.1).backward()
    assert (z.grad * z).sum(1).abs().max() < 1e-12 and z.grad.abs().max() > 1e-4


# T6 … T8

def test_t6_focal_loss_by_hand():
    zero, one = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([1])
    assert C.focal_loss(zero, one, gamma=0).item() == pytest.approx(math.log(2))
    assert C.focal_loss(zero, one, (0.25, 0.75), 2).item() == pytest.approx(0.129965, abs=1e-6)
    assert C.focal_loss(zero, one, 0.25, 5).item() == pytest.approx(0.016246, abs=1e-6)
    assert C.focal_loss(zero, one * 0, 0.25, 2).item() == pytest.approx(0.25 * 0.25 * math.log(2), abs=1e-9)


def test_t7_area_and_t8_f1():
    scores, target = torch.tensor([2.0, 0.0, 1.0, 0.0]), torch.tensor([1, 1, 0, 0])
    assert auroc(scores[:2], scores[2:]) == 0.625
    hard = (scores > 0.5).long()
    assert auroc(hard[:2].double(), hard[2:].double()) == 0.5 == balanced_accuracy(hard, target)
    assert f1(torch.tensor([[9, 1], [2, 3]]))[1].item() == pytest.approx(6 / 9)


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, (0.2, 0.3, 0.5)])
def test_focal_loss_against_plain_terms(gamma, alpha):
    logits, labels = rows(20, 3) * 3, torch.arange(20) % 3
    p = logits.softmax(1)[torch.arange(20), labels]
    weight = torch.ones(3) if alpha is None else torch.tensor(alpha)
    by_hand = -(weight.double()[labels] * (1 - p) ** gamma * p.log())
    assert torch.allclose(C.focal_loss(logits, labels, alpha, gamma, reduction="none"), by_hand)
    assert torch.allclose(C.focal_loss(logits, labels, alpha, gamma), by_hand.mean())


def test_detached_modulator_keeps_the_value_and_changes_the_gradient():
    labels = torch.arange(12) % 2
    whole, detached = (rows(12, 2).requires_grad_() for _ in range(2))
    a = C.focal_loss(whole, labels, (0.25, 0.75), 5.0)
    b = C.focal_loss(detached, labels, (0.25, 0.75), 5.0, detach_modulator=True)
    a.backward(), b.backward()
    assert torch.allclose(a, b) and not torch.allclose(whole.grad, detached.grad)
    p = detached.detach().softmax(1)
    weight = torch.tensor([0.25, 0.75]).double()[labels] * (1 - p[torch.arange(12), labels]) ** 5
    by_hand = weight[:, None] * (p - F.one_hot(labels, 2)) / 12         # of a weighted cross entropy
    assert torch.allclose(detached.grad, by_hand)


def test_focal_loss_is_finite_for_sure_answers_and_skips_unlabelled_rows():
    sure = torch.tensor([[60.0, -60.0], [-60.0, 60.0]]).requires_grad_()
    for gamma in (0.0, 0.5, 2.0):
        loss = C.focal_loss(sure, torch.tensor([0, 0]), gamma=gamma)
        (grad,) = torch.autograd.grad(loss, sure)
        assert loss.isfinite() and grad.isfinite().all()
    logits = rows(6, 2)
    known = torch.tensor([0, 1, -1, 0, -1, 1])
    assert torch.allclose(C.focal_loss(logits, known), C.focal_loss(logits[known >= 0], known[known >= 0]))
    assert C.focal_loss(logits, torch.full((6,), -1)) == 0


@pytest.mark.parametrize(("wrong", "text"), [({"gamma": -1.0}, "negative"), ({"alpha": (0.1, 0.2, 0.3)}, "2 classes"),
                                             ({"reduction": "sum"}, "one of")])
def test_faults_of_the_focal_loss(wrong, text):
    with pytest.raises(ValueError, match=text): C.focal_loss(torch.zeros(2, 2), torch.tensor([0, 1]), **wrong)


def test_losses_of_classification_against_torch():
    logits, labels, counts = rows(30, 3), torch.arange(30) % 3, torch.tensor([100.0, 20.0, 4.0])
    assert torch.allclose(C.classification_loss(logits, labels, "ce"), F.cross_entropy(logits, labels))
    weighted = F.cross_entropy(logits, labels, weight=1 / counts.double())
    assert torch.allclose(C.classification_loss(logits, labels, "weighted", counts), weighted)
    adjusted = F.cross_entropy(logits + (counts / counts.sum()).log().double(), labels)
    assert torch.allclose(C.classification_loss(logits, labels, "logit", counts), adjusted)
    with pytest.raises(ValueError, match="counts"): C.classification_loss(logits, labels, "logit")


# classes and their floors

def test_per_class_loss_against_loops():
    z, labels = rows(20), torch.tensor([0] * 12 + [1] * 5 + [2] + [-1] * 2)
    found = C.per_class_loss(z, labels, 0.3, classes=4)
    unit = F.normalize(z, dim=1)
    values = {0: [], 1: []}
    for i in range(17):
        s = (unit @ unit[i]) / 0.3
        others = torch.tensor([j for j in range(20) if j != i])
        friends = [j for j in others if labels[j] == labels[i]]
        values[labels[i].item()].append(torch.stack([s[others].logsumexp(0) - s[j] for j in friends]).mean())
    for c in (0, 1):
        assert found.loss[c].item() == pytest.approx(torch.stack(values[c]).mean().item())
        assert found.floor[c].item() == pytest.approx(math.log(len(values[c]) - 1))
    assert found.loss[2:].isnan().all() and found.floor[2:].isnan().all()
    assert found.count.tolist() == [12, 5, 0, 0]


def test_class_floor_is_reached_and_never_passed():
    "Classes as single points at right angles, at a temperature so low that the others do not count."
    labels = torch.tensor([0] * 30 + [1] * 4 + [2] * 2)
    perfect = C.per_class_loss(torch.eye(3, dtype=torch.float64)[labels], labels, 0.01, classes=3)
    assert torch.allclose(perfect.loss, perfect.floor, atol=1e-9)
    some = C.per_class_loss(rows(36), labels, 0.2, classes=3)
    assert (some.loss >= some.floor).all()


def test_numbers_of_the_lesson():
    counts = torch.tensor([243.0, 13.0])
    assert ((counts * C.class_floor(counts)).sum() / 256).item() == pytest.approx(5.3364, abs=1e-4)


def test_two_antipodal_classes():
    "L = ln((n − 1) + n e^(−2/τ))"
    z = torch.tensor([[1.0, 0.0]] * 5 + [[-1.0, 0.0]] * 5, dtype=torch.float64)
    loss = sup_con(z, torch.arange(10) // 5, 0.5)
    assert loss.item() == pytest.approx(math.log(4 + 5 * math.exp(-4)))


def test_hardest_share_rises_as_the_temperature_falls():
    z, labels = rows(60, 8), torch.arange(60) % 3
    share = C.hardest_share(z, labels, (1.0, 0.5, 0.1, 0.07), 0.1)
    assert (share.diff() > 0).all() and share[0] > 0.1 and share[-1] <= 1
    assert C.hardest_share(z, labels, [1e6], 0.1).item() == pytest.approx(0.1, abs=1e-4)
    assert C.hardest_share(z, labels, [0.3], 1.0).item() == pytest.approx(1.0)
    unit = F.normalize(z, dim=1)
    by_hand = []
    for i in range(60):
        push = ((unit @ unit[i])[labels != labels[i]] / 0.2).softmax(0).sort(descending=True).values
        by_hand.append(push[:4].sum())
    assert C.hardest_share(z, labels, [0.2], 0.1).item() == pytest.approx(torch.stack(by_hand).mean().item())
    with pytest.raises(ValueError, match="one label"): C.hardest_share(z, labels * 0, [0.1])
    with pytest.raises(ValueError, match="share"): C.hardest_share(z, labels, [0.1], 0)


# batches without somebody: no NaN

@pytest.mark.parametrize("views", C.VIEWS)
@pytest.mark.parametrize("labels", [[0] * 8, [0] * 7 + [1], [0, 1, 2, 3, 4, 5, 6, 7], [-1] * 8, [0] * 7 + [-1]])
def test_no_nan_whatever_the_batch(views, labels):
    method, images = stage_one(views=views), tiny().images[:8]
    batch = ImageSet(images, torch.tensor(labels), [f"{k}" for k in range(8)])[torch.arange(8)]
    batch.generator = generator(0)
    loss = method.update(batch)["loss"]
    assert loss.isfinite() and all(p.isfinite().all() for p in method.parameters())
    nobody = (len(set(labels)) == 8 and views == "aug") or set(labels) == {-1}
    assert (loss == 0) == nobody        # nobody has a positive: 0, and nothing to learn


def test_an_anchor_without_a_positive_is_left_out():
    z, labels = rows(9), torch.tensor([0] * 4 + [1] * 4 + [2])
    values = sup_con(z, labels, 0.2, reduction="none")
    assert values[8] == 0 and torch.allclose(sup_con(z, labels, 0.2), values[:8].mean())


def test_a_class_with_one_picture_has_its_other_view():
    method = stage_one(temperature=0.2)
    data = tiny((15, 1))
    found = method.report(data.images, data.labels, 2)
    assert found.count.tolist() == [30, 2] and found.floor[1] == 0 and found.loss.isfinite().all()


# stage 1

def test_views_are_one_plain_and_one_augmented():
    method, images = stage_one(), tiny().images[:5]
    plain, augmented = method.views(images, generator(0))
    assert plain.equal(identity()(images)) and not augmented.equal(plain)
    both = stage_one(views="aug+aug").views(images, generator(0))
    assert not both[0].equal(plain) and not both[0].equal(both[1])
    assert len(stage_one(views="aug").views(images, generator(0))) == 1


def test_views_of_two_sizes_are_an_error_that_says_how_to_mend_it():
    with seeded(0):
        method = C.SuperCon(nets.small_convnet(width=4), nets.projection_head(16, 16, 8), RandomResizedCrop((12, 12)))
    with pytest.raises(ValueError, match="plain="): method.views(tiny().images[:4])


@pytest.mark.parametrize(("wrong", "text"), [({"views": "two"}, "views must be"), ({"sampler": "rare"}, "sampler must"),
                                             ({"optimizer": "lbfgs"}, "optimizer must")])
def test_faults_of_supercon(wrong, text):
    with pytest.raises(ValueError, match=text): stage_one(**wrong)


def test_the_loss_of_a_step_is_sup_con_of_all_views():
    method, data = stage_one(temperature=0.3), tiny()
    batch = data[torch.arange(30, 48)]
    batch.generator = generator(4)
    loss = method.loss(batch)["loss"]
    views = method.views(batch.images, generator(4))
    z = method.projector(method.encoder(torch.cat(views)))
    assert torch.allclose(loss, sup_con(z, batch.labels.repeat(2), 0.3))


def test_bounds_know_the_mixture():
    method, data = stage_one(), tiny((90, 10))
    assert method.bounds(50) == {}
    method.deal(data, 50, generator(0))
    chance, floor = method.bounds(50)["loss"]
    assert chance == pytest.approx(math.log(99))
    assert floor == pytest.approx(0.9 * math.log(89) + 0.1 * math.log(9))
    even = stage_one(sampler="balanced")
    even.deal(data, 50, generator(0))
    assert even.bounds(50)["loss"][1] == pytest.approx(math.log(49))


def test_balanced_batches_hold_every_class_alike():
    method, data = stage_one(sampler="balanced"), tiny((40, 8, 2))
    batches = method.deal(data, 12, generator(0))
    assert len(batches) == len(data) // 12
    assert all(data.labels[batch].bincount().tolist() == [4, 4, 4] for batch in batches)
    with pytest.raises(ValueError, match="batch_size 2"): method.deal(data, 2, generator(0))


def test_training_separates_the_classes_and_can_be_repeated():
    data = tiny((48, 16))
    runs = [trained(stage_one(temperature=0.2, learning_rate=5e-3), data, 40, 32) for _ in range(2)]
    a, b = (run.history["loss"].values for run in runs)
    assert (a == b).all() and a[-5:].mean() < a[0] - 0.2
    with looking(runs[0].method): z = F.normalize(runs[0].method.project(data.images), dim=1)
    same = data.labels[:, None] == data.labels
    assert (z @ z.T)[same].mean() > (z @ z.T)[~same].mean() + 0.3


def test_a_run_is_rebuilt_and_resumed(tmp_path):
    data = make_lesions(60, size=16, minority=0.3)
    whole = trained(stage_one(temperature=0.2), data, 6, 16)
    half = Run(stage_one(temperature=0.2), data, 6, 16, 0, device="cpu", folder=tmp_path, checkpoint_every=3,
               progress=False)
    half.step(3)
    half.stop()
    again = Run.load(tmp_path, device="cpu", method=stage_one(temperature=0.2), data=data)
    assert again.steps_done == 3
    for _ in again: pass
    assert again.history["loss"].values[-1] == pytest.approx(whole.history["loss"].values[-1], abs=1e-6)


def test_recipes_hold_all_arguments():
    encoder = nets.small_convnet(width=4, seed=0)
    head, other = nets.projection_head(16, 16, 8, seed=0), {"views": "aug+aug", "variant": "in"}
    again = rebuild(recipe(C.SuperCon(encoder, head, HorizontalFlip(), **other)))
    assert (again.kind, again.variant, again.temperature) == ("aug+aug", "in", 0.07)
    made = C.Classify(encoder, 3, frozen=True, loss="focal", alpha=(0.2, 0.3, 0.5), sampler="balanced")
    stage_two = rebuild(recipe(made))
    assert stage_two.frozen and stage_two.alpha == [0.2, 0.3, 0.5] and stage_two.head.out_features == 3


def test_pairs_name_every_row_of_the_class():
    method, data = stage_one(temperature=0.2), tiny((6, 2))
    found = method.pairs(data.images, data.labels, generator(0))
    assert found.positive.sum(1).tolist() == [11] * 6 + [3] * 2 + [11] * 6 + [3] * 2
    assert torch.allclose(found.probability.sum(1), torch.ones(16, dtype=torch.float64))
    assert method.pairs(data.images) is None


# stage 2

def test_a_frozen_encoder_is_bitwise_unchanged():
    data = tiny()
    encoder = nets.small_convnet(width=4, seed=0)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    head = C.Classify(encoder, 2, HorizontalFlip(), frozen=True)
    run = trained(head, data, 10)
    assert all(value.equal(before[name]) for name, value in encoder.state_dict().items())
    assert all(p.grad is None for p in encoder.parameters()) and not encoder.training
    assert run.history["loss"].values[-1] < run.history["loss"].values[0]


def test_the_released_way_moves_the_statistics_and_looks_at_the_company():
    data = tiny()
    encoder = nets.small_convnet(width=4, seed=0)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    head = C.Classify(encoder, 2, frozen=True, faithful_bn=True)
    trained(head, data, 4)
    moved = {name for name, value in encoder.state_dict().items() if not value.equal(before[name])}
    assert moved and all("running" in name or "batches" in name for name in moved)      # no parameter does
    with torch.no_grad():
        whole, parts = head.logits(data.images), torch.cat([head.logits(part) for part in data.images.split(8)])
        assert (whole - parts).abs().max() > 1e-3
        head.eval()
        whole, parts = head.logits(data.images), torch.cat([head.logits(part) for part in data.images.split(8)])
        assert torch.allclose(whole, parts, atol=1e-5)


@pytest.mark.parametrize("loss", C.LOSSES)
@pytest.mark.parametrize("sampler", C.SAMPLERS)
def test_every_loss_and_sampler_learns(loss, sampler):
    data = tiny((48, 16))
    with seeded(0): method = C.Classify(nets.small_convnet(width=4), 2, loss=loss, sampler=sampler)
    trained(method, data, 30, 16)
    assert balanced_accuracy(C.logits_of(method, method, data).argmax(1), data.labels) > 0.9


def test_counts_are_those_of_the_data_or_as_given():
    data = tiny((40, 8))
    method = C.Classify(nets.small_convnet(width=4), 2, loss="weighted")
    batch = data[torch.arange(8)]
    with pytest.raises(ValueError, match="counts"): method.loss(batch)
    trained(method, data, 1)
    assert method.counts.tolist() == [40, 8]
    given = C.Classify(nets.small_convnet(width=4), 2, loss="logit", counts=(1, 1))
    trained(given, data, 1)
    assert given.counts.tolist() == [1, 1]
    for wrong, text in (({"loss": "mse"}, "loss must"), ({"sampler": "x"}, "sampler must")):
        with pytest.raises(ValueError, match=text): C.Classify(nets.small_convnet(width=4), 2, **wrong)


# rivals

def small_budget(): return C.Budget(HorizontalFlip(), 1, 16, 1, options={"width": 4})


@pytest.mark.parametrize("kind", list(C.KINDS))
def test_every_rival_answers(kind):
    data, test = tiny(), tiny((10, 5), seed=1)
    found = C.contest(kind, data, test, small_budget(), device="cpu")
    assert set(found) >= {"plain", "balanced", "loss"} and ("own" in found) == (kind not in C.STAGED)
    assert all(found[head].shape == (15, 2) and found[head].isfinite().all() for head in found if head != "loss")
    again = C.contest(kind, data, test, small_budget(), device="cpu")
    assert all(found[name].equal(again[name]) for name in found)


def test_rivals_cost_the_same_and_start_alike():
    data = tiny()
    makes = {kind: C.rival(kind, data, small_budget(), 3) for kind in C.KINDS}
    assert {kind: passes for kind, (_, passes) in makes.items()} == {
        kind: 1 if kind in C.STAGED else 2 for kind in C.KINDS}
    weights = [next(method.encoder.parameters()) for method, _ in makes.values()]
    assert all(w.equal(weights[0]) for w in weights)
    with pytest.raises(ValueError, match="kind must be"): C.rival("SVM", data, small_budget(), 0)


def test_contests_one_after_the_other_or_side_by_side():
    jobs = [(kind, tiny(), tiny((10, 5), seed=1), small_budget(), 0, "cpu") for kind in ("cross-entropy", "SuperCon")]
    here, there = C.contests(jobs), C.contests(jobs, workers=2)
    for a, b in zip(here, there, strict=True):
        assert a.keys() == b.keys() and all(torch.allclose(a[name], b[name], atol=1e-5) for name in a)


def test_judged_and_margin():
    labels = torch.cat([torch.zeros(6509), torch.ones(117)]).long()
    never = C.judged(torch.tensor([1.0, 0.0]).expand(6626, 2), labels)
    for name, value in {"accuracy": 0.982342, "F1 rare": 0, "F1 macro": 0.495546, "AUC": 0.5,
                        "balanced accuracy": 0.5, "PR AUC": 117 / 6626}.items():
        assert never[name] == pytest.approx(value, abs=1e-6)
    logits = rows(30, 3)
    odds = logits.softmax(1)[:, 2]
    assert torch.allclose(C.margin(logits, 2), (odds / (1 - odds)).log())
    several = C.judged(logits, torch.arange(30) % 3, [1, 2])
    each = f1(logits.argmax(1), torch.arange(30) % 3)
    assert several["F1 rare"] == pytest.approx(each[1:].mean().item()) and "AUC" not in several


# splits

def test_leaked_puts_in_exactly_the_share():
    train, test = tiny(seed=0), tiny((30, 10), seed=1)
    larger, seen = C.leaked(train, test, 0.8, seed=2)
    assert len(larger) == len(train) + 32 and seen.sum() == 32
    assert C.seen_before(larger, test).equal(seen) and not C.seen_before(train, test).any()
    assert C.leaked(train, test, 0.8, seed=2)[1].equal(seen)
    with pytest.raises(ValueError, match="share"): C.leaked(train, test, 1.5)


def test_groups_count_as_seen_and_splits_keep_them_whole():
    photos = make_lesions(90, size=16, minority=0.3, per_lesion=3)
    a, b = photos.split(0.7, 0.3)
    assert not C.seen_before(a, b).any()
    mixed = torch.randperm(90, generator=generator(0))
    assert C.seen_before(photos.subset(mixed[:60]), photos.subset(mixed[60:])).double().mean() > 0.5
