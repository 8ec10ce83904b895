"""A run whose plan asks for a specification: signed, bundled, held against pooled cells; new lots beside the study."""

import json
from pathlib import Path

import numpy as np
import pytest

from coordinator.evidence.verification import verify_bundle
from coordinator.modules.specification_signing import open_specification
from protocol.identifiers import EndpointId
from protocol.modules.asked import Modules
from protocol.modules.names import ModuleName
from protocol.modules.specification import SpecificationPlan
from protocol.modules.specification_results import SpecificationOutcome
from protocol.policy import policy_or_refuse, write_policy
from protocol.signing import VerifyingKey
from protocol.study_draft import read_study_draft, write_study_draft
from simulations import new_lots
from simulations.experiment import RunOutcome, run_study
from simulations.new_lots import FOLDER, NEW_LOTS, write_new_lots
from simulations.scenarios import scenario_named
from simulations.truth import replicate_generator, simulate_study
from tests.study_with_cells import write_study


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunOutcome]:
    folder = tmp_path_factory.mktemp("specified")
    study = write_study(folder / "study")
    draft = study / "study.toml"
    plan = read_study_draft(draft.read_bytes())
    asked = SpecificationPlan(endpoint=EndpointId("vegf"), limit=70.0, cluster="beta")
    draft.write_bytes(write_study_draft(plan.model_copy(update={"modules": Modules(specification=asked)})))
    for site in plan.sites:
        path = study / "sites" / site / "policy.toml"
        policy = policy_or_refuse(path.read_bytes())
        path.write_bytes(write_policy(policy.model_copy(update={"allowed_modules": (ModuleName.SPECIFICATION,)})))
    return folder / "run", run_study(study, folder / "run", threads=1)


def test_the_specification_of_a_run_is_signed_bundled_and_that_of_the_pooled_cells(
    run: tuple[Path, RunOutcome],
) -> None:
    folder, done = run
    found = done.outcome.results.specification
    assert found is not None
    assert found.outcome is SpecificationOutcome.INDICATIVE  # eight lots
    parity = done.outcome.results.parity
    assert parity is not None
    assert parity.threshold_difference == 0.0
    key = VerifyingKey.from_hex((folder / "published" / "coordinator.pub").read_text().strip())
    envelope = (folder / "published" / "specification.json").read_bytes()
    assert open_specification(envelope, key).message.basis == found
    assert (folder / "bundle" / "specification.json").read_bytes() == envelope
    verify_bundle(folder / "bundle", coordinator=key)
    assert 'id="specification"' in (folder / "report.html").read_text(encoding="utf-8")


def test_new_lots_are_written_with_their_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_CELLS", "_SERIES_CELLS"):
        monkeypatch.setattr(new_lots, name, 40)  # the files are the same, only smaller
    scenario = scenario_named("specification")
    model = scenario.model
    study = simulate_study(model, scenario.blocks, replicate_generator(1, 0))
    steps: list[int] = []
    write_new_lots(tmp_path, study, model, seed=1, advance=lambda n=1, /: steps.append(n))
    assert sum(steps) == NEW_LOTS
    truth = json.loads((tmp_path / FOLDER / "truth.json").read_text())
    assert {path.relative_to(tmp_path / FOLDER).as_posix() for path in (tmp_path / FOLDER).rglob("*.h5ad")} == {
        lot["file"] for lot in truth["lots"]
    }
    shares = np.array([lot["true_shares"] for lot in truth["lots"]])
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-8)
    assert shares[0, 3] > shares[2, 3] > shares[1, 3]
    series = shares[3:, 3]
    assert series[-6:].mean() < series[:20].mean() - 0.02
