"""What may be promoted: the verdict, the record as it was, the files as they were judged."""

import os
import shutil
from datetime import UTC, date, datetime, timedelta

import pytest
from promotable import VARIANT, promotable

from gate.releasing.eligibility import refusals
from gate.signoff import signed

TODAY = date(2026, 12, 1)
SIGNED_AT = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.fixture
def run(tmp_path):
    return promotable(tmp_path)


def refused(run, *, variant=VARIANT, record=None, artifact=None, adapters=None, today=TODAY):
    return refusals(
        record or run.record,
        variant,
        artifact=artifact or run.artifact,
        adapters={"intents": run.adapter} if adapters is None else adapters,
        today=today,
    )


def sign(record, decision, *, name="Ada", until=None, check=None):
    return signed(
        record,
        name=name,
        decision=decision,
        reason="a reason",
        until=until,
        check=check,
        at=SIGNED_AT,
    )


def test_what_was_judged_and_promoted_may_be_promoted(run):
    assert refused(run) == ()


def test_a_variant_that_is_not_promoted_is_refused_with_the_reasons(run):
    verdict = run.record.verdicts[0].model_copy(
        update={"verdict": "block", "reasons": ("it loses too much",)}
    )
    record = run.record.model_copy(update={"verdicts": (verdict,), "verdict": "block"})
    assert refused(run, record=record) == ("the verdict on q8_0 is block: it loses too much",)


def test_a_variant_that_is_not_up_for_release_is_refused(run):
    assert refused(run, variant="merged") == ("merged was not up for release",)


def test_a_verdict_that_does_not_follow_from_the_checks_is_an_edit(run):
    failed = run.record.results[0].model_copy(update={"outcome": "fail"})
    record = run.record.model_copy(update={"results": (failed, *run.record.results[1:])})
    assert refused(run, record=record) == (
        "the record was edited: it says promote of q8_0, and its own checks and audits give block",
    )


def test_a_record_that_was_edited_after_it_was_signed_is_refused(run):
    record = sign(run.record, "approve").model_copy(update={"suite": "another"})
    (reason,) = refused(run, record=record)
    assert "given for another content" in reason


def test_a_rejection_stands_until_who_gave_it_approves(run):
    rejected = sign(run.record, "reject")
    assert refused(run, record=rejected) == ("rejected by Ada: a reason",)
    assert refused(run, record=sign(rejected, "approve", name="Grace")) == (
        "rejected by Ada: a reason",
    )
    assert refused(run, record=sign(rejected, "approve")) == ()


def test_a_waiver_that_is_over_is_refused_and_one_in_force_is_not(run):
    warned = run.record.results[0]
    check = warned.check.model_copy(update={"level": "warn"})
    warned = warned.model_copy(update={"check": check, "outcome": "fail"})
    record = run.record.model_copy(update={"results": (warned, *run.record.results[1:])})
    until = SIGNED_AT.date() + timedelta(days=3)
    record = sign(record, "waive", check="adapter-vs-base[arc_easy]:delta", until=until)
    assert refused(run, record=record, today=until) == ()
    assert refused(run, record=record, today=until + timedelta(days=1)) == (
        "the waiver of adapter-vs-base[arc_easy]:delta by Ada ended on 2026-11-26",
    )


def test_one_flipped_byte_of_the_artifact_is_refused(run):
    file = run.artifact / "model.gguf"
    content = bytearray(file.read_bytes())
    content[17] ^= 1
    file.write_bytes(content)
    (reason,) = refused(run)
    assert reason.startswith(f"its files are not what was judged: the content id of {run.artifact}")


@pytest.mark.parametrize("change", ["added", "removed", "renamed"])
def test_another_set_of_files_is_refused(run, change):
    file = run.artifact / "model.gguf"
    if change == "added":
        (run.artifact / "more.bin").write_bytes(b"")
    elif change == "removed":
        file.unlink()
    else:
        file.rename(run.artifact / "other.gguf")
    (reason,) = refused(run)
    assert reason.startswith("its files are not what was judged")


def test_an_artifact_that_is_gone_is_refused_and_the_way_out_is_named(run):
    shutil.rmtree(run.artifact)
    assert refused(run) == (
        f"its files are not there: no directory {run.artifact}; --artifact says where they are",
    )


def test_an_artifact_that_the_run_did_not_make_is_refused(run):
    record = run.record.model_copy(update={"artifacts": ()})
    assert refused(run, record=record) == ("the run made no files of q8_0",)


def test_a_link_in_an_artifact_is_refused_by_name_even_if_its_bytes_are_right(run, tmp_path):
    moved = tmp_path / "elsewhere"
    (run.artifact / "model.gguf").rename(moved)
    (run.artifact / "model.gguf").symlink_to(moved)
    assert refused(run) == ("the artifact cannot be released: model.gguf is a symbolic link",)


def test_what_is_no_file_is_refused_by_name(run):
    os.mkfifo(run.artifact / "pipe")
    assert refused(run) == ("the artifact cannot be released: pipe is not a plain file",)


def test_an_artifact_with_a_folder_of_evidence_is_refused(tmp_path):
    run = promotable(tmp_path, **{"mergegate/record.json": b"{}"})
    assert refused(run) == (
        "the artifact cannot be released: mergegate/record.json is where the evidence of a "
        "release lies",
    )


def test_an_adapter_that_is_not_what_was_judged_is_refused(run):
    (run.adapter / "adapter_model.safetensors").write_bytes(b"trained on")
    assert refused(run) == (
        f"adapter intents: adapter_model.safetensors in {run.adapter} is not what was judged",
    )


def test_an_adapter_that_is_gone_is_refused_and_the_way_out_is_named(run):
    shutil.rmtree(run.adapter)
    assert refused(run) == (
        f"adapter intents: {run.adapter} is no directory; --adapter NAME=DIR says where its "
        "files are",
    )


def test_an_adapter_that_lacks_a_file_is_refused(run):
    (run.adapter / "adapter_config.json").unlink()
    assert refused(run) == (
        f"adapter intents: {run.adapter} has no adapter_config.json, which was judged",
    )


def test_an_adapter_whose_files_lead_out_of_it_is_refused(run):
    source = run.record.adapters["intents"]
    source = source.model_copy(update={"manifest": {"../../etc/passwd": "0" * 64}})
    record = run.record.model_copy(update={"adapters": {"intents": source}})
    assert refused(run, record=record) == (
        "adapter intents: ../../etc/passwd leads out of the release",
    )


def test_an_adapter_that_the_record_does_not_know_is_refused(run):
    assert refused(run, adapters={}) == (
        "adapter intents: the record does not say where it came from",
    )
