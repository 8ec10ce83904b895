"""The steward's commands: ``review``, ``policy``, ``log``, ``terms`` and ``home``; mounted by ``crosslot-site``."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial, wraps
from pathlib import Path
from typing import Any, Final

import click

from protocol.codec import sha256
from protocol.exchange import TERMS_LIMIT
from protocol.identifiers import SiteId, StudyId
from protocol.signing import SigningKey, VerifyingKey
from shared.runtime.console import json_option, print_json, print_table, remark
from shared.runtime.files import read_bounded
from site_agent.home import Home, create_home, open_home
from site_agent.passphrase import steward_passphrase
from site_agent.release.decisions import Held
from site_agent.review import acts
from site_agent.review.model import find_item, held_back_lines, review_items
from site_agent.review.shown import (
    LINE_COLUMNS,
    LIST_COLUMNS,
    RISKS,
    VERDICT_COLUMNS,
    as_document,
    headline,
    line_rows,
    list_rows,
    purpose,
    verdict_rows,
)

_PATH: Final = click.Path(path_type=Path)
_KEY_LIMIT: Final = 4_096

home_option: Final = click.option(
    "--home",
    "home_folder",
    type=_PATH,
    default=Path(),
    envvar="CROSSLOT_SITE_HOME",
    help="The site's home; without: $CROSSLOT_SITE_HOME, or here.",
)


@dataclass(frozen=True, kw_only=True)
class _Steward:
    """Who decides at which home, and how the answer is to be printed."""

    home: Home
    by: str
    passphrase_file: Path | None
    as_json: bool

    def key(self) -> SigningKey:
        """Return the steward's key; asks for its passphrase where no file holds it."""
        return self.home.steward_key(steward_passphrase(self.passphrase_file))

    def decide(self, reports: Sequence[str], said: str, act: Callable[..., Held | None]) -> None:
        """Do ``act`` on each of the reports by signature, and print what they are then: ``said``.

        All are found before the key is asked for. An act returns what waits in the report's place, if anything does.
        """
        items = [find_item(review_items(self.home), name) for name in reports]
        key = self.key()
        decided = []
        for item in items:
            instead = act(self.home, item, by=self.by, at=_now(), key=key)
            decided.append((instead or item.held).payload_sha256)
        now = {item.held.payload_sha256: item for item in review_items(self.home)}
        if self.as_json:
            print_json([as_document(now[digest]) for digest in decided])
            return
        for item in (now[digest] for digest in decided):
            lot = item.lot_name or item.held.lot
            click.echo(f"{said}: lot {lot}, {purpose(item)}, SHA-256 {item.held.payload_sha256}")


