"""Plain tables to an outcome: for those who already hold counts and potency and need no sites to be asked."""

from pathlib import Path

from coordinator.analyse_command import Outcome, validation_cohorts
from coordinator.analysis import analyse
from coordinator.api import parameters_from_tables
from coordinator.tables import read_study_tables
from protocol.plan import Alternative, AnalysisPlan, Strata


def analyse_tables(
    counts: Path,
    potency: Path,
    *,
    alpha: float,
    seed: int,
    draws: int,
    strata: Strata,
    alternative: Alternative,
    shares: bool,
    small_count_threshold: int | None,
) -> Outcome:
    """Return the outcome of ``counts.csv`` and ``potency.csv`` (formats: :mod:`coordinator.frames`).

    Raises
    ------
    ProblemsError
        With every problem of both tables.
    """
    tables = read_study_tables(counts, potency, small_count_threshold=small_count_threshold, shares=shares)
    analysis = AnalysisPlan(alpha=alpha, seed=seed, draws=draws, strata=strata, alternative=alternative)
    parameters = parameters_from_tables(tables, analysis, title=f"{counts.stem} against {potency.stem}")
    return Outcome(
        results=analyse(tables.data, parameters),
        data=tables.data,
        validation_cohorts=validation_cohorts(tables.cohorts),
    )
