"""A sequential run: each check is asked as many documents as decide it, in any sittings."""

import io

import pytest
from gates import GATE, SUITE, FakeWorker, write_gate, write_task

from gate.cli.plan_text import describe
from gate.cli.progress import PlainLines, watch
from gate.configuring.config import load_config
from gate.planning.todo import locate_sources, look_up
from gate.running.runner import run_gate
from gate.store import Store

DOCUMENTS = 800
GOOD = {"base": 200, "adapter": 760, "merged": 760, "rtn": 760, "broken": 760}
BROKEN = GOOD | {"broken": 400}

SEQUENTIAL = SUITE + "sequential: true\n"
BOTH = GATE.replace(
    "backend:", "  broken: {{merge: stream, quantize: {{name: rtn, bits: 2}}}}\nbackend:"
)


def prepare(folder, base, adapter, *, suite=SEQUENTIAL, gate=BOTH, documents=DOCUMENTS):
    write_gate(folder, base, adapter, gate=gate, suite=suite)
    write_task(folder / "tasks", documents=documents)
    return folder


@pytest.fixture
def gate(tmp_path, base, adapter):
    return prepare(tmp_path, base, adapter)


class Worker(FakeWorker):
    """Answers for 800 documents, and can be stopped before a number of jobs."""

    def __init__(self, right, *, stops_before=None, documents=DOCUMENTS, **settings):
        super().__init__(right, documents=documents, **settings)
        self.stops_before = stops_before

    def __call__(self, batch, log, on_event):
        if self.stops_before is not None and len(self.ran) >= self.stops_before:
            raise KeyboardInterrupt
        super().__call__(batch, log, on_event)


def run(folder, worker, **settings):
    return run_gate(
        load_config(folder / "gate.yaml"),
        store=Store(folder / "store"),
        reports=folder / "reports",
        run_batch=worker,
        **settings,
    ).record


def looks(record):
    return {one.variant: [look.documents for look in one.looks] for one in record.results}


def verdicts(record):
    return {one.variant: one.verdict for one in record.verdicts}


def test_a_broken_variant_is_blocked_at_once_and_a_good_one_promoted_when_it_is_proven(gate):
    worker = Worker(BROKEN)
    record = run(gate, worker)
    assert verdicts(record) == {"merged": "promote", "rtn": "promote", "broken": "block"}
    found = looks(record)
    assert found["broken"] == [50]
    assert found["adapter"] == [50]
    assert found["rtn"] == [50, 100, 200]
    assert found["merged"][:3] == [50, 100, 200]
    assert worker.asked["evaluate broken colors"] == 50
    assert worker.asked["evaluate base colors"] == 50
    assert worker.asked["evaluate rtn colors"] == 200


def test_what_is_made_is_made_once(gate):
    worker = Worker(BROKEN)
    run(gate, worker)
    made = [label for label in worker.ran if not label.startswith("evaluate")]
    assert len(made) == len(set(made)) == 6


def test_the_record_has_each_evaluation_once_at_the_cost_of_all_its_looks(gate):
    worker = Worker(BROKEN)
    record = run(gate, worker)
    stages = {one.label: one for one in record.stages if one.kind == "evaluate"}
    assert len(stages) == 5
    assert not any(one.is_cached for one in record.stages)
    assert stages["evaluate broken colors"].seconds == 1.0
    assert stages["evaluate rtn colors"].seconds == worker.ran.count("evaluate rtn colors") > 2


def test_a_second_run_asks_nothing_and_says_the_same(gate):
    first = run(gate, Worker(BROKEN))
    worker = Worker(BROKEN)
    second = run(gate, worker)
    assert worker.ran == []
    assert all(one.is_cached for one in second.stages)
    same = {"results", "verdicts", "verdict", "scores", "corpora", "warnings"}
    assert first.model_dump_json(include=same) == second.model_dump_json(include=same)
    assert [one.seconds for one in first.stages] == [one.seconds for one in second.stages]


def test_verdicts_do_not_depend_on_how_the_run_was_cut_into_sittings(gate, tmp_path, base, adapter):
    whole = run(gate, Worker(BROKEN))
    cut = prepare(tmp_path / "cut", base, adapter)
    sittings = 0
    while True:
        sittings += 1
        try:
            resumed = run(cut, Worker(BROKEN, stops_before=2))
            break
        except KeyboardInterrupt:
            continue
    assert sittings > 4
    same = {"results", "verdicts", "verdict", "scores", "corpora", "warnings"}
    assert whole.model_dump_json(include=same) == resumed.model_dump_json(include=same)


def test_a_stage_that_failed_is_not_tried_again_at_the_next_look(gate):
    worker = Worker(GOOD, fails="quantize broken")
    record = run(gate, worker)
    assert worker.ran.count("quantize broken") == 1
    assert verdicts(record) == {"merged": "promote", "rtn": "promote", "broken": "error"}


def test_a_variant_of_faulty_weights_is_asked_no_further_and_the_record_says_so(gate):
    worker = Worker(GOOD, faults={"audit quantize rtn": ["layer 3 differs"]})
    record = run(gate, worker)
    assert worker.asked["evaluate rtn colors"] == 50
    assert worker.asked["evaluate broken colors"] == 200
    assert (
        "rtn was asked 50 of 800 documents of colors and no more: audit quantize rtn found a fault"
    ) in record.warnings


