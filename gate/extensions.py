"""A name in gate.yaml -> the function behind it: one file a name, no registry."""

import importlib
import importlib.metadata
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from gate.digest import digest_file, digest_json
from gate.errors import ConfigError, suggest
from gate.terms import JsonValue, Use

VERBS: Mapping[str, str] = {
    "mergers": "merge",
    "quantizers": "quantize",
    "backends": "open_model",
    "comparisons": "compare",
    "executors": "execute",
    "publishers": "publish",
    "renderers": "render",
}
"""The folders of verbs, and the verb that each file in them defines."""


class Extension(NamedTuple):
    """A function found by name, with what the gate needs to know about it."""

    folder: str
    name: str
    function: Callable[..., Any]
    module: ModuleType

    @property
    def packages(self) -> tuple[str, ...]:
        """Distributions whose versions can change what the function gives."""
        return tuple(getattr(self.module, "PACKAGES", ()))

    @property
    def code(self) -> str:
        """The sha256 of the extension's source, with the files of the gate it names in CODE."""
        own, here = digest_file(Path(inspect.getfile(self.module))), Path(__file__).parent
        named = sorted(
            file for pattern in getattr(self.module, "CODE", ()) for file in here.glob(pattern)
        )
        if not named:
            return own
        return digest_json(
            {"own": own, **{str(file.relative_to(here)): digest_file(file) for file in named}}
        )

    @property
    def reads(self) -> tuple[str, ...]:
        """The formats it reads, as the module states in READS."""
        stated = getattr(self.module, "READS", "checkpoint")
        return (stated,) if isinstance(stated, str) else tuple(stated)

    @property
    def compares(self) -> str:
        """What a comparison is of, as the module states in COMPARES: scores, texts or serving."""
        return str(getattr(self.module, "COMPARES", "scores"))

    def takes(self, parameter: str) -> bool:
        """Whether the function has a parameter of this name."""
        return parameter in inspect.signature(self.function).parameters

    def constant(self, name: str, default: str) -> str:
        """A fact the module states about itself, such as WRITES or MEASURES."""
        return str(getattr(self.module, name, default))


def names(folder: str) -> tuple[str, ...]:
    """The names a folder offers, sorted: its own files, then third-party entry points."""
    return tuple(sorted(_own(folder) | {point.name for point in _entry_points(folder)}))


def find(folder: str, name: str) -> Extension:
    """The extension behind a name.

    Raises:
        ConfigError: no such name (the nearest one is suggested), or the file lacks the verb.
    """
    known = names(folder)
    if name not in known:
        kind = folder.removesuffix("s")
        raise ConfigError(f"no {kind} named {name!r}", hint=suggest(name, known))
    module = _module(folder, name)
    verb = VERBS[folder]
    function = getattr(module, verb, None)
    if not callable(function):
        raise ConfigError(f"{module.__name__} does not define {verb}()")
    return Extension(folder, name, function, module)


def check_parameters(extension: Extension, use: Use, *, given_by_gate: Iterable[str]) -> None:
    """Refuse parameters that the extension's signature does not have, or of another type.

    Args:
        extension: the function that will be called.
        use: the name and parameters written in gate.yaml.
        given_by_gate: keyword arguments that the gate passes itself.

    Raises:
        ConfigError: an unknown, missing or mistyped parameter, named.
    """
    reserved = set(given_by_gate)
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    parameters = {
        parameter.name: parameter
        for parameter in inspect.signature(extension.function).parameters.values()
        if parameter.kind is keyword_only and parameter.name not in reserved
    }
    hints = _parameter_types(extension.function)
    for key, value in use.params.items():
        if key not in parameters:
            raise ConfigError(
                f"{use.name} has no parameter {key!r}", hint=suggest(key, tuple(parameters))
            )
        if not _fits(value, hints.get(key, object)):
            raise ConfigError(
                f"{use.name}.{key}: {value!r} is not {_describe(hints.get(key, object))}"
            )
    for key, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and key not in use.params:
            raise ConfigError(
                f"{use.name} needs {key!r}", hint=f"it is {_describe(hints.get(key, object))}"
            )


@cache
def _own(folder: str) -> frozenset[str]:
    """The gate's own files of a folder, listed once."""
    package = importlib.import_module(f"gate.{folder}")
    return frozenset(module.name for module in pkgutil.iter_modules(package.__path__))


def _entry_points(folder: str) -> tuple[importlib.metadata.EntryPoint, ...]:
    return _of_group(f"gate.{folder}", tuple(sys.path))


@cache
def _of_group(group: str, path: tuple[str, ...]) -> tuple[importlib.metadata.EntryPoint, ...]:
    return tuple(_select(path)(group=group))


@cache
def _select(_path: tuple[str, ...]) -> Callable[..., importlib.metadata.EntryPoints]:
    """Selects from all entry points, read once for a search path: that opens hundreds of files."""
    return importlib.metadata.entry_points().select


def _module(folder: str, name: str) -> ModuleType:
    for point in _entry_points(folder):
        if point.name == name:
            return importlib.import_module(point.value.partition(":")[0])
    return importlib.import_module(f"gate.{folder}.{name}")


def _parameter_types(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotated types of a function's parameters; its result's may not be importable here."""
    inner = inspect.unwrap(function)
    written = {name: kind for name, kind in inner.__annotations__.items() if name != "return"}
    return get_type_hints(SimpleNamespace(__annotations__=written), globalns=inner.__globals__)


def _fits(value: JsonValue, hint: Any) -> bool:
    """Whether a value written in gate.yaml is of an annotated type."""
    origin = get_origin(hint)
    if origin is Literal:
        return value in get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if isinstance(value, bool):
        return hint in (bool, object, Any)
    wider = {float: (int, float), tuple: (list,), object: (object,), Any: (object,)}
    return isinstance(value, wider.get(origin or hint, origin or hint))


def _describe(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(str(option) for option in get_args(hint))
    return getattr(hint, "__name__", str(hint))
