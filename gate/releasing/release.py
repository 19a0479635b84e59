"""A release that is ready to be published: a staged folder, and what it is."""

from pathlib import Path
from typing import NamedTuple

EVIDENCE_FOLDER = "mergegate"
"""The folder of a release in which its evidence lies; all other files are the artifact's."""

MANIFEST_FILE = f"{EVIDENCE_FOLDER}/manifest.json"
ENVELOPE_FILE = f"{EVIDENCE_FOLDER}/statement.dsse.json"
RECORD_FILE = f"{EVIDENCE_FOLDER}/record.json"
ADAPTERS_FOLDER = f"{EVIDENCE_FOLDER}/adapters"
CARD_FILE = "README.md"


class Release(NamedTuple):
    """A promoted variant with its evidence, whole in a folder that nothing else writes to.

    Attributes:
        name: of the release, as in the record.
        variant: the variant that is published.
        artifact_name: its traceable name.
        folder: everything that is published: the artifact's files at the top, evidence below
            `EVIDENCE_FOLDER`.
        digest: content id of the artifact's files, as judged.
        tags: {name: value} for registries: verdict, digests, base, adapters, suite, scores.
    """

    name: str
    variant: str
    artifact_name: str
    folder: Path
    digest: str
    tags: dict[str, str]


class Published(NamedTuple):
    """Where a release went.

    Attributes:
        place: what it is found by from now on: a path, a URL, a model version.
        before: what was current there before; None where nothing was.
    """

    place: str
    before: str | None = None
