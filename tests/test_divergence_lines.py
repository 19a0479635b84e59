"""Divergences as lines: means, bounds, axes that handle zeros."""

import pytest
from evidence_builder import build_distribution
from records_builder import build_record

from gate.comparisons import kl
from gate.reporting.divergence_lines import lines_by_text, scales_of
from gate.result_records import CheckResult
from gate.terms import Check, Use


def check(variant, **changes):
    bound = Check(of=variant, against="bridge", compare=Use(name="kl"), at_most=0.01)
    result = CheckResult(
        check=bound,
        variant=variant,
        reference="merged-llamacpp",
        task="desk",
        outcome="fail",
        reason="",
    )
    return result.model_copy(update=changes)


def texts(*distributions, results=()):
    update = {"distributions": distributions, "results": results}
    return lines_by_text(build_record().model_copy(update=update))


def test_a_line_has_the_bound_and_the_outcome_of_the_check_of_its_mean():
    one = build_distribution("q8_0", kl=0.03)
    ((bounded,),) = (found.lines for found in texts(one, results=(check("q8_0"),)))
    assert (bounded.state, bounded.bound) == ("fail", 0.01)
    assert bounded.mean == kl.compare(one, confidence=0.95)


@pytest.mark.parametrize(
    "other", [{"variant": "q4_k_m"}, {"reference": "adapter"}, {"task": "another text"}]
)
def test_a_check_of_something_else_bounds_nothing(other):
    one = build_distribution("q8_0", kl=0.03)
    ((line,),) = (
        found.lines for found in texts(one, results=(check(**{"variant": "q8_0", **other}),))
    )
    assert (line.state, line.bound) == ("neutral", None)


def test_the_interval_is_the_checks_own_where_it_has_one():
    one = build_distribution("q8_0", kl=0.03)
    strict = kl.compare(one, confidence=0.999)
    ((line,),) = (found.lines for found in texts(one, results=(check("q8_0", estimate=strict),)))
    assert line.ends == (strict.low, strict.high)


def test_a_single_document_has_a_mean_without_an_interval():
    one = build_distribution("q8_0", kl=0.03, documents=1)
    ((line,),) = (found.lines for found in texts(one))
    assert line.mean is None
    assert line.mean_nats == pytest.approx(one.documents[0].kl / one.documents[0].tokens)
    assert line.ends == (line.mean_nats, line.mean_nats)


def test_what_no_check_bounds_is_left_out_first():
    many = [build_distribution(f"v{number}", kl=0.03) for number in range(12)]
    (found,) = texts(*many, results=(check("v11"),))
    assert found.left_out == 2
    assert [line.found.variant for line in found.lines] == [*(f"v{n}" for n in range(9)), "v11"]


def test_each_text_has_its_own_lines():
    found = texts(build_distribution("a", kl=0.1), build_distribution("a", kl=0.1, extra="2"))
    assert [one.text for one in found] == ["desk", "desk2"]


def test_zeros_and_dust_below_them_stand_at_the_axis_end():
    one = build_distribution("q8_0", kl=0.03)
    dust = one.model_copy(update={"kl_percentiles": {"0": -5e-17, "50": 0.0, "100": 0.2}})
    ((line,),) = (found.lines for found in texts(dust))
    scales = scales_of((line,), height=300)
    assert scales.is_cut
    assert scales.y(-5e-17) == scales.y(0.0) == pytest.approx(300)
    assert 0 < scales.y(0.2) < 300


def test_a_text_without_any_divergence_still_has_an_axis():
    one = build_distribution("q8_0", kl=0.0)
    same = one.model_copy(update={"kl_percentiles": {"0": 0.0, "100": 0.0}})
    ((line,),) = (found.lines for found in texts(same))
    scales = scales_of((line,), height=300)
    assert 0 < scales.low < scales.high


def test_the_mean_stands_on_its_line():
    one = build_distribution("q8_0", kl=0.03)
    ((line,),) = (found.lines for found in texts(one))
    scales = scales_of((line,), height=300)
    place = scales.crossing(line)
    before, after = (line.percentiles[round(place - 0.5) + step][1] for step in (0, 1))
    assert before < line.mean_nats < after
