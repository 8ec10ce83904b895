"""Countersigning sites' ledgers: where a ledger ended, as its site's own signed answer says (SPEC 6.3).

Once countersigned, the site cannot cut or rewrite what stood in its ledger by then. The coordinator keeps a copy and
hands one to the site.
"""

from datetime import datetime

from protocol.codec import encode
from protocol.envelopes import PayloadType, seal
from protocol.identifiers import SiteId, instant
from protocol.ledger import Checkpoint, checkpoint_of
from protocol.roster import Roster, open_answer, open_from_coordinator
from protocol.signing import SigningKey, VerifyingKey


def countersign(answer: bytes, roster: Roster, *, site: SiteId, at: datetime, key: SigningKey) -> bytes | None:
    """Return the signed checkpoint of the ledger that a site's answer names; None where it names none.

    Parameters
    ----------
    answer
        The sealed answer as it came.
    roster, site
        Whose key is whose, and whose answer it is.
    at, key
        The time, and the coordinator's key.

    Raises
    ------
    ProtocolError
        If the site did not sign the answer.
    """
    said = open_answer(answer, roster, site).message
    if said.ledger is None or said.ledger.length == 0:
        return None
    checkpoint = checkpoint_of(said.ledger, study=said.study, site=site, at=instant(at))
    return seal(encode(checkpoint), PayloadType.CHECKPOINT, key)


def open_checkpoint(data: bytes, coordinator: VerifyingKey) -> Checkpoint:
    """Return a checkpoint that the coordinator signed.

    Raises
    ------
    ProtocolError
        If the coordinator did not sign it, or it is no checkpoint.
    """
    return open_from_coordinator(data, Checkpoint, PayloadType.CHECKPOINT, coordinator).message
