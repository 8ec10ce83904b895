"""Error rates of the association engine against known truth, at large n.

``python -m benchmarks.error_rates [--replicates N] [--workers W] [--section NAME] [--json]``

Rows and claims: `benchmarks.claims`. A claim's tolerance is 3 sqrt(.05 x .95 / N) whatever its share. The documentation
quotes the figures of which nothing is claimed.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from math import pi, sin, sqrt

import numpy as np

from benchmarks.claims import Row, about, at_most, exceeds, figure, options, say, share, tolerance
from protocol.plan import Normalisation, Strata
from shared.statistics.association import associate
from simulations.design import Block, even_design
from simulations.effect_size import slope_for_correlation
from simulations.power import Rate, ScenarioReport, run_scenario
from simulations.scenarios import Scenario, scenario_named
from simulations.truth import Model, replicate_generator, simulate_study

ALPHA = 0.05


def normal_pairs(replicates: int, *, correlation: float = 0.7, clusters: int = 1) -> tuple[Rate, Rate]:
    """Return power and right-top rate on bivariate normal data, 4 sites x 5 lots, one driver among ``clusters``.

    No composition, no counting: the engine alone. The driver is column 0 and the family is ``clusters`` wide.
    """
    found = top = 0
    sites = np.repeat(np.arange(4), 5)
    for number in range(replicates):
        rng = replicate_generator(7, number)
        y = rng.standard_normal(20)
        x = rng.standard_normal((20, clusters))
        x[:, 0] = correlation * y + sqrt(1 - correlation**2) * x[:, 0]
        answer = associate(x, y, sites, draws=1_999, entropy=(7, number), threads=1)
        found += bool(answer.p_adjusted[0] <= ALPHA)
        top += int(np.abs(answer.rho).argmax()) == 0
    return Rate(events=found, trials=replicates), Rate(events=top, trials=replicates)


def two_lots_of_a_donor(replicates: int) -> Rate:
    """Return how often a single test rejects when two lots of one donor count as independent and nothing drives."""
    blocks = (Block(site="site-01", donors=10, lots_per_donor=2),)
    rejected = 0
    for number in range(replicates):
        study = simulate_study(Model(), blocks, replicate_generator(11, number))
        answer = associate(
            study.shares[:, :1], study.log_relative_potency, study.sites, draws=999, entropy=(11, number), threads=1
        )
        rejected += bool(answer.p[0] <= ALPHA)
    return Rate(events=rejected, trials=replicates)


def with_correlation(scenario: Scenario, correlation: float) -> Scenario:
    """Return the scenario at another size of effect."""
    slope = slope_for_correlation(scenario.model, correlation)
    return replace(scenario, model=replace(scenario.model, slope=slope))


Runner = Callable[[Scenario], ScenarioReport]


def type_one_errors(run: Runner, replicates: int) -> Iterator[Row]:
    """Yield what happens where nothing drives potency."""
    slack = tolerance(ALPHA, replicates)
    null = run(scenario_named("null"))
    yield at_most("null: any rejection", null.any_rejection.value, 0.05, slack)
    yield about("null: intervals hold rho = 0", null.intervals_cover.value, 0.95, slack)

    confounded = run(scenario_named("confounded-null"))
    yield at_most("confounded null, 5 x 10: any rejection, stratified", confounded.any_rejection.value, 0.05, slack)
    yield exceeds("confounded null, 5 x 10: any rejection, naive", confounded.naive_any_rejection.value, 0.05, slack)
    yield exceeds("confounded null, 5 x 10: one test, naive", confounded.naive_per_test.value, 0.05, slack)
    wide = run(replace(scenario_named("confounded-null"), blocks=even_design(sites=8, lots_per_site=25)))
    yield at_most("confounded null, 8 x 25: any rejection, stratified", wide.any_rejection.value, 0.05, slack)
    yield share("confounded null, 5 x 10: one test, naive", confounded.naive_per_test)
    yield share("confounded null, 8 x 25: one test, naive", wide.naive_per_test)
    small = run(replace(scenario_named("confounded-null"), blocks=even_design(sites=4, lots_per_site=5)))
    yield share("confounded null, 4 x 5: one naive test at .05 / 6", small.naive_per_test_bonferroni)

    yield share("two lots of a donor taken as independent: one test", two_lots_of_a_donor(replicates))
    merged = run(replace(scenario_named("null"), blocks=(Block(site="site-01", donors=10, lots_per_donor=2),)))
    yield share("the same, donors as units: one test", merged.per_test)


def power_of_four_by_five(run: Runner, replicates: int) -> Iterator[Row]:
    """Yield the reference point, on normal data and on simulated lots."""
    slack = tolerance(ALPHA, replicates)
    alone, _ = normal_pairs(replicates)
    yield about("4 x 5, r = .7, normal data: power of one cluster tested alone", alone.value, 0.86, slack)
    family, top = normal_pairs(replicates, clusters=6)
    yield share("4 x 5, r = .7, normal data: family-wise power, K = 6", family)
    yield share("4 x 5, r = .7, normal data: driver on top, K = 6", top)

    one = run(scenario_named("one-driver"))
    (driver,) = one.drivers
    yield share("4 x 5, r = .7, one-driver: power of the driver tested alone", driver.found_alone)
    # Shares are skewed: Pearson's .7 is a smaller rank correlation than on normal data. The power should be that of
    # normal data with the same rank correlation: r = 2 sin(pi rho / 6).
    same_rank, _ = normal_pairs(replicates, correlation=2 * sin(pi * driver.population_rho / 6))
    of_a_difference = 3 * sqrt(2 * same_rank.value * (1 - same_rank.value) / replicates)
    what = "the same against normal data of its rank correlation"
    yield about(what, driver.found_alone.value, same_rank.value, of_a_difference)
    yield share("4 x 5, r = .7, one-driver: driver on top, K = 6", driver.top)
    what = "4 x 5, r = .7, one-driver: driver on top of the studies that find something"
    top_if_found = one.top_is_driver_if_found
    yield about(what, top_if_found.value, 0.95, tolerance(ALPHA, top_if_found.trials))
    yield about("one-driver: the driver's interval holds its rho", driver.interval_covers.value, 0.95, slack)
    yield share("4 x 5, r = .7, one-driver: family-wise power, K = 6", driver.found)
    yield share("4 x 5, r = .7, one-driver: family-wise power, naive", driver.found_naively)
    process = run(
        replace(scenario_named("one-driver"), model=replace(scenario_named("one-driver").model, process_sd=0.35))
    )
    yield share("the same where sites' processes differ: stratified", process.drivers[0].found)
    yield share("the same where sites' processes differ: naive", process.drivers[0].found_naively)
    for correlation in (0.8, 0.9):
        stronger = run(with_correlation(scenario_named("one-driver"), correlation))
        yield share(f"4 x 5, r = {correlation}, one-driver: family-wise power", stronger.drivers[0].found)
        yield share(f"4 x 5, r = {correlation}, one-driver: driver on top", stronger.drivers[0].top)


def assay_bias(run: Runner, replicates: int) -> Iterator[Row]:
    """Yield what the run's reference standard is worth, for one cluster alone."""
    slack = tolerance(ALPHA, replicates)
    bias = scenario_named("assay-bias")
    calibrated = run(bias).drivers[0].found_alone
    yield about("assay bias: run-calibrated, within sites, driver alone", calibrated.value, 0.83, slack)
    raw = replace(bias, normalisation=Normalisation.NONE)
    within = run(raw).drivers[0].found_alone
    yield share("assay bias: raw, within sites, driver alone", within)
    yield exceeds("assay bias: run-calibrated against raw within sites", calibrated.value, within.value, slack)
    pooled = run(replace(raw, strata=Strata.NONE))
    yield share("assay bias: raw, pooled, driver alone", pooled.drivers[0].found_alone)


