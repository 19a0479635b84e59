"""A LoRA adapter's file taken apart: factors, replacements and rows, module by module."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.checkpoints import read_json
from gate.errors import ConfigError, SourceError
from gate.tensors import open_tensors
from gate.terms import LocalAdapter

if TYPE_CHECKING:
    from torch import Tensor

_PREFIX = "base_model.model."
_FACTOR = re.compile(
    r"(?P<module>.+?)(?P<depth>(?:\.base_layer)*)\.lora_"
    r"(?P<part>A|B|embedding_A|embedding_B|magnitude_vector)(?:\.(?P<leaf>weight|bias))?"
)
_NOT_MERGEABLE = {
    "alora_invocation_tokens": "an activated LoRA (aLoRA) acts on some tokens only",
    "arrow_config": "Arrow routes each token to other adapters",
}
_OTHER_ARITHMETIC = (
    "kasa_config",
    "layer_replication",
    "megatron_config",
    "monteclora_config",
    "use_bdlora",
    "use_qalora",
)
_KEEPS_BASE = ("true", "false", "none", "gaussian", "eva", "orthogonal")


@dataclass
class Factors:
    """The tensors of a LoRA on one module: down is lora_A, up is lora_B."""

    keys: list[str] = field(default_factory=list)
    down: "Tensor | None" = None
    up: "Tensor | None" = None
    bias: "Tensor | None" = None
    magnitude: "Tensor | None" = None
    is_embedding: bool = False


@dataclass(frozen=True)
class AdapterParts:
    """An adapter as what it does to modules and parameters, by their names in the model.

    Attributes:
        adapter: name, path and weight.
        config: its adapter_config.json.
        tensors: all of its file's, by their full names.
        factors: {(module, how many wrappers deep): factors}.
        replaced: {parameter: name of the tensor that takes its place}.
        rows: {module: name of the tensor whose rows take the place of some of its weight's}.
        unknown: names of tensors that are none of these.
    """

    adapter: LocalAdapter
    config: Mapping[str, Any]
    tensors: Mapping[str, "Tensor"]
    factors: dict[tuple[str, int], Factors]
    replaced: dict[str, str]
    rows: dict[str, str]
    unknown: tuple[str, ...]

    def scale(self, *keys: str) -> float:
        """The factor of B @ A, by the first key that a pattern of peft 0.21 matches."""
        alpha = self._setting("alpha_pattern", keys, self.config.get("lora_alpha", 8))
        rank = self.rank(*keys)
        return float(alpha) / (math.sqrt(rank) if self.config.get("use_rslora") else rank)

    def rank(self, *keys: str) -> int:
        """The rank of the first key that a pattern matches, else the adapter's."""
        return int(self._setting("rank_pattern", keys, self.config.get("r", 8)))

    def is_saved_module(self, module: str) -> bool:
        """Whether modules_to_save names the module: a copy of its own, trained beside the base."""
        return any(
            module == name or module.endswith(f".{name}")
            for name in self.config.get("modules_to_save") or ()
        )

    def token_rows(self, module: str) -> list[int]:
        """Which rows of the module's weight trainable_token_indices names."""
        indices = self.config.get("trainable_token_indices") or []
        if isinstance(indices, Mapping):
            indices = next(
                (
                    rows
                    for name, rows in indices.items()
                    if module == name or module.endswith(f".{name}")
                ),
                [],
            )
        return [int(row) for row in indices]

    def _setting(self, pattern: str, keys: tuple[str, ...], default: Any) -> Any:
        patterns: Mapping[str, Any] = self.config.get(pattern) or {}
        for key in keys:
            for text, value in patterns.items():
                if re.match(rf"(.*\.)?({text})$", key):
                    return value
        return default


def other_arithmetic(path: Path, name: str) -> str | None:
    """What makes an adapter another one than base + s*B*A, in words; None where nothing does.

    Raises:
        ConfigError: no merge of it can be right: no weights say what it does.
        SourceError: its config cannot be read.
    """
    config = read_json(path / "adapter_config.json")
    kind = str(config.get("peft_type"))
    if kind in ("XLORA", "PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING", "ADAPTION_PROMPT", "CPT"):
        raise ConfigError(f"adapter {name}: {kind} is nothing that can be merged into weights")
    for key, reason in _NOT_MERGEABLE.items():
        if config.get(key):
            raise ConfigError(f"adapter {name}: {key}: {reason}, and cannot be merged")
    if kind != "LORA":
        return kind
    for key in _OTHER_ARITHMETIC:
        if config.get(key):
            return key
    start = config.get("init_lora_weights", True)
    return None if str(start).lower() in _KEEPS_BASE else f"init_lora_weights: {start}"


def read_parts(adapter: LocalAdapter, *, allow_pickle: bool) -> AdapterParts:
    """Sort the tensors of a LoRA adapter by what they do; their numbers are not read.

    Raises:
        SourceError: config or weights cannot be read, or a pair of matrices is not whole.
    """
    tensors = open_tensors(adapter.path, allow_pickle=allow_pickle).views
    config = read_json(adapter.path / "adapter_config.json")
    factors: dict[tuple[str, int], Factors] = {}
    replaced: dict[str, str] = {}
    rows: dict[str, str] = {}
    unknown = []
    for key in sorted(tensors):
        path = key.removeprefix(_PREFIX)
        if match := _FACTOR.fullmatch(path):
            _add_factor(factors, match, key, tensors[key])
        elif path.endswith(".token_adapter.trainable_tokens_delta"):
            rows[path.removesuffix(".token_adapter.trainable_tokens_delta")] = key
        elif "lora_" in path or not key.startswith(_PREFIX):
            unknown.append(key)
        else:
            replaced[re.sub(r"\.(base_layer|modules_to_save)(?=\.)", "", path)] = key
    for (module, _), pair in factors.items():
        if pair.down is None or pair.up is None:
            lacking = "lora_A" if pair.down is None else "lora_B"
            raise SourceError(
                f"adapter {adapter.name}: {module} has no {lacking}", hint="was it saved whole?"
            )
    return AdapterParts(adapter, config, tensors, factors, replaced, rows, tuple(unknown))


def not_finite(parts: AdapterParts) -> list[str]:
    """A sentence for each tensor of an adapter with NaN or infinity in it."""
    import torch

    sentences = []
    for key, tensor in parts.tensors.items():
        count = int((~torch.isfinite(tensor)).sum()) if tensor.is_floating_point() else 0
        if count:
            sentences.append(
                f"adapter {parts.adapter.name}: {count} elements of {key} are NaN or infinite"
            )
    return sentences


def _add_factor(
    factors: dict[tuple[str, int], Factors], match: re.Match[str], key: str, tensor: "Tensor"
) -> None:
    depth = match["depth"].count(".base_layer")
    pair = factors.setdefault((match["module"], depth), Factors())
    pair.keys.append(key)
    part = match["part"]
    pair.is_embedding = pair.is_embedding or part.startswith("embedding")
    if part == "magnitude_vector":
        pair.magnitude = tensor
    elif match["leaf"] == "bias":
        pair.bias = tensor
    elif part.endswith("A"):
        pair.down = tensor
    else:
        pair.up = tensor
