"""Outcomes, reasons and verdicts, from scores made by hand."""

import itertools

import pytest

from gate.evaluation_records import Corpus, Document, Sample, Score
from gate.judging.judge import judge, verdict_of, verdict_of_run
from gate.result_records import CheckResult, Estimate, VariantVerdict
from gate.terms import Check, ResolvedCheck, Use

TASK = "desk_intent"


def make_score(variant, values, *, is_binary=True, higher_is_better=True):
    return Score(
        variant=variant,
        task=TASK,
        metric="acc",
        higher_is_better=higher_is_better,
        is_binary=is_binary,
        samples=tuple(
            Sample(id=i, hash=f"h{i}", value=float(v), answer=f"{v}", request_hash=f"r{i}")
            for i, v in enumerate(values)
        ),
    )


def arms(gains, losses, n, *, wrong=0, **options):
    """Scores of merged and q4: so many gained, lost and wrong in both; the rest right in both."""
    rest = n - gains - losses - wrong
    before = [0] * gains + [1] * losses + [0] * wrong + [1] * rest
    after = [1] * gains + [0] * losses + [0] * wrong + [1] * rest
    return make_score("merged", before, **options), make_score("q4", after, **options)


def make_check(name="delta", **options):
    check = Check(of="q4", against="merged", compare=Use(name=name), **options)
    return ResolvedCheck(check=check, variant="q4", reference="merged", task=TASK)


def corpus(n, choices=("a", "b", "c", "d")):
    documents = (
        Document(id=i, hash=f"h{i}", prompt="?", target="a", choices=choices) for i in range(n)
    )
    return {TASK: Corpus(task=TASK, documents=tuple(documents))}


def judged(pair, resolved, *, choices=("a", "b", "c", "d"), failures=None):
    scores = {(score.variant, score.task): score for score in pair}
    corpora = corpus(len(pair[0].samples), choices) if pair else {}
    (result,) = judge([resolved], scores, corpora, failures or {})
    return result


def changed(score, document, **fields):
    samples = list(score.samples)
    samples[document] = samples[document].model_copy(update=fields)
    return score.model_copy(update={"samples": tuple(samples)})


# Outcomes and their sentences


@pytest.mark.parametrize(
    ("table", "bounds", "outcome", "reason"),
    [
        pytest.param(
            (3, 5, 400),
            {"at_least": -0.02},
            "pass",
            "loses at most 1.9 points (95 % one-sided), within the margin of 2 points; "
            "3 gains, 5 losses in 400 documents; 1 more loss would undo it",
            id="within the margin",
        ),
        pytest.param(
            (1, 60, 400),
            {"at_least": -0.02},
            "fail",
            "loses at least 11 points (95 % one-sided), beyond the margin of 2 points; "
            "1 gain, 60 losses in 400 documents",
            id="beyond the margin",
        ),
        pytest.param(
            (6, 9, 400),
            {"at_least": -0.02},
            "inconclusive",
            "changes by -2.6 to 0.92 points (95 % one-sided), across the margin of 2 points; "
            "about 1,900 more documents would probably settle it; "
            "6 gains, 9 losses in 400 documents",
            id="across the margin",
        ),
        pytest.param(
            (3, 13, 400),
            {"at_least": -0.02},
            "inconclusive",
            "changes by -4.4 to -0.93 points (95 % one-sided), across the margin of 2 points; "
            "the estimate itself is not inside, so more documents are unlikely to help; "
            "3 gains, 13 losses in 400 documents",
            id="more documents do not help",
        ),
        pytest.param(
            (2, 2, 1000),
            {"at_least": -0.01, "at_most": 0.01},
            "pass",
            "loses at most 0.43 points and gains at most 0.43 points (95 % one-sided), "
            "within the margin of 1 point; 2 gains, 2 losses in 1,000 documents; "
            "5 more losses would undo it",
            id="equivalent",
        ),
        pytest.param(
            (60, 1, 1000),
            {"at_least": -0.01, "at_most": 0.01},
            "fail",
            "gains at least 4.7 points (95 % one-sided), beyond the margin of 1 point; "
            "60 gains, 1 loss in 1,000 documents",
            id="too good to be the same weights",
        ),
        pytest.param(
            (60, 5, 400),
            {"at_least": 0.0},
            "pass",
            "gains at least 10 points (95 % one-sided), above the bound of 0 points; "
            "60 gains, 5 losses in 400 documents; 39 more losses would undo it",
            id="a gain asked for",
        ),
        pytest.param(
            (5, 60, 400),
            {"at_least": 0.0},
            "fail",
            "loses at least 10 points (95 % one-sided), below the bound of 0 points; "
            "5 gains, 60 losses in 400 documents",
            id="a gain asked for, a loss found",
        ),
    ],
)
def test_a_delta_is_judged_by_the_whole_interval(table, bounds, outcome, reason):
    result = judged(arms(*table), make_check(**bounds))
    assert (result.outcome, result.reason) == (outcome, reason)
    assert result.estimate.n == table[2]


