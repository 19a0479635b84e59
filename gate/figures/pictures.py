"""The key figure as a picture that stands alone: with a heading, and short enough to be seen."""

from collections.abc import Iterator, Sequence

from gate.figures.composing import compose
from gate.figures.facts import Numbered, numbered
from gate.figures.intervals import choose, draw_sheet
from gate.figures.lettering import name
from gate.figures.sheet import Level, Sheet, Words, join
from gate.figures.theme import PALETTE
from gate.presentation import count
from gate.records import Record
from gate.reporting.concerns import ASIDE
from gate.reporting.views import tally

MOST_ROWS = 14
"""Checks in the picture; the others are counted below it."""

_WIDTH = 860
_MARGIN = 20
_HEADING, _NOTE = 48.0, 24.0


def checks_picture(record: Record) -> str:
    """The specification of the picture: what did not pass, then what passed with the least room.

    Checks of what is not up for release are counted below it, unless there are no others.
    """
    every = numbered(record)
    shown = choose([one for one in every if not one.is_aside] or every, most=MOST_ROWS)
    sheets = [_heading(record)]
    if shown:
        sheets.append(draw_sheet(shown, top=_HEADING))
    notes = _notes([one for one in every if one not in shown])
    below = sheets[-1].height
    sheets += [_note(below + line * _NOTE, said) for line, said in enumerate(notes)]
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


def _notes(left_out: Sequence[Numbered]) -> Iterator[str]:
    """How many checks are not in the picture, and whether all of them passed."""
    asides = [one for one in left_out if one.is_aside]
    others = [one for one in left_out if not one.is_aside]
    if others:
        unsettled = sum(one.result.outcome != "pass" for one in others)
        passed = (
            f"{unsettled:,} of them did not pass"
            if unsettled
            else "all passed, with more room to their bounds"
        )
        yield f"And {count(len(others), 'more check')}: {passed}."
    if asides:
        yield (
            f"And {count(len(asides), 'check')} of what is {ASIDE}: "
            f"{tally([one.result for one in asides])}."
        )


def _note(top: float, said: str) -> Sheet:
    return Sheet(top + _NOTE, words=(Words(0, _flat(top + 14), said, said, "left"),))


def _flat(y: float) -> Level:
    return Level(y, y)
