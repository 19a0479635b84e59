"""The order in which documents are asked, their few-shot examples, clusters and slices."""

import datetime

import pytest
from task_builder import CHOICE, CHOICES, evaluate, metric_list, rows, write_task

from gate.errors import ConfigError
from gate.evaluating.fields import read_field
from gate.evaluating.loading import seeded_order

EXAMPLES = [
    {"question": f"example {place}", "choices": ["a", "bb", "ccc"], "answer": place % 3}
    for place in range(20)
]


def places(evaluation):
    return {sample.id: sample.place for sample in evaluation.samples}


def prompts(evaluation):
    return {document.id: document.prompt for document in evaluation.documents}


def test_a_larger_limit_keeps_the_documents_of_a_smaller_one(tmp_path):
    task = write_task(tmp_path, rows(120), **CHOICE)
    found = {
        limit: places(evaluate(task.model_copy(update={"limit": limit})))
        for limit in (1, 7, 50, 75, 100, None)
    }

    for limit, of in found.items():
        assert sorted(of.values()) == list(range(limit or 120))
        assert of.items() <= found[None].items()


def test_samples_are_sorted_by_document_and_say_their_place(tmp_path):
    evaluation = evaluate(write_task(tmp_path, rows(60), limit=55, **CHOICE))

    ids = [sample.id for sample in evaluation.samples]
    assert ids == sorted(ids)
    assert ids == [document.id for document in evaluation.documents]
    order = seeded_order(60, 1234)
    assert all(order[sample.place] == sample.id for sample in evaluation.samples)


def test_an_evaluation_says_how_many_documents_the_task_has(tmp_path):
    assert evaluate(write_task(tmp_path, rows(60), limit=5, **CHOICE)).available == 60


def test_the_seed_draws_the_order():
    assert seeded_order(100, 1) == seeded_order(100, 1) != seeded_order(100, 2)
    assert sorted(seeded_order(100, 1)) == list(range(100))


def test_a_task_may_have_one_document(tmp_path):
    evaluation = evaluate(write_task(tmp_path, rows(1), **CHOICE))

    assert [sample.id for sample in evaluation.samples] == [0]
    assert evaluation.available == 1


def test_examples_depend_on_the_document_and_the_seed_alone(tmp_path):
    options = {"shots": 3, "splits": {"train": EXAMPLES}, "training_split": "train"}
    task = write_task(tmp_path, rows(120), **options, **CHOICE)

    whole = prompts(evaluate(task))

    for limit in (1, 30, 75):
        some = prompts(evaluate(task.model_copy(update={"limit": limit})))
        assert len(some) == limit
        assert some.items() <= whole.items()
    drawn = {prompt.rpartition("\n\n")[0] for prompt in whole.values()}
    assert len(drawn) > 100
    assert whole != prompts(evaluate(task.model_copy(update={"seed": 7})))


def test_examples_from_the_documents_judged_leave_the_document_out(tmp_path):
    task = write_task(tmp_path, rows(60), shots=2, fewshot_split="test", **CHOICE)

    whole = prompts(evaluate(task))

    assert prompts(evaluate(task.model_copy(update={"limit": 9}))).items() <= whole.items()
    for number, prompt in whole.items():
        *examples, question = prompt.split("\n\n")
        assert question == f"the order {number}"
        assert not any(example.startswith(f"{question} ") for example in examples)


def test_documents_of_the_same_text_get_the_same_examples(tmp_path):
    options = {"shots": 3, "splits": {"train": EXAMPLES}, "training_split": "train"}
    task = write_task(tmp_path, [rows(1)[0]] * 4, **options, **CHOICE)

    assert len(set(prompts(evaluate(task)).values())) == 1


def test_the_first_examples_are_those_of_lm_eval(tmp_path):
    options = {
        "shots": 3,
        "splits": {"train": EXAMPLES},
        "training_split": "train",
        "fewshot_config": {"sampler": "first_n"},
    }

    found = prompts(evaluate(write_task(tmp_path, rows(60), limit=52, **options, **CHOICE)))

    first = "example 0 a\n\nexample 1 bb\n\nexample 2 ccc\n\n"
    assert found == {number: f"{first}the order {number}" for number in found}


def test_documents_that_are_processed_are_those_asked(tmp_path):
    (tmp_path / "own.py").write_text("def some(rows):\n    return rows.select(range(0, 100, 2))\n")
    task = write_task(tmp_path, rows(100), limit=20, **CHOICE)
    with (tmp_path / "toy.yaml").open("a") as file:
        file.write("process_docs: !function own.some\n")

    evaluation = evaluate(task)

    assert evaluation.available == 50
    assert prompts(evaluation) == {
        number: f"the order {2 * number}" for number in prompts(evaluation)
    }


def test_a_field_says_the_cluster_and_another_the_slice(tmp_path):
    documents = rows(
        60, passage=lambda number: number // 4, about=lambda number: {"language": "de"}
    )

    evaluation = evaluate(
        write_task(tmp_path, documents, cluster="passage", slice="about.language", **CHOICE)
    )

    assert all(sample.cluster == str(sample.id // 4) for sample in evaluation.samples)
    assert {sample.slice for sample in evaluation.samples} == {"de"}


def test_without_a_field_there_is_no_cluster_and_no_slice(tmp_path):
    evaluation = evaluate(write_task(tmp_path, rows(3), **CHOICE))

    assert {(sample.cluster, sample.slice) for sample in evaluation.samples} == {(None, None)}


@pytest.mark.parametrize("key", ["cluster", "slice"])
def test_a_field_that_some_documents_lack_is_refused_with_those_they_have(tmp_path, key):
    documents = rows(9, passage=lambda number: None if number in (4, 6) else "one")

    with pytest.raises(ConfigError) as caught:
        evaluate(write_task(tmp_path, documents, limit=1, **{key: "passage"}, **CHOICE))

    assert caught.value.problem == (
        "task toy: 2 of 9 documents have no 'passage' (first: document 4)"
    )
    assert caught.value.hint == "document 4 has question, choices, answer"


def test_a_field_that_no_document_has_is_refused_with_those_nested():
    documents = [{"text": "a", "about": {"language": "de", "topic": None}}]

    with pytest.raises(ConfigError, match=r"1 of 1 documents have no 'about\.lang'") as caught:
        read_field("toy", documents, "about.lang")
    assert caught.value.hint == "document 0 has text, about.language"


def test_a_document_without_fields_says_so():
    with pytest.raises(ConfigError, match="have no 'passage'") as caught:
        read_field("toy", [{}], "passage")
    assert caught.value.hint == "document 0 has no fields"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("de", "de"),
        ("", ""),
        (3, "3"),
        (True, "true"),
        (0.5, "0.5"),
        (["a", "ü"], '["a", "ü"]'),
        (datetime.date(2026, 1, 2), '"2026-01-02"'),
    ],
)
def test_a_field_is_read_as_text(value, text):
    assert read_field("toy", [{"passage": value}], "passage") == (text,)


def test_a_name_with_a_dot_is_a_field_too():
    assert read_field("toy", [{"about.lang": "de", "about": {"lang": "fr"}}], "about.lang") == (
        "de",
    )


def test_a_metric_is_checked_before_anything_is_asked(tmp_path):
    task = write_task(
        tmp_path, rows(3), metric="f1", **CHOICES, metric_list=metric_list("f1", "median")
    )

    with pytest.raises(
        ConfigError, match="task toy aggregates f1 by median, which the gate does not know"
    ):
        evaluate(task, engine=None)
