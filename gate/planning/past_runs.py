"""What earlier runs found, from the reports folder: the newest first."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from gate.lineage_records import Policy
from gate.records import SCHEMA_VERSION
from gate.result_records import CheckResult, NoiseFloor, Verdict
from gate.serving_records import Serving
from gate.signoff_records import SignOff
from gate.terms import Candidate, Variant

_PASSED_OVER = (b' "corpora":', b' "scores":')
_MOMENT = re.compile(r"(\d{8}T\d{6}Z)(?:-(\d+))?")


class _Kept(BaseModel):
    """A part of a record; the rest of it is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Provenance(_Kept):
    created_at: datetime


class PastRun(_Kept):
    """What of a record a later run looks back at; its fields are those of `Record`."""

    schema_version: int
    release: str
    candidate: Candidate
    variants: tuple[Variant, ...]
    noise: tuple[NoiseFloor, ...] = ()
    policy: Policy | None = None
    serving: tuple[Serving, ...] = ()
    results: tuple[CheckResult, ...]
    verdict: Verdict
    provenance: _Provenance
    signoff: tuple[SignOff, ...] = ()


class FoundRun(NamedTuple):
    """A run, and the file that its record was read from."""

    file: Path
    run: PastRun


class _Place(NamedTuple):
    """When a run was made, and which of that second's it was."""

    moment: str
    number: int


def past_runs(reports: Path) -> Iterator[PastRun]:
    """The runs whose records lie in a reports folder, the newest first, each read when asked for.

    A file that cannot be read, or is of another schema version, is passed over: an old record is
    no reason not to judge a new candidate.

    Args:
        reports: the folder of <release>/<run>/record.json; it may be absent.
    """
    return (one.run for one in found_runs(reports))


def found_runs(reports: Path) -> Iterator[FoundRun]:
    """As `past_runs`, each with its file."""
    found = [*reports.glob("*/record.json"), *reports.glob("*/*/record.json")]
    whole = [file for file in found if not file.parent.name.startswith(".")]
    for file in sorted(whole, key=_place, reverse=True):
        run = _read(file)
        if run is not None:
            yield FoundRun(file, run)


def last_release(runs: Iterable[PastRun], candidate: Candidate) -> PastRun | None:
    """The newest run that was promoted and tells its policy; None where there is none.

    One with adapters of the same names comes before any other: reports of several products may
    lie in one folder.

    Args:
        runs: the newest first.
        candidate: what is up for release now.
    """
    newest = None
    for run in runs:
        if run.verdict == "promote" and run.policy is not None:
            if is_of_adapters(run, candidate):
                return run
            newest = newest or run
    return newest


def last_measured(runs: Iterable[PastRun], candidate: Candidate) -> PastRun | None:
    """The newest run that measured what its variants cost to serve; None where there is none.

    Only one of the same base, with adapters of the same names, tells of this candidate.

    Args:
        runs: the newest first.
        candidate: what is up for release now.
    """
    for run in runs:
        is_alike = run.candidate.base == candidate.base and _names(run.candidate) == _names(
            candidate
        )
        if run.serving and is_alike:
            return run
    return None


def is_of_adapters(run: PastRun, candidate: Candidate) -> bool:
    """Whether a run was of adapters of the same names, as those of one product are."""
    return _names(run.candidate) == _names(candidate)


def _names(candidate: Candidate) -> set[str]:
    return {adapter.name for adapter in candidate.adapters}


def _place(file: Path) -> _Place:
    """By the name of its folder, or by what the record says where the folder is called else."""
    named = _MOMENT.fullmatch(file.parent.name)
    if named:
        return _Place(named[1], int(named[2] or 1))
    run = _read(file)
    moment = run.provenance.created_at.astimezone(UTC) if run else None
    return _Place(f"{moment:%Y%m%dT%H%M%SZ}" if moment else "", 1)


def _read(file: Path) -> PastRun | None:
    try:
        with file.open("rb") as stream:
            run = PastRun.model_validate_json(b"".join(_looked_at(stream)))
    except (OSError, ValidationError):
        return None
    return run if run.schema_version == SCHEMA_VERSION else None


def _looked_at(lines: Iterable[bytes]) -> Iterator[bytes]:
    """A record without its documents and samples, which may be nearly all of it.

    A field of a record begins a line after one blank, as the gate writes it; in a file that was
    written otherwise nothing is passed over.
    """
    is_passed_over = False
    for line in lines:
        if line.startswith((b' "', b"}")):
            is_passed_over = line.startswith(_PASSED_OVER)
        if not is_passed_over:
            yield line
