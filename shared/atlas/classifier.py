"""From latent points to clusters: a metric that forgets what differs between lots, and a logistic regression in it.

For points u of d dimensions:

1. Whitening. ``T = (S_within + B_between)^(-1/4)``, where ``S_within`` is the covariance of u around the mean of its
   lot and cluster, and ``B_between`` the covariance of a cluster's lot means around their mean. Directions in which
   cells of one cluster differ, by chance or by lot, count less. Eigenvalues are floored at 1e-3 of the largest; T is
   scaled so that ``uT`` has unit average variance.
2. Multinomial logistic regression of the cluster on ``uT``: minimise

   ``sum_i w_i (-log p_i) / sum_i w_i + lambda / 2 |B|^2``, ``w_i = n_cluster(i)^(-1/2)``,

   so that a rare cluster is heard and a common one still counts for more. The intercepts carry no penalty.
3. The atlas keeps only ``coefficients = T B`` and ``intercepts``.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from shared.errors import InternalError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_EIGENVALUE_FLOOR: Final = 1e-3
_ITERATIONS: Final = 1_000
_GRADIENT_TOLERANCE: Final = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """Logits are ``u @ coefficients + intercepts``."""

    coefficients: FloatArray  # (d, C)
    intercepts: FloatArray  # (C,)

    def logits(self, points: FloatArray) -> FloatArray:
        """Return the logits of latent points ``(n, d)``: ``(n, C)``."""
        result: FloatArray = points @ self.coefficients + self.intercepts
        return result


def whitening(points: FloatArray, labels: IntArray, lots: IntArray) -> FloatArray:
    """Return T ``(d, d)`` of the module's docstring.

    With one lot in every cluster nothing is known of lots: B_between is then 0.
    """
    d = points.shape[1]
    within, between = np.zeros((d, d)), np.zeros((d, d))
    n_means = 0
    for label in np.unique(labels):
        means = []
        for lot in np.unique(lots[labels == label]):
            group = points[(labels == label) & (lots == lot)]
            centred = group - group.mean(axis=0)
            within += centred.T @ centred
            means.append(group.mean(axis=0))
        if len(means) > 1:
            deviations = np.array(means) - np.mean(means, axis=0)
            between += deviations.T @ deviations
            n_means += len(means) - 1
    spread = within / max(len(points), 1) + between / max(n_means, 1)
    values, vectors = np.linalg.eigh(spread)
    if not values[-1] > 0:
        return np.eye(d)
    T: FloatArray = (vectors * np.maximum(values, _EIGENVALUE_FLOOR * values[-1]) ** -0.25) @ vectors.T
    average_variance = float(np.mean(np.var(points @ T, axis=0)))
    return T / np.sqrt(average_variance) if average_variance > 0 else T


def fit_classifier(
    points: FloatArray, labels: IntArray, lots: IntArray, *, n_clusters: int, penalty: float
) -> Classifier:
    """Return the classifier of the module's docstring.

    Parameters
    ----------
    points : (n, d)
    labels : (n,) int in 0..n_clusters - 1
        Every cluster must occur, except in a left-out fit: a cluster without cells gets an intercept so low that no
        cell is given to it.
    lots : (n,) int
    penalty : float
        lambda.

    Raises
    ------
    InternalError
        The optimiser did not come to an end.
    """
    T = whitening(points, labels, lots)
    y = points @ T
    n, d = y.shape
    present, codes = np.unique(labels, return_inverse=True)
    k = len(present)
    weights = np.bincount(codes)[codes] ** -0.5
    weights /= weights.sum()
    target = np.zeros((n, k))
    target[np.arange(n), codes] = weights

    def objective(flat: FloatArray) -> tuple[float, FloatArray]:
        B, b = flat[: d * k].reshape(d, k), flat[d * k :]
        logits = y @ B + b
        log_normaliser = logsumexp(logits, axis=1)
        loss = float(weights @ log_normaliser - (target * logits).sum() + 0.5 * penalty * (B**2).sum())
        residual = weights[:, None] * np.exp(logits - log_normaliser[:, None]) - target
        return loss, np.concatenate([(y.T @ residual + penalty * B).ravel(), residual.sum(axis=0)])

    found = minimize(
        objective,
        np.zeros((d + 1) * k),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _ITERATIONS, "gtol": _GRADIENT_TOLERANCE, "ftol": 0.0, "maxcor": 20},
    )
    if found.status == 1:
        raise InternalError(f"the logistic fit did not converge in {_ITERATIONS} iterations")
    coefficients, intercepts = np.zeros((d, n_clusters)), np.full(n_clusters, -1e3)
    coefficients[:, present] = T @ found.x[: d * k].reshape(d, k)
    intercepts[present] = found.x[d * k :]
    return Classifier(coefficients=coefficients, intercepts=intercepts)
