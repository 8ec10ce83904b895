"""What a study found about lot-level attributes: aggregates only, families in the plan's order, best first within each.

Each family is corrected for itself (max-T), for each potency endpoint: ``families_tested`` says how many that were.
"""

from typing import Annotated, Literal

from pydantic import Field

from protocol.identifiers import EndpointSlug, Label, Slug
from protocol.message import Message
from protocol.modules.attributes import AttributeKind, AttributeTransform

_Rho = Annotated[float, Field(ge=-1.0000001, le=1.0000001)] | None
_P = Annotated[float, Field(gt=0, le=1)] | None
_Lots = Annotated[int, Field(ge=0)]


class AttributeAssociation(Message):
    """One attribute against one potency endpoint.

    ``n_units`` are donors that have both; ``missing_lots`` have no value of the attribute, ``below_detection_lots`` and
    ``below_quantification_lots`` are among ``n_lots``. What follows the lead's removal is of compositions only.
    """

    endpoint: EndpointSlug
    family: Slug
    attribute: Slug
    kind: AttributeKind
    unit: Label
    transform: AttributeTransform
    n_lots: _Lots
    n_units: _Lots
    missing_lots: _Lots
    below_detection_lots: _Lots
    below_quantification_lots: _Lots
    rho: _Rho
    ci_low: _Rho
    ci_high: _Rho
    p_value: _P
    p_adjusted: _P
    method: Literal["exact", "permutation", "undefined"]
    significant: bool
    rho_clr: _Rho = None
    rho_after_lead_removal: _Rho = None
    p_after_lead_removal: _P = None
    reason_code: str | None = None  # why it could not be tested
    reason: str | None = None


class SharedDenominator(Message):
    """Two ratios over the same denominator: their own correlation, and what the reader is warned of."""

    denominator: Slug
    attributes: tuple[Slug, Slug]
    rho_between: _Rho
    n_units: _Lots


class AttributesResults(Message):
    """All that the module found."""

    families_tested: _Lots
    associations: tuple[AttributeAssociation, ...]
    shared_denominators: tuple[SharedDenominator, ...] = ()
    warnings: tuple[str, ...] = ()
