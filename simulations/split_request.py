"""What ``crosslot-simulate split`` is asked for, and reading it: arguments and tables become lots with potency."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from protocol.identifiers import Label
from protocol.plan import Profile
from shared.errors import InputError, ProblemsError
from site_agent.cells.site_tables import parse_number

ALL_LOTS = "all"
_LABEL: Final[TypeAdapter[str]] = TypeAdapter(Label)


@dataclass(frozen=True, kw_only=True)
class PotencyColumn:
    """Where potency stands: a CSV file, the column that names the lot, the column that holds the value."""

    path: Path
    key_column: str
    value_column: str


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Keep the cells whose obs column holds this value."""

    column: str
    value: str


@dataclass(frozen=True, kw_only=True)
class SplitRequest:
    """One h5ad to be made into a study of several sites.

    ``profile`` is the sites' and the study's; ``minimum_cells`` lowers (or raises) the least number of cells of a lot,
    openly: in the plan and in every site's own policy. With ``noise_epsilon`` every site's policy asks for noise on
    counts, of that much a draw and a budget of ten.
    """

    cells: Path
    lot_column: str
    where: tuple[Condition, ...]
    labels_column: str | None
    donor_column: str | None
    tissue_column: str | None
    potency: PotencyColumn
    unit: str
    assay: str
    decimals: int
    reference_lots: tuple[str, ...] | None  # None: every lot
    sites: int
    out: Path
    seed: int
    profile: Profile = Profile.OPEN
    minimum_cells: int | None = None  # None: the profile's
    noise_epsilon: float | None = None  # None: no noise
    control: Condition | None = None  # of morphology: which cells are of control wells; None: counts
    layer: str | None = None  # the matrix that holds the counts, or raw; None: X


def parse_potency(text: str) -> PotencyColumn:
    """Read ``FILE.csv:KEYCOL:VALUECOL``.

    >>> parse_potency("potency.csv:donor:value").value_column
    'value'

    Raises
    ------
    InputError
        There are not three parts.
    """
    parts = text.rsplit(":", 2)
    if len(parts) != 3 or not all(parts):  # noqa: PLR2004 - file, key, value
        raise InputError(
            f"--potency: expected FILE.csv:KEYCOL:VALUECOL, found {text!r}",
            hint="for example: --potency potency.csv:donor:vegf",
        )
    return PotencyColumn(path=Path(parts[0]), key_column=parts[1], value_column=parts[2])


def parse_condition(text: str) -> Condition:
    """Read ``COL=VALUE``.

    Raises
    ------
    InputError
        There is no ``=``, or a side is empty.
    """
    column, separator, value = text.partition("=")
    if not (separator and column and value):
        raise InputError(f"--where: expected COL=VALUE, found {text!r}", hint="for example: --where condition=ctrl")
    return Condition(column=column, value=value)


def parse_reference_lots(text: str) -> tuple[str, ...] | None:
    """Read ``all`` or ``A,B,...``; None stands for every lot.

    Raises
    ------
    InputError
        A name is empty or comes twice.
    """
    if text == ALL_LOTS:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) != len(names):
        raise InputError(
            f"--reference-lots: expected distinct lot names split by commas, or {ALL_LOTS}, found {text!r}"
        )
    return names


def parse_label(option: str, text: str) -> str:
    """Return ``text`` if it may name an assay or a unit.

    Raises
    ------
    InputError
        It is empty, longer than 64 characters, or not printable.
    """
    try:
        return _LABEL.validate_python(text)
    except ValidationError:
        raise InputError(
            f"{option}: expected 1 to 64 printable characters without space around them, found {text[:80]!r}"
        ) from None


def read_potency(column: PotencyColumn) -> dict[str, list[str]]:
    """Return the potency values of each lot as they are written, in the file's order.

    Raises
    ------
    InputError
        The file is missing or unreadable, or a column is absent.
    ProblemsError
        Lots' names are empty, or values are not positive numbers: all of them are listed.
    """
    path = column.path
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            found: Sequence[str] = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot read potency: {error}", hint="expected a UTF-8 CSV file") from error
    for name in (column.key_column, column.value_column):
        if name not in found:
            raise InputError(
                f"{path}: expected a column {name!r}, found {', '.join(found) or 'none'}",
                hint="name the columns in --potency FILE.csv:KEYCOL:VALUECOL",
            )
    values: dict[str, list[str]] = {}
    problems: list[InputError] = []
    for line, row in enumerate(rows, start=2):
        lot, value = (row[column.key_column] or "").strip(), (row[column.value_column] or "").strip()
        if not lot:
            message = f"{path}, line {line}, column {column.key_column!r}: expected a lot's name, found nothing"
            problems.append(InputError(message, hint="name the lot, or delete the row"))
        if not _is_positive(value):
            message = (
                f"{path}, line {line}, column {column.value_column!r}: expected a positive number, found {value!r}"
            )
            hint = "potency is analysed on the log scale; leave out a lot that was not measured"
            problems.append(InputError(message, hint=hint))
        values.setdefault(lot, []).append(value)
    if not rows:
        problems.append(InputError(f"{path}: expected rows of lots with potency, found none"))
    if problems:
        raise ProblemsError(str(path), problems)
    return values


def _is_positive(text: str) -> bool:
    try:
        return 0 < parse_number(text) < float("inf")
    except InputError:
        return False
