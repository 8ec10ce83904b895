"""From a mapped lot to its report: everything that a report holds is made here, and nothing else of the lot goes on.

Counts are hidden before anything is rounded or padded. Names become pseudonyms, potency takes the assay's declared
precision, quality takes the precision below. Last, spaces pad the report, so that its size does not depend on the
number of cells (SPEC 4.6): it is the size, up to the next multiple of 256 bytes, that the report would have with every
count and every quality number at its widest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from pydantic import ValidationError

from protocol.codec import canonical_json, encode
from protocol.identifiers import EndpointId, Pseudonym, Sha256, SiteId
from protocol.modules.comparability import Arm
from protocol.plan import Endpoint
from protocol.policy import EffectiveRules, OptionalField
from protocol.pseudonyms import NameKind, keyed_fingerprint, pseudonym
from protocol.report import Count, CountNoise, Disclosure, LotQuality, LotReport, PotencySeries, Software
from shared.errors import InputError, InternalError
from shared.statistics.arrays import IntArray
from shared.statistics.moments import Moments
from site_agent.release.attribute_rules import AttributeMeasurement, attribute_values
from site_agent.release.decisions import Provenance
from site_agent.release.marker_rules import released_markers, widest_markers
from site_agent.release.suppression import hide_small_counts

MEDIAN_DECIMALS: Final = 1
SHARE_DECIMALS: Final = 3
PADDING_BYTES: Final = 256

_WIDEST_COUNT: Final = Count(low=10**9 - 1, high=10**9)
# The smallest normal double has the longest text of all that are not negative: 23 characters.
_WIDEST_NUMBER: Final = 2.2250738585072014e-308


@dataclass(frozen=True, kw_only=True)
class MappedLot:
    """What the mapper found in one lot, exactly: it stays at the site.

    Attributes
    ----------
    counts
        Cells of each cluster, in the atlas's order, ``(n_clusters,)``.
    unassigned
        Cells of no cluster.
    cells_after_qc
        All cells that passed QC: the sum of the above.
    median_counts, median_genes, median_mitochondrial_share
        Medians over the cells after QC; the share is in 0..1, None where the genes do not tell it.
        Counts and genes are None for morphology.
    gene_coverage
        The share of the atlas's genes that the lot has, 0..1.
    median_features
        Of morphology: the median of what a cell's features sum to. It tells the cells again and never leaves.
    moments, high_cells
        Of the plan's genes, one group a cluster, and cells at or above the plan's thresholds, ``(n_clusters + 1, G)``;
        None where no module asks for them.
    """

    counts: tuple[int, ...]
    unassigned: int
    cells_after_qc: int
    median_counts: float | None
    median_genes: float | None
    median_mitochondrial_share: float | None
    gene_coverage: float
    median_features: float | None = None
    moments: Moments | None = field(default=None, compare=False)
    high_cells: IntArray | None = field(default=None, compare=False)


class LotDescription(Protocol):
    """How the site describes a lot: what ``summarise`` reads of it."""

    @property
    def lot(self) -> str:
        """The lot's own name."""

    @property
    def donor(self) -> str:
        """The donor's own name."""

    @property
    def cohort(self) -> str:
        """The plan's cohort."""

    @property
    def tissue(self) -> str:
        """The tissue of origin."""

    @property
    def product(self) -> str:
        """The product."""

    @property
    def passage(self) -> int | None:
        """The passage, where there is one."""

    @property
    def condition(self) -> str:
        """The condition of culture."""

    @property
    def period(self) -> str | None:
        """The quarter, where it is known."""

    @property
    def arm(self) -> Arm | None:
        """The side of the change of process, where the lot is on one."""


class PotencyMeasurement(Protocol):
    """One run's replicates of one endpoint, as the site's table has them."""

    @property
    def endpoint(self) -> str:
        """The plan's endpoint."""

    @property
    def assay(self) -> str:
        """The assay."""

    @property
    def unit(self) -> str:
        """The unit of the values."""

    @property
    def run(self) -> str:
        """The run's own label."""

    @property
    def replicates(self) -> tuple[float, ...]:
        """The lot's values, at least one."""

    @property
    def reference_replicates(self) -> tuple[float, ...]:
        """The reference standard's values in the same run."""


