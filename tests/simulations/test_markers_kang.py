"""Three sites' moments of the real Kang cells give what scanpy gives who holds all cells in one place."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from click.testing import CliRunner

from coordinator.modules.marker_table import marker_table
from coordinator.modules.markers import groups_of
from protocol.modules.asked import Modules
from protocol.modules.markers import MarkersPlan
from protocol.modules.names import ModuleName
from protocol.policy import effective, read_policy
from shared.atlas.artefact import from_bytes
from shared.statistics.markers import log2_fold_change, welch_t
from simulations.cli import main
from simulations.study_source import StudySource, read_study
from site_agent.cells.mapping import map_cells
from site_agent.lot_reports import FolderReports

pytestmark = pytest.mark.real_data
N_GENES = 250


@pytest.fixture(scope="module")
def cells(real_data: Path) -> ad.AnnData:
    whole = ad.read_h5ad(real_data / "kang_ifnb.h5ad")
    return whole[whole.obs["condition"] == "ctrl"].copy()


@pytest.fixture(scope="module")
def source(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> StudySource:
    out = tmp_path_factory.mktemp("kang") / "study"
    arguments = [
        *("split", str(real_data / "kang_ifnb.h5ad"), "--lot", "donor", "--where", "condition=ctrl"),
        *("--labels", "cell_type", "--potency", f"{real_data / 'kang_potency.csv'}:donor:potency_CXCL10_CPM"),
        *("--unit", "CPM", "--assay", "CXCL10", "--reference-lots", "all", "--sites", "3", "--out", str(out)),
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return read_study(out)


def test_welchs_t_and_fold_changes_are_scanpys_on_the_pooled_cells(source: StudySource, cells: ad.AnnData) -> None:
    totals = pd.Series(np.asarray(cells.X.sum(axis=0)).ravel(), index=cells.var_names)
    genes = tuple(totals.nlargest(N_GENES).index)
    plan = source.plan.model_copy(update={"modules": Modules(markers=MarkersPlan(genes=genes))})
    reports = []
    for site, lots in source.sites:
        policy = read_policy((source.folder / "sites" / site / "policy.toml").read_bytes())
        rules = effective(policy.model_copy(update={"allowed_modules": (ModuleName.MARKERS,)}), plan)
        made = FolderReports(site=lots, atlas=source.atlas, secret=bytes(32), done=lambda _: None, log=lambda _: None)
        reports += [each.report for each in made.outcomes(rules) if each.report is not None]
    assert len({report.site for report in reports}) == 3
    table = marker_table(plan, reports)
    assert table is not None

    # The oracle: all cells in one place, those of lots' clusters of at least 20 cells, by scanpy alone.
    map_cells(cells, from_bytes(source.atlas), threads=1)
    cells = cells[cells.obs["atlas_cluster"] != "unassigned"]
    place = cells.obs["donor"].astype(str) + "/" + cells.obs["atlas_cluster"].astype(str)
    cells = cells[(place.map(place.value_counts()) >= 20).to_numpy()].copy()
    cells.X = cells.X.astype(np.float64)
    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    cells.obs["atlas_cluster"] = cells.obs["atlas_cluster"].astype(str).astype("category")
    compared = 0
    moments, _, clusters = groups_of(table, range(len(reports)))
    assert int(moments.cells.sum()) == cells.n_obs
    complete = ~(table.few & (table.cells > 0)[..., None]).any(axis=(0, 1))
    assert complete.sum() > 100
    sc.tl.rank_genes_groups(cells, "atlas_cluster", method="t-test", use_raw=False)
    for name in cells.obs["atlas_cluster"].cat.categories:
        inside = clusters == plan.atlas.clusters.index(name)
        one, other = moments.of(inside).merged(), moments.of(~inside).merged()
        expected = sc.get.rank_genes_groups_df(cells, group=name).set_index("names").loc[list(genes)]
        np.testing.assert_allclose(
            welch_t(one, other)[complete], expected["scores"].to_numpy()[complete], rtol=1e-6, atol=1e-6
        )
        np.testing.assert_allclose(
            log2_fold_change(one, other)[complete],
            expected["logfoldchanges"].to_numpy()[complete],
            rtol=1e-6,
            atol=1e-6,
        )
        compared += int(complete.sum())
    assert compared > 500
