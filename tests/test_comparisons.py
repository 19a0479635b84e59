"""delta and flips on scores made by hand: values, intervals, direction."""

import numpy as np
import pytest

from gate import extensions
from gate.comparisons import delta, flips
from gate.evaluation_records import Sample, Score
from gate.stats import means, proportions
from gate.terms import Use


def make_score(values, *, higher_is_better=True, is_binary=True, answers=None):
    answers = answers or [""] * len(values)
    return Score(
        variant="some",
        task="intents",
        metric="acc",
        higher_is_better=higher_is_better,
        is_binary=is_binary,
        samples=tuple(
            Sample(id=i, hash=f"h{i}", value=float(value), answer=answer, request_hash=f"r{i}")
            for i, (value, answer) in enumerate(zip(values, answers, strict=True))
        ),
    )


def binary_pair(gains, losses, n, **options):
    rest = n - gains - losses
    reference = [0] * gains + [1] * losses + [1] * rest
    candidate = [1] * gains + [0] * losses + [1] * rest
    return make_score(reference, **options), make_score(candidate, **options)


def continuous_pair(before, after, **options):
    options = {"is_binary": False} | options
    return make_score(before, **options), make_score(after, **options)


@pytest.fixture
def changes():
    return np.random.default_rng(7).normal(-0.01, 0.1, 300) ** 3 * 10


@pytest.mark.parametrize("name", ["delta", "flips"])
def test_both_comparisons_are_found_by_name_and_need_no_parameter(name):
    extension = extensions.find("comparisons", name)
    extensions.check_parameters(extension, Use(name=name), given_by_gate=["confidence", "looks"])
    assert "scipy" in extension.packages


def test_delta_of_a_binary_metric_is_tangos_interval_in_shares_of_documents():
    estimate = delta.compare(*binary_pair(3, 7, 200), confidence=0.95)
    assert estimate.value == pytest.approx(-0.02)
    assert (estimate.low, estimate.high) == pytest.approx((-0.050396, 0.006830), abs=1e-6)
    assert (estimate.n, estimate.unit) == (200, "share difference")
    assert estimate.method == "Tango score interval"
    assert (estimate.flips.gains, estimate.flips.losses) == (3, 7)
    assert estimate.flips.mid_p == proportions.mid_p_mcnemar(3, 7)


def test_delta_turns_a_metric_round_where_lower_is_better():
    higher = delta.compare(*binary_pair(3, 7, 200), confidence=0.95)
    lower = delta.compare(*binary_pair(7, 3, 200, higher_is_better=False), confidence=0.95)
    assert lower == higher


@pytest.mark.parametrize("table", [(3, 7, 200), (0, 0, 50), (0, 9, 60)])
def test_delta_swapped_is_minus_delta_for_a_binary_metric(table):
    reference, candidate = binary_pair(*table)
    there = delta.compare(reference, candidate, confidence=0.95)
    back = delta.compare(candidate, reference, confidence=0.95)
    assert back.value == -there.value
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-12)


def test_delta_of_equal_scores_is_zero_but_not_certain():
    estimate = delta.compare(*binary_pair(0, 0, 100), confidence=0.95)
    assert estimate.value == 0.0
    assert estimate.low < 0.0 < estimate.high


def test_delta_of_a_continuous_metric_is_the_envelope_of_two_intervals(changes):
    estimate = delta.compare(*continuous_pair(np.zeros(300), changes), confidence=0.95)
    student = means.paired_t_interval(changes, confidence=0.95)
    bootstrap = means.bca_interval(changes, confidence=0.95)
    assert estimate.value == pytest.approx(changes.mean())
    assert estimate.low == min(student.low, bootstrap.low)
    assert estimate.high == max(student.high, bootstrap.high)
    assert (estimate.n, estimate.unit, estimate.flips) == (300, "mean difference", None)
    assert estimate.method == "paired t and BCa bootstrap, outer envelope"


def test_delta_swapped_is_minus_delta_for_a_continuous_metric(changes):
    reference, candidate = continuous_pair(np.zeros(300), changes)
    there = delta.compare(reference, candidate, confidence=0.95)
    back = delta.compare(candidate, reference, confidence=0.95)
    assert back.value == -there.value
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=2e-4)


def test_delta_of_a_loss_is_negative_for_a_continuous_metric_where_lower_is_better(changes):
    pair = continuous_pair(np.ones(300), 1.0 + abs(changes), higher_is_better=False)
    assert delta.compare(*pair, confidence=0.95).high < 0.0


def test_delta_narrows_with_more_documents(changes):
    widths = []
    for times in (1, 2, 4):
        pair = continuous_pair(np.zeros(300 * times), np.tile(changes, times))
        estimate = delta.compare(*pair, confidence=0.95)
        widths.append(estimate.high - estimate.low)
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("n", [1, 5, 148])
@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_few_unchanged_documents_do_not_prove_a_small_margin(n, value):
    pair = continuous_pair([value] * n, [value] * n)
    estimate = delta.compare(*pair, confidence=0.95)
    assert estimate.value == 0.0
    assert estimate.low < -0.02 * (value or 1.0)
    assert estimate.method == "rule of three over the metric's range"


def test_many_unchanged_documents_prove_a_margin_of_a_continuous_metric():
    values = [k / 199 for k in range(200)]
    assert delta.compare(*continuous_pair(values, values), confidence=0.95).low > -0.02


def test_flips_count_gains_and_losses_that_cancel_in_the_mean():
    estimate = flips.compare(*binary_pair(3, 2, 200), confidence=0.975)
    assert estimate.value == pytest.approx(5 / 200)
    assert (estimate.low, estimate.high) == pytest.approx((0.008166, 0.057374), abs=1e-6)
    assert estimate.unit == "share of documents whose correctness changed"
    assert estimate.method == "Clopper-Pearson interval"
    assert (estimate.n, estimate.flips.gains, estimate.flips.losses) == (200, 3, 2)


def test_flips_tell_gains_from_losses_where_lower_is_better():
    pair = binary_pair(3, 2, 200, higher_is_better=False)
    found = flips.compare(*pair, confidence=0.95).flips
    assert (found.gains, found.losses) == (2, 3)


def test_flips_are_the_same_in_both_directions():
    reference, candidate = binary_pair(3, 2, 200)
    there = flips.compare(reference, candidate, confidence=0.95)
    back = flips.compare(candidate, reference, confidence=0.95)
    assert (back.value, back.low, back.high) == (there.value, there.low, there.high)


def test_flips_of_a_continuous_metric_are_changed_answers():
    reference = make_score([0.5] * 3, is_binary=False, answers=["Paris", "Rome", "Berlin"])
    candidate = make_score([0.5] * 3, is_binary=False, answers=["Paris", "rome", "Berlin"])
    estimate = flips.compare(reference, candidate, confidence=0.95)
    assert estimate.value == pytest.approx(1 / 3)
    assert estimate.unit == "share of documents whose answer changed"
    assert estimate.flips is None


def test_flips_of_equal_answers_are_zero_with_an_upper_bound_that_more_documents_lower():
    highs = [
        flips.compare(*binary_pair(0, 0, n), confidence=0.95).high for n in (50, 100, 200, 400)
    ]
    assert highs == sorted(highs, reverse=True)
    assert flips.compare(*binary_pair(0, 0, 50), confidence=0.95).low == 0.0
