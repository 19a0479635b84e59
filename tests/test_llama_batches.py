"""How rows become batches of llama.cpp: what they begin with once, each reading its own logits."""

import pytest

from gate.engines.interface import ScoreRow
from gate.engines.llama_batches import AT_ONCE, Line, gather, lay_out, opening_of


def row(context, continuation):
    return ScoreRow((*context, *continuation[:-1]), (tuple(continuation),))


def held(layout, sequence):
    """What a sequence holds, as {position: id}."""
    return {one.position: one.id for one in layout.tokens if sequence in one.sequences}


LINES = [Line((1, 2, 3, 4), 2), Line((1, 2, 3, 5, 6), 2), Line((1, 2, 9), 2), Line((7,), 0)]


@pytest.mark.parametrize("shares", [True, False])
def test_every_sequence_holds_its_line_and_reads_its_own_logits(shares):
    layout = lay_out(LINES, shares=shares)

    read = [token for token in layout.tokens if token.is_read]
    for sequence, line in enumerate(LINES):
        assert held(layout, sequence) == dict(enumerate(line.ids))
        given = [read[index] for index in layout.reads[sequence]]
        assert [token.position for token in given] == list(range(line.first, len(line.ids)))
        assert all(sequence in token.sequences for token in given)


def test_what_lines_begin_with_is_run_and_read_once():
    layout = lay_out(LINES)

    assert [(token.id, list(token.sequences)) for token in layout.tokens] == [
        (1, [0, 1, 2]), (2, [0, 1, 2]), (3, [0, 1]), (4, [0]), (5, [1]), (6, [1]), (9, [2]),
        (7, [3]),
    ]  # fmt: skip
    assert sum(token.is_read for token in layout.tokens) == 6


def test_where_nothing_is_shared_every_token_belongs_to_one_sequence():
    layout = lay_out(LINES, shares=False)

    assert len(layout.tokens) == sum(len(line.ids) for line in LINES)
    assert {len(token.sequences) for token in layout.tokens} == {1}


def test_what_is_in_memory_already_is_not_run_again():
    layout = lay_out(LINES[:3], start=2)

    assert [(token.id, token.position) for token in layout.tokens] == [
        (3, 2), (4, 3), (5, 3), (6, 4), (9, 2),
    ]  # fmt: skip


def test_an_opening_ends_before_the_first_position_that_is_read():
    assert opening_of(LINES[:3]) == (1, 2)
    assert opening_of([Line((1, 2, 3), 1), Line((1, 2, 3), 2)]) == (1,)
    assert opening_of(LINES) == ()


def test_one_line_alone_or_none_has_no_opening():
    assert opening_of(LINES[:1]) == ()
    assert opening_of([]) == ()


def test_choices_of_a_document_stay_together():
    documents = [[row((1, place), (choice, 5)) for choice in range(3)] for place in range(3)]

    batches = list(gather([one for document in documents for one in document], most_rows=7))

    assert batches == [documents[0] + documents[1], documents[2]]


def test_a_batch_ends_at_the_tokens_that_are_run_at_once():
    long = [row((place,) * (AT_ONCE // 2), (5,)) for place in range(3)]

    assert [len(batch) for batch in gather(long, most_rows=16)] == [2, 1]
    assert [len(batch) for batch in gather(long, most_rows=16, start=AT_ONCE // 4)] == [3]


def test_choices_of_a_context_longer_than_a_batch_run_it_once():
    choices = [row((1,) * 2 * AT_ONCE, (choice, 5)) for choice in range(4)]

    assert list(gather(choices, most_rows=16)) == [choices]


def test_more_choices_than_sequences_are_parted_and_none_is_lost():
    choices = [row((1, 2), (choice, 5)) for choice in range(5)]

    assert [len(batch) for batch in gather(choices, most_rows=2)] == [2, 2, 1]
    assert [one for batch in gather(choices, most_rows=2) for one in batch] == choices


def test_where_nothing_is_shared_choices_count_with_their_context():
    choices = [row((1,) * (AT_ONCE // 2), (choice,)) for choice in range(4)]

    assert [len(batch) for batch in gather(choices, most_rows=16, shares=False)] == [2, 2]
