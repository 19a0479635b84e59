"""Input embeddings and output layer: one tensor or two after the merge, with how many rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from gate.merging.adapter_files import AdapterFile
from gate.merging.changes import Change
from gate.merging.layouts import Layout, Piece
from gate.merging.placing import NotStreamedError, does_not_fit
from gate.tensors import Tensors

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Ends:
    """What becomes of the two ends of a model.

    Attributes:
        changes: {parameter: change}, with what the adapter does to the two ends settled.
        head: the name of an output layer that is to be stored on its own, as a copy of
            `head_from`; None where nothing is untied.
        head_from: the tensor of the embeddings it was tied to.
        on_both: the name of the output layer, where the change of the embeddings is its too.
        config: what config.json must say now.
        warnings: sentences for the report.
    """

    changes: dict[str, Change]
    head: str | None = None
    head_from: str | None = None
    on_both: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def settle_ends(
    changes: Mapping[str, Change], adapter: AdapterFile, base: Tensors, layout: Layout
) -> Ends:
    """Settle what a change of the embeddings or the output layer means where they are one tensor.

    What the adapter learned decides: trainable token rows, a resized vocabulary and equal changes
    of both keep them one; any other change of one side makes them two.

    Raises:
        StageError: the adapter contradicts itself.
        NotStreamedError: the embeddings are not in the checkpoint.
    """
    ends = Ends(dict(changes))
    if all(any(part.isdigit() for part in name.split(".")) for name in changes):
        return ends
    architecture = layout.architecture
    embeddings, head = architecture.embeddings, architecture.head
    touched = [name for name in (embeddings, head) if name and name in changes]
    if not touched:
        return ends
    pieces = layout.find(embeddings)
    if not pieces:
        raise NotStreamedError(f"{embeddings} is not in the checkpoint")
    for name in touched:
        change = _without_noop(changes[name], base, layout.find(name) or pieces)
        del ends.changes[name]
        if not change.is_nothing:
            ends.changes[name] = change
    _note_vocabulary(ends, embeddings, base.headers[pieces[0].tensor].shape[0])
    if head is not None and architecture.is_tied:
        tied = _Tied(embeddings, head, pieces[0].tensor, bool(layout.find(head)))
        _settle_tied(ends, adapter, tied)
    return ends


class _Tied(NamedTuple):
    """Tied ends: both parameters, the embeddings' tensor, and whether the head has one too."""

    embeddings: str
    head: str
    tensor: str
    is_head_stored: bool


def _settle_tied(ends: Ends, adapter: AdapterFile, tied: _Tied) -> None:
    head = tied.head
    one, other = ends.changes.get(tied.embeddings), ends.changes.get(head)
    if _stay_tied(one, other, adapter, is_resized="vocab_size" in ends.config):
        ends.changes.pop(head, None)
        if one is not None:
            ends.on_both = head
            if tied.is_head_stored:
                ends.changes[head] = one
        return
    ends.config["tie_word_embeddings"] = False
    ends.warnings.append(
        f"adapter {adapter.adapter.name} changes one side of the tied embeddings: "
        f"{head.removesuffix('.weight')} is now stored on its own (tie_word_embeddings: false)"
    )
    if not tied.is_head_stored:
        ends.head, ends.head_from = head, tied.tensor


def _without_noop(change: Change, base: Tensors, pieces: tuple[Piece, ...]) -> Change:
    """The change without a replacement that is the base's own tensor, which peft saves too."""
    import torch

    if change.replacement is None or not pieces:
        return change
    own = base.views[pieces[0].tensor]
    if own.shape == change.replacement.shape and torch.equal(own, change.replacement.to(own.dtype)):
        return replace(change, replacement=None)
    return change


def _stay_tied(
    one: Change | None, other: Change | None, adapter: AdapterFile, *, is_resized: bool
) -> bool:
    """Whether embeddings and output layer are one tensor after what is done to each of them."""
    if one is not None and other is not None:
        is_same = (
            _same(one.replacement, other.replacement)
            and _same_product(one, other)
            and _same_rows(one, other)
        )
        if adapter.config.get("ensure_weight_tying") and not is_same:
            raise does_not_fit(
                adapter,
                "its config has ensure_weight_tying, "
                "and what it has for the embeddings and for the output layer differs",
            )
        return is_same
    if other is not None:
        return False
    return one is None or one.rows is not None or is_resized


def _same(one: "Tensor | None", other: "Tensor | None") -> bool:
    import torch

    if one is None or other is None:
        return one is other
    return one.shape == other.shape and bool(torch.equal(one, other))


def _same_rows(one: Change, other: Change) -> bool:
    if one.rows is None or other.rows is None:
        return one.rows is other.rows
    return one.rows[0] == other.rows[0] and _same(one.rows[1], other.rows[1])


def _same_product(one: Change, other: Change) -> bool:
    if one.low_rank is None or other.low_rank is None:
        return one.low_rank is other.low_rank
    return _same(one.low_rank.left, other.low_rank.left) and _same(
        one.low_rank.right, other.low_rank.right
    )


def _note_vocabulary(ends: Ends, embeddings: str, before: int) -> None:
    change = ends.changes.get(embeddings)
    if change is None or change.replacement is None:
        return
    after = change.replacement.shape[0]
    if before != after:
        ends.config["vocab_size"] = after
        ends.warnings.append(
            f"the vocabulary is resized from {before} to {after} rows, as the adapter was trained"
        )
