"""A run whose plan asks for a marker's share: derived, held against pooled cells, bundled, and used at a site."""

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from click.testing import CliRunner, Result

from coordinator.cli import main as coordinator
from coordinator.evidence.verification import verify_bundle
from coordinator.modules.specification_signing import open_specification
from protocol.identifiers import EndpointId
from protocol.modules.asked import Modules
from protocol.modules.markers import MarkerPredictor, MarkersPlan
from protocol.modules.names import ModuleName
from protocol.modules.specification import MarkerPlace, SpecificationPlan
from protocol.modules.specification_results import SpecificationOutcome
from protocol.policy import policy_or_refuse, write_policy
from protocol.signing import VerifyingKey
from protocol.study_draft import read_study_draft, write_study_draft
from simulations.experiment import RunOutcome, run_study
from site_agent.cli import main as site_agent
from tests.study_with_cells import write_study

GENE, HIGH = "GENE41", 5.0
MARKERS = MarkersPlan(genes=(GENE, "GENE97"), predictors=(MarkerPredictor(gene=GENE, threshold=HIGH),))
ASKED = SpecificationPlan(endpoint=EndpointId("vegf"), limit=70.0, marker=MarkerPlace(gene=GENE))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunOutcome]:
    folder = tmp_path_factory.mktemp("marked")
    study = write_study(folder / "study")
    draft = study / "study.toml"
    plan = read_study_draft(draft.read_bytes())
    modules = Modules(markers=MARKERS, specification=ASKED)
    draft.write_bytes(write_study_draft(plan.model_copy(update={"modules": modules})))
    for site in plan.sites:
        path = study / "sites" / site / "policy.toml"
        policy = policy_or_refuse(path.read_bytes())
        allowed = (ModuleName.MARKERS, ModuleName.SPECIFICATION)
        path.write_bytes(write_policy(policy.model_copy(update={"allowed_modules": allowed})))
    return folder / "run", run_study(study, folder / "run", threads=1)


def _qualify(folder: Path, lot: str, cells: Path) -> Result:
    published = folder / "published"
    options: tuple[str | Path, ...] = (
        *("--atlas", published / "reference.atlas", "--specification", published / "specification.json"),
        *("--coordinator-key", published / "coordinator.pub", "--records", folder / "qualified.jsonl"),
        *("--out", folder / f"{lot}.html", "--lot", lot, "--tissue", "bone marrow", "--threads", "1", "--json"),
    )
    return CliRunner().invoke(site_agent, ["qualify", str(cells), *map(str, options)])


def _true_share(cells: Path) -> float:
    lot = ad.read_h5ad(cells)
    counts = np.asarray(lot.X.todense(), dtype=np.float64)
    return float((np.log1p(1e4 * counts[:, lot.var_names == GENE] / counts.sum(axis=1, keepdims=True)) >= HIGH).mean())


def test_a_markers_specification_is_that_of_the_pooled_cells_and_follows_from_the_bundle(
    run: tuple[Path, RunOutcome],
) -> None:
    folder, done = run
    found = done.outcome.results.specification
    assert found is not None
    assert found.outcome is SpecificationOutcome.INDICATIVE  # eight lots
    assert (found.cluster, found.marker, found.n_lots) == (None, MARKERS.predictors[0], 8)
    parity = done.outcome.results.parity
    assert parity is not None
    assert parity.threshold_difference == 0.0
    key = VerifyingKey.from_hex((folder / "published" / "coordinator.pub").read_text().strip())
    envelope = (folder / "published" / "specification.json").read_bytes()
    assert open_specification(envelope, key).message.basis == found
    verify_bundle(folder / "bundle", coordinator=key)
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert f"Share of {GENE}-high cells in the lot" in report


def test_lots_are_judged_at_the_site_by_the_share_of_their_own_marker_high_cells(run: tuple[Path, RunOutcome]) -> None:
    folder, _ = run
    for lot, verdict in (("Batch-E", "pass"), ("Batch-A", "fail")):
        cells = next((folder.parent / "study").rglob(f"{lot}.h5ad"))
        done = _qualify(folder, lot, cells)
        said = json.loads(done.stdout)
        assert said["verdict"] == verdict, done.output
        assert said["record"]["share"] == pytest.approx(_true_share(cells), abs=1e-12)
        assert said["record"]["marker"] == {"gene": GENE, "cluster": None, "threshold": HIGH}
        assert said["record"]["share_low"] < said["record"]["share"] < said["record"]["share_high"]
        assert f"{GENE}-high" in (folder / f"{lot}.html").read_text(encoding="utf-8")


def test_a_lot_without_the_gene_cannot_be_judged(run: tuple[Path, RunOutcome], tmp_path: Path) -> None:
    folder, _ = run
    lot = ad.read_h5ad(next((folder.parent / "study").rglob("Batch-E.h5ad")))
    lot[:, lot.var_names != GENE].copy().write_h5ad(tmp_path / "without.h5ad")
    done = _qualify(folder, "without", tmp_path / "without.h5ad")
    said = json.loads(done.stdout)
    assert (done.exit_code, said["verdict"]) == (1, "cannot-be-judged")
    assert said["reasons"][0]["code"] == "gene-missing"
    assert GENE in said["reasons"][0]["sentence"]
    assert said["record"]["share"] is None
    assert "not known" in (folder / "without.html").read_text(encoding="utf-8")


def test_specify_asks_about_a_predictor_of_the_plan_and_names_those_there_are(run: tuple[Path, RunOutcome]) -> None:
    folder, done = run
    asked = ("specify", str(folder), "--coordinator-key", str(folder / "published" / "coordinator.pub"), "--json")
    same = json.loads(CliRunner().invoke(coordinator, [*asked, "--marker", GENE]).stdout)
    assert same["unchanged"]
    other = json.loads(CliRunner().invoke(coordinator, [*asked, "--marker", GENE, "--limit", "60"]).stdout)
    basis = other["specification"]["basis"]
    assert (basis["declared"], basis["marker"]["gene"]) == (False, GENE)
    found = done.outcome.results.specification
    assert found is not None
    assert basis["threshold"] < found.threshold
    by_cluster = json.loads(CliRunner().invoke(coordinator, [*asked, "--cluster", "beta"]).stdout)
    assert by_cluster["specification"]["basis"]["marker"] is None
    for options, words in (
        (("--marker", "GENE97"), f"one marker predictor of the plan ({GENE}), found GENE97"),
        (("--marker", GENE, "--cluster", "beta"), "found both"),
    ):
        refused = CliRunner().invoke(coordinator, [*asked[:-1], *options])
        assert refused.exit_code != 0
        assert words in refused.output