@pytest.mark.parametrize(
    ("table", "outcome", "reason"),
    [
        (
            (3, 5, 400),
            "pass",
            "share of documents whose correctness changed: at most 3.6 % (95 % one-sided), "
            "below the bound of 8 %; 3 gains, 5 losses in 400 documents; "
            "15 more flips would undo it",
        ),
        (
            (40, 40, 400),
            "fail",
            "share of documents whose correctness changed: at least 16 % (95 % one-sided), "
            "above the bound of 8 %; 40 gains, 40 losses in 400 documents",
        ),
        (
            (12, 14, 400),
            "inconclusive",
            "share of documents whose correctness changed: 4.5 to 9 % (95 % one-sided), "
            "across the bound of 8 %; about 2,000 more documents would probably settle it; "
            "12 gains, 14 losses in 400 documents",
        ),
    ],
)
def test_flips_are_judged_as_a_level(table, outcome, reason):
    result = judged(arms(*table), make_check("flips", at_most=0.08))
    assert (result.outcome, result.reason) == (outcome, reason)


def test_a_continuous_metric_is_told_in_its_own_unit():
    before = [0.5 + (k % 7) / 100 for k in range(300)]
    after = [value - (k % 3) / 1000 for k, value in enumerate(before)]
    pair = (
        make_score("merged", before, is_binary=False),
        make_score("q4", after, is_binary=False),
    )
    result = judged(pair, make_check(at_least=-0.005), choices=())
    assert result.outcome == "pass"
    assert result.reason == (
        "loses at most 0.0011 (95 % one-sided), within the margin of 0.005; 300 documents"
    )


def test_an_interval_that_ends_on_the_bound_keeps_nothing(toy):
    toy("Estimate(value=0.5, low=0.5, high=0.5, n=9, unit='x', method='m')")
    assert judged(arms(0, 0, 9), make_check("toy", at_least=0.5)).outcome == "inconclusive"
    assert judged(arms(0, 0, 9), make_check("toy", at_most=0.5)).outcome == "inconclusive"


@pytest.mark.parametrize(
    ("low", "bound", "outcome", "said"),
    [
        (0.97996, 0.98, "inconclusive", "0.97 to 1 "),
        (0.98004, 0.98, "pass", "at least 0.98004 "),
        (0.9801, 0.98, "pass", "at least 0.9801 "),
        (0.9812, 0.98, "pass", "at least 0.981 "),
        (0.98, 0.97996, "pass", "at least 0.98 "),
    ],
)
def test_shown_numbers_have_the_digits_that_the_outcome_needs(toy, low, bound, outcome, said):
    toy(f"Estimate(value=0.99, low={low}, high=1.0, n=9, unit='recovery', method='m')")
    result = judged(arms(0, 0, 9), make_check("toy", at_least=bound))
    assert result.outcome == outcome
    assert said in result.reason


