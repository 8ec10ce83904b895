"""A report as a table that a steward reads: field by field, as it would leave and as it left before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from protocol.identifiers import Pseudonym
from protocol.modules.markers import LotMarkers
from protocol.policy import EffectiveRules
from protocol.report import Count, LotReport
from site_agent.release.withheld_clusters import is_magnitude


@dataclass(frozen=True, kw_only=True)
class Line:
    """One value that would leave: what it is, as it would leave, and as it left the last time ("" where it did not)."""

    field: str
    value: str
    before: str = ""
    note: str = ""

    @property
    def changed(self) -> bool:
        """Whether it left before, and differently."""
        return self.before not in {"", self.value}


def shown(count: Count) -> str:
    """Return a count for people: exact, or its ends."""
    return f"{count.low:,}" if count.is_exact else f"{count.low:,} to {count.high:,}"


def report_lines(
    report: LotReport,
    *,
    clusters: Sequence[str] = (),
    names: Mapping[Pseudonym, str] | None = None,
    before: LotReport | None = None,
    rules: EffectiveRules | None = None,
) -> tuple[Line, ...]:
    """Return a report as a table, field by field; every field of the report is there, but padding."""
    known = names or {}
    new, old = _fields(report, clusters), {} if before is None else dict(_fields(before, clusters))
    notes = {
        "lot": known.get(report.lot, ""),
        "donor": known.get(report.donor, ""),
        **{f"cells in {_cluster(clusters, i)}": _note(count, rules) for i, count in enumerate(report.counts)},
        "cells in no cluster": _note(report.unassigned, rules),
        **_units_of_attributes(rules),
    }
    own = {name: f"your name: {notes[name]}" for name in ("lot", "donor") if notes[name]}
    return tuple(
        Line(field=field, value=value, before=old.get(field, ""), note=own.get(field, notes.get(field, "")))
        for field, value in new
    )


def _fields(report: LotReport, clusters: Sequence[str]) -> list[tuple[str, str]]:
    quality, disclosure = report.quality, report.disclosure
    share = quality.median_mitochondrial_share
    rows = [
        ("study", report.study),
        ("site", report.site),
        ("lot", report.lot),
        ("donor", report.donor),
        ("version", str(report.version)),
        ("cohort", report.cohort),
        ("tissue", report.tissue),
        ("product", report.product),
        ("passage", "withheld" if report.passage is None else str(report.passage)),
        ("condition", report.condition),
        ("period", report.period or "not told"),
        ("cells after QC", shown(report.cells_after_qc)),
        *((f"cells in {_cluster(clusters, i)}", shown(count)) for i, count in enumerate(report.counts)),
        ("cells in no cluster", shown(report.unassigned)),
        ("median counts per cell", _told(quality.median_counts)),
        ("median genes per cell", _told(quality.median_genes)),
        ("median mitochondrial share", _told(share)),
        ("share of the atlas's genes found", f"{quality.gene_coverage:g}"),
    ]
    for number, series in enumerate(report.potency, start=1):
        name = f"potency {number}: {series.endpoint}"
        rows.append((f"{name}, {series.assay}, {series.unit}", ", ".join(f"{value:g}" for value in series.replicates)))
        if series.reference_replicates:
            references = ", ".join(f"{value:g}" for value in series.reference_replicates)
            rows.append((f"{name}, reference standard, {series.unit}", references))
        rows.append((f"{name}, run", series.run))
    if report.arm is not None:
        rows.append(("made before or after the change", report.arm.value))
    rows += [
        (f"attribute {each.attribute}", "below detection" if each.value is None else repr(each.value))
        for each in report.attributes
    ]
    rows += _marker_rows(report.markers, clusters)
    return [
        *rows,
        ("plan", report.plan_sha256),
        ("atlas", report.atlas_sha256),
        ("software", f"crosslot {report.software.crosslot}, mapper {report.software.mapper}"),
        ("profile asked for", disclosure.requested.value),
        ("profile applied", disclosure.applied.value),
        ("counts hidden below", str(disclosure.small_count_threshold)),
        ("noise on counts", "none" if disclosure.noise is None else f"epsilon {disclosure.noise.epsilon:g}"),
        ("policy", disclosure.policy_sha256),
    ]


def _marker_rows(markers: LotMarkers | None, clusters: Sequence[str]) -> list[tuple[str, str]]:
    """Return what of each cluster's moments leaves, in one row: the numbers themselves stand in the exact bytes."""
    if markers is None:
        return []
    moments = [
        (
            f"moments in {_cluster(clusters, each.cluster)}",
            (
                f"{sum(value is not None for value in each.mean)} genes, of {each.cells:,} cells; "
                f"{len(each.few)} left out since few cells express them"
            ),
        )
        for each in markers.clusters
        if each.cells
    ]
    high = [
        (
            (
                f"cells with {each.gene} at least {each.threshold:g} in "
                f"{'the lot' if each.cluster is None else _cluster(clusters, each.cluster)}"
            ),
            shown(Count(low=each.low, high=each.high)),
        )
        for each in markers.high_cells
    ]
    return [*(moments or [("moments", "of no cluster")]), *high]


def _units_of_attributes(rules: EffectiveRules | None) -> dict[str, str]:
    asked = None if rules is None else rules.plan.modules.attributes
    return {} if asked is None else {f"attribute {each.attribute}": f"in {each.unit}" for each in asked.attributes}


def _told(value: float | None) -> str:
    return "not told" if value is None else f"{value:g}"


def _cluster(clusters: Sequence[str], position: int) -> str:
    return clusters[position] if position < len(clusters) else f"cluster {position}"


def _note(count: Count, rules: EffectiveRules | None) -> str:
    if count.is_exact:
        return "" if rules is None or rules.noise is None else "with noise"
    if rules is not None and count.low >= rules.small_count.value and rules.count_step == count.high - count.low + 1:
        return "in steps"
    if rules is not None and is_magnitude(count, rules) and count.high >= max(rules.small_count.value, 1):
        return "withheld: order of magnitude"
    return "hidden: a small count"
