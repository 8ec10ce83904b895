"""The sentence never claims more than the numbers say."""

import pytest

from coordinator.verdicts import Over, refusal_of, verdict_of
from protocol.identifiers import EndpointId
from protocol.plan import Endpoint
from protocol.results import Association, NullMethod, VerdictCode
from shared.errors import DesignError
from shared.pages.rounding import rho_text

_ENDPOINT = Endpoint(endpoint=EndpointId("vegf"), assay="VEGF", unit="pg/mL")


def _row(cluster: str, rho: float | None, p: float, adjusted: float, *, significant: bool = False) -> Association:
    return Association(
        endpoint=EndpointId("vegf"),
        cluster=cluster,
        n_lots=8,
        rho=rho,
        rho_pooled=rho,
        p_value=p,
        p_adjusted=adjusted,
        q_value=p,
        ci_low=None if rho is None else rho - 0.1,
        ci_high=None if rho is None else rho,
        method=NullMethod.EXACT,
        significant=significant,
    )


def _sentence(*rows: Association, units: int = 8, lots: int = 8, sites: int = 3) -> str:
    return verdict_of(
        _ENDPOINT, rows, over=Over(units=units, lots=lots, sites=sites), alpha=0.05, confidence=0.95
    ).sentence


def test_what_passes_before_correction_only_is_not_significant() -> None:
    sentence = _sentence(_row("Mono", 0.857, 0.0107, 0.12), _row("B", 0.1, 0.8, 1.0))
    assert sentence == (
        "Not significant after correction over the 2 clusters: no cluster's share is shown to follow VEGF over 8 lots "
        "at 3 sites. The smallest p is that of Mono: rho 0.86, p 0.011 before correction, 0.12 after it."
    )


def test_nothing_at_all() -> None:
    assert _sentence(_row("Mono", 0.3, 0.4, 0.9), _row("B", None, 1.0, 1.0)) == (
        "No cluster's share is shown to follow VEGF over 8 lots at 3 sites in a family of 2 clusters. "
        "The smallest p is that of Mono: rho 0.30, p 0.40."
    )


@pytest.mark.parametrize(("rho", "moves"), [(0.9, "rises with"), (-0.9, "falls with")])
def test_a_finding_says_which_way(rho: float, moves: str) -> None:
    sentence = _sentence(_row("Mono", rho, 0.001, 0.004, significant=True), _row("B", 0.1, 0.8, 1.0))
    assert sentence.startswith(
        f"The share of Mono {moves} VEGF over 8 lots at 3 sites: rho {rho_text(rho)} (95% interval"
    )
    assert sentence.endswith("p 0.004 after correction over the 2 clusters.")


def test_a_finding_whose_interval_includes_no_association_says_which_of_the_two_decides() -> None:
    row = _row("Mono", 0.93, 0.02, 0.04, significant=True)
    wide = row.model_copy(update={"ci_low": -0.38, "ci_high": 0.999})
    assert "includes 0: the test decides, not it" in _sentence(wide, _row("B", 0.1, 0.8, 1.0))
    narrow = row.model_copy(update={"ci_low": 0.38, "ci_high": 0.999})
    assert "includes 0" not in _sentence(narrow, _row("B", 0.1, 0.8, 1.0))


def test_donors_are_named_where_they_are_fewer_than_lots() -> None:
    assert "over 9 lots (8 donors) at 1 site" in _sentence(_row("Mono", 0.3, 0.4, 0.9), lots=9, sites=1)


def test_a_refusal_is_no_finding_and_no_absence_of_one() -> None:
    verdict = refusal_of(_ENDPOINT, DesignError("too-few-units", "expected 3, found 2", hint="collect more"))
    assert (verdict.code, verdict.reason_code) == (VerdictCode.REFUSED, "too-few-units")
    assert verdict.sentence == "No answer on VEGF: expected 3, found 2. What would help: collect more."
