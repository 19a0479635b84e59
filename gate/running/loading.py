"""Variants opened in their backends, for the jobs of a worker."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gate import extensions
from gate.distributions.memory import check_room, free_bytes
from gate.jobs import Job, Served
from gate.terms import JsonValue, Use

if TYPE_CHECKING:
    from gate.engines.language_models import GateLM

_AT_ONCE = ("batch_size", "concurrency")
"""Parameters of a backend that say how many sequences it runs at once."""


class Loaded(NamedTuple):
    """A loaded variant, and the reference that is loaded beside it."""

    lm: "GateLM"
    reference: "GateLM | None" = None


@contextmanager
def loaded_for(job: Job, options: dict[str, JsonValue]) -> Iterator[Loaded]:
    """What a job runs on: its variant, and its reference where that is read beside it."""
    with ExitStack() as models:
        if isinstance(job.reference, Served):
            check_room((job.served, job.reference), available_bytes=free_bytes())
            reference = models.enter_context(opened(job.reference, options))
        else:
            reference = None
        lm = models.enter_context(opened(job.served, options, is_repeat=job.is_repeat))
        yield Loaded(lm, reference)


def with_adapters(base: "GateLM", served: Served, options: dict[str, JsonValue]) -> "GateLM":
    """A variant that is the base with adapters, which are put on the base that is loaded.

    Raises:
        GateError: they cannot be put on it.
    """
    put_on = extensions.find("backends", served.use.name).module.put_on
    accepted = inspect.signature(put_on).parameters
    known = options | served.use.params
    given = {name: value for name, value in known.items() if name in accepted}
    adapted: GateLM = put_on(base, Path(served.model), served.adapters, **given)
    return adapted


def opened(
    served: Served, options: dict[str, JsonValue], *, is_repeat: bool = False
) -> "AbstractContextManager[GateLM]":
    """A variant in its backend; for a repeat, in batches of another size."""
    open_model = extensions.find("backends", served.use.name).function
    given = keywords(open_model, served.use, options)
    for name, size in inspect.signature(open_model).parameters.items():
        if is_repeat and name in _AT_ONCE:
            usual = int(given.get(name, size.default))
            given[name] = usual // 2 if usual > 1 else 2
    lm: AbstractContextManager[GateLM] = open_model(Path(served.model), served.adapters, **given)
    return lm


def keywords(
    function: Callable[..., object], use: Use, options: dict[str, JsonValue]
) -> dict[str, JsonValue]:
    """The parameters of gate.yaml, with those of the gate's own that the function takes."""
    accepted = inspect.signature(function).parameters
    return {**{key: options[key] for key in options if key in accepted}, **use.params}
