"""Whether a server's tokenizer and chat template are those of the local model."""

from collections.abc import Sequence

from gate.endpoints.connections import Connection
from gate.endpoints.servers import Messages, Rendered, count_tokens, render_chat, tokenize
from gate.endpoints.vocabularies import Vocabulary
from gate.errors import StageError

_TEXTS = (
    "The parcel #48213 (3.5 kg) can't be shipped before 2031-07-09; it's lost, isn't it?",
    "\tdef area(r):\n\t    return 3.14159 * r ** 2  # m²\n\n\n    {'key': [0, -1, 1e-9]}",
    "Où est l'élève? Straße, żółć, Ελλάδα, Москва, 東京都, 한국어, العربية, हिन्दी, 🙂👩‍🚀",
)
_CHATS: tuple[Messages, ...] = (
    ({"role": "user", "content": "Where is my parcel?"},),
    (
        {"role": "system", "content": "Answer in one word."},
        {"role": "user", "content": "Is it red?"},
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": "Is it blue?"},
    ),
)
_SHOWN = 40  # characters, or ids, of a difference that are worth showing


def check_tokenizer(connection: Connection, model: str, local: Vocabulary) -> str | None:
    """What could not be compared, in words; None where the server makes the same ids of texts.

    Raises:
        StageError: it makes others.
    """
    for text in _TEXTS:
        own = [tuple(local.encode(text, add_special_tokens=special)) for special in (False, True)]
        ids = tokenize(connection, model, text)
        if ids is None:
            return _check_counts(connection, model, local)
        if ids not in own:
            raise StageError(
                f"{connection.url}: the server's tokenizer gives other ids: {text[:_SHOWN]!r} is "
                f"{_show(ids)} there and {_show(own[0])} here",
                hint="another model is behind the URL, or another tokenizer was deployed with it",
            )
    return None


def check_template(connection: Connection, model: str, local: Vocabulary) -> str | None:
    """What could not be compared, in words; None where the server renders chats as it is done here.

    Chats that the local template refuses are left out; without a template there is nothing to do.

    Raises:
        StageError: it renders them in another way.
    """
    warning = None
    for messages in _CHATS:
        try:
            text = local.render_chat(list(messages), add_generation_prompt=True)
        except StageError:
            continue
        rendered = render_chat(connection, model, messages)
        if rendered is None:
            return "its chat template could not be compared: the server does not show it"
        if rendered.tokens is not None:
            warning = "of its chat template only the number of tokens was compared"
        difference = _difference(rendered, text, local)
        if difference:
            raise StageError(
                f"{connection.url}: the server's chat template renders another prompt: "
                f"{difference}",
                hint="deploy the chat template that is in the model's directory, or gate the one "
                "that is deployed",
            )
    return warning


def _check_counts(connection: Connection, model: str, local: Vocabulary) -> str:
    for text in _TEXTS:
        count = count_tokens(connection, model, text)
        if count is None:
            return "its tokenizer could not be compared: the server does not show it"
        own = {len(local.encode(text, add_special_tokens=special)) for special in (False, True)}
        if count not in own:
            raise StageError(
                f"{connection.url}: the server's tokenizer gives other ids: {text[:_SHOWN]!r} is "
                f"{count} tokens there and {min(own)} here",
                hint="another model is behind the URL, or another tokenizer was deployed with it",
            )
    return "of its tokenizer only the number of tokens was compared"


def _difference(rendered: Rendered, text: str, local: Vocabulary) -> str | None:
    """What differs, in words; a begin token may be there or not, since servers add it later."""
    if rendered.text is not None:
        begin = local.decode([local.prefix_token_id], skip_special_tokens=False)
        there, here = rendered.text.removeprefix(begin), text.removeprefix(begin)
        return None if there == here else _first_difference(there, here)
    own = tuple(local.encode(text, add_special_tokens=False))
    bare = own[1:] if own[:1] == (local.prefix_token_id,) else own
    if rendered.ids is not None:
        there_ids = rendered.ids
        if there_ids in (own, bare, (local.prefix_token_id, *bare)):
            return None
        return _first_difference(local.decode(there_ids, skip_special_tokens=False), text)
    begun = local.encode(text, add_special_tokens=True)
    if rendered.tokens in (len(own), len(bare), len(begun)):
        return None
    return f"of {rendered.tokens} tokens, where the local one has {len(own)}"


def _first_difference(there: str, here: str) -> str:
    start = next(
        (at for at, pair in enumerate(zip(there, here, strict=False)) if pair[0] != pair[1]),
        min(len(there), len(here)),
    )
    start = max(0, start - _SHOWN // 4)
    shown = [f"{'...' if start else ''}{text[start : start + _SHOWN]}" for text in (there, here)]
    return f"{shown[0]!r} there and {shown[1]!r} here"


def _show(ids: Sequence[int]) -> str:
    return f"[{', '.join(map(str, ids[:8]))}{', ...' if len(ids) > len(ids[:8]) else ''}]"
