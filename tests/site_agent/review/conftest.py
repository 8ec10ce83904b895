"""A site's home with an agent that answers from it; its lots have no cells."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from protocol.policy import write_policy
from protocol.pseudonyms import NameKind, pseudonym
from protocol.report import LotReport
from protocol.signing import SigningKey
from shared.runtime.files import write_atomically
from site_agent.agent import Agent, ReportSource, SiteIdentity
from site_agent.cells.lots import LOT_COLUMNS
from site_agent.home import Home, create_home
from site_agent.release.decisions import Held
from tests.study_parts import COORDINATOR, KYOTO, STUDY, THREE_LOTS, Lots, make_policy

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
