"""Documents that were scored are not asked again: after a kill, by a longer run, by a whole one."""

import json

import pytest
from builders import pico_base, pico_trained_adapter
from gates import CHOICES, write_gate

from gate.cli.store import prune
from gate.configuring.config import load_config
from gate.running.children import run_in_child
from gate.running.runner import run_gate
from gate.running.worker import run_in_process
from gate.store import Store

GATE = """\
release: v1
candidate:
  base: {base}
  adapters: {{support: {adapter}}}
variants:
  base: {{adapters: []}}
  merged: {{merge: stream}}
backend: {{name: mortal, notes: '{notes}'}}
suite: suite.yaml
"""
SUITE = """\
tasks:
  - {name: colors, metric: acc, path: tasks/colors.yaml}
checks:
  - {of: merged, against: base, compare: delta, margin: 0.02}
noise_floor: false
"""
VARIANTS = 2


@pytest.fixture
def make(tmp_path, base, adapter):
    """Makes gates whose engine counts what it is asked."""

    def make_gate(name):
        folder = tmp_path / name
        (folder / "notes").mkdir(parents=True)
        gate = GATE.replace("{notes}", str(folder / "notes"))
        write_gate(folder, base, adapter, gate=gate, suite=SUITE)
        return folder

    return make_gate


def run(folder, run_batch=run_in_process):
    config = load_config(folder / "gate.yaml")
    store = Store(folder / "store")
    return run_gate(config, store=store, reports=folder / "reports", run_batch=run_batch).record


def evaluate_base_in_a_child(batch, log, on_event):
    is_mortal = batch.jobs[0].label == "evaluate base colors"
    (run_in_child if is_mortal else run_in_process)(batch, log, on_event)


def asked(folder) -> int:
    """Documents asked by all engines since the last time."""
    notes = folder / "notes" / "asked"
    lines = notes.read_text().splitlines() if notes.exists() else []
    notes.write_text("")
    return len(lines)


def evaluations(folder, record) -> dict[str, bytes]:
    return {
        stage.label: (
            folder / "store" / "evaluate" / stage.key / "output" / "evaluation.json"
        ).read_bytes()
        for stage in record.stages
        if stage.kind == "evaluate"
    }


def answers(record) -> dict[tuple[str, int], tuple]:
    """What was answered; in other batches, log-probabilities differ in their last bits."""
    return {
        (score.variant, one.id): (one.place, one.value, one.answer, one.request_hash)
        for score in record.scores
        for one in score.samples
    }


def limit(folder, documents):
    suite = SUITE.replace("metric: acc, path", f"metric: acc, limit: {documents}, path")
    (folder / "suite.yaml").write_text(suite)


def test_a_killed_evaluation_goes_on_where_it_was_and_ends_byte_for_byte_the_same(make):
    killed, whole = make("killed"), make("whole")
    (killed / "notes" / "dies_at").write_text("250")
    broken = run(killed, evaluate_base_in_a_child)
    (stage,) = (one for one in broken.stages if one.error)
    assert stage.label == "evaluate base colors"
    assert "killed by SIGKILL" in stage.error
    (killed / "notes" / "dies_at").unlink()
    asked(killed)
    resumed = run(killed)
    assert asked(killed) == 300 - 200
    uninterrupted = run(whole)
    assert evaluations(killed, resumed) == evaluations(whole, uninterrupted)


def test_a_chunk_that_was_torn_is_asked_again(make):
    folder = make("torn")
    first = run(folder)
    asked(folder)
    (chunk, *_) = (folder / "store" / "partial").glob("*/00000050.json")
    chunk.write_bytes(chunk.read_bytes()[:-1])
    for stage in (folder / "store" / "evaluate").iterdir():
        (stage / "stage.json").unlink()
        (stage / "output" / "evaluation.json").unlink()
        (stage / "output").rmdir()
        stage.rmdir()
    second = run(folder)
    assert asked(folder) == 50
    assert answers(second) == answers(first)


