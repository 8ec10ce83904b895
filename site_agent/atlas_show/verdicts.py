"""Whether an atlas transfers to a lot that it has not seen: three words, decided by rules that are shown with them.

Rules.
1. Nothing is measured with one reference lot: the word is then "not measured", whatever else looks well.
2. An atlas transfers well if every limit below holds; else it is to be used with care, and each reason is said.
3. A class below ``SMALL_CLASS`` of the reference's cells does not decide about the atlas; its own row speaks.

The limits are conventions of this product: they sort atlases for a reader; no test or error rate stands behind them.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shared.atlas.card import Transfer
from site_agent.atlas_show.rounding import counted, points_text, share_text

LOTS_FOR_INTERVALS: Final = 3
ACCURACY: Final = 0.9
WORST_ACCURACY: Final = 0.85
TOTAL_VARIATION: Final = 0.05
WORST_TOTAL_VARIATION: Final = 0.1
CLASS_RATE: Final = 0.75
FEW_CELLS: Final = 20
SMALL_CLASS: Final = 0.01
_CLASSES_NAMED: Final = 6


class Transferability(StrEnum):
    """How far an atlas, or one of its classes, may be trusted on another lot."""

    WELL = "transfers-well"
    CARE = "with-care"
    NOT_MEASURED = "not-measured"


WORDS: Final = {
    Transferability.WELL: "Transfers well",
    Transferability.CARE: "Transfers with care",
    Transferability.NOT_MEASURED: "Transfer not measured",
}
CLASS_WORDS: Final = {
    Transferability.WELL: "well",
    Transferability.CARE: "with care",
    Transferability.NOT_MEASURED: "not measured",
}

RULES: Final = (
    (
        f"An atlas transfers well if at least {LOTS_FOR_INTERVALS} reference lots were left out in turn, "
        f"{ACCURACY:.0%} of a left-out lot's cells got their own label (mean over lots; {WORST_ACCURACY:.0%} in the "
        f"worst lot), and at most {100 * TOTAL_VARIATION:.0f} percentage points of a lot's composition were misplaced "
        f"({100 * WORST_TOTAL_VARIATION:.0f} in the worst lot)."
    ),
    (
        f"A class transfers well if at least {CLASS_RATE:.0%} of its left-out cells were found (recall), at least "
        f"{CLASS_RATE:.0%} of the cells given its name were its own (precision), and at least {FEW_CELLS} of its cells "
        "were left out. A class that occurs in one reference lot only cannot be measured."
    ),
    (
        f"A class of {SMALL_CLASS:.0%} of the reference's cells or more that does not transfer well makes the atlas "
        "one to use with care."
    ),
    "These limits are conventions that sort atlases for a reader. No test stands behind them.",
)

_OTHER_LOTS: Final = (
    "It was measured between the reference lots of this atlas. It does not promise the same for a lot of another "
    "technique, tissue, handling or disease: the mapping of each lot reports its own novelty, shift and gene coverage."
)
_NO_LOTS: Final = (
    "It does not say that the atlas does badly. Errors below are between parts of the one reference lot, which are "
    "more alike than two lots are."
)
_CLASSES: Final = (
    "It does not say that the classes are right: they are the labels or clusters that the atlas was built with."
)


@dataclass(frozen=True, kw_only=True)
class ClassJudgement:
    """One class's word and the reasons for it; a class that transfers well has none."""

    state: Transferability
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The atlas's word, its sentence, and the reasons for it."""

    state: Transferability
    headline: str
    reasons: tuple[str, ...]

    @property
    def word(self) -> str:
        """The verdict in words."""
        return WORDS[self.state]

    @property
    def limits(self) -> tuple[str, ...]:
        """What the verdict does not mean."""
        return (_NO_LOTS if self.state is Transferability.NOT_MEASURED else _OTHER_LOTS, _CLASSES)


