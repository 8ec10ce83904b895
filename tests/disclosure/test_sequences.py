"""Random sequences of requests to one site: whatever is asked, in whatever order, nothing hidden can be worked out.

A sequence draws a site's lots with their true counts under two atlases, and then acts: the coordinator asks in one of
two studies under one of two atlases, with every module or with none, the site changes its policy, a lot gains cells,
the steward withholds clusters, approves with or without a reason, or refuses. A policy may ask for noise: what nothing
may give back is then the counts as they were drawn, no moment leaves, and all draws of a lot that left keep to its
budget. An adversary keeps every byte that leaves.
``CROSSLOT_SEQUENCES`` sets how many sequences are drawn: 1,000 where it is not set, 50,000 in the nightly run. They are
drawn in shares, so that processes can divide them and each share that is done shows; ``CROSSLOT_SEED`` makes the draw
one that can be had again.
"""

import os
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from protocol.identifiers import Sha256
from protocol.ledger import LedgerEvent
from protocol.modules.names import ModuleName
from protocol.plan import Profile
from protocol.policy import NoisePolicy, PolicyThresholds, SitePolicy
from site_agent.release.decisions import State
from site_agent.release.suppression import CountTable, hidden_below, implied_bounds, named_parts, table_of
from tests.request_modules import HIGH, arm_of, values_in
from tests.request_world import LOTS, PLANS, STUDIES, Cells, Released, World
from tests.study_parts import (
    COORDINATOR,
    KYOTO,
)

pytestmark = pytest.mark.disclosure

SEQUENCES: Final = int(os.environ.get("CROSSLOT_SEQUENCES", "1000"))
SHARE: Final = 500
"""How many sequences one test draws: few enough that hypothesis, which remembers all, stays quick."""
SEED: Final = os.environ.get("CROSSLOT_SEED")

COUNT = st.one_of(st.integers(0, 14), st.integers(0, 2_000))


@st.composite
def some_cells(draw: st.DrawFn) -> Cells:
    one = [draw(COUNT) for _ in range(4)]
    one[draw(st.integers(0, 3))] += draw(st.sampled_from([0, 60, 600]))
    # The other atlas divides the same cells otherwise.
    two, source, target = list(one), draw(st.integers(0, 3)), draw(st.integers(0, 3))
    moved = draw(st.integers(0, min(two[source], 30)))
    two[source] -= moved
    two[target] += moved
    return Cells(version=0, parts=((one[0], one[1], one[2], one[3]), (two[0], two[1], two[2], two[3])))


NOISES: Final = [
    NoisePolicy(epsilon_per_release=epsilon, epsilon_budget=budget)
    for epsilon, budget in ((0.5, 0.5), (1.0, 2.0), (0.7, 1.4), (3.0, 100.0))
]


@st.composite
def some_policy(draw: st.DrawFn) -> SitePolicy:
    profile = draw(st.sampled_from(Profile))
    return SitePolicy(
        version=1,
        site=KYOTO,
        profile=profile,
        allowed_studies=STUDIES,
        allowed_coordinators=(COORDINATOR.fingerprint,),
        auto_approve=STUDIES if draw(st.booleans()) else (),
        allowed_modules=draw(st.sampled_from([tuple(ModuleName), tuple(ModuleName), ()])),
        thresholds=PolicyThresholds(
            minimum_cells_per_lot=draw(st.sampled_from([1, 50])),
            small_count_threshold=draw(st.sampled_from([None, 0, 2, 5, 10, 13])),
            minimum_lots_per_site=1,
        ),
        noise=draw(st.sampled_from([None, None, None, None, *NOISES])),
    )


HOW: Final = st.sampled_from(["approve with a reason", "approve with a reason", "approve", "refuse"])
CHANGE: Final = st.one_of(st.none(), st.tuples(st.sampled_from(LOTS), st.integers(0, 3), st.integers(1, 12)))
# Often the two studies that ask for every module under one atlas: only there moments leave twice.
PLAN = st.one_of(st.integers(0, len(PLANS) - 1), st.sampled_from([4, 6]))
ROUND = st.tuples(st.just("round"), CHANGE, PLAN, HOW)
STEP = st.one_of(
    ROUND,
    ROUND,
    st.tuples(st.just("policy"), some_policy()),
    st.tuples(st.just("withhold"), st.integers(0, 2)),
)


def _ends(table: CountTable) -> list[tuple[int, int]]:
    return [(part.low, part.high) for _, part in named_parts(table)]


