"""gate store: look after the outputs of finished stages."""

import sys
from datetime import timedelta
from typing import Annotated

import typer

from gate.cli.options import DEFAULT_STORE, StorePath

app = typer.Typer(help="Look after the outputs of finished stages.", no_args_is_help=True)


@app.callback()
def _store() -> None:
    """Look after the outputs of finished stages."""


@app.command()
def prune(
    store: StorePath = DEFAULT_STORE,
    unused_days: Annotated[
        float, typer.Option("--unused-days", min=0, help="Remove what no run used for this long.")
    ] = 30,
    is_dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")
    ] = False,
) -> None:
    """Remove finished stages that no run has used lately, and what crashes left behind.

    Everything in a store can be made again from base and adapters. It holds no adapter, and
    shares no file with a release, which has its adapters in mergegate/adapters.
    """
    from gate.presentation import size
    from gate.store import Store

    target = Store(store)
    with target.lock(on_wait=_say):
        pruned = target.prune(unused_for=timedelta(days=unused_days), is_dry_run=is_dry_run)
    for label in pruned.labels:
        sys.stdout.write(f"  {label}\n")
    verb = "would free" if is_dry_run else "freed"
    kept = f", the scored documents of {pruned.partials} evaluations" if pruned.partials else ""
    sys.stdout.write(f"{verb} {size(pruned.size_bytes)}, {len(pruned.labels)} stages{kept}\n")


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
