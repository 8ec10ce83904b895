"""``bundle`` and ``verify``; mounted by ``crosslot-coordinator``."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from coordinator.evidence.bundle import evidence_of_home, read_evidence, write_bundle
from coordinator.evidence.verification import verify_bundle
from coordinator.home import CoordinatorHome
from coordinator.signing_commands import read_public_key
from protocol.identifiers import StudyId
from protocol.signing import SigningKey
from shared.runtime.console import json_option, print_json, remark

_PATH: Final = click.Path(path_type=Path)


@click.command("bundle")
@click.argument("study", metavar="STUDY")
@click.option("--home", "home_folder", type=_PATH, help="The coordinator's folder; STUDY is then a study's name.")
@click.option("--key", "key_path", type=_PATH, help="Without --home: the coordinator's signing key.")
@click.option("--out", type=_PATH, required=True, help="The bundle's folder.")
@json_option
def bundle(study: str, home_folder: Path | None, key_path: Path | None, out: Path, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Bundle the evidence of a finished study: plan, roster, reports, results, logs; an RO-Crate folder.

    Without --home, STUDY is the folder of a run: published/, coordinator/, results.json and report.html. The bundle is
    verified before it is announced.
    """
    if home_folder is not None and key_path is None:
        home = CoordinatorHome(home_folder)
        key, evidence = home.key, evidence_of_home(home, StudyId(study))
    elif key_path is not None and home_folder is None:
        key, evidence = SigningKey.load(key_path), read_evidence(Path(study))
    else:
        raise click.UsageError("expected either --home, or --key with the folder of a run")
    manifest = write_bundle(evidence, out, key=key, at=datetime.now(UTC))
    verify_bundle(out, coordinator=key.verifying_key)
    if as_json:
        print_json({"success": True, "bundle": str(out), "study": manifest.study, "files": len(manifest.files)})
        return
    click.echo(f"Bundled study {manifest.study}: {len(manifest.files)} files, verified.")
    remark(f"next: crosslot-coordinator verify {out}")


@click.command("verify")
@click.argument("folder", metavar="BUNDLE", type=_PATH)
@click.option("--coordinator-key", type=_PATH, help="The coordinator's public key (.pub), as you got it elsewhere.")
@json_option
def verify(folder: Path, coordinator_key: Path | None, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Verify a bundle offline: every signature, every byte, and the results, computed again. Exits with 1 if not."""
    key = None if coordinator_key is None else read_public_key(coordinator_key)
    verified = verify_bundle(folder, coordinator=key)
    if as_json:
        document = {name: value for name, value in asdict(verified).items() if name != "manifest"}
        print_json({"success": True, "study": verified.manifest.study, **document})
        return
    click.echo(
        f"Holds: study {verified.manifest.study}, {verified.files} files, {verified.reports} reports signed by their "
        f"sites, {verified.checkpoints} ledger checkpoints; the results follow from the reports, bit for bit."
    )
    if verified.silent_sites:
        click.echo(f"Without a report: {', '.join(verified.silent_sites)}.")
    if not verified.key_was_given:
        remark(f"checked by the key within the bundle, {verified.coordinator}: compare it, or give --coordinator-key")
