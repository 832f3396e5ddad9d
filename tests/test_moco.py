"""MoCo: queue, slow keys, own keys masked, and a run that resumes to the same numbers."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from clnb import nets
from clnb.augment import affine_noise
from clnb.core import generator, seeded
from clnb.data import Batch, load
from clnb.losses import info_nce
from clnb.methods.moco import MoCo, enqueue, in_groups, momentum_update
from clnb.run import Run, watch


@pytest.fixture(scope="module")
def digits():
    """Real digits."""
    return load("digits")


def small(queue: int = 64, **options) -> MoCo:
    """MoCo with a small encoder."""
    with seeded(0):
        return MoCo(nets.mlp([64, 32, 16]), nets.mlp([16, 8]), affine_noise(), queue=queue, **options)


@pytest.mark.parametrize("size, pointer, count, rows, after", [
    (8, 6, 3, [6, 7, 0], 1), (8, 0, 8, list(range(8)), 0), (5, 4, 1, [4], 0), (7, 3, 0, [], 3),
    (4, 2, 4, [2, 3, 0, 1], 2)])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_enqueue_wraps(size, pointer, count, rows, after, as_tensor):
    """The oldest rows are overwritten, in order, around the end."""
    queue, keys = torch.zeros(size, 3), torch.arange(1.0, count + 1)[:, None].expand(count, 3)
    found = enqueue(queue, torch.tensor(pointer) if as_tensor else pointer, keys)
    assert int(found) == after and isinstance(found, torch.Tensor) == as_tensor
    for place, row in enumerate(rows): assert queue[row].tolist() == [place + 1] * 3
    assert (queue != 0).any(1).sum() == count


@pytest.mark.parametrize("keys", [torch.ones(9, 3), torch.ones(2, 4), torch.ones(2)])
def test_enqueue_says_what_fits(keys):
    """Keys that do not fit are named with what would."""
    with pytest.raises(ValueError, match=r"do not fit into a queue \[8, 3\]"): enqueue(torch.zeros(8, 3), 0, keys)


def test_momentum_update_is_an_exponential_average():
    """1 − mⁿ after n steps toward one."""
    target, source = nn.Linear(3, 2).double(), nn.Linear(3, 2).double()
    for p in target.parameters(): nn.init.zeros_(p)
    for p in source.parameters(): nn.init.ones_(p)
    for n in range(1, 6):
        momentum_update(target, source, 0.9)
        assert torch.allclose(target.weight, torch.full_like(target.weight, 1 - 0.9**n), atol=1e-12)


def test_loss_is_cross_entropy_against_the_queue():
    """The definition of the paper, in float64, with and without an image's own keys."""
    method, rows = small(mask_own=True).double(), torch.arange(6)
    q, k = torch.randn(2, 6, 8, generator=generator(1), dtype=torch.float64)
    method.rows[:4] = torch.tensor([0, 0, 5, 9])
    z, key, old = (F.normalize(x, dim=1) for x in (q, k, method.queue))
    logits = torch.cat([(z * key).sum(1, keepdim=True), z @ old.T], 1) / method.temperature
    own = method.rows == rows[:, None]
    masked = logits.clone()
    masked[:, 1:][own] = -math.inf
    target = torch.zeros(6, dtype=torch.long)
    assert torch.allclose(method.contrast_queue(q, k, rows)["loss"], F.cross_entropy(masked, target), atol=1e-12)
    method.mask_own = False
    assert torch.allclose(method.contrast_queue(q, k, rows)["loss"], F.cross_entropy(logits, target), atol=1e-12)
    assert own.sum() == 3


def test_keep_leaves_out():
    """`info_nce(keep=)` equals the loss on the smaller queue, also its gradient; nothing kept is a loss of zero."""
    q, k = torch.randn(2, 3, 5, generator=generator(0), dtype=torch.float64)
    old = torch.randn(7, 5, generator=generator(1), dtype=torch.float64)
    keep = torch.rand(3, 7, generator=generator(2)) < 0.5
    keep[2] = False
    q.requires_grad_()
    found = info_nce(q, k, old, 0.2, "none", keep)
    for i in range(2): assert torch.allclose(found[i], info_nce(q[i:i + 1], k[i:i + 1], old[keep[i]], 0.2), atol=1e-12)
    assert found[2] == 0
    found.sum().backward()
    assert q.grad.isfinite().all() and (q.grad[2] == 0).all()
    torch.autograd.gradcheck(lambda q: info_nce(q, k, old, 0.2, keep=keep), q.detach().requires_grad_())


