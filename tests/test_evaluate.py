"""evaluate_task on pico models and tasks written here."""

import json
import math
import os
from pathlib import Path

import pytest
import task_builder
from builders import opened
from ruamel.yaml import YAML
from task_builder import CHOICE, WRITTEN, Roomy, evaluate, rows

from gate.backends.hf import open_model
from gate.errors import ConfigError, SourceError, StageError
from gate.terms import LocalAdapter, Task

pytestmark = pytest.mark.filterwarnings(
    # transformers 5.23 asks itself for a name that it deprecates
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",
)

ROWS = rows(12)


@pytest.fixture
def write_task(tmp_path):
    """Writes a task's YAML and its documents, and gives the Task."""

    def write(documents=ROWS, **options):
        return task_builder.write_task(tmp_path, documents, **options)

    return write


def test_each_document_is_one_sample(write_task):
    evaluation = evaluate(write_task(**CHOICE))

    assert [sample.id for sample in evaluation.samples] == list(range(12))
    assert [document.id for document in evaluation.documents] == list(range(12))
    assert (evaluation.task, evaluation.metric) == ("toy", "acc")
    assert evaluation.higher_is_better
    assert evaluation.is_binary


def test_a_document_says_what_was_asked_and_what_is_right(write_task):
    document = evaluate(write_task(**CHOICE)).documents[4]

    assert document.prompt == "the order 4"
    assert document.target == "bb"
    assert document.choices == ("a", "bb", "ccc")


def test_a_sample_says_what_was_answered(write_task):
    evaluation = evaluate(write_task(**CHOICE))

    # a letter costs its place in the alphabet, and the space before each choice gives 64
    assert evaluation.samples[0].loglikelihoods == (63.0, 60.0, 55.0)
    assert evaluation.samples[0].answer == "a"
    assert [sample.value for sample in evaluation.samples[:3]] == [1.0, 0.0, 0.0]


def test_the_answer_is_chosen_as_the_metric_chooses(write_task):
    rows = [{**row, "choices": ["ooo", "zz"], "answer": 0} for row in ROWS]
    metrics = [
        {"metric": metric, "aggregation": "mean", "higher_is_better": True}
        for metric in ("acc", "acc_norm")
    ]
    yaml = CHOICE | {"metric_list": metrics, "target_delimiter": ""}

    plain = evaluate(write_task(rows, metric="acc", **yaml)).samples[0]
    normalized = evaluate(write_task(rows, metric="acc_norm", **yaml)).samples[0]

    assert (plain.loglikelihoods, plain.answer, plain.value) == ((-45.0, -52.0), "ooo", 1.0)
    assert (normalized.answer, normalized.value) == ("ooo", 1.0)


def test_longer_answers_win_only_by_length(write_task):
    rows = [{**row, "choices": ["bbb", "d"], "answer": 0} for row in ROWS]
    metrics = [
        {"metric": metric, "aggregation": "mean", "higher_is_better": True}
        for metric in ("acc", "acc_norm")
    ]
    yaml = CHOICE | {"metric_list": metrics, "target_delimiter": ""}

    assert evaluate(write_task(rows, metric="acc", **yaml)).samples[0].answer == "d"
    assert evaluate(write_task(rows, metric="acc_norm", **yaml)).samples[0].answer == "bbb"


def test_a_written_answer_is_compared_and_kept(write_task):
    evaluation = evaluate(write_task(metric="exact_match", **WRITTEN))

    assert {sample.answer for sample in evaluation.samples} == {"yes"}
    assert {sample.value for sample in evaluation.samples} == {1.0}
    assert evaluation.samples[0].loglikelihoods == ()
    assert evaluation.documents[0].choices == ()


def test_hostile_text_is_kept_as_written(write_task):
    hostile = "<script>x</script>"
    task = write_task(
        metric="exact_match",
        **WRITTEN | {"generation_kwargs": {"until": ["\n"], "max_gen_toks": 40}},
    )

    evaluation = evaluate(task, Roomy(written=hostile + "\nmore"))

    assert evaluation.samples[0].answer == hostile


