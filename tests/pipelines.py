"""The pipelines that the repository offers, and their shell steps as a runner would run them."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
ACTION = YAML(typ="safe").load(ROOT / "action.yml")
LAB_SPEC, LAB = YAML(typ="safe").load_all(ROOT / "ci" / "gitlab.yml")
JOB = LAB["mergegate"]

GH = f"""\
#!{sys.executable}
import json, os, subprocess, sys

def value(option):
    return sys.argv[sys.argv.index(option) + 1]

file = os.environ["GH_COMMENTS"]
comments = json.load(open(file))
asked = " ".join(sys.argv[1:])
if os.environ.get("GH_TOKEN") != "token":
    sys.exit("gh: Resource not accessible by integration (HTTP 403)")
if "--jq" in sys.argv:
    assert "repos/desk/bot/issues/7/comments?per_page=100" in sys.argv
    done = subprocess.run(["jq", "-r", value("--jq")], input=json.dumps(comments), text=True)
    sys.exit(done.returncode)
name, _, path = value("--field").partition("=@")
assert name == "body"
body = open(path, encoding="utf-8").read()
if value("--method") == "POST":
    assert "repos/desk/bot/issues/7/comments" in sys.argv
    number = len(comments) + 1
    comments.append({{"id": number, "user": {{"login": "github-actions[bot]"}}, "body": body}})
else:
    (one,) = [c for c in comments if f"repos/desk/bot/issues/comments/{{c['id']}}" in sys.argv]
    one["body"] = body
json.dump(comments, open(file, "w"))
"""
"""GitHub's command line, as far as the action asks it: comments in the file GH_COMMENTS."""


def step(name: str) -> dict[str, object]:
    (found,) = [one for one in ACTION["runs"]["steps"] if one["name"] == name]
    return found


def programs(folder: Path) -> Path:
    """A folder with `gate`, from this checkout, and `gh`."""
    folder.mkdir(exist_ok=True)
    gate = f"""\
        #!/bin/sh
        exec "{sys.executable}" -c "from gate.cli import main; main()" "$@"
        """
    for name, text in (("gate", dedent(gate)), ("gh", GH)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def shell(script: str, *, cwd: Path, options: tuple[str, ...], **variables: str):
    """What a script does, with nothing of the system that this test itself may run in."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("GITHUB_", "CI_", "GITLAB_", "RUNNER_"))
    }
    return subprocess.run(
        ["bash", "--noprofile", "--norc", *options, "-c", script],
        cwd=cwd,
        env=kept | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


class Runner:
    """A GitHub runner for the shell steps of the action, in one checkout."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        self.temporary = checkout.parent / "runner temp"
        self.temporary.mkdir()
        self.path = programs(checkout.parent / "programs")

    def run(self, name: str, **variables: str):
        """One step by its name, with the shell options that GitHub documents for bash."""
        output = self.temporary / "output"
        output.write_text("")
        return shell(
            str(step(name)["run"]),
            cwd=self.checkout,
            options=("-eo", "pipefail"),
            PATH=f"{self.path}:{os.environ['PATH']}",
            RUNNER_TEMP=str(self.temporary),
            GITHUB_OUTPUT=str(output),
            GITHUB_REPOSITORY="desk/bot",
            GITHUB_SERVER_URL="https://example.test",
            GITHUB_RUN_ID="42",
            **variables,
        )

    @property
    def outputs(self) -> dict[str, str]:
        """What the last step told the ones behind it."""
        lines = (self.temporary / "output").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)
