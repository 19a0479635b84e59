"""How long a report takes in a browser until it can be used: figures, documents, search."""

import shutil
import statistics
from pathlib import Path
from typing import Any, NamedTuple

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_LOADS = 3
_PATIENCE_MILLISECONDS = 120_000

_WATCH = """
window.moments = {};
const note = (name) => { window.moments[name] ??= performance.now(); };
const watch = () => {
  const figure = document.querySelector("figure.drawn");
  if (figure?.matches("[data-drawn]")) note("figure");
  const place = document.getElementById("changed-documents");
  if (place && !place.hidden && place.querySelector(".document")) {
    note("documents");
    if (!window.moments.search) {
      const field = place.querySelector("input[type=search]");
      const found = place.querySelector("[data-part=found]");
      const before = found.textContent;
      field.value = "zzzz";
      field.dispatchEvent(new Event("input", { bubbles: true }));
      if (found.textContent !== before) note("search");
    }
  }
  if (Object.keys(window.moments).length < 3) requestAnimationFrame(watch);
};
addEventListener("DOMContentLoaded", () => {
  document.querySelector("figure.drawn")?.scrollIntoView();
  watch();
});
"""


class Usable(NamedTuple):
    """Seconds from the navigation on, the median of three loads.

    Attributes:
        figure: until the first figure answers to the pointer, scrolled to at once.
        documents: until the list of documents is filled.
        search: until a search has been answered.
    """

    figure: float
    documents: float
    search: float

    @property
    def all(self) -> float:
        """Until all three are there."""
        return max(self)


def measure_page(file: Path) -> Usable | None:
    """Load a report in headless Chromium; None where that or Playwright is missing."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as driver:
        program = _find_chromium(driver)
        if program is None:
            return None
        browser = driver.chromium.launch(executable_path=program)
        loads = [_load(browser, file) for _ in range(_LOADS)]
        browser.close()
    return Usable(*(statistics.median(moments) for moments in zip(*loads, strict=True)))


def _load(browser: Any, file: Path) -> Usable:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.add_init_script(_WATCH)
    page.goto(file.resolve().as_uri(), wait_until="commit")
    page.wait_for_function(
        "() => Object.keys(window.moments ?? {}).length === 3", timeout=_PATIENCE_MILLISECONDS
    )
    moments = page.evaluate("window.moments")
    context.close()
    return Usable(*(moments[name] / 1000 for name in Usable._fields))


def _find_chromium(driver: Any) -> str | None:
    for program in _PROGRAMS:
        found = shutil.which(program)
        if found:
            return found
    own = driver.chromium.executable_path
    return own if Path(own).exists() else None
