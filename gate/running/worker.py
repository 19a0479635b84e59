"""Does a batch of stages: the child's end of the pipe.

The parent writes one JSON line to stdin and keeps the pipe open: when it closes, the parent is
gone and the child stops. The child answers with one JSON event a line on what was stdout;
everything that libraries print goes where stderr goes.
"""

import errno
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO

from gate import extensions
from gate.distributions.reading import compare_candidate, keep_reference
from gate.errors import GateError, StageError
from gate.jobs import Batch, Done, Event, Job, OnEvent, Started, failed
from gate.provenance import interpreter, peak_memory_bytes
from gate.records import WeightReport
from gate.running.answers import EVALUATION_FILE, answer, gather, telling
from gate.running.loading import Loaded, keywords, loaded_for, opened, with_adapters
from gate.terms import JsonValue

if TYPE_CHECKING:
    from gate.engines.language_models import GateLM

__all__ = ["AUDIT_FILE", "EVALUATION_FILE", "REPORT_FILE", "SPEED_FILE", "run_in_process"]

REPORT_FILE = "report.json"
"""The WeightReport beside the output of a merge or quantize stage."""

AUDIT_FILE = "audit.json"
"""The Audit in the output of an audit stage."""

SPEED_FILE = "speed.json"
"""The SpeedRun in the output of a speed stage."""


_WITH_MODEL = ("evaluate", "read")
"""Kinds of stage of which several share a loaded model."""


def run_in_process(batch: Batch, log: Path, on_event: OnEvent) -> None:
    """Run a batch in this process: the child's end, and what tests use.

    Every job ends in a Done or a Failed event.
    """
    del log
    with _telling(batch.jobs, on_event):
        if batch.is_answered:
            _gather(batch, on_event)
        elif batch.jobs[0].stage.kind in _WITH_MODEL:
            _run_loaded(batch, on_event)
        elif batch.jobs[0].stage.kind == "speed":
            _measure(batch.jobs[0], batch.options, on_event)
        else:
            _build(batch, on_event)


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
        on_event(failed(job, told))


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
        report = _make(job, batch.options)
        if report is not None:
            beside = Path(job.out).with_name(REPORT_FILE)
            beside.write_text(report.model_dump_json(indent=1), encoding="utf-8")
        on_event(_done(job, begun))


def _make(job: Job, options: dict[str, JsonValue]) -> WeightReport | None:
    """Make what a job's stage gives; a checkpoint has a report."""
    use, model, out = job.stage.use, Path(job.model), Path(job.out)
    report: WeightReport | None = None
    match job.stage.kind:
        case "audit":
            _audit(job, options)
        case "merge":
            merge = extensions.find("mergers", use.name).function
            report = merge(model, job.adapters, out, **keywords(merge, use, options))
        case "convert":
            convert = extensions.find("quantizers", use.name).module.convert
            convert(model, out, **keywords(convert, use, options))
        case _:
            quantize = extensions.find("quantizers", use.name).function
            given = {**options, "converted": job.converted}
            report = quantize(model, out, **keywords(quantize, use, given))
    return report


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


def _run_loaded(batch: Batch, on_event: OnEvent) -> None:
    """Jobs that share a loaded model, or one with its reference beside it."""
    first = batch.jobs[0]
    alike = tuple(job for job in batch.jobs if job.served == first.served)
    adapted = tuple(job for job in batch.jobs if job.served != first.served)
    begun = time.monotonic()
    on_event(Started(key=first.stage.key))
    with loaded_for(first, batch.options) as loaded:
        loaded.lm.is_reversed = first.is_repeat
        _do(alike, loaded, batch, on_event, begun=begun)
        if adapted:
            with _telling(adapted, on_event):
                _run_adapted(adapted, loaded.lm, batch, on_event)


def _run_adapted(jobs: Sequence[Job], base: "GateLM", batch: Batch, on_event: OnEvent) -> None:
    """Jobs of adapters on a base that was asked before them, and is loaded still.

    Raises:
        GateError: the adapters cannot be put on it.
    """
    begun = time.monotonic()
    on_event(Started(key=jobs[0].stage.key))
    adapted = with_adapters(base, jobs[0].served, batch.options)
    _do(jobs, Loaded(adapted), batch, on_event, begun=begun)


def _do(
    jobs: Sequence[Job], loaded: Loaded, batch: Batch, on_event: OnEvent, *, begun: float
) -> None:
    """Jobs of one loaded model, of which the first has begun with its loading."""
    for job in jobs:
        if job is not jobs[0]:
            begun = time.monotonic()
            on_event(Started(key=job.stage.key))
        with _telling((job,), on_event):
            if job.stage.kind == "evaluate":
                answer(job, loaded.lm, on_event, share=batch.share)
            else:
                _read_job(job, loaded, on_event)
            on_event(_done(job, begun))


def _gather(batch: Batch, on_event: OnEvent) -> None:
    """Put together the evaluations whose documents other workers have kept."""
    for job in batch.jobs:
        begun = time.monotonic()
        on_event(Started(key=job.stage.key))
        with _telling((job,), on_event):
            gather(job)
            on_event(_done(job, begun))


def _measure(job: Job, options: dict[str, JsonValue], on_event: OnEvent) -> None:
    from gate.measuring import measure_speed

    if job.speed is None:
        raise StageError(f"{job.label}: a speed stage without settings")
    begun = time.monotonic()
    on_event(Started(key=job.stage.key))
    with opened(job.served, options) as lm:
        found = measure_speed(
            lm.engine,
            load_seconds=time.monotonic() - begun,
            prompt_tokens=job.speed.prompt_tokens,
            new_tokens=job.speed.new_tokens,
            batch_size=job.speed.batch_size,
            repeat=job.repeat,
        )
    (Path(job.out) / SPEED_FILE).write_text(found.model_dump_json(indent=1), encoding="utf-8")
    on_event(_done(job, begun))


def _read_job(job: Job, loaded: Loaded, on_event: OnEvent) -> None:
    if job.text is None or job.reading is None:
        raise StageError(f"{job.label}: a read stage without a text")
    out, told = Path(job.out), telling(job, on_event)
    engine = loaded.lm.engine
    if job.reference is None:
        keep_reference(engine, job.text, job.reading, out, on_progress=told)
        return
    reference = loaded.reference.engine if loaded.reference else Path(str(job.reference))
    compare_candidate(engine, job.text, job.reading, out, reference=reference, on_progress=told)


def _done(job: Job, begun: float) -> Done:
    return Done(
        key=job.stage.key,
        seconds=time.monotonic() - begun,
        peak_memory_bytes=peak_memory_bytes(),
        interpreter=interpreter(),
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
