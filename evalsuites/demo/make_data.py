"""Generate the demo's data from the phrases in sources/: same seed, same bytes.

    python evalsuites/demo/make_data.py [OUT_DIR]

A message is a wording of one intent between a greeting, an order number, a phrase of urgency and
a closing, some of them typed carelessly. Wordings are dealt to the splits first, so that no test
message says what it wants in the words of a training message.
"""

import json
import random
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
SEED = "desk-1"
WORDINGS = {"train": 30, "calibration": 3, "test": 9}
"""How many of each intent's 42 wordings go to which split."""
TRAIN, CALIBRATION, INTENT, EXTRACT = 120, 8, 50, 38
"""Messages of each intent in a file."""
ITEMS = ("device", "wear", "thing")
SLOTS = (*ITEMS, "colour", "size", "day", "street", "amount", "name")
LETTERS = "ABCDEFGHKLMNPRSTW"
SHORT = {"please": "pls", "thanks": "thx", "you": "u", "are": "r", "because": "bc"}
ORDER = re.compile(r"\b[A-Z]-\d{5}\b", re.IGNORECASE)

PROMPTS = {
    "intent": "Name the intent of this message in one word.\n",
    "answer": "Reply with intent | order | urgency.\n",
}
"""What each desk task says before a message, by what it asks for."""

Phrases = Mapping[str, list[str]]


class Message(NamedTuple):
    """A customer's message and what is true of it."""

    text: str
    intent: str
    order: str
    urgency: str
    wording: str

    @property
    def answer(self) -> str:
        """The line that desk_extract asks for."""
        return f"{self.intent} | {self.order} | {self.urgency}"


def read_sections(path: Path) -> dict[str, list[str]]:
    """The lines of a source file under each [section]; blank lines and # comments left out."""
    sections: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            section.append(line)
    return sections


def read_phrases() -> dict[str, list[str]]:
    """The sections of sources/phrases.txt, and every kind of item under 'item' as well."""
    phrases = read_sections(HERE / "sources" / "phrases.txt")
    return phrases | {"item": [item for kind in ITEMS for item in phrases[kind]]}


def fill(phrase: str, phrases: Phrases, rng: random.Random, **given: str) -> str:
    """A phrase with every <a|b> decided and every {slot} filled."""
    phrase = re.sub(r"<([^>]*)>", lambda found: rng.choice(found[1].split("|")), phrase)
    return re.sub(
        r"\{(\w+)\}", lambda found: given.get(found[1]) or rng.choice(phrases[found[1]]), phrase
    )


def mask(text: str, phrases: Phrases) -> str:
    """A message in lower case, its order number, names, products and the like blanked out."""
    text = ORDER.sub("_", text).lower()
    for slot in SLOTS:
        for value in sorted(phrases[slot], key=len, reverse=True):
            text = re.sub(rf"\b{re.escape(value.lower())}\b", "_", text)
    return text


def misspell(word: str, rng: random.Random) -> str:
    """A word of five letters or more with two inner letters swapped, or one dropped."""
    if len(word) < 5 or not word.isalpha():  # noqa: PLR2004  shorter words become other words
        return word
    at = rng.randrange(1, len(word) - 2)
    if rng.random() < 0.5:  # noqa: PLR2004  either kind of slip
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + word[at + 1 :]


def type_carelessly(text: str, rng: random.Random) -> str:
    """A message as a hurried person types it; the order number stays as it is."""
    words = text.split(" ")
    slip = rng.choice(("case", "case", "short", "spelling", "spelling", "spelling"))
    if slip == "spelling":
        for at in rng.sample(range(len(words)), k=min(2, len(words))):
            words[at] = misspell(words[at], rng)
    if slip == "short":
        words = [SHORT.get(word.lower(), word) for word in words]
    if slip == "case" or rng.random() < 0.3:  # noqa: PLR2004  carelessness comes in pairs
        words = [word if ORDER.search(word) else word.lower() for word in words]
    return " ".join(words).rstrip(".!")


def draw_order(rng: random.Random) -> str:
    """An order number, such as A-48213."""
    return f"{rng.choice(LETTERS)}-{rng.randrange(10_000, 100_000)}"


def compose(intent: str, wording: str, phrases: Phrases, rng: random.Random) -> Message:
    """One message around the named wording, such as 'return-07'."""

    def maybe(section: str, share: float, **given: str) -> str:
        return fill(rng.choice(phrases[section]), phrases, rng, **given) * (rng.random() < share)

    order = draw_order(rng)
    has_order = rng.random() < (0.5 if intent == "account" else 0.85)
    comes_first = rng.random() < 0.4  # noqa: PLR2004  more people name the order at the end
    urgency = rng.choice(("high", "normal", "low"))
    parts = [
        maybe("greeting", 0.5),
        maybe("before", has_order and comes_first, order=order),
        fill(phrases[wording][0], phrases, rng),
        maybe("after", has_order and not comes_first, order=order),
        maybe("filler", 0.2),
        maybe(urgency, 1.0) if urgency != "normal" else "",
        maybe("closing", 0.4),
    ]
    text = " ".join(part for part in parts if part)
    if rng.random() < 0.35:  # noqa: PLR2004  about a third of the messages
        text = type_carelessly(text, rng)
    return Message(text, intent, order if has_order else "none", urgency, wording)


