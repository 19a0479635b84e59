"""The model card: metadata that the Hub's library reads, and what a reader has to know."""

from datetime import UTC, datetime
from functools import cache

import pytest
from huggingface_hub import ModelCard
from records_builder import build_record

from gate.releasing.cards import model_card


@cache
def record():
    return build_record(documents=60, passing=True)


def card(change=lambda record: record, *, variant="q8_0", licence=None):
    return ModelCard(model_card(change(record()), variant, licence=licence))


def test_the_metadata_names_base_relation_and_licence():
    data = card(licence={"license": "apache-2.0"}).data
    assert data.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert data.base_model_relation == "quantized"
    assert data.license == "apache-2.0"
    assert {"mergegate", "merge", "quantized", "gguf"} <= set(data.tags)


def test_a_merge_is_called_one():
    def of_the_merge(record):
        verdict = record.verdicts[0].model_copy(update={"variant": "merged"})
        return record.model_copy(update={"verdicts": (verdict,), "ship": ("merged",)})

    data = card(of_the_merge, variant="merged").data
    assert data.base_model_relation == "merge"
    assert "quantized" not in data.tags


def test_each_score_is_read_back_with_its_interval():
    results = {one.dataset_name: one for one in card().data.eval_results}
    assert set(results) == {"arc_easy", "desk_intent", "desk_reply"}
    found = results["arc_easy"]
    assert found.metric_type == "acc_norm"
    assert found.metric_args["low"] < found.metric_value < found.metric_args["high"]
    assert found.metric_args["documents"] == 60
    assert found.metric_args["one_sided_confidence"] == 0.95


def test_a_base_from_a_folder_is_not_said_to_be_on_the_hub():
    def local(record):
        base = record.base.model_copy(update={"given": "models/base", "commit": None})
        return record.model_copy(update={"base": base})

    data = card(local).data
    assert data.base_model is None
    assert "base_model_relation" not in data.to_dict()


def test_notes_on_variants_that_it_does_not_come_from_are_left_out():
    def noted(record):
        notes = (
            "q8_0: two tensors are wider",
            "q4_k_m: not this one",
            "quantize q4_k_m: nor this",
            "merged: a cast",
            "arc_easy: 2 documents repeat another",
        )
        return record.model_copy(update={"warnings": notes})

    told = card(noted).content.partition("## Warnings")[2].partition("## ")[0]
    assert "two tensors are wider" in told
    assert "a cast" in told
    assert "2 documents repeat another" in told
    assert "not this one" not in told
    assert "nor this" not in told


def test_a_quantized_variant_tells_when_its_merge_was_made():
    def merged_earlier(record):
        made = {"made_at": datetime(2026, 11, 20, 7, 30, tzinfo=UTC), "seconds": 754}
        artifacts = (
            one.model_copy(update=made) if one.variant == "merged" else one
            for one in record.artifacts
        )
        return record.model_copy(update={"artifacts": tuple(artifacts)})

    assert "- merge: stream, made 2026-11-20 07:30 UTC in 12" in card(merged_earlier).content


def test_an_unknown_licence_is_left_out():
    assert card().data.license is None


def test_the_text_says_what_it_is_made_from_and_how():
    text = card().text
    assert "**Verdict: promote.** q8\\_0 may ship: " in text
    assert "commit 7e27bd9f95328f0f3b08261d1252705110c806f8" in text
    assert "its files are in mergegate/adapters/intents" in text
    assert "- training run: mlflow:/runs/4f1c" in text
    assert "- merge: stream, made 2026-11-22 14:55 UTC in " in text
    assert "\n- quantization: gguf(type=Q8\\_0)\n- made 2026-11-22 14:55 UTC" in text


def test_the_text_has_every_score_on_the_way_from_the_base():
    header = next(line for line in card().text.splitlines() if line.startswith("| Task | Metric"))
    assert header == (
        "| Task | Metric | base | adapter | merged | merged-llamacpp | q8\\_0 | "
        "Interval of q8\\_0 | Documents |"
    )


def test_the_text_says_how_to_verify():
    assert "$ gate verify . --key KEY.pub" in card().text


def test_names_cannot_break_out_of_the_card():
    def hostile(record):
        candidate = record.candidate.model_copy(update={"training_run": "<script>\n---\n# x"})
        return record.model_copy(update={"candidate": candidate})

    text = card(hostile).text
    assert "<script>" not in text
    assert "\n# x" not in text


def test_a_variant_without_files_has_no_card():
    with pytest.raises(ValueError, match="the run made no files of base"):
        card(variant="base")
