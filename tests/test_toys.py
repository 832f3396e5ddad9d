"""The two linear models: exact flows, the batched integration against a loop in double precision, behaviour."""

import math
import warnings

import pytest
import torch
from torch.testing import assert_close

from clnb import toys
from clnb.core import generator
from clnb.toys import (
    LOSSES,
    Toy,
    _draws,
    aligned,
    dot_loss,
    flow,
    growth,
    linear_toy,
    sqdist_loss,
    two_layer_toy,
)

LOSS = {"sqdist": sqdist_loss, "dot": dot_loss}


def numbers(values): return torch.tensor(values, dtype=torch.float64)


def normal(*shape, seed=0): return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def effective_rank(s):
    share = s / s.sum(-1, keepdim=True)
    return torch.special.entr(share).sum(-1).exp()


# ------------------------------------------------------------------------------------------------ losses

def test_theory_loss_by_hand():
    z, zb = numbers([[0, 0], [2, 0]]), numbers([[0, 1], [2, 1]])
    assert sqdist_loss(z, zb).item() == pytest.approx(2 * math.log1p(math.exp(-1.5)), rel=1e-14)
    assert sqdist_loss(z, zb).item() == pytest.approx(0.402827, abs=1e-6)


def test_losses_by_their_definitions():
    z, zb, tau = normal(9, 4), normal(9, 4, seed=1), 0.7
    theory = official = 0.0
    for i in range(9):
        positive = math.exp(-(z[i] - zb[i]).square().sum() / 2)
        negatives = sum(math.exp(-(z[i] - z[j]).square().sum() / 2) for j in range(9) if j != i)
        theory -= math.log(positive / (positive + negatives))
        scores = [math.exp(z[i] @ zb[j] / tau) for j in range(9)]
        official -= math.log(scores[i] / sum(scores)) / 9
    assert sqdist_loss(z, zb).item() == pytest.approx(theory, rel=1e-12)
    assert dot_loss(z, zb, tau).item() == pytest.approx(official, rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_of_settings_is_each_of_them(loss):
    z, zb, x, xb = (normal(3, 2, 8, 5, seed=k) for k in range(4))
    values, found = LOSS[loss](z, zb), flow(x, xb, z, zb, loss)
    assert values.shape == (3, 2) and found.alpha.shape == (3, 2, 8, 8) and found.x.shape == (3, 2, 5, 5)
    for k in range(3):
        assert_close(values[k, 1], LOSS[loss](z[k, 1], zb[k, 1]))
        for batched, alone in zip(found, flow(x[k, 1], xb[k, 1], z[k, 1], zb[k, 1], loss), strict=True):
            assert_close(batched[k, 1], alone)


@pytest.mark.parametrize("z, zb", [((5, 3), (4, 3)), ((1, 3), (1, 3)), ((3,), (3,))])
def test_losses_refuse(z, zb):
    for call in (sqdist_loss, dot_loss, lambda a, b: flow(a, b, a, b)):
        with pytest.raises(ValueError, match="two views"): call(torch.zeros(z), torch.zeros(zb))
    with pytest.raises(ValueError, match="sqdist, dot"): flow(*torch.zeros(4, 3, 2), "cosine")


# ------------------------------------------------------------------------------------------------ flow

@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("count, inputs, outputs", [(2, 1, 1), (7, 3, 5), (33, 16, 16), (20, 6, 2)])
def test_flow_is_the_negative_gradient(loss, count, inputs, outputs):
    x, W = normal(4, count, inputs), normal(4, outputs, inputs, seed=2).requires_grad_()
    xb = x + 0.7 * normal(4, count, inputs, seed=1)
    slope, = torch.autograd.grad(LOSS[loss](x @ W.mT, xb @ W.mT).sum(), W)
    found = flow(x, xb, x @ W.mT, xb @ W.mT, loss)
    assert_close(-slope, (W @ found.x).detach(), atol=1e-9, rtol=1e-9)
    assert_close(found.x, found.s0 - found.s1)
    assert_close(found.x, found.x.mT)


@pytest.mark.parametrize("loss", LOSSES)
def test_flow_against_finite_differences(loss):
    x, W, h = normal(12, 4), normal(4, 4, seed=2) / 2, 1e-6
    xb = x + 0.5 * normal(12, 4, seed=1)
    descent = W @ flow(x, xb, x @ W.T, xb @ W.T, loss).x
    for row, column in [(0, 0), (1, 3), (3, 2)]:
        move = torch.zeros_like(W)
        move[row, column] = h
        up, down = (LOSS[loss](x @ w.T, xb @ w.T).item() for w in (W + move, W - move))
        assert -(up - down) / (2 * h) == pytest.approx(descent[row, column].item(), rel=1e-6, abs=1e-7)


def test_the_parts_of_x_by_their_definitions():
    x, xb, z, zb = (normal(9, 4, seed=k) for k in range(4))
    found = flow(x, xb, z, zb)
    assert_close(found.alpha.sum(1), torch.ones(9, dtype=torch.float64))
    s0, s1 = torch.zeros(2, 4, 4, dtype=torch.float64)
    for i in range(9):
        for j in range(9): s0 += found.alpha[i, j] * torch.outer(x[i] - x[j], x[i] - x[j])
        s1 += (1 - found.alpha[i, i]) * torch.outer(xb[i] - x[i], xb[i] - x[i])
    assert_close(found.s0, s0)
    assert_close(found.s1, s1)
    found, s0, s1 = flow(x, xb, z, zb, "dot", 0.3), *torch.zeros(2, 4, 4, dtype=torch.float64)
    for i in range(9):
        s0 += (torch.outer(x[i], xb[i]) + torch.outer(xb[i], x[i])) / (9 * 0.3)
        for j in range(9): s1 += found.alpha[i, j] * (torch.outer(x[i], xb[j]) + torch.outer(xb[j], x[i])) / (9 * 0.3)
    assert_close(found.s0, s0)
    assert_close(found.s1, s1)


@pytest.mark.parametrize("a, alpha, x", [(1, 0.182426, 1.094554), (3, 0.924142, -9.241418), (2, 0.5, 0.0)])
@pytest.mark.parametrize("w", [1.0, 0.3])
def test_one_dimension_by_hand(a, alpha, x, w):
    data = numbers([[0], [2]])
    found = flow(data, data + a, w * data, w * (data + a))
    by_hand = 1 / (1 + math.exp(w**2 * (4 - a**2) / 2))
    assert found.alpha[0, 1].item() == pytest.approx(by_hand, rel=1e-12)
    assert found.x.item() == pytest.approx(2 * by_hand * (4 - a**2), abs=1e-12)
    if w == 1: assert (found.alpha[0, 1].item(), found.x.item()) == pytest.approx((alpha, x), abs=1e-6)


# ------------------------------------------------------------------------------------------------ growth, alignment

def test_growth_by_hand():
    assert_close(growth(numbers([1, 0.1]), 1.0, 0.4), numbers([2.236068, 0.100402]), atol=1e-6, rtol=0)
    assert_close(growth(numbers([1, 0.1]), 1.0, 0.4, layers=1), numbers([math.exp(0.4), math.exp(0.4) / 10]))
    assert (growth(1.0, 1.0, 0.4) / growth(0.1, 1.0, 0.4)).item() == pytest.approx(22.27, abs=5e-3)
    assert growth(1.0, 1.0, 0.5).isinf() and growth(1.0, 1.0, 7.0).isinf() and growth(1.0, -1.0, 7.0).isfinite()


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
def test_growth_solves_its_equation(layers):
    s, c, h = numbers([0.2, 0.7, 0.9]), numbers([1.5, 0.3, -2.0]), 1e-6
    slope = (growth(s, c, 0.3 + h, layers) - growth(s, c, 0.3 - h, layers)) / (2 * h)
    assert_close(slope, c * growth(s, c, 0.3, layers) ** (2 * layers - 1), rtol=1e-6, atol=1e-9)
    assert_close(growth(s, c, 0.0, layers), s)
    with pytest.raises(ValueError, match="at least 1"): growth(s, c, 1.0, 0)


def test_alignment_by_hand():
    first, second, h = numbers([3, 1]).diag(), numbers([2, 0.5]).diag(), math.sqrt(0.5)
    assert_close(aligned(first, second), torch.eye(2, dtype=torch.float64))
    half = torch.full((2, 2), 0.707107, dtype=torch.float64)
    assert_close(aligned(first, second @ numbers([[h, -h], [h, h]])), half, atol=1e-6, rtol=0)
    U, V = torch.linalg.svd(normal(6, 6))[0], torch.linalg.svd(normal(6, 6, seed=1))[2].T
    by_hand = aligned(U @ torch.arange(6.0, 0, -1).double().diag(), torch.arange(6.0, 0, -1).double().diag() @ V.T)
    assert_close(by_hand, (V.T @ U).abs())


# ------------------------------------------------------------------------------------------------ the integration

def plain(toy: Toy):
    "The same toy by automatic differentiation in double precision: weights, losses and flows at every step."
    common, picked = toy.settings, toy.at().settings
    dim, n, sqdist = common["dim"], common["batch"], common["loss"] == "sqdist"
    spread = picked["noise"] * (torch.arange(dim) >= dim - picked["noisy"])[None]
    views = _draws([picked["seed"]], spread, common["samples"], n, False)
    layers, rows = [w.clone().requires_grad_() for w in toy.at().weights[0]], []
    for _ in range(int(toy.steps[-1]) + 1):
        both = next(views)[0].double()
        z = both
        for k, layer in enumerate(layers): z = (z.relu() if picked["relu"] and k else z) @ layer.T
        loss = sqdist_loss(z[:n], z[n:]) / n if sqdist else dot_loss(z[:n], z[n:], common["temperature"])
        views_and_z = (both[:n], both[n:], z[:n].detach(), z[n:].detach())
        flows = [m / (n if sqdist else 1) for m in flow(*views_and_z, common["loss"], common["temperature"])[1:]]
        rows.append((loss.detach(), torch.stack(layers).detach().clone(), *flows))
        slopes = torch.autograd.grad(loss, layers)
        with torch.no_grad():
            for layer, slope in zip(layers, slopes, strict=True): layer -= picked["rate"] * slope
    return [torch.stack(values) for values in zip(*rows, strict=True)]


@pytest.mark.parametrize("make, settings", [
    (linear_toy, {"noise": 1.5}), (linear_toy, {"noise": 1.5, "loss": "dot"}),
    (linear_toy, {"noise": 12.0, "noisy": 3, "rate": 0.001}),
    (linear_toy, {"noise": 2.0, "noisy": 2, "dim": 5, "batch": 31, "samples": 100}),
    (linear_toy, {"noise": 4.0, "loss": "dot", "temperature": 0.5, "noisy": 2, "dim": 3}),
    (two_layer_toy, {}), (two_layer_toy, {"loss": "dot"}), (two_layer_toy, {"decay": 0.1, "layers": 3, "rate": 0.003}),
    (two_layer_toy, {"layers": 4, "init": "default", "noise": 0.1}),
    (two_layer_toy, {"layers": 3, "init": "default", "noise": 0.1, "relu": True}),
    (two_layer_toy, {"layers": 2, "init": "default", "noise": 0.1, "relu": True, "loss": "dot", "rate": 0.003}),
    (two_layer_toy, {"layers": 1, "relu": True, "noise": 0.5, "noisy": 4})])
def test_the_integration_is_plain_gradient_descent(make, settings):
    toy = make(steps=150, frames=151, seed=3, **settings)
    loss, weights, s0, s1, x = plain(toy)
    toy = toy.at()
    assert_close(toy.loss, loss, atol=2e-5, rtol=1e-5)
    assert_close(toy.weights, weights, atol=3e-6 * weights.abs().max(), rtol=0)
    for mine, theirs in ((toy.s0, s0), (toy.s1, s1), (toy.x, x)):
        assert_close(mine, theirs, atol=1e-5 * max(s0.abs().max(), s1.abs().max()), rtol=0)


def test_dead_directions_keep_their_digits():
    toy = two_layer_toy(1.2, steps=150, frames=151)
    expected = torch.linalg.svdvals(plain(toy)[1])
    assert expected.min() < 1e-7
    assert_close(toy.at().singular_values(), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("loss", LOSSES)
def test_exponents_that_overflow_are_computed_again(loss, monkeypatch):
    safe, real = [], toys._Pairs._exponentials
    monkeypatch.setattr(toys._Pairs, "_exponentials",
                        lambda *args, **how: safe.append("safe" in how) or real(*args, **how))
    toy = linear_toy((0.1, 60.0), loss=loss, steps=0)
    assert safe == [False, True] and toy.loss.isfinite().all()
    for noise in (0.1, 60.0):
        alone = linear_toy(noise, loss=loss, steps=0)
        expected, found = plain(alone), toy.at(noise=noise)
        for mine, theirs in ((found.loss, expected[0]), (found.x, expected[-1])):
            assert_close(mine, theirs, rtol=1e-4, atol=1e-5 * theirs.abs().max().item())


# ------------------------------------------------------------------------------------------------ sweeps

def same(one: Toy, other: Toy, rtol=1e-5):
    assert one.axes == other.axes and one.steps.equal(other.steps)
    for name in ("loss", "weights", "s0", "s1", "x"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert_close(mine, theirs, rtol=rtol, atol=rtol * theirs.abs().max().item())


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("at_once", [64, 3])
def test_a_setting_in_a_sweep_is_the_setting_alone(loss, at_once, monkeypatch):
    monkeypatch.setattr(toys, "SETTINGS_AT_ONCE", at_once)
    fixed = {"loss": loss, "steps": 80, "frames": 5}
    sweep = linear_toy((0.0, 0.5, 2.0), (0, 3, 16), rate=(0.001, 0.002), seed=(0, 7), **fixed)
    assert sweep.loss.shape == (5, 3, 3, 2, 2)
    for noise, noisy, rate, seed in [(0.0, 3, 0.001, 0), (2.0, 16, 0.002, 7), (0.5, 0, 0.002, 0), (2.0, 3, 0.001, 7)]:
        same(sweep.at(noise=noise, noisy=noisy, rate=rate, seed=seed),
             linear_toy(noise, noisy, rate=rate, seed=seed, **fixed).at())


@pytest.mark.parametrize("rows, seeds", [(1, 1), (7, 1), (1, 40), (64, 1), (100, 3), (3, 200), (1000, 1), (70, 70)])
@pytest.mark.parametrize("cores", [1, 2, 16])
def test_parts_cover_the_sweep_once(rows, seeds, cores):
    covered, parts = torch.zeros(rows, seeds), toys._parts(rows, seeds, cores)
    for row, seed in parts:
        covered[row, seed] += 1
        assert covered[row, seed].numel() <= max(toys.SETTINGS_AT_ONCE, min(rows, seeds))
    assert (covered == 1).all()
    assert len(parts) == 1 or rows * seeds > 64 or (covered.numel() / len(parts) >= 8 and len(parts) <= cores)


def test_cores_do_not_change_a_sweep():
    before, sweeps = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            sweeps.append(linear_toy((0.5, 1.0), seed=range(9), steps=40, frames=3))
            sweeps.append(linear_toy([0.1 * k for k in range(9)], seed=(0, 1), steps=40, frames=3))
            assert torch.get_num_threads() == count
    finally: torch.set_num_threads(before)
    same(sweeps[0], sweeps[2])
    same(sweeps[1], sweeps[3])


def test_depths_and_relu_in_one_sweep():
    fixed = {"steps": 60, "frames": 4, "noise": 0.1, "init": "default"}
    sweep = two_layer_toy(layers=(1, 3, 2), relu=(False, True), seed=(0, 1), **fixed)
    assert sweep.weights.shape == (4, 3, 2, 1, 1, 1, 1, 2, 3, 16, 16)
    for layers in (1, 2, 3):
        for relu in (False, True):
            picked = sweep.at(layers=layers, relu=relu, seed=1)
            alone = two_layer_toy(layers=layers, relu=relu, seed=1, **fixed).at()
            same(picked, alone)
            assert_close(picked.embedding_spectrum(), alone.embedding_spectrum(), rtol=1e-4, atol=1e-5)
            everywhere = sweep.embedding_spectrum()[:, (1, 3, 2).index(layers), int(relu), 0, 0, 0, 0, 1]
            assert_close(everywhere, alone.embedding_spectrum(), rtol=1e-4, atol=1e-5)
    assert sweep.singular_values()[0, 0, 0, 0, 0, 0, 0, 0].isnan().sum() == 32      # the two layers that L = 1 has not


def test_decay_and_noise_in_one_sweep():
    sweep = two_layer_toy((0.05, 0.35), noise=(0.001, 0.3), steps=60, frames=4)
    same(sweep.at(decay=0.35, noise=0.3), two_layer_toy(0.35, noise=0.3, steps=60, frames=4).at())
    first = sweep.at(noise=0.001).singular_values()[0]
    assert_close(first[0], torch.exp(-0.05 * torch.arange(16)).double().expand(2, 16), rtol=1e-6, atol=0)


def test_the_draws_depend_on_the_seed_alone():
    one, again, other = (linear_toy(steps=100, frames=3, seed=seed) for seed in (1, 1, 2))
    assert one.weights.equal(again.weights) and not one.weights[0].equal(other.weights[0])
    longer = linear_toy(steps=200, frames=5, seed=1)
    assert longer.weights[:3].equal(one.weights)
    state = torch.get_rng_state()
    linear_toy(steps=3)
    assert torch.get_rng_state().equal(state)


def test_a_batch_has_no_sample_twice_and_a_pass_has_all():
    views = _draws([5], torch.zeros(1, 4), 60, 20, True)
    for _ in range(3):
        seen = torch.cat([next(views)[0, :20].clone() for _ in range(3)])
        assert len(seen.unique(dim=0)) == 60
    assert (next(views)[0, 20:] == 0).all()


def test_the_noise_has_the_strength_and_place_that_were_asked_for():
    spread = torch.tensor([[0.0, 0.0, 0.5], [0.0, 2.0, 2.0]])
    views = _draws([5], spread, 20_000, 10_000, False)
    moves = torch.cat([v[:, :10_000] - v[:, 10_000:] for v in (next(views).clone() for _ in range(4))], 1)
    assert_close(moves.std(1), spread * math.sqrt(2), rtol=0.03, atol=0)
    both = next(_draws([5], spread, 20_000, 10_000, True))
    assert_close(both[:, 10_000:].std(1), spread * math.sqrt(2), rtol=0.03, atol=0)


# ------------------------------------------------------------------------------------------------ divergence

def test_a_setting_that_diverges_is_named_and_leaves_the_others_alone():
    fixed = {"steps": 100, "frames": 11, "seed": (0, 1), "decay": (0.35, 0.1), "loss": "dot"}
    with pytest.warns(RuntimeWarning) as told: sweep = two_layer_toy(rate=(0.01, 5.0), **fixed)
    assert len(told) == 4 and all("rate=5.0" in str(w.message) and "decay=" in str(w.message) for w in told)
    assert {w.filename for w in told} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = two_layer_toy(rate=0.01, **fixed)
    same(sweep.at(rate=0.01), alone.at())
    gone = sweep.at(rate=5.0)
    assert gone.loss[0].isfinite().all() and gone.loss[-1].isnan().all() and gone.weights[-1].isnan().all()
    for values in (gone.singular_values(), gone.eigenvalues(), gone.alignment(), gone.embedding_spectrum()):
        assert values[0].isfinite().all() and values[-1].isnan().all()


# ------------------------------------------------------------------------------------------------ the record

def test_steps_and_frames():
    assert linear_toy(steps=10, frames=3).steps.tolist() == [0, 5, 10]
    assert linear_toy(steps=3, frames=101).steps.tolist() == [0, 1, 2, 3]
    toy = linear_toy(steps=0)
    assert toy.steps.tolist() == [0] and toy.weights.shape == (1, 1, 1, 1, 1, 1, 16, 16)
    assert toy.steps.dtype == torch.int64 and toy.weights.dtype == toy.x.dtype == toy.loss.dtype == torch.float64


def test_picking():
    toy = two_layer_toy((0.1, 0.3), rate=(0.01, 0.001), steps=4, frames=3, seed=(3, 4))
    assert toy.at().axes == {"decay": (0.1, 0.3), "rate": (0.01, 0.001), "seed": (3, 4)}
    one = toy.at(decay=0.3, seed=4, rate=0.001)
    assert one.axes == {} and one.weights.shape == (3, 2, 16, 16) and one.settings["seed"] == 4
    assert one.rate == 0.001 and one.time.tolist() == pytest.approx([0, 0.002, 0.004])
    assert one.weights.equal(toy.weights[:, 0, 0, 0, 0, 1, 1, 1])
    with pytest.raises(ValueError, match=r"0\.01, 0\.001.*pick one"): toy.time
    with pytest.raises(ValueError, match=r"no toy with decay=0\.2; there are 0\.1, 0\.3"): toy.at(decay=0.2)
    with pytest.raises(ValueError, match="colour is no setting"): toy.at(colour=1)
    with pytest.raises(ValueError, match="none left"): one.at(seed=4)


def test_derived_values():
    toy = two_layer_toy(steps=40, frames=3, layers=3, noise=0.1, relu=False).at()
    assert_close(toy.singular_values(), torch.linalg.svdvals(toy.weights))
    assert_close(toy.x, toy.s0 - toy.s1)
    for what in ("s0", "s1", "x"):
        assert_close(toy.eigenvalues(what), torch.linalg.eigvalsh(getattr(toy, what)).flip(-1))
    assert_close(toy.alignment(), aligned(toy.weights[:, 0], toy.weights[:, 1]))
    whole = toy.weights[:, 2] @ toy.weights[:, 1] @ toy.weights[:, 0]
    assert_close(toy.embedding_spectrum(), torch.linalg.svdvals(whole @ whole.mT))
    with pytest.raises(ValueError, match='"s0", "s1", "x"'): toy.eigenvalues("w")
    with pytest.raises(ValueError, match="two layers"): linear_toy(steps=0).alignment()


def test_the_spectrum_behind_relu_is_that_of_many_samples():
    toy = two_layer_toy(layers=3, relu=True, init="default", steps=40, frames=2).at()
    z = normal(100_000, 16, seed=9)
    for k, layer in enumerate(toy.weights[-1]): z = (z.relu() if k else z) @ layer.T
    assert_close(toy.embedding_spectrum()[-1], torch.linalg.svdvals(z.T.cov()), rtol=0.25, atol=1e-4)


@pytest.mark.parametrize("call, message", [
    (lambda: linear_toy(-1.0), "noise must be one float ≥ 0 or several"), (lambda: linear_toy(()), "noise must be"),
    (lambda: linear_toy((1.0, 1.0)), "several different"), (lambda: linear_toy(math.nan), "noise must be"),
    (lambda: linear_toy("loud"), "noise must be"), (lambda: linear_toy(noisy=17), "0 … dim = 16, got 17"),
    (lambda: linear_toy(noisy=2.5), "noisy must be one int"), (lambda: linear_toy(loss="cosine"), "sqdist, dot"),
    (lambda: linear_toy(batch=1), "batch must lie in 2"), (lambda: linear_toy(samples=100), "100 samples"),
    (lambda: linear_toy(frames=1), "frames ≥ 2"), (lambda: linear_toy(steps=-1), "steps ≥ 0"),
    (lambda: linear_toy(temperature=0), "temperature must be > 0"), (lambda: two_layer_toy(layers=0), "layers must be"),
    (lambda: two_layer_toy(init="ones"), "spectrum, default"), (lambda: two_layer_toy(relu=3), "relu must be"),
    (lambda: two_layer_toy(rate=-0.1), "rate must be"), (lambda: two_layer_toy(math.inf), "decay must be")])
def test_bad_settings_are_refused(call, message):
    with pytest.raises(ValueError, match=message): call()


# ------------------------------------------------------------------------------------------------ behaviour

def test_the_difference_of_the_layers_is_conserved():
    def drift(rate):
        toy = two_layer_toy(noise=0.1, rate=rate, steps=round(2 / rate), samples=128, frames=2, seed=(0, 1)).at()
        one, two = toy.weights.unbind(-3)
        kept = one @ one.mT - two.mT @ two
        return ((kept[-1] - kept[0]).flatten(1).norm(dim=1) / kept[0].flatten(1).norm(dim=1)).max().item()

    coarse, fine = drift(0.004), drift(0.0005)
    assert fine < 1e-3 and coarse / fine == pytest.approx(8, rel=0.5)


@pytest.mark.parametrize("loss", LOSSES)
def test_noisy_directions_fall(loss):
    toy = linear_toy((0.01, 1.0, 1.5, 3.0), loss=loss, seed=(0, 1, 2), frames=2).at()
    s = toy.singular_values()[-1, :, :, 0]
    fallen = (s < s[..., :8].quantile(0.5, dim=-1, keepdim=True) / 2).sum(-1)
    assert (fallen[1:] == 8).all()
    assert loss == "sqdist" or (fallen[0] == 0).all()
    assert ((s[..., 8:].mean(-1) / s[..., :8].mean(-1)).diff(dim=0) < 0).all()
    assert s.min() > 0.01                                               # an equilibrium, not zeros


def test_few_directions_grow_and_both_layers_agree_on_them():
    toy = two_layer_toy(seed=(0, 1, 2), frames=2).at()
    s, A, spectrum = toy.singular_values()[-1], toy.alignment(), toy.embedding_spectrum().log()
    grown = (s > 1).sum(-1)
    assert (grown[:, 0] == grown[:, 1]).all() and grown.min() >= 3 and grown.max() <= 6
    assert ((spectrum[0, :, 0] - spectrum[0, :, -1]) > 15).all()
    for seed, r in enumerate(grown[:, 0].tolist()):
        assert A[0, seed, :r, :r].square().sum() / r < 0.7 < 0.99 < A[1, seed, :r, :r].square().sum() / r
        assert ((s[seed, 0, :r] - s[seed, 1, :r]).abs() < 0.05 * s[seed, 0, :r]).all()
        assert spectrum[1, seed].diff().argmin() + 1 in (r, r + 1) and spectrum[1, seed].diff().min() < -3


def test_a_plateau_of_equal_directions_is_aligned_as_a_whole():
    toy = two_layer_toy(loss="dot", seed=(0, 1, 2), frames=2).at()
    s, A = toy.singular_values()[-1, :, 0], toy.alignment()[-1]
    for seed, r in enumerate((s > 0.3).sum(-1).tolist()):
        assert 10 <= r <= 15 and A[seed, :r, :r].square().sum() / r > 0.99
        assert A[seed].diagonal()[:r].mean() < 0.5


@pytest.mark.parametrize("relu", [False, True])
def test_depth_takes_directions(relu):
    toy = two_layer_toy(layers=(1, 2, 3, 4), relu=relu, init="default", noise=0.1, frames=2)
    rank = torch.stack([effective_rank(toy.at(layers=n).embedding_spectrum()[-1]) for n in (1, 2, 3, 4)])
    assert (rank.diff(dim=0) < 0).all() and rank[0] > 2 * rank[3]
