"""A run from gate.yaml to a record: cached, resumed, honest about what failed."""

import shutil
from pathlib import Path

import pytest
from gates import GATE, SUITE, FakeWorker, write_gate, write_task

from gate.configuring.config import load_config
from gate.errors import ConfigError
from gate.reporting.report_files import read_record, write_reports
from gate.running.runner import run_gate
from gate.store import Store

GOOD = {"base": 90, "adapter": 280, "merged": 280, "rtn": 280}


def run(folder, worker, **settings):
    config = load_config(folder / "gate.yaml")
    store = Store(folder / "store")
    return run_gate(config, store=store, reports=folder / "reports", run_batch=worker, **settings)


@pytest.fixture
def gate(tmp_path, base, adapter):
    write_gate(tmp_path, base, adapter)
    return tmp_path


def test_a_good_candidate_is_promoted(gate):
    record = run(gate, FakeWorker(GOOD)).record
    assert record.verdict == "promote"
    assert {one.variant: one.verdict for one in record.verdicts} == {
        "merged": "promote",
        "rtn": "promote",
    }


def test_a_loss_beyond_the_margin_blocks(gate):
    record = run(gate, FakeWorker(GOOD | {"rtn": 200})).record
    assert record.verdict == "block"
    assert {one.variant: one.verdict for one in record.verdicts}["merged"] == "promote"


def test_a_broken_merge_blocks_what_is_made_from_it(gate):
    record = run(gate, FakeWorker(GOOD | {"merged": 200, "rtn": 200})).record
    assert {one.variant: one.verdict for one in record.verdicts} == {
        "merged": "block",
        "rtn": "block",
    }


def test_a_variant_that_does_not_ship_does_not_decide(gate):
    (gate / "gate.yaml").write_text((gate / "gate.yaml").read_text() + "ship: [merged]\n")
    record = run(gate, FakeWorker(GOOD | {"rtn": 100})).record
    assert record.verdict == "promote"
    assert {one.variant: one.verdict for one in record.verdicts}["rtn"] == "block"


def test_a_second_run_does_nothing_and_says_the_same(gate):
    first = run(gate, FakeWorker(GOOD)).record
    worker = FakeWorker(GOOD)
    second = run(gate, worker).record
    assert worker.ran == []
    assert all(stage.is_cached for stage in second.stages)
    same = {"results", "verdicts", "verdict", "scores", "artifacts", "corpora"}
    assert first.model_dump_json(include=same) == second.model_dump_json(include=same)


def test_one_changed_byte_in_the_adapter_runs_what_depends_on_it(gate, adapter, tmp_path):
    own = tmp_path / "own-adapter"
    shutil.copytree(adapter, own)
    (gate / "gate.yaml").write_text(
        (gate / "gate.yaml").read_text().replace(str(adapter), str(own))
    )
    run(gate, FakeWorker(GOOD))
    weights = own / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    worker = FakeWorker(GOOD)
    run(gate, worker)
    assert worker.ran == [
        "merge merged",
        "quantize rtn",
        "audit merge merged",
        "audit quantize rtn",
        "evaluate adapter colors",
        "evaluate merged colors",
        "evaluate rtn colors",
    ]


def test_a_failed_stage_is_an_error_and_the_others_finish(gate):
    worker = FakeWorker(GOOD, fails="quantize rtn")
    record = run(gate, worker).record
    assert record.verdict == "error"
    assert {one.variant: one.verdict for one in record.verdicts} == {
        "merged": "promote",
        "rtn": "error",
    }
    reasons = [one.reason for one in record.results if one.outcome == "error"]
    assert "it needs 'quantize rtn', which failed" in reasons[0]
    assert "evaluate rtn colors" not in worker.ran
    told = {stage.label: stage.error for stage in record.stages if stage.error}
    assert told["quantize rtn"] == "it broke (mend it)"


