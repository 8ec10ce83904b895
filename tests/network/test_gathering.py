"""The grid that gathers replies: no reply waits for the parts of another, and none is asked for twice."""

import time
from collections.abc import Iterator

import pytest
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    ConfirmMessageReceivedResponse,
    PullObjectRequest,
    PullObjectResponse,
)
from flwr.proto.runtime_pb2 import PullAppMessagesRequest, PullAppMessagesResponse
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from coordinator.network import superlink
from coordinator.network.superlink import GatheringGrid


class PaperRuntime:
    """Announces replies as the SuperLink does, each once, and gives their parts when they are there."""

    def __init__(self) -> None:
        self.replies: dict[str, Message] = {}
        self.late: set[str] = set()
        self.lost: set[str] = set()
        self.confirmed: list[str] = []
        self._announced: set[str] = set()
        self._parts: dict[str, tuple[str, bytes]] = {}

    def answer(self, question: Message, text: str) -> str:
        """Take a reply to a question; return the question's identifier."""
        reply = Message(RecordDict({"r": ConfigRecord({"text": text})}), reply_to=question)
        reply.metadata.__dict__["_message_id"] = reply.object_id
        asked = question.metadata.message_id
        self.replies[asked] = reply
        for identifier, part in get_all_nested_objects(reply).items():
            self._parts[identifier] = asked, part.deflate()
        return asked

    def PullMessages(self, request: PullAppMessagesRequest) -> PullAppMessagesResponse:  # noqa: N802 - Flower's name
        asked = set(request.message_ids)
        assert not asked & self._announced, "Flower would give an error for what it announced before"
        told = [self.replies[each] for each in request.message_ids if each in self.replies]
        self._announced |= asked & set(self.replies)
        return PullAppMessagesResponse(
            messages_list=[message_to_proto(remove_content_from_message(reply)) for reply in told],
            message_object_trees=[get_object_tree(reply) for reply in told],
        )

    def PullObject(self, request: PullObjectRequest) -> PullObjectResponse:  # noqa: N802 - Flower's name
        asked, content = self._parts[request.object_id]
        if asked in self.lost:
            return PullObjectResponse(object_found=False, object_available=False)
        there = asked not in self.late
        return PullObjectResponse(object_found=True, object_available=there, object_content=content if there else b"")

    def ConfirmMessageReceived(  # noqa: N802 - Flower's name
        self, request: ConfirmMessageReceivedRequest
    ) -> ConfirmMessageReceivedResponse:
        self.confirmed.append(request.message_object_id)
        return ConfirmMessageReceivedResponse()

    def close(self) -> None:
        """End, as a client does."""


@pytest.fixture
def runtime() -> PaperRuntime:
    return PaperRuntime()


@pytest.fixture
def grid(runtime: PaperRuntime, monkeypatch: pytest.MonkeyPatch) -> Iterator[GatheringGrid]:
    monkeypatch.setattr(superlink, "_PARTS_FIRST_PAUSE_SECONDS", 0.01)
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)
    made = GatheringGrid("127.0.0.1:1", certificate=b"", token="a token")  # noqa: S106 - of nothing
    made._client = runtime  # type: ignore[assignment]  # stands in with the three calls that a grid makes
    made.set_run(Run.create_empty(run_id=1))
    yield made
    made.close()


def question(node: int) -> Message:
    asked = Message(RecordDict({"q": ConfigRecord({"node": node})}), dst_node_id=node, message_type="query.x")
    asked.metadata.__dict__["_message_id"] = asked.object_id
    return asked


def pulled(grid: GatheringGrid, waiting: list[str], number: int) -> dict[str, Message]:
    """Return so many replies, by the questions that they answer; the waiting is bounded."""
    came: dict[str, Message] = {}
    end = time.monotonic() + 20
    while len(came) < number and time.monotonic() < end:
        left = [each for each in waiting if each not in came]
        came |= {reply.metadata.reply_to_message_id: reply for reply in grid.pull_messages(left)}
        time.sleep(0.01)
    return came


def text_of(reply: Message) -> object:
    record = reply.content["r"]
    assert isinstance(record, ConfigRecord)
    return record["text"]


def test_a_reply_whose_parts_are_late_holds_no_other(grid: GatheringGrid, runtime: PaperRuntime) -> None:
    late, *others = [runtime.answer(question(node), f"of {node}") for node in range(1, 5)]
    runtime.late.add(late)
    came = pulled(grid, [late, *others], 3)
    assert {key: text_of(reply) for key, reply in came.items()} == {
        each: f"of {node}" for node, each in enumerate(others, start=2)
    }
    runtime.late.clear()
    assert text_of(pulled(grid, [late], 1)[late]) == "of 1"
    assert sorted(runtime.confirmed) == sorted(reply.object_id for reply in runtime.replies.values())


def test_parts_that_never_come_end_as_a_reply_that_is_not_there(
    grid: GatheringGrid, runtime: PaperRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(superlink, "_PARTS_SECONDS", 0.05)
    never, lost = runtime.answer(question(1), "never"), runtime.answer(question(2), "lost")
    runtime.late.add(never)
    runtime.lost.add(lost)
    came = pulled(grid, [never, lost], 2)
    assert {key: reply.error.code for key, reply in came.items()} == {
        never: ErrorCode.MESSAGE_UNAVAILABLE,
        lost: ErrorCode.MESSAGE_UNAVAILABLE,
    }
    assert runtime.confirmed == []


def test_what_nobody_answered_yet_is_waited_for_without_an_answer(grid: GatheringGrid) -> None:
    assert grid.pull_messages([question(1).metadata.message_id]) == []
    assert grid.pull_messages([]) == []
