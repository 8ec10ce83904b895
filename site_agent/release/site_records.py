"""What an agent must find again after a restart, besides airlock and ledger.

The queries that it took (SPEC 3.6: a replay is refused across restarts), the signed plan of each study that it was
asked about (the steward's review judges by it), the steward's acceptance of a study's terms (SPEC 5.11), and which lots
were held back and why, by a disclosure rule or by the study's quality limits: they never reach the airlock, and the
steward is told of them here. A site's ``home`` keeps them in its folder; simulations keep them in memory.
"""

from enum import StrEnum
from typing import Annotated, Literal, Protocol

from pydantic import Field

from protocol.identifiers import Instant, LotPseudonym, StudyId, StudySlug
from protocol.message import Message
from protocol.plan import StudyPlan
from protocol.queries import ReplayWindow
from protocol.roster import Believed


class HeldBackBy(StrEnum):
    """What held a lot back."""

    RULE = "disclosure rule"
    QUALITY = "quality limits of the study"


class HeldBackLot(Message):
    """A lot whose report a disclosure rule fails, or that the study's quality limits do not admit."""

    lot: LotPseudonym
    by: HeldBackBy = HeldBackBy.RULE
    reasons: Annotated[tuple[str, ...], Field(min_length=1)]


class HeldBack(Message):
    """The lots of a study that were held back when the site was last asked; it stays at the site."""

    schema_id: Literal["crosslot.held-back/1"] = Field(default="crosslot.held-back/1", alias="schema")
    study: StudySlug
    at: Instant
    lots: tuple[HeldBackLot, ...]


class SiteRecords(Protocol):
    """Where the agent keeps what outlives it; every change is durable when the call returns."""

    def taken(self) -> ReplayWindow:
        """Return the queries that were taken."""

    def keep_taken(self, window: ReplayWindow) -> None:
        """Keep the queries that were taken."""

    def keep_plan(self, plan: Believed[StudyPlan]) -> None:
        """Keep a study's signed plan; the latest counts."""

    def keep_terms(self, study: StudyId, terms: bytes) -> None:
        """Keep the document of a study's terms, for the steward to read."""

    def acceptance(self, study: StudyId) -> bytes | None:
        """Return the steward's signed acceptance of a study's terms, None where there is none."""

    def keep_held_back(self, held_back: HeldBack) -> None:
        """Keep which lots of a study were held back; the latest counts."""


class MemoryRecords:
    """Records that live as long as the process."""

    def __init__(self) -> None:
        self.plans: dict[StudyId, bytes] = {}
        self.acceptances: dict[StudyId, bytes] = {}
        self.held_back: dict[StudyId, HeldBack] = {}
        self.terms: dict[StudyId, bytes] = {}
        self._window = ReplayWindow()

    def taken(self) -> ReplayWindow:
        """Return the queries that were taken."""
        return self._window

    def keep_taken(self, window: ReplayWindow) -> None:
        """Keep the queries that were taken."""
        self._window = window

    def keep_plan(self, plan: Believed[StudyPlan]) -> None:
        """Keep a study's signed plan."""
        self.plans[plan.message.study] = plan.envelope

    def keep_terms(self, study: StudyId, terms: bytes) -> None:
        """Keep the document of a study's terms."""
        self.terms[study] = terms

    def acceptance(self, study: StudyId) -> bytes | None:
        """Return the steward's acceptance of a study's terms."""
        return self.acceptances.get(study)

    def keep_held_back(self, held_back: HeldBack) -> None:
        """Keep which lots of a study were held back."""
        self.held_back[held_back.study] = held_back
