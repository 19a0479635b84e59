"""Workflow commands of GitHub Actions: what did not pass, as annotations of the run.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from collections.abc import Iterator, Sequence

from gate.presentation import VERDICT_SENTENCES, count, one_line
from gate.records import Record
from gate.reporting.concerns import Concern, Effect, concerns
from gate.reporting.views import tally

MOST_SHOWN = 10
"""Annotations of one kind that GitHub shows of a step; it drops the others without a word."""

_MOST_TITLE = 200
_MOST_MESSAGE = 4_000
"""Characters; GitHub cuts a message at 4,096."""


def render(record: Record) -> str:
    """One command a line: an error for what blocks, a warning for what warns, else a notice.

    What goes beyond what GitHub shows is counted in the last command of its kind.
    """
    found: dict[Effect, list[Concern]] = {"blocks": [], "warns": [], "aside": []}
    for one in concerns(record):
        found[one.effect].append(one)
    lines = [*_commands("error", found["blocks"]), *_commands("warning", found["warns"])]
    if record.verdict == "promote":
        title = f"{record.release} {VERDICT_SENTENCES['promote']}"
        lines.append(_command("notice", title, f"checks: {tally(record.results)}"))
    lines += _commands("notice", found["aside"], room=MOST_SHOWN - 1)
    return "".join(f"{line}\n" for line in lines)


def _commands(kind: str, found: Sequence[Concern], *, room: int = MOST_SHOWN) -> Iterator[str]:
    shown = found if len(found) <= room else found[: room - 1]
    for one in shown:
        yield _command(kind, one.name, one.text)
    left = len(found) - len(shown)
    if left:
        title = f"{count(left, 'more finding')} of this kind"
        yield _command(kind, title, "summary.md and report.html have them all")


def _command(kind: str, title: str, message: str) -> str:
    title, message = one_line(title, _MOST_TITLE), one_line(message, _MOST_MESSAGE)
    return f"::{kind} title={escape_property(title)}::{escape_data(message)}"


def escape_data(text: str) -> str:
    """A command's message, of which the runner makes the given text again."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """A command's property, which also ends at a colon or comma."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")
