"""The journal of answers, with a toy engine that counts what it is asked."""

import json

import pytest

from gate.endpoints.journal import Identity, Journaled
from gate.engines.interface import Likelihood, PromptRow, ScoreRow
from gate.errors import StageError

SCORES = [ScoreRow((1, 2), ((3,), (4,))), ScoreRow((5,), ((6,),))]
PROMPTS = [PromptRow((1, 2), ("end",), 4), PromptRow((7,), (), 4)]


class Toy:
    """An engine whose answers are sums; it can break off, and change its mind."""

    name = "toy"
    max_length = 10
    prefix_token_id = 0
    encode = decode = render_chat = None

    def __init__(self, *, breaks_after=None, shift=0.0, logprobs=(-1.0, -2.0)):
        self.asked = []
        self.breaks_after = breaks_after
        self.shift = shift
        self.logprobs = logprobs

    def identify(self):
        return Identity(
            facts={"name": "toy"},
            tokens=((1,), (2,)),
            logprobs=tuple(value + self.shift for value in self.logprobs),
        )

    def note(self, row):
        if self.breaks_after == len(self.asked):
            raise StageError("the line is cut")
        self.asked.append(row)

    def score(self, rows):
        for row in rows:
            self.note(row)
            yield tuple(Likelihood(-0.1 * sum(target), sum(target) > 3) for target in row.targets)

    def generate(self, rows):
        for row in rows:
            self.note(row)
            yield tuple(token + 1 for token in row.ids)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "kept" / "answers.jsonl"


def journaled(engine, file):
    return Journaled(engine, file, engine.identify)


def test_what_was_answered_is_not_asked_again(file):
    first, second = Toy(), Toy()
    lm = journaled(first, file)
    scores, texts = list(lm.score(SCORES)), list(lm.generate(PROMPTS))

    again = journaled(second, file)

    assert list(again.score(SCORES)) == scores == list(Toy().score(SCORES))
    assert list(again.generate(PROMPTS)) == texts == [(2, 3), (8,)]
    assert (len(first.asked), len(second.asked)) == (4, 0)


def test_only_what_is_missing_is_asked(file):
    broken, whole = Toy(breaks_after=1), Toy()
    with pytest.raises(StageError, match="the line is cut"):
        list(journaled(broken, file).generate(PROMPTS))

    assert list(journaled(whole, file).generate(PROMPTS)) == [(2, 3), (8,)]
    assert whole.asked == [PROMPTS[1]]


def test_a_row_that_comes_twice_is_asked_once(file):
    engine = Toy()

    assert list(journaled(engine, file).generate(PROMPTS * 2)) == [(2, 3), (8,)] * 2
    assert engine.asked == PROMPTS


@pytest.mark.parametrize("torn", [b'{"row": "abc', b'{"row": "abc"}', b"\xff\xfe\n", b"[]\n"])
def test_a_line_that_was_not_written_to_its_end_is_dropped(file, torn):
    list(journaled(Toy(), file).generate(PROMPTS[:1]))
    whole = file.read_bytes()
    file.write_bytes(whole + torn)
    engine = Toy()

    assert list(journaled(engine, file).generate(PROMPTS)) == [(2, 3), (8,)]
    assert engine.asked == PROMPTS[1:]
    assert file.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in file.read_text().splitlines())


@pytest.mark.parametrize("content", [b"", b"not json\n", b'{"identity": 3}\n', b'{"row": "a"}\n'])
def test_a_file_that_is_no_journal_is_begun_anew(file, content):
    file.parent.mkdir()
    file.write_bytes(content)

    assert list(journaled(Toy(), file).generate(PROMPTS)) == [(2, 3), (8,)]


@pytest.mark.parametrize(("shift", "asked"), [(0.05, 0), (0.07, 2)])
def test_answers_of_another_model_are_thrown_away(file, shift, asked):
    list(journaled(Toy(), file).generate(PROMPTS))
    other = Toy(shift=shift)

    list(journaled(other, file).generate(PROMPTS))

    assert len(other.asked) == asked


def test_an_engine_that_changes_under_way_is_refused_and_forgotten(file):
    engine = Toy()
    lm = journaled(engine, file)
    engine.shift = 1.0

    with pytest.raises(
        StageError,
        match="toy: another model answered at the end than at the start\n"
        "  hint: run again when the deployment has settled: everything is asked anew",
    ):
        list(lm.score(SCORES))
    assert list(map(list, map(json.loads, file.read_text().splitlines()))) == [["identity"]]


def test_without_a_file_all_is_asked_and_a_change_is_still_seen():
    engine = Toy()
    lm = journaled(engine, None)

    assert list(lm.generate(PROMPTS)) == list(lm.generate(PROMPTS))
    assert len(engine.asked) == 4
    engine.shift = 1.0
    with pytest.raises(StageError, match="another model answered at the end"):
        list(lm.score(SCORES))


def test_rows_for_measuring_speed_are_always_asked(file):
    engine = Toy()
    lm = journaled(engine, file)
    row = PromptRow((1,), (), 4, min_tokens=4)

    assert list(lm.generate([row])) == list(lm.generate([row]))
    assert engine.asked == [row, row]


def identity(**settings):
    fields = {"facts": {}, "tokens": ((1,), (2,)), "logprobs": (-1.0, -2.0)} | settings
    return Identity(**fields)


def test_other_facts_are_another_server():
    assert not identity().is_close(identity(facts={"version": "2"}))


def test_equally_likely_tokens_are_no_difference_where_logprobs_are_known():
    assert identity().is_close(identity(tokens=((1,), (3,))))


def test_tokens_decide_where_there_are_no_logprobs():
    bare = identity(logprobs=())

    assert bare.is_close(identity(logprobs=()))
    assert not bare.is_close(identity(logprobs=(), tokens=((1,), (3,))))
    assert not bare.is_close(identity())
