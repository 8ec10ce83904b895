"""The parts of a page: frozen records, every sentence made and every number rounded already.

A report of the coordinator and a page made at a site hold the same parts, so that one style sheet and one set of macros
show both.
"""

from dataclasses import dataclass
from enum import StrEnum

from markupsafe import Markup


class CellState(StrEnum):
    """Why a table cell looks as it does; each state has a look of its own besides its words."""

    PLAIN = ""
    STRONG = "strong"
    SUPPRESSED = "suppressed"
    ZERO = "zero"
    MISSING = "missing"
    NOT_ASKED = "not-asked"
    NO_VALUE = "no-value"


@dataclass(frozen=True)
class Cell:
    """One cell of a table; ``order`` is what it sorts by, where its text does not say."""

    text: str
    state: CellState = CellState.PLAIN
    order: float | None = None


@dataclass(frozen=True)
class Column:
    """A column's heading, with its unit in it; ``numeric`` columns stand right."""

    heading: str
    numeric: bool = False


@dataclass(frozen=True)
class Row:
    """A row of a table; ``cluster`` and ``lot`` link it with the marks of the figures."""

    cells: tuple[Cell, ...]
    cluster: int | None = None
    lot: int | None = None


@dataclass(frozen=True)
class Table:
    """A table with its caption; ``identifier`` is unique in the page."""

    identifier: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Finding:
    """A numbered sentence: people print reports and refer to "finding 3"."""

    number: int
    text: str


@dataclass(frozen=True, kw_only=True)
class ModuleFigure:
    """A figure of a study module, drawn already, with its sentence and its table; ``legend`` are indices of sites."""

    title: str
    finding: Finding | None
    sentences: tuple[str, ...]
    drawings: tuple[Markup, ...]
    table: Table
    in_panels: bool = False
    legend: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModuleOutcome:
    """A module's answer in one word, with its code, its icon and what it means: status is never colour alone."""

    code: str
    word: str
    icon: str
    headline: str


@dataclass(frozen=True, kw_only=True)
class ModuleSection:
    """One study module on the page: its answer, then blocks in reading order, then what it does not show."""

    identifier: str
    heading: str
    outcome: ModuleOutcome | None
    blocks: tuple[str | Finding | Table | ModuleFigure, ...]
    limits: tuple[str, ...]
