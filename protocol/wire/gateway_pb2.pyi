# mypy: ignore-errors
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EnrolRequest(_message.Message):
    __slots__ = ("request", "proof")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    request: bytes
    proof: bytes
    def __init__(self, request: _Optional[bytes] = ..., proof: _Optional[bytes] = ...) -> None: ...

class EnrolReply(_message.Message):
    __slots__ = ("certificate", "coordinator")
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    coordinator: bytes
    def __init__(self, certificate: _Optional[bytes] = ..., coordinator: _Optional[bytes] = ...) -> None: ...

class GreetRequest(_message.Message):
    __slots__ = ("version", "flower", "atlases", "state")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FLOWER_FIELD_NUMBER: _ClassVar[int]
    ATLASES_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    version: str
    flower: str
    atlases: _containers.RepeatedScalarFieldContainer[str]
    state: str
    def __init__(self, version: _Optional[str] = ..., flower: _Optional[str] = ..., atlases: _Optional[_Iterable[str]] = ..., state: _Optional[str] = ...) -> None: ...

class GreetReply(_message.Message):
    __slots__ = ("version", "flower", "now", "compatible")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FLOWER_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    COMPATIBLE_FIELD_NUMBER: _ClassVar[int]
    version: str
    flower: str
    now: str
    compatible: bool
    def __init__(self, version: _Optional[str] = ..., flower: _Optional[str] = ..., now: _Optional[str] = ..., compatible: bool = ...) -> None: ...

class ListStudiesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Study(_message.Message):
    __slots__ = ("study", "plan", "manifest", "results_bytes")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    RESULTS_BYTES_FIELD_NUMBER: _ClassVar[int]
    study: str
    plan: bytes
    manifest: bytes
    results_bytes: int
    def __init__(self, study: _Optional[str] = ..., plan: _Optional[bytes] = ..., manifest: _Optional[bytes] = ..., results_bytes: _Optional[int] = ...) -> None: ...

class ListStudiesReply(_message.Message):
    __slots__ = ("studies",)
    STUDIES_FIELD_NUMBER: _ClassVar[int]
    studies: _containers.RepeatedCompositeFieldContainer[Study]
    def __init__(self, studies: _Optional[_Iterable[_Union[Study, _Mapping]]] = ...) -> None: ...

class FetchAtlasRequest(_message.Message):
    __slots__ = ("sha256", "offset")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    offset: int
    def __init__(self, sha256: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class FetchResultsRequest(_message.Message):
    __slots__ = ("study", "offset")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    study: str
    offset: int
    def __init__(self, study: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class FetchCheckpointsRequest(_message.Message):
    __slots__ = ("held",)
    HELD_FIELD_NUMBER: _ClassVar[int]
    held: _containers.RepeatedCompositeFieldContainer[HeldCheckpoints]
    def __init__(self, held: _Optional[_Iterable[_Union[HeldCheckpoints, _Mapping]]] = ...) -> None: ...

class HeldCheckpoints(_message.Message):
    __slots__ = ("study", "round")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    study: str
    round: int
    def __init__(self, study: _Optional[str] = ..., round: _Optional[int] = ...) -> None: ...

class SignedCheckpoint(_message.Message):
    __slots__ = ("study", "round", "checkpoint")
    STUDY_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    study: str
    round: int
    checkpoint: bytes
    def __init__(self, study: _Optional[str] = ..., round: _Optional[int] = ..., checkpoint: _Optional[bytes] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("certificate",)
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    def __init__(self, certificate: _Optional[bytes] = ...) -> None: ...

class RenewReply(_message.Message):
    __slots__ = ("certificate",)
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    def __init__(self, certificate: _Optional[bytes] = ...) -> None: ...

class RelayRequest(_message.Message):
    __slots__ = ("path", "body", "content_type", "accept", "headers")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PATH_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    path: str
    body: bytes
    content_type: str
    accept: str
    headers: _containers.ScalarMap[str, str]
    def __init__(self, path: _Optional[str] = ..., body: _Optional[bytes] = ..., content_type: _Optional[str] = ..., accept: _Optional[str] = ..., headers: _Optional[_Mapping[str, str]] = ...) -> None: ...

class RelayReply(_message.Message):
    __slots__ = ("status", "body", "content_type")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    status: int
    body: bytes
    content_type: str
    def __init__(self, status: _Optional[int] = ..., body: _Optional[bytes] = ..., content_type: _Optional[str] = ...) -> None: ...
