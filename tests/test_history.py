"""Releases over time: which records are found, what is told of them, what cannot be compared."""

import json
import re

import pytest
from records_builder import HOSTILE, build_record
from release_folders import RECORD, keep

from gate.errors import RecordError
from gate.history.page import address, render
from gate.history.releases import collect
from gate.history.runs import differences
from gate.history.scores import KeptScore, summarize
from gate.history.trends import MOST_RUNS, run_names, sizes, trends
from gate.policy import policy_of
from gate.presentation import score_text
from gate.stats.proportions import clopper_pearson
from gate.terms import Adapter


def releases(history):
    return [run.release for run in history.runs]


def kept(score):
    return KeptScore.model_validate_json(score.model_dump_json())


def score_of(values, **fields):
    samples = [
        {"hash": str(number), "value": value, **more} for number, (value, more) in enumerate(values)
    ]
    given = {"variant": "v", "task": "t", "metric": "acc", "is_binary": False, "samples": samples}
    return summarize(KeptScore.model_validate(given | fields), None)


def trend_of(reports, task="arc_easy"):
    return next(one for one in trends(collect(reports).runs) if one.task == task)


def without_texts(record):
    """The record, its first task asked of one document less."""
    fewer = (
        score.model_copy(update={"samples": score.samples[:-1]})
        if score.task == "arc_easy"
        else score
        for score in record.scores
    )
    return record.model_copy(update={"scores": tuple(fewer)})


def test_records_are_found_in_a_run_and_in_a_release_the_oldest_first(tmp_path):
    keep(tmp_path, "v1/20261120T100000Z", days=1, release="first")
    keep(tmp_path, "example-demo", days=3, release="third")
    keep(tmp_path, "v1/20261121T100000Z", days=2, release="second")
    assert releases(collect(tmp_path)) == ["first", "second", "third"]


def test_runs_of_one_second_come_in_the_order_of_their_numbers(tmp_path):
    for name in ("20261120T100000Z-10", "20261120T100000Z-2", "20261120T100000Z"):
        keep(tmp_path, f"v1/{name}", release=name)
    assert releases(collect(tmp_path)) == [
        "20261120T100000Z",
        "20261120T100000Z-2",
        "20261120T100000Z-10",
    ]


def test_a_run_that_is_being_written_is_not_seen(tmp_path):
    keep(tmp_path, "v1/20261120T100000Z", release="whole")
    keep(tmp_path, "v1/.20261121T100000Z", release="half")
    keep(tmp_path, ".v2/20261121T100000Z", release="hidden")
    assert releases(collect(tmp_path)) == ["whole"]


def test_a_folder_without_records_is_refused(tmp_path):
    (tmp_path / "v1" / "empty").mkdir(parents=True)
    with pytest.raises(RecordError) as caught:
        collect(tmp_path)
    assert caught.value.problem == (
        f"{tmp_path}: there is no record.json in <release>/<run>/ or <release>/"
    )
    assert caught.value.hint == "gate run writes them; name the folder that its --reports names"


def test_a_folder_that_is_absent_is_refused(tmp_path):
    with pytest.raises(RecordError) as caught:
        collect(tmp_path / "nowhere")
    assert caught.value.problem == f"cannot read {tmp_path}/nowhere: No such file or directory"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"schema_version": 9}', "is a record of schema version 9, and this gate reads version 1"),
        ('{"schema_version": 1, "release": "v', "is cut off: its 35 bytes end at"),
        ("", "is empty"),
        ("[]", "is not a record: Input should be"),
        ('{"schema_version": 1}', "is not a record: release: Field required"),
    ],
)
def test_a_record_that_cannot_be_read_is_told_with_the_reason(tmp_path, content, reason):
    keep(tmp_path, "v1/run", release="readable")
    (tmp_path / "v2").mkdir()
    (tmp_path / "v2" / "record.json").write_text(content)
    history = collect(tmp_path)
    assert releases(history) == ["readable"]
    assert history.unreadable[0].place == ("v2", "record.json")
    assert history.unreadable[0].reason.startswith(reason)
    assert "<code>v2/record.json</code> is" in render(history)


def test_a_folder_with_none_but_unreadable_records_still_gives_a_page(tmp_path):
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "record.json").write_text("{")
    page = render(collect(tmp_path))
    assert "<h1>No record could be read</h1>" in page
    assert "<code>v1/record.json</code>" in page


def test_a_score_has_the_value_that_the_report_shows_and_clopper_and_pearsons_interval():
    score = next(one for one in RECORD.scores if one.is_binary)
    found = summarize(kept(score), None)
    right = sum(sample.value for sample in score.samples)
    assert found.value == score.mean
    assert found.interval == clopper_pearson(right, len(score.samples), confidence=0.95)