def test_a_failed_stage_is_run_again_the_next_time(gate):
    run(gate, FakeWorker(GOOD, fails="quantize rtn"))
    worker = FakeWorker(GOOD)
    assert run(gate, worker).record.verdict == "promote"
    assert worker.ran == ["quantize rtn", "audit quantize rtn", "evaluate rtn colors"]


def test_wrong_input_found_late_ends_the_run(gate):
    class Refusing(FakeWorker):
        def __call__(self, batch, log, on_event):
            super().__call__(
                batch, log, lambda e: on_event(e.model_copy(update={"exit_status": 2}))
            )

    with pytest.raises(ConfigError, match="merge merged: it broke"):
        run(gate, Refusing(GOOD, fails="merge"))


def test_an_interrupted_run_is_resumed(gate):
    class Interrupted(FakeWorker):
        def __call__(self, batch, log, on_event):
            if batch.jobs[0].label.startswith("evaluate merged"):
                raise KeyboardInterrupt
            super().__call__(batch, log, on_event)

    with pytest.raises(KeyboardInterrupt):
        run(gate, Interrupted(GOOD))
    assert not (gate / "reports").exists()
    worker = FakeWorker(GOOD)
    assert run(gate, worker).record.verdict == "promote"
    assert worker.ran == ["evaluate merged colors", "evaluate rtn colors"]


def test_arms_with_different_documents_are_an_error(gate):
    class Shuffled(FakeWorker):
        def __call__(self, batch, log, on_event):
            self.documents = 299 if batch.jobs[0].label.startswith("evaluate rtn") else 300
            super().__call__(batch, log, on_event)

    record = run(gate, Shuffled(GOOD)).record
    outcomes = {one.variant: one.outcome for one in record.results}
    assert (outcomes["merged"], outcomes["rtn"]) == ("pass", "error")
    assert record.verdict == "error"


def test_too_few_documents_are_inconclusive(gate):
    record = run(gate, FakeWorker({name: 40 for name in GOOD} | {"base": 1}, documents=40)).record
    assert record.verdict == "inconclusive"


def test_the_run_directory_holds_every_report_and_names_the_artifacts(gate, base):
    finished = run(gate, FakeWorker(GOOD))
    assert sorted(path.name for path in finished.directory.iterdir()) == [
        "artifacts",
        "checks.png",
        "checks.svg",
        "code-quality.json",
        "junit.xml",
        "record.json",
        "report.html",
        "summary.md",
    ]
    artifact = finished.directory / "artifacts" / "merged-pico-base-adapter-support-v1"
    assert (artifact / "model.safetensors").is_file()
    assert finished.directory.parent == gate / "reports" / "v1"


def test_the_record_traces_the_release(gate, base, adapter):
    record = run(gate, FakeWorker(GOOD)).record
    merged = next(one for one in record.artifacts if one.variant == "merged")
    assert record.base.given == str(base)
    assert record.adapters["support"].manifest.keys() == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert record.candidate.training_run == "run-7"
    assert merged.method == "stream"
    assert merged.seconds == 1.0
    assert {"torch", "peft", "transformers"} <= record.provenance.packages.keys()


def test_what_is_declared_of_serving_is_recorded_and_changes_no_verdict(gate):
    before = run(gate, FakeWorker(GOOD)).record
    file = gate / "gate.yaml"
    file.write_text(file.read_text() + "serving: {variants: 12}\n")
    after = run(gate, FakeWorker(GOOD)).record
    assert (before.declared_serving, after.declared_serving.variants) == (None, 12)
    assert (before.verdict, before.verdicts) == (after.verdict, after.verdicts)


def test_reports_are_rendered_from_the_record_alone(gate, tmp_path):
    finished = run(gate, FakeWorker(GOOD))
    again = tmp_path / "again"
    again.mkdir()
    write_reports(read_record(finished.directory), again)
    for name in ("report.html", "summary.md", "junit.xml", "code-quality.json"):
        assert (again / name).read_text() == (finished.directory / name).read_text()


