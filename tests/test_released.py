"""`against: released`: a candidate held against the stored scores of the last promoted release."""

import pytest
from gates import GATE, SUITE, FakeWorker, write_gate
from test_standing import sign
from typer.testing import CliRunner

from gate.cli import app
from gate.configuring.config import load_config
from gate.errors import ConfigError, RecordError
from gate.releasing.standing import standing_faults
from gate.renderers.html import render as render_html
from gate.renderers.text import render
from gate.reporting.document_views import compared_pairs
from gate.reporting.report_files import read_record
from gate.running.runner import run_gate
from gate.signoff import record_digest
from gate.store import Store

GOOD = {"base": 90, "adapter": 280, "merged": 280, "rtn": 280}
ASKED = SUITE.replace(
    "noise_floor",
    "  - {of: merged, against: released, compare: delta, margin: 0.03}\n"
    "  - {of: quantized, against: released, compare: delta, margin: 0.03}\nnoise_floor",
)
FIRST = GATE + "first_release: v1\n"

WIDE = "against: merged, compare: delta, margin: 0.3"


@pytest.fixture
def gate(tmp_path, base, adapter):
    write_gate(tmp_path, base, adapter, gate=FIRST, suite=ASKED)
    return tmp_path


def run(folder, right=GOOD, *, release="v1", **settings):
    """A run of this gate as another release, whose models answer as `right` says."""
    file = folder / "gate.yaml"
    file.write_text(file.read_text().replace("release: v1\ncand", f"release: {release}\ncand", 1))
    store = Store(folder / f"store-{release}")
    worker = FakeWorker(right, **settings)
    reports = folder / "reports"
    return run_gate(load_config(file), store=store, reports=reports, run_batch=worker).record


def against_released(record):
    return {
        one.variant: one for one in record.results if one.reference == f"{one.variant}@released"
    }


def replace(folder, name, old, new):
    file = folder / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_the_first_release_is_judged_by_the_other_checks_and_says_so(gate):
    record = run(gate)
    assert record.verdict == "promote"
    assert against_released(record) == {}
    assert record.warnings == (
        "2 of 5 checks are not judged: they are against the last release, and gate.yaml says that "
        "v1 is the first",
    )
    assert standing_faults(record, "rtn", today=record.provenance.created_at.date()) == ()


def test_a_candidate_as_good_as_the_last_release_passes(gate):
    first = run(gate)
    second = run(gate, release="v2")
    assert {one.outcome for one in against_released(second).values()} == {"pass"}
    assert second.verdict == "promote"
    assert (second.released.release, second.released.record) == ("v1", record_digest(first))
    assert second.released.notes == second.warnings
    assert second.warnings[0].startswith(
        f"merged@released is merged of v1, record {record_digest(first)[:16]}"
    )


def test_a_candidate_that_does_worse_than_the_last_release_is_blocked(gate):
    run(gate)
    record = run(gate, GOOD | dict.fromkeys(("adapter", "merged", "rtn"), 240), release="v2")
    found = against_released(record)
    assert {name: one.outcome for name, one in found.items()} == {"merged": "fail", "rtn": "fail"}
    assert found["rtn"].estimate.flips.losses == 40
    assert record.verdict == "block"


def test_what_changed_since_the_last_release_is_shown_document_by_document(gate):
    run(gate)
    record = run(gate, GOOD | {"merged": 279, "rtn": 278}, release="v2")
    assert ("colors", "rtn@released", "rtn") in compared_pairs(record)
    assert "rtn@released" in render_html(record)
    assert "rtn@released" in render(record)


def test_no_model_of_the_last_release_is_asked_again(gate):
    run(gate)
    worker = FakeWorker(GOOD)
    replace(gate, "gate.yaml", "release: v1\ncand", "release: v2\ncand")
    store, reports = Store(gate / "store-v1"), gate / "reports"
    config = load_config(gate / "gate.yaml")
    record = run_gate(config, store=store, reports=reports, run_batch=worker).record
    assert worker.ran == []
    assert against_released(record)["rtn"].outcome == "pass"


def test_without_a_release_nothing_runs_until_gate_yaml_says_that_it_is_the_first(gate):
    replace(gate, "gate.yaml", "first_release: v1\n", "")
    with pytest.raises(ConfigError, match="no promoted release before v1") as error:
        run(gate)
    assert "write 'first_release: v1' into gate.yaml" in error.value.hint
    assert not (gate / "store-v1/stages").exists()


def test_that_a_release_is_the_first_is_said_of_that_release_alone(gate):
    with pytest.raises(ConfigError, match="no promoted release before v2"):
        run(gate, release="v2")


def test_a_first_release_is_refused_where_there_is_one(gate):
    run(gate)
    replace(gate, "gate.yaml", "first_release: v1", "first_release: v2")
    with pytest.raises(ConfigError, match="v2 is not the first release: v1 was promoted"):
        run(gate, release="v2")


