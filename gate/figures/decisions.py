"""Documents to a decision: each look of every sequential check, against its bound."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gate.figures.composing import compose
from gate.figures.facts import Numbered, check_facts, estimate_facts, found_text, numbered
from gate.figures.figure import Figure
from gate.figures.lettering import name, typeset
from gate.figures.parts import in_parts
from gate.figures.sheet import (
    Area,
    Level,
    Mark,
    Rule,
    Sheet,
    State,
    Told,
    Words,
    join,
    legend,
)
from gate.figures.strips import Axis, span
from gate.figures.theme import COLOURS, PALETTE
from gate.presentation import OUTCOME_WORDS, count, exact, no_difference, short_unit
from gate.records import Record
from gate.reporting.sequential_views import planned_documents
from gate.result_records import Look

MOST_CHECKS = 12
"""Checks in the figure, those that did not pass first; the others are in the table only."""

_LEGEND, _HEAD, _PLOT, _FOOT, _GAP = 34.0, 36.0, 72.0, 20.0, 16.0
"""Heights in pixels; the heading stands above the plot in the narrow layout only."""

_LINES = (16.0, 31.0, 46.0, 61.0)
_TO_A_PART = 6
_APART = 9.0
"""Percent of the plot that two numbers of documents are apart at the least."""


class _Frame(NamedTuple):
    """Where a check's looks are drawn: its axis, all its documents, and the top of its plot."""

    axis: Axis
    documents: int
    top: float

    @property
    def bottom(self) -> float:
        return self.top + _HEAD + _PLOT

    def x(self, documents: int) -> float:
        return round(100 * documents / self.documents, 2)

    def y(self, value: float) -> Level:
        share = 1 - self.axis.x(value) / 100
        return Level(self.top + (_HEAD + _PLOT) * share, self.top + _HEAD + _PLOT * share)


def draw(record: Record) -> tuple[Figure, ...]:
    """The figure: for each sequential check the interval at each look, over its documents."""
    looked = [one for one in numbered(record) if one.result.looks]
    if not looked:
        return ()
    shown = sorted(sorted(looked, key=lambda one: one.result.outcome == "pass")[:MOST_CHECKS])
    decided = sum(one.result.outcome != "inconclusive" for one in looked)
    figure = Figure(
        id="figure-looks",
        title="Documents to a decision",
        summary=f"{count(len(looked), 'sequential check')}, {count(decided)} of them decided. "
        "The table of decisions has the same numbers.",
        caption=_caption(len(looked) - len(shown)),
        spec="",
    )
    parts = (shown[start : start + _TO_A_PART] for start in range(0, len(shown), _TO_A_PART))
    return in_parts(figure, [compose(join(_sheets(record, part))) for part in parts])


def _sheets(record: Record, shown: Sequence[Numbered]) -> Iterable[Sheet]:
    """The legend, then a plot for each check, each below the one before."""
    yield legend((one.result.outcome for one in shown), top=0)
    top = _LEGEND
    for one in shown:
        result = one.result
        found = [look.estimate for look in result.looks]
        planned = max(planned_documents(record, result), result.looks[-1].documents)
        sheet = _plot(one, _Frame(span(result.check, found, found[0].unit), planned, top))
        yield sheet
        top = sheet.height + _GAP


def _caption(left_out: int) -> str:
    more = f" {count(left_out, 'more check')} in the table only." if left_out else ""
    return (
        "From left to right: all documents that could have been asked for. At each look the "
        "estimate and the interval that holds at every look at once: grey where the check went "
        "on, in its outcome's colour at the last look; an arrow where it is beyond the axis. "
        f"Shaded: what the bound allows. Dotted: no difference.{more}"
    )


def _plot(one: Numbered, frame: _Frame) -> Sheet:
    """The heading, the ground, the looks and their numbers of documents, of one check."""
    looks = one.result.looks
    words = (*_heading(one, frame), *_bound_labels(one, frame), *_documents(looks, frame))
    end = frame.bottom + _FOOT
    said = Sheet(end, words=words, told=(Told(frame.top, end, _facts(one, frame)),))
    before = (_look(look, "neutral", frame) for look in looks[:-1])
    last = _look(looks[-1], one.result.outcome, frame)
    return join((said, _ground(one, frame), *before, last))


