"""The decision path: each outcome by the evidence that leads there, in the order that is declared."""

import re
from collections.abc import Sequence
from dataclasses import replace
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.identifiers import EndpointId
from protocol.modules.comparability import ComparabilityPlan
from shared.comparability import sentences
from shared.comparability.assessment import assess, reference_ranges
from shared.comparability.equivalence_drawing import equivalence_drawings
from shared.comparability.findings import (
    Check,
    CheckName,
    CheckState,
    Criteria,
    Findings,
    Outcome,
    ReferenceRanges,
    StepName,
)
from shared.comparability.lots_drawing import LotValue, ShownLot
from shared.comparability.method import method_checks
from shared.comparability.path_drawing import path_drawing
from shared.comparability.section import comparability_section
from shared.comparability.shown import LotLook, shown_lots
from shared.comparability.units import (
    ComparedLot,
    LotEvidence,
    joined,
    log_ratio_bounds,
    standing_in,
    units_of_lots,
)
from shared.pages.contents import Finding, ModuleFigure, ModuleSection, Table
from shared.pages.numbering import Numbering

CRITERIA = ComparabilityPlan(endpoint=EndpointId("vegf"), change="A new medium.").criteria
PARTS = ("alpha", "beta", "gamma")
BASE = np.array([0.5, 0.3, 0.2])
GOOD = tuple(Check(name=name, state=CheckState.PASSED, found=0.0, limit=1.0) for name in CheckName)


def a_lot(
    rng: np.random.Generator, number: int, *, after: bool, shift: float = 0.0, alpha: float = 0.0, site: str = "a"
) -> ComparedLot:
    shares = BASE * np.exp([alpha, 0.0, 0.0]) * np.exp(rng.normal(0, 0.15, 3))
    cells = rng.multinomial(2_000, shares / shares.sum())
    return ComparedLot(
        after=after,
        stratum=site,
        donor=f"donor {site} {number} {after}",
        potency=float(rng.normal(shift, 0.25)),
        cells_low=tuple(map(int, cells)),
        cells_high=tuple(map(int, cells)),
    )


def lots(
    before: int, after: int, *, shift: float = 0.0, alpha: float = 0.0, sites: Sequence[str] = ("a",), seed: int = 1
) -> list[ComparedLot]:
    rng = np.random.default_rng(seed)
    return [
        a_lot(rng, number, after=arm, shift=shift * arm, alpha=alpha * arm, site=site)
        for site in sites
        for arm, n in ((False, before), (True, after))
        for number in range(n)
    ]


def found(
    made: Sequence[ComparedLot],
    *,
    checks: tuple[Check, ...] = GOOD,
    criteria: Criteria = CRITERIA,
    consortium: ReferenceRanges | None = None,
) -> Findings:
    return assess(units_of_lots(made, len(PARTS)), PARTS, checks, criteria, consortium=consortium)


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


def evidence(*, after: bool, spread: float = 0.05, reference: float = 0.0, unassigned: float = 0.02) -> LotEvidence:
    return LotEvidence(
        after=after,
        stratum="a",
        replicates=((0.0, spread, -spread),),
        references=((reference, reference),),
        gene_coverage=0.95,
        unassigned_share=unassigned,
    )


def states(*made: LotEvidence) -> dict[CheckName, CheckState]:
    return {check.name: check.state for check in method_checks(made, CRITERIA)}


def test_a_sound_method_passes_every_check() -> None:
    assert set(states(evidence(after=False), evidence(after=True)).values()) == {CheckState.PASSED}


@pytest.mark.parametrize(
    ("name", "worse"),
    [
        (CheckName.REPLICATES, evidence(after=True, spread=0.6)),
        (CheckName.REFERENCE, evidence(after=True, reference=log(2.5))),
        (CheckName.REFERENCE, evidence(after=True, reference=-log(2.5))),
        (CheckName.GENE_COVERAGE, replace(evidence(after=True), gene_coverage=0.6)),
        (CheckName.UNASSIGNED, evidence(after=True, unassigned=0.2)),
    ],
)
def test_each_fault_fails_its_own_check_only(name: CheckName, worse: LotEvidence) -> None:
    failed = {each for each, state in states(evidence(after=False), worse).items() if state is CheckState.FAILED}
    assert failed == {name}


def test_fewer_unassigned_cells_after_the_change_do_not_fail_the_mapping() -> None:
    better = evidence(after=True, unassigned=0.0)
    assert states(evidence(after=False, unassigned=0.3), better)[CheckName.UNASSIGNED] is CheckState.PASSED


