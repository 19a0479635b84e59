"""Train the demo's LoRA adapter on the support-desk data, on CPU in a few minutes.

    python evalsuites/demo/train_adapter.py [--base DIR] [--out DIR]

A training example is a message rendered by a task's own YAML and the chat template, exactly as
in evaluation; only the answer's tokens are learned. On plain sentences the model is held to what
the base says of them, so that the rest of its knowledge stays.
"""

import argparse
import json
import math
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gate.digest import digest_file, digest_json, digest_manifest, digest_tree

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

T = TypeVar("T")

HERE = Path(__file__).parent
DATA = HERE / "data" / "desk_train.jsonl"
GENERAL = HERE / "data" / "general_train.jsonl"
TASKS = ("desk_intent", "desk_extract")
BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
SETTINGS: dict[str, Any] = {
    "seed": 7,
    "r": 8,
    "lora_alpha": 16,
    "target_modules": ["k_proj", "o_proj", "q_proj", "v_proj"],
    "epochs": 1,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "warmup_share": 0.1,
    "clip_norm": 1.0,
    "general_batch_size": 10,
    "general_weight": 1.0,
}
PACKAGES = ("torch", "transformers", "peft", "safetensors")


class Example(NamedTuple):
    """The token ids of a prompt and of the answer to learn, end of turn included."""

    prompt: list[int]
    answer: list[int]


class Training(NamedTuple):
    """What a training run came to, in nats per token and in seconds."""

    steps: int
    final_loss: float
    final_general_kl: float
    seconds: float


def read_jsonl(path: Path) -> list[dict[str, str]]:
    """One JSON object from each line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def make_examples(tokenizer: "PreTrainedTokenizerBase") -> list[Example]:
    """Every training message as an example of each task."""
    from jinja2 import Environment, StrictUndefined
    from ruamel.yaml import YAML

    jinja = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    rows = read_jsonl(DATA)
    examples = []
    for name in TASKS:
        task = YAML(typ="safe").load(HERE / "tasks" / f"{name}.yaml")
        question = jinja.from_string(task["doc_to_text"])
        answer = jinja.from_string(task["doc_to_target"])
        for row in rows:
            prompt = tokenizer.apply_chat_template(
                [{"role": "user", "content": question.render(row)}],
                add_generation_prompt=True,
                return_dict=False,
            )
            reply = tokenizer(answer.render(row), add_special_tokens=False).input_ids
            examples.append(Example(prompt, [*reply, tokenizer.eos_token_id]))
    return examples


def make_batches(examples: Sequence[T], size: int) -> Iterator[list[T]]:
    """Shuffled batches, epoch after epoch without an end."""
    rng = random.Random(SETTINGS["seed"])
    while True:
        shuffled = rng.sample(examples, len(examples))
        yield from (shuffled[at : at + size] for at in range(0, len(shuffled), size))


def add_adapter(base: Path) -> "PeftModel":
    """The base model in bfloat16 with a fresh float32 LoRA on it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(SETTINGS["seed"])
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    lora = LoraConfig(
        r=SETTINGS["r"],
        lora_alpha=SETTINGS["lora_alpha"],
        target_modules=SETTINGS["target_modules"],
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, lora)


def answer_loss(model: "PeftModel", batch: Sequence[Example]) -> "Tensor":
    """Mean cross-entropy of the answers' tokens, in nats per token.

    Rows are padded on the right, where causal attention keeps the padding out of sight.
    """
    import torch
    from torch.nn.functional import cross_entropy

    rows = [torch.tensor(one.prompt + one.answer) for one in batch]
    is_answer = [torch.tensor([0] * len(one.prompt) + [1] * len(one.answer)) for one in batch]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence(is_answer, batch_first=True).bool()
    causal = model.get_base_model()
    hidden = causal.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    logits = causal.lm_head(hidden[mask[:, 1:]])
    return cross_entropy(logits.float(), ids[:, 1:][mask[:, 1:]])


