"""One matching step of dataset condensation, beside class by class as it was published.

    python bench/dcc.py [--scale smoke|teach|full] [--json FILE]

Ten classes, the ConvNet of the papers, 256 real and 10 learned images of each class. The peer is the published step,
restated: for every class one pass over its real images and one, with a graph, over its learned ones, all 256 at once,
each with the gradients of all parameters; then the loss and its gradient for the images. `apart`: relative difference
of the losses. Seconds, best of three turns; `peak` is the growth of the process's memory in a step, in GiB, each
measured in a process of its own.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clnb import nets
from clnb.core import generator
from clnb.methods.dcc import class_gradients, gradient_distance, image_gradient

SIZES = {"smoke": (8, 16, 2), "teach": (128, 256, 10), "full": (128, 256, 10)}     # width, real, learned of each class


def setting(scale: str, device: str) -> tuple[nn.Module, Tensor, Tensor]:
    """A network, real images and learned ones."""
    width, real, learned = SIZES[scale]
    rng = generator(0)
    images = (torch.randn(10, count, 3, 32, 32, generator=rng).to(device) for count in (real, learned))
    return nets.convnet(width=width, seed=0).to(device), *images


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


def timed(step: Callable[..., Tensor], given: tuple, loss: str) -> tuple[float, float]:
    """Best of three, after one to warm up; the loss."""
    best = float("inf")
    for turn in range(4):
        began = time.perf_counter()
        value = step(*given, loss).item()       # waits for the device
        if turn: best = min(best, time.perf_counter() - began)
    return best, value


def peak(job: tuple[str, str, str]) -> float:
    """Memory that one step adds, GiB; called in a process of its own."""
    name, scale, device = job
    given = setting(scale, device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        {"ours": ours, "published": published}[name](*given, "dcc")
        return (torch.cuda.max_memory_allocated() - before) / 2**30
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    {"ours": ours, "published": published}[name](*given, "dcc")
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20


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
    memory = {}
    for name in ("ours", "published"):
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            memory[name] = pool.submit(peak, (name, options.scale, device)).result()
    given, found = setting(options.scale, device), []
    for loss in ("dc", "dcc"):
        (here, a), (there, b) = (timed(step, given, loss) for step in (ours, published))
        found.append({"loss": loss, "here": here, "peer": there, "apart": abs(a - b) / abs(b), "ratio": there / here})
    print(line)
    print(f"{'a matching step, seconds':28} {'clnb':>7} {'published':>10} {'apart':>9} {'ratio':>7}")
    for row in found:
        print(f"{row['loss']:28} {row['here']:>7.2f} {row['peer']:>10.2f} {row['apart']:>9.1e} {row['ratio']:>6.1f}×")
    ratio = memory["published"] / max(memory["ours"], 1e-3)
    print(f"{'peak memory, GiB':28} {memory['ours']:>7.2f} {memory['published']:>10.2f} {'':>9} {ratio:>6.1f}×")
    if options.json: options.json.write_text(json.dumps({"machine": line, "rows": found, "memory": memory}, indent=1))


if __name__ == "__main__":
    main()
