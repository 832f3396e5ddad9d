"""Trees: nesting, concentration, odd inputs, purity against a plain count, matching."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clnb.core import generator
from clnb.trees import Tree, check_sizes, grow, hierarchical_kmeans, matched, purity


def unit_rows(n: int, d: int = 8, groups: int = 12, spread: float = 0.1, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Unit vectors around a few directions, and the direction of each."""
    own = torch.randint(groups, (n,), generator=generator(seed))
    centre = torch.randn(groups, d, generator=generator(seed + 1))
    return F.normalize(centre[own] + spread * torch.randn(n, d, generator=generator(seed + 2)), dim=1), own


@pytest.mark.parametrize("sizes", [(12, 6, 2), (40, 5), (7,), (30, 30, 1)])
def test_what_shares_a_group_below_shares_all_above(sizes):
    """By construction, on every level."""
    x, _ = unit_rows(300)
    tree = hierarchical_kmeans(x, sizes, n_init=2)
    assert tree.sizes == sizes and tree.assignments.shape == (len(sizes), 300) and len(tree.parents) == len(sizes) - 1
    assert tree.path(tree.assignments[0]).equal(tree.assignments)
    used = [len(level.unique()) for level in tree.assignments]
    assert used == sorted(used, reverse=True)
    for phi, prototypes, count in zip(tree.concentration, tree.prototypes, tree.counts(), strict=True):
        assert torch.allclose(phi.mean(), torch.tensor(0.2)) and (phi > 0).all() and count.sum() == 300
        assert torch.allclose(prototypes.norm(dim=1), torch.ones(len(prototypes)), atol=1e-5)


def test_clear_groups_are_found():
    """Twelve tight directions, twelve prototypes."""
    x, own = unit_rows(600, d=16, spread=0.02)
    tree = hierarchical_kmeans(x, (12, 4), n_init=5)
    assert purity(tree.assignments[0], own) == 1.0
    again = hierarchical_kmeans(x, (12, 4), n_init=5)
    assert all(a.equal(b) for a, b in zip(tree.prototypes, again.prototypes, strict=True))


@pytest.mark.parametrize("rows, distinct, sizes", [(40, 1, (10, 3)), (40, 3, (10, 3, 1)), (5, 5, (5, 2)), (1, 1, (1,))])
def test_few_and_equal_rows(rows, distinct, sizes):
    """Fewer different rows than prototypes: finite, nested, empty prototypes have no rows."""
    x = unit_rows(distinct, seed=4)[0].repeat(-(-rows // distinct), 1)[:rows]
    tree = hierarchical_kmeans(x, sizes)
    assert len(tree.assignments[0].unique()) <= distinct
    assert all(p.isfinite().all() for p in (*tree.prototypes, *tree.concentration))
    assert tree.path(tree.assignments[0]).equal(tree.assignments)


@pytest.mark.parametrize("sizes, message", [
    ((), "whole numbers from 1"), ((4, 0), "whole numbers from 1"), ((2.0,), "whole numbers"),
    ((True,), "whole numbers"), ((4, 9), r"must not grow, fine to coarse, got \(4, 9\); try \[9, 4\]"),
    ((50,), "50 prototypes need at least as many rows, got 20")])
def test_sizes_that_make_no_tree(sizes, message):
    """Named with what would."""
    with pytest.raises(ValueError, match=message): check_sizes(sizes, 20)
    with pytest.raises(ValueError, match=message): hierarchical_kmeans(unit_rows(20)[0], sizes)


def test_says_what_it_does():
    """A word before each level, then the tree; unlinked levels have no parents."""
    x, _ = unit_rows(100)
    *words, tree = grow(x, (10, 4))
    assert words == ["clustering level 1 of 2: 100 into 10", "clustering level 2 of 2: 10 into 4"]
    *words, flat = grow(x, (10, 4), linked=False)
    assert words[1] == "clustering level 2 of 2: 100 into 4" and flat.parents == () and isinstance(tree, Tree)


def test_purity_is_a_count():
    """Against numpy, with unknown labels, one level or several."""
    rng = np.random.default_rng(0)
    own, labels = rng.integers(0, 7, 200), rng.integers(-1, 4, 200)
    known = labels >= 0
    count = sum(np.bincount(labels[known & (own == c)]).max() for c in np.unique(own[known]))
    found = purity(torch.tensor(own), torch.tensor(labels))
    assert found == pytest.approx(count / known.sum())
    assert purity(torch.tensor(np.stack([own, own])), torch.tensor(labels)).tolist() == [found] * 2
    assert purity(torch.zeros(5, dtype=torch.long), torch.tensor([0, 0, 1, 2, 2])) == pytest.approx(0.4)


def test_matching_finds_the_old_names():
    """A renaming is undone, also with clusters that are new."""
    before = torch.randint(9, (300,), generator=generator(0))
    names = torch.randperm(12, generator=generator(1))
    assert matched(before, names[before]).equal(before)
    moved = before.clone()
    moved[:30] = 10
    found = matched(before, names[moved])
    assert (found == before).sum() >= 270 and len(found.unique()) == len(moved.unique())
