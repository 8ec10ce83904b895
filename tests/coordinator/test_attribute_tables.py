"""A plain table of attributes: what it declares is read strictly, and analysed as a study's own."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from coordinator.api import study_association
from coordinator.attribute_tables import attributes_of_table
from coordinator.cli import main
from shared.errors import ProblemsError

LOTS = tuple(f"L{number:02d}" for number in range(12))


def _frame(**changes: object) -> pd.DataFrame:
    rows: list[dict[str, object]] = [
        {"lot": lot, "attribute": "miR-16", "value": str(3 + k), "unit": "pg"} for k, lot in enumerate(LOTS)
    ]
    rows[0] |= changes
    return pd.DataFrame(rows)


def test_values_and_declarations_are_read() -> None:
    frame = _frame(value="<2.5").assign(kind="concentration", family="EV panel", transform="log")
    plan, found = attributes_of_table(frame, LOTS)
    (declared,) = plan.attributes
    assert (declared.attribute, declared.family, declared.detection_limit) == ("mir-16", "ev-panel", 2.5)
    assert found.below[:, 0].tolist() == [True] + [False] * 11
    assert list(found.values[1:, 0]) == [float(3 + k) for k in range(1, 12)]  # noqa: PD011 - no data frame


def test_of_several_limits_the_highest_counts() -> None:
    frame = _frame(value="<2.5")
    frame.loc[5, "value"] = "<7"
    _, table = attributes_of_table(frame, LOTS)
    assert table.below[:, 0].tolist() == [value < 7 for value in (0, 4, 5, 6, 7, 0, 9, 10, 11, 12, 13, 14)]


def test_a_lot_without_a_row_or_value_is_missing() -> None:
    _, table = attributes_of_table(_frame(value=""), LOTS)
    assert list(np.isnan(table.values[:2, 0])) == [True, False]  # noqa: PD011 - no data frame
    assert not table.below.any()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lot": "L99"}, "expected a lot of the counts, found 'L99'"),
        ({"value": "1,5"}, "expected a number, found '1,5'"),
        ({"unit": "ng"}, "expected 'ng' as in attributes, row 0, found 'pg'"),
        ({"lot": "L01"}, "expected one value of mir-16 of L01, found another"),
        ({"value": "-1"}, "expected a concentration of 0 or more, found -1"),
    ],
)
def test_a_bad_row_is_named(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        attributes_of_table(_frame(**changes), LOTS)
    assert any(said in str(problem) for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("kind", "flavour", "'flavour' is not a valid AttributeKind"),
        ("kind", "ratio", "expected the denominator of a ratio"),
        ("transform", "sqrt", "'sqrt' is not a valid AttributeTransform"),
    ],
)
def test_a_bad_declaration_is_named(column: str, value: str, said: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        attributes_of_table(_frame().assign(**{column: value}), LOTS)
    assert any(said in str(problem) for problem in caught.value.problems)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ProblemsError, match="found no unit"):
        attributes_of_table(_frame().drop(columns="unit"), LOTS)


def _tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(1)
    counts = pd.DataFrame(
        {"lot": LOTS, "site": ["a", "b"] * 6, "c0": rng.integers(50, 90, 12), "c1": rng.integers(50, 90, 12)}
    )
    potency = pd.DataFrame({"lot": LOTS, "assay": "VEGF", "value": [2.0 + k for k in range(12)], "unit": "pg/mL"})
    counts.to_csv(folder / "counts.csv", index=False)
    potency.to_csv(folder / "potency.csv", index=False)
    _frame().to_csv(folder / "attributes.csv", index=False)
    return counts, potency


def test_analyse_takes_a_table_of_attributes(tmp_path: Path) -> None:
    counts, potency = _tables(tmp_path)
    names = ("counts", "potency", "attributes")
    files = [part for name in names for part in (f"--{name}", str(tmp_path / f"{name}.csv"))]
    result = CliRunner().invoke(main, ["analyse", *files, "--out", str(tmp_path / "out"), "--strata", "site"])
    assert result.exit_code == 0, result.stderr
    assert "mir-16" in result.stdout
    written = json.loads((tmp_path / "out" / "results.json").read_text())["attributes"]["associations"][0]
    assert (written["attribute"], written["rho"], written["significant"]) == ("mir-16", 1.0, True)
    page = (tmp_path / "out" / "report.html").read_text()
    assert '<section id="attributes"' in page
    answer = study_association(counts, potency, strata="site", attributes=_frame(), seed=1)
    assert answer.results.attributes is not None
    assert answer.results.attributes.associations[0].rho == 1.0
