"""The site as a Flower ClientApp: opaque bytes to the agent and back; nothing else of the run is looked at.

SPEC 2.6: no text of an exception leaves. Whatever fails is answered with a catalogued code.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from protocol.errors import ErrorCode
from protocol.exchange import ACTION, ANSWER, CODE, PLAN, QUERY, RECORD, REPORTS, TERMS, Ask, BareCode, Reply


class Answering(Protocol):
    """What answers behind the app: an agent."""

    def answer(self, ask: Ask, now: datetime) -> Reply | BareCode:
        """Return the answer to what the coordinator sent, at the given time."""


def make_client_app(agent: Answering, *, clock: Callable[[], datetime], log: Callable[[str], None]) -> ClientApp:
    """Return the ClientApp through which ``agent`` answers."""
    app = ClientApp()

    @app.query(ACTION)
    def collect(message: Message, context: Context) -> Message:
        del context
        try:
            record = _answer(agent, message, clock())
        except Exception as error:  # noqa: BLE001 - the last line of defence: a code leaves, never the exception
            log(f"internal fault: {type(error).__name__}: {error}")
            record = ConfigRecord({CODE: ErrorCode.INTERNAL.value})
        return Message(RecordDict({RECORD: record}), reply_to=message)

    return app


def _answer(agent: Answering, message: Message, now: datetime) -> ConfigRecord:
    asked = message.content.get(RECORD)
    query, plan = (asked.get(QUERY), asked.get(PLAN)) if isinstance(asked, ConfigRecord) else (None, None)
    if not isinstance(query, bytes) or not isinstance(plan, bytes):
        return ConfigRecord({CODE: ErrorCode.MISSING_FIELD.value})
    terms = asked.get(TERMS) if isinstance(asked, ConfigRecord) else None
    reply = agent.answer(Ask(query=query, plan=plan, terms=terms if isinstance(terms, bytes) else None), now)
    if isinstance(reply, BareCode):
        return ConfigRecord({CODE: reply.code.value})
    return ConfigRecord({ANSWER: reply.answer, REPORTS: list(reply.reports)})
