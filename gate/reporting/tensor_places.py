"""Where a tensor stands in a model: its layer and its module, from its name.

Names are those of Hugging Face ('model.layers.3.self_attn.q_proj.weight') or of GGUF
('blk.3.attn_q.weight').
"""

import re
from typing import NamedTuple

_STACKS = ("layers", "layer", "h", "blk", "blocks", "block")
_ORDER = (
    ("q_proj", "attn_q"),
    ("k_proj", "attn_k"),
    ("v_proj", "attn_v"),
    ("qkv", "query_key_value", "c_attn"),
    ("o_proj", "attn_output"),
    ("gate",),
    ("up",),
    ("down",),
)
"""Modules in the order in which a layer uses them, by parts of their names."""

_LAST = len(_ORDER)


class TensorPlace(NamedTuple):
    """A tensor's place.

    Attributes:
        stack: which of a model's stacks of layers, such as 'model.layers'; empty outside them.
        layer: its number in the stack; None outside them.
        module: what it is in the layer, without the numbers of experts: 'mlp.experts.up_proj'.
    """

    stack: str
    layer: int | None
    module: str


def place_of(tensor: str) -> TensorPlace:
    """The place of a tensor; what is in no layer is a module by its whole name."""
    parts = tensor.removesuffix(".weight").split(".")
    for at, part in enumerate(parts[1:], start=1):
        if part.isdecimal() and parts[at - 1] in _STACKS:
            within = [other for other in parts[at + 1 :] if not other.isdecimal()]
            return TensorPlace(".".join(parts[:at]), int(part), ".".join(within))
    return TensorPlace("", None, ".".join(parts))


def module_order(module: str) -> int:
    """Where a module goes among the others of a layer: attention, then the feed-forward ones."""
    last = module.rpartition(".")[2]
    found = (at for at, names in enumerate(_ORDER) if any(name in last for name in names))
    return next(found, _LAST)


def short_names(modules: tuple[str, ...]) -> dict[str, str]:
    """{module: the end of its name that tells it from the others}."""
    shortened = {}
    for module in modules:
        parts = module.split(".")
        ends = (".".join(parts[-count:]) for count in range(1, len(parts) + 1))
        shortened[module] = next((end for end in ends if _is_alone(end, module, modules)), module)
    return shortened


def _is_alone(end: str, module: str, modules: tuple[str, ...]) -> bool:
    pattern = re.compile(rf"(^|\.){re.escape(end)}$")
    return not any(other != module and pattern.search(other) for other in modules)