def _check(world: World, draw_part: Callable[[int], int]) -> None:
    _check_true(world)
    for lot in LOTS:
        of_lot = [each for each in world.released if each.lot == lot]
        for cells, draw in {(id(each.cells), each.draw): (each.cells, each.draw) for each in of_lot}.values():
            same = [each for each in of_lot if each.cells == cells and each.draw == draw]
            if not any(each.warned for each in same):
                _check_nothing_is_narrowed(same, draw_part)
        _check_differences(of_lot)
        _check_one_set_of_cells(of_lot)
    for each in world.released:
        _check_modules(each)
    _check_written_down(world)


def _check_true(world: World) -> None:
    for each in world.released:
        truth = each.parts
        assert all(low <= cells <= high for cells, (low, high) in zip(truth, _ends(table_of(each.report)), strict=True))
        assert each.report.cells_after_qc.low <= sum(truth) <= each.report.cells_after_qc.high
        threshold = hidden_below(each.rules)
        for cells, (low, high) in zip(truth, _ends(table_of(each.report)), strict=True):
            assert not 0 < cells < threshold or high - low + 1 >= threshold - 1


def _check_nothing_is_narrowed(same: Sequence[Released], draw_part: Callable[[int], int]) -> None:
    tables = [(each.report.atlas_sha256, table_of(each.report)) for each in same]
    for position, (atlas, table) in enumerate(tables):
        others = tables[:position] + tables[position + 1 :]
        bounds = implied_bounds(table, others, atlas)
        assert bounds is not None
        assert _ends(bounds) == _ends(table)
    # One part of one table, by a solver that knows nothing of our formula.
    if len(tables) > 1:
        target = draw_part(len(tables) - 1)
        part = draw_part(3)
        assert _solved(tables, target, part) == _ends(tables[target][1])[part]


def _check_differences(of_lot: Sequence[Released]) -> None:
    for position, new in enumerate(of_lot):
        threshold = hidden_below(new.rules)
        for old in of_lot[:position]:
            if old.cells == new.cells or old.draw or new.draw or old.report.atlas_sha256 != new.report.atlas_sha256:
                continue
            pairs = zip(_ends(table_of(new.report)), _ends(table_of(old.report)), strict=True)
            for (low, high), (old_low, old_high) in pairs:
                if low == high and old_low == old_high:
                    assert not 0 < abs(low - old_low) < threshold


def _check_one_set_of_cells(of_lot: Sequence[Released]) -> None:
    telling = [each for each in of_lot if each.report.markers and any(c.cells for c in each.report.markers.clusters)]
    assert len({(id(each.cells), each.report.atlas_sha256) for each in telling}) <= 1


def _check_modules(released: Released) -> None:
    """Check what left beside counts: only what the plan asks for, and no moment of few cells or of a hidden count."""
    report, asked = released.report, released.rules.plan.modules
    if not asked.names:
        assert (report.markers, report.attributes, report.arm) == (None, (), None)
        return
    assert report.arm is arm_of(released.lot)
    assert [(each.value, each.below_detection) for each in report.attributes] == [
        (None, True) if released.lot == LOTS[0] else (812.3, False)
    ]
    if report.markers is None:
        assert released.draw is not None  # exact numbers of cells would undo the noise
        return
    assert released.draw is None
    fewest = max(released.rules.small_count.value, 10)
    values = [values_in(released.lot, report.atlas_sha256, *each) for each in enumerate(released.parts)]
    for sent, part in zip(report.markers.clusters, report.counts, strict=True):
        if not sent.cells:
            assert not any(each is not None for each in (*sent.mean, *sent.m2, *sent.sum_expm1, *sent.nonzero))
            continue
        assert (part.low, part.high) == (sent.cells, sent.cells)
        assert sent.cells >= 20
        for gene, own in enumerate(values[sent.cluster].T):
            expressing = int((own > 0).sum())
            if 0 < expressing < fewest:
                assert (sent.mean[gene], sent.m2[gene], sent.sum_expm1[gene], sent.nonzero[gene]) == (None,) * 4
            else:
                assert sent.mean[gene] == pytest.approx(own.mean(), rel=1e-8)
                assert (sent.nonzero[gene] is None) == (0 < sent.cells - expressing < fewest)
    whole = np.concatenate(values)
    for told, own in zip(report.markers.high_cells, (values[0][:, 0], whole[:, 1]), strict=True):
        high = int((own >= HIGH).sum())
        assert told.low <= high <= told.high
        assert told.low != told.high or not 0 < told.low < fewest


def _check_written_down(world: World) -> None:
    entries = [entry.record for entry in world.ledger.verify()]
    told = {entry.subject_sha256 for entry in entries if entry.event is LedgerEvent.RELEASED}
    assert told == world.seen
    held = world.airlock.held()
    assert all(held[digest].state is State.SENT and held[digest].approval is not None for digest in world.seen)


