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


@cache
def vega_script() -> str:
    """JavaScript that defines `window.vegaEmbed`; the same text for one version of vl-convert."""
    import vl_convert

    kept = cache_folder() / f"vega-embed-{metadata.version('vl-convert-python')}.js"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        text = kept.read_text(encoding="utf-8")
        if text.endswith(_END):
            return text
    text = str(vl_convert.javascript_bundle(_ENTRY)) + _END
    with contextlib.suppress(OSError):
        _keep(kept, text)
    return text


_END = "\n/* whole */\n"
"""A text that does not end so was not kept whole."""


def _keep(file: Path, text: str) -> None:
    """Write a file under its name whole, whoever else writes it too."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=file.parent, delete=False) as fresh:
        fresh.write(text)
    Path(fresh.name).replace(file)
