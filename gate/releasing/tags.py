"""What a registry is told of a release: its verdict, the content ids behind it, its scores."""

from collections.abc import Iterator

from gate.presentation import moment, score_text
from gate.records import Artifact, Record
from gate.reporting.views import score_of
from gate.signoff import record_digest
from gate.terms import Source, Variant


def tags_of(record: Record, variant: Variant, artifact: Artifact) -> dict[str, str]:
    """{name: value}, each name begun with 'mergegate.'; of what is not known there is none."""
    verdicts = {one.variant: one.verdict for one in record.verdicts}
    told = {
        "release": record.release,
        "variant": variant.name,
        "verdict": verdicts.get(variant.name, "error"),
        "artifact": artifact.name,
        "digest": artifact.digest,
        "method": artifact.method,
        "record": record_digest(record),
        "base": _source(record.base),
        "adapters": ", ".join(f"{name} {_source(one)}" for name, one in _adapters(record, variant)),
        "training_run": record.candidate.training_run or "",
        "suite": record.suite,
        "suite_digest": record.suite_digest,
        "policy": record.policy.digest if record.policy else "",
        "judged_at": moment(record.provenance.created_at),
        "gate_version": record.provenance.gate_version,
    }
    told |= {
        f"score.{task.name}.{task.metric}": score_text(score_of(record, variant.name, task.name))
        for task in record.tasks
    }
    return {f"mergegate.{name}": value for name, value in told.items() if value}


def _adapters(record: Record, variant: Variant) -> Iterator[tuple[str, Source]]:
    yield from ((name, record.adapters[name]) for name in variant.adapters)


def _source(source: Source) -> str:
    return f"{source.given.partition('@')[0]}@{source.commit or f'sha256:{source.digest}'}"
