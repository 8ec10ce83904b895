"""The checks of the method: what a sound one passes, and that each fault fails its own check only."""

from dataclasses import replace
from math import log

import pytest

from shared.comparability.findings import CheckName, CheckState
from shared.comparability.method import method_checks
from shared.comparability.units import LotEvidence
from tests.shared.comparability.made_lots import CRITERIA


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
