"""Every kind of metric in a task that lm-eval runs, against lm-eval's own aggregation of it."""

import math
from pathlib import Path

import pytest
from lm_eval.evaluator import evaluate as lm_evaluate
from lm_eval.tasks import TaskManager
from ruamel.yaml import YAML
from task_builder import CHOICES, GENERATION, WRITTEN, Roomy, evaluate, metric_list, rows
from task_builder import write_task as write

from gate.aggregates import value_of
from gate.engines.language_models import GateLM
from gate.errors import ConfigError, StageError
from gate.evaluation_records import Evaluation, Score

ROLLING = {
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{question}}",
}
ENDING = {
    "output_type": "loglikelihood",
    "doc_to_text": "{{question}}",
    "doc_to_target": " {{choices[answer]}}",
}

LIKELY = ENDING | {"doc_to_target": " ok"}


class Alphabet(Roomy):
    """The toy engine with log-probabilities below 0: a token costs a hundredth of its number."""

    def score(self, rows):
        for row, found in zip(rows, super().score(rows), strict=True):
            yield tuple(
                likelihood._replace(loglikelihood=-sum(target) / 100)
                for likelihood, target in zip(found, row.targets, strict=True)
            )


def value(evaluation):
    """The metric of the corpus."""
    shared = set(Score.model_fields) & set(Evaluation.model_fields)
    return value_of(Score(variant="merged", **evaluation.model_dump(include=shared)))


def by_lm_eval(task, metric):
    """What lm-eval gives for the whole task, on the same engine."""
    config = YAML(typ="safe").load(Path(task.path).read_text())
    files = {"test": task.path.replace("toy.yaml", "test.jsonl")}
    config["dataset_kwargs"] = {"data_files": files}
    loaded = TaskManager(include_defaults=False).load([config])
    results = lm_evaluate(GateLM(Alphabet()), loaded, bootstrap_iters=0)
    return results["results"]["toy"][f"{metric},none"]


@pytest.mark.parametrize(
    ("metric", "aggregation", "aggregate", "yaml"),
    [
        ("acc", "mean", "mean", CHOICES),
        ("brier_score", "brier_score", "mean", CHOICES),
        ("mcc", "matthews_corrcoef", "mcc", CHOICES),
        ("perplexity", "perplexity", "perplexity", ENDING),
        ("word_perplexity", "weighted_perplexity", "word_perplexity", ROLLING),
        ("byte_perplexity", "weighted_perplexity", "byte_perplexity", ROLLING),
        ("bits_per_byte", "bits_per_byte", "bits_per_byte", ROLLING),
        ("bleu", "bleu", "bleu", GENERATION | {"doc_to_target": "yes {{question}}"}),
        ("chrf", "chrf", "chrf", GENERATION | {"doc_to_target": "yes {{question}}"}),
        ("chrf++", "chrf++", "chrf++", GENERATION | {"doc_to_target": "yes {{question}}"}),
        ("ter", "ter", "ter", GENERATION | {"doc_to_target": "yes {{question}}"}),
    ],
)
def test_a_metric_of_the_corpus_is_that_of_lm_eval(tmp_path, metric, aggregation, aggregate, yaml):
    task = write(
        tmp_path, rows(70), metric=metric, **yaml, metric_list=metric_list(metric, aggregation)
    )

    evaluation = evaluate(task, Alphabet())

    assert evaluation.aggregate == aggregate
    assert value(evaluation) == pytest.approx(by_lm_eval(task, metric), rel=1e-9)
    assert all(bool(sample.statistics) == (aggregate != "mean") for sample in evaluation.samples)


def test_f1_of_two_labels_is_that_of_lm_eval(tmp_path):
    documents = [
        {**row, "choices": ["a", "bb"] if number % 3 else ["bb", "a"], "answer": number % 2}
        for number, row in enumerate(rows(70))
    ]
    task = write(tmp_path, documents, metric="f1", **CHOICES, metric_list=metric_list("f1", "f1"))

    evaluation = evaluate(task, Alphabet())

    assert value(evaluation) == pytest.approx(by_lm_eval(task, "f1"), rel=1e-9)
    assert 0 < value(evaluation) < 1
    assert not evaluation.is_binary


def test_f1_of_three_labels_is_refused_as_lm_eval_would(tmp_path):
    task = write(tmp_path, rows(4), metric="f1", **CHOICES, metric_list=metric_list("f1", "f1"))

    with pytest.raises(ConfigError, match="f1 has 3 labels: lm-eval's f1 is of the labels 0"):
        evaluate(task)


