"""Runs batches on this machine: one after the other, or several at once in threads."""

from queue import SimpleQueue
from threading import Thread
from typing import Generic, Protocol, TypeVar

from gate.jobs import Event, Line

WorkType = TypeVar("WorkType")


class Course(Protocol[WorkType]):
    """What is to be run. All but `run` is called in the thread of `execute`, one at a time."""

    def begin(self) -> WorkType | None:
        """What may start now; None while nothing may, or where nothing is left."""

    def run(self, work: WorkType, line: Line) -> None:
        """Do it, in a thread of its own where there are several workers; returns when it ended."""

    def follow(self, event: Event) -> None:
        """Take an event of something that runs."""

    def end(self, work: WorkType) -> None:
        """Take that it has ended, well or not; its events have all been followed."""


def execute(course: Course[WorkType], *, workers: int = 1) -> None:
    """Run until nothing runs and nothing may start.

    Whatever is raised, here or in a worker, stops all that runs before it is raised on.

    Args:
        course: says what may start, and follows it.
        workers: how many things may run at once; a single one runs in this thread.
    """
    if workers > 1:
        _in_threads(course)
        return
    while (work := course.begin()) is not None:
        course.run(work, Line(course.follow))
        course.end(work)


class _Worker(Generic[WorkType]):
    """A thread that does one thing, and ends with a word of it in the common queue."""

    def __init__(
        self,
        course: Course[WorkType],
        work: WorkType,
        told: "SimpleQueue[Event | _Worker[WorkType]]",
    ) -> None:
        self.work = work
        self.error: BaseException | None = None
        self._course = course
        self._told = told
        self._line = Line(told.put)
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop what it runs."""
        self._line.cut()

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._course.run(self.work, self._line)
        except BaseException as error:  # noqa: BLE001 (a thread's edge: raised on by who waits)
            self.error = error
        self._told.put(self)


def _in_threads(course: Course[WorkType]) -> None:
    """Run as many things at once as may start."""
    told: SimpleQueue[Event | _Worker[WorkType]] = SimpleQueue()
    running: list[_Worker[WorkType]] = []
    try:
        while True:
            while (work := course.begin()) is not None:
                running.append(_Worker(course, work, told))
            if not running:
                return
            one = told.get()
            if not isinstance(one, _Worker):
                course.follow(one)
                continue
            running.remove(one)
            if one.error is not None:
                raise one.error
            course.end(one.work)
    finally:
        for worker in running:
            worker.stop()
        for worker in running:
            worker.join()
