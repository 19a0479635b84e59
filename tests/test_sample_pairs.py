"""Samples of two runs, paired by document: what is the same, and what is told of what is not."""

import pytest
from sample_builder import choice, write_run, written

from gate.errors import SourceError
from gate.sample_files import find_sample_files, read_samples
from gate.sample_pairs import pair_samples


def logged(folder, samples, *, filter_name=None, **options):
    (file,) = find_sample_files(write_run(folder, samples, **options))
    metric = samples[0]["metrics"][0]
    return read_samples(file, task=file.task, metric=metric, filter_name=filter_name)


def pairs_of(tmp_path, before, after, *, num_fewshot=(0, 0), filters=(None, None)):
    arms = (
        logged(tmp_path / name, samples, num_fewshot=examples, filter_name=one)
        for name, samples, examples, one in zip(
            ("ref", "cand"), (before, after), num_fewshot, filters, strict=True
        )
    )
    return pair_samples("colors", *arms)


def refusal(tmp_path, before, after, **options):
    with pytest.raises(SourceError) as caught:
        pairs_of(tmp_path, before, after, **options)
    return caught.value


def test_documents_are_paired_by_what_they_are_and_not_by_number(tmp_path):
    before = [choice(i, float(i)) for i in range(4)]
    after = [choice(i, float(i), doc_id=3 - i) for i in reversed(range(4))]
    pairs = pairs_of(tmp_path, before, after)
    assert [one.value for one, _ in pairs] == [0.0, 1.0, 2.0, 3.0]
    assert all(one.value == other.value for one, other in pairs)


def test_a_document_that_a_task_has_twice_is_told_apart_by_number(tmp_path):
    before = [choice(i, float(i), question="the same") for i in (3, 77)]
    after = [choice(i, float(i), question="the same") for i in (77, 3)]
    assert [one.value for _, one in pairs_of(tmp_path, before, after)] == [3.0, 77.0]


def test_a_document_twice_that_cannot_be_told_apart_is_named(tmp_path):
    before = [choice(i, 1.0, question="the same") for i in (3, 77)]
    after = [choice(i, 1.0, question="the same") for i in (4, 78)]
    assert refusal(tmp_path, before, after).problem == (
        "colors: documents 3, 77 of the reference are the same text, and are 4, 78 in the "
        "candidate: they cannot be told apart"
    )


def test_a_file_with_two_runs_in_it_is_refused(tmp_path):
    samples = [choice(i, 1.0) for i in range(3)]
    error = refusal(tmp_path, samples, samples + samples[1:2])
    assert error.problem.endswith(".jsonl: document 1 of colors is there twice")
    assert error.hint == "was a run appended to an older file?"


def test_two_filters_without_names_are_refused_with_the_reason(tmp_path):
    samples = [written(0, 1.0), written(0, 0.0)]
    for one in samples:
        del one["filter"]
    error = refusal(tmp_path, samples, samples)
    assert error.hint == "before 0.4.8 lm-eval did not name the filters of a task that has several"


def test_other_documents_are_counted_and_the_first_is_named(tmp_path):
    before, after = ([choice(i, 1.0) for i in numbers] for numbers in (range(10), range(3, 12)))
    error = refusal(tmp_path, before, after)
    assert error.problem == (
        "colors: the two runs are not of the same documents: 3 are only in the reference and 2 "
        "only in the candidate (first: document 0 of the reference)"
    )
    assert error.hint == (
        "run both on the same version of the task, with the same --limit or --samples"
    )


def test_documents_that_only_the_candidate_has_are_named_too(tmp_path):
    before, after = ([choice(i, 1.0) for i in range(n)] for n in (3, 5))
    assert "(first: document 3 of the candidate)" in refusal(tmp_path, before, after).problem


def test_other_prompts_are_counted_and_the_first_is_named(tmp_path):
    before = [choice(i, 1.0) for i in range(5)]
    after = [choice(i, 1.0, prompt="" if i < 2 else "an example\n\n") for i in range(5)]
    error = refusal(tmp_path, before, after)
    assert error.problem == (
        "colors: the prompts differ in 3 of 5 documents (first: document 2 of the reference)"
    )
    assert error.hint == "few-shot examples, chat template and system prompt must be the same"


def test_another_number_of_examples_is_told(tmp_path):
    before = [choice(0, 1.0)]
    after = [choice(0, 1.0, prompt="an example\n\n")]
    error = refusal(tmp_path, before, after, num_fewshot=(0, 1))
    assert error.hint == "few-shot examples: 0 in the reference, 1 in the candidate"


def test_other_settings_of_generation_are_told(tmp_path):
    before, after = ([written(i, 1.0, most_tokens=n) for i in range(2)] for n in (256, 16))
    error = refusal(tmp_path, before, after)
    assert error.problem == (
        "colors: what was asked differs in 2 of 2 documents (first: document 0 of the reference)"
    )
    assert error.hint == "the answers offered, or the settings of generation, must be the same"


def test_arguments_that_one_file_leaves_out_are_not_compared(tmp_path):
    before, after = [choice(0, 1.0)], [choice(0, 0.0)]
    del after[0]["arguments"]
    assert len(pairs_of(tmp_path, before, after)) == 1


def test_other_filters_are_refused(tmp_path):
    before = [written(0, 1.0)]
    after = [written(0, 1.0, filter_name="flexible-extract")]
    error = refusal(tmp_path, before, after)
    assert error.problem == (
        "colors: the filter of the reference is strict-match, that of the candidate "
        "flexible-extract"
    )
    assert error.hint == "name one that both have with --filter"
