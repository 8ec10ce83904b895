"""A steward's decisions that stand for a lot, whatever its report: clusters withheld, and lots offered again.

Both are signed. A lot that was refused is offered again only by a signature that holds: where a study's releases leave
unseen, one that was slipped into the log would undo a person's refusal. Clusters that are withheld only make less
leave; of them the latest decision counts, and ``crosslot-site log verify`` looks at all signatures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from protocol.errors import ProtocolError
from protocol.identifiers import Pseudonym, SiteId, StudyId
from protocol.signing import VerifyingKey
from shared.errors import RefusedError
from site_agent.release.airlock_events import check_signed, is_a_persons
from site_agent.release.decisions import AirlockEvent, EventKind


@dataclass
class StandingDecisions:
    """The decisions of a steward so far, oldest first, and what of them stands for a lot."""

    events: list[AirlockEvent] = field(default_factory=list)
    _withheld: dict[tuple[StudyId, Pseudonym], frozenset[int]] = field(default_factory=dict)

    def enter(self, event: AirlockEvent) -> None:
        """Take in what happened."""
        if is_a_persons(event):
            self.events.append(event)
        if event.kind is EventKind.WITHHELD:
            self._withheld[event.study, event.lot] = frozenset(event.clusters)

    def withheld(self, study: StudyId, lot: Pseudonym) -> frozenset[int]:
        """Return the positions of the clusters that are withheld of a lot."""
        return self._withheld.get((study, lot), frozenset())

    def times_offered_again(self, study: StudyId, lot: Pseudonym, site: SiteId, steward: VerifyingKey | None) -> int:
        """Return how often the steward let a refused lot be offered again, by a signature that holds."""
        about = (each for each in self.events if each.kind is EventKind.OFFERED_AGAIN)
        return sum((each.study, each.lot) == (study, lot) and _holds(each, site, steward) for each in about)


def verify_decisions(events: Sequence[AirlockEvent], site: SiteId, steward: VerifyingKey) -> int:
    """Return how many decisions the steward has signed, if every one in the airlock is.

    Raises
    ------
    RefusedError
        At the first that the steward's key did not sign as it stands.
    """
    for number, event in enumerate(events):
        try:
            check_signed(event, site, steward)
        except ProtocolError as error:
            raise RefusedError(
                f"decision {number} in the airlock, {event.kind.value} at {event.at}: {error}",
                hint="someone else wrote it, or changed it: keep this copy as evidence",
            ) from None
    return len(events)


def _holds(event: AirlockEvent, site: SiteId, steward: VerifyingKey | None) -> bool:
    if steward is None:
        return False
    try:
        check_signed(event, site, steward)
    except ProtocolError:
        return False
    return True