def test_a_longer_run_asks_only_the_documents_that_are_new(make):
    grown, whole = make("grown"), make("whole")
    limit(grown, 100)
    run(grown)
    assert asked(grown) == VARIANTS * 100
    limit(grown, 250)
    run(grown)
    assert asked(grown) == VARIANTS * 150
    (grown / "suite.yaml").write_text(SUITE)
    last = run(grown)
    assert asked(grown) == VARIANTS * 50
    assert answers(last) == answers(run(whole))


def test_a_shorter_run_asks_nothing(make):
    folder = make("shorter")
    run(folder)
    asked(folder)
    limit(folder, 170)
    record = run(folder)
    assert asked(folder) == 0
    assert {len(score.samples) for score in record.scores} == {170}


def test_documents_that_were_pruned_are_asked_again(make):
    folder = make("pruned")
    run(folder)
    asked(folder)
    prune(folder / "store", unused_days=0)
    run(folder)
    assert asked(folder) == VARIANTS * 300


TASK = """\
task: desk
dataset_path: json
dataset_kwargs:
  data_files: {test: desk.jsonl}
test_split: test
output_type: multiple_choice
doc_to_text: "{{text}}"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""
DESK_SUITE = """\
tasks:
  - {name: desk, metric: acc, path: desk.yaml}
checks:
  - {of: adapter, against: base, compare: delta, at_least: 0.1}
  - {of: merged, against: adapter, compare: delta, margin: 0.04, two_sided: true}
  - {of: quantized, against: merged, compare: delta, margin: 0.04}
sequential: {first: 50, growth: 2}
"""
DESK_GATE = """\
release: v1
candidate:
  base: base
  adapters: {desk: adapter}
variants:
  base: {adapters: []}
  adapter: {}
  merged: {merge: stream}
  rtn8: {merge: stream, quantize: {name: rtn, bits: 8, group_size: 32}}
  rtn1: {merge: stream, quantize: {name: rtn, bits: 1}}
backend: {name: hf, batch_size: 32}
suite: suite.yaml
"""


def _write_desk(folder):
    """An adapter that has learned the desk's four answers, a rounding that keeps them, and one."""
    subjects = ("lost", "late", "broken", "urgent")
    questions = [(f"{subjects[i % 4]} {i}:", i % 4) for i in range(1600)]
    pico_base(folder / "base", initializer_range=0.08)
    taught = [(text, f" {CHOICES[answer]}") for text, answer in questions[:200]]
    pico_trained_adapter(folder / "base", folder / "adapter", taught)
    rows = [
        {"text": text, "choices": CHOICES, "answer": answer} for text, answer in questions[800:]
    ]
    (folder / "desk.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for name, text in (("desk", TASK), ("suite", DESK_SUITE), ("gate", DESK_GATE)):
        (folder / f"{name}.yaml").write_text(text)


def test_real_models_are_asked_until_each_is_decided_and_a_whole_run_goes_on_from_there(tmp_path):
    _write_desk(tmp_path)
    record = run(tmp_path)
    assert {one.variant: one.verdict for one in record.verdicts} == {
        "merged": "promote",
        "rtn8": "promote",
        "rtn1": "block",
    }
    samples = {score.variant: len(score.samples) for score in record.scores}
    assert samples == {"base": 50} | dict.fromkeys(("adapter", "merged", "rtn8", "rtn1"), 200)
    found = {one.variant: one for one in record.results}
    assert found["rtn1"].outcome == "fail"
    assert [look.documents for look in found["rtn1"].looks] == [50, 100, 200]
    assert [look.documents for look in found["adapter"].looks] == [50]
    (tmp_path / "suite.yaml").write_text(DESK_SUITE.replace("sequential:", "# sequential:"))
    whole = run(tmp_path)
    assert {len(score.samples) for score in whole.scores} == {800}
    assert {one.variant: one.verdict for one in whole.verdicts} == {
        "merged": "promote",
        "rtn8": "promote",
        "rtn1": "block",
    }
    early = {
        (score.variant, sample.id): sample for score in record.scores for sample in score.samples
    }
    late = {
        (score.variant, sample.id): sample for score in whole.scores for sample in score.samples
    }
    assert all(late[place] == sample for place, sample in early.items())
