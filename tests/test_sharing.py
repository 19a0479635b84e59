"""One run of a gate for several who ask, whether it ends well or not."""

import pytest
from gates import GATE, FakeWorker, write_gate

from gate.collecting.outline import read_outline
from gate.collecting.sharing import SharedRun, summary_lines
from gate.configuring.config import load_config
from gate.errors import GateError
from gate.running.filling import Watcher
from gate.running.runner import run_gate
from gate.store import Store


@pytest.fixture
def ask(tmp_path):
    """A run as one process of a session would ask for it; what it has told is kept."""
    (tmp_path / "session").mkdir()

    def make(watcher):
        return SharedRun(
            read_outline(tmp_path / "gate.yaml"),
            tmp_path / "session",
            store=tmp_path / "store",
            reports=tmp_path / "reports",
            watcher=watcher,
        )

    return make


class Heard(Watcher):
    def __init__(self):
        self.plans = 0

    def planned(self, todo):
        self.plans += 1


def test_who_asks_second_reads_what_the_first_has_run(tmp_path, base, adapter, ask):
    write_gate(tmp_path, base, adapter)
    right = {"base": 90, "adapter": 280, "merged": 280, "rtn": 280}
    run_gate(
        load_config(tmp_path / "gate.yaml"),
        store=Store(tmp_path / "store"),
        reports=tmp_path / "filled",
        run_batch=FakeWorker(right),
    )
    one, other = Heard(), Heard()
    assert ask(one).record() == ask(other).record()
    assert (one.plans, other.plans) == (1, 0)
    (line,) = summary_lines(tmp_path / "session")
    assert line.startswith("v1: PROMOTE; report: ")


def test_a_run_that_failed_is_not_tried_again(tmp_path, ask):
    write_gate(tmp_path, tmp_path / "no-base", tmp_path / "no-adapter", gate=GATE)
    first, second = ask(Watcher()), ask(Watcher())
    for one in (first, second):
        with pytest.raises(GateError, match="no-base"):
            one.record()
        (tmp_path / "no-base").mkdir(exist_ok=True)
    with pytest.raises(GateError) as caught:
        first.record()
    assert "no-base" in caught.value.problem
    (line,) = summary_lines(tmp_path / "session")
    assert "gate.yaml: could not be run: " in line
