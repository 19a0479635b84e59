"""The checks of a plan as a table: grouped by what is compared, a line for each task."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from gate.planning.expectations import POWER, Expectation
from gate.planning.past_runs import PastRun
from gate.planning.prospects import Prospect
from gate.planning.spreads import ASSUMED_FLIP_RATES, Spread
from gate.presentation import moment, one_line
from gate.terms import Kind, ResolvedCheck

_COLUMNS = 100
_INDENT = "    "
_SURE = f"{100 * POWER:.0f} %"
_HEADINGS = ("", "", "finds", f"{_SURE} at", "flips")
_STEPS: tuple[tuple[Kind, str], ...] = (
    ("merged", "merging"),
    ("quantized", "quantizing"),
    ("adapter", "training"),
)
_GAP = 2
_NAME = 40
"""The longest name of a task in a sentence."""

Row = tuple[str, ...]


def describe_checks(found: Sequence[Prospect], runs: Sequence[PastRun]) -> Iterator[str]:
    """What each check asks and can show, as lines of at most 100 columns.

    Args:
        found: every check of a plan.
        runs: the earlier ones that tell how much documents vary, the newest first.
    """
    refused = sum(one.refusal is not None for one in found)
    yield f"checks: {refused} of {len(found)} CANNOT PASS" if refused else "checks"
    told = [row for row in map(_row, found) if len(row) > 1]
    widths = _widths([_HEADINGS, *told]) if told else ()
    if told:
        yield _line(_HEADINGS, widths)
    for title, group in groupby(found, key=lambda one: _title(one.check)):
        yield f"  {title}"
        for one in group:
            yield from _lines(one, widths)
    if told:
        yield ""
        yield from _legend([one.expectation for one in found if one.expectation], runs)


def _title(one: ResolvedCheck) -> str:
    """What is compared and what is asked of it, for every task alike."""
    level = "" if one.check.level == "block" else f" ({one.check.level} only)"
    part = f" on {one.check.slice}" if one.check.slice else ""
    compared = f"{one.variant} against {one.reference}{part}: {one.check.compare}"
    return f"{compared} {one.check.bound_text}{level}"


def _lines(one: Prospect, widths: Sequence[int]) -> Iterator[str]:
    row = _row(one)
    if one.refusal is not None:
        first, comma, rest = one.refusal.partition(", ")
        yield f"{_INDENT}{one_line(one.check.task, _NAME)}: CANNOT PASS {first}{comma.rstrip()}"
        yield 2 * _INDENT + rest
    elif len(row) > 1:
        yield _line(row, widths)
    elif one.check.task:
        yield _INDENT + one.check.task


def _row(one: Prospect) -> Row:
    """Task, documents, change found, documents for power, flips; the task alone where no more."""
    found = one.expectation
    if found is None or one.refusal is not None:
        return (one.check.task,)
    return (
        one.check.task,
        _documents(found),
        _change(found),
        _needed(found),
        _flips(found.spread),
    )


def _documents(found: Expectation) -> str:
    if found.fewest is None:
        return "" if found.documents is None else f"{found.documents} documents"
    if found.documents is None:
        return f"needs at least {found.fewest} documents to pass"
    return f"can pass: {found.documents} documents, {found.fewest} needed"


def _change(found: Expectation) -> str:
    if found.detectable is None or found.spread is None:
        return ""
    if found.spread.is_share:
        return f"{100 * found.detectable:.2g} points"
    return f"{found.detectable:.2g}"


def _needed(found: Expectation) -> str:
    if found.needed is not None:
        return f"{found.needed:,}"
    return "" if found.spread is None or found.spread.source == "assumed" else "never"


def _flips(spread: Spread | None) -> str:
    if spread is None:
        return "not known"
    return f"{100 * spread.variance:.2g} % {spread.source}" if spread.is_share else spread.source


def _widths(rows: Iterable[Row]) -> tuple[int, ...]:
    """Of each column; the first gives way where a line would be too long."""
    first, *rest = (max(map(len, column)) for column in zip(*rows, strict=True))
    room = _COLUMNS - len(_INDENT) - sum(rest) - _GAP * len(rest)
    return (min(first, room), *rest)


def _line(row: Row, widths: Sequence[int]) -> str:
    task, documents, change, needed, flips = row
    cells = (
        one_line(task, widths[0]).ljust(widths[0]),
        documents.ljust(widths[1]),
        change.rjust(widths[2]),
        needed.rjust(widths[3]),
        flips,
    )
    return (_INDENT + (" " * _GAP).join(cells)).rstrip()


def _legend(found: Sequence[Expectation], runs: Sequence[PastRun]) -> Iterator[str]:
    """What the columns say, and what the flips rest on."""
    sources = {one.spread.source for one in found if one.spread is not None}
    yield from _wrapped(f"finds: the smallest change told from none, {_SURE} of the time")
    yield from _wrapped(
        f"{_SURE} at: documents that prove a harmless change, or a gain like the one seen, "
        f"{_SURE} of the time"
    )
    if "assumed" in sources:
        rates = (f"{100 * ASSUMED_FLIP_RATES[kind]:.0f} % by {step}" for kind, step in _STEPS)
        yield from _wrapped(f"assumed: answers that change are {', '.join(rates)}")
    if "seen" in sources and runs:
        newest = runs[0]
        yield from _wrapped(
            f"seen: in earlier runs, the newest of {newest.release}, "
            f"{moment(newest.provenance.created_at)}"
        )
    if "noise" in sources:
        yield from _wrapped("noise: an engine asked twice changes so many answers by itself")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _COLUMNS, initial_indent="  ", subsequent_indent=_INDENT)
