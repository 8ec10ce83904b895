"""Single-cell morphology to latent points: continuous features in place of counts, and nothing else of the method.

A feature's robust z-score is ``(x - median) / (1.4826 MAD)`` over the control wells of the same plate or batch, which
takes out what stain, microscope and day do to every well alike. Scores are clipped at ten either way, centred and
scaled by the reference, and projected on the reference's principal components: ``z = (v - means) @ weights``,
``u = sqrt(d) z / |z|``. From there on classifier, calibration and novelty are those of counts. There is no logarithm
and no library size.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CLIP: Final = 10.0
FEWEST_CONTROLS: Final = 20
MOST_FEATURES: Final = 4_096
_MAD_TO_SD: Final = 1.4826  # of a normal distribution
_SMALLEST_SPREAD: Final = 1e-12  # relative to the median's size: below it a feature is constant but for rounding


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlScale:
    """What the control wells say of each feature, (F,): centre and spread; a spread of 0 cannot score."""

    centre: FloatArray
    spread: FloatArray

    @property
    def scores(self) -> NDArray[np.bool_]:
        """Which features can be scored, (F,)."""
        return self.spread > 0

    def scored(self, values: FloatArray) -> FloatArray:
        """Return clipped robust z-scores of ``values`` (n, F); 0 where a feature cannot be scored."""
        spread = np.where(self.scores, self.spread, 1.0)
        z = np.clip((values - self.centre) / spread, -CLIP, CLIP)
        return np.where(self.scores, z, 0.0)


def control_scale(controls: FloatArray) -> ControlScale:
    """Return the centre and spread of control cells (n, F), finite.

    >>> control_scale(np.array([[1.0], [2.0], [4.0]])).spread.round(4).tolist()
    [1.4826]
    """
    centre = np.median(controls, axis=0)
    spread = _MAD_TO_SD * np.median(np.abs(controls - centre), axis=0)
    constant = spread <= _SMALLEST_SPREAD * np.abs(centre)
    return ControlScale(centre=centre, spread=np.where(constant, 0.0, spread))


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureAxes:
    """Which scores are projected, and how: ``z = (clip(v, caps) - means) @ weights``."""

    columns: IntArray  # (G,) of the reference's scores
    weights: FloatArray  # (G, d)
    means: FloatArray  # (G,)
    caps: FloatArray  # (G,)


def fit_axes(scores: FloatArray, n_dimensions: int, *, seed: int) -> FeatureAxes:
    """Return principal components of the reference's scores (n, F), features that vary only.

    Parameters
    ----------
    seed : int
        Sets the starting vector of the eigensolver; the result depends on it only by rounding.
    """
    values = np.clip(scores, -CLIP, CLIP)
    deviations = values.std(axis=0)
    genes = np.flatnonzero(deviations > 0).astype(np.int64)
    means, deviations = values[:, genes].mean(axis=0), deviations[genes]
    scaled = (values[:, genes] - means) / deviations
    covariance = scaled.T @ scaled / len(values)
    d = max(1, min(n_dimensions, len(genes) - 1, len(values) - 1))
    start = np.random.default_rng(seed).standard_normal(len(genes))
    from scipy.sparse.linalg import eigsh  # noqa: PLC0415 - slow to load, and for fitting only

    found, vectors = eigsh(covariance, k=d, which="LA", v0=start) if d < len(genes) else np.linalg.eigh(covariance)
    vectors = vectors[:, np.argsort(-found, kind="stable")]
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])])
    return FeatureAxes(
        columns=genes, weights=vectors / deviations[:, None], means=means, caps=np.full(len(genes), CLIP)
    )
