"""The lessons with widgets in a real JupyterLab: every cell runs, every widget is drawn, nothing complains."""

import json
from pathlib import Path

import pytest

NBS = Path(__file__).resolve().parents[1] / "nbs"


def shows_views(path: Path) -> bool:
    """Does a notebook import the views?"""
    code = ["".join(c["source"]) for c in json.loads(path.read_text("utf-8"))["cells"] if c["cell_type"] == "code"]
    return any("clnb.views" in cell for cell in code)


LESSONS = sorted(path.stem for path in NBS.glob("*.ipynb") if shows_views(path))


@pytest.mark.parametrize("name", LESSONS)
def test_lesson_in_jupyterlab(open_notebook, name):
    book = open_notebook(name).run_all(timeout=400)
    try:
        book.check()
    finally:
        book.shots(name)


def test_a_fault_is_seen(make_notebook):
    book = make_notebook("1 / 0", "2", "import ipywidgets; ipywidgets.IntSlider()").run_all()
    problems = book.problems()
    assert any("ZeroDivisionError" in problem for problem in problems)
    assert any("cell 1 was not run" in problem for problem in problems)


def test_a_widget_answers(make_notebook):
    book = make_notebook("import ipywidgets", "slider = ipywidgets.IntSlider(3, 0, 10); slider").run_all().check()
    book.slide(book.widget("slider").locator(".noUi-handle"), 2)
    assert book.kernel("print(slider.value)") == "5"
    assert [view["cell"] for view in book.widgets()] == [1]


def test_an_error_in_a_callback_is_seen(make_notebook):
    book = make_notebook("import ipywidgets",
                         "button = ipywidgets.Button(description='fail')\nbutton.on_click(lambda _: 1 / 0)\nbutton")
    book.run_all().check()
    book.widget("button").get_by_role("button").click()
    book.page.wait_for_timeout(500)
    assert any("ZeroDivisionError" in problem for problem in book.problems())


def test_a_page_from_disk(open_page, tmp_path):
    file = tmp_path / "page.html"
    file.write_text("<canvas id=c></canvas><script>c.getContext('2d').fillRect(0, 0, 9, 9); fetch('https://x.org')</script>")
    sheet = open_page(file)
    assert sheet.painted() == 1
    assert any("x.org" in problem for problem in sheet.problems())
