"""Why a file cannot be read as a record, and what to do about it."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from gate.errors import RecordError
from gate.presentation import count, one_line
from gate.records import SCHEMA_VERSION

_CUT_OFF = "EOF while parsing"
"""What pydantic says of JSON that ends too early, and of no other."""

_ENDING = 40
_AGAIN = "take the file that gate run wrote, or run the gate again: finished stages are kept"


class _Written(BaseModel):
    """Which gate wrote a record, as far as it says so."""

    model_config = ConfigDict(extra="ignore")

    gate_version: str = "an older version"


class _Versioned(BaseModel):
    """Just enough of a record to know whether the rest can be read."""

    model_config = ConfigDict(extra="ignore")

    schema_version: int
    provenance: _Written = _Written()


def check_version(file: Path, content: bytes) -> None:
    """See that a record is of the schema version that this gate reads.

    Raises:
        RecordError: it is of another one.
        ValidationError: it says no version, or is not JSON.
    """
    found = _Versioned.model_validate_json(content)
    if found.schema_version == SCHEMA_VERSION:
        return
    remedy = (
        "install a newer mergegate"
        if found.schema_version > SCHEMA_VERSION
        else f"render it with the mergegate that wrote it ({found.provenance.gate_version}), "
        "or run the gate again"
    )
    raise RecordError(
        f"{file} is a record of schema version {found.schema_version}, "
        f"and this gate reads version {SCHEMA_VERSION}",
        hint=remedy,
    )


def why_unreadable(file: Path, content: bytes, error: ValidationError) -> RecordError:
    """What is wrong with a file that is no record of the right version.

    Args:
        file: for the message.
        content: all its bytes.
        error: what came of reading them.
    """
    if not content.strip():
        return RecordError(f"{file} is empty", hint=_AGAIN)
    first = error.errors()[0]
    if first["type"] != "json_invalid":
        where = ".".join(str(part) for part in first["loc"])
        problem = f"{where}: {first['msg']}" if where else first["msg"]
        return RecordError(f"{file} is not a record: {problem}", hint=_AGAIN)
    if _CUT_OFF in first["msg"]:
        end = one_line(content[-4 * _ENDING :].decode(errors="replace"), 4 * _ENDING)[-_ENDING:]
        return RecordError(
            f"{file} is cut off: its {count(len(content), 'byte')} end at {end!r}", hint=_AGAIN
        )
    return RecordError(f"{file} is not JSON: {first['msg']}", hint=_AGAIN)
