"""Metrics of a corpus from summed statistics: sacrebleu, scikit-learn and lm-eval agree."""

import math
import random

import numpy as np
import pytest
import sacrebleu
from lm_eval.api.registry import get_aggregation

from gate.aggregates import PERPLEXITIES, aggregate_of, statistics_of, value_of
from gate.errors import ConfigError, StageError
from gate.evaluating.metrics import find_aggregation, measure
from gate.evaluation_records import Sample, Score

WORDS = [
    "the",
    "order",
    "is",
    "late",
    "refund",
    "please",
    "cancel",
    "my",
    "parcel",
    "(today)",
    "now",
    ".",
    "42",
    "Paris,",
    "red",
    "blue",
]


def make_score(measured, *, aggregate="mean"):
    samples = tuple(
        Sample(
            id=place,
            hash=str(place),
            value=one.value,
            answer="",
            request_hash="",
            statistics=one.statistics,
        )
        for place, one in enumerate(measured)
    )
    return Score(
        variant="merged",
        task="toy",
        metric="m",
        higher_is_better=True,
        is_binary=False,
        aggregate=aggregate,
        samples=samples,
    )


def sentence(generator, longest=12):
    return " ".join(generator.choices(WORDS, k=generator.randint(0, longest)))


def translations(seed, count=40, longest=12):
    """Pairs of reference and text, of which some are equal, some are empty."""
    generator = random.Random(seed)
    pairs = []
    for _ in range(count):
        reference = sentence(generator, longest)
        is_same = generator.random() < 0.2
        pairs.append((reference, reference if is_same else sentence(generator, longest)))
    return pairs


def likelihoods(seed, count=40):
    generator = random.Random(seed)
    return [(-generator.uniform(0.1, 300), generator.randint(1, 120)) for _ in range(count)]


def labels(seed, count=40, *, of=2):
    generator = random.Random(seed)
    return [(generator.randrange(of), generator.randrange(of)) for _ in range(count)]


def measured(aggregation, given, *, choices=0):
    return [measure(aggregation, one, choices=choices, what="a document") for one in given]


def corpus_value(aggregation, aggregate, given, *, choices=0):
    return value_of(make_score(measured(aggregation, given, choices=choices), aggregate=aggregate))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("longest", [3, 12, 40])
@pytest.mark.parametrize("name", ["bleu", "chrf", "chrf++", "ter"])
def test_translations_are_scored_as_by_lm_eval(name, longest, seed):
    pairs = translations(seed, longest=longest)

    expected = get_aggregation(name)(pairs)

    assert corpus_value(name, name, pairs) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "score"),
    [
        ("bleu", sacrebleu.corpus_bleu),
        ("chrf", sacrebleu.corpus_chrf),
        ("ter", sacrebleu.corpus_ter),
    ],
)
def test_a_text_may_have_several_references(name, score):
    generator = random.Random(3)
    given = [([sentence(generator), sentence(generator)], [sentence(generator)]) for _ in range(30)]
    streams = [[references[place] for references, _ in given] for place in range(2)]

    expected = score([text for _, (text,) in given], streams).score

    assert corpus_value(name, name, given) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["bleu", "chrf", "chrf++"])
def test_a_document_shows_the_score_of_its_sentence(name):
    text = "the order is late now"

    (same, other) = measured(name, [(text, text), (text, "")])

    assert (same.value, other.value) == (pytest.approx(100.0), 0.0)


def test_answers_that_are_all_empty_have_a_score():
    pairs = [("the order is late", "")] * 3

    assert corpus_value("bleu", "bleu", pairs) == 0.0
    assert corpus_value("chrf", "chrf", pairs) == 0.0
    assert corpus_value("ter", "ter", pairs) == 100.0


def test_references_that_are_all_empty_have_a_score():
    assert corpus_value("ter", "ter", [("", "the order")]) == 100.0
    assert corpus_value("ter", "ter", [("", "")]) == 0.0
    assert corpus_value("bleu", "bleu", [("", "the order")]) == 0.0
    assert corpus_value("chrf", "chrf", [("", "the order")]) == 0.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("weighted_perplexity", "word_perplexity"),
        ("weighted_perplexity", "byte_perplexity"),
        ("weighted_perplexity", "weighted_perplexity"),
        ("bits_per_byte", "bits_per_byte"),
    ],
)
def test_perplexities_are_those_of_lm_eval(theirs, ours, seed):
    given = likelihoods(seed)

    expected = get_aggregation(theirs)(given)

    assert corpus_value(theirs, ours, given) == pytest.approx(expected, rel=1e-12)


