"""Quality kept, ratios and the efficient front, from records made by hand."""

import pytest
from records_builder import build_record
from serving_builder import build_run, build_serving, build_servings

from gate.reporting.serving_views import (
    Kept,
    Point,
    efficient_front,
    kept_share,
    points,
    serving_table,
)
from gate.terms import Adapter, Task, Use, Variant


@pytest.fixture(scope="module")
def record():
    return build_record().model_copy(update={"serving": build_servings()})


def variant_of(record, name):
    return next(one for one in record.variants if one.name == name)


def cells(record, name):
    table = serving_table(record)
    row = next(row for row in table.rows if row.variant.name == name)
    return {column.title: cell for column, cell in zip(table.columns, row.cells, strict=True)}


def point(name, share, size_bytes, verdict=None, decode=None):
    return Point(name, Kept(share, "task"), size_bytes, decode, verdict)


def front(*found, better="smaller"):
    efficient = efficient_front(found, lambda one: one.size_bytes, better=better)
    return [one.variant for one in efficient]


def rescored(record, variant, task, value, **changes):
    scores = []
    for score in record.scores:
        if score.task == task:
            if score.variant == variant:
                samples = tuple(s.model_copy(update={"value": value}) for s in score.samples)
                score = score.model_copy(update={"samples": samples})
            score = score.model_copy(update=changes)
        scores.append(score)
    return record.model_copy(update={"scores": tuple(scores)})


def test_what_is_kept_is_that_of_the_task_that_lost_most(record):
    kept = kept_share(record, variant_of(record, "q4_k_m"))
    scores = {(s.variant, s.task): s.mean for s in record.scores}
    expected = scores["q4_k_m", "desk_intent"] / scores["adapter", "desk_intent"]
    assert kept == Kept(expected, "desk_intent")
    assert kept_share(record, variant_of(record, "adapter")).share == 1.0


def test_where_lower_is_better_half_as_much_is_twice_as_good(record):
    halved = rescored(record, "adapter", "desk_reply", 4.0)
    halved = rescored(halved, "q8_0", "desk_reply", 5.0, higher_is_better=False)
    assert kept_share(halved, variant_of(halved, "q8_0")) == Kept(0.8, "desk_reply")


def test_a_task_without_a_score_leaves_unknown_what_is_kept(record):
    assert kept_share(record, variant_of(record, "w8a8")) is None


def test_a_task_on_which_the_adapter_scores_nothing_has_nothing_to_keep(record):
    empty = rescored(record, "adapter", "desk_intent", 0.0)
    assert kept_share(empty, variant_of(empty, "q4_k_m")).task != "desk_intent"


def test_a_task_of_one_adapter_is_held_against_that_adapter_alone(record):
    alone = Variant(name="only", adapters=("other",), backend=Use(name="hf"))
    scores = tuple(
        s.model_copy(update={"variant": "only"}) for s in record.scores if s.variant == "q4_k_m"
    )
    tasks = tuple(
        Task(name=t.name, metric=t.metric, reference="adapter:other") for t in record.tasks
    )
    several = record.model_copy(
        update={
            "variants": (*record.variants, alone),
            "tasks": tasks,
            "scores": (*record.scores, *scores),
            "candidate": record.candidate.model_copy(
                update={"adapters": (*record.candidate.adapters, Adapter(name="other", source=""))}
            ),
        }
    )
    assert kept_share(several, variant_of(several, "q4_k_m")).share == 1.0


def test_the_base_alone_and_what_was_not_measured_are_no_points(record):
    assert [one.variant for one in points(record)] == [
        "adapter",
        "merged",
        "merged-llamacpp",
        "q8_0",
        "q4_k_m",
    ]


def test_the_front_holds_what_no_other_beats_in_both():
    found = (
        point("large", 1.0, 300),
        point("worse and larger", 0.97, 310),
        point("small", 0.98, 150),
        point("worse than small", 0.96, 160),
        point("smallest", 0.9, 100),
    )
    assert front(*found) == ["smallest", "small", "large"]


def test_on_a_front_of_what_is_better_larger_the_largest_comes_first():
    assert front(point("slow", 1.0, 10), point("fast", 0.9, 40), better="larger") == [
        "fast",
        "slow",
    ]


def test_of_two_that_keep_the_same_only_the_cheaper_is_on_the_front():
    assert front(point("dear", 1.0, 300), point("cheap", 1.0, 299)) == ["cheap"]


@pytest.mark.parametrize("verdict", ["block", "error"])
def test_what_was_blocked_beats_nothing(verdict):
    assert front(point("broken", 1.0, 1, verdict), point("whole", 0.9, 300, "promote")) == ["whole"]


def test_what_has_no_figure_is_not_on_the_front():
    assert front(point("unknown", 1.0, None), point("known", 0.9, 300)) == ["known"]


def test_figures_are_medians_with_the_smallest_and_the_largest(record):
    found = cells(record, "q8_0")
    assert found["Decode tokens/s: 8 at once"][:2] == ("91.0", "88.3 to 92.8")
    assert found["Seconds: load"][:2] == ("0.400", "0.392 to 0.412")
    assert found["Size: on disk"][:2] == ("148 MB", "8.61 bits/weight")
    assert found["Memory: peak"][:2] == ("560 MB", "555 to 565 MB")
    assert found["Worst task: kept"].remark == "arc_easy"
    assert found["Decode tokens/s: 8 at once"].exact == 91.0


def test_ratios_are_to_the_adapter(record):
    assert cells(record, "adapter")["To adapter: decode"].value == "1.00"
    assert cells(record, "q8_0")["To adapter: decode"].value == "3.79"
    assert cells(record, "q8_0")["To adapter: size"].value == "0.535"


def test_memory_of_a_gpu_is_named_as_such(record):
    runs = [build_run(number, cuda=2_000_000_000) for number in (1, 2)]
    on_gpu = record.model_copy(update={"serving": (build_serving("q8_0", *runs),)})
    assert cells(on_gpu, "q8_0")["Memory: peak"].value == "2 GB of GPU"


def test_machines_are_all_named(record):
    other = record.serving[0].model_copy(update={"machine": "another machine"})
    table = serving_table(record.model_copy(update={"serving": (other, *record.serving[1:])}))
    assert "another machine and Intel" in table.settings


def test_no_figures_make_no_table():
    assert serving_table(build_record()) is None


def test_what_is_kept_of_a_metric_of_the_corpus_is_kept_of_the_metric():
    record = build_record()
    scores = []
    for score in record.scores:
        lost = {"adapter": 10.0, "q8_0": 11.0}.get(score.variant, 20.0)
        samples = tuple(s.model_copy(update={"statistics": (-lost, 10.0)}) for s in score.samples)
        scores.append(
            score.model_copy(
                update={
                    "aggregate": "word_perplexity",
                    "higher_is_better": False,
                    "is_binary": False,
                    "samples": samples,
                }
            )
        )
    changed = record.model_copy(update={"scores": tuple(scores)})
    kept = kept_share(changed, variant_of(changed, "q8_0"))
    assert kept.share == pytest.approx(2.718281828**-0.1)
