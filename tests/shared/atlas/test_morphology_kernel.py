"""Morphology to clusters: a cell maps the same in any block, scores forget the plate, missing features are the mean."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.atlas.artefact import Atlas, AtlasFormatError, from_bytes, to_bytes
from shared.atlas.card import Card, Control
from shared.atlas.fit import Origin, fit_atlas
from shared.atlas.morphology import CLIP, ControlScale, control_scale
from shared.atlas.morphology_kernel import MappedCells, MorphologyTables, lay_out, map_features

_FEATURES, _CLUSTERS, _LOTS = 24, 4, 3
_PROGRAMMES = 1.1 * np.random.default_rng(1).standard_normal((_CLUSTERS, _FEATURES))


def _cells(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    states = rng.integers(0, _CLUSTERS, n)
    return _PROGRAMMES[states] + rng.standard_normal((n, _FEATURES)), states


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    rng = np.random.default_rng(2)
    scores, states = _cells(rng, 450)
    return fit_atlas(
        scores,
        [f"state {state}" for state in states],
        [f"lot {number % _LOTS}" for number in range(len(states))],
        gene_ids=None,
        gene_symbols=[f"Cells_Feature_{number}" for number in range(_FEATURES)],
        origin=Origin(name="shapes", control=Control(column="well", value="control")),
        seed=1,
    )


def _tables(atlas: Atlas, scale: ControlScale | None = None, *, without: int = 0) -> MorphologyTables:
    places = np.arange(_FEATURES - without)
    plain = ControlScale(centre=np.zeros(len(places)), spread=np.ones(len(places)))
    return lay_out(atlas, places, places, scale or plain)


def _arrays(mapped: MappedCells) -> list[np.ndarray]:
    return [mapped.label, mapped.best, mapped.confidence, mapped.energy, mapped.latent]


@given(cuts=st.lists(st.integers(0, 40), max_size=6), order=st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_a_cell_maps_the_same_in_any_block_and_order_bit_for_bit(atlas: Atlas, cuts: list[int], order: Any) -> None:  # noqa: ANN401 - hypothesis's Random
    values, _ = _cells(np.random.default_rng(3), 40)
    tables = _tables(atlas)
    whole = _arrays(map_features(tables, values))
    edges = sorted({0, 40, *cuts})
    parts = [_arrays(map_features(tables, values[a:b])) for a, b in pairwise(edges)]
    for together, apart in zip(whole, zip(*parts, strict=True), strict=True):
        assert np.concatenate(apart).tobytes() == together.tobytes()
    places = list(range(40))
    order.shuffle(places)
    shuffled = _arrays(map_features(tables, values[places]))
    for together, moved in zip(whole, shuffled, strict=True):
        assert moved.tobytes() == together[places].tobytes()


def test_new_cells_get_their_state(atlas: Atlas) -> None:
    values, states = _cells(np.random.default_rng(4), 400)
    assert np.mean(map_features(_tables(atlas), values).best == states) > 0.95


def test_the_kernel_agrees_with_the_model_in_plain_numpy(atlas: Atlas) -> None:
    values, _ = _cells(np.random.default_rng(5), 200)
    z = (np.clip(values, -CLIP, CLIP) - atlas.gene_means) @ atlas.weights.astype(np.float64)
    points = np.sqrt(z.shape[1]) * z / np.linalg.norm(z, axis=1, keepdims=True)
    mapped = map_features(_tables(atlas), values)
    # scores are on a grid of 2^-12: a point moves by some 1e-4
    assert np.abs(mapped.latent - points).max() < 5e-3
    logits = points @ atlas.coefficients + atlas.intercepts
    assert np.mean(mapped.best == logits.argmax(axis=1)) > 0.99


@given(shift=st.floats(-50, 50), gain=st.floats(0.2, 5.0))
@settings(max_examples=15)
def test_what_a_plate_does_to_every_well_changes_no_label(atlas: Atlas, shift: float, gain: float) -> None:
    rng = np.random.default_rng(6)
    controls, (values, _) = rng.standard_normal((60, _FEATURES)), _cells(rng, 50)
    plain = map_features(_tables(atlas, control_scale(controls)), values)
    moved = map_features(_tables(atlas, control_scale(shift + gain * controls)), shift + gain * values)
    assert np.mean(plain.label == moved.label) > 0.97  # but for rounding to the grid at a boundary


def test_a_feature_that_controls_cannot_score_is_missing_and_never_infinite(atlas: Atlas) -> None:
    controls = np.random.default_rng(7).standard_normal((60, _FEATURES))
    controls[:, 3] = 1e6  # constant
    scale = control_scale(controls)
    assert not scale.scores[3]
    tables = _tables(atlas, scale)
    assert 3 not in tables.columns
    values, _ = _cells(np.random.default_rng(8), 20)
    assert np.isfinite(map_features(tables, values[:, tables.columns]).latent).all()


def test_scores_are_clipped() -> None:
    scale = ControlScale(centre=np.array([0.0]), spread=np.array([1.0]))
    assert scale.scored(np.array([[1e9], [-1e9]])).ravel().tolist() == [CLIP, -CLIP]


def test_an_atlas_of_morphology_is_read_as_it_was_written_and_says_its_control_wells(atlas: Atlas) -> None:
    read = from_bytes(to_bytes(atlas))
    assert (read.card.modality, read.card.control) == ("morphology", Control(column="well", value="control"))
    assert to_bytes(read) == to_bytes(atlas)


def test_control_wells_are_of_morphology_and_of_nothing_else(atlas: Atlas) -> None:
    fields = msgspec.to_builtins(atlas.card)
    for wrong in ({"modality": "counts"}, {"control": None}):
        with pytest.raises(ValueError, match="control wells of a morphology atlas"):
            msgspec.convert({**fields, **wrong}, Card)


def test_a_card_of_counts_has_no_word_of_control_wells(atlas: Atlas) -> None:
    plain = atlas.card.replaced(modality="counts", control=None)
    assert '"control":' not in plain.to_text()
    assert '"control":' in atlas.card.to_text()


def test_an_unknown_modality_is_refused(atlas: Atlas) -> None:
    data = to_bytes(atlas).replace(b'"morphology"', b'"telepathies"'[: len(b'"morphology"')])
    with pytest.raises(AtlasFormatError):
        from_bytes(data)
    assert replace(atlas).card.modality == "morphology"
