"""One sitting of a steward at the review's page: a request in, a response out; no socket.

Rules:

1. A request must name the address that the page was announced under: a name that another page made point here is no way
   in. The first one shows the one-time token of the announced address and gets a cookie; the token is spent then.
2. Whatever changes something is a POST with the token against forgery and a form that was handed out by this sitting.
   A form is taken once: to send it twice does nothing.
3. Every response forbids scripts, frames, other origins and caches. A passphrase is used and forgotten.
"""

import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qs, urlsplit

from shared.errors import CrosslotError, InputError
from site_agent.home import Home
from site_agent.review import acts
from site_agent.review.model import ReviewItem, after_withholding, held_back_lines, review_items
from site_agent.review.page import FormState, Frame, confirm_page, list_page, message_page, report_page, style

BODY_LIMIT: Final = 16 * 1024
_COOKIE: Final = "crosslot-review"
_REPORT: Final = re.compile(r"/report/([0-9a-f]{64})(?:/(approve|withhold|refuse))?")
_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "same-origin"),  # with no-referrer, browsers name no origin with a form
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What came: method, target as in the request line, header values by lower-case name, and the body."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Response:
    """What goes back."""

    status: HTTPStatus
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "text/html; charset=utf-8"

    def all_headers(self) -> tuple[tuple[str, str], ...]:
        """Return the headers, those that every response bears included."""
        length = ("Content-Length", str(len(self.body)))
        return (("Content-Type", self.content_type), length, *_HEADERS, *self.headers)


