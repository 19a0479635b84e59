"""What the demo takes: its stages, a run with nothing left to do, and the command line alone.

gate run evalsuites/demo/gate.yaml && python benchmarks/demo.py
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from gate.presentation import duration, size
from gate.reporting.report_files import read_record

RUNS = 5
GATE = "evalsuites/demo/gate.yaml"


def main() -> None:
    """Print a table; the demo has been run in this folder before."""
    finished = sorted(Path("reports/v3").glob("*/record.json"))
    if not finished:
        sys.exit(f"no record of the demo: run 'gate run {GATE}' first")
    record = read_record(finished[-1])
    print("| stage | time | peak memory |")
    print("| --- | --- | --- |")
    for stage in record.stages:
        print(f"| {stage.label} | {duration(stage.seconds)} | {size(stage.peak_memory_bytes)} |")
    total = sum(stage.seconds for stage in record.stages)
    print(f"| all {len(record.stages)} stages | {duration(total)} | |")
    print()
    print(f"| command, median of {RUNS} | time |")
    print("| --- | --- |")
    print(f"| gate --help | {_median(['--help'])} |")
    print(f"| gate plan, nothing to run | {_median(['plan', GATE])} |")
    print(f"| gate run, nothing to run | {_median(['run', GATE])} |")


def _median(arguments: list[str]) -> str:
    command = [sys.executable, "-c", "from gate.cli import main; main()", *arguments]
    seconds = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - begun)
    return duration(statistics.median(seconds))


if __name__ == "__main__":
    main()
