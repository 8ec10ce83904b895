"""What leaves under noise is one draw of the lot, and nothing that tells of its cells besides."""

from dataclasses import replace

import pytest

from protocol.modules.markers import ClusterMoments, HighCells, LotMarkers
from protocol.policy import EffectiveRules
from protocol.report import Count, CountNoise, LotReport
from shared.errors import InternalError
from site_agent.release.airlock import Airlock
from site_agent.release.append_log import MemoryLog
from site_agent.release.decisions import Approval
from site_agent.release.disclosure import judge
from site_agent.release.earlier_releases import EarlierRelease
from site_agent.release.gate import release
from site_agent.release.noise_book import NoiseStanding
from site_agent.release.noise_rule import judge_noise
from site_agent.release.summaries import pad
from site_agent.release.verdicts import Outcome, RuleId
from site_agent.release.withheld_clusters import withhold_clusters
from tests.noisy_site import NoisyLots, make_book, make_policy, rules_of
from tests.study_parts import (
    KYOTO,
    NOW,
    key_of,
)

pytestmark = pytest.mark.disclosure


def failures(
    report: LotReport, rules: EffectiveRules, standing: NoiseStanding | None, *earlier: EarlierRelease
) -> set[RuleId]:
    verdicts = judge(report, rules, lots_offered=2, noise=standing, earlier=earlier)
    return {verdict.rule for verdict in verdicts if verdict.outcome is Outcome.FAIL}


def test_the_counts_of_a_lots_draw_pass_and_any_others_fail() -> None:
    rules, book = rules_of(make_policy()), make_book()
    offer = NoisyLots(book).offer("BM-01", rules)
    standing = book.standing(offer.provenance)
    assert failures(offer.report, rules, standing) == set()
    spoken = [verdict.rule for verdict in judge(offer.report, rules, lots_offered=2, noise=standing)]
    assert sorted(spoken) == sorted(RuleId)
    assert failures(offer.report, rules, None) == {RuleId.NOISE}
    for position in range(3):
        counts = list(offer.report.counts)
        counts[position] = Count(low=5_000, high=5_000)
        moved = pad(offer.report.model_copy(update={"counts": tuple(counts)}))
        assert RuleId.NOISE in failures(moved, rules, standing)


def test_exact_counts_that_only_say_that_they_bear_noise_fail() -> None:
    rules, book = rules_of(make_policy()), make_book()
    offer = NoisyLots(book).offer("BM-01", rules)
    exact = NoisyLots(make_book()).offer("BM-01", rules_of(make_policy(noise=False))).report
    said = exact.disclosure.model_copy(
        update={"noise": CountNoise(epsilon=1.0), "policy_sha256": offer.report.disclosure.policy_sha256}
    )
    claimed = pad(exact.model_copy(update={"disclosure": said}))
    assert failures(claimed, rules, book.standing(offer.provenance)) == {RuleId.NOISE}


def test_noise_that_the_policy_does_not_ask_for_or_not_so_is_refused() -> None:
    book = make_book()
    offer = NoisyLots(book).offer("BM-01", rules_of(make_policy()))
    standing = book.standing(offer.provenance)
    assert RuleId.NOISE in failures(offer.report, rules_of(make_policy(noise=False)), standing)
    assert RuleId.NOISE in failures(offer.report, rules_of(make_policy(0.5)), standing)


def test_a_draw_of_another_lot_does_not_serve() -> None:
    rules, book = rules_of(make_policy()), make_book()
    source = NoisyLots(book)
    one, other = source.offer("BM-01", rules), source.offer("BM-02", rules)
    assert one.provenance is not None
    assert other.provenance is not None
    swapped = replace(one.provenance, draw_sha256=other.provenance.draw_sha256)
    assert book.standing(swapped) is None


def test_a_withheld_cluster_leaves_under_noise_as_the_magnitude_of_what_was_drawn() -> None:
    rules, book = rules_of(make_policy()), make_book()
    offer = NoisyLots(book).offer("BM-01", rules)
    widened = withhold_clusters(offer.report, {0}, rules)
    assert failures(widened, rules, book.standing(offer.provenance)) == set()


def test_moments_and_marker_high_cells_which_tell_true_numbers_of_cells_do_not_leave_under_noise() -> None:
    rules, book = rules_of(make_policy()), make_book()
    offer = NoisyLots(book).offer("BM-01", rules)
    standing = book.standing(offer.provenance)
    empty = ClusterMoments(cluster=0, cells=0, mean=(None,), m2=(None,), sum_expm1=(None,), nonzero=(None,))
    moments = empty.model_copy(update={"cells": 600, "mean": (1.0,), "m2": (1.0,), "sum_expm1": (1.0,)})
    high = HighCells(gene="LRRC75A", cluster=0, threshold=1.0, low=41, high=41)
    for markers, outcome in (
        (LotMarkers(clusters=(empty,)), Outcome.PASS),
        (LotMarkers(clusters=(moments,)), Outcome.FAIL),
        (LotMarkers(clusters=(empty,), high_cells=(high,)), Outcome.FAIL),
    ):
        told = offer.report.model_copy(update={"markers": markers})
        assert judge_noise(told, rules, standing).outcome is outcome


def test_the_gate_seals_nothing_under_noise_before_it_is_paid_for() -> None:
    rules, book = rules_of(make_policy()), make_book()
    offer = NoisyLots(book).offer("BM-01", rules)
    airlock = Airlock(MemoryLog())
    held = airlock.submit(offer.report, at=NOW, provenance=offer.provenance)
    approval: Approval = airlock.approve_by_policy(held.payload_sha256, rules, at=NOW)

    def sealed() -> bytes:
        return release(
            offer.report, rules, approval, key_of(KYOTO), lots_offered=2, noise=book.standing(offer.provenance)
        )

    with pytest.raises(InternalError, match="paid for"):
        sealed()
    assert rules.noise is not None
    book.commit(offer.provenance, rules.noise)
    assert sealed()
