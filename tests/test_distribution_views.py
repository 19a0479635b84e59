"""What reports say of distributions over texts."""

import pytest
from evidence_builder import build_distribution
from records_builder import build_record

from gate.distribution_records import Shortfall
from gate.reporting.distribution_views import distribution_rows


def row(**settings):
    found = build_distribution("q8_0", kl=0.001, **settings)
    return distribution_rows(build_record().model_copy(update={"distributions": (found,)}))[0]


def test_a_row_has_the_comparisons_own_intervals():
    from gate.comparisons import kl
    from gate.presentation import interval_text

    estimate = kl.compare(build_distribution("q8_0", kl=0.001), confidence=0.95)
    assert row().kl == interval_text(estimate)


def test_a_lower_bound_says_how_much_it_falls_short():
    assert row().compared == (
        "top 128 tokens and the rest: a lower bound, 4.0 % short of the full 0.00100 on "
        "256 sampled tokens"
    )
    assert row(top=None).compared == "full vocabulary"


def test_of_no_divergence_no_share_falls_short():
    found = build_distribution("q8_0", kl=0.001)
    none = found.model_copy(update={"shortfall": Shortfall(tokens=64, bound=0.0, full=0.0)})
    record = build_record().model_copy(update={"distributions": (none,)})
    assert distribution_rows(record)[0].compared == (
        "top 128 tokens and the rest: a lower bound; on 64 sampled tokens the full one is 0 too"
    )


def test_one_document_leaves_no_interval():
    found = row(documents=1)
    assert found.kl == found.same_top == found.ratio == "no interval over 1 document"


def test_percentiles_stand_in_their_order_from_least_to_most():
    assert [one.name for one in row().percentiles] == ["least", "median", "95 %", "99.9 %", "most"]
    assert row().percentiles[-1].delta_p == "31.00"


def test_blanks_in_a_token_can_be_seen():
    (place,) = row().worst
    assert place.token == "␣refunded"
    assert [(one.token, one.probability) for one in place.reference] == [
        ("␣refunded", "71.0 %"),
        ("␣with", "11.0 %"),
        ("⏎", "2.0 %"),
    ]
    assert [one.probability for one in place.candidate] == ["8.0 %", "64.0 %", "5.0 %"]


def test_the_texts_own_token_is_told_among_the_probable_ones():
    (place,) = row().worst
    assert [one.is_text for one in place.reference] == [True, False, False]


def test_a_context_that_fills_its_room_is_the_end_of_a_longer_one():
    (place,) = row().worst
    assert not place.is_cut
    assert row(extra="x" * 200).worst[0].is_cut


@pytest.mark.parametrize("blank", ["", "\t"])
def test_a_token_of_blanks_alone_is_never_empty(blank):
    found = build_distribution("q8_0", kl=0.001)
    worst = found.worst[0].model_copy(update={"token": blank})
    record = build_record().model_copy(
        update={"distributions": (found.model_copy(update={"worst": (worst,)}),)}
    )
    assert distribution_rows(record)[0].worst[0].token in ("(empty)", "⇥")


def test_a_record_without_texts_has_no_rows():
    assert distribution_rows(build_record()) == ()
