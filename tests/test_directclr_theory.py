"""The theory of the DirectCLR lesson: hand-checkable values, exact flows and lemmas, all in double precision."""

import math

import pytest
import torch
from torch.testing import assert_close

from clnb.collapse import collapsed_fraction, log_spectrum
from clnb.core import generator
from clnb.methods.directclr import direct_clr_loss, symmetric_info_nce
from clnb.toys import aligned, dot_loss, flow, growth, sqdist_loss


def numbers(values): return torch.tensor(values, dtype=torch.float64)


def normal(*shape, seed=0): return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def near(actual, expected, tolerance=1e-6):
    assert_close(torch.as_tensor(actual, dtype=torch.float64), torch.as_tensor(expected, dtype=torch.float64),
                 atol=tolerance, rtol=0)


# ------------------------------------------------------------------------------------------------ values by hand

def test_theory_loss_of_two_samples():
    z, zb = numbers([[0, 0], [2, 0]]), numbers([[0, 1], [2, 1]])
    near(sqdist_loss(z, zb), 2 * math.log1p(math.exp(-1.5)), 1e-14)
    near(sqdist_loss(z, zb), 0.402827)


@pytest.mark.parametrize("count, temperature, value", [(2, 1.0, 0.313262), (2, 0.1, 4.53989e-05), (5, 0.5, None)])
def test_info_nce_of_orthonormal_views(count, temperature, value):
    z = torch.eye(count, 7, dtype=torch.float64)
    expected = math.log1p((count - 1) * math.exp(-1 / temperature))
    near(symmetric_info_nce(z, z, temperature), expected, 1e-12)
    if value is not None: near(expected, value, 1e-6)


def test_direct_clr_loss_of_two_samples():
    ra, rb = numbers([[3, 4, 9], [4, -3, -7]]), numbers([[4, 3, 100], [3, -4, 5]])
    near(direct_clr_loss(ra, rb, 2, 0.5), 0.154440)
    near(direct_clr_loss(ra, rb, 3, 0.5), 0.574363)


@pytest.mark.parametrize("a, alpha, x", [(1, 0.182426, 1.094554), (3, 0.924142, -9.241418), (2, 0.5, 0.0)])
def test_one_dimension(a, alpha, x):
    data = numbers([[0], [2]])
    found = flow(data, data + a, data, data + a)
    near(found.alpha[0, 1], alpha)
    near(found.x.item(), x)
    near(found.x.item(), 2 * found.alpha[0, 1] * (4 - a**2), 1e-12)


@pytest.mark.parametrize("w", [0.01, 0.3, 1.0, 3.0])
def test_the_sign_of_x_flips_where_the_augmentation_reaches_as_far_as_the_data(w):
    data = numbers([[0], [2]])
    signs = [flow(data, data + a, w * data, w * (data + a)).x.sign().item() for a in (1.5, 1.99, 2, 2.01, 2.5)]
    assert signs == [1, 1, 0, -1, -1]


@pytest.mark.parametrize("normalize, ddof, expected", [
    (False, 0, (0.5, 0.005)), (False, 1, (2 / 3, 0.02 / 3)), (True, 0, (0.5, 0.5)), (True, 1, (2 / 3, 2 / 3))])
def test_spectrum_of_four_points(normalize, ddof, expected):
    four = numbers([[1, 0], [-1, 0], [0, 0.1], [0, -0.1]])
    near(log_spectrum(four, normalize=normalize, ddof=ddof), numbers(expected).log(), 1e-12)
    near(numbers([0.5, 0.005, 2 / 3, 0.02 / 3]).log(), [-0.693147, -5.298317, -0.405465, -5.010635])


def test_alignment_by_hand():
    first, second, h = numbers([3, 1]).diag(), numbers([2, 0.5]).diag(), math.sqrt(0.5)
    near(aligned(first, second), torch.eye(2), 1e-12)
    near(aligned(first, second @ numbers([[h, -h], [h, h]])), torch.full((2, 2), 0.707107))


def test_growth_by_hand():
    near(growth(numbers([1, 0.1]), 1.0, 0.4), [2.236068, 0.100402])
    near(growth(numbers([1, 0.1]), 1.0, 0.4, layers=1), [math.exp(0.4), math.exp(0.4) / 10], 1e-12)
    near(growth(1.0, 1.0, 0.4) / growth(0.1, 1.0, 0.4), 22.27, 5e-3)
    assert growth(torch.tensor(1.0), 1.0, 0.6).isinf()


def test_any_orthogonal_matrix_leaves_the_loss():
    ra, rb = normal(2, 12, 6)
    turn = torch.linalg.qr(normal(6, 6, seed=1)).Q
    near(symmetric_info_nce(ra @ turn, rb @ turn, 0.1), symmetric_info_nce(ra, rb, 0.1), 1e-12)


