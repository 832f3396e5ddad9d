"""CLAWS: losses by hand and by loops, masks that follow their views, deals, saving, and errors."""

import math

import pytest
import torch

from clnb import nets
from clnb.augment import Affine, Compose, HorizontalFlip, RandomResizedCrop, identity
from clnb.core import generator, rebuild, recipe, seeded
from clnb.data import load, make_field
from clnb.losses import nt_xent, sup_con
from clnb.masks import SaliencyMask
from clnb.methods.claws import (
    CLAWS,
    CONFIGURATIONS,
    PAIRS,
    class_pair_loss,
    claws_loss,
    cluster_scores,
    embedded,
    hard_attention_mask,
    partners,
    placed_masks,
)
from clnb.run import Run, looking

FIELD = make_field(96, seed=0)


def crops(side=32): return Compose([RandomResizedCrop(side, scale=(0.36, 0.9)), HorizontalFlip(0.5)])


def new(seed=0, geometry=None, **options):
    with seeded(seed):
        return CLAWS(nets.small_convnet(3, 4, 2, dim=8), nets.mlp([8, 8, 4]), geometry or crops(), **options)


# ------------------------------------------------------------------------------------------------------------- losses

def pair_by_loops(za, zb, labels, temperature):
    "The loss of a row is that of its pair against the rows of other classes."
    z = torch.nn.functional.normalize(torch.cat([za, zb]), dim=1)
    w, n, found = labels.repeat(2).tolist(), len(za), []
    for i in range(2 * n):
        s = [(z[i] @ z[a]).item() / temperature for a in range(2 * n)]
        partner = (i + n) % (2 * n)
        others = [math.exp(s[a]) for a in range(2 * n) if w[a] != w[i]]
        found.append(-s[partner] + math.log(math.exp(s[partner]) + sum(others)))
    return torch.tensor(found).double()


@pytest.mark.parametrize("seed", range(3))
def test_class_pair_against_loops(seed):
    z = torch.randn(2, 7, 5, generator=generator(seed), dtype=torch.float64)
    labels = torch.randint(3, (7,), generator=generator(seed))
    found = class_pair_loss(*z, labels, 0.3, reduction="none")
    assert torch.allclose(found, pair_by_loops(*z, labels, 0.3), atol=1e-12)
    assert torch.allclose(claws_loss(z.flatten(0, 1), labels, 0.3, "class_pair"), found.mean())


def test_values_by_hand():
    "Section 9 of the specification, T1 to T3."
    z, one = torch.eye(2).double().repeat(2, 1), torch.ones(6, 1).double()
    both, apart = torch.tensor([0, 0]), torch.tensor([0, 1])
    assert claws_loss(z, apart, 1.0, "instance").item() == pytest.approx(0.551445, abs=1e-6)
    assert claws_loss(z, both, 1.0, "class_multi").item() == pytest.approx(1.218111, abs=1e-6)
    assert claws_loss(z, both, 1.0, "class_pair").item() == 0
    equal = one[:4]
    for pairs in ("instance", "class_pair"):
        assert claws_loss(equal, apart, 1.0, pairs).item() == pytest.approx(math.log(3), abs=1e-9)
    assert claws_loss(one, torch.tensor([0, 1, 0]), 1.0, "class_pair").item() == pytest.approx(1.268887, abs=1e-6)


def test_without_repeated_labels_all_losses_are_one():
    z = torch.randn(12, 5, generator=generator(0), dtype=torch.float64)
    for labels in (torch.arange(6), torch.full((6,), -1)):
        for pairs in PAIRS:
            assert torch.allclose(claws_loss(z, labels, 0.2, pairs), nt_xent(*z.chunk(2), 0.2))
    labels = torch.tensor([0, 0, 1, 1, 2, -1])
    assert torch.allclose(claws_loss(z, labels), sup_con(z, torch.tensor([0, 0, 1, 1, 2, 3]).repeat(2), 0.2))


def test_gradients_and_half_precision():
    z = torch.randn(2, 4, 3, generator=generator(0), dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 0, 1, 2])
    assert torch.autograd.gradcheck(lambda z: class_pair_loss(*z, labels, 0.5), (z,))
    half = class_pair_loss(*z.detach().bfloat16(), labels, 0.05)
    assert half.dtype == torch.float32 and half.isfinite()


