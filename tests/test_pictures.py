"""The key figure as a picture: what stands on it, and that it is what it says it is."""

import json
import struct
import zlib
from xml.etree import ElementTree

import pytest
from records_builder import build_record

from gate.figures.facts import numbered
from gate.figures.pictures import MOST_ROWS, checks_picture
from gate.records import Record
from gate.renderers import png, svg
from gate.reporting.concerns import ASIDE


@pytest.fixture(scope="module")
def record() -> Record:
    return build_record()


def texts(record: Record) -> list[str]:
    return [row["text"] for row in json.loads(checks_picture(record))["datasets"]["words"]]


def test_a_picture_names_the_release_its_verdict_and_its_counts(record):
    said = texts(record)
    assert said[0] == "support-bot-v3: block"
    assert said[1].startswith("20 checks: ")


def test_what_did_not_pass_is_on_the_picture_and_the_rest_is_counted(record):
    passed, failed = record.results[0], record.results[13]
    many = record.model_copy(update={"results": (*[passed] * 40, failed)})
    rows = json.loads(checks_picture(many))["datasets"]["told"]
    assert len(rows) == MOST_ROWS
    assert any(row["facts"]["Check"].startswith("#41 ") for row in rows)
    more = f"And {41 - MOST_ROWS} more checks: all passed, with more room to their bounds."
    assert more in texts(many)


def test_failures_that_have_no_room_are_counted_too(record):
    many = record.model_copy(update={"results": (record.results[13],) * 30})
    left_out = 30 - MOST_ROWS
    assert f"And {left_out} more checks: {left_out} of them did not pass." in texts(many)


def test_what_does_not_ship_is_counted_below_what_does(record):
    one = record.model_copy(update={"ship": ("q8_0",)})
    asides = sum(check.is_aside for check in numbered(one))
    assert asides
    assert any(said.startswith(f"And {asides} checks of what is {ASIDE}: ") for said in texts(one))
    rows = json.loads(checks_picture(one))["datasets"]["told"]
    assert not any(ASIDE in row["facts"]["Outcome"] for row in rows)


def test_a_record_without_checks_has_a_picture_that_says_so(record):
    none = record.model_copy(update={"results": ()})
    assert "0 checks: no checks" in texts(none)
    assert png.render(none).startswith(b"\x89PNG")


def test_the_png_is_whole_and_twice_as_wide_as_the_svg(record):
    picture, drawing = png.render(record), ElementTree.fromstring(svg.render(record))
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    assert (width, height) == tuple(2 * int(drawing.get(side)) for side in ("width", "height"))
    start = picture.index(b"IDAT")
    (length,) = struct.unpack(">I", picture[start - 4 : start])
    rows = zlib.decompress(picture[start + 4 : start + 4 + length])
    assert len(rows) == height * (4 * width + 1)


def test_hostile_names_are_texts_in_the_svg():
    drawn = svg.render(build_record(hostile=True))
    assert "<script" not in drawn
    assert ElementTree.fromstring(drawn) is not None


def test_a_picture_is_the_same_for_the_same_record(record):
    assert png.render(record) == png.render(Record.model_validate_json(record.model_dump_json()))
