"""Writing a merged checkpoint: row blocks read, changed, rounded and written by several threads."""

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gate.errors import StageError
from gate.merging.changes import row_blocks
from gate.merging.shards import OutputTensor, Shard
from gate.tensors import Tensors, dtype_of, raw_bytes

if TYPE_CHECKING:
    from torch import Tensor

_COPY_BYTES = 1 << 22
_AHEAD = 4
"""Blocks planned for each thread before the oldest must be done: what bounds the memory."""

_MEASURED = 4
"""Of so many row blocks, one is measured for what rounding took: each would cost a fifth more."""

BlockChange = Callable[["Tensor", int, int], "Tensor"]
"""(rows of the base in float32, first row, row after the last) -> merged rows, in float32."""


class Work(NamedTuple):
    """How one matrix or vector is changed.

    Attributes:
        change: the change of its row blocks; it may work in place.
        squared_norm: ||delta||^2, where it is known without looking at the blocks.
        finish: what is done to the whole tensor in its type, once it is merged and rounded.
        minute: the rows of a change that is too small to be told from float32 sums.
    """

    change: BlockChange
    squared_norm: float | None = None
    finish: "Callable[[Tensor], Tensor] | None" = None
    minute: "Callable[[int, int], Tensor] | None" = None


class BlockResult(NamedTuple):
    """What rounding did to a measured block.

    Attributes:
        tensor: the tensor's name.
        delta: squared norm of the change.
        lost: squared norm of what rounding took.
        elements: how many elements were measured; 0 where `delta` is that of the whole tensor.
    """

    tensor: str
    delta: float
    lost: float
    elements: int


WorkOf = Callable[[str], "Mapping[int | None, Callable[[], Work]]"]
"""A tensor's name -> {expert: what prepares its work}; empty where it is copied."""


def write_shards(
    shards: Sequence[Shard], out: Path, base: Tensors, work_of: WorkOf, *, threads: int
) -> dict[str, tuple[float, float]]:
    """Write every shard, two at a time, in memory that does not grow with the model.

    Args:
        shards: what to write.
        out: an existing directory without files of these names.
        base: the tensors to start from.
        work_of: what is done to each tensor.
        threads: how many blocks are worked on at once; the result does not depend on it.

    Returns:
        {changed tensor: (||delta||^2, ||rounding error||^2)}, the error as measured on every
        fourth row block.

    Raises:
        StageError: a value that is not finite in the type that is written.
    """
    import torch

    results: list[BlockResult] = []
    with ExitStack() as stack:
        # one thread of torch's each: more of them wait for each other at every small product
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(1)
        files = {}
        for shard in shards:
            place = out / shard.name
            files[shard.name] = os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            stack.callback(os.close, files[shard.name])
        pool = stack.enter_context(
            ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        )
        streams = [_jobs(shard, files[shard.name], base, work_of) for shard in shards]
        for result in _in_order(pool, _two_by_two(streams), ahead=_AHEAD * threads):
            if result is not None:
                results.append(result)
    sizes = {tensor.name: math.prod(tensor.shape) for shard in shards for tensor in shard.tensors}
    return _summed(results, sizes)


def _summed(
    results: Sequence[BlockResult], sizes: Mapping[str, int]
) -> dict[str, tuple[float, float]]:
    """(||delta||^2, ||rounding error||^2) of each tensor, from the blocks that were measured."""
    by_tensor: dict[str, list[BlockResult]] = {}
    for result in results:
        by_tensor.setdefault(result.tensor, []).append(result)
    told = {}
    for name, blocks in by_tensor.items():
        factor = sizes[name] / max(1, sum(one.elements for one in blocks))
        known = [one.delta for one in blocks if not one.elements]
        delta = sum(known) if known else factor * sum(one.delta for one in blocks)
        told[name] = (delta, factor * sum(one.lost for one in blocks))
    return told


_Job = Callable[[], BlockResult | None]


def _in_order(
    pool: ThreadPoolExecutor, jobs: Iterator[_Job], *, ahead: int
) -> Iterator[BlockResult | None]:
    """The results of jobs in their order, with a bounded number of them begun or waiting."""
    waiting: deque[Future[BlockResult | None]] = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(job))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _two_by_two(streams: Sequence[Iterator[_Job]]) -> Iterator[_Job]:
    """Jobs of two shards in turn: threads that write to one file wait for each other."""
    left = list(reversed(streams))
    active = [left.pop() for _ in range(min(2, len(left)))]
    while active:
        for stream in tuple(active):
            job = next(stream, None)
            if job is not None:
                yield job
                continue
            active.remove(stream)
            if left:
                active.append(left.pop())


