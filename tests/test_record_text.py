"""A record is written piece by piece, and to the byte as it is in one piece."""

import pytest
from records_builder import build_record

from gate.reporting import record_text
from gate.reporting.record_text import record_pieces


def written(record):
    return b"".join(record_pieces(record)).decode()


def with_text(record, text):
    """The record with a text in every place that is a user's."""
    document = (
        record.corpora[0].documents[0].model_copy(update={"prompt": text, "choices": (text,)})
    )
    corpus = record.corpora[0].model_copy(update={"documents": (document,)})
    return record.model_copy(
        update={"release": text, "warnings": (text,), "corpora": (corpus, *record.corpora[1:])}
    )


@pytest.mark.parametrize("block", [1, 7, 1_000])
def test_a_record_in_pieces_is_the_record(monkeypatch, block):
    monkeypatch.setattr(record_text, "_BLOCK", block)
    record = build_record(documents=20)
    assert written(record) == record.model_dump_json(indent=1)


def test_a_record_without_documents_and_scores_is_written_too():
    record = build_record(documents=20)
    without = [one.model_copy(update={"samples": ()}) for one in record.scores]
    for fields in (
        {"corpora": (), "scores": ()},
        {"scores": (*without, *record.scores)},
        {"corpora": tuple(c.model_copy(update={"documents": ()}) for c in record.corpora)},
    ):
        copied = record.model_copy(update=fields)
        assert written(copied) == copied.model_dump_json(indent=1)


@pytest.mark.parametrize(
    "text", ['\n   "samples": []', '\n "scores": [', '"documents": []', '\\n "released":', "é \x00"]
)
def test_a_text_that_looks_like_a_part_of_the_record_is_a_text(text):
    record = with_text(build_record(documents=20), text)
    assert written(record) == record.model_dump_json(indent=1)
