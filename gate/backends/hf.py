"""Hugging Face transformers: scores and continues with a checkpoint, with or without adapters.

A quantized checkpoint is run by the package that its format belongs to.
"""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from gate.engines.hf_caches import CachedModel, pad
from gate.engines.hf_models import Device, Dtype, LoadedModel, adapt, load_adapted, quantization
from gate.engines.hf_scoring import score_rows
from gate.engines.hf_writing import write_rows, written_parts
from gate.engines.interface import (
    LINES_AT_ONCE,
    READ_AT_ONCE,
    Likelihood,
    NextTokens,
    PromptRow,
    ReadRow,
    ScoreRow,
    has_stopped,
    patient_threads,
    read_batches,
)
from gate.engines.tokenized import TokenizedText, end_token_ids
from gate.errors import StageError
from gate.terms import LocalAdapter

if TYPE_CHECKING:
    from gate.engines.language_models import GateLM

READS = ("checkpoint", "bitsandbytes", "torchao", "compressed-tensors")
"""What the backend opens."""

DISTRIBUTIONS = "full"
"""It gives the probabilities of the full vocabulary at each token of a text."""

PACKAGES = ("torch", "transformers", "peft", "lm-eval")
"""Distributions whose versions can change the scores."""

_log = logging.getLogger(__name__)


@contextmanager
def open_model(
    weights: Path,
    adapters: Sequence[LocalAdapter],
    *,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    dtype: Dtype = "auto",
    batch_size: int = 16,
    device: Device = "auto",
    base_precision: Literal["nf4"] | None = None,
    double_quant: bool = True,
) -> Iterator["GateLM"]:
    """A checkpoint loaded with transformers, adapters put on it with peft.

    The tokenizer is the last adapter's own where it has one, else the checkpoint's.

    Args:
        weights: a checkpoint directory.
        adapters: adapters to put on it; several act as the sum of their deltas.
        trust_remote_code: run Python files that the checkpoint brings.
        allow_pickle: read weights from .bin files.
        dtype: the type to compute in; auto is the one the checkpoint is stored in.
        batch_size: how much is run at once: so many sequences of 64 tokens that are scored, or of
            1,024 that are written to; more that are shorter, fewer that are longer.
        device: where to compute; auto is cuda where there is one.
        base_precision: nf4 for an adapter that was trained on its base in 4 bits (QLoRA): the
            linear layers have the values that bitsandbytes gives them; None for the checkpoint's.
        double_quant: whether the 4-bit scales are 8-bit themselves (bnb_4bit_use_double_quant).

    Raises:
        ConfigError: adapters that cannot be weighted or combined exactly.
        StageError: the model or an adapter cannot be loaded whole, or an adapter does nothing; or
            a package that runs its quantized weights is missing.
    """
    with patient_threads():
        import torch  # noqa: F401 - its threads are set up when it is imported
    from transformers.utils import logging

    from gate.engines.language_models import GateLM

    logging.disable_progress_bar()
    loaded = load_adapted(
        weights,
        adapters,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
        dtype=dtype,
        device=device,
        base_precision=base_precision,
        double_quant=double_quant,
    )
    engine = HfEngine(*loaded, name=weights.name, batch_size=batch_size)
    yield GateLM(engine)


def can_put_on(weights: Path) -> bool:
    """Whether `put_on` gives what a checkpoint is that is opened with adapters.

    Those of a quantized one are put on other weights than those that it is run with.
    """
    return not quantization(weights)


def put_on(
    lm: "GateLM",
    weights: Path,
    adapters: Sequence[LocalAdapter],
    *,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
) -> "GateLM":
    """What `open_model` gave of a checkpoint without adapters, with adapters put on it in place.

    It is the checkpoint opened with them, to the bit. `lm` can no longer be asked.

    Args:
        lm: what `open_model` gave.
        weights: the checkpoint's directory.
        adapters: adapters to put on it.
        trust_remote_code: run Python files that the checkpoint brings.
        allow_pickle: read weights from .bin files.

    Raises:
        ConfigError: adapters that cannot be weighted or combined exactly.
        StageError: an adapter does not fit the model, or does nothing.
    """
    from gate.engines.language_models import GateLM

    engine = cast("HfEngine", lm.engine)
    return GateLM(
        engine.with_adapters(
            lambda model: adapt(
                model,
                weights,
                adapters,
                trust_remote_code=trust_remote_code,
                allow_pickle=allow_pickle,
            )
        )
    )