@pytest.mark.parametrize(
    ("low", "high", "bounds", "said"),
    [
        (0.1239, 0.2, {"at_least": 0.1}, "at least 0.12 "),
        (0.1, 0.1211, {"at_most": 0.2}, "at most 0.13 "),
        (0.1239, 0.1711, {"at_least": 0.15}, "recovery: 0.12 to 0.18 "),
        (0.07, 0.30000000000000004, {"at_most": 0.4}, "at most 0.3 "),
    ],
)
def test_no_end_of_an_interval_is_told_further_inside_than_it_is(toy, low, high, bounds, said):
    toy(f"Estimate(value=0.15, low={low}, high={high}, n=9, unit='recovery', method='m')")
    assert said in judged(arms(0, 0, 9), make_check("toy", **bounds)).reason


# What an interval alone would let pass


def test_fewer_documents_than_the_floor_prove_nothing():
    result = judged(arms(0, 0, 148), make_check(at_least=-0.02))
    assert result.estimate.low < -0.02
    assert result.outcome == "inconclusive"
    assert result.reason == (
        "148 documents cannot prove a margin of 2 % even if none changes: that takes 149 "
        "(95 % one-sided); 0 gains, 0 losses in 148 documents"
    )
    assert judged(arms(0, 0, 149), make_check(at_least=-0.02)).outcome == "pass"


def test_the_floor_of_two_bounds_is_that_of_the_narrower():
    check = make_check(at_least=-0.02, at_most=0.01)
    assert judged(arms(0, 0, 298), check).outcome == "inconclusive"
    assert judged(arms(0, 0, 299), check).outcome == "pass"


def test_a_clear_loss_fails_below_the_floor_too():
    assert judged(arms(0, 40, 80), make_check(at_least=-0.02)).outcome == "fail"


def test_a_gain_asked_for_has_no_floor():
    assert judged(arms(40, 0, 80), make_check(at_least=0.0)).outcome == "pass"


def test_a_reference_at_chance_proves_no_absence_of_loss():
    result = judged(arms(0, 0, 400, wrong=290), make_check(at_least=-0.02))
    assert result.outcome == "inconclusive"
    assert result.reason == (
        "merged is right on 110 of 400 documents, not significantly above chance (25 %): "
        "a loss could not show; 0 gains, 0 losses in 400 documents"
    )
    assert judged(arms(0, 0, 400, wrong=280), make_check(at_least=-0.02)).outcome == "pass"


def test_a_reference_at_chance_proves_no_equality_either():
    check = make_check(at_least=-0.02, at_most=0.02)
    assert judged(arms(0, 0, 400, wrong=300), check).outcome == "inconclusive"


def test_a_reference_at_chance_can_be_improved_on():
    assert judged(arms(80, 0, 400, wrong=220), make_check(at_least=0.0)).outcome == "pass"


def test_a_reference_at_chance_can_still_lose():
    assert judged(arms(0, 100, 400, wrong=300), make_check(at_least=-0.02)).outcome == "fail"


def test_chance_is_known_where_lower_is_better():
    check = make_check(at_least=-0.02)
    good = arms(0, 0, 400, wrong=390, higher_is_better=False)
    bad = arms(0, 0, 400, wrong=100, higher_is_better=False)
    assert judged(good, check).outcome == "pass"
    assert judged(bad, check).outcome == "inconclusive"


def test_without_choices_one_right_answer_is_above_chance():
    check = make_check(at_least=-0.02)
    assert judged(arms(0, 0, 400, wrong=399), check, choices=()).outcome == "pass"
    assert judged(arms(0, 0, 400, wrong=400), check, choices=()).outcome == "inconclusive"


def test_a_continuous_reference_of_zeros_proves_no_absence_of_loss():
    pair = arms(0, 0, 400, wrong=400, is_binary=False)
    result = judged(pair, make_check(at_least=-0.02), choices=())
    assert result.outcome == "inconclusive"
    assert result.reason == (
        "merged scores 0 on every document: a loss could not show; 400 documents"
    )


