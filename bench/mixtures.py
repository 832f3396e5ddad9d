"""Gaussian mixtures on many rows, beside scikit-learn's with the same form, ridge and tolerance.

    python bench/mixtures.py [--scale smoke|teach|full] [--json FILE]

Rows of long clusters around random centres. scikit-learn gets one start (`n_init=1`, its k-means start), ours the ten
that the protocol asks for: they compete on 20,000 rows. `gain` is our mean log-likelihood minus theirs, in nats: above
0 means a better fit. Seconds of one fit each, on the cores that torch has.
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
from sklearn.mixture import GaussianMixture
from torch import Tensor

from clnb.core import generator
from clnb.mixtures import gaussian_mixture

SIZES = {"smoke": ((2_000, 8, 4),), "teach": ((20_000, 16, 11), (200_000, 64, 11)), "full": ((1_000_000, 64, 11),)}


def rows(count: int, dim: int, clusters: int, seed: int = 0) -> Tensor:
    """Clusters with covariances of their own, overlapping a little."""
    rng = generator(seed)
    centre = 1.5 * torch.randn(clusters, dim, generator=rng)
    shape = torch.randn(clusters, dim, dim, generator=rng) / dim**0.5
    own = torch.randint(clusters, (count,), generator=rng)
    x = torch.randn(count, dim, generator=rng)
    for k in range(clusters): x[own == k] = x[own == k] @ shape[k] + centre[k]
    return x


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", choices=SIZES, default=os.environ.get("CLNB_SCALE") or "teach")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    line = (f"{torch.get_num_threads()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}, device cpu, "
            f"torch {torch.__version__}, Python {platform.python_version()}")
    found = []
    for count, dim, clusters in SIZES[options.scale]:
        x, peer_x = (z := rows(count, dim, clusters)), z.numpy()
        began = time.perf_counter()
        ours = gaussian_mixture(x, clusters)
        here = time.perf_counter() - began
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")         # that it has not converged
            theirs = GaussianMixture(clusters, reg_covar=1e-3, tol=1e-4, max_iter=200, random_state=0).fit(peer_x)
        there = time.perf_counter() - began
        found.append({"rows": count, "dim": dim, "components": clusters, "here": here, "peer": there,
                      "gain": ours.log_likelihood - float(theirs.score(peer_x)), "ratio": there / here})
    print(line)
    print(f"{'seconds: clnb 10 starts, scikit-learn one':44} {'clnb':>7} {'sklearn':>8} {'gain':>7} {'ratio':>7}")
    for row in found:
        what = f"{row['rows']:,} × {row['dim']}, {row['components']} components"
        print(f"{what:44} {row['here']:>7.2f} {row['peer']:>8.2f} {row['gain']:>7.3f} {row['ratio']:>6.1f}×")
    if options.json: options.json.write_text(json.dumps({"machine": line, "rows": found}, indent=1))


if __name__ == "__main__":
    main()
