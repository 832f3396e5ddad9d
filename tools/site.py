"""Write the notebooks as pages into _site/: views that hover and rewind without a kernel and without a network.

    python tools/site.py [NAME ...]

Each page is one file. Formulas are written as MathML, which browsers draw themselves.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from nbformat.v4 import new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.execute import NBS, names_to_run
from tools.readme import heading, render

SITE, PAGES = ROOT / "_site", ROOT / "build" / "pages"


def exporter() -> HTMLExporter:
    """Pages that ask no other machine for anything."""
    page = HTMLExporter(template_name="lab", exclude_anchor_links=True, exclude_input_prompt=True,
                        exclude_output_prompt=True)
    page.mathjax_url = page.require_js_url = page.jquery_url = page.jupyter_widgets_base_url = ""
    return page


def formulas(markdown: str) -> str:
    """LaTeX in Markdown as MathML; left as it is where that is not possible."""
    from latex2mathml.converter import convert

    def block(found: re.Match) -> str:
        try:
            return convert(found.group(1).strip(), display="block" if found.group(0).startswith("$$") else "inline")
        except Exception:   # a formula that the converter does not know stays readable as LaTeX
            return found.group(0)

    parts = re.split(r"(```.*?```|`[^`\n]*`)", markdown, flags=re.S)   # code keeps its dollars
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"\$\$(.+?)\$\$", block, parts[i], flags=re.S)
        parts[i] = re.sub(r"(?<![\\$\w])\$([^\s$](?:[^$\n]*[^\s$])?)\$(?![\w$])", block, parts[i])
    return "".join(parts)


# A page of views says how high it is (page.js): its frame gets this height, so that nothing is cut off.
HEIGHTS = """<script>
addEventListener("message", (event) => {
  const height = Number(event.data?.clnbHeight);
  if (!(height > 0)) return;
  for (const frame of document.querySelectorAll("iframe"))
    if (frame.contentWindow === event.source) frame.style.height = `${Math.min(height, 5000)}px`;
});
</script>
"""


def write(notebook: nbformat.NotebookNode, name: str, title: str, folder: Path = SITE) -> Path:
    """One page; returns its path."""
    for cell in list(notebook.cells):
        if cell.cell_type == "code":   # what is said to nbdev is not said to readers
            hidden = re.search(r"^#\|\s*(hide|default_exp)", cell.source)
            cell.source = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.M)
            if hidden and not (cell.source.strip() and "default_exp" in hidden.group(0)): notebook.cells.remove(cell)
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"(\]\((?![a-z]+:)[^)#\s]*)\.ipynb([)#])", r"\1.html\2", formulas(cell.source))
    text, _ = exporter().from_notebook_node(notebook, {"metadata": {"name": title}})
    text = re.sub(r'<script[^>]+src="[^"]*"[^>]*>\s*</script>', "", text)
    inside = r"(?:(?!</script>).)*"
    text = re.sub(rf"<script[^>]*>{inside}(?:MathJax|require\.config){inside}</script>", "", text, flags=re.S)
    text = text.replace("</head>", f"{HEIGHTS}</head>", 1)   # before the frames, so that none is heard too late
    path = folder / f"{name}.html"
    path.write_text(text, "utf-8")
    return path


def main() -> int:
    """Entry point."""
    os.environ.setdefault("CLNB_SCALE", "teach")
    names = [path.stem for path in names_to_run(sys.argv[1:])]
    command = [sys.executable, str(ROOT / "tools" / "execute.py"), "--pages", str(PAGES), *names]
    made = subprocess.run(command, check=False)
    SITE.mkdir(exist_ok=True)
    for name in names:
        if (PAGES / f"{name}.ipynb").exists():
            write(nbformat.read(PAGES / f"{name}.ipynb", 4), name, heading(NBS / f"{name}.ipynb")[0])
    front = render().replace("](nbs/", "](")
    write(new_notebook(cells=[new_markdown_cell(front)]), "index", "clnb")
    for folder in ("images",):
        if (NBS / folder).is_dir():
            (SITE / folder).mkdir(exist_ok=True)
            for file in (NBS / folder).iterdir(): (SITE / folder / file.name).write_bytes(file.read_bytes())
    print(f"Wrote {len(list(SITE.glob('*.html')))} pages; open _site/index.html in a browser.")
    return made.returncode


if __name__ == "__main__":
    sys.exit(main())