def _heading(one: Numbered, frame: _Frame) -> Iterable[Words]:
    """Beside the plot four lines, above it two."""
    result, top = one.result, frame.top
    first, second, third, fourth = (top + line for line in _LINES)
    ink, colour = PALETTE["ink"], COLOURS[result.outcome]
    short = f"#{one.number} {name(result.variant)} · {one.task}"
    where = f"#{one.number} · {one.task} · {name(str(result.check.compare))}"
    came_to = f"{_outcome(one)} at {_progress(one, frame)}"
    in_words = f"{came_to} documents"
    narrow = top + 9, top + 25
    estimate = found_text(result.looks[-1].estimate, result.check)
    yield Words(0, Level(first, narrow[0]), one.pair, short, "left", colour=ink, is_label=True)
    yield Words(0, Level(second, 0), where, "", "left", is_label=True)
    yield Words(0, Level(third, 0), estimate, "", "left", colour=ink, is_label=True)
    last = Level(fourth, narrow[1])
    yield Words(0, last, came_to, in_words, "left", colour=colour, is_label=True)


def _outcome(one: Numbered) -> str:
    outcome = one.result.outcome
    return "undecided" if outcome == "inconclusive" else OUTCOME_WORDS[outcome]


def _progress(one: Numbered, frame: _Frame) -> str:
    return f"{count(one.result.looks[-1].documents)} of {count(frame.documents)}"


def _bound_labels(one: Numbered, frame: _Frame) -> Iterable[Words]:
    """Each bound beside its line, or above the plot."""
    unit = short_unit(frame.axis.unit)
    words = (("at least", one.limits.at_least), ("at most", one.limits.at_most))
    there = [(word, bound) for word, bound in words if bound is not None]
    for place, (word, bound) in enumerate(there):
        text = typeset(f"{word} {exact(bound, unit)}")
        y = Level(frame.y(bound).wide, frame.top + 9 + 16 * place)
        yield Words(178, y, text, "", "right")
        yield Words(0, y, "", text, "right", "right")


def _ground(one: Numbered, frame: _Frame) -> Sheet:
    """The allowed region, the bounds, the line of no difference and the line of documents."""
    axis, limits, soft = frame.axis, one.limits, PALETTE["soft"]
    bounds = [bound for bound in limits if bound is not None]
    rules = [_across(frame.y(bound), PALETTE["ink"]) for bound in bounds]
    neutral = no_difference(axis.unit)
    if axis.has(neutral):
        rules.append(_across(frame.y(neutral), soft)._replace(dash=(1, 3)))
    rules.append(_across(Level(frame.bottom, frame.bottom), PALETTE["rule"]))
    high = axis.high if limits.at_most is None else limits.at_most
    low = axis.low if limits.at_least is None else limits.at_least
    allowed = (Area(0, 100, frame.y(high), frame.y(low)),) if bounds else ()
    return Sheet(frame.bottom, areas=allowed, rules=tuple(rules))


def _across(y: Level, colour: str) -> Rule:
    return Rule(0, 100, y, y, colour)


def _look(look: Look, state: State, frame: _Frame) -> Sheet:
    """The interval of a look, upright, with the estimate on it."""
    found, axis, x = look.estimate, frame.axis, frame.x(look.documents)
    colour = COLOURS[state]
    rules = [Rule(x, x, frame.y(found.high), frame.y(found.low), colour, 2)]
    marks = []
    for end, shape in ((found.low, "triangle-down"), (found.high, "triangle-up")):
        if axis.has(end):
            rules.append(Rule(x - 0.9, x + 0.9, frame.y(end), frame.y(end), colour, 2))
        else:
            marks.append(Mark(x, frame.y(end), state, shape))
    if axis.has(found.value):
        marks.append(Mark(x, frame.y(found.value), state))
    return Sheet(frame.bottom, rules=tuple(rules), marks=tuple(marks))


def _documents(looks: Sequence[Look], frame: _Frame) -> Iterable[Words]:
    """The numbers of documents below the looks, from the last one back, where they have room."""
    y, free = Level(frame.bottom + 11, frame.bottom + 11), 100.0 + _APART
    last = looks[-1].documents
    places = [frame.documents] if frame.x(last) < 100 - _APART else []
    for documents in (*places, *(look.documents for look in reversed(looks))):
        x = frame.x(documents)
        if free - x >= _APART:
            free, text = x, count(documents)
            ink = PALETTE["ink" if documents == last else "soft"]
            yield Words(x, y, text, text, align="right" if x > 95 else "center", colour=ink)  # noqa: PLR2004 - where a centred number would reach out of the plot


def _facts(one: Numbered, frame: _Frame) -> dict[str, str]:
    result = one.result
    looks = "; ".join(
        f"{count(look.documents)}: {found_text(look.estimate, result.check)}"
        for look in result.looks
    )
    last = estimate_facts(result.looks[-1].estimate, result.check)
    return check_facts(one) | {"Documents": _progress(one, frame), "Looks": looks} | last
