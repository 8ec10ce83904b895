"""The oracle: what one would compute who held all cells in one place, and how far the federated run is from it.

It goes its own way from the cells to the table: all lots of all sites concatenated into one AnnData, mapped at once,
quality limits applied by its own arithmetic, potency as the sites wrote it. Only the statistics are shared; they have
their own reference values.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import anndata
import numpy as np
from numpy.typing import NDArray

from coordinator.analysis import analyse, parameters_from_plan
from coordinator.study_data import AttributeTable, MarkerTable, PotencyReplicates, StudyData
from protocol.identifiers import SiteId
from protocol.plan import QualityLimits, StudyPlan
from protocol.pseudonyms import NameKind, pseudonym
from protocol.results import Parity, ResultSet
from shared.atlas.artefact import Atlas, from_bytes
from shared.comparability.findings import Compared, Findings
from shared.runtime.console import Advance
from simulations.keys import pseudonym_secret
from simulations.pooled_cells import LOT_COLUMN, concatenated
from simulations.pooled_markers import largest_marker_difference, pooled_markers
from simulations.pooled_morphology import morphology_tables
from simulations.study_source import StudySource
from site_agent.cells.attribute_rows import AttributeRow
from site_agent.cells.cell_mapping import CellMapping
from site_agent.cells.lots import Lot
from site_agent.cells.mapping import map_cells
from site_agent.cells.potency_rows import PotencyRows

_FARTHEST = 1e3  # a difference of logarithms that no two lots have


@dataclass(frozen=True, kw_only=True, eq=False)
class _PooledLot:
    site: SiteId
    lot: Lot
    name: str  # the pseudonym under which the coordinator knows the lot
    donor: str
    potency: tuple[PotencyRows, ...]
    attributes: tuple[AttributeRow, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Mapped:
    cells: anndata.AnnData
    mapping: CellMapping
    kept: NDArray[np.bool_]
    owner: NDArray[np.int64]

    def markers(self, plan: StudyPlan, numbers: list[int]) -> MarkerTable | None:
        labels = np.where(self.kept, self.mapping.label, -2).astype(np.int64)
        return _markers(plan, self.cells, labels, self.owner, numbers)


def _mapped(
    source: StudySource, lots: Sequence[_PooledLot], atlas: Atlas, advance: Advance, threads: int | None
) -> _Mapped:
    cells = concatenated([each.lot for each in lots])
    advance()
    mapping = map_cells(cells, atlas, threads=threads)
    advance()
    return _Mapped(
        cells=cells,
        mapping=mapping,
        kept=_kept(cells, source.plan.quality),
        owner=cells.obs[LOT_COLUMN].to_numpy(),
    )


def pooled_data(source: StudySource, advance: Advance, *, threads: int | None = None) -> StudyData:
    """Return the study's table computed from all cells in one place, lots under their pseudonyms."""
    lots = sorted(_pooled_lots(source), key=lambda each: (each.site, each.name))
    atlas = from_bytes(source.atlas)
    mapped = None if atlas.card.modality == "morphology" else _mapped(source, lots, atlas, advance, threads)
    if mapped is None:
        advance(2)
        tables = morphology_tables([each.lot for each in lots], atlas)
    else:
        tables = [mapped.mapping.counts(mapped.kept & (mapped.owner == number)) for number in range(len(lots))]
    big_enough = [
        counts.sum() + unassigned >= source.plan.quality.minimum_cells_per_lot for counts, unassigned in tables
    ]
    numbers = np.flatnonzero(big_enough).tolist()
    lots = [lot for lot, enough in zip(lots, big_enough, strict=True) if enough]
    tables = [table for table, enough in zip(tables, big_enough, strict=True) if enough]
    counts = np.array([table[0] for table in tables], dtype=np.int64)
    unassigned = np.array([table[1] for table in tables], dtype=np.int64)
    totals = counts.sum(axis=1) + unassigned
    return StudyData(
        lots=tuple(each.name for each in lots),
        sites=tuple(each.site for each in lots),
        donors=tuple(each.donor for each in lots),
        tissues=tuple(each.lot.tissue for each in lots),
        cohorts=tuple(each.lot.cohort for each in lots),
        clusters=source.plan.atlas.clusters,
        counts_low=counts,
        counts_high=counts,
        unassigned_low=unassigned,
        unassigned_high=unassigned,
        totals_low=totals,
        totals_high=totals,
        potency=_potency(source.plan, lots),
        attributes=_attributes(source.plan, lots),
        markers=None if mapped is None else mapped.markers(source.plan, numbers),
        arms=None if source.plan.modules.comparability is None else tuple(each.lot.arm for each in lots),
    )