def _signed_by_steward(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of every signed decision, and hand them to it as one `_Steward`."""

    @wraps(command)
    def decided(
        *,
        home_folder: Path,
        by: str,
        passphrase_file: Path | None,
        as_json: bool,
        **asked: Any,  # noqa: ANN401 - the command's own options
    ) -> None:
        home = open_home(home_folder)
        command(_Steward(home=home, by=by, passphrase_file=passphrase_file, as_json=as_json), **asked)

    named = click.option("--by", required=True, help="Your name: it stands in the signed decision.")
    passphrase = click.option(
        "--passphrase-file", type=_PATH, help="A file with the passphrase of the steward's key; without: you are asked."
    )
    return home_option(named(passphrase(json_option(decided))))


@click.group("review", invoke_without_command=True)
@home_option
@click.option("--web", is_flag=True, help="Show the review as a page on this machine, for your browser only.")
@click.option(
    "--idle-minutes", type=click.IntRange(1, 240), default=15, show_default=True, help="With --web: then stop."
)
@json_option
@click.pass_context
def review(context: click.Context, home_folder: Path, web: bool, idle_minutes: int, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """See what waits to leave this site, and decide: approve, withhold clusters, refuse.

    Nothing leaves before a steward has approved its exact bytes, unless the site's policy says so for the study.
    """
    if context.invoked_subcommand is not None:
        return
    home = open_home(home_folder)
    if web:
        from site_agent.review.server import serve_review  # noqa: PLC0415 - the page is not needed for the terminal

        serve_review(home, idle_seconds=60.0 * idle_minutes, announce=remark)
        return
    items = review_items(home)
    if as_json:
        print_json([as_document(item) for item in items])
        return
    click.echo(headline(items))
    if items:
        print_table(f"Airlock of {home.site}", LIST_COLUMNS, list_rows(items))
    lines = held_back_lines(home)
    if lines:
        click.echo(f"Not offered, and not in the airlock: {', '.join(line.lot_name for line in lines)}.")
        remark("why: crosslot-site review held-back")
    if any(item.waits for item in items):
        remark("next: crosslot-site review show LOT, then approve, withhold or refuse")


@review.command("show")
@click.argument("report")
@home_option
@json_option
def show(report: str, home_folder: Path, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Show one REPORT (its hash's first digits, or the lot's name): table, exact bytes, every rule's verdict."""
    item = find_item(review_items(open_home(home_folder)), report)
    if as_json:
        print_json(as_document(item))
        return
    click.echo(f"{item.held.state.value}: lot {item.lot_name or item.held.lot}, {purpose(item)}")
    print_table("What would leave", LINE_COLUMNS, line_rows(item))
    click.echo(f"The exact bytes ({len(item.held.payload)}), SHA-256 {item.held.payload_sha256}:")
    click.echo(item.held.payload.decode("utf-8"))
    click.echo("What stays: cells, genes, expression, barcodes, file names, your own names, every error's text.")
    if item.verdicts:
        print_table("What each rule says, worst first", VERDICT_COLUMNS, verdict_rows(item))
    for risk in RISKS:
        click.echo(f"- {risk}")
    if item.why_not_approvable:
        click.echo(f"It cannot be approved: {item.why_not_approvable}")
    elif item.needs_reason:
        click.echo("A rule asks for your reason: approve with --reason.")


@review.command("held-back")
@home_option
@json_option
def held_back(home_folder: Path, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Show which lots were not offered when the site was last asked, and why: they wait for no decision."""
    lines = held_back_lines(open_home(home_folder))
    if as_json:
        print_json([asdict(line) for line in lines])
    elif lines:
        rows = [(line.lot_name, line.study, line.at, line.by, line.why) for line in lines]
        print_table("Not offered", ("lot", "study", "asked", "held back by", "why"), rows)
    else:
        click.echo("No lot was held back.")


@review.command("approve")
@click.argument("reports", metavar="REPORT...", nargs=-1, required=True)
@click.option("--reason", default="", help="Why; needed where a rule asks for review.")
@_signed_by_steward
def approve(steward: _Steward, reports: tuple[str, ...], reason: str) -> None:
    """Approve each REPORT for release, signed by the steward's key: exactly these bytes may leave."""
    steward.decide(reports, "Approved, not yet sent", partial(acts.approve, reason=reason))


@review.command("withhold")
@click.argument("report")
@click.option("--cluster", "clusters", multiple=True, required=True, help="A cluster to hide; may be given again.")
@click.option("--reason", default="", help="Why.")
@_signed_by_steward
def withhold(steward: _Steward, report: str, clusters: tuple[str, ...], reason: str) -> None:
    """Hide more of a lot, by signature: the clusters' counts shrink to orders of magnitude; what waited is void."""
    act = partial(acts.withhold, clusters=clusters, reason=reason)
    steward.decide([report], "Withheld; this waits now", act)


@review.command("refuse")
@click.argument("reports", metavar="REPORT...", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why.")
@_signed_by_steward
def refuse(steward: _Steward, reports: tuple[str, ...], reason: str) -> None:
    """Refuse each REPORT, signed by the steward's key: it does not leave."""
    steward.decide(reports, "Refused", partial(acts.refuse, reason=reason))


@review.command("offer-again")
@click.argument("report")
@click.option("--reason", required=True, help="Why.")
@_signed_by_steward
def offer_again(steward: _Steward, report: str, reason: str) -> None:
    """Let the lot of a refused REPORT be offered again, by signature: it waits anew once the coordinator has asked."""
    steward.decide([report], "To be offered again", partial(acts.offer_again, reason=reason))


@click.group("terms")
def terms() -> None:
    """Read and accept a study's terms: nothing is computed for a study before."""


@terms.command("show")
@click.argument("study")
@home_option
def terms_show(study: str, home_folder: Path) -> None:
    """Show the terms of STUDY, as they came with its plan, and their SHA-256."""
    home = open_home(home_folder)
    document = home.records.terms(StudyId(study))
    click.echo(document.decode("utf-8", errors="replace"))
    named = home.plan(StudyId(study)).message.terms_sha256 == sha256(document)
    remark(f"SHA-256 {sha256(document)}: " + ("the plan names it" if named else "the plan names ANOTHER document"))


@terms.command("accept")
@click.argument("study")
@click.option("--document", type=_PATH, help="The terms, as you have them; without: as they came with the plan.")
@_signed_by_steward
def accept(steward: _Steward, study: str, document: Path | None) -> None:
    """Accept the terms of STUDY by signature; the document must be the one that the signed plan names."""
    if document is None:
        data = steward.home.records.terms(StudyId(study))
    else:
        data = read_bounded(document, limit=TERMS_LIMIT, what="the study's terms")
    acts.accept_terms(steward.home, StudyId(study), data, by=steward.by, at=_now(), key=steward.key())
    if steward.as_json:
        print_json({"success": True, "study": study})
    else:
        click.echo(f"Accepted the terms of {study}, signed by {steward.by}.")


@click.group("home")
def home_group() -> None:
    """Make a site's home: its keys, its secret, its settings."""


@home_group.command("create")
@click.option("--site", required=True, help="The site's name, as study plans name it.")
@click.option("--coordinator-key", type=_PATH, required=True, help="The public key (.pub) of the coordinator.")
@click.option("--passphrase-file", type=_PATH, help="A file with the steward's passphrase; without: you are asked.")
@home_option
@json_option
def create(site: str, coordinator_key: Path, passphrase_file: Path | None, home_folder: Path, as_json: bool) -> None:  # noqa: FBT001 - click hands flags over
    """Make a home: the machine's key, the steward's key under a passphrase, and the secret for pseudonyms."""
    text = read_bounded(coordinator_key, limit=_KEY_LIMIT, what="a public key (.pub)")
    coordinator = VerifyingKey.from_hex(text.decode("ascii", errors="replace").strip())
    home = create_home(
        home_folder,
        site=SiteId(site),
        coordinator=coordinator,
        passphrase=steward_passphrase(passphrase_file, confirm=True),
    )
    machine, steward = home.site_key().verifying_key, home.steward()
    if as_json:
        print_json(
            {"success": True, "home": str(home_folder), "site_key": machine.to_hex(), "steward": steward.to_hex()}
        )
        return
    click.echo(f"site key: {machine.to_hex()}")
    click.echo(f"steward's key: {steward.to_hex()}")
    remark("give the site key to the coordinator; keep the steward's passphrase to yourself")


def _now() -> datetime:
    return datetime.now(UTC)
