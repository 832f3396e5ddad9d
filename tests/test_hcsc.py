"""HCSC: selection against a plain computation, limits, switches to the last bit, and a run that resumes."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clnb import nets
from clnb.augment import affine_noise
from clnb.core import generator, seeded
from clnb.data import load
from clnb.losses import info_nce, proto_nce
from clnb.methods.hcsc import (
    HCSC,
    PCL,
    all_keys,
    hcsc_instance_loss,
    hcsc_prototype_loss,
    hierarchical_kmeans,
    instance_selection_probability,
    prototype_selection_probability,
    select,
)
from clnb.methods.moco import MoCo
from clnb.run import Run, looking
from clnb.views import Controls

SETTING = {"sizes": (30, 12, 6), "warmup": 1}


@pytest.fixture(scope="module")
def digits():
    """Real digits."""
    return load("digits").subset(range(300))


def units(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random unit rows in float64."""
    return F.normalize(torch.randn(*shape, generator=generator(seed), dtype=torch.float64), dim=-1)


def small(kind: type = HCSC, **options) -> MoCo:
    """A method with small networks, always the same ones."""
    with seeded(0):
        return kind(nets.mlp([64, 32, 16]), nets.mlp([16, 8]), affine_noise(), queue=128, temperature=0.2, **options)


def losses(method: MoCo, digits, steps: int = 20, **options) -> list[float]:
    """Every loss of a short run."""
    run = Run(method, digits, steps, batch_size=50, device="cpu", progress=False, **options)
    for _ in run: pass
    return run.history["loss"].values.tolist()


# ---------------------------------------------------------------------------------------------------------- selection

def test_keep_probability_is_one_minus_membership():
    """Row by row in numpy: the softmax is over prototypes, for each candidate, read at the anchor's cluster."""
    u, c, phi = units(40, 6), units(9, 6, seed=1), 0.1 + torch.rand(9, generator=generator(2), dtype=torch.float64)
    labels = torch.randint(9, (7,), generator=generator(3))
    found = instance_selection_probability(u, c, phi, labels)
    for i in range(7):
        for j in range(40):
            e = np.exp((c @ u[j] / phi).numpy())
            assert found[i, j].item() == pytest.approx(np.clip(1 - e[labels[i]] / e.sum(), 0, 0.999), abs=1e-12)


@pytest.mark.parametrize("m", [2, 8, 24])
def test_limits_of_the_concentration(m):
    """Uniform membership keeps 1 − 1/M of everything; hard membership rejects just the anchor's own."""
    u, c, labels = units(50, 16), units(m, 16, seed=1), torch.arange(m)
    flat = instance_selection_probability(u, c, torch.full((m,), 1e9, dtype=torch.float64), labels)
    assert torch.allclose(flat, torch.full_like(flat, 1 - 1 / m), atol=1e-6)
    hard = instance_selection_probability(u, c, torch.full((m,), 1e-6, dtype=torch.float64), labels)
    nearest = (u @ c.T).argmax(1)
    assert torch.allclose(hard, torch.where(labels[:, None] == nearest, 0.0, 0.999).double(), atol=1e-6)
    soft = instance_selection_probability(u, c, torch.full((m,), 0.5, dtype=torch.float64), labels)
    assert torch.allclose(soft.mean(0), torch.full((50,), 1 - 1 / m, dtype=torch.float64), atol=2e-3)


def test_prototype_selection_uses_the_level_above():
    """φ and prototypes of the upper level, the anchor's parent; clamped below."""
    lower, upper = units(10, 6), units(4, 6, seed=1)
    phi, parents = torch.full((4,), 0.2, dtype=torch.float64), torch.tensor([0, 3, 3])
    want = 1 - (lower @ upper.T / phi).softmax(1)[:, parents].T
    found = prototype_selection_probability(lower, upper, phi, parents)
    assert torch.allclose(found, want.clamp(1e-4, 0.999), atol=1e-12) and found.shape == (3, 10)


