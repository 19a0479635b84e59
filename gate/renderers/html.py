"""report.html: one self-contained page with the verdict, the evidence and where it came from."""

import base64
import hashlib
import re

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gate import presentation
from gate.records import Record
from gate.reporting import (
    derivations,
    distribution_views,
    lineage_views,
    panels,
    plots,
    sequential_views,
    serving_views,
    views,
    waterfalls,
)
from gate.reporting.document_views import task_changes
from gate.reporting.formulas import DOCUMENTATION


def render(record: Record) -> str:
    """The record as one HTML page that loads nothing and can be read without its script."""
    environment = _environment()
    style, script = (_asset(environment, name) for name in ("report.css", "report.js"))
    return environment.get_template("report.html.j2").render(
        record=record,
        style=Markup(style),
        script=Markup(script),
        policy=(
            f"default-src 'none'; style-src '{_hash_source(style)}'; "
            f"script-src '{_hash_source(script)}'; base-uri 'none'; form-action 'none'"
        ),
        tables=_numbered(record),
        documentation=DOCUMENTATION,
        changes=tuple(task_changes(record)),
        say=presentation,
        look=views,
        panels=panels,
        proofs=derivations,
        sequence=sequential_views,
        lines=lineage_views,
        reads=distribution_views,
        costs=serving_views,
        plots=plots,
        falls=waterfalls,
    )


def _numbered(record: Record) -> dict[str, str]:
    """{part: 'Table 3'} of the parts that have a table in this record, in their order."""
    parts = {
        "checks": True,
        "slices": any(result.slices for result in record.results),
        "looks": any(result.looks for result in record.results),
        "variants": True,
        "lineage": bool(record.lineages),
        "distributions": bool(record.distributions),
        "serving": bool(record.serving),
        "artifacts": True,
    }
    there = [part for part, is_there in parts.items() if is_there]
    return {part: f"Table {number}" for number, part in enumerate(there, start=1)}


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("gate.renderers"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters["typeset"] = _typeset
    environment.filters["formula"] = _formula
    return environment


def _finalize(value: object) -> object:
    is_untrusted = isinstance(value, str) and not isinstance(value, Markup)
    return presentation.printable(str(value)) if is_untrusted else value


def _typeset(text: str) -> str:
    """Numbers with a minus sign for the hyphen, and not parted from their percent sign."""
    text = re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", text)
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text)


def _formula(text: str) -> str:
    """An equation with minus signs for the hyphens, but for those inside a word."""
    return re.sub(r"(?<![A-Za-z])-|-(?![A-Za-z])", "\N{MINUS SIGN}", text)


def _asset(environment: Environment, name: str) -> str:
    if environment.loader is None:
        return ""
    return environment.loader.get_source(environment, name)[0]


def _hash_source(text: str) -> str:
    """A Content-Security-Policy source that allows exactly this inline text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
