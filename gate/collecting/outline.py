"""What a gate will check, known from its files alone: no model is loaded, none is looked for."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gate.configuring.config import GateConfig, load_config
from gate.digest import digest_file
from gate.planning.fallbacks import fit_backends
from gate.planning.resolution import resolve_checks
from gate.presentation import one_line
from gate.sources import locate
from gate.terms import ResolvedCheck, Source

_LONGEST = 200


class Outline(NamedTuple):
    """A gate before it is run.

    Attributes:
        config: the gate and its suite.
        checks: each for every variant and task, in the order of a run's results.
    """

    config: GateConfig
    checks: tuple[ResolvedCheck, ...]


def read_outline(path: Path) -> Outline:
    """The checks that a run of this gate.yaml would judge.

    Raises:
        ConfigError: gate.yaml, its suite or its adapter is wrong.
    """
    config = load_config(path)
    fitted = fit_backends(config, _Adapters(config))
    variants = config.model_copy(update={"variants": fitted.variants})
    return Outline(config, resolve_checks(variants).checks)


def names_of(checks: Iterable[ResolvedCheck]) -> tuple[str, ...]:
    """A test's name for each check: q4_k_m-vs-merged[extract-delta], told apart by '#2'."""
    seen: Counter[str] = Counter()
    names = []
    for pair, about in map(_parts, checks):
        name = f"{pair}[{about}]"
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{pair}[{about}#{seen[name]}]")
    return tuple(names)


def _parts(one: ResolvedCheck) -> tuple[str, str]:
    """Which variants are compared, and on what."""
    part = f"/{one.check.slice}" if one.check.slice else ""
    task = f"{one.task}{part}-" if one.task else ""
    return f"{one.variant}-vs-{one.reference}", one_line(f"{task}{one.check.compare}", _LONGEST)


class _Adapters(Mapping[str, Source]):
    """The adapters of a gate, each located when it is asked for: most engines need none."""

    def __init__(self, config: GateConfig) -> None:
        self._config = config
        self._given = {one.name: one.source for one in config.candidate.adapters}

    def __getitem__(self, name: str) -> Source:
        return locate(
            self._given[name],
            root=self._config.path.parent,
            kind="adapter",
            allow_pickle=self._config.allow_pickle,
            trust_remote_code=self._config.trust_remote_code,
            file_digest=digest_file,
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)
