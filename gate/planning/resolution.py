"""A suite's checks -> one for each variant, reference and task; the bridges they call for."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from gate import extensions
from gate.configuring.config import GateConfig, is_of_serving
from gate.configuring.suites import is_of_texts
from gate.digest import digest_json
from gate.errors import ConfigError
from gate.released_records import RELEASED, arm_name
from gate.terms import Check, ResolvedCheck, Task, Use, Variant, read_use


class Resolution(NamedTuple):
    """Every check for every variant and task, and the variants that gate.yaml does not have.

    Attributes:
        checks: each check for each variant and task.
        bridges: variants that separate what a runtime costs from what quantization costs.
        references: single adapters on the base, for the tasks that name one as their reference.
    """

    checks: tuple[ResolvedCheck, ...]
    bridges: tuple[Variant, ...]
    references: tuple[Variant, ...]


def resolve_checks(config: GateConfig) -> Resolution:
    """Resolve the checks of a config, and see that each variant up for release is judged.

    Raises:
        ConfigError: a check with an ambiguous or absent reference, or a shipped variant that no
            blocking check judges.
    """
    resolved: dict[str, ResolvedCheck] = {}
    bridges: dict[str, Variant] = {}
    references: dict[str, Variant] = {}
    for check in config.suite.checks:
        if check.against == RELEASED:
            found = [] if config.is_first_release else list(_released_checks(check, config))
        elif is_of_serving(check):
            found = list(_serving_checks(check, config.variants))
        elif is_of_texts(check.compare):
            found = _by_variant(list(_text_checks(check, config, bridges)))
        else:
            found = _by_variant(list(_task_checks(check, config, bridges, references)))
        for one in found:
            resolved.setdefault(digest_json(one.model_dump(mode="json")), one)
    declared = {variant.name for variant in config.variants}
    checks = tuple(resolved.values())
    _require_judgement(config.ship, checks)
    return Resolution(
        checks,
        bridges=tuple(one for name, one in bridges.items() if name not in declared),
        references=tuple(one for name, one in references.items() if name not in declared),
    )


def _released_checks(check: Check, config: GateConfig) -> Iterator[ResolvedCheck]:
    """A check of every variant it is about against what was released in its place."""
    for variant in _named(check.of, config.variants):
        for task in config.suite.tasks:
            if check.tasks is None or task.name in check.tasks:
                yield ResolvedCheck(
                    check=check,
                    variant=variant.name,
                    reference=arm_name(variant.name),
                    task=task.name,
                )


def _task_checks(
    check: Check, config: GateConfig, bridges: dict[str, Variant], references: dict[str, Variant]
) -> Iterator[ResolvedCheck]:
    """A check of every variant it is about, on every task; adds what gate.yaml does not have."""
    for task in config.suite.tasks:
        if check.tasks is not None and task.name not in check.tasks:
            continue
        own = _own_adapter(task, config)
        variants = config.variants if own is None else _with_own(own, config.variants)
        for variant in _named(check.of, variants):
            pairs = tuple(_pairs(check, variant, variants, bridges))
            yield from (one.model_copy(update={"task": task.name}) for one in pairs)
            if own and any(own.name in (one.variant, one.reference) for one in pairs):
                references.setdefault(own.name, own)


def _text_checks(
    check: Check, config: GateConfig, bridges: dict[str, Variant]
) -> Iterator[ResolvedCheck]:
    """A check of distributions, of every variant it is about, on every text."""
    for variant in _named(check.of, config.variants):
        pairs = tuple(_pairs(check, variant, config.variants, bridges))
        for one in (variant, _reference(check, variant, config.variants)):
            _require_distributions(one, check, config)
        for text in config.suite.texts:
            if check.tasks is None or text.name in check.tasks:
                yield from (one.model_copy(update={"task": text.name}) for one in pairs)


def _require_distributions(variant: Variant, check: Check, config: GateConfig) -> None:
    """See that a variant's engine tells as much of its distributions as is compared."""
    known = extensions.find("backends", variant.backend.name).constant("DISTRIBUTIONS", "none")
    full = config.suite.distributions.vocabulary == "full"
    if known == "none" or (full and known != "full"):
        what = "the full vocabulary" if full and known != "none" else "its distributions"
        raise ConfigError(
            f"{check.compare.name} of {check.of} against {check.against}: {variant.backend.name}, "
            f"which serves {variant.name}, does not tell {what} of a text",
            hint="set distributions: {vocabulary: top} in the suite"
            if known != "none"
            else "name other variants in 'of' and 'against', or serve it with hf, llamacpp or vllm",
        )


