"""Folds part the reference from what is mapped, and work in other processes comes back in order."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.mapping_folds import Fold, fold_named, folds_of, in_processes, options, require_data


@pytest.mark.parametrize("data_set", ["heart", "blood"])
def test_no_cell_is_both_reference_and_query(made_data: Path, data_set: str) -> None:
    folds = folds_of(data_set, made_data)
    for fold in folds:
        assert fold.query.any()
        assert fold.reference.any()
        assert not (fold.reference & fold.query).any()
        assert not set(fold.lots[fold.reference]) & set(fold.lots[fold.query])
    assert [fold.is_shifted for fold in folds] == [False] * (len(folds) - 1) + [True]
    assert all(fold.data_set == data_set for fold in folds)


def test_stimulated_lots_are_in_no_reference(made_data: Path) -> None:
    folds = folds_of("blood", made_data)
    stimulated = np.char.endswith(folds[0].lots, "stim")
    assert not any((fold.reference & stimulated).any() for fold in folds)
    assert (folds[-1].query == stimulated).all()


def test_a_class_left_out_is_out_of_the_reference_and_still_to_be_mapped(fold: Fold) -> None:
    left = fold.without("cluster 1")
    assert "cluster 1" not in left.labels[left.reference]
    assert (left.query == fold.query).all()
    assert left.reference.sum() == (fold.reference & (fold.labels != "cluster 1")).sum()


def test_a_fold_is_found_by_its_name(made_data: Path) -> None:
    assert fold_named("blood ctrl->stim", made_data).name == "blood ctrl->stim"


@pytest.mark.parametrize("processes", [1, 2])
def test_what_was_found_comes_in_the_order_of_the_tasks(processes: int, capsys: pytest.CaptureFixture[str]) -> None:
    before = dict(os.environ)
    assert list(in_processes(abs, [-3, 2, -1], "numbers", processes)) == [3, 2, 1]
    assert dict(os.environ) == before
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.split(",")[0] for line in captured.err.splitlines()] == [f"{n} of 3 numbers" for n in (1, 2, 3)]


def test_processes_beside_this_one_use_one_thread_each() -> None:
    assert list(in_processes(os.getenv, ["NUMBA_NUM_THREADS"] * 2, "settings", 2)) == ["1", "1"]


def test_absent_data_and_unknown_data_sets_are_named(tmp_path: Path) -> None:
    parser = options("a run")
    with pytest.raises(SystemExit, match=r"expected heart_scf\.h5ad; give the folder"):
        require_data(parser.parse_args(["--data", str(tmp_path), "--data-sets", "heart"]))
    with pytest.raises(SystemExit, match="found lung"):
        require_data(parser.parse_args(["--data", str(tmp_path), "--data-sets", "heart,lung"]))
