"""A gate under pytest: opt-in, known at collection, run once, told without tracebacks."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from gates import GATE, SUITE, FakeWorker, write_gate

from gate.configuring.config import load_config
from gate.running.runner import run_gate
from gate.store import Store

pytest_plugins = ["pytester"]

GOOD = {"base": 90, "adapter": 280, "merged": 280, "rtn": 280}
BROKEN = GOOD | {"rtn": 200}
OPEN = GOOD | {"rtn": 274}

OWN = """
def test_merging_costs_little(gate_record):
    assert gate_record.delta("merged", "adapter", "colors").low > -0.02
    assert gate_record.verdict_of("merged") == "promote"
"""


def fill(folder, base, adapter, right, **written):
    """A gate whose stages are all in its store, so that a run has nothing left to do."""
    folder.mkdir(exist_ok=True)
    write_gate(folder, base, adapter, **written)
    worker = FakeWorker(right)
    return run_gate(
        load_config(folder / "gate.yaml"),
        store=Store(folder / ".gate" / "store"),
        reports=folder / "filled",
        run_batch=worker,
    )


@pytest.fixture(scope="module")
def broken(tmp_path_factory, base, adapter):
    folder = tmp_path_factory.mktemp("broken")
    fill(folder, base, adapter, BROKEN)
    return folder


@pytest.fixture(scope="module")
def undecided(tmp_path_factory, base, adapter):
    folder = tmp_path_factory.mktemp("undecided")
    fill(folder, base, adapter, OPEN)
    return folder


@pytest.fixture
def session(pytester, monkeypatch):
    """Runs pytest in the test's folder, with this plugin and no other than those named."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]")

    def run(*arguments, plugins=()):
        named = [word for name in ("gate.pytest_plugin", *plugins) for word in ("-p", name)]
        return pytester.runpytest_subprocess(*named, *arguments, timeout=300)

    return run


def copy(folder, pytester):
    shutil.copytree(folder, pytester.path, dirs_exist_ok=True, symlinks=True)


def runs(pytester):
    return list((pytester.path / "reports").glob("*/*"))


def replace(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize("arguments", [(), (".",), ("-o", "testpaths=gate.yaml")])
def test_a_plain_pytest_starts_no_gate(session, pytester, broken, arguments):
    pytester.makepyfile(OWN)
    copy(broken, pytester)
    done = session("-rs", *arguments)
    told = done.stdout.str()
    assert "gate.yaml::" not in told
    if "testpaths=gate.yaml" not in arguments:
        done.assert_outcomes(skipped=1)
        assert "no gate was asked for: pytest --gate gate.yaml" in told
    assert not runs(pytester)


def test_the_tests_of_a_gate_are_known_though_base_and_adapter_are_not_there(session, pytester):
    write_gate(pytester.path, Path("no-base"), Path("no-adapter"))
    done = session("--collect-only", "-q", "gate.yaml")
    names = [line.rpartition("gate.yaml::")[2] for line in done.outlines if "gate.yaml::" in line]
    assert names == [
        "adapter-vs-base[colors-delta]",
        "merged-vs-adapter[colors-delta]",
        "rtn-vs-merged[colors-delta]",
        "weights[merged]",
        "weights[rtn]",
    ]
    assert not (pytester.path / ".gate").exists()


def test_a_failure_prints_reason_interval_margin_and_flipped_documents(session, pytester, broken):
    copy(broken, pytester)
    done = session("gate.yaml", "--junitxml=junit.xml")
    done.assert_outcomes(passed=4, failed=1)
    assert done.ret == 1
    done.stdout.fnmatch_lines(
        [
            "gate: 8 stages: 8 cached, 0 to run",
            "loses at least 22 points (95 % one-sided), beyond the margin of 3 points; *",
            "  rule:    delta at least -3 points",
            "  found:   -26.67 points (-31.19 to -22.49), 95 % one-sided, n = 300",
            "  by:      Tango score interval*",
            "  flipped: 80 documents: 80 lost, 0 gained",
            "*loss, document 200: question 200:",
            "*right: red; merged: red; rtn: green",
            "v1: BLOCK; report: */report.html",
            "FAILED gate.yaml::rtn-vs-merged?colors-delta? - Failed: loses at l*",
        ]
    )
    assert "Traceback" not in done.stdout.str()
    assert 'name="low" value="-0.311' in (pytester.path / "junit.xml").read_text()
    assert len(runs(pytester)) == 1


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        (
            ("gate.yaml", "-m", "gate(variant='rtn', task='colors')"),
            ["rtn-vs-merged[colors-delta]"],
        ),
        (("gate.yaml", "-m", "not gate"), []),
        (
            ("gate.yaml", "-k", "merged and not weights and not rtn"),
            ["merged-vs-adapter[colors-delta]"],
        ),
        (("gate.yaml::weights[merged]",), ["weights[merged]"]),
    ],
)
def test_tests_of_a_gate_are_selected_as_any_others(session, pytester, broken, arguments, chosen):
    copy(broken, pytester)
    done = session("--collect-only", "-q", *arguments)
    assert [line.rpartition("::")[2] for line in done.outlines if "::" in line] == chosen


