import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from gate.checkpoints import (
    check_code,
    check_weights,
    copy_sidecars,
    has_tokenizer,
    measure,
    read_headers,
    read_json,
    weight_files,
)
from gate.errors import SourceError

# peft calls what transformers has renamed
pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)


def small_weights(file: Path, **tensors):
    save_file(
        tensors or {"a.weight": np.zeros((2, 3), "float32"), "a.bias": np.zeros(3, "float16")}, file
    )
    return file


def sharded(directory: Path) -> Path:
    small_weights(directory / "model-00001-of-00002.safetensors", a=np.zeros(4, "float32"))
    small_weights(directory / "model-00002-of-00002.safetensors", b=np.zeros(2, "float32"))
    index = {
        "weight_map": {
            "a": "model-00001-of-00002.safetensors",
            "b": "model-00002-of-00002.safetensors",
        }
    }
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return directory


def test_headers_say_names_types_shapes_and_bytes(tmp_path):
    small_weights(tmp_path / "model.safetensors")
    weight = read_headers(tmp_path)["a.weight"]
    assert (weight.dtype, weight.shape, weight.size_bytes) == ("F32", (2, 3), 24)


def test_a_tensor_starts_where_its_header_says(tmp_path):
    file = small_weights(tmp_path / "model.safetensors", a=np.array([1.5, 2.5], "float32"))
    header = read_headers(tmp_path)["a"]
    data = file.read_bytes()[header.start : header.start + header.size_bytes]
    assert np.frombuffer(data, "float32").tolist() == [1.5, 2.5]


def test_totals_count_numbers_and_bytes(tmp_path):
    small_weights(tmp_path / "model.safetensors")
    assert measure(read_headers(tmp_path)) == (9, 30)


def test_a_scalar_is_one_number(tmp_path):
    small_weights(tmp_path / "model.safetensors", scale=np.array(1.0, "float32"))
    assert measure(read_headers(tmp_path)) == (1, 4)


def test_shards_are_read_by_their_index(tmp_path):
    sharded(tmp_path)
    assert sorted(read_headers(tmp_path)) == ["a", "b"]
    assert [file.name for file in weight_files(tmp_path)] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]


def test_an_adapter_directory_is_read_too(adapter):
    assert any("lora_A" in name for name in read_headers(adapter))


def test_a_file_shorter_than_its_header_promises_is_refused(tmp_path):
    file = small_weights(tmp_path / "model.safetensors")
    whole = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(SourceError, match="truncated: its header promises") as caught:
        read_headers(tmp_path)
    assert f"{whole} bytes, the file has {whole - 1}" in caught.value.problem


def test_a_file_cut_inside_its_header_is_refused(tmp_path):
    file = small_weights(tmp_path / "model.safetensors")
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(SourceError, match="truncated: its header should end at byte") as caught:
        read_headers(tmp_path)
    assert "the file at byte 20" in caught.value.problem


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(SourceError, match="truncated"):
        read_headers(tmp_path)


def test_a_file_longer_than_its_header_promises_is_refused(tmp_path):
    file = small_weights(tmp_path / "model.safetensors")
    file.write_bytes(file.read_bytes() + b"more")
    with pytest.raises(SourceError, match="damaged: its header promises"):
        read_headers(tmp_path)


def test_a_header_that_is_not_json_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes((4).to_bytes(8, "little") + b"oops")
    with pytest.raises(SourceError, match="not a safetensors file"):
        read_headers(tmp_path)


def test_a_header_entry_without_offsets_is_refused(tmp_path):
    text = b'{"a":{"dtype":"F32","shape":[1]}}'
    (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(SourceError, match="its header is damaged at a"):
        read_headers(tmp_path)


def test_a_git_lfs_pointer_is_named_as_one(tmp_path):
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(SourceError, match="a Git LFS pointer, not the weights") as caught:
        read_headers(tmp_path)
    assert caught.value.hint == "run git lfs pull there"


def test_an_index_that_names_a_missing_shard_is_refused(tmp_path):
    (sharded(tmp_path) / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(
        SourceError, match=re.escape("names model-00002-of-00002.safetensors, which is missing")
    ):
        read_headers(tmp_path)


def test_an_index_that_names_a_missing_tensor_is_refused(tmp_path):
    index = sharded(tmp_path) / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    weight_map["c"] = "model-00002-of-00002.safetensors"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(
        SourceError, match=re.escape("model-00002-of-00002.safetensors does not hold c")
    ):
        read_headers(tmp_path)


def test_an_index_without_a_weight_map_is_refused(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(SourceError, match="has no weight_map"):
        read_headers(tmp_path)


def test_a_directory_without_weights_is_refused(tmp_path):
    with pytest.raises(
        SourceError, match=re.escape("no weights: neither model.safetensors nor adapter")
    ):
        read_headers(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "adapter_model.bin"])
def test_pickled_weights_are_refused_by_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(SourceError, match="its weights are pickled") as caught:
        check_weights(tmp_path, allow_pickle=False)
    assert f"({name}): a pickle can run any code" in caught.value.problem
    assert "allow_pickle: true" in caught.value.hint


def test_pickled_weights_pass_where_allowed(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    check_weights(tmp_path, allow_pickle=True)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own_is_refused_and_quoted(tmp_path, name):
    (tmp_path / name).write_text('{"auto_map": {"AutoConfig": "odd.OddConfig"}}')
    with pytest.raises(SourceError, match="wants to run code of its own") as caught:
        check_code(tmp_path, trust_remote_code=False)
    assert f'{name}: auto_map: {{"AutoConfig": "odd.OddConfig"}}' in caught.value.problem
    assert caught.value.hint == "read that code, then set trust_remote_code: true"


def test_code_of_its_own_passes_where_trusted(tmp_path):
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoConfig": "odd.OddConfig"}}')
    check_code(tmp_path, trust_remote_code=True)


@pytest.mark.parametrize("text", ["{", "\x00"])
def test_json_that_cannot_be_read_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(SourceError, match="cannot be read as JSON"):
        read_json(tmp_path / "config.json")


def test_json_that_is_no_object_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(SourceError, match="not a JSON object"):
        read_json(tmp_path / "config.json")


def test_sidecars_are_copied_byte_for_byte_and_weights_are_not(base, tmp_path):
    copy_sidecars(base, tmp_path)
    copied = sorted(file.name for file in tmp_path.iterdir())
    assert copied == [
        "chat_template.jinja",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert all((tmp_path / name).read_bytes() == (base / name).read_bytes() for name in copied)


def test_sidecars_take_the_tokenizer_from_another_directory(base, tmp_path):
    other, out = tmp_path / "other", tmp_path / "out"
    other.mkdir()
    out.mkdir()
    (other / "tokenizer.json").write_text("other")
    copy_sidecars(base, out, tokenizer=other)
    assert (out / "tokenizer.json").read_text() == "other"
    assert not (out / "chat_template.jinja").exists()
    assert (out / "generation_config.json").exists()


def test_named_chat_templates_are_sidecars(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    (source / "additional_chat_templates").mkdir(parents=True)
    out.mkdir()
    (source / "additional_chat_templates" / "rag.jinja").write_text("hello")
    copy_sidecars(source, out)
    assert (out / "additional_chat_templates" / "rag.jinja").read_text() == "hello"


def test_a_bare_adapter_has_no_tokenizer(base, adapter):
    assert has_tokenizer(base)
    assert not has_tokenizer(adapter)
