"""The demo study as files: what a site's folder holds, and what it must not."""

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest

from protocol.plan import CohortRole, Profile, StudyPlan
from protocol.policy import read_policy
from protocol.study_draft import read_study_draft
from shared.atlas.artefact import from_bytes, sha256
from shared.errors import InputError
from simulations.design import Block
from simulations.scenarios import Scenario, scenario_named
from simulations.study_writer import DemoStudy, demo_steps, write_demo_study
from simulations.truth import replicate_generator, simulate_study
from site_agent.cells.lots import read_site_folder

_SEED = 4


def _small() -> Scenario:
    scenario = scenario_named("model-study")
    blocks = (
        Block(site="site-a", donors=2),
        Block(site="site-b", donors=1),
        Block(site="site-b", donors=1, tissue="UC", cohort="validation"),
    )
    return replace(scenario, model=replace(scenario.model, cells_low=150, cells_high=200), blocks=blocks)


@pytest.fixture(scope="module")
def steps() -> list[int]:
    return []


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, steps: list[int]) -> DemoStudy:
    def advance(number: int = 1, /) -> None:
        steps.append(number)

    folder = tmp_path_factory.mktemp("demo") / "model-study"
    return write_demo_study(folder, seed=_SEED, progress=advance, scenario=_small())


@pytest.fixture
def plan(demo: DemoStudy) -> StudyPlan:
    return read_study_draft((demo.folder / "study.toml").read_bytes())


@pytest.fixture
def truth(demo: DemoStudy) -> Mapping[str, list[dict[str, object]]]:
    return dict(json.loads((demo.folder / "truth.json").read_text()))


def test_the_folder_has_the_layout_that_a_run_reads(demo: DemoStudy) -> None:
    assert sorted(path.name for path in demo.folder.iterdir()) == [
        "reference",
        "reference.atlas",
        "sites",
        "study.toml",
        "truth.json",
    ]
    assert sorted(path.name for path in (demo.folder / "sites" / "site-a").iterdir()) == [
        "cells",
        "lots.csv",
        "policy.toml",
        "potency.csv",
    ]
    assert len(list((demo.folder / "reference").glob("*.h5ad"))) == 4


def test_the_sites_own_reader_accepts_every_folder_under_the_plan(demo: DemoStudy, plan: StudyPlan) -> None:
    for site, lots in demo.lots_by_site.items():
        read = read_site_folder(demo.folder / "sites" / site, plan.endpoints, cohorts=plan.cohorts)
        assert tuple(lot.lot for lot in read.lots) == lots
        assert all(len(rows) == 1 for rows in read.potency.values())
        assert all(len(rows[0].replicates) == len(rows[0].reference_replicates) == 3 for rows in read.potency.values())


def test_the_plan_names_the_atlas_by_its_hash_and_the_cohorts_by_their_tissues(
    demo: DemoStudy, plan: StudyPlan
) -> None:
    data = (demo.folder / "reference.atlas").read_bytes()
    assert plan.atlas.sha256 == sha256(data)
    assert plan.atlas.clusters == from_bytes(data).clusters == demo.clusters
    assert [(cohort.cohort, cohort.role, cohort.tissues) for cohort in plan.cohorts] == [
        ("discovery", CohortRole.DISCOVERY, ("BM",)),
        ("validation", CohortRole.VALIDATION, ("UC",)),
    ]
    assert plan.analysis.seed == _SEED


def test_each_sites_policy_is_open_and_allows_this_study(demo: DemoStudy, plan: StudyPlan) -> None:
    for site in demo.lots_by_site:
        policy = read_policy((demo.folder / "sites" / site / "policy.toml").read_bytes())
        assert policy.profile is Profile.OPEN
        assert policy.site == site
        assert policy.allowed_studies == (plan.study,)


def test_cells_and_potency_are_those_of_the_truth(
    demo: DemoStudy, truth: Mapping[str, list[dict[str, object]]]
) -> None:
    scenario = _small()
    study = simulate_study(scenario.model, scenario.blocks, replicate_generator(_SEED, 0))
    for row, entry in enumerate(truth["lots"]):
        site = demo.folder / "sites" / study.sites[row]
        cells = anndata.read_h5ad(site / "cells" / f"{study.lots[row]}.h5ad")
        assert entry["cells"] == study.counts[row].tolist()
        assert cells.n_obs == study.totals[row]
        with (site / "potency.csv").open() as table:
            values = [float(line["value"]) for line in csv.DictReader(table) if line["lot"] == study.lots[row]]
        np.testing.assert_allclose(values, study.replicates[row], atol=0.05)


@pytest.mark.disclosure
def test_no_site_folder_holds_a_label_or_the_truth(demo: DemoStudy) -> None:
    for path in (demo.folder / "sites").rglob("*.h5ad"):
        cells = anndata.read_h5ad(path, backed="r")
        assert list(cells.obs.columns) == ["lot"]
        assert not cells.uns
        assert not cells.obsm
        cells.file.close()
    for table in (demo.folder / "sites").rglob("*.csv"):
        assert "cluster" not in table.read_text()


@pytest.mark.disclosure
def test_no_run_is_named_after_a_lot(demo: DemoStudy) -> None:
    for site, lots in demo.lots_by_site.items():
        with (demo.folder / "sites" / site / "potency.csv").open() as table:
            runs = {line["run"] for line in csv.DictReader(table)}
        assert not any(lot in run for lot in lots for run in runs)


def test_progress_counts_every_step(demo: DemoStudy, steps: list[int]) -> None:
    assert demo.drivers == ("cluster 3",)
    assert sum(steps) == demo_steps(_small())


def test_a_folder_with_content_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="new or empty folder"):
        write_demo_study(tmp_path, scenario=_small())
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
