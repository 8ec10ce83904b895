"""One cell of a plain table: text, number or nothing, read strictly. What is wrong is appended, never guessed."""

import re
from math import isfinite, isnan

from pydantic import TypeAdapter, ValidationError

from protocol.identifiers import Label
from shared.errors import InputError

Cell = object
"""What stands in a cell of a table: text from a file, or whatever a data frame holds."""

_LABEL: TypeAdapter[str] = TypeAdapter(Label)
_NOT_IN_A_SLUG = re.compile(r"[^a-z0-9]+")
_LONGEST_SLUG = 63


def number_of(value: Cell, where: str, wrong: list[InputError]) -> float | None:
    """Return the finite number in a cell, or None where there is none.

    Neither a decimal comma nor a thousands separator is guessed at.
    """
    try:
        number = float(str(value).strip())
    except ValueError:
        text = str(value).strip()
        wrong.append(
            InputError(
                f"{where}: expected a number, found {text!r}" if text else f"{where}: expected a number, found nothing",
                hint="use a decimal point and no thousands separator" if "," in text else None,
            )
        )
        return None
    if not isfinite(number):
        wrong.append(InputError(f"{where}: expected a finite number, found {number}"))
        return None
    return number


def label_of(value: Cell, where: str, wrong: list[InputError], *, empty: str | None = None) -> str:
    """Return the label in a cell; ``empty`` where the cell is empty and may be."""
    text = _text(value)
    if not text and empty is not None:
        return empty
    try:
        return _LABEL.validate_python(text)
    except ValidationError:
        wrong.append(InputError(f"{where}: expected 1 to 64 printable characters, found {text!r}"))
        return text


def slug_of(value: Cell, where: str, wrong: list[InputError]) -> str:
    """Return the name in a cell as lower-case letters, digits and hyphens.

    >>> slug_of("Tokyo, Site 1", "counts, row 0", [])
    'tokyo-site-1'
    """
    text = label_of(value, where, wrong)
    slug = _NOT_IN_A_SLUG.sub("-", text.lower()).strip("-")[:_LONGEST_SLUG].strip("-")
    if not slug and text:
        wrong.append(InputError(f"{where}: expected a name with Latin letters or digits, found {text!r}"))
    return slug


def _text(value: Cell) -> str:
    if value is None or (isinstance(value, float) and isnan(value)):
        return ""
    if isinstance(value, float) and value == int(value):
        return str(int(value))  # a column of whole numbers with a gap comes as floats: lot 101 is not "101.0"
    return str(value).strip()
