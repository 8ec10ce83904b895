"""What a source of reports offers to the airlock: a report, and what it was made of."""

from dataclasses import dataclass

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
