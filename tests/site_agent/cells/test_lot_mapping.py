"""A lot's composition: cells add up, limits remove by their first breach, medians are exact."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protocol.plan import QualityLimits
from shared.errors import InputError, ProblemsError
from site_agent.cells.lot_files import require_readable_files
from site_agent.cells.lot_mapping import WithheldReason, map_site_lots, summarise_lot
from site_agent.cells.lots import read_site_folder
from site_agent.cells.mapping import map_cells
from site_agent.cells.quality import CellQuality, apply_limits, medians
from tests.site_agent.cells.conftest import SmallStudy

LOTS_HEAD = "lot,donor,file,tissue,product,passage,condition,cohort,where\n"
POTENCY_HEAD = "lot,endpoint,assay,value,unit,run,is_reference\n"


@pytest.fixture
def folder(tmp_path: Path, small_study: SmallStudy) -> Path:
    small_study.write(tmp_path / "all.h5ad")
    small_study.adata()[small_study.lots == "L2"].copy().write_h5ad(tmp_path / "third.h5ad")
    rows = [
        "A,D1,all.h5ad,BM,MSC,5,normoxia,discovery,lot=L0",
        "B,D2,all.h5ad,BM,MSC,5,normoxia,discovery,lot=L1",
        "C,D3,third.h5ad,BM,MSC,5,normoxia,discovery,",
    ]
    (tmp_path / "lots.csv").write_text(LOTS_HEAD + "\n".join(rows))
    (tmp_path / "potency.csv").write_text(
        POTENCY_HEAD + "".join(f"{lot},vegf,ELISA,{i + 1},pg/ml,r1,false\n" for i, lot in enumerate("ABC"))
    )
    return tmp_path


@given(
    counts=hnp.arrays(np.float64, 50, elements=st.integers(0, 30).map(float)),
    minimum=st.integers(0, 20),
    genes=st.integers(0, 20),
    share=st.floats(0.1, 1.0),
    seed=st.integers(0, 99),
)
def test_removed_and_kept_cells_add_up(counts: np.ndarray, minimum: int, genes: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = CellQuality(
        total_counts=counts,
        n_genes=rng.integers(0, 30, 50).astype(np.int32),
        mitochondrial_counts=np.floor(counts * rng.uniform(0, 1, 50)),
    )
    limits = QualityLimits(
        minimum_counts_per_cell=minimum, minimum_genes_per_cell=genes, maximum_mitochondrial_share=share
    )
    keep, removed = apply_limits(cells, limits)
    assert removed.total + keep.sum() == 50
    assert (counts[keep] >= max(minimum, 1)).all()
    assert (cells.n_genes[keep] >= genes).all()
    found = medians(cells.only(keep))
    assert (found.counts is None) == (not keep.any())
    if keep.any():
        assert found.counts == float(np.median(counts[keep]))
    # Loosening the limits never removes a cell more.
    loose, _ = apply_limits(cells, QualityLimits())
    assert (loose >= keep).all()


def test_first_limit_that_breaks_takes_the_cell() -> None:
    cells = CellQuality(
        total_counts=np.array([0.0, 5.0, 50.0, 50.0, 50.0]),
        n_genes=np.array([0, 1, 1, 30, 30], dtype=np.int32),
        mitochondrial_counts=np.array([0.0, 5.0, 50.0, 26.0, 25.0]),
    )
    limits = QualityLimits(minimum_counts_per_cell=10, minimum_genes_per_cell=5, maximum_mitochondrial_share=0.5)
    keep, removed = apply_limits(cells, limits)
    assert keep.tolist() == [False, False, False, False, True]
    assert (removed.no_counts, removed.few_counts, removed.few_genes, removed.high_mitochondrial_share) == (1, 1, 1, 1)


def test_mitochondrial_limit_without_mitochondrial_genes_is_refused() -> None:
    cells = CellQuality(total_counts=np.ones(2), n_genes=np.ones(2, dtype=np.int32), mitochondrial_counts=None)
    with pytest.raises(InputError, match="no gene of the file is known as mitochondrial"):
        apply_limits(cells, QualityLimits(maximum_mitochondrial_share=0.2))
    assert apply_limits(cells, QualityLimits())[0].all()
    assert medians(cells).mitochondrial_share is None


def test_lots_of_one_file_map_as_they_would_alone(folder: Path, small_study: SmallStudy) -> None:
    site = read_site_folder(folder)
    require_readable_files(site)
    limits = QualityLimits(minimum_cells_per_lot=1)
    found = {lot.lot: mapped for lot, mapped in map_site_lots(site, small_study.atlas, limits, threads=2)}
    for name, lot in (("A", "L0"), ("B", "L1"), ("C", "L2")):
        alone = summarise_lot(map_cells(folder / "all.h5ad", small_study.atlas, where=[("lot", lot)]), limits)
        assert found[name].counts.tolist() == alone.counts.tolist()
        assert found[name].medians == alone.medians
        assert found[name].cells == found[name].cells_after_qc == 120
        assert found[name].counts.sum() + found[name].unassigned == 120
        assert found[name].withheld(limits) == ()
    assert [lot.lot for lot, _ in map_site_lots(site, small_study.atlas, limits, lots=["C"])] == ["C"]


def test_limits_say_why_a_lot_is_withheld(folder: Path, small_study: SmallStudy) -> None:
    limits = QualityLimits(minimum_cells_per_lot=121)
    _, mapped = next(iter(map_site_lots(read_site_folder(folder), small_study.atlas, limits)))
    assert mapped.withheld(limits) == (WithheldReason.TOO_FEW_CELLS,)


def test_cell_of_two_lots_is_refused(folder: Path) -> None:
    text = (folder / "lots.csv").read_text()
    (folder / "lots.csv").write_text(text.replace("lot=L1", "kind=alpha"))
    with pytest.raises(ProblemsError, match=r"rows 2 and 3: .* cells of all.h5ad belong to both 'A' and 'B'"):
        require_readable_files(read_site_folder(folder))


def test_all_faulty_files_are_named_at_once(folder: Path) -> None:
    text = (folder / "lots.csv").read_text()
    (folder / "lots.csv").write_text(text.replace("lot=L1", "lot=L9"))
    (folder / "third.h5ad").write_bytes(b"PK\x03\x04 not cells")
    with pytest.raises(ProblemsError) as caught:
        require_readable_files(read_site_folder(folder))
    first, second = map(str, caught.value.problems)
    assert first.startswith("lots.csv, rows 2, 3: ")
    assert "no cell with 'L9'" in first
    assert second.startswith("lots.csv, row 4: ")
    assert "found a zip archive" in second
