"""Samples of two runs, paired by what the documents are: numbers alone may be mislabelled."""

from collections.abc import Sequence
from typing import NamedTuple

from gate.errors import SourceError
from gate.sample_files import LoggedSample, LoggedSamples


class SamplePair(NamedTuple):
    """What two models made of one document."""

    reference: LoggedSample
    candidate: LoggedSample


def pair_samples(
    task: str, reference: LoggedSamples, candidate: LoggedSamples
) -> tuple[SamplePair, ...]:
    """Two samples of each document, by the document's hash, in the order of the reference.

    A document that a task has twice is told apart by its number, where both runs number it alike.

    Raises:
        SourceError: the two are of other documents, filters, prompts or settings, or a document
            is there twice and cannot be told apart.
    """
    _require_same_filter(task, reference, candidate)
    before, after = _by_document(task, reference), _by_document(task, candidate)
    _require_same_documents(task, before, after)
    pairs = []
    for document, ones in before.items():
        others = after[document]
        if len(ones) == len(others) == 1:
            pairs.append(SamplePair(*ones.values(), *others.values()))
            continue
        if ones.keys() != others.keys():
            raise SourceError(
                f"{task}: documents {_listed(ones)} of the reference are the same text, and are "
                f"{_listed(others)} in the candidate: they cannot be told apart"
            )
        pairs += [SamplePair(one, others[number]) for number, one in ones.items()]
    _require_same_requests(task, pairs, (reference.num_fewshot, candidate.num_fewshot))
    return tuple(pairs)


_Documents = dict[str, dict[int, LoggedSample]]
"""{hash of a document: {its number: its sample}}."""


def _by_document(task: str, logged: LoggedSamples) -> _Documents:
    documents: _Documents = {}
    for sample in logged.samples:
        ones = documents.setdefault(sample.hash, {})
        if sample.id in ones:
            unnamed = logged.filter is None
            raise SourceError(
                f"{logged.file.path}: document {sample.id} of {task} is there twice",
                hint="before 0.4.8 lm-eval did not name the filters of a task that has several"
                if unnamed
                else "was a run appended to an older file?",
            )
        ones[sample.id] = sample
    return documents


def _require_same_filter(task: str, reference: LoggedSamples, candidate: LoggedSamples) -> None:
    one, other = reference.filter, candidate.filter
    if None not in (one, other) and one != other:
        raise SourceError(
            f"{task}: the filter of the reference is {one}, that of the candidate {other}",
            hint="name one that both have with --filter",
        )


def _require_same_documents(task: str, before: _Documents, after: _Documents) -> None:
    gone = [one for key, ones in before.items() if key not in after for one in ones]
    new = [one for key, ones in after.items() if key not in before for one in ones]
    if not gone and not new:
        return
    whose, first = ("reference", gone[0]) if gone else ("candidate", new[0])
    raise SourceError(
        f"{task}: the two runs are not of the same documents: {len(gone):,} are only in the "
        f"reference and {len(new):,} only in the candidate (first: document {first} of the "
        f"{whose})",
        hint="run both on the same version of the task, with the same --limit or --samples",
    )


def _require_same_requests(
    task: str, pairs: Sequence[SamplePair], examples: tuple[int | None, int | None]
) -> None:
    prompts = [one for one, other in pairs if one.prompt != other.prompt]
    if prompts:
        hint = "few-shot examples, chat template and system prompt must be the same"
        if examples[0] != examples[1]:
            hint = (
                f"few-shot examples: {examples[0]} in the reference, {examples[1]} in the candidate"
            )
        raise _otherwise(task, "the prompts differ in", prompts, pairs, hint)
    requests = [
        one
        for one, other in pairs
        if one.request and other.request and one.request != other.request
    ]
    if requests:
        hint = "the answers offered, or the settings of generation, must be the same"
        raise _otherwise(task, "what was asked differs in", requests, pairs, hint)


def _otherwise(
    task: str,
    what: str,
    different: Sequence[LoggedSample],
    pairs: Sequence[SamplePair],
    hint: str,
) -> SourceError:
    return SourceError(
        f"{task}: {what} {len(different):,} of {len(pairs):,} documents "
        f"(first: document {different[0].id} of the reference)",
        hint=hint,
    )


def _listed(numbers: dict[int, LoggedSample]) -> str:
    return ", ".join(str(number) for number in sorted(numbers))
