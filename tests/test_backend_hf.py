"""The transformers backend on pico models, held against lm-eval's own HFLM and plain arithmetic."""

import json
import shutil

import pytest
import torch
from builders import opened, pico_adapter, pico_base, pico_tokenizer
from lm_eval.api.instance import Instance
from safetensors.torch import load_file, save_file

from gate.backends.hf import can_put_on, open_model, put_on
from gate.engines.interface import PromptRow, ScoreRow
from gate.engines.language_models import GateLM
from gate.errors import ConfigError, StageError
from gate.terms import LocalAdapter

pytestmark = pytest.mark.filterwarnings(
    # transformers 5.23 asks itself for a name that it deprecates
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",
    # HFLM, the oracle, is built on names that transformers deprecates
    "ignore::DeprecationWarning:lm_eval",
)

PAIRS = [
    ("the order is", " late"),
    ("the order is", " lost and broken"),
    ("the order is", " shipped"),
    ("the order is", " l"),
    ("capital of Paris question answer red blue green yes no", " Rome"),
    ("capital of Paris question answer red blue green yes no", " Berlin number color"),
    ("capital of Paris question answer red blue green no", " yes"),
    ("", "refund my parcel please"),
    ("trailing space ", "refund"),
    ("<s>name", " color"),
]
PROMPTS = ["the order is", "capital of", "please cancel my parcel where is it", "no"]


def pairs(texts=PAIRS):
    return [
        Instance("loglikelihood", {}, text, 0, ("task", place, 1))
        for place, text in enumerate(texts)
    ]


def prompts(texts=PROMPTS, **settings):
    settings = {"until": ["\n", "zz"], "max_gen_toks": 12} | settings
    return [
        Instance("generate_until", {}, (text, dict(settings)), 0, ("task", place, 1))
        for place, text in enumerate(texts)
    ]


def hflm(path):
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(path), dtype="float32", batch_size=1, device="cpu")


def scores(lm, requests):
    return [score for score, _ in lm.loglikelihood(requests)]


def logits(engine, text="the order is"):
    """The likelihoods of some next tokens, as a stand-in for the logits."""
    ids = tuple(engine.encode(text, add_special_tokens=True))
    targets = tuple((token,) for token in range(40, 60))
    (row,) = engine.score([ScoreRow(ids, targets)])
    return torch.tensor([likelihood.loglikelihood for likelihood in row])


def local(path, weight=1.0, name="intents"):
    return LocalAdapter(name=name, path=path, weight=weight)


def copy(source, target):
    shutil.copytree(source, target)
    return target


def deeper(base, out):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig.from_pretrained(base, num_hidden_layers=3)
    LlamaForCausalLM(config).save_pretrained(out)
    pico_tokenizer().save_pretrained(out)
    return out


def edit_tensors(path, change):
    tensors = load_file(path)
    save_file(change(tensors), path, metadata={"format": "pt"})


def test_likelihoods_are_those_of_lm_evals_own_model(base):
    expected = hflm(base).loglikelihood(pairs())

    with opened(open_model(base, [])) as engine:
        found = GateLM(engine).loglikelihood(pairs())

    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert [score for score, _ in found] == pytest.approx(
        [score for score, _ in expected], abs=1e-4
    )


def test_texts_are_scored_as_by_lm_evals_own_model(base):
    texts = [("the order is late",), ("capital of Rome",)]
    requests = [
        Instance("loglikelihood_rolling", {}, text, 0, ("task", place, 1))
        for place, text in enumerate(texts)
    ]
    expected = hflm(base).loglikelihood_rolling(requests)

    with opened(open_model(base, [])) as engine:
        assert GateLM(engine).loglikelihood_rolling(requests) == pytest.approx(expected, abs=1e-4)


def test_texts_are_written_as_by_lm_evals_own_model(base):
    expected = hflm(base).generate_until(prompts())

    with opened(open_model(base, [])) as engine:
        assert GateLM(engine).generate_until(prompts()) == expected
    assert any(expected)


def test_writing_stops_at_a_stop_string_that_spans_tokens(base):
    with opened(open_model(base, [])) as engine:
        (whole,) = GateLM(engine).generate_until(prompts(["the order"], until=["\x00"]))
        stop = whole[2:5]
        (cut,) = GateLM(engine).generate_until(prompts(["the order"], until=[stop]))
        ids = tuple(engine.encode("the order", add_special_tokens=True))
        (written,) = engine.generate([PromptRow(ids, (stop,), 12)])

    assert cut == whole.partition(stop)[0]
    assert len(written) < 12


