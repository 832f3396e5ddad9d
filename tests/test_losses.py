"Losses against plain loops in numpy float64, limits, gradients, hostile numbers, bounds and faults."
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clnb import losses as L
from clnb.core import generator

D = torch.float64
shapes = st.tuples(st.integers(2, 7), st.integers(1, 6), st.integers(0, 10_000),
                   st.sampled_from([0.05, 0.2, 0.5, 1.0, 3.0]))
some = settings(max_examples=25, deadline=None)


def draw(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=D)


# ---------------------------------------------------------------- the oracle: loops, numpy, float64
def cosines(x, y):
    x, y = (np.array([row / np.linalg.norm(row) for row in m.detach().numpy()]) for m in (x, y))
    return np.array([[float(np.dot(a, b)) for b in y] for a in x])


def loop_hard(za, zb, tau, tau_plus=0.0, beta=0.0):
    n, s, values = len(za), cosines(torch.cat([za, zb]), torch.cat([za, zb])) / tau, []
    for i in range(2 * n):
        mate = (i + n) % (2 * n)
        negatives = [s[i, j] for j in range(2 * n) if j not in (i, mate)]
        w = [math.exp(beta * x) for x in negatives]
        total = sum(a * math.exp(x) for a, x in zip(w, negatives, strict=True)) / (sum(w) / len(w))
        g = (total - tau_plus * len(w) * math.exp(s[i, mate])) / (1 - tau_plus)
        if tau_plus:
            g = max(g, len(w) * math.exp(-1 / tau))
        values.append(-math.log(math.exp(s[i, mate]) / (math.exp(s[i, mate]) + g)))
    return values


def loop_info(q, k, tau, negatives=None):
    values = []
    for i, s in enumerate(cosines(q, k) / tau):
        rest = [s[j] for j in range(len(k)) if j != i]
        if negatives is not None:
            rest = list(cosines(q[i:i + 1], negatives)[0] / tau)
        values.append(-math.log(math.exp(s[i]) / (math.exp(s[i]) + sum(map(math.exp, rest)))))
    return values


def loop_sup(z, labels, tau, variant):
    s, values = cosines(z, z) / tau, []
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        friends = [j for j in others if labels[j] == labels[i] != -1]
        total = sum(math.exp(s[i, j]) for j in others)
        p = [math.exp(s[i, j]) / total for j in friends]
        if not p:
            values.append(None)
        else:
            values.append(-sum(map(math.log, p)) / len(p) if variant == "out" else -math.log(sum(p) / len(p)))
    return values


def close(value, expected, tolerance=1e-9):
    assert np.allclose(value.detach().numpy(), expected, atol=tolerance, rtol=1e-9), (value, expected)


@some
@given(shapes)
def test_nt_xent_against_loops(case):
    n, d, seed, tau = case
    za, zb = draw(2, n, d, seed=seed)
    expected = loop_hard(za, zb, tau)
    close(L.nt_xent(za, zb, tau, reduction="none"), expected)
    close(L.nt_xent(za, zb, tau), np.mean(expected))


@some
@given(shapes, st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([0.0, 0.5, 2.0]))
def test_hard_against_loops(case, tau_plus, beta):
    n, d, seed, tau = case
    za, zb = draw(2, n, d, seed=seed)
    expected = loop_hard(za, zb, tau, tau_plus, beta)
    close(L.hard_nt_xent(za, zb, tau, tau_plus, beta, reduction="none"), expected, 1e-7)
    close(L.hard_nt_xent(za, zb, tau, tau_plus, beta), np.mean(expected), 1e-7)


@some
@given(shapes, st.integers(1, 9))
def test_info_nce_against_loops(case, queue):
    n, d, seed, tau = case
    q, k = draw(2, n, d, seed=seed)
    negatives = draw(queue, d, seed=seed + 1)
    close(L.info_nce(q, k, temperature=tau, reduction="none"), loop_info(q, k, tau))
    close(L.info_nce(q, k, negatives, tau), np.mean(loop_info(q, k, tau, negatives)))


