"""Evaluate the claims of the lessons and write nbs/claims.json.

    python tools/claims.py [NAME ...]

A claim is a function of a seed, defined by `@claim(…)` in a lesson. The lesson's cells are run at CLNB_SCALE=smoke,
which defines the claims quickly; then they are evaluated at CLNB_SCALE (teach when it is not set). Each seed of each
lesson has a kernel of its own, so that seeds run side by side and what a lesson trains for one seed is trained once.
Rows of lessons that were not named stay as they are; a claim that was not evaluated has `holds: null`.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.execute import COLOURS, NBS, ask, client_for, names_to_run
from tools.test import cores

FILE = NBS / "claims.json"
LIST = r'''
def _clnb_claims():
    from clnb.core import Claim
    return {value.id: value for value in list(globals().values()) if isinstance(value, Claim)}

import json
print(json.dumps([{"id": c.id, "method": c.method, "statement": c.statement, "source": c.source, "unit": c.unit,
                   "at_least": c.at_least, "at_most": c.at_most, "seeds": list(c.seeds)}
                  for c in _clnb_claims().values()]))
'''
EVALUATE = r'''
def _clnb_evaluate(scale, seed):
    import contextlib, io, json, os, traceback
    from clnb.core import NotEvaluated
    os.environ["CLNB_SCALE"] = scale
    for value in list(globals().values()):      # what was remembered at smoke scale is another experiment
        if hasattr(value, "cache_clear"): value.cache_clear()
    found = {}
    for c in _clnb_claims().values():
        if seed in list(c.seeds):
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    found[c.id] = {"effect": float(c.effect(seed))}
            except NotEvaluated as missing:
                found[c.id] = {"missing": str(missing)}
            except Exception:
                found[c.id] = {"error": traceback.format_exc()}
    print(json.dumps(found))
'''
LISTS, DONE = LIST + EVALUATE, "\n_clnb_evaluate({scale!r}, {seed})"


def has_claims(path: Path) -> bool:
    """Does a lesson define claims?"""
    return any(cell.cell_type == "code" and "@claim(" in cell.source for cell in nbformat.read(path, 4).cells)


def last_line(text: str) -> object:
    """The JSON that a cell printed last."""
    return json.loads(text.strip().splitlines()[-1])


class Lesson:
    """A kernel in which a lesson has been run at smoke scale, ready for its claims."""

    def __init__(self, path: Path, threads: int) -> None:
        self.path, self.client = path, client_for(nbformat.read(path, 4))
        limits = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self.env = {**os.environ, "CLNB_SCALE": "smoke", **limits}

    def __enter__(self) -> Lesson:
        self.context = self.client.setup_kernel(env=self.env)
        self.context.__enter__()
        for i, cell in enumerate(self.client.nb.cells): self.client.execute_cell(cell, i)
        self.claims = last_line(ask(self.client, LISTS))
        return self

    def __exit__(self, *error: object) -> None:
        self.context.__exit__(*error)

    def effects(self, scale: str, seed: int) -> dict[str, dict]:
        """Claim -> its effect, or its traceback, for one seed."""
        return last_line(ask(self.client, DONE.format(scale=scale, seed=seed)))


def claims_of(path: Path) -> list[dict]:
    """What a lesson claims, with nothing evaluated."""
    with Lesson(path, 1) as lesson:
        return lesson.claims


def evaluate(path: Path, seed: int, scale: str, threads: int) -> dict[str, dict]:
    """All claims of a lesson that use this seed, in a kernel of their own."""
    began = time.monotonic()
    with Lesson(path, threads) as lesson:
        found = lesson.effects(scale, seed)
    print(f"{path.stem}, seed {seed}: {len(found)} claims in {time.monotonic() - began:.0f} s", flush=True)
    return found


def short(value: float | None) -> float | None:
    """Six significant digits; None for what is no number, since JSON has no word for it."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def row_of(claim: dict, effects: dict[int, dict], scale: str) -> dict:
    """The row of claims.json."""
    from clnb.core import Claim

    about = {key: claim[key] for key in ("id", "method", "statement", "source")}
    values = [effects[seed].get("effect") for seed in claim["seeds"] if seed in effects]
    if len(values) < max(2, len(claim["seeds"])) or None in values:
        return {**about, "effect": None, "low": None, "high": None, "unit": claim["unit"], "seeds": len(claim["seeds"]),
                "scale": scale, "holds": None}
    whole = Claim(**about, effect=float, unit=claim["unit"], at_least=claim["at_least"], at_most=claim["at_most"],
                  seeds=claim["seeds"])
    row = whole.row(values, claim["seeds"])
    holds = row["holds"] if all(map(math.isfinite, values)) else False
    return {**row, **{key: short(row[key]) for key in ("effect", "low", "high")}, "holds": holds}


