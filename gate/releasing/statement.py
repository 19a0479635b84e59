"""What is signed: an in-toto statement that these files, and no others, were tested and passed."""

from typing import Any, Literal

from gate import signoff
from gate.records import Record
from gate.releasing.manifest import Manifest
from gate.releasing.release import MANIFEST_FILE
from gate.releasing.standing import lineage_in, verdict_on
from gate.result_records import CheckResult, labels_of

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"

Result = Literal["PASSED", "WARNED", "FAILED"]


def statement(
    record: Record, manifest: Manifest, *, variant: str, manifest_sha256: str
) -> dict[str, Any]:
    """An in-toto Statement v1 about a release, with a test-result predicate of version 0.1.

    Its subjects are the files of the release, by SHA-256, the manifest among them. The tests are
    the checks that the variant's verdict rests on, by the names that reports call them. What the
    predicate has no field for is in its extension field `mergegate`.

    Source: github.com/in-toto/attestation, spec/v1/statement.md and
    spec/predicates/test-result.md.

    Args:
        record: that was judged.
        manifest: of the release.
        variant: the one that is released.
        manifest_sha256: of the manifest's own file.
    """
    files = {path: entry.sha256 for path, entry in manifest.files.items()}
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": path, "digest": {"sha256": digest}}
            for path, digest in sorted({**files, MANIFEST_FILE: manifest_sha256}.items())
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": _predicate(record, manifest, variant),
    }


def _predicate(record: Record, manifest: Manifest, variant: str) -> dict[str, Any]:
    tests = _tests(record, variant)
    return {
        "result": _result(record, variant, has_warnings=bool(tests["WARNED"])),
        "configuration": _configuration(record),
        "passedTests": tests["PASSED"],
        "warnedTests": tests["WARNED"],
        "failedTests": tests["FAILED"],
        "mergegate": {
            "release": record.release,
            "variant": variant,
            "artifactDigest": manifest.artifact_digest,
            "recordDigest": signoff.record_digest(record),
            "signoffDigest": record.signoff[-1].digest if record.signoff else None,
            "policyDigest": record.policy.digest if record.policy else None,
            "judgedAt": record.provenance.created_at.isoformat(),
            "gateVersion": record.provenance.gate_version,
        },
    }


def _tests(record: Record, variant: str) -> dict[Result, list[str]]:
    """The checks that a variant's verdict rests on, by what came of them."""
    lineage = lineage_in(record, variant)
    tests: dict[Result, list[str]] = {"PASSED": [], "WARNED": [], "FAILED": []}
    for label, result in zip(labels_of(record.results), record.results, strict=True):
        if result.variant in lineage:
            tests[_result_of(result)].append(label)
    return tests


def _result_of(result: CheckResult) -> Result:
    if result.outcome == "pass":
        return "PASSED"
    return "WARNED" if result.check.level == "warn" else "FAILED"


def _result(record: Record, variant: str, *, has_warnings: bool) -> Result:
    judged = verdict_on(record, variant)
    if judged is None or judged.verdict != "promote":
        return "FAILED"
    return "WARNED" if has_warnings else "PASSED"


def _configuration(record: Record) -> list[dict[str, Any]]:
    """What it was tested with, each by a digest.

    A suite and a policy are known by their content id, which is the sha256 of canonical JSON and
    of no file: its algorithm has a name of its own, so that nobody takes it for a file's.
    """
    found: list[dict[str, Any]] = [
        {"name": f"suite {record.suite}", "digest": {"mergegateContentId": record.suite_digest}}
    ]
    if record.policy:
        digest = {"mergegateContentId": record.policy.digest}
        found.append({"name": "policy", "digest": digest})
    if record.run:
        digest = {"sha256": record.run.config_digest}
        found.append({"name": record.run.config, "digest": digest})
    return found
