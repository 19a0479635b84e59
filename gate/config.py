"""gate.yaml and its suite, read and checked before anything runs."""

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from gate import extensions
from gate.errors import ConfigError, suggest
from gate.suites import Suite, Written, load_suite
from gate.terms import Adapter, Candidate, Check, Noun, Use, Variant, read_use
from gate.yaml_files import Location, YamlFile, read_yaml

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
KINDS = ("base", "adapter", "merged", "quantized")
"""The kinds of variant that a check may name; one of a kind that a gate lacks judges nothing."""

GIVEN_BY_GATE = ("trust_remote_code", "allow_pickle", "texts")
"""Keyword arguments that the gate passes to every extension that has them."""


class GateConfig(Noun):
    """Everything one gate run decides from: gate.yaml and the suite it names."""

    path: Path
    release: str
    candidate: Candidate
    variants: tuple[Variant, ...]
    ship: tuple[str, ...]
    suite: Suite
    allow_pickle: bool
    trust_remote_code: bool


class WrittenAdapter(Written):
    """An adapter with a weight, as written under `candidate.adapters`."""

    source: str
    weight: float = 1.0


class WrittenCandidate(Written):
    """The `candidate` of gate.yaml."""

    base: str
    adapters: dict[str, str | WrittenAdapter] = Field(min_length=1)
    training_run: str | None = None


class WrittenVariant(Written):
    """One entry of `variants`."""

    adapters: list[str] | None = None
    merge: Use | None = None
    quantize: Use | None = None
    backend: Use | None = None

    _use = field_validator("merge", "quantize", "backend", mode="before")(
        lambda value: None if value is None else read_use(value)
    )


class WrittenGate(Written):
    """A gate.yaml as people write it."""

    release: str
    candidate: WrittenCandidate
    variants: dict[str, WrittenVariant | None] = Field(min_length=1)
    backend: Use = Use(name="hf")
    ship: list[str] | None = None
    suite: str
    allow_pickle: bool = False
    trust_remote_code: bool = False

    _use = field_validator("backend", mode="before")(read_use)


def load_config(path: Path) -> GateConfig:
    """Read gate.yaml and its suite.

    Raises:
        ConfigError: the first mistake found, with file, line, key and the nearest valid name.
    """
    file = read_yaml(path)
    if not isinstance(file.content, dict):
        raise ConfigError(f"{path.name}:1: expected keys such as release, candidate and variants")
    written = file.validate(WrittenGate)
    _check_names(written, file)
    variants = _variants(written, file)
    suite, suite_file = load_suite(written.suite, root=path.resolve().parent)
    for index, check in enumerate(suite.checks):
        _check_check(check, variants, suite_file, ("checks", index))
    for index, task in enumerate(suite.tasks):
        if task.adapter is not None and task.adapter not in written.candidate.adapters:
            raise suite_file.error(
                ("tasks", index, "reference"),
                f"no adapter {task.adapter!r}",
                hint=suggest(task.adapter, written.candidate.adapters),
            )
    for variant in variants:
        if compares_texts(variant) and not suite.texts:
            raise file.error(
                ("variants", variant.name, "merge"),
                "base_precision: auto compares on the suite's texts, and it has none",
                hint="add 'texts: [{name: general, path: general.jsonl}]' to the suite",
            )
    return GateConfig(
        path=path.resolve(),
        release=written.release,
        candidate=_candidate(written.candidate),
        variants=variants,
        ship=_ship(written, variants, file),
        suite=suite,
        allow_pickle=written.allow_pickle,
        trust_remote_code=written.trust_remote_code,
    )


def compares_texts(variant: Variant) -> bool:
    """Whether a variant's merge reads the suite's texts, which then decide what it gives."""
    return variant.merge is not None and variant.merge.params.get("base_precision") == "auto"


def _check_names(written: WrittenGate, file: YamlFile) -> None:
    named: list[tuple[Location, str]] = [(("release",), written.release)]
    named += [(("variants", name), name) for name in written.variants]
    named += [(("candidate", "adapters", name), name) for name in written.candidate.adapters]
    for location, name in named:
        if not _NAME.fullmatch(name):
            raise file.error(
                location,
                f"{name!r} cannot be a file name",
                hint="use letters, digits, '.', '_' and '-', beginning with a letter or digit",
            )


