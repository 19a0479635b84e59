"""What the tests of the streamed merger arrange checkpoints, adapters and refusals with."""

import json
import re

import peft
import pytest
import torch
from builders import pico_base
from safetensors.torch import load_file, save_file

from gate.mergers.stream import merge
from gate.terms import LocalAdapter


def local(path, name="intents", **changes):
    return LocalAdapter(name=name, path=path, **changes)


def refused(base, adapters, out, error, words, **options):
    """The error of a merge that must fail in these words and leave no whole checkpoint."""
    adapters = adapters if isinstance(adapters, list) else [local(adapters)]
    with pytest.raises(error, match=re.escape(words)) as caught:
        merge(base, adapters, out, **options)
    assert not (out / "config.json").exists()
    return caught.value


def change_tensors(file, change):
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def change_config(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def tuned(base, out, config):
    """An adapter of any of peft's kinds, every number of it trained away from where it started."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(5)
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(out)
    return out


def pico_shards(out):
    """A pico base in several shards."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(pico_base(out / "whole"))
    model.save_pretrained(out / "shards", max_shard_size="100KB")
    return out / "shards"


def logits(checkpoint, adapter=None):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    model = peft.PeftModel.from_pretrained(model, adapter) if adapter else model
    with torch.no_grad():
        return model(torch.arange(6, 30)[None]).logits
