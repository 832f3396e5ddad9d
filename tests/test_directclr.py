"""DirectCLR: exact values and invariances, where the gradient goes, and runs of every projector."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from clnb import nets
from clnb.augment import VectorNoise, affine_noise
from clnb.core import generator, seeded
from clnb.data import VectorSet, load
from clnb.losses import chance, floor
from clnb.methods import directclr
from clnb.methods.directclr import DirectCLR, cross_view_table, direct_clr_loss, symmetric_info_nce
from clnb.run import Run, looking, watch


def normal(*shape, seed=0): return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def vectors():
    """A small set of vectors with classes."""
    labels = torch.arange(256) % 8
    means = 2 * torch.randn(8, 12, generator=generator(5))
    return VectorSet(means[labels] + torch.randn(256, 12, generator=generator(6)), labels, [f"c{k}" for k in range(8)])


def small(kind: str = "sub-vector", dim: int = 4, skip: bool = True, **options) -> DirectCLR:
    """DirectCLR on vectors of 12 numbers, r in R^16."""
    with seeded(0):
        encoder = nets.residual_mlp(12, width=16, blocks=2, skip=skip)
        projector = nets.projector(kind, 16, None if kind in nets.SQUARE else dim)
    return DirectCLR(encoder, VectorNoise(0.3), projector=projector, **options)


def run_of(method, vectors, **options) -> Run:
    """Twelve steps."""
    return Run(method, vectors, **{"steps": 12, "batch_size": 64, "device": "cpu", "progress": False} | options)


def taken(run) -> Run:
    """The run after its last step."""
    for _ in run: pass
    return run


def gradient(function, x):
    """Value and gradient."""
    x = x.clone().requires_grad_()
    value = function(x)
    return value.detach(), torch.autograd.grad(value, x)[0]


# ---------------------------------------------------------------------------------------------- values and invariances

@pytest.mark.parametrize("count", [2, 3, 7, 64])
@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
def test_equal_orthonormal_views(count, temperature):
    """The loss of two equal views that are orthonormal, in any number of further dimensions."""
    z = torch.eye(count, count + 3, dtype=torch.float64)
    expected = math.log1p((count - 1) * math.exp(-1 / temperature))
    assert math.isclose(symmetric_info_nce(z, z, temperature), expected, rel_tol=1e-12)
    assert math.isclose(direct_clr_loss(7 * z, 0.1 * z, count, temperature), expected, rel_tol=1e-12)


@pytest.mark.parametrize("temperature, expected", [(1.0, 0.313262), (0.1, 4.53989e-05)])
def test_two_orthonormal_vectors(temperature, expected):
    """Two by hand."""
    z = torch.eye(2, dtype=torch.float64)
    assert math.isclose(symmetric_info_nce(z, z, temperature), expected, rel_tol=2e-6)


def test_three_channels_by_hand():
    """Slice first, then normalise."""
    ra, rb = torch.tensor([[[3.0, 4, 9], [4, -3, -7]], [[4, 3, 100], [3, -4, 5]]], dtype=torch.float64)
    by_hand = (math.log1p(math.exp(-2.48)) + math.log1p(math.exp(-1.36))) / 2
    assert math.isclose(direct_clr_loss(ra, rb, 2, 0.5), by_hand, rel_tol=1e-12)
    assert math.isclose(by_hand, 0.154440, abs_tol=5e-7)
    assert math.isclose(direct_clr_loss(ra, rb, 3, 0.5), 0.574363, abs_tol=5e-7)


def test_against_an_independent_formula():
    """Both directions, cross-view negatives only, the positive in the denominator."""
    ra, rb = normal(2, 9, 6)
    a, b = (r[:, :4] / r[:, :4].norm(dim=1, keepdim=True) for r in (ra, rb))
    s = (a @ b.T / 0.3).exp()
    expected = -(s.diagonal() / s.sum(1)).log().mean() / 2 - (s.diagonal() / s.sum(0)).log().mean() / 2
    assert_close(direct_clr_loss(ra, rb, 4, 0.3), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_channels_beyond_the_border_do_not_exist(seed):
    """Loss and gradient stay, to 1e-12, and the gradient there is zero."""
    r, d = normal(2, 40, 12, seed=seed), 5
    other = r.clone()
    other[..., d:] = 100 * normal(2, 40, 12 - d, seed=seed + 9) if seed else 100 * other[..., d:]
    (value, slope), (same, also) = (gradient(lambda r: direct_clr_loss(*r, d), x) for x in (r, other))
    assert abs(value - same) < 1e-12 and (slope - also).abs().max() < 1e-12
    assert not slope[..., d:].any() and slope[..., :d].any((0, 1)).all()


def test_permutations_within_and_across():
    """Within the first d0 channels the order is free, across the border it is not."""
    r = normal(2, 40, 12)
    inside, across = r.clone(), r.clone()
    inside[..., :5] = r[..., [3, 0, 4, 1, 2]]
    across[..., [0, 7]] = r[..., [7, 0]]
    value = direct_clr_loss(*r, 5)
    assert abs(direct_clr_loss(*inside, 5) - value) < 1e-12
    assert abs(direct_clr_loss(*across, 5) - value) > 1e-3
    one_side = torch.stack([inside[0], r[1]])
    assert abs(direct_clr_loss(*one_side, 5) - value) > 1e-3


def test_whole_width_is_no_projector():
    """d0 = D, the identity and projector 'none' are one loss."""
    r = normal(2, 40, 12)
    none = nets.projector("none", 12)
    assert direct_clr_loss(*r, 12) == symmetric_info_nce(*r) == symmetric_info_nce(*map(none, r))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_lengths_do_not_count(scale):
    """The cosine: views may be scaled row by row."""
    r = normal(2, 20, 12)
    assert abs(direct_clr_loss(scale * r[0], r[1], 5) - direct_clr_loss(*r, 5)) < 1e-12


@pytest.mark.parametrize("d", [1, 5, 12])
def test_fixed_low_rank_identity(d):
    """A diagonal of ones and zeros is the slice, in value and gradient."""
    r, mask = normal(2, 40, 12), torch.diag((torch.arange(12) < d).double())
    cut, slope = gradient(lambda r: direct_clr_loss(*r, d), r)
    masked, also = gradient(lambda r: symmetric_info_nce(*(r @ mask)), r)
    assert abs(cut - masked) < 1e-12 and (slope - also).abs().max() < 1e-12


@pytest.mark.parametrize("dim", [2, 12, 64])
def test_orthogonal_is_none(dim):
    """An orthogonal matrix changes neither the value nor the gradient on r."""
    r, Q = normal(2, 40, dim), torch.linalg.qr(normal(dim, dim, seed=3)).Q
    (plain, slope), (turned, also) = (gradient(lambda r, M=M: symmetric_info_nce(*(r @ M)), r)
                                      for M in (torch.eye(dim).double(), Q))
    assert abs(plain - turned) < 1e-12 and (slope - also).abs().max() < 1e-12


def test_orthogonal_projector_is_none():
    """The projector itself, made in double precision, also after steps of its own."""
    torch.set_default_dtype(torch.float64)
    try: project = nets.projector("orthogonal", 12, seed=0)
    finally: torch.set_default_dtype(torch.float32)
    optimizer = torch.optim.SGD(project.parameters(), 1.0)
    for step in range(3):
        r = normal(2, 40, 12, seed=step)
        turned, slope = gradient(lambda r: symmetric_info_nce(project(r[0]), project(r[1])), r)
        plain, also = gradient(lambda r: symmetric_info_nce(*r), r)
        assert abs(plain - turned) < 1e-12 and (slope - also).abs().max() < 1e-12
        optimizer.zero_grad()
        project(r[0]).pow(3).sum().backward()
        optimizer.step()


def test_low_rank_projector_is_a_turned_cut():
    """Its loss is the cut of r turned by its right factor."""
    project = nets.projector("low rank", 12, 5, seed=0)
    weight = project.layers.weight.double()
    *_, right = torch.linalg.svd(weight)
    r = normal(2, 40, 12)
    assert abs(symmetric_info_nce(*(r @ weight.T)) - direct_clr_loss(*(r @ right.T), 5)) < 1e-5


# ------------------------------------------------------------------------------------------------- numbers at the edge

@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_precisions(kind):
    """Half precision is computed in float32; gradients come back in the input's own."""
    r = normal(2, 32, 12).relu().to(kind)
    value, slope = gradient(lambda r: direct_clr_loss(*r, 5), r)
    assert value.isfinite() and slope.dtype == kind and slope.isfinite().all() and slope[..., :5].any()
    assert value.dtype == (torch.float64 if kind == torch.float64 else torch.float32)
    exact = direct_clr_loss(*r.double(), 5)
    assert abs(value.double() - exact) < 1e-4 * abs(exact)