@some
@given(shapes, st.sampled_from(["out", "in"]))
def test_sup_con_against_loops(case, variant):
    m, d, seed, tau = case
    z = draw(m, d, seed=seed)
    labels = torch.randint(-1, 3, (m,), generator=generator(seed))
    values = loop_sup(z, labels.tolist(), tau, variant)
    kept = [v for v in values if v is not None]
    close(L.sup_con(z, labels, tau, variant, reduction="none"), [v or 0.0 for v in values])
    close(L.sup_con(z, labels, tau, variant), np.mean(kept) if kept else 0.0)
    close(L.sup_con(z, labels, tau, variant, empty="zero"), sum(kept) / m)


@some
@given(shapes)
def test_proto_nce_against_loops(case):
    n, d, seed, _ = case
    q, levels, names, phis, total = draw(n, d, seed=seed), [], [], [], []
    for level, k in enumerate((2, 5)):
        c, a = draw(k, d, seed=seed + level), torch.randint(0, k, (n,), generator=generator(seed + level))
        phi = draw(k, seed=seed + 9).abs() + 0.1
        s = cosines(q, c) / phi.numpy()
        total.append([math.log(sum(math.exp(x - row[a[i]]) for x in row)) for i, row in enumerate(s)])
        levels.append(c), names.append(a), phis.append(phi)
    close(L.proto_nce(q, levels, names, phis, reduction="none"), np.mean(total, 0))
    close(L.proto_nce(q, levels, names, phis), np.mean(total))
    close(L.proto_nce(q, levels[0], names[0], phis[0]), np.mean(total[0]))


@some
@given(shapes, st.sampled_from([1.0, 2.0, 3.0]), st.sampled_from([0.5, 2.0]))
def test_geometry_against_loops(case, alpha, t):
    n, d, seed, _ = case
    x, y = draw(2, n, d, seed=seed)
    a, b = (m / m.norm(dim=1, keepdim=True) for m in (x, y))
    close(L.align(x, y, alpha), np.mean([float((a[i] - b[i]).norm()) ** alpha for i in range(n)]))
    pairs = [math.exp(-t * float((a[i] - a[j]).pow(2).sum())) for i in range(n) for j in range(i)]
    close(L.uniform(x, t), math.log(np.mean(pairs)))
    each = L.uniform(x, t, reduction="none")
    close(each.logsumexp(0) - math.log(n), float(L.uniform(x, t)))


def test_concentration_against_loops():
    k, alpha, tau = 12, 10, 0.2
    v, a, c = draw(200, 5), torch.randint(0, k - 2, (200,), generator=generator(1)), draw(k, 5, seed=2)
    a[0] = k - 2                                    # a singleton; cluster k-1 is empty
    phi = np.zeros(k)
    for j in range(k):
        members = [float((v[i] - c[j]).norm()) for i in range(200) if a[i] == j]
        if len(members) > 1:
            phi[j] = np.mean(members) / math.log(len(members) + alpha)
    phi[k - 2] = phi[k - 1] = phi.max()
    phi = np.clip(phi, np.percentile(phi, 10), np.percentile(phi, 90))
    close(L.concentration(v, a, c, tau), tau * phi / phi.mean())
    tight = L.concentration(c[a], a, c, tau)        # every member sits on its centroid
    close(tight, tau)
    assert (L.concentration(torch.cat([c[a][:100], v[100:]]), a, c, tau) > 0).all()


# ---------------------------------------------------------------- numbers computed by hand (foundations)
def near(value, expected, tolerance=1e-6):
    assert abs(float(value) - expected) < tolerance, (float(value), expected)


