"""The site folder: which lots there are, where their cells lie, and how potent they are.

Rules:

1. ``lots.csv`` has one row a lot, ``potency.csv`` one row a replicate, ``attributes.csv`` (where the study asks for
   attributes) one row a lot and attribute. Cell files stand beside them, by a path relative to the folder; a path that
   leaves the folder, by ``..`` or by a link, is refused.
2. Every lot has potency and all potency has a lot. Reference-standard rows carry their run and no lot.
3. All problems of a folder are raised at once. Each names its file, row and column, what was found and what to do.
4. What is returned is valid for the wire (``protocol.report``): nothing is checked again later. Nothing here opens
   a cell file: ``site_agent.cells.lot_files`` does.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from protocol.modules.attributes import AttributesPlan
from protocol.modules.comparability import Arm
from protocol.plan import Cohort, Endpoint, StudyPlan
from shared.errors import InputError, ProblemsError
from site_agent.cells.attribute_rows import ATTRIBUTES_FILE, AttributeRow, read_attributes
from site_agent.cells.potency_rows import PotencyRows, read_potency
from site_agent.cells.site_tables import Row, Table, read_table

LOT_COLUMNS = ("lot", "donor", "file", "tissue", "product", "passage", "condition", "cohort")
OPTIONAL_LOT_COLUMNS = ("where", "period", "layer", "arm")

_LABEL = re.compile(r"^[^\x00-\x1f\x7f]{1,64}$")
_SLUG = re.compile(r"^[a-z0-9][a-z0-9-]{0,62}$")
_PERIOD = re.compile(r"^[0-9]{4}-Q[1-4]$")
_MAXIMUM_PASSAGE = 1_000
_ARMS = frozenset({"", *Arm})


@dataclass(frozen=True, kw_only=True)
class CellFilter:
    """Keeps the cells whose obs column reads as ``value``."""

    column: str
    value: str

    def __str__(self) -> str:
        return f"{self.column}={self.value}"


@dataclass(frozen=True, kw_only=True)
class Lot:
    """One lot as the site describes it.

    Attributes
    ----------
    lot, donor : str
        The site's own names. They never leave the site.
    file : Path
        The cells, resolved, inside the site folder.
    where : tuple of CellFilter
        All must hold for a cell to belong to the lot; empty means every cell of the file.
    layer : str or None
        The layer that holds the counts; None means X.
    passage : int or None
        None where the product has none.
    period : str or None
        A quarter such as ``2026-Q3``.
    arm : Arm or None
        Whether the lot was made before or after the change that a study on comparability asks about.
    row : int
        The lot's row in ``lots.csv``, for messages.
    """

    lot: str
    donor: str
    file: Path
    tissue: str
    product: str
    passage: int | None
    condition: str
    cohort: str
    where: tuple[CellFilter, ...] = ()
    layer: str | None = None
    period: str | None = None
    arm: Arm | None = None
    row: int = 0


@dataclass(frozen=True, kw_only=True)
class SiteLots:
    """A site folder that was read without a problem.

    Attributes
    ----------
    folder : Path
        Resolved.
    lots : tuple of Lot
        In the order of ``lots.csv``.
    potency : mapping of str to tuple of PotencyRows
        By lot name; one entry for each endpoint and run, in the order of ``potency.csv``. No lot is without.
    attributes : mapping of str to tuple of AttributeRow
        By lot name; empty where the study asks for none.
    """

    folder: Path
    lots: tuple[Lot, ...]
    potency: Mapping[str, tuple[PotencyRows, ...]]
    attributes: Mapping[str, tuple[AttributeRow, ...]] = field(default_factory=dict)


def read_site_folder(
    folder: Path,
    endpoints: Sequence[Endpoint] | None = None,
    *,
    cohorts: Sequence[Cohort] | None = None,
    attributes: AttributesPlan | None = None,
) -> SiteLots:
    """Return the lots of a site folder with their potency.

    Parameters
    ----------
    folder : Path
        Holds ``lots.csv``, ``potency.csv`` and the cell files.
    endpoints, cohorts : optional
        Of the study plan. Where given, assays, units, reference rows and cohorts are held against them.
    attributes : AttributesPlan, optional
        Of the study plan; ``attributes.csv`` is read where the plan asks for attributes, and not otherwise.

    Returns
    -------
    SiteLots

    Raises
    ------
    ProblemsError
        With every problem that the two tables have.
    """
    if not folder.is_dir():
        problem = InputError(f"{folder}: expected a site folder, found none", hint="give the folder of lots.csv")
        raise ProblemsError(f"site folder {folder}", (problem,))
    root = folder.resolve()
    table = read_table(root / "lots.csv", required=LOT_COLUMNS, optional=OPTIONAL_LOT_COLUMNS)
    problems = list(table.problems)
    lots = _read_lots(table, root, cohorts, problems)
    # A lot whose row is at fault is still a lot: its potency must not be reported as an orphan besides.
    named = {row.cells["lot"]: row.number for row in table.rows}
    potency = read_potency(root / "potency.csv", endpoints, named, problems, lots_were_read=not table.problems)
    measured: Mapping[str, tuple[AttributeRow, ...]] = {}
    if attributes is not None:
        path = root / ATTRIBUTES_FILE
        measured = read_attributes(path, attributes, named, problems, lots_were_read=not table.problems)
    if problems:
        raise ProblemsError(f"site folder {folder}", problems)
    return SiteLots(folder=root, lots=tuple(lots), potency=potency, attributes=measured)


def read_site_folder_for(folder: Path, plan: StudyPlan) -> SiteLots:
    """Return the lots of a site folder, held against everything that a study's plan declares.

    Raises
    ------
    ProblemsError
        As `read_site_folder`.
    """
    return read_site_folder(folder, plan.endpoints, cohorts=plan.cohorts, attributes=plan.modules.attributes)


def parse_where(text: str) -> tuple[CellFilter, ...]:
    """Return the filters of ``column=value``, several joined by semicolons.

    Raises
    ------
    InputError
        A part has no ``=``, no column or no value, or a column stands twice.

    Examples
    --------
    >>> parse_where("condition=ctrl; donor=101")
    (CellFilter(column='condition', value='ctrl'), CellFilter(column='donor', value='101'))
    """
    filters: list[CellFilter] = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        column, separator, value = (piece.strip() for piece in part.partition("="))
        if not separator or not column or not value:
            raise InputError(f"expected column=value, found {part!r}", hint="for example condition=ctrl")
        filters.append(CellFilter(column=column, value=value))
    if len({each.column for each in filters}) != len(filters):
        raise InputError(f"expected each column once, found {text!r}", hint="no cell has two values of one column")
    return tuple(filters)


def _read_lots(table: Table, root: Path, cohorts: Sequence[Cohort] | None, problems: list[InputError]) -> list[Lot]:
    lots: list[Lot] = []
    first_seen: dict[str, int] = {}
    for row in table.rows:
        lot, found = _read_lot(row, root, cohorts)
        name = row.cells["lot"]
        if name and name in first_seen:
            hint = "a lot stands once; another vial or aliquot needs a name of its own"
            found.append(row.problem("lot", f"{name!r} stands in row {first_seen[name]} already", hint=hint))
        first_seen.setdefault(name, row.number)
        problems.extend(found)
        if lot is not None and not found:
            lots.append(lot)
    cells: dict[tuple[Path, tuple[CellFilter, ...]], Lot] = {}
    for lot in lots:
        key = (lot.file, lot.where)
        if key in cells:
            problems.append(
                InputError(
                    f"{table.rows[0].table}, rows {cells[key].row} and {lot.row}: two lots have the same cells "
                    f"({lot.file.name}{''.join(f', {each}' for each in lot.where)})",
                    hint="tell them apart by another file, or by column=value in the column 'where'",
                )
            )
        cells.setdefault(key, lot)
    return lots


def _read_lot(row: Row, root: Path, cohorts: Sequence[Cohort] | None) -> tuple[Lot | None, list[InputError]]:
    cells, found = row.cells, list[InputError]()
    for column in ("lot", "donor", "tissue", "product", "condition"):
        if not _LABEL.fullmatch(cells[column]):
            hint = "fill it in" if not cells[column] else "shorten it, and leave out line breaks"
            found.append(row.problem(column, f"expected 1 to 64 characters, found {cells[column][:80]!r}", hint=hint))
    passage: int | None = None
    if cells["passage"]:
        digits = cells["passage"].removeprefix("P").removeprefix("p")
        if digits.isascii() and digits.isdigit() and len(digits) < 5 and int(digits) <= _MAXIMUM_PASSAGE:  # noqa: PLR2004 - 4 digits hold the maximum
            passage = int(digits)
        else:
            message = f"expected a whole number up to {_MAXIMUM_PASSAGE}, found {cells['passage'][:80]!r}"
            found.append(row.problem("passage", message, hint="such as 5; leave it blank where there is none"))
    found.extend(_cohort_problems(row, cohorts))
    if cells["period"] and not _PERIOD.fullmatch(cells["period"]):
        message = f"expected a quarter, found {cells['period'][:80]!r}"
        found.append(row.problem("period", message, hint="such as 2026-Q3"))
    if cells["arm"] not in _ARMS:
        message = f"expected before or after, found {cells['arm'][:80]!r}"
        found.append(row.problem("arm", message, hint="leave it blank for a lot that is on neither side of the change"))
    where: tuple[CellFilter, ...] = ()
    try:
        where = parse_where(cells["where"])
    except InputError as error:
        found.append(row.problem("where", str(error), hint=error.hint))
    file: Path | None = None
    try:
        file = _inside(root, cells["file"])
    except InputError as error:
        found.append(row.problem("file", str(error), hint=error.hint))
    if found or file is None:
        return None, found
    lot = Lot(
        **{column: cells[column] for column in ("lot", "donor", "tissue", "product", "condition", "cohort")},
        file=file,
        passage=passage,
        where=where,
        layer=cells["layer"] or None,
        period=cells["period"] or None,
        arm=Arm(cells["arm"]) if cells["arm"] else None,
        row=row.number,
    )
    return lot, found


def _cohort_problems(row: Row, cohorts: Sequence[Cohort] | None) -> list[InputError]:
    name = row.cells["cohort"]
    if not _SLUG.fullmatch(name):
        message = f"expected lower-case letters, digits and hyphens, found {name[:80]!r}"
        return [row.problem("cohort", message, hint="such as discovery or validation-1")]
    if cohorts is None:
        return []
    cohort = next((each for each in cohorts if each.cohort == name), None)
    if cohort is None:
        known = ", ".join(each.cohort for each in cohorts)
        return [row.problem("cohort", f"{name!r} is not a cohort of the study", hint=f"the study has {known}")]
    if cohort.tissues and row.cells["tissue"] not in cohort.tissues:
        message = f"{row.cells['tissue'][:80]!r} is not a tissue of the cohort {name}"
        return [row.problem("tissue", message, hint=f"it takes {', '.join(cohort.tissues)}")]
    return []


def _inside(root: Path, text: str) -> Path:
    """Return the resolved path of a readable file or folder inside ``root``.

    Raises
    ------
    InputError
        No path, an absolute one, one that leaves ``root``, or one that cannot be read.
    """
    if not text:
        raise InputError("expected a file, found nothing", hint="a path relative to the site folder, such as lot1.h5ad")
    relative = Path(text)
    if relative.is_absolute():
        raise InputError(f"expected a path relative to the site folder, found {text!r}", hint="copy or link it inside")
    path = (root / relative).resolve()
    if not path.is_relative_to(root):
        raise InputError(f"{text!r} leads out of the site folder", hint="copy the file into the site folder")
    try:
        if path.is_dir():
            next(path.iterdir(), None)
        else:
            with path.open("rb"):
                pass
    except FileNotFoundError:
        raise InputError(f"{text!r} is missing in {root}", hint="check the name, upper and lower case too") from None
    except OSError as error:
        raise InputError(f"{text!r} cannot be read: {error.strerror}", hint="check its type and permissions") from None
    return path
