"""Fixtures that open notebooks and pages in a real browser; browser.py says how they are used."""

import os
from pathlib import Path

import pytest

BROWSER = {"lab", "classic", "chromium", "page", "open_notebook", "make_notebook", "make_classic", "open_page"}


def pytest_collection_modifyitems(items):
    """Tests that use the browser run one after the other, in one process, and may take longer."""
    for item in items:
        if BROWSER & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(600))
    # the long ones first, so that no process is left with one at the end
    items.sort(key=lambda item: (not item.get_closest_marker("browser"), "top_to_bottom" not in item.name))


@pytest.fixture(scope="module")
def chromium():
    "A running browser. Per module, so that its event loop is gone when other tests need one."
    if os.environ.get("CLNB_NO_BROWSER"):
        pytest.skip("CLNB_NO_BROWSER is set")
    from browser import launch
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = launch(playwright)
        if not started:
            pytest.skip("no Chromium or Chrome on this machine: `make browser` says how to get one")
        yield started
        started.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    "A JupyterLab server."
    from browser import Lab

    server = Lab(tmp_path_factory.mktemp("lab")).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def classic(tmp_path_factory):
    "A Notebook 7 server."
    from browser import Classic

    server = Classic(tmp_path_factory.mktemp("classic")).start()
    yield server
    server.stop()


@pytest.fixture
def page(chromium):
    "An empty page of the browser, 1280 × 900."
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


@pytest.fixture
def open_notebook(page, lab):
    "Function: name of a notebook in nbs/ -> browser.Notebook."
    from browser import Notebook

    opened = []

    def open_one(name: str) -> Notebook:
        opened.append(Notebook(page, lab, f"book/nbs/{name}.ipynb"))
        return opened[-1]

    yield open_one
    for book in opened: book.close()


def notebooks_of(page, host, request):
    "Yields a function: code cells -> browser.Notebook made of them on `host`."
    from browser import Notebook

    opened = []

    def make_one(*cells: str) -> Notebook:
        name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
        opened.append(Notebook(page, host, host.write(f"{name}-{len(opened)}.ipynb", cells)))
        return opened[-1]

    yield make_one
    for book in opened: book.close()


@pytest.fixture
def make_notebook(page, lab, request):
    "Function: code cells -> browser.Notebook made of them."
    yield from notebooks_of(page, lab, request)


@pytest.fixture
def make_classic(page, classic, request):
    "Function: code cells -> browser.Notebook made of them, in Notebook 7."
    yield from notebooks_of(page, classic, request)


@pytest.fixture
def open_page(chromium):
    "Function: path of an .html file -> browser.Sheet, opened from disk with the network off."
    from browser import Sheet

    contexts = []

    def open_one(path: str | Path) -> Sheet:
        contexts.append(chromium.new_context(viewport={"width": 1280, "height": 900}, offline=True))
        sheet = Sheet(contexts[-1].new_page())
        sheet.page.goto(Path(path).resolve().as_uri(), wait_until="load")
        sheet.page.wait_for_timeout(500)
        return sheet

    yield open_one
    for context in contexts: context.close()
