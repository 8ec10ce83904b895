"""A Flower Grid in this process: no Ray, no socket, and every message through Flower's own wire encoding.

Each message is deflated into Flower's content-addressed objects and inflated again on the way to the node and on the
way back, so a value that could not cross a real network fails here too. This module and the two ``network.flower_app``
modules are the only ones that know Flower; private names of flwr 1.41 are imported here alone, and
``tests/simulations/test_grid.py`` is their contract test.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from shared.errors import InternalError

OnReply = Callable[[int], None]


def over_the_wire(message: Message) -> Message:
    """Return the message as its receiver would see it: encoded to bytes by Flower and decoded again."""
    object_id = message.object_id
    contents = {key: item.deflate() for key, item in get_all_nested_objects(message).items()}
    received = inflate_object_from_contents(object_id, contents)
    if not isinstance(received, Message):
        raise InternalError(f"Flower decoded a {type(received).__name__} where a Message was sent")
    received.metadata.__dict__["_message_id"] = object_id
    return received


class InProcessGrid(Grid):
    """Nodes are ClientApps of this process, each with its own context; a node that raises answers with an error."""

    def __init__(self, nodes: Mapping[int, ClientApp], *, on_reply: OnReply | None = None) -> None:
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
        self._nodes = dict(nodes)
        self._contexts = {
            node_id: Context(run_id=1, node_id=node_id, node_config={}, state=RecordDict(), run_config={})
            for node_id in self._nodes
        }
        self._replies: dict[str, Message] = {}
        self._on_reply = on_reply

    def set_run(self, run: Run) -> NoReturn:
        """Refuse: there is one run, in this process."""
        raise InternalError(f"an in-process grid has one run of its own; found {run}")

    @property
    def run(self) -> NoReturn:
        """Refuse: nothing here asks for Flower's run record."""
        raise InternalError("an in-process grid keeps no run record")

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Return a message to ``dst_node_id``."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """Return the nodes' identifiers."""
        return list(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Deliver each message, run its node at once, and keep the reply."""
        identifiers = []
        for message in messages:
            received = over_the_wire(message)
            node_id = received.metadata.dst_node_id
            identifier = received.metadata.message_id
            identifiers.append(identifier)
            try:
                reply = self._nodes[node_id](received, self._contexts[node_id])
            except Exception as error:  # noqa: BLE001 - Flower itself answers so for a node that raises
                reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, type(error).__name__), reply_to=received)
            self._replies[identifier] = over_the_wire(reply)
            if self._on_reply is not None:
                self._on_reply(node_id)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the replies that have come to these messages, each once."""
        return [self._replies.pop(identifier) for identifier in list(message_ids) if identifier in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Push and pull; in one process nothing is left to wait for, so ``timeout`` has no use."""
        del timeout
        return self.pull_messages(self.push_messages(messages))
