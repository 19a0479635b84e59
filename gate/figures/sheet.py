"""A sheet: what a figure of rows is made of, areas, rules, marks and words, each in its place.

It has three columns: what names a row, the row's plot, what was found. It has two layouts: where
the page is narrow, the plot takes the whole width and the words stand above it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from gate.figures.theme import PALETTE
from gate.presentation import OUTCOME_WORDS
from gate.result_records import Outcome

Column = Literal["left", "plot", "right"]
State = Outcome | Literal["neutral"]

LETTER = 6.4
"""Pixels that a letter takes, on average."""


class Level(NamedTuple):
    """A height on the sheet, in pixels from its top, in each of its two layouts."""

    wide: float
    narrow: float


class Area(NamedTuple):
    """A shaded region, from x to x2 in percent of the plot."""

    x: float
    x2: float
    y: Level
    y2: Level


class Rule(NamedTuple):
    """A line, from x to x2 in percent of the plot and from y to y2."""

    x: float
    x2: float
    y: Level
    y2: Level
    colour: str
    width: float = 1.5
    dash: tuple[int, int] | None = None


class Mark(NamedTuple):
    """A point at x percent of the plot, or x pixels from an end of the sheet.

    `shape` is the outcome's where it is empty.
    """

    x: float
    y: Level
    state: State
    shape: str = ""
    column: Column = "plot"


class Words(NamedTuple):
    """A text at x percent of the plot, or x pixels from an end of the sheet.

    Attributes:
        text: what stands there; nothing where it is empty.
        short: what stands there in the narrow layout.
        is_label: whether it leaves room for a row's plot and number; it is cut where it does not.
        free: pixels of the wide layout's width that it leaves free, as a label does.
    """

    x: float
    y: Level
    text: str
    short: str
    column: Column = "plot"
    align: Literal["left", "center", "right"] = "left"
    colour: str = PALETTE["soft"]
    is_bold: bool = False
    is_label: bool = False
    free: float = 0


class Band(NamedTuple):
    """A stretch from top to bottom that is kept clear for words, in the narrow layout."""

    top: float
    bottom: float


class Told(NamedTuple):
    """What is told of a stretch of the sheet, from top to bottom, that is pointed at."""

    top: float
    bottom: float
    facts: Mapping[str, str]


class Sheet(NamedTuple):
    """What is on a figure of this height in pixels."""

    height: float
    areas: Sequence[Area] = ()
    rules: Sequence[Rule] = ()
    bands: Sequence[Band] = ()
    marks: Sequence[Mark] = ()
    words: Sequence[Words] = ()
    told: Sequence[Told] = ()


def join(sheets: Iterable[Sheet]) -> Sheet:
    """All that is on the sheets, on one that is as high as the highest."""
    sheets = tuple(sheets)
    return Sheet(
        height=max((one.height for one in sheets), default=0.0),
        areas=tuple(area for one in sheets for area in one.areas),
        rules=tuple(rule for one in sheets for rule in one.rules),
        bands=tuple(band for one in sheets for band in one.bands),
        marks=tuple(mark for one in sheets for mark in one.marks),
        words=tuple(words for one in sheets for words in one.words),
        told=tuple(told for one in sheets for told in one.told),
    )


def legend(states: Iterable[State], *, top: float) -> Sheet:
    """The outcomes among the states, each with its mark and its word, side by side."""
    there, x, y = set(states), 7.0, Level(top + 10, top + 10)
    marks, words = [], []
    for outcome, word in OUTCOME_WORDS.items():
        if outcome in there:
            marks.append(Mark(x, y, outcome, column="left"))
            words.append(Words(x + 11, y, word, word, "left"))
            x += 32 + LETTER * len(word)
    return Sheet(top + 20, marks=marks, words=words)