def model_study(run: Runner, _replicates: int) -> Iterator[Row]:
    """Yield discovery and validation of the model study, and what a silent tissue costs."""
    model = run(scenario_named("model-study"))
    yield share("model study: family-wise power", model.drivers[0].found)
    yield figure("model study: median rho", model.drivers[0].median_rho)
    yield share("model study: driver on top", model.drivers[0].top)
    yield share("model study: validated, all tissues", model.validated)
    yield share("model study: validated, BM + AD", model.validated_in_active_tissues)
    by_site = run(replace(scenario_named("model-study"), strata=Strata.SITE))
    yield share("model study, stratified by site: family-wise power", by_site.drivers[0].found)
    for correlation in (0.8, 0.9):
        silent = run(with_correlation(scenario_named("uc-without-marker"), correlation))
        yield share(f"uc without marker, r = {correlation}: validated, all tissues", silent.validated)
        yield share(f"uc without marker, r = {correlation}: validated, BM + AD", silent.validated_in_active_tissues)


def other_scenarios(run: Runner, _replicates: int) -> Iterator[Row]:
    """Yield the rest."""
    for name in ("rare-driver", "outlier-lot"):
        report = run(scenario_named(name))
        yield share(f"{name}: family-wise power", report.drivers[0].found)
        yield share(f"{name}: driver alone", report.drivers[0].found_alone)
        yield share(f"{name}: driver on top", report.drivers[0].top)
    two = run(scenario_named("two-drivers"))
    for each in two.drivers:
        yield share(f"two-drivers: family-wise power of {each.cluster}", each.found)
    yield share("two-drivers: either on top", two.top_is_driver)
    for threshold in (0, 5, 10):
        hidden = replace(scenario_named("suppressed-driver"), small_count_threshold=threshold)
        report = run(replace(hidden, model=replace(hidden.model, cells_low=1_500, cells_high=2_500)))
        yield share(f"driver of .5% of about 2,000 cells, threshold {threshold}: alone", report.drivers[0].found_alone)


SECTIONS = {
    "type-one": type_one_errors,
    "power": power_of_four_by_five,
    "assay-bias": assay_bias,
    "model-study": model_study,
    "others": other_scenarios,
}


def main() -> int:
    """Print both tables; exit code 1 where a claim does not hold."""
    parser = options(__doc__, replicates=2_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--section", choices=tuple(SECTIONS), action="append", help="one or several; all without")
    arguments = parser.parse_args()

    def run(scenario: Scenario) -> ScenarioReport:
        return run_scenario(
            scenario, replicates=arguments.replicates, seed=arguments.seed, workers=arguments.workers, draws=1_999
        )

    sections = (SECTIONS[name] for name in arguments.section or SECTIONS)
    return say(chain.from_iterable(section(run, arguments.replicates) for section in sections), arguments)


if __name__ == "__main__":
    sys.exit(main())
