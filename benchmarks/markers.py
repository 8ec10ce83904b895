"""Error rates of the module markers against known truth, and how often the model study's three outcomes come out.

``python -m benchmarks.markers [--replicates N] [--json]``

Rows, claims and their tolerance: `benchmarks.claims`.
"""

import sys
from collections.abc import Iterator, Sequence

from benchmarks.claims import Row, about, at_least, at_most, figure, main_of, tolerance
from simulations.gene_panel import MARKER
from simulations.marker_studies import GeneCounts, discovery_of, gene_counts, marker_results, outcomes
from simulations.marker_truth import MarkerModel, true_markers
from simulations.scenarios import scenario_named

DRIVER = "cluster 3"
ALPHA = 0.05


def null_lines(replicates: int) -> Iterator[Row]:
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
        yield about(what + "lot-paired t, a gene", lots, ALPHA, slack)
        yield at_most(what + "sign flips, a gene", flips, ALPHA, slack)
        some = sum(each.found > 0 for each in found) / replicates
        yield at_most(what + "some gene with q <= .05", some, ALPHA, slack)
        over_cells = what + "t over cells, a gene"
        yield at_least(over_cells, cells, 0.2) if interaction >= 0.1 else figure(over_cells, cells)


def power_lines(replicates: int) -> Iterator[Row]:
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
        yield figure(f"{lots} lots: {MARKER} (ln fold 2.0) found by q", _share(strong, "found"))
        yield figure(f"{lots} lots: genes of ln fold .35 and more found by q", _share(others, "found"))


def validation_lines(replicates: int) -> Iterator[Row]:
    """Yield how often the paper's three outcomes come out."""
    for name, lots in (("model-study-markers", "8 BM, 8 AD, 5 UC lots"), ("paper-validation", "4 BM, 4 AD, 5 UC lots")):
        scenario = scenario_named(name)
        found = [outcomes(marker_results(scenario, seed=1, number=number), DRIVER) for number in range(replicates)]
        named = [each for each in found if each.found]
        yield figure(f"{name} ({lots}): cluster 3 found", len(named) / replicates)
        for tissue, said in (("BM", "BM holds"), ("AD", "AD holds"), ("", "BM and AD together hold")):
            held = sum(each.held.get(tissue) is True for each in named) / max(len(named), 1)
            yield figure(f"{name}: {said}, of those", held)
        silent = sum(not each.eligible["UC"] for each in named) / max(len(named), 1)
        yield about(f"{name}: UC not eligible, of those", silent, 1.0, 0.0)
        paper = sum(
            each.held.get("BM") is True and each.held.get("AD") is True and not each.eligible["UC"] for each in named
        )
        yield figure(f"{name}: found and all three outcomes", paper / replicates)


def _share(found: Sequence[GeneCounts], name: str) -> float:
    tested = sum(each.tested for each in found)
    events: int = sum(getattr(each, name) for each in found)
    return events / tested if tested else float("nan")


if __name__ == "__main__":
    sys.exit(main_of(__doc__, (null_lines, power_lines, validation_lines), replicates=200))
