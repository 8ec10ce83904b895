"""Invites and enrolled sites: one SQLite file, and the rules by which an invite becomes a site.

Rules
-----
1. Of an invite's token only its SHA-256 is kept. An invite is good once, until its expiry.
2. A site's name, signing key, node key and the key of its certificate are bound together when it enrols, and never
   change: a site that lost its keys is revoked and invited again, and enrols with new ones.
3. A certificate is renewed for the same key, on a connection that it still opens. The older one stays good until its
   own end, so that a site whose renewal broke off is not shut out.
4. A revoked site is refused from the next call on, by whichever certificate.
"""

import sqlite3
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Final

from coordinator.databases import opened
from coordinator.home import CoordinatorHome
from protocol.certificates import check_node_key, expiry_of, fingerprint, issue_invite, issue_site
from protocol.enrolment import (
    EnrolmentRequest,
    Invite,
    check_proof,
    compose_invite,
    token_sha256,
)
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import Instant, Sha256, SiteId, instant, time_of
from protocol.versions import compatible
from shared.errors import InputError, RefusedError

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS invites (
    token_sha256 TEXT PRIMARY KEY,
    site TEXT NOT NULL,
    made TEXT NOT NULL,
    expires TEXT NOT NULL,
    used TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS sites (
    certificate_sha256 TEXT PRIMARY KEY,
    site TEXT NOT NULL,
    key TEXT NOT NULL,
    node_key BLOB NOT NULL,
    enrolled TEXT NOT NULL,
    certificate_ends TEXT NOT NULL,
    version TEXT NOT NULL,
    revoked TEXT,
    last_seen TEXT,
    atlases TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT '',
    flower TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE IF NOT EXISTS renewals (
    certificate_sha256 TEXT PRIMARY KEY,
    first_sha256 TEXT NOT NULL REFERENCES sites (certificate_sha256),
    made TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_enrolment_a_site ON sites (site) WHERE revoked IS NULL;
CREATE UNIQUE INDEX IF NOT EXISTS one_site_a_key ON sites (key);
CREATE UNIQUE INDEX IF NOT EXISTS one_site_a_node_key ON sites (node_key);
"""


@dataclass(frozen=True, kw_only=True)
class EnrolledSite:
    """One enrolment: who, with which keys, and what was last heard of it.

    ``certificate_sha256`` is that of its first certificate, by which the enrolment is known; ``certificate_ends`` is
    when the latest one ends.
    """

    site: SiteId
    key: str
    node_key: bytes
    certificate_sha256: Sha256
    enrolled: Instant
    certificate_ends: Instant
    version: str
    revoked: Instant | None
    last_seen: Instant | None
    atlases: tuple[str, ...]
    state: str
    flower: str


_COLUMNS: Final = (
    "site, key, node_key, certificate_sha256, enrolled, certificate_ends, version, revoked, last_seen, atlases, "
    "state, flower"
)


class Enrolments:
    """Who was invited and who is enrolled; every change is durable when the call returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.touch(mode=0o600)
            with self._connection() as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"{path}: cannot open the enrolments: {error}") from error

    def _connection(self) -> AbstractContextManager[sqlite3.Connection]:
        return opened(self._path)

    def add_invite(self, site: SiteId, token: str, *, now: datetime, expires: datetime) -> None:
        """Keep the hash of a new invite's token.

        Raises
        ------
        RefusedError
            The site is enrolled.
        """
        if any(each.site == site and each.revoked is None for each in self.sites()):
            raise RefusedError(
                f"{site} is enrolled already", hint=f"if it lost its keys: crosslot-coordinator revoke {site}"
            )
        with self._connection() as connection:
            connection.execute(
                "INSERT INTO invites VALUES (?, ?, ?, ?, NULL)",
                (token_sha256(token), site, instant(now), instant(expires)),
            )

    def enrol(self, request: EnrolmentRequest, certificate: bytes, *, now: datetime) -> None:
        """Use up the invite of the request's token and bind the site's keys and certificate together.

        Raises
        ------
        ProtocolError
            There is no such invite, it was used, has expired, or is another site's; or a key is in use already.
        """
        digest = token_sha256(request.token)
        try:
            with self._connection() as connection:
                connection.execute("BEGIN IMMEDIATE")
                row = connection.execute(
                    "SELECT site, expires, used FROM invites WHERE token_sha256 = ?", (digest,)
                ).fetchone()
                _check_invite(row, request.site, now)
                connection.execute("UPDATE invites SET used = ? WHERE token_sha256 = ?", (instant(now), digest))
                connection.execute(
                    "INSERT INTO sites (site, key, node_key, certificate_sha256, enrolled, certificate_ends, version) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        request.site,
                        request.key,
                        request.node_key.encode(),
                        fingerprint(certificate),
                        instant(now),
                        instant(expiry_of(certificate)),
                        request.version,
                    ),
                )
        except sqlite3.IntegrityError:
            raise ProtocolError(
                ErrorCode.WRONG_SITE, f"{request.site} is enrolled, or one of its keys belongs to another enrolment."
            ) from None

    def sites(self) -> tuple[EnrolledSite, ...]:
        """Return every enrolment, revoked ones too, by name and time."""
        with self._connection() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM sites ORDER BY site, enrolled").fetchall()  # noqa: S608 - constant names
        return tuple(_site_of(row) for row in rows)

    def enrolled(self) -> dict[SiteId, EnrolledSite]:
        """Return the sites that are enrolled now."""
        return {each.site: each for each in self.sites() if each.revoked is None}

    def by_certificate(self, certificate_sha256: Sha256) -> EnrolledSite | None:
        """Return the enrolment of a certificate, its first or a renewed one, revoked or not."""
        with self._connection() as connection:
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM sites WHERE certificate_sha256 = COALESCE("  # noqa: S608 - constant names
                "(SELECT first_sha256 FROM renewals WHERE certificate_sha256 = ?1), ?1)",
                (certificate_sha256,),
            ).fetchone()
        return None if row is None else _site_of(row)

    def invites(self) -> tuple[tuple[SiteId, Instant, Instant | None], ...]:
        """Return (site, expiry, when used) of every invite, oldest first."""
        with self._connection() as connection:
            return tuple(connection.execute("SELECT site, expires, used FROM invites ORDER BY made").fetchall())

    def revoke(self, site: SiteId, *, now: datetime) -> EnrolledSite:
        """Refuse a site from now on; its unused invites end too.

        Raises
        ------
        InputError
            No such site is enrolled.
        """
        enrolled = self.enrolled().get(site)
        with self._connection() as connection:
            connection.execute("UPDATE invites SET used = ? WHERE site = ? AND used IS NULL", (instant(now), site))
            if enrolled is not None:
                connection.execute(
                    "UPDATE sites SET revoked = ? WHERE certificate_sha256 = ?",
                    (instant(now), enrolled.certificate_sha256),
                )
        if enrolled is None:
            raise InputError(f"{site}: no such site is enrolled", hint="see: crosslot-coordinator sites")
        return enrolled

    def renew(self, site: EnrolledSite, certificate: bytes, *, now: datetime) -> None:
        """Believe a further certificate of an enrolled site, beside those it has."""
        with self._connection() as connection:
            connection.execute(
                "INSERT INTO renewals VALUES (?, ?, ?)",
                (fingerprint(certificate), site.certificate_sha256, instant(now)),
            )
            connection.execute(
                "UPDATE sites SET certificate_ends = ? WHERE certificate_sha256 = ?",
                (instant(expiry_of(certificate)), site.certificate_sha256),
            )

    def last_renewal(self, site: EnrolledSite) -> Instant | None:
        """Return when a certificate of an enrolment was last renewed."""
        with self._connection() as connection:
            (made,) = connection.execute(
                "SELECT MAX(made) FROM renewals WHERE first_sha256 = ?", (site.certificate_sha256,)
            ).fetchone()
        return made  # type: ignore[no-any-return]  # SQLite's rows have no types

    def saw(self, certificate_sha256: Sha256, *, now: datetime) -> None:
        """Keep when a site was last heard of."""
        with self._connection() as connection:
            connection.execute(
                "UPDATE sites SET last_seen = ? WHERE certificate_sha256 = ?", (instant(now), certificate_sha256)
            )

    def greeted(
        self, certificate_sha256: Sha256, *, version: str, flower: str, atlases: tuple[str, ...], state: str
    ) -> None:
        """Keep what a site said of itself."""
        with self._connection() as connection:
            connection.execute(
                "UPDATE sites SET version = ?, flower = ?, atlases = ?, state = ? WHERE certificate_sha256 = ?",
                (version, flower, " ".join(atlases), state, certificate_sha256),
            )


def works_with(site: EnrolledSite) -> bool:
    """Return whether the version that a site told last can work with the one that is installed here."""
    return compatible(version("crosslot"), site.version)


def make_invite(
    home: CoordinatorHome,
    enrolments: Enrolments,
    site: SiteId,
    *,
    token: str,
    now: datetime,
    valid_for: timedelta | None = None,
) -> Invite:
    """Return a new invite for ``site``, its token's hash kept."""
    settings = home.settings
    expires = now + (valid_for or timedelta(hours=settings.invite_hours))
    authority = home.authority
    invite = compose_invite(
        site=site,
        address=settings.address,
        token=token,
        authority_pem=authority.certificate,
        pair=issue_invite(authority, site, now, expires),
        coordinator=home.key.verifying_key,
        expires=instant(expires),
    )
    enrolments.add_invite(site, token, now=now, expires=expires)
    return invite


def accept(
    home: CoordinatorHome,
    enrolments: Enrolments,
    request: EnrolmentRequest,
    proof: bytes,
    *,
    presented: str,
    now: datetime,
) -> bytes:
    """Return the client certificate of a site that enrols.

    Parameters
    ----------
    presented : str
        The site that the invite's certificate on this connection names.

    Raises
    ------
    ProtocolError
        The proof does not hold, or the invite is not good.
    InputError
        A key or the certificate request is of another kind.
    """
    if request.site != presented:
        raise ProtocolError(ErrorCode.WRONG_SITE, f"The invite is for {presented}, the request for {request.site}.")
    check_proof(request, proof)
    check_node_key(request.node_key.encode())
    certificate = issue_site(home.authority, request.certificate_request.encode(), request.site, now)
    enrolments.enrol(request, certificate, now=now)
    return certificate


def _check_invite(row: tuple[str, Instant, Instant | None] | None, site: str, now: datetime) -> None:
    if row is None:
        raise ProtocolError(ErrorCode.UNKNOWN_SIGNER, "There is no such invite.")
    invited, expires, used = row
    if used is not None:
        raise ProtocolError(ErrorCode.REPLAYED, "The invite was used or withdrawn.")
    if time_of(expires) < now:
        raise ProtocolError(ErrorCode.EXPIRED, f"The invite ended {expires}.")
    if invited != site:
        raise ProtocolError(ErrorCode.WRONG_SITE, f"The invite is for {invited}.")


def _site_of(row: tuple[str, ...]) -> EnrolledSite:
    site, key, node_key, certificate, enrolled, ends, version, revoked, seen, atlases, state, flower = row
    return EnrolledSite(
        site=SiteId(site),
        key=key,
        node_key=bytes(node_key),  # type: ignore[arg-type]  # SQLite gives bytes for a BLOB
        certificate_sha256=Sha256(certificate),
        enrolled=enrolled,
        certificate_ends=ends,
        version=version,
        revoked=revoked,
        last_seen=seen,
        atlases=tuple(atlases.split()),
        state=state,
        flower=flower,
    )
