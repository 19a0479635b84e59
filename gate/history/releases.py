"""The runs of a folder of reports, from their records: one at a time, and of each what is told."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from gate.errors import RecordError
from gate.history.runs import History, Run, Shipped, Unreadable
from gate.history.scores import KeptScore, summarize
from gate.reporting.findings import is_change
from gate.reporting.report_files import RECORD_FILE, REPORT_FILE
from gate.reporting.unreadable import check_version, why_unreadable
from gate.result_records import CheckResult, Verdict
from gate.signoff_records import SignOff
from gate.terms import Candidate, Task, Variant


class _Kept(BaseModel):
    """A part of a record; the rest of it is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class _Artifact(_Kept):
    variant: str
    size_bytes: int


class _Policy(_Kept):
    digest: str


class _Provenance(_Kept):
    created_at: datetime


class _VariantVerdict(_Kept):
    variant: str
    verdict: Verdict


class _KeptRecord(_Kept):
    """What of a record the history tells; its fields are those of `Record`."""

    release: str
    candidate: Candidate
    suite: str
    suite_digest: str
    variants: tuple[Variant, ...]
    ship: tuple[str, ...]
    tasks: tuple[Task, ...]
    scores: tuple[KeptScore, ...]
    artifacts: tuple[_Artifact, ...]
    policy: _Policy | None = None
    results: tuple[CheckResult, ...]
    verdicts: tuple[_VariantVerdict, ...]
    verdict: Verdict
    provenance: _Provenance
    signoff: tuple[SignOff, ...] = ()


def collect(reports: Path) -> History:
    """What the records of a folder of reports tell, each read, told and forgotten in turn.

    Records lie in <release>/<run>/ or in <release>/; hidden folders are runs that are being
    written.

    Raises:
        RecordError: the folder cannot be read, or there is no record in it.
    """
    runs: list[Run] = []
    unreadable: list[Unreadable] = []
    for folder in _folders(reports, unreadable):
        place = folder.relative_to(reports).parts
        try:
            runs.append(_read(folder, place))
        except RecordError as error:
            reason = error.problem.removeprefix(str(folder / RECORD_FILE)).strip()
            unreadable.append(Unreadable((*place, RECORD_FILE), reason))
    if not runs and not unreadable:
        raise RecordError(
            f"{reports}: there is no {RECORD_FILE} in <release>/<run>/ or <release>/",
            hint="gate run writes them; name the folder that its --reports names",
        )
    runs.sort(key=lambda run: (run.made_at, len(run.folder[-1]), run.folder))
    return History(tuple(runs), tuple(unreadable))


def _folders(reports: Path, unreadable: list[Unreadable]) -> Iterator[Path]:
    """The folders that hold a record, by name; those that cannot be looked into are noted."""
    try:
        releases = _subfolders(reports)
    except OSError as error:
        raise RecordError(f"cannot read {reports}: {error.strerror or error}") from error
    for release in releases:
        try:
            inside = _subfolders(release)
        except OSError as error:
            unreadable.append(Unreadable((release.name,), f"cannot be read: {error.strerror}"))
            continue
        yield from (one for one in (release, *inside) if os.path.isfile(one / RECORD_FILE))


def _subfolders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = [one.name for one in entries if one.is_dir() and not one.name.startswith(".")]
    return [folder / name for name in sorted(names)]


def _read(folder: Path, place: tuple[str, ...]) -> Run:
    """The run whose record lies in a folder.

    Raises:
        RecordError: the record cannot be read, or is of another schema version.
    """
    file = folder / RECORD_FILE
    try:
        content = file.read_bytes()
    except OSError as error:
        raise RecordError(f"{file} cannot be read: {error.strerror or error}") from error
    try:
        check_version(file, content)
        kept = _KeptRecord.model_validate_json(content)
    except ValidationError as error:
        raise why_unreadable(file, content, error) from error
    return _run(kept, place, has_report=(folder / REPORT_FILE).is_file())


def _run(record: _KeptRecord, place: tuple[str, ...], *, has_report: bool) -> Run:
    ship = set(record.ship)
    followed = ship | {one.name for one in record.variants if one.kind == "adapter"}
    tasks = {task.name: task for task in record.tasks}
    scores = (
        summarize(one, tasks.get(one.task)) for one in record.scores if one.variant in followed
    )
    return Run(
        folder=place,
        has_report=has_report,
        release=record.release,
        made_at=_in_utc(record.provenance.created_at),
        verdict=record.verdict,
        base=record.candidate.base,
        adapters=tuple(sorted(adapter.name for adapter in record.candidate.adapters)),
        shipped=tuple(_shipped(record)),
        suite=record.suite,
        suite_digest=record.suite_digest,
        policy_digest=record.policy.digest if record.policy else None,
        scores=tuple(one for one in scores if one is not None),
        changes=tuple(one for one in record.results if one.variant in ship and _is_of_task(one)),
        signoff=record.signoff,
    )


def _shipped(record: _KeptRecord) -> Iterator[Shipped]:
    verdicts = {one.variant: one.verdict for one in record.verdicts}
    sizes = {one.variant: one.size_bytes for one in record.artifacts}
    for name in record.ship:
        yield Shipped(name, verdicts.get(name), sizes.get(name))


def _is_of_task(result: CheckResult) -> bool:
    """Whether a check bounds the change of a whole task's metric."""
    return bool(result.task) and result.check.slice is None and is_change(result.check)


def _in_utc(moment: datetime) -> datetime:
    """The moment with its zone; one that was written without is in UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
