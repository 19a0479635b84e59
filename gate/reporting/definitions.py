"""What a definition is, and the definitions of the words that checks are told in."""

from typing import NamedTuple

from gate.reporting.formulas import DOCUMENTATION


class Definition(NamedTuple):
    """A term of the reports.

    Attributes:
        name: as headings have it.
        meaning: what it is, in a sentence or two.
        method: how it is computed or decided; empty where the meaning says it.
        unit: what its numbers count; empty of words.
        section: the heading of `DOCUMENTATION` under which it is told at length; empty for none.
    """

    name: str
    meaning: str
    method: str = ""
    unit: str = ""
    section: str = ""

    @property
    def source(self) -> str:
        """Where more is told; empty for nowhere."""
        return f"{DOCUMENTATION}, “{self.section}”" if self.section else ""


_TOP, _BINARY, _LOOKS = "How a verdict is reached", "Binary metrics", "Looking early"

CHECK_TERMS: dict[str, Definition] = {
    "verdict": Definition(
        "Verdict",
        "Whether a variant may be released: promote, block, inconclusive or error.",
        "Promote only if every blocking check of its lineage passed; block if one failed.",
        section=_TOP,
    ),
    "outcome": Definition(
        "Outcome",
        "What one check came to. Passed: the whole interval is inside the bound. Failed: all of it "
        "is beyond. Inconclusive: it lies across. Error: nothing could be measured.",
        "Of the unrounded numbers. A fail has to be confirmed by Holm's correction.",
        section=_TOP,
    ),
    "comparison": Definition(
        "Comparison",
        "Which variant is judged against which other, on the same documents.",
        section=_TOP,
    ),
    "rule": Definition(
        "Rule and margin",
        "The bound that a check sets on a comparison: a loss of at most the margin.",
        "As it is written in the suite; a change of it since the last release is told above.",
        section=_TOP,
    ),
    "estimate": Definition(
        "Estimate and interval",
        "The change that was seen, and between which ends the true one lies.",
        "Each end is a one-sided bound at the check's confidence; the method is named by the row.",
        "points, nats or times",
        _TOP,
    ),
    "confidence": Definition(
        "Confidence",
        "How often, at least, a bound computed like this one holds.",
        "Of each end by itself: at 95 %, 1 candidate in 20 that is exactly as bad as the bound "
        "passes.",
        "%",
        _TOP,
    ),
    "n": Definition(
        "n",
        "What an estimate rests on: documents that both variants were asked, or repeats of a "
        "measurement.",
        "Documents that repeat another are counted once.",
        "documents, or repeats",
        _TOP,
    ),
    "clusters": Definition(
        "Clusters",
        "Groups of documents that are right and wrong together, such as those of one passage.",
        "Named by the task; the interval takes each group, not each document, for independent.",
        "groups",
        "Clusters",
    ),
    "flips": Definition(
        "Flips",
        "Documents that changed: lost (right before, wrong now) and gained (wrong before, right "
        "now). The flip rate is their share.",
        "The rate has Clopper and Pearson's exact interval.",
        "documents",
        _BINARY,
    ),
    "mid-p": Definition(
        "mid-p",
        "How likely losses and gains as uneven as these are if both were equally likely. It "
        "decides nothing.",
        "McNemar's test, mid-p: p = 2 · P(X ≤ k) - P(X = k).",
        "probability",
        _BINARY,
    ),
    "e-value": Definition(
        "e-value",
        "Evidence that gains and losses are not equally likely which may be looked at early and "
        "often: 20 is what 5 % is to a p-value.",
        "McNemar's, a mixture over a uniform share of gains.",
        "times",
        _LOOKS,
    ),
    "method": Definition(
        "Method",
        "The interval's method, by its name in the literature.",
        "Its formula is in the line below the check.",
        section=_TOP,
    ),
    "reason": Definition(
        "Reason",
        "Why a check came out as it did, and how firmly.",
        section=_TOP,
    ),
    "tolerance": Definition(
        "Tolerance",
        "How many more documents could change from right to wrong before a pass were none.",
        "The bound is held against the interval with one more loss at a time.",
        "documents",
        _BINARY,
    ),
    "needed": Definition(
        "Needed",
        "Documents in all that would probably settle what is open.",
        "For a power of 80 %, at the change that was seen and as many flips as its bound allows.",
        "documents",
        "How many documents",
    ),
    "holm": Definition(
        "Holm's correction",
        "Of many checks some fail by chance; a fail counts if it holds at the confidence that the "
        "number of checks asks for.",
        "Step by step over all checks of the run that could fail by chance.",
        section="Many checks at once",
    ),
    "slice": Definition(
        "Slice",
        "A part of a task's documents, such as one language. It has collapsed where its whole "
        "interval lies beyond the bound.",
        "Each of k slices has the confidence 1 - (1 - confidence) / k.",
        section="Slices",
    ),
    "look": Definition(
        "Look",
        "One of the times at which a sequential check looks at the documents so far.",
        "Its interval holds at all looks at once, by the bound that the row names.",
        section=_LOOKS,
    ),
}
