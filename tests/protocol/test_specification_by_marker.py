"""A specification of a marker's share: one share a plan, and one that the plan counts."""

import pytest

from protocol.modules.asked import Modules
from protocol.modules.markers import MarkerPredictor, MarkersPlan
from protocol.modules.specification import MarkerPlace, SpecificationPlan
from protocol.plan import StudyPlan
from tests.study_parts import make_plan

HIGH = MarkerPredictor(gene="LRRC75A", threshold=2.3)
MARKERS = MarkersPlan(genes=("LRRC75A", "VEGFA"), predictors=(HIGH,))


def _asking(place: MarkerPlace, markers: MarkersPlan | None = MARKERS) -> StudyPlan:
    plan = make_plan()
    asked = SpecificationPlan(endpoint=plan.endpoints[0].endpoint, limit=1.0, marker=place)
    fields = plan.model_dump(by_alias=True)
    return StudyPlan.model_validate({**fields, "modules": Modules(markers=markers, specification=asked)})


def test_a_plan_may_ask_for_the_share_of_one_of_its_marker_predictors() -> None:
    asked = _asking(MarkerPlace(gene="LRRC75A")).modules.specification
    assert asked is not None
    assert asked.marker is not None
    assert asked.marker.names(HIGH)


@pytest.mark.parametrize(
    ("place", "markers"),
    [
        (MarkerPlace(gene="VEGFA"), MARKERS),  # of the allow-list, and no predictor
        (MarkerPlace(gene="LRRC75A", cluster="alpha"), MARKERS),  # the predictor is of the whole lot
        (MarkerPlace(gene="LRRC75A"), None),
    ],
)
def test_a_share_that_the_plan_does_not_count_is_refused(place: MarkerPlace, markers: MarkersPlan | None) -> None:
    with pytest.raises(ValueError, match=r"modules\.specification\.marker: expected a predictor of modules\.markers"):
        _asking(place, markers)


def test_a_cluster_and_a_marker_are_two_shares() -> None:
    with pytest.raises(ValueError, match="expected a cluster or a marker, found both"):
        SpecificationPlan(
            endpoint=make_plan().endpoints[0].endpoint, limit=1.0, cluster="alpha", marker=MarkerPlace(gene="LRRC75A")
        )
