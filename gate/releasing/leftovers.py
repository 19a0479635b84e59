"""What a download leaves beside a release: named once, with the way to be rid of it."""

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType

from gate.releasing.tree import shown

_LEFT: Mapping[str, str] = MappingProxyType(
    {
        ".cache/huggingface": "by hf download, for itself: remove .cache",
        ".git": "by git clone: remove it",
        ".gitattributes": "by the Hub: remove it, or download with --exclude .gitattributes",
    }
)
"""{file or folder: who left it there, and what to do}."""


def added_faults(paths: Collection[str]) -> Iterator[str]:
    """A sentence for each file that was added to a release, and one for all that a client left.

    None is passed over: what a release may be changed by without a word is where to hide a file.

    Args:
        paths: relative posix paths of the files that its manifest does not list.
    """
    left = {path: _left(path) for path in sorted(paths)}
    for name in dict.fromkeys(one for one in left.values() if one):
        yield f"{name} was added {_LEFT[name]}, then verify again"
    yield from (f"{shown(path)} was added" for path, name in left.items() if name is None)


def _left(path: str) -> str | None:
    """The entry of what clients leave that a path is, or lies in; None for any other path."""
    return next((name for name in _LEFT if f"{path}/".startswith(f"{name}/")), None)
