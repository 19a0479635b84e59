"""How fast an engine reads prompts and writes tokens, on prompts that no prefix cache knows."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, cycle, islice

from gate.engines.interface import Engine, PromptRow
from gate.errors import StageError
from gate.provenance import gpu_memory_bytes, peak_memory_bytes
from gate.serving_records import BatchSpeed, SpeedRun

Clock = Callable[[], float]
"""Seconds since some moment, never going back."""

_TIMES = 3
_LEAST_SECONDS = 1e-6  # no engine is as fast: the clock is too coarse
_HEAD_TOKENS = 4
_ROWS_IN_A_REPEAT = 100_000
_TEXT = """\
The harbour master keeps two ledgers. In the first, bound in green cloth, she writes down every \
vessel that enters the bay: its name, its flag, the depth of its keel, what it carries and for \
whom. In the second, which is only a school exercise book, she writes what the crews tell her \
while the papers dry. A cook from Lisbon explained how to keep basil alive through a northern \
winter; an engineer, 61 years old, said that his first engine had had a voice and that none since \
had spoken to him. Why does she keep both? "Because," she says, "the green book tells me what \
came, and the other one tells me why." Last Thursday at 5:40 a.m. a grey coaster came in from the \
west with 1,200 tonnes of gravel, three passengers and a quarrel about the price of diesel. The \
quarrel went into the exercise book. The gravel is under the new road now; drive over it slowly, \
by the chapel, and you can hear it settle. Visitors ask for the archive, the oldest maps, the \
wreck of 1887. She shows them the tide tables instead: four numbers a day, each day of each year, \
every one of them right. They look disappointed. The ships, which read nothing else, do not.
"""


def measure_speed(
    engine: Engine,
    *,
    load_seconds: float,
    prompt_tokens: int,
    new_tokens: int,
    batch_size: int,
    repeat: int,
    clock: Clock = time.perf_counter,
) -> SpeedRun:
    """One repeat on a loaded engine: `batch_size` prompts at once, then one alone.

    Prefill is the time that prompts take to their first new token; decode is what `new_tokens`
    more take, less that. Each is the least of three: what else runs on the machine, or is still
    cold, can only add to it.

    Args:
        engine: loaded, in a process that did nothing else: its peak memory is told.
        load_seconds: what loading it took.
        prompt_tokens: tokens of each prompt, 5 at the least.
        new_tokens: tokens to write after the first, whatever end token comes.
        batch_size: prompts at once.
        repeat: number of the repeat; each has prompts of its own.
        clock: tells the time, in seconds.

    Raises:
        StageError: the prompts do not fit the engine, it does not write as many tokens as it was
            asked to, or it took no time that the clock can tell.
    """
    length = prompt_tokens + 1 + new_tokens
    if length > engine.max_length:
        raise StageError(
            f"a prompt of {prompt_tokens} tokens with {1 + new_tokens} new ones takes {length}, "
            f"more than the {engine.max_length} of {engine.name}",
            hint="lower prompt_tokens or new_tokens in the suite's speed",
        )
    prompts = _prompts(engine, prompt_tokens, repeat=repeat)
    timer = _Timer(engine, prompts, clock)
    many = timer.speed(batch_size, prompt_tokens, new_tokens)  # first, so that nothing grows later
    return SpeedRun(
        repeat=repeat,
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        load_seconds=load_seconds,
        one=timer.speed(1, prompt_tokens, new_tokens),
        many=many,
        peak_memory_bytes=peak_memory_bytes(),
        peak_gpu_bytes=_peak_gpu_bytes(),
    )


class _Timer:
    """Times an engine on prompts that it has not seen."""

    def __init__(self, engine: Engine, prompts: Iterator[tuple[int, ...]], clock: Clock) -> None:
        self._engine = engine
        self._prompts = prompts
        self._clock = clock

    def speed(self, batch_size: int, prompt_tokens: int, new_tokens: int) -> BatchSpeed:
        """Both speeds of a batch, long answers and short ones timed in turn."""
        pairs = [
            (self.seconds(batch_size, 1 + new_tokens), self.seconds(batch_size, 1))
            for _ in range(_TIMES)
        ]
        whole, prefill = (min(times) for times in zip(*pairs, strict=True))
        decode = whole - prefill
        for told, seconds in (("reading", prefill), (f"writing {new_tokens} tokens", decode)):
            if seconds < _LEAST_SECONDS:
                raise StageError(
                    f"{self._engine.name}: {told} in batches of {batch_size} took no time that the "
                    f"clock can tell ({seconds:.2g} s)",
                    hint="leave the machine to the gate alone, or raise new_tokens in the suite's "
                    "speed",
                )
        return BatchSpeed(
            batch_size=batch_size,
            prefill_seconds=prefill,
            decode_seconds=decode,
            prefill_tokens_per_second=batch_size * prompt_tokens / prefill,
            decode_tokens_per_second=batch_size * new_tokens / decode,
        )

    def seconds(self, batch_size: int, tokens: int) -> float:
        """How long so many new prompts took to be continued by so many tokens each."""
        prompts = islice(self._prompts, batch_size)
        rows = [PromptRow(ids, (), tokens, min_tokens=tokens) for ids in prompts]
        begun = self._clock()
        written = list(self._engine.generate(rows))
        seconds = self._clock() - begun
        self._check_lengths(written, batch_size, tokens)
        return seconds

    def _check_lengths(
        self, written: Sequence[Sequence[int]], batch_size: int, tokens: int
    ) -> None:
        if len(written) != batch_size:
            raise StageError(
                f"{self._engine.name}: gave {len(written)} answers to {batch_size} prompts"
            )
        for answer in written:
            if len(answer) != tokens:
                raise StageError(
                    f"{self._engine.name}: wrote {len(answer)} tokens where {tokens} were asked "
                    "for, so that its speed is not known",
                    hint="the engine must write on over end tokens (PromptRow.min_tokens)",
                )


def _prompts(engine: Engine, tokens: int, *, repeat: int) -> Iterator[tuple[int, ...]]:
    """Prompts of one length without end, no two of which share more than their first tokens.

    Each begins with its own number, written in four tokens as digits, the fastest changing
    first: the ids of the text are the digits. So neighbours differ in their first token, all
    prompts of all repeats in their first four, and no prefix cache has anything to give. The
    text goes on behind it, from a different place each time.
    """
    ids = engine.encode(_TEXT, add_special_tokens=False)
    digits = sorted(set(ids))
    if len(digits) < 2:  # noqa: PLR2004 - one digit counts nothing
        raise StageError(f"{engine.name}: its tokenizer gives {len(digits)} ids for a whole text")
    for number in count(repeat * _ROWS_IN_A_REPEAT):
        head = [
            digits[number // len(digits) ** place % len(digits)] for place in range(_HEAD_TOKENS)
        ]
        start = number % len(ids)
        body = islice(cycle(ids), start, start + tokens)
        yield (*head, *body)[:tokens]


def _peak_gpu_bytes() -> int | None:
    """What PyTorch allocated here at most, or the driver counts for the family, if that is more."""
    torch = sys.modules.get("torch")
    allocated = 0
    if torch is not None and torch.cuda.is_initialized():
        devices = range(torch.cuda.device_count())
        allocated = sum(torch.cuda.max_memory_allocated(device) for device in devices)
    return max(allocated, gpu_memory_bytes()) or None
