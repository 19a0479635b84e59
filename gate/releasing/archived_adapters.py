"""The adapters behind a release, which no merged model gives back: proven, then copied."""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from gate.digest import digest_file
from gate.releasing.manifest import Manifest
from gate.releasing.release import ADAPTERS_FOLDER
from gate.releasing.tree import path_fault, shown
from gate.terms import Source

_NOTICE = re.compile(r"(readme|license|licence|notice)(\.\w+)?", re.IGNORECASE)


def adapter_faults(source: Source, folder: Path) -> Iterator[str]:
    """Why the files of a folder are not the adapter that was judged, a sentence each.

    Of one from the hub, whose commit stands for its bytes, only that it is there can be told.

    Raises:
        OSError: a file cannot be read.
    """
    if not folder.is_dir():
        yield f"{folder} is no directory; --adapter NAME=DIR says where its files are"
        return
    if not source.manifest:
        if not _files(source, folder):
            yield f"{folder} has no files"
        return
    for name, digest in source.manifest.items():
        if fault := path_fault(name):
            yield f"{shown(name)} {fault}"
        elif not (folder / name).is_file():
            yield f"{folder} has no {shown(name)}, which was judged"
        elif digest_file(folder / name) != digest:
            yield f"{shown(name)} in {folder} is not what was judged"


def archive(source: Source, folder: Path, out: Path) -> None:
    """Copy what was judged of an adapter, with its readme and licence, into a new folder.

    Raises:
        OSError: a file cannot be read or written.
    """
    for name, file in _files(source, folder).items():
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def archive_faults(adapters: Mapping[str, Source], manifest: Manifest) -> Iterator[str]:
    """How archived adapters are not those that were merged, where their files are known.

    Of an adapter from the hub the commit alone is known. An adapter's readme may lie beside it.

    Args:
        adapters: {name: where it came from} of a record.
        manifest: of the release, which has no files of an adapter that is not behind it.
    """
    for name, source in adapters.items():
        prefix = f"{ADAPTERS_FOLDER}/{name}/"
        archived = {
            path.removeprefix(prefix): entry.sha256
            for path, entry in manifest.evidence.items()
            if path.startswith(prefix)
        }
        for path, digest in source.manifest.items() if archived else ():
            if archived.get(path) != digest:
                yield f"{shown(prefix + path)} is not the adapter's that was merged"


def _files(source: Source, folder: Path) -> Mapping[str, Path]:
    """{relative path: file}; snapshots of the hub are made of links, which are followed."""
    if source.manifest:
        found = {name: folder / name for name in source.manifest}
        return found | {one.name: one for one in folder.iterdir() if _is_notice(one)}
    files = sorted(one for one in folder.rglob("*") if one.is_file())
    return {one.relative_to(folder).as_posix(): one for one in files}


def _is_notice(file: Path) -> bool:
    return file.is_file() and _NOTICE.fullmatch(file.name) is not None
