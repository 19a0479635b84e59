"""A batch of stages in a child process: both ends of the pipe.

The parent writes one JSON line to the child's stdin and keeps the pipe open: when it closes, the
parent is gone and the child stops. The child answers with one JSON event a line on stdout;
everything that libraries print goes to a log file, whose tail becomes part of the error when the
child dies.
"""

import errno
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from pydantic import TypeAdapter

from gate import extensions
from gate.errors import GateError, StageError
from gate.jobs import Batch, Done, Event, Failed, Job, OnEvent, Progress, Started
from gate.provenance import peak_memory_bytes
from gate.records import WeightReport
from gate.terms import JsonValue, Use

if TYPE_CHECKING:
    from gate.language_models import GateLM

EVALUATION_FILE = "evaluation.json"
"""The file in an evaluate stage's output."""

REPORT_FILE = "report.json"
"""The WeightReport beside the output of a merge or quantize stage."""

AUDIT_FILE = "audit.json"
"""The Audit in the output of an audit stage."""

_LOG_TAIL_LINES = 20
_GRACE_SECONDS = 10


_EVENTS: TypeAdapter[Event] = TypeAdapter(Event)


def run_in_process(batch: Batch, log: Path, on_event: OnEvent) -> None:
    """Run a batch in this process: the child's end, and what tests use.

    Every job ends in a Done or a Failed event.
    """
    del log
    with _telling(batch.jobs, on_event):
        if batch.jobs[0].stage.kind == "evaluate":
            _evaluate(batch, on_event)
        else:
            _build(batch, on_event)


def run_in_child(
    batch: Batch, log: Path, on_event: OnEvent, *, python: Sequence[str] = (sys.executable,)
) -> None:
    """Run a batch in a child process; one that dies is a Failed event with its log's tail.

    Raises:
        KeyboardInterrupt: the user stopped the run; the child has been stopped too.
    """
    pending = {job.stage.key: job for job in batch.jobs}
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("wb") as log_file,
        subprocess.Popen(
            [*python, "-m", "gate.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log_file,
            text=True,
            start_new_session=True,
            env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},  # spinning starves shared cores
        ) as child,
    ):
        try:
            for event in _converse(child, batch):
                if isinstance(event, Done | Failed):
                    pending.pop(event.key, None)
                on_event(event)
        except BaseException:
            _stop(child)
            raise
    told, hint = _post_mortem(child.returncode, log)
    for job in pending.values():
        on_event(_failed(job, StageError(told, hint=hint)))


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


