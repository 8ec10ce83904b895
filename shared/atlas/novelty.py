"""How unlike every cluster of the atlas a cell is: one number, for the reference and for the kernel.

``novelty = energy_weight E + distance_weight D`` with

- ``E = -T log sum_c exp(l_c / T)``, the free energy of the logits (Liu et al. 2020): high where no cluster speaks up;
- ``D``, the mean over dimensions of ``((u - mean) / spread)^2`` for the cell's best cluster: high where a cell lies
  off its cluster although the classifier, which only looks between clusters, does not see it.

Each is divided by its standard deviation in the reference; D counts half. Alone, either finds fewer of the cells of a
class left out (docs/mapping.md). Spreads of small clusters are drawn toward the spread of all.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

TEMPERATURE: Final = 4.0
_DISTANCE_SHARE: Final = 0.5
_PRIOR_CELLS: Final = 10.0
_SMALLEST_SPREAD: Final = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class Novelty:
    """The parameters of the module's docstring."""

    means: FloatArray  # (C, d); 0 for a cluster without cells
    spreads: FloatArray  # (C, d); 1 for a cluster without cells
    energy_weight: float
    distance_weight: float

    def weighted_as(self, other: "Novelty") -> "Novelty":
        """Return this with the other's weights: what makes the scores of two fits comparable."""
        return replace(self, energy_weight=other.energy_weight, distance_weight=other.distance_weight)

    def scores(self, points: FloatArray, logits: FloatArray) -> FloatArray:
        """Return the novelty of cells ``(n,)`` from latent points ``(n, d)`` and logits ``(n, C)``."""
        energy, distance = _parts(points, logits, self.means, self.spreads)
        return self.energy_weight * energy + self.distance_weight * distance


def _parts(
    points: FloatArray, logits: FloatArray, means: FloatArray, spreads: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return E and D of the module's docstring."""
    best = logits.argmax(axis=1)
    energy = -TEMPERATURE * np.asarray(logsumexp(logits / TEMPERATURE, axis=1), dtype=np.float64)
    return energy, np.mean(((points - means[best]) / spreads[best]) ** 2, axis=1)


def fit_novelty(points: FloatArray, logits: FloatArray, labels: IntArray) -> Novelty:
    """Return the parameters that reference cells give.

    Parameters
    ----------
    points : (n, d)
    logits : (n, C)
    labels : (n,) int
    """
    C, d = logits.shape[1], points.shape[1]
    means, spreads = np.zeros((C, d)), np.ones((C, d))
    present = np.unique(labels)
    groups = [points[labels == cluster] for cluster in present]
    pooled = sum(len(group) * group.var(axis=0) for group in groups) / max(len(points), 1)
    for cluster, group in zip(present, groups, strict=True):
        variance = (len(group) * group.var(axis=0) + _PRIOR_CELLS * pooled) / (len(group) + _PRIOR_CELLS)
        means[cluster] = group.mean(axis=0)
        spreads[cluster] = np.maximum(np.sqrt(variance), _SMALLEST_SPREAD)
    energy, distance = _parts(points, logits, means, spreads)
    return Novelty(
        means=means,
        spreads=spreads,
        energy_weight=1.0 / max(float(energy.std()), 1e-6),
        distance_weight=_DISTANCE_SHARE / max(float(distance.std()), 1e-6),
    )
