"""What reports look up in a record: notes by what they are about, audits in a sentence."""

from records_builder import build_record
from test_weight_maps import quantize, stored

from gate.reporting.views import notes, weights_views


def test_notes_on_what_does_not_ship_stand_apart():
    told = ("merged: rounding kept 75 %", "w8a8: a group size was changed", "3 duplicates")
    record = build_record(passing=True).model_copy(update={"warnings": told})
    found = notes(record)
    assert found.on_release == ("merged: rounding kept 75 %", "3 duplicates")
    assert found.aside == ("w8a8: a group size was changed",)


def test_what_nothing_was_lost_in_is_told_as_exact():
    record = build_record().model_copy(
        update={
            "audits": (quantize(stored("a", 0.0)), quantize(stored("a", 0.0), stored("b", 0.2)))
        }
    )
    exact, lossy = (one.sentence for one in weights_views(record))
    assert exact == "proven: 1 tensor as Q; all exact"
    assert lossy == "proven: 2 tensors as Q; relative error 0.00 % to 20.00 %"