class HfEngine(TokenizedText):
    """A transformers model and its tokenizer, as the gate's engine."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, batch_size: int) -> None:
        """Take over a loaded model: from here on it generates greedily."""
        from transformers import GenerationConfig

        super().__init__(tokenizer, name=name)
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self.max_length: int = limit or sys.maxsize
        self._own_settings = model.generation_config
        declared = self._own_settings.eos_token_id
        self._ends = end_token_ids(declared, tokenizer.eos_token_id)
        # replaced, because generate() fills what a call leaves open from the checkpoint's settings
        model.generation_config = GenerationConfig(
            do_sample=False, eos_token_id=self._ends, pad_token_id=self._ends[0]
        )
        self._model = model
        self._batch_size = batch_size
        self._cached = CachedModel(model, token=self.prefix_token_id)
        if self._cached.unshared:
            _log.warning(
                "%s: each choice runs its whole prompt again: %s", name, self._cached.unshared
            )

    def with_adapters(self, put_on: Callable[[Any], LoadedModel]) -> "HfEngine":
        """An engine of the same model, as it was taken over, once adapters have been put on it."""
        self._model.generation_config = self._own_settings
        loaded = put_on(self._model)
        return HfEngine(*loaded, name=self.name, batch_size=self._batch_size)

    def score(self, rows: Sequence[ScoreRow]) -> Iterator[tuple[Likelihood, ...]]:
        """For each row one likelihood per target; log-softmax in float32, as all logits."""
        return score_rows(self._cached, rows, batch_size=self._batch_size)

    def generate(self, rows: Sequence[PromptRow]) -> Iterator[tuple[int, ...]]:
        """For each row the tokens written greedily.

        Raises:
            StageError: the model's logits are not finite.
        """
        for is_long, group in groupby(
            rows, lambda row: len(row.ids) + row.max_tokens > self._cached.steady
        ):
            alike = list(group)
            if is_long:
                self._cached.tell_of_length()
                yield from (one for row in alike for one in self._generate_batch([row]))
            elif self._cached.unshared:
                for part in written_parts(alike, self._cached, batch_size=self._batch_size):
                    yield from self._generate_batch(alike[part.start : part.stop])
            else:
                yield from write_rows(
                    self._cached, alike, engine=self, ends=self._ends, batch_size=self._batch_size
                )

    def read(self, rows: Sequence[ReadRow], top: int) -> Iterator[NextTokens]:
        """At every place the log-probabilities of the full vocabulary, in float32."""
        import torch

        for batch in read_batches(rows, self._batch_size):
            for logits in self._read_batch(batch):
                for lines in logits.split(LINES_AT_ONCE):
                    yield torch.log_softmax(lines.float(), dim=-1).cpu().numpy()

    def _read_batch(self, batch: Sequence[ReadRow]) -> Iterator[Any]:
        """The logits of each row's places; a row that is long is run in pieces."""
        length = max(len(row.ids) for row in batch)
        can_go_on = not self._cached.unshared and length <= self._cached.steady
        step = READ_AT_ONCE if len(batch) == 1 and can_go_on else length
        ids = pad([row.ids for row in batch], self._ends[0])
        cache = None
        for start in range(0, length, step):
            piece = ids[:, start : start + step]
            output = self._cached.run(piece, cache, count=piece.shape[1])
            cache = getattr(output, "past_key_values", None)
            for lines, row in zip(output.logits, batch, strict=True):
                read = [place - 1 - start for place in row.places if start < place <= start + step]
                yield lines[read]

    def _generate_batch(self, rows: Sequence[PromptRow]) -> Iterator[tuple[int, ...]]:
        import torch

        width = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), width), self._ends[0])
        mask = torch.zeros_like(ids)
        for line, seen, row in zip(ids, mask, rows, strict=True):
            line[width - len(row.ids) :] = torch.tensor(row.ids)
            seen[width - len(row.ids) :] = 1
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=ids.to(self._model.device),
                attention_mask=mask.to(self._model.device),
                max_new_tokens=rows[0].max_tokens,
                min_new_tokens=rows[0].min_tokens or None,
                stopping_criteria=[self._stopping(width, rows[0].stops)],
                logits_processor=[self._check_logits],
            )
        for line in output[:, width:].tolist():
            end = next((place for place, token in enumerate(line) if token in self._ends), None)
            yield tuple(line[:end])

    def _stopping(self, width: int, stops: Sequence[str]) -> Callable[..., Any]:
        def has_row_stopped(ids: Any, scores: Any, **_: Any) -> Any:
            import torch

            rows = ids[:, width:].tolist()
            return torch.tensor([has_stopped(self, row, stops) for row in rows], device=ids.device)

        return has_row_stopped

    def _check_logits(self, ids: Any, scores: Any) -> Any:
        if not scores.amax(dim=-1).isfinite().all():
            raise StageError(
                f"{self.name}: its logits are not finite",
                hint="the weights hold NaN or infinity, or overflow in this dtype",
            )
        return scores
