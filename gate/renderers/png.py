"""checks.png: the key figure as a picture, what did not pass first, sized for a pull request."""

from gate.figures.drawing import draw_png
from gate.figures.drawn import draw_picture
from gate.records import Record


def render(record: Record) -> bytes:
    """The intervals of the checks against their bounds, as a PNG picture on white paper."""
    return draw_png(draw_picture(record))
