"""The in-toto statement of a release: the shape that is specified, and what it says."""

from signed_release import VARIANT, passing, released

from gate import signoff
from gate.digest import digest_file
from gate.records import RunCommand
from gate.releasing.release import MANIFEST_FILE
from gate.releasing.statement import statement
from gate.result_records import labels_of

SHA = "a" * 64


def statement_of(record, manifest, *, variant=VARIANT):
    return statement(record, manifest, variant=variant, manifest_sha256=SHA)


def warned(record):
    """The record with a check of the variant that only warns, and did not pass."""
    last = next(one for one in reversed(record.results) if one.variant == VARIANT)
    check = last.check.model_copy(update={"level": "warn", "at_least": 0.5})
    more = last.model_copy(update={"check": check, "outcome": "fail", "reason": "too low"})
    return record.model_copy(update={"results": (*record.results, more)})


def test_it_has_the_fields_that_the_specification_requires(tmp_path):
    made = released(tmp_path / "release")
    told = statement_of(made.record, made.manifest)
    assert list(told) == ["_type", "subject", "predicateType", "predicate"]
    assert told["_type"] == "https://in-toto.io/Statement/v1"
    assert told["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert {"result", "configuration"} <= told["predicate"].keys()


def test_every_file_is_a_subject_by_its_own_digest(tmp_path):
    made = released(tmp_path / "release")
    subjects = statement_of(made.record, made.manifest)["subject"]
    digests = {one["name"]: one["digest"] for one in subjects}
    assert digests.pop(MANIFEST_FILE) == {"sha256": SHA}
    assert digests == {
        path: {"sha256": digest_file(made.folder / path)} for path in made.manifest.files
    }
    assert len(subjects) == len(digests) + 1


def test_the_tests_are_the_checks_that_the_verdict_rests_on(tmp_path):
    made = released(tmp_path / "release")
    predicate = statement_of(made.record, made.manifest)["predicate"]
    assert predicate["result"] == "PASSED"
    assert predicate["passedTests"] == list(labels_of(made.record.results))
    assert (predicate["warnedTests"], predicate["failedTests"]) == ([], [])


def test_a_check_that_only_warns_makes_it_warned(tmp_path):
    made = released(tmp_path / "release", change=warned)
    predicate = statement_of(made.record, made.manifest)["predicate"]
    assert predicate["result"] == "WARNED"
    assert predicate["warnedTests"] == [labels_of(made.record.results)[-1]]
    assert predicate["failedTests"] == []


def test_a_variant_that_was_not_up_for_release_has_failed(tmp_path):
    made = released(tmp_path / "release")
    assert statement_of(made.record, made.manifest, variant="w8a8")["predicate"]["result"] == (
        "FAILED"
    )


def test_every_part_of_the_configuration_has_a_digest_as_the_specification_asks(tmp_path):
    run = RunCommand(config="gate.yaml", config_digest=SHA, suite="suite.yaml", store=".gate/store")
    made = released(
        tmp_path / "release", change=lambda record: record.model_copy(update={"run": run})
    )
    configuration = statement_of(made.record, made.manifest)["predicate"]["configuration"]
    assert configuration == [
        {"name": "suite core", "digest": {"mergegateContentId": made.record.suite_digest}},
        {"name": "policy", "digest": {"mergegateContentId": made.record.policy.digest}},
        {"name": "gate.yaml", "digest": {"sha256": SHA}},
    ]


def test_what_was_judged_and_by_whom_signed_is_told_by_content_id(tmp_path):
    made = released(tmp_path / "release")
    told = statement_of(made.record, made.manifest)["predicate"]["mergegate"]
    assert told["artifactDigest"] == made.manifest.artifact_digest
    assert told["recordDigest"] == signoff.record_digest(made.record)
    assert told["policyDigest"] == passing().policy.digest
    assert (told["release"], told["variant"]) == ("support-bot-v3", VARIANT)
    assert told["signoffDigest"] is None
