"""Execute notebooks in a kernel, as "restart and run all" does, and save them for readers.

    python tools/execute.py [NAME ...] [--check] [--pages DIR]

Without names, all of nbs/. A widget's output is replaced by the picture of its final state, so that a notebook read
without a kernel still shows it; with --pages by the page that the view writes (`view.to_html()`), and the notebooks are
saved in DIR instead of nbs/. With --check nothing is saved. CLNB_SCALE is `teach` when it is not set.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).resolve().parents[1]
NBS = ROOT / "nbs"
WIDGET = "application/vnd.jupyter.widget-view+json"
PICTURE_LIMIT, NOTEBOOK_LIMIT = 60_000, 1_000_000   # bytes of one PNG, and of a notebook
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
HERE = rf"(?<![\w.]){re.escape(f'/{ROOT.parts[1]}/')}"      # an absolute path to where this checkout lies
PRIVATE = re.compile(rf"(?:{HERE}|/home/|/root/|/tmp/|/Users/|/private/)[^\s'\"]*")

# Runs in the kernel after the last cell: model id -> picture (base64 PNG), page (HTML), or whether it may go.
ASK = r'''
def _clnb_final(model_ids, pages):
    import base64, io, json, warnings
    from ipywidgets.widgets import widget as registry

    def pictures_of(view):
        if hasattr(view, "static"):
            made = view.static()
            png = made._repr_png_() if hasattr(made, "_repr_png_") else None
            return [png] if png else []
        return [picture for child in getattr(view, "children", ()) for picture in [stacked(child)] if picture]

    def stacked(view):
        found = pictures_of(view)
        if len(found) < 2:
            return found[0] if found else None
        from PIL import Image
        parts = [Image.open(io.BytesIO(png)).convert("RGB") for png in found]
        beside = type(view).__name__ == "HBox" and sum(part.width for part in parts) <= 1200
        size = (sum(p.width for p in parts), max(p.height for p in parts)) if beside else (
            max(p.width for p in parts), sum(p.height for p in parts))
        sheet, at = Image.new("RGB", size, "white"), 0
        for part in parts:
            sheet.paste(part, (at, 0) if beside else (0, at))
            at += part.width if beside else part.height
        file = io.BytesIO()
        sheet.save(file, "PNG", optimize=True)
        return file.getvalue()

    def html_of(view):
        if hasattr(view, "to_html"):
            return view.to_html()
        parts = [part for child in getattr(view, "children", ()) for part in [html_of(child)] if part]
        flow = "row" if type(view).__name__ == "HBox" else "column"
        style = f"display:flex;flex-direction:{flow};gap:8px"
        return f'<div style="{style}">{"".join(f"<div style=flex:1>{p}</div>" for p in parts)}</div>' if parts else None

    def is_progress(view):
        return "Progress" in type(view).__name__ or any(map(is_progress, getattr(view, "children", ())))

    answers = {}
    for model_id in model_ids:
        view = registry._instances.get(model_id)
        if view is None:
            answers[model_id] = {"missing": True}
            continue
        html = html_of(view) if pages else None
        png = None if html else stacked(view)
        answers[model_id] = {"html": html, "png": base64.b64encode(png).decode() if png else None,
                             "progress": is_progress(view)}
    print(json.dumps(answers))
'''


def names_to_run(names: list[str]) -> list[Path]:
    """The notebooks that were asked for; all of nbs/ when none was."""
    there = sorted(NBS.glob("*.ipynb"))
    if not names:
        return [path for path in there if path.stem != "index"]
    chosen = [NBS / f"{Path(name).stem}.ipynb" for name in names]
    for path in chosen:
        if not path.exists():
            known = ", ".join(p.stem for p in there)
            raise SystemExit(f"There is no notebook {path.stem!r} in nbs/; there are: {known}.")
    return chosen


def client_for(notebook: NotebookNode) -> NotebookClient:
    """A client whose kernel works in nbs/."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.metadata.pop("execution", None)
    notebook.metadata.pop("widgets", None)
    return NotebookClient(notebook, timeout=None, kernel_name="python3", store_widget_state=False, record_timing=False,
                          extra_arguments=["--log-level=ERROR"], resources={"metadata": {"path": str(NBS)}})


def ask(client: NotebookClient, code: str) -> str:
    """Run code in the kernel, outside the notebook; what it printed. Raises `RuntimeError` with the traceback."""
    cell = new_code_cell(code)
    client.nb.cells.append(cell)
    try:
        client.execute_cell(cell, len(client.nb.cells) - 1, store_history=False)
    except CellExecutionError as error:
        raise RuntimeError(COLOURS.sub("", str(error))) from None
    finally:
        client.nb.cells.pop()
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")


def outputs(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode, NotebookNode]]:
    """Every output with its cell and the cell's number."""
    for i, cell in enumerate(notebook.cells):
        for output in list(cell.get("outputs", [])):
            yield i, cell, output


def still(client: NotebookClient, pages: bool) -> list[str]:
    """Replace every widget by its final picture or page; returns what could not be drawn."""
    views = [(i, cell, output) for i, cell, output in outputs(client.nb) if WIDGET in output.get("data", {})]
    if not views:
        return []
    ids = [output.data[WIDGET]["model_id"] for _, _, output in views]
    answers = json.loads(ask(client, f"{ASK}\n_clnb_final({ids!r}, {pages})").splitlines()[-1])
    missing = []
    for (i, cell, output), model_id in zip(views, ids, strict=True):
        answer = answers[model_id]
        del output.data[WIDGET]
        if answer.get("html"):
            output.data.clear()
            output.data["text/html"] = answer["html"]
        elif answer.get("png"):
            output.data.clear()
            output.data["image/png"] = smaller(answer["png"])
            output.data["text/plain"] = "<the final state of the view>"
        elif answer.get("progress") or not output.data:
            cell.outputs.remove(output)
        elif answer.get("missing"):
            missing.append(f"cell {i}: its widget was closed before the end, so that there is no picture of it")
    return missing


