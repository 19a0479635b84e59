"""A user's JSON lines, read into prompts and answers by fields that are guessed and told."""

import json
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any, Literal, NamedTuple

from gate.errors import ConfigError

Kind = Literal["choice", "label", "short", "long"]

PROMPTS = ("prompt", "question", "instruction", "query", "input", "text", "message", "sentence")
"""Names under which prompts are looked for, in this order."""

ANSWERS = (
    "answer", "output", "response", "completion", "target", "label", "intent", "category",
    "expected", "gold",
)  # fmt: skip
"""Names under which answers are looked for, in this order."""

_CHOICES = ("choices", "options")
_OURS: set[str | None] = {"prompt", "answer", "choices"}  # what the written documents have
_MOST_LABELS = 20
_LINES_PER_LABEL = 5
_LONG_CHARACTERS = 200
_PAIR = 2
_TENTHS = 10
_ROLES = {"human": "user", "gpt": "assistant"}
_AGAIN = "name the fields: --prompt FIELD --answer FIELD"


class Example(NamedTuple):
    """One line, as a prompt and its answer.

    Attributes:
        prompt: what the model is asked.
        answer: what it should say.
        choices: between which it chooses; empty where it writes freely.
        fields: the line's other short texts, by their names: clusters and slices may be there.
    """

    prompt: str
    answer: str
    choices: tuple[str, ...] = ()
    fields: Mapping[str, str] = {}


class Examples(NamedTuple):
    """What a file holds.

    Attributes:
        kind: choice where each line has its own choices, label where all share a few answers,
            short or long where answers are written freely.
        rows: one for each prompt; the first of those that repeat one.
        labels: the answers that a label task chooses from, the most frequent first.
        system: the system prompt that all conversations share; empty where there is none.
        told: how the lines were read, in sentences.
    """

    kind: Kind
    rows: tuple[Example, ...]
    labels: tuple[str, ...]
    system: str
    told: tuple[str, ...]


class _Fields(NamedTuple):
    """Which fields of a line are what; `context` goes below the prompt where a line has one."""

    prompt: str
    answer: str
    context: str | None
    choices: str | None


def read_examples(file: Path, *, prompt: str | None = None, answer: str | None = None) -> Examples:
    """The examples of a JSON-lines file.

    Args:
        file: what to read: conversations under messages, or lines with a prompt and an answer.
        prompt: the field with the prompt, where it is not to be guessed.
        answer: the field with the answer, likewise.

    Raises:
        ConfigError: the file cannot be read, a line is no JSON object, or nothing in it looks
            like prompts and answers.
    """
    lines = _read(file)
    if prompt is None and answer is None and any(_turns(line) for line in lines):
        return _conversations(file, lines)
    fields = _guess(file, lines, prompt, answer)
    rows = [row for line in lines if (row := _example(line, fields)) is not None]
    below = f" and {fields.context}" if fields.context else ""
    told = [f"the prompt is {fields.prompt}{below}, the answer {fields.answer}"]
    return _told(file, rows, told, lines=len(lines))