# ------------------------------------------------------------------------------------------------------------- losses

@pytest.mark.parametrize("rejected", ["exclude", "zero"])
def test_instance_loss_by_its_definition(rejected):
    """In float64, level by level."""
    q, k, queue = units(5, 6) * 3, units(5, 6, seed=1) * 2, units(20, 6, seed=2)
    keep = [torch.rand(5, 20, generator=generator(s)) < 0.6 for s in range(3)]
    z, key = F.normalize(q, dim=1), F.normalize(k, dim=1)
    want = []
    for mask in keep:
        logits = z @ queue.T / 0.3
        top = ((z * key).sum(1) / 0.3).exp()
        e = torch.where(mask, logits.exp(), 0.0 if rejected == "exclude" else 1.0).sum(1)
        want.append(-(top / (top + e)).log().mean())
    total = torch.stack(want)
    assert torch.allclose(hcsc_instance_loss(q, k, queue, keep, 0.3, rejected), total.mean(), atol=1e-12)
    assert torch.allclose(hcsc_instance_loss(q, k, queue, keep, 0.3, rejected, "sum"), total.sum(), atol=1e-12)


def test_fewer_negatives_never_cost_more():
    """`exclude` falls with every rejection, `zero` is never below it on the same mask."""
    q, k, queue = units(6, 5), units(6, 5, seed=1), units(30, 5, seed=2)
    keep, last = torch.ones(6, 30, dtype=torch.bool), math.inf
    for column in range(30):
        now = hcsc_instance_loss(q, k, queue, [keep]).item()
        assert now <= last + 1e-12 and hcsc_instance_loss(q, k, queue, [keep], rejected="zero").item() >= now - 1e-12
        last = now
        keep = keep.clone()
        keep[:, column] = False
    assert hcsc_instance_loss(q, k, queue, [keep]).item() == 0.0


def test_everything_kept_is_moco_and_pcl():
    """All ones: InfoNCE with the queue, and ProtoNCE over the levels."""
    q, k, queue = units(6, 5), units(6, 5, seed=1), units(30, 5, seed=2)
    everything = torch.ones(6, 30, dtype=torch.bool)
    assert hcsc_instance_loss(q, k, queue, [everything, None]).equal(info_nce(q, k, queue, 0.2, keep=everything))
    prototypes, phi = [units(9, 5, seed=3), units(4, 5, seed=4)], [torch.full((9,), 0.3), torch.full((4,), 0.1)]
    labels = torch.stack([torch.arange(6), torch.arange(6) % 4])
    want = proto_nce(q, prototypes, list(labels), phi)
    ones = [torch.ones(6, len(p), dtype=torch.bool) for p in prototypes]
    for keep in ([None, None], ones): assert torch.allclose(hcsc_prototype_loss(q, prototypes, phi, labels, keep), want)
    nothing = [torch.zeros(6, len(p), dtype=torch.bool) for p in prototypes]
    assert hcsc_prototype_loss(q, prototypes, phi, labels, nothing).item() == 0.0      # the own prototype always stays


def test_own_keys_stay_out_whatever_is_drawn():
    """Also where rejected candidates remain as constants."""
    q, k, queue = units(2, 5), units(2, 5, seed=1), units(6, 5, seed=2)
    own = torch.zeros(2, 6, dtype=torch.bool)
    own[:, 3] = True
    rest = [0, 1, 2, 4, 5]
    for rejected in ("exclude", "zero"):
        mask = torch.rand(2, 6, generator=generator(0)) < 0.5
        found = hcsc_instance_loss(q, k, queue, [mask], 0.2, rejected, own=own)
        assert torch.allclose(found, hcsc_instance_loss(q, k, queue[rest], [mask[:, rest]], 0.2, rejected))


