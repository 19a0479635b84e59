"""The benchmark of scoring: what it asks of both, and what it prints."""

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(FOLDER))
engines = importlib.import_module("engines")

pytestmark = pytest.mark.filterwarnings(
    # transformers 5.23 asks itself for a name that it deprecates
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",
    # HFLM, the oracle, is built on names that transformers deprecates
    "ignore::DeprecationWarning:lm_eval",
)


def test_both_score_the_same_requests_by_turns_and_agree(base, adapter, tmp_path):
    requests = engines.make_requests(tmp_path, documents=2)
    arm = engines.Arm("adapter", base, adapter, "float32", batch_size=8)
    found = engines.compare(arm, requests, rounds=2)
    assert [len(one.answers) for one in (*found.reference, *found.ours)] == [20] * 4
    theirs, own = found.reference[0].answers, found.ours[0].answers
    assert [one[0] for one in own] == pytest.approx([one[0] for one in theirs], abs=1e-3)


def test_a_row_has_the_best_round_the_gain_and_the_largest_difference():
    reference = tuple(
        engines.Round(seconds, 9 * 10**8, [(-1.0, True), (-2.0, False)]) for seconds in (4.0, 3.0)
    )
    ours = (engines.Round(1.5, None, [(-1.0, True), (-2.25, True)]),)
    arm = engines.Arm("base", Path("base"), None, "bfloat16", batch_size=8)
    assert engines.tell(arm, engines.Compared(reference, ours)) == (
        "| base | 3.00 | 1.50 | 2.00 x | 2.5e-01 | 1 of 2 | 900 MB | not measured |"
    )
