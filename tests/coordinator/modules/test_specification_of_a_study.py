"""The specification of a study: what its lots bear out, why there may be none, and its rates against known truth."""

from dataclasses import replace
from math import log, sqrt

import numpy as np
import pytest

from coordinator.analysis import AnalysisParameters, analyse, study_card
from coordinator.api import study_association
from coordinator.modules.specification import specify
from coordinator.modules.specification_question import Question
from coordinator.study_data import StudyData
from protocol.identifiers import EndpointId, Sha256
from protocol.modules.asked import Modules
from protocol.modules.specification import SpecificationPlan
from protocol.modules.specification_results import Side, SpecificationOutcome, SpecificationResults
from protocol.plan import AnalysisPlan, AtlasReference, Cohort, CohortRole, Endpoint, Normalisation, Strata
from protocol.results import ResultSet
from shared.errors import InputError
from simulations.design import Block, even_design
from simulations.scenarios import scenario_named
from simulations.truth import Model, replicate_generator, simulate_study, to_study_data

SCENARIO = scenario_named("specification")
ENDPOINT = Endpoint(endpoint=EndpointId("vegf"), assay="VEGF", unit="pg/mL", normalisation=Normalisation.RUN_REFERENCE)
DRIVER = "cluster 3"


def _data(
    model: Model = SCENARIO.model, blocks: tuple[Block, ...] = SCENARIO.blocks, *, number: int = 0, hidden: int = 0
) -> StudyData:
    return to_study_data(simulate_study(model, blocks, replicate_generator(5, number)), small_count_threshold=hidden)


def _question(limit: float = 5.0, cluster: str | None = DRIVER) -> Question:
    return Question(
        asked=SpecificationPlan(endpoint=ENDPOINT.endpoint, limit=limit, cluster=cluster),
        declared=True,
        endpoint=ENDPOINT,
        cohorts=(
            Cohort(cohort="discovery", role=CohortRole.DISCOVERY),
            Cohort(cohort="validation", role=CohortRole.VALIDATION),
        ),
        analysis=AnalysisPlan(strata=Strata.SITE, draws=199, seed=3),
    )


def _analysed(data: StudyData, *, limit: float = 5.0) -> ResultSet:
    question = _question(limit, None)
    card = study_card(
        study="a-study",
        title="A study",
        question="Which?",
        plan_sha256=Sha256("5e" * 32),
        atlas=AtlasReference(name="atlas", sha256=Sha256("a7" * 32), clusters=data.clusters),
        analysis=question.analysis,
    )
    return analyse(
        data,
        AnalysisParameters(
            study=card,
            endpoints=(ENDPOINT,),
            cohorts=question.cohorts,
            analysis=question.analysis,
            modules=Modules(specification=question.asked),
        ),
    )


def _shares(data: StudyData) -> np.ndarray:
    return data.counts_low[:, data.clusters.index(DRIVER)] / data.totals_low


def test_lead_of_the_discovery_gives_a_threshold_with_its_rates() -> None:
    data = _data()
    found = _analysed(data).specification
    assert found is not None
    assert (found.outcome, found.cluster, found.side) == (SpecificationOutcome.THRESHOLD, DRIVER, Side.AT_LEAST)
    assert found.doubts == ()
    assert found.threshold is not None
    assert found.seen is not None
    assert found.false_pass is not None
    assert found.false_pass.value is not None
    assert found.false_pass.value < 0.05
    assert found.threshold_low is not None
    assert found.threshold_high is not None
    assert found.threshold_low <= found.threshold <= found.threshold_high
    # Rounded inward: the range holds no lot's own share at its ends, and all of it was seen.
    shares = _shares(data)
    assert shares.min() < found.seen.low < found.threshold < found.seen.high < shares.max()
    assert found.discovery is not None
    assert sum(found.discovery.model_dump().values()) == found.n_units == 32
    assert "At least" in found.sentence


def test_the_printed_threshold_is_the_one_compared() -> None:
    found = specify(_data(), _question(), [])
    assert found.threshold is not None
    assert found.threshold == float(f"{found.threshold:.3g}")
    assert f"{100 * found.threshold:.4g}%" in found.sentence


def test_the_same_study_gives_the_same_specification() -> None:
    assert specify(_data(), _question(), []) == specify(_data(), _question(), [])


@pytest.mark.parametrize(
    ("limit", "cluster", "code"),
    [(500.0, DRIVER, "limit-not-reached"), (5.0, None, "no-cluster"), (5.0, "cluster 5", "no-slope")],
)
def test_none_exists_and_the_reason_is_named(limit: float, cluster: str | None, code: str) -> None:
    found = specify(_data(number=1), _question(limit, cluster), [])
    assert (found.outcome, found.reason_code, found.threshold) == (SpecificationOutcome.NONE, code, None)
    assert found.sentence.startswith("No specification exists: ")


def test_a_null_study_has_no_specification_and_says_why() -> None:
    found = _analysed(_data(scenario_named("null").model)).specification
    assert found is not None
    assert found.reason_code == "no-cluster"


def test_too_few_lots_give_none_and_fewer_than_thirty_an_indication_only() -> None:
    few = specify(_data(blocks=even_design(sites=1, lots_per_site=3)), _question(), [])
    assert few.reason_code == "too-few-units"
    small = specify(_data(blocks=even_design(sites=4, lots_per_site=5)), _question(), [])
    assert small.outcome is SpecificationOutcome.INDICATIVE
    assert "20 donors" in small.doubts[0]
    assert small.sentence.startswith("Indicative, not a specification: ")


