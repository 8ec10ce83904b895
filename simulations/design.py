"""Which lots a simulated study has: where they are made, from whom, of which tissue, in which cohort.

A design is data. It is expanded once into arrays of one entry a lot, sorted by (site, lot) as every table of lots is,
so that no order of making shows anywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.modules.comparability import Arm
from shared.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Block:
    """Some donors of one site, tissue and cohort; each gives ``lots_per_donor`` lots, on one side of a change."""

    site: str
    donors: int
    tissue: str = "BM"
    cohort: str = "discovery"
    lots_per_donor: int = 1
    arm: Arm | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ExpandedDesign:
    """One entry a lot, sorted by (site, lot); the index arrays are ``(n_lots,)`` and number each name from 0."""

    lots: tuple[str, ...]
    sites: tuple[str, ...]
    donors: tuple[str, ...]
    tissues: tuple[str, ...]
    cohorts: tuple[str, ...]
    arms: tuple[Arm | None, ...]
    site_index: NDArray[np.int64]
    donor_index: NDArray[np.int64]
    n_sites: int
    n_donors: int


def even_design(*, sites: int, lots_per_site: int, tissue: str = "BM", cohort: str = "discovery") -> tuple[Block, ...]:
    """Return ``sites`` blocks of ``lots_per_site`` donors with one lot each.

    Examples
    --------
    >>> [block.site for block in even_design(sites=2, lots_per_site=5)]
    ['site-01', 'site-02']
    """
    return tuple(
        Block(site=f"site-{number:02d}", donors=lots_per_site, tissue=tissue, cohort=cohort)
        for number in range(1, sites + 1)
    )


def expand(blocks: Sequence[Block]) -> ExpandedDesign:
    """Return one entry a lot, named ``<site>-lot-00001`` and so on in the order of the site's blocks.

    Raises
    ------
    InputError
        If there is no block, or a block has no donor or no lot.
    """
    if not blocks or any(block.donors < 1 or block.lots_per_donor < 1 for block in blocks):
        raise InputError(
            "a design: expected at least one block, each with at least one donor and one lot a donor",
            hint="give every block donors >= 1 and lots_per_donor >= 1",
        )
    rows: list[tuple[str, str, str, str, str, Arm | None]] = []
    lots_of_site: dict[str, int] = {}
    n_donors = 0
    for block in blocks:
        for _ in range(block.donors):
            n_donors += 1
            for _ in range(block.lots_per_donor):
                number = lots_of_site[block.site] = lots_of_site.get(block.site, 0) + 1
                lot = f"{block.site}-lot-{number:05d}"
                rows.append((block.site, lot, f"donor-{n_donors:05d}", block.tissue, block.cohort, block.arm))
    rows.sort(key=lambda row: row[:2])
    sites, lots, donors, tissues, cohorts, arms = zip(*rows, strict=True)
    site_names, site_index = np.unique(np.array(sites), return_inverse=True)
    donor_names, donor_index = np.unique(np.array(donors), return_inverse=True)
    return ExpandedDesign(
        lots=lots,
        sites=sites,
        donors=donors,
        tissues=tissues,
        cohorts=cohorts,
        arms=arms,
        site_index=site_index.astype(np.int64),
        donor_index=donor_index.astype(np.int64),
        n_sites=len(site_names),
        n_donors=len(donor_names),
    )
