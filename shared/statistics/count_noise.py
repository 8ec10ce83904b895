r"""Discrete Laplace noise on counts: its size, and what it adds to the variance of a share.

A count leaves as :math:`y = x + Z` with :math:`P(Z = k) = \frac{1 - a}{1 + a}\, a^{|k|}`, :math:`a = e^{-1/b}` (Inusah
and Kozubowski, J Stat Plan Inference 2006;136:1090-1102). Where one cell is replaced by another, two counts change by
one each, an L1 distance of 2, so that the scale :math:`b = 2/\varepsilon` makes the counts of a lot
:math:`\varepsilon`-differentially private in that sense (Dwork et al., TCC 2006; Ghosh et al., SIAM J Comput 2012).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

L1_SENSITIVITY: Final = 2
"""How far, in all counts together, one cell that is replaced by another moves them."""


def noise_scale(epsilon: float) -> float:
    """Return the scale b of the noise on each count.

    Examples
    --------
    >>> noise_scale(1.0)
    2.0
    """
    return L1_SENSITIVITY / epsilon


def noise_variance(epsilon: float) -> float:
    """Return the variance of the noise on one count, cells squared: 2a / (1 - a)^2.

    Examples
    --------
    >>> round(noise_variance(1.0), 3)
    7.835
    """
    a = float(np.exp(-1.0 / noise_scale(epsilon)))
    return 2.0 * a / (1.0 - a) ** 2


def share_noise_variance(shares: FloatArray, totals: FloatArray, variances: FloatArray, n_parts: int) -> FloatArray:
    r"""Return what noise on counts adds to the variance of shares, to first order, ``(n_lots, n_clusters)``.

    The total of a noised lot is the sum of its noised parts, so that a share :math:`p` of N cells moves by
    :math:`(Z_k - p \sum_j Z_j) / N`, of variance :math:`\sigma^2 ((1 - p)^2 + (m - 1) p^2) / N^2` over m parts.

    Parameters
    ----------
    shares
        ``(n_lots, n_clusters)``, 0..1.
    totals
        Cells of each lot, ``(n_lots,)``.
    variances
        Of the noise on each count of a lot, ``(n_lots,)``; 0 where there is none.
    n_parts
        m: the clusters, and the unassigned cells.
    """
    spread = (1.0 - shares) ** 2 + (n_parts - 1) * shares**2
    added: FloatArray = spread * (variances / np.maximum(totals, 1.0) ** 2)[:, None]
    return added
