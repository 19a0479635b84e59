"""What was drawn before is taken over, where nothing that it shows has changed."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from markupsafe import escape
from records_builder import build_record

from gate.figures.drawn import draw_sections
from gate.figures.figure import Figure
from gate.figures.kept import keep
from gate.presentation import moment
from gate.renderers import html, png
from gate.reporting.report_files import run_name
from gate.signoff import chain_faults, signed


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "mergegate"


class Painter:
    """Draws one figure, and remembers of which records."""

    def __init__(self):
        self.seen = []

    def __call__(self, record):
        self.seen.append(record)
        return (Figure("figure-toy", "toy", record.release, "", "{}"),)


def later(record):
    moment = record.provenance.created_at + timedelta(days=1)
    return record.model_copy(
        update={
            "stages": tuple(one.model_copy(update={"is_cached": True}) for one in record.stages),
            "provenance": record.provenance.model_copy(update={"created_at": moment}),
        }
    )


def test_a_run_that_found_the_same_at_another_moment_takes_over_the_figures(cache):
    painter, record = Painter(), build_record(documents=20)
    first = draw_sections(record, {"toys": painter})
    assert draw_sections(later(record), {"toys": painter}) == first
    assert first["toys"][0].title == "toy"
    assert len(painter.seen) == 1


def test_no_figure_is_shown_what_it_would_keep_of_another_run(cache):
    painter, record = Painter(), build_record(documents=20)
    draw_sections(record, {"toys": painter})
    (shown,) = painter.seen
    assert shown.stages == ()
    assert shown.provenance.created_at.year == 1


def test_a_run_that_found_something_else_has_figures_of_its_own(cache):
    painter, record = Painter(), build_record(documents=20)
    draw_sections(record, {"toys": painter})
    other = record.model_copy(update={"release": "v4"})
    assert draw_sections(other, {"toys": painter})["toys"][0].summary == "v4"


@pytest.mark.parametrize("renderer", [html, png])
def test_a_report_with_kept_drawings_is_the_one_that_was_drawn(cache, renderer):
    record = build_record(documents=20)
    first = renderer.render(record)
    assert any((cache / "drawings").iterdir())
    assert renderer.render(record) == first


def test_a_run_that_found_the_same_at_another_moment_has_the_page_it_would_have_had(
    cache, monkeypatch, tmp_path
):
    record = build_record(documents=20)
    first, second = html.render(record), html.render(later(record))
    assert len([*(cache / "pages").iterdir()]) == 1
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    assert html.render(later(record)) == second
    assert second != first


def test_a_kept_page_tells_the_moment_and_the_stages_of_its_own_run(cache):
    record = build_record(documents=20)
    html.render(later(record))
    page = html.render(record)
    assert page.count(moment(record.provenance.created_at)) == 2
    assert f"gate reproduce reports/{record.release}/{run_name(record)}" in page
    assert moment(later(record).provenance.created_at) not in page
    taken = sum(stage.is_cached for stage in record.stages)
    assert f"{taken} taken from the store" in page
    assert page.count("<td>cached<") == taken < len(record.stages)
    assert f"{len(record.stages)} taken from the store" in html.render(later(record))


def test_no_page_of_another_run_is_taken_for_a_signed_one(cache):
    record = build_record(documents=20)
    html.render(record)
    at = record.provenance.created_at + timedelta(days=2)
    approved = signed(record, name="Ada Lovelace", decision="approve", reason="fine", at=at)
    assert chain_faults(approved) == ()
    (fault, *_) = chain_faults(later(approved))
    assert str(escape(fault)) in html.render(later(approved))
    assert str(escape(fault)) not in html.render(approved)
    assert "Ada Lovelace" in html.render(approved)


def test_what_was_changed_in_the_cache_is_made_again(cache):
    assert keep("toys", "one", lambda: b"made", most=2) == b"made"
    (file,) = (cache / "toys").iterdir()
    file.write_bytes(b"forged" + file.read_bytes()[4:])
    assert keep("toys", "one", lambda: b"made again", most=2) == b"made again"


def test_what_was_used_longest_ago_is_forgotten(cache):
    for age, key in enumerate("abcd"):
        keep("toys", key, key.encode, most=4)
        os.utime(cache / "toys" / key, (1000 + age, 1000 + age))
    keep("toys", "a", lambda: b"never made", most=4)
    keep("toys", "e", lambda: b"e", most=4)
    assert {file.name for file in (cache / "toys").iterdir()} == {"a", "d", "e"}


def test_without_a_home_everything_is_made_each_time(monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert keep("toys", "one", lambda: b"first", most=2) == b"first"
    assert keep("toys", "one", lambda: b"second", most=2) == b"second"
