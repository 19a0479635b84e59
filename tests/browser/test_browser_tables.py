"""Whether tables sort, are copied whole and safe, and tell what their words mean."""

import csv
import io
import itertools
from functools import cache

import pytest
from evidence_builder import build_evidence
from records_builder import HOSTILE, build_record

from gate.renderers.html import render

pytestmark = pytest.mark.browser

TABLE = """<div class="scroll" id="{id}" aria-label="made"><table>
<thead>{head}</thead><tbody>{body}</tbody></table></div>"""
METRIC = "metric on a task: the mean over its documents"
HEAD = "<tr><th>Name</th><th class='number'>Size</th></tr>"


@cache
def plain_report() -> str:
    return render(build_record(documents=20))


@cache
def full_report() -> str:
    return render(build_evidence())


@pytest.fixture
def with_table(open_page):
    """A report with one more table of the given rows."""

    def add(body: str, head: str = HEAD):
        first = '<section id="checks">'
        made = TABLE.format(id="made", head=head, body=body)
        return open_page(plain_report().replace(first, made + first, 1))

    return add


def sorter(page, name: str):
    return page.locator("#made").get_by_role("button", name=f"Sort by {name}")


def names(page) -> list[str]:
    return page.locator("#made tbody tr > :first-child").all_inner_texts()


def rows(*pairs: tuple[str, str]) -> str:
    return "".join(f"<tr><td>{name}</td><td>{size}</td></tr>" for name, size in pairs)


def copied(page) -> list[list[str]]:
    """The CSV as the dialog shows it, where the clipboard is refused."""
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.locator("#made + .table-tools button").click()
    text = page.locator("dialog textarea").input_value()
    page.get_by_role("button", name="Close").click()
    return list(csv.reader(io.StringIO(text, newline="")))


def test_a_heading_sorts_up_then_down_then_as_it_was(with_table):
    page = with_table(rows(("b", "2 MB"), ("a", "10 MB"), ("c", "not measured"), ("d", "900 kB")))
    button = sorter(page, "Size")
    heading = page.locator("#made th").nth(1)
    found = []
    for _ in range(3):
        button.click()
        found.append((heading.get_attribute("aria-sort"), "".join(names(page))))
    assert found == [("ascending", "dbac"), ("descending", "abdc"), (None, "bacd")]


def test_sorting_takes_the_exact_value_and_keeps_the_order_of_equal_rows(with_table):
    page = with_table(
        "".join(
            f"<tr><td>{name}</td><td data-value='{value}'>1.0</td></tr>"
            for name, value in (("b", 1.002), ("z", 1.001), ("a", 1.001), ("n", -3e-9))
        )
    )
    sorter(page, "Size").click()
    assert names(page) == ["n", "z", "a", "b"]
    sorter(page, "Size").click()
    assert names(page) == ["b", "z", "a", "n"]


def test_a_keyboard_sorts(with_table):
    page = with_table(rows(("b10", "1"), ("b9", "2")))
    sorter(page, "Name").focus()
    page.keyboard.press("Enter")
    assert names(page) == ["b9", "b10"]


def test_the_proof_of_a_check_stays_below_it(open_page):
    page = open_page(full_report())
    place = page.locator("#checks .scroll", has=page.locator("tr.proof")).first
    before = place.locator("tbody > tr").evaluate_all(
        "(all) => all.map((row) => row.matches('.proof') ? 'proof' : row.id)"
    )
    below = dict(itertools.pairwise(before))
    place.get_by_role("button", name="Sort by Outcome").click()
    after = place.locator("tbody > tr").evaluate_all(
        "(all) => all.map((row) => row.matches('.proof') ? 'proof' : row.id)"
    )
    assert [row for row in after if row != "proof"] != [row for row in before if row != "proof"]
    for row, next_row in itertools.pairwise(after):
        if row != "proof":
            assert (next_row == "proof") == (below[row] == "proof")


@pytest.mark.parametrize(
    "body",
    [
        "<tr><td rowspan='2'>a</td><td>1</td></tr><tr><td>2</td></tr>",
        "<tr><td colspan='2'>nothing was measured</td></tr>",
        "<tr><td>only</td><td>one</td></tr>",
    ],
)
def test_a_table_whose_rows_cannot_be_moved_has_no_sort_buttons(with_table, body):
    page = with_table(body)
    assert page.locator("#made .sort").count() == 0
    assert page.locator("#made + .table-tools button").count() == 1


def test_the_copy_is_a_csv_with_unrounded_numbers_and_their_intervals(with_table):
    page = with_table(
        "<tr><td>a, b \"c\"</td><td data-value='0.0123' data-low='-0.1' data-high='0.2'>"
        "1.23 %<br><span>n = 3</span></td></tr>"
        "<tr><td>x<br>y</td><td>not measured</td></tr>"
    )
    assert copied(page) == [
        ["Name", "Size", "Size, low", "Size, high", "Size, as shown"],
        ['a, b "c"', "0.0123", "-0.1", "0.2", "1.23 % n = 3"],
        ["x y", "", "", "", "not measured"],
    ]


