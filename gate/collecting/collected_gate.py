"""A gate of a pytest session: what it will check, and what it has found once it has run."""

from functools import cached_property
from pathlib import Path

import pytest

from gate.collecting.asked import Asked
from gate.collecting.findings import results_of
from gate.collecting.measured_record import MeasuredRecord
from gate.collecting.outline import read_outline
from gate.collecting.progress import TerminalLines
from gate.collecting.regression import judge_regression, read_baseline, regression_checks
from gate.collecting.sharing import SharedRun
from gate.records import Record
from gate.reporting.concerns import NamedResult
from gate.terms import ResolvedCheck


class CollectedGate:
    """A gate that was asked for; it is run when somebody wants its record.

    Attributes:
        outline: its checks.
        baseline: the record of the release that it is compared with; None where none is named.
        regression_checks: each margin against the baseline; none where there is no baseline.
    """

    def __init__(self, path: Path, asked: Asked, config: pytest.Config) -> None:
        """Read the gate's files.

        Raises:
            GateError: they are wrong, or there is no such baseline.
        """
        here = config.invocation_params.dir
        baseline = config.getoption("gate_baseline")
        self.outline = read_outline(path)
        self.baseline = read_baseline(here / baseline) if baseline else None
        self.regression_checks: tuple[ResolvedCheck, ...] = ()
        if self.baseline is not None:
            self.regression_checks = regression_checks(self.outline, self.baseline.release)
        self._run = SharedRun(
            self.outline,
            asked.folder,
            store=here / config.getoption("gate_store"),
            reports=here / config.getoption("gate_reports"),
            watcher=TerminalLines(config),
        )

    @property
    def record(self) -> Record:
        """The record of the session's one run.

        Raises:
            GateError: the run did not finish.
        """
        return self._run.record()

    @cached_property
    def results(self) -> tuple[NamedResult, ...]:
        """What each check found, in the order of the outline.

        Raises:
            GateError: the run did not finish, or was of other checks.
        """
        return results_of(self.record, self.outline.checks)

    @cached_property
    def regression(self) -> Record:
        """The record with the baseline's scores beside its own, and the regression's results."""
        if self.baseline is None:
            return self.record
        checks = self.regression_checks
        return judge_regression(self.outline, self.record, self.baseline, checks)

    @cached_property
    def regression_results(self) -> tuple[NamedResult, ...]:
        """What each regression check found."""
        return results_of(self.regression, self.regression_checks)

    @cached_property
    def measured(self) -> MeasuredRecord:
        """The record for assertions of one's own."""
        return MeasuredRecord(self.record, self.outline.config.suite.sequential)


_GATES = pytest.StashKey[dict[Path, CollectedGate]]()


def gate_of(config: pytest.Config, path: Path, asked: Asked) -> CollectedGate:
    """The gate in a file, read once a session.

    Raises:
        GateError: its files are wrong.
    """
    gates = config.stash.setdefault(_GATES, {})
    if path not in gates:
        gates[path] = CollectedGate(path, asked, config)
    return gates[path]