@dataclass(kw_only=True)
class Session:
    """One sitting.

    Attributes
    ----------
    home
        The site's home.
    host
        The address that the page was announced under, as browsers name it: ``127.0.0.1:8123``.
    clock
        Gives the time.
    idle_minutes
        Said on every page.
    token
        Opens the sitting, once.
    """

    home: Home
    host: str
    clock: Callable[[], datetime]
    idle_minutes: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    _spent: bool = False
    _cookie: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    _csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    _forms: dict[str, str] = field(default_factory=dict)  # by name: where its act belongs; "" once taken
    _said: str = ""

    def answer(self, request: Request) -> Response:
        """Return the response to a request."""
        parts = urlsplit(request.target)
        query = parse_qs(parts.query)
        stopped = self._at_the_door(request, query)
        if stopped is not None:
            return stopped
        try:
            match request.method:
                case "GET":
                    return self._shown(parts.path, query)
                case "POST":
                    return self._posted(parts.path, request)
                case _:
                    text = "The page takes GET and POST."
                    return self._message(HTTPStatus.METHOD_NOT_ALLOWED, "Nothing was done", text)
        except CrosslotError as error:
            text = str(error) + (f" ({error.hint})" if error.hint else "")
            return self._message(HTTPStatus.CONFLICT, "Nothing was done", text, back=parts.path.rpartition("/")[0])

    def _at_the_door(self, request: Request, query: Mapping[str, list[str]]) -> Response | None:
        """Return what a request gets that does not come in, or that has just opened the sitting; None for others."""
        if not _same(request.headers.get("host", ""), self.host):
            return self._refused("This page has another address.")
        if request.method == "GET" and "token" in query:
            return self._opened(query["token"][0])
        if not self._is_signed_in(request.headers.get("cookie", "")):
            return self._refused("Open the address that the terminal shows; it works once, in one browser.")
        return None

    def _opened(self, token: str) -> Response:
        if self._spent or not _same(token, self.token):
            return self._refused("This address was used before, or is another's. Start the review again.")
        self._spent = True
        cookie = f"{_COOKIE}={self._cookie}; HttpOnly; SameSite=Strict; Path=/"
        return _redirect("/", ("Set-Cookie", cookie))

    def _is_signed_in(self, header: str) -> bool:
        try:
            morsel = SimpleCookie(header).get(_COOKIE)
        except CookieError:
            return False
        return self._spent and morsel is not None and _same(morsel.value, self._cookie)

    def _shown(self, path: str, query: Mapping[str, list[str]]) -> Response:
        if path == "/style.css":
            return Response(status=HTTPStatus.OK, body=style(), content_type="text/css; charset=utf-8")
        items = review_items(self.home)
        if path == "/":
            return _page(list_page(items, held_back_lines(self.home), self._frame()))
        match = _REPORT.fullmatch(path)
        item = _named(items, match.group(1)) if match else None
        if match is None or item is None:
            return self._message(HTTPStatus.NOT_FOUND, "No such page", "It may have been a report of another home.")
        act = match.group(2)
        if act is None:
            return _page(report_page(item, _newer(items, item), self._frame()))
        return self._asked(act, item, tuple(query.get("cluster", [])))

    def _asked(
        self, act: str, item: ReviewItem, chosen: tuple[str, ...], typed: Mapping[str, str] | None = None
    ) -> Response:
        if not item.waits:
            return _redirect(_place(item))
        if act == "approve" and item.why_not_approvable:
            return self._message(HTTPStatus.CONFLICT, "It cannot be approved", item.why_not_approvable, _place(item))
        chosen = tuple(name for name in chosen if name in item.clusters)
        if act == "withhold" and not chosen:
            self._said = "Choose at least one cluster to withhold."
            return _redirect(_place(item))
        state = FormState(
            form=self._new_form(f"{_place(item)}/{act}"),
            csrf=self._csrf,
            by=(typed or {}).get("by", ""),
            reason=(typed or {}).get("reason", ""),
            chosen=chosen if act == "withhold" else (),
        )
        after = after_withholding(self.home, item, chosen) if act == "withhold" else None
        return _page(confirm_page(act, item, state, self._frame(), after=after))

    def _posted(self, path: str, request: Request) -> Response:
        values = parse_qs(request.body.decode("utf-8", errors="replace"))
        typed = {name: given[0] for name, given in values.items()}
        forged = self._forged(request, typed)
        if forged is not None:
            return forged
        match = _REPORT.fullmatch(path)
        item = _named(review_items(self.home), match.group(1)) if match else None
        if match is None or item is None or match.group(2) is None:
            return self._message(HTTPStatus.NOT_FOUND, "Nothing was done", "There is no such report.")
        where = self._forms.get(typed.get("form", ""))
        if where == "":
            return _redirect(_place(item))  # sent twice: it was done, or was refused, the first time
        if where != path:
            return self._refused("The form belongs to another report.")
        self._forms[typed["form"]] = ""
        return self._done(match.group(2), item, typed, tuple(values.get("cluster", [])))

    def _forged(self, request: Request, typed: Mapping[str, str]) -> Response | None:
        """Return what a form gets that this sitting did not hand out; None for its own."""
        if len(request.body) > BODY_LIMIT:
            return self._message(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Nothing was done", "The form is too large.")
        if request.headers.get("origin", f"http://{self.host}") != f"http://{self.host}":
            return self._refused("The form came from another page.")
        if not _same(typed.get("csrf", ""), self._csrf):
            return self._refused("The form was not handed out by this sitting.")
        return None

    def _done(self, act: str, item: ReviewItem, typed: Mapping[str, str], chosen: tuple[str, ...]) -> Response:
        by, reason, now = typed.get("by", ""), typed.get("reason", ""), self.clock()
        try:
            key = self.home.steward_key(typed.get("passphrase", ""))
            if act == "withhold":
                new = acts.withhold(self.home, item, chosen, by=by, at=now, key=key, reason=reason)
                self._said = "Withheld. The report that waited is void; this one waits in its place."
                return _redirect(f"/report/{new.payload_sha256}")
            if act == "approve":
                acts.approve(self.home, item, by=by, at=now, key=key, reason=reason)
                self._said = f"Approved by {by.strip()}. It leaves when the coordinator asks next."
            else:
                acts.refuse(self.home, item, by=by, at=now, key=key, reason=reason)
                self._said = f"Refused by {by.strip()}."
        except InputError as error:
            # A wrong passphrase or an empty name: the form again, with all that was typed but the passphrase.
            self._said = f"Nothing was done. {_without_paths(error)}"
            return self._asked(act, item, chosen, typed)
        return _redirect(_place(item))

    def _new_form(self, path: str) -> str:
        name = secrets.token_urlsafe(16)
        self._forms[name] = path
        return name

    def _frame(self) -> Frame:
        said, self._said = self._said, ""
        return Frame(site=self.home.site, idle_minutes=self.idle_minutes, said=said)

    def _refused(self, text: str) -> Response:
        return self._message(HTTPStatus.FORBIDDEN, "Nothing is shown here", text)

    def _message(self, status: HTTPStatus, heading: str, text: str, back: str = "") -> Response:
        frame = Frame(site=self.home.site, idle_minutes=self.idle_minutes)
        return Response(status=status, body=message_page(heading, text, frame, back=back))


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _page(body: bytes) -> Response:
    return Response(status=HTTPStatus.OK, body=body)


def _redirect(place: str, *headers: tuple[str, str]) -> Response:
    return Response(status=HTTPStatus.SEE_OTHER, headers=(("Location", place), *headers))


def _place(item: ReviewItem) -> str:
    return f"/report/{item.held.payload_sha256}"


def _named(items: tuple[ReviewItem, ...], digest: str) -> ReviewItem | None:
    return next((item for item in items if item.held.payload_sha256 == digest), None)


def _newer(items: tuple[ReviewItem, ...], item: ReviewItem) -> str:
    if item.held.state.value != "voided":
        return ""
    same = [each for each in items if (each.held.study, each.held.lot) == (item.held.study, item.held.lot)]
    alive = [each.held.payload_sha256 for each in same if each.held.state.value != "voided"]
    return alive[0] if alive else ""


def _without_paths(error: InputError) -> str:
    # The only file that a form can be wrong about is the steward's key.
    return "The passphrase does not open the steward's key." if "steward.pem" in str(error) else str(error)
