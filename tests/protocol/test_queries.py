from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from protocol.codec import encode, sha256
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import Sha256, SiteId, StudyId, instant, time_of
from protocol.queries import (
    CLOCK_TOLERANCE,
    AnswerStatus,
    Query,
    ReplayWindow,
    answer_with_code,
    answer_with_reports,
    check_answer,
    check_asks_for,
    check_query,
)

Change = Callable[..., Any]
NOW = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def _refusal(query: Query, *, site: str = "kyoto", now: datetime = NOW) -> ErrorCode:
    with pytest.raises(ProtocolError) as caught:
        check_query(query, site=site, now=now)
    return caught.value.code


def test_a_timely_query_for_this_site_is_accepted(query: Query) -> None:
    check_query(query, site=SiteId("kyoto"), now=NOW)


def test_the_edges_of_a_querys_life(query: Query) -> None:
    issued, expires = time_of(query.issued), time_of(query.expires)
    check_query(query, site=SiteId("kyoto"), now=issued - CLOCK_TOLERANCE)
    check_query(query, site=SiteId("kyoto"), now=expires + CLOCK_TOLERANCE)
    assert _refusal(query, now=issued - CLOCK_TOLERANCE - SECOND) is ErrorCode.NOT_YET_VALID
    assert _refusal(query, now=expires + CLOCK_TOLERANCE + SECOND) is ErrorCode.EXPIRED


def test_a_query_for_another_site_is_refused(query: Query) -> None:
    assert _refusal(query, site=SiteId("leiden")) is ErrorCode.WRONG_SITE


def test_a_query_that_lives_too_long_is_refused(query: Query, changed: Change) -> None:
    assert _refusal(changed(query, expires="2026-11-21T08:00:01Z")) is ErrorCode.VALID_TOO_LONG
    check_query(changed(query, expires="2026-11-21T08:00:00Z"), site=SiteId("kyoto"), now=NOW)


def test_a_query_that_expires_before_it_is_issued_is_no_query(query: Query, changed: Change) -> None:
    with pytest.raises(ValidationError, match="expires after issued"):
        changed(query, expires=query.issued)


@pytest.mark.parametrize(
    "text", ["2026-02-30T00:00:00Z", "2026-1-01T00:00:00Z", "2026-01-01T00:00:00", "26-01-01T00:00:00Z"]
)
def test_only_a_real_time_in_its_one_spelling_is_an_instant(query: Query, changed: Change, text: str) -> None:
    with pytest.raises(ValidationError, match=r"expected"):
        changed(query, issued=text)


@given(st.datetimes(datetime(1000, 1, 1), datetime(9999, 1, 1), timezones=st.timezones()))  # noqa: DTZ001 - hypothesis wants naive bounds
def test_an_instant_names_its_time_to_the_second(time: datetime) -> None:
    assert timedelta(0) <= time - time_of(instant(time)) < timedelta(seconds=1)


def test_a_replayed_query_is_refused(query: Query) -> None:
    window = ReplayWindow().take(query, now=NOW)
    with pytest.raises(ProtocolError) as caught:
        window.take(query, now=NOW)
    assert caught.value.code is ErrorCode.REPLAYED


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 100_000)), max_size=30))
def test_at_no_time_is_a_query_taken_twice(steps: list[tuple[int, int]]) -> None:
    # Six queries arrive again and again in any order as the clock goes on; each is taken at most once.
    start = datetime(2026, 11, 20, tzinfo=UTC)
    queries = [
        Query(
            study=StudyId("s"),
            plan_sha256=Sha256("b" * 64),
            atlas_sha256=Sha256("a" * 64),
            site=SiteId("kyoto"),
            round=1,
            nonce=f"{number:032x}",
            issued=instant(start + timedelta(hours=number)),
            expires=instant(start + timedelta(hours=number + 3)),
        )
        for number in range(6)
    ]
    window, taken = ReplayWindow(), []
    for number, seconds in sorted(steps, key=lambda step: step[1]):
        now = start + timedelta(seconds=seconds)
        try:
            check_query(queries[number], site=SiteId("kyoto"), now=now)
            window = window.take(queries[number], now=now)
        except ProtocolError:
            continue
        taken.append(number)
    assert len(taken) == len(set(taken))


