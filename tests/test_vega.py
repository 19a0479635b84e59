"""The script that draws figures: kept in a cache, and there without one."""

from pathlib import Path

from gate.figures.vega import vega_script

fresh_script = vega_script.__wrapped__
"""As a new process finds it."""


def test_a_script_that_was_not_kept_whole_is_made_and_kept_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    whole = fresh_script()
    (kept,) = (tmp_path / "mergegate").iterdir()
    assert kept.read_text("utf-8") == whole
    kept.write_text(whole[:1000], "utf-8")
    assert fresh_script() == whole
    assert kept.read_text("utf-8") == whole


def test_a_user_without_a_home_has_the_script_too(monkeypatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert "window.vegaEmbed" in fresh_script()
