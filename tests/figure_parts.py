"""What the parts of a figure draw, read back from them, with plain hyphens and spaces."""

import json
from collections.abc import Sequence
from typing import Any

from gate.figures.figure import Figure


def rows(figures: Sequence[Figure], name: str) -> list[dict[str, Any]]:
    """The values of one of their layers."""
    found = []
    for figure in figures:
        plain = figure.spec.replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")
        found += json.loads(plain)["datasets"][name]
    return found


def words(figures: Sequence[Figure]) -> list[str]:
    """The texts of the wide layout, from the first to the last."""
    return [row["text"] for row in rows(figures, "words") if row["text"]]


def short_words(figures: Sequence[Figure]) -> list[str]:
    """The texts of the narrow layout."""
    return [row["short"] for row in rows(figures, "words") if row["short"]]


def facts(figures: Sequence[Figure]) -> list[dict[str, str]]:
    """What is told of each row that is pointed at."""
    return [row["facts"] for row in rows(figures, "told")]
