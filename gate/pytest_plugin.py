"""pytest collects gate.yaml: one test a check; asked for by name, never by itself.

Nothing of the gate is imported before a session asks for one.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gate.collecting.asked import Asked, find_asked

if TYPE_CHECKING:
    from gate.collecting.measured_record import MeasuredRecord

_ASKED = pytest.StashKey[Asked | None]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the gate; without `--gate` or a gate.yaml by name they do nothing."""
    group = parser.getgroup("gate", "release gate (mergegate)")
    group.addoption(
        "--gate",
        action="append",
        default=[],
        metavar="GATE.YAML",
        help="collect this gate too, one test a check; `pytest GATE.YAML` is the same",
    )
    group.addoption(
        "--gate-inconclusive",
        choices=("fail", "xfail"),
        default="fail",
        help="what a check is that the evidence does not decide (default: fail)",
    )
    group.addoption(
        "--gate-baseline",
        metavar="RECORD",
        help="hold each margin also against the same variant of an earlier release: its record, "
        "its run's directory, or where it was published",
    )
    group.addoption(
        "--gate-store",
        default=".gate/store",
        metavar="DIR",
        help="where finished stages are kept (default: .gate/store)",
    )
    group.addoption(
        "--gate-reports",
        default="reports",
        metavar="DIR",
        help="where <release>/<run>/ is written (default: reports)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Know the marker, and which gates this session was asked for."""
    config.addinivalue_line(
        "markers",
        "gate(variant, reference, task, compare, level): a check that a gate.yaml makes",
    )
    config.stash[_ASKED] = find_asked(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take away what the processes of the session shared."""
    asked = config.stash.get(_ASKED, None)
    if asked is not None:
        asked.close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist which gates were asked for."""
    asked = node.config.stash[_ASKED]
    if asked is not None:
        node.workerinput.update(asked.for_worker())


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A gate that was asked for; any other file is left alone."""
    asked = parent.config.stash[_ASKED]
    if asked is None or file_path.resolve() not in asked.gates:
        return None
    from gate.collecting.items import GateFile

    return GateFile.of(parent, file_path, asked)


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """The verdict of each gate that ran, whichever of its tests were selected."""
    asked = terminalreporter.config.stash.get(_ASKED, None)
    if asked is None:
        return
    from gate.collecting.sharing import summary_lines

    for at, line in enumerate(summary_lines(asked.folder)):
        if at == 0:
            terminalreporter.section("release gate")
        terminalreporter.line(line)


@pytest.fixture(scope="session")
def gate_record(request: pytest.FixtureRequest) -> "MeasuredRecord":
    """The record of the session's gate, for assertions of one's own: run once, shared by all."""
    asked = request.config.stash[_ASKED]
    if asked is None:
        pytest.skip("no gate was asked for: pytest --gate gate.yaml")
    if len(asked.gates) > 1:
        pytest.fail("gate_record: more than one gate was asked for", pytrace=False)
    from gate.collecting.collected_gate import gate_of
    from gate.errors import GateError

    try:
        return gate_of(request.config, asked.gates[0], asked).measured
    except GateError as error:
        pytest.fail(f"the gate could not be run: {error}", pytrace=False)
