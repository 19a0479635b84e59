"""A folder of reports to look back at: a small record for each release."""

from datetime import timedelta

from records_builder import build_record

RECORD = build_record(documents=12, passing=True)
REPORT = "<!doctype html><title>A report</title><h1>The report of one run</h1>"


def later(record, days):
    """The record as if it had been made so many days later."""
    made_at = record.provenance.created_at + timedelta(days=days)
    provenance = record.provenance.model_copy(update={"created_at": made_at})
    return record.model_copy(update={"provenance": provenance})


def keep(reports, folder, record=RECORD, *, days=0, has_report=True, **fields):
    """Put a record into <reports>/<folder>, with other fields, and a report beside it."""
    place = reports / folder
    place.mkdir(parents=True)
    text = later(record.model_copy(update=fields), days).model_dump_json()
    (place / "record.json").write_text(text, encoding="utf-8")
    if has_report:
        (place / "report.html").write_text(REPORT, encoding="utf-8")
    return place
