"""Lot-level attributes: what a study declares, and what of it leaves a site (SPEC 8.3).

A family is what max-T corrects over, so it is declared before the first value is read. The parts of a composition are a
family of their own, for only they take the steps of closure; a ratio names its denominator, for two ratios over the
same one can follow potency by it alone.
"""

from collections.abc import Iterator
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


class AttributeTransform(StrEnum):
    """The scale on which lots of one donor are averaged and values are drawn; ranks of single lots do not see it."""

    NONE = "none"
    LOG = "log"
    LOGIT = "logit"  # of a share in 0..1


class AttributePlan(Message):
    """One attribute of a lot: its name, what it is, its unit, and the family that it is tested in.

    A value below ``detection_limit`` leaves without its number and ranks lowest, tied with all others below; one below
    ``quantification_limit`` leaves as it is and is counted. ``assay`` absent: any. ``reference`` is what the value was
    normalised against, for the reader. ``denominator`` and ``numerator`` name what a ratio is of.
    """

    attribute: Slug
    kind: AttributeKind
    unit: Label
    family: Slug
    decimals: Annotated[int, Field(ge=0, le=9)] = 4
    transform: AttributeTransform = AttributeTransform.NONE
    detection_limit: Annotated[float, Field(gt=0)] | None = None
    quantification_limit: Annotated[float, Field(gt=0)] | None = None
    assay: Label | None = None
    reference: Label | None = None
    numerator: Slug | None = None
    denominator: Slug | None = None

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        low, high = self.detection_limit, self.quantification_limit
        if low is not None and high is not None and high < low:
            raise ValueError(f"{self.attribute}: expected quantification_limit >= detection_limit ({low:g})")
        if low is not None and round(low, self.decimals) != low:
            raise ValueError(f"{self.attribute}: expected a detection_limit of at most {self.decimals} decimals")
        if self.kind is AttributeKind.RATIO and self.denominator is None:
            raise ValueError(f"{self.attribute}: expected the denominator of a ratio")
        if self.kind is not AttributeKind.RATIO and (self.denominator or self.numerator):
            raise ValueError(f"{self.attribute}: expected kind ratio where numerator or denominator is given")
        if self.transform is AttributeTransform.LOGIT and low is not None and low >= 1:
            raise ValueError(f"{self.attribute}: expected shares in 0..1 under the transform logit")
        return self

    def misfit(self, value: float) -> str | None:
        """Return why ``value`` cannot be of this attribute, or None where it can."""
        if self.kind in {AttributeKind.COMPOSITION, AttributeKind.CONCENTRATION} and value < 0:
            return f"a {self.kind.value} of 0 or more"
        below = self.detection_limit is not None and value < self.detection_limit
        if self.transform is AttributeTransform.LOG and value <= 0 and not below:
            return "a value above 0, for its transform is log"
        if self.transform is AttributeTransform.LOGIT and not 0 < value < 1 and not below:
            return "a share between 0 and 1, for its transform is logit"
        return None


class AttributesPlan(Message):
    """The attributes that the study asks for."""

    attributes: Annotated[tuple[AttributePlan, ...], Field(min_length=1, max_length=256)]

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        names = [attribute.attribute for attribute in self.attributes]
        if len(set(names)) != len(names):
            raise ValueError("attributes: expected distinct names, found one twice")
        return self

    @model_validator(mode="after")
    def _compositions_stand_apart(self) -> Self:
        for family, members in self.families():
            parts = [each for each in members if each.kind is AttributeKind.COMPOSITION]
            if parts and len(parts) < len(members):
                raise ValueError(f"family {family}: expected parts of a composition only, or none")
            if len({each.unit for each in parts}) > 1:
                raise ValueError(f"family {family}: expected one unit of all parts of a composition")
        return self

    def families(self) -> Iterator[tuple[str, tuple[AttributePlan, ...]]]:
        """Yield each family with its attributes, both in the plan's order."""
        for family in dict.fromkeys(each.family for each in self.attributes):
            yield family, tuple(each for each in self.attributes if each.family == family)

    def named(self, name: str) -> AttributePlan | None:
        """Return the attribute called ``name``, or None where the study does not ask for it."""
        return next((each for each in self.attributes if each.attribute == name), None)


class AttributeValue(Message):
    """One attribute of one lot as it leaves the site; below the limit of detection there is no value."""

    attribute: Slug
    value: float | None
    below_detection: bool = False
