"""What a kept bound cannot prove, how firm a pass is, and input that cannot be judged."""

import itertools

import pytest
from judged_pairs import both
from pydantic import ValidationError
from test_judge import TASK, arms, changed, corpus, judged, make_check, make_score

from gate.configuring.written_suite import WrittenCheck
from gate.distribution_records import Distribution, DocumentDivergence
from gate.evaluation_records import Sample
from gate.judging.judge import judge
from gate.judging.noise import Noise
from gate.terms import Check, ResolvedCheck, Use

CHECK = make_check(at_least=-0.02)


# Clusters


def clustered(table, clusters, **options):
    return both(arms(*table, **options), cluster=lambda i: f"passage {i % clusters}")


def test_fewer_than_ten_clusters_prove_nothing():
    result = judged(clustered((30, 20, 2000), 9, wrong=100), CHECK)
    assert result.outcome == "inconclusive"
    assert result.reason == (
        "9 clusters cannot prove a bound, as their spread is not known well: that takes 10 "
        "clusters; 30 gains, 20 losses in 2,000 documents in 9 clusters"
    )
    assert result.needed == 2223
    wide = make_check(at_least=-0.1)
    assert judged(clustered((30, 20, 2000), 9, wrong=100), wide).outcome == "inconclusive"
    assert judged(clustered((30, 20, 2000), 10, wrong=100), wide).outcome == "pass"


def test_a_clear_loss_fails_with_few_clusters_too():
    result = judged(clustered((0, 900, 2000), 5, wrong=100), CHECK)
    assert result.outcome == "fail"
    assert result.reason.endswith("0 gains, 900 losses in 2,000 documents in 5 clusters")


def test_losses_in_one_cluster_are_less_sure_than_losses_in_all():
    alone = both(arms(0, 15, 2000, wrong=100), cluster=lambda i: f"passage {i // 40}")
    spread = clustered((0, 15, 2000), 50, wrong=100)
    widths = [judged(pair, CHECK).estimate for pair in (alone, spread)]
    assert widths[0].high - widths[0].low > widths[1].high - widths[1].low


def test_a_pass_of_a_clustered_task_has_no_tolerance_in_documents():
    assert judged(clustered((30, 20, 2000), 50, wrong=100), CHECK).tolerance is None


def test_documents_without_a_cluster_among_others_are_an_error():
    pair = clustered((0, 0, 400), 50)
    pair = [changed(changed(score, 7, cluster=None), 9, cluster=None) for score in pair]
    result = judged(pair, CHECK)
    assert result.outcome == "error"
    assert result.reason == (
        "2 of 400 documents of desk_intent have no cluster (first: document 7)"
    )


# The ceiling


def test_a_pass_at_the_ceiling_stands_and_says_what_it_cannot_have_seen():
    result = judged(arms(0, 2, 400), CHECK)
    assert result.outcome == "pass"
    assert result.reason.endswith(
        "; merged is right on every document: at this ceiling only a harm that reaches easy "
        "documents can show"
    )
    assert "ceiling" not in judged(arms(0, 2, 400, wrong=1), CHECK).reason


def test_a_continuous_ceiling_is_the_best_value_on_every_document():
    pair = [make_score(name, [1.0] * 400, is_binary=False) for name in ("merged", "q4")]
    assert "merged scores 1 on every document: at this ceiling" in judged(pair, CHECK).reason
    pair = [
        make_score(name, [0.0] * 400, is_binary=False, higher_is_better=False)
        for name in ("merged", "q4")
    ]
    assert "merged scores 0 on every document: at this ceiling" in judged(pair, CHECK).reason


def test_a_gain_asked_for_has_no_ceiling_to_tell():
    assert "ceiling" not in judged(arms(0, 0, 400), make_check(at_most=0.02)).reason


# Tolerance and what it would take


@pytest.mark.parametrize("table", [(0, 0, 149), (3, 5, 400), (20, 20, 2000)])
def test_the_tolerance_of_a_pass_is_the_losses_it_survives(table):
    gains, losses, n = table
    result = judged(arms(*table, wrong=5), CHECK)
    survived = arms(gains, losses + result.tolerance, n, wrong=5)
    undone = arms(gains, losses + result.tolerance + 1, n, wrong=5)
    assert [judged(pair, CHECK).outcome for pair in (survived, undone)] == ["pass", "inconclusive"]


