"""Whether two models have room at once, from their files' sizes, before either is loaded."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from gate.errors import StageError
from gate.jobs import Served

_WEIGHTS = (".safetensors", ".gguf", ".bin")
_MEMORY = Path("/proc/meminfo")
_LIMIT, _USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
_KIBIBYTE, _GIBIBYTE = 1 << 10, 1 << 30
_LOGITS_BYTES = _GIBIBYTE  # for both models' distributions, and what their activations take


def check_room(models: Iterable[Served], *, available_bytes: int | None) -> None:
    """See that models can be in memory at once; nothing is said where what is free is not known.

    Raises:
        StageError: their files alone take more than is free.
    """
    needed = needed_bytes(models)
    if available_bytes is not None and needed > available_bytes:
        raise StageError(
            f"reference and candidate take {needed / _GIBIBYTE:.1f} GiB together, and "
            f"{available_bytes / _GIBIBYTE:.1f} GiB are free",
            hint="set distributions: {vocabulary: top} in the suite, which loads one at a time",
        )


def needed_bytes(models: Iterable[Served]) -> int:
    """What models take that are in memory at once, estimated from their files' sizes."""
    return sum(map(_bytes, models)) + _LOGITS_BYTES


def free_bytes() -> int | None:
    """Memory that a process may still take here: the machine's, or its container's if less."""
    free = []
    with suppress(OSError):
        for line in _MEMORY.read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                free.append(int(line.split()[1]) * _KIBIBYTE)
    with suppress(OSError, ValueError):  # a container without a limit says max
        free.append(int(_LIMIT.read_text()) - int(_USED.read_text()))
    return min(free, default=None)


def _bytes(model: Served) -> int:
    """What a model's files take in memory; 16 bits that are computed in float32 take twice."""
    files = [file for file in Path(model.model).rglob("*") if file.suffix in _WEIGHTS]
    files += [file for one in model.adapters for file in one.path.glob("*.safetensors")]
    size = sum(file.stat().st_size for file in files)
    return size * (2 if model.use.params.get("dtype") == "float32" else 1)
