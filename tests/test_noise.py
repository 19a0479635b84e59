"""Noise: what an engine changes by itself, and what that leaves of a check."""

import pytest
from gates import SUITE, FakeWorker, write_gate
from test_judge import TASK, arms, corpus, make_check, make_score

from gate.configuring.config import load_config
from gate.judging.judge import judge
from gate.judging.noise import Noise, noise_floor
from gate.judging.pairing import Pair
from gate.running.runner import run_gate
from gate.store import Store

GOOD = {"base": 90, "adapter": 280, "merged": 280, "rtn": 280}


def twice(gains, losses, n):
    """The reference asked twice, so many documents changed."""
    before, after = arms(gains, losses, n)
    return Pair(before, after.model_copy(update={"variant": "merged again"}))


def judged(pair, check, noise):
    scores = {(score.variant, score.task): score for score in pair}
    found = Noise({("hf", TASK): noise}, {"merged": "hf", "q4": "hf"})
    (result,) = judge([check], scores, corpus(len(pair[0].samples)), {}, noise=found)
    return result


def test_a_pass_with_a_quiet_engine_stays_a_pass():
    result = judged(arms(1, 1, 1000), make_check(at_least=-0.02), twice(1, 0, 1000))
    assert result.outcome == "pass"


def test_a_margin_inside_the_noise_is_inconclusive_and_says_so():
    result = judged(arms(0, 0, 1000), make_check(at_least=-0.02), twice(10, 25, 1000))
    assert result.outcome == "inconclusive"
    assert "the margin lies inside the noise of hf, which alone, asked twice, has 10 gains" in (
        result.reason
    )


def test_a_fail_within_reach_of_the_noise_is_inconclusive():
    result = judged(arms(5, 55, 1000), make_check(at_least=-0.02), twice(5, 45, 1000))
    assert result.outcome == "inconclusive"
    assert "inside the noise" in result.reason


def test_a_fail_far_beyond_the_noise_stays_a_fail():
    result = judged(arms(0, 400, 1000), make_check(at_least=-0.02), twice(10, 25, 1000))
    assert result.outcome == "fail"


def test_flips_of_the_engine_alone_are_held_against_a_bound_on_flips():
    check = make_check("flips", at_most=0.05)
    result = judged(arms(2, 2, 1000), check, twice(40, 40, 1000))
    assert result.outcome == "inconclusive"


def test_a_check_that_asks_for_a_gain_is_not_held_against_the_noise():
    result = judged(arms(400, 0, 1000), make_check(at_least=0.2), twice(10, 25, 1000))
    assert result.outcome == "pass"


def test_noise_that_could_not_be_measured_leaves_a_check_open():
    result = judged(arms(1, 1, 1000), make_check(at_least=-0.02), "the child was killed")
    assert result.outcome == "inconclusive"
    assert "what hf changes by itself is not known: the child was killed" in result.reason


def test_the_noise_of_the_reference_engine_counts_too():
    pair = arms(0, 0, 1000)
    scores = {(score.variant, score.task): score for score in pair}
    noise = Noise({("hf", TASK): twice(10, 25, 1000)}, {"merged": "hf", "q4": "vllm"})
    check = make_check(at_least=-0.02)
    (result,) = judge([check], scores, corpus(1000), {}, noise=noise)
    assert result.outcome == "inconclusive"


def test_a_noise_floor_has_flips_changes_and_divergence():
    def asked(variant, loglikelihoods):
        score = make_score(variant, [1, 1])
        samples = tuple(
            sample.model_copy(update={"loglikelihoods": pair})
            for sample, pair in zip(score.samples, loglikelihoods, strict=True)
        )
        return score.model_copy(update={"samples": samples})

    floor = noise_floor(
        "hf",
        Pair(
            asked("adapter", [(-1.0, -2.0), (-1.0, -3.0)]), asked("x", [(-1.0, -2.5), (-1.0, -3.0)])
        ),
    )
    assert (floor.engine, floor.variant, floor.task) == ("hf", "adapter", TASK)
    assert floor.delta.flips.gains == floor.delta.flips.losses == 0
    assert floor.largest_change == 0.5
    # KL of (0.7311, 0.2689) from (0.8176, 0.1824), and 0 for the second document
    assert floor.kl == pytest.approx(0.0226 / 2, abs=1e-4)


def test_a_run_asks_the_reference_of_each_engine_twice(tmp_path, base, adapter):
    suite = SUITE.replace("noise_floor: false", "noise_floor: true")
    config = load_config(write_gate(tmp_path, base, adapter, suite=suite))
    worker = FakeWorker(GOOD, stirred=20)
    store = Store(tmp_path / "store")
    record = run_gate(config, store=store, reports=tmp_path / "r", run_batch=worker).record
    assert [label for label in worker.ran if label.endswith("again")] == [
        "evaluate adapter colors again"
    ]
    (floor,) = record.noise
    assert (floor.engine, floor.variant, floor.delta.flips.losses) == ("hf", "adapter", 20)
    assert record.verdict == "inconclusive"


def test_the_second_run_is_not_the_first_one_from_the_store(tmp_path, base, adapter):
    suite = SUITE.replace("noise_floor: false", "")
    config = load_config(write_gate(tmp_path, base, adapter, suite=suite))
    worker = FakeWorker(GOOD)
    store = Store(tmp_path / "store")
    record = run_gate(config, store=store, reports=tmp_path / "r", run_batch=worker).record
    assert record.verdict == "promote"
    assert "evaluate adapter colors again" in worker.ran
