"""YAML 1.2 files read safely, remembering the line of every key for error messages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from gate.errors import ConfigError, suggest

Location = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


class YamlFile(NamedTuple):
    """A parsed YAML file: its path, its plain content, and the tree that knows the lines."""

    path: Path
    content: Any
    tree: Any

    def where(self, location: Location) -> str:
        """The place of a key, as 'gate.yaml:12: variants.q8_0.backend'."""
        line = _line(self.tree, location)
        dotted = ".".join(str(part) for part in location)
        return f"{self.path.name}:{line}: {dotted}" if dotted else f"{self.path.name}:{line}"

    def has(self, location: Location) -> bool:
        """Whether it has a key at a location."""
        node: Any = self.content
        for part in location:
            if not isinstance(node, dict) or part not in node:
                return False
            node = node[part]
        return True

    def error(self, location: Location, problem: str, *, hint: str | None = None) -> ConfigError:
        """A ConfigError that names the file, the line and the key."""
        return ConfigError(f"{self.where(location)}: {problem}", hint=hint)

    def validate(self, model: type[Model]) -> Model:
        """The content as a pydantic model.

        Raises:
            ConfigError: every mistake of shape, each with file, line, key and nearest known key.
        """
        try:
            return model.model_validate(self.content)
        except ValidationError as error:
            raise self._refusal(model, error) from error

    def _refusal(self, model: type[BaseModel], error: ValidationError) -> ConfigError:
        problems = []
        hints: list[str] = []
        for detail in error.errors():
            location = tuple(part for part in detail["loc"] if _is_key(self.tree, detail, part))
            message = detail["msg"].removeprefix("Value error, ")
            if detail["type"] == "extra_forbidden":
                message = "unknown key"
                hints.append(suggest(str(location[-1]), _known_keys(model, location[:-1])))
            elif detail["type"] == "missing":
                message = "is required"
            problems.append(f"{self.where(location)}: {message}")
        return ConfigError("\n".join(dict.fromkeys(problems)), hint="; ".join(hints) or None)


def read_yaml(path: Path) -> YamlFile:
    """Read a YAML 1.2 file without running anything in it; unknown tags stay inert.

    Raises:
        ConfigError: missing, unreadable, not YAML, or a key given twice; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {_reason(error)}") from error
    try:
        tree = YAML(typ="rt", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{path.name}:{line}: not valid YAML: {error.problem}") from error
    except YAMLError as error:
        raise ConfigError(f"{path.name}:1: not valid YAML: {error}") from error
    return YamlFile(path, _plain(tree), tree)


def _reason(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "it is not UTF-8 text"


def _plain(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _line(tree: Any, location: Location) -> int:
    line = 1
    node = tree
    for part in location:
        if isinstance(node, CommentedMap) and part in node:
            line = node.lc.key(part)[0] + 1
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line = node.lc.item(part)[0] + 1
        else:
            return line
        node = node[part]
    return line


def _is_key(tree: Any, detail: Any, part: str | int) -> bool:
    """Whether a part of pydantic's location is a key of the file (not the name of a union arm)."""
    if detail["type"] in ("missing", "extra_forbidden") and part == detail["loc"][-1]:
        return True
    node = tree
    for step in detail["loc"]:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            continue
        if step == part:
            return True
    return False


def _known_keys(model: type[BaseModel], location: Location) -> tuple[str, ...]:
    """The keys a nested model accepts, following field types as far as they name models."""
    current: type[BaseModel] | None = model
    for part in location:
        if current is None:
            break
        field = current.model_fields.get(str(part))
        if field is not None:
            current = _model_in(field.annotation)
    return tuple(current.model_fields) if current else ()


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
