"""A run leaves a bundle that verifies, and ledgers that its checkpoints cover."""

from pathlib import Path

from coordinator.evidence.checkpoints import open_checkpoint
from coordinator.evidence.verification import verify_bundle
from protocol.ledger import LedgerEvent, verify_ledger
from protocol.roster import open_plan
from protocol.signing import VerifyingKey
from simulations.experiment import run_study
from simulations.keys import site_key
from tests.study_with_cells import write_study


def test_a_run_leaves_a_bundle_that_verifies_and_ledgers_that_its_checkpoints_cover(tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome = run_study(write_study(tmp_path / "study"), out, threads=1)
    key = VerifyingKey.from_hex((out / "published" / "coordinator.pub").read_text().strip())
    plan = open_plan((out / "published" / "plan.json").read_bytes(), key).message
    verified = verify_bundle(out / "bundle", coordinator=key)
    assert verified.reports == len(outcome.outcome.data.lots)
    assert verified.checkpoints == len(plan.sites)
    for site in plan.sites:
        ledger = [path.read_bytes() for path in sorted((out / "sites" / site / "ledger").glob("*.json"))]
        paths = sorted((out / "coordinator" / "checkpoints").glob(f"{site}-*.json"))
        checkpoints = [open_checkpoint(path.read_bytes(), key) for path in paths]
        public = site_key(plan.study, plan.analysis.seed, site).verifying_key
        entries = verify_ledger(ledger, site=site, key=public, checkpoints=checkpoints)
        released = [entry for entry in entries if entry.record.event is LedgerEvent.RELEASED]
        assert len(released) == sum(each == site for each in outcome.outcome.data.sites)
        assert max(checkpoint.length for checkpoint in checkpoints) == len(entries) - 1  # all but the answer itself
