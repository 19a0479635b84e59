import random
from datetime import UTC, datetime, timedelta, timezone

import pytest

from gate.evaluation_records import Sample, Score
from gate.presentation import (
    amount,
    bound_text,
    count,
    duration,
    interval_text,
    moment,
    one_line,
    percent,
    precise,
    printable,
    quantity,
    rule_text,
    score_text,
    size,
    unit_label,
)
from gate.reporting.views import not_passed
from gate.result_records import CheckResult, Estimate
from gate.terms import Check, Use

SHARE = "share of documents"


def make_check(**bounds) -> Check:
    return Check(of="quantized", against="merged", compare=Use(name="delta"), **bounds)


def make_estimate(value: float, low: float, high: float, unit: str = SHARE) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=300, unit=unit, method="Tango score")


def make_score(values, *, is_binary=True, higher_is_better=True) -> Score:
    samples = tuple(
        Sample(id=number, hash="h", value=value, answer="a", request_hash="r")
        for number, value in enumerate(values)
    )
    return Score(
        variant="v",
        task="t",
        metric="acc",
        higher_is_better=higher_is_better,
        is_binary=is_binary,
        samples=samples,
    )


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.643, "64.3 %"),
        (1.0, "100.0 %"),
        (0.0, "0.0 %"),
        (0.9996, "99.96 %"),
        (0.99999, "99.999 %"),
        (0.0004, "0.04 %"),
        (0.00001, "0.001 %"),
    ],
)
def test_a_share_reads_as_all_or_nothing_only_if_it_is(share, shown):
    assert percent(share) == shown


@pytest.mark.parametrize(
    ("value", "bound", "shown"),
    [
        (-0.02004, -0.02, "-2.004 %"),
        (-0.01996, -0.02, "-1.996 %"),
        (-0.02, -0.02, "-2.00 %"),
        (-0.0200000001, -0.02, "-2.00000001 %"),
        (-0.0312, -0.02, "-3.12 %"),
        (0.1 + 0.2, 0.3, "30.000000000000004 %"),
        (-1e-9, 0.0, "-0.0000001 %"),
    ],
)
def test_a_number_is_never_rounded_across_its_bound(value, bound, shown):
    assert quantity(value, SHARE, apart_from=(bound,)) == shown


def test_the_dust_that_sums_of_floats_leave_reads_as_zero_without_a_sign():
    assert quantity(-1e-15, SHARE) == "0.00 %"


def test_other_units_stand_behind_three_significant_digits():
    assert quantity(0.0031249, "nats per token") == "0.00312 nats per token"
    assert quantity(12345.6, "tokens per second") == "12,346 tokens per second"
    assert amount(4.8512, "bits") == "4.85"


def test_an_interval_has_one_number_of_decimals_unless_the_bound_asks_for_more():
    check = make_check(at_least=-0.02)
    assert interval_text(make_estimate(-0.012, -0.0261, 0.001), check) == "-1.20 % (-2.61 to 0.10)"
    assert (
        interval_text(make_estimate(-0.012, -0.02004, 0.001), check) == "-1.20 % (-2.004 to 0.10)"
    )
    assert interval_text(make_estimate(0.003, 0.001, 0.0052, "nats"), check) == (
        "0.0030 (0.0010 to 0.0052)"
    )


def test_bounds_are_shown_unrounded():
    check = make_check(at_least=-0.0123456, at_most=0.02)
    assert bound_text(check, SHARE) == "at least -1.23456 % and at most 2 %"
    assert bound_text(check, "nats") == "at least -0.0123456 nats and at most 0.02 nats"


def test_a_rule_without_an_estimate_is_shown_as_it_was_written():
    check = make_check(at_least=-0.02)
    result = CheckResult(
        check=check, variant="q", reference="m", task="t", outcome="error", reason="no score"
    )
    assert rule_text(result) == "delta at least -0.02"


def test_units_of_shares_read_as_percent():
    assert unit_label("share of documents") == "% of documents"
    assert unit_label("nats per token") == "nats per token"


