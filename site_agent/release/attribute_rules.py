"""The disclosure rule of lot-level attributes: declared precision, and no number below the limit of detection.

Attributes are business secrets rather than personal data: a process parameter or an impurity tells how a site works.
What leaves is one rounded number for each attribute that the signed plan names, and the steward sees each.
"""

from collections.abc import Sequence
from typing import Protocol

from protocol.modules.attributes import AttributesPlan, AttributeValue
from protocol.policy import EffectiveRules
from protocol.report import LotReport
from shared.errors import InputError
from site_agent.release.verdicts import RuleId, Verdict, failed, passed


class AttributeMeasurement(Protocol):
    """One attribute of one lot, as the site's table has it."""

    @property
    def attribute(self) -> str:
        """The plan's name of it."""

    @property
    def value(self) -> float | None:
        """Its value; None below the limit of detection."""


def attribute_values(
    measured: Sequence[AttributeMeasurement], plan: AttributesPlan | None
) -> tuple[AttributeValue, ...]:
    """Return what leaves of a lot's attributes, in the plan's order: rounded, and only what the plan asks for.

    Raises
    ------
    InputError
        A value below detection of an attribute whose limit the plan does not declare.
    """
    if plan is None:
        return ()
    by_name = {each.attribute: each for each in measured}
    values = []
    for asked in plan.attributes:
        found = by_name.get(asked.attribute)
        if found is None:
            continue
        rounded = None if found.value is None else round(float(found.value), asked.decimals)
        below = rounded is None or (asked.detection_limit is not None and rounded < asked.detection_limit)
        if below and asked.detection_limit is None:
            raise InputError(f"attribute {asked.attribute}: the plan declares no limit of detection")
        values.append(
            AttributeValue(attribute=asked.attribute, value=None if below else rounded, below_detection=below)
        )
    return tuple(values)


def judge_attributes(report: LotReport, rules: EffectiveRules) -> Verdict:
    """Say whether attributes leave at their declared precision, and none as a number below its limit of detection."""
    plan = rules.plan.modules.attributes
    if plan is None:
        return passed(RuleId.ATTRIBUTES, "The study asks for no attribute of the lot.")
    finer, below = [], []
    for position, each in enumerate(report.attributes):
        asked = plan.named(each.attribute)
        if asked is None or each.value is None:
            continue  # the rule on modules answers for what is not asked
        if each.value != round(each.value, asked.decimals):
            finer.append(f"attributes.{position}.value")
        if asked.detection_limit is not None and each.value < asked.detection_limit:
            below.append(f"attributes.{position}.value")
    if finer:
        return failed(RuleId.ATTRIBUTES, tuple(finer), "These attributes are finer than their declared precision.")
    if below:
        return failed(RuleId.ATTRIBUTES, tuple(below), "These attributes are told below their limit of detection.")
    told = len(report.attributes)
    return passed(
        RuleId.ATTRIBUTES,
        f"{told} of the {len(plan.attributes)} attributes that the study asks for leave, rounded as declared. They can "
        "tell how the lot was made.",
    )
