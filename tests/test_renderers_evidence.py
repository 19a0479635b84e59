"""Formulas, slices, looks, lineages, distributions and policy, in every report."""

import re
from xml.etree import ElementTree

import pytest
from evidence_builder import build_distribution, build_evidence
from records_builder import HOSTILE, build_record
from test_renderers import Page

from gate.records import Record
from gate.renderers import html, junit, markdown, text
from gate.reporting.sequential_views import saved_text

READABLE = [html, markdown, text]
NAMES = ["html", "markdown", "text"]
PARTS = ("slices", "looks", "lineage", "distributions")


@pytest.fixture(scope="module")
def record() -> Record:
    return build_evidence()


@pytest.fixture(scope="module")
def page(record) -> Page:
    return Page(html.render(record))


def flat(told: str) -> str:
    return " ".join(told.replace("\\", "").split())


def details(record: Record, name: str) -> str:
    root = ElementTree.fromstring(junit.render(record))
    case = next(one for one in root.iter("testcase") if one.get("name") == name)
    return "".join(case.itertext())


def test_a_record_with_every_part_reads_back_from_its_json(record):
    assert Record.model_validate_json(record.model_dump_json()) == record


def test_ids_are_unique_and_every_link_leads_somewhere(page):
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in page.values("href")} <= set(ids)


def test_every_measured_check_has_the_numbers_and_the_formula_of_its_verdict(record, page):
    measured = sum(result.estimate is not None for result in record.results)
    assert page.text.count("How it follows") == measured
    formula = "Z(d) = (gains - losses - n d) / √(n (2q + d (1 - d)))"
    assert formula.replace("-", "\N{MINUS SIGN}") in page.text
    assert "docs/verdicts.md, “Binary metrics”" in page.text


@pytest.mark.parametrize("renderer", READABLE, ids=NAMES)
def test_flips_and_holms_correction_stand_beside_a_failed_check(record, renderer):
    told = flat(renderer.render(record)).replace("\N{NO-BREAK SPACE}", " ")
    assert "21 lost, 1 gained" in told
    assert "7.33 % (5.02 to 10.31) flipped" in told
    assert re.search(r"confirmed by Holm(&#39;|')s correction over 20 checks, at 99.75 %", told)


@pytest.mark.parametrize("renderer", READABLE, ids=NAMES)
def test_a_collapsed_slice_is_shown_even_where_the_mean_holds(record, renderer):
    kept = next(one for one in record.results if one.outcome == "pass" and one.slices)
    lost = kept.slices[1].model_copy(update={"has_collapsed": True})
    held = kept.model_copy(update={"slices": (kept.slices[0], lost, kept.slices[2])})
    told = flat(renderer.render(record.model_copy(update={"results": (held,)})))
    assert "spanish" in told
    assert "collapsed" in told


@pytest.mark.parametrize("renderer", READABLE, ids=NAMES)
def test_what_changed_in_the_policy_comes_before_the_checks(record, renderer):
    told = flat(renderer.render(record)).replace("\N{MINUS SIGN}", "-")
    told = told.replace("\N{NO-BREAK SPACE}", " ")
    head = re.split(r"20 checks: |Did not pass|<main>", told)[0]
    assert "he thresholds are not those that support-bot-v2 was promoted by: 3 checks" in head
    before = head.index("at least -0.02, 95 % one-sided, blocks")
    assert before < head.index("at least -0.025, 95 % one-sided, blocks")
    assert "was not there" in head
    assert "taken away" in head


def test_the_policys_digest_is_in_the_provenance_and_in_junit(record, page):
    assert record.policy.digest in page.text
    assert record.policy.digest in markdown.render(record)
    root = ElementTree.fromstring(junit.render(record))
    found = {one.get("name"): one.get("value") for one in root.iter("property")}
    assert found["policy_digest"] == record.policy.digest
    assert found["policy_change.2"] == (
        "quantized against bridge: flips: was not there -> at most 0.08"
    )


def test_an_unchanged_policy_is_told_in_the_provenance_alone(record):
    same = record.policy.model_copy(update={"changes": ()})
    told = html.render(record.model_copy(update={"policy": same}))
    assert "the same that support-bot-v2 was promoted by" in told
    assert "thresholds are not" not in told
    assert "thresholds are not" not in markdown.render(record.model_copy(update={"policy": same}))


@pytest.mark.parametrize("renderer", READABLE, ids=NAMES)
def test_every_cause_of_a_lineage_is_told(record, renderer):
    told = flat(renderer.render(record)).lower()
    for cause in ("training", "merge", "runtime", "quantization", "total", "no such step"):
        assert cause in told


def test_each_task_has_a_figure_of_its_lineages_that_can_be_read_without_seeing_it(page):
    assert sum(name.startswith("figure-lineage-") for name in page.values("id")) == 6
    labels = page.values("aria-label")
    minus = "\N{MINUS SIGN}"
    told = f"adapter 30.33 points (25.96 to 35.00); merge → merged {minus}0.33 points"
    assert any(told in label for label in labels)


