"""Many simulated studies of one scenario: how often the engine is right, and how often it is wrong.

Replicate ``i`` of a seed is the same study whatever the number of workers: it has its own child of the seed sequence,
and outcomes are put together in their order. The report counts events and never rounds; `summary_rows` says them in
words.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from shared.errors import InputError
from shared.runtime.console import Advance
from simulations.replicate import Outcome, population_rho, run_replicate
from simulations.scenarios import Scenario

FloatArray = NDArray[np.float64]
_REPLICATES_IN_A_TASK = 20
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How often something happened: ``events`` of ``trials``."""

    events: int
    trials: int

    @property
    def value(self) -> float:
        """The share; NaN of no trial."""
        return self.events / self.trials if self.trials else float("nan")

    def tolerance(self, expected: float) -> float:
        """Three standard errors of a share that is ``expected`` in truth."""
        return 3 * sqrt(expected * (1 - expected) / self.trials)

    def agrees_with(self, expected: float) -> bool:
        """Whether the share is within three standard errors of ``expected``."""
        return abs(self.value - expected) <= self.tolerance(expected)

    def is_at_most(self, limit: float) -> bool:
        """Whether the share exceeds ``limit`` by no more than three standard errors."""
        return self.value <= limit + self.tolerance(limit)

    def __str__(self) -> str:
        error = sqrt(self.value * (1 - self.value) / self.trials) if self.trials else float("nan")
        return f"{self.value:.3f} +- {error:.3f}"


@dataclass(frozen=True, kw_only=True)
class DriverReport:
    """What became of one true driver."""

    cluster: str
    found: Rate  # adjusted p <= alpha: the power that a study has
    found_alone: Rate  # its own p <= alpha: as if it were the only cluster tested
    found_naively: Rate  # adjusted p of the naive pooled comparison
    top: Rate  # it has the largest |rho| of the family
    median_rho: float
    population_rho: float
    interval_covers: Rate  # the interval holds the population's rho


@dataclass(frozen=True, kw_only=True)
class ScenarioReport:
    """Counts over the replicates of a scenario; refused designs are counted apart and enter no rate.

    Attributes
    ----------
    any_rejection, naive_any_rejection : Rate
        Some cluster of the family with adjusted p <= alpha: without drivers, the family-wise type-I error.
    per_test, naive_per_test : Rate
        Unadjusted p <= alpha, over all clusters that are no drivers.
    naive_per_test_bonferroni : Rate
        Unadjusted p <= alpha / K of the naive comparison, over the same clusters.
    top_is_driver : Rate
        The largest |rho| is a driver's; no trial without drivers.
    top_is_driver_if_found : Rate
        The same among studies that reject something.
    intervals_cover : Rate
        Intervals of all clusters that hold the population's rho.
    validated, validated_in_active_tissues : Rate
        One-sided p <= alpha of the first driver in the validation cohort, stratified by tissue.
    """

    scenario: str
    replicates: int
    seed: int
    draws: int
    refused: int
    drivers: tuple[DriverReport, ...]
    any_rejection: Rate
    naive_any_rejection: Rate
    per_test: Rate
    naive_per_test: Rate
    naive_per_test_bonferroni: Rate
    top_is_driver: Rate
    top_is_driver_if_found: Rate
    intervals_cover: Rate
    validated: Rate
    validated_in_active_tissues: Rate


def run_scenario(
    scenario: Scenario,
    *,
    replicates: int,
    seed: int = 1,
    workers: int = 1,
    draws: int = 1_999,
    progress: Advance | None = None,
) -> ScenarioReport:
    """Simulate and analyse ``replicates`` studies.

    Parameters
    ----------
    scenario : Scenario
        From `simulations.scenarios`.
    replicates : int
        At least 1.
    seed : int
        Of all replicates.
    workers : int
        Processes; it does not show in the result.
    draws : int
        Permutations of one study where its null is not exact.
    progress : Advance, optional
        Called with the number of replicates done since the last call.

    Raises
    ------
    InputError
        If replicates, workers or draws are below 1.
    """
    if min(replicates, workers, draws) < 1:
        raise InputError(
            f"expected at least one replicate, worker and draw, found {replicates}, {workers} and {draws}",
            hint="such as 1000 replicates by 2 workers",
        )
    outcomes: list[Outcome] = []
    for part in _outcomes(scenario, replicates=replicates, seed=seed, workers=workers, draws=draws):
        outcomes += part
        if progress is not None:
            progress(len(part))
    return summarise(scenario, outcomes, population_rho(scenario, seed=seed), seed=seed, draws=draws)


