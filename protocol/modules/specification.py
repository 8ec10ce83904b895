"""A specification for release: what a study declares (SPEC 8.5)."""

from typing import Annotated

from pydantic import Field

from protocol.identifiers import EndpointSlug, Label
from protocol.message import Message


class SpecificationPlan(Message):
    """Which potency a released lot must reach, and with what certainty.

    ``limit`` is in potency as the endpoint is analysed (relative to the reference standard, or in the endpoint's unit).
    ``cluster`` absent means the lead of the discovery, where it was found.
    """

    endpoint: EndpointSlug
    limit: Annotated[float, Field(gt=0)]
    cluster: Label | None = None
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