def _read(file: Path) -> list[dict[str, Any]]:
    try:
        written = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read as text: {error}") from error
    lines = []
    for number, text in enumerate(written, start=1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except ValueError as error:
            raise ConfigError(
                f"{file.name}:{number}: not JSON: {error}", hint="a line is one JSON object"
            ) from error
        if not isinstance(line, dict):
            raise ConfigError(f"{file.name}:{number}: not a JSON object")
        lines.append(line)
    if not lines:
        raise ConfigError(f"{file}: has no lines")
    return lines


def _guess(
    file: Path, lines: Sequence[Mapping[str, Any]], prompt: str | None, answer: str | None
) -> _Fields:
    """The fields that most lines have."""
    filled = Counter(key for line in lines for key, value in line.items() if _is_text(value))
    usual = [key for key, number in filled.items() if number * _PAIR > len(lines)]
    for given in (prompt, answer):
        if given is not None and given not in filled:
            raise ConfigError(f"{file.name}: no line has a text in {given!r}", hint=_names(filled))
    question = prompt or next((name for name in PROMPTS if name in usual), None)
    found = answer or next((name for name in ANSWERS if name in usual and name != question), None)
    if question is None or found is None:
        what = "a prompt" if question is None else "an answer"
        raise ConfigError(f"{file.name}: no field looks like {what}; {_names(filled)}", hint=_AGAIN)
    context = "input" if question == "instruction" and "input" in filled else None
    lists = (name for name in _CHOICES if any(isinstance(line.get(name), list) for line in lines))
    return _Fields(question, found, context, next(lists, None))


def _names(filled: Mapping[str, int]) -> str:
    return f"its lines have {', '.join(filled) or 'no texts'}"


def _is_text(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number or (isinstance(value, str) and bool(value.strip()))


def _example(line: Mapping[str, Any], fields: _Fields) -> Example | None:
    """A line's example; None where it has not what the others have."""
    prompt, answer = line.get(fields.prompt), line.get(fields.answer)
    if not (_is_text(prompt) and _is_text(answer)):
        return None
    below = line.get(fields.context) if fields.context else None
    asked = f"{prompt}\n{below}" if _is_text(below) else str(prompt)
    others = _others(line, {fields.prompt, fields.context})
    choices = line.get(fields.choices) if fields.choices else None
    if choices is None:
        return Example(asked, str(answer), fields=others)
    named = tuple(map(str, choices)) if isinstance(choices, list) else ()
    right = _chosen(answer, named)
    return None if right is None else Example(asked, right, named, others)


def _chosen(answer: Any, choices: tuple[str, ...]) -> str | None:
    """The choice that an answer means: a number from 0, a choice's own text, or its letter."""
    if not isinstance(answer, str):
        return choices[answer] if isinstance(answer, int) and answer < len(choices) else None
    if answer in choices:
        return answer
    letters = string.ascii_uppercase[: len(choices)]
    if len(answer) == 1 and answer.upper() in letters:
        return choices[letters.index(answer.upper())]
    return choices[int(answer)] if answer.isdecimal() and int(answer) < len(choices) else None


def _others(line: Mapping[str, Any], used: set[str | None]) -> dict[str, str]:
    return {
        key: str(value)
        for key, value in line.items()
        if key not in used | _OURS and _is_text(value) and len(str(value)) <= _LONG_CHARACTERS
    }


def _turns(line: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The turns of a conversation as (role, content); empty where a line is none."""
    turns = line.get("messages") or line.get("conversations")
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return []
    found = [
        (turn.get("role", turn.get("from")), turn.get("content", turn.get("value")))
        for turn in turns
    ]
    if not all(isinstance(role, str) and isinstance(text, str) for role, text in found):
        return []
    return [(_ROLES.get(role, role), text) for role, text in found]


def _conversations(file: Path, lines: Sequence[Mapping[str, Any]]) -> Examples:
    """One question and its answer each; longer conversations cannot be asked as one prompt."""
    systems: Counter[str] = Counter()
    found = []
    for line in lines:
        turns = _turns(line)
        system = turns[0][1] if turns and turns[0][0] == "system" else ""
        rest = turns[1:] if system else turns
        if [role for role, _ in rest] == ["user", "assistant"]:
            (_, prompt), (_, answer) = rest
            systems[system] += 1
            others = _others(line, {"messages", "conversations"})
            found.append((system, Example(prompt, answer, fields=others)))
    if not found:
        raise ConfigError(
            f"{file.name}: no conversation is one question and one answer",
            hint="a starter task asks one prompt; cut the conversations, or write a task by hand",
        )
    usual = systems.most_common(1)[0][0]
    told = ["the prompt is the user's turn, the answer the assistant's"]
    told += ["the system prompt of most lines goes with every prompt"] if usual else []
    rows = [row for system, row in found if system == usual]
    return _told(file, rows, told, lines=len(lines), system=usual)


def _told(
    file: Path, rows: Sequence[Example], told: Sequence[str], *, lines: int, system: str = ""
) -> Examples:
    """The examples without repetitions, and what kind of answers they have."""
    distinct = tuple({row.prompt: row for row in reversed(rows)}.values())[::-1]
    if not distinct:
        raise ConfigError(f"{file.name}: no line has both a prompt and an answer", hint=_AGAIN)
    labels = tuple(label for label, _ in Counter(row.answer for row in distinct).most_common())
    kind = _kind(distinct, labels)
    notes = [*told, _DESCRIBED[kind].format(len(labels))]
    if len(rows) < lines:
        notes.append(f"{lines - len(rows)} of {lines} lines are not like that, and left out")
    if len(distinct) < len(rows):
        notes.append(f"{len(rows) - len(distinct)} lines repeat a prompt, and are left out")
    return Examples(kind, distinct, labels if kind == "label" else (), system, tuple(notes))


def _kind(rows: Sequence[Example], labels: Sequence[str]) -> Kind:
    if any(row.choices for row in rows):
        return "choice"
    if _PAIR <= len(labels) <= min(_MOST_LABELS, len(rows) // _LINES_PER_LABEL):
        return "label"
    lengths = [len(row.answer) for row in rows]
    nine_tenths = quantiles(lengths, n=_TENTHS)[-1] if len(lengths) >= _PAIR else lengths[0]
    return "long" if nine_tenths > _LONG_CHARACTERS else "short"


_DESCRIBED: Mapping[Kind, str] = {
    "choice": "a multiple choice: each line has its own choices",
    "label": "a multiple choice: all answers are one of {}",
    "short": "the answer must be written exactly (exact_match): most are short",
    "long": "answers are long, so they are judged by how likely the model finds them (perplexity)",
}


def varying_fields(rows: Sequence[Example]) -> Iterator[tuple[str, int]]:
    """Fields that group the lines, each with its number of groups: slices or clusters, maybe."""
    names = [name for name in rows[0].fields if all(name in row.fields for row in rows)]
    for name in names:
        groups = len({row.fields[name] for row in rows})
        if _PAIR <= groups <= len(rows) // _PAIR:
            yield name, groups