def test_adapters_put_on_a_base_that_was_asked_give_the_bits_of_one_opened_with_them(
    base, adapter, tmp_path
):
    own = copy(adapter, tmp_path / "adapter")
    tokenizer = pico_tokenizer()
    tokenizer.eos_token = "</s>" if tokenizer.eos_token != "</s>" else "<s>"  # another end
    tokenizer.save_pretrained(own)
    with open_model(base, [local(own)]) as lm:
        expected = scores(lm, pairs()), lm.generate_until(prompts())

    with open_model(base, []) as lm:
        plain = scores(lm, pairs())
        lm.generate_until(prompts())
        assert can_put_on(base)
        adapted = put_on(lm, base, [local(own)])
        found = scores(adapted, pairs()), adapted.generate_until(prompts())

    assert found == expected
    assert found[0] != plain


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_batch_size_does_not_change_answers(base, batch_size):
    with opened(open_model(base, [], batch_size=5)) as engine:
        expected = GateLM(engine)
        expected_scores, expected_texts = (
            scores(expected, pairs()),
            expected.generate_until(prompts()),
        )

    with opened(open_model(base, [], batch_size=batch_size)) as engine:
        lm = GateLM(engine)
        assert scores(lm, pairs()) == pytest.approx(expected_scores, abs=1e-4)
        assert lm.generate_until(prompts()) == expected_texts


def test_a_shared_prefix_gives_what_the_whole_sequence_gives(base):
    context = "capital of Paris question answer red blue green yes no"
    texts = [(context, end) for end in (" Rome", " Berlin number", " red blue color", " urgent my")]

    with opened(open_model(base, [])) as engine:
        alone = [score for text in texts for score in scores(GateLM(engine), pairs([text]))]
        together = scores(GateLM(engine), pairs(texts))

    assert together == pytest.approx(alone, abs=1e-4)


def test_a_sliding_window_model_shares_prefixes_too(tmp_path):
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    tokenizer = pico_tokenizer()
    config = MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=6,
        initializer_range=0.3,
        max_position_embeddings=256,
        dtype="float32",
    )
    MistralForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)

    with opened(open_model(tmp_path, [])) as engine:
        alone = [score for text in PAIRS for score in scores(GateLM(engine), pairs([text]))]
        together = scores(GateLM(engine), pairs())

    assert together == pytest.approx(alone, abs=1e-4)


def test_chat_is_rendered_by_the_tokenizers_template(base):
    messages = [{"role": "user", "content": "<script>hello"}]

    with opened(open_model(base, [])) as engine:
        asked = engine.render_chat(messages, add_generation_prompt=True)
        begun = engine.render_chat(
            [*messages, {"role": "assistant", "content": "Yes"}], add_generation_prompt=False
        )

    assert asked == "<|user|><script>hello</s><|assistant|>"
    assert begun == "<|user|><script>hello</s><|assistant|>Yes"


def test_a_tokenizer_without_a_chat_template_cannot_chat(base, tmp_path):
    plain = copy(base, tmp_path / "plain")
    (plain / "chat_template.jinja").unlink()

    with (
        opened(open_model(plain, [])) as engine,
        pytest.raises(StageError, match="plain: the tokenizer has no chat template"),
    ):
        engine.render_chat([{"role": "user", "content": "hi"}], add_generation_prompt=True)


def test_a_chat_template_that_refuses_says_so(base, tmp_path):
    strict = copy(base, tmp_path / "strict")
    (strict / "chat_template.jinja").write_text("{{ raise_exception('no system role') }}")

    with (
        opened(open_model(strict, [])) as engine,
        pytest.raises(StageError, match="strict: the chat template fails: no system role"),
    ):
        engine.render_chat([{"role": "system", "content": "hi"}], add_generation_prompt=True)


