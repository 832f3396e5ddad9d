"Condensation: the analytic cases, gradients against autograd and differences, augmentation, the loop, rivals; faults."

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from clnb import nets
from clnb.core import generator
from clnb.data import ImageSet, make_shared_component
from clnb.methods.dcc import (
    FAMILIES,
    CondensedSet,
    Condenser,
    Omega,
    chosen,
    class_gradients,
    draw_omega,
    evaluate_condensed,
    gradient_distance,
    herding,
    image_gradient,
    judge_condensing,
    k_centre,
    kernel_distance,
    kernel_velocity,
    layer_distances,
    loops,
    matching_losses,
    renewed,
    siamese_augment,
    tangent_kernel,
    train_on,
    units_of,
    warming_up,
    watch_condensing,
    weights_of,
)
from clnb.run import Run


def small(width=4, norm="instance", activation="relu", seed=0, classes=4, size=16):
    return nets.convnet(1, classes, size, width, depth=2, norm=norm, activation=activation, seed=seed)


def numbers(*shape, seed=0): return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


# ---- the distance --------------------------------------------------------------------------------------------------
def linear(x):
    "Class gradients of a linear layer at weights 0, by hand: row k is (1/C − [k = c]) times the class's mean."
    c = len(x)
    return (1 / c - torch.eye(c, dtype=x.dtype))[:, :, None] * x[:, None]


@pytest.mark.parametrize(("learned", "dc", "dcc"), [
    ([[10, 1], [10, -1]], 0.0, 0.000008), ([[10, -1], [10, 1]], 0.079208, 3.999992),
    ([[10, 0], [10, 0]], 0.019851, 2.0), ([[0, 1], [0, -1]], 3.601985, 0.000008),
    ([[1, 0], [9, 1]], 0.054001, 2.248069)])
def test_two_images_by_hand(learned, dc, dcc):
    real = torch.tensor([[10.0, 1], [10, -1]], dtype=torch.float64)
    found = matching_losses([linear(torch.tensor(learned, dtype=torch.float64))], [linear(real)])
    assert found[0].item() == pytest.approx(dc, abs=2e-6) and found[1].item() == pytest.approx(dcc, abs=2e-6)


def test_distance_of_rows():
    a, b = torch.eye(2), torch.tensor([[1.0, 1], [0, 2]])
    assert gradient_distance([a], [b]).item() == pytest.approx(1 - 1 / math.sqrt(2), abs=1e-5)
    x = [numbers(5, 3, 2, 2), numbers(4, 7, seed=1), numbers(9, seed=2)]
    assert gradient_distance(x, [3 * g for g in x]).item() == pytest.approx(0, abs=1e-5)
    assert gradient_distance(x, [-g for g in x]).item() == pytest.approx(2 * 9, abs=1e-5)
    assert gradient_distance(x[2:], [-x[2]]).item() == 0                                # only biases differ
    assert layer_distances(x, [-g for g in x]).tolist() == pytest.approx([10, 8], abs=1e-5)
    flat = torch.cat([g.flatten() for g in x])
    other = [g + 1 for g in x]
    them = torch.cat([g.flatten() for g in other])
    assert gradient_distance(x, other, "mse").item() == pytest.approx((flat - them).square().sum().item())
    alike = F.cosine_similarity(flat, them, 0).item()
    assert gradient_distance(x, other, "cos").item() == pytest.approx(1 - alike, abs=1e-6)


def test_a_row_of_zeros_gives_no_nan():
    a = torch.zeros(2, 3, requires_grad=True)
    value = gradient_distance([a], [torch.ones(2, 3)])
    assert value.item() == pytest.approx(2) and torch.autograd.grad(value, a)[0].isfinite().all()


# ---- gradients -----------------------------------------------------------------------------------------------------
def one_by_one(network, x, labels=None):
    labels = range(len(x)) if labels is None else labels
    found = [torch.autograd.grad(F.cross_entropy(network(part), torch.full((len(part),), int(c))), weights_of(network))
             for part, c in zip(x, labels, strict=True)]
    return [torch.stack(parts) for parts in zip(*found, strict=True)]


def close(a, b, tolerance=1e-10):
    return all(((x - y).abs().max() <= tolerance * y.abs().max()).item() for x, y in zip(a, b, strict=True))


class Odd(nn.Module):
    "A layer that is used twice, and a layer norm whose scale has two dimensions."

    def __init__(self):
        super().__init__()
        self.norm, self.layer, self.out = nn.LayerNorm([16, 16]), nn.Linear(256, 256), nn.Linear(256, 4)

    def forward(self, x): return self.out(self.layer(self.layer(self.norm(x[:, 0]).flatten(1)).tanh()))