@pytest.mark.parametrize("kind", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [slice(0, 1), slice(3, 9), slice(None)])
def test_dead_channels(kind, rows):
    """A sub-vector of zeros gives a finite loss and a finite gradient, zero for its own rows."""
    r = normal(2, 16, 12).relu().to(kind)
    r[:, rows, :5] = 0
    value, slope = gradient(lambda r: direct_clr_loss(*r, 5), r)
    assert value.isfinite() and slope.isfinite().all() and not slope[:, rows].any()
    if rows == slice(None): assert math.isclose(value, math.log(16), rel_tol=1e-6)


def test_dead_channels_after_a_relu():
    """A network whose first channels are dead trains on without a NaN."""
    method = small()
    with torch.no_grad():
        norm = method.encoder.blocks[-1].body[-1]
        norm.weight[:4], norm.bias[:4] = 0, -100
    x = torch.randn(32, 12, generator=generator(1))
    loss = method.contrast(*method.projector(method.encoder(torch.cat([x, x]))).chunk(2))
    loss.backward()
    assert loss.isfinite() and all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize("dim", [0, -1, 13, 2.5, True, None, math.nan])
def test_dim_must_fit(dim):
    """What fits is said."""
    with pytest.raises((ValueError, TypeError)) as error: direct_clr_loss(*normal(2, 4, 12), dim)
    if dim is not None and math.isfinite(dim): assert "1 … 12" in str(error.value) and repr(dim) in str(error.value)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_temperature_must_be_positive(temperature):
    """As in every loss."""
    with pytest.raises(ValueError, match="temperature"): direct_clr_loss(*normal(2, 4, 12), 5, temperature)