def deal_wordings(wordings: Phrases, rng: random.Random) -> dict[str, dict[str, list[str]]]:
    """{split: {intent: names of its wordings}}: each wording goes to one split."""
    splits: dict[str, dict[str, list[str]]] = {split: {} for split in WORDINGS}
    for intent, lines in wordings.items():
        names = [f"{intent}-{number:02}" for number in range(len(lines))]
        rng.shuffle(names)
        for split, count in WORDINGS.items():
            splits[split][intent], names = sorted(names[:count]), names[count:]
    return splits


def draw(
    dealt: Mapping[str, list[str]], count: int, phrases: Phrases, seen: set[str], rng: random.Random
) -> list[Message]:
    """`count` messages an intent in random order, none seen before even with names masked."""
    messages = []
    for intent, names in dealt.items():
        for number in range(count):
            message = compose(intent, names[number % len(names)], phrases, rng)
            while mask(message.text, phrases) in seen:
                message = compose(intent, names[number % len(names)], phrases, rng)
            seen.add(mask(message.text, phrases))
            messages.append(message)
    rng.shuffle(messages)
    return messages


def make_facts(rng: random.Random) -> Iterator[dict[str, object]]:
    """The facts of sources/facts.txt, their four choices shuffled."""
    for line in (HERE / "sources" / "facts.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            question, *choices = line.split(" | ")
            answer = choices[0]
            rng.shuffle(choices)
            yield {"question": question, "choices": choices, "answer": choices.index(answer)}


def make_general() -> Iterator[dict[str, object]]:
    """The plain sentences of sources/general.txt."""
    for line in (HERE / "sources" / "general.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            yield {"text": line}


def make_texts(phrases: Phrases, rng: random.Random) -> Iterator[dict[str, object]]:
    """The desk's replies of sources/replies.txt, filled in."""
    for replies in read_sections(HERE / "sources" / "replies.txt").values():
        for reply in replies:
            yield {"text": fill(reply, phrases, rng, order=draw_order(rng))}


def make_conversations(messages: Sequence[Message]) -> Iterator[dict[str, object]]:
    """What both desk tasks would say of messages that none of them judges, with the answers."""
    for one in messages:
        for asked, prompt in PROMPTS.items():
            question = {"role": "user", "content": prompt + one.text}
            answer = {"role": "assistant", "content": getattr(one, asked)}
            yield {"messages": [question, answer]}


def make_all() -> dict[str, list[dict[str, object]]]:
    """{file: rows} of everything that is generated."""
    rng = random.Random(SEED)
    wordings = read_sections(HERE / "sources" / "wordings.txt")
    phrases = read_phrases()
    for intent, lines in wordings.items():
        phrases |= {f"{intent}-{number:02}": [line] for number, line in enumerate(lines)}
    dealt = deal_wordings(wordings, rng)
    seen: set[str] = set()
    train = draw(dealt["train"], TRAIN, phrases, seen, rng)
    calibration = draw(dealt["calibration"], CALIBRATION, phrases, seen, rng)
    intent = draw(dealt["test"], INTENT, phrases, seen, rng)
    extract = draw(dealt["test"], EXTRACT, phrases, seen, rng)
    return {
        "data/desk_train.jsonl": [{**one._asdict(), "answer": one.answer} for one in train],
        "data/desk_calibration.jsonl": [
            {**one._asdict(), "answer": one.answer} for one in calibration
        ],
        "data/calibration.jsonl": list(make_conversations(calibration)),
        "data/desk_intent.jsonl": [
            {"text": one.text, "intent": one.intent, "wording": one.wording} for one in intent
        ],
        "data/desk_extract.jsonl": [
            {"text": one.text, "answer": one.answer, "wording": one.wording} for one in extract
        ],
        "data/general_train.jsonl": list(make_general()),
        "data/facts.jsonl": list(make_facts(random.Random(SEED))),
        "texts/desk.jsonl": list(make_texts(phrases, random.Random(SEED))),
    }


def write_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write one JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Write every generated file below OUT_DIR, by default the directory of this script."""
    out = Path(arguments[0]) if arguments else HERE
    for name, rows in make_all().items():
        write_jsonl(out / name, rows)
        sys.stdout.write(f"{name}: {len(rows)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
