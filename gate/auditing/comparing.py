"""All tensors of a merge against what they should be, and the one schedule that gives them all."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from gate.audit_records import TensorAudit, TensorOutcome
from gate.auditing.causes import leans, wrong_because
from gate.auditing.changes import BLOCK_ELEMENTS, Change, matrix_view
from gate.auditing.expected import Expectation
from gate.auditing.four_bits import audit_requantized
from gate.auditing.pruning import Combination
from gate.auditing.schedules import ONE_ROUNDING, Schedule, schedules_for
from gate.auditing.tensors import (
    Survey,
    first_schedule,
    look_closely,
    read,
    reproduces,
    same_bits,
)

if TYPE_CHECKING:
    from torch import Tensor, dtype

_THREADS = 2
_HALF_BYTES = 2


@dataclass(frozen=True)
class Target:
    """One tensor to look at.

    Attributes:
        name: its name in the base.
        base: the base's tensor.
        found: the tensor in the merge.
        changes: what the adapters do to it.
        to: the type that it should be stored in.
    """

    name: str
    base: "Tensor"
    found: "Tensor"
    changes: tuple[Change, ...]
    to: "dtype"


@dataclass
class Finding:
    """What became of a target.

    Attributes:
        audit: for the record.
        schedule: what gives it; None for a tensor that no adapter acts on, or that nothing gives.
        failed: schedules that were seen not to give it.
        survey: what was measured, where no schedule gives it.
    """

    audit: TensorAudit
    schedule: Schedule | None = None
    failed: list[Schedule] = field(default_factory=list)
    survey: Survey | None = None


class Comparison(NamedTuple):
    """Every target's finding, in order, and the name of the schedule that gives all of them."""

    findings: tuple[Finding, ...]
    schedule: str | None


class Comparer:
    """Compares targets, two at a time; the schedule that gave the last one is tried first."""

    def __init__(
        self,
        targets: Sequence[Target],
        combination: Combination,
        requantize: "Mapping[str, Callable[[Tensor], Tensor]] | None" = None,
    ) -> None:
        """Nothing is read yet; `requantize` has what was done to a merged tensor afterwards."""
        self._targets = targets
        self._requantize = requantize or {}
        self._combination = combination
        self._leader = ONE_ROUNDING
        self._lock = Lock()
        self._expectations = {
            target.name: Expectation(
                target.name, matrix_view(target.base), target.changes, target.to, combination
            )
            for target in targets
            if target.changes
        }
        self._same_shape: defaultdict[tuple[int, int], list[Expectation]] = defaultdict(list)
        for one in self._expectations.values():
            self._same_shape[one.rows, one.columns].append(one)

    def compare(self) -> Comparison:
        """Read everything."""
        import torch

        threads = torch.get_num_threads()
        order = sorted(self._targets, key=lambda target: -target.base.numel())
        try:
            with ThreadPoolExecutor(_THREADS, initializer=_one_thread) as pool:
                found = dict(zip((t.name for t in order), pool.map(self._look, order), strict=True))
                schedule = self._common_schedule(found, pool)
        finally:
            torch.set_num_threads(threads)
        findings = tuple(found[target.name] for target in self._targets)
        _judge_leaning(findings)
        return Comparison(findings, schedule)

    def _look(self, target: Target) -> Finding:
        reason = _unfit(target, self._expectations.get(target.name))
        if reason:
            return Finding(TensorAudit(tensor=target.name, outcome="wrong", note=reason))
        if not target.changes:
            return Finding(_untouched(target))
        expectation = self._expectations[target.name]
        try:
            if target.name in self._requantize:
                trip = self._requantize[target.name]
                return Finding(audit_requantized(expectation, target.found, trip))
            return self._changed(target, expectation)
        finally:
            expectation.forget()

    def _changed(self, target: Target, expectation: Expectation) -> Finding:
        found = matrix_view(target.found)
        schedules = self._schedules(target)
        with self._lock:
            leader = self._leader if self._leader in schedules else ONE_ROUNDING
        survey, is_given = read(expectation, found, leader)
        if is_given and math.isfinite(survey.residual_square):
            return Finding(_audit(target, survey, "exact"), leader)
        rest = [schedule for schedule in schedules if schedule != leader]
        schedule, failed = first_schedule(expectation, found, rest)
        failed.append(leader)
        if schedule is not None and math.isfinite(survey.residual_square):
            with self._lock:
                self._leader = schedule
            return Finding(_audit(target, survey, "exact"), schedule, failed)
        if not expectation.is_resized and _is_base(target):
            note = "not applied: it equals the base's"
            return Finding(_audit(target, survey, "wrong", note), None, failed)
        close = look_closely(expectation, found)
        outcome, note = self._judge(expectation, found, close)
        return Finding(_audit(target, survey, outcome, note), None, failed, close)

    def _judge(
        self, expectation: Expectation, found: "Tensor", survey: Survey
    ) -> tuple[TensorOutcome, str]:
        if survey.overflowing:
            kind = str(expectation.to).removeprefix("torch.")
            return (
                "not representable",
                f"{survey.overflowing} elements of base + adapter are beyond what {kind} can hold",
            )
        if survey.beyond or survey.not_finite or not survey.from_base or leans(survey):
            others = self._same_shape[expectation.rows, expectation.columns]
            return "wrong", wrong_because(expectation, found, survey, others)
        return "rounding", ""

    def _schedules(self, target: Target) -> tuple[Schedule, ...]:
        return schedules_for(
            several=len(target.changes) > 1 and self._combination.is_sum,
            narrows=self._combination.is_sum and target.to.itemsize < target.base.dtype.itemsize,
            low_precision=self._combination.is_sum and target.to.itemsize <= _HALF_BYTES,
        )

    def _common_schedule(self, found: dict[str, Finding], pool: ThreadPoolExecutor) -> str | None:
        """The most exact schedule that gives every tensor that an adapter acts on."""
        changed = [
            target
            for target in self._targets
            if found[target.name].failed or found[target.name].schedule is not None
        ]
        if not changed or any(found[target.name].schedule is None for target in changed):
            return None
        candidates = {s.name: s for target in changed for s in self._schedules(target)}

        def is_given(target: Target, schedule: Schedule) -> bool:
            finding = found[target.name]
            if finding.schedule == schedule:
                return True
            if schedule in finding.failed or schedule not in self._schedules(target):
                # a type that no schedule rounds to is given by all of them
                return len(self._schedules(target)) == 1
            expectation = self._expectations[target.name]
            try:
                return reproduces(expectation, matrix_view(target.found), schedule)
            finally:
                expectation.forget()

        for schedule in candidates.values():
            known = [found[target.name] for target in changed]
            if any(schedule in finding.failed for finding in known):
                continue
            if all(pool.map(lambda target, s=schedule: is_given(target, s), changed)):
                return schedule.name
        return None


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _unfit(target: Target, expectation: Expectation | None) -> str | None:
    shape = list(target.base.shape)
    if expectation is not None and expectation.is_resized:
        shape[0] = expectation.rows
    if list(target.found.shape) != shape:
        return f"its shape is {tuple(target.found.shape)}, and should be {tuple(shape)}"
    if target.found.dtype != target.to:
        return f"it is stored as {_word(target.found.dtype)}, and should be {_word(target.to)}"
    return None