def parity_with(pooled: StudyData, federated: StudyData, results: ResultSet, source: StudySource) -> Parity:
    """Return how far the federated table and results are from the pooled ones.

    Lots are matched by their pseudonyms; a lot that one of the two lacks counts with all its cells. Suppressed counts
    differ by as much as their interval leaves open.
    """
    plan = source.plan
    pooled_results = analyse(pooled, parameters_from_plan(plan, results.study.plan_sha256))
    ranked = [
        [(each.endpoint, each.cluster) for each in one] for one in (pooled_results.associations, results.associations)
    ]
    return Parity(
        max_abs_count_difference=_largest_count_difference(pooled, federated),
        max_abs_rho_difference=_largest_rho_difference(pooled_results, results),
        same_ranking=ranked[0] == ranked[1],
        max_relative_marker_difference=_largest_marker_difference(pooled, federated),
        max_abs_arms_difference=_largest_arms_difference(pooled_results, results),
        threshold_difference=_threshold_difference(pooled_results, results),
    )


def _threshold_difference(pooled: ResultSet, federated: ResultSet) -> float | None:
    """Return how far the thresholds of the specification are apart; all of the share where one side has none."""
    found = [None if each.specification is None else each.specification.threshold for each in (pooled, federated)]
    if found == [None, None]:
        return None
    return 1.0 if found[0] is None or found[1] is None else abs(found[0] - found[1])


def _pooled_lots(source: StudySource) -> list[_PooledLot]:
    pooled = []
    for site, site_lots in source.sites:
        secret = pseudonym_secret(source.plan.study, source.plan.analysis.seed, site)
        for lot in site_lots.lots:
            name, donor = (
                pseudonym(secret, study=source.plan.study, kind=kind, name=own)
                for kind, own in ((NameKind.LOT, lot.lot), (NameKind.DONOR, lot.donor))
            )
            pooled.append(
                _PooledLot(
                    site=site,
                    lot=lot,
                    name=name,
                    donor=donor,
                    potency=tuple(site_lots.potency[lot.lot]),
                    attributes=tuple(site_lots.attributes.get(lot.lot, ())),
                )
            )
    return pooled


def _kept(cells: anndata.AnnData, limits: QualityLimits) -> NDArray[np.bool_]:
    counts = np.asarray(cells.X.sum(axis=1)).ravel()
    genes = np.asarray((cells.X > 0).sum(axis=1)).ravel()
    kept = (counts > 0) & (counts >= limits.minimum_counts_per_cell) & (genes >= limits.minimum_genes_per_cell)
    if limits.maximum_mitochondrial_share < 1:
        mitochondrial = cells.var_names.str.upper().str.startswith("MT-")
        share = np.asarray(cells.X[:, mitochondrial].sum(axis=1)).ravel() / np.maximum(counts, 1)
        kept &= share <= limits.maximum_mitochondrial_share
    return np.asarray(kept, dtype=np.bool_)


def _potency(plan: StudyPlan, lots: Sequence[_PooledLot]) -> dict[str, PotencyReplicates]:
    return {
        endpoint.endpoint: PotencyReplicates(
            runs=tuple(
                tuple(
                    (rows.run, rows.replicates, rows.reference_replicates)
                    for rows in sorted(pooled.potency, key=lambda rows: rows.run)
                    if rows.endpoint == endpoint.endpoint
                )
                for pooled in lots
            )
        )
        for endpoint in plan.endpoints
    }


