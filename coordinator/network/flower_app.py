"""The coordinator as a Flower ServerApp: rounds addressed to named nodes, opaque bytes in and out.

A round asks each site once, so many at a time: where one has answered the next is asked. A query's time runs from its
making, so none is made before its turn; an answer is kept when it comes, whatever becomes of the round.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from coordinator.collection import (
    CollectionEvent,
    OutgoingQuery,
    SiteState,
    compose_query,
    no_answer,
    receive,
    sites_that_refused,
    sites_to_ask,
)
from coordinator.evidence.checkpoints import countersign
from coordinator.store import Store
from protocol.errors import ErrorCode
from protocol.exchange import ANSWER, CODE, MESSAGE_TYPE, PLAN, QUERY, RECORD, REPORTS, TERMS
from protocol.identifiers import SiteId
from protocol.plan import StudyPlan
from protocol.roster import Believed, Roster
from protocol.signing import SigningKey

# Flower's 3, 4, 5: message, reply or node unavailable. The SuperLink says so itself, once a message's time is over.
_NOT_FROM_THE_SITE = frozenset({3, 4, 5})
_PAUSE_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class CollectionRun:
    """All that a collection needs, given from outside: keys, the store, the clock, the source of nonces.

    ``nodes`` are asked in their order, ``sites_at_once`` at a time, and none any more once ``may_ask`` says no.
    ``kept`` is called after each answer that was kept. ``keep_checkpoint`` is given, by a name of its own, each
    countersignature of where a site's ledger ended (SPEC 6.3).
    """

    study: Believed[StudyPlan]
    roster: Roster
    key: SigningKey
    store: Store
    nodes: Mapping[SiteId, int]
    clock: Callable[[], datetime]
    nonce: Callable[[], str]
    log: Callable[[str], None]
    rounds: int = 1
    reply_seconds: float = 3_600.0
    sites_at_once: int = 32
    may_ask: Callable[[], bool] = lambda: True
    wait: Callable[[float], None] = time.sleep
    kept: Callable[[], None] = lambda: None
    ask_refused: bool = False
    keep_checkpoint: Callable[[str, bytes], None] | None = None
    terms: bytes | None = None


class Carrier(Protocol):
    """What a round needs of a Flower grid."""

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages, and return the identifiers of those that were taken."""

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies to these messages that have come, each once."""


def make_server_app(run: CollectionRun) -> ServerApp:
    """Return the ServerApp that collects a study's reports into the store."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        del context
        for _ in range(run.rounds):
            asked = collect_round(run, grid)
            if not asked:
                return

    return app


def collect_round(run: CollectionRun, grid: Carrier) -> tuple[SiteId, ...]:
    """Ask every site that has not delivered, once; return who was asked."""
    study = run.study.message.study
    events = [CollectionEvent.from_line(line) for line in run.store.events(study)]
    asked_for = set(sites_to_ask(run.study.message.sites, events))
    if run.ask_refused:
        asked_for |= sites_that_refused(run.study.message.sites, events)
    waiting = deque(site for site in run.nodes if site in asked_for)
    number = max((event.round for event in events), default=0) + 1
    asked: list[SiteId] = []
    outstanding: dict[str, tuple[OutgoingQuery, float]] = {}
    waited = 0.0
    while outstanding or (waiting and run.may_ask()):
        while waiting and len(outstanding) < run.sites_at_once and run.may_ask():
            site = waiting.popleft()
            query = compose_query(run.study, run.key, site=site, round_number=number, now=run.clock(), nonce=run.nonce)
            asked.append(site)
            # One at a time: what Flower has only half been given is polled in vain.
            pushed = [each for each in grid.push_messages([_message(query, run.nodes[site], run)]) if each]
            if pushed:
                outstanding[pushed[0]] = query, waited
            else:
                _keep(run, query, None)
        replies = list(grid.pull_messages(list(outstanding))) if outstanding else []
        for reply in replies:
            answered, _at = outstanding.pop(reply.metadata.reply_to_message_id, (None, 0.0))
            if answered is not None:
                _keep(run, answered, reply)
        if outstanding:  # after replies too: each look costs the SuperLink as much as a site's answer does
            run.wait(_PAUSE_SECONDS)
            waited += _PAUSE_SECONDS
        # The SuperLink itself ends what is overdue; this is for a carrier that would stay silent for ever.
        late = [each for each, (_, at) in outstanding.items() if waited - at > run.reply_seconds + _PATIENCE_SECONDS]
        for identifier in late:
            _keep(run, outstanding.pop(identifier)[0], None)
    return tuple(asked)


def _message(query: OutgoingQuery, node: int, run: CollectionRun) -> Message:
    record = ConfigRecord({QUERY: query.envelope, PLAN: run.study.envelope})
    if run.terms:
        record[TERMS] = run.terms
    return Message(RecordDict({RECORD: record}), dst_node_id=node, message_type=MESSAGE_TYPE, ttl=run.reply_seconds)


def _keep(run: CollectionRun, query: OutgoingQuery, reply: Message | None) -> None:
    study = run.study.message.study
    answer, reports, code = _contents(reply)
    if answer is None:
        event = no_answer(query, run.clock(), code)
        run.log(f"{query.query.site}: {code.sentence if code else 'no answer'}")
    else:
        received = receive(
            run.study,
            run.roster,
            query,
            answer=answer,
            report_envelopes=reports,
            now=run.clock(),
            kept=run.store.reports(study) if reports else (),
        )
        # Verified reports are stored at once, before the event that says so: a crash between asks again, in vain.
        for report in received.reports:
            run.store.add(study, report)
        event = received.event
        if run.keep_checkpoint is not None and event.state is not SiteState.ANSWER_REJECTED:
            checkpoint = countersign(answer, run.roster, site=event.site, at=run.clock(), key=run.key)
            if checkpoint is not None:
                run.keep_checkpoint(f"{event.site}-{event.round}.json", checkpoint)
        run.log(
            f"{event.site}: {event.state}, {event.lots} lots" + (f" ({received.detail})" if received.detail else "")
        )
    run.store.append_event(study, event.to_line())
    run.kept()


def _contents(reply: Message | None) -> tuple[bytes | None, Sequence[bytes], ErrorCode | None]:
    """Return answer, reports and code as far as the reply has them in the right types; nothing is trusted."""
    if reply is None:
        return None, (), None
    if reply.has_error():
        return None, (), None if reply.error.code in _NOT_FROM_THE_SITE else ErrorCode.INTERNAL
    record = reply.content.get(RECORD)
    fields = record if isinstance(record, ConfigRecord) else ConfigRecord()
    code, answer, reports = fields.get(CODE), fields.get(ANSWER), fields.get(REPORTS, [])
    if isinstance(code, str) and code in set(ErrorCode):
        return None, (), ErrorCode(code)
    sealed = [report for report in reports if isinstance(report, bytes)] if isinstance(reports, list) else None
    if not isinstance(answer, bytes) or sealed is None or sealed != reports:
        return None, (), ErrorCode.INVALID_FIELD
    return answer, sealed, None
