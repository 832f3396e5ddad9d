"""Every notebook is executed, in a real kernel and from top to bottom; and what is committed is fit to be read."""

import ast
import json
import re
from pathlib import Path

import nbformat
import pytest

from tools.execute import COLOURS, HERE, NBS, PRIVATE, WIDGET, outputs, run

ROOT = NBS.parent
NOTEBOOKS = sorted(NBS.glob("*.ipynb"))
LINES = {"functions": 60, "a class": 90}   # of logic in a code cell; the goals are 20 and 30
BYTES = 1_000_000     # of a notebook
everyone = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.mark.timeout(900)
@everyone
def test_runs_from_top_to_bottom(path):
    before = {file for file in NBS.iterdir() if file.suffix != ".ipynb"}
    try:
        notebook, missing = run(path)
    except Exception as error:
        pytest.fail(COLOURS.sub("", str(error)), pytrace=False)
    assert not missing
    assert not [output for _, _, output in outputs(notebook) if WIDGET in output.get("data", {})]
    left = {file.name for file in NBS.iterdir() if file.suffix != ".ipynb"} - {file.name for file in before}
    assert not {name for name in left if not name.startswith(("runs", ".", "claims"))}, f"left behind in nbs/: {left}"


@everyone
def test_is_a_valid_notebook(path):
    notebook = json.loads(path.read_text("utf-8"))
    nbformat.validate(notebook)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert "widgets" not in notebook["metadata"], "widget state is saved: run make prepare"
    assert path.stat().st_size <= BYTES, f"{path.stat().st_size} bytes: leave out outputs, or make pictures smaller"


@everyone
def test_outputs_are_fit_for_readers(path):
    for i, _, output in outputs(nbformat.read(path, 4)):
        assert output.output_type != "error", f"cell {i} is saved with an error: run make notebooks ONLY={path.stem}"
        data = output.get("data", {})
        assert WIDGET not in data, f"cell {i} is saved with a widget instead of its picture: run make notebooks"
        said = output.get("text", "") + data.get("text/plain", "")
        found = PRIVATE.search(said)
        assert not found, f"cell {i} shows a path of the machine it was run on: {found and found.group(0)}"


def logic(source: str) -> tuple[int, str]:
    "Lines of a cell without blank lines, comments, signatures and docstrings; and what they are."
    tree = ast.parse("\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines()))
    kept = {i for i, line in enumerate(source.splitlines(), 1) if line.strip() and not line.lstrip().startswith("#")}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            kept -= set(range(node.lineno + 1, node.body[0].lineno))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and ast.get_docstring(node):
            kept -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(kept), "a class" if any(isinstance(node, ast.ClassDef) for node in tree.body) else "functions"


@everyone
def test_cells_are_short(path):
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    sizes = {re.sub(r"^(#.*\n)+", "", source).split("\n")[0]: logic(source) for source in cells}
    long = {first: count for first, (count, kind) in sizes.items() if count > LINES[kind]}
    assert not long, f"make two cells of each of these (lines of logic): {long}"


def test_logic_leaves_out_what_is_not_logic():
    source = '#| export\ndef f(\n    x: int,  # a\n    y: int,  # b\n) -> int:\n    "Sum."\n    # all\n    return x + y'
    assert logic(source) == (2, "functions")
    assert logic("%time x = 1\nclass A:\n    'a'\n    b = 1") == (3, "a class")


@everyone
def test_sources_name_no_machine(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, 4).cells)
    assert not re.search(rf"{HERE}|/tmp/|/root/|/home/\w|/Users/\w|!\s*pip|%pip", text)


def test_order_of_reading():
    names = [path.stem for path in NOTEBOOKS]
    assert {"index", "start_here", "00_core", "10_simclr"} <= set(names)
    assert all(re.match(r"(index|start_here|\d\d[a-z]?_\w+)$", name) for name in names), names


def test_readme_links_lead_somewhere():
    text = (ROOT / "README.md").read_text("utf-8")
    targets = [t for t in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:|#", t)]
    missing = [target for target in targets if not (ROOT / target.partition("#")[0]).exists()]
    assert not missing, f"README.md links to what is not there: {missing}"
    pictures = [Path(target) for target in targets if target.endswith(".png")]
    assert all((ROOT / picture).stat().st_size <= 60_000 for picture in pictures)
