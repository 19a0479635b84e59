"""A suite's checks -> one for each variant, reference and task; the bridges they call for."""

from typing import NamedTuple

from gate import extensions
from gate.config import GateConfig
from gate.digest import digest_json
from gate.errors import ConfigError
from gate.terms import Check, ResolvedCheck, Variant, read_use


class Resolution(NamedTuple):
    """Every check for every variant and task, and the bridges that gate.yaml does not have."""

    checks: tuple[ResolvedCheck, ...]
    bridges: tuple[Variant, ...]


def resolve_checks(config: GateConfig) -> Resolution:
    """Resolve the checks of a config, and see that each variant up for release is judged.

    Raises:
        ConfigError: a check with an ambiguous or absent reference, or a shipped variant that no
            blocking check judges.
    """
    resolved: dict[str, ResolvedCheck] = {}
    bridges: dict[str, Variant] = {}
    for check in config.suite.checks:
        tasks = check.tasks or tuple(task.name for task in config.suite.tasks)
        for variant in _named(check.of, config.variants):
            reference = _reference(check, variant, config.variants)
            pairs = [(check, variant, reference)]
            bridge = _bridge(variant, reference, config.variants)
            if bridge is not None and bridge.name != variant.name:
                bridges.setdefault(bridge.name, bridge)
                runtime = _runtime_check(check, bridge, reference)
                pairs = [(runtime, bridge, reference), (check, variant, bridge)]
            for judged, of, against in pairs:
                for task in tasks:
                    one = ResolvedCheck(
                        check=judged, variant=of.name, reference=against.name, task=task
                    )
                    resolved.setdefault(digest_json(one.model_dump(mode="json")), one)
    declared = {variant.name for variant in config.variants}
    added = tuple(bridge for name, bridge in bridges.items() if name not in declared)
    checks = tuple(resolved.values())
    _require_judgement(config.ship, checks)
    return Resolution(checks, added)


def _named(name: str, variants: tuple[Variant, ...]) -> tuple[Variant, ...]:
    """The variant of this name, else every variant of this kind."""
    by_name = tuple(variant for variant in variants if variant.name == name)
    return by_name or tuple(variant for variant in variants if variant.kind == name)


def _reference(check: Check, variant: Variant, variants: tuple[Variant, ...]) -> Variant:
    """The variant a check compares with: of several of one kind, the one of the same lineage."""
    found = _named(check.against, variants)
    if len(found) > 1:
        found = tuple(
            other
            for other in found
            if other.adapters == variant.adapters and other.merge in (None, variant.merge)
        )
    if len(found) == 1 and found[0].name != variant.name:
        return found[0]
    names = ", ".join(other.name for other in found) or "none"
    raise ConfigError(
        f"check of {variant.name} against {check.against!r}: "
        f"{'several variants fit' if len(found) > 1 else 'no other variant fits'} ({names})",
        hint="name the variant in 'against'",
    )


def _bridge(variant: Variant, reference: Variant, variants: tuple[Variant, ...]) -> Variant | None:
    """The merged weights in the quantized variant's runtime, where a check crosses runtimes."""
    same_runtime = variant.backend.name == reference.backend.name
    if same_runtime or variant.kind != "quantized" or reference.kind != "merged":
        return None
    unquantized = getattr(extensions.find("backends", variant.backend.name).module, "BRIDGE", None)
    quantize = None if unquantized is None else read_use(unquantized)
    for other in variants:
        if (other.merge, other.quantize, other.backend.name) == (
            reference.merge,
            quantize,
            variant.backend.name,
        ):
            return other
    return Variant(
        name=f"{reference.name}@{variant.backend.name}",
        adapters=reference.adapters,
        merge=reference.merge,
        quantize=quantize,
        backend=variant.backend,
        is_bridge=True,
    )


def _runtime_check(check: Check, bridge: Variant, reference: Variant) -> Check:
    """The check of a bridge: the same bound, and a margin is held in both directions.

    The same weights in another runtime should do neither worse nor better.
    """
    at_most = check.at_most
    if at_most is None and check.at_least is not None and check.at_least < 0:
        at_most = -check.at_least
    return check.model_copy(
        update={"of": bridge.name, "against": reference.name, "at_most": at_most}
    )


def lineage_of(
    variant: Variant, variants: tuple[Variant, ...], checks: tuple[ResolvedCheck, ...]
) -> tuple[str, ...]:
    """The variants on the way to this one: adapter on base, merged, bridge, itself last."""
    way = [
        other.name
        for other in variants
        if variant.merge is not None
        and other.name != variant.name
        and other.adapters == variant.adapters
        and (
            other.kind == "adapter"
            or (
                other.kind == "merged" and other.merge == variant.merge and variant.kind != "merged"
            )
        )
    ]
    merged = {other.name for other in variants if other.merge is not None}
    for one in checks:
        if one.variant == variant.name and one.reference in merged - set(way):
            way.append(one.reference)
    return (*way, variant.name)


def _require_judgement(ship: tuple[str, ...], checks: tuple[ResolvedCheck, ...]) -> None:
    judged = {one.variant for one in checks if one.check.level == "block"}
    for name in ship:
        if name not in judged:
            raise ConfigError(
                f"{name} is to ship, but no check with level 'block' judges it",
                hint=f"add a check with 'of: {name}' to the suite, or take it out of 'ship'",
            )
