"""What leaves of a lot's attributes: what the plan names, rounded as declared, no number below its limit."""

from dataclasses import dataclass, replace

import pytest

from protocol.codec import encode
from protocol.modules.asked import Modules
from protocol.modules.attributes import AttributeKind, AttributePlan, AttributesPlan, AttributeValue
from shared.errors import InputError
from site_agent.release.attribute_rules import attribute_values, judge_attributes
from site_agent.release.summaries import pad
from site_agent.release.verdicts import Outcome
from site_agent.review.report_table import report_lines
from tests.site_agent.release.conftest import MakeReport, MakeRules

pytestmark = pytest.mark.disclosure

PLAN = AttributesPlan(
    attributes=(
        AttributePlan(
            attribute="mir-16",
            kind=AttributeKind.CONCENTRATION,
            unit="pg",
            family="ev",
            decimals=1,
            detection_limit=2.0,
        ),
        AttributePlan(attribute="passages", kind=AttributeKind.PROCESS, unit="1", family="process", decimals=0),
    )
)


@dataclass(frozen=True)
class Measured:
    attribute: str
    value: float | None


def test_only_what_the_plan_asks_for_leaves_and_rounded_in_its_order() -> None:
    measured = (Measured("passages", 4.4), Measured("secret-medium", 17.0), Measured("mir-16", 12.345))
    assert attribute_values(measured, PLAN) == (
        AttributeValue(attribute="mir-16", value=12.3),
        AttributeValue(attribute="passages", value=4.0),
    )
    assert attribute_values(measured, None) == ()


def test_below_the_limit_no_number_leaves() -> None:
    for value in (None, 1.94):
        (left,) = attribute_values((Measured("mir-16", value),), PLAN)
        assert left == AttributeValue(attribute="mir-16", value=None, below_detection=True)
    with pytest.raises(InputError, match="declares no limit of detection"):
        attribute_values((Measured("passages", None),), PLAN)


@pytest.mark.parametrize(
    ("value", "outcome", "fields"),
    [
        (12.3, Outcome.PASS, ()),
        (12.34, Outcome.FAIL, ("attributes.0.value",)),
        (1.9, Outcome.FAIL, ("attributes.0.value",)),
    ],
)
def test_the_rule_finds_what_is_too_fine_or_below_its_limit(
    make_rules: MakeRules, make_report: MakeReport, value: float, outcome: Outcome, fields: tuple[str, ...]
) -> None:
    plain = make_rules(clusters=4)
    rules = replace(plain, plan=plain.plan.model_copy(update={"modules": Modules(attributes=PLAN)}))
    report = make_report(rules, 300, 200, 100, 60).model_copy(
        update={"attributes": (AttributeValue(attribute="mir-16", value=value),)}
    )
    verdict = judge_attributes(report, rules)
    assert (verdict.outcome, verdict.fields) == (outcome, fields)


def test_the_stewards_table_shows_each_attribute_with_its_unit(make_rules: MakeRules, make_report: MakeReport) -> None:
    plain = make_rules(clusters=4)
    rules = replace(plain, plan=plain.plan.model_copy(update={"modules": Modules(attributes=PLAN)}))
    parts = (
        AttributeValue(attribute="mir-16", value=None, below_detection=True),
        AttributeValue(attribute="passages", value=4.0),
    )
    report = make_report(rules, 300, 200, 100, 60).model_copy(update={"attributes": parts})
    shown = {line.field: (line.value, line.note) for line in report_lines(report, rules=rules)}
    assert shown["attribute mir-16"] == ("below detection", "in pg")
    assert shown["attribute passages"] == ("4.0", "in 1")


def test_the_size_of_a_report_tells_of_its_attributes_and_still_not_of_its_cells(
    make_rules: MakeRules, make_report: MakeReport
) -> None:
    rules = make_rules(clusters=4)
    value = (AttributeValue(attribute="mir-16", value=12.3),)
    sizes = {
        len(encode(pad(make_report(rules, *counts).model_copy(update={"attributes": value}))))
        for counts in ((300, 200, 100, 60), (30_000, 20_000, 100_000, 60))
    }
    assert len(sizes) == 1
