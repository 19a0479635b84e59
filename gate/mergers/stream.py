"""Merge adapters tensor by tensor from memory-mapped files: exact, at about the speed of a copy."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple, get_args

from gate.checkpoints import (
    check_code,
    copy_sidecars,
    has_tokenizer,
    measure,
    read_headers,
    read_json,
)
from gate.cores import core_count
from gate.engines.hf_models import is_packed
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
from gate.precisions import closest_precision
from gate.quantizing.calibration import read_rendered
from gate.records import WeightReport
from gate.terms import LocalAdapter

PACKAGES = ("torch", "numpy", "transformers", "peft", "safetensors")
WRITES = "checkpoint"
CODE = (
    "merging/*.py",
    "mergers/peft.py",
    "adapters.py",
    "checkpoints.py",
    "engines/hf_models.py",
    "nf4.py",
    "precisions.py",
    "tensors.py",
    "quantizing/calibration.py",
    "texts.py",
    "engines/tokenized.py",
)

Dtype = Literal["auto", "bfloat16", "float16", "float32"]

_WORDS = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}


class _Settings(NamedTuple):
    """How to merge, as `merge` has it."""

    dtype: Dtype
    method: Method
    density: float
    seed: int
    base_precision: BasePrecision
    double_quant: bool
    device: Device
    trust_remote_code: bool
    allow_pickle: bool

    @property
    def permissions(self) -> dict[str, Any]:
        """What may be run that came with a model."""
        return {"trust_remote_code": self.trust_remote_code, "allow_pickle": self.allow_pickle}


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
    base_precision: BasePrecision | Literal["auto"] = "w16",
    double_quant: bool = True,
    device: Device = "auto",
    texts: Sequence[str] = (),
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
            the sum into 4 bits again. All are written in the base's type. auto for the one whose
            answers are closest to those of the adapters on the base in 4 bits.
        double_quant: whether the 4-bit scales are put into 8 bits; a 4-bit base says so itself.
        device: where products are calculated; auto for CUDA where there is one.
        texts: JSON-lines files of the texts that base_precision: auto compares on.

    Raises:
        ConfigError: adapters that cannot be combined, or a base model that is quantized.
        StageError: an adapter that does not fit the base model tensor by tensor, is not finite or
            changes nothing, too little disk, or a directory that is not empty.
    """
    check_code(base, trust_remote_code=trust_remote_code)
    _check(base, adapters, out, density)
    for adapter in adapters:
        check_mergeable(adapter.path)
    settings = _Settings(
        dtype=dtype,
        method=method,
        density=density,
        seed=seed,
        base_precision="w16" if base_precision == "auto" else base_precision,
        double_quant=double_quant,
        device=device,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
    )
    if base_precision == "auto":
        return _merge_closest(base, adapters, out, settings, texts)
    return _merge(base, adapters, out, settings)


def _merge(
    base: Path, adapters: Sequence[LocalAdapter], out: Path, settings: _Settings
) -> WeightReport:
    for adapter in adapters:
        reason = why_not_streamed(adapter.path)
        if reason:
            return _by_peft(base, adapters, out, reason, settings)
    opened = open_base(
        base,
        precision=settings.base_precision,
        double_quant=settings.double_quant,
        **settings.permissions,
    )
    tensors = opened.tensors
    files = [read_adapter(one, allow_pickle=settings.allow_pickle) for one in adapters]
    for file in files:
        check_finite(file)
    try:
        recipe = make_recipe(files, tensors, opened.layout)
    except NotStreamedError as error:
        return _by_peft(base, adapters, out, error.problem, settings)
    works = Works(
        recipe,
        opened,
        adapters,
        method=settings.method,
        density=settings.density,
        seed=settings.seed,
        device=settings.device,
    )
    shards = plan_shards(tensors, recipe, dtype=_WORDS.get(settings.dtype))
    out.mkdir(parents=True, exist_ok=True)
    check_space(shards, shutil.disk_usage(out).free, out)
    threads = 1 + core_count()  # one of them waits for a file's lock, or for the disk
    changed = write_shards(shards, out, tensors, works.of, threads=threads)
    kept = kept_shares(changed, adapters)
    check_written(out, shards)
    write_index(base, out, shards)
    write_config(base, out, recipe.config | _truth(settings, is_packed=opened.is_packed))
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


def _truth(settings: _Settings, *, is_packed: bool) -> dict[str, Any]:
    """What config.json must say of the type that is written."""
    truth: dict[str, Any] = {} if settings.dtype == "auto" else {"dtype": settings.dtype}
    return {**truth, "quantization_config": None} if is_packed else truth


def _by_peft(
    base: Path,
    adapters: Sequence[LocalAdapter],
    out: Path,
    reason: str,
    settings: _Settings,
) -> WeightReport:
    """The merge by peft, which loads the whole model, with the reason in the report."""
    from gate.mergers import peft

    if settings.base_precision != "w16":
        raise ConfigError(
            f"base_precision {settings.base_precision} is for LoRA, and {reason}",
            hint="give base_precision: w16, and the 16-bit base model",
        )
    names = ", ".join(adapter.name for adapter in adapters)
    report = peft.merge(base, adapters, out, dtype=settings.dtype, **settings.permissions)
    warning = f"adapter {names} was merged by peft, in the memory of the whole model: {reason}"
    return report.model_copy(update={"merger": "peft", "warnings": (*report.warnings, warning)})


def _merge_closest(
    base: Path,
    adapters: Sequence[LocalAdapter],
    out: Path,
    settings: _Settings,
    texts: Sequence[str],
) -> WeightReport:
    """Merge by every convention, and keep the one closest to the adapters on the 4-bit base."""
    folders = [base, *(adapter.path for adapter in adapters)]
    lines = read_rendered(map(Path, texts), folders, settings.permissions["trust_remote_code"])
    precisions = get_args(BasePrecision)
    if is_packed(base):
        precisions = tuple(one for one in precisions if one != "w16")
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        places = {precision: Path(folder) / precision for precision in precisions}
        reports = {
            precision: _merge(base, adapters, place, settings._replace(base_precision=precision))
            for precision, place in places.items()
        }
        found = closest_precision(
            base,
            adapters,
            places,
            lines,
            double_quant=settings.double_quant,
            device=settings.device,
            **settings.permissions,
        )
        if out.exists():
            out.rmdir()
        places[found.closest].rename(out)
    told = ", ".join(f"{name} {nats:.3g}" for name, nats in found.divergences.items())
    sentence = (
        f"base_precision: {found.closest} is closest to the adapter on its 4-bit base; "
        f"KL in nats a token, over {found.tokens} tokens: {told}"
    )
    report = reports[found.closest]
    return report.model_copy(
        update={
            "warnings": (*report.warnings, sentence),
            "base_precision": found.closest,
            "divergences": found.divergences,
        }
    )
