"""Prompts continued side by side, by a toy model whose next token is told by all it holds."""

import numpy as np
import pytest

from gate.engines.interface import PromptRow
from gate.engines.llama_batches import AT_ONCE, Line, lay_out
from gate.engines.llama_writing import Writing

END = 0
VOCABULARY = 50


class ToyModel:
    """Holds ids by sequence and position, as llama.cpp does, and refuses gaps as it does."""

    end_ids = (END,)

    def __init__(self):
        self.held = {}
        self.batches = []

    def is_end(self, token):
        return token == END

    def forget(self, start, *, sequence):
        del self.held[sequence][start:]

    def run(self, tokens):
        self.batches.append(tokens)
        for token in tokens:
            for sequence in token.sequences:
                ids = self.held.setdefault(sequence, [])
                assert token.position == len(ids)
                ids.append(token.id)
        read = [self.held[token.sequences[0]] for token in tokens if token.is_read]
        logits = np.zeros((len(read), VOCABULARY))
        logits[np.arange(len(read)), list(map(next_of, read))] = 1
        return logits


def next_of(ids):
    return sum(place * id for place, id in enumerate(ids, start=1)) % VOCABULARY


def expected(row):
    ids = list(row.ids)
    while len(ids) - len(row.ids) < row.max_tokens and next_of(ids) != END:
        ids.append(next_of(ids))
    return tuple(ids[len(row.ids) :])


def rows(count=40, length=6):
    return [
        PromptRow((3, 1, *(place * step % 47 + 1 for step in range(1, length))), (), place % 9 + 1)
        for place in range(count)
    ]


def written(asked, *, places, opening=2, has_stopped=lambda row, text: False):
    model = ToyModel()
    line = Line(asked[0].ids[:opening], opening)
    model.held = {place: list(line.ids) for place in range(places)}
    assert lay_out([line], start=opening).tokens == []
    answers = Writing(model, places=places, opening=opening).answers(asked, has_stopped)
    return list(answers), model


@pytest.mark.parametrize("places", [1, 3, 16])
def test_each_answer_is_the_one_its_prompt_gets_alone(places):
    asked = rows()

    answers, _ = written(asked, places=places)

    assert answers == [expected(row) for row in asked]
    assert END in {next_of((*row.ids, *expected(row))) for row in asked}  # some end by themselves


def test_where_an_answer_ends_the_next_prompt_begins():
    asked = [PromptRow((3, 1, 5, place + 1), (), 8, 8) for place in range(3)]
    asked[0] = asked[0]._replace(max_tokens=2, min_tokens=2)

    _, model = written(asked, places=2)

    assert [len(batch) for batch in model.batches[:4]] == [4, 2, 3, 2]


def test_an_answer_ends_where_it_is_told_to():
    asked = rows(5)

    answers, _ = written(asked, places=2, has_stopped=lambda row, text: len(text) == 1)

    assert answers == [expected(row)[:1] for row in asked]


def test_short_prompts_begin_together():
    asked = rows(4)

    _, model = written(asked, places=4)

    assert len(model.batches[0]) == sum(len(row.ids) - 2 for row in asked)


def test_prompts_longer_than_what_is_run_at_once_begin_one_by_one():
    asked = [row._replace(max_tokens=1) for row in rows(4, length=2 + AT_ONCE // 2)]

    _, model = written(asked, places=4, opening=1)

    assert [sum(token.is_read for token in batch) for batch in model.batches] == [1, 1, 1, 1]


def test_an_end_token_that_comes_too_early_is_not_written():
    asked = [PromptRow((3, 1, place, 1), (), 9, 9) for place in range(1, 48)]
    assert any(len(expected(row)) < 9 for row in asked)

    answers, _ = written(asked, places=5)

    assert {len(answer) for answer in answers} == {9}
    assert not any(END in answer for answer in answers)
