"""What a study's results hold of markers: aggregates over lots, no lot's own value."""

from typing import Annotated

from pydantic import Field

from protocol.identifiers import EndpointSlug, Label
from protocol.message import Message

_P = Annotated[float, Field(ge=0, le=1)] | None
_Share = Annotated[float, Field(ge=0, le=1)] | None


class MarkerRow(Message):
    """One gene in one cluster against the lots' other clusters.

    The lot-paired test is the answer: ``difference`` is the mean over units (donors) of a lot's mean of
    log1p(1e4 x / library size) in the cluster less that in its other clusters, with ``ci_low`` and ``ci_high``, ``t``,
    ``p_value`` and Benjamini-Hochberg ``q_value`` within the cluster; ``p_sign_flip`` asks less of the data.
    ``cell_t`` (Welch, cells as units) and the fold changes describe: their cells are not independent.
    ``hidden`` counts lots' clusters in which too few cells express the gene to say more.
    """

    gene: Label
    n_lots: int
    n_units: int
    difference: float | None
    ci_low: float | None
    ci_high: float | None
    t: float | None
    p_value: _P
    p_sign_flip: _P
    q_value: _P
    significant: bool
    mean: float | None
    mean_rest: float | None
    share: _Share
    share_rest: _Share
    cell_t: float | None
    log2_fold_change: float | None
    log2_fold_change_of_means: float | None
    hidden: int = 0


class ClusterMarkers(Message):
    """The genes of one cluster: its markers first, by difference, then the rest by t; ``n_lots`` sent moments of it."""

    cluster: Label
    n_lots: int
    cells: int
    rows: tuple[MarkerRow, ...]


class MarkerPredictorRow(Message):
    """The share of marker-high cells against potency: a family of its own in each endpoint."""

    endpoint: EndpointSlug
    gene: Label
    cluster: Label | None
    threshold: float
    n_lots: int
    rho: float | None
    p_value: _P
    p_adjusted: _P
    ci_low: float | None
    ci_high: float | None
    significant: bool
    reason_code: str | None = None  # why it could not be tested


class MarkersResults(Message):
    """Markers of every cluster, and marker-high shares as predictors of potency."""

    n_lots: int
    n_lots_without: int  # lots of the discovery that sent no moments
    genes: int
    minimum_cells: int
    clusters: tuple[ClusterMarkers, ...]
    predictors: tuple[MarkerPredictorRow, ...] = ()
