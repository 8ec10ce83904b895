"""The model of an atlas: counts to latent points to logits, and its fit (docs/mapping.md: equations and evidence).

Everything is float64 and in memory; a reference is some ten thousand cells. Bits may differ with the number of BLAS
threads, so an atlas is computed once and then known by the hash of its bytes.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import eigsh

from shared.atlas.classifier import Classifier, fit_classifier
from shared.atlas.features import (
    Counts,
    dense_blocks,
    library_sizes,
    log_normalised,
    marker_genes,
    moments,
    variable_genes,
)
from shared.atlas.morphology import fit_axes
from shared.atlas.novelty import Novelty, fit_novelty

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_CAP_DEVIATIONS = 10.0
_FEWEST_DIMENSIONS = 20
_MOST_DIMENSIONS = 50


@dataclass(frozen=True, kw_only=True)
class FitParameters:
    """The method's settings, with the defaults that docs/mapping.md defends."""

    n_variable_genes: int = 1_000
    n_marker_genes: int = 50  # of each cluster
    n_dimensions: int | None = None  # None: twice the clusters, within 20..50
    penalty: float = 0.01
    target_sum: float = 1e4
    novelty_quantile: float = 0.99
    novelty_confidence: float = 0.5  # a novel cell is unassigned only if no cluster has even odds
    minimum_cells: int = 5  # of a cluster: the mean of fewer would come close to showing a cell


def dimensions_for(n_clusters: int) -> int:
    """Return how many principal components a reference of so many clusters needs.

    Twice the clusters, within 20..50. More gain little accuracy and fit single cells: an outsider who holds a cell can
    then tell whether it was in the reference (docs/mapping.md, "What an atlas gives away").
    """
    return min(max(2 * n_clusters, _FEWEST_DIMENSIONS), _MOST_DIMENSIONS)


@dataclass(frozen=True, kw_only=True, eq=False)
class Projection:
    """Counts to latent points: ``u = sqrt(d) z / |z|``, ``z = (v - means) @ weights``.

    Scores of morphology, which are dense, take neither library size nor logarithm and are clipped either way.
    """

    genes: IntArray  # (G,) columns of the reference's counts
    weights: FloatArray  # (G, d)
    means: FloatArray  # (G,)
    caps: FloatArray  # (G,)
    target_sum: float

    def points(self, counts: Counts) -> FloatArray:
        """Return the latent points of cells ``(n, d)``: the same as the kernel's, in plain NumPy."""
        if isinstance(counts, np.ndarray):
            values = np.clip(counts[:, self.genes], -self.caps, self.caps)
        else:
            values = log_normalised(counts, library_sizes(counts), self.target_sum)[:, self.genes].tocsr()
            values.data = np.minimum(values.data, self.caps[values.indices])
        z = np.asarray(values @ self.weights, dtype=np.float64) - self.means @ self.weights
        length = np.linalg.norm(z, axis=1, keepdims=True)
        points: FloatArray = np.sqrt(z.shape[1]) * np.divide(z, length, out=np.zeros_like(z), where=length > 0)
        return points


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A projection, the classifier in its space, and what is too far from every cluster there."""

    projection: Projection
    classifier: Classifier
    novelty: Novelty

    def judge(self, counts: Counts) -> tuple[FloatArray, FloatArray]:
        """Return the logits ``(n, C)`` and the novelty ``(n,)`` of cells."""
        points = self.projection.points(counts)
        logits = self.classifier.logits(points)
        return logits, self.novelty.scores(points, logits)


def fit_projection(counts: Counts, labels: IntArray, parameters: FitParameters, *, seed: int) -> Projection:
    """Return principal components of the scaled, clipped log counts of variable and marker genes.

    Parameters
    ----------
    counts : CSR (n, n_file_genes)
    labels : (n,) int
    seed : int
        Sets the starting vector of the eigensolver; the result depends on it only by rounding.
    """
    every = log_normalised(counts, library_sizes(counts), parameters.target_sum)
    genes = np.union1d(
        variable_genes(counts, parameters.n_variable_genes), marker_genes(every, labels, parameters.n_marker_genes)
    )
    values = every[:, genes].tocsr()
    means, variances = moments(values)
    genes, values = genes[variances > 0], values[:, variances > 0].tocsr()
    means, deviations = means[variances > 0], np.sqrt(variances[variances > 0])
    caps = means + _CAP_DEVIATIONS * deviations
    values.data = np.minimum(values.data, caps[values.indices])
    vectors = _principal_axes(values, means, deviations, caps, parameters.n_dimensions or _FEWEST_DIMENSIONS, seed)
    return Projection(
        genes=genes,
        weights=vectors / deviations[:, None],
        means=means,
        caps=caps,
        target_sum=parameters.target_sum,
    )


def _principal_axes(
    values: Counts, means: FloatArray, deviations: FloatArray, caps: FloatArray, n_dimensions: int, seed: int
) -> FloatArray:
    """Return the leading eigenvectors ``(G, d)`` of the covariance of scaled values, largest first, signs fixed."""
    G = len(means)
    second, first = np.zeros((G, G)), np.zeros(G)
    for rows in dense_blocks(values, caps):
        scaled = (values[rows].toarray() - means) / deviations
        second += scaled.T @ scaled
        first += scaled.sum(axis=0)
    n = values.shape[0]
    covariance = second / n - np.outer(first / n, first / n)
    d = max(1, min(n_dimensions, G - 1, n - 1))
    start = np.random.default_rng(seed).standard_normal(G)
    found, vectors = eigsh(covariance, k=d, which="LA", v0=start) if d < G else np.linalg.eigh(covariance)
    vectors = vectors[:, np.argsort(-found, kind="stable")]
    largest = np.abs(vectors).argmax(axis=0)
    signed: FloatArray = vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])])
    return signed


def fit_model(
    counts: Counts, labels: IntArray, lots: IntArray, parameters: FitParameters, *, n_clusters: int, seed: int
) -> Model:
    """Return the model fitted to labelled cells: the projection, then the classifier on its points.

    Parameters
    ----------
    counts : CSR (n, n_file_genes), or ndarray (n, n_features)
        Counts, or the robust scores of morphology (`shared.atlas.morphology`), which are dense.
    labels : (n,) int in 0..n_clusters - 1
    lots : (n,) int
    """
    dimensions = parameters.n_dimensions or dimensions_for(n_clusters)
    if isinstance(counts, np.ndarray):
        axes = fit_axes(counts, dimensions, seed=seed)
        projection = Projection(
            genes=axes.columns, weights=axes.weights, means=axes.means, caps=axes.caps, target_sum=1.0
        )
    else:
        projection = fit_projection(counts, labels, replace(parameters, n_dimensions=dimensions), seed=seed)
    points = projection.points(counts)
    classifier = fit_classifier(points, labels, lots, n_clusters=n_clusters, penalty=parameters.penalty)
    novelty = fit_novelty(points, classifier.logits(points), labels)
    return Model(projection=projection, classifier=classifier, novelty=novelty)
