"""Files of morphology: control wells are needed, belong to no lot, and what cannot be measured is named."""

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from protocol.modules.markers import MarkersPlan
from protocol.plan import QualityLimits
from shared.atlas.artefact import Atlas
from shared.errors import InputError, ProblemsError
from site_agent.cells.lot_files import require_readable_files
from site_agent.cells.lot_mapping import map_site_lots
from site_agent.cells.lots import read_site_folder
from site_agent.cells.mapping import map_cells, map_source
from site_agent.cells.morphology_builder import build_morphology_atlas
from site_agent.cells.reading import open_cells
from site_agent.lot_reports import mapped_lot

FEATURES = tuple(f"Cells_Feature_{number}" for number in range(16))
LIMITS = QualityLimits(minimum_cells_per_lot=10)
_PROGRAMMES = 1.2 * np.random.default_rng(1).standard_normal((3, len(FEATURES)))


def plate(name: str, *, seed: int, cells: int = 90, controls: int = 40) -> ad.AnnData:
    rng = np.random.default_rng(seed)
    states = rng.integers(0, 3, cells)
    raw = np.vstack([_PROGRAMMES[states], np.zeros((controls, len(FEATURES)))])
    values = 40 + rng.standard_normal(len(FEATURES)) + 2 * (raw + rng.standard_normal(raw.shape))
    obs = pd.DataFrame(
        {
            "lot": name,
            "well": ["sample"] * cells + ["control"] * controls,
            "label": [*(f"state {state}" for state in states), *["control"] * controls],
        },
        index=[f"{name}-{number}" for number in range(len(raw))],
    )
    return ad.AnnData(values.astype(np.float32), obs=obs, var=pd.DataFrame(index=list(FEATURES)))


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    reference = ad.concat([plate(f"r{number}", seed=number, cells=200) for number in range(3)], merge="same")
    return build_morphology_atlas(
        reference, lot="lot", labels="label", control=("well", "control"), name="shapes", seed=1
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lots.csv").write_text(
        "lot,donor,file,tissue,product,passage,condition,cohort\n"
        "L1,D1,l1.h5ad,BM,MSC,5,IFN-gamma,main\nL2,D2,l2.h5ad,BM,MSC,5,IFN-gamma,main\n"
    )
    (tmp_path / "potency.csv").write_text(
        "lot,endpoint,assay,value,unit,run,is_reference\nL1,ido,IDO,3,uM,r,false\nL2,ido,IDO,4,uM,r,false\n"
    )
    for number in (1, 2):
        plate(f"L{number}", seed=10 + number).write_h5ad(tmp_path / f"l{number}.h5ad")
    return tmp_path


def _rewritten(path: Path, change: Callable[[ad.AnnData], ad.AnnData]) -> None:
    changed = change(ad.read_h5ad(path))
    path.unlink()
    changed.write_h5ad(path)


def test_cells_of_control_wells_are_of_no_lot(folder: Path, atlas: Atlas) -> None:
    site = read_site_folder(folder)
    require_readable_files(site, atlas)
    for _, mapped in map_site_lots(site, atlas, LIMITS):
        assert (mapped.cells, mapped.cells_after_qc) == (90, 90)
        assert int(mapped.counts.sum()) + mapped.unassigned == 90
        assert mapped.gene_coverage == 1.0


def test_most_cells_get_their_state(folder: Path, atlas: Atlas) -> None:
    cells = ad.read_h5ad(folder / "l1.h5ad")
    mapping = map_cells(cells, atlas)
    sample = cells.obs["well"] == "sample"
    given = cells.obs["atlas_cluster"][sample].astype(str)
    assert (given == cells.obs["label"][sample].astype(str)).mean() > 0.9
    assert mapping.n_cells == int(sample.sum())


def test_a_file_maps_the_same_in_blocks_of_any_size(folder: Path, atlas: Atlas) -> None:
    with open_cells(folder / "l1.h5ad") as source:
        whole = map_source(source, atlas, with_latent=True)
        small = map_source(source, atlas, with_latent=True, values_per_block=64)
    for one, other in ((whole.label, small.label), (whole.energy, small.energy), (whole.latent, small.latent)):
        assert one is not None
        assert other is not None
        assert one.tobytes() == other.tobytes()


