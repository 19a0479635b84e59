"""Evaluations that are read one after the other hold once what they have in common."""

import json

import pytest
from pydantic import ValidationError

from gate.evaluation_records import Document, Evaluation, Sample
from gate.running.sharing import Shared


def evaluation(*, value=1.0, prompt="2 + 2 =", documents=1):
    ids = range(3, 3 + documents)
    return Evaluation(
        task="sums",
        metric="acc",
        higher_is_better=True,
        is_binary=True,
        documents=[Document(id=i, hash=f"d{i}", prompt=prompt, target="4") for i in ids],
        samples=[
            Sample(id=i, hash=f"d{i}", value=value, answer=prompt, request_hash=f"r{i}")
            for i in ids
        ],
    )


@pytest.fixture
def read(tmp_path):
    def read(shared, one):
        file = tmp_path / "evaluation.json"
        file.write_text(one if isinstance(one, str) else one.model_dump_json(), encoding="utf-8")
        return shared.read(file)

    return read


def test_what_is_read_is_what_was_written(read):
    shared = Shared()
    for one in (evaluation(), evaluation(value=0.0), evaluation(documents=0)):
        found = read(shared, one)
        assert found == one
        assert found.model_dump_json() == one.model_dump_json()


def test_a_file_of_many_pieces_is_read_as_a_small_one_is(read):
    one = evaluation(prompt="2 + 2 = ?" * 1_000, documents=300)
    assert len(one.model_dump_json()) > 4 * 2**20
    assert read(Shared(), one) == one


@pytest.mark.parametrize(
    "text", ['},{"id":', '],"samples":[', ',"documents":[', "]}", '"statistics":[]}]}', "\\", '"']
)
def test_a_text_that_looks_like_the_file_itself_is_a_text(read, text):
    one = evaluation(prompt=text * 100_000, documents=5)
    assert read(Shared(), one) == one


def test_a_file_with_other_spaces_or_another_order_is_read_too(read):
    one = evaluation(documents=3)
    assert read(Shared(), one.model_dump_json(indent=1)) == one
    turned = dict(reversed(json.loads(one.model_dump_json()).items()))
    assert read(Shared(), json.dumps(turned, separators=(",", ":"))) == one


@pytest.mark.parametrize("end", [0, 10, 60, 140, -1, -2, -60])
def test_a_file_that_was_cut_off_is_none(read, end):
    with pytest.raises(ValidationError):
        read(Shared(), evaluation(documents=3).model_dump_json()[:end])


def test_documents_and_hashes_of_two_variants_are_held_once(read):
    shared = Shared()
    one, other = read(shared, evaluation()), read(shared, evaluation(value=0.0))
    assert one.documents.column("prompt") is other.documents.column("prompt")
    assert one.samples.column("request_hash") is other.samples.column("request_hash")
    assert one.samples.column("value") is not other.samples.column("value")


def test_hashes_of_other_numbers_of_documents_are_held_once(read):
    shared = Shared()
    one, other = read(shared, evaluation()), read(shared, evaluation(documents=2))
    assert one.samples[0].request_hash is other.samples[0].request_hash


def test_a_document_that_was_asked_otherwise_stays_another(read):
    shared = Shared()
    read(shared, evaluation())
    assert read(shared, evaluation(prompt="4 - 2 =")).documents[0].prompt == "4 - 2 ="


def test_a_zero_with_a_sign_keeps_it(read):
    shared = Shared()
    read(shared, evaluation(value=0.0))
    assert str(read(shared, evaluation(value=-0.0)).samples[0].value) == "-0.0"


def test_a_changed_copy_of_a_sample_leaves_the_others_as_they_are(read):
    (sample,) = read(Shared(), evaluation()).samples
    changed = sample.model_copy(update={"value": 0.5})
    assert (sample.value, changed.value) == (1.0, 0.5)
    assert changed.model_dump() == sample.model_dump() | {"value": 0.5}