def test_a_limit_takes_the_same_documents_every_time_and_not_the_first(write_task):
    task = write_task(limit=5, **CHOICE)

    first, again = evaluate(task), evaluate(task, Roomy(loss=1.0))
    other = evaluate(task.model_copy(update={"seed": 7}))

    ids = [sample.id for sample in first.samples]
    assert ids == sorted(ids) != [0, 1, 2, 3, 4]
    assert ids == [sample.id for sample in again.samples]
    assert ids != [sample.id for sample in other.samples]
    assert [document.prompt for document in first.documents] == [f"the order {id}" for id in ids]


def test_a_limit_beyond_the_documents_takes_them_all(write_task):
    assert len(evaluate(write_task(limit=99, **CHOICE)).samples) == 12


def test_documents_keep_their_hash_whatever_the_limit(write_task):
    task = write_task(**CHOICE)
    whole = {sample.id: sample for sample in evaluate(task).samples}

    for sample in evaluate(task.model_copy(update={"limit": 4})).samples:
        assert sample.hash == whole[sample.id].hash
        assert sample.request_hash == whole[sample.id].request_hash


def test_the_request_hash_differs_where_the_request_does(write_task):
    hashes = {sample.request_hash for sample in evaluate(write_task(**CHOICE)).samples}

    assert len(hashes) == 12


def test_progress_is_told_to_the_last_document(write_task):
    heard = []

    evaluate(write_task(**CHOICE), on_progress=lambda done, total: heard.append((done, total)))

    assert heard[-1] == (12, 12)


def test_documents_that_changed_on_disk_are_read_again(write_task, tmp_path):
    task = write_task(**CHOICE)
    before = os.stat(tmp_path / "test.jsonl")
    evaluate(task)
    changed = [{**row, "question": row["question"].replace("order", "offer")} for row in ROWS]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, changed)))
    os.utime(tmp_path / "test.jsonl", ns=(before.st_atime_ns, before.st_mtime_ns))

    assert evaluate(task).documents[0].prompt == "the offer 0"


def test_chat_renders_the_prompt(write_task):
    evaluation = evaluate(write_task(chat=True, **CHOICE))

    assert evaluation.documents[0].prompt == "^the order 0"


def test_examples_come_before_the_document(write_task):
    task = write_task(shots=2, fewshot_split="test", **CHOICE)

    prompts = [document.prompt for document in evaluate(task).documents]

    assert all(prompt.endswith(f"\n\nthe order {id}") for id, prompt in enumerate(prompts))
    assert all(prompt.count("the order") == 3 for prompt in prompts)
    assert prompts == [document.prompt for document in evaluate(task).documents]


def test_examples_from_the_documents_judged_are_refused(write_task):
    with pytest.raises(ConfigError, match="toy draws its few-shot examples from the documents"):
        evaluate(write_task(shots=2, **CHOICE))


def test_a_metric_the_task_lacks_is_refused_with_those_it_has(write_task):
    with pytest.raises(ConfigError, match="task toy has no metric 'acc_norm'") as caught:
        evaluate(write_task(metric="acc_norm", **CHOICE))
    assert caught.value.hint == "it has acc"


def test_a_metric_that_writing_lacks_is_refused_with_those_it_has(write_task):
    with pytest.raises(ConfigError, match="task toy has no metric 'f1'") as caught:
        evaluate(write_task(metric="f1", **WRITTEN))
    assert caught.value.hint == "it has exact_match"


def test_a_filter_the_task_lacks_is_refused_with_those_it_has(write_task):
    with pytest.raises(ConfigError, match="task toy has no filter 'strict'") as caught:
        evaluate(write_task(filter="strict", **CHOICE))
    assert caught.value.hint == "it has none"


