"""Sequential checks: the first look that decides, by bounds that hold at every look."""

import pytest
from judged_pairs import both, judged_at_looks, placed
from test_judge import TASK, arms, corpus, make_check, make_score

from gate.judging.judge import judge
from gate.judging.noise import Noise
from gate.judging.pairing import Pair
from gate.stats import proportions, sequential
from gate.stats.sequential import Looks

SIZES = (50, 100, 200, 400, 800, 1600)
CHECK = make_check(at_least=-0.02)


def first(score, places):
    samples = tuple(sample for sample in score.samples if sample.place < places)
    return score.model_copy(update={"samples": samples})


def test_a_clearly_broken_variant_fails_at_the_first_look():
    result = judged_at_looks(both(arms(0, 400, 1600, wrong=100)), CHECK, SIZES)
    assert result.outcome == "fail"
    assert [look.documents for look in result.looks] == [50]
    assert result.reason == (
        "loses at least 7.1 points (95 % one-sided at every look), beyond the margin of 2 points; "
        "0 gains, 11 losses in 50 of 1,600 documents"
    )


def test_a_good_variant_passes_as_soon_as_it_is_proven():
    result = judged_at_looks(both(arms(2, 2, 1600, wrong=100)), CHECK, SIZES)
    assert result.outcome == "pass"
    assert [look.documents for look in result.looks] == [50, 100, 200, 400]
    assert result.reason == (
        "loses at most 1.2 points (95 % one-sided at every look), within the margin of 2 points; "
        "0 gains, 0 losses in 400 of 1,600 documents; 2 more losses would undo it"
    )


def test_the_confidence_sequence_needs_no_fewest_documents_and_the_fixed_interval_is_not_used():
    result = judged_at_looks(both(arms(0, 0, 1600, wrong=100)), CHECK, SIZES)
    for look in result.looks:
        found = look.estimate
        anytime = sequential.anytime_interval(0, 0, n=look.documents, confidence=0.95)
        assert (found.low, found.high) == pytest.approx(anytime)
        assert found.method == "anytime-valid confidence sequence (e-process)"
    fixed = proportions.tango_interval(0, 0, n=200, confidence=0.95)
    assert fixed.low > -0.02 > result.looks[2].estimate.low


def test_an_undecided_check_says_how_many_documents_it_has_seen_and_when_it_looks_again():
    pair = [first(score, 200) for score in both(arms(8, 40, 1600, wrong=100))]
    result = judged_at_looks(pair, CHECK, SIZES)
    assert result.outcome == "inconclusive"
    assert [look.documents for look in result.looks] == [50, 100, 200]
    assert "the next look is at 400; " in result.reason
    assert result.reason.endswith(" in 200 of 1,600 documents")


def test_after_the_last_look_an_undecided_check_is_inconclusive():
    result = judged_at_looks(both(arms(8, 40, 1600, wrong=100)), CHECK, SIZES)
    assert result.outcome == "inconclusive"
    assert [look.documents for look in result.looks] == list(SIZES)
    assert result.reason.endswith("8 gains, 40 losses in 1,600 of 1,600 documents")


def test_a_variant_that_was_asked_more_is_compared_on_the_places_both_have_reached():
    reference, candidate = both(arms(0, 0, 1600, wrong=100))
    result = judged_at_looks([reference, first(candidate, 100)], CHECK, SIZES)
    assert [look.estimate.n for look in result.looks] == [50, 100]


def test_a_document_that_does_not_count_leaves_its_look_whole():
    pair = both(arms(0, 0, 400, wrong=100))
    last = next(sample.id for sample in pair[0].samples if sample.place == 399)
    pair = [
        score.model_copy(update={"samples": tuple(s for s in score.samples if s.id != last)})
        for score in pair
    ]
    result = judged_at_looks(pair, CHECK, (50, 100, 200, 400))
    assert (result.outcome, result.looks[-1].documents) == ("pass", 400)
    assert result.estimate.n == 399


def test_a_metric_that_is_not_binary_is_looked_at_by_obrien_and_fleming():
    values = [0.5 + (k % 7) / 100 for k in range(800)]
    pair = both(
        (
            make_score("merged", values, is_binary=False),
            make_score("q4", [v - (k % 3) / 1000 for k, v in enumerate(values)], is_binary=False),
        )
    )
    sizes = (100, 200, 800)
    result = judged_at_looks(pair, make_check(at_least=-0.0011), sizes)
    assert result.estimate.method.startswith("paired t and BCa bootstrap, outer envelope, at the ")
    for at, look in enumerate(result.looks):
        percent = ("99.951", "95.0")[at]
        assert look.estimate.method.endswith(
            f"at the {percent} % of O'Brien-Fleming's look {at + 1} of 2"
        )


