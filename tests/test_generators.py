"""Drawn data sets: what they promise (classes, causes, masks, groups), one seed one set, and what they refuse."""

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from clnb import data
from clnb.core import generator, rebuild, recipe
from clnb.data import (
    ImageSet,
    VectorSet,
    confounded,
    imbalanced,
    lesion_signs,
    load,
    lottery,
    make_crops,
    make_field,
    make_lesions,
    make_shared_component,
    make_tiles,
    noisy_labels,
    pixel_noise,
)

MAKERS = {
    "field": lambda **more: make_field(**({"count": 120} | more)),
    "crops": lambda **more: make_crops(**({"count": 120, "size": 32} | more)),
    "lesions": lambda **more: make_lesions(**({"count": 120, "minority": 0.25, "size": 24} | more)),
}
every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def table(a, b):
    "How many rows have label a and label b."
    out = torch.zeros(int(a.max()) + 1, int(b.max()) + 1, dtype=torch.int64)
    return out.index_put_((a, b), torch.ones_like(a), accumulate=True)


def excess_green(images):
    r, g, b = images.double().unbind(1)
    return (2 * g - r - b) / (r + g + b).clamp_min(1e-9)


def otsu(values):
    "The threshold with the largest variance between the two sides, by trying all (numpy, one image)."
    levels = np.round((values + 1) / 3 * 255).astype(int)
    best, at = -1.0, 0
    for t in range(256):
        low, high = levels[levels <= t], levels[levels > t]
        if len(low) and len(high):
            between = len(low) * len(high) * (low.mean() - high.mean()) ** 2
            if between > best: best, at = between, t
    return levels > at


# ---- all of them ---------------------------------------------------------------------------------------------------


@every
def test_one_seed_one_set(make):
    s = make()
    assert isinstance(s, ImageSet) and s.images.dtype == torch.uint8 and s.masks.dtype == torch.uint8
    assert s.fingerprint() == make().fingerprint() == make(seed=0).fingerprint() != make(seed=1).fingerprint()
    assert set(s.masks.unique().tolist()) == {0, 1} and (s.counts() > 0).all()
    assert len(s.images.flatten(1).unique(dim=0)) == len(s)          # no picture twice


@every
def test_global_randomness_is_left_alone(make):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    make()
    assert torch.get_rng_state().equal(state)


@every
def test_rebuilt_from_its_recipe(make):
    part = make(seed=4).split(0.75, 0.25, seed=1)[1]
    assert rebuild(json.loads(json.dumps(recipe(part)))).fingerprint() == part.fingerprint()


@every
@pytest.mark.parametrize("seed", [-1, 2**62])
def test_any_seed(make, seed):
    s = make(seed=seed)
    assert s.fingerprint() != make(seed=0).fingerprint() and (s.groups is None or s.groups.min() >= 0)


@every
def test_larger_pictures_show_the_same(make):
    "Twice the pixels: where the object is does not change."
    small, large = make(size=32), make(size=64)
    assert large.shape == (3, 64, 64) and large.labels.equal(small.labels)
    shrunk = torch.nn.functional.avg_pool2d(large.masks[:, None].float(), 2)[:, 0] > 0.5
    both = (shrunk & small.masks.bool()).sum((1, 2)) / (shrunk | small.masks.bool()).sum((1, 2))
    assert both.mean() > 0.7


