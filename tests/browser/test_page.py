"""Whether a report works in a real browser, and does nothing but that."""

import pytest
from records_builder import build_record

from gate.renderers.html import render

pytestmark = pytest.mark.browser


def test_a_report_opens_silently_and_asks_for_nothing(open_page):
    page = open_page(render(build_record()))
    assert page.locator("h1").inner_text() == "support-bot-v3"
