"""Merge adapters tensor by tensor from memory-mapped files: exact, at about the speed of a copy."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from gate.checkpoints import (
    check_code,
    copy_sidecars,
    has_tokenizer,
    measure,
    read_headers,
    read_json,
)
from gate.errors import ConfigError, StageError
from gate.merging.adapter_files import (
    check_finite,
    check_mergeable,
    read_adapter,
    why_not_streamed,
)
from gate.merging.base_weights import BasePrecision, open_base
from gate.merging.combining import Method
from gate.merging.placing import NotStreamedError
from gate.merging.recipes import make_recipe
from gate.merging.shards import (
    check_space,
    check_written,
    plan_shards,
    write_config,
    write_index,
)
from gate.merging.surviving import kept_shares, losses
from gate.merging.works import Device, Works
from gate.merging.writing import write_shards
from gate.records import WeightReport
from gate.terms import LocalAdapter

PACKAGES = ("torch", "numpy", "transformers", "peft", "safetensors")
WRITES = "checkpoint"
CODE = ("merging/*.py", "tensors.py", "nf4.py", "checkpoints.py", "mergers/peft.py")

Dtype = Literal["auto", "bfloat16", "float16", "float32"]

_WORDS = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}


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
        check_mergeable(adapter.path)
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
    works = Works(
        recipe, opened, adapters, method=method, density=density, seed=seed, device=device
    )
    shards = plan_shards(tensors, recipe, dtype=_WORDS.get(dtype))
    out.mkdir(parents=True, exist_ok=True)
    check_space(shards, shutil.disk_usage(out).free, out)
    changed = write_shards(shards, out, tensors, works.of, threads=os.cpu_count() or 1)
    kept = kept_shares(changed, adapters)
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
        warnings=(*recipe.warnings, *losses(kept, shards)),
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