def test_the_first_failure_stops_and_the_last_ones_are_repeated(session, pytester, broken):
    copy(broken, pytester)
    stopped = session("gate.yaml", "-x")
    stopped.assert_outcomes(passed=2, failed=1)
    last = session("gate.yaml", "--lf")
    last.assert_outcomes(failed=1, deselected=4)


@pytest.mark.parametrize("more", [(), ("--gate-inconclusive=xfail", "--runxfail")])
def test_what_is_undecided_fails_and_says_how_many_documents_it_needs(
    session, pytester, undecided, more
):
    copy(undecided, pytester)
    done = session("gate.yaml", "-k", "rtn and delta", *more)
    done.assert_outcomes(failed=1, deselected=4)
    done.stdout.fnmatch_lines(["inconclusive: *", "  needs:   about * documents in all"])


def test_what_is_undecided_may_be_an_expected_failure(session, pytester, undecided):
    copy(undecided, pytester)
    done = session("gate.yaml", "--gate-inconclusive=xfail", "-rx")
    done.assert_outcomes(passed=4, xfailed=1)
    assert "inconclusive: " in done.stdout.str()


def test_what_could_not_be_measured_is_an_error_and_no_failure(session, pytester, broken):
    copy(broken, pytester)
    replace(pytester.path / "gate.yaml", "merge: stream, quan", "merge: full_disk, quan")
    done = session("gate.yaml")
    done.assert_outcomes(passed=3, errors=2)
    told = done.stdout.str()
    assert "ERROR at setup of rtn-vs-merged[colors-delta]" in told
    assert "not measured: rtn could not be evaluated on colors" in told
    assert "No space left on device" in told
    assert "Traceback" not in told


def test_a_run_that_cannot_begin_is_an_error_of_every_test(session, pytester, broken):
    copy(broken, pytester)
    pytester.makepyfile(OWN)
    gate = pytester.path / "gate.yaml"
    gate.write_text(GATE.format(base="no-such-base", adapter="no-such-adapter"))
    done = session("--gate", "gate.yaml")
    done.assert_outcomes(errors=6)
    done.stdout.fnmatch_lines(
        ["the gate could not be run: no-such-base*", "*gate.yaml: could not *"]
    )
    assert "Traceback" not in done.stdout.str()


def test_a_wrong_gate_is_an_error_of_collection_with_its_line(session, pytester, broken):
    copy(broken, pytester)
    gate = pytester.path / "gate.yaml"
    gate.write_text(gate.read_text() + "colour: red\n")
    done = session("gate.yaml")
    assert done.ret == pytest.ExitCode.INTERRUPTED
    assert "gate.yaml:13: colour: unknown key" in done.stdout.str()
    assert "Traceback" not in done.stdout.str()


def test_a_gate_that_is_not_there_is_wrong_usage(session, pytester, broken):
    copy(broken, pytester)
    done = session("--gate", "gaet.yaml")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "--gate gaet.yaml: there is no such file" in done.stderr.str()