def test_sites_that_differ_at_the_same_share_are_a_doubt() -> None:
    found = specify(_data(replace(SCENARIO.model, process_sd=1.0)), _question(1.0), [])
    assert found.outcome is SpecificationOutcome.INDICATIVE
    assert any("sites" in doubt for doubt in found.doubts)


def test_a_share_that_falls_with_potency_gets_an_upper_threshold() -> None:
    data = _data()
    # Everything but the driver, as one cluster: its share falls as potency rises.
    rest = np.delete(data.counts_low, data.clusters.index(DRIVER), axis=1).sum(axis=1)
    counts = np.column_stack([rest, data.counts_low[:, data.clusters.index(DRIVER)]])
    mirrored = replace(data, clusters=("rest", DRIVER), counts_low=counts, counts_high=counts)
    found = specify(mirrored, _question(cluster="rest"), [])
    assert found.side is Side.AT_MOST
    assert found.threshold is not None
    shares = rest / data.totals_low
    assert found.discovery is not None
    assert found.discovery.passed_sufficient + found.discovery.passed_insufficient == (shares <= found.threshold).sum()


@pytest.mark.parametrize("number", range(6))
def test_suppressed_counts_never_loosen_the_threshold(number: int) -> None:
    rare = scenario_named("suppressed-driver")
    blocks = even_design(sites=4, lots_per_site=10)
    exact = specify(_data(rare.model, blocks, number=number), _question(2.0), [])
    hidden = specify(_data(rare.model, blocks, number=number, hidden=10), _question(2.0), [])
    assert hidden.suppressed_lots > 0
    if hidden.threshold is not None and exact.threshold is not None:
        assert hidden.threshold >= 0.9 * exact.threshold  # the middle of an interval may lie below the count
    if exact.outcome is SpecificationOutcome.NONE:
        assert hidden.outcome is SpecificationOutcome.NONE


def test_validation_lots_of_the_same_tissue_are_counted_and_set_nothing() -> None:
    new = tuple(Block(site=f"site-0{number}", donors=3, cohort="validation") for number in (1, 2, 3))
    found = specify(_data(blocks=(*SCENARIO.blocks, *new)), _question(), [])
    assert found.validation is not None
    assert sum(found.validation.model_dump().values()) == 9
    assert found.n_units == 32


@pytest.mark.parametrize("blocks", [((1, 6),), ((1, 4), (2, 4)), ((1, 8), (2, 2), (3, 2))])
def test_counts_that_tell_a_site_how_good_anothers_lots_are_stay_untold(blocks: tuple[tuple[int, int], ...]) -> None:
    # A site takes its own lots out of a count: what is left must be 5 lots of 2 sites.
    new = tuple(Block(site=f"site-0{number}", donors=donors, cohort="validation") for number, donors in blocks)
    found = specify(_data(blocks=(*SCENARIO.blocks, *new)), _question(), [])
    assert found.threshold is not None
    assert found.validation is None
    assert found.discovery is not None


def test_rates_against_the_known_truth() -> None:
    # 200 studies of 32 lots, and 64 new lots for each: of those that pass, the part that misses the limit is under 2%
    # and what the studies themselves say of it is not below the truth by more than its error.
    studies, limit = 200, 5.0
    passed = missed = sufficient = turned_away = none = 0
    said: list[float] = []
    for number in range(studies):
        found = specify(_data(number=number), _question(limit), [])
        if found.threshold is None:
            none += 1
            continue
        assert found.false_pass is not None
        said.append(found.false_pass.value or 0.0)
        new = simulate_study(SCENARIO.model, even_design(sites=8, lots_per_site=8), replicate_generator(77, number))
        passes = new.shares[:, 3] >= found.threshold
        enough = new.log_relative_potency >= log(limit)
        passed, missed = passed + int(passes.sum()), missed + int((passes & ~enough).sum())
        sufficient, turned_away = sufficient + int(enough.sum()), turned_away + int((enough & ~passes).sum())
    assert none <= 2
    false_pass = missed / passed
    assert false_pass <= 0.02 + 3 * sqrt(0.02 * 0.98 / studies)  # lots of one study share its threshold
    assert abs(false_pass - float(np.mean(said))) < 0.02
    assert turned_away / sufficient < 0.5


def test_plain_tables_get_a_specification_that_is_not_declared() -> None:
    import pandas as pd  # noqa: PLC0415 - this test alone speaks in frames

    data = _data()
    counts = pd.DataFrame(data.counts_low, columns=list(data.clusters))
    counts.insert(0, "lot", data.lots)
    counts.insert(1, "site", data.sites)
    potency = pd.Series(
        [float(np.exp(np.log(runs[0][1]).mean() - np.log(runs[0][2]).mean())) for runs in data.potency["vegf"].runs],
        index=list(data.lots),
        name="VEGF",
    )
    answer = study_association(counts, potency, unit="ratio", strata="site", draws=199, limit=5.0)
    found = answer.results.specification
    assert isinstance(found, SpecificationResults)
    assert not found.declared
    assert found.cluster == DRIVER
    with pytest.raises(InputError, match="expected one of cluster 0"):
        study_association(counts, potency, unit="ratio", draws=199, limit=5.0, limit_cluster="cluster 9")
