"""ImageGrid and LogitMatrix in a real browser, as pages without a kernel."""

import numpy as np
import pytest
import torch

from clnb.losses import nt_xent
from clnb.views.pictures import ImageGrid, LogitMatrix, row_softmax, similarities

NASTY = "<img src=x onerror=window.hacked=1>"
CLASSES = ["zero", NASTY, "</script><b>two</b>"]


def data(page):
    """What the view says about itself."""
    return page.locator(".clnb").first.evaluate("e => ({...e.dataset})")


@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
def test_logit_matrix_equals_the_loss(open_page, tmp_path, temperature):
    generator = torch.Generator().manual_seed(3)
    za, zb = (torch.randn(12, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    images = torch.rand(2, 12, 1, 8, 8, generator=generator)
    view = LogitMatrix((za, zb), images, torch.arange(12) % 3, CLASSES, temperature=temperature)
    sheet = open_page(view.save(tmp_path / "logits.html"))
    page = sheet.page
    assert abs(float(data(page)["loss"]) - nt_xent(za, zb, temperature).item()) < 1e-4

    s = similarities((za, zb))
    p = row_softmax(s, temperature)
    box = page.locator("canvas.clnb-canvas").bounding_box()
    cell = min(box["width"] - 126, box["height"] - 24) / 24
    for i, j in [(3, 15), (3, 7), (20, 2), (5, 8)]:
        page.mouse.move(box["x"] + 30 + (j + 0.5) * cell, box["y"] + 16 + (i + 0.5) * cell)
        page.wait_for_timeout(60)
        tip = page.locator(".clnb-tip").evaluate("e => ({...e.dataset})")
        weight = (1 - p[i, j]) / temperature if j == (i + 12) % 24 else p[i, j] / temperature
        assert (int(tip["row"]), int(tip["column"])) == (i, j)
        assert abs(float(tip["similarity"]) - s[i, j]) < 1e-4 and abs(float(tip["probability"]) - p[i, j]) < 1e-4
        assert abs(float(tip["weight"]) - weight) < 1e-4 * max(1, 1 / temperature)
    page.wait_for_selector(".clnb-tip canvas")
    assert "false negative" in page.locator(".clnb-tip").inner_text()    # rows 5 and 8 are of one class

    page.mouse.click(box["x"] + 30 + 2.5 * cell, box["y"] + 16 + 4.5 * cell)
    page.wait_for_timeout(150)
    order = [int(c) for c in page.locator(".clnb-barrow").evaluate_all("all => all.map(e => e.dataset.column)")]
    negatives = [j for j in np.argsort(-p[4], kind="stable") if j not in (4, 16)]
    assert order == [16, *negatives]

    slider = page.get_by_label("temperature")
    slider.focus()
    for _ in range(10): slider.press("ArrowRight")
    page.wait_for_timeout(100)
    now = float(data(page)["temperature"])
    assert now > temperature and abs(float(data(page)["loss"]) - nt_xent(za, zb, now).item()) < 1e-4
    assert page.locator("img, b").count() == 0 and not sheet.problems()


def test_image_grid_page(open_page, tmp_path):
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    view = ImageGrid.two_views(images, lambda x: (x + 0.3 * torch.randn(x.shape, generator=generator)).clip(0, 1),
                               labels=torch.arange(6) % 3, classes=CLASSES)
    sheet = open_page(view.save(tmp_path / "grid.html"))
    page = sheet.page
    canvas = page.locator("canvas.clnb-canvas")
    before, box = canvas.screenshot(), canvas.bounding_box()
    page.get_by_role("button", name="draw again").click()
    page.wait_for_timeout(200)
    assert canvas.screenshot() != before
    page.mouse.move(box["x"] + 170, box["y"] + 40)
    assert NASTY in page.locator(".clnb-tip").inner_text()
    assert page.locator("img, b").count() == 0 and not sheet.problems()
