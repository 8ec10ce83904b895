"""What a study's results hold on comparability: aggregates only (SPEC 8.4)."""

from protocol.identifiers import EndpointSlug
from protocol.message import Message
from shared.comparability.findings import Findings, ReferenceRanges


class ComparabilityResults(Message):
    """The comparison of the lots before and after the change, by the potency of one endpoint.

    ``ranges`` are those of the lots before over all sites: a site holds lots of its own against them.
    """

    endpoint: EndpointSlug
    findings: Findings
    ranges: ReferenceRanges | None = None
