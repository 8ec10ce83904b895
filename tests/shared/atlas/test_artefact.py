"""An atlas file is one exact encoding, read strictly: anything else is a named error and never a crash."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.atlas import artefact
from shared.atlas.artefact import Atlas, AtlasFormatError, from_bytes, sha256, to_bytes


def _parts(atlas: Atlas) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    return safetensors.numpy.load(to_bytes(atlas))


def _with_card(atlas: Atlas, **changes: object) -> bytes:
    parts = _parts(atlas)
    card = json.loads(parts["card"].tobytes()) | changes
    return safetensors.numpy.save(parts | {"card": np.frombuffer(json.dumps(card).encode(), np.uint8)})


def test_reading_gives_back_what_was_written(atlas: Atlas) -> None:
    data = to_bytes(atlas)
    back = from_bytes(data)
    assert back.card == atlas.card
    assert to_bytes(back) == data
    for name in ("weights", "coefficients", "cells", "confusion", "share_errors"):
        np.testing.assert_array_equal(getattr(back, name), getattr(atlas, name))


def test_the_identity_is_the_hash_of_the_bytes(atlas: Atlas) -> None:
    assert sha256(to_bytes(atlas)) == sha256(to_bytes(from_bytes(to_bytes(atlas))))
    assert sha256(to_bytes(atlas)) != sha256(to_bytes(replace(atlas, intercepts=atlas.intercepts + np.float32(1))))


def test_no_name_of_a_lot_is_in_the_file(atlas: Atlas) -> None:
    assert b"lot 1" not in to_bytes(atlas)


def test_the_arrays_of_a_read_atlas_cannot_be_changed(atlas: Atlas) -> None:
    with pytest.raises(ValueError, match="read-only"):
        from_bytes(to_bytes(atlas)).weights[0, 0] = 1


@settings(max_examples=60)
@given(st.data())
def test_damage_is_a_named_error_or_another_valid_atlas(atlas: Atlas, data: st.DataObject) -> None:
    good = to_bytes(atlas)
    position = data.draw(st.one_of(st.integers(0, 4_000), st.integers(0, len(good) - 1)))
    value = data.draw(st.integers(0, 255))
    cut = data.draw(st.one_of(st.just(len(good)), st.integers(0, len(good))))
    damaged = (good[:position] + bytes([value]) + good[position + 1 :])[:cut]
    try:
        found = from_bytes(damaged)
    except AtlasFormatError:
        return
    artefact.check(found)


@settings(max_examples=40)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(AtlasFormatError):
        from_bytes(data)


def test_bytes_after_the_end_are_refused(atlas: Atlas) -> None:
    with pytest.raises(AtlasFormatError, match="safetensors"):
        from_bytes(to_bytes(atlas) + b"\0")


@pytest.mark.parametrize("escaped", [False, True])
def test_text_beside_the_arrays_is_refused(atlas: Atlas, *, escaped: bool) -> None:
    data = safetensors.numpy.save(_parts(atlas), metadata={"note": "donor 17 is Jane"})
    if escaped:  # the same name, spelt so that no search for its bytes would find it
        size = int.from_bytes(data[:8], "little")
        header = data[8 : 8 + size].rstrip().replace(b'"__metadata__"', rb'"\u005f_metadata__"')
        header += b" " * (-len(header) % 8)
        data = len(header).to_bytes(8, "little") + header + data[8 + size :]
        assert safetensors.numpy.load(data)
    with pytest.raises(AtlasFormatError, match="metadata"):
        from_bytes(data)


def test_a_file_too_large_is_refused_unread(monkeypatch: pytest.MonkeyPatch, atlas: Atlas) -> None:
    monkeypatch.setattr(artefact, "MAXIMUM_BYTES", 100)
    with pytest.raises(AtlasFormatError, match="at most 100 bytes"):
        from_bytes(to_bytes(atlas))


@pytest.mark.parametrize("name", ["weights", "caps", "intercepts", "novelty_thresholds", "class_means"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e7])
def test_a_number_that_is_not_finite_is_refused(atlas: Atlas, name: str, value: float) -> None:
    array = getattr(atlas, name).copy()
    array.flat[0] = value
    with pytest.raises(AtlasFormatError, match=f"'{name}': expected finite"):
        to_bytes(replace(atlas, **{name: array}))


def test_not_measurable_is_allowed_where_it_is_meant(atlas: Atlas) -> None:
    unknown = np.full_like(atlas.share_errors, np.nan)
    back = from_bytes(to_bytes(replace(atlas, share_errors=unknown, interval_scales=unknown)))
    assert np.isnan(back.interval_scales).all()


@pytest.mark.parametrize("change", ["missing", "unknown", "dtype", "shape"])
def test_arrays_other_than_the_formats_are_refused(atlas: Atlas, change: str) -> None:
    parts = _parts(atlas)
    match change:
        case "missing":
            del parts["caps"]
        case "unknown":
            parts["extra"] = np.zeros(1, np.float32)
        case "dtype":
            parts["caps"] = parts["caps"].astype(np.float64)
        case _:
            parts["caps"] = parts["caps"][:-1]
    with pytest.raises(AtlasFormatError, match=r"atlas: .*(caps|extra)"):
        from_bytes(safetensors.numpy.save(parts))


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "crosslot.atlas/2"},
        {"unheard_of": 1},
        {"temperature": 0},
        {"temperature": "1"},
        {"clusters": ["a", "a", "b", "c"]},
        {"clusters": ["a"]},
        {"gene_ids": []},
        {"name": "two\nlines"},
        {"target_sum": 1e300},
    ],
)
def test_a_card_that_breaks_a_rule_is_refused(atlas: Atlas, changes: dict[str, object]) -> None:
    with pytest.raises(AtlasFormatError, match="atlas: card"):
        from_bytes(_with_card(atlas, **changes))


def test_more_clusters_than_arrays_are_refused(atlas: Atlas) -> None:
    with pytest.raises(AtlasFormatError, match="expected"):
        from_bytes(_with_card(atlas, clusters=[*atlas.clusters, "e"], markers=[[]] * 5))
