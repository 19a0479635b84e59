"""How many cores of the machine are this process's own."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


class _Group(NamedTuple):
    """A control group of this process, and the tree that it is in."""

    tree: Path
    name: str


def core_count(*, groups: Path = _GROUPS, own: Path = _OWN) -> int:
    """The cores that this process may run on, or those that its control groups grant if less.

    Containers and systemd grant a time on all cores; a part of a core counts as one.

    Args:
        groups: where the system shows its control groups.
        own: the file in which it says which of them this process is in.

    Returns:
        At least 1.
    """
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    granted = (math.ceil(cores) for cores in _granted(groups, own))
    return max(1, min((here or 1, *granted)))


def _granted(groups: Path, own: Path) -> Iterator[float]:
    """Cores that each group grants which has a limit: this process's own, and those around it."""
    for group in _groups(groups, own):
        folder = group.tree / group.name.lstrip("/")
        for one in (folder, *folder.parents):
            with suppress(OSError, ValueError, ZeroDivisionError):  # no limit is no number
                yield _limit(one)
            if one == group.tree:
                break


def _groups(groups: Path, own: Path) -> Iterator[_Group]:
    """The groups that limit the time on cores, of both versions of control groups."""
    lines: list[str] = []
    with suppress(OSError):
        lines = own.read_text(encoding="utf-8").splitlines()
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if not controllers:
            yield _Group(groups, name)
        elif "cpu" in controllers.split(","):
            yield _Group(groups / "cpu", name)


def _limit(group: Path) -> float:
    """Cores that one group grants.

    Raises:
        OSError: it says nothing of it.
        ValueError: it has no limit.
    """
    file = group / "cpu.max"
    if file.is_file():
        quota, period = map(int, file.read_text(encoding="utf-8").split())
    else:
        quota = int((group / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
        period = int((group / "cpu.cfs_period_us").read_text(encoding="utf-8"))
    if quota <= 0:
        raise ValueError(f"{group} has no limit")
    return quota / period