def test_selection_words():
    """A third word is refused."""
    with pytest.raises(ValueError, match='rejected must be "exclude" or "zero"'): select(torch.ones(1, 2), None, "drop")


# ------------------------------------------------------------------------------------------------------------- method

def test_switched_off_it_is_the_others_to_the_last_bit(digits):
    """No prototypes: MoCo. No selection: PCL on a tree. And each selection alone is something else."""
    assert losses(small(HCSC, sizes=(), warmup=0), digits) == losses(small(MoCo), digits)
    off = {"select_instances": False, "select_prototypes": False}
    pcl = losses(small(PCL, linked=True, **SETTING), digits)
    assert losses(small(HCSC, **SETTING, **off), digits) == pcl
    both = [losses(small(HCSC, **SETTING, **{name: False}), digits) for name in off]
    assert pcl[:6] == both[0][:6] == both[1][:6]        # the same in the warm-up
    assert pcl[6:] != both[0][6:] != both[1][6:]


@pytest.mark.parametrize("options", [{}, {"rejected": "zero", "levels": "sum"}, {"crops": [affine_noise(0.5)]}])
def test_resumes_to_the_same_numbers(digits, tmp_path, options):
    """In the middle of a pass: the tree is in the checkpoint; at its end: it is grown again."""
    def run(folder, until):
        found = Run(small(**SETTING, **options), digits, 20, batch_size=50, device="cpu", folder=folder,
                    checkpoint_every=5, progress=False)
        for step in found:
            if step == until: break
        found.save()
        return found

    whole = run(tmp_path / "whole", 20).history["loss"].values.tolist()
    for until in (9, 12):
        run(tmp_path / f"part{until}", until)
        again = Run.load(tmp_path / f"part{until}")
        for _ in again: pass
        assert again.history["loss"].values.tolist() == whole


def test_tree_of_all_images_by_the_slow_network(digits):
    """What `start_epoch` clusters is the evaluation of the key network, without augmentation, in any chunks."""
    method = small(**SETTING)
    with looking(method): want = F.normalize(method.key(digits.images / 255), dim=1)
    assert torch.allclose(torch.cat(list(all_keys(method, digits, 77))), want, atol=1e-6)
    words = list(method.start_epoch(digits, 1))
    assert words[-1] == "clustering level 3 of 3: 12 into 6" and method.training
    assert method.tree.assignments.equal(hierarchical_kmeans(want, (30, 12, 6)).assignments)
    assert list(small(**SETTING).start_epoch(digits, 0)) == []          # the warm-up


def test_no_gradient_but_to_the_query_network(digits):
    """Prototypes, concentration, queue and slow network stay without."""
    method = small(**SETTING)
    list(method.start_epoch(digits, 1))
    batch = digits[torch.arange(50)]
    batch.generator = generator(0)
    parts = method.loss(batch)
    assert set(parts) == {"loss", "instances", "prototypes"}
    assert torch.allclose(parts["loss"], parts["instances"] + parts["prototypes"])
    parts["loss"].backward()
    assert all(p.grad is not None for p in (*method.encoder.parameters(), *method.projector.parameters()))
    assert all(p.grad is None for p in method.key.parameters())
    assert not any(x.requires_grad for x in (*method.tree.prototypes, *method.tree.concentration, method.queue))


def test_more_prototypes_than_images(digits):
    """An error before the first clustering is lost in a thread: it names both numbers."""
    method = small(sizes=(400, 10), warmup=0)
    with pytest.raises(ValueError, match="400 prototypes need at least as many rows, got 300"): losses(method, digits)


def test_controls_say_what_is_being_done(digits):
    """Between two passes the panel names the clustering."""
    run = Run(small(**SETTING), digits, 20, batch_size=50, device="cpu", progress=False)
    controls = Controls(run)
    run.activity = "clustering level 2 of 3: 30 into 12"
    controls.refresh()
    assert "clustering level 2 of 3" in controls.said.value
    controls.close()
