"""Earlier runs in a reports folder: found newest first, and the last release among them."""

import json
from datetime import timedelta

import pytest
from records_builder import build_record
from serving_builder import build_servings

from gate.planning.past_runs import PastRun, last_measured, last_release, past_runs
from gate.policy import policy_of
from gate.terms import Adapter

RECORD = build_record(documents=3, passing=True).model_copy(
    update={"policy": policy_of(()), "verdict": "promote"}
)


def keep(reports, folder, *, days=0, **fields):
    made_at = RECORD.provenance.created_at + timedelta(days=days)
    provenance = RECORD.provenance.model_copy(update={"created_at": made_at})
    record = RECORD.model_copy(update={"provenance": provenance, **fields})
    place = reports / folder
    place.mkdir(parents=True)
    (place / "record.json").write_text(record.model_dump_json())


def releases(reports):
    return [run.release for run in past_runs(reports)]


def test_runs_come_newest_first_by_the_moment_in_their_folders_name(tmp_path):
    keep(tmp_path, "v1/20261120T100000Z", release="first")
    keep(tmp_path, "v2/20261121T100000Z", release="third")
    keep(tmp_path, "v1/20261120T100000Z-2", release="second")
    assert releases(tmp_path) == ["third", "second", "first"]


def test_a_folder_of_another_name_takes_its_place_by_its_records_moment(tmp_path):
    keep(tmp_path, "v1/20261122T100000Z", release="older")
    keep(tmp_path, "example-promote", release="newer")
    keep(tmp_path, "example-old", release="oldest", days=-30)
    assert releases(tmp_path) == ["newer", "older", "oldest"]


def test_there_are_no_runs_in_a_folder_that_is_absent(tmp_path):
    assert releases(tmp_path / "nowhere") == []


def test_a_run_that_is_being_written_is_not_seen(tmp_path):
    keep(tmp_path, "v1/.20261120T100000Z")
    assert releases(tmp_path) == []


def test_a_record_that_cannot_be_read_is_passed_over(tmp_path):
    keep(tmp_path, "v1/20261120T100000Z", release="readable")
    keep(tmp_path, "v1/20261121T100000Z", schema_version=0)
    keep(tmp_path, "v1/20261122T100000Z")
    (tmp_path / "v1/20261122T100000Z/record.json").write_text('{"schema_version": 1, ')
    (tmp_path / "other").mkdir()
    (tmp_path / "other/record.json").write_text("[]")
    assert releases(tmp_path) == ["readable"]


@pytest.mark.parametrize("indent", [None, 1, 2])
def test_a_run_is_the_same_however_its_record_is_laid_out(tmp_path, indent):
    text = RECORD.model_copy(update={"release": ' "corpora":\n "scores":'}).model_dump_json()
    file = tmp_path / "v1/20261120T100000Z/record.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(json.loads(text), indent=indent))
    assert list(past_runs(tmp_path)) == [PastRun.model_validate_json(text)]


def test_the_last_release_is_the_newest_that_was_promoted(tmp_path):
    keep(tmp_path, "v1/20261120T100000Z", release="v1")
    keep(tmp_path, "v2/20261121T100000Z", release="v2")
    keep(tmp_path, "v3/20261122T100000Z", release="v3", verdict="block")
    found = last_release(past_runs(tmp_path), RECORD.candidate)
    assert (found.release, found.policy) == ("v2", policy_of(()))


def test_a_promoted_run_that_does_not_tell_its_policy_is_no_release_to_compare_with(tmp_path):
    keep(tmp_path, "v1/20261120T100000Z", policy=None)
    assert last_release(past_runs(tmp_path), RECORD.candidate) is None


def test_a_release_of_the_same_adapters_comes_before_a_newer_one_of_others(tmp_path):
    others = RECORD.candidate.model_copy(update={"adapters": (Adapter(name="x", source="x"),)})
    keep(tmp_path, "v1/20261120T100000Z", release="own")
    keep(tmp_path, "v2/20261121T100000Z", release="theirs", candidate=others)
    runs = list(past_runs(tmp_path))
    assert last_release(runs, RECORD.candidate).release == "own"
    assert last_release(runs[:1], RECORD.candidate).release == "theirs"


def test_speeds_are_those_of_the_newest_run_that_measured_them_on_this_candidate(tmp_path):
    others = RECORD.candidate.model_copy(update={"base": "another"})
    keep(tmp_path, "v1/20261120T100000Z", release="measured", serving=build_servings())
    keep(tmp_path, "v2/20261121T100000Z", release="of sizes only")
    keep(tmp_path, "v3/20261122T100000Z", serving=build_servings(), candidate=others)
    found = last_measured(past_runs(tmp_path), RECORD.candidate)
    assert (found.release, found.serving) == ("measured", build_servings())


def test_there_are_no_speeds_where_none_were_measured(tmp_path):
    keep(tmp_path, "v1/20261120T100000Z")
    assert last_measured(past_runs(tmp_path), RECORD.candidate) is None
