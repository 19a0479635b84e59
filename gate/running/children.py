"""A batch of stages in a child process: the parent's end of the pipe.

A child is forked from a process that has imported what it needs, or started where there is none.
When it dies or hangs, the tail of its log becomes part of the error.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter

from gate.environments import gate_alone
from gate.errors import StageError
from gate.jobs import Batch, Done, Event, Failed, Line, OnEvent, RunBatch, Started, failed
from gate.running.forks import CannotFork, Child
from gate.running.servers import Forks

_LOG_TAIL_LINES = 20
_GRACE_SECONDS = 10

_EVENTS: TypeAdapter[Event] = TypeAdapter(Event)


def run_in_child(
    batch: Batch,
    log: Path,
    on_event: OnEvent,
    *,
    python: Sequence[str] = (sys.executable,),
    forks: Forks | None = None,
) -> None:
    """Run a batch in a child process; one that dies or hangs is a Failed event with its log's tail.

    A batch that names an interpreter runs there, with this gate's code and nothing else of this
    interpreter. Where `on_event` is a Line, cutting it stops the child.

    Args:
        batch: what to do.
        log: the file that takes what libraries say.
        on_event: hears what the child tells.
        python: the command that starts a child.
        forks: gives a child without starting one, where the batch names no interpreter.

    Raises:
        KeyboardInterrupt: the user stopped the run; the child has been stopped too.
    """
    pending = {job.stage.key: job for job in batch.jobs}
    end = None if batch.limit_seconds is None else time.monotonic() + batch.limit_seconds
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("wb") as log_file,
        _begin(batch, log_file, python, forks, partial(_is_over, on_event, end)) as child,
        _stopping(child, on_event),
    ):
        watchdog = _Watchdog(child, batch.timeout_seconds, end)
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
        on_event(failed(job, _post_mortem(child.wait(), log, watchdog)))


@contextmanager
def forked_children(*, expected: Mapping[str, str] | None) -> Iterator[RunBatch]:
    """What runs batches in forked children, as `run_in_child` otherwise, while this lasts.

    Args:
        expected: variables of batches that will load a model into torch; None where none will.
    """
    with Forks(None if expected is None else _variables(expected)) as forks:
        yield partial(run_in_child, forks=forks)


def _begin(
    batch: Batch,
    log: IO[bytes],
    python: Sequence[str],
    forks: Forks | None,
    is_over: Callable[[], bool],
) -> Child:
    """A child, which waits for its batch."""
    environment = _environment(batch)
    if forks is not None and batch.python is None:
        try:
            return forks.fork(batch, log, environment=environment, is_over=is_over)
        except CannotFork as error:
            log.write(f"gate: started this process, not forked it: {error.problem}\n".encode())
            log.flush()
    return subprocess.Popen(
        [*((batch.python,) if batch.python else python), "-m", "gate.running.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
        env=environment,
    )


def _is_over(on_event: OnEvent, end: float | None) -> bool:
    """Whether nobody listens any more, or the time of all jobs is over."""
    is_cut = isinstance(on_event, Line) and on_event.is_cut
    return is_cut or (end is not None and time.monotonic() >= end)


class _Watchdog:
    """Kills a child whose job takes too long, or all of them; begins anew with each job."""

    def __init__(self, child: Child, seconds: float | None, end: float | None) -> None:
        self.seconds = seconds
        self.has_bitten = False
        self._child = child
        self._end = end
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
    variables = _variables(batch.variables)
    if batch.python is not None:
        variables["PYTHONPATH"] = str(gate_alone())
    return variables


def _variables(own: Mapping[str, str]) -> dict[str, str]:
    """The variables of here, with a child's own."""
    spinless = {"OMP_WAIT_POLICY": "PASSIVE"}  # spinning starves shared cores
    return {**spinless, **os.environ, **own}


def _converse(child: Child, batch: Batch) -> Iterator[Event]:
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


def _stopping(child: Child, on_event: OnEvent) -> AbstractContextManager[None]:
    """While this lasts, who listens to a child can stop it."""
    if isinstance(on_event, Line):
        return on_event.stopped_by(partial(_stop, child))
    return nullcontext()


def _stop(child: Child) -> None:
    child.terminate()
    try:
        child.wait(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _kill_group(child: Child) -> None:
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
