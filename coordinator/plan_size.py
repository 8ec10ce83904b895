"""What a study needs before it starts: lots for a power, or the power of a given design, as rows, text and a plot.

The arithmetic is in `shared.statistics.study_size`. Rows are frozen records; the table and the plot are made from rows
alone, and the same rows give the same bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from shared.errors import InputError
from shared.statistics.arrays import Tail
from shared.statistics.study_size import (
    CONCENTRATION,
    LIBRARY_ICC,
    SimulatedPower,
    StudySize,
    effective_cells,
    formula_power,
    lots_needed,
    observable_rho,
    simulated_power,
)


@dataclass(frozen=True, kw_only=True)
class SizeRow:
    """One design and what it can do.

    Attributes
    ----------
    rho : float
        The true correlation of share and potency.
    rho_observable : float
        What counting on ``cells`` cells a lot leaves of it.
    cells, effective_cells : float or None
        Cells a lot, and how many independent cells they count as; None: shares taken as known.
    lots, lots_per_site : int
        In all, and at the site that has most.
    power_formula : float
    simulated : SimulatedPower or None
        Where a simulation was asked for.
    """

    rho: float
    rho_observable: float
    clusters: int
    sites: int
    cells: int | None
    effective_cells: float | None
    lots: int
    lots_per_site: int
    power_formula: float
    simulated: SimulatedPower | None


@dataclass(frozen=True, kw_only=True)
class SizeQuestion:
    """What is asked: every combination of the listed values is a row.

    Attributes
    ----------
    rho, clusters, sites, cells : tuple
        ``cells`` may hold None: shares taken as known.
    lots : tuple of int
        Empty: the lots that ``power`` needs. Otherwise the power of these designs.
    runs : int
        Simulated studies for each row; 0: the formula alone.
    """

    rho: tuple[float, ...]
    clusters: tuple[int, ...]
    sites: tuple[int, ...] = (1,)
    cells: tuple[int | None, ...] = (None,)
    lots: tuple[int, ...] = ()
    power: float = 0.8
    alpha: float = 0.05
    tail: Tail = "two-sided"
    concentration: float = CONCENTRATION
    library_icc: float = LIBRARY_ICC
    runs: int = 0
    seed: int = 0


def size_rows(question: SizeQuestion, *, progress: Callable[[int, int], None] | None = None) -> tuple[SizeRow, ...]:
    """Return a row for every combination of the question's values, in their order.

    Parameters
    ----------
    progress : callable, optional
        Is told how many rows are done, of how many.

    Raises
    ------
    InputError
        If a value is outside its range.
    DesignError
        ``rho-too-small``: a rho that no feasible number of lots shows.
    """
    _check(question)
    combinations = list(
        product(question.rho, question.clusters, question.sites, question.cells, question.lots or (None,))
    )
    rows = []
    for done, (rho, clusters, sites, cells, lots) in enumerate(combinations, start=1):
        seen = observable_rho(rho, cells, concentration=question.concentration, icc=question.library_icc)
        needed = lots or lots_needed(
            seen, power=question.power, clusters=clusters, sites=sites, alpha=question.alpha, tail=question.tail
        )
        design = StudySize(lots=needed, sites=sites, clusters=clusters, tail=question.tail, alpha=question.alpha)
        rows.append(
            SizeRow(
                rho=rho,
                rho_observable=seen,
                clusters=clusters,
                sites=sites,
                cells=cells,
                effective_cells=None if cells is None else effective_cells(cells, question.library_icc),
                lots=needed,
                lots_per_site=max(design.lots_by_site),
                power_formula=formula_power(design, seen),
                simulated=simulated_power(design, seen, runs=question.runs, seed=question.seed)
                if question.runs
                else None,
            )
        )
        if progress is not None:
            progress(done, len(combinations))
    return tuple(rows)


SIZE_COLUMNS = (
    "rho",
    "observable",
    "clusters",
    "sites",
    "cells a lot",
    "N_eff",
    "lots",
    "a site",
    "power",
    "simulated",
)


def size_cells(row: SizeRow) -> tuple[str, ...]:
    """Return a row as text under `SIZE_COLUMNS`, rounded for reading."""
    simulated = row.simulated
    if simulated is None:
        tried = ""
    elif simulated.refused:
        tried = "cannot reach alpha"
    else:
        tried = f"{simulated.power:.2f} ± {simulated.error:.2f}"
    return (
        f"{row.rho:.2f}",
        f"{row.rho_observable:.2f}",
        str(row.clusters),
        str(row.sites),
        "" if row.cells is None else f"{row.cells:,}",
        "" if row.effective_cells is None else f"{row.effective_cells:,.0f}",
        str(row.lots),
        str(row.lots_per_site),
        f"{row.power_formula:.2f}",
        tried,
    )


def power_curve(
    rho: float, lots: Sequence[int], *, clusters: int, sites: int = 1, alpha: float = 0.05, tail: Tail = "two-sided"
) -> tuple[float, ...]:
    """Return the power by the formula at each number of lots."""
    return tuple(
        formula_power(StudySize(lots=n, sites=sites, clusters=clusters, tail=tail, alpha=alpha), rho) for n in lots
    )


def _check(question: SizeQuestion) -> None:
    if not question.rho or not question.clusters or not question.sites or not question.cells:
        raise InputError("expected at least one value each of rho, clusters, sites and cells")
    for name, values in (("lots", question.lots), ("cells", tuple(c for c in question.cells if c is not None))):
        if any(value < 1 for value in values):
            raise InputError(f"expected {name} above 0, found {min(values)}")
    if question.runs < 0:
        raise InputError(f"expected 0 runs or more, found {question.runs}")
    if not question.concentration > 0 or not 0 <= question.library_icc < 1:
        raise InputError(
            "expected a concentration above 0 and an intra-library correlation in 0..1, "
            f"found {question.concentration:g} and {question.library_icc:g}"
        )
