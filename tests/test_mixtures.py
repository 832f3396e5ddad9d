"""Gaussian mixtures: against scikit-learn and closed forms in float64, and degenerate input."""

import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from clnb.core import generator
from clnb.metrics import nmi
from clnb.mixtures import KINDS, Mixture, ellipse, gaussian_mixture, select_components


def clouds(n=400, k=3, d=4, seed=0, apart=4.0, dtype=torch.float64):
    rng = generator(seed)
    label = torch.arange(n) % k
    centre = apart * torch.randn(k, d, generator=rng, dtype=dtype)
    return centre[label] + torch.randn(n, d, generator=rng, dtype=dtype) * torch.linspace(0.4, 1.5, d).to(dtype), label


def peer(x, own, k, kind, ridge, steps):
    "scikit-learn from the same first assignments, after the same number of steps."
    model = GaussianMixture(k, covariance_type=kind, reg_covar=ridge)
    model._initialize(x, np.eye(k)[own])
    for _ in range(steps): model._m_step(x, model._e_step(x)[1])
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_steps_are_scikit_learns(kind, seed):
    x, _ = clouds(seed=seed)
    own = torch.randint(3, (1, len(x)), generator=generator(seed))
    theirs = peer(x.numpy(), own[0].numpy(), 3, kind, 1e-3, 8)
    ours = gaussian_mixture(x, 3, covariance=kind, ridge=1e-3, iterations=8, tolerance=0.0, starts=own)
    full = {"full": lambda c: c, "tied": lambda c: np.broadcast_to(c, (3, *c.shape)),
            "diag": lambda c: np.stack([np.diag(v) for v in c]),
            "spherical": lambda c: np.stack([v * np.eye(4) for v in c])}[kind](theirs.covariances_)
    for mine, other in ((ours.means, theirs.means_), (ours.weights, theirs.weights_),
                        (ours.covariances, np.array(full)),
                        (ours.log_prob(x), theirs.score_samples(x.numpy())),
                        (ours.responsibilities(x), theirs.predict_proba(x.numpy()))):
        assert torch.allclose(mine, torch.from_numpy(other), atol=1e-8)
    assert ours.parameters == theirs._n_parameters()


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_is_as_good_as_scikit_learns(kind):
    x, label = clouds(600, 5, 6, seed=3)
    ours = gaussian_mixture(x, 5, covariance=kind, restarts=5, tolerance=1e-6)
    theirs = GaussianMixture(5, covariance_type=kind, reg_covar=1e-3, n_init=5, tol=1e-6, max_iter=200,
                             random_state=0).fit(x.numpy())
    assert ours.log_likelihood > theirs.lower_bound_ - 1e-3 and ours.converged
    assert ours.bic < theirs.bic(x.numpy()) + 2e-3 * len(x)
    assert nmi(ours.assign(x), label) > 0.95


def test_batched_restarts_are_single_ones():
    "Every start ends where it ends alone, and the likeliest is kept."
    x, _ = clouds(300, 4, 3, seed=1, apart=1.0)
    own = torch.randint(4, (6, 300), generator=generator(5))
    alone = [gaussian_mixture(x, 4, starts=own[r:r + 1]) for r in range(6)]
    best = max(alone, key=lambda m: m.log_likelihood)
    together = gaussian_mixture(x, 4, starts=own)
    assert torch.allclose(together.means, best.means, atol=1e-10) and together.iterations == best.iterations


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_from_the_origin(dtype):
    "Rows around 10,000 are fitted as those around 0."
    x, _ = clouds(dtype=torch.float64)
    near, far = (gaussian_mixture((x + shift).to(dtype), 3, restarts=2) for shift in (0, 10_000))
    assert abs(near.log_likelihood - far.log_likelihood) < 2e-2
    assert far.means.dtype == dtype


def test_one_component_is_mean_and_covariance():
    x, _ = clouds()
    found = gaussian_mixture(x, 1, ridge=0.0)
    assert torch.allclose(found.means[0], x.mean(0))
    assert torch.allclose(found.covariances[0], torch.cov(x.T, correction=0))
    normal = torch.distributions.MultivariateNormal(found.means[0], found.covariances[0])
    assert torch.allclose(found.log_prob(x), normal.log_prob(x)) and found.entropy(x).abs().max() == 0


