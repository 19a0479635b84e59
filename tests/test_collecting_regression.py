"""The same variants, then and now: which margins are held, in which direction."""

from pathlib import Path

import pytest
from gates import SUITE, write_gate
from records_builder import build_record
from test_standing import sign

from gate.collecting.outline import names_of, read_outline
from gate.collecting.regression import (
    is_scored,
    judge_regression,
    read_baseline,
    regression_checks,
)
from gate.errors import RecordError
from gate.evaluation_records import Corpus, Document, Sample, Score
from gate.records import Record
from gate.releasing.release import RECORD_FILE

DOCUMENTS = 300


def outline(folder, suite=SUITE):
    return read_outline(write_gate(folder, Path("base"), Path("adapter"), suite=suite))


def scored(right, *, variants=("merged", "rtn"), release="v1", tokens="r") -> Record:
    """A record of colors, of which each variant gets the first so many right."""
    samples = tuple(
        Sample(id=i, hash=str(i), value=float(i < right), answer="", request_hash=tokens)
        for i in range(DOCUMENTS)
    )
    documents = tuple(
        Document(id=i, hash=str(i), prompt="", target="red", choices=("red", "green"))
        for i in range(DOCUMENTS)
    )
    scores = tuple(
        Score(
            variant=variant,
            task="colors",
            metric="acc",
            higher_is_better=True,
            is_binary=True,
            available=DOCUMENTS,
            samples=samples,
        )
        for variant in variants
    )
    corpora = (Corpus(task="colors", documents=documents),)
    update = {"release": release, "scores": scores, "corpora": corpora, "results": ()}
    return build_record(documents=1).model_copy(update=update)


def outcomes(folder, now, then):
    gate = outline(folder)
    checks = regression_checks(gate, then.release)
    return [one.outcome for one in judge_regression(gate, now, then, checks).results]


def test_margins_of_what_is_built_are_held_and_gains_asked_of_training_are_not(tmp_path):
    assert names_of(regression_checks(outline(tmp_path), "v0")) == (
        "merged-vs-merged@v0[colors-delta]",
        "rtn-vs-rtn@v0[colors-delta]",
    )


def test_a_bound_on_how_many_answers_change_says_nothing_of_another_training(tmp_path):
    suite = SUITE.replace("compare: delta, margin: 0.03", "compare: flips, at_most: 0.03")
    gate = outline(
        tmp_path,
        suite.replace(
            "noise_floor",
            "  - {of: rtn, against: merged, compare: delta, at_least: 0}\nnoise_floor",
        ),
    )
    assert [one.variant for one in regression_checks(gate, "v0")] == ["merged"]


def test_a_candidate_as_good_as_the_last_release_passes(tmp_path):
    assert outcomes(tmp_path, scored(280), scored(280, release="v0")) == ["pass", "pass"]


def test_a_candidate_that_does_better_passes_a_margin_that_is_held_both_ways(tmp_path):
    assert outcomes(tmp_path, scored(290), scored(240, release="v0")) == ["pass", "pass"]


def test_a_candidate_that_does_worse_fails(tmp_path):
    assert outcomes(tmp_path, scored(240), scored(290, release="v0")) == ["fail", "fail"]


def test_other_tokens_than_the_last_release_was_given_are_an_error(tmp_path):
    then = scored(280, release="v0", tokens="other")
    assert outcomes(tmp_path, scored(280), then) == ["error", "error"]


def test_a_variant_that_the_release_had_not_is_known_as_such(tmp_path):
    merged, rtn = regression_checks(outline(tmp_path), "v0")
    then = scored(280, release="v0", variants=("merged",))
    assert is_scored(merged, then)
    assert not is_scored(rtn, then)


@pytest.mark.parametrize("place", ["record.json", RECORD_FILE])
def test_a_baseline_is_found_in_a_runs_directory_and_in_a_published_release(tmp_path, place):
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    file.write_text(scored(280, release="v0").model_dump_json())
    assert read_baseline(tmp_path).release == "v0"


def test_a_baseline_that_was_edited_after_it_was_signed_is_refused(tmp_path):
    edited = sign(scored(280, release="v0")).model_copy(update={"release": "v1"})
    (tmp_path / "record.json").write_text(edited.model_dump_json())
    with pytest.raises(RecordError, match="the record was changed since") as caught:
        read_baseline(tmp_path)
    assert caught.value.hint == "compare with a record that was not edited"


def test_a_folder_without_a_record_is_no_baseline(tmp_path):
    with pytest.raises(RecordError, match=r"has no record\.json"):
        read_baseline(tmp_path)