@pytest.mark.parametrize("network", [small(), small(activation="tanh"), small(norm="batch").eval(), Odd(),
                                     nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.ReLU(), nn.Linear(8, 4)),
                                     nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding="valid"), nn.Flatten(),
                                                   nn.Linear(196, 4))], ids=lambda n: type(n).__name__)
def test_class_gradients_are_autograds(network, monkeypatch):
    network, x = copy.deepcopy(network).double(), numbers(4, 6, 1, 16, 16)
    wanted = one_by_one(network, x)
    assert close(class_gradients(network, x), wanted)
    assert close(class_gradients(network, x[[2, 0]], torch.tensor([2, 0])), [g[[2, 0]] for g in wanted])
    joint = F.cross_entropy(network(x.flatten(0, 1)), torch.arange(4).repeat_interleave(6))
    mean = torch.autograd.grad(joint, weights_of(network))
    assert close([g.mean(0) for g in class_gradients(network, x)], mean)
    for cache in (1, 16 * 16 * 4 * 9, 16 * 16 * 4 * 13):      # smaller than a class; some classes at a time
        monkeypatch.setattr("clnb.methods.dcc.CACHE", cache)
        more = numbers(4, 20, 1, 16, 16)
        assert close(class_gradients(network, more), one_by_one(network, more))
        assert close(class_gradients(network, x), wanted)


@pytest.mark.parametrize("loss", ["dc", "dcc"])
@pytest.mark.parametrize("cache", [2**21, 1])
def test_gradient_for_the_images(loss, cache, monkeypatch):
    monkeypatch.setattr("clnb.methods.dcc.CACHE", cache)
    network, x, real = small(activation="tanh").double(), numbers(4, 3, 1, 16, 16), numbers(4, 6, 1, 16, 16, seed=1)
    target = one_by_one(network, real)
    s = x.clone().requires_grad_()
    own = [torch.autograd.grad(F.cross_entropy(network(s[c]), torch.full((3,), c)), weights_of(network),
                               create_graph=True) for c in range(4)]
    if loss == "dc":
        value = sum(gradient_distance(g, [t[c] for t in target]) for c, g in enumerate(own))
    else:
        value = gradient_distance([sum(g) / 4 for g in zip(*own, strict=True)], [t.mean(0) for t in target])
    found = image_gradient(network, x, target, loss)
    assert found[0 if loss == "dc" else 1].item() == pytest.approx(value.item(), rel=1e-10)
    assert close([found[2]], [torch.autograd.grad(value, s)[0]], 1e-9)


def test_only_the_contrast_couples_the_classes():
    network, x = small(seed=1).double(), numbers(4, 2, 1, 16, 16)
    target = class_gradients(network, numbers(4, 6, 1, 16, 16, seed=1))
    moved = x.clone()
    moved[1] += 0.3
    for loss, same in (("dc", True), ("dcc", False)):
        a, b = (image_gradient(network, images, target, loss)[2][0] for images in (x, moved))
        assert torch.allclose(a, b, atol=1e-12, rtol=1e-9) == same


# ---- schedule ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("per_class", "classwise", "contrast"), [(1, 2500, 7500), (10, 2500, 7500), (50, 2500, 47500)])
def test_warm_up_counts(per_class, classwise, contrast):
    steps, _ = loops(per_class)
    warm = warming_up(torch.arange(1000)[:, None], torch.arange(steps), 250, 10)
    assert int(warm.sum()) == classwise and int((~warm).sum()) == contrast
    assert not warming_up(torch.arange(1000)[:, None], torch.arange(steps), 0, 10).any()


def test_loops_between_the_published_ones():
    assert loops(1) == (10, 5) and loops(7) == (10, 50) and loops(48) == (50, 10) and loops(1000) == (100, 2)


# ---- augmentation --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("family", FAMILIES)
def test_families(family):
    x, rng = numbers(10, 3, 20, 28), generator(3)
    for _ in range(5):
        omega = Omega(family, torch.rand(3, generator=rng))
        y = siamese_augment(x, omega)
        assert y.shape == x.shape and y.dtype == x.dtype
        assert torch.allclose(siamese_augment(x[4:5], omega), y[4:5], atol=1e-12)                # one, or among ten
        own = siamese_augment(x, Omega(family, omega.u.expand(10, 3)))
        assert torch.allclose(own, y, atol=1e-12)
        if family == "color": continue
        z = numbers(10, 3, 20, 28, seed=1)                                                       # linear in the image
        assert torch.allclose(siamese_augment(x + 2 * z, omega), y + 2 * siamese_augment(z, omega), atol=1e-9)
        a = x.clone().requires_grad_()
        slope = torch.autograd.grad((siamese_augment(a, omega) * z).sum(), a)[0]
        assert (slope * x).sum().item() == pytest.approx((y * z).sum().item(), rel=1e-9)


