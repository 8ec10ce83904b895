"""What a source of reports offers to the airlock: a report, and what it was made of; and which lots have none."""

from dataclasses import dataclass

from protocol.identifiers import Pseudonym
from protocol.report import LotReport
from site_agent.release.decisions import Provenance


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A report that a site could release.

    Attributes
    ----------
    report
        What would leave.
    provenance
        By it the lot and its cells are known again, in any study and under any atlas; None where that is not known.
    """

    report: LotReport
    provenance: Provenance | None = None


@dataclass(frozen=True, kw_only=True)
class NotOffered:
    """A lot that the study's quality limits do not admit: it has no report.

    Attributes
    ----------
    lot
        Its pseudonym in the study.
    reasons
        Why, for the site's own people.
    """

    lot: Pseudonym
    reasons: tuple[str, ...]