def test_a_score_tells_single_documents_apart():
    assert score_text(make_score([1, 0, 1])) == "66.7 %"
    assert score_text(make_score([1] * 9999 + [0])) == "99.99 %"
    assert score_text(make_score([1] * 1999 + [0])) == "99.95 %"
    assert score_text(make_score([0.5, 0.25], is_binary=False)) == "0.375"


def make_corpus_score(aggregate, statistics) -> Score:
    plain = make_score([0.0] * len(statistics), is_binary=False)
    samples = tuple(
        sample.model_copy(update={"statistics": numbers})
        for sample, numbers in zip(plain.samples, statistics, strict=True)
    )
    return plain.model_copy(update={"aggregate": aggregate, "samples": samples})


def test_a_score_of_the_whole_corpus_is_the_metric_and_no_mean():
    found = make_corpus_score("word_perplexity", [(-20.0, 10.0), (-5.0, 10.0)])
    assert score_text(found) == "3.49"  # exp(25 / 20)


def test_a_perplexity_beyond_a_float_is_infinite_and_one_without_statistics_was_not_measured():
    assert score_text(make_corpus_score("word_perplexity", [(-9e9, 1.0)])) == "infinite"
    assert score_text(make_corpus_score("word_perplexity", [()])) == "not measured"


def test_a_number_to_compute_with_has_six_digits_unless_the_bound_asks_for_more():
    assert precise(-0.0266501234) == "-0.0266501"
    assert precise(0.05) == "0.05"
    assert precise(-0.0200000001, apart_from=(-0.02,)) == "-0.0200000001"


def test_a_score_that_is_missing_or_empty_was_not_measured():
    assert score_text(None) == "not measured"
    assert score_text(make_score([])) == "not measured"


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (None, "not measured"),
        (0, "0 bytes"),
        (999, "999 bytes"),
        (999_600, "1 MB"),
        (271_000_000, "271 MB"),
        (4_960_000_000, "4.96 GB"),
        (15_000_000_000_000, "15 TB"),
    ],
)
def test_sizes_carry_their_unit(size_bytes, shown):
    assert size(size_bytes) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.042, "0.042 s"),
        (12.34, "12.3 s"),
        (59.96, "1 min 00 s"),
        (185, "3 min 05 s"),
        (8040, "2 h 14 min"),
    ],
)
def test_durations_carry_their_unit(seconds, shown):
    assert duration(seconds) == shown


def test_moments_are_in_utc():
    tokyo = timezone(timedelta(hours=9))
    assert moment(datetime(2026, 11, 23, 0, 4, tzinfo=tokyo)) == "2026-11-22 15:04 UTC"
    assert moment(datetime(2026, 11, 22, 15, 4, tzinfo=UTC)) == "2026-11-22 15:04 UTC"


def test_nouns_agree_with_their_number():
    assert [count(n, "check") for n in (0, 1, 1200)] == ["0 checks", "1 check", "1,200 checks"]


def test_what_a_terminal_would_obey_is_shown_as_a_replacement_character():
    assert printable("a\x1b[2Jb\x00c\ud800d\u202ee\r\nf\tg") == (
        "a\ufffd[2Jb\ufffdc\ufffdd\ufffde\nf\tg"
    )


def test_a_line_is_cut_with_an_ellipsis():
    assert one_line("one\n two  three", 9) == "one two …"


def test_what_blocks_is_listed_before_what_only_warns():
    from records_builder import build_record

    found = not_passed(build_record())
    assert [result.outcome for result in found] == ["fail"] * 2 + ["error"] + ["inconclusive"] * 4
    assert [result.check.level for result in found] == ["block"] * 6 + ["warn"]


def test_a_mean_score_that_is_not_perfect_does_not_read_as_perfect():
    assert score_text(make_score([1.0] * 9999 + [0.9], is_binary=False)) == "0.99999"
    assert score_text(make_score([1.0, 1.0], is_binary=False)) == "1.00"


def test_sizes_and_times_at_the_edges_of_their_units_have_no_exponent():
    rng = random.Random(5)
    for _ in range(2000):
        assert "e" not in size(int(10 ** rng.uniform(0, 18))).removesuffix("bytes")
        assert "e" not in duration(10 ** rng.uniform(-7, 6))
    assert size(2_500_000_000_000_000) == "2,500 TB"
    assert duration(0.00002) == "0.000020 s"
