"""Texts as figures show them: printable, with minus signs, names on one line."""

from gate import presentation


def typeset(text: str) -> str:
    """A printable text, its numbers with a minus sign and not parted from their percent sign."""
    return presentation.typeset(presentation.printable(text))


def name(text: str, limit: int = 40) -> str:
    """The name of a variant, a task or a text on one line."""
    return presentation.one_line(text, limit)
