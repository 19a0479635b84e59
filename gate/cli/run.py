"""gate run: merge, quantize, evaluate, judge, report; the exit status is the verdict."""

import os
import sys
from typing import Annotated

import typer

from gate.cli.ci import announce, without_commands
from gate.cli.options import (
    DEFAULT_CONFIG,
    DEFAULT_REPORTS,
    DEFAULT_STORE,
    ConfigPath,
    ReportsPath,
    StorePath,
)


def run(
    config: ConfigPath = DEFAULT_CONFIG,
    store: StorePath = DEFAULT_STORE,
    reports: ReportsPath = DEFAULT_REPORTS,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            help="Time for the stages: those first that can settle the verdict soonest, and none "
            "after it is settled. What was not run is told, and keeps a release back.",
            metavar="20m",
        ),
    ] = None,
) -> None:
    """Merge, quantize, evaluate side by side, judge and report.

    What an earlier run finished on the same inputs is not done again, nor are documents asked
    again that one scored before it was stopped, or for a smaller limit. A suite with 'sequential'
    is asked look by look, until each check is decided.
    """
    from gate.cli.progress import watch
    from gate.configuring.config import load_config
    from gate.reporting.report_files import REPORT_FILE, render
    from gate.result_records import EXIT_STATUS
    from gate.running.budget import Budget
    from gate.running.runner import run_gate
    from gate.store import Store

    with without_commands(sys.stdout, os.environ):
        with watch(sys.stderr) as watcher:
            finished = run_gate(
                load_config(config),
                store=Store(store),
                reports=reports,
                watcher=watcher,
                budget=None if budget is None else Budget(budget),
            )
        sys.stdout.write(render(finished.record, "text"))
        sys.stdout.write(f"\nreport: {finished.directory / REPORT_FILE}\n")
    announce(finished.record, os.environ, out=sys.stdout, errors=sys.stderr)
    raise typer.Exit(EXIT_STATUS[finished.record.verdict])