def test_documents_of_fewer_choices_count_the_same_labels(tmp_path):
    documents = [
        {**row, "choices": row["choices"][: 2 + number % 2], "answer": number % 2}
        for number, row in enumerate(rows(70))
    ]
    metrics = metric_list("mcc", "matthews_corrcoef")
    task = write(tmp_path, documents, metric="mcc", **CHOICES, metric_list=metrics)

    evaluation = evaluate(task, Alphabet())

    assert {len(sample.statistics) for sample in evaluation.samples} == {2 + 2 * 3}
    assert value(evaluation) == pytest.approx(by_lm_eval(task, "mcc"), abs=1e-9)


def test_a_likelihood_shows_its_own_ln_perplexity(tmp_path):
    metrics = metric_list("perplexity", "perplexity", higher_is_better=False)
    task = write(
        tmp_path,
        rows(3),
        metric="perplexity",
        **LIKELY,
        metric_list=metrics,
    )

    sample = evaluate(task).samples[0]

    assert (sample.value, sample.statistics) == (-38.0, (38.0, 1.0))
    assert sample.loglikelihoods == (38.0,)


def test_a_perplexity_beyond_a_float_is_an_error(tmp_path):
    metrics = metric_list("perplexity", "perplexity", higher_is_better=False)
    task = write(tmp_path, rows(3), metric="perplexity", **ENDING, metric_list=metrics)

    with pytest.raises(
        StageError, match="task toy: perplexity of its 3 documents is inf"
    ) as caught:
        evaluate(task, Roomy(loss=2000.0))
    assert caught.value.hint.startswith("the texts are so improbable that it is beyond a float")


def test_an_answer_that_is_empty_is_scored(tmp_path):
    task = write(
        tmp_path, rows(3), metric="bleu", **GENERATION, metric_list=metric_list("bleu", "bleu")
    )

    evaluation = evaluate(task, Roomy(written="\nlater"))

    assert [sample.answer for sample in evaluation.samples] == ["", "", ""]
    assert [sample.value for sample in evaluation.samples] == [0.0, 0.0, 0.0]
    assert value(evaluation) == 0.0


def test_an_empty_answer_is_wrong(tmp_path):
    task = write(tmp_path, rows(3), metric="exact_match", **WRITTEN)

    evaluation = evaluate(task, Roomy(written="\nlater"))

    assert evaluation.is_binary
    assert {sample.value for sample in evaluation.samples} == {0.0}


def test_a_task_of_one_document_has_a_metric_of_its_corpus(tmp_path):
    metrics = metric_list("mcc", "matthews_corrcoef")
    task = write(tmp_path, rows(1), metric="mcc", **CHOICES, metric_list=metrics)

    assert math.isfinite(value(evaluate(task)))


def write_own(folder, body, *, metric="own", aggregation="mean"):
    """A task whose own function judges each document."""
    (folder / "own.py").write_text(
        f"def judge(doc, results):\n    {body}\n\n\ndef micro(items):\n    return 0.5\n"
    )
    metrics = metric_list(metric, "mean")
    task = write(folder, rows(60), metric=metric, **WRITTEN | {"metric_list": metrics})
    path = folder / "toy.yaml"
    path.write_text(
        path.read_text().replace("aggregation: mean", f"aggregation: {aggregation}")
        + "process_results: !function own.judge\n"
    )
    return task


def test_a_metric_that_a_document_lacks_is_named(tmp_path):
    task = write_own(tmp_path, "return {} if doc['question'].endswith(' 7') else {'own': 1.0}")

    with pytest.raises(
        ConfigError, match="task toy: document 7 has no own, which others have"
    ) as caught:
        evaluate(task)
    assert caught.value.hint == "its process_results must give the metric for every document"


def test_pairs_that_a_mean_is_taken_of_are_refused(tmp_path):
    task = write_own(tmp_path, "return {'own': (1.0, 2)}")

    with pytest.raises(ConfigError, match=r"task toy: document \d+: own is not a number") as caught:
        evaluate(task)
    assert caught.value.hint == "the task aggregates it by mean: see its metric_list"


def test_a_function_of_the_tasks_own_is_refused_before_anything_is_asked(tmp_path):
    task = write_own(tmp_path, "return {'own': 1.0}", aggregation="!function own.micro")
    engine = Roomy()

    with pytest.raises(ConfigError, match="task toy aggregates own by micro, which the gate"):
        evaluate(task, engine)
    assert engine.rows == []


def test_pairs_of_the_tasks_own_are_a_metric_of_its_corpus(tmp_path):
    task = write_own(tmp_path, "return {'own': (doc['choices'], results[0])}", aggregation="chrf")

    evaluation = evaluate(task)

    assert evaluation.aggregate == "chrf"
    assert len(evaluation.samples[0].statistics) == 18