def test_a_baseline_that_is_not_there_is_an_error_of_collection(session, pytester, broken):
    copy(broken, pytester)
    done = session("gate.yaml", "--gate-baseline", "nowhere", "--collect-only")
    assert done.ret == pytest.ExitCode.INTERRUPTED
    assert "gate.yaml: cannot read " in done.stdout.str()


def test_assertions_of_ones_own_are_about_one_gate(session, pytester, broken):
    copy(broken, pytester)
    pytester.makepyfile(test_own=OWN)
    shutil.copy(pytester.path / "gate.yaml", pytester.path / "other.yaml")
    done = session("--gate=gate.yaml", "--gate=other.yaml", "-m", "not gate", "test_own.py")
    done.assert_outcomes(errors=1, deselected=10)
    assert "gate_record: more than one gate was asked for" in done.stdout.str()


def test_assertions_of_ones_own_and_the_gate_share_one_run(session, pytester, broken):
    pytester.makepyfile(test_own=OWN)
    copy(broken, pytester)
    done = session("--gate", "gate.yaml", "test_own.py")
    done.assert_outcomes(passed=5, failed=1)
    assert len(runs(pytester)) == 1


def test_workers_of_xdist_share_one_run(session, pytester, broken):
    pytest.importorskip("xdist", reason="needs pytest-xdist")
    pytester.makepyfile(test_own=OWN)
    copy(broken, pytester)
    done = session("-n2", "--gate", "gate.yaml", "test_own.py", plugins=["xdist.plugin"])
    done.assert_outcomes(passed=5, failed=1)
    assert "v1: BLOCK; report: " in done.stdout.str()
    assert len(runs(pytester)) == 1


def test_workers_of_xdist_start_no_gate_that_was_not_asked_for(session, pytester, broken):
    pytest.importorskip("xdist", reason="needs pytest-xdist")
    pytester.makepyfile(OWN)
    copy(broken, pytester)
    done = session("-n2", ".", plugins=["xdist.plugin"])
    done.assert_outcomes(skipped=1)
    assert not runs(pytester)


def test_a_candidate_is_held_to_the_margins_against_an_earlier_release(
    session, pytester, base, adapter, tmp_path
):
    earlier = fill(tmp_path / "v0", base, adapter, GOOD, gate=GATE.replace("v1", "v0"))
    fill(tmp_path / "v1", base, adapter, GOOD | {"adapter": 240, "merged": 240, "rtn": 240})
    copy(tmp_path / "v1", pytester)
    done = session("gate.yaml", "--gate-baseline", str(earlier.directory))
    done.assert_outcomes(passed=5, failed=2)
    told = done.stdout.str()
    assert "FAILED gate.yaml::rtn-vs-rtn@v0[colors-delta]" in told
    assert "FAILED gate.yaml::merged-vs-merged@v0[colors-delta]" in told
    assert "loses at least 10 points (95 % one-sided), beyond the margin of 3 points" in told


def test_a_variant_that_the_earlier_release_had_not_is_skipped_by_name(
    session, pytester, base, adapter, tmp_path
):
    without = GATE.replace("v1", "v0").replace(
        "  rtn: {{merge: stream, quantize: {{name: rtn, bits: 8}}}}\n", ""
    )
    suite = SUITE.replace(
        "  - {of: quantized, against: merged, compare: delta, margin: 0.03}\n", ""
    )
    earlier = fill(tmp_path / "v0", base, adapter, GOOD, gate=without, suite=suite)
    fill(tmp_path / "v1", base, adapter, GOOD)
    record = earlier.directory / "record.json"
    copy(tmp_path / "v1", pytester)
    done = session("gate.yaml", "--gate-baseline", str(record), "-rs")
    done.assert_outcomes(passed=6, skipped=1)
    assert "v0 has no score of rtn on colors" in done.stdout.str()


def test_the_plugin_is_known_to_pytest_by_its_entry_point():
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"gate": "gate.pytest_plugin"}


def test_the_plugin_imports_nothing_of_the_gate_before_one_is_asked_for():
    code = (
        "import sys, gate.pytest_plugin\n"
        "heavy = ('torch', 'pydantic', 'numpy', 'scipy', 'typer', 'altair', 'gate.records')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
