"""``attributes.csv``: every problem with its file, row and column; what is below detection has no number."""

from pathlib import Path

import pytest

from protocol.modules.attributes import AttributeKind, AttributePlan, AttributesPlan, AttributeTransform
from shared.errors import InputError
from site_agent.cells.attribute_rows import AttributeRow, read_attributes

PLAN = AttributesPlan(
    attributes=(
        AttributePlan(
            attribute="mir-16",
            kind=AttributeKind.CONCENTRATION,
            unit="copies/uL",
            family="mirna",
            transform=AttributeTransform.LOG,
            detection_limit=2.0,
            assay="RT-qPCR",
        ),
        AttributePlan(attribute="passages", kind=AttributeKind.PROCESS, unit="1", family="process"),
    )
)
LOTS = {"L1": 2, "L2": 3}
HEADER = "lot,attribute,value,unit,assay\n"


def _read(
    folder: Path, text: str, plan: AttributesPlan | None = PLAN
) -> tuple[dict[str, tuple[AttributeRow, ...]], list[InputError]]:
    path = folder / "attributes.csv"
    path.write_text(HEADER + text)
    problems: list[InputError] = []
    return read_attributes(path, plan, LOTS, problems), problems


def _values(found: dict[str, tuple[AttributeRow, ...]], lot: str) -> dict[str, float | None]:
    return {row.attribute: row.value for row in found[lot]}


def test_values_missing_and_below_detection_are_told_apart(tmp_path: Path) -> None:
    text = (
        "L1,mir-16,12.5,copies/uL,RT-qPCR\nL1,passages,4,1,log\nL2,mir-16,<LOD,copies/uL,RT-qPCR\nL2,passages,,1,log\n"
    )
    found, problems = _read(tmp_path, text)
    assert problems == []
    assert _values(found, "L1") == {"mir-16": 12.5, "passages": 4.0}
    assert _values(found, "L2") == {"mir-16": None}


@pytest.mark.parametrize("text", ["<2", "< 1.5", "<lod", "1.99"])
def test_whatever_lies_below_the_plans_limit_has_no_number(tmp_path: Path, text: str) -> None:
    found, problems = _read(tmp_path, f"L1,mir-16,{text},copies/uL,RT-qPCR\n")
    assert problems == []
    assert _values(found, "L1") == {"mir-16": None}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("L1,mir-16,<5,copies/uL,RT-qPCR", "expected a limit of at most 2, as the study declares it, found '<5'"),
        ("L1,passages,<1,1,log", "the study declares no limit of detection of passages"),
        ('L1,mir-16,"1,5",copies/uL,RT-qPCR', "found '1,5' with a decimal comma"),
        ("L1,mir-16,NA,copies/uL,RT-qPCR", "expected a number, found 'NA'"),
        ("L1,mir-16,-3,copies/uL,RT-qPCR", "expected a concentration of 0 or more, found '-3'"),
        ("L1,mir-16,9,ng,RT-qPCR", "expected 'copies/uL' for the attribute mir-16, found 'ng'"),
        ("L1,mir-16,9,copies/uL,ddPCR", "expected 'RT-qPCR' for the attribute mir-16, found 'ddPCR'"),
        ("L1,mir-99,9,copies/uL,RT-qPCR", "'mir-99' is not an attribute of the study"),
        ("L9,mir-16,9,copies/uL,RT-qPCR", "'L9' is not a lot of lots.csv"),
    ],
)
def test_a_bad_row_is_named_with_its_column_and_a_hint(tmp_path: Path, row: str, said: str) -> None:
    found, problems = _read(tmp_path, row + "\n")
    assert found == {}
    (problem,) = [each for each in problems if said in str(each)]
    assert str(problem).startswith("attributes.csv, row 2, column ")


def test_a_second_value_of_a_lot_is_refused_rather_than_averaged(tmp_path: Path) -> None:
    _, problems = _read(tmp_path, "L1,mir-16,9,copies/uL,RT-qPCR\nL1,mir-16,10,copies/uL,RT-qPCR\n")
    assert [str(each) for each in problems] == [
        "attributes.csv, row 3, column 'attribute': 'mir-16' of 'L1' stands in row 2 already"
    ]


def test_a_missing_file_is_a_problem_where_the_study_asks(tmp_path: Path) -> None:
    problems: list[InputError] = []
    assert read_attributes(tmp_path / "attributes.csv", PLAN, LOTS, problems) == {}
    (problem,) = problems
    assert "the study asks for attributes of lots" in str(problem)
    assert "lot,attribute,value,unit,assay" in str(problem.hint)


def test_without_a_plan_the_form_alone_is_checked(tmp_path: Path) -> None:
    found, problems = _read(tmp_path, "L1,anything,<7,a unit,an assay\n", plan=None)
    assert problems == []
    assert _values(found, "L1") == {"anything": None}
