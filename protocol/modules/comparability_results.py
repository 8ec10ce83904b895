"""What a study's results hold on comparability: aggregates only (SPEC 8.4)."""

from protocol.identifiers import EndpointSlug
from protocol.message import Message
from shared.comparability.findings import Findings


class ComparabilityResults(Message):
    """The comparison of the lots before and after the change, by the potency of one endpoint."""

    endpoint: EndpointSlug
    findings: Findings
