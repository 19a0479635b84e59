"""How much documents vary: from the newest run of the pair, its kinds, noise, or assumed."""

import pytest
from records_builder import build_record

from gate.planning.past_runs import PastRun
from gate.planning.spreads import spread_of
from gate.result_records import CheckResult, Estimate, Flips, NoiseFloor
from gate.terms import Check, ResolvedCheck, Use, Variant

HF, LLAMA = Use(name="hf"), Use(name="llamacpp")
STREAM = Use(name="stream")


def quantized(name):
    return Variant(
        name=name, adapters=("a",), merge=STREAM, quantize=Use(name="gguf"), backend=LLAMA
    )


BASE = Variant(name="base", adapters=(), backend=HF)
ADAPTER = Variant(name="adapter", adapters=("a",), backend=HF)
MERGED = Variant(name="merged", adapters=("a",), merge=STREAM, backend=HF)
VARIANTS = (BASE, ADAPTER, MERGED, quantized("q4"), quantized("q8"), quantized("q6"))
RECORD = build_record(documents=3)


def delta(of, against="merged", **fields):
    return Check(of=of, against=against, compare=Use(name="delta"), at_least=-0.02, **fields)


def estimate(gains, losses, n=200, **fields):
    made = {
        "value": (gains - losses) / n,
        "low": -0.1,
        "high": 0.1,
        "n": n,
        "unit": "share difference",
        "method": "Tango score interval",
        "flips": Flips(gains=gains, losses=losses, mid_p=1.0),
    }
    return Estimate(**made | fields)


def result(of, found, *, against="merged", task="colors", **fields):
    return CheckResult(
        check=delta(of, against, **fields),
        variant=of,
        reference=against,
        task=task,
        outcome="pass",
        reason="",
        estimate=found,
    )


def run(*results, noise=()):
    record = RECORD.model_copy(
        update={"variants": VARIANTS, "results": tuple(results), "noise": tuple(noise)}
    )
    return PastRun.model_validate_json(record.model_dump_json())


def floor(engine, gains, losses, n=200):
    return NoiseFloor(
        engine=engine,
        variant="merged",
        task="colors",
        delta=estimate(gains, losses, n),
        largest_change=None,
        kl=None,
    )


def spread(of="q4", against="merged", *, runs=(), is_share=True, **fields):
    check = delta(of, against, **fields)
    one = ResolvedCheck(check=check, variant=of, reference=against, task="colors")
    return spread_of(one, VARIANTS, runs, is_share=is_share)


@pytest.mark.parametrize(
    ("of", "against", "rate"),
    [("merged", "adapter", 0.01), ("q4", "merged", 0.04), ("adapter", "base", 0.10)],
)
def test_without_a_run_a_rate_is_assumed(of, against, rate):
    assert spread(of, against) == (rate, True, "assumed", 0.0)


def test_the_newest_run_of_the_pair_tells_the_rate():
    newest, older = run(result("q4", estimate(3, 7))), run(result("q4", estimate(30, 7)))
    assert spread(runs=(newest, older)) == (10 / 200, True, "seen", -4 / 200)


def test_a_run_of_these_names_comes_before_a_newer_one_of_these_kinds():
    by_kind, by_name = run(result("q8", estimate(1, 1))), run(result("q4", estimate(3, 7)))
    assert spread(runs=(by_kind, by_name)).variance == 10 / 200


def test_failing_that_the_pair_of_these_kinds_that_varied_most_tells_it():
    newest = run(result("q8", estimate(1, 1)), result("q6", estimate(2, 4)))
    assert spread(runs=(newest,)).variance == 6 / 200


def test_other_tasks_slices_and_comparisons_tell_nothing():
    flips = result("q4", estimate(9, 9))
    flips = flips.model_copy(
        update={"check": flips.check.model_copy(update={"compare": Use(name="flips")})}
    )
    other = run(
        flips,
        result("q4", estimate(9, 9), task="facts"),
        result("q4", estimate(9, 9), slice="de"),
        result("q4", None),
        result("q4", estimate(1, 0, n=1)),
    )
    assert spread(runs=(other,)).source == "assumed"
    assert spread(runs=(other,), slice="de").variance == 18 / 200


def test_no_flip_seen_counts_as_one():
    assert spread(runs=(run(result("q4", estimate(0, 0))),)).variance == 1 / 200


def test_the_rate_is_at_least_the_noise_of_either_engine():
    seen = result("q4", estimate(1, 1))
    noisy = run(seen, noise=[floor("hf", 2, 3), floor("llamacpp", 4, 4)])
    assert spread(runs=(noisy,))[:3] == (8 / 200, True, "noise")
    calm = run(seen, noise=[floor("hf", 0, 0), floor("vllm", 50, 50)])
    assert spread(runs=(calm,))[:3] == (2 / 200, True, "seen")


def test_clustered_documents_vary_as_their_standard_error_tells():
    found = estimate(3, 7, clusters=20, standard_error=0.03)
    assert spread(runs=(run(result("q4", found)),)).variance == pytest.approx(200 * 0.03**2)
    found = estimate(3, 7, clusters=20, standard_error=0.001)
    assert spread(runs=(run(result("q4", found)),)).variance == 10 / 200


def test_a_continuous_metric_varies_as_its_standard_error_tells():
    found = estimate(0, 0, flips=None, standard_error=0.02, unit="mean difference")
    spread_seen = spread(runs=(run(result("q4", found)),), is_share=False)
    assert spread_seen.variance == pytest.approx(200 * 0.02**2)
    assert not spread_seen.is_share


def test_without_a_standard_error_the_interval_tells_the_variance():
    found = estimate(0, 0, flips=None, value=0.0, low=-0.02 * 1.6448536, unit="x")
    spread_seen = spread(runs=(run(result("q4", found)),), is_share=False)
    assert spread_seen.variance == pytest.approx(200 * 0.02**2)


def test_a_continuous_metric_that_no_run_has_seen_is_not_guessed():
    assert spread(is_share=False) is None
