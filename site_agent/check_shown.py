"""A check as a person or a script sees it: rows for tables, and one JSON document."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from protocol.codec import sha256
from site_agent.check_command import CheckedSite

LOT_COLUMNS = ("lot", "cells", "after QC", "unassigned", "genes found", "bytes", "would leave")


def lot_rows(checked: CheckedSite) -> Sequence[tuple[str, ...]]:
    """Return one row a lot: what was mapped, and whether it would leave."""
    return [
        (
            lot.outcome.lot.lot,
            f"{lot.outcome.mapping.cells:,}",
            f"{lot.outcome.mapping.cells_after_qc:,}",
            f"{lot.outcome.mapping.unassigned:,}",
            f"{lot.outcome.mapping.gene_coverage:.0%}",
            "0" if lot.payload is None else f"{len(lot.payload):,}",
            "no: " + "; ".join(lot.blocked_by) if lot.payload is None else "yes",
        )
        for lot in checked.lots
    ]


def count_rows(checked: CheckedSite) -> Sequence[tuple[str, ...]]:
    """Return one row a cluster, one column a lot: the counts as they would leave ("-" where nothing would)."""
    rows = []
    for position, cluster in enumerate((*checked.rules.plan.atlas.clusters, "unassigned", "all cells after QC")):
        cells = [cluster]
        for lot in checked.lots:
            report = lot.outcome.report if lot.payload is not None else None
            if report is None:
                cells.append("-")
                continue
            count = (*report.counts, report.unassigned, report.cells_after_qc)[position]
            cells.append(f"{count.low:,}" if count.is_exact else f"{count.low:,} to {count.high:,}")
        rows.append(tuple(cells))
    return rows


def common_rows(checked: CheckedSite) -> Sequence[tuple[str, str]]:
    """Return (field, value) of what is the same in every lot that would leave, counts and padding left out."""
    fields = _fields(checked)
    return [(name, next(iter(values.values()))) for name, values in fields.items() if _is_common(values, checked)]


def field_rows(checked: CheckedSite) -> Sequence[tuple[str, ...]]:
    """Return one row a field that differs between lots, one column a lot, as it would leave ("-": nothing would)."""
    columns = range(len(checked.lots))
    return [
        (name, *(values.get(column, "-") for column in columns))
        for name, values in _fields(checked).items()
        if not _is_common(values, checked)
    ]


def _fields(checked: CheckedSite) -> dict[str, dict[int, str]]:
    """Return each field's value by the position of the lot."""
    fields: dict[str, dict[int, str]] = {}
    for column, lot in enumerate(checked.lots):
        if lot.payload is not None:
            for name, value in _leaves(json.loads(lot.payload)):
                fields.setdefault(name, {})[column] = value
    return fields


def _is_common(values: dict[int, str], checked: CheckedSite) -> bool:
    leaving = sum(lot.payload is not None for lot in checked.lots)
    return len(values) == leaving and len(set(values.values())) == 1


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    if name.partition(".")[0] in {"counts", "unassigned", "cells_after_qc", "padding"}:
        return
    match value:
        case {"attribute": str(attribute), "value": number}:
            yield f"attributes.{attribute}", "below detection" if number is None else str(number)
        case dict() if "mean" in value or "threshold" in value:  # an entry of markers
            yield _marker_leaf(value)
        case dict():
            for key, inner in value.items():
                yield from _leaves(inner, f"{name}.{key}" if name else str(key))
        case list() if any(isinstance(inner, dict) for inner in value):
            for position, inner in enumerate(value, start=1):
                yield from _leaves(inner, f"{name}.{position}")
        case list():
            yield name, ", ".join(map(str, value)) or "none"
        case None:
            yield name, "none"
        case _:
            yield name, str(value)


def _marker_leaf(value: dict[str, Any]) -> tuple[str, str]:
    """Return one row for the moments of a cluster, or for a number of marker-high cells: all of it is in the bytes."""
    where = "the lot" if value["cluster"] is None else f"cluster no. {value['cluster']}"
    if "gene" in value:
        low, high = value["low"], value["high"]
        count = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        return f"{value['gene']} at least {value['threshold']} in {where}", count
    told = sum(each is not None for each in value["mean"])
    said = f"{told} genes of {value['cells']:,} cells, few express {len(value['few'])} more"
    return f"moments.{where}", said if value["cells"] else "none"


def as_document(checked: CheckedSite) -> dict[str, object]:
    """Return the whole check as JSON values, for scripts."""
    return {
        "success": all(not lot.blocked_by for lot in checked.lots),
        "study": checked.rules.plan.study,
        "site": checked.rules.site,
        "requested_profile": checked.rules.requested.value,
        "applied_profile": checked.rules.applied.value,
        "pseudonyms_are_examples": checked.pseudonyms_are_examples,
        "lots": [
            {
                "lot": lot.outcome.lot.lot,
                "cells": lot.outcome.mapping.cells,
                "cells_after_qc": lot.outcome.mapping.cells_after_qc,
                "unassigned": lot.outcome.mapping.unassigned,
                "gene_coverage": round(lot.outcome.mapping.gene_coverage, 4),
                "would_leave": lot.payload is not None,
                "blocked_by": list(lot.blocked_by),
                "doubts": list(lot.doubts),
                "payload_bytes": 0 if lot.payload is None else len(lot.payload),
                "payload_sha256": None if lot.payload is None else sha256(lot.payload),
                "payload": None if lot.payload is None else lot.payload.decode(),
            }
            for lot in checked.lots
        ],
    }
