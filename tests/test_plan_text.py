"""What `gate plan` says of the documents that there are."""

import pytest
from gates import GATE, SUITE, write_gate
from records_builder import build_record
from serving_builder import build_servings

from gate.cli.plan_text import describe
from gate.configuring.config import load_config
from gate.planning.past_runs import PastRun
from gate.planning.todo import locate_sources, look_up
from gate.store import Store


@pytest.fixture
def described(tmp_path, base, adapter):
    def describe_suite(suite, *, serving="", is_measured=False):
        gate = GATE + serving
        config = load_config(write_gate(tmp_path, base, adapter, gate=gate, suite=suite))
        store = Store(tmp_path / "store")
        sources = locate_sources(config, store)
        todo = look_up(config, sources, store)
        record = build_record(documents=3).model_copy(
            update={
                "candidate": config.candidate,
                "variants": todo.plan.variants,
                "results": (),
                "serving": build_servings(),
            }
        )
        runs = [PastRun.model_validate_json(record.model_dump_json())] if is_measured else []
        return describe(config, todo, store, sources=sources, runs=runs).split("\n")

    return describe_suite


def test_the_documents_of_a_task_are_counted(described):
    assert "  colors: 300 (acc)" in described(SUITE)


def test_a_sequential_suite_tells_its_looks(described):
    lines = described(SUITE + "sequential: {first: 50, growth: 2}\n")
    assert "  colors: 300 (acc); looked at after 50, 100, 200, 300" in lines


def test_a_clustered_task_says_that_clusters_count(described):
    lines = described(SUITE.replace("metric: acc,", "metric: acc, cluster: answer,"))
    assert (
        "  colors: 300 (acc); those of one 'answer' vary together: it takes 10 of these and more"
    ) in lines


def test_advice_is_told_from_what_is_declared(described):
    lines = described(SUITE, serving="serving: {{still_iterating: true}}\n")
    assert "when not to merge (advice, which changes no verdict)" in lines
    assert any(line.startswith("  the adapter is still being worked on") for line in lines)


def test_advice_takes_the_figures_of_an_earlier_run_and_says_so(described):
    lines = described(SUITE, serving="serving: {{variants: 12}}\n", is_measured=True)
    heading = "figures of an earlier run, support-bot-v3)"
    assert any(line.startswith("when not to merge") and line.endswith(heading) for line in lines)
    assert any("as large as merged each (273 MB), merged they are 3.27 GB" in x for x in lines)


def test_a_plan_with_nothing_declared_gives_no_advice(described):
    assert not any("when not to merge" in line for line in described(SUITE, is_measured=True))
