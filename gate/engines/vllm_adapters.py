"""What vLLM can serve of a LoRA adapter, and which kinds of module it has to be seen acting on."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from gate.checkpoints import has_safetensors, read_headers, read_json
from gate.errors import ConfigError, StageError
from gate.merging.adapter_files import Factors, read_adapter
from gate.terms import LocalAdapter

if TYPE_CHECKING:
    from torch import Tensor

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM 0.32 takes as max_lora_rank (MaxLoRARanks in vllm/config/lora.py)."""

_UNKNOWN = {
    "use_dora": "DoRA",
    "lora_bias": "biases of the LoRA matrices",
    "modules_to_save": "layers trained as a whole",
    "trainable_token_indices": "retrained rows of the embedding",
    "target_parameters": "LoRA on parameters instead of layers",
    "layer_replication": "layer replication",
    "alora_invocation_tokens": "activated LoRA",
    "use_qalora": "QA-LoRA",
    "use_bdlora": "block-diagonal LoRA",
    "arrow_config": "Arrow",
    "kasa_config": "KaSA",
    "velora_config": "VeLoRA",
    "monteclora_config": "MonteCLoRA",
    "megatron_config": "Megatron layers",
}
"""Settings of a LoRA that vLLM refuses, or drops without a word."""

_KNOWN_STARTS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Initializations that vLLM 0.32 serves (PEFTHelper in vllm/lora/peft_helper.py)."""

_EMBEDDINGS = ("lm_head", "embed_tokens", "embed_out", "embed_in", "wte", "word_embeddings")
_ON_EMBEDDINGS = (
    "it leaves what an adapter changes in {} out of the scores of prompts (vllm issue 51594)"
)
_MATRIX = 2
_INSTEAD = "serve it with hf, or merge it"
_WRONG_BASE = "is the adapter made for another base model?"


class ServedAdapter(NamedTuple):
    """An adapter whose every tensor has a place in the base model.

    Attributes:
        name: as in gate.yaml.
        path: its directory.
        max_rank: the smallest that vLLM takes which is not below the adapter's ranks.
        suffixes: last parts of the names of the modules it changes.
        kinds: {module without layer numbers: tensors of all layers}, without those that are zero.
        tensors: all of its tensors, by name.
    """

    name: str
    path: Path
    max_rank: int
    suffixes: tuple[str, ...]
    kinds: "dict[str, dict[str, Tensor]]"
    tensors: "Mapping[str, Tensor]"


def adapter_fault(config: Mapping[str, Any]) -> str | None:
    """Why vLLM cannot serve an adapter rightly, about 'it'; None where it can.

    Args:
        config: the adapter's adapter_config.json.
    """
    kind = config.get("peft_type")
    if kind != "LORA":
        return f"it serves LoRA adapters, not {kind}"
    for key, name in _UNKNOWN.items():
        if config.get(key):
            return f"it does not serve {name} ({key})"
    if config.get("bias", "none") != "none":
        return f"it does not serve trained biases (bias: {config['bias']})"
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower() not in _KNOWN_STARTS:
        return f"it does not serve an adapter that began with init_lora_weights: {start}"
    if _largest_rank(config) > RANKS[-1]:
        return f"it serves ranks up to {RANKS[-1]}, not {_largest_rank(config)}"
    return next(
        (_ON_EMBEDDINGS.format(name) for name in _EMBEDDINGS if _targets(config, name)), None
    )


class Places(NamedTuple):
    """Where a base model can be adapted.

    Attributes:
        shapes: {linear layer: (out features, in features)}, by its name in transformers and, where
            that is another, in the checkpoint.
        embeddings: names of the input embedding and of the output layer.
    """

    shapes: Mapping[str, tuple[int, ...]]
    embeddings: frozenset[str]


def find_places(weights: Path, skeleton: Any) -> Places:
    """The layers of a base model by name.

    Args:
        weights: its checkpoint.
        skeleton: the same in transformers, without weights.
    """
    headers = read_headers(weights) if has_safetensors(weights) else {}
    stored = {name.removesuffix(".weight"): header.shape for name, header in headers.items()}
    modules = dict(skeleton.named_modules())
    built = {name: tuple(one.weight.shape) for name, one in modules.items() if _has_matrix(one)}
    ends = (skeleton.get_input_embeddings(), skeleton.get_output_embeddings())
    return Places(
        stored | built,
        frozenset(name for name, module in modules.items() if any(module is end for end in ends)),
    )


def read_served(adapter: LocalAdapter, places: Places, *, allow_pickle: bool) -> ServedAdapter:
    """An adapter, if vLLM can serve it and all of its tensors have a place in the base model.

    vLLM drops the tensors of modules that the base model does not have, and copies those of
    another shape in part, without a word.

    Args:
        adapter: the one adapter of a variant.
        places: what the base model has.
        allow_pickle: read it from adapter_model.bin.

    Raises:
        ConfigError: vLLM cannot serve it rightly.
        SourceError: it cannot be read.
        StageError: it does not fit the base model, or changes nothing.
    """
    config = read_json(adapter.path / "adapter_config.json")
    if adapter.weight != 1.0:
        _refuse(adapter, f"it applies an adapter whole, not at weight {adapter.weight}")
    if fault := adapter_fault(config):
        _refuse(adapter, fault)
    read = read_adapter(adapter, allow_pickle=allow_pickle)
    for what in (*read.replaced, *read.rows):
        _refuse(adapter, f"it does not serve a trained {what}")
    kinds: dict[str, dict[str, Tensor]] = {}
    for (module, depth), factors in read.factors.items():
        _check_served(adapter, module, factors, depth, places)
        _check_place(adapter, module, factors, places)
        tensors = {name: read.tensors.views[name] for name in factors.names}
        if all(tensor.any() for tensor in tensors.values()):
            kinds.setdefault(re.sub(r"\.\d+(?=\.|$)", ".*", module), {}).update(tensors)
    if not kinds:
        raise StageError(
            f"adapter {adapter.name} changes nothing: its outputs equal the base model's",
            hint="it was never trained: its B matrices are zero",
        )
    return ServedAdapter(
        adapter.name,
        adapter.path,
        max_rank=next(rank for rank in RANKS if rank >= _largest_rank(config)),
        suffixes=tuple(sorted({module.rpartition(".")[2] for module, _ in read.factors})),
        kinds=kinds,
        tensors=read.tensors.views,
    )


def write_alone(adapter: ServedAdapter, kind: str | None, out: Path) -> Path:
    """An adapter that acts on modules of one kind only, strongly enough to be seen.

    Its tensors are those of the adapter, the B matrices of that kind scaled until their largest
    element is 1, all others zero: in half precision a small change may not reach the outputs.

    Args:
        adapter: the adapter to take it from.
        kind: one of its kinds; None for no kind: an adapter that does nothing.
        out: a directory to make.
    """
    from safetensors.torch import save_file

    kept = adapter.kinds[kind] if kind else {}
    largest = max((float(kept[name].abs().max()) for name in kept if "lora_B" in name), default=1.0)
    tensors = {}
    for name, tensor in adapter.tensors.items():
        scale = 1 / largest if name in kept else 0.0
        tensors[name] = tensor * scale if "lora_B" in name else tensor.clone()
    out.mkdir()
    save_file(tensors, out / "adapter_model.safetensors")
    shutil.copyfile(adapter.path / "adapter_config.json", out / "adapter_config.json")
    return out


def _largest_rank(config: Mapping[str, Any]) -> int:
    return max(map(int, [config.get("r", 8), *(config.get("rank_pattern") or {}).values()]))


def _targets(config: Mapping[str, Any], name: str) -> bool:
    """Whether target_modules names a module, as peft reads it: a pattern, or ends of names."""
    targets = config.get("target_modules") or ()
    if isinstance(targets, str):
        names = (name, f"model.{name}", f"transformer.{name}", f"gpt_neox.{name}")
        return any(re.fullmatch(targets, one) for one in names)
    return any(target.rpartition(".")[2] == name for target in targets)


def _refuse(adapter: LocalAdapter, fault: str) -> NoReturn:
    raise ConfigError(f"vllm cannot serve adapter {adapter.name}: {fault}", hint=_INSTEAD)


def _check_served(
    adapter: LocalAdapter, module: str, factors: Factors, depth: int, places: Places
) -> None:
    if factors.is_embedding or module in places.embeddings:
        _refuse(adapter, _ON_EMBEDDINGS.format(module))
    if depth or factors.bias is not None or factors.magnitude is not None:
        _refuse(adapter, f"it does not serve {factors.names[-1]}")


def _check_place(adapter: LocalAdapter, module: str, factors: Factors, places: Places) -> None:
    shape = places.shapes.get(module)
    if factors.down is None or factors.up is None or shape is None:
        raise StageError(
            f"adapter {adapter.name}: {module} has no place in the base model", hint=_WRONG_BASE
        )
    wanted = (factors.up.shape[0], factors.down.shape[1])
    if wanted != shape:
        raise StageError(
            f"adapter {adapter.name}: its {module} is for a layer of shape {list(wanted)}, "
            f"the base model's has {list(shape)}",
            hint=_WRONG_BASE,
        )


def _has_matrix(module: Any) -> bool:
    weight = getattr(module, "weight", None)
    return getattr(weight, "ndim", 0) == _MATRIX
