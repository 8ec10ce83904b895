"""Over-representation of gene sets among markers: the hypergeometric test.

Of N genes that could have been markers (the background), K belong to the set; of the n markers, k do. Were the markers
any n of the background, P(X >= k) is the upper tail of the hypergeometric distribution (Rivals et al. 2007,
Bioinformatics 23:401-407, one-sided Fisher test). The background is what was tested, never a whole genome: against
genes that could not have been found, every set of a panel's kind looks enriched.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import hypergeom

from shared.statistics.multiplicity import q_values


@dataclass(frozen=True, kw_only=True)
class Enrichment:
    """One set among the markers: k of its K background genes, of n markers of N genes in the background."""

    name: str
    overlap: tuple[str, ...]
    in_background: int
    markers: int
    background: int
    expected: float
    p_value: float
    q_value: float


def enrich(
    markers: Collection[str], background: Collection[str], sets: Mapping[str, Collection[str]], *, fewest: int = 2
) -> tuple[Enrichment, ...]:
    """Return every set that has at least ``fewest`` genes in the background, best first; q over all of these.

    Parameters
    ----------
    markers
        A subset of the background.
    background
        All genes that were tested.
    sets
        Genes by the set's name; genes outside the background do not count.

    Examples
    --------
    >>> found = enrich("ab", "abcdef", {"first two": "ab", "last": "ef"})
    >>> [(each.name, round(each.p_value, 4)) for each in found]
    [('first two', 0.0667), ('last', 1.0)]
    """
    universe, chosen = set(background), set(markers) & set(background)
    usable = {name: set(genes) & universe for name, genes in sets.items()}
    names = sorted(name for name, genes in usable.items() if len(genes) >= fewest)
    overlaps = [tuple(sorted(usable[name] & chosen)) for name in names]
    p = np.array(
        [
            float(hypergeom.sf(len(overlap) - 1, len(universe), len(usable[name]), len(chosen)))
            for name, overlap in zip(names, overlaps, strict=True)
        ]
    )
    p = np.clip(p, 0.0, 1.0)
    found = [
        Enrichment(
            name=name,
            overlap=overlap,
            in_background=len(usable[name]),
            markers=len(chosen),
            background=len(universe),
            expected=len(usable[name]) * len(chosen) / len(universe) if universe else 0.0,
            p_value=float(value),
            q_value=float(q),
        )
        for name, overlap, value, q in zip(names, overlaps, p, q_values(p), strict=True)
    ]
    return tuple(sorted(found, key=lambda each: (each.p_value, each.name)))
