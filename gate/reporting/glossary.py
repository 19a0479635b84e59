"""What the words and numbers of a report mean, shown where they stand and at its end."""

from gate.reporting.definitions import CHECK_TERMS, Definition
from gate.reporting.measures import MEASURE_TERMS

GLOSSARY: dict[str, Definition] = {**CHECK_TERMS, **MEASURE_TERMS}
"""{term: its definition}; a template names a term by `data-term`."""
