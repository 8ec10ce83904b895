"""Diagnostics: silent on a lot like the reference, and each warning where its reason is put into the data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from protocol.plan import QualityLimits
from site_agent.cells.diagnostics import LotDiagnostics, WarningCode, diagnose
from site_agent.cells.lot_mapping import LotMapping, diagnosed_cells, map_site_lots, summarise_lot
from site_agent.cells.lots import CellFilter, Lot, SiteLots
from site_agent.cells.mapping import map_cells
from tests.site_agent.cells.conftest import SmallStudy


@given(owner=st.lists(st.integers(-1, 2), min_size=1, max_size=200), per_lot=st.integers(1, 50))
def test_diagnosed_cells_are_the_lots_own_and_bounded(owner: list[int], per_lot: int) -> None:
    owners = np.array(owner, dtype=np.int32)
    chosen = diagnosed_cells(owners, 3, per_lot=per_lot)
    assert not chosen[owners < 0].any()
    for lot in range(3):
        assert chosen[owners == lot].sum() == min(per_lot, (owners == lot).sum())


def diagnosed(small_study: SmallStudy, change: str = "none", *, cells: slice = slice(None)) -> LotDiagnostics:
    adata = small_study.adata()[cells].copy()
    if change == "strange":  # half of the cells express what no reference cell does
        dense = adata.X.toarray()
        dense[::2] = dense[::2][:, ::-1]
        adata.X = sp.csr_matrix(dense)
    if change == "genes missing":
        adata = adata[:, : adata.n_vars * 8 // 10].copy()
    return diagnose(small_study.atlas, summarise_lot(map_cells(adata, small_study.atlas), QualityLimits()))


def codes(found: LotDiagnostics) -> set[WarningCode]:
    return {warning.code for warning in found.warnings}


def test_lot_like_the_reference_gets_no_warning(small_study: SmallStudy) -> None:
    found = diagnosed(small_study)
    assert codes(found) == set()
    assert found.em_gap is not None
    assert found.em_gap < 0.05
    assert found.em_shares.sum() == pytest.approx(1.0)  # rounding of a sum of shares


def test_each_reason_has_its_warning(small_study: SmallStudy) -> None:
    assert WarningCode.SITE_SHIFT in codes(diagnosed(small_study, "strange"))
    assert WarningCode.GENES_MISSING in codes(diagnosed(small_study, "genes missing"))
    assert WarningCode.SMALL_LOT in codes(diagnosed(small_study, cells=slice(0, 40)))


def test_excess_of_novel_cells_is_a_warning_though_they_are_assigned(small_study: SmallStudy) -> None:
    lot = summarise_lot(map_cells(small_study.adata(), small_study.atlas), QualityLimits())
    before = diagnose(small_study.atlas, lot)
    assert WarningCode.EXCESS_NOVEL not in codes(before)
    energy = lot.mapping.energy.copy()
    energy[::3] = np.inf  # every third cell is like no cluster; labels and counts stay
    strange = replace(lot, mapping=replace(lot.mapping, energy=energy))
    found = diagnose(small_study.atlas, strange)
    assert WarningCode.EXCESS_NOVEL in codes(found)
    assert found.novel.share >= max(1 / 3, before.novel.share)
    assert found.composition.shares.tolist() == before.composition.shares.tolist()


def test_lots_of_one_file_keep_points_of_their_own_cells(tmp_path: Path, small_study: SmallStudy) -> None:
    small_study.write(tmp_path / "all.h5ad")
    lots = tuple(
        Lot(
            lot=name,
            donor=name,
            file=tmp_path / "all.h5ad",
            tissue="BM",
            product="MSC",
            passage=5,
            condition="normoxia",
            cohort="discovery",
            where=(CellFilter(column="lot", value=name),),
        )
        for name in ("L0", "L2")
    )
    site = SiteLots(folder=tmp_path, lots=lots, potency={})
    together: list[LotMapping] = [lot for _, lot in map_site_lots(site, small_study.atlas, QualityLimits())]
    alone = diagnose(
        small_study.atlas,
        summarise_lot(
            map_cells(small_study.adata()[small_study.lots == "L2"].copy(), small_study.atlas), QualityLimits()
        ),
    )
    found = diagnose(small_study.atlas, together[1])
    assert found.cells == alone.cells == together[1].counts.sum()
    assert (found.shifts == alone.shifts).all()
    assert (found.em_shares == alone.em_shares).all()
