"""What changed between two stages of one label, in words."""

from collections.abc import Callable, Iterator

from gate.terms import Stage

ManifestOf = Callable[[str], dict[str, str]]
"""Content id of a source -> {file: sha256} of what it was made of; empty where not known."""


def differences(old: Stage, new: Stage, manifest_of: ManifestOf) -> Iterator[str]:
    """Each input, setting, version or piece of code that is not the same.

    Args:
        old: the stage as it was.
        new: the stage as it would be now.
        manifest_of: tells which files a source was made of.
    """
    for role in sorted(old.inputs.keys() | new.inputs.keys()):
        before, after = old.inputs.get(role), new.inputs.get(role)
        if before != after:
            files = _files(manifest_of(str(before)), manifest_of(str(after)))
            yield f"{role.removeprefix('adapter:')} changed{files}"
    if old.use != new.use:
        yield f"{old.use} became {new.use}"
    if old.task != new.task:
        yield "the task's settings changed"
    if old.code != new.code:
        yield f"the code behind {new.use.name} changed"
    for name in sorted(old.packages.keys() | new.packages.keys()):
        if old.packages.get(name) != new.packages.get(name):
            yield f"{name} {old.packages.get(name)} -> {new.packages.get(name)}"


def _files(old: dict[str, str], new: dict[str, str]) -> str:
    """The files that differ, in brackets; '' where that is not known."""
    if not (old and new):
        return ""
    changed = [name for name in sorted(old | new) if old.get(name) != new.get(name)]
    return f" ({', '.join(changed)})" if changed else ""