def _solved(tables: Sequence[tuple[Sha256, CountTable]], target: int, part: int) -> tuple[int, int]:
    """Return the least and the greatest value of a part in any table of whole numbers that agrees with all released.

    One unknown for each part of each atlas, and one for the total.
    """
    atlases = sorted({atlas for atlas, _ in tables})
    n = 1 + 4 * len(atlases)
    low, high = np.zeros(n), np.full(n, 1e9)
    for atlas, table in tables:
        low[0], high[0] = max(low[0], table.total.low), min(high[0], table.total.high)
        start = 1 + 4 * atlases.index(atlas)
        for offset, (one, other) in enumerate(_ends(table)):
            low[start + offset] = max(low[start + offset], one)
            high[start + offset] = min(high[start + offset], other)
    rows = np.zeros((len(atlases), n))
    for number in range(len(atlases)):
        rows[number, 0] = -1
        rows[number, 1 + 4 * number : 5 + 4 * number] = 1
    wanted = 1 + 4 * atlases.index(tables[target][0]) + part
    ends = []
    for sign in (1, -1):
        objective = np.zeros(n)
        objective[wanted] = sign
        result = milp(
            objective,
            constraints=LinearConstraint(rows, 0, 0),
            integrality=np.ones(n, dtype=np.int64),
            bounds=Bounds(low, high),
        )
        assert result.success
        ends.append(round(sign * result.fun))
    return ends[0], ends[1]


def no_sequence_gives_back_what_was_hidden(
    cells: tuple[Cells, Cells], policy: SitePolicy, steps: list[tuple[object, ...]], choice: int
) -> None:
    world = World(cells=dict(zip(LOTS, cells, strict=True)), policy=policy)
    world.ask(choice % len(PLANS))
    for step in steps:
        match step:
            case ("round", changed, int(which), str(how)):
                if isinstance(changed, tuple):
                    world.change(*changed)
                world.ask(which)
                world.decide(how)
                world.ask(which)
            case ("policy", SitePolicy() as new):
                world.policy = new.model_copy(update={"version": world.policy.version + 1})
            case ("withhold", int(cluster)):
                world.withhold(cluster)
            case _:
                raise AssertionError(step)
    _check(world, lambda most: choice % (most + 1))


@pytest.mark.parametrize("share", range(-(-SEQUENCES // SHARE)))
def test_no_sequence_of_requests_gives_back_what_was_hidden(share: int) -> None:
    drawn = given(
        cells=st.tuples(some_cells(), some_cells()),
        policy=some_policy(),
        steps=st.lists(STEP, min_size=2, max_size=5),
        choice=st.integers(0, 1_000_000),
    )(no_sequence_gives_back_what_was_hidden)
    run = settings(
        max_examples=min(SHARE, SEQUENCES - share * SHARE),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        database=None,
    )(drawn)
    if SEED is not None:
        run = seed(int(SEED) + share)(run)
    run()


@pytest.mark.parametrize("changed", [None, (LOTS[0], 0, 1)])
@pytest.mark.parametrize("second", [4, 5, 6, 7])
def test_a_lot_whose_cells_changed_between_two_requests_for_moments_sends_them_once(
    second: int, changed: tuple[str, int, int] | None
) -> None:
    parts = (400, 300, 60, 30)
    no_sequence_gives_back_what_was_hidden(
        cells=(Cells(version=0, parts=(parts, parts)), Cells(version=0, parts=(parts, parts))),
        policy=SitePolicy(
            version=1,
            site=KYOTO,
            profile=Profile.OPEN,
            allowed_studies=STUDIES,
            allowed_coordinators=(COORDINATOR.fingerprint,),
            allowed_modules=tuple(ModuleName),
            thresholds=PolicyThresholds(minimum_cells_per_lot=1, minimum_lots_per_site=1),
        ),
        steps=[("round", None, 4, "approve with a reason"), ("round", changed, second, "approve with a reason")],
        choice=0,
    )


def test_a_cluster_withheld_in_one_study_and_shown_in_another_waits_for_who_has_seen_the_warning() -> None:
    # Found among 5,000 random sequences: the approval in the first study was older than the warning.
    no_sequence_gives_back_what_was_hidden(
        cells=(
            Cells(version=0, parts=((0, 0, 0, 0), (0, 0, 0, 0))),
            Cells(version=0, parts=((60, 0, 0, 0), (60, 0, 0, 0))),
        ),
        policy=SitePolicy(
            version=1,
            site=KYOTO,
            profile=Profile.OPEN,
            allowed_studies=STUDIES,
            allowed_coordinators=(COORDINATOR.fingerprint,),
            thresholds=PolicyThresholds(minimum_cells_per_lot=1, minimum_lots_per_site=1),
        ),
        steps=[
            ("withhold", 0),
            ("round", None, 2, "approve with a reason"),
            ("round", None, 0, "approve with a reason"),
        ],
        choice=0,
    )
