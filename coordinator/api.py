"""The analysis for a notebook: data frames in, a result with a tidy table out.

>>> import pandas as pd
>>> counts = pd.DataFrame(
...     {"lot": list("abcdef"), "site": ["s1"] * 6, "driver": [5, 9, 14, 21, 26, 33], "rest": [95, 91, 86, 79, 74, 67]}
... )
>>> potency = pd.Series([1.0, 1.4, 2.1, 3.3, 4.0, 5.2], index=list("abcdef"), name="VEGF")
>>> answer = study_association(counts, potency, unit="pg/mL", seed=1)
>>> answer.table[["cluster", "rho", "p_value"]].round(4).values.tolist()
[['driver', 1.0, 0.0028], ['rest', -1.0, 0.0028]]
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from pydantic import ValidationError

from coordinator.analysis import AnalysisParameters, analyse, study_card
from coordinator.attribute_tables import attributes_of_table
from coordinator.frames import StudyTables, study_tables
from coordinator.units import doubled_cells, rows_of_cohorts, units_of
from protocol.modules.asked import Modules
from protocol.modules.comparability import ComparabilityPlan
from protocol.modules.specification import SpecificationPlan
from protocol.plan import Alternative, AnalysisPlan, CohortRole, Endpoint, Normalisation, Strata, ValidationPlan
from protocol.results import ResultSet
from shared.errors import InputError
from shared.statistics.composition import shares as shares_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS_OF_A_FIGURE = 3
_MOST_LEGEND_SITES = 12


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of process, and by how much potency may differ for lots to count as alike.

    Without a ``justification`` the margin is a placeholder and said to be one. The potency is that of the first assay.
    """

    what: str
    margin_fold: float = 1.5
    justification: str | None = None

    def plan(self, endpoint: Endpoint) -> ComparabilityPlan:
        """Return the question by the potency of ``endpoint``.

        Raises
        ------
        InputError
            If the change is not told, or the margin is none.
        """
        try:
            return ComparabilityPlan(
                endpoint=endpoint.endpoint,
                change=self.what,
                margin_fold=self.margin_fold,
                justification=self.justification,
            )
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            raise InputError(
                f"a change of process: {problem['loc'][0]}: {problem['msg']}",
                hint="tell the change in words, and give a margin above 1 and up to 10",
            ) from None


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyAnswer:
    """What an analysis says.

    Attributes
    ----------
    results : ResultSet
        Everything, as ``results.json`` has it.
    tables : StudyTables
        What went in.
    """

    results: ResultSet
    tables: StudyTables

    def __str__(self) -> str:
        return "\n".join(verdict.sentence for verdict in self.results.verdicts)

    @property
    def table(self) -> pd.DataFrame:
        """One row for each endpoint and cluster, best first; the sensitivity analyses are its last columns."""
        rows = []
        for row in self.results.associations:
            flat = row.model_dump(mode="json", exclude={"sensitivity"})
            for name, value in row.sensitivity.model_dump(mode="json").items():
                if name.startswith("leave_one"):
                    for end in ("low", "high", "sign_holds"):
                        flat[f"{name}_{end}"] = None if value is None else value[end]
                else:
                    flat[name] = value
            rows.append(flat)
        return pd.DataFrame(rows)

    @property
    def validation(self) -> pd.DataFrame:
        """One row for each discovered cluster, cohort and tissue; empty without a validation cohort."""
        return pd.DataFrame([row.model_dump(mode="json") for row in self.results.validation])

    @property
    def shares(self) -> pd.DataFrame:
        """The share of each lot in each cluster, unassigned last; index (site, lot)."""
        data = self.tables.data
        index = pd.MultiIndex.from_arrays([data.sites, data.lots], names=["site", "lot"])
        return pd.DataFrame(shares_of(*doubled_cells(data)), index=index, columns=[*data.clusters, "unassigned"])

    def plot(self, endpoint: str | None = None, *, most: int = 6) -> "Figure":
        """Return a figure: share against potency for the ``most`` best clusters of an endpoint, coloured by site.

        A point is a unit of analysis (a donor). Needs matplotlib.

        Raises
        ------
        InputError
            If the endpoint is not one of the study's, or it was refused and there is nothing to draw.
        """
        # matplotlib takes a second to import and only a plot needs it
        from matplotlib.figure import Figure  # noqa: PLC0415

        chosen = next((e for e in self.tables.endpoints if endpoint in {None, e.endpoint, e.assay}), None)
        if chosen is None:
            names = ", ".join(e.endpoint for e in self.tables.endpoints)
            raise InputError(f"expected an endpoint of the study ({names}), found {endpoint}")
        best = [row for row in self.results.associations if row.endpoint == chosen.endpoint][:most]
        if not best:
            raise InputError(f"expected an answer on {chosen.assay}, found a refusal: there is nothing to draw")
        data = self.tables.data
        rows, _ = rows_of_cohorts(data, [c for c in self.tables.cohorts if c.role is CohortRole.DISCOVERY])
        family = [data.clusters.index(row.cluster) for row in best]
        units, _ = units_of(data, rows, chosen, self.results.study.strata, family)
        across = min(_COLUMNS_OF_A_FIGURE, len(best))
        down = -(-len(best) // across)
        figure = Figure(figsize=(3.4 * across, 3.1 * down), layout="constrained")
        sites = sorted(set(units.sites))
        relative = chosen.normalisation is Normalisation.RUN_REFERENCE
        scale = "ln of the ratio to the reference" if relative else f"ln {chosen.unit}"
        for k, row in enumerate(best):
            axes = figure.add_subplot(down, across, k + 1)
            for number, site in enumerate(sites):
                here = np.array([name == site for name in units.sites])
                axes.scatter(
                    100 * units.shares[here, k], units.potency[here], s=26, color=f"C{number % 10}", label=site
                )
            rho = "not defined" if row.rho is None else f"{row.rho:.2f}"
            axes.set_title(f"{row.cluster}\nrho {rho}, adjusted p {row.p_adjusted:.2g}", fontsize=9)
            axes.set_xlabel("share of the lot's cells [%]", fontsize=8)
            axes.set_ylabel(f"{chosen.assay} [{scale}]", fontsize=8)
        if 1 < len(sites) <= _MOST_LEGEND_SITES:
            figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper", title="site")
        return figure


def study_association(
    counts: pd.DataFrame,
    potency: pd.DataFrame | pd.Series,
    *,
    unit: str | None = None,
    clusters: tuple[str, ...] = (),
    strata: Literal["site-and-tissue", "site", "tissue", "none"] = "site-and-tissue",
    alternative: Literal["two-sided", "greater", "less"] = "two-sided",
    alpha: float = 0.05,
    draws: int = 9_999,
    seed: int = 0,
    shares: bool = False,
    small_count_threshold: int | None = None,
    validation: ValidationPlan | None = None,
    question: str = "Which cluster's share follows potency?",
    attributes: pd.DataFrame | None = None,
    change: Change | None = None,
    limit: float | None = None,
    limit_cluster: str | None = None,
) -> StudyAnswer:
    """Return which cluster's share follows potency over the lots of two tables.

    Parameters
    ----------
    counts : DataFrame
        One row a lot: ``lot`` (or the index), ``site`` (absent: one site), optionally ``donor``, ``tissue``, ``cohort``
        and ``cells``; every other column a cluster.
    potency : DataFrame or Series
        One row a well: ``lot``, ``assay``, ``value``, ``unit``, optionally ``replicate``, ``run``, ``is_reference``. Or
        one value a lot: a series with the lots as index and the assay as name.
    unit : str, optional
        The unit of a series.
    clusters : tuple of str
        The family that is tested; empty: all.
    shares : bool
        The clusters' columns hold shares, not cells.
    small_count_threshold : int, optional
        Counts written as minus this number are hidden.
    seed : int
        Of the permutations; the same seed gives the same answer.
    attributes : DataFrame, optional
        Lot-level attributes, one row for each lot and attribute (:mod:`coordinator.attribute_tables`); what they say is
        ``results.attributes``.
    change : Change, optional
        The change of process that the column ``arm`` of ``counts`` speaks of; the comparison of the lots before and
        after it is ``results.comparability``.
    limit : float, optional
        The potency (of the first assay, as it is analysed) that a released lot must reach; the share that predicts it
        is ``results.specification``.
    limit_cluster : str, optional
        With ``limit``: the cluster whose share it is; the lead that was found where it is not given.

    Raises
    ------
    ProblemsError
        With all that is wrong in the tables.
    InputError
        If ``clusters`` names one that the tables do not have.
    """
    tables = study_tables(
        _with_lot_and_site(counts), _wells(potency, unit), shares=shares, small_count_threshold=small_count_threshold
    )
    analysis = AnalysisPlan(
        clusters=clusters,
        alternative=Alternative(alternative),
        strata=Strata(strata),
        alpha=alpha,
        draws=draws,
        seed=seed,
        validation=validation or ValidationPlan(),
    )
    parameters = parameters_from_tables(tables, analysis, question=question, change=change)
    if limit is not None:
        parameters = with_limit(parameters, limit, limit_cluster, tables.data.clusters)
    if attributes is not None:
        declared, values = attributes_of_table(attributes, tables.data.lots)
        tables = replace(tables, data=replace(tables.data, attributes=values))
        parameters = replace(parameters, modules=parameters.modules.model_copy(update={"attributes": declared}))
    return StudyAnswer(results=analyse(tables.data, parameters), tables=tables)


def parameters_from_tables(
    tables: StudyTables,
    analysis: AnalysisPlan,
    *,
    study: str = "tables",
    title: str = "Tables analysed without a signed study",
    question: str = "Which cluster's share follows potency?",
    change: Change | None = None,
) -> AnalysisParameters:
    """Return the analysis of plain tables: without a signed plan or an atlas, and the results say so.

    Raises
    ------
    InputError
        If there is a change, and the tables do not say which lots were made before and after it.
    """
    if change is not None and not any(tables.data.arms or ()):
        raise InputError(
            "counts: expected a column arm, found none with before or after in it",
            hint="say of each lot whether it was made before or after the change; leave it blank for neither",
        )
    return AnalysisParameters(
        study=study_card(study=study, title=title, question=question, plan_sha256=None, atlas=None, analysis=analysis),
        endpoints=tables.endpoints,
        cohorts=tables.cohorts,
        analysis=analysis,
        modules=Modules() if change is None else Modules(comparability=change.plan(tables.endpoints[0])),
    )


def with_limit(
    parameters: AnalysisParameters, limit: float, cluster: str | None, clusters: tuple[str, ...]
) -> AnalysisParameters:
    """Return an analysis that derives a specification, too: which share predicts a potency of at least ``limit``.

    Raises
    ------
    InputError
        If the tables have no such cluster, or the limit is not above 0.
    """
    if cluster is not None and cluster not in clusters:
        raise InputError(f"the limit's cluster: expected one of {', '.join(clusters)}, found {cluster}")
    if not limit > 0:
        raise InputError(f"the limit of potency: expected a number above 0, found {limit:g}")
    asked = SpecificationPlan(endpoint=parameters.endpoints[0].endpoint, limit=limit, cluster=cluster)
    return replace(parameters, modules=parameters.modules.model_copy(update={"specification": asked}))


def _with_lot_and_site(counts: pd.DataFrame) -> pd.DataFrame:
    frame = counts if "lot" in counts.columns else counts.rename_axis("lot").reset_index()
    return frame if "site" in frame.columns else frame.assign(site="one-site")


def _wells(potency: pd.DataFrame | pd.Series, unit: str | None) -> pd.DataFrame:
    if isinstance(potency, pd.DataFrame):
        if unit is not None:
            raise InputError("expected the unit in the potency table's own column, found it as an argument too")
        return potency
    if unit is None:
        raise InputError("expected the unit of the potency values, found none", hint="give unit=, such as 'pg/mL'")
    return pd.DataFrame(
        {
            "lot": potency.index,
            "assay": "potency" if potency.name is None else str(potency.name),
            "value": potency.to_numpy(),
            "unit": unit,
        }
    )
