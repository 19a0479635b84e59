"""What gate.yaml declares of production, which no measurement tells."""

from gate.terms import Noun


class DeclaredServing(Noun):
    """How the candidate is to be served, as far as its owners say; it changes no verdict.

    Attributes:
        variants: fine-tuned variants of this base that are served, this one included; None
            where it is not said.
        requests_per_second: requests to the candidate at the peak; None where it is not said.
        still_iterating: whether the adapter is soon replaced by the next one.
        further_training: whether training goes on from what is released.
    """

    variants: int | None = None
    requests_per_second: float | None = None
    still_iterating: bool = False
    further_training: bool = False
