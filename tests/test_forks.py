"""Forked children: as those that are started, without the time that importing takes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gate.jobs import Batch, Done, Failed, Job, Line, Started
from gate.running.children import run_in_child
from gate.running.servers import Forks, Imports
from gate.terms import LocalAdapter, Stage, Use

PATIENCE = 120.0
WITNESSED = ("json", "gate.running.worker")
"""What is imported before a fork, here: next to nothing."""


def make_batch(folder: Path, *, name="witness", end="hangs", model=None, adapters=()) -> Batch:
    stage = Stage(kind="merge", use=Use(name=name), inputs={"base": "b"}, code="c", packages={})
    out = folder / "work" / "output"
    out.mkdir(parents=True)
    (folder / "END").write_text(end)
    job = Job(
        stage=stage,
        label="merge merged",
        model=str(model or folder),
        adapters=adapters,
        task=None,
        out=str(out),
    )
    return Batch(jobs=(job,), options={})


def forking(*modules: str) -> Forks:
    return Forks(imports=Imports(weights=modules))


@pytest.fixture
def forks():
    with forking(*WITNESSED) as forks:
        yield forks


def wait_until(is_true):
    end = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.05)


def seen(folder: Path) -> dict:
    wait_until((folder / "seen").is_file)
    return json.loads((folder / "seen").read_text())


def is_running(process: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def assert_gone(*processes: int):
    for process in processes:
        wait_until(lambda process=process: not is_running(process))


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def run_in_thread(batch, log, on_event, forks) -> threading.Thread:
    thread = threading.Thread(
        target=run_in_child, args=(batch, log, on_event), kwargs={"forks": forks}
    )
    thread.start()
    return thread


def test_a_forked_child_does_what_a_started_one_does(tmp_path, base, adapter, forks):
    adapters = (LocalAdapter(name="support", path=adapter),)
    found = {}
    for name, given in (("forked", forks), ("started", None)):
        batch = make_batch(tmp_path / name, name="peft", model=base, adapters=adapters)
        events = []
        run_in_child(batch, tmp_path / name / "log", events.append, forks=given)
        assert [type(event) for event in events] == [Started, Done]
        work = tmp_path / name / "work"
        files = sorted(path for path in work.rglob("*") if path.is_file())
        found[name] = {str(path.relative_to(work)): path.read_bytes() for path in files}
    assert found["forked"] == found["started"]
    assert "report.json" in found["forked"]


def test_a_child_has_what_was_imported_before_it_was_forked(tmp_path):
    with forking("wave", *WITNESSED) as forks:
        run_in_child(
            make_batch(tmp_path, end="SIGKILL"), tmp_path / "log", lambda _: None, forks=forks
        )
    assert "wave" in seen(tmp_path)["modules"]


def test_a_merge_has_nothing_in_memory_that_models_need(tmp_path):
    imports = Imports(weights=WITNESSED, layouts=("wave",), models=("colorsys",), adapters=())
    with Forks(dict(os.environ), imports=imports) as forks:
        batch = make_batch(tmp_path, end="SIGKILL")
        run_in_child(batch, tmp_path / "log", lambda _: None, forks=forks)
    assert not {"wave", "colorsys"} & set(seen(tmp_path)["modules"])


def test_a_forked_child_that_is_killed_is_told_with_signal_log_tail_and_remedy(tmp_path, forks):
    events = []
    batch = make_batch(tmp_path, end="SIGKILL")
    run_in_child(batch, tmp_path / "log", events.append, forks=forks)
    assert isinstance(events[-1], Failed)
    assert events[-1].problem.startswith("the child was killed by SIGKILL")
    assert events[-1].problem.endswith("line 29")
    assert "out of memory" in events[-1].hint


def test_a_forked_child_that_crashes_is_told_by_its_signal(tmp_path, forks):
    events = []
    batch = make_batch(tmp_path, end="SIGSEGV")
    run_in_child(batch, tmp_path / "log", events.append, forks=forks)
    assert events[-1].problem.startswith("the child was killed by SIGSEGV")


def test_a_forked_child_that_hangs_is_stopped_with_what_it_started(tmp_path, forks):
    events = []
    batch = make_batch(tmp_path).model_copy(update={"timeout_seconds": 3.0})
    run_in_child(batch, tmp_path / "log", events.append, forks=forks)
    assert events[-1].problem.startswith("it took longer than 0.05 minutes and was stopped")
    assert_gone(seen(tmp_path)["pid"], seen(tmp_path)["grandchild"])


def test_a_forked_child_leads_a_session_and_has_variables_of_its_own(tmp_path, forks):
    told = []
    for number in ("3", "1"):
        folder = tmp_path / number
        batch = make_batch(folder, end="SIGKILL")
        batch = batch.model_copy(update={"variables": {"CUDA_VISIBLE_DEVICES": number}})
        run_in_child(batch, folder / "log", lambda _: None, forks=forks)
        told.append(seen(folder))
    assert [one["variables"]["CUDA_VISIBLE_DEVICES"] for one in told] == ["3", "1"]
    assert all(one["session"] == one["pid"] for one in told)


def test_other_threads_are_another_process_to_fork_from(tmp_path, forks):
    """A library reads how many threads it has when it is imported."""
    batch = make_batch(tmp_path, end="SIGKILL")
    batch = batch.model_copy(update={"variables": {"OMP_NUM_THREADS": "3"}})
    run_in_child(batch, tmp_path / "log", lambda _: None, forks=forks)
    assert seen(tmp_path)["variables"]["OMP_NUM_THREADS"] == "3"


def test_an_interrupt_stops_a_forked_child(tmp_path, forks):
    def interrupt(event):
        seen(tmp_path)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_child(make_batch(tmp_path), tmp_path / "log", interrupt, forks=forks)
    assert_gone(seen(tmp_path)["pid"], seen(tmp_path)["grandchild"])


def test_a_forked_child_is_stopped_by_who_listens_to_it(tmp_path, forks):
    line = Line(lambda event: None)
    thread = run_in_thread(make_batch(tmp_path), tmp_path / "log", line, forks)
    process = seen(tmp_path)["pid"]
    line.cut()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert_gone(process)


def test_two_children_of_a_server_run_at_once(tmp_path, forks):
    lines = [Line(lambda event: None), Line(lambda event: None)]
    threads = [
        run_in_thread(make_batch(tmp_path / name), tmp_path / name / "log", line, forks)
        for name, line in zip(("one", "other"), lines, strict=True)
    ]
    processes = [seen(tmp_path / name)["pid"] for name in ("one", "other")]
    assert all(map(is_running, processes))
    for line, thread in zip(lines, threads, strict=True):
        line.cut()
        thread.join(PATIENCE)
    assert_gone(*processes)


PARENT = """\
import os, sys
from pathlib import Path
from test_forks import forking, make_batch, WITNESSED
from gate.running.children import run_in_child

