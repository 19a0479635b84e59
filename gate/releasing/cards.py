"""The model card of a release: what it is, what it scored, what it was proven by, how to verify."""

import re
from collections.abc import Iterator, Mapping

from gate.descent import lineage_of
from gate.history.scores import CONFIDENCE, KeptScore, summarize
from gate.presentation import (
    MISSING,
    bits,
    count,
    duration,
    moment,
    one_line,
    percent,
    precise,
    score_text,
    size,
)
from gate.records import Artifact, Record
from gate.releasing.release import ADAPTERS_FOLDER, EVIDENCE_FOLDER, MANIFEST_FILE, RECORD_FILE
from gate.reporting.markup import bullets, escape, grid
from gate.reporting.sentences import verdict_sentence, warnings_of
from gate.reporting.signoff_views import signoff_lines
from gate.reporting.summary_tables import checks_grid
from gate.reporting.views import artifact_of, score_of
from gate.stats.intervals import Interval
from gate.terms import Task, Variant

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_MOST_ROWS = 100
_MOST_SENTENCE = 600


def model_card(record: Record, variant: str, *, licence: Mapping[str, str] | None = None) -> str:
    """A model card in Markdown, with the metadata that huggingface_hub's ModelCard reads.

    Args:
        record: the run that judged the variant.
        variant: one that the run made files of.
        licence: `license`, and `license_name` and `license_link` where it has them, as the base
            model's card says; None where that is not known.

    Raises:
        ValueError: the run made no files of the variant.
    """
    shipped = next(one for one in record.variants if one.name == variant)
    artifact = artifact_of(record, variant)
    if artifact is None:
        raise ValueError(f"the run made no files of {variant}")
    parts = (
        f"---\n{_metadata(record, shipped, artifact, licence or {})}---",
        f"# {escape(artifact.name)}",
        _opening(record, shipped),
        _headed("What it is", _facts(record, shipped, artifact)),
        _headed("Scores", _scores(record, shipped)),
        _headed("What was checked", _checks(record, shipped)),
        _headed("Warnings", bullets(_warnings(record, shipped), _MOST_ROWS, more="more warning")),
        _headed("Signed", bullets(signoff_lines(record), _MOST_ROWS, more="more sign-off")),
        _headed("Verify it", _verifying(artifact)),
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _headed(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _metadata(
    record: Record, variant: Variant, artifact: Artifact, licence: Mapping[str, str]
) -> str:
    from huggingface_hub import ModelCardData

    base = record.base.given.partition("@")[0]
    is_on_hub = record.base.commit is not None and _HUB_ID.fullmatch(base) is not None
    relation = "quantized" if variant.quantize else "merge"
    data = ModelCardData(
        base_model=base if is_on_hub else None,
        base_model_relation=relation if is_on_hub else None,
        pipeline_tag="text-generation",
        tags=["mergegate", "lora", *_tags(variant)],
        model_name=artifact.name,
        eval_results=list(_evaluations(record, variant)) or None,
        **licence,
    )
    return f"{data.to_yaml()}\n"


def _tags(variant: Variant) -> Iterator[str]:
    yield "merge"
    if variant.quantize is not None:
        yield from ("quantized", variant.quantize.name)


def _evaluations(record: Record, variant: Variant) -> Iterator[object]:
    """Each score as metadata, with the interval and the number of documents behind it."""
    from huggingface_hub import EvalResult

    for task in record.tasks:
        value, interval, documents = _measured(record, variant.name, task)
        if value is None:
            continue
        ends = {} if interval is None else {"low": interval.low, "high": interval.high}
        yield EvalResult(
            task_type="text-generation",
            dataset_type=task.name,
            dataset_name=task.name,
            metric_type=task.metric,
            metric_name=f"{task.metric} of {task.name}",
            metric_value=value,
            metric_args={**ends, "one_sided_confidence": CONFIDENCE, "documents": documents},
        )


def _measured(
    record: Record, variant: str, task: Task
) -> tuple[float | None, Interval | None, int]:
    """A score, its interval, and of how many documents it is."""
    score = score_of(record, variant, task.name)
    if score is None or not score.samples:
        return None, None, 0
    found = summarize(KeptScore.model_validate(score.model_dump()), task)
    return (None, None, 0) if found is None else (found.value, found.interval, found.documents)


def _opening(record: Record, variant: Variant) -> str:
    found = next(one for one in record.verdicts if one.variant == variant.name)
    said = escape(verdict_sentence(record, found), limit=_MOST_SENTENCE)
    return (
        f"Release {escape(record.release)}. **Verdict: {found.verdict}.** {said}. "
        f"[The whole report]({EVIDENCE_FOLDER}/report.html), "
        f"[its record]({RECORD_FILE})."
    )


def _facts(record: Record, variant: Variant, artifact: Artifact) -> str:
    report = artifact.report
    fallbacks = f", {count(len(report.fallbacks), 'tensor')} in a wider type than asked for"
    lines = [
        f"base model: {record.base.given}, {_identity(record.base.commit, record.base.digest)}",
        *(
            f"adapter {name}: {record.adapters[name].given}, "
            f"{_identity(record.adapters[name].commit, record.adapters[name].digest)}; "
            f"its files are in {ADAPTERS_FOLDER}/{name}"
            for name in variant.adapters
        ),
        f"training run: {record.candidate.training_run or 'not given'}",
        f"merge: {variant.merge}{_merge_time(record, variant)}",
        f"quantization: {variant.quantize or 'none'}",
        f"made {moment(artifact.made_at)}, the last step in {duration(artifact.seconds)}",
        f"{count(report.parameters, 'weight')}, {bits(report.bits_per_weight)} bits per weight, "
        f"{size(artifact.size_bytes)}{fallbacks if report.fallbacks else ''}",
        f"judged with {variant.backend} by mergegate {record.provenance.gate_version}, "
        f"{moment(record.provenance.created_at)}",
    ]
    return bullets(lines, _MOST_ROWS, more="more line")


def _merge_time(record: Record, variant: Variant) -> str:
    """When the merge behind a quantized variant was made, where the run kept it as a variant."""
    if variant.quantize is None:
        return ""  # what was made is the merge itself
    line = _line(record, variant)
    merges = (one.name for one in record.variants if one.name in line and one.quantize is None)
    made = next((one for name in merges if (one := artifact_of(record, name))), None)
    return f", made {moment(made.made_at)} in {duration(made.seconds)}" if made else ""


def _identity(commit: str | None, digest: str) -> str:
    return f"commit {commit}" if commit else f"content id {digest}"


def _scores(record: Record, variant: Variant) -> str:
    """Every task of the variant and of those it comes from, on the same documents."""
    line = [one for one in record.variants if one.name in _line(record, variant)]
    rows = []
    for task in record.tasks:
        _, interval, documents = _measured(record, variant.name, task)
        cells = (score_text(score_of(record, one.name, task.name)) for one in line)
        is_share = _is_share(record, variant.name, task)
        rows.append(
            (
                escape(task.name),
                escape(task.metric),
                *cells,
                _interval_text(interval, is_share=is_share),
                count(documents),
            )
        )
    header = (
        "Task",
        "Metric",
        *(escape(one.name) for one in line),
        f"Interval of {escape(variant.name)}",
        "Documents",
    )
    text = grid(header, rows, _MOST_ROWS)
    return (
        f"{text}\n\nEach end of an interval holds at {percent(CONFIDENCE, decimals=0)}."
        if text
        else ""
    )


def _line(record: Record, variant: Variant) -> set[str]:
    """The names of the variants from base to this one."""
    bases = {one.name for one in record.variants if one.kind == "base"}
    return bases | {*lineage_of(variant, record.variants, record.results)}


def _is_share(record: Record, variant: str, task: Task) -> bool:
    score = score_of(record, variant, task.name)
    return score is not None and score.is_binary and score.aggregate == "mean"


def _interval_text(interval: Interval | None, *, is_share: bool) -> str:
    if interval is None:
        return MISSING
    if is_share:
        return f"{percent(interval.low)} to {percent(interval.high)}"
    return f"{precise(interval.low)} to {precise(interval.high)}"


def _checks(record: Record, variant: Variant) -> str:
    line = _line(record, variant)
    return checks_grid([one for one in record.results if one.variant in line], _MOST_ROWS)


def _warnings(record: Record, variant: Variant) -> tuple[str, ...]:
    """What the checks warn of, and the run's notes but those on variants it does not come from."""
    found = next(one for one in record.verdicts if one.variant == variant.name)
    line = _line(record, variant)
    others = {one.name for one in record.variants} - line - {one.name for one in record.tasks}
    foreign = tuple(f"{of}{name}: " for name in others for of in ("", "merge ", "quantize "))
    noted = (one for one in record.warnings if not one.startswith(foreign))
    return (*warnings_of(found), *noted)


def _verifying(artifact: Artifact) -> str:
    return (
        "```console\n$ gate verify . --key KEY.pub\n```\n\n"
        f"checks every byte, the signature and the verdict. `{MANIFEST_FILE}` has the SHA-256 of "
        f"every file; the content id of the model's own files is `{one_line(artifact.digest, 80)}`."
    )
