"""What of this machine each batch gets that runs beside others: threads, GPUs, memory."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Literal, NamedTuple

from gate.cores import core_count
from gate.distributions.memory import free_bytes

Workers = int | Literal["auto"]
"""How many batches run at once; auto: one a GPU, or on CPUs as many as there are cores for."""

_MEBIBYTE = 1 << 20
_ORDER = "CUDA_DEVICE_ORDER"
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_THREADS = "OMP_NUM_THREADS"


class Gpu(NamedTuple):
    """A GPU: what CUDA_VISIBLE_DEVICES calls it, and its memory; None where that is not known."""

    name: str
    memory_bytes: int | None = None


class Demand(NamedTuple):
    """What a batch needs of a machine.

    Attributes:
        memory_bytes: that it is expected to take.
        is_declared: whether gate.yaml says so, and nothing was estimated.
        gpus: GPUs that its model is spread over.
        is_alone: nothing may run beside it, as it measures the machine.
    """

    memory_bytes: int
    is_declared: bool = False
    gpus: int = 1
    is_alone: bool = False


class Slot(NamedTuple):
    """A batch's part of the machine, for as long as it runs."""

    demand: Demand
    gpus: tuple[Gpu, ...] = ()


class Slots:
    """The parts of a machine that batches run in.

    A GPU holds one batch, or several whose memory is declared and fits. In memory are as many as
    are expected to fit. A batch that is by itself may always run.

    Attributes:
        workers: how many batches may run at once.
        threads: that each computes with where several run; None: as many as the engine likes.
    """

    def __init__(
        self,
        workers: int = 1,
        *,
        threads: int | None = None,
        gpus: Sequence[Gpu] = (),
        memory_bytes: int | None = None,
    ) -> None:
        """Nothing is taken yet.

        Args:
            workers: how many batches may run at once.
            threads: that each of them computes with.
            gpus: that they share.
            memory_bytes: that they share; None where it is not known.
        """
        self.workers = workers
        self.threads = threads
        self._gpus = gpus if workers > 1 else ()  # a single one sees them all, as outside the gate
        self._memory_bytes = memory_bytes
        self._taken: list[Slot] = []

    def take(self, demand: Demand) -> Slot | None:
        """A part for a batch; None while there is none."""
        gpus = self._free_gpus(demand)
        if self._taken and (gpus is None or not self._has_room(demand)):
            return None
        slot = Slot(demand, tuple(self._gpus) if gpus is None else gpus)
        self._taken.append(slot)
        return slot

    def give_back(self, slot: Slot) -> None:
        """Free what a batch had."""
        self._taken.remove(slot)

    def variables(self, slot: Slot) -> dict[str, str]:
        """The environment variables that keep a child to its part."""
        if not slot.gpus:
            return {}
        # nvidia-smi counts by bus, CUDA by speed unless it is told
        order = {} if _VISIBLE in os.environ else {_ORDER: "PCI_BUS_ID"}
        return {**order, _VISIBLE: ",".join(gpu.name for gpu in slot.gpus)}

    def _has_room(self, demand: Demand) -> bool:
        """Whether a batch may run beside those that do."""
        if len(self._taken) >= self.workers or demand.is_alone:
            return False
        demands = [slot.demand for slot in self._taken]
        if any(one.is_alone for one in demands):
            return False
        taken = sum(one.memory_bytes for one in demands)
        return self._memory_bytes is None or taken + demand.memory_bytes <= self._memory_bytes

    def _free_gpus(self, demand: Demand) -> tuple[Gpu, ...] | None:
        """GPUs for a batch; none where there are none, None where they are taken."""
        if not self._gpus:
            return ()
        free = [gpu for gpu in self._gpus if not self._on(gpu)]
        if len(free) >= demand.gpus:
            return tuple(free[: demand.gpus])
        if demand.gpus > 1:
            return None
        return next(((gpu,) for gpu in self._gpus if self._fits(demand, gpu)), None)

    def _fits(self, demand: Demand, gpu: Gpu) -> bool:
        """Whether a GPU has room for a batch beside those on it: all of them say what they take."""
        all_there = [*self._on(gpu), demand]
        declared = all(one.is_declared and one.gpus == 1 for one in all_there)
        needed = sum(one.memory_bytes for one in all_there)
        return declared and gpu.memory_bytes is not None and needed <= gpu.memory_bytes

    def _on(self, gpu: Gpu) -> list[Demand]:
        return [slot.demand for slot in self._taken if gpu in slot.gpus]


def slots_here(asked: Workers, *, most: int, model_bytes: int) -> Slots:
    """The parts of this machine.

    Args:
        asked: how many batches run at once.
        most: as many as there could be anything for: the variants.
        model_bytes: what the base model takes in memory.
    """
    cores = core_count()
    gpus, memory = find_gpus(os.environ) if asked != 1 else (), free_bytes()
    if asked == "auto":
        # a second thread gains a fifth on a small model, a second worker nearly twice
        places = len(gpus) or min(cores, (memory or model_bytes) // max(1, model_bytes))
        workers = max(1, min(places, most))
    else:
        workers = asked
    threads = _threads(workers, cores, os.environ)
    return Slots(workers, threads=threads, gpus=gpus, memory_bytes=memory)


def find_gpus(environment: Mapping[str, str]) -> tuple[Gpu, ...]:
    """The GPUs that a process with these variables sees, as the driver tells them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    command = [tool, "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
        table = "" if done.returncode else done.stdout
        return gpus_of(table, visible=environment.get(_VISIBLE)) if table else ()
    return ()


def gpus_of(table: str, *, visible: str | None) -> tuple[Gpu, ...]:
    """The visible GPUs of a table of lines 'index, uuid, MiB'.

    Args:
        table: what nvidia-smi said.
        visible: the value of CUDA_VISIBLE_DEVICES; None for all.
    """
    sizes: dict[str, int | None] = {}
    listed = []
    for index, uuid, size in (line.replace(" ", "").split(",") for line in table.splitlines()):
        memory = int(size) * _MEBIBYTE if size.isdecimal() else None  # [N/A] where it cannot tell
        sizes |= {index: memory, uuid: memory}
        listed.append(index)
    names = listed if visible is None else [one.strip() for one in visible.split(",")]
    return tuple(Gpu(name, sizes.get(name)) for name in names if name not in ("", "-1"))


def _threads(workers: int, cores: int, environment: Mapping[str, str]) -> int | None:
    """Threads of each of several workers; None for one alone: as many as its engine likes."""
    if workers == 1:
        return None
    given = environment.get(_THREADS, "")
    return int(given) if given.isdecimal() and int(given) else max(1, cores // workers)
