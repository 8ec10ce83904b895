"""The tables of an atlas, cell by cell as text: the terminal and the page print the same."""

import statistics
from dataclasses import dataclass
from typing import Final

from site_agent.atlas_show.model import CONFIDENCE, EXAMPLE_SHARE, AtlasView, ShownClass
from site_agent.atlas_show.revealing import what_it_may_reveal
from site_agent.atlas_show.rounding import counted, decimal_text, points_text, printable, share_text
from site_agent.atlas_show.verdicts import CLASS_WORDS

MOST_LOTS_IN_COLUMNS: Final = 24
MOST_MARKERS: Final = 10
MOST_DROPPED: Final = 100
MOST_CONFUSIONS: Final = 12


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A table: columns named in ``words`` hold words, the others numbers; ``note`` says how to read it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: frozenset[str] = frozenset()
    note: str = ""


def card_rows(view: AtlasView) -> Rows:
    """Return where the atlas comes from."""
    card, origin = view.card, view.card.provenance
    ids, symbols = sum(map(bool, card.gene_ids)), sum(map(bool, card.gene_symbols))
    facts = [
        ("name", view.name),
        ("SHA-256", view.sha256),
        ("size", f"{view.size_bytes:,} bytes"),
        ("modality", card.modality),
        ("classes", f"{len(view.classes)}"),
        ("genes", f"{len(card.gene_ids):,}, of which {ids:,} with Ensembl id and {symbols:,} with symbol"),
        ("genes in the reference's files", f"{origin.genes_in_files:,}"),
        ("reference", f"{counted(origin.cells, 'cell')} of {counted(origin.lots, 'lot')}"),
        ("labels", "the owner's" if origin.labels == "owner" else "none: clustered (Leiden)"),
        ("tissue", "not said" if origin.tissue is None else printable(origin.tissue)),
        ("species", "not said" if origin.species is None else printable(origin.species)),
        ("method", printable(origin.method)),
        ("settings", ", ".join(f"{printable(each.name)} {printable(each.value)}" for each in origin.parameters)),
        ("seed", str(origin.seed)),
        ("made by", f"crosslot {printable(origin.crosslot)}"),
        ("format", card.schema_id),
        *(("note", printable(each)) for each in origin.notes),
    ]
    return Rows(title="Card", columns=("field", "value"), rows=tuple(facts), words=frozenset({"value"}))


def transfer_rows(view: AtlasView) -> Rows:
    """Return how lots that were left out fared, all classes together."""
    transfer = view.card.transfer
    return Rows(
        title="Lots left out in turn",
        columns=("measure", "mean of lots", "worst lot"),
        rows=(
            ("cells that got their own label", share_text(transfer.accuracy), share_text(transfer.worst_accuracy)),
            (
                "composition misplaced (total variation)",
                points_text(transfer.total_variation),
                points_text(transfer.worst_total_variation),
            ),
            ("cells left unassigned", share_text(transfer.unassigned_share), "not kept"),
        ),
        note=(
            f"{counted(transfer.lots, 'lot')} left out, each mapped with an atlas fitted to the others. "
            if transfer.lots
            else "No lot could be left out. "
        )
        + f"Intervals of shares are {'' if transfer.interval_calibrated else 'not '}calibrated."
        + (f" The card says: {printable(transfer.reason)}." if transfer.reason else ""),
    )


def class_rows(view: AtlasView) -> Rows:
    """Return how well each class transfers."""
    clustered = any(each.stability is not None for each in view.classes)
    counts = ("class", "no.", "cells", "lots")
    rates = ("transfers", "recall", "precision", "unassigned")
    errors = ("error of share, points", f"interval at {EXAMPLE_SHARE:.0%}, ± points", "its scale", "shift")
    return Rows(
        title="Class by class",
        columns=(*counts, *rates, *errors, *(("stability",) if clustered else ()), "why"),
        rows=tuple(_class_row(each, clustered=clustered) for each in view.classes),
        words=frozenset({"transfers", "why"}),
        note="Recall: of the class's cells in left-out lots, those given its name. Precision: of the cells given its "
        "name, those that are its. Error of share: mean absolute error in a left-out lot, in percentage points. "
        "Unassigned: of its left-out cells, those given no name. "
        f"Interval: half the width of the {CONFIDENCE:.0%} interval of a share of {EXAMPLE_SHARE:.0%}; its scale: s of "
        "s √(share (1 − share)). Shift: how far a reference lot's mean lies from the class's, in standard deviations "
        "of its cells."
        + (" Stability: how well other starts of the clustering agree, 1 at best." if clustered else ""),
    )


