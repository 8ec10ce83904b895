"""An adversary solves moments for single cells: on what stays at the site it succeeds, on what leaves it cannot."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from protocol.modules.asked import Modules
from protocol.modules.markers import LotMarkers, MarkerPredictor, MarkersPlan
from protocol.modules.names import ModuleName
from protocol.plan import Profile
from protocol.policy import EffectiveRules, PolicyThresholds, effective
from protocol.report import LotReport, Software
from shared.statistics.moments import Moments
from site_agent.release.disclosure import judge
from site_agent.release.earlier_releases import EarlierRelease
from site_agent.release.marker_rules import without_repeated
from site_agent.release.summaries import MappedLot, pad, summarise
from site_agent.release.verdicts import Outcome, RuleId
from tests.study_parts import ALot, AMeasurement, make_plan, make_policy

pytestmark = pytest.mark.disclosure
SOFTWARE = Software(crosslot="0.1.0", mapper="linear/1")
Values = NDArray[np.float64]
PLAN = MarkersPlan(genes=("G",), predictors=(MarkerPredictor(gene="G", cluster="c0", threshold=1.5),))


def _rules(profile: Profile = Profile.OPEN) -> EffectiveRules:
    plan = make_plan().model_copy(update={"modules": Modules(markers=PLAN)})
    policy = make_policy(profile=profile).model_copy(
        update={
            "allowed_modules": (ModuleName.MARKERS,),
            "thresholds": PolicyThresholds(minimum_cells_per_lot=1, minimum_lots_per_site=1),
        }
    )
    return effective(policy, plan)


def _report(rules: EffectiveRules, values: Values) -> LotReport:
    """Return the report of a lot whose cluster c0 holds cells of these log values; c1 and c2 are silent."""
    groups = [values, np.zeros(40), np.zeros(40)]
    moments = Moments(
        cells=np.array([float(len(each)) for each in groups]),
        mean=np.array([[each.mean()] for each in groups]),
        m2=np.array([[((each - each.mean()) ** 2).sum()] for each in groups]),
        sum_expm1=np.array([[np.expm1(each).sum()] for each in groups]),
        nonzero=np.array([[float((each > 0).sum())] for each in groups]),
    )
    high = np.array([[int((each >= 1.5).sum())] for each in [*groups, np.zeros(0)]])
    lot = MappedLot(
        counts=tuple(len(each) for each in groups),
        unassigned=0,
        cells_after_qc=sum(len(each) for each in groups),
        median_counts=2_000.0,
        median_genes=900.0,
        median_mitochondrial_share=None,
        gene_coverage=1.0,
        moments=moments,
        high_cells=high,
    )
    return summarise(lot, ALot(lot="L"), [AMeasurement()], rules=rules, secret=bytes(32), software=SOFTWARE)


def _markers(report: LotReport) -> LotMarkers:
    assert report.markers is not None
    return report.markers


def solved(cells: int, mean: float, m2: float, sum_expm1: float, nonzero: int) -> Values | None:
    """Return the expressing cells' values that the moments determine: one, two or three; None where they do not."""
    total, squares = cells * mean, m2 + cells * mean**2
    if nonzero == 1:
        return np.array([total])
    if nonzero == 2:
        root = np.sqrt(max(2 * squares - total**2, 0.0))
        return np.array([(total - root) / 2, (total + root) / 2])
    if nonzero == 3:
        grid = np.linspace(0.0, total, 200_001)[1:-1]
        rest, rest_squares = total - grid, squares - grid**2
        root = np.sqrt(np.maximum(2 * rest_squares - rest**2, 0.0))
        pair = np.array([(rest - root) / 2, (rest + root) / 2])
        misfit = np.abs(np.expm1(grid) + np.expm1(pair).sum(axis=0) - sum_expm1)
        misfit[(2 * rest_squares < rest**2) | (pair < 0).any(axis=0)] = np.inf
        best = int(misfit.argmin())
        return np.sort(np.array([grid[best], *pair[:, best]]))
    return None