def test_other_numbers_of_threads_same_bytes():
    "Another process, another number of threads, scalar kernels: the same pictures."
    code = ("from clnb.data import *; print(make_field(60).fingerprint(), make_crops(60, size=32).fingerprint(), "
            "make_lesions(60, minority=0.3).fingerprint(), make_shared_component(60, strength=3).fingerprint(), "
            "make_tiles(12, size=32).fingerprint())")
    seen = set()
    for more in ({"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "3"}, {"ATEN_CPU_CAPABILITY": "default"}):
        done = subprocess.run([sys.executable, "-c", code], env=os.environ | more, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        seen.add(done.stdout)
    assert len(seen) == 1


@pytest.mark.parametrize("name", MAKERS)
def test_by_name(name):
    train, test = load(name), load(name, "test")
    assert len(test) >= 600 and train.classes == test.classes and train.coarse_classes == test.coarse_classes
    assert train.name == name and data.available()[name] == "embedded"
    if train.groups is not None: assert not set(train.groups.tolist()) & set(test.groups.tolist())
    with pytest.raises(ValueError, match=f"{name} has no split 'val'; it has 'train', 'test'"): load(name, "val")


@pytest.mark.parametrize(("call", "message"), [
    (lambda: make_field(5), "a picture of each class"), (lambda: make_field(size=8), "size=8"),
    (lambda: make_field(confounding=1.1), "confounding in 0…1.*1.1"), (lambda: make_field(noise=-1), "noise=-1"),
    (lambda: make_field(confounding=float("nan")), "confounding in 0…1"),
    (lambda: make_crops(7), "a picture of each"), (lambda: make_crops(species=13), "species=13"),
    (lambda: make_crops(species=1), "species=1"), (lambda: make_crops(weeds=2), "weeds in 0…1"),
    (lambda: make_crops(shadows=-0.1), "shadows in 0…1"), (lambda: make_crops(residue=3), "residue in 0…1"),
    (lambda: make_lesions(10, minority=0.01), "0 malignant of 10 lesions"),
    (lambda: make_lesions(per_lesion=0), "per_lesion=0"), (lambda: make_lesions(overlap=-1), "overlap in 0…1"),
    (lambda: make_lesions(size=8), "size=8"), (lambda: make_lesions(0), "got size=32.*count=0"),
    (lambda: make_lesions(hair=7), "hair in 0…1"), (lambda: make_lesions(minority=1), "10|2200 malignant"),
])
def test_bad_numbers(call, message):
    with pytest.raises(ValueError, match=message): call()


# ---- grounds and noise ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0, 1 / 6, 0.5, 0.9, 1])
def test_confounding_is_exact(share):
    labels = torch.arange(1200) % 6
    ground = confounded(labels, 6, share, generator(0))
    own = (ground == labels).double()
    assert abs(own.mean() - max(share, 1 / 6)) < 0.004
    cells = table(labels, ground)
    others = cells[~torch.eye(6, dtype=torch.bool)]
    assert others.max() - others.min() <= 1                           # what is not its own is any other, equally often


def test_confounding_changes_no_more_than_it_must():
    labels = torch.arange(600) % 6
    grounds = [confounded(labels, 6, share, generator(1)) for share in (0, 0.4, 0.8, 1)]
    for less, more in itertools.pairwise(grounds):
        moved = less != more
        assert moved.any() and (more[moved] == labels[moved]).all()


@pytest.mark.parametrize("kinds", [1, 2])
def test_one_or_two_grounds(kinds):
    assert confounded(torch.arange(10) % kinds, kinds, 0.0, generator(0)).unique().numel() == kinds


def test_noise_is_nearly_normal():
    x = pixel_noise((101, 999), generator(0))
    assert x.shape == (101, 999) and abs(x.mean()) < 0.01 and abs(x.std() - 1) < 0.01 and x.abs().max() < 3.5
    assert abs((x.abs() < 1).double().mean() - 0.68) < 0.02
    raw = torch.empty((101 * 999 + 1) // 2, dtype=torch.int64).random_(-2**63, None, generator=generator(0))
    sums = np.frombuffer(raw.numpy().tobytes(), np.uint8).reshape(-1, 4).sum(1)[:x.numel()]
    assert np.allclose(x.flatten().numpy(), (sums - 510.0) / np.sqrt(65535 / 3))


# ---- field ---------------------------------------------------------------------------------------------------------


def test_field_as_specified():
    s = make_field()
    assert s.classes == ("vertical", "horizontal", "diagonal", "checker", "rings", "wide") and s.shape == (3, 32, 32)
    assert s.coarse_classes == tuple(f"background {k}" for k in range(6)) and s.counts().tolist() == [200] * 6
    radius = (s.masks.sum((1, 2)) / np.pi).sqrt()
    assert radius.min() > 7.8 and radius.max() < 11.2
    tied = make_field(confounding=0.9)
    assert abs((tied.labels == tied.coarse_labels).double().mean() - 0.9) < 0.01


def test_field_disc_is_found():
    "Excess green and Otsu's threshold, image by image: the overlap with the true disc."
    s = make_field(90)
    found = np.stack([otsu(values) for values in excess_green(s.images).numpy()])
    true = s.masks.bool().numpy()
    overlap = (found & true).sum((1, 2)) / (found | true).sum((1, 2))
    assert overlap.mean() > 0.97 and overlap.min() > 0.9


def test_field_colour_does_not_tell_the_class():
    s = make_field(3000)
    inside = s.masks[:, None].double()
    colour = (s.images * inside).sum((2, 3)) / inside.sum((2, 3))
    means = torch.stack([colour[s.labels == k].mean(0) for k in range(6)])
    assert means.std(0).max() < 0.15 * colour.std(0).max()
    area = s.masks.double().sum((1, 2))
    assert torch.stack([area[s.labels == k].mean() for k in range(6)]).std() < 0.2 * area.std()


def test_field_settings_are_paired():
    a, b, c = make_field(120), make_field(120, confounding=1.0), make_field(120, noise=0.15)
    assert a.labels.equal(b.labels) and a.masks.equal(b.masks) and b.coarse_labels.equal(b.labels)
    core = a.masks & a.masks.roll(1, 1) & a.masks.roll(1, 2)
    inside = core[:, None].bool().expand_as(a.images)
    assert (a.images[inside].int() - b.images[inside].int()).abs().double().mean() < 3       # the disc stays as it was
    assert c.masks.equal(a.masks) and c.coarse_labels.equal(a.coarse_labels) and not c.images.equal(a.images)


# ---- crops ---------------------------------------------------------------------------------------------------------


def test_crops_shapes():
    s = make_crops(240, size=32, species=12)
    assert s.classes == tuple(data.SPECIES) and s.coarse_classes == tuple(data.SOILS)
    assert s.counts().tolist() == [20] * 12
    share = s.masks.double().mean((1, 2))
    assert (share > 0.005).all() and share.max() < 0.6
    assert make_crops(8, size=24).counts().tolist() == [1] * 8


def test_crops_plots():
    s = make_crops(400, size=24)
    for plot in s.groups.unique():
        rows = s.groups == plot
        assert rows.sum() == 5 and len(s.labels[rows].unique()) == len(s.coarse_labels[rows].unique()) == 1
    a, b = s.split(0.7, 0.3, seed=2)
    assert not torch.isin(a.groups, b.groups).any() and abs(len(a) / 400 - 0.7) < 0.02
    assert (a.counts() - 35).abs().max() <= 5
    assert table(s.labels, s.coarse_labels).unique().tolist() in ([5, 10], [5], [0, 5, 10])
    tied = make_crops(400, size=24, confounding=1.0)
    assert tied.coarse_labels.equal(tied.labels) and tied.labels.equal(s.labels) and tied.masks.equal(s.masks)


def test_crops_are_green_and_soil_is_not():
    s = make_crops(200, size=48, weeds=0, shadows=0, residue=0)
    green, mask = excess_green(s.images), s.masks.bool()
    core = mask & mask.roll(1, 1) & mask.roll(-1, 1) & mask.roll(1, 2) & mask.roll(-1, 2)
    near = torch.nn.functional.max_pool2d(mask[:, None].float(), 5, 1, 2)[:, 0] > 0
    assert green[core].quantile(0.01) > 0.2 and green[~near].quantile(0.999) < 0.2


def test_crops_colour_is_the_same_for_all_species():
    s = make_crops(1200, size=32, weeds=0, residue=0)
    mask = s.masks[:, None].double()
    colour = (s.images * mask).sum((2, 3)) / mask.sum((2, 3))
    means = torch.stack([colour[s.labels == k].mean(0) for k in range(8)])
    assert means.std(0).max() < 0.6 * colour.std(0).max()


def test_crops_knobs():
    plain = {"count": 160, "size": 32, "weeds": 0, "shadows": 0, "residue": 0}
    bare = make_crops(**plain)
    for knob in ("weeds", "shadows", "residue"):
        full, half = make_crops(**(plain | {knob: 1})), make_crops(**(plain | {knob: 0.5}))
        assert full.masks.equal(bare.masks) and full.labels.equal(bare.labels)
        outside = ~torch.nn.functional.max_pool2d(bare.masks[:, None].float(), 3, 1, 1).bool().expand_as(bare.images)
        def changed(s, outside=outside):
            big = ((s.images.int() - bare.images.int()).abs() > 12) & outside
            return (big.flatten(1).sum(1) > 6).double().mean()
        assert changed(full) > 0.75 and 0.3 < changed(half) / changed(full) < 0.75, knob
    green = [(excess_green(make_crops(**(plain | {"weeds": w})).images) > 0.2).double().mean() for w in (0, 1)]
    assert green[1] > green[0] + 0.01


def test_species_differ_in_form():
    "A plain classifier on silhouettes, blind to colour and soil, tells most species apart."
    train, test = make_crops(800, size=32, seed=5), make_crops(200, size=32, seed=6)
    def features(s):
        m = s.masks.double()
        f = torch.fft.fft2(m).abs().log1p()[:, :10, :10].flatten(1)
        edge = ((m - m.roll(1, 1)).abs() + (m - m.roll(1, 2)).abs()).sum((1, 2)) / m.sum((1, 2))
        return torch.cat([f, edge[:, None], m.mean((1, 2))[:, None], torch.ones(len(s), 1).double()], 1)
    a, b = features(train), features(test)
    w = torch.linalg.solve(a.T @ a + 10 * torch.eye(a.shape[1]).double(), a.T @ torch.eye(8).double()[train.labels])
    assert ((b @ w).argmax(1) == test.labels).double().mean() > 0.4           # chance 0.125


# ---- lesions -------------------------------------------------------------------------------------------------------


def test_lesions_counts_and_groups():
    s = make_lesions(1000, size=16)
    assert s.counts().tolist() == [950, 50] and s.classes == ("benign", "malignant")
    assert s.groups.unique().numel() == 1000
    s = make_lesions(300, size=24, minority=0.3, per_lesion=3)
    assert s.groups.unique(return_counts=True)[1].tolist() == [3] * 100 and s.counts().tolist() == [210, 90]
    assert all(len(s.labels[s.groups == k].unique()) == 1 for k in s.groups.unique())
    a, b = s.split(0.8, 0.2)
    assert not torch.isin(a.groups, b.groups).any() and a.counts()[1] in (72, 75, 69)
    odd = make_lesions(100, size=16, minority=0.5, per_lesion=3)
    assert len(odd) == 100 and odd.groups.unique(return_counts=True)[1].max() == 3
    assert not set(s.groups.tolist()) & set(make_lesions(30, seed=1, minority=0.5).groups.tolist())


def test_photos_of_a_lesion_are_alike():
    "Size and roughness of a lesion vary less among its photos than among lesions."
    s = make_lesions(600, size=32, minority=0.5, per_lesion=3, hair=0, vignetting=0)
    m = s.masks.double()
    edge = ((m - m.roll(1, 1)).abs() + (m - m.roll(1, 2)).abs()).sum((1, 2)) / m.sum((1, 2)).sqrt()
    order = s.groups.argsort(stable=True)
    for x in (m.mean((1, 2)).log(), edge):
        grouped = x[order].view(-1, 3)
        assert grouped.var(1).mean() < 0.75 * x.var()


def test_overlap_moves_the_classes_together():
    kinds = torch.arange(2000) % 2
    gaps = []
    for overlap in (0, 0.5, 1):
        signs = lesion_signs(kinds, overlap, seed=0)
        gaps.append([(v[kinds == 1].mean() - v[kinds == 0].mean()).item() for v in signs.values()])
        assert set(signs) == {"asymmetry", "border", "colours", "blotches", "dots"}
        assert all(v.min() >= 0 and v.max() <= 1.2 for v in signs.values())
    assert min(gaps[0]) > 0.7 and all(0.35 < g < 0.45 for g in gaps[1]) and max(map(abs, gaps[2])) < 0.03
    alike = make_lesions(60, minority=0.5, overlap=1)
    assert alike.labels.equal(make_lesions(60, minority=0.5, overlap=0).labels)


def test_lesion_signs_can_be_seen():
    "Roughness of the outline and variety of colours, measured in the pictures, follow the class where it is distinct."
    s = make_lesions(400, size=48, minority=0.5, overlap=0, hair=0, vignetting=0)
    m = s.masks.double()
    edge = ((m - m.roll(1, 1)).abs() + (m - m.roll(1, 2)).abs()).sum((1, 2)) / m.sum((1, 2)).sqrt()
    x = s.images.double() * m[:, None]
    mean = x.sum((2, 3)) / m.sum((1, 2))[:, None]
    spread = (((s.images - mean[..., None, None]) ** 2 * m[:, None]).sum((1, 2, 3)) / m.sum((1, 2))).sqrt()
    for score in (edge, spread):
        won = (score[s.labels == 1][:, None] > score[s.labels == 0]).double().mean()
        assert won > 0.85


@pytest.mark.parametrize("knob", ["hair", "vignetting"])
def test_nuisance_has_nothing_to_do_with_the_class(knob):
    base = {"count": 600, "size": 24, "minority": 0.5, "hair": 0, "vignetting": 0}
    clean = make_lesions(**base)
    for share in (0.5, 1.0):
        s = make_lesions(**(base | {knob: share}))
        touched = ((s.images.int() - clean.images.int()).abs() > 8).flatten(1).any(1).double()
        assert s.masks.equal(clean.masks) and abs(touched.mean() - share) < 0.1
        assert abs(touched[s.labels == 0].mean() - touched[s.labels == 1].mean()) < 0.12


def test_lesion_is_darker_than_skin():
    s = make_lesions(200, size=32, minority=0.5, hair=0, vignetting=0)
    grey, m = s.images.double().mean(1), s.masks.double()
    inside, outside = (grey * m).sum((1, 2)) / m.sum((1, 2)), (grey * (1 - m)).sum((1, 2)) / (1 - m).sum((1, 2))
    assert (inside < outside - 10).all() and m.mean((1, 2)).min() > 0.05 and m.mean((1, 2)).max() < 0.6


# ---- wrong labels, rare classes ------------------------------------------------------------------------------------


def vectors(n=600, classes=6):
    return VectorSet(torch.arange(n)[:, None].float(), torch.arange(n) % classes, [f"c{k}" for k in range(classes)])


@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_noisy_labels(share):
    s = vectors(6000)
    noisy = noisy_labels(s, share, seed=1)
    wrong = (noisy.labels != s.labels).double().mean()
    assert abs(wrong - share * 5 / 6) < 0.02 and type(noisy) is VectorSet and noisy.vectors is s.vectors
    assert s.labels.equal(torch.arange(6000) % 6)
    assert noisy.fingerprint() == noisy_labels(s, share, seed=1).fingerprint()
    assert share == 0 or noisy.fingerprint() != noisy_labels(s, share, seed=2).fingerprint()


def test_noisy_labels_redraws_an_exact_number():
    "With so many classes that a label hardly comes out right by chance, the changed rows are counted."
    s = VectorSet(torch.zeros(1000, 1), torch.zeros(1000, dtype=torch.int64), [str(k) for k in range(20_000)])
    changed = [(noisy_labels(s, share, seed=0).labels != 0) for share in (0.1, 0.25)]
    assert [int(c.sum()) for c in changed] == [100, 250] and (changed[1] | ~changed[0]).all()


def test_noisy_labels_leaves_unknown_ones():
    s = VectorSet(torch.zeros(8, 1), [0, 1, -1, -1, 0, 1, -1, 0], ["a", "b"])
    assert (noisy_labels(s, 1.0).labels == -1).equal(s.labels == -1)
    with pytest.raises(ValueError, match="share in 0…1"): noisy_labels(s, 1.2)


def test_imbalanced():
    s = vectors()
    few, fewer = imbalanced(s, (100, 50, 20, 10, 5, 0)), imbalanced(s, (50, 50, 10, 10, 1, 0))
    assert few.counts().tolist() == [100, 50, 20, 10, 5, 0] and few.classes == s.classes
    assert torch.isin(fewer.vectors, few.vectors).all() and few.vectors[:, 0].equal(few.vectors[:, 0].sort().values)
    for bad, message in (((101, 1, 1, 1, 1, 1), "cannot keep 101 vectors of class 'c0', which has 100"),
                         ((1, 2), "each of the 6 classes"), ((0,) * 6, "not all 0"),
                         ((-1, 1, 1, 1, 1, 1), "none below 0")):
        with pytest.raises(ValueError, match=message): imbalanced(s, bad)


def test_changed_sets_are_rebuilt():
    s = imbalanced(noisy_labels(make_field(120), 0.3, seed=2), (12, 8, 6, 4, 2, 1), seed=3)
    again = rebuild(json.loads(json.dumps(recipe(s))))
    assert again.fingerprint() == s.fingerprint() and len(again) == 33


# ---- what classes share --------------------------------------------------------------------------------------------
def test_shared_component_is_as_described():
    s = make_shared_component(1200, strength=0.0, noise=0.0)
    assert s.fingerprint() == make_shared_component(strength=0.0, noise=0.0).fingerprint() and s.shape == (1, 16, 16)
    assert s.counts().tolist() == [300] * 4 and rebuild(recipe(s)).fingerprint() == s.fingerprint()
    on = (s.images[:, 0] > 160).double()                                    # a bar of 1, of at most 2
    assert set(s.images.unique().tolist()) == {128, 191}
    for c, (rows, columns) in enumerate(((3, 9), (9, 3))):                  # level, upright: 3 × 9 pixels
        mine = on[s.labels == c]
        assert (mine.amax(2).sum(1) == rows).all() and (mine.amax(1).sum(1) == columns).all()
    middle = (on[s.labels == 0].mean(0).sum(1) * torch.arange(16)).sum() / on[s.labels == 0].mean(0).sum()
    assert 6.5 < middle < 7.5 and on.mean(0)[0].sum() == 0
    turned = on[s.labels == 2].flip(2).mean(0), on[s.labels == 3].mean(0)   # rising is falling in a mirror
    assert torch.corrcoef(torch.stack(turned).flatten(1))[0, 1] > 0.8


@pytest.mark.parametrize("strength", [0.0, 1.0, 3.0, 6.0, 20.0])
def test_shared_component_clips_next_to_nothing(strength):
    x = make_shared_component(400, strength=strength).images
    assert ((x == 0) | (x == 255)).double().mean() < 1e-3


def test_shared_component_shares_more_with_strength():
    "The waves have the variance (strength / 2)² Σ (1 + 0.3²) · var(wave), the same in all classes."
    found = []
    for strength in (1.0, 3.0, 6.0):
        s = make_shared_component(1200, strength=strength)
        x = (s.images.double() / 255 - 0.5) * 2 * (2 + 2.2 * strength + 0.9)
        means = torch.stack([x[s.labels == c].mean(0) for c in range(4)])
        found.append((means.var(0).sum() / x.var(0).sum()).item())
        assert torch.corrcoef(means.flatten(1)).min() > {1.0: 0.6, 3.0: 0.95, 6.0: 0.98}[strength]
    assert found[0] > found[1] > found[2]


@pytest.mark.parametrize(("call", "message"), [
    (lambda: make_shared_component(3), "count=3"), (lambda: make_shared_component(size=8), "size=8"),
    (lambda: make_shared_component(strength=-1), "strength=-1"),
    (lambda: make_shared_component(noise=float("nan")), "noise=nan")])
def test_shared_component_faults(call, message):
    with pytest.raises(ValueError, match=message): call()


# ---- towns from the air --------------------------------------------------------------------------------------------
def test_tiles_are_as_described():
    s = make_tiles(48, size=48, cities=3, per_scene=4)
    assert s.shape == (3, 48, 48) and s.fingerprint() == make_tiles(48, size=48, cities=3, per_scene=4).fingerprint()
    assert rebuild(json.loads(json.dumps(recipe(s)))).fingerprint() == s.fingerprint()
    assert s.classes[0] == "impervious" and set(s.masks.unique().tolist()) == set(range(6))
    assert len(s.patient.unique()) == 12 and (s.patient.unique(return_counts=True)[1] == 4).all()
    pairs = torch.stack([s.patient, s.domain]).unique(dim=1)
    assert pairs.shape[1] == 12 and s.domain.bincount().tolist() == [16, 16, 16]        # a scene lies in one city
    for part in s.split(0.5, 0.25, 0.25): assert len(part)
    assert not set(s.patient.tolist()) & set(make_tiles(12, seed=1, size=48).patient.tolist())


def test_style_changes_colours_alone():
    plain, half, full = (make_tiles(24, size=48, style=style) for style in (0.0, 0.5, 1.0))
    assert plain.masks.equal(half.masks) and plain.masks.equal(full.masks) and plain.domain.equal(full.domain)
    mean = [torch.stack([s.images[s.domain == c].double().mean((0, 2, 3)) for c in range(4)])
            for s in (plain, half, full)]
    apart = [(x - x.mean(0)).norm().item() for x in mean]
    assert apart[2] > apart[1] and apart[2] > 1.5 * apart[0]


def test_a_place_looks_the_same_from_every_tile(monkeypatch):
    "Two tiles of one scene that overlap agree where they do."
    s = make_tiles(60, size=96, cities=1, per_scene=60, style=0.0)
    rng = data.generator(data.derive_seed(0, "tiles", "places"))
    at = (torch.rand(60, 2, generator=rng, dtype=torch.float64) * 3 * 96).floor().long()
    seen = 0
    for i in range(20):
        for j in range(i + 1, 60):
            dx, dy = (at[j] - at[i]).tolist()
            if abs(dx) > 60 or abs(dy) > 60: continue
            here = s.masks[i, max(0, dy):96 + min(0, dy), max(0, dx):96 + min(0, dx)]
            there = s.masks[j, max(0, -dy):96 + min(0, -dy), max(0, -dx):96 + min(0, -dx)]
            assert here.equal(there)
            seen += 1
    assert seen > 5


def test_classes_can_be_told_apart_by_colour_and_place():
    "Shares of the classes, and that trees and grass are green and streets are not."
    s = make_tiles(48, style=0.0)
    share = torch.stack([(s.masks == k).double().mean() for k in range(6)])
    assert share[0] > 0.2 and share[1] > 0.08 and share[2] > 0.1 and share[3] > 0.02 and share[4:].min() > 0.002
    green = excess_green(s.images)
    assert green[s.masks == 3].mean() > 0.2 and green[s.masks == 2].mean() > 0.15 and green[s.masks == 0].mean() < 0.05


def test_lottery_is_even_and_blind_to_its_neighbours():
    x = lottery(torch.arange(300)[:, None], torch.arange(300), torch.tensor(5))
    assert x.shape == (4, 300, 300) and x.min() >= 0 and x.max() < 1
    assert (x.flatten(1).sort(1).values - torch.linspace(0, 1, 90_000)).abs().max() < 0.01
    for other in (x.roll(1, 1), x.roll(1, 2), x.flip(0)):
        assert torch.corrcoef(torch.stack([x.flatten(), other.flatten()]))[0, 1].abs() < 0.01


@pytest.mark.parametrize(("call", "message"), [
    (lambda: make_tiles(0), "count=0"), (lambda: make_tiles(size=16), "size=16"),
    (lambda: make_tiles(style=2), "style in 0…1"), (lambda: make_tiles(cities=0), "cities=0"),
    (lambda: make_tiles(per_scene=0), "per_scene=0")])
def test_tiles_faults(call, message):
    with pytest.raises(ValueError, match=message): call()
