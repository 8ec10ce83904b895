"""Error rates of the release threshold and of the control chart, against known truth.

``python -m benchmarks.specification [--replicates N] [--json]``

Rows, claims and their tolerance: `benchmarks.claims`; a share that STATISTICS quotes is known to .005. The walkthrough
quotes the figures of which nothing is claimed.
"""

import sys
from collections.abc import Iterator
from math import log, sqrt

import numpy as np
from scipy.stats import multivariate_normal, norm

from benchmarks.claims import Row, about, at_most, figure, main_of, tolerance
from coordinator.modules.specification import specify
from coordinator.modules.specification_question import Question
from protocol.identifiers import EndpointId
from protocol.modules.specification import SpecificationPlan
from protocol.modules.specification_results import SpecificationOutcome
from protocol.plan import Cohort, CohortRole, Endpoint, Normalisation
from shared.statistics.control_chart import BASELINE, TREND_ALPHA, chart_of
from shared.statistics.specification import (
    FEWEST_FOR_A_SPECIFICATION,
    fit_line,
    rates_of,
    threshold_of,
    upper_share_bound,
)
from simulations.design import even_design
from simulations.scenarios import scenario_named
from simulations.truth import replicate_generator, simulate_study, to_study_data

SEED = 9
LIMIT = float(norm.ppf(0.3))  # of bivariate normal lots: three in ten are too weak
SUFFICIENT = 0.7
DECLARED = {0.8: (0.19, 0.017, 0.64), 0.6: (0.65, None, None)}
OTHER_RULES = {"regression line": (0.15, 0.10), "Youden": (0.09, 0.26)}
STUDIES = 200
LATER_LOTS = 20
ROUNDING = 0.005  # of what STATISTICS quotes


def true_rates(threshold: float, r: float) -> tuple[float, float]:
    """Return the false pass and false fail of a threshold of bivariate normal lots of correlation ``r``."""
    both = float(multivariate_normal.cdf([-threshold, -LIMIT], mean=[0, 0], cov=[[1, r], [r, 1]]))
    return 1 - both / float(norm.sf(threshold)), 1 - both / SUFFICIENT


def eleven_lots(replicates: int) -> Iterator[Row]:
    """Thresholds of the model study's size: how often none exists, and what the found ones do to future lots."""
    for r, (none, false_pass, false_fail) in DECLARED.items():
        rng = np.random.default_rng((SEED, int(10 * r)))
        found: dict[str, list[tuple[float, float]]] = {"prediction bound": [], "regression line": [], "Youden": []}
        said = []
        missing = 0
        for _ in range(replicates):
            x = rng.standard_normal(11)
            y = r * x + sqrt(1 - r * r) * rng.standard_normal(11)
            line = fit_line(x, y)
            low, high = float(x.min()), float(x.max())
            threshold = threshold_of(line, LIMIT, low=low, high=high, confidence=0.95, rises=True)
            if np.isnan(threshold):
                missing += 1
            else:
                found["prediction bound"].append(true_rates(threshold, r))
                rates = rates_of(line, x, threshold, LIMIT, rises=True)
                said.append((rates.false_pass, rates.false_fail))
            on_line = line.share_mean + (LIMIT - line.potency_mean) / line.slope if line.slope > 0 else np.nan
            if on_line <= high:
                found["regression line"].append(true_rates(max(on_line, low), r))
            sufficient = y >= LIMIT
            if 0 < sufficient.sum() < y.size:
                cuts = np.sort(x)
                youden = [(x[sufficient] >= c).mean() - (x[~sufficient] >= c).mean() for c in cuts]
                found["Youden"].append(true_rates(float(cuts[int(np.argmax(youden))]), r))
        where = f"11 lots, r = {r}"
        slack = tolerance(none, replicates) + ROUNDING
        yield about(f"{where}: no threshold exists", missing / replicates, none, slack)
        for rule, pairs in found.items():
            passed, failed = np.mean(pairs, axis=0)
            claims = (false_pass, false_fail) if rule == "prediction bound" else OTHER_RULES[rule]
            for what, measured, claim in (("false pass", passed, claims[0]), ("false fail", failed, claims[1])):
                name = f"{where}, {rule}: {what}"
                if claim is None or r != 0.8:
                    yield figure(name, float(measured))
                else:
                    yield about(name, float(measured), claim, tolerance(claim, replicates) + ROUNDING)
        for what, measured in zip(("false pass", "false fail"), np.mean(said, axis=0), strict=True):
            yield figure(f"{where}: {what} as the data sets themselves say it", float(measured))


