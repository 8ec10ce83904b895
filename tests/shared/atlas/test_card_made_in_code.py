"""A card that code makes is checked before it is written, is written as it would be read, and never changes."""

import json
import math
from dataclasses import replace
from typing import Any, Literal

import msgspec
import numpy as np
import pytest

from shared.atlas.artefact import Atlas, AtlasFormatError, check, to_bytes
from shared.atlas.card import Card, DroppedCluster, Marker
from shared.atlas.fit import Origin, fit_atlas
from tests.shared.atlas.conftest import GENES, SMALL, Reference

_UNKNOWN = (Marker(gene="A", log2_fold_change=math.nan, share_in=1.0, share_out=0.0),)
_WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "x" * 65}, "expected `str` of length <= 64 at `name`"),
    ({"name": "\ud800"}, "expected printable text at `name`"),
    ({"name": None}, "found `null` at `name`"),
    ({"target_sum": math.inf}, "at `target_sum`"),
    ({"target_sum": math.nan}, "at `target_sum`"),
    ({"target_sum": True}, "found `bool` at `target_sum`"),
    ({"temperature": np.float64(1)}, "numpy.float64"),
    ({"markers": ((), _UNKNOWN, (), ())}, "at `markers[1][0].log2_fold_change`"),
    ({"dropped": (DroppedCluster(cluster="a", cells=-1, reason="b"),)}, "at `dropped[0].cells`"),
    ({"dropped": ("a",)}, "expected `object`, found `str` at `dropped[0]`"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "message"), _WRONG)
def test_a_card_made_in_code_is_checked_before_it_is_written(atlas: Atlas, wrong: dict[str, Any], message: str) -> None:
    bad = replace(atlas, card=msgspec.structs.replace(atlas.card, **wrong))
    for refuse in (to_bytes, check):
        with pytest.raises(AtlasFormatError) as caught:
            refuse(bad)
        assert message in str(caught.value)
    with pytest.raises((TypeError, ValueError)):
        atlas.card.replaced(**wrong)


def test_an_atlas_is_not_fitted_with_a_card_that_could_not_be_read(reference: Reference) -> None:
    with pytest.raises(AtlasFormatError, match=r"expected `str` of length <= 64 at `name`"):
        fit_atlas(
            reference.counts,
            reference.labels.tolist(),
            reference.lots.tolist(),
            gene_ids=None,
            gene_symbols=GENES,
            origin=Origin(name="x" * 65),
            seed=0,
            parameters=SMALL,
        )


def test_what_code_makes_of_lists_and_whole_numbers_is_written_as_it_is_read(atlas: Atlas) -> None:
    loose = msgspec.structs.replace(atlas.card, target_sum=int(atlas.card.target_sum), clusters=list(atlas.clusters))
    assert loose.to_text() == atlas.card.to_text()
    assert loose.checked() == atlas.card


def test_a_card_cannot_be_changed_and_says_that_it_is_the_same(atlas: Atlas) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        atlas.card.name = "another"  # type: ignore[misc]  # what is tried
    again = Card.from_text(atlas.card.to_text().encode())
    assert again == atlas.card
    assert hash(again) == hash(atlas.card)
    assert again.replaced(name="another") != atlas.card
    with pytest.raises(TypeError, match="no field 'more'"):
        atlas.card.replaced(more=1)
    with pytest.raises(TypeError, match="share_out"):
        Marker(gene="A", log2_fold_change=1.0, share_in=1.0)  # type: ignore[call-arg]  # what is tried
    schema: Literal["crosslot.atlas/1"] = atlas.card.schema_id
    assert json.loads(atlas.card.to_text())["schema"] == schema
