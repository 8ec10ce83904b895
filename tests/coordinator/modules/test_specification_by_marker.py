"""The specification of a marker's share: the same rules as for a cluster's, over the lots whose share is known."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.modules.specification import specify
from coordinator.modules.specification_question import Question
from coordinator.modules.specification_shares import shares_of_marker
from coordinator.study_data import IntArray, MarkerTable, StudyData
from protocol.identifiers import EndpointId
from protocol.modules.markers import MarkerPredictor, MarkersPlan
from protocol.modules.specification import MarkerPlace, SpecificationPlan
from protocol.modules.specification_results import SpecificationOutcome
from protocol.plan import AnalysisPlan, Cohort, CohortRole, Endpoint, Normalisation, Strata
from simulations.scenarios import scenario_named
from simulations.truth import replicate_generator, simulate_study, to_study_data

SCENARIO = scenario_named("specification")
ENDPOINT = Endpoint(endpoint=EndpointId("vegf"), assay="VEGF", unit="pg/mL", normalisation=Normalisation.RUN_REFERENCE)
DRIVER = "cluster 3"
WHOLE = MarkerPredictor(gene="LRRC75A", threshold=2.3)
INSIDE = MarkerPredictor(gene="LRRC75A", cluster=DRIVER, threshold=2.3)
MINIMUM = 20


def _data(number: int = 0) -> StudyData:
    study = simulate_study(SCENARIO.model, SCENARIO.blocks, replicate_generator(5, number))
    return to_study_data(study, small_count_threshold=0)


def _marked(data: StudyData, low: IntArray, high: IntArray | None = None, of: MarkerPredictor = WHOLE) -> StudyData:
    """Return the data with these numbers of marker-high cells in its lots."""
    n = len(data.lots)
    nothing = np.full((n, len(data.clusters), 1), np.nan)
    table = MarkerTable(
        genes=("LRRC75A",),
        cells=np.zeros((n, len(data.clusters)), dtype=np.int64),
        mean=nothing,
        m2=nothing,
        sum_expm1=nothing,
        nonzero=nothing,
        few=np.zeros(nothing.shape, dtype=np.bool_),
        predictors=(of,),
        high_clusters=(None if of.cluster is None else data.clusters.index(of.cluster),),
        high_low=low[:, None],
        high_high=(low if high is None else high)[:, None],
    )
    return replace(data, markers=table)


def _question(of: MarkerPredictor | None = WHOLE, limit: float = 5.0) -> Question:
    share = {"cluster": DRIVER} if of is None else {"marker": MarkerPlace(gene=of.gene, cluster=of.cluster)}
    return Question(
        asked=SpecificationPlan(endpoint=ENDPOINT.endpoint, limit=limit, **share),
        declared=True,
        endpoint=ENDPOINT,
        cohorts=(
            Cohort(cohort="discovery", role=CohortRole.DISCOVERY),
            Cohort(cohort="validation", role=CohortRole.VALIDATION),
        ),
        analysis=AnalysisPlan(strata=Strata.SITE, draws=199, seed=3),
        markers=None if of is None else MarkersPlan(genes=("LRRC75A",), minimum_cells=MINIMUM, predictors=(of,)),
    )


def _of_driver(data: StudyData) -> IntArray:
    return data.counts_low[:, data.clusters.index(DRIVER)]


@settings(max_examples=6)
@given(number=st.integers(0, 50))
def test_a_marker_that_is_high_in_a_cluster_and_nowhere_else_gives_that_clusters_threshold(number: int) -> None:
    data = _data(number)
    by_marker = specify(_marked(data, _of_driver(data)), _question(), [])
    by_cluster = specify(data, _question(None), [])
    assert (by_marker.outcome, by_marker.threshold, by_marker.side) == (
        by_cluster.outcome,
        by_cluster.threshold,
        by_cluster.side,
    )
    assert by_marker.line == by_cluster.line
    assert by_marker.discovery == by_cluster.discovery
    assert (by_marker.cluster, by_marker.marker, by_marker.marker_minimum_cells) == (None, WHOLE, MINIMUM)
    assert (by_cluster.cluster, by_cluster.marker) == (DRIVER, None)
    assert "LRRC75A-high cells" in by_marker.sentence


def test_a_marker_of_a_cluster_is_a_share_of_that_clusters_cells() -> None:
    data = _data()
    cells = _of_driver(data)
    shares = shares_of_marker(_marked(data, cells // 4, of=INSIDE), INSIDE, minimum_cells=MINIMUM)
    known = cells >= MINIMUM
    np.testing.assert_array_equal(shares.known, known)
    np.testing.assert_allclose(shares.middle[known], (cells // 4)[known] / cells[known])
    assert shares.name == f"LRRC75A-high cells in {DRIVER}"


def test_lots_whose_share_is_not_known_are_left_out_and_counted() -> None:
    data = _data()
    told = _of_driver(data).copy()
    told[:3] = -1
    found = specify(_marked(data, told), _question(), [])
    assert (found.n_lots, found.lots_without) == (len(data.lots) - 3, 3)
    # A hidden or a small number of the cells that it is a share of: no share either.
    hidden = replace(data, totals_high=data.totals_high + np.arange(len(data.lots)) % 2)
    assert specify(_marked(hidden, _of_driver(data)), _question(), []).lots_without == len(data.lots) // 2


def test_no_lot_with_a_share_is_too_few_and_no_failure() -> None:
    data = _data()
    for study in (data, _marked(data, np.full(len(data.lots), -1))):
        found = specify(study, _question(), [])
        assert (found.outcome, found.reason_code) == (SpecificationOutcome.NONE, "too-few-units")
        assert found.lots_without == len(data.lots)


@settings(max_examples=6)
@given(number=st.integers(0, 50), room=st.integers(1, 60))
def test_a_hidden_number_never_lowers_the_threshold_of_its_middle(number: int, room: int) -> None:
    data = _data(number)
    cells = _of_driver(data)
    low = np.maximum(cells - room, 0)
    open_ = specify(_marked(data, low, low + 2 * (cells - low)), _question(), [])
    exact = specify(_marked(data, cells), _question(), [])
    assert open_.suppressed_lots == np.count_nonzero(cells > low)
    if open_.threshold is not None:
        assert exact.threshold is not None
        assert open_.threshold >= exact.threshold


def test_a_marker_that_falls_with_potency_gets_an_upper_threshold() -> None:
    data = _data()
    found = specify(_marked(data, data.totals_low - _of_driver(data)), _question(), [])
    assert found.side is not None
    assert found.side.value == "at-most"
    assert found.threshold is not None
    shares = 1 - _of_driver(data) / data.totals_low
    assert found.discovery is not None
    assert found.discovery.passed_sufficient + found.discovery.passed_insufficient == (shares <= found.threshold).sum()


@pytest.mark.parametrize("limit", [500.0])
def test_none_exists_and_the_share_is_named(limit: float) -> None:
    data = _data(1)
    found = specify(_marked(data, _of_driver(data)), _question(limit=limit), [])
    assert found.reason_code == "limit-not-reached"
    assert "LRRC75A-high cells in the lot" in found.sentence
    assert found.line is not None
    assert found.line.potency_mean < log(limit)
