"""What is compared: donors as units, the bounds of their log-ratios, and ranges that stand in for lots."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.comparability.assessment import assess, reference_ranges
from shared.comparability.findings import Outcome
from shared.comparability.units import joined, log_ratio_bounds, standing_in, units_of_lots
from tests.shared.comparability.made_lots import CRITERIA, GOOD, PARTS, found, lots


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25)
def test_log_ratio_bounds_hold_every_count_within_them_and_the_middle_closes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 50, size=(6, 4))
    high = low + rng.integers(0, 10, size=(6, 4)) * (rng.random((6, 4)) < 0.5)
    middle, least, most = log_ratio_bounds(low, high)
    assert middle.sum(axis=1) == pytest.approx(np.zeros(6), abs=1e-9)
    for _ in range(20):
        counts = rng.integers(low, high + 1)
        exact, *_ = log_ratio_bounds(counts, counts)
        assert (exact >= least - 1e-9).all()
        assert (exact <= most + 1e-9).all()


def test_lots_of_one_donor_in_one_arm_are_one_unit() -> None:
    made = lots(6, 6)
    twins = [*made, replace(made[0], potency=made[0].potency + 0.2)]
    units = units_of_lots(twins, len(PARTS))
    assert len(units.after) == 12
    findings = found(twins)
    assert (findings.arms.lots_before, findings.arms.units_before) == (7, 6)
    assert sorted(units.lots.tolist()) == [1] * 11 + [2]


def test_a_donor_on_both_sides_is_told_and_not_paired() -> None:
    made = lots(8, 8)
    made[8] = replace(made[8], donor=made[0].donor)
    findings = found(made)
    assert findings.arms.donors_in_both == 1
    assert any("pairing is not used" in note for note in findings.notes)


def test_ranges_stand_in_for_the_lots_before_and_give_what_the_lots_themselves_give() -> None:
    made = lots(12, 8)
    units = units_of_lots(made, len(PARTS))
    ranges = reference_ranges(units, PARTS, sites=1)
    assert ranges is not None
    own = found(made)
    after = units_of_lots([lot for lot in made if lot.after], len(PARTS))
    reference = standing_in(ranges.potency, ranges.parts, ranges.n, stratum="a")
    stood = assess(joined(reference, after), PARTS, GOOD, CRITERIA, consortium=ranges, own_before=False)
    assert stood.potency is not None
    assert own.potency is not None
    assert stood.potency.low == pytest.approx(own.potency.low)
    assert stood.parts[1].high == pytest.approx(own.parts[1].high)
    assert any("consortium's" in note for note in stood.notes)


def test_lots_outside_the_consortiums_ranges_are_not_highly_similar() -> None:
    made = lots(20, 20)
    ranges = reference_ranges(units_of_lots(made, len(PARTS)), PARTS, sites=3)
    assert ranges is not None
    assert found(made, consortium=ranges).outcome is Outcome.HIGHLY_SIMILAR
    narrow = replace(ranges, potency=replace(ranges.potency, mean=ranges.potency.mean + 2.0))
    findings = found(made, consortium=narrow)
    assert findings.outcome is Outcome.SUSPECTED_SIMILAR
    assert "consortium's quality range" in findings.sentence


def test_one_lot_before_gives_no_ranges() -> None:
    assert reference_ranges(units_of_lots(lots(1, 5), len(PARTS)), PARTS, sites=1) is None
