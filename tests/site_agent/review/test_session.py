"""The review's page, request by request: who comes in, what a form does, and what it does twice."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode

import pytest

from protocol.exchange import Reply
from protocol.ledger import LedgerEvent
from site_agent.release.decisions import State
from site_agent.review.session import Request, Response, Session
from tests.site_agent.review.conftest import PASSPHRASE, AHome
from tests.study_parts import NOW, THREE_LOTS, Lots, make_ask, make_plan

HOST = "127.0.0.1:8123"
PLAN = make_plan()


class Browser:
    """A browser of one steward: keeps the cookie, follows redirects, fills forms in."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.cookie = ""

    def request(self, method: str, target: str, body: bytes = b"", **headers: str) -> Response:
        sent = {"host": HOST, "cookie": self.cookie, **headers}
        return self.session.answer(Request(method=method, target=target, headers=sent, body=body))

    def open(self) -> Response:
        opened = self.request("GET", f"/?token={self.session.token}")
        for name, value in opened.headers:
            if name == "Set-Cookie":
                self.cookie = value.partition(";")[0]
        return opened

    def get(self, target: str) -> str:
        response = self.request("GET", target)
        assert response.status is HTTPStatus.OK, response.body
        return response.body.decode()

    def form(self, target: str) -> dict[str, str]:
        page = self.get(target)
        return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))

    def post(self, target: str, values: Mapping[str, str], **headers: str) -> Response:
        return self.request("POST", target, urlencode(values).encode(), **headers)


@pytest.fixture
def waiting(a_home: AHome) -> AHome:
    assert isinstance(a_home.agent.answer(make_ask(PLAN), NOW), Reply)
    return a_home


@pytest.fixture
def browser(waiting: AHome) -> Browser:
    browser = Browser(Session(home=waiting.home, host=HOST, clock=lambda: NOW, idle_minutes=15))
    assert browser.open().status is HTTPStatus.SEE_OTHER
    return browser


def place_of(a_home: AHome, lot: str) -> str:
    names = a_home.home.own_names(PLAN.study)
    (held,) = (each for each in a_home.held() if names[each.lot] == lot and each.state is State.PENDING)
    return f"/report/{held.payload_sha256}"


def signed(form: Mapping[str, str], **more: str) -> dict[str, str]:
    return {**form, "by": "A. Steward", "passphrase": PASSPHRASE, **more}


def states(a_home: AHome) -> list[State]:
    return [held.state for held in a_home.held()]


PENDING = [State.PENDING] * 3


def test_the_address_opens_the_review_once_and_for_one_browser(browser: Browser) -> None:
    second = Browser(browser.session)
    assert second.open().status is HTTPStatus.FORBIDDEN
    assert second.request("GET", "/").status is HTTPStatus.FORBIDDEN
    assert "3 wait for your decision" in browser.get("/")


@pytest.mark.parametrize("token", ["", "x", "é"])
def test_a_wrong_token_opens_nothing(waiting: AHome, token: str) -> None:
    browser = Browser(Session(home=waiting.home, host=HOST, clock=lambda: NOW, idle_minutes=15))
    response = browser.request("GET", f"/?token={token}")
    assert response.status is HTTPStatus.FORBIDDEN
    assert b"BM-01" not in response.body
    assert browser.open().status is HTTPStatus.SEE_OTHER


@pytest.mark.parametrize("host", ["", "evil.example:8123", "localhost:8123", "127.0.0.1:9999"])
def test_another_name_for_this_address_is_no_way_in(browser: Browser, host: str) -> None:
    assert browser.request("GET", "/", host=host).status is HTTPStatus.FORBIDDEN


def test_every_response_forbids_scripts_frames_other_origins_and_caches(browser: Browser) -> None:
    for target in ("/", "/style.css", "/nothing"):
        headers = dict(browser.request("GET", target).all_headers())
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "script-src" not in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"
    assert "HttpOnly; SameSite=Strict" in dict(Browser(_fresh(browser)).open().headers)["Set-Cookie"]


