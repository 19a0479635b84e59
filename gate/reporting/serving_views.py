"""What reports look up of quality, size and speed: a table, and points with an efficient front."""

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Literal, NamedTuple

from gate.aggregates import value_of
from gate.presentation import MISSING, amount, bits, percent, size
from gate.records import Record
from gate.reporting.views import score_of
from gate.result_records import Verdict
from gate.serving_records import BatchKind, Serving, SpeedMeasure, SpeedRun
from gate.terms import Task, Variant

Better = Literal["smaller", "larger"]


class Cell(NamedTuple):
    """A figure, and a remark that goes below it: how far the repeats lay apart, for most.

    Attributes:
        value: the figure in words.
        remark: what goes below it.
        exact: the figure unrounded: a share, bytes, seconds or tokens a second; None without one.
    """

    value: str
    remark: str = ""
    exact: float | None = None


class Column(NamedTuple):
    """What heads a column of the table.

    Attributes:
        name: its own heading.
        group: the heading that it shares with its neighbours.
        term: what it is in the glossary.
        is_vital: whether it has a place where there is little.
    """

    name: str
    group: str
    term: str
    is_vital: bool = False

    @property
    def title(self) -> str:
        """Both headings on one line."""
        return f"{self.group}: {self.name}"


class ServingRow(NamedTuple):
    """What one variant costs to serve: a cell for each column."""

    variant: Variant
    cells: tuple[Cell, ...]


class Group(NamedTuple):
    """A heading that neighbouring columns share, and how many of them."""

    name: str
    width: int


class ServingTable(NamedTuple):
    """What every variant costs to serve.

    Attributes:
        columns: the headings.
        rows: one a variant that was measured or is up for release, in the record's order.
        settings: how it was measured, in a sentence or two.
    """

    columns: tuple[Column, ...]
    rows: tuple[ServingRow, ...]
    settings: str

    @property
    def groups(self) -> tuple[Group, ...]:
        """The headings above the headings."""
        groups = groupby(self.columns, lambda column: column.group)
        return tuple(Group(name, len(list(columns))) for name, columns in groups)


class Kept(NamedTuple):
    """What a variant keeps of the adapter's score on its worst task: 1.0 is all of it."""

    share: float
    task: str


class Point(NamedTuple):
    """A variant with what it keeps and what it costs; None where that was not measured.

    Attributes:
        variant: its name.
        kept: the share of the adapter's score that its worst task keeps.
        size_bytes: all files that are served.
        decode: tokens a second, many prompts at once.
        verdict: of the variant; None of one that cannot ship, such as the adapter on its base.
    """

    variant: str
    kept: Kept
    size_bytes: int | None
    decode: float | None
    verdict: Verdict | None


def serving_of(record: Record, variant: str) -> Serving | None:
    """What a variant costs to serve; None where that was not measured."""
    return next((one for one in record.serving if one.variant == variant), None)


def serving_table(record: Record) -> ServingTable | None:
    """Sizes and speeds of every variant; None where nothing was measured."""
    if not record.serving:
        return None
    settings = next((run for one in record.serving for run in one.runs), None)
    rows = tuple(
        ServingRow(variant, _cells(record, variant, serving))
        for variant in record.variants
        if (serving := serving_of(record, variant.name)) or variant.name in record.ship
    )
    return ServingTable(_columns(settings), rows, _settings(record, settings))


def kept_share(record: Record, variant: Variant) -> Kept | None:
    """What is left of the adapter's score on the task that lost most of it.

    The variant's metric over the adapter's, or the inverse where lower is better. None where the
    variant or its adapter lacks a score, or nothing is there to be kept.
    """
    shares = []
    for task in record.tasks:
        adapter = _adapter_of(record, variant, task)
        before = score_of(record, adapter.name, task.name) if adapter else None
        after = score_of(record, variant.name, task.name)
        if before is None or after is None or not before.samples or not after.samples:
            return None
        part, whole = value_of(after), value_of(before)
        if not before.higher_is_better:
            part, whole = whole, part
        if 0 < whole < math.inf and part < math.inf:
            shares.append(Kept(part / whole, task.name))
    return min(shares, default=None)


def points(record: Record) -> tuple[Point, ...]:
    """The variants that could be served instead of each other: all but the base model alone."""
    verdicts = {one.variant: one.verdict for one in record.verdicts}
    found = []
    for variant in record.variants:
        serving, kept = serving_of(record, variant.name), kept_share(record, variant)
        if variant.kind == "base" or serving is None or kept is None:
            continue
        decode = serving.over_runs("decode")
        found.append(
            Point(
                variant=variant.name,
                kept=kept,
                size_bytes=serving.size_bytes,
                decode=decode.median if decode else None,
                verdict=verdicts.get(variant.name),
            )
        )
    return tuple(found)


