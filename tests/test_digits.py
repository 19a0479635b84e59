"""No number reads as one that it is not: drawn at every scale, near all that matters."""

import random
from decimal import Decimal

import pytest

from gate.presentation import (
    MISSING,
    amount,
    bits,
    evidence_text,
    p_value,
    percent,
    quantity,
)

SHARE = "share of documents"


def shown_number(text: str) -> Decimal:
    return Decimal(text.split(" ")[0].replace(",", ""))


def drawn_shares(seed: int):
    """Shares near everything that they must not be taken for, at every scale."""
    rng = random.Random(seed)
    for _ in range(2000):
        near = rng.choice((0.0, 1.0, 0.5, -0.02, 0.02))
        yield near, near + rng.choice((-1, 1)) * 10 ** rng.uniform(-11, -0.5)


def test_no_share_reads_as_nothing_or_all_or_as_its_bound_unless_it_is():
    for near, share in drawn_shares(1):
        for text in (
            percent(share, apart_from=(0.0, 1.0, near)),
            quantity(share, SHARE, apart_from=(near,)),
        ):
            shown = shown_number(text)
            for whole in (0.0, 1.0, near):
                wanted = Decimal(repr(share)).compare(Decimal(repr(whole)))
                assert shown.compare(Decimal(repr(whole)) * 100) == wanted, (share, whole, text)


def test_no_difference_reads_as_none_unless_it_is_and_none_as_a_bound_that_it_is_not():
    for near, change in drawn_shares(2):
        shown = shown_number(quantity(change, "share difference", apart_from=(near,)))
        assert (shown > 0) == (change > 0)
        assert (shown < 0) == (change < 0)
        assert (shown > Decimal(repr(near)) * 100) == (change > near)


def test_no_ratio_reads_as_one_unless_it_is():
    for _, distance in drawn_shares(3):
        ratio = abs(distance) + 0.5
        shown = shown_number(amount(ratio, "times as fast in decoding"))
        assert (shown > 1) == (ratio > 1)
        assert (shown < 1) == (ratio < 1)


def test_no_p_value_reads_as_none_or_certain_unless_it_is():
    rng = random.Random(4)
    for _ in range(2000):
        value = rng.choice((10 ** rng.uniform(-12, 0), 1 - 10 ** rng.uniform(-9, -1)))
        assert p_value(value) not in ("0", "1")
        assert p_value(value).startswith("<") == (value < 0.0001)
    assert (p_value(1.0), p_value(0.03906), p_value(1e-9)) == ("1", "0.0391", "< 0.0001")


@pytest.mark.parametrize(
    ("per_weight", "shown"),
    [(16.0, "16.0"), (16.004, "16.004"), (4.8512, "4.85"), (3.9996, "3.9996"), (None, MISSING)],
)
def test_bits_per_weight_are_whole_only_where_every_weight_has_so_many(per_weight, shown):
    assert bits(per_weight) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(20.0, "20"), (19.99999997, "19.99999997"), (29.062412, "29.0624"), (2.3e15, "2.3e+15")],
)
def test_an_e_value_short_of_what_it_takes_does_not_read_as_enough(value, shown):
    assert evidence_text(value, apart_from=(20.0,)) == shown
