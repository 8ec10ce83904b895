"""Writing a site's folder: the lots, the potency, the policy and the cells, as a real site would lay them out."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from shared.runtime.files import write_atomically


@dataclass(frozen=True, kw_only=True)
class LotRow:
    """One row of ``lots.csv``; ``file`` is relative to the site's folder."""

    lot: str
    donor: str
    file: str
    tissue: str
    product: str
    passage: str
    condition: str
    cohort: str
    arm: str = ""


@dataclass(frozen=True, kw_only=True)
class PotencyRow:
    """One row of ``potency.csv``: one replicate. A reference row has an empty ``lot``."""

    lot: str
    endpoint: str
    assay: str
    value: str
    unit: str
    run: str
    is_reference: str


@dataclass(frozen=True, kw_only=True)
class AttributeRow:
    """One row of ``attributes.csv``: one attribute of one lot."""

    lot: str
    attribute: str
    value: str
    unit: str
    assay: str


_Row = LotRow | PotencyRow | AttributeRow


def _csv(kind: type[_Row], rows: Sequence[_Row]) -> bytes:
    columns = [field.name for field in fields(kind)]
    if kind is LotRow and not any(row.arm for row in rows if isinstance(row, LotRow)):
        columns.remove("arm")  # a study without a change has no such column
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([getattr(row, column) for column in columns] for row in rows)
    return text.getvalue().encode()


def write_site_tables(
    folder: Path,
    *,
    lots: Sequence[LotRow],
    potency: Sequence[PotencyRow],
    policy: bytes,
    attributes: Sequence[AttributeRow] = (),
) -> None:
    """Write ``lots.csv``, ``potency.csv``, ``policy.toml`` and, where there are any, ``attributes.csv`` of one site.

    Parameters
    ----------
    folder : Path
        The site's folder; made where it is absent.
    lots, potency, attributes : sequences of rows
        Written in the order given.
    policy : bytes
        The site's policy, as TOML.
    """
    write_atomically(folder / "lots.csv", _csv(LotRow, lots))
    write_atomically(folder / "potency.csv", _csv(PotencyRow, potency))
    if attributes:
        write_atomically(folder / "attributes.csv", _csv(AttributeRow, attributes))
    write_atomically(folder / "policy.toml", policy)