def smaller(png: str) -> str:
    """A PNG (base64) over the limit with a palette of 256 colours; others as they are."""
    raw = base64.b64decode(png)
    if len(raw) <= PICTURE_LIMIT:
        return png
    from PIL import Image

    file = io.BytesIO()
    Image.open(io.BytesIO(raw)).convert("RGB").quantize(256).save(file, "PNG", optimize=True)
    return base64.b64encode(min(raw, file.getvalue(), key=len)).decode()


def tidy(notebook: NotebookNode) -> None:
    """Leave out what changes from one execution to the next and what nobody reads."""
    from nbdev.clean import clean_nb
    from nbdev.config import get_config

    os.chdir(ROOT)   # where nbdev finds settings.ini
    get_config()
    for _, cell, output in outputs(notebook):
        if output.output_type == "stream":   # a progress bar overwrites its line: keep the last state
            output.text = re.sub(r"[^\n]*\r(?!\n)", "", output.text)
            if not output.text.strip():
                cell.outputs.remove(output)
        if "image/png" in output.get("data", {}):
            output.data["image/png"] = smaller(output.data["image/png"])
    clean_nb(notebook)


def judge(notebook: NotebookNode, text: str) -> tuple[list[str], list[str]]:
    """What must be mended, and what should be: sizes, and paths of this machine in outputs."""
    wrong, warn = [], []
    if len(text.encode()) > NOTEBOOK_LIMIT:
        wrong.append(f"the notebook has {len(text.encode()) / 1e6:.1f} MB, more than {NOTEBOOK_LIMIT / 1e6:.0f} MB")
    for i, _, output in outputs(notebook):
        png = output.get("data", {}).get("image/png")
        if png and len(png) * 3 // 4 > PICTURE_LIMIT:
            warn.append(f"cell {i}: a picture of {len(png) * 3 // 4000} kB, more than {PICTURE_LIMIT // 1000} kB")
        said = "".join([output.get("text", ""), output.get("data", {}).get("text/plain", "")])
        if path := PRIVATE.search(said):
            warn.append(f"cell {i}: its output names a path of this machine, {path.group(0)}")
    return wrong, warn


def run(path: Path, pages: bool = False) -> tuple[NotebookNode, list[str]]:
    """Execute one notebook; returns it with final pictures, and what could not be drawn. Raises CellExecutionError."""
    notebook = nbformat.read(path, 4)
    client = client_for(notebook)
    with client.setup_kernel():
        for i, cell in enumerate(notebook.cells):
            client.execute_cell(cell, i)
        client.set_widgets_metadata()
        missing = still(client, pages)
    notebook.metadata.pop("widgets", None)
    return notebook, missing


def work(path: Path, save: Path | None, pages: bool) -> bool:
    """Execute one notebook and report; True when all is well."""
    began = time.monotonic()
    try:
        notebook, warn = run(path, pages)
    except (CellExecutionError, RuntimeError) as error:
        print(f"{path.stem}: FAILED after {time.monotonic() - began:.1f} s\n{COLOURS.sub('', str(error))}", flush=True)
        return False
    wrong: list[str] = []
    pictures = sum("image/png" in output.get("data", {}) for _, _, output in outputs(notebook))
    tidy(notebook)
    text = nbformat.writes(notebook)
    if not pages:
        wrong, more = judge(notebook, text)
        warn = [*warn, *more]
    if save and not wrong:
        from nbdev.clean import write_nb

        write_nb(json.loads(text), save / path.name)
    seconds, size = time.monotonic() - began, len(text.encode()) / 1e3
    print(f"{path.stem}: {seconds:.1f} s, {pictures} pictures, {size:.0f} kB", flush=True)
    for kind, notes in (("  to be mended:", wrong), ("  note:", warn)):
        for note in notes: print(kind, note, flush=True)
    return not wrong


def main() -> int:
    """Entry point; the exit code is 1 when a notebook failed."""
    parser = argparse.ArgumentParser(description="Execute notebooks and save them with their outputs.")
    parser.add_argument("names", nargs="*", help="notebooks of nbs/, without ending; all when none is given")
    parser.add_argument("--check", action="store_true", help="save nothing")
    parser.add_argument("--pages", type=Path, help="save notebooks whose views work without a kernel in this folder")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time")
    given = parser.parse_args()
    os.environ.setdefault("CLNB_SCALE", "smoke" if given.check else "teach")
    paths = names_to_run(given.names)
    save = None if given.check else given.pages or NBS
    if save: save.mkdir(parents=True, exist_ok=True)
    count = f"{len(paths)} notebook{'s' * (len(paths) > 1)}"
    print(f"Executing {count} at CLNB_SCALE={os.environ['CLNB_SCALE']} …", flush=True)
    with ThreadPoolExecutor(given.jobs) as pool:
        well = list(pool.map(lambda path: work(path, save, bool(given.pages)), paths))
    failed = [path.stem for path, good in zip(paths, well, strict=True) if not good]
    if failed:
        print(f"Not saved, because they failed: {', '.join(failed)}" if save else f"Failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
