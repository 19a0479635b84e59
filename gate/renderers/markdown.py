"""summary.md: the verdict and what did not pass, sized and escaped for a pull-request comment."""

from collections.abc import Iterable, Iterator

from gate.presentation import VERDICT_SENTENCES, count
from gate.records import Record
from gate.reporting.advice import advice
from gate.reporting.concerns import failed_stages
from gate.reporting.markup import bullets, escape, folded, headed
from gate.reporting.sentences import reasons_of, settling, verdict_sentence, warnings_of
from gate.reporting.sequential_views import saved_text
from gate.reporting.signoff_views import signoff_lines
from gate.reporting.summary_tables import (
    SIGNS,
    checks_grid,
    decisions_grid,
    distributions_grid,
    lineages_grid,
    noise_grid,
    policy_grid,
    provenance_list,
    serving_grid,
    slices_grid,
    variants_grid,
    weights_grid,
)
from gate.reporting.views import not_passed, tally
from gate.result_records import VariantVerdict

MOST_CHARACTERS = 65_000
"""What a comment on GitHub holds, 65,536, less room for the marker and commit of who posts it."""

PICTURE = "checks.png"
"""The key figure, in the file beside."""

_MOST_ROWS = (40, 10, 3)
_MOST_REASONS = 5
_MOST_SENTENCE = 600


def render(record: Record, *, picture: str | None = PICTURE) -> str:
    """The record as GitHub-flavoured Markdown, every name and answer in it escaped.

    Tables and lists are cut, and say so, until the whole fits in a comment.

    Args:
        record: what was found.
        picture: where the key figure lies; None where no file can lie beside.
    """
    drafts = (_draft(record, rows, picture) for rows in _MOST_ROWS)
    return next((text for text in drafts if len(text) <= MOST_CHARACTERS), _heading(record))


def _draft(record: Record, rows: int, picture: str | None) -> str:
    parts = (*_top(record, rows, picture), *_tables(record, rows), *_details(record, rows))
    return "\n\n".join(part for part in parts if part) + "\n"


def _top(record: Record, rows: int, picture: str | None) -> Iterator[str]:
    """What is read first: verdicts, signatures, what changed in the policy, the key figure."""
    shipped = [one for one in record.verdicts if one.variant in record.ship]
    notice = record.policy.notice if record.policy else None
    notes = [f"note: {warning}" for warning in record.warnings]
    yield _heading(record)
    yield _sentences(record, shipped, rows)
    yield headed("Signed", bullets(signoff_lines(record), rows, more="more sign-off"))
    yield headed(f"⚠️ {escape(notice)}", policy_grid(record, rows)) if notice else ""
    yield _picture(record, picture)
    yield headed("Stages that failed", bullets(failed_stages(record), rows, more="more stage"))
    yield bullets(notes, rows, more="more note")


def _tables(record: Record, rows: int) -> Iterator[str]:
    yield variants_grid(record, rows)
    yield headed("Quality, size and speed", serving_grid(record, rows))
    yield headed("When not to merge", _advice(record))
    yield weights_grid(record, rows)
    yield headed("Did not pass", checks_grid(not_passed(record), rows))
    yield headed("Slices that collapsed", slices_grid(record, rows))


def _details(record: Record, rows: int) -> Iterator[str]:
    others = [one for one in record.verdicts if one.variant not in record.ship]
    checks = count(len(record.results), "check")
    parts = {
        "Variants that are not up for release": _sentences(record, others, rows),
        "Lineage: what each step gained or cost": lineages_grid(record, rows),
        "Distributions over texts": distributions_grid(record, rows),
        f"Documents to a decision. {saved_text(record)}": decisions_grid(record, rows),
        "Noise of the engines": noise_grid(record, rows),
        f"All {checks}": checks_grid(record.results, rows),
        "Provenance": provenance_list(record, rows),
    }
    yield from (folded(title, body) for title, body in parts.items())


def _heading(record: Record) -> str:
    return (
        f"## {escape(record.release)}: {SIGNS[record.verdict]}\n\n"
        f"This candidate {VERDICT_SENTENCES[record.verdict]}. "
        f"{count(len(record.results), 'check')} of suite {escape(record.suite)}: "
        f"{tally(record.results)}."
    )


def _sentences(record: Record, verdicts: Iterable[VariantVerdict], rows: int) -> str:
    """Each variant's verdict in a sentence, why in full, and what would settle it."""
    verdicts = tuple(verdicts)
    said = [text for found in verdicts[:rows] for text in _sentence(record, found)]
    if len(verdicts) > rows:
        said.append(f"- and {count(len(verdicts) - rows, 'more variant')} in record.json")
    return "\n".join(text for text in said if text)


def _sentence(record: Record, found: VariantVerdict) -> Iterator[str]:
    sign = SIGNS[found.verdict].partition(" ")[0]
    yield f"- {sign} {escape(verdict_sentence(record, found), limit=_MOST_SENTENCE)}."
    yield bullets(_reasons(found), _MOST_REASONS, more="more reason", indent="  ")
    ways = tuple(f"to settle it: {way}" for way in settling(record, found))
    yield bullets(ways, _MOST_REASONS, more="more way", indent="  ")


def _reasons(found: VariantVerdict) -> tuple[str, ...]:
    """What a sentence leaves out: warnings of what may ship, else the reasons beside the first."""
    if found.verdict == "promote":
        return tuple(f"warning: {warning}" for warning in warnings_of(found))
    reasons = reasons_of(found)
    return reasons if len(reasons) > 1 else ()


def _advice(record: Record) -> str:
    told = [f"- {escape(sentence, limit=_MOST_SENTENCE)}" for sentence in advice(record)]
    return "\n".join(("Advice, which changes no verdict:", "", *told)) if told else ""


def _picture(record: Record, picture: str | None) -> str:
    """The key figure with what it shows in words; none where nothing was checked."""
    if picture is None or not record.results:
        return ""
    checks = count(len(record.results), "check")
    shown = f"The interval of each of {checks} against its bound: {tally(record.results)}"
    return f"![{shown}]({picture})"
