"""A run with a budget: what settles the verdict comes first, and what was left out is told."""

import io
import json

import pytest
from gates import SUITE, FakeWorker, write_gate, write_task

from gate.cli.progress import watch
from gate.configuring.config import load_config
from gate.errors import ConfigError
from gate.jobs import Failed
from gate.planning.todo import locate_sources, look_up
from gate.reporting.report_files import render
from gate.running.budget import Budget
from gate.running.runner import run_gate
from gate.store import Store

GOOD = {"base": 90, "adapter": 280, "merged": 280, "rtn": 280}
NOTHING_ANSWERED = "the budget of 1m was spent"


class Clock:
    """Seconds that pass when a worker says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class SlowWorker(FakeWorker):
    """Takes time by a clock of its own: so many seconds for each job.

    Attributes:
        hangs: a job that begins with this takes all the time there is, and is stopped.
        limits: what each batch was given, in seconds.
    """

    def __init__(self, right, clock, *, seconds=10.0, hangs=None, **settings):
        super().__init__(right, **settings)
        self.clock = clock
        self.seconds = seconds
        self.hangs = hangs
        self.limits = []

    def __call__(self, batch, log, on_event):
        self.limits.append(batch.limit_seconds)
        for job in batch.jobs:
            if self.hangs and job.label.startswith(self.hangs):
                self.clock.now += batch.limit_seconds
                on_event(
                    Failed(key=job.stage.key, problem="it was killed", hint=None, exit_status=3)
                )
                continue
            self.clock.now += self.seconds
            super().__call__(batch.model_copy(update={"jobs": (job,)}), log, on_event)


def run(folder, worker, budget=None, watcher=None):
    return run_gate(
        load_config(folder / "gate.yaml"),
        store=Store(folder / "store"),
        reports=folder / "reports",
        run_batch=worker,
        watcher=watcher,
        budget=budget and Budget(budget, clock=worker.clock),
    ).record


@pytest.fixture
def gate(tmp_path, base, adapter):
    write_gate(tmp_path, base, adapter)
    return tmp_path


def skipped(record):
    return {one.label: one.skipped for one in record.stages if one.skipped}


def notes(record):
    return [warning for warning in record.warnings if warning.startswith("not run: ")]


def test_a_budget_that_suffices_changes_no_verdict(gate):
    record = run(gate, SlowWorker(GOOD, Clock()), "1h")
    assert record.verdict == "promote"
    assert not skipped(record)
    assert not notes(record)
    assert record.run.budget_seconds == 3600


def test_without_a_budget_the_record_has_none(gate):
    worker = SlowWorker(GOOD, Clock())
    assert run(gate, worker).run.budget_seconds is None
    assert set(worker.limits) == {None}


def test_what_there_was_no_time_for_keeps_the_release_back_and_is_told(gate):
    record = run(gate, SlowWorker(GOOD, Clock(), seconds=25), "1m")
    assert record.verdict == "inconclusive"
    assert {one.verdict for one in record.verdicts} == {"inconclusive"}
    assert NOTHING_ANSWERED in skipped(record).values()
    assert all(one.error is None for one in record.stages)
    assert any(NOTHING_ANSWERED in note for note in notes(record))
    left_out = [one for one in record.results if one.outcome == "inconclusive"]
    assert any("was not evaluated on colors" in one.reason for one in left_out)


def test_a_later_run_does_what_was_left_out(gate):
    run(gate, SlowWorker(GOOD, Clock(), seconds=25), "1m")
    worker = SlowWorker(GOOD, Clock())
    record = run(gate, worker)
    assert record.verdict == "promote"
    assert 0 < len(worker.ran) < len(record.stages)


def test_once_a_shipped_variant_is_blocked_nothing_more_is_run(gate):
    clock = Clock()
    worker = SlowWorker(GOOD | {"merged": 100}, clock)
    record = run(gate, worker, "1h")
    assert record.verdict == "block"
    assert "evaluate rtn colors" not in worker.ran
    why = "the verdict cannot change any more: merged is blocked"
    assert why in skipped(record).values()
    assert any(note.endswith(why) for note in notes(record))


def test_a_fault_in_the_weights_settles_the_verdict(gate):
    worker = SlowWorker(GOOD, Clock(), faults={"audit merge merged": ["model.norm: changed"]})
    assert run(gate, worker, "1h").verdict == "block"
    assert not any(label.startswith("evaluate") for label in worker.ran)


def test_a_failure_settles_the_verdict(gate):
    worker = SlowWorker(GOOD, Clock(), fails="evaluate merged")
    record = run(gate, worker, "1h")
    assert record.verdict == "error"
    assert any("could not be judged" in why for why in skipped(record).values())


def test_a_variant_that_does_not_ship_settles_nothing(gate):
    path = gate / "gate.yaml"
    path.write_text(path.read_text() + "ship: [merged]\n")
    record = run(gate, SlowWorker(GOOD | {"rtn": 10}, Clock()), "1h")
    assert record.verdict == "promote"
    assert not skipped(record)


def test_an_audit_that_was_left_out_is_no_error(gate):
    record = run(gate, SlowWorker(GOOD, Clock(), seconds=25), "20s")
    assert {one.is_skipped for one in record.audits} == {True}
    assert record.verdict == "inconclusive"
    assert "audit merge merged: not done: " in render(record, "text")


def test_a_stage_that_is_running_when_the_time_ends_is_stopped_and_nothing_failed(gate):
    worker = SlowWorker(GOOD, Clock(), hangs="evaluate adapter")
    record = run(gate, worker, "1h")
    assert record.verdict == "inconclusive"
    assert "it was stopped when the budget of 1h was spent" in skipped(record).values()
    assert all(one.error is None for one in record.stages)


def test_a_stage_that_was_stopped_is_told_as_such_while_it_goes(gate):
    told = io.StringIO()
    with watch(told) as watcher:
        run(gate, SlowWorker(GOOD, Clock(), hangs="evaluate adapter"), "1h", watcher=watcher)
    assert "it was stopped when the budget of 1h was spent" in told.getvalue()
    assert "FAILED" not in told.getvalue()


def test_what_is_known_to_take_longer_than_what_is_left_is_not_begun(gate):
    """An earlier candidate's stages have the same names, and told how long they take."""
    run(gate, SlowWorker(GOOD, Clock()))
    write_task(gate / "tasks", documents=299)
    for file in (gate / "store").glob("evaluate/*/stage.json"):
        stage = json.loads(file.read_text())
        stage["cost"]["seconds"] = 500.0
        file.write_text(json.dumps(stage))
    worker = SlowWorker(GOOD, Clock())
    record = run(gate, worker, "5m")
    assert not any(label.startswith("evaluate") for label in worker.ran)
    why = "about 8 min 20 s of work, and 5 min 00 s left of the budget of 5m"
    assert why in skipped(record).values()


