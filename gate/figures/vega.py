"""The script that draws specifications in a page: Vega, Vega-Lite and Vega-Embed as one text.

vl-convert brings and bundles them; as that takes more than a second, the text is kept in the
user's cache folder, by vl-convert's version.
"""

import contextlib
from functools import cache
from importlib import metadata

from gate.figures.kept import NOT_KEPT, write_whole
from gate.storing import cache_folder

_ENTRY = "window.vegaEmbed = vegaEmbed;"

_END = "\n/* whole */\n"
"""A text that does not end so was not kept whole."""


@cache
def vega_script() -> str:
    """JavaScript that defines `window.vegaEmbed`; the same text for one version of vl-convert."""
    name = f"vega-embed-{metadata.version('vl-convert-python')}.js"
    with contextlib.suppress(*NOT_KEPT):
        text = (cache_folder() / name).read_text(encoding="utf-8")
        if text.endswith(_END):
            return text
    import vl_convert

    text = str(vl_convert.javascript_bundle(_ENTRY)) + _END
    with contextlib.suppress(*NOT_KEPT):
        write_whole(cache_folder() / name, text.encode())
    return text
