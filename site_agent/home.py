"""A site's home: one folder with its keys, its secret, its policy, its lots, and all that outlives a process.

Layout, everything readable by its owner only::

    site.toml                      who this site is, and whom it believes
    policy.toml                    what may leave; without it nothing does
    lots.csv  potency.csv  cells/  the lots, as ``check`` reads them
    keys/site.pem  site.pub        the machine's key: signs answers, reports and the ledger
    keys/steward.pem  steward.pub  the steward's key, under a passphrase: signs decisions
    pseudonym.secret               turns names into pseudonyms; lost, the same lot gets another pseudonym
    airlock/  ledger/  noise/      append-only logs
    studies/<study>/               plan.json, terms.txt, acceptance.json, held-back.json
    checkpoints/                   the coordinator's countersignatures of the ledger
    taken.json                     queries that were taken (SPEC 3.6)

The parts are made once, by ``create_home``, and never replaced: a key that is lost cannot be had again.
"""

import secrets
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from protocol.codec import decode, encode
from protocol.envelopes import PayloadType, envelope_limit
from protocol.errors import ErrorCode, ProtocolError
from protocol.exchange import TERMS_LIMIT
from protocol.identifiers import Instant, Nonce, Pseudonym, PublicKeyHex, SiteId, SiteSlug, StudyId
from protocol.ledger import Checkpoint
from protocol.message import Message
from protocol.plan import StudyPlan
from protocol.pseudonyms import NameKind, pseudonym
from protocol.queries import ReplayWindow
from protocol.roster import Believed, open_from_coordinator, open_plan
from protocol.signing import SigningKey, VerifyingKey
from protocol.toml_documents import DOCUMENT_LIMIT, read_toml, write_toml
from shared.errors import InputError, RefusedError
from shared.runtime.files import PRIVATE, read_bounded, write_atomically
from site_agent.cells.lots import LOT_COLUMNS, OPTIONAL_LOT_COLUMNS
from site_agent.cells.site_tables import read_table
from site_agent.release.airlock import Airlock
from site_agent.release.append_log import FolderLog
from site_agent.release.ledger import Ledger
from site_agent.release.noise_book import NoiseBook
from site_agent.release.site_records import HeldBack

SETTINGS_FILE: Final = "site.toml"
POLICY_FILE: Final = "policy.toml"
TERMS_FILE: Final = "terms.txt"
SECRET_FILE: Final = "pseudonym.secret"  # noqa: S105 - a file's name
_SECRET_BYTES: Final = 32
_KEY_LIMIT: Final = 4_096
_TAKEN_LIMIT: Final = 16 * 2**20
MINIMUM_PASSPHRASE: Final = 8


class SiteSettings(Message):
    """Who the site is, and the one coordinator that it believes."""

    schema_id: Literal["crosslot.site/1"] = Field(default="crosslot.site/1", alias="schema")
    site: SiteSlug
    coordinator: PublicKeyHex


class _TakenQuery(Message):
    nonce: Nonce
    expires: Instant


class _Taken(Message):
    schema_id: Literal["crosslot.taken-queries/1"] = Field(default="crosslot.taken-queries/1", alias="schema")
    queries: Annotated[tuple[_TakenQuery, ...], Field(max_length=100_000)]