def test_views_must_match():
    """Other shapes are refused."""
    with pytest.raises((ValueError, TypeError)): direct_clr_loss(normal(4, 12), normal(5, 12), 5)
    with pytest.raises((ValueError, TypeError)): direct_clr_loss(normal(1, 12), normal(1, 12), 5)


# ---------------------------------------------------------------------------------------------------------- the method

def test_default_share():
    """360 of 2048, and of others the same share, at least one."""
    for width, dim in ((2048, 360), (128, 22), (16, 3), (2, 1)):
        assert DirectCLR(nets.mlp([12, width]), VectorNoise(0.1)).dim == dim


def test_dim_of_the_method():
    """It may change, within its bounds, and is a whole number."""
    method = small()
    assert method.dim == 4 and method.tunable["dim"] == (1, 16) and method.project(torch.zeros(3, 12)).shape == (3, 4)
    method.dim = 6.4
    assert method.dim == 6 and method.projector.out_dim == 6 and method.project(torch.zeros(3, 12)).shape == (3, 6)
    for bad in (0, 17, -3):
        with pytest.raises(ValueError, match=r"1 … 16"): method.dim = bad
    with pytest.raises(ValueError, match="another projector"): small("none").dim = 3
    assert small("none").dim is None and "dim" not in small("none").tunable
    with pytest.raises(ValueError, match="the projector has its own"):
        DirectCLR(nets.mlp([12, 16]), VectorNoise(0.1), dim=3, projector=nets.projector("none", 16))


