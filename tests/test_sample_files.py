"""lm-eval's sample files: which is found, what is read, what is refused and in which words."""

import json

import pytest
from sample_builder import choice, write_run, write_samples, written

from gate.errors import SourceError
from gate.sample_files import SampleFile, find_sample_files, read_samples


def read(file, *, task="colors", metric="acc", filter_name=None):
    (found,) = find_sample_files(file)
    return read_samples(found, task=task, metric=metric, filter_name=filter_name)


def refusal(file, **options):
    with pytest.raises(SourceError) as caught:
        read(file, **options)
    return caught.value


# Which file


def test_a_directory_gives_the_newest_file_of_each_task(tmp_path):
    for moment in ("2026-01-01T00-00-00", "2026-01-02T00-00-00.5", "2026-01-02T00-00-00"):
        write_run(tmp_path, [choice(0, 1.0)], moment=moment)
    write_run(tmp_path, [written(0, 1.0)], task="gsm8k_cot", moment="2025-12-31T00-00-00")
    colors, numbers = find_sample_files(tmp_path)
    assert (colors.task, colors.moment) == ("colors", "2026-01-02T00-00-00.5")
    assert (numbers.task, numbers.moment) == ("gsm8k_cot", "2025-12-31T00-00-00")


def test_a_file_of_another_name_is_of_no_known_task(tmp_path):
    file = write_samples(tmp_path / "before.jsonl", [choice(0, 1.0)])
    assert find_sample_files(file) == (SampleFile(file, None, ""),)


def test_a_directory_of_several_models_is_refused_and_they_are_named(tmp_path):
    write_run(tmp_path, [choice(0, 1.0)], model="one")
    write_run(tmp_path, [choice(0, 1.0)], model="two")
    with pytest.raises(SourceError) as caught:
        find_sample_files(tmp_path)
    told = f"{tmp_path}: samples of several runs: {tmp_path / 'one'}, {tmp_path / 'two'}"
    assert caught.value.problem == told
    assert caught.value.hint == "give one of these"


def test_a_directory_without_samples_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"no samples_\*\.jsonl in it") as caught:
        find_sample_files(tmp_path)
    assert caught.value.hint == "lm_eval --log_samples --output_path DIR writes them"


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SourceError, match="nowhere: no such file or directory"):
        find_sample_files(tmp_path / "nowhere")


# What is in it


def test_samples_are_read_in_the_order_of_the_file(tmp_path):
    run = write_run(tmp_path, [choice(7, 0.0), choice(2, 1.0)], num_fewshot=5)
    logged = read(run)
    assert [(one.id, one.value) for one in logged.samples] == [(7, 0.0), (2, 1.0)]
    assert logged.samples[0].choices == (" red", " green", " blue", " yes")
    assert (logged.filter, logged.higher_is_better, logged.num_fewshot) == ("none", True, 5)


def test_one_filter_of_several_is_read_when_it_is_named(tmp_path):
    strict = [written(i, 0.0) for i in range(3)]
    flexible = [written(i, 1.0, filter_name="flexible-extract") for i in range(3)]
    run = write_run(tmp_path, strict + flexible, task="gsm8k")
    options = {"task": "gsm8k", "metric": "exact_match"}
    logged = read(run, **options, filter_name="flexible-extract")
    assert [one.value for one in logged.samples] == [1.0, 1.0, 1.0]
    assert logged.samples[0].choices == ()
    error = refusal(run, **options)
    assert error.problem.endswith(".jsonl: has the filters strict-match, flexible-extract")
    assert error.hint == "name one with --filter"
    error = refusal(run, **options, filter_name="flexible")
    assert error.problem.endswith(".jsonl: no filter 'flexible'")
    assert error.hint == "did you mean flexible-extract?"


def test_choices_between_prompts_count_as_choices(tmp_path):
    arguments = {
        f"gen_args_{place}": {"arg_0": f"{who} was late because", "arg_1": " of the rain."}
        for place, who in enumerate(("Ann", "Bob"))
    }
    run = write_run(tmp_path, [choice(0, 1.0, arguments=arguments)])
    assert read(run).samples[0].choices == ("Ann was late because", "Bob was late because")


def test_the_second_question_of_mutual_information_is_no_choice(tmp_path):
    sample = choice(0, 1.0, acc_mutual_info=1.0)
    alone = {
        f"gen_args_{place + 4}": {"arg_0": "", "arg_1": one["arg_1"]}
        for place, one in enumerate(sample["arguments"].values())
    }
    run = write_run(tmp_path, [sample | {"arguments": sample["arguments"] | alone}])
    assert len(read(run).samples[0].choices) == 4


def test_results_of_another_moment_say_nothing(tmp_path):
    run = write_run(tmp_path, [choice(0, 1.0)])
    (results,) = run.glob("m/results_*")
    results.rename(results.with_name("results_2020-01-01T00-00-00.json"))
    assert read(run).higher_is_better is None


