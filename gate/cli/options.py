"""The options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ConfigPath = Annotated[Path, typer.Argument(help="The gate to run.", metavar="GATE.YAML")]
StorePath = Annotated[
    Path, typer.Option("--store", help="Where finished stages are kept.", envvar=None)
]
ReportsPath = Annotated[
    Path, typer.Option("--reports", help="Where <release>/<run>/ is written.", envvar=None)
]

DEFAULT_CONFIG = Path("gate.yaml")
DEFAULT_STORE = Path(".gate/store")
DEFAULT_REPORTS = Path("reports")
