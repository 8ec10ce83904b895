"""Error rates of the modules on lot-level attributes and on several potencies, against known truth.

``python benchmarks/attributes.py [--replicates N] [--json]``

Tolerance of a claimed share p: 3 sqrt(p (1 - p) / N). One that does not hold is printed as such, with exit code 1. The
other figures are measured and compared with nothing: the walkthroughs quote them.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from math import sqrt

from simulations.module_rates import attribute_rates, potency_rates, without_drivers
from simulations.power import Rate
from simulations.scenario import Scenario
from simulations.scenarios import scenario_named

SEED = 3


@dataclass(frozen=True, kw_only=True)
class Line:
    """A measured share; ``limit`` is what it must not exceed, None where nothing is claimed."""

    what: str
    measured: float
    limit: float | None
    tolerance: float
    holds: bool


def line(what: str, rate: Rate, limit: float | None = None) -> Line:
    """Return a measured share, held against ``limit`` where there is one."""
    share = rate.value if limit is None else limit
    slack = 3 * sqrt(share * (1 - share) / rate.trials)
    return Line(
        what=what,
        measured=rate.value,
        limit=limit,
        tolerance=slack,
        holds=limit is None or rate.value <= limit + slack,
    )


def attributes(replicates: int) -> Iterator[Line]:
    """Yield the rates of the airway-exosome panel, with its driver and its traps, and with nothing in it."""
    panel = scenario_named("airway-exosome")
    rates = attribute_rates(panel, replicates=replicates, seed=SEED)
    yield line("airway panel: mir-148a, the driver, found", rates.found["mir-148a"])
    yield line("airway panel: mir-148a leads its family", rates.leads_its_family["mir-148a"])
    yield line("airway panel: any other miRNA found", rates.false_in_family["mirna"], 0.05)
    yield line("airway panel: particles found", rates.found["particles"], 0.05)
    for name in ("particles-per-protein", "cd63-per-protein"):
        yield line(f"airway panel: {name} found, by protein alone", rates.found[name])
    yield line("airway panel: warned of the shared denominator", rates.warned_of_denominator)
    yield line("airway panel: warned of mir-200a below detection", rates.warned_of_detection)
    null = attribute_rates(_without_drivers(panel), replicates=replicates, seed=SEED + 1)
    for family, rate in null.false_in_family.items():
        yield line(f"the same without drivers: any attribute of family {family} found", rate, 0.05)


def potencies(replicates: int) -> Iterator[Line]:
    """Yield the rates of three potencies, one of them without a driver, and of three without any."""
    several = scenario_named("several-potencies")
    rates = potency_rates(several, replicates=replicates, seed=SEED)
    for name in ("angiogenic", "immunosuppressive"):
        yield line(f"several potencies: the driver of {name} leads its row", rates.leads[name])
        yield line(f"several potencies: the driver of {name} found in its row", rates.found[name])
        yield line(f"several potencies: the driver of {name} found over all (Holm)", rates.found_over_all[name])
    yield line(
        "several potencies: any cluster for differentiation, which has no driver",
        rates.false_in_row["differentiation"],
        0.05,
    )
    null = replace(
        several,
        model=replace(several.model, drivers=(), slope=0.0),
        potencies=tuple(replace(each, drivers=(), slope=0.0) for each in several.potencies),
    )
    rates = potency_rates(null, replicates=replicates, seed=SEED + 1)
    yield line("three potencies without driver: any finding in any row", rates.false_anywhere)
    yield line("three potencies without driver: any finding over all (Holm)", rates.false_anywhere_over_all, 0.05)


def _without_drivers(scenario: Scenario) -> Scenario:
    return (
        scenario if scenario.attributes is None else replace(scenario, attributes=without_drivers(scenario.attributes))
    )


def main() -> int:
    """Print both tables; exit code 1 where a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    started = time.monotonic()
    lines = []
    for section in (attributes, potencies):
        for each in section(arguments.replicates):
            lines.append(each)
            if arguments.json:
                continue
            claim = "" if each.limit is None else f"  expected <= {each.limit:g} + {each.tolerance:.4f}"
            verdict = "" if each.limit is None else "  holds" if each.holds else "  DOES NOT HOLD"
            print(f"{each.what:<80} {each.measured:.4f}{claim}{verdict}")
            sys.stdout.flush()
    if arguments.json:
        print(json.dumps([asdict(each) for each in lines], indent=1))
    else:
        print(f"{arguments.replicates} studies a row, {time.monotonic() - started:.0f} s")
    return 0 if all(each.holds for each in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
