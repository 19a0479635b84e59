"""The JSON Schema of record.json, from the nouns that it is written by."""

import json

from gate.records import SCHEMA_VERSION, Record

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_text() -> str:
    """The schema as JSON, of what is written, so that a file without a newer field is valid too.

    Its version is the record's `schema_version`, and it holds for records of that version alone.
    """
    found = Record.model_json_schema(mode="serialization")
    found["properties"]["schema_version"]["const"] = SCHEMA_VERSION
    head = {
        "$schema": _DIALECT,
        "$id": f"urn:mergegate:record:{SCHEMA_VERSION}",
        "title": f"mergegate record, schema version {SCHEMA_VERSION}",
        "version": SCHEMA_VERSION,
    }
    return json.dumps(head | {key: found[key] for key in found if key not in head}, indent=1) + "\n"
