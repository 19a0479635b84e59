"""The looks of a sequential run: growing, whole chunks, the last one at everything."""

import pytest

from gate.evaluation_records import Score
from gate.judging.looks import look_sizes, planned_looks
from gate.terms import Sequential, Task


@pytest.mark.parametrize(
    ("documents", "sizes"),
    [
        (1000, (50, 100, 200, 400, 800, 1000)),
        (800, (50, 100, 200, 400, 800)),
        (51, (50, 51)),
        (50, (50,)),
        (1, (1,)),
    ],
)
def test_looks_double_until_the_last_one_takes_all(documents, sizes):
    assert look_sizes(Sequential(), documents) == sizes


def test_looks_end_where_fifty_documents_do():
    assert look_sizes(Sequential(first=100, growth=1.3), 500) == (100, 150, 200, 300, 400, 500)


def test_looks_that_begin_elsewhere_grow_as_asked():
    assert look_sizes(Sequential(first=30, growth=1.5), 110) == (30, 45, 68, 102, 110)


@pytest.mark.parametrize("first", [10, 50, 60])
@pytest.mark.parametrize("growth", [1.000001, 1.1, 2.0, 10.0])
@pytest.mark.parametrize("documents", [1, 49, 50, 333, 1000])
def test_every_look_takes_more_than_the_one_before(first, growth, documents):
    sizes = look_sizes(Sequential(first=first, growth=growth), documents)
    assert list(sizes) == sorted(set(sizes))
    assert sizes[-1] == documents
    assert sizes[0] == min(first, documents)


def test_a_growth_that_meets_a_step_is_not_rounded_past_it():
    assert look_sizes(Sequential(first=500, growth=1.1), 700)[:2] == (500, 550)


def scored(task, available):
    about = {"variant": "base", "task": task, "metric": "acc", "available": available}
    return Score(**about, higher_is_better=True, is_binary=True, samples=())


def test_looks_are_planned_of_the_tasks_that_were_evaluated_up_to_their_limit():
    tasks = [Task(name="whole", metric="acc"), Task(name="part", metric="acc", limit=80)]
    scores = [scored("whole", 150), scored("part", 150)]
    assert planned_looks(Sequential(), tasks, scores) == {"whole": (50, 100, 150), "part": (50, 80)}
    assert planned_looks(Sequential(), tasks, scores[:1]) == {"whole": (50, 100, 150)}


def test_no_looks_are_planned_where_a_suite_is_not_sequential():
    tasks = [Task(name="whole", metric="acc")]
    assert planned_looks(None, tasks, [scored("whole", 150)]) == {}
