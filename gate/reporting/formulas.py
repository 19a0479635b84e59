"""The formulas that checks are judged by, in writing, by the words of a method's name."""

import re
from typing import NamedTuple


class Formula(NamedTuple):
    """A formula as a report prints it.

    Attributes:
        name: as the literature calls it.
        lines: the formula, one equation to a line.
        source: where it is from.
        section: the heading of `DOCUMENTATION` under which it is told at length; empty for none.
    """

    name: str
    lines: tuple[str, ...]
    source: str = ""
    section: str = ""


DOCUMENTATION = "docs/verdicts.md"
"""Where every formula is told at length."""

MID_P = Formula(
    "mid-p McNemar",
    (
        "k = min(gains, losses), m = gains + losses",
        "p = 2 · P(X ≤ k) - P(X = k), X binomial(m, ½); 1 where gains = losses",
    ),
    "Fagerland, Lydersen, Laake 2013",
    "Binary metrics",
)
MCNEMAR_E = Formula(
    "McNemar's e-value",
    ("E = B(gains + 1, losses + 1) · 2^(gains + losses); B: the beta function",),
    "a mixture over a uniform share of gains; it holds at every look",
    "Looking early",
)
HOLM = Formula(
    "Holm's correction",
    (
        "with j hypotheses not yet rejected, a bound that is still broken at a confidence of "
        "1 - (1 - confidence) / j is a confirmed fail",
        "each confirmed fail makes j one less, until none is added",
    ),
    "Holm 1979",
    "Many checks at once",
)
FLOOR = Formula(
    "Fewest documents",
    ("(1 - margin)ⁿ ≤ 1 - confidence", "n ≥ ln(1 - confidence) / ln(1 - margin)"),
    "the chance that a loss of exactly the margin changes no document",
    "The fewest documents",
)
CLOPPER_PEARSON = Formula(
    "Clopper-Pearson interval",
    (
        "low = B(1 - c; k, n - k + 1), high = B(c; k + 1, n - k)",
        "k of n changed, or are alike; B(c; a, b): the beta distribution's quantile; c: confidence",
    ),
    "Clopper and Pearson 1934",
    "Binary metrics",
)
_TANGO = Formula(
    "Tango score interval",
    (
        "A = 2n, B = (2n - gains + losses) d - gains - losses, C = -losses · d (1 - d)",
        "q = (√(B² - 4AC) - B) / 2A",
        "Z(d) = (gains - losses - n d) / √(n (2q + d (1 - d)))",
        "interval: every change d with -z < Z(d) < z; z: normal quantile of the confidence",
    ),
    "Tango 1998, Statistics in Medicine 17:891",
    "Binary metrics",
)
_EXTENT = "value ± t(confidence; degrees of freedom) · SE"
_BY_WORDS: tuple[tuple[tuple[str, ...], Formula], ...] = (
    (("tango",), _TANGO),
    (("clopper",), CLOPPER_PEARSON),
    (
        ("paired t",),
        Formula(
            "Student's paired t",
            (
                "SE = s / √n; s: standard deviation of the n differences",
                f"{_EXTENT}, n - 1 of them",
            ),
            "Student 1908",
            "Continuous metrics",
        ),
    ),
    (
        ("bca",),
        Formula(
            "BCa bootstrap",
            (
                "means of resampled documents, in order; the ends are at the shares",
                "Φ(b + (b ± z) / (1 - a (b ± z))); Φ(b): share of means below the mean",
                "a = Σ e³ / 6 (Σ e²)^1.5; e: differences less their mean",
            ),
            "Efron 1987",
            "Continuous metrics",
        ),
    ),
    (
        ("rule of three",),
        Formula(
            "Rule of three over the metric's range",
            ("value ± range · (1 - (1 - confidence)^(1 / n)); n: clusters, where there are some",),
            "Clopper and Pearson's bound at zero exceptions, times the range",
            "Continuous metrics",
        ),
    ),
    (
        ("anytime-valid",),
        Formula(
            "Count-form e-process",
            (
                "E(m) = mean over λ of (1 + λ m)^unchanged (1 + λ (1 + m))^gains "
                "(1 + λ (m - 1))^losses",
                "a loss of m or more is refuted once E(m) ≥ 1 / (1 - confidence): λ = 0.02, 0.04, "
                "… 0.98 times 1 / (1 - m)",
                "a loss of m or less is refuted likewise with λ times -1 / (1 + m)",
                "interval: every change that is not refuted; it holds at every look at once",
            ),
            "Ville's inequality; Waudby-Smith and Ramdas 2024",
            "Looking early",
        ),
    ),
    (
        ("o'brien-fleming",),
        Formula(
            "O'Brien-Fleming looks",
            (
                "look k of K at a share f of the documents: the interval at the one-sided "
                "confidence Φ(c / √f)",
                "c: such that all K looks together keep the check's confidence",
            ),
            "O'Brien and Fleming 1979; Jennison and Turnbull 2000",
            "Looking early",
        ),
    ),
    (
        ("ratio estimator", "ratio of sums"),
        Formula(
            "Ratio estimator",
            (
                "r = Σ a / Σ w; e = a - r w of each document or cluster",
                "SE = √(G / (G - 1) · Σ e²) / Σ w; G: documents or clusters",
                f"{_EXTENT}, G - 1 of them",
            ),
            "Cochran 1977, chapter 6",
            "Metrics of the whole corpus",
        ),
    ),
    (
        ("cluster bootstrap",),
        Formula(
            "Cluster bootstrap",
            ("as the paired bootstrap, of whole clusters and their mean",),
            "Cameron, Gelbach, Miller 2008",
            "Clusters",
        ),
    ),
    (
        ("(?<!ratio estimator, )t over clusters",),
        Formula(
            "Cluster-robust t",
            (
                "SE² = G / (G - 1) · Σ over clusters of (Σ in the cluster of (d - mean))² / n²",
                "or s² / n if that is larger; below 10 clusters nothing passes",
                f"{_EXTENT}, G - 1 of them",
            ),
            "Miller 2024, arXiv:2411.00640; Cameron and Miller 2015",
            "Clusters",
        ),
    ),
    (
        ("paired bootstrap",),
        Formula(
            "Paired bootstrap of the aggregate",
            (
                "the same documents are resampled for both variants, their statistics summed, "
                "the metric computed from the sums",
                "the ends are quantiles of candidate less reference over 5,000 resamples, at the "
                "confidence moved outwards as Student's t is from the normal",
            ),
            "Koehn 2004; Hesterberg 2015",
            "Metrics of the whole corpus",
        ),
    ),
    (
        ("geometric mean",),
        Formula(
            "Geometric mean of ratios",
            ("value = exp(mean of ln(candidate / reference) over the repeats)",),
            "Student's paired t of the logarithms",
        ),
    ),
    (("^exact$",), Formula("Counted", ("candidate / reference; nothing was sampled",))),
)


def formulas_of(method: str) -> tuple[Formula, ...]:
    """The formulas behind a method, by the words of its name; empty for one of an extension."""
    words = method.lower()
    return tuple(
        formula for keys, formula in _BY_WORDS if any(re.search(key, words) for key in keys)
    )
