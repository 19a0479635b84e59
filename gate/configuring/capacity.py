"""What of a machine or a cluster stages get, as gate.yaml says it of variants that there are."""

from collections.abc import Iterable
from math import prod
from typing import Literal

from gate.configuring.executors import Executor
from gate.configuring.written import WrittenGate
from gate.configuring.yaml_files import Location, YamlFile
from gate.errors import suggest
from gate.terms import Use

_SPREADS = ("tensor_parallel_size", "pipeline_parallel_size")
"""Parameters of a backend that say over how many GPUs it spreads a model; their product counts."""

_GIBIBYTE = 1 << 30


def executor_of(written: WrittenGate, file: YamlFile) -> Executor:
    """Where stages run, with the GPUs of each variant whose model is spread over several.

    Raises:
        ConfigError: it names a variant that there is not, or gives one fewer GPUs than its backend
            spreads its model over.
    """
    given = written.executor.gpus
    _check_variants(given, ("executor", "gpus"), written, file)
    if written.executor.name == "local":
        return written.executor
    needed = {name: spread_of(_backend(name, written)) for name in written.variants}
    for name, gpus in given.items():
        if gpus < needed[name] and needed[name] > 1:
            raise file.error(
                ("executor", "gpus", name),
                f"{gpus}, and its backend spreads its model over {needed[name]} GPUs",
                hint=f"give it {needed[name]}, or leave it out",
            )
    spread = {name: gpus for name, gpus in needed.items() if gpus > 1}
    return written.executor.model_copy(update={"gpus": {**spread, **given}})


def spread_of(use: Use) -> int:
    """Over how many GPUs a backend spreads a model, as its parameters say; 1 where they do not."""
    return prod(max(1, int(str(use.params.get(name, 1)))) for name in _SPREADS)


def _backend(name: str, written: WrittenGate) -> Use:
    variant = written.variants[name]
    return (variant and variant.backend) or written.backend


def workers_of(written: WrittenGate) -> int | Literal["auto"]:
    """How many batches run at once; on a cluster, unless it is said, as many as fit there."""
    is_said = "workers" in written.model_fields_set
    return written.workers if is_said or written.executor.name == "local" else "auto"


def memory_of(written: WrittenGate, file: YamlFile) -> dict[str, int]:
    """What each variant takes that gate.yaml says it of, in bytes.

    Raises:
        ConfigError: it names a variant that there is not.
    """
    _check_variants(written.memory_gib, ("memory_gib",), written, file)
    return {name: round(size * _GIBIBYTE) for name, size in written.memory_gib.items()}


def _check_variants(
    names: Iterable[str], location: Location, written: WrittenGate, file: YamlFile
) -> None:
    for name in names:
        if name not in written.variants:
            hint = suggest(name, written.variants)
            raise file.error((*location, name), f"no variant {name!r}", hint=hint)
