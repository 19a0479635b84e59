"""What quantizers are shown and models read, from a user's own examples: never what is judged."""

import json
from collections.abc import Iterable, Sequence

from gate.configuring.suites import shipped_suites
from gate.quantizing.calibration import find_overlap
from gate.starting.examples import Example, Examples
from gate.starting.tasks import document_of
from gate.texts import WrittenText

_MOST_TEXTS = 48


def inputs_of(
    rows: Iterable[Example], examples: Examples, *, chat: bool
) -> tuple[WrittenText, ...]:
    """Examples as conversations, or as plain texts where there is no chat template.

    Args:
        rows: some of the examples.
        examples: what they are part of: it has the system prompt.
        chat: whether they go through a chat template.
    """
    if not chat:
        return tuple(WrittenText((("", f"{row.prompt} {row.answer}"),), "") for row in rows)
    start = (("system", examples.system),) if examples.system else ()
    return tuple(
        WrittenText((*start, ("user", row.prompt), ("assistant", row.answer)), "") for row in rows
    )


def unseen(
    inputs: Sequence[WrittenText], documents: Sequence[Sequence[str]]
) -> tuple[WrittenText, ...]:
    """The inputs that share no text with a document, as a suite demands of calibration.

    Args:
        inputs: what quantizers would be shown.
        documents: of each document that any task judges, its texts.
    """
    left = list(dict.fromkeys(inputs))
    while left and (found := find_overlap(left, documents)) is not None:
        left.remove(found[0])
    return tuple(left)


def texts_of_documents(rows: Iterable[Example], examples: Examples) -> list[list[str]]:
    """The texts of each document that is judged, with its choices."""
    return [_texts(document_of(row, examples).values()) for row in rows]


def write_inputs(inputs: Iterable[WrittenText]) -> str:
    """Inputs as JSON lines, as a suite reads them."""
    lines = []
    for one in inputs:
        messages = [{"role": role, "content": text} for role, text in one.messages]
        line = {"messages": messages} if one.is_conversation else {"text": one.messages[0][1]}
        lines.append(json.dumps(line, ensure_ascii=False))
    return "".join(f"{line}\n" for line in lines)


def read_first(rows: Sequence[Example]) -> Sequence[Example]:
    """As many examples as are read token by token: every token counts, so few tell enough."""
    return rows[:_MOST_TEXTS]


def general_texts() -> str:
    """Texts of general English that come with mergegate, as JSON lines."""
    return (shipped_suites() / "demo" / "texts" / "general.jsonl").read_text(encoding="utf-8")


def _texts(values: Iterable[object]) -> list[str]:
    found: list[str] = []
    for value in values:
        found += [value] if isinstance(value, str) else []
        found += map(str, value) if isinstance(value, list) else []
    return found
