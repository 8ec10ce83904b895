"""Frozen records that hold themselves to their annotations: what a document may say, and no more.

Rules.
1. A value is of its annotated kind or refused: no text becomes a number, no truth value an integer. Only lists and
   tuples stand for tuples, mappings for records, and whole numbers for floats, since JSON cannot tell them apart.
2. Numbers are finite and within :class:`Within`; texts within :class:`Text`, which lets no control character and no
   half of a surrogate pass; tuples within :class:`Count`. A field that is unknown or missing is refused.

It stands in the place of pydantic where a document is read before the first cell is mapped, such as an atlas: loading
pydantic and compiling its models takes as long as loading NumPy. Records are made without ``dataclass`` for the same
reason: it compiles six methods for each class.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    Self,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

_PRINTABLE: Final = re.compile("[^\x00-\x1f\x7f\ud800-\udfff]*")


class MisfitError(ValueError):
    """A value breaks the rule of its place in the document."""

    def __init__(self, message: str, *where: str) -> None:
        super().__init__(message)
        self.where = where

    def within(self, place: str) -> "MisfitError":
        """Return the same error, seen from one level further out."""
        return MisfitError(str(self), place, *self.where)


@dataclass(frozen=True, kw_only=True)
class Within:
    """Bounds of a number, each optional: at least, above, at most, below."""

    ge: float = -math.inf
    gt: float = -math.inf
    le: float = math.inf
    lt: float = math.inf

    def check(self, value: Any) -> None:  # noqa: ANN401 - a number, by the annotation it stands beside
        """Raise unless a number lies within."""
        if not (self.ge <= value <= self.le and self.lt > value > self.gt):
            asked = {"at least": self.ge, "above": self.gt, "at most": self.le, "below": self.lt}
            words = " and ".join(f"{word} {bound:g}" for word, bound in asked.items() if math.isfinite(bound))
            raise MisfitError(f"expected a number {words}, found {str(value)[:80]}")


@dataclass(frozen=True, kw_only=True)
class Text:
    """Printable text of a length."""

    shortest: int = 0
    longest: int

    def check(self, value: Any) -> None:  # noqa: ANN401 - text, by the annotation it stands beside
        """Raise unless a text is printable and of the length."""
        if not self.shortest <= len(value) <= self.longest or _PRINTABLE.fullmatch(value) is None:
            raise MisfitError(f"expected {self.shortest} to {self.longest} printable characters, found {value[:80]!r}")


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many items a tuple has."""

    fewest: int = 0
    most: int

    def check(self, value: Any) -> None:  # noqa: ANN401 - a tuple, by the annotation it stands beside
        """Raise unless there are as many."""
        if not self.fewest <= len(value) <= self.most:
            raise MisfitError(f"expected {self.fewest} to {self.most} items, found {len(value)}")


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Record:
    """The base of every record: its fields are checked, and made tuples and records, as it is made.

    Attributes
    ----------
    RENAMED : mapping of str to str
        Fields that have another name in a document.
    """

    RENAMED: ClassVar[Mapping[str, str]] = {}

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 - each by its annotation
        kinds = _kinds(type(self))
        for name in values:
            if name not in kinds:
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
        for name, kind in kinds.items():
            if name not in values and not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} needs a value of {name!r}")
            try:
                found = _checked(kind, values[name] if name in values else getattr(type(self), name))
            except MisfitError as error:
                raise error.within(name) from None
            object.__setattr__(self, name, found)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"

    def replaced(self, **changes: Any) -> Self:  # noqa: ANN401 - each by its annotation
        """Return the record with other values in some fields."""
        return type(self)(**{**self.__dict__, **changes})

    @classmethod
    def from_fields(cls, document: Mapping[str, Any]) -> Self:
        """Return the record that a mapping of fields describes.

        Raises
        ------
        MisfitError
            A field is unknown, missing, or breaks its rule.
        """
        inner = {cls.RENAMED.get(name, name): name for name in _kinds(cls)}
        for name in document:
            if name not in inner:
                raise MisfitError("expected no such field", str(name))
        for name, field in inner.items():
            if name not in document and not hasattr(cls, field):
                raise MisfitError("expected a value, found none", name)
        return cls(**{inner[name]: value for name, value in document.items()})

    @classmethod
    def from_text(cls, text: bytes) -> Self:
        """Return the record that a JSON text describes.

        Raises
        ------
        MisfitError
            It is no JSON object, or as ``from_fields``.
        """
        try:
            document = json.loads(text.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise MisfitError("expected a JSON text") from error
        if not isinstance(document, dict):
            raise MisfitError("expected a JSON object")
        return cls.from_fields(document)

    def to_fields(self) -> dict[str, Any]:
        """Return the record as a mapping of fields, records within it likewise, as ``from_fields`` takes them."""
        return {self.RENAMED.get(name, name): _plain(value) for name, value in self.__dict__.items()}


def _plain(value: object) -> object:
    if isinstance(value, Record):
        return value.to_fields()
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value


_KINDS: Final[dict[type[Record], dict[str, Any]]] = {}


def _kinds(record: type[Record]) -> dict[str, Any]:
    """Return the annotations of a record's fields, by name."""
    found = _KINDS.get(record)
    if found is None:
        hints = get_type_hints(record, include_extras=True)
        found = _KINDS[record] = {name: kind for name, kind in hints.items() if get_origin(kind) is not ClassVar}
    return found


def _checked(kind: Any, value: Any) -> Any:  # noqa: ANN401 - any annotation, any value; one line a kind
    """Return ``value`` as the annotation has it."""
    origin = get_origin(kind)
    if origin is Annotated:
        bare, *rules = get_args(kind)
        value = _checked(bare, value)
        for rule in rules:
            rule.check(value)
        return value
    if origin in {Union, UnionType}:  # of a kind and None: there are no others here
        return None if value is None else _checked(next(each for each in get_args(kind) if each is not NoneType), value)
    if origin is Literal:
        return _one_of(get_args(kind), value)
    if origin is tuple:
        return tuple(_items(get_args(kind)[0], value))
    if isinstance(kind, type) and issubclass(kind, Record):
        return value if isinstance(value, kind) else _record(kind, value)
    return _number(value) if kind is float else _exactly(kind, value)


def _one_of(choices: tuple[object, ...], value: object) -> object:
    if not isinstance(value, str) or value not in choices:
        raise MisfitError(f"expected {' or '.join(map(repr, choices))}, found {str(value)[:80]!r}")
    return value


def _record(kind: type[Record], value: object) -> Record:
    if not isinstance(value, Mapping):
        raise MisfitError(f"expected an object, found {_kind_of(value)}")
    return kind.from_fields(value)


def _items(kind: Any, values: object) -> list[Any]:  # noqa: ANN401 - any annotation
    if not isinstance(values, list | tuple):
        raise MisfitError(f"expected a list, found {_kind_of(values)}")
    found = []
    for place, value in enumerate(values):
        try:
            found.append(_checked(kind, value))
        except MisfitError as error:
            raise error.within(str(place)) from None
    return found


def _number(value: Any) -> float:  # noqa: ANN401 - any value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MisfitError(f"expected a number, found {_kind_of(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise MisfitError("expected a finite number")
    return number


def _exactly(kind: Any, value: Any) -> Any:  # noqa: ANN401 - str, int or bool
    if type(value) is not kind:
        raise MisfitError(f"expected {kind.__name__}, found {_kind_of(value)}")
    return value


def _kind_of(value: object) -> str:
    return type(value).__name__
