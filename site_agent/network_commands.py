"""The site's commands over a network, from ``join`` to ``renew``; the console script mounts them.

They stand beside the wings and not within one: joining meets the home, which knows cells and releases.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from shared.errors import InputError
from shared.runtime.console import CommandGroup, json_option, print_json, print_table, remark
from shared.runtime.files import read_bounded, write_atomically
from shared.runtime.logs import line_log
from site_agent.passphrase import steward_passphrase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from site_agent.network.doctor import Finding

# What the commands work with (Flower, gRPC, the mapper) is imported within them: --help answers at once.

_PATH: Final = click.Path(path_type=Path)
_INVITE_LIMIT: Final = 64 * 1024

home_option: Final = click.option(
    "--home",
    "home_folder",
    type=_PATH,
    default=Path(),
    envvar="CROSSLOT_SITE_HOME",
    help="The site's home; without: $CROSSLOT_SITE_HOME, or here.",
)


@click.command("join")
@click.argument("invite", type=_PATH)
@home_option
@click.option("--passphrase-file", type=_PATH, help="Of the steward's key, where the home is new; without: asked.")
@json_option
def join(invite: Path, home_folder: Path, passphrase_file: Path | None, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Join a coordinator by INVITE, a file (or - for stdin), and look as the doctor does. Makes home and keys."""
    from protocol.enrolment import read_invite  # noqa: PLC0415 - see above
    from protocol.signing import VerifyingKey  # noqa: PLC0415 - see above
    from site_agent.home import create_home, open_home  # noqa: PLC0415 - see above
    from site_agent.network.doctor import examine  # noqa: PLC0415 - see above
    from site_agent.network.enrolment import join as enrol  # noqa: PLC0415 - see above
    from site_agent.network.keys import NetworkHome  # noqa: PLC0415 - see above

    if str(invite) == "-":
        text = sys.stdin.read(_INVITE_LIMIT)
    else:
        text = read_bounded(invite, limit=_INVITE_LIMIT, what="an invite").decode("utf-8", "replace")
    asked = read_invite(text)
    coordinator = VerifyingKey.from_hex(asked.coordinator)
    if (home_folder / "site.toml").is_file():
        home = open_home(home_folder)
        if (home.site, home.coordinator) != (asked.site, coordinator):
            raise InputError(
                f"{home_folder}: expected the home of {asked.site} with the invite's coordinator, found that of "
                f"{home.site} with coordinator {home.coordinator.fingerprint}",
                hint="give another --home, or ask for another invite",
            )
    else:
        home = create_home(
            home_folder,
            site=asked.site,
            coordinator=coordinator,
            passphrase=steward_passphrase(passphrase_file, confirm=True),
        )
    settings = enrol(NetworkHome(home_folder), asked, home.site_key(), now=datetime.now(UTC))
    said = {
        "success": True,
        "site": settings.site,
        "address": settings.address,
        "coordinator": coordinator.fingerprint,
        "signing_key": home.site_key().fingerprint,
    }
    if as_json:
        print_json(said)
        return
    click.echo(f"joined {settings.address} as {settings.site}")
    click.echo(f"the coordinator's key {coordinator.fingerprint}")
    click.echo(f"this site's key        {home.site_key().fingerprint}")
    remark("Compare both keys with the coordinator by telephone, and name its key in policy.toml.")
    _print_findings(tuple(examine(NetworkHome(home_folder))))
    remark(f"next: crosslot-site serve --home {home_folder}; after changes: crosslot-site doctor --home {home_folder}")


