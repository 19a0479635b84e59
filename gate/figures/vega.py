"""The script that draws specifications in a page: Vega, Vega-Lite and Vega-Embed as one text.

vl-convert brings and bundles them; as that takes more than a second, the text is kept in the
user's cache folder, by vl-convert's version.
"""

import contextlib
import tempfile
from functools import cache
from importlib import metadata
from pathlib import Path

from gate.storing import cache_folder

_ENTRY = "window.vegaEmbed = vegaEmbed;"

_END = "\n/* whole */\n"
"""A text that does not end so was not kept whole."""

_NOT_KEPT = (OSError, UnicodeDecodeError, RuntimeError)
"""What a cache that is not there, or not whole, comes to; the last is of a user without a home."""


@cache
def vega_script() -> str:
    """JavaScript that defines `window.vegaEmbed`; the same text for one version of vl-convert."""
    import vl_convert

    name = f"vega-embed-{metadata.version('vl-convert-python')}.js"
    with contextlib.suppress(*_NOT_KEPT):
        text = (cache_folder() / name).read_text(encoding="utf-8")
        if text.endswith(_END):
            return text
    text = str(vl_convert.javascript_bundle(_ENTRY)) + _END
    with contextlib.suppress(*_NOT_KEPT):
        _keep(cache_folder() / name, text)
    return text


def _keep(file: Path, text: str) -> None:
    """Write a file under its name whole, whoever else writes it too."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=file.parent, delete=False) as fresh:
        unnamed = Path(fresh.name)
        try:
            fresh.write(text)
            fresh.flush()
            unnamed.replace(file)
        finally:
            unnamed.unlink(missing_ok=True)
