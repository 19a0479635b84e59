"""A finished run for assertions of one's own: scores, verdicts, and any two variants compared."""

from gate.errors import ConfigError, StageError, suggest
from gate.evaluation_records import Score
from gate.extensions import check_parameters, find
from gate.judging.looks import planned_looks
from gate.judging.opening import Measured, Opener
from gate.records import Record
from gate.reporting.views import exact_score, scores_of
from gate.result_records import CheckResult, Estimate, Verdict
from gate.terms import Check, JsonValue, ResolvedCheck, Sequential, Use


class MeasuredRecord:
    """What the fixture `gate_record` gives.

    Attributes:
        record: the whole of it.
    """

    def __init__(self, record: Record, sequential: Sequential | None = None) -> None:
        """Take a record, and by which looks its documents were asked."""
        self.record = record
        self._opener = Opener(
            Measured(
                scores={(one.variant, one.task): one for one in scores_of(record)},
                corpora={one.task: one for one in record.corpora},
                failures={},
                noise=None,
                serving={one.variant: one for one in record.serving},
                distributions={
                    (one.variant, one.reference, one.text): one for one in record.distributions
                },
                looks=planned_looks(sequential, record.tasks, record.scores),
            )
        )

    @property
    def verdict(self) -> Verdict:
        """The verdict of all that is to ship."""
        return self.record.verdict

    @property
    def results(self) -> tuple[CheckResult, ...]:
        """What each check of the suite found."""
        return self.record.results

    def verdict_of(self, variant: str) -> Verdict:
        """The verdict of one variant that could ship.

        Raises:
            ConfigError: there is no such variant, or it cannot ship.
        """
        verdicts = {one.variant: one.verdict for one in self.record.verdicts}
        if variant not in verdicts:
            raise ConfigError(f"no verdict of {variant!r}", hint=suggest(variant, verdicts))
        return verdicts[variant]

    def score(self, variant: str, task: str) -> float:
        """A variant's score on a task, by the task's own metric, unrounded.

        Raises:
            ConfigError: there is no such variant or task.
            StageError: it was not measured.
        """
        found = exact_score(self._score(variant, task))
        if found is None:
            raise StageError(f"{variant} was not scored on {task}")
        return found

    def delta(
        self, variant: str, reference: str, task: str, *, confidence: float = 0.95
    ) -> Estimate:
        """How much better a variant does than another on the same documents of a task.

        Args:
            variant: the one that is judged.
            reference: the one it is compared with.
            task: of the suite.
            confidence: one-sided, of each end of the interval.

        Raises:
            ConfigError: there is no such variant or task.
            StageError: the two cannot be compared.
        """
        return self.compare("delta", variant, reference, task, confidence=confidence)

    def flips(
        self, variant: str, reference: str, task: str, *, confidence: float = 0.95
    ) -> Estimate:
        """The share of documents on which two variants differ; as `delta`."""
        return self.compare("flips", variant, reference, task, confidence=confidence)

    def compare(
        self,
        comparison: str,
        variant: str,
        reference: str,
        task: str = "",
        *,
        slice: str | None = None,
        confidence: float = 0.95,
        **params: JsonValue,
    ) -> Estimate:
        """Two variants by any comparison of a suite, whether a check asks for it or not.

        Args:
            comparison: its name: delta, flips, kl, same_top, perplexity, size, speed.
            variant: the one that is judged.
            reference: the one it is compared with.
            task: of the suite, or a text of it; empty of what serving costs.
            slice: only the documents of this part of the task.
            confidence: one-sided, of each end of the interval.
            params: of the comparison.

        Raises:
            ConfigError: there is no such comparison, parameter, variant or task.
            StageError: the two cannot be compared, or were not measured.
        """
        use = Use(name=comparison, params=params)
        extension = find("comparisons", comparison)
        check_parameters(extension, use, given_by_gate=("confidence", "looks"))
        if extension.compares == "scores":
            for one in (variant, reference):
                self._score(one, task)
        check = Check(
            of=variant, against=reference, compare=use, slice=slice, confidence=confidence
        )
        case = self._opener.open(
            ResolvedCheck(check=check, variant=variant, reference=reference, task=task)
        )
        return case.measure(len(case.moments) - 1, confidence=confidence)

    def _score(self, variant: str, task: str) -> Score:
        scores = {(one.variant, one.task): one for one in scores_of(self.record)}
        if (variant, task) in scores:
            return scores[variant, task]
        tasks = [one.name for one in self.record.tasks]
        if task not in tasks:
            raise ConfigError(f"no task {task!r} in this gate", hint=suggest(task, tasks))
        variants = [one.name for one in self.record.variants]
        if variant not in variants:
            raise ConfigError(
                f"no variant {variant!r} in this gate", hint=suggest(variant, variants)
            )
        raise StageError(f"{variant} was not scored on {task}")
