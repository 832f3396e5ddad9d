"""The house: floors, environment, commands. What must hold whatever the lessons say."""

import ast
import importlib
import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import urllib.request
from pathlib import Path

import pytest

from tools import check, chromium, environment

ROOT = Path(__file__).resolve().parents[1]
CLNB = ROOT / "clnb"

# ------------------------------------------------------------------------------------------------------------- floors

FLOORS = {"core": 0, "data": 1, "augment": 1, "losses": 1, "nets": 1, "metrics": 1, "layouts": 1, "toys": 1,
          "collapse": 1, "trees": 1, "masks": 1, "mixtures": 1, "scenes": 1, "run": 2, "recorder": 2, "views": 3,
          "methods": 4}
STANDS_ON = {("clnb.methods.hcsc", "clnb.methods.moco"),        # HCSC is MoCo with prototypes and a selection
             ("clnb.methods.supercon", "clnb.methods.simclr")}  # its rivals at equal cost, one of them SimCLR
NOT_FOR_VIEWS = {"nets", "run", "methods"}
JUPYTER = {"IPython", "ipywidgets", "anywidget", "traitlets", "ipykernel", "comm", "nbformat", "nbclient", "nbconvert",
           "notebook", "jscatter"}
DEVELOPERS = {"fastcore", "nbdev", "execnb", "ghapi"}


def name_of(path: Path, root: Path = CLNB) -> str:
    "clnb.methods.simclr for clnb/methods/simclr.py"
    parts = ["clnb", *path.relative_to(root).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, name: str) -> set[str]:
    "Full names of everything that a module imports, at any depth of its code."
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
            module = ".".join(filter(None, [base if node.level else "", node.module]))
            found |= {f"{module}.{alias.name}" if module in ("clnb", "clnb.methods", "clnb.views") else module
                      for alias in node.names}
    return found


def notebook_of(path: Path) -> str:
    "The notebook that a module was exported from, e.g. 07a_live; '' for one written by hand."
    found = re.search(r"File to edit: \S*?(\w+)\.ipynb", path.read_text("utf-8"))
    return found.group(1) if found else ""


def faults(root: Path) -> list[str]:
    "Every import below `root` that goes against the rules of the house."
    found, order = [], {name_of(path, root): notebook_of(path) for path in root.rglob("*.py")}
    for path in sorted(root.rglob("*.py")):
        name = name_of(path, root)
        room = name.split(".")[1] if "." in name else ""
        if path.name == "_modidx.py" or not room: continue
        if room not in FLOORS:
            found.append(f"{name} is on no floor: say which in FLOORS of tests/test_house.py")
            continue
        for other in sorted(imports(path, name)):
            top, _, rest = other.partition(".")
            if room != "views" and (top in JUPYTER or top.startswith("jupyter")):
                found.append(f"{name} imports {other}, which needs Jupyter: only clnb.views may")
            if top in DEVELOPERS:
                found.append(f"{name} imports {other}, which is for developers only")
            if room == "views" and other.startswith("torch.nn"):
                found.append(f"{name} imports {other}: views know no model")
            if top != "clnb" or not rest: continue
            below = rest.split(".")[0]
            if room == "views" and below in NOT_FOR_VIEWS:
                found.append(f"{name} imports {other}: views know no model and no run")
            elif FLOORS.get(below, 9) > FLOORS[room]:
                found.append(f"{name} imports {other}, which is on a higher floor")
            elif room == below == "methods" and path.name != "__init__.py" and (
                    other != "clnb.methods" and (name, other) not in STANDS_ON):
                found.append(f"{name} imports {other}: a method imports no other method")
            elif path.name == "__init__.py" or room == "methods": continue
            elif order.get(other, "") >= (order[name] or "~"):
                found.append(f"{name} ({order[name]}) imports {other}, of the later notebook {order[other]}")
    return found


def test_lower_floors_know_nothing_of_higher_ones():
    found = faults(CLNB)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("room, line, fault", [
    ("losses", "from clnb.run import Run", "higher floor"),
    ("losses", "from .run import Run", "higher floor"),
    ("core", "import clnb.data", "higher floor"),
    ("core", "from clnb import views", "higher floor"),
    ("run", "def show():\n    from .views import Curves", "higher floor"),
    ("data", "def show():\n    from IPython.display import display", "needs Jupyter"),
    ("metrics", "import jupyter_client", "needs Jupyter"),
    ("views/live", "from ..nets import mlp", "views know no model"),
    ("views/live", "from ..run import History", "views know no model"),
    ("views/live", "from torch.nn import Module", "views know no model"),
    ("methods/moco", "from .simclr import SimCLR", "no other method"),
    ("methods/moco", "from clnb.methods.simclr import SimCLR", "no other method"),
    ("data", "from fastcore.all import patch", "developers only"),
    ("attic", "import torch", "on no floor"),
])
def test_the_rule_finds(tmp_path, room, line, fault):
    path = tmp_path / f"{room}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"# AUTOGENERATED! DO NOT EDIT! File to edit: ../nbs/05_metrics.ipynb.\n{line}\n")
    assert [found for found in faults(tmp_path) if fault in found]