def efficient_front(
    found: Sequence[Point], cost: Callable[[Point], float | None], *, better: Better
) -> tuple[Point, ...]:
    """The points that no other beats in cost without keeping less, the best cost first.

    A variant that was blocked or ended in an error is no choice, and beats nothing.

    Args:
        found: the points.
        cost: what it costs, or gives, besides quality; points without it are left out.
        better: whether a smaller or a larger one is better.
    """
    sign = 1.0 if better == "smaller" else -1.0
    choices = [
        (sign * number, -point.kept.share, place)
        for place, point in enumerate(found)
        if (number := cost(point)) is not None and point.verdict not in ("block", "error")
    ]
    front: list[Point] = []
    for _, _, place in sorted(choices):
        if not front or found[place].kept.share > front[-1].kept.share:
            front.append(found[place])
    return tuple(front)


def _adapter_of(record: Record, variant: Variant, task: Task | None = None) -> Variant | None:
    """The adapter on its base that a variant stands for, or that a task names as its own."""
    adapters = [one for one in record.variants if one.kind == "adapter"]
    wanted = (task.adapter,) if task and task.adapter else variant.adapters
    return next((one for one in adapters if one.adapters == wanted), next(iter(adapters), None))


def _columns(settings: SpeedRun | None) -> tuple[Column, ...]:
    many = f"{settings.many.batch_size} at once" if settings else "many at once"
    return (
        Column("kept", "Worst task", "recovery", is_vital=True),
        Column("on disk", "Size", "size"),
        Column("load", "Seconds", "load"),
        Column("first token", "Seconds", "first-token", is_vital=True),
        Column("one prompt", "Prefill tokens/s", "prefill"),
        Column(many, "Prefill tokens/s", "prefill"),
        Column("one prompt", "Decode tokens/s", "decode"),
        Column(many, "Decode tokens/s", "decode", is_vital=True),
        Column("peak", "Memory", "memory", is_vital=True),
        Column("decode", "To adapter", "ratio", is_vital=True),
        Column("size", "To adapter", "ratio"),
    )


def _settings(record: Record, settings: SpeedRun | None) -> str:
    machines = " and ".join(dict.fromkeys(one.machine for one in record.serving))
    if settings is None:
        return f"Sizes only; speed was not measured, on {machines}."
    repeats = max(len(one.runs) for one in record.serving)
    return (
        f"Measured on {machines}. Medians of {repeats} repeats, each in a process of its own, with "
        f"prompts of {settings.prompt_tokens} tokens and {settings.new_tokens} new ones."
    )


def _cells(record: Record, variant: Variant, serving: Serving | None) -> tuple[Cell, ...]:
    kept = kept_share(record, variant)
    adapter = _adapter_of(record, variant)
    reference = serving_of(record, adapter.name) if adapter else None
    width = serving.bits_per_weight if serving else None
    return (
        Cell(percent(kept.share), kept.task, kept.share) if kept else Cell(MISSING),
        Cell(
            size(serving.size_bytes if serving else None),
            "" if width is None else f"{bits(width)} bits/weight",
            serving.size_bytes if serving else None,
        ),
        _spread(serving, "load"),
        _spread(serving, "first_token"),
        _spread(serving, "prefill", "one"),
        _spread(serving, "prefill"),
        _spread(serving, "decode", "one"),
        _spread(serving, "decode"),
        _spread(serving, "memory"),
        _ratio(_speed_ratio(reference, serving)),
        _ratio(_size_ratio(reference, serving)),
    )


def _spread(serving: Serving | None, measure: SpeedMeasure, batch: BatchKind = "many") -> Cell:
    spread = serving.over_runs(measure, batch) if serving else None
    if serving is None or spread is None:
        return Cell(MISSING)
    middle, low, high = (
        size(round(value)) if measure == "memory" else amount(value, "") for value in spread
    )
    if measure == "memory" and serving.is_on_gpu:
        middle += " of GPU"
    return Cell(middle, "" if low == high else _range(low, high), spread.median)


def _range(low: str, high: str) -> str:
    """Two figures with their unit once, where it is the same."""
    number, _, unit = low.partition(" ")
    return f"{number if unit == high.partition(' ')[2] else low} to {high}"


def _speed_ratio(reference: Serving | None, serving: Serving | None) -> float | None:
    spreads = [one.over_runs("decode") if one else None for one in (reference, serving)]
    before, after = spreads
    return None if before is None or after is None else after.median / before.median


def _size_ratio(reference: Serving | None, serving: Serving | None) -> float | None:
    if reference is None or serving is None or not reference.size_bytes or not serving.size_bytes:
        return None
    return serving.size_bytes / reference.size_bytes


def _ratio(value: float | None) -> Cell:
    """A ratio, which reads as 1 only where it is."""
    return Cell(MISSING) if value is None else Cell(amount(value, "", apart_from=(1.0,)), "", value)
