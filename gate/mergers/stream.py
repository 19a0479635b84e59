"""Merge adapters tensor by tensor from memory-mapped files: exact, at about the speed of a copy."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from gate.checkpoints import (
    check_code,
    copy_sidecars,
    has_tokenizer,
    measure,
    read_headers,
    read_json,
)
from gate.errors import ConfigError, StageError
from gate.merging.adapter_files import check_finite, read_adapter, why_not_streamed
from gate.merging.base_weights import BasePrecision, BaseWeights, open_base
from gate.merging.changes import Change, PreparedChange
from gate.merging.combining import Combination, Method
from gate.merging.placing import NotStreamedError
from gate.merging.recipes import Recipe, make_recipe
from gate.merging.shards import (
    Shard,
    check_space,
    check_written,
    plan_shards,
    write_config,
    write_index,
)
from gate.merging.writing import Work, write_shards
from gate.records import WeightReport
from gate.tensors import dtype_of
from gate.terms import LocalAdapter

PACKAGES = ("torch", "numpy", "transformers", "peft", "safetensors")
WRITES = "checkpoint"
CODE = ("merging/*.py", "tensors.py", "nf4.py", "checkpoints.py", "mergers/peft.py")

Dtype = Literal["auto", "bfloat16", "float16", "float32"]
Device = Literal["auto", "cpu", "cuda"]

_WORDS = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
_ERASED = 0.01
_WORTH_A_WARNING = 0.9


def merge(
    base: Path,
    adapters: Sequence[LocalAdapter],
    out: Path,
    *,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    dtype: Dtype = "auto",
    method: Method = "linear",
    density: float = 1.0,
    seed: int = 0,
    base_precision: BasePrecision = "w16",
    double_quant: bool = True,
    device: Device = "auto",
) -> WeightReport:
    """Write base + adapters as one checkpoint in the base's own layout.

    Each changed tensor is `round(float32(W) + s * B @ A)`, rounded once; every other tensor is
    copied byte for byte. Agrees with peft 0.21's merge computed in float64 and rounded once.

    Args:
        base: the base model's directory.
        adapters: one or more LoRA adapters; a weight scales what an adapter changes. Another kind
            of adapter is merged by the merger `peft`, alone, and the report says so.
        out: the directory to write, empty or absent; what an error leaves there is not whole.
        trust_remote_code: let the base model run Python code of its own, where its code is needed
            to find an adapter's modules.
        allow_pickle: read weights that run code when they are read.
        dtype: the type of the merged weights; auto for each tensor's own.
        method: how the deltas of several adapters are combined: see `Combination`.
        density: share of each delta that ties, dare and magnitude_prune keep, in (0, 1].
        seed: of dare's random pruning.
        base_precision: w16 to add to the weights as they are stored; nf4 to add to what 4 bits
            leave of them, which is what a QLoRA adapter was trained on; nf4_requantized to put
            the sum into 4 bits again. All are written in the base's type.
        double_quant: whether the 4-bit scales are put into 8 bits; a 4-bit base says so itself.
        device: where products are calculated; auto for CUDA where there is one.

    Raises:
        ConfigError: adapters that cannot be combined, or a base model that is quantized.
        StageError: an adapter that does not fit the base model tensor by tensor, is not finite or
            changes nothing, too little disk, or a directory that is not empty.
    """
    check_code(base, trust_remote_code=trust_remote_code)
    _check(base, adapters, out, density)
    options = {"trust_remote_code": trust_remote_code, "allow_pickle": allow_pickle}
    for adapter in adapters:
        reason = why_not_streamed(adapter.path)
        if reason:
            return _by_peft(base, adapters, out, reason, dtype=dtype, **options)
    opened = open_base(base, precision=base_precision, double_quant=double_quant, **options)
    tensors = opened.tensors
    files = [read_adapter(adapter, allow_pickle=allow_pickle) for adapter in adapters]
    for file in files:
        check_finite(file)
    try:
        recipe = make_recipe(files, tensors, opened.layout)
    except NotStreamedError as error:
        return _by_peft(base, adapters, out, error.problem, dtype=dtype, **options)
    works = _Works(
        recipe, opened, adapters, method=method, density=density, seed=seed, device=device
    )
    shards = plan_shards(tensors, recipe, dtype=_WORDS.get(dtype))
    out.mkdir(parents=True, exist_ok=True)
    check_space(shards, shutil.disk_usage(out).free, out)
    changed = write_shards(shards, out, tensors, works.of, threads=os.cpu_count() or 1)
    kept = _kept(changed, adapters)
    check_written(out, shards)
    write_index(base, out, shards)
    truth = dict(recipe.config)
    if dtype != "auto":
        truth["dtype"] = dtype
    if opened.is_packed:
        truth["quantization_config"] = None
    write_config(base, out, truth)
    tokenizers = [adapter.path for adapter in adapters if has_tokenizer(adapter.path)]
    copy_sidecars(base, out, tokenizer=tokenizers[-1] if tokenizers else None)
    weights = measure(read_headers(out))
    return WeightReport(
        parameters=weights.parameters,
        weight_bytes=weights.size_bytes,
        warnings=(*recipe.warnings, *_losses(kept, shards)),
        kept=kept,
    )


def _check(base: Path, adapters: Sequence[LocalAdapter], out: Path, density: float) -> None:
    if not adapters:
        raise ConfigError("there is no adapter to merge", hint="name at least one")
    if not 0.0 < density <= 1.0:
        raise ConfigError(f"density {density:g} is no share", hint="it is in (0, 1]")
    how = read_json(base / "config.json").get("quantization_config")
    if how is not None and not (isinstance(how, dict) and how.get("load_in_4bit")):
        raise ConfigError(
            f"{base}: a quantized base model: merging into it would round every weight again",
            hint="give the 16-bit model it was quantized from",
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StageError(
            f"{out}: exists and is not an empty directory", hint="give another one, or remove it"
        )


def _by_peft(
    base: Path,
    adapters: Sequence[LocalAdapter],
    out: Path,
    reason: str,
    *,
    dtype: Dtype,
    **options: bool,
) -> WeightReport:
    """The merge by peft, which loads the whole model, with the reason in the report."""
    from gate.mergers import peft

    names = ", ".join(adapter.name for adapter in adapters)
    report = peft.merge(base, adapters, out, dtype=dtype, **options)
    warning = f"adapter {names} was merged by peft, in the memory of the whole model: {reason}"
    return report.model_copy(update={"merger": "peft", "warnings": (*report.warnings, warning)})


class _Works:
    """Prepares the work on each tensor when it is its turn."""

    def __init__(
        self,
        recipe: Recipe,
        base: BaseWeights,
        adapters: Sequence[LocalAdapter],
        *,
        method: Method,
        density: float,
        seed: int,
        device: Device,
    ) -> None:
        import torch

        wanted = "cuda" if device == "auto" and torch.cuda.is_available() else device
        self._device = torch.device("cpu" if wanted == "auto" else wanted)
        self._recipe = recipe
        self._base = base.tensors
        self._requantize = base.requantize
        self._adapters = adapters
        self._method: Method = method
        self._density = density
        self._seed = seed
        self._slots: dict[str, dict[int | None, list[Change]]] = {}
        for (tensor, expert), changes in recipe.changes.items():
            self._slots.setdefault(tensor, {})[expert] = changes

    def of(self, tensor: str) -> Mapping[int | None, Any]:
        """What prepares the work on each matrix of a tensor."""
        return {
            expert: lambda expert=expert, changes=changes: self._work(tensor, expert, changes)
            for expert, changes in self._slots.get(tensor, {}).items()
        }

    def _work(self, tensor: str, expert: int | None, changes: Sequence[Change]) -> Work:
        source = self._recipe.head_from if tensor == self._recipe.head else tensor
        base = self._base.views[source or tensor]
        base = base if expert is None else base[expert]
        prepared = [PreparedChange(change, base, where=self._device) for change in changes]
        weights = [self._adapters[change.adapter].weight for change in changes]
        first = prepared[0]
        is_plain = self._method in ("linear", "sequential")
        if len(prepared) == 1 and (not first.change.is_delta or (is_plain and weights == [1.0])):
            return Work(
                lambda block, start, stop: first.apply(block.to(self._device), start, stop),
                first.squared_norm,
                self._requantize.get(tensor),
            )
        combination = Combination(
            prepared,
            weights,
            base,
            method=self._method,
            density=self._density,
            seed=self._seed,
            name=tensor if expert is None else f"{tensor}[{expert}]",
        )
        return Work(
            lambda block, start, stop: combination.apply(block.to(self._device), start, stop),
            finish=self._requantize.get(tensor),
        )


def _kept(
    changed: Mapping[str, tuple[float, float]], adapters: Sequence[LocalAdapter]
) -> dict[str, float]:
    """{tensor: share of its change that survived rounding}, 1 - ||lost|| / ||delta||."""
    names = ", ".join(adapter.name for adapter in adapters)
    delta = sum(one for one, _ in changed.values())
    lost = sum(one for _, one in changed.values())
    if delta == 0.0:
        raise StageError(
            f"adapter {names} changes nothing: every weight equals the base's",
            hint="was it saved before training, or trained with a learning rate of 0?",
        )
    if 1 - (lost / delta) ** 0.5 < _ERASED:
        raise StageError(
            f"adapter {names}: rounding erased its change: {1 - (lost / delta) ** 0.5:.1%} is left",
            hint="its change is too small for this dtype: try dtype: float32",
        )
    return {
        name: 1 - (lost / delta) ** 0.5 for name, (delta, lost) in sorted(changed.items()) if delta
    }


def _losses(kept: Mapping[str, float], shards: Sequence[Shard]) -> list[str]:
    """A warning where rounding took more than a tenth of a tensor's change."""
    words = {tensor.name: tensor.dtype for shard in shards for tensor in shard.tensors}
    lossy = [name for name, share in kept.items() if share < _WORTH_A_WARNING]
    if not lossy:
        return []
    worst = min(lossy, key=lambda name: kept[name])
    types = " and ".join(
        sorted({str(dtype_of(words[name])).removeprefix("torch.") for name in lossy})
    )
    return [
        f"rounding to {types} kept less than {_WORTH_A_WARNING:.0%} of the change of "
        f"{len(lossy)} of {len(kept)} tensors, the least of {worst}: {kept[worst]:.0%}; "
        "dtype: float32 would keep all of it"
    ]