def test_samples_are_those_of_the_filter(write_task):
    filters = [
        {"name": "plain", "filter": [{"function": "take_first"}]},
        {"name": "upper", "filter": [{"function": "uppercase"}, {"function": "take_first"}]},
    ]
    yaml = WRITTEN | {"filter_list": filters}

    plain = evaluate(write_task(metric="exact_match", filter="plain", **yaml))
    upper = evaluate(write_task(metric="exact_match", filter="upper", **yaml))

    assert len(plain.samples) == len(upper.samples) == 12
    assert (plain.samples[0].value, upper.samples[0].value) == (1.0, 0.0)


def test_a_score_that_is_not_a_number_is_an_error(write_task, tmp_path):
    (tmp_path / "own.py").write_text("def judge(doc, results):\n    return {'own': float('nan')}\n")
    path = tmp_path / "toy.yaml"
    task = write_task(metric="own", **WRITTEN | {"metric_list": [{"metric": "own"}]})
    text = path.read_text().replace(
        "- metric: own", "- {metric: own, aggregation: mean, higher_is_better: true}"
    )
    path.write_text(text + "process_results: !function own.judge\n")

    with pytest.raises(
        StageError, match=r"task toy: document \d+: own is nan, not a finite number"
    ):
        evaluate(task)


def test_a_metric_of_the_tasks_own_is_not_taken_for_right_or_wrong(write_task, tmp_path):
    (tmp_path / "own.py").write_text("def judge(doc, results):\n    return {'own': 1.0}\n")
    metric = {"metric": "own", "aggregation": "mean", "higher_is_better": True}
    task = write_task(metric="own", **WRITTEN | {"metric_list": [metric]})
    with (tmp_path / "toy.yaml").open("a") as file:
        file.write("process_results: !function own.judge\n")

    evaluation = evaluate(task)

    assert evaluation.samples[0].value == 1.0
    assert not evaluation.is_binary


def test_a_log_likelihood_that_is_not_a_number_names_the_document(write_task):
    with pytest.raises(StageError, match=r"task toy: document \d+: a log-likelihood is nan"):
        evaluate(write_task(**CHOICE), Roomy(loss=math.nan))


def test_a_document_longer_than_the_model_is_named_as_in_the_task(write_task):
    rows = [*ROWS, {**ROWS[0], "question": "x" * 400}]

    with pytest.raises(
        StageError, match="task toy: document 12 takes 402 tokens, more than the 400"
    ):
        evaluate(write_task(rows, **CHOICE))


def test_a_task_without_documents_is_refused(write_task):
    with pytest.raises(ConfigError, match="task toy has no documents"):
        evaluate(write_task([], **CHOICE))


def test_a_task_whose_documents_are_all_left_out_is_refused(write_task, tmp_path):
    (tmp_path / "own.py").write_text("def none(rows):\n    return rows.select([])\n")
    task = write_task(**CHOICE)
    with (tmp_path / "toy.yaml").open("a") as file:
        file.write("process_docs: !function own.none\n")

    with pytest.raises(ConfigError, match="task toy has no documents"):
        evaluate(task)


def test_a_data_file_that_does_not_exist_is_named(write_task, tmp_path):
    task = write_task(**CHOICE)
    (tmp_path / "test.jsonl").unlink()

    with pytest.raises(SourceError, match=r"toy\.yaml: its data file test\.jsonl does not"):
        evaluate(task)


def test_a_yaml_that_cannot_be_read_is_named(write_task, tmp_path):
    task = write_task(**CHOICE)
    (tmp_path / "toy.yaml").write_text("task: [toy")

    with pytest.raises(ConfigError, match=r"toy\.yaml: while parsing"):
        evaluate(task)


def test_a_group_is_refused(write_task, tmp_path):
    task = write_task(**CHOICE)
    (tmp_path / "toy.yaml").write_text("group: toys\ntask: [toy]")

    with pytest.raises(ConfigError, match=r"toy\.yaml: a group of tasks"):
        evaluate(task)


