"""Individual lots as a page shows them: each value against the mean of the lots before of its site and tissue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared.comparability.lots_drawing import LotValue, ShownLot
from shared.comparability.units import ArmUnits, ComparedLot, log_ratio_bounds


@dataclass(frozen=True, kw_only=True)
class LotLook:
    """How a page names and marks one lot."""

    label: str
    site: str
    style: int
    number: int | None = None


def shown_lots(
    lots: Sequence[ComparedLot], units: ArmUnits, looks: Mapping[int, LotLook], n_parts: int
) -> tuple[ShownLot, ...]:
    """Return the lots that the page may show, before first.

    Parameters
    ----------
    lots : sequence of ComparedLot
        All lots of the comparison.
    units : ArmUnits
        The units that were compared.
    looks : mapping of int to LotLook
        By position in ``lots``; a lot that is not in it is not shown, nor is one of a stratum without lots before.
    n_parts : int
        How many clusters there are.
    """
    if not lots:
        return ()
    low = np.array([lot.cells_low for lot in lots], dtype=np.int64).reshape(-1, n_parts)
    high = np.array([lot.cells_high for lot in lots], dtype=np.int64).reshape(-1, n_parts)
    potency = np.array([[lot.potency] for lot in lots])
    middle, least, most = (np.column_stack([potency, table]) for table in log_ratio_bounds(low, high))
    values = np.column_stack([units.potency, units.parts])
    strata = np.array(units.strata)
    result = []
    for position, look in sorted(looks.items(), key=lambda item: (lots[item[0]].after, item[0])):
        lot = lots[position]
        before = values[(strata == lot.stratum) & ~units.after]
        if not len(before):
            continue
        centre = before.mean(axis=0)
        result.append(
            ShownLot(
                label=look.label,
                site=look.site,
                style=look.style,
                after=lot.after,
                number=look.number,
                values=tuple(
                    LotValue(middle=float(a), low=float(b), high=float(c))
                    for a, b, c in zip(
                        middle[position] - centre, least[position] - centre, most[position] - centre, strict=True
                    )
                ),
            )
        )
    return tuple(result)