def test_what_only_blocked_variants_need_is_asked_no_further(gate):
    worker = Worker(GOOD | dict.fromkeys(("merged", "rtn", "broken"), 400))
    record = run(gate, worker)
    assert verdicts(record) == {"merged": "block", "rtn": "block", "broken": "block"}
    assert set(worker.asked.values()) == {50}
    assert (
        "rtn was asked 50 of 800 documents of colors and no more: "
        "merged-vs-adapter[colors]:delta failed"
    ) in record.warnings


def test_each_look_is_told_in_one_line(gate):
    told = io.StringIO()
    run(gate, Worker(BROKEN), watcher=PlainLines(told))
    lines = told.getvalue().splitlines()
    assert lines[0] == "11 stages: 0 cached, 11 to run"
    begun = lines.index("look 2: 100 documents; 2 of 4 checks open")
    assert lines[begun + 1] == "look 3: 200 documents; 2 of 4 checks open"
    assert not any("evaluate" in line for line in lines[begun:])


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def test_a_terminal_has_one_line_for_each_later_look(gate, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    told = Terminal()
    with watch(told) as watcher:
        run(gate, Worker(BROKEN), watcher=watcher)
    later = told.getvalue().partition("look 2: 100 documents; 2 of 4 checks open\n")[2]
    assert "look 3: 200 documents; 2 of 4 checks open\n" in later
    assert "done evaluate" not in later


def test_a_plan_shows_the_first_look_and_the_sizes_of_all(gate):
    config, store = load_config(gate / "gate.yaml"), Store(gate / "store")
    sources = locate_sources(config, store)
    todo = look_up(config, sources, store)
    text = describe(config, todo, store, sources=sources)
    assert {one.task.limit for one in todo.plan.stages if one.task} == {50}
    assert "stages of the first look" in text
    assert "colors: 800 (acc); looked at after 50, 100, 200, 400, 800" in text


def test_a_stage_that_fails_at_a_later_look_is_told(gate):
    class Failing(Worker):
        def __call__(self, batch, log, on_event):
            self.fails = "evaluate rtn" if "evaluate rtn colors" in self.ran else None
            super().__call__(batch, log, on_event)

    told = io.StringIO()
    record = run(gate, Failing(GOOD), watcher=PlainLines(told))
    assert "evaluate rtn colors: FAILED: it broke" in told.getvalue()
    assert verdicts(record)["rtn"] == "error"


def test_the_last_look_is_the_stage_of_a_run_that_is_not_sequential(gate):
    run(gate, Worker(GOOD | {"rtn": 738}))
    (gate / "suite.yaml").write_text(SUITE)
    worker = Worker(GOOD | {"rtn": 738})
    run(gate, worker)
    assert worker.ran == [
        "evaluate base colors",
        "evaluate adapter colors",
        "evaluate broken colors",
    ]


def test_the_noise_is_known_on_as_many_documents_as_are_judged(tmp_path, base, adapter):
    suite = SEQUENTIAL.replace("noise_floor: false\n", "")
    suite = suite.replace("margin: 0.02", "margin: 0.06").replace("margin: 0.03", "margin: 0.01")
    worker = Worker(GOOD)
    record = run(prepare(tmp_path, base, adapter, suite=suite), worker)
    found = looks(record)
    assert found["merged"][-1] < found["rtn"][-1] == 800
    assert worker.asked["evaluate adapter colors"] == 800
    assert worker.asked["evaluate adapter colors again"] == 800
    assert record.noise[0].delta.n == 800


def test_a_task_with_fewer_documents_than_the_first_look_is_asked_whole(tmp_path, base, adapter):
    folder = prepare(tmp_path, base, adapter, documents=40)
    right = dict.fromkeys(GOOD, 40) | {"base": 1}
    worker = Worker(right, documents=40)
    record = run(folder, worker)
    assert record.verdict == "inconclusive"
    assert worker.ran.count("evaluate rtn colors") == 1


def test_a_limit_is_the_last_look(tmp_path, base, adapter):
    limited = SEQUENTIAL.replace("acc, path", "acc, limit: 120, path")
    folder = prepare(tmp_path, base, adapter, suite=limited)
    worker = Worker(GOOD)
    record = run(folder, worker)
    assert worker.asked["evaluate merged colors"] == 120
    assert looks(record)["merged"] == [50, 100, 120]
    assert verdicts(record)["merged"] == "inconclusive"


def test_documents_that_are_counted_only_when_the_data_is_loaded(tmp_path, base, adapter):
    folder = prepare(tmp_path, base, adapter)
    rows = (folder / "tasks" / "colors.jsonl").read_text()
    (folder / "tasks" / "colors.json").write_text(rows)
    task = folder / "tasks" / "colors.yaml"
    task.write_text(task.read_text().replace("colors.jsonl", "colors.json"))
    record = run(folder, Worker(BROKEN))
    assert looks(record)["broken"] == [50]
    assert verdicts(record) == {"merged": "promote", "rtn": "promote", "broken": "block"}


ON_SERVER = "backend: {{name: endpoint, url: 'http://127.0.0.1:9', model: canary}}}}"


def test_a_server_is_asked_each_look_once_a_run_and_anew_by_the_next(tmp_path, base, adapter):
    served = BOTH.replace("bits: 8}}}}", f"bits: 8}}}}, {ON_SERVER}")
    folder = prepare(tmp_path, base, adapter, gate=served)
    first, second = Worker(BROKEN), Worker(BROKEN)
    run(folder, first)
    run(folder, second)
    assert first.ran.count("evaluate rtn colors") > 1
    assert second.ran == ["evaluate rtn colors"] * first.ran.count("evaluate rtn colors")
