"""What a variant costs to serve, as measured: seconds, tokens a second, bytes."""

from statistics import median
from typing import Literal, NamedTuple

from gate.terms import Noun

SpeedMeasure = Literal["decode", "prefill", "first_token", "load", "memory"]
"""What is measured of a variant that is served."""

BatchKind = Literal["one", "many"]
"""One prompt alone, or as many at once as the suite says."""

RATIO = "times"
"""How the unit of a ratio begins: 2.31 is told as '2.31 times as fast in decoding'."""


class Spread(NamedTuple):
    """The median of a quantity over repeats, with the smallest and the largest."""

    median: float
    low: float
    high: float


class BatchSpeed(Noun):
    """How fast prompts were read and continued, so many of them at once: the best of a few times.

    Attributes:
        batch_size: prompts handed to the engine at once; its own batch_size may part them.
        prefill_seconds: until each prompt had its first new token.
        decode_seconds: for the new tokens after the first.
        prefill_tokens_per_second: tokens of all prompts over prefill_seconds.
        decode_tokens_per_second: new tokens after the first of all prompts over decode_seconds.
    """

    batch_size: int
    prefill_seconds: float
    decode_seconds: float
    prefill_tokens_per_second: float
    decode_tokens_per_second: float


class SpeedRun(Noun):
    """One repeat: a variant loaded in a process of its own and measured there.

    Attributes:
        repeat: its number; runs of the same number are compared with each other.
        prompt_tokens: tokens of each prompt.
        new_tokens: tokens written after the first one.
        load_seconds: until the engine was ready.
        one: one prompt alone.
        many: several prompts at once.
        peak_memory_bytes: the largest resident sets of the process and of its living children,
            added up; loading included.
        peak_gpu_bytes: the most that PyTorch had allocated on all GPUs, or, if that is more, what
            the driver counted for the process and its children at the end; None where no GPU
            was seen to be used.
    """

    repeat: int
    prompt_tokens: int
    new_tokens: int
    load_seconds: float
    one: BatchSpeed
    many: BatchSpeed
    peak_memory_bytes: int
    peak_gpu_bytes: int | None = None

    @property
    def first_token_seconds(self) -> float:
        """The time to the first token of a prompt alone, in seconds."""
        return self.one.prefill_seconds

    @property
    def settings(self) -> tuple[int, int, int]:
        """What a fair comparison holds equal: prompt tokens, new tokens, batch size."""
        return self.prompt_tokens, self.new_tokens, self.many.batch_size

    def value(self, measure: SpeedMeasure, batch: BatchKind = "many") -> float:
        """A quantity in tokens a second, seconds or bytes.

        Args:
            measure: which; memory is the GPU's where one was used.
            batch: for decode and prefill, how many prompts at once.
        """
        speed = self.one if batch == "one" else self.many
        memory = self.peak_memory_bytes if self.peak_gpu_bytes is None else self.peak_gpu_bytes
        return {
            "decode": speed.decode_tokens_per_second,
            "prefill": speed.prefill_tokens_per_second,
            "first_token": self.first_token_seconds,
            "load": self.load_seconds,
            "memory": float(memory),
        }[measure]


class Serving(Noun):
    """What one variant costs to serve.

    Attributes:
        variant: its name.
        backend: the engine that served it, with its parameters.
        machine: the machine it was measured on; only figures of one machine are compared.
        size_bytes: of all the files that are served, adapters included; None where not known.
        weight_bytes: of the weights alone; None where not known.
        parameters: number of those weights; None where not known.
        runs: the repeats; empty where speed was not measured.
    """

    variant: str
    backend: str
    machine: str
    size_bytes: int | None = None
    weight_bytes: int | None = None
    parameters: int | None = None
    runs: tuple[SpeedRun, ...] = ()

    @property
    def bits_per_weight(self) -> float | None:
        """Bits of storage per weight, over all tensors; None where not known."""
        if not self.weight_bytes or not self.parameters:
            return None
        return 8 * self.weight_bytes / self.parameters

    @property
    def is_on_gpu(self) -> bool:
        """Whether every run used a GPU."""
        return bool(self.runs) and all(run.peak_gpu_bytes is not None for run in self.runs)

    def over_runs(self, measure: SpeedMeasure, batch: BatchKind = "many") -> Spread | None:
        """A quantity over the repeats, as in `SpeedRun.value`; None where there are none."""
        values = [run.value(measure, batch) for run in self.runs]
        return Spread(median(values), min(values), max(values)) if values else None