@pytest.mark.parametrize("dtype", [torch.float32, D])
def test_numbers_by_hand(dtype):
    eye = torch.eye(2, dtype=dtype)
    near(L.nt_xent(eye, eye, 1.0), 0.551445)
    near(L.nt_xent(eye, eye, 0.5), 0.239545)
    same = torch.ones(4, 3, dtype=dtype)
    near(L.nt_xent(same, same), 1.945910)
    opposite = torch.tensor([[1.0, 0], [-1, 0]], dtype=dtype)
    near(L.nt_xent(opposite, opposite, 1.0), 0.239545)
    near(L.info_nce(eye, eye, temperature=1.0), 0.313262)
    near(L.sup_con(eye.repeat_interleave(2, 0), torch.tensor([0, 0, 1, 1]), 1.0), 0.551445)
    three, labels = eye.repeat_interleave(3, 0), torch.tensor([0, 0, 0, 1, 1, 1])
    near(L.sup_con(three, labels, 1.0), 1.132575)
    near(L.sup_con(three, labels, 0.1), 0.693215)
    queue = torch.tensor([[0.0, 1], [-1, 0]], dtype=dtype)
    near(L.info_nce(eye[:1], eye[:1], queue, 0.5), 0.142932)
    points = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, 0.5]], dtype=dtype)
    centres = torch.tensor([[0.0, 0], [0, 0.75]], dtype=dtype)
    phi = L.concentration(points, torch.tensor([0, 0, 1, 1]), centres, 0.2)
    near(phi[0], 0.296), near(phi[1], 0.104)
    near(L.proto_nce(eye[:1], eye, torch.tensor([0]), torch.tensor([0.2, 0.4], dtype=dtype)), 0.006715)
    near(L.align(eye[:1], eye[1:]), 2)
    near(L.uniform(torch.cat([eye, -eye])), -4.396349)
    for beta in (0, 0.5, 3):
        near(L.hard_nt_xent(eye, eye, 0.5, tau_plus=0.1, beta=beta), 0.075592)


def test_gradient_by_hand():
    q = torch.tensor([[1.0, 0.0]], dtype=D, requires_grad=True)
    L.info_nce(q, q.detach(), torch.tensor([[0.0, 1.0]], dtype=D), 1.0).backward()
    close(q.grad, [[0.0, 0.268941]], 1e-6)


# ---------------------------------------------------------------- identities
def test_identities():
    za, zb = draw(2, 6, 4)
    both, twice = torch.cat([za, zb]), torch.arange(6).repeat(2)
    for reduction in ("mean", "none"):
        reference = L.nt_xent(za, zb, 0.3, reduction)
        for variant in ("out", "in"):
            close(L.sup_con(both, twice, 0.3, variant, reduction=reduction), reference)
        close(L.hard_nt_xent(za, zb, 0.3, reduction=reduction), reference)
    close(L.info_nce(za[:1], zb[:1], zb[1:], 0.3), L.info_nce(za, zb, temperature=0.3, reduction="none")[0])
    order = torch.randperm(6, generator=generator(0))
    close(L.nt_xent(za[order], zb[order]), L.nt_xent(za, zb))
    turn = torch.linalg.qr(draw(4, 4, seed=5))[0]
    close(L.nt_xent(za @ turn, 7 * zb @ turn), L.nt_xent(za, zb))
    assert (L.sup_con(both, twice % 3, variant="in", reduction="none")
            <= L.sup_con(both, twice % 3, reduction="none") + 1e-12).all()


def test_small_temperature_is_the_margin():
    za, zb = draw(2, 5, 3)
    positive, negatives = L._similarities(za, zb, 1.0)
    close(1e-4 * L.nt_xent(za, zb, 1e-4, "none"), (negatives.amax(1) - positive).clamp_min(0), 1e-3)


