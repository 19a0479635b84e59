"""The merges and quantizations of a record, asked for again: a gate without tasks and checks."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from gate import extensions
from gate.configuring.config import GateConfig, compares_texts
from gate.configuring.suites import Suite, load_suite
from gate.environments import find_python
from gate.errors import ConfigError, StageError, suggest
from gate.planning.quantizers import calibrates
from gate.records import Record
from gate.reproducing.origins import Places
from gate.terms import Use, Variant


def made_variants(record: Record, variant: str | None) -> tuple[Variant, ...]:
    """The variants whose files are made again: all that have some, or one and what it is from.

    Raises:
        ConfigError: there is no such variant, or the run made no files of it.
    """
    recorded = {one.variant for one in record.artifacts}
    made = tuple(one for one in record.variants if one.name in recorded and one.merge is not None)
    if variant is None:
        if not made:
            raise ConfigError(f"the run of {record.release} made no files", hint="nothing to do")
        return made
    chosen = next((one for one in made if one.name == variant), None)
    if chosen is None:
        names = [one.name for one in made]
        raise ConfigError(f"--variant: no files of {variant!r}", hint=suggest(variant, names))
    return tuple(one for one in made if one == chosen or _is_merge_of(one, chosen))


def config_of(
    record: Record, variants: Iterable[Variant], *, file: Path, places: Places, store: Path
) -> GateConfig:
    """A config that makes these variants and evaluates none.

    Args:
        record: the run that made them first.
        variants: as recorded.
        file: the record's.
        places: what may be done to read the sources.
        store: the store in which `gate env create` made environments.

    Raises:
        ConfigError: the suite with the calibration inputs cannot be read.
        StageError: the record does not tell what is needed.
    """
    asked = tuple(_decided(record, one) for one in variants)
    uses = {use.name for one in asked for use in (one.merge, one.quantize) if use is not None}
    found = {name: find_python(name, store=store, given={}) for name in sorted(uses)}
    return GateConfig(
        path=file.resolve(),
        digest="",
        release=record.release,
        candidate=record.candidate,
        variants=asked,
        ship=(),
        suite=_suite(record, asked, file),
        allow_pickle=places.allow_pickle,
        trust_remote_code=places.trust_remote_code,
        interpreters={name: python for name, python in found.items() if python is not None},
    )


def promises(variant: Variant) -> bool:
    """Whether the same inputs and packages have to give a variant's files byte for byte.

    Merges do. A quantizer says so by a function `reproduces(params) -> bool`.
    """
    if variant.quantize is None:
        return True
    module = extensions.find("quantizers", variant.quantize.name).module
    reproduces = getattr(module, "reproduces", None)
    return reproduces is not None and bool(reproduces(variant.quantize.params))


def _is_merge_of(one: Variant, other: Variant) -> bool:
    return one.quantize is None and (one.merge, one.adapters) == (other.merge, other.adapters)


def _decided(record: Record, variant: Variant) -> Variant:
    """A variant whose merge is told what it found out by comparing on the suite's texts."""
    if variant.merge is None or not compares_texts(variant):
        return variant
    merged = {one.name for one in record.variants if _is_merge_of(one, variant)}
    chosen = {one.report.base_precision for one in record.artifacts if one.variant in merged}
    if len(chosen) != 1 or None in chosen:
        raise StageError(
            f"{variant.name}: which base_precision was chosen is not recorded",
            hint="run the gate again: gate run",
        )
    params = variant.merge.params | {"base_precision": chosen.pop()}
    use = Use(name=variant.merge.name, params=params)
    return variant.model_copy(update={"merge": use})


def _suite(record: Record, variants: Iterable[Variant], file: Path) -> Suite:
    """A suite of nothing but calibration inputs, where a quantizer is shown some."""
    suite = Suite(
        name=record.suite,
        path=file,
        digest=record.suite_digest,
        tasks=(),
        files={},
        checks=(),
        noise_floor=False,
    )
    shown = list(_calibrated(variants))
    if not shown:
        return suite
    used = _suite_of_run(record, shown)
    calibration = {
        "calibration": used.calibration,
        "calibration_digests": used.calibration_digests,
    }
    return suite.model_copy(update=calibration)


def _calibrated(variants: Iterable[Variant]) -> Iterator[str]:
    for variant in variants:
        if variant.quantize is not None and calibrates(variant.quantize):
            yield variant.name


def _suite_of_run(record: Record, shown: list[str]) -> Suite:
    """The suite that a run was asked with, from the root of its repository.

    Raises:
        StageError: it is not there, or another one by now.
    """
    place = None if record.run is None else Path(record.run.suite)
    if place is None or not place.is_file():
        raise StageError(
            f"{', '.join(shown)}: made with calibration inputs, which lie with the suite, and "
            f"there is no {place or 'record of where that was'}",
            hint="run it from the root of the repository of the run, or leave it out: --variant",
        )
    suite, _ = load_suite(str(place), root=Path.cwd())
    if suite.digest != record.suite_digest:
        raise StageError(
            f"{place} is not the suite of the run: it was changed",
            hint="check out the commit of the run, which its report names",
        )
    return suite
