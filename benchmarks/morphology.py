"""How often a simulated morphology study finds its driver, with and without its plates' control wells.

``python benchmarks/morphology.py [--replicates N]``

Tolerance of a claimed share p: 3 sqrt(p (1 - p) / N). One that does not hold is printed as such, with exit code 1.
"""

import argparse
import sys
import time
from dataclasses import replace
from math import sqrt

from simulations.morphology_rates import morphology_rates, reference_of
from simulations.scenarios import scenario_named

SEED = 5
LIMIT = 0.05


def main() -> int:
    """Print the rates; exit code 1 where the type-I error does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=200)
    replicates = parser.parse_args().replicates
    started = time.monotonic()
    scenario = scenario_named("morphology")
    reference = reference_of(scenario, seed=SEED)
    null = replace(scenario, model=replace(scenario.model, drivers=(), slope=0.0))
    for name, scored in (
        ("scored by the plate's own control wells", True),
        ("by the reference's control wells", False),
    ):
        rates = morphology_rates(scenario, reference, replicates=replicates, seed=SEED, scored=scored)
        print(f"{name}: cells given their state {rates.accuracy:.3f}, unassigned states counted as errors")
        print(f"{name}: the driver leads {rates.leads.value:.3f}, is found {rates.found.value:.3f}")
        print(f"{name}: another cluster found without it {rates.others_found.value:.3f}")
        sys.stdout.flush()
    none = morphology_rates(null, reference, replicates=replicates, seed=SEED + 1)
    slack = 3 * sqrt(LIMIT * (1 - LIMIT) / replicates)
    holds = none.others_found.value <= LIMIT + slack
    print(
        f"no driver: any cluster found {none.others_found.value:.3f}  expected <= {LIMIT:g} + {slack:.4f}  "
        f"{'holds' if holds else 'DOES NOT HOLD'}"
    )
    print(f"{replicates} studies a row, {time.monotonic() - started:.0f} s")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
