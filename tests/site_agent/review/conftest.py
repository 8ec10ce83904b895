"""A site's home with an agent that answers from it; its lots have no cells."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from protocol.errors import ErrorCode
from protocol.exchange import Ask, Reply
from protocol.policy import write_policy
from protocol.pseudonyms import NameKind, pseudonym
from protocol.queries import Answer
from protocol.report import LotReport
from protocol.roster import Roster, SiteKey, open_answer
from protocol.signing import SigningKey
from shared.runtime.console import CommandGroup
from shared.runtime.files import write_atomically
from site_agent.agent import Agent, ReportSource, SiteIdentity
from site_agent.cells.lots import LOT_COLUMNS
from site_agent.home import Home, create_home
from site_agent.release.decisions import Held
from site_agent.review.commands import home_group, review, terms
from site_agent.review.model import ReviewItem, find_item, review_items
from site_agent.review.record_commands import log, policy
from tests.study_parts import COORDINATOR, KYOTO, NOW, STUDY, THREE_LOTS, Lots, make_ask, make_plan, make_policy

WHO = "A. Steward"
PLAN = make_plan()
PASSPHRASE = "four words of passphrase"  # noqa: S105 - of a test's key


@dataclass
class AHome:
    """A home and its agent, made anew for each answer, as after a restart."""

    home: Home
    source: ReportSource = field(default_factory=lambda: Lots(THREE_LOTS))
    log: list[str] = field(default_factory=list)

    @property
    def agent(self) -> Agent:
        home = self.home
        return Agent(
            SiteIdentity(site=home.site, key=home.site_key(), coordinator=home.coordinator, steward=home.steward()),
            policy=home.policy(),
            reports=self.source,
            airlock=home.airlock(),
            ledger=home.ledger(),
            records=home.records,
            log=self.log.append,
            noise=home.noise_book(),
        )

    @property
    def steward(self) -> SigningKey:
        return self.home.steward_key(PASSPHRASE)

    def held(self) -> list[Held]:
        return list(self.home.airlock().held().values())


@pytest.fixture
def a_home(tmp_path: Path) -> AHome:
    home = create_home(tmp_path / "home", site=KYOTO, coordinator=COORDINATOR.verifying_key, passphrase=PASSPHRASE)
    # The lots of the tests bear pseudonyms under a fixed secret.
    write_atomically(home.folder / "pseudonym.secret", KYOTO.encode().ljust(32, b"."), mode=0o600)
    write_atomically(home.folder / "policy.toml", write_policy(make_policy(auto=False)))
    given = {"donor": "donor 7", "file": "cells.h5ad", "tissue": "bone marrow", "product": "MSC", "cohort": "main"}
    rows = [",".join(lot if column == "lot" else given.get(column, "") for column in LOT_COLUMNS) for lot in THREE_LOTS]
    write_atomically(home.folder / "lots.csv", "\n".join([",".join(LOT_COLUMNS), *rows, ""]).encode())
    return AHome(home)


@pytest.fixture
def name_of() -> Callable[[Home, LotReport], str]:
    def name(home: Home, report: LotReport) -> str:
        own = {pseudonym(home.secret(), study=STUDY, kind=NameKind.LOT, name=lot): lot for lot in THREE_LOTS}
        return own[report.lot]

    return name


def said(a_home: AHome, ask: Ask | None = None) -> tuple[Answer, Reply]:
    reply = a_home.agent.answer(ask or make_ask(PLAN), NOW)
    assert isinstance(reply, Reply)
    key = a_home.home.site_key().verifying_key.to_hex()
    roster = Roster(study=STUDY, coordinator=COORDINATOR.verifying_key.to_hex(), sites=(SiteKey(site=KYOTO, key=key),))
    return open_answer(reply.answer, roster, KYOTO).message, reply


@pytest.fixture
def waiting(a_home: AHome) -> AHome:
    answer, _ = said(a_home)
    assert answer.code is ErrorCode.AWAITING_STEWARD
    return a_home


def items_of(a_home: AHome) -> tuple[ReviewItem, ...]:
    return review_items(a_home.home)


def item_named(a_home: AHome, name: str) -> ReviewItem:
    return find_item(items_of(a_home), name)


@click.group(cls=CommandGroup)
def site() -> None:
    """Stand in for the site's root group."""


for command in (review, policy, log, terms, home_group):
    site.add_command(command)


@pytest.fixture
def run(a_home: AHome, tmp_path: Path) -> Callable[..., Result]:
    passphrase = tmp_path / "passphrase"
    write_atomically(passphrase, PASSPHRASE.encode() + b"\n", mode=0o600)

    def invoke(*arguments: str, signs: bool = False) -> Result:
        by = ("--by", WHO, "--passphrase-file", str(passphrase)) if signs else ()
        return CliRunner().invoke(site, [*arguments, "--home", str(a_home.home.folder), *by])

    return invoke
