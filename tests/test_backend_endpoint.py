"""The endpoint backend, against a small server on this machine that answers from a pico model."""

import json
import threading
from shutil import copytree

import pytest
from builders import opened, pico_base
from completion_server import CompletionServer, Reply
from lm_eval.api.instance import Instance

from gate.backends import endpoint, hf
from gate.engines.interface import PromptRow, ScoreRow
from gate.engines.language_models import GateLM
from gate.errors import ConfigError, StageError

PAIRS = [
    ("Where is my parcel? It was shipped on Monday.", " late"),
    ("Where is my parcel? It was shipped on Monday.", " lost and broken"),
    ("The capital of Italy is", " Rome, é漢"),
    ("", "refund my parcel please"),
]
PROMPTS = ["The order is", "The capital of France is", "no", "Where is my parcel?"]


@pytest.fixture
def serve(base):
    """Starts servers about the pico base, or another checkpoint, and stops them at the end."""
    started = []

    def start(dialect="vllm", *, checkpoint=base, alter=None):
        server = CompletionServer(checkpoint, dialect, alter=alter)
        started.append(server.__enter__())
        return server

    yield start
    for server in started:
        server.__exit__()


def open_endpoint(base, server, **settings):
    settings = {"url": server.url, "model": "pico", "retry_seconds": 0} | settings
    return endpoint.open_model(base, [], **settings)


def pairs(texts=PAIRS):
    return [
        Instance("loglikelihood", {}, text, 0, ("task", place, 1))
        for place, text in enumerate(texts)
    ]


def prompts(texts=PROMPTS, **settings):
    settings = {"until": ["zz"], "max_gen_toks": 8} | settings
    return [
        Instance("generate_until", {}, (text, dict(settings)), 0, ("task", place, 1))
        for place, text in enumerate(texts)
    ]


def rewrite(change):
    """An alteration of completions alone: of their one choice, by a function of body and choice."""

    def alter(path, body, reply):
        if path == "/v1/completions" and reply.status == 200:
            change(body, reply.content["choices"][0], reply.content["usage"])
        return reply

    return alter


@pytest.mark.parametrize("dialect", ["vllm", "openai"])
def test_likelihoods_and_requests_are_those_of_transformers(base, serve, dialect):
    with opened(hf.open_model(base, [])) as engine:
        expected = GateLM(engine)
        expected_scores = expected.loglikelihood(pairs())

    with open_endpoint(base, serve(dialect)) as lm:
        scores = lm.loglikelihood(pairs())

    assert [score for score, _ in scores] == pytest.approx([s for s, _ in expected_scores], 1e-5)
    assert [greedy for _, greedy in scores] == [greedy for _, greedy in expected_scores]
    for place in range(len(PAIRS)):
        assert lm.request_hash(place) == expected.request_hash(place)


def test_what_the_model_writes_itself_is_greedy(base, serve):
    with open_endpoint(base, serve()) as lm:
        (written,) = lm.generate_until(prompts(["The order is"], max_gen_toks=2))
        ids = lm.engine.encode("The order is", add_special_tokens=True)
        (answer,) = lm.engine.generate([PromptRow(tuple(ids), (), 2)])
        row = ScoreRow((*ids, *answer[:-1]), (answer, (*answer[:-1], answer[-1] - 1)))
        ((own, other),) = lm.engine.score([row])

    assert lm.engine.decode(answer, skip_special_tokens=True) == written
    assert own.is_greedy
    assert not other.is_greedy


@pytest.mark.parametrize("dialect", ["vllm", "openai", "llama-server", "llama-cpp-python"])
def test_texts_are_written_as_by_transformers(base, serve, dialect):
    with opened(hf.open_model(base, [])) as engine:
        expected = GateLM(engine)
        texts = expected.generate_until(prompts())

    with open_endpoint(base, serve(dialect)) as lm:
        assert lm.generate_until(prompts()) == texts
        for place in range(len(PROMPTS)):
            assert lm.request_hash(place) == expected.request_hash(place)


@pytest.mark.parametrize("dialect", ["vllm", "llama-server", "llama-cpp-python"])
def test_writing_stops_at_a_stop_string(base, serve, dialect):
    with open_endpoint(base, serve(dialect)) as lm:
        (whole,) = lm.generate_until(prompts(["The order is"]))
        stop = whole[3:6]

        assert lm.generate_until(prompts(["The order is"], until=[stop])) == [
            whole.partition(stop)[0]
        ]


