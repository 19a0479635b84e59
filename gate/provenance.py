"""What a stage and a run stood on: versions, machine, commit, moment, memory."""

import importlib.metadata
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from gate import __version__
from gate.cores import core_count
from gate.records import Provenance

NOT_INSTALLED = "not installed"
"""The version of a distribution that is absent."""

_KIBIBYTE = 1024


def versions(packages: Iterable[str]) -> dict[str, str]:
    """{distribution: installed version}; 'not installed' for one that is absent."""
    return {package: _version(package) for package in sorted(packages)}


def collect_provenance(packages: Iterable[str], *, root: Path) -> Provenance:
    """The machine and interpreter of now, with the versions of some distributions.

    Args:
        packages: distributions to name.
        root: the folder whose git commit is recorded, if it is in a repository.
    """
    return Provenance(
        created_at=datetime.now(UTC).replace(microsecond=0),
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=_cpu_name(),
        cpu_count=core_count(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpus=_gpus(),
        packages=versions(packages),
        git_commit=_git_commit(root),
        gate_version=__version__,
    )


def machine() -> str:
    """What decides how fast a model runs here: processor, cores, memory and GPUs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _KIBIBYTE**3
    return ", ".join((_cpu_name(), f"{core_count()} cores", f"{memory} GiB", *_gpus()))


def interpreter() -> str:
    """The Python that runs this: version and path."""
    return f"{platform.python_version()} ({sys.executable})"


def peak_memory_bytes() -> int:
    """The largest resident sets of this process and of its living descendants, added up, in bytes.

    Each had its own at its own time, and what they share counts for each: an upper bound of what
    they held together. Without /proc, as on macOS, it is this process's alone.
    """
    family = _with_descendants(os.getpid())
    peaks = [peak for process in family if (peak := _peak_of(process)) is not None]
    if peaks:
        return sum(peaks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * _KIBIBYTE


def gpu_memory_bytes() -> int:
    """What the driver counts on all GPUs for this process and its living descendants, in bytes.

    As of now; 0 where there is no GPU, and where a container hides which process holds what.
    """
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    asked = ["--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    return _held_by(_with_descendants(os.getpid()), _output([tool, *asked]))


def _held_by(family: Iterable[int], table: str) -> int:
    """The bytes of a family in a table of lines 'process, MiB'."""
    members = {str(process) for process in family}
    rows = (line.replace(" ", "").split(",") for line in table.splitlines())
    # a driver that cannot tell writes [N/A]
    held = [row[1] for row in rows if row[0] in members and row[1].isdecimal()]
    return sum(map(int, held)) * _KIBIBYTE**2


def _with_descendants(process: int) -> list[int]:
    """A process and everything living that it has started, directly or not."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended while we looked
            # the name is in brackets, and can hold any character
            parent = int(entry.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.parent.name))
    family = [process]
    for member in family:
        family += children.get(member, [])
    return family


def _peak_of(process: int) -> int | None:
    """A process's largest resident set since its program was started, in bytes.

    Not the rusage of the process: that begins with what its parent held when it was forked.
    """
    with suppress(OSError):
        status = Path(f"/proc/{process}/status").read_text(errors="replace")
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * _KIBIBYTE
    return None


@lru_cache(maxsize=256)
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return NOT_INSTALLED


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpus() -> tuple[str, ...]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    return tuple(_output([tool, "--query-gpu=name", "--format=csv,noheader"]).splitlines())


def repository(folder: Path) -> Path | None:
    """The root of the git repository that a folder is in; None where it is in none."""
    root = _git(folder, "rev-parse", "--show-toplevel")
    return Path(root) if root else None


def _git_commit(root: Path) -> str | None:
    return _git(root, "rev-parse", "HEAD")


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says of a folder on one line; None without git or outside of a repository."""
    tool = shutil.which("git")
    if tool is None:
        return None
    return _output([tool, "-C", str(folder), *arguments]).strip("\n") or None


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    return done.stdout if done.returncode == 0 else ""
