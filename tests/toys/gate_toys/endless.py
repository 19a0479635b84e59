"""A merger that never ends."""

import threading
from pathlib import Path


def merge(base: Path, adapters, out: Path) -> None:
    threading.Event().wait()