def test_a_perplexity_of_answers_is_that_of_lm_eval():
    given = [loglikelihood / 100 for loglikelihood, _ in likelihoods(1)]

    expected = get_aggregation("perplexity")(given)

    assert corpus_value("perplexity", "perplexity", given) == pytest.approx(expected, rel=1e-12)


def test_a_document_shows_its_own_ln_perplexity():
    (document,) = measured("weighted_perplexity", [(-12.0, 4)])
    (answer,) = measured("perplexity", [-3.0])
    (bits,) = measured("bits_per_byte", [(-12.0, 4)])

    assert document == (3.0, (-12.0, 4.0))
    assert answer == (3.0, (-3.0, 1.0))
    assert bits.value == pytest.approx(3.0 / math.log(2))


def test_a_perplexity_beyond_a_float_is_infinite():
    assert corpus_value("perplexity", "perplexity", [-2000.0]) == math.inf


@pytest.mark.parametrize("seed", range(5))
def test_f1_is_that_of_lm_eval(seed):
    given = labels(seed)

    expected = get_aggregation("f1")(given)

    assert corpus_value("f1", "f1", given, choices=2) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("of", [2, 3, 7])
@pytest.mark.parametrize("seed", range(5))
def test_mcc_is_that_of_lm_eval(seed, of):
    given = labels(seed, of=of)

    expected = get_aggregation("matthews_corrcoef")(given)

    value = corpus_value("matthews_corrcoef", "mcc", given, choices=of)
    assert value == pytest.approx(expected, abs=1e-12)


def test_labels_that_never_vary_have_a_score():
    nothing = [(0, 0)] * 5

    assert corpus_value("f1", "f1", nothing, choices=2) == 0.0
    assert corpus_value("matthews_corrcoef", "mcc", nothing, choices=2) == 0.0
    assert corpus_value("matthews_corrcoef", "mcc", [(0, 1), (1, 1)], choices=2) == 0.0


def test_a_document_shows_whether_its_label_is_right():
    right, wrong = measured("f1", [(1, 1), (1, 0)], choices=2)

    assert (right.value, wrong.value) == (1.0, 0.0)


def test_brier_scores_are_means_of_documents():
    generator = np.random.default_rng(0)
    given = [(int(generator.integers(4)), generator.dirichlet(np.ones(4))) for _ in range(20)]

    expected = get_aggregation("brier_score")(given)

    assert corpus_value("brier_score", "mean", given) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("aggregation", "aggregate", "given", "choices"),
    [
        ("bleu", "bleu", translations(1), 0),
        ("chrf", "chrf", translations(1), 0),
        ("chrf++", "chrf++", translations(1), 0),
        ("ter", "ter", translations(1), 0),
        ("f1", "f1", labels(1), 2),
        ("matthews_corrcoef", "mcc", labels(1, of=5), 5),
        ("weighted_perplexity", "word_perplexity", likelihoods(1), 0),
        ("bits_per_byte", "bits_per_byte", likelihoods(1), 0),
        ("mean", "mean", [0.0, 1.0, 0.5], 0),
    ],
)
def test_many_resamples_are_scored_at_once(aggregation, aggregate, given, choices):
    score = make_score(measured(aggregation, given, choices=choices), aggregate=aggregate)
    statistics = statistics_of(score)
    n = len(given)
    draws = np.random.default_rng(0).integers(n, size=(5_000, n))
    sums = statistics[draws].sum(axis=1)
    function = aggregate_of(aggregate)
    values = function(sums)
    assert values.shape == (5_000,)
    assert np.isfinite(values).all()
    one_by_one = [float(function(line)) for line in sums[:20]]
    assert values[:20] == pytest.approx(one_by_one, rel=1e-14)


def test_the_value_of_a_mean_is_its_mean():
    score = make_score(measured("mean", [1.0, 0.0, 0.0]))

    assert value_of(score) == score.mean
    assert statistics_of(score).tolist() == [[1.0, 1.0], [0.0, 1.0], [0.0, 1.0]]


def test_no_documents_have_the_value_zero():
    assert value_of(make_score([], aggregate="bleu")) == 0.0


def test_an_aggregate_without_statistics_is_refused():
    score = make_score(measured("mean", [1.0]), aggregate="bleu")

    with pytest.raises(
        StageError, match="merged on toy: bleu cannot be computed: its samples have 0 statistics"
    ):
        value_of(score)