def test_the_method_is_the_loss(vectors):
    """`loss` is the function on two views, and `bounds` are those of InfoNCE."""
    method, batch = small(), vectors[torch.arange(64)]
    batch.generator = generator(3)
    found = method.loss(batch)["loss"]
    twin = small()
    ra, rb = twin.encoder(torch.cat(twin.views(batch.images, generator(3)))).chunk(2)
    assert_close(found, direct_clr_loss(ra, rb, 4), rtol=0, atol=0)
    shape = {"n": 64, "temperature": 0.1}
    assert method.bounds(64) == {"loss": (chance("info_nce", **shape), floor("info_nce", **shape))}


def test_bounds_bound():
    """Chance is what a collapsed embedding has; no embedding gets below the floor."""
    top, bottom = small().bounds(64)["loss"]
    assert math.isclose(symmetric_info_nce(torch.ones(64, 4), torch.ones(64, 4)), top, rel_tol=1e-6)
    r = normal(64, 63)
    assert bottom <= symmetric_info_nce(r, r) < top
    simplex = torch.eye(64, dtype=torch.float64) - 1 / 64
    assert math.isclose(symmetric_info_nce(simplex, simplex), bottom, rel_tol=1e-6)


@pytest.mark.parametrize("kind", nets.PROJECTORS)
def test_runs_with_every_projector(kind, vectors):
    """Finite losses, within the bounds; what is looked at can be recorded."""
    run = run_of(small(kind), vectors)
    watch(run, vectors.subset(torch.arange(32)), every=6)
    taken(run)
    losses, history = run.history["loss"].values, run.history
    top, bottom = run.method.bounds(64)["loss"]
    assert (losses > bottom).all() and (losses < 2 * top).all()
    assert history["embedding"].frame(-1).shape == (32, 16)
    assert history["projection"].frame(-1).shape == (32, 16 if kind in nets.SQUARE or kind == "low rank" else 4)
    assert history["why.table"].frame(-1).shape == (6, 32, 32)


@pytest.mark.parametrize("kind", nets.PROJECTORS)
def test_run_of_every_projector_resumes(kind, vectors, tmp_path):
    """Stopped half-way and loaded, it ends at the same numbers."""
    whole = taken(run_of(small(kind), vectors, checkpoint_every=6))
    part = run_of(small(kind), vectors, folder=tmp_path / "part", checkpoint_every=6)
    for step in part:
        if step == 7: break
    part.stop()
    again = taken(Run.load(tmp_path / "part", method=small(kind), data=vectors, device="cpu"))
    for (name, a), b in zip(whole.method.state_dict().items(), again.method.state_dict().values(), strict=True):
        assert a.equal(b), name


def test_dim_changed_while_training(vectors, tmp_path):
    """A change is a mark, survives save and load, and leads to the same numbers, bit for bit."""
    def changed(folder):
        run = run_of(small(), vectors, folder=folder, checkpoint_every=4)
        for step in run:
            if step == 5: run.set(dim=9)
            if folder.name == "cut" and step == 8: break
        return run

    whole, cut = changed(tmp_path / "whole"), changed(tmp_path / "cut")
    assert [(mark.step, mark.changes) for mark in whole.history.marks] == [(5, {"dim": 9})]
    assert "dim 4 → 9" in whole.history.marks[0].text
    cut.stop()
    again = Run.load(tmp_path / "cut", method=small(), data=vectors, device="cpu")
    assert again.method.dim == 9 and again.method.projector.out_dim == 9
    taken(again)
    states = [method.state_dict().values() for method in (whole.method, again.method)]
    for a, b in zip(*states, strict=True): assert a.equal(b)
    assert whole.history["loss"].values.tolist() == again.history["loss"].values.tolist()
    assert again.method.project(vectors.images[:3]).shape == (3, 9)
    other = whole.branch(4)
    assert other.method.dim == 4 and whole.method.dim == 9


