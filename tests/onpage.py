"""What a reader's hands and eyes do with a view on an open page. Needs no browser to be imported.

`page` is what `open_page` or `open_notebook` gives (see browser.py); `which` counts the views, or the canvases, on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def root(page: Any, which: int = 0) -> Any:
    """The element of a view."""
    return page.page.locator(".clnb").nth(which)


def said(page: Any, which: int = 0) -> dict[str, str]:
    """What a view tells in its data attributes."""
    return root(page, which).evaluate("e => ({...e.dataset})")


def wait(page: Any, time: int = 250) -> None:
    """Milliseconds for the page to paint."""
    page.page.wait_for_timeout(time)


def press(page: Any, *keys: str) -> None:
    """Keys, with the first view in focus."""
    root(page).focus()
    for key in keys: page.page.keyboard.press(key)
    wait(page)


def button(page: Any, name: str) -> Any:
    """The button with this label."""
    return page.page.get_by_role("button", name=name, exact=True)


def canvas(page: Any, which: int = 0) -> Any:
    """Where a view draws."""
    return page.page.locator("canvas.clnb-canvas").nth(which)


def place(page: Any, x: float, y: float) -> tuple[float, float]:
    """Window coordinates of pixels of the first canvas."""
    canvas(page).scroll_into_view_if_needed()
    box = canvas(page).bounding_box()
    return float(box["x"] + x), float(box["y"] + y)


def in_both_themes(chromium: Any, path: Path, width: int) -> Iterator[Any]:
    """A page in a window of this width, light and then dark: nothing sticks out of it, and the ink is another one."""
    inks = []
    for scheme in ("light", "dark"):
        context = chromium.new_context(viewport={"width": width, "height": 900}, offline=True, color_scheme=scheme)
        sheet = context.new_page()
        sheet.goto(path.resolve().as_uri())
        sheet.wait_for_timeout(600)
        wide, inside = sheet.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= inside
        yield sheet
        inks.append(sheet.evaluate("getComputedStyle(document.querySelector('.clnb')).color"))
        context.close()
    assert inks[0] != inks[1]
