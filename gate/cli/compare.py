"""gate compare: two lm-eval runs with --log_samples, judged as a gate run judges two variants."""

import math
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gate.file_comparison import FileComparison, TaskComparison

_COLUMNS = 100
_RUN = "A samples_*.jsonl of lm_eval --log_samples, or the directory with them."


def compare(
    reference: Annotated[Path, typer.Argument(help=f"What is held up to. {_RUN}", metavar="REF")],
    candidate: Annotated[Path, typer.Argument(help=f"What is judged. {_RUN}", metavar="CAND")],
    *,
    metric: Annotated[str, typer.Option("--metric", help="Judged on each document, such as acc.")],
    margin: Annotated[
        float,
        typer.Option("--margin", help="The loss allowed: of a share, 0.01 is 1 point."),
    ],
    task: Annotated[
        str | None, typer.Option("--task", help="Only this one of the tasks there are.")
    ] = None,
    filter_name: Annotated[
        str | None, typer.Option("--filter", help="The filter, where a task has several.")
    ] = None,
    is_two_sided: Annotated[
        bool, typer.Option("--two-sided", help="A gain beyond the margin fails as well.")
    ] = False,
    confidence: Annotated[
        float, typer.Option("--confidence", help="Of each end of the interval, one-sided.")
    ] = 0.95,
    higher_is_better: Annotated[
        bool | None,
        typer.Option(
            "--higher-is-better/--lower-is-better",
            help="Where no results_*.json beside the samples says so.",
        ),
    ] = None,
    is_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Judge one lm-eval run against another, on the samples they logged. No model is loaded.

    Samples are paired by document; other documents, prompts, filters or settings are refused.

    Exit status: 0 every task passed, 1 one failed, 2 wrong input, 3 one could not be computed,
    4 inconclusive.

    --json prints {"verdict": promote, block, inconclusive or error, "tasks": [...]}. Each task has
    task, metric, filter, higher_is_better, num_fewshot, reference_file, candidate_file,
    reference_mean, candidate_mean, documents_needed (in all, or null) and result: check, outcome
    (pass, fail, inconclusive or error), reason, tolerance, needed, correction, and estimate with
    value, low, high, n, unit, method, flips (gains, losses, mid_p; null for a continuous metric),
    standard_error and clusters (null where there is none).
    """
    from gate.file_comparison import Question, compare_files, pair_files
    from gate.result_records import EXIT_STATUS
    from gate.sample_files import find_sample_files

    question = Question(
        metric=metric,
        margin=margin,
        filter=filter_name,
        is_two_sided=is_two_sided,
        confidence=confidence,
        higher_is_better=higher_is_better,
    )
    pairs = pair_files(find_sample_files(reference), find_sample_files(candidate), task=task)
    found = compare_files(pairs, question)
    text = f"{found.model_dump_json(indent=1)}\n" if is_json else _text(found)
    sys.stdout.write(text)
    raise typer.Exit(EXIT_STATUS[found.verdict])


def _text(found: "FileComparison") -> str:
    lines = [line for one in found.tasks for line in _task_lines(one)]
    return "".join(f"{line}\n" for line in (*lines, _last_line(found)))


def _task_lines(one: "TaskComparison") -> Iterator[str]:
    from gate.presentation import OUTCOME_WORDS, amount, count, p_value

    yield f"{one.task}: {OUTCOME_WORDS[one.result.outcome]}"
    yield from textwrap.wrap(
        one.result.reason, _COLUMNS, initial_indent="  ", subsequent_indent="    "
    )
    estimate = one.result.estimate
    if estimate is None:
        return
    unit = "share" if estimate.flips else ""
    before, after = amount(one.reference_mean, unit), amount(one.candidate_mean, unit)
    sign = " %" if estimate.flips else ""
    by = f"{one.metric} by {one.filter}" if one.filter not in (None, "none") else one.metric
    better = "" if one.higher_is_better else ", lower is better"
    yield f"  {by}: {before}{sign} -> {after}{sign}{better}"
    if estimate.flips:
        flips = estimate.flips
        yield (
            f"  flips: {count(flips.gains)} gained, {count(flips.losses)} lost, "
            f"mid-p {p_value(flips.mid_p)}"
        )
    if one.documents_needed:
        needed = count(_rounded_up(one.documents_needed))
        yield f"  documents: {count(estimate.n)}; about {needed} would probably decide"


def _rounded_up(number: int) -> int:
    """The next number with two significant digits."""
    step = int(10 ** max(len(str(number)) - 2, 0))
    return math.ceil(number / step) * step


def _last_line(found: "FileComparison") -> str:
    from gate.presentation import OUTCOME_WORDS, count

    outcomes = [one.result.outcome for one in found.tasks]
    tally = [
        f"{outcomes.count(outcome)} {word}"
        for outcome, word in OUTCOME_WORDS.items()
        if outcome in outcomes
    ]
    return f"{found.verdict.upper()}: {count(len(outcomes), 'task')}: {', '.join(tally)}"