def test_the_window_forgets_what_age_refuses(query: Query, changed: Change) -> None:
    window = ReplayWindow().take(query, now=NOW)
    later = time_of(query.expires) + CLOCK_TOLERANCE + SECOND
    following = changed(query, nonce="f" * 32, issued=query.expires, expires="2026-11-20T10:00:00Z")
    assert window.take(following, now=later).taken == {("f" * 32, "2026-11-20T10:00:00Z")}


def test_an_expired_query_is_remembered_as_long_as_the_clocks_tolerance_lets_it_in(
    query: Query, changed: Change
) -> None:
    window = ReplayWindow().take(query, now=NOW)
    just_after = time_of(query.expires) + SECOND
    following = changed(query, nonce="f" * 32, issued=query.expires, expires="2026-11-20T10:00:00Z")
    window = window.take(following, now=just_after)
    check_query(query, site="kyoto", now=just_after + SECOND)
    with pytest.raises(ProtocolError) as caught:
        window.take(query, now=just_after + SECOND)
    assert caught.value.code is ErrorCode.REPLAYED


def test_a_query_for_another_study_plan_or_atlas_is_refused(query: Query) -> None:
    check_asks_for(query, study=StudyId("vegf-2026"), plan_sha256=query.plan_sha256, atlas_sha256=query.atlas_sha256)
    for change, code in (
        ({"study": "other"}, ErrorCode.WRONG_STUDY),
        ({"plan_sha256": "c" * 64}, ErrorCode.PLAN_MISMATCH),
        ({"atlas_sha256": "c" * 64}, ErrorCode.ATLAS_MISMATCH),
    ):
        agreed = {"study": "vegf-2026", "plan_sha256": query.plan_sha256, "atlas_sha256": query.atlas_sha256, **change}
        with pytest.raises(ProtocolError) as caught:
            check_asks_for(query, **agreed)  # type: ignore[arg-type]  # plain text stands for the new types
        assert caught.value.code is code


def test_an_answer_names_exactly_the_reports_beside_it(query: Query) -> None:
    payload, reports = encode(query), [b"report 2", b"report 1"]
    answer = answer_with_reports(query, payload, reports)
    check_answer(answer, query=query, query_payload=payload, report_envelopes=reports[::-1])
    for others in ([b"report 1"], [*reports, b"report 3"], [b"report 1", b"report 1"], [b"report 1", b"forged"], []):
        with pytest.raises(ProtocolError) as caught:
            check_answer(answer, query=query, query_payload=payload, report_envelopes=others)
        assert caught.value.code is ErrorCode.REPORTS_MISMATCH


def test_an_answer_to_another_query_is_refused(query: Query, changed: Change) -> None:
    answer = answer_with_code(query, encode(query), AnswerStatus.WAITING, ErrorCode.AWAITING_STEWARD)
    check_answer(answer, query=query, query_payload=encode(query), report_envelopes=[])
    for other, code in (
        (changed(answer, query_nonce="e" * 32), ErrorCode.WRONG_QUERY),
        (changed(answer, query_sha256=sha256(b"")), ErrorCode.WRONG_QUERY),
        (changed(answer, site=SiteId("leiden")), ErrorCode.WRONG_SITE),
        (changed(answer, study=StudyId("other")), ErrorCode.WRONG_STUDY),
    ):
        with pytest.raises(ProtocolError) as caught:
            check_answer(other, query=query, query_payload=encode(query), report_envelopes=[])
        assert caught.value.code is code


def test_an_answer_has_reports_or_a_reason(query: Query, changed: Change) -> None:
    waiting = answer_with_code(query, encode(query), AnswerStatus.WAITING, ErrorCode.AWAITING_STEWARD)
    for change in (
        {"code": None},
        {"status": AnswerStatus.REPORTS},
        {"reports": ("a" * 64,)},
        {"status": AnswerStatus.REPORTS, "code": None, "reports": ("b" * 64, "a" * 64)},
        {"status": AnswerStatus.REPORTS, "code": None, "reports": ("a" * 64, "a" * 64)},
    ):
        with pytest.raises(ValidationError, match="expected"):
            changed(waiting, **change)