@click.command("doctor")
@home_option
@json_option
def doctor(home_folder: Path, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Check all that a study needs of this machine and network: each PASSED, or what to do."""
    from site_agent.network.doctor import examine  # noqa: PLC0415 - see above
    from site_agent.network.keys import NetworkHome  # noqa: PLC0415 - see above

    if not home_folder.is_dir():
        raise InputError(f"{home_folder}: expected the site's home, found no folder", hint="give --home DIR")
    findings = tuple(examine(NetworkHome(home_folder)))
    passed = all(each.passed for each in findings)
    if as_json:
        print_json(
            {
                "success": passed,
                "checks": [{"check": each.check, "state": each.state, "say": each.say} for each in findings],
            }
        )
    else:
        _print_findings(findings)
    if not passed:
        click.get_current_context().exit(1)


@click.command("serve")
@home_option
@click.option("--json", "json_logs", is_flag=True, help="Log lines as JSON.")
def serve(home_folder: Path, json_logs: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Answer the coordinator until stopped: one outbound connection, nothing listens but on loopback."""
    from site_agent.network.keys import NetworkHome  # noqa: PLC0415 - see above
    from site_agent.network.service import serve as run  # noqa: PLC0415 - see above

    run(NetworkHome(home_folder), line_log(as_json=json_logs))


@click.command("renew")
@home_option
@json_option
def renew(home_folder: Path, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Renew this site's certificate, within 90 days of its end; serve does so by itself 60 days before."""
    from site_agent.network.gateway_client import connected  # noqa: PLC0415 - see above
    from site_agent.network.keys import NetworkHome  # noqa: PLC0415 - see above
    from site_agent.network.renewal import RENEWABLE, time_left  # noqa: PLC0415 - see above
    from site_agent.network.renewal import renew as ask  # noqa: PLC0415 - see above

    network, now = NetworkHome(home_folder), datetime.now(UTC)
    left = time_left(network, now)
    ends, renewed = now + left, False
    if left <= RENEWABLE:
        with connected(network) as client:
            ends, renewed = ask(client, network), True
    if as_json:
        print_json({"success": True, "renewed": renewed, "ends": f"{ends:%Y-%m-%dT%H:%M:%SZ}"})
        return
    click.echo(f"{'renewed' if renewed else 'not due yet'}; the certificate is good until {ends:%Y-%m-%d}")


@click.command("status")
@home_option
@json_option
def status(home_folder: Path, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Show the studies that name this site, what waits for its steward, and which results are released."""
    from site_agent.home import open_home  # noqa: PLC0415 - see above
    from site_agent.network.checkpoints import bring_checkpoints  # noqa: PLC0415 - see above
    from site_agent.network.downloads import list_studies  # noqa: PLC0415 - see above
    from site_agent.network.gateway_client import connected  # noqa: PLC0415 - see above
    from site_agent.network.keys import NetworkHome  # noqa: PLC0415 - see above

    network, home = NetworkHome(home_folder), open_home(home_folder)
    with connected(network) as client:
        studies = list_studies(client, home.coordinator)
        bring_checkpoints(client, network, home.coordinator)
    held = list(home.airlock().held().values())
    rows = [
        (
            each.plan.message.study,
            *(
                str(sum(one.study == each.plan.message.study and one.state.value == state for one in held))
                for state in ("pending", "approved", "sent")
            ),
            "released" if each.results_bytes else "not yet",
        )
        for each in studies
    ]
    columns = ("study", "waiting", "approved", "sent", "results")
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(f"Studies of {home.site}", columns, rows)


@click.command("results")
@click.argument("study")
@home_option
@click.option("--out", type=_PATH, help="Write the results here, as JSON.")
@json_option
def results(study: str, home_folder: Path, out: Path | None, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Fetch the released results of STUDY; the coordinator's signature is checked, and they are kept."""
    from protocol.signing import VerifyingKey  # noqa: PLC0415 - see above
    from site_agent.network.checkpoints import bring_checkpoints  # noqa: PLC0415 - see above
    from site_agent.network.downloads import fetch_results, keep_specification  # noqa: PLC0415 - see above
    from site_agent.network.gateway_client import connected  # noqa: PLC0415 - see above
    from site_agent.network.keys import NetworkHome  # noqa: PLC0415 - see above

    network = NetworkHome(home_folder)
    with connected(network) as client:
        key = VerifyingKey.from_hex(network.settings.coordinator)
        fetched = fetch_results(client, network, key, study)
        bring_checkpoints(client, network, key)
    specification, believed = keep_specification(network, fetched, key), fetched.message
    document = believed.model_dump(mode="json")
    if out is not None:
        write_atomically(out, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())
    if as_json:
        print_json(document)
        return
    for verdict in believed.verdicts:
        click.echo(verdict.sentence)
    remark(f"kept in {network.results(study)}")
    if believed.specification is not None:
        click.echo(believed.specification.sentence)
    if specification is not None:
        remark(f"the signed specification is in {specification}; next: crosslot-site qualify LOT_FILE ...")


def _print_findings(findings: "Sequence[Finding]") -> None:
    print_table("Doctor", ("check", "state", "what to know"), [(e.check, e.state, e.say) for e in findings])


COMMANDS: Final = (join, doctor, serve, status, results, renew)
"""All commands, in the order of use; the console script mounts them."""

if __name__ == "__main__":
    CommandGroup("crosslot-site", commands=list(COMMANDS))()