def test_a_metric_without_a_direction_is_refused(write_task, tmp_path):
    (tmp_path / "own.py").write_text("def judge(doc, results):\n    return {'own': 1.0}\n")
    metric = {"metric": "own", "aggregation": "mean", "higher_is_better": None}
    task = write_task(metric="own", **WRITTEN | {"metric_list": [metric]})
    with (tmp_path / "toy.yaml").open("a") as file:
        file.write("process_results: !function own.judge\n")

    with pytest.raises(ConfigError, match="task toy does not say whether more own is better"):
        evaluate(task)


def test_a_task_that_runs_written_code_is_refused(write_task):
    with pytest.raises(ConfigError, match="task toy runs code that the model writes"):
        evaluate(write_task(metric="exact_match", **WRITTEN, unsafe_code=True))


def test_a_task_that_samples_is_refused(write_task):
    yaml = WRITTEN | {"generation_kwargs": {"until": ["\n"], "do_sample": True, "temperature": 1.0}}

    with pytest.raises(ConfigError, match=r"task toy: document \d+: the task samples its answers"):
        evaluate(write_task(metric="exact_match", **yaml))


def test_documents_that_the_hub_would_have_are_named_when_it_cannot_be_reached(
    write_task, tmp_path
):
    task = write_task(**CHOICE)
    path = tmp_path / "toy.yaml"
    path.write_text(path.read_text().replace("dataset_path: json", "dataset_path: nobody/nothing"))
    text = path.read_text()
    path.write_text(text[: text.index("dataset_kwargs")] + text[text.index("test_split") :])

    with pytest.raises(StageError, match="task toy: its documents cannot be read"):
        evaluate(task)


def test_variants_of_one_base_are_asked_the_same(base, adapter, write_task):
    task = write_task(limit=6, chat=True, **CHOICE)
    with opened(open_model(base, [])) as engine:
        plain = evaluate(task, engine)
    with opened(open_model(base, [LocalAdapter(name="intents", path=adapter)])) as engine:
        tuned = evaluate(task, engine)

    assert plain.documents == tuned.documents
    assert [one.request_hash for one in plain.samples] == [
        one.request_hash for one in tuned.samples
    ]
    assert plain.samples != tuned.samples


def test_scores_are_those_of_lm_evals_own_model(base, write_task):
    from lm_eval.evaluator import evaluate as lm_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    task = write_task(**CHOICE)
    with opened(open_model(base, [], dtype="float32")) as engine:
        found = evaluate(task, engine)

    config = YAML(typ="safe").load(Path(task.path))
    config["dataset_kwargs"] = {"data_files": {"test": task.path.replace("toy.yaml", "test.jsonl")}}
    oracle = lm_evaluate(
        HFLM(pretrained=str(base), dtype="float32", device="cpu"),
        TaskManager(include_defaults=False).load([config]),
    )
    samples = oracle["samples"]["toy"]
    assert [one.value for one in found.samples] == [one["acc"] for one in samples]
    assert [one.hash for one in found.samples] == [one["doc_hash"] for one in samples]
    for mine, theirs in zip(found.samples, samples, strict=True):
        expected = [response[0][0] for response in theirs["resps"]]
        assert mine.loglikelihoods == pytest.approx(expected, abs=1e-4)


def test_an_unknown_task_of_lm_evals_gets_the_nearest_name():
    with pytest.raises(ConfigError, match="lm-eval has no task named 'arc_eazy'") as caught:
        evaluate(Task(name="arc_eazy", metric="acc"))
    assert caught.value.hint == "did you mean arc_easy?"


def test_a_shipped_task_needs_its_documents():
    with pytest.raises(StageError, match="task arc_easy: its documents cannot be read") as caught:
        evaluate(Task(name="arc_easy", metric="acc"))
    assert caught.value.hint.startswith("a task that lm-eval ships needs the hub once")
