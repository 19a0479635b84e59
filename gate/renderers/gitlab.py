"""code-quality.json: what did not pass, as GitLab's merge requests list it.

https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
"""

import json
from pathlib import PurePosixPath

from gate.digest import digest_json
from gate.presentation import printable
from gate.records import Record
from gate.reporting.concerns import Concern, concerns
from gate.reporting.report_files import RECORD_FILE


def render(record: Record) -> str:
    """A JSON list of findings; empty where all is well.

    A finding's fingerprint is the same in every run and release in which the same check does not
    pass, so that GitLab tells what is new from what was there before.
    """
    path = _suite_file(record)
    found = [_finding(one, path) for one in concerns(record)]
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _finding(one: Concern, path: str) -> dict[str, object]:
    return {
        "description": f"{one.name}: {one.text}",
        "check_name": one.name,
        "fingerprint": digest_json({"mergegate": one.name}),
        "severity": _severity(one),
        "location": {"path": path, "lines": {"begin": 1}},
    }


def _severity(one: Concern) -> str:
    if one.effect == "blocks":
        return "blocker" if one.outcome == "fail" else "major"
    return "minor" if one.effect == "warns" else "info"


def _suite_file(record: Record) -> str:
    """The suite as it was written, where that is a file of the repository; else the record."""
    path = PurePosixPath(printable(record.suite))
    is_inside = not path.is_absolute() and ".." not in path.parts
    return str(path) if is_inside and path.suffix in (".yaml", ".yml") else RECORD_FILE