def test_the_tolerance_of_a_bound_on_flips_is_the_flips_it_survives():
    check = make_check("flips", at_most=0.08)
    result = judged(arms(3, 5, 400), check)
    flipped = [judged(arms(3, 5 + more, 400), check).outcome for more in (14, 15)]
    assert (result.tolerance, flipped) == (14, ["pass", "inconclusive"])
    assert result.reason.endswith("; 15 more flips would undo it")


def test_the_tolerance_of_a_bound_on_gains_is_the_gains_it_survives():
    result = judged(arms(0, 0, 400, wrong=40), make_check(at_most=0.02))
    assert result.tolerance == 3
    assert result.reason.endswith("; 4 more gains would undo it")


def test_what_is_no_pass_has_no_tolerance_and_what_no_change_undoes_neither():
    assert judged(arms(6, 9, 400), CHECK).tolerance is None
    assert judged(arms(3, 5, 400), make_check("flips", at_most=1.5)).tolerance is None


def test_the_documents_needed_are_those_the_sentence_tells():
    result = judged(arms(6, 9, 400), CHECK)
    assert result.needed == 2260
    assert "about 1,900 more documents" in result.reason
    assert judged(arms(3, 13, 400), CHECK).needed is None
    assert judged(arms(0, 0, 100), CHECK).needed == 149


# Metrics of a corpus, and distributions


def corpus_score(variant, statistics):
    score = make_score(variant, [0.0] * len(statistics), is_binary=False, higher_is_better=False)
    samples = (
        sample.model_copy(update={"statistics": one})
        for sample, one in zip(score.samples, statistics, strict=True)
    )
    return score.model_copy(update={"aggregate": "word_perplexity", "samples": tuple(samples)})


def judged_perplexity(documents):
    before = [(-20.0 - i, 10.0) for i in range(documents)]
    after = [(-20.001 - 1.0001 * i, 10.0) for i in range(documents)]
    return judged((corpus_score("merged", before), corpus_score("q4", after)), CHECK)


def test_a_corpus_metric_of_few_documents_proves_nothing():
    result = judged_perplexity(9)
    assert result.outcome == "inconclusive"
    assert "9 documents cannot prove a bound" in result.reason


def test_a_perplexity_is_told_as_its_logarithm():
    result = judged_perplexity(12)
    assert result.outcome == "pass"
    assert result.reason == (
        "loses at most 0.00018 in ln perplexity (95 % one-sided), within the margin of 0.02 in ln "
        "perplexity; 12 documents"
    )


def read(documents, kl=0.001):
    sums = tuple(
        DocumentDivergence(
            id=i,
            tokens=100,
            kl=kl * (90 + i % 20),
            same_top=99 - i % 2,
            nll_reference=200.0,
            nll_candidate=200.1,
            delta_p=-0.01,
        )
        for i in range(documents)
    )
    return Distribution(
        variant="q4", reference="merged", text="mail", tokens_hash="h", documents=sums,
        delta_p_rms=0.01,
    )  # fmt: skip


def judged_text(found, *, failures=None, noise=None, **bounds):
    check = Check(of="q4", against="merged", compare=Use(name="kl"), **bounds)
    resolved = ResolvedCheck(check=check, variant="q4", reference="merged", task="mail")
    distributions = {} if found is None else {("q4", "merged", "mail"): found}
    (result,) = judge([resolved], {}, {}, failures or {}, distributions=distributions, noise=noise)
    return result


def test_distributions_are_judged_by_their_interval_over_documents():
    result = judged_text(read(40), at_most=0.005)
    assert result.outcome == "pass"
    assert result.reason.startswith("KL divergence in nats a token: at most 0.001")
    assert result.reason.endswith("below the bound of 0.005; 40 documents")
    assert judged_text(read(40, kl=0.1), at_most=0.005).outcome == "fail"


def test_fewer_than_ten_documents_of_a_text_prove_nothing_but_a_clear_failure():
    result = judged_text(read(9), at_most=0.005)
    assert result.outcome == "inconclusive"
    assert "9 documents cannot prove a bound" in result.reason
    assert result.needed == 10
    assert judged_text(read(9, kl=0.1), at_most=0.005).outcome == "fail"


