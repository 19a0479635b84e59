"""An artifact made again against the one that was judged: byte for byte, or what it promises."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gate.audit_records import Audit
from gate.planning.stages import PlannedStage
from gate.presentation import size
from gate.records import Artifact, Record
from gate.reproducing.kept_evidence import judged_files
from gate.reproducing.making import Making
from gate.reproducing.origins import differences
from gate.reproducing.remaking import promises
from gate.store import Finished
from gate.terms import Variant


class Remade(NamedTuple):
    """An artifact that was made again, or could not be.

    Attributes:
        variant: the variant that it serves.
        method: merger and quantizer, as written.
        judged: content id of the files that were judged.
        found: content id of the files made again; None where they could not be made.
        is_promised: whether the two have to be the same.
        differences: how the files differ, a sentence each; where they need not be the same, how
            their size and their audit do. Empty where nothing speaks against them.
        notes: what may explain it, in sentences.
        error: why they could not be made, or not be compared.
    """

    variant: str
    method: str
    judged: str
    found: str | None
    is_promised: bool
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None

    @property
    def is_same(self) -> bool:
        """Whether every byte is what was judged."""
        return self.found == self.judged

    @property
    def is_different(self) -> bool:
        """Whether it is not what was judged, though it had to be, or had to be like it."""
        return self.found is not None and bool(self.differences)


def compare(record: Record, variant: Variant, making: Making, *, file: Path) -> Remade:
    """What came of one artifact.

    Args:
        record: the run that judged it.
        variant: whose files it is, as recorded.
        making: has made it again, or has failed to.
        file: the record's, around which the files that were judged are looked for.
    """
    judged = next(one for one in record.artifacts if one.variant == variant.name)
    planned = making.stage(variant.name)
    finished = making.finished(planned)
    told = Remade(variant.name, judged.method, judged.digest, None, is_promised=promises(variant))
    if finished is None:
        return told._replace(error=making.failure(planned))
    told = told._replace(found=finished.digest)
    if told.is_same:
        return told
    told = told._replace(notes=tuple(_other_versions(record, planned)))
    if told.is_promised:
        return told._replace(differences=tuple(_by_files(judged, making, planned, file)))
    audit = making.audit(planned)
    if audit is None:
        return told._replace(error=f"it cannot be audited: {making.audit_failure(planned)}")
    known = next(
        (
            one.audit
            for one in record.audits
            if variant.name in one.variants and one.of == "quantize"
        ),
        None,
    )
    found = (*_by_size(judged, finished), *_by_audit(known, audit))
    return told._replace(differences=found)


def _by_files(judged: Artifact, making: Making, planned: PlannedStage, file: Path) -> Iterator[str]:
    """Which files differ from those that were judged."""
    known = judged_files(file, judged)
    if known is None:
        yield "which files cannot be told: those that were judged are no longer there"
        return
    yield from differences(known, making.files(planned))


def _by_size(judged: Artifact, found: Finished) -> Iterator[str]:
    if found.size_bytes != judged.size_bytes:
        yield (
            f"it has {found.size_bytes} bytes, {size(found.size_bytes)}, and what was judged "
            f"{judged.size_bytes}"
        )


def _by_audit(judged: Audit | None, found: Audit) -> Iterator[str]:
    """The faults that the judged files did not have, and the tensors stored as another type."""
    known = () if judged is None else judged.faults
    yield from (f"audit: {fault}" for fault in found.faults if fault not in known)
    types = {} if judged is None else {one.tensor: one.type for one in judged.quantized}
    for one in found.quantized:
        if one.tensor in types and types[one.tensor] != one.type:
            yield f"audit: {one.tensor} is stored as {one.type}, and was as {types[one.tensor]}"


def _other_versions(record: Record, planned: PlannedStage) -> Iterator[str]:
    """The packages that a stage of the run had in another version, a sentence each."""
    for then in record.stages:
        if (then.kind, then.label) == (planned.stage.kind, planned.label):
            for name, version in sorted(planned.stage.packages.items()):
                if then.packages.get(name, version) != version:
                    yield f"{name} was {then.packages[name]} and is {version}"
