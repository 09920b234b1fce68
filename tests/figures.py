"""What stands in a figure, and whether its text can be read."""

import itertools

import matplotlib
import matplotlib.text
from matplotlib.backends.backend_agg import FigureCanvasAgg


def texts(figure):
    """All non-empty texts of a figure that are drawn: matplotlib keeps ticks outside the view."""
    hidden = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                if not ax.axison or not low <= tick.get_loc() <= high:
                    hidden |= {tick.label1, tick.label2}
    found = figure.findobj(matplotlib.text.Text)
    return [t for t in found if t.get_visible() and t.get_text().strip() and t not in hidden]


def strings(figure):
    return [text.get_text() for text in texts(figure)]


def check_text_layout(figure):
    """Every text lies inside the figure and on no other text, as the renderer measures them."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    boxes = [(text.get_text(), text.get_window_extent().padded(-0.5)) for text in texts(figure)]
    for name, box in boxes:
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, f"{name!r} is cut off: {box} in {width} x {height}"
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), f"{one!r} lies on {other!r}"
