"""The benchmarks of whole runs and of growth: what they write, ask and print."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from gate.errors import StageError

FOLDER = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(FOLDER))
choice_task, gate_runs, growth = map(
    importlib.import_module, ("choice_task", "gate_runs", "growth")
)


def test_the_task_has_as_many_documents_and_choices_as_asked(tmp_path):
    task = choice_task.write_task(tmp_path, documents=5, choices=3)
    text = task.with_suffix(".jsonl").read_text("utf-8")
    documents = [json.loads(line) for line in text.splitlines()]
    assert [len(one["choices"]) for one in documents] == [3] * 5
    assert all(one["answer"] < 3 for one in documents)


def test_the_task_is_the_same_each_time(tmp_path):
    one, other = (choice_task.write_task(tmp_path / name, documents=5) for name in ("a", "b"))
    assert one.with_suffix(".jsonl").read_bytes() == other.with_suffix(".jsonl").read_bytes()


def test_every_step_is_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = growth.measure_here(growth.Shape(documents=20, variants=2, choices=2))
    assert set(found) == {*growth.STEPS, "peak"}


def test_what_doubles_with_the_documents_grows_in_proportion():
    found = {100: {"judge": 1.0, "peak": 5.0}, 200: {"judge": 2.0, "peak": 5.0}}
    assert growth.tell_slopes(found) == "| slope at the end |  |  |  | 1.00 |  | 0.00 |"


def test_a_row_leaves_out_what_was_not_measured():
    row = growth.tell_row(100_000, {"read": 2.0, "peak": 3e6})
    assert row == "| 100,000 |  |  | 2.00 |  |  | 3 MB |"


def test_a_verdict_of_any_kind_is_no_failure_of_the_benchmark(tmp_path):
    setting = gate_runs.Setting(tmp_path, tmp_path, tmp_path, batch_size=1)
    assert gate_runs.run_command(setting, "gate --help", "--help").seconds > 0


def test_a_wrong_config_stops_the_benchmark(tmp_path):
    setting = gate_runs.Setting(tmp_path, tmp_path, tmp_path, batch_size=1)
    missing = str(tmp_path / "gate.yaml")
    with pytest.raises(StageError, match="gate run ended with exit status 2"):
        gate_runs.run_command(setting, "gate run", "run", missing)
