"""Hierarchical k-means, as HCSC does it before each pass over the data, beside scikit-learn's on the same levels.

    python bench/trees.py [--scale smoke|teach|full] [--json FILE]

N unit vectors around a thousand directions into a tree of prototypes, 20 Lloyd steps on each level, one start, all
cores. scikit-learn runs the same levels with the same number of steps; `inertia` is the mean squared distance to the
own level-1 centre, ours over theirs: 1 means equally good clusters.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor

from clnb.core import generator
from clnb.trees import Tree, hierarchical_kmeans

SIZES = {"smoke": ((2_000, 32, (50, 20, 5)),),
         "teach": ((10_000, 128, (200, 100, 40)), (50_000, 128, (1000, 500, 200))),
         "full": ((50_000, 128, (1000, 500, 200)), (200_000, 128, (3000, 2000, 1000)))}


def vectors(count: int, dim: int, seed: int = 0) -> Tensor:
    """Unit vectors around a thousand directions."""
    rng = generator(seed)
    centre = 3 * torch.randn(1000, dim, generator=rng)
    own = torch.randint(1000, (count,), generator=rng)
    return F.normalize(centre[own] + torch.randn(count, dim, generator=rng), dim=1)


def spread(x: Tensor, assignments: Tensor) -> float:
    """Mean squared distance to the mean of the own cluster."""
    k = int(assignments.max()) + 1
    total = torch.zeros(k, x.shape[1]).index_add_(0, assignments, x)
    centre = total / assignments.bincount(minlength=k).clamp_min(1)[:, None]
    return (x - centre[assignments]).square().sum(1).mean().item()


def ours(x: Tensor, sizes: tuple[int, ...]) -> tuple[Tree, float]:
    """The tree, and its seconds."""
    began = time.perf_counter()
    tree = hierarchical_kmeans(x, sizes)
    return tree, time.perf_counter() - began


def theirs(x: Tensor, sizes: tuple[int, ...]) -> tuple[Tensor, float]:
    """Level-1 assignments of scikit-learn, and the seconds of all levels."""
    began, level, first = time.perf_counter(), x.numpy(), None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")         # that 20 steps are not convergence
        for number, size in enumerate(sizes):
            found = KMeans(size, n_init=1, max_iter=20, random_state=number).fit(level)
            first = found.labels_ if first is None else first
            level = F.normalize(torch.from_numpy(found.cluster_centers_), dim=1).numpy()
    return torch.from_numpy(first).long(), time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", choices=["smoke", "teach", "full"], default="teach")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for count, dim, sizes in SIZES[options.scale]:
        x, turns = vectors(count, dim), 3 if count < 100_000 else 1
        mine = [ours(x, sizes) for _ in range(turns)]
        other = [theirs(x, sizes) for _ in range(turns)]
        here, there = min(seconds for _, seconds in mine), min(seconds for _, seconds in other)
        inertia = spread(x, mine[0][0].assignments[0]) / spread(x, other[0][0])
        rows.append({"what": f"{count:,} × {dim} into {'–'.join(map(str, sizes))}", "clnb": here, "scikit-learn": there,
                     "inertia": inertia, "ratio": there / here})
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    line = (f"{cores} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}, device cpu, "
            f"torch {torch.__version__}, Python {platform.python_version()}")
    print(line)
    print(f"{'seconds, best of up to 3':40}{'clnb':>8}{'sklearn':>9}{'inertia':>9}{'ratio':>8}")
    for row in rows:
        print(f"{row['what']:40}{row['clnb']:8.2f}{row['scikit-learn']:9.2f}{row['inertia']:9.3f}{row['ratio']:7.1f}×")
    if options.json:
        options.json.write_text(json.dumps({"machine": line, "scale": options.scale, "rows": rows}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
