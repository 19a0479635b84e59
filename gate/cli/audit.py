"""gate audit: proof on the weights alone that a merge is base + adapters, or what is not."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from gate.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from gate.audit_records import Audit

_SHOWN = 20


def audit(
    base: BasePath,
    adapters: AdapterPaths,
    merged: Annotated[
        Path, typer.Argument(help="The merged checkpoint, made by any tool.", metavar="MERGED")
    ],
    *,
    weights: Weights = None,
    method: Method = "linear",
    density: Density = 1.0,
    seed: Seed = 0,
    dtype: Annotated[
        str, typer.Option("--dtype", help=f"What was asked for: {', '.join(DTYPES)}.")
    ] = "auto",
    base_precision: Annotated[
        str,
        typer.Option(
            "--base-precision",
            help="What a QLoRA adapter was added to: w16, nf4 or nf4_requantized.",
        ),
    ] = "w16",
    double_quant: DoubleQuant = True,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write what was found of each tensor here.")
    ] = None,
    allow_pickle: AllowPickle = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Prove that a merge holds base + adapters, tensor by tensor; exit status 1 where it does not.

    The weights are read once and not loaded, so that they may be larger than memory.
    """
    from gate.auditing.artifacts import weights_and_sidecars
    from gate.auditing.merges import audit_merge
    from gate.auditing.sidecars import audit_sidecars
    from gate.sources import find_directory

    options: Any = {"allow_pickle": allow_pickle, "trust_remote_code": trust_remote_code}
    if not merged.is_dir():
        raise SourceError(f"{merged}: no such directory", hint="the merged checkpoint comes last")
    place = find_directory(base, root=Path.cwd(), kind="base", **options)
    local = local_adapters(adapters, weights or [], **options)
    found = audit_merge(
        place,
        local,
        merged,
        method=one_of("--method", method, METHODS),
        density=density,
        seed=seed,
        dtype=one_of("--dtype", dtype, DTYPES),
        base_precision=one_of("--base-precision", base_precision, PRECISIONS),
        double_quant=double_quant,
        **options,
    )
    beside = audit_sidecars(place, merged, adapters=local, trust_remote_code=trust_remote_code)
    found = weights_and_sidecars(found, beside)
    if json_file is not None:
        _write(json_file, found)
    for warning in found.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    sys.stdout.write(_text(found))
    raise typer.Exit(0 if found.is_proven else 1)


def _write(file: Path, found: "Audit") -> None:
    try:
        file.write_text(found.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from error


def _text(found: "Audit") -> str:
    changed = [one for one in found.tensors if one.kept_share is not None]
    untouched = [one for one in found.tensors if one.kept_share is None]
    lines = []
    if found.is_proven:
        exact = sum(one.outcome == "exact" for one in changed)
        counts = [f"{exact} tensors exact"]
        if exact < len(changed):
            counts.append(f"{len(changed) - exact} within rounding")
        counts.append(f"{len(untouched)} untouched")
        schedule = found.schedule or "no single one"
        lines.append(f"proven: {', '.join(counts)}; schedule: {schedule}")
    else:
        count = len(found.faults)
        lines.append(f"not proven: {count} fault{'' if count == 1 else 's'}")
        lines += [f"  {fault}" for fault in found.faults[:_SHOWN]]
        if count > _SHOWN:
            lines.append(f"  and {count - _SHOWN} more: --json FILE has them all")
    if changed:
        least = min(changed, key=lambda one: one.kept_share or 0.0)
        lines.append(f"least of the change is kept in {least.tensor}: {least.kept_share:.2%}")
    return "".join(f"{line}\n" for line in lines)
