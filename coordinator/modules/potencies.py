"""Several potencies of one lot, side by side.

Each endpoint is a family of its own: its error rate holds for itself, and with E endpoints without any driver about
alpha x E of them bring a false finding. So the correction over all tests together stands beside it (Holm 1979, on the
tests' own p: it holds whatever the dependence between potencies). How potencies go together is told, not tested.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from coordinator.units import Units
from protocol.modules.potencies_results import PotenciesResults, PotencyCell, PotencyPair
from protocol.plan import Endpoint
from protocol.results import Association
from shared.statistics.multiplicity import holm
from shared.statistics.ranks import stratified_rho

_FEWEST = 3  # fewer units have no rank correlation


def potencies_together(
    endpoints: Sequence[Endpoint],
    units: Sequence[Units],
    associations: Sequence[Association],
    clusters: Sequence[str],
) -> PotenciesResults | None:
    """Return the map of clusters by potencies, or None where the study has one potency.

    Parameters
    ----------
    endpoints, units
        In the plan's order, one for the other.
    associations
        Of all endpoints; one that was refused has none.
    clusters
        In the atlas's order.
    """
    if len(endpoints) < 2:  # noqa: PLR2004 - one potency has nothing beside it
        return None
    adjusted = holm(np.array([1.0 if row.p_value is None else row.p_value for row in associations]))
    by_name = {(row.endpoint, str(row.cluster)): number for number, row in enumerate(associations)}
    cells = []
    for endpoint in endpoints:
        for cluster in clusters:
            number = by_name.get((endpoint.endpoint, cluster))
            if number is None:
                continue
            row = associations[number]
            cells.append(
                PotencyCell(
                    endpoint=row.endpoint,
                    cluster=row.cluster,
                    rho=row.rho,
                    p_adjusted=row.p_adjusted,
                    p_holm=float(adjusted[number]),
                    significant=row.significant,
                )
            )
    return PotenciesResults(
        families_tested=len({row.endpoint for row in associations}),
        tests=len(associations),
        cells=tuple(cells),
        pairs=tuple(_pairs(endpoints, units)),
    )


def _pairs(endpoints: Sequence[Endpoint], units: Sequence[Units]) -> list[PotencyPair]:
    pairs = []
    for (first, one), (second, other) in combinations(zip(endpoints, units, strict=True), 2):
        places = {key: row for row, key in enumerate(zip(other.strata, other.donors, strict=True))}
        both = [(row, places[key]) for row, key in enumerate(zip(one.strata, one.donors, strict=True)) if key in places]
        rho = np.nan
        if len(both) >= _FEWEST:
            own, theirs = (np.array(rows) for rows in zip(*both, strict=True))
            strata = np.array(one.strata)[own]
            rho = float(stratified_rho(one.potency[own][:, None], other.potency[theirs], strata)[0])
        pairs.append(
            PotencyPair(
                endpoints=(first.endpoint, second.endpoint),
                rho=None if np.isnan(rho) else rho,
                n_units=len(both),
            )
        )
    return pairs
