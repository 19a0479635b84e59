"""The shell steps of action.yml and ci/gitlab.yml, run on a toy gate."""

import json
import os
import shutil
import threading
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from gates import FakeWorker, write_gate
from pipelines import JOB, Runner, programs, shell
from records_builder import build_record

from gate.configuring.config import load_config
from gate.renderers import markdown
from gate.running.runner import run_gate
from gate.store import Store

LEFT = {
    "checks.png",
    "checks.svg",
    "code-quality.json",
    "junit.xml",
    "record.json",
    "report.html",
    "summary.md",
}
BLOCKED = {"base": 90, "adapter": 280, "merged": 280, "rtn": 200}
needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="no jq to filter as gh does")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "check out"
    folder.mkdir()
    return folder


@pytest.fixture
def runner(checkout):
    return Runner(checkout)


@pytest.fixture
def blocked(checkout, base, adapter):
    """A checkout whose store was restored: `gate run` has nothing left to do, and blocks."""
    write_gate(checkout, base, adapter)
    return run_gate(
        load_config(checkout / "gate.yaml"),
        store=Store(checkout / ".gate" / "store"),
        reports=checkout / "reports",
        run_batch=FakeWorker(BLOCKED),
    )


@pytest.fixture
def report(tmp_path):
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "summary.md").write_text(markdown.render(build_record()))
    return folder


def test_a_blocked_run_leaves_its_own_record_and_reports_and_ends_as_blocked(
    blocked, checkout, runner
):
    done = runner.run("Run the gate", GATE="gate.yaml")
    assert done.returncode == 0, done.stderr
    told = runner.outputs
    assert told["status"] == "1"
    assert {path.name for path in (checkout / told["report"]).iterdir()} == LEFT
    record = checkout / told["record"]
    assert record.parent.parent == blocked.directory.parent
    assert record.parent != blocked.directory
    assert runner.run("Verdict", STATUS=told["status"]).returncode == 1


def test_an_older_record_is_never_taken_for_this_run(checkout, runner):
    older = checkout / "reports" / "v1" / "20261101T000000Z"
    older.mkdir(parents=True)
    (older / "record.json").write_text("{}")
    os.utime(older / "record.json", (1, 1))
    done = runner.run("Run the gate", GATE="no such gate.yaml")
    assert (done.returncode, runner.outputs) == (0, {"status": "2"})
    assert "no such gate.yaml" in done.stderr


def test_a_gate_that_did_not_start_is_no_pass(runner):
    assert runner.run("Verdict", STATUS="").returncode == 3


@pytest.mark.parametrize("status", [0, 1, 2, 3, 4])
def test_the_last_step_ends_with_the_status_of_the_gate(status, runner):
    assert runner.run("Verdict", STATUS=str(status)).returncode == status


def test_a_store_that_cannot_be_pruned_is_no_failure(checkout, runner):
    (checkout / ".gate").write_text("")
    assert runner.run("Prune the store").returncode == 0


class Conversation:
    """The comments of pull request 7, and the step that adds to them."""

    def __init__(self, runner, comments=()):
        self.runner = runner
        self.file = runner.temporary / "comments.json"
        self.file.write_text(json.dumps(list(comments)))

    def comment(self, *, report="", status="", token="token", gate="gate.yaml"):
        return self.runner.run(
            "Comment on the pull request",
            COMMIT="0123abc",
            GATE=gate,
            GH_TOKEN=token,
            NUMBER="7",
            REPORT=str(report),
            STATUS=status,
            GH_COMMENTS=str(self.file),
        )

    @property
    def bodies(self):
        return [one["body"] for one in json.loads(self.file.read_text())]


@needs_jq
def test_the_comment_is_the_summary_with_its_commit(runner, report):
    conversation = Conversation(runner)
    done = conversation.comment(report=report, status="1")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    (body,) = conversation.bodies
    assert body.startswith("<!-- mergegate ")
    assert (report / "summary.md").read_text() in body
    assert body.endswith("\nCommit 0123abc, [run](https://example.test/desk/bot/actions/runs/42)\n")


@needs_jq
def test_a_later_run_changes_the_comment_in_place(runner, report):
    conversation = Conversation(runner)
    conversation.comment(report=report, status="1")
    conversation.comment(status="2")
    (body,) = conversation.bodies
    assert "## mergegate: no verdict" in body
    assert "The gate ended with status 2 and left no record." in body


@needs_jq
def test_two_gates_have_a_comment_each(runner, report):
    conversation = Conversation(runner)
    conversation.comment(report=report, gate="one.yaml")
    conversation.comment(report=report, gate="two.yaml")
    assert len(conversation.bodies) == 2


