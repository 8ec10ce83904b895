"""The site folder: all its problems at once, each with file, row, column and what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.plan import Cohort, CohortRole, Endpoint, Normalisation
from shared.errors import ProblemsError
from site_agent.cells.lots import CellFilter, SiteLots, read_site_folder
from site_agent.cells.potency_rows import PotencyRows

LOTS = """lot,donor,file,tissue,product,passage,condition,cohort
L1,D1,l1.h5ad,BM,MSC,5,normoxia,discovery
L2,D2,l2.h5ad,BM,MSC,P4,normoxia,discovery
"""
POTENCY = """lot,endpoint,assay,value,unit,run,is_reference
L1,vegf,ELISA,10.5,pg/ml,r1,false
L1,vegf,ELISA,11.5,pg/ml,r1,false
L2,vegf,ELISA,7,pg/ml,r1,
,vegf,ELISA,8,pg/ml,r1,true
"""
VEGF = Endpoint(endpoint="vegf", assay="ELISA", unit="pg/ml", normalisation=Normalisation.RUN_REFERENCE)  # type: ignore[arg-type]  # a validated string
DISCOVERY = Cohort(cohort="discovery", role=CohortRole.DISCOVERY, tissues=("BM",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    site.mkdir()
    (site / "lots.csv").write_text(LOTS)
    (site / "potency.csv").write_text(POTENCY)
    for name in ("l1.h5ad", "l2.h5ad"):
        (site / name).write_bytes(b"cells")
    return site


def problems_of(folder: Path) -> tuple[str, ...]:
    with pytest.raises(ProblemsError) as caught:
        read_site_folder(folder, (VEGF,), cohorts=(DISCOVERY,))
    assert all(problem.hint for problem in caught.value.problems)
    return tuple(str(problem) for problem in caught.value.problems)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_good_folder_is_read(folder: Path) -> None:
    site = read_site_folder(folder, (VEGF,), cohorts=(DISCOVERY,))
    assert [lot.lot for lot in site.lots] == ["L1", "L2"]
    assert [lot.passage for lot in site.lots] == [5, 4]
    assert site.lots[0].file == folder.resolve() / "l1.h5ad"
    assert site.potency["L1"] == (
        PotencyRows(
            endpoint="vegf",
            assay="ELISA",
            unit="pg/ml",
            run="r1",
            replicates=(10.5, 11.5),
            reference_replicates=(8.0,),
        ),
    )


@given(
    names=st.lists(
        st.sampled_from(["NA", "nan", "NULL", "None", "1e5", "007", "TRUE", "n/a", "-", "Лот 5", "a b"]),
        min_size=1,
        unique=True,
    )
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lot_names_that_look_like_missing_values_stay_names(folder: Path, names: list[str]) -> None:
    head, sample = LOTS.splitlines()[:2]
    rows = [sample.replace("L1", name, 1).replace("l1.h5ad", f"{i}.h5ad") for i, name in enumerate(names)]
    (folder / "lots.csv").write_text("\n".join([head, *rows]), encoding="utf-8")
    head, sample = POTENCY.splitlines()[:2]
    rows = [sample.replace("L1", name, 1) for name in names] + [POTENCY.splitlines()[-1]]
    (folder / "potency.csv").write_text("\n".join([head, *rows]), encoding="utf-8")
    for i in range(len(names)):
        (folder / f"{i}.h5ad").touch()
    site = read_site_folder(folder, (VEGF,), cohorts=(DISCOVERY,))
    assert [lot.lot for lot in site.lots] == names
    assert set(site.potency) == set(names)


def test_byte_order_mark_of_a_spreadsheet_changes_nothing(folder: Path) -> None:
    plain = read_site_folder(folder)
    for name in ("lots.csv", "potency.csv"):
        (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes().replace(b"\n", b"\r\n"))
    assert read_site_folder(folder) == plain


def test_all_problems_of_a_folder_come_at_once(folder: Path) -> None:
    edit(folder / "lots.csv", "l2.h5ad,BM,MSC,P4", "missing.h5ad,UC,MSC,four")
    edit(folder / "potency.csv", "10.5,pg/ml", "10.5,ng/ml")
    edit(folder / "potency.csv", "L2,vegf,ELISA,7", "L9,vegf,ELISA,-7")
    found = problems_of(folder)
    assert len(found) == 7
    for piece in (
        "lots.csv, row 3, column 'passage'",
        "lots.csv, row 3, column 'tissue'",
        "lots.csv, row 3, column 'file': 'missing.h5ad' is missing",
        "potency.csv, row 2, column 'unit': expected 'pg/ml' for the endpoint vegf, found 'ng/ml'",
        "potency.csv, row 4, column 'value': expected a positive potency, found '-7'",
        "potency.csv, row 4, column 'lot': 'L9' is not a lot of lots.csv",
        "lots.csv, row 3, column 'lot': 'L2' has no potency",
    ):
        assert any(problem.startswith(piece) for problem in found), piece


def test_without_a_plan_an_endpoint_still_has_one_unit(folder: Path) -> None:
    edit(folder / "potency.csv", "7,pg/ml", "7,ng/ml")
    with pytest.raises(ProblemsError, match="row 4, column 'unit': 'ng/ml' differs from 'pg/ml' in row 2"):
        read_site_folder(folder)


def breaks(file: str, old: str, new: str, expected: str) -> tuple[str, str, str, str]:
    return (file, old, new, expected)


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        breaks("lots.csv", "L2,D2", "L1,D2", "row 3, column 'lot': 'L1' stands in row 2 already"),
        breaks("lots.csv", "l2.h5ad", "l1.h5ad", "rows 2 and 3: two lots have the same cells"),
        breaks("lots.csv", "l2.h5ad", "../site/../out.h5ad", "row 3, column 'file': '../site/../out.h5ad' leads out"),
        breaks("lots.csv", "l2.h5ad", "/etc/passwd", "row 3, column 'file': expected a path relative"),
        breaks(
            "lots.csv", "P4,normoxia,discovery", "P4,normoxia,valdation", "'valdation' is not a cohort of the study"
        ),
        breaks("lots.csv", "cohort\n", "Cohort\n", "missing column 'cohort'"),
        breaks("lots.csv", "lot,donor", "lot,lot", "column 'lot' stands twice"),
        breaks("lots.csv", "D2,", "D2,,", "row 3: expected 8 values, found 9"),
        breaks("lots.csv", ",", ";", "expected commas between values, found semicolons"),
        breaks("lots.csv", ",", "\t", "expected commas between values, found tabs"),
        breaks(
            "potency.csv", "10.5", '"10,5"', "row 2, column 'value': expected a number, found '10,5' with a decimal"
        ),
        breaks("potency.csv", "10.5", "high", "row 2, column 'value': expected a number, found 'high'"),
        breaks("potency.csv", "10.5", "nan", "row 2, column 'value': expected a number, found 'nan'"),
        breaks("potency.csv", "10.5", "<0.5", "row 2, column 'value': expected a number, found '<0.5'"),
        breaks("potency.csv", "10.5", "", "row 2, column 'value': expected a number, found nothing"),
        breaks("potency.csv", "10.5", "1e999", "row 2, column 'value': expected a finite number"),
        breaks("potency.csv", "10.5", "0", "row 2, column 'value': expected a positive potency, found '0'"),
        breaks("potency.csv", "10.5", "1_0", "row 2, column 'value': expected a number, found '1_0'"),
        breaks("potency.csv", ",true", ",maybe", "row 5, column 'is_reference': expected true or false"),
        breaks("potency.csv", ",vegf,ELISA,8", "L1,vegf,ELISA,8", "row 5, column 'lot': expected no lot"),
        breaks("potency.csv", "8,pg/ml,r1", "8,pg/ml,r2", "row 2, column 'run': run 'r1' has no reference standard"),
        breaks("potency.csv", "L1,vegf", "L1,vegv", "'vegv' is not an endpoint of the study"),
    ],
)
def test_each_fault_is_named(folder: Path, file: str, old: str, new: str, expected: str) -> None:
    edit(folder / file, old, new)
    found = problems_of(folder)
    assert any(expected in problem and problem.startswith(file) for problem in found), found


def _remove_lots(folder: Path) -> None:
    (folder / "lots.csv").unlink()


def _empty_lots(folder: Path) -> None:
    (folder / "lots.csv").write_text("\n\n")


def _header_only(folder: Path) -> None:
    (folder / "lots.csv").write_text(LOTS.splitlines()[0])


def _utf16(folder: Path) -> None:
    (folder / "lots.csv").write_text(LOTS, encoding="utf-16")


def _latin1(folder: Path) -> None:
    (folder / "lots.csv").write_bytes(LOTS.replace("D2", "Jörg").encode("latin-1"))


def _binary(folder: Path) -> None:
    (folder / "lots.csv").write_bytes(b"PK\x03\x04\x00\x00")


def _unclosed_quote(folder: Path) -> None:
    (folder / "lots.csv").write_text(LOTS.replace("L1", '"L1'))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_remove_lots, "lots.csv: missing in"),
        (_empty_lots, "lots.csv: is empty"),
        (_header_only, "lots.csv: has a header and no rows"),
        (_utf16, "lots.csv: expected UTF-8, found UTF-16"),
        (_latin1, "lots.csv: expected UTF-8, found the byte 0xf6 on line 3"),
        (_binary, "lots.csv: expected text, found NUL bytes"),
        (_unclosed_quote, "lots.csv: expected comma-separated values, found unexpected end of data"),
    ],
)
def test_unreadable_table_is_one_problem(folder: Path, damage: Callable[[Path], None], expected: str) -> None:
    damage(folder)
    found = problems_of(folder)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_link_out_of_the_folder_is_refused(folder: Path) -> None:
    (folder.parent / "elsewhere.h5ad").touch()
    (folder / "l2.h5ad").unlink()
    (folder / "l2.h5ad").symlink_to(folder.parent / "elsewhere.h5ad")
    assert any("leads out of the site folder" in problem for problem in problems_of(folder))


def test_several_lots_of_one_file_are_told_apart_by_where(folder: Path) -> None:
    head, *rows = LOTS.replace("l2.h5ad", "l1.h5ad").splitlines()
    table = [f"{head},where,period", f"{rows[0]},donor=1;condition=ctrl,2026-Q3", f"{rows[1]},donor=2,"]
    (folder / "lots.csv").write_text("\n".join(table))
    site: SiteLots = read_site_folder(folder)
    first = (CellFilter(column="donor", value="1"), CellFilter(column="condition", value="ctrl"))
    assert [lot.where for lot in site.lots] == [first, (CellFilter(column="donor", value="2"),)]
    assert [lot.period for lot in site.lots] == ["2026-Q3", None]


@pytest.mark.parametrize("text", ["donor", "=1", "donor=", "donor=1;donor=2"])
def test_malformed_where_names_its_row(folder: Path, text: str) -> None:
    head, *rows = LOTS.splitlines()
    (folder / "lots.csv").write_text("\n".join([f"{head},where", f"{rows[0]},{text}", f"{rows[1]},"]))
    assert any(problem.startswith("lots.csv, row 2, column 'where'") for problem in problems_of(folder))


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProblemsError, match="expected a site folder"):
        read_site_folder(tmp_path / "nowhere")


@given(lots=st.binary(max_size=300), potency=st.binary(max_size=300))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_problems_and_never_a_crash(folder: Path, lots: bytes, potency: bytes) -> None:
    (folder / "lots.csv").write_bytes(LOTS.encode()[:60] + lots)
    (folder / "potency.csv").write_bytes(POTENCY.encode()[:50] + potency)
    with pytest.raises(ProblemsError):
        read_site_folder(folder)