def test_magnitudes():
    grey = torch.full((1, 3, 28, 28), 0.2)
    assert torch.allclose(siamese_augment(grey, Omega("color", torch.tensor([0.5, 0.1, 0.9]))), grey, atol=1e-6)
    assert torch.allclose(siamese_augment(grey, Omega("color", torch.tensor([0.9, 0.5, 0.5]))), grey + 0.4, atol=1e-6)
    ones = torch.ones(1, 1, 28, 28)
    middle = siamese_augment(ones, Omega("cutout", torch.tensor([0.5, 0.5, 0.0])))
    assert int((middle == 0).sum()) == 14 * 14
    for u in (0.0, 0.4999, 0.9999):
        crop = siamese_augment(ones, Omega("crop", torch.tensor([u, 0.5, 0.0])))
        assert int((crop == 0).sum()) == 28 * {0.0: 4, 0.4999: 0, 0.9999: 4}[u]
    line = torch.zeros(1, 1, 3, 5)
    line[..., 0] = 1
    assert siamese_augment(line, Omega("flip", torch.zeros(3)))[0, 0, 0].tolist() == [0, 0, 0, 0, 1]
    same = siamese_augment(numbers(2, 1, 9, 9), Omega("rotate", torch.tensor([0.5, 0, 0])))
    assert torch.allclose(same, numbers(2, 1, 9, 9), atol=1e-6)
    turned = siamese_augment(numbers(2, 1, 9, 9), Omega("scale", torch.tensor([5 / 11, 5 / 11, 0])))     # factor 1
    assert torch.allclose(turned, numbers(2, 1, 9, 9), atol=1e-5)


def test_drawing():
    rng = generator(0)
    assert {draw_omega(FAMILIES, rng).family for _ in range(200)} == set(FAMILIES)
    assert draw_omega(("flip",), rng, 7).u.shape == (7, 3)
    with pytest.raises(ValueError, match=r"families must be among color, crop.*got blur"): draw_omega(("blur",), rng)


# ---- the loop ------------------------------------------------------------------------------------------------------
def condensing(loss="dcc", steps=12, folder=None, seed=0, network=None, data=None, **options):
    data = make_shared_component(120, strength=1.0) if data is None else data
    shape = tuple(data.images.shape[1:])
    method = Condenser(network or small(size=shape[-1]), shape, data.classes,
                       **{"loss": loss, "outer_warmup": 1, "n_match_steps": 4, "n_net_epochs": 2} | options)
    return Run(method, data, steps, batch_size=4 * 10, seed=seed, folder=folder, progress=False, checkpoint_every=5)


def finished(run):
    for _ in run: pass
    return run


@pytest.mark.parametrize("augment", [None, "siamese"])
def test_a_step_is_the_published_one(augment):
    "One matching step, restated: gradients class by class, SGD with momentum on the images, epochs on the network."
    run = condensing("dcc", 2, augment=augment, families=("flip",), outer_warmup=0)
    run.step(1)
    method = run.method
    first, network = method.images.detach().clone(), copy.deepcopy(method.network)
    images = first.clone().requires_grad_()
    momentum = run.method.optimizer.state[method.images]["momentum_buffer"].clone()
    batch = run._batch(1)
    rng = generator(0)
    rng.set_state(method.rng.get_state())
    real = method.condensed().normalised(batch.images).unflatten(0, (4, -1))
    nothing = Omega("color", torch.tensor([0.5] * 3))
    drawn = [draw_omega(("flip",), rng) if augment else nothing for _ in range(4)]
    a, b = (torch.stack([siamese_augment(x, o) for x, o in zip(side, drawn, strict=True)]) for side in (real, images))
    assert batch.labels.view(4, -1).eq(torch.arange(4)[:, None]).all()
    losses = [F.cross_entropy(network(x.flatten(0, 1)), torch.arange(4).repeat_interleave(x.shape[1])) for x in (a, b)]
    target, own = (torch.autograd.grad(loss, weights_of(network), create_graph=True) for loss in losses)
    slope = torch.autograd.grad(gradient_distance(own, [g.detach() for g in target]), images)[0]
    run.step(1)
    expected = first - 0.1 * (0.5 * momentum + slope)
    assert torch.allclose(method.images, expected, atol=2e-5)
    assert run.history.last("loss") == run.history.last("dcc")


