"""GateLM over a toy engine: characters are tokens, and each has its own fixed probability."""

import math
import os

import pytest
from lm_eval.api.instance import Instance

from gate.engines.interface import (
    Likelihood,
    ScoreRow,
    has_stopped,
    patient_threads,
    score_batches,
    shared_length,
)
from gate.engines.language_models import GateLM
from gate.errors import ConfigError, StageError


class Letters:
    """An engine whose tokens are characters: `a` costs 1 nat, `b` 2, and so on; '^' begins."""

    name = "letters"
    max_length = 20
    prefix_token_id = ord("^")

    def __init__(self, *, loss=0.0, written="yes\nand more"):
        self.loss, self.written, self.rows = loss, written, []

    def encode(self, text, *, add_special_tokens):
        return [ord(letter) for letter in ("^" if add_special_tokens else "") + text]

    def decode(self, ids, *, skip_special_tokens):
        return "".join(map(chr, ids))

    def render_chat(self, messages, *, add_generation_prompt):
        return "^" + "".join(message["content"] for message in messages)

    def score(self, rows):
        for row in rows:
            self.rows.append(row)
            yield tuple(
                Likelihood(-sum(token - 96.0 for token in target) - self.loss, False)
                for target in row.targets
            )

    def generate(self, rows):
        for row in rows:
            self.rows.append(row)
            yield tuple(map(ord, self.written[: row.max_tokens]))


def pair(context, continuation, *, document=0, index=0):
    return Instance(
        request_type="loglikelihood",
        doc={},
        arguments=(context, continuation),
        idx=index,
        metadata=("task", document, 1),
    )


def prompt(text, *, document=0, **settings):
    return Instance(
        request_type="generate_until",
        doc={},
        arguments=(text, settings),
        idx=0,
        metadata=("task", document, 1),
    )


def test_answers_come_back_in_the_order_they_were_asked():
    lm = GateLM(Letters())
    requests = [pair("x", "b"), pair("longer", "a"), pair("xyz", "cc")]

    assert lm.loglikelihood(requests) == [(-2.0, False), (-1.0, False), (-6.0, False)]


def test_single_token_choices_of_one_context_are_one_row():
    engine = Letters()

    GateLM(engine).loglikelihood([pair("x", "a"), pair("x", "b"), pair("x", "a")])

    assert engine.rows == [ScoreRow(ids=(94, 120), targets=((97,), (98,)))]


def test_longer_choices_stay_beside_their_siblings():
    engine = Letters()

    GateLM(engine).loglikelihood(
        [pair("x", "ab"), pair("y", "ab"), pair("x", "cd"), pair("y", "cd")]
    )

    assert [chr(row.context[1]) for row in engine.rows] == ["x", "x", "y", "y"]


def test_an_empty_context_is_the_prefix_token():
    engine = Letters()

    GateLM(engine).loglikelihood([pair("", "ab"), pair("", "^a")])

    assert [row.ids for row in engine.rows] == [(94, 97), (94,)]


def test_a_begin_token_in_the_text_is_not_doubled():
    engine = Letters()

    GateLM(engine).loglikelihood([pair("^x", "a"), pair("x", "b")])

    assert engine.rows == [ScoreRow(ids=(94, 120), targets=((97,), (98,)))]


def test_spaces_at_the_end_of_a_context_belong_to_the_continuation():
    engine = Letters()

    GateLM(engine).loglikelihood([pair("x ", "a")])

    assert engine.rows == [ScoreRow(ids=(94, 120, 32), targets=((32, 97),))]


def test_a_document_longer_than_the_model_is_an_error_not_truncated():
    lm = GateLM(Letters())
    lm.begin(name_document="task toy: document {}".format)

    with pytest.raises(
        StageError, match="task toy: document 3 takes 21 tokens, more than the 20 of letters"
    ):
        lm.loglikelihood([pair("x" * 20, "a", document=3)])


def test_a_document_as_long_as_the_model_is_scored():
    assert GateLM(Letters()).loglikelihood([pair("x" * 19, "a")]) == [(-1.0, False)]


def test_a_prompt_that_leaves_no_room_for_the_answer_is_an_error():
    with pytest.raises(StageError, match="document 0 takes 21 tokens, more than the 20 of letters"):
        GateLM(Letters()).generate_until([prompt("x" * 10, max_gen_toks=10)])


def test_a_choice_without_tokens_is_an_error():
    with pytest.raises(StageError, match="document 0: a choice adds no token to its prompt"):
        GateLM(Letters()).loglikelihood([pair("x", "")])


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_an_error(loss):
    with pytest.raises(StageError, match=r"document 0: a log-likelihood is (nan|-inf)"):
        GateLM(Letters(loss=loss)).loglikelihood([pair("x", "a")])


