"""Mutated envelopes and reports: the decoders refuse with a code or accept a well-formed message, and never crash.

What is accepted is held against a second, plain reading of the format that shares no code with the decoder.
``CROSSLOT_FUZZ`` sets how many inputs are drawn: 400 where it is not set.
"""

import json
import os
import re
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.codec import decode, encode
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType, open_envelope, seal
from protocol.errors import ProtocolError
from protocol.report import LotReport
from tests.study_parts import KYOTO, key_of, make_plan, make_report, rules_of

pytestmark = pytest.mark.disclosure

INPUTS: Final = int(os.environ.get("CROSSLOT_FUZZ", "400"))
LIMIT: Final = PAYLOAD_LIMITS[PayloadType.LOT_REPORT]
SOUND: Final = encode(make_report(rules_of(make_plan()), "BM-01", (600, 300, 100)))
ENVELOPE: Final = seal(SOUND, PayloadType.LOT_REPORT, key_of(KYOTO))
KEY: Final = key_of(KYOTO).verifying_key

_SYNTAX: Final = [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"null", b"true", b"\xff", b"\x00"]
_VALUES: Final = [b"NaN", b"-0", b"1e999", b"[3,3]", b"[4,1]", b"1.0", b"0", b"-1", b"9" * 40, b"\\u0000", b"\\ud800"]
_FIELDS: Final = [b'"lot":"BM-01"', b'"gene":1,']
TOKENS: Final = st.sampled_from([*_SYNTAX, *_VALUES, *_FIELDS])
MUTATION: Final = st.tuples(
    st.sampled_from(["flip", "insert", "delete", "repeat", "token", "swap"]), st.integers(0, 2**20), st.integers(1, 60)
)


def mutated(data: bytes, mutations: list[tuple[str, int, int]], token: bytes) -> bytes:
    for kind, place, length in mutations:
        at = place % (len(data) + 1)
        match kind:
            case "flip" if data:
                at %= len(data)
                data = data[:at] + bytes([data[at] ^ 1 << length % 8]) + data[at + 1 :]
            case "insert":
                data = data[:at] + bytes([length]) + data[at:]
            case "delete":
                data = data[:at] + data[at + length :]
            case "repeat":
                data = data[:at] + data[at : at + length] + data[at:]
            case "token":
                data = data[:at] + token + data[at + length % 4 :]
            case _:
                data = data[at:] + data[:at]
    return data


def _is_count(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    if type(value) is int:
        return 0 <= value <= 10**9
    is_pair = isinstance(value, list) and len(value) == 2 and all(type(end) is int for end in value)
    return is_pair and 0 <= value[0] < value[1] <= 10**9


def _require_well_formed(data: bytes) -> None:
    """Hold an accepted report against the format, read plainly."""
    document = json.loads(data)
    expected = json.loads(SOUND)
    assert set(document) == set(expected)
    assert json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() == data
    assert document["schema"] == "crosslot.lot-report/1"
    for name in ("lot", "donor"):
        assert re.fullmatch(r"[0-9a-f]{16}", document[name])
    for name in ("plan_sha256", "atlas_sha256"):
        assert re.fullmatch(r"[0-9a-f]{64}", document[name])
    for name in ("tissue", "product", "condition"):
        assert re.fullmatch(r"[^\x00-\x1f\x7f]{1,64}", document[name])
    assert all(map(_is_count, [*document["counts"], document["unassigned"], document["cells_after_qc"]]))
    assert set(document["quality"]) == set(expected["quality"])
    for series in document["potency"]:
        assert set(series) == set(expected["potency"][0])
        assert all(type(value) is float and 0 < value < float("inf") for value in series["replicates"])
    assert set(document["padding"]) <= {" "}
    assert document["period"] is None or re.fullmatch(r"[0-9]{4}-Q[1-4]", document["period"])


@given(st.lists(MUTATION, max_size=4), TOKENS)
@settings(max_examples=INPUTS, suppress_health_check=[HealthCheck.too_slow], database=None)
def test_no_mutated_report_crashes_the_decoder_or_is_accepted_malformed(
    mutations: list[tuple[str, int, int]], token: bytes
) -> None:
    data = mutated(SOUND, mutations, token)
    try:
        report = decode(LotReport, data, limit=LIMIT)
    except ProtocolError:
        return
    assert encode(report) == data
    _require_well_formed(data)


NUMBERS: Final = st.one_of(st.integers(), st.floats(), st.text(max_size=8), st.none(), st.booleans())
VALUES: Final = st.recursive(
    NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401 - any JSON value
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [path, *(place for key, each in inner for place in _places(each, (*path, key)))] if path or inner else [path]


PLACES: Final = [place for place in _places(json.loads(SOUND)) if place]


@given(st.sampled_from(PLACES), VALUES)
@settings(max_examples=INPUTS, suppress_health_check=[HealthCheck.too_slow], database=None)
def test_no_other_value_anywhere_in_a_report_crashes_the_decoder_or_is_accepted_malformed(
    place: tuple[Any, ...], value: object
) -> None:
    document = json.loads(SOUND)
    target = document
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    data = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )
    try:
        report = decode(LotReport, data, limit=LIMIT)
    except ProtocolError:
        return
    assert encode(report) == data
    _require_well_formed(data)


@given(st.lists(MUTATION, min_size=1, max_size=4), TOKENS)
@settings(max_examples=INPUTS, suppress_health_check=[HealthCheck.too_slow], database=None)
def test_no_mutated_envelope_crashes_or_opens(mutations: list[tuple[str, int, int]], token: bytes) -> None:
    data = mutated(ENVELOPE, mutations, token)
    try:
        opened = open_envelope(data, PayloadType.LOT_REPORT, [KEY])
    except ProtocolError:
        return
    assert data == ENVELOPE
    assert opened.payload == SOUND