def test_errors_of_the_loss():
    z = torch.randn(6, 4)
    with pytest.raises(ValueError, match="pairs is 'triplets'; expected one of class_multi"):
        claws_loss(z, torch.arange(3), pairs="triplets")
    with pytest.raises(ValueError, match=r"two rows for each label, \[2N, d\]; got \[6, 4\] and 6 labels"):
        claws_loss(z, torch.arange(6))


# ------------------------------------------------------------------------------------------------------- masks of views

@pytest.mark.parametrize("geometry", [crops(20), Affine(30, translate=(0.1, 0.1), scale=(0.8, 1.2)), HorizontalFlip()])
def test_a_mask_follows_its_view(geometry):
    "A picture of its own mask, moved with the same draws, agrees with the moved mask but at the border."
    keep = FIELD.masks.bool()
    params, kept = placed_masks(geometry, FIELD.images, keep, 0.05, generator(1))
    seen = geometry.apply(keep[:, None].float(), params)[:, 0] > 0.5
    assert kept.shape == seen.shape and (seen == kept).float().mean() > 0.97


def test_a_landmark_stays_inside_for_a_thousand_crops():
    pictures, keep = torch.zeros(1000, 1, 32, 32), torch.zeros(1000, 32, 32, dtype=torch.bool)
    keep[:, 10:20, 8:22], pictures[:, :, 13:16, 12:16] = True, 1.0
    geometry = crops()
    params, kept = placed_masks(geometry, pictures, keep, 0.0, generator(0))
    assert not (geometry.apply(pictures, params)[:, 0] > 0.01)[~kept].any()


def test_too_little_is_drawn_again_then_left_unmasked():
    "A corner that most crops miss is in sight far more often than in a single draw; an empty mask is no mask."
    keep = torch.zeros(400, 32, 32, dtype=torch.bool)
    keep[:, :8, :8] = True
    images, geometry = torch.zeros(400, 1, 32, 32), RandomResizedCrop(32, scale=(0.2, 0.3))
    once = placed_masks(geometry, images, keep, 0.0, generator(0))[1].flatten(1).float().mean(1)
    again = placed_masks(geometry, images, keep, 0.05, generator(0))[1].flatten(1).float().mean(1)
    assert (again >= 0.05).all()                                        # enough, or everything
    assert (once < 0.05).float().mean() > 0.5
    enough_in_six = ((again < 1) & (again >= 0.05)).float().mean()
    assert enough_in_six > 1.5 * ((once >= 0.05) & (once < 1)).float().mean()
    assert placed_masks(geometry, images, torch.zeros_like(keep), 0.05, generator(0))[1].all()


def test_a_mask_of_ones_changes_nothing():
    ones, method = torch.ones_like(FIELD.masks), new(mask="given")
    for a, b in zip(method.views(FIELD.images, generator(5), ones), new(mask="none").views(FIELD.images, generator(5)),
                    strict=True): assert a.equal(b)
    with looking(method): assert method.embed(FIELD.images, ones).equal(new(mask="none").eval().embed(FIELD.images))


@pytest.mark.parametrize("fill", ["zero", "mean", "noise", 0.3])
def test_what_is_hidden_does_not_count(fill):
    "Other colours behind the mask change nothing that the network sees, in training and when embedded."
    method, other = new(mask="given", fill=fill), FIELD.images.clone()
    hidden = (FIELD.masks == 0)[:, None].expand_as(other)
    other[hidden] = torch.randint(0, 255, (int(hidden.sum()),), dtype=torch.uint8)
    keep = FIELD.masks.bool()
    if fill == "zero":
        with looking(method): a, b = (method.embed(x, keep) for x in (FIELD.images, other))
        assert a.equal(b)
    seen, kept = method.masked_view(FIELD.images, keep, generator(0))
    assert seen.isfinite().all() and kept.dtype == torch.bool
    if fill in ("zero", 0.3): assert (seen[(~kept)[:, None].expand_as(seen)] == (0 if fill == "zero" else 0.3)).all()


def test_masks_of_odd_pictures():
    grey, black = torch.full((2, 3, 16, 16), 90, dtype=torch.uint8), torch.zeros(2, 3, 16, 16)
    for images in (grey, black): assert hard_attention_mask(images).all()
    with pytest.raises(ValueError, match="there is no mask producer 'otsu'"): hard_attention_mask(grey, "otsu")
    with pytest.raises(ValueError, match="needs the masks of the data"): new(mask="given").embed(grey)


# ------------------------------------------------------------------------------------------------------------- training

@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_configuration_learns(name):
    run = Run(new(**CONFIGURATIONS[name]), FIELD, steps=4, batch_size=32, progress=False)
    for _ in run: pass
    assert math.isfinite(run.history.last("loss"))


