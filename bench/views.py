"""What a live view costs, and how fast it is: frames drawn in a real page, and a training loop with and without views.

    python bench/views.py [--scale smoke|teach|full] [--json FILE]

First rows: a thread records an embedding [n, 64] fifty times a second; counted are the frames that the page says it has
drawn, against the ten a second that a reader needs to see movement. Last row: SimCLR on digits, the views of the lesson
in an open JupyterLab page; the same training in turns with and without views, speed with views over speed without.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

import torch
from browser import Lab, Notebook, launch
from playwright.sync_api import Browser, sync_playwright

FRAMES = """
import threading, time
import numpy as np
from clnb.run import History
from clnb.views import Embedding
rng = np.random.default_rng(0)
labels = np.arange({n}) % 10
x = (rng.normal(size=({n}, 64)) + 3 * np.eye(10, 64)[labels]).astype(np.float32)
turned = [x + 0.05 * k * rng.normal(size=64).astype(np.float32) for k in range(4)]
history = History(budget=8 * x.nbytes)
history.record(0, embedding=x)
view = Embedding(history, labels=labels)
going = True
def record():
    step = 0
    while going:
        step += 1
        history.record(step, embedding=turned[step % 4])
        time.sleep(0.02)
threading.Thread(target=record, daemon=True).start()
"""
COUNT = """
first, began = view.drawn, time.time()
def rate(): return (view.drawn - first) / (time.time() - began)
"""
TRAIN = """
import json, os, threading, time
import torch
from ipywidgets import HBox, VBox
from clnb import nets
from clnb.augment import Affine, Compose, Noise
from clnb.data import load
from clnb.methods.simclr import SimCLR
from clnb.run import Run, watch
from clnb.views import CollapseMonitor, Controls, Curves, Embedding, LogitMatrix, Spectrum
train = load("digits")
def new():
    encoder = nets.small_convnet(channels=1, width=16)
    run = Run(SimCLR(encoder, nets.projection_head(encoder.out_dim, 128, 64),
                     Compose([Affine(25, (0.25, 0.25), (0.75, 1.3)), Noise(0.1)]), temperature=0.2),
              train, steps=1_000_000)
    watch(run, train.subset(torch.arange(400)), every=20)
    return run
quiet, seen = new(), new()
def busy():
    "Processor seconds of every thread but the trainers."
    total = 0
    for thread in threading.enumerate():
        if not thread.name.startswith("clnb-run"):
            try: words = open(f"/proc/self/task/{thread.native_id}/stat").read().rsplit(")", 1)[1].split()
            except OSError: continue
            total += (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return total
def speed(run, seconds):
    run.resume() if run.state == "paused" else run.start()
    time.sleep(0.5)
    first, began, used = run.steps_done, time.perf_counter(), busy()
    time.sleep(seconds)
    took = time.perf_counter() - began
    pace = (run.steps_done - first) / took, (busy() - used) / took
    run.pause(); time.sleep(0.3)
    return pace
for run in (quiet, seen): speed(run, 1)
"""
SHOW = """
plane = Embedding(seen.history, train.images[:400], train.labels[:400])
VBox([Controls(seen), HBox([Curves(seen.history, ["loss"]), plane]),
      HBox([Spectrum(seen.history), CollapseMonitor(seen.history)]), LogitMatrix(seen.history, train.images[:16])])
"""
TURNS = """
import threading
result = {{}}
def turns():
    try:
        pairs = [[speed(run, {seconds}) for run in (quiet, seen)] for _ in range({turns})]
        result["pairs"] = pairs
    except Exception as error:
        result["error"] = repr(error)
threading.Thread(target=turns, daemon=True).start()
"""


def machine(browser: Browser) -> str:
    """The machine line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (f"{cores} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}, device cpu, "
            f"torch {torch.__version__}, Python {platform.python_version()}, Chromium {browser.version}")


def frames(browser: Browser, lab: Lab, points: int, seconds: float) -> dict:
    """Frames a second that a page draws of `points` points."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    book = Notebook(page, lab, lab.write(f"frames-{points}.ipynb", (FRAMES.format(n=points), "view", COUNT)))
    book.run_all().check()
    page.wait_for_timeout(4000)
    book.kernel(COUNT)
    page.wait_for_timeout(int(seconds * 1000))
    rate = float(book.kernel("print(rate())"))
    book.close()
    page.context.close()
    return {"what": f"Embedding, {points:,} points", "here": rate, "beside": 10.0, "unit": "frames/s",
            "ratio": rate / 10}


def training(browser: Browser, lab: Lab, seconds: float, turns: int) -> dict:
    """Steps a second of a training loop without and with views."""
    page = browser.new_context(viewport={"width": 1280, "height": 1800}).new_page()
    book = Notebook(page, lab, lab.write("training.ipynb", (TRAIN, SHOW)))
    book.run_all().check()
    book.kernel(TURNS.format(seconds=seconds, turns=turns))
    for _ in range(600):
        page.wait_for_timeout(1000)
        result = json.loads(book.kernel("print(json.dumps(result))"))
        if result: break
    if "pairs" not in result: raise RuntimeError(f"the training turns did not end: {result}")
    pairs = result["pairs"]
    ratios = sorted(seen[0] / quiet[0] for quiet, seen in pairs)
    quiet, seen = (sorted(pair[side][0] for pair in pairs)[turns // 2] for side in (0, 1))
    cores = sorted(seen[1] - quiet[1] for quiet, seen in pairs)[turns // 2]
    book.shot("bench-views")
    book.close()
    page.context.close()
    return {"what": "SimCLR on digits, lesson views", "here": seen, "beside": quiet, "unit": "steps/s",
            "ratio": ratios[turns // 2], "turns": ratios, "cores": cores}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", choices=["smoke", "teach", "full"], default="teach")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sizes = [2_000, 20_000, 100_000, 300_000][: {"smoke": 1, "teach": 3, "full": 4}[options.scale]]
    seconds, turns = {"smoke": (2, 1), "teach": (5, 7), "full": (10, 11)}[options.scale]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser, lab = launch(playwright), Lab(Path(folder)).start()
        if not browser: raise SystemExit("no Chromium or Chrome on this machine: `make browser` says how to get one")
        try:
            line = machine(browser)
            rows = [frames(browser, lab, n, seconds) for n in sizes] + [training(browser, lab, seconds, turns)]
        finally:
            browser.close()
            lab.stop()
    print(f"{'':34}{'here':>10}{'beside':>10}  {'unit':10}{'ratio':>7}")
    for row in rows:
        print(f"{row['what']:34}{row['here']:10.1f}{row['beside']:10.1f}  {row['unit']:10}{row['ratio']:7.2f}")
    print("turns, with views over without:", " ".join(f"{r:.2f}" for r in rows[-1]["turns"]))
    print(f"processor time of the views in the kernel: {rows[-1]['cores']:.1%} of one core")
    print(line)
    if options.json:
        options.json.write_text(json.dumps({"machine": line, "scale": options.scale, "rows": rows}, indent=1), "utf-8")


if __name__ == "__main__":
    main()