def _candidate(written: WrittenCandidate) -> Candidate:
    adapters = tuple(
        Adapter(name=name, source=entry)
        if isinstance(entry, str)
        else Adapter(name=name, source=entry.source, weight=entry.weight)
        for name, entry in written.adapters.items()
    )
    return Candidate(base=written.base, adapters=adapters, training_run=written.training_run)


def _variants(written: WrittenGate, file: YamlFile) -> tuple[Variant, ...]:
    variants = []
    for name, entry in written.variants.items():
        entry = entry or WrittenVariant()
        location: Location = ("variants", name)
        variant = Variant(
            name=name,
            adapters=tuple(
                written.candidate.adapters if entry.adapters is None else entry.adapters
            ),
            merge=entry.merge,
            quantize=entry.quantize,
            backend=entry.backend or written.backend,
        )
        _check_variant(variant, tuple(written.candidate.adapters), file, location)
        variants.append(variant)
    return tuple(variants)


def _check_variant(
    variant: Variant, adapters: tuple[str, ...], file: YamlFile, location: Location
) -> None:
    for name in variant.adapters:
        if name not in adapters:
            raise file.error(
                (*location, "adapters"), f"no adapter {name!r}", hint=suggest(name, adapters)
            )
    if variant.merge is not None and not variant.adapters:
        raise file.error((*location, "merge"), "there is no adapter to merge")
    if variant.quantize is not None and variant.merge is None:
        raise file.error(
            (*location, "quantize"),
            "a variant is merged before it is quantized",
            hint="add 'merge: stream'",
        )
    format_written = "checkpoint"
    for key, folder, use in _uses(variant):
        extension = _checked_extension(folder, use, file, (*location, key))
        reads = extension.constant("READS", "checkpoint")
        if reads != format_written:
            raise file.error(
                (*location, key if file_has(file, (*location, key)) else ""),
                f"{use.name} reads a {reads}, and this variant is a {format_written}",
                hint=_format_hint(reads, format_written),
            )
        format_written = extension.constant("WRITES", "checkpoint")


def _format_hint(reads: str, written: str) -> str:
    if reads == "gguf":
        return "add 'quantize: {name: gguf, type: BF16}', or use 'backend: hf'"
    return "use 'backend: llamacpp'" if written == "gguf" else "see the README on backends"


def file_has(file: YamlFile, location: Location) -> bool:
    """Whether a file has a key at a location."""
    node: Any = file.content
    for part in location:
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True


def _uses(variant: Variant) -> tuple[tuple[str, str, Use], ...]:
    """The extensions of a variant in the order they run: (key in gate.yaml, folder, use)."""
    steps = (
        ("merge", "mergers", variant.merge),
        ("quantize", "quantizers", variant.quantize),
        ("backend", "backends", variant.backend),
    )
    return tuple((key, folder, use) for key, folder, use in steps if use is not None)


def _checked_extension(
    folder: str, use: Use, file: YamlFile, location: Location
) -> extensions.Extension:
    try:
        extension = extensions.find(folder, use.name)
        extensions.check_parameters(extension, use, given_by_gate=GIVEN_BY_GATE)
    except ConfigError as error:
        raise file.error(location, error.problem, hint=error.hint) from error
    return extension


def _check_check(
    check: Check, variants: tuple[Variant, ...], file: YamlFile, location: Location
) -> None:
    names = tuple(variant.name for variant in variants)
    for key in ("of", "against"):
        name = getattr(check, key)
        if name not in names and name not in KINDS:
            problem = f"no variant or kind {name!r}"
            raise file.error((*location, key), problem, hint=f"this gate has {', '.join(names)}")
    try:
        extension = extensions.find("comparisons", check.compare.name)
        extensions.check_parameters(extension, check.compare, given_by_gate=("confidence",))
    except ConfigError as error:
        raise file.error((*location, "compare"), error.problem, hint=error.hint) from error


def _ship(written: WrittenGate, variants: tuple[Variant, ...], file: YamlFile) -> tuple[str, ...]:
    releasable: dict[str, Literal[True]] = {
        variant.name: True for variant in variants if variant.kind in ("merged", "quantized")
    }
    if written.ship is None:
        if not releasable:
            raise file.error(("variants",), "nothing to ship: no variant is merged or quantized")
        return tuple(releasable)
    if not written.ship:
        raise file.error(("ship",), "is empty", hint="leave it out to ship every variant")
    for index, name in enumerate(written.ship):
        if name not in releasable:
            raise file.error(
                ("ship", index),
                f"no merged or quantized variant {name!r}",
                hint=suggest(name, releasable),
            )
    return tuple(written.ship)
