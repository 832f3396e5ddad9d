"""One matching step of dataset condensation, beside class by class as it was published.

    python bench/dcc.py [--scale smoke|teach|full] [--json FILE]

Ten classes, the ConvNet of the papers, 256 real and 10 learned images of each class. The peer is the published step,
restated: for every class one pass over its real images and one, with a graph, over its learned ones, all 256 at once,
each with the gradients of all parameters; then the loss and its gradient for the images. `apart`: relative difference
of the losses. Seconds, best of three turns; `peak` is the growth of the process's memory in a step, in GiB, each
measured in a process of its own.

Then the same with 100 classes (at scale teach with 64 real images of each; one turn), where the graphs of all learned
images are many times as large. `in pieces of` tells how many real images and how many classes of learned ones are
computed at once; the peer holds the graphs of all classes.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clnb import nets
from clnb.core import generator
from clnb.methods.dcc import class_gradients, gradient_distance, image_gradient, piece_size

SIZES = {"smoke": (8, 16, 2), "teach": (128, 256, 10), "full": (128, 256, 10)}     # width, real, learned of each class
REAL_OF_100 = {"smoke": 4, "teach": 64, "full": 256}    # … with 100 classes


def setting(scale: str, device: str, classes: int = 10) -> tuple[nn.Module, Tensor, Tensor]:
    """A network, real images and learned ones."""
    width, real, learned = SIZES[scale]
    real, rng = real if classes == 10 else REAL_OF_100[scale], generator(0)
    images = (torch.randn(classes, count, 3, 32, 32, generator=rng).to(device) for count in (real, learned))
    return nets.convnet(width=width, classes=classes, seed=0).to(device), *images


def ours(network: nn.Module, real: Tensor, learned: Tensor, loss: str) -> Tensor:
    """A step of clnb."""
    dc, dcc, _ = image_gradient(network, learned, class_gradients(network, real), loss)
    return dc if loss == "dc" else dcc


def published(network: nn.Module, real: Tensor, learned: Tensor, loss: str) -> Tensor:
    """Class by class, with the pooling of torch."""
    network = copy.deepcopy(network)
    for block in network.features: block[-1] = nn.AvgPool2d(2)
    learned, own, target, weights = learned.clone().requires_grad_(), [], [], list(network.parameters())
    for c, (x, s) in enumerate(zip(real, learned, strict=True)):
        label = torch.full((len(x),), c, device=x.device)
        target.append(torch.autograd.grad(F.cross_entropy(network(x), label), weights))
        found = F.cross_entropy(network(s), label[: len(s)])
        own.append(torch.autograd.grad(found, weights, create_graph=True))
    if loss == "dc": value = sum(gradient_distance(a, b) for a, b in zip(own, target, strict=True))
    else:
        value = gradient_distance(*([sum(g) / len(real) for g in zip(*side, strict=True)] for side in (own, target)))
    torch.autograd.grad(value, learned)
    return value.detach()


STEPS = {"ours": ours, "published": published}


def timed(step: Callable[..., Tensor], given: tuple, loss: str, turns: int = 3) -> tuple[float, float]:
    """Best of some turns, after one to warm up; the loss."""
    best = float("inf")
    for turn in range(turns + 1):
        began = time.perf_counter()
        value = step(*given, loss).item()       # waits for the device
        if turn: best = min(best, time.perf_counter() - began)
    return best, value


def peak(job: tuple[str, str, str, int]) -> float:
    """Memory that one step adds, GiB; called in a process of its own."""
    name, scale, device, classes = job
    given = setting(scale, device, classes)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        STEPS[name](*given, "dcc")
        return (torch.cuda.max_memory_allocated() - before) / 2**30
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    STEPS[name](*given, "dcc")
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20


def measured(scale: str, device: str, classes: int, losses: Sequence[str]) -> tuple[list[dict], dict[str, float]]:
    """Rows of seconds, one a loss, and the peak of each way in GiB."""
    memory = {}
    for name in STEPS:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            memory[name] = pool.submit(peak, (name, scale, device, classes)).result()
    given, found = setting(scale, device, classes), []
    for loss in losses:
        (here, a), (there, b) = (timed(step, given, loss, 3 if classes == 10 else 1) for step in STEPS.values())
        found.append({"loss": loss, "here": here, "peer": there, "apart": abs(a - b) / abs(b), "ratio": there / here})
    return found, memory


def pieces(scale: str, device: str) -> str:
    """What is computed at once where there are 100 classes."""
    network, real, learned = setting(scale, device, 100)
    images = min(piece_size(network, real), real.shape[0] * real.shape[1])
    classes = min(max(1, piece_size(network, learned) // learned.shape[1]), 100)
    return f"{images} real images and {classes} class{'' if classes == 1 else 'es'} of learned ones"


def told(heading: str, rows: list[dict], memory: dict[str, float]) -> None:
    """Print a table."""
    print(f"{heading:28} {'clnb':>7} {'published':>10} {'apart':>9} {'ratio':>7}")
    for row in rows:
        print(f"{row['loss']:28} {row['here']:>7.2f} {row['peer']:>10.2f} {row['apart']:>9.1e} {row['ratio']:>6.1f}×")
    ratio = memory["published"] / max(memory["ours"], 1e-3)
    print(f"{'peak memory, GiB':28} {memory['ours']:>7.2f} {memory['published']:>10.2f} {'':>9} {ratio:>6.1f}×")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", choices=SIZES, default=os.environ.get("CLNB_SCALE") or "teach")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    where = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    line = (f"{torch.get_num_threads()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}, device {where}, "
            f"torch {torch.__version__}, Python {platform.python_version()}")
    rows, memory = measured(options.scale, device, 10, ("dc", "dcc"))
    print(line)
    told("a matching step, seconds", rows, memory)
    many, much = measured(options.scale, device, 100, ("dcc",))
    print(f"\na step with 100 classes, in pieces of {pieces(options.scale, device)}")
    told(f"{REAL_OF_100[options.scale]} real images of each", many, much)
    if options.json:
        found = {"machine": line, "rows": rows, "memory": memory, "rows_of_100": many, "memory_of_100": much}
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