def test_requests_leave_nothing_to_the_settings_of_the_server(base, serve):
    server = serve()

    with open_endpoint(base, server) as lm:
        lm.generate_until(prompts(["no"]))

    body = server.completions()[-1]
    assert (body["temperature"], body["repetition_penalty"], body["repeat_penalty"]) == (0, 1, 1)


def test_several_requests_are_under_way_and_come_back_in_order(base, serve):
    both = threading.Barrier(2, timeout=20)
    texts = ["The order is", "no"]

    def alter(path, body, reply):
        if body.get("max_tokens") == 7:  # neither is answered before both are there
            both.wait()
        return reply

    with open_endpoint(base, serve(alter=alter), concurrency=2) as lm:
        together = lm.generate_until(prompts(texts, max_gen_toks=7))
    with open_endpoint(base, serve(), concurrency=1) as lm:
        assert together == lm.generate_until(prompts(texts, max_gen_toks=7))


def test_a_server_without_prompt_logprobs_still_writes_but_scores_nothing(base, serve):
    with open_endpoint(base, serve("llama-server")) as lm:
        with pytest.raises(
            StageError,
            match=r"pico at .*: the server gives no log-probabilities of prompts: every choice "
            "would score the same, and any model would pass",
        ):
            lm.loglikelihood(pairs())
        assert len(lm.generate_until(prompts())) == len(PROMPTS)


def all_alike(body, choice, usage):
    for place in filter(None, choice.get("prompt_logprobs", ())):
        for token in place.values():
            token["logprob"] = 0.0


def not_finite(body, choice, usage):
    for place in filter(None, choice.get("prompt_logprobs", ())):
        for token in place.values():
            token["logprob"] = float("nan")


def raw_logits(body, choice, usage):
    for place in filter(None, choice.get("prompt_logprobs", ())):
        for token in place.values():
            token["logprob"] += 30.0


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (all_alike, "they are all 0.0"),
        (not_finite, "they are not finite"),
        (raw_logits, "they are above 0"),
    ],
)
def test_prompt_logprobs_that_say_nothing_are_refused(base, serve, change, fault):
    with (
        open_endpoint(base, serve(alter=rewrite(change))) as lm,
        pytest.raises(
            StageError, match=f"the server's log-probabilities of prompts are wrong: {fault}"
        ),
    ):
        lm.loglikelihood(pairs())


def test_a_server_that_writes_nothing_cannot_prove_its_logprobs(base, serve):
    def fall_silent(body, choice, usage):
        choice |= {"text": "", "token_ids": [], "finish_reason": "stop"}
        usage["completion_tokens"] = 0

    with (
        open_endpoint(base, serve(alter=rewrite(fall_silent))) as lm,
        pytest.raises(StageError, match="it writes nothing that they could be compared with"),
    ):
        lm.loglikelihood(pairs())


def test_prompt_logprobs_of_the_place_beside_are_refused(base, serve):
    def shift(body, choice, usage):
        if body.get("echo"):
            values = choice["logprobs"]["token_logprobs"]
            values[1:-1] = values[2:]

    with (
        open_endpoint(base, serve("openai", alter=rewrite(shift))) as lm,
        pytest.raises(StageError, match="what it writes itself is not what they say is likeliest"),
    ):
        lm.loglikelihood(pairs())


def test_prompt_logprobs_of_other_tokens_are_refused(base, serve):
    def shift(body, choice, usage):
        if body.get("echo"):
            choice["prompt_logprobs"] = [None, *choice["prompt_logprobs"][:-1]]

    with (
        open_endpoint(base, serve(alter=rewrite(shift))) as lm,
        pytest.raises(StageError, match="it scored other tokens than it was given"),
    ):
        lm.loglikelihood(pairs())


def test_the_context_is_the_servers_and_nothing_is_truncated(base, serve):
    with open_endpoint(base, serve()) as lm:
        assert lm.engine.max_length == 256
        with pytest.raises(StageError, match="takes 508 tokens, more than the 256 of pico at"):
            lm.generate_until(prompts(["no" * 250], max_gen_toks=8))
        with pytest.raises(
            StageError, match="a prompt to score needs room for 257 tokens, more than its 256"
        ):
            list(lm.engine.score([ScoreRow((9,) * 255, ((9,),))]))


def shortened(body, choice, usage):
    usage["prompt_tokens"] -= 1 if body["max_tokens"] == 9 else 0


def broken_off(body, choice, usage):
    choice["finish_reason"] = "abort" if body["max_tokens"] == 9 else "length"