@pytest.mark.parametrize("renderer", READABLE, ids=NAMES)
def test_distributions_are_told_with_their_intervals(record, renderer):
    told = flat(renderer.render(record)).replace('<br><span class="sub">', " (")
    assert "0.00083 (0.00078 to 0.00088" in told
    assert "96.37" in told


def test_the_worst_token_is_marked_in_its_context(page, record):
    assert any(tag == "mark" for tag, _ in page.elements)
    assert "I am sorry, it will be␣refunded" in page.text
    assert "␣with 64.0" in page.text


@pytest.mark.parametrize("renderer", READABLE, ids=NAMES)
def test_what_stopping_early_saved_is_told(record, renderer):
    assert saved_text(record) == (
        "2,100 answers of 6,300 were asked for; stopping early saved 66.7 %."
    )
    assert saved_text(record) in flat(renderer.render(record)).replace("\N{NO-BREAK SPACE}", " ")


def test_looks_name_the_bound_that_holds_at_all_of_them(record, page):
    assert "anytime-valid confidence sequence" in page.text
    assert "Every look" in page.text
    told = details(record, "q8_0-vs-merged-llamacpp[arc_easy]:delta")
    assert "look at 50: 0.00 points (-8.63 to 8.63)" in told
    assert "undecided after 4 looks" in told
    told = details(record, "q4_k_m-vs-merged-llamacpp[arc_easy]:delta")
    assert "decided at look 3" in told


@pytest.mark.parametrize("renderer", READABLE, ids=NAMES)
def test_a_check_of_one_slice_names_it(record, renderer):
    one = next(one for one in record.results if one.outcome == "fail")
    sliced = one.model_copy(update={"check": one.check.model_copy(update={"slice": "spanish"})})
    alone = record.model_copy(update={"results": (sliced,)})
    assert f"{one.task}, slice spanish" in flat(renderer.render(alone))
    assert f"[{one.task}/spanish]:delta" in junit.render(alone)


def test_junit_holds_the_steps_of_the_verdict_and_the_slices(record):
    told = details(record, "q4_k_m-vs-merged-llamacpp[desk_intent]:delta")
    assert "at least -0.025: kept where low > -0.025" in told
    assert "slice tables COLLAPSED: -21.00 points" in told
    assert "tolerance: 2; 3 more changed documents would undo it" in details(
        record, "merged-vs-adapter[arc_easy]:delta"
    )


def test_documents_that_do_not_count_are_listed_in_the_provenance(page):
    assert "desk_intent: 3 documents not counted" in page.text
    assert "4 counts, not 17, 20" in page.text


@pytest.mark.parametrize("renderer", READABLE, ids=NAMES)
def test_every_note_of_the_run_is_told(record, renderer):
    told = "desk_intent: 3 documents repeat another and do not count (first: 9 is 8 again)"
    noted = record.model_copy(update={"warnings": (told, "a pass stands at the ceiling")})
    said = flat(renderer.render(noted))
    assert told in said
    assert "a pass stands at the ceiling" in said


def test_a_name_with_a_number_is_no_subtraction(record):
    assert "SHA-256 over the SHA-256 of every file" in html.render(record)


def test_what_is_not_up_for_release_is_marked_in_the_table_of_checks(record):
    page = html.render(record.model_copy(update={"ship": ("q8_0",)}))
    aside = [one for one in record.results if one.variant in ("q4_k_m", "w8a8")]
    assert page.count('<span class="level">not up for release</span>') == len(aside)


def test_tables_are_numbered_as_they_come(page):
    found = [int(number) for number in re.findall(r"Table (\d+)\.", page.text)]
    assert found == list(range(1, 8))


def test_a_record_without_these_parts_has_no_section_of_them():
    quiet = html.render(build_record())
    for part in (*PARTS, "policy-changes"):
        assert f'id="{part}"' not in quiet
        assert f'href="#{part}"' not in quiet
    for renderer in (markdown, text):
        told = renderer.render(build_record())
        assert not re.search("policy|thresholds|distributions|stopping early|slice", told, re.I)


def test_hostile_text_in_a_distribution_makes_no_element():
    plain, attacked = (
        Page(
            html.render(
                build_record().model_copy(
                    update={"distributions": (build_distribution("q8_0", kl=0.01, extra=extra),)}
                )
            )
        )
        for extra in ("", HOSTILE)
    )
    assert [tag for tag, _ in plain.elements] == [tag for tag, _ in attacked.elements]


def test_text_keeps_to_its_columns_with_every_part(record):
    assert max(map(len, text.render(record).splitlines())) <= text.COLUMNS


def test_the_page_with_every_part_has_no_style_attributes(page):
    names = {attribute for _, attrs in page.elements for attribute in attrs}
    assert not {name for name in names if name == "style" or name.startswith("on")}
