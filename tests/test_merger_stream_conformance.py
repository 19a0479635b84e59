"""The streamed merge against peft's in float64: architectures times kinds of adapter."""

import json
import warnings
from functools import cache

import pytest
import torch
from conformance import ARCHITECTURES, KINDS, Case, suiting
from conformance_models import build_adapter, build_base
from conformance_oracle import expect, load, logits, read_tensors

from gate.digest import digest_tree
from gate.mergers.stream import merge
from gate.terms import LocalAdapter

EMBEDDINGS = [kind for kind in KINDS if any(w in kind for w in ("embed", "head", "both", "token"))]
BIASES = ["bias-all", "bias-lora-only", "lora-bias"]
EXPERTS = [kind for kind in KINDS if "experts" in kind or kind.endswith("v4")]
FLOATS = ("float32", "bfloat16", "float16")

KINDS_ON = {
    "llama": KINDS,
    "llama-tied": KINDS,
    "llama-tied-twice": [*EMBEDDINGS, "resized", "resized-saved"],
    "llama-biases": [*BIASES, "dora", "save-linear"],
    "qwen2": [*BIASES, "rslora", "patterns", "tokens", "lora-head"],
    "gemma3": ["dora", "lora-embeddings", "tokens", "resized"],
    "phi3": ["dora", "rslora-dora", "patterns", "excluded", "save-head"],
    "gpt2": KINDS,
    "gpt2-bare": [*EMBEDDINGS, "bias-all", "lora-bias", "dora", "resized", "one-layer"],
    "gpt-neox": [*EMBEDDINGS, *BIASES, "dora", "resized", "patterns"],
    "opt": [*BIASES, "dora", "tokens", "save-head", "resized-saved"],
    "opt-bare": ["save-head", "lora-both", "tokens", "bias-all", "lora-bias", "resized"],
    "mixtral": [*EXPERTS, "dora", "patterns", "save-router", "resized"],
    "qwen3-moe": [*EXPERTS, "rslora", "save-router", "lora-head"],
    "gpt-oss": [*EXPERTS, "dora", "bias-all", "lora-bias"],
}
KINDS_IN_16_BITS = {
    "llama-tied": ["save-both", "lora-embeddings", "tokens", "resized"],
    "gpt2": ["bias-all", "lora-bias", "rslora-dora", "save-head"],
    "mixtral": ["experts", "experts-v4"],
    "qwen3-moe": ["experts"],
}
KINDS_IN_SHARDS = {
    "llama-tied": ["plain", "save-both", "lora-head", "tokens", "resized"],
    "gpt-neox": ["plain", "save-both", "resized"],
    "opt-bare": ["plain", "lora-head"],
    "mixtral": ["plain", "experts", "experts-v4", "save-experts"],
    "gpt-oss": ["experts"],
}

CASES = list(
    dict.fromkeys(
        [
            *(
                Case(architecture, kind)
                for kind in ("plain", "all-linear")
                for architecture in ARCHITECTURES
            ),
            *suiting(KINDS_ON),
            *(
                Case("llama", kind, dtype, adapter_dtype)
                for kind in ("plain", "dora")
                for dtype in FLOATS
                for adapter_dtype in FLOATS
            ),
            *suiting(KINDS_IN_16_BITS, dtype="bfloat16"),
            *suiting(KINDS_IN_16_BITS, dtype="float16", adapter_dtype="bfloat16"),
            *suiting(KINDS_IN_SHARDS, is_sharded=True),
        ]
    )
)
every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_float32_case = pytest.mark.parametrize(
    "case", [case for case in CASES if case.dtype == case.adapter_dtype == "float32"], ids=str
)


