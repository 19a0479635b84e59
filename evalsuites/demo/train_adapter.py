"""Train the demo's LoRA adapter on the support-desk data, on CPU in a few minutes.

    python evalsuites/demo/train_adapter.py [--base DIR] [--out DIR]

A training example is a message rendered by a task's own YAML and the chat template, exactly as
in evaluation; only the answer's tokens are learned.
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
from typing import TYPE_CHECKING, Any, NamedTuple

from gate.digest import digest_file, digest_json, digest_manifest, digest_tree

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

HERE = Path(__file__).parent
DATA = HERE / "data" / "desk_train.jsonl"
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
}
PACKAGES = ("torch", "transformers", "peft", "safetensors")


class Example(NamedTuple):
    """The token ids of a prompt and of the answer to learn, end of turn included."""

    prompt: list[int]
    answer: list[int]


class Training(NamedTuple):
    """What a training run came to."""

    steps: int
    final_loss: float
    seconds: float


def make_examples(tokenizer: "PreTrainedTokenizerBase") -> list[Example]:
    """Every training message as an example of each task."""
    from jinja2 import Environment, StrictUndefined
    from ruamel.yaml import YAML

    jinja = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    rows = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
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


def make_batches(examples: list[Example]) -> Iterator[list[Example]]:
    """Shuffled batches, epoch after epoch."""
    rng = random.Random(SETTINGS["seed"])
    size = SETTINGS["batch_size"]
    for _ in range(SETTINGS["epochs"]):
        rng.shuffle(examples)
        yield from (examples[at : at + size] for at in range(0, len(examples), size))


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


def learning_rate(step: int, steps: int) -> float:
    """The share of the peak rate at a step: a linear warm-up, then half a cosine."""
    warmup = SETTINGS["warmup_share"] * steps
    if step < warmup:
        return (step + 1) / warmup
    return (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


def train(model: "PeftModel", examples: list[Example]) -> Training:
    """Fit the adapter with AdamW; the final loss is the mean of the last ten steps."""
    import torch

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=SETTINGS["learning_rate"], weight_decay=0.0)
    steps = SETTINGS["epochs"] * math.ceil(len(examples) / SETTINGS["batch_size"])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step, steps))
    losses = []
    started = time.monotonic()
    model.train()
    for batch in make_batches(examples):
        loss = answer_loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, SETTINGS["clip_norm"])
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        losses.append(loss.item())
        if len(losses) % 10 == 0:
            sys.stderr.write(f"step {len(losses)} of {steps}: loss {sum(losses[-10:]) / 10:.4f}\n")
    return Training(steps, sum(losses[-10:]) / 10, time.monotonic() - started)


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
        "data": {f"data/{DATA.name}": digest_file(DATA)},
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
    training = train(model, make_examples(AutoTokenizer.from_pretrained(given.base)))
    shutil.rmtree(given.out, ignore_errors=True)
    save(model, given.out)
    write_json(given.out / "training.json", provenance(given.base, training))
    sys.stdout.write(f"wrote {given.out}: loss {training.final_loss:.4f} nats per token\n")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main(sys.argv[1:]))