def _class_row(each: ShownClass, *, clustered: bool) -> tuple[str, ...]:
    return (
        each.name,
        f"#{each.number}",
        f"{each.cells:,}",
        f"{each.lots:,}",
        CLASS_WORDS[each.judgement.state],
        share_text(each.recall),
        share_text(each.precision),
        share_text(each.unassigned_rate),
        decimal_text(None if each.share_error is None else 100 * each.share_error, 2),
        decimal_text(None if each.half_width is None else 100 * each.half_width, 1),
        decimal_text(each.interval_scale, 3),
        decimal_text(each.lot_shift, 2),
        *((decimal_text(each.stability, 2),) if clustered else ()),
        "; ".join(each.judgement.reasons),
    )


def lot_rows(view: AtlasView) -> Rows:
    """Return the cells of each class in each reference lot, or their range where the lots are many."""
    note = "Lots are numbered: the atlas holds no lot's name. This table is each lot's composition."
    if len(view.lots) <= MOST_LOTS_IN_COLUMNS:
        totals = tuple(f"{sum(each.cells_by_lot[lot] for each in view.classes):,}" for lot in range(len(view.lots)))
        return Rows(
            title="Cells by reference lot",
            columns=("class", "all", *view.lots),
            rows=(
                *((each.name, f"{each.cells:,}", *(f"{n:,}" for n in each.cells_by_lot)) for each in view.classes),
                ("all classes", f"{view.cells:,}", *totals),
            ),
            note=note,
        )
    return Rows(
        title="Cells by reference lot",
        columns=("class", "all", "lots that have it", "fewest in a lot", "median", "most"),
        rows=tuple(
            (
                each.name,
                f"{each.cells:,}",
                f"{each.lots:,} of {len(view.lots):,}",
                f"{min(each.cells_by_lot):,}",
                f"{statistics.median(each.cells_by_lot):,g}",
                f"{max(each.cells_by_lot):,}",
            )
            for each in view.classes
        ),
        note=f"{note} The file holds all {len(view.lots):,} lots; their range stands here.",
    )


def marker_rows(view: AtlasView) -> Rows:
    """Return the first markers of each class."""
    return Rows(
        title="Markers",
        columns=("class", "kept", "the first of them: log2 fold change, cells that show it inside / outside"),
        rows=tuple(
            (
                each.name,
                f"{len(each.markers):,}",
                ", ".join(
                    f"{marker.gene} {decimal_text(marker.log2_fold_change, 1)} "
                    f"({marker.share_in:.0%} / {marker.share_out:.0%})"
                    for marker in each.markers[:MOST_MARKERS]
                )
                or "none",
            )
            for each in view.classes
        ),
        words=frozenset({"the first of them: log2 fold change, cells that show it inside / outside"}),
        note="A description, not a test: the classes may have been made from the same genes.",
    )


def confusion_rows(view: AtlasView) -> Rows:
    """Return the commonest errors on left-out cells, most cells first."""
    names = (*(each.name for each in view.classes), "unassigned")
    found = sorted(
        (
            (-cells, label, given, sum(row))
            for label, row in enumerate(view.confusion)
            for given, cells in enumerate(row)
            if cells and given != label
        ),
    )
    where = "parts of the one lot that were left out" if view.within_one_lot else "lots left out"
    return Rows(
        title="Commonest errors",
        columns=("label", "given", "cells", "of the label's cells"),
        rows=tuple(
            (names[label], names[given], f"{-cells:,}", share_text(-cells / total))
            for cells, label, given, total in found[:MOST_CONFUSIONS]
        ),
        words=frozenset({"given"}),
        note=f"Cells of {where}; {len(found):,} kinds of error in all."
        + (" They say nothing of another lot." if view.within_one_lot else ""),
    )


def dropped_rows(view: AtlasView) -> Rows:
    """Return the labels that the atlas does not know."""
    hidden = len(view.dropped) - MOST_DROPPED
    return Rows(
        title="Labels left out of the atlas",
        columns=("label", "cells", "why"),
        rows=tuple((each.name, f"{each.cells:,}", each.reason) for each in view.dropped[:MOST_DROPPED]),
        words=frozenset({"why"}),
        note="Such cells of a lot are mapped onto other classes, or left unassigned."
        + (f" {hidden:,} more are on the card." if hidden > 0 else ""),
    )


def held_rows(view: AtlasView) -> Rows:
    """Return what is in the file, for a steward."""
    return Rows(
        title="What is in the file",
        columns=("what", "how much", "about"),
        rows=tuple((each.what, each.size, each.about) for each in what_it_may_reveal(view).held),
        words=frozenset({"how much", "about"}),
    )


def place_rows(view: AtlasView) -> Rows:
    """Return the numbers that the map is drawn from."""
    return Rows(
        title="The map in numbers",
        columns=("class", "no.", "mean on axis 1", "mean on axis 2", "spread on axis 1", "spread on axis 2"),
        rows=tuple(
            (
                each.name,
                f"#{each.number}",
                *(decimal_text(value, 2) for value in each.mean),
                *(decimal_text(max(each.covariance[axis][axis], 0.0) ** 0.5, 2) for axis in (0, 1)),
            )
            for each in view.classes
        ),
        note="Spread: standard deviation of the class's cells. No unit: points of the atlas's latent space.",
    )
