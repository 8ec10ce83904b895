"""Documents that people write, as TOML: read with every problem named at once, written the same byte for byte.

A document is a message in another spelling: after reading, only the message counts, and its hash is that of its
canonical encoding. TOML has no null, so an optional field that is not given is left out.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Final, TypeVar

import tomli_w
from pydantic import ValidationError

from protocol.message import Message
from shared.errors import InputError, ProblemsError

M = TypeVar("M", bound=Message)

DOCUMENT_LIMIT: Final = 256 * 1024
"""The largest TOML document that is read, bytes."""

_MAXIMUM_DEPTH: Final = 12
_KEY: Final = re.compile(r"([A-Za-z0-9_-]+) = ")
_TABLE: Final = re.compile(r"\[\[?([A-Za-z0-9_.-]+)\]\]?$")


def read_toml(kind: type[M], data: bytes, *, subject: str) -> M:
    """Return the message of ``kind`` that a TOML document spells.

    Parameters
    ----------
    kind
        The type of message that is expected.
    data
        The document.
    subject
        What the document is, for the person who mends it: "the site policy".

    Raises
    ------
    ProblemsError
        If it is no TOML, or any field is unknown, missing or wrong: all of them are listed.
    """
    if len(data) > DOCUMENT_LIMIT:
        raise _problem(subject, f"expected at most {DOCUMENT_LIMIT} bytes, found {len(data)}")
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise _problem(subject, "expected UTF-8 text", hint="save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise _problem(subject, f"expected TOML: {error}", hint="quote text, and write lists in [ ]") from None
    except RecursionError:
        raise _problem(subject, f"expected at most {_MAXIMUM_DEPTH} levels of nesting") from None
    try:
        as_json = json.dumps(document)
    except TypeError:
        raise _problem(subject, "found a date or time", hint='write it as text, in quotes: "2026-Q3"') from None
    try:
        return kind.model_validate_json(as_json)
    except ValidationError as error:
        problems = [
            InputError(f"{_place(problem['loc'])}: {_in_words(problem['type'], problem['msg'])}")
            for problem in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise ProblemsError(subject, problems) from None


def write_toml(message: Message, comments: Mapping[str, str]) -> bytes:
    """Return a message as a TOML document with explaining comments.

    Parameters
    ----------
    message
        What to write; fields that are null are left out.
    comments
        By dotted name of a key or table, the sentence that stands above its first occurrence. The empty name stands
        at the document's head.
    """
    document = _without_nulls(message.model_dump(mode="json"))
    waiting = dict(comments)
    lines = [f"# {line}" for line in waiting.pop("", "").splitlines()]
    table = ""
    for line in tomli_w.dumps(document).splitlines():
        name = None
        if header := _TABLE.match(line):
            name = table = header.group(1)
        elif key := _KEY.match(line):
            name = f"{table}.{key.group(1)}" if table else key.group(1)
        if name is not None and name in waiting:
            lines += [f"# {text}" for text in waiting.pop(name).splitlines()]
        lines.append(line)
    return ("\n".join(lines) + "\n").encode("utf-8")


def _without_nulls(value: Mapping[str, object]) -> dict[str, object]:
    return {key: _tidied(inner) for key, inner in value.items() if inner is not None}


def _tidied(value: object) -> object:
    if isinstance(value, dict):
        return _without_nulls(value)
    if isinstance(value, list):
        return [_tidied(inner) for inner in value]
    return value


def _place(location: tuple[int | str, ...]) -> str:
    # People count from one.
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in location) or "the document"


def _in_words(problem: str, message: str) -> str:
    match problem:
        case "extra_forbidden":
            return "no such field; check its spelling and its table"
        case "missing":
            return "expected, and not found"
        case _:
            return message.removeprefix("Value error, ")


def _problem(subject: str, message: str, *, hint: str | None = None) -> ProblemsError:
    return ProblemsError(subject, [InputError(message, hint=hint)])