def test_rebuilt_from_its_folder(tmp_path):
    """On the embedded vectors a run is made again from its folder alone."""
    vectors = load("vectors")
    with seeded(0): method = DirectCLR(nets.residual_mlp(64, 16), VectorNoise([0.3] * 48 + [2.0] * 16), dim=4)
    run = Run(method, vectors, 6, 64, device="cpu", folder=tmp_path / "run", progress=False)
    for step in run:
        if step == 3: break
    run.set(dim=7)
    taken(run)
    again = Run.load(tmp_path / "run", device="cpu")
    assert again.method.dim == 7 and again.steps_done == 6
    states = [method.state_dict().values() for method in (run.method, again.method)]
    for a, b in zip(*states, strict=True): assert a.equal(b)


@pytest.mark.parametrize("encoder", ["convnet", "resnet"])
def test_images(encoder):
    """Pictures, too: values of d0, a run and pairs."""
    digits = load("digits").subset(torch.arange(96))
    with seeded(0):
        net = nets.small_convnet(1, width=4) if encoder == "convnet" else nets.resnet18(channels=1)
        method = DirectCLR(net, affine_noise(), dim=3)
    run = taken(run_of(method, digits, steps=2, batch_size=32))
    assert run.method.project(digits.images[:5]).shape == (5, 3) and math.isfinite(run.history.last("loss"))
    assert method.pairs(digits.images[:4], digits.labels[:4], generator(0)).similarity.shape == (8, 8)


def test_encoder_alone_is_trained_by_a_fixed_projector():
    """The cut has no parameters, and the buffers of the low-rank one do not move."""
    assert not list(small().projector.parameters())
    method, vectors = small("low rank"), load("vectors")
    assert not list(method.projector.parameters())
    before = method.projector.layers.weight.clone()
    wide = VectorSet(vectors.images[:128, :12].clone(), vectors.labels[:128], vectors.classes)
    taken(run_of(method, wide, steps=3))
    assert method.projector.layers.weight.equal(before)


# --------------------------------------------------------------------------------------------------------------- pairs

def test_pair_table_is_the_gradient():
    """Each pull is the norm of that candidate's part of the gradient on the unit anchor; they add up to all of it."""
    za, zb = normal(2, 6, 5)
    table = cross_view_table(za, zb, 0.3)
    unit = [z / z.norm(dim=1, keepdim=True) for z in (za, zb)]
    for side in range(2):
        anchor, other = unit[side].clone().requires_grad_(), unit[1 - side]
        logits = anchor @ other.T / 0.3
        losses = torch.nn.functional.cross_entropy(logits, torch.arange(6), reduction="sum")
        slope = torch.autograd.grad(losses, anchor)[0]
        rows, columns = (slice(6 * s, 6 * s + 6) for s in (side, 1 - side))
        assert_close(-table["pull"][rows, columns] @ other, slope, rtol=0, atol=1e-12)
        assert_close(table["probability"][rows, columns], logits.softmax(1).detach(), rtol=0, atol=1e-12)
        assert_close(table["similarity"][rows, columns], (unit[side] @ other.T), rtol=0, atol=1e-12)
        assert table["similarity"][rows, rows].isnan().all() and not table["probability"][rows, rows].any()
    assert (table["positive"] == torch.eye(12, dtype=torch.bool).roll(6, 1)).all()
    cost = -table["probability"][table["positive"]].log().mean()
    assert_close(cost, symmetric_info_nce(za, zb, 0.3), rtol=0, atol=1e-12)


def test_pairs_leave_the_method_alone(vectors):
    """Looking changes nothing."""
    method = small()
    before = copy.deepcopy(method.state_dict())
    found = method.pairs(vectors.images[:5], vectors.labels[:5], generator(1))
    assert found.similarity.shape == (10, 10) and method.training
    for name, value in method.state_dict().items(): assert value.equal(before[name])


# ------------------------------------------------------------------------------------------------- where gradients go

lesson = pytest.mark.skipif(not hasattr(directclr, "routed_gradients"), reason="the lesson is not assembled yet")


def routed(*args, **kwargs): return directclr.routed_gradients(*args, **kwargs)


def rank(g): return int(torch.linalg.matrix_rank(g))


