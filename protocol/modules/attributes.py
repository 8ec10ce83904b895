"""Lot-level attributes: what a study declares, and what of it leaves a site (SPEC 8.3)."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from protocol.identifiers import Label, Slug
from protocol.message import Message


class AttributeKind(StrEnum):
    """What an attribute is; only compositions take the steps of closure."""

    COMPOSITION = "composition"
    CONCENTRATION = "concentration"
    RATIO = "ratio"
    PROCESS = "process"
    MORPHOLOGY = "morphology"


class AttributePlan(Message):
    """One attribute of a lot: its name, what it is, its unit, and the family that it is tested in."""

    attribute: Slug
    kind: AttributeKind
    unit: Label
    family: Slug
    decimals: Annotated[int, Field(ge=0, le=9)] = 4


class AttributesPlan(Message):
    """The attributes that the study asks for."""

    attributes: Annotated[tuple[AttributePlan, ...], Field(min_length=1, max_length=256)]

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        names = [attribute.attribute for attribute in self.attributes]
        if len(set(names)) != len(names):
            raise ValueError("attributes: expected distinct names, found one twice")
        return self


class AttributeValue(Message):
    """One attribute of one lot as it leaves the site; below the limit of detection there is no value."""

    attribute: Slug
    value: float | None
    below_detection: bool = False