def _word(kind: "dtype") -> str:
    return str(kind).removeprefix("torch.")


def _is_base(target: Target) -> bool:
    return _untouched(target).outcome == "exact"


def _untouched(target: Target) -> TensorAudit:
    import torch

    base, found = target.base.reshape(-1), target.found.reshape(-1)
    differing = 0
    for start in range(0, base.numel(), 4 * BLOCK_ELEMENTS):
        ours, theirs = (one[start : start + 4 * BLOCK_ELEMENTS] for one in (base, found))
        ours = ours.to(target.to)
        if not same_bits(ours, theirs):
            is_byte = ours.dtype.itemsize == 1
            ours, theirs = (one.view(torch.uint8) if is_byte else one for one in (ours, theirs))
            differing += int((ours != theirs).sum())
    if not differing:
        return TensorAudit(tensor=target.name, outcome="exact")
    note = (
        f"{differing} of {base.numel()} elements differ from the base's, and no adapter acts on it"
    )
    return TensorAudit(tensor=target.name, outcome="wrong", differing=differing, note=note)


def _audit(target: Target, survey: Survey, outcome: TensorOutcome, note: str = "") -> TensorAudit:
    is_resized = any(
        change.replacement is not None and len(change.replacement) != len(target.base)
        for change in target.changes
    )
    return TensorAudit(
        tensor=target.name,
        outcome=outcome,
        delta_share=None if is_resized else _finite(survey.delta_share),
        kept_share=None if is_resized else _finite(survey.kept_share),
        differing=survey.differing,
        note=note,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and abs(value) < float("inf") else None


def _judge_leaning(findings: Sequence[Finding]) -> None:
    """Call tensors wrong that are each within rounding, but together lean along the change."""
    rounded = [one for one in findings if one.audit.outcome == "rounding"]
    total = Survey()
    for one in rounded:
        if one.survey is not None:
            total.towards += one.survey.towards
            total.against += one.survey.against
    if leans(total):
        way = "beyond" if total.towards > total.against else "short of"
        note = f"its last bits fall {way} the adapter's change more often than chance allows"
        for one in rounded:
            one.audit = one.audit.model_copy(update={"outcome": "wrong", "note": note})
