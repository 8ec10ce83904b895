r"""Lot-level attributes with known truth: which follow potency, which do not, and which only seem to.

With :math:`z_l` the lot's true log potency standardised within its site, the logarithm of an attribute is

.. math::
    \ln a_l = \text{level} + \text{site}_s + \text{sd}\, (r z_l + \sqrt{1 - r^2}\, e_l), \qquad e_l \sim N(0, 1)

where r is the attribute's true correlation with potency. A ratio has a denominator that is drawn in the same way and is
no attribute of the study: each lot's numerator is divided by it. Two ratios over a denominator that itself follows
potency both follow, with no numerator that does: the trap. Values are written at the declared decimals; below the
limit of detection there is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from coordinator.study_data import AttributeTable
from protocol.modules.attributes import AttributePlan, AttributesPlan
from simulations.truth import FloatArray, SimulatedStudy


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A positive quantity of a lot: its median, its spread in ln, and its true correlation with log potency."""

    median: float
    sd: float = 0.4
    site_sd: float = 0.3
    correlation: float = 0.0


@dataclass(frozen=True, kw_only=True)
class AttributeModel:
    """One attribute: what the plan declares, the quantity itself (a ratio's numerator), and where it is not measured.

    ``missing_sites`` are numbered in the order of their names.
    """

    plan: AttributePlan
    quantity: Quantity
    missing_sites: tuple[int, ...] = ()
    missing_share: float = 0.0


@dataclass(frozen=True, kw_only=True)
class AttributesModel:
    """All attributes of a study, and the denominators by name."""

    attributes: tuple[AttributeModel, ...]
    denominators: dict[str, Quantity] = field(default_factory=dict)

    @property
    def plan(self) -> AttributesPlan:
        """What the plan declares."""
        return AttributesPlan(attributes=tuple(each.plan for each in self.attributes))

    @property
    def drivers(self) -> tuple[str, ...]:
        """The attributes that follow potency themselves."""
        return tuple(each.plan.attribute for each in self.attributes if each.quantity.correlation)

    @property
    def dragged(self) -> tuple[str, ...]:
        """The ratios that follow potency by their denominator alone."""
        return tuple(
            each.plan.attribute
            for each in self.attributes
            if not each.quantity.correlation
            and each.plan.denominator in self.denominators
            and self.denominators[each.plan.denominator].correlation
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedAttributes:
    """What the lots' tables would hold: values at the declared decimals, NaN where missing or below detection."""

    plan: AttributesPlan
    values: FloatArray  # (n_lots, n_attributes)
    below: NDArray[np.bool_]  # (n_lots, n_attributes)

    def table(self) -> AttributeTable:
        """Return them as the analysis reads them."""
        names = tuple(each.attribute for each in self.plan.attributes)
        return AttributeTable(names=names, values=self.values, below=self.below)


def simulate_attributes(study: SimulatedStudy, model: AttributesModel, rng: np.random.Generator) -> SimulatedAttributes:
    """Return the attributes of a study's lots; ``rng`` is the only source of chance."""
    sites, site_index = np.unique(np.array(study.sites), return_inverse=True)
    score = _within_sites(study.true_log_potency, site_index)

    def drawn(quantity: Quantity) -> FloatArray:
        noise = rng.standard_normal(len(study.lots))
        r = quantity.correlation
        spread = quantity.sd * (r * score + sqrt(1 - r * r) * noise)
        return np.asarray(
            quantity.median * np.exp((quantity.site_sd * rng.standard_normal(len(sites)))[site_index] + spread)
        )

    denominators = {name: drawn(quantity) for name, quantity in model.denominators.items()}
    values = np.empty((len(study.lots), len(model.attributes)))
    below = np.zeros(values.shape, dtype=np.bool_)
    for column, each in enumerate(model.attributes):
        amount = drawn(each.quantity)
        if each.plan.denominator in denominators:
            amount = amount / denominators[each.plan.denominator]
        rounded = np.array([round(float(value), each.plan.decimals) for value in amount])
        if each.plan.detection_limit is not None:
            below[:, column] = rounded < each.plan.detection_limit
        missing = np.isin(site_index, each.missing_sites) | (rng.random(len(study.lots)) < each.missing_share)
        below[missing, column] = False
        values[:, column] = np.where(missing | below[:, column], np.nan, rounded)
    return SimulatedAttributes(plan=model.plan, values=values, below=below)


def _within_sites(values: FloatArray, site_index: NDArray[np.int64]) -> FloatArray:
    result = values.astype(np.float64).copy()
    for site in np.unique(site_index):
        here = site_index == site
        result[here] -= result[here].mean()
    spread = float(np.sqrt((result**2).sum() / max(1, len(values) - len(np.unique(site_index)))))
    return result / spread if spread else result


def attribute_texts(values: Sequence[float], below: Sequence[bool], decimals: int) -> tuple[str, ...]:
    """Return values as ``attributes.csv`` has them; empty where missing, ``<LOD`` below detection.

    >>> attribute_texts([1.25, float("nan"), float("nan")], [False, True, False], 2)
    ('1.25', '<LOD', '')
    """
    return tuple(
        "<LOD" if hidden else "" if np.isnan(value) else f"{value:.{decimals}f}"
        for value, hidden in zip(values, below, strict=True)
    )