def summarise(
    scenario: Scenario, outcomes: Sequence[Outcome], population: FloatArray, *, seed: int, draws: int
) -> ScenarioReport:
    """Return the report over ``outcomes``; ``population`` is what the intervals should hold, ``(n_clusters,)``."""
    answered = [outcome for outcome in outcomes if outcome.refusal is None]
    n_clusters = len(population)
    table = {
        name: np.array([getattr(outcome, name) for outcome in answered]).reshape(len(answered), n_clusters)
        for name in ("rho", "p", "p_adjusted", "low", "high", "naive_p", "naive_p_adjusted")
    }
    found = table["p_adjusted"] <= ALPHA
    covers = (table["low"] <= population) & (population <= table["high"])
    drivers = [driver.cluster for driver in scenario.model.drivers]
    others = [cluster for cluster in range(n_clusters) if cluster not in drivers]
    top = np.nan_to_num(np.abs(table["rho"]), nan=-1.0).argmax(axis=1) if answered else np.empty(0, dtype=np.int64)
    top_is_driver = np.isin(top, drivers)
    return ScenarioReport(
        scenario=scenario.name,
        replicates=len(outcomes),
        seed=seed,
        draws=draws,
        refused=len(outcomes) - len(answered),
        drivers=tuple(
            DriverReport(
                cluster=scenario.model.clusters[driver],
                found=_rate(found[:, driver]),
                found_alone=_rate(table["p"][:, driver] <= ALPHA),
                found_naively=_rate(table["naive_p_adjusted"][:, driver] <= ALPHA),
                top=_rate(top == driver),
                median_rho=float(np.median(table["rho"][:, driver])) if answered else float("nan"),
                population_rho=float(population[driver]),
                interval_covers=_rate(covers[:, driver]),
            )
            for driver in drivers
        ),
        any_rejection=_rate(found.any(axis=1)),
        naive_any_rejection=_rate((table["naive_p_adjusted"] <= ALPHA).any(axis=1)),
        per_test=_rate(table["p"][:, others] <= ALPHA),
        naive_per_test=_rate(table["naive_p"][:, others] <= ALPHA),
        naive_per_test_bonferroni=_rate(table["naive_p"][:, others] <= ALPHA / n_clusters),
        top_is_driver=_rate(top_is_driver if drivers else top_is_driver[:0]),
        top_is_driver_if_found=_rate(top_is_driver[found.any(axis=1)] if drivers else top_is_driver[:0]),
        intervals_cover=_rate(covers),
        validated=_p_rate([outcome.validation_p for outcome in answered]),
        validated_in_active_tissues=_p_rate([outcome.validation_p_active for outcome in answered]),
    )


def summary_rows(report: ScenarioReport) -> tuple[tuple[str, str], ...]:
    """Return what the report says, as (what, how often) for a table; only what the scenario has."""
    rows = [
        ("studies", f"{report.replicates} (refused: {report.refused})"),
        ("some cluster found (adjusted p <= .05)", str(report.any_rejection)),
        ("some cluster found by naive pooling", str(report.naive_any_rejection)),
        ("a cluster that does not drive, p <= .05", str(report.per_test)),
        ("the same by naive pooling", str(report.naive_per_test)),
        ("intervals that hold the true rho", str(report.intervals_cover)),
    ]
    for driver in report.drivers:
        name = driver.cluster
        rows += [
            (f"{name} found (power)", str(driver.found)),
            (f"{name} found, tested alone", str(driver.found_alone)),
            (f"{name} found by naive pooling", str(driver.found_naively)),
            (f"{name} has the largest |rho|", str(driver.top)),
            (f"{name} rho: median, and with endless lots", f"{driver.median_rho:.2f}, {driver.population_rho:.2f}"),
            (f"{name} interval holds the true rho", str(driver.interval_covers)),
        ]
    if report.validated.trials:
        rows.append(("validated over all tissues", str(report.validated)))
    if report.validated_in_active_tissues.trials:
        rows.append(("validated over tissues where it is active", str(report.validated_in_active_tissues)))
    return tuple(rows)


def _outcomes(scenario: Scenario, *, replicates: int, seed: int, workers: int, draws: int) -> Iterator[list[Outcome]]:
    starts = range(0, replicates, _REPLICATES_IN_A_TASK)
    tasks = [(scenario, seed, start, min(start + _REPLICATES_IN_A_TASK, replicates), draws) for start in starts]
    if workers == 1 or len(tasks) == 1:
        yield from map(_task, tasks)
        return
    # Spawned, not forked: the parent may have threads, and a fork would take their locks with it.
    with ProcessPoolExecutor(max_workers=workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_task, tasks)


def _task(task: tuple[Scenario, int, int, int, int]) -> list[Outcome]:
    scenario, seed, start, stop, draws = task
    return [run_replicate(scenario, seed=seed, number=number, draws=draws) for number in range(start, stop)]


def _rate(happened: ArrayLike) -> Rate:
    events = np.asarray(happened, dtype=np.bool_)
    return Rate(events=int(np.count_nonzero(events)), trials=int(events.size))


def _p_rate(p_values: Sequence[float]) -> Rate:
    p = np.array(p_values, dtype=np.float64)
    return _rate(p[~np.isnan(p)] <= ALPHA)
