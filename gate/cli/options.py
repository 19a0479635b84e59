"""The options that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gate.errors import ConfigError, suggest

if TYPE_CHECKING:
    from gate.terms import LocalAdapter


ConfigPath = Annotated[Path, typer.Argument(help="The gate to run.", metavar="GATE.YAML")]
StorePath = Annotated[
    Path, typer.Option("--store", help="Where finished stages are kept.", envvar=None)
]
ReportsPath = Annotated[
    Path, typer.Option("--reports", help="Where <release>/<run>/ is written.", envvar=None)
]

DTYPES = ("auto", "bfloat16", "float16", "float32")
METHODS = ("linear", "sequential", "ties", "dare_linear", "dare_ties", "magnitude_prune")
PRECISIONS = ("w16", "nf4", "nf4_requantized")

DEFAULT_CONFIG = Path("gate.yaml")
DEFAULT_STORE = Path(".gate/store")
DEFAULT_REPORTS = Path("reports")

BasePath = Annotated[
    str, typer.Argument(help="A base model: a directory, or org/name@commit.", metavar="BASE")
]
AdapterPaths = Annotated[
    list[str],
    typer.Argument(help="Adapters: directories, or org/name@commit.", metavar="ADAPTER..."),
]
MovedAdapters = Annotated[
    list[str] | None,
    typer.Option("--adapter", help="An adapter that is not where it was read.", metavar="NAME=DIR"),
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        "--weight", help="A factor of one adapter's change, by its folder's name.", metavar="NAME=X"
    ),
]
Method = Annotated[
    str,
    typer.Option(
        "--method",
        help=f"How several adapters are combined: {', '.join(METHODS)}.",
    ),
]
Density = Annotated[
    float,
    typer.Option("--density", help="Share of each change that ties, dare and pruning keep."),
]
Seed = Annotated[int, typer.Option("--seed", help="Of dare's random pruning.")]
DoubleQuant = Annotated[
    bool, typer.Option(help="Whether the 4-bit scales are in 8 bits, where that is simulated.")
]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Read weights that run code when they are read.")
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Let the model run Python code of its own.")
]


def one_of(option: str, value: str, known: tuple[str, ...]) -> Any:
    """The value of an option that takes one of a few words.

    Raises:
        ConfigError: another word.
    """
    if value not in known:
        raise ConfigError(f"{option}: no {value!r}", hint=suggest(value, known))
    return value


def adapter_folders(given: Sequence[str]) -> dict[str, Path]:
    """{name: folder} of adapters given as NAME=DIR.

    Raises:
        ConfigError: one is not in that form.
    """
    folders = {}
    for text in given:
        name, _, folder = text.partition("=")
        if not name or not folder:
            raise ConfigError(
                f"--adapter {text}: no folder", hint="for example intents=adapters/v3"
            )
        folders[name] = Path(folder)
    return folders


def local_adapters(
    given: Sequence[str], weights: Sequence[str], *, allow_pickle: bool, trust_remote_code: bool
) -> "tuple[LocalAdapter, ...]":
    """Adapters as given on the command line, each by its folder's name, with its weight.

    Raises:
        ConfigError: two of one name, or a weight that is no number or of no adapter.
        SourceError: missing, unreadable or refused.
    """
    from gate.sources import find_directory
    from gate.terms import LocalAdapter

    factors = dict(_weight(text) for text in weights)
    found: dict[str, LocalAdapter] = {}
    for one in given:
        path = find_directory(
            one,
            root=Path.cwd(),
            kind="adapter",
            allow_pickle=allow_pickle,
            trust_remote_code=trust_remote_code,
        )
        name = one.partition("@")[0].rstrip("/").rpartition("/")[2]
        if name in found:
            raise ConfigError(f"two adapters named {name}", hint="rename one of their folders")
        found[name] = LocalAdapter(name=name, path=path, weight=factors.pop(name, 1.0))
    for name in factors:
        raise ConfigError(f"--weight {name}: no such adapter", hint=suggest(name, found))
    return tuple(found.values())


def _weight(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise ConfigError(f"--weight {text}: no number", hint="for example intents=0.5") from error