def test_pair_weights_are_the_gradient():
    za, zb = draw(2, 5, 3)
    for tau_plus, beta in ((0.0, 0.0), (0.1, 0.0), (0.0, 1.0), (0.2, 0.7), (0.9, 0.0)):
        cosine, probability, weight = L.pair_weights(za, zb, 0.4, tau_plus, beta)
        close(probability.sum(1), 1.0)
        close(cosine.diagonal(), 1.0)
        close(probability.diagonal(), 0.0), close(weight.diagonal(), 0.0)
        z = L.unit(torch.cat([za, zb]))

        def value(s, tau_plus=tau_plus, beta=beta):
            s = s / 0.4
            positive = torch.cat([s.diagonal(5), s.diagonal(-5)])
            out = torch.eye(10, dtype=torch.bool) | torch.eye(10, dtype=torch.bool).roll(5, 1)
            g = L._log_negatives(positive, s.masked_fill(out, -torch.inf), 0.4, tau_plus, beta)
            return (torch.logaddexp(positive, g) - positive).sum()
        slope = torch.autograd.functional.jacobian(value, z @ z.T)
        mate = torch.eye(10, dtype=torch.bool).roll(5, 1)
        close(weight, torch.where(mate, -slope, slope))
    assert L.pair_weights(za, zb).weight.requires_grad is False


# ---------------------------------------------------------------- gradients
labels6 = torch.tensor([0, 0, 1, 1, 1, 2])
CASES = {
    "nt_xent": lambda x, y: L.nt_xent(x, y, 0.2),
    "info_nce": lambda x, y: L.info_nce(x, y),
    "queue": lambda x, y: L.info_nce(x, y, draw(5, 3, seed=9).to(x.dtype)),
    "sup_con out": lambda x, y: L.sup_con(x, labels6) + L.sup_con(y, labels6, empty="zero"),
    "sup_con in": lambda x, y: L.sup_con(x, labels6, variant="in") + L.sup_con(y, labels6 * 0, variant="in"),
    "no positives": lambda x, y: L.sup_con(x, torch.arange(6), variant="in") + L.align(y, y.flip(0)),
    "proto_nce": lambda x, y: L.proto_nce(x, [y, y[:3]], [labels6, labels6], [0.3, 0.5]),
    "hard": lambda x, y: L.hard_nt_xent(x, y, 0.5, 0.05, 0.5),
    "debiased, clamped": lambda x, y: L.hard_nt_xent(x, y, 0.5, 0.9, 0.0),
    "align": lambda x, y: L.align(x, y) + L.align(x, y, 1.0),
    "uniform": lambda x, y: L.uniform(x) + L.uniform(y, 0.5),
}


@pytest.mark.parametrize("name", CASES)
def test_gradcheck(name):
    x, y = (draw(6, 3, seed=seed).requires_grad_() for seed in (3, 4))
    assert torch.autograd.gradcheck(CASES[name], (x, y))
    assert torch.autograd.gradgradcheck(CASES[name], (x, y))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, D])
