"""Make the environment `.venv`: everything that the lessons and the tests need, in one folder of the project.

    python3 tools/environment.py

It runs on any Python from 3.8, so that it can say that a Python is too old; the environment itself needs 3.11. Called
again it does nothing when nothing has changed, and repairs what an interrupted call left behind. The variable PYTHON
names the interpreter to use. Only the standard library is used.
"""

import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
OLDEST = (3, 11)
DISK = 8.0           # GB that a new environment takes, downloads included
UPDATE = 1.0         # GB to keep free when packages are only updated
DEPENDS = ("settings.ini", "setup.py", "pyproject.toml")
PROVE = "import torch, torchvision, matplotlib, jupyterlab, ipywidgets, anywidget, nbdev, pytest, playwright, clnb"


class Mend(Exception):
    """Something that the reader has to mend; the message says how."""


def say(text):
    """One plain sentence for the reader."""
    print(text, flush=True)


# ---------------------------------------------------------------------------------------------------- the interpreter


def version_of(python):
    """(major, minor, micro) of an interpreter, or None when it does not run."""
    code = "import sys; print(*sys.version_info[:3])"
    try:
        answer = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
        return tuple(int(part) for part in answer.stdout.split()) if answer.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def dotted(version):
    """3.11.7 for (3, 11, 7)."""
    return ".".join(map(str, version))


def choose_python():
    """The interpreter to make the environment with: PYTHON, else python3, else the newest that is found by name."""
    named = os.environ.get("PYTHON")
    if named:
        path = shutil.which(named)
        version = version_of(path) if path else None
        if version is None:
            raise Mend("PYTHON is '%s', which is not a Python that runs here. Correct it, or unset it." % named)
        if version < OLDEST:
            raise Mend("PYTHON is '%s', which is Python %s; clnb needs %s or newer."
                       % (named, dotted(version), dotted(OLDEST)))
        return path, version
    tried = []
    names = ["python3"] + ["python3.%d" % minor for minor in (13, 12, 11, 14)]
    paths = [shutil.which(name) for name in names] + [sys.executable]
    paths += sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.1[1-9]*/bin/python3")), reverse=True)
    for path in paths:
        version = version_of(path) if path else None
        if version and version >= OLDEST:
            return path, version
        if version:
            tried.append("%s is %s" % (path, dotted(version)))
    raise Mend("clnb needs Python %s or newer, and only found an older one (%s). Install one (python.org, or"
               " `sudo apt-get install python3.12 python3.12-venv`, or `brew install python@3.12`), or say where it is:"
               " PYTHON=/path/to/python3.12 make lab" % (dotted(OLDEST), "; ".join(sorted(set(tried))) or "none"))


# ------------------------------------------------------------------------------------------------- what is there now


def inside(*parts):
    """A path in the environment."""
    return os.path.join(VENV, *parts)


def fingerprint():
    """Changes when the packages that are asked for change, or the project has moved."""
    digest = hashlib.sha256(ROOT.encode())
    for name in DEPENDS:
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def stamp():
    """What the last complete call wrote: fingerprint and Python version; empty after an interrupted one."""
    try:
        with open(inside("clnb-ready"), encoding="utf-8") as file:
            return file.read().split()
    except OSError:
        return []


def ready():
    """Is the environment complete? Looks at files only, so that this takes no time."""
    found = stamp()
    python = inside("bin", "python")
    if found and os.environ.get("PYTHON") and dotted(choose_python()[1][:2]) != found[1]:
        return False
    return bool(found) and found[0] == fingerprint() and os.access(python, os.X_OK) and bool(
        glob.glob(inside("lib", "python%s" % found[1], "site-packages", "torch", "version.py")))


