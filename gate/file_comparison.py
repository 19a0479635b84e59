"""Two sets of lm-eval samples, judged as a gate run judges two variants: no model is needed."""

from collections.abc import Iterable
from typing import NamedTuple

from gate.errors import ConfigError, SourceError, suggest
from gate.evaluate import BINARY_METRICS
from gate.evaluation_records import Corpus, Document, Sample, Score
from gate.judging.judge import judge, verdict_of
from gate.result_records import CheckResult, Verdict
from gate.sample_files import LoggedSample, LoggedSamples, SampleFile, read_samples
from gate.sample_pairs import pair_samples
from gate.terms import Check, Noun, ResolvedCheck, Use

REFERENCE, CANDIDATE = "reference", "candidate"


class Question(NamedTuple):
    """What is asked of each task.

    Attributes:
        metric: judged document by document, such as acc.
        margin: the loss allowed, in the metric's unit: 0.01 of a share is 1 point.
        filter: the lm-eval filter; None for the only one.
        is_two_sided: whether a gain beyond the margin fails as well.
        confidence: one-sided, in (0.5, 1).
        higher_is_better: None to believe the results beside the samples.
    """

    metric: str
    margin: float
    filter: str | None = None
    is_two_sided: bool = False
    confidence: float = 0.95
    higher_is_better: bool | None = None

    def check(self) -> Check:
        """The check that a suite would have for it.

        Raises:
            ConfigError: a margin or confidence that cannot be.
        """
        most = 1.0 if self.metric in BINARY_METRICS else float("inf")
        if not 0 < self.margin < most:
            raise ConfigError(
                f"--margin {self.margin:g}: is above 0, and of a share of documents below 1",
                hint="0.02 means 2 points",
            )
        if not 0.5 < self.confidence < 1:  # noqa: PLR2004 (half is what guessing gives)
            raise ConfigError(f"--confidence {self.confidence:g}: is above 0.5 and below 1")
        return Check(
            of=CANDIDATE,
            against=REFERENCE,
            compare=Use(name="delta"),
            at_least=-self.margin,
            at_most=self.margin if self.is_two_sided else None,
            confidence=self.confidence,
        )


class TaskComparison(Noun):
    """What was found for one task.

    Attributes:
        reference_file: the file of the reference's samples.
        candidate_file: the file of the candidate's samples.
        filter: None where the files do not name one.
        num_fewshot: examples before each document; None where no results say so.
        reference_mean: the metric over the documents.
        candidate_mean: the metric over the same documents.
        documents_needed: in all, to decide what is inconclusive; None where nothing is, or where
            more documents hardly help.
        result: outcome, sentence and estimate, with gains and losses of a binary metric.
    """

    task: str
    metric: str
    filter: str | None
    higher_is_better: bool
    num_fewshot: int | None
    reference_file: str
    candidate_file: str
    reference_mean: float
    candidate_mean: float
    documents_needed: int | None
    result: CheckResult


class FileComparison(Noun):
    """Every task, and the verdict of them together: promote, block, inconclusive or error."""

    verdict: Verdict
    tasks: tuple[TaskComparison, ...]


class FilePair(NamedTuple):
    """The files of one task."""

    task: str
    reference: SampleFile
    candidate: SampleFile


def pair_files(
    reference: Iterable[SampleFile], candidate: Iterable[SampleFile], *, task: str | None
) -> tuple[FilePair, ...]:
    """The two files of each task, or of the one that is named.

    A file whose name does not tell its task fits any.

    Raises:
        SourceError: a task that one of the two does not have.
    """
    arms = ((tuple(reference), REFERENCE), (tuple(candidate), CANDIDATE))
    names = [one.task for files, _ in arms for one in files if one.task is not None]
    wanted = [task] if task else sorted(set(names)) or ["samples"]
    hint = None if task else "judge one that both have with --task"
    return tuple(
        FilePair(one, *(_of_task(one, files, whose, hint=hint) for files, whose in arms))
        for one in wanted
    )