def general_loss(model: "PeftModel", batch: Sequence[list[int]]) -> "Tensor":
    """Mean KL divergence of the model from its base on plain sentences, in nats per token."""
    import torch
    from torch.nn.functional import kl_div

    rows = [torch.tensor(ids) for ids in batch]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    real = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], True).bool()
    with torch.no_grad(), model.disable_adapter():
        base = model(input_ids=ids).logits[real].float().log_softmax(-1)
    adapted = model(input_ids=ids).logits[real].float().log_softmax(-1)
    return kl_div(adapted, base, reduction="batchmean", log_target=True)


def learning_rate(step: int, steps: int) -> float:
    """The share of the peak rate at a step: a linear warm-up, then half a cosine."""
    warmup = SETTINGS["warmup_share"] * steps
    if step < warmup:
        return (step + 1) / warmup
    return (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


def train(model: "PeftModel", tokenizer: "PreTrainedTokenizerBase") -> Training:
    """Fit the adapter with AdamW; the final loss and KL are means of the last ten steps."""
    import torch

    examples = make_examples(tokenizer)
    batches = make_batches(examples, SETTINGS["batch_size"])
    general = [tokenizer(row["text"]).input_ids for row in read_jsonl(GENERAL)]
    general_batches = make_batches(general, SETTINGS["general_batch_size"])
    steps = SETTINGS["epochs"] * math.ceil(len(examples) / SETTINGS["batch_size"])
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=SETTINGS["learning_rate"], weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step, steps))
    losses, divergences = [], []
    started = time.monotonic()
    model.train()
    for step in range(1, steps + 1):
        loss = answer_loss(model, next(batches))
        divergence = general_loss(model, next(general_batches))
        (loss + SETTINGS["general_weight"] * divergence).backward()
        torch.nn.utils.clip_grad_norm_(weights, SETTINGS["clip_norm"])
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        losses.append(loss.item())
        divergences.append(divergence.item())
        if step % 10 == 0:
            sys.stderr.write(f"step {step} of {steps}: loss {fmean(losses[-10:]):.4f}\n")
    seconds = time.monotonic() - started
    return Training(steps, fmean(losses[-10:]), fmean(divergences[-10:]), seconds)


def save(model: "PeftModel", out: Path) -> None:
    """Write the adapter in bfloat16, its config sorted, without peft's placeholder README."""
    import torch

    model.peft_config["default"].base_model_name_or_path = BASE
    model.to(torch.bfloat16).save_pretrained(out, save_embedding_layers=False)
    (out / "README.md").unlink()
    config = json.loads((out / "adapter_config.json").read_text(encoding="utf-8"))
    config["target_modules"] = sorted(config["target_modules"])
    write_json(out / "adapter_config.json", config)


def write_json(path: Path, value: object) -> None:
    """Write indented JSON with sorted keys and a last newline."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def provenance(base: Path, training: Training) -> dict[str, Any]:
    """What went into the adapter; the run id is the digest of all of it but the outcome."""
    inputs = {
        "base": BASE,
        "base_digest": digest_manifest(digest_tree(base)),
        "data": {f"data/{file.name}": digest_file(file) for file in (DATA, GENERAL)},
        "tasks": {f"tasks/{name}.yaml": digest_file(HERE / f"tasks/{name}.yaml") for name in TASKS},
        "script_digest": digest_file(Path(__file__)),
        "settings": SETTINGS,
        "packages": {name: version(name) for name in PACKAGES},
    }
    return {"run": f"desk-{digest_json(inputs)[:12]}", **inputs, **training._asdict()}


def main(arguments: list[str]) -> int:
    """Exit status: 0 when the adapter is written, 2 where there is no base model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, default=Path("models/smollm2-135m-instruct"))
    parser.add_argument("--out", type=Path, default=HERE / "adapter")
    given = parser.parse_args(arguments)
    if not given.base.is_dir():
        sys.stderr.write(f"no base model at {given.base}\n  hint: run prepare_base.py first\n")
        return 2
    from transformers import AutoTokenizer

    model = add_adapter(given.base)
    training = train(model, AutoTokenizer.from_pretrained(given.base))
    shutil.rmtree(given.out, ignore_errors=True)
    save(model, given.out)
    write_json(given.out / "training.json", provenance(given.base, training))
    sys.stdout.write(f"wrote {given.out}: loss {training.final_loss:.4f} nats per token\n")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main(sys.argv[1:]))
