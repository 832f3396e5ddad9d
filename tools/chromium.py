"""Find a Chromium (or Chrome) for the browser tests, and install one where there is none.

    python tools/chromium.py            say which one would be used
    python tools/chromium.py --install  install one if there is none

Only the standard library is used. The exit code of `--install` is 0 when a browser is there afterwards, or when this
machine offers no way to install one (the browser tests are then skipped and say so), and 1 when an installation was
tried and failed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
PLACES = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
PLAYWRIGHT_CACHES = ("~/.cache/ms-playwright", "~/Library/Caches/ms-playwright")
PLAYWRIGHT_FILES = ("chromium-*/chrome-linux*/chrome", "chromium-*/chrome-mac*/*.app/Contents/MacOS/*")
MANAGERS = {  # package manager -> (commands, needs root)
    "apt-get": ([["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", "chromium"]], True),
    "dnf": ([["dnf", "install", "-y", "chromium"]], True),
    "pacman": ([["pacman", "-Sy", "--noconfirm", "chromium"]], True),
    "zypper": ([["zypper", "--non-interactive", "install", "chromium"]], True),
    "apk": ([["apk", "add", "chromium"]], True),
    "brew": ([["brew", "install", "--cask", "chromium"]], False),
}
SKIP = "The browser tests will be skipped: "
MEND = "install Chromium or Chrome by hand, or set CLNB_CHROMIUM to the path of one"


def works(path: str) -> bool:
    """Does this program answer as a browser? (On some systems `chromium` is only a pointer to a shop.)"""
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and any(word in answer.stdout for word in ("Chrom", "Edge"))


def candidates() -> list[str]:
    """Paths where a browser may be, best first."""
    found = [path for name in NAMES if (path := shutil.which(name))]
    found += [path for path in PLACES if os.path.exists(path)]
    caches = [os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or "", *PLAYWRIGHT_CACHES]
    for cache in (Path(place).expanduser() for place in caches if place):
        for pattern in PLAYWRIGHT_FILES:
            found += sorted(map(str, cache.glob(pattern)), reverse=True)
    return found


def find() -> str | None:
    """Path of the browser to use; None when there is none. `CLNB_CHROMIUM` names one, and is then the only one."""
    named = os.environ.get("CLNB_CHROMIUM")
    if named:
        if not works(named):
            raise SystemExit(f"CLNB_CHROMIUM is {named!r}, which does not run as a browser; correct it or unset it.")
        return named
    return next((path for path in candidates() if works(path)), None)


def privilege() -> list[str] | None:
    """What to put before a command that needs root: nothing, sudo, or None when neither will do."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo"):
        quiet = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
        if quiet or sys.stdin.isatty():
            return ["sudo"]
    return None


def run(command: list[str], log: Path) -> bool:
    """Run one command with its output in the log; True when it succeeded."""
    with log.open("ab") as file:
        file.write(f"$ {' '.join(command)}\n".encode())
        file.flush()
        env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        return subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=env, check=False).returncode == 0


def install(log: Path) -> int:
    """Install a browser with the package manager of this machine; returns the exit code."""
    path = find()
    if path:
        print(f"Browser for the tests: {path}.")
        return 0
    manager = next((name for name in MANAGERS if shutil.which(name)), None)
    if manager is None:
        print(f"{SKIP}no browser here, and no package manager that is known ({', '.join(MANAGERS)}); {MEND}.")
        return 0
    commands, root = MANAGERS[manager]
    before = privilege() if root else []
    if before is None:
        print(f"{SKIP}no browser here, and {manager} needs an administrator; {MEND}.")
        return 0
    print(f"No browser found: installing Chromium with {manager} (about 100 MB to download) …", flush=True)
    done = [run([*before, *command], log) for command in commands]
    if not (done[-1] and find()):
        print("That gave no working browser; trying the one that Playwright offers …", flush=True)
        run([sys.executable, "-m", "playwright", "install", "chromium"], log)
        if root:
            run([*before, sys.executable, "-m", "playwright", "install-deps", "chromium"], log)
    path = find()
    if path:
        print(f"Browser for the tests: {path}.")
        return 0
    tail = "\n".join("    " + line for line in log.read_text("utf-8", "replace").splitlines()[-8:])
    print(f"Chromium could not be installed. The end of {log}:\n{tail}\nTo mend it: check the network and run the"
          f" command again, or {MEND}; CLNB_NO_BROWSER=1 leaves the browser tests out.")
    return 1


def main() -> int:
    """Entry point."""
    if os.environ.get("CLNB_NO_BROWSER"):
        print(f"{SKIP}CLNB_NO_BROWSER is set.")
        return 0
    if "--install" in sys.argv[1:]:
        log = Path(sys.prefix) / "chromium.log"
        return install(log)
    path = find()
    print(path or f"No browser found; {MEND}.")
    return 0 if path else 1


if __name__ == "__main__":
    sys.exit(main())
