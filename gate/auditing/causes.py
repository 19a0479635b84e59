"""Why a tensor is wrong, where arithmetic shows it: in words for the report."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gate.auditing.changes import Change
from gate.auditing.expected import Expectation
from gate.auditing.tensors import Survey, sample

if TYPE_CHECKING:
    from torch import Tensor

_FITS = 0.1
_NOISE = 0.4
_FEW = 0.05
_NAMED = 0.01
_SAMPLE_BLOCKS = 4
_SAMPLE_ROWS = 32


def wrong_because(
    expectation: Expectation,
    found: "Tensor",
    survey: Survey,
    others: "Sequence[Expectation]",
) -> str:
    """What is wrong with a tensor, in words.

    Args:
        expectation: what it should be.
        found: what it is, (rows, columns).
        survey: how far off it is.
        others: expectations of other tensors of its shape, whose change it may have got.
    """
    if survey.not_finite:
        return f"{survey.not_finite} elements are NaN or infinite"
    if survey.delta_square == 0.0:
        return f"{_share(survey)} differ from the base's, though the adapter adds nothing"
    few_rows = survey.beyond_rows <= max(1, _FEW * expectation.rows)
    few_elements = survey.beyond <= _FEW * survey.elements and not leans(survey)
    if survey.beyond and (few_rows or few_elements):
        return f"{_share(survey)} differ"
    for cause in (_strength, _transposed, _plain_dora, _swapped):
        if reason := cause(expectation, found, survey, others):
            return reason
    return (
        f"{_share(survey)} differ: {survey.strength:.4g} times the adapter's change explains "
        f"{max(0.0, 1 - survey.misfit):.1%} of the difference from the base"
    )


def leans(survey: Survey) -> bool:
    """Whether the elements off by a last bit lean one way along the change, beyond chance.

    Rounding leans neither way: a z-score of 6 in the number of them is a change that is stronger
    or weaker than it should be.
    """
    count = survey.towards + survey.against
    limit = 36
    return (survey.towards - survey.against) ** 2 > limit * count


def _share(survey: Survey) -> str:
    if survey.is_sampled:
        return f"{survey.beyond / survey.elements:.0%} of the elements"
    return f"{survey.beyond} of {survey.elements} elements in {survey.beyond_rows} rows"


def _strength(
    expectation: Expectation, found: "Tensor", survey: Survey, others: Sequence[Expectation]
) -> str | None:
    import torch

    noise = _NOISE * torch.finfo(expectation.to).eps
    noise *= math.sqrt(survey.base_square / max(survey.change_square, math.ulp(0.0)))
    # off by a last bit everywhere and leaning one way is a strength, whatever else it is
    if survey.beyond and survey.misfit > _FITS + noise:
        return None
    factor = survey.strength
    text = f"strength {factor:.4g}x: the adapter's change is in it {factor:.4g} times"
    product = expectation.changes[0].product
    if product is None or len(expectation.changes) > 1:
        return text
    root = math.sqrt(product.rank)
    if product.is_rank_stabilized and math.isclose(factor, 1 / root, rel_tol=_NAMED):
        return f"{text}: rsLoRA merged as plain LoRA"
    if not product.is_rank_stabilized and math.isclose(factor, root, rel_tol=_NAMED):
        return f"{text}: plain LoRA merged as rsLoRA"
    return text


def _transposed(
    expectation: Expectation, found: "Tensor", survey: Survey, others: Sequence[Expectation]
) -> str | None:
    product = expectation.changes[0].product
    if product is None or expectation.rows != expectation.columns or len(product.left) != 1:
        return None
    turned = replace(
        product, left=product.right.transpose(1, 2), right=product.left.transpose(1, 2)
    )
    other = _with_product(expectation, replace(expectation.changes[0], product=turned))
    return "the product is transposed" if _explains(other, expectation, found) else None


def _plain_dora(
    expectation: Expectation, found: "Tensor", survey: Survey, others: Sequence[Expectation]
) -> str | None:
    change = expectation.changes[0]
    if change.product is None or not change.has_magnitude:
        return None
    plain = replace(change, product=replace(change.product, magnitude=None))
    other = _with_product(expectation, plain)
    return "DoRA merged as plain LoRA" if _explains(other, expectation, found) else None


def _swapped(
    expectation: Expectation, found: "Tensor", survey: Survey, others: Sequence[Expectation]
) -> str | None:
    for other in others if expectation.combination.is_sum else ():
        if other is not expectation and _explains(other, expectation, found):
            return f"it has the change of {other.name}"
    return None


def _with_product(expectation: Expectation, change: Change) -> Expectation:
    return expectation.with_changes((change,))


def _explains(other: Expectation, expectation: Expectation, found: "Tensor") -> bool:
    """Whether another expectation's change is what a sample of blocks has over the base."""
    # of its own, because another thread may be at work on the other tensor
    other = other.with_changes(other.changes)
    dots = [0.0, 0.0, 0.0]
    for start, last in sample(expectation.blocks(), _SAMPLE_BLOCKS):
        stop = min(last, start + _SAMPLE_ROWS)
        change = (found[start:stop].float() - expectation.base_block(start, stop)).double()
        delta = other.block(start, stop).delta.double()
        dots[0] += float((change * delta).sum())
        dots[1] += float(delta.square().sum())
        dots[2] += float(change.square().sum())
    if not dots[1] or not dots[2]:
        return False
    cosine = dots[0] / math.sqrt(dots[1] * dots[2])
    strength = dots[0] / dots[1]
    return cosine > 1 - _FITS / 2 and abs(strength - 1) < _FITS
