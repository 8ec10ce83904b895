"""Tables and documents of sites and collections: whose turn it is, and why."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any, Final

from coordinator.collection import SiteState
from coordinator.network.collecting import Collecting
from coordinator.network.enrolment import EnrolledSite, Enrolments, works_with
from protocol.identifiers import SiteId, time_of

SITE_COLUMNS: Final = ("site", "state", "last seen", "version", "atlases", "signing key")
COLLECTION_COLUMNS: Final = ("site", "state", "whose turn", "lots", "round", "contact", "why")
_QUIET: Final = timedelta(minutes=5)
# What a site may say of itself when it greets, and whose turn it then is.
_TOLD: Final = {"disk-full": ("disk-full: the site has no room for its answer; it makes room", "site")}


def site_rows(enrolments: Enrolments, now: datetime) -> Sequence[Sequence[str]]:
    """Return the rows of the table of sites."""
    rows = [
        (
            each.site,
            _state_of(each),
            _contact(each, now),
            each.version,
            ", ".join(atlas[:8] for atlas in each.atlases),
            each.key[:16],
        )
        for each in enrolments.sites()
    ]
    open_invites = [(site, expires) for site, expires, used in enrolments.invites() if used is None]
    rows += [
        (site, "invited" if time_of(expires) >= now else "invite expired", f"until {expires}", "", "", "")
        for site, expires in open_invites
    ]
    return rows


def as_documents(enrolments: Enrolments, now: datetime) -> list[Mapping[str, Any]]:
    """Return the table of sites as JSON."""
    return [dict(zip(SITE_COLUMNS, row, strict=True)) for row in site_rows(enrolments, now)]


def collection_rows(standing: Collecting, now: datetime) -> Sequence[Sequence[str]]:
    """Return a row for each site of a study: where it stands, and who must act next."""
    rows = []
    for site, event in standing.events.items():
        state = SiteState.NOT_ASKED if event is None else event.state
        code = None if event is None else event.code
        enrolled = standing.enrolled.get(site)
        why, turn = (code.sentence if code else ""), state.whose_turn
        if state not in {SiteState.DELIVERED, SiteState.REFUSED}:
            why, turn = _hindrance(site, enrolled, now) or (why, turn)
        rows.append(
            (
                site,
                state.value,
                turn,
                str(event.lots) if event else "0",
                str(event.round) if event else "",
                _contact(enrolled, now),
                why,
            )
        )
    return rows


def collection_document(standing: Collecting, now: datetime) -> Mapping[str, Any]:
    """Return a collection as JSON; codes besides the sentences."""
    return {
        "study": standing.study,
        "complete": standing.complete,
        "sites": [
            {
                **dict(zip(COLLECTION_COLUMNS, row, strict=True)),
                "code": event.code if event is not None and event.code is not None else None,
            }
            for row, event in zip(collection_rows(standing, now), standing.events.values(), strict=True)
        ],
    }


def _hindrance(site: SiteId, enrolled: EnrolledSite | None, now: datetime) -> tuple[str, str] | None:
    """Return what keeps a site from answering, as far as the coordinator can see, and whose turn it is."""
    if enrolled is None:
        return f"Not enrolled: crosslot-coordinator invite {site}", "coordinator"
    if enrolled.last_seen is None or now - time_of(enrolled.last_seen) > _QUIET:
        return "No contact: the site runs crosslot-site serve, or crosslot-site doctor", "site"
    if not works_with(enrolled):
        own = version("crosslot")
        say = f"version-mismatch: the site has {enrolled.version}, here is {own}; it answers once both are the same"
        return say, "site and coordinator"
    return _TOLD.get(enrolled.state)


def _state_of(site: EnrolledSite) -> str:
    if site.revoked is not None:
        return f"revoked {site.revoked}"
    troubles = ["version-mismatch"] if not works_with(site) else []
    troubles += [site.state] if site.state in _TOLD else []
    return ", ".join(["enrolled", *troubles])


def _contact(site: EnrolledSite | None, now: datetime) -> str:
    if site is None:
        return "never"
    if site.last_seen is None:
        return "not since it enrolled"
    seconds = max(0, int((now - time_of(site.last_seen)).total_seconds()))
    return f"{seconds} s ago" if seconds < 120 else f"{seconds // 60} min ago"  # noqa: PLR2004 - two minutes
