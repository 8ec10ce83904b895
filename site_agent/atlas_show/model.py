"""An atlas as a reader asks about it: every number once, for the terminal, the page and the JSON alike.

Rules.
1. Everything comes from the atlas's own arrays and card. No cell is in them, so none can be shown.
2. What was not measured is None, never 0. With one reference lot no class has a recall: the parts of that lot that
   stood in for lots (``shared.atlas.calibration``) say nothing of another lot.
3. Names are shown printable; two different names stay different.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from shared.atlas.artefact import Atlas, sha256
from shared.atlas.card import Card
from site_agent.atlas_show.rounding import printable
from site_agent.atlas_show.verdicts import SMALL_CLASS, ClassJudgement, Verdict, judge_atlas, judge_class
from site_agent.atlas_show.verification import is_plainly_encoded

EXAMPLE_SHARE: Final = 0.1
"""The share at which the width of an interval is shown."""

CONFIDENCE: Final = 0.9


@dataclass(frozen=True, kw_only=True)
class ShownMarker:
    """A gene that is higher in its class than in the rest of the reference."""

    gene: str
    log2_fold_change: float
    share_in: float
    share_out: float


@dataclass(frozen=True, kw_only=True)
class ShownClass:
    """One class of the atlas; None stands for "not measured".

    Attributes
    ----------
    number
        Its place in the atlas, from 1: the name that maps and matrices call it by.
    cells_by_lot
        Cells in reference-1, reference-2, ...
    recall, precision
        Of its left-out cells, the share that got its name; of the left-out cells given its name, the share of its own.
    share_error
        Mean absolute error of a left-out lot's share.
    half_width
        Of the 90% interval of a share of ``EXAMPLE_SHARE``, for the mapped cells.
    lot_shift
        How far a reference lot's mean lies from the class's, in standard deviations of its cells.
    mean, covariance
        Of the class in the plane of the map.
    """

    number: int
    name: str
    cells_by_lot: tuple[int, ...]
    left_out_cells: int
    recall: float | None
    precision: float | None
    unassigned_rate: float | None
    share_error: float | None
    interval_scale: float | None
    half_width: float | None
    lot_shift: float | None
    stability: float | None
    judgement: ClassJudgement
    markers: tuple[ShownMarker, ...]
    mean: tuple[float, float]
    covariance: tuple[tuple[float, float], tuple[float, float]]

    @property
    def cells(self) -> int:
        """Cells of the class in all reference lots."""
        return sum(self.cells_by_lot)

    @property
    def lots(self) -> int:
        """Reference lots that have it."""
        return sum(cells > 0 for cells in self.cells_by_lot)


@dataclass(frozen=True, kw_only=True)
class ShownDropped:
    """A label of the reference that the atlas does not know."""

    name: str
    cells: int
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class AtlasView:
    """All that is shown of an atlas. C classes, L reference lots."""

    name: str
    sha256: str
    size_bytes: int
    plainly_encoded: bool
    card: Card
    n_dimensions: int
    verdict: Verdict
    classes: tuple[ShownClass, ...]
    lots: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]  # (C, C + 1) label by cluster given; the last column is unassigned
    dropped: tuple[ShownDropped, ...]

    @property
    def cells(self) -> int:
        """Cells of the reference."""
        return sum(each.cells for each in self.classes)

    @property
    def within_one_lot(self) -> bool:
        """Whether the confusion is between parts of one lot, for want of others."""
        return self.card.transfer.lots == 0


def view_atlas(atlas: Atlas, data: bytes) -> AtlasView:
    """Return what is shown of an atlas.

    Parameters
    ----------
    atlas : Atlas
        As read from ``data``.
    data : bytes
        The file's bytes; their hash is the atlas's identity.
    """
    classes = tuple(_shown_class(atlas, place) for place in range(len(atlas.clusters)))
    total = max(sum(each.cells for each in classes), 1)
    large = tuple((each.name, each.judgement) for each in classes if each.cells >= SMALL_CLASS * total)
    return AtlasView(
        name=printable(atlas.name),
        sha256=sha256(data),
        size_bytes=len(data),
        plainly_encoded=is_plainly_encoded(atlas, data),
        card=atlas.card,
        n_dimensions=int(atlas.weights.shape[1]),
        verdict=judge_atlas(atlas.card.transfer, large),
        classes=classes,
        lots=tuple(f"reference-{place}" for place in range(1, atlas.cells.shape[1] + 1)),
        confusion=tuple(tuple(int(cells) for cells in row) for row in atlas.confusion),
        dropped=tuple(
            ShownDropped(name=printable(each.cluster), cells=each.cells, reason=printable(each.reason))
            for each in atlas.card.dropped
        ),
    )


def _shown_class(atlas: Atlas, place: int) -> ShownClass:
    card, transfer = atlas.card, atlas.card.transfer
    confusion = atlas.confusion.astype(np.int64)
    left_out, found, given = int(confusion[place].sum()), int(confusion[place, place]), int(confusion[:, place].sum())
    measured = transfer.lots > 0 and left_out > 0
    recall = found / left_out if measured else None
    precision = found / given if measured and given else None
    scale = _known(atlas.interval_scales[place])
    x, y = atlas.class_means[place].astype(np.float64) @ atlas.map_axes.astype(np.float64)
    return ShownClass(
        number=place + 1,
        name=printable(atlas.clusters[place]),
        cells_by_lot=tuple(int(cells) for cells in atlas.cells[place]),
        left_out_cells=left_out if measured else 0,
        recall=recall,
        precision=precision,
        unassigned_rate=int(confusion[place, -1]) / left_out if measured else None,
        share_error=_known(atlas.share_errors[place]),
        interval_scale=scale,
        half_width=None if scale is None else _half_width(scale, transfer.lots),
        lot_shift=_known(atlas.lot_shifts[place]),
        stability=None if card.stability is None else card.stability[place],
        judgement=judge_class(
            lots=transfer.lots, left_out_cells=left_out if measured else 0, recall=recall, precision=precision
        ),
        markers=tuple(
            ShownMarker(
                gene=printable(each.gene),
                log2_fold_change=each.log2_fold_change,
                share_in=each.share_in,
                share_out=each.share_out,
            )
            for each in card.markers[place]
        ),
        mean=(float(x), float(y)),
        covariance=_symmetric(atlas.map_covariances[place]),
    )


def _known(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)


def _half_width(scale: float, lots: int) -> float:
    """Return half the width of the interval, as ``shared.atlas.proportions.composition`` makes it."""
    t = float(stdtrit(max(lots, 1), 0.5 + CONFIDENCE / 2))
    return t * scale * float(np.sqrt(EXAMPLE_SHARE * (1 - EXAMPLE_SHARE)))


def _symmetric(matrix: NDArray[np.float32]) -> tuple[tuple[float, float], tuple[float, float]]:
    (a, b), (c, d) = matrix.astype(np.float64).tolist()
    return ((a, (b + c) / 2), ((b + c) / 2, d))
