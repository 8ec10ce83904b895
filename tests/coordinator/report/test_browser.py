"""The page in a real Chromium: with and without JavaScript, at 200% zoom, on paper, and in greyscale-safe shapes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from coordinator.report.edition import Edition
from coordinator.report.page import render_page
from tests.chromium import chromium, console_of
from tests.coordinator.report.conftest import Study, pbmc_study

pytestmark = pytest.mark.browser

# A4 less the page's margins, in CSS pixels (96 to the inch).
_PAPER_WIDTH = round((210 - 2 * 14) / 25.4 * 96)

_CLIPPED_TEXT = """
return [...document.querySelectorAll('figure svg')].flatMap((svg) => {
  const box = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter((text) => {
    const inner = text.getBoundingClientRect();
    return inner.left < box.left - 1 || inner.right > box.right + 1
      || inner.top < box.top - 1 || inner.bottom > box.bottom + 1;
  }).map((text) => svg.id + ': ' + text.textContent);
});
"""
_OVERLAPPING_TEXT = """
return [...document.querySelectorAll('figure svg')].flatMap((svg) => {
  const texts = [...svg.querySelectorAll('text')].map((text) => [text.textContent, text.getBoundingClientRect()]);
  const found = [];
  texts.forEach(([word, a], index) => texts.slice(index + 1).forEach(([other, b]) => {
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (wide > 1.5 && high > 4) found.push(svg.id + ': ' + word + ' / ' + other);
  }));
  return found;
});
"""
_WIDER_THAN_THE_WINDOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth;"
_CUT_ON_PAPER = """
return [...document.querySelectorAll('.scroll, figure, dl, p, li, h1, h2')]
  .filter((box) => box.scrollWidth > box.clientWidth + 1 || box.getBoundingClientRect().right > innerWidth + 1)
  .map((box) => box.className + ' ' + box.textContent.trim().slice(0, 60));
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def _opened(browser: webdriver.Chrome, page: bytes, folder: Path, *, width: int = 1200) -> None:
    path = folder / "report.html"
    path.write_bytes(page)
    browser.set_window_size(width, 1000)
    console_of(browser)
    browser.get(path.as_uri())


@pytest.fixture(scope="module", params=["suppressed", "pbmc", "refused"])
def study(request: pytest.FixtureRequest) -> Study:
    chosen = request.getfixturevalue(request.param)
    assert isinstance(chosen, Study)
    return chosen


@pytest.mark.parametrize("edition", ["coordinator", "site", "public"])
def test_page_opens_without_a_word_on_the_console_and_no_label_is_cut_or_covered(
    browser: webdriver.Chrome, study: Study, edition: str, tmp_path: Path
) -> None:
    editions = {
        "coordinator": Edition.coordinator(), "site": Edition.of_site(study.data.sites[-1]), "public": Edition.public(),
    }  # fmt: skip
    _opened(browser, render_page(study.report(editions[edition])), tmp_path)
    assert console_of(browser) == []
    assert browser.execute_script(_CLIPPED_TEXT) == []
    assert browser.execute_script(_OVERLAPPING_TEXT) == []


def test_changed_script_is_refused_by_the_policy(browser: webdriver.Chrome, msc: Study, tmp_path: Path) -> None:
    """The control of the test above: the console does tell."""
    _opened(browser, render_page(msc.report()).replace(b'"use strict"', b'"use  strict"'), tmp_path)
    assert any("Content Security Policy" in message for message in console_of(browser))
    assert browser.find_elements(By.CSS_SELECTOR, "th.sorts") == []


def test_page_stays_within_a_narrow_window_as_at_200_per_cent_zoom(
    browser: webdriver.Chrome, study: Study, tmp_path: Path
) -> None:
    _opened(browser, render_page(study.report()), tmp_path, width=600)
    assert browser.execute_script(_WIDER_THAN_THE_WINDOW) == 0


def test_nothing_is_cut_on_a4_paper(browser: webdriver.Chrome, study: Study, tmp_path: Path) -> None:
    _opened(browser, render_page(study.report()), tmp_path)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": _PAPER_WIDTH, "height": 1000, "deviceScaleFactor": 1, "mobile": False},
    )
    try:
        assert browser.execute_script(_CUT_ON_PAPER) == []
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_table_sorts_by_click_and_by_key_as_numbers(browser: webdriver.Chrome, tmp_path: Path) -> None:
    _opened(browser, render_page(pbmc_study().report()), tmp_path)
    table = browser.find_element(By.ID, "table-associations-cxcl10")
    heads = table.find_elements(By.CSS_SELECTOR, "thead th")

    def shown() -> list[float]:
        cells = [cell.text for cell in table.find_elements(By.CSS_SELECTOR, "tbody td:nth-child(2)")]
        return [float(text.replace("\N{MINUS SIGN}", "-")) for text in cells if text != "not defined"]

    heads[1].click()
    rising = shown()
    assert rising == sorted(rising)
    assert heads[1].get_attribute("aria-sort") == "ascending"
    heads[1].send_keys(Keys.ENTER)
    assert shown() == rising[::-1]


def test_filter_leaves_the_rows_that_match(browser: webdriver.Chrome, tmp_path: Path) -> None:
    _opened(browser, render_page(pbmc_study().report()), tmp_path)
    browser.find_element(By.CSS_SELECTOR, ".filter input").send_keys("cd4")
    rows = browser.find_elements(By.CSS_SELECTOR, "#table-associations-cxcl10 tbody tr")
    visible = [row.find_element(By.TAG_NAME, "th").text for row in rows if row.is_displayed()]
    assert sorted(visible) == ["CD4 Memory T", "CD4 Naive T"]


def test_pointing_at_a_lots_row_marks_the_lot_in_the_figures(
    browser: webdriver.Chrome, msc: Study, tmp_path: Path
) -> None:
    _opened(browser, render_page(msc.report()), tmp_path)
    row = browser.find_element(By.CSS_SELECTOR, "#lead tbody tr[data-lot]")
    webdriver.ActionChains(browser).move_to_element(row).perform()
    marked = browser.find_elements(By.CSS_SELECTOR, "svg .mark.linked-on")
    assert len(marked) > 1
    assert {mark.get_attribute("data-lot") for mark in marked} == {row.get_attribute("data-lot")}


def test_page_is_complete_without_javascript(browser: webdriver.Chrome, study: Study, tmp_path: Path) -> None:
    page = render_page(study.report())
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        _opened(browser, page, tmp_path)
        node = browser.execute_cdp_cmd("DOM.getDocument", {})["root"]["nodeId"]
        document = browser.execute_cdp_cmd("DOM.getOuterHTML", {"nodeId": node})["outerHTML"]
        assert console_of(browser) == []
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    for tag in ("<table", "<figure", "<tr", "<svg", "<details open"):
        assert document.count(tag) == page.decode().count(tag)
    assert 'class="sorts"' not in document
    assert "hidden" not in document.partition("<body")[2].partition("<script>")[0].replace("aria-hidden", "")
