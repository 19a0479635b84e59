"""Fixtures: pages opened in headless Chromium, which must stay silent and ask for nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from install_chromium import find_chromium


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A running Chromium; skips where Playwright or the browser is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
    with playwright.sync_playwright() as driver:
        program = find_chromium(driver)
        if program is None:
            pytest.skip("needs Chromium: python tests/browser/install_chromium.py")
        browser = driver.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens HTML text or a file; at the end no error was printed and no request had left."""
    contexts, problems = [], []

    def open_it(
        page: str | Path,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        fragment: str = "",
        **settings: Any,
    ) -> Any:
        file = page if isinstance(page, Path) else tmp_path / f"page-{len(contexts)}.html"
        if isinstance(page, str):
            file.write_text(page, encoding="utf-8")
        settings.setdefault("color_scheme", "dark" if dark else "light")
        context = chromium.new_context(viewport={"width": width, "height": height}, **settings)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda said: _is_error(said.type) and problems.append(said.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        own = file.resolve().as_uri()
        tab.on("request", lambda asked: _is_other(asked.url, own) and problems.append(asked.url))
        tab.goto(f"{own}{fragment}")
        return tab

    yield open_it
    for context in contexts:
        context.close()
    assert problems == []


def _is_error(kind: str) -> bool:
    return kind in ("error", "warning")


def _is_other(url: str, own: str) -> bool:
    """Whether a request is for anything but the page itself and what is inside it."""
    return not url.startswith((own, "data:", "blob:", "about:"))


@pytest.fixture(scope="session")
def barriers() -> Callable[..., list[str]]:
    """What axe-core finds in a page, or in a part of it, that is serious or critical."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe").Axe()

    def find(page: Any, context: str | None = None) -> list[str]:
        return [
            f"{found['id']}: {node['html'][:200]}"
            for found in axe.run(page, context=context).response["violations"]
            if found["impact"] in ("serious", "critical")
            for node in found["nodes"][:3]
        ]

    return find
