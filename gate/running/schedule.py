"""Which batches of a round may start now: those whose needs are there, where there is room."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from gate.planning.soonest import Stages
from gate.running.slots import Demand, Slot, Slots


class Placed(NamedTuple):
    """A batch and its part of the machine."""

    batch: Stages
    slot: Slot


class Schedule:
    """The batches of a round as a graph, worked off from its roots."""

    def __init__(
        self, batches: Iterable[Stages], slots: Slots, demand_of: Callable[[Stages], Demand]
    ) -> None:
        """Let all of them wait.

        Args:
            batches: the one to prefer first, and each after what it needs.
            slots: where they run.
            demand_of: what a batch needs of the machine, asked when what it reads is there.
        """
        self._waiting = list(batches)
        self._open = {one.stage.key for batch in self._waiting for one in batch}
        self._slots = slots
        self._demand_of = demand_of

    def take(self) -> Placed | None:
        """The first batch that may start now; None while there is none, or where none is left."""
        for batch in self._waiting:
            if not self._is_ready(batch):
                continue
            demand = self._demand_of(batch)
            slot = self._slots.take(demand)
            if slot is not None:
                self._waiting.remove(batch)
                return Placed(batch, slot)
            if demand.is_alone:  # whatever began before it would keep it waiting
                return None
        return None

    def end(self, placed: Placed) -> None:
        """Take that a batch has ended, well or not, or was not begun."""
        self._slots.give_back(placed.slot)
        self._open -= _keys(placed.batch)

    def _is_ready(self, batch: Stages) -> bool:
        """Whether all that a batch needs has been tried."""
        needed = {key for one in batch for key in one.needs.values()}
        return not needed & (self._open - _keys(batch))


def _keys(batch: Stages) -> set[str]:
    return {one.stage.key for one in batch}
