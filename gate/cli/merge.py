"""gate merge: base + adapters as one checkpoint, whole or not at all."""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from gate.cli.options import (
    DTYPES,
    METHODS,
    PRECISIONS,
    AdapterPaths,
    AllowPickle,
    BasePath,
    Density,
    DoubleQuant,
    Method,
    Seed,
    TrustRemoteCode,
    Weights,
    local_adapters,
    one_of,
)
from gate.errors import ConfigError, StageError

_DEVICES = ("auto", "cpu", "cuda")


def merge(
    base: BasePath,
    adapters: AdapterPaths,
    *,
    out: Annotated[Path, typer.Option("--out", help="The directory to make.", metavar="DIR")],
    weights: Weights = None,
    method: Method = "linear",
    density: Density = 1.0,
    seed: Seed = 0,
    dtype: Annotated[
        str, typer.Option("--dtype", help=f"Of the result: {', '.join(DTYPES)}.")
    ] = "auto",
    base_precision: Annotated[
        str,
        typer.Option(
            "--base-precision",
            help="What a QLoRA adapter is added to: w16, nf4, nf4_requantized or auto.",
        ),
    ] = "w16",
    double_quant: DoubleQuant = True,
    texts: Annotated[
        list[Path] | None,
        typer.Option("--text", help="JSON lines of texts for --base-precision auto."),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="Where products are calculated: auto, cpu or cuda.")
    ] = "auto",
    allow_pickle: AllowPickle = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Merge adapters into a base model: exact, one rounding, in the base's own layout."""
    from gate.mergers import stream
    from gate.presentation import percent
    from gate.sources import find_directory

    begun = time.monotonic()
    options: Any = {"allow_pickle": allow_pickle, "trust_remote_code": trust_remote_code}
    directory = find_directory(base, root=Path.cwd(), kind="base", **options)
    local = local_adapters(adapters, weights or [], **options)
    with _whole_or_absent(out) as place:
        report = stream.merge(
            directory,
            local,
            place,
            dtype=one_of("--dtype", dtype, DTYPES),
            method=one_of("--method", method, METHODS),
            density=density,
            seed=seed,
            base_precision=one_of("--base-precision", base_precision, (*PRECISIONS, "auto")),
            double_quant=double_quant,
            texts=[str(text) for text in texts or ()],
            device=one_of("--device", device, _DEVICES),
            **options,
        )
    for warning in report.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    size = f"{report.parameters / 1e6:,.1f} M weights, {report.weight_bytes / 1e9:,.2f} GB"
    by = report.merger or "stream"
    sys.stdout.write(f"{out}: {size}, merged by {by} in {time.monotonic() - begun:.1f} s\n")
    if report.kept:
        worst = min(report.kept, key=lambda name: report.kept[name])
        sys.stdout.write(
            f"{len(report.kept)} tensors changed; rounding kept at least "
            f"{percent(report.kept[worst])} of each change ({worst})\n"
        )


@contextmanager
def _whole_or_absent(out: Path) -> Iterator[Path]:
    """A directory beside the wanted one, which takes its name when it is whole."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            f"{out}: exists and is not an empty directory", hint="give another one, or remove it"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror}") from error
    try:
        whole = place / out.name
        yield whole
        if out.exists():
            out.rmdir()
        whole.rename(out)
    except OSError as error:
        raise StageError(f"{out}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)
