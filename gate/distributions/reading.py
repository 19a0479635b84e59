"""What a read stage does: a text read by a reference or a candidate, written as files."""

from collections.abc import Sequence
from pathlib import Path

from gate.distributions.at_top import compare_at_top
from gate.distributions.comparing import Compared
from gate.distributions.in_full import compare_in_full
from gate.distributions.layout import OnProgress
from gate.distributions.references import load_reading, read_reference
from gate.distributions.rendering import render_texts
from gate.engines.interface import Engine, ReadingEngine
from gate.errors import StageError
from gate.terms import Reading, Text
from gate.texts import WrittenText, read_texts

READING_FILE = "reading.npz"
"""What is kept of a reference, in the output of its read stage."""

DISTRIBUTION_FILE = "distribution.json"
"""The Distribution in the output of a candidate's read stage; the variants' names are open."""

TOKENS_FILE = "tokens.npz"
"""What differs at every token, beside it."""


def keep_reference(
    engine: Engine, text: Text, reading: Reading, out: Path, *, on_progress: OnProgress
) -> None:
    """Read a text with a reference, and write what candidates are compared with.

    Raises:
        ConfigError: the text's file cannot be read.
        StageError: the text cannot be rendered, or the engine cannot read it.
    """
    engine = _reading(engine)
    rendered = render_texts(_texts(text), engine)
    found = read_reference(engine, rendered, top=reading.top, on_progress=on_progress)
    found.save(out / READING_FILE)


def compare_candidate(
    engine: Engine,
    text: Text,
    reading: Reading,
    out: Path,
    *,
    reference: Engine | Path,
    on_progress: OnProgress,
) -> None:
    """Read a text with a candidate, and write how it differs from its reference.

    Args:
        engine: the candidate.
        text: what to read.
        reading: how to compare.
        out: where to write.
        reference: its engine, for the full vocabulary; or where `keep_reference` wrote.
        on_progress: hears of documents done.

    Raises:
        ConfigError: the text's file cannot be read.
        StageError: the text cannot be rendered, an engine cannot read it, or the two are not
            given the same tokens.
    """
    engine = _reading(engine)
    rendered = render_texts(_texts(text), engine)
    if isinstance(reference, Path):
        kept = load_reading(reference / READING_FILE)
        found = compare_at_top(engine, rendered, kept, worst=reading.worst, on_progress=on_progress)
    else:
        before = _reading(reference)
        both = (render_texts(_texts(text), before), rendered)
        found = compare_in_full(before, engine, both, worst=reading.worst, on_progress=on_progress)
    _write(found, out)


def _texts(text: Text) -> Sequence[WrittenText]:
    return read_texts(Path(text.path))


def _reading(engine: Engine) -> ReadingEngine:
    if isinstance(engine, ReadingEngine):
        return engine
    raise StageError(f"{engine.name}: its engine does not tell what it expects of a text's tokens")


def _write(found: Compared, out: Path) -> None:
    found.tokens.save(out / TOKENS_FILE)
    file = out / DISTRIBUTION_FILE
    file.write_text(found.distribution.model_dump_json(), encoding="utf-8")