def _fresh(browser: Browser) -> Session:
    return Session(home=browser.session.home, host=HOST, clock=lambda: NOW, idle_minutes=15)


def test_the_page_names_no_other_address_and_holds_no_script(browser: Browser, waiting: AHome) -> None:
    for target in ("/", place_of(waiting, "BM-01"), f"{place_of(waiting, 'BM-01')}/approve"):
        page = browser.get(target)
        assert "http://" not in page
        assert "https://" not in page
        assert "<script" not in page
        assert " on" + "click" not in page


def test_the_page_of_a_report_shows_bytes_table_verdicts_and_the_lots_own_name(
    browser: Browser, waiting: AHome
) -> None:
    page = browser.get(place_of(waiting, "BM-01"))
    (held,) = (each for each in waiting.held() if each.payload_sha256 in place_of(waiting, "BM-01"))
    assert held.payload_sha256 in page
    assert held.payload.decode().replace('"', "&#34;") in page
    for text in ("Nothing of this report has left", "your name: BM-01", "What stays", "What no rule can prevent"):
        assert text in page
    assert page.index("What each rule says") < page.index("What will leave") < page.index("Your decision")


def test_approval_by_the_page_is_signed_and_leaves(browser: Browser, waiting: AHome) -> None:
    for lot in THREE_LOTS:
        place = place_of(waiting, lot)
        confirm = browser.get(f"{place}/approve")
        assert f"Approve the release of lot {lot}?" in confirm
        assert waiting.home.coordinator.fingerprint in confirm
        assert browser.post(f"{place}/approve", signed(browser.form(f"{place}/approve"))).status is HTTPStatus.SEE_OTHER
        assert "Approved, not yet sent" in browser.get(place)
    reply = waiting.agent.answer(make_ask(PLAN), NOW)
    assert isinstance(reply, Reply)
    assert len(reply.reports) == 3
    assert "<h1>Sent</h1>" in browser.get(place)


def test_a_form_sent_twice_does_nothing_the_second_time(browser: Browser, waiting: AHome) -> None:
    place = place_of(waiting, "BM-01")
    values = signed(browser.form(f"{place}/approve"))
    first, second = (browser.post(f"{place}/approve", values) for _ in range(2))
    assert first.status is second.status is HTTPStatus.SEE_OTHER
    events = [entry.record.event for entry in waiting.home.ledger().verify()]
    assert events.count(LedgerEvent.APPROVED) == 1
    # Nor does another act's page, opened before, undo it.
    refused = browser.post(f"{place}/refuse", {**values, "reason": "no"})
    assert refused.status in {HTTPStatus.SEE_OTHER, HTTPStatus.FORBIDDEN}
    assert states(waiting).count(State.APPROVED) == 1


@pytest.mark.disclosure
def test_what_this_sitting_did_not_hand_out_changes_nothing(browser: Browser, waiting: AHome) -> None:
    place, other = place_of(waiting, "BM-01"), place_of(waiting, "BM-02")
    sound = signed(browser.form(f"{place}/approve"))
    for values, headers in (
        ({**sound, "csrf": "x"}, {}),
        ({**sound, "form": "x"}, {}),
        ({name: value for name, value in sound.items() if name != "csrf"}, {}),
        (sound, {"origin": "http://evil.example"}),
        (sound, {"origin": "null"}),
        (sound, {"cookie": ""}),
        (sound, {"host": "evil.example"}),
    ):
        assert browser.post(f"{place}/approve", values, **headers).status is HTTPStatus.FORBIDDEN
    assert browser.post(f"{other}/approve", sound).status is HTTPStatus.FORBIDDEN
    assert browser.request("GET", f"{place}/approve?{urlencode(sound)}").status is HTTPStatus.OK
    assert browser.request("PUT", f"{place}/approve").status is HTTPStatus.METHOD_NOT_ALLOWED
    assert browser.request("POST", f"{place}/approve", b"x" * 20_000).status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    assert states(waiting) == PENDING