@needs_jq
def test_a_comment_that_somebody_else_wrote_is_left_alone(runner, report):
    conversation = Conversation(runner)
    conversation.comment(report=report)
    (body,) = conversation.bodies
    forged = {"id": 1, "user": {"login": "mallory"}, "body": body}
    other = Conversation(runner, [forged])
    other.comment(status="2")
    assert len(other.bodies) == 2
    assert other.bodies[0] == body


def test_a_comment_that_is_refused_is_a_warning_and_no_failure(runner, report):
    done = Conversation(runner).comment(report=report, token="read-only")
    assert done.returncode == 0
    assert done.stdout.startswith("::warning title=mergegate::no comment on the pull request")


def test_a_summary_leaves_a_comment_room_for_its_marker_and_its_commit():
    assert markdown.MOST_CHARACTERS + 500 < 65_536


def lab(part, checkout, **variables):
    environment = checkout / ".gate" / "environment"
    environment.mkdir(parents=True, exist_ok=True)
    programs(environment / "bin")
    return [
        shell(
            line,
            cwd=checkout,
            options=("-eo", "pipefail"),
            CI_PROJECT_DIR=str(checkout),
            MERGEGATE_FILE="gate.yaml",
            **variables,
        )
        for line in JOB[part]
    ]


def test_the_job_ends_with_the_verdict_and_leaves_what_it_declares(blocked, checkout):
    touched, ran = lab("script", checkout)
    assert (touched.returncode, ran.returncode) == (0, 1)
    collected, told = lab("after_script", checkout)
    assert (collected.returncode, told.returncode) == (0, 0), collected.stderr
    assert {path.name for path in (checkout / "mergegate-report").iterdir()} == LEFT
    named = JOB["artifacts"]["reports"].values()
    assert all((checkout / file).is_file() for file in named)


class Notes(ThreadingHTTPServer):
    """GitLab's notes of one merge request, on loopback."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Asked)
        self.notes = [{"id": 3, "body": "looks good"}]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/api/v4"


class Asked(BaseHTTPRequestHandler):
    def do_GET(self):
        assert self.path == "/api/v4/projects/5/merge_requests/7/notes?sort=asc&per_page=100"
        self.answer(self.server.notes)

    def do_POST(self):
        self.server.notes.append({"id": 4, "body": self.body()})
        self.answer(self.server.notes[-1])

    def do_PUT(self):
        number = int(self.path.rpartition("/")[2])
        (one,) = [note for note in self.server.notes if note["id"] == number]
        one["body"] = self.body()
        self.answer(one)

    def body(self):
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        head = f"Content-Type: {self.headers['Content-Type']}\n\n".encode()
        (part,) = message_from_bytes(head + sent).get_payload()
        assert 'name="body"' in part["Content-Disposition"]
        return part.get_payload(decode=True).decode().replace("\r\n", "\n")

    def answer(self, told):
        is_known = self.headers["PRIVATE-TOKEN"] == "token"
        self.send_response(200 if is_known else 401)
        self.end_headers()
        self.wfile.write(json.dumps(told if is_known else {}).encode())

    def log_message(self, *arguments):
        pass


@pytest.fixture
def notes():
    server = Notes()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def note(checkout, notes, token="token"):
    return lab(
        "after_script",
        checkout,
        MERGEGATE_COMMENT="true",
        MERGEGATE_TOKEN=token,
        CI_MERGE_REQUEST_IID="7",
        CI_API_V4_URL=notes.url,
        CI_PROJECT_ID="5",
        CI_COMMIT_SHA="0123abc",
        CI_JOB_URL="https://example.test/jobs/9",
        NO_PROXY="127.0.0.1",
    )[1]


@needs_curl
def test_the_note_of_a_merge_request_is_changed_in_place(checkout, notes, report):
    shutil.copytree(report, checkout / "mergegate-report")
    done = note(checkout, notes)
    assert (done.returncode, done.stderr) == (0, "")
    first, ours = (one["body"] for one in notes.notes)
    assert first == "looks good"
    assert (report / "summary.md").read_text() in ours
    (checkout / "mergegate-report" / "summary.md").unlink()
    note(checkout, notes)
    assert len(notes.notes) == 2
    assert "## mergegate: no verdict" in notes.notes[1]["body"]
    assert notes.notes[1]["body"].endswith("\nCommit 0123abc, [job](https://example.test/jobs/9)\n")


@needs_curl
def test_a_note_that_is_refused_is_told_and_no_failure(checkout, notes):
    done = note(checkout, notes, token="read-only")
    assert done.returncode == 0
    assert "MERGEGATE_TOKEN needs the scope api" in done.stdout
    assert len(notes.notes) == 1