@pytest.mark.parametrize("loss", ["dc", "dcc"])
def test_resumed_runs_are_the_same(loss, tmp_path):
    whole = finished(condensing(loss, folder=tmp_path / "a"))
    part = condensing(loss, folder=tmp_path / "b")
    part.step(6)
    part.save()
    again = finished(Run.load(tmp_path / "b"))
    assert torch.equal(whole.method.images, again.method.images)
    for a, b in zip(*(run.method.network.parameters() for run in (whole, again)), strict=True): assert torch.equal(a, b)
    assert np.array_equal(whole.history["loss"].values, again.history["loss"].values)


def test_changes_while_it_runs():
    run = condensing()
    run.step(5)
    run.set(lr_img=0.01)
    run.set(inner_warmup=0)
    run.set(outer_warmup=100)
    assert run.method.lr_img == 0.01 and run.method.loss_now() == "dcc"
    run.set(inner_warmup=10)
    assert run.method.loss_now() == "dc"
    run.step(2)
    assert run.method.optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


def test_dc_has_no_warm_up_and_its_network_is_new_in_every_pass():
    run = condensing("dc", 8)
    run.step(4)
    before = [p.detach().clone() for p in run.method.network.parameters()]
    assert run.method.loss_now() == "dc"
    run.step(1)
    after = list(run.method.network.parameters())
    assert all((a - b).abs().max() > 0.01 for a, b in zip(before, after, strict=True) if a.ndim > 1)


