"""How often the modules on attributes and on several potencies are right, over many simulated studies.

Each replicate is drawn whole and answered by the modules that a study runs; only the sensitivity of clusters, which no
rate below looks at, is left out.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from coordinator.modules.attributes import analyse_attributes
from coordinator.units import rows_of_cohorts, units_of
from protocol.modules.attributes_results import AttributesResults
from protocol.plan import AnalysisPlan, Cohort, CohortRole
from shared.errors import InternalError
from shared.statistics.association import Associations, associate
from shared.statistics.multiplicity import holm
from shared.statistics.streams import named_seed
from simulations.attribute_truth import AttributesModel
from simulations.power import Rate
from simulations.scenario import Scenario
from simulations.whole_study import simulate_whole

ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class AttributeRates:
    """Over studies. ``false_in_family`` counts a null attribute found in a family, by family; ``found`` is by name."""

    found: dict[str, Rate]
    leads_its_family: dict[str, Rate]
    false_in_family: dict[str, Rate]
    warned_of_denominator: Rate
    warned_of_detection: Rate


def attribute_rates(scenario: Scenario, *, replicates: int, seed: int, draws: int = 999) -> AttributeRates:
    """Return what the module says of a scenario's attributes over ``replicates`` studies.

    Raises
    ------
    InternalError
        If the scenario has no attributes.
    """
    model = scenario.attributes
    if model is None:
        raise InternalError("expected a scenario with attributes")
    true = {*model.drivers, *model.dragged}
    found, leads, false = Counter[str](), Counter[str](), Counter[str]()
    of_denominator = of_detection = 0
    for number in range(replicates):
        answer = attributes_of_replicate(scenario, seed=seed, number=number, draws=draws)
        hits = [row for row in answer.associations if row.significant]
        found.update(row.attribute for row in hits)
        false.update({row.family for row in hits if row.attribute not in true})
        seen: set[str] = set()
        for row in answer.associations:  # best first within its family
            if row.family not in seen:
                leads[row.attribute] += 1
            seen.add(row.family)
        of_denominator += bool(answer.shared_denominators)
        of_detection += bool(answer.warnings)
    names = [each.plan.attribute for each in model.attributes]
    return AttributeRates(
        found={name: Rate(events=found[name], trials=replicates) for name in names},
        leads_its_family={name: Rate(events=leads[name], trials=replicates) for name in names},
        false_in_family={family: Rate(events=false[family], trials=replicates) for family, _ in model.plan.families()},
        warned_of_denominator=Rate(events=of_denominator, trials=replicates),
        warned_of_detection=Rate(events=of_detection, trials=replicates),
    )


def attributes_of_replicate(scenario: Scenario, *, seed: int, number: int, draws: int = 999) -> AttributesResults:
    """Return what the module says of one replicate."""
    data = simulate_whole(scenario, seed=seed, number=number).data()
    rows, _ = rows_of_cohorts(data, _discovery(scenario))
    answer = analyse_attributes(
        data,
        scenario.modules.attributes,
        AnalysisPlan(alpha=ALPHA, strata=scenario.strata, draws=draws, seed=seed),
        (scenario.assay.as_endpoint(scenario.normalisation),),
        rows,
        threads=1,
    )
    if answer is None:
        raise InternalError("expected a plan that asks for attributes")
    return answer


def without_drivers(model: AttributesModel) -> AttributesModel:
    """Return the same panel with nothing that follows potency: gaps and limits of detection stay."""
    return AttributesModel(
        attributes=tuple(replace(each, quantity=replace(each.quantity, correlation=0.0)) for each in model.attributes),
        denominators={name: replace(each, correlation=0.0) for name, each in model.denominators.items()},
    )


@dataclass(frozen=True, kw_only=True)
class PotencyRates:
    """Over studies, by endpoint: the driver leads its row, is found in it, is found over all potencies (Holm).

    ``false_in_row`` counts any other cluster found; ``false_anywhere`` any in any row, within rows and by Holm.
    """

    leads: dict[str, Rate]
    found: dict[str, Rate]
    found_over_all: dict[str, Rate]
    false_in_row: dict[str, Rate]
    false_anywhere: Rate
    false_anywhere_over_all: Rate


def potency_rates(scenario: Scenario, *, replicates: int, seed: int, draws: int = 999) -> PotencyRates:
    """Return how often each potency's driver leads its own row over ``replicates`` studies."""
    names = [scenario.assay.endpoint, *(each.assay.endpoint for each in scenario.potencies)]
    leads, found, over_all, false = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    anywhere = anywhere_over_all = 0
    for number in range(replicates):
        drivers, answers = _rows(scenario, seed=seed, number=number, draws=draws)
        corrected = holm(np.concatenate([answer.p for answer in answers])).reshape(len(answers), -1)
        wrong = wrong_over_all = False
        for name, own, answer, over in zip(names, drivers, answers, corrected, strict=True):
            hits = set(np.flatnonzero(answer.p_adjusted <= ALPHA).tolist())
            hits_over_all = set(np.flatnonzero(over <= ALPHA).tolist())
            leads[name] += answer.order()[0] in own
            found[name] += bool(hits & set(own))
            over_all[name] += bool(hits_over_all & set(own))
            # A driver drags others by closure: beside one, false is what stands there without any driver.
            false[name] += bool(hits) and not own
            wrong = wrong or (bool(hits) and not own)
            wrong_over_all = wrong_over_all or (bool(hits_over_all) and not own)
        anywhere += wrong
        anywhere_over_all += wrong_over_all
    return PotencyRates(
        leads={name: Rate(events=leads[name], trials=replicates) for name in names},
        found={name: Rate(events=found[name], trials=replicates) for name in names},
        found_over_all={name: Rate(events=over_all[name], trials=replicates) for name in names},
        false_in_row={name: Rate(events=false[name], trials=replicates) for name in names},
        false_anywhere=Rate(events=anywhere, trials=replicates),
        false_anywhere_over_all=Rate(events=anywhere_over_all, trials=replicates),
    )


def _rows(
    scenario: Scenario, *, seed: int, number: int, draws: int
) -> tuple[list[tuple[int, ...]], Sequence[Associations]]:
    whole = simulate_whole(scenario, seed=seed, number=number)
    data = whole.data()
    rows, _ = rows_of_cohorts(data, _discovery(scenario))
    answers = []
    for each in whole.potencies:
        endpoint = each.assay.as_endpoint(scenario.normalisation)
        units, _ = units_of(data, rows, endpoint, scenario.strata, tuple(range(len(data.clusters))))
        answers.append(
            associate(
                units.shares,
                units.potency,
                units.strata,
                draws=draws,
                entropy=named_seed(seed, str(number), endpoint.endpoint),
                threads=1,
            )
        )
    return [each.driver_clusters for each in whole.potencies], answers


def _discovery(scenario: Scenario) -> list[Cohort]:
    return [cohort for cohort in scenario.cohorts() if cohort.role is CohortRole.DISCOVERY]