def test_scores_of_a_mixture():
    mixture = Mixture(torch.tensor([0.25, 0.75]).double(), torch.tensor([[-3.0], [3.0]]).double(),
                      torch.ones(2, 1, 1).double(), "full", -1.0, 100)
    x = torch.tensor([[0.0], [-3.0]]).double()
    log = [math.log(w) - 0.5 * (a - m) ** 2 - 0.5 * math.log(2 * math.pi)
           for a in (0, -3) for w, m in ((0.25, -3), (0.75, 3))]
    assert torch.allclose(mixture.joint(x).flatten(), torch.tensor(log).double())
    assert torch.allclose(mixture.responsibilities(x)[0], torch.tensor([0.25, 0.75]).double())
    expected = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert abs(mixture.entropy(x)[0].item() - expected) < 1e-12
    assert mixture.parameters == 1 + 2 + 2 and mixture.bic == pytest.approx(5 * math.log(100) + 200)
    assert mixture.aic == pytest.approx(10 + 200)
    drawn, which = mixture.sample(20_000, seed=1)
    assert abs((which == 1).double().mean().item() - 0.75) < 0.02
    assert abs(drawn[which == 1].mean().item() - 3) < 0.05 and abs(drawn[which == 0].std().item() - 1) < 0.05


def test_an_ellipse_has_its_distance():
    covariance = torch.tensor([[2.0, 0.7], [0.7, 0.5]]).double()
    line = ellipse(torch.tensor([1.0, -2.0]).double(), covariance, radius=1.5) - torch.tensor([1.0, -2.0]).double()
    assert torch.allclose((line @ torch.linalg.inv(covariance) * line).sum(1), torch.tensor(2.25).double())


def test_bic_finds_the_number():
    x, _ = clouds(600, 4, 3, seed=2, apart=6.0)
    found = select_components(x, range(2, 7), restarts=4)
    assert min(found, key=lambda k: found[k].bic) == 4


def test_many_rows_start_from_a_sample():
    x, label = clouds(30_000, 3, 4, dtype=torch.float32, apart=6.0)
    assert nmi(gaussian_mixture(x, 3, restarts=2).assign(x), label) > 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_equal_rows_a_constant_column_and_empty_components(kind):
    x, _ = clouds(60, 2, 3)
    x[:, 1] = 5.0
    same = torch.cat([x[:1].repeat(30, 1), x])
    found = gaussian_mixture(same, 6, covariance=kind, restarts=3)
    assert found.means.isfinite().all() and found.covariances.isfinite().all() and math.isfinite(found.log_likelihood)
    assert abs(found.weights.sum().item() - 1) < 1e-9
    assert gaussian_mixture(x[:1].repeat(8, 1), 3, covariance=kind).log_prob(x[:1]).isfinite().all()


def test_errors_say_what_to_do():
    x, _ = clouds(20)
    for given, text in (({"components": 21}, "21 components need as many rows, got 20"),
                        ({"components": 0}, "components must be a whole number from 1 upward, got 0"),
                        ({"components": 2, "covariance": "round"}, "covariance is 'round'; expected one of full"),
                        ({"components": 2.0}, "components must be a whole number from 1 upward, got 2.0"),
                        ({"components": 2, "ridge": -1.0}, "ridge must be a number from 0 upward, got -1.0"),
                        ({"components": 2, "ridge": math.nan}, "ridge must be a number from 0 upward, got nan"),
                        ({"components": 2, "tolerance": math.nan}, "tolerance must be a number from 0 upward"),
                        ({"components": 2, "starts": torch.full((1, 19), 1)}, r"of shape \[R, 20\], got .*19"),
                        ({"components": 2, "starts": torch.full((1, 20), 2)}, r"in 0 … 1 of shape"),
                        ({"components": 2, "restarts": 0}, "restarts must be a whole number")):
        with pytest.raises(ValueError, match=text): gaussian_mixture(x, **given)
    with pytest.raises(ValueError, match="row 3 is not finite"):
        gaussian_mixture(x.index_fill(0, torch.tensor([3]), math.inf), 2)
    with pytest.raises(ValueError, match=r"rows must be \[N, D\], got \[20\]"): gaussian_mixture(x[:, 0], 2)
    with pytest.raises(ValueError, match="larger ridge"): gaussian_mixture(x[:1].repeat(8, 1), 2, ridge=0.0)
    with pytest.raises(ValueError, match=r"rows must be \[N, 4\], got \[20, 3\]"):
        gaussian_mixture(x, 2).log_prob(x[:, :3])
    with pytest.raises(ValueError, match="row 0 is not finite"): gaussian_mixture(x, 2).assign(x * math.nan)
    with pytest.raises(ValueError, match="the rows are too large"): gaussian_mixture(x.float() * 1e25, 2)
    with pytest.raises(ValueError, match="candidates is empty"): select_components(x, [])
    with pytest.raises(ValueError, match="count must be at least 1"): gaussian_mixture(x, 2).sample(0)
    assert len(gaussian_mixture(x, np.int64(2)).weights) == 2