def test_a_missing_reference_or_coverage_is_not_told() -> None:
    bare = [replace(evidence(after=arm), references=((),), gene_coverage=None) for arm in (False, True)]
    found_states = states(*bare)
    assert found_states[CheckName.REFERENCE] is CheckState.NOT_TOLD
    assert found_states[CheckName.GENE_COVERAGE] is CheckState.NOT_TOLD


def every_outcome() -> list[Findings]:
    failed = (replace(GOOD[0], state=CheckState.FAILED), *GOOD[1:])
    return [
        found(lots(20, 20), checks=failed),
        found(lots(11, 3), criteria=replace(CRITERIA, lot_sd=0.35)),
        found(lots(3, 1)),
        found(lots(20, 20)),
        found(lots(20, 20, shift=1.2)),
        found(lots(20, 20, shift=0.4)),
    ]


def a_section(findings: Findings) -> ModuleSection:
    shown = tuple(
        ShownLot(
            label=f"L{number}",
            site="a",
            style=0,
            after=bool(number),
            values=(LotValue(middle=0.1, low=-0.2, high=0.4),) * 4,
        )
        for number in range(2)
    )
    return comparability_section(findings, shown, Numbering(), legend=(), potency="VEGF")


def test_every_outcome_stands_once_among_the_cases() -> None:
    assert {findings.outcome for findings in every_outcome()} == set(Outcome)


def test_the_bare_word_is_said_of_no_outcome() -> None:
    for findings in every_outcome():
        section = a_section(findings)
        said = [findings.sentence, *findings.next_steps, *findings.notes, repr(section)]
        assert not any(re.search(r"\bcomparable\b", text, re.IGNORECASE) for text in said)


def test_the_path_marks_exactly_the_outcome_that_was_taken() -> None:
    for findings in every_outcome():
        drawn = path_drawing(findings, "path")
        assert drawn.count(", taken</text>") == 1
        assert f"{findings.outcome.value}, taken" in drawn
        assert drawn.count("path-line taken") == sum(step.reached for step in findings.path)
        for step in findings.path:
            assert sentences.QUESTIONS[step.name] in drawn


def test_a_section_has_its_answer_its_path_and_what_comes_next() -> None:
    for findings in every_outcome():
        section = a_section(findings)
        assert section.outcome is not None
        assert section.outcome.code == findings.outcome.value
        figures = [block for block in section.blocks if isinstance(block, ModuleFigure)]
        assert len(figures) == (1 if findings.potency is None else 3)
        assert all(figure.table.rows for figure in figures)
        told = [block.text for block in section.blocks if isinstance(block, Finding)]
        assert sum(text.startswith("What would be needed next") for text in told) == len(findings.next_steps)
        checks = [block for block in section.blocks if isinstance(block, Table)]
        assert [len(table.rows) for table in checks] == [len(findings.checks)]


def test_many_clusters_are_drawn_on_several_pages() -> None:
    rng = np.random.default_rng(1)
    names = tuple(f"cluster {number}" for number in range(40))
    made = [
        replace(lot, cells_low=cells, cells_high=cells)
        for lot in lots(6, 6)
        for cells in [tuple(map(int, rng.integers(20, 60, 40)))]
    ]
    findings = assess(units_of_lots(made, 40), names, GOOD, CRITERIA)
    drawn = equivalence_drawings(findings, "e")
    assert len(drawn) == 2
    assert all(sum(f">{name}<" in each for each in drawn) == 1 for name in names)


def test_a_lot_is_shown_against_the_mean_before_of_its_own_site_and_only_where_it_may_be() -> None:
    made = lots(4, 3, sites=("a", "b"))
    units = units_of_lots(made, len(PARTS))
    looks = {n: LotLook(label=f"L{n}", site="a", style=0) for n, lot in enumerate(made) if lot.stratum == "a"}
    shown = shown_lots(made, units, looks, len(PARTS))
    assert [lot.after for lot in shown] == [False] * 4 + [True] * 3
    before = [lot.values[0].middle for lot in shown if not lot.after]
    assert sum(before) == pytest.approx(0.0, abs=1e-9)
    moved = [replace(lot, potency=lot.potency + 9) if lot.stratum == "b" else lot for lot in made]
    assert shown_lots(moved, units_of_lots(moved, len(PARTS)), looks, len(PARTS)) == shown