# ------------------------------------------------------------------------------------------------ flows

@pytest.mark.parametrize("loss", [sqdist_loss, dot_loss])
@pytest.mark.parametrize("count, inputs, outputs", [(2, 1, 1), (7, 3, 5), (33, 16, 16), (20, 6, 2)])
def test_the_flow_is_the_negative_slope(loss, count, inputs, outputs):
    x = normal(count, inputs)
    xb = x + 0.7 * normal(count, inputs, seed=1)
    W = normal(outputs, inputs, seed=2).requires_grad_()
    slope, = torch.autograd.grad(loss(x @ W.T, xb @ W.T), W)
    found = flow(x, xb, x @ W.T, xb @ W.T, loss.__name__.removesuffix("_loss"))
    near(-slope, (W @ found.x).detach(), 1e-10)


def test_the_two_covariances_by_their_definition():
    x, z = normal(2, 9, 4)
    xb, zb = x + normal(9, 4, seed=1), z + normal(9, 4, seed=2)
    found = flow(x, xb, z, zb)
    s0, s1 = torch.zeros(2, 4, 4, dtype=torch.float64)
    for i in range(9):
        weights = [math.exp(-(z[i] - (z[j] if j != i else zb[i])).square().sum() / 2) for j in range(9)]
        near(found.alpha[i], numbers(weights) / sum(weights), 1e-12)
        for j in range(9):
            if j != i: s0 += weights[j] / sum(weights) * torch.outer(x[i] - x[j], x[i] - x[j])
        s1 += (1 - weights[i] / sum(weights)) * torch.outer(xb[i] - x[i], xb[i] - x[i])
    near(found.s0, s0, 1e-10)
    near(found.s1, s1, 1e-10)
    near(found.x, s0 - s1, 1e-10)
    assert torch.linalg.eigvalsh(found.s0).min() > -1e-12 < torch.linalg.eigvalsh(found.s1).min()


def test_two_layers_follow_the_chain_rule():
    x = normal(16, 5)
    xb = x + 0.3 * normal(16, 5, seed=1)
    first, second = (normal(2, 5, 5, seed=2) / 2).requires_grad_().unbind()
    whole = second @ first
    slopes = torch.autograd.grad(sqdist_loss(x @ whole.T, xb @ whole.T), (first, second))
    X = flow(x, xb, x @ whole.T, xb @ whole.T).x
    near(-slopes[0], (second.T @ whole @ X).detach(), 1e-10)
    near(-slopes[1], (whole @ X @ first.T).detach(), 1e-10)


def test_the_difference_of_the_layers_is_conserved():
    x = normal(24, 4)
    xb = x + 0.2 * normal(24, 4, seed=1)

    def drift(rate):
        one, two = normal(2, 4, 4, seed=2) / 2
        before = one @ one.T - two.T @ two
        for _ in range(round(1 / rate)):
            whole = two @ one
            X = flow(x, xb, x @ whole.T, xb @ whole.T).x / len(x)
            one, two = one + rate * two.T @ whole @ X, two + rate * whole @ X @ one.T
        return ((one @ one.T - two.T @ two - before).norm() / before.norm()).item()

    coarse, fine = drift(1e-2), drift(1e-3)
    assert fine < 1e-3 and coarse / fine == pytest.approx(10, rel=0.3)


def test_growth_solves_its_equation():
    s, c, h = numbers([0.2, 0.7, 1.0]), numbers([1.5, 0.5, -2.0]), 1e-6
    for layers in (1, 2):
        slope = (growth(s, c, 0.3 + h, layers) - growth(s, c, 0.3 - h, layers)) / (2 * h)
        near(slope, c * growth(s, c, 0.3, layers) ** (2 * layers - 1), 1e-7)
        near(growth(s, c, 0.0, layers), s, 1e-15)


def test_growth_is_what_aligned_layers_do():
    X, s = numbers([1.0, 0.5, 0.2]).diag(), numbers([0.8, 0.4, 0.2])
    U, V, M = (torch.linalg.qr(normal(3, 3, seed=k)).Q for k in range(3))
    one, two, dt, X = M @ s.diag() @ V.T, U @ s.diag() @ M.T, 1e-4, V @ X @ V.T
    for _ in range(4000):
        one, two = one + dt * two.T @ two @ one @ X, two + dt * two @ one @ X @ one.T
    expected = growth(s, numbers([1.0, 0.5, 0.2]), 0.4)
    assert_close(torch.linalg.svdvals(one), expected, rtol=1e-3, atol=0)
    assert_close(torch.linalg.svdvals(two), expected, rtol=1e-3, atol=0)
    near(aligned(one, two), torch.eye(3), 1e-6)


