"""The verdict: decided by rules, never better than what was measured."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.atlas.artefact import Atlas
from shared.atlas.card import Transfer
from site_agent.atlas_show.verdicts import (
    CLASS_RATE,
    FEW_CELLS,
    RULES,
    ClassJudgement,
    Transferability,
    judge_atlas,
    judge_class,
)
from tests.site_agent.atlas_show.conftest import fitted, viewed

_SHARE = st.floats(0, 1)
_WELL = ClassJudgement(state=Transferability.WELL, reasons=())
_CARE = ClassJudgement(state=Transferability.CARE, reasons=("recall 10.0%",))


def transfer(lots: int = 5, accuracy: float | None = 0.95, variation: float | None = 0.03) -> Transfer:
    return Transfer(
        lots=lots,
        accuracy=accuracy,
        worst_accuracy=accuracy,
        total_variation=variation,
        worst_total_variation=variation,
        unassigned_share=0.01,
        unassigned_log_odds=None,
        unassigned_log_odds_spread=None,
        novel_log_odds=None,
        novel_log_odds_spread=None,
        interval_calibrated=lots > 2,
    )


@settings(max_examples=60)
@given(accuracy=_SHARE, variation=_SHARE, better=_SHARE)
def test_a_better_atlas_never_gets_a_worse_verdict(accuracy: float, variation: float, better: float) -> None:
    order = [Transferability.CARE, Transferability.WELL]
    before = judge_atlas(transfer(accuracy=accuracy, variation=variation), ())
    after = judge_atlas(transfer(accuracy=max(accuracy, better), variation=min(variation, 1 - better)), ())
    assert order.index(after.state) >= order.index(before.state)


@settings(max_examples=60)
@given(lots=st.integers(0, 5), accuracy=_SHARE, variation=_SHARE)
def test_every_verdict_but_the_best_gives_its_reasons(lots: int, accuracy: float, variation: float) -> None:
    verdict = judge_atlas(transfer(lots, accuracy, variation), (("a", _CARE),))
    assert verdict.state is not Transferability.WELL
    assert verdict.reasons
    assert verdict.headline.startswith(verdict.word)


def test_nothing_is_measured_with_one_lot_whatever_the_classes_say() -> None:
    verdict = judge_atlas(transfer(0, None, None), (("a", _WELL),))
    assert verdict.state is Transferability.NOT_MEASURED


def test_two_lots_are_never_enough_to_transfer_well() -> None:
    verdict = judge_atlas(transfer(2, 1.0, 0.0), (("a", _WELL),))
    assert verdict.state is Transferability.CARE
    assert "cannot be calibrated" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("recall", "precision", "cells", "state"),
    [
        (1.0, 1.0, FEW_CELLS, Transferability.WELL),
        (CLASS_RATE, CLASS_RATE, FEW_CELLS, Transferability.WELL),
        (0.74, 1.0, 100, Transferability.CARE),
        (1.0, 0.74, 100, Transferability.CARE),
        (1.0, None, 100, Transferability.CARE),
        (1.0, 1.0, FEW_CELLS - 1, Transferability.CARE),
        (None, None, 0, Transferability.NOT_MEASURED),
    ],
)
def test_a_class_is_judged_by_recall_precision_and_cells(
    recall: float | None, precision: float | None, cells: int, state: Transferability
) -> None:
    judged = judge_class(lots=5, left_out_cells=cells, recall=recall, precision=precision)
    assert judged.state is state
    assert bool(judged.reasons) == (state is not Transferability.WELL)


def test_an_atlas_that_tells_its_classes_apart_transfers_well(three: Atlas) -> None:
    assert viewed(three).verdict.state is Transferability.WELL


def test_two_classes_that_are_taken_for_each_other_are_named() -> None:
    verdict = viewed(fitted(3, overlap=1.0)).verdict
    assert verdict.state is Transferability.CARE
    assert any("kind 0" in reason and "kind 1" in reason for reason in verdict.reasons)


def test_the_rules_say_that_they_are_conventions() -> None:
    assert "conventions" in RULES[-1]
