"""The command line: sentences on stderr, results on stdout, one exit status per outcome."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
from gates import FakeWorker, write_gate

from gate.configuring.config import load_config
from gate.running.runner import run_gate
from gate.store import Store

GOOD = {"base": 90, "adapter": 280, "merged": 280, "rtn": 280}


def gate(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-c", "from gate.cli import main; main()", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def folder(tmp_path, base, adapter):
    write_gate(tmp_path, base, adapter)
    return tmp_path


def fill(folder, right=GOOD):
    """Put a finished run into the store, so that `gate run` has nothing left to do."""
    return run_gate(
        load_config(folder / "gate.yaml"),
        store=Store(folder / ".gate" / "store"),
        reports=folder / "filled",
        run_batch=FakeWorker(right),
    )


@pytest.mark.parametrize(
    ("right", "status", "verdict"),
    [(GOOD, 0, "PROMOTE"), (GOOD | {"rtn": 200}, 1, "BLOCK"), (GOOD | {"rtn": 274}, 4, "INCONCL")],
)
def test_the_exit_status_of_a_run_is_its_verdict(folder, right, status, verdict):
    fill(folder, right)
    done = gate("run", "gate.yaml", cwd=folder)
    assert done.returncode == status
    assert verdict in done.stdout.upper()
    assert "8 stages: 8 cached, 0 to run" in done.stderr


@pytest.mark.parametrize("budget", ["", "soon"])
def test_a_budget_that_is_no_time_is_wrong_input_and_not_none_at_all(folder, budget):
    done = gate("run", "gate.yaml", "--budget", budget, cwd=folder)
    assert done.returncode == 2
    assert f"--budget {budget}: no time" in done.stderr


def test_a_run_with_a_budget_and_nothing_left_to_do_has_its_verdict(folder):
    fill(folder)
    assert gate("run", "gate.yaml", "--budget", "5m", cwd=folder).returncode == 0


def test_wrong_config_is_status_2_and_a_sentence_without_a_traceback(folder):
    (folder / "gate.yaml").write_text((folder / "gate.yaml").read_text() + "colour: red\n")
    done = gate("run", "gate.yaml", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("gate: gate.yaml:13: colour: unknown key")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_number_of_workers_that_is_none_is_status_2_with_an_example(folder):
    done = gate("run", "--workers", "0", cwd=folder)
    assert done.returncode == 2
    assert "gate: --workers 0: no number of workers\n  hint: for example 2 or auto" in done.stderr


def test_the_command_line_says_how_many_workers(folder):
    fill(folder)
    assert gate("run", "--workers", "auto", cwd=folder).returncode == 0


def test_wrong_usage_is_status_2(tmp_path):
    assert gate("run", "--nonsense", cwd=tmp_path).returncode == 2


def test_a_missing_base_is_status_2_and_named(folder, base):
    text = (folder / "gate.yaml").read_text()
    (folder / "gate.yaml").write_text(text.replace(str(base), "no-such-base"))
    done = gate("run", cwd=folder)
    assert done.returncode == 2
    assert "no-such-base" in done.stderr


def test_a_stage_that_fails_is_status_3(folder):
    fill(folder)
    text = (folder / "gate.yaml").read_text()
    (folder / "gate.yaml").write_text(text.replace("merge: stream", "merge: full_disk"))
    done = gate("run", cwd=folder)
    assert done.returncode == 3
    assert "No space left on device" in done.stderr


def test_a_plan_says_what_is_cached_and_why_the_rest_runs(folder):
    fill(folder)
    data = folder / "tasks" / "colors.jsonl"
    data.write_text(data.read_text().replace("question 7:", "question seven:"))
    done = gate("plan", cwd=folder)
    assert done.returncode == 0
    assert "merge merged" in done.stdout
    assert "to run: task changed" in done.stdout
    assert "colors: 300 (acc)" in done.stdout
    assert "can pass: 300 documents, 149 needed" in done.stdout


def test_a_plan_names_the_file_of_the_adapter_that_changed(folder, adapter, tmp_path):
    own = tmp_path / "own-adapter"
    shutil.copytree(adapter, own)
    text = (folder / "gate.yaml").read_text()
    (folder / "gate.yaml").write_text(text.replace(str(adapter), str(own)))
    fill(folder)
    weights = own / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    done = gate("plan", cwd=folder)
    assert "to run: support changed (adapter_model.safetensors)" in done.stdout


def test_a_plan_says_when_a_check_cannot_pass(folder):
    suite = folder / "suite.yaml"
    suite.write_text(suite.read_text().replace("metric: acc,", "metric: acc, limit: 100,"))
    done = gate("plan", cwd=folder)
    assert "CANNOT PASS as a share: 100 documents" in done.stdout
    assert "takes 149 even when no answer changes" in done.stdout


def test_a_plan_writes_no_reports(folder):
    gate("plan", cwd=folder)
    assert not (folder / "reports").exists()


def test_a_record_is_rendered_again(folder):
    finished = fill(folder)
    (finished.directory / "report.html").unlink()
    done = gate("report", finished.directory, cwd=folder)
    assert done.returncode == 0
    assert (finished.directory / "report.html").is_file()


def test_pruning_says_how_much_it_freed(folder):
    fill(folder)
    done = gate("store", "prune", "--unused-days", "0", cwd=folder)
    assert done.returncode == 0
    assert "merge merged" in done.stdout
    assert "freed" in done.stdout
    assert "8 stages" in done.stdout


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_is_status_3_and_can_be_resumed(folder, sent):
    text = (folder / "gate.yaml").read_text()
    (folder / "gate.yaml").write_text(text.replace("merge: stream", "merge: endless"))
    child = subprocess.Popen(
        [sys.executable, "-c", "from gate.cli import main; main()", "run"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        for line in child.stderr:
            if "merge merged: started" in line:
                break
        os.kill(child.pid, sent)
        told = child.stderr.read()
        assert child.wait(timeout=60) == 3
    assert "gate: stopped" in told
    assert "run the same command again: finished stages are kept" in told
    assert not list((folder / ".gate" / "store").glob("merge/*"))


def test_help_is_quick_to_import_no_engine():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, gate.cli; print([m for m in ('torch', 'scipy', 'lm_eval', 'pydantic') "
            "if m in sys.modules])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


def test_a_cached_run_loads_no_engine(folder):
    fill(folder)
    code = (
        "import sys\nfrom gate.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('torch', 'transformers', 'lm_eval', 'llama_cpp') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("[]\n")


def test_a_fault_of_the_gate_itself_is_status_3_and_not_a_block():
    script = (
        "import sys\n"
        "from gate.cli import app, main\n"
        "@app.command()\n"
        "def break_down() -> None:\n"
        "    raise ValueError('out of range')\n"
        "sys.argv = ['gate', 'break-down']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "ValueError: out of range" in done.stderr
    assert done.stderr.endswith("gate: this is a fault of the gate itself; nothing was judged\n")
