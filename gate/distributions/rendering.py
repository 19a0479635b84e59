"""Texts -> the token ids that an engine reads, and which of them are scored."""

from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

from gate.digest import digest_json
from gate.engines.interface import Engine, ReadRow
from gate.errors import StageError
from gate.texts import WrittenText

_FEWEST_TOKENS = 2


class Document(NamedTuple):
    """A text in token ids.

    Attributes:
        where: its file and line, for messages.
        ids: all of it.
        scored: the places that are scored, ascending; the first token has nothing before it.
    """

    where: str
    ids: tuple[int, ...]
    scored: tuple[int, ...]


class Rendered(NamedTuple):
    """Texts as an engine reads them.

    Attributes:
        documents: one a text, in order.
        warnings: what was read otherwise than asked, in sentences.
    """

    documents: tuple[Document, ...]
    warnings: tuple[str, ...] = ()

    @property
    def hashes(self) -> list[str]:
        """Of each document the sha256 of its token ids, and of which are scored."""
        return [digest_json([one.ids, one.scored]) for one in self.documents]

    @property
    def tokens_hash(self) -> str:
        """The sha256 of all of them."""
        return digest_json(self.hashes)


class _Template(NamedTuple):
    """A conversation in a chat template, and where the assistant's words are in it.

    Attributes:
        spans: (from, to) in characters; empty where the template does not keep prefixes.
    """

    text: str
    spans: tuple[tuple[int, int], ...]


def render_texts(texts: Sequence[WrittenText], engine: Engine) -> Rendered:
    """The token ids of texts: of conversations, only the assistant's words are scored.

    Where those begin and end is found by rendering the conversation up to there. A template that
    writes something else into earlier turns then keeps no prefixes: all tokens are scored.

    Args:
        texts: what to read.
        engine: gives the tokenizer and the chat template.

    Raises:
        StageError: a text has too few tokens, a conversation no turn of the assistant, or there
            is no chat template that takes it.
    """
    begin = engine.decode([engine.prefix_token_id], skip_special_tokens=False)
    documents, lost = [], []
    for one in texts:
        template = _render(one, engine)
        ids = _encode(template.text, engine, begin)
        scored = [
            place
            for span in template.spans
            for place in _between(ids, template, span, engine, begin)
        ]
        if one.is_conversation and not template.spans:
            lost.append(one.where)
        documents.append(_document(one, ids, scored if template.spans else range(1, len(ids))))
    return Rendered(tuple(documents), _warnings(lost))


def cut_rows(document: Document, length: int) -> Iterator[ReadRow]:
    """A document in parts of `length` tokens at most, without overlap.

    The first token of each part has nothing before it and is not read.
    """
    for start in range(0, len(document.ids), length):
        places = tuple(place - start for place in document.scored if start < place < start + length)
        if places:
            yield ReadRow(document.ids[start : start + places[-1] + 1], places)


def _render(one: WrittenText, engine: Engine) -> _Template:
    if not one.is_conversation:
        return _Template(one.messages[0][1], ())
    turns = [{"role": role, "content": content} for role, content in one.messages]
    answers = [place for place, turn in enumerate(turns) if turn["role"] == "assistant"]
    if not answers:
        raise StageError(
            f"{one.where}: has no turn of the assistant, so that there is nothing to read",
            hint="the last message is the assistant's, or the line is a text",
        )
    spans = []
    whole = engine.render_chat(turns[: answers[-1] + 1], add_generation_prompt=False)
    for place in answers:
        before = engine.render_chat(turns[:place], add_generation_prompt=True)
        upto = engine.render_chat(turns[: place + 1], add_generation_prompt=False)
        if not (whole.startswith(upto) and upto.startswith(before)):
            return _Template(whole, ())
        spans.append((len(before), len(upto)))
    return _Template(whole, tuple(spans))


def _encode(text: str, engine: Engine, begin: str) -> tuple[int, ...]:
    """A text's ids; a begin token that is written in it is not doubled."""
    return tuple(engine.encode(text, add_special_tokens=not text.startswith(begin)))


def _between(
    ids: Sequence[int], template: _Template, span: tuple[int, int], engine: Engine, begin: str
) -> range:
    """The tokens of a span: what the text up to either end has in common with all of it."""
    first, last = (
        sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ids, upto, strict=False)))
        for upto in (_encode(template.text[:end], engine, begin) for end in span)
    )
    return range(max(first, 1), last)


def _document(one: WrittenText, ids: tuple[int, ...], scored: Sequence[int]) -> Document:
    if len(ids) < _FEWEST_TOKENS or not scored:
        raise StageError(
            f"{one.where}: has {len(ids)} tokens, and none that is read after another",
            hint="take the line out, or make it longer",
        )
    return Document(one.where, ids, tuple(scored))


def _warnings(lost: Sequence[str]) -> tuple[str, ...]:
    if not lost:
        return ()
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    return (
        f"{lost[0]}{more}: the chat template changes earlier turns as a conversation goes on, so "
        "that all its tokens are read and not the assistant's alone",
    )
