"""index.html: one self-contained page of all runs, each with its verdict and the way to it."""

from collections.abc import Iterator, Sequence
from itertools import chain, count
from typing import NamedTuple
from urllib.parse import quote

from gate.figures.figure import Figure
from gate.figures.trends import draw_sizes, draw_trend
from gate.history.runs import Differences, History, Run, differences, products
from gate.history.trends import sizes, trends
from gate.pages.page import render_page
from gate.reporting.report_files import RECORD_FILE, REPORT_FILE
from gate.reporting.signoff_views import DECIDED, MARKS

_MOST_PRODUCTS = 6


class Row(NamedTuple):
    """A run in the table.

    Attributes:
        run: the run.
        differences: what it was judged by that the run before it of its product was not.
        report: the address of its report.html, relative to the page; None where there is none.
        record: that of its record.json.
    """

    run: Run
    differences: Differences
    report: str | None
    record: str


class Product(NamedTuple):
    """What is released again and again: candidates with adapters of the same names.

    Attributes:
        name: the names of the adapters.
        trends: a figure for each task.
        sizes: a figure, or none.
    """

    name: str
    trends: tuple[Figure, ...]
    sizes: tuple[Figure, ...]


def render(history: History) -> str:
    """The history as one HTML page that loads nothing and can be read without its scripts.

    Its links are relative to the folder that the history was collected from.
    """
    found = tuple(_products(history.runs))
    return render_page(
        "history.html.j2",
        parts=("page", "figures", "tables", "history"),
        figures=tuple(chain.from_iterable((*one.trends, *one.sizes) for one in found)),
        islands={},
        rows=tuple(_rows(history.runs)),
        products=found,
        unreadable=history.unreadable,
        releases=len({(run.adapters, run.release) for run in history.runs}),
        decided=DECIDED,
        marks=MARKS,
    )


def address(*names: str) -> str:
    """A relative address that leads through folders of these names, whatever is in them."""
    return "/".join(
        (".", *(quote(name.encode(errors="surrogateescape"), safe="") for name in names))
    )


def _rows(runs: Sequence[Run]) -> Iterator[Row]:
    """A row for each run, the newest first."""
    found = []
    before: dict[tuple[str, ...], Run] = {}
    for run in runs:
        report = address(*run.folder, REPORT_FILE) if run.has_report else None
        changed = differences(run, before.get(run.adapters))
        found.append(Row(run, changed, report, address(*run.folder, RECORD_FILE)))
        before[run.adapters] = run
    return reversed(found)


def _products(runs: Sequence[Run]) -> Iterator[Product]:
    """The products with their figures, the one that was released last first."""
    numbers, size_numbers = count(1), count(1)
    by_newest = sorted(products(runs).items(), key=lambda one: one[1][-1].made_at, reverse=True)
    for adapters, own in by_newest[:_MOST_PRODUCTS]:
        on_disk = sizes(own)
        yield Product(
            name=", ".join(adapters) or "no adapter",
            trends=tuple(draw_trend(one, number=next(numbers)) for one in trends(own)),
            sizes=() if on_disk is None else (draw_sizes(on_disk, number=next(size_numbers)),),
        )
