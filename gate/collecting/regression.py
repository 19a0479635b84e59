"""A candidate against an earlier release: the same variants, on the same documents, then and now.

The margins are those of the suite, held in one direction: a release may do better than the last.
"""

from collections.abc import Mapping
from pathlib import Path

from gate.collecting.outline import Outline
from gate.errors import RecordError
from gate.evaluation_records import Score
from gate.judging.judge import judge
from gate.judging.looks import planned_looks
from gate.records import Record
from gate.released_records import RELEASED, arm_name, renamed
from gate.releasing.release import RECORD_FILE
from gate.reporting.report_files import read_record
from gate.signoff import chain_faults
from gate.terms import ResolvedCheck


def read_baseline(path: Path) -> Record:
    """The record of an earlier run: its file, its run's directory, or a published release.

    Raises:
        RecordError: there is none, it cannot be read, or was edited after it was signed.
    """
    published = path / RECORD_FILE
    record = read_record(published if published.is_file() else path)
    for fault in chain_faults(record):
        raise RecordError(f"{path}: {fault}", hint="compare with a record that was not edited")
    return record


def regression_checks(outline: Outline, release: str) -> tuple[ResolvedCheck, ...]:
    """Each margin of a merged or quantized variant, against the same variant of a release.

    A check that asks for a gain, or bounds how many answers change, says nothing of another
    training run, and is left out.
    """
    built = {one.name for one in outline.config.variants if one.merge is not None}
    found = (
        _regression_check(one, release)
        for one in outline.checks
        if one.variant in built and one.check.against != RELEASED and _is_margin(one)
    )
    return tuple({one.model_dump_json(): one for one in found}.values())


def is_scored(check: ResolvedCheck, baseline: Record) -> bool:
    """Whether a baseline has a score of the variant and task that a check is about."""
    return any((one.variant, one.task) == (check.variant, check.task) for one in baseline.scores)


def judge_regression(
    outline: Outline, record: Record, baseline: Record, checks: tuple[ResolvedCheck, ...]
) -> Record:
    """The record with the baseline's scores beside its own, and the results of these checks."""
    scores = {(one.variant, one.task): one for one in (*record.scores, *_renamed(baseline))}
    suite = outline.config.suite
    results = judge(
        checks,
        scores,
        {one.task: one for one in record.corpora},
        {},
        looks=planned_looks(suite.sequential, suite.tasks, record.scores),
    )
    update: Mapping[str, object] = {"scores": tuple(scores.values()), "results": results}
    return record.model_copy(update=update)


def _is_margin(one: ResolvedCheck) -> bool:
    bound = one.check.at_least
    return one.check.compare.name == "delta" and bound is not None and bound < 0


def _regression_check(one: ResolvedCheck, release: str) -> ResolvedCheck:
    against = arm_name(one.variant, release)
    update = {"of": one.variant, "against": against, "at_most": None, "tasks": None}
    return ResolvedCheck(
        check=one.check.model_copy(update=update),
        variant=one.variant,
        reference=against,
        task=one.task,
    )


def _renamed(baseline: Record) -> tuple[Score, ...]:
    return tuple(renamed(one, arm_name(one.variant, baseline.release)) for one in baseline.scores)
