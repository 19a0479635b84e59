"""Records of a few results, to see what is said of a verdict."""

from records_builder import build_record

from gate.records import Record
from gate.result_records import CheckResult, Estimate, VariantVerdict
from gate.terms import Check, Use

POINTS = "share difference"


def build_result(
    variant: str = "q4_k_m",
    reference: str = "adapter",
    task: str = "arc_easy",
    *,
    low: float = -0.011,
    value: float | None = None,
    high: float = 0.004,
    unit: str = POINTS,
    compare: str = "delta",
    outcome: str = "pass",
    reason: str = "",
    n: int = 300,
    needed: int | None = None,
    is_measured: bool = True,
    **bound,
) -> CheckResult:
    """A check's result; its bound is a margin of 2 points unless another is given."""
    bound = bound or {"at_least": -0.02}
    estimate = Estimate(
        value=(low + high) / 2 if value is None else value,
        low=low,
        high=high,
        n=n,
        unit=unit,
        method="Tango score interval",
    )
    return CheckResult(
        check=Check(of=variant, against=reference, compare=Use(name=compare), **bound),
        variant=variant,
        reference=reference,
        task=task,
        outcome=outcome,
        reason=reason,
        estimate=estimate if is_measured else None,
        needed=needed,
    )


def build_verdict(
    verdict: str, *results: CheckResult, variant: str = "q4_k_m", reasons: tuple[str, ...] = ()
) -> tuple[Record, VariantVerdict]:
    """A record of nothing but these results, and the verdict on one of its variants."""
    found = VariantVerdict(variant=variant, verdict=verdict, reasons=reasons)
    record = build_record(documents=3).model_copy(
        update={
            "results": results,
            "verdicts": (found,),
            "verdict": verdict,
            "ship": (variant,),
        }
    )
    return record, found
