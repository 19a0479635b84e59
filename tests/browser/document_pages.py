"""The changed documents of an open page, as a reader finds and opens them."""

from collections.abc import Callable
from typing import Any


def open_documents(open_page: Callable[..., Any], html: str, **settings: Any) -> Any:
    """A page of which the documents are listed."""
    page = open_page(html, reduced_motion="reduce", **settings)
    page.locator("#changed-documents").wait_for()
    return page


def open_first(page: Any) -> Any:
    """The first document listed, opened."""
    first = page.locator(".document").first
    first.locator("> summary").click()
    first.locator(".body").wait_for()
    return first


def found(page: Any) -> str:
    """What the page says of the number of documents found."""
    return page.locator("[data-part=found]").inner_text()


def texts(page: Any, selector: str) -> list[str]:
    """The texts of all elements that a selector finds."""
    return [text.strip() for text in page.locator(selector).all_inner_texts()]
