"""The release that a candidate is compared with: found among the reports, its scores stored."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from gate.configuring.config import GateConfig
from gate.errors import ConfigError, RecordError
from gate.planning.past_runs import FoundRun, found_runs, is_of_adapters
from gate.planning.resolution import resolve_checks
from gate.records import Record
from gate.released_records import RELEASED, Released, arm_name, renamed
from gate.reporting.report_files import read_record
from gate.signoff import chain_faults, record_digest
from gate.terms import ResolvedCheck, Variant


def find_released(config: GateConfig, reports: Path) -> Released | None:
    """The last promoted release before this one, with its scores of what checks compare.

    A release counts that has another name, has adapters of the same names, was promoted, and was
    not rejected by whoever signed last. None where no check asks for it, and where gate.yaml says
    that this is the first release.

    Args:
        config: what is asked.
        reports: the folder of <release>/<run>/record.json.

    Raises:
        ConfigError: there is no release and gate.yaml does not say that this is the first, or it
            does and there is one.
        RecordError: its record cannot be read, or was edited after it was signed.
    """
    if not any(check.against == RELEASED for check in config.suite.checks):
        return None
    found = next((one for one in found_runs(reports) if _is_released(one, config)), None)
    if config.is_first_release:
        if found is not None:
            raise ConfigError(
                f"first_release: {config.release} is not the first release: {found.run.release} "
                f"was promoted ({found.file})",
                hint="take 'first_release' out of gate.yaml",
            )
        return None
    if found is None:
        raise ConfigError(
            f"a check is against {RELEASED!r}, and no promoted release before {config.release} "
            f"is in {reports}",
            hint="say with --reports where its record lies, or, where nothing was ever released, "
            f"write 'first_release: {config.release}' into gate.yaml",
        )
    record = read_record(found.file)
    for fault in chain_faults(record):
        raise RecordError(
            f"{found.file}: {fault}", hint="compare with a record that was not edited"
        )
    return released_of(record, config.variants, resolve_checks(config).checks)


def released_of(
    record: Record, variants: Iterable[Variant], checks: Iterable[ResolvedCheck]
) -> Released:
    """What checks compare variants with: the release's of their name, else the only of their kind.

    Args:
        record: the release's.
        variants: this run's.
        checks: this run's, of which those against the release tell what is compared.
    """
    asked = {(one.reference, one.task) for one in checks if one.check.against == RELEASED}
    arms = {arm for arm, _ in asked}
    stands_for = {
        one.name: counterpart.name
        for one in variants
        if arm_name(one.name) in arms
        and (counterpart := _counterpart(one, record.variants)) is not None
    }
    return Released(
        release=record.release,
        record=record_digest(record),
        judged_at=record.provenance.created_at,
        variants=stands_for,
        scores=tuple(
            renamed(score, arm_name(name))
            for name, other in stands_for.items()
            for score in record.scores
            if score.variant == other and (arm_name(name), score.task) in asked
        ),
    )


def notes_of_release(config: GateConfig, released: Released | None) -> tuple[str, ...]:
    """What checks against the last release are compared with, or that there is none yet."""
    asked = sum(check.against == RELEASED for check in config.suite.checks)
    if released is None and asked:
        return (
            f"{asked} of {len(config.suite.checks)} checks are not judged: they are against the "
            f"last release, and gate.yaml says that {config.release} is the first",
        )
    return released.notes if released else ()


def without_counterpart(
    checks: Iterable[ResolvedCheck], released: Released | None
) -> Mapping[tuple[str, str], str]:
    """{(arm, task): why the release has no score of it}, of the checks against it."""
    if released is None:
        return {}
    scored = {(one.variant, one.task) for one in released.scores}
    return {
        (one.reference, one.task): f"{released.release} has no score there of a variant of the "
        "name, or alone of the kind; name in the check's 'of' and 'tasks' what it has"
        for one in checks
        if one.check.against == RELEASED and (one.reference, one.task) not in scored
    }


def _is_released(found: FoundRun, config: GateConfig) -> bool:
    run = found.run
    decisions = [one.decision for one in run.signoff if one.decision != "waive"]
    return (
        run.verdict == "promote"
        and run.release != config.release
        and is_of_adapters(run, config.candidate)
        and decisions[-1:] != ["reject"]
    )


def _counterpart(variant: Variant, released: Iterable[Variant]) -> Variant | None:
    """The variant of this name and kind, else the only one of the kind."""
    alike = [one for one in released if one.kind == variant.kind]
    named = [one for one in alike if one.name == variant.name]
    return next(iter(named or alike), None) if len(named or alike) == 1 else None