@pytest.mark.parametrize("keep", [torch.ones(3, 6, dtype=torch.bool), torch.ones(3, 7), [True] * 7])
def test_keep_must_fit(keep):
    """A mask of another shape or kind is refused."""
    with pytest.raises(ValueError, match=r"keep must be bool \[3, 7\]"):
        info_nce(torch.ones(3, 5), torch.ones(3, 5), torch.ones(7, 5), keep=keep)
    with pytest.raises(ValueError, match="none were given"):
        info_nce(torch.ones(3, 5), torch.ones(3, 5), keep=torch.ones(3, 3, dtype=torch.bool))


def test_one_step(digits):
    """Keys move before they are made, no gradient reaches them, and the queue takes them."""
    method = small(momentum=0.75)
    for p in method.encoder.parameters(): p.data += 0.1
    batch = digits[torch.arange(20)]
    batch.generator = generator(0)
    query = nn.Sequential(method.encoder, method.projector)
    old, now = ([p.clone() for p in net.parameters()] for net in (method.key, query))
    method.update(batch)
    for after, before, source in zip(method.key.parameters(), old, now, strict=True):
        assert torch.allclose(after, before + 0.25 * (source - before), atol=1e-6) and after.grad is None
    assert method.pointer == 20 and method.rows[:20].equal(batch.index) and method.known_labels[:20].equal(batch.labels)


@pytest.mark.parametrize("groups", [1, 3, 8, 20])
def test_groups_keep_the_order(groups):
    """Samples come back where they were, also where groups differ in size."""
    x, order = torch.arange(20.0)[:, None], torch.randperm(20, generator=generator(0))
    assert in_groups(lambda part: 2 * part, x, groups, order).equal(2 * x)
    norm = nn.BatchNorm1d(1, affine=False)
    if 1 < groups < 20:
        mean = torch.stack([part.mean() for part in in_groups(norm, x, groups).chunk(groups)])
        assert mean.abs().max() < 1e-5 and in_groups(norm, x, groups, order)[order].chunk(groups)[0].mean().abs() < 1e-5


def test_resumes_to_the_same_numbers(digits, tmp_path):
    """Queue, pointer and slow network are in the checkpoint."""
    def run(folder, steps):
        found = Run(small(momentum=0.9), digits, 30, batch_size=32, device="cpu", folder=folder, checkpoint_every=10,
                    progress=False)
        for step in found:
            if step == steps: break
        return found

    whole = run(tmp_path / "whole", 30)
    part = run(tmp_path / "part", 20)
    part.save()
    again = Run.load(tmp_path / "part")
    for _ in again: pass
    assert again.history["loss"].values.tolist() == whole.history["loss"].values.tolist()
    assert again.method.queue.equal(whole.method.queue) and again.method.pointer == whole.method.pointer


def test_pairs_pull_as_the_gradient(digits):
    """Pulls are those of the loss; what is shown of the queue is what counts most."""
    method = small(queue=300)
    run = Run(method, digits, 12, batch_size=64, device="cpu", progress=False)
    watch(run, digits.subset(range(20)), every=6, pairs=8)
    for _ in run: pass
    found = method.pairs(digits.images[:8], digits.labels[:8], generator(0))
    assert found.similarity.shape == (8, 136) and found.positive.sum() == 8
    assert (found.pull[:, 8:] <= 0).all() and (found.pull.diagonal() > 0).all()
    assert torch.isnan(found.similarity[:, :8]).sum() == 56
    assert set(found.agrees.unique().tolist()) <= {0, 1} and run.history["why.table"].frame(-1).shape == (6, 8, 136)


@pytest.mark.parametrize("make, message", [
    (lambda: small(optimizer="lamb"), "optimizer must be one of adam, sgd"),
    (lambda: small(momentum=1.5), "momentum must lie in 0…1")])
def test_bad_input(make, message):
    """Errors name what would do."""
    with pytest.raises(ValueError, match=message): make()


def test_fewer_keys_than_a_batch():
    """A queue shorter than the batch is refused with both numbers."""
    method = small(queue=8)
    images = torch.zeros(16, 1, 8, 8, dtype=torch.uint8)
    batch = Batch(images, torch.zeros(16, dtype=torch.long), torch.arange(16))
    with pytest.raises(ValueError, match="at most 8 rows"): method.update(batch)