def _attributes(plan: StudyPlan, lots: Sequence[_PooledLot]) -> AttributeTable | None:
    asked = plan.modules.attributes
    if asked is None:
        return None
    names = tuple(each.attribute for each in asked.attributes)
    found = [{each.attribute: each.value for each in lot.attributes} for lot in lots]
    return AttributeTable(
        names=names,
        values=np.array(
            [[np.nan if (value := row.get(name)) is None else value for name in names] for row in found],
            dtype=np.float64,
        ).reshape(len(lots), len(names)),
        below=np.array([[name in row and row[name] is None for name in names] for row in found], dtype=np.bool_),
    )


def _markers(
    plan: StudyPlan, cells: anndata.AnnData, states: NDArray[np.int64], owner: NDArray[np.int64], lots: Sequence[int]
) -> MarkerTable | None:
    if plan.modules.markers is None:
        return None
    return pooled_markers(cells, plan.modules.markers, states, owner, lots, plan.atlas.clusters)


def _largest_marker_difference(pooled: StudyData, federated: StudyData) -> float | None:
    if pooled.markers is None or federated.markers is None:
        return None
    mine = {name: row for row, name in enumerate(zip(pooled.sites, pooled.lots, strict=True))}
    names = enumerate(zip(federated.sites, federated.lots, strict=True))
    rows = [(mine[name], row) for row, name in names if name in mine]
    return largest_marker_difference(pooled.markers, federated.markers, rows)


def _largest_count_difference(pooled: StudyData, federated: StudyData) -> int:
    tables = [
        {
            (site, lot): np.append(bounds[row], unassigned[row])
            for row, (site, lot) in enumerate(zip(data.sites, data.lots, strict=True))
        }
        for data, bounds, unassigned in (
            (pooled, pooled.counts_low, pooled.unassigned_low),
            (federated, federated.counts_low, federated.unassigned_low),
            (federated, federated.counts_high, federated.unassigned_high),
        )
    ]
    zero = np.zeros(len(pooled.clusters) + 1, dtype=np.int64)
    keys = set(tables[0]) | set(tables[1])
    return max(
        (int(np.abs(tables[0].get(key, zero) - table.get(key, zero)).max()) for key in keys for table in tables[1:]),
        default=0,
    )


def _largest_rho_difference(pooled: ResultSet, federated: ResultSet) -> float:
    ours, theirs = _every_rho(pooled), _every_rho(federated)
    largest = 0.0
    for name in {*ours, *theirs}:
        one, other = ours.get(name), theirs.get(name)
        if one is None and other is None:
            continue
        # rho on one side only is the largest difference that there can be
        largest = max(largest, 2.0 if one is None or other is None else abs(one - other))
    return largest


def _every_rho(results: ResultSet) -> dict[tuple[str, str, str], float | None]:
    found: dict[tuple[str, str, str], float | None] = {
        ("cluster", each.endpoint, each.cluster): each.rho for each in results.associations
    }
    if results.attributes is not None:
        found |= {("attribute", each.endpoint, each.attribute): each.rho for each in results.attributes.associations}
    return found


def _largest_arms_difference(pooled: ResultSet, federated: ResultSet) -> float | None:
    if pooled.comparability is None or federated.comparability is None:
        return None
    ours, theirs = _compared(pooled.comparability.findings), _compared(federated.comparability.findings)
    if len(ours) != len(theirs):
        return _FARTHEST
    return max(
        (
            _FARTHEST if (one is None) != (other is None) else abs((one or 0.0) - (other or 0.0))
            for mine, their in zip(ours, theirs, strict=True)
            for one, other in ((mine.low, their.low), (mine.high, their.high))
        ),
        default=0.0,
    )


def _compared(findings: Findings) -> tuple[Compared, ...]:
    return (*((findings.potency,) if findings.potency else ()), *findings.parts)
