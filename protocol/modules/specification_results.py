"""What a study says of a specification: a threshold, or why there is none, with its error rates (SPEC 8.5).

Aggregates only. The range of shares seen is rounded inward to two digits, so that no lot's own share stands in it.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from protocol.identifiers import EndpointSlug, Label
from protocol.message import Message
from protocol.modules.markers import MarkerPredictor

_Share = Annotated[float, Field(ge=0, le=1)]
_Rate = Annotated[float, Field(ge=0, le=1)] | None
_Count = Annotated[int, Field(ge=0)]


class SpecificationOutcome(StrEnum):
    """What came of the question, the same word in every language."""

    THRESHOLD = "threshold"
    INDICATIVE = "indicative"  # a threshold, and not a specification: see ``doubts``
    NONE = "none"


class Side(StrEnum):
    """On which side of the threshold a lot passes."""

    AT_LEAST = "at-least"
    AT_MOST = "at-most"


class ShareRange(Message):
    """The shares for which the threshold speaks."""

    low: _Share
    high: _Share


class FittedLine(Message):
    """Log potency on share by least squares; ``share_ss`` is the sum of squares about ``share_mean``."""

    n: Annotated[int, Field(ge=4)]
    share_mean: float
    share_ss: Annotated[float, Field(gt=0)]
    potency_mean: float
    slope: float
    residual_sd: Annotated[float, Field(ge=0)]


class RateRange(Message):
    """An error rate, and the middle 95% of what resampled data sets make of it; null where not defined."""

    value: _Rate
    low: _Rate
    high: _Rate


class DecisionCounts(Message):
    """What became of lots (units) held to the threshold: passed or failed, and reached the limit of potency or not."""

    passed_sufficient: _Count
    passed_insufficient: _Count
    failed_sufficient: _Count
    failed_insufficient: _Count


class SpecificationResults(Message):
    """The specification of one study: its basis, and how far to trust it.

    ``limit`` is in potency as the endpoint is analysed. ``threshold_low`` and ``threshold_high`` hold the middle 95% of
    the thresholds of resampled data sets; ``resamples_without`` is the part of them that have none.
    ``share_tolerance`` bounds the shares of 90% of such lots, with 95% confidence, on the failing side.
    ``unassigned_limit`` is the share of unassigned cells that 99% of such lots stay below. ``declared`` is false where
    limit, endpoint or share were chosen after the plan was signed. ``envelope`` is the signed specification, where
    one was released with the results. The share is that of ``cluster``, or, with ``cluster`` null, of the cells that
    ``marker`` counts among those of its own cluster (or of the lot), at least ``marker_minimum_cells`` of them;
    ``lots_without`` lots have no such share.
    """

    endpoint: EndpointSlug
    limit: Annotated[float, Field(gt=0)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    declared: bool
    outcome: SpecificationOutcome
    reason_code: str | None = None
    sentence: str
    doubts: tuple[str, ...] = ()
    cluster: Label | None = None
    marker: MarkerPredictor | None = None
    marker_minimum_cells: _Count = 0
    side: Side | None = None
    threshold: _Share | None = None
    threshold_low: _Share | None = None
    threshold_high: _Share | None = None
    resamples: _Count = 0
    resamples_without: _Rate = None
    seen: ShareRange | None = None
    line: FittedLine | None = None
    false_pass: RateRange | None = None
    false_fail: RateRange | None = None
    passing: _Rate = None
    share_tolerance: float | None = None
    unassigned_limit: _Rate = None
    n_lots: _Count = 0
    n_units: _Count = 0
    n_sites: _Count = 0
    tissues: tuple[Label, ...] = ()
    suppressed_lots: _Count = 0
    lots_without: _Count = 0
    discovery: DecisionCounts | None = None
    validation: DecisionCounts | None = None
    envelope: Annotated[str, Field(max_length=131_072)] | None = None

    @property
    def share_of(self) -> str:
        """What the share is of, in words: a cluster, or the cells that a marker counts."""
        return str(self.cluster) if self.marker is None else self.marker.cells_text