def test_shared_headings_are_told_with_their_own(with_table):
    head = (
        "<tr><th rowspan='2'>Name</th><th colspan='2'>Speed</th></tr>"
        "<tr><th>one</th><th>many</th></tr>"
    )
    page = with_table("<tr><td>a</td><td>1</td><td>2</td></tr>", head)
    assert copied(page)[0] == ["Name", "Speed: one", "Speed: many"]


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-x", "@SUM(A1)", "\uff1d1+1"])
def test_no_cell_is_a_formula_to_a_spreadsheet(with_table, text):
    page = with_table(rows((text, "\u22121.5"), ("b", "+2 %")))
    assert copied(page)[1:] == [[f"'{text}", "-1.5"], ["b", "+2 %"]]


def test_rows_that_a_filter_hides_are_not_copied(with_table):
    page = with_table("<tr hidden><td>a</td><td>1</td></tr><tr><td>b</td><td>2</td></tr>")
    assert copied(page)[1:] == [["b", "2"]]


def test_the_clipboard_gets_the_csv_where_it_may_be_written(with_table):
    page = with_table(rows(("a", "1"), ("b", "2")))
    page.evaluate(
        "Object.defineProperty(navigator, 'clipboard',"
        " {value: {writeText: async (text) => { window.written = text; }}})"
    )
    page.locator("#made + .table-tools button").click()
    page.get_by_text("Copied").first.wait_for()
    assert page.evaluate("written") == "Name,Size\r\na,1\r\nb,2\r\n"


def test_a_hash_is_copied_whole(open_page):
    record = build_record(documents=20)
    page = open_page(render(record))
    page.evaluate(
        "Object.defineProperty(navigator, 'clipboard',"
        " {value: {writeText: async (text) => { window.written = text; }}})"
    )
    name = f"Copy the content id of {record.artifacts[0].name}"
    page.get_by_role("button", name=name, exact=True).click()
    assert page.evaluate("written") == record.artifacts[0].digest


def test_every_table_of_a_hostile_report_is_copied_without_a_formula(open_page):
    page = open_page(render(build_record(documents=20, hostile=True)))
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    for button in page.locator(".table-tools button:visible").all():
        button.click()
        text = page.locator("dialog textarea").input_value()
        page.get_by_role("button", name="Close").click()
        lines = list(csv.reader(io.StringIO(text, newline="")))
        assert len({len(line) for line in lines}) == 1
        assert not any(cell[:1] in "=+@" for line in lines for cell in line if cell)
    assert HOSTILE


def bubble(page):
    return page.locator("#term-bubble")


def heading(page):
    return page.locator("#variants th[data-term] .term").first


def test_a_heading_tells_what_it_means_on_focus_and_escape_hides_it(open_page):
    page = open_page(plain_report())
    page.keyboard.press("Tab")
    heading(page).focus()
    assert bubble(page).is_visible()
    assert heading(page).get_attribute("aria-describedby") == bubble(page).get_attribute("id")
    assert "One way to serve the candidate" in bubble(page).inner_text()
    page.keyboard.press("Escape")
    assert bubble(page).is_hidden()
    assert heading(page).get_attribute("aria-describedby") is None


def test_a_heading_and_a_number_tell_what_they_mean_when_pointed_at(open_page):
    page = open_page(plain_report())
    heading(page).hover()
    bubble(page).wait_for(state="visible")
    bubble(page).hover()
    page.wait_for_timeout(600)
    assert bubble(page).is_visible()
    cell = page.locator("#variants tbody td.number").first
    cell.hover()
    page.get_by_role("tooltip").get_by_text(METRIC).wait_for()


def test_a_tap_tells_and_another_one_hides(open_page):
    page = open_page(plain_report(), width=390, has_touch=True)
    heading(page).tap()
    assert bubble(page).is_visible()
    box = bubble(page).bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    heading(page).tap()
    assert bubble(page).is_hidden()
    page.locator("#variants tbody td.number").first.tap()
    assert METRIC in bubble(page).inner_text()
    page.locator("#variants h2").tap()
    assert bubble(page).is_hidden()


def test_the_method_of_a_number_is_its_own(open_page):
    page = open_page(full_report())
    cell = page.locator("td[data-method]").first
    cell.scroll_into_view_if_needed()
    cell.click()
    assert f"Here by: {cell.get_attribute('data-method')}" in bubble(page).inner_text()


def test_terms_can_be_read_without_scripts_and_are_printed(open_page):
    page = open_page(plain_report(), java_script_enabled=False)
    assert page.locator("#terms #term-kl").inner_text().startswith("KL in nats a token")
    page.emulate_media(media="print")
    assert page.locator("#terms #term-kl").is_visible()
    assert page.locator(".sort, .quiet:visible, .table-tools:visible").count() == 0
