"""Run the benchmarks in an environment of their own, .venv-bench, which sees the packages of .venv and adds the peers.

    python tools/bench.py [NAME ...] [--scale smoke|teach|full] [--json FILE]

What a benchmark prints is also saved in bench/results/NAME.md, except at scale smoke.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BENCH, VENV = ROOT / "bench", ROOT / ".venv-bench"
PYTHON, REQUIREMENTS = VENV / "bin" / "python", BENCH / "requirements.txt"
KEPT = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas")   # never replaced by what a peer asks for


def sentence(log: Path) -> str:
    """The end of the log with what to do."""
    text = "\n".join("    " + line for line in log.read_text("utf-8", "replace").splitlines()[-8:])
    return f"The peers could not be installed. The end of {log}:\n{text}\nCheck the network and run the command again."


def environment() -> None:
    """Make .venv-bench where it is missing or its requirements have changed."""
    stamp, log = VENV / "ready", ROOT / ".venv" / "bench.log"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode() + version("torch").encode()).hexdigest()
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return
    print("Installing the peers of bench/requirements.txt into .venv-bench …", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
    site = next((VENV / "lib").glob("python*/site-packages"))
    (site / "clnb.pth").write_text(f"import site; site.addsitedir({sysconfig.get_paths()['purelib']!r})\n", "utf-8")
    limits = VENV / "constraints.txt"
    limits.write_text("".join(f"{name}=={version(name)}\n" for name in KEPT), "utf-8")
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off",
               "-r", str(REQUIREMENTS), "-c", str(limits)]
    with log.open("w") as file:
        done = subprocess.run(command, stdout=file, stderr=file, check=False)
    if done.returncode != 0:
        raise SystemExit(sentence(log))
    stamp.write_text(wanted, "utf-8")


def run(name: str, options: list[str]) -> int:
    """Run one benchmark; its output is shown and saved."""
    print(f"\nbench/{name}.py {' '.join(options)}", flush=True)
    command = [str(PYTHON), str(BENCH / f"{name}.py"), *options]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    lines = []
    for line in running.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    if running.wait() == 0 and "smoke" not in options:
        text = "".join(lines).strip()
        body = text if "|" in text else f"```\n{text}\n```"
        (BENCH / "results").mkdir(exist_ok=True)
        (BENCH / "results" / f"{name}.md").write_text(f"# {name}\n\n{body}\n", "utf-8")
    return running.returncode


def main() -> int:
    """Entry point; the exit code is 1 when a benchmark failed."""
    there = sorted(path.stem for path in BENCH.glob("*.py"))
    first = next((i for i, word in enumerate(sys.argv) if i and word.startswith("-")), len(sys.argv))
    names, options = sys.argv[1:first] or there, sys.argv[first:]
    if unknown := [name for name in names if name not in there]:
        raise SystemExit(f"There is no benchmark {', '.join(unknown)}; there are: {', '.join(there)}.")
    environment()
    failed = [name for name in names if run(name, options) != 0]
    if failed: print(f"Failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
