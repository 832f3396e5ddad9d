"""The toys of the DirectCLR lesson: whole sweeps as one integration, against a plain PyTorch loop of the same steps.

    python bench/toys.py [--scale smoke|teach|full] [--json FILE]

The plain loop is what one would write: nn.Linear, autograd, torch.optim.SGD, one setting after the other; of two ways
to write the squared distances (torch.cdist, a matrix product) the faster one counts. It draws the same samples and
noise, and its weights at the end are compared with those of the sweep. Times are per step of one setting, the best of
interleaved repetitions. First rows: 64 settings on one core. Last rows: four times as many on all cores, of which the
plain loop can make no use: it always has one. Below: one setting for 10,000 steps on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clnb.core import derive_seed, generator
from clnb.toys import Toy, linear_toy, two_layer_toy

DIM, BATCH, SAMPLES = 16, 128, 10_000
SCALES = {"smoke": (8, 60, 1), "teach": (64, 300, 5), "full": (64, 1000, 9)}    # settings on one core, steps, turns
POSITIVE, ROWS = torch.eye(BATCH, dtype=torch.bool), torch.arange(BATCH)


def with_cdist(z: Tensor, zb: Tensor) -> Tensor:
    """The theory's loss, mean over the anchors, with torch.cdist."""
    positive = -(z - zb).square().sum(1, keepdim=True) / 2
    return F.cross_entropy(torch.where(POSITIVE, positive, -torch.cdist(z, z).square() / 2), ROWS)


def with_product(z: Tensor, zb: Tensor) -> Tensor:
    """The same with a matrix product."""
    positive, norm = -(z - zb).square().sum(1, keepdim=True) / 2, z.square().sum(1)
    return F.cross_entropy(torch.where(POSITIVE, positive, z @ z.T - (norm[:, None] + norm) / 2), ROWS)


def inner_products(z: Tensor, zb: Tensor) -> Tensor:
    """The loss of the official toy programs."""
    return F.cross_entropy(z @ zb.T / 0.1, ROWS)


PLAIN = {"sqdist": (with_cdist, with_product), "dot": (inner_products,)}


def plain(loss: Callable, weights: Tensor, spread: Tensor, rate: float, steps: int) -> tuple[Tensor, float]:
    """Plain loop from `weights` [L, d, d]: the weights at its end, and its seconds per step."""
    net = nn.Sequential(*(nn.Linear(DIM, DIM, bias=False) for _ in weights))
    with torch.no_grad():
        for layer, first in zip(net, weights, strict=True): layer.weight.copy_(first)
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    rng = generator(derive_seed(0, "toy", "draws"))     # the draws of clnb.toys for seed 0
    data = torch.randn((SAMPLES, DIM), generator=rng)
    order = None
    started = time.perf_counter()
    for step in range(steps):
        k = step % (SAMPLES // BATCH)
        if k == 0: order = torch.randperm(SAMPLES, generator=rng)
        x = data[order[k * BATCH:(k + 1) * BATCH]]
        noise = torch.randn((2, BATCH, DIM), generator=rng) * spread
        value = loss(net(x + noise[0]), net(x + noise[1]))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return torch.stack([layer.weight.detach() for layer in net]), (time.perf_counter() - started) / steps


def cases(settings: int) -> list[tuple[str, Callable, list[Callable], int, Tensor]]:
    """Name, sweep (of steps), plain losses, noisy coordinates, and the noises of the sweep."""
    def case(name: str, loss: str, make: Callable, noisy: int, noises: Tensor) -> tuple:
        def sweep(steps: int) -> Toy: return make(noise=noises, loss=loss, rate=0.001, steps=steps, frames=2)
        return f"{name}, {loss}", sweep, PLAIN[loss], noisy, noises

    return [case(*network[:1], loss, *network[1:]) for network in (
        ("one layer", linear_toy, 8, torch.linspace(0.1, 3, settings)),
        ("two layers", two_layer_toy, DIM, torch.linspace(0.001, 0.3, settings))) for loss in PLAIN]


def measure(case: tuple, steps: int, turns: int, cores: int) -> dict:
    """Row of one case: the sweep on so many cores, the plain loop on one."""
    name, sweep, losses, noisy, noises = case
    here, beside = float("inf"), dict.fromkeys(losses, float("inf"))
    place, apart = len(noises) // 2, 0.0
    spread = noises[place] * (torch.arange(DIM) >= DIM - noisy)
    for _ in range(turns):
        torch.set_num_threads(cores)
        started = time.perf_counter()
        toy = sweep(steps)
        here = min(here, (time.perf_counter() - started) / steps / len(noises))
        torch.set_num_threads(1)
        toy = toy.at(noise=toy.axes["noise"][place])
        for loss in losses:
            weights, seconds = plain(loss, toy.weights[0].float(), spread, 0.001, steps)
            beside[loss] = min(beside[loss], seconds)
            apart = max(apart, ((weights - toy.weights[-1]).abs().max() / toy.weights[-1].abs().max()).item())
    if not apart < 1e-4: raise RuntimeError(f"{name}: the two ways differ by {apart:.1e} of the largest weight")
    peer = min(beside, key=beside.get)
    return {"what": name, "settings": len(noises), "cores": cores, "here": 1e6 * here, "plain": 1e6 * beside[peer],
             "plain_is": peer.__name__, "apart": apart, "ratio": beside[peer] / here}


def alone(turns: int, steps: int) -> list[dict]:
    """Seconds for one setting, on the cores that torch has now."""
    rows = []
    for name, make in {"one layer": linear_toy, "two layers": two_layer_toy}.items():
        for loss in ("sqdist", "dot"):
            best = float("inf")
            for _ in range(turns):
                started = time.perf_counter()
                make(loss=loss, steps=steps)
                best = min(best, time.perf_counter() - started)
            rows.append({"what": f"{name}, {loss}", "steps": steps, "seconds": best, "goal": 2.0, "ratio": 2.0 / best})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", choices=SCALES, default=os.environ.get("CLNB_SCALE") or "teach")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    settings, steps, turns = SCALES[options.scale]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    line = (f"{cores} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}, device cpu, "
            f"torch {torch.__version__}, Python {platform.python_version()}")
    torch.set_num_threads(1)
    singles = alone(min(turns, 3), 300 if options.scale == "smoke" else 10_000)
    rows = [measure(case, steps, turns, threads) for many, threads in ((settings, 1), (4 * settings, cores))
            for case in cases(many)]
    print(line)
    print(f"microseconds per step of one setting, best of {turns}; goal 20×")
    print(f"{'':20} {'settings':>8} {'cores':>5} {'clnb':>7} {'plain':>7}  {'plain is':15} {'apart':>8} {'ratio':>7}")
    for row in rows:
        print(f"{row['what']:20} {row['settings']:>8} {row['cores']:>5} {row['here']:>7.1f} "
              f"{row['plain']:>7.0f}  {row['plain_is']:15} {row['apart']:>8.0e} {row['ratio']:>6.1f}×")
    print(f"one setting, one core, {singles[0]['steps']:,} steps, 101 of them recorded; seconds")
    print(f"{'':20} {'clnb':>7} {'goal':>7} {'ratio':>7}")
    for row in singles: print(f"{row['what']:20} {row['seconds']:>7.2f} {row['goal']:>7.1f} {row['ratio']:>6.1f}×")
    if options.json:
        options.json.write_text(json.dumps({"machine": line, "scale": options.scale, "rows": rows, "alone": singles},
                                           indent=1))


if __name__ == "__main__":
    main()
