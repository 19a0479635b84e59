"""The key figure as a picture that stands alone: with a heading, and short enough to be seen."""

from gate.figures.composing import compose
from gate.figures.intervals import choose, draw_sheet
from gate.figures.lettering import name
from gate.figures.sheet import Level, Sheet, Words, join
from gate.figures.theme import PALETTE
from gate.presentation import count
from gate.records import Record
from gate.reporting.views import tally

MOST_ROWS = 24
"""Checks in the picture; the others are counted below it."""

_WIDTH = 860
_MARGIN = 20
_HEADING, _NOTE = 48.0, 24.0


def checks_picture(record: Record) -> str:
    """The specification of the picture: what did not pass, then what passed with the least room."""
    shown = choose(record, most=MOST_ROWS)
    sheets = [_heading(record)]
    if shown:
        sheets.append(draw_sheet(shown, top=_HEADING))
    left_out = len(record.results) - len(shown)
    if left_out:
        unsettled = sum(result.outcome != "pass" for result in record.results)
        sheets.append(_note(sheets[-1].height, left_out, max(0, unsettled - len(shown))))
    return compose(join(sheets), width=_WIDTH, padding=_MARGIN)


def _heading(record: Record) -> Sheet:
    """The release, its verdict and how many checks came to what."""
    said = f"{name(record.release)}: {record.verdict}"
    counted = f"{count(len(record.results), 'check')}: {tally(record.results)}"
    ink = PALETTE["ink"]
    words = (
        Words(0, _flat(8), said, said, "left", colour=ink, is_bold=True),
        Words(0, _flat(26), counted, counted, "left"),
    )
    return Sheet(_HEADING, words=words)


def _note(top: float, left_out: int, unsettled: int) -> Sheet:
    """How many checks are not in the picture, and whether all of them passed."""
    passed = (
        "all passed, with more room to their bounds"
        if not unsettled
        else (f"{unsettled:,} of them did not pass")
    )
    said = f"And {count(left_out, 'more check')}: {passed}."
    return Sheet(top + _NOTE, words=(Words(0, _flat(top + 14), said, said, "left"),))


def _flat(y: float) -> Level:
    return Level(y, y)
