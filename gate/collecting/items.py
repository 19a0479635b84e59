"""gate.yaml as a file of tests: one for each check, variant and task, one for weights that ship."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from gate.collecting.asked import Asked
from gate.collecting.collected_gate import CollectedGate, gate_of
from gate.collecting.findings import Found, check_found, weights_found
from gate.collecting.outline import names_of
from gate.collecting.regression import is_scored
from gate.errors import GateError
from gate.terms import ResolvedCheck


class GateFile(pytest.File):
    """A gate.yaml that was asked for."""

    asked: Asked

    @classmethod
    def of(cls, parent: pytest.Collector, path: Path, asked: Asked) -> "GateFile":
        """The file as a child of the folder that pytest found it in."""
        file: GateFile = cls.from_parent(parent, path=path)
        file.asked = asked
        return file

    def collect(self) -> Iterator[pytest.Item]:
        """A test for each check and for the weights of each variant that is to ship.

        Raises:
            pytest.Collector.CollectError: the gate's files are wrong.
        """
        try:
            gate = gate_of(self.config, self.path.resolve(), self.asked)
        except GateError as error:
            raise self.CollectError(f"{self.path.name}: {error}") from error
        checks = gate.outline.checks
        for at, (name, one) in enumerate(zip(names_of(checks), checks, strict=True)):
            yield GateItem.of(self, name, partial(_check_found, gate, at), _marks(one))
        for variant in gate.outline.config.ship:
            find = partial(_weights_found, gate, variant)
            yield GateItem.of(self, f"weights[{variant}]", find, {"variant": variant})
        checks = gate.regression_checks
        for at, (name, one) in enumerate(zip(names_of(checks), checks, strict=True)):
            yield GateItem.of(self, name, partial(_regression_found, gate, at), _marks(one))


class GateItem(pytest.Item):
    """One check, or the weights of one variant.

    What could not be measured is an error of the test's setup, which is how pytest tells errors
    from failures.
    """

    find: Callable[[], Found]

    @classmethod
    def of(
        cls, parent: GateFile, name: str, find: Callable[[], Found], marks: Mapping[str, str]
    ) -> "GateItem":
        """A test that finds when it is run.

        Args:
            parent: the file.
            name: the test's name.
            find: gives what was found; may take as long as a whole run.
            marks: the keyword arguments of its marker `gate`.
        """
        # since 9.2 pytest takes a name with brackets for another id than the one it reads back
        nodeid = f"{parent.nodeid}::{name}"
        item: GateItem = cls.from_parent(parent, name=name, nodeid=nodeid)
        item.find = find
        item.add_marker(pytest.mark.gate(**marks))
        return item

    def setup(self) -> None:
        """Run the gate, unless that is done; an error where there is nothing to judge."""
        try:
            self._found = self.find()
        except GateError as error:
            pytest.fail(f"the gate could not be run: {error}", pytrace=False)
        self.user_properties += self._found.facts.items()
        if self._found.state == "error":
            pytest.fail(self._found.text, pytrace=False)

    def runtest(self) -> None:
        """Pass, or say why not.

        `--runxfail` makes nothing of pytest.xfail: what is undecided then fails, and what only
        warns passes.
        """
        state, reason, text, _ = self._found
        if state == "pass":
            self.add_report_section("call", "gate", text)
        elif state == "aside":
            pytest.skip(reason)
        elif state == "warning":
            pytest.xfail(reason)
        else:
            if state == "inconclusive" and self.config.getoption("gate_inconclusive") == "xfail":
                pytest.xfail(reason)
            pytest.fail(text, pytrace=False)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where a report says that the test is: no line of gate.yaml is about it alone."""
        return self.path, None, self.name


def _check_found(gate: CollectedGate, at: int) -> Found:
    return check_found(gate.record, gate.results[at])


def _weights_found(gate: CollectedGate, variant: str) -> Found:
    return weights_found(gate.record, variant)


def _regression_found(gate: CollectedGate, at: int) -> Found:
    """What a margin against the baseline came to; aside where that has nothing to compare with."""
    one = gate.regression_checks[at]
    if gate.baseline is not None and not is_scored(one, gate.baseline):
        reason = f"{gate.baseline.release} has no score of {one.variant} on {one.task}"
        return Found("aside", reason, reason, {})
    return check_found(gate.regression, gate.regression_results[at])


def _marks(one: ResolvedCheck) -> dict[str, str]:
    """What `-m 'gate(variant="q4_k_m")'` selects by."""
    return {
        "variant": one.variant,
        "reference": one.reference,
        "task": one.task,
        "compare": one.check.compare.name,
        "level": one.check.level,
    }
