"""A run with several workers: the same record, whatever runs beside what."""

import shutil
import threading
from contextlib import contextmanager

import pytest
from gates import SUITE, FakeWorker, write_gate
from safetensors.torch import load_file, save_file

from gate.configuring.config import load_config
from gate.errors import ConfigError
from gate.jobs import Failed, Line, Started
from gate.running.budget import Budget
from gate.running.children import run_in_child
from gate.running.filling import Watcher
from gate.running.runner import run_gate
from gate.running.worker import run_in_process
from gate.store import Store

GOOD = {"base": 90, "adapter": 280, "merged": 280, "rtn": 280}
PATIENCE = 120.0
SAID = ("results", "verdicts", "verdict", "scores", "corpora", "audits", "warnings")
PICO = """\
release: v1
candidate:
  base: {base}
  adapters: {{support: {adapter}}}
variants:
  base: {{adapters: []}}
  adapter: {{}}
  merged: {{merge: stream}}
backend: {{name: hf, batch_size: 7}}
suite: suite.yaml
"""
PICO_SUITE = """\
tasks:
  - {name: colors, metric: acc, path: tasks/colors.yaml, limit: 40}
checks:
  - {of: merged, against: adapter, compare: delta, margin: 0.02}
noise_floor: false
"""


def run(folder, worker, *, workers=2, store="store", **settings):
    config = load_config(folder / "gate.yaml").model_copy(update={"workers": workers})
    return run_gate(
        config,
        store=Store(folder / store),
        reports=folder / "reports",
        run_batch=worker,
        **settings,
    ).record


@pytest.fixture
def gate(tmp_path, base, adapter):
    write_gate(tmp_path, base, adapter)
    return tmp_path


class MeetingWorker(FakeWorker):
    """Of the batches with these labels none goes on before all of them have begun."""

    def __init__(self, *labels):
        super().__init__(GOOD)
        self.labels = labels
        self.meeting = threading.Barrier(len(labels))

    def __call__(self, batch, log, on_event):
        if batch.jobs[0].label in self.labels:
            self.meeting.wait(PATIENCE)
            self.met(batch, log, on_event)
        else:
            super().__call__(batch, log, on_event)

    def met(self, batch, log, on_event):
        super().__call__(batch, log, on_event)


class StuckWorker(MeetingWorker):
    """Of those that have met, the first tells what went wrong, the other runs until it is stopped.

    Attributes:
        stopped: labels of what was stopped.
    """

    def __init__(self, fault, *labels):
        super().__init__(*labels)
        self.fault = fault
        self.stopped = []

    def met(self, batch, log, on_event):
        job = batch.jobs[0]
        if job.label == self.labels[0]:
            on_event(self.fault(job))
            return
        stop = threading.Event()
        assert isinstance(on_event, Line)
        with on_event.stopped_by(stop.set):
            assert stop.wait(PATIENCE)
            self.stopped.append(job.label)


def test_variants_are_evaluated_at_once(gate):
    record = run(gate, MeetingWorker("evaluate base colors", "evaluate adapter colors"))
    assert record.verdict == "promote"


def test_a_variant_is_evaluated_while_another_is_still_made(gate):
    run(gate, MeetingWorker("evaluate merged colors", "quantize rtn"), workers=4)


def test_the_record_says_the_same_whatever_the_number_of_workers(gate):
    records = [
        run(gate, FakeWorker(GOOD), workers=workers, store=f"store{workers}")
        for workers in (1, 2, 5)
    ]
    for field in SAID:
        assert len({one.model_dump_json(include={field}) for one in records}) == 1, field
    assert len({tuple(stage.key for stage in one.stages) for one in records}) == 1
    assert len({tuple(made.digest for made in one.artifacts) for one in records}) == 1


