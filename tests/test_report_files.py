"""The directory of a run: named by its moment, or not made at all."""

import pytest
from records_builder import build_record

from gate.errors import StageError
from gate.reporting.report_files import write_run


def test_reports_that_cannot_be_written_name_the_file_in_the_way(tmp_path):
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(StageError, match=r"^cannot write the reports: .*/reports/support-bot-v3'"):
        write_run(build_record(documents=20), tmp_path / "reports")


def test_a_release_with_a_thousand_runs_of_one_second_gets_no_other(tmp_path):
    record = build_record(documents=20)
    moment = record.provenance.created_at.strftime("%Y%m%dT%H%M%SZ")
    release = tmp_path / record.release
    for name in (moment, *(f"{moment}-{number}" for number in range(2, 1000))):
        (release / name).mkdir(parents=True)
    with pytest.raises(StageError, match="support-bot-v3 has a thousand runs of one second"):
        write_run(record, tmp_path)