def summarise(
    mapped: MappedLot,
    lot: LotDescription,
    potency: Sequence[PotencyMeasurement],
    *,
    rules: EffectiveRules,
    secret: bytes,
    software: Software,
    version: int = 1,
    attributes: Sequence[AttributeMeasurement] = (),
) -> LotReport:
    """Return the report of one lot as the rules let it leave; it has yet to pass the gate.

    Parameters
    ----------
    mapped
        What the mapper found; where the rules ask for noise, with the counts of the lot's draw.
    lot, potency
        What the site says of the lot.
    rules
        The stricter of the site's policy and the study's wishes.
    secret
        The site's pseudonym secret.
    software
        Versions of what computed the report.
    version
        1 for the first report of the lot in the study; a changed report takes the next.
    attributes
        The lot's attributes as the site measured them; those that the plan asks for leave.

    Raises
    ------
    InputError
        If a potency cannot be reported: an endpoint that the plan does not have, or a value that is zero at the
        assay's precision.
    InternalError
        If the mapper's counts do not sum to its cells after QC, or are not one for each cluster.
    """
    _check_consistent(mapped, rules)
    table = hide_small_counts(mapped.counts, mapped.unassigned, rules)

    def named(kind: NameKind, name: str) -> Pseudonym:
        return pseudonym(secret, study=rules.plan.study, kind=kind, name=name)

    try:
        report = LotReport(
            study=rules.plan.study,
            plan_sha256=rules.plan_sha256,
            atlas_sha256=rules.plan.atlas.sha256,
            site=SiteId(rules.site),
            lot=named(NameKind.LOT, lot.lot),
            donor=named(NameKind.DONOR, lot.donor),
            version=version,
            cohort=lot.cohort,
            tissue=lot.tissue,
            product=lot.product,
            passage=None if OptionalField.PASSAGE in rules.withheld else lot.passage,
            condition=lot.condition,
            period=None if OptionalField.PERIOD in rules.withheld else lot.period,
            cells_after_qc=table.total,
            counts=table.counts,
            unassigned=table.unassigned,
            quality=_quality(mapped, rules),
            potency=tuple(_series(rows, rules, named(NameKind.RUN, rows.run)) for rows in potency),
            arm=None if rules.plan.modules.comparability is None else lot.arm,
            attributes=attribute_values(attributes, rules.plan.modules.attributes),
            markers=(
                None
                if rules.plan.modules.markers is None or rules.noise is not None  # noise hides what moments tell
                else released_markers(mapped.moments, mapped.high_cells, table, rules)
            ),
            software=software,
            disclosure=Disclosure(
                requested=rules.requested,
                applied=rules.applied,
                small_count_threshold=rules.small_count.value,
                policy_sha256=rules.policy_sha256,
                noise=None if rules.noise is None else CountNoise(epsilon=rules.noise.epsilon_per_release),
            ),
        )
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, problem["loc"]))
        raise InputError(f"lot {lot.lot}: {place}: {problem['msg']}", hint="correct the lot's row") from None
    return pad(report)


def provenance_of(mapped: MappedLot, lot: LotDescription, secret: bytes) -> Provenance:
    """Return what a report was made of, as the site knows it again; it stays at the site.

    The lot is told by its own name, under any study. The cells are told by what does not depend on the atlas: their
    exact number after QC and their exact medians. Both are keyed, since who guesses a name or a hidden total could
    try it on a plain hash.

    Parameters
    ----------
    mapped
        What the mapper found.
    lot
        What the site says of the lot.
    secret
        The site's pseudonym secret.
    """
    medians = [mapped.median_counts, mapped.median_genes, mapped.median_mitochondrial_share]
    if mapped.median_features is not None:
        medians.append(mapped.median_features)
    return Provenance(
        lot_sha256=lot_fingerprint(lot.lot, secret),
        cells_sha256=keyed_fingerprint(secret, canonical_json(["cells", mapped.cells_after_qc, *medians])),
    )


