"""The child process: its end is always told, with the tail of its log."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gate.jobs import Batch, Done, Failed, Job, Line, Started
from gate.running.children import run_in_child
from gate.running.worker import run_in_process
from gate.terms import LocalAdapter, Stage, Use

CHILD_THAT_DIES = """\
import os, signal, sys
sys.stdin.readline()
for i in range(30):
    print(f"line {i}", file=sys.stderr)
sys.stderr.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def make_batch(tmp_path, *, use: Use, model="nowhere", adapters=()) -> Batch:
    stage = Stage(kind="merge", use=use, inputs={"base": "b"}, code="c", packages={})
    out = tmp_path / "work" / "output"
    out.mkdir(parents=True)
    job = Job(
        stage=stage,
        label="merge merged",
        model=str(model),
        adapters=adapters,
        task=None,
        out=str(out),
    )
    return Batch(jobs=(job,), options={"trust_remote_code": False, "allow_pickle": False})


def test_a_merge_in_a_child_ends_in_done(tmp_path, base, adapter):
    batch = make_batch(
        tmp_path,
        use=Use(name="peft"),
        model=base,
        adapters=(LocalAdapter(name="support", path=adapter),),
    )
    events = []
    run_in_child(batch, tmp_path / "log", events.append)
    assert [type(event) for event in events] == [Started, Done]
    assert events[1].peak_memory_bytes > 50_000_000
    assert (tmp_path / "work" / "report.json").is_file()


def test_an_error_in_a_child_is_told_in_its_own_words(tmp_path, base, adapter):
    batch = make_batch(
        tmp_path,
        use=Use(name="peft"),
        model=base,
        adapters=(LocalAdapter(name="support", path=tmp_path / "gone"),),
    )
    events = []
    run_in_child(batch, tmp_path / "log", events.append)
    assert isinstance(events[-1], Failed)
    assert "gone" in events[-1].problem


def test_a_killed_child_is_told_with_signal_log_tail_and_remedy(tmp_path):
    events = []
    batch = make_batch(tmp_path, use=Use(name="peft"))
    python = (sys.executable, "-c", CHILD_THAT_DIES)
    run_in_child(batch, tmp_path / "log", events.append, python=python)
    (failed,) = events
    assert failed.problem.startswith("the child was killed by SIGKILL")
    assert "line 29" in failed.problem
    assert "line 9\n" not in failed.problem
    assert "out of memory" in failed.hint


def test_a_crashed_child_is_told_by_its_signal(tmp_path):
    events = []
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    batch = make_batch(tmp_path, use=Use(name="peft"))
    run_in_child(batch, tmp_path / "log", events.append, python=(sys.executable, "-c", crash))
    assert events[0].problem.startswith("the child was killed by SIGSEGV")


def test_a_child_that_ends_early_is_not_taken_for_done(tmp_path):
    events = []
    batch = make_batch(tmp_path, use=Use(name="peft"))
    run_in_child(batch, tmp_path / "log", events.append, python=(sys.executable, "-c", "pass"))
    assert "ended with exit status 0 before it was done" in events[0].problem


def test_a_full_disk_in_a_stage_is_told_with_the_remedy(tmp_path):
    (tmp_path / "base").mkdir()
    batch = make_batch(tmp_path, use=Use(name="full_disk"), model=tmp_path / "base")
    events = []
    run_in_process(batch, tmp_path / "log", events.append)
    assert events[-1].problem.startswith("No space left on device")
    assert "gate store prune" in events[-1].hint


def test_an_interrupt_stops_the_child(tmp_path):
    pid_file = tmp_path / "pid"
    sleeper = (
        "import os, sys, time; sys.stdin.readline(); "
        f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); "
        'print(\'{"event": "started", "key": "k"}\', flush=True); time.sleep(600)'
    )

    def interrupt(event):
        raise KeyboardInterrupt

    batch = make_batch(tmp_path, use=Use(name="peft"))
    with pytest.raises(KeyboardInterrupt):
        run_in_child(batch, tmp_path / "log", interrupt, python=(sys.executable, "-c", sleeper))
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_a_child_is_stopped_by_who_listens_to_it(tmp_path):
    told = threading.Event()
    talk = (
        "import sys, time; sys.stdin.readline(); "
        'print(\'{"event": "started", "key": "k"}\', flush=True); time.sleep(600)'
    )
    line = Line(lambda event: told.set())
    python = (sys.executable, "-c", talk)
    thread = threading.Thread(
        target=run_in_child,
        args=(make_batch(tmp_path, use=Use(name="peft")), tmp_path / "log", line),
        kwargs={"python": python},
    )
    thread.start()
    assert told.wait(60)
    line.cut()
    thread.join(60)
    assert not thread.is_alive()


