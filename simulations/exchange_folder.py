"""What a run leaves behind besides results and report: all that was published, sent and kept, byte for byte.

``published/`` is what every site was given; ``sites/<site>/sent/`` exactly what left that site, with its own log and
the names behind its pseudonyms, which never left; ``sites/<site>/received/`` the site's edition of the report;
``coordinator/`` what the coordinator kept, enough to analyse again.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from coordinator.atlas_signing import sign_atlas
from coordinator.evidence.checkpoints import countersign
from coordinator.store import Store
from protocol.codec import encode
from protocol.envelopes import PayloadType, seal
from protocol.exchange import Ask, BareCode, Reply
from protocol.identifiers import SiteId
from protocol.plan import StudyPlan
from protocol.pseudonyms import NameKind, pseudonym
from protocol.roster import Believed, Roster
from protocol.signing import SigningKey
from shared.runtime.files import write_atomically
from simulations.keys import pseudonym_secret
from simulations.study_source import StudySource
from site_agent.agent import Agent
from site_agent.release.ledger import Ledger


@dataclass(kw_only=True, eq=False)
class SimulatedSite:
    """A site of a run: its agent, and a record of what left it, taken at the site's own edge."""

    site: SiteId
    agent: Agent
    ledger: Ledger
    log: list[str]
    replies: list[Reply | BareCode] = field(default_factory=list)

    def answer(self, ask: Ask, now: datetime) -> Reply | BareCode:
        """Answer by the agent, and keep what is sent."""
        reply = self.agent.answer(ask, now)
        self.replies.append(reply)
        return reply

    @property
    def bytes_sent(self) -> int:
        """How many bytes of answers and reports left the site."""
        return sum(
            len(reply.answer) + sum(map(len, reply.reports)) for reply in self.replies if isinstance(reply, Reply)
        )


def write_exchange(
    out: Path,
    source: StudySource,
    study: Believed[StudyPlan],
    roster: Roster,
    key: SigningKey,
    store: Store,
    sites: Sequence[SimulatedSite],
    *,
    now: datetime,
) -> None:
    """Write all three folders into ``out``; where each site's ledger ended lies countersigned at both ends."""
    _write_published(out / "published", source, study, roster, key)
    _write_kept(out / "coordinator", study, store)
    for site in sites:
        _write_site(out / "sites" / site.site, source, site)
        answers = [reply.answer for reply in site.replies if isinstance(reply, Reply)]
        for number, answer in enumerate(answers, start=1):
            checkpoint = countersign(answer, roster, site=site.site, at=now, key=key)
            if checkpoint is not None:
                name = f"checkpoints/{site.site}-{number}.json"
                write_atomically(out / "coordinator" / name, checkpoint)
                write_atomically(out / "sites" / site.site / "received" / name, checkpoint)


def _write_published(
    folder: Path, source: StudySource, study: Believed[StudyPlan], roster: Roster, key: SigningKey
) -> None:
    write_atomically(folder / "plan.json", study.envelope)
    write_atomically(folder / "roster.json", seal(encode(roster), PayloadType.ROSTER, key))
    write_atomically(folder / "reference.atlas", source.atlas)
    write_atomically(folder / "reference.atlas.json", sign_atlas(source.atlas, key))
    write_atomically(folder / "coordinator.pub", key.verifying_key.to_hex().encode() + b"\n")


def _write_kept(folder: Path, study: Believed[StudyPlan], store: Store) -> None:
    for report in store.reports(study.message.study):
        name = f"{report.site}-{report.lot}-v{report.version}.json"
        write_atomically(folder / "envelopes" / name, report.envelope)
    events = "".join(f"{line}\n" for line in store.events(study.message.study))
    write_atomically(folder / "events.jsonl", events.encode())


def _write_site(folder: Path, source: StudySource, site: SimulatedSite) -> None:
    for number, reply in enumerate(site.replies, start=1):
        if isinstance(reply, BareCode):
            write_atomically(folder / "sent" / f"answer-{number}.code", reply.code.encode())
            continue
        write_atomically(folder / "sent" / f"answer-{number}.json", reply.answer)
        for position, envelope in enumerate(reply.reports, start=1):
            write_atomically(folder / "sent" / f"answer-{number}-report-{position:03d}.json", envelope)
    write_atomically(folder / "site.log", "".join(f"{line}\n" for line in site.log).encode())
    write_atomically(folder / "pseudonyms.csv", _pseudonyms(source, site.site))
    for number, envelope in enumerate(site.ledger.envelopes()):
        write_atomically(folder / "ledger" / f"{number:09d}.json", envelope)


def _pseudonyms(source: StudySource, site: SiteId) -> bytes:
    plan = source.plan
    secret = pseudonym_secret(plan.study, plan.analysis.seed, site)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["lot", "pseudonym"])
    for lot in dict(source.sites)[site].lots:
        writer.writerow([lot.lot, pseudonym(secret, study=plan.study, kind=NameKind.LOT, name=lot.lot)])
    return text.getvalue().encode()
