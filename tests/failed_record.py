"""A record of a run of which every stage failed: no scores, no artifacts, nothing but errors."""

from records_builder import build_record

from gate.records import Record
from gate.result_records import VariantVerdict

WHY = "killed: out of memory"


def build_failed() -> Record:
    """Every check is an error, and every stage tells why."""
    record = build_record()
    evaluations = [
        stage.model_copy(
            update={
                "kind": "evaluate",
                "label": f"evaluate {variant.name} {task.name}",
                "is_cached": False,
                "error": WHY,
            }
        )
        for stage in record.stages[:1]
        for variant in record.variants
        for task in record.tasks
    ]
    results = [
        result.model_copy(
            update={"outcome": "error", "reason": f"there is no score: {WHY}", "estimate": None}
        )
        for result in record.results
    ]
    verdicts = [
        VariantVerdict(
            variant=name,
            verdict="error",
            reasons=tuple(
                f"{result.label}: {result.reason}" for result in results if result.variant == name
            ),
        )
        for name in record.ship
    ]
    return record.model_copy(
        update={
            "corpora": (),
            "scores": (),
            "artifacts": (),
            "stages": tuple(evaluations),
            "results": tuple(results),
            "verdicts": tuple(verdicts),
            "verdict": "error",
            "warnings": (),
        }
    )
