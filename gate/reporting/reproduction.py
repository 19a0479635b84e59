"""The commands that do a recorded run, its artifacts and its merges again; or why there is none."""

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from gate.presentation import printable
from gate.provenance import NOT_INSTALLED
from gate.records import Artifact, Record
from gate.terms import JsonValue, Source, Use, Variant

NOT_RECORDED = "how the run was started is not recorded"
"""What stands where a record is older than the noun that tells it."""

_DEFAULT_STORE = ".gate/store"
_DEFAULT_REPORTS = "reports"
_MERGER = "stream"
_OPTIONS = ("dtype", "method", "density", "seed", "base_precision", "device")
_BUILDS = "https://download.pytorch.org/whl/"
_NAME, _VERSION = r"[A-Za-z0-9][A-Za-z0-9._-]*", r"[A-Za-z0-9][A-Za-z0-9.!_-]*(?:\+([a-z0-9.]+))?"
_CONTENT_ID = (
    "import sys, pathlib; from gate.digest import digest_manifest, digest_tree; "
    "print(digest_manifest(digest_tree(pathlib.Path(sys.argv[1]))))"
)


class Block(NamedTuple):
    """Commands to copy.

    Attributes:
        title: what they do.
        lines: one command each, quoted for a POSIX shell; empty where there is none.
        notes: what to know, in sentences; without commands, why there are none.
        digest: the content id that they give; empty where they give none.
    """

    title: str
    lines: tuple[str, ...]
    notes: tuple[str, ...] = ()
    digest: str = ""


def installs(record: Record) -> tuple[Block, ...]:
    """What to install: for the gate's own interpreter, and for each other that ran a stage."""
    own = record.provenance.packages
    blocks = [_install("To install", {"mergegate": record.provenance.gate_version, **own})]
    others: dict[str, dict[str, str]] = {}
    for stage in record.stages:
        if stage.interpreter and not stage.packages.items() <= own.items():
            others.setdefault(stage.interpreter, {}).update(stage.packages)
    blocks += [_install(f"To install in {name}", packages) for name, packages in others.items()]
    return tuple(blocks)


def run_again(record: Record) -> Block:
    """The whole run, from the root of its repository."""
    title, run, commit = "To run", record.run, record.provenance.git_commit
    if run is None:
        return Block(title, (), (f"{NOT_RECORDED}.",))
    commands: list[tuple[str, ...]] = []
    notes = []
    is_in_repository = not PurePosixPath(run.config).is_absolute()
    if is_in_repository and commit and re.fullmatch("[0-9a-f]{7,64}", commit):
        commands.append(("git", "checkout", commit))
        notes.append("From the root of the repository.")
    else:
        notes.append("The git commit is not known: compare the content ids above.")
    commands.append(("gate", "run", _no_option(run.config), *_store(record)))
    notes.append("Stages that the store has are not done again: for all of them give another one.")
    return _block(title, commands, notes)


def make_again(record: Record, *, run: str) -> Block:
    """Every merge and quantization in a new store, compared with what was judged.

    Args:
        record: of the run.
        run: what the folder of its reports is called.
    """
    title = "To make what was judged again, and compare it"
    if not record.artifacts:
        return Block(title, (), ("the run made no files.",))
    place = f"{_DEFAULT_REPORTS}/{record.release}/{run}"
    command = ("gate", "reproduce", place, *_store(record), *_permissions(record))
    notes = (
        "From the root of the repository; where this report lies elsewhere, name its folder.",
        "--base DIR and --adapter NAME=DIR say where those are, if they were moved.",
    )
    return _block(title, (command,), notes)


def merges(record: Record) -> tuple[Block, ...]:
    """Each merge that was recorded as an artifact, in the record's order."""
    variants = {one.name: one for one in record.variants}
    return tuple(
        _merge(record, variants[artifact.variant], artifact)
        for artifact in record.artifacts
        if artifact.variant in variants and variants[artifact.variant].quantize is None
    )


def _merge(record: Record, variant: Variant, artifact: Artifact) -> Block:
    title = f"To merge {variant.name}"
    use = variant.merge
    reasons = tuple(_reasons_against(record, variant, artifact))
    if use is None or reasons:
        return Block(title, (), reasons or ("nothing was merged.",), artifact.digest)
    out = f"merged-again/{artifact.digest[:12]}"
    places = [_no_option(_place(record, one)) for one in _sources(record, variant)]
    command = ["gate", "merge", *places, "--out", out]
    for place, name in zip(places[1:], variant.adapters, strict=True):
        if (weight := _weight(record, name)) != 1.0:
            command += ["--weight", f"{_folder(place)}={weight!r}"]
    for name, value in _params(use, artifact).items():
        command += _option(name, value)
    notes = []
    if record.run is None:
        notes.append(f"{NOT_RECORDED.capitalize()}: these are paths on the machine that merged.")
    else:
        command += _permissions(record)
    notes.append("The second command prints the content id.")
    return _block(title, (command, ("python", "-c", _CONTENT_ID, out)), notes, artifact.digest)


