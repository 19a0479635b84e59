"""A pair of LoRA matrices as a product in the orientation that lies on disk."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gate.auditing.adapters import AdapterParts, Factors
from gate.auditing.changes import Product, matrix_view
from gate.auditing.names import ExpertTensor

if TYPE_CHECKING:
    from torch import Tensor

_CONV1D_MODELS = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer", "clvp")
_TRANSPOSED_EXPERTS = ("gpt_oss", "llama4", "llama4_text")
_STACKED = 3


def module_product(
    parts: AdapterParts,
    module: str,
    factors: Factors,
    tensor: "Tensor",
    config: Mapping[str, Any],
) -> Product | None:
    """The product for a module's weight; None where its shape does not fit.

    Args:
        parts: the adapter.
        module: the module's name in the model.
        factors: its matrices.
        tensor: the module's weight in the base.
        config: the base's config.json.
    """
    down, up = factors.down, factors.up
    if down is None or up is None:
        return None
    shape = tuple(matrix_view(tensor).shape)
    outputs_are_rows = True
    if factors.is_embedding:
        left, right, outputs_are_rows = down.T, up.T, False
    else:
        left, right = up.reshape(up.shape[0], -1), down.reshape(down.shape[0], -1)
        turned = (right.shape[1], left.shape[0])
        fits = shape == (left.shape[0], right.shape[1])
        if shape == turned and (not fits or _is_conv1d(parts, module, config)):
            left, right, outputs_are_rows = right.T, left.T, False
    keys = module, f"{module}.weight"
    if shape != (left.shape[0], right.shape[1]) or right.shape[0] != parts.rank(*keys):
        return None
    return Product(
        left=left[None],
        right=right[None],
        scale=parts.scale(*keys),
        kind="wide" if factors.is_embedding else "linear",
        magnitude=factors.magnitude,
        outputs_are_rows=outputs_are_rows,
        is_rank_stabilized=bool(parts.config.get("use_rslora")),
    )


def expert_product(
    parts: AdapterParts,
    key: str,
    factors: Factors,
    *,
    place: ExpertTensor,
    tensor: "Tensor",
    config: Mapping[str, Any],
) -> Product | None:
    """The product for one tensor of a layer's experts, whose matrices are stacked in the adapter.

    Agrees with lora.ParamWrapper.get_delta_weight of peft 0.21: experts are the outer axis of
    lora_A's rows and the inner one of lora_B's columns.

    Args:
        parts: the adapter.
        key: the fused parameter's name in the model.
        factors: its matrices.
        place: which part of it the tensor is.
        tensor: the base's tensor.
        config: the base's config.json.
    """
    down, up, rank = factors.down, factors.up, parts.rank(key)
    if down is None or up is None or down.shape[0] % rank or up.shape[1] != down.shape[0]:
        return None
    downs = down.reshape(-1, rank, down.shape[1])
    ups = up.reshape(up.shape[0], rank, -1).permute(2, 0, 1)
    if place.expert is None:
        pair = _fused(ups, downs, tensor, config)
    else:
        pair = _one_expert(ups, downs, place, tensor)
    if pair is None:
        return None
    return Product(
        *pair,
        scale=parts.scale(key),
        kind="wide",
        is_rank_stabilized=bool(parts.config.get("use_rslora")),
    )


def vector_product(parts: AdapterParts, module: str, bias: "Tensor") -> Product:
    """lora_bias as a product: scale * b_B is added to the bias of the module."""
    keys = module, f"{module}.weight"
    return Product(
        left=bias.reshape(1, -1, 1),
        right=bias.new_ones(1, 1, 1),
        scale=parts.scale(*keys),
        kind="vector",
    )


def _one_expert(
    ups: "Tensor", downs: "Tensor", place: ExpertTensor, tensor: "Tensor"
) -> "tuple[Tensor, Tensor] | None":
    expert = place.expert or 0
    if expert >= len(ups):
        return None
    up, down = ups[expert], downs[expert]
    if place.half is not None:
        half = up.shape[0] // 2
        up = up[place.half * half : (place.half + 1) * half]
    if tuple(tensor.shape) != (up.shape[0], down.shape[1]):
        return None
    return up[None], down[None]


def _fused(
    ups: "Tensor", downs: "Tensor", tensor: "Tensor", config: Mapping[str, Any]
) -> "tuple[Tensor, Tensor] | None":
    if tensor.ndim != _STACKED or tensor.shape[0] != len(ups):
        return None
    outs, ins = ups.shape[1], downs.shape[2]
    shape = tuple(tensor.shape[1:])
    is_transposed = config.get("model_type") in _TRANSPOSED_EXPERTS
    if shape == (outs, ins) and not (outs == ins and is_transposed):
        return ups, downs
    if shape == (ins, outs):
        return downs.transpose(1, 2), ups.transpose(1, 2)
    return None


def _is_conv1d(parts: AdapterParts, module: str, config: Mapping[str, Any]) -> bool:
    if module.endswith("lm_head"):
        return False
    return bool(parts.config.get("fan_in_fan_out")) or config.get("model_type") in _CONV1D_MODELS
