"""The rules by which a relayed call is let through, as laws over values."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.network.admission import FLEET_PATHS, OnceOnly, Refusal, Share, admitted_headers
from protocol.wire.calls import MAXIMUM_RELAY_BYTES

KEY = b"a node's key"
HEADERS = {"flwr-public-key": base64.b64encode(KEY).decode(), "flwr-signature": "s"}


@given(st.text(max_size=60))
@settings(max_examples=60)
def test_no_other_path_is_relayed(path: str) -> None:
    if path in FLEET_PATHS:
        return
    with pytest.raises(Refusal, match="path"):
        admitted_headers(path, 0, HEADERS, KEY)


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=5))
@settings(max_examples=60)
def test_only_flowers_own_headers_go_on(others: dict[str, str]) -> None:
    passed = admitted_headers("/v1/fleet/get-run", 1, {**others, **HEADERS}, KEY)
    assert set(passed) <= {
        "flwr-public-key",
        "flwr-signature",
        "flwr-timestamp",
        "flwr-package-name",
        "flwr-package-version",
        "flwr-component-name",
    }
    assert passed["flwr-signature"] == "s"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"flwr-signature": "s"},
        {**HEADERS, "flwr-public-key": base64.b64encode(b"another").decode()},
        {**HEADERS, "flwr-public-key": "not base64"},
        {"flwr-public-key": HEADERS["flwr-public-key"]},
        {**HEADERS, "flwr-timestamp": "x" * 5_000},
        {**HEADERS, "flwr-timestamp": "a\r\nhost: b"},
    ],
)
def test_a_call_without_the_sites_own_node_key_and_signature_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Refusal):
        admitted_headers("/v1/fleet/get-run", 1, headers, KEY)


def test_a_body_over_the_limit_is_refused() -> None:
    admitted_headers("/v1/fleet/push-object", MAXIMUM_RELAY_BYTES, HEADERS, KEY)
    with pytest.raises(Refusal, match="too large"):
        admitted_headers("/v1/fleet/push-object", MAXIMUM_RELAY_BYTES + 1, HEADERS, KEY)


def test_a_signature_passes_once_while_flower_would_take_it() -> None:
    once = OnceOnly()
    once.take("a", 0.0)
    once.take("b", 100.0)
    with pytest.raises(Refusal):
        once.take("a", 305.0)
    once.take("a", 400.0)


@given(st.lists(st.floats(0, 2), min_size=1, max_size=80))
@settings(max_examples=40)
def test_no_more_calls_pass_than_the_share_gives(gaps: list[float]) -> None:
    share, now, passed = Share(calls_per_second=5, concurrent=1), 0.0, 0
    for gap in gaps:
        now += gap
        try:
            with share.one_call(now):
                passed += 1
        except Refusal:
            pass
    assert passed <= 20 + 5 * now


def test_calls_at_once_are_bounded_and_given_back() -> None:
    share = Share(calls_per_second=100, concurrent=1)
    with share.one_call(0.0), pytest.raises(Refusal, match="at once"), share.one_call(0.0):
        pass
    with share.one_call(0.0):
        pass
