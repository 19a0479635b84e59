"""What the machine offers a gate: cores, memory, GPUs, disk."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from gate.provenance import collect_provenance
from gate.terms import Noun

_MEBIBYTE = 1024**2
_PATIENCE_SECONDS = 20
_COLUMNS = 3


class Gpu(Noun):
    """An NVIDIA GPU.

    Attributes:
        name: as its driver calls it.
        memory_bytes: all of its memory.
        capability: CUDA compute capability, such as 9.0; FP8 kernels begin at 8.9.
    """

    name: str
    memory_bytes: int
    capability: float


class Disk(Noun):
    """Space for what a gate writes.

    Attributes:
        path: the folder that was asked for, which need not exist.
        free_bytes: that a user may still write there.
        is_writable: whether the nearest folder that exists can be written.
    """

    path: str
    free_bytes: int
    is_writable: bool


class Machine(Noun):
    """What there is to run on; `gpus` is empty where no NVIDIA driver answers."""

    platform: str
    cpu: str
    cpu_count: int
    memory_bytes: int
    gpus: tuple[Gpu, ...]


def look_at_machine() -> Machine:
    """The machine that this runs on."""
    found = collect_provenance((), root=Path.cwd())
    return Machine(
        platform=found.platform,
        cpu=found.cpu,
        cpu_count=found.cpu_count,
        memory_bytes=found.memory_bytes,
        gpus=_gpus(),
    )


def look_at_disk(path: Path) -> Disk:
    """The space at a folder, or at the nearest one above it that exists."""
    here = path.absolute()
    while not here.exists():
        here = here.parent
    usage = shutil.disk_usage(here)
    return Disk(path=str(path), free_bytes=usage.free, is_writable=_is_writable(here))


def read_gpus(table: str) -> tuple[Gpu, ...]:
    """The GPUs of a table of lines 'name, MiB, compute capability', as nvidia-smi prints it.

    A line that is something else, such as a message of the driver, is passed over.
    """
    rows = [[cell.strip() for cell in line.rsplit(",", _COLUMNS - 1)] for line in table.split("\n")]
    return tuple(
        Gpu(name=row[0], memory_bytes=int(row[1]) * _MEBIBYTE, capability=float(row[2]))
        for row in rows
        if len(row) == _COLUMNS and row[1].isdecimal() and row[2].replace(".", "", 1).isdecimal()
    )


def _gpus() -> tuple[Gpu, ...]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    asked = ["--query-gpu=name,memory.total,compute_cap", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            [tool, *asked], capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return read_gpus(done.stdout) if done.returncode == 0 else ()


def _is_writable(folder: Path) -> bool:
    """Whether a file can be made there: root passes every test of permissions but this one."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
