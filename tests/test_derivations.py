"""Whether a verdict can be worked out again from what the report shows of it."""

import re
from pathlib import Path

import numpy as np
import pytest

from gate.comparisons import delta
from gate.reporting.derivations import correction_text, derive, evidence, flip_rate
from gate.reporting.formulas import DOCUMENTATION, formulas_of
from gate.result_records import CheckResult, Correction, Estimate, Flips, Look
from gate.stats import clusters, means, proportions, sequential
from gate.terms import Check, Use

ROOT = Path(__file__).parent.parent


def check(**settings) -> Check:
    return Check(of="q", against="m", compare=Use(name="delta"), **settings)


def result(estimate: Estimate | None, outcome: str = "pass", **settings) -> CheckResult:
    fields = {name: settings.pop(name) for name in ("tolerance", "needed") if name in settings}
    fields |= {name: settings.pop(name) for name in ("correction", "looks") if name in settings}
    return CheckResult(
        check=check(**settings),
        variant="q",
        reference="m",
        task="t",
        outcome=outcome,
        reason="some reason",
        estimate=estimate,
        **fields,
    )


def binary(gains: int, losses: int, n: int, *, is_early: bool = False) -> Estimate:
    looks = sequential.Looks((n, 2 * n), 0) if is_early else None
    low, high = delta.interval(gains, losses, n=n, confidence=0.95, looks=looks)
    return Estimate(
        value=(gains - losses) / n,
        low=low,
        high=high,
        n=n,
        unit="share difference",
        method="anytime-valid confidence sequence" if is_early else "Tango score interval",
        flips=Flips(gains=gains, losses=losses, mid_p=proportions.mid_p_mcnemar(gains, losses)),
    )


def fact(found: CheckResult, name: str) -> str:
    return next(one.value for one in derive(found).facts if one.name == name)


def steps(found: CheckResult) -> str:
    return "\n".join(derive(found).steps)


def test_tangos_statistic_at_the_bound_is_the_published_one():
    told = steps(result(binary(20, 20, 1000), at_least=-0.02))
    assert "the same by Z(-0.02) = 2.89886: kept above 1.64485, broken below -1.64485." in told
    told = steps(result(binary(10, 60, 1000), "fail", at_least=-0.02))
    assert "Z(-0.02) = -3.86511" in told


def test_both_ends_are_held_against_the_bound_in_the_numbers_of_the_suite():
    told = steps(result(binary(20, 20, 1000), at_least=-0.02))
    assert told.startswith(
        "at least -0.02: kept where low > -0.02; low is -0.01072, so it is kept. Broken where "
        "high < -0.02; high is 0.01072, so it is not proved broken."
    )


def test_an_upper_bound_is_held_the_other_way_round():
    told = steps(result(binary(60, 10, 1000), "fail", at_most=0.02))
    assert "at most 0.02: kept where high < 0.02;" in told
    assert "so it is broken." in told
    assert "-Z(0.02) = -3.86511: kept above 1.64485" in told


def test_the_e_values_at_the_bound_are_the_published_ones():
    early = binary(20, 20, 1000, is_early=True)
    looks = (Look(documents=1000, estimate=early),)
    told = steps(result(early, looks=looks, at_least=-0.02))
    assert "the same by E(0.02): 29.0624 for kept, 0.0383021 for broken; either takes 20." in told
    assert "documents at the least" not in told


def test_at_looks_gains_are_weighed_against_losses_by_evidence_that_allows_looks():
    early = binary(10, 60, 1000, is_early=True)
    found = result(early, "fail", looks=(Look(documents=1000, estimate=early),), at_least=-0.02)
    assert fact(found, "McNemar's e-value").endswith("e+07")
    names = [formula.name for formula in derive(found).formulas]
    assert "McNemar's e-value" in names
    assert "mid-p McNemar" not in names
    assert "Clopper-Pearson interval" not in names
    assert flip_rate(found) is None


def test_the_fewest_documents_are_told_beside_those_there_are():
    told = steps(result(binary(0, 0, 100), "inconclusive", at_least=-0.02))
    assert (
        "a margin of 0.02 takes 149 documents at the least; there are 100, fewer, so it cannot be "
        "proved kept." in told
    )


def test_a_number_beside_its_bound_is_never_rounded_across_it():
    close = binary(20, 20, 1000).model_copy(update={"low": -0.0200000001})
    assert "low is -0.0200000001, so it is not proved kept" in steps(result(close, at_least=-0.02))


def test_counts_and_quantiles_are_there_to_compute_with():
    found = result(binary(15, 30, 1000), "inconclusive", at_least=-0.02)
    assert fact(found, "gains, losses") == "15, 30"
    assert fact(found, "n") == "1,000 documents"
    assert fact(found, "z") == "1.64485"
    assert fact(found, "confidence") == "0.95 on each side"