def compare_files(pairs: Iterable[FilePair], question: Question) -> FileComparison:
    """Judge the candidate's samples against the reference's, task by task.

    Raises:
        ConfigError: a file that cannot be used, two that are not of the same documents, prompts
            and metric, or a margin that cannot be.
    """
    check = question.check()
    tasks = tuple(_compare(pair, question, check) for pair in pairs)
    verdict = verdict_of(CANDIDATE, (), [one.result for one in tasks]).verdict
    return FileComparison(verdict=verdict, tasks=tasks)


def _of_task(
    task: str, files: tuple[SampleFile, ...], whose: str, *, hint: str | None
) -> SampleFile:
    for file in files:
        if file.task in (task, None):
            return file
    names = [file.task for file in files if file.task is not None]
    raise SourceError(f"the {whose} has no samples of {task}", hint=hint or suggest(task, names))


def _compare(pair: FilePair, question: Question, check: Check) -> TaskComparison:
    reference, candidate = (
        read_samples(file, task=pair.task, metric=question.metric, filter_name=question.filter)
        for file in (pair.reference, pair.candidate)
    )
    matched = pair_samples(pair.task, reference, candidate)
    values = {one.value for two in matched for one in two}
    blank = Score(
        variant="",
        task=pair.task,
        metric=question.metric,
        higher_is_better=_direction(pair.task, question, reference, candidate),
        is_binary=question.metric in BINARY_METRICS and values <= {0.0, 1.0},
        samples=(),
    )
    before = _filled(blank, REFERENCE, [two.reference for two in matched])
    after = _filled(blank, CANDIDATE, [two.candidate for two in matched])
    documents = tuple(_document(place, two[0]) for place, two in enumerate(matched))
    corpora = {pair.task: Corpus(task=pair.task, documents=documents)}
    resolved = ResolvedCheck(check=check, variant=CANDIDATE, reference=REFERENCE, task=pair.task)
    scores = {(one.variant, one.task): one for one in (before, after)}
    (result,) = judge([resolved], scores, corpora, {})
    return TaskComparison(
        task=pair.task,
        metric=question.metric,
        filter=reference.filter or candidate.filter,
        higher_is_better=blank.higher_is_better,
        num_fewshot=reference.num_fewshot,
        reference_file=str(pair.reference.path),
        candidate_file=str(pair.candidate.path),
        reference_mean=before.mean,
        candidate_mean=after.mean,
        documents_needed=result.needed,
        result=result,
    )


def _filled(blank: Score, variant: str, logged: Iterable[LoggedSample]) -> Score:
    """The score of one run, with its documents numbered as they are paired."""
    samples = tuple(
        Sample(id=place, hash=one.hash, value=one.value, answer="", request_hash=one.prompt)
        for place, one in enumerate(logged)
    )
    return blank.model_copy(update={"variant": variant, "samples": samples})


def _document(place: int, one: LoggedSample) -> Document:
    """A document as far as the judge reads it: the level of chance is one of its choices."""
    return Document(id=place, hash=one.hash, prompt="", target="", choices=one.choices)


def _direction(
    task: str, question: Question, reference: LoggedSamples, candidate: LoggedSamples
) -> bool:
    """Whether more is better: by the results, else as given, else as every right-or-wrong metric.

    Raises:
        ConfigError: nothing says so, or two things say otherwise.
    """
    metric, given = question.metric, question.higher_is_better
    told = {reference.higher_is_better, candidate.higher_is_better} - {None}
    if len(told) > 1:
        raise SourceError(f"{task}: the two results differ in whether more {metric} is better")
    if given is not None and told - {given}:
        better, flag = ("higher", "--lower") if True in told else ("lower", "--higher")
        raise ConfigError(
            f"{task}: its results say that {better} {metric} is better",
            hint=f"leave out {flag}-is-better",
        )
    for known in (*told, given):
        if known is not None:
            return known
    if metric in BINARY_METRICS:
        return True
    raise ConfigError(
        f"{task}: nothing says whether more {metric} is better",
        hint="keep results_*.json beside the samples, or give --lower-is-better "
        "or --higher-is-better",
    )