def test_statistics_that_are_not_alike_are_refused():
    score = make_score([*measured("f1", [(0, 0)]), *measured("perplexity", [-1.0])], aggregate="f1")

    with pytest.raises(StageError, match="its samples have 2 or 3 statistics"):
        statistics_of(score)


def test_an_aggregate_that_is_not_known_gets_the_nearest_name():
    with pytest.raises(StageError, match="no aggregate named 'belu'") as caught:
        aggregate_of("belu")
    assert caught.value.hint == "did you mean bleu?"


def test_perplexities_are_aggregates():
    assert all(map(aggregate_of, PERPLEXITIES))


@pytest.mark.parametrize(
    ("aggregation", "given", "choices", "problem"),
    [
        ("mean", (1, 2), 0, "m is not a number"),
        ("mean", "1.0", 0, "m is not a number"),
        ("mean", None, 0, "m is not a number"),
        ("bleu", 1.0, 0, "m is not a pair of references and text"),
        ("bleu", ([], "text"), 0, "m is not a pair of references and text"),
        ("bleu", ("text", 3), 0, "m is not a pair of references and text"),
        ("bleu", ("text", ["a", "b"]), 0, "m is not a pair of references and text"),
        ("f1", 1.0, 2, "m is not a pair of right and predicted label"),
        ("f1", (0, 2), 2, "m has the label 2: they go from 0 to 1"),
        ("f1", (0, 1), 3, "m has 3 labels: lm-eval's f1 is of the labels 0 and 1"),
        ("f1", ("yes", 1), 2, "m has the label 'yes': they go from 0 to 1"),
        ("matthews_corrcoef", (-100, 1), 4, "m has the label -100: they go from 0 to 3"),
        ("matthews_corrcoef", ([0, 1], 1), 4, r"m has the label \[0, 1\]: they go from 0 to 3"),
        ("brier_score", (4, [0.5, 0.5]), 0, "m has the label 4: they go from 0 to 1"),
        ("weighted_perplexity", -3.0, 0, "m is not a pair of log-likelihood and weight"),
        ("weighted_perplexity", (-3.0, 0), 0, "m has the weight 0: a text has words and bytes"),
    ],
)
def test_what_an_aggregation_is_not_made_from_is_refused(aggregation, given, choices, problem):
    with pytest.raises(ConfigError, match=f"^{problem}") as caught:
        measure(aggregation, given, choices=choices, what="m")
    assert caught.value.hint == f"the task aggregates it by {aggregation}: see its metric_list"


@pytest.mark.parametrize(
    ("aggregation", "given", "number"),
    [
        ("mean", math.nan, "nan"),
        ("nanmean", math.nan, "nan"),
        ("mean", math.inf, "inf"),
        ("perplexity", -math.inf, "inf"),
        ("weighted_perplexity", (math.nan, 3), "nan"),
        ("brier_score", (0, [math.nan, 1.0]), "nan"),
    ],
)
def test_what_is_not_finite_is_an_error(aggregation, given, number):
    with pytest.raises(StageError, match=f"m is {number}, not a finite number"):
        measure(aggregation, given, choices=0, what="m")


def test_an_aggregation_of_the_tasks_own_is_refused_with_those_known():
    def rouge1_agg(items):
        return 0.0

    with pytest.raises(ConfigError) as caught:
        find_aggregation("toy", "rouge1", {"rouge1": rouge1_agg})
    assert caught.value.problem == (
        "task toy aggregates rouge1 by rouge1_agg, which the gate does not know"
    )
    assert caught.value.hint == (
        "it knows bits_per_byte, bleu, brier_score, chrf, chrf++, f1, matthews_corrcoef, mean, "
        "nanmean, perplexity, ter, weighted_perplexity"
    )


@pytest.mark.parametrize(
    ("metric", "name", "aggregate"),
    [
        ("acc", "mean", "mean"),
        ("acc", "nanmean", "mean"),
        ("word_perplexity", "weighted_perplexity", "word_perplexity"),
        ("token_perplexity", "weighted_perplexity", "weighted_perplexity"),
        ("mcc", "matthews_corrcoef", "mcc"),
    ],
)
def test_an_aggregation_goes_by_lm_evals_name_and_by_ours(metric, name, aggregate):
    found = find_aggregation("toy", metric, {metric: get_aggregation(name)})

    assert found == (name, aggregate)
    assert aggregate_of(found.aggregate)
