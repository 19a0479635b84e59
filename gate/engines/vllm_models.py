"""A checkpoint in vLLM, in this process: prompts of token ids in, its outputs out."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from gate.cores import core_count
from gate.engines.interface import patient_threads
from gate.engines.vllm_adapters import ServedAdapter, write_alone
from gate.errors import ConfigError, StageError

_PROBE_TOKENS = 24


class Prompt(NamedTuple):
    """Token ids to run, with the keyword arguments of vLLM's SamplingParams."""

    ids: tuple[int, ...]
    settings: Mapping[str, Any]


@contextmanager
def vllm_process(*, kv_cache_gib: int) -> Iterator[None]:
    """This process made ready for vLLM; its environment variables are as before afterwards.

    One process, without children: vLLM schedules deterministically then, and nothing outlives it.

    Raises:
        StageError: vLLM cannot be imported.
    """
    before = dict(os.environ)
    os.environ |= {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib),
        "VLLM_NO_USAGE_STATS": "1",
    }
    try:
        with patient_threads():
            import torch
        has_gpu = torch.cuda.is_available()
        if not has_gpu:
            # vLLM takes one thread unless it is told; and what it compiles there would cost a C++
            # compiler and 20 s for counting ranks
            os.environ.setdefault("OMP_NUM_THREADS", str(core_count()))
        with torch._dynamo.config.patch(disable=not has_gpu):
            _import_vllm()
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def check_spread(sizes: Mapping[str, int], *, gpus: int | None = None) -> None:
    """Refuse to spread a model over more GPUs than this process sees.

    Where it sees none at all, vLLM spreads it over processes of the CPU.

    Args:
        sizes: {parameter: over how many}; their product is the number of GPUs.
        gpus: how many there are; None for as many as torch tells.

    Raises:
        ConfigError: a size below 1, or fewer GPUs.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ConfigError(f"vllm.{name}: {size} is below 1")
    wanted = prod(sizes.values())
    there = _count_gpus() if gpus is None and wanted > 1 else gpus or 0
    if 0 < there < wanted:
        asked = " x ".join(f"{name} {size}" for name, size in sizes.items())
        raise ConfigError(
            f"vllm: {asked} asks for {wanted} GPUs, and this machine has {there}",
            hint="ask for less, or run it on a machine or a node with as many",
        )


def _count_gpus() -> int:
    with patient_threads():
        import torch
    return int(torch.cuda.device_count())


class VllmModel:
    """A checkpoint loaded with vLLM, and the adapter that every prompt is run with.

    Attributes:
        name: what it is, for messages.
        max_length: the longest prompt: vLLM keeps room for the token that it always writes.
        vocabulary_size: how many tokens it gives probabilities to.
    """

    def __init__(self, weights: Path, adapter: ServedAdapter | None, **settings: Any) -> None:
        """Load it; an adapter acts from `put_on` on.

        Args:
            weights: a checkpoint directory.
            adapter: the adapter that will be put on it.
            settings: more keyword arguments of vLLM's LLM.

        Raises:
            StageError: vLLM cannot load it.
        """
        from vllm import LLM

        self.name = weights.name
        self._request: Any = None
        self._adapters = 0
        if adapter is not None:
            settings |= _adapter_settings(adapter, settings["dtype"], name=self.name)
        try:
            self._llm = LLM(
                model=str(weights),
                enforce_eager=True,
                enable_prefix_caching=False,
                generation_config="vllm",
                logprobs_mode="raw_logprobs",
                max_logprobs=-1,
                **settings,
            )
        except (OSError, ValueError, RuntimeError, AssertionError) as error:
            reason = _reason(error)
            raise StageError(
                f"{weights}: vLLM cannot load it: {reason}",
                hint=_MORE_ROOM if "KV cache" in reason else None,
            ) from error
        loaded = self._llm.llm_engine.model_config
        self.max_length: int = loaded.max_model_len - 1
        self.vocabulary_size: int = loaded.get_vocab_size()

    def put_on(self, adapter: ServedAdapter) -> None:
        """Run all prompts from here on with an adapter, once each kind of module is seen to act.

        vLLM serves the base model without a word where the modules of an adapter match none of
        its own. What is compared are two adapters, so that both runs go through the same kernels.

        Raises:
            StageError: what the adapter changes in modules of some kind does not reach the scores.
        """
        with TemporaryDirectory() as scratch:
            self._use(write_alone(adapter, None, Path(scratch) / "nothing"))
            without = self._probe()
            for number, kind in enumerate(adapter.kinds):
                self._use(write_alone(adapter, kind, Path(scratch) / str(number)))
                if self._probe() == without:
                    raise StageError(
                        f"adapter {adapter.name}: vLLM does not apply what it changes in {kind}",
                        hint="serve it with hf, or merge it",
                    )
        self._use(adapter.path)

    def run(self, prompts: Sequence[Prompt]) -> list[Any]:
        """The output of vLLM for each prompt, in order.

        Raises:
            StageError: vLLM cannot run them.
        """
        from vllm import SamplingParams

        try:
            return list(
                self._llm.generate(
                    [{"prompt_token_ids": list(prompt.ids)} for prompt in prompts],
                    [
                        SamplingParams(temperature=0, flat_logprobs=True, **prompt.settings)
                        for prompt in prompts
                    ],
                    lora_request=self._request,
                    use_tqdm=False,
                )
            )
        except (ValueError, RuntimeError) as error:
            raise StageError(f"{self.name}: vLLM cannot run it: {_reason(error)}") from error

    def close(self) -> None:
        """Give back what it holds; nothing else may be called after it."""
        from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

        self._llm.llm_engine.engine_core.shutdown()
        del self._llm
        cleanup_dist_env_and_memory()

    def _probe(self) -> tuple[float, ...]:
        ids = tuple(range(1, _PROBE_TOKENS + 1))
        (output,) = self.run([Prompt(ids, {"max_tokens": 1, "prompt_logprobs": 0})])
        return tuple(output.prompt_logprobs.logprobs)

    def _use(self, adapter: Path) -> None:
        """Run every prompt from here on with an adapter."""
        from vllm.lora.request import LoRARequest

        self._adapters += 1
        self._request = LoRARequest(f"gate{self._adapters}", self._adapters, str(adapter))


def _import_vllm() -> None:
    try:
        import vllm  # noqa: F401
    except ImportError as error:
        raise StageError(
            f"the vllm backend needs vLLM, which {sys.executable} cannot import: {error}",
            hint="gate env create vllm",
        ) from error


def _adapter_settings(adapter: ServedAdapter, dtype: str, *, name: str) -> dict[str, Any]:
    import torch

    if dtype == "float32" and torch.cuda.is_available():
        raise StageError(
            f"{name}: vLLM does not compute an adapter in float32 on a GPU",
            hint="set dtype: bfloat16, or serve it with hf",
        )
    return {
        "enable_lora": True,
        "max_lora_rank": adapter.max_rank,
        # Without it vLLM wraps the output layer too, which crashes on a CPU where two prompts are
        # scored at once (einsum in punica_cpu.add_lora_logits, vLLM 0.32).
        "lora_target_modules": list(adapter.suffixes),
    }


def _reason(error: Exception) -> str:
    """What an error says, on one line; pydantic's own lines around it left out."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.partition(" [type=")[0].rpartition("Value error, ")[2]


_MORE_ROOM = (
    "set max_length, or give it more with kv_cache_gib (on a CPU) or memory_share (on a GPU)"
)
