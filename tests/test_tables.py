"""Records held as columns are the records that they were."""

import numpy as np
import pytest
from pydantic import ValidationError

from gate.evaluation_records import Document, Sample, Score
from gate.tables import ById, Rows, Table

RAGGED = [(), (1.0, 2.0), (3.0,), (), (4.0, 5.0, 6.0)]


def sample(number, **fields):
    given = {"hash": f"h{number}", "value": number / 2, "answer": "red", "request_hash": "r"}
    return Sample(id=number, **given | fields)


@pytest.fixture
def samples():
    return [
        sample(i, loglikelihoods=row, cluster=name)
        for i, (row, name) in enumerate(zip(RAGGED, ("a", None, "b", "a", None), strict=True))
    ]


def score(samples):
    return Score(
        variant="merged",
        task="colors",
        metric="acc",
        higher_is_better=True,
        is_binary=True,
        samples=samples,
    )


def test_a_table_gives_back_its_records(samples):
    table = Table.of(Sample, samples)
    assert list(table) == samples
    assert [table[at] for at in range(-5, 5)] == samples * 2
    for some in (slice(1, 4), slice(4, 1), slice(None, None, -1), slice(-3, None, 2), slice(5, 9)):
        assert list(table[some]) == samples[some]
    assert len(table) == 5


def test_a_place_beyond_the_end_is_none(samples):
    with pytest.raises(IndexError):
        Table.of(Sample, samples)[5]


def test_a_record_has_the_types_of_its_fields(samples):
    made = Table.of(Sample, samples)[1]
    assert [type(value) for _, value in made] == [type(value) for _, value in samples[1]]
    assert type(made.loglikelihoods[0]) is float


def test_a_field_that_was_left_at_its_default_is_still_so(samples):
    samples.append(sample(5))
    table = Table.of(Sample, samples)
    assert [one.model_fields_set for one in table] == [one.model_fields_set for one in samples]


@pytest.mark.parametrize(
    "places", [np.array([4, 0, 1]), np.array([], dtype=np.intp), np.arange(5) % 2 == 0]
)
def test_some_records_are_taken_in_the_order_that_is_asked(samples, places):
    taken = list(Table.of(Sample, samples).take(places))
    assert taken == [samples[at] for at in np.arange(5)[places]]


def test_tables_one_after_the_other_are_one(samples):
    parts = [Table.of(Sample, part) for part in (samples[:2], [], samples[2:])]
    assert Table.joined(Sample, parts) == Table.of(Sample, samples)
    assert list(Table.joined(Sample, [])) == []


def test_a_score_is_written_as_if_it_held_a_tuple(samples):
    text = score(samples).model_dump_json()
    written = f"[{','.join(one.model_dump_json() for one in samples)}]"
    assert text.endswith(f'"samples":{written}}}')
    assert Score.model_validate_json(text) == score(samples)
    assert score(samples).model_dump()["samples"] == tuple(one.model_dump() for one in samples)


def test_a_sample_that_is_none_is_refused():
    with pytest.raises(ValidationError, match=r"samples\.1"):
        score([sample(0), {"id": "first"}])


def test_a_number_too_large_for_a_column_is_refused():
    with pytest.raises(ValidationError, match="a whole number is too large"):
        score([sample(2**70)])


def test_scores_of_other_samples_are_others(samples):
    assert score(samples) == score(tuple(samples))
    assert hash(score(samples).samples) == hash(score(tuple(samples)).samples)
    assert score(samples) != score(samples[:4])
    assert score(samples) != score([*samples[:4], sample(4, loglikelihoods=(4.0, 5.0, 7.0))])


def test_samples_put_into_a_copy_become_a_table(samples):
    copied = score(samples).model_copy(update={"samples": tuple(samples[:2])})
    assert copied.samples == Table.of(Sample, samples[:2])


def test_a_record_is_found_by_its_id(samples):
    table = Table.of(Sample, [samples[3], samples[0], samples[4]])
    by_id = ById(table)
    assert by_id[4] == samples[4]
    assert by_id.get(1) is None
    assert (list(by_id), len(by_id)) == ([3, 0, 4], 3)
    assert by_id.get(9) is None
    assert ById(Table.of(Document, ())).get(0) is None


def test_rows_of_one_length_are_a_matrix():
    assert Rows.of([(1.0, 2.0), (3.0, 4.0)]).matrix().tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert Rows.of([(), ()]).matrix().shape == (2, 0)
    assert Rows.of([]).matrix().shape == (0, 0)
    with pytest.raises(ValueError, match="different lengths"):
        Rows.of(RAGGED).matrix()
