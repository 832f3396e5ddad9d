"""The lessons with widgets in a real JupyterLab: every cell runs, every widget is drawn, nothing complains."""

import json
import subprocess
import sys
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


@pytest.mark.parametrize("name", ["07a_live"])
def test_lesson_as_a_page_without_kernel_and_network(open_page, tmp_path, name):
    import nbformat

    from tools import execute, site

    command = [sys.executable, execute.__file__, name, "--pages", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    notebook = nbformat.read(tmp_path / f"{name}.ipynb", 4)
    pages = sum("<iframe" in output.get("data", {}).get("text/html", "") for _, _, output in execute.outputs(notebook))
    sheet = open_page(site.write(notebook, name, name, tmp_path))
    frames = sheet.page.locator("iframe")
    for i in range(frames.count()):
        frames.nth(i).scroll_into_view_if_needed()
        sheet.page.wait_for_timeout(300)
    drawn = [seen for seen in sheet.frames_seen()[1:] if seen["painted"] or seen["parts"] or seen["text"]]
    assert frames.count() == len(drawn) >= pages > 0
    assert not sheet.problems()
    sheet.shot(f"page-{name}", frames.first)


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
