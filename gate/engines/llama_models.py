"""A GGUF file in llama.cpp, through its C interface: text to token ids to logits."""

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from gate.engines.interface import patient_threads
from gate.engines.llama_batches import Token
from gate.errors import StageError

_CELLS = 256  # llama.cpp rounds a context's size up to this
_LOG_LEVEL_ERROR = 4  # GGML_LOG_LEVEL_ERROR in ggml.h


class LlamaModel:
    """A loaded GGUF file, with one context that is emptied and grown as batches need.

    Attributes:
        name: the file's name.
        max_length: tokens that the model was made to attend to.
        max_sequences: sequences in one batch, at most.
        begin_id: the begin token; negative where there is none.
        end_id: the end token; negative where there is none.
        can_share: whether a token may belong to several sequences.
    """

    def __init__(
        self,
        file: Path,
        *,
        max_sequences: int,
        threads: int,
        watch: Callable[[int, bool, object], bool] | None = None,
        vocabulary_only: bool = False,
    ) -> None:
        """Load the file.

        Args:
            file: a GGUF file.
            max_sequences: sequences in one batch, at most.
            threads: threads to compute with.
            watch: hears of every tensor that is computed, by its address: before, whether it is
                of interest (True), and if so after it is there (False).
            vocabulary_only: leave the weights out: nothing can be run, only text be encoded.

        Raises:
            StageError: llama.cpp is not installed, or cannot load the file.
        """
        self._llama = llama = _import_llama()
        # kept, because llama.cpp calls it as long as it lives; its errors go into messages
        self._errors: list[str] = []
        self._on_log = llama.llama_log_callback(self._hear)
        llama.llama_log_set(self._on_log, ctypes.c_void_p(0))
        llama.llama_backend_init()
        settings = llama.llama_model_default_params()
        settings.vocab_only = vocabulary_only
        self._model = llama.llama_model_load_from_file(str(file).encode(), settings)
        if not self._model:
            raise StageError(f"{file}: llama.cpp cannot load it: {self._reason()}")
        self._vocabulary = llama.llama_model_get_vocab(self._model)
        self._size = llama.llama_vocab_n_tokens(self._vocabulary)
        self._threads = threads
        # kept, because llama.cpp calls it as long as the context lives
        self._watch = llama.ggml_backend_sched_eval_callback(watch) if watch else None
        self._context: Any = None
        self._cells = 0
        self.name = file.name
        self.max_length: int = (
            self._declared_length()
            if vocabulary_only
            else llama.llama_model_n_ctx_train(self._model)
        )
        self.max_sequences: int = min(max_sequences, llama.llama_max_parallel_sequences())
        self.begin_id: int = llama.llama_vocab_bos(self._vocabulary)
        self.end_id: int = llama.llama_vocab_eos(self._vocabulary)
        self.can_share = not (
            llama.llama_model_is_recurrent(self._model) or llama.llama_model_is_hybrid(self._model)
        )

    def close(self) -> None:
        """Give the memory back; nothing else may be called after it."""
        if self._context:
            self._llama.llama_free(self._context)
        self._llama.llama_model_free(self._model)
        self._context = self._model = None

    @property
    def chat_template(self) -> str | None:
        """The chat template that the file brings."""
        template = self._llama.llama_model_chat_template(self._model, None)
        return None if template is None else template.decode()

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The ids of a text in the file's own vocabulary."""
        data = text.encode()
        ids = (ctypes.c_int32 * (len(data) + 8))()
        count = self._llama.llama_tokenize(
            self._vocabulary, data, len(data), ids, len(ids), add_special_tokens, True
        )
        return list(ids[:count])

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """The text of ids in the file's own vocabulary."""
        tokens = (ctypes.c_int32 * len(ids))(*ids)
        size = 32 * len(ids) + 32
        while True:
            text = ctypes.create_string_buffer(size)
            length = self._llama.llama_detokenize(
                self._vocabulary, tokens, len(ids), text, size, False, not skip_special_tokens
            )
            if length >= 0:
                return text.raw[:length].decode(errors="replace")
            size = -length

    def is_end(self, token: int) -> bool:
        """Whether a token ends an answer."""
        return bool(self._llama.llama_vocab_is_eog(self._vocabulary, token))

    @cached_property
    def end_ids(self) -> tuple[int, ...]:
        """All tokens that end an answer."""
        return tuple(filter(self.is_end, range(self._size)))

    def open_context(self, cells: int) -> None:
        """Make room for so many tokens, and forget those that were run.

        Raises:
            StageError: there is no memory for them.
        """
        llama = self._llama
        if cells > self._cells:
            if self._context:
                llama.llama_free(self._context)
            self._cells = -(-cells // _CELLS) * _CELLS
            settings = llama.llama_context_default_params()
            settings.n_ctx = settings.n_batch = self._cells
            settings.n_seq_max = self.max_sequences
            settings.kv_unified = True
            settings.n_threads = settings.n_threads_batch = self._threads
            if self._watch:
                settings.cb_eval = self._watch
            self._context = llama.llama_init_from_model(self._model, settings)
            if not self._context:
                raise StageError(f"{self.name}: no room for {cells} tokens: {self._reason()}")
        llama.llama_memory_clear(llama.llama_get_memory(self._context), False)

    def forget(self, start: int, *, sequence: int = -1) -> None:
        """Free the places of the tokens from a position on, of one sequence or of all (-1).

        A token that belongs to other sequences too stays theirs.
        """
        memory = self._llama.llama_get_memory(self._context)
        self._llama.llama_memory_seq_rm(memory, sequence, start, -1)

    def run(self, tokens: Sequence[Token]) -> Any:
        """The logits of the tokens that are read, one line each, as wide as the vocabulary.

        Raises:
            StageError: llama.cpp cannot run them, or the logits are not finite.
        """
        import numpy as np

        llama = self._llama
        batch = llama.llama_batch_init(len(tokens), 0, self.max_sequences)
        try:
            batch.n_tokens = len(tokens)
            for place, token in enumerate(tokens):
                batch.token[place] = token.id
                batch.pos[place] = token.position
                batch.n_seq_id[place] = len(token.sequences)
                for index, sequence in enumerate(token.sequences):
                    batch.seq_id[place][index] = sequence
                batch.logits[place] = token.is_read
            if llama.llama_decode(self._context, batch):
                raise StageError(f"{self.name}: llama.cpp cannot run it: {self._reason()}")
            read = [place for place, token in enumerate(tokens) if token.is_read]
            lines = [llama.llama_get_logits_ith(self._context, place) for place in read]
            logits = np.empty((len(read), self._size), np.float32)
            for place, line in enumerate(lines):
                logits[place] = np.ctypeslib.as_array(line, (self._size,))
        finally:
            llama.llama_batch_free(batch)
        if not np.isfinite(logits.max(axis=1)).all():
            raise StageError(
                f"{self.name}: its logits are not finite",
                hint="the weights hold NaN or infinity, or overflow in this type",
            )
        return logits

    def _declared_length(self) -> int:
        """The context length that the file declares; llama.cpp reads it with the weights only."""
        architecture = self._read_metadata("general.architecture")
        return int(self._read_metadata(f"{architecture}.context_length") or sys.maxsize)

    def _read_metadata(self, key: str) -> str:
        """A value of the file's metadata as text; empty where it has none."""
        text = ctypes.create_string_buffer(64)
        self._llama.llama_model_meta_val_str(self._model, key.encode(), text, len(text))
        return text.value.decode()

    def _hear(self, level: int, text: bytes, _: object) -> None:
        if level == _LOG_LEVEL_ERROR:
            self._errors.append(text.decode(errors="replace").strip())

    def _reason(self) -> str:
        return self._errors[0] if self._errors else "it gives no reason"


def _import_llama() -> Any:
    try:
        with patient_threads():
            import llama_cpp
    except ImportError as error:
        raise StageError(
            "llamacpp needs llama-cpp-python", hint="pip install 'mergegate[gguf]'"
        ) from error
    return llama_cpp
