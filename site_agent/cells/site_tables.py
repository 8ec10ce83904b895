"""The small tables of a site folder, read as text, with every problem kept.

Rules:

1. A table is UTF-8 with commas; the first line names the columns. A byte-order mark in front is read past; semicolons,
   tabs, UTF-16 and other encodings are named, never guessed at.
2. Cells stay text. ``NA``, ``nan``, ``null`` or ``1e5`` in a name is that name: nothing is turned into a missing value.
3. An unknown column is a problem: a misspelt ``where`` that is silently ignored would count the wrong cells.
4. Rows are numbered as a spreadsheet shows them: the header is row 1.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.errors import InputError

MAXIMUM_BYTES = 16 * 2**20
"""A site has hundreds of lots, not millions: a larger table is not one of ours."""

_NUMBER = re.compile(r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?$")
_DECIMAL_COMMA = re.compile(r"^[+-]?\d+,\d+$")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table.

    Attributes
    ----------
    table : str
        The file's name, for messages.
    number : int
        As a spreadsheet counts: the header is row 1.
    cells : dict of str to str
        By column, stripped of surrounding space; columns that the file lacks are "".
    """

    table: str
    number: int
    cells: dict[str, str]

    def problem(self, column: str, message: str, *, hint: str | None = None) -> InputError:
        """Return an error that names the file, the row and the column before ``message``."""
        return InputError(f"{self.table}, row {self.number}, column {column!r}: {message}", hint=hint)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as read; ``rows`` holds what could be read in spite of ``problems``."""

    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    problems: tuple[InputError, ...] = field(default=())


def read_table(path: Path, *, required: Sequence[str], optional: Sequence[str] = ()) -> Table:
    """Return the rows of a CSV file as text, and all that is wrong with its form.

    Parameters
    ----------
    path : Path
        The file.
    required, optional : sequence of str
        The columns that must and that may stand in the header.

    Returns
    -------
    Table
        Never raises for what a file may hold: problems are returned.
    """
    try:
        records = list(enumerate(_records(path, _text(path)), start=1))
    except InputError as error:
        return Table(problems=(error,))
    header_at = next((number for number, record in records if any(cell.strip() for cell in record)), None)
    if header_at is None:
        return Table(problems=(_of(path, "is empty", f"expected a first line: {','.join(required)}"),))
    columns = tuple(cell.strip() for cell in records[header_at - 1][1])
    problems = _header_problems(path, columns, required, optional)
    if problems:
        return Table(columns=columns, problems=tuple(problems))
    rows: list[Row] = []
    for number, record in records[header_at:]:
        if not any(cell.strip() for cell in record):
            continue
        if len(record) != len(columns):
            message = f"{path.name}, row {number}: expected {len(columns)} values, found {len(record)}"
            problems.append(InputError(message, hint='a value that holds a comma stands in double quotes: "a, b"'))
            continue
        cells = dict.fromkeys((*required, *optional), "")
        cells.update(zip(columns, (unicodedata.normalize("NFC", cell.strip()) for cell in record), strict=True))
        rows.append(Row(table=path.name, number=number, cells=cells))
    if not rows and not problems:
        problems.append(_of(path, "has a header and no rows", "write one row for each lot or replicate"))
    return Table(columns=columns, rows=tuple(rows), problems=tuple(problems))


def parse_number(text: str) -> float:
    """Return a finite number written with digits and a decimal point.

    Raises
    ------
    InputError
        The text is something else; the message says what.

    Examples
    --------
    >>> parse_number("1.50e2")
    150.0
    >>> parse_number("12,5")
    Traceback (most recent call last):
    shared.errors.InputError: expected a number, found '12,5' with a decimal comma
    """
    if _NUMBER.fullmatch(text):
        value = float(text)
        if abs(value) < float("inf"):
            return value
        raise InputError(f"expected a finite number, found {text!r}", hint="check the exponent")
    if not text:
        raise InputError("expected a number, found nothing", hint="fill the value in, or delete the row")
    if _DECIMAL_COMMA.fullmatch(text):
        raise InputError(f"expected a number, found {text!r} with a decimal comma", hint="write a decimal point")
    if text[0] in "<>≤≥":
        raise InputError(
            f"expected a number, found {text!r}",
            hint="a value outside the assay's range cannot be used as a number: leave the replicate out, or repeat it",
        )
    raise InputError(f"expected a number, found {text!r}", hint="write digits with a decimal point, and no unit")


def _of(path: Path, found: str, hint: str) -> InputError:
    return InputError(f"{path.name}: {found}", hint=hint)


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAXIMUM_BYTES:
            raise _of(path, f"expected at most {MAXIMUM_BYTES:,} bytes, found {size:,}", "is it the right file?")
        raw = path.read_bytes()
    except FileNotFoundError:
        raise _of(path, f"missing in {path.parent}", "a site folder holds lots.csv and potency.csv") from None
    except OSError as error:
        raise _of(path, f"cannot be read: {error.strerror}", "check the file's type and permissions") from None
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _of(path, "expected UTF-8, found UTF-16", 'save it as "CSV UTF-8 (comma delimited)"')
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        found = f"expected UTF-8, found the byte 0x{raw[error.start]:02x} on line {line}"
        raise _of(path, found, 'save it as "CSV UTF-8 (comma delimited)"') from None
    if "\x00" in text:
        raise _of(path, "expected text, found NUL bytes", "is it a spreadsheet or an archive? export it as CSV")
    return text


def _records(path: Path, text: str) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise _of(
            path, f"expected comma-separated values, found {error}", "look for a quote that is not closed"
        ) from None


def _header_problems(
    path: Path, columns: tuple[str, ...], required: Sequence[str], optional: Sequence[str]
) -> list[InputError]:
    if len(columns) == 1:
        for separator, name in ((";", "semicolons"), ("\t", "tabs")):
            if separator in columns[0]:
                hint = "save it with commas between values and a decimal point in numbers"
                return [_of(path, f"expected commas between values, found {name}", hint)]
    problems: list[InputError] = []
    known = (*required, *optional)
    missing = [column for column in required if column not in columns]
    if missing:
        problems.append(
            _of(path, f"missing column {_quoted(missing)}; found {_quoted(columns)}", f"needs {', '.join(required)}")
        )
    unknown = [column for column in dict.fromkeys(columns) if column not in known]
    if unknown:
        hint = f"rename or delete it; known are {', '.join(known)}"
        problems.append(_of(path, f"unknown column {_quoted(unknown)}", hint))
    twice = [column for column in dict.fromkeys(columns) if columns.count(column) > 1]
    if twice:
        problems.append(_of(path, f"column {_quoted(twice)} stands twice", "keep one of them"))
    return problems


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(repr(name[:64]) for name in names[:12])
