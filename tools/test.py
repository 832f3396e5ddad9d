"""Run every test with as many processes as there are cores, one thread of PyTorch each.

    python tools/test.py [arguments of pytest]
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def main() -> int:
    """Entry point; the exit code is pytest's."""
    workers = max(1, min(cores(), 8))
    threads = str(max(1, cores() // workers))
    env = {**os.environ, "CLNB_SCALE": os.environ.get("CLNB_SCALE") or "smoke"}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        env.setdefault(name, threads)
    print(f"Running every notebook and every test with {workers} processes at CLNB_SCALE={env['CLNB_SCALE']};"
          " pictures of the lessons go to pictures/.", flush=True)
    command = [sys.executable, "-m", "pytest", "-n", str(workers), "--dist", "loadgroup", "--durations", "15", "-q",
               *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
