"""What a run tells GitHub and GitLab, and that neither changes its verdict."""

import io
import json
import os
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from evidence_builder import build_evidence
from failed_record import build_failed
from gates import FakeWorker, write_gate
from records_builder import build_record

from gate.cli.ci import MOST_SUMMARY_BYTES, announce, without_commands
from gate.configuring.config import load_config
from gate.records import Record
from gate.renderers import github, gitlab, markdown
from gate.reporting.concerns import concerns
from gate.running.runner import run_gate
from gate.signoff import signed
from gate.store import Store

REPORTS = (Path(__file__).parent.parent / "docs" / "reports.md").read_text(encoding="utf-8")
HUB = {"GITHUB_ACTIONS": "true"}
ODD = "50 % of a:b,c\r\n::warning::mine%0A"


class Command(NamedTuple):
    kind: str
    title: str
    message: str


def read_command(line: str) -> Command:
    """A line as GitHub's runner reads it (ActionCommand.TryParseV2 of actions/runner)."""
    kind, properties, message = re.fullmatch(r"::(\w+) (.*?)::(.*)", line).groups()
    assert "," not in properties
    key, _, title = properties.partition("=")
    assert key == "title"
    for code, text in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        title = title.replace(code, text)
    for code, text in (("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        message = message.replace(code, text)
    return Command(kind, title, message)


def commands(record: Record) -> list[Command]:
    return [read_command(line) for line in github.render(record).splitlines()]


@pytest.fixture(scope="module")
def record() -> Record:
    return build_record()


@pytest.fixture
def finished(tmp_path, base, adapter):
    """A run in the store, so that `gate run` has nothing left to do."""
    write_gate(tmp_path, base, adapter)
    return run_gate(
        load_config(tmp_path / "gate.yaml"),
        store=Store(tmp_path / ".gate" / "store"),
        reports=tmp_path / "filled",
        run_batch=FakeWorker({"base": 90, "adapter": 280, "merged": 280, "rtn": 200}),
    )


def gate(*arguments, cwd, **environment):
    plain = {key: value for key, value in os.environ.items() if not key.startswith("GITHUB_")}
    return subprocess.run(
        [sys.executable, "-c", "from gate.cli import main; main()", *map(str, arguments)],
        cwd=cwd,
        env=plain | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_every_annotation_names_its_check_and_the_reason(record):
    found = {one.title: one for one in commands(record)}
    failed = found["q4_k_m-vs-merged-llamacpp[desk_intent]:delta"]
    assert failed.kind == "error"
    assert failed.message == "failed: the whole interval is beyond the bound (at least -0.025)"
    warned = found["q4_k_m-vs-merged-llamacpp[desk_intent]:flips"]
    assert warned.kind == "warning"
    assert warned.message.startswith("inconclusive: the interval reaches across the bound")


def test_the_verdict_is_the_first_annotation(record):
    assert commands(record)[0] == Command(
        "error", "verdict", "support-bot-v3 may not be released: a blocking check failed"
    )


def test_a_release_that_may_go_out_is_a_notice_and_no_error():
    (only,) = commands(build_record(passing=True).model_copy(update={"stages": ()}))
    assert only == Command(
        "notice",
        "support-bot-v3 may be released: every blocking check passed",
        "checks: 12 passed",
    )


def test_a_check_of_what_is_not_up_for_release_is_a_notice(record):
    found = {one.title: one for one in commands(record.model_copy(update={"ship": ("q8_0",)}))}
    aside = found["q4_k_m-vs-merged-llamacpp[desk_intent]:delta"]
    assert aside.kind == "notice"
    assert aside.message.startswith("failed, not up for release: ")


def test_no_more_annotations_than_github_shows_and_the_rest_is_counted():
    found = [one for one in commands(build_failed()) if one.kind == "error"]
    assert len(found) == github.MOST_SHOWN
    blocking = [one for one in concerns(build_failed()) if one.effect == "blocks"]
    left = len(blocking) - github.MOST_SHOWN + 1
    assert found[-1] == Command(
        "error",
        f"{left} more findings of this kind",
        "summary.md and report.html have them all",
    )


def test_ten_findings_are_ten_annotations(record):
    ten = record.model_copy(
        update={"results": record.results[13:14] * 9, "stages": (), "verdict": "block"}
    )
    assert [one.title.partition("#")[2] for one in commands(ten)][1:] == [
        "",
        *map(str, range(2, 10)),
    ]


def test_odd_text_comes_out_of_an_annotation_as_it_went_in():
    line = f"::error title={github.escape_property(ODD)}::{github.escape_data(ODD)}"
    assert len(line.splitlines()) == 1
    assert read_command(line) == Command("error", ODD, ODD)


def test_a_long_reason_stays_within_what_github_keeps_of_a_message(record):
    long = record.results[13].model_copy(update={"reason": "%" * 9_000})
    found = commands(record.model_copy(update={"results": (long,)}))
    assert max(len(one.message) for one in found) <= 4_096


def test_without_github_nothing_is_told(record):
    out, errors = io.StringIO(), io.StringIO()
    announce(record, {"GITHUB_STEP_SUMMARY": "/nonexistent/x"}, out=out, errors=errors)
    with without_commands(out, {}):
        pass
    assert out.getvalue() == errors.getvalue() == ""


def test_the_job_summary_is_appended_and_has_no_image(record, tmp_path):
    file = tmp_path / "summary"
    file.write_text("before\n")
    environment = HUB | {"GITHUB_STEP_SUMMARY": str(file)}
    announce(record, environment, out=io.StringIO(), errors=io.StringIO())
    assert file.read_text() == f"before\n\n{markdown.render(record, picture=None)}"
    assert "![" not in file.read_text()


def test_a_summary_that_cannot_be_written_is_a_warning(record, tmp_path):
    out, errors = io.StringIO(), io.StringIO()
    environment = HUB | {"GITHUB_STEP_SUMMARY": str(tmp_path)}
    announce(record, environment, out=out, errors=errors)
    assert errors.getvalue() == f"warning: no job summary: {tmp_path}: Is a directory\n"
    assert out.getvalue() == github.render(record)


def test_a_summary_that_github_would_refuse_is_not_written(record, tmp_path):
    file = tmp_path / "summary"
    file.write_bytes(b"x" * (MOST_SUMMARY_BYTES - 10))
    errors = io.StringIO()
    environment = HUB | {"GITHUB_STEP_SUMMARY": str(file)}
    announce(record, environment, out=io.StringIO(), errors=errors)
    assert errors.getvalue() == (
        f"warning: no job summary: {file} would be larger than the 1 MiB that GitHub takes\n"
    )
    assert file.stat().st_size == MOST_SUMMARY_BYTES - 10


def test_what_a_run_prints_is_fenced_off_by_a_word_that_no_model_can_know():
    outputs = []
    for _ in range(2):
        out = io.StringIO()
        with without_commands(out, HUB):
            out.write("::add-mask::release\n")
        outputs.append(out.getvalue().splitlines())
    (stop, said, resume), (other, *_) = outputs
    word = stop.removeprefix("::stop-commands::")
    assert len(word) == 32
    assert resume == f"::{word}::"
    assert said == "::add-mask::release"
    assert other != stop


def test_the_fence_is_taken_down_after_an_error():
    out = io.StringIO()
    with pytest.raises(ValueError, match="stopped"), without_commands(out, HUB):
        raise ValueError("stopped")
    stop, resume = out.getvalue().splitlines()
    assert resume == f"::{stop.removeprefix('::stop-commands::')}::"


@pytest.mark.parametrize("command", ["run", "report"])
def test_on_github_a_command_annotates_after_its_report_and_keeps_its_status(
    command, finished, tmp_path
):
    summary = tmp_path / "step.md"
    arguments = ["run"] if command == "run" else ["report", finished.directory]
    plain = gate(*arguments, cwd=tmp_path)
    told = gate(*arguments, cwd=tmp_path, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    assert told.returncode == plain.returncode
    lines = told.stdout.splitlines()
    stop = lines[0].removeprefix("::stop-commands::")
    annotations = lines[lines.index(f"::{stop}::") + 1 :]
    assert annotations == github.render(finished.record).splitlines()
    assert "::" not in plain.stdout.replace("::delta", "")
    assert "## v1: ❌ block" in summary.read_text()


def test_on_github_a_summary_that_cannot_be_written_changes_no_status(finished, tmp_path):
    missing = tmp_path / "none" / "step.md"
    told = gate("run", cwd=tmp_path, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(missing))
    assert told.returncode == 1
    assert f"warning: no job summary: {missing}: No such file or directory" in told.stderr


def test_the_documentation_names_every_file_of_a_run(finished):
    files = {path.name for path in finished.directory.iterdir()}
    documented = set(re.findall(r"`([a-z-]+\.[a-z]+)`", REPORTS.partition("## The report")[0]))
    assert documented == files - {"artifacts"}


def test_reports_are_written_into_a_folder_that_was_not_there(finished, tmp_path):
    done = gate("report", finished.directory, "--out", "new/folder", cwd=tmp_path)
    assert done.returncode == 0
    written = {path.name for path in (tmp_path / "new" / "folder").iterdir()}
    assert written == {path.name for path in finished.directory.iterdir()} - {
        "artifacts",
        "record.json",
    }


def test_a_folder_that_cannot_be_made_is_wrong_usage_and_named(finished, tmp_path):
    (tmp_path / "file").write_text("")
    done = gate("report", finished.directory, "--out", "file/folder", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("gate: file/folder: cannot be written: Not a directory")


def test_gitlabs_findings_have_every_field_that_it_needs(record):
    for one in json.loads(gitlab.render(record)):
        assert set(one) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert one["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert one["description"].startswith(f"{one['check_name']}: ")
        assert one["location"] == {"path": "record.json", "lines": {"begin": 1}}


def test_gitlabs_severities_tell_what_blocks_from_what_warns(record):
    found = {one["check_name"]: one["severity"] for one in json.loads(gitlab.render(record))}
    assert found["verdict"] == "blocker"
    assert found["q4_k_m-vs-merged-llamacpp[desk_intent]:delta"] == "blocker"
    assert found["w8a8-vs-merged[desk_intent]:delta"] == "major"
    assert found["q4_k_m-vs-merged-llamacpp[desk_intent]:flips"] == "minor"
    alone = record.model_copy(update={"ship": ("q8_0",)})
    found = {one["check_name"]: one["severity"] for one in json.loads(gitlab.render(alone))}
    assert found["q4_k_m-vs-merged-llamacpp[desk_intent]:delta"] == "info"


def test_a_finding_has_the_same_fingerprint_in_every_run_and_release(record):
    later = build_record(seed=8).model_copy(update={"release": "support-bot-v4"})
    first, second = (
        {one["check_name"]: one["fingerprint"] for one in json.loads(gitlab.render(made))}
        for made in (record, later)
    )
    both = first.keys() & second.keys()
    assert len(both) > 3
    assert all(first[name] == second[name] for name in both)
    assert len(set(first.values())) == len(first)


@pytest.mark.parametrize(
    ("suite", "path"),
    [
        ("suite.yaml", "suite.yaml"),
        ("gates/core.yml", "gates/core.yml"),
        ("core", "record.json"),
        ("/etc/suite.yaml", "record.json"),
        ("../suite.yaml", "record.json"),
    ],
)
def test_a_finding_is_in_the_suite_where_that_is_a_file_of_the_repository(record, suite, path):
    found = json.loads(gitlab.render(record.model_copy(update={"suite": suite})))
    assert {one["location"]["path"] for one in found} == {path}


def test_a_release_that_may_go_out_has_no_findings():
    clean = build_record(passing=True).model_copy(update={"stages": ()})
    assert json.loads(gitlab.render(clean)) == []


def test_what_blocks_comes_before_what_warns():
    effects = [one.effect for one in concerns(build_evidence())]
    assert effects == sorted(effects, key=("blocks", "warns", "aside").index)


def test_a_waived_check_is_still_told_with_who_waived_it(record):
    label = "q4_k_m-vs-merged-llamacpp[desk_intent]:delta"
    waived = signed(
        record,
        name="Ada",
        decision="waive",
        reason="known",
        check=label,
        until=date(2027, 1, 31),
        at=datetime(2026, 11, 23, 12, tzinfo=UTC),
    )
    (told,) = [one for one in commands(waived) if one.title == label]
    assert told.kind == "error"
    assert told.message.endswith("; waived until 2027-01-31 by Ada: known")
