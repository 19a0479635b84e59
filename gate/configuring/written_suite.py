"""A suite file as people write it, key by key."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from gate.terms import Check, Level, Use, read_use


class Written(BaseModel):
    """A part of a YAML file as people write it: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class WrittenTask(Written):
    """One entry of a suite's `tasks`."""

    name: str
    metric: str
    filter: str = "none"
    path: str | None = None
    num_fewshot: int | None = Field(default=None, ge=0)
    limit: int | None = Field(default=None, ge=1)
    seed: int = 1234
    chat: bool = False
    reference: str | None = Field(default=None, pattern=r"^adapter:[A-Za-z0-9][A-Za-z0-9._-]*$")
    cluster: str | None = Field(default=None, min_length=1)
    slice: str | None = Field(default=None, min_length=1)


class WrittenText(Written):
    """One entry of a suite's `texts`."""

    name: str
    path: str


class WrittenCalibration(Written):
    """One entry of a suite's `calibration`."""

    path: str


class WrittenSpeed(Written):
    """A suite's `speed`."""

    repeats: int = Field(default=3, ge=2)
    batch_size: int = Field(default=8, ge=2)
    prompt_tokens: int = Field(default=128, ge=8)
    new_tokens: int = Field(default=32, ge=2)


class WrittenReading(Written):
    """A suite's `distributions`."""

    top: int = Field(default=128, ge=1)
    vocabulary: Literal["top", "full"] = "top"
    worst: int = Field(default=20, ge=0)


class WrittenSequential(Written):
    """A suite's `sequential`, where it is not just true."""

    first: int = Field(default=50, ge=10)
    growth: float = Field(default=2.0, gt=1, le=10)


class WrittenCheck(Written):
    """One entry of a suite's `checks`; `margin: m` is short for `at_least: -m`."""

    of: str
    against: str
    compare: Use
    margin: float | None = None
    two_sided: bool = False
    at_least: float | None = None
    at_most: float | None = None
    tasks: tuple[str, ...] | None = None
    slice: str | None = Field(default=None, min_length=1)
    confidence: float = 0.95
    level: Level = "block"

    _use = field_validator("compare", mode="before")(read_use)

    @field_validator("tasks", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("margin")
    @classmethod
    def _margin_is_a_share(cls, value: float | None) -> float | None:
        if value is not None and not 0 < value < 1:
            raise ValueError(
                f"a margin is a share above 0 and below 1, not {value:g}; 0.02 means 2 points"
            )
        return value

    @field_validator("confidence")
    @classmethod
    def _confidence_is_possible(cls, value: float, _: ValidationInfo) -> float:
        if not 0.5 < value < 1:  # noqa: PLR2004 (a one-sided confidence of a half says nothing)
            raise ValueError(f"a one-sided confidence is above 0.5 and below 1, not {value:g}")
        return value

    @model_validator(mode="after")
    def _has_a_bound(self) -> "WrittenCheck":
        if self.margin is not None and (self.at_least is not None or self.at_most is not None):
            raise ValueError("give a margin, or at_least and at_most, not both")
        if self.two_sided and self.margin is None:
            raise ValueError("two_sided needs a margin")
        if self.margin is None and self.at_least is None and self.at_most is None:
            raise ValueError("needs a bound: margin, at_least or at_most")
        return self

    def check(self) -> Check:
        """The check, with a margin written out as bounds."""
        at_least = self.at_least if self.margin is None else -self.margin
        at_most = self.margin if self.two_sided else self.at_most
        return Check(
            of=self.of,
            against=self.against,
            compare=self.compare,
            at_least=at_least,
            at_most=at_most,
            tasks=self.tasks,
            slice=self.slice,
            confidence=self.confidence,
            level=self.level,
        )


class WrittenSuite(Written):
    """A suite file."""

    tasks: list[WrittenTask] = Field(min_length=1)
    checks: list[WrittenCheck] = Field(min_length=1)
    texts: list[WrittenText] = Field(default_factory=list)
    calibration: list[WrittenCalibration] = Field(default_factory=list)
    speed: WrittenSpeed | None = None
    noise_floor: bool = True
    distributions: WrittenReading = Field(default_factory=WrittenReading)
    sequential: bool | WrittenSequential = False