# ------------------------------------------------------------------------------------------------ lemmas

START, SPEED, BEND = normal(3, 5, 5, seed=7)


def moving(t): return START + t * SPEED + t**2 * BEND


def turned(which, t):
    "Left or right vectors at time t, with the signs of those at 0."
    now, then = (getattr(torch.linalg.svd(moving(at)), which) for at in (t, 0.0))
    now, then = (now, then) if which == "U" else (now.T, then.T)
    return now * (now * then).sum(0).sign()


def test_singular_values_move_by_the_velocity_along_their_vectors():
    U, _, Vh = torch.linalg.svd(START)
    values = (torch.linalg.svdvals(moving(1e-5)) - torch.linalg.svdvals(moving(-1e-5))) / 2e-5
    near(torch.einsum("ik, ij, kj -> k", U, SPEED, Vh), values, 1e-8)


def test_singular_vectors_turn_into_each_other():
    U, S, Vh = torch.linalg.svd(START)
    H = (1 / (S**2 - S[:, None] ** 2)).fill_diagonal_(0)
    for which, vectors, other, speed in (("U", U, Vh.T, SPEED), ("Vh", Vh.T, U, SPEED.T)):
        inner = vectors.T @ speed @ other * S
        found = vectors @ (H * (inner + inner.T))
        near(found, (turned(which, 1e-5) - turned(which, -1e-5)) / 2e-5, 1e-6)


# ------------------------------------------------------------------------------------------------ spectra

def test_log_spectrum_is_that_of_the_covariance():
    z = normal(200, 9) * torch.linspace(0.1, 3, 9) + 5
    near(log_spectrum(z, normalize=False), torch.linalg.svdvals(z.T.cov()).log(), 1e-9)
    unit = z / z.norm(dim=1, keepdim=True)
    near(log_spectrum(z), torch.linalg.svdvals(unit.T.cov()).log(), 1e-7)
    near(log_spectrum(z, ddof=0), log_spectrum(z) + math.log(199 / 200), 1e-9)
    assert log_spectrum(z.float()).dtype == torch.float64


def test_log_spectrum_does_not_see_rotations_nor_with_normalisation_lengths():
    z = normal(100, 6)
    turn = torch.linalg.qr(normal(6, 6, seed=1)).Q
    near(log_spectrum(z @ turn), log_spectrum(z), 1e-9)
    near(log_spectrum(z * torch.rand(100, 1, generator=generator(2)).double().add(0.1)), log_spectrum(z), 1e-9)
    near(log_spectrum(3 * z + 7, normalize=False), log_spectrum(z, normalize=False) + 2 * math.log(3), 1e-9)


@pytest.mark.parametrize("rows, width", [(5, 8), (8, 8), (9, 8)])
def test_few_rows_have_few_directions(rows, width):
    s = log_spectrum(normal(rows, width), normalize=False)
    assert len(s) == width and s.isfinite().all() and (s.diff() <= 0).all()
    assert (s > s[0] - 30).sum() == min(rows - 1, width)


def test_dead_directions_are_seen_in_double_precision():
    z = normal(300, 10) * torch.cat([torch.ones(6), torch.full((4,), 1e-9)]) @ torch.linalg.qr(normal(10, 10, seed=3)).Q
    s = log_spectrum(z, normalize=False)
    assert (s[6:] - 2 * math.log(1e-9)).abs().max() < 1 and collapsed_fraction(s.exp()) == 0.4


@pytest.mark.parametrize("z, message", [
    (torch.ones(8, 3), "all embeddings are equal"), (torch.zeros(8, 3), "all embeddings are equal"),
    (torch.ones(8), r"\[N, D\]"), (torch.ones(1, 3), "N > 1"), (torch.full((8, 3), math.nan), "not finite")])
def test_log_spectrum_refuses(z, message):
    with pytest.raises(ValueError, match=message): log_spectrum(z)


@pytest.mark.parametrize("s, share", [([1, 1, 1], 0), ([1, 1e-5, 1e-7, 0], 0.5), ([2], 0)])
def test_collapsed_fraction(s, share):
    assert collapsed_fraction(numbers(s)) == share


def test_collapsed_fraction_knows_the_precision():
    s = numbers([1, 1e-5])
    assert (collapsed_fraction(s), collapsed_fraction(s.float()), collapsed_fraction(s, eps=1e-3)) == (0, 0.5, 0.5)


@pytest.mark.parametrize("s", [[0.0, 0.0], [1.0, -1.0], [[1.0]], [math.nan, 1.0]])
def test_collapsed_fraction_refuses(s):
    with pytest.raises(ValueError, match="singular values"): collapsed_fraction(numbers(s))