def write(rows: list[dict]) -> None:
    """Write claims.json, sorted by id, the same text for the same content."""
    texts = [json.dumps(row, ensure_ascii=False, indent=1) for row in sorted(rows, key=lambda row: row["id"])]
    FILE.write_text("[\n" + ",\n".join(texts) + "\n]\n" if texts else "[]\n", "utf-8")


def main() -> int:
    """Entry point; the exit code is 1 when a claim raised an error."""
    scale, began = os.environ.get("CLNB_SCALE") or "teach", time.monotonic()
    os.environ["CLNB_SCALE"] = scale
    paths = [path for path in names_to_run(sys.argv[1:]) if has_claims(path)]
    if not paths:
        print("No lesson that was named defines a claim.")
        return 0 if not sys.argv[1:] else 1
    at_once = cores()
    threads = max(1, cores() // at_once)
    failed: list[str] = []
    missing: dict[str, str] = {}
    with ThreadPoolExecutor(at_once) as pool:
        try:
            claims = dict(zip(paths, pool.map(claims_of, paths), strict=True))
        except (CellExecutionError, RuntimeError) as error:
            print(COLOURS.sub("", str(error)))
            print("A lesson failed, so that its claims are not known; `make notebooks` shows where.")
            return 1
        count = sum(map(len, claims.values()))
        print(f"Evaluating {count} claims of {', '.join(path.stem for path in paths)} at CLNB_SCALE={scale},"
              f" {at_once} kernels at a time …", flush=True)
        tasks = [(path, seed) for path in paths for seed in sorted({s for c in claims[path] for s in c["seeds"]})]
        futures = {task: pool.submit(evaluate, *task, scale, threads) for task in tasks}
    effects: dict[tuple[Path, str], dict[int, dict]] = defaultdict(dict)
    for (path, seed), future in futures.items():
        try:
            found = future.result()
        except Exception as error:
            failed.append(f"{path.stem}, seed {seed}: {COLOURS.sub('', str(error))}")
            continue
        for id, answer in found.items():
            effects[path, id][seed] = answer
            if "error" in answer: failed.append(f"{id}, seed {seed}:\n{answer['error']}")
            if "missing" in answer: missing[id] = answer["missing"]
    rows = [row_of(claim, effects[path, claim["id"]], scale) for path in paths for claim in claims[path]]
    if FILE.exists() and sys.argv[1:]:      # what the other lessons still claim stays
        others = "".join(path.read_text("utf-8") for path in NBS.glob("*.ipynb") if path not in paths)
        stored = json.loads(FILE.read_text("utf-8"))
        rows += [row for row in stored if f'@claim(\\"{row["id"]}\\"' in others]
    write(rows)
    for row in sorted(rows, key=lambda row: row["id"]):
        verdict = {True: "holds", False: "DOES NOT HOLD", None: "not evaluated"}[row["holds"]]
        effect = "–"
        if row["effect"] is not None:
            effect = f"{row['effect']:.3g} [{row['low']:.3g}, {row['high']:.3g}] {row['unit']}".strip()
        print(f"  {row['id']}: {effect}: {verdict}")
    print(f"Wrote nbs/claims.json ({len(rows)} rows, {time.monotonic() - began:.0f} s);"
          " `make prepare` puts them into the README.")
    for id, reason in missing.items(): print(f"Not evaluated: {id}: {reason}")
    for text in failed: print(f"\nFAILED {text}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
