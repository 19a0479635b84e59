"""Evaluations that are read one after the other hold once what they have in common."""

from gate.evaluation_records import Document, Evaluation, Sample
from gate.running.sharing import Shared


def evaluation(*, value=1.0, prompt="2 + 2 ="):
    return Evaluation(
        task="sums",
        metric="acc",
        higher_is_better=True,
        is_binary=True,
        documents=(Document(id=3, hash="d" * 64, prompt=prompt, target="4"),),
        samples=(Sample(id=3, hash="d" * 64, value=value, answer="4", request_hash="r" * 64),),
    )


def read(shared, one):
    return shared.read(one.model_dump_json().encode())


def test_what_is_read_is_what_was_written():
    shared = Shared()
    for one in (evaluation(), evaluation(value=0.0)):
        found = read(shared, one)
        assert found == one
        assert found.model_dump_json() == one.model_dump_json()


def test_documents_and_hashes_of_two_variants_are_held_once():
    shared = Shared()
    one, other = read(shared, evaluation()), read(shared, evaluation(value=0.0))
    assert one.documents[0] is other.documents[0]
    assert one.samples[0].request_hash is other.samples[0].request_hash


def test_a_document_that_was_asked_otherwise_stays_another():
    shared = Shared()
    read(shared, evaluation())
    assert read(shared, evaluation(prompt="4 - 2 =")).documents[0].prompt == "4 - 2 ="


def test_a_changed_copy_of_a_sample_leaves_the_others_as_they_are():
    (sample,) = read(Shared(), evaluation()).samples
    changed = sample.model_copy(update={"value": 0.5})
    assert (sample.value, changed.value) == (1.0, 0.5)
    assert changed.model_dump() == sample.model_dump() | {"value": 0.5}
