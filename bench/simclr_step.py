"""A whole epoch of SimCLR with the small ConvNet, side by side with lightly.

    python bench/simclr_step.py [--scale smoke|teach|full] [--json FILE]

Both train the same network (three conv blocks, a two-layer head) with NT-Xent and Adam on the same 32 x 32 uint8
images for one epoch. clnb: a `Run` with its history, checkpoints and learned fraction, augmentation of the batch on the
device. lightly: its SimCLRTransform and NTXentLoss in an ordinary DataLoader, with the best of 0, 2, half the cores and
all cores as workers. Every figure is the best of interleaved repetitions.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from augment import Pictures, best_times, machine
from torch import nn
from torch.utils.data import DataLoader

from clnb import nets
from clnb.augment import simclr
from clnb.core import generator, pick_device, seeded
from clnb.data import ImageSet
from clnb.methods.simclr import SimCLR
from clnb.run import Run

BATCH, WIDTH = 256, 16      # the width of the lesson
SCALES = {"smoke": (512, 1), "teach": (4096, 3), "full": (50_000, 3)}   # images, repetitions


def network() -> tuple[nn.Module, nn.Module]:
    encoder = nets.small_convnet(channels=3, width=WIDTH)
    return encoder, nets.projection_head(encoder.out_dim, 128, 128)


def ours(images: torch.Tensor, device: torch.device) -> Callable[[], None]:
    with seeded(0):
        method = SimCLR(*network(), simclr(32, strength=0.5), temperature=0.5)
    data = ImageSet(images, torch.arange(len(images)) % 10, [str(k) for k in range(10)])

    def epoch() -> None:
        run = Run(method, data, len(images) // BATCH, BATCH, device=device, progress=False)
        for _ in run:
            pass
        if device.type == "cuda":
            torch.cuda.synchronize()

    return epoch


def lightly_epochs(images: torch.Tensor, device: torch.device) -> dict[str, Callable[[], None]]:
    from lightly.loss import NTXentLoss
    from lightly.transforms import SimCLRTransform

    transform = SimCLRTransform(input_size=32, cj_strength=0.5, cj_bright=0.8, cj_contrast=0.8, cj_sat=0.8, cj_hue=0.2,
                                gaussian_blur=0.0)
    with seeded(0):
        model = nn.Sequential(*network()).to(device)
    optimizer, criterion = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-6), NTXentLoss(temperature=0.5)

    def epochs(workers: int) -> Callable[[], None]:
        loader = DataLoader(Pictures(images, transform), BATCH, shuffle=True, drop_last=True, num_workers=workers,
                            persistent_workers=workers > 0, pin_memory=device.type == "cuda")

        def epoch() -> None:
            for a, b in loader:
                za, zb = model(torch.cat([a, b]).to(device, non_blocking=True)).chunk(2)
                loss = criterion(za, zb)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            if device.type == "cuda":
                torch.cuda.synchronize()

        return epoch

    cores = os.cpu_count() or 1
    return {f"lightly, {workers} workers": epochs(workers) for workers in sorted({0, 2, cores // 2, cores})}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", choices=SCALES, default=os.environ.get("CLNB_SCALE") or "teach")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    device = pick_device()
    try:
        line = machine()
    except ImportError as missing:
        sys.exit(f"{missing}: the peers are installed by `make bench`, into an environment of their own")
    count, repetitions = SCALES[options.scale]
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator(1))
    times = best_times({"clnb": ours(images, device), **lightly_epochs(images, device)}, repetitions)
    peer = min((name for name in times if name.startswith("lightly")), key=times.get)
    row = {"clnb_seconds": times["clnb"], "peer": peer, "peer_seconds": times[peer], "goal": 3.0,
           "ratio": times[peer] / times["clnb"]}
    print(f"{line}, training on {device}")
    print(f"one epoch of {count} images, batches of {BATCH}, best of {repetitions}; seconds")
    print(f"{'clnb':>8} {'peer':>8}  {'peer is':22} {'goal':>6} {'ratio':>7}")
    print(f"{row['clnb_seconds']:>8.2f} {row['peer_seconds']:>8.2f}  {peer:22} {row['goal']:>5}× {row['ratio']:>6.1f}×")
    if options.json:
        options.json.write_text(json.dumps({"machine": line, "scale": options.scale, "rows": [row]}, indent=1))


if __name__ == "__main__":
    main()
