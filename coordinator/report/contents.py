"""What a report holds: frozen records, every sentence made and every number rounded already.

The floats that remain are for the geometry of the figures. All of them belong to the edition that the model is for.
"""

from dataclasses import dataclass

from protocol.results import VerdictCode
from shared.pages.contents import (
    Cell,
    Finding,
    ModuleSection,
    Table,
)

MOST_LEADS = 4
"""How many leading clusters of an endpoint are shown large."""


@dataclass(frozen=True)
class Fact:
    """A label and its value; ``is_code`` for hashes and versions."""

    label: str
    value: str
    is_code: bool = False


@dataclass(frozen=True, kw_only=True)
class VerdictBlock:
    """The answer for one endpoint, how sure it is, and what it does not show."""

    endpoint: str
    code: VerdictCode
    word: str
    headline: str
    finding: Finding
    confidence: tuple[str, ...]
    limits: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SiteMark:
    """How a site looks in every figure: a colour and a shape of its own."""

    name: str
    style: int
    n_lots: int


@dataclass(frozen=True, kw_only=True)
class LotPoint:
    """One lot in one scatter: share in per cent (two bounds, equal where exact) and log potency."""

    lot: int
    label: str
    site: int
    share_low: float
    share_high: float
    suppressed: bool
    share: str
    potency: float
    potency_text: str


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """One cluster of the forest plot."""

    cluster: int
    name: str
    rho: float | None
    low: float | None
    high: float | None
    suppressed_low: float | None
    suppressed_high: float | None
    rho_text: str
    interval: str
    p: str
    p_adjusted: str
    significant: bool


@dataclass(frozen=True, kw_only=True)
class Forest:
    """The forest plot of one endpoint."""

    identifier: str
    title: str
    finding: Finding
    rows: tuple[ForestRow, ...]
    confidence: str
    decides: str
    table: Table


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """Share against log potency for one cluster; ``points`` are the lots that this edition may show."""

    identifier: str
    cluster: int
    title: str
    name: str
    statistic: str
    finding: Finding | None
    points: tuple[LotPoint, ...]
    x_label: str
    y_label: str
    without_point: tuple[str, ...]
    table: Table | None
    range_legend: str | None = None  # what a hatched range means; None: a suppressed count


@dataclass(frozen=True, kw_only=True)
class Panels:
    """Small multiples, all with the same potency axis, and one table for them together."""

    identifier: str
    title: str
    sentence: str
    panels: tuple[Scatter, ...]
    table: Table


@dataclass(frozen=True, kw_only=True)
class RangeRow:
    """Rho of one cluster, and its range when one lot or one site is left out."""

    cluster: int
    name: str
    rho: float | None
    lots: tuple[float, float] | None
    sites: tuple[float, float] | None
    note: str


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """The leave-one-out figure of one endpoint."""

    identifier: str
    title: str
    finding: Finding
    rows: tuple[RangeRow, ...]
    table: Table


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A part of a lot: per cent, certain up to ``low`` and possible up to ``high``.

    Bounds differ, too, where only the lot's total is known as an interval; ``suppressed`` is of the part itself.
    """

    part: int
    low: float
    high: float
    suppressed: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One lot, or an average of lots, as parts of 100%."""

    label: str
    lot: int | None
    group: str
    site: int | None
    segments: tuple[Segment, ...]
    potency: float | None
    potency_text: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """A cluster in the composition figure's key; ``cluster`` is None for unassigned cells."""

    cluster: int | None
    name: str
    short: str  # in the bars
    key: str  # in the key: the short and the name, where they differ
    style: int
    is_lead: bool


@dataclass(frozen=True, kw_only=True)
class Composition:
    """Stacked bars of every lot that the edition shows, grouped by site, with potency beside them."""

    identifier: str
    title: str
    finding: Finding
    parts: tuple[Part, ...]
    bars: tuple[Bar, ...]
    potency_label: str
    table: Table
    key: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class ValidationSection:
    """What became of the discovered clusters in lots that took no part in finding them."""

    finding: Finding
    panels: Panels | None
    table: Table


@dataclass(frozen=True, kw_only=True)
class EndpointSection:
    """The association of every cluster with one potency endpoint."""

    identifier: str
    name: str
    forest: Forest | None
    leads: tuple[Scatter, ...]
    panels: Panels | None


@dataclass(frozen=True, kw_only=True)
class RobustnessSection:
    """What other choices, and other lots, make of one endpoint's answer."""

    identifier: str
    name: str
    ranges: Ranges | None
    sensitivity: Table | None
    findings: tuple[Finding, ...]
    validation: ValidationSection | None


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Mapping quality, and what is missing or suppressed."""

    sentences: tuple[str, ...]
    table: Table | None


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file that the page carries inside itself."""

    filename: str
    media_type: str
    content: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class ReportModel:
    """A report of one edition, complete: rendering adds no fact and hides none."""

    edition_name: str
    edition_sentence: str
    study: str
    title: str
    question: str
    verdicts: tuple[VerdictBlock, ...]
    card: tuple[Fact, ...]
    sites: tuple[SiteMark, ...]
    excluded_finding: Finding
    excluded: Table | None
    endpoints: tuple[EndpointSection, ...]
    characterisation: tuple[ModuleSection, ...]
    composition: Composition | None
    quality: Quality
    robustness: tuple[RobustnessSection, ...]
    decisions: tuple[ModuleSection, ...]
    methods: tuple[str, ...]
    deviations: tuple[str, ...]
    downloads: tuple[Download, ...]
    downloads_note: str
    provenance: tuple[Fact, ...]
