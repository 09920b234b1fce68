"""What a student does with the page: writes, takes a sample; and the browser that it is done in."""

import os
import shutil

import pytest
from playwright.sync_api import expect

import scratchnet as sn

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
#: a slow machine compiles kernels at the first trace and at the first training
PATIENCE = 120_000

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="chromium is not installed"
)

#: strokes as points in a square of 1 x 1
STROKES = {
    "0": [[(0.5, 0.2), (0.34, 0.32), (0.3, 0.5), (0.34, 0.7), (0.5, 0.8), (0.66, 0.7), (0.7, 0.5),
           (0.66, 0.32), (0.5, 0.2)]],
    "1": [[(0.5, 0.2), (0.5, 0.8)]],
    "4": [[(0.36, 0.2), (0.33, 0.52), (0.68, 0.52)], [(0.64, 0.2), (0.62, 0.82)]],
    "7": [[(0.3, 0.25), (0.7, 0.25), (0.58, 0.5), (0.45, 0.8)]],
}  # fmt: skip


def write(page, pad, strokes, left=0.0, size=1.0):
    """With the mouse, in a square of the pad's height that begins at that share of its width."""
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    side = size * box["height"]

    def at(point):
        return box["x"] + left * box["width"] + point[0] * side, box["y"] + point[1] * side

    for stroke in strokes:
        page.mouse.move(*at(stroke[0]))
        page.mouse.down()
        for point in stroke[1:]:
            page.mouse.move(*at(point), steps=5)
        page.mouse.up()


def sample(page, name):
    """Take a sample digit in the section Draw."""
    page.get_by_role("button", name=name, exact=True).click()
    expect(page.locator("#latency")).to_contain_text("ms")


def shown_number(locator):
    return float(locator.inner_text().split(":")[0].replace("−", "-"))


def layers():
    return [layer.name for layer in sn.architectures.pretrained().layers]
