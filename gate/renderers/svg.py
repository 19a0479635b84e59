"""checks.svg: the key figure as a picture, what did not pass first, sized for a pull request."""

from gate.figures.drawing import draw_svg
from gate.figures.drawn import draw_picture
from gate.records import Record


def render(record: Record) -> str:
    """The intervals of the checks against their bounds, as an SVG document on white paper."""
    return draw_svg(draw_picture(record))
