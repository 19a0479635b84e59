"""report.html: one self-contained page with the verdict, the evidence and where it came from."""

import base64
import hashlib
import re
from collections.abc import Iterable
from itertools import groupby
from typing import Literal, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gate import axes, plots, presentation, serving_views, views
from gate.evaluation_records import Document, Sample, Score
from gate.records import Record
from gate.result_records import CheckResult
from gate.views import Change

MOST_CHANGES = 50
"""Changed documents shown for a task and pair of variants; record.json has them all."""


class Bound(NamedTuple):
    """A bound as a line in the figure, with its label placed where the page has room for it."""

    x: float
    label: str
    text_anchor: Literal["start", "middle", "end"]


class Tick(NamedTuple):
    """A labelled place on a figure's axis."""

    x: float
    label: str


class Row(NamedTuple):
    """One check result in the figure; the places are None where nothing was measured."""

    number: int
    result: CheckResult
    low_x: float | None
    value_x: float | None
    high_x: float | None
    beyond: Literal["left", "right"] | None = None


class Panel(NamedTuple):
    """The results of one check in one unit, drawn on one axis from 0 to 100.

    Attributes:
        result: any result of the check, to name it by.
        unit: what the axis counts; empty where nothing was measured.
        bounds: the bounds' lines.
        allowed_x: where the region within the bounds begins and ends.
        neutral_x: where no difference lies; None where that is off the axis.
        ticks: labelled places.
        rows: one a result.
    """

    result: CheckResult
    unit: str
    bounds: tuple[Bound, ...]
    allowed_x: tuple[float, float]
    neutral_x: float | None
    ticks: tuple[Tick, ...]
    rows: tuple[Row, ...]


class Pair(NamedTuple):
    """What changed on a task between a reference and a candidate."""

    reference: str
    candidate: str
    gains: int
    losses: int
    shown: tuple[Change, ...]
    left_out: int


class Answer(NamedTuple):
    """What one or several variants made of a document."""

    variants: tuple[str, ...]
    sample: Sample


class Dossier(NamedTuple):
    """A changed document with every variant's answer to it."""

    id: int
    document: Document | None
    answers: tuple[Answer, ...]


class TaskChanges(NamedTuple):
    """The pairs of variants compared on a task, and the documents that changed between them.

    Attributes:
        task: the task's name.
        right: the value of a right answer; None where the metric is not binary.
        pairs: the pairs of variants, in the order of their checks.
        documents: the task's documents by id.
        dossiers: every document shown for a pair.
    """

    task: str
    right: float | None
    pairs: tuple[Pair, ...]
    documents: dict[int, Document]
    dossiers: tuple[Dossier, ...]


