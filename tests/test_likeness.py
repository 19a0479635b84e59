"""Whether another model behind a URL is seen, by what different servers show of it."""

from contextlib import closing

import pytest
from builders import pico_base, pico_tokenizer
from completion_server import CompletionServer, Reply

from gate.endpoints.connections import Connection
from gate.endpoints.likeness import check_template, check_tokenizer
from gate.engines.tokenized import TokenizedText
from gate.errors import StageError

DIALECTS = ["vllm", "openai", "llama-server", "llama-cpp-python"]
OTHER = "{% for message in messages %}[{{ message['content'] }}]{% endfor %}"


def check(check_likeness, checkpoint, dialect, local, alter=None):
    with CompletionServer(checkpoint, dialect, alter=alter) as server:
        settings = {"key": None, "timeout_seconds": 20, "retry_seconds": 0, "concurrency": 1}
        with closing(Connection(server.url, **settings)) as connection:
            return check_likeness(connection, "pico", TokenizedText(local, name="pico"))


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A pico model with a tokenizer that knows bytes only."""
    from transformers import PreTrainedTokenizerFast

    out = tmp_path_factory.mktemp("short") / "pico"
    tokenizer = pico_tokenizer()
    engine = tokenizer.backend_tokenizer
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {token: place for place, token in enumerate(sorted(engine.get_vocab()))}
    bare = Tokenizer(models.BPE(vocabulary, []))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    other = PreTrainedTokenizerFast(
        tokenizer_object=bare, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    other.chat_template = tokenizer.chat_template
    return pico_base(out, tokenizer=other)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_same_tokenizer_and_template_pass(base, dialect):
    doubts = [
        check(one, base, dialect, pico_tokenizer()) for one in (check_tokenizer, check_template)
    ]

    assert (
        doubts
        == {
            "vllm": [None, None],
            "llama-server": [None, None],
            "llama-cpp-python": [
                None,
                "of its chat template only the number of tokens was compared",
            ],
            "openai": [
                "of its tokenizer only the number of tokens was compared",
                "of its chat template only the number of tokens was compared",
            ],
        }[dialect]
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_another_tokenizer_is_refused(short, dialect):
    with pytest.raises(
        StageError,
        match=r"the server's tokenizer gives other ids: .The parcel #48213 .* there and .* here\n"
        "  hint: another model is behind the URL, or another tokenizer was deployed with it",
    ):
        check(check_tokenizer, short, dialect, pico_tokenizer())


@pytest.mark.parametrize("dialect", DIALECTS)
def test_another_template_is_refused(base, dialect):
    local = pico_tokenizer()
    local.chat_template = OTHER

    with pytest.raises(
        StageError, match=r"the server's chat template renders another prompt: .* the|of .* tokens"
    ):
        check(check_template, base, dialect, local)


def test_the_first_difference_of_a_template_is_shown(base):
    local = pico_tokenizer()
    local.chat_template = local.chat_template.replace("<|user|>", "<|system|>")
    local.chat_template = local.chat_template.replace("<|{{ message['role'] }}|>", "<|system|>")

    with pytest.raises(
        StageError,
        match=r"'<\|user\|>Where is my .* there and '<\|system\|>Where is my .* here",
    ):
        check(check_template, base, "llama-server", local)


def test_a_begin_token_that_the_server_leaves_to_later_is_no_difference(base):
    local = pico_tokenizer()
    local.chat_template = "<s>" + local.chat_template

    assert check(check_template, base, "vllm", local) is None
    assert check(check_template, base, "llama-server", local) is None


def test_without_a_local_template_there_is_nothing_to_compare(base):
    local = pico_tokenizer()
    local.chat_template = None

    assert check(check_template, base, "vllm", local) is None


def test_chats_that_the_local_template_refuses_are_left_out(base):
    local = pico_tokenizer()
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}"
    local.chat_template = refusing + local.chat_template

    assert check(check_template, base, "vllm", local) is None


def test_a_server_that_shows_nothing_is_a_doubt(base):
    def alter(path, body, reply):
        if path == "/v1/completions":
            return Reply(200, {key: reply.content[key] for key in ("choices",)})
        return Reply(404, {})

    assert check(check_tokenizer, base, "openai", pico_tokenizer(), alter) == (
        "its tokenizer could not be compared: the server does not show it"
    )
    assert check(check_template, base, "openai", pico_tokenizer(), alter) == (
        "its chat template could not be compared: the server does not show it"
    )
