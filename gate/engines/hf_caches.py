"""A transformers model that goes on from a cache of what was run before, which rows can share."""

import logging
import sys
from collections.abc import Sequence
from copy import copy
from inspect import signature
from typing import Any, NamedTuple

from gate.engines.interface import shared_length

_log = logging.getLogger(__name__)

_LEAST_SHARED = 8  # fewer leading tokens are cheaper to run again


class Prefix(NamedTuple):
    """Leading tokens that were run: how many, and the attention cache after them."""

    length: int
    cache: Any


NOTHING = Prefix(0, None)
"""The prefix of rows that share none."""


class CachedModel:
    """A transformers model, and what is known of the cache that it keeps.

    Attributes:
        unshared: why rows cannot share a cache; None where they can.
        window: tokens from which on a layer no longer attends to all that came before.
        steady: tokens up to which a token's position does not depend on how many come after it.
        takes_positions: whether each token's position can be told.
        run_tokens: tokens whose arithmetic takes as long as a run takes whatever its size.
    """

    def __init__(self, model: Any, *, token: int) -> None:
        """Find out about a model's cache by running one token."""
        import torch

        parameters = signature(model.forward).parameters
        self._model = model
        self._is_told = False
        self._keeps_logits = "logits_to_keep" in parameters
        self.takes_positions = "position_ids" in parameters
        # weights are read once a run: the quotient of arithmetic and memory, as measured
        self.run_tokens = 32 if model.device.type == "cpu" else 512
        self.steady = _steady_length(model.config.get_text_config())
        self.unshared: str | None = "it has not been run"
        output = self.run(torch.tensor([[token]]), None, count=1, keep=True)
        cache = getattr(output, "past_key_values", None)
        self.unshared = _why_unshared(cache)
        self.window = sys.maxsize if self.unshared else _window(cache, model.config)

    @property
    def device(self) -> Any:
        """Where the model is."""
        return self._model.device

    def tell_of_length(self) -> None:
        """Log, once, that texts are longer than the model's positions are steady."""
        if not self._is_told:
            _log.warning(
                "what is longer than %s tokens is run whole and alone: there the model's "
                "positions depend on how long a text is",
                self.steady,
            )
        self._is_told = True

    def run(
        self, ids: Any, cache: Any, *, count: int, keep: bool | None = None, **known: Any
    ) -> Any:
        """The model's output for ids [lines, tokens] that go on from a cache.

        Args:
            ids: token ids; where lines are padded on the right, nothing that is read sees it.
            cache: what was run before, which grows; None for nothing.
            count: how many of the last logits of each line are read; there may be more.
            keep: whether the output has a cache; None for where it can be shared.
            known: the model's other arguments.
        """
        import torch

        width = ids.shape[1]
        # indices, as a count slices: a frozen head then multiplies its weights once for each line
        last = torch.arange(width - count, width, device=self._model.device)
        more = {"logits_to_keep": last} if self._keeps_logits else {}
        with torch.inference_mode():
            return self._model(
                input_ids=ids.to(self._model.device),
                past_key_values=cache,
                use_cache=self.unshared is None if keep is None else keep,
                **more,
                **known,
            )

    def run_opening(self, lines: Sequence[tuple[int, ...]], limit: int) -> Prefix:
        """What all lines begin with, `limit` tokens at most, where it is worth a run."""
        import torch

        if self.unshared or not lines[1:]:
            return NOTHING
        length = shared_length(lines, limit)
        if length < _LEAST_SHARED:
            return NOTHING
        ids = torch.tensor([lines[0][:length]])
        return Prefix(length, self.run(ids, None, count=1).past_key_values)


def branch(prefix: Prefix, lines: Sequence[int], length: int | None = None) -> Any:
    """A cache whose every line goes on from a line of a prefix; the prefix stays as it is.

    Args:
        prefix: what was run.
        lines: for each line of the new cache, the line of the prefix.
        length: leading tokens to go on from; None for all. A layer with a sliding window that is
            shorter than the prefix has forgotten the others.
    """
    import torch

    if prefix.cache is None:
        return None
    result = copy(prefix.cache)
    result.layers = [copy(layer) for layer in prefix.cache.layers]
    for layer in result.layers:
        if layer.get_seq_length() == 0:
            continue
        chosen = torch.tensor(lines, device=layer.keys.device)
        for name in ("keys", "values"):
            states = getattr(layer, name)
            if length is not None and length < prefix.length:
                states = states[:, :, :length]
            if states.shape[0] == 1:
                # not copied: the first update joins the new states to it in another tensor
                states = states.expand(len(lines), -1, -1, -1)
            else:
                states = states.index_select(0, chosen)
            setattr(layer, name, states)
        if layer.is_sliding and length is not None:
            layer.cumulative_length = min(length, layer.cumulative_length)
    return result


def pad(lines: Sequence[Sequence[int]], filling: int) -> Any:
    """Token ids [lines, longest], padded on the right."""
    import torch

    ids = torch.full((len(lines), max(map(len, lines))), filling)
    for padded, line in zip(ids, lines, strict=True):
        padded[: len(line)] = torch.tensor(line)
    return ids


def _why_unshared(cache: Any) -> str | None:
    """Why a cache is more than keys and values of each token; None where it is not."""
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

    if cache is None:
        return "it gives no cache"
    if type(cache) is not DynamicCache:
        return f"its cache is a {type(cache).__name__}"
    others = {
        type(layer).__name__
        for layer in cache.layers
        if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer)
    }
    return f"its cache has a {min(others)}" if others else None


def _window(cache: Any, config: Any) -> int:
    # GPT-Neo's layers with a window keep everything, and say so in its config alone
    own = getattr(config, "window_size", None) or sys.maxsize
    return min((layer.sliding_window for layer in cache.layers if layer.is_sliding), default=own)


def _steady_length(config: Any) -> int:
    """Beyond it rotary embeddings of these types turn all tokens of a text differently."""
    settings = getattr(config, "rope_parameters", None) or {}
    kinds = [settings, *(one for one in settings.values() if isinstance(one, dict))]
    limits = [
        one.get("original_max_position_embeddings") or config.max_position_embeddings
        for one in kinds
        if one.get("rope_type") in ("dynamic", "longrope")
    ]
    return min(limits, default=sys.maxsize)
