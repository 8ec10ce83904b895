"""The one module of the coordinator that knows Flower's inner names (flwr 1.41): nodes, runs, tasks, the grid.

The SuperLink listens on loopback only and runs nothing itself (``--isolation process``): the coordinator starts a run
whose bundle holds no code, takes the run's task, and uses it as a way to send and receive. A contract test
(``tests/network/test_superlink.py``) holds these names.
"""

import os
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
from flwr.app import Error, Message
from flwr.app.message import make_message
from flwr.cli.build import build_fab_from_files
from flwr.common.constant import ErrorCode, SubStatus
from flwr.common.serde import message_from_proto, run_from_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    RegisterNodeRequest,
    StartRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.fab_pb2 import Fab
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree
from flwr.proto.message_pb2 import Message as WireMessage
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    PushTaskOutputRequest,
)
from flwr.serverapp import Grid
from flwr.supercore.constant import TaskType
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import ObjectPullError, inflate_object_from_contents, pull_objects
from flwr.supercore.interceptors import (
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.run import RunNotRunningException
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid

from coordinator.databases import no_room_at
from coordinator.home import CoordinatorHome
from protocol.exchange import BUNDLE
from shared.errors import CrosslotError, InputError, InternalError, NoRoomError
from shared.runtime.files import MAKE_ROOM
from shared.runtime.processes import no_proxy_on_loopback

_TASK_SECONDS: Final = 60.0
_GONE_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.2
_AT_ONCE: Final = 8
_PARTS_SECONDS: Final = 60.0
_PARTS_FIRST_PAUSE_SECONDS: Final = 0.5
_PARTS_LONGEST_PAUSE_SECONDS: Final = 2.0
_ACQUIRE: Final = "/flwr.proto.Runtime/AcquireTask"


def bundle(files: Mapping[str, str] = BUNDLE) -> bytes:
    """Return the bundle of a run: a project file that names the installed package, and no code.

    Other ``files`` are for tests that act as a hostile coordinator.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Flower against a newer pathspec; not ours to mend
        return build_fab_from_files({name: text.encode() for name, text in files.items()})[0]


class RoundBrokenError(CrosslotError):
    """The SuperLink went away during a round; what had come is kept, and the round may be repeated."""


class GatheringGrid(HttpGrid):
    """A grid that waits for no single reply.

    The SuperLink announces a reply before its parts are there. Flower's own grid then sleeps a second and more for each
    in turn; this one fetches the parts of several replies at once, and gives those out that are whole.
    """

    def __init__(self, address: str, *, certificate: bytes, token: str) -> None:
        super().__init__(address, insecure=False, root_certificates=certificate, token=token)
        self._retry_invoker.max_time = _GONE_SECONDS  # Flower would try for ever
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="reply")
        self._gathering: dict[str, Future[Message]] = {}

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the replies to these messages that are whole by now, each once."""
        # A reply is announced once: to ask again for what is being fetched would give an error in its place.
        asked = [identifier for identifier in message_ids if identifier not in self._gathering]
        if asked:
            told = self._runtime_client.PullMessages(PullAppMessagesRequest(message_ids=asked))
            for announced, tree in zip(told.messages_list, told.message_object_trees, strict=True):
                replied_to = announced.metadata.reply_to_message_id
                self._gathering[replied_to] = self._pool.submit(self._gather, announced, tree)
        whole = [identifier for identifier, reply in self._gathering.items() if reply.done()]
        return [self._gathering.pop(identifier).result() for identifier in whole]

    def close(self) -> None:
        """Leave what is not whole, and disconnect."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        super().close()

    def _gather(self, announced: WireMessage, tree: ObjectTree) -> Message:
        """Return a reply with all its parts, or the error that they did not come."""
        client, run_id = self._runtime_client, self.run.run_id
        try:
            parts = pull_objects(
                [part.object_id for part in iterate_object_tree(tree)],
                make_pull_object_fn_protobuf(pull_object_protobuf=client.PullObject, node=self.node, run_id=run_id),
                max_time=_PARTS_SECONDS,
                initial_backoff=_PARTS_FIRST_PAUSE_SECONDS,
                backoff_cap=_PARTS_LONGEST_PAUSE_SECONDS,
            )
        except ObjectPullError as error:
            bare = message_from_proto(announced)
            return make_message(metadata=bare.metadata, error=Error(ErrorCode.MESSAGE_UNAVAILABLE, str(error)))
        identifier = announced.metadata.message_id
        client.ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(node=self.node, run_id=run_id, message_object_id=identifier)
        )
        reply = inflate_object_from_contents(identifier, parts)
        if not isinstance(reply, Message):
            raise InternalError(f"Flower gave a {type(reply).__name__} where a Message was announced")
        reply.metadata.__dict__["_message_id"] = identifier
        return reply


class SuperLink:
    """The coordinator's own SuperLink, by its loopback address.

    Raises
    ------
    InputError
        From every method, where the SuperLink cannot be reached.
    """

    def __init__(self, address: str, *, certificate: bytes, secret: bytes, database: Path | None = None) -> None:
        os.environ.update(no_proxy_on_loopback(os.environ))  # Flower's clients would take a proxy even to loopback
        self._address = address
        self._database = database
        self._certificate = certificate
        self._secret = secret

    @classmethod
    def of(cls, home: CoordinatorHome, address: str | None = None) -> "SuperLink":
        """Return the SuperLink of a coordinator's folder; without an address, the one that runs."""
        return cls(
            address or home.superlink_address,
            certificate=home.superlink_certificate.read_bytes(),
            secret=home.executor_secret.read_bytes(),
            database=home.superlink_database,
        )

    def nodes(self) -> Mapping[bytes, tuple[int, str]]:
        """Return (node identifier, Flower's word for its state) by the node's public key, PEM."""
        with self._control() as control:
            listed = control.ListNodes(ListNodesRequest()).nodes_info
        return {bytes(node.public_key): (node.node_id, node.status) for node in listed if node.status != "unregistered"}

    def register(self, nodes: Mapping[str, bytes]) -> Mapping[str, int]:
        """Return the identifier of each named node, by its public key, PEM; those not known yet are registered."""
        known = self.nodes()
        identifiers: dict[str, int] = {}
        with self._control() as control:
            for name, public_pem in nodes.items():
                if public_pem in known:
                    identifiers[name] = known[public_pem][0]
                else:
                    reply = control.RegisterNode(RegisterNodeRequest(public_key=public_pem, name=name))
                    identifiers[name] = reply.node_id
        return identifiers

    def unregister(self, public_pem: bytes) -> None:
        """Forget a node, if it is known."""
        known = self.nodes().get(public_pem)
        if known is not None:
            with self._control() as control:
                control.UnregisterNode(UnregisterNodeRequest(node_id=known[0]))

    @contextmanager
    def grid(self, content: bytes | None = None) -> Iterator[Grid]:
        """Give a grid: a run is started, its task taken, and ended with the block.

        ``content`` is another bundle than ours: for tests that act as a hostile coordinator.
        """
        with self._control() as control:
            control.StartRun(StartRunRequest(fab=Fab(content=content or bundle())))
        token = self._task_token()
        grid = GatheringGrid(self._address, certificate=self._certificate, token=token)
        client = grid._runtime_client  # noqa: SLF001 - Flower's own server process does the same
        heartbeat = HeartbeatSender(make_task_heartbeat_fn_http(client))
        heartbeat.start()
        ended = SubStatus.FAILED
        try:
            given = client.PullTaskInput(PullTaskInputRequest())
            TaskIdentity.task_id = given.task_id
            TaskIdentity.run_id = given.run.run_id
            TaskIdentity.node_id = given.context.node_id
            grid.set_run(run_from_proto(given.run))
            yield grid
            ended = SubStatus.COMPLETED
        except (httpx.HTTPError, RunNotRunningException) as error:
            raise self._broken("went away during the round", error) from error
        finally:
            grid._retry_invoker.max_tries = 1  # noqa: SLF001 - an end is told once
            with suppress(
                httpx.HTTPError, RunNotRunningException
            ):  # the SuperLink is gone: the run ends with the task's heartbeat
                client.PushTaskOutput(PushTaskOutputRequest(sub_status=ended, details=""))
            heartbeat.stop()
            grid.close()

    def _task_token(self) -> str:
        retrying = make_simple_http_retry_invoker()
        retrying.max_time = _GONE_SECONDS
        client = RuntimeHttpClient.from_server_address(
            server_address=self._address,
            insecure=False,
            root_certificates=self._certificate,
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperExec"),
                SuperExecAuthHttpInterceptor(master_secret=self._secret, protected_methods=frozenset({_ACQUIRE})),
            ],
            retry_invoker=retrying,
        )
        end = time.monotonic() + _TASK_SECONDS
        try:
            while time.monotonic() < end:
                taken = client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP]))
                if taken.HasField("task") and taken.token:
                    return str(taken.token)
                time.sleep(_POLL_SECONDS)
        except httpx.HTTPError as error:
            raise self._broken("went away before the round began", error) from error
        finally:
            client.close()
        raise InternalError("the SuperLink gave no task for the run that was just started")

    @contextmanager
    def _control(self) -> Iterator[ControlHttpClient]:
        client = ControlHttpClient.from_server_address(
            server_address=self._address,
            insecure=False,
            root_certificates=self._certificate,
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr-cli")],
        )
        try:
            yield client
        except httpx.TransportError as error:
            raise InputError(
                f"the SuperLink at {self._address} does not answer: {error}",
                hint="is crosslot-coordinator serve running?",
            ) from error
        except httpx.HTTPStatusError as error:
            raise self._broken("refused a call", error) from error
        finally:
            client.close()

    def _broken(self, what: str, error: BaseException) -> CrosslotError:
        """Return what a failed call means: a full disk makes the SuperLink fail in many ways, none of which says so."""
        if self._database is not None and no_room_at(self._database):
            return NoRoomError(f"{self._database}: disk-full: the SuperLink {what}", hint=MAKE_ROOM)
        return RoundBrokenError(f"the SuperLink {what}: {type(error).__name__}", hint="the round may be repeated")
