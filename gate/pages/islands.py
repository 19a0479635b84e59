"""Data inside a page: compressed, and spelt so that nothing in it can be taken for markup."""

import base64
import gzip


def pack(text: str) -> str:
    """A text as base64 of its gzip; the same for the same text."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode("ascii")


def unpack(packed: str) -> str:
    """The text that `pack` was given."""
    return gzip.decompress(base64.b64decode(packed)).decode()
