"""What reports say of an engine's own noise."""

import pytest
from gates import SUITE, FakeWorker, write_gate

from gate.configuring.config import load_config
from gate.reporting.report_files import render
from gate.reporting.views import noise_rows
from gate.running.runner import run_gate
from gate.store import Store

RIGHT = {"base": 90, "adapter": 280, "merged": 280, "rtn": 280}


def record_of(folder, base, adapter, *, suite):
    config = load_config(write_gate(folder, base, adapter, suite=suite))
    worker = FakeWorker(RIGHT, stirred=3)
    store = Store(folder / "store")
    return run_gate(config, store=store, reports=folder / "reports", run_batch=worker).record


@pytest.fixture
def record(tmp_path, base, adapter):
    return record_of(tmp_path, base, adapter, suite=SUITE.replace("noise_floor: false", ""))


def test_the_page_tells_what_an_engine_changes_by_itself(record):
    page = render(record, "html")
    assert '<section id="noise">' in page
    assert "3 of 300 documents" in page
    assert "1.00 points (" in page


@pytest.mark.parametrize(
    ("nats", "told"), [(9.26e-5, "0.0000926"), (7.6e-18, "< 0.000001"), (0.0, "0")]
)
def test_a_divergence_is_told_without_an_exponent(record, nats, told):
    noise = record.noise[0].model_copy(update={"kl": nats})
    assert noise_rows(record.model_copy(update={"noise": (noise,)}))[0].kl == told


def test_the_summary_has_the_noise_folded(record):
    assert "Noise of the engines" in render(record, "markdown")
    assert "3 of 300 documents" in render(record, "markdown")


def test_a_record_without_second_runs_has_no_such_part(tmp_path, base, adapter):
    quiet = record_of(tmp_path, base, adapter, suite=SUITE)
    assert 'id="noise"' not in render(quiet, "html")
    assert "Noise of the engines" not in render(quiet, "markdown")


def test_the_page_names_the_interpreter_of_each_stage(record):
    assert "Python 3.11 (here)" in render(record, "html")
