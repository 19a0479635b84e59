"""What of a machine or a cluster stages get, as gate.yaml says it of variants that there are."""

from collections.abc import Iterable
from typing import Literal

from gate.configuring.executors import Executor
from gate.configuring.written import WrittenGate
from gate.configuring.yaml_files import Location, YamlFile
from gate.errors import suggest

_GIBIBYTE = 1 << 30


def executor_of(written: WrittenGate, file: YamlFile) -> Executor:
    """Where stages run.

    Raises:
        ConfigError: it names a variant that there is not.
    """
    _check_variants(written.executor.gpus, ("executor", "gpus"), written, file)
    return written.executor


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
