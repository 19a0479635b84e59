"""gate schema: what record.json is made of, for programs that read it."""

import sys


def schema() -> None:
    """Print the JSON Schema of record.json, of the version that this gate writes."""
    from gate.reporting.record_schema import schema_text

    sys.stdout.write(schema_text())
