"""Error rates of the modules on lot-level attributes and on several potencies, against known truth.

``python -m benchmarks.attributes [--replicates N] [--json]``

Rows, claims and their tolerance: `benchmarks.claims`. The walkthroughs quote the figures of which nothing is claimed.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.claims import Row, at_most, main_of, share, tolerance
from simulations.module_rates import attribute_rates, potency_rates, without_drivers
from simulations.power import Rate
from simulations.scenario import Scenario
from simulations.scenarios import scenario_named

SEED = 3
ALPHA = 0.05


def kept_down(what: str, rate: Rate) -> Row:
    """Return the claim that an error rate does not exceed alpha."""
    return at_most(what, rate.value, ALPHA, tolerance(ALPHA, rate.trials))


def attributes(replicates: int) -> Iterator[Row]:
    """Yield the rates of the airway-exosome panel, with its driver and its traps, and with nothing in it."""
    panel = scenario_named("airway-exosome")
    rates = attribute_rates(panel, replicates=replicates, seed=SEED)
    yield share("airway panel: mir-148a, the driver, found", rates.found["mir-148a"])
    yield share("airway panel: mir-148a leads its family", rates.leads_its_family["mir-148a"])
    yield kept_down("airway panel: any other miRNA found", rates.false_in_family["mirna"])
    yield kept_down("airway panel: particles found", rates.found["particles"])
    for name in ("particles-per-protein", "cd63-per-protein"):
        yield share(f"airway panel: {name} found, by protein alone", rates.found[name])
    yield share("airway panel: warned of the shared denominator", rates.warned_of_denominator)
    yield share("airway panel: warned of mir-200a below detection", rates.warned_of_detection)
    null = attribute_rates(_without_drivers(panel), replicates=replicates, seed=SEED + 1)
    for family, rate in null.false_in_family.items():
        yield kept_down(f"the same without drivers: any attribute of family {family} found", rate)


def potencies(replicates: int) -> Iterator[Row]:
    """Yield the rates of three potencies, one of them without a driver, and of three without any."""
    several = scenario_named("several-potencies")
    rates = potency_rates(several, replicates=replicates, seed=SEED)
    for name in ("angiogenic", "immunosuppressive"):
        yield share(f"several potencies: the driver of {name} leads its row", rates.leads[name])
        yield share(f"several potencies: the driver of {name} found in its row", rates.found[name])
        yield share(f"several potencies: the driver of {name} found over all (Holm)", rates.found_over_all[name])
    none = rates.false_in_row["differentiation"]
    yield kept_down("several potencies: any cluster for differentiation, which has no driver", none)
    null = replace(
        several,
        model=replace(several.model, drivers=(), slope=0.0),
        potencies=tuple(replace(each, drivers=(), slope=0.0) for each in several.potencies),
    )
    rates = potency_rates(null, replicates=replicates, seed=SEED + 1)
    yield share("three potencies without driver: any finding in any row", rates.false_anywhere)
    yield kept_down("three potencies without driver: any finding over all (Holm)", rates.false_anywhere_over_all)


def _without_drivers(scenario: Scenario) -> Scenario:
    return (
        scenario if scenario.attributes is None else replace(scenario, attributes=without_drivers(scenario.attributes))
    )


if __name__ == "__main__":
    sys.exit(main_of(__doc__, (attributes, potencies), replicates=1_000))
