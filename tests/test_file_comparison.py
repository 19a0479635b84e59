"""Runs judged from their samples: the same outcome, interval and sentence as in a gate run."""

import pytest
from sample_builder import MOMENT, choice, write_run, write_samples, write_two_runs, written

from gate.errors import ConfigError, GateError
from gate.file_comparison import Question, compare_files, pair_files
from gate.sample_files import find_sample_files


def compared(reference, candidate, *, task=None, metric="acc", margin=0.02, **question):
    files = (find_sample_files(reference), find_sample_files(candidate))
    return compare_files(
        pair_files(*files, task=task), Question(metric=metric, margin=margin, **question)
    )


def refusal(*runs, **options):
    with pytest.raises(GateError) as caught:
        compared(*runs, **options)
    return caught.value


def write_two_generations(folder, before, after, *, metric="f1", **options):
    for name, values in (("ref", before), ("cand", after)):
        samples = [
            written(i, 0.0, filter_name="none", metrics=[metric]) | {metric: value}
            for i, value in enumerate(values)
        ]
        write_run(folder / name, samples, task="qa", **options)
    return folder / "ref", folder / "cand"


@pytest.mark.parametrize(
    ("table", "verdict", "reason"),
    [
        (
            (3, 5, 400),
            "promote",
            "loses at most 1.9 points (95 % one-sided), within the margin of 2 points; "
            "3 gains, 5 losses in 400 documents; 1 more loss would undo it",
        ),
        (
            (1, 60, 400),
            "block",
            "loses at least 11 points (95 % one-sided), beyond the margin of 2 points; "
            "1 gain, 60 losses in 400 documents",
        ),
        (
            (3, 5, 100),
            "inconclusive",
            "100 documents cannot prove a margin of 2 % even if none changes: that takes 149 "
            "(95 % one-sided); 3 gains, 5 losses in 100 documents",
        ),
    ],
)
def test_the_verdict_and_sentence_are_those_of_a_gate_run(tmp_path, table, verdict, reason):
    found = compared(*write_two_runs(tmp_path, *table))
    assert found.verdict == verdict
    assert found.tasks[0].result.reason == reason


def test_a_reference_that_guesses_proves_nothing(tmp_path):
    found = compared(*write_two_runs(tmp_path, 0, 0, 400, wrong=300))
    assert found.verdict == "inconclusive"
    assert found.tasks[0].result.reason.startswith(
        "reference is right on 100 of 400 documents, not significantly above chance (25 %)"
    )
    assert found.tasks[0].documents_needed is None


def test_a_generated_answer_is_not_right_by_chance(tmp_path):
    for name in ("ref", "cand"):
        values = [1.0] * 100 + [0.0] * 300
        write_run(tmp_path / name, [written(i, value) for i, value in enumerate(values)])
    found = compared(tmp_path / "ref", tmp_path / "cand", metric="exact_match")
    assert found.verdict == "promote"


def test_a_gain_beyond_the_margin_fails_where_both_sides_are_held(tmp_path):
    runs = write_two_runs(tmp_path, 60, 1, 400)
    assert compared(*runs).verdict == "promote"
    assert compared(*runs, is_two_sided=True).verdict == "block"


def test_more_confidence_asks_for_more(tmp_path):
    runs = write_two_runs(tmp_path, 3, 5, 400)
    assert compared(*runs, confidence=0.99).verdict == "inconclusive"


def test_the_documents_that_would_decide_are_told(tmp_path):
    (one,) = compared(*write_two_runs(tmp_path, 10, 12, 400)).tasks
    assert one.result.outcome == "inconclusive"
    assert 1_000 < one.documents_needed < 10_000


def test_below_the_floor_at_least_the_floor_is_needed(tmp_path):
    (one,) = compared(*write_two_runs(tmp_path, 0, 0, 140)).tasks
    assert one.documents_needed == 149


def test_a_decided_check_needs_no_more_documents(tmp_path):
    assert compared(*write_two_runs(tmp_path, 3, 5, 400)).tasks[0].documents_needed is None


def test_more_documents_do_not_help_beyond_the_margin(tmp_path):
    (one,) = compared(*write_two_runs(tmp_path, 2, 10, 200)).tasks
    assert "more documents are unlikely to help" in one.result.reason
    assert one.documents_needed is None


def test_a_continuous_metric_is_judged_by_its_mean(tmp_path):
    before = [(i % 10) / 10 for i in range(300)]
    after = [value - 0.3 for value in before]
    found = compared(*write_two_generations(tmp_path, before, after), metric="f1")
    assert found.verdict == "block"
    assert found.tasks[0].result.estimate.unit == "mean difference"
    assert found.tasks[0].result.estimate.flips is None
    assert found.tasks[0].reference_mean == pytest.approx(0.45)


