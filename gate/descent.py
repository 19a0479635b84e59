"""Whose checks a variant's verdict rests on: the variants it descends from."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from gate.terms import Variant


class Compared(Protocol):
    """A check or its result: one variant, by name, against another."""

    @property
    def variant(self) -> str:
        """The variant that is judged."""

    @property
    def reference(self) -> str:
        """The variant that it is compared with."""


def lineage_of(
    variant: Variant, variants: Sequence[Variant], checks: Iterable[Compared]
) -> tuple[str, ...]:
    """The variants on the way to this one: adapter on base, merged, bridge, itself last.

    Args:
        variant: the last of the way.
        variants: all those of the run, bridges included.
        checks: all those of the run, or their results, in the order of the suite.
    """
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
    judged = {other.name for other in variants if other.merge is not None}
    judged |= {other.name for other in variants if other.kind == "adapter"}
    for one in checks:
        if one.variant in (*way, variant.name) and one.reference in judged - {*way, variant.name}:
            way.append(one.reference)
    return (*way, variant.name)