def usable(wanted):
    """Can packages be installed into what is there? (Not when making it was interrupted, or its Python has gone.)"""
    python = inside("bin", "python")
    version = version_of(python) if os.path.exists(python) else None
    if not version or version < OLDEST or (os.environ.get("PYTHON") and version[:2] != wanted[:2]):
        return False
    pip = subprocess.run([python, "-m", "pip", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with open(inside("bin", "pip"), encoding="utf-8", errors="replace") as file:
            here = VENV in file.read(1000)   # else the project was moved, and every command points to the old place
    except OSError:
        here = False
    return pip.returncode == 0 and here


# ----------------------------------------------------------------------------------------------------- making it


def check_disk(need):
    """Raise `Mend` when there is less than `need` GB where the environment goes."""
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < need:
        raise Mend("The environment needs about %.0f GB on the disk of %s, and %.1f GB are free. Free some, or clone"
                   " the project on a larger disk, and run the command again." % (need, ROOT, free))


def clean_environ():
    """The environment variables for pip, without those that would send packages elsewhere."""
    drop = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "__PYVENV_LAUNCHER__")
    env = {key: value for key, value in os.environ.items() if key not in drop}
    env.setdefault("PIP_RETRIES", "3")
    env.setdefault("PIP_TIMEOUT", "30")
    env.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1", PIP_ROOT_USER_ACTION="ignore",
               PYTHONUNBUFFERED="1", PIP_NO_COLOR="1")
    os.makedirs(inside("tmp"), exist_ok=True)
    env["TMPDIR"] = inside("tmp")   # /tmp is often small; the downloads need 3 GB
    if shutil.disk_usage(os.path.expanduser("~")).free < 15e9:
        env["PIP_NO_CACHE_DIR"] = "1"
    return env


def make_venv(python, version):
    """An empty environment with pip."""
    say("Making the environment .venv with Python %s (%s)." % (dotted(version), python))
    shutil.rmtree(VENV, ignore_errors=True)
    made = subprocess.run([python, "-m", "venv", VENV], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if made.returncode != 0:
        text = made.stdout.decode("utf-8", "replace")
        shutil.rmtree(VENV, ignore_errors=True)
        raise Mend(diagnose(text) or "The module venv of %s does not work:\n%s\nOn Debian and Ubuntu it is a package"
                   " of its own: sudo apt-get install python%d.%d-venv. Then run the command again."
                   % (python, tail(text), version[0], version[1]))


def progress(line):
    """What pip is doing, in words, or None for a line that says nothing to the reader."""
    found = re.match(r"\s*Downloading (?:\S*/)?([\w.]+?)-\d\S* .*?\(([\d.]+ [kMG]B)\)", line)
    if found:
        return "downloading %s (%s)" % found.groups()
    if line.lstrip().startswith("Installing collected packages"):
        return "unpacking %d packages, about 5 GB" % (line.count(",") + 1)
    if line.startswith("Collecting "):
        return "collecting " + re.split(r"[<>=!~;\[ ]", line[11:])[0]
    return None


def pip_install(arguments):
    """Run pip; a sentence now and then for the reader, everything in `.venv/install.log`."""
    log, began, doing, over = inside("install.log"), time.time(), ["starting"], threading.Event()

    def report():
        while not over.wait(15):
            say("  … %s (%d s)" % (doing[0], time.time() - began))

    command = [inside("bin", "python"), "-m", "pip", "install", "--progress-bar", "off"] + arguments
    with open(log, "w", encoding="utf-8") as file:
        pip = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                               cwd=ROOT, env=clean_environ())
        teller = threading.Thread(target=report, daemon=True)
        teller.start()
        try:
            for raw in pip.stdout:
                line = raw.decode("utf-8", "replace")
                file.write(line)
                doing[0] = progress(line) or doing[0]
            pip.wait()
        finally:
            over.set()
            if pip.poll() is None:
                pip.terminate()
                pip.wait()
            shutil.rmtree(inside("tmp"), ignore_errors=True)
    if pip.returncode != 0:
        with open(log, encoding="utf-8") as file:
            text = file.read()
        raise Mend("%s\nThe last lines of %s:\n%s" % (
            diagnose(text) or "The packages could not be installed, and the reason is not one that is known here.",
            log, tail(text)))


CAUSES = [
    (r"No space left on device|Errno 28|Disk quota exceeded",
     "The disk is full: the environment needs about %.0f GB. Free some and run the command again." % DISK),
    (r"CERTIFICATE_VERIFY_FAILED|SSLError|SSL: ",
     "The package index cannot be trusted from here (its certificate was refused). Check the clock of this machine, and"
     " PIP_CERT when a company's proxy stands between. Then run the command again."),
    (r"NewConnectionError|Name or service not known|name resolution|nodename nor servname|Connection refused"
     r"|ConnectTimeout|ProxyError|timed out|Network is unreachable|MaxRetryError|Connection reset|RemoteDisconnected"
     r"|IncompleteRead|ReadTimeout|No route to host|HTTP error 5\d\d",
     "The package index cannot be reached: there is no network, or a proxy is needed (HTTPS_PROXY), or PIP_INDEX_URL"
     " is wrong. Mend that and run the command again; what has been downloaded is kept."),
    (r"requires a different Python|Requires-Python",
     "A package does not support this Python. Use another one: PYTHON=python3.12 make lab"),
    (r"Permission denied|Errno 13|Read-only file system",
     "A file may not be written here. Make the folder of the project your own (ls -l says whose it is), and run the"
     " command again."),
]


