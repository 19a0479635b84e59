"""gate history: a page from a folder of reports, whole or not at all."""

import subprocess
import sys

from release_folders import keep

from gate.history.index_files import write_index

GATE = "from gate.cli import main; main()"


def gate_history(*arguments, cwd):
    command = [sys.executable, "-c", GATE, "history", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_the_page_is_written_and_named(tmp_path):
    keep(tmp_path / "reports", "v1/run")
    done = gate_history(cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "1 run: reports/index.html\n")
    assert "support-bot-v3" in (tmp_path / "reports" / "index.html").read_text()
    assert {file.name for file in (tmp_path / "reports").iterdir()} == {"v1", "index.html"}


def test_what_is_left_out_is_said(tmp_path):
    keep(tmp_path, "v1/run")
    (tmp_path / "v2").mkdir()
    (tmp_path / "v2" / "record.json").write_text('{"schema_version": 9}')
    done = gate_history(tmp_path, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == (
        "left out: v2/record.json is a record of schema version 9, and this gate reads version 1\n"
    )


def test_a_folder_without_records_is_status_2_and_a_sentence(tmp_path):
    done = gate_history(tmp_path, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"gate: {tmp_path}: there is no record.json in <release>/<run>/ or <release>/\n"
        "  hint: gate run writes them; name the folder that its --reports names\n"
    )


def test_a_page_that_cannot_be_written_leaves_nothing_and_is_status_3(tmp_path):
    keep(tmp_path, "v1/run")
    (tmp_path / "index.html").mkdir()
    done = gate_history(tmp_path, cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr == f"gate: cannot write {tmp_path}/index.html: Is a directory\n"
    assert {file.name for file in tmp_path.iterdir()} == {"v1", "index.html"}


def test_a_page_is_the_same_when_it_is_written_again(tmp_path):
    keep(tmp_path, "v1/run")
    pages = []
    for _ in range(2):
        write_index(tmp_path)
        pages.append((tmp_path / "index.html").read_text())
    assert pages[0] == pages[1]
