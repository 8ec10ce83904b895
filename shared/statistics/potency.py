"""One potency for each lot: the mean log of its replicates, relative to the reference standard of the same run.

``y = mean over runs of (mean ln(replicates) - mean ln(reference replicates of that run))``: a run's own level cancels.
Runs weigh the same, whatever their number of replicates, since runs differ more than the wells of one run do. Where a
study declares no reference, ``y = mean over runs of mean ln(replicates)``. A well is never a unit of analysis.

Results are rounded to 1e-12: far below any assay's precision, and far above the rounding of a logarithm, so that equal
ratios (220/110 and 200/100) tie, as they must for ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, isfinite, log

from shared.errors import InputError

_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of the assay on one lot: its replicates, and the reference standard's replicates beside them."""

    replicates: tuple[float, ...]
    reference: tuple[float, ...] = ()


def log_potency(runs: Sequence[Run]) -> float:
    """Return the mean over runs of the mean ln of the replicates.

    Raises
    ------
    InputError
        If there is no run, a run has no replicate, or a value is not a finite positive number.
    """
    return _mean_over_runs([_mean_log(run.replicates, "replicate") for run in runs])


def log_relative_potency(runs: Sequence[Run]) -> float:
    """Return the mean over runs of mean ln(replicates) - mean ln(reference replicates).

    Raises
    ------
    InputError
        As `log_potency`, and if a run has no reference replicates.

    >>> round(log_relative_potency([Run(replicates=(220.0, 200.0, 242.0), reference=(110.0, 100.0, 121.0))]), 6)
    0.693147
    """
    return _mean_over_runs(
        [_mean_log(run.replicates, "replicate") - _mean_log(run.reference, "reference replicate") for run in runs]
    )


def _mean_log(values: Sequence[float], what: str) -> float:
    if not values:
        raise InputError(
            f"expected at least one {what} in each run, found none", hint="leave the run out, or measure it"
        )
    if any(not isfinite(value) or value <= 0 for value in values):
        raise InputError(
            f"expected every {what} to be a finite number above 0", hint="a logarithm needs a positive value"
        )
    return fsum(log(value) for value in values) / len(values)  # fsum: the order of the wells does not show


def _mean_over_runs(levels: Sequence[float]) -> float:
    if not levels:
        raise InputError("expected at least one run, found none")
    return round(fsum(levels) / len(levels), _DIGITS)
