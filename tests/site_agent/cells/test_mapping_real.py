"""Mapping real lots: a donor that the atlas has not seen gets its authors' labels, mostly."""

from pathlib import Path

import anndata as ad
import numpy as np
import pytest

from protocol.plan import QualityLimits
from site_agent.cells.atlas_builder import build_atlas
from site_agent.cells.diagnostics import diagnose
from site_agent.cells.lot_mapping import summarise_lot
from site_agent.cells.mapping import map_cells


@pytest.mark.real_data
def test_unseen_donors_of_kang_get_their_labels(real_data: Path) -> None:
    path = real_data / "kang_ifnb.h5ad"
    obs = ad.read_h5ad(path, backed="r").obs
    donors = sorted(obs["donor"].astype(str).unique())
    reference = donors[:3]
    atlas = build_atlas(
        path,
        lot="donor",
        labels="cell_type",
        name="kang",
        seed=1,
        reference_lots=reference,
        where=[("condition", "ctrl")],
    )
    right, cells = 0, 0
    for donor in donors[3:]:
        mapping = map_cells(path, atlas, where=[("donor", donor), ("condition", "ctrl")], threads=2)
        truth = obs[(obs["donor"].astype(str) == donor) & (obs["condition"] == "ctrl")]["cell_type"].astype(str)
        assert mapping.n_cells == len(truth)
        names = np.array([*mapping.clusters, "none"])
        right += int((names[mapping.best] == truth.to_numpy()).sum())
        cells += mapping.n_cells
        lot = summarise_lot(mapping, QualityLimits())
        assert lot.counts.sum() + lot.unassigned == lot.cells_after_qc == mapping.n_cells
        assert diagnose(atlas, lot).composition.shares.sum() <= 1 + 1e-12  # rounding of a sum of shares
    assert right / cells > 0.8  # seen: 668 of 766, by 3 donors' control cells; types below 5 cells are not in the atlas
