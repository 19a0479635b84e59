"""Figures as pictures: the same specifications drawn by vl-convert, without a browser."""

import re
from functools import lru_cache

from gate.figures.theme import for_page

_NUMBER = re.compile(r"(?<![\w#.])(-?\d+\.\d{2})\d+")


@lru_cache(maxsize=64)
def draw_svg(spec: str) -> str:
    """A specification as an SVG document, on white paper, to a hundredth of a pixel."""
    import vl_convert

    return _NUMBER.sub(r"\1", str(vl_convert.vegalite_to_svg(spec)))


def draw_for_page(spec: str) -> str:
    """A specification as an SVG element in the colours of the page that it stands in."""
    return for_page(draw_svg(spec))


def draw_png(spec: str, *, scale: float = 2.0) -> bytes:
    """A specification as a PNG picture, `scale` pixels to one of the specification's."""
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(spec, scale=scale))
