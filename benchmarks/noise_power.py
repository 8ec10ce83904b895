"""What noise on counts costs in power: the same simulated studies with and without it.

``python -m benchmarks.noise_power [--replicates N] [--json]``

Every lot has 2,000 cells. Noise is drawn as a site draws it (discrete Laplace of scale 2 / epsilon on each part, none
negative, the total their sum), by scipy and a seed. A driver is found where its adjusted p is at most .05. Differences
are of the same studies, so that their error is far below that of the rates themselves.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from math import sqrt

import numpy as np
from scipy import stats

from benchmarks.claims import options
from coordinator.study_data import StudyData
from coordinator.units import rows_of_cohorts, units_of
from protocol.identifiers import EndpointId
from protocol.plan import CohortRole, Endpoint
from shared.statistics.association import associate
from shared.statistics.count_noise import noise_scale
from simulations.effect_size import slope_for_correlation
from simulations.scenarios import Scenario, scenario_named
from simulations.truth import replicate_generator, simulate_study, to_study_data

CELLS = 2_000
EPSILONS = (10.0, 2.0, 1.0, 0.5, 0.2, 0.1)
SCENARIOS = ("one-driver", "rare-driver", "suppressed-driver")
ALPHA = 0.05
SEED = 20_261_120


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Power without and with noise, over the same studies."""

    driver_share: float
    epsilon: float
    studies: int
    power: float
    power_under_noise: float
    difference: float
    standard_error: float  # of the difference


def scenario_of(name: str) -> Scenario:
    """Return a named scenario whose lots have 2,000 cells each, and hide nothing."""
    named = scenario_named(name)
    model = replace(named.model, cells_low=CELLS, cells_high=CELLS, slope=0.0)
    return replace(named, model=replace(model, slope=slope_for_correlation(model, 0.7)), small_count_threshold=0)


def noised(data: StudyData, epsilon: float, rng: np.random.Generator) -> StudyData:
    """Return a study's data as they are where every site asks for noise."""
    law = stats.dlaplace(1 / noise_scale(epsilon))
    parts = np.column_stack([data.counts_low, data.unassigned_low])
    parts = np.maximum(0, parts + law.rvs(parts.shape, random_state=rng))
    totals = parts.sum(axis=1)
    return replace(
        data,
        counts_low=parts[:, :-1],
        counts_high=parts[:, :-1],
        unassigned_low=parts[:, -1],
        unassigned_high=parts[:, -1],
        totals_low=totals,
        totals_high=totals,
        noise_epsilon=np.full(len(totals), epsilon),
    )


def is_found(scenario: Scenario, data: StudyData, number: int) -> bool:
    """Return whether the driver's adjusted p is at most .05."""
    endpoint = Endpoint(endpoint=EndpointId("vegf"), assay="VEGF", unit="pg/mL", normalisation=scenario.normalisation)
    rows, _ = rows_of_cohorts(data, [each for each in scenario.cohorts() if each.role is CohortRole.DISCOVERY])
    units, _ = units_of(data, rows, endpoint, scenario.strata, tuple(range(len(data.clusters))))
    answer = associate(
        units.shares, units.potency, units.strata, tail="two-sided", draws=999, entropy=(SEED, number), threads=1
    )
    return bool(answer.p_adjusted[scenario.model.drivers[0].cluster] <= ALPHA)


def costs(name: str, replicates: int) -> Iterator[Cost]:
    """Yield the cost of each epsilon in one scenario."""
    scenario = scenario_of(name)
    share = scenario.model.base_shares[scenario.model.drivers[0].cluster]
    found = np.zeros((replicates, 1 + len(EPSILONS)), dtype=np.bool_)
    for number in range(replicates):
        rng = replicate_generator(SEED, number)
        data = to_study_data(simulate_study(scenario.model, scenario.blocks, rng))
        found[number, 0] = is_found(scenario, data, number)
        for column, epsilon in enumerate(EPSILONS, start=1):
            found[number, column] = is_found(scenario, noised(data, epsilon, rng), number)
    exact = found[:, 0].astype(np.int64)
    for column, epsilon in enumerate(EPSILONS, start=1):
        lost = exact - found[:, column]
        yield Cost(
            driver_share=share,
            epsilon=epsilon,
            studies=replicates,
            power=float(exact.mean()),
            power_under_noise=float(found[:, column].mean()),
            difference=float(lost.mean()),
            standard_error=float(lost.std()) / sqrt(replicates),
        )


def main() -> None:
    """Print the table."""
    given = options(__doc__, replicates=1_000).parse_args()
    rows = [cost for name in SCENARIOS for cost in costs(name, given.replicates)]
    if given.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    print("driver's share  epsilon  power  with noise  lost")
    for row in rows:
        print(
            f"{row.driver_share:14.1%}  {row.epsilon:7g}  {row.power:5.3f}  {row.power_under_noise:10.3f}  "
            f"{row.difference:.3f} +- {row.standard_error:.3f}"
        )


if __name__ == "__main__":
    main()
