"""A card is taken as pydantic's strict models take it or refused as they refuse, and what is refused is a named error.

``mirrored`` makes those models of the card's own annotations: a second opinion on what a bound or a kind lets pass.
"""

import json
import math
import re
from types import GenericAlias, NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from shared.atlas.artefact import MAXIMUM_CARD_BYTES, Atlas, AtlasFormatError, from_bytes, to_bytes
from shared.atlas.card import Card, Marker

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, regex_engine="python-re")


def mirrored(kind: Any) -> Any:  # noqa: ANN401 - any annotation of a card
    """Return a card's annotation as one of pydantic."""
    if get_origin(kind) is Annotated:
        bare, rule = get_args(kind)
        names = ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern")
        rules = {name: getattr(rule, name) for name in names if getattr(rule, name) is not None}
        return Annotated[mirrored(bare), Field(**rules)]
    if get_origin(kind) is tuple:
        return GenericAlias(tuple, (mirrored(get_args(kind)[0]), ...))
    if NoneType in get_args(kind):
        return mirrored(get_args(kind)[0]) | None
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return model_of(kind)
    return kind


def model_of(kind: type[msgspec.Struct]) -> type[BaseModel]:
    hints = get_type_hints(kind, include_extras=True)
    given_by = {field.encode_name: (hints[field.name], field.default) for field in msgspec.structs.fields(kind)}
    parts = {
        name: (mirrored(hint), ... if default is msgspec.NODEFAULT else default)
        for name, (hint, default) in given_by.items()
    }
    return create_model(kind.__name__, __config__=_STRICT, **parts)  # type: ignore[call-overload, no-any-return]  # fields that the annotations give


# 'schema' is the name of an old method of every model, which the field hides.
with pytest.warns(UserWarning, match="shadows"):
    CARD_MODEL = model_of(Card)

_MARKER = {"gene": "A", "log2_fold_change": 1.5, "share_in": 1, "share_out": 0.25}
_GOOD: dict[str, Any] = {
    "schema": "crosslot.atlas/1",
    "name": "small",
    "modality": "counts",
    "clusters": ["one", "two"],
    "gene_ids": ["", "ENSG1"],
    "gene_symbols": ["A", "é"],
    "target_sum": 1e4,
    "temperature": 1,
    "novelty": {"temperature": 1, "energy_weight": 0, "distance_weight": 2, "quantile": 0.9, "confidence": 1},
    "transfer": {
        "lots": 3,
        "accuracy": 0.9,
        "worst_accuracy": None,
        "total_variation": 0.1,
        "worst_total_variation": 0.2,
        "unassigned_share": 0,
        "unassigned_log_odds": -3.25,
        "unassigned_log_odds_spread": 0.5,
        "novel_log_odds": 1e-9,
        "novel_log_odds_spread": 2,
        "interval_calibrated": True,
        "reason": "why",
    },
    "markers": [[_MARKER], []],
    "stability": [1, 0.5],
    "dropped": [{"cluster": "rare", "cells": 3, "reason": "few"}],
    "provenance": {
        "crosslot": "1",
        "method": "m",
        "labels": "owner",
        "seed": 0,
        "cells": 10,
        "lots": 3,
        "genes_in_files": 2,
        "tissue": "blood",
        "species": None,
        "parameters": [{"name": "n", "value": "1"}],
        "notes": ["a note"],
    },
}


