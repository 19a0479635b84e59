"""Which of many broken bounds are broken beyond what chance does to so many."""

from collections.abc import Callable, Sequence


def holm_confirmed(
    is_broken_at: Sequence[Callable[[float], bool]],
    *,
    alphas: Sequence[float],
    hypotheses: int,
) -> list[tuple[bool, float]]:
    """Which candidate fails Holm's step-down procedure confirms, and how strictly each was held.

    With j hypotheses not yet rejected, every bound that is still broken at 1 - alpha / j is a
    confirmed fail; each of them makes j one less, until none is added. The probability that any
    bound which holds in truth is confirmed as broken is at most the largest alpha.

    Args:
        is_broken_at: for each candidate, whether its interval lies beyond the bound at a one-sided
            confidence; asked only at 1 - alpha / j. A bound broken at one confidence is taken to
            be broken at every lower one.
        alphas: for each candidate, 1 less its check's own confidence.
        hypotheses: bounds that could have failed, the candidates among them.

    Returns:
        For each candidate, whether it is confirmed and the one-sided confidence it was held to.

    Raises:
        ValueError: more candidates than hypotheses.

    Source: Holm (1979), Scandinavian Journal of Statistics 6:65-70.
    """
    if len(is_broken_at) > hypotheses:
        raise ValueError(f"{len(is_broken_at)} candidates, but {hypotheses} hypotheses")
    confirmed: set[int] = set()
    held_to: dict[int, float] = {}
    while True:
        left = hypotheses - len(confirmed)
        undecided = [at for at in range(len(is_broken_at)) if at not in confirmed]
        held_to |= {at: 1 - alphas[at] / left for at in undecided}
        newly = {at for at in undecided if is_broken_at[at](held_to[at])}
        if not newly:
            return [(at in confirmed, held_to[at]) for at in range(len(is_broken_at))]
        confirmed |= newly
