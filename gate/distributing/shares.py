"""The documents of evaluations shared out among several workers, and what they tell as one."""

from collections.abc import Iterable

from gate.evaluate import PART
from gate.jobs import Batch, Done, Event, Failed, Job, OnEvent, Progress, Share, Started


def share_out(batch: Batch, *, shards: int) -> tuple[Batch, ...]:
    """A batch of evaluations as one batch for each share of their documents.

    Args:
        batch: the jobs that share a loaded model.
        shards: the most parts; fewer where the limits of the tasks leave some without documents.

    Returns:
        The batch itself where it is not one of evaluations whose documents are kept as they are
        scored, or where there is one part.
    """
    is_kept = all(job.stage.kind == "evaluate" and job.partial for job in batch.jobs)
    limits = [job.task.limit if job.task else None for job in batch.jobs]
    known = [limit for limit in limits if limit is not None]
    if len(known) == len(limits):
        shards = min(shards, max(-(-limit // PART) for limit in known))
    if not is_kept or shards <= 1:
        return (batch,)
    return tuple(
        batch.model_copy(update={"share": Share(part=part, of=shards)}) for part in range(shards)
    )


class Sharing:
    """Hears the workers of all shares of a batch, and tells of each job as if it had one."""

    def __init__(self, jobs: Iterable[Job], on_event: OnEvent, *, shards: int) -> None:
        """Take the jobs, and who is told."""
        self._jobs = tuple(jobs)
        self._on_event = on_event
        self._shards = shards
        self._begun: set[str] = set()
        self._asked: dict[str, dict[int, Progress]] = {}
        self._done: dict[str, list[Done]] = {}
        self._failed: dict[str, Failed] = {}

    def hear(self, part: int, event: Event) -> None:
        """Take what the worker of a part tells; what is of one part alone is kept until the end."""
        match event:
            case Started():
                self._begin(event)
            case Progress():
                self._move_on(part, event)
            case Done():
                self._done.setdefault(event.key, []).append(event)
            case Failed():
                self._failed.setdefault(event.key, self._named(part, event))

    def whole(self) -> tuple[Job, ...]:
        """The jobs of which every share is done; of the others it is told why they are not."""
        for failed in self._failed.values():
            self._on_event(failed)
        return tuple(job for job in self._jobs if job.stage.key not in self._failed)

    def assembled(self, event: Event) -> None:
        """Take what the one tells who puts the shares together."""
        match event:
            case Done():
                parts = (*self._done[event.key], event)
                cost = {
                    "seconds": sum(one.seconds for one in parts),
                    "peak_memory_bytes": max(one.peak_memory_bytes for one in parts),
                    "interpreter": parts[0].interpreter,
                }
                self._on_event(event.model_copy(update=cost))
            case Failed():
                self._on_event(event)

    def _begin(self, event: Started) -> None:
        if event.key not in self._begun:
            self._begun.add(event.key)
            self._on_event(event)

    def _move_on(self, part: int, event: Progress) -> None:
        """Every part tells its own documents of all there are."""
        parts = self._asked.setdefault(event.key, {})
        parts[part] = event
        done = sum(one.done for one in parts.values())
        self._on_event(event.model_copy(update={"done": done}))

    def _named(self, part: int, event: Failed) -> Failed:
        problem = f"part {part + 1} of {self._shards} of its documents: {event.problem}"
        return event.model_copy(update={"problem": problem})