def test_two_runs_in_one_second_do_not_share_a_directory(gate):
    first, second = run(gate, FakeWorker(GOOD)), run(gate, FakeWorker(GOOD))
    assert first.directory != second.directory


def test_a_suite_of_two_checks_on_one_pair_keeps_both(gate):
    (gate / "suite.yaml").write_text(
        SUITE.replace(
            "noise_floor",
            "  - {of: quantized, against: merged, compare: flips, at_most: 0.08, level: warn}\n"
            "noise_floor",
        )
    )
    record = run(gate, FakeWorker(GOOD)).record
    assert [one.check.compare.name for one in record.results if one.variant == "rtn"] == [
        "delta",
        "flips",
    ]


def test_the_gate_template_ships_everything_merged_or_quantized(gate):
    assert "ship" not in GATE
    assert run(gate, FakeWorker(GOOD)).record.ship == ("merged", "rtn")


def test_a_fault_in_the_weights_blocks_whatever_the_scores_say(gate):
    worker = FakeWorker(GOOD, faults={"audit merge merged": ["x.weight is wrong", "y too"]})
    record = run(gate, worker).record
    verdicts = {one.variant: one for one in record.verdicts}
    assert record.verdict == "block"
    assert verdicts["merged"].reasons == ("audit merge merged: x.weight is wrong (and 1 more)",)
    assert verdicts["rtn"].verdict == "block"


def test_a_fault_of_quantizing_blocks_that_variant_alone(gate):
    worker = FakeWorker(GOOD, faults={"audit quantize rtn": ["was never quantized"]})
    verdicts = {one.variant: one.verdict for one in run(gate, worker).record.verdicts}
    assert verdicts == {"merged": "promote", "rtn": "block"}


def test_an_audit_that_could_not_be_done_is_an_error(gate):
    record = run(gate, FakeWorker(GOOD, fails="audit merge merged")).record
    assert record.verdict == "error"
    assert record.verdicts[0].reasons[0] == "audit merge merged: it broke (mend it)"


SPEED_CHECKS = """\
  - {of: rtn, against: adapter, compare: speed, at_least: 1.5}
  - {of: rtn, against: adapter, compare: size, at_most: 0.9}
speed: {repeats: 2, batch_size: 4, prompt_tokens: 64, new_tokens: 16}
noise_floor"""
RATES = {"base": 10, "adapter": 8, "merged": 10, "rtn": 20}


def test_speed_and_size_are_measured_by_turns_and_judged(gate):
    (gate / "suite.yaml").write_text(SUITE.replace("noise_floor", SPEED_CHECKS))
    worker = FakeWorker(GOOD, speeds=RATES)
    record = run(gate, worker).record
    assert [label for label in worker.ran if label.startswith("speed")] == [
        "speed base 1",
        "speed adapter 1",
        "speed merged 1",
        "speed rtn 1",
        "speed base 2",
        "speed adapter 2",
        "speed merged 2",
        "speed rtn 2",
    ]
    found = {one.check.compare.name: one for one in record.results if not one.task}
    assert found["speed"].outcome == "pass"
    assert found["speed"].estimate.value == pytest.approx(2.5)
    assert found["size"].outcome == "pass"
    assert [one.variant for one in record.serving] == ["base", "adapter", "merged", "rtn"]
    assert record.serving[1].size_bytes > record.serving[0].size_bytes
    assert record.serving[3].bits_per_weight == 16
    assert [len(one.runs) for one in record.serving] == [2, 2, 2, 2]


def test_a_size_alone_is_judged_without_measuring_speed(gate):
    check = "  - {of: rtn, against: adapter, compare: size, at_most: 0.9}\nnoise_floor"
    (gate / "suite.yaml").write_text(SUITE.replace("noise_floor", check))
    worker = FakeWorker(GOOD)
    record = run(gate, worker).record
    assert not any(label.startswith("speed") for label in worker.ran)
    assert record.verdict == "promote"