@pytest.mark.parametrize("room, line", [
    ("run", "from .data import Batch"), ("views/live", "from ..core import PALETTE\nimport anywidget"),
    ("methods/moco", "from ..nets import mlp\nfrom ..run import Method"), ("methods/hcsc", "from .moco import MoCo"),
    ("losses", "from .core import scale"),
])
def test_the_rule_allows(tmp_path, room, line):
    path = tmp_path / f"{room}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"# AUTOGENERATED! DO NOT EDIT! File to edit: ../nbs/10_simclr.ipynb.\n{line}\n")
    assert faults(tmp_path) == []


def test_everything_but_views_loads_without_jupyter():
    modules = sorted(name_of(path) for path in CLNB.rglob("*.py")
                     if path.name != "_modidx.py" and not name_of(path).startswith("clnb.views"))
    code = f"""
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                top = name.split(".")[0]
                if top in {JUPYTER | DEVELOPERS!r} or top.startswith("jupyter"):
                    raise ModuleNotFoundError(f"{{name}} is not installed here")

        sys.meta_path.insert(0, Absent())
        import importlib
        for name in {modules!r}: importlib.import_module(name)
        assert "clnb.views" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------------------------------------- what is public

MODULES = sorted(name_of(path) for path in CLNB.rglob("*.py") if notebook_of(path))


def unhinted(function, skip: int = 0) -> list[str]:
    "Parameters (and 'return') of a function that have no type hint."
    signature = inspect.signature(function)
    names = [p.name for p in list(signature.parameters.values())[skip:] if p.annotation is p.empty]
    return names + (["return"] if signature.return_annotation is signature.empty else [])


def members(cls: type) -> list[tuple[str, object, int]]:
    "The public methods that a class itself defines, and how many leading parameters need no hint."
    found = []
    for name, value in vars(cls).items():
        if name != "__init__" and name.startswith("_"): continue
        inner = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        inner = value.fget if isinstance(value, property) else inspect.unwrap(inner) if callable(inner) else inner
        own = inspect.isfunction(inner) and inner.__module__ == cls.__module__ and "<lambda>" not in inner.__qualname__
        if own and not inner.__code__.co_filename.startswith("<"):   # a dataclass writes its own
            found.append((name, inner, 0 if isinstance(value, staticmethod) else 1))
    return found


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_documented_and_typed(name):
    module, missing = importlib.import_module(name), []
    assert module.__doc__, f"{name} has no docstring: give its notebook a quoted sentence below the title"
    for public in module.__all__:
        thing = inspect.unwrap(getattr(module, public))
        if getattr(thing, "__module__", None) != name: continue
        if inspect.isfunction(thing):
            if not thing.__doc__: missing.append(f"{public}: docstring")
            missing += [f"{public}: type of {what}" for what in unhinted(thing)]
        elif inspect.isclass(thing):
            if not thing.__dict__.get("__doc__"): missing.append(f"{public}: docstring")
            missing += [f"{public}.{method}: type of {what}" for method, function, skip in members(thing)
                        for what in unhinted(function, skip)]
    assert not missing, f"{name} lacks:\n" + "\n".join(missing)


# ---------------------------------------------------------------------------------------------------- nothing drifts

def test_modules_notebooks_and_readme_agree():
    names, fresh = check.differences()
    shutil.rmtree(fresh)
    assert not names, check.message(names)


def test_drift_is_found(tmp_path, monkeypatch):
    check.copy(tmp_path)
    check.prepare(tmp_path)
    monkeypatch.setattr(check, "ROOT", tmp_path)
    with (tmp_path / "clnb" / "core.py").open("a") as file: file.write("# by hand\n")
    with (tmp_path / "README.md").open("a") as file: file.write("by hand\n")
    (tmp_path / "clnb" / "orphan.py").write_text(f"# {check.MARK} File to edit: ../nbs/99_gone.ipynb.\n")
    book = tmp_path / "nbs" / "00_core.ipynb"
    book.write_text(book.read_text("utf-8").replace('"metadata": {}', '"metadata": {"scrolled": true}', 1), "utf-8")
    names, fresh = check.differences()
    shutil.rmtree(fresh)
    assert names == ["README.md", "clnb/core.py", "clnb/orphan.py", "nbs/00_core.ipynb"]
    assert "make prepare" in check.message(names)


def test_style():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "nbs", "tests", "bench", "tools",
                           "--output-format", "concise"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_continuous_integration_runs_the_command_of_the_readme():
    text = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "make test" in text and os.access(ROOT / ".ci" / "run", os.X_OK)
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "make lab" in readme and "make test" in readme
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=True)


# ---------------------------------------------------------------------------------------------------- the environment

def shim(folder: Path, name: str, version: str | None) -> Path:
    "A program that says it is this Python, or that does not run."
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho {version}\n" if version else "#!/bin/sh\nexit 127\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def only(tmp_path, monkeypatch):
    "A machine with these Pythons and no other."
    def make(**versions: str | None) -> Path:
        places = [shim(tmp_path / "bin", name.replace("_", "."), version) for name, version in versions.items()]
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.delenv("PYTHON", raising=False)
        monkeypatch.setattr(sys, "executable", str(places[0]))
        return tmp_path / "bin"

    return make


def test_a_newer_python_is_found_by_name(only):
    folder = only(python3="3 9 2", python3_13=None, python3_12="3 12 4", python3_11="3 11 0")
    assert environment.choose_python() == (str(folder / "python3.12"), (3, 12, 4))


def test_a_python_that_is_too_old_is_named(only):
    only(python3="3 9 2")
    with pytest.raises(environment.Mend, match=r"3\.11 or newer.*is 3\.9\.2.*PYTHON=") as caught:
        environment.choose_python()
    assert "Install one" in str(caught.value)


@pytest.mark.parametrize("value, text", [("python-nowhere", "not a Python that runs"),
                                         ("python3", r"3\.9\.2; clnb needs")])
def test_the_variable_python_is_checked(only, monkeypatch, value, text):
    only(python3="3 9 2", python3_12="3 12 4")
    monkeypatch.setenv("PYTHON", value)
    with pytest.raises(environment.Mend, match=text):
        environment.choose_python()


def test_a_small_disk_is_named(monkeypatch):
    little = shutil._ntuple_diskusage(10**11, 10**11, 2 * 10**9)
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda _: little)
    with pytest.raises(environment.Mend, match=r"about 8 GB.*2\.0 GB are free"):
        environment.check_disk(environment.DISK)


@pytest.mark.parametrize("said, text", [
    ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
    ("WARNING: Retrying … NewConnectionError('…: Failed to establish a new connection: Connection refused')\n"
     "ERROR: Could not find a version that satisfies the requirement setuptools>=68 (from versions: none)\n"
     "ERROR: No matching distribution found for setuptools>=68", "cannot be reached"),
    ("socket.gaierror: [Errno -3] Temporary failure in name resolution", "cannot be reached"),
    ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", "certificate"),
    ("ERROR: Could not find a version that satisfies the requirement torch>=2.11 (from versions: none)\n"
     "ERROR: No matching distribution found for torch>=2.11", "offers no torch"),
    ("PermissionError: [Errno 13] Permission denied: 'x'", "may not be written"),
    ("error: package x requires a different Python: 3.11.7 not in '>=3.12'", "another one: PYTHON="),
])
def test_what_pip_says_is_explained(said, text):
    assert text in environment.diagnose(said)
    assert environment.diagnose("something never seen") is None


def test_warnings_of_pip_are_kept_out():
    assert environment.tail("WARNING: a\n\nERROR: b\n  WARNING: c\n[notice] d") == "    ERROR: b"
    said = environment.progress("  Downloading https://x/torch-2.15.0-cp311-none-manylinux.whl (530.1 MB)")
    assert said == "downloading torch (530.1 MB)"
    assert environment.progress("Collecting torch>=2.11 (from clnb==0.1.0)") == "collecting torch"
    assert environment.progress("Installing collected packages: a, b, c") == "unpacking 3 packages, about 5 GB"
    assert environment.progress("WARNING: whatever") is None


@pytest.fixture
def copied(tmp_path):
    "A clone of the project without an environment."
    place = tmp_path / "clone"
    place.mkdir()
    check.copy(place)
    shutil.copy(ROOT / "Makefile", place)
    return place


def made(place: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    "`make …` in a clone."
    env = {**os.environ, **variables}
    return subprocess.run(["make", *arguments], cwd=place, env=env, capture_output=True, text=True, timeout=240)


def test_no_network_says_how_to_mend_it_and_can_be_repeated(copied):
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_EXTRA_INDEX_URL": "", "PIP_CONFIG_FILE": os.devnull,
               "PIP_NO_CACHE_DIR": "1", "PIP_RETRIES": "1", "PYTHON": sys.executable}
    for _ in range(2):
        done = made(copied, "lab", **nowhere)
        assert done.returncode != 0
        assert "package index cannot be reached" in done.stderr and "run the command again" in done.stderr
        assert "Traceback" not in done.stderr + done.stdout and "WARNING" not in done.stderr + done.stdout
        assert (copied / ".venv").exists() and not (copied / ".venv" / "clnb-ready").exists()


def test_a_half_made_environment_is_made_again(copied, monkeypatch):
    monkeypatch.setattr(environment, "VENV", str(copied / ".venv"))
    (copied / ".venv" / "bin").mkdir(parents=True)
    assert not environment.usable((3, 11))
    (copied / ".venv" / "bin" / "python").symlink_to(sys.executable)
    assert not environment.usable((3, 11)), "an environment without pip of its own"
    assert not environment.ready()


def test_packages_unpacked_by_half_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "VENV", str(tmp_path))
    packages = tmp_path / "lib" / "python3.12" / "site-packages"
    for name in ("whole", "half"): (packages / f"{name}-1.dist-info").mkdir(parents=True)
    (packages / "whole-1.dist-info" / "RECORD").touch()
    environment.drop_half_unpacked()
    assert [path.name for path in packages.iterdir()] == ["whole-1.dist-info"]


def test_a_missing_module_venv_is_named(copied, tmp_path):
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nif [ \"$2\" = venv ]; then echo 'No module named venv'; exit 1; fi\n"
                      f"exec {sys.executable} \"$@\"\n")
    python.chmod(0o755)
    done = made(copied, "env", PYTHON=str(python))
    assert done.returncode != 0 and "apt-get install python3" in done.stderr and "-venv" in done.stderr


def test_the_environment_is_recognised_at_once():
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "environment.py")], capture_output=True, text=True)
    if sys.prefix == environment.VENV:
        assert done.returncode == 0 and not done.stdout


def test_help_lists_the_commands(copied):
    done = made(copied)
    assert done.returncode == 0 and "make lab" in done.stdout and "make test" in done.stdout


# ------------------------------------------------------------------------------------------------------- JupyterLab

def start_lab(**variables: str) -> subprocess.Popen:
    "`make lab` once the environment is there, without a display."
    env = {**os.environ, "CLNB_NO_DISPLAY": "1", **variables}
    return subprocess.Popen([sys.executable, str(ROOT / "tools" / "lab.py"), "start_here"], env=env, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def test_lab_opens_the_lesson_without_a_display():
    lab = start_lab()
    try:
        seen = ""
        while "http://" not in seen:
            line = lab.stdout.readline()
            assert line, lab.stderr.read()
            seen += line
        url = re.search(r"http://\S+", seen).group(0)
        token, host = url.split("token=")[1], url.split("/lab")[0]
        with urllib.request.urlopen(f"{host}/api/contents/nbs/start_here.ipynb?content=0&token={token}") as answer:
            assert b"start_here.ipynb" in answer.read()
        lab.send_signal(signal.SIGINT)
        rest, errors = lab.communicate(timeout=30)
        assert lab.returncode == 0 and "Traceback" not in errors and "Ending JupyterLab" in rest
    finally:
        if lab.poll() is None: lab.kill()


@pytest.mark.parametrize("port", ["high", "0", "70000"])
def test_lab_explains_a_wrong_port(port):
    _, errors = start_lab(PORT=port).communicate(timeout=60)
    assert "number from 1 to 65535" in errors and "Traceback" not in errors


def test_lab_explains_a_port_that_is_taken():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        lab = start_lab(PORT=str(port))
        _, errors = lab.communicate(timeout=60)
    assert lab.returncode == 1 and f"Port {port} is taken" in errors and "PORT=" in errors


# -------------------------------------------------------------------------------------------------------- the browser

def test_no_package_manager_means_a_clear_skip(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(chromium, "candidates", lambda: [])
    assert chromium.install(tmp_path / "log") == 0
    assert "will be skipped" in capsys.readouterr().out


def test_a_failed_installation_says_what_to_do(tmp_path, monkeypatch, capsys):
    shim(tmp_path / "bin", "apt-get", None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(chromium, "candidates", lambda: [])
    monkeypatch.setattr(chromium, "privilege", lambda: [])
    monkeypatch.setattr(chromium, "run", lambda command, log: log.write_text("E: no network") is None)
    assert chromium.install(tmp_path / "log") == 1
    assert "E: no network" in (said := capsys.readouterr().out) and "CLNB_CHROMIUM" in said
