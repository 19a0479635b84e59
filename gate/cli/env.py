"""gate env: environments for the engines that cannot share one with the rest."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.options import DEFAULT_STORE, StorePath

if TYPE_CHECKING:
    from gate.environments import Environment

app = typer.Typer(
    help="Make the environments of engines that cannot share one: vllm, llmcompressor.",
    no_args_is_help=True,
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="vllm or llmcompressor.", metavar="NAME")],
    store: StorePath = DEFAULT_STORE,
    python: Annotated[
        str | None, typer.Option("--python", help="The Python to make it with.", metavar="PATH")
    ] = None,
    requirements: Annotated[
        Path | None,
        typer.Option(
            "--requirements", help="A file of your own instead of the tested pins.", metavar="FILE"
        ),
    ] = None,
) -> None:
    """Make an environment with tested pins in the store, where every run will find it.

    One that is there and of the same requirements is left as it is.
    """
    from gate.installation import create as create_environment

    created = create_environment(
        name, store=store, python=python, requirements=requirements, say=_say
    )
    state = "ready" if created.is_new else "already there"
    sys.stdout.write(f"{name}: {state}: {_told(created.environment)}\n")


@app.command(name="list")
def list_environments(store: StorePath = DEFAULT_STORE) -> None:
    """List the environments there can be, and what is in those that have been made."""
    from gate.environments import find_environment
    from gate.recipes import NAMES, recipe_of

    for name in NAMES:
        found = find_environment(name, store=store)
        told = f"not made: gate env create {name}" if found is None else _told(found)
        if found is not None and found.requirements != recipe_of(name).digest:
            told += "; of other requirements than this version's tested ones"
        sys.stdout.write(f"{name}: {told}\n")


def _told(found: "Environment") -> str:
    from gate.presentation import size

    versions = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    return f"Python {found.python_version}, {versions}; {size(found.size_bytes)}; {found.python}"


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