def judge_class(*, lots: int, left_out_cells: int, recall: float | None, precision: float | None) -> ClassJudgement:
    """Return a class's word by the rules above.

    Parameters
    ----------
    lots : int
        Lots left out; 0: nothing was measured.
    left_out_cells : int
        Cells of the class that were mapped while their lot was left out.
    recall, precision : float, optional
        None: not measurable.
    """
    if lots == 0 or left_out_cells == 0 or recall is None:
        why = "one reference lot" if lots == 0 else "it occurs in one reference lot only"
        return ClassJudgement(state=Transferability.NOT_MEASURED, reasons=(why,))
    reasons = []
    if recall < CLASS_RATE:
        reasons.append(f"recall {share_text(recall)}")
    if precision is None:
        reasons.append("no left-out cell was given its name")
    elif precision < CLASS_RATE:
        reasons.append(f"precision {share_text(precision)}")
    if left_out_cells < FEW_CELLS:
        reasons.append(f"{counted(left_out_cells, 'left-out cell')} only")
    state = Transferability.CARE if reasons else Transferability.WELL
    return ClassJudgement(state=state, reasons=tuple(reasons))


def judge_atlas(transfer: Transfer, large_classes: tuple[tuple[str, ClassJudgement], ...]) -> Verdict:
    """Return the atlas's verdict.

    Parameters
    ----------
    transfer : Transfer
        What the card says of the lots left out.
    large_classes : tuple of (name, judgement)
        The classes that decide with (rule 3).
    """
    accuracy, variation = transfer.accuracy, transfer.total_variation
    if transfer.lots == 0 or accuracy is None or variation is None:
        return Verdict(
            state=Transferability.NOT_MEASURED,
            headline="Transfer not measured: nothing is known of how this atlas does on a lot that it has not seen.",
            reasons=(
                (
                    "A lot can be left out and mapped only where there are others: build the atlas from three "
                    "reference lots or more."
                ),
            ),
        )
    reasons = (*_reasons_of_lots(transfer, accuracy, variation), *_reasons_of_classes(large_classes))
    state = Transferability.CARE if reasons else Transferability.WELL
    headline = (
        f"{WORDS[state]}: of a lot left out, {share_text(accuracy)} of the cells got their own label, and "
        f"{points_text(variation)} of its composition were misplaced."
    )
    return Verdict(state=state, headline=headline, reasons=reasons)


def _reasons_of_lots(transfer: Transfer, accuracy: float, variation: float) -> list[str]:
    reasons = []
    worst_accuracy, worst_variation = transfer.worst_accuracy, transfer.worst_total_variation
    if transfer.lots < LOTS_FOR_INTERVALS:
        reasons.append(
            f"{counted(transfer.lots, 'reference lot')}: errors are measured, but intervals of shares cannot "
            "be calibrated."
        )
    elif not transfer.interval_calibrated:
        reasons.append("Intervals of shares are not calibrated.")
    if accuracy < ACCURACY:
        reasons.append(f"{share_text(accuracy)} of a left-out lot's cells got their own label (limit {ACCURACY:.0%}).")
    if worst_accuracy is not None and worst_accuracy < WORST_ACCURACY:
        reasons.append(f"In the worst lot, {share_text(worst_accuracy)} did (limit {WORST_ACCURACY:.0%}).")
    if variation > TOTAL_VARIATION:
        reasons.append(
            f"{points_text(variation)} of a left-out lot's composition were misplaced "
            f"(limit {points_text(TOTAL_VARIATION)})."
        )
    if worst_variation is not None and worst_variation > WORST_TOTAL_VARIATION:
        reasons.append(
            f"In the worst lot, {points_text(worst_variation)} were (limit {points_text(WORST_TOTAL_VARIATION)})."
        )
    return reasons


def _reasons_of_classes(classes: tuple[tuple[str, ClassJudgement], ...]) -> list[str]:
    reasons = []
    for state, what in (
        (Transferability.NOT_MEASURED, "could not be measured"),
        (Transferability.CARE, "to be read with care"),
    ):
        names = [name for name, judged in classes if judged.state is state]
        if names:
            listed = ", ".join(f"“{name}”" for name in names[:_CLASSES_NAMED])
            more = f" and {len(names) - _CLASSES_NAMED} more" if len(names) > _CLASSES_NAMED else ""
            reasons.append(f"{counted(len(names), 'class', 'classes')} {what}: {listed}{more}.")
    return reasons
