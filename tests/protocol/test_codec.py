import json
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from protocol.codec import MAXIMUM_DEPTH, canonical_json, decode, encode, parse_bounded
from protocol.errors import DecodeError, ErrorCode
from protocol.message import Message
from protocol.plan import StudyPlan
from protocol.policy import SitePolicy
from protocol.queries import Query
from protocol.report import LotReport

LIMIT = 65_536


class Sample(Message):
    text: str = ""
    number: float = 0.0
    whole: int = 0
    pair: tuple[int, ...] = ()
    share: Annotated[float, Field(ge=0)] | None = None


def _code(data: bytes, kind: type[Message] = Sample, limit: int = LIMIT) -> ErrorCode:
    with pytest.raises(DecodeError) as caught:
        decode(kind, data, limit=limit)
    return caught.value.code


SAMPLES = st.builds(
    Sample,
    text=st.text(max_size=20),
    number=st.floats(allow_nan=False, allow_infinity=False),
    whole=st.integers(-(10**30), 10**30),
    pair=st.lists(st.integers(), max_size=4).map(tuple),
    share=st.none() | st.floats(0, 1e300),
)


@given(SAMPLES)
def test_decoding_what_was_encoded_gives_the_message_back(sample: Sample) -> None:
    back = decode(Sample, encode(sample), limit=LIMIT)
    assert back == sample
    assert encode(back) == encode(sample)


@given(SAMPLES, st.data())
def test_any_other_spelling_of_a_message_is_refused(sample: Sample, data: st.DataObject) -> None:
    encoded = encode(sample)
    at = data.draw(st.integers(0, len(encoded)))
    other = encoded[:at] + b" " + encoded[at:]
    try:
        back = decode(Sample, other, limit=LIMIT)
    except DecodeError:
        return
    # A space within the text is another message.
    assert back != sample
    assert encode(back) == other


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_decoded_or_refused_with_a_code(data: bytes) -> None:
    try:
        message = decode(Sample, data, limit=100)
    except DecodeError:
        return
    assert encode(message) == data


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(_JSON)
def test_any_json_is_decoded_or_refused_with_a_code(value: object) -> None:
    data = canonical_json(value)
    for kind in (LotReport, StudyPlan, Query, SitePolicy):
        with pytest.raises(DecodeError):
            decode(kind, data, limit=LIMIT)


def _places(value: object) -> list[tuple[str | int, ...]]:
    """Return the path of every value within a JSON value, its own empty path first."""
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [(), *((key, *path) for key, below in inner for path in _places(below))]


@given(data=st.data())
@settings(max_examples=200)
def test_a_message_with_any_one_value_replaced_is_refused_or_still_canonical(
    report: LotReport, plan: StudyPlan, query: Query, data: st.DataObject
) -> None:
    message = data.draw(st.sampled_from([report, plan, query]))
    document = json.loads(encode(message))
    *path, last = data.draw(st.sampled_from([place for place in _places(document) if place]))
    target = document
    for key in path:
        target = target[key]
    target[last] = data.draw(_JSON | st.sampled_from([-1, 0, 1e300, "", " ", "a" * 64, [1, 4], [4, 1]]))
    changed = canonical_json(document)
    try:
        back = decode(type(message), changed, limit=LIMIT)
    except DecodeError:
        return
    assert encode(back) == changed


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_spelled_as_python_spells_it(number: float) -> None:
    assert canonical_json(number) == repr(number).encode()


def test_real_messages_come_back(plan: StudyPlan, policy: SitePolicy, query: Query, report: LotReport) -> None:
    for message in (plan, policy, query, report):
        assert decode(type(message), encode(message), limit=LIMIT) == message


def test_keys_are_sorted_and_nothing_is_spaced_or_escaped_without_need() -> None:
    assert encode(Sample(text="µ é\n")) == '{"number":0.0,"pair":[],"share":null,"text":"µ é\\n","whole":0}'.encode()


