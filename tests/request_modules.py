"""What one site's lots hold beside counts, for plans that ask for every module: expression, attributes, and arms."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.identifiers import EndpointId, Sha256
from protocol.modules.asked import Modules
from protocol.modules.attributes import AttributeKind, AttributePlan, AttributesPlan
from protocol.modules.comparability import Arm, ComparabilityPlan
from protocol.modules.markers import MarkerPredictor, MarkersPlan
from protocol.modules.specification import SpecificationPlan
from shared.statistics.moments import Moments

HIGH: Final = 1.5
GENES: Final = ("G", "H")
_PARTICLES: Final = AttributePlan(
    attribute="particles",
    kind=AttributeKind.CONCENTRATION,
    unit="1/mL",
    family="vesicles",
    decimals=1,
    detection_limit=2.5,
)
EVERY_MODULE: Final = Modules(
    markers=MarkersPlan(
        genes=GENES,
        predictors=(
            MarkerPredictor(gene="G", cluster="c0", threshold=HIGH),
            MarkerPredictor(gene="H", threshold=HIGH),
        ),
    ),
    attributes=AttributesPlan(attributes=(_PARTICLES,)),
    comparability=ComparabilityPlan(endpoint=EndpointId("vegf"), change="A new medium."),
    specification=SpecificationPlan(endpoint=EndpointId("vegf"), limit=600.0),
)
_EXPRESSING: Final = (0.0, 0.004, 0.05, 0.5, 0.98, 1.0)
"""Shares of cells that express a gene: none, a few, most, all but a few, all."""


@dataclass(frozen=True)
class AnAttribute:
    attribute: str
    value: float | None


def values_in(lot: str, atlas: Sha256, part: int, cells: int) -> NDArray[np.float64]:
    """Return the log values of both genes in each cell of a part, ``(cells, 2)``; cells that come later come last.

    So two releases of a lot that gained cells differ by these cells' values: what an adversary would subtract.
    """
    rng = np.random.default_rng([*lot.encode(), int(atlas[:2], 16), part])
    shares = rng.choice(_EXPRESSING, 2)
    drawn = rng.random((cells, 4))
    return np.where(drawn[:, :2] < shares, 0.3 + 2.5 * drawn[:, 2:], 0.0)


def moments_of(lot: str, atlas: Sha256, parts: tuple[int, ...]) -> tuple[Moments, NDArray[np.int64]]:
    """Return the moments of each cluster, and the marker-high cells of each part, unassigned last."""
    groups = [values_in(lot, atlas, part, cells) for part, cells in enumerate(parts)]
    high = np.array([(each >= HIGH).sum(axis=0) for each in groups], dtype=np.int64)
    clusters = groups[:-1]
    means = np.array([each.mean(axis=0) if len(each) else np.zeros(len(GENES)) for each in clusters])
    return (
        Moments(
            cells=np.array([float(len(each)) for each in clusters]),
            mean=means,
            m2=np.array([((each - mean) ** 2).sum(axis=0) for each, mean in zip(clusters, means, strict=True)]),
            sum_expm1=np.array([np.expm1(each).sum(axis=0) for each in clusters]),
            nonzero=np.array([(each > 0).sum(axis=0).astype(np.float64) for each in clusters]),
        ),
        high,
    )


def attributes_of(lot: str) -> tuple[AnAttribute, ...]:
    """Return a lot's attributes as the site has them: one lot's value lies below the limit of detection."""
    return (AnAttribute("particles", {"BM-01": 1.23456}.get(lot, 812.3456)),)


def arm_of(lot: str) -> Arm:
    """Return the side of the change of process."""
    return Arm.BEFORE if lot.endswith("1") else Arm.AFTER
