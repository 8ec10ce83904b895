"""The site's own executor: takes tasks of the SuperNode on loopback and answers them by the installed code only.

Flower would unpack and import the bundle that the coordinator's server sends. This executor never opens it: the bytes
are hashed, told in the log if they are not the ones that carry no code, and dropped. It is the one module of the site
that knows Flower's inner names (flwr 1.41); ``tests/network/test_executor.py`` is their contract test.

A task has a time limit. One that exceeds it is answered with a code, and the process ends: its tree starts another.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final

import httpx
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from protocol.codec import sha256
from protocol.errors import ErrorCode
from protocol.exchange import CODE, RECORD

_ACQUIRE: Final = "/flwr.proto.Runtime/AcquireTask"
_POLL_SECONDS: Final = 0.5
_WAIT_SECONDS: Final = 2.0
_STUCK: Final = 75  # EX_TEMPFAIL: the tree starts the process again


class Executor:
    """Takes one task after the other.

    Parameters
    ----------
    address
        The SuperNode's Runtime API on loopback.
    secret
        By which tasks are taken.
    app
        What answers.
    known_bundle
        The SHA-256 of the bundle without code; another is told in the log.
    task_seconds
        The time limit of a task.
    may_answer
        No task is taken while it is not set.
    log
        Takes lines for the site's log.
    """

    def __init__(
        self,
        address: str,
        secret: bytes,
        app: ClientApp,
        *,
        known_bundle: str,
        task_seconds: float,
        log: Callable[[str], None],
        may_answer: threading.Event | None = None,
    ) -> None:
        self._address = address
        self._app = app
        self._known_bundle = known_bundle
        self._task_seconds = task_seconds
        self._log = log
        self._may_answer = may_answer
        self._tasks = self._client(
            SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=frozenset({_ACQUIRE})),
            component="SuperExec",
        )

    def run(self, stopped: threading.Event) -> None:
        """Take and answer tasks until ``stopped`` is set; a SuperNode that is away is waited for."""
        with closing(self._tasks):
            self._take_tasks(stopped)

    def _take_tasks(self, stopped: threading.Event) -> None:
        away = False
        while not stopped.is_set():
            if self._may_answer is not None and not self._may_answer.is_set():
                stopped.wait(_POLL_SECONDS)
                continue
            try:
                worked = self.run_once()
                if away:
                    self._log("the SuperNode is back")
                away = False
            except httpx.HTTPError as error:
                if not away:
                    self._log(f"waiting for the SuperNode ({type(error).__name__})")
                away = True
                stopped.wait(_WAIT_SECONDS)
                continue
            if not worked:
                stopped.wait(_POLL_SECONDS)

    def run_once(self) -> bool:
        """Take and answer one task, if there is one; return whether there was."""
        taken = self._tasks.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP]))
        if not taken.HasField("task") or not taken.token:
            return False
        self._answer(str(taken.token))
        return True

    def _answer(self, token: str) -> None:
        client = self._client(RuntimeTokenHttpInterceptor(token), component="flwr-clientapp")
        heartbeat = HeartbeatSender(make_task_heartbeat_fn_http(client))
        heartbeat.start()
        ended, context = SubStatus.FAILED, None
        try:
            message, context, _run, bundle = pull_task_input(client)
            digest = sha256(bundle.content)
            if digest != self._known_bundle:
                self._log(f"the coordinator sent a bundle that may hold code (SHA-256 {digest}); it was not opened")
            reply, stuck = self._limited(message, context)
            push_message(client, reply, context)
            ended = SubStatus.FAILED if stuck else SubStatus.COMPLETED
        finally:
            with suppress(httpx.HTTPError):
                push_task_output(client, context, ended, "")
            heartbeat.stop()
            client.close()
        if stuck:
            self._log("ending this process: its task is stuck")
            os._exit(_STUCK)

    def _limited(self, message: Message, context: Context) -> tuple[Message, bool]:
        """Return the app's reply and False, or the code of a task that took too long and True."""
        replies: list[Message] = []
        started = time.monotonic()
        worker = threading.Thread(target=lambda: replies.append(self._app(message, context)), daemon=True, name="task")
        worker.start()
        worker.join(self._task_seconds)
        if replies:
            return replies[0], False
        stuck = worker.is_alive()
        code = ErrorCode.TIMED_OUT if stuck else ErrorCode.INTERNAL
        self._log(f"a task gave no answer in {time.monotonic() - started:.0f} s: {code.value}")
        return Message(RecordDict({RECORD: ConfigRecord({CODE: code.value})}), reply_to=message), stuck

    def _client(self, *interceptors: ProtobufClientInterceptor, component: str) -> RuntimeHttpClient:
        return RuntimeHttpClient.from_server_address(
            server_address=self._address,
            insecure=True,  # loopback of one machine, between two processes of one owner, by a secret of their own
            root_certificates=None,
            interceptors=[RuntimeVersionHttpInterceptor(component_name=component), *interceptors],
        )
