"""docs/starting.md is true: the names it tells are the names that are looked for."""

import re
from pathlib import Path

from gate.starting.examples import ANSWERS, PROMPTS
from gate.starting.pieces import find_pieces

PAGE = (Path(__file__).parent.parent / "docs" / "starting.md").read_text(encoding="utf-8")


def row(of):
    return next(line for line in PAGE.splitlines() if line.endswith(f"| {of} |"))


def test_the_page_names_every_field_that_is_looked_for():
    assert re.findall(r"`(\w+)`", row("the prompt").replace(" (with `input`)", "")) == list(PROMPTS)
    assert re.findall(r"`(\w+)`", row("the answer")) == list(ANSWERS)


def test_the_costs_on_the_page_are_those_that_are_told(tmp_path):
    pieces = find_pieces(tmp_path)
    costs = {piece.name: piece.cost for piece in pieces}
    shown = PAGE[PAGE.index("\nengines\n") : PAGE.index("It ends with status")]
    told = re.findall(r"^  (\S+) +(?:ready|missing) ", shown, flags=re.M)
    assert told == [piece.name for piece in pieces]
    for name in re.findall(r"^  (\S+) +missing ", shown, flags=re.M):
        assert costs[name] is None or f": {costs[name]}\n" in shown


def test_links_of_the_page_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (Path(__file__).parent.parent / "docs" / target).exists()
