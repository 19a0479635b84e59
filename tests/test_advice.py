"""When not to merge: each reason with its figures, and the silence where there is none."""

import pytest
from records_builder import HOSTILE, build_record
from serving_builder import build_run, build_serving, build_servings

from gate.audit_records import ArtifactAudit, Audit, TensorAudit
from gate.declared_serving import DeclaredServing
from gate.records import Record
from gate.renderers import html, markdown, text
from gate.reporting.advice import Ground, advice, advice_on
from gate.signoff import record_digest
from gate.terms import Use, Variant

HF = Use(name="hf")
VARIANTS = (
    Variant(name="base", adapters=(), backend=HF),
    Variant(name="adapter", adapters=("own",), backend=HF),
    Variant(name="merged", adapters=("own",), backend=HF, merge=Use(name="stream")),
)


def record_of(*, measured=False, **declared) -> Record:
    fields = {"declared_serving": DeclaredServing(**declared) if declared else None}
    fields |= {"serving": build_servings()} if measured else {}
    return build_record(documents=20).model_copy(update=fields)


def ground_of(*serving, audits=(), **declared) -> Ground:
    return Ground(
        declared=DeclaredServing(**declared),
        variants=VARIANTS,
        ship=("merged",),
        serving=serving,
        audits=audits,
    )


def served(variant, decode, *, spread=0.002, machine=None, **sizes):
    runs = [
        build_run(number, decode=decode * factor, prefill=40 * decode * factor)
        for number, factor in enumerate((1.0, 1.0 - spread, 1.0 + spread), start=1)
    ]
    one = build_serving(variant, *runs, **sizes)
    return one if machine is None else one.model_copy(update={"machine": machine})


def audit_of(*shares, delta_share=0.01, outcome="rounding"):
    tensors = tuple(
        TensorAudit(
            tensor=f"layers.{place}.weight",
            outcome=outcome,
            delta_share=delta_share,
            kept_share=share,
        )
        for place, share in enumerate(shares)
    )
    return ArtifactAudit(
        of="merge", label="audit merged", variants=("merged",), audit=Audit(tensors=tensors)
    )


def only(told) -> str:
    assert len(told) == 1, told
    return told[0]


def test_nothing_declared_and_nothing_measured_gives_no_advice():
    assert advice(record_of()) == ()


def test_a_merge_that_is_faster_is_not_advised_against():
    assert advice(record_of(measured=True)) == ()


def test_several_adapters_are_kept_apart():
    told = only(advice_on(ground_of(variants=12)))
    assert told == (
        "12 adapters are served over this base (serving.variants): merged they are 12 "
        "whole models, each to be held: keep them apart, in an engine that holds several at once"
    )


def test_several_adapters_are_told_with_the_bytes_of_both_ways():
    told = advice(record_of(measured=True, variants=12))[0]
    assert "as large as q4_k_m each (109 MB), merged they are 1.31 GB" in told
    assert "the base with that many adapters is 331 MB" in told


def test_merges_that_are_smaller_than_base_and_adapters_are_not_advised_against():
    assert advice(record_of(measured=True, variants=2)) == ()


def test_one_adapter_on_its_base_is_no_reason():
    assert advice_on(ground_of(variants=1)) == ()


def test_an_adapter_that_is_still_worked_on_is_merged_later():
    told = only(advice_on(ground_of(still_iterating=True)))
    assert told == (
        "the adapter is still being worked on (serving.still_iterating): each next one would be "
        "merged, judged and shipped whole: merge when it has settled"
    )


def test_what_each_iteration_ships_is_told_in_bytes():
    told = advice(record_of(measured=True, still_iterating=True))[0]
    assert "shipped whole (109 MB for q4_k_m where the adapter alone is 4.88 MB)" in told


def test_training_goes_on_from_the_adapter():
    told = only(advice_on(ground_of(further_training=True)))
    assert told.startswith("training goes on from here (serving.further_training): go on from the")


def test_the_bits_that_a_merge_keeps_are_told_where_training_goes_on():
    told = advice(record_of(measured=True, further_training=True))[0]
    assert "merged weights are rounded (bits a weight: q8_0 8.61, q4_k_m 6.27)" in told