def test_sampling_is_refused():
    with pytest.raises(ConfigError, match="document 0: the task samples its answers"):
        GateLM(Letters()).generate_until([prompt("x", temperature=0.7, max_gen_toks=2)])


def test_a_text_is_scored_whole_after_the_prefix_token():
    engine = Letters()
    request = Instance("loglikelihood_rolling", {}, ("abc",), 0, ("task", 0, 1))

    assert GateLM(engine).loglikelihood_rolling([request]) == [-6.0]
    assert engine.rows == [ScoreRow(ids=(94, 97, 98), targets=((97, 98, 99),))]


def test_a_text_longer_than_the_model_is_an_error():
    request = Instance("loglikelihood_rolling", {}, ("a" * 21,), 0, ("task", 0, 1))

    with pytest.raises(StageError, match="document 0 takes 21 tokens"):
        GateLM(Letters()).loglikelihood_rolling([request])


def test_an_answer_is_cut_before_its_first_stop():
    lm = GateLM(Letters())

    assert lm.generate_until([prompt("x", until=["and", "\n"], max_gen_toks=12)]) == ["yes"]


def test_equal_prompts_are_written_once():
    engine = Letters()
    requests = [prompt("x", until=["\n"], max_gen_toks=9, document=place) for place in range(3)]

    assert GateLM(engine).generate_until(requests) == ["yes", "yes", "yes"]
    assert len(engine.rows) == 1


def test_request_hashes_tell_what_was_asked_and_not_in_which_order():
    asked, again, other = GateLM(Letters()), GateLM(Letters()), GateLM(Letters())
    first, second = pair("x", "a"), pair("x", "b", index=1)

    asked.loglikelihood([first, second])
    again.loglikelihood([second, first])
    other.loglikelihood([first, pair("x", "c", index=1)])

    assert asked.request_hash(0) == again.request_hash(0)
    assert asked.request_hash(0) != other.request_hash(0)


def test_request_hashes_of_prompts_hold_the_stops_and_the_room():
    def hashed(**settings):
        lm = GateLM(Letters())
        lm.generate_until([prompt("x", **settings)])
        return lm.request_hash(0)

    hashes = {
        hashed(until=["\n"], max_gen_toks=5),
        hashed(until=["."], max_gen_toks=5),
        hashed(until=["\n"], max_gen_toks=6),
    }

    assert len(hashes) == 3


def test_progress_counts_documents_whose_requests_are_all_answered():
    heard = []
    lm = GateLM(Letters())
    lm.begin(on_progress=lambda done, total: heard.append((done, total)))

    lm.loglikelihood([pair("x", "ab"), pair("x", "cd", index=1), pair("y", "a", document=1)])

    assert heard == [(0, 2), (1, 2), (2, 2)]


def test_the_chat_template_is_the_engines():
    lm = GateLM(Letters())

    assert lm.apply_chat_template([{"role": "user", "content": "hello"}]) == "^hello"
    assert lm.chat_template() is None
    assert lm.tokenizer_name == "letters"


def row(ids, *targets):
    return ScoreRow(tuple(ids), tuple(map(tuple, targets)))


def test_rows_of_different_contexts_share_a_batch_up_to_its_size():
    rows = [row([1, 2], [5]), row([1, 3], [5]), row([1, 4], [5])]

    assert [len(batch) for batch in score_batches(rows, 2)] == [2, 1]


def test_rows_of_one_context_have_batches_of_their_own():
    siblings = [row([1, 2, token], [token, 9]) for token in (5, 6, 7)]

    batches = list(score_batches([row([1, 3], [5]), *siblings, row([1, 4], [5])], 2))

    assert [len(batch) for batch in batches] == [1, 2, 1, 1]
    assert [row for batch in batches for row in batch][1:4] == siblings


def test_what_is_shared_ends_at_the_first_difference_or_the_limit():
    assert shared_length([(1, 2, 3), (1, 2, 4)], 2) == 2
    assert shared_length([(1, 2, 3), (1, 2, 3)], 2) == 2
    assert shared_length([(1, 2, 3), (1, 4, 3)], 3) == 1
    assert shared_length([(1,), (2,)], 0) == 0


def test_a_stop_is_seen_when_its_last_token_is_written():
    engine = Letters()

    assert not has_stopped(engine, [ord(letter) for letter in "yes and E"], ["END"])
    assert has_stopped(engine, [ord(letter) for letter in "yes and END"], ["END"])
    assert not has_stopped(engine, [1], [])


@pytest.mark.parametrize(("before", "during"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_wait_patiently_unless_the_user_says_otherwise(monkeypatch, before, during):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if before:
        monkeypatch.setenv("OMP_WAIT_POLICY", before)

    with patient_threads():
        assert os.environ["OMP_WAIT_POLICY"] == during
    assert os.environ.get("OMP_WAIT_POLICY") == before
