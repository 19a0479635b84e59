"""Who takes part in the benchmark of merging: the command of each, what it reads and leaves."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from gate.errors import ConfigError

GATE = (sys.executable, "-c", "from gate.cli import main; main()")
PEFT = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base, adapter, out = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
merged = PeftModel.from_pretrained(model, adapter).merge_and_unload()
merged.save_pretrained(out, max_shard_size="1GB")
"""
MERGEKIT = """\
merge_method: passthrough
models:
  - model: {base}+{adapter}
dtype: bfloat16
"""
_TELL_VERSIONS = """
from importlib.metadata import version
names = "mergekit", "torch", "transformers", "peft"
print(*(f"{name} {version(name)}" for name in names), sep=", ")
"""


class Scene(NamedTuple):
    """The directories of a contest; nothing stays in `outputs`."""

    base: Path
    adapter: Path
    outputs: Path


class Tool(NamedTuple):
    """A contestant.

    Attributes:
        name: as the table shows it.
        command: what to run.
        reads: the directories that are in the page cache when it starts.
        merged: the checkpoint it writes; None for one that merges nothing.
        done_with: what can be removed after it.
    """

    name: str
    command: tuple[str, ...]
    reads: tuple[Path, ...]
    merged: Path | None = None
    done_with: tuple[Path, ...] = ()


def contestants(scene: Scene, mergekit: str | None) -> list[Tool]:
    """Who runs, in the order of a round; mergekit by the Python that has it, if any."""
    both = (scene.base, scene.adapter)
    base, adapter = map(str, both)
    copied, merged, by_peft = (scene.outputs / name for name in ("cp", "gate", "peft"))
    cp = ("cp", "-r", "--reflink=never") if sys.platform == "linux" else ("cp", "-r")
    copy = (*cp, base, str(copied))
    merge = (*GATE, "merge", base, adapter, "--out", str(merged))
    audit = (*GATE, "audit", base, adapter, str(merged))
    peft = (sys.executable, "-c", PEFT, base, adapter, str(by_peft))
    tools = [
        Tool("cp", copy, (scene.base,), done_with=(copied,)),
        Tool("gate merge", merge, both, merged),
        Tool("gate audit", audit, (*both, merged), done_with=(merged,)),
        Tool("peft", peft, both, by_peft, (by_peft,)),
    ]
    return [*tools, _mergekit(scene, mergekit)] if mergekit else tools


def mergekit_versions(python: str) -> str:
    """The versions that mergekit runs on, as its interpreter tells them.

    Raises:
        ConfigError: no interpreter, or one that has no mergekit.
    """
    command = [python, "-c", _TELL_VERSIONS]
    told = subprocess.run(command, capture_output=True, text=True) if shutil.which(python) else None
    if told is None or told.returncode:
        raise ConfigError(
            f"{python}: not a Python that has mergekit",
            hint="benchmarks/NOTES.md says how to make one",
        )
    return told.stdout.strip()


def _mergekit(scene: Scene, python: str) -> Tool:
    config = scene.base.with_name("mergekit.yaml")
    config.write_text(MERGEKIT.format(base=scene.base, adapter=scene.adapter), encoding="utf-8")
    merged, cache = scene.outputs / "mergekit", scene.outputs / "mergekit-cache"
    command = (
        *(python, "-m", "mergekit.scripts.run_yaml", str(config), str(merged)),
        *("--lora-merge-cache", str(cache), "--lora-merge-dtype", "bfloat16"),
        *("--out-shard-size", "1B", "--copy-tokenizer", "--no-write-model-card"),
    )
    both = (scene.base, scene.adapter)
    return Tool("mergekit", command, both, merged, (merged, cache))
