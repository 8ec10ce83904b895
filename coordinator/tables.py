"""counts.csv and potency.csv to study data; the columns are those of `coordinator.frames`.

Files are UTF-8 with a comma between values. A row is named by its line. Nothing is guessed: a semicolon or a decimal
comma is a problem with its name.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from coordinator.attribute_tables import attributes_of_table
from coordinator.frames import StudyTables, study_tables
from coordinator.study_data import AttributeTable
from protocol.modules.attributes import AttributesPlan
from shared.errors import InputError, ProblemsError


def read_study_tables(
    counts: Path, potency: Path, *, small_count_threshold: int | None = None, shares: bool = False
) -> StudyTables:
    """Return the study in two CSV files.

    Parameters
    ----------
    small_count_threshold : int, optional
        Counts written as minus this number are hidden: 0 to one below it.
    shares : bool
        The clusters' columns hold shares of the lot, not cells.

    Raises
    ------
    ProblemsError
        With every problem of both files.
    """
    frames, problems = [], []
    for path in (counts, potency):
        try:
            frames.append(_read(path))
        except InputError as problem:
            problems.append(problem)
    if problems:
        raise ProblemsError(f"{counts.name} and {potency.name}", problems)
    return study_tables(
        frames[0],
        frames[1],
        shares=shares,
        small_count_threshold=small_count_threshold,
        names=(counts.name, potency.name),
    )


def read_attribute_table(path: Path, lots: Sequence[str]) -> tuple[AttributesPlan, AttributeTable]:
    """Return what a CSV file of lot-level attributes declares, and its values (`coordinator.attribute_tables`).

    Raises
    ------
    InputError
        With every problem of the file.
    """
    return attributes_of_table(_read(path), lots, source=path.name)


def _read(path: Path) -> pd.DataFrame:
    """Return a table as text, its index the lines of the file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            rows = [(f"line {reader.line_num}", row) for row in reader if any(cell.strip() for cell in row)]
    except FileNotFoundError:
        raise InputError(f"{path.name}: expected a file, found none", hint="look at the path") from None
    except IsADirectoryError:
        raise InputError(f"{path.name}: expected a file, found a folder", hint="look at the path") from None
    except OSError as error:
        raise InputError(f"{path.name}: expected a readable file, found: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path.name}: expected CSV text in UTF-8, found: {error}", hint="save it as CSV UTF-8"
        ) from None
    if len(header) <= 1:
        hint = "its separator is not a comma" if any(mark in "".join(header) for mark in ";\t") else None
        raise InputError(f"{path.name}: expected a header and columns between commas, found {header}", hint=hint)
    uneven = [(line, len(row)) for line, row in rows if len(row) != len(header)]
    if uneven:
        line, width = uneven[0]
        raise InputError(
            f"{path.name}, {line}: expected {len(header)} values as in the header, found {width}"
            + (f" (and {len(uneven) - 1} more such lines)" if len(uneven) > 1 else ""),
            hint="quote a value that holds a comma",
        )
    return pd.DataFrame([row for _, row in rows], columns=header, index=[line for line, _ in rows], dtype=object)