# Errors: what could not be measured


def test_a_missing_score_is_an_error():
    reference, _ = arms(0, 0, 400)
    result = judged([reference], make_check(at_least=-0.02))
    assert (result.outcome, result.reason) == ("error", "there is no score of q4 on desk_intent")
    assert result.estimate is None


def test_a_failed_evaluation_is_an_error_even_beside_a_score():
    failures = {("q4", TASK): "killed for memory"}
    result = judged(arms(0, 0, 400), make_check(at_least=-0.02), failures=failures)
    assert result.outcome == "error"
    assert result.reason == "q4 could not be evaluated on desk_intent: killed for memory"


def test_a_score_without_documents_is_an_error():
    reference, candidate = arms(0, 0, 400)
    result = judged(
        [reference, candidate.model_copy(update={"samples": ()})], make_check(at_most=1)
    )
    assert result.outcome == "error"
    assert result.reason == "q4 was evaluated on no documents of desk_intent"


def test_other_documents_are_an_error():
    reference, candidate = arms(0, 0, 400)
    candidate = changed(changed(candidate, 7, hash="x"), 9, hash="y")
    result = judged([reference, candidate], make_check(at_least=-0.02))
    assert result.outcome == "error"
    assert result.reason == (
        "merged and q4 were not evaluated on the same documents of desk_intent: "
        "2 differ (first: document 7)"
    )


def test_a_document_that_one_variant_lacks_is_an_error():
    reference, candidate = arms(0, 0, 400)
    candidate = candidate.model_copy(update={"samples": candidate.samples[:-1]})
    result = judged([reference, candidate], make_check(at_least=-0.02))
    assert result.outcome == "error"
    assert "1 differ (first: document 399)" in result.reason


def test_a_document_twice_is_an_error():
    reference, candidate = arms(0, 0, 400)
    candidate = candidate.model_copy(update={"samples": (*candidate.samples, candidate.samples[5])})
    result = judged([reference, candidate], make_check(at_least=-0.02))
    assert result.outcome == "error"
    assert result.reason == "q4 has more than one sample of document 5 of desk_intent"


def test_other_tokens_are_an_error():
    reference, candidate = arms(0, 0, 400)
    candidate = changed(candidate, 3, request_hash="other")
    result = judged([reference, candidate], make_check(at_least=-0.02))
    assert result.outcome == "error"
    assert result.reason == (
        "merged and q4 were not given the same tokens: 1 of 400 documents of desk_intent differ "
        "(first: document 3): tokenizer, template or truncation is not the same"
    )


def test_another_metric_is_an_error():
    reference, candidate = arms(0, 0, 400)
    candidate = candidate.model_copy(update={"metric": "acc_norm"})
    result = judged([reference, candidate], make_check(at_least=-0.02))
    assert result.outcome == "error"
    assert result.reason == (
        "desk_intent was scored differently: merged by acc (binary, higher is better), "
        "q4 by acc_norm (binary, higher is better)"
    )


def test_samples_in_another_order_are_paired_by_document():
    reference, candidate = arms(3, 5, 400)
    turned = candidate.model_copy(update={"samples": candidate.samples[::-1]})
    check = make_check(at_least=-0.02)
    assert judged([reference, turned], check) == judged([reference, candidate], check)


def test_a_missing_corpus_is_an_error_where_chance_matters():
    scores = {(score.variant, TASK): score for score in arms(0, 0, 400)}
    (loss, gain) = judge([make_check(at_least=-0.02), make_check(at_least=0.0)], scores, {}, {})
    assert loss.outcome == "error"
    assert loss.reason == "the documents of desk_intent are missing: chance is unknown"
    assert gain.outcome == "inconclusive"


def test_an_unknown_comparison_is_an_error():
    result = judged(arms(0, 0, 400), make_check("dleta", at_least=0.0))
    assert (result.outcome, result.reason) == ("error", "no comparison named 'dleta'")


