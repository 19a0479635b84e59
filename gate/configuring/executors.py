"""Where stages run, as gate.yaml says it."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

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
        storage: the URL of a storage that all nodes reach, where they share no folder.
    """

    name: Literal["local", "ray"] = "local"
    address: str = "auto"
    shards: int = Field(default=1, ge=1)
    cpus: int = Field(default=1, ge=1)
    gpus: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    storage: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("storage")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is None:
            return value
        parts = urlsplit(value)
        if not parts.scheme or "://" not in value or "::" in value:
            raise ValueError("give a URL such as s3://bucket/prefix or file:///shared/folder")
        if parts.password:
            raise ValueError("a password does not belong in gate.yaml: nodes use their own keys")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _is_of_a_cluster(self) -> "Executor":
        if self.name == "local" and self.model_fields_set - {"name"}:
            raise ValueError(
                "only ray takes address, shards, cpus, gpus and storage; here is 'workers'"
            )
        return self
