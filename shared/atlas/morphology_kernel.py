"""Morphology to clusters: scores of a block of cells to labels, the same bits whatever the block.

Rules.
1. A cell's result depends on that cell, its file's control wells and the atlas alone. Scores and weights are rounded
   once to grids on which no sum over features can round again, so the product of matrices is exact in any order; every
   later sum runs over its terms in their order, cell by cell. ``exp`` and ``log`` are NumPy's: one machine gives the
   same bits for any block, two machines agree to rounding.
2. A feature that the file lacks, or that its control wells cannot score, counts as the reference's mean.
3. A cell is unassigned (label -1) by the rule of counts: its novelty lies above the threshold of its best cluster, and
   no cluster is confident of it.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.atlas.artefact import Atlas
from shared.atlas.morphology import MOST_FEATURES, ControlScale
from shared.errors import InternalError

UNASSIGNED: Final = -1
_SCORE_GRID: Final = 2.0**12  # scores up to 2^4 on a grid of 2^-12: 16 bits
_WEIGHT_BITS: Final = 20  # and 12 bits for the number of features: 48 of float64's 53
_CONFIDENCE_STEPS: Final = 1e4

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class MorphologyTables:
    """An atlas laid out for one file and its control wells. k features in common, d dimensions, C clusters."""

    columns: NDArray[np.int64]  # (k,) of the file
    scale: ControlScale  # of these columns
    weights: FloatArray  # (k, d), on a grid
    offset: FloatArray  # (d,)
    caps: FloatArray  # (k,)
    atlas: Atlas


@dataclass(frozen=True, kw_only=True, eq=False)
class MappedCells:
    """What the atlas says of n cells, as the kernel of counts says it."""

    label: NDArray[np.int32]
    best: NDArray[np.int32]
    confidence: NDArray[np.float32]
    energy: NDArray[np.float32]
    latent: NDArray[np.float32]  # (n, d)


def lay_out(
    atlas: Atlas, places: NDArray[np.int64], columns: NDArray[np.int64], scale: ControlScale
) -> MorphologyTables:
    """Lay an atlas out for one file.

    Parameters
    ----------
    places, columns : (k,) int
        Features of the atlas, and where the file has them.
    scale : ControlScale
        Of these columns of the file; what cannot be scored is left out.
    """
    if len(atlas.card.gene_symbols) > MOST_FEATURES:
        raise InternalError(f"expected an atlas of at most {MOST_FEATURES} features")
    scored = scale.scores
    places, columns = places[scored], columns[scored]
    weights = atlas.weights[places].astype(np.float64)
    largest = max(float(np.abs(weights).max(initial=0.0)), 1e-30)
    grid = 2.0 ** (math.ceil(math.log2(largest)) - _WEIGHT_BITS)
    weights = np.ascontiguousarray(np.rint(weights / grid) * grid)
    means = np.rint(atlas.gene_means[places].astype(np.float64) * _SCORE_GRID) / _SCORE_GRID
    return MorphologyTables(
        columns=columns,
        scale=ControlScale(centre=scale.centre[scored], spread=scale.spread[scored]),
        weights=weights,
        offset=(means[:, None] * weights).sum(axis=0),
        caps=atlas.caps[places].astype(np.float64),
        atlas=atlas,
    )


def map_features(tables: MorphologyTables, values: FloatArray) -> MappedCells:
    """Map cells by their features ``values`` (n, k), finite, in the order of ``tables.columns``."""
    atlas = tables.atlas
    scores = np.clip(tables.scale.scored(values), -tables.caps, tables.caps)
    z = np.ascontiguousarray((np.rint(scores * _SCORE_GRID) / _SCORE_GRID) @ tables.weights - tables.offset)
    u = _unit_length(z)
    coefficients = atlas.coefficients.astype(np.float64)
    logits = np.tile(atlas.intercepts.astype(np.float64), (len(u), 1))
    for j in range(u.shape[1]):
        logits += u[:, j : j + 1] * coefficients[j]
    best = logits.argmax(axis=1)
    confidence = 1.0 / _exponential_sum(logits, best, atlas.card.temperature)
    energy = _novelty(atlas, u, logits, best)
    novel = energy > atlas.novelty_thresholds.astype(np.float64)[best]
    unsure = confidence < atlas.card.novelty.confidence
    return MappedCells(
        label=np.where(novel & unsure, UNASSIGNED, best).astype(np.int32),
        best=best.astype(np.int32),
        confidence=(np.floor(confidence * _CONFIDENCE_STEPS) / _CONFIDENCE_STEPS).astype(np.float32),
        energy=energy.astype(np.float32),
        latent=u.astype(np.float32),
    )


def _unit_length(z: FloatArray) -> FloatArray:
    squares = np.zeros(len(z))
    for j in range(z.shape[1]):
        squares += z[:, j] * z[:, j]
    length = np.sqrt(squares)
    scale = np.divide(math.sqrt(z.shape[1]), length, out=np.zeros_like(length), where=length > 0)
    return np.ascontiguousarray(z * scale[:, None])


def _exponential_sum(logits: FloatArray, best: NDArray[np.int64], temperature: float) -> FloatArray:
    """Return ``sum_c exp((logit_c - logit_best) / temperature)`` of each cell, (n,)."""
    top = np.take_along_axis(logits, best[:, None], axis=1)
    terms = np.exp(np.ascontiguousarray((logits - top) / temperature))
    total = np.zeros(len(logits))
    for c in range(logits.shape[1]):
        total += terms[:, c]
    return total


def _novelty(atlas: Atlas, u: FloatArray, logits: FloatArray, best: NDArray[np.int64]) -> FloatArray:
    """Return the novelty of `shared.atlas.novelty`, (n,)."""
    settings = atlas.card.novelty
    top = np.take_along_axis(logits, best[:, None], axis=1)[:, 0]
    energy = -(top + settings.temperature * np.log(_exponential_sum(logits, best, settings.temperature)))
    means, spreads = atlas.class_means.astype(np.float64)[best], atlas.class_spreads.astype(np.float64)[best]
    distance = np.zeros(len(u))
    for j in range(u.shape[1]):
        deviation = (u[:, j] - means[:, j]) / spreads[:, j]
        distance += deviation * deviation
    weighted: FloatArray = settings.energy_weight * energy + settings.distance_weight * (distance / u.shape[1])
    return weighted