def _places(document: Any, so_far: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:  # noqa: ANN401 - any JSON value
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [so_far, *(place for key, value in inner for place in _places(value, (*so_far, key)))]


PLACES = [place for place in _places(_GOOD) if place]


def changed(place: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """Return the good document with another value in one place."""
    document = json.loads(json.dumps(_GOOD))
    inner = document
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return document  # type: ignore[no-any-return]  # of JSON


def with_card(atlas: Atlas, text: bytes) -> bytes:
    parts = safetensors.numpy.load(to_bytes(atlas))
    return safetensors.numpy.save(parts | {"card": np.frombuffer(text, np.uint8)})


_odd = st.one_of(
    st.sampled_from([None, True, False, -1, 0, 1, 2, 2**63, 2**64, 10**400, -0.0, 0.5, 1.0, 1e300]),
    st.floats(),
    st.sampled_from(
        ["", "1", "true", "counts", "x" * 64, "x" * 65, "x" * 1_001, "a\n", "\x7f", "\ud800", "😀", "\x85"]
    ),
    st.sampled_from([[], {}, [[]], [{}], ["a"], ["a", "b"], ["a"] * 257, [_MARKER], {"a": 1}, [0.5, 1], [None] * 65]),
)


@settings(max_examples=300)
@given(place=st.sampled_from(PLACES), value=_odd, new=st.booleans())
@example(place=("transfer", "novel_log_odds"), value=math.nan, new=False)
@example(place=("transfer", "interval_calibrated"), value=1, new=False)
@example(place=("clusters",), value=["a", "b\n"], new=False)
@example(place=("stability",), value=[True, False], new=False)
@example(place=("markers", 0, 0, "gene"), value="x", new=True)
def test_a_card_is_taken_as_pydantic_takes_it_or_refused_as_it_refuses(
    place: tuple[str | int, ...], value: object, *, new: bool
) -> None:
    added = new and isinstance(place[-1], str)
    text = json.dumps(changed((*place[:-1], "unheard_of") if added else place, value))
    try:
        expected = CARD_MODEL.model_validate_json(text)
    except ValidationError:
        with pytest.raises(ValueError, match=r"."):
            Card.from_text(text.encode())
        return
    try:
        found = Card.from_text(text.encode())
    except msgspec.ValidationError as error:
        # pydantic's mirror knows no rule between two fields
        assert "`" not in str(error)  # noqa: PT017 - the rest of the rules is the mirror's
        return
    ours, theirs = msgspec.to_builtins(found), expected.model_dump()
    assert ours == theirs
    assert repr(ours) == repr({name: theirs[name] for name in ours})  # 1 and 1.0 are equal, and are not the same


_OPTIONAL = {
    *((name,) for name in ("schema", "modality", "dropped")),
    *(("provenance", name) for name in ("parameters", "notes", "tissue", "species")),
    ("transfer", "reason"),
}
_NAMED = [place for place in PLACES if isinstance(place[-1], str)]


@pytest.mark.parametrize("place", _NAMED)
def test_a_field_may_be_missing_only_where_it_has_a_default(place: tuple[str | int, ...]) -> None:
    text = json.dumps(changed(place, "taken out")).encode()
    text = re.sub(rb'"%s": "taken out"(, )?' % str(place[-1]).encode(), b"", text).replace(b", }", b"}")
    if place in _OPTIONAL:
        Card.from_text(text)
        return
    with pytest.raises(msgspec.ValidationError, match=f"missing required field `{place[-1]}`"):
        Card.from_text(text)


_DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "a JSON text"),
        (b"{", "a JSON text"),
        (b"nonsense", "a JSON text"),
        (json.dumps(_GOOD).encode() + b" {}", "a JSON text"),
        (b"\xff{}", "a JSON text"),
        (b"\xef\xbb\xbf{}", "a JSON text"),
        (json.dumps(_GOOD).encode("utf-16"), "a JSON text"),
        (json.dumps(changed(("name",), "\ud800")).encode(), "a JSON text"),
        (json.dumps(_GOOD).encode().replace(b'"small"', b'"\xed\xa0\x80"'), "a JSON text"),
        (json.dumps(_GOOD).encode().replace(b"10000.0", b"NaN"), "a JSON text"),
        (json.dumps(_GOOD).encode().replace(b"-3.25", b"Infinity"), "a JSON text"),
        (json.dumps(_GOOD).encode().replace(b"-3.25", b"1e999"), "out of range at `transfer.unassigned_log_odds`"),
        (json.dumps(_GOOD).encode().replace(b"-3.25", b"-" + b"9" * 5_000), "out of range at `transfer"),
        (json.dumps(_GOOD).encode().replace(b'"seed": 0', b'"seed": ' + b"9" * 5_000), "out of range at `prov"),
        (b"[]", "expected `object`, found `array`"),
        (_DEEP, "expected `object`, found `array`"),
        (b'{"unheard_of": ' + _DEEP, "expected no field `unheard_of`"),
        (b'{"name": ' + _DEEP, "expected `str`, found `array` at `name`"),
        (b'{"markers": ' + _DEEP, "found `array` at `markers"),
        (b'{"novelty": ' + b'{"novelty": ' * 100_000, "expected no field `novelty` at `novelty`"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_card_is_a_named_error(atlas: Atlas, text: bytes, message: str) -> None:
    with pytest.raises(AtlasFormatError) as caught:
        from_bytes(with_card(atlas, text))
    assert str(caught.value).startswith("atlas: card: ")
    assert message in str(caught.value)
    assert caught.value.__cause__ is None  # whose words may hold anything
    assert caught.value.hint is not None


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("markers", 0, 0, "share_in"), 7, "expected `float` <= 1.0 at `markers[0][0].share_in`"),
        (("novelty", "quantile"), 0.5, "expected `float` > 0.5 at `novelty.quantile`"),
        (("clusters", 1), 1, "expected `str`, found `int` at `clusters[1]`"),
        (("clusters",), ["a"], "expected `array` of length >= 2 at `clusters`"),
        (("name",), "two\nlines", "expected printable text at `name`"),
        (("name",), "", "expected `str` of length >= 1 at `name`"),
        (("schema",), "crosslot.atlas/2", "expected a word of this format, found 'crosslot.atlas/2' at `schema`"),
        (("transfer", "more"), 1, "expected no field `more` at `transfer`"),
        (("dropped",), [{"cluster": "a", "cells": 1}], "expected a field `reason` at `dropped[0]`"),
        (("transfer", "lots"), True, "expected `int`, found `bool` at `transfer.lots`"),
        (("clusters",), ["a", "a"], "clusters: expected distinct names, found one twice"),
        (("gene_symbols",), ["", "x"], "expected an id or a symbol for every gene"),
        (("gene_ids",), ["x"], "expected as many gene ids as gene symbols"),
        (("markers",), [], "expected one list of markers for every cluster"),
        (("stability",), [1], "expected one stability for every cluster"),
        (("modality",), "morphology", "expected the control wells of a morphology atlas"),
    ],
)
def test_an_error_says_what_was_expected_and_where(
    atlas: Atlas, place: tuple[str | int, ...], value: object, message: str
) -> None:
    with pytest.raises(AtlasFormatError) as caught:
        from_bytes(with_card(atlas, json.dumps(changed(place, value)).encode()))
    assert str(caught.value).startswith(f"atlas: card: {message}")