def too_short(body, choice, usage):
    usage["completion_tokens"] -= 1 if body["max_tokens"] == 9 else 0
    choice["finish_reason"] = "length"


def overflown(body, choice, usage):
    if body["max_tokens"] == 9:
        choice["logprobs"] = {"token_logprobs": [float("nan")]}


def another_form(body, choice, usage):
    if body["max_tokens"] == 9:
        del choice["text"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (shortened, "it read 3 tokens of a prompt of 4"),
        (broken_off, "an answer ended with 'abort'"),
        (too_short, "it stopped after 8 of 9 tokens"),
        (overflown, "the log-probabilities of its answer are not finite"),
        (another_form, "does not answer as a completions server: choices.0.text: Field required"),
    ],
)
def test_an_answer_that_is_not_whole_is_refused(base, serve, change, fault):
    server = serve(alter=rewrite(change))
    with open_endpoint(base, server) as lm, pytest.raises(StageError, match=fault):
        list(lm.engine.generate([PromptRow((9, 9, 9, 9), (), 9)]))


def test_a_refusal_of_the_server_is_quoted_and_not_asked_again(base, serve):
    def alter(path, body, reply):
        refusal = Reply(400, {"error": {"message": "max_tokens is 9, which is odd"}})
        return refusal if body.get("max_tokens") == 9 else reply

    server = serve(alter=alter)
    with (
        open_endpoint(base, server, retry_seconds=60) as lm,
        pytest.raises(
            StageError, match="/v1/completions answers 400: max_tokens is 9, which is odd"
        ),
    ):
        lm.generate_until(prompts(["no"], max_gen_toks=9))
    assert sum(body["max_tokens"] == 9 for body in server.completions()) == 1


def test_a_least_number_of_tokens_is_written_where_the_server_can(base, serve):
    with open_endpoint(base, serve()) as lm:
        row = PromptRow((1, 9, 9), (), 40, min_tokens=40)
        assert [len(answer) for answer in lm.engine.generate([row])] == [40]


def test_a_server_that_knows_no_least_number_of_tokens_is_refused(base, serve):
    def end(body, choice, usage):
        usage["completion_tokens"] = min(3, usage["completion_tokens"])
        choice["finish_reason"] = "stop"

    with (
        open_endpoint(base, serve("llama-server", alter=rewrite(end))) as lm,
        pytest.raises(
            StageError,
            match="it wrote 3 tokens where 40 were asked for: it knows neither min_tokens nor "
            "ignore_eos",
        ),
    ):
        list(lm.engine.generate([PromptRow((1, 9, 9), (), 40, min_tokens=40)]))


def test_a_model_that_is_not_there_gets_the_nearest_name(base, serve):
    with (
        pytest.raises(ConfigError, match=r"has no model 'pica'\n  hint: did you mean pico\?"),
        open_endpoint(base, serve(), model="pica"),
    ):
        pass


def test_a_directory_that_is_no_model_is_refused(serve, tmp_path):
    with (
        pytest.raises(StageError, match=r"no tokenizer_config\.json"),
        open_endpoint(tmp_path, serve()),
    ):
        pass
    for name in "ab":
        (tmp_path / f"{name}.gguf").touch()
    with (
        pytest.raises(StageError, match=r"holds 2 \.gguf files, not one"),
        open_endpoint(tmp_path, serve()),
    ):
        pass


def test_a_server_that_completes_nothing_is_refused_with_its_own_words(base, serve):
    def alter(path, body, reply):
        down = Reply(500, {"detail": "engine is dead"})
        return down if path == "/v1/completions" else reply

    with (
        pytest.raises(StageError, match="/v1/completions completes no prompt: 500: engine is dead"),
        open_endpoint(base, serve(alter=alter)),
    ):
        pass


def test_text_prompts_are_only_sent_where_the_server_makes_the_same_tokens_of_them(base, serve):
    def alter(path, body, reply):
        if path == "/extras/tokenize" and "broken" in body["input"]:
            return Reply(200, {"tokens": [7, 7]})
        return reply

    with open_endpoint(base, serve("llama-cpp-python", alter=alter)) as lm:
        assert len(lm.generate_until(prompts())) == len(PROMPTS)
        with pytest.raises(
            StageError, match="the server takes text only, and makes other tokens of 'is it broken"
        ):
            lm.generate_until(prompts(["is it broken?"]))


