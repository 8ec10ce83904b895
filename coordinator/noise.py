"""What noise on counts, where sites ask for it, does to what is computed from them, and the words for it.

Rules
-----
1. A noised count counts as it is. Noise widens intervals, quality ranges and prediction bounds as any spread between
   lots does, and the reliability of shares counts it in. Nothing else accounts for it, and that is said.
2. The clusters in which noise (its SD) is more than a quarter of a lot's cells are lost to a comparison, which then
   shows neither likeness nor difference of them. The mean of a logarithm moves by about half of that share squared: by
   .03 at a quarter, by more beyond.
3. A specification is in doubt where noise makes up more than a twentieth of the variance of shares between lots. The
   line is then too flat for a lot that is counted exactly, as a site counts its own. At a twentieth, the 5% of weak
   lots that the bound allows at the threshold are 5.3%, at a fifth up to 7.2%, at a half up to 19%
   (``benchmarks/noise_modules.py``).
"""

from collections.abc import Sequence
from math import isnan
from typing import Final

import numpy as np

from coordinator.study_data import FloatArray, IntArray, StudyData
from coordinator.units import Units, doubled_cells
from protocol.modules.asked import Modules
from protocol.modules.comparability import Arm
from shared.statistics.count_noise import noise_variance, share_noise_variance

SMALL_PART_OF_CELLS: Final = 0.25
SMALL_PART_OF_VARIANCE: Final = 0.05


def noise_of_counts(data: StudyData) -> FloatArray:
    """Return the variance of the noise on each count of a lot, cells squared, ``(n_lots,)``; 0 where there is none."""
    if data.noise_epsilon is None:
        return np.zeros(len(data.lots))
    return np.array([0.0 if isnan(epsilon) else noise_variance(float(epsilon)) for epsilon in data.noise_epsilon])


def noise_of_shares(data: StudyData, columns: Sequence[int] | IntArray) -> FloatArray:
    """Return what noise adds to the variance of the clusters' shares, ``(n_lots, n_columns)``."""
    cells, totals = doubled_cells(data)
    shares = cells[:, columns] / np.maximum(totals, 1)[:, None]
    return share_noise_variance(shares, totals / 2.0, noise_of_counts(data), cells.shape[1])


def noise_part_of_variance(data: StudyData, units: Units, column: int, shares: FloatArray) -> float:
    """Return which part of the variance of a cluster's ``shares`` over ``units``, ``(n,)``, is noise on counts.

    0 where no lot of them bears any, 1 at the most.
    """
    of_lots = noise_of_shares(data, (column,))[:, 0]
    noise = float(np.mean([of_lots[members].mean() / len(members) for members in units.lots]))
    variance = float(shares.var(ddof=1))
    return 0.0 if noise == 0 else 1.0 if noise >= variance else noise / variance


def about_noise(data: StudyData, modules: Modules) -> tuple[str, ...]:
    """Return what noise on counts hides and what it does not (SPEC 5.13); nothing where no lot has any."""
    if data.noise_epsilon is None:
        return ()
    epsilons = sorted({float(epsilon) for epsilon in data.noise_epsilon if not isnan(epsilon)})
    noised = sum(not isnan(epsilon) for epsilon in data.noise_epsilon)
    told = " or ".join(f"{epsilon:g}" for epsilon in epsilons)
    about = (
        f"The counts of {noised} of {len(data.lots)} lots bear discrete Laplace noise that their sites asked for, "
        f"epsilon {told} a report. It hides a cell, not a donor: where one donor supplies a lot, the donor's epsilon "
        "is about that many times the lot's cells. The reliability of shares counts it in."
    )
    without = (
        *(("the comparison's margins and quality ranges",) if modules.comparability else ()),
        *(("the specification's threshold and error rates",) if modules.specification else ()),
    )
    if not without:
        return (about,)
    named = " and ".join(without)
    return (f"{about} {named[0].upper()}{named[1:]} do not account for it.",)


def noise_in_comparison(data: StudyData, rows: Sequence[int]) -> tuple[str, ...]:
    """Return what a reader of a comparison of these lots should know of noise; nothing where none of them has any."""
    variances = noise_of_counts(data)
    noised = [row for row in rows if variances[row] > 0]
    if not noised:
        return ()
    note = (
        f"The counts of {len(noised)} of {len(rows)} compared lots bear noise that their sites asked for. As any "
        "spread between lots does, it widens the clusters' intervals, and their quality ranges too. Margins, ranges "
        "and the bounds of suppressed counts do not account for it otherwise."
    )
    return (note,)


def clusters_lost_in_noise(data: StudyData, rows: Sequence[int]) -> tuple[str, ...]:
    """Return the clusters of which, in either arm, the median noised lot of ``rows`` has few cells beside the noise."""
    variances = noise_of_counts(data)
    noised = [row for row in rows if variances[row] > 0]
    if not noised:
        return ()
    cells = doubled_cells(data)[0][:, : len(data.clusters)] / 2.0
    part = np.sqrt(variances)[:, None] / np.maximum(cells, 0.5)
    arms = data.arms or (None,) * len(data.lots)
    of_arms = [[row for row in noised if arms[row] is arm] for arm in Arm]
    most = np.max([np.median(part[own], axis=0) for own in of_arms if own], axis=0)
    return tuple(name for name, share in zip(data.clusters, most, strict=True) if share > SMALL_PART_OF_CELLS)