GOOD = '{"number":1.5,"pair":[1],"share":null,"text":"a","whole":2}'


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (GOOD.replace('"whole":2', '"whole":2,"zeal":3'), ErrorCode.UNKNOWN_FIELD),
        (GOOD.replace('"whole":2', '"whole":2,"whole":2'), ErrorCode.DUPLICATE_KEY),
        (GOOD.replace("1.5", "NaN"), ErrorCode.NOT_FINITE),
        (GOOD.replace("1.5", "Infinity"), ErrorCode.NOT_FINITE),
        (GOOD.replace("1.5", "1e999"), ErrorCode.NOT_FINITE),
        (GOOD + "{}", ErrorCode.TRAILING_BYTES),
        (GOOD + "\x00", ErrorCode.TRAILING_BYTES),
        (GOOD + "\n", ErrorCode.NOT_CANONICAL),
        (" " + GOOD, ErrorCode.NOT_CANONICAL),
        (GOOD.replace("1.5", "1.50"), ErrorCode.NOT_CANONICAL),
        (GOOD.replace("1.5", "2"), ErrorCode.NOT_CANONICAL),
        (GOOD.replace(',"share":null', ""), ErrorCode.NOT_CANONICAL),
        (GOOD.replace('"a"', '"\\u0061"'), ErrorCode.NOT_CANONICAL),
        (GOOD.replace('"whole":2', '"whole":"2"'), ErrorCode.INVALID_FIELD),
        (GOOD.replace('"whole":2', '"whole":2.0'), ErrorCode.INVALID_FIELD),
        (GOOD.replace('"whole":2', '"whole":true'), ErrorCode.INVALID_FIELD),
        (GOOD.replace('"a"', '"\\ud800"'), ErrorCode.INVALID_FIELD),
        (GOOD.replace('"whole":2', '"whole":' + "9" * 5000), ErrorCode.INVALID_FIELD),
        (GOOD[:-1], ErrorCode.NOT_JSON),
        ("", ErrorCode.NOT_JSON),
        ("\ufeff" + GOOD, ErrorCode.NOT_JSON),
        ("[]", ErrorCode.INVALID_FIELD),
        ('{"a":' * 9 + "1" + "}" * 9, ErrorCode.TOO_DEEP),
        ("[" * 60_000, ErrorCode.TOO_DEEP),
        (GOOD.replace('"a"', '"' + "a" * 70_000 + '"'), ErrorCode.OVERSIZE),
    ],
)
def test_each_broken_rule_has_its_code(data: str, code: ErrorCode) -> None:
    assert _code(data.encode()) is code


def test_bytes_that_are_not_utf8_are_refused() -> None:
    assert _code(b'{"text":"\xff"}') is ErrorCode.NOT_UTF8


def test_another_schema_is_named_as_such(query: Query) -> None:
    data = encode(query).replace(b"crosslot.query/1", b"crosslot.query/2")
    assert _code(data, Query) is ErrorCode.WRONG_SCHEMA


def test_a_missing_field_is_named_as_such(query: Query) -> None:
    document = json.loads(encode(query))
    del document["nonce"]
    assert _code(canonical_json(document), Query) is ErrorCode.MISSING_FIELD


def test_a_field_by_its_inner_name_is_refused(query: Query) -> None:
    # The model knows `schema_id` as the name of `schema`; the wire does not.
    assert _code(encode(query).replace(b'"schema"', b'"schema_id"'), Query) is ErrorCode.NOT_CANONICAL


def test_brackets_within_strings_are_not_depth() -> None:
    assert decode(Sample, encode(Sample(text='[{"\\' * 50)), limit=LIMIT).text == '[{"\\' * 50


def test_depth_is_refused_just_beyond_the_limit() -> None:
    deepest = b"[" * MAXIMUM_DEPTH + b"]" * MAXIMUM_DEPTH
    assert isinstance(parse_bounded(deepest, limit=LIMIT), list)
    with pytest.raises(DecodeError):
        parse_bounded(b"[" + deepest + b"]", limit=LIMIT)


def test_every_code_has_one_sentence_without_room_for_a_value() -> None:
    sentences = [code.sentence for code in ErrorCode]
    assert len(set(sentences)) == len(sentences)
    assert all(sentence.endswith(".") and "{" not in sentence and "%" not in sentence for sentence in sentences)
