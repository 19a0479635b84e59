"""What the inputs of action.yml and ci/gitlab.yml become on the command line of the gate."""

import pytest
from pipelines import JOB, Runner, shell

TELLING = '#!/bin/sh\nprintf "%s\\n" "$@" > "$TOLD"\nexit 1\n'
"""A `gate` that writes what it is told, an argument a line, and blocks."""


@pytest.fixture
def runner(tmp_path):
    """A runner whose `gate` writes what it is told."""
    checkout = tmp_path / "check out"
    checkout.mkdir()
    made = Runner(checkout)
    (made.path / "gate").write_text(TELLING)
    return made


def by_the_action(runner, **inputs):
    """The arguments of the gate in the action, with the variables that its inputs become."""
    told = runner.checkout / "told"
    done = runner.run("Run the gate", GATE="my gate.yaml", TOLD=str(told), **inputs)
    assert (done.returncode, runner.outputs) == (0, {"status": "1"}), done.stderr
    return told.read_text().splitlines()


def by_the_job(runner, **inputs):
    """The arguments of the gate in the job, with the variables that its inputs become."""
    told = runner.checkout / "told"
    environment = runner.checkout / ".gate" / "environment"
    environment.mkdir(parents=True)
    (environment / "bin").symlink_to(runner.path)
    variables = {f"MERGEGATE_{name}": value for name, value in inputs.items()}
    done = shell(
        JOB["script"][-1],
        cwd=runner.checkout,
        options=("-eo", "pipefail"),
        CI_PROJECT_DIR=str(runner.checkout),
        MERGEGATE_FILE="my gate.yaml",
        TOLD=str(told),
        **variables,
    )
    assert done.returncode == 1, done.stderr
    return told.read_text().splitlines()


@pytest.mark.parametrize("told_by", [by_the_action, by_the_job])
def test_inputs_that_are_left_empty_are_not_told_to_the_gate(told_by, runner):
    assert told_by(runner, BUDGET="", WORKERS="") == ["run", "my gate.yaml"]


@pytest.mark.parametrize("told_by", [by_the_action, by_the_job])
def test_a_budget_and_a_number_of_workers_are_options_of_the_gate(told_by, runner):
    assert told_by(runner, BUDGET="20 m", WORKERS="auto") == [
        "run",
        "my gate.yaml",
        "--budget",
        "20 m",
        "--workers",
        "auto",
    ]
