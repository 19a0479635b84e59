"""Records of a few documents, each answered as a test says, for what reports tell of changes."""

from collections.abc import Sequence

from record_parts import sha
from records_builder import build_record

from gate.evaluation_records import Corpus, Document, Sample, Score
from gate.records import Record

Said = Sequence[tuple]
"""For each document (value, answer), and the nats of its choices where it has some."""


def build_documents(
    *,
    task: str = "arc_easy",
    documents: Sequence[Document] | None = None,
    is_binary: bool = True,
    higher_is_better: bool = True,
    slices: Sequence[str] | None = None,
    **said: Said,
) -> Record:
    """A run of one task, of which one check compares `base` with `adapter`.

    `said` gives what each variant made of the documents; `documents` are made up unless given.
    """
    whole = build_record(documents=1)
    check = whole.results[0].model_copy(update={"task": task})
    count = max(map(len, said.values()))
    made = [build_document(number) for number in range(count)] if documents is None else documents
    scores = [
        Score(
            variant=variant,
            task=task,
            metric="score",
            higher_is_better=higher_is_better,
            is_binary=is_binary,
            samples=tuple(_samples(answers, slices)),
        )
        for variant, answers in said.items()
    ]
    return whole.model_copy(
        update={
            "tasks": (whole.tasks[0].model_copy(update={"name": task, "metric": "score"}),),
            "corpora": (Corpus(task=task, documents=tuple(made)),),
            "scores": tuple(scores),
            "results": (check,),
        }
    )


def build_document(number: int, **settings) -> Document:
    given = {"prompt": f"Question {number}", "target": "yes", "choices": ()} | settings
    return Document(id=number, hash=sha(str(number)), **given)


def _samples(answers: Said, slices: Sequence[str] | None):
    for number, (value, answer, *nats) in enumerate(answers):
        yield Sample(
            id=number,
            hash=sha(str(number)),
            value=value,
            answer=answer,
            request_hash="r",
            loglikelihoods=nats[0] if nats else (),
            slice=slices[number] if slices else None,
        )
