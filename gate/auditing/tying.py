"""Tied embeddings: which changes reach the output layer, and whether an adapter parts the two."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from gate.auditing.changes import Change
from gate.auditing.placing import Places

if TYPE_CHECKING:
    from torch import Tensor

_EMBEDDINGS = re.compile(
    r"(.*\.)?(embed_tokens|wte|word_embeddings|embed_in|tok_embeddings)\.weight"
)
_HEAD = re.compile(r"(.*\.)?(lm_head|embed_out)\.weight")


class Head(NamedTuple):
    """The output layer of a model whose embeddings are tied to it.

    Attributes:
        name: what its weight is called.
        embeddings: name of the embeddings' weight in the base.
        changes: what the adapters do to it.
        embedding_changes: what they do to the embeddings.
        is_parted: whether the two are no longer the same tensor.
    """

    name: str
    embeddings: str
    changes: tuple[Change, ...]
    embedding_changes: tuple[Change, ...]
    is_parted: bool


def embeddings_name(tensors: "Mapping[str, Tensor]") -> str | None:
    """The input embeddings' weight in a checkpoint; None where there is not exactly one."""
    matrices = 2
    found = [
        name
        for name, tensor in tensors.items()
        if _EMBEDDINGS.fullmatch(name) and tensor.ndim == matrices
    ]
    return found[0] if len(found) == 1 else None


def is_head(name: str) -> bool:
    """Whether a tensor is an output layer's, by its name."""
    return _HEAD.fullmatch(name) is not None


def tied_head(
    tensors: "Mapping[str, Tensor]", config: Mapping[str, Any], places: Sequence[Places]
) -> Head | None:
    """The output layer where the base's embeddings are tied to it; None where they are not."""
    embeddings = embeddings_name(tensors)
    stored = [name for name in tensors if is_head(name)]
    flag = _flag(config)
    if embeddings is None or flag is False or (stored and not flag):
        return None
    name = stored[0] if stored else _head_name(places)
    inner, outer, parts = [], [], False
    for one in places:
        ours = one.change(embeddings, tensors[embeddings], config)
        theirs = one.change(name, tensors[embeddings], config)
        shared = _shared(one, ours, embeddings), _shared(one, theirs, name)
        owns = _owns(ours, shared[0]), _owns(theirs, shared[1])
        parts = parts or (any(owns) and not _is_same(ours, theirs))
        inner.append(_joined(ours, shared[1]))
        outer.append(_joined(theirs, shared[0]))
    return Head(
        name=name,
        embeddings=embeddings,
        changes=tuple(change for change in outer if change),
        embedding_changes=tuple(change for change in inner if change),
        is_parted=parts,
    )


def _flag(config: Mapping[str, Any]) -> bool | None:
    for settings in (config, config.get("text_config") or {}):
        if isinstance(settings.get("tie_word_embeddings"), bool):
            return bool(settings["tie_word_embeddings"])
    return None


def _head_name(places: Sequence[Places]) -> str:
    """What the adapters call the output layer; transformers' usual name where none names it."""
    for one in places:
        for name in (*one.parts.replaced, *(f"{module}.weight" for module, _ in one.parts.factors)):
            if is_head(name):
                return name
    return "lm_head.weight"


def _shared(one: Places, change: Change | None, name: str) -> Change | None:
    """The part of a change that reaches both: a saved base layer, and trained tokens.

    Rows of trainable_token_indices are tied by peft 0.21 too, modules_to_save is a copy.
    """
    if change is None:
        return None
    replacement = None if one.saves_a_copy(name) else change.replacement
    if replacement is None and change.rows is None:
        return None
    return replace(change, replacement=replacement, product=None)


def _owns(change: Change | None, shared: Change | None) -> bool:
    """Whether a change has something besides what both sides get."""
    if change is None:
        return False
    has_copy = change.replacement is not None and (shared is None or shared.replacement is None)
    return change.product is not None or has_copy


def _is_same(one: Change | None, other: Change | None) -> bool:
    """Whether both sides get the same: ensure_weight_tying saves it under both names."""
    import torch

    if one is None or other is None or (one.product is None) != (other.product is None):
        return False
    pairs = [(one.replacement, other.replacement)]
    if one.product is not None and other.product is not None:
        pairs += [(one.product.left, other.product.left), (one.product.right, other.product.right)]
    return all(
        left is right or (left is not None and right is not None and torch.equal(left, right))
        for left, right in pairs
    )


def _joined(own: Change | None, shared: Change | None) -> Change | None:
    """A side's change with what it gets from the other side."""
    if own is None or shared is None:
        return own or shared
    return replace(
        own,
        replacement=shared.replacement if own.replacement is None else own.replacement,
        rows=shared.rows if own.rows is None else own.rows,
    )
