"""The coordinator's commands over a network, from ``init`` to ``release-results``; the console script mounts them."""

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from coordinator.home import CoordinatorHome, init_home
from protocol.identifiers import SiteId, StudyId
from shared.runtime.console import json_option, print_json, print_table, remark
from shared.runtime.files import PRIVATE, write_atomically
from shared.runtime.logs import line_log

# What the commands work with (Flower, gRPC) is imported within them: --help and wrong arguments answer at once.

_PATH: Final = click.Path(path_type=Path)

home_option: Final = click.option(
    "--home",
    "home_folder",
    type=_PATH,
    default=Path(),
    envvar="CROSSLOT_COORDINATOR_HOME",
    help="The coordinator's folder; without: $CROSSLOT_COORDINATOR_HOME, or here.",
)


@click.command("init")
@click.argument("folder", metavar="DIR", type=_PATH)
@click.option("--address", required=True, metavar="HOST:PORT", help="How the sites reach this coordinator.")
@click.option("--listen", metavar="HOST:PORT", help="What to bind here; without: the port, on all addresses.")
@json_option
def init(folder: Path, address: str, listen: str | None, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Make a coordinator's folder: signing key, private certificate authority, settings, databases."""
    home = init_home(folder, address=address, listen=listen, now=datetime.now(UTC))
    said = {"success": True, "home": str(folder), "address": address, "fingerprint": home.key.fingerprint}
    if as_json:
        print_json(said)
        return
    click.echo(f"signing key {home.key.fingerprint}")
    remark(f"next: crosslot-coordinator serve --home {folder}")


@click.command("serve")
@home_option
@click.option("--json", "json_logs", is_flag=True, help="Log lines as JSON.")
def serve(home_folder: Path, json_logs: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Serve the sites until stopped: the gateway on the public address, Flower's SuperLink on loopback."""
    from coordinator.network.service import serve as run  # noqa: PLC0415 - see above

    run(CoordinatorHome(home_folder), line_log(as_json=json_logs))


@click.command("invite")
@click.argument("site")
@home_option
@click.option("--hours", type=click.IntRange(1, 24 * 90), help="How long it is good; without: as in the settings.")
@click.option("--out", type=_PATH, help="Where the invite goes; without: SITE.invite here.")
@json_option
def invite(site: str, home_folder: Path, hours: int | None, out: Path | None, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Invite SITE: write a text, good once, that the site joins by. Who holds the text can join in its name."""
    from coordinator.network.enrolment import Enrolments, make_invite  # noqa: PLC0415 - see above
    from protocol.enrolment import write_invite  # noqa: PLC0415 - see above

    home = CoordinatorHome(home_folder)
    made = make_invite(
        home,
        Enrolments(home.enrolments_path),
        SiteId(site),
        token=secrets.token_hex(32),
        now=datetime.now(UTC),
        valid_for=None if hours is None else timedelta(hours=hours),
    )
    path, text = out or Path(f"{site}.invite"), write_invite(made)
    write_atomically(path, text.encode(), mode=PRIVATE)
    if as_json:
        print_json({"success": True, "site": site, "file": str(path), "expires": made.expires, "invite": text})
        return
    click.echo(text, nl=False)
    remark(f"wrote {path}; the site runs: crosslot-site join {path.name}")


@click.command("sites")
@home_option
@json_option
def sites(home_folder: Path, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """List who is invited and enrolled: last seen, version, atlases, key."""
    from coordinator.network.enrolment import Enrolments  # noqa: PLC0415 - see above
    from coordinator.network.shown import SITE_COLUMNS, as_documents, site_rows  # noqa: PLC0415 - see above

    home = CoordinatorHome(home_folder)
    _ = home.settings
    enrolments, now = Enrolments(home.enrolments_path), datetime.now(UTC)
    if as_json:
        print_json(as_documents(enrolments, now))
        return
    print_table("Sites", SITE_COLUMNS, site_rows(enrolments, now))


@click.command("revoke")
@click.argument("site")
@home_option
@json_option
def revoke(site: str, home_folder: Path, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Refuse SITE from now on. What it delivered stays; to come back it needs a new invite and new keys."""
    from coordinator.network.enrolment import Enrolments  # noqa: PLC0415 - see above
    from coordinator.network.superlink import SuperLink  # noqa: PLC0415 - see above
    from shared.errors import CrosslotError  # noqa: PLC0415 - see above

    home = CoordinatorHome(home_folder)
    _ = home.settings
    gone = Enrolments(home.enrolments_path).revoke(SiteId(site), now=datetime.now(UTC))
    try:
        SuperLink.of(home).unregister(gone.node_key)
    except CrosslotError:
        remark("the service does not run: the gateway refuses the site as soon as it does")
    if as_json:
        print_json({"success": True, "site": site})
    else:
        click.echo(f"{site} is revoked")


@click.command("publish")
@click.argument("plan", metavar="STUDY", type=_PATH)
@click.option("--atlas", type=_PATH, required=True, help="The atlas file that the plan names.")
@click.option("--terms", type=_PATH, help="The document of terms that the plan names; it goes to the sites with it.")
@home_option
@json_option
def publish(plan: Path, atlas: Path, terms: Path | None, home_folder: Path, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Publish STUDY, a signed plan or a draft (study.toml, signed here), with its atlas. Then it is fixed."""
    from coordinator.network.registry import publish as put  # noqa: PLC0415 - see above

    done = put(CoordinatorHome(home_folder), plan, atlas, terms).plan
    said = {"success": True, "study": done.message.study, "plan_sha256": done.payload_sha256}
    if as_json:
        print_json(said)
    else:
        click.echo(f"published study {done.message.study}, plan SHA-256 {done.payload_sha256}")
        remark(f"next: crosslot-coordinator collect {done.message.study}")


@click.command("collect")
@click.argument("study")
@home_option
@click.option("--deadline-minutes", type=click.FloatRange(0), default=60.0, show_default=True, help="For all rounds.")
@click.option("--pause-seconds", type=click.FloatRange(0), default=5.0, show_default=True, help="Between two rounds.")
@click.option("--again", is_flag=True, help="Ask sites that refused, too.")
@json_option
def collect(
    study: str,
    home_folder: Path,
    deadline_minutes: float,
    pause_seconds: float,
    again: bool,  # noqa: FBT001 - click hands flags over
    as_json: bool,  # noqa: FBT001 - the same
) -> None:
    """Ask the sites of STUDY in rounds until all have answered, or the deadline. Safe to stop and to run again."""
    from coordinator.network.collecting import Collecting  # noqa: PLC0415 - see above
    from coordinator.network.collecting import collect as gather  # noqa: PLC0415 - see above
    from coordinator.network.shown import (  # noqa: PLC0415 - see above
        COLLECTION_COLUMNS,
        collection_document,
        collection_rows,
    )

    home = CoordinatorHome(home_folder)
    shown: list[object] = []

    def show(now: Collecting) -> None:
        rows = collection_rows(now, datetime.now(UTC))
        if not as_json and rows != shown:
            print_table(f"Study {study}", COLLECTION_COLUMNS, rows)
            shown[:] = rows

    ended = gather(
        home,
        StudyId(study),
        deadline_seconds=60.0 * deadline_minutes,
        pause_seconds=pause_seconds,
        again=again,
        show=show,
        log=remark,
    )
    if as_json:
        print_json(collection_document(ended, datetime.now(UTC)))
    if not ended.complete:
        remark("error: not every site has answered; run the same command again to go on")
        click.get_current_context().exit(1)


@click.command("status")
@click.argument("study", required=False)
@home_option
@json_option
def status(study: str | None, home_folder: Path, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Show whether the service runs, and how the collection of STUDY (without: of every study) stands."""
    from coordinator.network.collecting import standing  # noqa: PLC0415 - see above
    from coordinator.network.registry import studies  # noqa: PLC0415 - see above
    from coordinator.network.shown import (  # noqa: PLC0415 - see above
        COLLECTION_COLUMNS,
        collection_document,
        collection_rows,
    )
    from coordinator.network.wellbeing import health_of  # noqa: PLC0415 - see above

    home, now = CoordinatorHome(home_folder), datetime.now(UTC)
    health = health_of(home)
    named = [StudyId(study)] if study else list(studies(home))
    every = [standing(home, each) for each in named]
    if as_json:
        document: dict[str, Any] = {"service": health, "studies": [collection_document(each, now) for each in every]}
        print_json(document)
        return
    click.echo(f"service: {health}")
    for each in every:
        print_table(f"Study {each.study}", COLLECTION_COLUMNS, collection_rows(each, now))


@click.command("conclude")
@click.argument("study")
@click.option("--out", type=_PATH, required=True, help="Where results.json and report.html go.")
@home_option
@json_option
def conclude(study: str, out: Path, home_folder: Path, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Analyse what was collected of STUDY, every envelope verified anew, and write results and report."""
    from coordinator.analysis_commands import fail_if_unanswered, show_results  # noqa: PLC0415 - see above
    from coordinator.network.collecting import outcome_of  # noqa: PLC0415 - see above
    from coordinator.written import REPORT_FILE, RESULTS_FILE, write_outcome  # noqa: PLC0415 - see above

    outcome = outcome_of(CoordinatorHome(home_folder), StudyId(study))
    write_outcome(outcome, out)
    show_results(outcome.results, as_json=as_json)
    remark(f"wrote {out / RESULTS_FILE} and {out / REPORT_FILE}")
    fail_if_unanswered(outcome.results)


@click.command("release-results")
@click.argument("study")
@home_option
@json_option
def release_results(study: str, home_folder: Path, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Sign the results of STUDY for each of its sites: aggregates, and of excluded lots a site's own only."""
    from coordinator.network.collecting import release_results as release  # noqa: PLC0415 - see above

    released = release(CoordinatorHome(home_folder), StudyId(study))
    if as_json:
        print_json({"success": True, "study": study, "sites": list(released)})
    else:
        click.echo(f"released to {', '.join(released)}; a site reads them by: crosslot-site results {study}")


COMMANDS: Final = (init, serve, invite, sites, revoke, publish, collect, status, conclude, release_results)
"""All commands, in the order of use; the console script mounts them."""
