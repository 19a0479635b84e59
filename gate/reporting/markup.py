"""Markdown of untrusted text: escaped wherever it stands, cut where a comment has no room."""

import re
from collections.abc import Sequence

from gate.presentation import count, one_line

_MOST_TEXT = 240
_MARKUP = re.compile(r"([\\`*_\[\]|~$])")
_LINKING = re.compile(r"([@#]|(?<=[a-z]):(?=//)|(?<=www)\.|(?<=\bgh)-(?=\d))", re.IGNORECASE)


def escape(text: str, *, limit: int = _MOST_TEXT) -> str:
    """Untrusted text as inert Markdown on one line, of at most `limit` characters before that.

    A mention, an issue number and a bare address get a zero-width space, because GitHub links
    them after Markdown's own escapes are gone.
    """
    line = _MARKUP.sub(r"\\\1", one_line(text, limit))
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _LINKING.sub("\\1\N{ZERO WIDTH SPACE}", line)


def grid(header: tuple[str, ...], cells: Sequence[tuple[str, ...]], rows: int) -> str:
    """A table of Markdown, of at most so many rows; empty where it has none."""
    if not cells:
        return ""
    lines = [header, ("---",) * len(header), *cells[:rows]]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if len(cells) > rows:
        text += f"\n\n{count(len(cells) - rows, 'more row')} in record.json."
    return text


def plain_grid(header: tuple[str, ...], cells: Sequence[tuple[str, ...]], rows: int) -> str:
    """A table of plain text, all of it escaped."""
    return grid(tuple(map(escape, header)), [tuple(map(escape, row)) for row in cells], rows)


def bullets(lines: Sequence[str], most: int, *, more: str, indent: str = "") -> str:
    """A list of plain text, every line escaped; what is left out is counted as so much `more`."""
    said = [f"{indent}- {escape(line)}" for line in lines[:most]]
    if len(lines) > most:
        said.append(f"{indent}- and {count(len(lines) - most, more)} in record.json")
    return "\n".join(said)


def headed(title: str, body: str) -> str:
    """A part under its heading; empty where it is."""
    return f"### {title}\n\n{body}" if body else ""


def folded(title: str, body: str) -> str:
    """A part that opens on a click; empty where it is."""
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>" if body else ""
