"""The attacks' figures, and a run on made-up lots."""

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import atlas_membership
from benchmarks.atlas_membership import advantage, table


def test_a_perfect_attack_is_certain_in_either_direction_and_chance_is_half() -> None:
    member = np.array([True, True, False, False])
    assert advantage(member, np.array([3.0, 4.0, 1.0, 2.0])) == (1.0, 1.0)
    assert advantage(member, np.array([1.0, 2.0, 3.0, 4.0])) == (1.0, 1.0)
    assert advantage(member, np.array([1.0, 1.0, 1.0, 1.0])) == (0.5, 0.0)


def test_the_table_shows_means_over_repeats() -> None:
    found = {"heart": [{"a": (0.5, 0.1)}, {"a": (0.7, 0.3)}, {"lots": (0.9, 0.8)}]}
    assert table(found)[2:] == ["| a | 0.60 (0.20) |", "| lots | 0.90 (0.80) |"]


def test_a_run_prints_every_attack(
    made_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["atlas_membership", "--data", str(made_data), "--repeats", "1", "--processes", "1"]
    monkeypatch.setattr(sys, "argv", command)
    atlas_membership.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 6
    assert rows[0] == "| AUROC (advantage) | heart | blood |"
