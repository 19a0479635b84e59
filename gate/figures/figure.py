"""A figure: a Vega-Lite specification, with the words that stand for it and under it."""

from typing import NamedTuple


class Figure(NamedTuple):
    """One drawing of a report.

    Attributes:
        id: its place in a page, such as 'figure-intervals'; unique in one.
        title: what it shows, in a few words.
        summary: what it shows, in words, for who cannot see it.
        caption: how it is to be read, below it.
        spec: Vega-Lite JSON from `theme.finish`, in the palette's light colours; every view in it
            that may grow with the page is `theme.WIDTH` wide.
    """

    id: str
    title: str
    summary: str
    caption: str
    spec: str
