"""Plain tables to an outcome: for those who already hold counts and potency and need no sites to be asked."""

from dataclasses import replace
from pathlib import Path

from coordinator.analyse_command import Outcome, validation_cohorts
from coordinator.analysis import analyse
from coordinator.api import Change, parameters_from_tables, with_limit
from coordinator.tables import read_attribute_table, read_study_tables
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
    attributes: Path | None = None,
    change: Change | None = None,
    limit: float | None = None,
    limit_cluster: str | None = None,
) -> Outcome:
    """Return the outcome of ``counts.csv``, ``potency.csv`` and, where given, ``attributes.csv``.

    Formats: :mod:`coordinator.frames`, :mod:`coordinator.attribute_tables`.

    Raises
    ------
    ProblemsError
        With every problem of the tables.
    """
    tables = read_study_tables(counts, potency, small_count_threshold=small_count_threshold, shares=shares)
    analysis = AnalysisPlan(alpha=alpha, seed=seed, draws=draws, strata=strata, alternative=alternative)
    parameters = parameters_from_tables(tables, analysis, title=f"{counts.stem} against {potency.stem}", change=change)
    data = tables.data
    if limit is not None:
        parameters = with_limit(parameters, limit, limit_cluster, data.clusters)
    if attributes is not None:
        declared, values = read_attribute_table(attributes, data.lots)
        data = replace(data, attributes=values)
        parameters = replace(parameters, modules=parameters.modules.model_copy(update={"attributes": declared}))
    return Outcome(
        results=analyse(data, parameters),
        data=data,
        validation_cohorts=validation_cohorts(tables.cohorts),
    )
