"""gate run: merge, quantize, evaluate, judge, report; the exit status is the verdict."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from gate.configuring.config import GateConfig


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
    workers: Annotated[
        str | None,
        typer.Option(
            "--workers",
            help="How many variants are worked on at once, whatever gate.yaml says; auto: one a "
            "GPU, or on CPUs as many as there are cores and memory for.",
            metavar="N|auto",
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
                _told(load_config(config), workers),
                store=Store(store),
                reports=reports,
                watcher=watcher,
                budget=None if budget is None else Budget(budget),
            )
        sys.stdout.write(render(finished.record, "text"))
        sys.stdout.write(f"\nreport: {finished.directory / REPORT_FILE}\n")
    announce(finished.record, os.environ, out=sys.stdout, errors=sys.stderr)
    raise typer.Exit(EXIT_STATUS[finished.record.verdict])


def _told(config: "GateConfig", workers: str | None) -> "GateConfig":
    """A config with as many workers as the command line says.

    Raises:
        ConfigError: that is no number of workers.
    """
    from gate.errors import ConfigError

    if workers is None:
        return config
    if workers != "auto" and not (workers.isdecimal() and int(workers)):
        raise ConfigError(
            f"--workers {workers}: no number of workers", hint="for example 2 or auto"
        )
    return config.model_copy(update={"workers": workers if workers == "auto" else int(workers)})
