from document_builder import build_document, build_documents
from records_builder import build_record

from gate.reporting.document_views import (
    Pair,
    changed_documents,
    changes_between,
    compared_pairs,
)

RIGHT, WRONG = (1.0, "yes"), (0.0, "no")


def listed(record) -> list[tuple[int, str]]:
    return [(change.after.id, change.direction) for change in changed_documents(record)]


def test_every_document_that_flipped_is_there_as_its_check_counted_it():
    record = build_record()
    changes = changed_documents(record)
    for result in record.results:
        if result.estimate and result.estimate.flips:
            pair = (result.task, result.reference, result.variant)
            found = [change.direction for change in changes if change.pair == pair]
            flips = result.estimate.flips
            assert (found.count("gain"), found.count("loss")) == (flips.gains, flips.losses)


def test_a_document_on_which_nothing_changed_is_not_there():
    record = build_documents(base=[RIGHT, WRONG, RIGHT], adapter=[RIGHT, WRONG, WRONG])
    assert listed(record) == [(2, "loss")]


def test_another_answer_of_the_same_value_is_a_change_of_its_own():
    record = build_documents(base=[WRONG, WRONG], adapter=[(0.0, "maybe"), RIGHT])
    assert listed(record) == [(1, "gain"), (0, "other")]


def test_a_pair_that_no_check_compares_has_no_changes():
    record = build_documents(base=[RIGHT], adapter=[RIGHT], merged=[WRONG])
    assert listed(record) == []


def test_a_check_without_a_score_compares_no_documents():
    record = build_documents(base=[RIGHT])
    assert compared_pairs(record) == ()
    assert listed(record) == []


def test_losses_come_first_and_of_these_the_greatest_whichever_way_is_better():
    before, after = ([(value, "a") for value in row] for row in ([0.5] * 4, [0.9, 0.1, 0.5, 0.4]))
    up = build_documents(is_binary=False, base=before, adapter=after)
    down = build_documents(is_binary=False, higher_is_better=False, base=before, adapter=after)
    assert listed(up) == [(1, "loss"), (3, "loss"), (0, "gain")]
    assert listed(down) == [(0, "loss"), (1, "gain"), (3, "gain")]


def test_losses_of_what_is_up_for_release_come_before_those_of_what_is_not():
    record = build_record()
    shipped = {change.pair.candidate for change in changed_documents(record)} - {"q4_k_m"}
    offered = record.model_copy(update={"ship": ("q8_0", "w8a8")})
    losses = [one for one in changed_documents(offered) if one.direction == "loss"]
    aside = [one.pair.candidate not in shipped for one in losses]
    assert any(aside)
    assert aside == sorted(aside)


def test_of_equal_losses_the_one_that_was_surest_and_is_furthest_off_comes_first():
    documents = [build_document(number, choices=("yes", "no")) for number in range(3)]
    record = build_documents(
        documents=documents,
        base=[(1.0, "yes", (-1.0, -2.0))] * 3,
        adapter=[
            (0.0, "no", (-2.0, -1.9)),
            (0.0, "no", (-9.0, -0.1)),
            (0.0, "no", (-3.0, -1.0)),
        ],
    )
    assert listed(record) == [(1, "loss"), (2, "loss"), (0, "loss")]
    assert [round(change.margin, 1) for change in changed_documents(record)] == [-9.9, -3.0, -1.1]


def test_the_margin_of_a_single_text_is_its_own_log_probability():
    record = build_documents(base=[(1.0, "yes", (-1.0,))], adapter=[(0.0, "", (-3.5,))])
    (change,) = changed_documents(record)
    assert change.margin == -2.5


def test_documents_are_paired_by_id_and_one_that_only_one_variant_had_is_left_out():
    record = build_documents(base=[RIGHT, RIGHT, RIGHT], adapter=[RIGHT, WRONG])
    assert listed(record) == [(1, "loss")]


def test_a_document_that_the_record_does_not_hold_still_counts():
    record = build_documents(documents=[], base=[RIGHT], adapter=[WRONG])
    (change,) = changed_documents(record)
    assert change.document is None
    assert change.direction == "loss"


def test_the_changes_between_two_variants_are_those_of_all_that_are_theirs():
    record = build_documents(base=[RIGHT, WRONG], adapter=[WRONG, RIGHT])
    (pair,) = {change.pair for change in changed_documents(record)}
    assert changes_between(record, pair) == changed_documents(record)
    assert changes_between(record, Pair(pair.task, pair.reference, "another")) == ()
