"""What waits is read from the SuperLink's own tables: the contract with flwr 1.41, and that doubt passes a poll on."""

import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID, SUPERLINK_NODE_ID
from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.server.superlink.linkstate import LinkState
from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.config_loader import get_federation_manager, get_objectstore_linkstate_factories

from coordinator.network.admission import Refusal
from coordinator.network.gateway import Gateway, GatewayParts
from coordinator.network.waiting import NOTHING, POLL_PATH, Waiting
from protocol.identifiers import SiteId
from tests.network.conftest import LiveGateway
from tests.network.test_gateway import relay_request

KEY, OTHER = b"-----the key of one node-----", b"-----the key of another-----"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[LinkState]:
    _, factory = get_objectstore_linkstate_factories(
        str(tmp_path / "superlink.db"), get_federation_manager(is_simulation=False)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Flower's migrations against a newer alembic
        made = factory.state()
    yield made
    for holder in (made, made.object_store):
        holder._engine.dispose()  # type: ignore[union-attr]  # as at the end of a SuperLink's process


def test_a_message_that_flower_stored_is_seen_until_flower_handed_it_out(
    state: LinkState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    said: list[str] = []
    node = state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, KEY, 30)
    state.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, OTHER, 30)
    assert state.activate_node(node, 30)
    waiting = Waiting(tmp_path / "superlink.db", said.append, clock=lambda: now[0])
    assert not waiting.may_wait(KEY)

    run = state.create_run(None, None, "", {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP)
    for name, value in {"_run_id": run, "_node_id": SUPERLINK_NODE_ID, "_task_id": 1}.items():
        monkeypatch.setattr(TaskIdentity, name, value)
    message = Message(RecordDict({"r": ConfigRecord({"a": 1})}), dst_node_id=node, message_type="query.x", ttl=60)
    message.metadata.__dict__["_message_id"] = message.object_id
    assert state.store_message_ins(message) == message.object_id
    assert not waiting.may_wait(KEY)  # a look is good for a quarter of a second
    now[0] += 0.25
    assert waiting.may_wait(KEY)
    assert not waiting.may_wait(OTHER)

    assert len(state.get_message_ins(node, limit=1)) == 1
    now[0] += 0.25
    assert not waiting.may_wait(KEY)
    assert said == []


def test_what_cannot_be_read_may_wait_and_is_told_once(tmp_path: Path) -> None:
    now, said = [0.0], list[str]()
    database = tmp_path / "superlink.db"
    waiting = Waiting(database, said.append, clock=lambda: now[0])
    assert waiting.may_wait(KEY)
    now[0] += 1
    assert waiting.may_wait(KEY)
    assert len(said) == 1
    assert not database.exists()  # a look makes nothing

    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE message_ins (another_shape TEXT)")
    now[0] += 1
    assert waiting.may_wait(KEY)


def test_only_a_poll_for_which_nothing_waits_is_answered_at_the_gateway(gateway: LiveGateway) -> None:
    now, said = [0.0], list[str]()
    site = gateway.join("kyoto")
    enrolled = gateway.enrolments.enrolled()[SiteId("kyoto")]
    upstream = httpx.Client(transport=httpx.MockTransport(gateway.superlink.handle), base_url="https://superlink")
    parts = GatewayParts(
        home=gateway.home,
        enrolments=gateway.enrolments,
        superlink=gateway.superlink,  # type: ignore[arg-type]  # stands in with the one method that a gateway calls
        upstream=upstream,
        clock=gateway.clock,
        log=said.append,
        waiting=Waiting(gateway.home.superlink_database, said.append, clock=lambda: now[0]),
    )
    answering = Gateway(parts)
    with closing(sqlite3.connect(gateway.home.superlink_database)) as connection, connection:
        connection.execute("CREATE TABLE node (node_id INTEGER, public_key BLOB)")
        connection.execute(
            "CREATE TABLE message_ins (dst_node_id INTEGER, delivered_at TEXT, created_at REAL, ttl REAL)"
        )
        connection.execute("INSERT INTO node VALUES (7, ?)", (enrolled.node_key,))
        connection.execute("INSERT INTO message_ins VALUES (7, '', ?, 60)", (time.time() - 61,))  # its time is over

    polled = answering.relay(relay_request(site, signature="s1"), enrolled)
    assert (polled.status, polled.body, polled.content_type) == (200, NOTHING, "application/x-protobuf")
    with pytest.raises(Refusal, match="replayed"):
        answering.relay(relay_request(site, signature="s1"), enrolled)
    assert gateway.superlink.calls == []

    answering.relay(relay_request(site, path="/v1/fleet/send-node-heartbeat", signature="s2"), enrolled)
    with closing(sqlite3.connect(gateway.home.superlink_database)) as connection, connection:
        connection.execute("INSERT INTO message_ins VALUES (7, '', ?, 60)", (time.time(),))
    now[0] += 1
    assert answering.relay(relay_request(site, signature="s3"), enrolled).body == b"reply"
    assert [call.url.path for call in gateway.superlink.calls] == ["/v1/fleet/send-node-heartbeat", POLL_PATH]
    upstream.close()


def test_nothing_waits_is_said_in_flowers_own_words() -> None:
    assert PullMessagesResponse().SerializeToString() == NOTHING