def test_a_child_has_the_variables_of_its_batch(tmp_path):
    log = tmp_path / "said"
    says = f"import os; open({str(log)!r}, 'w').write(os.environ['CUDA_VISIBLE_DEVICES'])"
    batch = make_batch(tmp_path, use=Use(name="peft"))
    batch = batch.model_copy(update={"variables": {"CUDA_VISIBLE_DEVICES": "3"}})
    run_in_child(batch, tmp_path / "log", lambda _: None, python=(sys.executable, "-c", says))
    assert log.read_text() == "3"


def test_a_child_does_not_outlive_its_parent(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-m", "gate.running.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    (tmp_path / "base").mkdir()
    batch = make_batch(tmp_path, use=Use(name="endless"), model=tmp_path / "base")
    child.stdin.write(batch.model_dump_json().encode() + b"\n")
    child.stdin.flush()
    assert b"started" in child.stdout.readline()
    child.stdin.close()
    assert child.wait(timeout=30) == 3
    child.stdout.close()


def is_running(state: Path) -> bool:
    try:
        return "zombie" not in state.read_text()
    except OSError:
        return False


def test_a_child_that_hangs_is_stopped_with_what_it_started(tmp_path):
    pid_file = tmp_path / "pid"
    hang = (
        "import subprocess, sys, time; sys.stdin.readline(); "
        "print('loading', file=sys.stderr, flush=True); "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        f"open({str(pid_file)!r}, 'w').write(str(child.pid)); time.sleep(600)"
    )
    batch = make_batch(tmp_path, use=Use(name="peft"))
    batch = batch.model_copy(update={"timeout_seconds": 3.0})
    events = []
    run_in_child(batch, tmp_path / "log", events.append, python=(sys.executable, "-c", hang))
    (failed,) = events
    assert failed.problem.startswith("it took longer than 0.05 minutes and was stopped")
    assert failed.problem.endswith("loading")
    assert "timeout_minutes" in failed.hint
    state = Path(f"/proc/{pid_file.read_text()}/status")
    tries = 600  # it has been killed, and dies when a busy machine gets to it
    while is_running(state) and tries:
        tries -= 1
        time.sleep(0.1)
    assert not is_running(state)


def test_all_jobs_of_a_batch_together_have_so_much_time(tmp_path):
    """Each says that it begins, which gives it no more than what is left."""
    talk = (
        "import json, sys, time; batch = json.loads(sys.stdin.readline())\n"
        "for job in batch['jobs'] * 600:\n"
        "    print(json.dumps({'event': 'started', 'key': 'x'}), flush=True); time.sleep(0.5)\n"
    )
    batch = make_batch(tmp_path, use=Use(name="peft"))
    batch = batch.model_copy(update={"timeout_seconds": 60.0, "limit_seconds": 3.0})
    events = []
    run_in_child(batch, tmp_path / "log", events.append, python=(sys.executable, "-c", talk))
    assert isinstance(events[-1], Failed)
    assert events[-1].problem.startswith("it was stopped when the time for its stages was over")
    assert 1 < len(events) < 60


def test_a_batch_runs_in_the_interpreter_it_names_with_this_gate_alone(tmp_path):
    log = tmp_path / "said"
    other = tmp_path / "python"
    other.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        f"open({str(log)!r}, 'w').write('|'.join([os.environ['PYTHONPATH'], *sys.argv[1:]]))\n"
    )
    other.chmod(0o755)
    batch = make_batch(tmp_path, use=Use(name="peft")).model_copy(update={"python": str(other)})
    run_in_child(batch, tmp_path / "log", lambda event: None)
    folder, *arguments = log.read_text().split("|")
    assert arguments == ["-m", "gate.running.worker"]
    assert os.listdir(folder) == ["gate"]
    assert (Path(folder) / "gate" / "running" / "worker.py").is_file()