def _serving_checks(check: Check, variants: tuple[Variant, ...]) -> Iterator[ResolvedCheck]:
    """A check of what variants cost to serve: of no task, and across runtimes on purpose."""
    for variant in _named(check.of, variants):
        reference = _reference(check, variant, variants)
        yield ResolvedCheck(check=check, variant=variant.name, reference=reference.name, task="")


def _by_variant(checks: Sequence[ResolvedCheck]) -> list[ResolvedCheck]:
    names = [one.variant for one in checks]
    return sorted(checks, key=lambda one: names.index(one.variant))


def _pairs(
    check: Check, variant: Variant, variants: tuple[Variant, ...], bridges: dict[str, Variant]
) -> Iterator[ResolvedCheck]:
    """A check of one variant, over a bridge where it would cross runtimes; the task is open."""
    reference = _reference(check, variant, variants)
    bridge = _bridge(variant, reference, variants)
    if bridge is None or bridge.name in (variant.name, reference.name):
        yield ResolvedCheck(check=check, variant=variant.name, reference=reference.name, task="")
        return
    bridges.setdefault(bridge.name, bridge)
    is_runtime_first = bridge.backend.name == variant.backend.name
    first = _runtime_check(check, bridge, reference) if is_runtime_first else check
    second = check if is_runtime_first else _runtime_check(check, variant, bridge)
    yield ResolvedCheck(check=first, variant=bridge.name, reference=reference.name, task="")
    yield ResolvedCheck(check=second, variant=variant.name, reference=bridge.name, task="")


def _own_adapter(task: Task, config: GateConfig) -> Variant | None:
    """The variant of a task's own adapter alone on the base: gate.yaml's, else one of our own."""
    if task.adapter is None:
        return None
    adapters = [one for one in config.variants if one.kind == "adapter"]
    alone = [one for one in adapters if one.adapters == (task.adapter,)]
    if alone:
        return alone[0]
    bases = [one for one in config.variants if one.kind == "base"]
    backend = next((one.backend for one in (*adapters, *bases)), Use(name="hf"))
    return Variant(name=f"adapter@{task.adapter}", adapters=(task.adapter,), backend=backend)


def _with_own(own: Variant, variants: tuple[Variant, ...]) -> tuple[Variant, ...]:
    """The variants with a task's own adapter as the only one of its kind."""
    return (*(one for one in variants if one.kind != "adapter"), own)


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
    """The merged weights in the other runtime, where a check crosses runtimes.

    Of a quantized variant against a merged one they run in the quantized one's runtime; of a
    merged variant against the adapter on its base, in the adapter's.
    """
    engines = [extensions.find("backends", one.backend.name) for one in (variant, reference)]
    if engines[0].name == engines[1].name or any(map(_is_live, engines)):
        return None
    if (variant.kind, reference.kind) == ("quantized", "merged"):
        merged, runtime = reference, variant.backend
    elif (variant.kind, reference.kind) == ("merged", "adapter"):
        merged, runtime = variant, reference.backend
    else:
        return None
    unquantized = getattr(extensions.find("backends", runtime.name).module, "BRIDGE", None)
    quantize = None if unquantized is None else read_use(unquantized)
    for other in variants:
        if (other.merge, other.quantize, other.backend.name) == (
            merged.merge,
            quantize,
            runtime.name,
        ):
            return other
    return Variant(
        name=f"{merged.name}@{runtime.name}",
        adapters=merged.adapters,
        merge=merged.merge,
        quantize=quantize,
        backend=runtime,
        is_bridge=True,
    )


def _is_live(engine: extensions.Extension) -> bool:
    """Whether it serves what somebody deployed, so that no other weights can be put there."""
    return bool(getattr(engine.module, "IS_LIVE", False))


def _runtime_check(check: Check, variant: Variant, reference: Variant) -> Check:
    """The check across runtimes: the same bound, and a margin is held in both directions.

    The same weights in another runtime should do neither worse nor better.
    """
    at_most = check.at_most
    if at_most is None and check.at_least is not None and check.at_least < 0:
        at_most = -check.at_least
    return check.model_copy(
        update={"of": variant.name, "against": reference.name, "at_most": at_most}
    )


def _require_judgement(ship: tuple[str, ...], checks: tuple[ResolvedCheck, ...]) -> None:
    judged = {
        one.variant
        for one in checks
        if one.check.level == "block" and one.task and not is_of_texts(one.check.compare)
        if one.check.against != RELEASED  # the first release has none
    }
    for name in ship:
        if name not in judged:
            raise ConfigError(
                f"{name} is to ship, but no check with level 'block' judges its answers",
                hint=f"add a check with 'of: {name}' to the suite, or take it out of 'ship'",
            )
