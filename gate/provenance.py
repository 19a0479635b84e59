"""What a stage and a run stood on: versions, machine, commit, moment, memory."""

import importlib.metadata
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from gate import __version__
from gate.records import Provenance

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
        cpu_count=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpus=_gpus(),
        packages=versions(packages),
        git_commit=_git_commit(root),
        gate_version=__version__,
    )


def peak_memory_bytes() -> int:
    """The largest resident set this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * _KIBIBYTE


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


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


def _git_commit(root: Path) -> str | None:
    tool = shutil.which("git")
    if tool is None:
        return None
    return _output([tool, "-C", str(root), "rev-parse", "HEAD"]).strip() or None


def _output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    return done.stdout if done.returncode == 0 else ""
