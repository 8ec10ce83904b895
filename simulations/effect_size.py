r"""The slope that gives a wanted correlation between a driver's share and log potency.

The correlation meant is the one that a study of infinitely many lots of one site would show: Pearson, between the
*counted* share x of the first driver (of all cells, unassigned included) and the *measured* log relative potency y of
lots of full activity. With w the drivers' weights, P the base shares, :math:`f = 1 - (1 - 1/121)(1 - 1/61)` the
variance factor of donor and lot, and u the unassigned share,

.. math::
    V &= \operatorname{var}(w \cdot p) = f\, (\textstyle\sum w_k^2 P_k - (\sum w_k P_k)^2), \qquad
    C = \operatorname{cov}(p_1, w \cdot p) = f\, P_1 (w_1 - \textstyle\sum w_k P_k) \\
    r &= \frac{\text{slope}\, (1 - u)\, C}{\sqrt{\operatorname{var}(x)\, (\text{slope}^2 V + \sigma^2)}},
    \qquad \sigma^2 = \text{donor}^2 + \text{lot}^2 + \text{replicate}^2 (1/n_\text{rep} + 1/n_\text{ref})

which is solved for the slope. ``var(x)`` adds to the lot's own variance that of the library, of the unassigned share
and of counting N cells. Sites are taken at the base shares: a site's own shift changes ``P`` a little, and r by under
.01.
"""

import numpy as np

from shared.errors import DesignError
from simulations.truth import Model


def _share_moments(model: Model) -> tuple[float, float, float]:
    """Return V, C and var(x) of the module's docstring."""
    shares = np.array(model.base_shares)
    weights = np.zeros(len(shares))
    for driver in model.drivers:
        weights[driver.cluster] = driver.weight
    first = model.drivers[0].cluster
    share = shares[first]
    # A chain of Dirichlets shrinks E[p(1-p)] by (1 - 1/(a+1)) at each link; what is lost is variance.
    kept = (1 - 1 / (model.donor_concentration + 1)) * (1 - 1 / (model.lot_concentration + 1))
    factor = 1 - kept
    mean_index = float(weights @ shares)
    index_variance = factor * (float(weights**2 @ shares) - mean_index**2)
    covariance = factor * share * (weights[first] - mean_index)

    assigned = 1 - model.unassigned_share
    assigned_square = assigned**2 + model.unassigned_share * assigned / (model.unassigned_concentration + 1)
    library_square = share**2 + share * (1 - share) * (1 - kept * (1 - model.library_icc))
    proportion_square = assigned_square * library_square
    cells = np.arange(model.cells_low, model.cells_high + 1)
    counting = (assigned * share - proportion_square) * float(np.mean(1.0 / cells))
    return index_variance, covariance, proportion_square - (assigned * share) ** 2 + counting


def slope_for_correlation(model: Model, correlation: float) -> float:
    """Return the slope at which the first driver's counted share and measured log potency correlate by ``correlation``.

    Parameters
    ----------
    model : Model
        With at least one driver; its own slope does not matter.
    correlation : float
        The wanted Pearson correlation within a site, in [0, 1).

    Returns
    -------
    float
        In units of ln potency per unit of share; 0 for a correlation of 0.

    Raises
    ------
    DesignError
        ``unreachable-correlation``: counting error (or another driver) caps the correlation below what is wanted.
    """
    index_variance, covariance, share_variance = _share_moments(model)
    noise = (
        model.donor_sd**2
        + model.lot_sd**2
        + model.replicate_sd**2 * (1 / model.replicates + (1 / model.references if model.references else 0.0))
    )
    signal = ((1 - model.unassigned_share) * covariance) ** 2 / share_variance
    room = signal - correlation**2 * index_variance
    if not 0 <= correlation < 1 or room <= 0:
        ceiling = float(np.sqrt(signal / index_variance))
        raise DesignError(
            "unreachable-correlation",
            f"expected a correlation in [0, {ceiling:.3f}), found {correlation}",
            hint="ask for a smaller correlation, or give the lots more cells",
        )
    return float(correlation * np.sqrt(noise / room))