def diagnose(text):
    """The likely cause of a failure and how to mend it, from what pip or venv wrote; None when it is not known."""
    for pattern, sentence in CAUSES:
        if re.search(pattern, text):
            return sentence
    missing = re.search(r"No matching distribution found for (\S+)", text)
    if missing and ("(from versions: none)" in text or os.environ.get("PIP_NO_INDEX")):
        hint = " PIP_NO_INDEX is set, so pip looks nowhere: unset it." if os.environ.get("PIP_NO_INDEX") else ""
        return ("The package index offers no %s for this machine (Python %s, %s).%s If it is reachable, use a Python for"
                " which there is one: PYTHON=python3.12 make lab"
                % (missing.group(1), dotted(version_of(inside("bin", "python")) or sys.version_info[:3]),
                   sys.platform, hint))
    if missing:
        return "The package index has no fitting version of %s; is it a complete one?" % missing.group(1)
    return None


def tail(text, lines=12):
    """The last lines that say something, without pip's warnings and notices."""
    kept = [line for line in text.splitlines() if line.strip() and not re.match(r"\s*(WARNING|\[?notice|DEPRECAT)", line)]
    return "\n".join("    " + line[:300] for line in kept[-lines:])


def complete():
    """Does everything that was installed load?"""
    return subprocess.run([inside("bin", "python"), "-c", PROVE], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          cwd=ROOT, env=clean_environ())


def drop_half_unpacked():
    """Forget packages whose unpacking was interrupted, so that pip unpacks them again (RECORD is written last)."""
    for folder in glob.glob(inside("lib", "*", "site-packages", "*.dist-info")):
        if not os.path.exists(os.path.join(folder, "RECORD")):
            shutil.rmtree(folder, ignore_errors=True)


def fill(python, version, fresh):
    """Install the packages into the environment and prove that they load."""
    torch = glob.glob(inside("lib", "*", "site-packages", "torch", "version.py"))
    check_disk(UPDATE if torch else DISK)
    if fresh:
        make_venv(python, version)
    say("Installing the packages%s; all that pip says is in .venv/install.log." % (
        "" if torch else ": PyTorch is large, about 3 GB to download and 5 GB on the disk, which takes some minutes"))
    pip_install(["-e", ".[dev]"])
    say("Checking that everything loads …")
    return complete()


def make():
    """The whole of it; returns True when something was done."""
    if ready():
        return False
    began, there = time.time(), os.path.isdir(VENV)
    python, version = choose_python()
    fresh = not (there and usable(version))
    if there and fresh:
        say("The environment .venv cannot be used (an interrupted installation, or another Python): making it again.")
        shutil.rmtree(VENV, ignore_errors=True)
    elif there:
        say("Bringing the environment .venv up to date." if stamp() else "Finishing the environment .venv.")
        if os.path.exists(inside("clnb-ready")):
            os.remove(inside("clnb-ready"))
        drop_half_unpacked()
    proof = fill(python, version, fresh)
    if proof.returncode != 0 and not fresh:
        say("What was there before is damaged: making the environment again.")
        shutil.rmtree(VENV, ignore_errors=True)
        proof = fill(python, version, True)
    if proof.returncode != 0:
        raise Mend("The packages are installed, but do not load:\n%s\nRemove the folder .venv and run the command"
                   " again; should that not help, the lines above say which package is at fault."
                   % tail(proof.stderr.decode("utf-8", "replace"), 6))
    shutil.rmtree(inside("tmp"), ignore_errors=True)
    here = version_of(inside("bin", "python"))
    with open(inside("clnb-ready"), "w", encoding="utf-8") as file:
        file.write("%s %d.%d\n" % (fingerprint(), here[0], here[1]))
    say("The environment is ready (%d s)." % (time.time() - began))
    return True


def main():
    """Entry point; returns the exit code."""
    lock = os.open(ROOT, os.O_RDONLY)
    try:
        import fcntl

        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another command is making the environment; waiting for it …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            pass   # a file system without locks
        make()
        return 0
    except Mend as problem:
        print("\n%s" % problem, file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Run the command again: it finishes what was begun.", file=sys.stderr, flush=True)
        return 130
    except OSError as error:
        print("\n%s" % (diagnose(str(error)) or "The environment could not be made: %s" % error), file=sys.stderr,
              flush=True)
        return 1
    finally:
        os.close(lock)


if __name__ == "__main__":
    sys.exit(main())