@pytest.mark.parametrize("kind", ["zeros", "huge", "mixed", "equal", "opposite"])
def test_hostile_numbers(name, dtype, kind):
    x, y = draw(6, 3, seed=1), draw(6, 3, seed=2)
    big = 6e4 if dtype == torch.float16 else 1e30
    if kind == "zeros": x, y = 0 * x, 0 * y
    if kind == "huge": x, y = (z / z.abs().amax() * big for z in (x, y))
    if kind == "mixed": x = x * torch.tensor([0, 1e-2, 1, 1e2, 1e3, 1])[:, None]
    if kind == "equal": x = y = torch.ones(6, 3, dtype=D)
    if kind == "opposite": y = -x
    x, y = (z.to(dtype).requires_grad_() for z in (x, y))
    value = CASES[name](x, y)
    value.backward()
    assert value.dtype == (D if dtype == D else torch.float32)
    assert value.isfinite() and x.grad.isfinite().all() and (y.grad is None or y.grad.isfinite().all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("temperature", [0.01, 0.07, 5.0])
def test_small_temperatures_in_half_precision(dtype, temperature):
    x, y = (draw(16, 8, seed=s).to(dtype).requires_grad_() for s in (1, 2))
    for loss in (L.nt_xent(x, y, temperature), L.info_nce(x, y, y.detach(), temperature),
                 L.sup_con(x, torch.arange(16) // 4, temperature), L.hard_nt_xent(x, y, temperature, 0.1, 1.0)):
        exact = loss.item()
        grads = torch.autograd.grad(loss, [x, y], allow_unused=True)
        assert math.isfinite(exact) and all(g is None or g.isfinite().all() for g in grads)
    near(L.nt_xent(x, y, temperature).item(), L.nt_xent(x.double(), y.double(), temperature).item(), 1e-3)


def test_autocast_changes_nothing():
    x, y = (draw(16, 8, seed=s).float() for s in (1, 2))
    calls = [lambda: L.nt_xent(x, y, 0.01), lambda: L.info_nce(x, y, y), lambda: L.hard_nt_xent(x, y, 0.1, 0.1, 1),
             lambda: L.sup_con(x, torch.arange(16) // 2), lambda: L.uniform(x), lambda: L.align(x, y),
             lambda: L.proto_nce(x, y, torch.arange(16), 0.1)]
    outside = [call() for call in calls]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = [call() for call in calls]
    for a, b in zip(outside, inside, strict=True):
        assert a.equal(b) and b.dtype == torch.float32


def test_nan_goes_through():
    x = draw(4, 3)
    bad = x.clone()
    bad[0, 0] = torch.nan
    for value in (L.nt_xent(bad, x), L.info_nce(x, bad), L.sup_con(bad, torch.tensor([0, 0, 1, 1])), L.uniform(bad),
                  L.align(bad, x), L.hard_nt_xent(bad, x, 0.5, 0.1, 1), L.info_nce(x, x, bad),
                  L.proto_nce(bad, x, torch.arange(4), 0.1), L.nt_xent(x, x / 0)):
        assert value.isnan()


def test_a_queue_may_be_written_before_backward():
    q, queue = draw(3, 4).requires_grad_(), draw(8, 4, seed=1)
    value = L.info_nce(q, draw(3, 4, seed=2), queue)
    expected = torch.autograd.grad(value, q, retain_graph=True)[0]
    queue.zero_()
    value.backward()
    assert q.grad.equal(expected)


def test_temperature_may_be_learned():
    log = torch.zeros((), dtype=D, requires_grad=True)
    x, y = draw(2, 5, 3)
    for loss in (L.nt_xent, L.info_nce, L.hard_nt_xent):
        assert torch.autograd.gradcheck(lambda t, f=loss: f(x, y, temperature=t.exp()), (log,))


# ---------------------------------------------------------------- chance and floor
def simplex(n):
    corners = torch.eye(n, dtype=D)
    return corners - corners.mean(0)


def descend(objective, *shape, seed=0, steps=250):
    z = draw(*shape, seed=seed).requires_grad_()
    optimiser = torch.optim.Adam([z], lr=0.05)
    for _ in range(steps):
        optimiser.zero_grad()
        value = objective(z)
        value.backward()
        optimiser.step()
    return value.item()


@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
def test_floors_are_attained(temperature):
    t = temperature
    for n in (2, 3, 20):
        s = simplex(n)
        for dim in (None, n - 1):
            near(L.floor("nt_xent", n=n, temperature=t, dim=dim), float(L.nt_xent(s, s, t)))
        near(L.floor("hard_nt_xent", n=n, temperature=t), float(L.hard_nt_xent(s, s, t, beta=0.7)))
        near(L.floor("info_nce", n=n, temperature=t), float(L.info_nce(s, s, temperature=t)))
        labels = torch.arange(n).repeat_interleave(4)
        near(L.floor("sup_con", labels=labels, temperature=t), float(L.sup_con(s[labels], labels, t)))
        near(L.floor("proto_nce", prototypes=n, concentration=t, assignments=labels),
             float(L.proto_nce(s[labels], s, labels, t)))
        near(L.floor("uniform", n=n), float(L.uniform(s)))
    one = torch.tensor([[1.0, 0]], dtype=D)
    near(L.floor("info_nce", negatives=9, temperature=t), float(L.info_nce(one, one, -one.repeat(9, 1), t)))
    unequal = torch.tensor([0] * 5 + [1] * 3)
    near(L.floor("sup_con", labels=unequal, temperature=t),
         float(L.sup_con(torch.tensor([1.0] * 5 + [-1.0] * 3, dtype=D)[:, None], unequal, t)))
    for n in (3, 4, 11):
        angle = torch.arange(n, dtype=D) * 2 * math.pi / n
        near(L.floor("uniform", n=n, dim=2), float(L.uniform(torch.stack([angle.cos(), angle.sin()], 1))))


@some
@given(st.integers(2, 8), st.integers(1, 5), st.integers(0, 10_000), st.sampled_from([0.05, 0.2, 0.5, 2.0]))
def test_nothing_is_below_the_floor(n, d, seed, t):
    za, noise = draw(2, n, d, seed=seed)
    for eps in (0.0, 0.05, 1.0):
        zb = za + eps * noise
        for tau_plus, beta in ((0.0, 0.0), (0.0, 1.0), (0.1, 0.0), (0.05, 0.5), (0.4, 0.0)):
            shape = {"n": n, "temperature": t, "tau_plus": tau_plus, "beta": beta, "dim": d}
            assert L.floor("hard_nt_xent", **shape) <= L.hard_nt_xent(za, zb, t, tau_plus, beta) + 1e-9
        assert L.floor("nt_xent", n=n, temperature=t, dim=d) <= L.nt_xent(za, zb, t) + 1e-9
        assert L.floor("info_nce", n=n, temperature=t, dim=d) <= L.info_nce(za, zb, temperature=t) + 1e-9
        assert L.floor("info_nce", negatives=n, temperature=t) <= L.info_nce(za, zb, noise, t) + 1e-9
        labels = torch.randint(-1, 3, (2 * n,), generator=generator(seed))
        z = torch.cat([za, zb]) * 0.1 + draw(4, d, seed=seed)[labels + 1]
        for variant, empty in (("out", "skip"), ("in", "zero")):
            least = L.floor("sup_con", labels=labels, temperature=t, empty=empty, dim=d)
            assert least <= L.sup_con(z, labels, t, variant, empty) + 1e-9
        phi = draw(n, seed=seed).abs() + 0.1
        pick = torch.randint(0, n, (n,), generator=generator(seed))
        for given_ in (None, pick):
            for c in (phi, t):
                least = L.floor("proto_nce", prototypes=n, concentration=c, assignments=given_)
                assert least <= L.proto_nce(zb, zb - za, pick, c) + 1e-9
                assert least <= L.proto_nce(za[pick], za, pick, c) + 1e-9
        assert L.floor("uniform", n=n, dim=d) <= L.uniform(za) + 1e-9


def test_nothing_optimised_is_below_the_floor():
    for n, d, t in ((6, 2, 0.5), (16, 3, 0.2), (12, 2, 0.1)):
        best = descend(lambda z, t=t: L.nt_xent(*z, t), 2, n, d)
        bound = L.floor("nt_xent", n=n, temperature=t, dim=d)
        assert bound <= best + 1e-9
        best = descend(lambda z, t=t: L.uniform(z), 2 * n, d)
        assert L.floor("uniform", n=2 * n, dim=d) <= best + 1e-9
        labels = torch.tensor([0] * n + [1] * 3 + [2] * 5 + [3])
        for variant in ("out", "in"):
            best = descend(lambda z, t=t, y=labels, v=variant: L.sup_con(z, y, t, v), n + 9, d)
            bound = L.floor("sup_con", labels=labels, temperature=t, dim=d)
            assert bound <= best + 1e-9
    best = descend(lambda z: L.hard_nt_xent(*z, 0.5, 0.1), 2, 8, 8)
    assert L.floor("hard_nt_xent", n=8, temperature=0.5, tau_plus=0.1) <= best + 1e-9


def test_chance_is_the_collapsed_value():
    same = torch.ones(6, 3, dtype=D)
    near(L.chance("nt_xent", n=6), float(L.nt_xent(same, same)))
    near(L.chance("hard_nt_xent", n=6, tau_plus=0.1, beta=2), float(L.hard_nt_xent(same, same, 0.5, 0.1, 2)))
    near(L.chance("info_nce", n=6), float(L.info_nce(same, same)))
    near(L.chance("info_nce", negatives=6), float(L.info_nce(same, same, same)))
    for empty in ("skip", "zero"):
        for variant in ("out", "in"):
            near(L.chance("sup_con", labels=labels6, empty=empty), float(L.sup_con(same, labels6, 0.1, variant, empty)))
    near(L.chance("proto_nce", prototypes=[6, 2], concentration=0.3),
         float(L.proto_nce(same, [same, same[:2]], torch.zeros(6).long(), 0.3)))
    near(L.chance("uniform", n=6), float(L.uniform(same)))
    for dim, alpha in ((1, 2), (2, 2), (3, 1), (5, 3)):
        x, y = draw(2, 40_000, dim)
        near(L.chance("align", alpha=alpha, dim=dim), float(L.align(x, y, alpha)), 0.05)
    assert L.floor("align") == 0


def test_bounds_of_large_batches_and_cold_temperatures_are_finite():
    for n in (2, 4096, 1_000_000):
        for t in (0.005, 0.07, 50.0):
            for dim in (None, 2, 128, 2048):
                low, high = (f("nt_xent", n=n, temperature=t, dim=dim) for f in (L.floor, L.chance))
                assert 0 <= low < high and math.isfinite(low)
    many = torch.randint(0, 1000, (4096,), generator=generator(0))
    assert 0 < L.floor("sup_con", labels=many, dim=128) < L.chance("sup_con", labels=many)


def test_learned_fraction():
    assert L.learned_fraction(2.0, 4.0, 0.0) == 0.5 and isinstance(L.learned_fraction(2, 4, 0), float)
    assert math.isnan(L.learned_fraction(1.0, 3.0, 3.0))
    array = L.learned_fraction(np.array([4.0, 3.0, 0.0]), 4.0, 0.0)
    assert isinstance(array, np.ndarray) and array.tolist() == [0.0, 0.25, 1.0]
    assert np.isnan(L.learned_fraction([1.0, 1.0], [2.0, 1.0], [0.0, 1.0])).tolist() == [False, True]
    tensor = L.learned_fraction(torch.tensor([4.0, 0.0], requires_grad=True), 4.0, 0.0)
    tensor.sum().backward()
    assert tensor.tolist() == [0.0, 1.0]
    assert L.learned_fraction(torch.tensor(1.0), 2.0, 2.0).isnan()


# ---------------------------------------------------------------- faults
x4, y4 = draw(4, 3), draw(4, 3, seed=1)
yes = torch.tensor([0, 0, 1, 1])
FAULTS = [
    (lambda: L.nt_xent(x4[:1], y4[:1]), ValueError, "at least 2"),
    (lambda: L.nt_xent(x4, y4[:3]), ValueError, "shapes must be equal"),
    (lambda: L.nt_xent(x4, y4[:, :2]), ValueError, "same d"),
    (lambda: L.nt_xent(x4[0], y4[0]), ValueError, "must be"),
    (lambda: L.nt_xent(x4[None], y4[None]), ValueError, "must be"),
    (lambda: L.nt_xent(x4[:, :0], y4[:, :0]), ValueError, "at least one"),
    (lambda: L.nt_xent(x4.long(), y4.long()), TypeError, "floats"),
    (lambda: L.nt_xent(x4.tolist(), y4), TypeError, "tensor"),
    (lambda: L.nt_xent(x4, y4, 0), ValueError, "temperature"),
    (lambda: L.nt_xent(x4, y4, -0.1), ValueError, "temperature"),
    (lambda: L.nt_xent(x4, y4, math.nan), ValueError, "temperature"),
    (lambda: L.nt_xent(x4, y4, math.inf), ValueError, "temperature"),
    (lambda: L.nt_xent(x4, y4, "0.5"), TypeError, "temperature"),
    (lambda: L.nt_xent(x4, y4, reduction="sum"), ValueError, "reduction"),
    (lambda: L.nt_xent(x4, y4.to("meta")), ValueError, "meta"),
    (lambda: L.info_nce(x4[:1], y4[:1]), ValueError, "at least 2"),
    (lambda: L.info_nce(x4, y4, x4[:, :2]), ValueError, "same d"),
    (lambda: L.info_nce(x4, y4, x4[:0]), ValueError, "negatives"),
    (lambda: L.sup_con(x4, yes.float()), TypeError, "integers"),
    (lambda: L.sup_con(x4, yes[:3]), ValueError, "one per embedding"),
    (lambda: L.sup_con(x4, yes[:, None]), ValueError, "one per embedding"),
    (lambda: L.sup_con(x4, [0, 0, 1, 1]), TypeError, "tensor"),
    (lambda: L.sup_con(x4, yes, variant="both"), ValueError, "variant"),
    (lambda: L.sup_con(x4, yes, empty="drop"), ValueError, "empty"),
    (lambda: L.sup_con(x4[:1], yes[:1]), ValueError, "at least 2"),
    (lambda: L.proto_nce(x4, y4, yes + 3, 0.1), ValueError, "0 … 3"),
    (lambda: L.proto_nce(x4, y4, yes, torch.tensor([0.1, 0.0, 1, 1])), ValueError, "> 0"),
    (lambda: L.proto_nce(x4, [y4, y4], [yes] * 3, 0.1), ValueError, "levels"),
    (lambda: L.proto_nce(x4, y4, yes, 0.0), ValueError, "concentration"),
    (lambda: L.concentration(x4, yes, y4[:1], 0.1), ValueError, "0 … 0"),
    (lambda: L.concentration(x4, yes, y4, 0.0), ValueError, "temperature"),
    (lambda: L.hard_nt_xent(x4, y4, tau_plus=1.0), ValueError, "tau_plus"),
    (lambda: L.hard_nt_xent(x4, y4, tau_plus=-0.1), ValueError, "tau_plus"),
    (lambda: L.hard_nt_xent(x4, y4, beta=-1), ValueError, "beta"),
    (lambda: L.align(x4, y4, 0.5), ValueError, "alpha"),
    (lambda: L.uniform(x4[:1]), ValueError, "at least 2"),
    (lambda: L.uniform(x4, -1), ValueError, "t must"),
    (lambda: L.chance("simclr", n=4), ValueError, "nt_xent"),
    (lambda: L.floor("nt_xent", pairs=4), TypeError, "takes? n, temperature"),
    (lambda: L.floor("nt_xent", n=1), ValueError, "≥ 2"),
    (lambda: L.floor("nt_xent", n=4, temperature=0), ValueError, "temperature"),
    (lambda: L.floor("sup_con"), ValueError, "labels"),
    (lambda: L.floor("nt_xent", n=4, dim=0), ValueError, "dim"),
]


@pytest.mark.parametrize("case", range(len(FAULTS)))
def test_faults_are_named(case):
    call, error, text = FAULTS[case]
    with pytest.raises(error, match=text):
        call()
