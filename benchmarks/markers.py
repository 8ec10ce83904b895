"""Error rates of the module markers against known truth, and how often the model study's three outcomes come out.

``python benchmarks/markers.py [--replicates N] [--json]``

A claim has an expected share and a tolerance of 3 sqrt(p (1 - p) / N), N studies. One that does not hold is printed as
such, and the exit code is 1.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import sqrt

from simulations.gene_panel import MARKER
from simulations.marker_studies import GeneCounts, discovery_of, gene_counts, marker_results, outcomes
from simulations.marker_truth import MarkerModel, true_markers
from simulations.scenarios import scenario_named

DRIVER = "cluster 3"
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Line:
    """One share: what should be so ("" where nothing is claimed), what was seen, and whether it holds."""

    what: str
    expected: str
    measured: float
    holds: bool = True


def tolerance(share: float, replicates: int) -> float:
    """Return three standard errors of a share over so many studies."""
    return 3 * sqrt(share * (1 - share) / replicates)


def null_lines(replicates: int) -> Iterator[Line]:
    """Yield the error rates where no gene is a marker, by what a lot changes in one cluster alone."""
    scenario = discovery_of(scenario_named("model-study-markers"))
    slack = tolerance(ALPHA, replicates)
    for interaction in (0.0, 0.05, 0.1, 0.2):
        model = MarkerModel(silent=True, interaction_sd=interaction)
        found = [
            gene_counts(marker_results(scenario, seed=2, number=number, markers=model, draws=99), DRIVER)
            for number in range(replicates)
        ]
        what = f"no marker, lots differ in one cluster by SD {interaction:g}: "
        lots, flips, cells = (_share(found, name) for name in ("by_lots", "by_sign_flips", "by_cells"))
        yield Line(
            what=what + "lot-paired t, a gene",
            expected=f".05 +- {slack:.3f}",
            measured=lots,
            holds=abs(lots - ALPHA) <= slack,
        )
        yield Line(
            what=what + "sign flips, a gene",
            expected=f"at most .05 + {slack:.3f}",
            measured=flips,
            holds=flips <= ALPHA + slack,
        )
        some = sum(each.found > 0 for each in found) / replicates
        yield Line(
            what=what + "some gene with q <= .05",
            expected=f"at most .05 + {slack:.3f}",
            measured=some,
            holds=some <= ALPHA + slack,
        )
        fails = interaction >= 0.1
        yield Line(
            what=what + "t over cells, a gene",
            expected=".2 and more" if fails else "",
            measured=cells,
            holds=not fails or cells >= 0.2,
        )


def power_lines(replicates: int) -> Iterator[Line]:
    """Yield how often the driver's markers are found, by the number of lots."""
    whole = scenario_named("model-study-markers")
    plan = whole.modules.markers
    genes = plan.genes if plan else ()
    weak = frozenset(gene for gene in true_markers(6, (3,), genes)[DRIVER] if gene != MARKER)
    model = MarkerModel(interaction_sd=0.1)
    for lots in (4, 6, 8, 11):
        scenario = discovery_of(whole, lots)
        results = [
            marker_results(scenario, seed=3, number=number, markers=model, draws=99) for number in range(replicates)
        ]
        strong = [gene_counts(each, DRIVER, frozenset({MARKER})) for each in results]
        others = [gene_counts(each, DRIVER, weak) for each in results]
        yield Line(
            what=f"{lots} lots: {MARKER} (ln fold 2.0) found by q", expected="", measured=_share(strong, "found")
        )
        yield Line(
            what=f"{lots} lots: genes of ln fold .35 and more found by q", expected="", measured=_share(others, "found")
        )


def validation_lines(replicates: int) -> Iterator[Line]:
    """Yield how often the paper's three outcomes come out."""
    for name, lots in (("model-study-markers", "8 BM, 8 AD, 5 UC lots"), ("paper-validation", "4 BM, 4 AD, 5 UC lots")):
        scenario = scenario_named(name)
        found = [outcomes(marker_results(scenario, seed=1, number=number), DRIVER) for number in range(replicates)]
        named = [each for each in found if each.found]
        yield Line(what=f"{name} ({lots}): cluster 3 found", expected="", measured=len(named) / replicates)
        for tissue, said in (("BM", "BM holds"), ("AD", "AD holds"), ("", "BM and AD together hold")):
            held = sum(each.held.get(tissue) is True for each in named) / max(len(named), 1)
            yield Line(what=f"{name}: {said}, of those", expected="", measured=held)
        silent = sum(not each.eligible["UC"] for each in named) / max(len(named), 1)
        yield Line(what=f"{name}: UC not eligible, of those", expected="1", measured=silent, holds=silent == 1.0)
        paper = sum(
            each.held.get("BM") is True and each.held.get("AD") is True and not each.eligible["UC"] for each in named
        )
        yield Line(what=f"{name}: found and all three outcomes", expected="", measured=paper / replicates)


def _share(found: Sequence[GeneCounts], name: str) -> float:
    tested = sum(each.tested for each in found)
    events: int = sum(getattr(each, name) for each in found)
    return events / tested if tested else float("nan")


def main() -> int:
    """Print every line; return 1 where a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    started = time.process_time()
    lines = [line for make in (null_lines, power_lines, validation_lines) for line in make(options.replicates)]
    if options.json:
        print(json.dumps([asdict(line) for line in lines], indent=1))
    else:
        print(f"markers: {options.replicates} studies each")
        for line in lines:
            mark = "" if line.holds else "  DOES NOT HOLD"
            print(f"{line.what:<88} {line.measured:.3f}  {line.expected}{mark}")
        print(f"{time.process_time() - started:.0f} s of one core")
    return int(not all(line.holds for line in lines))


if __name__ == "__main__":
    sys.exit(main())
