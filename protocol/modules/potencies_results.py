"""Several potencies side by side: each endpoint is a family of its own, and what holds over all of them together."""

from typing import Annotated

from pydantic import Field

from protocol.identifiers import EndpointSlug, Label
from protocol.message import Message

_Rho = Annotated[float, Field(ge=-1.0000001, le=1.0000001)] | None
_P = Annotated[float, Field(gt=0, le=1)] | None


class PotencyCell(Message):
    """One cluster against one endpoint; ``p_adjusted`` is within it (max-T), ``p_holm`` over all tests (Holm)."""

    endpoint: EndpointSlug
    cluster: Label
    rho: _Rho
    p_adjusted: _P
    p_holm: _P
    significant: bool  # within its endpoint, as in the associations


class PotencyPair(Message):
    """How two potencies go together over the units that have both, within strata: not tested, for the reader."""

    endpoints: tuple[EndpointSlug, EndpointSlug]
    rho: _Rho
    n_units: Annotated[int, Field(ge=0)]


class PotenciesResults(Message):
    """The map of clusters by potencies, endpoints in the plan's order, clusters in the atlas's.

    ``families_tested`` are the endpoints that could be answered, each corrected for itself; ``tests`` counts all
    clusters of all of them, over which ``p_holm`` is corrected.
    """

    families_tested: Annotated[int, Field(ge=0)]
    tests: Annotated[int, Field(ge=0)]
    cells: tuple[PotencyCell, ...]
    pairs: tuple[PotencyPair, ...] = ()
