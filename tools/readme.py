"""Write README.md from nbs/index.ipynb.

A line `<!-- claims -->`, `<!-- notebooks -->` or `<!-- benchmarks -->` in the notebook is followed in the README by the
table of that name. Links that are relative to nbs/ are made relative to the project.
"""

from __future__ import annotations

import json
import posixpath
import re
import sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[1]
VERDICTS = {True: "yes", False: "**no**", None: "not evaluated"}


def cell_of(text: object) -> str:
    """Text as one cell of a Markdown table."""
    return re.sub(r"\s+", " ", str(text)).replace("|", "\\|").strip()


def table(head: list[str], rows: list[list[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell_of(item) for item in line) + " |" for line in lines)


def number(value: float | None) -> str:
    """Three significant digits."""
    if value is None:
        return "–"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def claims(root: Path) -> str:
    """The table of claims: statement, source, effect with interval, seeds, scale, verdict."""
    file = root / "nbs" / "claims.json"
    rows = json.loads(file.read_text("utf-8")) if file.exists() else []
    if not rows:
        return "No claim has been evaluated yet: `make claims` does it."
    lines = []
    for row in rows:
        known = row["effect"] is not None
        effect = f"{number(row['effect'])} [{number(row['low'])}, {number(row['high'])}] {row['unit']}".strip()
        lines.append([row["method"], row["statement"], row["source"], effect if known else "–", row["seeds"],
                      row["scale"], VERDICTS[row["holds"]]])
    return table(["lesson", "claim", "source", "effect [95 % interval]", "seeds", "scale", "holds"], lines)


def heading(path: Path) -> tuple[str, str]:
    """Title and first quoted sentence of a notebook."""
    first = next(cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown").source
    title = re.search(r"^#\s+(.+)$", first, re.M)
    quote = re.search(r"^>\s+(.+(?:\n>.*)*)", first, re.M)
    return title.group(1) if title else path.stem, re.sub(r"\n>\s*", " ", quote.group(1)) if quote else ""


def notebooks(root: Path) -> str:
    """The map of the notebooks, in the order of reading."""
    rows = []
    for path in sorted((root / "nbs").glob("*.ipynb"), key=lambda p: (p.stem != "start_here", p.stem)):
        if path.stem != "index":
            title, about = heading(path)
            rows.append([f"[{path.stem}]({path.name})", title, about])
    return table(["notebook", "title", "what it shows"], rows)


def benchmarks(root: Path) -> str:
    """The tables of bench/results/, one after the other."""
    files = sorted((root / "bench" / "results").glob("*.md"))
    texts = [re.sub(r"^#+ ", "### ", path.read_text("utf-8").strip()) for path in files]
    return "\n\n".join(texts) or "No benchmark has been run yet: `make bench` does it."


TABLES = {"claims": claims, "notebooks": notebooks, "benchmarks": benchmarks}


def relink(text: str) -> str:
    """Links relative to nbs/ as links relative to the project."""
    def move(found: re.Match) -> str:
        target = found.group(1)
        if re.match(r"[a-z]+:|#|/", target):
            return found.group(0)
        return f"]({posixpath.normpath(posixpath.join('nbs', target))})"

    return re.sub(r"\]\(([^)\s]+)\)", move, text)


def render(root: Path = ROOT) -> str:
    """The text of README.md."""
    notebook = nbformat.read(root / "nbs" / "index.ipynb", 4)
    text, resources = MarkdownExporter().from_notebook_node(notebook)
    if resources.get("outputs"):
        raise SystemExit("nbs/index.ipynb has pictures in its outputs; save them under nbs/images/ and link them")
    for name, make in TABLES.items():
        mark = f"<!-- {name} -->"
        text = text.replace(mark, f"{mark}\n{make(root)}")
    text = relink(text)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def main() -> int:
    """Entry point."""
    (ROOT / "README.md").write_text(render(), "utf-8")
    print("Wrote README.md from nbs/index.ipynb.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
