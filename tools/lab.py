"""Open JupyterLab on a lesson.

    python tools/lab.py [NAME]      NAME of a notebook in nbs/, 10_simclr when none is given

The variable PORT names the port; without it the first free one from 8888 is taken. Without a display (a server, a
container) no browser is opened, and the address is printed for one elsewhere.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def is_free(port: int) -> bool:
    """Can a server listen on this port?"""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_port() -> int:
    """PORT, or the first free one from 8888."""
    named = os.environ.get("PORT")
    if named:
        if not named.isdigit() or not 0 < int(named) < 65536:
            raise SystemExit(f"PORT is {named!r}; expected a number from 1 to 65535.")
        if not is_free(int(named)):
            raise SystemExit(f"Port {named} is taken by another program. Choose another (PORT=8899 make lab), or leave"
                             " PORT unset and a free one is found.")
        return int(named)
    free = next((port for port in range(8888, 8988) if is_free(port)), None)
    if free is None:
        raise SystemExit("All ports from 8888 to 8987 are taken; name a free one: PORT=9100 make lab")
    return free


def has_display() -> bool:
    """Can a browser be opened on this machine?"""
    if os.environ.get("CLNB_NO_DISPLAY") or os.environ.get("SSH_CONNECTION"):
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def wait_until_up(server: subprocess.Popen, port: int, log: Path) -> None:
    """Return when the server answers; raise when it ended instead."""
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(600):
        if server.poll() is not None:
            text = "\n".join("    " + line for line in log.read_text("utf-8", "replace").splitlines()[-12:])
            raise SystemExit(f"JupyterLab did not start. The last lines of {log}:\n{text}\nTo mend it: `rm -rf .venv`,"
                             " then `make lab`, makes a new environment.")
        try:
            with ask.open(f"http://127.0.0.1:{port}/api", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"JupyterLab did not answer within two minutes; {log} says what it does.")


def lesson_path(name: str) -> Path:
    """The notebook of that name, or an error that lists what there is."""
    path = ROOT / "nbs" / f"{Path(name).stem}.ipynb"
    if not path.exists():
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.ipynb")))
        raise SystemExit(f"There is no notebook {path.stem!r} in nbs/; there are: {there}.")
    return path


def main() -> int:
    """Entry point; runs until JupyterLab ends."""
    path = lesson_path(sys.argv[1] if len(sys.argv) > 1 else "10_simclr")
    port, token = choose_port(), secrets.token_hex(16)
    log = Path(sys.prefix) / "jupyterlab.log"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.port={port}",
               "--ServerApp.port_retries=0", f"--ServerApp.root_dir={ROOT}", "--ServerApp.ip=127.0.0.1"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")   # JupyterLab asks for this word when root starts it
    path_of_env = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "JUPYTER_TOKEN": token, "PATH": path_of_env}
    print(f"Starting JupyterLab on nbs/{path.name} …", flush=True)
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=env, cwd=ROOT,
                                  start_new_session=True)
    stop = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGTERM, stop)   # ending this program ends the server too
    try:
        wait_until_up(server, port, log)
        url = f"http://127.0.0.1:{port}/lab/tree/nbs/{path.name}?token={token}"
        print(f"\nThe lesson is at\n\n    {url}\n\nIn the menu: Run → Run All Cells. Ctrl+C here ends JupyterLab.",
              flush=True)
        if has_display():
            webbrowser.open(url)
        else:
            print(f"No display here: open the address in a browser. From another machine, first\n"
                  f"    ssh -L {port}:127.0.0.1:{port} <this machine>", flush=True)
        return server.wait()
    except KeyboardInterrupt:
        print("\nEnding JupyterLab; notebooks that were saved stay saved.", flush=True)
        return 0
    finally:
        if server.poll() is None:
            server.terminate()
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                server.kill()


if __name__ == "__main__":
    sys.exit(main())
