"""Several things at once: events in one thread, an error stops everything, nothing is left."""

import threading
from collections.abc import Callable

import pytest

from gate.executors.local import execute
from gate.jobs import Started

PATIENCE = 60.0
"""Seconds after which a test that waits for a thread fails; nothing waits that long otherwise."""


class Course:
    """Works that wait for nothing.

    Attributes:
        told: what each said, and that it ended, in the order in which it came.
        threads: those in which it came.
    """

    def __init__(self, *works: Callable, at_once: int = 9):
        self.works = list(works)
        self.free = at_once
        self.told = []
        self.threads = set()

    def begin(self):
        self.threads.add(threading.current_thread())
        if not self.works or not self.free:
            return None
        self.free -= 1
        return self.works.pop(0)

    def run(self, work, line):
        work(line)

    def follow(self, event):
        self.threads.add(threading.current_thread())
        self.told.append(event.key)

    def end(self, work):
        self.threads.add(threading.current_thread())
        self.free += 1
        self.told.append("end")


def says(key: str) -> Callable:
    return lambda line: line(Started(key=key))


def waits_for_its_end(line):
    """Runs until it is stopped."""
    stopped = threading.Event()
    with line.stopped_by(stopped.set):
        line(Started(key="waiting"))
        assert stopped.wait(PATIENCE)


def fails(line):
    raise OSError("no fork")


def test_two_workers_run_two_things_at_once():
    meeting = threading.Barrier(2)

    def meets(line):
        meeting.wait(PATIENCE)
        line(Started(key="met"))

    course = Course(meets, meets)
    execute(course, workers=2)
    assert sorted(course.told) == ["end", "end", "met", "met"]


def test_one_worker_runs_in_the_callers_thread():
    threads = []
    execute(Course(lambda line: threads.append(threading.current_thread())))
    assert threads == [threading.current_thread()]


def test_all_is_asked_and_told_in_the_callers_thread():
    course = Course(says("one"), says("other"), says("third"), at_once=2)
    execute(course, workers=2)
    assert course.threads == {threading.current_thread()}


def test_the_events_of_a_thing_come_before_its_end():
    course = Course(says("one"), says("other"), at_once=1)
    execute(course, workers=2)
    assert course.told == ["one", "end", "other", "end"]


def test_what_fails_in_a_thread_is_raised_and_stops_the_others():
    before = set(threading.enumerate())
    with pytest.raises(OSError, match="no fork"):
        execute(Course(waits_for_its_end, fails), workers=2)
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupt_stops_all_that_runs(error):
    class Interrupted(Course):
        def follow(self, event):
            if super().follow(event) or len(self.told) == 2:
                raise error

    before = set(threading.enumerate())
    with pytest.raises(error):
        execute(Interrupted(waits_for_its_end, waits_for_its_end), workers=2)
    assert set(threading.enumerate()) <= before


def test_what_is_said_after_the_end_is_not_heard():
    class Interrupted(Course):
        def follow(self, event):
            super().follow(event)
            raise KeyboardInterrupt

    def talks_on(line):
        waits_for_its_end(line)
        line(Started(key="late"))

    course = Interrupted(talks_on)
    with pytest.raises(KeyboardInterrupt):
        execute(course, workers=2)
    assert course.told == ["waiting"]


def test_what_begins_to_listen_for_its_end_too_late_is_stopped_at_once():
    begun, cut = threading.Event(), threading.Event()

    def is_late(line):
        begun.set()
        assert cut.wait(PATIENCE)
        with line.stopped_by(lambda: stopped.append(True)):
            pass

    class Interrupted(Course):
        def follow(self, event):
            assert begun.wait(PATIENCE)
            raise KeyboardInterrupt

    def ends_with_the_cut(line):
        with line.stopped_by(cut.set):
            line(Started(key="one"))
            assert cut.wait(PATIENCE)

    stopped = []
    with pytest.raises(KeyboardInterrupt):
        execute(Interrupted(is_late, ends_with_the_cut), workers=2)
    assert stopped == [True]
