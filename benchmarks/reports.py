"""What report.html takes: its size, the time to render it, the time until a browser can use it.

python benchmarks/reports.py
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from report_pages import Usable, measure_page
from report_records import ARMS, Size, make_record

from gate.errors import StageError
from gate.presentation import MISSING, duration, size
from gate.renderers.html import render
from gate.reporting.report_files import read_record
from gate.storing import cache_folder

USUAL, WORST = 0.05, 0.40
"""Shares of documents that change from one arm to the next."""

_RENDERS = 3
_KEPT_OF_RECORDS = ("pages", "figures", "drawings")
"""What is kept in the user's cache folder, but for the script that all pages have."""

_MANY = 10_000


class Target(NamedTuple):
    """What a report may take; None where there is no limit."""

    size_bytes: int
    render_seconds: float | None
    usable_seconds: float | None


SMALL = Target(3_000_000, 1.0, 1.5)
LARGE = Target(15_000_000, None, None)


class Rendered(NamedTuple):
    """What rendering took, in seconds, the packages being imported.

    Attributes:
        first_ever: the first time on a machine: the script of the figures is made and kept.
        first: the first time in a process after that.
        best: the best of three times after that.
        size_bytes: of the page.
    """

    first_ever: float
    first: float
    best: float
    size_bytes: int


def main() -> None:
    """Print a table: a row for each number of documents and share of them that changed."""
    options = _options()
    if options.render:
        print(json.dumps(_render_here(options.render, options.out)))
        return
    print(f"{len(ARMS)} variants; prompts of 600 characters, four choices; best of {_RENDERS}")
    print()
    print("| documents | changed | report.html | rendered | first in a process | first ever |")
    print("| --- | --- | --- | --- | --- | --- |")
    pages = []
    with tempfile.TemporaryDirectory() as folder:
        for documents in options.documents:
            for changed in (USUAL, WORST):
                page = Path(folder) / f"{documents}-{changed}.html"
                found = measure_render(Size(documents, changed), page)
                print(render_row(Size(documents, changed), found), flush=True)
                pages.append((Size(documents, changed), page))
        print()
        print("| documents | changed | first figure | documents listed | search answered |")
        print("| --- | --- | --- | --- | --- |")
        for one, page in pages:
            print(page_row(one, measure_page(page)), flush=True)
    print()
    print("A bound that is not kept is marked with !")


def measure_render(one: Size, page: Path) -> Rendered:
    """Render a record into a file, in processes of their own.

    Raises:
        StageError: a process ended with another exit status than 0.
    """
    record = page.with_suffix(".json")
    record.write_text(make_record(one).model_dump_json(), encoding="utf-8")
    with tempfile.TemporaryDirectory() as cache:
        first_ever = render_there(record, page, cache)[0]
        first, *others = render_there(record, page, cache)
    record.unlink()
    return Rendered(first_ever, first, min(others), page.stat().st_size)


def render_there(record: Path, page: Path, cache: str) -> list[float]:
    """Seconds of each rendering in a new process with this cache folder.

    Raises:
        StageError: it ended with another exit status than 0.
    """
    command = [sys.executable, __file__, "--render", str(record), "--out", str(page)]
    environment = {**os.environ, "XDG_CACHE_HOME": cache}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StageError(
            f"rendering ended with exit status {done.returncode}",
            hint=f"it said: {done.stderr.strip()[-2000:]}",
        )
    return [float(seconds) for seconds in json.loads(done.stdout)]


def _render_here(file: Path, out: Path) -> list[float]:
    """Seconds of the first rendering and of three more, nothing of the record being kept."""
    import altair  # noqa: F401 - imported before the clock starts
    import scipy.special  # noqa: F401
    import vl_convert  # noqa: F401

    from gate.figures.drawing import draw_svg

    record = read_record(file)
    seconds = []
    for _ in range(1 + _RENDERS):
        draw_svg.cache_clear()
        for kept in _KEPT_OF_RECORDS:
            shutil.rmtree(cache_folder() / kept, ignore_errors=True)
        begun = time.perf_counter()
        text = render(record)
        seconds.append(time.perf_counter() - begun)
    out.write_text(text, encoding="utf-8")
    return seconds


def render_row(one: Size, found: Rendered) -> str:
    """A row of what rendering took, with a mark where a target is not kept."""
    target = LARGE if one.documents >= _MANY else SMALL
    cells = (
        f"{one.documents:,}",
        f"{one.changed:.0%}",
        size(found.size_bytes) + _mark(found.size_bytes, target.size_bytes),
        duration(found.best) + _mark(found.best, target.render_seconds),
        duration(found.first),
        duration(found.first_ever),
    )
    return f"| {' | '.join(cells)} |"


def page_row(one: Size, found: Usable | None) -> str:
    """A row of what a browser took; None where there is none."""
    target = LARGE if one.documents >= _MANY else SMALL
    told = (
        [MISSING] * len(Usable._fields)
        if found is None
        else [duration(moment) + _mark(moment, target.usable_seconds) for moment in found]
    )
    return f"| {' | '.join((f'{one.documents:,}', f'{one.changed:.0%}', *told))} |"


def _mark(found: float, most: float | None) -> str:
    return " !" if most is not None and found > most else ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=int, nargs="+", default=[1_000, 20_000])
    parser.add_argument("--render", type=Path, help="render one record, as a process of its own")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
