"""Names of the same tensor in two places, where a prefix or a module is named otherwise."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from typing import NamedTuple

_RENAMED_MODULES = ((".block_sparse_moe.", ".mlp."),)
"""What a module is called on disk, and in the model that transformers 5 builds of it."""

_LONGEST_PREFIX = 3
_SHORTEST_TAIL = 2
_EXPERT = re.compile(
    r"(?P<container>(?:.*\.)?experts)\.(?P<expert>\d+)\."
    r"(?P<role>w1|w2|w3|gate_proj|up_proj|down_proj)\.weight"
)
_ROLES = {
    "w1": ("gate_up_proj", 0),
    "gate_proj": ("gate_up_proj", 0),
    "w3": ("gate_up_proj", 1),
    "up_proj": ("gate_up_proj", 1),
    "w2": ("down_proj", None),
    "down_proj": ("down_proj", None),
}


class ExpertTensor(NamedTuple):
    """A tensor on disk as a part of a parameter that transformers 5 fuses.

    Attributes:
        container: the module that holds all the experts.
        parameter: gate_up_proj or down_proj.
        expert: which one; None for a tensor that holds all of them.
        half: 0 for gate, 1 for up; None for the whole of the parameter's rows.
    """

    container: str
    parameter: str
    expert: int | None
    half: int | None


def expert_tensor(name: str) -> ExpertTensor | None:
    """The place of a tensor among fused experts, by its name; None where it is none of them."""
    if match := _EXPERT.fullmatch(name):
        parameter, half = _ROLES[match["role"]]
        return ExpertTensor(match["container"], parameter, int(match["expert"]), half)
    container, _, parameter = name.rpartition(".")
    if container.endswith("experts") and parameter in ("gate_up_proj", "down_proj"):
        return ExpertTensor(container, parameter, None, None)
    return None


def align(wanted: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """For each name the known one that means the same; a name without one is left out.

    A name is itself where that is known. Else one prefix is taken off or put on, or its parts are
    swapped (`model.language_model.` for `language_model.model.`): the change that explains most
    names first, and no known name is given twice.
    """
    by_model_name = {_in_model(name): name for name in known}
    found = {}
    missing = []
    for name in wanted:
        exact = name if name in known else by_model_name.get(_in_model(name))
        if exact is None:
            missing.append(name)
        else:
            found[name] = exact
    free = {name: real for name, real in by_model_name.items() if real not in found.values()}
    while missing:
        change = _best_change(missing, free)
        if change is None:
            break
        remove, add = change
        for name in [name for name in missing if _in_model(name).startswith(remove)]:
            target = add + _in_model(name)[len(remove) :]
            if target in free:
                found[name] = free.pop(target)
                missing.remove(name)
    return found


def _best_change(missing: Iterable[str], free: Collection[str]) -> tuple[str, str] | None:
    tails: defaultdict[str, list[str]] = defaultdict(list)
    for name in free:
        for prefix, tail in _cuts(name):
            tails[tail].append(prefix)
    votes = Counter(
        (remove, add)
        for name in missing
        for remove, tail in _cuts(_in_model(name))
        for add in tails.get(tail, ())
        if remove != add and _means_the_same(remove, add)
    )
    if not votes:
        return None
    return min(votes, key=lambda pair: (-votes[pair], len(pair[0]) + len(pair[1]), pair))


def _cuts(name: str) -> Iterable[tuple[str, str]]:
    parts = name.split(".")
    for count in range(min(_LONGEST_PREFIX, len(parts) - _SHORTEST_TAIL) + 1):
        yield "".join(f"{part}." for part in parts[:count]), ".".join(parts[count:])


def _means_the_same(remove: str, add: str) -> bool:
    return not remove or not add or sorted(remove.split(".")) == sorted(add.split("."))


def _in_model(name: str) -> str:
    for on_disk, in_model in _RENAMED_MODULES:
        name = name.replace(on_disk, in_model)
    return name
