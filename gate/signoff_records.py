"""Who approved, rejected or waived, when and why: the noun of a sign-off."""

from datetime import date
from typing import Literal

from pydantic import AwareDatetime

from gate.terms import Noun

Decision = Literal["approve", "reject", "waive"]


class SignOff(Noun):
    """One entry of a record's sign-offs, each chained to the one before it.

    Attributes:
        name: who decided.
        decision: approve or reject the release, or waive one check.
        reason: why, in the signer's words.
        check: of a waiver, the check's label, such as 'q4_k_m-vs-merged[intent]:delta'.
        until: the last day on which it counts; None where it has no end. A waiver always has one.
        signed_at: when, in UTC.
        record: content id of the record without its sign-offs.
        previous: digest of the entry before; empty of the first.
        digest: content id of all the fields above.
    """

    name: str
    decision: Decision
    reason: str
    check: str | None = None
    until: date | None = None
    signed_at: AwareDatetime
    record: str
    previous: str = ""
    digest: str
