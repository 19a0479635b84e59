"""Pico checkpoints of many architectures, adapters of many kinds on them, and which go together."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_SIZES = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_NO_GROUPS = {
    name: _SIZES[name] for name in _SIZES if name not in ("num_key_value_heads", "head_dim")
}


@dataclass(frozen=True)
class Architecture:
    """A model type at pico size, and the names of what adapters change in it.

    Attributes:
        type: transformers' model_type.
        sizes: settings of its config.
        linears: names of its linear layers, as target_modules takes them.
        embeddings: name of the module of input embeddings.
        head: name of the module of output embeddings.
        has_biases: whether its linear layers have biases.
        experts: names of an expert's gate, up and down projection, on disk and in transformers 4,
            where each was a linear layer; empty where there are none.
        stacks_experts: whether the checkpoint holds the experts of a layer as one tensor.
        prefix: the prefix of the model's tensors that its checkpoint leaves out.
        stores_head: whether the checkpoint holds the tied head a second time.
        buffer: a tensor of every layer that the checkpoint holds and the model has no use for.
    """

    type: str
    sizes: Mapping[str, Any]
    linears: tuple[str, ...] = (
        *("q_proj", "k_proj", "v_proj", "o_proj"),
        *("gate_proj", "up_proj", "down_proj"),
    )
    embeddings: str = "embed_tokens"
    head: str = "lm_head"
    has_biases: bool = False
    experts: tuple[str, ...] = ()
    stacks_experts: bool = False
    prefix: str = ""
    stores_head: bool = False
    buffer: str = ""

    @property
    def is_tied(self) -> bool:
        """Whether the head shares the weights of the embeddings."""
        return bool(self.sizes["tie_word_embeddings"])


_UNTIED, _TIED = {"tie_word_embeddings": False}, {"tie_word_embeddings": True}
_GPT2 = {
    **{"vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 64},
    **{"bos_token_id": 1, "eos_token_id": 2},
}
_GPT2_NAMES: dict[str, Any] = {
    "linears": ("attn.c_attn", "attn.c_proj", "c_fc", "mlp.c_proj"),
    "embeddings": "wte",
    "has_biases": True,
}
_OPT = _NO_GROUPS | {"ffn_dim": 24, "word_embed_proj_dim": 16}
_OPT_NAMES: dict[str, Any] = {
    "linears": ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
    "has_biases": True,
}
_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")

ARCHITECTURES = {
    "llama": Architecture("llama", _SIZES | _UNTIED),
    "llama-tied": Architecture("llama", _SIZES | _TIED),
    "llama-tied-twice": Architecture("llama", _SIZES | _TIED, stores_head=True),
    "llama-biases": Architecture(
        "llama", _SIZES | _UNTIED | {"attention_bias": True, "mlp_bias": True}, has_biases=True
    ),
    "qwen2": Architecture("qwen2", _SIZES | _TIED, linears=_ATTENTION[:3], has_biases=True),
    "qwen3": Architecture("qwen3", _SIZES | _TIED),
    "mistral": Architecture("mistral", _SIZES | _UNTIED),
    "gemma3": Architecture("gemma3_text", _SIZES | _TIED),
    "phi3": Architecture(
        "phi3", _SIZES | _UNTIED, linears=("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
    ),
    "gpt2": Architecture("gpt2", _GPT2 | _TIED, **_GPT2_NAMES),
    "gpt2-bare": Architecture(
        "gpt2", _GPT2 | _TIED, **_GPT2_NAMES, prefix="transformer.", buffer="h.{}.attn.bias"
    ),
    "gpt-neox": Architecture(
        "gpt_neox",
        _NO_GROUPS | _UNTIED,
        linears=("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
        embeddings="embed_in",
        has_biases=True,
    ),
    "opt": Architecture("opt", _OPT | _TIED, **_OPT_NAMES),
    "opt-bare": Architecture("opt", _OPT | _TIED, **_OPT_NAMES, prefix="model."),
    "olmo2": Architecture("olmo2", _SIZES | _UNTIED),
    "mixtral": Architecture(
        "mixtral",
        _SIZES | _UNTIED | {"num_local_experts": 4, "num_experts_per_tok": 2},
        linears=_ATTENTION,
        experts=("w1", "w3", "w2"),
    ),
    "qwen3-moe": Architecture(
        "qwen3_moe",
        _SIZES
        | _UNTIED
        | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12},
        linears=_ATTENTION,
        experts=("gate_proj", "up_proj", "down_proj"),
    ),
    "gpt-oss": Architecture(
        "gpt_oss",
        _SIZES
        | _UNTIED
        | {"num_local_experts": 4, "num_experts_per_tok": 2, "layer_types": ["full_attention"] * 2},
        linears=_ATTENTION,
        has_biases=True,
        stacks_experts=True,
    ),
}


@dataclass(frozen=True)
class Kind:
    """A kind of adapter: the settings of its LoraConfig, and what it makes sense for.

    Attributes:
        settings: what the LoraConfig gets beside rank, alpha and task, by architecture.
        suits: whether the kind makes sense for an architecture.
        new_tokens: rows that the vocabulary grows by before training.
        is_v4: whether it was trained with transformers 4, where each expert had linear layers.
    """

    settings: Callable[[Architecture], dict[str, Any]]
    suits: Callable[[Architecture], bool] = lambda architecture: True
    new_tokens: int = 0
    is_v4: bool = False


def _plain(architecture: Architecture) -> dict[str, Any]:
    return {"target_modules": list(architecture.linears)}


def _with(**settings: Any) -> Callable[[Architecture], dict[str, Any]]:
    return lambda architecture: _plain(architecture) | settings


def _patterns(architecture: Architecture) -> dict[str, Any]:
    first, *_, last = architecture.linears
    # of two patterns that match a layer, the first counts
    return _plain(architecture) | {
        "rank_pattern": {first: 2, rf".*\.1\..*{last}": 6},
        "alpha_pattern": {last: 3, rf".*\.1\..*{first}": 20, first: 5},
    }


def _saves(*sides: str) -> Callable[[Architecture], dict[str, Any]]:
    return lambda a: _plain(a) | {"modules_to_save": [getattr(a, side) for side in sides]}


def _targets(*sides: str, **settings: Any) -> Callable[[Architecture], dict[str, Any]]:
    return lambda a: {
        "target_modules": [a.linears[0], *(getattr(a, side) for side in sides)],
        **settings,
    }


def _expert_parameters(*names: str) -> Callable[[Architecture], dict[str, Any]]:
    return lambda a: {
        "target_modules": [a.linears[0]],
        "target_parameters": [f"mlp.experts.{name}" for name in names],
    }


def _is_tied(architecture: Architecture) -> bool:
    return architecture.is_tied


def _has_biases(architecture: Architecture) -> bool:
    return architecture.has_biases


def _has_experts(architecture: Architecture) -> bool:
    return bool(architecture.experts) or architecture.stacks_experts


def _has_linear_experts(architecture: Architecture) -> bool:
    return bool(architecture.experts)


KINDS = {
    "plain": Kind(_plain),
    "all-linear": Kind(lambda a: {"target_modules": "all-linear"}),
    "rslora": Kind(_with(use_rslora=True)),
    "dora": Kind(_with(use_dora=True)),
    "rslora-dora": Kind(_with(use_rslora=True, use_dora=True)),
    "patterns": Kind(_patterns),
    "rslora-patterns": Kind(lambda a: _patterns(a) | {"use_rslora": True}),
    "bias-all": Kind(_with(bias="all"), _has_biases),
    "bias-lora-only": Kind(_with(bias="lora_only"), _has_biases),
    "lora-bias": Kind(_with(lora_bias=True), _has_biases),
    "save-head": Kind(_saves("head")),
    "save-embeddings": Kind(_saves("embeddings")),
    "save-both": Kind(_saves("embeddings", "head")),
    "save-embeddings-tied": Kind(
        lambda a: _saves("embeddings")(a) | {"ensure_weight_tying": True}, _is_tied
    ),
    "lora-embeddings": Kind(_targets("embeddings")),
    "lora-head": Kind(_targets("head")),
    "lora-both": Kind(_targets("embeddings", "head")),
    "lora-embeddings-tied": Kind(_targets("embeddings", ensure_weight_tying=True), _is_tied),
    "dora-embeddings": Kind(_targets("embeddings", use_dora=True)),
    "dora-head": Kind(_targets("head", use_dora=True)),
    "tokens": Kind(lambda a: _plain(a) | {"trainable_token_indices": [3, 5, 40]}),
    "tokens-both": Kind(
        lambda a: (
            _plain(a) | {"trainable_token_indices": {a.embeddings: [3, 5, 40], a.head: [7, 63]}}
        ),
        lambda a: not a.is_tied,
    ),
    "resized": Kind(_plain, new_tokens=5),
    "resized-saved": Kind(_saves("embeddings", "head"), new_tokens=5),
    "resized-tokens": Kind(
        lambda a: _plain(a) | {"trainable_token_indices": [3, *range(64, 69)]}, new_tokens=5
    ),
    "save-linear": Kind(
        lambda a: {"target_modules": [a.linears[0]], "modules_to_save": [a.linears[-1]]}
    ),
    "save-router": Kind(_with(modules_to_save=["gate"]), _has_experts),
    "save-experts": Kind(_with(modules_to_save=["experts"]), _has_experts),
    "one-layer": Kind(_with(layers_to_transform=[1])),
    "excluded": Kind(lambda a: _plain(a) | {"exclude_modules": rf".*\.0\..*{a.linears[-1]}"}),
    "experts-gate-up": Kind(_expert_parameters("gate_up_proj"), _has_experts),
    "experts-down": Kind(_expert_parameters("down_proj"), _has_experts),
    "experts": Kind(_expert_parameters("gate_up_proj", "down_proj"), _has_experts),
    "experts-reversed": Kind(_expert_parameters("down_proj", "gate_up_proj"), _has_experts),
    "experts-rslora": Kind(
        lambda a: _expert_parameters("gate_up_proj", "down_proj")(a) | {"use_rslora": True},
        _has_experts,
    ),
    "experts-v4": Kind(
        lambda a: {"target_modules": ["q_proj", *a.experts]}, _has_linear_experts, is_v4=True
    ),
    "all-linear-v4": Kind(
        lambda a: {"target_modules": [*a.linears, *a.experts, "gate"]},
        _has_linear_experts,
        is_v4=True,
    ),
}


@dataclass(frozen=True)
class Case:
    """A base model and an adapter on it, by architecture, kind and how both are stored."""

    architecture: str
    kind: str = "plain"
    dtype: str = "float32"
    adapter_dtype: str = "float32"
    is_sharded: bool = False

    def __str__(self) -> str:
        """Its name as a test's id: what differs from the usual is told."""
        told = [self.architecture, self.kind]
        told += [self.dtype] if self.dtype != "float32" else []
        told += [f"{self.adapter_dtype}-adapter"] if self.adapter_dtype != "float32" else []
        told += ["sharded"] if self.is_sharded else []
        return "-".join(told)


def suiting(kinds_on: Mapping[str, Iterable[str]], **stored: Any) -> list[Case]:
    """A case for each kind on each architecture that it makes sense for."""
    return [
        Case(architecture, kind, **stored)
        for architecture, kinds in kinds_on.items()
        for kind in kinds
        if KINDS[kind].suits(ARCHITECTURES[architecture])
    ]
