"""What becomes of a notebook's widgets and claims when the tools execute it."""

import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools import claims, execute, readme

VIEW = """\
import anywidget, functools, ipywidgets
from clnb.core import Picture, claim, scale
class View(anywidget.AnyWidget):
    _esm, steps = "export default {render({el}) {el.innerText = 1}}", 1
    def static(self):
        figure = Picture(2, 1)
        figure.panel(title=str(self.steps))
        return figure
    def to_html(self): return f"<iframe srcdoc='{self.steps}'></iframe>"
view, other = View(), View()"""
CLAIMS = """\
@functools.cache
def trained(seed): return {"smoke": 0, "teach": 5}[scale()]
trained(0)
@claim("try-good", method="try", statement="It grows", source="here", unit="points", at_least=1, seeds=range(3))
def good(seed): return trained(seed) + seed / 10
@claim("try-bad", method="try", statement="It breaks", source="here", unit="", at_most=1, seeds=range(3))
def bad(seed): return 1 / 0"""


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    "A small notebook with views, a bar of progress and claims."
    cells = [VIEW, "view", "ipywidgets.VBox([view, ipywidgets.HBox([other]), ipywidgets.Button()])",
             "from tqdm.notebook import tqdm\nfor _ in tqdm(range(3)): pass", "ipywidgets.IntSlider()",
             "print('1 %\\r50 %\\r99 %')", CLAIMS, "view.steps = 7"]
    notebook = new_notebook(cells=[new_markdown_cell("# Try\n\n> It is\n> tried."), *map(new_code_cell, cells)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "python3", "language": "python"}
    path = tmp_path_factory.mktemp("book") / "try.ipynb"
    nbformat.write(notebook, path)
    return path


@pytest.mark.parametrize("pages, kind", [(False, "image/png"), (True, "text/html")])
def test_widgets_become_pictures_or_pages(book, pages, kind):
    notebook, missing = execute.run(book, pages)
    execute.tidy(notebook)
    found = [(list(output.get("data", {})), output.get("text")) for _, _, output in execute.outputs(notebook)]
    assert missing == []
    assert [kind in data for data, _ in found] == [True, True, False, False]
    assert found[2][0] == ["text/plain"] and found[3][1] == "99 %\n"
    assert not any(execute.WIDGET in data for data, _ in found) and "widgets" not in notebook.metadata
    if pages:   # the final state, not the one when the cell ran
        assert "srcdoc='7'" in notebook.cells[2].outputs[0].data["text/html"]
    assert execute.judge(notebook, "x" * 2_000_000)[0]


def test_claims_are_evaluated_per_seed(book, monkeypatch, tmp_path):
    monkeypatch.setenv("CLNB_SCALE", "teach")
    with claims.Lesson(book, 1) as lesson:
        about = {claim["id"]: claim for claim in lesson.claims}
        seeds = {seed: lesson.effects("teach", seed) for seed in range(3)}
    assert seeds[1]["try-good"] == {"effect": 5.1} and "ZeroDivisionError" in seeds[1]["try-bad"]["error"]
    rows = [claims.row_of(about[id], {s: found[id] for s, found in seeds.items()}, "teach") for id in about]
    monkeypatch.setattr(claims, "FILE", tmp_path / "nbs" / "claims.json")
    (tmp_path / "nbs").mkdir()
    claims.write(rows)
    bad, good = json.loads((tmp_path / "nbs" / "claims.json").read_text("utf-8"))
    assert set(good) == {"id", "method", "statement", "source", "effect", "low", "high", "unit", "seeds", "scale",
                         "holds"}
    assert good["holds"] is True and good["effect"] == 5.1 and good["scale"] == "teach" and good["seeds"] == 3
    assert bad["holds"] is None and bad["effect"] is None
    table = readme.claims(tmp_path).splitlines()
    assert len(table) == 4 and "not evaluated" in table[2]
    assert "5.1 [4.85, 5.35] points" in table[3] and "yes" in table[3]


def test_readme_parts(book):
    assert readme.heading(book) == ("Try", "It is tried.")
    assert readme.relink("[a](10_simclr.ipynb) [b](../LICENSE) [c](https://x.org) [d](#e) ![f](images/g.png)") == (
        "[a](nbs/10_simclr.ipynb) [b](LICENSE) [c](https://x.org) [d](#e) ![f](nbs/images/g.png)")
    assert readme.table(["a"], [["b|c\nd"]]).splitlines()[2] == "| b\\|c d |"