def test_a_look_that_was_cut_is_judged_by_the_one_before(tmp_path, base, adapter):
    right = {"base": 200, "adapter": 760, "merged": 752, "rtn": 760}
    config = load_config(write_gate(tmp_path, base, adapter, suite=SUITE + "sequential: true\n"))
    write_task(tmp_path / "tasks", documents=800)
    store = Store(tmp_path / "store")
    first_look = look_up(config, locate_sources(config, store), store).to_run
    worker = SlowWorker(right, Clock(), documents=800)
    record = run(tmp_path, worker, f"{10 * len(first_look) + 5}s")
    assert len(worker.ran) == len(first_look) + 1
    assert record.verdict == "inconclusive"
    assert all(one.estimate for one in record.results)
    assert any("and no more: the run was cut short" in warning for warning in record.warnings)
    later = run(tmp_path, SlowWorker(right, Clock(), documents=800))
    assert max(len(one.looks) for one in later.results) > 1


@pytest.mark.parametrize("text", ["", "20", "0m", "-5m", "an hour", "20 m 3"])
def test_a_budget_that_is_no_time_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match="no time") as refused:
        Budget(text)
    assert "20m" in (refused.value.hint or "")


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("20m", 1200), (" 1.5h ", 5400)])
def test_a_budget_is_written_in_seconds_minutes_or_hours(text, seconds):
    assert Budget(text).seconds == seconds
