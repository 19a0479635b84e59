"""The audit of a merge: base + adapters recomputed tensor by tensor and compared with the file."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gate.audit_records import Audit, TensorAudit
from gate.auditing.adapters import AdapterParts, not_finite, other_arithmetic, read_parts
from gate.auditing.architecture import model_names
from gate.auditing.changes import Change
from gate.auditing.comparing import Comparer, Target
from gate.auditing.configs import Demands, config_faults, peft_file_faults
from gate.auditing.foreign import Kind, audit_with_peft
from gate.auditing.four_bits import BasePrecision, in_precision
from gate.auditing.matching import Matched, match
from gate.auditing.placing import Places, place, wanted_names
from gate.auditing.pruning import METHODS, Combination, Method
from gate.auditing.tying import Head, embeddings_name, is_head, tied_head
from gate.auditing.verdicts import tensor_faults, tensor_warnings
from gate.checkpoints import read_json
from gate.errors import ConfigError, suggest
from gate.tensors import open_tensors
from gate.terms import LocalAdapter

if TYPE_CHECKING:
    from torch import Tensor, dtype

Dtype = Literal["auto", "bfloat16", "float16", "float32"]


def audit_merge(
    base: Path,
    adapters: Sequence[LocalAdapter],
    merged: Path,
    *,
    method: Method = "linear",
    density: float = 1.0,
    seed: int = 0,
    dtype: Dtype = "auto",
    base_precision: BasePrecision = "w16",
    double_quant: bool = True,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
) -> Audit:
    """Prove on the weights alone that a checkpoint is base + adapters, or name what is not.

    Args:
        base: the base model's directory.
        adapters: what was merged into it, in order, with their weights.
        merged: the directory of the merge, made by whatever tool.
        method: how several adapters were combined.
        density: share of each delta that ties, dare and magnitude pruning kept.
        seed: of what dare dropped.
        dtype: the type that was asked for; auto for the base's.
        base_precision: what a QLoRA adapter was added to: the base as it is stored, or what 4
            bits leave of it, and whether the sum was put into 4 bits again.
        double_quant: whether the 4-bit scales are in 8 bits, where that is simulated.
        trust_remote_code: let the base model run Python code of its own, where its class is asked.
        allow_pickle: read weights that are pickled (tensors only).

    Raises:
        ConfigError: arguments that no merge can have, or an adapter that cannot be merged.
        SourceError: a file that is missing or cannot be read.
    """
    combination = Combination(method, density, seed)
    _check(adapters, combination)
    config = read_json(base / "config.json")
    how = config.get("quantization_config")
    if how is not None and not (isinstance(how, dict) and how.get("load_in_4bit")):
        raise ConfigError(
            f"{base}: a quantized base model: its weights are not the numbers it computes with",
            hint="give the 16-bit model it was quantized from",
        )
    audit = _Audit(
        base,
        merged,
        config,
        combination,
        dtype,
        trust_remote_code,
        allow_pickle,
        base_precision,
        double_quant,
    )
    for adapter in adapters:
        if name := other_arithmetic(adapter.path, adapter.name):
            return audit.of_foreign(adapters, Kind(adapter, name))
    parts = [read_parts(adapter, allow_pickle=allow_pickle) for adapter in adapters]
    broken = [sentence for one in parts for sentence in not_finite(one)]
    return Audit(faults=tuple(broken)) if broken else audit.of_parts(parts)


def _check(adapters: Sequence[LocalAdapter], combination: Combination) -> None:
    if not adapters:
        raise ConfigError("an audit needs at least one adapter")
    if combination.method not in METHODS:
        raise ConfigError(
            f"no method named {combination.method!r}", hint=suggest(combination.method, METHODS)
        )
    if not 0 < combination.density <= 1:
        raise ConfigError(f"density is {combination.density}, and should be in (0, 1]")


@dataclass
class _Audit:
    """One audit under way."""

    base: Path
    merged: Path
    config: Mapping[str, Any]
    combination: Combination
    asked: Dtype
    trust_remote_code: bool
    allow_pickle: bool
    base_precision: BasePrecision = "w16"
    double_quant: bool = True
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    names: dict[str, str | None] | None = None

    def of_foreign(self, adapters: Sequence[LocalAdapter], kind: Kind) -> Audit:
        """The audit of an adapter that is not base + s*B*A."""
        if len(adapters) > 1 or kind.adapter.weight != 1.0:
            raise ConfigError(
                f"adapter {kind.adapter.name}: {kind.name} is audited alone and at weight 1.0",
                hint="by what peft makes of it: it is not base + s*B*A",
            )
        found = audit_with_peft(
            self.base, kind, self.merged, trust_remote_code=self.trust_remote_code
        )
        changed = {one.tensor for one in found.tensors if one.delta_share is not None}
        self.faults += tensor_faults(found.tensors, changed)
        self._look_beside(Demands(dtype=self._asked_dtype))
        return found.model_copy(
            update={
                "faults": tuple(self.faults),
                "warnings": (*found.warnings, *self.warnings),
            }
        )

    def of_parts(self, parts: Sequence[AdapterParts]) -> Audit:
        """The audit of LoRA adapters."""
        with in_precision(
            self.base,
            open_tensors(self.base, allow_pickle=self.allow_pickle),
            self.base_precision,
            double_quant=self.double_quant,
            trust_remote_code=self.trust_remote_code,
        ) as base:
            return self._of_parts(parts, base.views, base.requantize)

    def _of_parts(
        self,
        parts: Sequence[AdapterParts],
        base: "Mapping[str, Tensor]",
        requantize: "Mapping[str, Callable[[Tensor], Tensor]]",
    ) -> Audit:
        merged = open_tensors(self.merged, allow_pickle=self.allow_pickle).views
        places = self._place(parts, base)
        head = tied_head(base, self.config, places)
        changes = self._changes(base, places, head)
        self.faults += [sentence for one in places for sentence in one.leftovers()]
        matched = match(base, merged, head)
        targets = [
            Target(name, tensor, found, changes[name], self._type_of(tensor, found))
            for name, tensor in self._grounds(base, head).items()
            if (found := matched.found.get(name)) is not None
        ]
        comparison = Comparer(targets, self.combination, requantize).compare()
        tensors = [finding.audit for finding in comparison.findings]
        tensors += self._absent(matched, base, changes)
        changed = {name for name, here in changes.items() if here}
        if matched.traces_of_peft:
            self.faults.append(
                f"{len(matched.traces_of_peft)} tensors are peft's own, the first is "
                f"{matched.traces_of_peft[0]}: the adapter was saved beside the weights, not merged"
            )
        self.faults += tensor_faults(tensors, changed, skip=matched.traces_of_peft)
        self.warnings += tensor_warnings(tensors)
        demands = self._demands(base, head, changes, matched.found.keys())
        self._look_beside(demands)
        return Audit(
            schedule=comparison.schedule,
            faults=tuple(self.faults),
            warnings=tuple(self.warnings),
            tensors=tuple(tensors),
        )

    def _place(self, parts: Sequence[AdapterParts], base: "Mapping[str, Tensor]") -> list[Places]:
        places = place(parts, list(base), {})
        unknown = {
            name
            for one in places
            for name in wanted_names(one.parts)
            if name not in one.names and not is_head(name)
        }
        if not unknown:
            return places
        aliases = {model: disk for disk, model in self._model_names(base).items() if model}
        return place(parts, list(base), aliases)

    def _model_names(self, base: "Mapping[str, Tensor]") -> dict[str, str | None]:
        if self.names is None:
            try:
                self.names = model_names(
                    self.base, list(base), trust_remote_code=self.trust_remote_code
                )
            except ConfigError as error:
                self.warnings.append(error.problem)
                self.names = {}
        return self.names

    def _changes(
        self, base: "Mapping[str, Tensor]", places: Sequence[Places], head: Head | None
    ) -> dict[str, tuple[Change, ...]]:
        changes = {
            name: tuple(
                change
                for one in places
                if (change := one.change(name, tensor, self.config)) is not None
            )
            for name, tensor in base.items()
            if head is None or name not in (head.name, head.embeddings)
        }
        if head is not None:
            changes[head.name] = head.changes
            changes[head.embeddings] = head.embedding_changes
        return changes

    @staticmethod
    def _grounds(base: "Mapping[str, Tensor]", head: Head | None) -> "dict[str, Tensor]":
        """The tensor that each change is made to: the embeddings', for a head tied to them."""
        grounds = dict(base)
        if head is not None:
            grounds[head.name] = base[head.embeddings]
        return grounds

    def _type_of(self, tensor: "Tensor", found: "Tensor") -> "dtype":
        import torch

        if not tensor.is_floating_point():
            return tensor.dtype
        if self.asked != "auto":
            kind: dtype = getattr(torch, self.asked)
            return kind
        word = str(self.config.get("dtype") or self.config.get("torch_dtype"))
        # transformers reads a checkpoint of several types into the one that its config names
        return found.dtype if str(found.dtype).endswith(f".{word}") else tensor.dtype

    def _absent(
        self,
        matched: Matched,
        base: "Mapping[str, Tensor]",
        changes: Mapping[str, tuple[Change, ...]],
    ) -> list[TensorAudit]:
        unused: set[str] = set()
        if any(not changes[name] for name in matched.missing):
            names = self._model_names(base)
            unused = {
                name
                for name in matched.missing
                if not changes[name] and name in names and names[name] is None
            }
        if unused:
            self.warnings.append(
                f"{len(unused)} tensors of the base that its model has no use for are left out; "
                f"the first is {min(unused)}"
            )
        missing = [name for name in matched.missing if name not in unused]
        return [TensorAudit(tensor=name, outcome="missing") for name in missing] + [
            TensorAudit(tensor=name, outcome="extra") for name in matched.extra
        ]

    def _demands(
        self,
        base: "Mapping[str, Tensor]",
        head: Head | None,
        changes: Mapping[str, tuple[Change, ...]],
        found: Collection[str],
    ) -> Demands:
        name = embeddings_name(base)
        rows = None
        for change in changes.get(name, ()) if name else ():
            if change.replacement is not None and len(change.replacement) != len(base[name or ""]):
                rows = len(change.replacement)
        return Demands(
            may_be_tied=head is None or not head.is_parted,
            may_be_untied=head is not None and head.name in found,
            vocab_size=rows,
            dtype=self._asked_dtype,
        )

    @property
    def _asked_dtype(self) -> str | None:
        return None if self.asked == "auto" else self.asked

    def _look_beside(self, demands: Demands) -> None:
        self.faults += config_faults(self.base, self.merged, demands)
        self.faults += peft_file_faults(self.merged)