@pytest.mark.parametrize("expressing", [1, 2, 3])
def test_the_adversary_solves_moments_of_up_to_three_cells_and_none_of_these_leave(expressing: int) -> None:
    values = np.zeros(400)
    values[:expressing] = np.array([1.1, 1.9, 2.6])[:expressing]
    centred = float(((values - values.mean()) ** 2).sum())
    found = solved(400, float(values.mean()), centred, float(np.expm1(values).sum()), expressing)
    assert found is not None
    np.testing.assert_allclose(found, values[:expressing], atol=2e-3)
    for profile in Profile:
        sent = _markers(_report(_rules(profile), values)).clusters[0]
        assert (sent.mean[0], sent.m2[0], sent.sum_expm1[0], sent.nonzero[0]) == (None, None, None, None)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), cells=st.integers(20, 200), kept=st.floats(0.0, 1.0))
def test_two_releases_that_differ_by_a_cell_do_not_show_it(seed: int, cells: int, kept: float) -> None:
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(cells) < kept, rng.uniform(0.5, 3.0, cells), 0.0)
    rules, one_more = _rules(), np.append(values, 2.345)
    before, after = _report(rules, values), _report(rules, one_more)
    first, second = _markers(before).clusters[0], _markers(after).clusters[0]
    if first.mean[0] is not None and second.mean[0] is not None:
        cell = second.cells * second.mean[0] - first.cells * first.mean[0]
        assert cell == pytest.approx(2.345, abs=1e-5)  # so much would be given away
    earlier = [EarlierRelease(report=before, same_cells=False)]
    narrowed = pad(without_repeated(after, earlier))
    assert not any(each.cells for each in _markers(narrowed).clusters)
    assert not any((each.low, each.high) != (0, 10**9) for each in _markers(narrowed).high_cells)
    failing = {
        each.rule for each in judge(after, rules, lots_offered=3, earlier=earlier) if each.outcome is Outcome.FAIL
    }
    assert RuleId.MARKERS in failing


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    cells=st.integers(0, 80),
    expressing=st.integers(0, 80),
    profile=st.sampled_from([Profile.OPEN, Profile.STANDARD]),
)
def test_no_number_of_cells_that_can_be_worked_out_is_small(
    seed: int, cells: int, expressing: int, profile: Profile
) -> None:
    values = np.zeros(max(cells, 1))
    n = min(expressing, len(values))
    values[:n] = np.random.default_rng(seed).uniform(0.4, 3.0, n)
    rules = _rules(profile)
    sent = _markers(_report(rules, values)).clusters[0]
    high = _markers(_report(rules, values)).high_cells[0]
    if not sent.cells:
        assert (high.low, high.high) == (0, 10**9)
        return
    numbers = {0, sent.cells}
    if sent.nonzero[0] is not None:
        numbers.add(sent.nonzero[0])
    if high.low == high.high:
        numbers.add(high.low)
    ordered = sorted(numbers)
    assert all(larger - smaller >= 10 for smaller, larger in pairwise(ordered))


def test_a_forged_report_with_moments_of_few_cells_is_refused() -> None:
    rules = _rules()
    values = np.zeros(400)
    values[:50] = 2.0
    report = _report(rules, values)
    first = _markers(report).clusters[0].model_copy(update={"mean": (0.005,), "m2": (1.2,), "nonzero": (1,)})
    forged = pad(
        report.model_copy(
            update={
                "markers": _markers(report).model_copy(update={"clusters": (first, *_markers(report).clusters[1:])})
            }
        )
    )
    failing = {each.rule for each in judge(forged, rules, lots_offered=3) if each.outcome is Outcome.FAIL}
    assert failing == {RuleId.MARKERS}


def test_a_policy_that_lowers_its_threshold_does_not_lower_that_of_moments() -> None:
    rules = replace(_rules(), small_count=replace(_rules().small_count, value=0))
    values = np.zeros(100)
    values[:9] = 1.0
    assert _markers(_report(rules, values)).clusters[0].few == (0,)
