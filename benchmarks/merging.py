"""What a merge takes: gate merge beside cp, peft and mergekit, on a model of a real one's shapes.

python benchmarks/merging.py --shape 3b --work DIR [--mergekit PYTHON]
"""

import argparse
import json
import os
import shutil
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from contestants import Scene, Tool, contestants, mergekit_versions
from processes import Usage, measure, memory_source
from synthetic import SHAPES, Shape, make_adapter, make_base, size_bytes

from gate.checkpoints import TensorHeader, read_headers
from gate.checkpoints import measure as measure_weights
from gate.errors import ConfigError, GateError
from gate.presentation import count, size
from gate.provenance import collect_provenance

PACKAGES = ("torch", "transformers", "peft", "safetensors")
_COPIES = 3  # gate's output, and mergekit's two: what peft merged for it, and what it made of that
_READ_BYTES = 1 << 22

Round = dict[str, Usage]


class Difference(NamedTuple):
    """How many of the elements of two checkpoints are not the same bits."""

    differing: int
    elements: int


class FirstRound(NamedTuple):
    """What each tool took, and how what it merged differs from what the first one merged."""

    usages: Round
    differences: dict[str, Difference]


def main() -> None:
    """Make what is missing, run the contest, print its table."""
    options = _options()
    try:
        scene = prepare(options)
        tools = contestants(scene, options.mergekit)
        first = run_first_round(tools, scene)
        rounds = [run_round(tools, scene) for _ in range(options.runs)] or [first.usages]
    except GateError as error:
        sys.exit(f"benchmark: {error}")
    facts = describe(scene, options, first.differences)
    print(table(rounds))
    print()
    print("\n".join(f"* {fact}" for fact in facts))
    if options.json:
        text = json.dumps(to_json(options, rounds, first.differences, facts), indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")


def prepare(options: argparse.Namespace) -> Scene:
    """The base model and the adapter, made where they are not there yet.

    Raises:
        ConfigError: no mergekit where it should be, or not enough disk.
        SourceError: a checkpoint that was made before is damaged.
    """
    if options.mergekit:
        mergekit_versions(options.mergekit)
    shape, work = SHAPES[options.shape], options.work.resolve()
    base = work / f"base-{options.shape}"
    work.mkdir(parents=True, exist_ok=True)
    check_disk(work, needed_bytes(shape, base))
    make_base(shape, base)
    adapter = work / f"adapter-{options.shape}-r{options.rank}"
    make_adapter(shape, adapter, rank=options.rank)
    return Scene(base, adapter, work / "outputs")


def needed_bytes(shape: Shape, base: Path) -> int:
    """The disk that a contest takes beside what is there already."""
    return size_bytes(shape) * (_COPIES if base.is_dir() else _COPIES + 1)


def check_disk(directory: Path, needed: int) -> None:
    """Refuse to start where the outputs would fill the disk.

    Raises:
        ConfigError: less is free than needed.
    """
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise ConfigError(
            f"{directory}: {size(free)} are free, and the benchmark needs {size(needed)}",
            hint="make room, or name another directory with --work",
        )


def run_first_round(tools: Sequence[Tool], scene: Scene) -> FirstRound:
    """Warm the machine, and compare what is merged before it is removed."""
    _empty(scene.outputs)
    reference: Path | None = None
    usages, differences = {}, {}
    for tool in tools:
        usages[tool.name] = _run(tool, scene)
        if reference and tool.merged:
            differences[tool.name] = count_differing(reference, tool.merged)
        reference = reference or tool.merged
        _remove(path for path in tool.done_with if path != reference)
    _remove([scene.outputs])
    return FirstRound(usages, differences)


def run_round(tools: Sequence[Tool], scene: Scene) -> Round:
    """What each tool took, one after the other."""
    _empty(scene.outputs)
    usages = {}
    for tool in tools:
        usages[tool.name] = _run(tool, scene)
        _remove(tool.done_with)
    _remove([scene.outputs])
    return usages


def _run(tool: Tool, scene: Scene) -> Usage:
    for directory in tool.reads:
        _read_all(directory)
    os.sync()  # nobody pays for what the one before has left to write
    log = scene.base.with_name(f"{tool.name.replace(' ', '-')}.log")
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    return measure(tool.command, name=tool.name, log=log, environment=environment)


def _read_all(directory: Path) -> None:
    buffer = bytearray(_READ_BYTES)
    for file in directory.iterdir():
        with file.open("rb", buffering=0) as opened:
            while opened.readinto(buffer):
                pass


def _empty(directory: Path) -> None:
    _remove([directory])
    directory.mkdir()


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


def count_differing(one: Path, other: Path) -> Difference:
    """Compare two checkpoints; a tensor that only one has, or in another form, differs whole."""
    ours, theirs = read_headers(one), read_headers(other)
    differing = elements = 0
    for name in sorted(ours.keys() | theirs.keys()):
        pair = [headers[name] for headers in (ours, theirs) if name in headers]
        elements += pair[0].parameters
        differing += _count_differing(pair)
    return Difference(differing, elements)


def _count_differing(pair: Sequence[TensorHeader]) -> int:
    import numpy

    if len({(header.dtype, header.shape) for header in pair}) > 1 or len(pair) == 1:
        return pair[0].parameters
    width = pair[0].size_bytes // pair[0].parameters
    one, other = (
        numpy.memmap(header.file, f"u{width}", "r", header.start, (header.parameters,))
        for header in pair
    )
    return int(numpy.count_nonzero(one != other))


def table(rounds: Sequence[Round]) -> str:
    """The Markdown table: seconds as minimum / median over the rounds."""
    lines = [
        "| tool | seconds, min / median | x cp | peak anonymous memory | CPU seconds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in rounds[0]:
        usages = [usages[name] for usages in rounds]
        seconds = [usage.seconds for usage in usages]
        to_cp = statistics.median(usages[name].seconds / usages["cp"].seconds for usages in rounds)
        cpu = statistics.median(usage.cpu_seconds for usage in usages)
        lines.append(
            f"| {name} | {min(seconds):.2f} / {statistics.median(seconds):.2f} | {to_cp:.2f} | "
            f"{_memory(usages)} | {cpu:.2f} |"
        )
    return "\n".join(lines)


def _memory(usages: Sequence[Usage]) -> str:
    peaks = [usage.peak_anonymous_bytes for usage in usages]
    known = [peak for peak in peaks if peak is not None]
    return size(max(known)) if known else "n/a"


def describe(
    scene: Scene, options: argparse.Namespace, differences: dict[str, Difference]
) -> list[str]:
    """What the table was measured on, and how: sentences."""
    found = collect_provenance(PACKAGES, root=scene.outputs)
    base, adapter = (measure_weights(read_headers(path)) for path in scene[:2])
    shape = SHAPES[options.shape]
    source = memory_source()
    rounds = f"{count(options.runs, 'round')} after a first that is not counted"
    facts = [
        f"{found.cpu}, {found.cpu_count} cores, {size(found.memory_bytes)}; {found.platform}",
        f"Python {found.python}, {', '.join(' '.join(item) for item in found.packages.items())}",
        f"{options.shape}: {base.parameters:,} bfloat16 weights, "
        f"{size(base.size_bytes)}: hidden {shape.hidden}, intermediate {shape.intermediate}, "
        f"{shape.layers} layers, vocabulary {shape.vocabulary}; adapter of rank {options.rank} "
        f"on all linear layers, float32, {size(adapter.size_bytes)}",
        f"{rounds if options.runs else 'one round, unwarmed'}; x cp and CPU seconds are medians, "
        "x cp of the ratios within each round",
        "the files read are in the page cache, and outputs in one file system; what was written "
        "is synced before the next tool starts, in nobody's time",
        f"memory: anonymous memory of the process and its children, from /proc/PID/{source}, "
        "every 50 ms"
        if source
        else "memory: n/a, this system has no /proc",
    ]
    absent = "mergekit did not take part: --mergekit names the Python that has it"
    facts.append(mergekit_versions(options.mergekit) if options.mergekit else absent)
    return facts + [
        f"{name} and gate: {one.differing:,} of {one.elements:,} elements differ "
        f"({one.differing / one.elements:.4%})"
        for name, one in differences.items()
    ]


def to_json(
    options: argparse.Namespace,
    rounds: Sequence[Round],
    differences: dict[str, Difference],
    facts: Sequence[str],
) -> dict[str, Any]:
    """Everything that was measured, each round on its own."""
    return {
        "shape": options.shape,
        "rank": options.rank,
        "rounds": [{name: one._asdict() for name, one in usages.items()} for usages in rounds],
        "differences": {name: one._asdict() for name, one in differences.items()},
        "facts": facts,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="3b")
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--work", type=Path, default=Path("build/merging"), help="kept")
    parser.add_argument("--mergekit", metavar="PYTHON", help="of an environment that has mergekit")
    parser.add_argument("--runs", type=int, default=3, help="rounds after the first; 0 shows that")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement")
    return parser.parse_args()


if __name__ == "__main__":
    main()