def test_batch_norm_statistics_rest_while_matching():
    run = condensing("dcc", 2, network=small(norm="batch"), n_match_steps=1)
    run.step(1)
    moved = [layer for layer in run.method.network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert moved and all(int(layer.num_batches_tracked) == 1 for layer in moved)
    assert run.method.images.isfinite().all()


def test_watching(tmp_path):
    run = condensing(folder=tmp_path / "run")
    judge_condensing(watch_condensing(run, 4, probe=5), make_shared_component(80, seed=1), 6, nets=1, epochs=3)
    finished(run)
    history = run.history
    assert history["condensed"].frame(-1).shape == (4, 1, 1, 16, 16)
    assert history["similarity"].frame(0).shape == (3, 4, 4) and history["similarity.sum"].frame(0).shape == (3,)
    assert np.abs(history["similarity"].frame(0)).max() <= 1 + 1e-6
    assert history["matching"].values.shape[1] == 3 and len(history["accuracy"].values) == 3
    best = CondensedSet.load(tmp_path / "run" / "best.npz")
    assert best.classes == run.data.classes and best.images.shape == run.method.images.shape


def test_chosen_start_and_noise():
    run = condensing(steps=1)
    run.step(1)
    assert run.method.mean.item() == pytest.approx(units_of(run.data)[0].item())
    noisy = condensing(steps=1, init="noise", lr_img=1e-9)
    noisy.step(1)
    assert abs(noisy.method.images.std().item() - 1) < 0.15


# ---- sets ----------------------------------------------------------------------------------------------------------
def test_a_set_is_kept_and_joined(tmp_path):
    data = make_shared_component(80, strength=3.0)
    a = chosen(data, 2)
    a.save(tmp_path / "a.npz")
    b = CondensedSet.load(tmp_path / "a.npz")
    assert torch.equal(a.images, b.images) and a.classes == b.classes and torch.equal(a.std, b.std)
    assert (a.pixels().flatten(0, 1)[:, None].eq(data.images)).flatten(2).all(2).any(1).all()      # real, to the byte
    other = CondensedSet(a.images * 2, ("e", "f", "g", "h"), a.mean + 0.1, a.std / 2)
    both = a.and_then(other)
    assert both.classes == a.classes + other.classes and both.rows()[1].tolist() == [k // 2 for k in range(16)]
    assert torch.allclose(both.images[4:], a.images + 0.1 / a.std.view(-1, 1, 1), atol=1e-5)
    assert a.and_then(a, 1).images.shape == (4, 4, 1, 16, 16) and len(a.as_image_set()) == 8


def test_herding_and_k_centre():
    x = torch.tensor([[0.0, 0], [1, 0], [2, 0], [10, 0], [0.9, 0.1]])
    mean = x.mean(0)
    assert herding(x, 1).tolist() == [int((x - mean).square().sum(1).argmin())]
    i = herding(x, 1).item()
    pairs = {(i, j): (x[[i, j]].mean(0) - mean).square().sum().item() for j in range(5) if j != i}
    assert tuple(herding(x, 2).tolist()) == min(pairs, key=pairs.get)
    assert k_centre(x, 2).tolist()[1] == 3
    assert sorted(herding(x, 5).tolist()) == sorted(k_centre(x, 5).tolist()) == list(range(5))


def test_evaluation_is_reproducible_and_learns():
    data, test = make_shared_component(400, strength=0.0), make_shared_component(200, seed=1, strength=0.0)
    many = chosen(data, 40)
    a, b = (evaluate_condensed(many, test, small(8), nets=2, epochs=25, seed=3) for _ in range(2))
    assert torch.equal(a, b) and a.shape == (2,) and a.mean() > 0.6 and a[0] != a[1]
    network = small()
    before = copy.deepcopy(network.state_dict())
    evaluate_condensed(chosen(data, 1), test, network, nets=1, epochs=2)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    seen = []
    train_on(network, *many.rows(), 10, each=lambda n: seen.append(1))
    assert len(seen) == 11                                                               # E + 1, as released


# ---- kernels -------------------------------------------------------------------------------------------------------
def test_kernels():
    eye, ones = torch.eye(2), torch.ones(2, 2)
    assert kernel_distance(eye, ones).item() == pytest.approx(1 - 2 / (math.sqrt(2) * 2), abs=1e-6)
    assert kernel_distance(eye, 7 * ones).item() == pytest.approx(0.292893, abs=1e-6)
    assert kernel_velocity(torch.stack([eye, ones]), 0.5).item() == pytest.approx(0.585786, abs=1e-6)
    network, x, y = small().double(), numbers(5, 1, 16, 16), torch.tensor([0, 1, 2, 3, 0])
    weights = list(network.parameters())
    jacobian = torch.stack([torch.cat([g.flatten() for g in torch.autograd.grad(network(x[i:i + 1])[0, y[i]], weights)])
                            for i in range(5)])
    assert torch.allclose(tangent_kernel(network, x, y), jacobian @ jacobian.T, rtol=1e-9)


# ---- faults --------------------------------------------------------------------------------------------------------
def test_faults():
    data = make_shared_component(40)
    few = data.subset([*(data.labels != 2).nonzero()[:, 0].tolist(), (data.labels == 2).nonzero()[0, 0].item()])
    with pytest.raises(ValueError, match="class 'rising' has 1 images, 2 of each class are asked for"): chosen(few, 2)
    with pytest.raises(ValueError, match="how must be one of 'random', 'herding', 'k-centre'"): chosen(data, 1, "best")
    with pytest.raises(ValueError, match="the same shapes"): gradient_distance([torch.ones(2)], [torch.ones(3)])
    ones = [torch.ones(2)]
    with pytest.raises(ValueError, match="kind must be one of 'rows', 'cos'"): gradient_distance(ones, ones, "l1")
    with pytest.raises(ValueError, match=r"images must be \[C, n, ch, H, W\].*\[4, 1, 16, 16\]"):
        class_gradients(small(), torch.ones(4, 1, 16, 16))
    for name, value, allowed in (("loss", "kl", "'dc', 'dcc'"), ("augment", "yes", "None, 'siamese'"),
                                 ("init", "zero", "'real', 'noise'")):
        text, bad = f"{name} must be one of {allowed}, got '{value}'", {name: value}
        with pytest.raises(ValueError, match=text): condensing(**bad)


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2))


def test_a_network_that_cannot_be_drawn_anew():
    with pytest.raises(ValueError, match="Plain has weights but no reset_parameters"): renewed(Plain())


def test_faults_of_data():
    data = make_shared_component(60)
    run = condensing(data=data.subset(range(60)))
    run.method.images = nn.Parameter(torch.zeros(4, 1, 1, 8, 8))
    with pytest.raises(ValueError, match="this condenser learns images"): run.step(1)
    three = ImageSet(data.images, data.labels.clamp_max(2), data.classes[:3])
    with pytest.raises(ValueError, match=r"is for 4 classes.*the data have 3 classes"):
        condensing().method.deal(three, 40, generator(0))
    unbalanced = data.subset(torch.cat([(data.labels == 0).nonzero()[:2, 0], (data.labels > 0).nonzero()[:, 0]]))
    finished(condensing(data=unbalanced, steps=2))              # pictures of a rare class are in a batch twice
    run = condensing()
    run.step(1)
    with torch.no_grad(): run.method.images[0, 0, 0, 0, 0] = math.nan
    with pytest.raises(Exception, match=r"not finite|nan|NaN"): finished(run)
