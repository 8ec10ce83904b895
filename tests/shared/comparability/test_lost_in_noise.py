"""A cluster that is lost in noise on counts: it is shown neither alike nor different, and nothing else changes."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.comparability.assessment import assess
from shared.comparability.equivalence_drawing import state_word
from shared.comparability.findings import CheckState, Findings, Outcome, StepName
from shared.comparability.section import comparability_section
from shared.comparability.units import ComparedLot, units_of_lots
from shared.pages.contents import Finding
from shared.pages.numbering import Numbering
from tests.shared.comparability.made_lots import CRITERIA, GOOD, PARTS, found, lots


def with_lost(made: list[ComparedLot], lost: frozenset[str]) -> Findings:
    return assess(units_of_lots(made, len(PARTS)), PARTS, GOOD, CRITERIA, lost_in_noise=lost)


@given(lost=st.frozensets(st.sampled_from(PARTS)), alpha=st.sampled_from([0.0, 0.5, 2.5]), seed=st.integers(0, 50))
@settings(max_examples=25, deadline=None)
def test_it_takes_claims_away_gives_none_and_leaves_the_others_as_they_are(
    lost: frozenset[str], alpha: float, seed: int
) -> None:
    made = lots(20, 20, alpha=alpha, seed=seed)
    exact, noised = found(made), with_lost(made, lost)
    assert noised.potency == exact.potency
    for before, after in zip(exact.parts, noised.parts, strict=True):
        hidden = replace(before, within=False, outside=False, lost_in_noise=True)
        assert after == (hidden if before.name in lost else before)
    if not lost:
        assert noised == exact
    assert (noised.outcome is Outcome.HIGHLY_SIMILAR) == (exact.outcome is Outcome.HIGHLY_SIMILAR and not lost)
    if noised.outcome is Outcome.NOTABLE_DIFFERENCE:
        assert exact.outcome is Outcome.NOTABLE_DIFFERENCE


def test_a_name_that_is_no_cluster_takes_nothing_away() -> None:
    made = lots(20, 20)
    assert with_lost(made, frozenset({"potency"})) == found(made)


def test_highly_similar_becomes_suspected_and_says_why_and_what_would_help() -> None:
    made = lots(20, 20)
    assert found(made).outcome is Outcome.HIGHLY_SIMILAR
    findings = with_lost(made, frozenset({"gamma"}))
    assert findings.outcome is Outcome.SUSPECTED_SIMILAR
    assert "open is gamma (noise on counts is too large for its cells)" in findings.sentence
    assert "nothing is shown to lie wholly outside its margin" in findings.sentence
    answers = {step.name: step.answer for step in findings.path}
    assert answers[StepName.ALIKE] is False
    assert answers[StepName.APART] is False
    (note,) = findings.notes
    assert note.startswith("Noise on counts is more than a quarter of a lot's cells for gamma:")
    assert "the lots cannot be called highly similar" in note
    assert findings.next_steps[-1].startswith("For gamma: more lots do not help against noise on counts.")
    assert not any("80% power" in step for step in findings.next_steps)


def test_a_cluster_that_is_outside_as_counted_is_no_shown_difference_and_is_not_passed_over() -> None:
    made = lots(20, 20, alpha=2.5)
    exact = found(made)
    outside = frozenset(each.name for each in exact.parts if each.outside)
    assert exact.outcome is Outcome.NOTABLE_DIFFERENCE
    assert outside
    findings = with_lost(made, outside)
    assert findings.outcome is Outcome.SUSPECTED_SIMILAR
    assert findings.notes[-1].startswith("All the same, and not to be passed over: as counted, with the noise, wholly")
    assert all(name in findings.notes[-1] for name in outside)
    kept = with_lost(made, frozenset(PARTS) - outside)
    assert kept.outcome is Outcome.NOTABLE_DIFFERENCE
    assert not any("as counted" in note for note in kept.notes)


def test_an_earlier_end_of_the_path_stays_where_it_is() -> None:
    failed = (replace(GOOD[0], state=CheckState.FAILED), *GOOD[1:])
    planned = replace(CRITERIA, lot_sd=0.35)
    for made, checks in ((lots(20, 20), failed), (lots(11, 3), GOOD)):
        exact = found(made, checks=checks, criteria=planned)
        units = units_of_lots(made, len(PARTS))
        noised = assess(units, PARTS, checks, planned, lost_in_noise=frozenset({"alpha"}))
        assert exact.outcome in {Outcome.METHOD_INADEQUATE, Outcome.INSUFFICIENT_DATA}
        assert (noised.outcome, noised.sentence) == (exact.outcome, exact.sentence)


def test_the_section_says_it_in_its_figure_its_table_and_its_notes() -> None:
    findings = with_lost(lots(20, 20), frozenset({"gamma"}))
    assert [state_word(each) for each in findings.parts] == ["within", "within", "lost in noise"]
    section = comparability_section(findings, (), Numbering(), legend=(), potency="VEGF, ln pg/mL")
    said = repr(section)
    assert "3 lie within their margin, 0 wholly outside it, and 0 reach beyond it; of 1 more, noise on counts" in said
    assert "lost in noise" in said
    assert "lots do not help" in said
    assert "an interval inside it passes, unless lost in noise" in said
    told = [block.text for block in section.blocks if isinstance(block, Finding)]
    assert findings.notes[0] in told
    exact = repr(comparability_section(found(lots(20, 20)), (), Numbering(), legend=(), potency="VEGF, ln pg/mL"))
    assert "noise" not in exact
