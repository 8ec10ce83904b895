"""How often a simulated morphology study finds its driver, with and without its plates' control wells.

``python -m benchmarks.morphology [--replicates N] [--json]``

Rows, claims and their tolerance: `benchmarks.claims`. Unassigned cells count as errors.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.claims import Row, at_most, figure, main_of, share, tolerance
from simulations.morphology_rates import morphology_rates, reference_of
from simulations.scenarios import scenario_named

SEED = 5
LIMIT = 0.05


def driver(replicates: int) -> Iterator[Row]:
    """Yield what becomes of the driver, scored either way."""
    scenario = scenario_named("morphology")
    reference = reference_of(scenario, seed=SEED)
    for name, scored in (
        ("scored by the plate's own control wells", True),
        ("by the reference's control wells", False),
    ):
        rates = morphology_rates(scenario, reference, replicates=replicates, seed=SEED, scored=scored)
        yield figure(f"{name}: cells given their state", rates.accuracy)
        yield share(f"{name}: the driver leads", rates.leads)
        yield share(f"{name}: the driver is found", rates.found)
        yield share(f"{name}: another cluster found without it", rates.others_found)


def no_driver(replicates: int) -> Iterator[Row]:
    """Yield the type-I error."""
    scenario = scenario_named("morphology")
    null = replace(scenario, model=replace(scenario.model, drivers=(), slope=0.0))
    none = morphology_rates(null, reference_of(scenario, seed=SEED), replicates=replicates, seed=SEED + 1)
    found = none.others_found.value
    yield at_most("no driver: any cluster found", found, LIMIT, tolerance(LIMIT, replicates))


if __name__ == "__main__":
    sys.exit(main_of(__doc__, (driver, no_driver), replicates=200))