def test_a_release_is_not_compared_with_an_earlier_run_of_its_own(gate):
    run(gate)
    replace(gate, "gate.yaml", "first_release: v1\n", "")
    with pytest.raises(ConfigError, match="no promoted release before v1"):
        run(gate)


def test_a_blocked_run_is_no_release(gate):
    assert run(gate, GOOD | {"rtn": 200}).verdict == "block"
    with pytest.raises(ConfigError, match="no promoted release before v2"):
        run(gate, release="v2")


def test_a_variant_of_another_name_is_compared_with_the_only_one_of_its_kind(gate):
    run(gate)
    replace(gate, "gate.yaml", "rtn: {merge", "small: {merge")
    record = run(gate, GOOD | {"small": 280}, release="v2")
    assert against_released(record)["small"].outcome == "pass"
    assert record.warnings[-1].endswith(": it has no small, and rtn alone is of its kind")


def test_a_variant_that_the_release_had_none_like_is_an_error_with_what_to_do(gate):
    replace(gate, "gate.yaml", "  rtn: {merge: stream, quantize: {name: rtn, bits: 8}}\n", "")
    run(gate)
    replace(
        gate,
        "gate.yaml",
        "backend: {",
        "  rtn: {merge: stream, quantize: {name: rtn, bits: 8}}\nbackend: {",
    )
    result = against_released(run(gate, release="v2"))["rtn"]
    assert result.outcome == "error"
    assert result.reason == (
        "rtn@released could not be evaluated on colors: v1 has no score there of a variant of the "
        "name, or alone of the kind; name in the check's 'of' and 'tasks' what it has"
    )


def test_other_documents_than_the_last_release_was_asked_are_an_error(gate):
    run(gate)
    record = run(gate, release="v2", documents=290)
    reason = against_released(record)["rtn"].reason
    assert reason == (
        "rtn@released and rtn were not evaluated on the same documents of colors: 10 differ "
        "(first: document 290)"
    )
    assert record.verdict == "error"


def test_a_sequential_run_asks_no_more_than_the_last_release_can_answer(gate):
    replace(gate, "suite.yaml", "noise_floor", "sequential: {first: 150}\nnoise_floor")
    merging = "against: adapter, compare: delta, margin: 0.02, two_sided: true"
    replace(gate, "suite.yaml", merging, "against: base, compare: delta, at_least: 0")
    replace(gate, "suite.yaml", "against: merged, compare: delta, margin: 0.03", WIDE)
    asked = {one.variant: len(one.samples) for one in run(gate).scores}
    record = run(gate, GOOD | {"rtn": 262}, release="v2")
    result = against_released(record)["rtn"]
    assert result.outcome == "inconclusive"
    assert {one.variant: len(one.samples) for one in record.scores} == asked


def test_a_shipped_variant_needs_a_check_that_its_first_release_is_held_to_as_well(gate):
    suite = gate / "suite.yaml"
    lines = [
        line for line in suite.read_text().splitlines() if "of: quantized, against: m" not in line
    ]
    suite.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="rtn is to ship, but no check"):
        run(gate)


def test_only_scores_are_stored_with_a_release(gate):
    replace(
        gate,
        "suite.yaml",
        "released, compare: delta, margin: 0.03",
        "released, compare: size, at_least: 0.5",
    )
    with pytest.raises(ConfigError, match="size is not of stored scores"):
        load_config(gate / "gate.yaml")


def test_a_release_whose_signed_record_was_edited_is_refused(gate):
    run(gate)
    (file,) = gate.glob("reports/v1/*/record.json")
    signed = sign(read_record(file))
    file.write_text(signed.model_copy(update={"release": "v0"}).model_dump_json())
    with pytest.raises(RecordError, match=r"record\.json: "):
        run(gate, release="v2")


def test_a_release_that_was_rejected_is_none(gate):
    run(gate)
    (file,) = gate.glob("reports/v1/*/record.json")
    file.write_text(sign(read_record(file), decision="reject").model_dump_json())
    with pytest.raises(ConfigError, match="no promoted release before v2"):
        run(gate, release="v2")


def plan(folder):
    more = ["--store", folder / "store-v1", "--reports", folder / "reports"]
    return CliRunner().invoke(app, ["plan", str(folder / "gate.yaml"), *map(str, more)])


def test_the_plan_says_with_what_it_compares(gate):
    run(gate)
    replace(gate, "gate.yaml", "release: v1\ncand", "release: v2\ncand")
    told = plan(gate)
    assert told.exit_code == 0, told.output
    assert "rtn@released is rtn of v1, record " in told.output
    assert "rtn against rtn@released: delta at least -0.03" in told.output


def test_the_plan_of_a_first_release_says_what_is_not_judged(gate):
    assert "2 of 5 checks are not judged: they are against the last release" in plan(gate).output
