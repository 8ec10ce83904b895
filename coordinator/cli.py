"""``crosslot-coordinator``: what the neutral third party does."""

from pathlib import Path

import click

from shared.runtime.console import CommandGroup, json_option, print_json

# What a command works with is imported within it, and commands of other modules when they are called: --help and wrong
# arguments answer at once.

_FILE = click.Path(path_type=Path)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="crosslot")
def main() -> None:
    """Sign atlases and studies, analyse what the sites released, and report the finding."""


@main.group("key")
def key_group() -> None:
    """Make the coordinator's signing key."""


@key_group.command("create")
@click.argument("path", type=_FILE)
@json_option
def key_create(path: Path, as_json: bool) -> None:
    """Make a new Ed25519 key at PATH (mode 0600) and print its fingerprint."""
    from coordinator.signing_commands import create_key  # noqa: PLC0415 - see above

    fingerprint = create_key(path)
    if as_json:
        print_json({"success": True, "key": str(path), "fingerprint": fingerprint})
    else:
        click.echo(fingerprint)


@main.group("atlas")
def atlas_group() -> None:
    """Sign a reference atlas."""


@atlas_group.command("sign")
@click.argument("atlas", type=_FILE)
@click.option("--key", "key_path", type=_FILE, required=True, help="The coordinator's signing key.")
@click.option("--out", type=_FILE, required=True, help="Where the signed manifest goes.")
@json_option
def atlas_sign(atlas: Path, key_path: Path, out: Path, as_json: bool) -> None:
    """Sign the manifest of ATLAS: its exact bytes by hash, its clusters, its size."""
    from coordinator.signing_commands import sign_atlas_file  # noqa: PLC0415 - see above

    manifest = sign_atlas_file(atlas, key_path, out)
    if as_json:
        print_json({"success": True, "atlas": manifest.name, "sha256": manifest.sha256, "manifest": str(out)})
    else:
        click.echo(f"signed {manifest.name} ({len(manifest.clusters)} clusters), SHA-256 {manifest.sha256}")


@main.group("study")
def study_group() -> None:
    """Sign a study plan."""


@study_group.command("sign")
@click.argument("draft", type=_FILE)
@click.option("--atlas", type=_FILE, required=True, help="The atlas file; the draft must name its hash.")
@click.option("--key", "key_path", type=_FILE, required=True, help="The coordinator's signing key.")
@click.option("--out", type=_FILE, required=True, help="Where the signed plan goes.")
@json_option
def study_sign(draft: Path, atlas: Path, key_path: Path, out: Path, as_json: bool) -> None:
    """Sign DRAFT (study.toml). Once signed it is fixed: a changed plan is another plan."""
    from coordinator.signing_commands import sign_study_file  # noqa: PLC0415 - see above

    study, digest = sign_study_file(draft, atlas, key_path, out)
    if as_json:
        print_json({"success": True, "study": study, "plan_sha256": digest, "plan": str(out)})
    else:
        click.echo(f"signed study {study}, plan SHA-256 {digest}")


_LOADED_WHEN_CALLED = (
    (
        "analyse",
        "coordinator.analysis_commands:analyse",
        "Correlate composition with potency: of collected envelopes, each verified, or of plain tables.",
    ),
    (
        "report",
        "coordinator.analysis_commands:report",
        "Write the report for one reader: a site sees its own lots and aggregates, the public aggregates only.",
    ),
    (
        "plan-size",
        "coordinator.plan_size_command:plan_size",
        "Say how many lots a study needs, or what power a given design has.",
    ),
    (
        "specify",
        "coordinator.specify_command:specify",
        (
            "Derive the release threshold of a share (of a cluster, or of marker-high cells) from a finished study; "
            "sign it."
        ),
    ),
    (
        "enrich",
        "coordinator.enrich_command:enrich",
        "Test which gene sets hold more of a cluster's markers than chance would put there.",
    ),
    (
        "bundle",
        "coordinator.evidence.commands:bundle",
        "Bundle the evidence of a finished study: plan, roster, reports, results, logs; an RO-Crate folder.",
    ),
    (
        "verify",
        "coordinator.evidence.commands:verify",
        "Verify a bundle offline: every signature, every byte, and the results, computed again.",
    ),
    (
        "init",
        "coordinator.network.commands:init",
        "Make a coordinator's folder: signing key, private certificate authority, settings, databases.",
    ),
    (
        "serve",
        "coordinator.network.commands:serve",
        "Serve the sites until stopped: the gateway on the public address, Flower's SuperLink on loopback.",
    ),
    ("invite", "coordinator.network.commands:invite", "Invite SITE: write a text, good once, that the site joins by."),
    (
        "sites",
        "coordinator.network.commands:sites",
        "List who is invited and enrolled: last seen, version, atlases, key.",
    ),
    ("revoke", "coordinator.network.commands:revoke", "Refuse SITE from now on."),
    (
        "publish",
        "coordinator.network.commands:publish",
        "Publish STUDY, a signed plan or a draft (study.toml, signed here), with its atlas.",
    ),
    (
        "collect",
        "coordinator.network.commands:collect",
        "Ask the sites of STUDY in rounds until all have answered, or the deadline.",
    ),
    (
        "status",
        "coordinator.network.commands:status",
        "Show whether the service runs, and how the collection of STUDY (without: of every study) stands.",
    ),
    (
        "conclude",
        "coordinator.network.commands:conclude",
        "Analyse what was collected of STUDY, every envelope verified anew, and write results and report.",
    ),
    (
        "release-results",
        "coordinator.network.commands:release_results",
        "Sign the results of STUDY for each of its sites: aggregates, and of excluded lots a site's own only.",
    ),
)

for _command in _LOADED_WHEN_CALLED:
    main.defer(*_command)
