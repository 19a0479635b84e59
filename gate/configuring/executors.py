"""Where stages run, as gate.yaml says it."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gate.terms import Noun


class Executor(Noun):
    """Where stages run: on this machine, or on the nodes of a Ray cluster.

    Attributes:
        name: local or ray.
        address: of the cluster: auto for the one that this machine belongs to, or HOST:PORT.
        shards: the most workers that the documents of one evaluation are shared out among.
        cpus: cores for each stage, and threads for its engine: the same for all variants.
        gpus: {variant: GPUs for its stages}; one for a variant that is not named, where there are
            any.
    """

    name: Literal["local", "ray"] = "local"
    address: str = "auto"
    shards: int = Field(default=1, ge=1)
    cpus: int = Field(default=1, ge=1)
    gpus: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_of_a_cluster(self) -> "Executor":
        if self.name == "local" and self.model_fields_set - {"name"}:
            raise ValueError("only ray takes address, shards, cpus and gpus; here is 'workers'")
        return self