folder = Path(sys.argv[1])
with forking(*WITNESSED) as forks:
    run_in_child(make_batch(folder), folder / "log", lambda event: None, forks=forks)
"""


def test_neither_child_nor_server_outlives_a_parent_that_is_killed(tmp_path):
    here = str(Path(__file__).parent)
    path = os.pathsep.join((here, os.environ.get("PYTHONPATH", "")))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], env={**os.environ, "PYTHONPATH": path}
    )
    child = seen(tmp_path)["pid"]
    watcher = parent_of(child)
    server = parent_of(watcher)
    assert parent_of(server) == parent.pid
    parent.kill()
    parent.wait()
    assert_gone(child, watcher, server)


def test_a_server_ends_with_the_run(tmp_path):
    with forking(*WITNESSED) as forks:
        line = Line(lambda event: None)
        thread = run_in_thread(make_batch(tmp_path), tmp_path / "log", line, forks)
        server = parent_of(parent_of(seen(tmp_path)["pid"]))
        line.cut()
        thread.join(PATIENCE)
        assert is_running(server)
    assert_gone(server)


def test_what_cannot_be_forked_is_started_and_the_log_says_why(tmp_path):
    events = []
    with forking("gate_toys.leaves") as forks:
        batch = make_batch(tmp_path, end="SIGKILL")
        run_in_child(batch, tmp_path / "log", events.append, forks=forks)
    assert isinstance(events[0], Started)
    first, *_ = (tmp_path / "log").read_text().splitlines()
    assert first.startswith("gate: started this process, not forked it: ")
    assert first.endswith("no imports here")


def test_nothing_is_forked_from_a_process_that_has_initialised_cuda(tmp_path):
    with forking("gate_toys.initialised") as forks:
        batch = make_batch(tmp_path, end="SIGKILL")
        run_in_child(batch, tmp_path / "log", lambda _: None, forks=forks)
    assert "an import has initialised CUDA" in (tmp_path / "log").read_text()
    assert "torch" not in seen(tmp_path)["modules"]


def test_a_module_that_is_not_there_is_left_to_those_who_need_it(tmp_path):
    with forking("no_such_module", *WITNESSED) as forks:
        batch = make_batch(tmp_path, end="SIGKILL")
        run_in_child(batch, tmp_path / "log", lambda _: None, forks=forks)
    assert (tmp_path / "log").read_text().startswith("line 0\n")


def test_a_child_whose_server_was_killed_goes_on_and_the_next_one_is_started(tmp_path, forks):
    first, second, events = tmp_path / "first", tmp_path / "second", []
    batch = make_batch(first)
    thread = run_in_thread(batch, first / "log", events.append, forks)
    child = seen(first)["pid"]
    os.kill(parent_of(parent_of(child)), signal.SIGKILL)
    assert is_running(child)
    os.kill(child, signal.SIGTERM)
    thread.join(PATIENCE)
    assert events[-1].problem.startswith("the child was killed by SIGTERM")
    run_in_child(make_batch(second, end="SIGSEGV"), second / "log", events.append, forks=forks)
    assert events[-1].problem.startswith("the child was killed by SIGSEGV")
    assert "not forked" in (second / "log").read_text()


def test_a_server_that_takes_too_long_is_not_waited_for_beyond_the_time_of_its_stages(tmp_path):
    events = []
    with forking("gate_toys.slow") as forks:
        batch = make_batch(tmp_path).model_copy(update={"limit_seconds": 1.0})
        run_in_child(batch, tmp_path / "log", events.append, forks=forks)
    assert events[-1].problem.startswith("it was stopped when the time for its stages was over")


def test_who_listens_no_longer_does_not_wait_for_a_server(tmp_path):
    line = Line(lambda event: None)
    with forking("gate_toys.slow") as forks:
        thread = run_in_thread(make_batch(tmp_path), tmp_path / "log", line, forks)
        line.cut()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_an_interpreter_of_its_own_is_started(tmp_path, forks):
    batch = make_batch(tmp_path, end="SIGKILL").model_copy(update={"python": sys.executable})
    run_in_child(batch, tmp_path / "log", lambda _: None, forks=forks)
    assert not (tmp_path / "seen").exists()  # it sees this gate, and not the toys
