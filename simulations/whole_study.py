"""One replicate of a scenario with everything that its lots have: cells, every potency, every attribute."""

from dataclasses import dataclass, replace

from coordinator.study_data import StudyData
from simulations.attribute_truth import SimulatedAttributes, simulate_attributes
from simulations.potency_truth import (
    SimulatedPotency,
    first_potency,
    further_generator,
    replicates_of,
    simulate_potencies,
)
from simulations.scenario import Scenario
from simulations.truth import SimulatedStudy, replicate_generator, simulate_study, to_study_data


@dataclass(frozen=True, kw_only=True, eq=False)
class WholeStudy:
    """What was drawn; ``potencies`` holds the model's own first."""

    study: SimulatedStudy
    potencies: tuple[SimulatedPotency, ...]
    attributes: SimulatedAttributes | None

    def data(self, *, small_count_threshold: int = 0) -> StudyData:
        """Return the study as the analysis sees it."""
        first = self.potencies[0].assay.endpoint
        data = to_study_data(self.study, endpoint=first, small_count_threshold=small_count_threshold)
        return replace(
            data,
            potency={each.assay.endpoint: replicates_of(self.study, each) for each in self.potencies},
            attributes=None if self.attributes is None else self.attributes.table(),
        )


def simulate_whole(scenario: Scenario, *, seed: int, number: int = 0) -> WholeStudy:
    """Draw replicate ``number`` of ``scenario``; its cells and first potency are those of a power run at ``seed``."""
    return beside(
        scenario, simulate_study(scenario.model, scenario.blocks, replicate_generator(seed, number)), seed, number
    )


def beside(scenario: Scenario, study: SimulatedStudy, seed: int, number: int = 0) -> WholeStudy:
    """Return a study that was drawn already with its further potencies and attributes."""
    generator = further_generator(seed, number)
    further = simulate_potencies(study, scenario.model, scenario.potencies, generator)
    attributes = None if scenario.attributes is None else simulate_attributes(study, scenario.attributes, generator)
    return WholeStudy(
        study=study,
        potencies=(first_potency(study, scenario.assay, scenario.model.slope), *further),
        attributes=attributes,
    )
