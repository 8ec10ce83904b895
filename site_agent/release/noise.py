"""Noise on a lot's counts, where the site's policy asks for it: which counts leave in place of the true ones.

1. The noise comes first, and everything after it (negative values raised to 0, hiding, steps, the total) is a function
   of the noised counts alone: nothing that is done later can tell more of the true ones (SPEC 5.13). In the other order
   the choice of what is hidden would tell of the true count without noise.
2. The mechanism is opendp's discrete Laplace, of scale 2 / epsilon: two lots that differ in one cell, replaced by
   another, differ by one in two counts. A lot with one cell more or less differs by one in one count, and is covered.
3. A negative count is raised to 0, since a report has none: an empty cluster then reads 0 half of the time or more, and
   otherwise a few cells. The total is the sum of the parts as they leave: the true total does not leave.

What it hides is a cell, not a donor; and it is on counts alone: medians, potency and whether a lot is reported at all
leave as they would without it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from math import nextafter
from typing import Any

from shared.errors import InternalError
from shared.statistics.count_noise import L1_SENSITIVITY, noise_scale
from site_agent.release.summaries import MappedLot

Mechanism = Callable[[Sequence[int], float], tuple[int, ...]]
"""Takes true counts and epsilon, and returns noised counts; they may be negative."""


def discrete_laplace(counts: Sequence[int], epsilon: float) -> tuple[int, ...]:
    """Return counts with independent discrete Laplace noise of scale 2 / epsilon, from the system's own randomness.

    Raises
    ------
    InternalError
        If the mechanism does not vouch for epsilon.
    """
    return tuple(int(noised) for noised in _measurement(epsilon)([int(cells) for cells in counts]))


def noised_counts(drawn: Sequence[int]) -> tuple[int, ...]:
    """Return noised counts as a report can hold them: a negative one is 0."""
    return tuple(max(0, cells) for cells in drawn)


def noised_lot(mapped: MappedLot, drawn: Sequence[int]) -> MappedLot:
    """Return a lot as it is reported when its counts, unassigned last, are ``drawn``; its total is their sum."""
    *counts, unassigned = noised_counts(drawn)
    return replace(mapped, counts=tuple(counts), unassigned=unassigned, cells_after_qc=sum(counts) + unassigned)


@cache
def _measurement(epsilon: float) -> Any:  # noqa: ANN401 - opendp's own type, whose call takes any data
    from opendp import prelude as dp  # noqa: PLC0415 - takes seconds to load, and few sites ask for noise

    dp.enable_features("contrib")
    domain, metric = dp.vector_domain(dp.atom_domain(T=dp.i64)), dp.l1_distance(T=dp.i64)
    scale = noise_scale(epsilon)
    for _ in range(8):  # a scale whose last digit was rounded down would cost a hair more than epsilon
        measurement = dp.m.make_laplace(domain, metric, scale=scale)
        if measurement.map(L1_SENSITIVITY) <= epsilon:  # type: ignore[no-untyped-call]  # opendp types only some
            return measurement
        scale = nextafter(scale, float("inf"))
    raise InternalError("expected a discrete Laplace mechanism that costs no more than epsilon")
