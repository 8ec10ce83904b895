"""What a specification is asked for: by the plan, or after it was signed; and the words for limit and threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.modules.asked import Modules
from protocol.modules.markers import MarkerPredictor, MarkersPlan
from protocol.modules.specification import SpecificationPlan
from protocol.plan import AnalysisPlan, Cohort, Endpoint, Normalisation


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a specification is asked for, and of which study.

    Attributes
    ----------
    asked : SpecificationPlan
        Limit, endpoint, cluster or marker, and confidence.
    declared : bool
        Whether the signed plan has it so.
    endpoint : Endpoint
        The endpoint that ``asked`` names.
    cohorts, analysis, markers
        Of the study's plan.
    """

    asked: SpecificationPlan
    declared: bool
    endpoint: Endpoint
    cohorts: tuple[Cohort, ...]
    analysis: AnalysisPlan
    markers: MarkersPlan | None = None

    @property
    def marker(self) -> MarkerPredictor | None:
        """The predictor of the plan that ``asked`` names."""
        place = self.asked.marker
        predictors = () if self.markers is None else self.markers.predictors
        return None if place is None else next(each for each in predictors if place.names(each))

    @property
    def limit_text(self) -> str:
        """The limit with its unit."""
        return limit_text(self.asked.limit, self.endpoint)


def asked_by(
    modules: Modules,
    endpoints: Sequence[Endpoint],
    cohorts: tuple[Cohort, ...],
    analysis: AnalysisPlan,
    *,
    declared: bool = True,
) -> Question | None:
    """Return what a plan asks, or None where it asks for no specification; ``declared``: the plan was signed."""
    asked = modules.specification
    if asked is None:
        return None
    endpoint = next(each for each in endpoints if each.endpoint == asked.endpoint)
    return Question(
        asked=asked,
        declared=declared,
        endpoint=endpoint,
        cohorts=cohorts,
        analysis=analysis,
        markers=modules.markers,
    )


def limit_text(limit: float, endpoint: Endpoint) -> str:
    """Return a limit of potency with its unit, as the endpoint is analysed."""
    if endpoint.normalisation is Normalisation.RUN_REFERENCE:
        return f"{limit:g} times the reference standard ({endpoint.assay})"
    return f"{limit:g} {endpoint.unit} ({endpoint.assay})"


def threshold_text(threshold: float) -> str:
    """Return a threshold in per cent, with all of its digits.

    >>> threshold_text(0.138), threshold_text(0.0523)
    ('13.8%', '5.23%')
    """
    return f"{100 * threshold:.4g}%"