def test_the_flip_rate_has_clopper_and_pearsons_interval():
    assert flip_rate(result(binary(2, 3, 200), at_least=-0.02)) == "2.50 % (0.99 to 5.18)"
    low, high = proportions.clopper_pearson(5, 200, confidence=0.95)
    assert (round(100 * low, 2), round(100 * high, 2)) == (0.99, 5.18)


def test_an_estimate_that_is_the_flip_rate_is_not_told_twice():
    low, high = proportions.clopper_pearson(5, 200, confidence=0.95)
    rate = binary(2, 3, 200).model_copy(
        update={"low": low, "high": high, "value": 0.025, "method": "Clopper-Pearson interval"}
    )
    found = result(rate, at_most=0.08)
    assert flip_rate(found) is None
    assert evidence(found) == ("Clopper-Pearson interval", "3 lost, 2 gained, mid-p 0.688")


def test_students_interval_can_be_worked_out_from_its_facts():
    differences = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
    low, high = means.paired_t_interval(differences, confidence=0.95)
    estimate = Estimate(
        value=float(differences.mean()),
        low=low,
        high=high,
        n=10,
        unit="mean difference",
        method="paired t",
        standard_error=float(differences.std(ddof=1)) / 10**0.5,
    )
    found = result(estimate, at_least=0.5)
    reach = float(fact(found, "t, 9 degrees")) * float(fact(found, "SE"))
    assert float(fact(found, "value")) - reach == pytest.approx(low, rel=1e-5)


def test_a_clustered_interval_counts_clusters_for_its_degrees_of_freedom():
    differences = np.array([1, 1, 0, 0, -1, -1, 0, 1, 0, 0, 0, 1.0])
    alike = clusters.cluster_interval(differences, list("AAABBBCCCDDD"), confidence=0.95)
    estimate = Estimate(
        value=alike.mean,
        low=alike.interval.low,
        high=alike.interval.high,
        n=12,
        unit="mean difference",
        method="t over clusters",
        clusters=4,
        standard_error=alike.standard_error,
    )
    found = result(estimate, "inconclusive", at_least=-0.02)
    assert fact(found, "G") == "4 clusters"
    assert fact(found, "t, 3 degrees") == "2.35336"
    assert [one.name for one in derive(found).formulas] == ["Cluster-robust t"]


def test_how_firm_it_is_and_what_it_would_take_are_told():
    firm = result(binary(1, 1, 400), tolerance=2, at_least=-0.02)
    assert fact(firm, "tolerance") == "2; 3 more changed documents would undo it"
    loose = result(binary(0, 0, 100), "inconclusive", needed=149, at_least=-0.02)
    assert fact(loose, "needed") == "about 149 documents in all"


@pytest.mark.parametrize(("is_confirmed", "word"), [(True, "confirmed"), (False, "not confirmed")])
def test_holms_correction_tells_its_confidence_and_whether_it_confirms(is_confirmed, word):
    broken = binary(10, 60, 1000)
    holm = Correction(
        hypotheses=12, confidence=1 - 0.05 / 12, estimate=broken, is_confirmed=is_confirmed
    )
    found = result(broken, "fail", correction=holm, at_least=-0.02)
    told = f"{word} by Holm's correction over 12 checks, at 99.58 % on one side: -5.00 points"
    assert correction_text(found).startswith(told)
    assert derive(found).steps[-1] == correction_text(found)
    assert "Holm's correction" in [one.name for one in derive(found).formulas]


def test_what_was_not_measured_has_no_derivation():
    missing = result(None, "error", at_least=-0.02)
    assert derive(missing) is None
    assert evidence(missing) == ()


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("Tango score interval", ["Tango score interval"]),
        ("paired t and BCa bootstrap, outer envelope", ["Student's paired t", "BCa bootstrap"]),
        ("rule of three over the metric's range", ["Rule of three over the metric's range"]),
        (
            "t over clusters, cluster bootstrap and Tango score interval, outer envelope",
            ["Tango score interval", "Cluster bootstrap", "Cluster-robust t"],
        ),
        ("ratio estimator, t over clusters", ["Ratio estimator"]),
        ("paired bootstrap of documents", ["Paired bootstrap of the aggregate"]),
        (
            "paired t and BCa bootstrap, outer envelope, at the 99.96 % of O'Brien-Fleming's look "
            "2 of 4",
            ["Student's paired t", "BCa bootstrap", "O'Brien-Fleming looks"],
        ),
        ("exact", ["Counted"]),
        ("somebody's own", []),
    ],
)
def test_every_method_has_its_formulas(method, names):
    assert [one.name for one in formulas_of(method)] == names


def test_every_formula_names_a_heading_of_the_documentation():
    headings = re.findall(r"^#+ (.+)$", (ROOT / DOCUMENTATION).read_text("utf-8"), re.MULTILINE)
    methods = (
        "tango, clopper, paired t, bca, rule of three, anytime-valid, O'Brien-Fleming, "
        "cluster bootstrap, t over clusters, paired bootstrap"
    )
    found = [*formulas_of(methods), *formulas_of("ratio of sums")]
    assert len(found) == 11
    assert {one.section for one in found} <= set(headings)
