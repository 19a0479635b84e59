"""Train two LoRA adapters, one for each desk task, on CPU in some ten minutes.

    python evalsuites/demo/two_adapters/train.py [--base DIR] [--steps N]

Each learns one task alone, by the loss of `train_adapter.py`: what it is for, the answers; what
it must not forget, the base model's own words.
"""

import argparse
import itertools
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from train_adapter import (  # noqa: E402  (a script of the folder above)
    GENERAL,
    SETTINGS,
    TASKS,
    add_adapter,
    answer_loss,
    general_loss,
    learning_rate,
    make_batches,
    make_examples,
    read_jsonl,
    save,
)


def train(base: Path, task: str, steps: int) -> float:
    """Fit one adapter to one task and write it; the mean loss of the last ten steps, in nats."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    examples = make_examples(tokenizer)
    share = len(examples) // len(TASKS)
    own = examples[TASKS.index(task) * share :][:share]
    general = [tokenizer(row["text"]).input_ids for row in read_jsonl(GENERAL)]
    model = add_adapter(base)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=SETTINGS["learning_rate"], weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step, steps))
    batches = zip(
        make_batches(own, SETTINGS["batch_size"]),
        make_batches(general, SETTINGS["general_batch_size"]),
        strict=False,
    )
    losses = []
    model.train()
    for step, (batch, sentences) in enumerate(itertools.islice(batches, steps), start=1):
        loss = answer_loss(model, batch)
        (loss + SETTINGS["general_weight"] * general_loss(model, sentences)).backward()
        torch.nn.utils.clip_grad_norm_(weights, SETTINGS["clip_norm"])
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        losses.append(loss.item())
        if step % 10 == 0:
            sys.stderr.write(f"{task} {step} of {steps}: {sum(losses[-10:]) / 10:.4f}\n")
    out = HERE / task.removeprefix("desk_")
    shutil.rmtree(out, ignore_errors=True)
    save(model, out)
    return sum(losses[-10:]) / 10


def main(arguments: list[str]) -> int:
    """Exit status: 0 when both adapters are written, 2 where there is no base model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, default=Path("models/smollm2-135m-instruct"))
    parser.add_argument("--steps", type=int, default=100)
    given = parser.parse_args(arguments)
    if not given.base.is_dir():
        sys.stderr.write(f"no base model at {given.base}\n  hint: run prepare_base.py first\n")
        return 2
    for task in TASKS:
        loss = train(given.base, task, given.steps)
        sys.stdout.write(f"wrote {task}: loss {loss:.4f} nats per token\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
