"""gate.yaml and its suite, read and checked before anything runs."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from gate import extensions
from gate.configuring.capacity import executor_of, memory_of, workers_of
from gate.configuring.executors import Executor
from gate.configuring.suites import Suite, load_suite
from gate.configuring.written import (
    DEFAULT_TIMEOUT_MINUTES,
    WrittenCandidate,
    WrittenGate,
    WrittenVariant,
)
from gate.configuring.yaml_files import Location, YamlFile, read_yaml
from gate.declared_serving import DeclaredServing
from gate.digest import digest_file
from gate.errors import ConfigError, suggest
from gate.released_records import RELEASED
from gate.terms import Adapter, Candidate, Check, Noun, Use, Variant

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
KINDS = ("base", "adapter", "merged", "quantized")
"""The kinds of variant that a check may name; one of a kind that a gate lacks judges nothing."""

GIVEN_BY_GATE = (
    "trust_remote_code", "allow_pickle", "texts", "calibration", "converted", "journal"
)  # fmt: skip
"""Keyword arguments that the gate passes to every extension that has them."""


class GateConfig(Noun):
    """Everything one gate run decides from: gate.yaml and the suite it names.

    Attributes:
        digest: the sha256 of gate.yaml, as it was read.
        interpreters: {extension: path of the Python it runs in}, for those with one of their own.
        timeout_minutes: the longest that one stage may take.
        executor: where stages run.
        workers: how many batches of stages run at once; auto: as many as this machine has for.
        memory_bytes: {variant: what it takes while it is served}, where gate.yaml says so.
        declared_serving: how the candidate is to be served; None where gate.yaml does not say.
        first_release: the release before which there is none to compare with.
    """

    path: Path
    digest: str
    release: str
    candidate: Candidate
    variants: tuple[Variant, ...]
    ship: tuple[str, ...]
    suite: Suite
    allow_pickle: bool
    trust_remote_code: bool
    interpreters: dict[str, str] = Field(default_factory=dict)
    timeout_minutes: float = DEFAULT_TIMEOUT_MINUTES
    executor: Executor = Executor()
    workers: int | Literal["auto"] = 1
    memory_bytes: dict[str, int] = Field(default_factory=dict)
    declared_serving: DeclaredServing | None = None
    first_release: str | None = None

    @property
    def is_first_release(self) -> bool:
        """Whether gate.yaml says that nothing was released before: of this release alone."""
        return self.first_release == self.release


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
        digest=digest_file(path),
        release=written.release,
        candidate=_candidate(written.candidate),
        variants=variants,
        ship=_ship(written, variants, file),
        suite=suite,
        allow_pickle=written.allow_pickle,
        trust_remote_code=written.trust_remote_code,
        interpreters=_interpreters(written, variants, file),
        timeout_minutes=written.timeout_minutes,
        executor=executor_of(written, file),
        workers=workers_of(written),
        memory_bytes=memory_of(written, file),
        declared_serving=written.serving and written.serving.declared(),
        first_release=written.first_release,
    )


def _interpreters(
    written: WrittenGate, variants: tuple[Variant, ...], file: YamlFile
) -> dict[str, str]:
    """Each interpreter's path, from gate.yaml's folder; only for what the variants use."""
    used = {use.name for variant in variants for _, _, use in _uses(variant)}
    for name in written.interpreters:
        if name not in used:
            raise file.error(
                ("interpreters", name),
                "no variant uses an extension of this name",
                hint=suggest(name, used),
            )
    root = file.path.resolve().parent
    return {
        name: str(root / Path(path).expanduser()) for name, path in written.interpreters.items()
    }


def is_of_serving(check: Check) -> bool:
    """Whether a check compares what variants cost to serve, and not their answers to a task."""
    comparison = extensions.find("comparisons", check.compare.name)
    return comparison.compares == "serving"


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
        if format_written not in extension.reads:
            raise file.error(
                (*location, key if file.has((*location, key)) else ""),
                f"{use.name} reads {_either(extension.reads)}, "
                f"and this variant is {format_written}",
                hint=_format_hint(extension, format_written),
            )
        format_written = extension.constant("WRITES", "checkpoint")


def _format_hint(extension: extensions.Extension, written: str) -> str:
    """What can read it, or how to write what was asked to."""
    if extension.folder == "quantizers":
        return "a variant is quantized once, from its merge"
    if extension.reads == ("gguf",) and written == "checkpoint":
        return "add 'quantize: {name: gguf, type: BF16}', or use 'backend: hf'"
    able = [
        name
        for name in extensions.names("backends")
        if written in extensions.find("backends", name).reads
    ]
    return "use " + _either([f"'backend: {name}'" for name in able])


def _either(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


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
        known = (*names, *KINDS, RELEASED) if key == "against" else (*names, *KINDS)
        if name not in known:
            problem = f"no variant or kind {name!r}"
            raise file.error((*location, key), problem, hint=f"this gate has {', '.join(names)}")
    try:
        extension = extensions.find("comparisons", check.compare.name)
        extensions.check_parameters(extension, check.compare, given_by_gate=("confidence", "looks"))
    except ConfigError as error:
        raise file.error((*location, "compare"), error.problem, hint=error.hint) from error
    if check.against == RELEASED and extension.compares != "scores":
        problem = f"{check.compare.name} is not of stored scores, which alone a release keeps"
        raise file.error((*location, "compare"), problem)
    if check.tasks is not None and is_of_serving(check):
        raise file.error((*location, "tasks"), f"{check.compare} is of no task")


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
