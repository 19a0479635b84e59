"""Adapters and a base -> what is done to each tensor, with every tensor of both accounted for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gate.errors import ConfigError
from gate.merging.adapter_files import AdapterFile
from gate.merging.changes import Change
from gate.merging.layouts import Layout
from gate.merging.placing import Placing, does_not_fit
from gate.merging.tying import settle_ends
from gate.tensors import Tensors

_MATRIX = 2


@dataclass
class Recipe:
    """What is done to a base checkpoint.

    Attributes:
        changes: {(tensor, expert): what each adapter does to it}; the expert is None except in a
            tensor of stacked experts.
        head: the name of an output layer that is to be stored on its own, as a copy of
            `head_from`; None where nothing is untied.
        head_from: the tensor of the embeddings it is tied to.
        config: what config.json must say now.
        warnings: sentences for the report.
    """

    changes: dict[tuple[str, int | None], list[Change]] = field(default_factory=dict)
    head: str | None = None
    head_from: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def make_recipe(adapters: Sequence[AdapterFile], base: Tensors, layout: Layout) -> Recipe:
    """Find the place of every tensor of every adapter.

    Raises:
        ConfigError: two adapters that cannot be combined, or one that cannot be weighted.
        StageError: a tensor that has no place in the base, does not fit it, or is left over.
        NotStreamedError: the base cannot be changed tensor by tensor.
    """
    recipe = Recipe()
    tied: list[tuple[str, Change]] = []
    for number, adapter in enumerate(adapters):
        placing = Placing(number, adapter, base, layout)
        ends = settle_ends(placing.by_parameter(), adapter, base, layout)
        recipe.head, recipe.head_from = recipe.head or ends.head, recipe.head_from or ends.head_from
        recipe.config |= ends.config
        recipe.warnings += ends.warnings
        for parameter, change in ends.changes.items():
            if ends.on_both and parameter == layout.architecture.embeddings:
                tied.append((ends.on_both, change))
            if parameter == recipe.head:
                recipe.changes.setdefault((parameter, None), []).append(change)
                continue
            for slot, part in placing.parts(parameter, change):
                recipe.changes.setdefault(slot, []).append(part)
        _check_consumed(adapter, placing.consumed)
        _check_saved_modules(adapter)
        recipe.warnings += _lacking(adapter, base)
    for head, change in tied:  # another adapter made two of them
        if head == recipe.head:
            recipe.changes.setdefault((head, None), []).append(change)
    _check_combination(recipe, adapters)
    return recipe


def _check_consumed(adapter: AdapterFile, consumed: Mapping[str, int]) -> None:
    left = [name for name in adapter.tensors.headers if consumed.get(name, 0) != 1]
    if left:
        raise does_not_fit(
            adapter,
            f"{len(left)} of its tensors were not used exactly once; the first is {min(left)}",
        )


def _check_saved_modules(adapter: AdapterFile) -> None:
    """Refuse a file without a module that the config says was trained whole."""
    modules = [parameter.rpartition(".")[0] for parameter in adapter.replaced]
    for name in adapter.config.get("modules_to_save") or ():
        if not any(f".{name}." in f".{module}." for module in modules):
            raise does_not_fit(
                adapter, f"its config saves {name} (modules_to_save), its file has nothing of it"
            )


def _lacking(adapter: AdapterFile, base: Tensors) -> list[str]:
    """A warning where the config targets modules that the file has nothing for."""
    config = adapter.config
    targets = config.get("target_modules")
    narrowed = ("exclude_modules", "layers_to_transform", "layers_pattern", "target_parameters")
    if not isinstance(targets, list) or any(config.get(key) for key in narrowed):
        return []
    adapted = {_tail(module) for module, _ in adapter.factors}
    weights = (
        name.removesuffix(".weight")
        for name, header in base.headers.items()
        if name.endswith(".weight") and len(header.shape) == _MATRIX
    )
    lacking = sorted(
        module
        for module in weights
        if any(module.endswith(f".{target}") for target in targets)
        and ".experts." not in module  # fused when loaded: targeted by other names
        and _tail(module) not in adapted
    )
    if not lacking:
        return []
    return [
        f"adapter {adapter.adapter.name}: its config targets {len(lacking)} modules that its file "
        f"has nothing for; the first is {lacking[0]}"
    ]


def _tail(module: str) -> str:
    """A module's name from its numbered layer on: what renaming on load leaves alone."""
    numbered = re.search(r"\w+\.\d+\..+", module)
    return numbered[0] if numbered else module


def _check_combination(recipe: Recipe, adapters: Sequence[AdapterFile]) -> None:
    for (tensor, _), changes in recipe.changes.items():
        for change in changes:
            if change.is_delta:
                continue
            replacing = adapters[change.adapter].adapter
            others = [adapters[one.adapter].adapter for one in changes if one is not change]
            if others:
                raise ConfigError(
                    f"adapter {replacing.name} replaces {tensor}, "
                    f"which adapter {others[0].name} changes too",
                    hint="they cannot be merged together: train one on top of the other",
                )
            if replacing.weight != 1.0:
                raise ConfigError(
                    f"adapter {replacing.name} replaces {tensor}, "
                    f"which cannot be weighted by {replacing.weight:g}",
                    hint="give it weight 1.0",
                )
