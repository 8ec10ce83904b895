"""Comparability after a change of process: what a study declares (SPEC 8.4). ICH Q5E asks the question."""

from enum import StrEnum
from math import log
from typing import Annotated

from pydantic import Field

from protocol.identifiers import EndpointSlug
from protocol.message import Message


class Arm(StrEnum):
    """On which side of the change a lot was made."""

    BEFORE = "before"
    AFTER = "after"


class ComparabilityPlan(Message):
    """Margins and rates, fixed before the first report is read.

    ``margin_fold`` is the fold of potency that counts as alike; without ``justification`` it is a placeholder and said
    to be one. ``part_margin`` is on the scale of centred log ratios; ``quality_range_sd`` is k of mean +- k SD.
    """

    endpoint: EndpointSlug
    change: Annotated[str, Field(min_length=1, max_length=500)]
    margin_fold: Annotated[float, Field(gt=1, le=10)] = 1.5
    justification: Annotated[str, Field(min_length=1, max_length=1_000)] | None = None
    part_margin: Annotated[float, Field(gt=0, le=5)] = log(2.0)
    quality_range_sd: Annotated[float, Field(gt=0, le=6)] = 3.0
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    minimum_power: Annotated[float, Field(gt=0, lt=1)] = 0.5
