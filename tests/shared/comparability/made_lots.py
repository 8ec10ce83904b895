"""Lots before and after a change, drawn with a known difference, and what is found of them."""

from collections.abc import Sequence

import numpy as np

from protocol.identifiers import EndpointId
from protocol.modules.comparability import ComparabilityPlan
from shared.comparability.assessment import assess
from shared.comparability.findings import Check, CheckName, CheckState, Criteria, Findings, ReferenceRanges
from shared.comparability.units import ComparedLot, units_of_lots

CRITERIA = ComparabilityPlan(endpoint=EndpointId("vegf"), change="A new medium.").criteria
PARTS = ("alpha", "beta", "gamma")
BASE = np.array([0.5, 0.3, 0.2])
GOOD = tuple(Check(name=name, state=CheckState.PASSED, found=0.0, limit=1.0) for name in CheckName)


def a_lot(
    rng: np.random.Generator, number: int, *, after: bool, shift: float = 0.0, alpha: float = 0.0, site: str = "a"
) -> ComparedLot:
    shares = BASE * np.exp([alpha, 0.0, 0.0]) * np.exp(rng.normal(0, 0.15, 3))
    cells = rng.multinomial(2_000, shares / shares.sum())
    return ComparedLot(
        after=after,
        stratum=site,
        donor=f"donor {site} {number} {after}",
        potency=float(rng.normal(shift, 0.25)),
        cells_low=tuple(map(int, cells)),
        cells_high=tuple(map(int, cells)),
    )


def lots(
    before: int, after: int, *, shift: float = 0.0, alpha: float = 0.0, sites: Sequence[str] = ("a",), seed: int = 1
) -> list[ComparedLot]:
    rng = np.random.default_rng(seed)
    return [
        a_lot(rng, number, after=arm, shift=shift * arm, alpha=alpha * arm, site=site)
        for site in sites
        for arm, n in ((False, before), (True, after))
        for number in range(n)
    ]


def found(
    made: Sequence[ComparedLot],
    *,
    checks: tuple[Check, ...] = GOOD,
    criteria: Criteria = CRITERIA,
    consortium: ReferenceRanges | None = None,
) -> Findings:
    return assess(units_of_lots(made, len(PARTS)), PARTS, checks, criteria, consortium=consortium)