def lot_fingerprint(lot: str, secret: bytes) -> Sha256:
    """Return how the site knows a lot again by its own name, in any study."""
    return keyed_fingerprint(secret, canonical_json(["lot", lot]))


def pad(report: LotReport) -> LotReport:
    """Return the report with as many spaces as make its size independent of the number of cells (SPEC 4.6)."""
    bare = report.model_copy(update={"padding": ""})
    return bare.model_copy(update={"padding": " " * (padded_size(bare) - len(encode(bare)))})


def padded_size(report: LotReport) -> int:
    """Return the one size of a report's payload, bytes, whatever its counts and its quality (SPEC 4.6)."""
    widest = report.model_copy(
        update={
            "padding": "",
            "counts": (_WIDEST_COUNT,) * len(report.counts),
            "unassigned": _WIDEST_COUNT,
            "cells_after_qc": _WIDEST_COUNT,
            "markers": widest_markers(report.markers),
            "quality": LotQuality(
                median_counts=_WIDEST_NUMBER,
                median_genes=_WIDEST_NUMBER,
                median_mitochondrial_share=_WIDEST_NUMBER,
                gene_coverage=_WIDEST_NUMBER,
            ),
        }
    )
    return -(-len(encode(widest)) // PADDING_BYTES) * PADDING_BYTES


def _check_consistent(mapped: MappedLot, rules: EffectiveRules) -> None:
    expected = len(rules.plan.atlas.clusters)
    if len(mapped.counts) != expected:
        raise InternalError(f"expected the mapper to count {expected} clusters, found {len(mapped.counts)}")
    if min(*mapped.counts, mapped.unassigned) < 0 or sum(mapped.counts) + mapped.unassigned != mapped.cells_after_qc:
        raise InternalError("expected the mapper's counts, none negative, to sum to its cells after QC")


def _rounded_median(value: float | None) -> float | None:
    return None if value is None else round(float(value), MEDIAN_DECIMALS)


def _quality(mapped: MappedLot, rules: EffectiveRules) -> LotQuality:
    share = mapped.median_mitochondrial_share
    if OptionalField.MEDIAN_MITOCHONDRIAL_SHARE in rules.withheld:
        share = None
    return LotQuality(
        median_counts=_rounded_median(mapped.median_counts),
        median_genes=_rounded_median(mapped.median_genes),
        median_mitochondrial_share=None if share is None else round(float(share), SHARE_DECIMALS),
        gene_coverage=round(float(mapped.gene_coverage), SHARE_DECIMALS),
    )


def _series(rows: PotencyMeasurement, rules: EffectiveRules, run: Pseudonym) -> PotencySeries:
    endpoint = _endpoint(rows.endpoint, rules)
    # A run's own label often holds its date, and a quarter is the finest date that leaves: it takes a pseudonym.
    return PotencySeries(
        endpoint=EndpointId(endpoint.endpoint),
        assay=rows.assay,
        unit=rows.unit,
        run=run,
        replicates=tuple(_rounded(value, endpoint) for value in rows.replicates),
        reference_replicates=tuple(_rounded(value, endpoint) for value in rows.reference_replicates),
    )


def _endpoint(name: str, rules: EffectiveRules) -> Endpoint:
    for endpoint in rules.plan.endpoints:
        if endpoint.endpoint == name:
            return endpoint
    raise InputError(
        f"potency: the study has no endpoint {name}",
        hint=f"its endpoints are {', '.join(endpoint.endpoint for endpoint in rules.plan.endpoints)}",
    )


def _rounded(value: float, endpoint: Endpoint) -> float:
    rounded = round(float(value), endpoint.decimals)
    if rounded <= 0:
        raise InputError(
            f"potency {endpoint.endpoint}: a value is zero at the {endpoint.decimals} decimals that the plan declares",
            hint="report it in a smaller unit, or ask the coordinator for more decimals",
        )
    return rounded
