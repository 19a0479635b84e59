"""What a record tells of a run besides its checks: lineage, equal documents, changed policy."""

import json

import pytest
from gates import SUITE, FakeWorker, write_gate

from gate.configuring.config import load_config
from gate.errors import ConfigError
from gate.evaluation_records import Evaluation
from gate.renderers.text import render
from gate.running.runner import Watcher, run_gate
from gate.store import Store

GOOD = {"base": 90, "adapter": 280, "merged": 280, "rtn": 280}


@pytest.fixture
def gate(tmp_path, base, adapter):
    write_gate(tmp_path, base, adapter)
    return tmp_path


def run(folder, worker, **settings):
    config = load_config(folder / "gate.yaml")
    store, reports = Store(folder / "store"), folder / "reports"
    return run_gate(config, store=store, reports=reports, run_batch=worker, **settings).record


class Repeating(FakeWorker):
    """Asks some documents again: each id has the prompt and target of the one it repeats."""

    def __init__(self, right, again, **settings):
        super().__init__(right, **settings)
        self.again = again

    def _evaluation(self, variant, task, *, stirred=0) -> Evaluation:
        made = super()._evaluation(variant, task, stirred=stirred)
        documents = {one.id: one for one in made.documents}
        update = {
            number: documents[first].model_copy(
                update={"id": number, "hash": documents[number].hash}
            )
            for number, first in self.again.items()
            if number in documents and first in documents
        }
        return made.model_copy(update={"documents": tuple((documents | update).values())})


def test_the_record_splits_the_change_of_every_merged_and_quantized_variant(gate):
    record = run(gate, FakeWorker(GOOD | {"merged": 277, "rtn": 270}))
    assert [one.variant for one in record.lineages] == ["merged", "rtn"]
    line = record.lineages[1]
    assert [(step.cause, round(300 * step.change.value)) for step in line.steps] == [
        ("training", 190),
        ("merge", -3),
        ("quantization", -7),
    ]
    assert round(300 * line.total.value) == 180


def test_equal_documents_count_once_in_every_number(gate):
    suite = gate / "suite.yaml"
    suite.write_text(suite.read_text().replace("noise_floor: false", "noise_floor: true"))
    record = run(gate, Repeating(GOOD, {30: 2, 31: 2, 299: 5}))
    assert {one.estimate.n for one in record.results} == {297}
    assert {len(one.samples) for one in record.scores} == {297}
    assert {one.delta.n for one in record.noise} == {297}
    assert {one.documents for one in record.lineages} == {297}
    groups = record.duplicates[0].groups
    assert [sorted(group) for group in groups] == [[2, 30, 31], [5, 299]]
    places = {one.id: one.place for one in record.scores[0].samples}
    assert all(group[0] in places for group in groups)
    first, second = groups[0][0], groups[1][0]
    pairs = [*sorted((again, first) for again in groups[0][1:]), (groups[1][1], second)]
    pairs.sort()
    told = ", ".join(f"{again} is {counted} again" for again, counted in pairs)
    assert record.warnings[0] == (
        f"colors: 3 documents repeat another and do not count (first: {told})"
    )


def test_equal_documents_leave_a_sequential_check_its_looks(gate):
    suite = gate / "suite.yaml"
    suite.write_text(suite.read_text() + "sequential: {first: 100}\n")
    again = {number: number - 150 for number in range(150, 300, 3)}
    record = run(gate, Repeating(GOOD | {"rtn": 278}, again))
    assert record.verdict in ("promote", "inconclusive")
    assert all(one.estimate.n <= 250 for one in record.results)
    assert len(record.duplicates[0].uncounted) == 50


def test_a_suite_of_different_documents_names_no_duplicates(gate):
    record = run(gate, FakeWorker(GOOD))
    assert (record.duplicates, record.warnings) == ((), ())


def loosen(gate):
    suite = gate / "suite.yaml"
    suite.write_text(suite.read_text().replace("margin: 0.03", "margin: 0.05"))


def test_the_first_release_has_no_policy_to_differ_from(gate):
    record = run(gate, FakeWorker(GOOD))
    assert record.policy.released is None
    assert len(record.policy.checks) == 3
    assert "thresholds" not in render(record)


def test_thresholds_that_differ_from_the_last_releases_are_told(gate):
    run(gate, FakeWorker(GOOD))
    loosen(gate)
    (gate / "gate.yaml").write_text(
        (gate / "gate.yaml").read_text().replace("release: v1", "release: v2")
    )
    record = run(gate, FakeWorker(GOOD))
    (change,) = record.policy.changes
    assert change.check == "quantized against merged: delta"
    assert (change.before, change.after) == ("margin 0.03", "margin 0.05")
    assert "the thresholds are not those that v1 was promoted by: 1 check differs" in render(record)


def test_a_run_that_was_blocked_is_no_release_to_compare_with(gate):
    run(gate, FakeWorker(GOOD | {"rtn": 200}))
    loosen(gate)
    assert run(gate, FakeWorker(GOOD)).policy.released is None


class Listener(Watcher):
    def __init__(self):
        self.said = []

    def say(self, sentence):
        self.said.append(sentence)


def test_a_check_that_cannot_pass_is_told_before_anything_runs(gate):
    suite = gate / "suite.yaml"
    suite.write_text(suite.read_text().replace("metric: acc,", "metric: acc, limit: 100,"))
    listener = Listener()
    run(gate, FakeWorker(GOOD, documents=100), watcher=listener)
    assert listener.said == [
        "merged-vs-adapter[colors]:delta cannot pass as a share: 100 documents, and proving a "
        "margin of 0.02 takes 149 even when no answer changes"
    ]


class Rolling(FakeWorker):
    """Scores whole texts: no prompt, and the text as what is right."""

    def _evaluation(self, variant, task, *, stirred=0) -> Evaluation:
        made = super()._evaluation(variant, task, stirred=stirred)
        documents = (
            one.model_copy(
                update={
                    "prompt": "",
                    "choices": (),
                    "target": f"the text of number {one.id}, whole",
                }
            )
            for one in made.documents
        )
        return made.model_copy(update={"documents": tuple(documents)})


def test_a_text_that_is_scored_alone_and_was_calibrated_on_is_found(gate):
    line = json.dumps({"text": "before it the text of number 17, whole, and after"})
    (gate / "calibration.jsonl").write_text(f"{line}\n")
    task = ", path: tasks/colors.yaml"
    (gate / "suite.yaml").write_text(
        SUITE.replace(task, "") + "calibration: [{path: calibration.jsonl}]\n"
    )
    with pytest.raises(ConfigError, match=r"calibration\.jsonl:1 is also document 17 of task"):
        run(gate, Rolling(GOOD))
