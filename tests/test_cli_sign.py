"""gate sign: what it writes and prints, and each way in which it is refused."""

import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from filelock import FileLock
from records_builder import build_record

from gate.errors import StageError
from gate.reporting.report_files import read_record
from gate.reporting.signing import sign_file
from gate.signoff import chain_faults

OPEN = "q4_k_m-vs-merged-llamacpp[arc_easy]:delta"
LATER = (datetime.now(UTC) + timedelta(days=30)).date()


@pytest.fixture
def run(tmp_path):
    """A run's directory, with a record that is not promoted."""
    record = build_record(documents=20)
    (tmp_path / "record.json").write_text(record.model_dump_json(indent=1))
    return tmp_path


def gate_sign(record, *, decision="approve", reason="within the margins", name="Ada", more=()):
    arguments = [record, "--as", name, "--decision", decision, "--reason", reason, *more]
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from gate.cli import main; main()",
            "sign",
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def told(done):
    """The error of a command that was refused before it changed anything."""
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def test_an_approval_of_what_is_not_promoted_is_signed_and_leaves_the_verdict(run):
    done = gate_sign(run)
    record = read_record(run)
    (entry,) = record.signoff
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"signed: approved by Ada, {entry.signed_at:%Y-%m-%d %H:%M} UTC: within the margins\n"
        "the verdict stays error: no signature changes it\n"
        f"chain: 1 sign-off, digest {entry.digest}\n"
        f"report: {run / 'report.html'}\n"
    )
    assert record.verdict == "error"
    assert chain_faults(record) == ()


def test_an_approval_of_what_is_promoted_says_nothing_of_the_verdict(run):
    passing = build_record(documents=300, passing=True)
    (run / "record.json").write_text(passing.model_dump_json(indent=1))
    assert "verdict" not in gate_sign(run).stdout


def test_a_waiver_is_shown_in_every_report(run):
    done = gate_sign(
        run / "record.json",
        decision="waive",
        reason="a pilot only",
        more=("--check", "#13", "--until", LATER),
    )
    said = f"waived until {LATER} by Ada"
    assert done.stdout.startswith(f"signed: {OPEN}: {said}, ")
    assert "the verdict stays error" in done.stdout
    assert "a pilot only" in (run / "report.html").read_text()
    assert "a pilot only" in (run / "summary.md").read_text()
    assert "a pilot only" in (run / "junit.xml").read_text()


def test_a_rejection_is_signed(run):
    assert gate_sign(run, decision="reject").returncode == 0
    assert read_record(run).signoff[0].decision == "reject"


def test_nothing_else_of_the_file_changes(run):
    file = run / "record.json"
    file.chmod(0o640)
    before = file.read_text()
    gate_sign(run)
    entry = read_record(run).signoff[0]
    written = json.dumps([json.loads(entry.model_dump_json())], indent=1, ensure_ascii=False)
    assert file.read_text() == before.replace(
        '"signoff": []', f'"signoff": {written}'.replace("\n", "\n ")
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_two_who_sign_at_the_same_time_both_get_in(run):
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda name: gate_sign(run, name=name), ("Ada", "Grace")))
    record = read_record(run)
    assert [one.returncode for one in done] == [0, 0]
    assert {entry.name for entry in record.signoff} == {"Ada", "Grace"}
    assert chain_faults(record) == ()
    assert "Ada" in (run / "summary.md").read_text()
    assert "Grace" in (run / "summary.md").read_text()


def test_whoever_waits_too_long_is_told(run):
    with (
        FileLock(run / ".record.json.lock"),
        pytest.raises(StageError) as caught,
    ):
        sign_file(run, lambda record: record, wait_seconds=0)
    assert str(caught.value) == (
        f"{run / 'record.json'} is being signed by another process, nothing was signed\n"
        "  hint: try again when that one has finished"
    )


def test_a_record_that_cannot_be_replaced_stays_as_it_was(run):
    before = (run / "record.json").read_text()
    (run / ".record.json.fresh").mkdir()
    with pytest.raises(StageError) as caught:
        sign_file(run, lambda record: record)
    assert str(caught.value) == (
        f"cannot write {run / 'record.json'}, nothing was signed: Is a directory"
    )
    assert (run / "record.json").read_text() == before


def test_reports_that_cannot_be_written_are_told_apart_from_the_signature(run):
    (run / "report.html").mkdir()
    done = gate_sign(run)
    assert done.returncode == 3
    assert done.stderr == (
        f"gate: {run / 'record.json'} is signed, but its reports are not rendered: Is a directory\n"
        f"  hint: gate report {run / 'record.json'}\n"
    )
    assert len(read_record(run).signoff) == 1


def test_a_missing_record_is_named(tmp_path):
    assert told(gate_sign(tmp_path)) == (
        f"gate: {tmp_path} has no record.json\n"
        "  hint: a run's directory has one: reports/<release>/<run>/\n"
    )
    assert told(gate_sign(tmp_path / "record.json")) == (
        f"gate: cannot read {tmp_path / 'record.json'}: No such file or directory\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_record_is_named(run):
    file = run / "record.json"
    file.write_text(file.read_text()[:1000])
    assert told(gate_sign(run)).startswith(f"gate: {file} is cut off: its 1,000 bytes end at")


def test_a_record_of_another_schema_is_named(run):
    file = run / "record.json"
    file.write_text(file.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    assert told(gate_sign(run)).startswith(f"gate: {file} is a record of schema version 2")


def test_a_broken_chain_is_not_signed_further(run):
    gate_sign(run)
    file = run / "record.json"
    file.write_text(file.read_text().replace("within the margins", "far beyond them"))
    assert told(gate_sign(run)) == (
        "gate: the sign-offs of support-bot-v3 do not hold: "
        "sign-off 1 (approve by Ada) was changed after it was signed\n"
        "  hint: nothing is signed on top of them: take the record from where it is intact\n"
    )


def test_another_decision_is_refused(run):
    assert told(gate_sign(run, decision="aprove")) == (
        "gate: --decision: no 'aprove'\n  hint: did you mean approve?\n"
    )


def test_what_is_no_date_is_refused(run):
    assert told(gate_sign(run, more=("--until", "31.12.2026"))) == (
        "gate: --until 31.12.2026: no date\n  hint: for example 2026-12-31\n"
    )


def test_a_check_that_there_is_not_is_refused(run):
    done = gate_sign(run, decision="waive", more=("--check", "q4", "--until", LATER))
    assert told(done).startswith(f"gate: no check 'q4'\n  hint: did not pass: {OPEN}, ")


def test_an_empty_reason_is_refused(run):
    assert told(gate_sign(run, reason=" ")) == (
        "gate: the reason is empty\n  hint: a sign-off says who decided, and why\n"
    )


@pytest.mark.parametrize("left_out", ["--as", "--decision", "--reason"])
def test_who_what_and_why_are_needed(run, left_out):
    given = {"--as": "Ada", "--decision": "approve", "--reason": "fine"}
    del given[left_out]
    arguments = [word for pair in given.items() for word in pair]
    done = subprocess.run(
        [sys.executable, "-c", "from gate.cli import main; main()", "sign", str(run), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"Missing option '{left_out}'" in done.stderr


def test_the_help_tells_that_no_verdict_changes():
    done = subprocess.run(
        [sys.executable, "-c", "from gate.cli import main; main()", "sign", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "No signature changes a verdict" in done.stdout
    assert '--decision waive \\\n    --check "q4_k_m-vs-merged[intent]:delta"' in done.stdout
