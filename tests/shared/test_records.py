"""Records take what pydantic's strict models take, and refuse what those refuse; they change never."""

import json
from typing import Annotated, Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.records import Count, MisfitError, Record, Text, Within


class Part(Record):
    word: Annotated[str, Text(shortest=1, longest=3)]
    share: Annotated[float, Within(ge=0, le=1)] | None


class Whole(Record):
    kind: Literal["a", "b"]
    cells: Annotated[int, Within(ge=1)]
    above: Annotated[float, Within(gt=0, lt=2)] = 1.0
    parts: Annotated[tuple[Part, ...], Count(most=2)] = ()
    certain: bool = False
    note: str | None = None


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class ModelPart(_Model):
    word: Annotated[str, Field(min_length=1, max_length=3, pattern=r"^[^\x00-\x1f\x7f]+$")]
    share: Annotated[float, Field(ge=0, le=1)] | None


class ModelWhole(_Model):
    kind: Literal["a", "b"]
    cells: Annotated[int, Field(ge=1)]
    above: Annotated[float, Field(gt=0, lt=2)] = 1.0
    parts: Annotated[tuple[ModelPart, ...], Field(max_length=2)] = ()
    certain: bool = False
    note: str | None = None


GOOD: dict[str, Any] = {"kind": "a", "cells": 3, "parts": [{"word": "x", "share": 1}], "certain": True}

_odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.floats(),
    st.sampled_from(["", "a", "abc", "abcd", "\n", "a\n", "\x7f", "é", "1"]),
    st.sampled_from(
        [[], {}, [{}], ["a"], [{"word": "x", "share": None}] * 2, [{"word": "x", "share": 0}] * 3, 10**400]
    ),
)


@given(st.dictionaries(st.sampled_from([*ModelWhole.model_fields, "more"]), _odd, max_size=3))
@example({"parts": [{"word": "x"}]})
@example({"parts": [{"word": "x", "share": 0.5, "more": 1}]})
def test_a_document_is_taken_as_pydantic_takes_it_or_refused_as_it_refuses(changes: dict[str, Any]) -> None:
    text = json.dumps(GOOD | changes)
    try:
        expected = ModelWhole.model_validate_json(text)
    except ValidationError:
        with pytest.raises(MisfitError):
            Whole.from_text(text.encode())
        return
    assert json.dumps(Whole.from_text(text.encode()).to_fields()) == json.dumps(expected.model_dump())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[]", "a JSON object"),
        (b"{", "a JSON text"),
        (b"\xff{}", "a JSON text"),
        (b'{"kind": "a", "cells": 1, "note": ' + b"[" * 100_000, "a JSON text"),
        (json.dumps(GOOD).encode("utf-16"), "a JSON text"),
        (json.dumps(GOOD | {"parts": [{"word": "\ud800", "share": 1}]}).encode(), "printable"),
        (b'{"kind": "a", "cells": 1, "above": NaN}', "finite"),
    ],
)
def test_a_text_that_is_no_document_is_refused(text: bytes, message: str) -> None:
    with pytest.raises(MisfitError, match=message):
        Whole.from_text(text)


def test_an_error_names_its_place() -> None:
    with pytest.raises(MisfitError) as caught:
        Whole.from_fields(GOOD | {"parts": [{"word": "x", "share": 1}, {"word": "x", "share": 7}]})
    assert caught.value.where == ("parts", "1", "share")
    assert str(caught.value) == "expected a number at least 0 and at most 1, found 7.0"


def test_a_record_is_checked_however_it_is_made() -> None:
    whole = Whole.from_fields(GOOD)
    assert whole == Whole(kind="a", cells=3, parts=(Part(word="x", share=1.0),), certain=True)
    assert hash(whole) == hash(Whole.from_fields(GOOD))
    assert whole.replaced(cells=4).cells == 4
    assert whole != whole.replaced(cells=4)
    with pytest.raises(MisfitError, match="at least 1"):
        whole.replaced(cells=0)
    with pytest.raises(MisfitError, match="expected int, found bool"):
        Whole(kind="a", cells=True)
    with pytest.raises(TypeError, match="no field 'more'"):
        whole.replaced(more=1)
    with pytest.raises(TypeError, match="needs a value of 'cells'"):
        Whole(kind="a")  # type: ignore[call-arg]  # what is tried


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="cannot be changed"):
        Whole.from_fields(GOOD).cells = 4  # type: ignore[misc]  # what is tried