def test_the_record_tells_the_threads_of_what_was_scored_beside_others(gate, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    told = {stage.label: stage.threads for stage in run(gate, FakeWorker(GOOD)).stages}
    assert told["evaluate merged colors"] == 3
    assert told["merge merged"] is None


def test_what_is_made_or_measured_computes_as_if_it_were_alone(gate):
    """The bytes of a quantized model, and its speed, may depend on the number of threads."""
    given = {}

    class Noting(FakeWorker):
        def __call__(self, batch, log, on_event):
            given[batch.jobs[0].label] = {**batch.variables, **batch.options}
            super().__call__(batch, log, on_event)

    run(gate, Noting(GOOD))
    assert not {"OMP_NUM_THREADS", "threads"} & given["quantize rtn"].keys()
    scored = given["evaluate rtn colors"]
    assert scored["OMP_NUM_THREADS"] == str(scored["threads"])


def test_a_failed_stage_takes_only_its_heirs_along(gate):
    worker = FakeWorker(GOOD, fails="quantize rtn")
    record = run(gate, worker)
    assert {one.variant: one.verdict for one in record.verdicts} == {
        "merged": "promote",
        "rtn": "error",
    }
    assert "evaluate merged colors" in worker.ran
    assert "evaluate rtn colors" not in worker.ran


def test_wrong_input_found_late_stops_what_runs_beside_it(gate):
    def refuses(job):
        return Failed(key=job.stage.key, problem="no such field", hint=None, exit_status=2)

    worker = StuckWorker(refuses, "evaluate base colors", "evaluate adapter colors")
    with pytest.raises(ConfigError, match="no such field"):
        run(gate, worker)
    assert worker.stopped == ["evaluate adapter colors"]


def test_an_interrupt_stops_all_workers_and_keeps_what_is_done(gate):
    class Interrupting(Watcher):
        def event(self, planned, event):
            if planned.label == "evaluate base colors":
                raise KeyboardInterrupt

    def begins(job):
        return Started(key=job.stage.key)

    worker = StuckWorker(begins, "evaluate base colors", "evaluate rtn colors")
    with pytest.raises(KeyboardInterrupt):
        run(gate, worker, watcher=Interrupting())
    assert worker.stopped == ["evaluate rtn colors"]
    resumed = FakeWorker(GOOD)
    assert run(gate, resumed).verdict == "promote"
    assert "merge merged" not in resumed.ran


def test_the_end_of_the_budget_stops_all_workers(gate):
    now = [1000.0]

    def takes_all_time(job):
        return Failed(key=job.stage.key, problem="killed", hint=None, exit_status=3)

    class Slow(MeetingWorker):
        def met(self, batch, log, on_event):
            assert batch.limit_seconds == 60
            now[0] = 1060.0
            on_event(takes_all_time(batch.jobs[0]))

    worker = Slow("evaluate base colors", "evaluate adapter colors")
    record = run(gate, worker, budget=Budget("1m", clock=lambda: now[0]))
    skipped = {one.label: one.skipped for one in record.stages if one.skipped}
    assert {skipped[label] for label in worker.labels} == {
        "it was stopped when the budget of 1m was spent"
    }
    assert all(one.error is None for one in record.stages)


def test_speed_is_measured_alone(tmp_path, base, adapter):
    class Busy(FakeWorker):
        at_once, beside_speed = 0, 0

        def __call__(self, batch, log, on_event):
            with self.counted() as others:
                if batch.jobs[0].stage.kind == "speed":
                    self.beside_speed += others
                super().__call__(batch, log, on_event)
                if batch.jobs[0].stage.kind == "speed":
                    self.beside_speed += self.at_once - 1

        @contextmanager
        def counted(self):
            self.at_once += 1
            yield self.at_once - 1
            self.at_once -= 1

    suite = SUITE + "speed: {repeats: 2}\n"
    write_gate(tmp_path, base, adapter, suite=suite)
    worker = Busy(GOOD, speeds=dict.fromkeys(GOOD, 50.0))
    run(tmp_path, worker, workers=4)
    assert any(label.startswith("speed") for label in worker.ran)
    assert worker.beside_speed == 0


def test_children_give_the_same_bytes_whatever_their_number_and_where_they_come_from(
    tmp_path, base, adapter
):
    write_gate(tmp_path, base, adapter, gate=PICO, suite=PICO_SUITE)
    record = run(tmp_path, run_in_process, workers=1, store="alone")
    run(tmp_path, run_in_child, workers=3, store="started")
    run(tmp_path, None, workers=3, store="forked")
    run(tmp_path, None, workers=1, store="forked alone")
    for stage in record.stages:
        if stage.kind == "evaluate":
            path = f"evaluate/{stage.key}/output/evaluation.json"
            stores = ("alone", "started", "forked", "forked alone")
            assert len({(tmp_path / store / path).read_bytes() for store in stores}) == 1
    logs = [log.read_text() for log in (tmp_path / "forked" / "logs").iterdir()]
    assert logs
    assert not any("not forked" in log for log in logs)


def batches_told(batches, worker):
    """Runs batches as another worker does, and notes the labels of each."""

    def noting(batch, log, on_event):
        batches.append([job.label for job in batch.jobs])
        worker(batch, log, on_event)

    return noting


def test_the_base_is_loaded_once_for_itself_and_the_adapter_on_it(gate):
    alone, beside = [], []
    run(gate, batches_told(alone, FakeWorker(GOOD)), workers=1, store="alone")
    run(gate, batches_told(beside, FakeWorker(GOOD)), workers=2, store="beside")
    assert ["evaluate base colors", "evaluate adapter colors"] in alone
    assert ["evaluate base colors"] in beside


def test_an_adapter_that_cannot_be_put_on_the_base_takes_nothing_of_the_bases_along(
    tmp_path, base, adapter
):
    idle = shutil.copytree(adapter, tmp_path / "idle")
    weights = load_file(idle / "adapter_model.safetensors")
    nothing = {name: tensor * 0 for name, tensor in weights.items()}
    save_file(nothing, idle / "adapter_model.safetensors", metadata={"format": "pt"})
    write_gate(tmp_path, base, idle, gate=PICO, suite=PICO_SUITE)
    batches = []
    record = run(tmp_path, batches_told(batches, run_in_process), workers=1)
    assert ["evaluate base colors", "evaluate adapter colors"] in batches
    told = {stage.label: stage.error for stage in record.stages}
    assert "changes nothing" in told["evaluate adapter colors"]
    assert told["evaluate base colors"] is None