def test_a_rise_is_a_loss_where_lower_is_better(tmp_path):
    before = [1 + (i % 10) / 10 for i in range(300)]
    runs = write_two_generations(
        tmp_path,
        before,
        [value + 0.3 + i % 3 / 100 for i, value in enumerate(before)],
        metric="ter",
        better={"ter": False},
    )
    found = compared(*runs, metric="ter", margin=0.1)
    assert found.verdict == "block"
    assert found.tasks[0].higher_is_better is False


def test_a_margin_may_be_large_on_another_scale_than_a_share(tmp_path):
    before = [float(i % 50) for i in range(300)]
    runs = write_two_generations(tmp_path, before, before, metric="chrf")
    assert compared(*runs, metric="chrf", margin=2.0).verdict == "promote"


# The direction of a metric


def without_results(runs):
    for run in runs:
        (results,) = run.glob("m/results_*")
        results.unlink()
    return runs


def test_a_direction_that_nothing_tells_has_to_be_given(tmp_path):
    values = [i % 7 / 7 for i in range(300)]
    runs = without_results(write_two_generations(tmp_path, values, values))
    error = refusal(*runs, metric="f1")
    assert error.problem == "qa: nothing says whether more f1 is better"
    assert error.hint == (
        "keep results_*.json beside the samples, or give --lower-is-better or --higher-is-better"
    )
    assert compared(*runs, metric="f1", higher_is_better=True).verdict == "promote"


def test_more_right_answers_are_always_better(tmp_path):
    assert compared(*without_results(write_two_runs(tmp_path, 3, 5, 400))).verdict == "promote"


def test_a_direction_against_the_results_is_refused(tmp_path):
    error = refusal(*write_two_runs(tmp_path, 0, 0, 300), higher_is_better=False)
    assert error.problem == "colors: its results say that higher acc is better"
    assert error.hint == "leave out --lower-is-better"


def test_results_that_contradict_each_other_are_refused(tmp_path):
    write_run(tmp_path / "ref", [choice(0, 1.0)])
    write_run(tmp_path / "cand", [choice(0, 1.0)], better={"acc": False})
    error = refusal(tmp_path / "ref", tmp_path / "cand")
    assert error.problem == "colors: the two results differ in whether more acc is better"


# Several tasks


def write_two_tasks(folder):
    for name, lost in (("ref", 0), ("cand", 30)):
        right = [choice(i, 1.0) for i in range(300)]
        fewer = [choice(i, float(i >= lost)) for i in range(300)]
        write_run(folder / name, right, task="colors", moment="2026-11-22T10-00-00")
        write_run(folder / name, fewer, task="shapes", moment=MOMENT)
    return folder / "ref", folder / "cand"


def test_every_task_is_judged_and_the_worst_is_the_verdict(tmp_path):
    found = compared(*write_two_tasks(tmp_path))
    assert [(one.task, one.result.outcome) for one in found.tasks] == [
        ("colors", "pass"),
        ("shapes", "fail"),
    ]
    assert found.verdict == "block"


def test_one_task_can_be_judged_alone(tmp_path):
    found = compared(*write_two_tasks(tmp_path), task="colors")
    assert [one.task for one in found.tasks] == ["colors"]
    assert found.verdict == "promote"


def test_a_task_that_one_run_lacks_is_an_error(tmp_path):
    reference, candidate = write_two_tasks(tmp_path)
    for file in candidate.glob("m/samples_shapes*"):
        file.unlink()
    error = refusal(reference, candidate)
    assert error.problem == "the candidate has no samples of shapes"
    assert error.hint == "judge one that both have with --task"


def test_an_unknown_task_gets_the_nearest(tmp_path):
    error = refusal(*write_two_tasks(tmp_path), task="colours")
    assert error.problem == "the reference has no samples of colours"
    assert error.hint == "did you mean colors?"


def test_files_of_two_tasks_are_not_compared(tmp_path):
    reference, candidate = write_two_tasks(tmp_path)
    (colors,), (shapes,) = reference.glob("m/*colors*.jsonl"), candidate.glob("m/*shapes*.jsonl")
    assert refusal(colors, shapes).problem == "the candidate has no samples of colors"


def test_files_of_any_name_are_compared(tmp_path):
    before, after = (
        write_samples(tmp_path / name, [choice(i, 1.0) for i in range(300)])
        for name in ("before.jsonl", "after.jsonl")
    )
    found = compared(before, after)
    assert (found.tasks[0].task, found.verdict) == ("samples", "promote")


# What cannot be asked


@pytest.mark.parametrize("margin", [0.0, -0.01, 1.0, float("nan")])
def test_a_margin_that_is_no_share_is_refused(margin):
    with pytest.raises(ConfigError) as caught:
        Question(metric="acc", margin=margin).check()
    assert caught.value.problem == (
        f"--margin {margin:g}: is above 0, and of a share of documents below 1"
    )
    assert caught.value.hint == "0.02 means 2 points"


def test_an_impossible_confidence_is_refused():
    with pytest.raises(ConfigError, match=r"--confidence 95: is above 0\.5 and below 1"):
        Question(metric="acc", margin=0.01, confidence=95).check()