def _jobs(shard: Shard, file: int, base: Tensors, work_of: WorkOf) -> Iterator[_Job]:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, shard.size_bytes)
    _write(file, memoryview(shard.header), 0)
    for tensor in shard.tensors:
        works = work_of(tensor.name)
        source = base.views[tensor.source]
        if works or dtype_of(tensor.dtype) != source.dtype:
            yield from _change_jobs(tensor, file, source, works)
        else:
            yield from _copy_jobs(tensor, file, source)
    if hasattr(os, "posix_fadvise"):
        # begin to write to the disk now: the kernel stops writers that leave it too much
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def _copy_jobs(tensor: OutputTensor, file: int, source: "Tensor") -> Iterator[_Job]:
    raw = raw_bytes(source)
    for start in range(0, len(raw), _COPY_BYTES):

        def copy(start: int = start) -> None:
            _write(file, raw[start : start + _COPY_BYTES], tensor.start + start)

        yield copy


def _change_jobs(
    tensor: OutputTensor,
    file: int,
    source: "Tensor",
    works: "Mapping[int | None, Callable[[], Work]]",
) -> Iterator[_Job]:
    if set(works) <= {None}:
        yield from _matrix_jobs(tensor, file, source, works.get(None))
        return
    size = tensor.size_bytes // len(source)
    slices = (
        _matrix_jobs(
            tensor._replace(shape=tensor.shape[1:], start=tensor.start + expert * size),
            file,
            source[expert],
            works.get(expert),
        )
        for expert in range(len(source))
    )
    yield from chain.from_iterable(slices)


def _matrix_jobs(
    tensor: OutputTensor, file: int, source: "Tensor", prepare: Callable[[], Work] | None
) -> Iterator[_Job]:
    work = prepare() if prepare else None
    columns = math.prod(tensor.shape[1:])
    if not tensor.shape:
        source, tensor = source[None], tensor._replace(shape=(1,))
    whole = (
        BlockResult(tensor.name, work.squared_norm, 0.0, 0) if work and work.squared_norm else None
    )
    is_whole = work is not None and work.finish is not None
    blocks = [(0, tensor.shape[0])] if is_whole else row_blocks(tensor.shape[0], columns)
    for number, (start, stop) in enumerate(blocks):
        is_measured = number % _MEASURED == 0
        yield _Block(tensor, file, source, work, start, stop, is_measured).run
    if whole is not None:
        yield lambda: whole


_SCRATCH = threading.local()


class _Block(NamedTuple):
    """Rows of a tensor that one thread reads, changes, rounds and writes."""

    tensor: OutputTensor
    file: int
    source: "Tensor"
    work: Work | None
    start: int
    stop: int
    is_measured: bool

    def run(self) -> BlockResult | None:
        shape = (self.stop - self.start, *self.tensor.shape[1:])
        target = _scratch("target", self.tensor.dtype, shape)
        rows = self.source[self.start : self.stop]
        block = _scratch("block", "F32", tuple(rows.shape))
        block.copy_(rows)
        result = None
        if self.work is None:
            target.copy_(block)
            self._check_finite(float(target.float().sum()))
        else:
            result = self._change(self.work, rows, block, target)
        start = self.tensor.start + self.start * (target.nbytes // max(1, len(target)))
        _write(self.file, raw_bytes(target), start)
        return result

    def _change(
        self, work: Work, rows: "Tensor", block: "Tensor", target: "Tensor"
    ) -> BlockResult | None:
        merged = work.change(block, self.start, self.stop)
        target.copy_(merged)
        if work.finish is not None:
            target.copy_(work.finish(target))
        if not self.is_measured:
            self._check_finite(_square(target if self.tensor.dtype == "F16" else merged))
            return None
        delta = 0.0
        if work.squared_norm is None:
            grown = merged.shape != rows.shape
            delta = _square(merged if grown else merged - rows.to(merged.device))
        merged.sub_(target.to(merged.device))
        if work.minute is not None:
            exact = work.minute(self.start, self.stop)
            merged = exact - (target.float() - rows.float()).to(exact.device)
        lost = _square(merged)
        self._check_finite(lost)
        return BlockResult(self.tensor.name, delta, lost, target.numel())

    def _check_finite(self, value: float) -> None:
        if not math.isfinite(value):
            raise StageError(
                f"{self.tensor.name} is not finite in {self.tensor.dtype} after the merge",
                hint="its values are too large for that type: merge with dtype: bfloat16",
            )


def _square(block: "Tensor") -> float:
    """The squared norm of a block; not finite where an element is not."""
    import torch

    flat = block.flatten().float()
    return float(torch.dot(flat, flat))


def _scratch(role: str, dtype: str, shape: tuple[int, ...]) -> "Tensor":
    """A thread's own memory for a block, used again for the next one."""
    import torch

    count, kind = math.prod(shape), dtype_of(dtype)
    kept: Tensor | None = getattr(_SCRATCH, role, None)
    if kept is None or kept.dtype != kind or kept.numel() < count:
        kept = torch.empty(count, dtype=kind)
        setattr(_SCRATCH, role, kept)
    return kept[:count].view(shape)


def _write(file: int, data: memoryview, start: int) -> None:
    while data:
        written = os.pwrite(file, data, start)
        data, start = data[written:], start + written
