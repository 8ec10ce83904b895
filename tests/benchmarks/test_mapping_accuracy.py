"""Scores of labels and of intervals, and a whole run on made-up lots."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import mapping_accuracy
from benchmarks.mapping_accuracy import Coverage, FoldResult, Score, coverage, score, table
from benchmarks.mapping_folds import Fold, build, folds_of, map_with


@settings(max_examples=50)
@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=40).flatmap(
        lambda labels: st.tuples(st.just(labels), st.permutations(labels))
    )
)
def test_right_shares_by_wrong_labels_have_no_variation(pair: tuple[list[str], list[str]]) -> None:
    true, shuffled = pair
    lots = np.full(len(true), "lot")
    found = score(np.array(true), lots, np.array(shuffled))
    assert found.variation == pytest.approx(0, abs=1e-12)
    assert score(np.array(true), lots, np.array(true)) == Score(1.0, 0.0)
    wrong = score(np.array(true), lots, np.full(len(true), "d"))
    assert wrong.accuracy == 0
    assert wrong.variation == pytest.approx(1)


def test_variation_is_the_mean_over_lots_and_accuracy_over_cells() -> None:
    true, predicted = np.array(["a"] * 5), np.array(["a", "b", "a", "a", "a"])
    lots = np.array(["x", "x", "y", "y", "y"])
    assert score(true, lots, predicted) == Score(0.8, 0.25)


def test_true_shares_are_in_intervals_that_reach_from_0_to_1_and_sampling_widens_them(fold: Fold) -> None:
    atlas = build(fold)
    mapped = map_with(atlas, fold)
    wide = replace(atlas, interval_scales=np.full_like(atlas.interval_scales, 1e3))
    assert coverage(fold, wide, mapped, with_sampling=False) == Coverage(4, 4, 2.0)
    own, sampled = (coverage(fold, atlas, mapped, with_sampling=sampling) for sampling in (False, True))
    assert own.total == sampled.total == 4
    assert own.widths < sampled.widths
    assert own.inside <= sampled.inside
    silent = replace(atlas, interval_scales=np.full_like(atlas.interval_scales, np.nan))
    assert coverage(fold, silent, mapped, with_sampling=False) == Coverage(0, 0, 0.0)


def test_the_worst_is_of_each_figure_by_itself_and_over_all_draws() -> None:
    def result(fold: str, *scores: Score) -> FoldResult:
        nothing = Coverage(0, 0, 0.0)
        return FoldResult(
            fold=fold,
            is_shifted=False,
            scores={"ours": scores},
            seconds={},
            coverage=nothing,
            coverage_of_samples=nothing,
            unassigned=0.0,
            novel=0.0,
            right_of_novel=0.0,
            atlas_bytes=0,
        )

    results = [result("heart 2A", Score(0.9, 0.1), Score(0.8, 0.04)), result("blood 1", Score(1.0, 0.0))]
    assert table(results, ["ours"], "") == [
        "|  | heart, mean | heart, worst | blood, mean | blood, worst |",
        "|---|---|---|---|---|",
        "| ours | 0.850 / 0.070 | 0.800 / 0.100 | 1.000 / 0.000 | 1.000 / 0.000 |",
    ]


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of the libraries that are compared with
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_run_prints_its_tables(
    made_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["mapping_accuracy", "--data", str(made_data), "--data-sets", "blood", "--processes", "1"]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(mapping_accuracy, "folds_of", lambda data_set, folder: folds_of(data_set, folder)[-2:])
    for slow in ("logistic", "ingest"):
        monkeypatch.setattr(mapping_accuracy, slow, lambda fold: np.full(fold.query.sum(), "cluster 0"))
    mapping_accuracy.main()
    printed = capsys.readouterr().out
    rows = {line.split("|")[1].strip(): line for line in printed.splitlines() if line.startswith("|")}
    ours, other = (
        float(rows[name].split("|")[2].split("/")[0]) for name in ("**crosslot**", "logistic regression, as CellTypist")
    )
    assert ours > 0.9 > other
    assert {"5%", "10%", "20%", "40%"} < set(rows)
    assert "90% intervals, blood, one lot left out: cover" in printed
    assert "bytes of an atlas" in printed