def test_the_report_tells_neither_counts_nor_genes_and_the_site_knows_the_cells_again(
    folder: Path, atlas: Atlas
) -> None:
    lots = [mapped_lot(mapped) for _, mapped in map_site_lots(read_site_folder(folder), atlas, LIMITS)]
    assert [(lot.median_counts, lot.median_genes) for lot in lots] == [(None, None)] * 2
    assert lots[0].median_features != lots[1].median_features


def test_a_file_without_control_wells_is_refused_before_mapping(folder: Path, atlas: Atlas) -> None:
    _rewritten(folder / "l2.h5ad", lambda cells: cells[cells.obs["well"] == "sample"].copy())
    with pytest.raises(ProblemsError, match="at least 20 cells of control wells") as caught:
        require_readable_files(read_site_folder(folder), atlas)
    assert len(caught.value.problems) == 1


def test_features_of_another_pipeline_are_named(folder: Path, atlas: Atlas) -> None:
    def renamed(cells: ad.AnnData) -> ad.AnnData:
        cells.var_names = [f"other_{name}" for name in FEATURES]
        return cells

    _rewritten(folder / "l1.h5ad", renamed)
    with pytest.raises(ProblemsError, match=r"expected features of the atlas \(Cells_Feature_0, Cells_Feature_1"):
        require_readable_files(read_site_folder(folder), atlas)


def test_a_missing_feature_lowers_the_coverage_and_the_limit_withholds_the_lot(folder: Path, atlas: Atlas) -> None:
    _rewritten(folder / "l1.h5ad", lambda cells: cells[:, list(FEATURES[:8])].copy())
    mapped = {lot.lot: mapping for lot, mapping in map_site_lots(read_site_folder(folder), atlas, LIMITS)}
    assert mapped["L1"].gene_coverage == 0.5
    assert [reason.value for reason in mapped["L1"].withheld(LIMITS)] == ["low-gene-coverage"]


def test_a_value_that_is_not_finite_is_named_with_its_cell_and_feature(folder: Path, atlas: Atlas) -> None:
    def broken(cells: ad.AnnData) -> ad.AnnData:
        cells.X[5, 2] = np.nan
        return cells

    _rewritten(folder / "l1.h5ad", broken)
    with pytest.raises(InputError, match="'Cells_Feature_2' of cell 'L1-5'"):
        list(map_site_lots(read_site_folder(folder), atlas, LIMITS))


@pytest.mark.parametrize(
    "limits",
    [
        QualityLimits(minimum_counts_per_cell=500),
        QualityLimits(minimum_genes_per_cell=200),
        QualityLimits(maximum_mitochondrial_share=0.1),
    ],
)
def test_limits_of_counts_do_not_apply_and_are_refused(folder: Path, atlas: Atlas, limits: QualityLimits) -> None:
    with pytest.raises(InputError, match="expected no limit of counts with an atlas of morphology"):
        list(map_site_lots(read_site_folder(folder), atlas, limits))


def test_markers_cannot_be_asked_of_morphology(folder: Path, atlas: Atlas) -> None:
    with pytest.raises(InputError, match="no module markers with an atlas of morphology"):
        list(map_site_lots(read_site_folder(folder), atlas, LIMITS, markers=MarkersPlan(genes=("LRRC75A",))))


def test_a_reference_lot_without_control_wells_is_refused() -> None:
    reference = ad.concat([plate("r0", seed=0), plate("r1", seed=1, controls=3)], merge="same")
    with pytest.raises(InputError, match=r"lot 'r1' of column 'lot': expected at least 20 cells of control wells"):
        build_morphology_atlas(reference, lot="lot", labels="label", control=("well", "control"), name="x", seed=1)


def test_a_feature_that_some_lots_controls_cannot_score_is_left_out_and_told() -> None:
    second = plate("r1", seed=1)
    second.X[(second.obs["well"] == "control").to_numpy(), 4] = 7.0
    reference = ad.concat([plate("r0", seed=0), second], merge="same")
    atlas = build_morphology_atlas(reference, lot="lot", labels="label", control=("well", "control"), name="x", seed=1)
    assert "Cells_Feature_4" not in atlas.card.gene_symbols
    assert any("Cells_Feature_4" in note for note in atlas.card.provenance.notes)