def test_a_wrong_passphrase_gives_the_form_again_with_what_was_typed_but_the_passphrase(
    browser: Browser, waiting: AHome
) -> None:
    place = place_of(waiting, "BM-01")
    values = signed(browser.form(f"{place}/approve"), passphrase="a wrong one", reason="seen by two")  # noqa: S106 - wrong
    again = browser.post(f"{place}/approve", values)
    page = again.body.decode()
    assert "does not open the steward&#39;s key" in page
    assert "seen by two" in page
    assert "a wrong one" not in page
    assert str(waiting.home.folder) not in page
    assert states(waiting) == PENDING


def test_withholding_shows_what_would_wait_and_then_does_it(browser: Browser, waiting: AHome) -> None:
    place = place_of(waiting, "BM-01")
    target = f"{place}/withhold?cluster=c2"
    preview = browser.get(target)
    assert "100 to 999" in preview
    assert states(waiting) == PENDING
    done = browser.post(f"{place}/withhold", signed(browser.form(target)))
    assert dict(done.headers)["Location"] == place_of(waiting, "BM-01") != place
    assert states(waiting).count(State.VOIDED) == 1
    assert "A newer report of this lot took its place" in browser.get(place)
    assert browser.request("GET", f"{place}/approve").status is HTTPStatus.SEE_OTHER
    assert browser.request("GET", f"{place}/withhold").status is HTTPStatus.SEE_OTHER


def test_an_updated_report_voids_the_approval_that_was_being_given(browser: Browser, waiting: AHome) -> None:
    place = place_of(waiting, "BM-01")
    values = signed(browser.form(f"{place}/approve"))
    waiting.source = Lots({**THREE_LOTS, "BM-01": (601, 300, 100)})
    waiting.agent.answer(make_ask(PLAN), NOW)
    refused = browser.post(f"{place}/approve", values)
    assert refused.status is HTTPStatus.CONFLICT
    assert "Nothing was done" in refused.body.decode()
    assert State.APPROVED not in states(waiting)


def test_a_refusal_needs_its_reason_and_says_so(browser: Browser, waiting: AHome) -> None:
    place = place_of(waiting, "BM-01")
    again = browser.post(f"{place}/refuse", signed(browser.form(f"{place}/refuse"), reason=" "))
    assert "expected a reason" in again.body.decode()
    assert states(waiting) == PENDING
    browser.post(f"{place}/refuse", signed(browser.form(f"{place}/refuse"), reason="not ours"))
    assert "Refused by A. Steward: not ours" in browser.get(place)


def test_where_a_rule_fails_the_button_is_dead_and_says_why(browser: Browser, waiting: AHome) -> None:
    (waiting.home.folder / "policy.toml").unlink()
    place = place_of(waiting, "BM-01")
    page = browser.get(place)
    assert re.search(r'disabled aria-describedby="whynot">Approve', page)
    assert "Not possible: The site has no disclosure policy" in page.replace("&#39;", "'")
    assert browser.request("GET", f"{place}/approve").status is HTTPStatus.CONFLICT


def test_the_list_tells_what_a_rule_held_back(waiting: AHome) -> None:
    waiting.source = Lots({**THREE_LOTS, "BM-03": (20, 5, 5)})
    waiting.agent.answer(make_ask(PLAN), NOW)
    browser = Browser(Session(home=waiting.home, host=HOST, clock=lambda: NOW, idle_minutes=15))
    browser.open()
    page = browser.get("/")
    assert "Not offered" in page
    assert "disclosure rule" in page
    assert "Fewer than 50 cells are certain." in page


def test_a_lot_with_markup_for_a_name_is_text(waiting: AHome) -> None:
    lots = waiting.home.folder / "lots.csv"
    lots.write_text(lots.read_text().replace("donor 7", "<img src=x onerror=alert(1)>"))
    browser = Browser(Session(home=waiting.home, host=HOST, clock=lambda: NOW, idle_minutes=15))
    browser.open()
    assert "<img" not in browser.get(place_of(waiting, "BM-01"))
