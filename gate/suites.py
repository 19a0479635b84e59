"""A suite: the tasks a release must pass and the checks that judge them, from a YAML file."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from gate.digest import digest_file, digest_json
from gate.errors import ConfigError, suggest
from gate.terms import Check, Level, Noun, Task, Text, Use, read_use
from gate.yaml_files import YamlFile, read_yaml


class TaskFiles(Noun):
    """What a local task is made of: the digest of its files, and its number of documents.

    A task that lm-eval ships has no files here: `documents` is None and the digest names it.
    """

    digest: str
    documents: int | None


class Suite(Noun):
    """A suite as read: its tasks, the files behind them, and its checks.

    Attributes:
        name: as written in gate.yaml.
        digest: content id of the suite file: the policy a release was judged by.
        texts: what models read token by token, and the digest of each file by its name.
    """

    name: str
    path: Path
    digest: str
    tasks: tuple[Task, ...]
    files: dict[str, TaskFiles]
    checks: tuple[Check, ...]
    texts: tuple[Text, ...] = ()
    text_digests: dict[str, str] = Field(default_factory=dict)


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


class WrittenText(Written):
    """One entry of a suite's `texts`."""

    name: str
    path: str


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
            confidence=self.confidence,
            level=self.level,
        )


class WrittenSuite(Written):
    """A suite file."""

    tasks: list[WrittenTask] = Field(min_length=1)
    checks: list[WrittenCheck] = Field(min_length=1)
    texts: list[WrittenText] = Field(default_factory=list)


def load_suite(given: str, *, root: Path) -> tuple[Suite, YamlFile]:
    """Read a suite: a path relative to `root`, or the name of one that mergegate ships.

    Returns the suite and its file, for messages about checks that only gate.yaml can judge.

    Raises:
        ConfigError: no such suite, a mistake in it, or a task whose files are missing.
    """
    path = _find_suite(given, root)
    file = read_yaml(path)
    written = file.validate(WrittenSuite)
    tasks = tuple(_task(task, file, index) for index, task in enumerate(written.tasks))
    names = [task.name for task in tasks]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise file.error(("tasks", index, "name"), f"task {name!r} is listed twice")
    for index, check in enumerate(written.checks):
        for name in check.tasks or ():
            if name not in names:
                raise file.error(
                    ("checks", index, "tasks"), f"no task {name!r}", hint=suggest(name, names)
                )
    files = {
        task.name: _inspect(task, file.where(("tasks", index, "path")))
        for index, task in enumerate(tasks)
    }
    texts = tuple(_text(text, file, index) for index, text in enumerate(written.texts))
    suite = Suite(
        name=given,
        path=path,
        digest=digest_file(path),
        tasks=tasks,
        files=files,
        checks=tuple(check.check() for check in written.checks),
        texts=texts,
        text_digests={text.name: digest_file(Path(text.path)) for text in texts},
    )
    return suite, file


def shipped_suites() -> Path:
    """The folder of the suites that come with mergegate."""
    installed = Path(__file__).parent / "evalsuites"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "evalsuites"


def _find_suite(given: str, root: Path) -> Path:
    path = (root / given).expanduser()
    if path.is_file():
        return path.resolve()
    shipped = shipped_suites()
    by_name = (shipped / f"{given}.yaml", shipped / given / "suite.yaml")
    for candidate in by_name:
        if candidate.is_file():
            return candidate.resolve()
    known = sorted(
        {file.stem for file in shipped.glob("*.yaml")}
        | {file.parent.name for file in shipped.glob("*/suite.yaml")}
    )
    raise ConfigError(f"no suite {given!r}: no such file below {root}", hint=suggest(given, known))


def _task(written: WrittenTask, file: YamlFile, index: int) -> Task:
    fields = written.model_dump()
    if written.path is not None:
        path = (file.path.parent / written.path).expanduser()
        if not path.is_file():
            raise file.error(("tasks", index, "path"), f"no task file {path}")
        fields["path"] = str(path.resolve())
    return Task(**fields)


def _text(written: WrittenText, file: YamlFile, index: int) -> Text:
    path = (file.path.parent / written.path).expanduser()
    if not path.is_file():
        raise file.error(("texts", index, "path"), f"no text file {path}")
    return Text(name=written.name, path=str(path.resolve()))


def _inspect(task: Task, where: str) -> TaskFiles:
    if task.path is None:
        return TaskFiles(digest=digest_json({"lm_eval": task.name}), documents=None)
    path = Path(task.path)
    content, sources = _task_yaml(path)
    if content.get("task") != task.name:
        raise ConfigError(
            f"{where}: {path.name} defines task {content.get('task')!r}, not {task.name!r}"
        )
    data = _data_files(content, path, where)
    parts = {
        source.name: digest_file(source) for source in (*sources, *sorted(path.parent.glob("*.py")))
    }
    for split, files in data.items():
        parts |= {f"{split}/{index}": digest_file(file) for index, file in enumerate(files)}
    documents = _count(data.get(_evaluation_split(content), ()))
    if documents == 0:
        raise ConfigError(f"{where}: task {task.name!r} has no documents")
    if documents is not None and task.limit is not None:
        documents = min(documents, task.limit)
    return TaskFiles(digest=digest_json(parts), documents=documents)


def _task_yaml(path: Path) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """A task's YAML with its includes merged under it, and the files it was read from."""
    content = read_yaml(path).content
    if not isinstance(content, dict):
        raise ConfigError(f"{path.name}:1: not a task: expected a mapping")
    merged: dict[str, Any] = {}
    sources: list[Path] = [path]
    includes = content.get("include", [])
    for name in [includes] if isinstance(includes, str) else includes:
        included, files = _task_yaml(path.parent / name)
        merged |= included
        sources += files
    return merged | content, tuple(sources)


def _evaluation_split(content: dict[str, Any]) -> str:
    return str(content.get("test_split") or content.get("validation_split") or "test")


def _data_files(content: dict[str, Any], path: Path, where: str) -> dict[str, tuple[Path, ...]]:
    """The local data files of each split, resolved against the task's YAML."""
    arguments = content.get("dataset_kwargs") or {}
    written = arguments.get("data_files", {}) if isinstance(arguments, dict) else {}
    if not isinstance(written, dict):
        written = {_evaluation_split(content): written}
    found: dict[str, tuple[Path, ...]] = {}
    for split, names in written.items():
        files = tuple(path.parent / name for name in ([names] if isinstance(names, str) else names))
        for file in files:
            if not file.is_file():
                raise ConfigError(f"{where}: {path.name} names a data file that is missing: {file}")
        found[split] = files
    return found


def _count(files: tuple[Path, ...]) -> int | None:
    """The number of documents in JSON-lines files; None where they are of another kind."""
    if not files or any(file.suffix != ".jsonl" for file in files):
        return None
    return sum(1 for file in files for line in file.read_bytes().split(b"\n") if line.strip())
