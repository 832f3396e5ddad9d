"PCL and HCSC on pictures: what clusters, what the local crops add, and that small pictures of any size pass."

import pytest
import torch
import torch.nn.functional as F

from clnb import nets
from clnb.augment import Compose, HorizontalFlip, RandomResizedCrop, identity
from clnb.core import generator, seeded
from clnb.data import Batch, available, load
from clnb.losses import info_nce
from clnb.methods.hcsc import HCSC, PCL, all_keys, drawn, hcsc_instance_loss, hcsc_prototype_loss
from clnb.methods.moco import MoCo
from clnb.run import Run
from clnb.trees import hierarchical_kmeans

SIZES = (12, 6, 3)


@pytest.fixture(scope="module")
def shapes():
    return load("shapes").subset(range(192))


def views(side=32, scale=(0.4, 1.0)):
    return Compose([RandomResizedCrop((side, side), scale=scale), HorizontalFlip()])


LOCAL = (views(24, (0.15, 0.4)), views(16, (0.05, 0.2)))


def new(kind, **options):
    with seeded(0):
        encoder = nets.small_convnet(width=4, depth=3)
        own = {} if kind is MoCo else {"sizes": SIZES, "warmup": 0}
        return kind(encoder, nets.projection_head(encoder.out_dim, 16, 8), views(),
                    **{**own, "temperature": 0.2, "queue": 64, **options})


def grown(method, data):
    for _ in method.start_epoch(data, 0): pass
    return method


def batch_of(data, rows, seed=0):
    found = data[torch.as_tensor(rows)]
    return Batch(found.images, found.labels, found.index, generator(seed), found.coarse_labels)


def test_the_tree_is_that_of_the_slow_network_in_evaluation_mode(shapes):
    method = grown(new(HCSC), shapes)
    assert method.training
    method.eval()
    with torch.no_grad(): keys = F.normalize(method.key(identity()(shapes.images)), dim=1)
    tree = hierarchical_kmeans(keys, SIZES)
    assert torch.equal(method.tree.assignments, tree.assignments)
    for ours, theirs in zip(method.tree.prototypes, tree.prototypes, strict=True): assert torch.allclose(ours, theirs)


def test_chunks_do_not_change_the_embeddings(shapes):
    method = new(PCL)
    parts = [torch.cat(list(all_keys(method, shapes, chunk))) for chunk in (7, 64, 1000)]
    assert torch.allclose(parts[0], parts[1], atol=1e-6) and torch.allclose(parts[0], parts[2], atol=1e-6)
    assert torch.allclose(parts[0].norm(dim=1), torch.ones(len(shapes)), atol=1e-6)


def test_all_three_start_from_the_same_weights_and_queue():
    states = [new(kind).state_dict() for kind in (MoCo, PCL, HCSC)]
    for name, value in states[0].items():
        if isinstance(value, torch.Tensor):
            assert all(torch.equal(value, state[name]) for state in states[1:]), name


def test_local_crops_leave_the_main_query_alone(shapes):
    batch, image = batch_of(shapes, range(32)), views()(shapes.images[:32], generator=generator(1))
    plain, many = new(HCSC).queries(image, batch), new(HCSC, crops=LOCAL).queries(image, batch)
    assert many.shape == (3 * 32, 8)
    assert torch.equal(many[:32], plain)
    assert not torch.allclose(many[32:64], plain, atol=1e-3)


@pytest.mark.parametrize("side", [8, 12, 16, 24, 33])
def test_a_local_view_may_have_any_size(shapes, side):
    method = new(HCSC, crops=[views(side, (0.1, 0.3))])
    assert method.loss(batch_of(shapes, range(16)))["loss"].isfinite()


def test_before_the_first_clustering_every_view_adds_the_loss_of_moco(shapes):
    method, rows = new(HCSC, crops=LOCAL), torch.arange(32)
    q, k = (F.normalize(torch.randn(n, 8, generator=generator(n)), dim=1) for n in (96, 32))
    parts = [info_nce(part, k, method.queue, 0.2) for part in q.chunk(3)]
    assert method.contrast_queue(q, k, rows)["loss"].isclose(torch.stack(parts).sum())


def test_all_views_share_one_selection_and_draw_their_own_prototypes(shapes):
    method, rows = grown(new(HCSC, crops=LOCAL), shapes), torch.arange(32)
    q, k = (F.normalize(torch.randn(n, 8, generator=generator(n)), dim=1) for n in (96, 32))
    tree, labels = method.tree, method.tree.assignments[:, rows]
    with seeded(3): found = method.contrast_queue(q, k, rows)
    with seeded(3):
        keep = [drawn(p) for p in method.keep_probabilities(labels)]
        instances = sum(hcsc_instance_loss(part, k, method.queue, keep, 0.2) for part in q.chunk(3))
        prototypes = sum(hcsc_prototype_loss(part, tree.prototypes, tree.concentration, labels,
                                             method.prototype_masks(labels)) for part in q.chunk(3))
    assert found["instances"].isclose(instances) and found["prototypes"].isclose(prototypes)
    assert found["loss"].isclose(instances + prototypes)


def test_no_gradient_reaches_the_slow_network_or_the_tree(shapes):
    method = grown(new(HCSC, crops=LOCAL), shapes)
    method.loss(batch_of(shapes, range(32)))["loss"].backward()
    assert all(p.grad is None for p in method.key.parameters())
    assert not any(t.requires_grad for t in (*method.tree.prototypes, *method.tree.concentration, method.queue))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.encoder.parameters())


@pytest.mark.parametrize("kind, options", [(MoCo, {}), (PCL, {"linked": True}), (PCL, {}), (HCSC, {}),
                                           (HCSC, {"crops": LOCAL})])
def test_a_run_on_pictures(shapes, kind, options):
    run = Run(new(kind, **options), shapes, 9, 48, seed=0, device="cpu", progress=False)
    for _ in run: pass
    assert torch.as_tensor(run.history["loss"].values).isfinite().all()
    assert kind is MoCo or run.method.tree.sizes == SIZES


def test_the_groups_of_cifar100_are_a_hierarchy():
    if "cifar100_hier" not in available(): pytest.skip("CLNB_DATA names no folder with cifar100_hier.npz")
    data = load("cifar100_hier")
    pairs = torch.stack([data.labels, data.coarse_labels]).unique(dim=1)
    assert pairs.shape[1] == 100
    assert pairs[1].bincount().tolist() == [5] * 20