def test_a_mean_is_not_looked_at_over_fewer_than_two_hundred_documents():
    values = [0.5 + (k % 7) / 100 for k in range(100)]
    pair = both(tuple(make_score(name, values, is_binary=False) for name in ("merged", "q4")))
    result = judged_at_looks(pair, make_check(at_least=-0.5), (50, 100, 200, 800))
    assert result.outcome == "inconclusive"
    assert result.reason == (
        "a mean is first looked at over 200 documents, and 100 of 800 of desk_intent have been "
        "asked"
    )
    few = judged_at_looks(pair, make_check(at_least=-0.5), (50, 100))
    assert (few.outcome, [look.documents for look in few.looks]) == ("pass", [100])


def test_a_comparison_without_a_bound_of_its_own_is_asked_at_obrien_and_flemings_confidence():
    result = judged_at_looks(
        both(arms(2, 2, 1600, wrong=100)), make_check("flips", at_most=0.02), SIZES
    )
    at = len(result.looks) - 1
    confidence = Looks(SIZES, at).confidence_at(0.95)
    n = result.looks[at].documents
    assert (result.outcome, result.estimate.n) == ("pass", n)
    exact = proportions.clopper_pearson(0, n, confidence=confidence)
    assert result.estimate.high == pytest.approx(exact.high)
    assert "O'Brien-Fleming's look 4 of 6" in result.estimate.method


def test_a_fail_that_holm_does_not_confirm_waits_for_more_documents():
    pair = both(arms(0, 100, 1600, wrong=100))
    alone = judged_at_looks(pair, CHECK, SIZES)
    scores, corpora, checks = {}, {}, []
    for number, one in enumerate([pair] + [both(arms(0, 0, 1600, wrong=100))] * 11):
        task = f"task{number}"
        scores |= {(s.variant, task): s.model_copy(update={"task": task}) for s in one}
        corpora[task] = corpus(1600)[TASK].model_copy(update={"task": task})
        checks.append(CHECK.model_copy(update={"task": task}))
    among, *_ = judge(checks, scores, corpora, {}, looks=dict.fromkeys(corpora, SIZES))
    assert alone.outcome == "fail"
    assert (len(alone.looks), len(among.looks)) == (3, 4)
    assert among.correction.hypotheses == 12


def test_a_doubt_delays_a_pass():
    at_chance = both(arms(0, 0, 1600, wrong=1200))
    assert judged_at_looks(at_chance, CHECK, SIZES).outcome == "inconclusive"
    noisy = arms(10, 25, 1000)
    noise = Noise({("hf", TASK): Pair(*noisy)}, {"merged": "hf", "q4": "hf"})
    result = judged_at_looks(both(arms(0, 0, 1600, wrong=100)), CHECK, SIZES, noise=noise)
    assert (result.outcome, len(result.looks)) == ("inconclusive", 6)
    assert "the margin lies inside the noise of hf" in result.reason


def test_a_slice_that_none_of_the_first_documents_is_in_is_waited_for():
    pair = both(arms(0, 0, 1600, wrong=100), part=lambda i: "rare" if i == 5 else "usual")
    place = next(sample.place for sample in pair[0].samples if sample.id == 5)
    early = [first(score, 50) for score in pair]
    assert place >= 50
    result = judged_at_looks(early, make_check(at_least=-0.02, slice="rare"), SIZES)
    assert (result.outcome, result.estimate) == ("inconclusive", None)
    assert result.reason == (
        "none of the first 50 of 1,600 documents of desk_intent is in slice 'rare'"
    )


def test_an_unknown_slice_is_an_error_once_all_documents_have_been_asked():
    pair = both(arms(0, 0, 400, wrong=40), part=lambda i: "usual")
    result = judged_at_looks(pair, make_check(at_least=-0.02, slice="rare"), (50, 400))
    assert result.outcome == "error"
    assert result.reason == "desk_intent has no slice 'rare': it has usual"


def test_clusters_of_which_one_document_was_asked_so_far_are_clusters_all_the_same():
    pair = both(arms(2, 2, 1600, wrong=100), cluster=lambda i: f"passage {i // 4}")
    result = judged_at_looks(pair, CHECK, SIZES)
    assert result.outcome == "pass"
    for look in result.looks:
        assert "O'Brien-Fleming's look" in look.estimate.method
        assert look.estimate.clusters is not None


def test_the_places_decide_and_not_the_order_of_the_documents():
    pair = arms(0, 400, 1600, wrong=100)
    turned = [
        placed(score).model_copy(update={"samples": placed(score).samples[::-1]}) for score in pair
    ]
    assert judged_at_looks(turned, CHECK, SIZES) == judged_at_looks(both(pair), CHECK, SIZES)


@pytest.mark.parametrize("seed", range(4))
def test_a_longer_run_keeps_the_decision_of_a_shorter_one(seed):
    gains, losses = ((0, 3), (2, 60), (0, 90), (10, 12))[seed]
    pair = both(arms(gains, losses, 1600, wrong=100))
    decided = judged_at_looks(pair, CHECK, SIZES)
    at = decided.looks[-1].documents
    shorter = judged_at_looks([first(score, at) for score in pair], CHECK, SIZES)
    assert (shorter.outcome, shorter.reason) == (decided.outcome, decided.reason)
