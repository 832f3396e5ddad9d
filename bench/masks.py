"""Hard attention masks of 1,000 images of 96 × 96, beside scikit-image's image by image, with the same steps.

    python bench/masks.py [--scale smoke|teach|full] [--json FILE]

Green plants of all sizes on noisy soil. Steps: excess green and Otsu's threshold; with an opening; with the largest
component. scikit-image goes through the images with a pool of as many processes as there are cores (`peer, cores`) and
with one (`peer, one`). `same` is the share of the pixels on which both agree, over images whose split clnb believes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from skimage.filters import threshold_otsu
from skimage.measure import label
from skimage.morphology import footprint_rectangle, opening

from clnb.core import generator
from clnb.masks import IndexMask, coverage

SIZES = {"smoke": (60, 32), "teach": (1000, 96), "full": (10_000, 96)}
STEPS = {"index": (1, False), "index, opening": (3, False), "index, opening, largest": (3, True)}


def plants(count: int, size: int, seed: int = 0) -> torch.Tensor:
    """Discs with lobes, 1 to 50 % of the picture, on soil; uint8 [count, 3, size, size]."""
    rng, line = generator(seed), (torch.arange(size) + 0.5) / size - 0.5

    def some(low: float, high: float) -> torch.Tensor:
        return (torch.rand(count, 1, 1, generator=rng) * (high - low)) + low

    x, y = line - some(-0.15, 0.15), line[:, None] - some(-0.15, 0.15)
    reach = some(0.06, 0.38) * (1 + 0.3 * torch.cos(torch.atan2(y, x) * some(3, 8).round() + some(0, 6.3)))
    plant = ((x * x + y * y).sqrt() < reach)[:, None]
    soil, leaf = (torch.tensor(colour).view(3, 1, 1) for colour in ((0.45, 0.36, 0.27), (0.25, 0.5, 0.2)))
    picture = torch.where(plant, leaf, soil) * some(0.6, 1.2)[:, None]
    picture += 0.04 * torch.randn(picture.shape, generator=rng)
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8)


def one(image: np.ndarray, square: int, largest: bool) -> np.ndarray:
    """The mask of one image [H, W, 3], as one would write it with scikit-image."""
    red, green, blue = image.astype(np.float32).transpose(2, 0, 1)
    total = np.maximum(red + green + blue, 1)
    level = np.round(((2 * green - red - blue) / total + 1) * 85).astype(np.uint8)
    mask = level > threshold_otsu(level) if level.min() < level.max() else np.ones(level.shape, bool)
    if square > 1: mask = opening(mask, footprint_rectangle((square, square)))
    if largest:
        patch = label(mask)
        if patch.max(): mask = patch == np.bincount(patch.ravel())[1:].argmax() + 1
    return mask


def best(function: object, turns: int) -> tuple[object, float]:
    """Result and shortest time in seconds."""
    times, found = [], None
    for _ in range(turns):
        began = time.perf_counter()
        found = function()
        times.append(time.perf_counter() - began)
    return found, min(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", choices=SIZES, default="teach")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    count, size = SIZES[options.scale]
    images, rows = plants(count, size), []
    given = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        list(pool.map(partial(one, square=1, largest=False), given[:cores]))        # start the processes
        for name, (square, largest) in STEPS.items():
            make = IndexMask(square, largest)
            make(images)                                                            # compile
            mine, here = best(partial(make, images), 15)
            work, chunk = partial(one, square=square, largest=largest), -(-count // (4 * cores))
            theirs, there = best(lambda work=work: np.stack([work(x) for x in given]), 2)
            several = best(lambda work=work, chunk=chunk: list(pool.map(work, given, chunksize=chunk)), 3)[1]
            sure = coverage(mine) < 1
            same = (mine[sure].numpy() == theirs[sure.numpy()]).mean() if sure.any() else float("nan")
            rows.append({"what": name, "clnb": here, "peer, cores": several, "peer, one": there, "same": float(same)})
    line = (f"{cores} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}, device cpu, "
            f"torch {torch.__version__}, Python {platform.python_version()}")
    print(line)
    head = f"seconds for {count:,} × {size} × {size}, best"
    print(f"{head:36}{'clnb':>8}{'peer, cores':>13}{'peer, one':>11}{'same':>9}")
    for row in rows:
        print(f"{row['what']:36}{row['clnb']:8.3f}{row['peer, cores']:13.3f}{row['peer, one']:11.3f}{row['same']:9.4f}")
    if options.json:
        options.json.write_text(json.dumps({"machine": line, "scale": options.scale, "rows": rows}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
