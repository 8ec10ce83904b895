"""The page in a real Chromium: nothing clipped, nothing wider than the window or the paper, no policy broken."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from site_agent.atlas_show.page import render_page
from tests.chromium import chromium, console_of
from tests.site_agent.atlas_show.conftest import HOSTILE, renamed, viewed

pytestmark = pytest.mark.browser

_PAPER_WIDTH = round((210 - 2 * 14) / 25.4 * 96)
_WIDER_THAN_THE_WINDOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth;"
_CUT = """
return [...document.querySelectorAll('.scroll, figure, dl, p, li, h1, h2, .verdict, .pair > div')]
  .filter((box) => box.scrollWidth > box.clientWidth + 1 || box.getBoundingClientRect().right > innerWidth + 1)
  .map((box) => box.className + ' ' + box.textContent.trim().slice(0, 60));
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.mark.parametrize("lots", ["one", "three"])
@pytest.mark.parametrize("name", ["", HOSTILE, "W" * 64])
def test_nothing_is_cut_on_screen_or_paper_whatever_the_names(
    browser: webdriver.Chrome, tmp_path: Path, lots: str, name: str, request: pytest.FixtureRequest
) -> None:
    atlas = request.getfixturevalue(lots)
    path = tmp_path / "atlas.html"
    path.write_bytes(render_page(viewed(renamed(atlas, name) if name else atlas)))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen"})
    browser.set_window_size(1200, 900)
    browser.get(path.as_uri())
    assert browser.execute_script(_WIDER_THAN_THE_WINDOW) <= 0
    if not name:  # a long name may make a table scroll on a screen, never the page
        assert browser.execute_script(_CUT) == []
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": _PAPER_WIDTH, "height": 1000, "deviceScaleFactor": 1, "mobile": False},
    )
    cut = browser.execute_script(_CUT)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert cut == []
    assert console_of(browser) == []
