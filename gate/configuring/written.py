"""gate.yaml as people write it."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from gate.configuring.executors import Executor
from gate.configuring.written_suite import Written
from gate.declared_serving import DeclaredServing
from gate.terms import Use, read_use

DEFAULT_TIMEOUT_MINUTES = 240.0
"""The longest that a stage may take unless gate.yaml says otherwise."""


class WrittenAdapter(Written):
    """An adapter with a weight, as written under `candidate.adapters`."""

    source: str
    weight: float = 1.0


class WrittenCandidate(Written):
    """The `candidate` of gate.yaml."""

    base: str
    adapters: dict[str, str | WrittenAdapter] = Field(min_length=1)
    training_run: str | None = None


class WrittenVariant(Written):
    """One entry of `variants`."""

    adapters: list[str] | None = None
    merge: Use | None = None
    quantize: Use | None = None
    backend: Use | None = None

    _use = field_validator("merge", "quantize", "backend", mode="before")(
        lambda value: None if value is None else read_use(value)
    )


class WrittenServing(Written):
    """The `serving` of gate.yaml."""

    variants: int | None = Field(default=None, ge=1)
    requests_per_second: float | None = Field(default=None, gt=0)
    still_iterating: bool = False
    further_training: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> "WrittenServing":
        if not self.model_fields_set:
            known = ", ".join(type(self).model_fields)
            raise ValueError(f"says nothing; leave it out, or give one of {known}")
        return self

    def declared(self) -> DeclaredServing:
        """The noun of it."""
        return DeclaredServing(**self.model_dump())


class WrittenGate(Written):
    """A gate.yaml as people write it."""

    release: str
    candidate: WrittenCandidate
    variants: dict[str, WrittenVariant | None] = Field(min_length=1)
    backend: Use = Use(name="hf")
    ship: list[str] | None = None
    suite: str
    serving: WrittenServing | None = None
    first_release: str | None = None
    allow_pickle: bool = False
    trust_remote_code: bool = False
    interpreters: dict[str, str] = Field(default_factory=dict)
    timeout_minutes: float = Field(default=DEFAULT_TIMEOUT_MINUTES, gt=0)
    executor: Executor = Executor()
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    memory_gib: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)

    _use = field_validator("backend", mode="before")(read_use)