@dataclass(frozen=True)
class FolderRecords:
    """The agent's records in a site's home; see ``release.site_records``."""

    folder: Path

    def taken(self) -> ReplayWindow:
        """Return the queries that were taken.

        Raises
        ------
        CrosslotError
            If the file is damaged: then no query may be taken, since it may be a replay.
        """
        path = self.folder / "taken.json"
        if not path.exists():
            return ReplayWindow()
        data = decode(_Taken, read_bounded(path, limit=_TAKEN_LIMIT, what="the queries taken"), limit=_TAKEN_LIMIT)
        return ReplayWindow(frozenset((query.nonce, query.expires) for query in data.queries))

    def keep_taken(self, window: ReplayWindow) -> None:
        """Keep the queries that were taken."""
        queries = tuple(_TakenQuery(nonce=nonce, expires=expires) for nonce, expires in sorted(window.taken))
        write_atomically(self.folder / "taken.json", encode(_Taken(queries=queries)), mode=PRIVATE)

    def keep_plan(self, plan: Believed[StudyPlan]) -> None:
        """Keep a study's signed plan; the latest counts."""
        write_atomically(self.study(plan.message.study) / "plan.json", plan.envelope, mode=PRIVATE)

    def keep_terms(self, study: StudyId, terms: bytes) -> None:
        """Keep the document of a study's terms."""
        write_atomically(self.study(study) / TERMS_FILE, terms, mode=PRIVATE)

    def terms(self, study: StudyId) -> bytes:
        """Return the document of a study's terms, as it came with the plan.

        Raises
        ------
        InputError
            If none came.
        """
        return read_bounded(self.study(study) / TERMS_FILE, limit=TERMS_LIMIT, what="the study's terms")

    def acceptance(self, study: StudyId) -> bytes | None:
        """Return the steward's signed acceptance of a study's terms."""
        path = self.study(study) / "acceptance.json"
        if not path.exists():
            return None
        return read_bounded(path, limit=envelope_limit(PayloadType.TERMS_ACCEPTANCE), what="an acceptance of terms")

    def keep_acceptance(self, study: StudyId, envelope: bytes) -> None:
        """Keep the steward's signed acceptance of a study's terms."""
        write_atomically(self.study(study) / "acceptance.json", envelope, mode=PRIVATE)

    def keep_held_back(self, held_back: HeldBack) -> None:
        """Keep which lots of a study were held back."""
        write_atomically(self.study(held_back.study) / "held-back.json", encode(held_back), mode=PRIVATE)

    def held_back(self) -> tuple[HeldBack, ...]:
        """Return which lots were held back, study by study."""
        paths = sorted((self.folder / "studies").glob("*/held-back.json"))
        limit = DOCUMENT_LIMIT
        files = [read_bounded(path, limit=limit, what="the lots held back") for path in paths]
        return tuple(decode(HeldBack, data, limit=limit) for data in files)

    def study(self, study: StudyId) -> Path:
        """Return the folder of one study."""
        return self.folder / "studies" / study


@dataclass(frozen=True)
class Home:
    """A site's home, opened.

    Attributes
    ----------
    folder
        Where it is.
    settings
        Who the site is.
    """

    folder: Path
    settings: SiteSettings

    @property
    def site(self) -> SiteId:
        """The site's name."""
        return self.settings.site

    @property
    def coordinator(self) -> VerifyingKey:
        """The key of the coordinator that the site believes."""
        return VerifyingKey.from_hex(self.settings.coordinator)

    @property
    def records(self) -> FolderRecords:
        """What the agent finds again after a restart."""
        return FolderRecords(self.folder)

    def airlock(self) -> Airlock:
        """Return the airlock; what other processes append to it is read as it comes."""
        return self._airlock

    @cached_property
    def _airlock(self) -> Airlock:
        return Airlock(FolderLog(self.folder / "airlock"))

    def noise_book(self) -> NoiseBook:
        """Return the book of noise; what other processes append to it is read as it comes."""
        return self._noise_book

    @cached_property
    def _noise_book(self) -> NoiseBook:
        return NoiseBook(FolderLog(self.folder / "noise"))

    def site_key(self) -> SigningKey:
        """Return the machine's key."""
        return SigningKey.load(self.folder / "keys" / "site.pem")

    def ledger(self) -> Ledger:
        """Return the ledger; what other processes append to it is read as it comes."""
        return self._ledger

    @cached_property
    def _ledger(self) -> Ledger:
        return Ledger(FolderLog(self.folder / "ledger"), site=self.site, key=self.site_key())

    def steward(self) -> VerifyingKey:
        """Return the steward's public key."""
        return _public(self.folder / "keys" / "steward.pub")

    def steward_key(self, passphrase: str) -> SigningKey:
        """Return the steward's key.

        Raises
        ------
        InputError
            If the passphrase does not open it.
        """
        return SigningKey.load(self.folder / "keys" / "steward.pem", passphrase.encode())

    def policy(self) -> bytes | None:
        """Return the bytes of the site's policy; None where there is none, and then nothing leaves."""
        path = self.folder / POLICY_FILE
        return read_bounded(path, limit=DOCUMENT_LIMIT, what="the site's policy") if path.exists() else None

    def secret(self) -> bytes:
        """Return the secret for pseudonyms."""
        return read_bounded(self.folder / SECRET_FILE, limit=_KEY_LIMIT, what="the pseudonym secret")

    def plan(self, study: StudyId) -> Believed[StudyPlan]:
        """Return the signed plan of a study that the site was asked about.

        Raises
        ------
        InputError
            If the site was never asked about it.
        ProtocolError
            If the coordinator did not sign it.
        """
        path = self.records.study(study) / "plan.json"
        data = read_bounded(path, limit=envelope_limit(PayloadType.STUDY_PLAN), what="the study's signed plan")
        plan = open_plan(data, self.coordinator)
        if plan.message.study != study:
            raise ProtocolError(ErrorCode.WRONG_STUDY, f"It lies in the folder of {study}.")
        return plan

    def checkpoints(self, *more: Path) -> tuple[Checkpoint, ...]:
        """Return the coordinator's countersignatures of the ledger, and those in ``more`` files, each verified."""
        limit = envelope_limit(PayloadType.CHECKPOINT)
        return tuple(
            open_from_coordinator(
                read_bounded(path, limit=limit, what="a checkpoint"),
                Checkpoint,
                PayloadType.CHECKPOINT,
                self.coordinator,
            ).message
            for path in (*sorted((self.folder / "checkpoints").glob("*.json")), *more)
        )

    def lot_names(self) -> tuple[str, ...]:
        """Return the site's own names of its lots, in their order."""
        path = self.folder / "lots.csv"
        if not path.exists():
            return ()
        rows = read_table(path, required=LOT_COLUMNS, optional=OPTIONAL_LOT_COLUMNS).rows
        return tuple(dict.fromkeys(row.cells["lot"] for row in rows if row.cells.get("lot")))

    def own_names(self, study: StudyId) -> dict[Pseudonym, str]:
        """Return the site's own names of lots and donors behind the pseudonyms of a study; they never leave."""
        path = self.folder / "lots.csv"
        if not path.exists():
            return {}
        secret, names = self.secret(), dict[Pseudonym, str]()
        for row in read_table(path, required=LOT_COLUMNS, optional=OPTIONAL_LOT_COLUMNS).rows:
            for kind in (NameKind.LOT, NameKind.DONOR):
                name = row.cells.get(kind.value, "")
                if name:
                    names[pseudonym(secret, study=study, kind=kind, name=name)] = name
        return names


