"""The section of the page: what is said of each outcome, and what is drawn."""

import re
from dataclasses import replace

import numpy as np
import pytest

from shared.comparability import sentences
from shared.comparability.assessment import assess
from shared.comparability.equivalence_drawing import equivalence_drawings
from shared.comparability.findings import CheckState, Findings, Outcome
from shared.comparability.lots_drawing import LotValue, ShownLot
from shared.comparability.path_drawing import path_drawing
from shared.comparability.section import comparability_section
from shared.comparability.shown import LotLook, shown_lots
from shared.comparability.units import units_of_lots
from shared.pages.contents import Finding, ModuleFigure, ModuleSection, Table
from shared.pages.numbering import Numbering
from tests.shared.comparability.made_lots import CRITERIA, GOOD, PARTS, found, lots


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
