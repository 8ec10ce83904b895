"""Plain tables to study data: what they may say, and every problem by its name."""

from pathlib import Path

import pytest

from coordinator.tables import read_study_tables
from protocol.plan import CohortRole, Normalisation
from shared.errors import ProblemsError

_COUNTS = """lot,site,donor,tissue,cohort,cells,c0,c1,unassigned
l1,Site A,d1,bone marrow,discovery,100,40,50,10
l2,Site A,,adipose,validation,200,40,150,10
l3,b,d3,bone marrow,,50,20,30,0
"""
_POTENCY = """lot,assay,value,unit,replicate,run,is_reference
l1,VEGF,220,pg/mL,1,r1,false
l1,VEGF,242,pg/mL,2,r1,false
l2,VEGF,100,pg/mL,1,r1,
l3,VEGF,50,pg/mL,1,r2,0
,VEGF,110,pg/mL,1,r1,true
,VEGF,25,pg/mL,1,r2,1
l1,CD4 suppression,0.4,fraction,,,
l2,CD4 suppression,0.2,fraction,,,
l3,CD4 suppression,0.9,fraction,,,
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "counts.csv").write_text(_COUNTS)
    (tmp_path / "potency.csv").write_text(_POTENCY)
    return tmp_path


def _problems(folder: Path, **options: bool | int) -> str:
    with pytest.raises(ProblemsError) as caught:
        read_study_tables(folder / "counts.csv", folder / "potency.csv", **options)  # type: ignore[arg-type]
    return str(caught.value)


def _change(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_tables_become_lots_endpoints_and_cohorts(folder: Path) -> None:
    tables = read_study_tables(folder / "counts.csv", folder / "potency.csv")
    data = tables.data
    assert (data.sites, data.lots) == (("b", "site-a", "site-a"), ("l3", "l1", "l2"))
    assert data.donors == ("d3", "d1", "l2")  # a lot without a donor is its own
    assert data.tissues == ("bone marrow", "bone marrow", "adipose")
    assert data.clusters == ("c0", "c1")
    assert data.counts_low.tolist() == data.counts_high.tolist() == [[20, 30], [40, 50], [40, 150]]
    assert data.totals_low.tolist() == [50, 100, 200]
    assert data.unassigned_low.tolist() == [0, 10, 10]
    assert [(cohort.cohort, cohort.role) for cohort in tables.cohorts] == [
        ("discovery", CohortRole.DISCOVERY),
        ("validation", CohortRole.VALIDATION),
    ]
    assert [(e.endpoint, e.unit, e.normalisation) for e in tables.endpoints] == [
        ("vegf", "pg/mL", Normalisation.RUN_REFERENCE),
        ("cd4-suppression", "fraction", Normalisation.NONE),
    ]
    assert data.potency["vegf"].runs == (
        (("r2", (50.0,), (25.0,)),),
        (("r1", (220.0, 242.0), (110.0,)),),
        (("r1", (100.0,), (110.0,)),),
    )


def test_without_cells_the_parts_are_the_whole_and_with_cells_the_rest_is_unassigned(tmp_path: Path) -> None:
    (tmp_path / "potency.csv").write_text("lot,assay,value,unit\nl1,VEGF,2,pg/mL\n")
    (tmp_path / "counts.csv").write_text("lot,site,c0,c1\nl1,a,30,50\n")
    data = read_study_tables(tmp_path / "counts.csv", tmp_path / "potency.csv").data
    assert (data.totals_low.tolist(), data.unassigned_low.tolist()) == ([80], [0])
    (tmp_path / "counts.csv").write_text("lot,site,cells,c0,c1\nl1,a,100,30,50\n")
    data = read_study_tables(tmp_path / "counts.csv", tmp_path / "potency.csv").data
    assert (data.totals_low.tolist(), data.unassigned_low.tolist()) == ([100], [20])


def test_a_hidden_count_is_an_interval_where_its_threshold_is_declared(folder: Path) -> None:
    _change(folder, "counts.csv", "100,40,50,10", "100,40,-5,")
    _change(folder, "counts.csv", ",unassigned", "")
    _change(folder, "counts.csv", "100,40,-5,", "100,40,-5")
    _change(folder, "counts.csv", "150,10", "150")
    _change(folder, "counts.csv", "30,0", "30")
    data = read_study_tables(folder / "counts.csv", folder / "potency.csv", small_count_threshold=5).data
    assert (data.counts_low[1].tolist(), data.counts_high[1].tolist()) == ([40, 0], [40, 4])
    assert (data.unassigned_low[1], data.unassigned_high[1]) == (56, 60)
    assert "line 2, column c1: expected a whole number of cells, 0 or more, found -5" in _problems(folder)


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("counts.csv", "100,40,50,10", "100,nan,50,10", "counts.csv, line 2, column c0: expected a finite number"),
        ("counts.csv", "100,40,50,10", "100,-1,50,10", "line 2, column c0: expected a whole number of cells"),
        ("counts.csv", "100,40,50,10", "100,0.4,50,10", "line 2, column c0: expected a whole number of cells"),
        ("counts.csv", "100,40,50,10", "100,forty,50,10", "line 2, column c0: expected a number, found 'forty'"),
        ("counts.csv", "100,40,50,10", "100,,50,10", "line 2, column c0: expected a number, found nothing"),
        ("counts.csv", "100,40,50,10", '100,"4,0",50,10', "use a decimal point"),
        ("counts.csv", "100,40,50,10", "100,400,50,10", "line 2: expected parts that add up to no more than the whole"),
        (
            "counts.csv",
            "100,40,50,10",
            "100,10,50,10",
            "line 2: expected parts that add up to the whole, found 70 of 100",
        ),
        ("counts.csv", "100,40,50,10", "0,0,0,0", "line 2, column cells: expected a whole number above 0"),
        ("counts.csv", "validation", "test", "line 3, column cohort: expected discovery or validation, found 'test'"),
        ("counts.csv", "l2,Site A", "l1,Site A", "line 3, column lot: expected each lot once, found 'l1' again"),
        ("counts.csv", "l2,Site A", "l2,site_a", "expected site names that differ in letters or digits"),
        ("counts.csv", "l2,Site A", "l2,東京", "line 3, column site: expected a name with Latin letters"),
        ("counts.csv", "lot,site", "lot,place", "counts.csv: expected the columns lot, site, found no site"),
        ("counts.csv", "c0,c1", "c0,c0", "expected each column once, found c0 again"),
        ("counts.csv", "l1,Site A,d1", "l1,Site A", "line 2: expected 9 values as in the header, found 8"),
        ("counts.csv", ",", ";", "its separator is not a comma"),
        ("counts.csv", "\nl3,b,d3,bone marrow,,50,20,30,0", "", "column lot: expected a lot of counts.csv, found 'l3'"),
        ("potency.csv", "l1,VEGF,242,pg/mL", "l1,VEGF,242,ng/mL", "assay VEGF: expected one unit, found ng/mL, pg/mL"),
        ("potency.csv", "VEGF,242", "VEGF,0", "line 3, column value: expected a number above 0, found 0"),
        ("potency.csv", "VEGF,242", "VEGF,>2000", "line 3, column value: expected a number, found '>2000'"),
        ("potency.csv", "2,r1,false", "1,r1,false", "line 3, column replicate: expected each replicate of a lot's run"),
        ("potency.csv", "2,r1,false", "2,r1,maybe", "line 3, column is_reference: expected true or false"),
        ("potency.csv", ",VEGF,25,pg/mL,1,r2,1\n", "", "run r2: expected rows of the reference standard"),
        ("potency.csv", "assay,value", "test,value", "potency.csv: expected the columns lot, assay, value, unit"),
    ],
)
def test_bad_input_gets_a_named_error(folder: Path, name: str, old: str, new: str, expected: str) -> None:
    _change(folder, name, old, new)
    assert expected in _problems(folder)


def test_a_lot_without_potency_is_named(folder: Path) -> None:
    path = folder / "potency.csv"
    path.write_text("\n".join(line for line in _POTENCY.splitlines() if not line.startswith("l2")) + "\n")
    assert "counts.csv, lot l2: expected a potency in potency.csv, found none" in _problems(folder)


def test_all_problems_of_both_tables_are_listed_at_once(folder: Path) -> None:
    _change(folder, "counts.csv", "100,40,50,10", "100,-1,x,10")
    _change(folder, "counts.csv", "validation", "test")
    _change(folder, "potency.csv", "VEGF,242", "VEGF,-3")
    message = _problems(folder)
    for expected in ("column c0", "column c1", "column cohort", "column value"):
        assert expected in message


@pytest.mark.parametrize("content", [b"", b"lot\n", b"\xff\xfelot,site\n", b'lot,site,c0\nl1,a,"4\n'])
def test_a_file_that_is_no_table_is_named(folder: Path, content: bytes) -> None:
    (folder / "counts.csv").write_bytes(content)
    assert "counts.csv: expected" in _problems(folder)


def test_missing_files_are_both_named(tmp_path: Path) -> None:
    (tmp_path / "potency.csv").mkdir()
    message = _problems(tmp_path)
    assert "counts.csv: expected a file, found none" in message
    assert "potency.csv: expected a file, found a folder" in message


def test_a_table_of_headers_alone_is_named(folder: Path) -> None:
    (folder / "counts.csv").write_text(_COUNTS.splitlines()[0] + "\n")
    assert "counts.csv: expected a row for each lot, found none" in _problems(folder)


def test_shares_are_read_on_request_only(tmp_path: Path) -> None:
    (tmp_path / "potency.csv").write_text("lot,assay,value,unit\nl1,VEGF,2,pg/mL\n")
    (tmp_path / "counts.csv").write_text("lot,site,c0,c1\nl1,a,0.3,0.5\n")
    assert "expected a whole number of cells" in _problems(tmp_path)
    data = read_study_tables(tmp_path / "counts.csv", tmp_path / "potency.csv", shares=True).data
    assert not data.counted
    assert (data.counts_low[0] / data.totals_low[0]).tolist() == [0.3, 0.5]
    (tmp_path / "counts.csv").write_text("lot,site,c0,c1\nl1,a,0.7,0.5\n")
    assert "shares that add up to 1.2" in _problems(tmp_path, shares=True)
