"""Scores with places, clusters and slices, and what the judge says of them."""

import random

from test_judge import TASK, corpus

from gate.judging.judge import judge


def placed(score, *, cluster=None, part=None):
    """The score in a seeded order; `cluster` and `part` say what document i belongs to."""
    order = list(range(len(score.samples)))
    random.Random(3).shuffle(order)
    samples = (
        sample.model_copy(
            update={
                "place": order[i],
                "cluster": cluster and cluster(i),
                "slice": part and part(i),
            }
        )
        for i, sample in enumerate(score.samples)
    )
    return score.model_copy(update={"samples": tuple(samples)})


def both(pair, **options):
    """Both scores of a pair, placed alike."""
    return tuple(placed(score, **options) for score in pair)


def judged_at_looks(pair, check, sizes, *, noise=None):
    """The result of one check of a task with planned looks."""
    scores = {(score.variant, TASK): score for score in pair}
    documents = corpus(max(len(score.samples) for score in pair))
    (result,) = judge([check], scores, documents, {}, looks={TASK: sizes}, noise=noise)
    return result


def judged_together(pairs, check):
    """The results of one check of several tasks, each with a pair of scores of its own."""
    scores, checks, corpora = {}, [], {}
    for number, pair in enumerate(pairs):
        task = f"task{number}"
        checks.append(check.model_copy(update={"task": task}))
        corpora[task] = corpus(len(pair[0].samples))[TASK].model_copy(update={"task": task})
        scores |= {(one.variant, task): one.model_copy(update={"task": task}) for one in pair}
    return judge(checks, scores, corpora, {})
