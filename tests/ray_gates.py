"""Gates that are run on a Ray cluster, and what they give."""

from gates import write_gate

from gate.configuring.config import load_config
from gate.running.filling import Watcher
from gate.running.runner import run_gate
from gate.store import Store

GATE = """\
release: v1
candidate:
  base: {base}
  adapters: {{support: {adapter}}}
variants:
  base: {{adapters: []}}
  merged: {{merge: stream}}
backend: {{name: hf, dtype: float32}}
suite: suite.yaml
"""
SUITE = """\
tasks:
  - {name: colors, metric: acc, path: tasks/colors.yaml}
checks:
  - {of: merged, against: base, compare: delta, margin: 0.02}
noise_floor: false
"""
RIGHT = {"base": 270, "merged": 280}


def make_gate(folder, base, adapter, more=""):
    """A gate in a folder that is made; `more` are lines of gate.yaml."""
    folder.mkdir()
    write_gate(folder, base, adapter, gate=GATE, suite=SUITE)
    with (folder / "gate.yaml").open("a") as file:
        file.write(more)
    return folder


def run(folder, run_batch, **options):
    """The record of a gate."""
    config = load_config(folder / "gate.yaml")
    store, reports = Store(folder / "store"), folder / "reports"
    return run_gate(config, store=store, reports=reports, run_batch=run_batch, **options).record


def on(cluster, more: str = "") -> str:
    """The lines of gate.yaml that run it on a cluster."""
    return f"executor: {{name: ray, address: '{cluster.address}'{more}}}\n"


def outputs(folder) -> dict[str, bytes]:
    """What the stages gave."""
    files = (folder / "store").glob("*/*/output/**/*")
    return {
        file.relative_to(folder / "store").as_posix(): file.read_bytes()
        for file in files
        if file.is_file()
    }


def errors(record) -> dict[str, str]:
    """{stage: why it failed}."""
    return {stage.label: stage.error for stage in record.stages if stage.error}


class Listening(Watcher):
    """Keeps the events of each stage."""

    def __init__(self):
        self.heard = {}

    def event(self, planned, event):
        self.heard.setdefault(planned.label, []).append(event)
