"""A suite: the tasks a release must pass and the checks that judge them, from a YAML file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field

from gate import extensions
from gate.configuring.task_files import TaskFiles, document_texts, inspect_task
from gate.configuring.written_suite import WrittenSuite, WrittenTask, WrittenText
from gate.configuring.yaml_files import Location, YamlFile, read_yaml
from gate.digest import digest_file
from gate.errors import ConfigError, suggest
from gate.quantizing.calibration import find_overlap, read_calibration
from gate.terms import (
    Calibration,
    Check,
    Noun,
    Reading,
    Sequential,
    Speed,
    Task,
    Text,
    Use,
)
from gate.texts import read_texts


class Suite(Noun):
    """A suite as read: its tasks, the files behind them, and its checks.

    Attributes:
        name: as written in gate.yaml.
        digest: content id of the suite file: the policy a release was judged by.
        texts: what models read token by token, and the digest of each file by its name.
        calibration: what quantizers are shown, and the digest of each file.
        speed: how to measure what variants cost to serve; None where nothing asks for it.
        noise_floor: run a reference of each engine twice, to know what that alone changes.
        distributions: how distributions over texts are compared.
        sequential: stop asking as soon as a check is decided; None to ask every document.
    """

    name: str
    path: Path
    digest: str
    tasks: tuple[Task, ...]
    files: dict[str, TaskFiles]
    checks: tuple[Check, ...]
    texts: tuple[Text, ...] = ()
    text_digests: dict[str, str] = Field(default_factory=dict)
    calibration: tuple[Calibration, ...] = ()
    calibration_digests: tuple[str, ...] = ()
    speed: Speed | None = None
    noise_floor: bool = True
    distributions: Reading = Reading()
    sequential: Sequential | None = None


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
    _check_names(written, file)
    _check_checks(written, file)
    files = {
        task.name: inspect_task(task, file.where(("tasks", index, "path")))
        for index, task in enumerate(tasks)
    }
    texts = tuple(_text(text, file, index) for index, text in enumerate(written.texts))
    calibration = _calibration(written, files, file)
    suite = Suite(
        name=given,
        path=path,
        digest=digest_file(path),
        tasks=tasks,
        files=files,
        checks=tuple(check.check() for check in written.checks),
        texts=texts,
        text_digests={text.name: digest_file(Path(text.path)) for text in texts},
        calibration=calibration,
        calibration_digests=tuple(digest_file(Path(one.path)) for one in calibration),
        speed=_speed(written),
        noise_floor=written.noise_floor,
        distributions=Reading(**written.distributions.model_dump()),
        sequential=_sequential(written),
    )
    return suite, file


def is_of_texts(compare: Use) -> bool:
    """Whether a comparison is one of distributions over texts, so that `tasks` name texts."""
    if compare.name not in extensions.names("comparisons"):  # told where the checks are
        return False
    return extensions.find("comparisons", compare.name).compares == "texts"


def shipped_suites() -> Path:
    """The folder of the suites that come with mergegate."""
    package = Path(__file__).parents[1]
    installed = package / "evalsuites"
    return installed if installed.is_dir() else package.parent / "evalsuites"


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


def _check_names(written: WrittenSuite, file: YamlFile) -> None:
    """Tasks and texts go by one name each."""
    tasks = [one.name for one in written.tasks]
    texts = [one.name for one in written.texts]
    for index, name in enumerate(tasks):
        if name in tasks[:index]:
            raise file.error(("tasks", index, "name"), f"task {name!r} is listed twice")
    for index, name in enumerate(texts):
        if name in (*tasks, *texts[:index]):
            what = "has the name of a task" if name in tasks else "is listed twice"
            raise file.error(("texts", index, "name"), f"text {name!r} {what}")


def _check_checks(written: WrittenSuite, file: YamlFile) -> None:
    """Checks name the tasks or texts that there are."""
    names = {
        "task": [one.name for one in written.tasks],
        "text": [one.name for one in written.texts],
    }
    for index, check in enumerate(written.checks):
        kind = "text" if is_of_texts(check.compare) else "task"
        if kind == "text":
            _check_text_check(check.check(), names["text"], file, ("checks", index))
        for name in check.tasks or ():
            if name not in names[kind]:
                raise file.error(
                    ("checks", index, "tasks"),
                    f"no {kind} {name!r}",
                    hint=suggest(name, names[kind]),
                )


def _check_text_check(
    check: Check, texts: Sequence[str], file: YamlFile, location: Location
) -> None:
    """A check of distributions needs texts, and the bound that asks for something."""
    name = check.compare.name
    if not texts:
        raise file.error(
            (*location, "compare"),
            f"{name} compares distributions over texts, and the suite has none",
            hint="add 'texts: [{name: general, path: general.jsonl}]' to the suite",
        )
    bound = extensions.find("comparisons", name).constant("BOUND", "at_most")
    limit = getattr(check, bound)
    if limit is None or limit <= 0:
        raise file.error(
            location,
            f"{name} needs {bound!r} above 0",
            hint="a margin bounds a change; add level: warn to see a value without blocking on it",
        )
    if bound == "at_least" and limit > 1:
        raise file.error(
            (*location, bound),
            f"a share is at most 1, not {limit:g}; {limit / 100:g} means {limit:g} %",
        )
    if check.slice is not None:
        raise file.error((*location, "slice"), f"{name} is of texts, which have no slices")


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
    read_texts(path)
    return Text(name=written.name, path=str(path.resolve()))


def _calibration(
    written: WrittenSuite, files: Mapping[str, TaskFiles], file: YamlFile
) -> tuple[Calibration, ...]:
    found = []
    for index, one in enumerate(written.calibration):
        path = (file.path.parent / one.path).expanduser()
        if not path.is_file():
            raise file.error(("calibration", index, "path"), f"no calibration file {path}")
        _refuse_overlap(path, files, file, index)
        found.append(Calibration(path=str(path.resolve())))
    return tuple(found)


def _refuse_overlap(path: Path, files: Mapping[str, TaskFiles], file: YamlFile, index: int) -> None:
    """A quantizer that has seen the documents it is judged on looks better than it is."""
    inputs = read_calibration([path])
    for task, its_files in files.items():
        found = find_overlap(inputs, document_texts(its_files))
        if found is not None:
            shown, place = found
            raise file.error(
                ("calibration", index, "path"),
                f"{shown.where} is also document {place} of task {task!r}",
                hint="calibrate on inputs that no task judges, or the verdict flatters",
            )


def _sequential(written: WrittenSuite) -> Sequential | None:
    if isinstance(written.sequential, bool):
        return Sequential() if written.sequential else None
    return Sequential(**written.sequential.model_dump())


def _speed(written: WrittenSuite) -> Speed | None:
    """What the suite says of measuring speed; the usual where only a check asks for it."""
    if written.speed is not None:
        return Speed(**written.speed.model_dump())
    asks = any(check.compare.name == "speed" for check in written.checks)
    return Speed() if asks else None
