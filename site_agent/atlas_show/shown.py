"""An atlas on the terminal, and as one JSON document for scripts."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from msgspec import to_builtins

from shared.atlas.artefact import Atlas
from site_agent.atlas_show.model import AtlasView, ShownClass, view_atlas
from site_agent.atlas_show.revealing import what_it_may_reveal
from site_agent.atlas_show.tables import (
    Rows,
    card_rows,
    class_rows,
    confusion_rows,
    dropped_rows,
    held_rows,
    lot_rows,
    marker_rows,
    transfer_rows,
)
from site_agent.atlas_show.verdicts import RULES


def show_text(atlas: Atlas, data: bytes) -> tuple[Rows, ...]:
    """Return the tables for a terminal, the verdict first; tables without rows are left out.

    Parameters
    ----------
    atlas : Atlas
        As read from ``data``.
    data : bytes
        The file's bytes.
    """
    view = view_atlas(atlas, data)
    reveal = what_it_may_reveal(view)
    tables = (
        _sentences("Verdict", (view.verdict.headline, *view.verdict.reasons)),
        card_rows(view),
        transfer_rows(view),
        class_rows(view),
        lot_rows(view),
        confusion_rows(view),
        marker_rows(view),
        dropped_rows(view),
        held_rows(view),
        _sentences("What is not in the file", reveal.absent),
        _sentences("What it may reveal", reveal.risks),
        _sentences("How the verdict is reached", RULES),
        _sentences("What the verdict does not mean", view.verdict.limits),
    )
    return tuple(table for table in tables if table.rows)


def _sentences(title: str, sentences: tuple[str, ...]) -> Rows:
    return Rows(title=title, columns=(), rows=tuple((each,) for each in sentences))


def as_document(view: AtlasView) -> Mapping[str, Any]:
    """Return all that is shown, unrounded, as one JSON document; what was not measured is null."""
    card = view.card
    reveal = what_it_may_reveal(view)
    return {
        "success": True,
        "name": view.name,
        "sha256": view.sha256,
        "bytes": view.size_bytes,
        "plainly_encoded": view.plainly_encoded,
        "modality": card.modality,
        "genes": len(card.gene_ids),
        "dimensions": view.n_dimensions,
        "verdict": {
            "code": view.verdict.state.value,
            "sentence": view.verdict.headline,
            "reasons": list(view.verdict.reasons),
            "limits": list(view.verdict.limits),
        },
        "transfer": to_builtins(card.transfer),
        "provenance": to_builtins(card.provenance),
        "lots": list(view.lots),
        "classes": [_class_document(each) for each in view.classes],
        "confusion": [list(row) for row in view.confusion],
        "confusion_within_one_lot": view.within_one_lot,
        "dropped": [asdict(each) for each in view.dropped],
        "reveals": asdict(reveal),
    }


def _class_document(each: ShownClass) -> Mapping[str, Any]:
    document = asdict(each)
    judged = document.pop("judgement")
    return document | {
        "cells": each.cells,
        "lots": each.lots,
        "transfers": each.judgement.state.value,
        "reasons": list(judged["reasons"]),
    }