def test_an_adapter_gives_what_its_merged_weights_give(base, adapter, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
    merged.merge_and_unload().save_pretrained(tmp_path)
    pico_tokenizer().save_pretrained(tmp_path)

    with opened(open_model(tmp_path, [])) as engine:
        expected = scores(GateLM(engine), pairs())
    with opened(open_model(base, [local(adapter)])) as engine:
        found = scores(GateLM(engine), pairs())
    with opened(open_model(base, [])) as engine:
        plain = scores(GateLM(engine), pairs())

    assert found == pytest.approx(expected, abs=1e-3)
    assert found != pytest.approx(plain, abs=1e-2)


def test_several_adapters_act_as_the_weighted_sum_of_their_deltas(base, adapter, tmp_path):
    other = pico_adapter(base, tmp_path / "other", seed=7, r=2, use_rslora=True)
    merged = copy(base, tmp_path / "merged")
    deltas = {}
    for path, scale in ((adapter, 0.5 * 2), (other, 2.0 * 4 / 2**0.5)):
        tensors = load_file(path / "adapter_model.safetensors")
        for name in tensors:
            if "lora_A" in name:
                key = name.replace("base_model.model.", "").replace("lora_A.", "")
                delta = tensors[name.replace("lora_A", "lora_B")] @ tensors[name] * scale
                deltas[key] = deltas.get(key, 0) + delta
    edit_tensors(
        merged / "model.safetensors",
        lambda tensors: {key: value + deltas.get(key, 0) for key, value in tensors.items()},
    )

    with opened(open_model(merged, [])) as engine:
        expected = scores(GateLM(engine), pairs())
    both = [local(adapter, 0.5), local(other, 2.0, name="other")]
    with opened(open_model(base, both)) as engine:
        assert scores(GateLM(engine), pairs()) == pytest.approx(expected, abs=1e-3)


def test_adapters_that_are_not_deltas_are_not_combined(base, adapter, tmp_path):
    dora = pico_adapter(base, tmp_path / "dora", use_dora=True)

    with (
        pytest.raises(ConfigError, match="adapter style: use_dora cannot be weighted or combined"),
        open_model(base, [local(adapter), local(dora, name="style")]),
    ):
        pass


def test_an_adapter_that_is_not_a_delta_works_alone(base, tmp_path):
    dora = pico_adapter(base, tmp_path / "dora", use_dora=True)

    with opened(open_model(base, [local(dora)])) as engine:
        assert logits(engine).isfinite().all()


def test_an_adapter_that_changes_nothing_is_refused(base, tmp_path):
    idle = pico_adapter(base, tmp_path / "idle", strength=0.0)

    with (
        pytest.raises(
            StageError,
            match="adapter intents changes nothing: its outputs equal the base model's",
        ),
        open_model(base, [local(idle)]),
    ):
        pass


def test_an_idle_adapter_among_others_is_refused(base, adapter, tmp_path):
    idle = pico_adapter(base, tmp_path / "idle", strength=0.0)

    with (
        pytest.raises(StageError, match="adapter idle changes nothing"),
        open_model(base, [local(adapter), local(idle, name="idle")]),
    ):
        pass


def test_an_adapter_for_a_wider_base_is_refused_by_tensor(base, tmp_path):
    wide = pico_base(tmp_path / "wide", hidden_size=96)
    foreign = pico_adapter(wide, tmp_path / "foreign")

    with (
        pytest.raises(
            StageError, match=r"tensor \S+lora_\S+ of shape .*96.* does not fit"
        ) as caught,
        open_model(base, [local(foreign)]),
    ):
        pass
    assert caught.value.hint == "is the adapter made for another base model?"


def test_an_adapter_for_a_shallower_base_is_refused_by_tensor(base, adapter, tmp_path):
    deep = deeper(base, tmp_path / "deep")

    with (
        pytest.raises(StageError, match=r"tensor \S+layers\.2\.\S+ is missing from the adapter"),
        open_model(deep, [local(adapter)]),
    ):
        pass


def test_an_adapter_for_a_deeper_base_is_refused_by_tensor(base, tmp_path):
    deep = deeper(base, tmp_path / "deep")
    foreign = pico_adapter(deep, tmp_path / "foreign")

    with (
        pytest.raises(StageError, match=r"tensor \S+layers\.2\.\S+ has no place in the base model"),
        open_model(base, [local(foreign)]),
    ):
        pass


def test_an_adapter_whose_modules_match_nothing_is_refused(base, adapter, tmp_path):
    renamed = copy(adapter, tmp_path / "renamed")
    config = json.loads((renamed / "adapter_config.json").read_text())
    config["target_modules"] = ["query_key_value"]
    (renamed / "adapter_config.json").write_text(json.dumps(config))

    with (
        pytest.raises(StageError, match=r"adapter intents: Target modules .*query_key_value"),
        open_model(base, [local(renamed)]),
    ):
        pass


def test_an_adapter_in_a_pickle_is_refused(base, adapter, tmp_path):
    pickled = copy(adapter, tmp_path / "pickled")
    tensors = load_file(pickled / "adapter_model.safetensors")
    (pickled / "adapter_model.safetensors").unlink()
    torch.save(tensors, pickled / "adapter_model.bin")

    with (
        pytest.raises(StageError, match=r"pickled: no adapter_model\.safetensors"),
        open_model(base, [local(pickled)]),
    ):
        pass
    with opened(open_model(base, [local(pickled)], allow_pickle=True)) as engine:
        assert logits(engine).isfinite().all()


def test_prompt_learning_is_refused(base, tmp_path):
    from peft import PromptTuningConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(tmp_path)

    with (
        pytest.raises(StageError, match="adapter intents: prompt learning is not an adapter"),
        open_model(base, [local(tmp_path)]),
    ):
        pass


def test_the_adapters_own_tokenizer_is_used(base, adapter, tmp_path):
    own = copy(adapter, tmp_path / "own")
    tokenizer = pico_tokenizer()
    tokenizer.chat_template = "{{ messages[0]['content'] }}!"
    tokenizer.save_pretrained(own)

    with opened(open_model(base, [local(own)])) as engine:
        messages = [{"role": "user", "content": "hi"}]
        assert engine.render_chat(messages, add_generation_prompt=True) == "hi!"


def test_a_tokenizer_larger_than_the_embedding_is_refused(base, adapter, tmp_path):
    own = copy(adapter, tmp_path / "own")
    tokenizer = pico_tokenizer()
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(own)

    with (
        pytest.raises(
            StageError, match=r"own: the tokenizer has \d+ tokens, the model's embedding"
        ),
        open_model(base, [local(own)]),
    ):
        pass


def test_a_checkpoint_that_lacks_a_tensor_is_refused(base, tmp_path):
    partial = copy(base, tmp_path / "partial")
    name = "model.layers.1.mlp.up_proj.weight"
    edit_tensors(
        partial / "model.safetensors",
        lambda tensors: {key: value for key, value in tensors.items() if key != name},
    )

    with (
        pytest.raises(StageError, match=f"partial: the checkpoint does not hold {name}"),
        open_model(partial, []),
    ):
        pass


def test_a_checkpoint_without_a_tokenizer_is_refused(base, tmp_path):
    mute = copy(base, tmp_path / "mute")
    (mute / "tokenizer_config.json").unlink()

    with (
        pytest.raises(StageError, match=r"mute: no tokenizer_config\.json"),
        open_model(mute, []),
    ):
        pass


def test_a_checkpoint_that_is_none_is_refused(tmp_path):
    with (
        pytest.raises(StageError, match="transformers cannot load it"),
        open_model(tmp_path, []),
    ):
        pass


@pytest.mark.parametrize("work", ["score", "generate"])
def test_weights_that_are_not_numbers_are_an_error(base, tmp_path, work):
    broken = copy(base, tmp_path / "broken")
    edit_tensors(
        broken / "model.safetensors",
        lambda tensors: {key: value * float("nan") for key, value in tensors.items()},
    )

    with opened(open_model(broken, [])) as engine:
        lm = GateLM(engine)
        ask, problem = {
            "score": (lambda: lm.loglikelihood(pairs()), r"document \d+: a log-likelihood is nan"),
            "generate": (lambda: lm.generate_until(prompts()), "broken: its logits are not finite"),
        }[work]
        with pytest.raises(StageError, match=problem):
            ask()


def test_hostile_text_passes_through_untouched(base):
    hostile = "<script>alert('x')</script> \x00 {{ 7*7 }} é漢"

    with opened(open_model(base, [])) as engine:
        ids = engine.encode(hostile, add_special_tokens=False)
        assert engine.decode(ids, skip_special_tokens=True) == hostile


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_what_the_cpu_gives(base, adapter):
    with opened(open_model(base, [local(adapter)], device="cpu")) as engine:
        expected = scores(GateLM(engine), pairs())
    with opened(open_model(base, [local(adapter)], device="cuda")) as engine:
        assert scores(GateLM(engine), pairs()) == pytest.approx(expected, abs=1e-2)
