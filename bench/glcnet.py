"""GLCNet: matching windows, a step of pre-training beside SimCLR with the same network, and a whole scene.

    python bench/glcnet.py [--scale smoke|teach|full] [--json FILE]

`windows`: four windows for each of 64 tiles. The peer sends the numbers of the pixels through the same geometry, as the
method is defined, and looks for each tile which numbers both views show; the time for making the index maps is counted.
`step`: views, forward, backward and Adam. The peer is the same class with the mean of the coarse map and no windows.
`scene`: the class of every pixel of a scene by overlapping tiles. The peer does the same without overlap, all class
scores of the scene in memory; beside the time stands how much memory the sums, or the scores, take.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch

from clnb import nets
from clnb.augment import Params, RandomResizedCrop, aerial
from clnb.core import generator, pick_device, seeded
from clnb.data import Batch
from clnb.methods.glcnet import GLCNet, Segmenter, matched_regions
from clnb.scenes import Scene, predict_scene

WINDOWS = {"smoke": [(8, 64, 48, 10)], "teach": [(64, 96, 72, 16), (64, 256, 224, 48)],
           "full": [(64, 96, 72, 16), (64, 256, 224, 48), (256, 256, 224, 48)]}
STEPS = {"smoke": [("small", 4, 48)], "teach": [("small", 32, 48), ("small", 32, 96), ("deeplab", 4, 96)],
         "full": [("small", 32, 48), ("small", 32, 96), ("deeplab", 32, 224)]}
SCENES = {"smoke": 300, "teach": 6000, "full": 6000}
SIMCLR = {"pool": "mean", "global_weight": 1.0}


def search(first: Params, second: Params, size: int, count: int, rng: np.random.Generator) -> list[np.ndarray | None]:
    """Centres by definition: numbers that both views show away from the borders, one after the other, tile by tile."""
    centres = []
    for a, b in zip(first.source_index().numpy(), second.source_index().numpy(), strict=True):
        half, where = size // 2, []
        for index in (a, b):
            inner = index[half:index.shape[0] - half, half:index.shape[1] - half]
            numbers, place = np.unique(inner, return_index=True)
            where.append((numbers, np.stack(np.divmod(place, inner.shape[1]), 1) + half))
        both, i, j = np.intersect1d(where[0][0], where[1][0], return_indices=True)
        if not len(both):
            centres.append(None)
            continue
        places, other, found = where[0][1][i], where[1][1][j], []
        for _ in range(count):
            k = rng.integers(len(places))
            found.append((places[k], other[k]))
            left = (np.abs(places - places[k]) > half).any(1)
            if left.sum() > 1: places, other = places[left], other[left]
        centres.append(np.array(found))
    return centres


def best(function: object, turns: int, device: torch.device) -> float:
    """Shortest time in seconds, after a first turn that is not counted."""
    function()
    times = []
    for _ in range(turns):
        if device.type == "cuda": torch.cuda.synchronize()
        began = time.perf_counter()
        function()
        if device.type == "cuda": torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times)


def windows(count: int, side: int, view: int, size: int, device: torch.device) -> dict[str, object]:
    """A row of the table: matched windows."""
    x = torch.zeros(count, 3, side, side, device=device)
    drawn = [aug.draw(x) for aug in (RandomResizedCrop(view, (0.4, 1.0)), aerial(view))]
    here = best(lambda: matched_regions(*drawn, size=size, count=4), 30, device)
    on_cpu = [aug.draw(x.cpu()) for aug in (RandomResizedCrop(view, (0.4, 1.0)), aerial(view))]
    rng = np.random.default_rng(0)
    there = best(lambda: search(*on_cpu, size=size, count=4, rng=rng), 3, device)
    return {"what": f"windows, {count} tiles, views of {view}", "ms": 1000 * here, "peer ms": 1000 * there,
            "ratio": there / here}


def step(kind: str, count: int, view: int, device: torch.device) -> dict[str, object]:
    """A row of the table: a step of GLCNet, and of SimCLR with the same network."""
    images = torch.randint(0, 256, (count, 3, view * 4 // 3, view * 4 // 3), dtype=torch.uint8, generator=generator(0))
    batch, times = Batch(images.to(device), torch.full((count,), -1), torch.arange(count)), []
    for options in ({}, SIMCLR):
        with seeded(0):
            network = nets.small_segmenter() if kind == "small" else nets.deeplab()
            method = GLCNet(network, RandomResizedCrop(view, (0.4, 1.0)), aerial(view), window=view // 5, **options)
        method = method.to(device, memory_format=torch.channels_last)
        times.append(best(lambda method=method: method.update(batch), 20 if kind == "small" else 3, device))
    return {"what": f"step, {kind}, {count} tiles, views of {view}", "ms": 1000 * times[0], "peer ms": 1000 * times[1],
            "ratio": times[0] / times[1]}


def scene(side: int, device: torch.device) -> dict[str, object]:
    """A row of the table: a whole scene, tiles of 256 that share 64 pixels, against all scores at once."""
    size, overlap = min(256, side // 2), min(64, side // 8)
    pixels = torch.randint(0, 256, (3, side, side), dtype=torch.uint8, generator=generator(0))
    method = Segmenter(nets.small_segmenter(seed=0), 6).to(device, memory_format=torch.channels_last).eval()

    def at_once() -> torch.Tensor:
        scores = torch.empty(6, side, side)
        with torch.no_grad():
            for top in range(0, side, size):
                for left in range(0, side, size):
                    part = (slice(None), slice(top, top + size), slice(left, left + size))
                    scores[part] = method.scores(pixels[part][None].to(device))[0].cpu()
        return scores.argmax(0)

    began = time.perf_counter()
    predict_scene(method.scores, Scene(pixels), size, overlap, device=device)
    here = time.perf_counter() - began
    began = time.perf_counter()
    at_once()
    there = time.perf_counter() - began
    band, whole = (6 * 4 * rows * side / 2**20 for rows in (size, side))
    return {"what": f"scene of {side:,}², sums {band:.0f} MiB (scores {whole:,.0f})", "ms": 1000 * here,
            "peer ms": 1000 * there, "ratio": here / there}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", choices=STEPS, default="teach")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = pick_device()
    rows = [windows(*case, device) for case in WINDOWS[options.scale]]
    rows += [step(*case, device) for case in STEPS[options.scale]]
    rows.append(scene(SCENES[options.scale], device))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    line = (f"{cores} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}, device {name}, "
            f"torch {torch.__version__}, Python {platform.python_version()}")
    print(line)
    print(f"{'milliseconds, best':48}{'clnb':>9}{'peer':>10}{'ratio':>8}")
    for row in rows: print(f"{row['what']:48}{row['ms']:9.2f}{row['peer ms']:10.2f}{row['ratio']:8.2f}")
    print("ratio of windows: peer / clnb (more is better); of steps: GLCNet / SimCLR (the price of the windows); "
          "of the scene: blended / side by side")
    if options.json:
        options.json.write_text(json.dumps({"machine": line, "scale": options.scale, "rows": rows}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
