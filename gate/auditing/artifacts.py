"""The audit of what a stage made: its weights, and what lies beside them."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gate.audit_records import Audit
from gate.auditing.gguf_files import has_gguf
from gate.auditing.merges import audit_merge
from gate.auditing.quantized import UNQUANTIZED, audit_quantized
from gate.auditing.sidecars import audit_sidecars
from gate.terms import LocalAdapter, Use

_SCHEMES = {"W4A16": "int4", "W8A8": "int8", "FP8_DYNAMIC": "fp8"}
"""What the schemes of llm-compressor store."""


def audit_artifact(
    base: Path,
    adapters: Sequence[LocalAdapter],
    model: Path,
    *,
    merged: Path | None,
    use: Use,
    base_precision: str | None,
    trust_remote_code: bool,
    allow_pickle: bool,
) -> Audit:
    """Audit a merge, or what was quantized from one.

    Args:
        base: the base model's directory.
        adapters: what was merged into it.
        model: what is audited: the merge, or the quantized model.
        merged: what the model was quantized from; None where it is the merge itself.
        use: the merger or quantizer, whose parameters say what was asked for.
        base_precision: what the merger took of the base, where it was left to it.
        trust_remote_code: let the base model run Python code of its own.
        allow_pickle: read weights that run code when they are read.

    Raises:
        ConfigError: an adapter that no audit can recompute.
        SourceError: a file that is missing or cannot be read.
    """
    options: dict[str, Any] = {
        "trust_remote_code": trust_remote_code,
        "allow_pickle": allow_pickle,
    }
    if merged is None:
        known = inspect.signature(audit_merge).parameters
        asked: dict[str, Any] = {key: use.params[key] for key in use.params if key in known}
        if base_precision is not None:
            asked["base_precision"] = base_precision
        weights = audit_merge(base, adapters, model, **asked, **options)
        beside = audit_sidecars(base, model, adapters=adapters, trust_remote_code=trust_remote_code)
    else:
        asked_type = _asked_type(use)
        imatrix = bool(use.params.get("imatrix"))
        weights = audit_quantized(
            merged, model, base=base, asked=asked_type, imatrix=imatrix, **options
        )
        if asked_type and not has_gguf(model):
            weights = _check_type(weights, asked_type)
        beside = audit_sidecars(merged, model, trust_remote_code=trust_remote_code)
    return weights_and_sidecars(weights, beside)


def weights_and_sidecars(weights: Audit, beside: Audit) -> Audit:
    """Both audits as one; what both found of config.json is told once."""
    known = {_key(fault) for fault in weights.faults}
    new = [fault for fault in beside.faults if _key(fault) not in known]
    return weights.model_copy(
        update={
            "faults": (*weights.faults, *new),
            "warnings": (*weights.warnings, *beside.warnings),
        }
    )


def _asked_type(use: Use) -> str | None:
    """What the weights are to be stored as, in the audit's words; None where it does not say."""
    kind = use.params.get("type") or _SCHEMES.get(str(use.params.get("scheme")))
    return kind if isinstance(kind, str) else None


def _check_type(weights: Audit, asked: str) -> Audit:
    """The audit of a packed checkpoint, with a fault where it is packed in another type."""
    found = {entry.type for entry in weights.quantized} - set(UNQUANTIZED)
    others = sorted(kind for kind in found if kind.partition(" ")[0] != asked)
    if not others:
        return weights
    fault = f"is stored as {' and '.join(others)}, but {asked} was asked for"
    return weights.model_copy(update={"faults": (fault, *weights.faults)})


def _key(fault: str) -> str:
    """What of config.json a fault is about: 'config.json: rope_theta is ...' -> rope_theta."""
    if not fault.startswith("config.json: "):
        return fault
    return fault.removeprefix("config.json: ").split(" is ")[0].split(":")[0].split(".")[0]
