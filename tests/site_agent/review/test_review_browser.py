"""The review in a real Chromium, scripts off: a steward walks from the list to the receipt, with the keyboard alone.

With ``CROSSLOT_IMAGES=docs/images`` the pictures of ``docs/steward.md`` are made on the way.
"""

import io
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from protocol.envelopes import PayloadType
from protocol.exchange import Ask, Reply
from protocol.plan import Profile
from protocol.policy import EffectiveRules, SitePolicy, write_policy
from protocol.pseudonyms import NameKind, pseudonym
from shared.runtime.files import write_atomically
from site_agent.cells.lots import LOT_COLUMNS
from site_agent.release.decisions import State
from site_agent.release.offers import NotOffered, Offer
from site_agent.review.server import ReviewServer
from tests.chromium import chromium, console_of
from tests.site_agent.review.conftest import PASSPHRASE, AHome
from tests.study_parts import COORDINATOR, NOW, STUDY, make_plan, make_query, make_report, signed

pytestmark = pytest.mark.browser

CLUSTERS = (
    "MSC, VEGF high", "MSC, cycling", "MSC, matrix", "MSC, senescent", "pericyte-like", "adipo-progenitor", "myeloid",
)  # fmt: skip
LOTS: Mapping[str, Sequence[int]] = {
    "BM-2026-014": (412, 388, 541, 97, 61, 8, 3),
    "BM-2026-015": (655, 301, 480, 55, 74, 12, 0),
    "BM-2026-017": (188, 402, 719, 141, 39, 6, 2),
}
POOR, FEW = "BM-2026-016", "311 cells after QC; the study asks for 500."
_PLAN = make_plan()
PLAN = _PLAN.model_copy(update={"atlas": _PLAN.atlas.model_copy(update={"clusters": CLUSTERS})})
_FLAGS = ("--blink-settings=scriptEnabled=false", "--hide-scrollbars")


class SomeLots:
    """Lots of seven clusters, whose counts can be changed; and one that the study's limits of quality do not admit."""

    def __init__(self) -> None:
        self.counts = dict(LOTS)

    def __call__(self, rules: EffectiveRules) -> Sequence[Offer | NotOffered]:
        secret = rules.site.encode().ljust(32, b".")
        poor = pseudonym(secret, study=rules.plan.study, kind=NameKind.LOT, name=POOR)
        offers = [Offer(report=make_report(rules, lot, counts)) for lot, counts in self.counts.items()]
        return [*offers, NotOffered(lot=poor, reasons=(FEW,))]


@pytest.fixture
def waiting(a_home: AHome) -> AHome:
    policy = SitePolicy(
        version=3,
        site=a_home.home.site,
        profile=Profile.STANDARD,
        allowed_studies=(STUDY,),
        allowed_coordinators=(COORDINATOR.fingerprint,),
    )
    write_atomically(a_home.home.folder / "policy.toml", write_policy(policy))
    given = {"donor": "donor 7", "file": "cells.h5ad", "tissue": "bone marrow", "product": "MSC", "cohort": "main"}
    rows = [
        ",".join(lot if column == "lot" else given.get(column, "") for column in LOT_COLUMNS) for lot in (*LOTS, POOR)
    ]
    write_atomically(a_home.home.folder / "lots.csv", "\n".join([",".join(LOT_COLUMNS), *rows, ""]).encode())
    a_home.source = SomeLots()
    ask(a_home)
    return a_home


def ask(a_home: AHome) -> Reply:
    query = signed(make_query(PLAN), PayloadType.QUERY, COORDINATOR)
    reply = a_home.agent.answer(Ask(query=query, plan=signed(PLAN, PayloadType.STUDY_PLAN)), NOW)
    assert isinstance(reply, Reply)
    return reply


@pytest.fixture
def server(waiting: AHome) -> Iterator[ReviewServer]:
    server = ReviewServer(waiting.home, idle_seconds=120, clock=lambda: NOW)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server
    server.stop()
    thread.join(timeout=10)
    assert not thread.is_alive()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path / "profile", *_FLAGS) as driver:
        driver.set_window_size(1100, 900)
        yield driver


def _picture(browser: webdriver.Chrome, name: str, *, height: int = 900) -> None:
    folder = os.environ.get("CROSSLOT_IMAGES")
    if folder:
        browser.set_window_size(1100, height)
        # Few colours: a picture of a page in a documentation should not weigh more than the text.
        picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
        picture.quantize(32).save(Path(folder) / f"{name}.png", optimize=True)
        browser.set_window_size(1100, 900)


