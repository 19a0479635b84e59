"""The figure of noise: each engine on each task against the narrowest margin there."""

import pytest
from figure_parts import facts, words
from records_builder import build_record

from gate.comparisons import delta
from gate.figures.noise import draw
from gate.records import Record
from gate.result_records import NoiseFloor


def noise_of(record: Record, *, task: str, low: float, high: float) -> NoiseFloor:
    score = next(one for one in record.scores if (one.variant, one.task) == ("merged", task))
    found = delta.compare(score, score, confidence=0.95)
    return NoiseFloor(
        engine="hf",
        variant="merged",
        task=task,
        delta=found.model_copy(update={"low": low, "high": high}),
        largest_change=None,
        kl=None,
    )


@pytest.fixture(scope="module")
def record() -> Record:
    return build_record()


def drawn(record: Record, **settings):
    noise = noise_of(record, **{"task": "arc_easy", "low": -0.01, "high": 0.01, **settings})
    figures = draw(record.model_copy(update={"noise": (noise,)}))
    return figures


def test_noise_is_held_against_the_narrowest_margin_of_its_engine_and_task(record):
    figures = drawn(record)
    assert "margins -2 to 2 points" in words(figures)
    assert facts(figures)[0]["State"] == "inside the margin"


def test_noise_that_reaches_across_a_margin_is_said_to(record):
    figures = drawn(record, high=0.021)
    assert facts(figures)[0]["State"] == "not inside the margin"
    assert "1 not inside the margins" in figures[0].summary


def test_a_bound_that_allows_no_loss_is_no_margin(record):
    strict = tuple(one for one in record.results if one.check.at_least == 0.0)
    figures = drawn(record.model_copy(update={"results": strict}))
    assert facts(figures)[0]["State"] == "no margin"
    assert facts(figures)[0]["Narrowest margin"] == "no margin"


def test_a_row_tells_how_many_answers_changed(record):
    assert facts(drawn(record))[0]["Changed answers"] == "0 of 300"


def test_a_record_without_second_runs_has_no_such_figure(record):
    assert draw(record) == ()
