"""What `gate plan` says of checks: a line for each task, in 100 columns, and what cannot pass."""

import pytest
from gates import GATE, SUITE, write_gate, write_task
from records_builder import build_record
from test_plan import ADAPTER, BASE

from gate.cli.check_text import describe_checks
from gate.configuring.config import load_config
from gate.planning.past_runs import PastRun
from gate.planning.plan import make_plan
from gate.planning.prospects import prospects, refusals
from gate.result_records import CheckResult, Estimate, Flips


def found_in(folder, suite=SUITE, runs=()):
    """The prospects of a gate with this suite, on the 300 documents of colors."""
    config = load_config(write_gate(folder, "base", "adapter", gate=GATE, suite=suite))
    plan = make_plan(config, BASE, {"support": ADAPTER})
    return prospects(config, plan, runs)


def text(folder, suite=SUITE, runs=()):
    return list(describe_checks(found_in(folder, suite, runs), runs))


def seen(folder):
    """A run in which 6 of 300 answers changed from merged to rtn."""
    (check,) = [one.check for one in found_in(folder) if one.check.variant == "rtn"]
    estimate = Estimate(
        value=0.0,
        low=-0.01,
        high=0.01,
        n=300,
        unit="share difference",
        method="Tango score interval",
        flips=Flips(gains=3, losses=3, mid_p=1.0),
    )
    result = CheckResult(
        check=check.check,
        variant="rtn",
        reference="merged",
        task="colors",
        outcome="pass",
        reason="",
        estimate=estimate,
    )
    record = build_record(documents=3).model_copy(update={"results": (result,)})
    return PastRun.model_validate_json(record.model_dump_json())


def test_checks_stand_under_what_they_compare_with_a_line_for_each_task(tmp_path):
    assert text(tmp_path, runs=[seen(tmp_path)]) == [
        "checks",
        "                                                      finds  90 % at  flips",
        "  adapter against base: delta at least 0.0",
        "    colors  300 documents                        5.3 points           10 % assumed",
        "  merged against adapter: delta at least -0.02 and at most 0.02",
        "    colors  can pass: 300 documents, 149 needed  2.8 points      271  1 % assumed",
        "  rtn against merged: delta at least -0.03",
        "    colors  can pass: 300 documents, 99 needed   2.8 points      191  2 % seen",
        "",
        "  finds: the smallest change told from none, 90 % of the time",
        "  90 % at: documents that prove a harmless change, or a gain like the one seen, 90 % of "
        "the time",
        "  assumed: answers that change are 1 % by merging, 4 % by quantizing, 10 % by training",
        "  seen: in earlier runs, the newest of support-bot-v3, 2026-11-22 15:04 UTC",
    ]


def test_a_check_that_cannot_pass_says_why_and_is_counted(tmp_path):
    suite = SUITE.replace("metric: acc,", "metric: acc, limit: 100,")
    lines = text(tmp_path, suite)
    assert lines[0] == "checks: 1 of 3 CANNOT PASS"
    at = lines.index("  merged against adapter: delta at least -0.02 and at most 0.02")
    assert lines[at + 1 : at + 3] == [
        "    colors: CANNOT PASS as a share: 100 documents,",
        "        and proving a margin of 0.02 takes 149 even when no answer changes",
    ]


def test_what_cannot_pass_is_a_sentence_for_each_check(tmp_path):
    suite = SUITE.replace("metric: acc,", "metric: acc, limit: 30,")
    suite = suite.replace(
        "noise_floor",
        "  - {of: merged, against: adapter, compare: flips, at_most: 0.08, level: warn}\n"
        "noise_floor",
    )
    assert list(refusals(found_in(tmp_path, suite))) == [
        "merged-vs-adapter[colors]:delta cannot pass as a share: 30 documents, and proving a "
        "margin of 0.02 takes 149 even when no answer changes",
        "rtn-vs-merged[colors]:delta cannot pass as a share: 30 documents, and proving a "
        "margin of 0.03 takes 99 even when no answer changes",
        "merged-vs-adapter[colors]:flips (warns only) cannot pass as a share: 30 documents, and "
        "proving at most 0.08 takes 36 even when no answer changes",
    ]


def test_a_sequential_check_is_held_to_the_evidence_it_needs(tmp_path):
    lines = text(tmp_path, SUITE + "sequential: true\n")
    assert any("can pass: 300 documents, 225 needed" in line for line in lines)


def test_a_clustered_task_of_a_sequential_suite_is_not_held_to_the_e_process(tmp_path):
    suite = SUITE.replace("metric: acc,", "metric: acc, cluster: answer,") + "sequential: true\n"
    assert any("149 needed" in line for line in text(tmp_path, suite))


def test_a_metric_that_is_no_share_waits_for_a_run(tmp_path):
    lines = text(tmp_path, SUITE.replace("metric: acc", "metric: f1"))
    row = next(line for line in lines if line.startswith("    colors"))
    assert row.split() == ["colors", "300", "documents", "not", "known"]


def test_documents_of_a_slice_are_counted_when_they_are_read(tmp_path):
    suite = SUITE.replace("metric: acc,", "metric: acc, slice: answer,").replace(
        "margin: 0.03}", "margin: 0.03, slice: '2'}"
    )
    lines = text(tmp_path, suite)
    at = lines.index("  rtn against merged on 2: delta at least -0.03")
    assert lines[at + 1].startswith("    colors  needs at least 99 documents to pass")


@pytest.mark.parametrize(
    "name", ["colors", "a_task_with_a_name_that_nobody_would_want_to_read_twice"]
)
def test_no_line_is_longer_than_a_terminal(tmp_path, name):
    write_task(tmp_path / "tasks", name)
    suite = SUITE.replace("colors", name)
    assert max(map(len, text(tmp_path, suite))) <= 100