def open_home(folder: Path) -> Home:
    """Return the home in a folder.

    Raises
    ------
    InputError
        If the folder is no home.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        raise InputError(
            f"{folder}: expected a site's home with {SETTINGS_FILE}, found none",
            hint="give --home DIR, or make one: crosslot-site home create",
        )
    data = read_bounded(path, limit=DOCUMENT_LIMIT, what="the site's settings")
    return Home(folder=folder, settings=read_toml(SiteSettings, data, subject=str(path)))


def create_home(folder: Path, *, site: SiteId, coordinator: VerifyingKey, passphrase: str) -> Home:
    """Make a home: keys, secret and settings; what is in the folder already (lots, a policy) stays.

    Parameters
    ----------
    folder
        New, or the folder of the site's lots.
    site, coordinator
        Who the site is, and whom it believes.
    passphrase
        Of the steward's key, at least 8 characters.

    Raises
    ------
    RefusedError
        If the folder is a home already.
    InputError
        If the passphrase is too short, or the folder cannot be written.
    """
    if (folder / SETTINGS_FILE).exists():
        raise RefusedError(f"{folder}: a site's home is here already", hint="keys are made once; choose another folder")
    if len(passphrase) < MINIMUM_PASSPHRASE:
        raise InputError(f"the steward's passphrase: expected at least {MINIMUM_PASSPHRASE} characters")
    settings = SiteSettings(site=site, coordinator=coordinator.to_hex())
    try:
        for part in (folder, folder / "keys"):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.chmod(0o700)
    except OSError as error:
        raise InputError(f"{folder}: cannot make the home: {error.strerror}") from None
    for name, secret in (("site", None), ("steward", passphrase.encode())):
        key = SigningKey.generate()
        key.save(folder / "keys" / f"{name}.pem", secret)
        write_atomically(folder / "keys" / f"{name}.pub", key.verifying_key.to_hex().encode() + b"\n", mode=PRIVATE)
    if not (folder / SECRET_FILE).exists():
        write_atomically(folder / SECRET_FILE, secrets.token_bytes(_SECRET_BYTES), mode=PRIVATE)
    write_atomically(folder / SETTINGS_FILE, write_toml(settings, _COMMENTS), mode=PRIVATE)
    return Home(folder=folder, settings=settings)


def _public(path: Path) -> VerifyingKey:
    text = read_bounded(path, limit=_KEY_LIMIT, what="a public key (.pub)").decode("ascii", errors="replace")
    try:
        return VerifyingKey.from_hex(text.strip())
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


_COMMENTS: Final = {
    "": "Who this site is, and the one coordinator whose signature it believes.",
    "coordinator": "The coordinator's public key; compare it with the one that you were given by another way.",
}
