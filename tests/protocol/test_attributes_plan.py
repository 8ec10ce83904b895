"""What a study may declare of attributes, and what it may not: each refusal says what was expected."""

import pytest

from protocol.modules.attributes import AttributeKind, AttributePlan, AttributesPlan, AttributeTransform


def _plan(name: object = "mir-16", **fields: object) -> AttributePlan:
    declared = {"attribute": name, "kind": AttributeKind.CONCENTRATION, "unit": "pg", "family": "ev", **fields}
    return AttributePlan.model_validate(declared)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"detection_limit": 2.0, "quantification_limit": 1.0}, "quantification_limit >= detection_limit"),
        ({"detection_limit": 0.12, "decimals": 1}, "detection_limit of at most 1 decimals"),
        ({"kind": AttributeKind.RATIO}, "expected the denominator of a ratio"),
        ({"denominator": "protein"}, "expected kind ratio"),
        ({"transform": AttributeTransform.LOGIT, "detection_limit": 3.0}, "shares in 0..1"),
    ],
)
def test_an_attribute_whose_parts_do_not_agree_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        _plan(**fields)


def test_a_composition_is_a_family_of_its_own_and_of_one_unit() -> None:
    part = _plan("a", kind=AttributeKind.COMPOSITION, unit="%")
    with pytest.raises(ValueError, match="parts of a composition only, or none"):
        AttributesPlan(attributes=(part, _plan("b")))
    with pytest.raises(ValueError, match="one unit of all parts"):
        AttributesPlan(attributes=(part, _plan("b", kind=AttributeKind.COMPOSITION, unit="1")))


@pytest.mark.parametrize(
    ("transform", "value", "fits"),
    [
        (AttributeTransform.LOG, 0.0, False),
        (AttributeTransform.LOG, 0.1, True),
        (AttributeTransform.LOGIT, 1.0, False),
        (AttributeTransform.LOGIT, 0.5, True),
        (AttributeTransform.NONE, -1.0, False),  # a concentration
    ],
)
def test_a_value_that_its_transform_cannot_take_does_not_fit(
    transform: AttributeTransform, value: float, *, fits: bool
) -> None:
    assert (_plan(transform=transform).misfit(value) is None) is fits
