"""What a benchmark claims: it holds within its tolerance and not beyond, and the exit code says so."""

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from math import sqrt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.claims import Row, about, at_least, at_most, exceeds, figure, options, say, share, tolerance
from simulations.power import Rate

ROOT = Path(__file__).resolve().parents[2]
SHARES = st.floats(0, 1)


@given(SHARES, st.integers(1, 10_000))
def test_the_tolerance_is_three_standard_errors_as_the_engines_rate_has_it(expected: float, trials: int) -> None:
    assert tolerance(expected, trials) == Rate(events=0, trials=trials).tolerance(expected)


@given(SHARES, SHARES, st.floats(0, 0.5))
def test_a_claim_about_a_figure_holds_where_it_is_within_the_tolerance(
    found: float, claimed: float, off: float
) -> None:
    assert about("x", found, claimed, off).holds == (abs(found - claimed) <= off)
    assert at_most("x", found, claimed, off).holds == (found <= claimed + off)
    assert exceeds("x", found, claimed, off).holds == (not at_most("x", found, claimed, off).holds)
    assert at_least("x", found, claimed).holds == (found >= claimed)


@pytest.mark.parametrize(
    "row",
    [
        about("x", float("nan"), 0.5, 1.0),
        at_most("x", float("nan"), 0.5, 1.0),
        exceeds("x", float("nan"), 0.5, 0.0),
        at_least("x", float("nan"), 0.0),
    ],
)
def test_no_claim_holds_of_what_could_not_be_measured(row: Row) -> None:
    assert not row.holds


def test_a_figure_of_which_nothing_is_claimed_holds_whatever_it_is() -> None:
    assert figure("x", 99.0).holds
    seen = share("x", Rate(events=1, trials=4))
    assert seen == Row(what="x", measured=0.25, standard_error=sqrt(0.25 * 0.75 / 4))
    assert share("x", Rate(events=0, trials=0)).standard_error is None


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (figure("shares", 0.5), "0.5000"),
        (share("shares", Rate(events=1, trials=4)), "0.2500  +- 0.2165"),
        (about("shares", 0.5, 0.4, 0.2), "0.5000  expected 0.4 +- 0.2000  holds"),
        (at_most("shares", 0.5, 0.05, 0.02), "0.5000  expected <= 0.05 +- 0.0200  DOES NOT HOLD"),
        (at_least("shares", 0.5, 0.2), "0.5000  expected >= 0.2  holds"),
    ],
)
def test_a_row_prints_what_was_claimed_and_whether_it_holds(row: Row, text: str) -> None:
    assert str(row).split("shares")[1].strip() == text


def test_rows_are_printed_as_they_are_measured_and_the_code_says_whether_all_hold(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: list[str] = []

    def rows() -> Iterator[Row]:
        yield at_most("first", 0.9, 0.05, 0.0)
        seen.append(capsys.readouterr().out)
        yield figure("second", 0.5)

    asked = options("text", replicates=7).parse_args([])
    assert say(rows(), asked) == 1
    assert "first" in seen[0]
    last = capsys.readouterr().out.splitlines()
    assert last[0].startswith("second")
    assert last[1].startswith("7 studies a row, 0 s, ")
    assert say([figure("second", 0.5)], asked) == 0


def test_as_json_all_rows_are_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [about("first", 0.9, 0.05, 0.01), figure("second", 0.5)]
    assert say(rows, Namespace(json=True, replicates=1)) == 1
    document = json.loads(capsys.readouterr().out)
    assert [(row["what"], row["expected"], row["holds"]) for row in document] == [
        ("first", "0.05", False),
        ("second", "", True),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "attributes",
        "comparability",
        "error_rates",
        "markers",
        "morphology",
        "noise_modules",
        "noise_power",
        "specification",
    ],
)
def test_every_benchmark_of_studies_starts_as_its_first_lines_say(name: str) -> None:
    text = (ROOT / "benchmarks" / f"{name}.py").read_text()
    assert f"``python -m benchmarks.{name} [" in text


def test_a_benchmark_runs_as_a_module_and_ends_with_its_code() -> None:
    command = [sys.executable, "-m", "benchmarks.attributes", "--replicates", "1", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - this interpreter
    rows = json.loads(done.stdout)
    assert done.returncode == int(not all(row["holds"] for row in rows))
    assert sum(bool(row["expected"]) for row in rows) == 6
