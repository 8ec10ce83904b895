"""Contract of the in-process Grid with flwr 1.41: what crosses is what Flower could carry."""

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from simulations.grid import InProcessGrid


def echoing_app(seen: list[bytes]) -> ClientApp:
    app = ClientApp()

    @app.query("echo")
    def echo(message: Message, context: Context) -> Message:
        del context
        body = message.content["body"]
        assert isinstance(body, ConfigRecord)
        seen.append(bytes(body["bytes"]))  # type: ignore[arg-type]  # a ConfigRecord value is a union
        return Message(RecordDict({"body": ConfigRecord({"bytes": bytes(body["bytes"])[::-1]})}), reply_to=message)  # type: ignore[arg-type]  # the same

    return app


def raising_app() -> ClientApp:
    app = ClientApp()

    @app.query("echo")
    def fail(message: Message, context: Context) -> Message:
        raise ValueError("/data/secret-lot-7.h5ad holds 12 cells")

    return app


def query(node: int, body: bytes) -> Message:
    return Message(RecordDict({"body": ConfigRecord({"bytes": body})}), dst_node_id=node, message_type="query.echo")


def test_bytes_cross_both_ways_unchanged() -> None:
    seen: list[bytes] = []
    grid = InProcessGrid({7: echoing_app(seen)})
    (reply,) = grid.send_and_receive([query(7, b"\x00abc\xff")])
    body = reply.content["body"]
    assert isinstance(body, ConfigRecord)
    assert seen == [b"\x00abc\xff"]
    assert body["bytes"] == b"\xffcba\x00"


def test_a_node_that_raises_answers_with_an_error_that_names_no_text() -> None:
    (reply,) = InProcessGrid({1: raising_app()}).send_and_receive([query(1, b"x")])
    assert reply.has_error()
    assert "secret" not in str(reply.error.reason)


def test_each_reply_is_pulled_once() -> None:
    grid = InProcessGrid({1: echoing_app([])})
    identifiers = grid.push_messages([query(1, b"x")])
    assert len(grid.pull_messages(identifiers)) == 1
    assert grid.pull_messages(identifiers) == []


def test_two_hundred_nodes_answer_in_one_round() -> None:
    grid = InProcessGrid({node: echoing_app([]) for node in range(1, 201)})
    replies = grid.send_and_receive([query(node, b"%d" % node) for node in range(1, 201)])
    assert sorted(reply.metadata.src_node_id for reply in replies) == list(range(1, 201))


def test_what_flower_cannot_carry_fails_here_too() -> None:
    with pytest.raises(TypeError):
        ConfigRecord({"bytes": object()})  # type: ignore[dict-item]  # the point of the test
