"""One self-contained page: a template with its style, its scripts and its data inside it."""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gate import presentation
from gate.figures.drawing import draw_for_page
from gate.figures.figure import Figure
from gate.figures.kept import keep
from gate.figures.theme import for_page
from gate.figures.vega import vega_script
from gate.pages.islands import pack
from gate.result_records import DECIDED_BY

_MOST_KEPT = 4
"""Packed scripts of the figures: those of the last versions of vl-convert."""


def render_page(
    template: str,
    *,
    parts: Iterable[str],
    figures: Iterable[Figure],
    islands: Mapping[str, str],
    **values: object,
) -> str:
    """A page that loads nothing, and that no text inside it can make do anything.

    Args:
        template: its file in templates/.
        parts: names of files in assets/, whose .css and .js it has, in this order.
        figures: all its figures; the template shows each by `parts.figure`.
        islands: {name: JSON} that its scripts read by `mergegate.island(name)`.
        values: what the template is given besides.
    """
    parts, figures = tuple(parts), tuple(figures)
    style = "\n".join(_assets(parts, "css"))
    scripts = tuple(f"{text}\n" for text in _assets(parts, "js"))
    data = dict(islands)
    allowed = [*scripts]
    if figures:
        specs = ",".join(f'"{figure.id}":{for_page(figure.spec)}' for figure in figures)
        data |= {"figures": f"{{{specs}}}", "vega": vega_script()}
        allowed.append(vega_script())
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(style),
            scripts=[Markup(script) for script in scripts],
            policy=_policy(style, allowed),
            islands={name: Markup(_packed(name, text)) for name, text in data.items()},
            drawing=lambda figure: Markup(draw_for_page(figure.spec)),
            say=presentation,
            outcome_of=DECIDED_BY,
            **values,
        )
    )


def _packed(name: str, text: str) -> str:
    """An island; the script of the figures, the largest and always the same, is packed once."""
    if name != "vega":
        return pack(text)
    key = hashlib.sha256(text.encode()).hexdigest()
    return keep("packed", key, lambda: pack(text).encode(), most=_MOST_KEPT).decode()


def _policy(style: str, scripts: Iterable[str]) -> str:
    """A Content-Security-Policy that allows this style and these scripts, and nothing else."""
    sources = " ".join(f"'{_hash_source(script)}'" for script in scripts)
    return (
        f"default-src 'none'; style-src '{_hash_source(style)}'; script-src {sources}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash_source(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _assets(parts: Iterable[str], kind: str) -> Iterable[str]:
    """The text of each part that has a file of this kind."""
    folder = resources.files("gate.pages") / "assets"
    for part in parts:
        file = folder / f"{part}.{kind}"
        if file.is_file():
            yield file.read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("gate.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters["typeset"] = presentation.typeset
    environment.filters["formula"] = _formula
    return environment


def _finalize(value: object) -> object:
    is_untrusted = isinstance(value, str) and not isinstance(value, Markup)
    return presentation.printable(str(value)) if is_untrusted else value


def _formula(text: str) -> str:
    """An equation with minus signs for the hyphens, but for those inside a word."""
    return re.sub(r"(?<![A-Za-z])-|(?<![A-Za-z]{2})-(?![A-Za-z])", "\N{MINUS SIGN}", text)
