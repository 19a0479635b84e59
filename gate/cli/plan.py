"""gate plan: what a run would do, and whether its checks can pass at all."""

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from gate.cli.options import (
    DEFAULT_CONFIG,
    DEFAULT_REPORTS,
    DEFAULT_STORE,
    ConfigPath,
    StorePath,
)

_RUNS = 20
"""Earlier runs that are looked through, the newest first."""

PastReports = Annotated[
    Path, typer.Option("--reports", help="Where earlier runs lie, which tell how answers vary.")
]


def plan(
    config: ConfigPath = DEFAULT_CONFIG,
    store: StorePath = DEFAULT_STORE,
    reports: PastReports = DEFAULT_REPORTS,
) -> None:
    """Print the stages, cached or to run and why, the documents, and what each check needs.

    No model is loaded and no stage is run.
    """
    from gate.cli.plan_text import describe
    from gate.configuring.config import load_config
    from gate.planning.past_runs import past_runs
    from gate.planning.released import find_released
    from gate.planning.todo import locate_sources, look_up
    from gate.store import Store

    loaded = load_config(config)
    released = find_released(loaded, reports)
    place = Store(store)
    sources = locate_sources(loaded, place)
    todo = look_up(loaded, sources, place)
    runs = tuple(islice(past_runs(reports), _RUNS))
    sys.stdout.write(describe(loaded, todo, place, sources=sources, runs=runs, released=released))