def test_an_answer_that_the_tokens_cannot_say_is_refused(base, serve, tmp_path):
    lower = copytree(base, tmp_path / "lower")
    tokenizer = json.loads((lower / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Lowercase"}
    (lower / "tokenizer.json").write_text(json.dumps(tokenizer))

    def shout(body, choice, usage):
        choice["text"] = "NO" if body["max_tokens"] == 9 else choice["text"].lower()

    server = serve("llama-cpp-python", checkpoint=lower, alter=rewrite(shout))
    with (
        open_endpoint(lower, server) as lm,
        pytest.raises(StageError, match="its answer 'NO' has no tokens that give that text"),
    ):
        lm.generate_until(prompts(["no"], max_gen_toks=9))


def test_the_log_says_who_was_asked_and_what_is_not_known(base, serve, capsys):
    def alter(path, body, reply):
        return Reply(404, {}) if path in ("/v1/models", "/v1/chat/completions") else reply

    with open_endpoint(base, serve()):
        pass
    told = capsys.readouterr().err
    with open_endpoint(base, serve("openai", alter=alter)):
        pass
    doubts = capsys.readouterr().err

    assert "version 9.9, model from /models/pico, 256 tokens, prompts are token ids" in told
    assert "warning" not in told
    assert "it lists no models: whether it has this one is not known" in doubts
    assert "it does not say its context: 512 are taken" in doubts
    assert "of its tokenizer only the number of tokens was compared" in doubts
    assert "its chat template could not be compared: the server does not show it" in doubts


def test_the_key_is_sent_and_shown_nowhere(base, serve, monkeypatch, capsys, tmp_path):
    def alter(path, body, reply):
        words = {"error": {"message": "no such length for sk-secret"}}
        return Reply(400, words) if body.get("max_tokens") == 9 else reply

    server = serve(alter=alter)
    monkeypatch.setenv("CANARY_KEY", "sk-secret")
    with (
        open_endpoint(base, server, api_key_variable="CANARY_KEY", journal=tmp_path) as lm,
        pytest.raises(StageError) as raised,
    ):
        lm.generate_until(prompts(["no"], max_gen_toks=9))

    assert {headers.get("Authorization") for *_, headers in server.asked} == {"Bearer sk-secret"}
    assert "no such length for ***" in str(raised.value)
    assert "sk-secret" not in capsys.readouterr().err
    assert all("sk-secret" not in file.read_text() for file in tmp_path.iterdir())


def test_a_key_that_is_not_set_is_refused(base, serve):
    with (
        pytest.raises(ConfigError, match="api_key_variable: the environment has no NO_SUCH_KEY"),
        open_endpoint(base, serve(), api_key_variable="NO_SUCH_KEY"),
    ):
        pass


def test_a_run_that_broke_off_asks_only_for_what_is_missing(base, serve, tmp_path):
    lost = set(PROMPTS[2:])

    def asks(body):
        return body.get("max_tokens") == 8 and body.get("stop")

    def alter(path, body, reply):
        return None if asks(body) and lost and server.count > 2 else reply

    def count(path, body, reply):
        server.count += bool(asks(body))
        return alter(path, body, reply)

    server = serve(alter=count)
    server.count = 0
    with (
        pytest.raises(StageError, match="no answer for 0 seconds"),
        open_endpoint(base, server, journal=tmp_path, concurrency=1) as lm,
    ):
        lm.generate_until(prompts())
    lost.clear()
    server.count = 0

    with open_endpoint(base, server, journal=tmp_path, concurrency=1) as lm:
        texts = lm.generate_until(prompts())

    assert server.count == 2
    with open_endpoint(base, server) as lm:
        assert texts == lm.generate_until(prompts())


def test_another_model_behind_the_url_is_asked_everything_anew(base, serve, tmp_path, adapter):
    server = serve()
    with open_endpoint(base, server, journal=tmp_path) as lm:
        before = lm.loglikelihood(pairs())
    server.load(pico_base(tmp_path / "other", seed=7))

    with open_endpoint(base, server, journal=tmp_path) as lm:
        after = lm.loglikelihood(pairs())

    assert before != after


def test_a_model_that_changes_while_it_is_asked_is_an_error(base, serve, tmp_path):
    server = serve()
    other = pico_base(tmp_path / "other", seed=7)
    with open_endpoint(base, server, journal=tmp_path / "journal") as lm:
        server.load(other)
        with pytest.raises(StageError, match="another model answered at the end than at the start"):
            lm.generate_until(prompts())

    (file,) = (tmp_path / "journal").iterdir()
    assert [list(json.loads(line)) for line in file.read_text().splitlines()] == [["identity"]]