def render(record: Record) -> str:
    """The record as one HTML page that loads nothing and can be read without its script."""
    environment = _environment()
    style, script = (_asset(environment, name) for name in ("report.css", "report.js"))
    return environment.get_template("report.html.j2").render(
        record=record,
        style=Markup(style),
        script=Markup(script),
        policy=(
            f"default-src 'none'; style-src '{_hash_source(style)}'; "
            f"script-src '{_hash_source(script)}'; base-uri 'none'; form-action 'none'"
        ),
        panels=tuple(draw_panels(record)),
        changes=tuple(_task_changes(record)),
        say=presentation,
        look=views,
        costs=serving_views,
        plots=plots,
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("gate.renderers"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters["typeset"] = _typeset
    return environment


def _finalize(value: object) -> object:
    is_untrusted = isinstance(value, str) and not isinstance(value, Markup)
    return presentation.printable(str(value)) if is_untrusted else value


def _typeset(text: str) -> str:
    """Numbers with a minus sign for the hyphen, and not parted from their percent sign."""
    text = re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text)


def _asset(environment: Environment, name: str) -> str:
    if environment.loader is None:
        return ""
    return environment.loader.get_source(environment, name)[0]


def _hash_source(text: str) -> str:
    """A Content-Security-Policy source that allows exactly this inline text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def draw_panels(record: Record) -> Iterable[Panel]:
    """The figure: a panel for each check and unit, in the order of the results."""
    numbered = list(enumerate(record.results, start=1))
    units: dict[str, str] = {}
    for _, result in numbered:
        if result.estimate is not None:
            units.setdefault(result.check.model_dump_json(), result.estimate.unit)

    def place(item: tuple[int, CheckResult]) -> tuple[str, str]:
        check = item[1].check.model_dump_json()
        estimate = item[1].estimate
        return check, estimate.unit if estimate else units.get(check, "")

    order = {key: index for index, key in reversed(list(enumerate(map(place, numbered))))}
    for (_, unit), items in groupby(sorted(numbered, key=lambda i: order[place(i)]), key=place):
        yield _panel(tuple(items), unit)


def _panel(items: tuple[tuple[int, CheckResult], ...], unit: str) -> Panel:
    first = items[0][1]
    check = first.check
    neutral = presentation.no_difference(unit)
    estimates = [result.estimate for _, result in items if result.estimate]
    low, high = axes.span(presentation.bounds(check), estimates, neutral=neutral)

    def x(value: float | None, otherwise: float) -> float:
        return otherwise if value is None else round(100 * (value - low) / (high - low), 2)

    def row(number: int, result: CheckResult) -> Row:
        if (e := result.estimate) is None:
            return Row(number, result, None, None, None)
        start, middle, end = (min(100.0, max(0.0, x(v, 0))) for v in (e.low, e.value, e.high))
        return Row(number, result, start, middle, end, axes.beyond(e.value, low, high))

    limits = (("at_least", check.at_least), ("at_most", check.at_most))
    return Panel(
        result=first,
        unit=unit,
        bounds=tuple(_bound(x(b, 0), side, b, unit) for side, b in limits if b is not None),
        allowed_x=(max(0.0, x(check.at_least, 0)), min(100.0, x(check.at_most, 100))),
        neutral_x=x(neutral, 0) if low <= neutral <= high else None,
        ticks=tuple(Tick(x(t, 0), label) for t, label in axes.ticks(low, high, unit)),
        rows=tuple(row(number, result) for number, result in items),
    )


def _bound(x: float, side: str, value: float, unit: str) -> Bound:
    word = "at least" if side == "at_least" else "at most"
    is_left, is_right = x < 30, x > 70  # noqa: PLR2004 - where a centred label would be cut off
    text_anchor: Literal["start", "middle", "end"] = (
        "start" if is_left else "end" if is_right else "middle"
    )
    return Bound(
        x, f"{word} {presentation.exact(value, presentation.short_unit(unit))}", text_anchor
    )


def _task_changes(record: Record) -> Iterable[TaskChanges]:
    for task in record.tasks:
        compared = {(r.reference, r.variant): None for r in record.results if r.task == task.name}
        pairs = tuple(
            pair for names in compared if (pair := _pair(record, task.name, *names)) is not None
        )
        scores = [score for score in record.scores if score.task == task.name]
        if pairs:
            changed = {change.document_id for pair in pairs for change in pair.shown}
            right = float(scores[0].higher_is_better) if scores[0].is_binary else None
            documents = views.documents_of(record, task.name)
            dossiers = tuple(_dossiers(scores, documents, changed))
            yield TaskChanges(task.name, right, pairs, documents, dossiers)


def _pair(record: Record, task: str, reference: str, candidate: str) -> Pair | None:
    before = views.score_of(record, reference, task)
    after = views.score_of(record, candidate, task)
    if before is None or after is None:
        return None
    found = views.changes(before, after)
    losses = sum(change.direction == "loss" for change in found)
    shown = found[:MOST_CHANGES]
    return Pair(reference, candidate, len(found) - losses, losses, shown, len(found) - len(shown))


def _dossiers(
    scores: Iterable[Score], documents: dict[int, Document], ids: set[int]
) -> Iterable[Dossier]:
    samples = {s.variant: {x.id: x for x in s.samples if x.id in ids} for s in scores}
    for document_id in sorted(ids):
        said = (
            (name, found[document_id]) for name, found in samples.items() if document_id in found
        )
        yield Dossier(document_id, documents.get(document_id), _answers(said))


def _answers(said: Iterable[tuple[str, Sample]]) -> tuple[Answer, ...]:
    """The variants' answers; those that gave the very same one stand together."""
    together: dict[tuple[object, ...], Answer] = {}
    for variant, sample in said:
        key = (sample.answer, sample.value, sample.loglikelihoods)
        names = together[key].variants if key in together else ()
        together[key] = Answer((*names, variant), sample)
    return tuple(together.values())