@lesson
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("dim, count", [(16, 256), (1, 256), (16, 40)])
def test_support_and_rank(skip, dim, count):
    """d0 channels and rank at most d0 on r; all channels and rank min(views, channels) on h."""
    with seeded(0):
        method = DirectCLR(nets.residual_mlp(64, 128, skip=skip), VectorNoise([0.3] * 48 + [2.0] * 16), dim=dim)
    found = routed(method, load("vectors").images[:count], generator=generator(0))
    r, h = found["dL/dr"], found["dL/dh"]
    assert r.shape == h.shape == (2 * count, 128)
    assert int((r != 0).any(0).sum()) <= dim and rank(r) <= dim and not r[:, dim:].any()
    if dim > 1 and count == 256: assert int((r != 0).any(0).sum()) == dim == rank(r)
    lost = 0 if skip else 1     # batch normalisation: without a skip connection the rows add up to zero
    if dim > 1: assert (h != 0).any(0).all() and rank(h) == min(2 * count - lost, 128)


@lesson
def test_routed_is_autograd():
    """The gradients are those of a training step; the method stays as it is, whatever mode it is in."""
    method, x = small(), torch.randn(64, 12, generator=generator(1))
    before = copy.deepcopy(method.state_dict())
    found = routed(method, x, generator=generator(2))
    with looking(method): again = routed(method, x, generator=generator(2))
    for name, value in method.state_dict().items(): assert value.equal(before[name])
    assert all(found[name].equal(again[name]) for name in found) and all(p.grad is None for p in method.parameters())
    both = torch.cat(method.views(x, generator(2)))
    h = method.encoder.blocks[0](method.encoder.stem(both))
    r = method.encoder.blocks[1](h)
    slopes = torch.autograd.grad(method.contrast(*r[:, :4].chunk(2)), [r, h])
    for a, b in zip(found.values(), slopes, strict=True): assert_close(a, b, rtol=1e-5, atol=1e-8)


@lesson
@pytest.mark.parametrize("kind", nets.PROJECTORS)
def test_routed_through_every_projector(kind):
    """Only the cuts leave channels of r without gradient."""
    found = routed(small(kind), torch.randn(64, 12, generator=generator(1)), generator=generator(2))
    reached = int((found["dL/dr"] != 0).any(0).sum())
    assert reached <= 4 if "sub-vector" in kind else reached == 16


@lesson
def test_routed_through_a_resnet():
    """The last block of a ResNet; every place is a row."""
    with seeded(0): method = DirectCLR(nets.resnet18(channels=1), affine_noise(), dim=16)
    found = routed(method, load("digits").images[:24], generator=generator(0))
    r, h = found["dL/dr"], found["dL/dh"]
    assert directclr.last_block(method.encoder) == "features.layer4.1"
    assert r.shape == (48, 512) and h.shape[1] == 512 and len(h) % 48 == 0
    assert (r[:, 16:] == 0).all() and rank(r) <= 16 and (h != 0).any(0).all() and rank(h) > 16


@lesson
def test_routed_says_what_is_missing():
    """No residual block, and a layer that does not exist."""
    method = DirectCLR(nets.mlp([12, 16, 16]), VectorNoise(0.1), dim=4)
    x = torch.randn(32, 12, generator=generator(1))
    with pytest.raises(ValueError, match="no residual block"): routed(method, x)
    assert routed(method, x, block="layers.2")["dL/dh"].shape == (64, 16)
    with pytest.raises(ValueError, match=r"no layer 'layers.9'; it has layers, layers.0"):
        routed(method, x, block="layers.9")
    method.encoder.spare = nn.Linear(3, 3)
    with pytest.raises(ValueError, match="took no part"): routed(method, x, block="spare")
    found = routed(method, x, block="layers.1")     # a ReLU that works in place
    assert found["dL/dh"].isfinite().all()


@lesson
def test_routed_can_be_recorded(vectors):
    """As a measure of a run: two arrays a time."""
    run = run_of(small(), vectors)
    run.measure("gradient", lambda m: routed(m, vectors.images[:32], generator=generator(0)), every=6)
    taken(run)
    assert run.history["gradient.dL/dr"].frame(-1).shape == (64, 16) and len(run.history["gradient.dL/dh"]) == 3
