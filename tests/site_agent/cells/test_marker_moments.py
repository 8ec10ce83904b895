"""Moments of the plan's genes: those of numpy on the dense cells, and the same bits however the cells come."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.modules.markers import MarkerPredictor, MarkersPlan
from protocol.plan import QualityLimits
from shared.atlas.artefact import Atlas
from shared.errors import InputError
from site_agent.cells.gene_names import GeneNames
from site_agent.cells.lot_mapping import map_site_lots
from site_agent.cells.lots import read_site_folder
from site_agent.cells.marker_moments import LotCells, LotMoments, find_genes, marker_moments
from site_agent.cells.reading import open_cells
from site_agent.cells.sources_memory import open_anndata_object
from tests.site_agent.cells.conftest import SmallStudy, gene_symbols

GENES = ("GENE7", "GENE3", "ABSENT", "GENE60")
PLAN = MarkersPlan(
    genes=GENES,
    predictors=(
        MarkerPredictor(gene="GENE3", cluster="beta", threshold=4.0),
        MarkerPredictor(gene="GENE7", threshold=3.5),
    ),
)


def _lots(study: SmallStudy, order: np.ndarray) -> list[LotCells]:
    labels = np.searchsorted(["alpha", "beta", "gamma"], study.kinds).astype(np.int16)
    labels[::17] = -1
    libraries = np.asarray(study.counts.sum(axis=1)).ravel().astype(np.float64)
    return [
        LotCells(rows=rows, labels=labels[order][rows], libraries=libraries[order][rows])
        for rows in (np.flatnonzero((study.lots == lot)[order]) for lot in ("L0", "L1"))
    ]


def _moments(study: SmallStudy, order: np.ndarray, *, threads: int = 1, block: int = 10**6) -> tuple[LotMoments, ...]:
    with open_anndata_object(study.adata()[order].copy(), None) as source:
        return marker_moments(source, study.atlas, PLAN, _lots(study, order), threads=threads, values_per_block=block)


def _bits(found: tuple[LotMoments, ...]) -> list[bytes]:
    parts = [(each.moments.mean, each.moments.m2, each.moments.sum_expm1, each.high_cells) for each in found]
    return [array.tobytes() for arrays in parts for array in arrays]


def test_moments_are_those_of_the_dense_cells(small_study: SmallStudy) -> None:
    order = np.arange(small_study.counts.shape[0])
    found = _moments(small_study, order)
    dense = small_study.counts.toarray().astype(np.float64)
    columns = [gene_symbols().index(gene) for gene in GENES if gene != "ABSENT"]
    scaled = 1e4 * dense[:, columns] / dense.sum(axis=1, keepdims=True)
    for lot, each in zip(_lots(small_study, order), found, strict=True):
        assert np.isnan(each.moments.mean[:, 2]).all()
        for cluster in range(3):
            values = scaled[lot.rows[lot.labels == cluster]]
            logs = np.log1p(values)
            moments = each.moments
            np.testing.assert_allclose(moments.mean[cluster, [0, 1, 3]], logs.mean(axis=0), rtol=1e-9)
            centred = ((logs - logs.mean(axis=0)) ** 2).sum(axis=0)
            np.testing.assert_allclose(moments.m2[cluster, [0, 1, 3]], centred, rtol=1e-8)
            np.testing.assert_allclose(moments.sum_expm1[cluster, [0, 1, 3]], values.sum(axis=0), rtol=1e-8)
            assert moments.nonzero[cluster, [0, 1, 3]].tolist() == (values > 0).sum(axis=0).tolist()
            assert moments.cells[cluster] == len(values)
        beta = lot.rows[lot.labels == 1]
        assert each.high_cells[1, 1] == (np.log1p(scaled[beta, 1]) >= 4.0).sum()
        assert each.high_cells[:, 0].sum() == (np.log1p(scaled[lot.rows, 0]) >= 3.5).sum()


@settings(max_examples=12)
@given(seed=st.integers(0, 999), threads=st.integers(1, 3), block=st.sampled_from([50, 3_000, 10**6]))
def test_order_blocks_and_threads_do_not_show_in_a_single_bit(
    small_study: SmallStudy, seed: int, threads: int, block: int
) -> None:
    order = np.arange(small_study.counts.shape[0])
    shuffled = np.random.default_rng(seed).permutation(order)
    assert _bits(_moments(small_study, shuffled, threads=threads, block=block)) == _bits(_moments(small_study, order))


def _genes(index: tuple[str, ...], *, identifiers: bool = False) -> GeneNames:
    blank = ("",) * len(index)
    return GeneNames(index=index, identifiers=index if identifiers else blank, symbols=blank if identifiers else index)


def _with_an_identifier(atlas: Atlas) -> Atlas:
    gene_ids = ("ENSG00000000001", *atlas.gene_ids[1:])
    return replace(atlas, card=atlas.card.replaced(gene_ids=gene_ids))


def test_a_symbol_is_found_by_the_atlass_identifier_for_it(small_study: SmallStudy) -> None:
    named = _with_an_identifier(small_study.atlas)
    symbol = named.gene_symbols[0]
    file = _genes(("ENSG00000000009.2", "ENSG00000000001.7"), identifiers=True)
    assert find_genes([symbol], file, named).tolist() == [-1, 0]
    assert find_genes(["ENSG00000000001"], _genes(("A", symbol)), named).tolist() == [-1, 0]


def test_a_gene_named_twice_counts_as_missing_and_one_under_two_names_is_refused(small_study: SmallStudy) -> None:
    assert find_genes(["A", "B"], _genes(("A", "B", "A")), small_study.atlas).tolist() == [-1, 1, -1]
    named = _with_an_identifier(small_study.atlas)
    file = _genes(("ENSG00000000001",), identifiers=True)
    with pytest.raises(InputError, match="one gene of the file"):
        find_genes([named.gene_symbols[0], "ENSG00000000001"], file, named)


def test_a_site_takes_moments_only_where_the_plan_asks(tmp_path: Path, small_study: SmallStudy) -> None:
    small_study.write(tmp_path / "all.h5ad")
    (tmp_path / "lots.csv").write_text(
        "lot,donor,file,tissue,product,passage,condition,cohort,where\n"
        "A,D1,all.h5ad,BM,MSC,5,normoxia,discovery,lot=L0\nB,D2,all.h5ad,BM,MSC,5,normoxia,discovery,lot=L1\n"
    )
    (tmp_path / "potency.csv").write_text(
        "lot,endpoint,assay,value,unit,run,is_reference\nA,vegf,ELISA,1,pg/ml,r1,false\nB,vegf,ELISA,2,pg/ml,r1,false\n"
    )
    site, limits = read_site_folder(tmp_path), QualityLimits(minimum_cells_per_lot=1)
    assert all(lot.markers is None for _, lot in map_site_lots(site, small_study.atlas, limits))
    for _, lot in map_site_lots(site, small_study.atlas, limits, markers=PLAN):
        assert lot.markers is not None
        assert lot.markers.moments.cells.tolist() == lot.counts.tolist()
    with open_cells(tmp_path / "all.h5ad", None) as source:
        assert source.n_cells == 360
