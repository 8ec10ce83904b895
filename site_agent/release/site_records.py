"""What an agent must find again after a restart, besides airlock and ledger.

The queries that it took (SPEC 3.6: a replay is refused across restarts), the signed plan of each study that it was
asked about (the steward's review judges by it), and the steward's acceptance of a study's terms (SPEC 5.11). A site's
``home`` keeps them in its folder; simulations keep them in memory.
"""

from typing import Protocol

from protocol.identifiers import StudyId
from protocol.plan import StudyPlan
from protocol.queries import ReplayWindow
from protocol.roster import Believed


class SiteRecords(Protocol):
    """Where the agent keeps what outlives it; every change is durable when the call returns."""

    def taken(self) -> ReplayWindow:
        """Return the queries that were taken."""

    def keep_taken(self, window: ReplayWindow) -> None:
        """Keep the queries that were taken."""

    def keep_plan(self, plan: Believed[StudyPlan]) -> None:
        """Keep a study's signed plan; the latest counts."""

    def acceptance(self, study: StudyId) -> bytes | None:
        """Return the steward's signed acceptance of a study's terms, None where there is none."""


class MemoryRecords:
    """Records that live as long as the process."""

    def __init__(self) -> None:
        self.plans: dict[StudyId, bytes] = {}
        self.acceptances: dict[StudyId, bytes] = {}
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

    def acceptance(self, study: StudyId) -> bytes | None:
        """Return the steward's acceptance of a study's terms."""
        return self.acceptances.get(study)
