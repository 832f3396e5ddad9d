"""How fast the embedding explorer is, beside jupyter-scatter: first paint, panning, hovering, memory of the browser.

    python bench/explorer.py [--scale smoke|teach|full] [--json FILE]

Both are shown in JupyterLab, in the same browser, on canvases of the same size, in turns. First paint: from executing
the cell that shows the widget until its canvas has a fifth of the ink that it ends with (the JSON file also says when
it has nearly all). Pan: pictures a second that differ from the one before, while a mouse drags. Hover: from the move of
the mouse to the tooltip; here with the nearest neighbours in the full space, beside without. Memory: the most that all
processes of the browser hold together, and what it grew by since the cell was executed.

The features have 64 dimensions (512 in the row of 60,000). The peer is given two principal components that were
computed before; the cell that is timed here computes them. Ratios above 1 are in favour of clnb.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import jupyterlab

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]
SHARE = Path(jupyterlab.__file__).resolve().parents[4] / "share" / "jupyter"    # this environment borrows JupyterLab

import psutil
from browser import Lab, Notebook, launch
from jscatter import __version__ as peer_version
from playwright.sync_api import Browser, Page, TimeoutError, sync_playwright

HEIGHT = 420       # of both canvases, pixels; both are as wide as the cell
DATA = """
import sys
sys.path.insert(0, {root!r})
import jscatter, numpy as np
from clnb.layouts import principal_plane
from clnb.views import Embedding
rng = np.random.default_rng(0)
n, d = {n}, {d}
labels = rng.integers(0, 10, n)
x = rng.standard_normal((n, d), dtype=np.float32)
x += (4 * rng.standard_normal((10, d)) / np.sqrt(d / 16))[labels].astype(np.float32)
images = rng.integers(0, 256, (n, 1, 16, 16), dtype=np.uint8) if {images} else None
"""
PLANE = """
centred = x - x.mean(0)
plane = (centred @ np.linalg.eigh(centred.T @ centred)[1][:, -2:]).astype(np.float32)
plane /= np.abs(plane).max()
"""
SHOW = {
    "clnb": f"Embedding(x, images=images, labels=labels, neighbours=5, height={HEIGHT})",
    "jupyter-scatter": f"jscatter.Scatter(plane[:, 0], plane[:, 1], color_by=labels, tooltip=True, width={{width}}, "
                       f"height={HEIGHT}).show()",
}
TIP = {
    "clnb": "cell.querySelectorAll('.clnb-tip:not([hidden]) figure').length >= 5",
    "jupyter-scatter": "[...cell.querySelectorAll('div')].some(e => e.style.transition.startsWith('opacity 0.2')"
                       " && e.style.opacity === '1')",
}
# In the page: `look` gives the largest canvas of a cell as 120 × 50 pixels, `ink` how many of them are coloured.
HELPERS = r"""
() => {
  const b = (window.clnbBench = {});
  const small = Object.assign(document.createElement("canvas"), {width: 120, height: 50});
  const pen = small.getContext("2d", {willReadFrequently: true});
  b.cell = k => document.querySelectorAll(".jp-Notebook .jp-Cell")[k];
  b.canvas = k => [...b.cell(k).querySelectorAll(".jp-OutputArea canvas")].filter(c => c.clientWidth > 300)[0];
  b.look = canvas => {
    pen.clearRect(0, 0, 120, 50);
    pen.drawImage(canvas, 0, 0, 120, 50);
    return pen.getImageData(0, 0, 120, 50).data;
  };
  b.ink = p => {
    let count = 0;
    for (let i = 0; i < p.length; i += 4)
      if (Math.max(p[i], p[i + 1], p[i + 2]) - Math.min(p[i], p[i + 1], p[i + 2]) > 25 && p[i + 3] > 60) count++;
    return count;
  };
  b.show = async k => {
    b.trace = [];
    clnbTest.book().content.activeCellIndex = k;
    const began = performance.now();
    jupyterapp.commands.execute("notebook:run-cell");
    let best = 0, still = began;
    for (;;) {
      await new Promise(done => setTimeout(done, 15));
      const canvas = b.canvas(k), now = performance.now(), ink = canvas ? b.ink(b.look(canvas)) : 0;
      b.trace.push([now - began, ink]);
      if (ink > best * 1.02) [best, still] = [ink, now];
      if ((best > 50 && now - still > 2500) || now - began > 120000) break;
    }
    return [Math.max(20, best / 5), 0.95 * best].map(least => b.trace.find(([, ink]) => ink >= least)?.[0] ?? null);
  };
  b.count = k => {
    const canvas = b.canvas(k), began = performance.now();
    let last = b.look(canvas).slice(), frames = 0, going = true;
    const tick = () => {
      const now = b.look(canvas);
      if (now.some((v, i) => v !== last[i])) { frames++; last = now.slice(); }
      if (going) requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
    b.stop = () => { going = false; return frames / ((performance.now() - began) / 1000); };
  };
  b.places = (k, many) => {          // window coordinates of coloured spots, spread over the picture
    const canvas = b.canvas(k), p = b.look(canvas), box = canvas.getBoundingClientRect(), all = [];
    for (let i = 0; i < p.length; i += 4) if (b.ink(p.slice(i, i + 4))) all.push(i / 4);
    return Array.from({length: many}, (_, j) => all[Math.floor((j + 0.5) * all.length / many)]).map(
      q => [box.left + (q % 120 + 0.5) / 120 * box.width, box.top + (Math.floor(q / 120) + 0.5) / 50 * box.height]);
  };
  b.arm = (k, shown) => {
    const cell = b.cell(k);
    b.took = null;
    let from = null;
    const moved = () => { from ??= performance.now(); };
    window.addEventListener("pointermove", moved, {capture: true, once: true});
    const test = new Function("cell", `return ${shown}`);
    const look = () => {
      if (from !== null && test(cell)) b.took = performance.now() - from;
      else b.timer = setTimeout(look, 5);
    };
    clearTimeout(b.timer);
    look();
  };
}
"""


class Memory:
    """The most memory that the browser's processes hold together, in MB, from `start` to `stop`."""

    def __init__(self) -> None:
        self.peak, self.going = 0.0, True
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    @staticmethod
    def now() -> float:
        """MB that the browser holds (what its processes share is counted for each of them)."""
        total = 0
        for process in psutil.Process().children(recursive=True):
            try:
                if "chrom" in process.name(): total += process.memory_info().rss
            except psutil.Error:
                pass
        return total / 1e6

    def _watch(self) -> None:
        while self.going:
            self.peak = max(self.peak, self.now())
            time.sleep(0.1)

    def stop(self) -> float:
        """End the watch; the peak."""
        self.going = False
        self.thread.join()
        return self.peak


def pan(page: Page, seconds: float) -> float:
    """Pictures a second while the mouse drags the canvas of the first cell to and fro."""
    box = page.evaluate("() => clnbBench.canvas(2).getBoundingClientRect().toJSON()")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate("() => clnbBench.count(2)")
    end, k = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        k += 1
        page.mouse.move(x + 150 * abs((k / 20) % 2 - 1) - 75, y + 60 * abs((k / 14) % 2 - 1) - 30)
    rate = page.evaluate("() => clnbBench.stop()")
    page.mouse.up()
    return rate


def hovers(page: Page, shown: str, many: int) -> list[float]:
    """Milliseconds from a move of the mouse to the tooltip, at places where points are."""
    box = page.evaluate("() => clnbBench.canvas(2).getBoundingClientRect().toJSON()")
    found = []
    for x, y in page.evaluate("many => clnbBench.places(2, many)", many):
        page.mouse.move(box["x"] + 3, box["y"] + 3)
        page.mouse.move(box["x"] - 12, box["y"] + 3)         # nothing is under the mouse
        page.wait_for_timeout(700)
        page.evaluate("shown => clnbBench.arm(2, shown)", shown)
        page.mouse.move(x, y)
        try:
            page.wait_for_function("() => clnbBench.took !== null", timeout=4000)
            found.append(page.evaluate("() => clnbBench.took"))
        except TimeoutError:  # no point lies here
            continue
    return found


def measure(browser: Browser, lab: Lab, who: str, data: tuple[int, int, bool], width: int, seconds: float,
            many: int) -> dict:
    """First paint, frames, latency and memory of one of the two with `n` points; the peer is `width` pixels wide."""
    n, d, images = data
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    cells = (DATA.format(root=str(ROOT), n=n, d=d, images=images), PLANE if who != "clnb" else "None",
             SHOW[who].format(width=width))
    book = Notebook(page, lab, lab.write(f"{who}-{n}-{time.time_ns()}.ipynb", cells))
    page.set_default_timeout(180_000)
    for k in (0, 1):
        page.evaluate("k => { clnbTest.book().content.activeCellIndex = k;"
                      " return jupyterapp.commands.execute('notebook:run-cell').then(() => true); }", k)
    page.evaluate(HELPERS)
    page.evaluate("() => { document.querySelectorAll('.jp-Notebook .jp-Cell')[2].scrollIntoView(); }")
    page.wait_for_timeout(1000)
    before, memory = Memory.now(), Memory()
    first, complete = page.evaluate("() => clnbBench.show(2)")
    if first is None: raise RuntimeError(f"{who} with {n} points: no ink within two minutes")
    page.evaluate("() => { clnbBench.canvas(2).scrollIntoView({block: 'center'}); }")
    page.wait_for_timeout(1000)
    size = page.evaluate("() => { const c = clnbBench.canvas(2); return [c.clientWidth, c.clientHeight]; }")
    if who == "clnb": drawn = page.locator(".clnb").first.evaluate("e => ({...e.dataset})")
    latency = hovers(page, TIP[who], many)
    page.mouse.move(5, 5)
    rate = pan(page, seconds)
    peak = memory.stop()
    if os.environ.get("CLNB_SHOT"): book.shot(f"bench-explorer-{who}-{n}")
    book.close()
    page.context.close()
    return {"first": first / 1000, "complete": complete / 1000, "pan": rate,
            "hover": statistics.median(latency) if latency else float("nan"),
            "worst": max(latency, default=float("nan")), "hovers": latency, "memory": peak,
            "grown": peak - before, "canvas": size, "renderer": drawn.get("renderer") if who == "clnb" else "webgl"}


def machine(browser: Browser) -> str:
    """The machine line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (f"{cores} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}, WebGL drawn by the processor, "
            f"Python {platform.python_version()}, Chromium {browser.version}, jupyter-scatter {peer_version}")


KINDS = [("first", "first paint", "s", 1), ("pan", "pan", "frames/s", -1),
         ("hover", "hover", "ms", 1), ("worst", "hover, the slowest", "ms", 1),
         ("memory", "browser memory, peak", "MB", 1), ("grown", "  of it for the view", "MB", 1)]
GOALS = {("first", 100_000): 3.0, ("hover", 60_000): 200.0, ("worst", 60_000): 200.0}


NOTES = """peer: jupyter-scatter, used plainly: it is given a plane that was computed before, and its tooltip, which
waits 500 ms by design, has no neighbours. clnb computes the plane (PCA of 64 dimensions; of 512 at 60,000 points) and,
of more than 200,000 points, draws a part while the picture moves, all when it rests. At 100,000 points it has
thumbnails."""


def rows_of(n: int, d: int, runs: dict[str, list[dict]]) -> list[dict]:
    """The table's rows for one size: medians of the turns, and the slowest hover of all."""
    rows = []
    for key, what, unit, sign in KINDS:
        middle = max if key == "worst" else statistics.median
        here, beside = (middle(run[key] for run in runs[who]) for who in SHOW)
        ratio = (beside / here) if sign > 0 else (here / beside)
        rows.append({"points": n, "dimensions": d, "what": what, "here": here, "beside": beside, "unit": unit,
                     "goal": GOALS.get((key, n)), "ratio": ratio})
    return rows


def show(rows: list[dict], line: str) -> None:
    """Print the table."""
    print(f"{'points':<13}{'':24}{'clnb':>9}{'peer':>9}  {'unit':10}{'goal':>8}{'ratio':>8}")
    for row in rows:
        goal = f"≤ {row['goal']:g}" if row["goal"] else ""
        digits = 2 if row["unit"] == "s" else 0 if row["unit"] in ("MB", "ms") else 1
        print(f"{row['points']:10,}   {row['what']:24}{row['here']:9.{digits}f}{row['beside']:9.{digits}f}  "
              f"{row['unit']:10}{goal:>8}{row['ratio']:7.2f}×")
    print(NOTES)
    print(line)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", choices=["smoke", "teach", "full"], default="teach")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sizes = [(10_000, 64, False), (60_000, 512, False), (100_000, 64, True), (1_000_000, 64, False)]
    turns, seconds, many = {"smoke": (1, 1.5, 3), "teach": (3, 2.5, 8), "full": (5, 3, 20)}[options.scale]
    if options.scale == "smoke": sizes = sizes[:1]
    os.environ["JUPYTER_PATH"], os.environ["JUPYTERLAB_DIR"] = str(SHARE), str(SHARE / "lab")
    rows, details = [], []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser, lab = launch(playwright), Lab(Path(folder)).start()
        if not browser: raise SystemExit("no Chromium or Chrome on this machine: `make browser` says how to get one")
        try:
            line = machine(browser)
            for n, d, images in sizes:
                runs = {who: [] for who in SHOW}
                width = 1000
                for _ in range(1 if n > 500_000 and options.scale != "full" else turns):
                    for who in SHOW:
                        runs[who].append(measure(browser, lab, who, (n, d, images), width, seconds, many))
                        width = runs["clnb"][-1]["canvas"][0]
                        print(f"  {n:,} {who}: {runs[who][-1]}", file=sys.stderr, flush=True)
                rows += rows_of(n, d, runs)
                details.append({"points": n, "runs": runs})
        finally:
            browser.close()
            lab.stop()
    show(rows, line)
    if options.json:
        found = {"machine": line, "scale": options.scale, "rows": rows, "details": details}
        options.json.write_text(json.dumps(found, indent=1), "utf-8")


if __name__ == "__main__":
    main()
