"""What the audit of weights found: the nouns of a proof, or of its failure."""

from typing import Literal

from gate.terms import Noun

TensorOutcome = Literal["exact", "rounding", "wrong", "missing", "extra", "not representable"]


class TensorAudit(Noun):
    """What the audit of a merge found for one tensor, by its name in the base checkpoint.

    Attributes:
        tensor: its name; of an extra tensor, its name in the audited checkpoint.
        outcome: exact (bit for bit what a legitimate schedule gives), rounding (within one unit
            in the last place), wrong, missing, extra, or not representable (the expected value
            is not finite in the type of the file).
        delta_share: norm of the adapters' change over the norm of the base weight; None where
            they do not change it.
        kept_share: share of the change that is in the file,
            1 - ||found - (W + delta)|| / ||delta||: 1.0 where all of it is, 0.0 where nothing is,
            negative where it is worse than nothing.
        differing: elements that are not bit for bit the once-rounded sum.
            (Every element is compared; the two shares are measured on every fourth row block.)
        note: what is wrong, in words; empty where nothing is.
    """

    tensor: str
    outcome: TensorOutcome
    delta_share: float | None = None
    kept_share: float | None = None
    differing: int = 0
    note: str = ""


class QuantizedTensor(Noun):
    """A tensor of a quantized checkpoint against the merged model's.

    Attributes:
        tensor: its name in the merged checkpoint.
        type: the format's word for how it is stored, such as Q4_K or nf4.
        bits_per_weight: bytes stored for it, scales included, times 8 over its elements.
        relative_error: ||dequantized - merged|| / ||merged||.
    """

    tensor: str
    type: str
    bits_per_weight: float
    relative_error: float


class Audit(Noun):
    """The proof, or its failure, that a checkpoint holds what it was made from.

    Attributes:
        schedule: the rounding schedule that reproduces a merge; None where none does, and for a
            quantized checkpoint.
        faults: each a sentence that names a tensor, a key or a file; empty where it is proven.
        warnings: sentences for the report that prove nothing wrong.
        tensors: of a merge, one entry a tensor.
        quantized: of a quantized checkpoint, one entry a tensor.
    """

    schedule: str | None = None
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    tensors: tuple[TensorAudit, ...] = ()
    quantized: tuple[QuantizedTensor, ...] = ()

    @property
    def is_proven(self) -> bool:
        """Whether nothing was found wrong."""
        return not self.faults


class ArtifactAudit(Noun):
    """The audit of one artifact, for every variant that is it or was made from it.

    Attributes:
        of: whether a merge or a quantized checkpoint was audited.
        label: the stage that did it.
        variants: the variants whose weights it is about.
        audit: what was found; None where it could not be done.
        error: why it could not, or was not.
        is_skipped: it was not begun, for want of time or need: nothing failed.
    """

    of: Literal["merge", "quantize"]
    label: str
    variants: tuple[str, ...]
    audit: Audit | None = None
    error: str | None = None
    is_skipped: bool = False
