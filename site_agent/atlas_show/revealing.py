"""What an atlas may reveal, in plain words for the steward of the site that gives or receives it.

Rules.
1. What is in the file follows from the format, which is read strictly: an array that the format does not know is
   refused, so "not in the file" is a fact about this file and not a promise of whoever made it.
2. Words in it were chosen by whoever built it (names of classes, tissue, notes): the format cannot know what they say.
3. How well an attack does on this atlas was not measured. The figures given were measured on two public data sets
   (docs/mapping.md) and are named as such.
"""

from dataclasses import dataclass
from typing import Final

from site_agent.atlas_show.model import AtlasView
from site_agent.atlas_show.rounding import counted
from site_agent.atlas_show.verdicts import FEW_CELLS

SOME_HUNDRED_CELLS: Final = 1_000
_CLASSES_NAMED: Final = 12

CELL_ATTACK: Final = ((".59", "heart", "2,500"), (".76", "blood", "650"))
"""AUROC of the best attack on a cell's membership, data set, cells of the reference (docs/mapping.md)."""

LOT_ATTACK: Final = ((".69", "7"), (".70", "8"))
"""AUROC of the attack on a lot's membership, and lots (docs/mapping.md)."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """One thing that is in the file, how much of it, and whom it is about."""

    what: str
    size: str
    about: str


@dataclass(frozen=True, kw_only=True)
class Revealing:
    """All that the steward is told."""

    held: tuple[Held, ...]
    absent: tuple[str, ...]
    risks: tuple[str, ...]


def what_it_may_reveal(view: AtlasView) -> Revealing:
    """Return what is in the file, what is not, and what somebody could learn from it."""
    return Revealing(held=_held(view), absent=_absent(view), risks=_risks(view))


def _held(view: AtlasView) -> tuple[Held, ...]:
    genes, classes, d = len(view.card.gene_ids), len(view.classes), view.n_dimensions
    everything = "all reference cells together"
    return (
        Held(what="names of genes, each with a mean and a cap", size=f"{genes:,}", about=everything),
        Held(what="weights of the components, and the classifier", size=f"{genes:,} x {d}; {d} x {classes}",
             about=everything),
        Held(what="mean and spread of every component; covariance on the map", size=f"{classes} x {d}; {classes} x 3",
             about="the cells of one class"),
        Held(what="cells of each class in each reference lot", size=f"{classes} x {len(view.lots)}",
             about="one lot: its composition"),
        Held(what="errors, confusion and thresholds, from lots left out", size=f"{classes} classes",
             about="the cells of one class"),
        Held(what="markers: fold change, shares of cells that show the gene",
             size=counted(sum(len(each.markers) for each in view.classes), "gene"), about="the cells of one class"),
        Held(what="words: names of atlas and classes, tissue, species, settings, notes",
             size=counted(len(view.card.provenance.notes), "note"), about="what the builder wrote: read them"),
    )  # fmt: skip


def _absent(view: AtlasView) -> tuple[str, ...]:
    sentences = (
        "No cell: no counts of a cell, no barcode, no point or embedding of a cell.",
        (
            "No name of a lot (lots are numbered), of a file, a donor or a person, unless the builder wrote one into a "
            "class's name, the tissue or a note."
        ),
    )
    if view.plainly_encoded:
        return (*sentences, "Nothing beside these: the bytes are the one encoding of what is shown here.")
    return (
        *sentences,
        (
            "The bytes are not the plain encoding of what is shown here: something may lie beside it. "
            "Do not pass this file on; build it again, or ask for it again."
        ),
    )


def _risks(view: AtlasView) -> tuple[str, ...]:
    return (*_small_classes(view), *_single_lot_classes(view), *_membership(view))


def _small_classes(view: AtlasView) -> tuple[str, ...]:
    small = sorted((each for each in view.classes if each.cells < FEW_CELLS), key=lambda each: (each.cells, each.name))
    if not small:
        return (f"No class rests on fewer than {FEW_CELLS} cells.",)
    listed = ", ".join(f"“{each.name}” ({each.cells})" for each in small[:_CLASSES_NAMED])
    more = f" and {len(small) - _CLASSES_NAMED} more" if len(small) > _CLASSES_NAMED else ""
    return (
        (
            f"The means of {counted(len(small), 'class', 'classes')} rest on fewer than {FEW_CELLS} cells: "
            f"{listed}{more}. The fewer the cells, the closer such a mean comes to showing one of them."
        ),
    )


def _single_lot_classes(view: AtlasView) -> tuple[str, ...]:
    if len(view.lots) == 1:
        return ("All of it is about one reference lot.",)
    single = [f"“{each.name}”" for each in view.classes if each.lots == 1]
    if not single:
        return ()
    listed = ", ".join(single[:_CLASSES_NAMED])
    more = f" and {len(single) - _CLASSES_NAMED} more" if len(single) > _CLASSES_NAMED else ""
    return (f"The mean of a class that occurs in one lot is that lot's: {listed}{more}.",)


def _membership(view: AtlasView) -> tuple[str, ...]:
    cells = " and ".join(f"{auroc} ({data}, {n} cells)" for auroc, data, n in CELL_ATTACK)
    lots = " and ".join(f"{auroc} ({n} lots)" for auroc, n in LOT_ATTACK)
    here = f"This reference has {counted(view.cells, 'cell')}"
    warning = (
        f"{here}: assume that membership of a cell can be guessed."
        if view.cells < SOME_HUNDRED_CELLS
        else f"{here}; how well such an attack does on it was not measured."
    )
    return (
        (
            "Was a cell in the reference? Who holds the whole profile of a cell can guess: on two public data sets the "
            f"best attack tried reached an AUROC of {cells}, where .5 is a coin and 1 is certain. {warning}"
        ),
        (
            f"Was a lot in the reference? Who holds all cells of a lot reached an AUROC of {lots}. Who knows a lot's "
            "composition from elsewhere finds it in the table of cells by class and lot."
        ),
    )
