"""The decision path: each outcome by the evidence that leads there, in the order that is declared."""

from dataclasses import replace

import pytest

from shared.comparability import sentences
from shared.comparability.findings import CheckName, CheckState, Findings, Outcome, StepName
from shared.comparability.units import ComparedLot
from tests.shared.comparability.made_lots import CRITERIA, GOOD, found, lots


def reached(findings: Findings) -> list[StepName]:
    return [step.name for step in findings.path if step.reached]


def hidden(lot: ComparedLot, part: int, low: int, high: int) -> ComparedLot:
    ends = []
    for counts, end in ((lot.cells_low, low), (lot.cells_high, high)):
        changed = list(counts)
        changed[part] = end
        ends.append(tuple(changed))
    return replace(lot, cells_low=ends[0], cells_high=ends[1])


def test_lots_that_do_not_differ_are_highly_similar() -> None:
    findings = found(lots(20, 20))
    assert findings.outcome is Outcome.HIGHLY_SIMILAR
    assert reached(findings) == [StepName.METHOD, StepName.POWER, StepName.ALIKE]
    assert all(each.within and each.ranges_pass for each in (findings.potency, *findings.parts) if each)
    assert "placeholder" in findings.sentence
    assert "Justify the margin" in findings.next_steps[0]


def test_a_justified_margin_is_no_placeholder() -> None:
    findings = found(lots(20, 20), criteria=replace(CRITERIA, justification="Half the effect that a patient notices."))
    assert "placeholder" not in findings.sentence + " ".join(findings.next_steps) + sentences.margin_text(findings)
    assert "Half the effect" in sentences.margin_text(findings)


@pytest.mark.parametrize("shift", [1.2, -1.2])
def test_potency_wholly_outside_its_margin_is_a_notable_difference_in_either_direction(shift: float) -> None:
    findings = found(lots(20, 20, shift=shift))
    assert findings.outcome is Outcome.NOTABLE_DIFFERENCE
    assert findings.potency is not None
    assert findings.potency.outside
    assert "potency" in findings.sentence
    assert reached(findings) == list(StepName)


def test_one_cluster_wholly_outside_its_margin_is_a_notable_difference_though_potency_is_alike() -> None:
    findings = found(lots(20, 20, alpha=-2.5))
    assert findings.outcome is Outcome.NOTABLE_DIFFERENCE
    assert findings.potency is not None
    assert findings.potency.within
    assert "alpha" in findings.sentence


def test_an_interval_across_its_margin_leaves_lots_suspected_similar_with_what_is_open() -> None:
    findings = found(lots(20, 20, shift=0.4))
    assert findings.outcome is Outcome.SUSPECTED_SIMILAR
    assert "potency (its interval reaches beyond the margin)" in findings.sentence
    assert findings.next_steps[0].startswith("Gather experience")


def test_lots_after_outside_the_quality_range_leave_lots_suspected_similar_though_all_intervals_lie_within() -> None:
    made = lots(20, 20)
    strays = [number for number, lot in enumerate(made) if lot.after][:3]
    # Three strays of 20, balanced about the mean: 85% inside, where 90% are asked for.
    for number, value in zip(strays, (1.6, -1.6, 1.6), strict=True):
        made[number] = replace(made[number], potency=value)
    findings = found(made, criteria=replace(CRITERIA, margin_fold=2.5))
    assert findings.potency is not None
    assert findings.potency.within
    assert findings.potency.own_range is not None
    assert (findings.potency.own_range.inside, findings.potency.own_range.of) == (17, 20)
    assert findings.outcome is Outcome.SUSPECTED_SIMILAR


def test_opposite_changes_at_two_sites_are_not_highly_similar_though_they_cancel() -> None:
    made = [
        replace(lot, potency=lot.potency + (0.4 if lot.stratum == "a" else -0.4)) if lot.after else lot
        for lot in lots(12, 12, sites=("a", "b"))
    ]
    findings = found(made)
    assert findings.potency is not None
    assert findings.potency.within
    assert not findings.potency.sites_agree
    assert findings.outcome is Outcome.SUSPECTED_SIMILAR
    assert "did not do the same at every site" in findings.sentence


