"""The comparison at the site: its lots mapped, compared by the same statistics as in a study, and shown one by one.

Counts are exact here, since nothing leaves. A lot that the quality limits would withhold from a study is left out here
too, with its reason. Where the site has no lot before the change, the consortium's ranges stand in for them. Those may
come from counts with noise: that is said, and a cluster that is lost in it is then shown neither alike nor different.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log

from protocol.modules.comparability import Arm
from shared.comparability.assessment import assess
from shared.comparability.findings import Findings
from shared.comparability.lots_drawing import ShownLot
from shared.comparability.method import method_checks
from shared.comparability.shown import LotLook, shown_lots
from shared.comparability.units import ComparedLot, LotEvidence, joined, standing_in, units_of_lots
from shared.statistics.potency import Run, log_potency, log_relative_potency
from site_agent.cells.lot_mapping import LotMapping, map_site_lots
from site_agent.cells.lots import Lot
from site_agent.cells.potency_rows import PotencyRows
from site_agent.comparing.given import Consortium, Given

_CONSORTIUM = "consortium"


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A lot that is not compared, and why."""

    lot: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class SiteComparison:
    """What the site finds, and its own lots."""

    findings: Findings
    lots: tuple[ShownLot, ...]
    left_out: tuple[LeftOut, ...]


def compare_site(given: Given, *, done: Callable[[Lot], None], threads: int | None = None) -> SiteComparison:
    """Map every lot of the site and compare those before the change with those after it.

    Raises
    ------
    InputError
        A file cannot be read or mapped.
    """
    compared: list[ComparedLot] = []
    evidence: list[LotEvidence] = []
    names: list[str] = []
    left_out: list[LeftOut] = []
    own_before = any(lot.arm is Arm.BEFORE for lot in given.site.lots)
    stands_in = not own_before and given.consortium is not None
    for lot, mapping in map_site_lots(given.site, given.atlas, given.limits, threads=threads):
        done(lot)
        rows = [row for row in given.site.potency[lot.lot] if row.endpoint == given.endpoint]
        reason = _why_left_out(lot, mapping, rows, given)
        if reason is not None:
            left_out.append(LeftOut(lot=lot.lot, reason=reason))
            continue
        stratum = _CONSORTIUM if stands_in else lot.tissue
        compared.append(_compared(lot, mapping, rows, stratum, relative=given.relative))
        evidence.append(_evidence(lot, mapping, rows, stratum))
        names.append(lot.lot)
    clusters = given.atlas.clusters
    units = units_of_lots(compared, len(clusters))
    consortium = None if given.consortium is None else given.consortium.ranges
    if stands_in and consortium is not None:
        reference = standing_in(consortium.potency, consortium.parts, consortium.n, stratum=_CONSORTIUM)
        units = joined(reference, units)
    findings = assess(
        units,
        clusters,
        method_checks(evidence, given.criteria),
        given.criteria,
        consortium=consortium,
        own_before=not stands_in,
        lost_in_noise=given.consortium.lost_in_noise if given.consortium is not None and stands_in else (),
    )
    findings = replace(findings, notes=(*findings.notes, *_noise_in_ranges(given.consortium)))
    looks = {number: LotLook(label=name, site="this site", style=0, number=number) for number, name in enumerate(names)}
    return SiteComparison(
        findings=findings, lots=shown_lots(compared, units, looks, len(clusters)), left_out=tuple(left_out)
    )


def _noise_in_ranges(consortium: Consortium | None) -> tuple[str, ...]:
    if consortium is None or not consortium.ranges.noised:
        return ()
    note = (
        f"The ranges of {consortium.study} come from lots of which some bear noise on their counts, as their sites "
        "asked; the lots of this site are counted exactly. Noise makes the clusters' ranges wider: a lot lies within "
        "them more easily than within ranges of exact counts."
    )
    if consortium.lost_in_noise:
        note += (
            f" For {', '.join(consortium.lost_in_noise)} it is more than a quarter of a lot's cells: the middle of the "
            "range may be off too."
        )
    return (note,)


def _why_left_out(lot: Lot, mapping: LotMapping, rows: list[PotencyRows], given: Given) -> str | None:
    if lot.arm is None:
        return "lots.csv gives it no arm"
    withheld = mapping.withheld(given.limits)
    if withheld:
        return ", ".join(withheld)
    if not rows:
        return f"no value of {given.endpoint}"
    if given.relative and not all(row.reference_replicates for row in rows):
        return "a run without the reference standard"
    return None


def _compared(lot: Lot, mapping: LotMapping, rows: list[PotencyRows], stratum: str, *, relative: bool) -> ComparedLot:
    runs = [Run(replicates=row.replicates, reference=row.reference_replicates) for row in rows]
    counts = tuple(int(count) for count in mapping.counts)
    return ComparedLot(
        after=lot.arm is Arm.AFTER,
        stratum=stratum,
        donor=lot.donor,
        potency=log_relative_potency(runs) if relative else log_potency(runs),
        cells_low=counts,
        cells_high=counts,
    )


def _evidence(lot: Lot, mapping: LotMapping, rows: list[PotencyRows], stratum: str) -> LotEvidence:
    return LotEvidence(
        after=lot.arm is Arm.AFTER,
        stratum=stratum,
        replicates=tuple(tuple(map(log, row.replicates)) for row in rows),
        references=tuple(tuple(map(log, row.reference_replicates)) for row in rows),
        gene_coverage=mapping.gene_coverage,
        unassigned_share=mapping.unassigned / mapping.cells_after_qc,
    )
