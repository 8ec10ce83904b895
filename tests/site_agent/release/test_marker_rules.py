"""Which moments leave: what rests on few cells, tells a hidden count, or would show what changed between releases."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.codec import encode
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType
from protocol.identifiers import Label
from protocol.modules.asked import Modules
from protocol.modules.markers import MOST_MOMENTS, LotMarkers, MarkerPredictor, MarkersPlan
from protocol.modules.names import ModuleName
from protocol.plan import Profile
from protocol.policy import EffectiveRules, NoisePolicy
from protocol.report import Count, LotReport, Software
from shared.statistics.moments import Moments
from site_agent.release.disclosure import judge
from site_agent.release.earlier_releases import EarlierRelease
from site_agent.release.marker_rules import without_repeated
from site_agent.release.summaries import MappedLot, pad, summarise
from site_agent.release.verdicts import Outcome, RuleId
from site_agent.release.withheld_clusters import withhold_clusters
from tests.site_agent.release.conftest import SECRET, ALot, AMeasurement, mapped

GENES: tuple[Label, ...] = ("LRRC75A", "VEGFA", "ABSENT")
PLAN = MarkersPlan(
    genes=GENES,
    predictors=(
        MarkerPredictor(gene="LRRC75A", cluster="c1", threshold=1.0),
        MarkerPredictor(gene="VEGFA", threshold=1.0),
    ),
)
MakeRules = Callable[..., EffectiveRules]


def _asking(rules: EffectiveRules, plan: MarkersPlan = PLAN) -> EffectiveRules:
    return replace(rules, plan=rules.plan.model_copy(update={"modules": Modules(markers=plan)}))


def _moments(counts: tuple[int, ...], expressing: np.ndarray, seed: int = 0) -> tuple[Moments, np.ndarray]:
    """Return moments of random cells, ``expressing`` (C, 2) of each cluster, and marker-high cells at 1.0."""
    rng = np.random.default_rng(seed)
    shape = (len(counts), 3)
    mean, m2, scaled, nonzero = (np.full(shape, np.nan) for _ in range(4))
    high = np.zeros((len(counts) + 1, 3), dtype=np.int64)
    for cluster, cells in enumerate(counts):
        for gene in range(2):
            logs = np.zeros(cells)
            logs[: expressing[cluster, gene]] = rng.uniform(0.5, 3.0, min(expressing[cluster, gene], cells))
            mean[cluster, gene] = logs.mean() if cells else 0.0
            m2[cluster, gene] = ((logs - logs.mean()) ** 2).sum() if cells else 0.0
            scaled[cluster, gene] = np.expm1(logs).sum()
            nonzero[cluster, gene] = (logs > 0).sum()
            high[cluster, gene] = (logs >= 1.0).sum()
    high[:, 2] = -1
    return Moments(cells=np.array(counts, dtype=float), mean=mean, m2=m2, sum_expm1=scaled, nonzero=nonzero), high


def _lot(counts: tuple[int, ...], expressing: np.ndarray, unassigned: int = 7, seed: int = 0) -> MappedLot:
    moments, high = _moments(counts, expressing, seed)
    return mapped(*counts, unassigned=unassigned, moments=moments, high_cells=high)


def _report(rules: EffectiveRules, lot: MappedLot) -> LotReport:
    return summarise(
        lot, ALot(), [AMeasurement()], rules=rules, secret=SECRET, software=Software(crosslot="0", mapper="m")
    )


def _failing(report: LotReport, rules: EffectiveRules, *earlier: EarlierRelease) -> set[RuleId]:
    verdicts = judge(report, rules, lots_offered=9, earlier=earlier)
    return {each.rule for each in verdicts if each.outcome is Outcome.FAIL} - {RuleId.SCOPE}


def _markers(report: LotReport) -> LotMarkers:
    assert report.markers is not None
    return report.markers


@pytest.fixture
def standard(make_rules: MakeRules) -> EffectiveRules:
    return _asking(make_rules(minimum_cells=1, allowed_modules=(ModuleName.MARKERS,)))


COUNTS = (400, 300, 19, 3, 0)
EXPRESSING = np.array([[200, 395], [120, 9], [15, 15], [2, 2], [0, 0]])


def test_what_leaves_rests_on_enough_cells(standard: EffectiveRules) -> None:
    report = _report(standard, _lot(COUNTS, EXPRESSING))
    first, second, *rest = _markers(report).clusters
    assert (first.cells, second.cells) == (400, 300)
    assert [each.cells for each in rest] == [0, 0, 0]  # 19 cells are fewer than 20; 3 are hidden; 0 have no moments
    assert first.nonzero == (200, None, None)  # 5 of 400 do not express VEGFA: a small count of its own
    assert first.mean[1] is not None
    assert second.few == (1,)  # 9 cells express it
    assert (second.mean[1], second.m2[1], second.sum_expm1[1], second.nonzero[1]) == (None, None, None, None)
    assert first.mean[2] is None  # the file lacks it
    assert 2 not in first.few
    assert _failing(report, standard) == set()


@pytest.mark.parametrize("profile", [Profile.OPEN, Profile.STANDARD, Profile.STRICT])
@settings(max_examples=25)
@given(data=st.data())
def test_whatever_a_site_makes_passes_its_own_rules(
    make_rules: MakeRules, profile: Profile, data: st.DataObject
) -> None:
    rules = _asking(make_rules(profile, minimum_cells=1, allowed_modules=(ModuleName.MARKERS,)))
    counts = tuple(data.draw(st.lists(st.integers(0, 60), min_size=5, max_size=5)))
    expressing = np.array([[data.draw(st.integers(0, cells)) for _ in range(2)] for cells in counts])
    report = _report(rules, _lot(counts, expressing, unassigned=data.draw(st.integers(0, 3))))
    assert not _failing(report, rules) & {RuleId.MARKERS, RuleId.MODULES, RuleId.SIZE}
    markers = _markers(report)
    for each, part in zip(markers.clusters, report.counts, strict=True):
        assert each.cells in {0, part.low}
        assert not each.cells or part.is_exact
        assert all(count is None or count == 0 or count >= 10 for count in each.nonzero)
    if profile is Profile.STRICT:  # counts leave in steps: their moments would tell them
        assert not any(each.cells for each in markers.clusters)


def test_the_size_does_not_depend_on_which_moments_leave(standard: EffectiveRules) -> None:
    sizes = {
        len(encode(_report(standard, _lot(counts, np.minimum(EXPRESSING, np.array(counts)[:, None])))))
        for counts in (COUNTS, (1, 1, 1, 1, 1), (900_000, 40, 50, 60, 70))
    }
    assert len(sizes) == 1


def test_the_most_moments_that_a_plan_may_ask_for_fit_a_report(make_rules: MakeRules) -> None:
    for clusters in (8, 30, 256):
        genes = tuple(f"ENSG{number:011d}" for number in range(MOST_MOMENTS // clusters))
        plan = MarkersPlan(genes=genes)
        assert plan.misfit(tuple("abcdefgh"[:8]) if clusters == 8 else tuple(map(str, range(clusters)))) is None
        rules = _asking(make_rules(minimum_cells=1, clusters=clusters), plan)
        report = _report(rules, mapped(*(50,) * clusters))
        assert len(encode(report)) <= PAYLOAD_LIMITS[PayloadType.LOT_REPORT]
    assert "at most 450 genes at 8 clusters" in str(
        MarkersPlan(genes=genes + tuple(map(str, range(486)))).misfit(tuple("abcdefgh"))
    )


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"cells": 401}, "cells"),
        ({"nonzero": (9, None, None)}, "LRRC75A"),
        ({"nonzero": (395, None, None)}, "LRRC75A"),
        ({"mean": (0.12345678912345, 1.0, None)}, "LRRC75A"),
        ({"m2": (None, 1.0, None)}, "LRRC75A"),
        ({"few": (0,)}, "LRRC75A"),
    ],
)
def test_moments_that_tell_too_much_fail(standard: EffectiveRules, change: dict[str, object], name: str) -> None:
    report = _report(standard, _lot(COUNTS, EXPRESSING))
    first, *rest = _markers(report).clusters
    changed = _markers(report).model_copy(update={"clusters": (first.model_copy(update=change), *rest)})
    verdicts = judge(pad(report.model_copy(update={"markers": changed})), standard, lots_offered=9)
    failing = [each for each in verdicts if each.rule is RuleId.MARKERS and each.outcome is Outcome.FAIL]
    assert name in failing[0].fields[0]


def test_moments_of_a_hidden_count_fail(standard: EffectiveRules) -> None:
    report = _report(standard, _lot(COUNTS, EXPRESSING))
    first, *_ = _markers(report).clusters
    clusters = tuple(first.model_copy(update={"cluster": place, "cells": 30}) for place in range(5))
    assert RuleId.MARKERS in _failing(
        pad(report.model_copy(update={"markers": LotMarkers(clusters=clusters)})), standard
    )


def test_a_withheld_cluster_takes_its_moments_with_it(standard: EffectiveRules) -> None:
    report = withhold_clusters(_report(standard, _lot(COUNTS, EXPRESSING)), [0], standard)
    markers = _markers(report)
    assert [each.cells for each in markers.clusters] == [0, 300, 0, 0, 0]
    assert _failing(report, standard) == set()


def test_a_small_number_of_marker_high_cells_and_its_complement_are_hidden(standard: EffectiveRules) -> None:
    for expressing in range(10, 60):
        lot = _lot((500, 60, 40, 40, 40), np.array([[100, 100], [expressing, 30], [20, 20], [20, 20], [20, 20]]), 40)
        in_cluster, in_lot = _markers(_report(standard, lot)).high_cells
        assert lot.high_cells is not None
        exact = int(lot.high_cells[1, 0])
        assert in_cluster.low <= exact <= in_cluster.high
        nonzero = _markers(_report(standard, lot)).clusters[1].nonzero[0]
        ceiling = 60 if nonzero is None else nonzero
        if in_cluster.low == in_cluster.high:
            assert exact == 0 or exact >= 10
            assert exact == ceiling or ceiling - exact >= 10
        assert in_lot.low == in_lot.high == int(lot.high_cells[:, 1].sum())


def test_a_second_release_of_other_cells_sends_no_moments(standard: EffectiveRules) -> None:
    before = _report(standard, _lot(COUNTS, EXPRESSING))
    one_more = _report(standard, _lot((401, 300, 19, 3, 0), EXPRESSING, seed=1))
    earlier = EarlierRelease(report=before, same_cells=False)
    assert RuleId.MARKERS in _failing(one_more, standard, earlier)
    without = pad(without_repeated(one_more, [earlier]))
    assert not any(each.cells for each in _markers(without).clusters)
    assert RuleId.MARKERS not in _failing(without, standard, earlier)
    # The same cells under the same atlas give the same numbers: nothing is learnt.
    again = EarlierRelease(report=before, same_cells=True)
    assert without_repeated(before, [again]) == before
    other_atlas = EarlierRelease(report=before.model_copy(update={"atlas_sha256": "b" * 64}), same_cells=True)
    assert RuleId.MARKERS in _failing(before, standard, other_atlas)


def test_another_threshold_of_the_same_cells_is_refused(standard: EffectiveRules) -> None:
    lot = _lot((400, 300, 60, 60, 60), np.array([[200, 200], [120, 120], [30, 30], [30, 30], [30, 30]]))
    before = _report(standard, lot)
    changed = tuple(each.model_copy(update={"threshold": 1.001}) for each in _markers(before).high_cells)
    report = before.model_copy(update={"markers": _markers(before).model_copy(update={"high_cells": changed})})
    verdicts = judge(report, standard, lots_offered=9, earlier=[EarlierRelease(report=before, same_cells=True)])
    assert any(each.rule is RuleId.MARKERS and each.outcome is Outcome.FAIL for each in verdicts)


def test_under_noise_no_moments_leave(make_rules: MakeRules) -> None:
    noise = NoisePolicy(epsilon_per_release=1.0, epsilon_budget=3.0)
    rules = _asking(make_rules(minimum_cells=1, allowed_modules=(ModuleName.MARKERS,), noise=noise))
    assert _report(rules, _lot(COUNTS, EXPRESSING)).markers is None


def test_a_part_that_may_be_small_says_its_count_first(standard: EffectiveRules) -> None:
    assert _report(standard, _lot(COUNTS, EXPRESSING)).counts[3] == Count(low=1, high=4)