def _text(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.TAG_NAME, "body").text


def _wait_for(browser: webdriver.Chrome, text: str) -> None:
    WebDriverWait(browser, 10).until(lambda driver: text in _text(driver), f"{text!r} in {_text(browser)[:2000]!r}")


def _press(browser: webdriver.Chrome, text: str) -> None:
    """Go by the Tab key to what is called ``text``, and press Enter."""
    for _ in range(80):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        active = browser.switch_to.active_element
        if active.text == text or active.get_attribute("value") == text:
            active.send_keys(Keys.SPACE if active.get_attribute("type") == "checkbox" else Keys.ENTER)
            return
    pytest.fail(f"the Tab key does not lead to {text!r}")


def _type(browser: webdriver.Chrome, field: str, text: str) -> None:
    browser.find_element(By.ID, field).send_keys(text)


def _width_beyond_the_window(browser: webdriver.Chrome) -> int:
    page = browser.find_element(By.TAG_NAME, "html")
    wide, window = page.get_property("scrollWidth"), page.get_property("clientWidth")
    assert isinstance(wide, int)
    assert isinstance(window, int)
    return wide - window


def test_a_steward_walks_from_the_list_to_the_receipt_by_keyboard_without_scripts(
    browser: webdriver.Chrome, server: ReviewServer, waiting: AHome
) -> None:
    browser.get(server.address)
    _wait_for(browser, "Nothing has left. 3 wait for your decision; 0 approved and not yet sent.")
    assert "token" not in browser.current_url
    assert POOR in _text(browser)
    assert FEW in _text(browser)
    _picture(browser, "review-list", height=720)

    _press(browser, "BM-2026-014")
    _wait_for(browser, "Nothing of this report has left")
    assert _width_beyond_the_window(browser) <= 0
    text = _text(browser)
    assert "1 to 4" in text
    assert "your name: BM-2026-014" in text
    _picture(browser, "review-report", height=1750)

    _press(browser, "adipo-progenitor")
    _press(browser, "See it first ...")
    _wait_for(browser, "Withhold clusters of lot BM-2026-014?")
    _picture(browser, "review-withhold", height=1760)
    _type(browser, "by", "A. Steward")
    _type(browser, "passphrase", PASSPHRASE)
    _press(browser, "Sign and withhold")
    _wait_for(browser, "Withheld. The report that waited is void")

    _press(browser, "Approve ...")
    _wait_for(browser, "Approve the release of lot BM-2026-014?")
    _type(browser, "by", "A. Steward")
    _type(browser, "passphrase", "a wrong passphrase")
    _press(browser, "Sign and approve")
    _wait_for(browser, "The passphrase does not open the steward's key.")
    _type(browser, "passphrase", PASSPHRASE)
    _picture(browser, "review-approve", height=820)
    _press(browser, "Sign and approve")
    _wait_for(browser, "Approved, not yet sent")
    _picture(browser, "review-receipt", height=420)
    browser.refresh()
    assert [held.state for held in waiting.held()].count(State.APPROVED) == 1

    browser.get(f"http://{server.session.host}/")
    for lot in ("BM-2026-015", "BM-2026-017"):
        _press(browser, lot)
        _press(browser, "Approve ...")
        _type(browser, "by", "A. Steward")
        _type(browser, "passphrase", PASSPHRASE)
        _press(browser, "Sign and approve")
        _wait_for(browser, "Approved, not yet sent")
        browser.get(f"http://{server.session.host}/")
    assert len(ask(waiting).reports) == 3
    browser.refresh()
    _wait_for(browser, "3 reports left after approval.")
    assert console_of(browser) == []


def test_the_page_holds_at_twice_the_zoom_and_on_a_small_screen(
    browser: webdriver.Chrome, server: ReviewServer
) -> None:
    browser.get(server.address)
    _press(browser, "BM-2026-014")
    for width in (550, 500):
        browser.set_window_size(width, 800)
        assert _width_beyond_the_window(browser) <= 0


def test_the_review_stops_by_itself_and_another_browser_does_not_keep_it_open(waiting: AHome) -> None:
    server = ReviewServer(waiting.home, idle_seconds=1.0)
    thread = threading.Thread(target=server.run)
    thread.start()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert server.server_address[0] == "127.0.0.1"