def test_a_mean_has_students_interval():
    found = score_of([(0.0, {}), (1.0, {}), (2.0, {})])
    reach = 2.9199855803537 / 3**0.5  # t of 2 degrees of freedom at 0.95, standard deviation 1
    assert found.interval == pytest.approx((1 - reach, 1 + reach))


def test_clusters_widen_the_interval_of_a_share():
    apart = [(float(number < 6), {}) for number in range(12)]
    together = [(value, {"cluster": str(at // 3)}) for at, (value, _) in enumerate(apart)]
    wide = score_of(together, is_binary=True).interval
    narrow = score_of(apart, is_binary=True).interval
    assert wide.low < narrow.low
    assert narrow.high < wide.high


def test_a_perplexity_has_an_interval_around_it():
    values = [(0.0, {"statistics": (-nats, 10.0)}) for nats in (20.0, 25.0, 30.0)]
    found = score_of(values, aggregate="word_perplexity")
    assert found.value == pytest.approx(12.1824939607)  # exp(75 / 30)
    assert found.interval.low < found.value < found.interval.high


@pytest.mark.parametrize("count", [1, 5])
def test_scores_that_all_are_the_same_have_no_interval(count):
    assert score_of([(0.5, {})] * count).interval is None


@pytest.mark.parametrize(
    ("values", "aggregate"),
    [([], "mean"), ([(0.0, {})], "bleu"), ([(0.0, {})] * 2, "nothing of this name")],
)
def test_what_is_no_number_is_no_score(values, aggregate):
    assert score_of(values, aggregate=aggregate) is None


def test_only_shipped_variants_and_the_adapter_are_followed(tmp_path):
    keep(tmp_path, "v1")
    (run,) = collect(tmp_path).runs
    assert {one.variant for one in run.scores} == {"adapter", "q8_0"}
    assert {one.variant for one in run.changes} == {"q8_0"}


def test_another_suite_policy_and_other_documents_are_told(tmp_path):
    keep(tmp_path, "v1", policy=policy_of(()))
    checks = tuple(result.check for result in RECORD.results[:1])
    keep(
        tmp_path, "v2", without_texts(RECORD), days=1, policy=policy_of(checks), suite_digest="new"
    )
    found = differences(*reversed(collect(tmp_path).runs))
    assert found[1:] == (True, True, ("arc_easy",))
    page = render(collect(tmp_path))
    assert page.count('<span class="other">changed</span>') == 2
    assert '<span class="other">other questions</span> arc_easy' in page


def test_a_policy_that_was_not_recorded_is_not_called_another(tmp_path):
    keep(tmp_path, "v1", policy=None)
    keep(tmp_path, "v2", days=1, policy=policy_of(()))
    assert differences(*reversed(collect(tmp_path).runs)).policy is None
    assert "policy not recorded" in render(collect(tmp_path))


def test_a_line_goes_on_over_the_same_documents_and_breaks_where_they_are_others(tmp_path):
    keep(tmp_path, "v1")
    keep(tmp_path, "v2", days=1)
    keep(tmp_path, "v3", without_texts(RECORD), days=2)
    trend = trend_of(tmp_path)
    assert [point.is_joined for point in trend.lines[0].points] == [False, True, False]
    assert trend.breaks == {2: "other documents"}
    assert trend_of(tmp_path, "desk_intent").breaks == {}


def test_a_line_breaks_where_the_same_documents_were_asked_otherwise(tmp_path):
    keep(tmp_path, "v1")
    asked = tuple(task.model_copy(update={"num_fewshot": 5}) for task in RECORD.tasks)
    keep(tmp_path, "v2", days=1, tasks=asked)
    assert trend_of(tmp_path).breaks == {1: "asked otherwise"}


def test_a_score_by_another_metric_is_not_drawn_with_the_others(tmp_path):
    other = tuple(score.model_copy(update={"metric": "acc"}) for score in RECORD.scores)
    keep(tmp_path, "v1", scores=other)
    keep(tmp_path, "v2", days=1)
    trend = trend_of(tmp_path)
    assert [point.run for point in trend.lines[0].points] == [1]
    assert trend.breaks == {1: "was acc"}


def test_a_variant_that_was_not_shipped_in_between_has_a_gap(tmp_path):
    for day, ship in enumerate((("q8_0",), (), ("q8_0",))):
        keep(tmp_path, f"v{day}", days=day, ship=ship)
    adapter, shipped = trend_of(tmp_path).lines
    assert (adapter.variant, shipped.variant) == ("adapter", "q8_0")
    assert [(point.run, point.is_joined) for point in shipped.points] == [(0, False), (2, False)]


def test_a_point_says_what_the_report_says(tmp_path):
    keep(tmp_path, "v1")
    adapter = next(
        one for one in RECORD.scores if (one.variant, one.task) == ("adapter", "arc_easy")
    )
    (point,) = trend_of(tmp_path).lines[0].points
    assert point.text == score_text(adapter)
    assert point.documents == "12 documents"
    assert point.value == pytest.approx(100 * adapter.mean)


def test_a_change_has_its_interval_and_the_margin_of_its_run(tmp_path):
    keep(tmp_path, "v1")
    (changes,) = trend_of(tmp_path).changes
    (judged,) = changes.judged
    result = next(one for one in RECORD.results if (one.variant, one.task) == ("q8_0", "arc_easy"))
    assert changes.title == "q8_0 against merged-llamacpp"
    assert (changes.unit, judged.at_least, judged.at_most) == ("points", -2.5, None)
    assert judged.bound == "delta at least -2.5 points"
    assert judged.point.low == pytest.approx(100 * result.estimate.low)
    assert judged.outcome == result.outcome


def test_a_change_that_was_not_measured_is_no_zero(tmp_path):
    keep(tmp_path, "v1", build_record(documents=12))
    changes = {one.title: one for one in trend_of(tmp_path, "desk_reply").changes}
    (judged,) = changes["w8a8 against merged"].judged
    assert judged.point is None
    assert judged.outcome == "error"
    assert "triangle at the foot was not measured" in render(collect(tmp_path))


def test_products_have_trends_of_their_own(tmp_path):
    others = RECORD.candidate.model_copy(update={"adapters": (Adapter(name="x", source="x"),)})
    keep(tmp_path, "v1", release="ours")
    keep(tmp_path, "w1", days=1, release="theirs", candidate=others)
    page = render(collect(tmp_path))
    assert re.findall(r"<h2>(.*): Trends</h2>", page) == ["x", "intents"]
    assert '<span class="other">' not in page


def test_sizes_have_one_unit_and_none_where_none_is_known(tmp_path):
    keep(tmp_path, "v1")
    found = sizes(collect(tmp_path).runs)
    assert (found.unit, [line.variant for line in found.lines]) == ("MB", ["q8_0"])
    assert found.lines[0].points[0].text == "148 MB"
    keep(tmp_path / "other", "v1", artifacts=())
    history = collect(tmp_path / "other")
    assert sizes(history.runs) is None
    assert "not measured" in render(history)


def test_trends_show_the_newest_runs_and_say_how_many_are_left_out(tmp_path):
    keep(tmp_path, "v1")
    (run,) = collect(tmp_path).runs
    trend = next(trends((run,) * (MOST_RUNS + 2)))
    assert len(trend.runs) == MOST_RUNS
    assert trend.left_out == "Left out for want of room: 2 older runs."


def test_no_two_runs_have_the_same_name(tmp_path):
    keep(tmp_path, "v1")
    (run,) = collect(tmp_path).runs
    named = (run._replace(release=name) for name in ("v1", "v1 (2)", "v1", "v" * 40, "v" * 41))
    assert run_names(tuple(named)) == (
        "v1",
        "v1 (2)",
        "v1 (3)",
        f"{'v' * 17}…",
        f"{'v' * 17}… (2)",
    )


def test_a_run_without_a_report_leads_to_its_record(tmp_path):
    keep(tmp_path, "v1/run", has_report=False)
    page = render(collect(tmp_path))
    assert 'no report.html, only <a href="./v1/run/record.json">' in page
    assert "report.html</a>" not in page


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("v1", "run", "report.html"), "./v1/run/report.html"),
        (("javascript:alert(1)",), "./javascript%3Aalert%281%29"),
        (("a b#c?d%", "e"), "./a%20b%23c%3Fd%25/e"),
        (('"><script>',), "./%22%3E%3Cscript%3E"),
        (("caf\udce9",), "./caf%E9"),
    ],
)
def test_an_address_leads_through_folders_whatever_their_names(names, expected):
    assert address(*names) == expected


def test_hostile_names_stay_text(tmp_path):
    record = build_record(documents=12, hostile=True)
    keep(tmp_path, "v1/<script>alert(1)<", record)
    (tmp_path / "<b>").mkdir()
    (tmp_path / "<b>" / "record.json").write_text(json.dumps({"schema_version": HOSTILE}))
    page = render(collect(tmp_path))
    assert "<script>alert" not in page
    assert "<b>/record" not in page
    assert "\x1b" not in page
    assert "\x00" not in page


def test_sign_offs_are_told_with_who_decided_what(tmp_path):
    signoff = {
        "name": "Ada Lovelace",
        "decision": "waive",
        "reason": "known",
        "check": "q8_0-vs-merged[arc_easy]:delta",
        "until": "2026-12-31",
        "signed_at": "2026-11-22T16:00:00Z",
        "record": "r",
        "digest": "d",
    }
    place = keep(tmp_path, "v1")
    record = json.loads((place / "record.json").read_text()) | {"signoff": [signoff]}
    (place / "record.json").write_text(json.dumps(record))
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", render(collect(tmp_path))))
    assert (
        "waived by Ada Lovelace, q8_0-vs-merged[arc_easy]:delta until 2026-12-31 "
        "2026-11-22 16:00 UTC" in page
    )