@pytest.mark.parametrize("place", [(), ("transfer",), ("markers", 0, 0)])
def test_the_words_of_a_hostile_card_are_cut_and_printable(atlas: Atlas, place: tuple[str | int, ...]) -> None:
    document = changed((*place, "\x1b[31m\u202e" * 100_000), 1)
    with pytest.raises(AtlasFormatError) as caught:
        from_bytes(with_card(atlas, json.dumps(document).encode()))
    assert len(str(caught.value)) < 350
    assert str(caught.value).isprintable()


def test_a_card_longer_than_any_that_is_written_is_refused_unread(atlas: Atlas) -> None:
    text = atlas.card.to_text().encode()
    longest = text + b" " * (MAXIMUM_CARD_BYTES - len(text))
    assert from_bytes(with_card(atlas, longest)).card == atlas.card
    with pytest.raises(AtlasFormatError, match="a card of at most 8,388,608 bytes, found 8,388,609"):
        from_bytes(with_card(atlas, longest + b" "))


def _leaf(place: tuple[str | int, ...]) -> object:
    found: Any = _GOOD
    for step in place:
        found = found[step]
    return found


@pytest.mark.parametrize("place", [place for place in PLACES if isinstance(_leaf(place), str)])
@pytest.mark.parametrize("text", ["a\n", "\x00", "a\x1b[31m", "\x7f", "\ud800", "x" * 1_001])
def test_no_text_of_a_card_may_hold_control_characters_or_be_long(place: tuple[str | int, ...], text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        msgspec.convert(changed(place, text), Card)


@pytest.mark.parametrize("place", [place for place in PLACES if type(_leaf(place)) in {int, float}])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_no_number_of_a_card_may_be_infinite_or_unknown(place: tuple[str | int, ...], number: float) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(changed(place, number), Card)


_SHARES = (
    *(("markers", 0, 0, name) for name in ("share_in", "share_out")),
    *(("transfer", name) for name in ("accuracy", "worst_accuracy", "total_variation", "worst_total_variation")),
    ("transfer", "unassigned_share"),
    ("stability", 0),
)
_OUTSIDE: list[tuple[tuple[str | int, ...], tuple[object, ...]]] = [
    *((place, (-0.01, 1.01)) for place in _SHARES),
    *((("transfer", name), (-0.01,)) for name in ("unassigned_log_odds_spread", "novel_log_odds_spread")),
    *((("novelty", name), (-0.01, 1.1e6)) for name in ("energy_weight", "distance_weight")),
    *((("provenance", name), (0, -1)) for name in ("cells", "lots", "genes_in_files")),
    *(((*place,), (-1,)) for place in (("transfer", "lots"), ("provenance", "seed"), ("dropped", 0, "cells"))),
    *((("provenance", name), ("", "x" * 65)) for name in ("crosslot", "tissue", "species")),
    *(((*place,), ("", "x" * 65)) for place in (("name",), ("clusters", 0), ("dropped", 0, "cluster"))),
    *(((*place,), ("x" * 65,)) for place in (("gene_ids", 1), ("gene_symbols", 1), ("markers", 0, 0, "gene"))),
    (("novelty", "temperature"), (0.009, 1_001)),
    (("novelty", "quantile"), (0.5, 1)),
    (("novelty", "confidence"), (0, 1.01)),
    (("target_sum",), (0, 1.1e9)),
    (("temperature",), (0.009, 100.1)),
    (("provenance", "notes"), (["x"] * 65,)),
    (("provenance", "parameters"), ([{"name": "n", "value": "v"}] * 65,)),
    (("dropped",), ([{"cluster": "c", "cells": 1, "reason": "r"}] * 10_001,)),
]


@pytest.mark.parametrize(("place", "outside"), _OUTSIDE)
def test_what_lies_outside_its_bounds_is_refused(place: tuple[str | int, ...], outside: tuple[object, ...]) -> None:
    for value in outside:
        with pytest.raises(msgspec.ValidationError, match="Expected"):
            Card.from_text(json.dumps(changed(place, value)).encode())


def test_a_card_has_two_to_256_clusters_and_at_most_20_000_genes() -> None:
    names = [f"c{place}" for place in range(20_001)]
    for n_clusters, n_genes, refused in (
        (256, 20_000, False),
        (257, 1, True),
        (1, 1, True),
        (2, 20_001, True),
        (2, 0, True),
    ):
        text = json.dumps(
            _GOOD
            | {"clusters": names[:n_clusters], "markers": [[]] * n_clusters, "stability": None}
            | {"gene_ids": names[:n_genes], "gene_symbols": names[:n_genes]}
        ).encode()
        if not refused:
            assert len(Card.from_text(text).gene_ids) == n_genes
            continue
        with pytest.raises(msgspec.ValidationError, match="of length"):
            Card.from_text(text)


def test_the_good_card_is_good() -> None:
    card = Card.from_text(json.dumps(_GOOD).encode())
    assert card.markers == ((Marker(gene="A", log2_fold_change=1.5, share_in=1.0, share_out=0.25),), ())
    assert card == Card.from_text(card.to_text().encode())


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_written_and_read_bit_for_bit(number: float) -> None:
    card = Card.from_text(json.dumps(changed(("transfer", "novel_log_odds"), number)).encode())
    assert card.transfer.novel_log_odds is not None
    assert card.transfer.novel_log_odds.hex() == number.hex()
    assert Card.from_text(card.to_text().encode()).to_text() == card.to_text()
