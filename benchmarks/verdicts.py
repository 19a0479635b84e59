"""How often the gate errs: candidates of a known truth, judged by its own judge.

python benchmarks/verdicts.py [--quick] [--markdown docs/verdicts.md]
"""

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import tables
from cases import cases, sequential_cases
from sequences import Paths


def main() -> None:
    """Print each table as it is found, and write it where the file has its mark."""
    options = _options()
    for name, make in _sections(quick=options.quick).items():
        if options.only and name not in options.only:
            continue
        begun = time.perf_counter()
        table = "\n".join(make())
        print(f"{name}\n\n{table}\n", flush=True)
        print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr)
        if options.markdown:
            write_at_mark(options.markdown, name, table)


def write_at_mark(file: Path, name: str, table: str) -> None:
    """Replace what stands between a table's mark and the next end mark of a file."""
    begin, end = f"<!-- {name}: by benchmarks/verdicts.py -->", "<!-- end -->"
    text = file.read_text(encoding="utf-8")
    marked = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", re.DOTALL)
    if not marked.search(text):
        sys.exit(f"benchmark: {file} has no {begin} ... {end} to write between")
    file.write_text(marked.sub(lambda _: f"\n{table}\n\n", text, count=1), encoding="utf-8")


def _sections(*, quick: bool) -> dict[str, Callable[[], Iterator[str]]]:
    repetitions = 100 if quick else 2000
    paths = 2_000 if quick else 100_000
    documents = 1_600 if quick else 12_800
    return {
        "binary": tables.binary,
        "corner": partial(tables.corner, step=50 if quick else 1),
        "wald": tables.wald,
        "family": partial(tables.family, (500,) if quick else (500, 1000)),
        "others": partial(tables.others, cases(), repetitions),
        "sequential": partial(tables.sequential, Paths(documents), paths, 5 if quick else 50),
        "looks": partial(tables.others, sequential_cases(), repetitions),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a minute instead of an hour")
    parser.add_argument("--only", nargs="+", choices=_sections(quick=True), metavar="TABLE")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write each table at its mark"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
