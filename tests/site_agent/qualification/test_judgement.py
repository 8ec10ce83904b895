"""A lot passes, fails, or cannot be judged; what is outside the specification's word never passes."""

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.modules.specification_results import Side, SpecificationOutcome
from shared.statistics.specification import Line
from site_agent.qualification.judgement import QualificationVerdict, ReasonCode, judge_lot
from tests.site_agent.qualification.specifications import make_facts, make_specification

PASS, FAIL, OPEN = QualificationVerdict.PASS, QualificationVerdict.FAIL, QualificationVerdict.CANNOT_BE_JUDGED


@pytest.mark.parametrize(
    ("share", "verdict", "codes"),
    [
        (0.41, PASS, ()),
        (0.3, PASS, ()),  # at the threshold itself
        (0.2999, FAIL, (ReasonCode.BELOW_THRESHOLD,)),
        (0.6, PASS, ()),
        (0.6001, OPEN, (ReasonCode.BEYOND_RANGE,)),  # better than any that was studied: not known
        (0.01, FAIL, (ReasonCode.BELOW_THRESHOLD,)),  # less than the least that was studied is no reason to release
    ],
)
def test_the_share_decides_within_the_range_seen(
    share: float, verdict: QualificationVerdict, codes: tuple[ReasonCode, ...]
) -> None:
    judged = judge_lot(make_facts(share=share), make_specification())
    assert (judged.verdict, tuple(reason.code for reason in judged.reasons)) == (verdict, codes)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"cells": 49}, ReasonCode.TOO_FEW_CELLS),
        ({"gene_coverage": 0.6}, ReasonCode.LOW_GENE_COVERAGE),
        ({"unassigned_share": 0.06}, ReasonCode.NOVEL_CELLS),
        ({"shares_are_sensitive": True}, ReasonCode.SENSITIVE_SHARES),
        ({"tissue": "umbilical cord"}, ReasonCode.OTHER_TISSUE),
    ],
)
@pytest.mark.parametrize("share", [0.1, 0.41])
def test_what_the_specification_does_not_speak_for_is_not_judged(
    change: dict[str, object], code: ReasonCode, share: float
) -> None:
    judged = judge_lot(make_facts(**change, share=share), make_specification())
    assert judged.verdict is OPEN
    assert [reason.code for reason in judged.reasons] == [code]
    assert judged.potency is None  # the line does not speak for such a lot


def test_every_reason_is_given_at_once() -> None:
    judged = judge_lot(make_facts(cells=3, gene_coverage=0.1, share=0.9), make_specification())
    assert {reason.code for reason in judged.reasons} == {
        ReasonCode.TOO_FEW_CELLS,
        ReasonCode.LOW_GENE_COVERAGE,
        ReasonCode.BEYOND_RANGE,
    }


@given(share=st.floats(0, 1), cells=st.integers(0, 2_000), unassigned=st.floats(0, 1), coverage=st.floats(0, 1))
def test_a_pass_is_given_to_no_lot_that_breaks_any_rule(
    share: float, cells: int, unassigned: float, coverage: float
) -> None:
    facts = make_facts(share=share, cells=cells, unassigned_share=unassigned, gene_coverage=coverage)
    judged = judge_lot(facts, make_specification())
    sound = cells >= 50 and unassigned <= 0.05 and coverage >= 0.7
    assert (judged.verdict is PASS) == (sound and 0.3 <= share <= 0.6)
    assert (judged.verdict is FAIL) == (sound and share < 0.3)
    assert bool(judged.reasons) == (judged.verdict is not PASS)


@given(share=st.floats(0, 1))
def test_an_upper_threshold_is_the_mirror_image(share: float) -> None:
    upper = make_specification(side=Side.AT_MOST, threshold=0.4)
    verdict = judge_lot(make_facts(share=share), upper).verdict
    assert verdict is (FAIL if share > 0.4 else OPEN if share < 0.15 else PASS)


def test_expected_potency_is_that_of_the_line() -> None:
    specification = make_specification()
    assert specification.basis.line is not None
    line = Line(**specification.basis.line.model_dump())
    judged = judge_lot(make_facts(share=0.41), specification)
    assert judged.potency == pytest.approx(float(line.predicted(0.41)))
    assert judged.potency_low == pytest.approx(float(line.lower_bound(0.41, 0.95)))
    assert judged.potency is not None
    assert judged.potency_high is not None
    assert judged.potency_low is not None
    assert judged.potency_high - judged.potency == pytest.approx(judged.potency - judged.potency_low)
    assert judged.potency_low > log(50)


def test_remarks_tell_what_does_not_decide() -> None:
    indicative = make_specification(
        outcome=SpecificationOutcome.INDICATIVE, doubts=("it rests on 12 donors",), declared=False
    )
    facts = make_facts(share=0.31, share_low=0.28, share_high=0.34, tissue=None, doubts=("cells of beta lie far away",))
    said = " ".join(judge_lot(facts, indicative).remarks)
    for words in ("indicative, not a specification", "12 donors", "chosen after", "holds the threshold", "not given"):
        assert words in said
    assert "Cells of beta lie far away." in said
    assert judge_lot(make_facts(), make_specification()).remarks == ()
    assert "how exact" in judge_lot(make_facts(share_low=None, share_high=None), make_specification()).remarks[0]