def studies(_replicates: int) -> Iterator[Row]:
    """Whole simulated studies of the scenario, and new lots held against what each gives."""
    for name, count in (("specification", STUDIES), ("specification-small", STUDIES)):
        scenario = scenario_named(name)
        asked = scenario.modules.specification
        assert asked is not None  # noqa: S101 - the scenarios of this module ask for one
        question = Question(
            asked=SpecificationPlan(endpoint=asked.endpoint, limit=asked.limit, cluster="cluster 3"),
            declared=True,
            endpoint=Endpoint(
                endpoint=EndpointId("vegf"), assay="VEGF", unit="pg/mL", normalisation=Normalisation.RUN_REFERENCE
            ),
            cohorts=(Cohort(cohort="discovery", role=CohortRole.DISCOVERY),),
            analysis=scenario.analysis_plan(seed=SEED),
        )
        outcomes = dict.fromkeys(SpecificationOutcome, 0)
        passed = missed = sufficient = turned_away = stopped = lots = 0
        said: list[float] = []
        for number in range(count):
            study = simulate_study(scenario.model, scenario.blocks, replicate_generator(SEED, number))
            found = specify(to_study_data(study), question, [])
            outcomes[found.outcome] += 1
            if found.threshold is None:
                continue
            new = simulate_study(
                scenario.model, even_design(sites=8, lots_per_site=8), replicate_generator(SEED + 1, number)
            )
            passes = new.shares[:, 3] >= found.threshold
            enough = new.log_relative_potency >= log(asked.limit)
            passed, missed = passed + int(passes.sum()), missed + int((passes & ~enough).sum())
            sufficient, turned_away = sufficient + int(enough.sum()), turned_away + int((enough & ~passes).sum())
            lots += len(new.lots)
            stopped += int((new.unassigned / new.totals > (found.unassigned_limit or 1.0)).sum())
            if found.false_pass is not None and found.false_pass.value is not None:
                said.append(found.false_pass.value)
        for outcome, times in outcomes.items():
            yield figure(f"{name}, {count} studies: {outcome.value}", times / count)
        # Lots of one study share its threshold: the studies are what is counted.
        what = f"{name}: false pass of new lots at 8 other sites"
        large = len(study.lots) >= FEWEST_FOR_A_SPECIFICATION
        yield at_most(what, missed / passed, 0.02, tolerance(0.02, count)) if large else figure(what, missed / passed)
        yield figure(f"{name}: false pass as the studies themselves say it", float(np.mean(said)))
        yield figure(f"{name}: false fail of new lots", turned_away / sufficient)
        yield figure(f"{name}: sound new lots stopped for unassigned cells", stopped / lots)


def unassigned(replicates: int) -> Iterator[Row]:
    """Measure the bound of unassigned cells: one sound lot in a hundred lies above it."""
    rng = np.random.default_rng((SEED, 1))
    above = 0
    for _ in range(replicates):
        odds = -5.0 + 0.5 * rng.standard_normal(33)
        totals = np.full(33, 100_000.0)
        cells = np.round(totals / (1 + np.exp(-odds)))
        above += cells[32] / totals[32] > upper_share_bound(cells[:32], totals[:32], confidence=0.99)
    slack = tolerance(0.01, replicates)
    yield about("a sound lot above the bound of 32 lots", above / replicates, 0.01, slack)


def charts(replicates: int) -> Iterator[Row]:
    """Chart a process that never changes, and one that loses half of a standard deviation with each lot."""
    rng = np.random.default_rng((SEED, 2))
    series = max(replicates // 4, 250)
    beyond = trend = any_beyond = any_trend = caught = 0
    for _ in range(series):
        values = rng.standard_normal(BASELINE + LATER_LOTS)
        last = chart_of(values)
        outside = last.outside[last.outside >= BASELINE]
        beyond += outside.size
        any_beyond += outside.size > 0
        looks = [chart_of(values[: BASELINE + k + 1]).has_trend for k in range(LATER_LOTS)]
        trend += sum(looks)
        any_trend += any(looks)
        drift = values.copy()
        drift[BASELINE:] -= 0.5 * np.arange(1, LATER_LOTS + 1)
        caught += any(
            (chart := chart_of(drift[: BASELINE + k + 1])).has_trend or (chart.outside >= BASELINE).any()
            for k in range(8)
        )
    yield figure("steady process: a new lot beyond limits of 20 lots", beyond / series / LATER_LOTS)
    yield figure("steady process: any of 20 new lots beyond", any_beyond / series)
    slack = tolerance(TREND_ALPHA, series)
    yield at_most("steady process: trend at one look", trend / series / LATER_LOTS, TREND_ALPHA, slack)
    yield figure("steady process: trend at any of 20 looks", any_trend / series)
    yield figure("drift of SD/2 a lot: a signal within 8 lots", caught / series)


if __name__ == "__main__":
    sections = (eleven_lots, studies, unassigned, charts)
    sys.exit(main_of(__doc__, sections, replicates=2_000, unit="data sets"))
