"""Figures as pictures: the same specifications drawn by vl-convert, without a browser."""

import json
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from importlib import metadata
from itertools import chain
from pathlib import Path
from typing import Any

from markupsafe import escape

from gate.digest import digest_file, digest_json
from gate.figures.kept import keep
from gate.figures.theme import FONT, for_page

_PNG = b"\x89PNG\r\n\x1a\n"
_TAG = re.compile(r'<(?:[^>"]|"[^"]*")*>')
_PLACE = re.compile(r' (?:[cdrxy]|[cr]?[xy]|[xy][12]|transform|width|height|viewBox)="[^"]*"')
_NUMBER = re.compile(r"(\.\d{2})\d+")
_CLIP = re.compile(r'(?<=id=")clip\d+(?=")|(?<=url\(#)clip\d+(?=\))')
_IDENTITY = 8
"""Hexadecimal digits that tell one figure of a page from another."""

_MOST_KEPT = 400
"""Drawings that are kept: those of some twenty reports."""

_TOKEN = re.compile(r"(?<=>)[0-9a-f]+(?=</text>)")
_NEEDLESS = re.compile(
    f' (?:aria-hidden="true"|font-family="{re.escape(FONT)}"|font-weight="normal"'
    '|text-anchor="start")|<path [^>]*opacity="0"/>'
)
"""What goes without saying of every mark, as the page says it of the drawing; what is not seen."""


@lru_cache(maxsize=64)
def draw_svg(spec: str) -> str:
    """A specification as an SVG document, on white paper, to a hundredth of a pixel."""
    return _put(*_draw(spec))


def draw_for_page(spec: str) -> str:
    """A specification as an SVG element in the colours of the page that it stands in."""
    svg, texts = _draw(spec)
    return _put(for_page(_NEEDLESS.sub("", svg)), texts)


def draw_png(spec: str, *, scale: float = 2.0) -> bytes:
    """A specification as a PNG picture, `scale` pixels to one of the specification's."""
    svg = draw_svg(spec)
    return keep("drawings", _key("png", svg, str(scale)), lambda: _png(svg, scale), most=_MOST_KEPT)


def _png(svg: str, scale: float) -> bytes:
    import vl_convert

    return _deflated(bytes(vl_convert.svg_to_png(svg, scale=scale)))


def _draw(spec: str) -> tuple[str, list[str]]:
    """A drawing with tokens in it, and the texts that they stand for.

    vl-convert measures every text, which takes it a tenth of a millisecond a letter. Texts that a
    specification names in `usermeta.texts`, as fields whose `fitted` fits where they stand, are
    drawn as short tokens.
    """
    read = json.loads(spec)
    texts: list[str] = []
    for row in _rows(read):
        for field in read.get("usermeta", {}).get("texts", ()):
            if row.get(field):
                texts.append(row.pop("fitted", None) or row[field])
                row[field] = f"{len(texts) - 1:x}"
    tokens = json.dumps(read)
    svg = keep("drawings", _key("svg", tokens), lambda: _svg(tokens), most=_MOST_KEPT).decode()
    return _identified(svg, digest_json(spec)[:_IDENTITY]), texts


def _svg(spec: str) -> bytes:
    """A specification drawn by vl-convert, with its places rounded."""
    import vl_convert

    svg = str(vl_convert.vegalite_to_svg(spec))
    return _TAG.sub(lambda tag: _PLACE.sub(_rounded, tag[0]), svg).encode()


def _key(*parts: str) -> str:
    """Names what is drawn, by what draws it."""
    return digest_json([*_drawn_by(), *parts])


@cache
def _drawn_by() -> tuple[str, str]:
    return metadata.version("vl-convert-python"), digest_file(Path(__file__))


def _identified(svg: str, name: str) -> str:
    """The drawing with its own ids: vl-convert counts on over all that a process ever drew."""
    places = {found: place for place, found in enumerate(dict.fromkeys(_CLIP.findall(svg)))}
    return _TAG.sub(
        lambda tag: _CLIP.sub(lambda clip: f"clip-{name}-{places[clip[0]]}", tag[0]), svg
    )


def _rounded(place: re.Match[str]) -> str:
    return _NUMBER.sub(r"\1", place[0])


def _put(svg: str, texts: list[str]) -> str:
    """The texts in the place of their tokens."""
    return _TOKEN.sub(lambda found: str(escape(texts[int(found[0], 16)])), svg) if texts else svg


def _deflated(png: bytes) -> bytes:
    """The same picture in a third of the bytes: vl-convert packs in haste."""
    kept, pixels, place = [], b"", len(_PNG)
    while place < len(png):
        (length,) = struct.unpack_from(">I", png, place)
        kind, data = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        if kind == b"IDAT":
            pixels += data
        else:
            kept.append((kind, data))
        place += 12 + length
    packed = (b"IDAT", zlib.compress(zlib.decompress(pixels), 6))
    return _PNG + b"".join(_chunk(*one) for one in (*kept[:-1], packed, kept[-1]))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _rows(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The values of a specification's named data."""
    datasets: Iterable[list[dict[str, Any]]] = spec.get("datasets", {}).values()
    return chain.from_iterable(datasets)
