"""What `gate plan` says of the documents that there are."""

import pytest
from gates import SUITE, write_gate

from gate.cli.plan_text import describe
from gate.configuring.config import load_config
from gate.planning.todo import locate_sources, look_up
from gate.store import Store


@pytest.fixture
def described(tmp_path, base, adapter):
    def describe_suite(suite):
        config = load_config(write_gate(tmp_path, base, adapter, suite=suite))
        store = Store(tmp_path / "store")
        sources = locate_sources(config, store)
        text = describe(config, look_up(config, sources, store), store, sources=sources)
        return text.split("\n")

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
