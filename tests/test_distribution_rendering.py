"""Texts in token ids: what is scored of a conversation, and where a long text is cut."""

import json

import pytest
from builders import opened, pico_tokenizer

from gate.backends.hf import open_model
from gate.distributions.layout import lay_out
from gate.distributions.rendering import Document, cut_rows, render_texts
from gate.engines.tokenized import TokenizedText
from gate.errors import StageError
from gate.texts import read_texts

pytestmark = pytest.mark.filterwarnings(
    # transformers 5.23 asks itself for a name that it deprecates
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)

TALK = [
    {"role": "user", "content": "where is my order"},
    {"role": "assistant", "content": "it is late"},
    {"role": "user", "content": "please cancel"},
    {"role": "assistant", "content": "yes shipped"},
]
FORGETFUL = (  # as templates that drop the reasoning of earlier turns
    "{% for message in messages %}<|{{ message['role'] }}|>"
    "{{ message['content'] if loop.last or message['role'] == 'user' else 'no' }}</s>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


class Words(TokenizedText):
    """The half of an engine that renders texts."""

    def __init__(self, template=None):
        tokenizer = pico_tokenizer()
        tokenizer.chat_template = template or tokenizer.chat_template
        super().__init__(tokenizer, name="pico")


def render(tmp_path, *lines, engine=None):
    file = tmp_path / "desk.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return render_texts(read_texts(file), engine or Words())


def read_words(document, engine=None):
    """What is scored, spans apart."""
    engine = engine or Words()
    parts, last = [], None
    for place in document.scored:
        if last != place - 1:
            parts.append("")
        parts[-1] += engine.decode([document.ids[place]], skip_special_tokens=False)
        last = place
    return parts


def test_all_tokens_of_a_text_but_the_first_are_read(tmp_path):
    (document,) = render(tmp_path, {"text": "the order is late"}).documents
    assert document.scored == tuple(range(1, len(document.ids)))
    assert document.where == "desk.jsonl:1"


def test_of_a_conversation_the_words_of_the_assistant_are_read(tmp_path):
    rendered = render(tmp_path, {"messages": TALK})
    assert read_words(rendered.documents[0]) == ["it is late", "yes shipped"]
    assert rendered.warnings == ()


def test_what_follows_the_last_turn_of_the_assistant_is_left_out(tmp_path):
    rendered = render(tmp_path, {"messages": TALK[:3]})
    assert read_words(rendered.documents[0]) == ["it is late"]
    text = Words().decode(rendered.documents[0].ids, skip_special_tokens=False)
    assert text == "<|user|>where is my order</s><|assistant|>it is late"


def test_a_template_that_changes_earlier_turns_reads_all_tokens_and_says_so(tmp_path):
    engine = Words(FORGETFUL)
    rendered = render(tmp_path, {"text": "the order"}, {"messages": TALK}, engine=engine)
    (document,) = rendered.documents[1:]
    assert document.scored == tuple(range(1, len(document.ids)))
    assert rendered.warnings == (
        "desk.jsonl:2: the chat template changes earlier turns as a conversation goes on, so "
        "that all its tokens are read and not the assistant's alone",
    )


def test_a_conversation_without_an_answer_is_refused(tmp_path):
    with pytest.raises(StageError, match=r"desk\.jsonl:2: has no turn of the assistant"):
        render(tmp_path, {"messages": TALK}, {"messages": TALK[:1]})


def test_a_text_of_one_token_is_refused(tmp_path):
    with pytest.raises(StageError, match=r"desk\.jsonl:1: has 1 tokens, and none that is read"):
        render(tmp_path, {"text": "</s>"})


def test_a_begin_token_that_a_text_has_is_not_doubled(tmp_path, base):
    with opened(open_model(base, [])) as engine:
        plain, begun = render(
            tmp_path, {"text": "the order"}, {"text": "<s>the order"}, engine=engine
        ).documents
    assert begun.ids[1:] == plain.ids


def test_a_long_text_is_cut_in_parts_whose_first_tokens_are_not_read():
    document = Document("a:1", tuple(range(100, 110)), tuple(range(1, 10)))
    rows = list(cut_rows(document, 4))
    assert [row.ids for row in rows] == [
        (100, 101, 102, 103),
        (104, 105, 106, 107),
        (108, 109),
    ]
    assert [row.places for row in rows] == [(1, 2, 3), (1, 2, 3), (1,)]
    layout = lay_out([document, document], 4)
    assert layout.positions.tolist() == [1, 2, 3, 5, 6, 7, 9] * 2
    assert layout.tokens.tolist()[:7] == [101, 102, 103, 105, 106, 107, 109]
    assert layout.documents.tolist() == [0] * 7 + [1] * 7


def test_parts_of_which_nothing_is_read_are_not_run():
    document = Document("a:1", tuple(range(12)), (9, 10))
    (row,) = cut_rows(document, 4)
    assert (row.ids, row.places) == ((8, 9, 10), (1, 2))


def test_documents_with_the_same_tokens_have_the_same_hash(tmp_path):
    one = render(tmp_path, {"text": "the order"}, {"text": "late"})
    other = render(tmp_path, {"text": "the order"}, {"text": "lost"})
    assert one.hashes[0] == other.hashes[0]
    assert one.hashes[1] != other.hashes[1]
    assert one.tokens_hash != other.tokens_hash
