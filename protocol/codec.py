"""Messages to bytes and back: one message has one encoding, and nothing else is read.

Canonical JSON (SPEC 1.1): UTF-8 without byte-order mark; the keys of every object sorted by code point; no white space
outside strings; strings escaped only where JSON demands it; integers in decimal; floats as Python's ``repr`` writes
them (the shortest text that reads back as the same IEEE 754 double, ``1.0`` and ``1e+22``); every field present,
defaults and nulls included.

Decoding is strict and bounded (SPEC 1.2): the size and the depth of nesting are checked before anything is parsed, and
the bytes must be exactly those that encoding the decoded message gives. So there is no second spelling of a message in
which something could be hidden, and a hash of the bytes is a hash of the message.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Final, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from protocol.errors import DecodeError, ErrorCode
from protocol.identifiers import Sha256
from protocol.message import Message

M = TypeVar("M", bound=Message)

MAXIMUM_DEPTH: Final = 8
"""SPEC 1.3: the deepest message of this protocol (results) nests five levels."""

# A whole string (or one that never ends) is one match, so a bracket within a string is not counted. The possessive
# quantifiers keep the scan linear whatever comes.
_STRUCTURE: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)

_CODE_OF_PROBLEM: Final = {
    "extra_forbidden": ErrorCode.UNKNOWN_FIELD,
    "missing": ErrorCode.MISSING_FIELD,
    "finite_number": ErrorCode.NOT_FINITE,
}


def encode(message: Message) -> bytes:
    """Return the canonical bytes of a message.

    Examples
    --------
    >>> from protocol.plan import Cohort, CohortRole
    >>> encode(Cohort(cohort="main", role=CohortRole.DISCOVERY))
    b'{"cohort":"main","role":"discovery","tissues":[]}'
    """
    return canonical_json(message.model_dump(mode="json"))


def canonical_json(value: object) -> bytes:
    """Return the canonical bytes of a JSON value made of dicts, lists, strings, numbers, Booleans and None.

    Raises
    ------
    ValueError
        If a number is not finite or a string holds a lone surrogate.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8")


def sha256(data: bytes) -> Sha256:
    """Return the lower-case hexadecimal SHA-256 of ``data``."""
    return Sha256(hashlib.sha256(data).hexdigest())


def decode(kind: type[M], data: bytes, *, limit: int) -> M:
    """Return the message of ``kind`` that ``data`` encodes.

    Parameters
    ----------
    kind
        The type of message that is expected.
    data
        The bytes as they came.
    limit
        The largest acceptable size, bytes.

    Raises
    ------
    DecodeError
        If the bytes are too many or too deep, not UTF-8, not JSON, followed by more bytes, name a field twice, hold a
        number that is not finite, are not a valid ``kind``, or are not the canonical encoding of what they say.
    """
    parse_bounded(data, limit=limit)
    try:
        message = kind.model_validate_json(data)
    except ValidationError as error:
        raise _explained(kind, error.errors(include_url=False, include_input=False, include_context=False)) from None
    if encode(message) != data:
        raise DecodeError(ErrorCode.NOT_CANONICAL, f"Read as a {kind.__name__}.")
    return message


def parse_bounded(data: bytes, *, limit: int) -> object:
    """Return the JSON value that ``data`` holds, whatever its shape (SPEC 1.2).

    Raises
    ------
    DecodeError
        If the bytes are too many or too deep, not UTF-8, not JSON, followed by more bytes, name a field twice or hold
        NaN or infinity.
    """
    if len(data) > limit:
        raise DecodeError(ErrorCode.OVERSIZE, f"Expected at most {limit} bytes, found {len(data)}.")
    _check_depth(data)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise DecodeError(ErrorCode.NOT_UTF8) from None
    try:
        value: object = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        code = ErrorCode.TRAILING_BYTES if error.msg.startswith("Extra data") else ErrorCode.NOT_JSON
        raise DecodeError(code, f"At character {error.pos}.") from None
    except ValueError:  # an integer of more digits than Python converts
        raise DecodeError(ErrorCode.INVALID_FIELD, "An integer has too many digits.") from None
    return value


def _check_depth(data: bytes) -> None:
    # SPEC 1.3: counted on the bytes, since a parser that recurses is what deep nesting attacks.
    if data.count(b"[") + data.count(b"{") <= MAXIMUM_DEPTH:
        return  # too few to nest deeper, wherever they stand
    depth = 0
    for match in _STRUCTURE.finditer(data):
        token = match.group()
        if token in {b"[", b"{"}:
            depth += 1
            if depth > MAXIMUM_DEPTH:
                raise DecodeError(ErrorCode.TOO_DEEP, f"Expected at most {MAXIMUM_DEPTH} levels.")
        elif token in {b"]", b"}"}:
            depth -= 1


def _without_duplicates(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise DecodeError(ErrorCode.DUPLICATE_KEY)
    return value


def _refuse_constant(name: str) -> object:
    raise DecodeError(ErrorCode.NOT_FINITE, f"Found {name}.")


def _explained(kind: type[Message], problems: Sequence[ErrorDetails]) -> DecodeError:
    # The code is that of the first problem: a wrong schema first, since it explains all the others.
    if any(problem["loc"][:1] == ("schema",) for problem in problems):
        code = ErrorCode.WRONG_SCHEMA
    else:
        code = _CODE_OF_PROBLEM.get(problems[0]["type"], ErrorCode.INVALID_FIELD)
    places = (".".join(map(str, problem["loc"])) or "message" for problem in problems)
    shown = "; ".join(f"{place}: {problem['msg']}" for place, problem in zip(places, problems[:5], strict=False))
    return DecodeError(code, f"Read as a {kind.__name__}: {shown}.")
