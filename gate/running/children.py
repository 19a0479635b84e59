"""A batch of stages in a child process: the parent's end of the pipe.

When the child dies or hangs, the tail of its log becomes part of the error.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter

from gate.environments import gate_alone
from gate.errors import StageError
from gate.jobs import Batch, Done, Event, Failed, Line, OnEvent, Started, failed

_LOG_TAIL_LINES = 20
_GRACE_SECONDS = 10

_EVENTS: TypeAdapter[Event] = TypeAdapter(Event)


def run_in_child(
    batch: Batch, log: Path, on_event: OnEvent, *, python: Sequence[str] = (sys.executable,)
) -> None:
    """Run a batch in a child process; one that dies or hangs is a Failed event with its log's tail.

    A batch that names an interpreter runs there, with this gate's code and nothing else of this
    interpreter. Where `on_event` is a Line, cutting it stops the child.

    Raises:
        KeyboardInterrupt: the user stopped the run; the child has been stopped too.
    """
    pending = {job.stage.key: job for job in batch.jobs}
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("wb") as log_file,
        subprocess.Popen(
            [*((batch.python,) if batch.python else python), "-m", "gate.running.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log_file,
            text=True,
            start_new_session=True,
            env=_environment(batch),
        ) as child,
        _stopping(child, on_event),
    ):
        watchdog = _Watchdog(child, batch.timeout_seconds, batch.limit_seconds)
        try:
            for event in _converse(child, batch):
                if isinstance(event, Started):
                    watchdog.begin()
                if isinstance(event, Done | Failed):
                    pending.pop(event.key, None)
                on_event(event)
        except BaseException:
            _stop(child)
            raise
        finally:
            watchdog.end()
            _kill_group(child)  # an engine may have left children of its own
    for job in pending.values():
        on_event(failed(job, _post_mortem(child.returncode, log, watchdog)))


class _Watchdog:
    """Kills a child whose job takes too long, or all of them; begins anew with each job."""

    def __init__(
        self, child: "subprocess.Popen[str]", seconds: float | None, in_all: float | None
    ) -> None:
        self.seconds = seconds
        self.has_bitten = False
        self._child = child
        self._end = None if in_all is None else time.monotonic() + in_all
        self._timer: threading.Timer | None = None
        self.begin()

    def begin(self) -> None:
        """Give the next job its whole time, or what is left for all of them."""
        self.end()
        left = None if self._end is None else max(0.0, self._end - time.monotonic())
        seconds = min((one for one in (self.seconds, left) if one is not None), default=None)
        if seconds is not None:
            self._timer = threading.Timer(seconds, self._bite)
            self._timer.daemon = True
            self._timer.start()

    @property
    def is_over(self) -> bool:
        """Whether it has bitten because the time for all of them was over."""
        return self.has_bitten and self._end is not None and time.monotonic() >= self._end

    def end(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def _bite(self) -> None:
        self.has_bitten = True
        _kill_group(self._child)


def _environment(batch: Batch) -> dict[str, str]:
    """The child's variables; another interpreter finds the gate and nothing beside it."""
    spinless = {"OMP_WAIT_POLICY": "PASSIVE"}  # spinning starves shared cores
    variables = {**spinless, **os.environ, **batch.variables}
    if batch.python is not None:
        variables["PYTHONPATH"] = str(gate_alone())
    return variables


def _converse(child: "subprocess.Popen[str]", batch: Batch) -> Iterator[Event]:
    """Send the batch, give its events as they come, and wait for the end."""
    stdin, stdout = child.stdin, child.stdout
    if stdin is None or stdout is None:
        raise StageError("the child has no pipes")
    with suppress(BrokenPipeError):
        stdin.write(batch.model_dump_json() + "\n")
        stdin.flush()
        yield from map(_EVENTS.validate_json, stdout)
    child.wait()
    with suppress(BrokenPipeError):
        stdin.close()


def _stopping(child: "subprocess.Popen[str]", on_event: OnEvent) -> AbstractContextManager[None]:
    """While this lasts, who listens to a child can stop it."""
    if isinstance(on_event, Line):
        return on_event.stopped_by(partial(_stop, child))
    return nullcontext()


def _stop(child: "subprocess.Popen[str]") -> None:
    child.terminate()
    try:
        child.wait(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _kill_group(child: "subprocess.Popen[str]") -> None:
    """Kill the child and whatever it started: it leads a session of its own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _post_mortem(returncode: int, log: Path, watchdog: _Watchdog) -> StageError:
    """Why a child ended without a word for its jobs, with the tail of its log."""
    tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    told = "".join(f"\n    {line}" for line in tail)
    if watchdog.is_over:
        return StageError(f"it was stopped when the time for its stages was over{told}")
    if watchdog.has_bitten and watchdog.seconds is not None:
        return StageError(
            f"it took longer than {watchdog.seconds / 60:g} minutes and was stopped{told}",
            hint="give it more with 'timeout_minutes' in gate.yaml, or see why it hangs",
        )
    if returncode >= 0:
        return StageError(f"the child ended with exit status {returncode} before it was done{told}")
    name = signal.Signals(-returncode).name
    hint = "the engine crashed; its last words are above"
    if name == "SIGKILL":
        hint = "most likely out of memory: use a smaller batch_size or dtype"
    return StageError(f"the child was killed by {name}{told}", hint=hint)
