"""The text of a first gate.yaml and suite.yaml: short, commented, and loadable as it is."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from gate.starting.proposing import Proposal, Proposals
from gate.starting.tasks import NOT_TEXT, StarterTask

_PLAIN = re.compile(r"(?:[A-Za-z_/]|\.\./)[A-Za-z0-9_./@-]*")
_FEWEST_CLUSTERS = 20
_MOST_SLICES = 20
_SPARE = "can be run here; remove the # to judge it too"


def write_gate(release: str, base: str, adapters: Mapping[str, str], proposals: Proposals) -> str:
    """The text of gate.yaml.

    Args:
        release: its name.
        base: where the base is, from gate.yaml's folder.
        adapters: {name: where it is}, likewise.
        proposals: the variants.
    """
    named = ", ".join(f"{yaml_text(name)}: {yaml_text(path)}" for name, path in adapters.items())
    active = [one for one in proposals.variants if one.is_active]
    width = max(len(one.name) for one in active) + 1
    ship = [one.name for one in active if one.name not in ("base", "adapter")]
    lines = [
        "# Written by gate init. `gate plan` tells what it would do, `gate run` does it.",
        f"release: {yaml_text(release)}",
        "candidate:",
        f"  base: {yaml_text(base)}",
        f"  adapters: {{{named}}}",
        "  # training_run: mlflow:/runs/...   # which run made it; goes into the record",
        "variants:",
        *(line for one in proposals.variants for line in _variant(one, width)),
        "backend: hf                           # for the variants that name none",
        f"ship: [{', '.join(ship)}]   # up for release; each must pass every check of its lineage",
        "suite: suite.yaml",
        "# serving: {variants: 1, requests_per_second: 1, still_iterating: false, "
        "further_training: false}",
        "#   # how it will be served, for advice on whether to merge at all; changes no verdict",
    ]
    return "\n".join(lines) + "\n"


def write_suite(tasks: Sequence[StarterTask], *, texts: str | None, calibration: str | None) -> str:
    """The text of suite.yaml.

    Args:
        tasks: what a release must pass, at least one.
        texts: a file of texts to be read token by token, None for none.
        calibration: a file of inputs for quantizers, None for none.
    """
    lines = [
        "# Written by gate init: what a release must pass. A starting point, not a policy: the",
        "# bounds are the smallest that so many documents can prove, not those you can live with.",
        "tasks:",
        *(line for task in tasks for line in _task(task)),
    ]
    if texts:
        lines += ["# Read token by token, to find the closest merge.", "texts:"]
        lines += [f"  - {{name: texts, path: {texts}}}"]
    if calibration:
        lines += ["# Shown to quantizers that calibrate, and judged by no task.", "calibration:"]
        lines += [f"  - {{path: {calibration}}}"]
    lines += ["checks:", *(line for task in tasks for line in _checks(task, len(tasks)))]
    return "\n".join(lines) + "\n"


def yaml_text(text: str) -> str:
    """A text as YAML reads it back: bare where that is safe, else in quotes."""
    is_bare = _PLAIN.fullmatch(text) and not NOT_TEXT.fullmatch(text)
    return text if is_bare else json.dumps(text, ensure_ascii=False)


def _variant(one: Proposal, width: int) -> Iterator[str]:
    if one.is_active:
        yield f"  {one.name + ':':<{width}} {one.settings}   # {one.why}"
        return
    yield f"  # {one.why}: {_SPARE if one.needs is None else f'needs {one.needs}'}"
    yield f"  # {one.name}: {one.settings}"


def _task(task: StarterTask) -> Iterator[str]:
    if task.is_smoke:
        yield "  # General knowledge of ours, a smoke test: it finds a broken model, and says"
        yield "  # nothing of what your adapter is for. Give gate init your own: --data FILE."
    else:
        yield "  # Were these lines held back from training? If not, they flatter the verdict."
    yield f"  - name: {task.name}"
    yield f"    metric: {task.metric}"
    yield f"    path: tasks/{task.name}.yaml"
    if task.chat:
        yield "    chat: true                         # prompts go through the chat template"
    if task.limit is not None:
        yield f"    limit: {task.limit:<4}                        # of {task.documents:,} documents"
    for field, groups in task.groups:
        named = yaml_text(field)
        if groups >= _FEWEST_CLUSTERS:
            yield f"    # cluster: {named}   # {groups} groups: do lines of one vary together?"
        if groups <= _MOST_SLICES:
            yield f"    # slice: {named}   # {groups} groups: show every check for each as well?"


def _checks(task: StarterTask, tasks: int) -> Iterator[str]:
    only = f", tasks: [{task.name}]" if tasks > 1 else ""
    margin = f"margin: {task.margin:g}"
    if task.is_smoke:
        yield "  # Training forgot little."
        yield f"  - {{of: adapter, against: base, compare: delta, {margin}{only}}}"
    else:
        yield f"  # Training helped at {task.name}."
        yield f"  - {{of: adapter, against: base, compare: delta, at_least: 0{only}}}"
    yield "  # Merging changed nothing, for better or worse."
    yield f"  - {{of: merged, against: adapter, compare: delta, {margin}, two_sided: true{only}}}"
    yield "  # Quantizing cost little."
    yield f"  - {{of: quantized, against: merged, compare: delta, {margin}{only}}}"
