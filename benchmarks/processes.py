"""What a command takes as a process of its own: seconds, CPU seconds, peak anonymous memory."""

import ctypes
import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from gate.errors import StageError

INTERVAL_SECONDS = 0.1
_KIBIBYTE = 1024
_TAIL_CHARACTERS = 2000
_LINES = {"smaps_rollup": "Pss_Anon", "status": "RssAnon"}
"""What forked processes share counts once in the first, and for each of them in the second."""

_ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER in linux/prctl.h


class Usage(NamedTuple):
    """What a process took, its children included.

    Attributes:
        seconds: from its start to its end.
        cpu_seconds: user and system time, of all threads and of all processes that it started.
        peak_anonymous_bytes: the largest sum of anonymous memory seen over it and its living
            children; None where the system does not tell.
    """

    seconds: float
    cpu_seconds: float
    peak_anonymous_bytes: int | None


def measure(
    command: tuple[str, ...], *, name: str, log: Path, environment: Mapping[str, str]
) -> Usage:
    """Run a command to its end, its output going to a log file.

    Raises:
        StageError: it ended with another exit status than 0.
    """
    writing = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    redirections = [(os.POSIX_SPAWN_OPEN, 1, str(log), writing, 0o644), (os.POSIX_SPAWN_DUP2, 1, 2)]
    ctypes.CDLL(None).prctl(_ADOPT_ORPHANS, 1, 0, 0, 0)
    begun = time.perf_counter()
    process_id = os.posix_spawnp(command[0], command, environment, file_actions=redirections)
    watch = Watch(os.getpid(), is_counted=False)  # its orphans are children of this process
    _, status, usage = os.wait4(process_id, 0)
    seconds = time.perf_counter() - begun
    peak = watch.stop()
    cpu_seconds = usage.ru_utime + usage.ru_stime + _orphans_seconds()
    if status != 0:
        tail = log.read_text(encoding="utf-8", errors="replace")[-_TAIL_CHARACTERS:]
        ended = os.waitstatus_to_exitcode(status)
        raise StageError(f"{name} ended with exit status {ended}", hint=f"it said: {tail.strip()}")
    return Usage(seconds, cpu_seconds, peak)


def _orphans_seconds() -> float:
    """CPU seconds of what a process started and left behind, once it has ended too."""
    seconds = 0.0
    while True:
        try:
            _, _, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return seconds
        seconds += usage.ru_utime + usage.ru_stime


def memory_source() -> str | None:
    """The file under /proc/PID that tells anonymous memory here: smaps_rollup, else status."""
    return next((file for file in _LINES if _anonymous(os.getpid(), file) is not None), None)


class Watch:
    """A thread that asks for the anonymous memory of a process and its children at intervals."""

    def __init__(self, process_id: int, *, is_counted: bool = True) -> None:
        """Begin to watch a process, or its children alone where it is not counted itself."""
        self._own = (process_id,) if is_counted else ()
        self._peak: int | None = None
        self._source = memory_source()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(process_id,), daemon=True)
        self._thread.start()

    def stop(self) -> int | None:
        """The most that was seen, in bytes; None where the system does not tell."""
        self._ended.set()
        self._thread.join()
        return self._peak

    def _run(self, process_id: int) -> None:
        while self._source is not None and not self._ended.is_set():
            family = (*self._own, *_descendants(process_id))
            found = sum(_anonymous(member, self._source) or 0 for member in family)
            self._peak = max(self._peak or 0, found)
            self._ended.wait(INTERVAL_SECONDS)


def _anonymous(process_id: int, file: str) -> int | None:
    """Bytes of anonymous memory; None where the file or its line is not there."""
    text = _read(Path(f"/proc/{process_id}/{file}"))
    line = re.search(rf"^{_LINES[file]}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(line[1]) * _KIBIBYTE if line else None


def _descendants(process_id: int) -> list[int]:
    tasks = Path(f"/proc/{process_id}/task")
    texts = [_read(tasks / thread / "children") for thread in _list(tasks)]
    children = [int(child) for text in texts for child in text.split()]
    return children + [grandchild for child in children for grandchild in _descendants(child)]


def _list(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:  # the process has ended, or there is no /proc
        return []


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except OSError:
        return ""
