"""A study under the microscope, from cells to a result: federated equals pooled, and plates do not show."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
from click.testing import CliRunner

from shared.atlas.artefact import from_bytes
from simulations.cells import lots_of_cells
from simulations.cli import main
from simulations.design import even_design
from simulations.experiment import run_study
from simulations.morphology_cells import CONTROL_COLUMN, CONTROL_VALUE, CONTROLS_PER_PLATE, simulated_morphology
from simulations.morphology_rates import morphology_rates, reference_of
from simulations.scenario import Scenario
from simulations.scenarios import scenario_named
from simulations.study_writer import write_demo_study
from simulations.truth import replicate_generator, simulate_study


def _small(*, sites: int = 3, lots: int = 3, cells: int = 520) -> Scenario:
    scenario = scenario_named("morphology")
    return replace(
        scenario,
        model=replace(scenario.model, cells_low=cells, cells_high=cells + 60),
        blocks=even_design(sites=sites, lots_per_site=lots),
    )


def test_a_study_of_morphology_runs_and_equals_the_pooled_oracle(tmp_path: Path) -> None:
    write_demo_study(tmp_path / "study", seed=2, scenario=_small())
    outcome = run_study(tmp_path / "study", tmp_path / "out").outcome
    parity = outcome.results.parity
    assert parity is not None
    assert parity.max_abs_count_difference <= 1  # one cell on a boundary: scores are on a grid, the oracle's are not
    assert parity.max_abs_rho_difference < 0.05
    atlas = from_bytes((tmp_path / "study" / "reference.atlas").read_bytes())
    assert atlas.card.modality == "morphology"
    sent = json.loads((tmp_path / "out" / "results.json").read_text())
    assert len(sent["associations"]) == 6
    assert outcome.data.quality is not None
    assert np.isnan(outcome.data.quality.median_counts).all()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Median counts" not in page


def test_split_makes_a_study_of_one_morphology_file(tmp_path: Path) -> None:
    scenario = _small(sites=2, lots=2, cells=120)
    study = simulate_study(scenario.model, scenario.blocks, replicate_generator(1, 0))
    lots = [simulated_morphology(lot, labels=True) for lot in lots_of_cells(study, scenario.model, seed=1)]
    cells = ad.concat(lots, merge="same")
    cells.obs["label"] = cells.obs["label"].astype(str)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    with (tmp_path / "potency.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["lot", "value"], *([lot, 3 + k] for k, lot in enumerate(study.lots))])
    arguments = ["--lot", "lot", "--labels", "label", "--potency", f"{tmp_path / 'potency.csv'}:lot:value"]
    arguments += ["--unit", "uM", "--assay", "IDO", "--reference-lots", "all", "--sites", "2", "--minimum-cells", "50"]
    arguments += ["--control", f"{CONTROL_COLUMN}={CONTROL_VALUE}", "--out", str(tmp_path / "study")]
    made = CliRunner().invoke(main, ["split", str(tmp_path / "cells.h5ad"), *arguments])
    assert made.exit_code == 0, made.stderr
    ran = CliRunner().invoke(main, ["run", str(tmp_path / "study"), "--out", str(tmp_path / "out")])
    assert "counts differ by at most" in ran.stdout  # 4 lots cannot answer, which is a result too


def test_control_wells_bear_the_plate_and_no_state() -> None:
    scenario = _small()
    study = simulate_study(scenario.model, scenario.blocks, replicate_generator(1, 0))
    plates = [simulated_morphology(lot) for lot in lots_of_cells(study, scenario.model, seed=1)[:2]]
    for plate in plates:
        assert int((plate.obs[CONTROL_COLUMN] == CONTROL_VALUE).sum()) == CONTROLS_PER_PLATE
    centres = [np.median(plate.X[(plate.obs[CONTROL_COLUMN] == CONTROL_VALUE).to_numpy()], axis=0) for plate in plates]
    spreads = np.std(plates[0].X, axis=0)
    assert np.max(np.abs(centres[0] - centres[1]) / spreads) > 0.3  # plates differ; scoring must take it out


def test_scoring_by_the_own_plate_maps_better_than_by_the_references() -> None:
    scenario = _small(cells=250)
    reference = reference_of(scenario, seed=5)
    own = morphology_rates(scenario, reference, replicates=2, seed=5, draws=99)
    borrowed = morphology_rates(scenario, reference, replicates=2, seed=5, draws=99, scored=False)
    assert own.accuracy > 0.8
    assert own.accuracy > borrowed.accuracy + 0.05


def test_morphology_needs_the_owners_labels(tmp_path: Path) -> None:
    scenario = _small(sites=1, lots=2, cells=60)
    study = simulate_study(scenario.model, scenario.blocks, replicate_generator(1, 0))
    lots = [simulated_morphology(lot) for lot in lots_of_cells(study, scenario.model, seed=1)]
    ad.concat(lots, merge="same").write_h5ad(tmp_path / "cells.h5ad")
    arguments = ["--lot", "lot", "--potency", f"{_potency(tmp_path, study.lots)}:lot:value", "--unit", "uM"]
    arguments += ["--assay", "IDO", "--reference-lots", "all", "--sites", "1", "--minimum-cells", "10"]
    arguments += ["--control", f"{CONTROL_COLUMN}={CONTROL_VALUE}", "--out", str(tmp_path / "study")]
    result = CliRunner().invoke(main, ["split", str(tmp_path / "cells.h5ad"), *arguments])
    assert result.exit_code == 1
    assert "expected --labels with --control" in result.stderr


def _potency(folder: Path, lots: tuple[str, ...]) -> Path:
    path = folder / "potency.csv"
    path.write_text("lot,value\n" + "".join(f"{lot},{3 + k}\n" for k, lot in enumerate(lots)))
    return path