def test_speed_that_could_not_be_measured_is_an_error(gate):
    (gate / "suite.yaml").write_text(SUITE.replace("noise_floor", SPEED_CHECKS))
    record = run(gate, FakeWorker(GOOD, speeds=RATES, fails="speed rtn 1")).record
    (result,) = (one for one in record.results if one.check.compare.name == "speed")
    assert result.outcome == "error"
    assert "it could not be measured what rtn costs to serve: it broke" in result.reason


def test_a_variant_that_only_its_speed_judges_is_refused(gate):
    own = "  - {of: quantized, against: merged, compare: delta, margin: 0.03}\n"
    suite = SUITE.replace(own, "")
    (gate / "suite.yaml").write_text(suite.replace("noise_floor", SPEED_CHECKS))
    with pytest.raises(ConfigError, match="no check with level 'block' judges its answers"):
        run(gate, FakeWorker(GOOD))


def test_each_stage_tells_the_interpreter_that_ran_it(gate):
    record = run(gate, FakeWorker(GOOD)).record
    assert {one.interpreter for one in record.stages} == {"3.11 (here)"}


ON_SERVER = (
    "{{name: rtn, bits: 8}}, "
    "backend: {{name: endpoint, url: 'http://127.0.0.1:9', model: canary}}}}"
)


@pytest.fixture
def served(tmp_path, base, adapter):
    """A gate whose variant rtn is behind a URL."""
    write_gate(tmp_path, base, adapter, gate=GATE.replace("{{name: rtn, bits: 8}}}}", ON_SERVER))
    return tmp_path


def test_a_server_is_asked_anew_by_every_run(served):
    run(served, FakeWorker(GOOD))
    worker = FakeWorker(GOOD)
    run(served, worker)
    assert worker.ran == ["evaluate rtn colors"]


def test_what_a_server_said_before_does_not_stand_for_a_run_in_which_it_fails(served):
    run(served, FakeWorker(GOOD))
    record = run(served, FakeWorker(GOOD, fails="evaluate rtn")).record
    assert record.verdict == "error"


def test_the_answers_of_a_server_are_kept_until_its_stage_is_done(served):
    class Journals:
        """Keeps an answer in the folder that it is given, as an engine does."""

        def __init__(self, worker):
            self.worker = worker
            self.seen = []

        def __call__(self, batch, log, on_event):
            if batch.jobs[0].label == "evaluate rtn colors":
                folder = Path(batch.options["journal"])
                self.seen.append(folder.exists())
                folder.mkdir(parents=True, exist_ok=True)
            self.worker(batch, log, on_event)

    failing = Journals(FakeWorker(GOOD, fails="evaluate rtn"))
    run(served, failing)
    resumed = Journals(FakeWorker(GOOD))
    run(served, resumed)
    again = Journals(FakeWorker(GOOD))
    run(served, again)
    assert (failing.seen, resumed.seen, again.seen) == ([False], [True], [False])


def test_the_answers_of_a_server_are_kept_while_another_of_its_stages_has_to_be_resumed(served):
    write_task(served / "tasks", "shapes")
    second = "  - {name: shapes, metric: acc, path: tasks/shapes.yaml}\nchecks:"
    (served / "suite.yaml").write_text(SUITE.replace("checks:", second, 1))
    folders = []

    def journaled(worker):
        def run_batch(batch, log, on_event):
            if batch.jobs[0].label == "evaluate rtn colors":
                folders.append(Path(batch.options["journal"]))
                folders[-1].mkdir(parents=True, exist_ok=True)
            worker(batch, log, on_event)

        return run_batch

    run(served, journaled(FakeWorker(GOOD, fails="evaluate rtn shapes")))
    assert folders[0].exists()
    run(served, journaled(FakeWorker(GOOD)))
    assert not folders[0].exists()
