"""What scoring takes by lm-eval's own HFLM and by the gate's hf engine, in one process, by turns.

python benchmarks/engines.py --base models/smollm2-135m-instruct --adapter evalsuites/demo/adapter
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from choice_task import CHOICES, write_task
from processes import Watch

from gate.presentation import size

_DTYPES = ("bfloat16", "float32", "float16")


class Arm(NamedTuple):
    """A variant that both load, and how: its directories, type and batch."""

    name: str
    base: Path
    adapter: Path | None
    dtype: str
    batch_size: int


class Round(NamedTuple):
    """One scoring of all requests.

    Attributes:
        seconds: of wall clock.
        memory_bytes: the most anonymous memory of this process meanwhile, both models in it.
        answers: for each request its log-likelihood in nats, and whether it is greedy.
    """

    seconds: float
    memory_bytes: int | None
    answers: list[tuple[float, bool]]


class Compared(NamedTuple):
    """Both of them on one arm: their rounds, each in the order in which they were run."""

    reference: tuple[Round, ...]
    ours: tuple[Round, ...]


def main() -> None:
    """Print the table, a row for each arm as soon as it is measured."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="engines-") as folder:
        requests = make_requests(Path(folder), documents=options.documents)
        print(
            f"{options.documents} documents of {CHOICES} choices, {options.dtype}, batch "
            f"{options.batch_size}, best of {options.rounds}"
        )
        print()
        print(
            "| arm | lm-eval, s | gate, s | gain | largest difference, nats | greedy flags that "
            "differ | memory with lm-eval | with the gate |"
        )
        print("|" + " --- |" * 8, flush=True)
        adapters = (None, options.adapter) if options.adapter else (None,)
        for adapter in adapters:
            name = "base" if adapter is None else "adapter"
            arm = Arm(name, options.base, adapter, options.dtype, options.batch_size)
            print(tell(arm, compare(arm, requests, rounds=options.rounds)), flush=True)


def make_requests(folder: Path, *, documents: int) -> list[Any]:
    """The requests of lm-eval for the task of the benchmarks, a document's choices in a row."""
    from gate.evaluating.loading import load_task
    from gate.terms import Task

    path = write_task(folder, documents=documents)
    task = load_task(Task(name=path.stem, metric="acc", path=str(path)), folder).inner
    task.build_all_requests(rank=0, world_size=1)
    return list(task.instances)


def compare(arm: Arm, requests: Sequence[Any], *, rounds: int) -> Compared:
    """Have both score the same requests, by turns, each loaded once."""
    found = Compared((), ())
    with _opened(arm) as engine:
        reference = _reference(arm)
        for _ in range(rounds):
            found = Compared(
                (*found.reference, _score(reference, requests)),
                (*found.ours, _score(engine, requests)),
            )
    return found


def tell(arm: Arm, found: Compared) -> str:
    """A row of the table."""
    reference, ours = (min(rounds, key=lambda one: one.seconds) for rounds in found)
    pairs = list(zip(reference.answers, ours.answers, strict=True))
    nats = max(abs(theirs[0] - own[0]) for theirs, own in pairs)
    greedy = sum(theirs[1] != own[1] for theirs, own in pairs)
    cells = (
        *(arm.name, f"{reference.seconds:.2f}", f"{ours.seconds:.2f}"),
        *(f"{reference.seconds / ours.seconds:.2f} x", f"{nats:.1e}", f"{greedy} of {len(pairs)}"),
        *(size(reference.memory_bytes), size(ours.memory_bytes)),
    )
    return f"| {' | '.join(cells)} |"


def _reference(arm: Arm) -> Any:
    from lm_eval.models.huggingface import HFLM

    peft = {} if arm.adapter is None else {"peft": str(arm.adapter)}
    given = {"dtype": arm.dtype, "batch_size": arm.batch_size, "device": "cpu"}
    return HFLM(pretrained=str(arm.base), **given, **peft)


@contextmanager
def _opened(arm: Arm) -> Iterator[Any]:
    from gate.backends.hf import open_model
    from gate.terms import LocalAdapter

    adapters = [] if arm.adapter is None else [LocalAdapter(name="tuned", path=arm.adapter)]
    given: Any = {"dtype": arm.dtype, "batch_size": arm.batch_size, "device": "cpu"}
    with open_model(arm.base, adapters, **given) as lm:
        yield lm


def _score(lm: Any, requests: Sequence[Any]) -> Round:
    watch, begun = Watch(os.getpid()), time.perf_counter()
    answers = lm.loglikelihood(list(requests), disable_tqdm=True)
    seconds = time.perf_counter() - begun
    return Round(seconds, watch.stop(), [(float(score), bool(flag)) for score, flag in answers])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--base", type=Path, required=True, help="a base model")
    parser.add_argument("--adapter", type=Path, help="an adapter for it")
    parser.add_argument("--documents", type=int, default=60, help="of ten choices each")
    parser.add_argument("--rounds", type=int, default=3, help="the best counts")
    parser.add_argument("--dtype", choices=_DTYPES, default="bfloat16", help="to compute in")
    parser.add_argument("--batch-size", type=int, default=32, help="of both")
    return parser.parse_args()


if __name__ == "__main__":
    main()
