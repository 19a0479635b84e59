"""A model that is already deployed, asked over HTTP at any OpenAI-compatible completions server."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gate.digest import digest_json
from gate.endpoints.connections import Connection
from gate.endpoints.journal import Journaled
from gate.endpoints.served_engines import ServedEngine
from gate.endpoints.servers import describe
from gate.endpoints.vocabularies import LocalVocabulary, read_checkpoint
from gate.errors import ConfigError, StageError
from gate.terms import LocalAdapter

if TYPE_CHECKING:
    from gate.engines.language_models import GateLM

READS = ("checkpoint", "gguf", "compressed-tensors", "bitsandbytes", "torchao")
"""What may be deployed: the local directory gives the tokenizer and the chat template."""

PACKAGES = ("transformers", "tokenizers", "jinja2", "llama-cpp-python", "lm-eval")
"""Distributions whose versions can change the prompts; the server's own is asked of it."""

CODE = (
    "endpoints/completion_answers.py",
    "endpoints/completions.py",
    "endpoints/connections.py",
    "endpoints/journal.py",
    "endpoints/likeness.py",
    "endpoints/served_engines.py",
    "endpoints/servers.py",
    "engines/tokenized.py",
    "endpoints/vocabularies.py",
)
"""Files of the gate that decide what is asked, and how the answers are read."""

IS_LIVE = True
"""What is behind a URL has no content id: its stages are run anew each time."""


@contextmanager
def open_model(
    weights: Path,
    adapters: Sequence[LocalAdapter],
    *,
    url: str,
    model: str,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    concurrency: int = 8,
    timeout_seconds: int = 600,
    retry_seconds: int = 120,
    api_key_variable: str | None = None,
    journal: Path | None = None,
) -> Iterator["GateLM"]:
    """A deployed model, asked with the prompts of the local directory it was deployed from.

    Args:
        weights: what is supposed to be deployed: a checkpoint, or a directory with one .gguf file.
        adapters: adapters that the server puts on it, where `model` is their name there.
        url: the server's address.
        model: the model's name on the server.
        trust_remote_code: run Python files that the checkpoint's tokenizer brings.
        allow_pickle: not used: no weights are read.
        concurrency: requests under way at once; 1 for a vLLM with LoRA on a CPU, whose kernels
            break on two prompts to score at once.
        timeout_seconds: the longest wait for one answer.
        retry_seconds: how long to go on asking where the server cannot be reached or is too busy.
        api_key_variable: the environment variable that holds the key, if the server wants one.
        journal: a directory that outlives this run, to keep answers in; None to keep none.

    Raises:
        ConfigError: the URL is not one, the key is not set, or the server has no such model.
        StageError: the server cannot be asked, or its tokenizer or chat template is another.
    """
    from gate.engines.language_models import GateLM

    key = None if api_key_variable is None else _read_key(api_key_variable)
    connection = Connection(
        url,
        key=key,
        timeout_seconds=timeout_seconds,
        retry_seconds=retry_seconds,
        concurrency=concurrency,
    )
    try:
        with _open_local(weights, adapters, trust_remote_code=trust_remote_code) as local:
            served = describe(connection, model)
            engine = ServedEngine(connection, served, local, concurrency=concurrency)
            file = digest_json({"url": connection.url, "model": model}) + ".jsonl"
            kept = None if journal is None else Path(journal) / file
            yield GateLM(Journaled(engine, kept, engine.identify))
    finally:
        connection.close()


def _read_key(variable: str) -> str:
    key = os.environ.get(variable)
    if key:
        return key
    raise ConfigError(
        f"endpoint.api_key_variable: the environment has no {variable}",
        hint="it names the variable that holds the key; the key itself is never written down",
    )


@contextmanager
def _open_local(
    weights: Path, adapters: Sequence[LocalAdapter], *, trust_remote_code: bool
) -> Iterator[LocalVocabulary]:
    """The vocabulary of a local model; no weights are loaded.

    Raises:
        StageError: there is none, or it cannot be read.
    """
    files = sorted(weights.glob("*.gguf"))
    if not files:
        yield read_checkpoint(weights, adapters, trust_remote_code=trust_remote_code)
        return
    if len(files) != 1:
        raise StageError(f"{weights} holds {len(files)} .gguf files, not one")
    from gate.backends.llamacpp import LlamaEngine
    from gate.engines.llama_models import LlamaModel

    model = LlamaModel(files[0], max_sequences=1, threads=1, vocabulary_only=True)
    try:
        engine = LlamaEngine(model)
        yield LocalVocabulary(engine, model.is_end, model.max_length)
    finally:
        model.close()