def test_a_bound_within_three_times_the_noise_of_an_engine_decides_nothing():
    def judged_in(noise, **options):
        repeats = Noise({}, {"q4": "hf", "merged": "hf"}, {("hf", "mail"): noise})
        return judged_text(read(40, **options), at_most=0.005, noise=repeats)

    assert judged_in(read(40, kl=0.001)).outcome == "pass"
    result = judged_in(read(40, kl=0.0017))
    assert result.outcome == "inconclusive"
    assert result.reason == (
        "the noise of hf takes more than a third of the bound: alone, reading the text twice, it "
        "differs by up to 0.0017 KL divergence in nats a token; 40 documents"
    )
    assert judged_in(read(40, kl=0.0017), kl=0.1).outcome == "fail"
    assert judged_in("it was not run").reason.startswith(
        "what hf changes by itself is not known: it was not run"
    )


def test_a_text_that_was_not_read_is_an_error():
    result = judged_text(None, at_most=0.005)
    assert result.outcome == "error"
    assert result.reason == "q4 was not read against merged on the text mail"
    result = judged_text(None, at_most=0.005, failures={("merged", "mail"): "killed for memory"})
    assert result.reason == "merged could not read the text mail: killed for memory"
    assert judged_text(read(0), at_most=0.005).reason == (
        "q4 was read against merged on no tokens of mail"
    )


# Bad input


def test_a_score_that_is_not_a_number_is_refused_when_it_is_read():
    with pytest.raises(ValidationError, match="Input should be a finite number"):
        Sample(id=0, hash="", value=float("nan"), answer="", request_hash="")


def test_a_score_that_is_not_a_number_is_an_error():
    reference, candidate = arms(0, 0, 400)
    result = judged([reference, changed(candidate, 3, value=float("nan"))], CHECK)
    assert result.outcome == "error"
    assert result.reason == "q4 has no usable value of document 3 of desk_intent: nan"


@pytest.mark.parametrize("is_binary", [True, False])
def test_a_single_document_proves_nothing(is_binary):
    result = judged(arms(0, 0, 1, is_binary=is_binary), CHECK)
    assert result.outcome == "inconclusive"


@pytest.mark.parametrize("is_binary", [True, False])
def test_values_that_are_all_equal_have_a_width_that_their_number_leaves(is_binary):
    pair = arms(0, 0, 400, wrong=10, is_binary=is_binary)
    result = judged(pair, CHECK)
    assert result.outcome == "pass"
    assert result.estimate.low < 0 < result.estimate.high


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ({"margin": 0.0}, "a margin is a share above 0 and below 1, not 0; 0.02 means 2 points"),
        ({"margin": -0.02}, "not -0.02; 0.02 means 2 points"),
        ({"margin": 2.0}, "not 2; 0.02 means 2 points"),
        ({"at_least": 0, "confidence": 0.5}, "above 0.5 and below 1, not 0.5"),
        ({"at_least": 0, "confidence": 1.0}, "above 0.5 and below 1, not 1"),
        ({"at_least": 0, "confidence": 95.0}, "above 0.5 and below 1, not 95"),
    ],
)
def test_a_margin_or_confidence_that_cannot_be_is_refused(written, problem):
    with pytest.raises(ValidationError, match=problem):
        WrittenCheck(of="q4", against="merged", compare="delta", **written)


# Properties


def test_one_more_loss_never_improves_a_clustered_outcome():
    order = ["pass", "inconclusive", "fail"]
    outcomes = [
        order.index(judged(clustered((4, losses, 1000), 25, wrong=50), CHECK).outcome)
        for losses in range(0, 90, 4)
    ]
    assert all(one <= other for one, other in itertools.pairwise(outcomes))
    assert set(outcomes) == {0, 1, 2}


def test_the_judge_is_a_function_of_what_it_is_given():
    scores = {
        (score.variant, TASK): score
        for score in both(arms(3, 5, 400), part=lambda i: f"part {i % 3}")
    }
    checks = [CHECK, make_check("flips", at_most=0.08)]
    assert judge(checks, scores, corpus(400), {}) == judge(checks, scores, corpus(400), {})
