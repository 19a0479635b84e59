"""Documents of a task that are the same: told apart from the rest, and counted once."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from gate.evaluation_records import Corpus, Document, Score
from gate.judging.noise import Noise
from gate.judging.pairing import Pair, with_samples
from gate.lineage_records import Duplicates
from gate.tables import Table

_FIRST = 3


def find_duplicates(
    corpora: Iterable[Corpus], scores: Iterable[Score] = ()
) -> tuple[Duplicates, ...]:
    """The equal documents of each task that has some; of each group the first one asked counts.

    The first asked is the first in the seeded order, so that a document that counted at an early
    look of a sequential run counts at every later one.

    Two are equal where their hashes are, so that every field is, or where prompt, choices and
    target are, so that the model is asked the same and the same answer is right. Where examples
    are drawn anew for each document the prompts of one document differ, and only the hash tells:
    where a prompt's examples end and its question begins cannot be read from the prompt, and
    documents that only end alike are not equal.

    Args:
        corpora: the documents of each task.
        scores: of those tasks, for the places of their documents; by id where there are none.
    """
    places: dict[str, dict[int, int]] = {}
    for score in scores:
        columns = (score.samples.column(name).tolist() for name in ("id", "place"))
        places.setdefault(score.task, {}).update(zip(*columns, strict=True))
    found = (
        (corpus.task, tuple(_groups(corpus.documents, places.get(corpus.task, {}))))
        for corpus in corpora
    )
    return tuple(Duplicates(task=task, groups=groups) for task, groups in found if groups)


def without_duplicates(
    scores: Mapping[tuple[str, str], Score], duplicates: Sequence[Duplicates]
) -> dict[tuple[str, str], Score]:
    """Scores in which one of equal documents is left, the same one in every score of a task.

    Args:
        scores: {(variant, task): score}.
        duplicates: what `find_duplicates` gave.
    """
    uncounted = {one.task: frozenset(one.uncounted) for one in duplicates}
    return {
        (variant, task): _without(score, uncounted[task]) if task in uncounted else score
        for (variant, task), score in scores.items()
    }


def noise_without_duplicates(noise: Noise, duplicates: Sequence[Duplicates]) -> Noise:
    """The second evaluations of engines, on the documents that count.

    Args:
        noise: pairs of evaluations, or why there are not two.
        duplicates: what `find_duplicates` gave.
    """
    uncounted = {one.task: frozenset(one.uncounted) for one in duplicates}
    pairs = {
        (engine, task): Pair(*(_without(score, uncounted[task]) for score in twice))
        if task in uncounted and isinstance(twice, Pair)
        else twice
        for (engine, task), twice in noise.pairs.items()
    }
    return noise._replace(pairs=pairs)


def duplicate_warnings(duplicates: Iterable[Duplicates]) -> Iterator[str]:
    """What to know of each task with equal documents: how many do not count, the first of them."""
    for one in duplicates:
        count = len(one.uncounted)
        pairs = [(group[0], again) for group in one.groups for again in group[1:]]
        pairs.sort(key=lambda pair: pair[1])
        first = ", ".join(f"{again} is {counted} again" for counted, again in pairs[:_FIRST])
        yield (
            f"{one.task}: {count:,} {'document repeats' if count == 1 else 'documents repeat'} "
            f"another and {'does' if count == 1 else 'do'} not count (first: {first})"
        )


def _without(score: Score, uncounted: frozenset[int]) -> Score:
    is_kept = np.isin(score.samples.column("id"), list(uncounted), invert=True)
    return with_samples(score, score.samples.take(is_kept))


def _groups(documents: Table[Document], places: Mapping[int, int]) -> Iterator[tuple[int, ...]]:
    """Ids that share a key, or share one with an id that does, in groups of more than one."""
    earlier: dict[int, int] = {}
    first: dict[Hashable, int] = {}

    def find(number: int) -> int:
        while number in earlier:
            number = earlier[number]
        return number

    for document, keys in _keys(documents.take(np.argsort(documents.column("id"), kind="stable"))):
        for key in keys:
            one, other = find(document), find(first.setdefault(key, document))
            if one != other:
                earlier[max(one, other)] = min(one, other)
    groups: dict[int, list[int]] = {}
    for number in earlier:
        groups.setdefault(find(number), []).append(number)
    for least, others in sorted(groups.items()):
        group = (least, *others)
        yield tuple(sorted(group, key=lambda number: (places.get(number, number), number)))


def _keys(documents: Table[Document]) -> Iterator[tuple[int, tuple[Hashable, ...]]]:
    """Each id with what an equal document shares; a text scored alone has no prompt to compare."""
    names = ("hash", "prompt", "choices", "target")
    columns = (documents.column(name) for name in names)
    for number, key, *asked in zip(documents.column("id").tolist(), *columns, strict=True):
        prompt, *_ = asked
        yield number, (key, tuple(asked)) if prompt else (key,)
