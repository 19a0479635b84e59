"""A LoRA adapter's file, read into what it does to each module of a model."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.checkpoints import read_json
from gate.errors import SourceError, StageError
from gate.tensors import FLOATS, Tensors, open_tensors
from gate.terms import LocalAdapter

if TYPE_CHECKING:
    from torch import Tensor

_PREFIX = "base_model.model."
_LORA = re.compile(
    r"(?P<module>.*?)(?P<depth>(?:\.base_layer)*)"
    r"\.lora_(?P<part>A|B|embedding_A|embedding_B|magnitude_vector)(?:\.(?P<leaf>weight|bias))?"
)
_TOKENS = re.compile(r"(?P<module>.*)\.token_adapter\.trainable_tokens_delta")
_INSIDE = re.compile(r"\.(?:base_layer|modules_to_save|token_adapter)(?=\.)")
_BEFORE_TRAINING = re.compile(r".*\.original_module\..*")
_OF_ITS_OWN = {
    "use_qalora": "QA-LoRA",
    "use_bdlora": "block-diagonal LoRA",
    "arrow_config": "Arrow",
    "kasa_config": "KaSA",
    "velora_config": "VeLoRA",
    "monteclora_config": "MonteCLoRA",
    "megatron_config": "Megatron layers",
}
"""Settings of a LoRA that make its arithmetic, or the model, another one."""

_UNMERGEABLE = {
    "ADAPTION_PROMPT": "LLaMA-Adapter (ADAPTION_PROMPT)",
    "CARTRIDGE": "Cartridge (CARTRIDGE)",
    "CPT": "context-aware prompt tuning (CPT)",
    "MULTITASK_PROMPT_TUNING": "multitask prompt tuning (MULTITASK_PROMPT_TUNING)",
    "P_TUNING": "p-tuning (P_TUNING)",
    "PREFIX_TUNING": "prefix tuning (PREFIX_TUNING)",
    "PROMPT_TUNING": "prompt tuning (PROMPT_TUNING)",
    "SHADOW": "ShadowPEFT (SHADOW)",
    "XLORA": "X-LoRA (XLORA)",
}
_KEEP_THE_BASE = ("true", "false", "gaussian", "eva", "orthogonal", "mica", "lora_fa", "none")
"""Initializations after which the base model is still the base model."""


@dataclass
class Factors:
    """The two matrices of a LoRA on one module or parameter, and what goes with them.

    Attributes:
        down: lora_A or lora_embedding_A: (rank, in features); with experts, rank times experts.
        up: lora_B or lora_embedding_B: (out features, rank); with experts, rank times experts.
        is_embedding: whether the module is an embedding, whose weight is stored transposed.
        bias: lora_bias: (out features,).
        magnitude: DoRA's norms: one for each output feature.
        names: the adapter's tensors that these are.
    """

    down: "Tensor | None" = None
    up: "Tensor | None" = None
    is_embedding: bool = False
    bias: "Tensor | None" = None
    magnitude: "Tensor | None" = None
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class AdapterFile:
    """An adapter by what it does, each tensor of its file in one place.

    Attributes:
        adapter: its name, path and weight.
        config: its adapter_config.json.
        tensors: everything in its file.
        factors: {(module, depth): LoRA matrices}; the depth counts the wrappers inside, where
            several parameters of one module are adapted.
        replaced: {parameter: names of the adapter's tensors that replace it}: one, or a tensor
            and its copy.
        rows: {module: name of the adapter's tensor that replaces rows of its weight}.
        unused: modules as they were before training, which peft keeps beside the trained ones.
    """

    adapter: LocalAdapter
    config: Mapping[str, Any]
    tensors: Tensors
    factors: dict[tuple[str, int], Factors]
    replaced: dict[str, list[str]]
    rows: dict[str, str]
    unused: list[str]

    def scale(self, key: str, rank: int) -> float:
        """What a product of this rank is multiplied with, without the adapter's weight.

        Agrees with peft 0.21: patterns match the end of a module's name, the first one wins.
        """
        alpha = _by_pattern(self.config.get("alpha_pattern"), key, self.config["lora_alpha"])
        return float(alpha) / (math.sqrt(rank) if self.config.get("use_rslora") else rank)

    def rank(self, key: str) -> int:
        """The rank that the config gives a module or parameter."""
        return int(_by_pattern(self.config.get("rank_pattern"), key, self.config["r"]))

    def token_rows(self, module: str) -> list[int]:
        """The rows that `rows` replaces in a module's weight."""
        indices = self.config.get("trainable_token_indices")
        if isinstance(indices, Mapping):
            indices = next(
                (
                    rows
                    for name, rows in indices.items()
                    if module == name or module.endswith(f".{name}")
                ),
                None,
            )
        return [int(row) for row in indices or ()]


def check_mergeable(path: Path) -> None:
    """Refuse an adapter that no tool can merge into its base model.

    Raises:
        SourceError: its config cannot be read, or names what it learned as something else than a
            change of weights.
    """
    config = read_json(path / "adapter_config.json")
    name = _UNMERGEABLE.get(str(config.get("peft_type")))
    if config.get("alora_invocation_tokens"):
        name = "activated LoRA (alora_invocation_tokens)"
    if name:
        raise SourceError(
            f"{path}: {name} cannot be merged into a base model",
            hint="what it learned is not a change of weights; train a LoRA adapter",
        )
    if config.get("layer_replication"):
        raise SourceError(
            f"{path}: layer replication (layer_replication) makes a model with other layers",
            hint="save the model it makes, and train a LoRA adapter on that",
        )
    start = str(config.get("init_lora_weights"))
    if start.startswith("pissa_niter"):
        raise SourceError(
            f"{path}: its start (init_lora_weights: {start}) took a random part off the base model",
            hint="convert it when it is saved: path_initial_model_for_weight_conversion in peft",
        )


def why_not_streamed(path: Path) -> str | None:
    """What about an adapter is beyond base + s*B*A, by name; None where nothing is.

    Raises:
        SourceError: its config cannot be read.
    """
    config = read_json(path / "adapter_config.json")
    kind = str(config.get("peft_type"))
    if kind != "LORA":
        return f"{kind} is not LoRA"
    for key, name in _OF_ITS_OWN.items():
        if config.get(key):
            return f"{name} ({key}) has arithmetic of its own"
    start = str(config.get("init_lora_weights", True)).lower()
    if start not in _KEEP_THE_BASE:
        return f"its start (init_lora_weights: {start}) changed the base model too"
    return None


def read_adapter(adapter: LocalAdapter, *, allow_pickle: bool) -> AdapterFile:
    """Read a LoRA adapter's config and sort its tensors by what they do; no weights are read.

    Raises:
        SourceError: it cannot be read, or its weights are pickled and that is not allowed.
        StageError: a tensor that no LoRA has, or half a pair of matrices.
    """
    config = read_json(adapter.path / "adapter_config.json")
    read = AdapterFile(
        adapter,
        {"lora_alpha": 8, "r": 8} | config,
        open_tensors(adapter.path, allow_pickle=allow_pickle),
        {},
        {},
        {},
        [],
    )
    for name in read.tensors.headers:
        _sort_in(read, name)
    for (module, _), factors in read.factors.items():
        if factors.down is None or factors.up is None:
            lacking = "lora_A" if factors.down is None else "lora_B"
            raise _cannot(adapter, f"{module} has no {lacking}", "it was not saved whole")
    return read


def check_finite(read: AdapterFile) -> None:
    """Refuse an adapter with NaN or infinity in it.

    Raises:
        StageError: names the tensor and how many of its elements.
    """
    import torch

    for name, tensor in read.tensors.views.items():
        if tensor.is_floating_point() and not math.isfinite(float(tensor.float().sum())):
            bad = int((~torch.isfinite(tensor)).sum())
            if bad:
                raise _cannot(
                    read.adapter,
                    f"{bad} elements of {name} are NaN or infinite",
                    "its training diverged; take an earlier checkpoint",
                )


def _sort_in(read: AdapterFile, name: str) -> None:
    header = read.tensors.headers[name]
    if not name.startswith(_PREFIX) or header.dtype not in FLOATS:
        raise _cannot(
            read.adapter,
            f"{name} ({header.dtype}) is no tensor of a LoRA saved by peft",
            f"its names begin with {_PREFIX}",
        )
    path = name.removeprefix(_PREFIX)
    if match := _LORA.fullmatch(path):
        _sort_in_factor(read, name, match)
    elif match := _TOKENS.fullmatch(path):
        read.rows[match["module"]] = name
    elif ".lora_" in path:
        raise _cannot(read.adapter, f"{name} is no part of a LoRA that is known", None)
    elif _BEFORE_TRAINING.fullmatch(path):
        read.unused.append(name)
    else:
        _sort_in_replacement(read, name, _INSIDE.sub("", f".{path}")[1:])


def _sort_in_replacement(read: AdapterFile, name: str, parameter: str) -> None:
    import torch

    copies = read.replaced.setdefault(parameter, [])
    copies.append(name)
    first, other = read.tensors.views[copies[0]], read.tensors.views[name]
    if first.shape != other.shape or not torch.equal(first, other):
        raise _cannot(
            read.adapter,
            f"{copies[0]} and {name} should be the same, and differ",
            "it was not saved whole",
        )


def _sort_in_factor(read: AdapterFile, name: str, match: re.Match[str]) -> None:
    key = match["module"], match["depth"].count(".base_layer")
    factors = read.factors.setdefault(key, Factors())
    factors.names.append(name)
    tensor = read.tensors.views[name]
    part = match["part"]
    factors.is_embedding = factors.is_embedding or part.startswith("embedding")
    if part == "magnitude_vector":
        factors.magnitude = tensor
    elif match["leaf"] == "bias":
        factors.bias = tensor
    elif part.endswith("A"):
        factors.down = tensor
    else:
        factors.up = tensor


def _by_pattern(patterns: Mapping[str, Any] | None, key: str, default: Any) -> Any:
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", key):
            return value
    return default


def _cannot(adapter: LocalAdapter, problem: str, hint: str | None) -> StageError:
    return StageError(f"adapter {adapter.name} cannot be merged: {problem}", hint=hint)
