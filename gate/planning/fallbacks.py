"""Adapters that an engine cannot serve rightly are evaluated with transformers instead."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from gate import extensions
from gate.configuring.config import GateConfig
from gate.terms import Source, Use, Variant

_REFERENCE_ENGINE = "hf"


class Fitted(NamedTuple):
    """The variants of a config, each with a backend that serves it, and what was changed."""

    variants: tuple[Variant, ...]
    notes: tuple[str, ...]


def fit_backends(config: GateConfig, adapters: Mapping[str, Source]) -> Fitted:
    """The variants, those with live adapters on a backend that can serve them.

    A backend says in `adapter_fault(config)` why an adapter is beyond it; the plan then adds the
    bridge that separates the merge from the runtime.

    Args:
        config: what was asked.
        adapters: {name: adapter}, located.
    """
    variants, notes = [], []
    for variant in config.variants:
        fault = _fault(variant, config, adapters)
        if fault is None:
            variants.append(variant)
            continue
        variants.append(variant.model_copy(update={"backend": Use(name=_REFERENCE_ENGINE)}))
        engines = f"{_REFERENCE_ENGINE}, not {variant.backend.name}"
        notes.append(f"{variant.name}: evaluated with {engines}: {fault}")
    return Fitted(tuple(variants), tuple(notes))


def _fault(variant: Variant, config: GateConfig, adapters: Mapping[str, Source]) -> str | None:
    """Why a variant's backend cannot serve its live adapters, or None."""
    if variant.merge is not None or not variant.adapters:
        return None
    module = extensions.find("backends", variant.backend.name).module
    adapter_fault = getattr(module, "adapter_fault", None)
    if adapter_fault is None:
        return None
    weights = {one.name: one.weight for one in config.candidate.adapters}
    if len(variant.adapters) > 1:
        return "it applies one adapter at a time"
    if weights[variant.adapters[0]] != 1.0:
        return f"it cannot apply adapter {variant.adapters[0]} at a weight of its own"
    file = Path(adapters[variant.adapters[0]].path) / "adapter_config.json"
    fault: str | None = adapter_fault(json.loads(file.read_text(encoding="utf-8")))
    return fault
