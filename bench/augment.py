"""Two-view augmentation of a batch on the CPU, side by side with lightly and kornia.

    python bench/augment.py [--scale smoke|teach|full] [--json FILE]

All three make SimCLR's two views of the same uint8 images: random resized crop, flip, colour jitter (0.8, 0.8,
0.8, 0.2 with probability 0.8), grey (0.2) and, at 96 x 96, blur (0.5, kernel 9). lightly works on one PIL image at a
time in a DataLoader, whose number of workers is the best of 0, 2, half the cores and all cores; kornia on batches,
with the better of its two ways of cropping. Every figure is the best of interleaved repetitions. clnb tells the
memory allocator to keep freed memory; here that is done before anything is measured, so that all three profit.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clnb.augment import keep_memory, simclr
from clnb.core import generator

BATCH = 256
SCALES = {"smoke": (256, 1), "teach": (1024, 5), "full": (4096, 9)}   # images, repetitions


def machine() -> str:
    import kornia
    import lightly

    versions = f"torch {torch.__version__}, lightly {lightly.__version__}, kornia {kornia.__version__}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (f"{cores} cores ({platform.machine()}), device cpu, torch threads {torch.get_num_threads()} (default), "
            f"Python {platform.python_version()}, {versions}")


class Pictures(Dataset):
    "Images as lightly's transforms want them: one PIL image at a time."

    def __init__(self, images: Tensor, transform: Callable) -> None:
        from PIL import Image

        self.images, self.make = images.permute(0, 2, 3, 1).contiguous().numpy(), Image.fromarray
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list[Tensor]:
        return self.transform(self.make(self.images[index]))


def ours(images: Tensor) -> dict[str, Callable[[], None]]:
    augment, g = simclr(images.shape[-1]), generator(0)

    def run() -> None:
        for batch in images.split(BATCH):
            augment(batch, generator=g), augment(batch, generator=g)

    return {"clnb": run}


def lightly_runs(images: Tensor) -> dict[str, Callable[[], None]]:
    from lightly.transforms import SimCLRTransform

    size = images.shape[-1]
    transform = SimCLRTransform(input_size=size, cj_strength=1.0, cj_bright=0.8, cj_contrast=0.8, cj_sat=0.8,
                                cj_hue=0.2, gaussian_blur=0.5 if size > 32 else 0.0)
    cores = os.cpu_count() or 1

    def loader(workers: int) -> Callable[[], None]:
        loading = DataLoader(Pictures(images, transform), BATCH, num_workers=workers, persistent_workers=workers > 0)

        def run() -> None:
            for _ in loading: pass

        return run

    return {f"lightly, {workers} workers": loader(workers) for workers in sorted({0, 2, cores // 2, cores})}


def kornia_runs(images: Tensor) -> dict[str, Callable[[], None]]:
    import kornia.augmentation as K

    size = images.shape[-1]

    def chain(cropping: str) -> Callable[[], None]:
        steps = [K.RandomResizedCrop((size, size), scale=(0.08, 1.0), cropping_mode=cropping), K.RandomHorizontalFlip(),
                 K.ColorJitter(0.8, 0.8, 0.8, 0.2, p=0.8), K.RandomGrayscale(p=0.2)]
        steps += [K.RandomGaussianBlur((9, 9), (0.1, 2.0), p=0.5)] if size > 32 else []
        augment = K.AugmentationSequential(*steps, data_keys=["input"], same_on_batch=False)

        def run() -> None:
            for batch in images.split(BATCH):
                floats = batch.float() / 255
                augment(floats), augment(floats)

        return run

    return {f"kornia, {cropping}": chain(cropping) for cropping in ("slice", "resample")}


def best_times(runs: dict[str, Callable[[], None]], repetitions: int) -> dict[str, float]:
    "Seconds of the best repetition; everybody's turn comes before anybody's next."
    for run in runs.values():
        run()
    times = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: min(some) for name, some in times.items()}


def measure(size: int, images: int, repetitions: int) -> list[dict]:
    batch = torch.randint(0, 256, (images, 3, size, size), dtype=torch.uint8, generator=generator(1))
    times = best_times({**ours(batch), **lightly_runs(batch), **kornia_runs(batch)}, repetitions)
    rows, mine = [], images / times["clnb"]
    for peer, goal in (("lightly", 10.0), ("kornia", 2.5)):
        way = min((name for name in times if name.startswith(peer)), key=times.get)
        rate = images / times[way]
        rows.append({"size": size, "peer": way, "clnb_images_per_second": mine, "peer_images_per_second": rate,
                     "goal": goal, "ratio": mine / rate})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", choices=SCALES, default=os.environ.get("CLNB_SCALE") or "teach")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    try:
        line = machine()
    except ImportError as missing:
        sys.exit(f"{missing}: the peers are installed by `make bench`, into an environment of their own")
    images, repetitions = SCALES[options.scale]
    keep_memory()
    print(f"{line}\ntwo views of {images} images, batches of {BATCH}, best of {repetitions}; images/s")
    rows = [row for size in (32, 96) for row in measure(size, images, repetitions)]
    print(f"{'size':>7} {'clnb':>9} {'peer':>9}  {'peer is':22} {'goal':>6} {'ratio':>7}")
    for row in rows:
        mine, theirs = row["clnb_images_per_second"], row["peer_images_per_second"]
        print(f"{row['size']:>3}×{row['size']:<3} {mine:>9.0f} {theirs:>9.0f}  {row['peer']:22} {row['goal']:>5}×"
              f" {row['ratio']:>6.1f}×")
    if options.json:
        options.json.write_text(json.dumps({"machine": line, "scale": options.scale, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