def test_partners_share_the_label():
    labels = torch.tensor([0, 0, 0, 1, 2, -1, -1])
    for seed in range(20):
        other = partners(labels, generator(seed))
        assert (labels[other] == labels).all() and (other[:3] != torch.arange(3)).all()
        assert other[3:].tolist() == [3, 4, 5, 6]


def test_batches_within_a_class():
    method = new(pairs="within_class")
    run = Run(method, FIELD, steps=6, batch_size=16, progress=False)
    for step in range(6): assert len(run._batch(step).labels.unique()) == 1
    assert len({run._batch(step).labels[0].item() for step in range(6)}) > 1
    for _ in run: pass
    assert run.history.last("loss") > 0


def test_saliency_begins_after_its_warm_up_and_follows_slowly(tmp_path):
    method = new(mask="saliency", warmup=2, momentum=0.5)
    assert isinstance(method.producer, SaliencyMask)
    run = Run(method, FIELD, steps=12, batch_size=32, folder=tmp_path / "run", progress=False)      # three steps a pass
    start = {name: value.clone() for name, value in method.slow.state_dict().items()}
    seen = []
    run.measure("masks", lambda m: seen.append(m.allowed(FIELD.images[:8]).float().mean().item()) or 0.0, every=1)
    for _ in run: pass
    assert all(value == 1 for value in seen[:6]) and all(0.3 < value < 0.6 for value in seen[-3:])
    assert any(not value.equal(start[name]) for name, value in method.slow.state_dict().items())
    assert all(not p.requires_grad for p in method.slow.parameters())


@pytest.mark.parametrize("mask", ["index", "saliency"])
def test_a_run_is_taken_up(tmp_path, mask):
    "The same losses and weights after saving in the middle and loading from the folder alone."
    def run(folder):
        with seeded(0): method = new(mask=mask, warmup=1)
        return Run(method, FIELD, steps=8, batch_size=32, folder=folder, progress=False, schedule="cosine")

    whole, part = run(tmp_path / "a"), run(tmp_path / "b")
    for _ in whole: pass
    for step in part:
        if step == 5: break
    part.save()
    again = Run.load(tmp_path / "b", new(mask=mask, warmup=1), FIELD)
    for _ in again: pass
    assert again.history["loss"].values.tolist() == whole.history["loss"].values.tolist()
    for a, b in zip(again.method.state_dict().values(), whole.method.state_dict().values(), strict=True):
        assert a.equal(b)


def test_a_method_is_rebuilt_from_its_recipe():
    method = CLAWS(nets.small_convnet(3, 4, 2, dim=8, seed=0), nets.mlp([8, 4], seed=0), crops(), mask="index")
    again = rebuild(recipe(method))
    assert again.producer.__class__ is method.producer.__class__ and again.pair_kind == method.pair_kind


def test_grey_pictures_and_other_sizes():
    digits = load("digits").subset(range(64))
    with seeded(0): method = CLAWS(nets.small_convnet(1, 4, 2, dim=8), nets.mlp([8, 4]), crops(8), mask="none")
    with pytest.raises(ValueError, match="a grey image has no colour to go by; take a producer that needs none"):
        hard_attention_mask(digits.images)
    for _ in Run(method, digits, steps=2, batch_size=32, progress=False): pass
    assert embedded(method, digits).shape == (64, 4)


# ----------------------------------------------------------------------------------------------------------- evaluation

def test_scores_of_clusters():
    rng = generator(0)
    labels = torch.arange(120) % 3
    z = torch.nn.functional.normalize(3 * torch.eye(3, 5)[labels] + 0.1 * torch.randn(120, 5, generator=rng), dim=1)
    found, mixture = cluster_scores(z, labels, labels)
    assert found == {"NMI": pytest.approx(1), "ARI": pytest.approx(1), "5-NN": 1, "NMI ground": pytest.approx(1)}
    assert len(mixture.weights) == 3 and cluster_scores(z, labels, components=2)[1].means.shape == (2, 5)


def test_embeddings_come_in_batches_of_any_size():
    method = new(mask="given")
    assert torch.allclose(embedded(method, FIELD, batch=17), embedded(method, FIELD, batch=512), atol=1e-6)
    assert method.training and torch.allclose(embedded(method, FIELD).norm(dim=1), torch.ones(96))
    assert identity()(FIELD.images).shape == FIELD.images.shape