def test_too_few_lots_end_before_any_interval_is_read_and_say_how_many_are_needed() -> None:
    findings = found(lots(11, 3, shift=5.0), criteria=replace(CRITERIA, lot_sd=0.35))
    assert findings.outcome is Outcome.INSUFFICIENT_DATA
    assert findings.power == pytest.approx(0.17, abs=0.01)
    assert (findings.lots_needed, findings.lots_needed_each) == (8, 14)
    assert "8 lots after" in findings.next_steps[0]
    assert "14 in each arm" in findings.next_steps[0]
    # A difference that is plain all the same must not be lost.
    assert any("not to be passed over" in note for note in findings.notes)


def test_the_planned_sd_is_that_of_the_lots_before_where_the_plan_has_none() -> None:
    findings = found(lots(11, 11))
    assert findings.potency is not None
    assert findings.planned_sd == findings.potency.sd_before


@pytest.mark.parametrize(("before", "after"), [(0, 0), (5, 0), (0, 5), (5, 1), (1, 5)])
def test_an_arm_without_two_lots_is_too_little_data(before: int, after: int) -> None:
    findings = found(lots(before, after))
    assert findings.outcome is Outcome.INSUFFICIENT_DATA
    assert findings.potency is None
    assert findings.parts == ()
    assert "at least two" in " ".join((findings.sentence, *findings.next_steps))


def test_lots_before_and_after_of_different_sites_are_not_compared() -> None:
    findings = found([*lots(8, 0, sites=("a",)), *lots(0, 8, sites=("b",))])
    assert findings.outcome is Outcome.INSUFFICIENT_DATA
    assert findings.arms.compared_before == findings.arms.compared_after == 0
    assert any("16 donors" in note for note in findings.notes)


def test_a_difference_between_sites_is_no_difference_between_arms() -> None:
    made = [
        replace(lot, potency=lot.potency + 3.0) if lot.stratum == "b" else lot for lot in lots(10, 10, sites=("a", "b"))
    ]
    assert found(made).outcome is Outcome.HIGHLY_SIMILAR


@pytest.mark.parametrize("name", CheckName)
def test_any_failed_check_ends_the_path_first(name: CheckName) -> None:
    checks = tuple(replace(check, state=CheckState.FAILED) if check.name is name else check for check in GOOD)
    findings = found(lots(11, 3, shift=5.0), checks=checks)
    assert findings.outcome is Outcome.METHOD_INADEQUATE
    assert reached(findings) == [StepName.METHOD]
    assert sentences.CHECKS[name] in findings.sentence


def test_what_was_not_recorded_does_not_fail_the_method_and_is_told() -> None:
    checks = tuple(replace(check, state=CheckState.NOT_TOLD, found=None) for check in GOOD)
    findings = found(lots(20, 20), checks=checks)
    assert findings.outcome is Outcome.HIGHLY_SIMILAR
    assert any("Not recorded" in note for note in findings.notes)


def test_suppressed_counts_take_a_pass_away_and_never_give_one() -> None:
    made = lots(20, 20)
    few = [hidden(lot, 2, 1, 4) if lot.after else lot for lot in made]
    findings = found(few)
    assert findings.outcome is Outcome.SUSPECTED_SIMILAR or findings.outcome is Outcome.NOTABLE_DIFFERENCE
    hidden_part = findings.parts[2]
    assert hidden_part.suppressed
    assert not hidden_part.within
    assert any("Suppressed counts" in note for note in findings.notes)


def test_a_single_suppressed_count_that_changes_little_does_not_take_a_pass_away() -> None:
    made = lots(25, 25)
    made[0] = hidden(made[0], 2, made[0].cells_low[2] - 20, made[0].cells_low[2] + 20)
    findings = found(made)
    assert findings.parts[2].suppressed
    assert findings.outcome is Outcome.HIGHLY_SIMILAR