def test_a_change_that_rounding_eats_is_told_with_the_tensor_that_keeps_least():
    told = only(advice_on(ground_of(audits=(audit_of(0.99, 0.46, 0.31),))))
    assert told == (
        "rounding eats what was trained, under merged: 2 of 3 changed tensors keep less than 50 % "
        "of the change, layers.2.weight 31.0 %: serve the adapter as it is, which loses nothing, "
        "or merge with dtype: float32"
    )


@pytest.mark.parametrize(
    "audit",
    [audit_of(0.5, 0.75), audit_of(0.3, delta_share=1e-8), audit_of(0.3, outcome="wrong")],
    ids=["most kept", "nothing changed", "a fault, which the audit tells"],
)
def test_rounding_that_ate_nothing_is_no_reason(audit):
    assert advice_on(ground_of(audits=(audit,))) == ()


def test_an_adapter_that_is_as_fast_as_its_merge_needs_none():
    told = only(advice_on(ground_of(served("adapter", 30.0), served("merged", 30.3))))
    assert told == (
        "adapter is as fast unmerged, as measured with hf: merged is 1.01 (1.01 to 1.01) times as "
        "fast in decoding and 1.01 (1.01 to 1.01) in prefill, over 3 repeats, never above 1.05: "
        "the merge buys no speed"
    )


def test_speeds_of_which_too_little_is_known_are_no_reason():
    wide = served("merged", 30.3, spread=0.2)
    assert advice_on(ground_of(served("adapter", 30.0), wide)) == ()


def test_speeds_of_two_machines_are_not_compared():
    elsewhere = served("merged", 30.3, machine="another")
    assert advice_on(ground_of(served("adapter", 30.0), elsewhere)) == ()


def test_what_merging_gains_is_told_last_where_something_speaks_against_it():
    ground = ground_of(served("adapter", 20.0), served("merged", 30.0), further_training=True)
    assert advice_on(ground)[-1] == (
        "what merging gains, as measured with hf: merged is 1.50 (1.50 to 1.50) times as fast in "
        "decoding and 1.50 (1.50 to 1.50) in prefill, over 3 repeats"
    )


def test_requests_that_the_adapter_answers_unmerged_take_no_merge():
    told = advice(record_of(measured=True, requests_per_second=0.25))[0]
    assert told == (
        "requests a second are declared to be 0.25 (serving.requests_per_second), and adapter "
        "unmerged answers 0.64, as measured with hf (8 at once, 128 tokens in, 33 out): it does "
        "not take a merge to keep up"
    )


def test_requests_that_leave_the_adapter_no_room_are_no_reason():
    assert advice(record_of(measured=True, requests_per_second=0.5)) == ()


def test_a_gate_that_ships_no_merge_is_not_advised():
    assert advice_on(ground_of(further_training=True)._replace(ship=())) == ()


@pytest.mark.parametrize("renderer", [html, markdown, text], ids=["html", "markdown", "text"])
def test_every_report_tells_the_advice_and_that_it_changes_no_verdict(renderer):
    told = " ".join(renderer.render(record_of(measured=True, still_iterating=True)).split())
    assert "When not to merge" in told
    assert "which changes no verdict" in told
    assert "merge when it has settled" in told
    assert "what merging gains" in told


@pytest.mark.parametrize("renderer", [html, markdown, text], ids=["html", "markdown", "text"])
def test_a_report_without_advice_has_no_part_of_it(renderer):
    assert "When not to merge" not in renderer.render(record_of(measured=True))


def test_hostile_names_are_inert_in_advice():
    hostile = audit_of(0.3)
    tensor = hostile.audit.tensors[0].model_copy(update={"tensor": HOSTILE})
    audit = hostile.audit.model_copy(update={"tensors": (tensor,)})
    found = hostile.model_copy(update={"audit": audit, "variants": ("q8_0",)})
    record = record_of().model_copy(update={"audits": (found,)})
    assert "rounding eats" in html.render(record)
    assert "<script>alert(1)" not in html.render(record)
    assert "\x1b" not in text.render(record)


def test_a_record_from_before_the_declaration_is_read_and_keeps_its_digest():
    record = record_of()
    old = record.model_dump(mode="json")
    del old["declared_serving"]
    assert Record.model_validate(old) == record
    assert record_digest(Record.model_validate(old)) == record_digest(record)


def test_what_was_declared_is_signed_and_reads_back():
    record = record_of(variants=3)
    assert Record.model_validate_json(record.model_dump_json()) == record
    assert record_digest(record) != record_digest(record_of())