def test_a_check_without_a_bound_is_an_error():
    result = judged(arms(0, 0, 400), make_check())
    assert result.outcome == "error"
    assert result.reason == "the delta of q4 has no bound to be held against"


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Install a third-party comparison called toy that returns an expression."""

    def install(expression):
        info = tmp_path / "toy_comparison-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: toy-comparison\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text("[gate.comparisons]\ntoy = toy_comparison\n")
        (tmp_path / "toy_comparison.py").write_text(
            "from gate.result_records import Estimate\n"
            "def compare(reference, candidate, *, confidence, scale: float = 1.0):\n"
            f"    return {expression}\n"
        )
        monkeypatch.delitem(__import__("sys").modules, "toy_comparison", raising=False)
        monkeypatch.syspath_prepend(tmp_path)

    return install


def test_an_estimate_that_is_not_finite_is_an_error(toy):
    toy("Estimate(value=0.0, low=float('nan'), high=0.0, n=9, unit='x', method='m')")
    result = judged(arms(0, 0, 9), make_check("toy", at_least=-1.0))
    assert result.outcome == "error"
    assert result.reason == "toy gave no usable low: Input should be a finite number"


def test_a_division_by_zero_is_an_error(toy):
    toy("1 / 0")
    result = judged(arms(0, 0, 9), make_check("toy", at_least=-1.0))
    assert (result.outcome, result.reason) == (
        "error",
        "toy could not be computed: division by zero",
    )


def test_a_comparison_receives_its_parameters(toy):
    toy("Estimate(value=scale, low=scale, high=scale, n=9, unit='x', method='m')")
    check = Check(
        of="q4", against="merged", compare=Use(name="toy", params={"scale": 3.0}), at_most=4.0
    )
    resolved = ResolvedCheck(check=check, variant="q4", reference="merged", task=TASK)
    result = judged(arms(0, 0, 9), resolved)
    assert (result.outcome, result.estimate.value) == ("pass", 3.0)
    assert result.reason == "x: at most 3 (95 % one-sided), below the bound of 4; 9 documents"


# Properties


def test_no_bound_is_ever_both_kept_and_broken_and_swapping_the_arms_mirrors_the_outcome():
    tables = [(0, 0, 400), (3, 5, 400), (2, 30, 400), (30, 2, 400), (9, 9, 400), (1, 9, 400)]
    for gains, losses, n in tables:
        there = judged(arms(gains, losses, n), make_check(at_least=-0.02, at_most=0.05))
        back = judged(arms(losses, gains, n), make_check(at_least=-0.05, at_most=0.02))
        assert back.outcome == there.outcome


def test_one_more_loss_never_improves_the_outcome():
    order = ["pass", "inconclusive", "fail"]
    outcomes = [
        order.index(judged(arms(4, losses, 500), make_check(at_least=-0.02)).outcome)
        for losses in range(0, 40, 3)
    ]
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {0, 1, 2}


def test_the_level_changes_no_outcome():
    block = judged(arms(1, 60, 400), make_check(at_least=-0.02))
    warn = judged(arms(1, 60, 400), make_check(at_least=-0.02, level="warn"))
    assert (block.outcome, block.reason) == (warn.outcome, warn.reason)


def test_results_come_in_the_order_of_the_checks():
    scores = {(score.variant, TASK): score for score in arms(3, 5, 400)}
    checks = [make_check(at_least=-0.02), make_check("flips", at_most=0.08), make_check(at_least=0)]
    results = judge(checks, scores, corpus(400), {})
    assert [result.check for result in results] == [resolved.check for resolved in checks]
    assert judge([], scores, corpus(400), {}) == ()


def test_no_missing_score_turns_any_release_into_a_promotion():
    scores = {(score.variant, TASK): score for score in arms(3, 5, 400)}
    checks = [make_check(at_least=-0.02), make_check("flips", at_most=0.08)]
    whole = verdict_of("q4", ["merged"], judge(checks, scores, corpus(400), {}))
    assert whole.verdict == "promote"
    for missing in scores:
        rest = {key: score for key, score in scores.items() if key != missing}
        verdict = verdict_of("q4", ["merged"], judge(checks, rest, corpus(400), {}))
        assert verdict.verdict == "error"


# Verdicts


def result(outcome, *, variant="q4", level="block", compare="delta"):
    check = Check(of=variant, against="merged", compare=Use(name=compare), at_least=0, level=level)
    return CheckResult(
        check=check,
        variant=variant,
        reference="merged",
        task=TASK,
        outcome=outcome,
        reason=f"it is {outcome}",
        estimate=Estimate(value=0, low=0, high=0, n=1, unit="x", method="m"),
    )


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        (["pass"], "promote"),
        (["pass", "pass"], "promote"),
        (["pass", "inconclusive"], "inconclusive"),
        (["pass", "inconclusive", "fail"], "block"),
        (["fail", "error", "inconclusive", "pass"], "error"),
        ([], "inconclusive"),
    ],
)
def test_the_worst_blocking_outcome_is_the_verdict(outcomes, verdict):
    for order in itertools.permutations(outcomes):
        found = verdict_of("q4", ["merged", "q4"], [result(outcome) for outcome in order])
        assert found.verdict == verdict


def test_a_promotion_says_what_it_rests_on():
    found = verdict_of("q4", ["q4"], [result("pass"), result("pass", level="warn")])
    assert found == VariantVerdict(
        variant="q4", verdict="promote", reasons=("passed 1 blocking check",)
    )


def test_a_refusal_names_each_check_that_did_not_pass_worst_first():
    results = [result("pass"), result("inconclusive"), result("fail"), result("error")]
    assert verdict_of("q4", ["q4"], results).reasons == (
        "q4-vs-merged[desk_intent]:delta: it is error",
        "q4-vs-merged[desk_intent]:delta: it is fail",
        "q4-vs-merged[desk_intent]:delta: it is inconclusive",
    )


def test_an_ancestor_that_fails_blocks_its_descendant():
    results = [result("pass"), result("fail", variant="merged")]
    assert verdict_of("q4", ["adapter", "merged"], results).verdict == "block"


def test_a_stranger_that_fails_changes_nothing():
    results = [result("pass"), result("fail", variant="q8")]
    assert verdict_of("q4", ["adapter", "merged", "q4"], results).verdict == "promote"


def test_a_variant_without_a_blocking_check_of_its_own_is_not_promoted():
    results = [result("pass", variant="merged"), result("pass", level="warn")]
    found = verdict_of("q4", ["merged", "q4"], results)
    assert found.verdict == "inconclusive"
    assert found.reasons == ("no blocking check was made of the answers of q4",)


@pytest.mark.parametrize("outcome", ["fail", "error", "inconclusive"])
def test_a_warning_is_told_and_changes_no_verdict(outcome):
    found = verdict_of("q4", ["q4"], [result("pass"), result(outcome, level="warn")])
    assert found.verdict == "promote"
    assert found.reasons == (
        "passed 1 blocking check",
        f"warning: q4-vs-merged[desk_intent]:delta: it is {outcome}",
    )


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["promote"], "promote"),
        (["promote", "inconclusive"], "inconclusive"),
        (["inconclusive", "block", "promote"], "block"),
        (["block", "error"], "error"),
        ([], "inconclusive"),
    ],
)
def test_a_run_is_as_good_as_the_worst_of_what_ships(verdicts, expected):
    found = [VariantVerdict(variant="v", verdict=verdict, reasons=()) for verdict in verdicts]
    assert verdict_of_run(found) == expected


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_numbers_beyond_the_statistics_are_an_error():
    before = make_score("merged", [1e200 * i for i in range(40)], is_binary=False)
    after = make_score("q4", [1.1e200 * i for i in range(40)], is_binary=False)
    result = judged((before, after), make_check(at_least=-0.5))
    assert result.outcome == "error"
    assert "delta" in result.reason