def _reasons_against(record: Record, variant: Variant, artifact: Artifact) -> Iterator[str]:
    """Why `gate merge` cannot be asked for this merge, a sentence each."""
    use = variant.merge or Use(name="")
    params = _params(use, artifact)
    if use.name != _MERGER:
        yield f"gate merge has no option for the merger {use.name}: run the gate again."
    for name in sorted(params.keys() - {*_OPTIONS, "double_quant"}):
        yield f"gate merge has no option for {name}: run the gate again."
    if params.get("base_precision") == "auto":
        yield "which base_precision was chosen is not recorded."
    unknown = [name for name in variant.adapters if name not in record.adapters]
    if unknown:
        yield f"the record does not say where adapter {unknown[0]} is."
    else:
        yield from _reasons_of_names(record, variant, is_dare=_is_dare(params))


def _is_dare(params: dict[str, JsonValue]) -> bool:
    return str(params.get("method", "")).startswith("dare")


def _reasons_of_names(record: Record, variant: Variant, *, is_dare: bool) -> Iterator[str]:
    """Why the names of folders, by which `gate merge` goes, cannot stand for the adapters'."""
    folders = [_folder(_place(record, one)) for one in _sources(record, variant)[1:]]
    if len(set(folders)) < len(folders):
        yield "two adapters lie in folders of one name, which gate merge cannot tell apart."
    for name, folder in zip(variant.adapters, folders, strict=True):
        if "=" in folder and _weight(record, name) != 1.0:
            yield f"--weight cannot name the folder {folder}."
        if is_dare and name != folder:
            yield (
                f"dare draws by the adapter's name, {name}, and gate merge goes by its folder's, "
                f"{folder}: copy it into a folder of that name."
            )


def _params(use: Use, artifact: Artifact) -> dict[str, JsonValue]:
    """The merger's parameters, with what it chose by itself where it was asked to choose."""
    params = dict(use.params)
    if params.get("base_precision") == "auto" and artifact.report.base_precision:
        params["base_precision"] = artifact.report.base_precision
    return params


def _store(record: Record) -> tuple[str, ...]:
    """The option that names the run's store, where it is not the usual one."""
    if record.run is None or record.run.store == _DEFAULT_STORE:
        return ()
    return "--store", record.run.store


def _permissions(record: Record) -> tuple[str, ...]:
    """The options that allow what the run was allowed."""
    run = record.run
    flags = {
        "--allow-pickle": run is not None and run.allow_pickle,
        "--trust-remote-code": run is not None and run.trust_remote_code,
    }
    return tuple(flag for flag, is_allowed in flags.items() if is_allowed)


def _option(name: str, value: JsonValue) -> list[str]:
    if name == "double_quant":
        return ["--double-quant" if value else "--no-double-quant"]
    return [f"--{name.replace('_', '-')}", str(value)]


def _sources(record: Record, variant: Variant) -> list[Source]:
    return [record.base, *(record.adapters[name] for name in variant.adapters)]


def _place(record: Record, source: Source) -> str:
    """A source as a command line names it: hub id and commit, or a path from where it is run."""
    if source.commit:
        return f"{source.given.partition('@')[0]}@{source.commit}"
    if record.run is None or source.given.startswith("~"):
        return source.path
    return str(PurePosixPath(record.run.config).parent / source.given)


def _folder(place: str) -> str:
    """The name by which `gate merge` knows an adapter."""
    return place.partition("@")[0].rstrip("/").rpartition("/")[2]


def _weight(record: Record, adapter: str) -> float:
    return next((one.weight for one in record.candidate.adapters if one.name == adapter), 1.0)


def _install(title: str, packages: dict[str, str]) -> Block:
    command = ["pip", "install"]
    odd = []
    for name, version in packages.items():
        found = re.fullmatch(_VERSION, version)
        if version == NOT_INSTALLED:
            continue
        if found is None or not re.fullmatch(_NAME, name):
            odd.append(name)
            continue
        command.append(f"{name}=={version}")
        if name == "torch" and found[1]:
            command[2:2] = ["--extra-index-url", f"{_BUILDS}{found[1]}"]
    notes = [f"left out, as it is no version of a package: {', '.join(odd)}."] if odd else []
    return _block(title, (command,), notes)


def _block(
    title: str, commands: Sequence[Sequence[str]], notes: Sequence[str], digest: str = ""
) -> Block:
    """Commands as a shell reads them; none where a page could not show them as they are."""
    lines = tuple(map(shlex.join, commands))
    if any(printable(line) != line for line in lines):
        reason = "a path or name in the command has characters that cannot be shown here."
        return Block(title, (), (reason,), digest)
    return Block(title, lines, tuple(notes), digest)


def _no_option(path: str) -> str:
    """A path that no command takes for an option."""
    return f"./{path}" if path.startswith("-") else path
