"""What the novelty run says of a class left out, and of lots that are as the reference."""

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import mapping_novelty
from benchmarks.mapping_folds import Fold, build, folds_of, is_novel, map_with
from benchmarks.mapping_novelty import Finding, leave_out, mean_area, p_values, quiet, simulated_alarms, tasks_of


@pytest.fixture(scope="module")
def finding(fold: Fold) -> Finding:
    return leave_out(fold, "cluster 2")


def test_the_area_is_the_chance_that_a_new_cell_has_the_higher_energy(fold: Fold, finding: Finding) -> None:
    mapped = map_with(build(fold.without("cluster 2")), fold)
    new = fold.labels[fold.query] == "cluster 2"
    above, below = mapped.energy[new][:, None], mapped.energy[~new]
    chance = (above > below).mean() + (above == below).mean() / 2
    assert finding.area == pytest.approx(chance, abs=1e-12)
    assert finding.area > 0.8  # the made-up class is like no other


def test_shares_of_cells_found_agree_with_the_atlas(fold: Fold, finding: Finding) -> None:
    atlas = build(fold.without("cluster 2"))
    novel = is_novel(atlas, map_with(atlas, fold))
    new = fold.labels[fold.query] == "cluster 2"
    assert finding.found == novel[new].mean()
    assert finding.alarms == novel[~new].mean()
    assert finding.unassigned <= finding.found
    assert finding.shares == (new.mean(),)


def test_only_known_cells_count_where_the_new_ones_are_left_away(fold: Fold, finding: Finding) -> None:
    everything, known = finding.p_values[0], finding.p_values_of_known[0]
    assert 0 <= everything < known <= 1


def test_lots_of_one_population_raise_about_as_many_alarms_as_they_should(fold: Fold, rng: np.random.Generator) -> None:
    """1,000 lots at 5%: three standard errors are .021."""
    alarms = simulated_alarms(build(fold), np.array([2_000, 3_000, 2_500, 2_000]), 1_000, rng)
    assert alarms / 1_000 == pytest.approx(0.05, abs=0.021)


def test_each_lot_has_a_p_value_of_its_own(fold: Fold) -> None:
    atlas = build(fold)
    novel = np.array([True] * 50 + [False] * 150)
    lots = np.repeat(["a", "b"], 100)
    first, second = p_values(atlas, novel, lots, np.ones(200, dtype=np.bool_))
    assert first < 0.05 < second


def test_small_classes_are_not_judged(fold: Fold) -> None:
    tasks = tasks_of(fold)
    assert tasks[0] == (fold.name, None)
    judged = {label for _name, label in tasks[1:]}
    cells = {name: (fold.labels[fold.query] == name).sum() for name in np.unique(fold.labels)}
    assert judged == {name for name, count in cells.items() if count >= mapping_novelty.SMALLEST_NEW_CLASS}


def test_a_class_counts_once_however_many_folds_it_has() -> None:
    def found(fold: str, label: str, area: float) -> Finding:
        return Finding(
            fold=fold,
            left_out=label,
            area=area,
            found=0.0,
            unassigned=0.0,
            alarms=0.0,
            found_at_level=0.0,
            shares=(),
            p_values=(),
            p_values_of_known=(),
        )

    areas = mean_area([found("heart 2A", "a", 1.0), found("heart 2B", "a", 0.5), found("blood 1", "a", 0.6)])
    assert areas == {"blood a": 0.6, "heart a": 0.75}
    assert list(areas) == ["blood a", "heart a"]  # the poorest first


def test_nothing_left_out_is_told_apart(fold: Fold) -> None:
    found = quiet(fold)
    assert found.fold == fold.name
    assert len(found.p_values) == 1
    assert 0 <= found.simulated_alarms <= mapping_novelty.SIMULATED


def test_a_run_prints_its_tables(
    made_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["mapping_novelty", "--data", str(made_data), "--data-sets", "heart", "--processes", "1"]
    monkeypatch.setattr(sys, "argv", command)
    first, *_, last = folds_of("heart", made_data)
    monkeypatch.setattr(mapping_novelty, "folds_of", lambda data_set, folder: (first, last))
    mapping_novelty.main()
    captured = capsys.readouterr()
    rows = [line for line in captured.out.splitlines() if line.startswith("| heart")]
    assert len(rows) == 2
    assert "mean AUROC over 4 classes" in captured.out
    assert "simulated lots of one population" in captured.out
    assert captured.err.splitlines()[-1].startswith("10 of 10 atlases")