def _stop(child: "subprocess.Popen[str]") -> None:
    child.terminate()
    try:
        child.wait(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _post_mortem(returncode: int, log: Path) -> tuple[str, str | None]:
    """Why a child died without a word, and the tail of its log."""
    tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    told = "".join(f"\n    {line}" for line in tail)
    if returncode < 0:
        name = signal.Signals(-returncode).name
        problem = f"the child was killed by {name}"
        if name == "SIGKILL":
            return (
                f"{problem}{told}",
                "most likely out of memory: use a smaller batch_size or dtype",
            )
        return f"{problem}{told}", "the engine crashed; its last words are above"
    return f"the child ended with exit status {returncode} before it was done{told}", None


def _failed(job: Job, error: GateError) -> Failed:
    return Failed(
        key=job.stage.key, problem=error.problem, hint=error.hint, exit_status=error.exit_status
    )


@contextmanager
def _telling(jobs: Sequence[Job], on_event: OnEvent) -> Iterator[None]:
    """Turn an error inside into a Failed event for each of these jobs."""
    try:
        yield
    except GateError as error:
        told = error
    except Exception as error:  # noqa: BLE001 (process edge: told as the stage's failure)
        traceback.print_exc()
        told = _explain(error)
    else:
        return
    for job in jobs:
        on_event(_failed(job, told))


def _explain(error: Exception) -> StageError:
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "free some space with 'gate store prune', then run again" if is_full else None
        return StageError(f"{error.strerror}{where}", hint=hint)
    return StageError(f"{type(error).__name__}: {error}", hint="the traceback is in its log")


def _build(batch: Batch, on_event: OnEvent) -> None:
    for job in batch.jobs:
        begun = time.monotonic()
        on_event(Started(key=job.stage.key))
        if job.stage.kind == "merge":
            merge = extensions.find("mergers", job.stage.use.name).function
            keywords = _keywords(merge, job.stage.use, batch.options)
            report = merge(Path(job.model), job.adapters, Path(job.out), **keywords)
        elif job.stage.kind == "audit":
            _audit(job, batch.options)
            on_event(_done(job, begun))
            continue
        else:
            quantize = extensions.find("quantizers", job.stage.use.name).function
            keywords = _keywords(quantize, job.stage.use, batch.options)
            report = quantize(Path(job.model), Path(job.out), **keywords)
        beside = Path(job.out).with_name(REPORT_FILE)
        beside.write_text(report.model_dump_json(indent=1), encoding="utf-8")
        on_event(_done(job, begun))


def _audit(job: Job, options: dict[str, JsonValue]) -> None:
    from gate.auditing.artifacts import audit_artifact  # loads torch

    if job.base is None:
        raise StageError(f"{job.label}: an audit stage without a base")
    found = audit_artifact(
        Path(job.base),
        job.adapters,
        Path(job.model),
        merged=Path(job.merged) if job.merged else None,
        use=job.stage.use,
        base_precision=_chosen_precision(Path(job.model)),
        trust_remote_code=bool(options.get("trust_remote_code")),
        allow_pickle=bool(options.get("allow_pickle")),
    )
    (Path(job.out) / AUDIT_FILE).write_text(found.model_dump_json(indent=1), encoding="utf-8")


def _chosen_precision(model: Path) -> str | None:
    report = model.with_name(REPORT_FILE)
    if not report.is_file():
        return None
    return WeightReport.model_validate_json(report.read_bytes()).base_precision


def _evaluate(batch: Batch, on_event: OnEvent) -> None:
    first = batch.jobs[0]
    begun = time.monotonic()
    on_event(Started(key=first.stage.key))
    open_model = extensions.find("backends", first.stage.use.name).function
    keywords = _keywords(open_model, first.stage.use, batch.options)
    with open_model(Path(first.model), first.adapters, **keywords) as lm:
        for job in batch.jobs:
            if job is not first:
                begun = time.monotonic()
                on_event(Started(key=job.stage.key))
            with _telling((job,), on_event):
                _evaluate_job(job, lm, on_event)
                on_event(_done(job, begun))


def _evaluate_job(job: Job, lm: "GateLM", on_event: OnEvent) -> None:
    from gate.evaluate import evaluate_task  # loads lm-eval

    if job.task is None:
        raise StageError(f"{job.label}: an evaluate stage without a task")
    evaluation = evaluate_task(
        lm,
        job.task,
        on_progress=lambda done, total: on_event(
            Progress(key=job.stage.key, done=done, total=total)
        ),
    )
    file = Path(job.out) / EVALUATION_FILE
    file.write_text(evaluation.model_dump_json(), encoding="utf-8")


def _keywords(
    function: Callable[..., object], use: Use, options: dict[str, JsonValue]
) -> dict[str, JsonValue]:
    """The parameters of gate.yaml, with those of the gate's own that the function takes."""
    accepted = inspect.signature(function).parameters
    return {**{key: options[key] for key in options if key in accepted}, **use.params}


def _done(job: Job, begun: float) -> Done:
    return Done(
        key=job.stage.key,
        seconds=time.monotonic() - begun,
        peak_memory_bytes=peak_memory_bytes(),
    )


def main() -> None:
    """The child: read a batch from stdin, answer with events on what was stdout."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    batch = Batch.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_follow_parent, args=(sys.stdin,), daemon=True).start()

    def emit(event: Event) -> None:
        events.write(event.model_dump_json() + "\n")

    run_in_process(batch, Path(os.devnull), emit)


def _follow_parent(stdin: TextIO) -> NoReturn:
    stdin.read()
    os._exit(StageError.exit_status)


if __name__ == "__main__":
    main()
