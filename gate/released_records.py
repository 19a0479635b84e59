"""What of the last release a candidate is compared with: whose scores, by which record."""

from datetime import datetime

from gate.evaluation_records import Score
from gate.terms import Noun

RELEASED = "released"
"""What a check names in `against` to compare with the last release that was promoted."""


class Released(Noun):
    """The last release that was promoted, and the scores that its own run stored.

    Attributes:
        release: its name.
        record: content id of its record, without sign-offs.
        judged_at: when it was judged, in UTC.
        variants: {variant of this run: the release's that it is compared with}: the one of its
            name, else the only one of its kind.
        scores: the release's, each by the name that checks have for it: merged@released.
    """

    release: str
    record: str
    judged_at: datetime
    variants: dict[str, str]
    scores: tuple[Score, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What each variant is compared with, a sentence each."""
        from_record = f"of {self.release}, record {self.record[:16]}, {self.judged_at:%Y-%m-%d}"
        return tuple(
            f"{arm_name(name)} is {other} {from_record}"
            + ("" if name == other else f": it has no {name}, and {other} alone is of its kind")
            for name, other in self.variants.items()
        )


def arm_name(variant: str, release: str = RELEASED) -> str:
    """A variant of another release, as tests and reports call it: q4_k_m@v2."""
    return f"{variant}@{release}"


def renamed(score: Score, name: str) -> Score:
    """A score of a release, by the name that an arm of a comparison has."""
    return score.model_copy(update={"variant": name})