def test_results_that_cannot_be_read_say_nothing(tmp_path):
    run = write_run(tmp_path, [choice(0, 1.0)])
    (results,) = run.glob("m/results_*")
    results.write_text("[]")
    assert read(run).higher_is_better is None


# Older layouts


def old(sample):
    """As lm-eval 0.4.3 to 0.4.7 wrote it: neither filter nor metrics are named."""
    return {key: value for key, value in sample.items() if key not in ("filter", "metrics")}


def oldest(sample):
    """As lm-eval 0.4.1 wrote it: no hashes either, and the arguments as lists."""
    arguments = [list(one.values()) for one in sample["arguments"].values()]
    kept = {key: value for key, value in old(sample).items() if not key.endswith("_hash")}
    return kept | {"arguments": arguments}


@pytest.mark.parametrize("layout", [old, oldest])
def test_older_lines_say_the_same(tmp_path, layout):
    samples = [choice(i, 1.0) for i in range(2)]
    new = read(write_samples(tmp_path / "new.jsonl", samples))
    before = read(write_samples(tmp_path / "old.jsonl", map(layout, samples)))
    assert before.samples == new.samples
    assert before.filter is None


def test_the_oldest_file_is_one_list(tmp_path):
    file = tmp_path / "old.jsonl"
    file.write_text(json.dumps([oldest(choice(i, 1.0)) for i in range(2)], indent=2))
    assert [one.id for one in read(file).samples] == [0, 1]


def test_a_filter_cannot_be_chosen_where_none_is_named(tmp_path):
    file = write_samples(tmp_path / "old.jsonl", [old(written(0, 1.0))])
    error = refusal(file, metric="exact_match", filter_name="strict-match")
    assert error.problem == f"{file}: does not name its filters"
    assert error.hint == "lm-eval does since 0.4.8"


# What is refused


def test_a_line_that_was_cut_off_is_named(tmp_path):
    file = write_samples(tmp_path / "cut.jsonl", [choice(i, 1.0) for i in range(3)])
    file.write_text(file.read_text()[:-200])
    error = refusal(file)
    assert error.problem.startswith("cut.jsonl:3: is not whole JSON: ")
    assert error.hint == "was the file cut off while it was copied?"


def test_a_list_that_was_cut_off_is_named(tmp_path):
    file = tmp_path / "cut.jsonl"
    file.write_text("[\n{")
    assert refusal(file).problem.startswith("cut.jsonl: one list: is not whole JSON: ")


def test_an_empty_file_is_refused(tmp_path):
    file = write_samples(tmp_path / "empty.jsonl", [])
    assert refusal(file).problem == f"{file}: has no samples"


def test_a_file_that_is_no_text_is_refused(tmp_path):
    file = tmp_path / "weights.jsonl"
    file.write_bytes(b"\xff\xfe\x00")
    assert refusal(file).problem.startswith(f"{file}: cannot be read as text: ")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("[1]", ""),
        ('{"acc": 1.0}', ": it has no doc_id"),
        ('{"doc_id": 3, "acc": 1.0}', ": it has no doc"),
        ('{"doc_id": "3", "doc": {}, "arguments": [], "acc": 1}', ": its doc_id is no number"),
    ],
)
def test_a_line_of_something_else_is_refused(tmp_path, line, why):
    file = tmp_path / "other.jsonl"
    file.write_text(f"{line}\n")
    assert refusal(file).problem == f"other.jsonl:1: is no sample of lm-eval{why}"


def test_an_unknown_metric_gets_the_nearest(tmp_path):
    error = refusal(write_run(tmp_path, [choice(0, 1.0)]), metric="ac")
    assert error.problem.endswith(".jsonl:1: has no metric 'ac'")
    assert error.hint == "did you mean acc?"


def test_a_key_that_is_no_metric_is_not_taken_for_one(tmp_path):
    file = write_samples(tmp_path / "old.jsonl", [old(choice(0, 1.0))])
    error = refusal(file, metric="doc_id")
    assert error.problem == "old.jsonl:1: has no metric 'doc_id'"
    assert error.hint == "known: acc"


@pytest.mark.parametrize("value", [[-65.1, 17], [0, "[0.8 0.2]"], "1.0"])
def test_a_metric_of_a_whole_corpus_is_refused(tmp_path, value):
    run = write_run(tmp_path, [choice(0, value, metric="bits_per_byte")])
    error = refusal(run, metric="bits_per_byte")
    assert error.problem.endswith(".jsonl:1: bits_per_byte of one document is not a number")
    assert error.hint == (
        "it is made for a whole corpus: choose a metric that judges each document"
    )


def test_a_score_that_is_not_finite_is_refused(tmp_path):
    error = refusal(write_run(tmp_path, [choice(0, float("nan"))]))
    assert error.problem.endswith(".jsonl:1: acc is nan")
    assert error.hint == "what gave this score is broken"
