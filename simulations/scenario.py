"""What a scenario is: a model, a design, and how the question is put; its builder's docstring says what to find."""

from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import getdoc
from typing import Literal

from protocol.modules.asked import Modules
from protocol.plan import (
    Alternative,
    AnalysisPlan,
    Cohort,
    CohortRole,
    MarkerRule,
    Normalisation,
    Strata,
    ValidationPlan,
)
from simulations.attribute_truth import AttributesModel
from simulations.design import Block
from simulations.potency_truth import VEGF, Assay, FurtherPotency
from simulations.truth import Model

_DISCOVERY = "discovery"
Modality = Literal["counts", "morphology"]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A model, a design, and how the question is put.

    ``small_count_threshold`` above 0 hides counts below it, as a site's disclosure does. A tissue speaks on validation
    where the discovered cluster's median share is at least ``minimum_share`` and ``marker_rule``, if any, admits it.
    ``assay`` measures the model's own potency, ``potencies`` are beside it, ``attributes`` are of the lot as a whole.
    ``modality`` is what the cells hold, and the atlas.
    """

    name: str
    expectation: str
    model: Model
    blocks: tuple[Block, ...]
    strata: Strata = Strata.SITE
    normalisation: Normalisation = Normalisation.RUN_REFERENCE
    alternative: Alternative = Alternative.TWO_SIDED
    small_count_threshold: int = 0
    minimum_share: float = 0.0
    marker_rule: MarkerRule | None = None
    modules: Modules = field(default_factory=Modules)
    assay: Assay = VEGF
    potencies: tuple[FurtherPotency, ...] = ()
    attributes: AttributesModel | None = None
    modality: Modality = "counts"

    @property
    def summary(self) -> str:
        """The first sentence of what should be found."""
        return self.expectation.split("\n", maxsplit=1)[0]

    def analysis_plan(self, *, seed: int, draws: int = 9_999) -> AnalysisPlan:
        """Return the plan's part on the analysis: all clusters, the scenario's strata and direction."""
        return AnalysisPlan(
            alternative=self.alternative,
            strata=self.strata,
            draws=draws,
            seed=seed,
            validation=ValidationPlan(minimum_share=self.minimum_share, marker=self.marker_rule),
        )

    def cohorts(self) -> tuple[Cohort, ...]:
        """Return the cohorts of the design with their tissues, discovery first."""
        names = sorted({block.cohort for block in self.blocks}, key=lambda name: (name != _DISCOVERY, name))
        return tuple(
            Cohort(
                cohort=name,
                role=CohortRole.DISCOVERY if name == _DISCOVERY else CohortRole.VALIDATION,
                tissues=tuple(sorted({block.tissue for block in self.blocks if block.cohort == name})),
            )
            for name in names
        )


def scenario_of(
    builder: Callable[[], Scenario],
    *,
    model: Model,
    blocks: tuple[Block, ...],
    strata: Strata = Strata.SITE,
    small_count_threshold: int = 0,
    minimum_share: float = 0.0,
    modules: Modules | None = None,
    assay: Assay = VEGF,
    potencies: tuple[FurtherPotency, ...] = (),
    attributes: AttributesModel | None = None,
    modality: Modality = "counts",
) -> Scenario:
    """Return the scenario that ``builder`` names and whose docstring says what should be found."""
    return Scenario(
        name=builder.__name__.strip("_").replace("_", "-"),
        expectation=getdoc(builder) or "",
        model=model,
        blocks=blocks,
        strata=strata,
        small_count_threshold=small_count_threshold,
        minimum_share=minimum_share,
        modules=modules or Modules(),
        assay=assay,
        potencies=potencies,
        attributes=attributes,
        modality=modality,
    )
