"""The table of lineages."""

import pytest
from evidence_builder import build_evidence

from gate.reporting.lineage_views import NO_STEP, lineage_table


@pytest.fixture(scope="module")
def record():
    return build_evidence()


def test_the_table_has_a_column_for_each_cause_and_says_where_there_is_no_such_step(record):
    table = lineage_table(record)
    assert table.causes == ("training", "merge", "runtime", "quantization")
    merged = table.rows[0]
    assert (merged.variant, merged.cells[2:]) == ("merged", (NO_STEP, NO_STEP))
    assert merged.total == "30.00 points (25.75 to 34.57)"


def test_causes_without_a_variant_between_them_share_a_column(record):
    one = record.lineages[1]
    joined = one.steps[3].model_copy(update={"cause": "runtime", "also": ("quantization",)})
    short = one.model_copy(update={"steps": (*one.steps[:2], joined)})
    table = lineage_table(record.model_copy(update={"lineages": (short, one)}))
    assert table.causes == (
        "training",
        "merge",
        "runtime",
        "runtime and quantization",
        "quantization",
    )


def test_a_record_without_lineages_has_no_table(record):
    assert lineage_table(record.model_copy(update={"lineages": ()})) is None
