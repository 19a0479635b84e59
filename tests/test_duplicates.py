"""Equal documents: found by what they are, counted once, told in the record."""

from gate.evaluation_records import Corpus, Document, Sample, Score
from gate.judging.duplicates import duplicate_warnings, find_duplicates, without_duplicates
from gate.lineage_records import Duplicates


def document(number, *, sha=None, prompt=None, target="red", choices=("red", "blue")):
    return Document(
        id=number,
        hash=sha or f"h{number}",
        prompt=f"question {number}" if prompt is None else prompt,
        target=target,
        choices=choices,
    )


def groups(*documents):
    found = find_duplicates([Corpus(task="colors", documents=documents)])
    return found[0].groups if found else ()


def score(variant, ids):
    samples = (
        Sample(id=i, hash=f"h{i}", value=1.0, answer="red", request_hash=f"r{i}") for i in ids
    )
    return Score(
        variant=variant,
        task="colors",
        metric="acc",
        higher_is_better=True,
        is_binary=True,
        samples=tuple(samples),
    )


def test_documents_of_one_hash_are_the_same():
    assert groups(document(0, sha="a"), document(1), document(2, sha="a")) == ((0, 2),)


def test_documents_with_equal_prompt_choices_and_target_are_the_same():
    assert groups(document(4), document(7, prompt="question 4")) == ((4, 7),)


def test_equal_prompts_with_another_target_are_two_documents():
    assert groups(document(4), document(7, prompt="question 4", target="blue")) == ()


def test_equal_prompts_with_other_choices_are_two_documents():
    assert groups(document(4), document(7, prompt="question 4", choices=("red", "green"))) == ()


def test_a_document_that_shares_its_hash_with_one_and_its_prompt_with_another_joins_both():
    first, second = document(0, prompt="p"), document(1, sha="b")
    third = document(2, sha="b", prompt="p")
    assert groups(third, second, first) == ((0, 1, 2),)


def test_prompts_that_differ_in_their_examples_are_told_by_the_hash():
    one = document(0, sha="a", prompt="an example\n\nquestion")
    other = document(1, sha="a", prompt="another example\n\nquestion")
    assert groups(one, other) == ((0, 1),)


def test_texts_without_a_prompt_are_told_by_the_hash_alone():
    assert groups(document(0, prompt="", choices=()), document(1, prompt="", choices=())) == ()


def test_the_first_asked_of_equal_documents_counts():
    corpus = Corpus(task="colors", documents=tuple(document(i, sha="a") for i in range(3)))
    asked = score("base", range(3))
    samples = tuple(
        one.model_copy(update={"place": place})
        for one, place in zip(asked.samples, (7, 2, 5), strict=True)
    )
    found = find_duplicates([corpus], [asked.model_copy(update={"samples": samples})])
    assert found[0].groups == ((1, 2, 0),)


def test_a_task_without_equal_documents_is_not_named():
    assert find_duplicates([Corpus(task="colors", documents=(document(0), document(1)))]) == ()


def test_one_of_equal_documents_is_left_in_every_score():
    duplicates = [Duplicates(task="colors", groups=((0, 2), (1, 3, 4)))]
    scores = {
        ("base", "colors"): score("base", range(6)),
        ("merged", "colors"): score("merged", range(5)),
    }
    left = without_duplicates(scores, duplicates)
    assert [one.id for one in left["base", "colors"].samples] == [0, 1, 5]
    assert [one.id for one in left["merged", "colors"].samples] == [0, 1]


def test_scores_of_other_tasks_are_left_alone():
    scores = {("base", "colors"): score("base", range(3))}
    assert without_duplicates(scores, [Duplicates(task="facts", groups=((0, 1),))]) == scores


def test_the_warning_tells_how_many_and_the_first():
    duplicates = [
        Duplicates(task="colors", groups=((0, 7, 9), (3, 4), (5, 11))),
        Duplicates(task="facts", groups=((2, 6),)),
    ]
    assert list(duplicate_warnings(duplicates)) == [
        "colors: 4 documents repeat another and do not count "
        "(first: 4 is 3 again, 7 is 0 again, 9 is 0 again)",
        "facts: 1 document repeats another and does not count (first: 6 is 2 again)",
    ]