def quietly(make):
    """Call transformers and peft without their warnings, which the merger must not give."""

    def made(*arguments, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make(*arguments, **options)

    return made


class Workshop:
    """What the cases need, each thing made once and only read afterwards."""

    def __init__(self, root):
        self.root = root
        self.base = cache(quietly(self.base))
        self.adapter = cache(quietly(self.adapter))
        self.expected = cache(quietly(self.expected))
        self.merged = cache(self.merged)
        self.answers = cache(quietly(self.answers))

    def base_of(self, case):
        return self.base(Case(case.architecture, dtype=case.dtype, is_sharded=case.is_sharded))

    def base(self, stored):
        return build_base(stored, self.root / f"base-{stored}")

    def adapter(self, case):
        return build_adapter(case, self.base_of(case), self.root / f"adapter-{case}")

    def expected(self, case):
        return expect(case, self.base_of(case), self.adapter(case), self.root / f"oracle-{case}")

    def merged(self, case):
        return self.merge(case, self.root / f"merged-{case}")

    def answers(self, case):
        model, loaded = load(self.merged(case), output_loading_info=True)
        return loaded, logits(model)

    def merge(self, case, out):
        merge(self.base_of(case), [LocalAdapter(name="a", path=self.adapter(case))], out)
        return out


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    return Workshop(tmp_path_factory.mktemp("conformance"))


FLOAT32_ROUNDING = 3e-7
"""What summing in float32 may do, as a share of a tensor's largest element."""


def furthest(found, exact):
    """How much further from the exact sum any element is than its best rounding."""
    error = (found.double() - exact).abs()
    least = (exact.to(found.dtype).double() - exact).abs()
    return float((error - least).max() / exact.abs().max())


@every_float32_case
def test_the_oracle_answers_as_the_adapter_on_its_base(workshop, case):
    expected = workshop.expected(case)
    torch.testing.assert_close(expected.merged, expected.adapted, rtol=1e-9, atol=1e-9)


@every_case
def test_every_changed_tensor_is_the_exact_sum_rounded_once(workshop, case):
    found, expected = read_tensors(workshop.merged(case)), workshop.expected(case).tensors
    before = read_tensors(workshop.base_of(case))
    changed = [name for name in expected if not is_untouched(before, name, expected[name])]
    assert changed
    for name in changed:
        assert found[name].shape == expected[name].shape, name
        assert furthest(found[name], expected[name]) < FLOAT32_ROUNDING, name


def is_untouched(before, name, exact):
    return name in before and torch.equal(before[name].double(), exact.double())


@every_case
def test_what_the_adapter_does_not_touch_is_the_bases_bit_for_bit(workshop, case):
    found, expected = read_tensors(workshop.merged(case)), workshop.expected(case).tensors
    before = read_tensors(workshop.base_of(case))
    untouched = [name for name in expected if is_untouched(before, name, expected[name])]
    assert untouched
    for name in untouched:
        assert found[name].dtype == before[name].dtype, name
        assert torch.equal(found[name], before[name]), name


@every_case
def test_the_tensors_are_the_bases_and_what_the_adapter_adds(workshop, case):
    found = read_tensors(workshop.merged(case))
    before = read_tensors(workshop.base_of(case))
    assert found.keys() == workshop.expected(case).tensors.keys()
    assert {name: found[name].dtype for name in before} == {
        name: tensor.dtype for name, tensor in before.items()
    }
    assert {found[name].dtype for name in found.keys() - before.keys()} <= {
        getattr(torch, case.dtype)
    }


@every_case
def test_every_tensor_stays_in_its_shard(workshop, case):
    base, out = workshop.base_of(case), workshop.merged(case)
    assert shards(base).items() <= shards(out).items()
    if case.is_sharded:
        index = json.loads((out / "model.safetensors.index.json").read_text())
        assert index["weight_map"] == shards(out)
        assert index["metadata"]["total_size"] == sum(
            tensor.nbytes for tensor in read_tensors(out).values()
        )


def shards(checkpoint):
    from safetensors import safe_open

    found = {}
    for file in checkpoint.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            found |= dict.fromkeys(opened.keys(), file.name)
    return found


@every_case
def test_the_files_are_the_bases_and_nothing_of_the_adapters(workshop, case):
    base, out = digest_tree(workshop.base_of(case)), digest_tree(workshop.merged(case))
    may_change = {name for name in base if "model" in name} | {"config.json"}
    assert out.keys() == base.keys()
    assert all(out[name] == base[name] for name in base.keys() - may_change)


@every_case
def test_the_config_is_the_bases_but_for_what_the_adapter_demands(workshop, case):
    before, after = (
        json.loads((checkpoint / "config.json").read_text())
        for checkpoint in (workshop.base_of(case), workshop.merged(case))
    )
    assert after == before | workshop.expected(case).config


@every_case
def test_transformers_finds_every_tensor_and_none_too_many(workshop, case):
    loaded, _ = workshop.answers(case)
    assert not loaded["missing_keys"]
    assert not loaded["unexpected_keys"]
    assert not loaded["mismatched_keys"]


@every_float32_case
def test_the_merged_model_answers_as_the_adapter_on_its_base(workshop, case):
    (_, found), wanted = workshop.answers(case), workshop.expected(case).adapted
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-5 * float(wanted.abs().max()))


@every_case
def test_merging_twice_gives_the_same_bytes(workshop, case, tmp_path):
    again = workshop.merge(case, tmp_path / "again")
    assert digest_tree(again) == digest_tree(workshop.merged(case))
